"""Gridding reconstruction: radial and spiral samples of known objects, off-resonance taken away, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mrisim.data import Geometry, RawData, ReadoutTable, ReconSpec
from mrisim.errors import ConsistencyError
from mrisim.recon import gridding, reconstruct

N, FOV = 64, 0.2
VOXEL = FOV / N
SPEC = ReconSpec(method="gridding", matrix=(N, N, 1), fov=(FOV, FOV, 5e-3))
CENTER, A, B = (0.017, -0.024), 0.04, 0.055


def spokes(n=110, samples=128):
    angle = np.arange(n) * np.pi * (np.sqrt(5) - 1) / 2
    reach = (np.arange(samples) - samples // 2) / samples * N / FOV
    k = np.stack([np.outer(np.cos(angle), reach), np.outer(np.sin(angle), reach), np.zeros((n, samples))], axis=-1)
    return k.reshape(-1, 3), n


def spirals(shots=6, samples=1500):
    s = np.sqrt(np.linspace(0, 1, samples))
    turn = np.pi * N / shots * s + 2 * np.pi * np.arange(shots)[:, None] / shots
    k = N / 2 / FOV * s[..., None] * np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=-1)
    return k.reshape(-1, 3), shots


def raw_data(k, readouts, signal, *, labels=None, geometry=None, spec=SPEC, dwell=4e-6):
    count = np.full(readouts, len(k) // readouts)
    start = np.arange(readouts) * count[0]
    within = np.arange(len(k)) - np.repeat(start, count)
    nothing = np.full(readouts, np.nan)
    table = ReadoutTable(
        start=start, count=count, dwell=np.full(readouts, dwell), te=np.full(readouts, 5e-3), ti=nothing, ts=nothing,
        tr=nothing, flip=np.full(readouts, 0.3), labels=labels or {},
    )  # fmt: skip
    time = np.repeat(np.arange(readouts) * 20e-3, count) + within * dwell
    return RawData(signal=np.atleast_2d(signal), k=k, time=time, readouts=table, geometry=geometry or Geometry(),
                   recon=spec)  # fmt: skip


def places(spec=SPEC):
    x, y, _ = spec.grid(Geometry()).logical_axes()
    return np.meshgrid(x, y)


def inside(scale=1.0):
    x, y = places()
    return np.hypot((x - CENTER[0]) / A, (y - CENTER[1]) / B) < scale


@pytest.mark.parametrize("trajectory", [spokes, spirals])
def test_an_ellipse_comes_back_with_its_value_and_in_its_place(trajectory, scans):
    """From its exact transform. Ringing of the cut-off k-space stays below a tenth next to the rim."""
    k, readouts = trajectory()
    image = reconstruct(raw_data(k, readouts, 5e-3 * scans.ellipse(k, CENTER, A, B)))
    assert image.findings == ()
    value = image.data[0, 0]
    assert value[inside(0.8)].mean() == pytest.approx(1.0, abs=0.01)  # what Pipe's weights leave at the rim of k-space
    assert np.abs(value[inside(0.8)] - 1).max() < 0.1
    x, y = places()
    empty = ~inside(1.2) & (np.hypot(x, y) < 0.45 * FOV)
    assert np.abs(value[empty]).max() < 0.1
    value = np.where(np.hypot(x, y) < 0.45 * FOV, np.abs(value) ** 2, 0.0)  # the corners lie beyond what k resolves
    x0 = float((value * x).sum() / value.sum())
    assert x0 == pytest.approx(CENTER[0], abs=0.2 * VOXEL)


@pytest.mark.parametrize("trajectory", [spokes, spirals])
def test_weights_add_up_to_the_area_of_the_disc(trajectory):
    k, _ = trajectory()
    weight = gridding.density(k[:, 1::-1].T * VOXEL, (N, N))
    assert weight.min() > 0
    assert weight.sum() == pytest.approx(np.pi / 4, rel=2 / N)  # the rim belongs half to the disc


def test_weights_on_a_lattice_are_equal_inside():
    axis = (np.arange(48) - 24) / 48
    k = np.stack(np.meshgrid(axis, axis, indexing="ij")).reshape(2, -1)
    weight = gridding.density(k, (48, 48)).reshape(48, 48) * 48**2
    assert weight[12:36, 12:36] == pytest.approx(1.0, abs=0.02)  # ripple of the finite kernel


def test_a_ball_in_three_dimensions():
    """Spokes towards all sides; the transform of a ball in closed form."""
    n = 24
    spec = ReconSpec(method="gridding", matrix=(n, n, n), fov=(FOV, FOV, FOV))
    m = 1400
    z = (np.arange(m) + 0.5) / m
    turn = np.arange(m) * np.pi * (3 - np.sqrt(5))
    direction = np.stack([np.sqrt(1 - z**2) * np.cos(turn), np.sqrt(1 - z**2) * np.sin(turn), z], axis=1)
    k = ((np.arange(32) - 16) / 32 * n / FOV)[None, :, None] * direction[:, None, :]
    k = k.reshape(-1, 3)
    radius, center = 0.05, np.array([0.02, -0.01, 0.03])
    q = 2 * np.pi * np.linalg.norm(k, axis=1) * radius
    safe = np.where(q < 1e-3, 1.0, q)
    ball = np.where(q < 1e-3, 1 / 3, (np.sin(safe) - safe * np.cos(safe)) / safe**3) * 4 * np.pi * radius**3
    image = reconstruct(raw_data(k, m, ball * np.exp(-2j * np.pi * k @ center), spec=spec)).data[0]
    distance = np.linalg.norm(spec.grid(Geometry()).positions() - center, axis=-1)
    assert image[distance < 0.6 * radius].mean() == pytest.approx(1.0, abs=0.1)  # 6 voxels in radius: ringing
    assert np.abs(image[(distance > 1.6 * radius)]).mean() < 0.03


def blurred(field_at, k, readouts, dwell):
    """Samples of a grid of points under a field, by direct summation, with the phase that builds up in each readout."""
    x, y = (a[8:-8:6, 8:-8:6].ravel() for a in places())
    field = field_at(x, y)
    tau = np.tile(np.arange(len(k) // readouts) * dwell, readouts)
    return 5e-3 * VOXEL**2 * sum(
        np.exp(-2j * np.pi * (k[:, 0] * a + k[:, 1] * b + f * tau)) for a, b, f in zip(x, y, field, strict=True)
    )  # fmt: skip


def test_a_known_field_blurs_a_spiral_and_its_correction_restores_it():
    """Up to ±180 Hz during 9 ms: a point spreads over several voxels and comes back."""

    def field_at(x, y):
        return 1200 * x + 4000 * x * y - 600 * y

    k, readouts = spirals()
    dwell = 9e-3 / 1500
    still = raw_data(k, readouts, blurred(lambda x, y: 0 * x, k, readouts, dwell), dwell=dwell)
    sharp = reconstruct(still).data[0, 0]
    raw = raw_data(k, readouts, blurred(field_at, k, readouts, dwell), dwell=dwell)
    field = field_at(*places())[None]
    plain, corrected = reconstruct(raw).data[0, 0], reconstruct(raw, off_resonance=field).data[0, 0]

    def away(image):
        return np.linalg.norm(image - sharp) / np.linalg.norm(sharp)

    points = np.abs(sharp) > 0.7 * np.abs(sharp).max()
    assert points.sum() == 64
    assert np.abs(plain[points] / sharp[points]).min() < 0.4
    assert np.abs(corrected[points] / sharp[points] - 1).max() < 0.1  # what side lobes of 63 others leave
    assert away(corrected) < 0.4 * away(plain)
    assert away(reconstruct(raw, off_resonance=-field).data[0, 0]) > away(plain)


def test_a_uniform_field_is_taken_back_exactly(scans):
    k, readouts = spirals()
    tau = np.tile(np.arange(1500) * 4e-6, readouts)
    signal = 5e-3 * scans.ellipse(k, CENTER, A, B)
    still = reconstruct(raw_data(k, readouts, signal)).data
    moved = raw_data(k, readouts, signal * np.exp(-2j * np.pi * 90 * tau))
    corrected = reconstruct(moved, off_resonance=np.full((1, N, N), 90.0)).data
    assert np.linalg.norm(corrected - still) < 2e-3 * np.linalg.norm(still)  # 1e-3 is asked of the segments
    assert np.linalg.norm(reconstruct(moved).data - still) > 0.1 * np.linalg.norm(still)


def test_time_counts_from_the_center_of_k_space_which_a_spoke_reaches_halfway():
    """Off-resonance leaves the phase of TE in the image, as it does in Cartesian ones."""
    k, readouts = spokes()
    tau = np.tile((np.arange(128) - 64) * 4e-6, readouts)
    signal = 5e-3 * VOXEL**2 * np.exp(-2j * np.pi * (200.0 * (tau + 5e-3)))
    raw = raw_data(k, readouts, signal)
    image = reconstruct(raw, off_resonance=np.full((1, N, N), 200.0))
    assert np.angle(image.data[0, 0, N // 2, N // 2]) == pytest.approx(0.0, abs=1e-2)  # 200 Hz · 5 ms is one turn
    assert image.coordinates["te"] == pytest.approx(5e-3)


def test_echo_time_of_a_spiral_is_where_it_begins():
    k, readouts = spirals()
    image = reconstruct(raw_data(k, readouts, np.ones(len(k))))
    assert image.coordinates["te"] == pytest.approx(5e-3 - 750 * 4e-6)  # the table's TE is that of the middle sample


def test_coils_are_combined_as_in_other_images(scans):
    k, readouts = spirals()
    signal = 5e-3 * scans.ellipse(k, CENTER, A, B)
    raw = raw_data(k, readouts, np.stack([0.6 * signal, 0.8j * signal]))
    sensitivities = np.stack([np.full((1, N, N), 0.6), np.full((1, N, N), 0.8j)])
    single = reconstruct(raw_data(k, readouts, signal)).data
    matched = reconstruct(replace(raw, sensitivities=sensitivities)).data
    assert np.abs(matched - single).max() < 1e-6
    assert reconstruct(raw, combine="rss").data == pytest.approx(np.abs(single), abs=1e-6)


def test_slices_and_echoes_come_apart(scans):
    k, readouts = spokes(60)
    signal = 5e-3 * scans.ellipse(k, CENTER, A, B)
    labels = {"SLC": np.repeat([1, 0], 2 * readouts), "ECO": np.tile(np.repeat([0, 1], readouts), 2)}
    spec = replace(SPEC, slice_positions=np.array([0.0, 8e-3]))
    raw = raw_data(np.tile(k, (4, 1)), 4 * readouts, np.concatenate([signal * f for f in (1, 2, 3, 4)]),
                   labels=labels, spec=spec)  # fmt: skip
    mean = reconstruct(raw).data[:, :, inside(0.8)].mean(axis=-1).real
    assert mean == pytest.approx(mean[0, 1] * np.array([[3, 1], [4, 2]]), rel=1e-6)  # (echo, slice)


def test_a_window_is_one_at_the_center_and_takes_the_rim_away(scans):
    k, readouts = spokes()
    raw = raw_data(k, readouts, 5e-3 * scans.ellipse(k, CENTER, A, B))
    plain, smooth = reconstruct(raw).data[0, 0], reconstruct(raw, window="hann").data[0, 0]
    assert smooth[inside(0.6)].mean() == pytest.approx(plain[inside(0.6)].mean(), rel=0.01)
    assert np.std(smooth[inside(0.6)]) < 0.5 * np.std(plain[inside(0.6)])


def test_too_few_spokes_are_said():
    k, readouts = spokes(20)
    (finding,) = reconstruct(raw_data(k, readouts, np.ones(len(k)))).findings
    assert str(finding).startswith("k-space coverage: samples cover 39%")  # 20 · 64 / (pi · 32²)


@pytest.mark.parametrize(("change", "message"), [
    (lambda k: {"off_resonance": np.zeros((1, 3, 3))}, "must have shape (1, 64, 64) (z, y, x), but has (1, 3, 3)"),
    (lambda k: {"off_resonance": np.full((1, N, N), np.nan)}, "must be finite, but holds nan or infinity"),
    (lambda k: {"off_resonance": np.zeros((1, N, N)), "recon": replace(SPEC, method="cartesian")},
     "must be left out of the method 'cartesian', which cannot use it"),
    (lambda k: {"recon": replace(SPEC, method="spiral")},
     "must be one of cartesian, gridding, lowrank, but is 'spiral'"),
])  # fmt: skip
def test_what_is_refused(change, message):
    k, readouts = spirals()
    with pytest.raises(ConsistencyError) as error:
        reconstruct(raw_data(k, readouts, np.ones(len(k))), **change(k))
    assert message in str(error.value)


def test_samples_that_miss_the_center_are_refused():
    k, readouts = spirals()
    with pytest.raises(ConsistencyError) as error:
        reconstruct(raw_data(k + np.array([200.0, 0, 0]), readouts, np.ones(len(k))))
    assert "must reach the center of k-space" in str(error.value)
