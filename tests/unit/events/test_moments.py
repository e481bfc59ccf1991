"""Gradient moments and k: integrated exactly, on physical axes, mirrored by refocusing."""

from __future__ import annotations

import numpy as np
import pytest
from physics.build import ADC, MS, RF, Block, build, lobe
from scipy.integrate import quad

from mrisim.data import Geometry
from mrisim.events.blocks import Use
from mrisim.events.moments import gradient_tracks, k_offsets, total_gradient, total_moment

SHAPE = (np.array([0.1, 0.35, 0.4, 0.9, 1.3]) * MS, np.array([0.0, 5e3, -2e3, -2e3, 0.0]))


def test_moment_is_the_integral_of_the_gradient():
    seq = build([Block(duration=1.5 * MS, gx=SHAPE), Block(duration=2 * MS, gx=lobe(-3.0, 0.2 * MS, 1 * MS))])
    tracks = gradient_tracks(seq)
    times = np.array([0.0, 0.05, 0.2, 0.37, 0.77, 1.3, 1.4, 2.0, 3.5]) * MS
    corners = np.sort(tracks[0].time)
    expected = [
        quad(lambda t: total_gradient(tracks, np.array([t]))[0, 0], 0, t, points=corners[corners < t], limit=200)[0]
        for t in times
    ]
    assert total_moment(tracks, times)[:, 0] == pytest.approx(expected, abs=1e-9)
    assert total_moment(tracks, times)[:, 1:].tolist() == [[0.0, 0.0]] * len(times)


def test_gradient_is_linear_between_corners_and_zero_outside():
    tracks = gradient_tracks(build([Block(duration=1.5 * MS, gy=SHAPE)]))
    times = np.array([0.0, 0.225, 0.65, 1.1, 1.4]) * MS
    assert total_gradient(tracks, times)[:, 1] == pytest.approx([0.0, 2.5e3, -2e3, -1e3, 0.0])


def test_gradients_of_neighbouring_blocks_may_meet_at_a_value():
    """An extended gradient that goes on at the border of two blocks."""
    up = (np.array([0.0, 1.0]) * MS, np.array([0.0, 4e3]))
    down = (np.array([0.0, 2.0]) * MS, np.array([4e3, 0.0]))
    tracks = gradient_tracks(build([Block(duration=1 * MS, gz=up), Block(duration=2 * MS, gz=down)]))
    assert total_moment(tracks, np.array([1.0, 2.0, 3.0]) * MS)[:, 2] == pytest.approx([2.0, 5.0, 6.0])
    assert total_gradient(tracks, np.array([1 * MS, 2 * MS]))[:, 2] == pytest.approx([4e3, 2e3])


def test_logical_axes_are_turned_to_physical_ones():
    angle = 0.4
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    seq = build(
        [Block(duration=2 * MS, gx=lobe(10.0, 0, 1 * MS), gy=lobe(3.0, 0, 1 * MS))],
        geometry=Geometry(rotation=rotation),
    )
    moment = total_moment(gradient_tracks(seq), np.array([2 * MS]))[0]
    assert moment == pytest.approx(rotation @ [10.0, 3.0, 0.0])


def test_k_is_zeroed_by_excitations_mirrored_by_refocusing_and_else_left_alone():
    uses = [Use.EXCITATION, Use.REFOCUSING, Use.INVERSION, Use.REFOCUSING, Use.SATURATION, Use.EXCITATION]
    at_center = np.cumsum(np.arange(18.0).reshape(6, 3), axis=0)
    offsets = k_offsets(np.array(uses), at_center)
    k, moment = np.zeros(3), np.zeros(3)
    for i, use in enumerate(uses):
        k, moment = k + at_center[i] - moment, at_center[i]
        k = {Use.EXCITATION: 0 * k, Use.REFOCUSING: -k}.get(use, k)
        assert at_center[i] - offsets[i + 1] == pytest.approx(k)


def test_k_of_the_samples_of_a_spin_echo():
    seq = build([
        Block(duration=4 * MS, rf=RF(flip=1.5), gx=lobe(50.0, 1 * MS, 2 * MS), gy=lobe(-7.0, 1 * MS, 2 * MS)),
        Block(duration=1 * MS, rf=RF(flip=3.1, use=Use.REFOCUSING)),
        Block(duration=5 * MS, gx=([0.0, 5 * MS], [2e4, 2e4]), adc=ADC(at=1 * MS, samples=4, dwell=0.5 * MS)),
    ])  # fmt: skip
    k, t = seq.kspace()
    assert t == pytest.approx(np.array([6.0, 6.5, 7.0, 7.5]) * MS)
    assert k[:, 0] == pytest.approx(-50.0 + np.array([20.0, 30.0, 40.0, 50.0]))
    assert k[:, 1] == pytest.approx(7.0)


def test_sample_times_are_in_the_middle_of_the_dwell():
    seq = build([Block(duration=1 * MS), Block(duration=3 * MS, adc=ADC(at=0.5 * MS, samples=3, dwell=0.2 * MS))])
    assert seq.adc.delay[0] == pytest.approx(0.4 * MS)
    assert seq.kspace()[1] == pytest.approx(np.array([1.5, 1.7, 1.9]) * MS)
