"""Blocks → normal form: pulses, and free precession with at most one readout after each.

A `Program` is what every engine runs. Moments are integrated on the host in float64, exactly for piecewise-linear
gradients. Steps are cut at the edges of each pulse's RF support, not at block borders.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

import jax
import numpy as np
from numpy.typing import ArrayLike

from mrisim._types import Array, Complex, Float, Int
from mrisim.errors import ConsistencyError, Problem
from mrisim.events.blocks import NONE, Sequence, Use
from mrisim.events.diffusion import b_matrices
from mrisim.events.moments import (
    PulseInstances,
    ReadoutInstances,
    Track,
    played_tracks,
    pulse_instances,
    readout_instances,
    second_moments,
    total_moment,
)
from mrisim.events.readouts import bandwidths, beside_water

Pulses = Literal["shaped", "ideal"]

_LONGEST_INTERVAL = (
    10e-6  # a constant piece of a waveform is cut to this, so that relaxation within it is exact enough [s]
)
_PICOSECONDS = 12  # decimals: differences of absolute times agree to this
_FULL_TURN = 2 * np.pi


def _pytree(cls):
    """Register a frozen dataclass whose fields are arrays or pytrees, but for those marked static."""
    static = [f.name for f in fields(cls) if f.metadata.get("static")]
    jax.tree_util.register_dataclass(cls, [f.name for f in fields(cls) if f.name not in static], static)
    return cls


@_pytree
@dataclass(frozen=True, kw_only=True, eq=False)
class Waveform:
    """A unique RF shape with the gradients meanwhile, in intervals of constant field."""

    area: Complex[Array, " intervals"]  # integral of the unit envelope over each interval [s]; 1 for an ideal pulse
    dt: Float[Array, " intervals"]  # [s]; 0 for an ideal pulse
    moment: Float[Array, "intervals 3"]  # integral of the gradient over each interval [1/m]


@_pytree
@dataclass(frozen=True, kw_only=True, eq=False)
class PulseTable:
    """Unique pulses: a waveform at an amplitude and a frequency. Phase is no part of a pulse."""

    waveform: tuple[int, ...] = field(metadata={"static": True})  # structure: which waveform each pulse plays
    amplitude: Float[Array, " pulses"]  # peak field [Hz]; flip / 2 pi for an ideal pulse [1]
    frequency: Float[Array, " pulses"]  # offset [Hz]
    center: Float[Array, " pulses"]  # reference time of phase and frequency, from the start [s]
    duration: Float[Array, " pulses"]  # [s]
    flip: Float[Array, " pulses"]  # nominal [rad], nan where unknown
    use: Int[Array, " pulses"]  # `events.blocks.Use`
    slice_normal: Float[Array, "pulses 3"]  # unit vector; zero where the pulse acts everywhere
    slice_position: Float[Array, " pulses"]  # slice center along the normal, from the origin [m]
    slice_half_width: Float[Array, " pulses"]  # [m], inf where the pulse acts everywhere
    band_center: Float[Array, " pulses"]  # of the off-resonance that an ideal pulse turns [Hz]
    band_half_width: Float[Array, " pulses"]  # [Hz], inf where it turns all


@_pytree
@dataclass(frozen=True, kw_only=True, eq=False)
class StepTable:
    """Steps in order of time: a pulse or none, then free precession, with at most one readout inside."""

    time: Float[Array, " steps"]  # start of the step [s]
    pulse: Int[Array, " steps"]  # row of the pulse table, -1 for none
    phase: Float[Array, " steps"]  # of the pulse, at its center [rad]
    excitation: Float[Array, " steps"]  # 1 where the pulse's use is excitation, else 0
    duration: Float[Array, " steps"]  # of the free precession [s]
    moment: Float[Array, "steps 3"]  # of the free precession [1/m]
    readout: Int[Array, " steps"]  # index into `Program.readouts`, -1 for none
    readout_delay: Float[Array, " steps"]  # start of the precession → first sample [s]
    readout_moment: Float[Array, "steps 3"]  # likewise [1/m]


@_pytree
@dataclass(frozen=True, kw_only=True, eq=False)
class PathTable:
    """What diffusion feels of the gradients of each step: integrals over its free precession, with k = 0 at its start.

    Of steps with a readout also over the part up to the middle sample of its train.
    """

    b: Float[Array, ""]  # largest b value of a readout, along the pathway that forms its echo [s/m²]
    first: Float[Array, "steps 3"]  # ∫k dt [s/m]
    second: Float[Array, "steps 3 3"]  # ∫k kᵀ dt [s/m²]
    seen_duration: Float[Array, " steps"]  # [s]
    seen_moment: Float[Array, "steps 3"]  # [1/m]
    seen_first: Float[Array, "steps 3"]
    seen_second: Float[Array, "steps 3 3"]


@_pytree
@dataclass(frozen=True, kw_only=True, eq=False)
class ReadoutClass:
    """Sample trains that differ only in where they start in time, k and receiver phase."""

    delay: Float[Array, " n"]  # of each sample from the first [s]
    k: Float[Array, "n 3"]  # of each sample from the first [1/m]
    receiver: Float[Array, " n"]  # receiver frequency and phase shape: samples are multiplied by its phasor [cycles]
    step: Int[Array, " rows"]  # steps that hold a train of this class
    phase: Float[Array, " rows"]  # receiver phase [rad]
    first: Int[Array, " rows"]  # index of the first sample in the signal


@_pytree
@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """The normal form: a pytree of host arrays in float64, cast at the device's door."""

    waveforms: tuple[Waveform, ...]
    pulses: PulseTable
    steps: StepTable
    readouts: tuple[ReadoutClass, ...]
    paths: PathTable | None = None  # where diffusion was asked for

    @property
    def n_steps(self) -> int:
        return len(self.steps.time)

    @property
    def n_samples(self) -> int:
        return sum(r.delay.shape[0] * r.step.shape[0] for r in self.readouts)


