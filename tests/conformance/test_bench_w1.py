"""Pulse and precession of 100,000 spins against a reference that others computed (workload W1).

In float64 the reference rotates, then relaxes, at every step of 4 us. That is of first order; this package splits
symmetrically, so the two differ by more than their rounding, and a test shows which is nearer to the converged answer.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from physics.build import ADC, RF, Block, build, spins
from physics.kernel import through_pulse

from mrisim.events.blocks import RFShape
from mrisim.program import lower
from mrisim.simulate import simulate

FOLDER = Path(os.environ.get("MRISIM_REFERENCE_DATA", "../shared")) / "bench"
FEW = 2000  # spins whose magnetisation after the pulse the reference holds


@pytest.fixture(scope="module")
def work():
    if not (FOLDER / "W1_slice_pulse.npz").is_file():
        pytest.skip(f"reference data are absent: no {FOLDER / 'W1_slice_pulse.npz'}")
    return dict(np.load(FOLDER / "W1_slice_pulse.npz"))


@pytest.fixture(scope="module")
def reference():
    return dict(np.load(FOLDER / "W1_ref.npz"))


def sequence(work, parts: int = 1):
    """The pulse, each of its samples cut in so many, then free precession sampled at the end of every step."""
    samples = np.repeat(work["rf_hz"].astype(complex), parts)
    peak, dt = np.abs(samples).max(), float(work["dt_rf"]) / parts
    shape = RFShape(edges=np.arange(len(samples) + 1) * dt, samples=samples / peak, center=len(samples) * dt / 2)
    n, dwell, g = int(work["n_free"]), float(work["dt_free"]), float(work["gz_hz_per_m"])
    return build([
        Block(
            duration=shape.duration, rf=RF(flip=np.pi / 2, shape=shape, amplitude=peak, at=shape.center),
            gz=(np.array([0.0, shape.duration]), np.array([g, g])),
        ),
        Block(duration=(n + 1) * dwell, adc=ADC(at=dwell, samples=n, dwell=dwell)),
    ])  # fmt: skip


def phantom(work, part: slice = slice(None)):
    position = np.zeros((len(work["z"][part]), 3))
    position[:, 2] = work["z"][part]
    return spins(position=position, t1=work["T1"][part], t2=work["T2"][part], df=work["B0"][part])


def after_pulse(work, parts: int, relax_last: bool, part: slice = slice(FEW)) -> np.ndarray:
    """Magnetisation after the pulse by the product's kernel in float64 (spins, 3)."""
    program = lower(sequence(work, parts))
    return through_pulse(program.waveforms[0], program.pulses.amplitude[0], phantom(work, part), after=relax_last)


def test_signal_in_float32(work, reference):
    signal = simulate(sequence(work), phantom(work), dtype="float32").signal[0]
    assert np.linalg.norm(signal - reference["signal"]) < 1e-4 * np.linalg.norm(reference["signal"])


def test_kernel_with_the_reference_splitting_equals_it(work, reference):
    m = after_pulse(work, 1, relax_last=True)
    assert np.abs(m - reference["m_after_pulse"]).max() < 1e-12  # rounding of 1000 rotations


def test_symmetric_splitting_is_nearer_to_the_converged_answer(work, reference):
    """Richardson: halved steps of a second-order method, (4 fine - coarse) / 3, are of fourth order."""
    n = 200
    coarse, fine = (after_pulse(work, parts, relax_last=False, part=slice(n)) for parts in (1, 2))
    converged = (4 * fine - coarse) / 3
    ours = np.abs(coarse - converged).max()
    theirs = np.abs(reference["m_after_pulse"][:n] - converged).max()
    assert ours < 1e-6
    assert theirs > 10 * ours
    assert np.abs(fine - converged).max() == pytest.approx(ours / 4, rel=0.1)  # second order


@pytest.mark.slow
def test_signal_composed_as_the_reference_equals_it(work, reference):
    """All spins in float64: the kernel with rotate-then-relax, then free precession, summed directly."""
    chosen, expected = np.array([0, 17, 480, 999]), 0.0
    t = (chosen + 1) * float(work["dt_free"])
    for start in range(0, len(work["z"]), 4000):
        part = slice(start, start + 4000)
        m = after_pulse(work, 1, relax_last=True, part=part)
        rate = 1 / work["T2"][part] + 2j * np.pi * work["B0"][part]
        expected = expected + (m[:, 0] + 1j * m[:, 1]) @ np.exp(-np.outer(rate, t))
    assert np.abs(expected - reference["signal"][chosen]).max() < 1e-6 * np.abs(reference["signal"]).max()
