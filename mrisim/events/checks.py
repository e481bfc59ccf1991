"""What a scanner could not play, as records.

Unique events and unique combinations of events are checked, not blocks one by one, so a scan of 300,000 blocks takes a
fraction of a second. Blocks of one name that break one rule on one axis are one record: the worst of them, with their
number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from mrisim._types import Float, Int
from mrisim.constants import GAMMA_BAR
from mrisim.events.tables import AXES, NONE, GradientShape, SequenceTables
from mrisim.scanner import Scanner
from mrisim.units import FREQUENCY, GRADIENT, SLEW, TIME, Dimension, show, show_b1

PHYSICAL = ("x", "y", "z")
EXCESS = 1e-6  # relative excess over a limit that rounding may make
OFF_RASTER = 1e-4  # distance from a raster, in steps of it, that rounding may make
ROUNDING = 1e-10  # of times inside a block [s]
DIGITS = 12  # that corner times are compared with [log10 s]
MULTIPLE = "be a multiple of"
PEAK = "RF peak"
REMEDIES = {
    PEAK: "Lengthen the pulse, or lower its flip angle or time-bandwidth product",
    "gradient amplitude": "Lengthen the gradient",
    "gradient slew rate": "Lengthen the ramps",
    "gradient step from block to block": "Let gradients begin and end at zero, or where the neighbour does",
    "gradient step inside the block": "Begin and end at zero, or at the block's borders",
    "RF dead time": "Delay the pulse",
    "RF ringdown": "Lengthen the block",
    "ADC dead time before": "Delay the sampling",
    "ADC dead time after": "Lengthen the block",
    "ADC during a pulse, overlap": "Sample after the pulse",
    "end of the event, which the block must hold": "Lengthen the block",
}


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One rule of the scanner that blocks of a sequence break; values in SI.

    Example:
        >>> str(Violation(rule="gradient raster", relation="be a multiple of", block=3, time=0.0123, value=1.5e-5,
        ...               limit=1e-5, nearest=2e-5, dimension=TIME, block_name="read", axis="gx"))
        'block 3 (read) at 12.3 ms, gx: gradient raster: must be a multiple of 10 us, but is 15 us. Nearest: 20 us.'
    """

    rule: str  # "gradient amplitude"
    relation: str  # between value and limit: "be at most"
    block: int  # the worst; the first where all are equal
    block_name: str = ""
    axis: str = ""  # physical x, y, z; or logical gx, gy, gz for timing
    time: float  # from the start of the sequence [s]
    value: float
    limit: float
    nearest: float  # valid value
    dimension: Dimension
    count: int = 1  # blocks that break the rule in this way
    gamma: float = GAMMA_BAR  # [Hz/T]

    def __str__(self) -> str:
        others = f", and {self.count - 1} more" if self.count > 1 else ""
        remedy = f" {self.remedy}." if self.remedy else ""
        where = f"{self.place}{others}{self._axis}: {self.rule}"
        return f"{where}: must {self.relation} {self.shown(self.limit)}, but is {self.shown(self.value)}.{remedy}"

    @property
    def _axis(self) -> str:
        return f", {self.axis}" if self.axis else ""

    @property
    def place(self) -> str:
        """Block and time."""
        name = f" ({self.block_name})" if self.block_name else ""
        return f"block {self.block}{name} at {show(self.time, TIME)}"

    @property
    def what(self) -> str:
        """Block, time, axis and rule."""
        return f"{self.place}{self._axis}: {self.rule}"

    @property
    def remedy(self) -> str:
        """What to do, an imperative sentence without its full stop."""
        return f"Nearest: {self.shown(self.nearest)}" if self.relation == MULTIPLE else REMEDIES.get(self.rule, "")

    def shown(self, value: float) -> str:
        """Text of a value of the rule's dimension."""
        if self.rule == PEAK:
            return show_b1(value, self.gamma)
        return show(value, self.dimension, self.gamma, digits=9 if self.dimension == TIME else 6)


