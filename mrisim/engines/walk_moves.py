"""One step of a walk in each geometry: where walkers end up, walls and membranes considered.

Walls reflect elastically. A ball that a step would meet twice leaves the walker where it was. Both keep a uniform
density uniform, and both are symmetric in time. Membranes let pass with the probability P = 2 κ dt / <|s|>, where <|s|>
is the mean length of a step along the normal: a uniform density then sends κ times itself through the membrane.

Source:
    Reflection of a straight step: the image principle; the probability from the flux of one step, as in Powles et al.,
    Proc R Soc Lond A 436:391 (1992); Fieremans and Lee, NeuroImage 182:39 (2018).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from mrisim._types import Array, Bool, Float, Int
from mrisim.engines import walk_mesh
from mrisim.engines.walk_steps import MEAN_STEP, MEAN_STEP_ALONG_AXES
from mrisim.phantom.compartments import Cylinders, Geometry, Labels, Spheres
from mrisim.phantom.mesh import Mesh

Vector = tuple[Float[Array, " walkers"], Float[Array, " walkers"], Float[Array, " walkers"]]


class Walls(NamedTuple):
    """A geometry on the device, in its own axes."""

    size: Float[Array, ""]  # half the separation, or radius [m]
    cell: Float[Array, " n"]  # sides of what repeats [m]
    step: Float[Array, " media"]  # square root of 2 D [m / sqrt(s)]
    r1: Float[Array, " media"]  # [1/s]
    r2: Float[Array, " media"]  # [1/s]
    through: Float[Array, " media"]  # probability to pass a membrane, over the square root of the time step [1/sqrt(s)]
    labels: Int[Array, "x y z"]
    mesh: walk_mesh.Triangles | None = None


class Turn(NamedTuple):
    """What one step of all walkers is made from."""

    steps: Vector  # of unit variance
    root: Float[Array, ""]  # square root of the time step [sqrt(s)]
    chance: Callable[[int], Float[Array, " walkers"]]  # uniform numbers, as many as are asked for


class Walkers(NamedTuple):
    """Where walkers are."""

    x: Vector  # along the geometry's axes [m]
    medium: Int[Array, " walkers"]


def place_walls(geometry: Geometry, dtype: np.dtype) -> Walls:
    """A geometry in the engine's terms; relaxation that is the isochromat's is left out, as a rate of 0."""
    media = geometry.media
    step = np.sqrt(2 * np.array([m.diffusion for m in media]))
    safe = np.where(step > 0, step, 1.0)
    cell = _sides(geometry)
    r1, r2 = ([0.0 if t is None else 1 / t for t in times] for times in ([m.t1 for m in media], [m.t2 for m in media]))
    mean = MEAN_STEP_ALONG_AXES if isinstance(geometry, Labels) else MEAN_STEP
    labels = geometry.labels if isinstance(geometry, Labels) else np.zeros((1, 1, 1))
    return Walls(
        size=np.asarray(geometry.length if np.isfinite(geometry.length) else 0.0, dtype),
        cell=cell.astype(dtype),
        step=step.astype(dtype),
        r1=np.asarray(r1, dtype),
        r2=np.asarray(r2, dtype),
        through=(2 * geometry.permeability / (mean * safe)).astype(dtype),
        labels=labels.astype(np.int32),
        mesh=walk_mesh.triangles(geometry.grid, geometry.period, dtype) if isinstance(geometry, Mesh) else None,
    )


def _sides(geometry: Geometry) -> np.ndarray:
    """Of what repeats [m]."""
    if isinstance(geometry, Labels):
        return np.array(geometry.sides)
    return geometry.cell() if isinstance(geometry, (Cylinders, Spheres)) else np.zeros(1)


def pick(table: Float[Array, " media"], medium: Int[Array, " walkers"]) -> Float[Array, " walkers"]:
    """The value of each walker's medium."""
    if table.shape[0] == 1:
        return jnp.broadcast_to(table[0], medium.shape)
    if table.shape[0] == 2:
        return jnp.where(medium == 0, table[0], table[1])
    return table[medium]


def _free(walls: Walls, at: Walkers, d: Vector) -> Vector:
    return tuple(a + b for a, b in zip(at.x, d, strict=True))  # type: ignore[return-value]


