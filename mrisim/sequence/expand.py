"""A sequence file → event blocks: names, parameters, timeline, timing, tables, one after the other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from mrisim.data import Geometry, ReconSpec
from mrisim.errors import Problem, SpecError, TimingError
from mrisim.events.blocks import (
    AXES,
    NONE,
    ADCTable,
    BlockTable,
    GradientShape,
    GradientTable,
    RFShape,
    RFTable,
    Sequence,
)
from mrisim.scanner import Scanner
from mrisim.sequence.expect import resolve_expectations
from mrisim.sequence.geometry import derating, move_to_center, resolve_geometry, turn
from mrisim.sequence.gradients import Limits
from mrisim.sequence.grammar import ReconModel, SequenceModel
from mrisim.sequence.names import RECON_DEFAULTS, check_names
from mrisim.sequence.parameters import resolve_parameters
from mrisim.sequence.parts import Parts
from mrisim.sequence.properties import property_of
from mrisim.sequence.reach import name_echo_time
from mrisim.sequence.scope import Collector, Globals, Scope
from mrisim.sequence.tables import TableBuilder, unique_rows
from mrisim.sequence.timeline import LONGEST, Leaf, Timeline
from mrisim.sequence.timing import Solver
from mrisim.sequence.values import Quantity
from mrisim.source import KeyPath, Source, inside_folder, names_curve
from mrisim.units import LENGTH, NUMBER, TIME, Dimension, show


def expand(model: SequenceModel, source: Source, system: Scanner, given: Mapping[str, Any]) -> Sequence:
    """Event blocks of a file.

    Args:
        model: The validated file.
        source: Where its keys stand.
        system: Scanner that it is designed for.
        given: Parameters that the user sets, by name.

    Raises:
        SpecError: everything that is wrong, at once as far as it can be found together.
        TimingError: timing constraints that cannot be met; of a diffusion weighting, with the TE that would do.
    """
    try:
        return _expand(model, source, system, given)
    except TimingError as error:
        te = _echo_time(model, source, system, given)
        if te is None:
            raise
        raise name_echo_time(error, te, lambda t: _expand(model, source, system, {**given, "TE": t})) from None


def _echo_time(model: SequenceModel, source: Source, system: Scanner, given: Mapping[str, Any]) -> float | None:
    """TE of a sequence with diffusion lobes, if it has such a parameter [s]."""
    if "TE" not in model.parameters or all(event.diffuse is None for event in model.events.values()):
        return None
    value = resolve_parameters(model, source, system.gamma, given, set())[0]["TE"]
    return float(value.si().flat[0]) if value.dimension == TIME and not value.is_list else None


def _expand(model: SequenceModel, source: Source, system: Scanner, given: Mapping[str, Any]) -> Sequence:
    collector = Collector(source)
    names = check_names(model, collector, system.gamma)
    values, records, problems = resolve_parameters(model, source, system.gamma, given, names.components)
    collector.add(*problems)
    known = values
    if problems:  # expectations may name what was given in vain
        known = {**resolve_parameters(model, source, system.gamma, {}, names.components)[0], **values}
    resolve_expectations(model.expect, collector, known, system.gamma)
    collector.finish()
    globals_ = _globals(model, collector, system, values)
    root = Scope(globals_)
    geometry = Geometry()
    with collector.collect():
        geometry = resolve_geometry(model.geometry, root)
    parts = _parts(model, collector, system, geometry)
    globals_.properties = partial(property_of, parts)
    timeline = Timeline(globals_, parts, set(globals_.fills))
    timeline.build(model.timeline, timeline.root, ("timeline",))
    recon = None
    if model.recon is not None and model.recon.method != "none":
        with collector.collect():
            recon = _recon(model.recon, timeline.root.body, model)
    collector.finish()
    timing = Solver(timeline, model.timing).solve()
    sequence = Assembly(timeline, system).sequence(model.name)
    sequence = replace(
        sequence, geometry=geometry, parameters=records, timing=timing, recon=recon, source=source.file,
        description=model.description, reference=model.reference,
        simulation=model.simulation.model_dump(exclude_none=True),
    )  # fmt: skip
    _check_labels(sequence, recon, source)
    return move_to_center(sequence)


def _globals(model: SequenceModel, collector: Collector, system: Scanner, values: Mapping[str, Any]) -> Globals:
    def no_properties(path: tuple[str, ...], scope: Scope) -> Any:
        raise SpecError(f"must not depend on an event, but '{'.'.join(path)}' is one's property")

    fills = {timing.solve: timing for timing in model.timing if timing.solve is not None}
    return Globals(collector, system, values, model.definitions, model.events, no_properties, fills)


def _parts(model: SequenceModel, collector: Collector, system: Scanner, geometry: Geometry) -> Parts:
    share = derating(geometry.rotation, turning=_turns(model.timeline))
    limits = Limits(
        gradient=share * system.max_gradient,
        slew=share * system.max_slew,
        raster=system.gradient_raster,
        gamma=system.gamma,
    )
    return Parts(collector, model.events, limits)


def _turns(items: list[Any]) -> bool:
    return any(getattr(one, "rotate", None) is not None or _turns(getattr(one, "do", [])) for one in items)


class Assembly:
    """Fills the tables of a sequence from the leaves of a timeline whose durations are known."""

    def __init__(self, timeline: Timeline, system: Scanner):
        self.timeline = timeline
        self.system = system
        self.total, self.starts = timeline.order()
        self.rf = TableBuilder(
            ("shape", "amplitude", "phase", "frequency", "delay", "flip", "use", "slice_axis", "thickness", "position")
        )
        self.gradients = {axis: TableBuilder(("shape", "amplitude")) for axis in AXES}
        self.adc = TableBuilder(("samples", "dwell", "delay", "phase", "frequency"))
        self.rf_shapes: list[RFShape] = []
        self.gradient_shapes: list[GradientShape] = []
        self._shape_keys: dict[Any, int] = {}
        self.duration = np.zeros(self.total)
        self.name = np.zeros(self.total, dtype=np.int64)
        self.names: list[str] = []
        self.angle = np.full(self.total, np.nan)
        self.labels: dict[str, np.ndarray] = {}

    def sequence(self, name: str) -> Sequence:
        """The sequence, with the tables, without what does not concern blocks."""
        for leaf in self.timeline.leaves:
            self._add(leaf)
        lasts = float(self.duration.sum())
        if lasts > LONGEST or self.total == 0:
            rule = (
                f"must last at most {show(LONGEST, TIME)}, but lasts {show(lasts, TIME)}"
                if self.total
                else "must have a block, but has none"
            )
            raise SpecError(self.timeline.collector.source.problem(("timeline",), rule))
        rf, rf_index = self.rf.finish(self.total)
        adc, adc_index = self.adc.finish(self.total)
        gradients, gradient_index = self._gradients()
        rotations, rotation_index = self._rotations()
        blocks = BlockTable(
            rf=rf_index, **gradient_index, adc=adc_index, duration=self.duration, rotation=rotation_index,
            name=self.name, labels=self.labels,
        )  # fmt: skip
        return Sequence(
            name=name, blocks=blocks, rf=_rf_table(rf), gradients=gradients, adc=_adc_table(adc),
            rf_shapes=tuple(self.rf_shapes), gradient_shapes=tuple(self.gradient_shapes), rotations=rotations,
            block_names=tuple(self.names), system=self.system,
        )  # fmt: skip

    def _add(self, leaf: Leaf) -> None:
        shape = leaf.scope.shape
        mask = np.broadcast_to(self.timeline.where(leaf), shape)
        everywhere = bool(mask.all())

        def over(values: np.ndarray) -> np.ndarray:
            spread = np.broadcast_to(values, shape)
            return spread.ravel() if everywhere else spread[mask]

        blocks = over(self.starts[leaf]).astype(np.int64)
        self.duration[blocks] = np.round(over(leaf.duration), 12)
        self.name[blocks] = len(self.names)
        self.names.append(" + ".join(leaf.events) or "wait")
        if leaf.rotation is not None:
            self.angle[blocks] = np.mod(np.round(over(leaf.rotation), 9), 360.0)
        for name, values in self.timeline.label_values(leaf).items():
            self.labels.setdefault(name, np.zeros(self.total, dtype=np.int64))[blocks] = over(values)
        for part, event in leaf.owners.items():
            if part == "rf":
                self._add_pulse(self.timeline.parts.pulse(event, leaf.scope), blocks, over)
            elif part == "adc":
                self._add_sampling(self.timeline.parts.sampling(event, leaf.scope), blocks, over)
            else:
                waveform = self.timeline.parts.gradient(event, part, leaf.scope)
                amplitude = over(waveform.amplitude)
                on = amplitude != 0
                shape_index = self._gradient_shape(waveform.times, waveform.unit)
                self.gradients[part].add(blocks[on], shape=shape_index, amplitude=amplitude[on])

    def _add_pulse(self, pulse: Any, blocks: np.ndarray, over: Any) -> None:
        key = ("rf", pulse.shape.samples.tobytes(), pulse.shape.edges.tobytes(), pulse.shape.center)
        if key not in self._shape_keys:
            self._shape_keys[key] = len(self.rf_shapes)
            self.rf_shapes.append(pulse.shape)
        phase = np.radians(np.mod(np.round(over(pulse.phase), 9), 360.0))
        self.rf.add(
            blocks, shape=self._shape_keys[key], amplitude=over(pulse.amplitude), phase=phase, flip=over(pulse.flip),
            frequency=over(pulse.frequency), delay=pulse.delay, use=int(pulse.use), slice_axis=pulse.axis,
            thickness=pulse.thickness, position=over(pulse.position),
        )  # fmt: skip

    def _add_sampling(self, sampling: Any, blocks: np.ndarray, over: Any) -> None:
        on, train = over(sampling.on), sampling.train
        phase = np.radians(np.mod(np.round(over(sampling.phase), 9), 360.0))
        self.adc.add(
            blocks[on], samples=train.samples, dwell=train.dwell, delay=train.delay, phase=phase[on],
            frequency=over(sampling.frequency)[on],
        )  # fmt: skip

    def _gradient_shape(self, times: np.ndarray, unit: np.ndarray) -> int:
        key = ("gradient", np.round(times, 12).tobytes(), np.round(unit, 12).tobytes())
        if key not in self._shape_keys:
            self._shape_keys[key] = len(self.gradient_shapes)
            self.gradient_shapes.append(GradientShape(times=np.round(times, 12), values=unit))
        return self._shape_keys[key]

    def _gradients(self) -> tuple[GradientTable, dict[str, np.ndarray]]:
        merged = TableBuilder(("shape", "amplitude"))
        for i, axis in enumerate(AXES):
            builder = self.gradients[axis]
            for columns, blocks in zip(builder.columns, builder.blocks, strict=True):
                merged.add(blocks + i * self.total, shape=columns[0], amplitude=columns[1])
        table, index = merged.finish(3 * self.total)
        columns = {axis: index[i * self.total : (i + 1) * self.total] for i, axis in enumerate(AXES)}
        return GradientTable(shape=table["shape"].astype(np.int64), amplitude=table["amplitude"]), columns

    def _rotations(self) -> tuple[np.ndarray, np.ndarray]:
        index = np.full(self.total, NONE, dtype=np.int64)
        turned = np.flatnonzero(~np.isnan(self.angle) & (self.angle != 0.0))
        if len(turned) == 0:
            return np.zeros((0, 3, 3)), index
        first, kind = unique_rows(self.angle[turned][:, None])
        index[turned] = kind
        return np.stack([turn(2, math.radians(a)) for a in self.angle[turned][first]]), index


def _rf_table(columns: dict[str, np.ndarray]) -> RFTable:
    whole = {name: columns[name].astype(np.int64) for name in ("shape", "use", "slice_axis")}
    return RFTable(**{**columns, **whole})


def _adc_table(columns: dict[str, np.ndarray]) -> ADCTable:
    samples = columns["samples"].astype(np.int64)
    return ADCTable(**{**columns, "samples": samples, "phase_shape": np.full(len(samples), NONE, dtype=np.int64)})


def _recon(model: ReconModel, scope: Scope, file: SequenceModel) -> ReconSpec:
    """What the file says about images, with what it leaves out taken from the parameters of the same name."""
    matrix = _triple("matrix", model, scope)
    fov = _triple("fov", model, scope)
    slices = np.zeros(1)
    if len(matrix) == 2:
        thickness = _recon_values("thickness", model, scope, LENGTH)
        matrix, fov = [*matrix, 1.0], [*fov, thickness[0] if thickness is not None else math.inf]
        found = _recon_values("slices", model, scope, LENGTH)
        slices = np.array([0.0] if found is None else found)
    elif model.thickness is not None or model.slices is not None:
        with scope.globals.collector.at(("recon", "thickness" if model.thickness is not None else "slices")):
            raise SpecError(Problem("must be left out of a 3D image, but is given", "Remove it"))
    sizes = tuple(round(n) for n in matrix)
    with scope.globals.collector.at(("recon", "matrix")):
        if len(fov) != len(matrix):
            raise SpecError(f"must have as many values as fov, but has {len(matrix)} and {len(fov)}")
        if any(abs(n - m) > 1e-9 or not 1 <= m <= 65536 for n, m in zip(matrix, sizes, strict=True)):
            raise SpecError(f"must be whole numbers from 1 to 65536, but is {list(matrix)}")
    with scope.globals.collector.at(("recon", "fov")):
        if min(fov) <= 0:
            raise SpecError("must be above zero, but is not")
    return ReconSpec(
        method=model.method, matrix=(sizes[0], sizes[1], sizes[2]), fov=(fov[0], fov[1], fov[2]),
        slice_positions=slices, window=model.window, combine=model.combine, partial_fourier=model.partial_fourier,
        ghost=model.ghost, maps=_map_options(model, scope),
    )  # fmt: skip


def _map_options(model: ReconModel, scope: Scope) -> dict[str, dict[str, Any]]:
    """Options of fits; a text that begins with "=" is an expression over the sequence's names, and becomes SI."""
    return {
        name: {key: _option(value, scope, ("recon", "maps", name, key)) for key, value in spec.items()}
        for name, spec in model.maps.items()
    }


