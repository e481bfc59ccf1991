"""The NUFFT wrapper: both libraries against direct summation, adjointness, lattices."""

from __future__ import annotations

import numpy as np
import pytest

from mrisim.encoding import nufft
from mrisim.encoding.nufft import Transform, backends, from_image, to_image

BACKENDS = [pytest.param(b, marks=[] if b in backends() else pytest.mark.skip(reason=f"{b} is not installed"))
            for b in ("finufft", "nufftax")]  # fmt: skip
GENERATOR = np.random.default_rng(5)


def numbers(*shape):
    return GENERATOR.normal(size=shape) + 1j * GENERATOR.normal(size=shape)


def relative(found, exact):
    return np.linalg.norm(found - exact) / np.linalg.norm(exact)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("axes", "tolerance"), [(1, 1e-3), (1, 1e-6), (2, 1e-3), (2, 1e-4), (2, 1e-6), (3, 1e-4)])
def test_scattered_to_scattered_is_the_direct_sum(backend, axes, tolerance):
    """Points and targets off center, so that the phases of the middles count."""
    points, targets = GENERATOR.uniform(-0.1, 0.14, (axes, 400)), GENERATOR.uniform(-60, 90, (axes, 150))
    values = numbers(2, 400)
    exact = values @ np.exp(-2j * np.pi * points.T @ targets)
    found = Transform.of(points, targets, tolerance, backend)(values)
    assert relative(found, exact) < tolerance


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(7,), (6, 9), (4, 5, 6)])
def test_images_and_samples_are_the_direct_sums(backend, shape):
    k = GENERATOR.uniform(-0.5, 0.5, (len(shape), 40))
    samples, image = numbers(2, 40), numbers(2, *shape)
    places = np.stack(np.meshgrid(*[np.arange(n) - n // 2 for n in shape], indexing="ij")).reshape(len(shape), -1)
    matrix = np.exp(2j * np.pi * k.T @ places)
    assert relative(to_image(samples, k, shape, 1e-6, backend).reshape(2, -1), samples @ matrix) < 1e-6
    assert relative(from_image(image, k, 1e-6, backend), image.reshape(2, -1) @ matrix.conj().T) < 1e-6


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_lattice_of_targets_takes_one_grid_and_gives_the_same(backend):
    """A zig-zag like that of an EPI train, its points beyond the lattice's field of view."""
    line, column = np.divmod(np.arange(20 * 24), 24)
    targets = np.stack([np.where(line % 2, 23 - column, column) / 0.21 - 37.0, line / 0.18 + 11.0])
    points, values = GENERATOR.uniform(-0.15, 0.3, (2, 300)), numbers(1, 300)
    transform = Transform.of(points, targets, 1e-6, backend)
    assert transform.lattice is not None
    assert transform.lattice.shape == (24, 20)
    assert relative(transform(values), values @ np.exp(-2j * np.pi * points.T @ targets)) < 1e-6


def test_targets_off_a_lattice_or_too_few_for_one_are_scattered():
    points = GENERATOR.uniform(-0.1, 0.1, (2, 50))
    line, column = np.divmod(np.arange(64.0), 8)
    square = np.stack([line, column]) / 0.2
    assert Transform.of(points, square, 1e-4).lattice is not None
    bent = square + np.array([[0.0], [1e-4]]) * np.arange(64)
    assert Transform.of(points, bent, 1e-4).lattice is None
    assert Transform.of(points, square[:, ::7], 1e-4).lattice is None


def test_the_two_libraries_agree():
    if "finufft" not in backends():
        pytest.skip("finufft is not installed")
    points, targets, values = GENERATOR.normal(size=(2, 200)), GENERATOR.normal(size=(2, 90)) * 20, numbers(1, 200)
    one, other = (Transform.of(points, targets, 1e-9, b)(values) for b in ("finufft", "nufftax"))
    assert relative(one, other) < 2e-9


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_in_nothing_out(backend):
    empty = Transform.of(np.zeros((2, 0)), np.ones((2, 3)), 1e-4, backend)
    assert empty(np.zeros((2, 0))).tolist() == [[0j] * 3] * 2


def test_double_precision_is_taken_where_single_would_spend_the_tolerance():
    assert nufft.needs_double(np.array([30.0, 30.0]), 1e-6)
    assert not nufft.needs_double(np.array([30.0, 30.0]), 1e-3)
