"""Program and gradients → steps of a walk and what happens between them, on the host in float64."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mrisim._types import Float, Int
from mrisim.engines import walk
from mrisim.events.moments import Track, total_gradient, total_moment
from mrisim.physics.phase import split
from mrisim.program import Program

_PIECES = 64  # steps at least while the gradient stays on, or off
_COARSE = 256  # steps at least of the longest such time, whatever the pieces
_MOST_EVENTS = 256  # of a segment: one compiled call
_MOST_MOVES = 8192  # likewise
_FULL_TURN = 2 * np.pi


@dataclass(frozen=True, kw_only=True, eq=False)
class Schedule:
    """Steps of the walk, and events: columns as in `walk.Events`, moments not yet split."""

    length: Float[np.ndarray, " moves"]  # [s]
    weight: Float[np.ndarray, "moves 3"]  # physical axes [1/m]
    columns: dict[str, np.ndarray]
    sample: Int[np.ndarray, " events"]  # index into the signal, -1 for none

    @property
    def n_moves(self) -> int:
        return len(self.length)

    def segments(self, axes: Float[np.ndarray, "3 3"], dtype: np.dtype) -> Iterator[Segment]:
        """Runs of events that one compiled call takes, with the steps before them along the geometry's axes."""
        weight, last = self.weight @ axes.T, self.columns["last"] @ axes.T
        first = self.columns["first"]
        end = np.append(first[1:], self.n_moves)
        start = 0
        while start < len(first):
            reach = int(np.searchsorted(end, first[start] + _MOST_MOVES, side="right"))
            stop = min(max(reach, start + 1), start + _MOST_EVENTS, len(first))
            a, b = int(first[start]), int(end[stop - 1])
            columns = {name: values[start:stop] for name, values in self.columns.items()}
            columns = {**columns, "first": columns["first"] - a, "last": last[start:stop]}
            moves = _padded_moves(weight[a:b], np.sqrt(self.length[a:b]), dtype)
            yield Segment(moves=moves, events=_placed(columns, dtype), base=a, sample=self.sample[start:stop])
            start = stop


@dataclass(frozen=True, kw_only=True, eq=False)
class Segment:
    """Some events with their steps, in the engine's terms; filled up to a size that many segments share."""

    moves: walk.Moves
    events: walk.Events
    base: int  # number of the first step
    sample: Int[np.ndarray, " events"]  # those that were there before filling up


def _bucket(n: int, least: int) -> int:
    return max(least, 1 << max(0, n - 1).bit_length())


def _padded_moves(weight: np.ndarray, root: np.ndarray, dtype: np.dtype) -> walk.Moves:
    extra = _bucket(len(root), 1024) - len(root)
    return walk.Moves(np.pad(weight, ((0, extra), (0, 0))).astype(dtype), np.pad(root, (0, extra)).astype(dtype))


def _placed(columns: dict[str, np.ndarray], dtype: np.dtype) -> walk.Events:
    n = len(columns["kind"])
    extra = _bucket(n, 32) - n
    filled = {name: np.pad(v, ((0, extra), *[(0, 0)] * (v.ndim - 1))) for name, v in columns.items()}
    placed = {name: v.astype(np.int32 if name in ("kind", "first", "count") else dtype) for name, v in filled.items()}
    return walk.Events(**{**placed, "moment": split(filled["moment"], dtype)})


@dataclass(frozen=True, kw_only=True, eq=False)
class Runs:
    """Times over which the gradient stays on, or off, and how long a step may be then."""

    corner: Float[np.ndarray, " corners"]  # also where the gradient bends within a run [s]
    limit: Float[np.ndarray, " corners+1"]  # before the first corner, after each [s]

    @staticmethod
    def of(tracks: tuple[Track, Track, Track], stop: float) -> Runs:
        """Runs of a sequence up to a time [s]."""
        corner = np.unique(np.concatenate([[0.0, stop], *(track.time for track in tracks)]))
        corner = corner[corner <= stop]
        if len(corner) < 2:
            return Runs(corner=corner, limit=np.full(len(corner) + 1, max(stop, 1e-9)))
        on = np.abs(total_gradient(tracks, 0.5 * (corner[1:] + corner[:-1]))).max(axis=1) > 0
        run = np.concatenate([[0], np.cumsum(np.diff(on.astype(int)) != 0)])
        length = np.bincount(run, np.diff(corner))
        limit = np.maximum(length / _PIECES, length.max() / _COARSE)[run]
        return Runs(corner=corner, limit=np.concatenate([limit[:1], limit, limit[-1:]]))

    def at(self, time: np.ndarray) -> np.ndarray:
        """Longest step at a time [s]."""
        return self.limit[np.searchsorted(self.corner, time, side="right")]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Leg:
    """Steps up to one event."""

    kind: int
    node: Float[np.ndarray, " nodes"]  # ends of its steps, the first of them its start [s]
    since: float  # when precession was last brought to account [s]
    sample: int = -1
    pulse: tuple[float, ...] = (0.0,) * 13  # rotation (2), offset, before, after, keep, slice (5), band (2)


