"""Gradient waveforms within the limits: trapezoids, slice gradients with crushers, corner points, samples.

A waveform has fixed corner times and an amplitude that may vary over loops: the largest one decides the times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mrisim._types import Float
from mrisim.errors import Problem, SpecError
from mrisim.units import AREA, GRADIENT, SLEW, TIME, show

TIGHT = 1e-9  # relative slack for rounding when a limit is met exactly


def clean(time: float) -> float:
    """Time [s] without the rounding of a product: 10 rasters of 10 us are 0.0001 s, not 0.00009999999999999999."""
    return round(time, 12)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a logical axis may do: the scanner's limits, derated where the axes are oblique."""

    gradient: float  # [Hz/m]
    slew: float  # [Hz/m/s]
    raster: float  # [s]
    gamma: float  # [Hz/T], for messages

    def up(self, time: float) -> float:
        """Time on the gradient raster, rounded up."""
        return clean(math.ceil(time / self.raster - 1e-6) * self.raster)

    def ramp(self, change: float) -> float:
        """Shortest ramp over a change of gradient [s]."""
        return self.up(abs(change) / self.slew) if change else 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Waveform:
    """Corner points of peak 1 and the amplitude that scales them."""

    times: Float[np.ndarray, " n"]  # from the start of the block [s]
    unit: Float[np.ndarray, " n"]  # peak magnitude 1
    amplitude: np.ndarray  # over loops [Hz/m]
    flat: tuple[float, float] | None = None  # start and stop of the flat top [s]
    rise_time: float | None = None  # [s]

    @property
    def duration(self) -> float:
        return float(self.times[-1])

    def integral(self, start: float, stop: float) -> float:
        """Integral of the unit waveform between two times [s]."""
        start, stop = np.clip([start, stop], self.times[0], self.times[-1])  # it may begin and end with a jump
        knots = np.unique(np.clip(np.concatenate([self.times, [start, stop]]), start, stop))
        values = np.interp(knots, self.times, self.unit)
        return float(np.sum(0.5 * (values[1:] + values[:-1]) * np.diff(knots)))

    def value(self, t: float) -> float:
        """Value of the unit waveform."""
        return float(np.interp(t, self.times, self.unit, left=0.0, right=0.0))


def trapezoid_for_area(
    area: np.ndarray, limits: Limits, *, duration: float | None, rise_time: float | None
) -> Waveform:
    """Trapezoid or triangle whose area, ramps included, is given.

    Args:
        area: Over loops [1/m]; the largest decides the times.
        limits: What the axis may do.
        duration: Ramps included [s]; the shortest where None.
        rise_time: Of both ramps [s]; the shortest where None.

    Raises:
        SpecError: the area does not fit in the duration; the message names the shortest.
    """
    largest = float(np.abs(area).max())
    if duration is None:
        rise, flat = _shortest(largest, limits, rise_time)
    else:
        rise, flat = _fitted(largest, limits, limits.up(duration), rise_time)
    return trapezoid(area / (rise + flat) if rise + flat > 0 else area * 0.0, rise, flat)


def trapezoid(amplitude: np.ndarray, rise: float, flat: float, delay: float = 0.0) -> Waveform:
    """Trapezoid of given ramps and flat top."""
    times = delay + np.array([0.0, rise, rise + flat, 2 * rise + flat])
    unit = np.array([0.0, 1.0, 1.0, 0.0])
    keep = np.array([True, True, flat > 0, True])
    top = (delay + rise, delay + rise + flat)
    return Waveform(times=times[keep], unit=unit[keep], amplitude=amplitude, flat=top, rise_time=rise)


