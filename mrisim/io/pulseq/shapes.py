"""Shapes of Pulseq: run-length coding of the derivative.

A run of n equal steps is stored as step, step, n - 2. A shape is stored as it is where that is no longer.
"""

from __future__ import annotations

import numpy as np

from mrisim._types import Float
from mrisim.errors import SpecError

QUANTUM = 1e-9  # of a compressed shape, whose values are at most 1
SHORTEST = 5  # samples that are compressed
MAX_SAMPLES = 20_000_000  # of one shape


def compress(samples: Float[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
    """Stored form of a shape; as long as the shape itself where it is not compressed.

    Values are rounded to `QUANTUM` where they are compressed, without drift.

    Example:
        >>> compress(np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4, 0.4])).tolist()
        [0.0, 0.1, 0.1, 2.0, 0.0, 0.0, 2.0]
    """
    samples = np.asarray(samples, dtype=float)
    if len(samples) < SHORTEST or not np.abs(samples).max() < 2**52 * QUANTUM:
        return samples
    steps = np.diff(np.round(samples / QUANTUM).astype(np.int64), prepend=0)
    first = np.flatnonzero(np.diff(steps, prepend=steps[0] + 1))
    length = np.diff(np.append(first, len(steps)))
    repeats = np.where(length > 1, 3, 1)
    stored = np.repeat(np.round(steps[first] * QUANTUM, 9), repeats)
    stored[np.cumsum(repeats)[length > 1] - 1] = length[length > 1] - 2
    return stored if len(stored) < len(samples) else samples


def decompress(stored: Float[np.ndarray, " m"], n_samples: int, *, always: bool = False) -> Float[np.ndarray, " n"]:
    """Samples of a shape.

    Args:
        stored: As in the file.
        n_samples: As in the file; equal to the length of `stored` where the shape is stored as it is.
        always: Files before version 1.4 compress every shape.

    Raises:
        SpecError: counts that are no counts, or that do not add up to `n_samples`; nothing is allocated before that.

    Example:
        >>> decompress(np.array([0.0, 0.5, 0.5, 0.0]), 4).tolist()
        [0.0, 0.5, 0.5, 0.0]
        >>> decompress(np.array([0.5, 0.0, 0.0, 1.0]), 4).tolist()
        [0.5, 0.0, 0.0, 1.0]
        >>> decompress(np.array([0.5, 0.0, 0.0, 3.0]), 6).tolist()
        [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    """
    if not 0 < n_samples <= MAX_SAMPLES:
        raise SpecError(f"num_samples must be from 1 to {MAX_SAMPLES}, but is {n_samples}")
    if len(stored) == n_samples and not always:
        return stored
    value, count = _runs(stored)
    total = float(np.sum(count))
    if total != n_samples:
        raise SpecError(f"samples must add up to num_samples {n_samples}, but add up to {total:g}")
    return np.cumsum(np.repeat(value, count.astype(np.int64)))


def _runs(stored: Float[np.ndarray, " m"]) -> tuple[np.ndarray, np.ndarray]:
    """Value and length of each run. A repeated value is followed by a count, which belongs to no other run."""
    equal = np.flatnonzero(stored[1:] == stored[:-1])
    marks, after = [], 0
    for i in equal.tolist():
        if i >= after:
            marks.append(i)
            after = i + 3
    mark = np.array(marks, dtype=np.int64)
    if len(mark) and mark[-1] + 2 >= len(stored):
        raise SpecError("samples must hold a count after two equal values, but end before it")
    extra = stored[mark + 2]
    wrong = (extra < 0) | (extra > MAX_SAMPLES) | (extra != np.round(extra))
    if wrong.any():
        raise SpecError(f"samples must hold a whole count after two equal values, but hold {extra[wrong][0]:g}")
    keep = np.ones(len(stored), dtype=bool)
    keep[mark + 1] = keep[mark + 2] = False
    count = np.ones(len(stored))
    count[mark] = extra + 2
    return stored[keep], count[keep]
