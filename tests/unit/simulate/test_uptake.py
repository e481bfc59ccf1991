"""Tissue that a contrast agent changes while it is measured."""

from __future__ import annotations

import numpy as np
import pytest

import mrisim as mr
from mrisim.data import Phantom, Uptake
from mrisim.errors import ConsistencyError

R1, R2, R2_STAR = 4.5, 5.2, 9.0
T1, T2 = 1.2, 0.08
RAMP = Uptake(
    time=np.array([0.0, 0.4, 0.9, 5.0]),
    concentration=np.array([[0.0] * 4, [0.0, 2.0, 1.0, 1.0], [0.0, 0.5, 0.8, 0.9]]),
    r1=R1, r2=R2, r2_star=R2_STAR,
)  # fmt: skip
INJECTION = 0.12


def points(curve, uptake=RAMP, **more):
    """Isochromats at one place, which a sequence without gradients tells apart by nothing."""
    return Phantom.from_arrays(
        position=np.zeros((len(curve), 3)), t1=T1, t2=T2, curve=np.asarray(curve), uptake=uptake, **more
    )


def test_the_mean_of_a_curve_over_an_interval_is_its_integral():
    start, stop = np.array([-0.3, 0.1, 0.35, 0.7, 6.0, 0.5]), np.array([0.2, 0.3, 0.5, 4.0, 7.0, 0.5])
    found = RAMP.mean(start, stop)
    for row, (a, b) in enumerate(zip(start, stop, strict=True)):
        t = a + (np.arange(200_000) + 0.5) / 200_000 * (b - a)
        for curve in (1, 2):
            expected = np.mean(np.interp(t, RAMP.time, RAMP.concentration[curve], left=0.0))
            assert found[row, curve] == pytest.approx(expected, abs=1e-5)  # steps of the sum


LINES = 60


def stepped_flash(seq, curve):
    """Ideally spoiled gradient echo in steps of 20 us: the ODE with rates of each moment."""
    flip, te, tr = (seq.parameters[name].value for name in ("flip", "TE", "TR"))
    steps, substep = round(tr / 20e-6), 20e-6
    first = seq.starts[seq.blocks.rf >= 0][0] + seq.rf.delay[0]
    center = first + seq.rf_shapes[0].center
    mz, found = 1.0, []
    concentration = lambda t: np.interp(t - INJECTION, RAMP.time, RAMP.concentration[curve], left=0.0)  # noqa: E731
    lead = np.arange(round(center / substep)) * substep + substep / 2
    rates = 1 / T1 + R1 * concentration(lead)
    for rate in rates:
        mz = 1 + (mz - 1) * np.exp(-substep * rate)
    for n in range(LINES):
        t = center + n * tr
        c = concentration(t + te / 2)
        found.append(np.sin(flip) * mz * np.exp(-te * (1 / T2 + R2_STAR * c)))
        mz *= np.cos(flip)
        for rate in 1 / T1 + R1 * concentration(t + (np.arange(steps) + 0.5) * substep):
            mz = 1 + (mz - 1) * np.exp(-substep * rate)
    return np.array(found)


@pytest.fixture(scope="module")
def flash():
    return mr.load_sequence("flash_2d", matrix=[4, LINES], dummies=0, TR="20 ms")


