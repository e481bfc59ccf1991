"""Diffusion kurtosis: apparent, or as a tensor with its mean over all directions."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import ArrayLike

from mrisim._types import Float
from mrisim.mapping.diffusion.adc import log_result
from mrisim.mapping.diffusion.linear import fit_log
from mrisim.mapping.diffusion.tensor import require_rank
from mrisim.mapping.diffusion.weights import b_matrices, b_values, tensor_columns
from mrisim.mapping.separable import FitResult
from mrisim.physics.tensors import eigensystem, invariants

POLAR, AZIMUTHAL = 24, 48  # points of the quadrature over all directions
_ELEMENTS = tuple(itertools.combinations_with_replacement(range(3), 4))  # ijkl of the 15 different ones


def fit_kurtosis(
    signal: ArrayLike, b: ArrayLike, directions: ArrayLike | None = None, *, noise: float | None = None
) -> FitResult:
    """Kurtosis from the next order in b, by weighted least squares on the logarithm of magnitudes.

    With n b values alone the fit is that of one direction, or of a mean over directions:
    ln S = ln s0 - b D + b² D² K/6. With directions or b-matrices it is that of both tensors,
    ln S = ln s0 - Σ b_ij D_ij + MD²/6 Σ b_ij b_kl W_ijkl, and `mk` is the mean of the kurtosis over all directions.

    The series holds for b below about 3/(D K), some 3000 s/mm² in brain; beyond it the model turns upwards.

    Args:
        signal: (..., n), complex or real.
        b: n b values, or (n, 3, 3) b-matrices [s/m²].
        directions: (n, 3) unit vectors beside b values; of no matter where b is zero.
        noise: Standard deviation of the signal, for the standard errors; from the residuals where not given.

    Returns:
        Maps `md` [m²/s], `mk` [1], `s0`; with directions `fa` and `v1` too.

    Raises:
        ConsistencyError: b or directions that do not match, or that do not determine the unknowns: three b values, or
            two besides zero in fifteen directions.

    Source:
        Jensen et al., Magn Reson Med 53:1432 (2005); weights as Veraart et al., NeuroImage 81:335 (2013).

    Example:
        >>> b = np.array([0.0, 0.5e9, 1e9, 2e9])
        >>> found = fit_kurtosis(np.exp(-b * 1e-9 + (b * 1e-9) ** 2 * 0.9 / 6), b)
        >>> round(float(found["md"]) * 1e9, 6), round(float(found["mk"]), 6)
        (1.0, 0.9)
    """
    magnitude = np.abs(np.asarray(signal))
    shape, n = magnitude.shape[:-1], magnitude.shape[-1]
    rows = magnitude.reshape(-1, n)
    if directions is None and np.ndim(b) != 3:
        return _apparent(rows, b_values(b, n, different=3), shape, noise)
    matrices = b_matrices(b, directions, n)
    design = np.hstack([np.ones((n, 1)), -tensor_columns(matrices), _kurtosis_columns(matrices) / 6.0])
    require_rank(design, "Take b = 0 and two b values above it in fifteen directions or more, or b values alone")
    found = fit_log(design, rows, noise)
    values, vectors = eigensystem(found.parameters[:, 1:7])
    tensor = invariants(values)
    s0 = np.exp(found.parameters[:, 0])
    covariance = found.inverse * found.variance[:, None, None]
    errors = {
        "s0": np.sqrt(covariance[:, 0, 0]) * s0,
        "md": np.sqrt(covariance[:, 1:4, 1:4].sum(axis=(1, 2))) / 3.0,
    }
    maps = {"md": tensor["md"], "mk": _mean_kurtosis(found.parameters), "s0": s0, "fa": tensor["fa"]}
    return log_result(found, shape, {**maps, "v1": vectors[:, :, 2]}, errors)


def _apparent(rows: np.ndarray, b: Float[np.ndarray, " n"], shape: tuple[int, ...], noise: float | None) -> FitResult:
    found = fit_log(np.stack([np.ones(len(b)), -b, b**2 / 6.0], axis=1), rows, noise)
    log_s0, d, w = found.parameters.T  # w = D² K
    covariance = found.inverse * found.variance[:, None, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        k = w / d**2
        slopes = np.stack([-2.0 * k / d, 1.0 / d**2], axis=1)
    s0 = np.exp(log_s0)
    errors = {
        "md": np.sqrt(covariance[:, 1, 1]),
        "mk": np.sqrt(np.einsum("ni,nij,nj->n", slopes, covariance[:, 1:, 1:], slopes)),
        "s0": np.sqrt(covariance[:, 0, 0]) * s0,
    }
    return log_result(found, shape, {"md": d, "mk": k, "s0": s0}, errors)


def _kurtosis_columns(matrices: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, "n 15"]:
    """What multiplies the elements of MD² W: b_ij b_kl over all orders of ijkl, because W is fully symmetric."""
    columns = [
        sum(matrices[:, i, j] * matrices[:, k, m] for i, j, k, m in set(itertools.permutations(element)))
        for element in _ELEMENTS
    ]
    return np.stack([np.asarray(column) for column in columns], axis=1)


def _mean_kurtosis(parameters: Float[np.ndarray, "voxels 22"]) -> Float[np.ndarray, " voxels"]:
    """Mean over all directions of W(u) MD² / D(u)²."""
    u, weight = _sphere()
    square = u[:, [0, 1, 2, 0, 0, 1]] * u[:, [0, 1, 2, 1, 2, 2]] * [1, 1, 1, 2, 2, 2]
    fourth = np.stack([_orders(element) * np.prod(u[:, list(element)], axis=1) for element in _ELEMENTS], axis=1)
    result = np.full(len(parameters), np.nan)
    for first in range(0, len(parameters), 4096):
        part = slice(first, first + 4096)
        diffusivity = parameters[part, 1:7] @ square.T
        with np.errstate(divide="ignore", invalid="ignore"):
            result[part] = (parameters[part, 7:] @ fourth.T / diffusivity**2) @ weight
    return result


def _orders(element: tuple[int, ...]) -> int:
    """Number of different orders of ijkl."""
    return math.factorial(4) // math.prod(math.factorial(element.count(i)) for i in range(3))


def _sphere() -> tuple[Float[np.ndarray, "points 3"], Float[np.ndarray, " points"]]:
    """Directions and weights of a mean over the sphere: Gauss–Legendre in z, equidistant about it."""
    z, weight = np.polynomial.legendre.leggauss(POLAR)
    angle = 2.0 * np.pi * (np.arange(AZIMUTHAL) + 0.5) / AZIMUTHAL
    flat = np.sqrt(1.0 - z**2)[:, None]
    u = np.stack(np.broadcast_arrays(flat * np.cos(angle), flat * np.sin(angle), z[:, None]), axis=-1).reshape(-1, 3)
    return u, np.repeat(weight / (2.0 * AZIMUTHAL), AZIMUTHAL)
