"""House style of every figure: legible at page width, safe for the colour-blind, no global matplotlib state."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import matplotlib
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

PAGE_WIDTH = 7.2  # [inch]

# Okabe and Ito, "Color Universal Design" (2008)
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, INK, GRAY, PALE = "#CC79A7", "#56B4E9", "#1F2933", "#7B8794", "#E4E7EB"
CYCLE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)

STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRAY,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=CYCLE),
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.3,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "agg.path.chunksize": 20000,
    "mathtext.default": "regular",
}

_P = ParamSpec("_P")


def styled(draw: Callable[_P, Figure]) -> Callable[_P, Figure]:
    """Draw a figure in the house style, whatever the user's matplotlib settings are."""

    @functools.wraps(draw)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> Figure:
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(STYLE)  # pyright: ignore[reportCallIssue, reportArgumentType]
            return draw(*args, **kwargs)

    return wrapper


def new_figure(height: float, width: float = PAGE_WIDTH) -> Figure:
    """Empty figure with automatic layout; no pyplot, so nothing has to be closed."""
    return Figure(figsize=(width, height), layout="constrained")


def bare(axes: Axes) -> None:
    """Remove ticks and frame, for pictures whose scale bar says it all."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
