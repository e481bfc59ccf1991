"""Glyphs of diffusion: in each voxel the ellipsoid of its tensor, seen along the normal of the slice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from mrisim._types import Float
from mrisim.data import ParameterMap
from mrisim.errors import ConsistencyError, Problem
from mrisim.plot import _style as style
from mrisim.plot._panels import aspect, check_slice, letters, masked, scale_bar, show
from mrisim.plot.diffusion import colours

_MOST = 40  # glyphs along the longer side
_CORNERS = 36  # of an outline
_FILL = 0.98  # of a cell, by the longest glyph


@style.styled
def glyphs(
    v1: ParameterMap,
    fa: ParameterMap,
    ad: ParameterMap,
    rd: ParameterMap,
    *,
    slice_index: int | None = None,
    region: tuple[int, int, int, int] | None = None,
    title: str = "Diffusion tensors",
) -> Figure:
    """Draw tensors as ellipsoids, as long in a direction as water diffuses along it, over FA in gray.

    Shape and slant say what the colours of directions say, to those who cannot tell red from green, too. Radial
    diffusion is taken to be the same all around.

    Args:
        v1: Unit vectors along the strongest diffusion, (z, y, x, 3), physical axes.
        fa: Fractional anisotropy on the same grid.
        ad: Diffusivity along v1 [m²/s].
        rd: Diffusivity across [m²/s].
        slice_index: Which slice; the central one by default.
        region: First column, end of columns, first row, end of rows; the whole slice by default.
        title: Title of the figure.

    Returns:
        Figure; of many voxels, one in some has a glyph.

    Raises:
        ConsistencyError: maps of different grids, no such slice, or a region outside it.
    """
    _check(v1, fa, ad, rd)
    index = fa.data.shape[0] // 2 if slice_index is None else slice_index
    check_slice(index, fa.data.shape[0])
    columns, rows = _region(region, fa.data.shape[1:])
    part = [masked(one)[index, rows, columns] for one in (v1, fa, ad, rd)]
    ny, nx = part[1].shape
    grid = replace(fa.grid, shape=(nx, ny, 1))
    figure = style.new_figure(min(5.4 * aspect(grid), 8.0) + 0.3, width=5.6)
    axes = figure.add_subplot()
    show(axes, part[1], grid, "gray", -1.0, 1.0)  # light, so that the glyphs stand out
    corners, shades = _ellipses(part, grid.spacing, grid.geometry.rotation)
    axes.add_collection(PolyCollection(corners, facecolors=shades, edgecolors="white", linewidths=0.3))
    scale_bar(axes, grid, style.INK)
    letters(axes, grid, style.INK)
    axes.set_title(title)
    return figure


def _check(v1: ParameterMap, fa: ParameterMap, ad: ParameterMap, rd: ParameterMap) -> None:
    problems = []
    for one, shape in ((v1, (*fa.data.shape, 3)), (ad, fa.data.shape), (rd, fa.data.shape)):
        if one.data.shape != shape:
            rule = f"must have the shape {shape}, but has {one.data.shape}"
            problems.append(Problem(rule, "Take the maps of one fit", path=one.name))
    if problems:
        raise ConsistencyError(problems)


def _region(region: tuple[int, int, int, int] | None, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Columns and rows."""
    ny, nx = shape
    left, right, low, high = (0, nx, 0, ny) if region is None else region
    if not (0 <= left < right <= nx and 0 <= low < high <= ny):
        rule = f"must lie within 0, {nx}, 0, {ny}, first before last, but is {left}, {right}, {low}, {high}"
        raise ConsistencyError(Problem(rule, path="region"))
    return slice(left, right), slice(low, high)


def _ellipses(
    part: list[np.ndarray], spacing: tuple[float, float, float], rotation: np.ndarray
) -> tuple[Float[np.ndarray, "glyphs corners 2"], Float[np.ndarray, "glyphs 3"]]:
    """Outlines [mm] and colours of the glyphs of a slice."""
    ny, nx = part[1].shape
    step = -(-max(nx, ny) // _MOST)
    rows, columns = np.mgrid[step // 2 : ny : step, step // 2 : nx : step].reshape(2, -1)
    v1, fa, ad, rd = (one[rows, columns] for one in part)
    v1 = np.where(np.isfinite(v1), v1, 0.0)  # without a direction: a circle
    known = np.isfinite(fa) & (ad > 0) & (rd >= 0)
    dx, dy = (side * 1e3 for side in spacing[:2])
    centers = np.stack([(columns[known] + 0.5) * dx, (rows[known] + 0.5) * dy], axis=-1)
    longest = float(ad[known].max(initial=0.0)) or 1.0
    size = 0.5 * _FILL * step * min(dx, dy) / longest
    shapes = outlines(v1[known] @ rotation, ad[known], rd[known])
    return centers[:, None] + size * shapes, 0.25 * (1 - fa[known, None]) + colours(v1[known]) * fa[known, None]


def outlines(
    v1: Float[np.ndarray, "glyphs 3"], ad: Float[np.ndarray, " glyphs"], rd: Float[np.ndarray, " glyphs"]
) -> Float[np.ndarray, "glyphs corners 2"]:
    """Outlines of ellipsoids with half axes ad along v1 and rd across it, seen along the third axis.

    The projection of {x: xᵀ A⁻¹ x = 1} on a plane is the ellipse of the block of A in that plane.

    Example:
        >>> shape = outlines(np.array([[0.0, 1.0, 0.0]]), np.array([2.0]), np.array([0.5]))
        >>> abs(shape).max(axis=(0, 1)).round(9).tolist()
        [0.5, 2.0]
    """
    flat = v1[:, :2]
    square = rd[:, None, None] ** 2 * np.eye(2) + (ad**2 - rd**2)[:, None, None] * flat[:, :, None] * flat[:, None, :]
    lengths, axes = np.linalg.eigh(square)
    root = axes * np.sqrt(np.maximum(lengths, 0.0))[:, None, :]
    turn = np.linspace(0.0, 2 * np.pi, _CORNERS, endpoint=False)
    return np.stack([np.cos(turn), np.sin(turn)], axis=-1) @ np.swapaxes(root, 1, 2)
