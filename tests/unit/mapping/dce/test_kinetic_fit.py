"""Kinetic fits: no bias without noise, honest errors with it, masks, bounds and bad input."""

from __future__ import annotations

import numpy as np
import pytest

from mrisim.errors import ConsistencyError
from mrisim.mapping import dce

MINUTE = 60.0
TIME = np.arange(0.0, 300.0, 5.0)
CA = dce.plasma(dce.parker_aif(TIME, 20.0), 0.42)
NO_BIAS = 1e-4  # Gauss–Newton ends within a step of 1e-7 of its parameter; narrow valleys make more of it
KTRANS, VE = 0.2 / MINUTE, 0.3


def tissue(n: int, model: str, seed: int = 3) -> dict[str, np.ndarray]:
    """Parameters of tissues, rates per second."""
    rng = np.random.default_rng(seed)
    limits = {
        "ktrans": (0.02 / MINUTE, 0.5 / MINUTE),
        "ve": (0.1, 0.5),
        "vp": (0.02, 0.1),
        "fp": (0.1 / MINUTE, 0.8 / MINUTE),
        "ps": (0.03 / MINUTE, 0.3 / MINUTE),
    }
    names = {
        "tofts": ("ktrans", "ve"),
        "extended_tofts": ("ktrans", "ve", "vp"),
        "patlak": ("vp", "ps"),
        "2cxm": ("fp", "ps", "ve", "vp"),
        "2cum": ("fp", "ps", "vp"),
        "aath": ("fp", "ps", "ve", "vp"),
    }[model]
    return {name: rng.uniform(*limits[name], n) for name in names}


@pytest.mark.parametrize("model", ["tofts", "extended_tofts", "patlak", "2cxm", "2cum", "aath"])
def test_no_bias_without_noise(model):
    truth = tissue(60, model)
    c = dce.tissue_concentration(model, TIME, CA, **truth)
    found = dce.fit(model, TIME, c.reshape(6, 10, -1), CA)
    share = 1.0 if model != "aath" else 0.95  # its transit time lies between two images
    assert found.converged.mean() >= share
    for name, values in truth.items():
        assert found[name].shape == (6, 10)
        np.testing.assert_allclose(found[name][found.converged], values.reshape(6, 10)[found.converged], rtol=NO_BIAS)


def test_delay_is_found_with_the_rest():
    truth = {**tissue(20, "tofts"), "delay": np.linspace(0.7, 12.0, 20)}
    fine = np.arange(0.0, 301.0, 0.5)
    ca = dce.plasma(dce.parker_aif(fine, 20.0), 0.42)
    c = dce.tissue_concentration("tofts", TIME, ca, ta=fine, **truth)
    found = dce.fit("tofts", TIME, c, ca, ta=fine, fit_delay=True)
    assert found.converged.all()
    for name, values in truth.items():
        np.testing.assert_allclose(found[name], values, rtol=NO_BIAS)
    left_out = dce.fit("tofts", TIME, c, ca, ta=fine)
    assert (np.abs(left_out["ktrans"][10:] / truth["ktrans"][10:] - 1) > 10 * NO_BIAS).all()


def test_errors_are_those_of_the_noise():
    """2000 voxels give a standard deviation to 1.6 %; the curvature is that of the mean, so 5 % is asked."""
    rng, noise = np.random.default_rng(5), 0.01
    clean = dce.tissue_concentration("extended_tofts", TIME, CA, ktrans=KTRANS, ve=VE, vp=0.05)
    noisy = clean + noise * rng.normal(size=(2000, len(TIME)))
    given, found = dce.fit("extended_tofts", TIME, noisy, CA, noise=noise), dce.fit("extended_tofts", TIME, noisy, CA)
    assert given.converged.all()
    for name in ("ktrans", "ve", "vp"):
        spread = given[name].std()
        assert np.median(given.standard_error[name]) == pytest.approx(spread, rel=0.05)
        assert np.median(found.standard_error[name]) == pytest.approx(spread, rel=0.05)
    assert found.residual.mean() == pytest.approx(noise, rel=0.05)
    freedom = len(TIME) - 3
    own = found.residual * np.sqrt(len(TIME) / freedom)
    np.testing.assert_allclose(found.standard_error["ve"], given.standard_error["ve"] * own / noise, rtol=1e-9)


def test_a_zero_that_is_measured_is_kept():
    c = dce.tissue_concentration("tofts", TIME, CA, ktrans=KTRANS, ve=VE)
    c = c - 0.01 * CA  # so that the best vp is below zero
    found = dce.fit("extended_tofts", TIME, c, CA)
    assert found["vp"] == 0.0
    assert found.converged
    assert np.isnan(found.standard_error["vp"])
    held = dce.fit("tofts", TIME, c, CA)  # what is left of the model
    assert found["ktrans"] == pytest.approx(held["ktrans"], rel=NO_BIAS)
    assert found.standard_error["ktrans"] > 0


