"""One compiled call per chunk and segment of steps: tile after tile, so that what a tile needs stays in a core's cache.

Memory is taken once per call and not once per tile: fresh pages would cost as much as the work that is done in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mrisim._types import Array, Complex, Float, Int
from mrisim.encoding import matrix
from mrisim.engines import bloch
from mrisim.program import Program, ReadoutClass
from mrisim.simulate._memory import SAMPLE_BLOCK

# A third off the time of a step where the processor has such registers; and chunks run side by side, so that none is
# split over threads, which would wait for each other at every step.
_OPTIONS = {"xla_cpu_prefer_vector_width": 512, "xla_cpu_multi_thread_eigen": False}


class Group(NamedTuple):
    """Readouts of a segment that have one shape; what each needs lies side by side."""

    rows: Int[Array, "readouts rows"]  # of what the segment emits, the last one repeated where there are fewer
    train: matrix.Train  # with a leading axis of readouts


def groups_of(
    program: Program, start: int, stop: int, dtype: np.dtype, without: tuple[int, ...]
) -> Iterator[tuple[Group, Int[np.ndarray, "readouts rows samples"]]]:
    """Readouts of some steps by shape, and where their samples belong; n_samples stands for nowhere.

    Args:
        program: The program.
        start, stop: First step, and the one after the last.
        dtype: Precision of the device.
        without: Readout classes that are encoded elsewhere.
    """
    alike: dict[Any, list[tuple[np.ndarray, matrix.Train, np.ndarray]]] = {}
    most = _most_rows(program, stop - start)
    for index, rows, chosen in rows_of(program, start, stop):
        if index in without:
            continue
        padded = np.pad(rows, (0, _filled(len(rows), most[index]) - len(rows)), mode="edge").astype(np.int32)
        for first, train in _sample_blocks(program.readouts[index], dtype):
            n = int(train.coarse.delay.shape[0]) * (1 if train.fine is None else int(train.fine.delay.shape[0]))
            where = np.full((len(padded), n), program.n_samples)
            where[: len(rows)] = program.readouts[index].first[chosen][:, None] + first + np.arange(n)
            shape = (len(padded), *(np.shape(leaf) for leaf in jax.tree.leaves(train)))
            alike.setdefault(shape, []).append((padded, train, where))
    for members in alike.values():
        rows, trains, where = zip(*members, strict=True)
        yield Group(np.stack(rows), jax.tree.map(lambda *leaves: np.stack(leaves), *trains)), np.stack(where)


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


def _sample_blocks(readout: ReadoutClass, dtype: np.dtype) -> Iterable[tuple[int, matrix.Train]]:
    for start in range(0, len(readout.delay), SAMPLE_BLOCK):
        part = slice(start, start + SAMPLE_BLOCK)
        block = replace(readout, delay=readout.delay[part], k=readout.k[part], receiver=readout.receiver[part])
        yield start, matrix.place_train(block, dtype)


def run_segment(
    state: bloch.State,
    spins: bloch.Spins,
    coils: Complex[Array, "coils spins"] | None,
    propagators: Float[Array, "pulses 4 3 spins"],
    steps: bloch.Steps,
    groups: tuple[Group, ...],
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
        groups: Readouts that are encoded.
        kept: Steps whose magnetisation is handed over.
        tile: Spins of a tile.
        run: Neighboring spins that the encoding cannot tell apart.

    Returns:
        Magnetisation after it, samples of each group, and what the kept steps emit.
    """
    return _compiled()(state, spins, coils, propagators, steps, groups, kept, tile=tile, run=run)


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


def _run_segment(state, spins, coils, propagators, steps, groups, kept, *, tile: int, run: int):
    everything = (state, spins, coils, propagators)

    def through(number: Array | int):
        cut = partial(jax.lax.dynamic_slice_in_dim, start_index=number * tile, slice_size=tile, axis=-1)
        return _tile(jax.tree.map(cut, everything), steps, groups, kept, run)

    def body(total, number: Array):
        state, found, emitted = through(number)
        return jax.tree.map(jnp.add, total, found), (state, emitted)

    n_tiles = spins.df.shape[0] // tile
    if n_tiles == 1:
        state, found, emitted = _tile(everything, steps, groups, kept, run)
        return state, found, emitted[None]
    _, shapes, _ = jax.eval_shape(through, 0)
    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    total, (state, emitted) = jax.lax.scan(body, zero, jnp.arange(n_tiles, dtype=np.int32))
    return tuple(part.reshape(-1) for part in state), total, emitted


def _tile(part, steps, groups, kept, run: int):
    """What a chunk of one tile goes through."""
    state, spins, coils, propagators = part
    state, emitted = bloch.evolve(state, steps, propagators, spins)
    if run > 1:
        emitted, spins = matrix.sum_runs(emitted, run), bloch.first_of_runs(spins, run)
    where = (spins.position, spins.df, spins.r2)
    return state, tuple(_samples(emitted, coils, where, group) for group in groups), emitted[kept]


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
