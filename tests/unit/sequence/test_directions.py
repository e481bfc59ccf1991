"""Directions spread over the sphere."""

import numpy as np
import pytest

from mrisim.sequence.directions import even_directions, repulsion

ROUNDING = 2e-6  # directions are rounded to six digits


def nearest(directions):
    """Angle between each direction and the nearest axis of another [rad]."""
    cosine = np.abs(directions @ directions.T) - 2 * np.eye(len(directions))
    return np.arccos(np.clip(cosine.max(axis=1), -1, 1))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_are_the_axes(n):
    np.testing.assert_array_equal(even_directions(n), np.eye(3)[:n])


def test_six_are_the_axes_of_an_icosahedron():
    """All at the angle arctan 2 from each other."""
    cosine = np.abs(even_directions(6) @ even_directions(6).T)
    np.testing.assert_allclose(cosine[~np.eye(6, dtype=bool)], 1 / np.sqrt(5), atol=10 * ROUNDING)


@pytest.mark.parametrize("n", [6, 12, 15, 20, 30, 64, 128])
def test_they_are_unit_vectors_without_a_preferred_axis(n):
    """The mean of x xᵀ is a third of the identity: a trace is measured without bias."""
    directions = even_directions(n)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0, rtol=4 * np.finfo(float).eps)
    np.testing.assert_allclose(directions.T @ directions / n, np.eye(3) / 3, atol=5e-3)


@pytest.mark.parametrize("n", [12, 30, 64, 128])
def test_neighbors_are_as_far_apart_as_caps_allow(n):
    """2n caps of equal area on the sphere have the radius arccos(1 - 1/n); packing leaves at least 0.8 of twice it."""
    apart = nearest(even_directions(n))
    assert apart.min() > 0.8 * 2 * np.arccos(1 - 1 / n)
    assert np.ptp(apart) < 0.3 * apart.mean()


@pytest.mark.parametrize("n", [7, 30])
def test_no_small_turn_of_one_direction_lowers_the_energy(n):
    directions, rng = np.array(even_directions(n)), np.random.default_rng(3)
    least = repulsion(directions)
    for row in range(n):
        moved = directions.copy()
        moved[row] += 1e-2 * rng.normal(size=3)
        moved[row] /= np.linalg.norm(moved[row])
        assert repulsion(moved) > least


def test_energy_of_two_axes_at_an_angle():
    angle = np.radians(37.0)
    pair = np.array([[1.0, 0.0, 0.0], [np.cos(angle), np.sin(angle), 0.0]])
    expected = 0.5 / np.sin(angle / 2) + 0.5 / np.cos(angle / 2)  # chords to the other and to its opposite
    assert repulsion(pair) == pytest.approx(expected, rel=1e-12)
