"""Simulated points over a closed form, and their difference below."""

from __future__ import annotations

from collections.abc import Sequence as Several
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from mrisim.plot import _style as style
from mrisim.units import ANGLE, FREQUENCY, TIME, Dimension

_UNITS: dict[Dimension, tuple[float, str]] = {
    TIME: (1e3, "ms"), ANGLE: (180 / np.pi, "deg"), FREQUENCY: (1.0, "Hz"),
}  # fmt: skip
_MARKERS = ("o", "x", "s")
_FLAT = 1e-9  # of the largest value: values that lie on one line in the complex plane are drawn with their sign


@dataclass(frozen=True, kw_only=True, eq=False)
class Compared:
    """Points of one engine along one curve."""

    engine: str
    label: str  # what is fixed along the curve
    x: ArrayLike  # SI
    simulated: ArrayLike  # complex
    expected: ArrayLike  # complex
    allowed: ArrayLike  # deviation


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """A curve between the points."""

    label: str
    x: ArrayLike  # SI
    y: ArrayLike  # complex


@style.styled
def expectation(
    points: Several[Compared], curves: Several[Drawn], *, name: str, dimension: Dimension, title: str = ""
) -> Figure:
    """Draw simulated points over the closed form, and below their difference in units of what is allowed.

    Args:
        points: Of each engine and curve.
        curves: In the order of their colours.
        name: Of the abscissa.
        dimension: Of the abscissa.
        title: Title of the figure.

    Returns:
        Figure with one colour per curve and one marker per engine. Complex signals are drawn as magnitude, with the
        magnitude of their difference.
    """
    figure = style.new_figure(4.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.3))
    turn = _turn(np.concatenate([np.asarray(p.expected, dtype=complex) for p in points]))
    scale, unit = _UNITS.get(dimension, (1.0, ""))
    colors = {curve.label: style.CYCLE[i % len(style.CYCLE)] for i, curve in enumerate(curves)}
    engines = list(dict.fromkeys(p.engine for p in points))
    for curve in curves:
        upper.plot(np.asarray(curve.x) * scale, _shown(curve.y, turn), color=colors[curve.label], linewidth=1.2)
    lower.axhspan(-1 if turn is not None else 0, 1, color=style.PALE, zorder=0)
    for part in points:
        look = {"color": colors[part.label], "marker": _MARKERS[engines.index(part.engine) % 3], "markersize": 4}
        x = np.asarray(part.x) * scale
        upper.plot(x, _shown(part.simulated, turn), linestyle="none", **look)
        difference = np.asarray(part.simulated) - np.asarray(part.expected)
        lower.plot(x, _shown(difference, turn) / np.asarray(part.allowed), linestyle="none", **look)
    upper.set_title(title)
    upper.set_ylabel("signal / M₀" if turn is not None else "|signal| / M₀")
    lower.set_ylabel("difference\n/ allowed")
    lower.set_xlabel(f"{name} / {unit}" if unit else name)
    low, high = lower.get_ylim()
    lower.set_ylim(min(low, -1.2 if turn is not None else -0.1), max(high, 1.2))
    _legend(upper, colors, engines)
    return figure


def _legend(axes: Axes, colors: dict[str, str], engines: list[str]) -> None:
    lines = [Line2D([], [], color=color, label=label or "closed form") for label, color in colors.items()]
    lines += [
        Line2D([], [], color=style.INK, marker=_MARKERS[i % 3], linestyle="none", markersize=4, label=engine)
        for i, engine in enumerate(engines)
    ]
    axes.legend(handles=lines, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _turn(values: np.ndarray) -> complex | None:
    """Direction in the complex plane that all values lie on; none where they do not."""
    largest = values[np.argmax(np.abs(values))]
    if largest == 0:
        return 1.0
    turn = largest / abs(largest)
    turn = -turn if turn.imag < -_FLAT or (abs(turn.imag) <= _FLAT and turn.real < 0) else turn
    return turn if np.abs((values / turn).imag).max() <= _FLAT * abs(largest) else None


def _shown(values: ArrayLike, turn: complex | None) -> np.ndarray:
    values = np.asarray(values, dtype=complex)
    return np.abs(values) if turn is None else (values / turn).real
