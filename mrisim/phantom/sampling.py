"""Where isochromats lie: a rank-1 lattice in each voxel of a grid along the sequence's axes."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from mrisim._types import Float, Int
from mrisim.data import Geometry
from mrisim.errors import ConsistencyError, Problem, ResourceError

CHUNK = 1 << 15
"""Points that are painted at once."""
MAX_CANDIDATES = 20_000_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Sampling:
    """A voxel grid and the number of isochromats in each voxel.

    Voxel centers lie at whole multiples of the voxel from the geometry's center along its read, phase and slice
    directions, as those of an image do; isochromats outside the extent are left out.

    Example:
        >>> Sampling(extent=(0.1, 0.1, 0.005), voxel=(0.001, 0.001, 0.005), isochromats=8).voxels
        (101, 101, 1)
    """

    geometry: Geometry = field(default_factory=Geometry)
    extent: tuple[float, float, float]  # along read, phase, slice [m]
    voxel: tuple[float, float, float]  # [m]
    isochromats: int = 1
    stagger: bool = (
        False  # for an image that does not resolve the slice direction: each column of voxels is moved along it, within
        # the distance of two isochromats, and is spread over the Lorentzian line as a whole
    )

    def __post_init__(self) -> None:
        problems = []
        for name in ("extent", "voxel"):
            value = getattr(self, name)
            if len(value) != 3 or not all(math.isfinite(side) and side > 0.0 for side in value):
                problems.append(Problem(f"must be three finite lengths above 0 m, but is {value}", path=name))
        if not isinstance(self.isochromats, int) or isinstance(self.isochromats, bool) or self.isochromats < 1:
            problems.append(Problem(f"must be a whole number above 0, but is {self.isochromats}", path="isochromats"))
        if problems:
            raise ConsistencyError(problems)
        candidates = math.prod(self.voxels) * self.isochromats
        if candidates > MAX_CANDIDATES:
            rule = f"must be at most {MAX_CANDIDATES:.0e} points to look at, but is {candidates:.1e}"
            raise ResourceError(Problem(rule, "Take a larger voxel or fewer isochromats per voxel", path="sampling"))

    @property
    def voxels(self) -> tuple[int, int, int]:
        """Number of voxels along read, phase and slice: odd, and enough to cover the extent."""
        counts = (
            2 * math.ceil(max(0.0, (side / voxel - 1.0) / 2.0) - 1e-9) + 1
            for side, voxel in zip(self.extent, self.voxel, strict=True)
        )
        nx, ny, nz = counts
        return nx, ny, nz

    @property
    def voxel_volume(self) -> float:
        """Volume of a voxel [m³]."""
        return math.prod(self.voxel)

    def chunks(
        self, within: tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]] | None = None
    ) -> Iterator[tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, " n"]]]:
        """Points inside the extent, relative to the center along the logical axes [m], and their place in a line.

        Chunks follow each other along the slice and the phase direction, so that each is compact.

        Args:
            within: Corners of a box along the logical axes; voxels that lie outside it are passed over.
        """
        offsets = lattice(self.isochromats)
        x, y, z = (self._indices(axis, within) for axis in range(3))
        rows = max(1, CHUNK // max(1, len(x) * self.isochromats))
        for level, start in itertools.product(z, range(0, len(y), rows)):
            yield self._points(x, y[start : start + rows], level, offsets)

    def _indices(
        self, axis: int, within: tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]] | None
    ) -> Int[np.ndarray, " voxels"]:
        """Voxels along an axis, the one at the center is 0."""
        index = np.arange(self.voxels[axis]) - self.voxels[axis] // 2
        if within is None:
            return index
        side = self.voxel[axis]
        return index[((index + 0.5) * side >= within[0][axis]) & ((index - 0.5) * side <= within[1][axis])]

    def _points(
        self, x: Int[np.ndarray, " x"], y: Int[np.ndarray, " y"], z: int, offsets: Float[np.ndarray, "n 3"]
    ) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, " n"]]:
        index = np.stack(np.broadcast_arrays(x[None, :], y[:, None], np.int64(z)), axis=-1).reshape(-1, 3)
        places = index[:, None] + offsets
        if self.stagger:
            places[..., 2] += stagger(index[:, :2])[:, None] / self.isochromats
        points = (places * np.asarray(self.voxel)).reshape(-1, 3)
        half = 0.5 * np.asarray(self.extent) * (1.0 + 1e-12)
        keep = (np.abs(points) <= half).all(axis=1)
        return points[keep], self._lines(index).reshape(-1)[keep]

    def _lines(self, index: Int[np.ndarray, "voxels 3"]) -> Float[np.ndarray, "voxels n"]:
        """Places in the Lorentzian line: of each voxel's isochromats, or of those of its whole column."""
        n = self.isochromats
        if not self.stagger:
            return line_places(index[:, :2], n)
        layers = self.voxels[2]
        first = (int(index[0, 2]) + layers // 2) * n
        return line_places(index[:, :2], layers * n)[:, first : first + n]


def line_places(index: Int[np.ndarray, "voxels 2"], n: int) -> Float[np.ndarray, "voxels n"]:
    """Places of the isochromats of voxels in their Lorentzian line, in (-1/2, 1/2).

    In each voxel n equidistant places, moved by a shift of the voxel's own so that neighbours fill the gaps, and dealt
    to the isochromats in an order of its own so that place and position are not tied. Voxels that lie on top of each
    other along the slice direction share them, so that an encoding in a plane need not tell them apart.

    Source: shifts by the R2 sequence, Roberts, The unreasonable effectiveness of quasirandom sequences (2018).
    """
    mixed = _mixed(index)
    units = _units(n)
    order = units[mixed % len(units)][:, None] * np.arange(n) + (mixed // len(units))[:, None]
    shift = (index[:, 0] * 0.7548776662466927 + index[:, 1] * 0.5698402909980532) % 1.0
    return np.clip((order % n + shift[:, None]) / n - 0.5, -0.5 + 1e-6, 0.5 - 1e-6)


def stagger(index: Int[np.ndarray, "voxels 2"]) -> Float[np.ndarray, " voxels"]:
    """Shift of each column of voxels, one of eight in (-1/2, 1/2); eight in a row have each of them once.

    So what gradients leave undone in a voxel, because its isochromats are few, has another phase in each column, and
    the columns that an echo without phase encoding adds up cancel each other: no bright line across the image.
    """
    return ((3 * index[:, 0] + 5 * index[:, 1]) % 8 - 3.5) / 8


def _mixed(index: Int[np.ndarray, "voxels 2"]) -> Int[np.ndarray, " voxels"]:
    """A number without order for each column of voxels."""
    mixed = (index[:, 0] * 73856093) ^ (index[:, 1] * 19349663)
    return ((mixed ^ (mixed >> 13)) * 1274126177) & 0x7FFFFFFF


def prime_up_to(n: int) -> int:
    """The largest prime up to a number above 1: lattices of a prime number of points cancel most gradients.

    Example:
        >>> [prime_up_to(n) for n in (2, 72, 101)]
        [2, 71, 101]
    """
    return next(m for m in range(n, 1, -1) if is_prime(m))


def is_prime(n: int) -> bool:
    """Whether a number above 1 is a prime."""
    return all(n % d for d in range(2, int(n**0.5) + 1))


@functools.cache
def lattice(n: int) -> Float[np.ndarray, "n 3"]:
    """Offsets of n isochromats in a unit voxel about its center.

    Point i lies at frac(i g/n + 1/(2n)) - 1/2 with generators g that have no factor in common with n. So the points'
    projection on each axis is n equidistant points: a gradient of c cycles per voxel along an axis is nulled exactly
    unless n divides c. A gradient of h = (a, b, c) cycles is nulled unless n divides a g1 + b g2 + c g3; the generators
    are those with the smallest sum of |h|⁻⁴ over the gradients that are not nulled. A prime n has the most to choose
    from; 2, 4 and 6 leave points on a diagonal.

    Source: rank-1 lattices and their dual, Sloan and Joe, Lattice Methods for Multiple Integration (1994).

    Example:
        >>> sorted(lattice(5)[:, 0].round(9).tolist())
        [-0.4, -0.2, 0.0, 0.2, 0.4]
    """
    steps = np.arange(n)[:, None] * np.array(generators(n))
    return (steps % n + 0.5) / n - 0.5


@functools.cache
def generators(n: int) -> tuple[int, int, int]:
    """Generators of the lattice of n points.

    Example:
        >>> all(math.gcd(g, 16) == 1 for g in generators(16))
        True
    """
    first = _units(n)[_units(n) <= max(1, n // 2)]  # a generator and its negative are mirror images
    if len(first) > 48:
        first = first[np.linspace(0, len(first) - 1, 48).astype(int)]
    candidates = [(1, int(a), int(b)) for a, b in itertools.combinations_with_replacement(first, 2)]
    return min(candidates, key=lambda g: _aliasing(g, n))


@functools.cache
def _units(n: int) -> Int[np.ndarray, " units"]:
    """Numbers up to n that have no factor in common with it."""
    return np.array([a for a in range(1, max(2, n)) if math.gcd(a, n) == 1])


def _aliasing(g: tuple[int, int, int], n: int) -> float:
    """Sum of |h|⁻⁴ over the vectors h of whole cycles per voxel that the lattice does not null."""
    cycles, weights = _cycles()
    return float(weights[(cycles @ np.array(g)) % n == 0].sum())


@functools.cache
def _cycles() -> tuple[Int[np.ndarray, "vectors 3"], Float[np.ndarray, " vectors"]]:
    grid = np.stack(np.meshgrid(*[np.arange(-8, 9)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    half = grid[len(grid) // 2 + 1 :]  # one of each pair h, -h; not zero
    return half, (half**2).sum(axis=1) ** -2.0
