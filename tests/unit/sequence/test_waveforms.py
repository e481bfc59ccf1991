"""RF shapes against a Bloch integrator that shares no code with the package."""

import math

import numpy as np
import pytest

from mrisim.errors import SpecError
from mrisim.sequence import waveforms
from mrisim.sequence.waveforms import adiabatic_amplitude, adiabatic_threshold, amplitude_for_flip

DEG = math.pi / 180
EPS = np.finfo(float).eps


def bloch(shape, amplitude, df, scale=1.0, m0=(0.0, 0.0, 1.0)):
    """Magnetisation (frequencies, 3) after a pulse: dM/dt = gamma M x B, an exact rotation in each sample."""
    df = np.atleast_1d(np.asarray(df, dtype=float))
    m = np.tile(np.asarray(m0, dtype=float), (len(df), 1))
    for b1, dt in zip(shape.samples * amplitude * scale, np.diff(shape.edges), strict=True):
        w = -2 * np.pi * dt * np.stack([np.full_like(df, b1.real), np.full_like(df, b1.imag), df], axis=1)
        angle = np.linalg.norm(w, axis=1, keepdims=True)
        axis = w / np.where(angle > 0, angle, 1.0)
        along = np.sum(axis * m, axis=1, keepdims=True) * axis
        m = np.cos(angle) * m + np.sin(angle) * np.cross(axis, m) + (1 - np.cos(angle)) * along
    return m


def refocused(shape, amplitude, df):
    """|beta|^2 (frequencies,): what crushers leave of a spin echo, from the fate of M along x and along y.

    M+ after the pulse is conj(alpha)^2 M+ - beta^2 conj(M+), so (M+(x) + i M+(y)) / 2 is the part from conj(M+).
    """
    along_x = bloch(shape, amplitude, df, m0=(1.0, 0.0, 0.0))
    along_y = bloch(shape, amplitude, df, m0=(0.0, 1.0, 0.0))
    x, y = along_x[:, 0] + 1j * along_x[:, 1], along_y[:, 0] + 1j * along_y[:, 1]
    return np.abs(x + 1j * y) / 2


def full_width(f, value):
    """Width between the outermost crossings of half of the maximum."""
    half = value.max() / 2
    over = np.flatnonzero(value >= half)
    i, j = over[0], over[-1]
    low = f[i - 1] + (half - value[i - 1]) / (value[i] - value[i - 1]) * (f[i] - f[i - 1])
    high = f[j] + (half - value[j]) / (value[j + 1] - value[j]) * (f[j + 1] - f[j])
    return high - low


def transverse(m):
    return np.hypot(m[:, 0], m[:, 1])


SMALL_TIP = {
    "block": waveforms.block(duration=1e-3),
    "sinc": waveforms.sinc(duration=2e-3, time_bandwidth=4),
    "sinc hann": waveforms.sinc(duration=2e-3, time_bandwidth=6, window="hann"),
    "sinc hamming": waveforms.sinc(duration=3e-3, time_bandwidth=8, window="hamming"),
    "gauss": waveforms.gauss(duration=4e-3, time_bandwidth=3),
    "slr": waveforms.slr(duration=3e-3, time_bandwidth=6, flip=10 * DEG, use="small_tip"),
}
REAL = SMALL_TIP | {
    "slr excitation": waveforms.slr(duration=3e-3, time_bandwidth=4, flip=90 * DEG),
    "slr refocusing": waveforms.slr(duration=3e-3, time_bandwidth=4, flip=180 * DEG, use="refocusing"),
}


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("flip", [13 * DEG, 90 * DEG, 171 * DEG])
def test_flip_angle_on_resonance(name, flip):
    shape = REAL[name]
    m = bloch(shape, amplitude_for_flip(shape, flip), 0.0)[0]
    expected = [0.0, math.sin(flip), math.cos(flip)]  # phase 0 takes +z to +y
    np.testing.assert_allclose(m, expected, atol=8 * EPS * len(shape.samples))  # rounding of n rotations