@pytest.mark.parametrize("engine", ["bloch", "epg"])
@pytest.mark.parametrize("curve", [1, 2])
def test_a_spoiled_gradient_echo_follows_the_concentration_of_its_own_moment(flash, curve, engine):
    """Against steps of 20 us; differs by the rates of a TR taken as their mean, and of the time of the pulse."""
    how = {"pulses": "ideal", "spoiling": "ideal", "injection": INJECTION, "dtype": "float64", "engine": engine}
    raw = mr.simulate(flash, points([curve]), **how)
    center = np.abs(raw.signal[0][raw.readouts.start + raw.readouts.count // 2])
    expected = stepped_flash(flash, curve)
    assert np.ptp(expected) > 0.2 * expected.max()
    np.testing.assert_allclose(center, expected, rtol=2e-3)


@pytest.mark.parametrize("pulses", ["ideal", "shaped"])
def test_the_phase_graph_follows_curves_as_isochromats_do(pulses):
    """All sites at one place: no states are told apart, so both engines are exact but for dropped states."""
    seq = mr.load_sequence("flash_2d", matrix=[4, 24], dummies=0, TR="20 ms")
    how = {"injection": INJECTION, "dtype": "float64", "pulses": pulses, "tolerance": 1e-7}
    mixed = points([0, 1, 2, 1], pd=[0.5, 1.0, 0.8, 0.2])
    graph, spins = (mr.simulate(seq, mixed, engine=engine, **how).signal for engine in ("epg", "bloch"))
    assert np.linalg.norm(graph - spins) < 1e-6 * np.linalg.norm(spins)  # ten times what may be dropped
    assert mr.simulate(seq, mixed, engine="epg", **how).provenance["injection"] == INJECTION


def test_walkers_take_up_no_agent(flash):
    with pytest.raises(ConsistencyError) as caught:
        mr.simulate(flash, points([1]), engine="walk", injection=INJECTION)
    rule = "injection: must be left out of the engine walk, whose tissue does not change, but is given."
    assert str(caught.value) == f"{rule} Take engine='bloch' or 'epg'."


def test_without_an_injection_there_is_no_agent_and_curve_zero_never_changes(flash):
    still = mr.simulate(flash, points([1]), pulses="ideal", dtype="float64").signal
    plain = mr.simulate(flash, points([0], None), pulses="ideal", dtype="float64").signal
    with_agent = mr.simulate(flash, points([0]), pulses="ideal", dtype="float64", injection="-10 s").signal
    np.testing.assert_array_equal(still, plain)
    np.testing.assert_allclose(with_agent, plain, rtol=1e-12)


def test_long_after_the_injection_tissue_is_that_of_the_last_concentration(flash):
    late = mr.simulate(flash, points([1]), pulses="ideal", spoiling="ideal", dtype="float64", injection="-100 s").signal
    c = RAMP.concentration[1, -1]
    same = Phantom.from_arrays(position=np.zeros((1, 3)), t1=1 / (1 / T1 + R1 * c), t2=1 / (1 / T2 + R2 * c))
    fixed = mr.simulate(flash, same, pulses="ideal", spoiling="ideal", dtype="float64")
    te = fixed.readouts.te[0]
    expected = fixed.signal * np.exp(-(R2_STAR - R2) * c * te)
    middle = fixed.readouts.start + fixed.readouts.count // 2
    np.testing.assert_allclose(late[0, middle], expected[0, middle], rtol=1e-9)


def test_a_spin_echo_loses_the_irreversible_part_alone():
    seq = mr.load_sequence("spin_echo", matrix=[4, 4], dummies=0, TE="40 ms")
    late = mr.simulate(seq, points([1]), pulses="ideal", dtype="float64", injection="-100 s")
    c = RAMP.concentration[1, -1]
    same = Phantom.from_arrays(position=np.zeros((1, 3)), t1=1 / (1 / T1 + R1 * c), t2=1 / (1 / T2 + R2 * c))
    fixed = mr.simulate(seq, same, pulses="ideal", dtype="float64")
    middle = fixed.readouts.start + fixed.readouts.count // 2
    np.testing.assert_allclose(late.signal[0, middle], fixed.signal[0, middle], rtol=1e-6)


def test_float32_agrees_and_curves_stay_with_their_isochromats(flash):
    kinds = np.random.default_rng(3).integers(0, 3, 900)
    place = np.random.default_rng(4).uniform(-0.05, 0.05, (900, 3)) * [1, 1, 0]
    many = Phantom.from_arrays(position=place, t1=T1, t2=T2, curve=kinds, uptake=RAMP)
    double = mr.simulate(flash, many, pulses="ideal", injection=INJECTION, dtype="float64").signal
    single = mr.simulate(flash, many, pulses="ideal", injection=INJECTION).signal
    alone = sum(
        mr.simulate(
            flash, Phantom.from_arrays(position=place[kinds == k], t1=T1, t2=T2, curve=np.full((kinds == k).sum(), k),
                                       uptake=RAMP),
            pulses="ideal", injection=INJECTION, dtype="float64").signal
        for k in range(3)
    )  # fmt: skip
    assert np.linalg.norm(single - double) < 1e-4 * np.linalg.norm(double)
    assert np.linalg.norm(alone - double) < 1e-9 * np.linalg.norm(double)


def test_an_injection_needs_a_phantom_that_takes_it_up(flash):
    with pytest.raises(ConsistencyError) as caught:
        mr.simulate(flash, points([0], None), injection="30 s")
    rule = "injection: must be left out where no tissue takes up a contrast agent, but is given."
    assert str(caught.value) == f"{rule} Take a phantom with an agent, such as brain_with_tumour."


def test_curves_beyond_the_uptake_are_refused():
    with pytest.raises(ConsistencyError, match="curve: must be from 0 to 2, the last curve of the uptake"):
        points([3])


def test_uptake_survives_a_file(tmp_path):
    mr.save(tmp_path / "p.h5", points([1, 2]))
    found = mr.load(tmp_path / "p.h5", Phantom)
    assert found.curve.tolist() == [1, 2]
    np.testing.assert_array_equal(found.uptake.concentration, RAMP.concentration)
