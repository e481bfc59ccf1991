"""Shapes of a phantom: point membership, boundaries, and Fourier transforms where a closed form exists.

A shape is a body in its own coordinates and a placement (center, orthogonal axes) in physical space. Lengths in m, k in
cycles per m, transforms F(k) = ∫ exp(-2πi k·r) dr in m³.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from scipy.special import j1

from mrisim._types import Bool, Complex, Float

_AXES = {"x": 0, "y": 1, "z": 2}


class Section(Protocol):
    """A plane figure in its own coordinates."""

    def inside(self, points: Float[np.ndarray, "n 2"]) -> Bool[np.ndarray, " n"]: ...

    def transform(self, k: Float[np.ndarray, "n 2"]) -> Complex[np.ndarray, " n"]:
        """∫ exp(-2πi k·r) dA [m²]."""
        ...

    def outline(self, n: int) -> Float[np.ndarray, "n 2"]: ...

    @property
    def area(self) -> float: ...


class Body(Protocol):
    """A solid in its own coordinates. A half height of infinity means: as high as the phantom."""

    def inside(self, points: Float[np.ndarray, "n 3"]) -> Bool[np.ndarray, " n"]: ...

    def boundary(self, n: int) -> Float[np.ndarray, "m 3"]: ...

    @property
    def reach(self) -> Float[np.ndarray, " 3"]:
        """Half sides of a box about the origin that holds the body [m]."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Ellipse:
    """Plane figure (x/a)² + (y/b)² ≤ 1."""

    radii: Float[np.ndarray, " 2"]  # [m]

    @property
    def area(self) -> float:
        return math.pi * float(np.prod(self.radii))

    def inside(self, points: Float[np.ndarray, "n 2"]) -> Bool[np.ndarray, " n"]:
        return (points[:, 0] / self.radii[0]) ** 2 + (points[:, 1] / self.radii[1]) ** 2 <= 1.0

    def transform(self, k: Float[np.ndarray, "n 2"]) -> Complex[np.ndarray, " n"]:
        """Source: a b J1(2πK)/K with K² = (a kx)² + (b ky)²; Van de Walle et al., IEEE TMI 19:1160 (2000)."""
        x = 2.0 * np.pi * np.hypot(k[:, 0] * self.radii[0], k[:, 1] * self.radii[1])
        small = x < 1e-3
        safe = np.where(small, 1.0, x)
        return (2.0 * self.area * np.where(small, 0.5 - x**2 / 16.0, j1(safe) / safe)).astype(complex)

    def outline(self, n: int) -> Float[np.ndarray, "n 2"]:
        angle = 2.0 * np.pi * (np.arange(n) + 0.5) / n
        return np.stack([np.cos(angle), np.sin(angle)], axis=1) * self.radii


@dataclass(frozen=True, kw_only=True, eq=False)
class Polygon:
    """Plane figure with straight sides that do not cross; corners in either order."""

    corners: Float[np.ndarray, "n 2"]  # [m]

    @property
    def signed_area(self) -> float:
        x, y = self.corners.T
        return 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))

    @property
    def area(self) -> float:
        return abs(self.signed_area)

    @property
    def centroid(self) -> Float[np.ndarray, " 2"]:
        after = np.roll(self.corners, -1, axis=0)
        cross = self.corners[:, 0] * after[:, 1] - after[:, 0] * self.corners[:, 1]
        return ((self.corners + after) * cross[:, None]).sum(axis=0) / (6.0 * self.signed_area)

    def inside(self, points: Float[np.ndarray, "n 2"]) -> Bool[np.ndarray, " n"]:
        """Even-odd rule: a ray along +x crosses the outline an odd number of times."""
        odd = np.zeros(len(points), dtype=bool)
        for (x0, y0), (x1, y1) in zip(self.corners, np.roll(self.corners, -1, axis=0), strict=True):
            if y0 == y1:
                continue
            spans = (points[:, 1] < y0) != (points[:, 1] < y1)
            odd ^= spans & (points[:, 0] < x0 + (x1 - x0) * (points[:, 1] - y0) / (y1 - y0))
        return odd

    def transform(self, k: Float[np.ndarray, "n 2"]) -> Complex[np.ndarray, " n"]:
        """Transform by the divergence theorem, a sum over sides d with midpoint c.

        F = i/(2π|k|²) Σ (kx dy - ky dx) exp(-2πi k·c) sin(π k·d)/(π k·d).

        Source: Guerquin-Kern et al., IEEE TMI 31:626 (2012), derived anew because its eq. 24 lacks 1/|ω|².
        """
        after = np.roll(self.corners, -1, axis=0)
        sides, middles = after - self.corners, 0.5 * (after + self.corners)
        square = np.sum(k**2, axis=1)
        small = np.sqrt(square) * np.abs(self.corners - self.centroid).max() < 1e-5
        total = np.zeros(len(k), dtype=complex)
        for side, middle in zip(sides, middles, strict=True):
            flux = k[:, 0] * side[1] - k[:, 1] * side[0]
            total += flux * np.exp(-2j * np.pi * (k @ middle)) * np.sinc(k @ side)
        total *= np.sign(self.signed_area) * 1j / (2.0 * np.pi * np.where(small, 1.0, square))
        return np.where(small, self.area * np.exp(-2j * np.pi * (k @ self.centroid)), total)

    def outline(self, n: int) -> Float[np.ndarray, "n 2"]:
        after = np.roll(self.corners, -1, axis=0)
        lengths = np.linalg.norm(after - self.corners, axis=1)
        counts = np.maximum(2, np.ceil(n * lengths / lengths.sum()).astype(int))
        runs = [a + (b - a) * (np.arange(m) / m)[:, None] for a, b, m in zip(self.corners, after, counts, strict=True)]
        return np.concatenate(runs)


