"""Random numbers of the walk: known answers, moments, no dependence on who asks."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from mrisim.engines.walk_steps import (
    MEAN_STEP,
    MEAN_STEP_ALONG_AXES,
    keys,
    next_bits,
    normal_steps,
    threefry,
)


def words(*values: int) -> tuple[np.ndarray, ...]:
    return tuple(np.array([value], dtype=np.uint32) for value in values)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0), (0, 0), (0x9D1C5EC6, 0x8BD50731)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0xFD36D048, 0x2D17272C)),
        ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xBA3E4725, 0xF27D669E)),
    ],
)
def test_generator_gives_its_known_answers(counter, key, expected):
    """kat_vectors of Random123, threefry2x32 with 13 rounds."""
    assert tuple(int(word[0]) for word in threefry(words(*key), words(*counter))) == expected


def test_steps_have_the_moments_of_a_normal_distribution():
    key, _, _ = keys(1, 0)
    n = 1 << 18
    steps = normal_steps(next_bits(key, jnp.arange(n, dtype=np.uint32), jnp.uint32(7)), np.dtype(np.float32))
    x = np.asarray(jnp.stack(steps), dtype=float)
    assert np.abs(x.mean(axis=1)).max() < 4 / np.sqrt(n)
    assert np.abs(np.cov(x) - np.eye(3)).max() < 4 * np.sqrt(2 / n)
    assert np.abs((x**4).mean(axis=1) - (3 - 2 / 21)).max() < 4 * np.sqrt(96 / n)  # 96: variance of a fourth power
    assert np.abs(x).max() <= np.sqrt(21) * (1 + 1e-6)  # all bits alike
    along = np.array([0.36, 0.48, 0.8]) @ x
    assert np.abs(along).mean() == pytest.approx(MEAN_STEP, rel=0.01)  # directions differ by as much
    assert np.abs(x).mean(axis=1) == pytest.approx(MEAN_STEP_ALONG_AXES, rel=4 * 0.75 / np.sqrt(n))


def test_neighboring_steps_and_walkers_are_not_correlated():
    key, other, _ = keys(1, 0)
    n, dtype = 1 << 16, np.dtype(np.float32)
    number = jnp.arange(n, dtype=np.uint32)
    base = np.asarray(normal_steps(next_bits(key, number, jnp.uint32(3)), dtype)[0])
    following = np.asarray(normal_steps(next_bits(key, number, jnp.uint32(4)), dtype)[0])
    foreign = np.asarray(normal_steps(next_bits(other, number, jnp.uint32(3)), dtype)[0])
    for against in (following, foreign, np.roll(base, 1)):
        assert abs(np.mean(base * against)) < 4 / np.sqrt(n)
