"""Trains of spiral arms for fingerprinting: what each repetition leaves."""

from __future__ import annotations

import numpy as np
import pytest

import mrisim as mr
from mrisim.events.moments import gradient_tracks, pulse_instances, total_moment


@pytest.mark.parametrize(("name", "cycles"), [("mrf_fisp", 1.0), ("mrf_bssfp", 0.0)])
def test_arms_are_rewound_exactly(name, cycles):
    """An arm begins with a jump after a delay. What was left of it in the plane, 0.01 cycles per m, made every
    configuration state a new one.
    """
    seq = mr.load_sequence(name, repetitions=8)
    left = np.diff(total_moment(gradient_tracks(seq), pulse_instances(seq).center), axis=0)[1:]
    assert left == pytest.approx(np.tile([0.0, 0.0, cycles / 0.005], (7, 1)), abs=1e-9)  # rounding of 1e3 cycles/m
