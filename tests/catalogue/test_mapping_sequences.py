"""Sequences for maps: what tells their images apart, found in the blocks; and what the maps are on a small object."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

import mrisim as mr
from mrisim.constants import GAMMA_BAR
from mrisim.events.blocks import Use
from mrisim.events.moments import gradient_tracks, pulse_instances, total_moment
from mrisim.events.readouts import readout_table
from mrisim.mapping.fat_water import fat_spectrum
from mrisim.sequence import load_sequence

SMALL_3D = {"matrix": (16, 12, 4), "fov": (0.22, 0.22, 0.08)}
SMALL = {
    "vfa_t1": SMALL_3D, "dce_spgr_3d": {**SMALL_3D, "dynamics": 3, "interval": "0.5 s"}, "b1_dam": SMALL_3D,
    "b1_afi": SMALL_3D, "b1_bloch_siegert": SMALL_3D, "dixon": SMALL_3D, "b0_dual_echo": SMALL_3D, "mp2rage": SMALL_3D,
    "look_locker": {"matrix": (16, 12), "points": 5, "TR": "2 s"}, "t2_flair": {"matrix": (16, 16)},
    "stir": {"matrix": (16, 16)}, "dsc_ge_epi": {"matrix": (16, 16), "repetitions": 3},
    "dce_golden_angle": {"matrix": 16, "partitions": 4, "spokes": 5, "dynamics": 2},
}  # fmt: skip
SPOILED = [
    "b1_bloch_siegert",
    "vfa_t1",
    "dce_spgr_3d",
    "dixon",
    "b0_dual_echo",
    "mp2rage",
    "look_locker",
    "dce_golden_angle",
]
CARTESIAN = sorted(set(SMALL) - {"dce_golden_angle"})


@lru_cache
def load(name):
    return load_sequence(name, **SMALL[name])


@lru_cache
def table(name):
    return readout_table(load(name))


def value(name, parameter):
    return load(name).parameters[parameter].value


@pytest.mark.parametrize("name", CARTESIAN)
def test_the_center_of_every_line_lies_where_its_labels_say(name):
    seq, rows = load(name), table(name)
    k, _ = seq.kspace()
    (_, ny, nz), fov = seq.recon.matrix, np.asarray(seq.recon.fov)
    backwards = rows.label("REV") == 1
    middle = np.where(backwards, rows.count - 1 - rows.count // 2, rows.count // 2)
    found = k[rows.start + middle] @ seq.geometry.rotation
    line, partition = rows.label("LIN"), rows.label("PAR")
    expected = np.stack([0.0 * line, (line - ny // 2) / fov[1], (partition - nz // 2) / fov[2]], axis=1)
    if nz == 1:
        expected[:, 2] = found[:, 2]  # a slice: what is left along it is the slice's
    assert np.abs((found - expected) * fov).max() < 1e-6
    images = np.stack([rows.label(label) for label in ("SET", "ECO", "REP")], axis=1)
    for image in np.unique(images, axis=0):
        mine = (images == image).all(axis=1)
        assert np.array_equal(np.sort((line * nz + partition)[mine]), np.arange(ny * nz))


@pytest.mark.parametrize("name", SPOILED)
def test_rf_spoiling_is_quadratic_over_the_whole_scan(name):
    """Of Look-Locker, over each train, which has the phases of the first."""
    seq = load(name)
    pulses = pulse_instances(seq)
    phase = seq.rf.phase[pulses.event][seq.rf.use[pulses.event] == Use.EXCITATION]
    trains = [len(phase)] if name != "look_locker" else [value(name, "points")] * (len(phase) // value(name, "points"))
    parts = np.split(phase, np.cumsum(trains)[:-1])
    increment = np.exp(1j * np.concatenate([np.diff(part, n=2) for part in parts]))
    assert np.abs(increment - np.exp(1j * value(name, "spoil"))).max() < 1e-9


@pytest.mark.parametrize(("name", "label", "column", "expected"), [
    ("vfa_t1", "SET", "flip", np.radians([2.0, 5.0, 10.0, 15.0])),
    ("b1_dam", "SET", "flip", np.radians([60.0, 120.0])),
    ("b1_afi", "SET", "tr", [0.1, 0.02]),  # before each pulse
    ("dixon", "ECO", "te", [1.5e-3, 2.3e-3, 3.1e-3, 3.9e-3, 4.7e-3, 5.5e-3]),
    ("b0_dual_echo", "ECO", "te", [2.3e-3, 4.6e-3]),
    ("mp2rage", "SET", "flip", np.radians([4.0, 5.0])),
    ("look_locker", "SET", "ti", 0.03 + 0.05 * np.arange(5)),
])  # fmt: skip
def test_images_differ_in_what_the_map_is_made_of(name, label, column, expected):
    rows, found = table(name), []
    chosen = rows.label("LIN") == load(name).recon.matrix[1] // 2
    for i in range(len(expected)):
        mine = chosen & (rows.label(label) == i)
        found.append(np.nanmedian(getattr(rows, column)[mine]))
    assert found == pytest.approx(expected, abs=10.1e-6)  # rasters of two blocks


@pytest.mark.parametrize(("name", "ti"), [("t2_flair", [2.48]), ("stir", [0.24]), ("mp2rage", [0.7, 2.5])])
def test_inversion_times(name, ti):
    rows = table(name)
    central = rows.label("PAR") == load(name).recon.matrix[2] // 2
    for i, expected in enumerate(ti):
        assert rows.ti[central & (rows.label("SET") == i)] == pytest.approx(expected, abs=10.1e-6)


def test_spoiling_of_actual_flip_imaging_grows_with_its_repetition_times():
    """Moments and numbers of pulse phases in proportion to the two TR, as its steady state asks for."""
    seq = load("b1_afi")
    at = pulse_instances(seq).center
    step = np.diff(total_moment(gradient_tracks(seq), at), axis=0) @ seq.geometry.rotation
    voxel = seq.recon.fov[0] / seq.recon.matrix[0]
    assert step[0::2, 0] * voxel == pytest.approx(18.0, abs=1e-6)
    assert step[1::2, 0] * voxel == pytest.approx(90.0, abs=1e-6)


def test_volumes_of_a_dynamic_scan_follow_at_its_interval():
    seq, rows = load("dce_spgr_3d"), table("dce_spgr_3d")
    time = seq.kspace()[1][rows.start + rows.count // 2]
    center = (rows.label("LIN") == 6) & (rows.label("PAR") == 2)
    assert np.diff(time[center]) == pytest.approx(0.5, abs=2e-3)  # whole TR
    assert rows.tr[5:] == pytest.approx(4e-3, abs=10.1e-6)


def test_every_spoke_of_the_stack_is_turned_by_the_golden_angle():
    seq, rows = load("dce_golden_angle"), table("dce_golden_angle")
    k = seq.kspace()[0]
    along = k[rows.start + rows.count - 1] - k[rows.start]
    turn = np.unwrap(np.arctan2(along[:, 1], along[:, 0])[:: value("dce_golden_angle", "partitions")])
    step = np.degrees(np.diff(turn)) % 360.0
    assert step == pytest.approx(111.24611797, abs=1e-6)


OBJECT = """\
mrisim: 1
phantom: boxes
size: [200 mm, 200 mm, 80 mm]
voxel: 5 mm
isochromats: 1
fields:
  b0: {constant: 20 Hz, linear: {x: 30 Hz, over: 100 mm}}
  b1: {center: 1.0, edge: 0.85, over: 100 mm}
