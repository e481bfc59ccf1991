"""Signals of long trains of pulses for many tissues at once: the kernel of fingerprinting dictionaries.

Each repetition dephases by the same whole unit, so that configuration states have integer orders and need no labels.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import ArrayLike, DTypeLike

from mrisim._types import Array, Complex, Float
from mrisim.physics.chebyshev import interpolated

_ATOMS = 192  # of a chunk: as many as leave its states in a core's cache, because each operation costs a fixed time too

_TOLERANCE = {"float32": 2e-6, "float64": 1e-12}  # of atoms found between others; about the rounding of those

_NODES = (12, 12)  # at first, along T1 and T2

_PULSED_ATOMS = 96  # likewise of complex states

_LANES = 16  # atoms of a register

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
    n_states: int = 100,
    dtype: DTypeLike = np.float32,
    tolerance: float | None = None,
) -> Float[np.ndarray, "atoms pulses"]:
    """Signals of a train of pulses of phase 0 with one unit of dephasing per TR: a fingerprinting dictionary.

    With all phases 0 the transverse states are imaginary and the longitudinal ones real, so real arithmetic does.
    Orders of `n_states` and above are dropped. Of thousands of atoms few are followed, and those between them found by
    polynomials in log T1 and log T2.

    Args:
        t1, t2: Relaxation times of each atom [s].
        flip: Of each pulse [rad]; a pulse of phase 180° is a negative flip.
        tr: From each pulse to the next, one value or one per pulse [s].
        te: From each pulse to its sample, likewise [s].
        ti: From the inversion to the first pulse [s]; None for a start from equilibrium.
        inversion: Longitudinal magnetisation that the inversion leaves, one value or one per atom.
        n_states: Orders kept, at least 2.
        dtype: float32 or float64.
        tolerance: Largest error by interpolation between atoms, relative to equilibrium; 2e-6 in float32 and 1e-12 in
            float64 where not given; 0 follows every atom, as different inversions do.

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
    columns = (np.cos(angles), np.sin(angles), np.sin(angles / 2) ** 2, tr, te)
    train = tuple(column.astype(kind) for column in columns)
    allowed = _TOLERANCE[kind.name] if tolerance is None else tolerance

    def follow(log_times: Float[np.ndarray, "atoms 2"], left: np.ndarray) -> np.ndarray:
        times = np.exp(log_times.T)
        start = np.ones(len(left)) if ti is None else 1 + (left - 1) * np.exp(-ti / times[0])
        return _followed(train, np.stack([*(1 / times), start]).astype(kind), n_states)

    log_times = np.log(np.stack([t1, t2], axis=1))
    if allowed == 0 or (ti is not None and np.ptp(left)):
        return follow(log_times, left)
    return interpolated(lambda nodes: follow(nodes, np.full(len(nodes), left[0])), log_times, allowed, _NODES)


def _followed(
    train: tuple[Float[np.ndarray, " pulses"], ...], atoms: Float[np.ndarray, "3 atoms"], n_states: int
) -> Float[np.ndarray, "atoms pulses"]:
    """Signals of atoms (1/T1, 1/T2, magnetisation at the first pulse)."""

    def signals(some: tuple[np.ndarray, ...]) -> Array:
        with jax.enable_x64(atoms.dtype == np.float64):
            return _train_kernel()(train, some, n_states)

    return _in_chunks(signals, atoms, len(train[0]), _ATOMS, atoms.dtype)


def _in_chunks(
    signals: Callable[[tuple[np.ndarray, ...]], Array], atoms: np.ndarray, pulses: int, width: int, dtype: DTypeLike
) -> np.ndarray:
    """Signals (atoms, pulses), so many atoms at a time on all cores; the last chunk is filled up by its last atom."""
    count = atoms.shape[1]
    result = np.empty((pulses, count), dtype)

    def fill(begin: int) -> None:
        rows = np.minimum(np.arange(begin, begin + width), count - 1)
        result[:, begin : begin + width] = np.asarray(signals(tuple(atoms[:, rows])))[:, : count - begin]

    with ThreadPoolExecutor(_cores()) as pool:
        list(pool.map(fill, range(0, count, width)))
    return result.T


def _cores() -> int:
    return os.cpu_count() or 1


