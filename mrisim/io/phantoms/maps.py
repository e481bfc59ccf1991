"""Phantom files (YAML) that take their voxels from NIfTI files: parameter maps, or labels with tissues."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mrisim import source, units
from mrisim.constants import GAMMA_BAR
from mrisim.data import Geometry, Grid
from mrisim.errors import Finding, MrisimError, Problem, SpecError
from mrisim.io.nifti import Volume, read_volume
from mrisim.io.phantoms.checks import LARGEST, check_layer
from mrisim.phantom import grammar
from mrisim.phantom.library import PhantomParts, Resolver, b0_of, b1_of
from mrisim.phantom.tissues import Tissue
from mrisim.phantom.voxels import Interpolation, Layer, VoxelModel
from mrisim.source import Source

QUANTITY = {
    "T1": "t1", "T2": "t2", "T2star": "t2_prime", "T2prime": "t2_prime", "PD": "pd", "B0": "df", "B1": "b1",
    "ADC": "diffusion",
}  # fmt: skip
WITH_LABELS = ("B0", "B1")
_CHECKED = {"t1": "maps.T1", "t2": "maps.T2", "t2_prime": "maps.T2prime", "pd": "maps.PD", "df": "maps.B0"}
SECTIONS = {**_CHECKED, "b1": "maps.B1", "diffusion": "maps.ADC"}
SAME = 1e-3  # of a voxel: by how much two grids may differ
RADIANS = 1.0 / (2.0 * math.pi)  # rad/s → Hz
ROUNDING = 1e-4  # by which T2star may exceed T2


@dataclass(frozen=True, kw_only=True, eq=False)
class _Files:
    """What the phantom's file says about files, and where it says so."""

    content: Source
    maps: grammar.MapsSpec
    labels: grammar.LabelsSpec | None
    resample: str | None

    def problem(self, path: source.KeyPath, rule: str, remedy: str = "") -> SpecError:
        return SpecError(self.content.problem(path, rule, remedy))


def build(
    parts: PhantomParts, name: str, field: float | None, interpolation: Interpolation | None, extrude: float | None
) -> VoxelModel:
    """Voxel model of a phantom file with `maps` or `labels`.

    Args:
        parts: The file, validated.
        name: Of the phantom.
        field: Field strength asked for [T]; default: the file's.
        interpolation: Between the centers of voxels; default: the file's, else "nearest".
        extrude: Thickness of a single slice [m]; default: the file's, else that of its header.

    Raises:
        SpecError: what the file says does not fit together, or names a file outside its folder.
        ResourceError: a NIfTI file that cannot be read.
        ConsistencyError: values that are not physical.
    """
    merged = parts.merged
    files = _files(parts)
    strength = _field(files, merged, field)
    method = interpolation or merged.interpolation or "nearest"
    grid, volumes, findings = _volumes(files)
    grid = _extruded(files, grid, extrude if extrude is not None else merged.extrude)
    resolver = Resolver(parts, strength)
    arrays = {key: _converted(files, key, volume, strength) for key, volume in volumes.items() if key != "labels"}
    labels = None
    if files.labels is not None:
        labels = _whole(files, volumes["labels"])
        layers = _tissue_layers(files, files.labels, resolver, labels, arrays, merged.t2_prime is not False, findings)
    else:
        layers = _map_layers(files, arrays, merged.t2_prime is not False, findings)
    spec = merged.fields or grammar.FieldsSpec()
    voxel = merged.voxel
    model = VoxelModel(
        name=name,
        description=merged.description or merged.phantom or "",
        sources=tuple(merged.sources or ()),
        grid=grid,
        layers=layers,
        labels=labels,
        interpolation=method,
        field=strength,
        b0=b0_of(spec.b0),
        isochromats=merged.isochromats or 1,
        default_voxel=voxel if isinstance(voxel, tuple) or voxel is None else (voxel, voxel, voxel),
        parameters=dict(parts.values),
        findings=tuple(findings),
    )
    return replace(model, b1=b1_of(spec.b1, model.size))


