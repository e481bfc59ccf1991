"""Raw data that do not say how they become an image: matrix, field of view, lines and contrasts from k and labels.

What was acquired on parallel, equidistant lines is recognized from the trajectory alone; labels tell apart what the
trajectory cannot: slices, averages, repetitions. What had to be assumed is said as a finding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mrisim._types import Float, Int
from mrisim.data import Geometry, RawData, ReconSpec
from mrisim.errors import ConsistencyError, Finding, Problem
from mrisim.recon.lattice import Axis, axis_of
from mrisim.recon.placement import CONTRAST_LABELS, TOLERANCE

THICKNESS = 5e-3  # of a slice that nothing tells the thickness of [m]
PARALLEL = 1e-3  # sine of the angle between two lines that counts as parallel


@dataclass(frozen=True, kw_only=True, eq=False)
class Inferred:
    """Raw data completed by a recon specification."""

    raw: RawData  # with `recon`, labels, and k on its grid
    offset: Float[np.ndarray, " 3"]  # k of the samples minus k of their grid points, logical axes [1/m]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Lines:
    """Straight readouts of one direction and step."""

    rows: Int[np.ndarray, " lines"]  # of the readout table
    first: Float[np.ndarray, "lines 3"]  # k of the first sample, physical [1/m]
    count: Int[np.ndarray, " lines"]
    sense: Int[np.ndarray, " lines"]  # +1 along `direction`, -1 against it
    direction: Float[np.ndarray, " 3"]  # of the read axis, physical
    step: float  # between samples [1/m]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Frame:
    """Logical axes, and where the lines lie on the grid along each."""

    rotation: Float[np.ndarray, "3 3"]
    x: Axis
    y: Axis
    z: Axis


def infer_recon(
    raw: RawData,
    *,
    fov: Sequence[float] | None = None,
    slice_positions: Sequence[float] | None = None,
    thickness: float | None = None,
) -> Inferred:
    """Recon specification of Cartesian raw data, from k and whatever labels there are.

    Matrix and field of view follow from the extent and the spacing of the lines, line numbers from k. Where the field
    of view along read is known and smaller than the samples allow, the rest is readout oversampling. Lines that carry
    the same labels and are sampled again are echoes where their echo times differ, else repetitions. Samples beside
    the grid of k = 0, all by the same part of a step, are allowed.

    Args:
        raw: Samples; `raw.recon` is not read. `raw.provenance` may hold `fov` (3 values) and `slices`
            (`positions` and `thickness`) as the file or sequence gave them [m].
        fov: Read, phase, partition, as far as known [m]; before that of the provenance.
        slice_positions: By SLC label [m]; before those of the provenance.
        thickness: Of a slice [m]; before that of the provenance.

    Raises:
        ConsistencyError: the readouts are no parallel, equidistant lines, or not enough to make an image; the message
            says what is missing.

    Example:
        >>> from mrisim.data import ReadoutTable
        >>> k = np.array([[x, y, 0.0] for y in (-5.0, 0.0) for x in (-10.0, -5.0, 0.0, 5.0)])
        >>> nothing = np.full(2, np.nan)
        >>> table = ReadoutTable(start=np.array([0, 4]), count=np.array([4, 4]), dwell=np.full(2, 1e-5), te=nothing,
        ...                      ti=nothing, tr=nothing, flip=nothing, labels={})
        >>> raw = RawData(signal=np.ones((1, 8), complex), k=k, time=np.arange(8.0), readouts=table)
        >>> spec = infer_recon(raw).raw.recon
        >>> spec.matrix, spec.fov
        ((4, 2, 1), (0.2, 0.2, 0.005))
    """
    known = raw.provenance.get("fov") if fov is None else fov
    lines = _lines(raw)
    frame = _frame(raw, lines)
    matrix, fov_, said = _sizes(frame, _known(known))
    slices, slice_findings = _slices(raw, lines, frame, slice_positions, thickness)
    if matrix[2] == 1:
        fov_ = (*fov_[:2], slices[1])
    labels, repeats = _labels(raw, lines, frame, np.asarray(slices[2]))
    spec = ReconSpec(method="cartesian", matrix=matrix, fov=fov_, slice_positions=np.asarray(slices[0], dtype=float))
    offset = np.array([axis.offset * axis.step for axis in (frame.x, frame.y, frame.z)])
    completed = replace(
        raw,
        k=_on_grid(raw, lines, frame, matrix, fov_),
        readouts=replace(raw.readouts, labels=labels),
        geometry=Geometry(rotation=frame.rotation, center=raw.geometry.center),
        recon=spec,
    )
    findings = (*lines.findings, *said, *slice_findings, *repeats, *_offset_findings(frame))
    return Inferred(raw=completed, offset=offset, findings=findings)


def _known(fov: object) -> tuple[float, float, float] | None:
    """A field of view as told; what is no triple of lengths is as good as nothing."""
    values = np.asarray(fov, dtype=float).ravel() if isinstance(fov, (list, tuple, np.ndarray)) else np.zeros(0)
    if len(values) != 3:
        return None
    return tuple(float(v) if np.isfinite(v) and v > 0 else 0.0 for v in values)  # type: ignore[return-value]


def _lines(raw: RawData) -> _Lines:
    """Readouts of an image, straight and parallel.

    Raises:
        ConsistencyError: there are none, or they are bent, radial, or unevenly sampled.
    """
    table = raw.readouts
    used = (table.label("NAV") == 0) & (table.label("NOISE") == 0)
    used &= (table.label("REF") == 0) | (table.label("IMA") != 0)
    rows = np.flatnonzero(used & (np.asarray(table.count) > 1))
    start, count = np.asarray(table.start)[rows], np.asarray(table.count)[rows]
    if len(rows) == 0 or len(raw.k) < np.max(start + count) or not np.isfinite(raw.k).all():
        rule = "raw data must hold readouts of two samples or more with finite k, but do not"
        raise ConsistencyError(Problem(rule, "Turn an ADC on", path="readouts"))
    first, span = raw.k[start], raw.k[start + count - 1] - raw.k[start]
    steps = np.linalg.norm(span, axis=1) / (count - 1)
    moving = steps > 1e-6 * steps.max()
    if steps.max() == 0.0:
        rule = "must advance along the read direction, but k stands still"
        raise ConsistencyError(Problem(rule, "Put a gradient under the ADC", "k"))
    findings: tuple[Finding, ...] = ()
    if not moving.all():
        text = f"{np.count_nonzero(~moving)} readouts without a gradient are left out"
        findings = (Finding("readouts", text, "Label them NAV or NOISE"),)
    rows, start, count, first, span, steps = (part[moving] for part in (rows, start, count, first, span, steps))
    _check_straight(raw, rows, first, span)
    direction = _direction(raw, rows, span / np.linalg.norm(span, axis=1, keepdims=True))
    step = _common_step(rows, steps, count)
    sense = np.where(span @ direction > 0, 1, -1)
    return _Lines(rows=rows, first=first, count=count, sense=sense, direction=direction, step=step, findings=findings)


def _direction(raw: RawData, rows: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Direction of the read axis: along the geometry's where that is parallel, with REV against it where labeled."""
    oriented = units * np.where(units @ units[0] < 0, -1.0, 1.0)[:, None]
    away = np.linalg.norm(np.cross(oriented, units[0]), axis=1)
    if away.max() > PARALLEL:
        n = len(np.unique(np.round(oriented / (10 * PARALLEL)), axis=0))
        raise _not_cartesian(f"readouts must be parallel lines, but have {n} directions")
    mean = oriented.mean(axis=0)
    mean /= np.linalg.norm(mean)
    along = raw.geometry.rotation.T @ mean
    axis = int(np.argmax(np.abs(along)))
    if np.abs(along[axis]) > 1 - PARALLEL**2:
        mean = raw.geometry.rotation[:, axis]
    elif mean[np.argmax(np.abs(mean))] < 0:
        mean = -mean
    if "REV" in raw.labels:
        forward = np.asarray(raw.labels["REV"])[rows] == 0
        votes = np.where(forward, 1.0, -1.0) * np.sign(units @ mean)
        mean = mean if votes.sum() >= 0 else -mean
    return mean


