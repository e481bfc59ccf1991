"""Numbers that single precision must not lose: phases of thousands of cycles, short polynomials, small angles."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from physics.build import DEG, MS, RF, Block, build, spins

from mrisim.engines.bloch import is_short, place_pulse, place_spins, place_waveform, pulse_propagator, relaxation_group
from mrisim.events.blocks import RFShape
from mrisim.physics import bloch as bloch_physics
from mrisim.physics import phase
from mrisim.program import Waveform, lower
from mrisim.sequence import waveforms

EPS = float(np.finfo(np.float32).eps)
GENERATOR = np.random.default_rng(0)


def cycles_of(k: np.ndarray, r: np.ndarray, dtype) -> np.ndarray:
    """k · r by the split product, modulo one."""
    with jax.enable_x64(dtype == np.float64):
        total = phase.product(phase.split(k, np.dtype(dtype)), phase.split(r, np.dtype(dtype)))
        return np.asarray(total, dtype=float)


@pytest.mark.parametrize(("dtype", "error"), [(np.float32, 4e-7), (np.float64, 1e-11)])
def test_thousands_of_cycles_keep_their_phase(dtype, error):
    """3,400 cycles of moment: a plain product in float32 would be off by 1e-3 rad and more."""
    k = np.array([31_234.567, -20_111.2, 9_876.54])
    r = GENERATOR.uniform(-0.11, 0.11, (3, 2000))
    exact = k @ r
    difference = cycles_of(k, r, dtype) - exact
    difference -= np.round(difference)
    assert np.abs(exact).max() > 3000
    assert np.abs(difference).max() < error
    plain = np.asarray(sum(np.float32(a) * np.float32(b) for a, b in zip(k, r, strict=True)), float) - exact
    assert np.abs(plain - np.round(plain)).max() > 1e-4


def test_sine_and_cosine_in_single_precision():
    x = np.linspace(-3.0, 3.0, 100_001).astype(np.float32)
    cosine, sine = phase.cos_sin(jnp.asarray(x))
    exact = 2 * np.pi * (x.astype(float) - np.round(x.astype(float)))
    assert np.abs(np.asarray(cosine) - np.cos(exact)).max() < 4 * EPS
    assert np.abs(np.asarray(sine) - np.sin(exact)).max() < 4 * EPS


def test_short_rotation_is_the_rotation():
    """Error as stated: 2e-10 cycles at 0.2 cycles, 4e-7 at 0.4; in float64, where rounding hides nothing."""
    with jax.enable_x64(True):
        for cycles, allowed in ((0.05, 1e-14), (0.2, 2e-10), (0.4, 4e-7), (0.45, 2e-6)):
            vector = [jnp.asarray(cycles * part) for part in (0.6, -0.48, 0.64)]
            w, (x, y, z) = bloch_physics.short_rotation(*vector)
            _, (a, b, c) = bloch_physics.rotation(*vector)
            sine, cosine = np.hypot(np.hypot(x, y), z), float(w)
            angle = np.arctan2(sine, cosine) / np.pi
            assert abs(angle - cycles) < allowed
            assert np.array([x, y, z]) / sine == pytest.approx(np.array([a, b, c]) / np.hypot(np.hypot(a, b), c))


def test_split_keeps_what_the_input_has():
    x = GENERATOR.normal(size=1000) * 10.0 ** GENERATOR.uniform(-6, 6, 1000)
    parts = phase.split(x, np.dtype(np.float32))
    assert parts.head.dtype == np.float32
    error = np.abs(parts.head.astype(float) + parts.tail.astype(float) - x) / np.abs(x)
    assert error.max() < 2.0**-35
    assert phase.split(np.zeros(1), np.dtype(np.float32)).head[0] == 0.0


def test_off_resonance_of_an_isochromat_is_its_place_in_the_lorentzian_line():
    """df + tan(pi u) / (2 pi T2'): the mean of exp(-2 pi i f t) over u is exp(-t/T2')."""
    n, t2_prime = 4001, 0.03
    source = spins(n, t1=1.0, t2=0.1, df=12.0, t2_prime=t2_prime, lorentz=(np.arange(n) + 0.5) / n - 0.5)
    df = np.asarray(place_spins(source, np.dtype(float)).df)
    t = 0.02
    assert np.mean(np.exp(-2j * np.pi * (df - 12.0) * t)) == pytest.approx(
        np.exp(-t / t2_prime), abs=20 / n
    )  # the ends of the line


def slice_pulse(shape: RFShape, flip: float, g: float):
    gradient = None if g == 0 else ([0.0, shape.duration], [g, g])
    seq = build([Block(duration=shape.duration, rf=RF(flip=flip, shape=shape, at=shape.center), gz=gradient)])
    return lower(seq)


def magnetisation(program, source, group: int, dtype=np.float64, short: bool = False) -> np.ndarray:
    """From equilibrium through the only pulse (3, spins)."""
    with jax.enable_x64(dtype == np.float64):
        placed = jax.tree.map(jnp.asarray, place_spins(source, np.dtype(dtype)))
        columns = np.asarray(
            pulse_propagator(place_pulse(program, 0, group, np.dtype(dtype)), placed, short), dtype=float
        )
    return columns[2] + columns[3]


@settings(max_examples=12, deadline=None)
@given(
    flip=st.floats(3.0, 180.0), t2=st.floats(5e-3, 0.3), bandwidth=st.floats(0.0, 6.0), seed=st.integers(0, 99),
    tolerance=st.sampled_from([1e-3, 1e-4, 1e-5]),
)  # fmt: skip
def test_relaxation_between_groups_keeps_the_tolerance(flip, t2, bandwidth, seed, tolerance):
    """Of the transverse magnetisation over a slice, for pulses of random envelope that begin and end at zero."""
    g = np.random.default_rng(seed)
    n, dt = 256, 10e-6
    smooth = (np.convolve(g.normal(size=n + 100), np.hanning(101), "valid") + 12) * np.hanning(n)
    samples = (smooth / np.abs(smooth).max()).astype(complex)
    shape = RFShape(edges=np.arange(n + 1) * dt, samples=samples, center=n * dt / 2)
    program = slice_pulse(shape, flip * DEG, bandwidth / (n * dt) / 5e-3)
    position = np.zeros((41, 3))
    position[:, 2] = np.linspace(-5e-3, 5e-3, 41)
    source = spins(position=position, t1=1.0, t2=t2)
    group = relaxation_group(program.waveforms[0], float(program.pulses.amplitude[0]), 1 / t2, tolerance)
    exact, found = (magnetisation(program, source, i) for i in (1, group))
    transverse = np.linalg.norm(exact[:2])
    assert np.linalg.norm(found[:2] - exact[:2]) < tolerance * max(transverse, 0.05 * np.sqrt(41))


def test_a_pulse_without_relaxation_needs_no_groups():
    waveform = slice_pulse(waveforms.block(duration=1 * MS), np.pi, 0.0).waveforms[0]
    assert relaxation_group(waveform, 500.0, 0.0, 1e-9) > relaxation_group(waveform, 500.0, 100.0, 1e-9)


def test_short_angles_equal_the_general_path():
    """Where no interval turns far, the polynomial without a root gives the same pulse."""
    program = slice_pulse(waveforms.sinc(duration=2 * MS, time_bandwidth=4), 120 * DEG, 300e3)
    position = np.zeros((33, 3))
    position[:, 2] = np.linspace(-10e-3, 10e-3, 33)
    source = spins(position=position, t1=0.5, t2=0.05, df=50.0, b1=1.1)
    placed = place_spins(source, np.dtype(np.float32))
    pulse = (program.waveforms[0], float(program.pulses.amplitude[0]), 0.0)
    assert is_short(*pulse, placed, 1e-4)
    assert not is_short(*pulse, place_spins(source, np.dtype(float)), 1e-4)
    exact = magnetisation(program, source, 1)
    for short in (False, True):
        found = magnetisation(program, source, 1, np.float32, short)
        assert np.abs(found - exact).max() < 200 * EPS  # rounding of 200 rotations


def test_spins_far_off_resonance_make_a_pulse_long():
    program = slice_pulse(waveforms.block(duration=1 * MS), np.pi / 2, 0.0)
    placed = place_spins(spins(t1=1.0, t2=0.1, df=[0.0, 60e3]), np.dtype(np.float32))
    assert not is_short(program.waveforms[0], 250.0, 0.0, placed, 1e-4)


def test_padding_of_a_waveform_is_the_identity():
    """Intervals of no length fill up the last group and the last block."""
    program = slice_pulse(waveforms.block(duration=0.57 * MS), np.pi / 2, 0.0)
    source = spins(t1=0.3, t2=0.02, df=[80.0])
    reference = magnetisation(program, source, 1)
    blocks = place_waveform(program.waveforms[0], float(program.pulses.amplitude[0]), 4, np.dtype(float))
    total = sum(float(np.sum(b.dt)) for b in blocks)
    relaxed = sum(float(np.sum(b.relaxation)) for b in blocks)
    assert total == pytest.approx(0.57 * MS)
    assert relaxed == pytest.approx(0.57 * MS)
    assert magnetisation(program, source, 4) == pytest.approx(reference, abs=1e-4)


def test_ideal_pulse_reaches_the_half_open_slice():
    """A box: lower edge inside, upper edge outside, so that neighbouring slices share no spin."""
    rf = RF(flip=90 * DEG, axis=2, thickness=4e-3, position=1e-3)
    program = lower(build([Block(duration=1 * MS, rf=rf)]), "ideal")
    z = np.array([-1.1e-3, -1e-3, 0.0, 2.9e-3, 3e-3])
    position = np.zeros((5, 3))
    position[:, 2] = z
    m = magnetisation(program, spins(position=position), 1)
    assert np.round(m[1], 12).tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]


def test_waveform_type_is_what_the_engine_takes():
    assert isinstance(slice_pulse(waveforms.block(duration=1 * MS), 1.0, 0.0).waveforms[0], Waveform)


def test_a_pulse_that_passes_the_echo_alone_keeps_what_it_mirrors():
    """Against the coefficients of the map: b of M⁺ → a M⁺ + b M⁺* + c Mz, with relaxation in a long pulse."""
    generator = np.random.default_rng(5)
    columns = generator.standard_normal((4, 3, 7))
    m = tuple(generator.standard_normal((3, 7)))
    found = bloch_physics.apply(columns, m)
    x, y = columns[0, 0] + 1j * columns[0, 1], columns[1, 0] + 1j * columns[1, 1]
    mirrored = 0.5 * (x + 1j * y) * (m[0] - 1j * m[1])
    kept = bloch_physics.mirrored(columns, m, found)
    np.testing.assert_allclose(kept[0] + 1j * kept[1], mirrored, rtol=1e-12)
    np.testing.assert_array_equal(kept[2], found[2])
