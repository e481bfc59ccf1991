"""Pieces of phase graphs: what a pulse does to configuration states.

Transverse magnetisation is M⁺(x) = Σ F(q) exp(-2πi q·x), longitudinal Mz(x) = Σ Z(q) exp(-2πi q·x), relative to
equilibrium 1; x holds place and, where it is told apart, off-resonance. A pulse acts at every x alike, so it mixes
F(q), conj F(-q) and Z(q) only.

Source: Weigel, J Magn Reson Imaging 41:266 (2015); signs are this package's (left-handed, exp(-2πi k·r)).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from mrisim._types import Array, Complex, Float

_ATOMS = 128  # of a chunk, whose states stay in a core's cache

Triple = tuple[Complex[Array, "states sites"], Complex[Array, "states sites"], Complex[Array, "states sites"]]


class StateMap(NamedTuple):
    """An affine map of magnetisation in terms of states, one column per site.

    F' = a F + b G + c Z, Z' = d F + conj(d) G + e Z with G(q) = conj F(-q), and G' the mirror of F'; at q = 0 `gain`
    is added to F and `recovery` to Z.
    """

    a: Complex[Array, "*n"]
    b: Complex[Array, "*n"]
    c: Complex[Array, "*n"]
    d: Complex[Array, "*n"]
    e: Complex[Array, "*n"]
    gain: Complex[Array, "*n"]
    recovery: Complex[Array, "*n"]


def state_map(columns: Float[Array, "4 3 sites"]) -> StateMap:
    """A propagator, given as the images of the unit vectors x, y, z and of zero, in terms of states.

    Example:
        >>> import numpy as np
        >>> from mrisim.physics import bloch
        >>> still = state_map(bloch.identity_map(np.ones(1, np.float32)))
        >>> complex(still.a[0]), complex(still.b[0])
        ((1+0j), 0j)
    """
    x, y, z, zero = columns
    across, along = x[0] + 1j * x[1], y[0] + 1j * y[1]
    return StateMap(
        a=0.5 * (across - 1j * along),
        b=0.5 * (across + 1j * along),
        c=z[0] + 1j * z[1],
        d=0.5 * (x[2] - 1j * y[2]),
        e=z[2] + 0j,
        gain=zero[0] + 1j * zero[1],
        recovery=zero[2] + 0j,
    )


def turned(pulse: StateMap, before: Array, after: Array) -> StateMap:
    """The map between two turns about z: M⁺ is multiplied by the phasor `before` first and by `after` last."""
    return StateMap(
        a=pulse.a * before * after,
        b=pulse.b * before.conj() * after,
        c=pulse.c * after,
        d=pulse.d * before,
        e=pulse.e,
        gain=pulse.gain * after,
        recovery=pulse.recovery,
    )


def mix(pulse: StateMap, states: Triple) -> Triple:
    """States after a pulse; the first row is q = 0.

    Example:
        >>> import numpy as np
        >>> from mrisim.physics import bloch
        >>> still = state_map(bloch.identity_map(np.ones(1, np.float32)))
        >>> f, g, z = mix(still, (np.zeros((1, 1)), np.zeros((1, 1)), np.ones((1, 1))))
        >>> complex(z[0, 0])
        (1+0j)
    """
    f, g, z = states
    first = (jnp.arange(f.shape[0]) == 0)[:, None]
    return (
        pulse.a * f + pulse.b * g + pulse.c * z + first * pulse.gain,
        pulse.b.conj() * f + pulse.a.conj() * g + pulse.c.conj() * z + first * pulse.gain.conj(),
        pulse.d * f + pulse.d.conj() * g + pulse.e * z + first * pulse.recovery,
    )


def fisp_dictionary(
    t1: ArrayLike,
    t2: ArrayLike,
    flip: ArrayLike,
    tr: float,
    te: float,
    ti: float | None = None,
    *,
    n_states: int = 100,
    dtype: DTypeLike = np.float32,
) -> Float[np.ndarray, "atoms pulses"]:
    """Signals of a train of pulses of phase 0 with one unit of dephasing per TR: a fingerprinting dictionary.

    With all phases 0 the transverse states are imaginary and the longitudinal ones real, so real arithmetic does.
    Orders of `n_states` and above are dropped.

    Args:
        t1, t2: Relaxation times of each atom [s].
        flip: Of each pulse [rad].
        tr: Between pulses [s].
        te: From a pulse to its sample [s].
        ti: From an ideal inversion to the first pulse [s]; None for no inversion.
        n_states: Orders kept, at least 2.
        dtype: float32 or float64.

    Returns:
        Imaginary part of M⁺ at TE after each pulse, relative to equilibrium; the real part is 0.

    Raises:
        ValueError: fewer than two states, or times that are not above 0.

    Source:
        Jiang et al., Magn Reson Med 74:1621 (2015); Weigel, J Magn Reson Imaging 41:266 (2015).

    Example:
        >>> signal = fisp_dictionary([1.0], [0.1], np.full(3, np.pi / 6), tr=0.01, te=0.0)
        >>> signal[0, 0].round(6).item()
        0.5
    """
    kind = np.dtype(dtype)
    t1, t2 = (np.atleast_1d(np.asarray(values, dtype=float)) for values in np.broadcast_arrays(t1, t2))
    if n_states < 2 or not (np.all(t1 > 0) and np.all(t2 > 0) and tr > 0 and te >= 0):
        raise ValueError("fisp_dictionary: n_states must be at least 2, t1, t2 and tr above 0, te at least 0")
    angles = np.asarray(flip, dtype=float)
    train = tuple(part.astype(kind) for part in (np.cos(angles), np.sin(angles), np.sin(angles / 2) ** 2))
    start = np.ones_like(t1) if ti is None else 1 - 2 * np.exp(-ti / t1)
    columns = (np.exp(-tr / t1), np.exp(-tr / t2), -np.expm1(-tr / t1), np.exp((tr - te) / t2), start)
    atoms = np.stack(columns).astype(kind)
    result = np.zeros((len(t1), len(angles)), kind.type)

    def fill(begin: int) -> None:
        rows = np.minimum(np.arange(begin, begin + _ATOMS), len(t1) - 1)
        with jax.enable_x64(kind == np.float64):
            found = np.asarray(_train_kernel()(train, tuple(atoms[:, rows]), n_states))
        result[begin : begin + _ATOMS] = found.T[: len(t1) - begin]

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(fill, range(0, len(t1), _ATOMS)))
    return result


@cache
def _train_kernel() -> Callable[..., Array]:
    """`_train`, compiled; for the whole width of a processor's registers, which XLA does not take by itself."""
    wide = {"xla_cpu_prefer_vector_width": 512} if jax.default_backend() == "cpu" else None
    return jax.jit(_train, static_argnums=2, compiler_options=wide)


