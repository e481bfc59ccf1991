"""What a validation found: points, expectations, files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mrisim._types import Float
from mrisim.errors import Finding
from mrisim.units import NUMBER, Dimension, show


@dataclass(frozen=True, kw_only=True)
class Point:
    """One combination of the values of an expectation."""

    values: Mapping[str, tuple[float, Dimension]]  # of properties, parameters and names of the file's own, SI
    simulated: complex
    expected: complex
    allowed: float  # deviation, in the unit of the signal

    @property
    def deviation(self) -> float:
        """Magnitude of the difference."""
        return abs(self.simulated - self.expected)

    @property
    def relative(self) -> float:
        """Deviation by the magnitude of the closed form."""
        return self.deviation / abs(self.expected) if self.expected else float("inf") if self.deviation else 0.0

    @property
    def passed(self) -> bool:
        """Whether the deviation is allowed."""
        return self.deviation <= self.allowed

    def describe(self) -> str:
        """The values as a user would write them."""
        return ", ".join(f"{name} {show(value, dimension)}" for name, (value, dimension) in self.values.items())


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The closed form between the points, along the value that is swept."""

    values: Mapping[str, tuple[float, Dimension]]  # of all others
    x: Float[np.ndarray, " n"]  # SI
    y: Float[np.ndarray, " n"]  # complex


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """An expectation on one engine."""

    file: str
    sequence: str  # name that the file gives
    name: str
    engine: str
    equals: str
    signal: str
    tolerance: str
    dimension: Dimension = NUMBER  # of the signal
    points: tuple[Point, ...]
    swept: str = ""  # name on the abscissa; empty where nothing is
    curves: tuple[Curve, ...] = ()
    seconds: float = 0.0
    findings: tuple[Finding, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether all points are within the tolerance."""
        return all(point.passed for point in self.points)

    @property
    def worst(self) -> Point:
        """The point that lies farthest out, by what is allowed."""
        return max(self.points, key=lambda point: point.deviation / point.allowed if point.allowed else np.inf)


@dataclass(frozen=True, kw_only=True)
class Validation:
    """All expectations of some files."""

    outcomes: tuple[Outcome, ...]
    empty: tuple[str, ...] = ()  # files without an expectation that was asked for

    @property
    def passed(self) -> bool:
        """Whether every point of every expectation is within its tolerance."""
        return all(outcome.passed for outcome in self.outcomes)