def _check_straight(raw: RawData, rows: np.ndarray, first: np.ndarray, span: np.ndarray) -> None:
    """Samples of a readout advance in equal steps along a straight line."""
    count = np.asarray(raw.readouts.count)[rows]
    sample, owner, number = _samples(raw, rows)
    way = span / (count - 1)[:, None]
    expected = first[owner] + number[:, None] * way[owner]
    off = np.abs(raw.k[sample] - expected).max(axis=1) / np.linalg.norm(way, axis=1)[owner]
    if off.max() > TOLERANCE:
        row = rows[owner[np.argmax(off)]]
        rule = f"samples must advance in equal steps on a straight line, but readout {row} is {off.max():.3g} steps off"
        raise _not_cartesian(rule)


def _common_step(rows: np.ndarray, steps: np.ndarray, count: np.ndarray) -> float:
    """Distance of neighboring samples, the same in all readouts [1/m]."""
    step = float(np.median(steps))
    away = np.abs(steps - step) * count > 2 * TOLERANCE * step
    if away.any():
        row, found = rows[np.argmax(away)], steps[np.argmax(away)]
        rule = f"all readouts must sample k in equal steps, but readout {row} steps {found:.6g} 1/m and others "
        raise ConsistencyError(Problem(f"{rule}{step:.6g} 1/m", "Label those of no image NAV", path="readouts"))
    return step


