"""What real RF spoiling leaves of the ideally spoiled signal, as a table that fits look it up in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mrisim._types import Float
from mrisim.errors import Problem
from mrisim.physics.chebyshev import chebyshev_points, chebyshev_weights
from mrisim.physics.spoiling import INCREMENT, rf_spoiled

Range = tuple[float, float]
T1_RANGE: Range = (math.log(5e-3), math.log(10.0))  # of the table; beyond, its end [ln s]
T2_RANGE: Range = (math.log(2e-3), math.log(0.5))  # [ln s]
B1_RANGE: Range = (0.2, 2.0)
STEEPEST = math.radians(89.0)
POINTS = {"t1": 24, "t2": 20, "b1": 12}  # with these the table is right to some 1e-6
ENOUGH = 1e-6  # tolerance of the table's entries
EDGE = 1e-9  # of rounding
CHUNK = 1024  # voxels whose tables are interpolated at once


class Spoiling(NamedTuple):
    """How transverse magnetisation was spoiled, for the correction of what real RF spoiling leaves."""

    t2: ArrayLike = 0.08  # of the tissue, one value or (...) [s]
    increment: float = INCREMENT  # of the phase increment [rad]
    damping: float = 0.0  # by diffusion, as in `rf_spoiled` [1]


def spoiling_problems(spoiling: Spoiling | None, shape: tuple[int, ...]) -> list[Problem]:
    """What is wrong with the spoiling of voxels of some shape."""
    if spoiling is None:
        return []
    t2, problems = np.asarray(spoiling.t2, dtype=float), []
    if t2.shape not in ((), shape):
        rule = f"must be one value or have shape {shape}, but has {t2.shape}"
        problems.append(Problem(rule, path="spoiling.t2"))
    if (t2 < 0).any():
        rule = f"must be above zero, or nan where it is not known, but is {t2[t2 < 0].flat[0]:g} s"
        problems.append(Problem(rule, "Check the map of T2", "spoiling.t2"))
    if not np.isfinite(spoiling.increment):
        problems.append(Problem(f"must be an angle, but is {spoiling.increment:g}", path="spoiling.increment"))
    if not (np.isfinite(spoiling.damping) and spoiling.damping >= 0):
        problems.append(Problem(f"must be zero or positive, but is {spoiling.damping:g}", path="spoiling.damping"))
    return problems


@dataclass(frozen=True, kw_only=True, eq=False)
class SpoilingTable:
    """Signal of real spoiling over that of ideal spoiling, at Chebyshev's points of each axis."""

    share: Float[np.ndarray, "flips b1 t2 t1"]
    b1: Float[np.ndarray, " b1"]
    limits: Range  # of B1
    t2: Float[np.ndarray, " t2"]  # [ln s]
    t1: Float[np.ndarray, " t1"]  # [ln s]

    @classmethod
    def of(cls, flip: ArrayLike, tr: float, b1: ArrayLike, spoiling: Spoiling) -> SpoilingTable:
        """For flip angles times the transmit fields that occur.

        Args:
            flip: Nominal flip angles [rad].
            tr: [s].
            b1: Relative to nominal; only its range counts.
            spoiling: Only its T2 is looked up, not tabulated.
        """
        angles = np.atleast_1d(np.asarray(flip, dtype=float))
        low, high = _range_of(b1, STEEPEST / angles.max())
        fields = chebyshev_points(low, high, POINTS["b1"] if high - low > 1e-9 else 1)
        t1, t2 = (chebyshev_points(*axis, POINTS[name]) for name, axis in (("t1", T1_RANGE), ("t2", T2_RANGE)))
        played = (angles[:, None] * fields)[:, :, None, None]
        real = rf_spoiled(played, tr, np.exp(t1), np.exp(t2)[:, None], spoiling.increment, ENOUGH, spoiling.damping)
        decay = np.exp(-tr / np.exp(t1))
        ideal = np.sin(played) * (1 - decay) / (1 - decay * np.cos(played))
        return cls(share=real / ideal, b1=fields, limits=(low, high), t2=t2, t1=t1)

    def at(
        self, b1: Float[np.ndarray, " voxels"], t1: Float[np.ndarray, "voxels n"], t2: Float[np.ndarray, "voxels n"]
    ) -> Float[np.ndarray, "voxels flips n"]:
        """Share of the ideal signal at points of each voxel.

        It is nan where a property is nan or not positive, or the field beyond reason or beyond 89 degrees.
        """
        pieces = [self._at(*(one[i : i + CHUNK] for one in (b1, t1, t2))) for i in range(0, len(b1), CHUNK)]
        return np.concatenate([np.zeros((0, len(self.share), t1.shape[1])), *pieces])

    def _at(self, b1: np.ndarray, t1: np.ndarray, t2: np.ndarray) -> np.ndarray:
        low, high = self.limits
        known = (b1 > low * (1 - EDGE)) & (b1 < high * (1 + EDGE)) & (t1 > 0).all(axis=1) & (t2 > 0).all(axis=1)
        field, time, echo = (np.where(known if one.ndim == 1 else known[:, None], one, 1.0) for one in (b1, t1, t2))
        if (field == field[0]).all():
            field = field[:1]
        of_t1 = _weights(self.t1, np.log(time), T1_RANGE)[:, None]
        of_t2 = _weights(self.t2, np.log(echo), T2_RANGE)[:, None]
        tables = np.tensordot(_weights(self.b1, field, self.limits), self.share, (1, 1))  # (voxels, flips, t2, t1)
        found = np.sum((of_t2 @ tables) * of_t1, axis=-1)
        return np.where(known[:, None, None], found, np.nan)


def _weights(points: np.ndarray, wanted: np.ndarray, limits: Range) -> Float[np.ndarray, "*wanted points"]:
    inside = np.clip(wanted, *limits)
    return chebyshev_weights(points, inside.ravel()).reshape(*inside.shape, len(points))


def _range_of(b1: ArrayLike, steepest: float) -> Range:
    """Of the transmit fields that occur, within reason."""
    fields = np.asarray(b1, dtype=float)
    known = fields[np.isfinite(fields) & (fields > 0)]
    known = np.clip(known, B1_RANGE[0], min(B1_RANGE[1], steepest))
    return (float(known.min()), float(known.max())) if known.size else (1.0, 1.0)
