"""Readouts as linear maps: magnetisation at the first sample of each train → samples, by matrix products.

Samples at equal steps of time and k, as most are, have phasors that are products of a few: of every sixteenth sample,
say, and of the sixteen from there on. So a matrix costs a multiplication per element, and trains of few rows need none.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mrisim._types import Array, Complex, Float
from mrisim.physics.phase import Split, cos_sin, product, split
from mrisim.program import ReadoutClass

_HIGHEST = jax.lax.Precision.HIGHEST  # a GPU would round the factors to ten bits otherwise
_LONGEST_FINE = 32
_SHORTEST_FINE = 4


class Samples(NamedTuple):
    """Samples of a readout class on the device."""

    delay: Float[Array, " samples"]
    k: Split  # (3, samples, 1)
    receiver: Float[Array, " samples"]  # [cycles]


class Train(NamedTuple):
    """A readout class on the device: samples, or every so many-th of them and those from there on."""

    coarse: Samples
    fine: Samples | None = None


def place_train(readout: ReadoutClass, dtype: np.dtype) -> Train:
    """A readout class in the encoding's terms."""
    if not isinstance(readout.receiver, np.ndarray):  # traced
        return Train(_place(readout, slice(None), dtype))
    step = fine_length(readout)
    if step == 1:
        return Train(_place(readout, slice(None), dtype))
    return Train(_place(readout, slice(None, None, step), dtype), _place(_from_zero(readout), slice(0, step), dtype))


def _place(readout: ReadoutClass, part: slice, dtype: np.dtype) -> Samples:
    xp = np if isinstance(readout.receiver, np.ndarray) else jnp
    receiver = readout.receiver[part] - xp.round(readout.receiver[part])
    return Samples(
        readout.delay[part].astype(dtype), split(readout.k[part].T[:, :, None], dtype), receiver.astype(dtype)
    )


def _from_zero(readout: ReadoutClass) -> ReadoutClass:
    """Samples relative to the first."""
    return ReadoutClass(
        delay=readout.delay - readout.delay[0],
        k=readout.k - readout.k[0],
        receiver=readout.receiver - readout.receiver[0],
        step=readout.step,
        phase=readout.phase,
        first=readout.first,
    )


def fine_length(readout: ReadoutClass) -> int:
    """Samples of the fine part, a divisor of all; 1 where they are not at equal steps."""
    n = len(readout.delay)
    divisors = [d for d in range(_SHORTEST_FINE, _LONGEST_FINE + 1) if n % d == 0 and d * d <= 2 * n]
    if not divisors:
        return 1
    even = all(_is_even(values) for values in (readout.delay, *readout.k.T, readout.receiver))
    return max(divisors) if even else 1


def _is_even(values: Float[np.ndarray, " samples"]) -> bool:
    steps = values[0] + (values[-1] - values[0]) * np.arange(len(values)) / (len(values) - 1)
    return bool(np.abs(values - steps).max() <= 1e-10 * max(1.0, np.abs(values).max()))


Planes = tuple[Float[Array, "samples spins"], Float[Array, "samples spins"]]  # real and imaginary part
Parts = tuple[Float[Array, "samples spins"], Float[Array, "samples spins"], Float[Array, "samples spins"]]  # and sum


@jax.jit
def _phasors(samples: Samples, position: Split, df: Array, r2: Array) -> Planes:
    """exp(-tau r2) exp(-2 pi i (df tau + k · r)) times the receiver's phasor.

    One sample after the other: XLA would else compute each phasor anew for each of its uses, which are many.
    """

    def one(sample: Samples) -> tuple[Array, Array]:
        cosine, sine = cos_sin(sample.receiver - product(sample.k, position) - sample.delay * df)
        decay = jnp.exp(-sample.delay * r2)
        return cosine * decay, sine * decay

    return jax.lax.map(one, samples._replace(k=jax.tree.map(lambda v: jnp.moveaxis(v, 1, 0), samples.k)))


def factors(train: Train, position: Split, df: Array, r2: Array) -> tuple[Planes, Parts]:
    """Phasors of the coarse samples of a train that has both, and those of the fine ones as a matrix."""
    coarse, fine = (_phasors(part, position, df, r2) for part in (train.coarse, train.fine or train.coarse))
    return coarse, (*fine, fine[0] + fine[1])


def encoder(train: Train, position: Split, df: Array, r2: Array) -> Parts:
    """Matrix of a readout class for a chunk of spins: real part, imaginary part, and their sum."""
    coarse = _phasors(train.coarse, position, df, r2)
    if train.fine is None:
        return *coarse, coarse[0] + coarse[1]
    return _expand(coarse, _phasors(train.fine, position, df, r2))


@jax.jit
def _expand(coarse: Planes, fine: Planes) -> Parts:
    """All products of both, coarse outside."""
    (a, b), (c, d) = ((v[:, None] for v in coarse), (v[None] for v in fine))
    shape = (-1, coarse[0].shape[1])
    real, imag = (a * c - b * d).reshape(shape), (a * d + b * c).reshape(shape)
    return real, imag, real + imag


@jax.jit
def encode_few(m: Complex[Array, "rows spins"], coarse: Planes, fine: Parts) -> Complex[Array, "rows samples"]:
    """As `encode`, for few rows: the coarse phasors go to the magnetisation, the fine ones are the matrix."""
    turned = m[:, None] * jax.lax.complex(*coarse)  # rows, coarse samples, spins
    return encode(turned.reshape(-1, turned.shape[2]), fine).reshape(len(m), -1)


@jax.jit
def encode(m: Complex[Array, "rows spins"], matrix: Parts) -> Complex[Array, "rows samples"]:
    """Samples of the trains of one class from the magnetisation at their first ones: three real products.

    Source:
        Gauss's three products in place of four; Knuth, The Art of Computer Programming 2, 4.6.4, exercise 41.
    """
    real, imag, both = (
        jnp.matmul(part, factor.T, precision=_HIGHEST)
        for part, factor in zip((m.real, m.imag, m.real + m.imag), matrix, strict=True)
    )
    return jax.lax.complex(real - imag, both - real - imag)


@partial(jax.jit, static_argnames="size")
def sum_runs(emitted: Complex[Array, "steps spins"], size: int) -> Complex[Array, "steps runs"]:
    """Sum over runs of spins that the encoding cannot tell apart; member j of run i is spin j · n_runs + i."""
    return emitted.reshape(len(emitted), size, -1).sum(axis=1)
