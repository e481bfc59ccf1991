"""Which point of which image's k-space each acquired sample is: from labels, held against the trajectory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mrisim._types import Float, Int
from mrisim.data import RawData, ReconSpec
from mrisim.errors import ConsistencyError, Finding, Problem
from mrisim.recon.cartesian import CartesianLayout

CONTRAST_LABELS = ("ECO", "SET", "PHS", "REP")
TOLERANCE = 0.1  # grid steps between a sample and its grid point: at most 0.1/(N/2) of the field of view in scale
COVERAGE = "k-space coverage"  # topic of the finding about lines that were not acquired
COORDINATES = ("te", "ti", "ts", "tr", "flip")


@dataclass(frozen=True, kw_only=True, eq=False)
class Placement:
    """A layout, with what distinguishes its contrasts."""

    layout: CartesianLayout
    coordinates: dict[str, Float[np.ndarray, " contrast"]]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Readouts:
    """Readouts that belong to an image: rows of the readout table, and k of their samples on logical axes."""

    rows: Int[np.ndarray, " used"]
    owner: Int[np.ndarray, " placed"]  # which used readout each sample belongs to
    sample: Int[np.ndarray, " placed"]
    k: Float[np.ndarray, "placed 3"]  # logical read, phase, slice [1/m]
    first: Int[np.ndarray, " used"]  # first sample of each used readout, within `sample`
    count: Int[np.ndarray, " used"]


def place(raw: RawData, spec: ReconSpec) -> Placement:
    """Place the samples of raw data on the k-space grids of its images.

    Columns follow from the trajectory (so reversed lines need no special case), lines, partitions and slices from the
    labels LIN, PAR and SLC, contrasts from ECO, SET, PHS and REP. Labels that the trajectory contradicts are refused.

    Raises:
        ConsistencyError: labels are missing, disagree with the trajectory or collide; the matrix does not match.
    """
    readouts = _image_readouts(raw)
    _require_labels(raw, spec)
    step = _sampling_step(raw, readouts)
    width = _columns(step, spec)
    problems: list[Problem] = []
    x = _columns_of_samples(readouts, width, spec, problems)
    y = _by_label(raw, readouts, "LIN", 1, spec, problems)
    if spec.matrix[2] > 1:
        z = _by_label(raw, readouts, "PAR", 2, spec, problems)
        n_z, axes = spec.matrix[2], (-3, -2, -1)
    else:
        z, n_z, axes = _slices(raw, readouts, spec, problems), len(spec.slice_positions), (-2, -1)
    _check_reversal(raw, readouts, problems)
    if problems:
        raise ConsistencyError(problems)
    contrast, n_contrasts = _contrasts(raw, readouts)
    shape = (n_contrasts, n_z, spec.matrix[1], width)
    spread = readouts.owner
    index = np.ravel_multi_index((contrast[spread], z[spread], y[spread], x), shape)
    volume = float(np.prod([spec.fov[i] / spec.matrix[i] for i in range(3)]))
    layout = CartesianLayout(
        shape=shape, columns=spec.matrix[0], axes=axes, voxel=volume, index=index, sample=readouts.sample
    )
    _check_repeats(raw, readouts, layout)
    findings = _check_coverage(layout)
    coordinates, differing = _coordinates(raw, readouts, contrast, n_contrasts, z, y, spec)
    return Placement(layout=layout, coordinates=coordinates, findings=(*findings, *differing))


def _image_readouts(raw: RawData) -> _Readouts:
    table = raw.readouts
    calibration = (table.label("REF") != 0) & (table.label("IMA") == 0)
    rows = np.flatnonzero((table.label("NAV") == 0) & (table.label("NOISE") == 0) & ~calibration)
    if len(rows) == 0:
        raise ConsistencyError(
            Problem("raw data must hold readouts of an image, but hold none", "Turn an ADC on", path="readouts")
        )
    count = np.asarray(table.count)[rows]
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    owner = np.repeat(np.arange(len(rows)), count)
    sample = np.asarray(table.start)[rows][owner] + np.arange(len(owner)) - first[owner]
    k = raw.k if len(sample) == len(raw.k) and (np.diff(sample) == 1).all() else raw.k[sample]
    logical = (raw.geometry.rotation.T @ k.T).T  # many times faster than k @ rotation for three columns
    return _Readouts(rows=rows, owner=owner, sample=sample, k=logical, first=first, count=count)


def _require_labels(raw: RawData, spec: ReconSpec) -> None:
    needed = {"LIN": spec.matrix[1] > 1, "PAR": spec.matrix[2] > 1}
    needed["SLC"] = spec.matrix[2] == 1 and len(spec.slice_positions) > 1
    size = {"LIN": f"{spec.matrix[1]} lines", "PAR": f"{spec.matrix[2]} partitions"}
    size["SLC"] = f"{len(spec.slice_positions)} slices"
    problems = [
        Problem(
            f"must be set for {size[name]}, but no readout carries it", f"Add {name} to the label of the loop", name
        )
        for name, need in needed.items()
        if need and name not in raw.labels
    ]
    if problems:
        raise ConsistencyError(problems)


def _sampling_step(raw: RawData, readouts: _Readouts) -> float:
    """Distance of neighboring samples along the read direction [1/m]."""
    if readouts.count.min() < 2:
        raise ConsistencyError(Problem("must hold at least two samples, but one holds fewer", path="readouts"))
    last = readouts.first + readouts.count - 1
    steps = np.abs(readouts.k[last, 0] - readouts.k[readouts.first, 0]) / (readouts.count - 1)
    step = float(np.median(steps))
    if step == 0.0:
        raise ConsistencyError(
            Problem("must advance along the read direction, but k stands still", "Put a gradient under the ADC", "k")
        )
    away = np.abs(steps - step) * readouts.count > 2 * TOLERANCE * step
    if away.any():
        row = readouts.rows[np.flatnonzero(away)[0]]
        found = steps[away][0]
        raise ConsistencyError(
            Problem(
                f"all readouts must sample k in equal steps, but readout {row} steps {found:.6g} 1/m and others "
                f"{step:.6g} 1/m",
                "Use one dwell time and one read gradient for all readouts",
                path="readouts",
            )
        )
    return step


def _columns(step: float, spec: ReconSpec) -> int:
    """Columns of k-space, oversampling included."""
    exact = spec.matrix[0] / (step * spec.fov[0])
    width = round(exact)
    if width < spec.matrix[0] or abs(width - exact) > 2 * TOLERANCE:
        raise ConsistencyError(
            Problem(
                f"field of view × sampling step must be 1 or a fraction of it that gives whole columns, but is "
                f"{step * spec.fov[0]:.6g}, {exact:.6g} columns for a matrix of {spec.matrix[0]}",
                "Make the flat area of the read gradient matrix / fov",
                path="recon.matrix",
            )
        )
    return width


def _columns_of_samples(
    readouts: _Readouts, width: int, spec: ReconSpec, problems: list[Problem]
) -> Int[np.ndarray, " placed"]:
    place = readouts.k[:, 0] * (spec.fov[0] * width / spec.matrix[0]) + width // 2
    column = np.rint(place).astype(int)
    off = np.abs(place - column)
    if off.max() > TOLERANCE:
        row = readouts.rows[readouts.owner[np.argmax(off)]]
        problems.append(
            Problem(
                f"samples must lie on the grid that has k = 0 on it, but readout {row} is {off.max():.3g} steps off",
                "Prephase with the area from the start of the read gradient to sample N//2, and sample its flat top",
                path="k",
            )
        )
    if column.min() < 0 or column.max() >= width:
        problems.append(
            Problem(
                f"samples must lie within the {width} columns of k-space, but reach column "
                f"{column.min() if column.min() < 0 else column.max()}",
                "Center the readout on k = 0, or raise the matrix",
                path="recon.matrix",
            )
        )
    return column


def _by_label(
    raw: RawData, readouts: _Readouts, label: str, axis: int, spec: ReconSpec, problems: list[Problem]
) -> Int[np.ndarray, " used"]:
    size = spec.matrix[axis]
    value = np.asarray(raw.readouts.label(label))[readouts.rows]
    if value.min() < 0 or value.max() >= size:
        found = value.min() if value.min() < 0 else value.max()
        problems.append(
            Problem(
                f"must lie in 0 .. {size - 1} for the matrix, but is {found}", "Correct the label or the matrix", label
            )
        )
        return np.clip(value, 0, size - 1)
    place = readouts.k[:, axis] * spec.fov[axis] + size // 2
    off = np.abs(place - value[readouts.owner])
    if off.max() > TOLERANCE:
        worst = int(np.argmax(off))
        problems.append(
            Problem(
                f"must agree with the trajectory, but readout {readouts.rows[readouts.owner[worst]]} says "
                f"{value[readouts.owner[worst]]} and its k is that of {place[worst]:.3g}",
                f"Encode line n with the area (n - {size} // 2) / fov and rewind it after the readout",
                label,
            )
        )
    return value


def _slices(raw: RawData, readouts: _Readouts, spec: ReconSpec, problems: list[Problem]) -> Int[np.ndarray, " used"]:
    """Place of each readout's slice among the slices in ascending position."""
    n = len(spec.slice_positions)
    value = np.asarray(raw.readouts.label("SLC"))[readouts.rows]
    if value.min() < 0 or value.max() >= n:
        found = value.min() if value.min() < 0 else value.max()
        problems.append(Problem(f"must lie in 0 .. {n - 1} for {n} slice positions, but is {found}", path="SLC"))
        return np.clip(value, 0, n - 1)
    missing = np.setdiff1d(np.arange(n), value)
    if len(missing):
        problems.append(Problem(f"must cover all {n} slices, but no readout has SLC {missing[0]}", path="SLC"))
    rank = np.empty(n, dtype=int)
    rank[np.argsort(spec.slice_positions, kind="stable")] = np.arange(n)
    return rank[value]


