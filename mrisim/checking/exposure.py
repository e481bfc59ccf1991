"""What gradients and pulses do to body and coil: nerve stimulation, tones, heat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from mrisim._types import Float
from mrisim.checking.coils import Coil, NerveAxis
from mrisim.events.moments import gradient_tracks, pulse_instances, total_gradient
from mrisim.events.tables import AXES, NONE, SequenceTables

WINDOW = 10.0  # that RF power is averaged over [s]
PIECE = 2.0  # of the waveform, sampled at once [s]
LOOKED_AT = 20.0  # of a longer sequence, at its start and at its end [s]
TONE_WINDOW = 0.05  # [s]
REFERENCE_FIELD, REFERENCE_PULSE = 3.0, 1e-3  # [T], [s]


@dataclass(frozen=True, kw_only=True)
class Stimulation:
    """Largest nerve stimulation, 1 at the limit, and the tones of the gradients."""

    pns: float  # vector sum over the axes
    pns_time: float  # [s]
    tones: tuple[float, ...]  # root mean square of the gradient in each band of the coil [Hz/m]


def nerve_stimulation(
    slew: Float[np.ndarray, " n"], dt: float, axis: NerveAxis, state: Float[np.ndarray, "3 1"] | None = None
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "3 1"]]:
    """Stimulation of one axis by the SAFE model, 1 at the limit, and the state of its three filters.

    Args:
        slew: Slew rate, constant over each step [Hz/m/s].
        dt: Step [s].
        axis: Constants of the coil.
        state: Of the filters before the first step; at rest where not given.

    Example:
        >>> from mrisim.checking import load_coil
        >>> axis = load_coil().axes[0]
        >>> forever, _ = nerve_stimulation(np.full(10_000, axis.stim_limit), 1e-5, axis)
        >>> round(float(forever[-1] / axis.g_scale), 6)  # filters that have settled pass the slew rate on
        1.0

    Source:
        Hebrank and Gebhardt, SAFE-Model, Proc ISMRM 8:2007 (2000), with filters as in
        github.com/filip-szczepankiewicz/safe_pns_prediction.
    """
    state = np.zeros((3, 1)) if state is None else state
    inputs = (slew, np.abs(slew), slew)
    total, after = np.zeros(len(slew)), np.zeros((3, 1))
    for i, (tau, weight) in enumerate(zip(axis.tau, axis.a, strict=True)):
        alpha = dt / (tau + dt)
        passed, after[i] = lfilter([alpha], [1.0, alpha - 1.0], inputs[i], zi=state[i])
        total += weight * np.abs(passed)
    return total / axis.stim_limit * axis.g_scale, after


def stimulation(seq: SequenceTables, coil: Coil) -> Stimulation:
    """Nerve stimulation and tones of a sequence; of a long one, its first and last `LOOKED_AT` seconds."""
    dt, peak, at = seq.system.gradient_raster, 0.0, 0.0
    states = [np.zeros((3, 1))] * 3
    tones = np.zeros(len(coil.bands))
    for start, gradient in _pieces(seq):
        slew = np.diff(gradient, axis=0) / dt
        parts = []
        for axis in range(3):
            part, states[axis] = nerve_stimulation(slew[:, axis], dt, coil.axes[axis], states[axis])
            parts.append(part)
        both = np.sqrt(np.square(parts).sum(axis=0))
        if len(both) and both.max() > peak:
            peak, at = float(both.max()), start + float(both.argmax()) * dt
        tones = np.maximum(tones, _tones(gradient, dt, coil))
    return Stimulation(pns=peak, pns_time=at, tones=tuple(tones.tolist()))


def _pieces(seq: SequenceTables) -> Iterator[tuple[float, Float[np.ndarray, "n 3"]]]:
    """Gradient at the steps of its raster, piece by piece: start [s] and values [Hz/m], a step of overlap."""
    tracks, dt, total = gradient_tracks(seq), seq.system.gradient_raster, seq.duration
    steps = round(PIECE / dt)
    for first in range(0, max(1, round(total / dt)), steps):
        start = first * dt
        if LOOKED_AT < start < total - LOOKED_AT - PIECE:
            continue
        count = min(steps, round(total / dt) - first)
        if count > 0:
            yield start, total_gradient(tracks, (first + np.arange(count + 1)) * dt)


def _tones(gradient: Float[np.ndarray, "n 3"], dt: float, coil: Coil) -> Float[np.ndarray, " bands"]:
    """Largest root mean square of a gradient in each band, over windows that overlap by half."""
    size = round(TONE_WINDOW / dt)
    if not coil.bands or not gradient.any():
        return np.zeros(len(coil.bands))
    padded = np.pad(gradient, ((0, max(0, size - len(gradient))), (0, 0)))
    starts = np.arange(0, len(padded) - size + 1, size // 2)
    window = np.hanning(size)
    windows = padded[starts[:, None] + np.arange(size)] * window[:, None]
    power = 2 * np.abs(np.fft.rfft(windows, axis=1)) ** 2 / (size * np.square(window).sum())  # one-sided, Parseval
    frequency = np.fft.rfftfreq(size, dt)
    inside = [(frequency >= band.low) & (frequency <= band.high) for band in coil.bands]
    return np.array([np.sqrt(power[:, rows].sum(axis=1).max()) for rows in inside])


def gradient_rms(seq: SequenceTables) -> tuple[float, float]:
    """Root mean square of the gradient vector over the sequence [Hz/m], and the share of time in which one is on."""
    if not len(seq.blocks) or seq.duration == 0:
        return 0.0, 0.0
    squares = [_square(shape.times, shape.values) for shape in seq.gradient_shapes]
    lengths = [float(shape.times[-1] - shape.times[0]) for shape in seq.gradient_shapes]
    energy = np.append(np.array([squares[s] for s in seq.gradients.shape]) * seq.gradients.amplitude**2, 0.0)
    length = np.append(np.array([lengths[s] for s in seq.gradients.shape]) * (seq.gradients.amplitude != 0), 0.0)
    events = np.stack([getattr(seq.blocks, axis) for axis in AXES])
    events = np.where(events == NONE, len(seq.gradients.shape), events)
    on = np.minimum(length[events].max(axis=0), seq.blocks.duration).sum()
    return float(np.sqrt(energy[events].sum() / seq.duration)), float(on / seq.duration)


def _square(times: Float[np.ndarray, " n"], values: Float[np.ndarray, " n"]) -> float:
    """Integral of the square of straight pieces."""
    a, b = values[:-1], values[1:]
    return float((np.diff(times) * (a * a + a * b + b * b) / 3).sum())


@dataclass(frozen=True, kw_only=True)
class Heat:
    """What pulses deposit."""

    energy: float  # integral of |B1|^2 over the sequence [Hz^2 s]
    b1_rms: float  # over the worst `WINDOW`, or the sequence where it is shorter [Hz]
    sar: float  # relative to a rectangular pulse of 1 ms and 180 degrees every second at 3 T


def heat(seq: SequenceTables) -> Heat:
    """Energy of pulses, root mean square of B1+ over the worst ten seconds, relative SAR.

    SAR goes with the square of field strength and of B1+, whatever the body is.

    Example:
        >>> import mrisim as mr
        >>> bool(heat(mr.load_sequence("t2_tse")).sar > heat(mr.load_sequence("flash_2d")).sar)
        True
    """
    pulses = pulse_instances(seq)
    shapes = [float((np.abs(s.samples) ** 2 * np.diff(s.edges)).sum()) for s in seq.rf_shapes]
    each = np.array([shapes[s] for s in seq.rf.shape[pulses.event]]) * np.abs(seq.rf.amplitude[pulses.event]) ** 2
    if len(each) == 0:
        return Heat(energy=0.0, b1_rms=0.0, sar=0.0)
    window = min(WINDOW, seq.duration)
    total = np.concatenate([[0.0], np.cumsum(each)])
    last = np.searchsorted(pulses.start, pulses.start + window, side="left")
    worst = float((total[last] - total[np.arange(len(each))]).max()) / window
    reference = (0.5 / REFERENCE_PULSE) ** 2 * REFERENCE_PULSE  # 180 degrees are half a turn [Hz^2, mean over 1 s]
    field = (seq.system.b0 / REFERENCE_FIELD) ** 2
    return Heat(energy=float(each.sum()), b1_rms=worst**0.5, sar=field * worst / reference)
