"""Nonlinear least squares within bounds, for many small problems at once, each run until it has settled."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mrisim._types import Array, Bool, Float
from mrisim.mapping.least_squares import (
    DAMPING,
    GROW,
    SHRINK,
    STEP_TOLERANCE,
    double_precision,
    normal_equations,
    solve_positive,
)

CHUNK = 512  # problems per call of the compiled steps; one size, so one compilation
STEPS = 6  # of a call; problems that have settled are left out of the next
CALLS = 24
FLOOR = 1e-3  # of the distance of the bounds; a parameter below it needs no more relative precision
Values = Any  # Array inside jit, np.ndarray outside


class State(NamedTuple):
    """Where the minimisation of each problem stands."""

    parameters: Values
    cost: Values  # sum of squares
    variance: Values  # of the parameters, for residuals of unit variance; nan for one on a bound
    damping: Values
    settled: Values


def start_state(parameters: Float[np.ndarray, "problems p"]) -> State:
    """State before the first step."""
    n = len(parameters)
    blank = np.full((n, parameters.shape[1]), np.nan)
    return State(parameters, np.full(n, np.inf), blank, np.full(n, DAMPING), np.zeros(n, dtype=bool))


def minimize(steps: Callable[..., State], data: tuple[np.ndarray, ...], start: np.ndarray) -> State:
    """Run compiled steps over chunks of problems until each has settled, or `CALLS` times.

    Args:
        steps: (*data of the chunk, state of the chunk) → state, compiled for `CHUNK` problems.
        data: Arrays with one row per problem.
        start: (problems, p) parameters within the bounds.

    Returns:
        Last state of each; `settled` is False where it ran out of steps.
    """
    state = start_state(start)
    rows = np.arange(len(start))
    for _ in range(CALLS if len(rows) else 0):
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            list(pool.map(partial(_run, steps, data, state), np.split(rows, range(CHUNK, len(rows), CHUNK))))
        rows = rows[~state.settled[rows]]
        if not len(rows):
            break
    return state


def _run(steps: Callable[..., State], data: tuple[np.ndarray, ...], state: State, part: np.ndarray) -> None:
    """Move a chunk's rows of the state."""
    filled = np.resize(part, CHUNK)  # repeats: one shape
    with double_precision():  # which holds for a thread
        moved = steps(*(values[filled] for values in data), State(*(values[filled] for values in state)))
    for old, new in zip(state, moved, strict=True):
        old[part] = np.asarray(new)[: len(part)]


def advance(
    residual: Callable[[Float[Array, " p"]], Float[Array, " n"]],
    state: State,
    lower: Float[Array, " p"],
    upper: Float[Array, " p"],
) -> State:
    """A few Levenberg–Marquardt steps of one problem, projected onto its bounds.

    A parameter on a bound that the gradient pushes outwards is held there and the others move; a step that does not
    lower the cost is refused and the damping raised. Settled: no free parameter would move by more than
    `STEP_TOLERANCE` of its size in an undamped step.

    Args:
        residual: Model minus data as a function of the parameters.
        state: Of this problem.
        lower, upper: Bounds.

    Source:
        Marquardt, J Soc Ind Appl Math 11:431 (1963); active sets as in Kelley, Iterative Methods for Optimization,
        SIAM (1999), section 5.4.
    """
    range_ = upper - lower
    identity = jnp.eye(len(lower), dtype=lower.dtype)

    def linearize(p: Array) -> tuple[Array, Array, Array]:
        value, columns = jax.vmap(lambda d: jax.jvp(residual, (p,), (d,)), out_axes=(None, 0))(identity * range_)
        gradient, normal = normal_equations(columns, value)  # in units of the distance of the bounds
        return jnp.sum(value**2), gradient, normal

    def step(_: Any, carry: tuple) -> tuple:
        tried, best, damping = carry
        new = (tried, *linearize(tried))
        better = new[1] <= best[1]
        best = jax.tree.map(lambda a, b: jnp.where(better, a, b), new, best)
        damping = jnp.clip(jnp.where(better, damping * SHRINK, damping * GROW), 1e-14, 1e14)
        p, _, gradient, normal = best
        gradient, normal, _ = _free(p, gradient, normal, lower, upper)
        diagonal = jnp.diag(normal)
        raised = normal + damping * jnp.diag(jnp.maximum(diagonal, jnp.max(diagonal) * jnp.finfo(p.dtype).eps))
        return jnp.clip(p - range_ * solve_positive(raised, gradient), lower, upper), best, damping

    p = state.parameters
    unknown = (p, jnp.full((), jnp.inf, p.dtype), jnp.zeros_like(p), jnp.outer(p, p) * 0)
    _, last, damping = jax.lax.fori_loop(0, STEPS + 1, step, (p, unknown, state.damping))
    p, cost, gradient, normal = last
    gradient, normal, held = _free(p, gradient, normal, lower, upper)
    remaining = range_ * jnp.abs(solve_positive(normal, gradient))
    settled = jnp.all(remaining <= STEP_TOLERANCE * jnp.maximum(jnp.abs(p), FLOOR * range_))
    inverse = jax.vmap(lambda column: solve_positive(normal, column))(identity)
    variance = jnp.where(held, jnp.nan, jnp.diag(inverse) * range_**2)
    hopeless = ~jnp.isfinite(cost) | (damping >= 1e14)
    return State(p, cost, variance, damping, settled | hopeless)


def _free(
    p: Array, gradient: Array, normal: Array, lower: Array, upper: Array
) -> tuple[Array, Array, Bool[Array, " p"]]:
    """The problem without the parameters that their bounds hold."""
    held = ((p <= lower) & (gradient > 0)) | ((p >= upper) & (gradient < 0))
    outer = held[:, None] | held[None]
    return jnp.where(held, 0.0, gradient), jnp.where(outer, jnp.diag(held.astype(p.dtype)), normal), held
