"""Concentration of contrast agent from the signal of spoiled gradient echoes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline

from mrisim._types import Float
from mrisim.errors import ConsistencyError, Problem
from mrisim.mapping.dce.curves import check_axis
from mrisim.mapping.spoiling import STEEPEST, T1_RANGE, Spoiling, SpoilingTable, spoiling_problems
from mrisim.physics.chebyshev import chebyshev_coefficients, chebyshev_points, chebyshev_sum, place_between

ROUNDS = 40  # of the corrections for T2* and spoiling, which settle to rounding in about ten
SETTLED = 1e-12  # change of a round below which they have [mM]
PATH = 24  # points along the rates that an agent makes, for what spoiling leaves
BELOW = 0.5  # how far noise may take ln R1 below that before the agent
CHUNK = 4096  # voxels at once, for the sake of a core's cache
UNSETTLED = 1e-6  # change of the last round above which a concentration counts as not found [mM]


def concentration_from_signal(
    signal: ArrayLike,
    flip: ArrayLike,
    tr: float,
    t10: ArrayLike,
    r1: float,
    baseline: slice,
    *,
    t: ArrayLike | None = None,
    te: float = 0.0,
    r2_star: float = 0.0,
    spoiling: Spoiling | None = None,
    r2: float = 0.0,
) -> Float[np.ndarray, "*shape n"]:
    """Concentration over time, by exact inversion of the spoiled gradient echo.

    The signal relative to its baseline gives R1 without knowledge of the equilibrium magnetisation, given T1 before the
    agent; fast exchange of water makes R1 = 1/t10 + r1 C. Magnetisation follows R1 after some TR / (1 - E1 cos(flip))
    only, 70 ms at 30° and a TR of 10 ms: given `t`, the times of the images, this lag is undone too, with the slope of
    the signal by cubic splines. With `te` and `r2_star` the decay exp(-TE r2* C) is undone. Concentrations may come out
    slightly negative by noise.

    Spoiling counts as ideal. Real RF spoiling leaves another steady state, whose ratio to the ideal one changes with T1
    and T2, and so with C: `spoiling` takes it from the phase graph, with R2 = 1/t2 + r2 C.

    Args:
        signal: (..., n), real or complex; magnitudes are taken.
        flip: Flip angle, one value or (...) where a map of B1 scales it [rad].
        tr: Repetition time [s].
        t10: T1 before the agent, one value or (...) [s].
        r1: Relaxivity [1/(s mM)].
        baseline: Times before the agent, such as slice(1, 6); the first image is often not in the steady state.
        t: n times of the images between which pulses go on at the same TR [s]; where not given, each image counts as
            in its steady state.
        te: Echo time [s].
        r2_star: Relaxivity of T2* [1/(s mM)].
        spoiling: Of a sequence with real RF spoiling; its T2 is that before the agent, one value or (...).
        r2: Relaxivity of T2, which counts with `spoiling` only [1/(s mM)].

    Returns:
        (..., n) [mM]; nan where no concentration makes the signal, the baseline is zero, or T1 is unknown.

    Raises:
        ConsistencyError: an empty baseline, times or relaxivities that are not above zero, a negative T1, times
            that do not increase, shapes that do not fit.

    Source:
        Schabel and Parker, Phys Med Biol 53:2345 (2008), for the steady state; off it, from one pulse to
        the next, m(t + TR) = m(t) E1 cos(flip) + 1 - E1 for the longitudinal magnetisation; spoiling as in
        `physics.spoiling.rf_spoiled`.

    Example:
        >>> from mrisim.physics.signals import spoiled_gradient_echo
        >>> r1 = 1 / 1.4 + 4.5 * np.array([0.0, 0.0, 1.0])
        >>> signal = np.array([float(spoiled_gradient_echo(0.2618, 0.005, 1 / rate)) for rate in r1])
        >>> concentration_from_signal(signal, 0.2618, 0.005, 1.4, 4.5, slice(0, 2)).round(3).tolist()
        [0.0, 0.0, 1.0]
    """
    magnitude = np.abs(np.asarray(signal))
    angle, before = (np.asarray(values, dtype=float) for values in (flip, t10))
    times = None if t is None else np.asarray(t, dtype=float)
    not_negative = {"te": te, "r2_star": r2_star, "r2": r2}
    _check(magnitude, angle, before, {"tr": tr, "r1": r1}, not_negative, baseline, times, spoiling)
    shape, n = magnitude.shape[:-1], magnitude.shape[-1]
    flips, rates = (
        np.broadcast_to(np.where(values > 0, values, np.nan), shape).reshape(-1, 1) for values in (angle, 1 / before)
    )
    share = None if spoiling is None else _Shares.of(spoiling, flips, tr, rates, r1, r2)
    growth = None if times is None else tr * _slopes(times)
    found = np.empty((len(flips), n))
    with np.errstate(all="ignore"):
        for first in range(0, len(found), CHUNK):
            rows = slice(first, first + CHUNK)
            series = _Series(magnitude.reshape(-1, n)[rows], baseline, flips[rows], rates[rows], tr, r1)
            found[rows] = series.concentration(growth, te * r2_star, None if share is None else share.of_rows(rows))
    return np.where(np.isfinite(found), found, np.nan).reshape(magnitude.shape)


def _slopes(t: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n n"]:
    """Matrix from a curve at some times to its slope there, by cubic splines [1/s]."""
    return CubicSpline(t, np.eye(len(t)))(t, 1)


class _Series(NamedTuple):
    """Signals of some voxels, and what is known of them."""

    magnitude: Float[np.ndarray, "rows n"]
    baseline: slice
    flip: Float[np.ndarray, "rows 1"]  # [rad]
    rate: Float[np.ndarray, "rows 1"]  # R1 before the agent [1/s]
    tr: float
    r1: float

    def concentration(
        self, growth: np.ndarray | None, decay: float, share: Callable[[np.ndarray], np.ndarray] | None
    ) -> Float[np.ndarray, "rows n"]:
        """With the slopes of the signal per TR, the decay until the echo per mM, and what spoiling leaves."""
        e10 = np.exp(-self.tr * self.rate)
        steady = (1 - e10) / (1 - e10 * np.cos(self.flip))
        relative = self.magnitude * steady / self.magnitude[:, self.baseline].mean(axis=1, keepdims=True)
        start = 1.0 if share is None else share(np.zeros((len(relative), 1)))

        def solve(guess: np.ndarray) -> np.ndarray:
            decayed = relative * np.exp(decay * np.where(np.isfinite(guess), guess, 0.0))
            half = 0.0 if growth is None else decayed @ growth.T / 2
            left = 1.0 if share is None else share(guess) / start
            return self._invert(decayed / left, half / left)

        return _settle(solve, np.zeros_like(relative), decay > 0 or share is not None)

    def _invert(self, magnetisation: np.ndarray, half: np.ndarray | float) -> np.ndarray:
        """Concentration from the longitudinal magnetisation before a pulse, and half of what it grows by in a TR."""
        e1 = (1 - magnetisation - half) / (1 - (magnetisation - half) * np.cos(self.flip))
        found = (-np.log(e1) / self.tr - self.rate) / self.r1
        return np.where(magnetisation < 1, found, np.nan)  # 1 is the whole magnetisation


def _settle(solve: Callable[[np.ndarray], np.ndarray], start: np.ndarray, again: bool) -> np.ndarray:
    """Solve once, or again and again until nothing changes; nan where it does not settle."""
    found = solve(start)
    if not again:
        return found
    for _ in range(ROUNDS):
        last, found = found, solve(found)
        change = np.abs(found - last)
        if not np.nanmax(change, initial=0.0) > SETTLED:
            return found
    return np.where(change <= UNSETTLED, found, np.nan)


class _Shares(NamedTuple):
    """Signal of real spoiling over that of ideal spoiling, along the T1 and T2 that the agent makes of a voxel's."""

    coefficients: Float[np.ndarray, "voxels 1 points"]  # over ln R1
    rate: Float[np.ndarray, "voxels 1"]  # R1 before the agent [1/s]
    r1: float

    @classmethod
    def of(cls, spoiling: Spoiling, flip: np.ndarray, tr: float, rate: np.ndarray, r1: float, r2: float) -> _Shares:
        nominal = float(np.nanmedian(flip)) if np.isfinite(flip).any() else 1.0
        fields = (flip / nominal)[:, 0]
        low, high = _ends(rate)
        rates = np.exp(low + (high - low) * (0.5 + 0.5 * chebyshev_points(-1.0, 1.0, PATH)))
        before = np.broadcast_to(np.asarray(spoiling.t2, dtype=float).reshape(-1, 1), flip.shape)
        echo = 1 / (1 / np.where(before > 0, before, np.nan) + r2 * (rates - rate) / r1)
        shares = SpoilingTable.of(nominal, tr, fields, spoiling).at(fields, 1 / rates, echo)
        return cls(chebyshev_coefficients(shares), rate, r1)

    def of_rows(self, rows: slice) -> Callable[[np.ndarray], np.ndarray]:
        coefficients, before = self.coefficients[rows], self.rate[rows]
        low, high = _ends(before)

        def share(concentration: np.ndarray) -> np.ndarray:
            known = np.where(np.isfinite(concentration), concentration, np.inf)  # too bright: as with much agent
            rates = np.maximum(before + self.r1 * known, np.exp(low))
            return np.asarray(chebyshev_sum(coefficients, place_between(low, high, np.log(rates))))

        return share