def _planes(walls: Walls, at: Walkers, d: Vector) -> Vector:
    half, z = walls.size, at.x[2] + d[2]
    z = jnp.where(z > half, 2 * half - z, z)
    return at.x[0] + d[0], at.x[1] + d[1], jnp.where(z < -half, -2 * half - z, z)


def _dot(a: tuple[Array, ...], b: tuple[Array, ...]) -> Array:
    return sum(p * q for p, q in zip(a, b, strict=True))  # type: ignore[return-value]


def _hit(u: tuple[Array, ...], d: tuple[Array, ...], radius: Array, outward: Bool[Array, " walkers"] | bool) -> Array:
    """Share of a step after which it meets a sphere about the origin: from inside, or from outside at first."""
    along, square = _dot(u, d), _dot(d, d)
    rest = jnp.sqrt(jnp.maximum(along * along + square * (radius * radius - _dot(u, u)), 0.0))
    share = (jnp.where(outward, rest, -rest) - along) / jnp.maximum(square, jnp.finfo(square.dtype).tiny)
    return jnp.clip(share, 0.0, 1.0)


def _reflected(u: tuple[Array, ...], d: tuple[Array, ...], radius: Array, share: Array) -> tuple[Array, ...]:
    """End of a step that is mirrored at the tangent plane where it meets the sphere."""
    met = tuple(a + share * b for a, b in zip(u, d, strict=True))
    factor = 2 * (1 - share) * _dot(met, d) / (radius * radius)
    return tuple(a + b - factor * c for a, b, c in zip(u, d, met, strict=True))


def _ball(walls: Walls, at: Walkers, d: Vector, n: int) -> Vector:
    """Inside one cylinder (n = 2) or sphere (n = 3)."""
    u, v = at.x[:n], d[:n]
    end = tuple(a + b for a, b in zip(u, v, strict=True))
    back = _reflected(u, v, walls.size, _hit(u, v, walls.size, True))
    square = walls.size * walls.size
    out, twice = _dot(end, end) > square, _dot(back, back) > square
    moved = tuple(jnp.where(out, jnp.where(twice, a, c), b) for a, b, c in zip(u, end, back, strict=True))
    return (*moved, *(a + b for a, b in zip(at.x[n:], d[n:], strict=True)))  # type: ignore[return-value]


_ALONE = {
    "free": _free,
    "tensor": _free,
    "planes": _planes,
    "cylinder": lambda walls, at, d: _ball(walls, at, d, 2),
    "sphere": lambda walls, at, d: _ball(walls, at, d, 3),
}


def move_alone(kind: str, walls: Walls, at: Walkers, d: Vector) -> Walkers:
    """One step d of walkers in a single medium."""
    return Walkers(_ALONE[kind](walls, at, d), at.medium)


def _nearest(walls: Walls, x: tuple[Array, ...]) -> tuple[Array, ...]:
    """Center nearest to a place: of balls at the corners and in the middle of cells."""
    cell = [walls.cell[i] for i in range(len(x))]
    corner = tuple(c * jnp.round(a / c) for a, c in zip(x, cell, strict=True))
    middle = tuple(c * (jnp.round(a / c - 0.5) + 0.5) for a, c in zip(x, cell, strict=True))
    near, far = (_dot(e, e) for e in (_less(x, corner), _less(x, middle)))
    return tuple(jnp.where(near <= far, a, b) for a, b in zip(corner, middle, strict=True))


