"""Event blocks by hand: sequences and phantoms for tests, without the language."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mrisim.data import Geometry, Phantom, ReconSpec
from mrisim.events import blocks as events

HARD = events.RFShape(edges=np.array([0.0, 2e-6]), samples=np.ones(1, complex), center=1e-6)
MS, DEG = 1e-3, np.pi / 180


@dataclass(frozen=True, kw_only=True)
class RF:
    """A pulse whose center lies `at` after the start of its block; hard unless it has a shape."""

    flip: float  # [rad]
    phase: float = 0.0  # [rad]
    at: float = 1e-6  # [s]
    use: events.Use = events.Use.EXCITATION
    shape: events.RFShape = HARD
    amplitude: float | None = None  # [Hz]; from the flip angle where not given
    frequency: float = 0.0  # [Hz]
    axis: int = events.NONE
    thickness: float = np.inf  # [m]
    position: float = 0.0  # [m]


@dataclass(frozen=True, kw_only=True)
class ADC:
    """Samples, the first of them `at` after the start of its block."""

    at: float  # [s]
    samples: int = 1
    dwell: float = 1e-6  # [s]
    phase: float = 0.0  # [rad]
    frequency: float = 0.0  # [Hz]
    shape: Any = None  # phase of each sample [rad]


@dataclass(frozen=True, kw_only=True)
class Block:
    """Events at the same time. Gradients: corner times [s] and values [Hz/m]."""

    duration: float
    rf: RF | None = None
    gx: tuple | None = None
    gy: tuple | None = None
    gz: tuple | None = None
    adc: ADC | None = None
    labels: dict[str, int] = field(default_factory=dict)


def lobe(area: float, start: float, length: float) -> tuple[np.ndarray, np.ndarray]:
    """A trapezoid of an area [1/m], its ramps a fifth of its length."""
    ramp = length / 5
    return start + np.array([0, ramp, length - ramp, length]), np.array([0, 1, 1, 0]) * area / (length - ramp)


class _Table:
    """Rows without repetition."""

    def __init__(self) -> None:
        self.rows: list = []
        self.index: dict = {}

    def add(self, key, row) -> int:
        if key not in self.index:
            self.index[key] = len(self.rows)
            self.rows.append(row)
        return self.index[key]

    def column(self, i: int, dtype=float) -> np.ndarray:
        return np.array([row[i] for row in self.rows], dtype=dtype)


def build(parts: Sequence[Block], *, geometry: Geometry | None = None, recon: ReconSpec | None = None, **more):
    """Sequence of the blocks given."""
    rf, gradients, adc, rf_shapes, g_shapes, phases = (_Table() for _ in range(6))
    columns: dict[str, list] = {name: [] for name in ("rf", "gx", "gy", "gz", "adc")}
    for part in parts:
        columns["rf"].append(_add_rf(part.rf, rf, rf_shapes))
        for axis in events.AXES:
            columns[axis].append(_add_gradient(getattr(part, axis), gradients, g_shapes))
        columns["adc"].append(_add_adc(part.adc, adc, phases))
    nothing = np.full(len(parts), events.NONE)
    names = sorted({name for part in parts for name in part.labels})
    labels = {name: np.array([part.labels.get(name, 0) for part in parts]) for name in names}
    table = events.BlockTable(
        duration=np.array([p.duration for p in parts]), rotation=nothing, name=np.zeros(len(parts), int), labels=labels,
        **{name: np.array(values) for name, values in columns.items()},
    )  # fmt: skip
    return events.Sequence(
        name="test", blocks=table, rf=_rf_table(rf), adc=_adc_table(adc),
        gradients=events.GradientTable(shape=gradients.column(0, int), amplitude=gradients.column(1)),
        rf_shapes=tuple(rf_shapes.rows), gradient_shapes=tuple(g_shapes.rows), phase_shapes=tuple(phases.rows),
        geometry=geometry or Geometry(), recon=recon, **more,
    )  # fmt: skip


def _add_rf(rf: RF | None, table: _Table, shapes: _Table) -> int:
    if rf is None:
        return events.NONE
    amplitude = rf.amplitude
    if amplitude is None:
        amplitude = rf.flip / (2 * np.pi * abs(np.sum(rf.shape.samples * np.diff(rf.shape.edges))))
    shape = shapes.add(id(rf.shape), rf.shape)
    row = (
        shape, amplitude, rf.phase, rf.frequency, rf.at - rf.shape.center, rf.flip, int(rf.use), rf.axis, rf.thickness,
        rf.position,
    )  # fmt: skip
    return table.add(row, row)


def _rf_table(table: _Table) -> events.RFTable:
    names = ("shape", "amplitude", "phase", "frequency", "delay", "flip", "use", "slice_axis", "thickness", "position")
    whole = ("shape", "use", "slice_axis")
    return events.RFTable(**{n: table.column(i, int if n in whole else float) for i, n in enumerate(names)})


def _add_gradient(gradient: tuple | None, table: _Table, shapes: _Table) -> int:
    if gradient is None:
        return events.NONE
    times, values = (np.asarray(part, dtype=float) for part in gradient)
    peak = np.abs(values).max()
    if peak == 0:
        return events.NONE
    shape = shapes.add(
        (times.tobytes(), (values / peak).round(12).tobytes()), events.GradientShape(times=times, values=values / peak)
    )
    return table.add((shape, peak), (shape, peak))


def _add_adc(adc: ADC | None, table: _Table, phases: _Table) -> int:
    if adc is None:
        return events.NONE
    shape = events.NONE
    if adc.shape is not None:
        values = np.asarray(adc.shape, dtype=float)
        shape = phases.add(values.tobytes(), values)
    row = (adc.samples, adc.dwell, adc.at - adc.dwell / 2, adc.phase, adc.frequency, shape)
    return table.add(row, row)


def _adc_table(table: _Table) -> events.ADCTable:
    names = ("samples", "dwell", "delay", "phase", "frequency", "phase_shape")
    whole = ("samples", "phase_shape")
    return events.ADCTable(**{n: table.column(i, int if n in whole else float) for i, n in enumerate(names)})


def spins(n: int | None = None, *, t1: Any = np.inf, t2: Any = np.inf, **columns: Any) -> Phantom:
    """Spins at the origin unless they have positions; as many as the longest column."""
    position = columns.pop("position", None)
    if position is None:
        lengths = [np.size(v) for v in (t1, t2, *columns.values()) if np.ndim(v)]
        position = np.zeros((n or max(lengths, default=1), 3))
    return Phantom.from_arrays(position=position, t1=t1, t2=t2, **columns)


def row_of_spins(n: int, length: float = 1.0, axis: int = 2) -> np.ndarray:
    """Positions of n equidistant spins over a length, centered: whole cycles over it add up to zero exactly."""
    position = np.zeros((n, 3))
    position[:, axis] = (np.arange(n) - (n - 1) / 2) * length / n
    return position


def repeat(n: int, part: Callable[[int], Sequence[Block]]) -> list[Block]:
    """Blocks of n repetitions."""
    return [block for i in range(n) for block in part(i)]
