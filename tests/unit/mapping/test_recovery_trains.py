"""T1 from trains of pulses after an inversion, against magnetisation followed from pulse to pulse."""

from __future__ import annotations

import numpy as np
import pytest

from mrisim.errors import ConsistencyError
from mrisim.mapping.look_locker import fit_look_locker
from mrisim.mapping.mp2rage import Trains, fit_mp2rage, unified
from mrisim.physics.signals import mp2rage

T1 = np.array([0.35, 0.85, 1.6, 4.0])


def recover(mz, time, t1):
    return 1 + (mz - 1) * np.exp(-time / t1)


def train(t1, n, first, spacing, flip, inversion=-1.0):
    """Signals of a train after one inversion from equilibrium."""
    mz, signal = recover(np.full_like(t1, inversion), first, t1), []
    for _ in range(n):
        signal.append(mz * np.sin(flip))
        mz = recover(mz * np.cos(flip), spacing, t1)
    return np.stack(signal, axis=-1)


@pytest.mark.parametrize("inversion", [-1.0, -0.8])
def test_look_locker_is_exact_for_known_pulses_and_any_inversion(inversion) -> None:
    flip, spacing = np.radians(8.0), 0.05
    ti = 0.03 + spacing * np.arange(60)
    signal = train(T1, 60, 0.03, spacing, flip, inversion)
    np.testing.assert_allclose(fit_look_locker(signal, ti, spacing, flip)["t1"], T1, rtol=1e-6)


def test_look_locker_takes_the_transmit_field_into_account() -> None:
    flip, spacing, b1 = np.radians(8.0), 0.05, np.array([0.8, 0.9, 1.1, 1.2])
    ti = 0.03 + spacing * np.arange(60)
    signal = train(T1, 60, 0.03, spacing, b1 * flip)
    np.testing.assert_allclose(fit_look_locker(signal, ti, spacing, flip, b1=b1)["t1"], T1, rtol=1e-6)
    biased = fit_look_locker(signal, ti, spacing, flip)["t1"]
    star = 1 / (1 / T1 - np.log(np.cos(b1 * flip)) / spacing)
    np.testing.assert_allclose(biased, 1 / (1 / star + np.log(np.cos(flip)) / spacing), rtol=1e-6)


TRAINS = Trains(
    ti=(0.7, 2.5), flip=(np.radians(4.0), np.radians(5.0)), spacing=7e-3, tr=5.0, pulses=160, center=80,
    efficiency=0.96,
)  # fmt: skip


def trains_from_pulse_to_pulse(t1, b1=1.0):
    """Steady state of both trains, one pulse after the other, over enough cycles."""
    s, mz, signal = TRAINS, np.ones_like(t1), [np.zeros_like(t1)] * 2
    waits = (s.ti[0] - 80 * s.spacing, s.ti[1] - s.ti[0] - 160 * s.spacing, s.tr - s.ti[1] - 80 * s.spacing)
    for _ in range(20):
        mz = recover(-s.efficiency * mz, waits[0], t1)
        for i in range(2):
            for n in range(160):
                if n == 80:
                    signal[i] = mz * np.sin(b1 * s.flip[i])
                mz = recover(mz * np.cos(b1 * s.flip[i]), s.spacing, t1)
            mz = recover(mz, waits[i + 1], t1)
    return np.stack(signal)


def test_the_closed_form_of_mp2rage_equals_pulse_after_pulse() -> None:
    found = mp2rage(np.array(TRAINS.ti)[:, None], 5.0, np.array(TRAINS.flip)[:, None], 7e-3, 160, 80, T1, 0.96)
    np.testing.assert_allclose(found, trains_from_pulse_to_pulse(T1), atol=2e-6)  # float32


def test_mp2rage_finds_t1_whatever_the_receiver_does() -> None:
    t1 = np.array([0.35, 0.85, 1.2, 1.6, 2.5])
    signal = trains_from_pulse_to_pulse(t1).T * np.array([0.2, 1.0, 3.0, 0.7, 1.1])[:, None] * np.exp(0.8j)
    np.testing.assert_allclose(fit_mp2rage(signal, TRAINS)["t1"], t1, rtol=1e-4)  # steps of the table, squared


def test_mp2rage_with_a_map_of_the_transmit_field() -> None:
    t1 = np.array([0.85, 1.6])
    signal = trains_from_pulse_to_pulse(t1, 0.853).T + 0j
    found = fit_mp2rage(signal, TRAINS, b1=np.full(2, 0.853))["t1"]
    np.testing.assert_allclose(found, t1, rtol=5e-4)  # between two tables a hundredth apart
    assert np.abs(fit_mp2rage(signal, TRAINS)["t1"] / t1 - 1).max() > 0.01


def test_values_off_the_branch_and_empty_voxels_are_counted() -> None:
    signal = np.array([[0.0, 0.0], [1.0, 1.0], [-0.1, 0.4]], dtype=complex)
    found = fit_mp2rage(signal, TRAINS)
    assert found.counts == {"fitted": 1, "empty": 1, "failed": 1}
    assert unified(*signal[1]) == pytest.approx(0.5)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ConsistencyError) as caught:
        fit_look_locker(np.ones((2, 5)), np.arange(5.0), -0.01, np.radians(100.0), b1=np.ones(3))
    assert str(caught.value).splitlines() == [
        "tr: must be above 0 ms, but is -10 ms.",
        "flip: must be between 0 and 90 deg, but is 100 deg.",
        "b1: must be one value or have shape (2,), but has (3,).",
    ]
    with pytest.raises(ConsistencyError) as caught:
        fit_mp2rage(np.ones((2, 2)), TRAINS)
    assert str(caught.value) == "signal: must be complex, but holds magnitudes."


def test_the_standard_error_of_look_locker_is_the_spread_under_noise() -> None:
    """Within a fifth, at T1 twice its T1*: the error of T1 goes with the square of both."""
    flip, spacing, noise = np.radians(17.0), 0.05, 1e-3
    ti = 0.03 + spacing * np.arange(60)
    clean = train(np.full(400, 1.2), 60, 0.03, spacing, flip)
    noisy = clean + noise * np.random.default_rng(3).normal(size=clean.shape)
    found = fit_look_locker(noisy, ti, spacing, flip, noise=noise)
    assert 1.8 < 1.2 / found["t1_star"].mean() < 2.3
    assert found.standard_error["t1"].mean() == pytest.approx(found["t1"].std(), rel=0.2)
