"""Field maps: polynomials of position, and the dipole field of susceptibility."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy import fft
from scipy.ndimage import map_coordinates

from mrisim._types import Float, Int
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

    The distribution is convolved with the dipole kernel on a grid padded to twice its size with what is outside.
    A distribution that does not change along z fills one layer and is endless.

    Args:
        chi: Susceptibility at positions [ppm].
        low, high: Corners of the region that is not `outside` [m].
        spacing: Of the grid [m].
        outside: Susceptibility around the region [ppm]; a homogeneous surrounding changes no field inside it.
        endless: Whether the distribution goes on along z.

    Raises:
        ResourceError: a grid of more than `MAX_CELLS`.

    Source: Marques and Bowtell, Concepts Magn Reson B 25:65 (2005); kernel 1/3 - kz²/k².
    """
    counts = np.maximum(1, np.ceil((high - low) / spacing).astype(int))
    if endless:
        counts[2] = 1
    padded = [fft.next_fast_len(int(2 * n), real=True) for n in counts]
    if endless:
        padded[2] = 1
    if np.prod(np.array(padded, dtype=float)) > MAX_CELLS:
        rule = f"must be at most {MAX_CELLS:.0e} cells of susceptibility, but is {np.prod(np.array(padded, float)):.1e}"
        raise ResourceError(Problem(rule, "Give susceptibility a coarser resolution", path="fields.b0.susceptibility"))
    origin = 0.5 * (low + high) - 0.5 * (counts - 1) * spacing
    source = np.zeros(padded, dtype=np.float32)
    for i in range(counts[0]):  # one plane at a time: positions take 24 bytes a cell
        plane = np.stack(np.meshgrid([i], np.arange(counts[1]), np.arange(counts[2]), indexing="ij"), axis=-1)
        values = chi(plane.reshape(-1, 3) * spacing + origin) - outside
        source[i, : counts[1], : counts[2]] = values.reshape(counts[1], counts[2])
    return DipoleMap(values=_convolve(source, counts), origin=origin, spacing=spacing)


def _convolve(source: Float[np.ndarray, "x y z"], counts: Int[np.ndarray, " 3"]) -> Float[np.ndarray, "x y z"]:
    spectrum = fft.rfftn(source)
    kx, ky = (fft.fftfreq(n)[:, None] for n in source.shape[:2])
    kz = fft.rfftfreq(source.shape[2])[None, None, :] if source.shape[2] > 1 else np.zeros((1, 1, 1))
    square = (kx**2)[:, None] + (ky**2)[None, :] + kz**2
    square[0, 0, 0] = 1.0
    kernel = 1.0 / 3.0 - kz**2 / square
    if source.shape[2] > 1:
        kernel[0, 0, 0] = 0.0  # mean over all directions; without structure along z, kz is zero and 1/3 stays
    result = fft.irfftn(spectrum * kernel, s=source.shape)
    return np.ascontiguousarray(result[: counts[0], : counts[1], : counts[2]])
