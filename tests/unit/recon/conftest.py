"""Synthetic raw data from closed-form k-space: no simulator, no FFT."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import j1

from mrisim.data import Geometry, RawData, ReadoutTable, ReconSpec


def ellipse(k, center, a, b):
    """Transform of an ellipse of unit density in the plane of k's first two axes."""
    q = np.hypot(a * k[:, 0], b * k[:, 1])
    safe = np.where(q == 0, 1.0, q)
    shape = a * b * np.where(q == 0, np.pi, j1(2 * np.pi * safe) / safe)
    return shape * np.exp(-2j * np.pi * (k[:, 0] * center[0] + k[:, 1] * center[1]))


def box(k, center, sides):
    """Transform of a box of unit density."""
    return np.prod(np.asarray(sides) * np.sinc(k * sides), axis=1) * np.exp(-2j * np.pi * k @ np.asarray(center))


def point(k, center, volume):
    """Transform of a point with the content of one voxel."""
    return volume * np.exp(-2j * np.pi * k @ np.asarray(center))


def acquire(
    transform,
    matrix,
    fov,
    *,
    oversampling=1,
    lines=None,
    backwards=lambda line: False,
    slices=(0.0,),
    excitations=None,
    geometry=None,
    echo_times=(0.01,),
    averages=1,
    first_sample=0,
    dtype=complex,
    **options,
):
    """Raw data of a Cartesian scan.

    `transform(k, echo, slice, average)` gives the samples at physical k (n, 3), one row or one per coil. The receiver
    moves the field of view to the center of the geometry, as a sequence does by its phases and frequencies.
    """
    geometry = geometry or Geometry()
    nx, ny, nz = matrix
    width = nx * oversampling
    kx = (np.arange(width) - width // 2)[first_sample:] / (fov[0] * oversampling)
    lines = np.arange(ny) if lines is None else np.asarray(lines)
    excitations = range(len(slices)) if excitations is None else excitations
    signal, k, rows = [], [], []
    for average in range(averages):
        for partition in range(nz):
            for slice_label in excitations:
                for line in lines:
                    for echo, te in enumerate(echo_times):
                        reverse = bool(backwards(line))
                        x = kx[::-1] if reverse else kx
                        y, z = (line - ny // 2) / fov[1], (partition - nz // 2) / fov[2] if nz > 1 else 0.0
                        logical = np.stack([x, np.full_like(x, y), np.full_like(x, z)], axis=1)
                        physical = logical @ geometry.rotation.T
                        samples = np.atleast_2d(transform(physical, echo, slice_label, average))
                        signal.append(samples * np.exp(2j * np.pi * physical @ geometry.center))
                        k.append(physical)
                        rows.append((line, partition, slice_label, echo, average, int(reverse), te))
    columns = np.array(rows).T
    count = np.full(len(rows), len(kx))
    table = ReadoutTable(
        start=np.concatenate([[0], np.cumsum(count)[:-1]]),
        count=count,
        dwell=np.full(len(rows), 1e-5),
        te=columns[6],
        ti=np.full(len(rows), np.nan),
        tr=np.full(len(rows), 0.5),
        flip=np.full(len(rows), np.pi / 2),
        labels={name: columns[i].astype(int) for i, name in enumerate(("LIN", "PAR", "SLC", "ECO", "AVG", "REV"))},
    )
    spec = ReconSpec(
        method="cartesian", matrix=matrix, fov=fov, slice_positions=np.asarray(slices, dtype=float), **options
    )
    signal = np.concatenate(signal, axis=1).astype(dtype)
    time = np.arange(signal.shape[1]) * 1e-5
    return RawData(signal=signal, k=np.concatenate(k), time=time, readouts=table, geometry=geometry, recon=spec)


class Scans:
    """What the tests here build their raw data from."""

    acquire = staticmethod(acquire)
    ellipse = staticmethod(ellipse)
    box = staticmethod(box)
    point = staticmethod(point)


@pytest.fixture(scope="session")
def scans():
    return Scans
