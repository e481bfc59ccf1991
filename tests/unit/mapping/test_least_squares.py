"""The Levenberg–Marquardt steps and the small solver beneath them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrisim.mapping.least_squares import double_precision, levenberg_marquardt, solve_positive

EPS = np.finfo(float).eps


@pytest.fixture(autouse=True)
def double():
    with double_precision():
        yield


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_small_systems_are_solved(n):
    rng = np.random.default_rng(n)
    factor = rng.normal(size=(n, n))
    matrix, right = factor @ factor.T + np.eye(n), rng.normal(size=n)
    found = solve_positive(jnp.asarray(matrix), jnp.asarray(right))
    np.testing.assert_allclose(found, np.linalg.solve(matrix, right), rtol=100 * EPS * np.linalg.cond(matrix))


def test_rosenbrock_valley_is_followed():
    residual = lambda p: jnp.stack([10 * (p[1] - p[0] ** 2), 1 - p[0]])  # noqa: E731
    fit = levenberg_marquardt(residual, jnp.array([-1.2, 1.0]), iterations=60)
    np.testing.assert_allclose(fit.parameters, [1.0, 1.0], atol=1e-8)
    assert fit.converged


def test_cost_never_rises():
    residual = lambda p: jnp.stack([10 * (p[1] - p[0] ** 2), 1 - p[0]])  # noqa: E731
    costs = [float(levenberg_marquardt(residual, jnp.array([-1.2, 1.0]), n).cost) for n in (0, 1, 3, 9)]
    assert (np.diff(costs) <= 0).all()
    assert costs[-1] < costs[0]


def test_unfinished_and_impossible_fits_say_so():
    residual = lambda p: jnp.stack([10 * (p[1] - p[0] ** 2), 1 - p[0]])  # noqa: E731
    assert not levenberg_marquardt(residual, jnp.array([-1.2, 1.0]), iterations=2).converged
    flat = lambda p: jnp.stack([p[0] - 1, 0 * p[1]])  # noqa: E731
    assert not levenberg_marquardt(flat, jnp.array([0.0, 1.0])).converged  # the second parameter does nothing
    broken = lambda p: jnp.stack([jnp.log(p[0]) + jnp.nan])  # noqa: E731
    assert not levenberg_marquardt(broken, jnp.array([1.0])).converged


def test_covariance_is_that_of_the_linear_problem():
    design = np.random.default_rng(3).normal(size=(9, 3))
    data = jnp.arange(9.0)
    fit = levenberg_marquardt(lambda p: jnp.asarray(design) @ p - data, jnp.zeros(3))
    np.testing.assert_allclose(fit.inverse, np.linalg.inv(design.T @ design), rtol=1e-10)
    np.testing.assert_allclose(fit.parameters, np.linalg.lstsq(design, np.arange(9.0))[0], rtol=1e-10)


def test_many_problems_at_once_are_each_solved():
    rates = jnp.array([0.5, 1.0, 3.0])
    t = jnp.linspace(0.0, 2.0, 6)

    def solve(rate):
        return levenberg_marquardt(lambda p: p[0] * jnp.exp(-p[1] * t) - 2 * jnp.exp(-rate * t), jnp.array([1.0, 1.5]))

    fits = jax.vmap(solve)(rates)
    np.testing.assert_allclose(fits.parameters[:, 1], rates, rtol=1e-7)
    assert fits.converged.all()