def test_what_cannot_be_fitted_is_masked_and_counted():
    good = dce.tissue_concentration("tofts", TIME, CA, ktrans=KTRANS, ve=VE)
    beyond = dce.tissue_concentration("tofts", TIME, CA, ktrans=KTRANS, ve=3.0)  # ve of at most one
    broken = np.where(TIME == 100.0, np.nan, good)
    found = dce.fit("tofts", TIME, np.stack([good, beyond, np.zeros_like(good), -good, broken]), CA)
    assert found.converged.tolist() == [True, False, False, False, False]
    assert dict(found.counts) == {"fitted": 1, "empty": 2, "bounded": 1, "failed": 1}
    assert np.isnan(found["ktrans"][1:]).all()
    assert np.isnan(found["ve"][1:]).all()
    assert np.isnan(found.residual[1:]).all()


def test_bounds_may_be_moved():
    c = dce.tissue_concentration("tofts", TIME, CA, ktrans=KTRANS, ve=1.4)
    assert not dce.fit("tofts", TIME, c, CA).converged
    found = dce.fit("tofts", TIME, c, CA, bounds={"ve": (0.0, 2.0)})
    assert found["ve"] == pytest.approx(1.4, rel=NO_BIAS)


def test_nothing_to_fit_is_no_error():
    found = dce.fit("2cxm", TIME, np.zeros((3, len(TIME))), CA)
    assert not found.converged.any()
    assert found.counts["empty"] == 3


def test_chunks_do_not_matter():
    truth = tissue(700, "tofts")  # more than one chunk
    c = dce.tissue_concentration("tofts", TIME, CA, **truth)
    whole = dce.fit("tofts", TIME, c, CA)
    part = dce.fit("tofts", TIME, c[517:523], CA)
    np.testing.assert_allclose(part["ktrans"], whole["ktrans"][517:523], rtol=1e-12)


LATE = "Take a longer input function, or leave later points of the tissue out."
WRONG = [
    (
        {"model": "toft"},
        "model: must be one of tofts, extended_tofts, patlak, 2cxm, 2cum, aath, but is 'toft' (did you mean 'tofts'?).",
    ),
    (
        {"c": np.ones((4, 59))},
        (
            "c: must have one value for each of the 60 times along its last axis, but has shape (4, 59). Move the axis "
            "of time to the end."
        ),
    ),
    ({"ca": CA[:-1]}, "ca: must have one value for each of the 60 times, but has shape (59,)."),
    (
        {"ca": CA[:-4], "ta": TIME[:-4]},
        f"ca: must reach to 295 s, the end of the tissue curve less its delay, but ends at 275 s. {LATE}",
    ),
    (
        {"ca": CA[6:], "ta": TIME[6:]},
        (
            "ca: must start with the tissue curve at 0 s, but starts at 30 s with contrast agent. Take an input "
            "function with a baseline."
        ),
    ),
    (
        {"ca": 2.0 - CA},
        (
            f"ca: must be concentrations, from zero up, but goes from {2 - CA.max():g} to 2 mM. Check the baseline of "
            "the input function."
        ),
    ),
    ({"t": TIME[::-1]}, "t: must increase from each time to the next, but does not."),
    ({"bounds": {"vp": (0, 1)}}, "bounds.vp: must be one of ktrans, ve, but is 'vp'."),
    ({"bounds": {"ve": (1, 0)}}, "bounds.ve: must be two increasing numbers from zero up, but is 1 .. 0."),
    (
        {"bounds": {"delay": (-10, 10)}, "fit_delay": True},
        f"ca: must reach to 305 s, the end of the tissue curve less its delay, but ends at 295 s. {LATE}",
    ),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_bad_input_is_refused(change, message):
    arguments = {"model": "tofts", "t": TIME, "c": np.ones((2, len(TIME))), "ca": CA, **change}
    with pytest.raises(ConsistencyError) as error:
        dce.fit(arguments.pop("model"), arguments.pop("t"), arguments.pop("c"), arguments.pop("ca"), **arguments)
    assert str(error.value) == message


def test_parameters_are_checked():
    with pytest.raises(ConsistencyError, match="parameters: must be ktrans, ve for tofts, but are ktrans"):
        dce.tissue_concentration("tofts", TIME, CA, ktrans=KTRANS)
    with pytest.raises(ConsistencyError, match="ve: must be zero or positive, but holds nan or a negative value"):
        dce.tissue_concentration("tofts", TIME, CA, ktrans=KTRANS, ve=[0.1, -0.1])
    with pytest.raises(
        ConsistencyError, match=r"ve: must be above zero where ktrans is, but holds 0\. Set ktrans to 0"
    ):
        dce.tissue_concentration("tofts", TIME, CA, ktrans=KTRANS, ve=[0.1, 0.0])
    with pytest.raises(ConsistencyError, match="ve: must be above zero where ps is"):
        dce.tissue_concentration("2cxm", TIME, CA, fp=0.01, ps=0.001, ve=0.0, vp=0.05)
    with pytest.raises(ConsistencyError, match=r"must have shapes that fit together, but are ktrans \(2,\), ve \(3,\)"):
        dce.tissue_concentration("tofts", TIME, CA, ktrans=[KTRANS, KTRANS], ve=[0.1, 0.1, 0.1])
    assert not dce.tissue_concentration("tofts", TIME, CA, ktrans=0.0, ve=0.0).any()  # outside of the tissue
