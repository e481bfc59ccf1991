"""Where the slices lie: orientation and center, and how a finished sequence is moved to the center.

The slice component of the center goes into the frequency of pulses under a gradient, all of it into the receiver's
phase and frequency, so that a spin at the center appears in the middle of the image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mrisim.data import Geometry
from mrisim.errors import SpecError
from mrisim.events.blocks import NONE, Sequence
from mrisim.events.moments import (
    gradient_tracks,
    k_offsets,
    pulse_instances,
    readout_instances,
    total_gradient,
    total_moment,
)
from mrisim.sequence.grammar import GeometryModel, OrientationModel
from mrisim.sequence.scope import Scope
from mrisim.sequence.tables import unique_rows
from mrisim.source import KeyPath
from mrisim.units import ANGLE, LENGTH, NUMBER

PLANES: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "axial": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "coronal": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    "sagittal": ((0, 1, 0), (0, 0, 1), (1, 0, 0)),
}
"""Physical directions of read, phase and slice; right-handed."""
_PATH: KeyPath = ("geometry",)
RESIDUAL = 1e-6  # phase that a constant receiver frequency may leave [cycles]


def resolve_geometry(model: GeometryModel, scope: Scope) -> Geometry:
    """Geometry of a file.

    Raises:
        SpecError: angles, vectors or a center that are none.
    """
    center = np.zeros(3)
    if model.center is not None:
        with scope.globals.collector.at((*_PATH, "center")):
            if len(model.center) != 3:
                raise SpecError(f"must be physical x, y, z, but has {len(model.center)} values")
        center = np.array([scope.number(c, (*_PATH, "center", i), LENGTH) for i, c in enumerate(model.center)])
    if isinstance(model.orientation, str):
        rotation = np.array(PLANES[model.orientation], dtype=float).T
    else:
        rotation = _oriented(model.orientation, scope)
    return Geometry(rotation=rotation, center=center)


def _oriented(model: OrientationModel, scope: Scope) -> np.ndarray:
    path = (*_PATH, "orientation")
    angles = {key: getattr(model, key) for key in ("about_read", "about_phase", "about_slice")}
    if model.read is not None or model.phase is not None:
        with scope.globals.collector.at(path):
            if model.read is None or model.phase is None or any(a is not None for a in angles.values()):
                raise SpecError("must be given by read and phase, or by plane and angles, but is given by a mixture")
        return _from_vectors(
            _vector(model.read, (*path, "read"), scope), _vector(model.phase, (*path, "phase"), scope), scope
        )
    rotation = np.array(PLANES[model.plane], dtype=float).T
    for axis, (key, text) in enumerate(angles.items()):
        if text is not None:
            rotation = rotation @ turn(axis, scope.number(text, (*path, key), ANGLE))
    return rotation


def _vector(texts: list, path: KeyPath, scope: Scope) -> np.ndarray:
    with scope.globals.collector.at(path):
        if len(texts) != 3:
            raise SpecError(f"must be a vector of three numbers, but has {len(texts)}")
    return np.array([scope.number(text, (*path, i), NUMBER) for i, text in enumerate(texts)])


def _from_vectors(read: np.ndarray, phase: np.ndarray, scope: Scope) -> np.ndarray:
    with scope.globals.collector.at((*_PATH, "orientation")):
        size = np.linalg.norm(read)
        across = phase - read * (read @ phase) / size**2 if size > 0 else phase * 0
        if size == 0 or np.linalg.norm(across) < 1e-6 * np.linalg.norm(phase) or not np.any(phase):
            raise SpecError("must have read and phase in different directions, but has not")
    first, second = read / size, across / np.linalg.norm(across)
    return np.stack([first, second, np.cross(first, second)], axis=1)


def turn(axis: int, angle: float) -> np.ndarray:
    """Rotation by an angle [rad] about read, phase or slice (0, 1, 2), right-handed."""
    c, s = math.cos(angle), math.sin(angle)
    c, s = (float(round(v)) if abs(v - round(v)) < 1e-15 else v for v in (c, s))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[i, i], matrix[j, j], matrix[i, j], matrix[j, i] = c, c, -s, s
    return matrix


def derating(rotation: np.ndarray, *, turning: bool) -> float:
    """Share of the physical limits that each logical axis may use so that all three together stay in them.

    A physical axis sees sum_j |R_ij| g_j, so the share is 1 over the largest row sum; where blocks turn about the slice
    axis, the sum of the two in-plane terms is bounded by sqrt(2) times their length.

    Example:
        >>> derating(np.eye(3), turning=False)
        1.0
    """
    in_plane = np.abs(rotation[:, :2]).sum(axis=1)
    if turning:
        in_plane = math.sqrt(2) * np.linalg.norm(rotation[:, :2], axis=1)
    worst = float((in_plane + np.abs(rotation[:, 2])).max())
    return 1.0 if worst < 1 + 1e-12 else 1 / worst


def move_to_center(seq: Sequence) -> Sequence:
    """The sequence with its slices and images moved to the geometry's center.

    A pulse under the gradient G selects a slice that is moved by c when its frequency grows by G·c. A sample at k has
    the phase exp(-2 pi i k·c) of a spin at c; the receiver's phase and frequency (and where G is not constant, a phase
    shape) take it away.
    """
    center = seq.geometry.center
    if not np.any(center):
        return seq
    tracks, pulses = gradient_tracks(seq), pulse_instances(seq)
    use = seq.rf.use[pulses.event]  # before the events are numbered anew
    shift = total_gradient(tracks, pulses.center) @ center
    seq = _shift_pulses(seq, pulses, shift)
    readouts = readout_instances(seq)
    if len(readouts.block) == 0:
        return seq
    offsets = k_offsets(use, total_moment(tracks, pulses.center))
    time = readouts.times(seq)
    k = total_moment(tracks, time) - offsets[np.searchsorted(pulses.center, time, side="right")]
    return _shift_readouts(seq, readouts, time, k @ center)


def _shift_pulses(seq: Sequence, pulses, shift: np.ndarray) -> Sequence:
    rows = np.stack([pulses.event.astype(float), np.round(shift, 6)], axis=1)
    first, index = unique_rows(rows)
    event = pulses.event[first]
    table = replace(
        seq.rf,
        **{name: getattr(seq.rf, name)[event] for name in seq.rf.__dataclass_fields__ if name != "frequency"},
        frequency=seq.rf.frequency[event] + shift[first],
    )
    column = np.full(len(seq.blocks), NONE)
    column[pulses.block] = index
    return replace(seq, rf=table, blocks=replace(seq.blocks, rf=column))


def _shift_readouts(seq: Sequence, readouts, time: np.ndarray, cycles: np.ndarray) -> Sequence:
    """Take `cycles` of phase per sample away from each readout."""
    first = np.concatenate([[0], np.cumsum(readouts.count)[:-1]])
    count = readouts.count
    middle = np.minimum(count // 2, count - 1)
    after = np.minimum(middle + 1, count - 1)
    before = np.maximum(after - 1, 0)
    dwell = seq.adc.dwell[readouts.event]
    frequency = np.where(count > 1, (cycles[first + after] - cycles[first + before]) / dwell, 0.0)
    at_start = cycles[first + middle] - frequency * (time[first + middle] - readouts.start)
    owner = np.repeat(np.arange(len(count)), count)
    residual = cycles - (at_start[owner] + frequency[owner] * (time - readouts.start[owner]))
    shapes: dict[bytes, int] = {}
    stored: list[np.ndarray] = list(seq.phase_shapes)
    column = seq.adc.phase_shape[readouts.event].copy()
    bent = np.maximum.reduceat(np.abs(residual), first) > RESIDUAL
    for i in np.flatnonzero(bent):
        shape = np.round(-2 * math.pi * residual[first[i] : first[i] + count[i]], 9)
        key = shape.tobytes()
        if key not in shapes:
            shapes[key] = len(stored)
            stored.append(shape)
        column[i] = shapes[key]
    phase = np.mod(seq.adc.phase[readouts.event] - 2 * math.pi * at_start, 2 * math.pi)
    total = seq.adc.frequency[readouts.event] + frequency
    rows = np.stack([readouts.event, np.round(phase, 10), np.round(total, 6), column], axis=1)
    unique, index = unique_rows(rows)
    event = readouts.event[unique]
    table = replace(
        seq.adc, samples=seq.adc.samples[event], dwell=seq.adc.dwell[event], delay=seq.adc.delay[event],
        phase=phase[unique], frequency=total[unique], phase_shape=column[unique],
    )  # fmt: skip
    blocks = np.full(len(seq.blocks), NONE)
    blocks[readouts.block] = index
    return replace(seq, adc=table, blocks=replace(seq.blocks, adc=blocks), phase_shapes=tuple(stored))
