"""Readouts that were sampled while their gradient ramped: to equal steps of k along the line.

Each line is interpolated from where its samples lie to the grid of the image, by the interpolation of least norm for an
object within the field of view that the samples' largest step allows. Lines stay lines: k across them is not touched.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mrisim._types import Float
from mrisim.data import RawData, ReconSpec
from mrisim.errors import ConsistencyError, Problem

UNEVEN = 0.1  # steps of a line that differ by more than this share of 1 / fov are ramps
MARGIN = 1.5  # fields of view that the object may fill, as far as the samples can tell
RIDGE = 1e-5  # of the interpolation: samples are more crowded on ramps than they need to be


def even_lines(raw: RawData, spec: ReconSpec, delay: float = 0.0) -> RawData:
    """Raw data whose readouts advance in equal steps; itself where they do so already.

    Navigators are interpolated like lines of the image; noise measurements are left out.

    Args:
        raw: Samples.
        spec: Matrix and field of view along read decide the grid.
        delay: By which the gradients lag behind the samples [s]: k lies where it was that much earlier.

    Raises:
        ConsistencyError: steps longer than 1 / fov, or lines that do not reach the edge of k-space.
    """
    table = raw.readouts
    rows = np.flatnonzero((table.label("NOISE") == 0) & (np.asarray(table.count) > 2))
    starts, counts = np.asarray(table.start)[rows], np.asarray(table.count)[rows]
    read = raw.geometry.rotation[:, 0]
    along = np.asarray(raw.k) @ read
    if len(rows) == 0 or not _uneven(along, starts, counts, spec):
        return raw
    step = max(float(np.abs(np.diff(along[s : s + n])).max()) for s, n in zip(starts, counts, strict=True))
    support = min(1.0 / step, MARGIN * spec.fov[0])
    grid = _grid(step, support, spec)
    across = np.asarray(raw.k) - along[:, None] * read
    nominal, along = along, along - delay * _speed(along, np.asarray(raw.time), starts, counts)
    signal, k, time, stored = [], [], [], {}
    for row, start, count in zip(rows, starts, counts, strict=True):
        part = slice(start, start + count)
        line = grid if along[part][-1] > along[part][0] else grid[::-1]
        key = np.round(along[part] * spec.fov[0], 6).tobytes()
        if key not in stored:
            _check_reach(nominal[part], grid, row)
            stored[key] = interpolation(along[part], line, support)
        signal.append(np.asarray(raw.signal)[:, part] @ stored[key].T)
        k.append(_along(along[part], across[part], line) + line[:, None] * read)
        time.append(_along(along[part], np.asarray(raw.time)[part, None], line)[:, 0])
    return replace(
        raw,
        signal=np.concatenate(signal, axis=1).astype(raw.signal.dtype),
        k=np.concatenate(k),
        time=np.concatenate(time),
        readouts=_table(raw, rows, len(grid)),
    )


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
        >>> interpolation(np.arange(4.0), np.array([2.0]), support=1.0).round(5).tolist()
        [[0.0, 0.0, 1.0, 0.0]]
    """
    gram = np.sinc(support * (samples[:, None] - samples[None, :])) + RIDGE * np.eye(len(samples))
    return np.linalg.solve(gram, np.sinc(support * (samples[:, None] - wanted[None, :]))).T


def _speed(along: np.ndarray, time: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """How fast k runs along read at each sample: the read gradient [1/m/s]."""
    speed = np.zeros(len(along))
    for start, count in zip(starts, counts, strict=True):
        part = slice(start, start + count)
        speed[part] = np.gradient(along[part], time[part])
    return speed


def _uneven(along: np.ndarray, starts: np.ndarray, counts: np.ndarray, spec: ReconSpec) -> bool:
    steps = (np.abs(np.diff(along[s : s + n])) for s, n in zip(starts, counts, strict=True))
    return any(float(np.ptp(step)) * spec.fov[0] > UNEVEN for step in steps)


def _grid(step: float, support: float, spec: ReconSpec) -> np.ndarray:
    """Places along the line [1/m]: columns for the whole support, at least those of the image."""
    columns, fov = spec.matrix[0], spec.fov[0]
    if step * fov > 1.0 + 1e-3:
        rule = f"samples must be at most 1 / fov apart, but some are {step * fov:.4g} / fov apart"
        raise ConsistencyError(Problem(rule, "Raise the bandwidth or lower the read gradient", path="k"))
    width = max(columns, int(columns * support / fov + 1e-6))
    return (np.arange(width) - width // 2) * columns / (fov * width)


def _check_reach(samples: np.ndarray, grid: np.ndarray, row: int) -> None:
    half = 0.5 * (grid[1] - grid[0])
    if samples.min() > grid[0] + half or samples.max() < grid[-1] - half:
        reach = f"{samples.min():.6g} to {samples.max():.6g} 1/m"
        rule = f"samples must reach from {grid[0]:.6g} to {grid[-1]:.6g} 1/m, but those of readout {row} run from "
        raise ConsistencyError(Problem(rule + reach, "Sample more of the ramps, or lower the matrix", path="k"))


def _along(samples: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Columns of values that belong to samples, at other places of the line."""
    order = np.argsort(samples)
    return np.stack([np.interp(wanted, samples[order], column[order]) for column in values.T], axis=1)


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