def check_hardware(seq: SequenceTables, system: Scanner | None = None) -> tuple[Violation, ...]:
    """Everything in a sequence that exceeds the limits, rasters and dead times of a scanner.

    Gradients are judged on the physical axes, as the vector sum of the logical ones through the rotation of each
    block, and must connect across block boundaries within one raster step at the largest slew rate. A pulse needs its
    dead time before it and its ringdown after it inside its block, an ADC event its dead time on both sides, as in
    Pulseq.

    Args:
        seq: Sequence.
        system: Scanner; by default the one that the sequence was made for.

    Returns:
        Violations in order of their first block.

    Example:
        >>> import numpy as np
        >>> from mrisim.events.blocks import ADCTable, BlockTable, GradientTable, RFTable, Sequence
        >>> none, no = np.array([-1]), np.zeros(0)
        >>> rf = RFTable(**{name: no for name in RFTable.__dataclass_fields__})
        >>> adc = ADCTable(**{name: no for name in ADCTable.__dataclass_fields__})
        >>> blocks = BlockTable(rf=none, gx=none, gy=none, gz=none, adc=none, duration=np.array([12e-6]),
        ...                     rotation=none, name=np.array([0]), labels={})
        >>> seq = Sequence(name="pause", blocks=blocks, rf=rf, adc=adc, rf_shapes=(), gradient_shapes=(),
        ...                gradients=GradientTable(shape=no, amplitude=no))
        >>> print(*check_hardware(seq))
        block 0 at 0 ms: block raster: must be a multiple of 10 us, but is 12 us. Nearest: 10 us.
    """
    blocks = _Blocks(seq=seq, system=system or seq.system)
    checks = (_gradient_limits, _gradient_steps, _gradient_raster, _rf, _adc, _adc_during_rf, _lengths, _block_raster)
    return _merge(violation for check in checks for violation in check(blocks))


@dataclass(frozen=True)
class _Blocks:
    """A sequence, the scanner, and which blocks are alike."""

    seq: SequenceTables
    system: Scanner

    @cached_property
    def durations(self) -> Int[np.ndarray, " blocks"]:
        return np.unique(self.seq.blocks.duration, return_inverse=True)[1]

    @cached_property
    def kinds(self) -> dict[str, Int[np.ndarray, " events"]]:
        rf, adc = self.seq.rf, self.seq.adc
        return {"rf": _alike(rf.shape, rf.amplitude, rf.delay), "adc": _alike(adc.samples, adc.dwell, adc.delay)}

    @cached_property
    def gradient_groups(self) -> _Groups:
        blocks = self.seq.blocks
        return _group(blocks.gx, blocks.gy, blocks.gz, blocks.rotation, self.durations)

    def pairs(self, column: str, other: Int[np.ndarray, " blocks"]) -> tuple[_Groups, Int[np.ndarray, " groups"]]:
        """Groups of blocks with like events and the same other property, and an event of each.

        Events that differ in phase or frequency only are alike.
        """
        events = getattr(self.seq.blocks, column)
        rows = np.flatnonzero(events != NONE)
        kinds = self.kinds[column][events[rows]] if column in self.kinds else events[rows]
        groups = _group(kinds, other[rows])
        groups = replace(groups, first=rows[groups.first])
        return groups, events[groups.first]

    def violation(self, groups: _Groups, group: int, at: float, **fields) -> Violation:
        block = int(groups.first[group])
        return Violation(
            block=block,
            block_name=self.seq.block_names[self.seq.blocks.name[block]],
            time=float(self.seq.starts[block]) + at,
            count=int(groups.count[group]),
            gamma=self.system.gamma,
            **fields,
        )


@dataclass(frozen=True)
class _Groups:
    """Blocks that are alike."""

    first: Int[np.ndarray, " groups"]  # block
    count: Int[np.ndarray, " groups"]
    of: Int[np.ndarray, " blocks"]  # group of each block


def _group(*columns: Int[np.ndarray, " blocks"]) -> _Groups:
    key = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        size = int(column.max(initial=0)) + 2
        key = np.unique(key * size + column + 1, return_inverse=True)[1]
    _, first, of, count = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
    return _Groups(first, count, of)


def _alike(*columns: np.ndarray) -> Int[np.ndarray, " rows"]:
    return _group(*(np.unique(column, return_inverse=True)[1] for column in columns)).of


def _gradient_limits(blocks: _Blocks) -> Iterator[Violation]:
    """Amplitude and slew rate inside blocks; blocks whose events have the same shapes are evaluated together."""
    seq, groups = blocks.seq, blocks.gradient_groups
    shapes, amplitudes = _gradient_events(seq, groups.first)
    weights = _directions(seq, groups.first) * amplitudes[:, None, :]
    alike = _group(*shapes.T)
    for kind, example in enumerate(alike.first):
        members = np.flatnonzero(alike.of == kind)
        chosen = [seq.gradient_shapes[s] if s != NONE else None for s in shapes[example]]
        if any(chosen):
            yield from _limits_of_kind(blocks, chosen, members, weights[members])


