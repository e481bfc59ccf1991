"""Closed surfaces of triangles: whether they are closed, which side of them a place lies on, a grid to find them by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mrisim._types import Float, Int
from mrisim.errors import Problem

_MOST_CELLS = 128  # of a grid along an axis
_REACH = 1 / 5  # of the surface's length: longest stretch of a step that is traced at once
_CELLS_OF_REACH = 4  # cells of a grid along that stretch
CLASSES = 8  # of stretches by their length, each with as many triangles as it can meet
_SLIVER = 1e-12  # of the squared length of an edge: area of a triangle that has none


@dataclass(frozen=True, kw_only=True, eq=False)
class Surface:
    """Triangles about the middle of their box.

    Args:
        vertices: Places [m].
        faces: Three vertices each, counter-clockwise as seen from outside.
    """

    vertices: Float[np.ndarray, "n 3"]
    faces: Int[np.ndarray, "m 3"]

    @cached_property
    def corners(self) -> Float[np.ndarray, "m 3 3"]:
        return self.vertices[self.faces]

    @cached_property
    def normals(self) -> Float[np.ndarray, "m 3"]:
        """Outward, of twice the area of the triangle [m²]."""
        a, b, c = self.corners.transpose(1, 0, 2)
        return np.cross(b - a, c - a)

    @cached_property
    def area(self) -> float:
        return 0.5 * float(np.linalg.norm(self.normals, axis=1).sum())

    @cached_property
    def volume(self) -> float:
        """Inside [m³]; negative where triangles face inwards."""
        return float((self.corners.mean(axis=1) * self.normals).sum()) / 6

    @property
    def length(self) -> float:
        """Three times the volume over the area: the radius of a sphere [m]."""
        return 3 * self.volume / self.area

    @property
    def extent(self) -> Float[np.ndarray, " 3"]:
        return np.ptp(self.vertices[np.unique(self.faces)], axis=0)

    def winding(self, places: Float[np.ndarray, "places 3"]) -> Int[np.ndarray, " places"]:
        """How often the surface encloses each place: 1 inside, 0 outside; from triangles above it along z."""
        return self._columns.winding(places)

    @cached_property
    def _columns(self) -> _Columns:
        return _Columns(self)


class _Columns:
    """Triangles by where they lie as seen along z."""

    def __init__(self, surface: Surface):
        a, b, c = surface.corners.transpose(1, 0, 2)
        low, high = surface.corners[..., :2].min(axis=1), surface.corners[..., :2].max(axis=1)
        self.origin = low.min(axis=0)
        span = np.maximum(high.max(axis=0) - self.origin, np.finfo(float).tiny)
        self.n = int(np.clip(np.sqrt(len(a)), 1, 512))
        self.side = span * (1 + 1e-9) / self.n
        first = np.floor((low - self.origin) / self.side).astype(int)
        last = np.floor((high - self.origin) / self.side).astype(int)
        triangle, cell = _overlaps(first, last, (self.n, self.n))
        self.start, self.members = _by_cell(triangle, cell, self.n * self.n)
        self.a, self.e1, self.e2 = a, b - a, c - a
        self.twice = self.e1[:, 0] * self.e2[:, 1] - self.e1[:, 1] * self.e2[:, 0]

    def winding(self, places: np.ndarray) -> np.ndarray:
        bins = np.floor((places[:, :2] - self.origin) / self.side).astype(int)
        seen = np.flatnonzero(((bins >= 0) & (bins < self.n)).all(axis=1))
        cell = bins[seen] @ np.array([self.n, 1])
        count, found = np.diff(self.start)[cell], np.zeros(len(places), dtype=int)
        for k in range(int(count.max(initial=0))):
            rows = np.flatnonzero(count > k)
            where = seen[rows]
            found[where] += self._crossings(places[where], self.members[self.start[cell[rows]] + k])
        return found

    def _crossings(self, places: np.ndarray, t: np.ndarray) -> np.ndarray:
        """1 where a triangle that faces up lies above the place, -1 where one that faces down does."""
        d, e1, e2 = places - self.a[t], self.e1[t], self.e2[t]
        with np.errstate(divide="ignore", invalid="ignore"):
            u = (d[:, 0] * e2[:, 1] - d[:, 1] * e2[:, 0]) / self.twice[t]
            v = (e1[:, 0] * d[:, 1] - e1[:, 1] * d[:, 0]) / self.twice[t]
            above = u * e1[:, 2] + v * e2[:, 2] > d[:, 2]
            return np.where((u >= 0) & (v >= 0) & (u + v < 1) & above, np.sign(self.twice[t]), 0).astype(int)


def _overlaps(first: np.ndarray, last: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (triangle, cell) of boxes of cells from `first` to `last`, the last included."""
    top = np.array(shape) - 1
    first, last = np.clip(first, 0, top), np.clip(last, 0, top)
    sides = last - first + 1
    count = sides.prod(axis=1)
    triangle = np.repeat(np.arange(len(first)), count)
    rest = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    cell = np.zeros(len(triangle), dtype=int)
    stride = 1
    for axis in reversed(range(len(shape))):
        cell += (first[triangle, axis] + rest % sides[triangle, axis]) * stride
        rest //= sides[triangle, axis]
        stride *= shape[axis]
    return triangle, cell