def _ends(rate: np.ndarray) -> tuple[np.ndarray, float]:
    """From somewhat below the rate before the agent to the table's end [ln 1/s]."""
    return np.log(rate) - BELOW, -T1_RANGE[0]


def _check(
    signal: np.ndarray,
    angle: np.ndarray,
    before: np.ndarray,
    positive: dict[str, float],
    not_negative: dict[str, float],
    baseline: slice,
    t: np.ndarray | None,
    spoiling: Spoiling | None,
) -> None:
    problems = [
        Problem(f"must be above zero, but is {value:g}", path=name)
        for name, value in positive.items()
        if not (np.isfinite(value) and value > 0)
    ]
    problems += [
        Problem(f"must be zero or positive, but is {value:g}", path=name)
        for name, value in not_negative.items()
        if not (np.isfinite(value) and value >= 0)
    ]
    if signal.ndim == 0 or not signal[..., baseline].shape[-1]:
        count = signal.shape[-1] if signal.ndim else 1
        rule = f"must name at least one of the {count} times, but {baseline.start} .. {baseline.stop} names none"
        problems.append(Problem(rule, "Take images before the agent arrives", "baseline"))
    for name, values in (("flip", angle), ("t10", before)):
        if values.shape not in ((), signal.shape[:-1]):
            rule = f"must be one value or have shape {signal.shape[:-1]}, but has {values.shape}"
            problems.append(Problem(rule, path=name))
    problems += [] if t is None else check_axis("t", t, "signal", signal.shape)
    problems += spoiling_problems(spoiling, signal.shape[:-1])
    if spoiling is not None and (angle >= STEEPEST).all():
        rule = f"must lie below 90 deg where spoiling is real, but is {np.degrees(angle.max()):g} deg"
        problems.append(Problem(rule, path="flip"))
    if (before < 0).any():
        rule = f"must be above zero, or nan where it is not known, but is {before[before < 0].flat[0]:g} s"
        problems.append(Problem(rule, "Check the map of T1", "t10"))
    if problems:
        raise ConsistencyError(problems)