def _check_reversal(raw: RawData, readouts: _Readouts, problems: list[Problem]) -> None:
    if "REV" not in raw.labels:
        return
    last = readouts.first + readouts.count - 1
    backwards = readouts.k[last, 0] < readouts.k[readouts.first, 0]
    wrong = np.flatnonzero((np.asarray(raw.labels["REV"])[readouts.rows] != 0) != backwards)
    if len(wrong):
        row = readouts.rows[wrong[0]]
        direction = "backwards" if backwards[wrong[0]] else "forwards"
        problems.append(
            Problem(
                f"must be set where k runs backwards and only there, but readout {row} runs {direction}",
                "Correct the label or the sign of the read gradient",
                "REV",
            )
        )


def _contrasts(raw: RawData, readouts: _Readouts) -> tuple[Int[np.ndarray, " used"], int]:
    """Contrast of each readout: the product of the values of ECO, SET, PHS and REP that occur, ECO slowest."""
    contrast, total = np.zeros(len(readouts.rows), dtype=int), 1
    for label in CONTRAST_LABELS:
        values, place = np.unique(np.asarray(raw.readouts.label(label))[readouts.rows], return_inverse=True)
        contrast = contrast * len(values) + place
        total *= len(values)
    return contrast, total


def _check_repeats(raw: RawData, readouts: _Readouts, layout: CartesianLayout) -> None:
    """A point may be sampled again in another average only."""
    average = np.asarray(raw.readouts.label("AVG"))[readouts.rows]
    _, average = np.unique(average, return_inverse=True)
    size = int(np.prod(layout.shape))
    counts = np.bincount(average[readouts.owner] * size + layout.index)
    if counts.max() > 1:
        twice = int(np.argmax(counts)) % size
        _, z, y, _ = np.unravel_index(twice, layout.shape)
        raise ConsistencyError(
            Problem(
                f"each point of k-space must be sampled once per average, but line {y} at position {z} is sampled "
                f"{counts.max()} times",
                "Tell the readouts apart by AVG, ECO, SET or REP, or turn the ADC off in dummy repetitions",
                path="readouts",
            )
        )