@pytest.mark.parametrize("name", SMALL_TIP)
def test_bandwidth_is_the_width_of_the_small_tip_profile(name):
    shape = SMALL_TIP[name]
    f = np.linspace(-3.0, 3.0, 2001) * shape.bandwidth
    profile = transverse(bloch(shape, amplitude_for_flip(shape, 3 * DEG), f))
    assert full_width(f, profile) == pytest.approx(shape.bandwidth, rel=2e-3)  # 3 deg: nonlinear terms of (flip)^2


def test_block_width_is_that_of_a_sinc():
    # half maximum of sin(x)/x at x = 1.895494
    assert waveforms.block(duration=2e-3).bandwidth == pytest.approx(2 * 1.8954942670 / (math.pi * 2e-3), rel=1e-4)


def test_gauss_width_is_its_time_bandwidth():
    shape = waveforms.gauss(duration=8e-3, time_bandwidth=6)  # ends at exp(-44): truncation does not show
    assert shape.bandwidth == pytest.approx(6 / 8e-3, rel=1e-3)


@pytest.mark.parametrize("name", SMALL_TIP)
@pytest.mark.parametrize("flip", [5 * DEG, 30 * DEG])
def test_small_tip_profile_is_the_fourier_transform(name, flip):
    shape = SMALL_TIP[name]
    amplitude = amplitude_for_flip(shape, flip)
    f = np.linspace(-1.5, 1.5, 301) * shape.bandwidth
    t = 0.5 * (shape.edges[1:] + shape.edges[:-1])
    step = np.diff(shape.edges)
    b1 = amplitude * shape.samples
    if len(step) == 1:  # a block has no fine samples
        integral = b1[0] * step[0] * np.sinc(f * step[0])
    else:
        integral = np.exp(2j * np.pi * f[:, None] * t) @ (b1 * step)
    linear = 2 * np.pi * np.abs(integral)
    profile = transverse(bloch(shape, amplitude, f))
    # the next order is the third, with a factor below 1/10 for these shapes: 1.4 % at 30 deg
    assert np.abs(profile - np.sin(linear)).max() < flip**3 / 10


@pytest.mark.parametrize(("flip", "time_bandwidth"), [(90, 4), (90, 8), (60, 6), (30, 4)])
def test_slr_excitation_ripples_and_width(flip, time_bandwidth):
    shape = waveforms.slr(duration=3e-3, time_bandwidth=time_bandwidth, flip=flip * DEG)
    f = np.linspace(-4.0, 4.0, 4001) * shape.bandwidth
    profile = transverse(bloch(shape, amplitude_for_flip(shape, flip * DEG), f))
    nominal = math.sin(flip * DEG)
    assert full_width(f, profile) == pytest.approx(shape.bandwidth, rel=5e-3)
    assert shape.bandwidth * 3e-3 == pytest.approx(time_bandwidth, rel=0.06)  # |Mxy| is not B
    _, outside = np.abs(f) < 0.3 * shape.bandwidth, np.abs(f) > shape.bandwidth
    assert profile[outside].max() < 0.01 * 1.05  # design ripple; hard pulses stand for samples of 10 us
    assert np.abs(profile[np.abs(f) < 0.2 * shape.bandwidth] / nominal - 1).max() < 0.01 * 1.05


def test_slr_ripples_follow_the_request():
    fine = waveforms.slr(duration=4e-3, time_bandwidth=8, flip=90 * DEG, stopband_ripple=0.002)
    f = np.linspace(1.0, 4.0, 1501) * fine.bandwidth
    assert transverse(bloch(fine, amplitude_for_flip(fine, 90 * DEG), f)).max() < 0.0021


