"""Program × phantom through the phase graph → samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from mrisim._types import Array, Complex, Float, Int
from mrisim.data import Phantom
from mrisim.encoding import matrix
from mrisim.engines import epg
from mrisim.engines.epg_graph import Cells
from mrisim.engines.epg_sites import Sites, find_kinds, find_sites
from mrisim.engines.epg_walk import Graph, Rules, Turns, walk
from mrisim.errors import ConsistencyError, Finding, Problem, ResourceError
from mrisim.physics.coils import CoilArray
from mrisim.physics.phase import Split, cos_sin, product, split
from mrisim.program import Program, ReadoutClass
from mrisim.simulate._chunks import precision
from mrisim.simulate._memory import free_memory
from mrisim.simulate.receive import Receivers

_PROBES = 16
_KINDS = 512  # of a chunk
_SITES = 4096  # of a chunk
_BOXES = 512  # of a chunk, where boxes are cut into layers that the readout cannot tell apart
_ROWS = 256  # states that are encoded at a time
_UNSEEN = 1e-6  # cycles
_EXPONENT = 80.0  # of the Lorentzian decay, at most
_FEW_KINDS = 256
_MANY = 30.0  # dropped states of a tolerance each that add up


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """Samples without receiver phase, and what the shortcuts did."""

    signal: Complex[np.ndarray, "coils samples"]
    states: int  # at most at a time
    sites: int
    kinds: int
    dropped: float  # at one pulse or readout, relative to the strongest state there (root of the sum of squares)
    tolerance: float

    def findings(self) -> tuple[Finding, ...]:
        """A finding where more was dropped than the tolerance meant."""
        if self.dropped <= _MANY * self.tolerance:
            return ()
        text = f"weak states were dropped that hold up to {self.dropped:.1%} of the strongest one at one pulse"
        return (Finding("phase graph", text, "Use a smaller tolerance"),)


def check_graph(initial: ArrayLike | None, checkpoint: object) -> None:
    """What the phase graph does not do.

    Raises:
        ConsistencyError: a checkpoint, or magnetisation to start from that differs from spin to spin.
    """
    problems = []
    if checkpoint is not None:
        problems.append(Problem("must not be given with engine='epg', which sums in one go", path="checkpoint"))
    if initial is not None and np.shape(initial) != (3,):
        rule = f"must have shape (3,) with engine='epg', but has {np.shape(initial)}"
        problems.append(Problem(rule, "Use engine='bloch'", path="initial"))
    if problems:
        raise ConsistencyError(problems)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Plan:
    """A graph for the sites of a phantom."""

    graph: Graph
    turns: Turns
    timed: bool
    first: Int[np.ndarray, " kinds"]  # site that stands for each kind
    kind: Int[np.ndarray, " sites"]

    @property
    def cost(self) -> float:
        return len(self.first) * float(sum(station.after for station in self.graph.stations))


def run_graph(
    program: Program,
    phantom: Phantom,
    receivers: Receivers,
    initial: ArrayLike | None,
    spoil: bool,
    tolerance: float,
    dtype: np.dtype,
    budget: int | None = None,
) -> Result:
    """Samples of a phantom by the phase graph.

    Args:
        program: The program.
        phantom: The isochromats.
        receivers: Coils.
        initial: Magnetisation that all start from; None for equilibrium.
        spoil: Whether spoiling is ideal.
        tolerance: As in `simulate`.
        dtype: Precision of the device.
        budget: Memory for the observed states [bytes]; None for half of what is free.

    Raises:
        ResourceError: more observed states than that.
    """
    shaped = any(float(w.dt.sum()) > 0 for w in program.waveforms)
    sites = find_sites(phantom, program, shaped)
    start = np.array([0.0, 0.0, 1.0]) if initial is None else np.asarray(initial, dtype=float)
    best = _best_plan(program, sites, start, spoil, tolerance)
    _check_memory(best, program, dtype, budget)
    with precision(dtype):
        states = _evolved(program, sites, best, start, spoil, dtype)
        signal = _encoded(program, sites, best, states, _sensitivity(receivers, sites), dtype)
    return Result(
        signal=signal,
        states=best.graph.most_states,
        sites=sites.n_sites,
        kinds=len(best.first),
        dropped=max(best.graph.dropped, best.graph.unseen),
        tolerance=tolerance,
    )


def _check_memory(chosen: _Plan, program: Program, dtype: np.dtype, budget: int | None) -> None:
    """Observed states of all kinds, and the samples that they make, must fit."""
    observed = sum(len(station.observed) for station in chosen.graph.stations)
    longest = max((len(readout.delay) for readout in program.readouts), default=0)
    need = 4 * dtype.itemsize * observed * len(chosen.first) + 48 * observed * longest
    free = free_memory() // 2 if budget is None else budget
    if need > free:
        rule = f"must hold {observed} observed states of {len(chosen.first)} kinds of sites, {need / 2**30:.3g} GiB"
        remedy = "Use a larger tolerance or engine='bloch'"
        raise ResourceError(Problem(f"{rule}, but is {free / 2**30:.3g} GiB", remedy, path="memory"))


def _best_plan(program: Program, sites: Sites, initial: np.ndarray, spoil: bool, tolerance: float) -> _Plan:
    """Off-resonance in the labels, or apart in each kind: what is less work. A Lorentzian line needs labels."""
    timed_only = bool(np.isfinite(np.asarray(sites.spins.t2_prime)).any())
    make = partial(_plan, program, sites, initial, spoil, tolerance)
    if timed_only:
        return make(True)
    apart = make(False)
    if len(apart.first) <= _FEW_KINDS:
        return apart
    return min(apart, make(True), key=lambda plan: plan.cost)


def _plan(program: Program, sites: Sites, initial: np.ndarray, spoil: bool, tolerance: float, timed: bool) -> _Plan:
    first, kind = find_kinds(sites, program, timed, tolerance)
    chosen = sites.spins.take(first[_representatives(sites, first, kind)])
    into, out = epg.pulse_turns(program, timed)
    double = np.dtype(np.float64)
    with precision(double):
        maps = epg.pulse_maps(program, chosen, into, out, double)
    turns = epg.turns_of(program, maps, into, out)
    rules = Rules(
        cells=_cells(sites, tolerance), threshold=tolerance, spoil=spoil, timed=timed, seen=_Seen(program, sites, timed)
    )
    graph = walk(program, turns, epg.probe_of(chosen, timed, initial), rules)
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
        self.side = sites.side.min(axis=0)
        self.axes, self.timed = sites.axes, timed
        self.slowest = float((1 / np.asarray(sites.spins.t2_prime)).min())
        k = [readout.k @ sites.axes for readout in program.readouts]
        self.low, self.high = [part.min(axis=0) for part in k], [part.max(axis=0) for part in k]
        self.last = [float(readout.delay.max()) for readout in program.readouts]

    def __call__(self, labels: Float[np.ndarray, "rows 4"], index: int) -> Float[np.ndarray, " rows"]:
        low = (labels[:, :3] @ self.axes + self.low[index]) * self.side
        high = (labels[:, :3] @ self.axes + self.high[index]) * self.side
        flat = high - low < 1e-6
        nearest = np.where(low * high <= 0, 0.0, np.minimum(np.abs(low), np.abs(high)))
        bound = np.where(flat, np.abs(np.sinc(low)), 1 / np.maximum(np.pi * nearest, 1.0))
        share = bound.prod(axis=1)
        if self.timed and self.slowest > 0:
            tau = labels[:, 3]
            away = np.maximum(0.0, np.maximum(tau, -tau - self.last[index]))
            share = share * np.exp(-away * self.slowest)
        return share


def _evolved(
    program: Program, sites: Sites, chosen: _Plan, initial: np.ndarray, spoil: bool, dtype: np.dtype
) -> Complex[np.ndarray, "rows kinds"]:
    """All observed states of all kinds."""
    run = epg.prepare(program, chosen.graph, chosen.turns, spoil, dtype)
    n = len(chosen.first)
    size = min(_KINDS, -(-n // 8) * 8)
    parts = []
    for start in range(0, n, size):
        rows = np.minimum(np.arange(start, start + size), n - 1)
        spins = sites.spins.take(chosen.first[rows])
        maps = epg.pulse_maps(program, spins, chosen.turns.into, chosen.turns.out, dtype)
        maps = jax.tree.map(jnp.asarray, maps)
        seen = epg.run(run, maps, epg.place_kinds(spins, chosen.timed, dtype), initial, dtype)
        parts.append(np.concatenate(list(seen))[:, : min(size, n - start)])
    return np.concatenate(parts, axis=1)


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


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rows:
    """Observed states of one readout class."""

    row: Int[np.ndarray, " rows"]  # in the table of states
    train: Int[np.ndarray, " rows"]  # of the class
    label: Float[np.ndarray, "rows 4"]
    branch: Int[np.ndarray, " rows"]  # 1: after the echo of the state, -1: before it; 0: no Lorentzian decay


def _rows_of(program: Program, chosen: _Plan, lorentzian: bool) -> Iterator[tuple[ReadoutClass, _Rows]]:
    stations = chosen.graph.stations
    counts = np.array([len(station.observed) for station in stations])
    begin = np.concatenate([[0], np.cumsum(counts)])
    for readout in program.readouts:
        row = np.concatenate([np.arange(int(begin[s]), int(begin[s + 1])) for s in readout.step])
        train = np.repeat(np.arange(len(readout.step)), counts[readout.step])
        label = np.concatenate([stations[s].observed_labels for s in readout.step])
        branch = np.zeros(len(row), dtype=int)
        if lorentzian:
            ends = float(readout.delay.max())
            after, before = np.flatnonzero(label[:, 3] + ends > 0), np.flatnonzero(label[:, 3] < 0)
            both = np.concatenate([after, before])
            branch = np.repeat([1, -1], [len(after), len(before)])
            row, train, label = row[both], train[both], label[both]
        yield readout, _Rows(row=row, train=train, label=label, branch=branch)


def _encoded(
    program: Program,
    sites: Sites,
    chosen: _Plan,
    states: Complex[np.ndarray, "rows kinds"],
    sensitivity: Complex[np.ndarray, "coils sites"] | None,
    dtype: np.dtype,
) -> Complex[np.ndarray, "coils samples"]:
    """Samples: each observed state at its own k, shaped by the box of its sites."""
    n_coils = 1 if sensitivity is None else len(sensitivity)
    signal = np.zeros((n_coils, program.n_samples), dtype=complex)
    lorentzian = bool(np.isfinite(np.asarray(sites.spins.t2_prime)).any())
    groups = _groups(sites)
    for readout, rows in _rows_of(program, chosen, lorentzian):
        if len(rows.row) == 0:
            continue
        for side, members in groups:
            samples = _class_samples(readout, rows, side, members, sites, chosen, states, sensitivity, dtype)
            where = readout.first[:, None] + np.arange(len(readout.delay))
            for coil in range(n_coils):
                np.add.at(signal[coil], where[rows.train], samples[coil])
    return signal


def _groups(sites: Sites) -> list[tuple[np.ndarray, np.ndarray]]:
    """Sides of the box, and the sites that have it."""
    sides, index = np.unique(np.round(sites.side, 9), axis=0, return_inverse=True)
    return [(side, np.flatnonzero(index.reshape(-1) == i)) for i, side in enumerate(sides)]


def _class_samples(
    readout: ReadoutClass,
    rows: _Rows,
    side: Float[np.ndarray, " 3"],
    members: Int[np.ndarray, " n"],
    sites: Sites,
    chosen: _Plan,
    states: np.ndarray,
    sensitivity: np.ndarray | None,
    dtype: np.dtype,
) -> Complex[np.ndarray, "coils rows samples"]:
    """Samples that each observed state adds, for sites of one box."""
    train = matrix.place_train(readout, dtype)
    n_coils = 1 if sensitivity is None else len(sensitivity)
    total = np.zeros((n_coils, len(rows.row), len(readout.delay)), dtype=complex)
    twist = float(np.abs(readout.k @ sites.cut).max())
    run = sites.layers if twist * float(np.ptp(np.asarray(sites.spins.position) @ sites.cut)) < _UNSEEN else 1
    size = _SITES if run == 1 else _BOXES * run
    for start in range(0, len(members), size):
        part = members[start : start + size]
        placed = _place(
            sites, chosen, part, -(-len(part) // (64 * run)) * 64 * run if len(members) < size else size, dtype
        )
        boxes = placed.every(run)
        coils = [None] if sensitivity is None else list(_coils(sensitivity, part, len(placed.df), dtype, run))
        for branch in np.unique(rows.branch):
            made = matrix.encoder(train, boxes.position, boxes.df, boxes.r2 + float(branch) * boxes.r2_prime)
            mine = np.flatnonzero(rows.branch == branch)
            for block in range(0, len(mine), _ROWS):
                where = mine[block : block + _ROWS]
                emitted = _emission(states, rows, where, placed, float(branch), chosen.timed, dtype, run)
                for c, coil in enumerate(coils):
                    total[c, where] += _product(emitted, coil, made)[: len(where)]
    return total * _shape(readout, rows, side, sites.axes, chosen.timed)


def _coils(sensitivity: np.ndarray, part: np.ndarray, n: int, dtype: np.dtype, run: int) -> Iterator[Array]:
    """Sensitivity of each coil, over the boxes of a chunk."""
    kind = np.result_type(dtype, np.complex64)
    for coil in sensitivity:
        yield jnp.asarray(np.pad(coil[part], (0, n - len(part))).reshape(-1, run).mean(axis=1), kind)


def _product(emitted: Array, coil: Array | None, made: Array) -> Complex[np.ndarray, "rows samples"]:
    every = np.arange(emitted.shape[0], dtype=np.int32)
    seen = emitted if coil is None else matrix.receive(emitted, every, coil)
    samples = np.asarray(matrix.encode(seen, every, made)).astype(float)
    return samples[:, 0] + 1j * samples[:, 1]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class _Placed:
    """Sites of a chunk on the device."""

    position: Split  # (3, sites)
    df: Float[Array, " sites"]
    r2: Float[Array, " sites"]
    r2_prime: Float[Array, " sites"]
    weight: Float[Array, " sites"]
    kind: Int[Array, " sites"]

    def every(self, run: int) -> _Placed:
        """The first of each run."""
        return jax.tree.map(lambda values: values[..., ::run], self)


def _place(sites: Sites, chosen: _Plan, part: Int[np.ndarray, " n"], n: int, dtype: np.dtype) -> _Placed:
    """Sites of a chunk, filled up with sites of no weight."""
    rows = np.concatenate([part, np.full(n - len(part), part[-1])])
    spins = sites.spins.take(rows)
    weight = np.where(np.arange(n) < len(part), np.asarray(spins.weight) * np.asarray(spins.pd), 0.0)
    return _Placed(
        position=jax.tree.map(jnp.asarray, split(np.asarray(spins.position).T, dtype)),
        df=jnp.asarray(spins.df, dtype),
        r2=jnp.asarray(1 / np.asarray(spins.t2), dtype),
        r2_prime=jnp.asarray(1 / np.asarray(spins.t2_prime), dtype),
        weight=jnp.asarray(weight, dtype),
        kind=jnp.asarray(chosen.kind[rows].astype(np.int32)),
    )


def _emission(
    states: np.ndarray,
    rows: _Rows,
    where: np.ndarray,
    placed: _Placed,
    branch: float,
    timed: bool,
    dtype: np.dtype,
    run: int,
) -> Float[Array, "rows 2 sites"]:
    n = _ROWS if len(rows.row) > _ROWS else -(-len(where) // 8) * 8
    filled = np.pad(where, (0, n - len(where)))
    values = states[rows.row[filled]]
    label = rows.label[filled]
    tau = label[:, 3:] if timed else np.zeros((n, 1))
    k = jax.tree.map(jnp.asarray, split(label[:, :3].T[:, :, None], dtype))
    return _emitted(jnp.asarray(values), k, jnp.asarray(tau, dtype), placed, jnp.asarray(branch, dtype), run)


@partial(jax.jit, static_argnames="run")
def _emitted(
    values: Complex[Array, "rows kinds"],
    k: Split,
    tau: Float[Array, "rows 1"],
    placed: _Placed,
    branch: Array,
    run: int,
) -> Float[Array, "rows 2 boxes"]:
    """Weighted transverse magnetisation that each state puts at each run of sites, at the first sample."""
    position = Split(placed.position.head[:, None, :], placed.position.tail[:, None, :])
    turns = tau * placed.df
    cosine, sine = cos_sin(-(product(k, position) + turns - jnp.round(turns)))
    scale = placed.weight * jnp.exp(jnp.clip(-branch * tau * placed.r2_prime, -_EXPONENT, _EXPONENT))
    found = jnp.take(values, placed.kind, axis=1, mode="clip")
    x, y = found.real * scale, found.imag * scale
    whole = jnp.stack([x * cosine - y * sine, x * sine + y * cosine], axis=1)
    return whole if run == 1 else whole.reshape(*whole.shape[:2], -1, run).sum(axis=3)


def _shape(
    readout: ReadoutClass, rows: _Rows, side: Float[np.ndarray, " 3"], axes: Float[np.ndarray, "3 3"], timed: bool
) -> Float[np.ndarray, "rows samples"]:
    """What the box leaves of each state at each sample; zero where another branch has the sample."""
    result = np.ones((len(rows.row), len(readout.delay)))
    for axis in range(3):
        if side[axis] > 0:
            along = rows.label[:, None, :3] @ axes[:, axis] + readout.k @ axes[:, axis]
            result = result * np.sinc(along * side[axis])
    if timed:
        sign = rows.label[:, 3:] + readout.delay
        branch = rows.branch[:, None]
        result = np.where((branch == 0) | ((branch == 1) & (sign >= 0)) | ((branch == -1) & (sign < 0)), result, 0.0)
    return result