def schedule(program: Program, tracks: tuple[Track, Track, Track], spoil: bool, longest: float) -> Schedule:
    """Steps and events of a program up to its last sample.

    Args:
        program: The program.
        tracks: Its gradients.
        spoil: Whether spoiling is ideal.
        longest: That a step may be because of the geometry [s].
    """
    legs = list(_Legs(program, tracks, spoil, longest).all())
    counts = np.array([len(leg.node) - 1 for leg in legs])
    nodes = np.concatenate([leg.node for leg in legs])
    moment = total_moment(tracks, nodes)
    opens = np.concatenate([[0], np.cumsum(counts + 1)])[:-1]
    inner = np.ones(len(nodes), dtype=bool)
    inner[opens] = False
    q = np.diff(moment, axis=0, prepend=moment[:1])  # of the step that ends at each node
    before = np.where(inner[:, None], q, 0.0)
    after = np.concatenate([before[1:], np.zeros((1, 3))])
    closes = opens + counts
    starts = np.ones(len(nodes), dtype=bool)
    starts[closes] = False
    return Schedule(
        length=np.diff(nodes, append=nodes[-1])[starts],
        weight=0.5 * (before + after)[starts],
        columns=_columns(legs, counts, 0.5 * before[closes], tracks),
        sample=np.array([leg.sample for leg in legs]),
    )


def _columns(legs: list[_Leg], counts: np.ndarray, last: np.ndarray, tracks: tuple[Track, Track, Track]):
    since, end = np.array([leg.since for leg in legs]), np.array([leg.node[-1] for leg in legs])
    pulse = np.array([leg.pulse for leg in legs])
    return {
        "kind": np.array([leg.kind for leg in legs]),
        "first": np.concatenate([[0], np.cumsum(counts)])[:-1],
        "count": counts,
        "last": last,
        "moment": total_moment(tracks, end) - total_moment(tracks, since),
        "time": end - since,
        "rotation": pulse[:, 0:2],
        "offset": pulse[:, 2],
        "before": pulse[:, 3],
        "after": pulse[:, 4],
        "keep": pulse[:, 5],
        "normal": pulse[:, 6:9],
        "middle": pulse[:, 9],
        "reach": pulse[:, 10],
        "band": pulse[:, 11:13],
    }


