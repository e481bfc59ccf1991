"""Boxes that emit one state at each readout → samples, by non-uniform Fourier transforms where that is cheaper.

A box is seen through its own shape. Whole voxels share one, which is a factor of the samples; any other box is a few
points with the weights of Gauss's quadrature, as many as the largest k needs.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import gammaln

from mrisim._types import Complex, Float, Int
from mrisim.data import Phantom
from mrisim.encoding import nufft
from mrisim.encoding.cost import choose
from mrisim.encoding.train import TrainEncoder
from mrisim.engines.epg_pieces import numbered
from mrisim.engines.epg_sites import Sites
from mrisim.program import Program, ReadoutClass
from mrisim.simulate._graph_encoding import Observed, encode

_SHARE = 0.5  # of the tolerance, for transforms; the rest is left to the phase graph
_QUADRATURE = 0.5  # of the tolerance, for points in place of a box at the ends of k-space
_SAME = 1e-9  # sides and places [m]
_MOST_POINTS = 48  # along a side


@dataclass(frozen=True, kw_only=True, eq=False)
class _Points:
    """Points that stand for boxes, all seen through one shape."""

    box: Int[np.ndarray, " points"]
    position: Float[np.ndarray, "points 3"]  # [m]
    share: Float[np.ndarray, " points"]  # of the box
    side: Float[np.ndarray, " 3"]  # of the shape [m]; 0 for points

    def seen(self, spins: Phantom) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where they lie, their off-resonance, their transverse rate."""
        return self.position, np.asarray(spins.df)[self.box], 1 / np.asarray(spins.t2)[self.box]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Stacks:
    """Boxes on top of each other, that the encoding cannot tell apart."""

    sites: Sites  # one of each stack
    order: Int[np.ndarray, " boxes"]  # those of a stack next to each other
    begin: Int[np.ndarray, " stacks"]
    received: Complex[np.ndarray, "coils boxes"]  # weight of each box, as each coil receives it, in this order
    kind: Int[np.ndarray, " boxes"]  # in this order

    @staticmethod
    def of(sites: Sites, kind: Int[np.ndarray, " boxes"], coils: Complex[np.ndarray, "coils boxes"]) -> _Stacks:
        spins = sites.spins
        position, side = np.asarray(spins.position), sites.side
        columns = [*np.round(position.T / _SAME), *np.round(side.T / _SAME), np.asarray(spins.df), np.asarray(spins.t2)]
        first, stack = numbered(columns)
        order = np.argsort(stack, kind="stable")
        begin = np.searchsorted(stack[order], np.arange(len(first)))
        weight = np.asarray(spins.weight) * np.asarray(spins.pd)
        return _Stacks(
            sites=sites.take(first), order=order, begin=begin, received=(coils * weight)[:, order], kind=kind[order]
        )

    def emitted(self, states: Complex[np.ndarray, " kinds"]) -> Complex[np.ndarray, "coils stacks"]:
        """What each stack emits."""
        return np.add.reduceat(self.received * states[self.kind], self.begin, axis=1)


def encode_boxes(
    program: Program,
    sites: Sites,
    observed: Observed,
    sensitivity: Complex[np.ndarray, "coils sites"] | None,
    dtype: np.dtype,
) -> Complex[np.ndarray, "coils samples"]:
    """Samples of boxes that emit at most one state per readout, without receiver phase."""
    stacks = _Stacks.of(sites, observed.kind, np.ones((1, sites.n_sites)) if sensitivity is None else sensitivity)
    groups = _groups(program, stacks.sites, observed)
    n_coils = len(stacks.received)
    if not groups or not _pays(program, stacks.sites, groups, observed.tolerance, n_coils):
        return encode(program, sites, observed, sensitivity, dtype)
    signal = np.zeros((n_coils, program.n_samples), dtype=complex)
    work = _Work(stacks=stacks, observed=observed, groups=groups, tolerance=_SHARE * observed.tolerance)
    like: dict[bytes, list[TrainEncoder]] = {}
    for readout in program.readouts:
        if _timing(readout) not in like:
            like[_timing(readout)] = work.encoders(readout, None)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for parts in pool.map(lambda readout: work.samples(readout, like[_timing(readout)]), program.readouts):
            for where, found in parts:
                signal[:, where] += found
    return signal


