"""Shaped pulses: against the Fourier transform at small flip angles and against direct integration at large ones."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from physics.build import DEG, MS, RF, Block, build, lobe, spins
from physics.kernel import through_pulse
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from mrisim.events.blocks import RFShape, Use
from mrisim.program import lower
from mrisim.sequence import waveforms
from mrisim.simulate import trace

SINC = waveforms.sinc(duration=2 * MS, time_bandwidth=4, window="hann")


def played(shape: RFShape, g: float = 0.0, **rf):
    """A pulse under a constant gradient along z, which is on for just the pulse [Hz/m]."""
    gradient = None if g == 0 else (np.array([0.0, shape.duration]), np.array([g, g]))
    return build([Block(duration=shape.duration, rf=RF(at=shape.center, shape=shape, **rf), gz=gradient)])


def after(seq, phantom, **options) -> np.ndarray:
    """Magnetisation at the end of a sequence (spins, 3)."""
    return trace(seq, phantom, [seq.duration], **options)[0]


def field(seq, spin: int, phantom, t: float) -> np.ndarray:
    """Field in Hz of a sequence of one pulse: (b1 x, b1 y, offset)."""
    shape, rf = seq.rf_shapes[0], seq.rf
    sample = shape.samples[min(np.searchsorted(shape.edges, t, side="right") - 1, len(shape.samples) - 1)]
    turn = rf.phase[0] - 2 * np.pi * rf.frequency[0] * (t - shape.center)
    b1 = phantom.b1[spin] * rf.amplitude[0] * sample * np.exp(1j * turn)
    g = seq.gradients.amplitude[0] if len(seq.gradients.amplitude) else 0.0
    return np.array([b1.real, b1.imag, phantom.df[spin] + g * phantom.position[spin, 2]])


def integrated(seq, phantom, spin: int) -> np.ndarray:
    """dM/dt = 2 pi M × (b1, df) - relaxation, by an adaptive Runge-Kutta method between the edges of the shape."""
    r1, r2 = 1 / phantom.t1[spin], 1 / phantom.t2[spin]

    def slope(middle, t, m):
        b = 2 * np.pi * field(seq, spin, phantom, np.clip(t, middle[0], middle[1]))
        return np.cross(m, b) - np.array([r2 * m[0], r2 * m[1], r1 * (m[2] - 1)])

    m, edges = np.array([0.0, 0.0, 1.0]), seq.rf_shapes[0].edges
    for a, b in pairwise(edges):
        inside = (a + 1e-9 * (b - a), b - 1e-9 * (b - a))
        m = solve_ivp(partial(slope, inside), (a, b), m, method="DOP853", rtol=1e-10, atol=1e-12).y[:, -1]
    return m


def splitting_error(seq, phantom) -> float:
    """Bound for relaxation R split off from a rotation B + Z (transmit field, offset) over intervals of length h.

    It is [B + Z, [B + Z, R]] / 24, and R commutes with Z: h R2 theta_B (theta_B + theta_Z) / 24 for each interval.
    """
    waveform = lower(seq).waveforms[0]
    turns = 2 * np.pi * np.abs(waveform.area) * seq.rf.amplitude[0] * phantom.b1.max()
    offsets = np.abs(waveform.moment @ phantom.position.T + waveform.dt[:, None] * phantom.df).max(axis=1)
    return float(np.sum(waveform.dt * turns * (turns + 2 * np.pi * offsets)) / phantom.t2.min() / 24)


SLR = waveforms.slr(duration=2 * MS, time_bandwidth=4, flip=np.pi / 2, use="excitation")


def test_small_flip_profile_is_the_fourier_transform():
    """M+ after the pulse is 2 pi i times the transform of b1; the next term is of third order in the flip angle."""
    flip = 2 * DEG
    z = np.linspace(-12e-3, 12e-3, 121)
    seq = played(SINC, g=400e3, flip=flip)
    position = np.zeros((len(z), 3))
    position[:, 2] = z
    m = after(seq, spins(position=position, t1=np.inf, t2=np.inf))
    f = 400e3 * z[:, None]
    edges, amplitude = SINC.edges, seq.rf.amplitude[0]
    turn = np.exp(2j * np.pi * f * edges)  # integrated exactly over each interval of constant field
    pieces = np.where(f == 0, np.diff(edges), np.diff(turn, axis=1) / (2j * np.pi * np.where(f == 0, 1.0, f)))
    expected = 2j * np.pi * amplitude * (pieces @ SINC.samples) * np.exp(-2j * np.pi * f[:, 0] * edges[-1])
    assert np.abs(m[:, 0] + 1j * m[:, 1] - expected).max() < flip**3


@pytest.mark.parametrize(
    ("shape", "flip"),
    [(SINC, 90 * DEG), (SINC, 180 * DEG), (SLR, 90 * DEG)],
    ids=["sinc 90", "sinc 180", "SLR 90"],
)
def test_large_flips_equal_direct_integration(shape, flip):
    """Off-resonant, under a gradient, with an imperfect transmit field, fast relaxation and a frequency offset."""
    position = np.array([[0.0, 0.0, 0.7e-3], [0.0, 0.0, -2.1e-3], [0.0, 0.0, 1.9e-3]])
    phantom = spins(
        position=position, t1=[0.04, 0.3, 1.0], t2=[0.011, 0.04, 0.05], df=[37.0, -80.0, 0.0], b1=[0.83, 1.17, 1.0]
    )
    seq = played(shape, g=400e3, flip=flip, phase=0.4, frequency=150.0)
    found = after(seq, phantom)
    for spin in range(3):
        error = np.abs(found[spin] - integrated(seq, phantom, spin)).max()
        assert error < splitting_error(seq, phantom) < 5e-5


def test_magnetisation_passes_through_the_axis_inside_a_pulse():
    """A turn of 540 degrees: Mxy is zero twice inside the pulse, where cylindrical coordinates break."""
    shape = waveforms.block(duration=1 * MS)
    seq, phantom = played(shape, flip=540 * DEG, phase=0.3), spins(t1=0.5, t2=0.02, df=20.0)
    times = np.linspace(0, shape.duration, 25)
    m = trace(seq, phantom, times)[:, 0]
    generator = np.zeros((4, 4))  # of (M, 1), homogeneous
    b = 2 * np.pi * field(seq, 0, phantom, 0.5 * MS)
    generator[:3, :3] = [[-1 / 0.02, b[2], -b[1]], [-b[2], -1 / 0.02, b[0]], [b[1], -b[0], -1 / 0.5]]
    generator[2, 3] = 1 / 0.5
    exact = np.array([(expm(generator * t) @ [0, 0, 1, 1])[:3] for t in times])
    assert np.min(np.hypot(exact[4:20, 0], exact[4:20, 1])) < 0.1
    assert np.abs(m - exact).max() < splitting_error(seq, phantom) < 5e-5


def test_order_of_the_relaxation_splitting_is_two():
    shape = waveforms.block(duration=2.56 * MS)
    seq = played(shape, flip=150 * DEG)
    waveform = lower(seq).waveforms[0]
    assert len(waveform.dt) == 256
    phantom = spins(t1=0.05, t2=0.01, df=70.0)
    b = 2 * np.pi * field(seq, 0, phantom, 1 * MS)
    generator = np.zeros((4, 4))
    generator[:3, :3] = [[-100.0, b[2], -b[1]], [-b[2], -100.0, b[0]], [b[1], -b[0], -20.0]]
    generator[2, 3] = 20.0
    exact = (expm(generator * shape.duration) @ [0, 0, 1, 1])[:3]
    groups = [2, 8, 32]
    errors = [np.linalg.norm(through_pulse(waveform, seq.rf.amplitude[0], phantom, g)[0] - exact) for g in groups]
    order = np.polyfit(np.log(groups), np.log(errors), 1)[0]
    assert abs(order - 2) < 0.1


def test_hyperbolic_secant_inverts_over_its_band_whatever_the_transmit_field():
    shape = waveforms.hyperbolic_secant(duration=15 * MS, mu=4)
    amplitude = waveforms.adiabatic_amplitude(shape, factor=2.0)
    df = np.linspace(-0.25, 0.25, 9) * shape.bandwidth
    b1 = np.array([0.75, 1.0, 1.5])
    phantom = spins(t1=np.inf, t2=np.inf, df=np.tile(df, 3), b1=np.repeat(b1, 9))
    rf = {"flip": 180 * DEG, "amplitude": amplitude, "use": Use.INVERSION}
    assert after(played(shape, **rf), phantom)[:, 2].max() < -0.98
    outside = after(played(shape, **rf), spins(t1=np.inf, t2=np.inf, df=np.array([-1.5, 1.5]) * shape.bandwidth))
    assert outside[:, 2].min() > 0.98


def test_hyperbolic_secant_sweeps_from_negative_to_positive():
    """Spins that precess slower are inverted earlier."""
    shape = waveforms.hyperbolic_secant(duration=15 * MS, mu=4)
    df = np.array([-0.3, -0.1, 0.1, 0.3]) * shape.bandwidth
    seq = played(shape, flip=180 * DEG, amplitude=waveforms.adiabatic_amplitude(shape), use=Use.INVERSION)
    times = np.linspace(0, shape.duration, 151)
    mz = trace(seq, spins(t1=np.inf, t2=np.inf, df=df), times)[:, :, 2]
    last = np.argmax(mz < 0, axis=0)
    below, above = mz[last, range(4)], mz[last - 1, range(4)]
    crossing = times[last] - (times[1] - times[0]) * below / (below - above)
    assert (np.diff(crossing) > 0).all()
    sweep = shape.bandwidth / 2 * np.tanh(2 * np.arccosh(100.0) * (crossing / shape.duration - 0.5))
    assert sweep == pytest.approx(df, abs=0.1 * shape.bandwidth)  # where the sweep meets the spin


def test_gradient_outside_the_pulse_belongs_to_the_precession():
    """A selective pulse with ramps and rephaser, played in one block: as the same field in three pieces."""
    z = np.array([[0.0, 0.0, -1e-3], [0.0, 0.0, 2.3e-3]])
    ramp, flat = 0.2 * MS, SINC.duration
    g = 300e3
    whole = (np.array([0, ramp, ramp + flat, 2 * ramp + flat]), np.array([0, g, g, 0]))
    rf = {"flip": 70 * DEG, "shape": SINC}
    one = build([
        Block(duration=2 * ramp + flat, rf=RF(at=ramp + SINC.center, **rf), gz=whole),
        Block(duration=1 * MS, gz=lobe(-g * (flat + ramp) / 2, 0.0, 1 * MS)),
    ])  # fmt: skip
    phantom = spins(position=z, t1=0.5, t2=0.06, df=20.0)
    m = after(one, phantom)
    parts = after(played(SINC, g=g, flip=70 * DEG), spins(position=z, t1=np.inf, t2=np.inf, df=20.0))
    mxy = (parts[:, 0] + 1j * parts[:, 1]) * np.exp(-2j * np.pi * (g * ramp / 2 - g * (flat + ramp) / 2) * z[:, 2])
    mxy = mxy * np.exp(-2j * np.pi * 20.0 * (ramp + 1 * MS))
    decay = np.abs(m[:, 0] + 1j * m[:, 1]) / np.abs(mxy)
    assert ((decay > np.exp(-one.duration / 0.06)) & (decay < np.exp(-(ramp + 1 * MS) / 0.06))).all()
    assert np.angle((m[:, 0] + 1j * m[:, 1]) / mxy) == pytest.approx(0.0, abs=0.01)  # relaxation in the pulse


def test_propagator_turned_by_a_phase_equals_the_pulse_with_that_phase():
    """A → Rz(phi) A Rz(-phi), b → Rz(phi) b, relaxation and gradients included."""
    phantom = spins(position=np.array([[0.0, 0.0, 1.1e-3]]), t1=0.05, t2=0.01, df=33.0)
    start = (0.3, -0.5, 0.4)
    phase = 1.234
    turned = after(played(SINC, g=200e3, flip=120 * DEG, phase=phase), phantom, initial=start)[0]
    rotated = (start[0] + 1j * start[1]) * np.exp(-1j * phase)
    plain = after(played(SINC, g=200e3, flip=120 * DEG), phantom, initial=(rotated.real, rotated.imag, start[2]))[0]
    back = (plain[0] + 1j * plain[1]) * np.exp(1j * phase)
    assert turned == pytest.approx([back.real, back.imag, plain[2]], abs=1e-12)
