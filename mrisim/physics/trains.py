"""Signals of trains of pulses by a phase graph of whole dephasing steps, per unit proton density.

For a voxel over which every interval dephases by the same whole number of cycles. Pure JAX functions: arguments
broadcast, all but the counts can be differentiated. Frame and signs as everywhere in the package: a 90° pulse of phase
0 takes +z to +y.

Source: Weigel, J Magn Reson Imaging 41:266 (2015); signs from left-handed precession and exp(-2πi k·r).
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from mrisim._types import Array, Complex, Float

Value = Float[Array, "*shape"] | float
States = tuple[Complex[Array, "states *shape"], Complex[Array, "states *shape"]]  # F and Z from -n to n


@partial(jax.jit, static_argnames="echoes")
def cpmg(
    echoes: int, spacing: Value, refocusing: Value, t1: Value, t2: Value, excitation: Value = jnp.pi / 2
) -> Float[Array, "echoes ..."]:
    """Echoes of a Carr-Purcell-Meiboom-Gill train from equilibrium, stimulated echoes included.

    Args:
        echoes: Their number.
        spacing: Between echoes [s].
        refocusing: Flip angle of the refocusing pulses, 90° ahead of the excitation [rad].
        t1: [s].
        t2: [s].
        excitation: Flip angle [rad].

    Returns:
        Amplitude of each echo along the direction that the excitation turned to [1].

    Source:
        Hennig, J Magn Reson 78:397 (1988).

    Example:
        >>> [round(float(echo), 4) for echo in cpmg(3, 0.01, 2.0943951, jnp.inf, jnp.inf)]
        [0.75, 0.9375, 0.8438]
    """
    spacing, refocusing, t1, t2, excitation = _alike(spacing, refocusing, t1, t2, excitation)
    states = _pulse(_equilibrium(2 * echoes + 1, spacing), excitation, 0.0)

    def step(states: States, _: None) -> tuple[States, Float[Array, "*shape"]]:
        states = _pulse(_wait(states, spacing / 2, t1, t2), refocusing, jnp.pi / 2)
        states = _wait(states, spacing / 2, t1, t2)
        return states, states[0][len(states[0]) // 2].imag

    return lax.scan(step, states, None, length=echoes)[1]


@partial(jax.jit, static_argnames=("pulses", "states"))
def rf_spoiled_train(
    pulses: int,
    flip: Value,
    tr: Value,
    t1: Value,
    t2: Value,
    increment: Value,
    start: Value = 1.0,
    states: int = 256,
) -> Complex[Array, "pulses ..."]:
    """M⁺ right after each pulse of an RF-spoiled gradient-echo train.

    The phase of pulse n is increment · n (n + 1) / 2; the receiver follows it. An increment of 0 is an unbalanced
    train without RF spoiling.

    Args:
        pulses: Their number.
        flip: Flip angle [rad].
        tr: Between pulses [s].
        t1: [s].
        t2: [s].
        increment: Of the phase increment [rad].
        start: Longitudinal magnetisation before the first pulse [1].
        states: Largest order that is kept; orders beyond T2/TR · ln(1/ε) hold less than ε.

    Source:
        Zur, Wood and Neuringer, Magn Reson Med 21:251 (1991).

    Example:
        >>> train = rf_spoiled_train(400, 0.2618, 0.01, 1.0, 0.1, 2.0420352)
        >>> round(float(abs(train[-1])), 3)  # with ideal spoiling 0.059
        0.057
    """
    flip, tr, t1, t2, increment, start = _alike(flip, tr, t1, t2, increment, start)

    def step(carry: tuple[States, Array, Array], _: None) -> tuple[tuple[States, Array, Array], Array]:
        before, phase, growth = carry
        after = _pulse(before, flip, phase)
        signal = after[0][states] * jnp.exp(-1j * phase)
        growth = jnp.mod(growth + increment, 2 * jnp.pi)
        return (_wait(after, tr, t1, t2), jnp.mod(phase + growth, 2 * jnp.pi), growth), signal

    zero = jnp.zeros_like(tr)
    f, z = _equilibrium(states, tr)
    return lax.scan(step, ((f, z * start), zero, zero), None, length=pulses)[1]


def _alike(*values: Value) -> list[Float[Array, "*shape"]]:
    """Values of one shape and dtype."""
    dtype = jnp.result_type(*values)
    return jnp.broadcast_arrays(*(jnp.asarray(value, dtype) for value in values))


def _equilibrium(n: int, like: Float[Array, "*shape"]) -> States:
    f = jnp.zeros((2 * n + 1, *like.shape), jnp.result_type(like.dtype, jnp.complex64))
    return f, f.at[n].set(1.0)


def _pulse(states: States, flip: Value, phase: Value) -> States:
    """Left-handed rotation by flip about the axis at phase."""
    f, z = states
    g = jnp.conj(f[::-1])
    turn, half = jnp.exp(1j * jnp.asarray(phase)), jnp.asarray(flip) / 2
    rotated = jnp.cos(half) ** 2 * f + (jnp.sin(half) * turn) ** 2 * g + 1j * jnp.sin(flip) * turn * z
    return rotated, jnp.cos(flip) * z + 0.5j * jnp.sin(flip) * (jnp.conj(turn) * f - turn * g)


def _wait(states: States, duration: Value, t1: Value, t2: Value) -> States:
    """Relax, and dephase by one step."""
    f, z = states
    e1 = jnp.exp(-duration / t1)
    moved = jnp.concatenate([jnp.zeros_like(f[:1]), f[:-1]]) * jnp.exp(-duration / t2)
    return moved, (z * e1).at[len(z) // 2].add(1 - e1)
