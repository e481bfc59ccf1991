"""T1 from spoiled gradient echoes at several flip angles."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from mrisim._types import Array, Float
from mrisim.errors import ConsistencyError, Problem
from mrisim.mapping.separable import FitResult, as_settings, fit, require_measurements
from mrisim.mapping.spoiling import T1_RANGE, Spoiling, SpoilingTable, spoiling_problems
from mrisim.physics.chebyshev import chebyshev_coefficients, chebyshev_sum, place_between
from mrisim.physics.signals import spoiled_gradient_echo

LONGEST = 20.0  # T1 that a fit may find [s]


def fit_vfa(
    signal: ArrayLike,
    flip: ArrayLike,
    tr: float,
    *,
    b1: ArrayLike = 1.0,
    method: str = "nonlinear",
    spoiling: Spoiling | None = None,
    noise: float | None = None,
) -> FitResult:
    """T1 and M0 from spoiled gradient echoes at two or more flip angles (DESPOT1).

    The model is Ernst's, with ideal spoiling. Real RF spoiling gives less at high flips, which makes T1 come out some
    per cent long; `spoiling` corrects the model by a look-up in the phase graph. A wrong B1 matters more: the apparent
    T1 goes with B1 squared.

    Args:
        signal: (..., n), real or complex; magnitudes are fitted.
        flip: n nominal flip angles, between 0 and 90° [rad].
        tr: Repetition time [s].
        b1: Transmit field relative to nominal, one value or (...).
        method: "nonlinear", least squares of the signals; or "linear", of S/sin over S/tan, which noise biases.
        spoiling: Correct for incomplete RF spoiling; ideal where not given. Nonlinear only.
        noise: Standard deviation of the signal, for the standard errors; from the residuals where not given.

    Returns:
        Maps `t1` [s] and `m0` (units of the signal; decay until TE is in it). The linear method has no standard errors.

    Raises:
        ConsistencyError: shapes that do not fit, fewer than two different flips, flips outside 0 to 90°, an unknown
            method, a correction with the linear method.

    Source:
        Deoni, Rutt and Peters, Magn Reson Med 49:515 (2003); correction as in Preibisch and Deichmann, Magn Reson Med
        61:125 (2009), with a table in place of polynomials.

    Example:
        >>> from mrisim.physics.signals import spoiled_gradient_echo
        >>> flip = np.radians([3.0, 10.0, 20.0])
        >>> signal = np.array([float(spoiled_gradient_echo(angle, 0.005, 1.2)) for angle in flip])
        >>> round(float(fit_vfa(signal, flip, 0.005)["t1"]), 3)
        1.2
    """
    magnitude = np.abs(np.asarray(signal, dtype=complex))
    shape, n = magnitude.shape[:-1], magnitude.shape[-1]
    angles = as_settings("flip", flip, n)
    field = np.asarray(b1, dtype=float)
    _check(angles, tr, field, shape, method, spoiling)
    rows = magnitude.reshape(-1, n)
    extra = np.broadcast_to(np.where(field > 0, field, np.nan), shape).reshape(-1, 1)
    if method == "linear":
        return _linear(rows, angles, tr, extra, shape)
    settings = np.stack([angles, np.full(n, tr)], axis=1)
    if spoiling is None:
        limits, design = (max(2 * tr, 5e-3), LONGEST), _ernst
    else:
        limits, design = (math.exp(T1_RANGE[0]), math.exp(T1_RANGE[1])), _spoiled
        shares = _shares(angles, tr, extra[:, 0], spoiling, shape)
        extra = np.concatenate([extra, shares.reshape(len(rows), -1)], axis=1)
    found = fit(design, rows, settings, limits, extra=extra, noise=noise)
    return found.result(shape, "t1", "m0")


def _check(
    flip: np.ndarray, tr: float, b1: np.ndarray, shape: tuple[int, ...], method: str, spoiling: Spoiling | None
) -> None:
    problems = []
    if not ((flip > 0) & (flip < np.pi / 2)).all():
        worst = flip[np.argmax(np.abs(flip - np.pi / 4))]
        problems.append(Problem(f"must lie between 0 and 90 deg, but is {np.degrees(worst):g} deg", path="flip"))
    if not (np.isfinite(tr) and tr > 0):
        problems.append(Problem(f"must be above zero, but is {tr:g} s", path="tr"))
    if b1.shape not in ((), shape):
        problems.append(Problem(f"must be one value or have shape {shape}, but has {b1.shape}", path="b1"))
    if method not in ("nonlinear", "linear"):
        problems.append(Problem(f"must be nonlinear or linear, but is '{method}'", path="method"))
    problems += spoiling_problems(spoiling, shape)
    if method == "linear" and spoiling is not None:
        rule = "must be left out for the linear method, which holds for ideal spoiling only, but is given"
        problems.append(Problem(rule, "Take the nonlinear method", "spoiling"))
    if problems:
        raise ConsistencyError(problems)
    require_measurements("flip", len(np.unique(flip)), 2)


def _ernst(t1: Array, settings: Float[Array, "n 2"], voxel: Float[Array, " 1"]) -> Float[Array, "1 n"]:
    return spoiled_gradient_echo(settings[:, 0] * voxel[0], settings[:, 1], t1)[None]


def _spoiled(t1: Array, settings: Float[Array, "n 2"], voxel: Float[Array, " extra"]) -> Float[Array, "1 n"]:
    """Ernst's signal times the share of it that real spoiling leaves; its coefficients follow B1 in the properties."""
    place = place_between(*T1_RANGE, jnp.log(t1))
    return _ernst(t1, settings, voxel) * chebyshev_sum(voxel[1:].reshape(len(settings), -1), place)[None]


