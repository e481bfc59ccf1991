"""Steps of a walk among triangles: each is traced from wall to wall, mirrored at one or let through it.

A step is traced in stretches no longer than the reach of the grid's cells, so that the triangles of one cell are all
that a stretch can meet. Walkers far from the surface take their step at once; the others are traced in groups. Only
walls that a walker comes to from its own side count, so none is met again by rounding after it mirrored; a walker that
slips through a crack is put back to where its step began, since the cell that it ends in lies on the other side.

Source:
    Planes of a triangle and of two of its barycentric coordinates: Shevtsov, Soupikov and Kapustin, GraphiCon (2007).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mrisim._types import Array, Bool, Float, Int
from mrisim.phantom.surfaces import CLASSES, SurfaceGrid

_GROUP = 512  # walkers that are traced side by side
_MOST_STRETCHES = 64  # of a step; a walker that needs more (in a corner) stays
_EDGE = 1e-4  # of a triangle's size, by which it reaches over its edges
_SKIN = 1e-6  # of the mesh: a walker so far beyond a wall is on the wall

Vector = tuple[Float[Array, " walkers"], Float[Array, " walkers"], Float[Array, " walkers"]]


class Triangles(NamedTuple):
    """A surface on the device."""

    planes: Float[Array, "triangles 12"]  # outward normal and offset; then of two barycentric coordinates
    start: Int[Array, " cells"]  # of a cell's triangles among the members
    count: Int[Array, "cells classes"]  # that a stretch of each length can meet
    members: Int[Array, " pairs"]
    side: Int[Array, " cells"]  # 0 inside, 1 outside, -1 near the surface
    origin: Float[Array, " 3"]  # [m]
    cell: Float[Array, " 3"]  # sides of a cell [m]
    shape: Int[Array, " 3"]
    period: Float[Array, " 3"]  # of what repeats; infinite for what does not [m]
    reach: Float[Array, ""]  # [m]
    skin: Float[Array, ""]  # [m]


class Rays(NamedTuple):
    """Walkers under way."""

    x: Vector  # [m]
    rest: Vector  # of the step [m]
    medium: Int[Array, " walkers"]
    chance: Float[Array, " walkers"]  # uniform number that decides at the next membrane
    stretches: Int[Array, " walkers"]


def triangles(grid: SurfaceGrid, period: np.ndarray | None, dtype: np.dtype) -> Triangles:
    """A grid in the engine's terms."""
    a, b, c = grid.triangles.transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    square = (normal**2).sum(axis=1, keepdims=True)
    unit, u, v = normal / np.sqrt(square), np.cross(c - a, normal) / square, np.cross(normal, b - a) / square
    columns = [part for n in (unit, u, v) for part in (n, -(n * a).sum(axis=1, keepdims=True))]
    return Triangles(
        planes=np.concatenate(columns, axis=1).astype(dtype),
        start=grid.start[:-1].astype(np.int32),
        count=grid.count.astype(np.int32),
        members=(grid.members if len(grid.members) else np.zeros(1)).astype(np.int32),
        side=grid.side.astype(np.int32),
        origin=grid.origin.astype(dtype),
        cell=grid.cell.astype(dtype),
        shape=np.array(grid.shape, dtype=np.int32),
        period=(np.full(3, np.inf) if period is None else period).astype(dtype),
        reach=np.asarray(grid.reach * (1 - 1e-5), dtype),
        skin=np.asarray(_SKIN * np.abs(grid.triangles).max(), dtype),
    )  # fmt: skip


def _cell(mesh: Triangles, place: Vector) -> tuple[Int[Array, " walkers"], Vector]:
    """Cell that a place lies in, and how far its box lies from the first one."""
    index, shift = jnp.zeros(place[0].shape, np.int32), []
    for axis in range(3):
        period = mesh.period[axis]
        by = jnp.where(jnp.isfinite(period), period * jnp.round(place[axis] / period), 0.0)
        i = jnp.floor((place[axis] - by - mesh.origin[axis]) / mesh.cell[axis]).astype(np.int32)
        index = index * mesh.shape[axis] + jnp.clip(i, 0, mesh.shape[axis] - 1)
        shift.append(by)
    return index, (shift[0], shift[1], shift[2])


def _stretch(mesh: Triangles, rest: Vector) -> Vector:
    """What is traced next of a step: all of it, or as far as a cell reaches."""
    square = rest[0] * rest[0] + rest[1] * rest[1] + rest[2] * rest[2]
    part = jnp.where(square <= mesh.reach * mesh.reach, 1.0, mesh.reach * jax.lax.rsqrt(square))
    return rest[0] * part, rest[1] * part, rest[2] * part


def _count(mesh: Triangles, cell: Int[Array, " walkers"], s: Vector) -> Int[Array, " walkers"]:
    """How many triangles a stretch can meet whose middle lies in a cell."""
    length = jnp.sqrt(s[0] * s[0] + s[1] * s[1] + s[2] * s[2])
    long = jnp.floor(length * (CLASSES / mesh.reach)).astype(np.int32)
    return mesh.count.reshape(-1)[cell * CLASSES + jnp.clip(long, 0, CLASSES - 1)]


def _middle(x: Vector, s: Vector) -> Vector:
    return x[0] + 0.5 * s[0], x[1] + 0.5 * s[1], x[2] + 0.5 * s[2]


def _along(plane: Float[Array, "walkers 12"], first: int, v: Vector) -> Array:
    return plane[:, first] * v[0] + plane[:, first + 1] * v[1] + plane[:, first + 2] * v[2]


