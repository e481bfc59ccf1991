"""Equidistant points on one axis of k-space: their spacing, and their numbers on a grid that has k = 0 on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mrisim._types import Float, Int
from mrisim.errors import ConsistencyError, Problem
from mrisim.recon.placement import TOLERANCE


@dataclass(frozen=True, kw_only=True, eq=False)
class Axis:
    """A grid along one axis, k = 0 at number size // 2, and the place of each point on it."""

    index: Int[np.ndarray, " points"]
    size: int
    step: float  # between grid points [1/m]; 0 where all points are at one place
    offset: float = 0.0  # points minus grid points, in steps


def axis_of(
    k: Float[np.ndarray, " points"],
    near: float,
    name: str,
    label: ArrayLike | None = None,
    step: float | None = None,
    wrap: bool = True,
) -> Axis:
    """Grid that points lie on.

    The step is the smallest distance between two of them, or what one count of the label amounts to. The size is the
    smallest that holds all points with k = 0 at size // 2, where an even grid may lie one way or the other.

    Args:
        k: Coordinates [1/m].
        near: Distance below which points are one [1/m].
        name: Of the axis, for messages.
        label: A number for each point that may count them.
        step: Where it is known [1/m].
        wrap: Whether a point half a cycle per voxel above k = 0 goes to the other end of an even grid, which is the
            same to the voxels; else the grid is moved by a step.

    Raises:
        ConsistencyError: the points are not equidistant.

    Example:
        >>> axis = axis_of(np.array([-4.0, 0.0, -2.0, 2.0]), 0.01, "phase")
        >>> axis.index.tolist(), axis.size, axis.step
        ([0, 2, 1, 3], 4, 2.0)
    """
    if np.ptp(k) <= near:
        return Axis(index=np.zeros(len(k), dtype=int), size=1, step=0.0)
    spacing = step or _by_label(k, label, near) or _smallest(k, near)
    spacing = step or _refined(k, spacing)
    number, offset = _numbers(k / spacing)
    off = np.abs(k / spacing - offset - number)
    if off.max() > TOLERANCE:
        worst = k[np.argmax(off)]
        rule = (
            f"must be equidistant along {name}, but {worst:.6g} 1/m is {off.max():.3g} steps of {spacing:.6g} 1/m off"
        )
        raise ConsistencyError(Problem(rule, "Label lines that belong to no image NAV", path="k"))
    low, high = -int(number.min()), int(number.max())
    size = _size(low, high)
    if high == low + 1 and not wrap:
        number, offset = number - 1, offset + 1.0
    return Axis(index=(number + size // 2) % size, size=size, step=float(spacing), offset=offset)


def _by_label(k: np.ndarray, label: ArrayLike | None, near: float) -> float | None:
    """Step per count of a label, where k is a straight line over it."""
    if label is None or np.ptp(label) == 0:
        return None
    count = np.asarray(label, dtype=float)
    slope, start = np.polyfit(count, k, 1)
    straight = np.abs(k - start - slope * count).max() <= max(TOLERANCE * abs(slope), 1e-12)
    return abs(float(slope)) if straight and abs(slope) > near else None


def _smallest(k: np.ndarray, near: float) -> float:
    distances = np.diff(np.sort(k))
    return float(distances[distances > near].min())


def _refined(k: np.ndarray, step: float) -> float:
    """The step as the slope over all points, which takes the rounding of the first estimate away."""
    for reach in (8, 64, 512, np.inf):
        number = np.rint((k - k[np.argmin(np.abs(k))]) / step)
        inside = np.abs(number) <= reach
        if np.ptp(number[inside]) > 0:
            step = float(abs(np.polyfit(number[inside], k[inside], 1)[0]))
    return step


def _numbers(place: np.ndarray) -> tuple[Int[np.ndarray, " points"], float]:
    """Grid points and the common fraction of a step beside them, zero where that is rounding.

    Half a step is above or below, whichever needs the smaller grid.
    """
    fraction = float(np.angle(np.mean(np.exp(2j * np.pi * place)))) / (2 * np.pi)
    if abs(fraction) < 1e-4:
        fraction = 0.0
    number = np.rint(place - fraction).astype(int)
    if abs(fraction) > 0.5 - 1e-3:
        sign = 1 if fraction > 0 else -1
        other = number + sign
        if _size(-int(other.min()), int(other.max())) < _size(-int(number.min()), int(number.max())):
            return other, fraction - sign
    return number, fraction


def _size(low: int, high: int) -> int:
    """Smallest grid with number size // 2 at k = 0 that reaches `low` below it and `high` above it.

    One step more above than below is an even grid whose outermost point lies at the other end.
    """
    low, high = max(low, 0), max(high, 0)
    if low == high:
        return 2 * high + 1
    if high == low + 1:
        return 2 * high
    return 2 * low if low > high else 2 * (high + 1)
