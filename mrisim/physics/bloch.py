"""Exact pieces of the Bloch equations: rotation, relaxation, free precession, pulse propagators.

Magnetisation is a triple of arrays (mx, my, mz), one value per spin, relative to equilibrium 1. Left-handed:
dM/dt = gamma M × B. Source: Bloch, Phys. Rev. 70:460 (1946).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mrisim._types import Array, Float
from mrisim.physics.phase import Split, cos_sin, dot, product

Vector = tuple[Float[Array, " spins"], Float[Array, " spins"], Float[Array, " spins"]]


class Propagator(NamedTuple):
    """Affine map M → A M + b of a pulse: three columns of A and b, stacked as (4, 3, spins)."""

    columns: Float[Array, "4 3 spins"]


def rotation(wx: Array, wy: Array, wz: Array) -> tuple[Array, Vector]:
    """Unit quaternion of the rotation by minus 2 pi (wx, wy, wz), components in cycles.

    The identity, bit for bit, for a zero vector; smooth there, so that derivatives exist.
    """
    hx, hy, hz = (-jnp.pi * w for w in (wx, wy, wz))
    norm = jnp.sqrt(hx * hx + hy * hy + hz * hz + jnp.finfo(hx.dtype).tiny)
    cosine, sine = cos_sin(norm / (2 * jnp.pi))
    scale = sine / norm
    return cosine, (hx * scale, hy * scale, hz * scale)


def rotate(m: Vector, quaternion: tuple[Array, Vector]) -> Vector:
    """Rotate by a unit quaternion (cosine, vector)."""
    w, (x, y, z) = quaternion
    tx, ty, tz = 2 * (y * m[2] - z * m[1]), 2 * (z * m[0] - x * m[2]), 2 * (x * m[1] - y * m[0])
    return (
        m[0] + w * tx + (y * tz - z * ty),
        m[1] + w * ty + (z * tx - x * tz),
        m[2] + w * tz + (x * ty - y * tx),
    )


def turn(m: Vector, cycles: Array) -> Vector:
    """Multiply mx + i my by exp(2 pi i cycles)."""
    cosine, sine = cos_sin(cycles)
    return m[0] * cosine - m[1] * sine, m[0] * sine + m[1] * cosine, m[2]


def relax(m: Vector, dt: Array, r1: Array, r2: Array, equilibrium: float = 1.0) -> Vector:
    """Relax for dt: transverse by exp(-dt r2), longitudinal towards the equilibrium."""
    e1, e2 = jnp.exp(-dt * r1), jnp.exp(-dt * r2)
    recovery = -jnp.expm1(-dt * r1) * equilibrium if equilibrium else 0.0
    return m[0] * e2, m[1] * e2, m[2] * e1 + recovery


def precess(m: Vector, tau: Array, k: Split, position: Split, df: Array, r1: Array, r2: Array) -> Vector:
    """Free precession and relaxation in closed form: M⁺ → M⁺ exp(-tau r2) exp(-2 pi i (df tau + k · r))."""
    return turn(relax(m, tau, r1, r2), -(product(k, position) + _offset_phase(df, tau)))


def _offset_phase(df: Array, tau: Array) -> Array:
    """df · tau, reduced modulo one [cycles]."""
    phase = df * tau
    return phase - jnp.round(phase)


class WaveformSteps(NamedTuple):
    """A pulse cut into intervals of constant field.

    `rotation_x`, `rotation_y`: integral of the envelope over the interval, in the pulse's rotating frame, per unit of
    transmit field [cycles]; `dt` [s]; `moment` (intervals, 3) as Split [1/m]; `relaxation` (intervals + 1) time to relax
    before each interval and after the last: half of the neighbours [s].
    """

    rotation_x: Float[Array, " intervals"]
    rotation_y: Float[Array, " intervals"]
    dt: Float[Array, " intervals"]
    moment: Split
    relaxation: Float[Array, " intervals+1"]


def propagator(
    steps: WaveformSteps, position: Split, df: Array, b1: Array, r1: Array, r2: Array
) -> Float[Array, "4 3 spins"]:
    """Affine map of a pulse for each spin, in the frame that rotates with the pulse.

    Each interval is an exact rotation between two half intervals of relaxation (error of second order in dt).

    Args:
        steps: The pulse.
        position: (3, spins) [m].
        df: Off-resonance from the pulse's frequency [Hz].
        b1: Transmit field relative to nominal, zero where the pulse does not reach [1].
        r1, r2: Relaxation rates [1/s].

    Returns:
        Images of the unit vectors x, y, z (linear part) and of zero (affine part).
    """
    zero, one = jnp.zeros_like(df), jnp.ones_like(df)
    start = ((one, zero, zero), (zero, one, zero), (zero, zero, one), (zero, zero, zero))

    def interval(columns, step):
        rx, ry, dt, head, tail, wait = step
        columns = _relax_columns(columns, wait, r1, r2)
        quaternion = rotation(rx * b1, ry * b1, df * dt + dot(Split(head, tail), position))
        return tuple(rotate(m, quaternion) for m in columns), None

    inputs = (steps.rotation_x, steps.rotation_y, steps.dt, steps.moment.head, steps.moment.tail, steps.relaxation[:-1])
    columns, _ = jax.lax.scan(interval, start, inputs)
    columns = _relax_columns(columns, steps.relaxation[-1], r1, r2)
    return jnp.stack([jnp.stack(m) for m in columns])


def _relax_columns(columns, dt: Array, r1: Array, r2: Array):
    """Relax the images of the unit vectors (no recovery) and of zero (recovery)."""
    e1, e2 = jnp.exp(-dt * r1), jnp.exp(-dt * r2)
    recovery = -jnp.expm1(-dt * r1)
    linear = tuple((x * e2, y * e2, z * e1) for x, y, z in columns[:3])
    x, y, z = columns[3]
    return (*linear, (x * e2, y * e2, z * e1 + recovery))


def apply(columns: Float[Array, "4 3 spins"], m: Vector) -> Vector:
    """A M + b."""
    x, y, z, b = columns
    return tuple(x[i] * m[0] + y[i] * m[1] + z[i] * m[2] + b[i] for i in range(3))  # type: ignore[return-value]
