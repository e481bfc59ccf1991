"""MRzero `.npz`: a voxel grid.

PD_map [1], T1_map, T2_map, T2dash_map [s], D_map [10⁻³ mm²/s], B0_map [Hz], B1_map [1], indexed (x, y, z); FOV [m],
three lengths, else 0.192 m each; tissue_NAME: share of a tissue in each voxel. Voxel N//2 lies at zero.

Source: MRzero-Core, python/MRzeroCore/phantom/voxel_grid_phantom.py, VoxelGridPhantom.load and build.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from mrisim.data import Grid
from mrisim.errors import Finding
from mrisim.io.phantoms import npz
from mrisim.io.phantoms.checks import LARGEST, SMALLEST, check_layer, unsound
from mrisim.phantom.voxels import Interpolation, Layer, VoxelModel

SECTIONS = {
    "pd": "PD_map", "t1": "T1_map", "t2": "T2_map", "t2_prime": "T2dash_map", "df": "B0_map", "b1": "B1_map",
    "diffusion": "D_map",
}  # fmt: skip
DIFFUSION = 1e-9  # 10⁻³ mm²/s [m²/s]
REQUIRED = ("pd", "t1", "t2")
FOV = 0.192  # where the file gives none [m]
TISSUE = "tissue_"
REST = "other"


def read(path: Path, field: float | None, interpolation: Interpolation) -> VoxelModel:
    """Voxel model of an MRzero phantom.

    Args:
        path: File.
        field: Field strength that its properties hold for [T], which the file does not say.
        interpolation: Between the centers of voxels.

    Raises:
        ResourceError: the file is truncated, corrupt, holds objects, or claims more than it holds.
        ConsistencyError: values that are not physical.
    """
    findings: list[Finding] = []
    with npz.opened(path) as archive:
        present = npz.names(archive)
        wanted = {q: name for q, name in SECTIONS.items() if q in REQUIRED or name in present}
        values = {q: _map(path, archive, name, findings) for q, name in wanted.items()}
        shares = {n.removeprefix(TISSUE): npz.array(path, archive, n) for n in present if n.startswith(TISSUE)}
        sides = _sides(path, archive, findings)
    shape = values["pd"].shape
    for quantity, value in values.items():
        if value.shape != shape:
            rule = f"must have the shape {shape} of PD_map, but has {value.shape}"
            raise unsound(path, SECTIONS[quantity], rule)
    for quantity, said in (
        ("df", "no off-resonance is"),
        ("b1", "a uniform transmit field is"),
        ("t2_prime", "no T2′ is"),
        ("diffusion", "no diffusion is"),
    ):
        if quantity not in values:
            findings.append(Finding("phantom", f"{path.name} has no {SECTIONS[quantity]}; {said} taken"))
    if "diffusion" in values:
        values["diffusion"] = np.where(values["pd"] > 0.0, values["diffusion"], 0.0) * DIFFUSION
    check_layer(path, values, SECTIONS, "Write it in seconds")
    nx, ny, nz = shape
    x, y, z = (float(side) / n for side, n in zip(sides, shape, strict=True))
    turned = {q: np.ascontiguousarray(value.transpose()) for q, value in values.items()}
    return VoxelModel(
        name=path.stem,
        grid=Grid.of((nx, ny, nz), (x, y, z)),
        layers=_layers(turned, {name: share for name, share in shares.items() if share.shape == shape}),
        interpolation=interpolation,
        field=field,
        findings=tuple(findings),
    )


def _map(path: Path, archive: zipfile.ZipFile, name: str, findings: list[Finding]) -> np.ndarray:
    """A map (x, y, z); what has no signal keeps whatever it holds."""
    values = npz.array(path, archive, name)
    if values.ndim == 4 and name == SECTIONS["b1"]:
        if values.shape[0] != 1:
            raise unsound(path, name, f"must be one transmit coil, but is {values.shape[0]}", "Combine them")
        values = values[0]
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3:
        raise unsound(path, name, f"must have axes (x, y, z), but has shape {values.shape}")
    if values.dtype.kind == "c":
        if name != SECTIONS["b1"]:
            raise unsound(path, name, "must be real, but is complex")
        if np.abs(np.imag(values)).max() > 1e-6 * np.abs(values).max():
            findings.append(Finding("phantom", f"the phase of {name} of {path.name} is left out"))
        values = np.abs(values)
    return values.astype(float)


def _sides(path: Path, archive: zipfile.ZipFile, findings: list[Finding]) -> np.ndarray:
    if "FOV" not in npz.names(archive):
        text = f"{path.name} has no FOV; {FOV:g} m along each axis is taken, as MRzero does"
        findings.append(Finding("phantom", text))
        return np.full(3, FOV)
    sides = npz.array(path, archive, "FOV").reshape(-1)
    if sides.dtype.kind == "c" or len(sides) not in (1, 3) or not (np.isfinite(sides).all() and (sides > 0).all()):
        raise unsound(path, "FOV", f"must be three lengths above 0 m, but is {sides.tolist()[:4]}")
    if sides.min() < SMALLEST:
        raise unsound(path, "FOV", f"must be at least {SMALLEST:g} m, but is {sides.min():g} m")
    if sides.max() > LARGEST:
        remedy = "Divide by 1000 if it is in millimeters"
        raise unsound(path, "FOV", f"must be at most {LARGEST:g} m, but is {sides.max():g} m", remedy)
    return np.broadcast_to(sides.astype(float), (3,))


def _layers(values: dict[str, np.ndarray], shares: dict[str, np.ndarray]) -> tuple[Layer, ...]:
    """One layer, or one per tissue where their shares add up to one at most."""
    turned = {name: np.real(share).transpose().astype(float) for name, share in shares.items()}
    total = np.sum(list(turned.values()), axis=0) if turned else np.zeros(())
    sound = all(np.isfinite(share).all() and (share >= 0.0).all() for share in turned.values())
    if not turned or not sound or total.max() > 1.0 + 1e-5:
        return (Layer(name="phantom", values=values),)
    rest = np.where(total < 1.0 - 1e-5, 1.0 - total, 0.0)
    parts = {**turned, REST: rest}
    weighted = {name: values["pd"] * share for name, share in parts.items()}
    return tuple(Layer(name=n, values={**values, "pd": pd}) for n, pd in weighted.items() if (pd > 0.0).any())
