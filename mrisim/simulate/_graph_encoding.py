"""Observed configuration states → samples.

Of each readout, states that the samples see through the same shape are summed over each box before the encoding, so
that the encoding costs what it costs for isochromats. Boxes have their own shape along the axes that k moves along in
the readout; along the others the shape belongs to the state.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from mrisim._types import Array, Complex, Float, Int
from mrisim.encoding import matrix
from mrisim.engines.epg_sites import Sites
from mrisim.engines.epg_walk import Graph
from mrisim.physics.phase import Split, cos_sin, product, sinc, split
from mrisim.program import Program, ReadoutClass
from mrisim.simulate._chunks import precision

_CHUNK = 2048  # sites
_ROWS = 128  # states that are summed at a time
_UNSEEN = 1e-6  # cycles
_SAME_SHAPE = 1e-4  # cycles over a voxel: states that lie nearer are seen through the same shape
_EXPONENT = 80.0  # of the Lorentzian decay, at most
_WEAK = 0.01  # of the tolerance: kinds of sites whose states are all weaker are left out


@dataclass(frozen=True, kw_only=True, eq=False)
class Observed:
    """What sites emit at each readout."""

    graph: Graph
    states: Complex[np.ndarray, "rows kinds"]
    kind: Int[np.ndarray, " sites"]
    r2_prime: Float[np.ndarray, " kinds"]  # [1/s]
    tolerance: float

    @property
    def lorentzian(self) -> bool:
        return bool(self.r2_prime.any())


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rows:
    """Observed states of one readout class, those of one group next to each other."""

    row: Int[np.ndarray, " rows"]  # in the table of states
    label: Float[np.ndarray, "rows 4"]
    group: Int[np.ndarray, " rows"]
    branch: Int[np.ndarray, " groups"]  # 1: after the echo of the state, -1: before it; 0: no Lorentzian decay
    turn: Int[np.ndarray, " groups"]  # first sample after the echo
    train: Int[np.ndarray, " groups"]  # of the class
    shape: Int[np.ndarray, " groups"]  # encoder: groups of one branch, seen through one shape
    center: Float[np.ndarray, "shapes 3"]  # label along the axes that k moves along, else 0 [1/m]


def encode(
    program: Program,
    sites: Sites,
    observed: Observed,
    sensitivity: Complex[np.ndarray, "coils sites"] | None,
    dtype: np.dtype,
) -> Complex[np.ndarray, "coils samples"]:
    """Samples without receiver phase."""
    n_coils = 1 if sensitivity is None else len(sensitivity)
    signal = np.zeros((n_coils, program.n_samples), dtype=complex)
    tables = [_rows_of(program, i, sites, observed) for i in range(len(program.readouts))]
    chunks = list(_chunks_of(sites, observed, merged(program, sites)))

    def samples(members: Int[np.ndarray, "boxes run"]) -> Complex[np.ndarray, "coils samples"]:
        with precision(dtype):
            placed = _place(sites, observed, members, dtype)
            coils = [None] if sensitivity is None else list(_coils(sensitivity, members, dtype))
            result = np.zeros_like(signal)
            for readout, rows in zip(program.readouts, tables, strict=True):
                _add_class(result, readout, rows, observed, sites, placed, coils, dtype)
            return result

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for part in pool.map(samples, chunks):
            signal += part
    return signal


def _rows_of(program: Program, index: int, sites: Sites, observed: Observed) -> _Rows:
    """Observed states of a readout class."""
    readout, stations = program.readouts[index], observed.graph.stations
    counts = np.array([len(station.observed) for station in stations])
    begin = np.concatenate([[0], np.cumsum(counts)])
    steps = np.asarray(readout.step)
    row = np.concatenate([np.zeros(0, int), *(np.arange(int(begin[s]), int(begin[s + 1])) for s in steps)])
    label = np.concatenate([np.zeros((0, 4)), *(stations[s].observed_labels for s in steps)])
    train = np.repeat(np.arange(len(steps)), counts[steps])
    branch = np.zeros(len(row), dtype=int)
    if observed.lorentzian:
        after = np.flatnonzero(label[:, 3] + readout.delay[-1] >= 0)
        before = np.flatnonzero(label[:, 3] < 0)
        branch = np.repeat([1, -1], [len(after), len(before)])
        both = np.concatenate([after, before])
        row, label, train = row[both], label[both], train[both]
    turn = np.where(branch == 0, 0, np.searchsorted(readout.delay, -label[:, 3]))
    return _grouped(row, label, train, branch, turn, _moving(readout, sites) * sites.axes, sites)


def _moving(readout: ReadoutClass, sites: Sites) -> Float[np.ndarray, " 3"]:
    """1 for axes of the boxes along which k moves during the readout, by more than some part of a cycle."""
    span = np.ptp(readout.k @ sites.axes, axis=0) * sites.side.max(axis=0)
    return (span > _UNSEEN).astype(float)


def _grouped(
    row: np.ndarray, label: np.ndarray, train: np.ndarray, branch: np.ndarray, turn: np.ndarray, moving: np.ndarray,
    sites: Sites,
) -> _Rows:  # fmt: skip
    """Rows in groups of one train, branch and shape."""
    center = label[:, :3] @ moving
    cells = np.round(center * sites.side.max(axis=0) / _SAME_SHAPE).astype(np.int64)
    _, first, shape = np.unique(np.column_stack([branch, cells]), axis=0, return_index=True, return_inverse=True)
    shape = shape.reshape(-1)
    keys, group = np.unique(np.column_stack([shape, train, turn]), axis=0, return_inverse=True)
    order = np.argsort(group.reshape(-1), kind="stable")
    return _Rows(
        row=row[order], label=label[order], group=group.reshape(-1)[order], branch=branch[first][keys[:, 0]],
        turn=keys[:, 2], train=keys[:, 1], shape=keys[:, 0], center=center[first],
    )  # fmt: skip


def merged(program: Program, sites: Sites) -> bool:
    """Whether no readout can tell the layers of a box apart."""
    places = np.asarray(sites.spins.position) @ sites.cut
    twist = max((float(np.abs(readout.k @ sites.cut).max()) for readout in program.readouts), default=0.0)
    return bool(sites.cut.any()) and twist * float(np.ptp(places)) < _UNSEEN


def _chunks_of(sites: Sites, observed: Observed, merged: bool) -> Iterator[Int[np.ndarray, "boxes run"]]:
    """Sites in chunks, -1 for none; each row of a chunk is a box of its own to the encoding."""
    strength = np.abs(observed.states).max(axis=0, initial=0.0)[observed.kind]
    alive = np.flatnonzero(strength > _WEAK * observed.tolerance * strength.max(initial=0.0))
    box = sites.box[alive] if merged else np.arange(len(alive))
    alive = alive[np.argsort(box, kind="stable")]
    _, counts = np.unique(box, return_counts=True)
    begin = np.cumsum(counts) - counts
    runs = np.array([_bucket(count) for count in counts], dtype=int)
    for run in np.unique(runs):
        mine = np.flatnonzero(runs == run)
        size = max(1, _CHUNK // run)
        size = min(size, _bucket(len(mine)))
        for start in range(0, len(mine), size):
            boxes = mine[start : start + size]
            inside = np.arange(run) < counts[boxes][:, None]
            members = np.full((size, run), -1)
            places = np.where(inside, begin[boxes][:, None] + np.arange(run), 0)
            members[: len(boxes)] = np.where(inside, alive[places], -1)
            yield members


def _bucket(n: int) -> int:
    """1, 2, 3, 4, 6, 8, 12, …: sizes that are filled up to, so that little is compiled."""
    size = 1
    while size < n:
        size = 2 * size if size == 1 else size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return size


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class _Placed:
    """Sites of a chunk on the device, those of a box next to each other; and their boxes."""

    position: Split  # (3, sites)
    df: Float[Array, " sites"]
    weight: Float[Array, " sites"]
    sort: Int[Array, " sites"]  # of kind and box: states have one value for each
    kind: Int[Array, " sorts"]
    side: Float[Array, "sorts 3"]
    box_position: Split  # (3, boxes)
    box_df: Float[Array, " boxes"]
    box_r2: Float[Array, " boxes"]
    box_r2_prime: Float[Array, " boxes"]
    box_side: Float[Array, "boxes 3"]


def _place(sites: Sites, observed: Observed, members: Int[np.ndarray, "boxes run"], dtype: np.dtype) -> _Placed:
    flat = members.reshape(-1)
    rows = np.where(flat < 0, flat.max(), flat)
    spins = sites.spins.take(rows)
    weight = np.where(flat < 0, 0.0, np.asarray(spins.weight) * np.asarray(spins.pd))
    position = np.asarray(spins.position)
    keys = np.column_stack([observed.kind[rows], np.round(sites.side[rows] * 1e9).astype(np.int64)])
    _, first, sort = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    first = np.concatenate([first, np.full(_bucket(len(first)) - len(first), first[-1])])
    head = rows.reshape(members.shape)[:, 0]
    boxes, kind = sites.spins.take(head), observed.kind
    return _Placed(
        position=jax.tree.map(jnp.asarray, split(position.T, dtype)),
        df=jnp.asarray(spins.df, dtype),
        weight=jnp.asarray(weight, dtype),
        sort=jnp.asarray(sort.reshape(-1).astype(np.int32)),
        kind=jnp.asarray(kind[rows[first]].astype(np.int32)),
        side=jnp.asarray(sites.side[rows[first]], dtype),
        box_position=jax.tree.map(jnp.asarray, split(np.asarray(boxes.position).T, dtype)),
        box_df=jnp.asarray(boxes.df, dtype),
        box_r2=jnp.asarray(1 / np.asarray(boxes.t2), dtype),
        box_r2_prime=jnp.asarray(1 / np.asarray(boxes.t2_prime), dtype),
        box_side=jnp.asarray(sites.side[head], dtype),
    )


def _coils(
    sensitivity: np.ndarray, members: Int[np.ndarray, "boxes run"], dtype: np.dtype
) -> Iterator[Complex[Array, " boxes"]]:
    """Sensitivity of each coil, over the boxes of a chunk."""
    kind = np.result_type(dtype, np.complex64)
    for coil in sensitivity:
        yield jnp.asarray(
            (coil[members] * (members >= 0)).sum(axis=1) / np.maximum((members >= 0).sum(axis=1), 1), kind
        )


def _add_class(
    signal: Complex[np.ndarray, "coils samples"], readout: ReadoutClass, rows: _Rows, observed: Observed, sites: Sites,
    placed: _Placed, coils: list[Array | None], dtype: np.dtype,
) -> None:  # fmt: skip
    """Add the samples of one readout class."""
    train = matrix.place_train(readout, dtype)
    moving = _moving(readout, sites)
    along = readout.k @ sites.axes * moving
    phasors: dict[int, matrix.Parts] = {}
    sample = np.arange(len(readout.delay))
    for shape in np.unique(rows.shape):
        groups = np.flatnonzero(rows.shape == shape)
        branch = int(rows.branch[groups[0]])
        if branch not in phasors:
            decay = placed.box_r2 + branch * placed.box_r2_prime
            phasors[branch] = matrix.encoder(train, placed.box_position, placed.box_df, decay)
        made = _shaped(phasors[branch], jnp.asarray(rows.center[shape] + along, dtype), placed.box_side)
        for block, emitted in _emissions(rows, groups, branch, observed, readout, sites, moving, placed, dtype):
            seen = sample >= rows.turn[block][:, None]
            seen = np.ones_like(seen) if branch == 0 else seen if branch == 1 else ~seen
            where = np.asarray(readout.first)[rows.train[block]][:, None] + sample
            for c, coil in enumerate(coils):
                np.add.at(signal[c], where, np.where(seen, _product(emitted, coil, made)[: len(block)], 0.0))


def _product(emitted: Array, coil: Array | None, made: matrix.Parts) -> Complex[np.ndarray, "groups samples"]:
    return np.asarray(matrix.encode(emitted if coil is None else emitted * coil, made)).astype(complex)


def _emissions(
    rows: _Rows, groups: Int[np.ndarray, " n"], branch: int, observed: Observed, readout: ReadoutClass, sites: Sites,
    moving: Float[np.ndarray, " 3"], placed: _Placed, dtype: np.dtype,
) -> Iterator[tuple[Int[np.ndarray, " some"], Complex[Array, "groups boxes"]]]:  # fmt: skip
    """Groups of one shape, some at a time, and what boxes emit for each at the first sample."""
    begin = np.searchsorted(rows.group, np.append(groups, groups[-1] + 1))
    still = readout.k[0] @ sites.axes
    run = placed.position.head.shape[1] // placed.box_df.shape[0]
    for first, last in _blocks(begin):
        where = np.arange(begin[first], begin[last])
        n, n_groups = _bucket(len(where)), _bucket(last - first)
        filled = np.pad(where, (0, n - len(where)))
        label = rows.label[filled]
        member = np.zeros((n_groups, n))
        member[rows.group[where] - groups[first], np.arange(len(where))] = 1.0
        values = observed.states[rows.row[filled]]
        if branch:
            values = values * np.exp(np.clip(-branch * label[:, 3:] * observed.r2_prime, -_EXPONENT, _EXPONENT))
        k = jax.tree.map(jnp.asarray, split(label[:, :3].T[:, :, None], dtype))
        along = (label[:, :3] @ sites.axes + still) * (1 - moving)
        yield (
            groups[first:last],
            _emitted(
                jnp.asarray(values.astype(np.result_type(dtype, np.complex64))), k, jnp.asarray(label[:, 3:], dtype),
                jnp.asarray(along, dtype), jnp.asarray(member, dtype), placed, run,
            ),
        )  # fmt: skip


def _blocks(begin: Int[np.ndarray, " groups+1"]) -> Iterator[tuple[int, int]]:
    """Runs of groups of at most so many rows."""
    first, n = 0, len(begin) - 1
    while first < n:
        last = max(first + 1, int(np.searchsorted(begin, begin[first] + _ROWS, side="right")) - 1)
        yield first, last
        first = last


@jax.jit
def _shaped(made: matrix.Parts, along: Float[Array, "samples 3"], side: Float[Array, "boxes 3"]) -> matrix.Parts:
    """An encoder with the transform of each box."""
    factor = jnp.prod(jnp.stack([sinc(along[:, axis, None] * side[:, axis]) for axis in range(3)]), axis=0)
    factor = jax.lax.optimization_barrier(factor)
    real, imag, both = made
    return real * factor, imag * factor, both * factor


@partial(jax.jit, static_argnames="run")
def _emitted(
    values: Complex[Array, "rows kinds"],
    k: Split,
    tau: Float[Array, "rows 1"],
    along: Float[Array, "rows 3"],
    member: Float[Array, "groups rows"],
    placed: _Placed,
    run: int,
) -> Complex[Array, "groups boxes"]:
    """Weighted transverse magnetisation of each group over each box, at the first sample."""
    position = Split(placed.position.head[:, None, :], placed.position.tail[:, None, :])
    turns = tau * placed.df
    cosine, sine = cos_sin(-(product(k, position) + turns - jnp.round(turns)))
    shape = jnp.prod(jnp.stack([sinc(along[:, axis, None] * placed.side[:, axis]) for axis in range(3)]), axis=0)
    table = jnp.take(values, placed.kind, axis=1, mode="clip") * shape
    found = jax.lax.optimization_barrier(jnp.take(table, placed.sort, axis=1, mode="clip"))
    x, y = found.real * placed.weight, found.imag * placed.weight
    whole = jnp.stack([x * cosine - y * sine, x * sine + y * cosine], axis=1)
    if run > 1:
        whole = whole.reshape(*whole.shape[:2], -1, run).sum(axis=3)
    flat = whole.reshape(whole.shape[0], -1)
    summed = jnp.matmul(member, flat, precision=jax.lax.Precision.HIGHEST)
    parts = summed.reshape(member.shape[0], 2, -1)
    return jax.lax.complex(parts[:, 0], parts[:, 1])
