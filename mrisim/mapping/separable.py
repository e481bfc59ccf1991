"""Fits of one time constant and a few amplitudes: grid search with projected amplitudes, then Levenberg–Marquardt.

All relaxation models of this package are linear in their amplitudes once the time constant is given, so the grid search
over that constant needs no other initial value and cannot start in a wrong valley.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mrisim._types import Array, Bool, Float
from mrisim.errors import ConsistencyError, Finding, Problem
from mrisim.mapping.least_squares import double_precision, levenberg_marquardt, solve_positive

CHUNK = 512  # voxels per call of the compiled fit; one size, so one compilation
GRID = 64  # time constants that the search tries, equidistant in their logarithm
STEPS = 16  # from within a step of the grid; a handful do, the rest is for noise
Design = Callable[[Float[Array, ""], Float[Array, "n columns"], Float[Array, " extra"]], Float[Array, "q n"]]
"""Model per unit amplitude: (time constant, settings of the n measurements, properties of the voxel) → (q, n)."""
Penalty = Callable[[Float[Array, " q"]], Float[Array, ""]]
"""How far amplitudes are from physical: zero where they are, infinity where the fit must be refused."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FitResult(Mapping):
    """Named maps of one fit: `result["t1"]`. Voxels that were not fitted are nan, and False in `converged`."""

    maps: Mapping[str, np.ndarray]
    standard_error: Mapping[str, np.ndarray]  # by the same names
    converged: Bool[np.ndarray, "*shape"]
    residual: Float[np.ndarray, "*shape"]  # root mean square of model minus data, in units of the signal
    counts: Mapping[str, int] = field(default_factory=dict)  # voxels: fitted, empty (no signal), failed
    findings: tuple[Finding, ...] = ()  # what whoever reads the maps must hear

    def noting(self, *findings: Finding) -> FitResult:
        """With further findings."""
        return replace(self, findings=(*self.findings, *findings))

    def __getitem__(self, name: str) -> np.ndarray:
        return self.maps[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.maps)

    def __len__(self) -> int:
        return len(self.maps)


class Voxels(NamedTuple):
    """Result of `fit`, one row per voxel of the flattened signal; nan where not converged."""

    time: np.ndarray
    time_error: np.ndarray
    amplitudes: np.ndarray  # (voxels, q), complex if the data are
    amplitude_error: np.ndarray  # (voxels, q), of the magnitude
    residual: np.ndarray
    converged: np.ndarray
    counts: Mapping[str, int]

    def result(self, shape: tuple[int, ...], time: str, *amplitudes: str) -> FitResult:
        """As named maps of a shape: the time constant, then the amplitudes."""
        maps, errors = {time: self.time}, {time: self.time_error}
        for column, name in enumerate(amplitudes):
            maps[name], errors[name] = self.amplitudes[:, column], self.amplitude_error[:, column]
        return FitResult(
            maps={name: values.reshape(shape) for name, values in maps.items()},
            standard_error={name: values.reshape(shape) for name, values in errors.items()},
            converged=self.converged.reshape(shape),
            residual=self.residual.reshape(shape),
            counts=self.counts,
        )


Values = Any  # Array inside jit, np.ndarray outside


class _Fit(NamedTuple):
    log_time: Values
    amplitudes: Values
    variance: Values  # of log time, then of the amplitudes
    cost: Values
    converged: Values


def fit(
    design: Design,
    signal: np.ndarray,
    settings: Float[np.ndarray, "n columns"],
    bounds: tuple[float, float],
    extra: Float[np.ndarray, "voxels extra"] | None = None,
    signs: Float[np.ndarray, "polarities n"] | None = None,
    penalty: Penalty | None = None,
    noise: float | None = None,
) -> Voxels:
    """Fit a separable model to every row of a signal.

    Args:
        design: Model per unit amplitude; a module-level function, because it is compiled once per identity.
        signal: (voxels, n), real or complex.
        settings: What distinguishes the n measurements, such as TI.
        bounds: Smallest and largest time constant; a voxel that ends outside counts as not converged [s].
        extra: Properties of each voxel that the model needs.
        signs: Polarities that real data may have had before their magnitude was taken; the best fit among them wins.
        penalty: Ranks polarities before their residuals do; a module-level function, as `design`.
        noise: Standard deviation of the (real part of the) data; from the residuals where not given.

    Returns:
        Time constants, amplitudes and their standard errors, by the curvature at the minimum.
    """
    n = signal.shape[1]
    extra = np.zeros((len(signal), 0)) if extra is None else extra
    signs = np.ones((1, n)) if signs is None else signs
    finite = np.all(np.isfinite(signal), axis=1) & np.all(np.isfinite(extra), axis=1)
    scale = np.where(finite, np.abs(np.where(finite[:, None], signal, 0.0)).max(axis=1), 0.0)
    usable = np.flatnonzero(finite & (scale > 0))
    with double_precision():
        found = _run((design, penalty), signal[usable] / scale[usable, None], extra[usable], settings, signs, bounds)
    q = found.amplitudes.shape[1]
    degrees = n * (2 if np.iscomplexobj(signal) else 1) - (1 + q * (2 if np.iscomplexobj(signal) else 1))
    if noise is not None:
        variance = (noise / scale[usable]) ** 2
    elif degrees > 0:
        variance = found.cost / degrees
    else:
        variance = np.full(len(usable), np.nan)  # as many unknowns as data: the residuals say nothing
    return _spread(len(signal), usable, scale, found, variance, finite, n)


