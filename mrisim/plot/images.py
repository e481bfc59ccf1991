"""Pictures of images and parameter maps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mrisim.data import Grid, Image, ParameterMap
from mrisim.errors import ConsistencyError, Problem
from mrisim.plot import _style as style
from mrisim.units import ANGLE, TIME, show

_COLUMNS = 5  # panels side by side
_DIFFERENCE = 10.0  # [%]
_SHOWN_AS: dict[str, tuple[float, str]] = {"s": (1e3, "ms"), "m^2/s": (1e9, "µm²/ms"), "1": (1.0, "")}
_COLOUR_MAPS = {"T1": "inferno", "T2": "viridis", "T2*": "viridis", "PD": "gray"}


@style.styled
def image(img: Image, *, slice_index: int | None = None, phase: bool = False, title: str | None = None) -> Figure:
    """Draw each contrast of one slice in gray, with a scale bar; three central planes of a volume.

    Args:
        img: Complex image.
        slice_index: Which slice; the central one by default.
        phase: Draw the phase in place of the magnitude.
        title: Instead of the name of the image.

    Returns:
        Figure with one panel per contrast.

    Raises:
        ConsistencyError: the image has no such slice.
    """
    nz = img.data.shape[1]
    index = nz // 2 if slice_index is None else slice_index
    _check_slice(index, nz)
    if img.grid.thickness is None and nz > 4 and slice_index is None and len(img.data) == 1:
        return _planes(img, phase, title)
    pictures = [np.angle(data[index]) if phase else np.abs(data[index]) for data in img.data]
    captions = [_caption(img.coordinates, row) for row in range(len(pictures))]
    rows = -(-len(pictures) // _COLUMNS)
    columns = -(-len(pictures) // rows)
    panel = 4.4 if columns == 1 else style.PAGE_WIDTH / columns
    figure = style.new_figure(panel * rows * _aspect(img.grid) + 0.35, width=panel * columns + 0.8)
    axes = figure.subplots(rows, columns, squeeze=False)
    low, high = (-np.pi, np.pi) if phase else (0.0, _bright(np.stack(pictures)))
    for panel_axes in axes.flat[len(pictures) :]:
        panel_axes.set_visible(False)
    for panel_axes, picture, caption in zip(axes.flat, pictures, captions, strict=False):
        shown = _show(panel_axes, picture, img.grid, "gray", low, high)
        panel_axes.set_title(caption, fontsize=8, fontweight="normal", loc="center")
    _scale_bar(axes.flat[0], img.grid)
    bar = figure.colorbar(shown, ax=axes, shrink=0.8, pad=0.01, aspect=30)
    bar.set_label("phase / rad" if phase else "signal" if img.unit == "1" else f"signal / {img.unit}")
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    figure.suptitle(title or img.name, x=0.01, ha="left", fontweight="bold", fontsize=10)
    return figure


def _planes(img: Image, phase: bool, title: str | None) -> Figure:
    """Three central planes of a volume: across slice, phase and read."""
    volume = np.angle(img.data[0]) if phase else img.magnitude[0]
    nz, ny, nx = volume.shape
    dx, dy, dz = img.grid.spacing
    planes = (
        (volume[nz // 2], (nx * dx, ny * dy), "read–phase"),
        (volume[:, ny // 2], (nx * dx, nz * dz), "read–slice"),
        (volume[:, :, nx // 2], (ny * dy, nz * dz), "phase–slice"),
    )
    widths = [size[0] for _, size, _ in planes]
    figure = style.new_figure(style.PAGE_WIDTH * max(size[1] for _, size, _ in planes) / sum(widths) + 0.5)
    axes = figure.subplots(1, 3, width_ratios=widths)
    low, high = (-np.pi, np.pi) if phase else (0.0, _bright(volume))
    for panel, (picture, (wide, tall), name) in zip(axes, planes, strict=True):
        extent = (0, wide * 1e3, 0, tall * 1e3)
        shown = panel.imshow(picture, origin="lower", extent=extent, cmap="gray", vmin=low, vmax=high)
        panel.set_title(name, fontsize=8, fontweight="normal", loc="center")
        style.bare(panel)
    _scale_bar(axes[0], img.grid)
    bar = figure.colorbar(shown, ax=axes, shrink=0.7, pad=0.01, aspect=25)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    caption = _caption(img.coordinates, 0)
    head = f"{title or img.name}  {caption}"
    figure.suptitle(head, x=0.01, ha="left", fontweight="bold", fontsize=10)
    return figure


@style.styled
def parameter_map(
    estimate: ParameterMap,
    *,
    slice_index: int | None = None,
    limits: tuple[float, float] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw one slice of a map in a perceptually uniform colour map; what was not fitted stays blank.

    Args:
        estimate: Map in SI.
        slice_index: Which slice; the central one by default.
        limits: Range of colours [SI]; by default from zero to 2.5 medians at most.
        title: Instead of the name of the map.

    Returns:
        Figure with a colour bar, times in ms.

    Raises:
        ConsistencyError: the map has no such slice.
    """
    index = _slice_of(estimate.data, slice_index)
    factor, unit = _SHOWN_AS.get(estimate.unit, (1.0, estimate.unit))
    picture = _masked(estimate)[index] * factor
    low, high = (limits[0] * factor, limits[1] * factor) if limits else (0.0, _top(picture))
    figure = style.new_figure(4.4 * _aspect(estimate.grid) + 0.3, width=5.0)
    axes = figure.add_subplot()
    shown = _show(axes, picture, estimate.grid, _COLOUR_MAPS.get(estimate.name, "viridis"), low, high)
    _scale_bar(axes, estimate.grid, color=style.INK)
    bar = figure.colorbar(shown, ax=axes, shrink=0.85, pad=0.02, extend="max")
    bar.set_label(f"{estimate.name} / {unit}" if unit else estimate.name)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    axes.set_title(title or f"{estimate.name} map")
    return figure