def lower(seq: Sequence, pulses: Pulses = "shaped", cuts: ArrayLike = (), *, diffusion: bool = False) -> Program:
    """Normal form of a sequence.

    Args:
        seq: The sequence.
        pulses: "shaped": every pulse as it is played. "ideal": an instantaneous rotation at the pulse's center by its
            nominal flip angle, within its nominal slice; gradients and time of the pulse are kept.
        cuts: Times at which a step must begin [s], for observation between the events.
        diffusion: Whether to integrate what diffusion feels of the gradients.

    Raises:
        ConsistencyError: ideal pulses whose flip angle or slice is unknown.

    Example:
        >>> import mrisim as mr
        >>> mr.lower(mr.load_sequence("fid")).n_samples
        2048
    """
    lowering = _Lowering(seq, pulses, np.unique(np.asarray(cuts, dtype=float)))
    return lowering.program(diffusion)


@dataclass(frozen=True, eq=False)
class _Pieces:
    """Pulses, each cut where a sample or an observation falls inside; usually one piece per pulse."""

    start: np.ndarray
    stop: np.ndarray
    pulse: np.ndarray  # index into the pulse instances


@dataclass(frozen=True, eq=False)
class _Trains:
    """Runs of samples that share a step."""

    readout: np.ndarray  # index into the readout instances
    skip: np.ndarray  # samples of the readout before this run
    count: np.ndarray
    first_time: np.ndarray
    step: np.ndarray


