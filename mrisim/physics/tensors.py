"""Diffusion tensors: eigenvalues, directions and invariants."""

from __future__ import annotations

import numpy as np

from mrisim._types import Float

AS_MATRIX = np.array([[0, 3, 4], [3, 1, 5], [4, 5, 2]])
"""Where xx, yy, zz, xy, xz, yz stand in the matrix of a tensor."""


def eigensystem(tensors: Float[np.ndarray, "n 6"]) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3 3"]]:
    """Eigenvalues, ascending and not below zero, and eigenvectors as columns, each with z ≥ 0; nan stays nan.

    Args:
        tensors: xx, yy, zz, xy, xz, yz.

    Example:
        >>> values, vectors = eigensystem(np.array([[0.3, 1.7, 0.3, 0.0, 0.0, 0.0]]))
        >>> values.tolist(), np.abs(vectors[0, :, 2]).tolist()
        ([[0.3, 0.3, 1.7]], [0.0, 1.0, 0.0])
    """
    known: np.ndarray = np.asarray(np.isfinite(tensors).all(axis=1))
    values, vectors = np.linalg.eigh(np.where(known[:, None], tensors, 0.0)[:, AS_MATRIX])
    vectors = vectors * np.where(vectors[:, 2:] < 0, -1.0, 1.0)
    values = np.where(known[:, None], np.maximum(values, 0.0), np.nan)
    return values, np.where(known[:, None, None], vectors, np.nan)


def invariants(values: Float[np.ndarray, "n 3"]) -> dict[str, Float[np.ndarray, " n"]]:
    """Mean, axial, radial diffusivity, trace and fractional anisotropy of ascending eigenvalues.

    Source:
        Basser and Pierpaoli, J Magn Reson B 111:209 (1996).

    Example:
        >>> round(float(invariants(np.array([[0.3, 0.3, 1.7]]))["fa"][0]), 6)
        0.799022
    """
    mean = values.mean(axis=1)
    spread = ((values - mean[:, None]) ** 2).sum(axis=1)
    total = (values**2).sum(axis=1)
    return {
        "md": mean,
        "ad": values[:, 2],
        "rd": values[:, :2].mean(axis=1),
        "trace": values.sum(axis=1),
        "fa": np.sqrt(1.5 * spread / np.where(total > 0, total, 1.0)),
    }