def _spread(
    total: int, usable: np.ndarray, scale: np.ndarray, found: _Fit, variance: np.ndarray, finite: np.ndarray, n: int
) -> Voxels:
    converged = np.zeros(total, dtype=bool)
    converged[usable] = found.converged
    rows, ok = usable[found.converged], found.converged
    error = np.sqrt(found.variance[ok] * variance[ok, None])
    q = found.amplitudes.shape[1]

    def place(values: np.ndarray) -> np.ndarray:
        full = np.full((total, *values.shape[1:]), np.nan, dtype=values.dtype)
        full[rows] = values
        return full

    time = np.exp(found.log_time[ok])
    counts = {
        "fitted": int(converged.sum()),
        "empty": int((finite & (scale == 0)).sum()),
        "failed": int((~finite).sum() + (~found.converged).sum()),
    }
    return Voxels(
        time=place(time),
        time_error=place(time * error[:, 0]),
        amplitudes=place(found.amplitudes[ok] * scale[rows, None]),
        amplitude_error=place(error[:, 1 : 1 + q] * scale[rows, None]),
        residual=place(np.sqrt(found.cost[ok] / n) * scale[rows]),
        converged=converged,
        counts=counts,
    )


def _run(model: tuple[Design, Penalty | None], signal, extra, settings, signs, bounds) -> _Fit:
    """Fit in chunks of equal size; rows of padding repeat the first voxel."""
    kind = np.complex128 if np.iscomplexobj(signal) else np.float64
    total = len(signal)
    pieces = []
    if total == 0:
        signal, extra = np.ones((1, len(settings))), np.ones((1, extra.shape[1]))
    for first in range(0, len(signal), CHUNK):
        rows = np.arange(first, first + CHUNK)
        rows = np.where(rows < len(signal), rows, 0)
        block, voxel = np.asarray(signal[rows], dtype=kind), np.asarray(extra[rows], dtype=float)
        arguments = (jnp.asarray(v) for v in (block, voxel, np.asarray(settings, float), np.asarray(signs, float)))
        pieces.append(_fit_chunk(model, *arguments, jnp.asarray(bounds, dtype=float)))
    columns = (np.concatenate([np.asarray(piece[i]) for piece in pieces])[:total] for i in range(len(_Fit._fields)))
    return _Fit(*columns)


@partial(jax.jit, static_argnums=0)
def _fit_chunk(
    model: tuple[Design, Penalty | None], signal: Array, extra: Array, settings: Array, signs: Array, bounds: Array
) -> _Fit:
    return jax.vmap(lambda y, v: _fit_voxel(*model, y, v, settings, signs, bounds))(signal, extra)


def _fit_voxel(
    design: Design, penalty: Penalty | None, y: Array, voxel: Array, settings: Array, signs: Array, bounds: Array
) -> _Fit:
    """Fit with each polarity; of those that converged, the least penalty wins, then the least cost."""
    fits = jax.vmap(lambda sign: _fit_polarity(design, y * sign, voxel, settings, bounds))(signs)
    penalties = jnp.zeros_like(fits.cost) if penalty is None else jax.vmap(penalty)(fits.amplitudes)
    fits = fits._replace(converged=fits.converged & jnp.isfinite(penalties))
    penalties = jnp.where(fits.converged, penalties, jnp.inf)
    rank = jnp.where(penalties == jnp.min(penalties), fits.cost, jnp.inf)
    return jax.tree.map(lambda values: values[jnp.argmin(rank)], fits)


