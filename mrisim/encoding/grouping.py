"""Isochromats that a pulse or the encoding cannot tell apart. Those of the encoding are summed before it.

Within the readouts of a Cartesian scan two spins with the same position along the read direction, the same
off-resonance and the same T2 make the same samples, wherever else they lie; and those of spins that are merely near are
combinations of a few (`near`). Spins are sorted so that such a group fills whole runs of one size.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np

from mrisim._types import Bool, Float, Int
from mrisim.data import Phantom
from mrisim.encoding import cost
from mrisim.encoding.near import Band, expected_pivots
from mrisim.program import Program

_SIZES = (*range(64, 15, -4), *range(15, 1, -1))
_MOST_WASTE = 1.15  # spins after filling up, relative to before
_NEAR_SIZES = (*range(256, 128, -16), *range(128, 15, -8))  # tiles of 4,096 spins hold whole runs of these
_NEAR_CYCLES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)  # widths of a cell, in cycles of the phase between both ends of a readout
_TAILS = (0.0, 0.002, 0.01, 0.03, 0.1)  # shares of the spins that a band may leave out
_COMPILING = 2.0  # seconds that another program takes, for the spins left out
_EQUAL = 0.01  # of the tolerance: cycles by which places may differ that are equal
ERROR_OF_RUNS = 0.25  # of the tolerance: relative error of the samples of a run's spins
_WORTH = 0.95  # of the time, that runs must save
_LEAST_WORK = 20_000_000  # spins times samples below which the order costs as much as it saves
_LAST: WeakKeyDictionary[Phantom, tuple[tuple[object, ...], Grouping | None]] = WeakKeyDictionary()
_PROBE = 10_000  # spins that are looked at first: without a twin among them grouping cannot pay


@dataclass(frozen=True, kw_only=True, eq=False)
class Grouping:
    """An order of the spins in runs of `size` that the encoding takes together."""

    size: int
    order: Int[np.ndarray, " padded"]  # spin at each place; fillers repeat the spin before
    filler: Bool[np.ndarray, " padded"]  # places of no weight
    band: Band | None = None  # what the spins of a run differ by; None: nothing that a readout can tell
    pivots: int = 0  # of all readout classes together, about
    rest: Int[np.ndarray, " rest"] | None = None  # spins that come in no run: far off in frequency, or of short T2

    def arrange(self, phantom: Phantom) -> Phantom:
        """The phantom in this order."""
        return self.at(phantom, np.arange(len(self.order)))

    def at(self, phantom: Phantom, places: Int[np.ndarray, " n"]) -> Phantom:
        """The spins at some places of this order."""
        taken = phantom.take(self.order[places])
        return replace(taken, weight=np.where(self.filler[places], 0.0, taken.weight))


def group_spins(program: Program, phantom: Phantom, tolerance: float, n_coils: int = 0) -> Grouping | None:
    """Grouping that makes the encoding cheaper, or None.

    Runs of near spins where that is cheaper (`near`); else spins share a run where no sample's phase or decay differs
    by more than a quarter of the tolerance, for one uniform coil.

    Args:
        program: The program.
        phantom: All spins.
        tolerance: Relative error of the samples.
        n_coils: Receive coils; 0 for one uniform coil.
    """
    if not program.readouts or phantom.n_spins == 0:
        return None
    near = near_spins(program, phantom, tolerance, max(1, n_coils))
    return equal_spins(program, phantom, tolerance) if near is None and n_coils == 0 else near


def near_spins(program: Program, phantom: Phantom, tolerance: float, n_coils: int) -> Grouping | None:
    """Runs of spins that lie near each other along the one read direction; None where that is not cheaper."""
    work = sum(len(r.delay) * len(r.step) for r in program.readouts) * phantom.n_spins * n_coils
    direction = _read_direction(program) if work > _LEAST_WORK else None
    if direction is None:
        return None
    place, df, r2 = np.asarray(phantom.position) @ direction, precessing(phantom), 1 / np.asarray(phantom.t2)
    reads = [(len(r.delay), len(r.step), *np.ptp(r.k, axis=0), np.ptp(r.delay)) for r in program.readouts]
    seen = [zlib.crc32(np.ascontiguousarray(values)) for values in (place, df, r2)]
    key = (*seen, *direction, tuple(reads), program.n_steps, tolerance, n_coils)
    known, found = _LAST.get(phantom, (None, None))
    if known != key:
        found = _in_runs(program, direction, place, df, r2, tolerance, n_coils)
        _LAST[phantom] = key, found
    return found


def _in_runs(
    program: Program,
    direction: Float[np.ndarray, " 3"],
    place: Float[np.ndarray, " spins"],
    df: Float[np.ndarray, " spins"],
    r2: Float[np.ndarray, " spins"],
    tolerance: float,
    n_coils: int,
) -> Grouping | None:
    """Runs of neighbors along the read direction, of the size and the width that take least time.

    Bands that leave out some spins, the tails of Lorentzian lines and bone, are tried too.
    """
    order, some = np.argsort(place, kind="stable"), cost.some_of(len(place))
    best, cheapest = None, _WORTH * _time(program, len(place), n_coils)
    for tail in _TAILS:
        low, high = _narrowest(df[some], 1 - tail)
        fast = float(np.quantile(r2[some], 1 - tail))
        inside = (df >= low) & (df <= high) & (r2 <= fast) if tail else np.ones(len(place), bool)
        kept = order[inside[order]]
        if len(kept) == 0:
            continue
        narrow = _band(df[kept], r2[kept], direction)
        rest = _time(program, len(place) - len(kept), n_coils) + (_COMPILING if len(kept) < len(place) else 0.0)
        for first, half in _cells(place[kept], program, direction, tolerance):
            counts = np.diff(first, append=len(kept))
            pivots = _pivots(program, replace(narrow, half_position=half), tolerance)
            for size in _NEAR_SIZES if pivots is not None else ():
                filled = -(-counts // size) * size
                time = rest + _time(program, int(filled.sum()), n_coils, size, pivots)
                if time < cheapest:
                    best, cheapest = (kept, narrow, counts, filled, size), time
    return None if best is None else _with_band(program, place, tolerance, *best)


def _narrowest(values: Float[np.ndarray, " spins"], share: float) -> tuple[float, float]:
    """The narrowest range that holds a share of some values."""
    ordered = np.sort(values)
    count = max(1, math.ceil(share * len(ordered)))
    width = ordered[count - 1 :] - ordered[: len(ordered) - count + 1]
    first = int(width.argmin())
    return float(ordered[first]), float(ordered[first + count - 1])


def _with_band(
    program: Program,
    place: Float[np.ndarray, " spins"],
    tolerance: float,
    kept: Int[np.ndarray, " kept"],
    band: Band,
    counts: Int[np.ndarray, " cells"],
    filled: Int[np.ndarray, " cells"],
    size: int,
) -> Grouping | None:
    """Those runs, with the band that they have."""
    found = _arranged(np.arange(len(kept)), counts, filled, size)
    order = kept[found.order]
    runs = place[order].reshape(-1, size)
    band = replace(band, half_position=float(np.abs(runs - runs[:, [middle_of(size)]]).max()))
    pivots = _pivots(program, band, tolerance)
    if pivots is None:  # middle spins lie at a rim of their cells
        return None
    left_out = np.ones(len(place), bool)
    left_out[kept] = False
    rest = np.flatnonzero(left_out) if left_out.any() else None
    return replace(found, order=order, band=band, pivots=sum(pivots), rest=rest)


def middle_of(size: int) -> int:
    """Place of a run's middle spin in it."""
    return size // 2


