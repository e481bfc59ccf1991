"""Random numbers that are counted: a walker's step number i is the same whichever chunk, core or run makes it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mrisim._types import Array, Float, Int

Word = Any
"""Unsigned integers of 32 bits, of NumPy or of JAX."""
Words = tuple[Word, Word]

_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_ROUNDS = 13
_PARITY = 0x1BD11BDA
_AXIS_BITS = 21  # of each of three axes; one of the 64 bits is left over
_LOW = (1 << _AXIS_BITS) - 1
MEAN_STEP_ALONG_AXES = 0.80744
"""Mean length of a step along x, y or z, in standard deviations: 21 · C(20, 10) / 2^20 / sqrt(21)."""
MEAN_STEP = 0.8
"""The same, the mean over all directions; 0.7979 if steps were normal."""


def threefry(key: Words, counter: Words) -> Words:
    """Sixty-four random bits of a counter.

    Source:
        Threefry-2x32 with 13 rounds: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", Proc.
        SC11 (2011), where 13 rounds pass all tests of BigCrush.
    """
    schedule = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(_PARITY))
    x, y = counter[0] + key[0], counter[1] + key[1]
    for turn in range(_ROUNDS):
        x = x + y
        by = _ROTATIONS[turn % 8]
        y = ((y << np.uint32(by)) | (y >> np.uint32(32 - by))) ^ x
        if turn % 4 == 3:
            block = turn // 4 + 1
            x, y = x + schedule[block % 3], y + schedule[(block + 1) % 3] + np.uint32(block)
    return x, y


def normal_steps(bits: Words, dtype: np.dtype) -> tuple[Array, Array, Array]:
    """Three independent steps of mean 0 and variance 1 out of 64 bits: binomial, so nearly normal.

    The third moment is that of a normal step, the fourth 2.90 in place of 3.
    """
    low, high = np.uint32(_LOW), np.uint32(_AXIS_BITS)
    count = jax.lax.population_count
    x, y = count(bits[0] & low), count(bits[1] & low)
    z = count(bits[0] >> high) + count(bits[1] >> np.uint32(_AXIS_BITS + 1))
    return _centered(x, dtype), _centered(y, dtype), _centered(z, dtype)


def _centered(ones: Int[Array, " walkers"], dtype: np.dtype) -> Float[Array, " walkers"]:
    return (2 * ones.astype(np.int32) - _AXIS_BITS).astype(dtype) * np.asarray(1 / np.sqrt(_AXIS_BITS), dtype)


def uniform(word: Word, dtype: np.dtype) -> Float[Array, " walkers"]:
    """In (0, 1), never its ends, out of 32 bits."""
    return ((word >> np.uint32(9)).astype(np.int32).astype(dtype) + 0.5) * np.asarray(2.0**-23, dtype)


def host_uniforms(key: Words, number: Int[np.ndarray, " walkers"], draw: int) -> Float[np.ndarray, "walkers 4"]:
    """Four uniform numbers for each walker, on the host; each draw has others."""
    counters = [np.full(len(number), 2 * draw + i, dtype=np.uint32) for i in range(2)]
    words = [word for counter in counters for word in threefry(key, (number, counter))]
    return (np.stack(words, axis=1).astype(float) + 0.5) * 2.0**-32


def keys(seed: int, part: int) -> tuple[Words, Words, Words]:
    """Keys for the steps, for membranes and for where walkers start."""
    words = np.random.SeedSequence([seed, part]).generate_state(6, dtype=np.uint32)
    made = [np.asarray(words[i : i + 1]) for i in range(6)]
    return (made[0], made[1]), (made[2], made[3]), (made[4], made[5])


def next_bits(key: Words, number: Int[Array, " walkers"], step: Int[Array, ""]) -> Words:
    """Bits of one step of each walker."""
    return threefry(key, (number, jnp.broadcast_to(step, number.shape)))