def _option(value: Any, scope: Scope, path: tuple[str, ...]) -> Any:
    if names_curve(path[-1], value):
        with scope.globals.collector.at(path):
            return str(inside_folder(scope.globals.collector.source.folder, value))
        return value
    if not isinstance(value, str) or not value.startswith("="):
        return value
    found = scope.evaluate(value[1:].strip(), path)
    with scope.globals.collector.at(path):
        if not isinstance(found, Quantity) or found.is_bool:
            raise SpecError("must be a number or a list of them, but is none")
    numbers = [float(number) for number in found.si().ravel()]
    return numbers if found.is_list else numbers[0]


def _triple(key: str, model: ReconModel, scope: Scope) -> list[float]:
    values = _recon_values(key, model, scope, NUMBER if key == "matrix" else LENGTH)
    with scope.globals.collector.at(("recon",)):
        if values is None:
            raise SpecError(f"must have the key '{key}', or the sequence a parameter of that name, but has neither")
    with scope.globals.collector.at(("recon", key)):
        if len(values) not in (2, 3):
            raise SpecError(f"must have 2 or 3 values, but has {len(values)}")
    return values


def _recon_values(key: str, model: ReconModel, scope: Scope, dimension: Dimension) -> list[float] | None:
    text, path = getattr(model, key), ("recon", key)
    if text is None:
        parameters = scope.globals.parameters
        name = next((name for name in RECON_DEFAULTS[key] if name in parameters), None)
        if name is None:
            return None
        text, path = name, ("parameters", name)
    value = scope.evaluate(text, path)
    with scope.globals.collector.at(path):
        if not isinstance(value, Quantity) or value.dimension != dimension or value.is_bool:
            raise SpecError(f"must be {dimension.noun} or a list of them, but is none")
    return [float(number) for number in value.si().ravel()]


def _check_labels(seq: Sequence, recon: ReconSpec | None, source: Source) -> None:
    """Lines, partitions and slices of sampled blocks must lie in the image.

    Raises:
        SpecError: a label beyond the matrix.
    """
    if recon is None:
        return
    sampled = seq.blocks.adc != NONE
    ends = {"SLC": len(recon.slice_positions)}
    if recon.method == "cartesian":  # elsewhere the trajectory alone says where a sample lies
        ends |= {"LIN": recon.matrix[1], "PAR": recon.matrix[2]}
    path: KeyPath = ("recon",)
    problems = []
    for name, end in ends.items():
        values = seq.blocks.labels.get(name, np.zeros(1, dtype=int))
        values = values[sampled] if len(values) == len(sampled) else values
        if len(values) and (values.min() < 0 or values.max() >= end):
            rule = f"must hold {name} from 0 to {end - 1}, but it runs from {values.min()} to {values.max()}"
            remedy = "Give recon a matrix or slices that fit, or change the label"
            problems.append(source.problem(path, rule, remedy))
    if problems:
        raise SpecError(problems)
