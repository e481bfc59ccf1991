"""The steady state of RF spoiling by its continued fraction: against trains of pulses, one by one."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from physics.phase_graph import PhaseGraph

from mrisim.physics.signals import spoiled_gradient_echo, ssfp_fid
from mrisim.physics.spoiling import rf_spoiled

ROUNDING = 1e-10  # what is left of the approach after the pulses below


def train(flip, tr, t1, t2, increment, damping=0.0, pulses=2000, n=130):
    """Magnitude after the last pulse; diffusion dampens order k by k², by the mean of that while it moves."""
    graph, order = PhaseGraph(n, t1, t2), np.arange(-n, n + 1)
    for i in range(pulses):
        graph.pulse(flip, 0.5 * increment * i * (i + 1))
        seen = abs(graph.signal)
        before = graph.f * np.exp(-damping * (order**2 + order + 1 / 3))
        graph.f, graph.z = before, graph.z * np.exp(-damping * order**2)
        graph.wait(tr, 1)
    return seen


@pytest.mark.parametrize(
    ("flip", "tr", "t1", "t2", "increment"),
    [(15, 0.01, 0.4, 0.1, 117), (40, 0.01, 0.3, 0.08, 50), (8, 0.02, 0.7, 0.06, 169), (25, 0.02, 0.5, 0.09, 0)],
)
@pytest.mark.parametrize("damping", [0.0, 2e-3])
def test_against_a_train_of_pulses(flip, tr, t1, t2, increment, damping):
    flip, increment = np.radians(flip), np.radians(increment)
    found = rf_spoiled(flip, tr, t1, t2, increment, damping=damping)
    assert float(found) == pytest.approx(train(flip, tr, t1, t2, increment, damping), abs=ROUNDING)


def test_without_an_increment_it_is_unbalanced_free_precession():
    flip, t1, t2 = np.radians([[5.0], [30.0]]), np.array([0.4, 1.3]), np.array([0.04, 0.3])
    with jax.enable_x64(True):
        exact = np.asarray(ssfp_fid(flip, 0.005, t1, t2))
    np.testing.assert_allclose(rf_spoiled(flip, 0.005, t1, t2, 0.0, tolerance=1e-12), exact, rtol=1e-10)


def test_tissue_that_forgets_within_a_repetition_follows_ernst():
    flip = np.radians([5.0, 40.0])
    with jax.enable_x64(True):
        ideal = np.asarray(spoiled_gradient_echo(flip, 0.01, 0.5))
    np.testing.assert_allclose(rf_spoiled(flip, 0.01, 0.5, 2e-4), ideal, rtol=1e-12)


def test_tolerance_is_kept():
    flip = np.radians([[3.0], [15.0], [35.0]])
    t2 = np.array([0.03, 0.1, 0.3])
    exact = rf_spoiled(flip, 0.005, 1.0, t2, tolerance=1e-14)
    for tolerance in (1e-3, 1e-5, 1e-7):
        assert np.abs(rf_spoiled(flip, 0.005, 1.0, t2, tolerance=tolerance) - exact).max() < tolerance
