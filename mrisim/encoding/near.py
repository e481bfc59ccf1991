"""Readouts of runs of near spins: a few of their samples, from which all others follow.

Along one read direction, spins that lie close together and precess within one band make samples that are combinations
of those at a few pivots. So the spins of a run are summed once per pivot, and what is left to encode are runs times
pivots: on a grid of voxels a hundredth of the spins.

Source:
    Cheng, Gimbutas, Martinsson, Rokhlin, SIAM J Sci Comput 26:1389 (2005): interpolative decomposition, by pivoted QR.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import qr, solve_triangular

from mrisim._types import Array, Complex, Float
from mrisim.encoding import matrix
from mrisim.physics.phase import Split, phasor
from mrisim.program import ReadoutClass

COUNTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24)  # of pivots; few, so that similar scans share a compilation
_CHECKED = 200  # spins of the band at which the error is measured
_ROUNDING = 1e-14
_STILL = 0.1  # of the tolerance: exponents by position that do not count [rad]
_HIGHEST = jax.lax.Precision.HIGHEST


@dataclass(frozen=True, kw_only=True)
class Band:
    """What the spins of a run may differ by: half ranges about the middle, all runs taken together."""

    df: float  # middle [Hz]
    half_df: float  # [Hz]
    r2: float  # middle [1/s]
    half_r2: float  # [1/s]
    direction: tuple[float, float, float]  # unit vector along which positions matter
    half_position: float  # from a run's middle spin [m]

    def turns(self, readout: ReadoutClass) -> tuple[float, float, float]:
        """Largest exponents by off-resonance, position and decay, from the middles of readout and band [rad].

        Example:
            >>> band = Band(df=0.0, half_df=50.0, r2=10.0, half_r2=0.0, direction=(1.0, 0.0, 0.0), half_position=0.0)
            >>> one, tau = np.zeros(1, int), np.linspace(0, 4e-3, 64)
            >>> train = ReadoutClass(delay=tau, k=np.zeros((64, 3)), receiver=0 * tau, step=one, phase=one, first=one)
            >>> [round(turn, 3) for turn in band.turns(train)]
            [0.628, 0.0, 0.0]
        """
        along = np.asarray(readout.k) @ np.asarray(self.direction)
        span, reach = float(np.ptp(readout.delay)), float(np.ptp(along))
        return np.pi * self.half_df * span, np.pi * self.half_position * reach, 0.5 * self.half_r2 * span

    def total(self, readout: ReadoutClass) -> float:
        """Largest exponent of a spin in a readout [rad]."""
        by_field, by_place, by_decay = self.turns(readout)
        return math.hypot(by_field + by_place, by_decay)


def expected_pivots(turns: float, tolerance: float) -> int | None:
    """Pivots for exponents up to some size, by the error of Chebyshev interpolation; None where they are too many.

    Example:
        >>> [expected_pivots(turns, 1e-5) for turns in (0.0, 0.1, 1.0, 4.0, 40.0)]
        [1, 4, 8, 16, None]
    """
    for n in COUNTS:
        if turns**n <= tolerance * math.factorial(n) * 2.0 ** (n - 1):
            return n
    return None


class Pivots(NamedTuple):
    """What is summed over the spins of each run, on the device."""

    delay: Float[Array, " pivots"]  # [s]
    k: Float[Array, "pivots 3"] | None  # [1/m]; None where the spins of a run lie at one place
    df: Float[Array, ""]  # middle of the band [Hz]
    r2: Float[Array, ""]  # [1/s]


class Mixed(NamedTuple):
    """A readout class for runs, on the device."""

    train: matrix.Train  # for the middle spin of each run
    mix: Complex[Array, "samples pivots"]  # samples from those at the pivots, both relative to the middle of the band


def place_pivots(readout: ReadoutClass, band: Band, tolerance: float, dtype: np.dtype) -> tuple[Pivots, Mixed]:
    """A readout class in the encoding's terms, with as many pivots as the tolerance takes; all samples at the most.

    Args:
        readout: Class of trains, k along the band's direction.
        band: Of the spins.
        tolerance: Relative error of the samples of any spin in the band, 2-norm.
        dtype: Precision of the device.
    """
    first, n = expected_pivots(band.total(readout), tolerance), len(readout.delay)
    chosen, mix, size = np.arange(n), np.eye(n, dtype=complex), n
    for count in () if first is None else COUNTS[COUNTS.index(first) :]:
        found = _interpolation(readout, band, min(count, n), tolerance)
        if found is not None:
            (chosen, mix), size = found, count
            break
    missing = size - len(chosen)  # of what the samples tell apart
    k = np.pad(readout.k[chosen], ((0, missing), (0, 0))).astype(dtype)
    pivots = Pivots(
        delay=np.pad(readout.delay[chosen], (0, missing)).astype(dtype),
        k=k if band.turns(readout)[1] > _STILL * tolerance else None,
        df=np.asarray(band.df, dtype),
        r2=np.asarray(band.r2, dtype),
    )
    mix = np.pad(mix.T, ((0, 0), (0, missing))).astype(np.result_type(dtype, np.complex64))
    return pivots, Mixed(matrix.place_train(readout, dtype), mix)


def _interpolation(
    readout: ReadoutClass, band: Band, n: int, tolerance: float
) -> tuple[np.ndarray, Complex[np.ndarray, "pivots samples"]] | None:
    """At most n pivots, and how all samples follow from them; None where that misses the tolerance."""
    even = [np.cos(np.pi * np.arange(6 + int(2 * turn)) / (5 + int(2 * turn))) for turn in band.turns(readout)]
    spread = np.stack([v.reshape(-1) for v in np.meshgrid(*even)])
    seen = _samples(readout, band, spread)
    strewn = np.random.default_rng(0).uniform(-1, 1, (3, _CHECKED))
    between = _samples(readout, band, np.concatenate([strewn, np.sign(strewn)], axis=1))
    found = qr(seen, mode="r", pivoting=True)
    upper, order = np.asarray(found[0]), np.asarray(found[-1])
    n = min(n, int(np.sum(np.abs(np.diag(upper)) > _ROUNDING * np.abs(upper[0, 0]))))
    mix = np.empty((n, len(order)), complex)
    mix[:, order] = solve_triangular(upper[:n, :n], upper[:n])
    missed = np.linalg.norm(between[:, order[:n]] @ mix - between, axis=1) / np.linalg.norm(between, axis=1)
    return (order[:n], mix) if missed.max() <= tolerance else None


def _samples(
    readout: ReadoutClass, band: Band, where: Float[np.ndarray, "3 spins"]
) -> Complex[np.ndarray, "spins samples"]:
    """Samples of some spins of the band, relative to its middle."""
    df, place, r2 = where * np.array([[band.half_df], [band.half_position], [band.half_r2]])
    along = np.asarray(readout.k) @ np.asarray(band.direction)
    return np.exp(-np.outer(r2 + 2j * np.pi * df, readout.delay) - 2j * np.pi * np.outer(place, along))


@jax.jit
def weights(
    pivots: Pivots, position: Split, df: Float[Array, " spins"], r2: Float[Array, " spins"], middle: Split
) -> Complex[Array, "pivots spins"]:
    """What each spin emits at each pivot, relative to the middle spin of its run at the middle of the band.

    Args:
        pivots: Of a readout class.
        position: Of the spins, run after run [m].
        df: Off-resonance [Hz].
        r2: Transverse relaxation rate [1/s].
        middle: Position of each run's middle spin [m].
    """
    df, r2, k = df - pivots.df, r2 - pivots.r2, pivots.k
    if k is None:
        return jax.lax.map(lambda delay: phasor(-delay * df, jnp.exp(-delay * r2)), pivots.delay)
    place = _away(position.head, middle.head) + _away(position.tail, middle.tail)

    def one(row: tuple[Array, Array]) -> Array:
        delay, k = row
        cycles = delay * df + k[0] * place[0] + k[1] * place[1] + k[2] * place[2]
        return phasor(-cycles, jnp.exp(-delay * r2))

    return jax.lax.map(one, (pivots.delay, k))


def _away(part: Float[Array, "3 spins"], middle: Float[Array, "3 runs"]) -> Float[Array, "3 spins"]:
    return (part.reshape(3, middle.shape[1], -1) - middle[:, :, None]).reshape(3, -1)


@partial(jax.jit, static_argnames="size")
def gather(
    m: Complex[Array, "rows spins"], weights: Complex[Array, "columns spins"], size: int
) -> Complex[Array, "rows runs columns"]:
    """Sum over the spins of each run of what they emit, weighted; one real product per run."""
    columns = len(weights)
    parts = jnp.concatenate([m.real, m.imag]).reshape(2 * len(m), -1, size)
    factor = jnp.concatenate([weights.real, weights.imag]).T.reshape(-1, size, 2 * columns)
    found = jnp.einsum("prl,rlc->rpc", parts, factor, precision=_HIGHEST)
    real, imag = jnp.split(found, 2, axis=1)
    summed = jax.lax.complex(real[..., :columns] - imag[..., columns:], real[..., columns:] + imag[..., :columns])
    return jnp.moveaxis(summed, 0, 1)


@jax.jit
def encoder(mixed: Mixed, pivots: Pivots, middle: Split) -> matrix.Parts:
    """Matrix from runs times pivots to samples: real part, imaginary part, and their sum."""
    one = jnp.ones(middle.head.shape[-1], middle.head.dtype)
    real, imag, _ = matrix.encoder(mixed.train, middle, pivots.df * one, pivots.r2 * one)
    made = (jax.lax.complex(real, imag)[:, :, None] * mixed.mix[:, None]).reshape(len(mixed.mix), -1)
    return made.real, made.imag, made.real + made.imag
