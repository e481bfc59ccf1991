"""An exam on one page: images above, then each map below its truth."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from mrisim.data import Image, ParameterMap
from mrisim.errors import ConsistencyError, Problem
from mrisim.plot import _style as style
from mrisim.plot._looks import look_of
from mrisim.plot._panels import letters, masked, scale_bar, show
from mrisim.plot.diffusion import colours as direction_colours
from mrisim.plot.images import bright, caption_of

_MOST_COLUMNS = 6
_BESIDE = {"image": 0.38, "truth": 0.2, "estimate": 0.42}  # height of what stands around a panel [inch]
_PANEL = (1.7, 2.4)  # least and largest width of a panel [inch]


@style.styled
def overview(
    images: Mapping[str, Image],
    maps: Mapping[str, ParameterMap],
    *,
    truth: Mapping[str, ParameterMap] | None = None,
    title: str = "",
) -> Figure:
    """Draw an exam on one page: images in the first row, then the truth of each map above its estimate.

    Args:
        images: Images by caption; the first contrast of the central slice is drawn.
        maps: Maps by caption.
        truth: True maps by the captions of `maps`, as far as they are known.
        title: Title of the figure.

    Returns:
        Figure with up to six panels in a row; each map and its truth share a colour bar.

    Raises:
        ConsistencyError: nothing to draw.
    """
    if not images and not maps:
        raise ConsistencyError(Problem("must hold at least one image or map, but is empty", path="images"))
    truth = {name: value for name, value in (truth or {}).items() if name in maps}
    columns = min(max(len(images), len(maps)), _MOST_COLUMNS)
    strips = _strips(list(images), columns, ("image",)) + _strips(
        list(maps), columns, ("truth", "estimate") if truth else ("estimate",)
    )
    first = next(iter([*images.values(), *maps.values()]))
    nx, ny, _ = first.grid.shape
    panel = float(np.clip(style.PAGE_WIDTH / columns, *_PANEL))
    tall = panel * min(ny * first.grid.spacing[1] / (nx * first.grid.spacing[0]), 2.0)
    heights = [tall + _BESIDE[kind] for kind, _ in strips]
    figure = style.new_figure(sum(heights) + 0.45, width=panel * columns + 0.3)
    axes = figure.subplots(len(strips), columns, squeeze=False, height_ratios=heights)
    for row, (kind, names) in zip(axes, strips, strict=True):
        for place in row[len(names) :]:
            place.set_visible(False)
        for place, name in zip(row, names, strict=False):
            if kind == "image":
                _image(place, name, images[name])
            elif kind == "truth" and name not in truth:
                style.bare(place)
            else:
                _map(figure, place, name, maps[name], truth.get(name), kind)
        row[0].set_ylabel(kind if kind != "image" and truth else "", fontsize=9, fontweight="bold")
    scale_bar(axes[0, 0], first.grid, "white" if images else style.INK)
    letters(axes[0, 0], first.grid, "white" if images else style.INK)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11)
    return figure


def _strips(names: list[str], columns: int, kinds: tuple[str, ...]) -> list[tuple[str, list[str]]]:
    """Rows of panels: what each shows, and of which images or maps."""
    parts = [names[i : i + columns] for i in range(0, len(names), columns)]
    return [(kind, part) for part in parts for kind in kinds]


def _image(axes, name: str, img: Image) -> None:
    picture = np.abs(img.data[0, img.data.shape[1] // 2])
    show(axes, picture, img.grid, "gray", 0.0, bright(picture))
    axes.set_title(f"{name}\n{caption_of(img.coordinates, 0)}".rstrip(), fontsize=8, fontweight="normal", loc="center")


def _map(figure: Figure, axes, name: str, estimate: ParameterMap, truth: ParameterMap | None, kind: str) -> None:
    """One panel of a map; the colour bar stands under the estimate."""
    chosen = truth if kind == "truth" and truth is not None else estimate
    if kind == "truth" or truth is None:
        axes.set_title(name, fontsize=8, fontweight="normal", loc="center")
    values = masked(chosen)[chosen.data.shape[0] // 2]
    if values.ndim == 3:
        show(axes, direction_colours(values), chosen.grid)
        return
    look = look_of(truth if truth is not None else estimate)
    shown = show(axes, values * look.factor, chosen.grid, look.colours, look.low, look.high)
    if kind == "estimate":
        below = axes.inset_axes((0.06, -0.075, 0.88, 0.035))  # takes nothing from the panel, so that all are one size
        bar = figure.colorbar(shown, cax=below, orientation="horizontal", extend=look.extend)
        below.tick_params(labelsize=7)
        bar.set_label(look.label)
        bar.outline.set_visible(False)
