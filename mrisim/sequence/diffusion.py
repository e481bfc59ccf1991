"""Diffusion gradients within the limits: lobes that reach a b value in the shortest time, and the b value of lobes.

A pair is two equal lobes on both sides of a refocusing pulse, or of a stimulated echo's mixing time: the phase that the
first one gives is taken back by the second. b = (2 pi)² ∫ k² dt, with k the integral of the effective gradient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mrisim._types import Float
from mrisim.errors import Problem, SpecError, TimingError
from mrisim.sequence.gradients import TIGHT, Limits, Waveform, clean, trapezoid
from mrisim.units import B_VALUE, FREQUENCY, GRADIENT, TIME, show

MOST_PERIODS = 200
LENGTH = 1e-3  # how far a direction's length may be from one, for the digits that people write
_GAUSS = (np.array([-1.0, 0.0, 1.0]) * math.sqrt(0.6), np.array([5.0, 8.0, 5.0]) / 18.0)  # exact up to degree five


@dataclass(frozen=True, kw_only=True, eq=False)
class Demand:
    """What a pair of lobes must reach."""

    b: np.ndarray  # over loops [s/m²]
    direction: Float[np.ndarray, "3 ..."]  # over loops, of unit length
    separation: float  # start of the first lobe → start of the second [s]

    @property
    def hardest(self) -> float:
        """Largest root of b along one axis: what decides the lobe [sqrt(s)/m]."""
        return float((np.sqrt(self.b) * np.abs(self.direction).max(axis=0)).max())


def factor(waveform: Waveform, separation: float) -> float:
    """b over the square of the amplitude for a waveform of peak 1, played twice with opposite effect [s³].

    Args:
        waveform: Corner points of one lobe.
        separation: Start to start, at least as long as the lobe [s].

    Source:
        Stejskal and Tanner, J Chem Phys 42:288 (1965), for any shape of the lobe; exact for straight lines.

    Example:
        >>> lobe = trapezoid(np.ones(1), rise=1e-3, flat=19e-3)
        >>> b = (267.5221874e6 / (2 * np.pi) * 40e-3) ** 2 * factor(lobe, separation=40e-3)    # 20 / 40 / 1 ms
        >>> round(b * 1e-6, 2)                                                               # s/mm^2, at 40 mT/m
        1526.41
    """
    dt = np.diff(waveform.times)
    left, right = waveform.unit[:-1], waveform.unit[1:]
    k = np.concatenate([[0.0], np.cumsum(0.5 * (left + right) * dt)])
    t = 0.5 * dt * (1.0 + _GAUSS[0][:, None])
    inside = k[:-1] + left * t + 0.5 * (right - left) / dt * t**2
    squared = float(np.sum(_GAUSS[1][:, None] * inside**2 * dt))
    linear = float(np.sum(_GAUSS[1][:, None] * inside * dt))
    end, lasts = float(k[-1]), float(dt.sum())
    second = end**2 * lasts - 2.0 * end * linear + squared  # k falls from its plateau as it rose
    return 4.0 * math.pi**2 * (squared + end**2 * (separation - lasts) + second)


def train_factor(
    starts: Float[np.ndarray, " n"], durations: Float[np.ndarray, " n"], signs: Float[np.ndarray, " n"], rise: float
) -> float:
    """b over the square of the amplitude for a train of trapezoids of peak 1, ends of ramps included [s³].

    Args:
        starts: Of the ramps up [s].
        durations: Start of the ramp up to the start of the ramp down [s].
        signs: Effective ones: a refocusing pulse turns those before it.
        rise: Of all ramps [s].

    Raises:
        TimingError: lobes that overlap, or ramps longer than a lobe.
        SpecError: phase that is left at the end.

    Example:
        >>> pair = train_factor(np.array([0.0, 40e-3]), np.array([20e-3, 20e-3]), np.array([1.0, -1.0]), 1e-3)
        >>> lobe = trapezoid(np.ones(1), rise=1e-3, flat=19e-3)
        >>> bool(np.isclose(pair, factor(lobe, separation=40e-3), rtol=1e-12))
        True
    """
    ends = starts + durations + rise
    if (durations < rise * (1 - TIGHT)).any() or (starts[1:] < ends[:-1] - 1e-9).any():
        rule = (
            f"must be lobes one after the other, each at least as long as its ramp of {show(rise, TIME)}, but are not"
        )
        raise TimingError(Problem(rule, "Give the lobes more time"))
    left = float(np.sum(signs * durations))
    if abs(left) > 1e-6 * float(durations.sum()):
        rule = f"must add up to no phase, but lobes of {show(abs(left), TIME)} are left over"
        raise SpecError(Problem(rule, "Make the durations of positive and negative signs equal"))
    times = np.concatenate([[a, a + rise, a + d, a + d + rise] for a, d in zip(starts, durations, strict=True)])
    unit = np.concatenate([sign * np.array([0.0, 1.0, 1.0, 0.0]) for sign in signs])
    keep = np.append(np.diff(times) > 1e-12, True)
    whole = Waveform(times=times[keep], unit=unit[keep], amplitude=np.ones(1))
    return factor(whole, float(times[-1] - times[0])) / 2.0  # no plateau is left, so a second one would add as much


def trapezoid_lobe(demand: Demand, limits: Limits, duration: float | None, rise_time: float | None) -> Waveform:
    """Trapezoid of a pair that reaches the largest b; duration counts from ramp start to ramp start.

    Args:
        demand: b, direction and separation.
        limits: What each axis may do.
        duration: Start of the ramp up to start of the ramp down [s]; the shortest where None.
        rise_time: Of both ramps [s]; that of the largest gradient where None.

    Raises:
        TimingError: the b value cannot be reached in this time.
    """
    rise = limits.ramp(limits.gradient) if rise_time is None else limits.up(rise_time)
    longest = int((demand.separation - rise) / limits.raster + 1e-6)
    least = max(1, round(rise / limits.raster))
    if duration is not None:
        least = longest = round(limits.up(duration) / limits.raster)
        if least * limits.raster < rise * (1 - TIGHT):
            raise SpecError(Problem(f"duration must be at least the ramp, {show(rise, TIME)}", "Raise it"))
        if least * limits.raster + rise > demand.separation * (1 + TIGHT):
            raise TimingError(_overlap(demand.separation))
    if longest < least:
        raise TimingError(_overlap(demand.separation))
    strongest = min(limits.gradient, limits.slew * rise)
    if _reached(longest, demand, limits, rise) > strongest * (1 + TIGHT):
        raise TimingError(_beyond(demand, _reached(longest, demand, limits, rise), strongest, limits))
    while least < longest:  # the amplitude falls as the lobe gets longer
        middle = (least + longest) // 2
        enough = _reached(middle, demand, limits, rise) <= strongest * (1 + TIGHT)
        least, longest = (least, middle) if enough else (middle + 1, longest)
    return trapezoid(np.ones(1), rise, max(0.0, clean(least * limits.raster - rise)))


def _reached(steps: int, demand: Demand, limits: Limits, rise: float) -> float:
    """Largest amplitude on one axis for a lobe of so many raster steps [Hz/m]."""
    lobe = trapezoid(np.ones(1), rise, max(0.0, clean(steps * limits.raster - rise)))
    return demand.hardest / math.sqrt(factor(lobe, demand.separation))


def cosine_lobe(demand: Demand, limits: Limits, frequency: float, duration: float | None) -> Waveform:
    """Oscillating lobe that reaches the largest b: whole periods of a cosine, its ends replaced by faster half-sines.

    The half-sines have the area of the quarter periods in their place, so the lobe starts and ends with 0 and k
    oscillates about zero.

    Args:
        demand: b, direction and separation; the separation changes nothing, because no phase is left between lobes.
        limits: What each axis may do.
        frequency: Of the oscillation [Hz].
        duration: Of the lobe [s], whole periods; the fewest periods that reach b where None.

    Raises:
        SpecError: a duration that is not whole periods.
        TimingError: the b value cannot be reached in this time.

    Source:
        Apodised cosine: Does, Parsons and Gore, Magn Reson Med 49:206 (2003).
    """
    period = limits.up(1.0 / frequency)
    if abs(period * frequency - 1.0) > 1e-6 or round(period / limits.raster) % 4:
        step = 4 * limits.raster
        rule = f"frequency must have a period of whole {show(step, TIME)}, but is {show(frequency, FREQUENCY)}"
        raise SpecError(Problem(rule, f"Use {show(1 / (max(1, round(period / step)) * step), FREQUENCY)}"))
    counts = range(1, 1 + min(MOST_PERIODS, int(demand.separation / period + 1e-6)))
    if duration is not None:
        whole = round(duration / period)
        if whole < 1 or abs(duration / period - whole) > 1e-6:
            rule = f"duration must be whole periods of {show(period, TIME)}, but is {show(duration, TIME)}"
            raise SpecError(Problem(rule, f"Use {show(max(1, whole) * period, TIME)}"))
        counts = range(whole, whole + 1)
    needed = strongest = 0.0
    for periods in counts:
        lobe = _cosine(period, periods, limits.raster)
        steepest = float(np.abs(np.diff(lobe.unit)).max()) / limits.raster
        strongest = min(limits.gradient, limits.slew / steepest)
        needed = demand.hardest / math.sqrt(factor(lobe, max(demand.separation, lobe.duration)))
        if needed <= strongest * (1 + TIGHT):
            return lobe
    if not needed:
        raise TimingError(_overlap(demand.separation))
    raise TimingError(_beyond(demand, needed, strongest, limits))


def _cosine(period: float, periods: int, raster: float) -> Waveform:
    steps = round(period / raster)
    phase = 2.0 * math.pi * np.arange(steps * periods + 1) / steps
    end = phase[-1]
    unit = np.cos(phase)
    first, last = phase <= math.pi / 2 + 1e-9, phase >= end - math.pi / 2 - 1e-9
    unit[first] = np.sin(2.0 * phase[first])
    unit[last] = np.sin(2.0 * (end - phase[last]))
    unit[[0, -1]] = 0.0
    below = unit < 0
    unit[below] *= -unit[~below].sum() / unit[below].sum()  # equal corner sums: straight lines leave no area
    return Waveform(times=np.round(np.arange(len(unit)) * raster, 12), unit=unit / np.abs(unit).max(),
                    amplitude=np.ones(1))  # fmt: skip


def check_directions(direction: Float[np.ndarray, "3 ..."]) -> Float[np.ndarray, "3 ..."]:
    """Directions of length one, exactly.

    Raises:
        SpecError: a length that is not one to the digits that people write.
    """
    length = np.sqrt(np.sum(direction**2, axis=0))
    off = np.abs(length - 1.0)
    if off.max() > LENGTH:
        worst = np.unravel_index(int(off.argmax()), off.shape)
        vector = direction[(slice(None), *worst)]
        shown = ", ".join(f"{one:.6g}" for one in vector)
        rule = f"must be of unit length, but [{shown}] has the length {length[worst]:.6g}"
        unit = ", ".join(f"{one:.6g}" for one in vector / length[worst]) if length[worst] > 0 else "1, 0, 0"
        raise SpecError(Problem(rule, f"Use [{unit}]"))
    return direction / length


def _overlap(separation: float) -> Problem:
    rule = f"must leave time for a lobe, but the separation of the lobes is {show(separation, TIME)}"
    return Problem(rule, "Raise the separation")


def _beyond(demand: Demand, needed: float, strongest: float, limits: Limits) -> Problem:
    largest, share = float(demand.b.max()), (strongest / needed) ** 2
    rule = f"b must be at most {show(largest * share, B_VALUE, digits=4)} in this time, but is {show(largest, B_VALUE)}"
    field = show(strongest, GRADIENT, limits.gamma, digits=4)
    return Problem(f"{rule}, at {field}", "Raise the time between the lobes, or lower b")
