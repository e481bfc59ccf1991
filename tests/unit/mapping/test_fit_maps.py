"""Specifications of maps: settings from the image, background, several series, errors."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

from mrisim.data import Grid, Image
from mrisim.errors import ConsistencyError
from mrisim.mapping import fit_maps
from mrisim.mapping.fit import MAPS, METHODS

TI = np.array([0.05, 0.15, 0.4, 1.1, 2.5])
TE = np.array([0.012, 0.05, 0.1, 0.16])
GRID = Grid.of((3, 2, 1), (1e-3, 1e-3, 5e-3))
T1 = np.array([0.3, 0.8, 1.2, 1.6, 4.0, 1.0]).reshape(1, 2, 3)
T2 = np.array([0.05, 0.08, 0.1, 0.09, 0.5, 0.1]).reshape(1, 2, 3)
PD = np.array([0.7, 0.8, 1.0, 0.6, 1.0, 0.02]).reshape(1, 2, 3)  # the last is background
TISSUE = PD > 0.1


def column(values):
    return np.asarray(values)[:, None, None, None]


def coordinates(n, **known):
    every = {name: np.full(n, np.nan) for name in ("te", "ti", "tr")}
    return {**every, "flip": np.full(n, np.pi / 2), **{name: value * np.ones(n) for name, value in known.items()}}


@pytest.fixture
def recovery():
    te, tr = 0.012, 5.0
    signal = 1 - 2 * np.exp(-column(TI) / T1) + 2 * np.exp(-(tr - te / 2) / T1) - np.exp(-tr / T1)
    data = PD * signal * np.exp(0.3j)
    return Image(data=data, grid=GRID, coordinates=coordinates(5, ti=TI, te=te, tr=tr))


@pytest.fixture
def echoes():
    factor = 1 - 2 * np.exp(-(3.0 - column(TE) / 2) / T1) + np.exp(-3.0 / T1)
    data = PD * factor * np.exp(-column(TE) / T2) + 0j
    return Image(data=data, grid=GRID, coordinates=coordinates(4, te=TE, tr=3.0), name="echoes")


EXAM = {
    "PD": {"fit": "monoexponential", "from": "se", "t1": "T1"},
    "T2": {"fit": "monoexponential", "from": "se", "t1": "T1"},
    "T1": {"fit": "inversion_recovery", "from": "ir"},
}


def test_exam_gives_its_maps_in_the_order_asked_for(recovery, echoes):
    maps = fit_maps({"ir": recovery, "se": echoes}, EXAM)
    assert list(maps) == ["PD", "T2", "T1"]
    for name, true in (("T1", T1), ("T2", T2), ("PD", PD)):
        np.testing.assert_allclose(maps[name].data[TISSUE], true[TISSUE], rtol=1e-3)
        assert maps[name].grid is (recovery if name == "T1" else echoes).grid
    assert {name: one.unit for name, one in maps.items()} == {"PD": "1", "T2": "s", "T1": "s"}


def test_background_is_masked_and_counted(recovery):
    (fitted,) = fit_maps(recovery, {"T1": {"fit": "inversion_recovery"}}).values()
    np.testing.assert_array_equal(fitted.mask, TISSUE)
    np.testing.assert_array_equal(np.isnan(fitted.data), ~TISSUE)
    np.testing.assert_array_equal(np.isnan(fitted.standard_error), ~TISSUE)
    assert fitted.provenance["counts"] == {"background": 1, "fitted": 5, "empty": 0, "failed": 0}
    assert fitted.provenance["threshold"] == 0.05
    (everything,) = fit_maps(recovery, {"T1": {"fit": "inversion_recovery", "threshold": 0}}).values()
    np.testing.assert_allclose(everything.data, T1, rtol=1e-3)


def test_specification_of_the_sequence_is_the_default(echoes):
    image = replace(echoes, provenance={"maps": {"T2star": {"fit": "monoexponential"}}})
    assert list(fit_maps(image)) == ["T2star"]


def test_magnitude_images_get_their_polarity_back(recovery):
    magnitude = replace(recovery, data=np.abs(recovery.data) + 0j, provenance={"recon": {"magnitude": True}})
    specification = {"T1": {"fit": "inversion_recovery"}}
    np.testing.assert_allclose(fit_maps(magnitude, specification)["T1"].data[TISSUE], T1[TISSUE], rtol=1e-3)
    asked = {"T1": {"fit": "inversion_recovery", "data": "magnitude"}}
    np.testing.assert_allclose(fit_maps(recovery, asked)["T1"].data[TISSUE], T1[TISSUE], rtol=1e-3)


def test_scan_without_a_repetition_starts_from_equilibrium(recovery, echoes):
    data = PD * np.exp(-column(TE) / T2) + 0j
    single = replace(echoes, data=data, coordinates=coordinates(4, te=TE))
    maps = fit_maps({"ir": recovery, "se": single}, EXAM)
    np.testing.assert_allclose(maps["PD"].data[TISSUE], PD[TISSUE], rtol=1e-3)


def test_saturation_recovery_of_spin_echoes():
    tr, te = np.array([0.2, 0.5, 1.2, 3.0]), 0.02
    data = PD * (1 - 2 * np.exp(-(column(tr) - te / 2) / T1) + np.exp(-column(tr) / T1)) * np.exp(0.5j)
    image = Image(data=data, grid=GRID, coordinates=coordinates(4, te=te, tr=tr))
    specification = {"T1": {"fit": "saturation_recovery", "spin_echo": True}}
    np.testing.assert_allclose(fit_maps(image, specification)["T1"].data[TISSUE], T1[TISSUE], rtol=1e-3)
    plain = fit_maps(image, {"T1": {"fit": "saturation_recovery"}})["T1"].data
    assert (np.abs(plain / T1 - 1)[TISSUE] > 5e-3).any()


def test_saturation_recovery_over_the_delay_after_the_saturation():
    ts = np.array([0.1, 0.4, 1.2, 3.0])
    data = PD * (1 - np.exp(-column(ts) / T1)) + 0j
    image = Image(data=data, grid=GRID, coordinates={**coordinates(4, te=0.02, tr=4.0), "ts": ts})
    specification = {"T1": {"fit": "saturation_recovery"}, "PD": {"fit": "saturation_recovery"}}
    maps = fit_maps(image, specification)
    np.testing.assert_allclose(maps["T1"].data[TISSUE], T1[TISSUE], rtol=1e-3)
    np.testing.assert_allclose(maps["PD"].data[TISSUE], PD[TISSUE], rtol=1e-3)
    with pytest.raises(ConsistencyError) as caught:
        fit_maps(image, {"T1": {"fit": "saturation_recovery", "spin_echo": True}})
    assert str(caught.value) == (
        "maps.T1.spin_echo: must be left out where ts is known, because the refocusing pulse comes after the recovery, "
        "but is given."
    )


def test_saturation_recovery_goes_by_tr_where_no_scan_has_a_ts_and_refuses_a_mixture():
    tr = np.array([0.1, 0.4, 1.2, 3.0])
    data = PD * (1 - np.exp(-column(tr) / T1)) + 0j
    known = {**coordinates(4, te=0.02, tr=tr), "ts": np.full(4, np.nan)}
    specification = {"T1": {"fit": "saturation_recovery"}}
    maps = fit_maps(Image(data=data, grid=GRID, coordinates=known), specification)
    np.testing.assert_allclose(maps["T1"].data[TISSUE], T1[TISSUE], rtol=1e-3)
    mixed = {**known, "ts": np.array([0.1, np.nan, 1.2, 3.0])}
    with pytest.raises(ConsistencyError) as caught:
        fit_maps(Image(data=data, grid=GRID, coordinates=mixed), specification)
    assert str(caught.value) == (
        "maps.T1.fit: must have images with a ts each or none at all, but ts is unknown for some. "
        "Leave out the scans without a saturation."
    )


def test_fits_leave_the_precision_of_jax_alone(recovery):
    before = jax.numpy.ones(1).dtype
    assert fit_maps(recovery, {"T1": {"fit": "inversion_recovery"}})["T1"].data.dtype == np.float64
    assert jax.numpy.ones(1).dtype == before


INVERSION = {"fit": "inversion_recovery", "from": "ir"}
ECHOES = {"fit": "monoexponential", "from": "se"}
REFUSED = {
    "nothing": ({}, ["maps: must name at least one map, but is empty. Add T2: {fit: monoexponential}."]),
    "map": (
        {"T2Star": ECHOES},
        [f"maps.T2Star: must be one of {', '.join(MAPS)}, but is 'T2Star' (did you mean 'T2star'?)."],
    ),
    "fit": (
        {"T1": {**INVERSION, "fit": "inversion"}},
        [(f"maps.T1.fit: must be one of {', '.join(METHODS)}, but is 'inversion' "
          "(did you mean 'inversion_recovery'?).")],
    ),
    "fit of another map": (
        {"PD": INVERSION},
        ["maps.PD.fit: must be a fit that gives PD, but inversion_recovery gives T1."],
    ),
    "option": (
        {"T2": {**ECHOES, "te": 1}},
        ["maps.T2.te: must be one of fit, from, threshold, misfit, t1, but is 'te'."],
    ),
    "all at once": (
        {"T1": {**INVERSION, "data": "real", "threshold": 2}},
        ["maps.T1.data: must be complex or magnitude, but is 'real'.",
         "maps.T1.threshold: must be a share from 0 to below 1, but is '2'."],
    ),
    "t1": (
        {"T2": {**ECHOES, "t1": "T1"}},
        ["maps.T2.t1: must name the T1 map of the same specification, but is 'T1'. Add T1: {fit: inversion_recovery}."],
    ),
    "from": ({"T2": {**ECHOES, "from": "epi"}}, ["maps.T2.from: must be one of the series ir, se, but is 'epi'."]),
    "no from": ({"T2": {"fit": "monoexponential"}}, ["maps.T2.from: must be one of the series ir, se, but is 'None'."]),
    "setting unknown": (
        {"T1": {**INVERSION, "from": "se"}},
        [("maps.T1.fit: must have images with a ti each, but ti is unknown for some. "
          "Reconstruct a sequence that has one, or set the image's coordinates.")],
    ),
    "two settings": (
        {"T2": {**ECHOES, "from": "ir"}},
        [("maps.T2: ti: must be the same in all contrasts for this fit, but goes from 0.05 to 2.5. "
          "Take scans that differ in one setting.")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_specifications_that_cannot_be_met_are_refused(recovery, echoes, case):
    specification, messages = REFUSED[case]
    with pytest.raises(ConsistencyError) as caught:
        fit_maps({"ir": recovery, "se": echoes}, specification)
    assert str(caught.value).splitlines() == messages


def test_a_voxel_that_does_not_follow_the_model_is_left_out():
    """Its root mean square residual is more than a share of its largest signal."""
    te = np.array([0.01, 0.04, 0.08, 0.16])
    data = np.exp(-te / 0.08)[:, None] * np.ones(2)
    data[:, 1] += 0.1 * np.array([1, -1, 1, -1])
    image = Image(data=data.reshape(4, 1, 1, 2) + 0j, grid=Grid.of((2, 1, 1), (1e-3,) * 3), coordinates={"te": te})
    (free,) = fit_maps(image, {"T2": {"fit": "monoexponential"}}).values()
    (held,) = fit_maps(image, {"T2": {"fit": "monoexponential", "misfit": 0.03}}).values()
    assert np.isfinite(free.data).all()
    assert held.mask.ravel().tolist() == [True, False]
    assert np.isnan(held.data.ravel()).tolist() == [False, True]
    assert (held.provenance["counts"]["fitted"], held.provenance["counts"]["failed"]) == (1, 1)
