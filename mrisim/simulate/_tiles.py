"""One compiled call per chunk and segment of steps: tile after tile, so that what a tile needs stays in a core's cache.

Memory is taken once per call and not once per tile: fresh pages would cost as much as the work that is done in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mrisim._types import Array, Complex, Float, Int
from mrisim.encoding import matrix, near
from mrisim.encoding.grouping import ERROR_OF_RUNS, middle_of
from mrisim.encoding.near import Band
from mrisim.engines import bloch
from mrisim.physics.phase import Split
from mrisim.program import Program, ReadoutClass
from mrisim.simulate._memory import SAMPLE_BLOCK

# A third off the time of a step where the processor has such registers; and chunks run side by side, so that none is
# split over threads, which would wait for each other at every step.
_STEPS_SUMMED = 40  # at most, at a time
_ALL_STEPS = 0.8  # of them: where so many hold readouts, all are summed
_OPTIONS = {"xla_cpu_prefer_vector_width": 512, "xla_cpu_multi_thread_eigen": False}


@dataclass(frozen=True)
class Near:
    """How readouts of runs of near spins are encoded."""

    band: Band
    tolerance: float  # as in `simulate`


class Group(NamedTuple):
    """Readouts of a segment that have one shape; what each needs lies side by side."""

    rows: Int[Array, "readouts rows"]  # of what the segment emits, the last one repeated where there are fewer
    train: matrix.Train  # with a leading axis of readouts


class MixedGroup(NamedTuple):
    """The same for runs of near spins."""

    rows: Int[Array, "readouts rows"]  # of what the view sums
    mixed: near.Mixed  # with a leading axis of readouts


class View(NamedTuple):
    """What is summed over the runs of near spins in a segment, and the readouts that follow from it."""

    pivots: near.Pivots
    rows: Int[Array, "blocks rows"] | None  # of each block of steps, those that are summed; None: all
    groups: tuple[MixedGroup, ...]


Where = Int[np.ndarray, "readouts rows samples"]  # where samples belong; n_samples stands for nowhere


def groups_of(
    program: Program, start: int, stop: int, dtype: np.dtype, without: tuple[int, ...]
) -> tuple[tuple[Group, ...], tuple[Where, ...]]:
    """Readouts of some steps by shape, and where the samples of each group belong.

    Args:
        program: The program.
        start, stop: First step, and the one after the last.
        dtype: Precision of the device.
        without: Readout classes that are encoded elsewhere.
    """
    parts = [part for part in _parts(program, start, stop) if part.index not in without]
    found = list(_alike([(part, matrix.place_train(part.readout, dtype)) for part in parts]))
    return tuple(Group(rows, train) for rows, train, _ in found), tuple(where for *_, where in found)


def views_of(
    program: Program,
    start: int,
    stop: int,
    dtype: np.dtype,
    runs: Near,
    placed: dict[tuple[int, int], tuple[near.Pivots, near.Mixed]],
) -> tuple[tuple[View, ...], tuple[Where, ...]]:
    """The same for runs of near spins; readouts whose pivots agree share a view.

    Args:
        program, start, stop, dtype: As in `groups_of`.
        runs: How they are encoded.
        placed: What was found for parts of readout classes in other segments, filled on.
    """
    shared: dict[bytes, list[tuple[_Part, near.Pivots, near.Mixed]]] = {}
    for part in _parts(program, start, stop):
        key = part.index, part.first
        if key not in placed:
            placed[key] = near.place_pivots(part.readout, runs.band, ERROR_OF_RUNS * runs.tolerance, dtype)
        pivots, mixed = placed[key]
        same = b"|".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(pivots))
        shared.setdefault(same, []).append((part, pivots, mixed))
    views, where = [], []
    for members in shared.values():
        rows, place = _summed_rows([part.rows for part, _, _ in members], stop - start)
        found = list(_alike([(replace(part, rows=place[part.rows]), mixed) for part, _, mixed in members]))
        views.append(View(members[0][1], rows, tuple(MixedGroup(chosen, mixed) for chosen, mixed, _ in found)))
        where += [places for *_, places in found]
    return tuple(views), tuple(where)


def _block(n_steps: int) -> int:
    """Steps that are summed at a time: a divisor of all."""
    return max(length for length in range(1, _STEPS_SUMMED + 1) if n_steps % length == 0)


def _summed_rows(
    readouts: list[Int[np.ndarray, " rows"]], n_steps: int
) -> tuple[Int[np.ndarray, "blocks rows"] | None, Int[np.ndarray, " steps"]]:
    """Rows of each block of steps that hold readouts, None where most do; and the place of each step among them."""
    length, seen = _block(n_steps), np.unique(np.concatenate(readouts))
    block = seen // length
    most = int(np.bincount(block).max())
    if most > _ALL_STEPS * length:
        return None, np.arange(n_steps, dtype=np.int32)
    slot = np.arange(len(seen)) - np.searchsorted(block, block)
    rows, place = np.zeros((n_steps // length, most), np.int32), np.zeros(n_steps, np.int32)
    rows[block, slot] = seen % length
    place[seen] = block * most + slot
    return rows, place


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """Samples of a readout class, as many as one encoder holds, in some steps."""

    index: int  # of the class
    first: int  # of its samples
    readout: ReadoutClass
    rows: Int[np.ndarray, " rows"]  # those steps, the last one repeated
    where: Int[np.ndarray, "rows samples"]


def _parts(program: Program, start: int, stop: int) -> Iterator[_Part]:
    most = _most_rows(program, stop - start)
    for index, rows, chosen in rows_of(program, start, stop):
        readout = program.readouts[index]
        padded = np.pad(rows, (0, _filled(len(rows), most[index]) - len(rows)), mode="edge").astype(np.int32)
        for first in range(0, len(readout.delay), SAMPLE_BLOCK):
            part = slice(first, first + SAMPLE_BLOCK)
            block = replace(readout, delay=readout.delay[part], k=readout.k[part], receiver=readout.receiver[part])
            where = np.full((len(padded), len(block.delay)), program.n_samples)
            where[: len(rows)] = readout.first[chosen][:, None] + first + np.arange(len(block.delay))
            yield _Part(index=index, first=first, readout=block, rows=padded, where=where)


def _alike(members: list[tuple[_Part, Any]]) -> Iterator[tuple[np.ndarray, Any, Where]]:
    """Members of one shape: their rows, what encodes them, and where their samples belong, each stacked."""
    alike: dict[Any, list[tuple[_Part, Any]]] = {}
    for part, placed in members:
        shape = (len(part.rows), *(np.shape(leaf) for leaf in jax.tree.leaves(placed)))
        alike.setdefault(shape, []).append((part, placed))
    for same in alike.values():
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *(placed for _, placed in same))
        yield np.stack([part.rows for part, _ in same]), stacked, np.stack([part.where for part, _ in same])


def rows_of(program: Program, start: int, stop: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Of each readout class that some steps hold: its number, those steps counted from the first, and its rows."""
    for index, readout in enumerate(program.readouts):
        chosen = np.flatnonzero((readout.step >= start) & (readout.step < stop))
        if len(chosen):
            yield index, np.asarray(readout.step)[chosen] - start, chosen


