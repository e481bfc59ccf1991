"""Shapes of a Pulseq file → RF and gradient shapes of this package, and back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mrisim._types import Complex, Float, Int
from mrisim.errors import SpecError
from mrisim.events.blocks import GradientShape, RFShape
from mrisim.sequence.waveforms import from_samples

MAX_INTERVALS = 1_000_000  # that an RF shape with times of its own is cut into
PEAK = 0.99999  # of the largest magnitude: its plateau's middle is the center of a pulse that names none
DIGITS = 12  # of times [log10 s]


def rf_shape(
    mag: Float[np.ndarray, " n"],
    phase: Float[np.ndarray, " n"],
    times: Float[np.ndarray, " n"] | None,
    raster: float,
    center: float,
) -> RFShape:
    """Envelope of a pulse, conjugated: Pulseq's frame turns the other way.

    Args:
        mag: Magnitude, at most 1.
        phase: In Pulseq's frame [cycles].
        times: Of the samples, in steps of the raster; samples stand in the middle of raster steps where None.
        raster: RF raster time [s].
        center: From the start of the shape [s]; nan where the file does not say: the middle of the peak.

    Raises:
        SpecError: shapes that do not fit each other, times that do not ascend, a pulse of zeros.
    """
    if len(mag) != len(phase) or (times is not None and len(times) != len(mag)):
        raise SpecError("must have shapes of equal length for magnitude, phase and time, but has not")
    samples = mag * np.exp(-2j * np.pi * phase)
    if np.abs(samples).max() == 0:
        samples = samples + 0.0
        edges = np.array([0.0, len(mag) * raster])
        return RFShape(edges=edges, samples=np.zeros(1, dtype=complex), center=edges[-1] / 2)
    edges, held = _held(samples, raster) if times is None else _timed(mag, phase, times, raster)
    edges = np.round(edges, DIGITS)
    if np.isnan(center):
        center = _peak(np.abs(samples), times, raster)
    if not 0 <= center <= edges[-1] * (1 + 1e-9):
        raise SpecError(f"center must lie inside the pulse of {edges[-1] * 1e6:g} us, but is {center * 1e6:g} us")
    made = from_samples(magnitude=np.abs(held), edges=edges, phase=np.angle(held), center=center)
    return RFShape(edges=edges, samples=held, center=float(center), bandwidth=made.bandwidth)


def _held(samples: Complex[np.ndarray, " n"], raster: float) -> tuple[np.ndarray, np.ndarray]:
    """Intervals of constant field: as long as all changes allow."""
    n = len(samples)
    changes = np.flatnonzero(np.diff(samples)) + 1
    step = int(np.gcd.reduce(np.append(changes, n)))
    return np.arange(n // step + 1) * step * raster, samples[::step]


def _timed(
    mag: Float[np.ndarray, " n"], phase: Float[np.ndarray, " n"], times: Float[np.ndarray, " n"], raster: float
) -> tuple[np.ndarray, np.ndarray]:
    """Intervals of a shape with times of its own: linear between its samples."""
    steps = np.diff(times)
    if times[0] < 0 or (steps <= 0).any():
        raise SpecError("times of samples must ascend from 0, but do not")
    if len(times) == 1 or (np.ptp(steps) < 1e-6 * steps[0] and abs(times[0] - steps[0] / 2) < 1e-6 * steps[0]):
        step = 2 * times[0]  # samples stand in the middle of intervals of their own
        return np.arange(len(times) + 1) * step * raster, mag * np.exp(-2j * np.pi * phase)
    flat = (np.diff(mag) == 0) & (np.diff(phase) == 0)
    parts = np.where(flat, 1, np.maximum(1, np.ceil(steps - 1e-6))).astype(np.int64)
    if parts.sum() > MAX_INTERVALS:
        raise SpecError(f"must be cut into at most {MAX_INTERVALS} raster steps, but needs {parts.sum()}")
    owner = np.repeat(np.arange(len(parts)), parts)
    within = (np.arange(len(owner)) - np.repeat(np.cumsum(parts) - parts, parts)) / parts[owner]
    middle = within + 0.5 / parts[owner]
    size = mag[owner] + np.diff(mag)[owner] * middle
    turn = phase[owner] + np.diff(phase)[owner] * middle
    edges = np.append(times[owner] + steps[owner] * within, times[-1])
    held = size * np.exp(-2j * np.pi * turn)
    if times[0] > 0:
        edges, held = np.append(0.0, edges), np.append(0.0, held)
    return edges * raster, held


def _peak(size: Float[np.ndarray, " n"], times: Float[np.ndarray, " n"] | None, raster: float) -> float:
    top = np.flatnonzero(size >= PEAK * size.max())[[0, -1]]
    at = (np.arange(len(size)) + 0.5) if times is None else times
    return float(at[top].mean() * raster)


def trapezoid_corners(
    delay: float, rise: float, flat: float, fall: float
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Corner times [s] and values of a trapezoid; corners that coincide are left out.

    Example:
        >>> trapezoid_corners(0.0, 1e-3, 0.0, 1e-3)[1].tolist()
        [0.0, 1.0, 0.0]
    """
    times = np.round(delay + np.cumsum([0.0, rise, flat, fall]), DIGITS)
    values = np.array([0.0, 1.0, 1.0, 0.0])
    keep = np.array([rise > 0, True, flat > 0, fall > 0])
    return times[keep], values[keep]


