"""Polynomials through the values of a smooth function at Chebyshev's points.

Source:
    Trefethen, Approximation Theory and Approximation Practice (2013); Berrut and Trefethen, SIAM Review 46:501 (2004)
    for the barycentric formula.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mrisim._types import Array, Float, Int

_GROWTH = 2.0  # at most, from one attempt to the next
_WORTH = 2  # points for each node, below which each point is computed by itself
_BLOCK = 1024  # points interpolated at once


def chebyshev_points(low: float, high: float, count: int) -> Float[np.ndarray, " count"]:
    """Chebyshev's points of a range.

    Example:
        >>> chebyshev_points(-1.0, 1.0, 2).round(3).tolist()
        [0.707, -0.707]
    """
    return 0.5 * (low + high) + 0.5 * (high - low) * np.cos(np.pi * (np.arange(count) + 0.5) / count)


def chebyshev_weights(
    points: Float[np.ndarray, " count"], wanted: Float[np.ndarray, " wanted"]
) -> Float[np.ndarray, "wanted count"]:
    """Weights of the values at Chebyshev's points in the polynomial through them.

    Example:
        >>> at = chebyshev_points(0.0, 2.0, 12)
        >>> bool(abs(chebyshev_weights(at, np.array([0.3])) @ np.exp(at) - np.exp(0.3)) < 1e-10)
        True
    """
    n = len(points)
    away = wanted[:, None] - points
    same = (away == 0).any(axis=1, keepdims=True)
    weight = (-1.0) ** np.arange(n) * np.sin(np.pi * (np.arange(n) + 0.5) / n)
    parts = np.where(same, away == 0, weight / np.where(away == 0, 1.0, away))
    return parts / parts.sum(axis=1, keepdims=True)


def interpolated(
    function: Callable[[Float[np.ndarray, "nodes axes"]], np.ndarray],
    points: Float[np.ndarray, "points axes"],
    tolerance: float,
    first: Sequence[int],
) -> np.ndarray:
    """Values of a smooth function at many points, from its values at as few nodes as the tolerance allows.

    Nodes grow along each axis until the last coefficients of the polynomial have vanished. Few points, and those of a
    function that needs many nodes, are computed by themselves.

    Args:
        function: Values (nodes, n) at places (nodes, axes), anywhere within the range of the points.
        points: Wanted, within a box of which the function is smooth.
        tolerance: Largest error of a value; what is below the function's own rounding is not reached.
        first: Nodes along each axis at first.

    Returns:
        Values (points, n).

    Example:
        >>> at = np.random.default_rng(1).uniform(1.0, 2.0, (2000, 2))
        >>> def decay(place):
        ...     return np.exp(-place[:, :1] * np.arange(3) - place[:, 1:])
        >>> bool(np.abs(interpolated(decay, at, 1e-10, (8, 8)) - decay(at)).max() < 1e-10)
        True
    """
    low, high = points.min(axis=0), points.max(axis=0)
    counts = np.where(high > low, first, 1)
    while _WORTH * np.prod(counts) < len(points):
        axes = [chebyshev_points(*ends) for ends in zip(low, high, counts, strict=True)]
        nodes = np.stack([grid.ravel() for grid in np.meshgrid(*axes, indexing="ij")], axis=1)
        values = function(nodes)
        wanted = _wanted(values.reshape(*counts, -1), tolerance / len(counts))
        if (wanted <= counts).all():
            return _between(axes, values, points)
        counts = np.maximum(wanted, counts)
    return function(points)


def _wanted(values: np.ndarray, tolerance: float) -> Int[np.ndarray, " axes"]:
    """Nodes along each axis with which the last coefficients vanish, as the decay up to here promises."""
    size = float(np.abs(values).max(initial=0.0))
    counts = np.array(values.shape[:-1])
    for axis, n in enumerate(counts):
        tail = _tail(values, axis) if n > 1 and size > 0 else 0.0
        if tail > tolerance:
            more = np.log(tolerance / size) / np.log(min(tail / size, 0.5))
            counts[axis] = np.ceil(n * np.clip(more, (n + 1) / n, _GROWTH))
    return counts


def _tail(values: np.ndarray, axis: int) -> float:
    """Largest of the last two coefficients along an axis, together."""
    last = chebyshev_coefficients(np.moveaxis(values, axis, -1))[..., -2:]
    return float(np.abs(last).sum(axis=-1).max())


def _between(
    axes: list[Float[np.ndarray, " count"]], values: np.ndarray, points: Float[np.ndarray, "points axes"]
) -> np.ndarray:
    kind = np.real(values).dtype
    found, columns = np.empty((len(points), values.shape[1]), values.dtype), np.ascontiguousarray(values).view(kind)
    for begin in range(0, len(points), _BLOCK):
        some = points[begin : begin + _BLOCK]
        weights = np.ones((len(some), 1), kind)
        for axis, nodes in enumerate(axes):
            along = chebyshev_weights(nodes, some[:, axis]).astype(kind)
            weights = (weights[:, :, None] * along[:, None]).reshape(len(some), -1)
        np.matmul(weights, columns, out=found[begin : begin + len(some)].view(kind))
    return found


def chebyshev_coefficients(values: Float[np.ndarray, "*rows count"]) -> Float[np.ndarray, "*rows count"]:
    """Coefficients of the polynomial through values at Chebyshev's points, which lie along the last axis.

    Example:
        >>> chebyshev_coefficients(chebyshev_points(-1.0, 1.0, 3) ** 2).round(3).tolist()
        [0.5, 0.0, 0.5]
    """
    n = values.shape[-1]
    order = np.arange(n)
    table = np.cos(np.pi * np.outer(order + 0.5, order) / n) * np.where(order == 0, 1.0, 2.0) / n
    return values @ table


def chebyshev_sum(coefficients: Array, place: Array) -> Array:
    """Sum of Chebyshev's polynomials along the last axis of the coefficients, by Clenshaw's recurrence; NumPy or JAX.

    Args:
        coefficients: (..., count).
        place: From -1 to 1 along the range; broadcasts with (...).

    Example:
        >>> chebyshev_sum(np.array([0.5, 0.0, 0.5]), np.array([0.0, 0.5]))
        array([0.  , 0.25])
    """
    ahead, after = 0.0, 0.0
    for k in range(coefficients.shape[-1] - 1, 0, -1):
        ahead, after = coefficients[..., k] + 2 * place * ahead - after, ahead
    return coefficients[..., 0] + place * ahead - after


def place_between(low: float, high: float, value: Array) -> Array:
    """Place of a value within a range, from -1 to 1; beyond, its end.

    Example:
        >>> place_between(2.0, 4.0, np.array([2.5, 3.0, 9.0])).tolist()
        [-0.5, 0.0, 1.0]
    """
    return ((2 * value - low - high) / (high - low)).clip(-1.0, 1.0)
