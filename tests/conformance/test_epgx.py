"""The phase graph against another program's, and against tables that were cross-checked independently."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from physics import oracles
from physics.build import DEG, MS, spins
from physics.oracles import GAP

from mrisim.phantom.sampling import Sampling
from mrisim.simulate import simulate

FOLDER = Path(os.environ.get("MRISIM_REFERENCE_DATA", "../shared")) / "data"
DIGITS = 0.5e-6  # tables of six decimals


def read(name: str):
    file = FOLDER / name
    if not file.is_file():
        pytest.skip(f"reference data are absent: no {file}")
    return json.loads(file.read_text())


def graph(shots, t1: float, t2: float, tolerance: float = 1e-12) -> np.ndarray:
    """Signal of one box of 1 m, so that every step dephases it by whole cycles."""
    sampling = Sampling(extent=(1.0, 1.0, 1.0), voxel=(1.0, 1.0, 1.0))
    box = replace(spins(t1=t1, t2=t2), sampling=sampling)
    sequence = oracles.graph_system("train", shots, t1, t2).sequence()
    return simulate(sequence, box, engine="epg", pulses="ideal", dtype="float64", tolerance=tolerance).signal[0]


def test_rf_spoiled_approach_of_another_program():
    row = read("epgx/rf_spoiled_gre.json")
    shots = oracles.rf_spoiled(
        row["flip_deg"] * DEG, row["rf_spoil_increment_deg"] * DEG, tr=row["TR_s"], n=row["n_pulses"]
    )
    signal = np.abs(graph(shots, row["T1_s"], row["T2_s"])) * np.exp(GAP / row["T2_s"])
    assert np.abs(signal - row["abs_F0_after_pulse"]).max() < 1e-9


@pytest.mark.parametrize("flip", [180, 150, 120, 90, 60])
def test_echo_trains(flip):
    expected = np.array(read("golden.json")["cpmg_T1_1000_T2_100_ESP_10"][str(flip)])
    signal = np.abs(graph(oracles.cpmg(flip * DEG), 1.0, 0.1)) * np.exp(-GAP / 0.1)  # sampled so early
    assert np.abs(signal - expected).max() < DIGITS * (1 + 1e-6)


@pytest.mark.parametrize("increment", [50, 117, 169])
def test_rf_spoiled_steady_state(increment):
    rows = read("golden.json")["rf_spoiled_steady_state_T1_1000_TR_5"]
    for row in rows:
        n = 2000 if row["FA"] == 5 else 1200
        shots = oracles.rf_spoiled(row["FA"] * DEG, increment * DEG, n=n)
        signal = np.abs(graph(shots, 1.0, row["T2"] * MS, tolerance=1e-7)[-1]) * np.exp(GAP / (row["T2"] * MS))
        assert signal == pytest.approx(row[f"inc{increment}"], abs=DIGITS + 1e-6)


@pytest.mark.parametrize(("key", "sample"), [("FISP", 0.0), ("PSIF", 1.0)])
def test_unbalanced_ssfp(key, sample):
    signal = graph(oracles.ssfp(30 * DEG, 10 * MS, sample), 1.0, 0.1, tolerance=1e-8)[-1]
    away = GAP / 0.1
    expected = read("golden.json")["ssfp_fid_psif_T1_1000_T2_100_TR_10_FA_30"][key]
    assert abs(signal) * np.exp(away if key == "FISP" else -away) == pytest.approx(expected, abs=1e-6)
