"""Gradient moments and k-space positions, integrated exactly on the host in float64."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mrisim._types import Float, Int
from mrisim.events.tables import AXES, NONE, SequenceTables, Use


@dataclass(frozen=True, kw_only=True, eq=False)
class Track:
    """A piecewise-linear vector waveform through corner points; zero between the first and last corner of two events.

    Corners come in runs, one run per gradient event; `value` may jump between runs and is zero outside.
    """

    time: Float[np.ndarray, " corners"]  # ascending [s]
    value: Float[np.ndarray, "corners 3"]  # physical axes [Hz/m]
    moment: Float[np.ndarray, "corners 3"]  # integral of value from 0 to the corner [1/m]
    last: np.ndarray  # (corners,) bool: last corner of its run

    def integrate(self, t: Float[np.ndarray, " times"]) -> Float[np.ndarray, "times 3"]:
        """Integral of the waveform from 0 to t [1/m]."""
        if len(self.time) == 0:
            return np.zeros((len(t), 3))
        i = np.searchsorted(self.time, t, side="right") - 1
        inside = i >= 0
        i = np.maximum(i, 0)
        after = np.where(self.last[i], 0.0, t - self.time[i])[:, None]
        slope = self._slope(i)
        result = self.moment[i] + self.value[i] * after + 0.5 * slope * after**2
        return np.where(inside[:, None], result, 0.0)

    def evaluate(self, t: Float[np.ndarray, " times"]) -> Float[np.ndarray, "times 3"]:
        """Value at t, right of a jump [Hz/m]."""
        if len(self.time) == 0:
            return np.zeros((len(t), 3))
        i = np.searchsorted(self.time, t, side="right") - 1
        active = (i >= 0) & ~self.last[np.maximum(i, 0)]
        i = np.maximum(i, 0)
        value = self.value[i] + self._slope(i) * (t - self.time[i])[:, None]
        return np.where(active[:, None], value, 0.0)

    def _slope(self, i: Int[np.ndarray, " times"]) -> Float[np.ndarray, "times 3"]:
        after = np.minimum(i + 1, len(self.time) - 1)
        step = self.time[after] - self.time[i]
        rise = self.value[after] - self.value[i]
        safe = np.where(step > 0, step, 1.0)[:, None]
        return np.where((step > 0)[:, None] & ~self.last[i][:, None], rise / safe, 0.0)


def gradient_tracks(seq: SequenceTables) -> tuple[Track, Track, Track]:
    """Waveforms that gx, gy and gz make on the physical axes; their sum is the gradient."""
    directions = seq.axis_directions()
    return tuple(_axis_track(seq, axis, directions[:, :, axis]) for axis in range(3))  # type: ignore[return-value]


def played_tracks(seq: SequenceTables) -> tuple[Track, Track, Track]:
    """As `gradient_tracks`, but as late as the scanner plays them."""
    delay = seq.system.gradient_delay
    x, y, z = (replace(track, time=track.time + delay) for track in gradient_tracks(seq))
    return x, y, z


def _axis_track(seq: SequenceTables, axis: int, direction: Float[np.ndarray, "blocks 3"]) -> Track:
    events = getattr(seq.blocks, AXES[axis])
    rows = np.flatnonzero(events != NONE)
    shapes = seq.gradients.shape[events[rows]]
    lengths = np.array([len(shape.times) for shape in seq.gradient_shapes], dtype=int)
    counts = lengths[shapes] if len(rows) else np.zeros(0, dtype=int)
    first = np.concatenate([[0], np.cumsum(counts)]).astype(int)
    time, unit = np.zeros(first[-1]), np.zeros(first[-1])
    for index, shape in enumerate(seq.gradient_shapes):
        used = np.flatnonzero(shapes == index)
        where = first[used][:, None] + np.arange(len(shape.times))
        time[where] = seq.starts[rows[used]][:, None] + shape.times
        unit[where] = shape.values
    owner = np.repeat(np.arange(len(rows)), counts)
    scale = seq.gradients.amplitude[events[rows]][:, None] * direction[rows]
    value = unit[:, None] * scale[owner]
    last = np.zeros(first[-1], dtype=bool)
    last[first[1:] - 1] = True
    step = np.where(last[:-1], 0.0, np.diff(time))[:, None]
    pieces = 0.5 * (value[1:] + value[:-1]) * step
    moment = np.concatenate([np.zeros((min(1, first[-1]), 3)), np.cumsum(pieces, axis=0)])
    return Track(time=time, value=value, moment=moment, last=last)


def total_moment(tracks: tuple[Track, Track, Track], t: Float[np.ndarray, " times"]) -> Float[np.ndarray, "times 3"]:
    """Integral of the gradient from 0 to t on the physical axes [1/m]."""
    return tracks[0].integrate(t) + tracks[1].integrate(t) + tracks[2].integrate(t)


def total_gradient(tracks: tuple[Track, Track, Track], t: Float[np.ndarray, " times"]) -> Float[np.ndarray, "times 3"]:
    """Gradient at t on the physical axes [Hz/m]."""
    return tracks[0].evaluate(t) + tracks[1].evaluate(t) + tracks[2].evaluate(t)


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(3)  # exact to the fifth power; a squared moment has the fourth


def second_moments(
    tracks: tuple[Track, Track, Track], start: Float[np.ndarray, " n"], stop: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3 3"]]:
    """∫k dt [s/m] and ∫k kᵀ dt [s/m²] over each interval, with k = 0 at its start: exact, polynomials by parts."""
    corners = np.unique(np.concatenate([track.time for track in tracks]))
    low, high = np.searchsorted(corners, start, side="right"), np.searchsorted(corners, stop, side="left")
    count = np.maximum(high - low, 0) + 1
    first = np.concatenate([[0], np.cumsum(count)])
    owner = np.repeat(np.arange(len(start)), count)
    corner = low[owner] + np.arange(first[-1]) - first[:-1][owner]
    padded = np.append(corners, np.inf)
    left = np.where(np.arange(first[-1]) == first[:-1][owner], start[owner], padded[corner - 1])
    right = np.where(np.arange(first[-1]) == first[1:][owner] - 1, stop[owner], padded[corner])
    half, origin = 0.5 * (right - left), total_moment(tracks, start)[owner]
    once, twice = np.zeros((first[-1], 3)), np.zeros((first[-1], 3, 3))
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        k = total_moment(tracks, left + half * (1 + node)) - origin
        once += (weight * half)[:, None] * k
        twice += (weight * half)[:, None, None] * k[:, :, None] * k[:, None, :]
    if len(start) == 0:
        return once, twice
    return np.add.reduceat(once, first[:-1]), np.add.reduceat(twice, first[:-1])


@dataclass(frozen=True, kw_only=True, eq=False)
class PulseInstances:
    """Every occurrence of a pulse, in order of time."""

    block: Int[np.ndarray, " pulses"]
    event: Int[np.ndarray, " pulses"]  # row of `Sequence.rf`
    start: Float[np.ndarray, " pulses"]  # of the RF support [s]
    center: Float[np.ndarray, " pulses"]  # [s]
    stop: Float[np.ndarray, " pulses"]  # [s]


def pulse_instances(seq: SequenceTables) -> PulseInstances:
    """Occurrences of pulses with their absolute times."""
    block = np.flatnonzero(seq.blocks.rf != NONE)
    event = seq.blocks.rf[block]
    shape = seq.rf.shape[event]
    centers = np.array([s.center for s in seq.rf_shapes])
    durations = np.array([s.duration for s in seq.rf_shapes])
    start = seq.starts[block] + seq.rf.delay[event]
    if len(block) == 0:
        return PulseInstances(block=block, event=event, start=start, center=start, stop=start)
    return PulseInstances(
        block=block, event=event, start=start, center=start + centers[shape], stop=start + durations[shape]
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadoutInstances:
    """Every occurrence of an ADC event, in order of time."""

    block: Int[np.ndarray, " readouts"]
    event: Int[np.ndarray, " readouts"]  # row of `Sequence.adc`
    start: Float[np.ndarray, " readouts"]  # end of the ADC's delay [s]
    count: Int[np.ndarray, " readouts"]

    def times(self, seq: SequenceTables) -> Float[np.ndarray, " samples"]:
        """Time of every sample [s]."""
        first = np.concatenate([[0], np.cumsum(self.count)])
        owner = np.repeat(np.arange(len(self.count)), self.count)
        within = np.arange(first[-1]) - first[:-1][owner]
        return self.start[owner] + (within + 0.5) * seq.adc.dwell[self.event[owner]]


def readout_instances(seq: SequenceTables) -> ReadoutInstances:
    """Occurrences of ADC events with their absolute times."""
    block = np.flatnonzero(seq.blocks.adc != NONE)
    event = seq.blocks.adc[block]
    start = seq.starts[block] + seq.adc.delay[event]
    return ReadoutInstances(block=block, event=event, start=start, count=seq.adc.samples[event])


def k_offsets(
    use: Int[np.ndarray, " pulses"], moment: Float[np.ndarray, "pulses 3"]
) -> Float[np.ndarray, "pulses+1 3"]:
    """Offset c of k(t) = moment(t) - c after each pulse, before the first as row 0.

    An excitation sets k to zero, a refocusing pulse mirrors it, a recall mirrors what k was at the last storage, other
    pulses leave it alone.
    """
    offsets = np.zeros((len(use) + 1, 3))
    stored = np.zeros(3)
    for i, (kind, at_center) in enumerate(zip(use, moment, strict=True)):
        before = offsets[i]
        if kind == Use.EXCITATION:
            offsets[i + 1] = at_center
        elif kind == Use.REFOCUSING:
            offsets[i + 1] = 2 * at_center - before
        elif kind == Use.RECALL:
            offsets[i + 1] = at_center + stored
        else:
            stored = at_center - before if kind == Use.STORAGE else stored
            offsets[i + 1] = before
    return offsets


def sample_kspace(seq: SequenceTables) -> tuple[Float[np.ndarray, "samples 3"], Float[np.ndarray, " samples"]]:
    """k [1/m] and time [s] of all samples, see `Sequence.kspace`."""
    tracks, pulses = gradient_tracks(seq), pulse_instances(seq)
    time = readout_instances(seq).times(seq)
    offsets = k_offsets(seq.rf.use[pulses.event], total_moment(tracks, pulses.center))
    index = np.searchsorted(pulses.center, time, side="right")
    return total_moment(tracks, time) - offsets[index], time
