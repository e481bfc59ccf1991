"""Closed-form signals against the fixed point of one repetition, stepped through event by event."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrisim.physics import signals

T1, T2 = 0.83, 0.071
RELAXATION = [(0.83, 0.071), (2.1, 1.3), (0.25, 0.05)]


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def recover(mz, time, t1):
    return 1 + (mz - 1) * np.exp(-time / t1)


def fixed_point(cycle, size=()):
    """State that one cycle of the sequence maps to itself. The map is affine, so its matrix is read off by unit states.

    `size` is () for Mz alone, (3,) for a spin, (3, n) for n of them.
    """
    zero = np.zeros(size)
    offset = cycle(zero)
    if size == ():
        return offset / (1 - (cycle(1.0) - offset))
    units = np.eye(3).reshape(3, 3, *(1,) * (len(size) - 1))
    matrix = np.stack([cycle(unit + zero) - offset for unit in units], axis=1)  # (3, 3) or (3, 3, n)
    if len(size) == 1:
        return np.linalg.solve(np.eye(3) - matrix, offset)
    return np.linalg.solve(np.eye(3) - np.moveaxis(matrix, -1, 0), offset.T[..., None])[..., 0].T


CLOSED = 1e-10  # two closed evaluations in float64


@pytest.mark.parametrize("t1", [0.2, 0.9, 4.3])
@pytest.mark.parametrize(("inversion", "flip"), [(np.pi, np.pi / 2), (2.9, 1.2), (2.0, 0.3)])
def test_inversion_recovery_is_the_steady_state(t1, inversion, flip):
    ti, tr = 0.31, 1.7

    def cycle(mz):
        mz = recover(mz * np.cos(flip), tr - ti, t1) * np.cos(inversion)
        return recover(mz, ti, t1)

    expected = np.sin(flip) * fixed_point(cycle)
    assert signals.inversion_recovery(ti, tr, t1, inversion, flip) == pytest.approx(expected, abs=CLOSED)


@pytest.mark.parametrize("t1", [0.2, 0.9, 4.3])
def test_spin_echo_inversion_recovery_is_the_steady_state(t1):
    ti, te, tr = 0.31, 0.08, 1.7

    def cycle(mz):  # from before one 90° pulse to before the next
        mz = -recover(0.0 * mz, te / 2, t1)
        return recover(-recover(mz, tr - ti - te / 2, t1), ti, t1)

    expected = fixed_point(cycle)
    assert signals.inversion_recovery_spin_echo(ti, te, tr, t1) == pytest.approx(expected, abs=CLOSED)


@pytest.mark.parametrize("t1", [0.2, 0.9, 4.3])
def test_spin_echo_is_the_steady_state(t1):
    te, tr, t2 = 0.08, 0.6, 0.12
    before = recover(-recover(0.0, te / 2, t1), tr - te / 2, t1)
    assert signals.spin_echo(te, tr, t1, t2) == pytest.approx(before * np.exp(-te / t2), abs=CLOSED)
    assert signals.spin_echo(te, np.inf, t1, t2) == pytest.approx(np.exp(-te / t2), abs=CLOSED)


@pytest.mark.parametrize(("t1", "tr"), [(4.3, 9.0), (0.37, 4.0), (0.38, np.inf)])
def test_null_time_nulls_and_the_sign_changes_there(t1, tr):
    ti = float(signals.null_inversion_time(tr, t1))
    at = lambda dt: float(signals.inversion_recovery(ti + dt, tr, t1))  # noqa: E731
    assert abs(at(0.0)) < CLOSED
    assert at(-5e-3) < 0 < at(5e-3)


def test_saturation_recovery_composes():
    first, second = 0.3, 0.5
    assert signals.saturation_recovery(first + second, T1) == pytest.approx(
        recover(float(signals.saturation_recovery(first, T1)), second, T1), abs=1e-12
    )


@pytest.mark.parametrize("flip", [0.05, 0.3, 1.2])
def test_spoiled_gradient_echo_and_its_approach(flip):
    tr, mz = 0.012, -0.4
    for n in range(300):
        expected = np.sin(flip) * mz
        assert signals.spoiled_gradient_echo_approach(n, flip, tr, T1, start=-0.4) == pytest.approx(
            expected, abs=CLOSED
        )
        mz = recover(mz * np.cos(flip), tr, T1)
    steady = np.sin(flip) * fixed_point(lambda m: recover(m * np.cos(flip), tr, T1))
    assert signals.spoiled_gradient_echo(flip, tr, T1) == pytest.approx(steady, abs=CLOSED)
    decayed = signals.spoiled_gradient_echo(flip, tr, T1, te=0.004, t2_star=0.03)
    assert decayed == pytest.approx(steady * np.exp(-0.004 / 0.03), abs=CLOSED)


def test_ernst_angle_is_the_maximum():
    tr = 0.015
    slope = jax.grad(lambda flip: signals.spoiled_gradient_echo(flip, tr, T1))(signals.ernst_angle(tr, T1))
    assert float(slope) == pytest.approx(0.0, abs=CLOSED)


def turn_z(m, angle):
    """Precession M⁺ → M⁺ exp(-i angle)."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([c * m[0] + s * m[1], c * m[1] - s * m[0], m[2]])


