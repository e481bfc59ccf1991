"""Readouts that were sampled while their gradient ramped: to equal steps of k along the line.

Each line is interpolated from where its samples lie to the grid of the image, by the interpolation of least norm for an
object within the field of view that the samples' largest step allows. Lines stay lines: k across them is not touched.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mrisim._types import Float, Int
from mrisim.data import RawData, ReconSpec
from mrisim.errors import ConsistencyError, Problem

UNEVEN = 0.1  # steps of a line that differ by more than this share of 1 / fov are ramps
MARGIN = 1.5  # fields of view that the object may fill, as far as the samples can tell
RIDGE = 1e-5  # of the interpolation: samples are more crowded on ramps than they need to be


def uneven(raw: RawData, spec: ReconSpec) -> bool:
    """Whether readouts advance in steps that differ along a line."""
    rows, along = _lines(raw), _along(raw)
    for index in _by_count(raw, rows):
        if (np.ptp(np.abs(np.diff(along[index], axis=1)), axis=1) * spec.fov[0] > UNEVEN).any():
            return True
    return False


def even_lines(raw: RawData, spec: ReconSpec, delay: float = 0.0) -> RawData:
    """Raw data whose readouts advance in equal steps.

    Navigators are interpolated like lines of the image; noise measurements are left out.

    Args:
        raw: Samples.
        spec: Matrix and field of view along read decide the grid.
        delay: By which the gradients lag behind the samples [s]: k lies where it was that much earlier.

    Raises:
        ConsistencyError: steps longer than 1 / fov, or lines that do not reach the edge of k-space.
    """
    rows, along, time = _lines(raw), _along(raw), np.asarray(raw.time)
    groups = _by_count(raw, rows)
    step = max(float(np.abs(np.diff(along[index], axis=1)).max()) for index in groups)
    support = min(1.0 / step, MARGIN * spec.fov[0])
    grid = _grid(step, support, spec)
    read, width = raw.geometry.rotation[:, 0], len(grid)
    values = np.column_stack([np.asarray(raw.k) - along[:, None] * read, time])  # k across the line, and time
    signal = np.empty((raw.signal.shape[0], len(rows) * width), dtype=raw.signal.dtype)
    others = np.empty((len(rows) * width, 4))
    row_of = {int(start): row for row, start in enumerate(np.asarray(raw.readouts.start)[rows])}
    for index in groups:
        nominal = along[index]
        _check_reach(nominal, grid)
        lines = nominal - delay * np.gradient(nominal, axis=1) / np.gradient(time[index], axis=1)
        _, first, kind = np.unique(np.round(lines * spec.fov[0], 6), axis=0, return_index=True, return_inverse=True)
        for number, pattern in enumerate(first):
            samples = index[kind.ravel() == number]
            wanted = grid if nominal[pattern, -1] > nominal[pattern, 0] else grid[::-1]
            into = np.array([row_of[int(start)] for start in samples[:, 0]])[:, None] * width + np.arange(width)
            weights = interpolation(lines[pattern], wanted, support).T.astype(np.real(raw.signal).dtype)
            signal[:, into] = np.asarray(raw.signal)[:, samples] @ weights
            others[into] = _between(lines[pattern], values[samples], wanted)
            others[into, :3] += wanted[:, None] * read
    return replace(
        raw, signal=signal, k=others[:, :3], time=others[:, 3], readouts=_table(raw, rows, width)
    )  # fmt: skip


def _lines(raw: RawData) -> Int[np.ndarray, " lines"]:
    """Rows of the readout table that are lines."""
    return np.flatnonzero((raw.readouts.label("NOISE") == 0) & (np.asarray(raw.readouts.count) > 2))


def _along(raw: RawData) -> Float[np.ndarray, " samples"]:
    """k along read of every sample [1/m]."""
    return np.asarray(raw.k) @ raw.geometry.rotation[:, 0]


def _by_count(raw: RawData, rows: Int[np.ndarray, " lines"]) -> list[Int[np.ndarray, "lines samples"]]:
    """Indices of the samples of lines, for each length that lines have."""
    starts, counts = np.asarray(raw.readouts.start)[rows], np.asarray(raw.readouts.count)[rows]
    return [starts[counts == n][:, None] + np.arange(n) for n in np.unique(counts)]


def interpolation(
    samples: Float[np.ndarray, " n"], wanted: Float[np.ndarray, " m"], support: float
) -> Float[np.ndarray, "m n"]:
    """Weights that take samples of the transform of an object to other places: those of least error in the worst case.

    Args:
        samples: Where the samples lie [1/m].
        wanted: Where values are wanted [1/m].
        support: Width of the object, centered on the origin [m].

    Source:
        Yen, IRE Trans Circuit Theory 3:251 (1956), the signal of least energy; with a ridge against noise.

    Example:
        >>> interpolation(np.arange(4.0), np.array([2.0]), support=1.0).round(3).argmax(axis=1).tolist()
        [2]
    """
    gram = np.sinc(support * (samples[:, None] - samples[None, :])) + RIDGE * np.eye(len(samples))
    return np.linalg.solve(gram, np.sinc(support * (samples[:, None] - wanted[None, :]))).T


def _grid(step: float, support: float, spec: ReconSpec) -> np.ndarray:
    """Places along the line [1/m]: columns for the whole support, at least those of the image."""
    columns, fov = spec.matrix[0], spec.fov[0]
    if step * fov > 1.0 + 1e-3:
        rule = f"samples must be at most 1 / fov apart, but some are {step * fov:.4g} / fov apart"
        raise ConsistencyError(Problem(rule, "Raise the bandwidth or lower the read gradient", path="k"))
    width = max(columns, int(columns * support / fov + 1e-6))
    return (np.arange(width) - width // 2) * columns / (fov * width)


def _check_reach(lines: np.ndarray, grid: np.ndarray) -> None:
    half = 0.5 * (grid[1] - grid[0])
    short = (lines.min(axis=1) > grid[0] + half) | (lines.max(axis=1) < grid[-1] - half)
    if short.any():
        worst = lines[np.argmax(short)]
        rule = f"samples must reach from {grid[0]:.6g} to {grid[-1]:.6g} 1/m, but those of a readout run from "
        reach = f"{worst.min():.6g} to {worst.max():.6g} 1/m"
        raise ConsistencyError(Problem(rule + reach, "Sample more of the ramps, or lower the matrix", path="k"))


def _between(samples: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Values (lines, samples, columns) at other places of their line, straight between samples."""
    order = np.argsort(samples)
    ascending = samples[order]
    after = np.clip(np.searchsorted(ascending, wanted), 1, len(samples) - 1)
    share = np.clip((wanted - ascending[after - 1]) / (ascending[after] - ascending[after - 1]), 0.0, 1.0)[:, None]
    return values[:, order[after - 1]] * (1 - share) + values[:, order[after]] * share


def _table(raw: RawData, rows: np.ndarray, width: int):
    table = raw.readouts
    columns = {name: np.asarray(getattr(table, name))[rows] for name in ("te", "ti", "ts", "tr", "flip", "b_matrix")}
    return replace(
        table,
        start=np.arange(len(rows)) * width,
        count=np.full(len(rows), width),
        dwell=np.asarray(table.dwell)[rows] * np.asarray(table.count)[rows] / width,
        labels={name: np.asarray(values)[rows] for name, values in table.labels.items()},
        **columns,
    )
