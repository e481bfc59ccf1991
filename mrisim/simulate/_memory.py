"""Memory as a budget: how large a chunk of spins may be, and whether the work fits at all."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from mrisim.errors import Problem, ResourceError, SpecError
from mrisim.program import Program

SEGMENT = 256  # steps that one compiled call runs
LARGEST_TILE = 2048  # spins whose state, propagators and matrices stay in a core's cache
LARGEST_CHUNK = 32768  # spins that one compiled call runs, tile by tile
SMALLEST_CHUNK = 128
_WORK = 1 << 31  # spins times samples of one compiled call: a fraction of a second
_PROPAGATORS = 1 << 25  # bytes of them in a chunk of more than one tile
SAMPLE_BLOCK = 512  # samples of a train that one encoder holds
STORE_LIMIT = 1 << 30  # bytes of propagators that are kept
_DEFAULT_SHARE = 0.5  # of the memory that is free
_BYTES_ON_HOST = 2 * 11 * 8  # of a spin: the phantom, and a copy in another order

_FACTORS = {
    "B": 1,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
}


def parse_memory(text: str | float | int) -> int:
    """Bytes from "4 GiB" or a number of bytes.

    Raises:
        SpecError: no amount of memory.

    Example:
        >>> parse_memory("4 GiB")
        4294967296
    """
    if isinstance(text, (int, float)) and not isinstance(text, bool) and text > 0:
        return int(text)
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?)\s*([A-Za-z]+)\s*", text) if isinstance(text, str) else None
    if match is None or match[2] not in _FACTORS or float(match[1]) <= 0:
        raise SpecError(Problem(f"must be an amount of memory such as 4 GiB, but is '{text}'", path="memory"))
    return int(float(match[1]) * _FACTORS[match[2]])


def free_memory() -> int:
    """Bytes that are free, as the operating system tells."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def default_budget() -> int:
    """Bytes that a simulation may take where nothing else is said: half of what is free."""
    return int(free_memory() * _DEFAULT_SHARE)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How the spins go through: chunk size and number of chunks side by side."""

    chunk: int
    workers: int
    need: int  # bytes
    store: int  # bytes that propagators may take, those of former runs included
    left: int  # bytes of the budget beyond the need; what else is kept is taken from them, and from the store


def _bytes_per_spin(program: Program, n_coils: int, itemsize: int, sums: float) -> tuple[int, int]:
    """Working memory of one spin: of a chunk (propagators, state, what is handed over), and of a tile (the rest)."""
    n_pulses = max(1, len(program.pulses.waveform))
    longest = min(SAMPLE_BLOCK, max((r.delay.shape[0] for r in program.readouts), default=1))
    steps = min(SEGMENT, program.n_steps)
    runs = sums * (4 * steps * n_coils + 10 * longest)
    chunk = int(12 * (n_pulses + 4) + 2 * n_coils + 32 + runs)
    tile = 4 * steps + 6 * longest + 12 * n_pulses + 32
    return chunk * itemsize, tile * itemsize


def _largest(program: Program, n_coils: int, largest: int) -> int:
    """Spins of a chunk that one compiled call is done with soon, and whose propagators stay small."""
    segments = max(1, -(-program.n_steps // SEGMENT))
    samples = max(1, program.n_samples // segments * n_coils)
    pulses = max(1, len(program.pulses.waveform))
    return min(largest, max(LARGEST_TILE, min(_WORK // samples, _PROPAGATORS // (48 * pulses))))


def plan(
    program: Program,
    n_spins: int,
    n_coils: int,
    itemsize: int,
    budget: int | None,
    workers: int,
    largest: int,
    sums: float = 0.0,
) -> Plan:
    """Chunk size for a budget.

    Args:
        program: The program.
        n_spins: Number of spins.
        n_coils: Number of coils.
        itemsize: Bytes of a number.
        budget: Bytes; None for half of what is free.
        workers: Chunks that may go side by side.
        largest: Spins that a chunk may have.
        sums: Per spin, step and coil, where runs of spins are encoded together.

    Raises:
        ResourceError: not even the smallest chunk fits; the message states the need.
    """
    budget = default_budget() if budget is None else budget
    per_spin, per_tile = _bytes_per_spin(program, n_coils, itemsize, sums)
    fixed = n_spins * _BYTES_ON_HOST + program.n_samples * (n_coils * 16 * 4 + 64) + program.n_steps * 200
    chunk = min(_largest(program, n_coils, largest), _bucket(n_spins))

    def total() -> int:
        return fixed + workers * (chunk * per_spin + min(chunk, LARGEST_TILE) * per_tile)

    while chunk > LARGEST_TILE and total() > budget:
        chunk //= 2
    while workers > 1 and total() > budget:
        workers -= 1
    while chunk > SMALLEST_CHUNK and total() > budget:
        chunk //= 2
    need = total()
    if need > budget:
        raise ResourceError(
            Problem(
                f"must leave {need / 2**20:.3g} MiB for {n_spins} isochromats and {program.n_samples} samples, "
                f"but is {budget / 2**20:.3g} MiB",
                "Allow more memory, or use fewer isochromats, larger voxels or fewer coils",
                path="memory",
            )
        )
    store = min(STORE_LIMIT, budget - need)
    own = min(store, 12 * itemsize * n_spins * len(program.pulses.waveform))
    return Plan(chunk=chunk, workers=workers, need=need + own, store=store, left=budget - need)


def _bucket(n: int) -> int:
    """Smallest power of two that holds n spins, so that similar phantoms share one compilation."""
    return max(SMALLEST_CHUNK, 1 << (n - 1).bit_length())
