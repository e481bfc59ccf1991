"""Steady state of RF-spoiled gradient echoes, by the phase graph: what real spoiling leaves of Ernst's value."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from mrisim._types import Array, Float
from mrisim.physics.signals import look_locker_time_constant, spoiled_gradient_echo

INCREMENT = math.radians(117.0)
OFF = 1e-2  # how far Ernst's state, the start, may be from the end
STIRRED = 4.5  # T2 take so many times as long as T1* to settle, because T1 keeps what they store
_ATOMS = 64  # of a chunk, whose states stay in a core's cache


def rf_spoiled(
    flip: ArrayLike, tr: float, t1: ArrayLike, t2: float, increment: float = INCREMENT, tolerance: float = 1e-6
) -> Float[np.ndarray, "*shape"]:
    """Magnitude right after the pulse in the steady state, averaged over whole cycles of dephasing per TR.

    Args:
        flip: Flip angle, above 0 and below 90° [rad]; broadcasts with t1.
        tr: Repetition time [s].
        t1: [s].
        t2: One value [s].
        increment: Of the phase increment: pulse n has phase increment · n (n + 1) / 2 [rad].

        tolerance: Absolute error that an early end and dropped orders may make, about.

    Returns:
        Per unit proton density.

    Source:
        Zur, Wood and Neuringer, Magn Reson Med 21:251 (1991); states as in Weigel, J Magn Reson Imaging 41:266 (2015).

    Example:
        >>> round(float(rf_spoiled(np.radians(15.0), 0.005, 1.0, 0.1)), 4)
        0.0314
    """
    angle, relaxation = np.broadcast_arrays(np.asarray(flip, dtype=float), np.asarray(t1, dtype=float))
    slowest = float(np.max(look_locker_time_constant(angle, tr, relaxation)))
    constants = math.log(OFF / tolerance)
    pulses = math.ceil(constants * max(slowest, STIRRED * t2) / tr)
    orders = max(math.ceil(constants * t2 / tr), 2)
    phases = (increment * np.arange(1, pulses + 1)) % (2 * np.pi)
    start = np.asarray(spoiled_gradient_echo(angle, tr, relaxation)) / np.sin(angle)
    atoms = np.stack([angle.ravel(), np.exp(-tr / relaxation).ravel(), start.ravel()])
    found = np.zeros(angle.size)

    def fill(first: int) -> None:
        rows = np.minimum(np.arange(first, first + _ATOMS), angle.size - 1)
        columns = (jnp.asarray(values, float) for values in (*atoms[:, rows], phases))
        chunk = np.asarray(_steady_state(*columns, math.exp(-tr / t2), orders))
        found[first : first + _ATOMS] = chunk[: angle.size - first]

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(fill, range(0, angle.size, _ATOMS)))
    return found.reshape(angle.shape)


@partial(jax.jit, static_argnums=5)
def _steady_state(
    flip: Array, e1: Array, start: Array, phases: Array, e2: float, orders: int
) -> Float[Array, " atoms"]:
    """States F(k) and conj F(-k), k from 0 along the first axis, in the frame of the pulse's phase."""
    half, sine, cosine = jnp.sin(flip / 2) ** 2, jnp.sin(flip), jnp.cos(flip)
    blank = jnp.zeros((orders, len(flip)), dtype=jnp.result_type(flip, 1j))
    gain = jnp.zeros(orders).at[0].set(1.0)[:, None] * (1 - e1)

    def repetition(states: tuple[Array, Array, Array], phase: Array) -> tuple:
        plus, minus, z = states
        turned = half * (plus - minus) + 1j * sine * z
        plus, minus = plus - turned, minus + turned
        z = cosine * z - 0.5j * sine * (states[0] - states[1])
        seen = plus[0]
        frame = jnp.exp(-1j * phase) * e2
        plus, minus = plus * frame, minus * jnp.conj(frame)
        minus = jnp.concatenate([minus[1:], jnp.zeros_like(minus[:1])])
        plus = jnp.concatenate([jnp.conj(minus[:1]), plus[:-1]])
        return (plus, minus, z * e1 + gain), seen

    _, seen = jax.lax.scan(repetition, (blank, blank, blank.at[0].set(start)), phases)
    return jnp.abs(seen[-1])
