"""T1 from inversion and saturation recovery; from variable flip angles by `mrisim.mapping.vfa`."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from mrisim._types import Array, Float
from mrisim.mapping.separable import FitResult, as_settings, fit, require_measurements
from mrisim.mapping.vfa import fit_vfa as fit_vfa
from mrisim.physics.signals import spin_echo_saturation

INVERSION_LIMIT = 2.5  # |b/a| of an inversion is at most 2; the rest is room for noise


def fit_inversion_recovery(
    signal: ArrayLike, ti: ArrayLike, *, magnitude: bool | None = None, noise: float | None = None
) -> FitResult:
    """T1 from S = a + b exp(-TI/T1), which holds for any inversion efficiency, flip angle and a TR that all TI share.

    Complex data fit complex a and b. Magnitudes get their polarity back: each number of negative leading points is
    fitted, and the least residual among the physical ones (|b| at most 2.5 |a|, else the least |b/a|) wins. Only points
    after the steady state of longitudinal magnetisation follow the model: equal TR, and no transverse magnetisation
    left at the inversion.

    Args:
        signal: (..., n), complex or real.
        ti: n inversion times [s].
        magnitude: Whether the polarity was lost; where not given, real data without a negative value are magnitudes.
        noise: Standard deviation of the (real part of the) signal, for the standard errors; from the residuals where
            not given.

    Returns:
        Maps `t1` [s], `a` and `b` (units of the signal); nan where there is no signal or the fit did not converge.

    Raises:
        ConsistencyError: shapes that do not fit, or fewer than three different TI (magnitudes: four).

    Source:
        Barral et al., Magn Reson Med 64:1057 (2010).

    Example:
        >>> ti = np.array([0.05, 0.15, 0.4, 1.1, 2.5])
        >>> fit = fit_inversion_recovery(np.abs(1 - 2 * np.exp(-ti / 0.9)), ti)
        >>> round(float(fit["t1"]), 6)
        0.9
    """
    signal = np.asarray(signal)
    if magnitude is None:
        magnitude = not np.iscomplexobj(signal) and not (signal < 0).any()
    ti = as_settings("ti", ti, signal.shape[-1])
    require_measurements("ti", len(np.unique(ti)), 4 if magnitude else 3)
    order = np.argsort(ti, kind="stable")
    data = signal.reshape(-1, len(ti))[:, order]
    signs = None
    if magnitude:
        data = np.abs(data)
        signs = np.where(np.arange(len(ti)) < np.arange(len(ti))[:, None], -1.0, 1.0)
    limits = (0.1 * float(ti[ti > 0].min(initial=ti.max())), 20.0 * float(ti.max()))
    penalty = _not_an_inversion if magnitude else None
    found = fit(_recovery, data, ti[order, None], limits, signs=signs, penalty=penalty, noise=noise)
    if magnitude:  # the sign that both share is unknown: a is positive
        found = found._replace(amplitudes=found.amplitudes * np.sign(found.amplitudes[:, :1]))
    return found.result(signal.shape[:-1], "t1", "a", "b")


def fit_saturation_recovery(
    signal: ArrayLike, tr: ArrayLike, *, te: ArrayLike | None = None, noise: float | None = None
) -> FitResult:
    """T1 from S = m0 (1 - exp(-TR/T1)), after perfect saturation.

    With `te`, the saturation is that of a spin echo, whose refocusing pulse inverts what has recovered before it:
    m0 (1 - 2 exp(-(TR - TE/2)/T1) + exp(-TR/T1)).

    Args:
        signal: (..., n), complex or real.
        tr: n recovery times [s].
        te: Echo time of the spin echo [s]; a gradient echo where not given.
        noise: Standard deviation of the (real part of the) signal; from the residuals where not given.

    Returns:
        Maps `t1` [s] and `m0` (units of the signal; transverse decay at TE is in it).

    Raises:
        ConsistencyError: shapes that do not fit, or fewer than two different TR.

    Example:
        >>> tr = np.array([0.2, 0.5, 1.0, 3.0])
        >>> round(float(fit_saturation_recovery(1 - np.exp(-tr / 0.7), tr)["t1"]), 6)
        0.7
    """
    signal = np.asarray(signal)
    n = signal.shape[-1]
    tr = as_settings("tr", tr, n)
    require_measurements("tr", len(np.unique(tr)), 2)
    columns, design = [tr], _saturation
    if te is not None:
        columns, design = [tr, as_settings("te", te, n)], _saturation_spin_echo
    finite = tr[np.isfinite(tr)]
    limits = (0.02 * float(finite.min()), 50.0 * float(finite.max()))
    found = fit(design, signal.reshape(-1, n), np.stack(columns, axis=1), limits, noise=noise)
    return found.result(signal.shape[:-1], "t1", "m0")


def _recovery(t1: Array, settings: Float[Array, "n 1"], voxel: Array) -> Float[Array, "2 n"]:
    decay = jnp.exp(-settings[:, 0] / t1)
    return jnp.stack([jnp.ones_like(decay), decay])


def _not_an_inversion(amplitudes: Float[Array, " 2"]) -> Float[Array, ""]:
    a, b = amplitudes
    excess = jnp.abs(b) / jnp.maximum(jnp.abs(a), jnp.finfo(a.dtype).tiny) - INVERSION_LIMIT
    return jnp.where(a * b < 0, jnp.maximum(excess, 0.0), jnp.inf)


def _saturation(t1: Array, settings: Float[Array, "n 1"], voxel: Array) -> Float[Array, "1 n"]:
    return -jnp.expm1(-settings.T / t1)


def _saturation_spin_echo(t1: Array, settings: Float[Array, "n 2"], voxel: Array) -> Float[Array, "1 n"]:
    return spin_echo_saturation(settings[:, 0], settings[:, 1], t1)[None]
