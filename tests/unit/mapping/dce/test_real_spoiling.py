"""What real RF spoiling makes of concentrations, kinetic maps and T1, and its correction."""

from __future__ import annotations

import numpy as np
import pytest

import mrisim as mr
from mrisim.data import Grid, Image
from mrisim.errors import ConsistencyError
from mrisim.mapping import dce
from mrisim.mapping.fit import fit_maps
from mrisim.mapping.spoiling import Spoiling, SpoilingTable
from mrisim.mapping.spoiling_choice import played
from mrisim.mapping.vfa import fit_vfa
from mrisim.physics.spoiling import rf_spoiled

DEG, MINUTE = np.pi / 180, 60.0
TR, R1, R2 = 5e-3, 4.5, 5.5
T10, T2, B1 = np.array([0.5, 1.0, 1.6, 2.2]), np.array([0.05, 0.08, 0.12, 0.2]), np.array([0.8, 1.0, 1.15, 0.9])
C = np.concatenate([[0.0, 0.0], np.linspace(0.0, 2.0, 9)])
NODES = 1e-5  # error of the table, relative
STEEP = 20  # relative error of a concentration per relative error of a signal, at most here


def signal(flip, c, t1=T10, t2=T2, increment=117 * DEG, damping=0.0, r2=R2):
    rates = (1 / np.asarray(value)[..., None] + r * c for value, r in ((t1, R1), (t2, r2)))
    t1, t2 = (1 / rate for rate in rates)
    return rf_spoiled(np.asarray(flip)[..., None], TR, t1, t2, increment, damping=damping)


@pytest.mark.parametrize("increment", [117 * DEG, 50 * DEG])
def test_concentration_comes_back(increment):
    """With T2, B1 and T1 of each voxel; to take spoiling for ideal makes it wrong by several per cent."""
    flip = 15 * DEG * B1
    measured = signal(flip, C, increment=increment) * np.exp(-2e-3 * 7.0 * C)
    decay = {"te": 2e-3, "r2_star": 7.0}
    spoiling = Spoiling(t2=T2, increment=increment)
    given = (measured, flip, TR, T10, R1, slice(0, 2))
    found = dce.concentration_from_signal(*given, spoiling=spoiling, r2=R2, **decay)
    plain = dce.concentration_from_signal(*given, **decay)
    np.testing.assert_allclose(found, np.broadcast_to(C, found.shape), rtol=STEEP * NODES, atol=1e-9)
    assert np.abs(plain[:, 3:] / C[3:] - 1).max() > 0.05


def test_diffusion_and_relaxivity_of_t2_count():
    """At a T2 of 150 ms and TR 5 ms: each changes concentrations by more than a per cent."""
    damping = 1.5e-4
    measured = signal(15 * DEG, C, t1=1.2, t2=0.15, damping=damping)
    given = (measured, 15 * DEG, TR, 1.2, R1, slice(0, 2))
    right = dce.concentration_from_signal(*given, spoiling=Spoiling(t2=0.15, damping=damping), r2=R2)
    np.testing.assert_allclose(right, C, rtol=STEEP * NODES, atol=1e-9)
    for wrong in ({"spoiling": Spoiling(t2=0.15), "r2": R2}, {"spoiling": Spoiling(t2=0.15, damping=damping)}):
        assert np.abs(dce.concentration_from_signal(*given, **wrong)[3:] / C[3:] - 1).max() > 0.01


def test_table_is_smooth():
    """Against the closed form between its points, over the transmit fields and times of tissue and agent."""
    rng = np.random.default_rng(3)
    b1, t1 = rng.uniform(0.6, 1.4, 200), np.exp(rng.uniform(np.log(0.02), np.log(5.0), 200))
    t2 = np.minimum(np.exp(rng.uniform(np.log(0.005), np.log(0.3), 200)), t1)
    found = SpoilingTable.of([5 * DEG, 25 * DEG], TR, b1, Spoiling()).at(b1, t1[:, None], t2[:, None])[:, :, 0]
    angle, decay = b1[:, None] * np.array([5, 25]) * DEG, np.exp(-TR / t1)[:, None]
    ideal = np.sin(angle) * (1 - decay) / (1 - decay * np.cos(angle))
    np.testing.assert_allclose(found, rf_spoiled(angle, TR, t1[:, None], t2[:, None]) / ideal, rtol=NODES)


