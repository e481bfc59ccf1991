"""KomaMRI `.phantom`: points with properties.

HDF5 with the attributes Version, Name, Ns, Dims; `position/x, y, z` [m]; `contrast/ρ, T1, T2, T2s` [1, s] and `Δw`
[rad/s], one value per spin. A positive Δw adds to the main field, as a gradient at positive position does; so does a
positive off-resonance here.

Source: KomaMRI.jl, KomaMRIFiles/src/Phantom/Phantom.jl.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from mrisim._types import Float
from mrisim.data import Phantom
from mrisim.errors import Finding
from mrisim.io.phantoms import h5
from mrisim.io.phantoms.checks import LARGEST, NEVER, broken, check_layer, unsound

AXES = ("x", "y", "z")
POINT = 1e-9  # volume of a spin where the positions do not tell [m³]
RASTER = 1e-3  # of the spacing, by how much positions on a grid may be off
SECTIONS = {"pd": "contrast/ρ", "t1": "contrast/T1", "t2": "contrast/T2", "df": "contrast/Δw"}


def read(path: Path, field: float | None) -> Phantom:
    """Isochromats of a KomaMRI phantom; what is assumed or dropped is among its findings.

    Args:
        path: File.
        field: Field strength that its properties hold for [T], which the file does not say.

    Raises:
        ResourceError: the file is truncated, corrupt, or claims more than it holds.
        ConsistencyError: values that are not physical.
    """
    with h5.opened(path) as file:
        position = _position(path, file)
        columns = {name: _column(path, file, section, len(position)) for name, section in SECTIONS.items()}
        findings = _findings(file)
    given = {name: values for name, values in columns.items() if values is not None}
    missing = [SECTIONS[name] for name in columns if name not in given]
    if missing:
        text = f"{path.name} lacks {', '.join(missing)}; density 1, no relaxation and no off-resonance are taken"
        findings.append(Finding("phantom", text))
    given = {name: _never(values) if name in ("t1", "t2") else values for name, values in given.items()}
    if "df" in given:
        given["df"] = given["df"] / (2.0 * np.pi)
    check_layer(path, given, SECTIONS, "Write it in seconds")
    keep = given["pd"] > 0.0 if "pd" in given else np.ones(len(position), dtype=bool)
    weight, said = _weight(position)
    values = {"t1": np.inf, "t2": np.inf, **{name: column[keep] for name, column in given.items()}}
    values["t2"] = np.minimum(values["t2"], 2.0 * np.asarray(values["t1"]))  # what rounding left above
    phantom = Phantom.from_arrays(position=position[keep], weight=weight, field=field, **values)
    return replace(phantom, findings=(*findings, said))


def _position(path: Path, file) -> Float[np.ndarray, "spins 3"]:
    present = [axis for axis in AXES if h5.has(file, f"position/{axis}")]
    if not present:
        raise broken(path, "position", "must hold x, y or z, but holds none", "Write it with KomaMRI")
    columns = {axis: h5.array(path, file, f"position/{axis}").reshape(-1) for axis in present}
    count = len(columns[present[0]])
    for axis, values in columns.items():
        if len(values) != count:
            raise unsound(path, f"position/{axis}", f"must hold {count} values, but holds {len(values)}")
        if not np.isfinite(values).all():
            raise unsound(path, f"position/{axis}", "must be finite, but holds nan or infinity")
        if np.abs(values).max() > LARGEST:
            rule = f"must be in meters, but reaches from {values.min():g} to {values.max():g}"
            raise unsound(path, f"position/{axis}", rule, "Divide by 1000 if it is in millimeters")
    return np.stack([columns.get(axis, np.zeros(count)) for axis in AXES], axis=-1)


def _column(path: Path, file, section: str, count: int) -> Float[np.ndarray, " spins"] | None:
    if not h5.has(file, section):
        return None
    values = h5.array(path, file, section).reshape(-1)
    if len(values) != count:
        raise unsound(path, section, f"must hold one value for each of {count} spins, but holds {len(values)}")
    return values


def _never(values: np.ndarray) -> np.ndarray:
    return np.where(values >= NEVER, np.inf, values)


def _findings(file) -> list[Finding]:
    dropped = [f"contrast/{name}" for name in h5.names(file, "contrast") if f"contrast/{name}" not in SECTIONS.values()]
    dropped += ["motion"] if h5.has(file, "motion") else []
    if not dropped:
        return []
    text = f"{', '.join(dropped)} of the KomaMRI phantom {'are' if len(dropped) > 1 else 'is'} left out"
    return [Finding("phantom", text)]


def _weight(position: Float[np.ndarray, "spins 3"]) -> tuple[float, Finding]:
    """Volume of a spin: a cell of the grid that the positions lie on, else a cubic millimeter."""
    sides = [_spacing(position[:, axis]) for axis in range(3)]
    extended = [side for side in sides if side is not None and side > 0.0]
    if None in sides or not extended:
        return POINT, Finding("phantom", "its spins lie on no grid; each counts as 1 mm³ of water")
    volume = float(np.prod(extended)) * min(extended) ** (3 - len(extended))
    sides_mm = " x ".join(f"{1e3 * side:.4g}" for side in (s if s else min(extended) for s in sides if s is not None))
    return volume, Finding("phantom", f"its spins lie on a grid; each counts as a voxel of {sides_mm} mm")


def _spacing(values: Float[np.ndarray, " spins"]) -> float | None:
    """Spacing of the raster that values lie on [m]; zero where all are the same, None where there is no raster."""
    span = float(np.ptp(values))
    if span == 0.0:
        return 0.0
    steps = np.diff(np.unique(np.round(values / span, 9))) * span
    step = float(steps[steps > 1e-6 * span].min())
    whole = (values - values.min()) / step
    return step if np.abs(whole - np.round(whole)).max() <= RASTER * max(1.0, float(whole.max())) ** 0.5 else None