@pytest.mark.parametrize(("flip", "time_bandwidth"), [(180, 4), (180, 8), (150, 4), (120, 6)])
def test_slr_refocusing_is_flat_in_the_slice(flip, time_bandwidth):
    shape = waveforms.slr(duration=4e-3, time_bandwidth=time_bandwidth, flip=flip * DEG, use="refocusing")
    f = np.linspace(-4.0, 4.0, 2001) * shape.bandwidth
    echo = refocused(shape, amplitude_for_flip(shape, flip * DEG), f)
    nominal = math.sin(flip / 2 * DEG) ** 2
    assert echo[1000] == pytest.approx(nominal, abs=1e-9)
    assert full_width(f, echo) == pytest.approx(shape.bandwidth, rel=5e-3)
    assert echo[np.abs(f) < 0.2 * shape.bandwidth].min() > nominal * (1 - 0.01 * 1.05)
    assert echo.max() < nominal * (1 + 1e-3)
    assert echo[np.abs(f) > shape.bandwidth].max() < 0.01 * 1.05


def test_slr_inversion_profile():
    shape = waveforms.slr(duration=5e-3, time_bandwidth=8, flip=180 * DEG, use="inversion")
    f = np.linspace(-4.0, 4.0, 2001) * shape.bandwidth
    mz = bloch(shape, amplitude_for_flip(shape, 180 * DEG), f)[:, 2]
    assert mz[np.abs(f) < 0.3 * shape.bandwidth].max() < -1 + 0.01 * 1.05
    assert mz[np.abs(f) > shape.bandwidth].min() > 1 - 0.01 * 1.05
    assert full_width(f, 1 - mz) == pytest.approx(shape.bandwidth, rel=5e-3)


def test_slr_saturation_profile():
    shape = waveforms.slr(duration=5e-3, time_bandwidth=8, flip=90 * DEG, use="saturation")
    f = np.linspace(-4.0, 4.0, 2001) * shape.bandwidth
    mz = bloch(shape, amplitude_for_flip(shape, 90 * DEG), f)[:, 2]
    assert np.abs(mz[np.abs(f) < 0.3 * shape.bandwidth]).max() < 0.01 * 1.05
    assert mz[np.abs(f) > shape.bandwidth].min() > 1 - 0.01 * 1.05


def test_slr_is_not_linear_in_the_flip_angle():
    small = waveforms.slr(duration=3e-3, time_bandwidth=4, flip=5 * DEG)
    large = waveforms.slr(duration=3e-3, time_bandwidth=4, flip=90 * DEG)
    assert np.abs(small.samples - large.samples).max() > 0.02


def test_slr_center_is_the_focus_of_the_slice():
    shape = waveforms.slr(duration=3e-3, time_bandwidth=4, flip=90 * DEG)
    f = np.linspace(-0.4, 0.4, 81) * shape.bandwidth
    m = bloch(shape, amplitude_for_flip(shape, 90 * DEG), f)
    rewound = (m[:, 0] + 1j * m[:, 1]) * np.exp(2j * np.pi * f * (shape.duration - shape.center))
    slope = np.polyfit(f, np.unwrap(np.angle(rewound)), 1)[0] / (2 * np.pi)
    assert abs(slope) < 6e-6  # half of the 10 us that the center is rounded to, and 1 us of the fit


@pytest.mark.parametrize("mu", [3.0, 4.0, 6.0])
@pytest.mark.parametrize("b1", [0.5, 0.7, 1.0, 1.25, 1.5])
def test_hyperbolic_secant_inverts_over_half_the_transmit_field(mu, b1):
    shape = waveforms.hyperbolic_secant(duration=12e-3, mu=mu)
    f = np.array([-0.1, 0.0, 0.1]) * shape.bandwidth
    assert bloch(shape, adiabatic_amplitude(shape), f, scale=b1)[:, 2].max() < -0.98


def test_hyperbolic_secant_fails_well_below_its_threshold():
    shape = waveforms.hyperbolic_secant(duration=12e-3, mu=5.0)
    assert bloch(shape, 0.5 * adiabatic_threshold(shape), 0.0)[0, 2] > -0.9


