"""Program × phantom through the phase graph → samples."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from mrisim._types import Complex, Float, Int
from mrisim.engines import epg
from mrisim.engines.bloch import Extra
from mrisim.engines.epg_diffusion import weights_of
from mrisim.engines.epg_graph import Cells
from mrisim.engines.epg_pulses import pulse_maps, pulse_turns
from mrisim.engines.epg_sites import Sites, find_kinds, find_sites
from mrisim.engines.epg_walk import Graph, Rules, Turns, walk
from mrisim.errors import ConsistencyError, Finding, Problem, ResourceError
from mrisim.physics.coils import CoilArray
from mrisim.program import Program, lower
from mrisim.simulate._boxes import encode_boxes
from mrisim.simulate._chunks import precision
from mrisim.simulate._columns import can_be_summed, find_layers, summed_columns
from mrisim.simulate._graph_encoding import Observed, encode
from mrisim.simulate._memory import free_memory
from mrisim.simulate._progress import advancer
from mrisim.simulate._setting import Found, Setting, received
from mrisim.simulate.receive import Receivers
from mrisim.simulate.uptake import step_rates

_PROBES = 16
_KINDS = 512  # of a chunk
_FEW_KINDS = 256
_SHAPES = 3  # classes of sides along each axis, for what readouts can see
_MANY = 30.0  # dropped states of a tolerance each that add up


@dataclass(frozen=True, kw_only=True, eq=False)
class _Plan:
    """A graph for the sites of a phantom."""

    graph: Graph
    turns: Turns
    timed: bool
    first: Int[np.ndarray, " kinds"]  # site that stands for each kind
    kind: Int[np.ndarray, " sites"]
    layers: epg.Layers | None = None  # where each kind is seen as a whole

    def at(self, rows: Int[np.ndarray, " some"]) -> _Plan:
        """For some of the sites."""
        _, first, kind = np.unique(self.kind[rows], return_index=True, return_inverse=True)
        layers = self.layers
        if layers is not None:
            layers = replace(layers, thick=layers.thick[self.kind[rows][first]])
        return replace(self, first=first, kind=kind.reshape(-1), layers=layers)

    def by_layers(self, sites: Sites) -> _Plan:
        """With kinds that are layers of boxes, each seen as a whole."""
        first, kind, thick = find_layers(sites, self.kind)
        return replace(self, first=first, kind=kind, layers=epg.Layers(cut=sites.cut, thick=thick))

    @property
    def n_observed(self) -> int:
        """States that are looked for, or readouts where layers are seen as a whole."""
        counts = [len(station.observed) for station in self.graph.stations]
        return max(1, sum(counts) if self.layers is None else sum(count > 0 for count in counts))

    @property
    def cost(self) -> float:
        return len(self.first) * float(sum(station.after for station in self.graph.stations))


def run_graph(setting: Setting) -> Found:
    """Samples of a phantom by the phase graph.

    Raises:
        ConsistencyError: a checkpoint.
        ResourceError: more observed states than the memory holds.
    """
    if setting.checkpoint is not None:
        rule = "must not be given with engine='epg', which keeps no part of its sum"
        raise ConsistencyError(Problem(rule, "Leave it out, or use engine='bloch'", path="checkpoint"))
    phantom, spoil, tolerance, dtype = setting.phantom, setting.spoil, setting.tolerance, setting.dtype
    diffuses = bool(np.any(phantom.diffusion))
    program = lower(setting.seq, setting.pulses, diffusion=True) if diffuses else setting.program
    extra = step_rates(program, setting.seq, phantom.uptake, setting.injected)
    shaped = any(float(w.dt.sum()) > 0 for w in program.waveforms)
    sites = find_sites(phantom, program, shaped, setting.initial)
    best = _best_plan(program, sites, spoil, tolerance, extra)
    n_kinds = len(best.first)
    if can_be_summed(program, sites, best.graph):
        best = best.by_layers(sites)
    size = _kinds_at_once(best, dtype, setting.budget)
    sensitivity = _sensitivity(setting.receivers, sites)
    signal = np.zeros((1 if sensitivity is None else len(sensitivity), program.n_samples), dtype=complex)
    parts = list(_parts(sites, best, size))
    with advancer(setting.progress, len(parts)) as advance:
        for rows in parts:
            coils = None if sensitivity is None else sensitivity[:, rows]
            signal += _samples(program, sites.take(rows), best.at(rows), spoil, tolerance, dtype, coils, extra)
            advance(1)
    dropped = max(best.graph.dropped, best.graph.unseen)
    sizes = {"n_states": best.graph.most_states, "n_sites": sites.n_sites, "n_kinds": n_kinds}
    return Found(
        signal=received(signal, program),
        findings=_findings(dropped, tolerance),
        provenance={"tolerance": tolerance, **sizes, "dropped": dropped},
    )


def _findings(dropped: float, tolerance: float) -> tuple[Finding, ...]:
    """A finding where more was dropped, relative to the strongest state, than the tolerance meant."""
    if dropped <= _MANY * tolerance:
        return ()
    text = f"weak states were dropped that hold up to {dropped:.1%} of the strongest one at one pulse"
    return (Finding("phase graph", text, "Use a smaller tolerance"),)


def _kinds_at_once(chosen: _Plan, dtype: np.dtype, budget: int | None) -> int:
    """Kinds of sites whose observed states fit."""
    observed = chosen.n_observed
    free = free_memory() // 2 if budget is None else budget
    found = int(free // (4 * dtype.itemsize * observed))
    if found < min(_KINDS, len(chosen.first)):
        need = 4 * dtype.itemsize * observed * min(_KINDS, len(chosen.first))
        rule = f"must hold {observed} observed states, {need / 2**30:.3g} GiB, but is {free / 2**30:.3g} GiB"
        raise ResourceError(Problem(rule, "Use a larger tolerance or engine='bloch'", path="memory"))
    return found


def _parts(sites: Sites, chosen: _Plan, size: int) -> Iterator[Int[np.ndarray, " some"]]:
    """Sites, as many at a time as have no more than so many kinds; those of a box next to each other."""
    if len(chosen.first) <= size:
        yield np.arange(sites.n_sites)
        return
    order = np.argsort(sites.box, kind="stable")
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _samples(
    program: Program, sites: Sites, chosen: _Plan, spoil: bool, tolerance: float, dtype: np.dtype,
    sensitivity: Complex[np.ndarray, "coils sites"] | None, extra: Extra | None,
) -> Complex[np.ndarray, "coils samples"]:  # fmt: skip
    """Samples of some sites."""
    states = _evolved(program, sites, chosen, spoil, dtype, extra)
    observed = Observed(
        graph=chosen.graph,
        states=states,
        kind=chosen.kind,
        r2_prime=1 / np.asarray(sites.spins.t2_prime)[chosen.first],
        tolerance=tolerance,
    )
    if chosen.layers is None:
        return encode(program, sites, observed, sensitivity, dtype)
    return encode_boxes(program, *summed_columns(sites, observed, sensitivity), dtype)


def _best_plan(program: Program, sites: Sites, spoil: bool, tolerance: float, extra: Extra | None) -> _Plan:
    """Off-resonance in the labels, or apart in each kind: what is less work. A Lorentzian line needs labels."""
    timed_only = bool(np.isfinite(np.asarray(sites.spins.t2_prime)).any())
    make = partial(_plan, program, sites, spoil, tolerance, extra)
    if timed_only:
        return make(True)
    apart = make(False)
    if len(apart.first) <= _FEW_KINDS:
        return apart
    return min(apart, make(True), key=lambda plan: plan.cost)


def _plan(program: Program, sites: Sites, spoil: bool, tolerance: float, extra: Extra | None, timed: bool) -> _Plan:
    first, kind = find_kinds(sites, program, timed, tolerance)
    probes = first[_representatives(sites, first, kind)]
    chosen = sites.spins.take(probes)
    into, out = pulse_turns(program, timed)
    double = np.dtype(np.float64)
    with precision(double):
        maps = pulse_maps(program, chosen, into, out, double)
    turns = epg.turns_of(program, maps, into, out)
    isotropic = np.asarray(chosen.diffusion).shape[1] == 1
    weights = None if program.paths is None else weights_of(program, program.paths, isotropic)
    rules = Rules(
        cells=_cells(sites, tolerance),
        threshold=tolerance,
        spoil=spoil,
        timed=timed,
        diffusion=weights,
        seen=_Seen(program, sites, timed),
        extra=extra,
    )
    graph = walk(program, turns, epg.probe_of(chosen, timed, sites.initial[probes]), rules)
    return _Plan(graph=graph, turns=turns, timed=timed, first=first, kind=kind)


def _representatives(sites: Sites, first: np.ndarray, kind: np.ndarray) -> Int[np.ndarray, " probes"]:
    """Kinds of long and of middle T2, at both ends of the transmit field, and some of all others."""
    weight = np.bincount(kind, np.asarray(sites.spins.weight) * np.asarray(sites.spins.pd), len(first))
    alive = np.flatnonzero(weight > 0)
    if len(alive) <= _PROBES:
        return alive if len(alive) else np.arange(1)
    t2, b1 = np.asarray(sites.spins.t2)[first][alive], np.asarray(sites.spins.b1)[first][alive]
    generator = np.random.default_rng(0)
    longest = alive[t2 >= t2.max() * (1 - 1e-9)]
    chosen = {int(alive[np.argmin(b1)]), int(alive[np.argmax(b1)])}
    for pool in (longest, alive):
        chosen.update(int(row) for row in generator.choice(pool, min(len(pool), (_PROBES - 2) // 2), replace=False))
    return np.array(sorted(chosen))


def _cells(sites: Sites, tolerance: float) -> Cells:
    """Labels that differ by less than this differ in phase by less than the tolerance."""
    position, df = np.asarray(sites.spins.position), np.asarray(sites.spins.df)
    reach = max(float(np.linalg.norm(position, axis=1).max()), 1e-4)
    fastest = max(float(np.abs(df).max()), float((1 / np.asarray(sites.spins.t2_prime)).max()), 1.0)
    return Cells(side=tolerance / np.pi * np.array([1 / reach, 1 / reach, 1 / reach, 1 / fastest]))


class _Seen:
    """At most which part of a state the samples of a readout class hold: its shape in k, its Lorentzian decay."""

    def __init__(self, program: Program, sites: Sites, timed: bool):
        parts = np.maximum(sites.side.max(axis=0), 1e-12)
        shapes, index = np.unique(np.round(sites.side / parts * _SHAPES), axis=0, return_inverse=True)
        weight = np.bincount(index.reshape(-1), np.asarray(sites.spins.weight) * np.asarray(sites.spins.pd))
        self.sides, self.shares = shapes / _SHAPES * parts, weight / max(float(weight.sum()), 1e-300)
        self.axes, self.timed = sites.axes, timed
        self.slowest = float((1 / np.asarray(sites.spins.t2_prime)).min())
        k = [readout.k @ sites.axes for readout in program.readouts]
        self.low, self.high = [part.min(axis=0) for part in k], [part.max(axis=0) for part in k]
        self.last = [float(readout.delay.max()) for readout in program.readouts]

    def __call__(self, labels: Float[np.ndarray, "rows 4"], index: int) -> Float[np.ndarray, " rows"]:
        share = np.zeros(len(labels))
        for side, weight in zip(self.sides, self.shares, strict=True):
            low = (labels[:, :3] @ self.axes + self.low[index]) * side
            high = (labels[:, :3] @ self.axes + self.high[index]) * side
            nearest = np.where(low * high <= 0, 0.0, np.minimum(np.abs(low), np.abs(high)))
            bound = np.where(high - low < 1e-6, np.abs(np.sinc(low)), 1 / np.maximum(np.pi * nearest, 1.0))
            share += weight * bound.prod(axis=1)
        if self.timed and self.slowest > 0:
            tau = labels[:, 3]
            away = np.maximum(0.0, np.maximum(tau, -tau - self.last[index]))
            share = share * np.exp(-away * self.slowest)
        return share


def _evolved(
    program: Program, sites: Sites, chosen: _Plan, spoil: bool, dtype: np.dtype, extra: Extra | None
) -> Complex[np.ndarray, "rows kinds"]:
    """All observed states of all kinds, or what layers emit as a whole."""
    layers = chosen.layers
    run = epg.prepare(program, chosen.graph, chosen.turns, spoil, dtype, extra, None if layers is None else layers.cut)
    n = len(chosen.first)
    size = min(_KINDS, -(-n // 8) * 8)

    def part(start: int) -> Complex[np.ndarray, "rows kinds"]:
        rows = np.minimum(np.arange(start, start + size), n - 1)
        first = chosen.first[rows]
        spins, mine = sites.spins.take(first), None if layers is None else replace(layers, thick=layers.thick[rows])
        with precision(dtype):
            maps = pulse_maps(program, spins, chosen.turns.into, chosen.turns.out, dtype)
            maps = jax.tree.map(jnp.asarray, maps)
            diffuse = program.paths is not None
            kinds = epg.place_kinds(spins, sites.initial[first], chosen.timed, diffuse, extra is not None, dtype, mine)
            return np.concatenate(list(epg.run(run, maps, kinds)))[:, : min(size, n - start)]

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return np.concatenate(list(pool.map(part, range(0, n, size))), axis=1)


def _sensitivity(receivers: Receivers, sites: Sites) -> Complex[np.ndarray, "coils sites"] | None:
    """Of each coil at each site: of an array of coils at its center, of given values the mean over its isochromats."""
    if receivers is None:
        return None
    if isinstance(receivers, CoilArray):
        return receivers.sensitivity(np.asarray(sites.spins.position))
    counts = np.bincount(sites.members)
    real, imag = (
        np.stack([np.bincount(sites.members, coil) for coil in part])
        for part in (np.real(receivers), np.imag(receivers))
    )
    return ((real + 1j * imag) / counts)[:, sites.box]
