"""Pictures of diffusion: directions as colours, and decays by b value."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from mrisim.data import ParameterMap
from mrisim.errors import ConsistencyError, Problem
from mrisim.plot import _style as style
from mrisim.plot._panels import aspect, check_slice, letters, masked, scale_bar, show

_ANGLE = 10.0  # [deg] at the end of the colours of a difference
_KEY = 41  # pixels of the key of colours


def weighted_directions(v1: ParameterMap, fa: ParameterMap) -> ParameterMap:
    """Directions of a length of FA, for a colour FA map: `|x|` red, `|y|` green, `|z|` blue, as bright as FA.

    Args:
        v1: Unit vectors, (z, y, x, 3).
        fa: Fractional anisotropy on the same grid.

    Raises:
        ConsistencyError: the maps have different grids.

    Returns:
        Vectors named "colour FA"; zero where diffusion is the same in all directions.

    Source:
        Pajevic and Pierpaoli, Magn Reson Med 42:526 (1999).

    Example:
        >>> from mrisim.data import Grid
        >>> grid = Grid.of((1, 1, 1), (1e-3, 1e-3, 1e-3))
        >>> v1 = ParameterMap(name="V1", unit="1", data=np.array([[[[0.6, 0.0, 0.8]]]]), grid=grid)
        >>> fa = ParameterMap(name="FA", unit="1", data=np.array([[[0.5]]]), grid=grid)
        >>> weighted_directions(v1, fa).data[0, 0, 0].tolist()
        [0.3, 0.0, 0.4]
    """
    if v1.data.shape != (*fa.data.shape, 3):
        rule = f"must have the shape {(*fa.data.shape, 3)}, but has {v1.data.shape}"
        raise ConsistencyError(Problem(rule, "Take V1 and FA of one fit", path=v1.name))
    weight = masked(fa)[..., None]
    return ParameterMap(
        name="colour FA",
        unit="1",
        data=np.where(weight == 0.0, 0.0, masked(v1) * weight),
        grid=v1.grid,
        mask=v1.mask,
        provenance=v1.provenance,
    )


@style.styled
def directions(vectors: ParameterMap, *, slice_index: int | None = None, title: str | None = None) -> Figure:
    """Draw one slice of vectors as colours: `|x|` red, `|y|` green, `|z|` blue, as bright as they are long.

    Args:
        vectors: V1, or V1 weighted by FA, (z, y, x, 3), physical axes.
        slice_index: Which slice; the central one by default.
        title: Instead of the name of the map.

    Returns:
        Figure with a key of the colours.

    Raises:
        ConsistencyError: the map has no such slice.
    """
    index = _slice(vectors, slice_index)
    figure = style.new_figure(4.4 * aspect(vectors.grid) + 0.3, width=5.4)
    axes, key = figure.subplots(1, 2, width_ratios=(5, 1))
    show(axes, colours(masked(vectors)[index]), vectors.grid)
    scale_bar(axes, vectors.grid)
    letters(axes, vectors.grid)
    _key(key)
    axes.set_title(title or f"{vectors.name} map")
    return figure


@style.styled
def direction_comparison(
    truth: ParameterMap,
    estimate: ParameterMap,
    *,
    slice_index: int | None = None,
    title: str | None = None,
) -> Figure:
    """Draw true and estimated vectors as colours, and the angle between them.

    Args:
        truth: True vectors, (z, y, x, 3).
        estimate: Estimated ones on the same grid.
        slice_index: Which slice; the central one by default.
        title: Instead of the name of the map.

    Returns:
        Figure with three panels; no angle where the truth has no direction.

    Raises:
        ConsistencyError: the maps have different shapes, or no such slice.
    """
    if truth.data.shape != estimate.data.shape:
        rule = f"must have the shape of the truth {truth.data.shape}, but has {estimate.data.shape}"
        raise ConsistencyError(Problem(rule, "Sample the truth on the grid of the estimate", path=estimate.name))
    index = _slice(estimate, slice_index)
    true, found = masked(truth)[index], masked(estimate)[index]
    figure = style.new_figure(style.PAGE_WIDTH / 3 * aspect(estimate.grid) + 0.75)
    axes = figure.subplots(1, 3)
    for panel, values, name in zip(axes, (true, found), ("truth", "estimate"), strict=False):
        show(panel, colours(values), estimate.grid)
        panel.set_title(name, fontsize=8.5, fontweight="normal", loc="center")
    shown = show(axes[2], between(true, found), estimate.grid, "viridis", 0.0, _ANGLE)
    axes[2].set_title("angle between", fontsize=8.5, fontweight="normal", loc="center")
    scale_bar(axes[0], truth.grid)
    letters(axes[0], truth.grid)
    bar = figure.colorbar(shown, ax=axes[2], orientation="horizontal", pad=0.02, aspect=35, extend="max", shrink=0.9)
    bar.set_label("angle / deg")
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    head = f"{title or estimate.name}   red x · green y · blue z"
    figure.suptitle(head, x=0.01, ha="left", fontweight="bold", fontsize=10)
    return figure


@style.styled
def decay(
    b: ArrayLike,
    signals: Mapping[str, ArrayLike],
    models: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    *,
    title: str = "",
) -> Figure:
    """Draw signals against the b value on a logarithmic axis, points over model curves where these are given.

    Args:
        b: (n,) b values [s/m²].
        signals: Name → (n,) values.
        models: Name → b values [s/m²] and values of the curve behind the points of that name.
        title: Title of the figure.

    Returns:
        Figure; the right panel shows what lies below a quarter of the largest b value, where a fast pool decays.
    """
    values = np.asarray(b, dtype=float) * 1e-6
    figure = style.new_figure(3.2)
    axes = figure.subplots(1, 2)
    for index, (name, points) in enumerate(signals.items()):
        color = style.CYCLE[index % len(style.CYCLE)]
        for panel in axes:
            if models and name in models:
                where, curve = models[name]
                panel.semilogy(np.asarray(where) * 1e-6, curve, color=color, linewidth=1.2)
            panel.semilogy(values, np.asarray(points), "o", color=color, markersize=4, label=name)
    part = 0.25 * values.max()
    near = np.concatenate([np.asarray(points)[values <= part] for points in signals.values()])
    axes[0].set_ylabel("signal")
    axes[1].set_xlim(-0.03 * part, 1.03 * part)
    axes[1].set_ylim(0.95 * near.min(), 1.05 * near.max())
    for panel in axes:
        panel.set_xlabel("b / (s/mm²)")
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_formatter("{x:.2g}")
        panel.tick_params(axis="y", which="minor", labelsize=6)
    axes[0].legend(loc="upper right")
    axes[0].set_title(title)
    axes[1].set_title("small b, enlarged", fontweight="normal")
    return figure


def colours(vectors: np.ndarray) -> np.ndarray:
    """Red, green and blue of vectors (..., 3); what is not known is black.

    Example:
        >>> colours(np.array([[-1.0, 0.0, 0.0]])).tolist()
        [[1.0, 0.0, 0.0]]
    """
    known = np.isfinite(vectors).all(axis=-1, keepdims=True)
    return np.clip(np.abs(np.where(known, vectors, 0.0)), 0.0, 1.0)


def between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angle between the lines along vectors (..., 3) [deg]; nan where one has no length.

    Example:
        >>> float(between(np.array([1.0, 0.0, 0.0]), np.array([-1.0, 0.0, 1.0])).round(6))
        45.0
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        product = np.abs((first * second).sum(axis=-1))
        cosine = product / (np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1))
    return np.degrees(np.arccos(np.minimum(cosine, 1.0)))


def _slice(vectors: ParameterMap, slice_index: int | None) -> int:
    if vectors.data.ndim != 4 or vectors.data.shape[-1] != 3:
        rule = f"must hold three components for each voxel, but has shape {vectors.data.shape}"
        raise ConsistencyError(Problem(rule, path=vectors.name))
    index = vectors.data.shape[0] // 2 if slice_index is None else slice_index
    check_slice(index, vectors.data.shape[0])
    return index


def _key(axes: Axes) -> None:
    """Half a sphere of directions, seen from above."""
    x, y = np.meshgrid(np.linspace(-1, 1, _KEY), np.linspace(-1, 1, _KEY))
    z = np.sqrt(np.maximum(0.0, 1.0 - x**2 - y**2))
    picture = np.where((x**2 + y**2 <= 1.0)[..., None], np.abs(np.stack([x, y, z], axis=-1)), 1.0)
    axes.imshow(picture, origin="lower", extent=(-1, 1, -1, 1), interpolation="bilinear")
    style.bare(axes)
    for text, place in (("x", (1.15, 0.0)), ("y", (0.0, 1.2)), ("z", (0.0, 0.0))):
        axes.text(*place, text, ha="center", va="center", fontsize=8, color="white" if text == "z" else style.INK)
