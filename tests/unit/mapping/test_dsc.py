"""Perfusion of a first pass: areas, deconvolution, delay, leakage, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from mrisim.errors import ConsistencyError
from mrisim.mapping import dce, dsc

TIME = np.arange(0.0, 90.0, 1.0)
SAME = {"hct_large": 0.4, "hct_small": 0.4}


def artery(t=TIME):
    since = np.maximum(t - 12.0, 0.0)
    return since**3 * np.exp(-since / 1.5)


def tissue(cbf, mtt, delay=0.0):
    """Exponential residue function: one compartment of volume cbf · mtt."""
    fine = np.arange(-5.0, 95.0, 0.05)
    return dce.tissue_concentration("tofts", TIME, artery(fine), ta=fine, ktrans=cbf, ve=cbf * mtt, delay=delay)


def test_relaxation_change():
    signal = 7.0 * np.exp(-0.03 * np.array([0.0, 0.0, 12.0, -1.0])) * np.exp(1.1j)
    np.testing.assert_allclose(dsc.relaxation_change(signal, 0.03, slice(0, 2)), [0, 0, 12, -1], atol=1e-12)
    assert np.isnan(dsc.relaxation_change([1.0, 0.0], 0.03, slice(0, 1))[1])


def test_volume_is_the_ratio_of_areas():
    found = dsc.perfusion(TIME, tissue(0.01, 4.0), artery(), **SAME)
    assert found["cbv"] == pytest.approx(0.04, rel=2e-3)  # trapezoids of a first pass of some seconds
    scaled = dsc.perfusion(TIME, tissue(0.01, 4.0), artery(), hct_large=0.45, hct_small=0.25)
    assert scaled["cbv"] == pytest.approx(found["cbv"] * 0.55 / 0.75, rel=1e-12)


@pytest.mark.parametrize("mtt", [3.0, 4.0, 6.0, 10.0])
def test_flow_and_transit_time(mtt):
    """Deconvolution with few singular values cuts the corner of exp(-t/MTT); Wu 2003 finds the same 10 to 20 %."""
    found = dsc.perfusion(TIME, tissue(0.01, mtt), artery(), **SAME)
    assert found["cbf"] == pytest.approx(0.01, rel=0.2)
    assert found["mtt"] == pytest.approx(found["cbv"] / found["cbf"], rel=1e-12)


@pytest.mark.parametrize(("n", "dt"), [(60, 1.25), (75, 1.0), (160, 1.0)])
def test_a_bolus_that_recirculates_at_the_end_of_the_scan_makes_no_spike(n, dt):
    """Cut off, its end would be an edge, which costs 3 to 7 % more of a flow that is 26 to 30 % low with it."""
    t, fine = np.arange(n) * dt, np.arange(0.0, n * dt, 0.05)
    curve = dce.tissue_concentration("tofts", t, dce.parker_aif(fine, 12.0), ta=fine, ktrans=0.04 / 6.0, ve=0.04)
    found = dsc.perfusion(t, curve, dce.parker_aif(t, 12.0), **SAME)
    assert 0.69 < found["cbf"] / (0.04 / 6.0) < 1.0
    assert abs(found["delay"]) <= 3 * dt


@pytest.mark.parametrize("delay", [-3.0, 2.0, 5.0])
def test_delay_does_not_change_the_flow(delay):
    at_once = dsc.perfusion(TIME, tissue(0.01, 6.0), artery(), **SAME)
    found = dsc.perfusion(TIME, tissue(0.01, 6.0, delay), artery(), **SAME)
    assert found["cbf"] == pytest.approx(at_once["cbf"], rel=0.02)
    assert found["delay"] - at_once["delay"] == pytest.approx(delay, abs=1e-9)  # whole steps


def test_leakage_is_corrected():
    healthy = tissue(0.01, 4.0)
    gathered = np.concatenate([[0.0], np.cumsum((healthy[1:] + healthy[:-1]) / 2)])
    rows = np.stack([healthy, healthy, healthy - 0.005 * gathered])  # T1 shortens: the curve ends below its baseline
    reference = np.array([True, True, False])
    plain = dsc.perfusion(TIME, rows, artery(), **SAME)
    found = dsc.perfusion(TIME, rows, artery(), leakage=reference, **SAME)
    assert not plain["cbv"][2] > 0.9 * plain["cbv"][0]
    np.testing.assert_allclose(found["cbv"], plain["cbv"][0], rtol=1e-9)
    np.testing.assert_allclose(found["k2"], [0, 0, 0.005], atol=1e-9)


def test_tissue_without_blood_to_speak_of_is_masked():
    """What rings into fluid from vessels is no first pass of its own, of whatever sign."""
    rows = np.stack([share * artery() for share in (0.006, 0.004, -0.004)])
    found = dsc.perfusion(TIME, rows, artery(), **SAME)
    assert found.counts == {"fitted": 1, "empty": 2, "failed": 0}
    assert np.isfinite(found["mtt"]).tolist() == [True, False, False]


def test_what_cannot_be_fitted_is_masked():
    rows = np.stack([tissue(0.01, 4.0), np.zeros(len(TIME)), np.full(len(TIME), np.nan)])
    found = dsc.perfusion(TIME, rows, artery(), **SAME)
    assert found.converged.tolist() == [True, False, False]
    assert dict(found.counts) == {"fitted": 1, "empty": 1, "failed": 1}
    assert all(np.isnan(values[1:]).all() for values in found.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tissue": np.ones((2, 89))}, "tissue: must have one value for each of the 90 times"),
        ({"artery": np.ones(80)}, r"artery: must have shape \(90,\), as t, but has \(80,\)"),
        ({"artery": np.zeros(90)}, "artery: must hold a first pass of positive area"),
        ({"t": TIME**1.1}, "t: must be equidistant, but is not. Interpolate the curves"),
        ({"hct_large": 45}, "hct_large: must lie between 0 and 1, but is 45. Write a share"),
        ({"leakage": np.zeros(2, dtype=bool)}, "leakage: must mark voxels of healthy tissue"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"t": TIME, "tissue": np.ones((2, 90)), "artery": artery(), **change}
    with pytest.raises(ConsistencyError, match=message):
        dsc.perfusion(arguments.pop("t"), arguments.pop("tissue"), arguments.pop("artery"), **arguments)


def test_limit_of_the_oscillation_is_the_usual_index():
    """Wu 2003: 0.035 for gradient echoes, the mean over 90 times and as many of padding."""
    assert pytest.approx(0.035 * 2 * 90, rel=0.05) == dsc.BEND
