"""RF shapes: block, sinc, Gauss, Fermi, Shinnar-Le Roux, hyperbolic secant, samples.

A shape is complex, constant on each interval between two edges, and has a peak magnitude of 1. In this package's frame
positive frequency turns as exp(-2 pi i f t), so b1(t) = exp(-2 pi i f t) excites spins at +f.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from mrisim._types import Complex, Float
from mrisim.errors import Problem, SpecError
from mrisim.events.blocks import RFShape
from mrisim.units import TIME, show

RASTER = 1e-6  # RF raster that default dwell times are multiples of [s]
LONGEST_DWELL = 10e-6  # [s]
FEWEST_SAMPLES = 100
USUAL_SAMPLES = 20_000  # beyond which the default dwell time grows with the duration
MAX_SAMPLES = 100_000
LARGEST_TIME_BANDWIDTH = 32  # of a Shinnar-Le Roux pulse
WINDOWS = {"none": 0.0, "hann": 0.5, "hamming": 0.46}  # weight a of the cosine in (1 - a) + a cos(2 pi t / T)
SLR_USES = ("excitation", "small_tip", "refocusing", "inversion", "saturation")
PHASE_STEP = 0.2  # largest phase advance of an adiabatic pulse in one sample [rad]
FERMI_CUT = 1e-3  # of the peak, where a Fermi pulse begins and ends
FAILURE = 0.01  # fraction of spins that an adiabatic passage at threshold leaves behind: Mz = -0.98


def amplitude_for_flip(shape: RFShape, flip: float) -> float:
    """Peak amplitude [Hz] that makes a shape turn a spin on resonance by `flip` [rad]: flip = 2 pi a |integral|.

    Exact for every shape of constant phase, Shinnar-Le Roux shapes included; not for adiabatic shapes, see
    `adiabatic_amplitude`.

    Raises:
        SpecError: the shape has no net area.

    Example:
        >>> round(amplitude_for_flip(block(duration=1e-3), math.pi / 2), 6)
        250.0
    """
    area = float(abs(np.sum(shape.samples * np.diff(shape.edges))))
    _must(
        area > 1e-9 * shape.duration,
        "must have a net area to be scaled to a flip angle, but has none",
        "Give the amplitude of the pulse in place of its flip angle",
    )
    return abs(flip) / (2 * math.pi * area)


def block(*, duration: float) -> RFShape:
    """Rectangular pulse: one sample. Its small-tip profile is a sinc, 1.207 / duration wide at half maximum.

    Example:
        >>> round(block(duration=1e-3).bandwidth, 1)
        1206.7
    """
    _positive("duration", duration)
    return _shape(np.array([0.0, duration]), np.ones(1), 0.5 * duration)


def sinc(
    *, duration: float, time_bandwidth: float, window: str = "none", dwell: float | None = None, center: float = 0.5
) -> RFShape:
    """Windowed sinc with its zeros at multiples of duration / time_bandwidth from the center.

    Args:
        duration: [s].
        time_bandwidth: Number of sinc half-widths in the duration; about duration times full width at half maximum.
        window: "none", "hann" or "hamming".
        dwell: Sample spacing [s]; by default at most 10 us and at least 100 samples, longer for pulses above 0.2 s.
        center: Place of the peak as a fraction of the duration.

    Raises:
        SpecError: a duration off the raster, an unknown window, a center outside the pulse.

    Example:
        >>> len(sinc(duration=2e-3, time_bandwidth=4.0, window="hann").samples)
        200
    """
    _positive("time_bandwidth", time_bandwidth)
    edges = _edges(duration, dwell)
    t = _middles(edges) / duration - center
    return _shape(edges, np.sinc(time_bandwidth * t) * _window(window, t), _center(center) * duration)


def gauss(
    *, duration: float, time_bandwidth: float, window: str = "none", dwell: float | None = None, center: float = 0.5
) -> RFShape:
    """Gaussian whose small-tip profile is time_bandwidth / duration wide at half maximum, before truncation.

    A Gaussian exp(-t^2 / (2 s^2)) has the profile exp(-2 pi^2 s^2 f^2), so s = sqrt(2 ln 2) / (pi bandwidth).
    Arguments as for `sinc`.

    Example:
        >>> round(gauss(duration=4e-3, time_bandwidth=4.0).bandwidth)
        1000
    """
    _positive("time_bandwidth", time_bandwidth)
    edges = _edges(duration, dwell)
    t = _middles(edges) / duration - center
    sigma = math.sqrt(2 * math.log(2)) / (math.pi * time_bandwidth)
    return _shape(edges, np.exp(-0.5 * (t / sigma) ** 2) * _window(window, t), _center(center) * duration)


def fermi(*, duration: float, edge: float, dwell: float | None = None) -> RFShape:
    """Fermi function, flat with soft edges: 1 / (1 + exp((|t| - t0) / edge)), cut where it has fallen to 1e-3 of its
    peak, so t0 = duration / 2 - 6.9 edge. Off resonance it excites next to nothing: for Bloch–Siegert shifts.

    Args:
        duration: [s].
        edge: Time constant of the edges [s].
        dwell: As for `sinc`.

    Raises:
        SpecError: edges that leave no plateau, a duration off the raster.

    Source:
        Bernstein, King, Zhou: Handbook of MRI Pulse Sequences (2004), section 4.3.

    Example:
        >>> round(float(np.sum(fermi(duration=8e-3, edge=0.2e-3).samples.real ** 2) * 10e-6 * 1e3), 2)  # 2 (t0 - edge)
        4.84
    """
    edges = _edges(duration, dwell)
    plateau = 0.5 * duration - math.log(1 / FERMI_CUT) * _positive("edge", edge)
    _must(
        plateau > 2 * edge,
        f"must be at most {show(duration / (2 * (math.log(1 / FERMI_CUT) + 2)), TIME)}, or nothing is flat, "
        f"but is {show(edge, TIME)}",
        "Shorten the edge or take a longer pulse",
    )
    t = np.abs(_middles(edges) - 0.5 * duration)
    shape = 1 / (1 + np.exp((t - plateau) / edge))
    return _shape(edges, shape / shape.max(), 0.5 * duration)


def from_samples(
    *,
    magnitude: ArrayLike,
    phase: ArrayLike = 0.0,
    dwell: float | None = None,
    edges: ArrayLike | None = None,
    center: float | None = None,
    bandwidth: float | None = None,
) -> RFShape:
    """Shape from the magnitude and phase of its samples, scaled to a peak of 1.

    Args:
        magnitude: (n,) any scale; negative values are a phase of pi.
        phase: (n,) or one for all [rad].
        dwell: Length of every sample [s]; or
        edges: (n+1,) ascending from 0 [s].
        center: From the start [s]; by default the middle of the samples at the peak.
        bandwidth: Full width at half maximum of the profile [Hz]; by default that of the Fourier transform.

    Raises:
        SpecError: shapes that do not fit, a pulse of zeros, edges that do not ascend from 0.

    Example:
        >>> from_samples(magnitude=[1.0, 2.0, 1.0], dwell=1e-3).center
        0.0015
    """
    magnitude = np.atleast_1d(np.asarray(magnitude, dtype=float))
    samples = magnitude * np.exp(1j * np.asarray(phase, dtype=float))
    _must(samples.shape == magnitude.shape == (len(samples),), "phase must be one value or one a sample, but is not")
    _must((dwell is None) != (edges is None), "must have either a dwell time or edges, but not both or neither")
    if edges is None:
        edges = _positive("dwell", dwell or 0.0) * np.arange(len(samples) + 1)
    edges = np.asarray(edges, dtype=float)
    fits = len(edges) == len(samples) + 1 and edges[0] == 0.0 and bool((np.diff(edges) > 0).all())
    _must(fits, f"edges must ascend from 0 and number {len(samples) + 1}, but do not")
    useful = bool(np.isfinite(samples).all() and np.any(samples))
    _must(useful, "samples must be finite and not all zero, but are not")
    if center is None:
        size = np.abs(samples)
        center = float(np.mean(_middles(edges)[size > size.max() * (1 - 1e-9)]))
    return _shape(edges, samples, center, bandwidth)


def hyperbolic_secant(
    *,
    duration: float,
    bandwidth: float | None = None,
    mu: float | None = None,
    beta: float | None = None,
    dwell: float | None = None,
) -> RFShape:
    """Adiabatic inversion: sech(beta t) exp(-i mu ln cosh(beta t)), t from the center.

    The frequency is (mu beta / 2 pi) tanh(beta t) in this package's frame: it sweeps from negative to positive. The
    inverted band is mu beta / pi wide. Its amplitude is not a matter of flip angle: see `adiabatic_amplitude`.

    Args:
        duration: [s].
        bandwidth: Width of the inverted band [Hz], or
        mu: sweep in units of beta [1]; 5 where neither is given.
        beta: Rate of the modulation [rad/s]; by default the truncated ends lie at 1 % of the peak.
        dwell: Sample spacing [s]; by default the phase advances by less than 0.2 rad in a sample.

    Raises:
        SpecError: both bandwidth and mu are given, or a duration off the raster.

    Source:
        Silver, Joseph and Hoult, Phys. Rev. A 31:2753 (1985).

    Example:
        >>> round(hyperbolic_secant(duration=10e-3, mu=5.0, beta=800.0).bandwidth, 1)
        1273.2
    """
    _positive("duration", duration)
    _must(bandwidth is None or mu is None, "must have either bandwidth or mu, but has both", "Leave one of them out")
    beta = 2 * math.acosh(100.0) / duration if beta is None else _positive("beta", beta)
    if mu is None:
        mu = 5.0 if bandwidth is None else math.pi * _positive("bandwidth", bandwidth) / beta
    _positive("mu", mu)
    edges = _edges(duration, dwell, longest=PHASE_STEP / (mu * beta))
    t = beta * (_middles(edges) - 0.5 * duration)
    log_cosh = np.logaddexp(t, -t) - math.log(2)
    return _shape(edges, np.exp(-(1 + 1j * mu) * log_cosh), 0.5 * duration, mu * beta / math.pi)


def adiabatic_threshold(shape: RFShape) -> float:
    """Peak amplitude [Hz] at which an adiabatic passage inverts to Mz = -0.98 on resonance.

    With the sweep rate r [Hz/s] at the center of the pulse a passage leaves exp(-pi w1^2 / (2 dw/dt)) of the spins
    behind, so the amplitude is sqrt(r ln(100)) / pi.

    Source:
        Zener, Proc. R. Soc. Lond. A 137:696 (1932), for a spin 1/2.

    Example:
        >>> round(adiabatic_threshold(hyperbolic_secant(duration=10e-3, mu=5.0, beta=800.0)), 0)
        487.0
    """
    return math.sqrt(_sweep_rate(shape) * math.log(1 / FAILURE)) / math.pi


def adiabatic_amplitude(shape: RFShape, factor: float = 2.0) -> float:
    """Default peak amplitude [Hz] of an adiabatic shape: `factor` times `adiabatic_threshold`.

    A factor of 2 keeps the inversion where the transmit field falls to half of its nominal value.

    Example:
        >>> round(adiabatic_amplitude(hyperbolic_secant(duration=10e-3, mu=5.0, beta=800.0)), 0)
        975.0
    """
    return _positive("factor", factor) * adiabatic_threshold(shape)


def _sweep_rate(shape: RFShape) -> float:
    middles = _middles(shape.edges)
    i = int(np.argmin(np.abs(middles - shape.center)))
    _must(0 < i < len(middles) - 1, "must have samples on both sides of its center, but has not")
    turn = shape.samples[1:] * np.conj(shape.samples[:-1])
    frequency = -np.angle(turn) / (2 * math.pi * np.diff(middles))
    halfway = 0.5 * (middles[1:] + middles[:-1])
    width = min(3, i, len(frequency) - i)
    near = slice(i - width, i + width)
    rate = abs(float(np.polyfit(halfway[near] - shape.center, frequency[near], 1)[0]))
    sweeps = rate * shape.duration**2 > 1e-3
    _must(sweeps, "must sweep its frequency to be adiabatic, but does not", "Give the flip angle of the pulse")
    return rate


def slr(
    *,
    duration: float,
    time_bandwidth: float,
    flip: float,
    use: str = "excitation",
    passband_ripple: float = 0.01,
    stopband_ripple: float = 0.01,
    dwell: float | None = None,
) -> RFShape:
    """Linear-phase pulse by the Shinnar-Le Roux algorithm, real and symmetric.

    The polynomial B is a lowpass filter scaled to sin(flip / 2), A its minimum-phase partner with |A|^2 = 1 - |B|^2,
    and the pulse follows from both by the inverse recursion. So the shape depends on the flip angle, and
    `amplitude_for_flip(shape, flip)` is its amplitude: on resonance B is sin(flip / 2) exactly. The transition of the
    filter is the narrowest that holds both ripples.

    The center of an excitation is where its phase over the slice comes to a focus, which lies before the middle (by
    3 % of the duration for 90 deg and a time-bandwidth of 4). It is rounded to 10 us to keep the timing on the raster.

    Args:
        duration: [s].
        time_bandwidth: Duration times the width of B between the middles of its transitions.
        flip: Nominal flip angle [rad].
        use: What the ripples are those of: "excitation" |Mxy|, "refocusing" |beta|^2 (between crushers), "inversion"
            and "saturation" Mz, "small_tip" the Fourier transform.
        passband_ripple: Largest deviation in the slice, relative to the nominal value there.
        stopband_ripple: Largest value outside, relative to M0 (refocusing and small_tip: to 1).
        dwell: Sample spacing [s]; by default at most 10 us and at least 100 samples.

    Raises:
        SpecError: an unknown use, a flip angle out of range, ripples that the time-bandwidth product cannot hold.

    Source:
        Pauly, Le Roux, Nishimura and Macovski, IEEE Trans. Med. Imaging 10:53 (1991).

    Example:
        >>> pulse = slr(duration=2e-3, time_bandwidth=4.0, flip=math.pi / 2, use="excitation")
        >>> len(pulse.samples), pulse.center < 1e-3
        (200, True)
    """
    _must(use in SLR_USES, f"use must be one of {', '.join(SLR_USES)}, but is '{use}'")
    for name, ripple in (("passband_ripple", passband_ripple), ("stopband_ripple", stopband_ripple)):
        _must(1e-5 <= ripple <= 0.5, f"{name} must lie between 1e-05 and 0.5, but is {ripple:g}")
    _must(0 < flip <= math.pi, f"flip must lie between 0 and 180 deg, but is {math.degrees(flip):.6g} deg")
    edges = _edges(duration, dwell, most=USUAL_SAMPLES)
    below, above, stop = _filter_ripples(use, flip, passband_ripple, stopband_ripple)
    _positive("time_bandwidth", time_bandwidth)
    most = min(LARGEST_TIME_BANDWIDTH, (len(edges) - 1) // 4)
    _must(1 <= time_bandwidth <= most, f"time_bandwidth must lie between 1 and {most}, but is {time_bandwidth:g}")
    taps = _lowpass(len(edges) - 1, time_bandwidth, below, above, stop)
    top = min(math.sin(flip / 2), 1 - 1e-9)
    samples = taps if use == "small_tip" else _inverse_slr(top * taps)

    def profile(b: Float[np.ndarray, " f"]) -> Float[np.ndarray, " f"]:
        b = top * b
        if use == "small_tip":
            return b
        return b**2 if use != "excitation" else 2 * b * np.sqrt(np.maximum(1 - b**2, 0.0))

    shape = _shape(edges, samples, 0.5 * duration, _full_width(edges, taps / taps.sum(), profile))
    return shape if use != "excitation" else replace(shape, center=_focus(shape, flip))


def _focus(shape: RFShape, flip: float) -> float:
    """Time [s] from which spins in the slice seem to have precessed freely, on the raster of 10 us.

    M+ after a pulse from equilibrium is 2 conj(alpha) beta; its phase falls by 2 pi f (duration - focus).
    """
    f = 0.4 * shape.bandwidth * np.linspace(-1.0, 1.0, 21)
    alpha, beta = np.ones(len(f), complex), np.zeros(len(f), complex)
    rotations = -2 * math.pi * amplitude_for_flip(shape, flip) * np.real(shape.samples) * np.diff(shape.edges)
    turn = np.exp(1j * math.pi * f * shape.duration / len(rotations))  # of alpha, precession during one sample
    for angle in rotations:
        c, s = math.cos(0.5 * angle), -1j * math.sin(0.5 * angle)
        alpha, beta = turn * (c * alpha + s * beta), np.conj(turn) * (s * alpha + c * beta)
    phase = np.unwrap(np.angle(np.conj(alpha) * beta))
    delay = -np.polyfit(f, phase, 1)[0] / (2 * math.pi)
    return round((shape.duration - delay) / LONGEST_DWELL) * LONGEST_DWELL


def _filter_ripples(use: str, flip: float, passband: float, stopband: float) -> tuple[float, float, float]:
    """Deviation below 1, deviation above 1 and stop-band ripple of the filter B / sin(flip / 2): Pauly's table II,
    for any flip angle."""
    s = math.sin(flip / 2)
    if use == "small_tip":
        return passband, passband, stopband
    if use == "refocusing":  # |beta|^2; one-sided, so that B never exceeds its value on resonance
        return passband / 2, 0.0, math.sqrt(stopband) / s
    if use == "inversion":  # Mz = 1 - 2 B^2
        return passband / (4 * s**2), 0.0, math.sqrt(stopband / 2) / s
    if use == "saturation":
        d = passband / (4 * s**2)
        return d, d, math.sqrt(stopband / 2) / s
    d = np.linspace(0.0, min(0.5, (1 - s) / s), 20001)
    low, high = (np.sin(2 * np.arcsin(s * (1 + sign * d))) for sign in (-1, 1))
    bad = np.maximum(np.abs(low - math.sin(flip)), np.abs(high - math.sin(flip))) > passband * math.sin(flip)
    d1 = float(d[max(1, int(np.argmax(bad)) - 1)]) if bad.any() else float(d[-1])
    return d1, d1, stopband / (2 * s)


@lru_cache(maxsize=64)
def _lowpass(n: int, time_bandwidth: float, below: float, above: float, stop: float) -> Float[np.ndarray, " n"]:
    """Linear-phase lowpass of n taps with a gain of exactly 1 at zero frequency and the narrowest transition that
    keeps the gain within [1 - below, 1 + above] inside and [-stop, stop] outside."""
    narrow, wide, taps = 0.0, 1.0, None
    for width in [0.999, *[None] * 9]:
        width = 0.5 * (narrow + wide) if width is None else width
        excess, found = _minimax(n, time_bandwidth, width, below, above, stop)
        if excess <= 1.0:
            wide, taps = width, found
        else:
            narrow = width
            if taps is None:
                break
    if taps is None:
        raise SpecError(
            Problem(
                f"time_bandwidth must be larger for ripples this small, but is {time_bandwidth:g}",
                "Raise time_bandwidth, or passband_ripple and stopband_ripple",
            )
        )
    return taps


def _minimax(
    n: int, time_bandwidth: float, width: float, below: float, above: float, stop: float
) -> tuple[float, Float[np.ndarray, " n"]]:
    """Best filter in the span of the first harmonics of its duration, and its ripple relative to the allowed one.

    Few harmonics keep the pulse smooth, without the spikes at the ends of an unconstrained equiripple filter.
    """
    from scipy.optimize import linprog

    harmonics = min(math.ceil(time_bandwidth) + 3, n // 2)
    reach = min(2.0 * harmonics, 0.5 * n)
    inside = np.linspace(0.0, 0.5 * (1 - width) * time_bandwidth, 8 * harmonics)[1:]
    outside = np.linspace(0.5 * (1 + width) * time_bandwidth, reach, int(8 * reach))
    gain_in, gain_out, gain_at_zero = (_gains(f, harmonics, n) for f in (inside, outside, np.zeros(1)))
    one = np.ones
    rows = [
        np.c_[-gain_in, -below * one(len(inside))],
        np.c_[gain_in, -above * one(len(inside))],
        np.c_[gain_out, -stop * one(len(outside))],
        np.c_[-gain_out, -stop * one(len(outside))],
    ]
    bounds = np.concatenate([-one(len(inside)), one(len(inside)), np.zeros(2 * len(outside))])
    cost = np.r_[np.zeros(harmonics), 1.0]
    solution = linprog(
        cost,
        A_ub=np.concatenate(rows),
        b_ub=bounds,
        A_eq=np.c_[gain_at_zero, 0.0],
        b_eq=[1.0],
        bounds=[*[(None, None)] * harmonics, (0.0, None)],
        method="highs",
    )
    if not solution.success:
        return math.inf, np.zeros(n)
    t = (np.arange(n) + 0.5) / n - 0.5
    taps = np.cos(2 * math.pi * np.arange(harmonics) * t[:, None]) @ solution.x[:-1] / n
    return float(solution.x[-1]), taps


def _gains(f: Float[np.ndarray, " f"], harmonics: int, n: int) -> Float[np.ndarray, "f harmonics"]:
    """Frequency response of n samples of the harmonics of a duration, at multiples f of its inverse."""

    def dirichlet(x: Float[np.ndarray, "f harmonics"]) -> Float[np.ndarray, "f harmonics"]:
        return np.sinc(x) / np.sinc(x / n)

    order = np.arange(harmonics)
    return 0.5 * (dirichlet(f[:, None] - order) + dirichlet(f[:, None] + order))


def _inverse_slr(b: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Hard-pulse rotation angles [rad] of the polynomial B with the minimum-phase A."""
    n = len(b)
    a = _minimum_phase(b)
    b = b[::-1].copy()
    angles = np.zeros(n)
    for i in range(n - 1, -1, -1):
        ratio = b[i] / a[i]
        c = 1 / math.sqrt(1 + ratio**2)
        s = c * ratio
        angles[i] = 2 * math.atan2(s, c)
        a, b = (c * a + s * b)[1 : i + 1], (c * b - s * a)[:i]
    return 0.5 * (angles + angles[::-1])


