"""Laws of whole runs over random sequences of the language, in both engines."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from physics.build import spins

from mrisim.checking import check_sequence
from mrisim.data import Phantom
from mrisim.phantom.sampling import Sampling
from mrisim.physics import bloch
from mrisim.sequence.library import sequence_from_source
from mrisim.simulate import _chunks, simulate
from mrisim.source import parse_source

EPS = float(np.finfo(np.float64).eps)
SIDE = 5e-3  # of a voxel [m]
few = settings(
    max_examples=4, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)  # an example may compile anew
cycles = st.floats(-3.0, 3.0, allow_subnormal=False)


@pytest.fixture(autouse=True, scope="module")
def _double():
    with jax.enable_x64(True):
        yield


@st.composite
def specifications(draw, excitations: int = 3) -> str:
    """A valid sequence: pulses, gradients and samples with random numbers, spaced by random waits."""
    number = lambda low, high: round(draw(st.floats(low, high)), 3)  # noqa: E731
    area = lambda: number(-300, 300)  # noqa: E731
    return f"""
mrisim: 1
name: random
parameters: {{flip: {number(5, 175)} deg, turn: {number(5, 175)} deg, repeats: {excitations}}}
events:
  hit:    {{rf: {{shape: block, flip: flip, duration: 0.8 ms, use: excitation, phase: {number(0, 90)} deg * n}}}}
  move:   {{gx: {{area: {area()} 1/m}}, gy: {{area: {area()} 1/m}}, gz: {{area: {area()} 1/m}}}}
  turn_:  {{rf: {{shape: block, flip: turn, duration: 0.8 ms, use: refocusing, phase: {number(0, 360)} deg}}}}
  read:
    gx:  {{flat_area: {abs(area()) + 50} 1/m, flat_time: 3.2 ms}}
    adc: {{samples: 16, dwell: 0.2 ms, phase: {number(0, 360)} deg}}
timeline:
  - loop: {{n: 1 .. repeats}}
    do: [hit, move, {{wait: {number(1, 8):.2f} ms}}, turn_, {{wait: {number(1, 8):.2f} ms}}, read]
"""


def sequence(text: str, **parameters):
    return sequence_from_source(parse_source(text), parameters)


def phantom(n: int = 8, seed: int = 0) -> Phantom:
    g = np.random.default_rng(seed)
    t1 = g.uniform(0.1, 2, n)
    made = spins(
        position=SIDE * g.integers(-4, 5, (n, 3)), t1=t1, t2=t1 * g.uniform(0.05, 1, n), pd=g.uniform(0, 1, n),
        df=g.uniform(-30, 30, n), b1=g.uniform(0.8, 1.1, n),
    )  # fmt: skip
    return replace(made, sampling=Sampling(extent=(0.05,) * 3, voxel=(SIDE,) * 3))


def run(seq, source, engine: str, **options) -> np.ndarray:
    return simulate(seq, source, engine=engine, dtype="float64", tolerance=1e-12, **options).signal


def part(source: Phantom, rows: slice) -> Phantom:
    names = ("position", "weight", "pd", "t1", "t2", "df", "b1")
    cut = spins(**{name: np.asarray(getattr(source, name))[rows] for name in names})
    return replace(cut, sampling=source.sampling)


engines = pytest.mark.parametrize("engine", ["bloch", "epg"])
ROUNDING = 1e-9  # of sums over states and spins at the tolerance of 1e-12 that is asked


@few
@given(text=specifications())
def test_random_sequences_of_the_language_are_within_the_scanner(text):
    assert [message for message in check_sequence(sequence(text)) if message.severity == "error"] == []


@engines
@few
@given(text=specifications())
def test_signal_is_linear_in_density(engine, text):
    seq, source = sequence(text), phantom()
    other = replace(source, pd=np.random.default_rng(5).uniform(0, 1, source.n_spins))
    both = replace(source, pd=2.0 * source.pd + other.pd)
    expected = 2.0 * run(seq, source, engine) + run(seq, other, engine)
    np.testing.assert_allclose(run(seq, both, engine), expected, rtol=0, atol=ROUNDING * np.abs(expected).max())


@engines
@few
@given(text=specifications())
def test_phantoms_add_up_in_any_order(engine, text):
    seq, source = sequence(text), phantom()
    pieces = run(seq, part(source, slice(0, 4)), engine) + run(seq, part(source, slice(7, 3, -1)), engine)
    whole = run(seq, source, engine)
    np.testing.assert_allclose(pieces, whole, rtol=0, atol=ROUNDING * np.abs(whole).max())


@engines
@few
@given(text=specifications())
def test_no_signal_is_larger_than_all_spins_in_step(engine, text):
    source = phantom()
    most = float(np.sum(np.asarray(source.weight) * np.asarray(source.pd)))
    assert np.abs(run(sequence(text), source, engine)).max() <= most * (1 + ROUNDING)


@engines
@few
@given(text=specifications(excitations=1), shift=st.tuples(*[st.integers(-3, 3)] * 3))
def test_a_shift_is_a_phase_in_k_space(engine, text, shift):
    """Exactly so for one pathway: turns of 180 degrees, instantaneous, so that k is that of all spins."""
    seq, source = sequence(text, flip="70 deg", turn="180 deg"), replace(phantom(), b1=np.ones(8))
    move = SIDE * np.array(shift)
    there = run(seq, replace(source, position=np.asarray(source.position) + move), engine, pulses="ideal")
    here = run(seq, source, engine, pulses="ideal")
    expected = here * np.exp(-2j * np.pi * (seq.kspace()[0] @ move))
    np.testing.assert_allclose(there, expected, rtol=0, atol=ROUNDING * max(np.abs(here).max(), 1e-3))


@few
@given(turns=st.lists(st.tuples(cycles, cycles, cycles), min_size=1, max_size=8), m=st.tuples(cycles, cycles, cycles))
def test_a_lossless_pulse_played_backwards_undoes_itself(turns, m):
    state = tuple(np.array([value]) for value in m)
    for w in [*turns, *[tuple(-value for value in w) for w in reversed(turns)]]:
        state = bloch.rotate(state, bloch.rotation(*(np.array([value]) for value in w)))
    size = 1 + float(np.linalg.norm(m))
    np.testing.assert_allclose(np.array(state).ravel(), m, rtol=0, atol=400 * len(turns) * EPS * size)


@engines
@few
@given(
    flip=st.floats(5, 175), phase=st.floats(0, 360), gradient=st.floats(-20, 20).filter(lambda g: abs(g) > 0.1),
    place=st.floats(-20, 20),
)  # fmt: skip
def test_a_lossless_block_played_backwards_leaves_equilibrium(engine, flip, phase, gradient, place):
    """A pulse under a gradient, then the same with both of opposite sign: every rotation is undone."""
    text = f"""