def _fit_polarity(design: Design, y: Array, voxel: Array, settings: Array, bounds: Array) -> _Fit:
    parts = jnp.stack([y.real, y.imag]) if jnp.iscomplexobj(y) else y[None]
    model = lambda log_time: design(jnp.exp(log_time), settings, voxel)  # noqa: E731
    start = _search(model, parts, bounds)
    solution = levenberg_marquardt(lambda p: _remainder(parts, _basis(model(p[0]))).ravel(), start[None], STEPS)
    log_time = solution.parameters[0]
    amplitudes, variance = _amplitudes(model, log_time, parts)
    inside = (log_time > jnp.log(bounds[0])) & (log_time < jnp.log(bounds[1]))
    return _Fit(
        log_time=log_time,
        amplitudes=lax.complex(*amplitudes) if jnp.iscomplexobj(y) else amplitudes[0],
        variance=variance,
        cost=solution.cost,
        converged=solution.converged & inside & jnp.all(jnp.isfinite(variance)),
    )


def _search(model: Callable[[Array], Array], parts: Float[Array, "parts n"], bounds: Array) -> Float[Array, ""]:
    """Log time constant of the least cost on a grid, amplitudes projected out.

    Source:
        Variable projection: Golub and Pereyra, SIAM J Numer Anal 10:413 (1973); as a grid search for inversion
        recovery: Barral et al., Magn Reson Med 64:1057 (2010).
    """
    grid = jnp.linspace(jnp.log(bounds[0]), jnp.log(bounds[1]), GRID)

    def better(best, log_time):
        cost = jnp.sum(_remainder(parts, _basis(model(log_time))) ** 2)
        wins = cost < best[0]  # False for a cost that is not a number
        return (jnp.where(wins, cost, best[0]), jnp.where(wins, log_time, best[1])), None

    (_, start), _ = lax.scan(better, (jnp.full_like(grid[0], jnp.inf), grid[0]), grid)
    return start


def _basis(columns: Float[Array, "q n"]) -> list[Float[Array, " n"]]:
    """Orthonormal basis of the model's columns, by Gram and Schmidt."""
    basis: list[Array] = []
    for column in columns:
        rest = _remainder(column[None], basis)[0]
        basis.append(rest * lax.rsqrt(jnp.sum(rest**2)))
    return basis


def _remainder(parts: Float[Array, "parts n"], basis: list[Float[Array, " n"]]) -> Float[Array, "parts n"]:
    """What no amplitudes can explain."""
    for unit in basis:
        parts = parts - jnp.sum(parts * unit, axis=1, keepdims=True) * unit[None]
    return parts


def _amplitudes(model: Callable[[Array], Array], log_time: Array, parts: Float[Array, "parts n"]):
    """Least-squares amplitudes (parts, q), and the variances of log time and of each magnitude, for unit variance.

    The inverse of JᵀJ by its Schur complement: J holds the model's columns once per part, and one column for log time.
    """
    columns, slope = jax.jvp(model, (log_time,), (jnp.ones_like(log_time),))
    q = len(columns)
    by_time = lambda c: jnp.sum(slope * c[:, None], axis=0)  # noqa: E731
    normal = jnp.sum(columns[:, None] * columns[None], axis=2)
    solve = jax.vmap(lambda right: solve_positive(normal, right))
    amplitudes = solve(jnp.sum(columns[None] * parts[:, None], axis=2))
    derivative = jax.vmap(by_time)(amplitudes)
    information = jnp.sum(_remainder(derivative, _basis(columns)) ** 2)
    shadow = solve(jnp.sum(columns[None] * derivative[:, None], axis=2))
    size = jnp.sqrt(jnp.sum(amplitudes**2, axis=0))
    along = jnp.sum(shadow * amplitudes, axis=0) / jnp.where(size > 0, size, 1.0)
    spread = jnp.diag(solve(jnp.eye(q, dtype=normal.dtype))) + along**2 / information
    return amplitudes, jnp.concatenate([1 / information[None], spread])


def as_settings(name: str, values: object, n: int) -> Float[np.ndarray, " n"]:
    """A setting per measurement; a scalar is spread.

    Raises:
        ConsistencyError: another length than the signal's last axis, or values that are nan or negative.
    """
    array = np.asarray(values, dtype=float)
    if array.shape not in ((), (n,)):
        raise ConsistencyError(
            Problem(f"must have one value for each of the {n} measurements, but has shape {array.shape}", path=name)
        )
    array = np.array(np.broadcast_to(array, (n,)))
    if not (array >= 0).all():
        raise ConsistencyError(Problem("must be zero or positive, but holds nan or a negative value", path=name))
    return array


def require_measurements(path: str, found: int, needed: int) -> None:
    """Refuse a fit with fewer distinct measurements than its model has unknowns.

    Raises:
        ConsistencyError: too few.
    """
    if found < needed:
        raise ConsistencyError(
            Problem(
                f"must have at least {needed} different values, but has {found}", "Measure at more of them", path=path
            )
        )
