"""B1 by Bloch–Siegert: the phase of a pulse off resonance, against closed forms and against the simulated pulse."""

from __future__ import annotations

import numpy as np
import pytest

import mrisim as mr
from mrisim.errors import ConsistencyError
from mrisim.mapping.bloch_siegert import ShiftPulse, fit_bloch_siegert, shift_pulse

GAUSS = 1e-4 * mr.load_sequence("fid").system.gamma  # [Hz]
HARD = ShiftPulse(amplitude=np.array([0.1 * GAUSS]), dt=np.array([8e-3]), frequency=4e3)  # 10 uT


def small(**changes):
    return mr.load_sequence("b1_bloch_siegert", matrix=[4, 2, 2], dummies=10, **changes)


def test_constants_are_those_of_the_paper():
    """Sacolick et al.: 113.9 rad/G² for 8 ms of a hard pulse and 74.01 rad/G² for their Fermi pulse, 4 kHz away."""
    assert HARD.constant / 0.1**2 == pytest.approx(113.9, abs=0.05)
    assert shift_pulse(small(peak="10 uT")).constant / 0.1**2 == pytest.approx(74.01, rel=1e-3)  # edges chosen for it


def test_the_phase_is_that_of_the_effective_field():
    """And that of the weak field to first order."""
    b1 = np.array([0.02, 0.5, 1.0, 1.5])
    expected = 2 * np.pi * 8e-3 * (np.hypot(4e3, 0.1 * GAUSS * b1) - 4e3)
    np.testing.assert_allclose(HARD.phase(b1), expected, rtol=1e-9)
    assert HARD.phase(b1[0]) == pytest.approx(HARD.constant * b1[0] ** 2, rel=1e-5)


@pytest.mark.parametrize("frequency", [4e3, -4e3])
def test_fields_come_back_through_the_phase(frequency):
    pulse = shift_pulse(small())
    pulse = ShiftPulse(amplitude=pulse.amplitude, dt=pulse.dt, frequency=frequency)
    b1, df = np.array([0.3, 0.8, 1.0, 1.7]), np.array([0.0, 50.0, -150.0, 20.0])
    turn = np.exp(1j * np.sign(frequency) * pulse.phase(b1, df))
    signal = (0.3 - 0.2j) * np.stack([turn, turn.conj()], axis=-1)
    np.testing.assert_allclose(fit_bloch_siegert(signal, pulse, df)["b1"], b1, rtol=2e-4)  # 64 bins of amplitude


@pytest.mark.parametrize("df", [0.0, 100.0])
def test_the_simulated_pulse_gives_the_field(df):
    """Within 0.1 %: half of what the edges of the pulse leave, and (df / offset)²."""
    b1 = np.array([0.6, 1.0, 1.4])
    for one in b1:
        point = mr.Phantom.from_arrays(position=np.zeros((1, 3)), t1=1.0, t2=0.08, b1=one, df=df)
        image = mr.reconstruct(mr.simulate(small(), point, spoiling="ideal", dtype="float64"))
        found = mr.fit_maps(image, {"B1": {"fit": "bloch_siegert"}})["B1"].data
        assert np.nanmax(found) == pytest.approx(one, rel=1e-3)


def test_voxels_without_an_answer_are_masked_and_counted():
    found = fit_bloch_siegert(np.array([[1j, 1.0], [0.0, 1.0], [1.0, 1j]]), HARD)
    assert found.converged.tolist() == [True, False, False]
    assert np.isnan(found["b1"][1:]).all()
    assert found.counts == {"fitted": 1, "empty": 0, "failed": 2}


@pytest.mark.parametrize(("call", "message"), [
    (lambda: fit_bloch_siegert([1.0, 2.0], HARD), "signal: must be complex, but holds magnitudes."),
    (lambda: fit_bloch_siegert([1j], HARD), "signal: must be two images, but has shape (1,)."),
    (
        lambda: shift_pulse(mr.load_sequence("fid")),
        ("FID: must have one pulse of use preparation at two opposite frequencies, but has not. "
         "Take a sequence such as b1_bloch_siegert."),
    ),
])  # fmt: skip
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ConsistencyError) as caught:
        call()
    assert str(caught.value) == message


def test_ideal_pulses_are_refused():
    point = mr.Phantom.from_arrays(position=np.zeros((1, 3)), t1=1.0, t2=0.08)
    image = mr.reconstruct(mr.simulate(small(), point, pulses="ideal"))
    with pytest.raises(ConsistencyError) as caught:
        mr.fit_maps(image, {"B1": {"fit": "bloch_siegert"}})
    rule = "maps.B1.fit: must have images of shaped pulses, but these are of ideal ones, which know no off-resonance."
    assert str(caught.value) == f"{rule} Simulate with pulses: shaped."
