"""Diffusion between walls: closed forms against each other, and against the Bloch–Torrey equation."""

from __future__ import annotations

import numpy as np
import pytest

from mrisim.constants import GAMMA_BAR
from mrisim.physics import restricted
from mrisim.physics.restricted import bloch_torrey, form_factor, gpd, pulsed_gradient, sgp_planes, short_time_diffusion

D = 2e-9
PORES = [("planes", 10e-6, 1 / 12), ("cylinder", 5e-6, 1 / 4), ("sphere", 5e-6, 1 / 5)]


@pytest.mark.parametrize(("pore", "size", "mean_square"), PORES)
def test_weights_of_the_series_add_up_to_the_mean_square(pore, size, mean_square):
    _, weight = restricted._gpd_terms(pore, size)
    assert weight.sum() == pytest.approx(mean_square * size**2, rel=1e-6)  # 60 terms, which fall as n^-4 or faster


@pytest.mark.parametrize(("pore", "size", "mean_square"), PORES)
def test_modes_hold_the_mean_square(pore, size, mean_square):
    x = restricted._modes(pore, 40.0).x
    assert (x[0] ** 2).sum() == pytest.approx(mean_square, rel=1e-4)  # couplings of the uniform mode, falling likewise
    assert np.abs(x - x.T).max() < 1e-12


@pytest.mark.parametrize(("pore", "size", "mean_square"), PORES)
def test_gaussian_phase_holds_where_little_is_lost(pore, size, mean_square):
    lobes = (20e-3 * GAMMA_BAR, 10e-3, 30e-3)
    exact = bloch_torrey(pore, size, D, *pulsed_gradient(*lobes)).real
    assert gpd(pore, size, D, *lobes) == pytest.approx(exact, abs=2 * np.log(exact) ** 2 / 10)  # of the fourth order


def test_gaussian_phase_fails_at_strong_gradients():
    """Planes of 10 µm at 300 mT/m: 0.049 where 0.0038 is right."""
    lobes = (300e-3 * GAMMA_BAR, 10e-3, 30e-3)
    assert gpd("planes", 10e-6, D, *lobes) == pytest.approx(0.0493, abs=5e-5)
    assert bloch_torrey("planes", 10e-6, D, *pulsed_gradient(*lobes)).real == pytest.approx(0.0038, abs=5e-5)


@pytest.mark.parametrize(("pore", "size", "mean_square"), PORES)
def test_more_modes_change_nothing(pore, size, mean_square, monkeypatch):
    waveform = pulsed_gradient(200e-3 * GAMMA_BAR, 8e-3, 25e-3)
    found = bloch_torrey(pore, size, D, *waveform)
    highest = restricted._highest_root(size, D, *waveform)
    monkeypatch.setattr(restricted, "_highest_root", lambda *_: 1.2 * highest)
    assert abs(bloch_torrey(pore, size, D, *waveform) - found) < 1e-6


def test_short_lobes_between_planes():
    q, apart, short = 5e4, 0.01, 1e-7
    exact = bloch_torrey("planes", 10e-6, D, *pulsed_gradient(q / short, short, apart)).real
    assert sgp_planes(q, apart, 10e-6, D) == pytest.approx(exact, abs=5e-5)  # what moves in 0.1 µs
    at_zero_of_a_term = 0.5 / 10e-6  # qa = π
    assert sgp_planes(at_zero_of_a_term, apart, 10e-6, D) == pytest.approx(
        sgp_planes(at_zero_of_a_term * (1 + 1e-5), apart, 10e-6, D), rel=1e-4
    )


@pytest.mark.parametrize(("pore", "size", "mean_square"), PORES)
def test_long_times_show_the_form_factor(pore, size, mean_square):
    q, short = 4e4, 1e-6
    exact = bloch_torrey(pore, size, D, *pulsed_gradient(q / short, short, 0.5)).real
    assert form_factor(pore, size, q) == pytest.approx(exact, rel=2e-3)  # of the lobes' length, √(D δ)/size


def test_first_minimum_between_planes_lies_at_a_whole_turn():
    assert float(form_factor("planes", 10e-6, 1 / 10e-6)) == pytest.approx(0, abs=1e-30)


def test_short_times_see_the_surface():
    radius, time, q, short = 10e-6, 0.4e-3, 2e3, 1e-6
    exact = bloch_torrey("sphere", radius, D, *pulsed_gradient(q / short, short, time)).real
    seen = -np.log(exact) / ((2 * np.pi * q) ** 2 * (time - short / 3))
    assert seen == pytest.approx(short_time_diffusion(D, 3 / radius, time), rel=0.01)  # next order: D t / R²
    assert seen < 0.95 * D


def test_a_wide_pore_is_free():
    g, short, apart = 40e-3 * GAMMA_BAR, 2e-3, 5e-3
    b = (2 * np.pi * g * short) ** 2 * (apart - short / 3)
    exact = bloch_torrey("planes", 1e-3, D, *pulsed_gradient(g, short, apart)).real
    assert exact == pytest.approx(np.exp(-b * D), abs=3 * np.sqrt(D * apart) / 1e-3)  # the layers at the walls


def test_a_pore_off_center_has_a_phase():
    dt, g = np.array([1e-3]), np.array([1e6])
    found = bloch_torrey("planes", 4e-6, D, dt, g, center=3e-4)
    assert np.angle(found) == pytest.approx(-2 * np.pi * 0.3, abs=1e-9)
