"""Polynomials through the values of a smooth function at Chebyshev's points.

Source:
    Trefethen, Approximation Theory and Approximation Practice (2013); Berrut and Trefethen, SIAM Review 46:501 (2004)
    for the barycentric formula.
"""

from __future__ import annotations

import numpy as np

from mrisim._types import Float


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
