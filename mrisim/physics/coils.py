"""Receive sensitivities by the law of Biot and Savart, quasi-static, on the host in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ellipe, ellipk

from mrisim._types import Complex, Float
from mrisim.errors import ConsistencyError, Problem


def uniform(positions: ArrayLike) -> Complex[np.ndarray, "1 ..."]:
    """One coil that receives everywhere alike.

    Args:
        positions: (..., 3) [m].

    Example:
        >>> uniform(np.zeros((2, 3))).tolist()
        [[(1+0j), (1+0j)]]
    """
    return np.ones((1, *np.asarray(positions).shape[:-1]), dtype=complex)


@dataclass(frozen=True, kw_only=True)
class CoilArray:
    """Circular loops on one or more rings about the z axis, their axes through it.

    The elements of every second ring are turned by half an element. Sensitivities are B1⁻ = Bx - iBy of a unit current,
    scaled so that the sum of squares at the center of the array is 1: an image by known sensitivities keeps its value,
    and a coil that sees no spin better than its neighbors adds no signal there.

    Example:
        >>> array = CoilArray(elements=8, radius=0.15, size=0.05)
        >>> round(float(np.sum(np.abs(array.sensitivity([0.0, 0.0, 0.0])) ** 2)), 12)
        1.0
    """

    elements: int = 8  # per ring
    radius: float = 0.15  # of the ring [m]
    size: float = 0.05  # radius of an element's loop [m]
    rings: int = 1
    spacing: float = 0.1  # between rings along z, used with more than one [m]
    center: tuple[float, float, float] = (0.0, 0.0, 0.0)  # of the array [m]
    wire: float = 1e-3  # radius of the conductor: within it the field is taken as at its surface [m]

    def __post_init__(self) -> None:
        problems = [
            Problem(f"must be above 0, but is {getattr(self, name):g}", path=f"coils.{name}")
            for name in ("elements", "radius", "size", "rings", "spacing", "wire")
            if not getattr(self, name) > 0
        ]
        if problems:
            raise ConsistencyError(problems)

    @property
    def n_coils(self) -> int:
        return self.elements * self.rings

    def placement(self) -> tuple[Float[np.ndarray, "coils 3"], Float[np.ndarray, "coils 3"]]:
        """Centers of the loops [m] and their axes, unit vectors that point at the axis of the array."""
        ring, element = np.divmod(np.arange(self.n_coils), self.elements)
        angle = 2 * np.pi * (element + 0.5 * (ring % 2)) / self.elements
        outward = np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=1)
        height = (ring - (self.rings - 1) / 2) * self.spacing
        centers = self.radius * outward + height[:, None] * np.array([0.0, 0.0, 1.0])
        return centers + np.asarray(self.center), -outward

    def sensitivity(self, positions: ArrayLike) -> Complex[np.ndarray, "coils ..."]:
        """Complex sensitivity of each element, first ring first.

        Args:
            positions: (..., 3), physical [m].

        Source:
            Roemer et al., Magn Reson Med 16:192 (1990), for B1⁻ as the sensitivity of reception.
        """
        positions = np.asarray(positions, dtype=float)
        centers, axes = self.placement()
        at_center = self._receive(np.asarray(self.center, dtype=float), centers, axes)
        return self._receive(positions, centers, axes) / np.sqrt(np.sum(np.abs(at_center) ** 2))

    def _receive(self, positions: np.ndarray, centers: np.ndarray, axes: np.ndarray) -> np.ndarray:
        fields = (loop_field(positions - c, axis, self.size, self.wire) for c, axis in zip(centers, axes, strict=True))
        return np.stack([field[..., 0] - 1j * field[..., 1] for field in fields])


def loop_field(
    positions: Float[np.ndarray, "*shape 3"], axis: Float[np.ndarray, " 3"], radius: float, wire: float
) -> Float[np.ndarray, "*shape 3"]:
    """Magnetic field of a circular loop about the origin, for mu0 · current = 2 pi.

    With rho and z along and beside the axis, and b² = (a + rho)² + z², c² = (a - rho)² + z², m = 1 - c²/b²:
    Bz = (K(m) + (a² - rho² - z²)/c² E(m)) / b, Brho = z (-K(m) + (a² + rho² + z²)/c² E(m)) / (rho b).

    Args:
        positions: Relative to the center of the loop [m].
        axis: Unit vector that the current turns about.
        radius: Of the loop, a [m].
        wire: Least distance from the conductor that is told apart [m].

    Source:
        Smythe, Static and Dynamic Electricity, 3rd edition (1968), section 7.10.

    Example:
        >>> on_axis = loop_field(np.array([0.0, 0.0, 0.1]), np.array([0.0, 0.0, 1.0]), 0.1, 1e-3)
        >>> bool(np.isclose(on_axis[2], np.pi * 0.1**2 / (0.1**2 + 0.1**2) ** 1.5))
        True
    """
    z = positions @ axis
    beside = positions - z[..., None] * axis
    rho = np.linalg.norm(beside, axis=-1)
    near = np.maximum((radius - rho) ** 2 + z**2, wire**2)
    far = (radius + rho) ** 2 + z**2
    m = 1 - np.minimum(near / far, 1.0)
    k, e = ellipk(m), ellipe(m)
    along = (k + (radius**2 - rho**2 - z**2) / near * e) / np.sqrt(far)
    on_axis = rho < 1e-9 * radius
    safe = np.where(on_axis, 1.0, rho)
    across = np.where(on_axis, 0.0, z * (-k + (radius**2 + rho**2 + z**2) / near * e) / (safe * np.sqrt(far)))
    return along[..., None] * axis + (across / safe)[..., None] * beside
