"""Apparent diffusion coefficient from magnitudes at several b values."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from mrisim._types import Array, Float
from mrisim.errors import ConsistencyError, Problem
from mrisim.mapping.diffusion.linear import LogFit, fit_log
from mrisim.mapping.diffusion.weights import b_values
from mrisim.mapping.separable import FitResult, fit

METHODS = ("nonlinear", "weighted")
SLOWEST, FASTEST = 0.01, 20.0  # b D of the strongest and of the weakest weighting at the ends of the search


def fit_adc(signal: ArrayLike, b: ArrayLike, *, method: str = "nonlinear", noise: float | None = None) -> FitResult:
    """ADC from S = s0 exp(-b D).

    "nonlinear" takes the least squares of the signal, "weighted" those of its logarithm, weighted by the square of
    the signal, which is faster and nearly as precise. Both work on magnitudes. Noise keeps these from decaying to
    zero, which makes the ADC too low: leave out images near the noise floor.

    With b-matrices the coefficient is that of free diffusion, the same in all directions, and b is their trace, imaging
    gradients included. In tissue with fibres the ADC depends on the directions; the mean over three orthogonal ones
    (`powder`) is a third of the tensor's trace.

    Args:
        signal: (..., n), complex or real.
        b: n b values, or (n, 3, 3) b-matrices [s/m²].
        method: "nonlinear" or "weighted".
        noise: Standard deviation of the signal, for the standard errors; from the residuals where not given.

    Returns:
        Maps `adc` [m²/s] and `s0` (units of the signal); nan where there is no signal or the fit did not converge.

    Raises:
        ConsistencyError: b that does not match the signal or holds one value only, or an unknown method.

    Example:
        >>> b = np.array([0.0, 0.5e9, 1e9])
        >>> found = fit_adc(0.8 * np.exp(-b * 0.7e-9), b)
        >>> round(float(found["adc"]) * 1e9, 9), round(float(found["s0"]), 9)
        (0.7, 0.8)
    """
    magnitude = np.abs(np.asarray(signal))
    shape, n = magnitude.shape[:-1], magnitude.shape[-1]
    if method not in METHODS:
        raise ConsistencyError(Problem(f"must be {' or '.join(METHODS)}, but is '{method}'", path="method"))
    values = b_values(b, n)
    rows = magnitude.reshape(-1, n)
    if method == "weighted":
        return _logarithmic(fit_log(np.stack([np.ones(n), -values], axis=1), rows, noise), shape)
    weakest = float(values[values > 0.01 * values.max()].min())
    times = (weakest / FASTEST, float(values.max()) / SLOWEST)  # 1/D
    found = fit(_decay, rows, values[:, None], times, noise=noise).result(shape, "adc", "s0")
    rate = 1.0 / found["adc"]
    errors = {**found.standard_error, "adc": found.standard_error["adc"] * rate**2}
    return FitResult(
        maps={"adc": rate, "s0": found["s0"]},
        standard_error=errors,
        converged=found.converged,
        residual=found.residual,
        counts=found.counts,
    )


def _decay(time: Array, settings: Float[Array, "n 1"], voxel: Array) -> Float[Array, "1 n"]:
    return jnp.exp(-settings.T / time)


def _logarithmic(found: LogFit, shape: tuple[int, ...]) -> FitResult:
    s0 = np.exp(found.parameters[:, 0])
    error = np.sqrt(np.diagonal(found.inverse, axis1=1, axis2=2) * found.variance[:, None])
    return log_result(
        found, shape, {"adc": found.parameters[:, 1], "s0": s0}, {"adc": error[:, 1], "s0": error[:, 0] * s0}
    )


def log_result(
    found: LogFit, shape: tuple[int, ...], maps: dict[str, np.ndarray], errors: dict[str, np.ndarray]
) -> FitResult:
    """Maps of a fit to logarithms, of the shape of the images; nan where a voxel was not fitted."""
    good = found.fitted & np.all([np.isfinite(m).all(axis=tuple(range(1, m.ndim))) for m in maps.values()], axis=0)
    counts = {
        "fitted": int(good.sum()),
        "empty": int(found.empty.sum()),
        "failed": int((~good & ~found.empty).sum()),
    }

    def place(values: np.ndarray) -> np.ndarray:
        mask = good.reshape(len(good), *[1] * (values.ndim - 1))
        return np.where(mask, values, np.nan).reshape((*shape, *values.shape[1:]))

    return FitResult(
        maps={name: place(values) for name, values in maps.items()},
        standard_error={name: place(values) for name, values in errors.items()},
        converged=good.reshape(shape),
        residual=place(found.residual),
        counts=counts,
    )
