"""Pictures of images and parameter maps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from mrisim.data import Image, ParameterMap
from mrisim.errors import ConsistencyError, Problem
from mrisim.plot import _style as style
from mrisim.plot._looks import look_of
from mrisim.plot._panels import BLANK, aspect, check_slice, letters, masked, scale_bar, show
from mrisim.plot.diffusion import direction_comparison, directions
from mrisim.units import ANGLE, TIME
from mrisim.units import show as text_of

_COLUMNS = 5  # panels side by side
_MOST = 15  # panels of one series
_CYCLIC = "twilight_shifted"
_DARK = 0.1  # of a bright voxel: less has no phase to speak of
_WEIGHTED = 40e6  # b value from which the images of a series are captioned with theirs [s/m²]


@style.styled
def image(img: Image, *, slice_index: int | None = None, phase: bool = False, title: str | None = None) -> Figure:
    """Draw each contrast of one slice in gray, with scale bar and letters of its sides; three planes of a volume.

    Of a series of more than fifteen images, that many are drawn, spread over it, and captioned with their times.

    Args:
        img: Complex image.
        slice_index: Which slice; the central one by default.
        phase: Draw the phase in place of the magnitude, in colours that close, blank where there is hardly any signal.
        title: Instead of the name of the image.

    Returns:
        Figure with one panel per contrast.

    Raises:
        ConsistencyError: the image has no such slice.
    """
    nz = img.data.shape[1]
    index = nz // 2 if slice_index is None else slice_index
    check_slice(index, nz)
    if img.grid.thickness is None and nz > 4 and slice_index is None and len(img.data) == 1:
        return _planes(img, phase, title)
    rows_drawn = np.unique(np.linspace(0, len(img.data) - 1, min(len(img.data), _MOST)).round().astype(int))
    pictures = [_phase(img.data[row, index]) if phase else np.abs(img.data[row, index]) for row in rows_drawn]
    captions, common = _captions(img)
    captions = [captions[row] for row in rows_drawn]
    rows = -(-len(pictures) // _COLUMNS)
    columns = -(-len(pictures) // rows)
    panel = 4.4 if columns == 1 else style.PAGE_WIDTH / columns
    figure = style.new_figure(panel * rows * aspect(img.grid) + 0.35, width=panel * columns + 0.8)
    axes = figure.subplots(rows, columns, squeeze=False)
    low, high = (-np.pi, np.pi) if phase else (0.0, bright(np.stack(pictures)))
    for panel_axes in axes.flat[len(pictures) :]:
        panel_axes.set_visible(False)
    for panel_axes, picture, caption in zip(axes.flat, pictures, captions, strict=False):
        shown = show(panel_axes, picture, img.grid, _CYCLIC if phase else "gray", low, high)
        panel_axes.set_title(caption, fontsize=8, fontweight="normal", loc="center")
    colour = style.INK if phase else "white"
    scale_bar(axes.flat[0], img.grid, colour)
    letters(axes.flat[0], img.grid, colour)
    bar = figure.colorbar(shown, ax=axes, shrink=0.8, pad=0.01, aspect=30)
    bar.set_label("phase / rad" if phase else "signal" if img.unit == "1" else f"signal / {img.unit}")
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    head = "   ".join(part for part in (title or img.name, common) if part)
    figure.suptitle(head, x=0.01, ha="left", fontweight="bold", fontsize=10)
    return figure


def _captions(img: Image) -> tuple[list[str], str]:
    """Caption of each contrast; of three and more only what differs, and what they have in common."""
    count = len(img.data)
    if count < 3:
        return [caption_of(img.coordinates, row) for row in range(count)], ""
    same = {name for name, values in img.coordinates.items() if values.ndim == 1 and np.ptp(values) < 1e-9}
    differ = {name: values for name, values in img.coordinates.items() if name not in same}
    shared = {name: img.coordinates[name] for name in same}
    captions = [caption_of(differ, row) for row in range(count)]
    if not any(captions) and np.isfinite(differ.get("time", np.nan)).all():
        captions = [text_of(float(time), TIME, digits=3) for time in differ["time"]]
    elif not any(captions) and img.provenance.get("recon", {}).get("method") == "lowrank":
        captions = [f"coefficient {row + 1}" for row in range(count)]
    return captions, caption_of(shared, 0).replace("\n", " · ")


def _phase(data: np.ndarray) -> np.ndarray:
    """Phase, nan where it is that of noise or ringing [rad]."""
    size = np.abs(data)
    return np.where(size > _DARK * bright(size), np.angle(data), np.nan)


def _planes(img: Image, phase: bool, title: str | None) -> Figure:
    """Three central planes of a volume: across slice, phase and read."""
    volume = _phase(img.data[0]) if phase else img.magnitude[0]
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
    low, high = (-np.pi, np.pi) if phase else (0.0, bright(volume))
    for panel, (picture, (wide, tall), name) in zip(axes, planes, strict=True):
        extent = (0, wide * 1e3, 0, tall * 1e3)
        palette = colormaps[_CYCLIC if phase else "gray"].with_extremes(bad=BLANK)
        shown = panel.imshow(picture, origin="lower", extent=extent, cmap=palette, vmin=low, vmax=high)
        panel.set_title(name, fontsize=8, fontweight="normal", loc="center")
        style.bare(panel)
    scale_bar(axes[0], img.grid, style.INK if phase else "white")
    bar = figure.colorbar(shown, ax=axes, shrink=0.7, pad=0.01, aspect=25)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    caption = caption_of(img.coordinates, 0)
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
        limits: Range of colours [SI]; by default from zero to most of the values, without those of fluid.
        title: Instead of the name of the map.

    Returns:
        Figure with a colour bar, times in ms, diffusion in µm²/ms; of directions, with a key of their colours.

    Raises:
        ConsistencyError: the map has no such slice.
    """
    if estimate.data.ndim == 4:
        return directions(estimate, slice_index=slice_index, title=title)
    index = _slice_of(estimate.data, slice_index)
    look = look_of(estimate, limits)
    picture = masked(estimate)[index] * look.factor
    figure = style.new_figure(4.4 * aspect(estimate.grid) + 0.3, width=5.0)
    axes = figure.add_subplot()
    shown = show(axes, picture, estimate.grid, look.colours, look.low, look.high)
    scale_bar(axes, estimate.grid, color=style.INK)
    letters(axes, estimate.grid, color=style.INK)
    bar = figure.colorbar(shown, ax=axes, shrink=0.85, pad=0.02, extend=look.extend)
    bar.set_label(look.label)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    axes.set_title(title or f"{look.name} map")
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
    """Draw truth, estimate and their difference side by side: in per cent of the truth, or in its unit
    where the truth may be zero, as that of B0.

    Args:
        truth: True map in SI.
        estimate: Fitted map on the same grid.
        slice_index: Which slice; the central one by default.
        limits: Range of colours [SI]; by default from zero to the most of a true tissue, without that of fluid.
        title: Instead of the name of the map.

    Returns:
        Figure with three panels; of directions, the third has the angle between them.

    Raises:
        ConsistencyError: the maps have different shapes, or no such slice.
    """
    if estimate.data.ndim == 4:
        return direction_comparison(truth, estimate, slice_index=slice_index, title=title)
    if truth.data.shape != estimate.data.shape:
        rule = f"must have the shape of the truth {truth.data.shape}, but has {estimate.data.shape}"
        raise ConsistencyError(Problem(rule, "Sample the truth on the grid of the estimate", path=estimate.name))
    index = _slice_of(estimate.data, slice_index)
    look = look_of(truth, limits)
    true, found = masked(truth)[index] * look.factor, masked(estimate)[index] * look.factor
    difference, end, name_of_difference = look.difference(true, found)
    figure = style.new_figure(style.PAGE_WIDTH / 3 * aspect(estimate.grid) + 0.75)
    axes = figure.subplots(1, 3)
    show(axes[0], true, truth.grid, look.colours, look.low, look.high)
    shown = show(axes[1], found, estimate.grid, look.colours, look.low, look.high)
    changed = show(axes[2], difference, estimate.grid, "RdBu_r", -end, end)
    for panel, name in zip(axes, ("truth", "estimate", "difference"), strict=True):
        panel.set_title(name, fontsize=8.5, fontweight="normal", loc="center")
    scale_bar(axes[0], truth.grid, color=style.INK)
    letters(axes[0], truth.grid, color=style.INK)
    for mappable, where, text, extend in (
        (shown, axes[:2], look.label, look.extend),
        (changed, axes[2], name_of_difference, "both"),
    ):
        bar = figure.colorbar(
            mappable, ax=where, orientation="horizontal", pad=0.02, aspect=35, extend=extend, shrink=0.9
        )
        bar.set_label(text)
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    figure.suptitle(title or look.name, x=0.01, ha="left", fontweight="bold", fontsize=10)
    return figure


