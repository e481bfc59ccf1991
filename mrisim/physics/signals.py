"""Closed-form signal equations, per unit proton density.

Pure JAX functions: arguments broadcast, the dtype follows theirs, all can be differentiated. Times in s, angles in rad,
frequencies in Hz. Real results are signed amplitudes: negative where the magnetisation was inverted before the
excitation. Transverse decay is in a result only where the function takes TE and T2 (or T2*).
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from mrisim._types import Array, Complex, Float

Value = Float[Array, "*shape"] | float


def monoexponential(time: Value, constant: Value) -> Float[Array, "*shape"]:
    """Decay exp(-time / constant).

    Args:
        time: Since the excitation, such as TE [s].
        constant: T2 or T2* [s], infinity allowed.

    Source:
        Bloch, Phys Rev 70:460 (1946).

    Example:
        >>> round(float(monoexponential(0.1, 0.1)), 4)
        0.3679
    """
    return jnp.exp(-time / constant)


def saturation_recovery(recovery: Value, t1: Value) -> Float[Array, "*shape"]:
    """Longitudinal magnetisation 1 - exp(-t/T1) after perfect saturation.

    Args:
        recovery: Saturation → excitation [s].
        t1: [s], infinity allowed.

    Source:
        Bloch, Phys Rev 70:460 (1946).

    Example:
        >>> round(float(saturation_recovery(1.0, 1.0)), 4)
        0.6321
    """
    return -jnp.expm1(-recovery / t1)


def inversion_recovery(
    ti: Value, tr: Value, t1: Value, inversion: Value = jnp.pi, flip: Value = jnp.pi / 2
) -> Float[Array, "*shape"]:
    """Gradient-echo inversion recovery in the steady state, transverse magnetisation spoiled.

    Inversion, TI, excitation, repeated every TR:
    sin(flip) · (1 - cos(inversion) E1 - (1 - cos(inversion)) exp(-TI/T1)) / (1 - cos(inversion) cos(flip) E1).

    Args:
        ti: Inversion → excitation [s].
        tr: Repetition time [s].
        t1: [s].
        inversion: Flip angle of the inversion [rad].
        flip: Flip angle of the excitation [rad].

    Source:
        Barral et al., Magn Reson Med 64:1057 (2010).

    Example:
        >>> round(float(inversion_recovery(0.5, 5.0, 0.9)), 5)
        -0.14364
    """
    e1, inverted = jnp.exp(-tr / t1), jnp.cos(inversion)
    longitudinal = 1 - inverted * e1 - (1 - inverted) * jnp.exp(-ti / t1)
    return jnp.sin(flip) * longitudinal / (1 - inverted * jnp.cos(flip) * e1)


def inversion_recovery_spin_echo(ti: Value, te: Value, tr: Value, t1: Value) -> Float[Array, "*shape"]:
    """Spin-echo inversion recovery in the steady state, perfect pulses, without transverse decay.

    1 - 2 exp(-TI/T1) + 2 exp(-(TR - TE/2)/T1) - exp(-TR/T1): the refocusing pulse at TI + TE/2 inverts what has
    recovered since the excitation.

    Args:
        ti: Inversion → excitation [s].
        te: Echo time [s].
        tr: Inversion → next inversion [s].
        t1: [s].

    Source:
        Solution of the recursion over one TR; compare Barral et al., Magn Reson Med 64:1057 (2010).

    Example:
        >>> round(float(inversion_recovery_spin_echo(0.4, 0.02, 3.0, 0.9)), 5)
        -0.24589
    """
    return 1 - 2 * jnp.exp(-ti / t1) + 2 * jnp.exp(-(tr - te / 2) / t1) - jnp.exp(-tr / t1)


def null_inversion_time(tr: Value, t1: Value) -> Float[Array, "*shape"]:
    """TI at which inversion recovery with 90° excitation has no signal: T1 ln(2 / (1 + exp(-TR/T1))).

    Args:
        tr: Repetition time; for an echo train, less the time to its last echo [s].
        t1: Of the tissue to suppress [s].

    Source:
        Zero of `inversion_recovery` for perfect pulses.

    Example:
        >>> round(float(null_inversion_time(9.0, 4.3)), 4)
        2.4805
    """
    return t1 * (jnp.log(2.0) - jnp.log1p(jnp.exp(-tr / t1)))


def spin_echo_saturation(tr: Value, te: Value, t1: Value) -> Float[Array, "*shape"]:
    """Longitudinal magnetisation before the 90° pulse of a spin echo of finite TR.

    1 - 2 exp(-(TR - TE/2)/T1) + exp(-TR/T1): the refocusing pulse inverts what has recovered before it.

    Args:
        tr: Repetition time [s], infinity allowed.
        te: Echo time [s].
        t1: [s].

    Source:
        Solution of the recursion over one TR for perfect pulses; textbook form in Bernstein, King and Zhou, Handbook of
        MRI Pulse Sequences (2004), section 14.3.

    Example:
        >>> round(float(spin_echo_saturation(1.0, 0.0, 1.0)), 4)
        0.6321
    """
    return 1 - 2 * jnp.exp(-(tr - te / 2) / t1) + jnp.exp(-tr / t1)


def spin_echo(te: Value, tr: Value, t1: Value, t2: Value) -> Float[Array, "*shape"]:
    """Spin echo of finite TR with perfect pulses: `spin_echo_saturation` · exp(-TE/T2).

    Args:
        te: Echo time [s].
        tr: Repetition time [s], infinity allowed.
        t1: [s].
        t2: [s].

    Source:
        See `spin_echo_saturation`.

    Example:
        >>> round(float(spin_echo(0.02, 0.5, 0.9, 0.08)), 6)
        0.321976
    """
    return spin_echo_saturation(tr, te, t1) * jnp.exp(-te / t2)


def ernst_angle(tr: Value, t1: Value) -> Float[Array, "*shape"]:
    """Flip angle of the largest ideally spoiled gradient echo, arccos(exp(-TR/T1)) [rad].

    Args:
        tr: Repetition time [s].
        t1: [s].

    Source:
        Ernst and Anderson, Rev Sci Instrum 37:93 (1966).

    Example:
        >>> round(float(ernst_angle(0.01, 1.0)), 4)
        0.1412
    """
    return jnp.arccos(jnp.exp(-tr / t1))


def spoiled_gradient_echo(
    flip: Value, tr: Value, t1: Value, te: Value = 0.0, t2_star: Value = jnp.inf
) -> Float[Array, "*shape"]:
    """Steady state of a gradient echo with ideal spoiling: sin(flip) (1 - E1) / (1 - cos(flip) E1) · exp(-TE/T2*).

    RF spoiling is not ideal: with 117° at 15° flip the true signal is 3 to 6 % lower.

    Args:
        flip: Flip angle [rad].
        tr: Repetition time [s].
        t1: [s].
        te: Echo time [s].
        t2_star: [s], infinity allowed.

    Source:
        Ernst and Anderson, Rev Sci Instrum 37:93 (1966).

    Example:
        >>> round(float(spoiled_gradient_echo(0.174533, 0.01, 1.0)), 5)
        0.06914
    """
    e1 = jnp.exp(-tr / t1)
    return jnp.sin(flip) * (1 - e1) / (1 - jnp.cos(flip) * e1) * jnp.exp(-te / t2_star)


def spoiled_gradient_echo_approach(
    n: Value, flip: Value, tr: Value, t1: Value, start: Value = 1.0
) -> Float[Array, "*shape"]:
    """Signal after pulse n (from 0) of an ideally spoiled train: sin(flip) (Mss + (start - Mss) (E1 cos(flip))^n).

    Args:
        n: Number of pulses before this one.
        flip: Flip angle, below 90° [rad].
        tr: Repetition time [s].
        t1: [s].
        start: Longitudinal magnetisation before the first pulse [1].

    Source:
        Solution of Mz(n+1) = 1 + (Mz(n) cos(flip) - 1) E1; Deichmann and Haase, J Magn Reson 96:608 (1992).

    Example:
        >>> round(float(spoiled_gradient_echo_approach(0, 0.1, 0.01, 1.0)), 4)
        0.0998
    """
    e1 = jnp.exp(-tr / t1)
    factor = e1 * jnp.cos(flip)
    steady = (1 - e1) / (1 - factor)
    return jnp.sin(flip) * (steady + (start - steady) * _power(factor, n))


def look_locker_time_constant(flip: Value, tr: Value, t1: Value) -> Float[Array, "*shape"]:
    """Apparent relaxation time T1* under a train of pulses: 1/T1* = 1/T1 - ln(cos(flip))/TR [s].

    Args:
        flip: Flip angle, below 90° [rad].
        tr: Between pulses [s].
        t1: [s].

    Source:
        Deichmann and Haase, J Magn Reson 96:608 (1992).

    Example:
        >>> round(float(look_locker_time_constant(0.139626, 0.005, 1.0)), 4)
        0.3383
    """
    return 1 / (1 / t1 - jnp.log(jnp.cos(flip)) / tr)


def look_locker(time: Value, flip: Value, tr: Value, t1: Value, start: Value = -1.0) -> Float[Array, "*shape"]:
    """Longitudinal magnetisation before the pulse at `time` of a Look-Locker train: Mss + (start - Mss) exp(-t/T1*).

    Exact at whole multiples of TR.

    Args:
        time: Since the first pulse [s].
        flip: Flip angle, below 90° [rad].
        tr: Between pulses [s].
        t1: [s].
        start: Before the first pulse [1].

    Source:
        Deichmann and Haase, J Magn Reson 96:608 (1992).

    Example:
        >>> round(float(look_locker(1e3, 0.139626, 0.005, 1.0)), 4)
        0.34
    """
    e1 = jnp.exp(-tr / t1)
    steady = (1 - e1) / (1 - e1 * jnp.cos(flip))
    return steady + (start - steady) * jnp.exp(-time / look_locker_time_constant(flip, tr, t1))


def bssfp(flip: Value, tr: Value, t1: Value, t2: Value, df: Value = 0.0, time: Value = 0.0) -> Complex[Array, "*shape"]:
    """Steady state of balanced SSFP with alternating pulses, M⁺ at `time` after a pulse of phase 0.

    With phi = 2 pi df TR + pi and d = (1 - E1 cos a)(1 - E2 cos phi) - E2 (E1 - cos a)(E2 - cos phi):
    Mx = (1 - E1) sin a E2 sin(phi) / d, My = (1 - E1) sin a (1 - E2 cos(phi)) / d right after the pulse. After a pulse
    of phase 180° the sign is the opposite.

    Args:
        flip: Flip angle a [rad].
        tr: Repetition time [s].
        t1: [s].
        t2: [s].
        df: Off-resonance; bands at odd multiples of 1/(2 TR) [Hz].
        time: Since the center of the pulse [s].

    Returns:
        M⁺ in the frame of the package: precession by exp(-2 pi i df t) [1].

    Source:
        Freeman and Hill, J Magn Reson 4:366 (1971); signs from the recursion in this package's frame.

    Example:
        >>> round(float(abs(bssfp(0.698132, 0.005, 1.0, 0.1))), 4)
        0.1605
    """
    e1, e2 = jnp.exp(-tr / t1), jnp.exp(-tr / t2)
    phi = 2 * jnp.pi * (df * tr + 0.5)
    cosine = jnp.cos(flip)
    d = (1 - e1 * cosine) * (1 - e2 * jnp.cos(phi)) - e2 * (e1 - cosine) * (e2 - jnp.cos(phi))
    scale = (1 - e1) * jnp.sin(flip) / d * jnp.exp(-time / t2)
    angle = 2 * jnp.pi * df * time
    mx, my = e2 * jnp.sin(phi), 1 - e2 * jnp.cos(phi)
    turn, quarter = jnp.cos(angle), jnp.sin(angle)
    return lax.complex(scale * (mx * turn + my * quarter), scale * (my * turn - mx * quarter))


def ssfp_fid(flip: Value, tr: Value, t1: Value, t2: Value) -> Float[Array, "*shape"]:
    """Magnitude right after the pulse of unbalanced SSFP (FISP, GRASS), averaged over a full cycle of dephasing.

    Args:
        flip: Flip angle [rad].
        tr: Repetition time [s].
        t1: [s].
        t2: [s].

    Source:
        Gyngell, J Magn Reson 81:474 (1989).

    Example:
        >>> round(float(ssfp_fid(0.523599, 0.01, 1.0, 0.1)), 5)
        0.10711
    """
    e1, root = jnp.exp(-tr / t1), _ssfp_root(flip, tr, t1, t2)
    return jnp.tan(flip / 2) * (1 - (e1 - jnp.cos(flip)) * root)


def ssfp_echo(flip: Value, tr: Value, t1: Value, t2: Value) -> Float[Array, "*shape"]:
    """Magnitude right before the pulse of unbalanced SSFP (PSIF, CE-FAST), averaged over a full cycle of dephasing.

    Args:
        flip: Flip angle [rad].
        tr: Repetition time [s].
        t1: [s].
        t2: [s].

    Source:
        Gyngell, J Magn Reson 81:474 (1989).

    Example:
        >>> round(float(ssfp_echo(0.523599, 0.01, 1.0, 0.1)), 5)
        0.08303
    """
    e1, root = jnp.exp(-tr / t1), _ssfp_root(flip, tr, t1, t2)
    return jnp.tan(flip / 2) * (1 - (1 - e1 * jnp.cos(flip)) * root)


def _ssfp_root(flip: Value, tr: Value, t1: Value, t2: Value) -> Float[Array, "*shape"]:
    e1, e2, cosine = jnp.exp(-tr / t1), jnp.exp(-tr / t2), jnp.cos(flip)
    p = 1 - e1 * cosine - e2**2 * (e1 - cosine)
    q = e2 * (1 - e1) * (1 + cosine)
    return (1 - e2**2) / jnp.sqrt(p**2 - q**2)


def mprage(
    ti: Value,
    tr: Value,
    flip: Value,
    echo_spacing: Value,
    pulses: Value,
    center: Value,
    t1: Value,
    inversion: Value = jnp.pi,
) -> Float[Array, "*shape"]:
    """Steady-state signal of MPRAGE at the pulse that reads the center of k-space, ideal spoiling, no transverse decay.

    Each part of a cycle (inversion, waits, train) maps Mz to a·Mz + b, so the cycle does, and its fixed point is
    closed.

    Args:
        ti: Inversion → pulse number `center` [s].
        tr: Inversion → next inversion [s].
        flip: Flip angle of the train [rad].
        echo_spacing: Between pulses of the train [s].
        pulses: In the train; each is followed by one echo spacing of recovery.
        center: Index of the central pulse, from 0.
        t1: [s].
        inversion: Flip angle of the inversion [rad].

    Source:
        Mugler and Brookeman, Magn Reson Med 15:152 (1990); the fixed point as in Deichmann et al., NeuroImage 12:112
        (2000).

    Example:
        >>> round(float(mprage(0.9, 2.3, 0.15708, 0.007, 176, 88, 0.85)), 5)
        0.04608
    """
    before = jnp.exp(-(ti - center * echo_spacing) / t1)
    after = jnp.exp(-(tr - ti - (pulses - center) * echo_spacing) / t1)
    e1 = jnp.exp(-echo_spacing / t1)
    factor = e1 * jnp.cos(flip)
    steady = (1 - e1) / (1 - factor)
    whole, part = _power(factor, pulses), _power(factor, center)
    inverted = jnp.cos(inversion)
    # Mz before the train is 1 - (1 - inverted · Mz) · before, and Mz before the inversion follows from it
    gain = after * whole * before * inverted
    offset = 1 - after + after * (steady * (1 - whole) + whole * (1 - before))
    end = offset / (1 - gain)
    first = 1 - (1 - inverted * end) * before
    return jnp.sin(flip) * (steady + (first - steady) * part)


def mp2rage(
    ti: Value,
    tr: Value,
    flip: Value,
    echo_spacing: Value,
    pulses: Value,
    center: Value,
    t1: Value,
    efficiency: Value = 1.0,
) -> Float[Array, "trains ..."]:
    """Steady-state signals of MP2RAGE at the central pulse of its two trains, ideal spoiling, no transverse decay.

    Mz before the inversion is the fixed point of the maps Mz → a·Mz + b of inversion, waits and trains. Pulse number
    `center`, from 0, acts at `ti`; published programs take half a spacing more or less.

    Args:
        ti: (2, …): inversion → central pulse of each train [s].
        tr: Inversion → next inversion [s].
        flip: (2, …): flip angles of the trains [rad].
        echo_spacing: Between pulses [s].
        pulses: In each train; each is followed by one echo spacing of recovery.
        center: Index of the central pulse, from 0.
        t1: [s].
        efficiency: Of the inversion: Mz becomes -efficiency · Mz.

    Source:
        Marques et al., NeuroImage 49:1271 (2010), appendix.

    Example:
        >>> mp2rage((0.7, 2.5), 5.0, (0.0698, 0.0873), 0.007, 160, 80, 1.0).shape
        (2,)
    """
    ti, flip = jnp.asarray(ti), jnp.asarray(flip)
    e1 = jnp.exp(-echo_spacing / t1)
    factor = e1 * jnp.cos(flip)
    steady = (1 - e1) / (1 - factor)
    whole, part = _power(factor, pulses), _power(factor, center)
    rest = (pulses - center) * echo_spacing
    waits = (ti[0] - center * echo_spacing, ti[1] - ti[0] - rest - center * echo_spacing, tr - ti[1] - rest)
    first, second, last = (jnp.exp(-wait / t1) for wait in waits)

    def reach(start: tuple[Array, Array], through: tuple[Array, Array]) -> tuple[Array, Array]:
        gain, offset = through
        return gain * start[0], gain * start[1] + offset

    before_first = (-efficiency * first, 1 - first)
    after_first = reach(before_first, (whole[0], steady[0] * (1 - whole[0])))
    before_second = reach(after_first, (second, 1 - second))
    after_second = reach(before_second, (whole[1], steady[1] * (1 - whole[1])))
    gain, offset = reach(after_second, (last, 1 - last))
    end = offset / (1 - gain)
    found = [
        jnp.sin(flip[i]) * (steady[i] + (start[0] * end + start[1] - steady[i]) * part[i])
        for i, start in enumerate((before_first, before_second))
    ]
    return jnp.stack(jnp.broadcast_arrays(*found))


def _power(base: Float[Array, "*shape"], exponent: Value) -> Float[Array, "*shape"]:
    """Power without a program of its own for each whole number."""
    return jnp.power(base, jnp.asarray(exponent, dtype=base.dtype))
