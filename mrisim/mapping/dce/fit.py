"""Kinetic parameters from concentration curves, many voxels at once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from mrisim._types import Array, Float
from mrisim.errors import ConsistencyError, Problem
from mrisim.mapping.bounded import State, advance, minimize
from mrisim.mapping.dce.curves import as_curves, check_curves, require_model
from mrisim.mapping.dce.start import initial_values
from mrisim.mapping.least_squares import double_precision
from mrisim.mapping.separable import FitResult
from mrisim.physics.input_functions import MINUTE
from mrisim.physics.pharmacokinetics import MODELS, respond

Bounds = tuple[float, float]
BOUNDS: Mapping[str, Bounds] = {
    "ktrans": (0.0, 5.0 / MINUTE),
    "ve": (1e-3, 1.0),
    "vp": (0.0, 1.0),
    "fp": (1e-3 / MINUTE, 10.0 / MINUTE),
    "ps": (0.0, 5.0 / MINUTE),
    "delay": (0.0, 20.0),
}
"""Where fits look unless told otherwise [1/s], [1], [s]."""
EQUIDISTANT = 1e-12  # relative to the whole axis: rounding
FLOW_VP = 1e-4  # least vp of models with a flow, whose transit time vp / Fp must not vanish


def fit(
    model: str,
    t: ArrayLike,
    c: ArrayLike,
    ca: ArrayLike,
    *,
    ta: ArrayLike | None = None,
    fit_delay: bool = False,
    bounds: Mapping[str, Bounds] | None = None,
    noise: float | None = None,
) -> FitResult:
    """Fit a kinetic model to concentration curves, by least squares within bounds.

    The first values come from a table of rates with the amplitudes by linear least squares, so no voxel needs a guess;
    Levenberg–Marquardt steps in double precision follow. A voxel is given up, nan and False in `converged`, where it
    holds no finite or no positive curve (`empty`), where a parameter ends on a bound (`bounded`), because a bound is no
    measurement, and where its curve does not determine the parameters (`failed`). One bound is a measurement: zero, for
    vp, PS and Ktrans; the standard error of such a parameter is nan.

    Args:
        model: "tofts", "extended_tofts", "patlak", "2cxm", "2cum" or "aath".
        t: n times [s].
        c: (..., n) concentration in tissue [mM].
        ca: Concentration in arterial plasma [mM], not blood (see `plasma`).
        ta: Times of `ca` [s]; `t` where not given.
        fit_delay: Whether to fit the delay from artery to tissue too.
        bounds: Other than `BOUNDS`, by name [SI].
        noise: Standard deviation of c [mM], for the standard errors; from the residuals where not given.

    Returns:
        Maps (...) of the parameters: ktrans, fp, ps [1/s], ve, vp [1], delay [s].

    Raises:
        ConsistencyError: unknown model or bound, time axes that do not match, an input function that ends before the
            tissue curve, fewer points than parameters.

    Example:
        >>> from mrisim.mapping.dce import parker_aif, plasma, tissue_concentration
        >>> t = np.arange(0.0, 300.0, 5.0)
        >>> ca = plasma(parker_aif(t, delay=20.0), 0.42)
        >>> c = tissue_concentration("tofts", t, ca, ktrans=0.2 / 60, ve=0.3)
        >>> found = fit("tofts", t, c, ca)
        >>> round(float(found["ktrans"]) * 60, 6), round(float(found["ve"]), 6)
        (0.2, 0.3)
    """
    times, values, knots = as_curves(t, ca, ta)
    curves = np.asarray(c, dtype=float)
    limits = _check(model, times, curves, values, knots, fit_delay, bounds or {})
    rows = curves.reshape(-1, len(times))
    usable = np.all(np.isfinite(rows), axis=1)
    positive = usable & (np.sum(np.where(usable[:, None], rows, 0.0), axis=1) > 0)
    with double_precision():
        state = _solve(model, times, rows[positive], values, knots, fit_delay, limits)
    return _result(model, curves.shape, state, positive, usable, limits, noise, len(times))


def _check(
    model: str,
    t: np.ndarray,
    c: np.ndarray,
    ca: np.ndarray,
    ta: np.ndarray,
    fit_delay: bool,
    given: Mapping[str, Bounds],
) -> dict[str, Bounds]:
    """Bounds of the parameters that are fitted, after everything has been checked."""
    problems = require_model(model)
    if problems:
        raise ConsistencyError(problems)
    names = (*MODELS[model].parameters, *(("delay",) if fit_delay else ()))
    limits = {name: BOUNDS[name] for name in names}
    if "fp" in limits:
        limits["vp"] = (FLOW_VP, 1.0)
    for name, pair in given.items():
        problems += _check_bound(name, pair, names)
        limits[name] = pair
    if not problems:
        problems += check_curves(t, ca, ta, earliest=limits["delay"][0] if fit_delay else 0.0)
    if t.ndim == 1 and c.shape[-1:] != t.shape:
        rule = f"must have one value for each of the {len(t)} times along its last axis, but has shape {c.shape}"
        problems.append(Problem(rule, "Move the axis of time to the end", "c"))
    if t.ndim == 1 and len(t) < len(names):
        problems.append(Problem(f"must be at least {len(names)} for {model}, but are {len(t)}", path="t"))
    if problems:
        raise ConsistencyError(problems)
    return limits


def _check_bound(name: str, pair: Bounds, names: tuple[str, ...]) -> list[Problem]:
    path = f"bounds.{name}"
    if name not in names:
        return [Problem(f"must be one of {', '.join(names)}, but is '{name}'", path=path)]
    low, high = (float(value) for value in pair)
    if not (np.isfinite([low, high]).all() and low < high and (low >= 0 or name == "delay")):
        rule = f"must be two increasing numbers{'' if name == 'delay' else ' from zero up'}, but is {low:g} .. {high:g}"
        return [Problem(rule, path=path)]
    return []


def _solve(
    model: str,
    t: np.ndarray,
    c: np.ndarray,
    ca: np.ndarray,
    ta: np.ndarray,
    fit_delay: bool,
    limits: Mapping[str, Bounds],
) -> State:
    lower, upper = (np.array([pair[i] for pair in limits.values()]) for i in range(2))
    inside = 1e-6 * (upper - lower)  # first values off the bounds, where all derivatives live
    delays = limits.get("delay", (0.0, 0.0))
    start = initial_values(model, c, t, ca, ta, delays)[:, : len(lower)]
    start = np.clip(np.nan_to_num(start, nan=0.0), lower + inside, upper - inside)
    shared = not fit_delay and len(t) == len(ta) and bool((t == ta).all())
    uniform = bool(np.ptp(np.diff(ta)) <= EQUIDISTANT * (ta[-1] - ta[0]))
    curve = tuple(jnp.asarray(values) for values in (t, ca, ta, lower, upper))
    return minimize(lambda y, state: _steps((model, fit_delay, shared, uniform), y, state, *curve), (c,), start)


@partial(jax.jit, static_argnums=0)
def _steps(
    kind: tuple[str, bool, bool, bool],
    c: Array,
    state: State,
    t: Array,
    ca: Array,
    ta: Array,
    lower: Array,
    upper: Array,
) -> State:
    model, fit_delay, shared, uniform = kind
    kinetics = MODELS[model]

    def curve(p: Array) -> Float[Array, " n"]:
        if fit_delay:
            return respond(kinetics.response(*p[:-1]), ta, ca, t - p[-1], uniform=uniform)
        return respond(kinetics.response(*p), ta, ca, None if shared else t, lagged=kinetics.lagged, uniform=uniform)

    return jax.vmap(lambda y, one: advance(lambda p: curve(p) - y, one, lower, upper))(c, state)


def _result(
    model: str,
    shape: tuple[int, ...],
    state: State,
    positive: np.ndarray,
    usable: np.ndarray,
    limits: Mapping[str, Bounds],
    noise: float | None,
    n: int,
) -> FitResult:
    lower, upper = (np.array([pair[i] for pair in limits.values()]) for i in range(2))
    held = (state.parameters <= lower) | (state.parameters >= upper)
    zero = np.isin(list(limits), ("ktrans", "vp", "ps")) & (lower == 0)
    bounded = (held & ~(zero & (state.parameters <= lower))).any(axis=1)
    known = (np.isfinite(state.variance) | held).all(axis=1) & np.isfinite(state.cost)
    good = state.settled & known & ~bounded
    freedom = n - len(limits)
    if noise is not None:
        variance = np.full(len(state.cost), noise**2)
    else:
        variance = state.cost / freedom if freedom else np.full(len(state.cost), np.nan)
    rows = np.flatnonzero(positive)[good]

    def place(values: np.ndarray) -> np.ndarray:
        full = np.full(len(positive), np.nan)
        full[rows] = values[good]
        return full.reshape(shape[:-1])

    with np.errstate(invalid="ignore"):
        errors = np.sqrt(state.variance * variance[:, None])
    counts = {
        "fitted": len(rows),
        "empty": int((usable & ~positive).sum()),
        "bounded": int((bounded & known).sum()),
        "failed": int((~usable).sum() + (~good & ~(bounded & known)).sum()),
    }
    converged = np.zeros(len(positive), dtype=bool)
    converged[rows] = True
    return FitResult(
        maps={name: place(state.parameters[:, i]) for i, name in enumerate(limits)},
        standard_error={name: place(errors[:, i]) for i, name in enumerate(limits)},
        converged=converged.reshape(shape[:-1]),
        residual=place(np.sqrt(state.cost / n)),
        counts=counts,
    )
