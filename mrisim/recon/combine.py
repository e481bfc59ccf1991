"""Coil images → one image."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import uniform_filter

from mrisim._types import Complex


def root_sum_of_squares(images: Complex[np.ndarray, "coils contrast z y x"]) -> Complex[np.ndarray, "contrast z y x"]:
    """Magnitude over coils; its phase is lost and its noise is not Gaussian at low signal.

    Source:
        Roemer et al., Magn Reson Med 16:192 (1990).

    Example:
        >>> root_sum_of_squares(np.array([3.0 + 0j, 4.0j]).reshape(2, 1, 1, 1, 1)).item()
        (5+0j)
    """
    unit = _largest(images)
    return (unit * np.sqrt(np.sum(np.abs(images / unit) ** 2, axis=0))).astype(images.dtype)


def matched(
    images: Complex[np.ndarray, "coils contrast z y x"], sensitivities: Complex[np.ndarray, "coils z y x"]
) -> Complex[np.ndarray, "contrast z y x"]:
    """Least-squares combination for known sensitivities: sum of conj(S)·I over sum of |S|²; zero where no coil sees.

    The optimum for noise that is equal and independent in all coils.

    Source:
        Roemer et al., Magn Reson Med 16:192 (1990); SENSE of factor one, Pruessmann et al., 42:952 (1999).

    Example:
        >>> seen = np.array([2.0, 1.0j]).reshape(2, 1, 1, 1)
        >>> complex(np.round(matched(seen[:, None] * 3.0, seen).item(), 9))
        (3+0j)
    """
    power = np.sum(np.abs(sensitivities) ** 2, axis=0)
    weight = np.conj(sensitivities) / np.where(power > 0, power, 1.0)
    return np.einsum("nzyx,nczyx->czyx", weight, images).astype(images.dtype)


def adaptive(
    images: Complex[np.ndarray, "coils contrast z y x"], size: int = 5, iterations: int = 16
) -> Complex[np.ndarray, "contrast z y x"]:
    """Matched filter from the local signal covariance, for unknown sensitivities.

    The filter of a voxel is the dominant eigenvector of the coils' covariance over its surroundings in the slice and
    over all contrasts, so that contrasts keep their ratios in magnitude and phase. Its length is one, so the noise of
    the result is that of one coil. Its phase is that of the coil that receives most.

    Args:
        images: Coil images.
        size: Side of the square of voxels that the covariance is averaged over.
        iterations: Steps of the power iteration.

    Source:
        Walsh et al., Magn Reson Med 43:682 (2000).
    """
    reference = int(np.argmax(np.sum(np.abs(images) ** 2, axis=(1, 2, 3, 4))))
    combined = np.empty(images.shape[1:], dtype=images.dtype)
    for z in range(images.shape[2]):
        vector = _dominant_vectors(images[:, :, z] / _largest(images[:, :, z]), size, iterations)
        phase = vector[reference]
        length = np.abs(phase)
        vector = vector * np.where(length > 0, np.conj(phase) / np.where(length > 0, length, 1.0), 1.0)
        combined[:, z] = np.einsum("nyx,ncyx->cyx", np.conj(vector), images[:, :, z])
    return combined


def _largest(images: np.ndarray) -> Any:
    """Largest magnitude, 1 where all is zero: squares of images in its units neither overflow nor vanish."""
    largest = np.asarray(np.abs(images).max(initial=0))
    return largest[()] if largest > 0 else largest.dtype.type(1)


def _dominant_vectors(images: Complex[np.ndarray, "coils contrast y x"], size: int, iterations: int) -> np.ndarray:
    n = images.shape[0]
    covariance = np.empty((n, n, *images.shape[2:]), dtype=images.dtype)
    for i in range(n):
        for j in range(i + 1):
            product = np.sum(images[i] * np.conj(images[j]), axis=0)
            smooth = uniform_filter(product.real, size) + 1j * uniform_filter(product.imag, size)
            covariance[i, j], covariance[j, i] = smooth, np.conj(smooth)
    strongest = np.argmax(np.einsum("nnyx->nyx", covariance).real, axis=0)
    vector = np.take_along_axis(covariance, strongest[None, None], axis=1)[:, 0]
    for _ in range(iterations):
        vector = _normalize(np.einsum("ijyx,jyx->iyx", covariance, _normalize(vector)))
    return vector


def _normalize(vector: np.ndarray) -> np.ndarray:
    length = np.sqrt(np.sum(np.abs(vector) ** 2, axis=0))
    return vector / np.where(length > 0, length, 1.0)
