"""Diffusion tensor from magnitudes with diffusion weighting along several directions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mrisim._types import Float
from mrisim.errors import ConsistencyError, Problem
from mrisim.mapping.diffusion.adc import log_result
from mrisim.mapping.diffusion.linear import fit_log
from mrisim.mapping.diffusion.weights import b_matrices, tensor_columns
from mrisim.mapping.separable import FitResult
from mrisim.physics.tensors import eigensystem, invariants

RANK = 1e-4  # least singular value of a design over the largest, its columns of one size


def fit_tensor(
    signal: ArrayLike, b: ArrayLike, directions: ArrayLike | None = None, *, noise: float | None = None
) -> FitResult:
    """Diffusion tensor from ln S = ln s0 - Σ b_ij D_ij, by weighted least squares on magnitudes.

    With the b-matrices of a sequence (`Sequence.b_matrix`, or the coordinate of its images), imaging gradients and
    cross terms are accounted for. Eigenvalues that noise makes negative count as zero.

    Args:
        signal: (..., n), complex or real.
        b: (n, 3, 3) b-matrices, or n b values with directions [s/m²].
        directions: (n, 3) unit vectors; of no matter where b is zero.
        noise: Standard deviation of the signal, for the standard errors; from the residuals where not given.

    Returns:
        Maps `md` (mean), `ad` (axial), `rd` (radial), `trace` [m²/s], `fa` [1], `v1` (..., 3), the direction of the
        largest eigenvalue with z ≥ 0, `tensor` (..., 6) as xx, yy, zz, xy, xz, yz [m²/s], `s0`.

    Raises:
        ConsistencyError: b or directions that do not match, or that do not determine the seven unknowns.

    Source:
        Basser et al., J Magn Reson B 103:247 (1994); FA: Basser and Pierpaoli, J Magn Reson B 111:209 (1996).

    Example:
        >>> u = np.array([[1, 1, 0], [1, -1, 0], [1, 0, 1], [1, 0, -1], [0, 1, 1], [0, 1, -1]]) / np.sqrt(2)
        >>> d = np.diag([1.7, 0.3, 0.3]) * 1e-9
        >>> b, u = np.array([0.0, *[1e9] * 6]), np.vstack([np.zeros(3), u])
        >>> found = fit_tensor(np.exp(-b * np.einsum("ni,ij,nj->n", u, d, u)), b, u)
        >>> round(float(found["fa"]), 6), round(float(found["md"]) * 1e9, 6)
        (0.799022, 0.766667)
    """
    magnitude = np.abs(np.asarray(signal))
    shape, n = magnitude.shape[:-1], magnitude.shape[-1]
    matrices = b_matrices(b, directions, n)
    design = np.hstack([np.ones((n, 1)), -tensor_columns(matrices)])
    require_rank(design, "A tensor needs b = 0 and six directions or more that do not lie on a cone")
    found = fit_log(design, magnitude.reshape(-1, n), noise)
    tensors = found.parameters[:, 1:]
    values, vectors = eigensystem(tensors)
    maps = {**invariants(values), "v1": vectors[:, :, 2], "tensor": tensors, "s0": np.exp(found.parameters[:, 0])}
    covariance = found.inverse[:, 1:, 1:] * found.variance[:, None, None]
    errors = errors_of_invariants(values, vectors, covariance)
    errors["s0"] = np.sqrt(found.inverse[:, 0, 0] * found.variance) * maps["s0"]
    return log_result(found, shape, maps, errors)


def require_rank(design: Float[np.ndarray, "n p"], remedy: str) -> None:
    """Refuse weightings that do not determine every unknown.

    Raises:
        ConsistencyError: fewer independent measurements than unknowns.
    """
    sizes = np.abs(design).max(axis=0)
    strengths = np.linalg.svd(design / np.where(sizes > 0, sizes, 1.0), compute_uv=False)
    rank, unknowns = int((strengths > RANK * strengths[0]).sum()), design.shape[1]
    if rank < unknowns:
        rule = f"must determine {unknowns} unknowns, but {len(design)} weightings determine {rank}"
        raise ConsistencyError(Problem(rule, remedy, "b"))


def errors_of_invariants(
    values: Float[np.ndarray, "n 3"], vectors: Float[np.ndarray, "n 3 3"], covariance: Float[np.ndarray, "n 6 6"]
) -> dict[str, np.ndarray]:
    """Standard errors of the invariants, by the slopes of the eigenvalues: dλ = vᵀ dD v."""
    v = vectors
    slopes = np.stack(
        [v[:, 0] ** 2, v[:, 1] ** 2, v[:, 2] ** 2, 2 * v[:, 0] * v[:, 1], 2 * v[:, 0] * v[:, 2], 2 * v[:, 1] * v[:, 2]],
        axis=2,
    )  # (n, eigenvalue, component)
    spread = slopes @ covariance @ np.swapaxes(slopes, 1, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        total, mean = (values**2).sum(axis=1, keepdims=True), values.mean(axis=1, keepdims=True)
        fa = np.reshape(invariants(values)["fa"], (-1, 1))
        fa_slope = (1.5 * (values - mean) - fa**2 * values) / (total * fa)
    ones = np.ones_like(values)
    along = {
        "md": ones / 3,
        "ad": ones * [0.0, 0.0, 1.0],
        "rd": ones * [0.5, 0.5, 0.0],
        "trace": ones,
        "fa": fa_slope,
    }
    with np.errstate(invalid="ignore"):
        return {name: np.sqrt(np.einsum("ni,nij,nj->n", g, spread, g)) for name, g in along.items()}