def _shortest(area: float, limits: Limits, rise_time: float | None) -> tuple[float, float]:
    if area == 0.0:
        return limits.raster, 0.0
    r = limits.raster
    if rise_time is not None:
        rise = limits.up(max(rise_time, limits.raster))
        top = min(limits.gradient, limits.slew * rise)
        return rise, max(0.0, limits.up(area / top * (1 - TIGHT) - rise))
    full = limits.gradient / limits.slew  # ramp to the largest gradient
    triangle = math.sqrt(area / limits.slew)
    total = 2 * triangle if triangle <= full else full + area / limits.gradient
    n = max(2, math.ceil(total / r - 1e-6))
    while True:
        for m in range(min(n // 2, math.ceil(full / r - 1e-6)), 0, -1):
            amplitude = area / ((n - m) * r)
            if amplitude > limits.slew * m * r * (1 + TIGHT):
                break
            if amplitude <= limits.gradient * (1 + TIGHT):
                return clean(m * r), clean((n - 2 * m) * r)
        n += 1


def _fitted(area: float, limits: Limits, duration: float, rise_time: float | None) -> tuple[float, float]:
    if rise_time is None:
        inside = duration**2 - 4 * area / limits.slew
        if inside < -TIGHT * duration**2:
            raise _too_short(area, limits, duration, rise_time)
        rise = max(limits.raster, limits.up(0.5 * (duration - math.sqrt(max(0.0, inside)))))
    else:
        rise = limits.up(max(rise_time, limits.raster))
    flat = duration - 2 * rise
    if flat < -1e-9:
        raise _too_short(area, limits, duration, rise_time)
    amplitude = area / (duration - rise)
    if amplitude > limits.gradient * (1 + TIGHT) or amplitude > limits.slew * rise * (1 + TIGHT):
        raise _too_short(area, limits, duration, rise_time)
    return rise, max(0.0, clean(round(flat / limits.raster) * limits.raster))


def _too_short(area: float, limits: Limits, duration: float, rise_time: float | None) -> SpecError:
    rise, flat = _shortest(area, limits, rise_time)
    least = show(2 * rise + flat, TIME)
    return SpecError(
        Problem(
            f"duration must be at least {least} for an area of {show(area, AREA)}, but is {show(duration, TIME)}",
            f"Set duration: {least}, or leave it out",
        )
    )


def trapezoid_for_flat(amplitude: np.ndarray, flat_time: float, limits: Limits, rise_time: float | None) -> Waveform:
    """Trapezoid whose flat top is given; the flat time is rounded up to the raster.

    Raises:
        SpecError: amplitude or slew rate beyond the limits.
    """
    largest = float(np.abs(amplitude).max())
    if largest > limits.gradient * (1 + TIGHT):
        raise SpecError(
            Problem(
                f"amplitude must be at most {show(limits.gradient, GRADIENT, limits.gamma)}, "
                f"but is {show(largest, GRADIENT, limits.gamma)}",
                "Lower the area or raise the flat time",
            )
        )
    rise = max(limits.raster, limits.ramp(largest) if rise_time is None else limits.up(rise_time))
    if largest > limits.slew * rise * (1 + TIGHT):
        raise SpecError(
            Problem(
                f"slew rate must be at most {show(limits.slew, SLEW, limits.gamma)}, "
                f"but is {show(largest / rise, SLEW, limits.gamma)}",
                f"Set rise_time: {show(limits.ramp(largest), TIME)}, or leave it out",
            )
        )
    return trapezoid(amplitude, rise, limits.up(flat_time))


def slice_gradient(
    amplitude: float, duration: float, limits: Limits, *, dead_time: float, crush: float | None
) -> tuple[Waveform, float]:
    """Gradient under a pulse, and the pulse's delay.

    Without `crush` a trapezoid whose flat top covers the pulse; with it, a lobe of that area on each side.

    Args:
        amplitude: Under the pulse, signed [Hz/m].
        duration: Of the pulse [s].
        limits: What the axis may do.
        dead_time: Shortest delay of the pulse [s].
        crush: Area before the pulse, and after it [1/m].

    Raises:
        SpecError: amplitude beyond the limit, or a crusher smaller than the ramp alone.
    """
    if abs(amplitude) > limits.gradient * (1 + TIGHT):
        raise SpecError(
            Problem(
                f"slice gradient must be at most {show(limits.gradient, GRADIENT, limits.gamma)}, "
                f"but is {show(abs(amplitude), GRADIENT, limits.gamma)}",
                "Choose a thicker slice, a longer pulse or a smaller time_bandwidth",
            )
        )
    flat = limits.up(duration)
    if crush is None:
        rise = max(limits.raster, limits.ramp(amplitude))
        delay = max(0.0, limits.up(dead_time) - rise)
        return trapezoid(np.full((1,), amplitude), rise, flat, delay), delay + rise
    height, rise, top, fall = _crusher(crush, abs(amplitude), limits, math.copysign(1.0, amplitude))
    lead = rise + top + fall
    delay = max(0.0, limits.up(dead_time) - lead)
    times = delay + np.array([0.0, rise, rise + top, lead, lead + flat, lead + flat + fall, lead + flat + fall + top])
    times = np.append(times, times[-1] + rise)
    values = np.array([0.0, height, height, amplitude, amplitude, height, height, 0.0])
    keep = np.append(np.diff(times) > 1e-12, True)
    peak = float(np.abs(values).max())
    waveform = Waveform(
        times=times[keep],
        unit=values[keep] / peak,
        amplitude=np.full((1,), peak),
        flat=(delay + lead, delay + lead + flat),
        rise_time=rise,
    )
    return waveform, delay + lead


def _crusher(area: float, plateau: float, limits: Limits, sign: float) -> tuple[float, float, float, float]:
    """Height, rise, top and fall of the shortest lobe of an area that ends on the plateau of the slice gradient."""
    wanted = area * sign
    s, g_max = limits.slew, limits.gradient
    least = plateau * limits.ramp(plateau) / 2
    if wanted < least * (1 - TIGHT):
        raise SpecError(
            Problem(
                f"crush must be at least {show(sign * least, AREA)}, the area of the slice gradient's own ramp, "
                f"but is {show(area, AREA)}",
                "Raise it, or leave it out",
            )
        )
    # ramps alone reach the area at height g: g^2/2s + (g^2 - plateau^2)/2s
    height = min(g_max, math.sqrt(max(plateau**2, s * wanted + plateau**2 / 2)))
    rise = max(limits.raster, limits.ramp(height))
    fall = max(limits.raster, limits.ramp(height - plateau))
    top = max(0.0, limits.up((wanted - height * rise / 2 - (height + plateau) * fall / 2) / g_max))
    while True:  # rounding to the raster may ask for one step more
        height = (wanted - plateau * fall / 2) / (rise / 2 + top + fall / 2)
        if abs(height - plateau) > s * fall * (1 + TIGHT):
            fall = clean(fall + limits.raster)
        elif height > s * rise * (1 + TIGHT):
            rise = clean(rise + limits.raster)
        elif height > g_max * (1 + TIGHT):
            top = clean(top + limits.raster)
        else:
            return sign * height, rise, top, fall


def corners(times: np.ndarray, values: np.ndarray, limits: Limits) -> Waveform:
    """Waveform through given corner points; values are not held against the limits here but by the hardware check.

    Args:
        times: (n,) ascending from 0, on the raster [s].
        values: (n, *loops) or (n,) gradient at each time [Hz/m].

    Raises:
        SpecError: times that do not ascend from 0 or lie off the raster, or ends that are not 0.
    """
    if times[0] != 0.0 or (np.diff(times) <= 0).any():
        raise SpecError("times must ascend from 0, but do not")
    steps = times / limits.raster
    off = np.abs(steps - np.round(steps)) > 1e-6
    if off.any():
        wrong, near = float(times[off][0]), float(np.round(steps[off][0]) * limits.raster)
        raise SpecError(
            Problem(f"times must lie on the raster, but hold {show(wrong, TIME)}", f"Use {show(near, TIME)}")
        )
    if values[0] != 0.0 or values[-1] != 0.0:
        raise SpecError("amplitudes must begin and end with 0, but do not")
    peak = float(np.abs(values).max())
    unit = values / peak if peak > 0 else values
    return Waveform(times=np.round(steps) * limits.raster, unit=unit, amplitude=np.full((1,), peak))


def raster_samples(values: np.ndarray, amplitude: np.ndarray, limits: Limits) -> Waveform:
    """Arbitrary waveform from values in the middle of each raster interval, scaled to a peak of `amplitude`.

    The ends are extrapolated linearly to the edges, as in Pulseq.
    """
    peak = float(np.abs(values).max())
    if peak == 0.0:
        raise SpecError("samples must not all be zero, but are")
    unit = values / peak
    times = np.concatenate([[0.0], (np.arange(len(unit)) + 0.5) * limits.raster, [len(unit) * limits.raster]])
    first = 1.5 * unit[0] - 0.5 * unit[min(1, len(unit) - 1)]
    last = 1.5 * unit[-1] - 0.5 * unit[max(0, len(unit) - 2)]
    return Waveform(times=times, unit=np.concatenate([[first], unit, [last]]), amplitude=amplitude)
