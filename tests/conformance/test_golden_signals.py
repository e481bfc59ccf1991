"""Closed forms against values that an independent program cross-checked."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy.special import j1

from mrisim.data import RawData, ReadoutTable, ReconSpec
from mrisim.physics import signals
from mrisim.recon import reconstruct

FILE = Path(os.environ.get("MRISIM_REFERENCE_DATA", "../shared")) / "data" / "golden.json"
MS, DEG = 1e-3, np.pi / 180
CLOSED = {"float64": 1e-10, "float32": 1e-5}  # closed form against closed form


@pytest.fixture(scope="module")
def golden():
    if not FILE.is_file():
        pytest.skip(f"reference data are absent: no {FILE}")
    return json.loads(FILE.read_text())


@pytest.fixture(params=["float64", "float32"])
def near(request):
    """Comparison at the tolerance of a precision, which is in force meanwhile."""
    with jax.enable_x64(request.param == "float64"):
        yield lambda expected, digits=0.0: pytest.approx(expected, abs=max(CLOSED[request.param], digits))


def test_spoiled_gradient_echo(golden, near):
    for row in golden["spgr"]:
        t1 = row["T1"] * MS if "T1" in row else 1 / row["R1_per_s"]
        tr = row["TR"] * MS if "TR" in row else row["TR_s"]
        if "ernst_deg" in row:
            angle = signals.ernst_angle(tr, t1)
            assert float(angle) / DEG == near(row["ernst_deg"], 1e-3 * (angle.dtype == np.float32))  # arccos near 1
            assert float(signals.spoiled_gradient_echo(row["ernst_deg"] * DEG, tr, t1)) == near(row["S_ernst"])
        else:
            signal = row.get("S0", 1.0) * signals.spoiled_gradient_echo(row["FA_deg"] * DEG, tr, t1)
            assert float(signal) / row.get("S0", 1.0) == near(row["S"] / row.get("S0", 1.0))


def test_bssfp_on_and_off_resonance(golden, near):
    flip, tr, t1, t2 = 40 * DEG, 5 * MS, 1.0, 0.1
    for row in golden["bssfp_T1_1000_T2_100_TR_5_FA_40_phase_alternated"]:
        after = signals.bssfp(flip, tr, t1, t2, float(row["df_Hz"]))
        middle = signals.bssfp(flip, tr, t1, t2, float(row["df_Hz"]), tr / 2)
        digits = 0.5e-9  # of the file
        assert float(abs(after)) == near(row["M0plus"], digits)
        assert float(abs(middle)) == near(row["at_TR2"], digits)


def test_ssfp_fid_and_echo(golden, near):
    row = golden["ssfp_fid_psif_T1_1000_T2_100_TR_10_FA_30"]
    assert float(signals.ssfp_fid(30 * DEG, 10 * MS, 1.0, 0.1)) == near(row["FISP"])
    assert float(signals.ssfp_echo(30 * DEG, 10 * MS, 1.0, 0.1)) == near(row["PSIF"])


def test_inversion_recovery(golden, near):
    for row in golden["ir_gre"]:
        found = signals.inversion_recovery(
            row["TI"] * MS, row["TR"] * MS, row["T1"] * MS, row["inv"] * DEG, row["exc"] * DEG
        )
        assert float(found) == near(row["S"])
    row = golden["ir_se"]
    found = signals.inversion_recovery_spin_echo(*(row[name] * MS for name in ("TI", "TE", "TR", "T1")))
    assert float(found) == near(row["Mz_before_90"])


def test_spin_echo(golden, near):
    row = golden["se"]
    found = signals.spin_echo(*(row[name] * MS for name in ("TE", "TR", "T1", "T2")))
    assert float(found) == near(row["S"])


def test_null_inversion_times(golden, near):
    for name, value in golden["null_TI"].items():
        _, _, t1, _, tr = name.split("_")
        digits = 0.5e-6 * MS  # of the file
        assert float(signals.null_inversion_time(float(tr) * MS, float(t1) * MS)) == near(value * MS, digits)


def test_look_locker(golden, near):
    row = golden["look_locker"]
    flip, tr, t1 = row["FA"] * DEG, row["TR"] * MS, row["T1"] * MS
    assert float(signals.look_locker_time_constant(flip, tr, t1)) == near(row["T1star"] * MS)
    assert float(signals.look_locker(np.inf, flip, tr, t1)) == near(row["Mss"])


def test_mprage(golden, near):
    for t1, value in golden["mprage_TR2300_TI900_FA9_ES7_n176_center_pulse88"].items():
        found = signals.mprage(900 * MS, 2300 * MS, 9 * DEG, 7 * MS, 176, 88, float(t1) * MS)
        assert float(found) == near(value)


def test_variable_flip_angle_bias(golden, near):
    """T1 from two flip angles, linearized, with a transmit field that the fit does not know: close to T1·b1²."""
    tr, t1 = 5 * MS, 1.0
    for b1, value in golden["vfa_b1_bias_T1_1000_TR_5"].items():
        nominal = np.array([3.0, 15.0]) * DEG
        signal = np.array([float(signals.spoiled_gradient_echo(a * float(b1), tr, t1)) for a in nominal])
        x, y = signal / np.tan(nominal), signal / np.sin(nominal)
        apparent = -tr / np.log((y[1] - y[0]) / (x[1] - x[0]))
        assert apparent == pytest.approx(value * MS, rel=5e-3)


def test_ellipse_through_the_reconstruction(golden):
    """Closed-form k-space → 128 × 128: interior mean, ringing and overshoot."""
    row = golden["analytic_ellipse_fft128"]
    n, fov, thickness, radii, center = 128, 0.2, 5e-3, np.array([0.06, 0.075]), np.array([0.004, -0.0065])
    k = (np.arange(n) - n // 2) / fov
    ky, kx = (grid.ravel() for grid in np.meshgrid(k, k, indexing="ij"))
    q = np.hypot(radii[0] * kx, radii[1] * ky)
    safe = np.where(q == 0, 1.0, q)
    signal = thickness * np.prod(radii) * np.where(q == 0, np.pi, j1(2 * np.pi * safe) / safe)
    signal = signal * np.exp(-2j * np.pi * (kx * center[0] + ky * center[1]))
    table = ReadoutTable(
        start=n * np.arange(n), count=np.full(n, n), dwell=np.full(n, 1e-5), te=np.zeros(n), ti=np.full(n, np.nan),
        tr=np.full(n, np.nan), flip=np.zeros(n), labels={"LIN": np.arange(n)},
    )  # fmt: skip
    raw = RawData(
        signal=signal[None],
        k=np.stack([kx, ky, 0 * kx], axis=1),
        time=np.arange(n * n) * 1e-5,
        readouts=table,
        recon=ReconSpec(method="cartesian", matrix=(n, n, 1), fov=(fov, fov, thickness)),
    )
    image = reconstruct(raw)
    x, y, _ = np.moveaxis(image.grid.positions()[0], -1, 0)
    inside = np.hypot((x - center[0]) / radii[0], (y - center[1]) / radii[1])
    roi = image.data[0, 0].real[inside < 0.9]
    assert roi.mean() == pytest.approx(1.0, abs=1e-4)
    assert roi.std() == pytest.approx(row["gibbs_std"], abs=2e-3)  # .8 %
    assert image.magnitude.max() == pytest.approx(row["overshoot"], abs=0.015)  # depends on where voxels meet the edge