def _files(parts: PhantomParts) -> _Files:
    merged = parts.merged
    key = "maps" if merged.maps is not None else "labels"
    content = next(c for c, spec in reversed(parts.parsed) if getattr(spec, key) is not None)
    maps = merged.maps or grammar.MapsSpec()
    files = _Files(content=content, maps=maps, labels=merged.labels, resample=merged.resample)
    problems: list[Problem] = []

    def add(path: source.KeyPath, rule: str, remedy: str = "") -> None:
        problems.append(content.problem(path, rule, remedy))

    if any(spec.shapes for _, spec in parts.parsed) or merged.size is not None:
        add((key,), "must not stand beside shapes and size, but does", "Keep either files or shapes")
    given = [k for k in QUANTITY if getattr(maps, k) is not None]
    if merged.labels is not None:
        for k in given:
            if k not in WITH_LABELS:
                add(("maps", k), "must be left out where labels give the tissue, but is given", "Remove it or labels")
    else:
        for k in ("T1", "T2"):
            if k not in given:
                add(("maps",), f"must have the key '{k}', but has none", f"Add '{k}: {{file: …, unit: ms}}'")
    spec = merged.fields or grammar.FieldsSpec()
    if spec.b0.susceptibility is not False:
        add(("fields", "b0", "susceptibility"), "must be left out for a phantom from files, but is given")
    if problems:
        raise SpecError(problems)
    return files


def _field(files: _Files, merged: grammar.PhantomFile, asked: float | None) -> float:
    if merged.field is None and asked is None:
        remedy = "Add 'field: 3 T', or give the field"
        raise files.problem((), "must state the field strength that its values hold for, but does not", remedy)
    if files.labels is None and None not in (merged.field, asked) and abs(merged.field / asked - 1.0) > 1e-9:  # type: ignore[operator]
        rule = f"must be {merged.field:g} T, which the maps hold for, but {asked:g} T is asked for"
        raise files.problem(("field",), rule, "Take the sequence to this field, or other maps")
    return float(asked if asked is not None else merged.field or 0.0)


def _volumes(files: _Files) -> tuple[Grid, dict[str, Volume], list[Finding]]:
    """Volumes by key on one grid: that of the labels, else that of the first map."""
    volumes: dict[str, Volume] = {}
    if files.labels is not None:
        volumes["labels"] = _read(files, ("labels", "file"), files.labels.file, True)
    for key in QUANTITY:
        spec = getattr(files.maps, key)
        if spec is not None:
            volumes[key] = _read(files, ("maps", key, "file"), spec.file, False)
    first = next(iter(volumes))
    grid = volumes[first].grid
    findings = [finding for volume in volumes.values() for finding in volume.findings]
    for key, volume in volumes.items():
        if same_place(volume.grid, grid):
            continue
        path = ("labels",) if key == "labels" else ("maps", key)
        if files.resample is None:
            rule = f"must lie on the grid of {first}, {_shown(grid)}, but lies on {_shown(volume.grid)}"
            raise files.problem(path, rule, "Resample it, or add 'resample: linear' (or nearest)")
        data = _resampled(volume, grid, files.resample)
        outside = np.isnan(data)
        text = f"{'.'.join(path)} is resampled ({files.resample}) to the grid of {first}"
        findings.append(Finding("resampling", text + (", beyond its edge to its edge" if outside.any() else "")))
        volumes[key] = replace(volume, data=data, grid=grid)
    return grid, volumes, list(dict.fromkeys(findings))


def _read(files: _Files, path: source.KeyPath, name: str, finite: bool) -> Volume:
    try:
        place = source.inside_folder(files.content.folder, name)
    except MrisimError as error:
        raise SpecError([files.content.problem(path, p.rule, p.remedy) for p in error.problems]) from None
    if not place.is_file():
        raise files.problem(path, f"must be an existing file, but '{name}' is not there")
    volume = read_volume(place, finite=finite)
    if volume.data.shape[0] != 1 or volume.data.dtype.kind == "c":
        what = "complex numbers" if volume.data.dtype.kind == "c" else f"{volume.data.shape[0]} volumes"
        raise files.problem(path, f"must hold one volume of real numbers, but {name} holds {what}", "Take one of them")
    if np.abs(volume.grid.geometry.center).max() > LARGEST:
        raise files.problem(path, f"must lie within {LARGEST:g} m, but {name} lies {_shown(volume.grid)}")
    return volume


