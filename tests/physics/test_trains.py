"""Trains of pulses by the formulas of `mrisim.physics.trains`, against a phase graph in NumPy and published values."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from physics.phase_graph import PhaseGraph

from mrisim.physics.signals import spoiled_gradient_echo, ssfp_fid
from mrisim.physics.trains import cpmg, rf_spoiled_train

ROUNDING = 1e3 * np.finfo(float).eps  # of hundreds of rotations


def radians(degrees: float) -> float:
    return float(np.radians(degrees))


def test_cpmg_without_relaxation():
    """Hennig, J Magn Reson 78:397 (1988): 120° refocusing gives 0.75, 0.9375, 0.84375."""
    with jax.enable_x64(True):
        echoes = cpmg(3, 0.01, radians(120), np.inf, np.inf)
    np.testing.assert_allclose(echoes, [0.75, 0.9375, 0.84375], rtol=ROUNDING)


def test_cpmg_is_the_phase_graph():
    t1, t2, spacing, refocusing, excitation = 0.8, 0.07, 0.012, radians(130), radians(80)
    graph = PhaseGraph(64, t1, t2)
    graph.pulse(excitation)
    expected = []
    for _ in range(9):
        graph.wait(spacing / 2, 1)
        graph.pulse(refocusing, np.pi / 2)
        graph.wait(spacing / 2, 1)
        expected.append(graph.signal)
    with jax.enable_x64(True):
        found = cpmg(9, spacing, refocusing, t1, t2, excitation)
    np.testing.assert_allclose(found, np.imag(expected), atol=ROUNDING)
    assert np.abs(np.real(expected)).max() < ROUNDING


@pytest.mark.parametrize("increment", [50.0, 117.0])
def test_rf_spoiling_is_the_phase_graph(increment):
    t1, t2, tr, flip = 1.0, 0.08, 0.005, radians(15)
    graph, expected = PhaseGraph(130, t1, t2), []
    for n in range(120):
        phase = radians(increment) * n * (n + 1) / 2
        graph.pulse(flip, phase)
        expected.append(graph.signal * np.exp(-1j * phase))
        graph.wait(tr, 1)
    with jax.enable_x64(True):
        found = rf_spoiled_train(120, flip, tr, t1, t2, radians(increment), states=128)
    np.testing.assert_allclose(found, expected, atol=ROUNDING)


def test_rf_spoiling_is_not_ideal_spoiling():
    """117° at 15° lies 3 to 6 % below Ernst's value (Preibisch and Deichmann, Magn Reson Med 61:125 (2009))."""
    with jax.enable_x64(True):
        train = rf_spoiled_train(1000, radians(15), 0.005, 1.0, 0.08, radians(117))
        ideal = spoiled_gradient_echo(radians(15), 0.005, 1.0)
    assert 0.94 < float(abs(train[-1]) / ideal) < 0.97


def test_without_rf_spoiling_it_is_fisp():
    """Over the flip angle, once the start is forgotten; after two T1 they still differ by per cent."""
    flip, t1, t2, tr = np.radians([10.0, 30.0, 70.0, 120.0]), np.array([[0.2], [0.5]]), 0.06, 0.01
    with jax.enable_x64(True):
        train = np.abs(rf_spoiled_train(2000, flip, tr, t1, t2, 0.0, states=192))
        expected = np.asarray(ssfp_fid(flip, tr, t1, t2))
    np.testing.assert_allclose(train[-1], expected, rtol=1e-9)  # exp(-2000 TR / T1) is 4e-18; orders beyond 192 1e-14
    assert np.abs(train[100] / expected - 1).max() > 0.01


def test_values_broadcast():
    with jax.enable_x64(True):
        many = cpmg(4, 0.01, np.radians([120.0, 150.0])[:, None], 1.0, np.array([0.05, 0.1, 0.2]))
        one = cpmg(4, 0.01, radians(150), 1.0, 0.2)
    assert many.shape == (4, 2, 3)
    np.testing.assert_allclose(many[:, 1, 2], one, rtol=ROUNDING)
