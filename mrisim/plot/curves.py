"""Curves: slice profiles, and signal against time or a contrast parameter."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from mrisim.plot import _style as style


@style.styled
def slice_profile(
    position: ArrayLike,
    mxy: ArrayLike,
    mz: ArrayLike | None = None,
    *,
    thickness: float | None = None,
    title: str = "Slice profile",
) -> Figure:
    """Draw magnitude, real and imaginary part of the transverse magnetisation across a slice.

    Args:
        position: (n,) along the slice direction [m].
        mxy: (n,) complex transverse magnetisation [1].
        mz: (n,) longitudinal magnetisation [1].
        thickness: Nominal thickness, shaded [m].
        title: Title of the figure.

    Returns:
        Figure with the position in mm.
    """
    x, m = np.asarray(position) * 1e3, np.asarray(mxy, dtype=complex)
    figure = style.new_figure(3.2)
    axes = figure.add_subplot()
    axes.axhline(0, color=style.GRAY, linewidth=0.5)
    if thickness is not None:
        axes.axvspan(-thickness * 500, thickness * 500, color=style.PALE, zorder=0, label="nominal slice")
    axes.plot(x, np.abs(m), color=style.INK, linewidth=1.6, label="|Mxy|")
    axes.plot(x, np.real(m), color=style.BLUE, linewidth=1.0, linestyle="--", label="Mx")
    axes.plot(x, np.imag(m), color=style.VERMILION, linewidth=1.0, linestyle="--", label="My")
    if mz is not None:
        axes.plot(x, np.asarray(mz), color=style.GREEN, linewidth=1.2, label="Mz")
    axes.set_xlim(x.min(), x.max())
    axes.set_xlabel("position / mm")
    axes.set_ylabel("magnetisation / M₀")
    axes.set_title(title)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@style.styled
def signal(
    x: ArrayLike,
    curves: Mapping[str, ArrayLike],
    *,
    models: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    xlabel: str = "time / s",
    ylabel: str = "signal",
    title: str = "",
) -> Figure:
    """Draw signals by name against a common abscissa, points over model curves where these are given.

    Args:
        x: (n,) abscissa in the unit of `xlabel`.
        curves: Name → (n,) values.
        models: Name → abscissa and values of the curve behind the points of that name.
        xlabel: Label with unit.
        ylabel: Label with unit.
        title: Title of the figure.

    Returns:
        Figure with one colour per name.
    """
    figure = style.new_figure(3.2)
    axes = figure.add_subplot()
    models = models or {}
    for index, (name, values) in enumerate(curves.items()):
        color = style.CYCLE[index % len(style.CYCLE)]
        if name in models:
            axes.plot(*models[name], color=color, linewidth=1.2)
        axes.plot(x, values, "o" if models else "-", color=color, markersize=4, label=name)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_title(title)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
