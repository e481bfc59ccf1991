"""Directions spread evenly over the sphere, as axes: a direction and its opposite count as one."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.optimize import minimize

from mrisim._types import Float

MOST = 512
_DIGITS = 6  # that the directions are rounded to, so that all computers give the same ones
_GOLDEN = np.pi * (3.0 - np.sqrt(5.0))


@lru_cache(maxsize=32)
def even_directions(n: int) -> Float[np.ndarray, "n 3"]:
    """Unit vectors that repel each other and each other's opposites, as equal charges on a sphere do.

    Up to three are the axes themselves. More start on a spiral over half the sphere and move until their energy is
    least. The order has no meaning.

    Args:
        n: Number of directions, 1 to `MOST`.

    Source:
        Jones, Horsfield and Simmons, Magn Reson Med 42:515 (1999); the spiral: Saff and Kuijlaars, Math Intelligencer
        19:5 (1997).

    Example:
        >>> even_directions(3).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    if n <= 3:
        return np.eye(3)[:n]
    z = 1.0 - (np.arange(n) + 0.5) / n  # upper half
    turn = _GOLDEN * np.arange(n)
    start = np.stack([np.sqrt(1 - z**2) * np.cos(turn), np.sqrt(1 - z**2) * np.sin(turn), z], axis=1)
    found = minimize(
        _energy, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 5000, "gtol": 1e-10, "ftol": 1e-16}
    )
    unit = _unit(_unit(found.x.reshape(n, 3)).round(_DIGITS))
    unit.flags.writeable = False
    return unit


def repulsion(directions: Float[np.ndarray, "n 3"]) -> float:
    """Energy of charges at directions and at their opposites: the sum of 1 / distance over pairs of directions.

    Example:
        >>> round(repulsion(np.eye(3)[:2]), 9)  # two distances of sqrt(2)
        1.414213562
    """
    return _energy(np.asarray(directions, dtype=float).ravel())[0]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _energy(flat: np.ndarray) -> tuple[float, np.ndarray]:
    """Energy and its gradient, over vectors of any length: only their direction counts."""
    vectors = flat.reshape(-1, 3)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / length
    cosine = np.clip(unit @ unit.T, -1.0, 1.0)
    np.fill_diagonal(cosine, 0.0)
    near, far = 1.0 / np.sqrt(2.0 - 2.0 * cosine), 1.0 / np.sqrt(2.0 + 2.0 * cosine)
    for table in (near, far):
        np.fill_diagonal(table, 0.0)
    slope = (near**3 - far**3) @ unit  # of the energy along each direction
    across = slope - np.sum(slope * unit, axis=1, keepdims=True) * unit
    return 0.5 * float(near.sum() + far.sum()), (across / length).ravel()