@style.styled
def map_comparison(
    truth: ParameterMap,
    estimate: ParameterMap,
    *,
    slice_index: int | None = None,
    limits: tuple[float, float] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw truth, estimate and their difference in per cent of the truth side by side.

    Args:
        truth: True map in SI.
        estimate: Fitted map on the same grid.
        slice_index: Which slice; the central one by default.
        limits: Range of colours [SI]; by default from zero to 2.5 medians of the truth at most.
        title: Instead of the name of the map.

    Returns:
        Figure with three panels.

    Raises:
        ConsistencyError: the maps have different shapes, or no such slice.
    """
    if truth.data.shape != estimate.data.shape:
        rule = f"must have the shape of the truth {truth.data.shape}, but has {estimate.data.shape}"
        raise ConsistencyError(Problem(rule, "Sample the truth on the grid of the estimate", path=estimate.name))
    index = _slice_of(estimate.data, slice_index)
    factor, unit = _SHOWN_AS.get(estimate.unit, (1.0, estimate.unit))
    true, found = _masked(truth)[index] * factor, _masked(estimate)[index] * factor
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = 100 * (found - true) / true
    low, high = (limits[0] * factor, limits[1] * factor) if limits else (0.0, _top(true))
    figure = style.new_figure(style.PAGE_WIDTH / 3 * _aspect(estimate.grid) + 0.75)
    axes = figure.subplots(1, 3)
    colours = _COLOUR_MAPS.get(estimate.name, "viridis")
    _show(axes[0], true, truth.grid, colours, low, high)
    shown = _show(axes[1], found, estimate.grid, colours, low, high)
    changed = _show(axes[2], difference, estimate.grid, "RdBu_r", -_DIFFERENCE, _DIFFERENCE)
    for panel, name in zip(axes, ("truth", "estimate", "difference"), strict=True):
        panel.set_title(name, fontsize=8.5, fontweight="normal", loc="center")
    _scale_bar(axes[0], truth.grid, color=style.INK)
    label = f"{estimate.name} / {unit}" if unit else estimate.name
    for mappable, where, text, extend in (
        (shown, axes[:2], label, "max"),
        (changed, axes[2], "difference / %", "both"),
    ):
        bar = figure.colorbar(
            mappable, ax=where, orientation="horizontal", pad=0.02, aspect=35, extend=extend, shrink=0.9
        )
        bar.set_label(text)
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    figure.suptitle(title or estimate.name, x=0.01, ha="left", fontweight="bold", fontsize=10)
    return figure


@style.styled
def overview(images: Mapping[str, Image], maps: Mapping[str, ParameterMap], *, title: str = "") -> Figure:
    """Draw the first contrast of some images and some maps in one row: an exam at a glance.

    Args:
        images: Images by caption.
        maps: Maps by caption.
        title: Title of the figure.

    Returns:
        Figure with one panel each; maps have a colour bar.

    Raises:
        ConsistencyError: nothing to draw.
    """
    count = len(images) + len(maps)
    if count == 0:
        raise ConsistencyError(Problem("must hold at least one image or map, but is empty", path="images"))
    first = next(iter([*images.values(), *maps.values()]))
    panel = max(style.PAGE_WIDTH / count, 1.8)
    figure = style.new_figure(panel * _aspect(first.grid) + 1.05, width=panel * count)
    axes = figure.subplots(1, count, squeeze=False)[0]
    for panel_axes, (caption, img) in zip(axes, images.items(), strict=False):
        picture = np.abs(img.data[0, img.data.shape[1] // 2])
        _show(panel_axes, picture, img.grid, "gray", 0.0, _bright(picture))
        panel_axes.set_title(
            f"{caption}\n{_caption(img.coordinates, 0)}", fontsize=8, fontweight="normal", loc="center"
        )
    for panel_axes, (caption, estimate) in zip(axes[len(images) :], maps.items(), strict=True):
        factor, unit = _SHOWN_AS.get(estimate.unit, (1.0, estimate.unit))
        picture = _masked(estimate)[estimate.data.shape[0] // 2] * factor
        colours = _COLOUR_MAPS.get(estimate.name, "viridis")
        shown = _show(panel_axes, picture, estimate.grid, colours, 0.0, _top(picture))
        bar = figure.colorbar(shown, ax=panel_axes, orientation="horizontal", pad=0.02, aspect=22, extend="max")
        bar.set_label(f"{estimate.name} / {unit}" if unit else estimate.name)
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
        panel_axes.set_title(caption, fontsize=8, fontweight="normal", loc="center")
    _scale_bar(axes[0], first.grid, "white" if images else style.INK)
    for panel_axes in axes:
        panel_axes.set_anchor("N")
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=10)
    return figure


def _slice_of(data: np.ndarray, slice_index: int | None) -> int:
    index = data.shape[0] // 2 if slice_index is None else slice_index
    _check_slice(index, data.shape[0])
    return index


def _check_slice(index: int, count: int) -> None:
    if not 0 <= index < count:
        raise ConsistencyError(Problem(f"must be between 0 and {count - 1}, but is {index}", path="slice_index"))


def _masked(values: ParameterMap) -> np.ndarray:
    return values.data if values.mask is None else np.where(values.mask, values.data, np.nan)


def _show(axes: Axes, picture: np.ndarray, grid: Grid, colours: str, low: float, high: float):
    nx, ny, _ = grid.shape
    dx, dy, _ = grid.spacing
    extent = (0.0, nx * dx * 1e3, 0.0, ny * dy * 1e3)
    palette = colormaps[colours].with_extremes(bad="#F1F3F5")
    shown = axes.imshow(
        picture, origin="lower", extent=extent, cmap=palette, vmin=low, vmax=high, interpolation="nearest"
    )
    style.bare(axes)
    return shown


def _aspect(grid: Grid) -> float:
    return grid.shape[1] * grid.spacing[1] / (grid.shape[0] * grid.spacing[0])


def _bright(values: np.ndarray, percentile: float = 99.7) -> float:
    finite = values[np.isfinite(values) & (values > 0)]
    return float(np.percentile(finite, percentile)) if finite.size else 1.0


def _top(picture: np.ndarray) -> float:
    """Upper end of the colours of a map: most of its values, and not those of fluid alone."""
    finite = picture[np.isfinite(picture) & (picture > 0)]
    return float(min(np.percentile(finite, 98), 2.5 * np.median(finite))) if finite.size else 1.0


def _scale_bar(axes: Axes, grid: Grid, color: str = "white") -> None:
    width = grid.shape[0] * grid.spacing[0] * 1e3
    length = max(step for step in (1, 2, 5, 10, 20, 50, 100, 200) if step <= max(width / 4, 1))
    x, y = 0.04 * width, 0.05 * grid.shape[1] * grid.spacing[1] * 1e3
    axes.plot([x, x + length], [y, y], color=color, linewidth=2.2, solid_capstyle="butt")
    axes.annotate(
        f"{length} mm",
        (x, y),
        xytext=(0, 3),
        textcoords="offset points",
        ha="left",
        va="bottom",
        color=color,
        fontsize=7,
    )


def _caption(coordinates: Mapping[str, np.ndarray], row: int) -> str:
    """TE, TR, TI, TS and a flip angle other than 90 degrees of one contrast, as far as they are known."""
    parts = []
    for name in ("te", "tr", "ti", "ts", "flip"):
        if name not in coordinates or not np.isfinite(coordinates[name][row]):
            continue
        value = float(coordinates[name][row])
        if name == "flip" and abs(value - 0.5 * np.pi) < 1e-3:
            continue
        text = show(value, ANGLE if name == "flip" else TIME, digits=4)
        parts.append(f"{'flip' if name == 'flip' else name.upper()} {text}")
    lines = [" · ".join(parts[:2]), " · ".join(parts[2:])]
    return "\n".join(line for line in lines if line)
