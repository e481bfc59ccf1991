"""Concentration curves of tissue from kinetic models, and what curves must be like."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import partial

import jax
import numpy as np
from numpy.typing import ArrayLike

from mrisim._types import Array, Float
from mrisim.errors import ConsistencyError, Problem
from mrisim.mapping.least_squares import double_precision
from mrisim.physics.pharmacokinetics import MODELS, respond

BELOW = 0.1  # of its peak; noise takes an input function below zero, but hardly so far


def tissue_concentration(
    model: str,
    t: ArrayLike,
    ca: ArrayLike,
    *,
    ta: ArrayLike | None = None,
    delay: ArrayLike = 0.0,
    **parameters: ArrayLike,
) -> Float[np.ndarray, "*shape n"]:
    """Concentration in tissue over time; exact for an input that is linear between its points.

    Args:
        model: "tofts", "extended_tofts", "patlak", "2cxm", "2cum" or "aath".
        t: n times of the result [s].
        ca: Concentration in arterial plasma [mM]; zero before its first time.
        ta: Times of `ca` [s]; `t` where not given.
        delay: From artery to tissue, (...) [s].
        **parameters: Of the model, each (...): ktrans, fp, ps [1/s], ve, vp [1].

    Returns:
        (..., n) [mM].

    Raises:
        ConsistencyError: unknown model, missing or negative parameters, no space where agent goes, time axes that do
            not match, an input that ends before the result.

    Example:
        >>> t = np.arange(0.0, 300.0, 2.0)
        >>> ca = np.where(t > 10, 1.0, 0.0)
        >>> c = tissue_concentration("tofts", t, ca, ktrans=0.25 / 60, ve=0.3)
        >>> c.shape, round(float(c[-1]), 3)
        ((150,), 0.294)
    """
    times, values, knots = as_curves(t, ca, ta)
    columns, problems = _parameters(model, {**parameters})
    shift = np.asarray(delay, dtype=float)
    problems += check_curves(times, values, knots, earliest=float(shift.min(initial=0.0)))
    if problems:
        raise ConsistencyError(problems)
    shape = np.broadcast_shapes(shift.shape, *(column.shape for column in columns))
    table = [np.broadcast_to(column, shape).ravel() for column in (*columns, shift)]
    with double_precision():
        found = _curves(model, times, values, knots, np.stack(table, axis=1))
    return np.asarray(found).reshape(*shape, len(times))


@partial(jax.jit, static_argnums=0)
def _curves(model: str, t: Array, ca: Array, ta: Array, rows: Float[Array, "rows parameters"]) -> Array:
    kinetics = MODELS[model]
    return jax.vmap(lambda row: respond(kinetics.response(*row[:-1]), ta, ca, t - row[-1]))(rows)


def require_model(model: str) -> list[Problem]:
    """What is wrong with the name of a model."""
    if model in MODELS:
        return []
    close = difflib.get_close_matches(str(model), MODELS, n=1)
    hint = f" (did you mean '{close[0]}'?)" if close else ""
    return [Problem(f"must be one of {', '.join(MODELS)}, but is '{model}'{hint}", path="model")]


def _parameters(model: str, given: dict[str, ArrayLike]) -> tuple[list[np.ndarray], list[Problem]]:
    problems = require_model(model)
    if problems:
        return [], problems
    names = MODELS[model].parameters
    if set(given) != set(names):
        rule = f"must be {', '.join(names)} for {model}, but are {', '.join(given) or 'none'}"
        return [], [Problem(rule, path="parameters")]
    columns = [np.asarray(given[name], dtype=float) for name in names]
    for name, column in zip(names, columns, strict=True):
        if not (column >= 0).all():
            problems.append(Problem("must be zero or positive, but holds nan or a negative value", path=name))
    try:
        np.broadcast_shapes(*(column.shape for column in columns))
    except ValueError:
        shapes = ", ".join(f"{name} {column.shape}" for name, column in zip(names, columns, strict=True))
        return columns, [*problems, Problem(f"must have shapes that fit together, but are {shapes}", path="parameters")]
    if "ve" in names and not problems:
        problems += _check_space(dict(zip(names, columns, strict=True)))
    return columns, problems


def _check_space(given: dict[str, np.ndarray]) -> list[Problem]:
    """What is wrong with an extravascular space that agent goes into."""
    name = "ktrans" if "ktrans" in given else "ps"
    if not np.any((given["ve"] == 0) & (given[name] > 0)):
        return []
    remedy = f"Set {name} to 0 where agent stays in the plasma"
    return [Problem(f"must be above zero where {name} is, but holds 0", remedy, "ve")]


def as_curves(t: ArrayLike, ca: ArrayLike, ta: ArrayLike | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, input and times of the input, as float64."""
    times = np.asarray(t, dtype=float)
    return times, np.asarray(ca, dtype=float), times if ta is None else np.asarray(ta, dtype=float)


def check_axis(path: str, times: np.ndarray, of: str, shape: Sequence[int]) -> list[Problem]:
    """What is wrong with a time axis, and with the number of values along it."""
    if times.ndim != 1 or len(times) < 2:
        return [Problem(f"must be one axis of at least two times, but has shape {times.shape}", path=path)]
    problems = []
    if not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
        problems.append(Problem("must increase from each time to the next, but does not", path=path))
    if not shape or shape[-1] != len(times):
        rule = f"must have one value for each of the {len(times)} times, but has shape {tuple(shape)}"
        problems.append(Problem(rule, path=of))
    return problems


def check_curves(t: np.ndarray, ca: np.ndarray, ta: np.ndarray, earliest: float = 0.0) -> list[Problem]:
    """What is wrong with an input function for results at some times; `earliest` is the least delay [s]."""
    problems = check_axis("t", t, "t", t.shape)
    if ca.ndim != 1:
        return [*problems, Problem(f"must be one curve, but has shape {ca.shape}", path="ca")]
    name = "t" if ta is t else "ta"
    wrong = check_axis(name, ta, "ca", ca.shape)
    problems += [problem for problem in wrong if problem not in problems]
    if problems:
        return problems
    if not np.isfinite(ca).all():
        return [Problem("must be finite, but holds nan or infinity", path="ca")]
    slack = 1e-9 * (ta[-1] - ta[0])
    end = t[-1] - earliest
    if end > ta[-1] + slack:
        rule = f"must reach to {end:g} s, the end of the tissue curve less its delay, but ends at {ta[-1]:g} s"
        problems.append(Problem(rule, "Take a longer input function, or leave later points of the tissue out", "ca"))
    if ca[0] != 0 and ta[0] > t[0] + slack:
        rule = f"must start with the tissue curve at {t[0]:g} s, but starts at {ta[0]:g} s with contrast agent"
        problems.append(Problem(rule, "Take an input function with a baseline", "ca"))
    if ca.max() <= 0 or ca.min() < -BELOW * ca.max():
        rule = f"must be concentrations, from zero up, but goes from {ca.min():g} to {ca.max():g} mM"
        problems.append(Problem(rule, "Check the baseline of the input function", "ca"))
    return problems
