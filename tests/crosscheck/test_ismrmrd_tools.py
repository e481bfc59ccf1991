"""The format's own programs (Debian package ismrmrd-tools): they reconstruct our files, we reconstruct theirs.

`ismrmrd_recon_cartesian_2d` takes wrong headers without a word, so its pixels are compared.
"""

from __future__ import annotations

import shutil
import subprocess

import h5py
import numpy as np
import pytest

from mrisim.data import Geometry, RawData, ReadoutTable, ReconSpec
from mrisim.io.mrd import load_mrd, save_mrd
from mrisim.recon import reconstruct

RECON, GENERATE = "ismrmrd_recon_cartesian_2d", "ismrmrd_generate_cartesian_shepp_logan"
pytestmark = pytest.mark.skipif(
    shutil.which(RECON) is None or shutil.which(GENERATE) is None,
    reason="Debian package ismrmrd-tools is not installed",
)
TOLERANCE = 1e-5  # relative 2-norm: single precision, and the two add up their transforms in different orders
FOV, MATRIX = (0.24, 0.2, 5e-3), (64, 48, 1)
PARTS = (  # weight, center [m], sides [m]: nothing is symmetric
    (1.0, (0.011, -0.023), (0.11, 0.09)),
    (-0.4, (-0.02, 0.015), (0.03, 0.02)),
    (0.7, (0.05, 0.06), (0.01, 0.03)),
)
BENT = 0.4  # of the signal's phase over the lines, so that the image is complex [rad]


def box_scan(oversampling=2, coils=1, geometry=None, reverse=False):
    """Closed-form samples of three boxes, weighted for each coil by a smooth factor."""
    width = MATRIX[0] * oversampling
    x = (np.arange(width) - width // 2) / (FOV[0] * oversampling)
    line = np.arange(MATRIX[1])
    back = reverse * (line % 2)
    kx = np.where(back[:, None] == 1, x[::-1], x).ravel()
    ky = np.repeat((line - MATRIX[1] // 2) / FOV[1], width)
    signal = sum(
        weight * a * b * np.sinc(kx * a) * np.sinc(ky * b) * np.exp(-2j * np.pi * (kx * cx + ky * cy))
        for weight, (cx, cy), (a, b) in PARTS
    ) * np.exp(1j * BENT)
    factors = np.exp(1j * np.arange(coils)) * (1 + np.arange(coils))
    geometry = geometry or Geometry()
    nothing = np.full(len(line), np.nan)
    table = ReadoutTable(
        start=width * line, count=np.full(len(line), width), dwell=np.full(len(line), 5e-6), te=nothing, ti=nothing,
        tr=nothing, flip=nothing, labels={"LIN": line, "REV": back},
    )  # fmt: skip
    k = np.stack([kx, ky, 0 * kx], axis=1) @ geometry.rotation.T
    return RawData(
        signal=factors[:, None] * signal, k=k, time=np.arange(len(kx)) * 5e-6, readouts=table, geometry=geometry,
        recon=ReconSpec(method="cartesian", matrix=MATRIX, fov=FOV),
    )  # fmt: skip


def theirs(path):
    """Image that the program adds to the file (y, x)."""
    done = subprocess.run([RECON, str(path)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    with h5py.File(path, "r") as file:
        return file["dataset/cpp/data"][()].squeeze()


def difference(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def test_their_image_of_our_file_is_ours(tmp_path):
    """Oversampled, not square, asymmetric, oblique and off center; the scale is N times the volume of a voxel."""
    turned = Geometry(
        rotation=np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]]), center=np.array([0.01, -0.02, 0.03])
    )
    raw = box_scan(geometry=turned)
    save_mrd(tmp_path / "scan.mrd", raw)
    image = np.abs(reconstruct(raw).data[0, 0])
    scale = 2 * MATRIX[0] * MATRIX[1] * np.prod(np.divide(FOV, MATRIX))
    assert difference(theirs(tmp_path / "scan.mrd"), image * scale) <= TOLERANCE
    assert difference(image[::-1], image) > 0.5  # the comparison would see a flip
    assert difference(image[:, ::-1], image) > 0.5


def test_their_image_of_several_coils_is_our_root_sum_of_squares(tmp_path):
    raw = box_scan(coils=3)
    save_mrd(tmp_path / "scan.mrd", raw)
    image = np.abs(reconstruct(raw, combine="rss").data[0, 0])
    scale = 2 * MATRIX[0] * MATRIX[1] * np.prod(np.divide(FOV, MATRIX))
    assert difference(theirs(tmp_path / "scan.mrd"), image * scale) <= TOLERANCE


def test_our_image_of_their_file_is_theirs(tmp_path):
    """A file that mrisim did not write: eight coils, oversampling, a noise measurement, no directions."""
    path = tmp_path / "shepp.h5"
    subprocess.run(
        [GENERATE, "-m", "64", "-c", "8", "-O", "2", "-n", "0.01", "-C", "-o", str(path)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    raw = load_mrd(path)
    image = np.abs(reconstruct(raw, combine="rss").data[0, 0])
    assert image.shape == (64, 64)
    expected = theirs(path)
    scale = np.vdot(image, expected) / np.vdot(image, image)
    assert difference(image * scale, expected) <= TOLERANCE
    voxel = np.prod(np.divide(raw.recon.fov, raw.recon.matrix))
    assert scale == pytest.approx(2 * 64 * 64 * voxel, rel=1e-5)
