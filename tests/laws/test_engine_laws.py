"""Laws that the engine keeps whatever the numbers: of its kernels, and of whole runs."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from physics.build import ADC, DEG, MS, RF, Block, build, lobe, spins

from mrisim.encoding.direct import direct_sum
from mrisim.encoding.grouping import group_spins
from mrisim.physics import bloch
from mrisim.physics.phase import Split
from mrisim.program import lower
from mrisim.simulate import _chunks, signal, simulate, trace

EPS = float(np.finfo(np.float64).eps)
cycles = st.floats(-3.0, 3.0, allow_subnormal=False)  # XLA takes subnormal numbers for zero
vectors = st.tuples(cycles, cycles, cycles)
times = st.floats(0.0, 2.0)
rates = st.floats(0.0, 100.0)
few = settings(max_examples=25, deadline=None)


@pytest.fixture(autouse=True, scope="module")
def _double():
    with jax.enable_x64(True):
        yield


def column(values) -> tuple:
    return tuple(jnp.asarray([v], jnp.float64) for v in values)


def turned(m, w):
    return np.array(bloch.rotate(column(m), bloch.rotation(*column(w)))).ravel()


@few
@given(m=vectors, w=vectors)
def test_rotation_preserves_length(m, w):
    length = np.linalg.norm(m)
    assert np.linalg.norm(turned(m, w)) == pytest.approx(length, abs=20 * EPS * length)


@few
@given(m=vectors, w=vectors, v=vectors)
def test_composed_rotation_is_one_after_the_other(m, w, v):
    both = bloch.compose(bloch.rotation(*column(v)), bloch.rotation(*column(w)))
    found = np.array(bloch.rotate(column(m), both)).ravel()
    assert found == pytest.approx(turned(turned(m, w), v), abs=100 * EPS * (1 + np.linalg.norm(m)))


@few
@given(m=vectors, w=vectors, a=st.floats(-1, 1), b=st.floats(-1, 1))
def test_rotations_about_one_axis_add_up(m, w, a, b):
    one = turned(turned(m, np.multiply(a, w)), np.multiply(b, w))
    # the argument of the sine is rounded at its size in cycles
    assert one == pytest.approx(turned(m, np.multiply(a + b, w)), abs=200 * EPS * (1 + np.linalg.norm(m)))


@given(m=vectors)
def test_rotation_by_nothing_is_the_identity_bit_for_bit(m):
    assert turned(m, (0.0, 0.0, 0.0)).tolist() == list(m)


def relaxed(m, tau, r1, r2) -> np.ndarray:
    nothing, (m0, m1) = jnp.zeros((3, 1)), (jax.lax.complex(*column(m[:2])), column(m[2:])[0])
    turn, recovered = bloch.precession(tau, Split(nothing[:, 0], nothing[:, 0]), Split(nothing, nothing), 0.0, r1, r2)
    return np.array([(m0 * turn).real, (m0 * turn).imag, m1 + (1 - m1) * recovered]).ravel()


@few
@given(m=vectors, a=times, b=times, r1=rates, r2=rates)
def test_relaxation_is_a_semigroup(m, a, b, r1, r2):
    twice, once = relaxed(relaxed(m, a, r1, r2), b, r1, r2), relaxed(m, a + b, r1, r2)
    assert twice == pytest.approx(once, abs=1000 * EPS)  # exp of up to 400


@few
@given(m=vectors, a=cycles, b=cycles)
def test_left_handed_turns_add_up(m, a, b):
    twice, once = bloch.turn(bloch.turn(column(m), a), b), bloch.turn(column(m), a + b)
    assert np.array(twice).ravel() == pytest.approx(np.array(once).ravel(), abs=200 * EPS)


@given(w=st.floats(0.01, 0.99))
def test_rotation_is_left_handed(w):
    """dM/dt = gamma M × B: about +x, +z goes to +y."""
    x, y, z = turned((0.0, 0.0, 1.0), (w, 0.0, 0.0))
    assert (x, y, z) == pytest.approx((0.0, np.sin(2 * np.pi * w), np.cos(2 * np.pi * w)), abs=1e-14)


# ---- whole runs ----


def sequence(te: float = 4 * MS, flip: float = 50 * DEG, tr: float = 20 * MS, n: int = 4):
    """Gradient echoes with some of everything: phases, frequency, an oblique readout, two kinds of train."""
    parts = []
    for i in range(n):
        rf = RF(flip=flip, phase=1.1 * i, at=0.3 * MS, frequency=40.0)
        parts += [
            Block(duration=2 * MS, rf=rf, gx=lobe(-30.0, 0.5 * MS, 1 * MS), gy=lobe(11.0 * (i - 1), 0.5 * MS, 1 * MS)),
            Block(duration=te - 2 * MS),
            Block(
                duration=tr - te, gx=lobe(60.0, 0.0, 3 * MS), gz=lobe(9.0, 0.0, 3 * MS),
                adc=ADC(at=0.7 * MS, samples=16, dwell=100e-6, phase=0.4 * i, frequency=130.0 * (i % 2)),
            ),
        ]  # fmt: skip
    return build(parts)


def phantom(n: int = 120, seed: int = 0):  # of one bucket of spins, so that most tests share a compilation
    g = np.random.default_rng(seed)
    t1 = g.uniform(0.1, 2, n)
    return spins(
        position=g.uniform(-0.05, 0.05, (n, 3)), t1=t1, t2=t1 * g.uniform(0.05, 1, n), pd=g.uniform(0, 1, n),
        df=g.uniform(-100, 100, n), b1=g.uniform(0.7, 1.2, n), weight=g.uniform(0.5, 1.5, n),
    )  # fmt: skip


def chosen(source, index):
    columns = {name: getattr(source, name)[index] for name in ("position", "weight", "pd", "t1", "t2", "df", "b1")}
    return spins(**columns)


def run(seq=None, source=None, dtype="float64", **options):
    return simulate(seq or sequence(), source or phantom(), dtype=dtype, **options).signal


def close(a, b, scale: float = 1.0) -> bool:
    """Equal to rounding of sums over hundreds of spins in float64."""
    return bool(np.abs(a - b).max() <= 1e-12 * scale * np.abs(b).max())


def test_signal_is_linear_in_density():
    source = phantom()
    other = replace(source, pd=np.random.default_rng(5).uniform(0, 1, source.n_spins))
    total = replace(source, pd=2.0 * source.pd + other.pd)
    assert close(run(source=total), 2.0 * run(source=source) + run(source=other))


def test_weight_and_density_are_exchangeable():
    source = phantom()
    assert close(run(source=source), run(source=replace(source, pd=source.weight, weight=source.pd)))


def test_order_of_the_spins_does_not_matter():
    source = phantom()
    order = np.random.default_rng(1).permutation(source.n_spins)
    assert close(run(source=chosen(source, order)), run(source=source))


def test_phantom_in_two_parts_adds_up():
    source = phantom()
    parts = [run(source=chosen(source, part)) for part in (slice(0, 47), slice(47, None))]
    assert close(parts[0] + parts[1], run(source=source))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_chunked_equals_unchunked(monkeypatch, dtype):
    source = phantom(300)
    whole = run(source=source, dtype=dtype)
    monkeypatch.setattr(_chunks, "largest_chunk", lambda: 128)
    rounding = {"float64": 1e-12, "float32": 3e-6}[dtype]  # of sums over 300 spins
    assert np.abs(run(source=source, dtype=dtype) - whole).max() < rounding * np.abs(whole).max()


def test_number_of_workers_does_not_change_a_bit(monkeypatch):
    source = phantom(500)
    monkeypatch.setattr(_chunks, "largest_chunk", lambda: 128)
    results = []
    for workers in (1, 3):
        monkeypatch.setattr(_chunks, "worker_count", lambda n=workers: n)
        results.append(run(source=source, dtype="float32"))
    assert np.array_equal(*results)


def lattice_phantom():
    """Spins whose position along the readout repeats: the encoding cannot tell many of them apart."""
    g = np.random.default_rng(3)
    x, y = np.meshgrid(np.arange(8) * 4e-3, np.arange(40) * 3e-3)
    position = np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], axis=1)
    n = len(position)
    return spins(position=position, t1=g.uniform(0.2, 2, n), t2=0.07, pd=g.uniform(0, 1, n), b1=g.uniform(0.7, 1.2, n))


@pytest.mark.parametrize("grouped", [False, True])
def test_every_encoding_equals_direct_summation(grouped):
    start = (0.3, -0.8, 0.1)
    adc = ADC(at=1.3 * MS, samples=30, dwell=70e-6)
    seq = build([Block(duration=5 * MS, gx=lobe(55.0, 0.2 * MS, 4.5 * MS), adc=adc)])
    source = lattice_phantom() if grouped else phantom()
    assert (group_spins(lower(seq), source, 1e-4) is not None) == grouped
    k, t = seq.kspace()
    m = (start[0] + 1j * start[1]) * source.weight * source.pd
    expected = direct_sum(m, k, t, source.position, source.df, 1 / source.t2)
    assert close(run(seq, source, initial=start)[0], expected, 10)


def test_grouping_does_not_change_the_signal():
    """Against coils, which switch it off."""
    source = lattice_phantom()
    assert group_spins(lower(sequence()), source, 1e-4) is not None
    alone = run(source=source, coils=np.ones((1, source.n_spins)))
    assert close(run(source=source), alone, 10)


def test_trace_equals_the_samples():
    seq, source = sequence(), phantom(7)
    raw = simulate(seq, source, dtype="float64", tolerance=1e-12)
    m = trace(seq, source, raw.time)
    rows = np.repeat(np.arange(len(raw.readouts)), raw.readouts.count)
    event = seq.blocks.adc[seq.blocks.adc >= 0][rows]
    within = np.arange(len(rows)) - raw.readouts.start[rows]
    receiver = seq.adc.phase[event] - 2 * np.pi * seq.adc.frequency[event] * (within + 0.5) * seq.adc.dwell[event]
    expected = (m[:, :, 0] + 1j * m[:, :, 1]) @ (source.weight * source.pd) * np.exp(-1j * receiver)
    assert close(raw.signal[0], expected, 10)


def test_cuts_do_not_change_the_signal():
    seq, source = sequence(), phantom(9)
    cuts = np.array([1.1e-3, 5.0e-3, 21.37e-3, 25.1e-3, 60e-3])  # a cut inside a pulse would move its relaxation
    plain = np.asarray(signal(lower(seq), source, dtype="float64"))
    assert close(np.asarray(signal(lower(seq, cuts=cuts), source, dtype="float64")), plain, 10)


def test_pure_signal_equals_simulate():
    seq, source = sequence(), phantom(9)
    assert close(np.asarray(signal(lower(seq), source, dtype="float64")), run(seq, source, tolerance=1e-12), 10)


def test_coils_are_linear():
    source = phantom(50)
    g = np.random.default_rng(2)
    a, b = g.normal(size=(2, 50)) + 1j * g.normal(size=(2, 50))
    both = run(source=source, coils=np.stack([a, b, 2 * a - 1j * b]))
    assert close(both[2], 2 * both[0] - 1j * both[1])
    each = run(source=source, coils=np.eye(50))
    assert close(both[0], a @ each)


def test_start_is_where_a_run_before_ended():
    """Two runs, the second from the magnetisation that the first left, are one run of both."""
    seq, source = sequence(), phantom(6)
    twice = build([*parts_of(2), *parts_of(2)])
    half = build(parts_of(2))
    end = trace(half, source, [half.duration])[0]
    second = run(half, source, initial=end, tolerance=1e-12)
    assert close(second[0], run(twice, source, tolerance=1e-12)[0, second.shape[1] :], 100)
    assert seq.duration == pytest.approx(2 * half.duration)


def parts_of(n: int):
    return [
        Block(
            duration=20 * MS,
            rf=RF(flip=0.9, phase=0.3 * i),
            gx=lobe(20.0, 1 * MS, 5 * MS),
            adc=ADC(at=2 * MS, samples=9, dwell=1e-4),
        )
        for i in range(n)
    ]


def test_precisions_follow_each_other_without_a_switch():
    with jax.enable_x64(False):
        before = jax.config.jax_enable_x64
        single, double, again = (run(dtype=d) for d in ("float32", "float64", "float32"))
        assert jax.config.jax_enable_x64 == before
        assert jnp.ones(1).dtype == jnp.float32
    assert (single.dtype, double.dtype) == (np.complex64, np.complex128)
    assert np.array_equal(single, again)
    assert 1e-9 < np.abs(single - double).max() / np.abs(double).max() < 1e-5


@pytest.mark.slow
def test_derivatives_equal_finite_differences():
    """Of a real number made from the samples, by the scale of nine things, in float64."""
    seq, source = sequence(n=2), phantom(5)
    program = lower(seq)
    weights = np.random.default_rng(4).normal(size=(2, program.n_samples))
    tissue = ("t1", "t2", "df", "b1", "position")
    names = ("flip", "frequency", "phase", "moment", *tissue)

    def value(scale):
        x = dict(zip(names, scale, strict=True))
        pulses = replace(
            program.pulses,
            amplitude=program.pulses.amplitude * x["flip"],
            frequency=program.pulses.frequency * x["frequency"],
        )
        steps = replace(
            program.steps, moment=program.steps.moment * x["moment"], phase=program.steps.phase * x["phase"]
        )
        changed = replace(source, **{name: getattr(source, name) * x[name] for name in tissue})
        s = signal(replace(program, pulses=pulses, steps=steps), changed, dtype="float64")[0]
        return jnp.sum(s.real * weights[0] + s.imag * weights[1])

    step = 1e-5 * np.eye(len(names))
    slopes = np.array([float(value(1 + d) - value(1 - d)) for d in step]) / 2e-5
    assert (np.abs(slopes) > 1e-4).all()
    assert np.asarray(jax.grad(value)(jnp.ones(len(names)))) == pytest.approx(slopes, rel=1e-5)  # of the differences


@pytest.mark.parametrize("name", ["t2", "b1"])
def test_one_column_of_a_phantom_can_be_differentiated_alone(name):
    """The other columns stay arrays of the host."""
    source, program = phantom(5), lower(sequence(n=1))

    def value(column):
        return jnp.sum(jnp.abs(signal(program, replace(source, **{name: column}), dtype="float64")))

    gradient = np.asarray(jax.grad(value)(jnp.asarray(getattr(source, name))))
    assert gradient.shape == (5,)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0