def _read_direction(program: Program) -> Float[np.ndarray, " 3"] | None:
    """Unit vector along which k moves in all readouts; None where there is none, or more than one."""
    moments = sum((np.asarray(r.k).T @ np.asarray(r.k) for r in program.readouts), np.zeros((3, 3)))
    strength, directions = np.linalg.eigh(moments)
    return directions[:, 2] if strength[2] > 0 and strength[1] <= 1e-16 * strength[2] else None


def _band(df: Float[np.ndarray, " spins"], r2: Float[np.ndarray, " spins"], direction: np.ndarray) -> Band:
    """What some spins differ by, wherever they lie."""
    (low, high), (slow, fast) = ((float(v.min()), float(v.max())) for v in (df, r2))
    return Band(
        df=0.5 * (low + high),
        half_df=0.5 * (high - low),
        r2=0.5 * (slow + fast),
        half_r2=0.5 * (fast - slow),
        direction=tuple(float(part) for part in direction),
        half_position=0.0,
    )


def precessing(phantom: Phantom) -> Float[np.ndarray, " spins"]:
    """Off-resonance with the place in the Lorentzian line [Hz]."""
    spread = np.tan(np.pi * np.asarray(phantom.lorentz)) / (2 * np.pi * np.asarray(phantom.t2_prime))
    return np.asarray(phantom.df) + spread


