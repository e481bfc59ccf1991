"""Receive arrays against the law of Biot and Savart, summed over short straight pieces of wire."""

from __future__ import annotations

import numpy as np
import pytest

from mrisim.errors import ConsistencyError
from mrisim.physics.coils import CoilArray, loop_field, uniform


def summed_field(position, center, axis, radius, pieces=4000):
    """Field of a loop for mu0 · current = 2 pi; the midpoint rule converges geometrically on a circle."""
    across = np.cross(axis, [0.3, -0.5, 0.8])
    u = across / np.linalg.norm(across)
    v = np.cross(axis, u)
    angle = 2 * np.pi * (np.arange(pieces) + 0.5) / pieces
    wire = center + radius * (np.cos(angle)[:, None] * u + np.sin(angle)[:, None] * v)
    along = (2 * np.pi * radius / pieces) * (np.cos(angle)[:, None] * v - np.sin(angle)[:, None] * u)
    away = position - wire
    return np.sum(np.cross(along, away) / np.linalg.norm(away, axis=1)[:, None] ** 3, axis=0) / 2


@pytest.mark.parametrize("position", [(0.03, -0.02, 0.05), (0.0, 0.0, -0.04), (0.11, 0.07, 0.01), (0.02, 0.01, 0.0)])
def test_loop_field_is_that_of_its_wire(position):
    axis, radius = np.array([0.0, 0.6, 0.8]), 0.06
    found = loop_field(np.asarray(position), axis, radius, wire=1e-6)
    expected = summed_field(np.asarray(position), np.zeros(3), axis, radius)
    np.testing.assert_allclose(found, expected, atol=1e-11 * np.linalg.norm(expected))


def test_sensitivity_is_b1_minus_scaled_to_one_at_the_center():
    array = CoilArray(elements=5, radius=0.14, size=0.05, rings=2, spacing=0.11, center=(0.01, -0.02, 0.03))
    position = np.array([0.04, 0.03, -0.02])
    centers, axes = array.placement()

    def received(point):
        fields = np.array([summed_field(point, c, a, array.size) for c, a in zip(centers, axes, strict=True)])
        return fields[:, 0] - 1j * fields[:, 1]

    expected = received(position) / np.linalg.norm(received(np.asarray(array.center)))
    np.testing.assert_allclose(array.sensitivity(position), expected, atol=1e-10)
    assert np.linalg.norm(array.sensitivity(array.center)) == pytest.approx(1.0, abs=1e-12)


def test_elements_are_turned_copies():
    """Turning the object by one element about z hands its signal to the next element, with the phase of B1⁻."""
    array = CoilArray(elements=6)
    angle = 2 * np.pi / 6
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    position = np.array([0.05, 0.01, 0.02])
    here, there = array.sensitivity(position), array.sensitivity(turn @ position)
    np.testing.assert_allclose(there, np.roll(here, 1) * np.exp(-1j * angle), atol=1e-13)


def test_shape_follows_positions():
    positions = np.random.default_rng(0).uniform(-0.08, 0.08, (2, 3, 4, 3))
    found = CoilArray(elements=3, rings=2).sensitivity(positions)
    assert found.shape == (6, 2, 3, 4)
    np.testing.assert_allclose(found[:, 1, 2, 3], CoilArray(elements=3, rings=2).sensitivity(positions[1, 2, 3]))
    assert uniform(positions).shape == (1, 2, 3, 4)


def test_wire_itself_is_finite():
    array = CoilArray(elements=1, radius=0.15, size=0.05)
    assert np.isfinite(array.sensitivity([[0.15, 0.05, 0.0], [0.15, 0.0, 0.05]])).all()


def test_impossible_arrays_are_refused_with_all_reasons():
    with pytest.raises(ConsistencyError) as caught:
        CoilArray(elements=0, radius=-0.1)
    assert str(caught.value).splitlines() == [
        "coils.elements: must be above 0, but is 0.",
        "coils.radius: must be above 0, but is -0.1.",
    ]
