"""Long trains through the split in time and the NUFFT, against direct summation in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrisim.encoding import cost
from mrisim.encoding.direct import direct_sum
from mrisim.encoding.lowrank import split_in_time
from mrisim.encoding.nufft import backends
from mrisim.encoding.train import TrainEncoder, axes_of
from mrisim.program import ReadoutClass

TAU = np.arange(300) * 20e-6


def train(k, tau=TAU, receiver=None) -> ReadoutClass:
    one = np.zeros(1, dtype=int)
    receiver = 0 * tau if receiver is None else receiver
    return ReadoutClass(delay=tau, k=k, receiver=receiver, step=one, phase=one, first=one)


def spiral(turns=12.0, reach=150.0, angle=0.0):
    s = np.sqrt(np.linspace(0, 1, len(TAU)))
    turn = 2 * np.pi * turns * s + angle
    return reach * s[:, None] * np.stack([np.cos(turn), np.sin(turn), 0 * s], axis=1)


def spins(n=250, seed=3, width=200.0):
    g = np.random.default_rng(seed)
    return g.uniform(-0.09, 0.12, (n, 3)), g.uniform(-width / 2, width / 2, n), 1 / g.uniform(0.02, 0.3, n)


def magnetisation(n=250, rows=2, seed=4):
    g = np.random.default_rng(seed)
    return g.normal(size=(rows, n)) + 1j * g.normal(size=(rows, n))


def encoded(m, readout, position, df, r2, tolerance, backend=None):
    return TrainEncoder.of(readout, position, df, r2, tolerance, backend)(m)


def exact(m, readout, position, df, r2):
    rows = [direct_sum(row, readout.k, readout.delay, position, df, r2) for row in m]
    return np.array(rows) * np.exp(2j * np.pi * readout.receiver)


def relative(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


TRAINS = {
    "spiral": spiral(),
    "spoke": np.linspace(-1, 1, 300)[:, None] * np.array([[100.0, 55.0, -20.0]]),
    "epi": np.stack([np.where(np.arange(300) // 20 % 2, 19 - np.arange(300) % 20, np.arange(300) % 20) / 0.2,
                     np.arange(300) // 20 / 0.15, np.zeros(300)], axis=1),
    "still": np.zeros((300, 3)),
    "wander in space": np.cumsum(np.random.default_rng(8).normal(size=(300, 3)), axis=0) * 5,
}  # fmt: skip


@pytest.mark.parametrize("name", TRAINS)
@pytest.mark.parametrize("tolerance", [1e-3, 1e-4, 1e-5, 1e-6])
def test_every_kind_of_train_keeps_the_tolerance(name, tolerance):
    readout = train(TRAINS[name], receiver=TAU * 333.0)
    where, m = spins(), magnetisation()
    found = encoded(m, readout, *where, tolerance)
    assert relative(found, exact(m, readout, *where)) < tolerance


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    exponent=st.sampled_from([3, 4, 5, 6]),
    width=st.floats(0.0, 1500.0),
    shortest=st.floats(1e-3, 0.3),
    duration=st.floats(1e-4, 20e-3),
    n=st.integers(1, 200),
)
def test_random_trains_and_spins_keep_the_tolerance(seed, exponent, width, shortest, duration, n):
    """Trains, frequencies and relaxation of any kind: the error of the samples stays under what was asked for."""
    g = np.random.default_rng(seed)
    tau = np.sort(g.uniform(0, duration, 120))
    k = np.cumsum(g.normal(size=(120, 3)), axis=0) * g.uniform(0, 30, 3) * [1.0, 1.0, 0.0]
    readout = train(k - k[0], tau - tau[0], g.uniform(0, 1, 120))
    position, m = g.uniform(-0.15, 0.15, (n, 3)), g.normal(size=(1, n)) + 1j * g.normal(size=(1, n))
    df, r2 = g.standard_cauchy(n) * width / 10, 1 / g.uniform(shortest, 10 * shortest, n)
    df = np.clip(df, -width, width)
    tolerance = 10.0**-exponent
    found = encoded(m, readout, position, df, r2, tolerance)
    assert relative(found, exact(m, readout, position, df, r2)) < tolerance


@pytest.mark.skipif("finufft" not in backends(), reason="finufft is not installed")
def test_both_libraries_give_the_same_samples():
    where, m, readout = spins(), magnetisation(), train(spiral())
    one, other = (encoded(m, readout, *where, 1e-4, backend) for backend in ("finufft", "nufftax"))
    assert relative(one, other) < 2e-4


def test_tails_of_a_line_are_summed_directly_and_cost_no_terms():
    position, _, r2 = spins(n=6000)
    line = np.tan(np.pi * (np.random.default_rng(1).uniform(-0.5, 0.5, 6000))) * 10.0  # a Lorentzian of T2' = 16 ms
    readout, m = train(spiral()), magnetisation(6000, 1)
    encoder = TrainEncoder.of(readout, position, line, r2, 1e-4)
    assert 0 < len(encoder.rate) < 0.11 * 6000
    everything = np.ptp(line) * readout.delay[-1]  # terms that the whole line would take, at least
    assert encoder.split.n_terms < 0.2 * everything
    assert relative(encoder(m), exact(m, readout, position, line, r2)) < 1e-4
    turned = train(spiral(angle=0.7))
    second = TrainEncoder.of(turned, position, line, r2, 1e-4, like=encoder)
    assert relative(second(m), exact(m, turned, position, line, r2)) < 1e-4


def test_the_split_of_one_shot_serves_the_others():
    where, m = spins(), magnetisation()
    first = TrainEncoder.of(train(spiral()), *where, 1e-5)
    turned = train(spiral(angle=0.7))
    second = TrainEncoder.of(turned, *where, 1e-5, like=first)
    assert second.spin is first.spin
    assert relative(second(m), exact(m, turned, *where)) < 1e-5
    longer = train(spiral(), tau=2 * TAU)
    third = TrainEncoder.of(longer, *where, 1e-5, like=first)
    assert relative(third(m), exact(m, longer, *where)) < 1e-5


def test_many_rows_are_taken_in_batches(monkeypatch):
    monkeypatch.setattr("mrisim.encoding.train._BATCH", 3000)
    where, m, readout = spins(), magnetisation(rows=7), train(spiral())
    assert relative(encoded(m, readout, *where, 1e-5), exact(m, readout, *where)) < 1e-5


@pytest.mark.parametrize(("name", "axes"), [("spiral", 2), ("spoke", 1), ("still", 0), ("wander in space", 3)])
def test_a_train_is_transformed_along_the_axes_that_it_moves_along(name, axes):
    assert axes_of(TRAINS[name], 0.1, 1e-6).shape == (3, axes)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6])
@pytest.mark.parametrize(("width", "span"), [(0.0, 0.01), (100.0, 0.01), (400.0, 0.03)])
def test_split_states_its_error_and_takes_about_as_many_terms_as_expected(tolerance, width, span):
    _, df, r2 = spins(n=4000, width=width)
    tau = np.linspace(0, span, 500)
    split = split_in_time(tau, df, r2, tolerance)
    full = np.exp(-np.outer(tau, r2 + 2j * np.pi * df))
    worst = np.max(np.linalg.norm(split.time.T @ split.spin(df, r2) - full, axis=0) / np.linalg.norm(full, axis=0))
    assert worst < tolerance
    assert worst < 2 * split.error  # a sample of spins and times was looked at
    assert abs(split.n_terms - cost.expected_terms(span, width, tolerance)) < 4


def test_the_cheaper_path_is_the_transform_for_long_trains_of_many_spins():
    """Within the model: more rows of one class share a matrix, more spins and samples favor the transform."""
    position, df, _ = spins(n=50_000)
    long = train(np.concatenate([spiral()] * 10), np.linspace(0, 6e-3, 3000))
    few = slice(0, 100)
    assert cost.choose(long, 1, position, df, 1e-4) == "nufft"
    assert cost.choose(long, 1, position[few], df[few], 1e-4) == "matrix"
    assert cost.choose(train(TRAINS["epi"]), 2000, position, df, 1e-4) == "matrix"
    wide = np.linspace(-1e5, 1e5, 50_000)  # hundreds of turns within the train
    assert cost.choose(train(TRAINS["spoke"]), 1, position, wide, 1e-4) == "matrix"


@pytest.mark.slow
def test_calibration_measures_this_machine():
    rates = cost.calibrate(spins=16_384, samples=128)
    assert min(rates.entry, rates.product, rates.point, rates.kernel, rates.grid) > 0