@cache
def _train_kernel() -> Callable[..., Array]:
    """`_train`, compiled; for the whole width of a processor's registers, which XLA does not take by itself."""
    return jax.jit(_train, static_argnums=2, compiler_options=_wide())


def _wide() -> dict[str, Any] | None:
    return {"xla_cpu_prefer_vector_width": 512} if jax.default_backend() == "cpu" else None


def _train(
    train: tuple[Float[Array, " pulses"], ...], atoms: tuple[Float[Array, " atoms"], ...], n_states: int
) -> Float[Array, "pulses atoms"]:
    """Imaginary part of the signal. F(k) = i p, conj F(-k) = -i m, Z(k) = z for orders k = 0, 1, …"""
    r1, r2, start = atoms
    nothing = jnp.zeros((orders_kept(len(train[0]), n_states), len(r1)), r1.dtype)
    states = (nothing, nothing, nothing.at[0].set(start))
    return lax.scan(lambda s, pulse: _repetition(s, pulse, r1, r2), states, train, unroll=2)[1]


def _repetition(states: States, pulse: tuple[Array, ...], r1: Array, r2: Array) -> tuple[States, Array]:
    """A pulse, its sample, relaxation and a shift by one order.

    A shift is a padding with one row on one side and none on the other, which costs no copy of its own.
    """
    p, m, z = states
    cosine, sine, half, tr, te = pulse
    e1, e2, zero = jnp.exp(-tr * r1), jnp.exp(-tr * r2), jnp.zeros((), p.dtype)
    difference = p - m
    turned = half * difference - sine * z
    seen = (p[0] - turned[0]) * jnp.exp(-te * r2)
    p, m = (p - turned) * e2, (m + turned) * e2
    z = ((cosine * z - 0.5 * sine * difference) * e1).at[0].add(-jnp.expm1(-tr * r1))
    m = lax.pad(m, zero, ((-1, 1, 0), (0, 0, 0)))
    p = lax.pad(p, zero, ((1, -1, 0), (0, 0, 0))).at[0].set(-m[0])
    return (p, m, z), seen


class RelaxingPulses(NamedTuple):
    """Instantaneous maps of states, one per pulse of a train, each with its slopes along 1/T1 and 1/T2.

    Rows are the value at no relaxation, the slope along 1/T1 [s], and that along 1/T2 [s]. F' = a F + b G + c Z, Z' =
    d F + conj(d) G + e Z with G(q) = conj F(-q); at q = 0 `gain` is added to F and `recovery` to Z.
    """

    a: Complex[np.ndarray, "pulses 3"]
    b: Complex[np.ndarray, "pulses 3"]
    c: Complex[np.ndarray, "pulses 3"]
    d: Complex[np.ndarray, "pulses 3"]
    e: Complex[np.ndarray, "pulses 3"]
    gain: Complex[np.ndarray, "pulses 3"]
    recovery: Complex[np.ndarray, "pulses 3"]