def same_place(first: Grid, second: Grid) -> bool:
    """Whether two grids are one, to a thousandth of a voxel at each corner.

    Example:
        >>> grid = Grid.of((4, 4, 1), (1e-3, 1e-3, 1e-3))
        >>> same_place(grid, grid)
        True
    """
    if first.shape != second.shape:
        return False
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in first.shape], indexing="ij")).reshape(3, -1)
    apart = (first.affine() - second.affine())[:3] @ np.vstack([ends, np.ones(8)])
    sizes = np.abs(np.array(first.spacing) - np.array(second.spacing))
    return bool(max(np.abs(apart).max(), sizes.max()) <= SAME * min(first.spacing))


def _shown(grid: Grid) -> str:
    counts = " x ".join(str(n) for n in grid.shape)
    sides = " x ".join(f"{1e3 * side:.4g}" for side in grid.spacing)
    center = ", ".join(f"{1e3 * c:.4g}" for c in grid.geometry.center)
    return f"{counts} voxels of {sides} mm about ({center}) mm"


def _resampled(volume: Volume, grid: Grid, method: str) -> np.ndarray:
    """Values at the centers of another grid's voxels, (1, z, y, x); beyond the edge, those of the edge."""
    from scipy.ndimage import map_coordinates

    own = volume.grid
    order = 1 if method == "linear" and volume.data.dtype.kind == "f" else 0
    index = (grid.positions().reshape(-1, 3) - own.geometry.center) @ own.geometry.rotation / np.array(own.spacing)
    index = index + np.array(own.shape) // 2
    taken = map_coordinates(volume.data[0], index[:, ::-1].T, order=order, mode="nearest")
    return taken.reshape(1, *grid.shape[::-1])


def _extruded(files: _Files, grid: Grid, thickness: float | None) -> Grid:
    if thickness is None:
        return grid
    if grid.shape[2] != 1:
        raise files.problem(("extrude",), f"must be left out for a grid of {grid.shape[2]} slices, but is given")
    geometry = Geometry(rotation=grid.geometry.rotation, center=grid.geometry.center)
    return Grid.of(grid.shape, (grid.spacing[0], grid.spacing[1], thickness), geometry)


def _converted(files: _Files, key: str, volume: Volume, field: float) -> np.ndarray:
    """Values of a map in SI, (z, y, x)."""
    unit = getattr(files.maps, key).unit
    if unit == "1":
        factor = 1.0
    elif unit == "rad/s":
        factor = RADIANS
    elif unit == "ppm":
        factor = 1e-6 * field * GAMMA_BAR
    else:
        factor = units.unit(unit)[0]
    kind = np.float32 if volume.data.dtype == np.float32 else np.float64
    return np.asarray(volume.data[0], dtype=kind) * kind(factor)


def _map_layers(
    files: _Files, arrays: Mapping[str, np.ndarray], spread: bool, findings: list[Finding]
) -> tuple[Layer, ...]:
    values = {QUANTITY[key]: array for key, array in arrays.items() if key != "T2star"}
    with np.errstate(invalid="ignore"):
        if "pd" not in values:
            values["pd"] = ((values["t1"] > 0.0) & (values["t2"] > 0.0)).astype(np.float32)
            findings.append(Finding("proton density", "no PD map is given; it is 1 where T1 and T2 are above zero"))
        else:
            values["pd"] = np.where(np.isfinite(values["pd"]), values["pd"], 0.0) if _masked(values) else values["pd"]
        if "T2star" in arrays:
            values["t2_prime"] = _reversible(files, values, arrays["T2star"])
    if not spread:
        values.pop("t2_prime", None)
    place = Path(files.content.file)
    stated = ", ".join(f"{k} in {getattr(files.maps, k).unit}" for k in ("T1", "T2") if getattr(files.maps, k))
    other = "s" if any(getattr(files.maps, k).unit != "s" for k in ("T1", "T2")) else "ms"
    check_layer(place, values, SECTIONS, f"State unit: {other} where it is stated {stated}")
    return (Layer(name="maps", values=values),)


def _masked(values: Mapping[str, np.ndarray]) -> bool:
    """Whether nan in the proton density is background: where T1 is none either."""
    bad = ~np.isfinite(values["pd"])
    return bool(bad.any() and not (np.isfinite(values["t1"][bad]) & (values["t1"][bad] > 0.0)).any())


