"""T1, kinetic and perfusion maps by name, from images made of closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from mrisim.data import Grid, Image
from mrisim.errors import ConsistencyError
from mrisim.mapping import dce
from mrisim.mapping.fit import fit_maps
from mrisim.physics.signals import spoiled_gradient_echo

DEG, MINUTE = np.pi / 180, 60.0
TR, FLIP, R1 = 5e-3, 15 * DEG, 4.5
T1, KTRANS, VE = 1.4, np.array([0.1, 0.25, 0.4]) / MINUTE, np.array([0.2, 0.3, 0.45])
TIME = np.arange(0.0, 300.0, 5.0)
ARRIVAL, HEMATOCRIT = 31.0, 0.42
FINE = 0.25  # step of the input function that a map takes [s]
DCE = {
    "fit": "dce", "model": "tofts", "aif": "parker", "arrival": "31 s", "relaxivity": R1, "t10": "1.4 s",
    "steady_state": True,
}  # fmt: skip
ARTERY = {"center": ["1 mm", "0 mm", "0 mm"], "radius": "0.5 mm"}


def echo(t1, flip=FLIP):
    return np.asarray(spoiled_gradient_echo(flip, TR, np.asarray(t1)), dtype=float)


def series(signal: np.ndarray, **coordinates) -> Image:
    """Voxels (n, voxels) along x, 1 mm apart, in images with the settings of this module."""
    n, voxels = signal.shape
    known = {"te": 1e-3, "tr": TR, "flip": FLIP, "time": 0.0, **coordinates}
    return Image(
        data=signal[:, None, None] + 0j,
        grid=Grid.of((voxels, 1, 1), (1e-3, 1e-3, 1e-3)),
        coordinates={name: np.broadcast_to(values, n).astype(float) for name, values in known.items()},
        provenance={"b0": 3.0},
    )


def dynamic() -> Image:
    """Three tissues that follow Tofts, and blood with the same T1 at x = 1 mm, the last of four."""
    fine = np.linspace(0.0, TIME[-1], round(TIME[-1] / FINE) + 1)
    blood = dce.parker_aif(fine, ARRIVAL)
    tissue = dce.tissue_concentration("tofts", TIME, dce.plasma(blood, HEMATOCRIT), ta=fine, ktrans=KTRANS, ve=VE)
    c = np.concatenate([tissue, dce.parker_aif(TIME, ARRIVAL)[None]])
    return series(echo(1 / (1 / T1 + R1 * c)).T, time=TIME)


def test_kinetic_maps():
    maps = fit_maps(dynamic(), {"Ktrans": DCE, "ve": DCE})
    np.testing.assert_allclose(maps["Ktrans"].data[0, 0, :3], KTRANS, rtol=1e-4)  # float32 of the images' closed form
    np.testing.assert_allclose(maps["ve"].data[0, 0, :3], VE, rtol=1e-4)
    assert maps["Ktrans"].unit == "1/s"
    assert np.asarray(maps["Ktrans"].mask)[0, 0, :3].all()


def test_kinetic_maps_of_magnetisation_that_lags():
    """Pulse by pulse, images every 2 s: the lag of 0.1 s makes Ktrans up to 1.6 % low, a tenth of which may be left."""
    at, every = np.arange(0.0, 240.0, TR), round(2.0 / TR)
    ca = dce.plasma(dce.parker_aif(at, ARRIVAL), HEMATOCRIT)
    c = dce.tissue_concentration("tofts", at, ca, ktrans=KTRANS, ve=0.05)
    m = np.empty(c.shape)
    m[:, 0] = echo(T1) / np.sin(FLIP)
    for i in range(len(at) - 1):
        e1 = np.exp(-TR * (1 / T1 + R1 * (c[:, i] + c[:, i + 1]) / 2))
        m[:, i + 1] = m[:, i] * np.cos(FLIP) * e1 + 1 - e1
    image = series(np.sin(FLIP) * m[:, ::every].T, time=at[::every])
    plain = fit_maps(image, {"Ktrans": DCE})["Ktrans"].data[0, 0] / KTRANS - 1
    found = fit_maps(image, {"Ktrans": {**DCE, "steady_state": False}})["Ktrans"].data[0, 0] / KTRANS - 1
    assert plain.min() < -0.01
    assert np.abs(found).max() < 1.6e-3


def test_voxels_of_hardly_any_uptake_are_masked():
    """Means of the three curves are 14, 24 and 37 % of the plasma's."""
    found = fit_maps(dynamic(), {"Ktrans": {**DCE, "least_uptake": 0.2}})["Ktrans"]
    assert np.asarray(found.mask)[0, 0, :3].tolist() == [False, True, True]
    assert np.isnan(found.data[0, 0, 0])


def test_order_of_the_images_does_not_matter():
    image = dynamic()
    order = np.random.default_rng(1).permutation(len(TIME))
    coordinates = {name: values[order] for name, values in image.coordinates.items()}
    shuffled = Image(data=image.data[order], grid=image.grid, coordinates=coordinates)
    found = fit_maps(shuffled, {"Ktrans": DCE})["Ktrans"]
    np.testing.assert_allclose(found.data[0, 0, :3], KTRANS, rtol=1e-4)


def test_measured_input_function_is_that_of_the_artery():
    """The input is a line between images 5 s apart, so the first pass is coarse; the maps show it (physics: Δt)."""
    spec = {**DCE, "aif": "measured", "artery": ARTERY}
    c = dce.parker_aif(TIME, ARRIVAL)
    ca = dce.plasma(c, HEMATOCRIT)
    found = fit_maps(dynamic(), {"Ktrans": spec})["Ktrans"].data[0, 0, :3]
    fine = np.linspace(0.0, TIME[-1], round(TIME[-1] / FINE) + 1)
    blood = dce.plasma(dce.parker_aif(fine, ARRIVAL), HEMATOCRIT)
    tissue = dce.tissue_concentration("tofts", TIME, blood, ta=fine, ktrans=KTRANS, ve=VE)
    np.testing.assert_allclose(found, dce.fit("tofts", TIME, tissue, ca)["ktrans"], rtol=1e-3)


