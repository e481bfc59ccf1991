"""Phases in cycles: exact reduction modulo one, and the sine and cosine of what is left."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mrisim._types import Array, Complex, Float

_SPLIT_BITS = 12  # half of the 24 bits of a float32 mantissa: the product of two such halves is exact


class Split(NamedTuple):
    """A number as a short head, whose products with other heads are exact in float32, and the rest."""

    head: Float[Array, "*shape"]
    tail: Float[Array, "*shape"]


def split(x: Float[Array, "*shape"], dtype: np.dtype) -> Split:
    """Split into head and tail, in the precision that x still has.

    Host arrays in float64 keep 36 significant bits in float32: the cast happens here.
    """
    xp = np if isinstance(x, np.ndarray) else jnp
    if np.dtype(dtype) == np.float64:
        whole = xp.asarray(x, dtype=dtype)
        return Split(whole, xp.zeros_like(whole))
    if xp is np and x.dtype == np.float64:
        head = _rounded(x)
    else:
        mantissa, exponent = xp.frexp(x)
        head = xp.ldexp(xp.round(mantissa * 2.0**_SPLIT_BITS), exponent - _SPLIT_BITS)
    return Split(head.astype(dtype), (x - head).astype(dtype))


def _rounded(x: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """As many bits of the mantissa as a head has, by its bits: five times faster than through the exponent."""
    dropped = 53 - _SPLIT_BITS  # of the mantissa's 53, the leading one not stored
    bits = x.view(np.int64) + (1 << (dropped - 1))
    return (bits & -(1 << dropped)).view(np.float64)


def product(k: Split, r: Split) -> Float[Array, " spins"]:
    """k · r in cycles, reduced so that nothing is lost before the reduction.

    Args:
        k: Gradient moment, three components [1/m].
        r: Positions, (3, spins) [m].

    Returns:
        Phase modulo one, up to a few cycles of rest that float32 still resolves [cycles].
    """

    def along(axis: int) -> Array:
        return cycles(Split(k.head[axis], k.tail[axis]), Split(r.head[axis], r.tail[axis]))

    return along(0) + along(1) + along(2)


def cycles(k: Split, r: Split) -> Float[Array, "*shape"]:
    """One component of `product`."""
    exact = k.head * r.head
    return exact - jnp.round(exact) + (k.head * r.tail + k.tail * (r.head + r.tail))


def _fit(function, n_terms: int) -> tuple[float, ...]:
    """Coefficients in x² of the interpolant on Chebyshev nodes over x² in [0, 1/16]."""
    nodes = 0.03125 * (1.0 + np.cos(np.pi * (np.arange(n_terms) + 0.5) / n_terms))
    scaled = np.polynomial.polynomial.polyfit(nodes * 16.0, function(np.sqrt(nodes)), n_terms - 1)
    return tuple(float(c * 16.0**i) for i, c in enumerate(scaled))


_COS = _fit(lambda x: np.cos(2 * np.pi * x), 7)
_SIN = _fit(lambda x: np.sin(2 * np.pi * x) / x, 7)


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    result = jnp.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
        result = result * x + c
    return result


def cos_sin(cycles: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """Cosine and sine of 2 pi · cycles.

    In float32 by polynomials on the argument folded to a quarter cycle (error 2e-7), which vectorise where the library
    call does not; in float64 by the library.
    """
    x = cycles - jnp.round(cycles)
    if x.dtype == jnp.float64:
        return jnp.cos(2 * jnp.pi * x), jnp.sin(2 * jnp.pi * x)
    half_turns = jnp.round(2 * x)
    sign = 1.0 - 2.0 * jnp.abs(half_turns)
    y = x - 0.5 * half_turns
    y2 = y * y
    return sign * _polynomial(_COS, y2), sign * y * _polynomial(_SIN, y2)


def phasor(cycles: Float[Array, "*shape"], length: Float[Array, "*shape"] | float = 1.0) -> Complex[Array, "*shape"]:
    """length · exp(2 pi i cycles), one number per element: XLA's CPU backend would compute the phase of two anew."""
    cosine, sine = cos_sin(cycles)
    return jax.lax.complex(cosine * length, sine * length)


def sinc(cycles: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """sin(pi c) / (pi c), the mean of exp(2 pi i c x) over x from -1/2 to 1/2."""
    _, sine = cos_sin(0.5 * cycles)
    small = jnp.abs(cycles) < 1e-4
    return jnp.where(small, 1.0, sine / jnp.where(small, 1.0, jnp.pi * cycles))