mrisim: 1
name: there and back
parameters: {{away: true}}
events:
  there:
    rf: {{shape: block, flip: {flip:.3f} deg, duration: 0.8 ms, delay: 0.3 ms, use: excitation, phase: {phase:.3f} deg}}
    gx: {{amplitude: {gradient:.3f} mT/m, rise_time: 0.2 ms, flat_time: 1 ms}}
  back:
    rf: {{shape: block, flip: {flip:.3f} deg, duration: 0.8 ms, delay: 0.3 ms, phase: {phase:.3f} deg + 180 deg}}
    gx: {{amplitude: -({gradient:.3f} mT/m), rise_time: 0.2 ms, flat_time: 1 ms}}
  read: {{adc: {{samples: 1, dwell: 10 us}}}}
timeline: [there, {{block: back, when: away}}, read]
"""
    point = spins(position=np.array([[1e-3 * place, 0, 0]]), t1=np.array([np.inf]), t2=np.array([np.inf]))
    point = replace(point, sampling=Sampling(extent=(1e-8,) * 3, voxel=(1e-9,) * 3))
    assert np.abs(run(sequence(text), point, engine)).max() < ROUNDING
    if abs(place * gradient) < 1:  # near resonance the pulse does turn the spin
        assert np.abs(run(sequence(text, away=False), point, engine)).max() > 1e-3


@few
@given(text=specifications())
def test_engines_agree(text):
    """On points: the sum over configurations is the magnetisation of a spin."""
    seq, source = sequence(text), replace(phantom(4), sampling=Sampling(extent=(1e-8,) * 3, voxel=(1e-9,) * 3))
    graph, isochromats = (run(seq, source, engine) for engine in ("epg", "bloch"))
    # relaxation and offset within a pulse are split differently: rates times duration, squared
    np.testing.assert_allclose(graph, isochromats, rtol=0, atol=1e-4 * np.abs(isochromats).max())


@few
@given(text=specifications(), size=st.sampled_from([64, 128]))
def test_chunks_do_not_change_the_signal(text, size):
    seq, source = sequence(text), phantom(200)
    whole = run(seq, source, "bloch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_chunks, "largest_chunk", lambda: size)
        pieces = run(seq, source, "bloch")
    np.testing.assert_allclose(pieces, whole, rtol=0, atol=ROUNDING * np.abs(whole).max())


@engines
def test_the_steady_state_does_not_depend_on_the_start(engine):
    text = """
mrisim: 1
name: train
events:
  hit: {rf: {shape: block, flip: 40 deg, duration: 0.2 ms, use: excitation, phase: 117 deg * n * (n + 1) / 2}}
  read: {adc: {samples: 1, dwell: 0.1 ms, on: n == 400}}
  spoil: {gx: {area: 200 1/m}}
timeline: [{loop: {n: 0 .. 400}, do: [hit, read, spoil, {wait: 8 ms}]}]
"""
    seq, t1 = sequence(text), np.array([0.2, 0.4])
    source = spins(position=np.array([[1e-3, 0, 0], [2e-3, 0, 0]]), t1=t1, t2=np.array([0.05, 0.1]))
    source = replace(source, sampling=Sampling(extent=(0.05,) * 3, voxel=(SIDE,) * 3))
    first = run(seq, source, engine)
    other = run(seq, source, engine, initial=[0.3, -0.5, -0.6])
    left = 2 * np.exp(-seq.duration / t1.max())  # what relaxation leaves of any two starts, at most
    assert left < 1e-3
    np.testing.assert_allclose(other, first, rtol=0, atol=source.n_spins * left)
