"""Kinetics, concentration and T1 against the reference data of the OSIPI DCE-DSC code collection (Apache-2.0)."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from mrisim.mapping import dce, t1

FOLDER = Path(os.environ.get("MRISIM_REFERENCE_DATA", "../shared")) / "data" / "osipi_dce"
MINUTE, DEG = 60.0, np.pi / 180
PER_100ML_MIN = 1 / 100 / MINUTE  # ml/100ml/min in 1/s


def read(name: str) -> list[dict[str, str]]:
    file = FOLDER / name
    if not file.is_file():
        pytest.skip(f"reference data are absent: no {file}")
    csv.field_size_limit(10**8)
    return list(csv.DictReader(file.read_text(encoding="utf-8-sig").splitlines()))


def series(text: str) -> np.ndarray:
    return np.array(text.split(), dtype=float)


def column(rows: list[dict[str, str]], name: str) -> np.ndarray:
    return np.array([float(row[name]) for row in rows])


def test_parker():
    rows = read("parker_aif.csv")
    found = dce.parker_aif(column(rows, "time") * MINUTE)
    np.testing.assert_allclose(found, column(rows, "Cb"), rtol=1e-9, atol=1e-9)


def test_parker_with_delay():
    rows = read("parker_aif_delay.csv")
    time, delay = column(rows, "time") * MINUTE, column(rows, "delay")
    found = np.array([dce.parker_aif(t, d).item() for t, d in zip(time, delay, strict=True)])
    after = time > delay + 1e-6  # at the very arrival, rounding of minutes decides
    np.testing.assert_allclose(found[after], column(rows, "Cb")[after], rtol=1e-9, atol=1e-9)
    assert (found[time < delay - 1e-6] == 0).all()


def test_signal_to_concentration():
    rows = read("signal_to_concentration.csv")
    assert rows
    for row in rows:
        found = dce.concentration_from_signal(
            series(row["s"]),
            float(row["FA"]) * DEG,
            float(row["TR"]),
            float(row["T1base"]),
            float(row["r1"]),
            slice(1, int(row["numbaselinepts"])),
        )
        np.testing.assert_allclose(found, series(row["conc"]), rtol=1e-9, atol=1e-9)


def test_tofts():
    for row in read("tofts.csv"):
        found = dce.fit("tofts", series(row["t"]), series(row["C"]), series(row["ca"]))
        assert found["ktrans"] * MINUTE == pytest.approx(float(row["Ktrans"]), rel=5e-3)
        assert found["ve"] == pytest.approx(float(row["ve"]), abs=2e-3)


def test_patlak():
    rows = read("patlak.csv")
    curves = np.stack([series(row["C_t"]) for row in rows])
    found = dce.fit("patlak", series(rows[0]["t"]), curves, series(rows[0]["cp_aif"]))
    assert found.converged.all()
    np.testing.assert_allclose(found["vp"], column(rows, "vp"), atol=4e-3)
    np.testing.assert_allclose(found["ps"] * MINUTE, column(rows, "ps"), atol=1e-3)


def test_two_compartment_exchange():
    rows = read("2cxm.csv")
    t, ca = series(rows[0]["t"]), series(rows[0]["cp_aif"])
    curves = np.stack([series(row["C_t"]) for row in rows])
    truth = {
        "fp": column(rows, "fp") * PER_100ML_MIN,
        "ps": column(rows, "ps") / MINUTE,
        "ve": column(rows, "ve"),
        "vp": column(rows, "vp"),
    }
    forward = dce.tissue_concentration("2cxm", t, ca, **truth)
    assert (forward - curves).std(axis=1).max() <= 1.1e-3
    found = dce.fit("2cxm", t, curves, ca)
    assert found.converged.all()
    np.testing.assert_allclose(found["fp"], truth["fp"], rtol=0.10)
    np.testing.assert_allclose(found["ps"], truth["ps"], rtol=0.15)
    np.testing.assert_allclose(found["ve"], truth["ve"], atol=0.02)
    np.testing.assert_allclose(found["vp"], truth["vp"], atol=0.02)


def test_variable_flip_t1():
    for row in read("vfa_t1_qiba_sigma2.csv"):
        found = t1.fit_vfa(series(row["s"]), series(row["FA"]) * DEG, series(row["TR"])[0])
        quiet = float(row["s0"]) / 2 >= 5000  # noise of standard deviation 2
        truth = 1e-3 / float(row["R1"])
        assert found["t1"] == pytest.approx(truth, rel=0.015 if quiet else 0.04)