shapes:
  - {box: {size: [200 mm, 200 mm, 80 mm]}, tissue: {T1: 900 ms, T2: 80 ms}}
"""


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    path = tmp_path_factory.mktemp("phantoms") / "boxes.yaml"
    path.write_text(OBJECT, encoding="utf-8")
    return path


@pytest.mark.parametrize(("name", "quantity", "error"), [
    ("b1_dam", "B1", 5e-3),  # edges of the object ring into its middle
    ("b1_afi", "B1", 1e-2),  # first order in TR/T1
    ("b1_bloch_siegert", "B1", 5e-3),  # 0.5 %
    ("b0_dual_echo", "B0", 0.5),
    ("dixon", "B0", 0.5),
])  # fmt: skip
def test_maps_of_fields_follow_the_truth(phantom, name, quantity, error):
    """In the middle, where the object is smooth."""
    result = mr.run(name, phantom=phantom, set=SMALL_3D, spoiling="ideal", isochromats=1)
    middle = np.s_[1:3, 3:-3, 4:-4]
    found, true = result.maps[quantity].data[middle], result.truth[quantity].data[middle]
    assert np.abs(found - true).max() < error
    assert np.ptp(true) > 5 * error


def test_water_alone_has_no_fat(phantom):
    result = mr.run("dixon", phantom=phantom, set=SMALL_3D, spoiling="ideal", isochromats=1)
    assert np.nanmax(result.maps["PDFF"].data[1:3, 3:-3, 4:-4]) < 0.01


def test_fat_fraction_and_decay_of_mixtures_from_six_echoes():
    """Water and six peaks of fat at one place each, off resonance: PDFF within 0.5 points, R2* within 1 %."""
    share, rate, df = np.array([0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 1.0]), np.array([30, 40, 60, 100, 50, 30, 25.0]), 20.0
    peaks = fat_spectrum()
    lines = [0.0, *(np.array(peaks.shift) * 1e-6 * 3.0 * GAMMA_BAR)]
    place = np.arange(7) - 3
    amounts = np.array([[1 - one, *(one * np.array(peaks.share))] for one in share])
    points = mr.Phantom.from_arrays(
        position=np.repeat(place[:, None] * [20e-3, 0.0, 0.0], 7, axis=0), t1=0.8, t2=np.repeat(1 / rate, 7),
        df=(df * place[:, None] + lines).ravel(), pd=amounts.ravel(), field=3.0,
    )  # fmt: skip
    seq = load_sequence("dixon", matrix=[8, 2, 2], fov=["160 mm", "40 mm", "40 mm"])
    raw = mr.simulate(seq, points, spoiling="ideal", dtype="float64")
    image = mr.reconstruct(raw, window="none")  # a filter would mix the points
    maps = mr.fit_maps(image, {name: {"fit": "fat_water"} for name in ("PDFF", "R2star", "B0")})
    np.testing.assert_allclose(maps["PDFF"].data[1, 1, 1:], share, atol=5e-3)
    np.testing.assert_allclose(maps["R2star"].data[1, 1, 1:], rate, rtol=1e-2)
    np.testing.assert_allclose(maps["B0"].data[1, 1, 1:], df * place, atol=1.0)


@pytest.mark.parametrize(("name", "options", "error"), [
    ("mp2rage", {"matrix": [8, 8, 4], "fov": ["160 mm", "160 mm", "80 mm"]}, 0.012),  # one dummy repetition
    ("look_locker", {"matrix": [8, 4], "fov": ["160 mm", "80 mm"]}, 2e-3),
    ("vfa_t1", {"matrix": [8, 2, 2], "fov": ["160 mm", "40 mm", "40 mm"]}, 2e-3),
])  # fmt: skip
def test_t1_of_points_with_pulses_as_played(name, options, error):
    """Seven tissues side by side, T2 of 80 ms; by the fit that the sequence names, or by variable flips."""
    t1 = np.array([0.3, 0.6, 0.9, 1.0, 1.1, 1.2, 1.4])
    place = np.stack([(np.arange(7) - 3) * 20e-3, 0 * t1, 0 * t1], axis=1)
    points = mr.Phantom.from_arrays(position=place, t1=t1, t2=0.08, field=3.0)
    raw = mr.simulate(load_sequence(name, **options), points, spoiling="ideal", dtype="float64")
    image = mr.reconstruct(raw, window="none")  # a filter would mix the points
    asked = {"T1": {"fit": "variable_flip"}} if name == "vfa_t1" else None
    (fit,) = mr.fit_maps(image, asked).values()
    middle = [n // 2 for n in fit.data.shape[:2]]
    np.testing.assert_allclose(fit.data[middle[0], middle[1], 1:], t1, rtol=error)
