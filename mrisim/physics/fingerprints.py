"""Signals of long trains of pulses for many tissues at once: the kernel of fingerprinting dictionaries.

Each repetition dephases by the same whole unit, so that configuration states have integer orders and need no labels.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import ArrayLike, DTypeLike

from mrisim._types import Array, Complex, Float

_ATOMS = 192  # of a chunk: as many as leave its states in a core's cache, because each operation costs a fixed time too

States = tuple[Array, Array, Array]


def fisp_dictionary(
    t1: ArrayLike,
    t2: ArrayLike,
    flip: ArrayLike,
    tr: ArrayLike,
    te: ArrayLike,
    ti: float | None = None,
    *,
    inversion: ArrayLike = -1.0,
    mixing: ArrayLike | None = None,
    n_states: int = 100,
    dtype: DTypeLike = np.float32,
) -> Float[np.ndarray, "atoms pulses"]:
    """Signals of a train of pulses of phase 0 with one unit of dephasing per TR: a fingerprinting dictionary.

    With all phases 0 the transverse states are imaginary and the longitudinal ones real, so real arithmetic does.
    Orders of `n_states` and above are dropped.

    Args:
        t1, t2: Relaxation times of each atom [s].
        flip: Of each pulse [rad]; a pulse of phase 180° is a negative flip.
        tr: From each pulse to the next, one value or one per pulse [s].
        te: From each pulse to its sample, likewise [s].
        ti: From the inversion to the first pulse [s]; None for a start from equilibrium.
        inversion: Longitudinal magnetisation that the inversion leaves, one value or one per atom.
        mixing: Of each pulse, ∫ (sin²(flip/2) - sin²φ) dt over its length, φ the angle turned since its center [s]:
            what relaxation does while the pulse turns the magnetisation, to first order. None for none.
        n_states: Orders kept, at least 2.
        dtype: float32 or float64.

    Returns:
        Imaginary part of M⁺ at TE after each pulse, relative to equilibrium; the real part is 0.

    Raises:
        ValueError: fewer than two states, times that are not above 0, or shapes that do not fit.

    Source:
        Jiang et al., Magn Reson Med 74:1621 (2015); Weigel, J Magn Reson Imaging 41:266 (2015).

    Example:
        >>> signal = fisp_dictionary([1.0], [0.1], np.full(3, np.pi / 6), tr=0.01, te=0.0)
        >>> signal[0, 0].round(6).item()
        0.5
    """
    kind = np.dtype(dtype)
    t1, t2, left = (np.atleast_1d(v) for v in np.broadcast_arrays(*(np.asarray(v, float) for v in (t1, t2, inversion))))
    angles = np.asarray(flip, dtype=float)
    tr, te = (np.broadcast_to(np.asarray(v, dtype=float), angles.shape) for v in (tr, te))
    if n_states < 2 or not (np.all(t1 > 0) and np.all(t2 > 0) and np.all(tr > 0) and np.all(te >= 0)):
        raise ValueError("fisp_dictionary: n_states must be at least 2, t1, t2 and tr above 0, te at least 0")
    columns = [np.cos(angles), np.sin(angles), np.sin(angles / 2) ** 2, tr, te]
    columns += [] if mixing is None else [np.broadcast_to(np.asarray(mixing, dtype=float), angles.shape)]
    train = tuple(column.astype(kind) for column in columns)
    start = np.ones_like(t1) if ti is None else 1 + (left - 1) * np.exp(-ti / t1)
    atoms = np.stack([1 / t1, 1 / t2, start]).astype(kind)
    result = np.empty((len(angles), len(t1)), kind.type)

    def fill(begin: int) -> None:
        rows = np.minimum(np.arange(begin, begin + _ATOMS), len(t1) - 1)
        with jax.enable_x64(kind == np.float64):
            found = np.asarray(_train_kernel()(train, tuple(atoms[:, rows]), n_states))
        result[:, begin : begin + _ATOMS] = found[:, : len(t1) - begin]

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(fill, range(0, len(t1), _ATOMS)))
    return result.T


@cache
def _train_kernel() -> Callable[..., Array]:
    """`_train`, compiled; for the whole width of a processor's registers, which XLA does not take by itself."""
    wide = {"xla_cpu_prefer_vector_width": 512} if jax.default_backend() == "cpu" else None
    return jax.jit(_train, static_argnums=2, compiler_options=wide)


