"""Low-rank images of trains whose repetitions sample a part of k-space each."""

from __future__ import annotations

import numpy as np
import pytest

from mrisim.data import RawData, ReadoutTable
from mrisim.recon import lowrank
from mrisim.recon.gridding import Samples, Trajectory
from mrisim.recon.lowrank import coefficient_images, windowed

N, REPETITIONS, RANK = 8, 40, 2


@pytest.fixture(scope="module")
def train():
    """Known coefficient images, two coils, and a spoke of a golden-angle scan in each repetition; exact samples."""
    rng = np.random.default_rng(4)
    at = np.arange(N) - N // 2
    blob = np.exp(-((at[:, None] - 0.5) ** 2 + (at + 0.3) ** 2) / (2 * 1.3**2))  # smooth: spokes leave out the corners
    images = np.stack([blob * (1 + 0.2j * at), blob * (0.5j - 0.3 * at[:, None])])
    basis = np.linalg.qr(rng.standard_normal((REPETITIONS, RANK)) + 1j * rng.standard_normal((REPETITIONS, RANK)))[0]
    radius, grid = (np.arange(2 * N) - N) / (2 * N), np.stack(np.meshgrid(*[np.arange(N) - N // 2] * 2, indexing="ij"))
    samples, signal = [], []
    for repetition in range(REPETITIONS):
        angle = repetition * np.pi * 0.618034
        k = radius * np.array([[np.sin(angle)], [np.cos(angle)]])
        seen = np.einsum("r,ryx->yx", basis[repetition], images)
        signal.append(np.exp(-2j * np.pi * np.einsum("as,ayx->syx", k, grid)).reshape(2 * N, -1) @ seen.ravel())
        index = repetition * 2 * N + np.arange(2 * N)
        samples.append(Samples(contrast=repetition, slice=0, index=index, k=k, time=0 * radius))
    trajectory = Trajectory(samples=tuple(samples), shape=(REPETITIONS, 1, N, N), volume=0.5, coordinates={})
    blank = np.zeros(REPETITIONS)
    table = ReadoutTable(
        start=blank.astype(int),
        count=blank.astype(int),
        dwell=blank,
        te=blank,
        ti=blank,
        tr=blank,
        flip=blank,
        labels={},
    )
    signal = np.concatenate(signal) * 0.5  # volume of a voxel
    raw = RawData(
        signal=np.stack([signal, 2j * signal]), k=np.zeros((len(signal), 3)), time=0 * signal.real, readouts=table
    )
    return raw, trajectory, basis, images


def test_images_are_those_that_were_sampled(train):
    """Each repetition holds one spoke of the 13 that a single image would need; steps come nearer and nearer."""
    raw, trajectory, basis, images = train
    few, more = (coefficient_images(raw, trajectory, basis, iterations=n)[:, :, 0] for n in (1, 15))
    assert more.shape == (2, RANK, N, N)
    assert np.linalg.norm(more[0] - images) < 0.05 * np.linalg.norm(images)
    assert np.linalg.norm(more[0] - images) < 0.5 * np.linalg.norm(few[0] - images)
    assert more[1] == pytest.approx(2j * more[0], abs=1e-6)


def test_kernels_are_sampling_and_bringing_back(monkeypatch):
    """Random places, complex basis and weights, an image that is no square; the plain transforms are the other way."""
    draw = np.random.default_rng(0)

    def pairs(*shape):
        return draw.normal(size=shape) + 1j * draw.normal(size=shape)

    k, weight = draw.uniform(-0.5, 0.5, (2, 700)), draw.uniform(0.5, 1.0, 700)
    part = lowrank._Slice(index=np.arange(700), k=k, basis=pairs(3, 700), weight=weight)
    images = pairs(3, 10, 8)
    by_kernels = part.normal((10, 8))(images)
    monkeypatch.setattr(lowrank, "_KERNELS", 0)
    plain = part.normal((10, 8))(images)
    assert np.linalg.norm(by_kernels - plain) < 1e-4 * np.linalg.norm(plain)  # of the transforms
    assert np.linalg.norm(by_kernels - plain) > 0


def test_the_window_is_one_in_the_middle_and_keeps_edges_from_ringing():
    """A wave of a quarter of the matrix keeps cos²(π/4) of itself; an edge overshoots by 9 % before, by 1 % after."""
    n = 32
    x = np.arange(n)
    wave = np.broadcast_to(np.exp(2j * np.pi * x * (n // 4) / n), (1, n, n))
    assert windowed(wave) == pytest.approx(0.5 * wave, abs=1e-12)  # rounding of the transforms
    assert windowed(np.ones((1, n, n))) == pytest.approx(np.ones((1, n, n)), abs=1e-12)
    fine = (abs(np.arange(1024) - 511.5) < 230).astype(float)
    kept = np.fft.ifft(np.fft.fft(fine)[np.r_[0 : n // 2, -n // 2 : 0]]) * n / 1024
    edge = np.broadcast_to(kept, (1, n, n))
    assert np.abs(edge).max() > 1.05
    assert np.abs(windowed(edge)).max() < 1.01
