"""Which configuration states a sequence makes: labels and where each comes from. The same for every site.

A label is (κx, κy, κz [1/m], τ [s]): F(κ, τ) is the part of the transverse magnetisation that has the phase
-2π (κ·r + f τ) at place r and off-resonance f. Precession moves labels and changes no state but by its decay, so the
graph is made once, on the host; states that fall into one cell of the grid of labels are merged, and states that are
weak for all of a few representative sites are dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mrisim._types import Complex, Float, Int
from mrisim.physics.phase_graph import StateMap, turned

_MIXER = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], dtype=np.uint64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Passage:
    """Where the states after a step's pulse come from.

    Sources of F and G are rows of [F; conj G; 0] before it, those of Z rows of [Z; 0]; a state may have several.
    """

    f: Int[np.ndarray, "states sources"]
    g: Int[np.ndarray, "states sources"]
    z: Int[np.ndarray, "states sources"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Labels:
    """Labels of the states: row i of F and G after a pulse is q and -q; then precession moves both."""

    f: Float[np.ndarray, "states 4"]
    g: Float[np.ndarray, "states 4"]  # of conj G, which is F(-q); the first row is empty, being the first of F
    z: Float[np.ndarray, "states 4"]

    @staticmethod
    def start() -> Labels:
        zero = np.zeros((1, 4))
        return Labels(f=zero, g=zero, z=zero)

    @staticmethod
    def of(q: Float[np.ndarray, "states 4"]) -> Labels:
        return Labels(f=q, g=-q, z=q)

    def moved(self, by: Float[np.ndarray, " 4"]) -> Labels:
        return Labels(f=self.f + by, g=self.g + by, z=self.z)

    def transverse(self) -> Float[np.ndarray, "rows 4"]:
        return np.concatenate([self.f, self.g])


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """Grid on which labels are merged: the side of its cells [1/m] ×3, [s]."""

    side: Float[np.ndarray, " 4"]

    def keys(self, labels: Float[np.ndarray, "n 4"]) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        """A number for each label, the same for q and -q; and the sign, 0 for q = 0, that tells these apart."""
        index = np.round(labels / self.side).astype(np.int64)
        nonzero = index != 0
        first = np.argmax(nonzero, axis=1)
        sign = np.sign(index[np.arange(len(index)), first])
        half = (index * np.where(sign == 0, 1, sign)[:, None]).astype(np.uint64)
        mixed = (half * _MIXER).sum(axis=1, dtype=np.uint64)
        return (mixed ^ (mixed >> np.uint64(31))), sign


def merge(labels: Labels, cells: Cells) -> tuple[Float[np.ndarray, "states 4"], Passage]:
    """States that a pulse finds: one for each pair of labels q, -q; and where they come from. The first is q = 0."""
    transverse = labels.transverse()
    n = len(labels.f)
    rows_f = np.flatnonzero(np.arange(2 * n) != n)  # the first of G is the first of F
    key_f, sign_f = cells.keys(transverse[rows_f])
    key_z, _ = cells.keys(labels.z)
    zero_key, _ = cells.keys(np.zeros((1, 4)))
    unique, index = np.unique(np.concatenate([zero_key, key_f, key_z]), return_inverse=True)
    order = np.argsort(np.arange(len(unique)) != index[0], kind="stable")  # q = 0 first
    place = np.empty(len(unique), dtype=int)
    place[order] = np.arange(len(unique))
    at = place[index[1:]]
    at_f, at_z = at[: len(rows_f)], at[len(rows_f) :]
    q = np.zeros((len(unique), 4))
    q[at_z] = labels.z
    q[at_f] = transverse[rows_f] * np.where(sign_f == 0, 1, sign_f)[:, None]
    up, down = sign_f >= 0, sign_f <= 0
    passage = Passage(
        f=_sources(at_f[up], rows_f[up], len(unique), 2 * n),
        g=_sources(at_f[down], rows_f[down], len(unique), 2 * n),
        z=_sources(at_z, np.arange(n), len(unique), n),
    )
    q[0] = 0.0
    return q, passage


def _sources(at: np.ndarray, rows: np.ndarray, n: int, nothing: int) -> Int[np.ndarray, "states sources"]:
    """Rows that go to each of n states."""
    if len(np.unique(at)) == len(at):
        single = np.full((n, 1), nothing)
        single[at, 0] = rows
        return single
    order = np.argsort(at, kind="stable")
    sorted_at = at[order]
    rank = np.arange(len(at)) - np.searchsorted(sorted_at, sorted_at)
    table = np.full((n, rank.max() + 1), nothing)
    table[sorted_at, rank] = rows[order]
    return table


def gather(values: np.ndarray, sources: Int[np.ndarray, "states sources"]) -> np.ndarray:
    """Sum of the rows that go to each state; the row after the last is zero."""
    padded = np.concatenate([values, np.zeros((1, values.shape[1]), values.dtype)])
    return padded[sources].sum(axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Weighting:
    """b of the states of one step [s/m²]: up to the center of the next pulse, and of those observed."""

    f: Float[np.ndarray, "states components"]
    g: Float[np.ndarray, "states components"]
    z: Float[np.ndarray, "states components"]
    seen: Float[np.ndarray, "rows components"]


@dataclass(kw_only=True, eq=False)
class Probe:
    """States of a few representative sites, carried along to judge what may be dropped."""

    r1: Float[np.ndarray, " sites"]
    r2: Complex[np.ndarray, " sites"]  # and 2πi times the off-resonance where labels hold no time
    initial: Float[np.ndarray, "3 sites"]
    diffusion: Float[np.ndarray, "components sites"]  # one coefficient, or the tensor xx, yy, zz, xy, xz, yz [m²/s]
    curve: Int[np.ndarray, " sites"]  # of concentration
    f: Complex[np.ndarray, "states sites"] = field(init=False)
    g: Complex[np.ndarray, "states sites"] = field(init=False)
    z: Complex[np.ndarray, "states sites"] = field(init=False)

    def __post_init__(self) -> None:
        x, y, z = self.initial
        self.f, self.g, self.z = (x + 1j * y)[None], (x - 1j * y)[None], (z + 0j)[None]

    def pulse(self, passage: Passage, pulse: StateMap) -> None:
        transverse = np.concatenate([self.f, self.g.conj()])
        f, g, z = gather(transverse, passage.f), gather(transverse, passage.g).conj(), gather(self.z, passage.z)
        self.f = np.asarray(pulse.a * f + pulse.b * g + pulse.c * z)
        self.g = np.asarray(pulse.b.conj() * f + pulse.a.conj() * g + pulse.c.conj() * z)
        self.z = np.asarray(pulse.d * f + pulse.d.conj() * g + pulse.e * z)
        self.f[0] += pulse.gain
        self.g[0] += pulse.gain.conj()
        self.z[0] += pulse.recovery

    def precess(self, tau: float, r1: float | np.ndarray = 0.0, r2: float | np.ndarray = 0.0) -> None:
        """Precess for a time, with rates of each site beyond its own."""
        decay = np.exp(-tau * (self.r2 + r2))
        self.f, self.g = self.f * decay, self.g * decay.conj()
        self.z = self.z * np.exp(-tau * (self.r1 + r1))
        self.z[0] -= np.expm1(-tau * (self.r1 + r1))

    def diffuse(self, weighting: Weighting) -> None:
        """Decay by free diffusion."""
        self.f, self.g, self.z = (
            part * np.exp(-b @ self.diffusion)
            for part, b in zip((self.f, self.g, self.z), (weighting.f, weighting.g, weighting.z), strict=True)
        )

    def strength(self) -> Float[np.ndarray, " states"]:
        return np.maximum(np.maximum(np.abs(self.f), np.abs(self.g)), np.abs(self.z)).max(axis=1)

    def keep(self, rows: Int[np.ndarray, " kept"]) -> None:
        self.f, self.g, self.z = self.f[rows], self.g[rows], self.z[rows]


def turned_on_host(pulse: StateMap, before: float, after: float) -> StateMap:
    """`phase_graph.turned` by cycles, in NumPy."""
    return turned(pulse, np.exp(2j * np.pi * np.asarray(before)), np.exp(2j * np.pi * np.asarray(after)))