def _slice_of(data: np.ndarray, slice_index: int | None) -> int:
    index = data.shape[0] // 2 if slice_index is None else slice_index
    check_slice(index, data.shape[0])
    return index


def bright(values: np.ndarray, percentile: float = 99.7) -> float:
    finite = values[np.isfinite(values) & (values > 0)]
    return float(np.percentile(finite, percentile)) if finite.size else 1.0


def caption_of(coordinates: Mapping[str, np.ndarray], row: int) -> str:
    """b, TE, TR, TI, TS and a flip angle other than 90 degrees of one contrast, as far as they are known."""
    parts = []
    if "b_matrix" in coordinates:
        b = np.trace(coordinates["b_matrix"], axis1=1, axis2=2)
        if np.isfinite(b[row]) and np.nanmax(b) >= _WEIGHTED:
            parts.append(f"b {1e-6 * b[row]:.0f} s/mm²")
    for name in ("te", "tr", "ti", "ts", "flip"):
        if name not in coordinates or not np.isfinite(coordinates[name][row]):
            continue
        value = float(coordinates[name][row])
        if name == "flip" and abs(value - 0.5 * np.pi) < 1e-3:
            continue
        text = text_of(value, ANGLE if name == "flip" else TIME, digits=4)
        parts.append(f"{'flip' if name == 'flip' else name.upper()} {text}")
    lines = [" · ".join(parts[:2]), " · ".join(parts[2:])]
    return "\n".join(line for line in lines if line)
