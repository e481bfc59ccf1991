"""Gradient echo, spin-echo train and EPI, read from .seq files, against signals that others computed (W2 to W4).

The files come from another program and are taken conjugated as a whole; their block pulses are taken as instantaneous.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import mrisim as mr

FOLDER = Path(os.environ.get("MRISIM_REFERENCE_DATA", "../shared")) / "bench"
WORKS = {
    "W2a": ("W2_gre128", "phantom128"),
    "W3a": ("W3_tse128", "phantom128"),
    "W4": ("W4_epi64", "phantom256"),
}
SINGLE, DOUBLE = 5e-5, 1e-6  # what the reference data ask for


def relative_error(work: str, dtype: str, tolerance: float) -> float:
    sequence, phantom = WORKS[work]
    if not (FOLDER / f"{sequence}.seq").is_file():
        pytest.skip(f"reference data are absent: no {FOLDER / sequence}.seq")
    seq = mr.load_sequence(FOLDER / f"{sequence}.seq", strict=True)
    assert seq.findings == ()
    spins = np.load(FOLDER / f"{phantom}.npz")
    position = np.stack([spins["x"], spins["y"], spins["z"]], axis=-1)
    ph = mr.Phantom.from_arrays(position=position, t1=spins["T1"], t2=spins["T2"], pd=spins["PD"], df=spins["B0"])
    expected = np.load(FOLDER / f"{work}_ref.npz")["signal"]
    signal = mr.simulate(seq, ph, pulses="ideal", dtype=dtype, tolerance=tolerance).signal[0]
    return float(np.linalg.norm(signal - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("work", WORKS)
def test_signal_in_float32(work):
    assert relative_error(work, "float32", SINGLE) < SINGLE


@pytest.mark.parametrize("work", WORKS)
def test_signal_in_float64(work):
    assert relative_error(work, "float64", DOUBLE) < DOUBLE