@pytest.mark.parametrize(("unit", "factor"), [("blood [mM]", 1.0), ("plasma [mol/m^3]", 1 / (1 - HEMATOCRIT))])
def test_input_function_from_a_file(tmp_path, unit, factor):
    """Blood becomes plasma, plasma stays; in the file's own units."""
    fine = np.linspace(0.0, TIME[-1], round(TIME[-1] / FINE) + 1)
    curve = factor * dce.parker_aif(fine, ARRIVAL)
    rows = "\n".join(f"{t / MINUTE!r},{c!r}" for t, c in zip(fine.tolist(), curve.tolist(), strict=True))
    (tmp_path / "aif.csv").write_text(f"time [min],{unit}\n{rows}\n")
    spec = {key: value for key, value in DCE.items() if key != "arrival"}
    found = fit_maps(dynamic(), {"Ktrans": {**spec, "aif": str(tmp_path / "aif.csv"), "baseline": 7}})["Ktrans"]
    np.testing.assert_allclose(found.data[0, 0, :3], KTRANS, rtol=1e-4)


def test_variable_flips_then_kinetics():
    flips = np.array([2.0, 5.0, 12.0]) * DEG
    vfa = series(np.stack([np.full(4, echo(T1, flip)) for flip in flips]), flip=flips)
    spec = {key: value for key, value in DCE.items() if key != "t10"}
    maps = fit_maps(
        {"vfa": vfa, "dce": dynamic()},
        {"T1": {"fit": "variable_flip", "from": "vfa"}, "Ktrans": {**spec, "from": "dce", "t1": "T1"}},
    )
    np.testing.assert_allclose(maps["T1"].data, T1, rtol=1e-4)
    np.testing.assert_allclose(maps["Ktrans"].data[0, 0, :3], KTRANS, rtol=1e-3)


def test_perfusion_maps():
    t = np.arange(0.0, 80.0, 1.0)
    since = np.maximum(t - 15.0, 0.0)
    artery = since**3 * np.exp(-since / 1.5)
    artery *= 40.0 / artery.max()
    signal = 2.0 * np.exp(-0.03 * np.stack([0.05 * artery, artery]))
    image = series(signal.T, te=0.03, time=t)
    spec = {"fit": "dsc", "baseline": 14, "artery": {**ARTERY, "center": [0.0, 0.0, 0.0]}, "hct_large": 0.4}
    found = fit_maps(image, {"CBV": {**spec, "hct_small": 0.4}, "MTT": spec})
    assert found["CBV"].data[0, 0, 0] == pytest.approx(0.05, rel=1e-6)  # of an artery, on which nothing is lost
    assert found["MTT"].unit == "s"


WRONG = [
    ({"model": "toft"}, ".model: must be tofts, extended_tofts, patlak, 2cxm, 2cum or aath, but is 'toft'."),
    (
        {"model": "patlak"},
        ": must be a map that patlak makes (vp, PS), but is Ktrans. Take another model, or leave the map out.",
    ),
    ({"hematocrit": 42}, ".hematocrit: must lie between 0 and 1, but is '42'."),
    (
        {"t10": None},
        ".t1: must be given as t1, a map, or as t10, one time, but none is. Add t10: 1.5 s, or t1: T1.",
    ),
    (
        {"agent": "gadobutrol"},
        ".agent: must be given as agent or as relaxivity in 1/(s mM), but both are. Add relaxivity: 4.5.",
    ),
    (
        {"agent": "gadobutrl", "relaxivity": None},
        (
            ".agent: must be one of gadoterate, gadobutrol, gadoteridol, gadopentetate, gadobenate, gadoxetate, but is "
            "'gadobutrl' (did you mean 'gadobutrol'?)."
        ),
    ),
    ({"arrival": None}, ".arrival: must say when the agent comes by arrival, but does not. Add arrival: 30 s."),
    (
        {"aif": "measured"},
        (
            ".artery: must be given for a measured input function, but is not. Add artery: {center: [0 mm, 0 mm, 0 "
            "mm], radius: 4 mm}."
        ),
    ),
    ({"arrival": "31"}, ".arrival: must be a time with its unit, but is '31'. Did you mean '31 ms'."),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_wrong_options_are_refused(change, message):
    spec = {key: value for key, value in {**DCE, **change}.items() if value is not None}
    with pytest.raises(ConsistencyError) as error:
        fit_maps(dynamic(), {"Ktrans": spec})
    assert str(error.value) == f"maps.Ktrans{message}"


def test_an_artery_beside_the_image_is_refused():
    spec = {**DCE, "aif": "measured", "artery": {**ARTERY, "center": ["90 mm", "0 mm", "0 mm"]}}
    with pytest.raises(ConsistencyError, match=r"dce\.artery: must hold a voxel with signal, but the nearest is 89 mm"):
        fit_maps(dynamic(), {"Ktrans": spec})


def test_agents_have_their_relaxivity_at_the_field_of_the_images():
    spec = {key: value for key, value in DCE.items() if key != "relaxivity"}
    by_agent = fit_maps(dynamic(), {"ve": {**spec, "agent": "gadobutrol"}})["ve"].data
    by_number = fit_maps(dynamic(), {"ve": {**DCE, "relaxivity": 4.5}})["ve"].data  # Shen: blood at 3 T
    np.testing.assert_array_equal(by_agent, by_number)
