"""Exact pieces of the Bloch equations: rotation, relaxation, free precession, pulse propagators.

Magnetisation is a triple of arrays (mx, my, mz), one value per spin, relative to equilibrium 1. Left-handed:
dM/dt = gamma M × B. Source: Bloch, Phys. Rev. 70:460 (1946).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mrisim._types import Array, Complex, Float
from mrisim.physics.phase import Split, cos_sin, phasor, product

Vector = tuple[Float[Array, " spins"], Float[Array, " spins"], Float[Array, " spins"]]
Quaternion = tuple[Float[Array, " spins"], Vector]

_GONE = 40.0  # time constants
SHORT_TURN = 0.45  # about z [cycles]
SHORT_FLIP = 0.2  # by the transmit field [cycles]; the two add up to under half a cycle


def rotation(wx: Array, wy: Array, wz: Array) -> Quaternion:
    """Unit quaternion of the rotation by minus 2 pi (wx, wy, wz), components in cycles.

    The identity, bit for bit, for a zero vector; smooth there, so that derivatives exist.
    """
    cosine, scale = _half_angle(wx * wx + wy * wy + wz * wz)
    return cosine, (wx * scale, wy * scale, wz * scale)


def _half_angle(square: Array) -> tuple[Array, Array]:
    """Cosine of half the angle, and minus its sine over its length in cycles, from the squared length in cycles."""
    norm = jnp.sqrt(square + jnp.finfo(square.dtype).tiny)
    cosine, sine = cos_sin(0.5 * norm)
    return cosine, -sine / norm


def compose(second: Quaternion, first: Quaternion) -> Quaternion:
    """Rotation by `first`, then by `second`."""
    w, (x, y, z) = second
    v, (a, b, c) = first
    return w * v - x * a - y * b - z * c, (
        w * a + v * x + (y * c - z * b),
        w * b + v * y + (z * a - x * c),
        w * c + v * z + (x * b - y * a),
    )


def rotate(m: Vector, quaternion: Quaternion) -> Vector:
    """Rotate by a quaternion of any length."""
    w, (x, y, z) = quaternion
    scale = 2 / (w * w + x * x + y * y + z * z)
    tx, ty, tz = scale * (y * m[2] - z * m[1]), scale * (z * m[0] - x * m[2]), scale * (x * m[1] - y * m[0])
    return (
        m[0] + w * tx + (y * tz - z * ty),
        m[1] + w * ty + (z * tx - x * tz),
        m[2] + w * tz + (x * ty - y * tx),
    )


def turn(m: Vector, cycles: Array) -> Vector:
    """Multiply mx + i my by exp(2 pi i cycles)."""
    cosine, sine = cos_sin(cycles)
    return m[0] * cosine - m[1] * sine, m[0] * sine + m[1] * cosine, m[2]


def decay(exponent: Array) -> Array:
    """exp(-exponent), and zero where that is under the rounding of double precision.

    What is left of transverse magnetisation after a long TR would otherwise be subnormal, and a processor takes a
    hundred times longer over such a number.
    """
    return jnp.where(exponent > _GONE, 0.0, jnp.exp(-exponent))


def precession(
    tau: Array, k: Split, position: Split, df: Array, r1: Array, r2: Array
) -> tuple[Complex[Array, " spins"], Float[Array, " spins"]]:
    """Free precession in closed form: what M⁺ is multiplied by, and the share of 1 - Mz that recovers.

    The first is exp(-tau r2) exp(-2 pi i (df tau + k · r)); the second, 1 - exp(-tau r1), keeps its digits where small.
    """
    return phasor(-(product(k, position) + _offset_phase(df, tau)), decay(tau * r2)), -jnp.expm1(-tau * r1)


def _offset_phase(df: Array, tau: Array) -> Array:
    """df · tau, reduced modulo one [cycles]."""
    phase = df * tau
    return phase - jnp.round(phase)


def short_rotation(wx: Array, wy: Array, wz: Array) -> Quaternion:
    """Quaternion of `rotation`, not of unit length, in few operations: for up to 0.45 cycles.

    Cosine and sine of half the angle stand in the ratio of a Padé approximant of the tangent; the angle is wrong by
    2e-10 cycles at 0.2 cycles, 4e-7 at 0.4.

    Source:
        Continued fraction of the tangent, Abramowitz and Stegun, 4.3.94.
    """
    square = jnp.pi**2 * (wx * wx + wy * wy + wz * wz)  # of half the angle
    cosine = 1 + square * (-4 / 9 + square / 63)
    scale = -jnp.pi * (1 + square * (-1 / 9 + square / 945))
    return cosine, (wx * scale, wy * scale, wz * scale)


class WaveformSteps(NamedTuple):
    """A pulse cut into groups of intervals of constant field; relaxation acts between groups.

    `rotation_x`, `rotation_y`: integral of the envelope over the interval, in the pulse's rotating frame, per unit of
    transmit field [cycles]; `dt` [s]; `moment`: integral of the gradient along each of a few directions [1/m];
    `relaxation`: time to relax before each group, half of that group and half of the one before [s]. A last group
    without length takes what is left.
    """

    rotation_x: Float[Array, "groups intervals"]
    rotation_y: Float[Array, "groups intervals"]
    dt: Float[Array, "groups intervals"]
    moment: Float[Array, "groups intervals directions"]
    relaxation: Float[Array, " groups"]


def identity_map(b1: Array) -> Float[Array, "4 3 spins"]:
    """The affine map that changes nothing: unit vectors x, y, z, and zero."""
    return jnp.concatenate([jnp.eye(3), jnp.zeros((1, 3))])[..., None].astype(b1.dtype) + jnp.zeros_like(b1)


def propagate(
    columns: Float[Array, "4 3 spins"],
    steps: WaveformSteps,
    place: Float[Array, "directions spins"],
    df: Array,
    b1: Array,
    r1: Array,
    r2: Array,
    short: bool,
) -> Float[Array, "4 3 spins"]:
    """Carry an affine map through a part of a pulse, in the frame that rotates with the pulse.

    The rotation of each group is exact for piecewise-constant fields; it stands between two halves of the group's
    relaxation (Strang splitting, error of second order in the group's length).

    Args:
        columns: Images of the unit vectors x, y, z (linear part) and of zero (affine part).
        steps: The part of the pulse.
        place: Where the spins lie along the directions of `steps.moment` [m].
        df: Off-resonance in the pulse's frame [Hz].
        b1: Transmit field relative to nominal, zero where the pulse does not reach [1].
        r1, r2: Relaxation rates [1/s].
        short: Take rotations by `short_rotation`. Spins that turn by more than 0.45 cycles about z in an interval are
            then taken to turn by that: they are far beyond any pulse's bandwidth.

    Returns:
        The images after it.

    Source:
        Strang, SIAM J Numer Anal 5:506 (1968).
    """
    zero, one = jnp.zeros_like(b1), jnp.ones_like(b1)

    def interval(q: Quaternion, inputs):
        rx, ry, dt, moment = inputs
        wz = df * dt + sum(moment[i] * place[i] for i in range(place.shape[0]))
        if short:
            return compose(short_rotation(rx * b1, ry * b1, jnp.clip(wz, -SHORT_TURN, SHORT_TURN)), q), None
        return compose(rotation(rx * b1, ry * b1, wz), q), None

    def group(columns, inputs):
        wait, *intervals = inputs
        columns = _relax_columns(columns, wait, r1, r2)
        q, _ = jax.lax.scan(interval, (one, (zero, zero, zero)), tuple(intervals))
        return tuple(rotate(m, q) for m in columns), None

    start = tuple((m[0], m[1], m[2]) for m in columns)
    result, _ = jax.lax.scan(
        jax.checkpoint(group, prevent_cse=False),
        start,
        (steps.relaxation, steps.rotation_x, steps.rotation_y, steps.dt, steps.moment),
    )
    return jnp.stack([jnp.stack(m) for m in result])


def _relax_columns(columns, dt: Array, r1: Array, r2: Array):
    """Relax the images of the unit vectors (no recovery) and of zero (recovery)."""
    e1, e2 = decay(dt * r1), decay(dt * r2)
    recovery = -jnp.expm1(-dt * r1)
    linear = tuple((x * e2, y * e2, z * e1) for x, y, z in columns[:3])
    x, y, z = columns[3]
    return (*linear, (x * e2, y * e2, z * e1 + recovery))


def apply(columns: Float[Array, "4 3 spins"], m: Vector) -> Vector:
    """A M + b."""
    x, y, z, b = columns
    return tuple(x[i] * m[0] + y[i] * m[1] + z[i] * m[2] + b[i] for i in range(3))  # type: ignore[return-value]


def mirrored(columns: Float[Array, "4 3 spins"], m: Vector, found: Vector) -> Vector:
    """What a refocusing pulse mirrors, alone: transverse magnetisation in proportion to the conjugate of what came.

    Of M⁺ after = a M⁺ + b M⁺* + c Mz it keeps b M⁺*, as ideal crushers would. With f the transverse part of the map,
    f(M⁺) = a M⁺ + b M⁺* and f(i M⁺) = i a M⁺ - i b M⁺*, so b M⁺* = (f(M⁺) + i f(i M⁺)) / 2.

    Args:
        columns: Propagator of the pulse.
        m: Magnetisation before it.
        found: Magnetisation after it, of which the longitudinal part is kept.
    """
    x, y, _ = m
    straight = [columns[0, i] * x + columns[1, i] * y for i in (0, 1)]
    turned = [columns[1, i] * x - columns[0, i] * y for i in (0, 1)]
    return 0.5 * (straight[0] - turned[1]), 0.5 * (straight[1] + turned[0]), found[2]