def _limits_of_kind(
    blocks: _Blocks,
    shapes: list[GradientShape | None],
    members: Int[np.ndarray, " members"],
    weights: Float[np.ndarray, "members 3 3"],
) -> Iterator[Violation]:
    system, groups = blocks.system, blocks.gradient_groups
    corners = [None if shape is None else np.round(shape.times, DIGITS) for shape in shapes]
    times = np.unique(np.concatenate([one for one in corners if one is not None]))
    value, slope = np.zeros((3, len(times))), np.zeros((3, max(len(times) - 1, 0)))
    for axis, (shape, own) in enumerate(zip(shapes, corners, strict=True)):
        if shape is None or own is None:
            continue
        inside = (times >= own[0]) & (times <= own[-1])
        value[axis] = np.where(inside, np.interp(times, own, shape.values), 0.0)
        slope[axis] = np.where(inside[1:] & inside[:-1], np.diff(value[axis]) / np.diff(times), 0.0)
    for rule, basis, limit, dimension in (
        ("gradient amplitude", value, system.max_gradient, GRADIENT),
        ("gradient slew rate", slope, system.max_slew, SLEW),
    ):
        if not np.abs(weights).max() * np.abs(basis).sum(axis=0).max(initial=0.0) > limit:
            continue
        found = np.abs(weights @ basis)
        for member, axis in np.argwhere(found.max(axis=-1) > limit * (1 + EXCESS)):
            where = int((found[member, axis] > found[member, axis].max() * (1 - EXCESS)).argmax())
            yield blocks.violation(
                groups,
                int(members[member]),
                float(times[where]),
                rule=rule,
                relation="be at most",
                axis=PHYSICAL[axis],
                value=float(found[member, axis, where]),
                limit=limit,
                nearest=limit,
                dimension=dimension,
            )


def _gradient_steps(blocks: _Blocks) -> Iterator[Violation]:
    """Steps where a waveform begins or ends off zero: inside a block, or against the neighbouring block."""
    seq, system, groups = blocks.seq, blocks.system, blocks.gradient_groups
    if len(seq.blocks) == 0 or not any(shape.values[0] or shape.values[-1] for shape in seq.gradient_shapes):
        return
    early, late, begin, end = _border_values(seq, groups.first)
    nothing = np.zeros((1, 3))
    steps = np.concatenate([begin[groups.of], nothing]) - np.concatenate([nothing, end[groups.of]])
    single = _Groups(np.arange(len(seq.blocks)), np.ones(len(seq.blocks), dtype=int), np.arange(len(seq.blocks)))
    for inside, table, kind in ((True, early, groups), (True, late, groups), (False, steps, single)):
        slew = np.abs(table) / system.gradient_raster
        for row, axis in np.argwhere(slew > system.max_slew * (1 + EXCESS)):
            group = min(int(row), len(kind.first) - 1)
            at = 0.0 if inside or row < len(seq.blocks) else float(seq.blocks.duration[-1])
            yield blocks.violation(
                kind,
                group,
                at,
                rule="gradient step inside the block" if inside else "gradient step from block to block",
                relation="be at most",
                axis=PHYSICAL[axis],
                value=float(slew[row, axis]),
                limit=system.max_slew,
                nearest=system.max_slew,
                dimension=SLEW,
            )


def _border_values(seq: SequenceTables, first: Int[np.ndarray, " groups"]) -> list[Float[np.ndarray, "groups 3"]]:
    """Physical gradient [Hz/m] that waveforms begin and end with: inside the block (two), at its borders (two)."""
    shapes, amplitudes = _gradient_events(seq, first)
    starts, stops, heads, tails = (
        np.array([pick(shape) for shape in seq.gradient_shapes] + [0.0])[shapes]
        for pick in (
            lambda s: s.times[0],
            lambda s: s.times[-1],
            lambda s: s.values[0],
            lambda s: s.values[-1],
        )
    )
    at_start = starts < ROUNDING
    at_end = np.abs(stops - seq.blocks.duration[first][:, None]) < ROUNDING
    directions = _directions(seq, first)

    def physical(value: np.ndarray, where: np.ndarray) -> np.ndarray:
        return np.einsum("nij,nj->ni", directions, np.where(where, amplitudes * value, 0.0))

    return [physical(heads, ~at_start), physical(tails, ~at_end), physical(heads, at_start), physical(tails, at_end)]