class _Lowering:
    """One lowering: what the stages below share."""

    def __init__(self, seq: Sequence, pulses: Pulses, cuts: np.ndarray):
        self.seq = seq
        self.ideal = pulses == "ideal"
        self.cuts = cuts
        self.tracks: tuple[Track, Track, Track] = played_tracks(seq)
        self.instances: PulseInstances = pulse_instances(seq)
        self.readouts: ReadoutInstances = readout_instances(seq)
        if self.ideal:
            _refuse_unknown(seq, self.instances, self.tracks)

    def moment(self, t: np.ndarray) -> np.ndarray:
        return total_moment(self.tracks, t)

    def program(self, diffusion: bool) -> Program:
        pieces = self.pieces()
        start, free, piece = self.openings(pieces)
        stop = np.append(start[1:], max(self.seq.duration, free[-1]))
        waveforms, table, pulse_row = self.pulse_table(pieces)
        at_free, at_stop = self.moment(free), self.moment(stop)
        trains = self.trains(start, free)
        classes, readout, delay, offset = self.readout_classes(trains, free, at_free)
        has_pulse = piece != NONE
        event = self.instances.event[pieces.pulse[piece]] if len(pieces.pulse) else piece
        steps = StepTable(
            time=start,
            pulse=np.where(has_pulse, pulse_row[piece], NONE) if len(pulse_row) else piece,
            phase=np.where(has_pulse, self.seq.rf.phase[event], 0.0) if len(pulse_row) else np.zeros(len(start)),
            excitation=self.excitations(pieces, piece, event).astype(float),
            duration=stop - free,
            moment=at_stop - at_free,
            readout=readout,
            readout_delay=delay,
            readout_moment=offset,
        )
        paths = self.paths(free, stop, trains) if diffusion else None
        return Program(waveforms=waveforms, pulses=table, steps=steps, readouts=classes, paths=paths)

    def paths(self, free: np.ndarray, stop: np.ndarray, trains: _Trains) -> PathTable:
        """Integrals of k over each free precession, and up to the middle sample of its train."""
        first, second = second_moments(self.tracks, free, stop)
        event = self.readouts.event[trains.readout]
        middle = trains.first_time + trains.count // 2 * self.seq.adc.dwell[event]
        begin = free[trains.step]
        columns = {
            "seen_duration": middle - begin,
            "seen_moment": self.moment(middle) - self.moment(begin),
            **dict(zip(("seen_first", "seen_second"), second_moments(self.tracks, begin, middle), strict=True)),
        }
        spread = {name: np.zeros((len(free), *values.shape[1:])) for name, values in columns.items()}
        for name, values in columns.items():
            spread[name][trains.step] = values
        b = np.trace(b_matrices(self.seq), axis1=1, axis2=2)
        return PathTable(b=b[np.isfinite(b)].max(initial=0.0), first=first, second=second, **spread)

    def excitations(self, pieces: _Pieces, piece: np.ndarray, event: np.ndarray) -> np.ndarray:
        """Steps that begin an excitation: the first piece only."""
        if len(pieces.pulse) == 0:
            return np.zeros(len(piece), dtype=bool)
        opens = np.append(True, np.diff(pieces.pulse) > 0)[piece]
        return (piece != NONE) & opens & (self.seq.rf.use[event] == Use.EXCITATION)

    def pieces(self) -> _Pieces:
        """Pulses cut at samples and observations that fall inside them."""
        p = self.instances
        n = np.arange(len(p.block))
        if self.ideal:
            return _Pieces(p.center, p.center, n)
        inner = np.concatenate([self.readouts.times(self.seq), self.cuts])
        owner = np.searchsorted(p.start, inner, side="left") - 1
        inside = (owner >= 0) & (inner < p.stop[owner]) if len(n) else np.zeros(len(inner), dtype=bool)
        inner, owner = inner[inside], owner[inside]
        starts = np.concatenate([p.start, inner])
        pulse = np.concatenate([n, owner])
        order = np.lexsort([starts, pulse])
        starts, pulse = starts[order], pulse[order]
        keep = np.append(True, (np.diff(starts) > 0) | (np.diff(pulse) > 0)) if len(starts) else np.zeros(0, dtype=bool)
        starts, pulse = starts[keep], pulse[keep]
        last = np.append(np.diff(pulse) > 0, True) if len(starts) else np.zeros(0, dtype=bool)
        stops = np.where(last, p.stop[pulse], np.append(starts[1:], 0.0)) if len(starts) else starts
        return _Pieces(starts, stops, pulse)

    def openings(self, pieces: _Pieces) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Start of each step, start of its free precession, and its pulse piece (-1: none)."""
        outside = self.cuts[~_inside(self.cuts, pieces)]
        others = np.unique(np.concatenate([[0.0], outside, self.second_readouts(pieces)]))
        others = others[~np.isin(others, pieces.start)]
        start = np.concatenate([pieces.start, others])
        free = np.concatenate([pieces.stop, others])
        piece = np.concatenate([np.arange(len(pieces.start)), np.full(len(others), NONE)])
        order = np.lexsort([free, start])
        return start[order], free[order], piece[order]

    def second_readouts(self, pieces: _Pieces) -> np.ndarray:
        """Starts of readouts that follow another readout with no pulse in between: each needs its own step."""
        start = self.readouts.start
        last = start + (self.readouts.count - 0.5) * self.seq.adc.dwell[self.readouts.event]
        opened, closed = (np.searchsorted(pieces.start, t, side="right") for t in (start, last))
        again = np.append(False, closed[:-1] == opened[1:]) if len(start) else np.zeros(0, dtype=bool)
        return start[again & ~_inside(start, pieces)]

    def trains(self, start: np.ndarray, free: np.ndarray) -> _Trains:
        """Runs of samples by readout and step. A sample on a cut belongs to the step that it opens."""
        times = self.readouts.times(self.seq)
        readout = np.repeat(np.arange(len(self.readouts.count)), self.readouts.count)
        step = np.searchsorted(start, times, side="right") - 1
        late = np.isin(times, start) & (times < free[step])  # a sample at the start of a pulse piece: before that piece
        step = np.where(late, step - 1, step)
        new = np.append(True, (np.diff(readout) > 0) | (np.diff(step) > 0)) if len(times) else np.zeros(0, dtype=bool)
        first = np.flatnonzero(new)
        count = np.diff(np.append(first, len(times)))
        begin = np.concatenate([[0], np.cumsum(self.readouts.count)])
        return _Trains(readout[first], first - begin[readout[first]], count, times[first], step[first])

    def pulse_table(self, pieces: _Pieces) -> tuple[tuple[Waveform, ...], PulseTable, np.ndarray]:
        """Unique waveforms, unique pulses, and the pulse row of each piece."""
        seq, p = self.seq, self.instances
        event = p.event[pieces.pulse]
        waveforms, waveform = self.unique_waveforms(pieces, event)
        flip = seq.rf.flip[event]
        amplitude = flip / _FULL_TURN if self.ideal else seq.rf.amplitude[event]
        center = np.round(p.center[pieces.pulse] - pieces.start, _PICOSECONDS)
        axis = seq.rf.slice_axis[event]
        directions = seq.axis_directions()[p.block[pieces.pulse]]
        normal = directions[np.arange(len(axis)), :, np.maximum(axis, 0)]
        selective = (axis != NONE) & self.ideal
        normal = np.where(selective[:, None], normal, 0.0)
        columns = {
            "waveform": waveform,
            "amplitude": amplitude,
            "frequency": np.zeros(len(event)) if self.ideal else seq.rf.frequency[event],
            "center": center,
            "duration": np.round(pieces.stop - pieces.start, _PICOSECONDS),
            "flip": flip,
            "use": seq.rf.use[event],
            "slice_normal": normal,
            "slice_position": np.where(selective, seq.rf.position[event] + normal @ seq.geometry.center, 0.0),
            "slice_half_width": np.where(selective, seq.rf.thickness[event] / 2, np.inf),
            **self.bands(event),
        }
        first, row = _unique_rows(np.column_stack([np.nan_to_num(v, nan=-1.0, posinf=1e30) for v in columns.values()]))
        unique = {name: v[first] for name, v in columns.items()}
        unique["waveform"] = tuple(int(w) for w in unique["waveform"])
        return waveforms, PulseTable(**unique), row

    def bands(self, event: np.ndarray) -> dict[str, np.ndarray]:
        """Off-resonance that ideal pulses turn: a box where they have a band beside water's, everything elsewhere."""
        width = bandwidths(self.seq)[event] if len(event) else np.zeros(0)
        narrow = beside_water(self.seq)[event] & (width > 0) & self.ideal if len(event) else np.zeros(0, dtype=bool)
        return {
            "band_center": np.where(narrow, self.seq.rf.frequency[event], 0.0),
            "band_half_width": np.where(narrow, 0.5 * width, np.inf),
        }

    def unique_waveforms(self, pieces: _Pieces, event: np.ndarray) -> tuple[tuple[Waveform, ...], np.ndarray]:
        """Waveforms that differ in shape, cut or gradients meanwhile; and the waveform of each piece."""
        if self.ideal:
            ideal = Waveform(area=np.ones(1, dtype=complex), dt=np.zeros(1), moment=np.zeros((1, 3)))
            return (ideal,), np.zeros(len(event), dtype=int)
        seq, p, blocks = self.seq, self.instances, self.seq.blocks
        block = p.block[pieces.pulse]
        offset, length = pieces.start - p.start[pieces.pulse], pieces.stop - pieces.start
        gradients = (blocks.gx[block], blocks.gy[block], blocks.gz[block], blocks.rotation[block])
        times = [np.round(t, _PICOSECONDS) for t in (seq.rf.delay[event], offset, length)]
        key = np.column_stack([seq.rf.shape[event], *times, *gradients])
        first, row = _unique_rows(key)
        return tuple(self.waveform(pieces, i) for i in first), row

    def waveform(self, pieces: _Pieces, i: int) -> Waveform:
        """Intervals of one pulse piece."""
        pulse = pieces.pulse[i]
        shape = self.seq.rf_shapes[self.seq.rf.shape[self.instances.event[pulse]]]
        offset = pieces.start[i] - self.instances.start[pulse]
        length = pieces.stop[i] - pieces.start[i]
        inner = shape.edges[(shape.edges > offset + 1e-12) & (shape.edges < offset + length - 1e-12)]
        edges = _subdivide(np.concatenate([[offset], inner, [offset + length]]))
        dt = np.diff(edges)
        sample = np.searchsorted(shape.edges, edges[:-1] + 0.5 * dt, side="right") - 1
        moments = self.moment(self.instances.start[pulse] + edges)
        return Waveform(area=shape.samples[sample] * dt, dt=dt, moment=np.diff(moments, axis=0))

    def readout_classes(self, trains: _Trains, free: np.ndarray, at_free: np.ndarray):
        """Classes of sample trains, and per step: class, delay and moment to the first sample."""
        n_steps = len(free)
        readout, delay, offset = np.full(n_steps, NONE), np.zeros(n_steps), np.zeros((n_steps, 3))
        if len(trains.step) == 0:
            return (), readout, delay, offset
        delay[trains.step] = trains.first_time - free[trains.step]
        offset[trains.step] = self.moment(trains.first_time) - at_free[trains.step]
        event = self.readouts.event[trains.readout]
        adc, blocks, block = self.seq.adc, self.seq.blocks, self.readouts.block[trains.readout]
        key = np.column_stack([
            trains.count, trains.skip, np.round(adc.dwell[event] * 1e12), np.round(adc.delay[event] * 1e10),
            np.round(adc.frequency[event] * 1e6), adc.phase_shape[event], blocks.gx[block], blocks.gy[block],
            blocks.gz[block], blocks.rotation[block],
        ])  # fmt: skip
        first, row = _unique_rows(key)
        patterns = [self.pattern(trains, event, i) for i in first]
        merged, of_row = _merge(patterns)
        train_class = of_row[row]
        readout[trains.step] = train_class
        begin = np.concatenate([[0], np.cumsum(self.readouts.count)])[trains.readout] + trains.skip
        classes = []
        for c, (times, k, receiver) in enumerate(merged):
            rows = np.flatnonzero(train_class == c)
            classes.append(
                ReadoutClass(
                    delay=times,
                    k=k,
                    receiver=receiver,
                    step=trains.step[rows],
                    phase=adc.phase[event[rows]],
                    first=begin[rows],
                )
            )
        return tuple(classes), readout, delay, offset

    def pattern(self, trains: _Trains, event: np.ndarray, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Delay, k and receiver phase of the samples of one train, relative to its first sample."""
        adc, e = self.seq.adc, event[i]
        index = trains.skip[i] + np.arange(trains.count[i])
        times = (index - index[0]) * adc.dwell[e]
        moments = self.moment(trains.first_time[i] + times)
        receiver = adc.frequency[e] * (index + 0.5) * adc.dwell[e]
        if adc.phase_shape[e] != NONE:
            receiver = receiver - self.seq.phase_shapes[adc.phase_shape[e]][index] / _FULL_TURN
        return times, moments - moments[0], receiver


def _inside(times: np.ndarray, pieces: _Pieces) -> np.ndarray:
    """Times that lie in a pulse piece, its start included."""
    if len(pieces.start) == 0:
        return np.zeros(len(times), dtype=bool)
    owner = np.searchsorted(pieces.start, times, side="right") - 1
    return (owner >= 0) & (times < pieces.stop[np.maximum(owner, 0)])


def _unique_rows(key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the first of each distinct row, and the distinct row of each."""
    if len(key) == 0:
        return np.zeros(0, dtype=int), np.zeros(0, dtype=int)
    _, first, row = np.unique(key, axis=0, return_index=True, return_inverse=True)
    return first, row.reshape(-1)


def _subdivide(edges: np.ndarray) -> np.ndarray:
    """Edges with no interval longer than `_LONGEST_INTERVAL`."""
    parts = np.maximum(1, np.ceil(np.diff(edges) / _LONGEST_INTERVAL - 1e-9)).astype(int)
    pieces = [np.linspace(a, b, n, endpoint=False) for a, b, n in zip(edges[:-1], edges[1:], parts, strict=True)]
    return np.append(np.concatenate(pieces), edges[-1])


def _merge(patterns):
    """Merge patterns that agree to rounding; also the merged index of each."""
    merged, index, keys = [], [], {}
    for times, k, receiver in patterns:
        scale = max(np.abs(k).max(initial=0.0), 1.0)
        key = (
            len(times),
            *(np.round(a, 9).tobytes() for a in (times * 1e3, k / scale + 0.0, receiver)),
            round(scale, 4),
        )
        if key not in keys:
            keys[key] = len(merged)
            merged.append((times, k, receiver))
        index.append(keys[key])
    return merged, np.array(index)


def _refuse_unknown(seq: Sequence, pulses: PulseInstances, tracks: tuple[Track, Track, Track]) -> None:
    """Ideal pulses need a flip angle, and a slice where a gradient is on."""
    moved = (
        np.abs(total_moment(tracks, pulses.stop) - total_moment(tracks, pulses.start)).max(axis=1, initial=0.0) > 1e-6
    )
    sliceless = moved & (seq.rf.slice_axis[pulses.event] == NONE)
    unknown = np.isnan(seq.rf.flip[pulses.event])
    problems = []
    for bad, what in ((unknown, "flip angle"), (sliceless, "slice (it plays under a gradient)")):
        if bad.any():
            names = sorted({seq.block_names[seq.blocks.name[b]] for b in pulses.block[bad]})
            problems.append(
                Problem(
                    f"must have a known {what} to be taken as ideal, but has none in {', '.join(names)}",
                    'State it in the sequence, or use pulses="shaped"',
                    path="pulses",
                )
            )
    if problems:
        raise ConsistencyError(problems)