def pulsed_dictionary(
    t1: ArrayLike,
    t2: ArrayLike,
    pulses: RelaxingPulses,
    tr: ArrayLike,
    te: ArrayLike,
    start: ArrayLike,
    *,
    n_states: int = 100,
    seen: ArrayLike = (1.0,),
    attenuation: ArrayLike | None = None,
) -> Complex[np.ndarray, "atoms pulses"]:
    """Signals of a train of any pulses, with one unit of dephasing per TR or, with one state, with none.

    Args:
        t1, t2: Relaxation times of each atom [s].
        pulses: Of the train.
        tr: From each pulse to the next, one value or one per pulse [s].
        te: From each pulse to its sample, likewise [s].
        start: Longitudinal magnetisation before the first pulse, one value or one per atom.
        n_states: Orders kept; 1 for a train without dephasing, on resonance.
        seen: How far order 0, 1, … counts: exp(-2πi κ·r) at place r, κ its moment; -1, … by the conjugate.
            Order 0 alone is the mean over whole cycles.
        attenuation: By diffusion, from each pulse to the next: (1 or pulses, 3, orders) factors of F(n), F(-n) and
            Z(n), n = 0, 1, …, as many as are kept or more.

    Returns:
        M⁺ at TE after each pulse, relative to equilibrium.

    Source:
        Ma et al., Nature 495:187 (2013); Weigel, J Magn Reson Imaging 41:266 (2015).

    Example:
        >>> turn = [[0.5], [0.5], [1j], [0.5j], [0.0], [0.0], [0.0]]          # 90 degrees about x
        >>> quarter = RelaxingPulses(*(np.pad(np.array([row]), ((0, 0), (0, 2))) for row in turn))
        >>> complex(pulsed_dictionary(1.0, 0.1, quarter, 0.01, 0.0, 1.0)[0, 0])
        1j
    """
    t1, t2, start = (np.atleast_1d(v) for v in np.broadcast_arrays(*(np.asarray(v, float) for v in (t1, t2, start))))
    count = len(pulses.a)
    times = [np.broadcast_to(np.asarray(v, dtype=float), (count,)).astype(np.float32) for v in (tr, te)]
    maps = tuple(np.asarray(part).astype(np.complex64) for part in pulses)
    phasors = np.asarray(seen, np.complex64)
    rows = orders_kept(count, n_states)
    atoms = np.stack([1 / t1, 1 / t2, start]).astype(np.float32)
    lost = None if attenuation is None else np.asarray(attenuation, np.float32)[:, :, :rows]
    lost = None if lost is None else np.broadcast_to(lost, (count, 3, rows))
    train = (maps, *times, lost)
    width = min(_PULSED_ATOMS, _LANES * -(-len(t1) // (_LANES * _cores())))
    return _in_chunks(lambda some: _pulsed_kernel()(train, phasors, some, rows), atoms, count, width, np.complex64)


def orders_kept(pulses: int, n_states: int) -> int:
    """Orders that a dictionary keeps: an order takes as many repetitions to come back as it took to arise.

    Example:
        >>> orders_kept(600, 1000), orders_kept(600, 40), orders_kept(600, 1)
        (301, 40, 1)
    """
    return 1 if n_states == 1 else max(2, min(n_states, pulses // 2 + 1))


@cache
def _pulsed_kernel() -> Callable[..., Array]:
    return jax.jit(_pulsed_train, static_argnums=3, compiler_options=_wide())


def _pulsed_train(
    train: tuple[Any, ...], phasors: Array, atoms: tuple[Array, ...], rows: int
) -> Complex[Array, "pulses atoms"]:
    r1, r2, start = atoms
    nothing = jnp.zeros((rows, len(r1)), jnp.complex64)
    states = (nothing, nothing, nothing.at[0].set(start))
    rates = jnp.stack([jnp.ones_like(r1), r1, r2]).astype(jnp.complex64)
    return lax.scan(lambda s, pulse: _pulsed_repetition(s, pulse, phasors, rates, r1, r2), states, train)[1]


def _pulsed_repetition(
    states: States, step: tuple[Any, ...], phasors: Array, rates: Array, r1: Array, r2: Array
) -> tuple[States, Array]:
    f, g, z = states
    maps, tr, te, lost = step
    a, b, c, d, e, gain, recovery = (jnp.sum(part[:, None] * rates, axis=0) for part in maps)
    e1, e2 = jnp.exp(-tr * r1), jnp.exp(-tr * r2)
    new_f = a * f + b * g + c * z
    new_g = b.conj() * f + a.conj() * g + c.conj() * z
    new_z = d * f + d.conj() * g + e * z
    seen = gain + sum(new_f[n] * phasors[n] for n in range(len(phasors)))
    seen += sum((new_g[n] * phasors[n]).conj() for n in range(1, len(phasors)))
    seen *= jnp.exp(-te * r2)
    f = (new_f * e2).at[0].add(gain * e2)
    g = (new_g * e2).at[0].add(gain.conj() * e2)
    z = (new_z * e1).at[0].add(recovery * e1 - jnp.expm1(-tr * r1))
    if lost is not None:
        f, g, z = (state * factor[:, None] for state, factor in zip((f, g, z), lost, strict=True))
    if f.shape[0] > 1:
        zero = jnp.zeros((), f.dtype)
        g = lax.pad(g, zero, ((-1, 1, 0), (0, 0, 0)))
        f = lax.pad(f, zero, ((1, -1, 0), (0, 0, 0))).at[0].set(g[0].conj())
    return (f, g, z), seen
