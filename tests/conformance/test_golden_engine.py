"""The engine against values that an independent program cross-checked: hard ideal pulses, both precisions."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from physics import oracles
from physics.build import DEG, MS
from physics.oracles import GAP, TOLERANCE, graph_signal, graph_system

FOLDER = Path(os.environ.get("MRISIM_REFERENCE_DATA", "../shared")) / "data"
DIGITS = 0.5e-6  # tables of six decimals


@pytest.fixture(scope="module")
def golden():
    if not (FOLDER / "golden.json").is_file():
        pytest.skip(f"reference data are absent: no {FOLDER / 'golden.json'}")
    return json.loads((FOLDER / "golden.json").read_text())


@pytest.fixture(params=["float64", "float32"])
def dtype(request):
    return request.param


def value(system: oracles.System, dtype: str) -> float:
    """Signed amplitude of one sample, along +i."""
    return float(system.run(dtype=dtype)[0, -1].imag)


def test_inversion_recovery(golden, dtype):
    for row in golden["ir_gre"]:
        system = oracles.inversion_recovery(
            row["TR"] * MS, row["TI"] * MS, row["inv"] * DEG, row["exc"] * DEG, expected=row["S"]
        )
        assert value(system, dtype) == pytest.approx(system.exact()[0, 0].imag, abs=TOLERANCE[dtype])


def test_spin_echoes(golden, dtype):
    row = golden["se"]
    system = oracles.spin_echo(row["TR"] * MS, row["TE"] * MS, row["T1"] * MS, row["T2"] * MS, expected=row["S"])
    assert value(system, dtype) == pytest.approx(row["S"], abs=TOLERANCE[dtype])
    row = golden["ir_se"]
    system = oracles.inversion_recovery_spin_echo(
        row["TR"] * MS, row["TI"] * MS, row["TE"] * MS, row["T1"] * MS, expected=row["Mz_before_90"]
    )
    assert value(system, dtype) == pytest.approx(system.exact()[0, 0].imag, abs=TOLERANCE[dtype])


def test_ernst(golden, dtype):
    row = next(r for r in golden["spgr"] if r.get("TR") == 10 and r.get("FA_deg") == 10)
    system = oracles.ernst(row["FA_deg"] * DEG, row["TR"] * MS, row["T1"] * MS)
    decay = abs(system.exact()[0, -1]) / row["S"]  # exp(-TE/T2), and what is left of the approach
    assert abs(system.run(dtype=dtype)[0, -1]) == pytest.approx(row["S"] * decay, abs=TOLERANCE[dtype])
    assert decay == pytest.approx(np.exp(-3 / 60), abs=1e-6)


def test_bssfp(golden, dtype):
    rows = golden["bssfp_T1_1000_T2_100_TR_5_FA_40_phase_alternated"]
    df = np.array([float(row["df_Hz"]) for row in rows])
    middle = np.array([row["at_TR2"] for row in rows])
    system = oracles.bssfp(40 * DEG, 5 * MS, 1.0, 0.1, df, middle)
    assert np.abs(system.run(dtype=dtype)[:, 0]) == pytest.approx(middle, abs=TOLERANCE[dtype])


@pytest.mark.parametrize("flip", [180, 150, 120, 90, 60])
def test_echo_trains(golden, dtype, flip):
    system = graph_system("CPMG", oracles.cpmg(flip * DEG), 1.0, 0.1)
    expected = np.array(golden["cpmg_T1_1000_T2_100_ESP_10"][str(flip)]) * np.exp(GAP / 0.1)  # sampled so early
    assert np.abs(system.run(dtype=dtype)[0]) == pytest.approx(expected, abs=TOLERANCE[dtype] + DIGITS)


@pytest.mark.parametrize(("key", "sample"), [("FISP", 0.0), ("PSIF", 1.0)])
def test_unbalanced_ssfp(golden, dtype, key, sample):
    system = graph_system(key, oracles.ssfp(30 * DEG, 10 * MS, sample), 1.0, 0.1, last=1)
    away = GAP / 0.1
    expected = golden["ssfp_fid_psif_T1_1000_T2_100_TR_10_FA_30"][key] * np.exp(-away if key == "FISP" else away)
    assert abs(system.run(dtype=dtype)[0, 0]) == pytest.approx(expected, abs=TOLERANCE[dtype])


def test_rf_spoiled_approach_of_another_program(dtype):
    file = FOLDER / "epgx" / "rf_spoiled_gre.json"
    if not file.is_file():
        pytest.skip(f"reference data are absent: no {file}")
    row = json.loads(file.read_text())
    shots = oracles.rf_spoiled(
        row["flip_deg"] * DEG, row["rf_spoil_increment_deg"] * DEG, tr=row["TR_s"], n=row["n_pulses"]
    )
    expected = np.array(row["abs_F0_after_pulse"])
    graph = np.abs(list(graph_signal(shots, row["T1_s"], row["T2_s"])))
    assert graph == pytest.approx(expected, abs=1e-9)  # the tests' own second opinion
    signal = np.abs(graph_system("spoiled", shots, row["T1_s"], row["T2_s"]).run(dtype=dtype)[0])
    assert signal == pytest.approx(expected * np.exp(-GAP / row["T2_s"]), abs=TOLERANCE[dtype])


@pytest.mark.parametrize("increment", [50, 117, 169])
def test_rf_spoiled_steady_state(golden, increment):
    """2048 isochromats over a whole number of cycles: 1e-3 of M0 is asked, and far less is found."""
    rows = golden["rf_spoiled_steady_state_T1_1000_TR_5"]
    for flip in (5, 15, 30):
        chosen = [r for r in rows if r["FA"] == flip]
        t2 = np.array([r["T2"] * MS for r in chosen])
        shots = oracles.rf_spoiled(flip * DEG, increment * DEG, n=1200 if flip > 5 else 2000)
        system = graph_system("spoiled", shots, np.ones(len(t2)), t2, last=1)
        signal = np.abs(system.run(dtype="float32")[:, 0]) * np.exp(GAP / t2)
        expected = [r[f"inc{increment}"] for r in chosen]
        assert signal == pytest.approx(expected, abs=1e-4)
