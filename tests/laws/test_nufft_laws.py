"""Laws of the non-uniform transforms: adjoint to each other, linear, and shifted by phases."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mrisim.encoding.nufft import Transform, from_image, to_image

TOLERANCE = 1e-9  # asked of the transforms; inner products of random vectors may cancel to a hundredth
SEEDS = st.integers(0, 2**32 - 1)


def numbers(generator, *shape):
    return generator.normal(size=shape) + 1j * generator.normal(size=shape)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, shape=st.sampled_from([(9,), (8, 11), (4, 5, 6)]))
def test_image_to_samples_and_back_are_adjoint(seed, shape):
    g = np.random.default_rng(seed)
    k = g.uniform(-0.5, 0.5, (len(shape), 30))
    image, samples = numbers(g, 1, *shape), numbers(g, 1, 30)
    forward, backward = from_image(image, k, TOLERANCE), to_image(samples, k, shape, TOLERANCE)
    size = np.linalg.norm(forward) * np.linalg.norm(samples)
    assert abs(np.vdot(samples, forward) - np.vdot(backward, image)) < 100 * TOLERANCE * size


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, axes=st.sampled_from([1, 2]))
def test_exchanging_points_and_targets_transposes(seed, axes):
    g = np.random.default_rng(seed)
    x, k, c, s = g.uniform(-0.1, 0.2, (axes, 40)), g.uniform(-50, 90, (axes, 25)), numbers(g, 1, 40), numbers(g, 1, 25)
    there, back = Transform.of(x, k, TOLERANCE)(c), Transform.of(k, x, TOLERANCE)(s)
    size = np.linalg.norm(there) * np.linalg.norm(s)
    assert abs(np.sum(there * s) - np.sum(back * c)) < 100 * TOLERANCE * size


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, shift=st.floats(-0.5, 0.5))
def test_moving_the_points_turns_the_targets(seed, shift):
    g = np.random.default_rng(seed)
    x, k, c = g.uniform(-0.1, 0.2, (2, 40)), g.uniform(-50, 90, (2, 25)), numbers(g, 1, 40)
    here, there = Transform.of(x, k, TOLERANCE)(c), Transform.of(x + np.array([[shift], [0.0]]), k, TOLERANCE)(c)
    assert np.linalg.norm(there - here * np.exp(-2j * np.pi * k[0] * shift)) < 10 * TOLERANCE * np.linalg.norm(here)
