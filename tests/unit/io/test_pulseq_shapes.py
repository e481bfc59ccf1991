"""Run-length coding of shapes, and what shapes mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrisim.errors import SpecError
from mrisim.events.blocks import GradientShape, RFShape
from mrisim.io.pulseq.shapes import QUANTUM, compress, decompress
from mrisim.io.pulseq.waves import flip_of, is_sampled, rf_shape, sampled_corners, trapezoid_corners

US = 1e-6


@given(st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0, -1.0, 2.0]), min_size=1, max_size=80))
def test_a_compressed_shape_is_the_shape(values):
    samples = np.array(values)
    stored = compress(samples)
    assert len(stored) <= len(samples)
    assert np.abs(decompress(stored, len(samples)) - samples).max() < QUANTUM


def test_the_table_of_the_specification():
    """Its example of a ramp up, a plateau and a ramp down, compressed before version 1.4."""
    shape = [0, 0.1, 0.25, 0.5, 1, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0]
    stored = [0, 0.1, 0.15, 0.25, 0.5, 0.0, 0.0, 4, -0.25, -0.25, 2]
    np.testing.assert_allclose(compress(np.array(shape)), stored, atol=1e-12)
    np.testing.assert_allclose(decompress(np.array(stored), 15, always=True), shape, atol=1e-12)


def test_rounding_does_not_drift():
    """Differences are rounded to the quantum, sums of ten thousand of them are not off by more."""
    samples = np.sin(np.linspace(0, 3, 10_000)) * np.repeat([1.0, 0.3], 5000)
    samples[2000:7000] = samples[2000]
    stored = compress(samples)
    assert len(stored) < len(samples)
    assert np.abs(decompress(stored, len(samples)) - samples).max() < QUANTUM


@pytest.mark.parametrize(
    ("stored", "count", "rule"),
    [
        ([0.0, 0.0, 1e18], 5, "samples must hold a whole count after two equal values, but hold 1e+18"),
        ([0.0, 0.0, 1.5], 5, "samples must hold a whole count after two equal values, but hold 1.5"),
        ([0.0, 0.0, -4.0], 5, "samples must hold a whole count after two equal values, but hold -4"),
        ([0.0, 0.0], 5, "samples must hold a count after two equal values, but end before it"),
        ([0.0, 0.0, 19e6], 5, "samples must add up to num_samples 5, but add up to 1.9e+07"),
        ([0.0, 1.0], 10**15, "num_samples must be from 1 to 20000000, but is 1000000000000000"),
    ],
)
def test_absurd_counts_are_refused(stored, count, rule):
    with pytest.raises(SpecError) as caught:
        decompress(np.array(stored), count)
    assert caught.value.problems[0].rule == rule


def test_intervals_are_as_long_as_the_changes_allow():
    shape = rf_shape(np.repeat([0.5, 1.0, 0.25], 10), np.zeros(30), None, US, np.nan)
    np.testing.assert_allclose(shape.edges, [0, 10 * US, 20 * US, 30 * US])
    assert shape.center == pytest.approx(15 * US)  # middle of the plateau


def test_a_pulse_is_conjugated():
    """A phase of a quarter cycle is +i there and -i here."""
    shape = rf_shape(np.ones(4), np.full(4, 0.25), None, US, np.nan)
    np.testing.assert_allclose(shape.samples, -1j, atol=1e-15)


def test_times_of_a_pulse():
    block = rf_shape(np.ones(2), np.zeros(2), np.array([0.0, 100.0]), US, np.nan)
    np.testing.assert_allclose(block.edges, [0, 100 * US])
    own = rf_shape(np.array([0.2, 1.0, 0.2]), np.zeros(3), np.array([5.0, 15.0, 25.0]), US, np.nan)
    np.testing.assert_allclose(own.edges, np.arange(4) * 10 * US)
    ramp = rf_shape(np.array([0.0, 1.0]), np.zeros(2), np.array([0.0, 4.0]), US, np.nan)
    np.testing.assert_allclose(np.abs(ramp.samples), (np.arange(4) + 0.5) / 4)


def test_corners_of_arbitrary_gradients():
    values = np.array([0.2, 0.6, 0.4])
    times, corners = sampled_corners(values, 0, 10 * US, 20 * US, 0.1, 0.0)
    np.testing.assert_allclose(times, np.array([20, 25, 35, 45, 50]) * US)
    np.testing.assert_allclose(corners, [0.1, 0.2, 0.6, 0.4, 0.0])
    times, corners = sampled_corners(values, -1, 10 * US, 0.0, 0.1, 0.0)
    np.testing.assert_allclose(times, np.array([0, 5, 10, 15, 20]) * US)
    np.testing.assert_allclose(corners, [0.1, 0.2, 0.6, 0.4, 0.0])
    times, corners = sampled_corners(values, np.array([0.0, 2.0, 7.0]), 10 * US, 30 * US, 0.9, 0.9)
    np.testing.assert_allclose(times, np.array([30, 50, 100]) * US)
    np.testing.assert_allclose(corners, values)


def test_corners_of_trapezoids():
    np.testing.assert_allclose(trapezoid_corners(10 * US, 20 * US, 30 * US, 40 * US)[0] / US, [10, 30, 60, 100])
    np.testing.assert_allclose(trapezoid_corners(0.0, 0.0, 30 * US, 40 * US)[1], [1, 1, 0])


def test_an_extended_trapezoid_is_not_sampled():
    times = np.array([0.0, 10, 20, 30]) * US
    assert not is_sampled(GradientShape(times=times, values=np.ones(4)), 10 * US)


@pytest.mark.parametrize(("turn", "known"), [(0.0, True), (300.0, True), (None, False)])
def test_flip_angle_of_a_shape(turn, known):
    """A constant phase or a frequency leave the angle 2 pi |area|; a sweep has none."""
    dt, t = 10 * US, (np.arange(200) - 99.5) * 10 * US
    size = np.sinc(t / 0.4e-3)
    phase = 2 * np.pi * turn * t if turn is not None else 2e7 * t**2
    shape = RFShape(edges=np.arange(201) * dt, samples=size * np.exp(1j * phase), center=1e-3)
    flip = flip_of(shape, 400.0)
    if known:
        assert flip == pytest.approx(2 * np.pi * 400 * abs(np.sum(size)) * dt, rel=1e-3)  # the fit of the frequency
    else:
        assert np.isnan(flip)
