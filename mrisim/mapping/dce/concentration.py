"""Concentration of contrast agent from the signal of spoiled gradient echoes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline

from mrisim._types import Float
from mrisim.errors import ConsistencyError, Problem
from mrisim.mapping.dce.curves import check_axis

ROUNDS = 40  # of the correction for T2*, which settles to rounding in about ten where TE is a few milliseconds
SETTLED = 1e-13  # change of a round below which it has [mM]


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
) -> Float[np.ndarray, "*shape n"]:
    """Concentration over time, by exact inversion of the ideally spoiled gradient echo.

    The signal relative to its baseline gives R1 without knowledge of the equilibrium magnetisation, given T1 before the
    agent; fast exchange of water makes R1 = 1/t10 + r1 C. Magnetisation follows R1 after some TR / (1 - E1 cos(flip))
    only, 70 ms at 30° and a TR of 10 ms: given `t`, the times of the images, this lag is undone too, with the slope of
    the signal by cubic splines. With `te` and `r2_star` the decay exp(-TE r2* C) is undone. Concentrations may come out
    slightly negative by noise.

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

    Returns:
        (..., n) [mM]; nan where no concentration makes the signal, the baseline is zero, or T1 is unknown.

    Raises:
        ConsistencyError: an empty baseline, times or relaxivities that are not above zero, a negative T1, times
            that do not increase, shapes that do not fit.

    Source:
        Schabel and Parker, Phys Med Biol 53:2345 (2008), for the steady state; off it, from one pulse to
        the next, m(t + TR) = m(t) E1 cos(flip) + 1 - E1 for the longitudinal magnetisation.

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
    _check(magnitude, angle, before, {"tr": tr, "r1": r1}, {"te": te, "r2_star": r2_star}, baseline, times)
    angle, before = angle[..., None], before[..., None]
    growth = None if times is None else tr * _slopes(times)
    with np.errstate(all="ignore"):
        e10 = np.exp(-tr / np.where(before > 0, before, np.nan))
        steady = (1 - e10) / (1 - e10 * np.cos(angle))
        relative = magnitude * steady / magnitude[..., baseline].mean(axis=-1, keepdims=True)
        found = _invert(relative, growth, angle, tr, before, r1)
        for _ in range(ROUNDS if te * r2_star > 0 else 0):
            last, found = found, _invert(relative * np.exp(te * r2_star * found), growth, angle, tr, before, r1)
            if not np.nanmax(np.abs(found - last), initial=0.0) > SETTLED:
                break
    return np.where(np.isfinite(found), found, np.nan)


def _slopes(t: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n n"]:
    """Matrix from a curve at some times to its slope there, by cubic splines [1/s]."""
    return CubicSpline(t, np.eye(len(t)))(t, 1)


def _invert(
    relative: np.ndarray, growth: np.ndarray | None, angle: np.ndarray, tr: float, before: np.ndarray, r1: float
) -> np.ndarray:
    """Concentration from the longitudinal magnetisation before a pulse, and what it grows by in a TR about it."""
    half = 0.0 if growth is None else relative @ growth.T / 2
    e1 = (1 - relative - half) / (1 - (relative - half) * np.cos(angle))
    return np.where(relative < 1, (-np.log(e1) / tr - 1 / before) / r1, np.nan)  # 1 is the whole magnetisation


def _check(
    signal: np.ndarray,
    angle: np.ndarray,
    before: np.ndarray,
    positive: dict[str, float],
    not_negative: dict[str, float],
    baseline: slice,
    t: np.ndarray | None,
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
    if (before < 0).any():
        rule = f"must be above zero, or nan where it is not known, but is {before[before < 0].flat[0]:g} s"
        problems.append(Problem(rule, "Check the map of T1", "t10"))
    if problems:
        raise ConsistencyError(problems)
