"""Raw data of closed-form objects → images: place, value, order, errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mrisim.data import Geometry
from mrisim.errors import ConsistencyError
from mrisim.recon import reconstruct

EPS = np.finfo(float).eps
TILTED = Geometry(
    rotation=Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix(),
    center=np.array([0.021, -0.013, 0.037]),
)


def check_point(image, voxel):
    """A point on a voxel center is that voxel and nothing else, up to the rounding of its phases."""
    expected = np.zeros(image.data.shape)
    expected[(slice(None), *voxel)] = 1.0
    tolerance = 1e4 * EPS  # of the phases 2 pi k·r, over a few hundred cycles, summed over a few hundred samples
    np.testing.assert_allclose(image.data, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("matrix", [(8, 6, 1), (7, 6, 1), (8, 5, 1), (7, 5, 1)])
@pytest.mark.parametrize("oversampling", [1, 2, 3])
@pytest.mark.parametrize("geometry", [Geometry(), TILTED], ids=["plain", "tilted"])
def test_point_lands_on_its_voxel_in_2d(scans, matrix, oversampling, geometry):
    fov = (0.2, 0.18, 0.005)
    volume = np.prod(np.divide(fov, matrix))
    offset = np.array([2 * fov[0] / matrix[0], -1 * fov[1] / matrix[1], 0.0])
    position = geometry.center + geometry.rotation @ offset
    raw = scans.acquire(
        lambda k, *_: scans.point(k, position, volume), matrix, fov, oversampling=oversampling, geometry=geometry
    )
    image = reconstruct(raw)
    voxel = (0, matrix[1] // 2 - 1, matrix[0] // 2 + 2)
    check_point(image, voxel)
    np.testing.assert_allclose(image.grid.positions()[voxel], position, atol=1e-15)


@pytest.mark.parametrize("matrix", [(8, 6, 4), (7, 5, 3)])
def test_point_lands_on_its_voxel_in_3d(scans, matrix):
    fov = (0.2, 0.18, 0.06)
    offset = np.array([2, -1, 1]) * np.divide(fov, matrix)
    position = TILTED.center + TILTED.rotation @ offset
    volume = np.prod(np.divide(fov, matrix))
    raw = scans.acquire(lambda k, *_: scans.point(k, position, volume), matrix, fov, geometry=TILTED, oversampling=2)
    image = reconstruct(raw)
    voxel = (matrix[2] // 2 + 1, matrix[1] // 2 - 1, matrix[0] // 2 + 2)
    check_point(image, voxel)
    np.testing.assert_allclose(image.grid.positions()[voxel], position, atol=1e-15)


@pytest.mark.parametrize("window", ["none", "hann", "hamming", "tukey"])
def test_asymmetric_box_keeps_its_place_and_mean(scans, window):
    fov, matrix, sides, center = (0.2, 0.2, 0.01), (64, 60, 1), (0.05, 0.03, 0.02), (0.03, -0.04, 0.0)
    raw = scans.acquire(lambda k, *_: scans.box(k, center, sides) / 2, matrix, fov)  # the slice cuts half of the box
    image = reconstruct(raw, window=window).data[0, 0].real
    y, x = np.meshgrid((np.arange(60) - 30) * fov[1] / 60, (np.arange(64) - 32) * fov[0] / 64, indexing="ij")
    area = fov[0] * fov[1] / (60 * 64)
    # the sum over voxels is the sample at k = 0, which no window touches; windows fall off symmetrically, but for N/2
    assert image.sum() * area == pytest.approx(sides[0] * sides[1], rel=1e-12)
    interior = (np.abs(x - center[0]) < sides[0] / 4) & (np.abs(y - center[1]) < sides[1] / 4)
    assert image[interior].mean() == pytest.approx(1.0, abs=0.01)  # ringing, some per cent, averaged
    outside = (np.abs(x - center[0]) > 0.04) | (np.abs(y - center[1]) > 0.03)
    assert np.abs(image[outside]).max() < 0.1  # ringing


def test_reversed_lines_need_nothing(scans):
    """The order of samples is that of the trajectory, so an EPI train equals a plain scan."""
    object_ = lambda k, *_: scans.ellipse(k, (0.01, -0.02), 0.03, 0.05)  # noqa: E731
    arguments = (object_, (16, 17, 1), (0.2, 0.2, 0.005))
    plain = reconstruct(scans.acquire(*arguments, oversampling=2))
    epi = reconstruct(scans.acquire(*arguments, oversampling=2, backwards=lambda line: line % 2 == 1))
    np.testing.assert_array_equal(epi.data, plain.data)


def test_order_of_lines_does_not_matter(scans):
    object_ = lambda k, *_: scans.ellipse(k, (0.01, -0.02), 0.03, 0.05)  # noqa: E731
    order = np.random.default_rng(1).permutation(17)
    arguments = (object_, (16, 17, 1), (0.2, 0.2, 0.005))
    shuffled, plain = reconstruct(scans.acquire(*arguments, lines=order)), reconstruct(scans.acquire(*arguments))
    np.testing.assert_array_equal(shuffled.data, plain.data)


def test_slices_come_out_by_position(scans):
    """SLC indexes the positions as the sequence lists them; the image is in ascending order of position."""
    positions, fov = (0.01, -0.02, 0.0, 0.025), (0.2, 0.2, 0.005)
    raw = scans.acquire(
        lambda k, echo, slice_label, average: (slice_label + 1) * scans.ellipse(k, (0, 0), 0.05, 0.06) * fov[2],
        (16, 16, 1), fov, slices=positions, excitations=[0, 2, 1, 3],
    )  # fmt: skip
    image = reconstruct(raw)
    np.testing.assert_array_equal(image.grid.slice_positions, np.sort(positions))
    np.testing.assert_allclose(image.data[0, :, 8, 8].real / image.data[0, 0, 8, 8].real, np.array([2, 3, 1, 4]) / 2)
    np.testing.assert_allclose(image.grid.positions()[:, 0, 0, 2], np.sort(positions))


def test_missing_lines_are_zero_and_said(scans):
    object_ = lambda k, *_: scans.ellipse(k, (0.01, -0.02), 0.03, 0.05)  # noqa: E731
    arguments = ((16, 16, 1), (0.2, 0.2, 0.005))
    partial = reconstruct(scans.acquire(object_, *arguments, lines=range(4, 16)))
    emptied = reconstruct(scans.acquire(lambda k, *_: object_(k) * (k[:, 1] > -4.5 / 0.2), *arguments))
    np.testing.assert_allclose(partial.data, emptied.data, rtol=0, atol=100 * EPS * np.abs(emptied.data).max())
    (finding,) = partial.findings
    assert str(finding) == (
        "k-space coverage: 25% of the lines were not acquired and are taken as zero. "
        "Expect lower resolution, or aliasing if lines are missing inside."
    )
    assert emptied.findings == ()


def test_short_echo_is_placed_by_its_trajectory(scans):
    object_ = lambda k, *_: scans.ellipse(k, (0.01, -0.02), 0.03, 0.05)  # noqa: E731
    arguments = ((16, 16, 1), (0.2, 0.2, 0.005))
    short = reconstruct(scans.acquire(object_, *arguments, first_sample=5))
    emptied = reconstruct(scans.acquire(lambda k, *_: object_(k) * (k[:, 0] > -3.5 / 0.2), *arguments))
    np.testing.assert_allclose(short.data, emptied.data, rtol=0, atol=100 * EPS * np.abs(emptied.data).max())


def test_averages_are_averaged(scans):
    fov = (0.2, 0.2, 0.005)
    raw = scans.acquire(
        lambda k, echo, slice_label, average: (1 + average) * scans.ellipse(k, (0, 0), 0.05, 0.06),
        (16, 16, 1), fov, averages=3,
    )  # fmt: skip
    single = reconstruct(scans.acquire(lambda k, *_: 2.0 * scans.ellipse(k, (0, 0), 0.05, 0.06), (16, 16, 1), fov))
    np.testing.assert_allclose(reconstruct(raw).data, single.data, rtol=0, atol=100 * EPS * np.abs(single.data).max())


def test_contrasts_are_the_product_of_labels(scans):
    times = (0.01, 0.03, 0.05)
    raw = scans.acquire(
        lambda k, echo, *_: np.exp(-times[echo] / 0.04) * scans.ellipse(k, (0, 0), 0.05, 0.06),
        (8, 8, 1), (0.2, 0.2, 0.005), echo_times=times, averages=2,
    )  # fmt: skip
    labels = dict(raw.readouts.labels)
    labels["SET"] = labels.pop("AVG") * 5  # two sets, with a gap in their numbers
    raw = replace(raw, readouts=replace(raw.readouts, labels=labels, ti=np.where(labels["SET"] == 5, 0.4, 0.1)))
    image = reconstruct(raw)
    assert image.data.shape == (6, 1, 8, 8)
    np.testing.assert_array_equal(image.coordinates["te"], np.repeat(times, 2))
    np.testing.assert_array_equal(image.coordinates["ti"], [0.1, 0.4] * 3)
    ratio = image.data[4, 0, 4, 4] / image.data[0, 0, 4, 4]
    assert ratio == pytest.approx(np.exp(-(times[2] - times[0]) / 0.04))


def test_coordinates_are_those_of_the_central_line(scans):
    raw = scans.acquire(lambda k, *_: scans.ellipse(k, (0, 0), 0.05, 0.06), (8, 8, 1), (0.2, 0.2, 0.005))
    te = 0.01 + 0.002 * raw.readouts.label("LIN")  # a train
    tr = np.where(raw.readouts.label("LIN") == 0, np.nan, 0.5)
    image = reconstruct(replace(raw, readouts=replace(raw.readouts, te=te, tr=tr)))
    assert image.coordinates["te"] == pytest.approx([0.01 + 0.002 * 4])
    assert image.coordinates["tr"] == pytest.approx([0.5])
    assert image.findings == ()


def test_coordinates_that_differ_between_slices_are_said(scans):
    raw = scans.acquire(
        lambda k, *_: scans.ellipse(k, (0, 0), 0.05, 0.06), (8, 8, 1), (0.2, 0.2, 0.005), slices=(0.0, 0.01, 0.02)
    )
    ti = 0.1 + 0.01 * raw.readouts.label("SLC")
    image = reconstruct(replace(raw, readouts=replace(raw.readouts, ti=ti)))
    assert image.coordinates["ti"] == pytest.approx([0.11])
    assert [finding.topic for finding in image.findings] == ["coordinates"]


def test_navigators_and_noise_are_left_out(scans):
    raw = scans.acquire(
        lambda k, echo, slice_label, average: (1 + 9 * average) * scans.ellipse(k, (0, 0), 0.05, 0.06),
        (8, 8, 1), (0.2, 0.2, 0.005), averages=2,
    )  # fmt: skip
    labels = dict(raw.readouts.labels)
    labels["NOISE"] = labels.pop("AVG")
    image = reconstruct(replace(raw, readouts=replace(raw.readouts, labels=labels)))
    plain = scans.acquire(lambda k, *_: scans.ellipse(k, (0, 0), 0.05, 0.06), (8, 8, 1), (0.2, 0.2, 0.005))
    np.testing.assert_array_equal(image.data, reconstruct(plain).data)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_precision_is_that_of_the_signal(scans, dtype):
    raw = scans.acquire(lambda k, *_: scans.ellipse(k, (0, 0), 0.05, 0.06), (8, 8, 1), (0.2, 0.2, 0.005), averages=2)
    raw = replace(raw, signal=raw.signal.astype(dtype))
    for options in ({}, {"window": "hann"}, {"combine": "rss"}):
        assert reconstruct(raw, **options).data.dtype == dtype


@pytest.mark.parametrize("combine", ["adaptive", "rss"])
def test_noise_of_the_image_is_that_of_the_samples(scans, combine):
    """sd = sd of a sample · sqrt(samples per voxel transform) / (samples · volume); coil combination keeps it."""
    matrix, fov, sd = (64, 64, 1), (0.2, 0.2, 0.005), 3e-9
    raw = scans.acquire(lambda k, *_: scans.box(k, (0, 0, 0), (0.1, 0.1, 0.005))[None].repeat(4, 0) / 2, matrix, fov)
    rng = np.random.default_rng(7)
    noise = sd * (rng.normal(size=raw.signal.shape) + 1j * rng.normal(size=raw.signal.shape))
    clean, noisy = (reconstruct(replace(raw, signal=s), combine=combine).data for s in (raw.signal, raw.signal + noise))
    volume = np.prod(np.divide(fov, matrix))
    expected = sd / np.sqrt(matrix[0] * matrix[1]) / volume
    inside = (slice(None), slice(None), slice(20, 44), slice(20, 44))  # where there is signal, far above the noise
    found = (noisy - clean)[inside].real.std()
    assert found == pytest.approx(expected, rel=4 / np.sqrt(2 * 24 * 24))  # four standard errors


def break_label(raw, name, change):
    labels = {**raw.readouts.labels, name: change(raw.readouts.label(name))}
    return replace(raw, readouts=replace(raw.readouts, labels=labels))


def without(raw, name):
    labels = {key: value for key, value in raw.readouts.labels.items() if key != name}
    return replace(raw, readouts=replace(raw.readouts, labels=labels))


BROKEN = {
    "method": (
        lambda raw: replace(raw, recon=replace(raw.recon, method="spiral")),
        "recon.method: must be one of cartesian, gridding, lowrank, but is 'spiral'.",
    ),
    "no LIN": (
        lambda raw: without(raw, "LIN"),
        "LIN: must be set for 6 lines, but no readout carries it. Add LIN to the label of the loop.",
    ),
    "no SLC": (
        lambda raw: without(raw, "SLC"),
        "SLC: must be set for 2 slices, but no readout carries it. Add SLC to the label of the loop.",
    ),
    "LIN against the trajectory": (
        lambda raw: break_label(raw, "LIN", lambda v: v[::-1].copy()),
        ("LIN: must agree with the trajectory, but readout 0 says 5 and its k is that of 0. "
         "Encode line n with the area (n - 6 // 2) / fov and rewind it after the readout."),
    ),
    "LIN beyond the matrix": (
        lambda raw: break_label(raw, "LIN", lambda v: v + 1),
        "LIN: must lie in 0 .. 5 for the matrix, but is 6. Correct the label or the matrix.",
    ),
    "REV": (
        lambda raw: break_label(raw, "REV", lambda v: v + 1),
        ("REV: must be set where k runs backwards and only there, but readout 0 runs forwards. "
         "Correct the label or the sign of the read gradient."),
    ),
    "SLC": (
        lambda raw: break_label(raw, "SLC", lambda v: 2 * v),
        "SLC: must lie in 0 .. 1 for 2 slice positions, but is 2.",
    ),
    "slice missing": (
        lambda raw: break_label(raw, "SLC", lambda v: 0 * v),
        "SLC: must cover all 2 slices, but no readout has SLC 1.",
    ),
    "dummies acquired": (
        lambda raw: without(raw, "AVG"),
        ("readouts: each point of k-space must be sampled once per average, but line 0 at position 0 is sampled "
         "2 times. Tell the readouts apart by AVG, ECO, SET or REP, or turn the ADC off in dummy repetitions."),
    ),
    "field of view": (
        lambda raw: replace(raw, recon=replace(raw.recon, fov=(0.3, 0.2, 0.005))),
        ("recon.matrix: field of view × sampling step must be 1 or a fraction of it that gives whole columns, but is "
         "1.5, 5.33333 columns for a matrix of 8. Make the flat area of the read gradient matrix / fov."),
    ),
    "echo off center": (
        lambda raw: replace(raw, k=raw.k + np.array([0.4 / 0.2, 0, 0])),
        ("k: samples must lie on the grid that has k = 0 on it, but readout 0 is 0.4 steps off. "
         "Prephase with the area from the start of the read gradient to sample N//2, and sample its flat top."),
    ),
    "readout beyond the matrix": (
        lambda raw: replace(raw, k=raw.k + np.array([2 / 0.2, 0, 0])),
        ("recon.matrix: samples must lie within the 8 columns of k-space, but reach column 9. "
         "Center the readout on k = 0, or raise the matrix."),
    ),
    "mixed sampling": (
        lambda raw: replace(raw, k=raw.k * np.where(np.arange(len(raw.k)) < 8, 0.5, 1.0)[:, None] ** [1, 0, 0]),
        ("readouts: all readouts must sample k in equal steps, but readout 0 steps 2.5 1/m and others 5 1/m. "
         "Use one dwell time and one read gradient for all readouts."),
    ),
    "no read gradient": (
        lambda raw: replace(raw, k=raw.k * [0, 1, 1]),
        "k: must advance along the read direction, but k stands still. Put a gradient under the ADC.",
    ),
    "nan": (
        lambda raw: replace(raw, signal=raw.signal * np.nan),
        "signal: must be finite, but holds nan or infinity.",
    ),
    "sensitivities": (
        lambda raw: replace(raw, sensitivities=np.ones((1, 1, 6, 8))),
        "sensitivities: must have shape (1, 2, 6, 8) (coils, z, y, x), but has (1, 1, 6, 8).",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_raw_data_that_make_no_image_are_refused(scans, case):
    raw = scans.acquire(
        lambda k, *_: scans.ellipse(k, (0, 0), 0.05, 0.06), (8, 6, 1), (0.2, 0.2, 0.005), slices=(0.0, 0.01), averages=2
    )
    change, message = BROKEN[case]
    reconstruct(raw)
    with pytest.raises(ConsistencyError) as caught:
        reconstruct(change(raw))
    assert str(caught.value) == message


def test_center_of_k_space_must_be_there(scans):
    raw = scans.acquire(
        lambda k, *_: scans.ellipse(k, (0, 0), 0.05, 0.06), (8, 6, 1), (0.2, 0.2, 0.005), lines=[0, 1, 2, 4, 5]
    )
    with pytest.raises(ConsistencyError) as caught:
        reconstruct(raw)
    assert str(caught.value) == "readouts: k = 0 must be sampled for each image, but is not for contrast 0."


@pytest.mark.parametrize(("option", "value"), [("window", "hanning"), ("combine", "sum")])
def test_unknown_options_are_refused(scans, option, value):
    raw = scans.acquire(lambda k, *_: scans.ellipse(k, (0, 0), 0.05, 0.06), (8, 6, 1), (0.2, 0.2, 0.005))
    with pytest.raises(ConsistencyError, match=f"^recon.{option}: must be one of .*, but is '{value}'.$"):
        reconstruct(raw, **{option: value})
