"""What a simulation by isochromats will take of memory, before it begins."""

from __future__ import annotations

from typing import Literal

import numpy as np

from mrisim.data import Phantom
from mrisim.events.blocks import Sequence
from mrisim.physics.coils import CoilArray
from mrisim.program import Pulses
from mrisim.simulate import _chunks
from mrisim.simulate._described import program_of
from mrisim.simulate._memory import default_budget, parse_memory, plan
from mrisim.simulate.receive import Coils, resolve_coils


def memory_need(
    seq: Sequence,
    phantom: Phantom,
    *,
    pulses: Pulses = "shaped",
    coils: Coils = None,
    dtype: Literal["float32", "float64"] = "float32",
    memory: str | int | None = None,
) -> tuple[int, int]:
    """Bytes that `simulate` with engine "bloch" needs, and those that it may take.

    Arguments as in `simulate`.

    Raises:
        ResourceError: the need is more than the budget.

    Example:
        >>> import mrisim as mr
        >>> water = mr.Phantom.from_arrays(position=[[0.0, 0.0, 0.0]], t1=1.0, t2=0.1)
        >>> need, budget = memory_need(mr.load_sequence("fid"), water, memory="1 GiB")
        >>> need < budget == 2**30
        True
    """
    budget = default_budget() if memory is None else parse_memory(memory)
    receivers = resolve_coils(coils, phantom.n_spins)
    n_coils = receivers.elements if isinstance(receivers, CoilArray) else 1 if receivers is None else len(receivers)
    program, size = program_of(seq, pulses), np.dtype(dtype).itemsize
    workers, largest = _chunks.worker_count(), _chunks.largest_chunk()
    return plan(program, phantom.n_spins, n_coils, size, budget, workers, largest).need, budget


def memory_text(size: int) -> str:
    """An amount of memory as it is read.

    Example:
        >>> memory_text(3 * 2**28), memory_text(5 * 2**30)
        ('768 MiB', '5 GiB')
    """
    factor, unit = (2**30, "GiB") if size >= 2**30 else (2**20, "MiB")
    return f"{size / factor:.3g} {unit}"
