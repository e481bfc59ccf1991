"""Nonlinear least squares in JAX: a fixed number of Levenberg–Marquardt steps, for many small problems at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mrisim._types import Array, Bool, Float

if hasattr(jax, "enable_x64"):
    double_precision = partial(jax.enable_x64, True)
else:  # older JAX
    from jax import experimental

    double_precision = experimental.enable_x64  # pyright: ignore[reportAttributeAccessIssue]

GROW, SHRINK = 4.0, 0.1
DAMPING = 1e-3  # first damping, relative to the diagonal of JᵀJ
STEP_TOLERANCE = (
    1e-7  # of a step against its parameter: errors fall faster than linearly, so far below what a map shows
)


class Solution(NamedTuple):
    """Minimum of a sum of squares."""

    parameters: Float[Array, " p"]
    inverse: Float[Array, "p p"]  # (JᵀJ)⁻¹ at the minimum: the covariance for residuals of unit variance
    cost: Float[Array, ""]  # sum of squares
    converged: Bool[Array, ""]


def levenberg_marquardt(
    residual: Callable[[Float[Array, " p"]], Float[Array, " n"]], start: Float[Array, " p"], iterations: int = 40
) -> Solution:
    """Minimize a sum of squares from a start by a fixed number of damped Gauss–Newton steps.

    Pure and of fixed length, so it can be mapped over voxels and differentiated. A step that does not lower the cost is
    refused and the damping raised. Bounds are the caller's: transform the parameters.

    Args:
        residual: Model minus data as a function of the parameters, real.
        start: Initial parameters.
        iterations: Number of steps, refused ones included.

    Returns:
        The last accepted parameters; `converged` where a full step would move no parameter by more than
        `STEP_TOLERANCE` of its size (or of one, if that is more).

    Source:
        Marquardt, J Soc Ind Appl Math 11:431 (1963), with damping scaled by the diagonal.

    Example:
        >>> x = jnp.array([0.0, 1.0, 2.0])
        >>> fit = levenberg_marquardt(lambda p: p[0] * jnp.exp(-p[1] * x) - 3.0 * jnp.exp(-x), jnp.array([1.0, 0.5]))
        >>> bool(jnp.allclose(fit.parameters, jnp.array([3.0, 1.0]), atol=1e-5))
        True
    """

    def linearize(p):
        directions = jnp.eye(len(p), dtype=p.dtype)
        value, columns = jax.vmap(lambda direction: jax.jvp(residual, (p,), (direction,)), out_axes=(None, 0))(
            directions
        )
        return jnp.sum(value**2), *normal_equations(columns, value)

    def step(_, state):
        tried, best, damping = state
        new = (tried, *linearize(tried))
        better = new[1] <= best[1]
        best = jax.tree.map(lambda a, b: jnp.where(better, a, b), new, best)
        damping = jnp.clip(jnp.where(better, damping * SHRINK, damping * GROW), 1e-14, 1e14)
        return best[0] - solve_positive(_damped(best[3], damping), best[2]), best, damping

    zeros = jnp.zeros_like(start)
    unknown = (start, jnp.full((), jnp.inf, start.dtype), zeros, jnp.outer(zeros, zeros))
    first = (start, unknown, jnp.asarray(DAMPING, start.dtype))
    _, (p, cost, gradient, normal), _ = jax.lax.fori_loop(0, iterations + 1, step, first)
    inverse = jax.vmap(lambda column: solve_positive(normal, column))(jnp.eye(len(start), dtype=start.dtype))
    remaining = jnp.abs(jnp.sum(inverse * gradient, axis=1))
    settled = jnp.all(remaining <= STEP_TOLERANCE * jnp.maximum(jnp.abs(p), 1.0))
    finite = jnp.all(jnp.isfinite(p)) & jnp.isfinite(cost) & jnp.all(jnp.isfinite(inverse))
    return Solution(parameters=p, inverse=inverse, cost=cost, converged=settled & finite)


def normal_equations(
    columns: Float[Array, "q n"], right: Float[Array, " n"]
) -> tuple[Float[Array, " q"], Float[Array, "q q"]]:
    """Aᵀr and AᵀA of a matrix given by its columns; as sums, because tiny batched products do not vectorize."""
    return jnp.sum(columns * right, axis=1), jnp.sum(columns[:, None] * columns, axis=2)


def solve_positive(matrix: Float[Array, "p p"], right: Float[Array, " p"]) -> Float[Array, " p"]:
    """Solve a small positive definite system; written out, because batched LAPACK calls are slow for p of a few.

    A matrix that is not positive definite gives values that are not finite.
    """
    n = len(right)
    entry = [[matrix[i, j] for j in range(i + 1)] for i in range(n)]
    lower: list[list[Array]] = []
    forward: list[Array] = []
    for i in range(n):
        row: list[Array] = []
        for j in range(i):
            row.append((entry[i][j] - _dot(row, lower[j][:j])) / lower[j][j])
        row.append(jnp.sqrt(entry[i][i] - _dot(row, row)))
        lower.append(row)
        forward.append((right[i] - _dot(row[:i], forward)) / row[i])
    solution: list[Array] = []
    for i in reversed(range(n)):
        below = [lower[k][i] for k in reversed(range(i + 1, n))]
        solution.append((forward[i] - _dot(below, solution)) / lower[i][i])
    return jnp.stack(solution[::-1])


def _dot(left: list[Array], right: list[Array]) -> Array | float:
    return sum((a * b for a, b in zip(left, right, strict=True)), start=0.0)


def _damped(normal: Float[Array, "p p"], damping: Float[Array, ""]) -> Float[Array, "p p"]:
    diagonal = jnp.diag(normal)
    floor = jnp.max(diagonal) * jnp.finfo(normal.dtype).eps
    return normal + damping * jnp.diag(jnp.maximum(diagonal, floor))
