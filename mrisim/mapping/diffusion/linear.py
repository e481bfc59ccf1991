"""Weighted linear least squares on the logarithm of signals, for many voxels at once."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mrisim._types import Array, Bool, Float
from mrisim.mapping.least_squares import double_precision

CHUNK = 2048  # voxels per call of the compiled fit; one size, so one compilation
WEIGHTINGS = 3  # by the data, then by the fit before


class LogFit(NamedTuple):
    """One row per voxel; nan where the voxel could not be fitted."""

    parameters: Float[np.ndarray, "voxels p"]
    inverse: Float[np.ndarray, "voxels p p"]  # covariance of the parameters for a noise of one
    residual: Float[np.ndarray, " voxels"]  # root mean square, in units of the signal
    variance: Float[np.ndarray, " voxels"]  # of the noise
    empty: Bool[np.ndarray, " voxels"]  # no signal at all
    fitted: Bool[np.ndarray, " voxels"]


def fit_log(
    design: Float[np.ndarray, "n p"], signal: Float[np.ndarray, "voxels n"], noise: float | None = None
) -> LogFit:
    """Fit ln S = design · parameters, each point weighted by the square of its signal.

    The logarithm of a signal S has the variance σ²/S². The first weights are those of the data, which noise biases;
    the next ones are those of the fit.

    Args:
        design: Of full rank; the first column is one, so the first parameter is ln S where the others are zero.
        signal: Magnitudes; a voxel with a value that is not above zero is not fitted.
        noise: Standard deviation of the signal; from the residuals where not given.

    Source:
        Salvador et al., Hum Brain Mapp 24:144 (2005); repeated weights: Veraart et al., NeuroImage 81:335 (2013).

    Example:
        >>> x = np.array([0.0, 1.0, 2.0])
        >>> fit_log(np.stack([np.ones(3), -x], axis=1), 2.0 * np.exp(-0.5 * x)[None]).parameters.round(6).tolist()
        [[0.693147, 0.5]]
    """
    size = np.abs(design).max(axis=0)
    usable = np.isfinite(signal).all(axis=1) & (signal > 0).all(axis=1)
    rows = np.flatnonzero(usable)
    total, (n, p) = len(signal), design.shape
    parameters, inverse = np.full((total, p), np.nan), np.full((total, p, p), np.nan)
    cost = np.full(total, np.nan)
    with double_precision():
        scaled = jnp.asarray(design / size)
        for first in range(0, len(rows), CHUNK):
            part = rows[first : first + CHUNK]
            block = signal[np.resize(part, CHUNK)]  # repeats: one shape
            scale = block.max(axis=1)
            found = [np.asarray(v)[: len(part)] for v in _solve(scaled, jnp.asarray(block / scale[:, None]))]
            scale = scale[: len(part)]
            parameters[part] = found[0] / size
            parameters[part, 0] += np.log(scale)
            inverse[part] = found[1] / np.multiply.outer(size, size) / scale[:, None, None] ** 2
            cost[part] = found[2] * scale**2
    fitted = usable & np.isfinite(parameters).all(axis=1) & np.isfinite(inverse).all(axis=(1, 2))
    spread = np.full(total, noise**2) if noise is not None else cost / (n - p) if n > p else np.full(total, np.nan)
    empty = np.isfinite(signal).all(axis=1) & ~(signal != 0).any(axis=1)
    return LogFit(parameters, inverse, np.sqrt(cost / n), spread, empty, fitted)


@jax.jit
def _solve(
    design: Float[Array, "n p"], signal: Float[Array, "voxels n"]
) -> tuple[Float[Array, "voxels p"], Float[Array, "voxels p p"], Float[Array, " voxels"]]:
    n, p = design.shape
    products = (design[:, :, None] * design[:, None, :]).reshape(n, p * p)
    logs = jnp.log(signal)
    model = signal
    for _ in range(WEIGHTINGS):
        weight = model**2
        normal = (weight @ products).reshape(-1, p, p)
        parameters = jnp.linalg.solve(normal, ((weight * logs) @ design)[..., None])[..., 0]
        model = jnp.exp(parameters @ design.T)
    inverse = jnp.linalg.inv((model**2 @ products).reshape(-1, p, p))
    return parameters, inverse, jnp.sum((model - signal) ** 2, axis=1)