def _timing(readout: ReadoutClass) -> bytes:
    """Classes of one timing share their split in time."""
    return np.asarray(readout.delay).tobytes()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Work:
    """What all readout classes share."""

    stacks: _Stacks
    observed: Observed
    groups: list[_Points]
    tolerance: float

    def encoders(self, readout: ReadoutClass, like: list[TrainEncoder] | None) -> list[TrainEncoder]:
        """One for each group of points."""
        spins, old = self.stacks.sites.spins, like or [None] * len(self.groups)
        return [
            TrainEncoder.of(readout, *group.seen(spins), self.tolerance, like=one)
            for group, one in zip(self.groups, old, strict=True)
        ]

    def samples(
        self, readout: ReadoutClass, like: list[TrainEncoder]
    ) -> list[tuple[Int[np.ndarray, " samples"], Complex[np.ndarray, "coils samples"]]]:
        """Of each train of a class that something emits at: where they belong, and what they are."""
        made, found = self.encoders(readout, like), []
        for first, step in zip(readout.first, np.asarray(readout.step), strict=True):
            row = self.rows[step]
            if row >= 0:
                label = self.observed.graph.stations[step].observed_labels[0]
                emitted = self.stacks.emitted(self.observed.states[row])
                where = int(first) + np.arange(len(readout.delay))
                found.append((where, self._train(readout, emitted, label, made)))
        return found

    @cached_property
    def rows(self) -> Int[np.ndarray, " steps"]:
        """Row of the table of states for each step; -1 without one."""
        some = np.array([len(station.observed) > 0 for station in self.observed.graph.stations])
        return np.where(some, np.cumsum(some) - 1, -1)

    def _train(
        self, readout: ReadoutClass, emitted: Complex[np.ndarray, "coils stacks"], label: Float[np.ndarray, " 4"],
        made: list[TrainEncoder],
    ) -> Complex[np.ndarray, "coils samples"]:  # fmt: skip
        sites = self.stacks.sites
        along, df = (label[:3] + readout.k) @ sites.axes, np.asarray(sites.spins.df)
        total = np.zeros((len(emitted), len(readout.delay)), dtype=complex)
        for group, encoder in zip(self.groups, made, strict=True):
            turn = group.position @ label[:3] + label[3] * df[group.box]
            m = emitted[:, group.box] * (group.share * np.exp(-2j * np.pi * turn))
            total += encoder(m, threads=1) * np.sinc(along * group.side).prod(axis=1)
        return total


def _groups(program: Program, sites: Sites, observed: Observed) -> list[_Points]:
    """Whole boxes, seen through one shape, and the others as points; none where these would be too many."""
    largest = sites.side.max(axis=0)
    whole = np.flatnonzero((np.abs(sites.side - largest) < _SAME).all(axis=1))
    groups = []
    if len(whole):
        place = np.asarray(sites.spins.position)[whole]
        groups.append(_Points(box=whole, position=place, share=np.ones(len(whole)), side=largest))
    rest = np.setdiff1d(np.arange(sites.n_sites), whole)
    if len(rest):
        phase, error = np.pi * _farthest(program, sites, observed) * sites.side[rest], _QUADRATURE * observed.tolerance
        if phase.max() > _points_needed(error)[-1]:
            return []
        groups.append(_as_points(sites, rest, 1 + np.searchsorted(_points_needed(error), phase)))
    return groups


def _farthest(program: Program, sites: Sites, observed: Observed) -> Float[np.ndarray, " 3"]:
    """Largest label of any sample along each axis of the boxes [1/m]."""
    labels = [s.observed_labels[:, :3] for s in observed.graph.stations if len(s.observed)]
    start = np.abs(np.concatenate([np.zeros((1, 3)), *labels]) @ sites.axes).max(axis=0)
    return start + np.max([np.abs(readout.k @ sites.axes).max(axis=0) for readout in program.readouts], axis=0)


def _as_points(sites: Sites, boxes: Int[np.ndarray, " boxes"], count: Int[np.ndarray, "boxes 3"]) -> _Points:
    """Points of Gauss's quadrature over each of some boxes, so many along each side."""
    parts = []
    for kind in np.unique(count, axis=0):
        mine = boxes[(count == kind).all(axis=1)]
        nodes, weights = zip(*(np.polynomial.legendre.leggauss(n) for n in kind), strict=True)
        place = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1).reshape(-1, 3)
        share = np.einsum("i,j,k->ijk", *weights).reshape(-1) / 8
        away = (0.5 * sites.side[mine][:, None] * place) @ sites.axes.T
        position = np.asarray(sites.spins.position)[mine][:, None] + away
        parts.append((np.repeat(mine, len(share)), position.reshape(-1, 3), np.tile(share, len(mine))))
    box, position, share = (np.concatenate(values) for values in zip(*parts, strict=True))
    return _Points(box=box, position=position, share=share, side=np.zeros(3))


def _points_needed(error: float) -> Float[np.ndarray, " counts"]:
    """Largest phase from the middle of a side to its end that 1, 2, … points of Gauss's quadrature see [rad].

    Source:
        Abramowitz and Stegun, 25.4.30: the remainder over [-1, 1] of a function whose derivatives are at most phase^2n.
    """
    n = np.arange(1, _MOST_POINTS + 1)
    rest = 2 * n * np.log(2) + 4 * gammaln(n + 1) - np.log(2 * n + 1) - 3 * gammaln(2 * n + 1)
    return np.exp((np.log(error) - rest) / (2 * n))


def _pays(program: Program, sites: Sites, groups: list[_Points], tolerance: float, n_coils: int) -> bool:
    """Whether transforms are the cheaper path for all readouts; never without a compiled library."""
    if nufft.backends()[0] != "finufft":
        return False
    spins = sum(len(group.box) for group in groups)
    df = np.asarray(sites.spins.df)
    largest = max(program.readouts, key=lambda readout: len(readout.delay) * len(readout.step))
    path = choose(
        largest, len(largest.step), groups[-1].position, df[groups[-1].box], _SHARE * tolerance, spins=spins,
        coils=n_coils, shared=len(program.readouts),
    )  # fmt: skip
    return path == "nufft"