def _check_coverage(layout: CartesianLayout) -> tuple[Finding, ...]:
    sampled = (layout.multiplicity > 0).reshape(layout.shape)
    center = tuple(layout.shape[axis] // 2 for axis in layout.axes)
    reached = sampled[(slice(None),) * (4 - len(center)) + center]
    if not reached.all():
        contrast = np.unravel_index(int(np.argmin(reached)), reached.shape)[0]
        raise ConsistencyError(
            Problem(f"k = 0 must be sampled for each image, but is not for contrast {contrast}", path="readouts")
        )
    lines = sampled.any(axis=-1)
    share = 1.0 - lines.mean()
    if share == 0.0:
        return ()
    text = f"{share:.0%} of the lines were not acquired and are taken as zero"
    return (Finding(COVERAGE, text, "Expect lower resolution, or aliasing if lines are missing inside"),)


def _coordinates(
    raw: RawData,
    readouts: _Readouts,
    contrast: Int[np.ndarray, " used"],
    n_contrasts: int,
    z: Int[np.ndarray, " used"],
    y: Int[np.ndarray, " used"],
    spec: ReconSpec,
) -> tuple[dict[str, np.ndarray], tuple[Finding, ...]]:
    """te, ti, ts, tr and flip of each contrast, from its readouts through the center of k-space."""
    central = y == spec.matrix[1] // 2
    if spec.matrix[2] > 1:
        central &= z == spec.matrix[2] // 2
    coordinates, findings = {}, []
    for name in COORDINATES:
        values = np.asarray(getattr(raw.readouts, name), dtype=float)[readouts.rows]
        column = np.full(n_contrasts, np.nan)
        spread = 0.0
        for c in range(n_contrasts):
            known = values[central & (contrast == c) & ~np.isnan(values)]
            if len(known):
                column[c] = np.median(known)
                spread = max(spread, float(np.ptp(known)))
        coordinates[name] = column
        if spread > 1e-3 * np.nanmax(np.abs(column), initial=0.0):
            text = f"{name} differs by {spread:.4g} between slices or averages of one image, and its median is used"
            findings.append(Finding("coordinates", text))
    middle = np.asarray(raw.readouts.start)[readouts.rows] + np.asarray(raw.readouts.count)[readouts.rows] // 2
    time = np.asarray(raw.time)[middle]
    groups = [np.flatnonzero(central & (contrast == c)) for c in range(n_contrasts)]
    return {**coordinates, **further_coordinates(raw, readouts.rows, time, groups)}, tuple(findings)


def further_coordinates(
    raw: RawData, rows: Int[np.ndarray, " used"], time: Float[np.ndarray, " used"], groups: list[np.ndarray]
) -> dict[str, np.ndarray]:
    """When each contrast was at the center of k-space, and its b-matrix where that is known.

    Args:
        raw: Samples with their readout table.
        rows: Rows of the table that are used.
        time: Of each at its center [s].
        groups: For each contrast the used rows that go through the center of k-space.
    """
    b_matrix = np.asarray(raw.readouts.b_matrix)[rows]
    found = {"time": np.array([np.median(time[group]) if len(group) else np.nan for group in groups])}
    weighted = [np.median(b_matrix[group], axis=0) if len(group) else np.full((3, 3), np.nan) for group in groups]
    return found if np.isnan(weighted).any() else {**found, "b_matrix": np.stack(weighted)}
