"""Gradients on logical axes ↔ gradients on physical axes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from mrisim._types import Float, Int
from mrisim.data import Geometry
from mrisim.errors import ConsistencyError, Problem
from mrisim.events.blocks import AXES, NONE, GradientShape, GradientTable, Sequence
from mrisim.sequence.tables import unique_rows

NEGLIGIBLE = 1e-9  # share of the largest component that rounding of a rotation leaves
COLLINEAR = 1e-8  # of the peak: a corner this near to the line between its neighbours is none
ALIKE = 8  # decimals in which shapes of peak 1 agree that are one
DIGITS = 12  # of corner times [log10 s]


def to_physical(seq: Sequence) -> Sequence:
    """The sequence with every gradient on the physical axes, geometry the identity, and no rotation of blocks.

    Raises:
        ConsistencyError: a gradient that begins or ends off zero inside a block, and is oblique.
    """
    table = np.concatenate([seq.rotations.reshape(-1, 3, 3), np.eye(3)[None]])
    turned = _turned(seq, seq.geometry.rotation @ table, np.where(seq.blocks.rotation < 0, len(table) - 1,
                                                                  seq.blocks.rotation))  # fmt: skip
    blocks = replace(turned.blocks, rotation=np.full(len(seq.blocks), NONE, dtype=np.int64))
    return replace(turned, blocks=blocks, rotations=np.zeros((0, 3, 3)), geometry=Geometry())


def to_logical(seq: Sequence, geometry: Geometry) -> Sequence:
    """The sequence with the physical gradients of a file on the logical axes of a geometry.

    Blocks that have a rotation keep their gradients and get the rotation that turns them as before.
    """
    inverse = geometry.rotation.T
    has = seq.blocks.rotation >= 0
    if np.array_equal(inverse, np.eye(3)):
        return replace(seq, geometry=geometry)
    matrices = np.stack([inverse, np.eye(3)])
    turned = _turned(seq, matrices, has.astype(np.int64))
    return _dropped(replace(turned, geometry=geometry, rotations=inverse @ seq.rotations))


def _dropped(seq: Sequence) -> Sequence:
    """Without rotations that are none."""
    none = np.array([np.allclose(m, np.eye(3), atol=1e-9) for m in seq.rotations], dtype=bool)
    column = np.where(np.append(none, True)[seq.blocks.rotation], NONE, seq.blocks.rotation)
    if (column == NONE).all():
        seq = replace(seq, rotations=np.zeros((0, 3, 3)))
    return replace(seq, blocks=replace(seq.blocks, rotation=column))


def _turned(seq: Sequence, matrices: Float[np.ndarray, "m 3 3"], which: Int[np.ndarray, " blocks"]) -> Sequence:
    """Gradients of each block turned by its matrix."""
    if np.array_equal(matrices[np.unique(which)], np.broadcast_to(np.eye(3), (len(np.unique(which)), 3, 3))):
        return seq
    blocks = seq.blocks
    events = np.stack([getattr(blocks, axis) for axis in AXES], axis=1)
    busy = np.flatnonzero((events != NONE).any(axis=1))
    first, index = unique_rows(np.column_stack([events[busy], which[busy]]).astype(float))
    builder = _Builder(seq)
    made = np.array([builder.block(events[row], matrices[which[row]]) for row in busy[first].tolist()])
    columns = {axis: np.full(len(blocks), NONE, dtype=np.int64) for axis in AXES}
    for axis, name in enumerate(AXES):
        if len(busy):
            columns[name][busy] = made.reshape(-1, 3)[index, axis]
    shape = np.array([row[0] for row in builder.rows], dtype=np.int64)
    amplitude = np.array([row[1] for row in builder.rows], dtype=float)
    return replace(
        seq,
        blocks=replace(blocks, **columns),
        gradients=GradientTable(shape=shape, amplitude=amplitude),
        gradient_shapes=tuple(builder.shapes),
    )


@dataclass
class _Builder:
    """Events and shapes, each kind once."""

    seq: Sequence
    rows: list[tuple[int, float]] = field(default_factory=list)
    shapes: list[GradientShape] = field(default_factory=list)
    _rows: dict[tuple, int] = field(default_factory=dict)
    _shapes: dict[tuple, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shapes = list(self.seq.gradient_shapes)

    def block(self, events: Int[np.ndarray, " 3"], matrix: Float[np.ndarray, "3 3"]) -> list[int]:
        """Events of the three axes of a block."""
        table = self.seq.gradients
        on = np.flatnonzero(events != NONE)
        shapes, amplitudes = table.shape[events[on]], table.amplitude[events[on]]
        weights = matrix[:, on] * amplitudes
        floor = NEGLIGIBLE * np.abs(amplitudes).max()
        return [self._component(shapes, row, floor) for row in weights]

    def _component(self, shapes: Int[np.ndarray, " n"], weights: Float[np.ndarray, " n"], floor: float) -> int:
        keep = np.abs(weights) > floor
        shapes, weights = shapes[keep], weights[keep]
        if len(shapes) == 0:
            return NONE
        if (shapes == shapes[0]).all():
            total = float(weights.sum())
            return self._row(int(shapes[0]), total) if abs(total) > floor else NONE
        times, values = self._sum([self.seq.gradient_shapes[s] for s in shapes.tolist()], weights)
        peak = float(values[np.abs(values).argmax()])
        if abs(peak) <= floor:
            return NONE
        return self._row(self._shape(times, values / peak), peak)

    def _row(self, shape: int, amplitude: float) -> int:
        key = (shape, float(f"{amplitude:.9g}"))
        if key not in self._rows:
            self._rows[key] = len(self.rows)
            self.rows.append((shape, amplitude))
        return self._rows[key]

    def _shape(self, times: np.ndarray, values: np.ndarray) -> int:
        key = (times.tobytes(), np.round(values, ALIKE).tobytes())
        if not self._shapes:
            for i, shape in enumerate(self.seq.gradient_shapes):
                self._shapes[(np.round(shape.times, DIGITS).tobytes(), np.round(shape.values, ALIKE).tobytes())] = i
        if key not in self._shapes:
            self._shapes[key] = len(self.shapes)
            self.shapes.append(GradientShape(times=times, values=values))
        return self._shapes[key]

    def _sum(
        self, shapes: list[GradientShape], weights: Float[np.ndarray, " n"]
    ) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
        corners = [np.round(shape.times, DIGITS) for shape in shapes]
        if all(np.array_equal(own, corners[0]) for own in corners):
            return corners[0], weights @ np.stack([shape.values for shape in shapes])
        times = np.unique(np.concatenate(corners))
        values = np.zeros(len(times))
        for shape, own, weight in zip(shapes, corners, weights, strict=True):
            for at, value in ((own[0], shape.values[0]), (own[-1], shape.values[-1])):
                if abs(value) > 1e-9 and times[0] < at < times[-1]:
                    rule = "must begin and end with 0 inside a block to be played on oblique axes, but does not"
                    raise ConsistencyError(Problem(rule, 'Write it with rotations="extension"', path="gradient"))
            values += weight * np.interp(times, own, shape.values, left=0.0, right=0.0)
        return _simplified(times, values)


def _simplified(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners without those on a line, and without zeros before the first and after the last."""
    scale = np.abs(values).max()
    if scale == 0:
        return times, values
    left, right = np.diff(values)[:-1] / np.diff(times)[:-1], np.diff(values)[1:] / np.diff(times)[1:]
    bend = np.abs(left - right) * np.minimum(np.diff(times)[:-1], np.diff(times)[1:])
    keep = np.concatenate([[True], bend > COLLINEAR * scale, [True]])
    times, values = times[keep], values[keep]
    on = np.flatnonzero(np.abs(values) > COLLINEAR * scale)
    start, stop = max(on[0] - 1, 0), min(on[-1] + 2, len(times))
    return times[start:stop], values[start:stop]