class _Legs:
    """The program's steps, one after another, cut into legs."""

    def __init__(self, program: Program, tracks: tuple[Track, Track, Track], spoil: bool, longest: float):
        self.program, self.spoil, self.longest = program, spoil, longest
        self.samples = self._samples()
        steps = program.steps
        observed = np.flatnonzero(steps.readout >= 0)
        self.n_steps = int(observed[-1]) + 1 if len(observed) else 0
        self.tracks = tracks

    def _samples(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Times from the start of precession, and indices, of the samples of each step that has some."""
        found = {}
        for readout in self.program.readouts:
            for step, first in zip(readout.step.tolist(), readout.first.tolist(), strict=True):
                delay = float(self.program.steps.readout_delay[step])
                found[step] = (delay + readout.delay, first + np.arange(len(readout.delay)))
        return found

    @cached_property
    def runs(self) -> Runs:
        steps = self.program.steps
        stop = float(steps.time[self.n_steps - 1] + self._pulse_length(self.n_steps - 1)) if self.n_steps else 0.0
        last = self.samples[self.n_steps - 1][0].max() if self.n_steps else 0.0
        return Runs.of(self.tracks, stop + float(last))

    def _pulse_length(self, step: int) -> float:
        row = int(self.program.steps.pulse[step])
        return 0.0 if row < 0 else float(self.program.waveforms[self.program.pulses.waveform[row]].dt.sum())

    def all(self) -> Iterator[_Leg]:
        for step in range(self.n_steps):
            begin = float(self.program.steps.time[step])
            if self.program.steps.pulse[step] >= 0:
                yield from self._pulse(step, begin)
            free = begin + self._pulse_length(step)
            yield from self._free(step, free, free + float(self.program.steps.duration[step]))

    def _pulse(self, step: int, begin: float) -> Iterator[_Leg]:
        program, steps = self.program, self.program.steps
        pulses, row = program.pulses, int(steps.pulse[step])
        wave = program.waveforms[pulses.waveform[row]]
        parts = np.maximum(1, np.ceil(wave.dt / self.longest - 1e-9)).astype(int)
        dt = np.repeat(wave.dt / parts, parts)
        area = np.repeat(wave.area / parts, parts) * pulses.amplitude[row]
        edges = begin + np.concatenate([[0.0], np.cumsum(dt)])
        turn, f = steps.phase[step] / _FULL_TURN, pulses.frequency[row]
        enter, leave = -turn - f * pulses.center[row], turn - f * (pulses.duration[row] - pulses.center[row])
        enter, leave = enter - np.round(enter), leave - np.round(leave)
        slab = (*pulses.slice_normal[row], pulses.slice_position[row], pulses.slice_half_width[row])
        band = (pulses.band_center[row], pulses.band_half_width[row])
        keep = 1.0 - float(self.spoil) * steps.excitation[step]
        for i in range(len(dt)):
            node = edges[i : i + 2] if dt[i] > 0 else edges[i : i + 1]
            ends = (enter if i == 0 else 0.0, leave if i == len(dt) - 1 else 0.0, keep if i == 0 else 1.0)
            yield _Leg(
                kind=walk.PULSE,
                node=node,
                since=edges[i],
                pulse=(area[i].real, area[i].imag, f * dt[i], *ends, *slab, *band),
            )

    def _free(self, step: int, free: float, stop: float) -> Iterator[_Leg]:
        delays, index = self.samples.get(step, (np.zeros(0), np.zeros(0, dtype=int)))
        last = step == self.n_steps - 1
        ends = [*(free + delays), *([] if last else [stop])]
        begin = free
        for i, end in enumerate(ends):
            sampled = i < len(delays)
            nodes = self._nodes(begin, float(end))
            yield from self._long(nodes, free)
            kind = walk.SAMPLE if sampled else walk.PRECESS
            tail = nodes[(len(nodes) - 1) // _MOST_MOVES * _MOST_MOVES :] if len(nodes) > 1 else nodes
            yield _Leg(kind=kind, node=tail, since=free, sample=int(index[i]) if sampled else -1)
            begin = float(end)

    def _long(self, nodes: np.ndarray, since: float) -> Iterator[_Leg]:
        """What does not fit into the segment of the event."""
        for start in range(0, (len(nodes) - 1) // _MOST_MOVES * _MOST_MOVES, _MOST_MOVES):
            yield _Leg(kind=walk.NOTHING, node=nodes[start : start + _MOST_MOVES + 1], since=since)

    def _nodes(self, begin: float, end: float) -> Float[np.ndarray, " nodes"]:
        """Ends of steps: at corners of the gradient, and as many between them as its length and the geometry ask."""
        if end <= begin:
            return np.array([end])
        corner = self.runs.corner
        inner = corner[np.searchsorted(corner, begin + 1e-9) : np.searchsorted(corner, end - 1e-9)]
        anchors = np.concatenate([[begin], inner, [end]])
        length = np.diff(anchors)
        limit = np.minimum(self.runs.at(0.5 * (anchors[1:] + anchors[:-1])), self.longest)
        parts = np.maximum(1, np.ceil(length / limit - 1e-9)).astype(int)
        first = np.concatenate([[0], np.cumsum(parts)])
        owner = np.repeat(np.arange(len(parts)), parts)
        within = np.arange(first[-1]) - first[:-1][owner]
        return np.append(anchors[:-1][owner] + within * (length / parts)[owner], end)
