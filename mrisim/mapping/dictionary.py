"""Signals over a grid of tissue properties: matching, and refinement between the points of the grid.

A dictionary holds the signal at each point of a grid of properties. A voxel is matched with the nearest signal by the
normalised inner product, then its properties are moved by Gauss–Newton steps on splines through the dictionary, so that
the grid may be coarse. The amplitude, complex or real, is projected out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.interpolate import NdBSpline, make_interp_spline

from mrisim._types import Bool, Float, Int
from mrisim.errors import ConsistencyError, Problem
from mrisim.mapping.separable import FitResult

STEPS = 30  # of the refinement; those that have settled no longer move
CHUNK = 4096  # voxels refined at once
_SETTLED = 1e-6  # of a step of the grid
_DEGREE = 3  # of the splines
_LONGEST = 1.0  # step of the refinement, in steps of the grid


@dataclass(frozen=True, kw_only=True, eq=False)
class Dictionary:
    """Signals over a grid. Axes have at least four points, equidistant in the property or in its logarithm."""

    axes: Mapping[str, Float[np.ndarray, " points"]]  # property → its values, ascending
    signals: np.ndarray  # (*points of each axis, n), real or complex
    logarithmic: tuple[str, ...] = ()  # axes that are equidistant in their logarithm

    def compressed(self, tolerance: float = 1e-4, rank: int | None = None) -> tuple[Dictionary, np.ndarray]:
        """Fewer numbers per signal: coefficients of the leading singular vectors, and these vectors.

        Args:
            tolerance: Root of the energy that may be lost, relative to all.
            rank: Number of vectors, in place of the tolerance.

        Returns:
            The dictionary of coefficients, and the basis (n, rank): signals @ conj(basis).

        Source:
            McGivney et al., IEEE Trans Med Imaging 33:2311 (2014).

        Example:
            >>> t = np.linspace(0.0, 1.0, 50)
            >>> rates = np.linspace(1.0, 2.0, 8)
            >>> full = Dictionary(axes={"rate": rates}, signals=np.exp(-rates[:, None] * t))
            >>> full.compressed(1e-3)[0].signals.shape
            (8, 3)
        """
        rows = self.signals.reshape(-1, self.signals.shape[-1])
        power, vectors = np.linalg.eigh(rows.conj().T @ rows)
        lost = np.sqrt(np.maximum(np.cumsum(power), 0.0) / power.sum())
        kept = rank or max(1, int(np.sum(lost > tolerance)))
        basis = vectors[:, ::-1][:, :kept].conj()
        return self.on(basis), basis

    def on(self, basis: np.ndarray) -> Dictionary:
        """Its coefficients on an orthonormal basis (n, rank): signals @ conj(basis)."""
        return replace(self, signals=self.signals @ basis.conj())

    def match(
        self,
        signal: np.ndarray,
        given: Mapping[str, Float[np.ndarray, " voxels"]] | None = None,
        noise: float | None = None,
    ) -> FitResult:
        """Properties and amplitude `m0` of each voxel.

        Args:
            signal: (voxels, n).
            given: Properties of the axes that are known in each voxel, and not fitted.
            noise: Standard deviation of (the real part of) a signal; from the residuals where not given.

        Returns:
            Maps by the names of the axes that are fitted, and `m0`; nan where the signal is zero or not finite, where
            a given property is, or where the best match lies at the edge of the grid.

        Raises:
            ConsistencyError: as many numbers per voxel as the dictionary has not.
        """
        wanted = self.signals.shape[-1]
        if signal.ndim != 2 or signal.shape[1] != wanted:
            rule = f"must have shape (voxels, {wanted}), as the dictionary's signals, but has {signal.shape}"
            raise ConsistencyError(Problem(rule, "Compress both with one basis, or neither", path="signal"))
        given = dict(given or {})
        usable = np.isfinite(signal).all(axis=1) & (np.abs(signal).max(axis=1, initial=0.0) > 0)
        for values in given.values():
            usable &= np.isfinite(values)
        rows = np.flatnonzero(usable)
        places = np.full((len(signal), len(self.axes)), np.nan)
        for axis, name in enumerate(self.axes):
            if name in given:
                places[rows, axis] = self._place(name, np.asarray(given[name], float)[rows])
        free = [axis for axis, name in enumerate(self.axes) if name not in given]
        found = _Found.empty(len(signal), len(free))
        for part in np.split(rows, range(CHUNK, len(rows), CHUNK)):
            start = self._nearest(signal[part], places[part], free)
            found.put(part, self._refine(signal[part], start, free))
        return self._result(found, free, usable, signal.shape[1], np.iscomplexobj(signal), noise)

    def _place(self, name: str, values: np.ndarray) -> np.ndarray:
        """Places on an axis, in steps of the grid from its first point; clipped to the grid."""
        points = np.asarray(self.axes[name], dtype=float)
        if name in self.logarithmic:
            points, values = np.log(points), np.log(np.maximum(values, 1e-30))
        return np.clip((values - points[0]) / (points[-1] - points[0]), 0.0, 1.0) * (len(points) - 1)

    def _value(self, name: str, place: np.ndarray) -> np.ndarray:
        points = np.asarray(self.axes[name], dtype=float)
        if name in self.logarithmic:
            return points[0] * (points[-1] / points[0]) ** (place / (len(points) - 1))
        return points[0] + (points[-1] - points[0]) * place / (len(points) - 1)

    def _groups(
        self, places: np.ndarray, fixed: list[int]
    ) -> Iterator[tuple[Int[np.ndarray, " rows"], tuple[int, ...]]]:
        """Voxels by the grid points nearest to what is given."""
        keys, row = np.unique(np.rint(places[:, fixed]).astype(int), axis=0, return_inverse=True)
        for i, key in enumerate(keys):
            yield np.flatnonzero(row.reshape(-1) == i), tuple(key)

    def _nearest(self, signal: np.ndarray, places: np.ndarray, free: list[int]) -> np.ndarray:
        """Places with the free axes at the grid point of the largest normalised inner product."""
        places, shape = places.copy(), self.signals.shape[:-1]
        fixed = [axis for axis in range(len(shape)) if axis not in free]
        normed = self.signals / np.maximum(np.linalg.norm(self.signals, axis=-1, keepdims=True), 1e-300)
        for rows, key in self._groups(places, fixed):
            chosen = normed[tuple(key[fixed.index(a)] if a in fixed else slice(None) for a in range(len(shape)))]
            inner = np.abs(signal[rows] @ chosen.reshape(-1, signal.shape[1]).conj().T)
            best = np.unravel_index(np.argmax(inner, axis=1), [shape[a] for a in free])
            places[rows[:, None], np.array(free)] = np.stack(best, axis=1)
        return places

    @cached_property
    def _spline(self) -> NdBSpline:
        coefficients, knots = self._parts(self.signals), []
        for axis, points in enumerate(self.axes.values()):
            spline = make_interp_spline(
                np.arange(len(points), dtype=float), np.moveaxis(coefficients, axis, 0), _DEGREE
            )
            coefficients = np.moveaxis(spline.c, 0, axis)
            knots.append(spline.t)
        return NdBSpline(tuple(knots), coefficients, _DEGREE)

    @staticmethod
    def _parts(values: np.ndarray) -> np.ndarray:
        """Real and imaginary parts side by side; real values as they are."""
        return np.concatenate([np.real(values), np.imag(values)], axis=-1) if np.iscomplexobj(values) else values

    def _model(self, places: np.ndarray, free: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Signals (voxels, n) and their derivatives along the free axes (voxels, free, n)."""
        orders = [np.zeros(places.shape[1], dtype=int) for _ in range(len(free) + 1)]
        for i, axis in enumerate(free):
            orders[i + 1][axis] = 1
        values = [self._spline(places, nu=order) for order in orders]
        if np.iscomplexobj(self.signals):
            n = self.signals.shape[-1]
            values = [v[:, :n] + 1j * v[:, n:] for v in values]
        return values[0], np.stack(values[1:], axis=1)

    def _refine(self, signal: np.ndarray, places: np.ndarray, free: list[int]) -> _Found:
        """Gauss–Newton steps of at most a grid step, each halved until it lowers the residual.

        Source:
            Variable projection with Kaufman's derivative: Kaufman, BIT 15:49 (1975).
        """
        top = np.array([len(points) - 1 for points in self.axes.values()], dtype=float)[free]
        scale, settled = np.full(len(signal), _LONGEST), np.zeros(len(signal), dtype=bool)
        state = self._linearize(signal, places, free)
        for _ in range(STEPS):
            size = np.abs(state.step).max(axis=1)
            step = state.step * np.minimum(1.0, _LONGEST / np.maximum(size, 1e-300))[:, None]  # downhill all the same
            settled |= size < _SETTLED
            moving = ~settled & (scale > 1e-3)
            if not moving.any():
                break
            tried = places[moving]
            tried[:, free] = np.clip(tried[:, free] + scale[moving, None] * step[moving], 0.0, top)
            new = self._linearize(signal[moving], tried, free)
            better = new.cost <= state.cost[moving]
            rows = np.flatnonzero(moving)
            places[rows[better]] = tried[better]
            state.put(rows[better], new.take(better))
            scale[rows] = np.where(better, np.minimum(1.0, 2 * scale[rows]), 0.5 * scale[rows])
        inner = ((places[:, free] > 0) & (places[:, free] < top)).all(axis=1)
        flat = settled | (np.abs(state.step).max(axis=1) < 1e-2)  # rounding refuses the last steps
        return _Found(places[:, free], state.amplitude, state.cost, state.variance, inner & flat)

    def _linearize(self, signal: np.ndarray, places: np.ndarray, free: list[int]) -> _Linear:
        model, slopes = self._model(places, free)
        power = np.sum(np.abs(model) ** 2, axis=1)
        amplitude = np.sum(model.conj() * signal, axis=1) / power
        rest = signal - amplitude[:, None] * model
        slopes = slopes * amplitude[:, None, None]
        along = np.sum(model.conj()[:, None] * slopes, axis=2) / power[:, None]
        slopes = slopes - along[:, :, None] * model[:, None]
        normal = np.einsum("vin,vjn->vij", slopes.conj(), slopes).real
        inverse = np.linalg.pinv(normal, hermitian=True)
        step = np.einsum("vij,vj->vi", inverse, np.einsum("vin,vn->vi", slopes.conj(), rest).real)
        variance = np.diagonal(inverse, axis1=1, axis2=2)
        shadow = np.einsum("vi,vij,vj->v", along.real, inverse, along.real) / np.maximum(np.abs(amplitude), 1e-300) ** 2
        of_amplitude = 1 / power + shadow * np.abs(amplitude) ** 2
        return _Linear(step, amplitude, np.sum(np.abs(rest) ** 2, axis=1), np.column_stack([variance, of_amplitude]))

    def _result(
        self,
        found: _Found,
        free: list[int],
        usable: Bool[np.ndarray, " voxels"],
        n: int,
        pairs: bool,
        noise: float | None,
    ) -> FitResult:
        good = usable & found.converged
        degrees = n * (1 + pairs) - len(free) - 1 - pairs
        sigma = noise if noise is not None else np.sqrt(found.cost / degrees) if degrees > 0 else np.nan
        maps, errors, names = {}, {}, list(self.axes)
        for column, axis in enumerate(free):
            name, place = names[axis], found.places[:, column]
            value = self._value(name, place)
            slope = (self._value(name, place + 0.5) - self._value(name, place - 0.5)) * sigma
            maps[name] = np.where(good, value, np.nan)
            errors[name] = np.where(good, np.abs(slope) * np.sqrt(found.variance[:, column]), np.nan)
        maps["m0"] = np.where(good, np.abs(found.amplitude), np.nan)
        errors["m0"] = np.where(good, sigma * np.sqrt(found.variance[:, -1]), np.nan)
        empty = int((~usable).sum())
        counts = {"fitted": int(good.sum()), "empty": empty, "failed": int((usable & ~good).sum())}
        residual = np.where(good, np.sqrt(found.cost / n), np.nan)
        return FitResult(maps=maps, standard_error=errors, converged=good, residual=residual, counts=counts)


