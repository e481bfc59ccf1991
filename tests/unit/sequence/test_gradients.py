"""Waveforms: the area that was asked for, inside the limits, on the raster, and no longer than needed."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrisim.constants import GAMMA_BAR
from mrisim.errors import SpecError
from mrisim.sequence.gradients import (
    TIGHT,
    Limits,
    Waveform,
    corners,
    raster_samples,
    slice_gradient,
    trapezoid_for_area,
    trapezoid_for_flat,
)

LIMITS = Limits(gradient=40e-3 * GAMMA_BAR, slew=170 * GAMMA_BAR, raster=10e-6, gamma=GAMMA_BAR)
AREAS = st.floats(1e-3, 1e5)
ROUNDING = 1e-9


def held(waveform):
    """Whether a waveform stays in the limits and on the raster."""
    peak = np.abs(waveform.amplitude).max()
    slope = peak * np.diff(waveform.unit) / np.diff(waveform.times)
    ticks = waveform.times / LIMITS.raster
    return (
        peak <= LIMITS.gradient * (1 + TIGHT)
        and np.abs(slope).max() <= LIMITS.slew * (1 + TIGHT)
        and np.abs(ticks - np.round(ticks)).max() < 1e-6
    )


def area_of(waveform):
    return waveform.amplitude * waveform.integral(0.0, waveform.duration)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(AREAS, st.sampled_from([-1, 1]))
def test_the_shortest_trapezoid_of_an_area(area, sign):
    waveform = trapezoid_for_area(np.array([sign * area]), LIMITS, duration=None, rise_time=None)
    assert held(waveform)
    assert area_of(waveform)[0] == pytest.approx(sign * area, rel=ROUNDING)
    ramp = LIMITS.gradient / LIMITS.slew
    triangle = 2 * math.sqrt(area / LIMITS.slew)  # without a raster
    ideal = triangle if triangle <= 2 * ramp else ramp + area / LIMITS.gradient
    assert ideal - ROUNDING <= waveform.duration <= ideal + 2 * LIMITS.raster + ROUNDING


@settings(deadline=None, max_examples=200, derandomize=True)
@given(AREAS, st.floats(1.0, 5.0))
def test_a_trapezoid_of_an_area_and_a_duration(area, stretch):
    shortest = trapezoid_for_area(np.array([area]), LIMITS, duration=None, rise_time=None).duration
    waveform = trapezoid_for_area(np.array([area]), LIMITS, duration=stretch * shortest + 20e-6, rise_time=None)
    assert held(waveform)
    assert area_of(waveform)[0] == pytest.approx(area, rel=ROUNDING)
    assert waveform.duration == pytest.approx(LIMITS.up(stretch * shortest + 20e-6), abs=1e-12)


def test_a_duration_that_is_too_short_names_the_shortest():
    shortest = trapezoid_for_area(np.array([1000.0]), LIMITS, duration=None, rise_time=None).duration
    with pytest.raises(SpecError) as caught:
        trapezoid_for_area(np.array([1000.0]), LIMITS, duration=shortest - LIMITS.raster, rise_time=None)
    assert str(caught.value) == (
        "duration must be at least 830 us for an area of 1000 1/m, but is 820 us. "
        "Set duration: 830 us, or leave it out."
    )
    assert shortest == pytest.approx(830e-6)


def test_the_largest_area_decides_the_times_and_the_others_the_amplitudes():
    areas = np.linspace(-400.0, 300.0, 9)
    waveform = trapezoid_for_area(areas, LIMITS, duration=None, rise_time=None)
    np.testing.assert_allclose(area_of(waveform), areas, rtol=1e-12, atol=1e-9)
    alone = trapezoid_for_area(np.array([-400.0]), LIMITS, duration=None, rise_time=None)
    np.testing.assert_array_equal(waveform.times, alone.times)


def test_an_area_of_zero_is_a_gradient_of_nothing():
    waveform = trapezoid_for_area(np.zeros(1), LIMITS, duration=None, rise_time=None)
    assert area_of(waveform)[0] == 0.0


def test_a_given_rise_time_is_kept():
    waveform = trapezoid_for_area(np.array([100.0]), LIMITS, duration=None, rise_time=500e-6)
    assert waveform.rise_time == pytest.approx(500e-6)
    assert area_of(waveform)[0] == pytest.approx(100.0, rel=ROUNDING)
    assert held(waveform)


def test_the_amplitude_of_a_flat_top_stays_as_asked_off_the_raster():
    waveform = trapezoid_for_flat(np.array([1e5]), 4.096e-3, LIMITS, None)
    assert waveform.flat[1] - waveform.flat[0] == pytest.approx(4.1e-3)
    assert waveform.amplitude[0] == 1e5
    assert held(waveform)


@pytest.mark.parametrize(
    ("amplitude", "rise", "message"),
    [
        (
            50e-3 * GAMMA_BAR,
            None,
            "amplitude must be at most 40 mT/m, but is 50 mT/m. Lower the area or raise the flat time.",
        ),
        (
            34e-3 * GAMMA_BAR,
            100e-6,
            ("slew rate must be at most 170 T/m/s, but is 340 T/m/s. Set rise_time: 200 us, or leave it out."),
        ),
    ],
)
def test_limits_are_named(amplitude, rise, message):
    with pytest.raises(SpecError) as caught:
        trapezoid_for_flat(np.array([amplitude]), 1e-3, LIMITS, rise)
    assert str(caught.value) == message


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.floats(1e4, 1.6e6), st.floats(0.0, 5e3), st.sampled_from([-1, 1]))
def test_crushers_have_their_area_on_each_side(amplitude, extra, sign):
    """Any slice gradient, with crushers from the area of its own ramp upwards."""
    crush = sign * (amplitude * LIMITS.ramp(amplitude) / 2 + extra)
    waveform, delay = slice_gradient(sign * amplitude, 2e-3, LIMITS, dead_time=100e-6, crush=crush)
    assert held(waveform)
    peak = waveform.amplitude[0]
    assert peak * waveform.integral(0.0, delay) == pytest.approx(crush, rel=1e-9)
    assert peak * waveform.integral(delay + 2e-3, waveform.duration) == pytest.approx(crush, rel=1e-9)
    assert peak * waveform.value(delay + 1e-3) == pytest.approx(sign * amplitude, rel=1e-9)
    assert delay >= 100e-6 - 1e-12


def test_a_crusher_below_the_ramp_names_the_smallest():
    with pytest.raises(SpecError, match=r"crush must be at least 50 1/m, the area of .* own ramp, but is 49 1/m"):
        slice_gradient(
            1e6, 2e-3, Limits(gradient=1e6, slew=1e10, raster=10e-6, gamma=GAMMA_BAR), dead_time=0.0, crush=49.0
        )


def test_the_flat_top_begins_with_the_pulse_and_covers_it():
    waveform, delay = slice_gradient(5e5, 2.003e-3, LIMITS, dead_time=100e-6, crush=None)
    assert waveform.flat[0] == pytest.approx(delay)
    assert waveform.flat[1] >= delay + 2.003e-3 - 1e-12
    assert held(waveform)


def test_corner_points_begin_and_end_with_nothing_on_the_raster():
    waveform = corners(np.array([0.0, 20e-6, 50e-6]), np.array([0.0, -3e5, 0.0]), LIMITS)
    assert area_of(waveform)[0] == pytest.approx(-0.5 * 50e-6 * 3e5)
    for times, values, message in (
        ([0.0, 20e-6], [0.0, 1.0], "amplitudes must begin and end with 0"),
        ([0.0, 25e-6, 50e-6], [0.0, 1.0, 0.0], "times must lie on the raster, but hold 25 us. Use 20 us"),
        ([10e-6, 20e-6], [0.0, 0.0], "times must ascend from 0"),
    ):
        with pytest.raises(SpecError, match=message):
            corners(np.array(times), np.array(values), LIMITS)


def test_samples_stand_in_the_middle_of_the_raster():
    values = np.array([0.25, 0.75, 0.75, 0.25])
    waveform = raster_samples(values, np.array([3e5]), LIMITS)
    np.testing.assert_allclose(waveform.times, np.array([0, 0.5, 1.5, 2.5, 3.5, 4]) * 10e-6)
    np.testing.assert_allclose(waveform.unit, [0, 1 / 3, 1, 1, 1 / 3, 0], atol=1e-15)


def test_a_waveform_may_begin_with_a_jump():
    """No ramp is counted between the start of the block and the first corner, or after the last."""
    waveform = Waveform(times=np.array([2.0, 3.0]), unit=np.array([1.0, 0.5]), amplitude=np.ones(1))
    assert waveform.integral(0.0, 4.0) == pytest.approx(0.75, rel=1e-12)
    assert waveform.integral(0.0, 1.0) == 0.0