def _most_rows(program: Program, length: int) -> list[int]:
    """Of each readout class, the rows of the segment that holds most of them."""
    return [int(np.bincount(readout.step // length).max()) for readout in program.readouts]


def _filled(n: int, most: int) -> int:
    """Rows that n are filled up to, so that a sweep compiles once and segments that are sampled in part share programs.

    The most that a segment holds, as 1, 2, 4 or a multiple of 8; or a quarter of that, or a quarter of the quarter, …
    """
    size = 1 << (most - 1).bit_length() if most < 8 else -(-most // 8) * 8
    while size > 1 and -(-size // 4) >= n:
        size = -(-size // 4)
    return size


def run_segment(
    state: bloch.State,
    spins: bloch.Spins,
    coils: Complex[Array, "coils spins"] | None,
    propagators: Float[Array, "pulses 4 3 spins"],
    steps: bloch.Steps,
    groups: tuple[Group, ...],
    views: tuple[View, ...],
    kept: Int[Array, " kept"],
    *,
    tile: int,
    run: int,
) -> tuple[bloch.State, tuple[Complex[Array, "readouts coils rows samples"], ...], Complex[Array, "tiles kept runs"]]:
    """Run the spins of a chunk through a segment of steps.

    Args:
        state: Magnetisation before it.
        spins: The chunk: whole tiles.
        coils: Sensitivities; None for one uniform coil.
        propagators: Of the pulses.
        steps: The segment.
        groups: Readouts that are encoded, spin by spin or by runs of equal spins.
        views: Readouts that are encoded by runs of near spins, all others' groups then being none.
        kept: Steps whose magnetisation is handed over.
        tile: Spins of a tile.
        run: Neighboring spins that the encoding takes together.

    Returns:
        Magnetisation after it, samples of each group (of the views: one after the other), and what the kept steps emit.
    """
    return _compiled()(state, spins, coils, propagators, steps, groups, views, kept, tile=tile, run=run)


def compilations() -> int:
    """Programs that `run_segment` has been compiled to."""
    return _compiled()._cache_size()


@cache
def _compiled() -> Any:
    return jax.jit(_run_segment, static_argnames=("tile", "run"), compiler_options=_known_options())


def _known_options() -> dict[str, int]:
    """Compiler options, none where the compiler does not know them."""
    try:
        jax.jit(lambda x: x, compiler_options=_OPTIONS).lower(np.float32(0)).compile()
    except Exception:  # the compiler's own, of a class that differs between versions
        return {}
    return _OPTIONS


def _run_segment(state, spins, coils, propagators, steps, groups, views, kept, *, tile: int, run: int):
    everything = (state, spins, coils, propagators)

    def through(number: Array | int):
        cut = partial(jax.lax.dynamic_slice_in_dim, start_index=number * tile, slice_size=tile, axis=-1)
        return _tile(jax.tree.map(cut, everything), steps, groups, views, kept, run)

    def body(total, number: Array):
        state, found, summed, emitted = through(number)
        return jax.tree.map(jnp.add, total, found), (state, summed, emitted)

    n_tiles = spins.df.shape[0] // tile
    if n_tiles == 1:
        state, total, summed, emitted = _tile(everything, steps, groups, views, kept, run)
        summed, emitted = jax.tree.map(lambda part: part[None], (summed, emitted))
    else:
        _, shapes, *_ = jax.eval_shape(through, 0)
        zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        total, (state, summed, emitted) = jax.lax.scan(body, zero, jnp.arange(n_tiles, dtype=np.int32))
        state = tuple(part.reshape(-1) for part in state)
    middle = _middles(spins.position, run)
    mixed = [part for view, one in zip(views, summed, strict=True) for part in _of_view(view, one, middle)]
    return state, (*total, *mixed), emitted


def _tile(part, steps, groups, views, kept, run: int):
    """What a chunk of one tile goes through."""
    state, spins, coils, propagators = part
    if views:
        state, summed = _views(part, steps, views, run)
        return state, (), summed, jnp.zeros((0, spins.df.shape[0]), state[0].dtype)
    state, emitted = bloch.evolve(state, steps, propagators, spins)
    if run > 1:
        emitted, spins = matrix.sum_runs(emitted, run), bloch.first_of_runs(spins, run)
    where = (spins.position, spins.df, spins.r2)
    return state, tuple(_samples(emitted, coils, where, group) for group in groups), (), emitted[kept]


def _views(part, steps, views: tuple[View, ...], run: int):
    """Sums over the runs of a tile: rows, runs, coils times pivots; some steps at a time, that stay in the cache."""
    state, spins, coils, propagators = part
    factors = []
    for view in views:
        factor = near.weights(view.pivots, spins.position, spins.df, spins.r2, _middles(spins.position, run))
        factors.append(factor if coils is None else (coils[:, None] * factor).reshape(-1, factor.shape[1]))
    table, rows = bloch.table_of(steps, spins), bloch.rows_of(steps)
    n_steps = rows.pulse.shape[0]
    length = _block(n_steps)

    def some(state, block):
        rows, chosen = block
        state, emitted = bloch.evolve_rows(state, rows, table, propagators, spins)
        seen = [emitted if one is None else emitted[one] for one in chosen]
        return state, tuple(near.gather(m, factor, run) for m, factor in zip(seen, factors, strict=True))

    blocks = jax.tree.map(lambda v: v.reshape(-1, length, *v.shape[1:]), rows)
    state, summed = jax.lax.scan(some, state, (blocks, tuple(view.rows for view in views)))
    return state, tuple(sums.reshape(-1, *sums.shape[2:]) for sums in summed)


def _middles(position: Split, run: int) -> Split:
    return jax.tree.map(lambda part: part[:, middle_of(run) :: run], position)


def _of_view(view: View, summed: Array, middle: Split) -> Iterator[Array]:
    """Samples of each group of a view: readouts, coils, rows, samples."""
    n_pivots, runs = len(view.pivots.delay), middle.head.shape[1]
    apart = jnp.moveaxis(summed, 0, 1).reshape(summed.shape[1], runs, -1, n_pivots)
    columns = jnp.moveaxis(apart, 2, 0).reshape(-1, summed.shape[1], runs * n_pivots)

    def one(group: MixedGroup) -> Array:
        rows = columns[:, group.rows]
        samples = matrix.encode(rows.reshape(-1, rows.shape[2]), near.encoder(group.mixed, view.pivots, middle))
        return samples.reshape(*rows.shape[:2], -1)

    for group in view.groups:
        yield jax.lax.map(one, group)


def _samples(emitted: Array, coils: Array | None, where: tuple, group: Group) -> Array:
    """Samples of a group: readouts, coils, rows, samples."""
    if group.rows.shape[0] == 1:
        return _readout(emitted, coils, where, jax.tree.map(lambda v: v[0], group))[None]
    return jax.lax.map(partial(_readout, emitted, coils, where), group)


def _readout(emitted: Array, coils: Array | None, where: tuple, one: Group) -> Array:
    n_rows, train = one.rows.shape[0] * (1 if coils is None else coils.shape[0]), one.train
    few = train.fine is not None and n_rows < train.fine.delay.shape[0]
    made = matrix.factors(train, *where) if few else (matrix.encoder(train, *where),)
    encode = matrix.encode_few if few else matrix.encode
    m = emitted[one.rows]
    return encode(m, *made)[None] if coils is None else jax.lax.map(lambda coil: encode(m * coil, *made), coils)