def _gradient_events(
    seq: SequenceTables, rows: Int[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
    """Shape (or none) and amplitude of the three logical gradients of blocks."""
    events = np.stack([getattr(seq.blocks, axis)[rows] for axis in AXES], axis=1)
    shape = np.append(seq.gradients.shape, NONE).astype(int)[events]
    return shape, np.append(seq.gradients.amplitude, 0.0)[events]


def _directions(seq: SequenceTables, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n 3 3"]:
    table = np.concatenate([seq.rotations.reshape(-1, 3, 3), np.eye(3)[None]])
    return seq.geometry.rotation @ table[seq.blocks.rotation[rows]]


def _gradient_raster(blocks: _Blocks) -> Iterator[Violation]:
    seq, raster = blocks.seq, blocks.system.gradient_raster
    off = [_off_corners(shape.times, raster) for shape in seq.gradient_shapes]
    for axis in AXES:
        groups, events = blocks.pairs(axis, seq.blocks.name)
        shapes = seq.gradients.shape[events].astype(int)
        bad = np.array([len(corners) > 0 for corners in off], dtype=bool)
        for group in np.flatnonzero(bad[shapes]).tolist():
            time = float(seq.gradient_shapes[shapes[group]].times[off[shapes[group]][0]])
            yield _raster_violation(blocks, groups, group, time, "gradient raster of corner times", time, raster, axis)


def _rf(blocks: _Blocks) -> Iterator[Violation]:
    """Rasters, dead time, ringdown and peak of pulses."""
    seq, system = blocks.seq, blocks.system
    groups, events = blocks.pairs("rf", blocks.durations)
    off = [_off_raster(shape.edges, system.rf_raster) for shape in seq.rf_shapes]
    for group, event in enumerate(events):
        shape, delay = seq.rf_shapes[seq.rf.shape[event]], float(seq.rf.delay[event])
        amplitude = abs(float(seq.rf.amplitude[event])) * float(np.abs(shape.samples).max())
        if amplitude > system.max_b1 * (1 + EXCESS):
            yield blocks.violation(
                groups,
                group,
                delay + float(0.5 * (shape.edges[1:] + shape.edges[:-1])[np.abs(shape.samples).argmax()]),
                rule=PEAK,
                relation="be at most",
                value=amplitude,
                limit=system.max_b1,
                nearest=system.max_b1,
                dimension=FREQUENCY,
            )
        for edge in off[seq.rf.shape[event]][:1]:
            time = float(shape.edges[edge])
            yield _raster_violation(blocks, groups, group, delay + time, "RF raster of samples", time, system.rf_raster)
        if len(_off_raster(np.array([delay]), system.rf_raster)):
            yield _raster_violation(blocks, groups, group, delay, "RF raster of the delay", delay, system.rf_raster)
        yield from _margins(
            blocks,
            groups,
            group,
            delay,
            shape.duration,
            ("RF dead time", system.rf_dead_time),
            ("RF ringdown", system.rf_ringdown_time),
        )


def _adc(blocks: _Blocks) -> Iterator[Violation]:
    """Raster and dead time of sampling."""
    seq, system = blocks.seq, blocks.system
    groups, events = blocks.pairs("adc", blocks.durations)
    for group, event in enumerate(events):
        dwell, delay = float(seq.adc.dwell[event]), float(seq.adc.delay[event])
        for rule, value in (("ADC raster of the dwell time", dwell), ("ADC raster of the delay", delay)):
            if len(_off_raster(np.array([value]), system.adc_raster)):
                yield _raster_violation(blocks, groups, group, delay, rule, value, system.adc_raster)
        before, after = ("ADC dead time before", system.adc_dead_time), ("ADC dead time after", system.adc_dead_time)
        yield from _margins(blocks, groups, group, delay, dwell * int(seq.adc.samples[event]), before, after)


def _margins(
    blocks: _Blocks,
    groups: _Groups,
    group: int,
    delay: float,
    duration: float,
    before: tuple[str, float],
    after: tuple[str, float],
) -> Iterator[Violation]:
    """Idle time that an event needs inside its block, before and after it. Ends outside the block: see `_lengths`."""
    rest = float(blocks.seq.blocks.duration[groups.first[group]]) - delay - duration
    for (rule, limit), value, floor, at in ((before, delay, -np.inf, 0.0), (after, rest, 0.0, delay + duration)):
        if value < limit - ROUNDING and value >= floor - ROUNDING:
            yield blocks.violation(
                groups,
                group,
                at,
                rule=rule,
                relation="be at least",
                value=value,
                limit=limit,
                nearest=limit,
                dimension=TIME,
            )


def _adc_during_rf(blocks: _Blocks) -> Iterator[Violation]:
    seq = blocks.seq
    groups, events = blocks.pairs("rf", seq.blocks.adc)
    for group, event in enumerate(events):
        adc = seq.blocks.adc[groups.first[group]]
        if adc == NONE:
            continue
        begin = float(seq.rf.delay[event])
        end = begin + seq.rf_shapes[seq.rf.shape[event]].duration
        start = float(seq.adc.delay[adc])
        stop = start + float(seq.adc.samples[adc] * seq.adc.dwell[adc])
        if min(end, stop) - max(begin, start) > ROUNDING:
            yield blocks.violation(
                groups,
                group,
                max(begin, start),
                rule="ADC during a pulse, overlap",
                relation="be",
                value=min(end, stop) - max(begin, start),
                limit=0.0,
                nearest=0.0,
                dimension=TIME,
            )


def _lengths(blocks: _Blocks) -> Iterator[Violation]:
    """Events that end after their block."""
    seq = blocks.seq
    rf_ends = seq.rf.delay + np.array([seq.rf_shapes[int(s)].duration for s in seq.rf.shape])
    gradient_ends = np.array([seq.gradient_shapes[int(s)].duration for s in seq.gradients.shape])
    adc_ends = seq.adc.delay + seq.adc.samples * seq.adc.dwell
    for column, ends in (("rf", rf_ends), *((axis, gradient_ends) for axis in AXES), ("adc", adc_ends)):
        groups, events = blocks.pairs(column, blocks.durations)
        room = seq.blocks.duration[groups.first]
        for group in np.flatnonzero(ends[events] > room + ROUNDING) if len(events) else ():
            yield blocks.violation(
                groups,
                int(group),
                float(room[group]),
                rule="end of the event, which the block must hold",
                relation="be at most",
                axis=column,
                value=float(ends[events[group]]),
                limit=float(room[group]),
                nearest=float(room[group]),
                dimension=TIME,
            )


def _block_raster(blocks: _Blocks) -> Iterator[Violation]:
    durations, raster = blocks.seq.blocks.duration, blocks.system.block_raster
    groups = _group(blocks.durations, blocks.seq.blocks.name)
    for group in _off_raster(durations[groups.first], raster):
        value = float(durations[groups.first[group]])
        yield _raster_violation(blocks, groups, int(group), 0.0, "block raster", value, raster)


def _off_raster(times: Float[np.ndarray, " n"], raster: float) -> Int[np.ndarray, " off"]:
    steps = np.asarray(times, dtype=float) / raster
    return np.flatnonzero(np.abs(steps - np.round(steps)) > OFF_RASTER)


def _off_corners(times: Float[np.ndarray, " n"], raster: float) -> Int[np.ndarray, " off"]:
    """Corners off the raster. Samples of an arbitrary waveform may all lie in the middle of raster steps."""
    off = _off_raster(times, raster)
    inside = times[1:-1]
    sampled = len(inside) > 0 and len(_off_raster(inside - 0.5 * raster, raster)) == 0
    return off[(off == 0) | (off == len(times) - 1)] if sampled else off


def _raster_violation(
    blocks: _Blocks, groups: _Groups, group: int, at: float, rule: str, value: float, raster: float, axis: str = ""
) -> Violation:
    nearest = max(1, round(value / raster)) * raster
    return blocks.violation(
        groups,
        group,
        at,
        rule=rule,
        relation=MULTIPLE,
        axis=axis,
        value=value,
        limit=raster,
        nearest=nearest,
        dimension=TIME,
    )


def _merge(violations: Iterable[Violation]) -> tuple[Violation, ...]:
    """The worst of each rule, axis and block name; blocks without a name stand for themselves."""
    worst: dict[tuple, Violation] = {}
    for violation in violations:
        key = (violation.rule, violation.axis, violation.block_name or violation.block)
        known = worst.get(key)
        if known is None:
            worst[key] = violation
        else:
            larger = max(known, violation, key=lambda v: (abs(v.value - v.nearest), -v.block))
            worst[key] = replace(larger, count=known.count + violation.count)
    return tuple(sorted(worst.values(), key=lambda v: (v.block, v.time, v.rule, v.axis)))
