"""Field maps: polynomials of position, and the dipole field of susceptibility."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from mrisim._types import Float
from mrisim.errors import Problem, ResourceError

MAX_CELLS = 400_000_000
"""Cells of the padded susceptibility grid."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Polynomial:
    """c + l·r + rᵀ Q r with r the physical position [m].

    Example:
        >>> import numpy as np
        >>> ramp = Polynomial(constant=1.0, linear=np.array([10.0, 0.0, 0.0]))
        >>> ramp.value(np.array([[0.1, 5.0, 5.0]])).tolist()
        [2.0]
    """

    constant: float = 0.0
    linear: Float[np.ndarray, " 3"] = field(default_factory=lambda: np.zeros(3))
    quadratic: Float[np.ndarray, "3 3"] = field(default_factory=lambda: np.zeros((3, 3)))

    def value(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        result = self.constant + points @ self.linear
        if self.quadratic.any():
            result += np.einsum("ni,ij,nj->n", points, self.quadratic, points)
        return result


@dataclass(frozen=True, kw_only=True, eq=False)
class DipoleMap:
    """Relative field change of a susceptibility distribution on a grid, interpolated between its cells."""

    values: Float[np.ndarray, "x y z"]  # [ppm]
    origin: Float[np.ndarray, " 3"]  # position of the first cell [m]
    spacing: float  # [m]

    def value(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Field change [ppm]; that of the nearest cell outside the grid."""
        from scipy.ndimage import map_coordinates  # a second to import, for maps of susceptibility only

        index = (points - self.origin) / self.spacing
        return map_coordinates(self.values, index.T, order=1, mode="nearest")


def dipole_map(
    chi: Callable[[Float[np.ndarray, "n 3"]], Float[np.ndarray, " n"]],
    low: Float[np.ndarray, " 3"],
    high: Float[np.ndarray, " 3"],
    spacing: float,
    outside: float,
    endless: bool,
) -> DipoleMap:
    """Field change of susceptibility in a main field along z, with the Lorentz sphere corrected for.

    The distribution is convolved with the field of a dipole, on a grid of twice its size so that it sees no image of
    itself. What does not change along z fills one layer and is taken as endless: a third of the susceptibility.

    Args:
        chi: Susceptibility at positions [ppm].
        low, high: Corners of the region that is not `outside` [m].
        spacing: Of the grid [m].
        outside: Susceptibility around the region [ppm]; a homogeneous surrounding changes no field inside it.
        endless: Whether the distribution goes on along z.

    Raises:
        ResourceError: a grid of more than `MAX_CELLS`.

    Source: Salomir et al., Concepts Magn Reson B 19:26 (2003), with the dipole in space, (3 cos²θ - 1)/(4π r³).
    """
    counts = np.maximum(1, np.ceil((high - low) / spacing - 1e-6).astype(int))
    if endless:
        counts[2] = 1
    padded = [8 * math.ceil(2 * n / 8) for n in counts]  # even, and fast more often than not
    if np.prod(np.array(padded, dtype=float)) > MAX_CELLS:
        rule = f"must be at most {MAX_CELLS:.0e} cells of susceptibility, but is {np.prod(np.array(padded, float)):.1e}"
        raise ResourceError(Problem(rule, "Give susceptibility a coarser resolution", path="fields.b0.susceptibility"))
    origin = 0.5 * (low + high) - 0.5 * (counts - 1) * spacing
    source = np.zeros(counts, dtype=np.float32)
    for i in range(counts[0]):  # one plane at a time: positions take 24 bytes a cell
        plane = np.stack(np.meshgrid([i], np.arange(counts[1]), np.arange(counts[2]), indexing="ij"), axis=-1)
        layer = chi(plane.reshape(-1, 3) * spacing + origin) - outside
        source[i] = layer.reshape(counts[1], counts[2])
    values = source / 3.0 if endless else _convolve(source, padded)
    return DipoleMap(values=values, origin=origin, spacing=spacing)


def _convolve(source: Float[np.ndarray, "x y z"], padded: list[int]) -> Float[np.ndarray, "x y z"]:
    """Sum of the fields of all cells but the own one, whose mean vanishes by symmetry."""
    x, y, z = np.meshgrid(*[(np.fft.fftfreq(n) * n).astype(np.float32) for n in padded], indexing="ij", sparse=True)
    square = x**2 + y**2 + z**2
    square[0, 0, 0] = 1.0
    dipole = (3.0 * z**2 - square) / (4.0 * np.pi * square**2.5)
    dipole[0, 0, 0] = 0.0
    result = np.fft.irfftn(
        np.fft.rfftn(dipole) * np.fft.rfftn(source, s=padded, axes=(0, 1, 2)), s=padded, axes=(0, 1, 2)
    )
    return np.ascontiguousarray(result[: source.shape[0], : source.shape[1], : source.shape[2]])