def _shares(
    flip: np.ndarray, tr: float, b1: np.ndarray, spoiling: Spoiling, shape: tuple[int, ...]
) -> Float[np.ndarray, "voxels n t1"]:
    table = SpoilingTable.of(flip, tr, b1, spoiling)
    t2 = np.asarray(spoiling.t2, dtype=float)
    echo, times = np.broadcast_arrays(np.broadcast_to(t2, shape).reshape(-1, 1), np.exp(table.t1))
    return chebyshev_coefficients(table.at(b1, times, echo))


def _linear(
    rows: Float[np.ndarray, "voxels n"], flip: np.ndarray, tr: float, b1: np.ndarray, shape: tuple[int, ...]
) -> FitResult:
    """Slope and offset of S/sin over S/tan: E1 and M0 (1 - E1)."""
    angles = flip * b1
    with np.errstate(all="ignore"):
        x, y = rows / np.tan(angles), rows / np.sin(angles)
        dx = x - x.mean(axis=1, keepdims=True)
        e1 = (dx * y).sum(axis=1) / (dx**2).sum(axis=1)
        t1 = -tr / np.log(e1)
        m0 = (y.mean(axis=1) - e1 * x.mean(axis=1)) / (1 - e1)
        model = m0[:, None] * np.sin(angles) * (1 - e1[:, None]) / (1 - e1[:, None] * np.cos(angles))
        residual = np.sqrt(np.mean((model - rows) ** 2, axis=1))
    good = (e1 > 0) & (e1 < 1) & (t1 < LONGEST) & np.isfinite(m0)
    empty = np.isfinite(rows).all(axis=1) & (rows == 0).all(axis=1)
    counts = {"fitted": int(good.sum()), "empty": int(empty.sum()), "failed": int((~good & ~empty).sum())}
    kept = {"t1": np.where(good, t1, np.nan).reshape(shape), "m0": np.where(good, m0, np.nan).reshape(shape)}
    unknown = np.full(shape, np.nan)
    return FitResult(
        maps=kept,
        standard_error={"t1": unknown, "m0": unknown},
        converged=good.reshape(shape),
        residual=np.where(good, residual, np.nan).reshape(shape),
        counts=counts,
    )
