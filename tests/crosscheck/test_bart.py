"""BART's direct transform (`bart nufft -s`) against our forward and adjoint, Cartesian and not.

BART counts k in cycles per field of view, stores column-major, and has r = 0 at voxel N//2, as mrisim has.
"""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from mrisim.data import RawData, ReadoutTable
from mrisim.io.mrd import load_mrd, save_mrd
from mrisim.recon import reconstruct
from mrisim.recon.cartesian import CartesianLayout, adjoint, forward

pytestmark = pytest.mark.skipif(shutil.which("bart") is None, reason="Debian package bart is not installed")
TOLERANCE = 1e-4  # relative 2-norm: BART computes its transform in single precision, phases of up to 60 cycles
NX, NY = 24, 18


def write(path, array):
    """BART's format: the shape as text, values column-major in single precision."""
    shape = [*array.shape, *[1] * (16 - array.ndim)]
    path.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, shape)) + "\n")
    np.asarray(array, np.complex64).ravel(order="F").tofile(path.with_suffix(".cfl"))


def read(path):
    shape = [int(n) for n in path.with_suffix(".hdr").read_text().splitlines()[1].split()]
    return np.fromfile(path.with_suffix(".cfl"), np.complex64).reshape(shape, order="F")


def bart(*arguments, folder):
    done = subprocess.run(["bart", *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def difference(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.fixture
def case():
    """Every point of an oversampled grid, in a shuffled order, and complex numbers without symmetry."""
    rng = np.random.default_rng(3)
    shape = (1, 1, NY, 2 * NX)
    index = rng.permutation(np.prod(shape))
    layout = CartesianLayout(
        shape=shape, columns=NX, axes=(-2, -1), voxel=1.0, index=index, sample=np.arange(len(index))
    )
    image = rng.normal(size=layout.image_shape) + 1j * rng.normal(size=layout.image_shape)
    _, _, y, x = np.unravel_index(index, shape)
    k = np.stack([(x - NX) / 2, y - NY // 2, 0 * x]).astype(float)  # cycles per field of view
    return layout, image, k


def test_adjoint_is_that_of_bart(case, tmp_path):
    layout, _, k = case
    rng = np.random.default_rng(4)
    samples = rng.normal(size=k.shape[1]) + 1j * rng.normal(size=k.shape[1])
    write(tmp_path / "k", k[:, :, None])
    write(tmp_path / "samples", samples[None, :, None])
    bart("nufft", "-s", "-a", "-d", f"{NX}:{NY}:1", "k", "samples", "image", folder=tmp_path)
    found = read(tmp_path / "image").squeeze().T
    expected = adjoint(layout, samples)[0, 0]
    assert difference(found, expected) <= TOLERANCE


def test_forward_is_that_of_bart(case, tmp_path):
    layout, image, k = case
    write(tmp_path / "k", k[:, :, None])
    write(tmp_path / "image", image[0, 0].T)
    bart("nufft", "-s", "k", "image", "samples", folder=tmp_path)
    found = read(tmp_path / "samples").squeeze()
    expected = forward(layout, image)
    assert difference(found, expected) <= TOLERANCE


def test_image_of_a_file_with_samples_beside_the_grid(tmp_path):
    """BART's adjoint at the trajectory that the file holds is the image that is inferred from it, and no other."""
    fov = (0.24, 0.18, 5e-3)
    line, column = np.repeat(np.arange(NY), NX), np.tile(np.arange(NX), NY)
    logical = np.stack([column - NX // 2 + 0.5, line - NY // 2 + 0.3, 0 * line]).astype(float)  # 1/fov
    rng = np.random.default_rng(6)
    samples = rng.normal(size=len(line)) + 1j * rng.normal(size=len(line))
    nothing = np.full(NY, np.nan)
    table = ReadoutTable(
        start=NX * np.arange(NY), count=np.full(NY, NX), dwell=np.full(NY, 1e-5), te=nothing, ti=nothing, tr=nothing,
        flip=nothing, labels={},
    )  # fmt: skip
    k = logical.T / np.array([*fov[:2], 1.0])
    save_mrd(tmp_path / "scan.mrd", RawData(signal=samples[None], k=k, time=np.arange(len(k)) * 1e-5, readouts=table))
    raw = load_mrd(tmp_path / "scan.mrd")
    write(tmp_path / "k", (raw.k * [*fov[:2], 1.0]).T[:, :, None])
    write(tmp_path / "samples", raw.signal[0][None, :, None])
    bart("nufft", "-s", "-a", "-d", f"{NX}:{NY}:1", "k", "samples", "image", folder=tmp_path)
    image = reconstruct(raw)
    scale = NX * NY * np.prod(image.grid.spacing)
    assert difference(image.data[0, 0] * scale, read(tmp_path / "image").squeeze().T) <= TOLERANCE