def _train(
    train: tuple[Float[Array, " pulses"], ...], atoms: tuple[Float[Array, " atoms"], ...], n_states: int
) -> Float[Array, "pulses atoms"]:
    """Imaginary part of the signal. F(k) = i p, conj F(-k) = -i m, Z(k) = z for orders k = 0, 1, …

    An order takes as many repetitions to come back as it took to arise.
    """
    r1, r2, start = atoms
    rows = max(2, min(n_states, len(train[0]) // 2 + 1))
    nothing = jnp.zeros((rows, len(r1)), r1.dtype)
    states = (nothing, nothing, nothing.at[0].set(start))
    return lax.scan(lambda s, pulse: _repetition(s, pulse, r1, r2), states, train, unroll=2)[1]


def _repetition(states: States, pulse: tuple[Array, ...], r1: Array, r2: Array) -> tuple[States, Array]:
    """A pulse, its sample, relaxation and a shift by one order.

    A shift is a padding with one row on one side and none on the other, which costs no copy of its own.
    """
    p, m, z = states
    cosine, sine, half, tr, te, *mixing = pulse
    if mixing:
        more = mixing[0] * (r2 - r1)
        cosine, half = cosine + more, half + 0.5 * more
    e1, e2, zero = jnp.exp(-tr * r1), jnp.exp(-tr * r2), jnp.zeros((), p.dtype)
    difference = p - m
    turned = half * difference - sine * z
    seen = (p[0] - turned[0]) * jnp.exp(-te * r2)
    p, m = (p - turned) * e2, (m + turned) * e2
    z = ((cosine * z - 0.5 * sine * difference) * e1).at[0].add(-jnp.expm1(-tr * r1))
    m = lax.pad(m, zero, ((-1, 1, 0), (0, 0, 0)))
    p = lax.pad(p, zero, ((1, -1, 0), (0, 0, 0))).at[0].set(-m[0])
    return (p, m, z), seen


def bssfp_dictionary(
    t1: ArrayLike,
    t2: ArrayLike,
    flip: ArrayLike,
    before: ArrayLike,
    after: ArrayLike,
    tr: ArrayLike,
    te: ArrayLike,
    ti: float | None = None,
    *,
    inversion: ArrayLike = -1.0,
    mixing: ArrayLike = 0.0,
) -> Complex[np.ndarray, "atoms pulses"]:
    """Signals of a train of pulses without dephasing: balanced fingerprinting, on resonance.

    Args:
        t1, t2: Relaxation times of each atom [s].
        flip: Of each pulse, about x [rad].
        before, after: Turns about z before and after each pulse [rad]; a pulse of phase p turns by -p and p.
        tr: From each pulse to the next, one value or one per pulse [s].
        te: From each pulse to its sample, likewise [s].
        ti: From the inversion to the first pulse [s]; None for a start from equilibrium.
        inversion: Longitudinal magnetisation that the inversion leaves, one value or one per atom.
        mixing: Of each pulse, as in `fisp_dictionary` [s].

    Returns:
        M⁺ at TE after each pulse, relative to equilibrium.

    Source:
        Ma et al., Nature 495:187 (2013).

    Example:
        >>> signal = bssfp_dictionary(1.0, 0.1, [np.pi / 6], 0.0, 0.0, tr=0.01, te=0.0)
        >>> complex(signal[0, 0].round(6))
        0.5j
    """
    t1, t2, left = (np.atleast_1d(v) for v in np.broadcast_arrays(*(np.asarray(v, float) for v in (t1, t2, inversion))))
    train = np.broadcast_arrays(*(np.asarray(v, dtype=float) for v in (flip, before, after, tr, te, mixing)))
    start = np.ones_like(t1) if ti is None else 1 + (left - 1) * np.exp(-ti / t1)
    with jax.enable_x64(True):
        return np.asarray(_balanced_train(tuple(jnp.asarray(v) for v in train), 1 / t1, 1 / t2, start)).T


@jax.jit
def _balanced_train(train: tuple[Array, ...], r1: Array, r2: Array, start: Array) -> Complex[Array, "pulses atoms"]:
    def repetition(state, pulse):
        m, z = state
        flip, before, after, tr, te, mixing = pulse
        more = mixing * (r2 - r1)
        m = m * jnp.exp(1j * before)
        y = (jnp.cos(flip) - more) * m.imag + jnp.sin(flip) * z
        z = (jnp.cos(flip) + more) * z - jnp.sin(flip) * m.imag
        m = lax.complex(m.real, y) * jnp.exp(1j * after)
        e1 = jnp.exp(-tr * r1)
        return (m * jnp.exp(-tr * r2), z * e1 + 1 - e1), m * jnp.exp(-te * r2)

    return lax.scan(repetition, (jnp.zeros(len(r1), complex), start), train)[1]
