"""Maps of a train's pulses from a few amplitudes."""

from __future__ import annotations

import numpy as np
import pytest

import mrisim as mr
from mrisim.data import Phantom
from mrisim.engines import epg_pulses
from mrisim.program import lower
from mrisim.simulate._chunks import precision


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_scaled_pulses_are_what_each_of_them_is(monkeypatch, dtype):
    """120 amplitudes of one shape, at places through the slice, at transmit fields and rates of their own."""
    kind, n, rng = np.dtype(dtype), 40, np.random.default_rng(0)
    program = lower(mr.load_sequence("mrf_fisp", repetitions=120))
    spins = Phantom.from_arrays(
        position=rng.uniform(-0.005, 0.005, (n, 3)), t1=rng.uniform(0.1, 2, n), t2=rng.uniform(0.01, 0.1, n),
        b1=rng.uniform(0.8, 1.2, n), df=rng.uniform(-50, 50, n),
    )  # fmt: skip
    counts = []
    chosen = epg_pulses._nodes
    monkeypatch.setattr(epg_pulses, "_nodes", lambda *given: counts.append(len(found := chosen(*given))) or found)
    with precision(kind):
        sides = epg_pulses.pulse_turns(program, timed=False)
        few = epg_pulses.pulse_maps(program, spins, *sides, kind)
        monkeypatch.setattr(epg_pulses, "_nodes", lambda program, row, amplitudes, *rest: np.unique(amplitudes))
        every = epg_pulses.pulse_maps(program, spins, *sides, kind)
    assert max(counts) <= 20  # of 120 amplitudes
    intervals = max(len(waveform.dt) for waveform in program.waveforms)
    rounding = np.sqrt(intervals) * np.finfo(kind).eps
    assert max(np.abs(a - b).max() for a, b in zip(few, every, strict=True)) < 4 * rounding


def test_a_wide_range_of_flips_takes_more_amplitudes():
    """So that the interpolation is exact to rounding whatever the pulse: bounds grow with the angle it turns by."""
    counts = []
    for high in ("20 deg", "90 deg"):
        program = lower(mr.load_sequence("mrf_fisp", repetitions=120, high=high))
        rows = max(epg_pulses._scaled_alike(program), key=len)
        counts.append(
            len(epg_pulses._nodes(program, int(rows[0]), program.pulses.amplitude[rows], 1.0, np.dtype(float)))
        )
    assert counts[0] < counts[1] < 120