def _train(
    train: tuple[Float[Array, " pulses"], ...], atoms: tuple[Float[Array, " atoms"], ...], n_states: int
) -> Float[Array, "pulses atoms"]:
    """Imaginary part of the signal. F(k) = i p, conj F(-k) = -i m, Z(k) = z for orders k = 0, 1, …

    A shift is a padding with one row on one side and none on the other, which costs no copy of its own.
    """
    e1, e2, recovery, later, start = atoms
    zero = jnp.zeros((), e1.dtype)
    gain = (jnp.arange(n_states) == 0).astype(e1.dtype)[:, None] * recovery

    def repetition(states: tuple[Array, Array, Array], pulse: tuple[Array, Array, Array]):
        p, m, z = states
        cosine, sine, half = pulse
        difference = p - m
        turned = half * difference - sine * z
        p, m = (p - turned) * e2, (m + turned) * e2
        z = (cosine * z - 0.5 * sine * difference) * e1 + gain
        m = jax.lax.pad(m, zero, ((-1, 1, 0), (0, 0, 0)))
        p = jax.lax.pad(p, zero, ((1, -1, 0), (0, 0, 0))).at[0].set(-m[0])
        return (p, m, z), p[1]

    nothing = jnp.zeros((n_states, e1.shape[0]), e1.dtype)
    _, seen = jax.lax.scan(repetition, (nothing, nothing, nothing.at[0].set(start)), train)
    return seen * later
