"""JEMRIS `.h5` samples: a voxel grid.

`sample/data` (z, y, x, 5) as HDF5 orders it: density, 1/T1, 1/T2, 1/T2* [1/ms], Δω [rad/s]; `sample/resolution` and
`sample/offset` [mm] along x, y, z. The middle of the grid lies at the offset. A rate of zero is "never". A positive Δω
adds to the main field.

Source: JEMRIS, Sample class; KomaMRI.jl, KomaMRIFiles/src/Phantom/JEMRIS.jl, which reads the same.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mrisim.data import Geometry, Grid
from mrisim.errors import Finding
from mrisim.io.phantoms import h5
from mrisim.io.phantoms.checks import LARGEST, SMALLEST, check_layer, unsound
from mrisim.phantom.voxels import Interpolation, Layer, VoxelModel

COLUMNS = 5
PER_MS = 1e3  # 1/ms → 1/s
MM = 1e-3
ROUNDING = 1e-4  # by which 1/T2* may fall short of 1/T2
SECTIONS = {
    "pd": "sample/data[0]",
    "t1": "sample/data[1]",
    "t2": "sample/data[2]",
    "t2_prime": "sample/data[3]",
    "df": "sample/data[4]",
}


def read(path: Path, field: float | None, interpolation: Interpolation) -> VoxelModel:
    """Voxel model of a JEMRIS sample.

    Args:
        path: File.
        field: Field strength that its properties hold for [T], which the file does not say.
        interpolation: Between the centers of voxels.

    Raises:
        ResourceError: the file is truncated, corrupt, or claims more than it holds.
        ConsistencyError: values that are not physical.
    """
    with h5.opened(path) as file:
        data = h5.array(path, file, "sample/data")
        resolution = _lengths(path, file, "sample/resolution")
        has_offset = h5.has(file, "sample/offset")
        offset = _lengths(path, file, "sample/offset") if has_offset else np.zeros(3)
    if not 2 <= data.ndim <= 4 or data.shape[-1] != COLUMNS:
        raise unsound(path, "sample/data", f"must have shape (z, y, x, 5), but has {data.shape}")
    data = data.reshape((1,) * (4 - data.ndim) + data.shape)
    if not (np.isfinite(resolution).all() and (resolution >= SMALLEST).all()):
        rule = f"must be at least {SMALLEST / MM:g} mm, but is {(resolution / MM).tolist()}"
        raise unsound(path, "sample/resolution", rule)
    if not (np.abs(offset) <= LARGEST).all():
        raise unsound(path, "sample/offset", f"must be at most {LARGEST:g} m, but is {(offset / MM).tolist()} mm")
    nz, ny, nx = data.shape[:3]
    if (np.array([nx, ny, nz]) * resolution).max() > LARGEST:
        raise unsound(path, "sample/resolution", f"must be in mm, but makes a phantom of more than {LARGEST:g} m")
    counts = np.array([nx, ny, nz])
    center = offset + (counts // 2 - 0.5 * (counts - 1)) * resolution
    x, y, z = (float(side) for side in resolution)
    grid = Grid.of((nx, ny, nz), (x, y, z), Geometry(center=center))
    layer = Layer(name="sample", values=_values(path, data))
    findings = () if has_offset else (Finding("phantom", f"{path.name} has no offset; it is centered at zero"),)
    return VoxelModel(
        name=path.stem, grid=grid, layers=(layer,), interpolation=interpolation, field=field, findings=findings
    )


def _lengths(path: Path, file, name: str) -> np.ndarray:
    values = h5.array(path, file, name).reshape(-1) * MM
    if len(values) != 3:
        raise unsound(path, name, f"must hold three lengths, but holds {len(values)}")
    return values


def _values(path: Path, data: np.ndarray) -> dict[str, np.ndarray]:
    protons = data[..., 0] > 0.0
    for column in range(1, COLUMNS):
        wrong = ~np.isfinite(data[..., column]) if column == 4 else ~(data[..., column] >= 0.0)
        if (wrong & protons).any():
            rule = "must be finite" if column == 4 else "must be a rate of at least 0"
            first = data[..., column][wrong & protons][0]
            raise unsound(path, f"sample/data[{column}]", f"{rule} where there are protons, but is {first:g}")
    r1, r2, r2_star = (np.where(protons, data[..., column], 0.0) * PER_MS for column in (1, 2, 3))
    short = protons & (r2_star > 0.0) & (r2_star < r2 * (1.0 - ROUNDING))
    if short.any():
        rule = f"1/T2* must be at least 1/T2, or 0 for none, but is not in {short.sum():,} voxels"
        raise unsound(path, SECTIONS["t2_prime"], rule, "Check the order of the columns")
    reversible = np.where(r2_star > 0.0, np.maximum(r2_star - r2, 0.0), 0.0)
    with np.errstate(divide="ignore"):
        times = {"t1": 1.0 / r1, "t2": 1.0 / r2, "t2_prime": 1.0 / reversible}
    df = np.where(protons, data[..., 4], 0.0) / (2.0 * np.pi)
    values = {"pd": data[..., 0], **times, "df": df}
    check_layer(path, values, SECTIONS, "Write its rates in 1/ms")
    return values