def sampled_corners(
    values: Float[np.ndarray, " n"],
    times: Float[np.ndarray, " n"] | int,
    raster: float,
    delay: float,
    first: float,
    last: float,
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Corner times [s] and values of an arbitrary gradient.

    Args:
        values: Of the shape.
        times: Of its samples in raster steps; or 0: in the middle of each step, -1: at every half step but the ends.
        raster: Gradient raster time [s].
        delay: [s].
        first: Value at the start of the shape, in units of the amplitude.
        last: Value at its end.

    Raises:
        SpecError: times that do not fit or do not ascend.

    Example:
        >>> sampled_corners(np.array([0.5, 0.5]), 0, 1e-5, 0.0, 0.5, 0.0)[1].tolist()
        [0.5, 0.5, 0.5, 0.0]
    """
    n = len(values)
    if isinstance(times, int):
        if times == -1 and n % 2 == 0:
            raise SpecError(f"must have an odd number of samples at half raster steps, but has {n}")
        inner = (np.arange(n) + 0.5) if times == 0 else (np.arange(n) + 1) / 2
        end = float(n if times == 0 else (n + 1) / 2)
    else:
        if len(times) != n:
            raise SpecError(f"must have as many times as samples, but has {len(times)} and {n}")
        if times[0] < 0 or (np.diff(times) <= 0).any():
            raise SpecError("times of samples must ascend from 0, but do not")
        inner, end = times, float(np.ceil(times[-1] - 1e-6))
    at, value = inner, values
    if inner[0] > 1e-6:
        at, value = np.append(0.0, at), np.append(first, value)
    if end > at[-1] + 1e-6:
        at, value = np.append(at, end), np.append(value, last)
    return np.round(delay + at * raster, DIGITS), value


def is_sampled(shape: GradientShape, raster: float) -> bool:
    """Whether a shape has its inner corners in the middle of raster steps.

    Example:
        >>> times = np.array([0.0, 0.5e-5, 1.5e-5, 2e-5])
        >>> is_sampled(GradientShape(times=times, values=np.ones(4)), 1e-5)
        True
    """
    steps = (shape.times - shape.times[0]) / raster
    if len(steps) < 4:
        return False
    wanted = np.concatenate([[0.0], np.arange(len(steps) - 2) + 0.5, [len(steps) - 2.0]])
    return bool(np.abs(steps - wanted).max() < 1e-4)


def flip_of(shape: RFShape, amplitude: float) -> float:
    """Flip angle of a pulse on resonance [rad]; nan where its phase is modulated beyond a frequency and a sign.

    Where the phase of the field is constant, the angle is 2 pi |integral of b1|, exactly.

    Example:
        >>> pulse = RFShape(edges=np.array([0.0, 1e-3]), samples=np.ones(1, complex), center=0.5e-3)
        >>> round(flip_of(pulse, 250.0), 6)
        1.570796
    """
    dt = np.diff(shape.edges)
    middle = 0.5 * (shape.edges[1:] + shape.edges[:-1])
    seen = np.abs(shape.samples) > 1e-3 * max(float(np.abs(shape.samples).max()), 1e-300)
    if not seen.any():
        return 0.0
    squared, at = shape.samples[seen] ** 2, middle[seen]
    pairs = squared[1:] * np.conj(squared[:-1])
    rate = float(np.angle(pairs.sum()) / 2 / np.median(np.diff(at))) if len(at) > 2 else 0.0
    still = shape.samples * np.exp(-1j * rate * middle)
    mean = still[seen] ** 2
    axis = np.exp(0.5j * np.angle(mean.sum()))
    bent = np.abs((still[seen] * np.conj(axis)).imag) / np.abs(shape.samples[seen]).max()
    if bent.max() > 1e-3:
        return float("nan")
    return float(2 * np.pi * abs(amplitude) * abs(np.sum(still * dt)))


def times_in_raster(shape: GradientShape, raster: float) -> Float[np.ndarray, " n"]:
    """Corner times from the first, in raster steps."""
    return np.round((shape.times - shape.times[0]) / raster, 6)


def chosen(shapes: Mapping[int, Float[np.ndarray, " n"]], number: int, what: str) -> Float[np.ndarray, " n"]:
    """Shape of a number.

    Raises:
        SpecError: there is none.
    """
    if number not in shapes:
        raise SpecError(f"must refer to a shape for its {what} that is there, but refers to {number}")
    return shapes[number]


def ranges(numbers: Int[np.ndarray, " n"]) -> str:
    """Whole numbers as text.

    Example:
        >>> ranges(np.array([1, 2, 3, 7]))
        '1-3, 7'
    """
    numbers = np.unique(numbers)
    if len(numbers) == 0:
        return ""
    parts = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    return ", ".join(f"{p[0]}" if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)
