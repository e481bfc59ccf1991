"""What the panels of pictures have in common."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.patheffects import AbstractPathEffect, withStroke

from mrisim.data import Grid, ParameterMap
from mrisim.errors import ConsistencyError, Problem
from mrisim.plot import _style as style

BLANK = "#F1F3F5"  # where nothing is known
_OBLIQUE = 0.3  # of a direction's length: less has no letter of its own


def check_slice(index: int, count: int) -> None:
    """Refuse a slice that is not there."""
    if not 0 <= index < count:
        raise ConsistencyError(Problem(f"must be between 0 and {count - 1}, but is {index}", path="slice_index"))


def masked(values: ParameterMap) -> np.ndarray:
    """Values of a map, nan where it was not fitted; components along the last axis."""
    if values.mask is None:
        return values.data
    mask = values.mask.reshape(*values.mask.shape, *[1] * (values.data.ndim - values.mask.ndim))
    return np.where(mask, values.data, np.nan)


def show(axes: Axes, picture: np.ndarray, grid: Grid, colours: str = "gray", low: float = 0.0, high: float = 1.0):
    """Draw a picture to scale: numbers in a colour map between bounds, or red, green and blue as they are."""
    nx, ny, _ = grid.shape
    dx, dy, _ = grid.spacing
    extent = (0.0, nx * dx * 1e3, 0.0, ny * dy * 1e3)
    palette = colormaps[colours].with_extremes(bad=BLANK)
    shown = axes.imshow(
        picture, origin="lower", extent=extent, cmap=palette, vmin=low, vmax=high, interpolation="nearest"
    )
    style.bare(axes)
    return shown


def aspect(grid: Grid) -> float:
    """Height of a picture over its width."""
    return grid.shape[1] * grid.spacing[1] / (grid.shape[0] * grid.spacing[0])


def scale_bar(axes: Axes, grid: Grid, color: str = "white") -> None:
    """Draw a bar with its length into the lower left corner."""
    width = grid.shape[0] * grid.spacing[0] * 1e3
    length = max(step for step in (1, 2, 5, 10, 20, 50, 100, 200) if step <= max(width / 4, 1))
    x, y = 0.04 * width, 0.05 * grid.shape[1] * grid.spacing[1] * 1e3
    seam = _seam(color)
    bar = [withStroke(linewidth=3.6, foreground=BLANK)] if seam else []
    axes.plot([x, x + length], [y, y], color=color, linewidth=2.2, solid_capstyle="butt", path_effects=bar)
    axes.annotate(
        f"{length} mm",
        (x, y),
        xytext=(0, 3),
        textcoords="offset points",
        ha="left",
        va="bottom",
        color=color,
        fontsize=7,
        path_effects=seam,
    )


def _seam(color: str) -> list[AbstractPathEffect]:
    """Light seam about dark marks, which may lie on dark tissue."""
    return [] if color == "white" else [withStroke(linewidth=2.2, foreground=BLANK)]


def letters(axes: Axes, grid: Grid, color: str = "white") -> None:
    """Write R or L, A or P, S or I at the right and upper edge, where the sides of the picture look along x, y or z."""
    for axis, place, align in ((0, (0.985, 0.5), ("right", "center")), (1, (0.5, 0.985), ("center", "top"))):
        letter = _side(grid.geometry.rotation[:, axis])
        axes.text(
            *place, letter, transform=axes.transAxes, color=color, fontsize=8, ha=align[0], va=align[1], zorder=5,
            path_effects=_seam(color),
        )  # fmt: skip


def _side(direction: np.ndarray) -> str:
    """Letters of a direction, the strongest first: x right, y anterior, z superior, as in NIfTI."""
    order = np.argsort(-np.abs(direction), kind="stable")
    return "".join(("LR", "PA", "IS")[i][int(direction[i] > 0)] for i in order if abs(direction[i]) > _OBLIQUE)
