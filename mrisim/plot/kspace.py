"""Pictures of k-space: where the samples lie, and how strong they are."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from matplotlib.collections import Collection, LineCollection
from matplotlib.figure import Figure

from mrisim._types import Float
from mrisim.data import RawData
from mrisim.errors import ConsistencyError, Problem
from mrisim.events.blocks import Sequence
from mrisim.events.moments import readout_instances
from mrisim.plot import _style as style

_MAX_SEGMENTS = 6000
_MOST_IN_VOLUME = 240  # readouts of a volume: more hide each other, and the first ones show the order
_FLAT = 0.02  # a direction with less than this share of the largest extent is not drawn
_CELLS = 128  # along each axis, for samples on no grid
_MOST_LEVELS = 4096
_SPARSE = 64  # possible pairs of levels per sample above which there is no grid
_FLOOR = -80.0  # [dB]
_HEAD: dict[str, Any] = {"x": 0.01, "ha": "left", "fontweight": "bold", "fontsize": 9.5}


@style.styled
def trajectory(source: Sequence | RawData, *, title: str | None = None) -> Figure:
    """Draw where samples lie in k-space, coloured by time; on two axes, or three where the samples fill a volume.

    The readouts of a Cartesian volume are shown end on, as points over ky and kz.

    Args:
        source: Sequence or raw data. Logical axes: kx is the read direction.
        title: Instead of the default.

    Returns:
        Figure with axes in 1/m.

    Raises:
        ConsistencyError: there is no sample.
    """
    k, time, edges = _samples(source)
    if _is_cartesian_volume(k, edges):
        return _draw_lines_end_on(k, time, edges, title)
    extent = np.ptp(k, axis=0)
    drawn = np.flatnonzero(extent > _FLAT * extent.max()) if extent.max() > 0 else np.array([0, 1])
    volume = len(drawn) == 3
    axes_drawn = (0, 1, 2) if volume else (0, 2) if set(drawn) == {0, 2} else (0, 1) if 2 not in drawn else (1, 2)
    figure = style.new_figure(4.6, width=5.4)
    kept = edges[: _MOST_IN_VOLUME + 1] if volume else edges
    lines, seconds = _segments(k[:, list(axes_drawn)], time, kept)
    if volume:
        collection = _draw_volume(figure, lines, seconds)
    else:
        collection = _draw_plane(figure, lines, seconds, axes_drawn)
    unit, factor = ("s", 1.0) if time[-1] - time[0] > 2.0 else ("ms", 1e3)
    collection.set_array(seconds * factor)
    bar = figure.colorbar(collection, ax=figure.axes[0], shrink=0.75, pad=0.12 if volume else 0.02)
    bar.set_label(f"time / {unit}")
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    figure.suptitle(title or _title(len(edges) - 1, "", len(time), len(kept) - 1), **_HEAD)
    return figure


def _samples(source: Sequence | RawData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """k on logical axes [1/m], time [s], first sample of each readout with the end appended."""
    if isinstance(source, Sequence):
        k, time = source.kspace()
        counts = readout_instances(source).count
    else:
        k, time, counts = source.k, source.time, source.readouts.count
    if len(time) == 0:
        raise ConsistencyError(
            Problem("must have an ADC event for a trajectory, but has none", "Add one", path="events")
        )
    return k @ source.geometry.rotation, time, np.concatenate([[0], np.cumsum(counts)])


def _is_cartesian_volume(k: np.ndarray, edges: np.ndarray) -> bool:
    """Whether every readout runs along kx, over a plane of ky and kz."""
    if len(edges) < 3 or np.diff(edges).min() < 2:
        return False
    extent = np.ptp(k, axis=0)
    drift = np.abs(k[edges[1:] - 1] - k[edges[:-1]])[:, 1:].max()
    return bool((extent > _FLAT * extent.max()).all() and drift < 1e-3 * extent.max())


def _draw_lines_end_on(k: np.ndarray, time: np.ndarray, edges: np.ndarray, title: str | None) -> Figure:
    """Readouts of a Cartesian volume as points of the ky-kz plane, coloured by time."""
    first = edges[:-1]
    wide, high = np.ptp(k[first, 1]), np.ptp(k[first, 2])
    figure = style.new_figure(float(np.clip(4.2 * high / wide, 1.6, 4.2)) + 0.9, width=5.4)
    axes = figure.add_subplot()
    size = float(np.clip(40_000 / len(first), 0.6, 12))
    shown = axes.scatter(k[first, 1], k[first, 2], c=time[first], s=size, cmap="viridis", marker="s", linewidths=0)
    axes.set_aspect("equal")
    axes.set_xlabel("$k_y$ / (1/m)")
    axes.set_ylabel("$k_z$ / (1/m)")
    bar = figure.colorbar(shown, ax=axes, shrink=0.75, pad=0.02)
    bar.set_label("time / s")
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    figure.suptitle(title or _title(len(first), " along $k_x$", len(time)), **_HEAD)
    return figure


def _title(readouts: int, along: str, samples: int, shown: int | None = None) -> str:
    some = f"\nthe first {shown} readouts are drawn" if shown is not None and shown < readouts else ""
    return f"k-space trajectory: {readouts:,} readouts{along}, {samples:,} samples{some}"


def _segments(k: np.ndarray, time: np.ndarray, edges: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Pieces of readouts and the mean time of each; whole readouts where there are many."""
    readouts = np.arange(len(edges) - 1)
    if len(readouts) > _MAX_SEGMENTS:
        readouts = readouts[:: len(readouts) // _MAX_SEGMENTS + 1]
    pieces = max(1, min(200, _MAX_SEGMENTS // (4 * len(readouts))))
    lines, seconds = [], []
    for row in readouts:
        cuts = np.unique(np.linspace(edges[row], edges[row + 1] - 1, pieces + 1).astype(int))
        cuts = cuts if len(cuts) > 1 else np.array([edges[row], edges[row]])
        for begin, end in itertools.pairwise(cuts):
            lines.append(k[begin : end + 1] if end > begin else k[[begin, begin]])
            seconds.append(time[begin : end + 1].mean())
    return lines, np.array(seconds)


def _draw_plane(figure: Figure, lines: list[np.ndarray], seconds: np.ndarray, drawn: tuple[int, ...]) -> Collection:
    axes = figure.add_subplot()
    axes.axhline(0, color=style.PALE, linewidth=0.8, zorder=0)
    axes.axvline(0, color=style.PALE, linewidth=0.8, zorder=0)
    width = 0.9 if len(seconds) < 2000 else 0.6
    collection = axes.add_collection(LineCollection(lines, cmap="viridis", linewidths=width))
    starts = np.stack([line[0] for line in lines])
    if len(lines) < 40:
        axes.plot(starts[0, 0], starts[0, 1], "o", color=style.VERMILION, markersize=4, label="first sample")
        axes.legend(loc="upper right")
    axes.set_aspect("equal")
    axes.autoscale()
    axes.margins(0.06)
    axes.set_xlabel(f"$k_{'xyz'[drawn[0]]}$ / (1/m)")
    axes.set_ylabel(f"$k_{'xyz'[drawn[1]]}$ / (1/m)")
    return collection


def _draw_volume(figure: Figure, lines: list[np.ndarray], seconds: np.ndarray):
    from mpl_toolkits.mplot3d.art3d import Line3DCollection

    axes = figure.add_subplot(projection="3d")
    collection = Line3DCollection(lines, cmap="viridis", linewidths=0.5)
    axes.add_collection3d(collection)  # pyright: ignore[reportAttributeAccessIssue]
    points = np.concatenate(lines)
    for name, values in zip("xyz", points.T, strict=True):
        getattr(axes, f"set_{name}lim")(values.min(), values.max())
        getattr(axes, f"set_{name}label")(f"$k_{name}$ / (1/m)")
    axes.set_box_aspect(np.ptp(points, axis=0))  # pyright: ignore[reportArgumentType]
    axes.view_init(elev=22, azim=-60)
    return collection


@style.styled
def kspace(raw: RawData, *, title: str | None = None) -> Figure:
    """Draw the magnitude of the samples in dB below the strongest, on the grid of k.

    Shows the central slice and the plane next to kz = 0, the first contrast, all coils together.

    Args:
        raw: Samples.
        title: Instead of the default.

    Returns:
        Figure with axes in 1/m and a colour bar in dB.

    Raises:
        ConsistencyError: there is no sample.
    """
    k, _, edges = _samples(raw)
    chosen = _one_plane(raw, k, edges)
    strength = np.sqrt((np.abs(raw.signal[:, chosen]) ** 2).sum(axis=0))
    picture, extent = _grid(k[chosen], strength)
    figure = style.new_figure(4.4, width=5.2)
    axes = figure.add_subplot()
    axes.set_facecolor(style.PALE)
    shown = axes.imshow(picture, extent=extent, origin="lower", cmap="gray", vmin=_FLOOR, vmax=0.0, aspect="auto")
    wide, high = extent[1] - extent[0], extent[3] - extent[2]
    axes.set_aspect("equal" if 0.2 < high / wide < 5 else "auto")
    bar = figure.colorbar(shown, ax=axes, shrink=0.8, pad=0.02)
    bar.set_label("dB below the strongest sample")
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    axes.set_xlabel("$k_x$ / (1/m)")
    axes.set_ylabel("$k_y$ / (1/m)")
    axes.set_title(title or "k-space magnitude")
    return figure


def _one_plane(raw: RawData, k: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Samples of the central slice, the first contrast and the plane next to kz = 0."""
    table = raw.readouts
    slices = table.label("SLC")
    keep = slices == np.unique(slices)[len(np.unique(slices)) // 2]
    for name in ("ECO", "SET", "PHS", "REP"):
        values = table.label(name)
        keep &= values == values[keep].min()
    chosen = np.repeat(keep, np.diff(edges))
    kz = np.abs(k[:, 2])
    return chosen & (kz < kz[chosen].min() + 1.0)  # 1/m is finer than any field of view below a metre


def _grid(
    k: Float[np.ndarray, "samples 3"], strength: np.ndarray
) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """Samples [dB] on the cells that they fall into, nan where there is none."""
    cells, edges = [], []
    for axis in (0, 1):
        values = k[:, axis]
        low, step = _levels(values)
        cells.append(np.minimum(np.round((values - low) / step).astype(int), 4095))
        edges += [low - step / 2, low + (cells[-1].max() + 0.5) * step]
    picture = np.full((cells[1].max() + 1, cells[0].max() + 1), np.nan)
    with np.errstate(divide="ignore"):
        decibel = 20 * np.log10(strength / max(strength.max(), np.finfo(float).tiny))
    np.fmax.at(picture, (cells[1], cells[0]), decibel)
    return picture, (edges[0], edges[1], edges[2], edges[3])


def _levels(values: Float[np.ndarray, " samples"]) -> tuple[float, float]:
    """Least value of one component of k and the step of its grid; cells of the figure's size off a grid [1/m]."""
    levels = np.unique(np.round(values, 3))
    steps = np.diff(levels)
    if not (steps > 1e-2).any():
        return float(levels[0]), 1.0
    step = float(np.median(steps[steps > 1e-2]))
    if len(levels) > _MOST_LEVELS or len(levels) ** 2 > _SPARSE * len(values):  # spokes and spirals: no two alike
        step = max(step, float(np.ptp(levels)) / _CELLS)
    return float(levels[0]), step
