"""Intravoxel incoherent motion: a fast pool of flowing blood beside the slow one of tissue."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from mrisim._types import Array, Float
from mrisim.errors import ConsistencyError, Problem
from mrisim.mapping.bounded import State, advance, minimize
from mrisim.mapping.diffusion.adc import log_result
from mrisim.mapping.diffusion.linear import fit_log
from mrisim.mapping.diffusion.weights import LEAST, b_values
from mrisim.mapping.least_squares import double_precision
from mrisim.mapping.separable import FitResult, fit

METHODS = ("full", "segmented")
SPLIT = 200e6  # b value from which the fast pool has decayed [s/m²]
SLOW, FAST = (0.0, 4e-9), (4e-9, 500e-9)  # where D and D* are looked for [m²/s]
GRID = 24  # values of each that the search tries
NO_POOL = 1e-4  # a fast fraction up to it says nothing about D*
_UNIT = 1e-9  # [m²/s]; parameters of the search are of order one
_LOWER = np.array([0.0, 0.0, SLOW[0] / _UNIT, FAST[0] / _UNIT])
_UPPER = np.array([4.0, 1.0, SLOW[1] / _UNIT, FAST[1] / _UNIT])  # s0 in units of the largest signal


def fit_ivim(
    signal: ArrayLike, b: ArrayLike, *, method: str = "full", split: float = SPLIT, noise: float | None = None
) -> FitResult:
    """D, f and D* from S = s0 ((1 - f) exp(-b D) + f exp(-b D*)).

    "full" fits all four unknowns at once, from a search over D and D* with the amplitudes projected out, within D up to
    4 and D* from 4 to 500 µm²/ms. "segmented" takes D from the images from `split` upwards, where it holds the fast
    pool for decayed, and D* from what the slow pool leaves below: more robust against noise, but biased where D* is
    slow, because exp(-split D*) is not zero.

    Args:
        signal: (..., n), complex or real.
        b: n b values, or (n, 3, 3) b-matrices [s/m²].
        method: "full" or "segmented".
        split: b value from which the segmented fit takes D [s/m²].
        noise: Standard deviation of the signal, for the standard errors; from the residuals where not given.

    Returns:
        Maps `d`, `d_star` [m²/s], `f` [1] and `s0`. `d_star` is nan where there is no fast pool. A D* or f at its upper
        bound is no measurement, and its voxel is nan.

    Raises:
        ConsistencyError: b that does not match the signal, fewer different values than the fit needs, unknown method.

    Source:
        Le Bihan et al., Radiology 168:497 (1988).

    Example:
        >>> b = np.array([0, 10, 20, 40, 60, 100, 150, 200, 400, 600, 800]) * 1e6
        >>> found = fit_ivim(0.8 * np.exp(-b * 1e-9) + 0.2 * np.exp(-b * 50e-9), b)
        >>> [round(float(found[name]), 4) for name in ("f", "s0")], round(float(found["d_star"]) * 1e9, 4)
        ([0.2, 1.0], 50.0)
    """
    magnitude = np.abs(np.asarray(signal))
    shape, n = magnitude.shape[:-1], magnitude.shape[-1]
    if method not in METHODS:
        raise ConsistencyError(Problem(f"must be {' or '.join(METHODS)}, but is '{method}'", path="method"))
    values = b_values(b, n, different=4)
    rows = magnitude.reshape(-1, n)
    if method == "segmented":
        return _segmented(rows, values, shape, split, noise)
    return _full(rows, values, shape, noise)


def _segmented(
    rows: np.ndarray, b: Float[np.ndarray, " n"], shape: tuple[int, ...], split: float, noise: float | None
) -> FitResult:
    high = b >= split
    for part, needed, where in ((b[high], 2, "from"), (b[~high], 2, "below")):
        if len(np.unique(part)) < needed:
            rule = (
                f"must hold at least {needed} different values {where} {split / LEAST:g} s/mm^2, but holds {len(part)}"
            )
            raise ConsistencyError(Problem(rule, "Change split, or take the full fit", "b"))
    slow = fit_log(np.stack([np.ones(high.sum()), -b[high]], axis=1), rows[:, high], noise)
    level, d = np.exp(slow.parameters[:, 0]), slow.parameters[:, 1]
    rest = rows - level[:, None] * np.exp(-b * d[:, None])
    fast = fit(_decay, rest, b[:, None], (1.0 / FAST[1], 1.0 / FAST[0]), noise=noise)
    amplitude = np.where(fast.converged, np.real(fast.amplitudes[:, 0]), 0.0)
    pool = amplitude > NO_POOL * level
    amplitude = np.where(pool, amplitude, 0.0)
    s0 = level + amplitude
    covariance = slow.inverse * slow.variance[:, None, None]
    level_error = np.sqrt(covariance[:, 0, 0]) * level
    spread = np.hypot(level * np.where(pool, fast.amplitude_error[:, 0], np.nan), amplitude * level_error)
    maps = {"d": d, "f": amplitude / s0, "s0": s0}
    errors = {"d": np.sqrt(covariance[:, 1, 1]), "f": spread / s0**2}
    result = log_result(slow, shape, maps, errors)
    d_star = np.where(pool, 1.0 / np.where(pool, fast.time, 1.0), np.nan)
    star_error = np.where(pool, fast.time_error * d_star**2, np.nan)
    return _with(result, "d_star", d_star, star_error)


def _with(result: FitResult, name: str, values: np.ndarray, error: np.ndarray) -> FitResult:
    """A map more, which may be unknown where the fit converged."""
    keep = result.converged
    return FitResult(
        maps={**result.maps, name: np.where(keep, values.reshape(keep.shape), np.nan)},
        standard_error={**result.standard_error, name: np.where(keep, error.reshape(keep.shape), np.nan)},
        converged=keep,
        residual=result.residual,
        counts=result.counts,
    )


def _decay(time: Array, settings: Float[Array, "n 1"], voxel: Array) -> Float[Array, "1 n"]:
    return jnp.exp(-settings.T / time)


def _full(rows: np.ndarray, b: Float[np.ndarray, " n"], shape: tuple[int, ...], noise: float | None) -> FitResult:
    n = len(b)
    finite: np.ndarray = np.asarray(np.isfinite(rows).all(axis=1))
    scale = np.where(finite, np.where(finite[:, None], rows, 0.0).max(axis=1), 0.0)
    usable = np.flatnonzero(scale > 0)
    y = rows[usable] / scale[usable, None]
    scaled = b * _UNIT
    inside = 1e-6 * (_UPPER - _LOWER)
    start = np.clip(_search(y, scaled), _LOWER + inside, _UPPER - inside)
    with double_precision():
        settings = tuple(jnp.asarray(v) for v in (scaled, _LOWER, _UPPER))
        state = minimize(lambda y, state: _steps(y, state, *settings), (y,), start)
    variance = (noise / scale[usable]) ** 2 if noise is not None else state.cost / (n - 4) if n > 4 else np.nan
    p, factor = state.parameters, np.stack([scale[usable], np.ones(len(usable)), *[np.full(len(usable), _UNIT)] * 2], 1)
    pool = p[:, 1] > NO_POOL
    beyond = (p[:, :2] >= _UPPER[:2]).any(axis=1) | (
        pool & ((p[:, 2:] >= _UPPER[2:]) | (p[:, 2:] <= _LOWER[2:])).any(1)
    )
    good = np.where(pool, state.settled & np.isfinite(state.variance).all(axis=1), np.isfinite(state.cost)) & ~beyond
    known = np.reshape(good, (-1, 1)) & np.stack(
        [np.ones_like(pool), np.ones_like(pool), np.ones_like(pool), pool], axis=1
    )
    with np.errstate(invalid="ignore"):
        error = np.sqrt(state.variance * np.reshape(variance, (-1, 1))) * factor
    values = p * factor
    names = ("s0", "f", "d", "d_star")

    def place(column: np.ndarray, keep: np.ndarray) -> np.ndarray:
        full = np.full(len(rows), np.nan)
        full[usable[keep]] = column[keep]
        return full.reshape(shape)

    converged = np.zeros(len(rows), dtype=bool)
    converged[usable[good]] = True
    empty = int((finite & (scale == 0)).sum())
    return FitResult(
        maps={name: place(values[:, i], known[:, i]) for i, name in enumerate(names)},
        standard_error={name: place(error[:, i], known[:, i] & pool) for i, name in enumerate(names)},
        converged=converged.reshape(shape),
        residual=place(np.sqrt(state.cost / n) * scale[usable], good),
        counts={"fitted": int(good.sum()), "empty": empty, "failed": len(rows) - int(good.sum()) - empty},
    )


@jax.jit
def _steps(y: Array, state: State, b: Array, lower: Array, upper: Array) -> State:
    def model(p: Float[Array, " 4"]) -> Float[Array, " n"]:
        return p[0] * ((1.0 - p[1]) * jnp.exp(-b * p[2]) + p[1] * jnp.exp(-b * p[3]))

    return jax.vmap(lambda one, at: advance(lambda p: model(p) - one, at, lower, upper))(y, state)


def _search(y: Float[np.ndarray, "voxels n"], b: Float[np.ndarray, " n"]) -> Float[np.ndarray, "voxels 4"]:
    """s0, f, D and D* of the best pair on a grid, its amplitudes by linear least squares, none below zero."""
    slow = np.linspace(0.05, 0.9 * _UPPER[2], GRID)  # apart from the fast ones
    fast = np.geomspace(_LOWER[3], _UPPER[3], GRID)
    best, start = np.full(len(y), np.inf), np.zeros((len(y), 4))
    power = (y**2).sum(axis=1)
    for d in slow:
        one = np.exp(-b * d)
        for d_star in fast:
            basis = np.stack([one, np.exp(-b * d_star)], axis=1)
            normal, right = basis.T @ basis, y @ basis
            amplitude = right @ np.linalg.inv(normal)
            alone = right[:, :1] / normal[0, 0]
            amplitude = np.where((amplitude < 0).any(axis=1, keepdims=True), np.hstack([alone, 0 * alone]), amplitude)
            cost = power - 2 * (amplitude * right).sum(axis=1) + ((amplitude @ normal) * amplitude).sum(axis=1)
            better = cost < best
            total = amplitude.sum(axis=1)
            found = np.stack([total, amplitude[:, 1] / total, np.full(len(y), d), np.full(len(y), d_star)], axis=1)
            best, start = np.where(better, cost, best), np.where(better[:, None], found, start)
    return start
