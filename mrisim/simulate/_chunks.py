"""Spins through a program, chunk by chunk, side by side on the cores; sums in a fixed order."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mrisim._types import Array, Complex, Float, Int
from mrisim.data import Phantom
from mrisim.encoding import matrix
from mrisim.engines import bloch
from mrisim.program import Program, ReadoutClass, StepTable
from mrisim.simulate import hosts
from mrisim.simulate._checkpoint import Checkpoint
from mrisim.simulate._memory import LARGEST_CHUNK, SAMPLE_BLOCK, SEGMENT, Plan
from mrisim.simulate._propagators import Pulse, chunk_propagators, prepare_pulses
from mrisim.simulate._trains import Trains

_ENCODERS_KEPT = 4
_LANES = 64
_COMPILED: set[tuple[object, ...]] = set()  # what has run once in this process: its chunks need not wait for the first
_GPU_CHUNK = 1 << 17


@dataclass(frozen=True, kw_only=True, eq=False)
class Segment:
    """A run of steps, and which of its rows belong to which readout class."""

    steps: bloch.Steps
    rows: tuple[tuple[int, np.ndarray, np.ndarray], ...]  # class, rows in the segment (padded), index into the class


@dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """What all chunks share."""

    program: Program
    segments: tuple[Segment, ...]
    trains: tuple[tuple[tuple[int, matrix.Train], ...], ...]  # per class: blocks of samples with their first sample
    pulses: tuple[Pulse, ...]
    tolerance: float
    run: int  # neighboring spins that the encoding cannot tell apart
    size: int  # spins of a chunk
    dtype: np.dtype


def largest_chunk() -> int:
    """Spins of a chunk on the default device."""
    return LARGEST_CHUNK if jax.default_backend() == "cpu" else _GPU_CHUNK


def worker_count() -> int:
    """Chunks that run side by side in this process."""
    if jax.default_backend() != "cpu":
        return jax.local_device_count()
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def precision(dtype: np.dtype):
    """Context in which arrays of that precision exist; no global switch is touched."""
    return jax.enable_x64(True) if np.dtype(dtype) == np.float64 else contextlib.nullcontext()


def prepare(
    program: Program, phantom: Phantom, spoil: bool, tolerance: float, dtype: np.dtype, largest: int, run: int = 1
) -> Work:
    """Cut the steps into segments of equal length and place everything that chunks share.

    Args:
        program: The program.
        phantom: All spins, in the order in which chunks are cut from them.
        spoil: Whether spoiling is ideal.
        tolerance: As in `simulate`.
        dtype: Precision of the device.
        largest: Spins that a chunk may have.
        run: Neighboring spins that the encoding cannot tell apart.
    """
    size = chunk_size(largest, run)
    length = _round_up(-(-program.n_steps // -(-program.n_steps // SEGMENT)), 8)
    segments = []
    for start in range(0, program.n_steps, length):
        part = slice_steps(program.steps, start, length)
        rows = tuple(_rows_of(program, start, start + length))
        segments.append(Segment(steps=bloch.place_steps(part, program.pulses, spoil, dtype), rows=rows))
    trains = tuple(tuple(_sample_blocks(readout, dtype)) for readout in program.readouts)
    with precision(dtype):
        pulses = prepare_pulses(program, phantom, tolerance, np.dtype(dtype), size)
    return Work(
        program=program,
        segments=tuple(segments),
        trains=trains,
        pulses=pulses,
        tolerance=tolerance,
        run=run,
        size=size,
        dtype=np.dtype(dtype),
    )


def place(work: Work, device: Any) -> Work:
    """The work with what chunks share on a device."""
    with precision(work.dtype):
        put = partial(jax.device_put, device=device)
        return replace(
            work,
            segments=tuple(replace(segment, steps=put(segment.steps)) for segment in work.segments),
            trains=tuple(tuple((first, put(train)) for first, train in blocks) for blocks in work.trains),
            pulses=tuple(replace(pulse, placed=put(pulse.placed), table=put(pulse.table)) for pulse in work.pulses),
        )


def slice_steps(steps: StepTable, start: int, length: int) -> StepTable:
    """Steps from start on, with steps of no length at the end, exact identities, where there are not enough."""
    missing = max(0, start + length - len(steps.time))

    def cut(values: np.ndarray, fill: float) -> np.ndarray:
        part = values[start : start + length]
        return np.concatenate([part, np.full((missing, *part.shape[1:]), fill, part.dtype)]) if missing else part

    fills = {"pulse": -1, "readout": -1}
    return replace(steps, **{name: cut(values, fills.get(name, 0)) for name, values in vars(steps).items()})


def _rows_of(program: Program, start: int, stop: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    for index, readout in enumerate(program.readouts):
        chosen = np.flatnonzero((readout.step >= start) & (readout.step < stop))
        if len(chosen):
            rows = readout.step[chosen] - start
            padded = np.pad(rows, (0, _bucket(len(rows)) - len(rows)))
            yield index, padded.astype(np.int32), chosen


def _bucket(n: int) -> int:
    """Rows that n are filled up to, so that a sweep compiles once: 1, 2, 4, or a multiple of 8."""
    return 1 << (n - 1).bit_length() if n < 8 else _round_up(n, 8)


def _round_up(n: int, step: int) -> int:
    return -(-n // step) * step


def _sample_blocks(readout: ReadoutClass, dtype: np.dtype) -> Iterator[tuple[int, matrix.Train]]:
    for start in range(0, len(readout.delay), SAMPLE_BLOCK):
        part = slice(start, start + SAMPLE_BLOCK)
        block = replace(readout, delay=readout.delay[part], k=readout.k[part], receiver=readout.receiver[part])
        yield start, matrix.place_train(block, dtype)


def chunk_size(largest: int, run: int) -> int:
    """Spins of a chunk: whole runs, and a multiple of what a processor takes at a time.

    XLA's loops over 4095 spins take fifteen times longer than those over 4096.
    """
    step = math.lcm(run, _LANES)
    return max(1, largest // step) * step


def chunk_places(start: int, size: int, run: int) -> Int[np.ndarray, " size"]:
    """Spins of a chunk: of each run that the encoding cannot tell apart all first members, then all second ones, …"""
    return np.arange(start, start + size).reshape(-1, run).T.reshape(-1)


def cut_chunk(phantom: Phantom, places: Int[np.ndarray, " size"]) -> Phantom:
    """Those spins; places beyond the last hold spins of no weight."""
    inside = places < phantom.n_spins
    chunk = phantom.take(np.where(inside, places, phantom.n_spins - 1))
    return replace(chunk, weight=np.where(inside, chunk.weight, 0.0))


def place_chunk(
    work: Work, phantom: Phantom, places: Int[np.ndarray, " size"]
) -> tuple[bloch.Spins, Float[Array, "pulses 4 3 spins"]]:
    """The spins at some places on the device, and what pulses do to them."""
    chunk = cut_chunk(phantom, places)
    placed = bloch.place_spins(chunk, work.dtype)
    rows = np.minimum(places, phantom.n_spins - 1)
    spins = jax.device_put(placed)
    return spins, chunk_propagators(work.pulses, chunk, rows, placed, spins, work.tolerance)


def run_chunk(
    work: Work,
    phantom: Phantom,
    places: Int[np.ndarray, " size"],
    sensitivity: Complex[np.ndarray, "coils spins"] | None,
    initial: Float[np.ndarray, "spins 3"] | None,
    stop: threading.Event | None = None,
    trains: Trains | None = None,
    number: int = 0,
) -> Complex[np.ndarray, "coils samples"]:
    """Signal of the spins at some places; left unfinished when told to stop.

    What they emit for trains that are transformed is handed over in place of being encoded.
    """
    with precision(work.dtype):
        spins, propagators = place_chunk(work, phantom, places)
        n_coils = 1 if sensitivity is None else len(sensitivity)
        signal = np.zeros((n_coils, work.program.n_samples), dtype=complex)
        state = bloch.init(spins, initial)
        encode = _ChunkEncoding(spins if work.run == 1 else bloch.first_of_runs(spins, work.run), sensitivity)
        for segment in work.segments:
            if stop is not None and stop.is_set():
                break
            state, emitted = bloch.evolve(state, segment.steps, propagators, spins)
            if work.run > 1:
                emitted = matrix.sum_runs(emitted, work.run)
            for index, rows, chosen in segment.rows:
                if trains is not None and index in trains.row:
                    trains.keep(number, index, chosen, np.asarray(emitted[rows[: len(chosen)]]))
                    continue
                for first, train in work.trains[index]:
                    samples = encode.samples(emitted, rows, (index, first), train)[:, : len(chosen)]
                    where = work.program.readouts[index].first[chosen][:, None] + first + np.arange(samples.shape[2])
                    signal[:, where] += samples
    return signal


class _ChunkEncoding:
    """Encoding of one chunk: the matrices that were made last are kept."""

    def __init__(self, spins: bloch.Spins, sensitivity: Complex[np.ndarray, "coils spins"] | None):
        self._spins = (spins.position, spins.df, spins.r2)
        kind = np.result_type(spins.df.dtype, np.complex64)
        self._coils = None if sensitivity is None else [jnp.asarray(coil, kind) for coil in sensitivity]
        self._made: OrderedDict[tuple[int, int, bool], tuple[Array, ...]] = OrderedDict()

    def samples(
        self,
        emitted: Float[Array, "steps 2 spins"],
        rows: Int[np.ndarray, " rows"],
        key: tuple[int, int],
        train: matrix.Train,
    ) -> Complex[np.ndarray, "coils rows samples"]:
        """Samples of some rows, coil by coil."""
        if self._coils is None:
            return _joined([self._encode(emitted, rows, key, train)])
        every = np.arange(len(rows), dtype=np.int32)
        return _joined([self._encode(matrix.receive(emitted, rows, c), every, key, train) for c in self._coils])

    def _encode(
        self, emitted: Array, rows: Int[np.ndarray, " rows"], key: tuple[int, int], train: matrix.Train
    ) -> Array:
        n_rows = len(rows) * (1 if self._coils is None else len(self._coils))
        few = train.fine is not None and n_rows < len(train.fine.delay)
        made = self._matrices((*key, few), train)
        return matrix.encode_few(emitted, rows, *made) if few else matrix.encode(emitted, rows, *made)

    def _matrices(self, key: tuple[int, int, bool], train: matrix.Train) -> tuple[Array, ...]:
        if key not in self._made:
            self._made[key] = matrix.factors(train, *self._spins) if key[2] else (matrix.encoder(train, *self._spins),)
            if len(self._made) > _ENCODERS_KEPT:
                self._made.popitem(last=False)
        return self._made[key]


def _joined(parts: list[Array]) -> Complex[np.ndarray, "coils rows samples"]:
    values = np.stack([np.asarray(part) for part in parts]).astype(float)
    return values[:, :, 0] + 1j * values[:, :, 1]


def chunk_starts(n_spins: int, size: int) -> list[int]:
    """First spin of each chunk that this process takes."""
    return hosts.share(range(0, n_spins, size))


def run_chunks(
    work: Work,
    phantom: Phantom,
    sensitivity: Complex[np.ndarray, "coils spins"] | None,
    initial: Float[np.ndarray, "spins 3"] | None,
    layout: Plan,
    advance: Callable[[int], None],
    checkpoint: Checkpoint | None = None,
    trains: Trains | None = None,
) -> Complex[np.ndarray, "coils samples"]:
    """Sum of all chunks in order, of all processes; the first runs alone where it compiles for the others.

    Trains that are transformed follow. An interrupted run leaves within a segment, and its checkpoint holds what was
    summed, and what was emitted for those trains.
    """
    n_coils = 1 if sensitivity is None else len(sensitivity)
    devices = jax.local_devices()
    works = [place(work, device) for device in devices]
    sums = _Sums(np.zeros((n_coils, work.program.n_samples), dtype=complex), trains, checkpoint, layout.chunk)
    stop = threading.Event()

    def one(start: int) -> np.ndarray:
        places = chunk_places(start, work.size, work.run)
        rows = np.minimum(places, phantom.n_spins - 1)
        coils = None if sensitivity is None else sensitivity[:, rows]
        state = None if initial is None else initial[rows]
        turn = start // work.size % len(devices)
        with jax.default_device(devices[turn]):
            return run_chunk(works[turn], phantom, places, coils, state, stop, trains, starts.index(start))

    if sums.done:
        advance(sums.done)
    starts = chunk_starts(phantom.n_spins, work.size)
    signature = (*_signature(work, n_coils, initial is not None), trains and trains.classes)
    try:
        for part in _in_order(one, starts[sums.done :], layout.workers, signature not in _COMPILED):
            sums.add(part)
            _COMPILED.add(signature)
            advance(1)
        if trains is not None:
            for where, samples in _in_order(trains.samples, trains.classes, layout.workers, False):
                sums.total[:, where] = samples  # again where an interrupt comes
            sums.trains = None
    finally:
        stop.set()
        sums.write()
    return hosts.total(sums.total)


class _Sums:
    """What was summed so far, in the checkpoint's reach."""

    def __init__(self, zero: np.ndarray, trains: Trains | None, checkpoint: Checkpoint | None, chunk: int):
        self.total, self.done = zero, 0
        self.trains, self._checkpoint, self._chunk = trains, checkpoint, chunk
        if checkpoint is not None:
            self.total, self.done = checkpoint.total(zero.shape), checkpoint.done
            if trains is not None and self.done:
                trains.first_chunks(self.done)[:] = checkpoint.emitted

    def add(self, part: np.ndarray) -> None:
        """Add a chunk, and write now and then."""
        self.total, self.done = self.total + part, self.done + 1  # both or none, whenever an interrupt comes
        if self._checkpoint is not None and self._checkpoint.due():
            self.write()

    def write(self) -> None:
        """Write the checkpoint, if there is one."""
        if self._checkpoint is None:
            return
        kept = () if self.trains is None else (self.trains.classes, self.trains.first_chunks(self.done))
        self._checkpoint.write(self._chunk, self.done, self.total, *kept)


def _in_order(
    function: Callable[[int], np.ndarray], items: Iterable[int], workers: int, alone: bool
) -> Iterator[np.ndarray]:
    """Results in the order of the items, some ahead side by side; the first by itself where asked."""
    rest = iter(items)
    if alone:
        for item in itertools.islice(rest, 1):
            yield function(item)
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        pending = deque(pool.submit(function, item) for item in itertools.islice(rest, 2 * workers))
        try:
            while pending:
                yield pending.popleft().result()
                pending.extend(pool.submit(function, item) for item in itertools.islice(rest, 1))
        finally:
            for future in pending:
                future.cancel()


def _signature(work: Work, n_coils: int, started: bool) -> tuple[object, ...]:
    """What compilations of a chunk depend on."""
    pulses = tuple((len(p.placed.blocks), p.table is None or p.table.shape) for p in work.pulses)
    segments = {(len(s.steps.pulse), tuple((i, len(rows)) for i, rows, _ in s.rows)) for s in work.segments}
    trains = tuple(tuple(jax.tree.map(np.shape, train) for _, train in blocks) for blocks in work.trains)
    return (work.size, work.run, str(work.dtype), n_coils, started, pulses, frozenset(segments), str(trains))