def _cells(
    place: Float[np.ndarray, " spins"], program: Program, direction: Float[np.ndarray, " 3"], tolerance: float
) -> Iterator[tuple[Int[np.ndarray, " cells"], float]]:
    """Cuts of the spins, sorted by place: the first of each cell, and half of the widest [m]."""
    reach = max(float(np.ptp(np.asarray(readout.k) @ direction)) for readout in program.readouts)
    equal = np.concatenate([[0], np.flatnonzero(np.diff(place) > _EQUAL * tolerance / reach) + 1])
    yield equal, 0.5 * float((place[np.append(equal[1:], len(place)) - 1] - place[equal]).max())
    for cycles in _NEAR_CYCLES:
        width = cycles / reach
        edges = np.arange(place[0], place[-1] + width, width)
        yield np.unique(np.searchsorted(place, edges)[:-1]), 0.5 * width


def _pivots(program: Program, band: Band, tolerance: float) -> list[int] | None:
    """Pivots of each readout class; None where one takes too many."""
    found = [expected_pivots(band.total(readout), ERROR_OF_RUNS * tolerance) for readout in program.readouts]
    known = [n for n in found if n is not None]
    return known if len(known) == len(found) else None


def _time(program: Program, spins: int, n_coils: int, size: int = 0, pivots: list[int] | None = None) -> float:
    """Time of all steps and readouts [s], by runs of a size with some pivots for each class, or by matrices."""
    total = program.n_steps * spins * cost.RATES.step
    for index, readout in enumerate(program.readouts):
        rows = len(readout.step)
        total += (
            cost.matrix_time(readout, rows, spins, n_coils)
            if pivots is None
            else cost.near_time(readout, rows, spins, pivots[index], size, n_coils)
        )
    return total


def equal_spins(program: Program, phantom: Phantom, tolerance: float) -> Grouping | None:
    """Runs of spins that no readout can tell apart; None where there are few."""
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
            return _arranged(np.argsort(group, kind="stable"), counts, filled, size)
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
    offset = precessing(phantom)
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


def _arranged(
    by_group: Int[np.ndarray, " spins"],
    counts: Int[np.ndarray, " groups"],
    filled: Int[np.ndarray, " groups"],
    size: int,
) -> Grouping:
    """Spins, given group after group, in whole runs."""
    start = np.concatenate([[0], np.cumsum(filled)])[:-1]
    within = np.arange(len(by_group)) - np.repeat(np.concatenate([[0], np.cumsum(counts)])[:-1], counts)
    place = np.repeat(start, counts) + within
    order = np.full(int(filled.sum()), -1)
    order[place] = by_group
    filler = order < 0
    last = np.maximum.accumulate(np.where(filler, 0, np.arange(len(order))))
    return Grouping(size=size, order=order[last], filler=filler)
