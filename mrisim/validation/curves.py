"""The closed form between the points of an expectation, for the picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from mrisim.errors import SpecError
from mrisim.sequence.expect import PROPERTIES, Expectation, PointScope
from mrisim.sequence.values import MAX_LOOPS, ONES, Quantity
from mrisim.units import Dimension
from mrisim.validation.records import Curve, Point

FINE = 121
"""Places of a curve."""
MOST = 6
"""Curves of a picture."""

Values = Mapping[str, tuple[float, Dimension]]


def swept_name(points: Iterable[Point]) -> str:
    """Name of most different values, the abscissa; empty where nothing varies."""
    seen: dict[str, set[float]] = {}
    for point in points:
        for name, (value, _) in point.values.items():
            seen.setdefault(name, set()).add(value)
    varied = {name: len(values) for name, values in seen.items() if len(values) > 1}
    return max(varied, key=lambda name: varied[name], default="")


def others(point: Point, swept: str) -> Values:
    """Values of a point but the one that is swept."""
    return {name: value for name, value in point.values.items() if name != swept}


def curve_key(values: Values) -> tuple[tuple[str, float], ...]:
    """What tells curves apart."""
    return tuple((name, value) for name, (value, _) in values.items())


def curves_of(expectation: Expectation, points: list[Point], swept: str, scopes: list[PointScope]) -> tuple[Curve, ...]:
    """Closed form along the swept value, for a few combinations of the others."""
    if not swept:
        return ()
    groups: dict[tuple[tuple[str, float], ...], list[Point]] = {}
    for point in points:
        groups.setdefault(curve_key(others(point, swept)), []).append(point)
    shown = np.unique(np.linspace(0, len(groups) - 1, min(MOST, len(groups))).astype(int))
    chosen = [list(groups.values())[index] for index in shown]
    return tuple(_curve(expectation, group, swept, scopes[0]) for group in chosen)


def _curve(expectation: Expectation, group: list[Point], swept: str, scope: PointScope) -> Curve:
    """Fine where the closed form can be calculated between the points, else the points themselves."""
    x = np.array([point.values[swept][0] for point in group])
    dimension = group[0].values[swept][1]
    fixed = others(group[0], swept)
    fine = np.linspace(x.min(), x.max(), FINE)
    try:
        y = _evaluated(expectation, {**scope.values}, fixed, swept, fine, dimension)
    except SpecError:  # a swept number that must be whole
        fine, y = x, np.array([point.expected for point in group])
    return Curve(values=fixed, x=fine, y=y)


def _evaluated(
    expectation: Expectation, values: dict[str, Quantity], fixed: Values, swept: str, x: np.ndarray, unit: Dimension
) -> np.ndarray:
    column = (-1, *(1,) * (MAX_LOOPS - 1))
    for name in PROPERTIES:
        values[name] = Quantity(values[name].values[:1], values[name].dimension)  # what is no value of a point is one
    for name, (value, dimension) in fixed.items():
        values[name] = Quantity.of_points(np.full(ONES, value), dimension)
    values[swept] = Quantity.of_points(x.reshape(column), unit)
    if "T2star" not in fixed and swept != "T2star":
        values["T2star"] = values["T2"]
    result = expectation.equals.evaluate(PointScope(values))
    assert isinstance(result, Quantity)
    return np.broadcast_to(result.si(), (len(x), *column[1:])).reshape(-1)
