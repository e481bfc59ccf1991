"""Several processes at one simulation: each takes every so-many-th chunk, and all end with the whole sum."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable

import jax
import numpy as np

from mrisim._types import Complex
from mrisim.errors import Problem, ResourceError, SpecError

_EXPLICIT = re.compile(r"(?P<address>[^/\s]+:\d+)/(?P<count>\d+)/(?P<rank>\d+)")


def join(text: str) -> None:
    """Connect this process with its peers; before anything else of JAX runs.

    Args:
        text: "auto", where Slurm or Open MPI started the processes; or COORDINATOR:PORT/PROCESSES/RANK, ranks from 0,
            of which the first is the coordinator.

    Raises:
        SpecError: another text.
        ResourceError: the others cannot be reached.
    """
    found = _EXPLICIT.fullmatch(text)
    if text != "auto" and (found is None or not int(found["rank"]) < int(found["count"])):
        rule = f"must be auto or COORDINATOR:PORT/PROCESSES/RANK, ranks from 0, but is '{text}'"
        raise SpecError(Problem(rule, "Such as node1:7777/4/0", path="hosts"))
    try:
        if found is None:
            jax.distributed.initialize()
        else:
            jax.distributed.initialize(found["address"], int(found["count"]), int(found["rank"]))
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        remedy = "Start as many processes as are named, each with its own rank"
        raise ResourceError(Problem(f"must be reached, but are not ({reason})", remedy, path="hosts")) from None


def rank() -> int:
    """Number of this process, from 0; the first writes the files."""
    return jax.process_index()


def share(items: Iterable[int]) -> list[int]:
    """This process's part of some work."""
    return list(items)[jax.process_index() :: jax.process_count()]


def total(part: Complex[np.ndarray, "coils samples"]) -> Complex[np.ndarray, "coils samples"]:
    """Sum over all processes, in the order of their ranks, in each of them.

    Raises:
        ResourceError: one of them is gone.
    """
    if jax.process_count() == 1:
        return part
    from jax.experimental.multihost_utils import process_allgather

    raw = np.frombuffer(np.ascontiguousarray(part).tobytes(), dtype=np.uint8)
    try:
        gathered = np.asarray(process_allgather(raw))
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0][:120]
        rule = f"must all finish, but one of {jax.process_count()} processes is gone ({reason})"
        raise ResourceError(Problem(rule, "Start them again with --resume", path="hosts")) from None
    parts = np.frombuffer(gathered.tobytes(), dtype=complex).reshape(jax.process_count(), *part.shape)
    result = np.zeros(part.shape, dtype=complex)
    for values in parts:
        result += values
    return result


def leave(code: int) -> None:
    """End this process at once: after a peer is gone, an orderly end would wait for it and then abort."""
    sys.stdout.flush()
    sys.stderr.flush()
    if jax.process_count() > 1:
        os._exit(code)
    sys.exit(code)
