"""Values of expressions: arrays over loops with a dimension, lists of these, and orders of lines.

A value is an array over the loops of the timeline: axis d belongs to the loop at depth d, and a length of 1 means that
the value does not depend on it. A list carries its items on one more axis in front. Angles count in degrees, so that a
phase of 117 deg · n(n+1)/2 stays a whole number and its remainder exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mrisim.errors import SpecError
from mrisim.units import ANGLE, NUMBER, Dimension, show

MAX_LOOPS = 8
"""Deepest nest of loops; the number of axes of every value."""
MAX_LIST = 1_000_000
MAX_SIZE = 20_000_000
SNAP = 1e-9  # how near a number must be to a whole one to count as whole, relative above 1
ONES = (1,) * MAX_LOOPS
"""Shape of a value that depends on no loop."""
_DEGREE = math.pi / 180.0


@dataclass(frozen=True, eq=False)
class Quantity:
    """Values over the loops with one dimension; a list has its items on axis 0."""

    values: np.ndarray
    dimension: Dimension = NUMBER
    is_list: bool = False

    @staticmethod
    def of(value: object, dimension: Dimension = NUMBER) -> Quantity:
        """Quantity that does not depend on a loop, from a number in SI, true or false, or a sequence of them."""
        array = np.asarray(value)
        array = array if array.dtype == bool else array.astype(float)
        if array.dtype != bool:
            array = _snap_angle(array * from_si(dimension), dimension)
        return Quantity(array.reshape((*array.shape, *ONES)), dimension, array.ndim == 1)

    @staticmethod
    def of_points(values: np.ndarray, dimension: Dimension = NUMBER) -> Quantity:
        """Quantity of computed values over the loops, in SI."""
        return Quantity(values * from_si(dimension), dimension)

    @property
    def is_bool(self) -> bool:
        return self.values.dtype == bool

    @property
    def is_complex(self) -> bool:
        return self.values.dtype.kind == "c"

    @property
    def varies(self) -> bool:
        """Whether it depends on a loop."""
        return self.values.size > (len(self.values) if self.is_list else 1)

    def si(self) -> np.ndarray:
        """Values in SI, angles in rad."""
        return self.values if self.is_bool else self.values / from_si(self.dimension)

    def describe(self) -> str:
        """The first value as a user would write it."""
        if self.is_list:
            return f"a list of {len(self.values)}"
        first = self.values.flat[0]
        if self.is_bool:
            return "true" if first else "false"
        if self.is_complex:
            return f"{first:.6g}"
        return show(float(first) / from_si(self.dimension), self.dimension)


@dataclass(frozen=True, eq=False)
class Table:
    """A function of whole numbers: what `echo_order` and `sphere` give."""

    values: np.ndarray  # (shots, echoes), or (n, 3)
    vectors: bool = False  # whether the last axis holds the items of a list


Value = Quantity | Table


def from_si(dimension: Dimension) -> float:
    """Factor from SI to the unit that values are kept in: degrees for angles."""
    return _DEGREE ** float(-dimension.rad)


def _snap_angle(values: np.ndarray, dimension: Dimension) -> np.ndarray:
    """Angles given in rad come out as the degrees that were meant: 117.00000000000001 is 117."""
    if dimension != ANGLE:
        return values
    near = np.round(values, 9)
    return np.where(np.abs(values - near) <= 4e-16 * np.abs(values), near, values)


def check_room(shapes: list[tuple[int, ...]]) -> None:
    """Refuse values over more than `MAX_SIZE` points before they take memory.

    Raises:
        SpecError: too many points.
    """
    size = math.prod(np.broadcast_shapes(*shapes))
    if size > MAX_SIZE:
        raise SpecError(f"must have at most {MAX_SIZE} values over all loops, but has {size}")


def stack(items: list[Quantity]) -> Quantity:
    """List of quantities.

    Raises:
        SpecError: items of different dimensions, or lists in a list.
    """
    if not items:
        raise SpecError("must be a list of at least one item, but is empty")
    for one in items:
        if one.is_list:
            raise SpecError("must be a list of numbers, but holds a list")
        if one.dimension != items[0].dimension or one.is_bool != items[0].is_bool:
            raise SpecError(
                f"must be a list of one dimension, but holds {items[0].dimension.noun} and {one.dimension.noun}"
            )
    check_room([(len(items), *np.broadcast_shapes(*(i.values.shape for i in items)))])
    return Quantity(np.stack(np.broadcast_arrays(*(i.values for i in items))), items[0].dimension, True)


def item(values: Quantity, index: Quantity, text: str) -> Quantity:
    """Items of a list at indices that may vary over loops; negative ones count from the end."""
    n = len(values.values)
    whole = as_whole(index, text)
    if whole.min() < -n or whole.max() >= n:
        worst = whole.min() if whole.min() < -n else whole.max()
        raise SpecError(f"must have an index from 0 to {n - 1}, but '{text}' has {worst}")
    if whole.size == 1:
        return Quantity(values.values[int(whole.flat[0])], values.dimension)
    check_room([values.values.shape, whole.shape])
    shape = np.broadcast_shapes(values.values.shape[1:], whole.shape)
    spread = np.broadcast_to(values.values, (n, *shape))
    picked = np.take_along_axis(spread, np.broadcast_to(whole % n, shape)[None], axis=0)[0]
    return Quantity(picked, values.dimension)


def as_whole(value: Quantity, text: str) -> np.ndarray:
    """Whole numbers of a quantity.

    Raises:
        SpecError: a dimension, or a number that is not whole.
    """
    if value.dimension != NUMBER or value.is_bool or value.is_list:
        kind = "a list" if value.is_list else "true or false" if value.is_bool else value.dimension.noun
        raise SpecError(f"must be a whole number, but '{text}' is {kind}")
    near = np.round(value.values)
    off = np.abs(value.values - near) > SNAP * np.maximum(1.0, np.abs(near))
    if off.any():
        raise SpecError(f"must be whole, but {text} is {value.values[off].flat[0]:.6g}")
    if np.abs(near).max(initial=0.0) > 2**53:
        raise SpecError(f"must be below 2^53, but {text} is {np.abs(near).max():.6g}")
    return near.astype(np.int64)


def floor(values: np.ndarray) -> np.ndarray:
    """Floor that takes a number within rounding of a whole one as that one."""
    return np.floor(values + SNAP * np.maximum(1.0, np.abs(values)))


def ceil(values: np.ndarray) -> np.ndarray:
    """Ceiling that takes a number within rounding of a whole one as that one."""
    return np.ceil(values - SNAP * np.maximum(1.0, np.abs(values)))