def _less(a: tuple[Array, ...], b: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(p - q for p, q in zip(a, b, strict=True))


def _beyond(walls: Walls, x: tuple[Array, ...], center: tuple[Array, ...]) -> Int[Array, " walkers"]:
    """1 outside of the ball about a center, 0 inside."""
    u = _less(x, center)
    return (_dot(u, u) > walls.size * walls.size).astype(np.int32)


def _packed(walls: Walls, at: Walkers, turn: Turn, n: int) -> Walkers:
    """Inside and outside of cylinders (n = 2) or spheres (n = 3) that are packed."""
    length = pick(walls.step, at.medium) * turn.root
    d = tuple(length * s for s in turn.steps)
    x, v = at.x[:n], d[:n]
    end = tuple(a + b for a, b in zip(x, v, strict=True))
    leaves = at.medium == 0
    center = tuple(
        jnp.where(leaves, a, b) for a, b in zip(_nearest(walls, x), _nearest(walls, end), strict=True)
    )  # of the ball that a walker is in, or comes into
    crossed = _beyond(walls, end, center) != at.medium
    u = _less(x, center)
    share = _hit(u, v, walls.size, leaves)
    back = tuple(a + c for a, c in zip(_reflected(u, v, walls.size, share), center, strict=True))
    passes = crossed & (turn.chance(0) < pick(walls.through, at.medium) * turn.root)
    other = 1 - at.medium
    stretch = share + (1 - share) * pick(walls.step, other) / pick(walls.step, at.medium)
    beyond = tuple(a + stretch * b for a, b in zip(x, v, strict=True))
    chosen = tuple(jnp.where(crossed, jnp.where(passes, p, b), e) for p, b, e in zip(beyond, back, end, strict=True))
    medium = jnp.where(passes, other, at.medium)
    last = tuple(jnp.where(medium == 0, a, b) for a, b in zip(center, _nearest(walls, chosen), strict=True))
    good = _beyond(walls, chosen, last) == medium
    moved = tuple(jnp.where(good, a, b) for a, b in zip(chosen, x, strict=True))
    rest = tuple(a + b for a, b in zip(at.x[n:], d[n:], strict=True))
    return Walkers((*moved, *rest), jnp.where(good, medium, at.medium))  # type: ignore[arg-type]


def _label_at(walls: Walls, voxel: tuple[Array, ...]) -> Int[Array, " walkers"]:
    shape = walls.labels.shape
    i, j, k = (jnp.mod(v, n) for v, n in zip(voxel, shape, strict=True))
    return jnp.take(walls.labels.reshape(-1), (i * shape[1] + j) * shape[2] + k, mode="clip")


def _grid(walls: Walls, at: Walkers, turn: Turn) -> Walkers:
    """A grid of voxels: along one axis after the other, each by less than a voxel."""
    x, medium = list(at.x), at.medium
    middle = [0.5 * n for n in walls.labels.shape]
    voxel = [jnp.floor(x[a] / walls.cell[a] + middle[a]).astype(np.int32) for a in range(3)]
    for axis in range(3):
        length = pick(walls.step, medium)
        step = length * turn.root * turn.steps[axis]
        end = x[axis] + step
        there = jnp.floor(end / walls.cell[axis] + middle[axis]).astype(np.int32)
        label = _label_at(walls, (*voxel[:axis], there, *voxel[axis + 1 :]))
        wall = (jnp.maximum(voxel[axis], there).astype(end.dtype) - middle[axis]) * walls.cell[axis]
        crossed = label != medium
        passes = crossed & (label >= 0) & (turn.chance(axis) < pick(walls.through, medium) * turn.root)
        stretched = wall + (end - wall) * pick(walls.step, jnp.maximum(label, 0)) / length
        moved = jnp.where(crossed, jnp.where(passes, stretched, 2 * wall - end), end)
        x[axis] = jnp.where(crossed & (there == voxel[axis]), x[axis], moved)  # a walker that rounding put on a wall
        stays = crossed & ~passes
        voxel[axis] = jnp.where(stays, voxel[axis], there)
        medium = jnp.where(passes, label, medium)
    return Walkers((x[0], x[1], x[2]), medium)


def _among_triangles(walls: Walls, at: Walkers, turn: Turn) -> Walkers:
    if walls.mesh is None:
        raise TypeError("triangles are missing")
    length = pick(walls.step, at.medium) * turn.root
    d = (length * turn.steps[0], length * turn.steps[1], length * turn.steps[2])
    stretch = walls.step[::-1] / walls.step
    return Walkers(*walk_mesh.move(walls.mesh, at.x, at.medium, d, turn.chance(0), walls.through * turn.root, stretch))


_SHARED = {
    "mesh": _among_triangles,
    "cylinders": lambda walls, at, turn: _packed(walls, at, turn, 2),
    "spheres": lambda walls, at, turn: _packed(walls, at, turn, 3),
    "labels": _grid,
}


def move_shared(kind: str, walls: Walls, at: Walkers, turn: Turn) -> Walkers:
    """One step of walkers in geometries of several media."""
    return _SHARED[kind](walls, at, turn)