@dataclass(eq=False)
class _Linear:
    """The residual of each voxel about its place: next step, amplitude, sum of squares, variances."""

    step: np.ndarray
    amplitude: np.ndarray
    cost: np.ndarray
    variance: np.ndarray

    def take(self, rows: np.ndarray) -> _Linear:
        return _Linear(*(values[rows] for values in vars(self).values()))

    def put(self, rows: np.ndarray, other: _Linear) -> None:
        for name, values in vars(other).items():
            getattr(self, name)[rows] = values


@dataclass(eq=False)
class _Found:
    """What was found, one row per voxel."""

    places: np.ndarray  # on the free axes
    amplitude: np.ndarray
    cost: np.ndarray
    variance: np.ndarray  # of the places, then of the amplitude, for data of unit variance
    converged: np.ndarray

    @staticmethod
    def empty(n: int, free: int) -> _Found:
        blank = np.full((n, free), np.nan)
        wide = np.full((n, free + 1), np.nan)
        return _Found(blank, np.zeros(n, complex), np.full(n, np.nan), wide, np.zeros(n, dtype=bool))

    def put(self, rows: np.ndarray, other: _Found) -> None:
        for name, values in vars(other).items():
            getattr(self, name)[rows] = values


def grid_axis(name: str, low: float, high: float, ratio: float) -> Float[np.ndarray, " points"]:
    """Points from `low` to `high`, equidistant in their logarithm, at most a factor of `ratio` apart; four or more.

    Raises:
        ConsistencyError: bounds that are not positive and ascending.

    Example:
        >>> grid_axis("t2", 0.01, 0.08, 2.0).round(3).tolist()
        [0.01, 0.02, 0.04, 0.08]
    """
    if not 0 < low < high:
        raise ConsistencyError(Problem(f"must go upwards from above 0, but goes from {low:g} to {high:g}", path=name))
    return np.geomspace(low, high, max(4, 1 + int(np.ceil(np.log(high / low) / np.log(ratio) - 1e-9))))


def check_axis(name: str, values: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
    """A logarithmic axis of a dictionary as it is given.

    Raises:
        ConsistencyError: fewer than four points, points that do not rise from above 0 or are not equidistant.

    Example:
        >>> check_axis("t2", np.array([0.01, 0.02, 0.04, 0.08])).tolist()
        [0.01, 0.02, 0.04, 0.08]
    """
    points = np.asarray(values, dtype=float)
    remedy = "Take numpy.geomspace(shortest, longest, points)"
    if points.ndim != 1 or len(points) < 4:
        raise ConsistencyError(Problem(f"must have at least four points, but has {points.size}", remedy, path=name))
    if not (np.isfinite(points).all() and points[0] > 0 and (np.diff(points) > 0).all()):
        raise ConsistencyError(Problem("must rise from above 0, but does not", remedy, path=name))
    steps = np.diff(np.log(points))
    if np.ptp(steps) > 1e-3 * steps.mean():
        raise ConsistencyError(Problem("must be equidistant in its logarithm, but is not", remedy, path=name))
    return points
