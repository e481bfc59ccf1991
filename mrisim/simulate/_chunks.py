"""Spins through a program, chunk by chunk, side by side on the cores; sums in a fixed order."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np

from mrisim._types import Array, Complex, Float, Int
from mrisim.data import Phantom
from mrisim.encoding.grouping import Grouping
from mrisim.engines import bloch
from mrisim.program import Program
from mrisim.simulate import hosts
from mrisim.simulate._checkpoint import Checkpoint
from mrisim.simulate._memory import LARGEST_CHUNK, LARGEST_TILE, SMALLEST_CHUNK, Plan
from mrisim.simulate._propagators import Pulse, chunk_propagators, prepare_pulses
from mrisim.simulate._segments import Cut, Segment, segments_of
from mrisim.simulate._tiles import Near, Where, run_segment
from mrisim.simulate._trains import Trains
from mrisim.simulate.pathway import Pathway

_LANES = 64
_FEW = 8  # chunks, where there are no more spins than these hold
_LEAST = 4096  # spins of a chunk, where there are as many: each costs the interpreter a millisecond
_COMPILED: set[tuple[object, ...]] = set()  # what has run once in this process: its chunks need not wait for the first
_GPU_CHUNK = 1 << 17


@dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """What all chunks share."""

    program: Program
    segments: tuple[Segment, ...]
    pulses: tuple[Pulse, ...]
    tolerance: float
    grouping: Grouping | None  # order in which chunks are cut from the spins; None: as they are
    size: int  # spins of a chunk
    tile: int  # spins that go through together
    dtype: np.dtype
    n_places: int  # spins, fillers of runs included
    changes: bool = False  # whether a contrast agent changes tissue
    weighted: bool = False  # whether diffusion is weighted

    @property
    def run(self) -> int:
        """Neighboring spins that the encoding takes together."""
        return 1 if self.grouping is None else self.grouping.size

    @property
    def near(self) -> bool:
        """Whether those are near, and not equal."""
        return self.grouping is not None and self.grouping.band is not None

    def rows(self, places: Int[np.ndarray, " size"]) -> Int[np.ndarray, " size"]:
        """Spins at some places; of those beyond the last, the last."""
        inside = np.minimum(places, self.n_places - 1)
        return inside if self.grouping is None else self.grouping.order[inside]


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
    program: Program,
    phantom: Phantom,
    spoil: bool,
    tolerance: float,
    dtype: np.dtype,
    size: int,
    grouping: Grouping | None = None,
    transformed: tuple[int, ...] = (),
    extra: bloch.Extra | None = None,
    pathway: Pathway | None = None,
) -> Work:
    """Cut the steps into segments of equal length and prepare everything that chunks share.

    Args:
        program: The program.
        phantom: All spins.
        spoil: Whether spoiling is ideal.
        tolerance: As in `simulate`.
        dtype: Precision of the device.
        size: Spins of a chunk, from `chunk_size`.
        grouping: Order in which chunks are cut from the spins; None: as they are.
        transformed: Readout classes that are encoded after all chunks.
        extra: What a contrast agent adds in each step.
        pathway: Along which diffusion acts.
    """
    near = None if grouping is None or grouping.band is None else Near(grouping.band, tolerance)
    cut = Cut(spoil, np.dtype(dtype), transformed, near)
    with precision(dtype):
        pulses = prepare_pulses(program, phantom, tolerance, np.dtype(dtype), size)
    return Work(
        program=program,
        segments=segments_of(program, cut, extra, pathway),
        pulses=pulses,
        tolerance=tolerance,
        grouping=grouping,
        size=size,
        n_places=phantom.n_spins if grouping is None else len(grouping.order),
        tile=tile_size(size, 1 if grouping is None else grouping.size),
        dtype=np.dtype(dtype),
        changes=extra is not None,
        weighted=pathway is not None,
    )


def rest_of(
    work: Work,
    rows: Int[np.ndarray, " rest"],
    spoil: bool,
    size: int,
    extra: bloch.Extra | None = None,
    pathway: Pathway | None = None,
) -> Work:
    """The same for some spins that come in no run. Other arguments as in `prepare`."""
    return replace(
        work,
        segments=segments_of(work.program, Cut(spoil, work.dtype, (), None), extra, pathway),
        grouping=Grouping(size=1, order=rows, filler=np.zeros(len(rows), bool)),
        size=size,
        n_places=len(rows),
        tile=tile_size(size, 1),
    )


def place(work: Work, device: Any) -> Work:
    """The work with what chunks share on a device."""
    with precision(work.dtype):
        put = partial(jax.device_put, device=device)
        return replace(
            work,
            segments=tuple(segment.on(device) for segment in work.segments),
            pulses=tuple(replace(pulse, placed=put(pulse.placed), table=put(pulse.table)) for pulse in work.pulses),
        )


def _round_up(n: int, step: int) -> int:
    return -(-n // step) * step


def chunk_size(n_spins: int, largest: int, run: int) -> int:
    """Spins of a chunk: whole runs, whole tiles, and a multiple of what a processor takes at a time.

    Four chunks where that leaves each some thousand spins, eight where it leaves four times as many, so that many cores
    have work; the number of cores does not count, so that it changes no result. Few sizes exist, so that similar
    phantoms share a compilation. XLA's loops over 4095 spins take fifteen times longer than those over 4096.

    Args:
        n_spins: All spins.
        largest: Spins that a chunk may have.
        run: Neighboring spins that the encoding cannot tell apart.

    Example:
        >>> [chunk_size(n, 32768, 1) for n in (3, 1000, 10_000, 100_000, 1_000_000)]
        [128, 1024, 5184, 17856, 32768]
    """
    count = max(1, min(_FEW // 2, n_spins // _LEAST), min(_FEW, n_spins // (4 * _LEAST)))
    size = max(SMALLEST_CHUNK, -(-n_spins // count))
    octave = 1 << (size - 1).bit_length()
    size = octave if octave <= _LEAST // 2 else _round_up(size, octave // 32)
    step = math.lcm(run, _LANES)
    most = max(1, largest // step) * step
    size = min(_round_up(size, step), most)
    up, down = range(size, most + 1, step), range(size, 0, -step)
    return next(whole for whole in (*up, *down) if whole % tile_size(whole, run) == 0)


def tile_size(chunk: int, run: int) -> int:
    """Spins of a tile: whole runs, an even share of the chunk; on another device than a CPU all of it.

    More where spins come in runs, because no matrix has to stay in the cache.
    """
    if jax.default_backend() != "cpu" or (run > 1 and chunk <= 3 * LARGEST_TILE):
        return chunk
    step = math.lcm(run, _LANES)
    count = -(-chunk // (LARGEST_TILE if run == 1 else 2 * LARGEST_TILE))
    return max(step, chunk // count // step * step)


def chunk_places(start: int, work: Work) -> Int[np.ndarray, " size"]:
    """Places of a chunk; where runs are of equal spins, of a tile's runs all first members, all second ones, …"""
    places = np.arange(start, start + work.size)
    return places if work.near else places.reshape(-1, work.tile // work.run, work.run).swapaxes(1, 2).reshape(-1)


def cut_chunk(work: Work, phantom: Phantom, places: Int[np.ndarray, " size"]) -> Phantom:
    """The spins at those places; fillers of runs and places beyond the last hold spins of no weight."""
    chunk = phantom.take(work.rows(places))
    empty = places >= work.n_places
    if work.grouping is not None:
        empty |= work.grouping.filler[np.minimum(places, work.n_places - 1)]
    return replace(chunk, weight=np.where(empty, 0.0, chunk.weight))


def place_chunk(
    work: Work, phantom: Phantom, places: Int[np.ndarray, " size"]
) -> tuple[bloch.Spins, Float[Array, "pulses 4 3 spins"]]:
    """The spins at some places on the device, and what pulses do to them."""
    chunk = cut_chunk(work, phantom, places)
    placed = bloch.place_spins(chunk, work.dtype)
    if work.changes:
        placed = placed._replace(curve=np.asarray(chunk.curve, dtype=np.int32))
    if work.weighted:
        placed = placed._replace(diffusion=(chunk.diffusion_tensors().T * 1e9).astype(work.dtype))
    spins = jax.device_put(placed)
    return spins, chunk_propagators(work.pulses, chunk, work.rows(places), placed, spins, work.tolerance)


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
        kind = np.result_type(work.dtype, np.complex64)
        coils = None if sensitivity is None else jax.device_put(np.asarray(sensitivity, kind))
        n_coils = 1 if coils is None else len(coils)
        signal = np.zeros((n_coils, work.program.n_samples + 1), dtype=complex)
        state = bloch.init(spins, initial)
        for segment in work.segments:
            if stop is not None and stop.is_set():
                break
            state, found, emitted = run_segment(
                state, spins, coils, propagators, segment.steps, segment.groups, segment.views, segment.kept,
                tile=work.tile, run=work.run,
            )  # fmt: skip
            for where, samples in zip(segment.where, found, strict=True):
                _add(signal, where, np.asarray(samples))
            if trains is not None and segment.rows:
                _keep(trains, number, segment, np.asarray(emitted))
    return signal[:, :-1]


def _add(
    signal: Complex[np.ndarray, "coils samples"],
    where: Where,
    samples: Complex[np.ndarray, "readouts coils rows samples"],
) -> None:
    """Add samples where they belong."""
    values = np.moveaxis(samples, 1, 0)
    flat = where.reshape(-1)
    for coil, part in zip(signal, values, strict=True):
        coil[flat] += part.reshape(-1)


def _keep(trains: Trains, number: int, segment: Segment, emitted: Complex[np.ndarray, "tiles kept runs"]) -> None:
    """Hand over what was emitted for trains that are transformed."""
    m, first = np.moveaxis(emitted, 0, 1).reshape(emitted.shape[1], -1), 0
    for index, chosen in segment.rows:
        trains.keep(number, index, chosen, m[first : first + len(chosen)])
        first += len(chosen)


def chunk_starts(n_spins: int, size: int) -> list[int]:
    """First spin of each chunk that this process takes."""
    return hosts.share(range(0, n_spins, size))


def all_chunks(works: Sequence[Work]) -> list[tuple[int, int]]:
    """Work and first place of each chunk that this process takes."""
    return [(part, start) for part, work in enumerate(works) for start in chunk_starts(work.n_places, work.size)]


def run_chunks(
    works: Sequence[Work],
    phantom: Phantom,
    sensitivity: Complex[np.ndarray, "coils spins"] | None,
    initial: Float[np.ndarray, "spins 3"] | None,
    layout: Plan,
    advance: Callable[[int], None],
    checkpoint: Checkpoint | None = None,
    trains: Trains | None = None,
) -> Complex[np.ndarray, "coils samples"]:
    """Sum of all chunks in order, of all processes; the first runs alone where it compiles for the others.

    The first work has the spins that come in runs, or all; a second one the rest. Trains that are transformed follow.
    An interrupted run leaves within a segment, and its checkpoint holds what was summed, and what was emitted for those
    trains.
    """
    n_coils = 1 if sensitivity is None else len(sensitivity)
    devices = jax.local_devices()
    placed = [[place(work, device) for device in devices] for work in works]
    sums = _Sums(np.zeros((n_coils, works[0].program.n_samples), dtype=complex), trains, checkpoint, layout.chunk)
    stop = threading.Event()

    def one(number: int) -> np.ndarray:
        part, start = chunks[number]
        work = placed[part][number % len(devices)]
        places = chunk_places(start, work)
        rows = work.rows(places)
        coils = None if sensitivity is None else sensitivity[:, rows]
        state = None if initial is None else initial[rows]
        with jax.default_device(devices[number % len(devices)]):
            return run_chunk(work, phantom, places, coils, state, stop, trains, number)

    if sums.done:
        advance(sums.done)
    chunks = all_chunks(works)
    signature = (*(_signature(work, n_coils, initial is not None) for work in works), trains and trains.classes)
    try:
        for part in _in_order(one, range(sums.done, len(chunks)), layout.workers, signature not in _COMPILED):
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
    segments = {
        str(jax.tree.map(np.shape, (s.steps.pulse, s.steps.shared, s.groups, s.views, s.kept))) for s in work.segments
    }
    return (work.size, work.tile, work.run, work.near, str(work.dtype), n_coils, started, pulses, frozenset(segments))
