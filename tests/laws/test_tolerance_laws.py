"""`tolerance` is kept by every path on random sequences and phantoms: against the computation without shortcuts."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from physics.build import ADC, MS, RF, Block, build, lobe, spins

from mrisim.encoding import grouping
from mrisim.encoding.grouping import group_spins
from mrisim.encoding.nufft import backends
from mrisim.events.blocks import RFShape
from mrisim.program import lower
from mrisim.simulate import _chunks, _trains, signal, simulate
from mrisim.simulate._propagators import prepare_pulses

few = settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
tolerances = st.sampled_from([1e-2, 1e-3, 1e-4, 1e-5])
seeds = st.integers(0, 2**31)
N = 240


def shape(seed: int) -> RFShape:
    """A pulse of 2 ms with a random smooth envelope."""
    g = np.random.default_rng(seed)
    t = (np.arange(100) + 0.5) / 100 - 0.5
    samples = np.sinc(g.uniform(1, 4) * 2 * t) * np.exp(1j * g.uniform(-4, 4) * t**2)
    return RFShape(edges=np.linspace(0, 2 * MS, 101), samples=samples, center=1 * MS)


def scan(seed: int, samples: int = 24):
    """Two excitations and two refocused readouts with random flips, phases, gradients and offsets."""
    g, parts = np.random.default_rng(seed), []
    pulse = shape(seed)
    for flip in g.uniform(0.2, 3.0, 4):
        rf = RF(flip=flip, phase=g.uniform(0, 6), at=1 * MS, shape=pulse, frequency=g.uniform(-300, 300))
        parts += [
            Block(duration=2 * MS, rf=rf, gz=([0.0, 2 * MS], [2e5, 2e5])),
            Block(duration=1 * MS, gx=lobe(-40.0, 0.0, 1 * MS), gy=lobe(g.uniform(-60, 60), 0.0, 1 * MS)),
            Block(
                duration=6 * MS,
                gx=lobe(g.choice([50.0, 80.0]), 0.0, 5 * MS), gz=lobe(g.uniform(-300, 300), 0.0, 5 * MS),
                adc=ADC(at=1.1 * MS, samples=samples, dwell=120e-6, frequency=g.uniform(-500, 500)),
            ),
        ]  # fmt: skip
    return build(parts)


def phantom(seed: int, **columns):
    g = np.random.default_rng(seed + 1)
    t1 = g.uniform(0.05, 2.5, N)
    made = {
        "position": g.uniform(-0.06, 0.06, (N, 3)), "pd": g.uniform(0, 1, N),
        "t1": t1, "t2": t1 * g.uniform(0.02, 1.0, N),
        "df": g.uniform(-1, 1, N) * g.choice([5.0, 60.0, 300.0]), "b1": g.uniform(0.6, 1.3, N),
    }  # fmt: skip
    return spins(**{**made, **{name: values(g) for name, values in columns.items()}})


def error(seq, source, tolerance: float, dtype: str = "float64", **options) -> float:
    """Relative error that the shortcuts add, in the 2-norm."""
    with jax.enable_x64(True):
        exact = np.asarray(signal(lower(seq), source, dtype="float64", sensitivity=options.get("coils")))
    found = simulate(seq, source, tolerance=tolerance, dtype=dtype, **options).signal
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


@few
@given(seed=seeds, tolerance=tolerances)
def test_matrices_and_pulses_of_each_spin(seed, tolerance):
    assert error(scan(seed), phantom(seed), tolerance) <= tolerance


@few
@given(seed=seeds, tolerance=st.sampled_from([1e-2, 1e-3, 1e-4]))
def test_short_rotations_of_single_precision(seed, tolerance):
    rounding = 2e-5  # of float32: phases of hundreds of turns, sums over hundreds of spins
    assert error(scan(seed), phantom(seed), tolerance, "float32") <= tolerance + rounding


@few
@given(seed=seeds, tolerance=tolerances)
def test_spins_that_no_readout_tells_apart(seed, tolerance):
    """Positions that almost repeat along the readout: their sums are encoded once."""

    def position(g):
        columns = np.repeat(g.uniform(-0.06, 0.06, 10), N // 10) + g.uniform(-1, 1, N) * tolerance * 1e-6
        return np.stack([columns, g.uniform(-0.06, 0.06, N), np.zeros(N)], axis=1)

    source = phantom(seed, position=position, df=lambda _: 20.0, t2=lambda _: 0.04, t1=lambda g: g.uniform(0.1, 2, N))
    adc = ADC(at=3 * MS, samples=24, dwell=120e-6)
    still = build([Block(duration=9 * MS, rf=RF(flip=1.0), gx=lobe(70.0, 2 * MS, 6 * MS), adc=adc)] * 3)
    grouping = group_spins(lower(still), source, tolerance)
    assert grouping is not None
    assert grouping.size == N // 10
    assert error(still, source, tolerance) <= tolerance


def lines(seed: int, ramps: bool = False):
    """An EPI-like train of a random slope: lines to and fro, sampled on a plateau or through ramps, after one pulse."""
    g = np.random.default_rng(seed)
    parts = [Block(duration=1 * MS, rf=RF(flip=g.uniform(0.3, 2.5)))]
    slope, ramp = g.uniform(40.0, 150.0), 1 * MS if ramps else 0.1 * MS
    parts.append(Block(duration=1 * MS, gx=lobe(-0.5 * slope, 0.0, 1 * MS), gy=lobe(-20.0, 0.0, 1 * MS)))
    for line in range(6):
        flat = [0.0, ramp, 4 * MS - ramp, 4 * MS]
        height = (-1) ** line * slope / (4 * MS - ramp)
        read = ADC(at=0.2 * MS, samples=30, dwell=120e-6, frequency=g.uniform(-200, 200))
        parts.append(Block(duration=4 * MS, gx=(flat, [0.0, height, height, 0.0]), adc=read))
        parts.append(Block(duration=0.5 * MS, gy=lobe(7.0, 0.0, 0.5 * MS)))
    return build(parts)


@few
@given(
    seed=seeds,
    tolerance=tolerances,
    ramps=st.booleans(),
    lattice=st.booleans(),
    far=st.booleans(),
    coils=st.sampled_from([None, 3]),
)
def test_runs_of_near_spins(monkeypatch, seed, tolerance, ramps, lattice, far, coils):
    """Encoded from a few samples of each: spins in columns or strewn, some far off in frequency, one coil or some."""
    monkeypatch.setattr(grouping, "_LEAST_WORK", 0)
    monkeypatch.setattr(grouping, "_WORTH", np.inf)  # whatever the time

    def position(g):
        x = np.repeat(g.uniform(-0.06, 0.06, 6), N // 6) if lattice else g.uniform(-0.06, 0.06, N)
        return np.stack([x, g.uniform(-0.06, 0.06, N), g.uniform(-0.06, 0.06, N)], axis=1)

    def df(g):
        return np.where(np.arange(N) % 30 == 7, 2e4, g.uniform(-1, 1, N) * g.choice([5.0, 60.0, 300.0]))

    source, seq = phantom(seed, position=position, **({"df": df} if far else {})), lines(seed, ramps)
    found = group_spins(lower(seq), source, tolerance)
    assert found is not None and found.band is not None  # noqa: PT018
    assert (found.rest is not None and len(found.rest) >= N / 30) or not far
    sensitivity = None
    if coils:
        g = np.random.default_rng(seed)
        sensitivity = g.normal(size=(coils, N)) + 1j * g.normal(size=(coils, N))
    assert error(seq, source, tolerance, coils=sensitivity) <= tolerance


@few
@given(seed=seeds, tolerance=tolerances)
def test_pulses_that_are_shared_by_kinds_of_spins(seed, tolerance):
    """Layers of a slice with two tissues, a little apart: a pulse is made once for spins that it cannot tell apart."""

    def position(g):
        z = np.repeat(np.linspace(-0.01, 0.01, 12), N // 12) + g.uniform(-1, 1, N) * tolerance * 1e-7
        return np.stack([g.uniform(-0.06, 0.06, N), g.uniform(-0.06, 0.06, N), z], axis=1)

    tissue = {"t1": [0.5, 1.2], "t2": [0.04, 0.1], "df": [0.0, -30.0]}
    source = phantom(seed, position=position, b1=lambda _: np.ones(N), **{
        name: lambda _, v=values: np.tile(v, N // 2) for name, values in tissue.items()
    })  # fmt: skip
    seq = scan(seed)
    with _chunks.precision(np.dtype(float)):
        pulses = prepare_pulses(lower(seq), source, tolerance, np.dtype(float), 256)
    assert all(pulse.table is not None for pulse in pulses)
    assert error(seq, source, tolerance) <= tolerance


@few
@given(seed=seeds, tolerance=st.sampled_from([1e-2, 1e-3, 1e-4, 1e-5]))
def test_long_trains_by_transforms(monkeypatch, seed, tolerance):
    if backends()[0] != "finufft":
        pytest.skip("no compiled transforms")
    made = []
    samples = _trains.Trains.samples
    monkeypatch.setattr(_trains, "choose", lambda *_, **__: "nufft")
    monkeypatch.setattr(_trains.Trains, "samples", lambda self, index: made.append(index) or samples(self, index))
    assert error(scan(seed, samples=24), phantom(seed), tolerance) <= tolerance
    assert made


@settings(few, max_examples=3)
@given(seed=seeds, tolerance=st.sampled_from([1e-2, 1e-4]))
def test_phase_graphs_drop_what_is_small(seed, tolerance):
    """Against the graph with every state, because a box is more than the point in its middle."""
    g = np.random.default_rng(seed)
    parts = []
    for flip in g.uniform(0.2, 3.0, 8):
        parts += [
            Block(duration=1 * MS, rf=RF(flip=flip, phase=g.uniform(0, 6))),
            Block(duration=6 * MS, gx=lobe(50.0, 0.0, 5 * MS), gz=lobe(400.0, 0.0, 5 * MS), adc=ADC(at=3 * MS)),
        ]  # fmt: skip
    source = replace(phantom(seed), position=np.random.default_rng(seed).uniform(-0.06, 0.06, (N, 3)))
    whole, found = (
        simulate(build(parts), source, engine="epg", tolerance=t, dtype="float64").signal for t in (1e-12, tolerance)
    )
    assert np.linalg.norm(found - whole) <= tolerance * np.linalg.norm(whole)