def _by_cell(triangle: np.ndarray, cell: np.ndarray, n_cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the triangles of each cell start among all, and all."""
    order = np.argsort(cell, kind="stable")
    return np.concatenate([[0], np.cumsum(np.bincount(cell, minlength=n_cells))]), triangle[order]


@dataclass(frozen=True, kw_only=True, eq=False)
class SurfaceGrid:
    """Cells of a box, each with the triangles near it, nearest first, and the side that it lies on without any."""

    triangles: Float[np.ndarray, "m 3 3"]  # corners; images of a cell that repeats included [m]
    start: Int[np.ndarray, " cells+1"]  # of a cell's triangles among the members
    count: Int[np.ndarray, "cells classes"]  # of them that a stretch about a place in the cell can meet
    members: Int[np.ndarray, " pairs"]
    side: Int[np.ndarray, " cells"]  # 0 inside, 1 outside, -1 near the surface
    origin: Float[np.ndarray, " 3"]  # [m]
    cell: Float[np.ndarray, " 3"]  # sides of a cell [m]
    shape: tuple[int, int, int]
    reach: float  # stretch that is traced at once [m]
    winding: Int[np.ndarray, " cells"]  # as counted, 0 near the surface


def surface_grid(surface: Surface, period: Float[np.ndarray, " 3"] | None) -> SurfaceGrid:
    """Grid over the box of a surface, or over the cell that repeats."""
    edge = np.median(np.linalg.norm(np.diff(surface.corners, axis=1), axis=2))
    reach = float(min(_REACH, max(2 * edge / surface.length, _REACH / 4)) * surface.length)
    box = surface.extent * (1 + 1e-6) + 0.5 * reach if period is None else period
    shape = np.clip(np.ceil(_CELLS_OF_REACH * box / reach), 1, _MOST_CELLS).astype(int)
    cell, origin = box / shape, -0.5 * box
    corners = surface.corners if period is None else _with_images(surface.corners, period, reach)
    triangle, where, distance = _near(corners, origin, cell, shape, reach)
    order = np.lexsort((distance, where))
    triangle, where, distance = triangle[order], where[order], distance[order]
    n_cells, radius = int(shape.prod()), 0.5 * float(np.linalg.norm(cell))
    start = np.concatenate([[0], np.cumsum(np.bincount(where, minlength=n_cells))])
    count = np.stack([
        np.bincount(where[distance <= radius + 0.5 * reach * (i + 1) / CLASSES], minlength=n_cells)
        for i in range(CLASSES)
    ], axis=1)  # fmt: skip
    empty = np.flatnonzero(np.diff(start) == 0)
    index = np.stack(np.unravel_index(empty, shape), axis=1)
    winding, side = np.zeros(n_cells, dtype=int), np.full(n_cells, -1)
    winding[empty] = surface.winding(
        (index + np.array([0.5317, 0.4719, 0.5])) * cell + origin
    )  # off the rows of vertices
    side[empty] = np.where(winding[empty] > 0, 0, 1)
    return SurfaceGrid(
        triangles=corners, start=start, count=count, members=triangle, side=side, origin=origin, cell=cell,
        shape=(int(shape[0]), int(shape[1]), int(shape[2])), reach=reach, winding=winding,
    )  # fmt: skip


def _near(
    corners: np.ndarray, origin: np.ndarray, cell: np.ndarray, shape: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs (triangle, cell) of which half a stretch bridges the distance at most, and the distance [m]."""
    low, high = corners.min(axis=1) - 0.5 * reach, corners.max(axis=1) + 0.5 * reach
    within = np.flatnonzero(np.all((high > origin) & (low < origin + shape * cell), axis=1))
    first, last = (np.floor((v[within] - origin) / cell).astype(int) for v in (low, high))
    triangle, where = _overlaps(first, last, tuple(shape))
    triangle = within[triangle]
    middle = (np.stack(np.unravel_index(where, shape), axis=1) + 0.5) * cell + origin
    distance = _distance(middle, corners[triangle])
    close = distance <= 0.5 * (reach + float(np.linalg.norm(cell))) * (1 + 1e-6)
    return triangle[close], where[close], distance[close]


def _distance(places: Float[np.ndarray, "n 3"], corners: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, " n"]:
    """From places to triangles [m]."""
    edges = np.roll(corners, -1, axis=1) - corners
    normal = np.cross(edges[:, 0], edges[:, 1])
    from_corner = places[:, None, :] - corners
    share = (from_corner * edges).sum(axis=2) / (edges**2).sum(axis=2)
    to_edge = from_corner - np.clip(share, 0, 1)[..., None] * edges
    nearest = np.sqrt((to_edge**2).sum(axis=2).min(axis=1))
    above = (np.cross(edges, from_corner) * normal[:, None, :]).sum(axis=2).min(axis=1) >= 0
    height = np.abs((from_corner[:, 0] * normal).sum(axis=1)) / np.linalg.norm(normal, axis=1)
    return np.where(above, height, nearest)


def _with_images(corners: np.ndarray, period: np.ndarray, reach: float) -> np.ndarray:
    """Triangles, and those of the cells around that come within reach of this one."""
    shifts = np.stack(np.meshgrid(*[[0, -1, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3) * period
    found = []
    for shift in shifts:
        moved = corners + shift
        close = np.all((moved.max(axis=1) > -0.5 * period - reach) & (moved.min(axis=1) < 0.5 * period + reach), axis=1)
        found.append(moved[close])
    return np.concatenate(found)


def faults(vertices: np.ndarray, faces: np.ndarray) -> Iterator[Problem]:
    """What keeps arrays from being a closed, oriented surface."""
    if vertices.ndim != 2 or vertices.shape[1:] != (3,) or not np.isfinite(vertices).all():
        rule = f"must be finite places of shape (n, 3), but are of shape {vertices.shape}"
        yield Problem(rule if not _shaped(vertices) else "must be finite, but are not", path="vertices")
        return
    if not _shaped(faces) or not len(faces) or not np.issubdtype(faces.dtype, np.integer):
        rule = f"must be whole numbers of shape (n, 3), but are {faces.dtype} of shape {faces.shape}"
        yield Problem(rule, path="faces")
        return
    if faces.min() < 0 or faces.max() >= len(vertices):
        rule = f"must number vertices from 0 to {len(vertices) - 1}, but reach from {faces.min()} to {faces.max()}"
        yield Problem(rule, path="faces")
        return
    yield from _flat(vertices, faces)
    yield from _open(faces)


def _shaped(values: np.ndarray) -> bool:
    return values.ndim == 2 and values.shape[1] == 3


def _flat(vertices: np.ndarray, faces: np.ndarray) -> Iterator[Problem]:
    a, b, c = vertices[faces].transpose(1, 0, 2)
    edges = [np.einsum("ij,ij->i", e, e) for e in (b - a, c - b, a - c)]
    flat = np.flatnonzero(np.linalg.norm(np.cross(b - a, c - a), axis=1) <= _SLIVER * np.max(edges, axis=0))
    if len(flat):
        rule = f"must have an area each, but {len(flat)} of {len(faces)} have none, the first of them faces[{flat[0]}]"
        yield Problem(rule, "Remove them, and merge vertices that coincide", path="faces")


def _open(faces: np.ndarray) -> Iterator[Problem]:
    """Each edge belongs to two triangles, which run along it in opposite directions."""
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges, owner, count = np.unique(np.sort(directed, axis=1), axis=0, return_inverse=True, return_counts=True)
    forward = np.bincount(owner.reshape(-1), directed[:, 0] < directed[:, 1], minlength=len(edges))
    odd = np.flatnonzero(count != 2)
    if len(odd):
        rule = f"must close the surface, but {len(odd)} of {len(edges)} edges belong to other than two triangles"
        first = f", the first of them from vertex {edges[odd[0], 0]} to {edges[odd[0], 1]}"
        yield Problem(rule + first, "Fill the holes, and merge vertices that coincide", path="faces")
        return
    turned = np.flatnonzero(forward != 1)
    if len(turned):
        i, j = edges[turned[0]]
        rule = f"must all run counter-clockwise as seen from outside, but at {len(turned)} of {len(edges)} edges one of"
        yield Problem(f"{rule} the two does not, the first of them from vertex {i} to {j}", "Turn those", path="faces")