def _reversible(files: _Files, values: Mapping[str, np.ndarray], star: np.ndarray) -> np.ndarray:
    """T2′ from T2star and T2 [s]."""
    protons = values["pd"] > 0.0
    bad = protons & ~(star > 0.0)
    if bad.any():
        rule = f"must be above 0 s where there are protons, but {bad.sum():,} of {protons.sum():,} voxels are not"
        raise files.problem(("maps", "T2star"), rule, "Set the proton density to zero there")
    above = protons & (star > values["t2"] * (1.0 + ROUNDING))
    if above.any():
        rule = f"must be at most T2, but is above it in {above.sum():,} of {protons.sum():,} voxels"
        raise files.problem(("maps", "T2star"), rule, "Check the units, and that T2 and T2star are not exchanged")
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(protons, 1.0 / star - 1.0 / values["t2"], 0.0)
        return np.where(rate > 0.0, 1.0 / rate, np.inf)


def _whole(files: _Files, volume: Volume) -> np.ndarray:
    data = np.asarray(volume.data[0])
    if data.dtype.kind in "iu":
        return data
    rounded = np.round(data)
    if np.abs(data - rounded).max() > 1e-6 or np.abs(rounded).max() > 2**31:
        raise files.problem(("labels", "file"), "must hold whole numbers, but holds others", "Give a segmentation")
    return rounded.astype(np.int32)


def _tissue_layers(
    files: _Files,
    spec: grammar.LabelsSpec,
    resolver: Resolver,
    labels: np.ndarray,
    arrays: Mapping[str, np.ndarray],
    spread: bool,
    findings: list[Finding],
) -> tuple[Layer, ...]:
    resolver.name_tissues()
    tissues: dict[int, Tissue] = {}
    for key, ref in spec.tissues.items():
        path = ("labels", "tissues", key)
        if not key.lstrip("+-").isdigit() or len(key) > 10:
            resolver.problems.append(
                files.content.problem(path, f"must be a whole number, but is '{key}'", at_key=True)
            )
            continue
        resolved = resolver.tissue(files.content, path, ref, ref if isinstance(ref, str) else "")
        if resolved is not None:
            tissues[int(key)] = resolved
    found = {int(value) for value in np.unique(labels)}
    unknown = sorted(found - set(tissues) - {0})
    if unknown and not resolver.problems:
        shown = ", ".join(str(value) for value in unknown[:10]) + (", …" if len(unknown) > 10 else "")
        rule = f"must name a tissue for every label of the file, but lacks {shown}"
        remedy = f"Add '{unknown[0]}: air' for what gives no signal"
        resolver.problems.append(files.content.problem(("labels", "tissues"), rule, remedy))
    if resolver.problems:
        raise SpecError(resolver.problems)
    idle = sorted(set(tissues) - found)
    if idle:
        findings.append(Finding("labels", f"no voxel carries {', '.join(map(str, idle))}"))
    fields = {QUANTITY[key]: array for key, array in arrays.items()}
    present = {value: tissue for value, tissue in tissues.items() if value in found}
    layers = tuple(
        layer for value, tissue in present.items() for layer in _species(value, tissue, fields, spread, resolver)
    )
    if not layers:
        raise files.problem(("labels",), "must hold a voxel with signal, but holds none", "Check the labels")
    signal = np.isin(labels, [layer.label for layer in layers])
    check_layer(Path(files.content.file), {"pd": signal.astype(float), **fields}, SECTIONS, "")
    return layers


def _species(value: int, tissue: Tissue, fields: Mapping[str, Any], spread: bool, resolver: Resolver) -> list[Layer]:
    """A layer for each resonance of a tissue."""
    layers = []
    for s in tissue.species:
        if s.pd * s.share <= 0.0:
            continue
        df = s.shift * 1e-6 * resolver.field * GAMMA_BAR
        values: dict[str, Any] = {"pd": s.pd * s.share, "t1": s.t1, "t2": s.t2, **fields}
        values["df"] = fields["df"] + df if "df" in fields else df
        if spread:
            values["t2_prime"] = s.t2_prime
        values["diffusion"] = s.diffusion
        layers.append(Layer(name=tissue.name, values=values, label=value, fibre=s.fibre, fast=s.fast))
    return layers