def _minimum_phase(b: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Coefficients of A with |A|^2 = 1 - |B|^2 and its zeros inside the unit circle, highest power last."""
    n = len(b)
    m = 1 << max(14, math.ceil(math.log2(64 * n)))
    log_size = 0.5 * np.log(np.maximum(1 - np.abs(np.fft.fft(b, m)) ** 2, 1e-14))
    cepstrum = np.fft.ifft(log_size).real
    fold = np.zeros(m)
    fold[0], fold[m // 2], fold[1 : m // 2] = 1.0, 1.0, 2.0
    return np.fft.ifft(np.exp(np.fft.fft(fold * cepstrum))).real[:n][::-1]


def _shape(edges: np.ndarray, samples: np.ndarray, center: float, bandwidth: float | None = None) -> RFShape:
    samples = np.asarray(samples, dtype=complex)
    peak = np.abs(samples).max()
    _must(peak > 0, "must have a sample inside its lobe, but has none", "Lower time_bandwidth or the dwell time")
    samples = samples / peak
    if bandwidth is None:
        bandwidth = _full_width(edges, samples, lambda size: size)
    return RFShape(edges=edges, samples=samples, center=center, bandwidth=bandwidth)


def _full_width(
    edges: Float[np.ndarray, " n+1"],
    samples: Complex[np.ndarray, " n"],
    profile: Callable[[Float[np.ndarray, " f"]], Float[np.ndarray, " f"]],
) -> float:
    """Width [Hz] between the outermost crossings of half of the maximum, 0 where it never falls.

    `profile` makes the profile of the magnitude of the pulse's Fourier transform, for samples of sum 1 in units of it.
    """
    f, size = _coarse_spectrum(edges, samples)
    value = profile(size)
    half = 0.5 * value.max()
    over = np.flatnonzero(value >= half)
    if over[0] == 0 or over[-1] == len(f) - 1:
        return 0.0
    ends = []
    for low, high in ((over[0] - 1, over[0]), (over[-1] + 1, over[-1])):
        fine = np.linspace(f[low], f[high], 17)
        ends.append(float(np.interp(half, profile(np.abs(_spectrum(edges, samples, fine))), fine)))
    return ends[1] - ends[0]


def _coarse_spectrum(
    edges: Float[np.ndarray, " n+1"], samples: Complex[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " f"], Float[np.ndarray, " f"]]:
    """Frequencies [Hz], eight to a lobe, and the magnitude of `_spectrum` there."""
    step, duration = np.diff(edges), float(edges[-1])
    if np.ptp(step) > 1e-9 * duration:
        f = np.linspace(-64.0, 64.0, 1025) / duration
        return f, np.abs(_spectrum(edges, samples, f))
    repeats = math.ceil(64 / len(samples))
    dense = np.repeat(samples, repeats) / repeats
    m = 1 << math.ceil(math.log2(8 * len(dense)))
    f = np.fft.fftshift(np.fft.fftfreq(m, duration / len(dense)))
    return f, np.abs(np.fft.fftshift(np.fft.ifft(dense, m)) * m) * np.abs(np.sinc(f * duration / len(dense)))


def _spectrum(
    edges: Float[np.ndarray, " n+1"], samples: Complex[np.ndarray, " n"], f: Float[np.ndarray, " f"]
) -> Complex[np.ndarray, " f"]:
    """What a spin at f receives: mean of samples · exp(+2 pi i f t), times their number."""
    t, step = _middles(edges), np.diff(edges)
    return (np.exp(2j * math.pi * f[:, None] * t) * np.sinc(f[:, None] * step)) @ (samples * step) / step.mean()


def _edges(
    duration: float, dwell: float | None, *, longest: float = math.inf, most: int = MAX_SAMPLES
) -> Float[np.ndarray, " n+1"]:
    _positive("duration", duration)
    if dwell is None:
        ticks = round(duration / RASTER)
        _must(
            ticks > 0 and abs(duration / RASTER - ticks) < 1e-6 * ticks,
            f"duration must be a multiple of {show(RASTER, TIME)}, but is {show(duration, TIME, digits=9)}",
            f"Set {show(max(ticks, 1) * RASTER, TIME, digits=9)}, or give a dwell time",
        )
        usual = max(LONGEST_DWELL, duration / USUAL_SAMPLES)
        coarsest = max(1, int(min(usual, longest, duration / FEWEST_SAMPLES) / RASTER * (1 + 1e-9)))
        n = ticks // next(step for step in range(coarsest, 0, -1) if ticks % step == 0)
    else:
        n = round(duration / _positive("dwell", dwell))
        _must(
            n > 0 and abs(duration / dwell - n) < 1e-6 * n,
            f"duration must be a multiple of its dwell {show(dwell, TIME)}, but is {show(duration, TIME, digits=9)}",
            f"Set {show(max(n, 1) * dwell, TIME, digits=9)}",
        )
    _must(
        n <= most, f"must have at most {most} samples, but has {n}", "Choose a rounder duration or a longer dwell time"
    )
    return duration * np.arange(n + 1) / n


def _middles(edges: Float[np.ndarray, " n+1"]) -> Float[np.ndarray, " n"]:
    return 0.5 * (edges[1:] + edges[:-1])


def _window(name: str, t: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    _must(name in WINDOWS, f"window must be one of {', '.join(WINDOWS)}, but is '{name}'")
    a = WINDOWS[name]
    return (1 - a) + a * np.cos(2 * math.pi * t)


def _center(center: float) -> float:
    _must(0 <= center <= 1, f"center must lie between 0 and 1, as a fraction of the duration, but is {center:g}")
    return center


def _positive(name: str, value: float) -> float:
    _must(value > 0 and math.isfinite(value), f"{name} must be positive, but is {value:g}")
    return value


def _must(holds: bool, rule: str, remedy: str = "") -> None:
    if not holds:
        raise SpecError(Problem(rule, remedy))