def test_what_is_not_known_is_masked():
    measured = signal(15 * DEG, C)
    given = (measured, 15 * DEG, TR, np.array([1.0, 1.0, np.nan, 1.0]), R1, slice(0, 2))
    found = dce.concentration_from_signal(*given, spoiling=Spoiling(t2=np.array([np.nan, 0.0, 0.1, 0.1])), r2=R2)
    assert np.isnan(found[:3]).all()
    assert np.isfinite(found[3]).any()
    bright = dce.concentration_from_signal(
        measured[3] * np.where(C > 1, 40, 1), 15 * DEG, TR, 2.2, R1, slice(0, 2), spoiling=Spoiling(t2=0.2), r2=R2
    )
    assert np.isnan(bright[C > 1]).all()  # brighter than all of the magnetisation
    with pytest.raises(ConsistencyError, match=r"spoiling\.t2: must be one value or have shape \(4,\), but has \(2,\)"):
        dce.concentration_from_signal(*given, spoiling=Spoiling(t2=np.ones(2)))


def images(signal: np.ndarray, time, flip=15 * DEG, sequence=None, **provenance) -> Image:
    n, voxels = signal.shape
    known = {"te": 1e-3, "tr": TR, "flip": flip, "time": time}
    return Image(
        data=signal[:, None, None] + 0j,
        grid=Grid.of((voxels, 1, 1), (1e-3, 1e-3, 1e-3)),
        coordinates={name: np.broadcast_to(values, n).astype(float) for name, values in known.items()},
        provenance={"b0": 3.0, **provenance},
        sequence=sequence,
    )


def test_all_that_is_wrong_with_spoiling_is_told():
    spoiling = Spoiling(t2=np.array([0.1, -0.1]), increment=np.nan, damping=-1.0)
    with pytest.raises(ConsistencyError) as error:
        dce.concentration_from_signal(np.ones((2, 3)), 100 * DEG, TR, 1.0, R1, slice(0, 1), spoiling=spoiling)
    assert str(error.value).splitlines() == [
        "spoiling.t2: must be above zero, or nan where it is not known, but is -0.1 s. Check the map of T2.",
        "spoiling.increment: must be an angle, but is nan.",
        "spoiling.damping: must be zero or positive, but is -1.",
        "flip: must lie below 90 deg where spoiling is real, but is 100 deg.",
    ]
    with pytest.raises(ConsistencyError, match=r"spoiling\.t2: must be above zero"):
        fit_vfa(np.ones((2, 2)), [0.1, 0.2], TR, spoiling=Spoiling(t2=-1.0))


def test_fields_beyond_reason_are_masked():
    """Nothing is known of them, in kinetics and in T1 alike."""
    measured = signal(15 * DEG, C, t1=1.0, t2=0.08)
    b1 = np.array([1.0, 0.05, 7.0])
    found = dce.concentration_from_signal(
        np.stack([measured] * 3), 15 * DEG * b1, TR, 1.0, R1, slice(0, 2), spoiling=Spoiling(), r2=R2
    )
    assert np.isfinite(found).all(axis=1).tolist() == [True, False, False]
    flip = np.array([3.0, 15.0]) * DEG
    rows = np.stack([signal(flip, np.zeros(1), t1=1.0, t2=0.08)[:, 0]] * 3)
    assert fit_vfa(rows, flip, TR, b1=b1, spoiling=Spoiling()).converged.tolist() == [True, False, False]


GRID, ONE = (Grid.of((n, 1, 1), (1e-3, 1e-3, 1e-3)) for n in (4, 1))
TIME = np.arange(0.0, 240.0, 4.0)
FINE = np.arange(0.0, TIME[-1] + 0.1, 0.25)
KTRANS, VE = np.array([0.05, 0.1, 0.2, 0.3]) / MINUTE, np.array([0.2, 0.3, 0.3, 0.4])
DCE = {
    "fit": "dce", "model": "tofts", "aif": "parker", "arrival": "31 s", "relaxivity": R1, "r2": R2,
    "steady_state": True,
}  # fmt: skip


def dynamic(**known) -> Image:
    """Four tissues that differ in T1, T2 and transmit field."""
    ca = dce.plasma(dce.parker_aif(FINE, 31.0), 0.42)
    c = dce.tissue_concentration("tofts", TIME, ca, ta=FINE, ktrans=KTRANS, ve=VE)
    return images(signal(15 * DEG * B1, c).T, TIME, **known)


def flips(**known) -> Image:
    angles = np.array([2.0, 5.0, 10.0, 15.0]) * DEG
    measured = np.stack([signal(angle * B1, np.zeros(1))[:, 0] for angle in angles])
    return images(measured, 0.0, angles, **known)


