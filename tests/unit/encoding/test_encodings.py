"""Readouts as matrix products: against direct summation, in both precisions, with coils and in groups."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from physics.build import ADC, MS, Block, build, lobe, spins

from mrisim.encoding import matrix
from mrisim.encoding.direct import direct_sum
from mrisim.encoding.grouping import group_spins
from mrisim.engines.bloch import place_spins
from mrisim.program import lower
from mrisim.simulate import simulate

GENERATOR = np.random.default_rng(11)
N = 150
SOURCE = spins(
    position=GENERATOR.uniform(-0.1, 0.1, (N, 3)), t1=3.0, t2=GENERATOR.uniform(0.01, 0.2, N),
    df=GENERATOR.uniform(-300, 300, N),
)  # fmt: skip
M = GENERATOR.normal(size=(4, N)) + 1j * GENERATOR.normal(size=(4, N))  # of four readouts


def program(samples: int = 40):
    read = ADC(at=1 * MS, samples=samples, dwell=50e-6, frequency=333.0)
    return lower(build([Block(duration=5 * MS, gx=lobe(300.0, 0, 5 * MS), gy=lobe(-77.0, 0, 5 * MS), adc=read)]))


def encoded(dtype, sensitivity=None, few: bool = False) -> np.ndarray:
    """Samples (rows, samples) of the four readouts, of one coil."""
    with jax.enable_x64(dtype == np.float64):
        placed = jax.tree.map(jnp.asarray, place_spins(SOURCE, np.dtype(dtype)))
        train = matrix.place_train(program().readouts[0], np.dtype(dtype))
        emitted = jnp.asarray(M, np.result_type(dtype, np.complex64))
        if sensitivity is not None:
            emitted = emitted * jnp.asarray(sensitivity, emitted.dtype)
        encode, make = (matrix.encode_few, matrix.factors) if few else (matrix.encode, matrix.encoder)
        made = make(train, placed.position, placed.df, placed.r2)
        return np.asarray(encode(emitted, *(made if few else (made,))), complex)


def expected(weights: np.ndarray | None = None) -> np.ndarray:
    readout = program().readouts[0]
    receiver = np.exp(2j * np.pi * readout.receiver)
    w = np.ones(N) if weights is None else weights
    rows = [direct_sum(m * w, readout.k, readout.delay, SOURCE.position, SOURCE.df, 1 / SOURCE.t2) for m in M]
    return np.array(rows) * receiver


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize(("dtype", "error"), [(np.float64, 1e-12), (np.float32, 3e-6)])
def test_matrix_equals_direct_summation(dtype, error, few):
    found = encoded(dtype, few=few)
    assert found.shape == (4, 40)
    assert np.linalg.norm(found - expected()) < error * np.linalg.norm(expected())


def test_samples_at_uneven_steps_have_no_coarse_and_fine():
    even = program().readouts[0]
    uneven = replace(even, k=even.k * np.linspace(1.0, 1.1, 40)[:, None])
    assert len(matrix.place_train(even, np.dtype(float)).coarse.delay) == 5
    assert matrix.place_train(uneven, np.dtype(float)).fine is None


def test_a_coil_weighs_and_turns_magnetisation():
    sensitivity = GENERATOR.normal(size=(3, N)) + 1j * GENERATOR.normal(size=(3, N))
    for coil in sensitivity:
        assert encoded(np.float64, coil) == pytest.approx(expected(coil), abs=1e-9)


def test_direct_sum_of_one_spin_is_the_formula():
    k, tau = np.array([[11.0, -3.0, 2.0]]), np.array([0.013])
    r, df, r2 = np.array([[0.02, 0.05, -0.01]]), np.array([41.0]), np.array([7.0])
    turn = np.exp(-2j * np.pi * (41.0 * 0.013 + 11.0 * 0.02 - 3.0 * 0.05 - 2.0 * 0.01))
    assert direct_sum(np.array([2j]), k, tau, r, df, r2)[0] == pytest.approx(2j * np.exp(-7.0 * 0.013) * turn)


def test_a_long_train_is_encoded_in_pieces():
    """More samples than one encoder holds."""
    n = 1300
    seq = build(
        [
            Block(
                duration=n * 1e-5 + 3 * MS,
                gx=lobe(2000.0, 0, n * 1e-5 + 3 * MS),
                adc=ADC(at=1 * MS, samples=n, dwell=1e-5),
            )
        ]
    )
    raw = simulate(seq, SOURCE, initial=(1.0, 0.5, 0.0), dtype="float64")
    chosen = np.array([0, 511, 512, 1023, 1024, 1299])
    k, t = seq.kspace()
    exact = direct_sum(np.full(N, 1.0 + 0.5j), k[chosen], t[chosen], SOURCE.position, SOURCE.df, 1 / SOURCE.t2)
    assert raw.signal[0, chosen] == pytest.approx(exact, abs=1e-9 * N)


def lattice(n: int = 12, m: int = 40):
    x, y = np.meshgrid(np.arange(n) * 3e-3, np.arange(m) * 2e-3)
    return np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], axis=1)


def read_along_x():
    return lower(build([Block(duration=5 * MS, gx=lobe(300.0, 0, 5 * MS), adc=ADC(at=1 * MS, samples=20, dwell=1e-4))]))


def test_spins_that_look_alike_are_grouped():
    grouping = group_spins(read_along_x(), spins(position=lattice(), t2=0.1), 1e-4)
    assert grouping.size >= 4
    arranged = grouping.arrange(spins(position=lattice(), t2=0.1))
    runs = arranged.position[:, 0].reshape(-1, grouping.size)
    assert np.ptp(runs, axis=1).max() == 0.0
    assert arranged.weight.sum() == pytest.approx(12 * 40)
    assert sorted(grouping.order[~grouping.filler].tolist()) == list(range(12 * 40))


@pytest.mark.parametrize("differing", ["df", "t2", "position"])
def test_spins_that_differ_for_the_encoding_are_not_grouped(differing):
    n = 12 * 40
    columns = {"position": lattice(), "t2": np.full(n, 0.1), "df": np.zeros(n)}
    if differing == "position":
        columns["position"] = lattice() + np.outer(np.linspace(0, 1e-3, n), [1, 0, 0])
    else:
        columns[differing] = {"df": np.linspace(0, 50, n), "t2": np.linspace(0.01, 0.2, n)}[differing]
    assert group_spins(read_along_x(), spins(**columns), 1e-4) is None


def test_differences_within_the_tolerance_do_not_keep_spins_apart():
    n = 12 * 40
    source = spins(position=lattice(), t2=0.1, df=np.random.default_rng(0).uniform(-1e-4, 1e-4, n))
    assert group_spins(read_along_x(), source, 1e-2) is not None
    assert group_spins(read_along_x(), source, 1e-9) is None