@pytest.mark.parametrize("bandwidth", [900.0, 1500.0])
def test_hyperbolic_secant_bandwidth(bandwidth):
    shape = waveforms.hyperbolic_secant(duration=12e-3, bandwidth=bandwidth)
    f = np.linspace(-1.5, 1.5, 601) * bandwidth
    inverted = (1 - bloch(shape, adiabatic_amplitude(shape), f)[:, 2]) / 2
    assert shape.bandwidth == pytest.approx(bandwidth)
    assert full_width(f, inverted) == pytest.approx(bandwidth, rel=0.02)


def test_hyperbolic_secant_sweeps_from_negative_to_positive():
    """A spin at -f is inverted in the first half, one at +f in the second."""
    shape = waveforms.hyperbolic_secant(duration=12e-3, mu=5.0)
    n = len(shape.samples) // 2
    half = waveforms.from_samples(
        magnitude=np.abs(shape.samples[:n]), phase=np.angle(shape.samples[:n]), edges=shape.edges[: n + 1]
    )
    mz = bloch(
        half,
        adiabatic_amplitude(shape) * np.abs(shape.samples[:n]).max(),
        [-0.35 * shape.bandwidth, 0.35 * shape.bandwidth],
    )
    assert mz[0, 2] < -0.3  # along the effective field, which is past the transverse plane
    assert mz[1, 2] > 0.3


def test_hyperbolic_secant_samples_follow_the_phase():
    shape = waveforms.hyperbolic_secant(duration=10e-3, mu=12.0, beta=3000.0)
    assert np.abs(np.angle(shape.samples[1:] * shape.samples[:-1].conj())).max() < 0.2


@pytest.mark.parametrize(
    ("duration", "samples"), [(1e-3, 100), (2e-3, 200), (2.56e-3, 256), (0.5e-3, 100), (0.25e-3, 125), (1.003e-3, 1003)]
)
def test_default_dwell(duration, samples):
    shape = waveforms.sinc(duration=duration, time_bandwidth=4)
    assert len(shape.samples) == samples
    assert shape.duration == duration


def test_a_long_pulse_has_longer_samples():
    assert len(waveforms.gauss(duration=0.1, time_bandwidth=4).samples) == 10_000
    assert len(waveforms.gauss(duration=2.0, time_bandwidth=4).samples) == 20_000
    assert waveforms.gauss(duration=2.0, time_bandwidth=4).bandwidth == pytest.approx(2.0, rel=0.02)


def test_bandwidth_of_uneven_samples_is_that_of_even_ones():
    even = waveforms.sinc(duration=2e-3, time_bandwidth=5, window="hann", dwell=10e-6)
    edges = np.delete(even.edges, [37, 90])  # samples 36 and 89 are joined with the ones after them
    joined = np.delete(even.samples, [37, 90])
    uneven = waveforms.from_samples(magnitude=np.abs(joined), phase=np.angle(joined), edges=edges)
    assert uneven.bandwidth == pytest.approx(even.bandwidth, rel=5e-3)


