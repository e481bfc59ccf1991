"""The fingerprinting kernel against isochromats; what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrisim.physics.fingerprints import RelaxingPulses, fisp_dictionary, pulsed_dictionary

FLIP = np.append(np.linspace(0.1, 1.2, 29), -0.7)
TI = 0.02
EPS = np.finfo(float).eps


def isochromats(t1, t2, flip, tr, te, inversion=-1.0, n=512):
    """One cycle of dephasing per TR; n isochromats hold all orders of fewer than n pulses."""
    states = np.zeros((3, n))
    states[2] = 1 + (inversion - 1) * np.exp(-TI / t1)
    turn, seen = np.exp(-2j * np.pi * np.arange(n) / n), []
    for angle, repetition, echo in np.broadcast(flip, tr, te):
        x, y, z = states
        y, z = np.cos(angle) * y + np.sin(angle) * z, np.cos(angle) * z - np.sin(angle) * y
        seen.append(np.mean(x + 1j * y) * np.exp(-echo / t2))
        m = (x + 1j * y) * turn * np.exp(-repetition / t2)
        states = np.stack([m.real, m.imag, 1 + (z - 1) * np.exp(-repetition / t1)])
    return np.array(seen)


@pytest.mark.parametrize(
    ("tr", "te"), [(0.01, 0.003), (0.01 + 0.004 * np.sin(np.arange(30)), 0.002 + 0.001 * np.cos(np.arange(30)))]
)
def test_dictionary_equals_isochromats(tr, te):
    """Two atoms, one of them after an imperfect inversion; negative flips are pulses of the opposite phase."""
    found = fisp_dictionary([0.9, 1.7], [0.08, 0.2], FLIP, tr, te, TI, inversion=[-1.0, -0.9], dtype=np.float64)
    expected = [isochromats(0.9, 0.08, FLIP, tr, te), isochromats(1.7, 0.2, FLIP, tr, te, -0.9)]
    assert 1j * found == pytest.approx(np.array(expected), abs=40 * EPS * len(FLIP))  # rounding of the rotations


def test_more_atoms_than_a_chunk():
    """Atoms of every chunk are in their places."""
    t1, t2 = np.linspace(0.3, 2.0, 401), np.linspace(0.02, 0.2, 401)
    found = fisp_dictionary(t1, t2, FLIP, 0.01, 0.003, tolerance=0.0)
    for atom in (0, 191, 192, 400):
        alone = fisp_dictionary(t1[atom], t2[atom], FLIP, 0.01, 0.003)[0]
        assert found[atom] == pytest.approx(alone, abs=4 * float(np.finfo(np.float32).eps))


@given(seed=st.integers(0, 999), reach=st.floats(1.0, 1.6), dtype=st.sampled_from([np.float32, np.float64]))
def test_atoms_between_nodes_are_within_the_tolerance(seed, reach, dtype):
    """Strewn over ranges of T1 and T2 of up to forty; against each atom followed by itself, and for one T1."""
    rng = np.random.default_rng(seed)
    t1, t2 = 0.5 * 10 ** rng.uniform(-reach / 2, reach / 2, 1500), 0.05 * 10 ** rng.uniform(-reach / 2, reach / 2, 1500)
    flips = rng.uniform(0.0, 1.2, 30)
    tolerance = {np.float32: 2e-6, np.float64: 1e-8}[dtype]
    between, followed = (
        fisp_dictionary(t1, t2, flips, 0.01, 0.003, TI, dtype=dtype, tolerance=t) for t in (tolerance, 0.0)
    )
    assert np.abs(between - followed).max() < tolerance
    assert (between != followed).any()  # else nothing was interpolated
    alone = fisp_dictionary(0.9, t2, flips, 0.01, 0.003, TI, dtype=dtype, tolerance=tolerance)
    assert alone[5] == pytest.approx(fisp_dictionary(0.9, t2[5], flips, 0.01, 0.003, TI)[0], abs=4e-6)


def test_inversions_that_differ_are_followed_one_by_one():
    t1, t2, left = np.linspace(0.3, 2.0, 500), np.full(500, 0.1), np.where(np.arange(500) % 2, -1.0, -0.5)
    found = fisp_dictionary(t1, t2, FLIP, 0.01, 0.003, TI, inversion=left)
    followed = fisp_dictionary(t1, t2, FLIP, 0.01, 0.003, TI, inversion=left, tolerance=0.0)
    assert (found == followed).all()


def test_orders_that_do_not_come_back_are_not_needed():
    """An order comes back after as many pulses as it took to arise: 16 of 30 pulses, and no more, change nothing."""
    full, half, fewer = (
        fisp_dictionary(0.9, 0.08, FLIP, 0.01, 0.0, n_states=n, dtype=np.float64) for n in (99, 16, 14)
    )
    assert (full == half).all()
    assert np.abs(full - fewer).max() > 1e-9


def test_what_is_refused():
    with pytest.raises(ValueError, match="n_states must be at least 2"):
        fisp_dictionary(1.0, 0.1, [0.1], 0.01, 0.0, n_states=1)


def turns(flip, phase):
    """Instantaneous turns, without relaxation."""
    c, s, turn = np.cos(flip), np.sin(flip), np.exp(1j * phase)
    parts = ((1 + c) / 2 + 0j, (1 - c) / 2 * turn**2, 1j * s * turn, 0.5j * s / turn, c + 0j, 0 * turn, 0 * turn)
    return RelaxingPulses(*(np.pad(part[:, None], ((0, 0), (0, 2))) for part in parts))


def test_pulses_of_any_phase_equal_isochromats():
    """Quadratic phases, 64 isochromats over one cycle of dephasing; orders 0 and 1 are seen at a place of its own."""
    phase, n, t1, t2, tr = 0.3 * np.arange(30) ** 2, 64, 0.9, 0.08, 0.01
    where = np.arange(n) / n
    m, z, mean, shifted = np.zeros(n, complex), np.full(n, -0.9), [], []
    for flip, turn in zip(FLIP, np.exp(1j * phase), strict=True):
        m = m / turn
        y, z = np.cos(flip) * m.imag + np.sin(flip) * z, np.cos(flip) * z - np.sin(flip) * m.imag
        m = (m.real + 1j * y) * turn
        mean.append(m.mean())
        orders = [np.mean(m * np.exp(2j * np.pi * k * where)) for k in (0, 1, -1)]
        shifted.append(orders[0] + orders[1] * np.exp(-0.7j) + orders[2] * np.exp(0.7j))
        m, z = m * np.exp(-tr / t2 - 2j * np.pi * where), 1 + (z - 1) * np.exp(-tr / t1)
    rounding = 30 * len(FLIP) * float(np.finfo(np.float32).eps)
    found = pulsed_dictionary(t1, t2, turns(FLIP, phase), tr, 0.0, -0.9)[0]
    assert found == pytest.approx(np.array(mean), abs=rounding)
    seen = pulsed_dictionary(t1, t2, turns(FLIP, phase), tr, 0.0, -0.9, seen=[1.0, np.exp(-0.7j)])[0]
    assert seen == pytest.approx(np.array(shifted), abs=rounding)


def test_without_dephasing_one_state_does():
    phase = np.pi * np.arange(30)
    found = pulsed_dictionary(0.9, 0.08, turns(FLIP, phase), 0.01, 0.0, 1.0, n_states=1)[0]
    m, z = 0j, 1.0
    for flip, turn, seen in zip(FLIP, np.cos(phase), found, strict=True):
        y, z = np.cos(flip) * m.imag + turn * np.sin(flip) * z, np.cos(flip) * z - turn * np.sin(flip) * m.imag
        m = 1j * y
        assert complex(seen) == pytest.approx(m, abs=30 * len(FLIP) * float(np.finfo(np.float32).eps))
        m, z = m * np.exp(-0.01 / 0.08), 1 + (z - 1) * np.exp(-0.01 / 0.9)


def test_orders_are_attenuated_each_by_its_own_factor():
    """64 isochromats over one cycle; their orders, by Fourier transform, are those that the kernel weakens."""
    phase, n, t1, t2, tr = 0.3 * np.arange(30) ** 2, 64, 0.9, 0.08, 0.01
    order = np.rint(np.fft.fftfreq(n) * n).astype(int)
    k = np.arange(16)
    lost = np.exp(-0.003 * np.stack([k**2 + k / 3, k**2 - k / 4, k**2]))
    of_m = np.where(order >= 0, lost[0][abs(order) % 16], lost[1][abs(order) % 16])
    turn, m, z, mean = np.exp(-2j * np.pi * np.arange(n) / n), np.zeros(n, complex), np.full(n, -0.9), []
    for flip, angle in zip(FLIP, phase, strict=True):
        m = m * np.exp(-1j * angle)
        y, z = np.cos(flip) * m.imag + np.sin(flip) * z, np.cos(flip) * z - np.sin(flip) * m.imag
        m = (m.real + 1j * y) * np.exp(1j * angle)
        mean.append(m.mean())
        m = np.fft.fft(np.fft.ifft(m) * of_m) * turn * np.exp(-tr / t2)
        z = np.fft.fft(np.fft.ifft(1 + (z - 1) * np.exp(-tr / t1)) * lost[2][abs(order) % 16]).real
    found = pulsed_dictionary(t1, t2, turns(FLIP, phase), tr, 0.0, -0.9, attenuation=lost[None])[0]
    assert found == pytest.approx(np.array(mean), abs=30 * len(FLIP) * float(np.finfo(np.float32).eps))
    assert found != pytest.approx(pulsed_dictionary(t1, t2, turns(FLIP, phase), tr, 0.0, -0.9)[0], abs=1e-3)
