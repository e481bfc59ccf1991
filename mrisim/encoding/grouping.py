"""Isochromats that a pulse or the encoding cannot tell apart. Those of the encoding are summed before it.

Within the readouts of a Cartesian scan two spins with the same position along the read direction, the same
off-resonance and the same T2 make the same samples, wherever else they lie. Spins are sorted so that such a group fills
whole runs of one size, and each run is encoded once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mrisim._types import Bool, Float, Int
from mrisim.data import Phantom
from mrisim.program import Program

_SIZES = (*range(64, 15, -4), *range(15, 1, -1))
_MOST_WASTE = 1.15  # spins after filling up, relative to before
_PROBE = 10_000  # spins that are looked at first: without a twin among them grouping cannot pay


@dataclass(frozen=True, kw_only=True, eq=False)
class Grouping:
    """An order of the spins in runs of `size` that the encoding cannot tell apart."""

    size: int
    order: Int[np.ndarray, " padded"]  # spin at each place; fillers repeat the spin before
    filler: Bool[np.ndarray, " padded"]  # places of no weight

    def arrange(self, phantom: Phantom) -> Phantom:
        """The phantom in this order."""
        arranged = phantom.take(self.order)
        return replace(arranged, weight=np.where(self.filler, 0.0, arranged.weight))


def group_spins(program: Program, phantom: Phantom, tolerance: float) -> Grouping | None:
    """Grouping that makes the encoding cheaper, or None.

    Spins share a group where no sample's phase or decay differs by more than a quarter of the tolerance.
    """
    seen = Seen(
        k=np.concatenate([readout.k for readout in program.readouts]),
        longest=max(float(readout.delay.max(initial=0.0)) for readout in program.readouts),
    )
    if _probably_distinct(seen, phantom, tolerance, share=1.0):
        return None
    keys = _mixed(_keys(seen, phantom, tolerance))
    n = len(keys)
    _, group, counts = np.unique(keys, return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    for size in _SIZES:
        filled = -(-counts // size) * size
        if filled.sum() <= _MOST_WASTE * n:
            return _arranged(group, counts, filled, size)
    return None


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What a pulse or a readout sees of a spin."""

    k: Float[np.ndarray, "n 3"]  # moments meanwhile [1/m]
    longest: float  # time meanwhile [s]
    flip: float = 0.0  # most cycles that the transmit field turns; 0: neither that field nor T1 matters


def alike(
    seen: Seen, phantom: Phantom, tolerance: float, most: float
) -> tuple[Int[np.ndarray, " kinds"], Int[np.ndarray, " spins"]] | None:
    """First spin of each kind, and the kind of each spin; None where there are more kinds than a share of the spins.

    Spins are of one kind where what is seen of them differs by less than a quarter of the tolerance.
    """
    if _probably_distinct(seen, phantom, tolerance, share=1 - most):
        return None
    keys = _mixed(_keys(seen, phantom, tolerance))
    _, first, kind = np.unique(keys, return_index=True, return_inverse=True)
    return (first, kind.reshape(-1).astype(np.int32)) if len(first) <= most * len(keys) else None


def _probably_distinct(seen: Seen, phantom: Phantom, tolerance: float, share: float) -> bool:
    """Whether fewer of some spins have a twin among these than if that share of all spins had one."""
    n = len(phantom.weight)
    if n <= _PROBE:
        return False
    some = np.unique(np.random.default_rng(0).integers(0, n, _PROBE))
    twins = len(some) - len(np.unique(_mixed(_keys(seen, phantom.take(some), tolerance))))
    return twins < 0.5 * share * len(some) ** 2 / (2 * n)


def _keys(seen: Seen, phantom: Phantom, tolerance: float) -> Int[np.ndarray, "spins columns"]:
    """What is seen of each spin, in steps that change it by less than a quarter of the tolerance."""
    _, strength, directions = np.linalg.svd(seen.k, full_matrices=False)
    directions = directions[strength > 1e-9 * max(strength.max(initial=0.0), 1.0)]
    position = np.asarray(phantom.position) @ directions.T
    offset = np.asarray(phantom.df) + np.tan(np.pi * np.asarray(phantom.lorentz)) / (
        2 * np.pi * np.asarray(phantom.t2_prime)
    )
    farthest, longest = max(float(np.abs(seen.k).max(initial=0.0)), 1.0), max(seen.longest, 1e-9)
    columns = [(p, 2 * np.pi * farthest) for p in position.T]
    columns += [(offset, 2 * np.pi * longest), (1 / np.asarray(phantom.t2), longest)]
    if seen.flip > 0:
        columns += [(np.asarray(phantom.b1), 2 * np.pi * seen.flip), (1 / np.asarray(phantom.t1), longest)]
    share = tolerance / 4 / len(columns)  # of each, because they may add up
    return np.column_stack([_steps(values, share / effect) for values, effect in columns])


def _mixed(keys: Int[np.ndarray, "spins columns"]) -> Int[np.ndarray, " spins"]:
    """One 64-bit number per row, another for another row but for a chance of 1e-7 in a million rows."""
    mixed = np.zeros(len(keys), dtype=np.uint64)
    for column in keys.T:
        mixed = (mixed ^ column.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed


def _steps(values: Float[np.ndarray, " spins"], step: float) -> Int[np.ndarray, " spins"]:
    return np.round(np.clip(values / step, -9e18, 9e18)).astype(np.int64)


def _arranged(group: np.ndarray, counts: np.ndarray, filled: np.ndarray, size: int) -> Grouping:
    by_group = np.argsort(group, kind="stable")
    start = np.concatenate([[0], np.cumsum(filled)])[:-1]
    within = np.arange(len(group)) - np.repeat(np.concatenate([[0], np.cumsum(counts)])[:-1], counts)
    place = np.repeat(start, counts) + within
    order = np.full(int(filled.sum()), -1)
    order[place] = by_group
    filler = order < 0
    last = np.maximum.accumulate(np.where(filler, 0, np.arange(len(order))))
    return Grouping(size=size, order=order[last], filler=filler)