def _samples(raw: RawData, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples of some readouts: their place in the signal, which of the readouts, and their number within it."""
    count = np.asarray(raw.readouts.count)[rows]
    owner = np.repeat(np.arange(len(rows)), count)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    return np.asarray(raw.readouts.start)[rows][owner] + number, owner, number


def _not_cartesian(rule: str) -> ConsistencyError:
    remedy = "Only Cartesian scans sampled on the flat top tell their image; give recon with method gridding for others"
    return ConsistencyError(Problem(rule, remedy, path="k"))


def _frame(raw: RawData, lines: _Lines) -> _Frame:
    """Axes of the image, and the lattice that the lines lie on."""
    across = lines.first - (lines.first @ lines.direction)[:, None] * lines.direction
    rotation = _rotation(raw, lines, across)
    logical = across @ rotation
    near = 0.05 * lines.step  # k of the same line in two readouts differ by less
    y = axis_of(logical[:, 1], near, "phase", np.asarray(raw.readouts.label("LIN"))[lines.rows])
    z = axis_of(logical[:, 2], near, "partition", np.asarray(raw.readouts.label("PAR"))[lines.rows])
    return _Frame(rotation=rotation, x=_read_axis(lines), y=y, z=z)


def _read_axis(lines: _Lines) -> Axis:
    """Columns of the first samples, and the width of k-space with all samples."""
    begin = lines.first @ lines.direction
    ends = begin + lines.sense * (lines.count - 1) * lines.step
    return axis_of(np.concatenate([begin, ends]), 0.05 * lines.step, "read", step=lines.step, wrap=False)


def _rotation(raw: RawData, lines: _Lines, across: np.ndarray) -> np.ndarray:
    """Read, phase and slice as columns: the geometry's own where they fit, else from the lines."""
    own = raw.geometry.rotation
    if np.linalg.norm(np.cross(own[:, 0], lines.direction)) < PARALLEL:
        if own[:, 0] @ lines.direction > 0:
            return own
        return own * np.array([-1.0, 1.0, -1.0])
    phase = _phase_direction(raw, lines, across, own)
    phase = phase - (phase @ lines.direction) * lines.direction
    phase /= np.linalg.norm(phase)
    return np.stack([lines.direction, phase, np.cross(lines.direction, phase)], axis=1)


def _phase_direction(raw: RawData, lines: _Lines, across: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Direction across the lines: of LIN where labeled, else of the commonest step from line to line."""
    label = np.asarray(raw.readouts.label("LIN"), dtype=float)[lines.rows]
    if np.ptp(label) > 0:
        partition = np.asarray(raw.readouts.label("PAR"), dtype=float)[lines.rows]
        model = np.stack([label, partition, np.ones(len(label))], axis=1)
        return _toward_axis(np.linalg.lstsq(model, across, rcond=None)[0][0], own)
    steps = np.diff(across, axis=0)
    length = np.linalg.norm(steps, axis=1)
    steps = steps[length > 0.05 * lines.step]
    if len(steps) == 0:
        return own[:, int(np.argmin(np.abs(own.T @ lines.direction)))]
    steps = steps * np.where(steps @ steps[0] < 0, -1.0, 1.0)[:, None]
    kind = np.round(steps / (0.05 * lines.step))
    _, kind, n = np.unique(kind, axis=0, return_inverse=True, return_counts=True)
    return _toward_axis(steps[kind.ravel() == np.argmax(n)].mean(axis=0), own)


def _toward_axis(direction: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The nearest axis where it is near, else with its largest component positive."""
    unit = direction / np.linalg.norm(direction)
    along = own.T @ unit
    axis = int(np.argmax(np.abs(along)))
    if np.abs(along[axis]) > 0.999:
        return own[:, axis]
    return unit if unit[np.argmax(np.abs(unit))] > 0 else -unit


def _sizes(
    frame: _Frame, known: tuple[float, float, float] | None
) -> tuple[tuple[int, int, int], tuple[float, float, float], tuple[Finding, ...]]:
    """Matrix and field of view [m], that along read without oversampling."""
    findings = []
    sizes = [frame.x.size, frame.y.size, frame.z.size]
    fov = [round(1.0 / axis.step, 6) if axis.step else 0.0 for axis in (frame.x, frame.y, frame.z)]
    told = known or (0.0, 0.0, 0.0)
    columns = round(sizes[0] * told[0] / fov[0])
    exact = sizes[0] * told[0] / fov[0]
    if told[0] and (1 <= columns <= sizes[0]) and abs(exact - columns) <= 2 * TOLERANCE:
        sizes[0], fov[0] = columns, told[0]
    elif told[0]:
        findings.append(_told_wrong("read", told[0], fov[0]))
    for axis, name in ((1, "phase"), (2, "partition")):
        if not fov[axis]:
            fov[axis] = told[axis] or fov[0]
        elif told[axis] and abs(told[axis] / fov[axis] - 1.0) * sizes[axis] <= 2 * TOLERANCE:
            fov[axis] = told[axis]
        elif told[axis]:
            findings.append(_told_wrong(name, told[axis], fov[axis]))
    return (sizes[0], sizes[1], sizes[2]), (fov[0], fov[1], fov[2]), tuple(findings)


def _told_wrong(axis: str, told: float, found: float) -> Finding:
    text = f"the field of view along {axis} is said to be {told * 1e3:.6g} mm, but the spacing in k makes it "
    return Finding("field of view", f"{text}{found * 1e3:.6g} mm, which is taken")


def _slices(
    raw: RawData, lines: _Lines, frame: _Frame, positions: Sequence[float] | None, thickness: float | None
) -> tuple[tuple[np.ndarray, float, np.ndarray], tuple[Finding, ...]]:
    """Positions, thickness [m] and the number of each line's slice."""
    values, number = np.unique(np.asarray(raw.readouts.label("SLC"))[lines.rows], return_inverse=True)
    told = raw.provenance.get("slices", {})
    positions = told.get("positions") if positions is None else positions
    thickness = told.get("thickness") if thickness is None else thickness
    if frame.z.size > 1:
        if len(values) > 1:
            rule = f"partitions and slices must not be both there, but there are {len(values)} slabs"
            raise ConsistencyError(Problem(rule, "Reconstruct each slab alone", path="SLC"))
        return (np.zeros(1), 0.0, number), ()
    findings = []
    if thickness is None:
        text = f"nothing tells the slice thickness, and {THICKNESS * 1e3:g} mm is taken: image values scale with it"
        findings.append(Finding("slices", text))
    size = float(THICKNESS if thickness is None else thickness)
    if positions is not None and len(positions) > values.max():
        return (np.asarray(positions, dtype=float)[values], size, number), tuple(findings)
    if len(values) > 1:
        text = "nothing tells where the slices lie, and they are taken side by side in the order of SLC"
        findings.append(Finding("slices", text))
    return ((values - values.mean()) * size, size, number), tuple(findings)


def _labels(
    raw: RawData, lines: _Lines, frame: _Frame, slices: np.ndarray
) -> tuple[dict[str, np.ndarray], tuple[Finding, ...]]:
    """Labels of the readout table with lines by k, and what is sampled again told apart."""
    table = raw.readouts
    number = {"LIN": frame.y.index, "PAR": frame.z.index, "SLC": slices}
    for name in (*CONTRAST_LABELS, "AVG"):
        number[name] = np.unique(np.asarray(table.label(name))[lines.rows], return_inverse=True)[1]
    place = np.stack([*number.values(), _part_of_line(lines, frame)], axis=1)
    _, point = np.unique(place, axis=0, return_inverse=True)
    findings: tuple[Finding, ...] = ()
    if np.bincount(point).max() > 1:
        number, findings = _tell_apart(raw, lines, number, point)
    labels = {name: np.array(values) for name, values in table.labels.items()}
    left_out = np.ones(len(table), dtype=bool)
    left_out[lines.rows] = False
    for name, values in number.items():
        column = np.zeros(len(table), dtype=int)
        column[lines.rows] = values
        labels[name] = column
    labels["NAV"] = np.where(left_out & (table.label("NOISE") == 0), 1, table.label("NAV"))
    return labels, findings


def _part_of_line(lines: _Lines, frame: _Frame) -> np.ndarray:
    """Lowest column of each readout, so that the two halves of a line are not taken for repetitions."""
    n = len(lines.rows)
    return np.minimum(frame.x.index[:n], frame.x.index[n:]) if n else np.zeros(0, dtype=int)


def _tell_apart(
    raw: RawData, lines: _Lines, number: dict[str, np.ndarray], point: np.ndarray
) -> tuple[dict[str, np.ndarray], tuple[Finding, ...]]:
    """Lines that are sampled again: echoes by their echo times, else repetitions in order."""
    counts = np.bincount(point)
    if counts.min() != counts.max():
        few, many = (int(np.flatnonzero(point == np.argmin(counts))[0]), int(np.argmax(counts)))
        rule = (
            f"each line must be sampled equally often where labels do not tell, but readout {lines.rows[few]} is one "
            f"of {counts.min()} of its line and others are {counts[many]}"
        )
        raise ConsistencyError(
            Problem(rule, "Label the readouts (ECO, SET, REP, AVG, SLC), or NAV where they are of no image", "readouts")
        )
    echo = np.zeros(len(point), dtype=int)
    te = np.round(np.nan_to_num(np.asarray(raw.readouts.te, dtype=float)[lines.rows]), 7)
    order = np.lexsort((np.arange(len(point)), te, point))
    new_point = np.diff(point[order], prepend=-1) != 0
    new_time = np.diff(te[order], prepend=-1.0) > 1e-6
    rank = np.cumsum(new_time & ~new_point)
    echo[order] = rank - np.maximum.accumulate(np.where(new_point, rank, 0))
    times = np.zeros(len(point), dtype=int)
    _, group = np.unique(np.stack([point, echo], axis=1), axis=0, return_inverse=True)
    order = np.lexsort((np.arange(len(point)), group))
    start = np.flatnonzero(np.diff(group[order], prepend=-1) != 0)
    times[order] = np.arange(len(point)) - np.repeat(start, np.diff(start, append=len(point)))
    echoes, repetitions = int(echo.max()) + 1, int(times.max()) + 1
    number = {**number, "ECO": number["ECO"] * echoes + echo, "REP": number["REP"] * repetitions + times}
    text = f"each line is there {counts.max()} times, taken as {echoes} echoes and {repetitions} repetitions"
    return number, (Finding("labels", text, "Label them ECO, REP, AVG or SLC where this is wrong"),)


def _on_grid(
    raw: RawData, lines: _Lines, frame: _Frame, matrix: tuple[int, int, int], fov: tuple[float, float, float]
) -> Float[np.ndarray, "samples 3"]:
    """k of each sample's grid point, physical [1/m]."""
    width = frame.x.size
    sample, owner, number = _samples(raw, lines.rows)
    logical = np.zeros((3, len(sample)))
    column = frame.x.index[: len(lines.rows)][owner] + lines.sense[owner] * number
    logical[0] = (column - width // 2) * (matrix[0] / (fov[0] * width))
    logical[1] = ((frame.y.index - frame.y.size // 2) / fov[1])[owner]
    if matrix[2] > 1:
        logical[2] = ((frame.z.index - frame.z.size // 2) / fov[2])[owner]
    k = np.zeros(raw.k.shape)
    k[sample] = (frame.rotation @ logical).T
    return k


def _offset_findings(frame: _Frame) -> tuple[Finding, ...]:
    away = {"read": frame.x.offset, "phase": frame.y.offset, "partition": frame.z.offset}
    parts = [f"{value:.3g} steps along {name}" for name, value in away.items() if abs(value) > TOLERANCE]
    if not parts:
        return ()
    text = f"the samples lie {' and '.join(parts)} beside the grid that has k = 0 on it, which the image accounts for"
    return (Finding("trajectory", text),)
