"""Fibres: diffusion that is faster along one direction, which may change from place to place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mrisim._types import Float

Course = Literal["along", "around", "away_from"]
Vector = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Fibre:
    """An axially symmetric diffusion tensor with its direction.

    The direction is `axis` itself ("along"), tangential to circles about a line through `center` along `axis`
    ("around"), or straight away from that line ("away_from"). On that line itself nothing is tangential or away: the
    tensor is the isotropic one of the same trace there.

    Example:
        >>> ring = Fibre(axial=2.0, radial=0.5, axis=(0.0, 0.0, 1.0), course="around")
        >>> ring.tensors(np.array([[0.0, 3.0, 1.0]])).tolist()  # above the center: along x
        [[2.0, 0.5, 0.5, 0.0, 0.0, 0.0]]
    """

    axial: float  # [m²/s]
    radial: float  # [m²/s]
    axis: Vector  # of unit length
    course: Course = "along"
    center: Vector = (0.0, 0.0, 0.0)  # [m]

    @property
    def mean(self) -> float:
        """Mean diffusivity [m²/s]."""
        return (self.axial + 2.0 * self.radial) / 3.0

    def directions(self, position: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Unit vectors of the fibre at positions [m]; zero where there is none."""
        axis = np.array(self.axis)
        if self.course == "along":
            return np.broadcast_to(axis, position.shape)
        away = position - np.array(self.center)
        away = away - np.outer(away @ axis, axis)
        vectors = away if self.course == "away_from" else np.cross(axis, away)
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0.0)

    def tensors(self, position: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 6"]:
        """Tensors xx, yy, zz, xy, xz, yz at positions [m²/s]."""
        u = self.directions(position)
        products = u[:, [0, 1, 2, 0, 0, 1]] * u[:, [0, 1, 2, 1, 2, 2]]
        across = np.where((u != 0.0).any(axis=1), self.radial, self.mean)
        return (self.axial - self.radial) * products + across[:, None] * [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
