"""Readouts as linear maps: magnetisation at the first sample of each train → samples, by matrix products."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mrisim._types import Array, Complex, Float, Int
from mrisim.physics.phase import Split, cos_sin, product, split
from mrisim.program import ReadoutClass

_HIGHEST = jax.lax.Precision.HIGHEST  # a GPU would round the factors to ten bits otherwise


class Train(NamedTuple):
    """Samples of a readout class on the device."""

    delay: Float[Array, " samples"]
    k: Split  # (3, samples, 1)
    receiver: Float[Array, " samples"]  # [cycles]


class Encoder(NamedTuple):
    """Matrix c + i d of a readout class for a chunk of spins, ready for three real products in place of four."""

    real: Float[Array, "columns spins"]  # c; columns: coils · samples
    difference: Float[Array, "columns spins"]  # d - c
    total: Float[Array, "columns spins"]  # c + d


def place_train(readout: ReadoutClass, dtype: np.dtype) -> Train:
    """A readout class in the encoding's terms."""
    xp = np if isinstance(readout.receiver, np.ndarray) else jnp
    receiver = readout.receiver - xp.round(readout.receiver)
    return Train(readout.delay.astype(dtype), split(readout.k.T[:, :, None], dtype), receiver.astype(dtype))


@jax.jit
def encoder(
    train: Train, position: Split, df: Array, r2: Array, sensitivity: Complex[Array, "coils spins"] | None = None
) -> Encoder:
    """exp(-tau r2) exp(-2 pi i (df tau + k · r)) times the receiver's phasor and the coil's sensitivity."""
    phase = product(train.k, position) + train.delay[:, None] * df - train.receiver[:, None]
    cosine, sine = cos_sin(-phase)
    decay = jnp.exp(-train.delay[:, None] * r2)
    real, imag = cosine * decay, sine * decay
    if sensitivity is not None:
        sr, si = sensitivity.real[:, None, :], sensitivity.imag[:, None, :]
        n = sensitivity.shape[0] * real.shape[0]
        real, imag = (real * sr - imag * si).reshape(n, -1), (real * si + imag * sr).reshape(n, -1)
    return Encoder(real, imag - real, real + imag)


@partial(jax.jit, static_argnames="size")
def sum_runs(emitted: Float[Array, "steps 2 spins"], size: int) -> Float[Array, "steps 2 runs"]:
    """Sum over runs of spins that the encoding cannot tell apart; member j of run i is spin j · n_runs + i."""
    return emitted if size == 1 else emitted.reshape(*emitted.shape[:2], size, -1).sum(axis=2)


@jax.jit
def encode(
    emitted: Float[Array, "steps 2 spins"], rows: Int[Array, " rows"], matrix: Encoder
) -> tuple[Float[Array, "rows columns"], Float[Array, "rows columns"]]:
    """Samples of the rows of one class, by three real products in place of four."""
    a, b = emitted[rows, 0], emitted[rows, 1]
    common = jnp.matmul(a + b, matrix.real.T, precision=_HIGHEST)
    from_real = jnp.matmul(a, matrix.difference.T, precision=_HIGHEST)
    from_imag = jnp.matmul(b, matrix.total.T, precision=_HIGHEST)
    return common - from_imag, common + from_real