@pytest.fixture(scope="module")
def spoiled():
    """A sequence with an increment of 117 degrees."""
    return mr.load_sequence("vfa_t1", matrix=[8, 8, 2], dummies=20)


def other_maps() -> dict[str, Image]:
    """Echoes that give T2, two flip angles that give the transmit field."""
    te, angles = np.array([0.02, 0.05, 0.1, 0.2]), np.array([60.0, 120.0]) * DEG
    echoes, pair = np.exp(-te[:, None] / T2), np.sin(angles[:, None] * B1)
    return {
        "echoes": Image(data=echoes[:, None, None] + 0j, grid=GRID, coordinates={"te": te}),
        "pair": images(pair, 0.0, angles),
    }


def whole_chain(spoiled, **options):
    series = {"vfa": flips(sequence=spoiled), "dce": dynamic(sequence=spoiled), **other_maps()}
    specs = {
        "T2": {"fit": "monoexponential", "from": "echoes"},
        "B1": {"fit": "double_angle", "from": "pair"},
        "T1": {"fit": "variable_flip", "from": "vfa", "b1": "B1", **options},
        "Ktrans": {**DCE, "from": "dce", "t1": "T1", "b1": "B1", **options},
    }
    return fit_maps(series, {**specs, "ve": specs["Ktrans"]})


def test_whole_chain_with_maps_of_field_and_t2(spoiled):
    """T1 by flips and kinetics with the correction, which is on where the sequence says: 0.1 %.

    Without, 5 %: T1 comes out too long, which makes up for half of what the dynamic images are off by.
    """
    right, wrong = whole_chain(spoiled, t2="T2"), whole_chain(spoiled, spoiling="ideal")
    for name, exact in (("T1", T10), ("Ktrans", KTRANS), ("ve", VE)):
        np.testing.assert_allclose(right[name].data[0, 0], exact, rtol=1e-3)
    assert np.abs(wrong["Ktrans"].data[0, 0] / KTRANS - 1).max() > 0.04
    (note,) = right["ve"].findings
    assert note.topic == "RF spoiling"
    start = "maps of dce are corrected for real spoiling with an increment of 117 deg, T2 of its map; without, Ktrans "
    assert note.text.startswith(start)
    assert not wrong["ve"].findings


def test_note_tells_what_the_map_would_be(spoiled):
    """One voxel, so the median is its own."""
    image = dynamic(sequence=spoiled)
    one = Image(data=image.data[..., 1:2], grid=ONE, coordinates=image.coordinates, sequence=spoiled)
    spec = {**DCE, "t10": "1 s"}
    right, wrong = fit_maps(one, {"Ktrans": spec}), fit_maps(one, {"Ktrans": {**spec, "spoiling": "ideal"}})
    off = 100 * (wrong["Ktrans"].data.item() / right["Ktrans"].data.item() - 1)
    assert off > 2
    (note,) = right["Ktrans"].findings
    assert f"T2 of 80 ms; without, Ktrans would be {off:+.1f} % off" in note.text


def test_measured_input_function_is_corrected_as_tissue_is(spoiled):
    """The artery is the third voxel; what the note says comes of a fit with the uncorrected artery."""
    ca = dce.plasma(dce.parker_aif(TIME, 31.0), 0.42)
    c = dce.tissue_concentration("tofts", TIME, ca, ktrans=KTRANS[1], ve=0.3)
    curves = np.stack([c, c, dce.parker_aif(TIME, 31.0)])
    image = images(signal(15 * DEG, curves, t1=1.2, t2=0.08).T, TIME, sequence=spoiled)
    artery = {"center": ["1 mm", "0 mm", "0 mm"], "radius": "0.5 mm"}
    spec = {**DCE, "aif": "measured", "artery": artery, "t10": "1.2 s"}
    found = fit_maps(image, {"Ktrans": spec})["Ktrans"]
    np.testing.assert_allclose(found.data[0, 0, :2], KTRANS[1], rtol=1e-3)
    wrong = fit_maps(image, {"Ktrans": {**spec, "spoiling": "ideal"}})["Ktrans"]
    off = 100 * (wrong.data[0, 0, 0] / found.data[0, 0, 0] - 1)
    assert abs(off) > 2
    (note,) = found.findings
    assert f"Ktrans would be {off:+.1f} % off" in note.text


