"""Gradients of a Pulseq file → shapes and events of this package."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mrisim._types import Float, Int
from mrisim.errors import SpecError
from mrisim.events.blocks import AXES, NONE, GradientShape, GradientTable
from mrisim.io.pulseq.parse import Parsed, Table
from mrisim.io.pulseq.waves import chosen, sampled_corners, trapezoid_corners


def read_gradients(
    parsed: Parsed, known: Mapping[int, tuple[float, float]]
) -> tuple[tuple[GradientShape, ...], GradientTable, dict[str, Int[np.ndarray, " blocks"]]]:
    """Shapes, events, and the event of each block and axis. Events of amplitude 0 are none.

    Args:
        parsed: The file.
        known: First and last value of arbitrary gradients by number, beyond what the file says [Hz/m].

    Raises:
        SpecError: numbers that are in both sections, shapes that are missing or do not fit.
    """
    both = np.intersect1d(parsed.traps.ids, parsed.gradients.ids)
    if len(both):
        row = int(np.flatnonzero(parsed.traps.ids == both[0])[0])
        rule = f"must not have the number of an arbitrary gradient, but {both[0]} is in both sections"
        raise parsed.traps.section.error(rule, row=row)
    trap_shapes, trap_index = _trapezoids(parsed.traps)
    edges = _edges(parsed)
    for row, number in enumerate(parsed.gradients.ids.tolist()):
        edges[row] = known.get(number, edges[row])
    other_shapes, other_index = _arbitrary(parsed, edges)
    shape = np.concatenate([trap_index, other_index + len(trap_shapes)])
    amplitude = np.concatenate([parsed.traps["amplitude"], parsed.gradients["amplitude"]])
    ids = np.concatenate([parsed.traps.ids, parsed.gradients.ids])
    everything = Table(section=parsed.traps.section, ids=ids, columns={})
    columns = {}
    for axis in AXES:
        row = everything.rows(parsed.blocks[axis], parsed.blocks.section, f"a gradient on {axis}")
        silent = np.append(amplitude == 0, True)[row]
        columns[axis] = np.where(silent, NONE, row)
    return (*trap_shapes, *other_shapes), GradientTable(shape=shape, amplitude=amplitude), columns


def _trapezoids(table: Table) -> tuple[list[GradientShape], Int[np.ndarray, " rows"]]:
    names = ("delay", "rise", "flat", "fall")
    key = np.round(np.stack([table[name] for name in names], axis=1), 12)
    wrong = (key < 0).any(axis=1) | ((key[:, 1:].sum(axis=1) == 0) & (table["amplitude"] != 0))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise table.section.error("must have times from 0 on, not all of them 0, but has not", row=row)
    unique, index = np.unique(key, axis=0, return_inverse=True)
    shapes = [GradientShape(times=t, values=v) for t, v in (trapezoid_corners(*row) for row in unique.tolist())]
    return shapes, index.reshape(-1).astype(np.int64)


def _arbitrary(
    parsed: Parsed, edges: Float[np.ndarray, "rows 2"]
) -> tuple[list[GradientShape], Int[np.ndarray, " rows"]]:
    table, raster = parsed.gradients, parsed.rasters["GradientRasterTime"]
    scale = np.where(table["amplitude"] == 0, 1.0, table["amplitude"])
    shapes: list[GradientShape] = []
    known: dict[tuple, int] = {}
    index = np.zeros(len(table), dtype=np.int64)
    for row in range(len(table)):
        number, timing = int(table["shape"][row]), int(table["time"][row])
        first, last = edges[row] / scale[row]
        key = (number, timing, round(float(table["delay"][row]), 12), round(first, 9), round(last, 9))
        if key not in known:
            known[key] = len(shapes)
            try:
                values = chosen(parsed.shapes, number, "samples")
                times = timing if timing in (0, -1) else chosen(parsed.shapes, timing, "times")
                corners = sampled_corners(values, times, raster, float(table["delay"][row]), first, last)
            except SpecError as error:
                raise table.section.error(error.problems[0].rule, row=row) from None
            shapes.append(GradientShape(times=corners[0], values=corners[1]))
        index[row] = known[key]
    return shapes, index


def _edges(parsed: Parsed) -> Float[np.ndarray, "rows 2"]:
    """First and last value of each arbitrary gradient [Hz/m].

    Before version 1.5 the file does not hold them. As in the reference readers, the last value is extrapolated, and the
    first is what the block before ended with, or 0.
    """
    table = parsed.gradients
    if not np.isnan(table["first"]).any():
        return np.stack([table["first"], table["last"]], axis=1)
    last, stop = np.zeros(len(table)), np.zeros(len(table))
    raster = parsed.rasters["GradientRasterTime"]
    for row in range(len(table)):
        values = parsed.shapes.get(int(table["shape"][row]), np.zeros(1))
        times = parsed.shapes.get(int(table["time"][row]))
        on_raster = table["time"][row] == 0
        end = values[-1] if not on_raster or len(values) < 2 else 1.5 * values[-1] - 0.5 * values[-2]
        last[row] = table["amplitude"][row] * end
        length = len(values) if times is None else float(np.ceil(times[-1] - 1e-6))
        stop[row] = table["delay"][row] + length * raster
    return np.stack([_firsts(parsed, last, stop), last], axis=1)


def _firsts(
    parsed: Parsed, last: Float[np.ndarray, " rows"], stop: Float[np.ndarray, " rows"]
) -> Float[np.ndarray, " rows"]:
    """What the block before the first use of each gradient ended with on its axis [Hz/m]."""
    table, blocks = parsed.gradients, parsed.blocks
    first, found = np.zeros(len(table)), np.zeros(len(table), dtype=bool)
    order = np.argsort(table.ids)
    known = table.ids[order]
    lasting = blocks["duration"] if parsed.version[1] >= 4 else np.zeros(len(blocks))
    for axis in AXES:
        column = blocks[axis]
        place = np.minimum(np.searchsorted(known, column), max(len(known) - 1, 0))
        row = np.where(known[place] == column, order[place], -1) if len(known) else np.full(len(column), -1)
        used = np.flatnonzero(row >= 0)
        events, at = np.unique(row[used], return_index=True)
        for event, block in zip(events.tolist(), used[at].tolist(), strict=True):
            before = int(row[block - 1]) if block else -1
            reaches = before >= 0 and stop[before] >= lasting[block - 1] - 1e-9
            if not found[event] and reaches and table["delay"][event] == 0:
                first[event] = last[before]
            found[event] = True
    return first
