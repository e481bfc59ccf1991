"""What a fit is that a specification can name: its maps, its options, and what it needs of the images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mrisim._types import Bool, Float, Int
from mrisim.data import Image
from mrisim.errors import MrisimError, Problem
from mrisim.mapping.separable import FitResult
from mrisim.units import Dimension, parse, show

Rule = Callable[[Any], str]
"""What is wrong with the value of an option, as a rule; empty where nothing is."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """A map that a fit makes."""

    key: str  # in the result of the fit
    unit: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Given:
    """What a fit works on: the voxels of a series that are not background."""

    image: Image  # the series
    signal: np.ndarray  # (voxels, n), real or complex
    spec: Mapping[str, Any]
    maps: Mapping[str, Float[np.ndarray, " voxels"]]  # by option: values of other maps
    foreground: Bool[np.ndarray, "z y x"]

    def coordinate(self, name: str) -> np.ndarray:
        """Values of a coordinate of the contrasts."""
        return np.asarray(self.image.coordinates[name], dtype=float)

    def take(self, rows: Int[np.ndarray, " some"]) -> Given:
        """Some of the voxels, in ascending order."""
        foreground = np.zeros_like(self.foreground)
        foreground.ravel()[np.flatnonzero(self.foreground)[rows]] = True
        maps = {name: values[rows] for name, values in self.maps.items()}
        return replace(self, signal=self.signal[rows], maps=maps, foreground=foreground)


@dataclass(frozen=True, kw_only=True, eq=False)
class Method:
    """A fit that a specification can name."""

    run: Callable[[Given], FitResult]
    outputs: Mapping[str, Output]  # by name of the map
    setting: str  # coordinate that distinguishes the contrasts; each of them must have one
    fewest: int = 1  # different values of it
    constant: tuple[str, ...] = ()  # coordinates that must not change over the series
    options: Mapping[str, Rule] = field(default_factory=dict)  # beyond fit, from and threshold
    inputs: Mapping[str, str] = field(default_factory=dict)  # option → map of the same call that it must name
    check: Callable[[str, Mapping[str, Any], Image], list[Problem]] = lambda path, spec, image: []


def one_of(*words: str) -> Rule:
    """A rule: one of some words."""
    listed = f"{', '.join(words[:-1])} or {words[-1]}"
    return lambda value: "" if value in words else f"must be {listed}, but is '{value}'"


def true_or_false(value: Any) -> str:
    """A rule: a truth value."""
    return "" if isinstance(value, bool) else f"must be true or false, but is '{value}'"


def number(low: float = -np.inf, high: float = np.inf) -> Rule:
    """A rule: a number within bounds, which are allowed."""
    bounds = f" from {low:g} to {high:g}" if np.isfinite([low, high]).all() else ""

    def rule(value: Any) -> str:
        plain = isinstance(value, (int, float)) and not isinstance(value, bool)
        return "" if plain and low <= value <= high else f"must be a number{bounds}, but is '{value}'"

    return rule


def quantity(dimension: Dimension, low: float = -np.inf, high: float = np.inf) -> Rule:
    """A rule: a quantity with its unit, within bounds in SI, which are allowed."""

    def rule(value: Any) -> str:
        try:
            found = parse(value, dimension)
        except (MrisimError, AttributeError, TypeError) as error:
            return str(error).rstrip(".") if isinstance(error, MrisimError) else f"must be a quantity, but is '{value}'"
        bounds = f"from {show(low, dimension)} to {show(high, dimension)}"
        return "" if low <= found <= high else f"must be {bounds}, but is '{value}'"

    return rule