def rectangle(width: float, height: float) -> Polygon:
    """Rectangle about the origin [m]."""
    return Polygon(corners=0.5 * np.array([[-width, -height], [width, -height], [width, height], [-width, height]]))


@dataclass(frozen=True, kw_only=True, eq=False)
class Prism:
    """A plane figure, swept along z: cylinder, box, and every flat shape."""

    section: Section
    half_height: float = math.inf  # [m]

    @property
    def reach(self) -> Float[np.ndarray, " 3"]:
        return np.append(np.abs(self.section.outline(256)).max(axis=0) * 1.001, self.half_height)

    def inside(self, points: Float[np.ndarray, "n 3"]) -> Bool[np.ndarray, " n"]:
        return (np.abs(points[:, 2]) <= self.half_height) & self.section.inside(points[:, :2])

    def transform(self, k: Float[np.ndarray, "n 3"]) -> Complex[np.ndarray, " n"]:
        """Transform of the section [m²], times that of the height [m] where it is finite."""
        plane = self.section.transform(k[:, :2])
        if math.isinf(self.half_height):
            return plane
        return plane * 2.0 * self.half_height * np.sinc(2.0 * self.half_height * k[:, 2])

    def boundary(self, n: int) -> Float[np.ndarray, "m 3"]:
        outline = self.section.outline(max(64, n // 8))
        if math.isinf(self.half_height):
            return np.append(outline, np.zeros((len(outline), 1)), axis=1)
        levels = np.linspace(-self.half_height, self.half_height, 7)
        middle = outline.mean(axis=0)
        rings = [np.append(outline, np.full((len(outline), 1), z), axis=1) for z in levels]
        for scale, z in itertools.product((0.0, 0.25, 0.5, 0.75), (-self.half_height, self.half_height)):
            cap = middle + scale * (outline - middle)
            cap = cap[self.section.inside(cap)]
            rings.append(np.append(cap, np.full((len(cap), 1), z), axis=1))
        return np.concatenate(rings)


@dataclass(frozen=True, kw_only=True, eq=False)
class Ellipsoid:
    """Solid (x/a)² + (y/b)² + (z/c)² ≤ 1."""

    radii: Float[np.ndarray, " 3"]  # [m]

    @property
    def reach(self) -> Float[np.ndarray, " 3"]:
        return self.radii

    def inside(self, points: Float[np.ndarray, "n 3"]) -> Bool[np.ndarray, " n"]:
        return _ratio_squared(points, self.radii) <= 1.0

    def transform(self, k: Float[np.ndarray, "n 3"]) -> Complex[np.ndarray, " n"]:
        """Source: a b c (sin 2πK - 2πK cos 2πK)/(2π²K³), K = |(a kx, b ky, c kz)|; Koay et al., MRM 58:430 (2007)."""
        x = 2.0 * np.pi * np.linalg.norm(k * self.radii, axis=1)
        small = x < 0.05
        safe = np.where(small, 1.0, x)
        series = 1.0 / 3.0 - x**2 / 30.0 + x**4 / 840.0 - x**6 / 45360.0
        ratio = np.where(small, series, (np.sin(safe) - safe * np.cos(safe)) / safe**3)
        return (4.0 * np.pi * np.prod(self.radii) * ratio).astype(complex)

    def boundary(self, n: int) -> Float[np.ndarray, "m 3"]:
        return sphere_points(n) * self.radii


def _ratio_squared(points: Float[np.ndarray, "n 3"], radii: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " n"]:
    return sum(((points[:, axis] / radii[axis]) ** 2 for axis in range(3)), np.zeros(len(points)))


def sphere_points(n: int) -> Float[np.ndarray, "n 3"]:
    """Evenly spread points on the unit sphere.

    Source: Fibonacci lattice, Gonzalez, Math Geosci 42:49 (2010).
    """
    z = 1.0 - (2.0 * np.arange(n) + 1.0) / n
    angle = np.pi * (3.0 - math.sqrt(5.0)) * np.arange(n)
    radius = np.sqrt(1.0 - z**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Waves:
    """A smooth random function of position: a sum of plane waves with unit variance, the same for the same seed."""

    vectors: Float[np.ndarray, "waves 3"]  # [rad per unit of the argument]
    phases: Float[np.ndarray, " waves"]  # [rad]

    @staticmethod
    def of(seed: int, stream: int, number: float, count: int) -> Waves:
        """Waves of wave number about `number` (±15 %) in directions spread over the sphere."""
        random = np.random.default_rng([seed, stream])
        lengths = number * random.uniform(0.85, 1.15, count)
        turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
        return Waves(
            vectors=sphere_points(count) @ turn * lengths[:, None], phases=random.uniform(0.0, 2.0 * np.pi, count)
        )

    def value(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        total = np.zeros(len(points))
        for vector, phase in zip(self.vectors, self.phases, strict=True):
            total += np.cos(points @ vector + phase)
        return math.sqrt(2.0 / len(self.phases)) * total


@dataclass(frozen=True, kw_only=True, eq=False)
class Ribbon:
    """A folded ellipsoid: furrows of a given width and depth run over its surface like the sulci of a cortex.

    Around z there are `folds` furrows at seeded, uneven angles. They bend on their way in (`wander`), each reaches to a
    depth of its own, their floors are round, and they fade towards the poles. Two ribbons of the same seed, folds and
    wander have their furrows in the same places, so that a wider furrow in the inner one leaves a layer of even
    thickness between both. No closed form of its Fourier transform exists.
    """

    radii: Float[np.ndarray, " 3"]  # [m]
    folds: int
    depth: float  # of the deepest furrow [m]
    width: float  # of a furrow [m]
    seed: int
    wander: float = 4e-3  # how far a furrow strays from the radial direction, root mean square [m]

    uneven: Waves = field(init=False)
    deepness: Waves = field(init=False)
    stray: tuple[Waves, Waves, Waves] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "uneven", Waves.of(self.seed, 0, 4.0, 8))
        object.__setattr__(self, "deepness", Waves.of(self.seed, 1, 0.7 * self.folds, 8))
        strays = tuple(Waves.of(self.seed, 2 + i, 2.0 * np.pi / 50e-3, 5) for i in range(3))
        object.__setattr__(self, "stray", strays)

    @property
    def reach(self) -> Float[np.ndarray, " 3"]:
        return self.radii

    def inside(self, points: Float[np.ndarray, "n 3"]) -> Bool[np.ndarray, " n"]:
        ratio = np.sqrt(_ratio_squared(points, self.radii))
        inside = ratio <= 1.0
        below = np.linalg.norm(points, axis=1) * (1.0 / np.maximum(ratio, 1e-12) - 1.0)  # depth below the hull
        shell = np.flatnonzero(inside & (below < self.depth))
        inside[shell] = below[shell] >= self._furrow(points[shell])
        return inside

    def _furrow(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Depth of the furrow at points in the shell [m]: elliptic across its width, none on the axis."""
        points = points + self.wander * np.stack([waves.value(points) for waves in self.stray], axis=1)
        from_axis = np.hypot(points[:, 0], points[:, 1])
        distance = np.linalg.norm(points, axis=1)
        direction = points / np.maximum(distance, 1e-12)[:, None]
        turns = self.folds * np.arctan2(points[:, 1], points[:, 0]) / (2.0 * np.pi) + 0.35 * self.uneven.value(
            direction
        )
        across = np.abs(turns - np.round(turns)) * 2.0 * np.pi * from_axis / self.folds
        deep = self.depth * np.clip(0.7 + 0.35 * self.deepness.value(direction), 0.15, 1.0)
        fade = np.clip(from_axis / np.maximum(distance, 1e-12) * 2.0 - 0.4, 0.0, 1.0)
        return deep * fade * np.sqrt(np.clip(1.0 - (2.0 * across / self.width) ** 2, 0.0, None))

    def boundary(self, n: int) -> Float[np.ndarray, "m 3"]:
        return sphere_points(n) * self.radii


@dataclass(frozen=True, kw_only=True, eq=False)
class Shape:
    """A body at its place in the phantom.

    Example:
        >>> import numpy as np
        >>> ball = Shape(body=Ellipsoid(radii=np.full(3, 0.01)), center=np.array([0.02, 0.0, 0.0]))
        >>> ball.contains(np.array([[0.025, 0.0, 0.0], [0.0, 0.0, 0.0]])).tolist()
        [True, False]
    """

    body: Prism | Ellipsoid | Ribbon
    center: Float[np.ndarray, " 3"] = field(default_factory=lambda: np.zeros(3))  # [m]
    axes: Float[np.ndarray, "3 3"] = field(default_factory=lambda: np.eye(3))  # columns: the body's x, y, z; orthogonal

    def contains(self, points: Float[np.ndarray, "n 3"]) -> Bool[np.ndarray, " n"]:
        """Which physical points lie inside or on the boundary."""
        low, high = self.bounds
        columns = [points[:, axis] for axis in range(3)]
        near = np.ones(len(points), dtype=bool)
        for column, start, stop in zip(columns, low, high, strict=True):
            near &= (column >= start) & (column <= stop)
        result = np.zeros(len(points), dtype=bool)
        if near.any():
            moved = np.stack([column[near] - c for column, c in zip(columns, self.center, strict=True)])
            result[near] = self.body.inside((self.axes.T @ moved).T)
        return result

    @functools.cached_property
    def bounds(self) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]]:
        """Corners of a box along the physical axes that holds the shape [m]; infinite where the shape is."""
        parts = np.where(np.abs(self.axes) < 1e-12, 0.0, np.abs(self.axes))
        with np.errstate(invalid="ignore"):
            half = np.where(parts == 0.0, 0.0, parts * self.body.reach).sum(axis=1) * (1.0 + 1e-9)
        return self.center - half, self.center + half

    def transform(self, k: Float[np.ndarray, "n 3"]) -> Complex[np.ndarray, " n"]:
        """∫ exp(-2πi k·r) dr over the shape [m³], [m²] for a prism without height.

        Raises:
            TypeError: a ribbon has no closed form; `PhantomModel.form_factors` refuses it before.
        """
        if isinstance(self.body, Ribbon):
            raise TypeError("a ribbon has no closed form")
        return self.body.transform(k @ self.axes) * np.exp(-2j * np.pi * (k @ self.center))

    def boundary(self, n: int = 4096) -> Float[np.ndarray, "m 3"]:
        """Points on the surface; on the outline at the shape's center where the height is infinite."""
        return self.body.boundary(n) @ self.axes.T + self.center

    def mirrored(self, axis: str) -> Shape:
        """The mirror image across the plane through the origin normal to an axis "x", "y" or "z"."""
        flip = np.ones(3)
        flip[_AXES[axis]] = -1.0
        return replace(self, center=self.center * flip, axes=flip[:, None] * self.axes)


def turned(angles: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "3 3"]:
    """Axes of a body turned about x, then y, then z, counter-clockwise seen from the tip of each axis [rad]."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        cosine, sine = math.cos(angle), math.sin(angle)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[i, i], step[i, j], step[j, i], step[j, j] = cosine, -sine, sine, cosine
        matrix = step @ matrix
    return matrix


def along(direction: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "3 3"]:
    """Axes of a body whose z axis points along a direction."""
    z = direction / np.linalg.norm(direction)
    x = np.cross([0.0, 1.0, 0.0] if abs(z[1]) < 0.9 else [1.0, 0.0, 0.0], z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)
