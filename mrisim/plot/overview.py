"""An exam on one page: images above, then each map below its truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mrisim.data import Image, ParameterMap
from mrisim.errors import ConsistencyError, Problem
from mrisim.plot import _style as style
from mrisim.plot._looks import look_of
from mrisim.plot._panels import aspect, letters, masked, scale_bar, show
from mrisim.plot.diffusion import colours as direction_colours
from mrisim.plot.images import bright, caption_of

_MOST_COLUMNS = 6
_PANEL = (1.7, 2.4)  # least and largest width of a panel [inch]
_WIDEST = 2.8  # of an image, where there are few of them beside many maps [inch]
_LINE, _BETWEEN = 0.15, 0.09  # height of a line of a title; from panel to panel [inch]
_BAR = 0.46  # height of the numbers and the label of a colour bar, and what parts them from the next title [inch]


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
    columns = max(-(-n // -(-n // _MOST_COLUMNS)) for n in (len(images), len(maps)) if n)  # 8 are 4 and 4
    strips = _strips(list(images), columns, ("image",)) + _strips(
        list(maps), columns, ("truth", "estimate") if truth else ("estimate",)
    )
    first = next(iter([*images.values(), *maps.values()]))
    layout = _Layout.of(strips, len(images), first, columns, bool(truth), bool(title))
    figure = style.new_figure(layout.height, width=layout.width)
    figure.set_layout_engine("none")
    axes = layout.panels(figure)
    for row, (kind, names) in zip(axes, strips, strict=True):
        for place, name in zip(row, names, strict=True):
            if kind == "image":
                _image(place, name, images[name])
            elif kind == "truth" and name not in truth:
                style.bare(place)
            else:
                _map(figure, place, name, maps[name], truth.get(name), kind)
        row[0].set_ylabel(kind if kind != "image" and truth else "", fontsize=9, fontweight="bold")
    drawn = next((place for place in axes[0] if place.images), axes[0][0])
    scale_bar(drawn, first.grid, "white" if images else style.INK)
    letters(drawn, first.grid, "white" if images else style.INK)
    top = 1 - 0.06 / layout.height
    figure.suptitle(title, x=0.1 / layout.width, y=top, ha="left", va="top", fontweight="bold", fontsize=11)
    return figure


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Places of the panels: each strip with the room above and below that its texts and colour bars take [inch]."""

    strips: list[tuple[str, list[str]]]
    sizes: list[tuple[float, float]]  # width and height of the panels of each strip
    above: list[float]
    below: list[float]
    left: float
    width: float
    top: float

    @staticmethod
    def of(
        strips: list[tuple[str, list[str]]],
        images: int,
        first: Image | ParameterMap,
        columns: int,
        truth: bool,
        titled: bool,
    ) -> _Layout:
        """Panels of one width; images that are few are larger, and stand in the middle."""
        panel = float(np.clip(style.PAGE_WIDTH / columns, *_PANEL))
        larger = np.clip(columns / max(images, 1), 1.0, max(_WIDEST / panel, 1.0))
        widths = [panel * larger if kind == "image" else panel for kind, _ in strips]
        sizes = [(width, width * min(aspect(first.grid), 2.0)) for width in widths]
        lines = [{"image": 3, "truth": 1, "estimate": int(not truth)}[kind] for kind, _ in strips]
        bars = [
            0.1 * tall + _BAR if kind == "estimate" else 0.04
            for (kind, _), (_, tall) in zip(strips, sizes, strict=True)
        ]
        left = 0.3 if truth else 0.1
        return _Layout(
            strips=strips, sizes=sizes, above=[_BETWEEN + _LINE * n for n in lines], below=bars, left=left,
            width=left + columns * (panel + _BETWEEN), top=0.3 if titled else 0.0,
        )  # fmt: skip

    @property
    def height(self) -> float:
        return self.top + sum(self.above) + sum(tall for _, tall in self.sizes) + sum(self.below)

    def panels(self, figure: Figure) -> list[list[Axes]]:
        """Axes of each strip."""
        rows, y = [], self.height - self.top
        for (kind, names), (wide, tall), above, below in zip(
            self.strips, self.sizes, self.above, self.below, strict=True
        ):
            y -= above + tall
            used = len(names) * (wide + _BETWEEN)
            alone = kind == "image" and wide > self.sizes[-1][0]
            x = self.left + (0.5 * (self.width - self.left - used) if alone else 0.0)
            places = [x + index * (wide + _BETWEEN) for index in range(len(names))]
            scale = (self.width, self.height, self.width, self.height)
            rows.append([figure.add_axes(tuple(np.divide((at, y, wide, tall), scale))) for at in places])
            y -= below
        return rows


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
