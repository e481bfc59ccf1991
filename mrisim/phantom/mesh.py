"""Walls of triangles: cells as they were segmented, or any other closed shape."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mrisim import units
from mrisim._types import Float, Int
from mrisim.errors import ConsistencyError, Problem
from mrisim.phantom.compartments import (
    PERMEABILITY,
    Medium,
    Start,
    Uniforms,
    _fill,
    _inner,
    _mixed_relaxation,
    _not_negative,
    _parsed,
    _refuse,
    _um,
)
from mrisim.phantom.surfaces import Surface, SurfaceGrid, faults, surface_grid

_SMALLEST, _LARGEST = 1e-9, 1e-2  # extent of a mesh that can be meant [m]


@dataclass(frozen=True, kw_only=True, eq=False)
class Mesh:
    """Inside of a closed surface of triangles, or inside and outside of it in a cell that repeats.

    One mesh may consist of several closed parts, and of cavities, whose triangles face into the cavity. The middle of
    its box lies on the isochromat.

    Args:
        vertices: Places, in `unit`.
        faces: Numbers of three vertices each, counter-clockwise as seen from outside.
        diffusion: Inside.
        unit: Length of one unit of the vertices: "1 um" where they are in micrometres.
        t1: Inside; None for that of the isochromat.
        t2: Likewise.
        cell: Sides of the box that repeats, along x, y and z.
        outside: What fills the rest of that box.
        permeability: Of the surface.

    Raises:
        ConsistencyError: a surface that is open, turned inside out, or too large for a cell or for cells at all.

    Example:
        >>> vertices, faces = sphere_surface(radius=5.0, subdivisions=3)
        >>> round(Mesh(vertices=vertices, faces=faces, unit="1 um", diffusion="2e-3 mm^2/s").length * 1e6, 2)
        4.98
    """

    vertices: Float[np.ndarray, "n 3"]
    faces: Int[np.ndarray, "m 3"]
    diffusion: float
    unit: float | str = 1.0
    t1: float | None = None
    t2: float | None = None
    cell: float | str | tuple[float | str, float | str, float | str] | None = None
    outside: Medium | None = None
    permeability: float = 0.0

    kind = "mesh"

    def __post_init__(self):
        vertices, faces = (_array(getattr(self, name), name) for name in ("vertices", "faces"))
        _refuse(*faults(vertices, faces))
        _fill(self, unit=units.LENGTH, permeability=PERMEABILITY)
        _refuse(*_not_negative(self, "permeability", "unit"))
        used = vertices[np.unique(faces)]
        middle = 0.5 * (used.min(axis=0) + used.max(axis=0))
        object.__setattr__(self, "vertices", (vertices - middle) * float(self.unit))
        object.__setattr__(self, "faces", faces)
        object.__setattr__(self, "cell", _sides(self.cell))
        _refuse(*self._misfits())
        _refuse(*self._overlaps())

    def _misfits(self) -> Iterator[Problem]:
        extent = self.surface.extent
        if not _SMALLEST <= extent.max() <= _LARGEST:
            rule = f"must span from 1 nm to 10 mm, but span {extent.max():.3g} m"
            yield Problem(rule, "Give the length of their unit, such as unit='1 um'", path="vertices")
        if self.surface.volume <= 0:
            rule = "must run counter-clockwise as seen from outside, but run clockwise"
            yield Problem(rule, "Turn them: faces[:, ::-1]", path="faces")
        if (self.outside is None) != (self.cell is None):
            missing = "outside" if self.outside is None else "cell"
            yield Problem("must be given for water outside, but is not", "Or leave out both", path=missing)
        if self.permeability > 0 and self.outside is None:
            rule = f"must be 0 where nothing lies outside, but is {self.permeability:g} m/s"
            yield Problem(rule, "Give cell and outside", path="permeability")
        if self.period is not None and not np.all(self.period > extent):
            sides, needed = (" × ".join(_um(side) for side in v) for v in (self.period, extent))
            yield Problem(f"must be larger than the mesh, {needed}, but is {sides}", path="cell")
        if self.outside is not None:
            yield from _mixed_relaxation((_inner(self), self.outside))

    def _overlaps(self) -> Iterator[Problem]:
        wrong = ~np.isin(self.grid.winding, (0, 1))
        if wrong.any():
            share = np.count_nonzero(wrong) / np.count_nonzero(self.grid.side >= 0)
            rule = (
                f"must enclose each place once, but {share:.1%} of the places tried lie inside several parts or in one"
            )
            yield Problem(f"{rule} that is turned inside out", "Unite the parts, or turn their faces", path="faces")

    @cached_property
    def surface(self) -> Surface:
        return Surface(vertices=self.vertices, faces=self.faces)

    @property
    def period(self) -> Float[np.ndarray, " 3"] | None:
        """Sides of the box that repeats [m]."""
        return None if self.cell is None else np.asarray(self.cell, dtype=float)

    @cached_property
    def grid(self) -> SurfaceGrid:
        """Where the triangles are."""
        return surface_grid(self.surface, self.period)

    @property
    def media(self) -> tuple[Medium, ...]:
        return (_inner(self),) if self.outside is None else (_inner(self), self.outside)

    @property
    def length(self) -> float:
        """Three times the volume over the area: of a sphere its radius [m]."""
        return self.surface.length

    @property
    def share(self) -> float:
        """Of the volume that lies inside."""
        return 1.0 if self.period is None else self.surface.volume / float(np.prod(self.period))

    def axes(self) -> Float[np.ndarray, "3 3"]:
        return np.eye(3)

    def start(self, uniforms: Uniforms) -> Start:
        """By rejection in the box of the mesh, or in the cell."""
        drawn = uniforms(0)
        box = self.surface.extent if self.period is None else self.period
        outer = 0.0 if self.outside is None else self.outside.pd
        position, medium = np.zeros((len(drawn), 3)), np.full(len(drawn), -1, dtype=np.int32)
        for draw in range(10_000):
            missing = np.flatnonzero(medium < 0)
            if not len(missing):
                break
            drawn = (uniforms(draw) if draw else drawn)[missing]
            tried = (drawn[:, :3] - 0.5) * box
            inside = self.surface.winding(tried) > 0
            taken = drawn[:, 3] < np.where(inside, 1.0, outer) / max(1.0, outer)
            rows = missing[taken]
            position[rows], medium[rows] = tried[taken], np.where(inside, 0, 1)[taken]
        return position, medium


def _array(values: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(values, dtype=float if name == "vertices" else None)
    except (TypeError, ValueError):
        raise ConsistencyError(Problem("must be an array of shape (n, 3), but is not", path=name)) from None


def _sides(given: Any) -> tuple[float, ...] | None:
    if given is None:
        return None
    values = given if isinstance(given, (tuple, list, np.ndarray)) else (given,) * 3
    sides = tuple(_parsed(v, units.LENGTH, "cell") for v in values)
    if len(sides) != 3 or not all(np.isfinite(s) and s > 0 for s in sides):
        raise ConsistencyError(Problem("must be one or three lengths above 0", path="cell"))
    return sides


def sphere_surface(
    radius: float, subdivisions: int = 3
) -> tuple[Float[np.ndarray, "vertices 3"], Int[np.ndarray, "faces 3"]]:
    """A sphere of triangles: an icosahedron whose faces are divided in four, again and again.

    Args:
        radius: Of the vertices; that of a sphere of the same volume is smaller.
        subdivisions: How often; there are 20 · 4^subdivisions faces.

    Example:
        >>> vertices, faces = sphere_surface(radius=5e-6, subdivisions=2)
        >>> len(vertices), len(faces)
        (162, 320)
    """
    g = (1 + np.sqrt(5)) / 2
    corners = [(s * 1.0, t * g, 0.0) for s in (-1, 1) for t in (-1, 1)]
    vertices = np.array([np.roll(corner, turn) for turn in range(3) for corner in corners])
    gram = vertices @ vertices.T
    near = np.isclose(gram, g)  # neighbours at an edge of length 2
    faces = np.array([
        (i, j, k) for i in range(12) for j in range(i) for k in range(j) if near[i, j] and near[j, k] and near[i, k]
    ])  # fmt: skip
    inward = np.linalg.det(vertices[faces]) < 0
    faces[inward] = faces[inward][:, ::-1]
    for _ in range(subdivisions):
        vertices, faces = _divided(vertices, faces)
    return radius * vertices / np.linalg.norm(vertices, axis=1, keepdims=True), faces


def _divided(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    unique, owner = np.unique(edges, axis=0, return_inverse=True)
    middle = vertices[unique].sum(axis=1)
    middle *= np.linalg.norm(vertices[0]) / np.linalg.norm(middle, axis=1, keepdims=True)
    ab, bc, ca = (owner.reshape(3, -1)) + len(vertices)
    a, b, c = faces.T
    quarters = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return np.concatenate([vertices, middle]), np.concatenate([np.stack(q, axis=1) for q in quarters])