def test_samples_are_scaled_and_centred():
    shape = waveforms.from_samples(magnitude=[1.0, -4.0, 2.0], phase=[0.0, 0.5, 0.0], edges=[0.0, 1e-3, 2e-3, 5e-3])
    np.testing.assert_allclose(shape.samples, [0.25, -np.exp(0.5j), 0.5])
    assert shape.center == pytest.approx(1.5e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: waveforms.sinc(duration=0.0, time_bandwidth=4), "duration must be positive, but is 0."),
        (
            lambda: waveforms.sinc(duration=1.0004e-3, time_bandwidth=4),
            "duration must be a multiple of 1 us, but is 1.0004 ms. Set 1 ms, or give a dwell time.",
        ),
        (
            lambda: waveforms.sinc(duration=1e-3, time_bandwidth=4, dwell=3e-6),
            "duration must be a multiple of its dwell 3 us, but is 1 ms. Set 999 us.",
        ),
        (
            lambda: waveforms.gauss(duration=1e-3, time_bandwidth=4, window="kaiser"),
            "window must be one of none, hann, hamming, but is 'kaiser'.",
        ),
        (
            lambda: waveforms.sinc(duration=1e-3, time_bandwidth=4, center=1.5),
            "center must lie between 0 and 1, as a fraction of the duration, but is 1.5.",
        ),
        (
            lambda: waveforms.slr(duration=1e-3, time_bandwidth=4, flip=4.0),
            "flip must lie between 0 and 180 deg, but is 229.183 deg.",
        ),
        (
            lambda: waveforms.slr(duration=1e-3, time_bandwidth=4, flip=1.0, use="mapping"),
            "use must be one of excitation, small_tip, refocusing, inversion, saturation, but is 'mapping'.",
        ),
        (
            lambda: waveforms.slr(duration=1e-3, time_bandwidth=1, flip=180 * DEG, use="refocusing"),
            (
                "time_bandwidth must be larger for ripples this small, but is 1. "
                "Raise time_bandwidth, or passband_ripple and stopband_ripple."
            ),
        ),
        (
            lambda: waveforms.slr(duration=1e-3, time_bandwidth=40, flip=1.0),
            "time_bandwidth must lie between 1 and 25, but is 40.",
        ),
        (
            lambda: waveforms.slr(duration=1e-3, time_bandwidth=4, flip=1.0, stopband_ripple=0.0),
            "stopband_ripple must lie between 1e-05 and 0.5, but is 0.",
        ),
        (
            lambda: waveforms.slr(duration=79.957e-3, time_bandwidth=4, flip=1.0),
            "must have at most 20000 samples, but has 79957. Choose a rounder duration or a longer dwell time.",
        ),
        (
            lambda: waveforms.gauss(duration=2e-6, time_bandwidth=90),
            "must have a sample inside its lobe, but has none. Lower time_bandwidth or the dwell time.",
        ),
        (
            lambda: waveforms.hyperbolic_secant(duration=1e-2, bandwidth=1e3, mu=5.0),
            "must have either bandwidth or mu, but has both. Leave one of them out.",
        ),
        (
            lambda: waveforms.from_samples(magnitude=[0.0, 0.0], dwell=1e-6),
            "samples must be finite and not all zero, but are not.",
        ),
        (
            lambda: amplitude_for_flip(waveforms.from_samples(magnitude=[1.0, -1.0], dwell=1e-3), 1.0),
            (
                "must have a net area to be scaled to a flip angle, but has none. "
                "Give the amplitude of the pulse in place of its flip angle."
            ),
        ),
        (
            lambda: adiabatic_threshold(waveforms.sinc(duration=1e-3, time_bandwidth=4)),
            "must sweep its frequency to be adiabatic, but does not. Give the flip angle of the pulse.",
        ),
    ],
)
def test_bad_input_is_refused_with_its_remedy(make, message):
    with pytest.raises(SpecError) as caught:
        make()
    assert str(caught.value) == message


def test_fermi_is_flat_with_soft_edges():
    """Area and energy of a Fermi function are 2 t0 and 2 (t0 - edge), but for its cut tails."""
    edge, duration = 0.2e-3, 8e-3
    plateau = duration / 2 - math.log(1e3) * edge
    shape = waveforms.fermi(duration=duration, edge=edge)
    dt = np.diff(shape.edges)
    assert np.sum(shape.samples.real * dt) == pytest.approx(2 * plateau, rel=1e-3)
    assert np.sum(shape.samples.real**2 * dt) == pytest.approx(2 * (plateau - edge), rel=1e-3)
    assert shape.samples.real[0] == pytest.approx(1e-3, rel=0.05)
    assert shape.center == duration / 2


def test_a_fermi_pulse_without_a_plateau_is_refused():
    with pytest.raises(SpecError) as caught:
        waveforms.fermi(duration=8e-3, edge=0.5e-3)
    rule = "must be at most 449.047 us, or nothing is flat, but is 500 us."
    assert str(caught.value) == f"{rule} Shorten the edge or take a longer pulse."
