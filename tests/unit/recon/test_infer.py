"""Raw data without a recon specification: the library's own sequences, stripped, and foreign orders of lines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import mrisim as mr
from mrisim.data import Geometry, RawData, ReadoutTable
from mrisim.errors import ConsistencyError
from mrisim.events.readouts import readout_table
from mrisim.recon import infer_recon, reconstruct

EPS = np.finfo(float).eps
SMALL = {
    "flash_3d": {"matrix": [12, 10], "partitions": 6},
    "mprage": {"matrix": [12, 10], "partitions": 6},
    "multi_echo_se": {"matrix": [12, 10], "echoes": 3},
    "multi_echo_gre": {"matrix": [12, 10], "echoes": 3},
}
RAMPS = {"dwi_se_epi", "dti_se_epi", "ivim", "ogse", "dwi_steam", "trse_epi"}  # sampled on ramps: cannot be inferred
NAMES = [
    name
    for name, *_ in mr.list_sequences()
    if name not in RAMPS and getattr(mr.load_sequence(name).recon, "method", None) == "cartesian"
]
TILTED = np.array([[0.8, -0.48, 0.36], [0.6, 0.64, -0.48], [0.0, 0.6, 0.8]])


def small(name):
    """The sequence with few, and not as many, lines and columns, where its parameters allow."""
    sequence = mr.load_sequence(name)
    for options in (SMALL.get(name, {"matrix": [12, 10]}), {"matrix": 16}):
        try:
            return mr.load_sequence(name, **{key: options[key] for key in options if key in sequence.parameters})
        except mr.MrisimError:
            continue
    return sequence


def scan(sequence, scans):
    """Raw data of an ellipse beside the center, as the sequence samples it; each readout's height is its echo's."""
    k, times = sequence.kspace()
    table = readout_table(sequence)
    logical = k @ sequence.geometry.rotation
    height = np.repeat(np.exp(-table.label("ECO") / 3) * (1 + 0.5 * table.label("SLC")), table.count)
    along = np.exp(-2j * np.pi * logical[:, 2] * 0.011) if sequence.recon.matrix[2] > 1 else 1.0
    signal = height * along * scans.ellipse(logical, (0.011, -0.023), 0.05, 0.07)
    return RawData(
        signal=signal[None], k=k, time=times, readouts=table, geometry=sequence.geometry, recon=sequence.recon
    )


def stripped(raw, labels=True, **hints):
    """Raw data as a file without reconstruction part gives them."""
    kept = dict(raw.readouts.labels) if labels else {}
    return replace(raw, recon=None, readouts=replace(raw.readouts, labels=kept), provenance=hints)


def hints(spec):
    positions = [float(position) for position in spec.slice_positions]
    return {"fov": list(spec.fov), "slices": {"positions": positions, "thickness": spec.fov[2]}}


@pytest.mark.parametrize("labels", [True, False], ids=["labels", "no labels"])
@pytest.mark.parametrize("name", NAMES)
def test_library_sequence_without_its_recon_part_gives_the_same_image(name, labels, scans):
    """But for the filter, which nobody could guess."""
    raw = scan(small(name), scans)
    expected = reconstruct(raw, window="none")
    found = reconstruct(stripped(raw, labels, **hints(raw.recon)), window="none")
    assert found.data.shape == expected.data.shape
    # k is rounded to the grid in one case and to a label in the other: the samples and their places are the same
    np.testing.assert_allclose(found.data, expected.data, rtol=0, atol=1e3 * EPS * np.abs(expected.data).max())
    np.testing.assert_allclose(found.grid.positions(), expected.grid.positions(), rtol=0, atol=1e-9)  # 1 nm
    for coordinate, values in expected.coordinates.items():
        np.testing.assert_allclose(found.coordinates[coordinate], values)


def rotated(raw, rotation):
    """The same scan with gradients turned, by someone who says nothing of a geometry."""
    return replace(raw, k=raw.k @ rotation.T, geometry=Geometry())


@pytest.mark.parametrize("labels", [True, False], ids=["labels", "no labels"])
@pytest.mark.parametrize("name", ["gre_epi", "flash_3d", "t2_tse"])
def test_oblique_lines_are_found(name, labels, scans):
    raw = scan(small(name), scans)
    expected = reconstruct(raw)
    found = reconstruct(rotated(stripped(raw, labels, **hints(raw.recon)), TILTED))
    np.testing.assert_allclose(found.grid.geometry.rotation, TILTED, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.data, expected.data, rtol=0, atol=1e4 * EPS * np.abs(expected.data).max())


def test_exchanged_axes_are_found(scans):
    """Read along y, phase along x: the image says so by its grid."""
    raw = scan(small("flash_2d"), scans)
    exchange = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
    found = reconstruct(rotated(stripped(raw), exchange))
    np.testing.assert_allclose(found.grid.geometry.rotation, exchange, rtol=0, atol=1e-12)
    expected = reconstruct(raw)
    scale = raw.recon.fov[2] / 5e-3  # nothing tells the thickness
    np.testing.assert_allclose(found.data, expected.data * scale, rtol=0, atol=1e3 * EPS * np.abs(expected.data).max())
    assert [finding.topic for finding in found.findings] == ["slices"]


def test_read_axis_runs_with_the_lines_that_are_not_reversed(scans):
    """A scan turned by half a turn about its phase axis: REV tells which lines run forwards."""
    turn = np.diag([-1.0, 1.0, -1.0])
    raw = scan(small("gre_epi"), scans)
    found = reconstruct(rotated(stripped(raw, **hints(raw.recon)), turn))
    np.testing.assert_array_equal(found.grid.geometry.rotation, turn)
    expected = reconstruct(raw).data
    np.testing.assert_allclose(found.data, expected, rtol=0, atol=1e3 * EPS * np.abs(expected).max())


def test_told_field_of_view_along_phase_is_held_against_k(scans):
    raw = scans.acquire(lambda k, *_: scans.ellipse(k, (0, 0), 0.05, 0.07), (12, 10, 1), (0.22, 0.2, 5e-3))
    told = infer_recon(stripped(raw), fov=(0.22, 0.2000004, 5e-3), thickness=5e-3)
    assert told.raw.recon.fov[1] == 0.2000004  # within a tenth of a step of the outermost line: rounding
    assert told.findings == ()
    wrong = infer_recon(stripped(raw), fov=(0.22, 0.3, 5e-3), thickness=5e-3)
    assert wrong.raw.recon.fov[1] == 0.2
    assert [str(finding) for finding in wrong.findings] == [
        ("field of view: the field of view along phase is said to be 300 mm, but the spacing in k makes it 200 mm, "
         "which is taken.")
    ]  # fmt: skip


def test_oversampling_is_cut_off_where_the_field_of_view_is_known(scans):
    def ellipse(k, *_):
        return scans.ellipse(k, (0.011, -0.023), 0.05, 0.07)

    raw = scans.acquire(ellipse, (12, 10, 1), (0.22, 0.2, 5e-3), oversampling=2)
    expected = reconstruct(raw)
    told = reconstruct(stripped(raw), fov=(0.22, 0.2, 5e-3))
    wide = reconstruct(stripped(raw))
    tolerance = 1e3 * EPS * np.abs(expected.data).max()
    np.testing.assert_allclose(told.data, expected.data, rtol=0, atol=tolerance)
    assert wide.grid.shape == (24, 10, 1)
    np.testing.assert_allclose(wide.data[..., 6:18], expected.data, rtol=0, atol=tolerance)


@pytest.mark.parametrize("shift", [(0.5, 0.0), (-0.5, 0.5), (0.3, -0.2), (1.0, 1.0)])
def test_samples_beside_the_grid_give_the_image_of_those_samples(shift, scans):
    """The image is the sum over samples of s exp(2 pi i k·r), wherever the grid of the samples lies."""
    raw = scans.acquire(lambda k, *_: scans.ellipse(k, (0.011, -0.023), 0.05, 0.07), (12, 10, 1), (0.22, 0.2, 5e-3))
    moved = raw.k + np.array([shift[0] / 0.22, shift[1] / 0.2, 0.0])
    signal = scans.ellipse(moved, (0.011, -0.023), 0.05, 0.07)[None]
    image = reconstruct(stripped(replace(raw, k=moved, signal=signal)))
    assert image.grid.shape == (12, 10, 1)
    wave = np.exp(2j * np.pi * image.grid.positions() @ moved.T)
    expected = wave @ signal[0] / (12 * 10) / np.prod(image.grid.spacing)
    np.testing.assert_allclose(image.data[0], expected, rtol=0, atol=1e3 * EPS * np.abs(expected).max())


@pytest.mark.parametrize("count", [(0, 12), (4, 12), (0, 9)])
def test_short_lines_and_missing_lines_keep_the_matrix(count, scans):
    raw = scans.acquire(
        lambda k, *_: scans.ellipse(k, (0.011, -0.023), 0.05, 0.07),
        (12, 12, 1), (0.22, 0.2, 5e-3), lines=range(*count), first_sample=3,
    )  # fmt: skip
    np.testing.assert_allclose(reconstruct(stripped(raw, labels=False)).data, reconstruct(raw).data, rtol=0, atol=1e-12)


def test_every_other_line_is_told_by_its_label(scans):
    raw = scans.acquire(
        lambda k, *_: scans.ellipse(k, (0, 0), 0.05, 0.07), (12, 12, 1), (0.22, 0.2, 5e-3), lines=range(0, 12, 2)
    )
    assert infer_recon(stripped(raw)).raw.recon.matrix == (12, 12, 1)
    assert infer_recon(stripped(raw, labels=False)).raw.recon.matrix == (12, 6, 1)


def test_repeated_lines_without_labels_are_echoes_and_repetitions(scans):
    raw = scans.acquire(
        lambda k, echo, slice_, average: (1 + echo + 10 * average) * scans.ellipse(k, (0, 0), 0.05, 0.07),
        (12, 10, 1), (0.22, 0.2, 5e-3), echo_times=(0.01, 0.02, 0.03), averages=2,
    )  # fmt: skip
    image = reconstruct(stripped(raw, labels=False))
    level = image.data[:, 0, 5, 6].real
    np.testing.assert_allclose(level / level[0], [1, 11, 2, 12, 3, 13], rtol=1e-12)
    np.testing.assert_allclose(image.coordinates["te"], [0.01, 0.01, 0.02, 0.02, 0.03, 0.03])
    assert [str(finding) for finding in image.findings if finding.topic == "labels"] == [
        ("labels: each line is there 6 times, taken as 3 echoes and 2 repetitions. "
         "Label them ECO, REP, AVG or SLC where this is wrong.")
    ]  # fmt: skip


def test_slices_by_label_lie_where_they_are_told_to(scans):
    raw = scans.acquire(
        lambda k, echo, slice_, average: (1 + slice_) * scans.ellipse(k, (0, 0), 0.05, 0.07),
        (12, 10, 1), (0.22, 0.2, 4e-3), slices=(0.01, -0.01, 0.0), excitations=(0, 2, 1),
    )  # fmt: skip
    image = reconstruct(stripped(raw, **hints(raw.recon)))
    np.testing.assert_allclose(image.data, reconstruct(raw).data, rtol=1e-12)
    np.testing.assert_allclose(image.grid.slice_positions, [-0.01, 0.0, 0.01])
    blind = reconstruct(stripped(raw))
    assert blind.grid.slice_positions.tolist() == [-5e-3, 0.0, 5e-3]
    assert [finding.topic for finding in blind.findings] == ["slices", "slices"]


def _radial():
    angle = np.repeat(np.pi * np.arange(5) / 5, 8)
    radius = np.tile(np.arange(8) - 4, 5) * 4.0
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), 0 * radius], axis=1)


def _lines(x, y):
    return np.stack([np.tile(x, len(y)), np.repeat(y, len(x)), np.zeros(len(x) * len(y))], axis=1)


_EVEN = np.arange(8.0) - 4
_GRID = "Only Cartesian scans sampled on the flat top tell their image; give recon with method gridding for others."
WRONG = {
    "radial": (_radial(), f"k: readouts must be parallel lines, but have 5 directions. {_GRID}"),
    "ramps": (
        _lines(np.sign(_EVEN) * _EVEN**2, np.arange(5.0)),
        f"k: samples must advance in equal steps on a straight line, but readout 0 is 1.36 steps off. {_GRID}",
    ),
    "uneven lines": (
        _lines(_EVEN, np.array([-4.0, -2.0, 0.0, 1.5, 3.0])),
        "k: must be equidistant along phase, but -2 1/m is 0.475 steps",
    ),
    "bent": (
        _radial() ** 2 / 8,
        "k: samples must advance in equal steps on a straight line, but readout ",
    ),
    "standing": (0 * _radial(), "k: must advance along the read direction, but k stands still. Put a gradient under"),
    "sampled unequally often": (
        _lines(_EVEN, np.array([-2.0, -1.0, 0.0, 0.0, 1.0])),
        ("readouts: each line must be sampled equally often where labels do not tell, but readout 0 is one of 1 of its "
         "line and others are 2. Label the readouts (ECO, SET, REP, AVG, SLC), or NAV where they are of no image."),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_missing_is_said(name):
    k, message = WRONG[name]
    nothing, count = np.full(5, np.nan), np.full(5, 8)
    table = ReadoutTable(
        start=8 * np.arange(5), count=count, dwell=np.full(5, 1e-5), te=nothing, ti=nothing, tr=nothing, flip=nothing,
        labels={},
    )  # fmt: skip
    raw = RawData(signal=np.ones((1, 40), complex), k=k, time=np.arange(40.0), readouts=table)
    with pytest.raises(ConsistencyError) as caught:
        reconstruct(raw)
    assert str(caught.value).startswith(message)


def test_field_of_view_next_to_a_specification_is_refused(scans):
    raw = scan(small("flash_2d"), scans)
    with pytest.raises(ConsistencyError, match=r"^fov: must be left out where raw data say how they become an image"):
        reconstruct(raw, fov=(0.2, 0.2, 5e-3))