def pulse_x(m, flip):
    """Left-handed turn about x: 90° takes +z to +y."""
    c, s = np.cos(flip), np.sin(flip)
    return np.array([m[0], c * m[1] + s * m[2], c * m[2] - s * m[1]])


def relax(m, time, t1, t2):
    e2 = np.exp(-time / t2)
    return np.array([m[0] * e2, m[1] * e2, recover(m[2], time, t1)])


@pytest.mark.parametrize(("t1", "t2"), RELAXATION)
@pytest.mark.parametrize("df", [0.0, 23.0, -61.0, 110.0])
def test_bssfp_is_the_steady_state_of_alternating_pulses(t1, t2, df):
    flip, tr, later = 0.7, 0.006, 0.0021

    def cycle(m):
        m = relax(turn_z(m, 2 * np.pi * df * tr), tr, t1, t2)
        m = turn_z(m, np.pi)  # the next pulse has the opposite phase: turn the frame with it
        return pulse_x(m, flip)

    m = fixed_point(cycle, (3,))
    found = complex(signals.bssfp(flip, tr, t1, t2, df))
    assert found == pytest.approx(m[0] + 1j * m[1], abs=CLOSED)
    m = turn_z(relax(m, later, t1, t2), 2 * np.pi * df * later)
    found = complex(signals.bssfp(flip, tr, t1, t2, df, later))
    assert found == pytest.approx(m[0] + 1j * m[1], abs=CLOSED)


def test_bssfp_bands_lie_at_half_the_repetition_rate():
    tr = 0.005
    df = np.linspace(-1 / tr, 1 / tr, 401)
    magnitude = np.abs(signals.bssfp(0.7, tr, T1, T2, df))
    inner = np.abs(df) < 0.99 / tr
    assert np.abs(df[inner][np.argmin(magnitude[inner])]) == pytest.approx(1 / (2 * tr), abs=df[1] - df[0])


@pytest.mark.parametrize(("t1", "t2"), RELAXATION)
def test_ssfp_is_the_average_over_a_cycle_of_dephasing(t1, t2):
    flip, tr, spins = 0.52, 0.01, 2000
    angles = 2 * np.pi * (np.arange(spins) + 0.5) / spins

    def cycle(m):
        return pulse_x(relax(turn_z(m, angles), tr, t1, t2), flip)

    after = fixed_point(cycle, (3, spins))
    before = relax(turn_z(after, angles), tr, t1, t2)
    fid, echo = (np.hypot(m[0].mean(), m[1].mean()) for m in (after, before))
    assert signals.ssfp_fid(flip, tr, t1, t2) == pytest.approx(fid, abs=CLOSED)
    assert signals.ssfp_echo(flip, tr, t1, t2) == pytest.approx(echo, abs=1e-8)


def test_look_locker_is_exact_at_the_pulses():
    flip, tr, mz = 0.14, 0.005, -0.9
    for n in range(200):
        assert signals.look_locker(n * tr, flip, tr, T1, start=-0.9) == pytest.approx(mz, abs=CLOSED)
        mz = recover(mz * np.cos(flip), tr, T1)


@pytest.mark.parametrize("inversion", [np.pi, 2.8])
def test_mprage_is_the_steady_state(inversion):
    ti, tr, flip, spacing, pulses, center, t1 = 0.9, 2.3, 0.157, 0.007, 120, 50, 1.35
    seen = {}

    def cycle(mz):
        mz = recover(mz * np.cos(inversion), ti - center * spacing, t1)
        for pulse in range(pulses):
            seen[pulse] = mz * np.sin(flip)
            mz = recover(mz * np.cos(flip), spacing, t1)
        return recover(mz, tr - ti - (pulses - center) * spacing, t1)

    cycle(fixed_point(cycle))
    found = signals.mprage(ti, tr, flip, spacing, pulses, center, t1, inversion)
    assert found == pytest.approx(seen[center], abs=CLOSED)


def test_arguments_broadcast_and_keep_their_precision():
    t1 = jnp.array([0.3, 0.9, 2.0], dtype=jnp.float32)
    assert signals.spoiled_gradient_echo(0.2, 0.01, t1).dtype == jnp.float32
    assert signals.bssfp(0.2, 0.01, t1, t1 / 10).dtype == jnp.complex64
    assert signals.mprage(0.9, 2.3, 0.15, 0.007, 176, 88, t1).dtype == jnp.float32
    assert signals.inversion_recovery(jnp.array([[0.1], [0.2]], dtype=jnp.float32), 2.0, t1[None]).shape == (2, 3)