def _first_wall(mesh: Triangles, x: Vector, s: Vector, medium: Array) -> tuple[Array, Array]:
    """Share of a stretch after which it meets a wall (2 for none), and which."""
    cell, shift = _cell(mesh, _middle(x, s))
    start, count = mesh.start[cell], _count(mesh, cell, s)
    x = (x[0] - shift[0], x[1] - shift[1], x[2] - shift[2])
    out = (1 - 2 * medium).astype(x[0].dtype)

    def test(k, found):
        best, which = found
        member = mesh.members[jnp.minimum(start + k, mesh.members.shape[0] - 1)]
        plane = mesh.planes[member]
        rate, height = _along(plane, 0, s), _along(plane, 0, x) + plane[:, 3]
        share = -height / jnp.where(rate == 0, 1, rate)
        u = _along(plane, 4, x) + plane[:, 7] + share * _along(plane, 4, s)
        v = _along(plane, 8, x) + plane[:, 11] + share * _along(plane, 8, s)
        meets = (out * rate > 0) & ((share >= 0) | (jnp.abs(height) <= mesh.skin)) & (k < count)
        meets &= (u >= -_EDGE) & (v >= -_EDGE) & (u + v <= 1 + _EDGE) & (share < best)
        return jnp.where(meets, jnp.maximum(share, 0), best), jnp.where(meets, member, which)

    none = jnp.full_like(x[0], 2.0)
    best, which = jax.lax.fori_loop(0, count.max(), test, (none, jnp.zeros_like(medium)))
    return jnp.where(best <= 1, best, 2.0), which


def _traced(mesh: Triangles, rays: Rays, through: Array, stretch_by: Array) -> Rays:
    """The next stretch of walkers: to its end, or to a wall and what follows there."""
    s = _stretch(mesh, rays.rest)
    share, which = _first_wall(mesh, rays.x, s, rays.medium)
    hit, normal = share <= 1, mesh.planes[which]
    go = jnp.minimum(share, 1.0)
    x = (rays.x[0] + go * s[0], rays.x[1] + go * s[1], rays.x[2] + go * s[2])
    rest = (rays.rest[0] - go * s[0], rays.rest[1] - go * s[1], rays.rest[2] - go * s[2])
    probability = through[jnp.minimum(rays.medium, through.shape[0] - 1)]
    passes = hit & (rays.chance < probability)
    mirrored = jnp.where(hit & ~passes, 2 * _along(normal, 0, rest), 0.0)
    scale = jnp.where(passes, stretch_by[jnp.minimum(rays.medium, stretch_by.shape[0] - 1)], 1.0)
    turned = [scale * rest[i] - mirrored * normal[:, i] for i in range(3)]
    again = jnp.where(passes, rays.chance / probability, (rays.chance - probability) / (1 - probability))
    return Rays(
        x, (turned[0], turned[1], turned[2]), jnp.where(passes, 1 - rays.medium, rays.medium),
        jnp.where(hit, again, rays.chance), rays.stretches + 1,
    )  # fmt: skip


def _under_way(rays: Rays) -> Bool[Array, " walkers"]:
    moves = (rays.rest[0] != 0) | (rays.rest[1] != 0) | (rays.rest[2] != 0)
    return moves & (rays.stretches < _MOST_STRETCHES)


def move(
    mesh: Triangles, x: Vector, medium: Int[Array, " walkers"], step: Vector, chance: Float[Array, " walkers"],
    through: Float[Array, " media"], stretch_by: Float[Array, " media"],
) -> tuple[Vector, Int[Array, " walkers"]]:  # fmt: skip
    """One step of all walkers.

    Args:
        mesh: The surface.
        x: Where they are [m].
        medium: 0 inside, 1 outside.
        step: Where to [m].
        chance: A uniform number for each.
        through: Probability to pass the surface, from inside and from outside.
        stretch_by: What a step from inside and from outside is stretched by beyond the surface.

    Returns:
        Where they end, and in which medium.
    """
    n, zero = x[0].shape[0], jnp.zeros_like(x[0])
    square = step[0] * step[0] + step[1] * step[1] + step[2] * step[2]
    cell, _ = _cell(mesh, _middle(x, step))
    far = (_count(mesh, cell, step) == 0) & (square <= mesh.reach * mesh.reach)
    rest = tuple(jnp.where(far, zero, s) for s in step)
    moved = tuple(jnp.where(far, a + s, a) for a, s in zip(x, step, strict=True))
    rays = Rays(moved, rest, medium, chance, jnp.zeros_like(medium))  # type: ignore[arg-type]

    def trace(carry):
        rays, waiting = carry
        rows = jnp.nonzero(waiting, size=min(_GROUP, n), fill_value=n)[0]
        some = jax.tree.map(lambda a: jnp.take(a, rows, mode="fill", fill_value=0), rays)
        some = _traced(mesh, some, through, stretch_by)
        rays = jax.tree.map(lambda a, b: a.at[rows].set(b, mode="drop"), rays, some)
        return rays, _under_way(rays)

    rays, _ = jax.lax.while_loop(lambda carry: carry[1].any(), trace, (rays, ~far))
    side = mesh.side[_cell(mesh, rays.x)[0]]
    good = ((side < 0) | (side == rays.medium)) & (rays.stretches < _MOST_STRETCHES)
    end = tuple(jnp.where(good, a, b) for a, b in zip(rays.x, x, strict=True))
    return end, jnp.where(good, rays.medium, medium)  # type: ignore[return-value]