def test_diffusion_counts_with_the_gradients_of_the_sequence():
    """Two cycles over 220 / 64 mm a TR, at a T2 of 150 ms."""
    sequence = mr.load_sequence("vfa_t1", matrix=[64, 8, 2], dummies=20)
    adc, turn = 3e-9, 2 * np.pi * 2 * 64 / 0.22
    ca = dce.plasma(dce.parker_aif(FINE, 31.0), 0.42)
    c = dce.tissue_concentration("tofts", TIME, ca, ta=FINE, ktrans=KTRANS[1:2], ve=0.3)
    measured = signal(15 * DEG, c, t1=1.0, t2=0.15, damping=adc * turn**2 * TR)
    image = images(measured.T, TIME, sequence=sequence)
    spec = {**DCE, "t10": "1 s", "t20": "150 ms"}
    found = fit_maps(image, {"Ktrans": {**spec, "adc": "3e-3 mm^2/s"}})["Ktrans"].data.item()
    assert found == pytest.approx(KTRANS[1], rel=1e-3)
    assert abs(fit_maps(image, {"Ktrans": spec})["Ktrans"].data.item() / KTRANS[1] - 1) > 0.01


def test_sequences_say_how_they_spoil(spoiled):
    known = played(images(np.ones((1, 1)), 0.0, sequence=spoiled))
    assert np.degrees(known.increment) == pytest.approx(117.0, abs=1e-6)
    assert known.moment == pytest.approx(2 * 8 / 0.22, rel=1e-6)  # two cycles per voxel of a matrix of 8 over 220 mm
    more = mr.load_sequence("vfa_t1", matrix=[8, 8, 2], dummies=20, cycles=6)
    assert played(images(np.ones((1, 1)), 0.0, sequence=more)).moment == pytest.approx(6 * 8 / 0.22, rel=1e-6)
    assert played(images(np.ones((1, 1)), 0.0)) is None
    for name, parameters in (("vfa_t1", {"spoil": 0.0, "matrix": [8, 8, 2], "dummies": 20}), ("spin_echo", {})):
        assert played(images(np.ones((1, 1)), 0.0, sequence=mr.load_sequence(name, **parameters))) is None


def test_images_of_ideal_spoiling_are_left_alone(spoiled):
    image = dynamic(sequence=spoiled, spoiling="ideal")
    spec = {**DCE, "t10": "1 s"}
    plain = fit_maps(dynamic(), {"Ktrans": spec})["Ktrans"]
    found = fit_maps(image, {"Ktrans": {**spec, "t20": "60 ms"}})["Ktrans"]
    np.testing.assert_array_equal(found.data, plain.data)
    assert not found.findings


UNKNOWN = (
    "increment: must be given for images that do not know how their sequence spoils, but is not. "
    "Add increment: 117 deg, or take spoiling: ideal."
)
WRONG = [
    (
        {"spoiling": "rf"},
        {},
        UNKNOWN,
    ),
    (
        {"t20": "80 ms"},
        {},
        UNKNOWN,
    ),
    (
        {"spoiling": "ideal", "t20": "80 ms"},
        {},
        "t20: must be left out with spoiling: ideal, but is given. Take spoiling: rf, or leave it out.",
    ),
    (
        {"spoiling": "rf"},
        {"spoiling": "ideal"},
        "spoiling: must be ideal for images that were simulated so, but is rf. Leave it out: the images know.",
    ),
    (
        {"increment": "117 deg", "adc": "1e-3 mm^2/s"},
        {},
        "adc: must be left out for images that do not know the gradients of their sequence, but is given.",
    ),
    ({"spoiling": "real"}, {}, "spoiling: must be ideal or rf, but is 'real'."),
    ({"increment": "117"}, {}, "increment: must be an angle with its unit, but is '117'. Did you mean '117 deg'."),
]


@pytest.mark.parametrize(("options", "known", "message"), WRONG)
def test_wrong_options(options, known, message):
    with pytest.raises(ConsistencyError) as error:
        fit_maps(dynamic(**known), {"Ktrans": {**DCE, "t10": "1 s", **options}})
    assert str(error.value) == f"maps.Ktrans.{message}"


def test_options_of_images_without_a_sequence():
    """As from files: the increment is given by hand."""
    spec = {**DCE, "t10": "1 s", "increment": "117 deg", "t20": "80 ms"}
    found = fit_maps(dynamic(), {"Ktrans": spec})["Ktrans"]
    assert found.data[0, 0, 1] == pytest.approx(KTRANS[1], rel=1e-3)
