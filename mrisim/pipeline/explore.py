"""What a reader of the report explores: each sequence, each image, all maps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mrisim.data import Grid, Image, ParameterMap
from mrisim.pipeline.records import Result, ScanResult
from mrisim.report import Explorer, Picture
from mrisim.report.sequence import Sample
from mrisim.report.sequence import describe as describe_sequence
from mrisim.report.stacks import MOST_VOXELS, Difference, Panel, Stack
from mrisim.report.stacks import describe as describe_stacks
from mrisim.units import TIME, show

_MOST_TISSUES = 4
_DARK = 0.05  # of the proton density of water: less gives no signal to follow


def explore_sequence(result: Result, scan: ScanResult, still: tuple[Picture, ...]) -> Explorer:
    """The first run of a scan over time, with the magnetisation of some tissues of its phantom."""
    from mrisim import plot

    seq = scan.sequences[0]
    voxel = seq.recon.grid(seq.geometry) if seq.recon is not None else None
    thickness = 0.0 if voxel is None else voxel.thickness or voxel.spacing[2]
    sides = (0.0, 0.0, 0.0) if voxel is None else (*voxel.spacing[:2], thickness)
    data = describe_sequence(seq, plot.repetition(seq), _samples(result, scan), sides)
    return Explorer(name=f"seq-{scan.name}", kind="sequence", data=data, still=still)


def _samples(result: Result, scan: ScanResult) -> tuple[Sample, ...]:
    """Tissues with one resonance; those of the table come first."""
    model = scan.phantom.model
    if model is None:
        return (Sample("T1 1 s, T2 100 ms", 1.0, 0.1),)
    wanted = list(dict.fromkeys(row.tissue for row in result.tissues))
    tissues = [tissue for tissue in model.tissues if tissue.species and tissue.pd > _DARK]
    tissues.sort(key=lambda tissue: wanted.index(tissue.name) if tissue.name in wanted else len(wanted))
    samples = []
    for tissue in tissues[:_MOST_TISSUES]:
        main = max(tissue.species, key=lambda species: species.share)
        shift = main.shift * 1e-6 * model.gamma * model.field
        samples.append(Sample(tissue.name.replace("_", " "), main.t1, main.t2, shift))
    return tuple(samples)


def shares(sizes: Mapping[str, int], total: int = MOST_VOXELS // 2) -> dict[str, int]:
    """Voxels that each image of a report may have: small ones all of theirs, large ones an equal part of the rest.

    Example:
        >>> shares({"a": 10, "b": 500, "c": 500}, 100)
        {'a': 10, 'b': 45, 'c': 45}
    """
    found: dict[str, int] = {}
    for name in sorted(sizes, key=lambda name: sizes[name]):
        found[name] = min(sizes[name], (total - sum(found.values())) // (len(sizes) - len(found)))
    return found


def explore_image(name: str, image: Image, still: tuple[Picture, ...], most: int) -> Explorer:
    """Contrasts and slices of an image, at most so many voxels of them."""
    from mrisim import plot

    stack = _image_stack(name, image, plot.colour_table("gray"))
    return Explorer(name=f"img-{name}", kind="stacks", data=describe_stacks((stack,), most), still=still)


def _image_stack(name: str, image: Image, colours: np.ndarray) -> Stack:
    magnitude = image.magnitude
    bright = magnitude[magnitude > 0]
    return Stack(
        name=name,
        panels=(Panel(name="magnitude", data=magnitude),),
        unit="" if image.unit == "1" else image.unit,
        spacing=_spacing(image.grid),
        captions=tuple(_caption(image, i) for i in range(len(magnitude))),
        colours=colours,
        low=0.0,
        high=float(np.percentile(bright, 99.7)) if bright.size else 1.0,
    )


def _caption(image: Image, row: int) -> str:
    """Times that differ between contrasts, else the number of the contrast."""
    parts = []
    for name in ("te", "ti", "ts", "tr"):
        values = image.coordinates.get(name)
        if values is not None and np.isfinite(values[row]) and np.ptp(values[np.isfinite(values)]) > 1e-9:
            parts.append(f"{name.upper()} {show(float(values[row]), TIME, digits=4)}")
    return " · ".join(parts) or str(row + 1)


def explore_maps(
    maps: Mapping[str, ParameterMap], truth: Mapping[str, ParameterMap], still: tuple[Picture, ...]
) -> Explorer | None:
    """All maps with one value in a voxel, beside the truth; none where there is no such map."""
    scalar = {name: value for name, value in maps.items() if value.data.ndim == 3}
    if not scalar:
        return None
    stacks = tuple(_map_stack(name, value, truth.get(name)) for name, value in scalar.items())
    return Explorer(name="maps", kind="stacks", data=describe_stacks(stacks, MOST_VOXELS // 2), still=still)


def _map_stack(name: str, estimate: ParameterMap, truth: ParameterMap | None) -> Stack:
    from mrisim import plot

    shown = [("estimate", estimate)] + ([("truth", truth)] if truth is not None else [])
    look = plot.look_of(truth if truth is not None else estimate)
    panels = tuple(Panel(name=label, data=_masked(value)[None] * look.factor) for label, value in shown)
    return Stack(
        name=name,
        panels=panels,
        unit=look.unit,
        spacing=_spacing(estimate.grid),
        captions=("",),
        colours=plot.colour_table(look.colours),
        low=look.low,
        high=look.high,
        difference=None if truth is None else _difference(look),
    )


def _difference(look) -> Difference:
    from mrisim import plot

    none = np.zeros(0)
    unit = look.unit if look.absolute is not None else "%"
    return Difference(
        relative=look.absolute is None,
        end=look.difference(none, none)[1],
        unit=unit,
        colours=plot.colour_table("RdBu_r"),
    )


def _masked(values: ParameterMap) -> np.ndarray:
    return values.data if values.mask is None else np.where(values.mask, values.data, np.nan)


def _spacing(grid: Grid) -> tuple[float, float, float]:
    x, y, z = (side * 1e3 for side in grid.spacing)
    return x, y, z
