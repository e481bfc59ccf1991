"""Pulses, gradients and sampling windows of an event, resolved in the scope of the place where it is used."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mrisim.errors import Problem, SpecError
from mrisim.events.blocks import AXES, NONE, RFShape, Use
from mrisim.sequence import waveforms
from mrisim.sequence.gradients import (
    Limits,
    Waveform,
    clean,
    corners,
    raster_samples,
    slice_gradient,
    trapezoid_for_area,
    trapezoid_for_flat,
)
from mrisim.sequence.grammar import ADCModel, EventModel, FilePulse, GradientModel, SLRPulse, WindowedPulse
from mrisim.sequence.lobes import diffusion_lobe
from mrisim.sequence.scope import Collector, Scope
from mrisim.sequence.values import MAX_LOOPS, ONES, Quantity
from mrisim.source import KeyPath, inside_folder
from mrisim.units import ANGLE, AREA, FREQUENCY, GRADIENT, LENGTH, NUMBER, SHIFT, TIME, Dimension, show

MAX_SAMPLES = 1_000_000
MAX_FILE = 20_000_000
PARTS = ("rf", "gx", "gy", "gz", "adc")
LONGEST = 86_400.0  # of one event [s]
LONGEST_PULSE = 0.2  # [s]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pulse:
    """A resolved RF event; arrays over loops."""

    shape: RFShape
    amplitude: np.ndarray  # [Hz], not negative
    phase: np.ndarray  # [deg]
    frequency: np.ndarray  # [Hz]
    flip: np.ndarray  # [rad]
    delay: float  # [s]
    use: Use
    axis: int  # of selection, -1 for none
    thickness: float  # [m], inf for none
    position: np.ndarray  # [m]


@dataclass(frozen=True, kw_only=True)
class Window:
    """When a pulse is on, from the start of its block [s]."""

    start: float
    center: float
    stop: float


@dataclass(frozen=True, kw_only=True)
class Train:
    """When samples are taken, from the start of the block."""

    samples: int
    dwell: float  # [s]
    delay: float  # [s]

    @property
    def duration(self) -> float:
        return self.samples * self.dwell

    @property
    def center(self) -> float:
        """Time of sample N//2 [s]."""
        return self.delay + (self.samples // 2 + 0.5) * self.dwell


@dataclass(frozen=True, kw_only=True, eq=False)
class Sampling:
    """A resolved ADC event; arrays over loops."""

    train: Train
    phase: np.ndarray  # [deg]
    frequency: np.ndarray  # [Hz]
    on: np.ndarray  # bool


@lru_cache(maxsize=256)
def _shape(kind: str, arguments: tuple[tuple[str, Any], ...]) -> RFShape:
    with np.errstate(all="ignore"):
        shape = getattr(waveforms, kind)(**dict(arguments))
    if not (np.isfinite(shape.samples).all() and np.isfinite(shape.bandwidth)):
        raise SpecError(Problem("must be a finite waveform, but is none", "Choose other values for its shape"))
    return shape


class Parts:
    """Resolves the parts of events, each once per scope."""

    def __init__(self, collector: Collector, events: dict[str, EventModel], limits: Limits):
        self.collector = collector
        self.events = events
        self.limits = limits

    def has(self, event: str, part: str) -> bool:
        """Whether an event has a part; a diffusion lobe is all three gradients."""
        spec = self.events[event]
        return getattr(spec, part) is not None or (part in AXES and spec.diffuse is not None)

    # -- pulses ---------------------------------------------------------------------------------------------------

    def shape(self, event: str, scope: Scope) -> RFShape:
        """Shape of the pulse of an event."""
        return scope.remember(("shape", event), lambda: self._make_shape(event, scope))

    def _make_shape(self, event: str, scope: Scope) -> RFShape:
        rf, path = self.events[event].rf, ("events", event, "rf")
        assert rf is not None
        if isinstance(rf, FilePulse):
            return self._file_shape(rf, path, scope)
        arguments: dict[str, Any] = {"duration": self._rf_time(scope, rf.duration, (*path, "duration"))}
        for key, dimension in _SHAPE_NUMBERS.items():
            text = getattr(rf, key, None)
            if text is not None:
                arguments[key] = scope.positive(text, (*path, key), dimension)
                self._bounded(arguments[key], _LARGEST_SHAPE.get(key, math.inf), (*path, key))
        if isinstance(rf, WindowedPulse):
            arguments["window"] = rf.window
        if isinstance(rf, SLRPulse):
            if rf.flip is None:
                with self.collector.at(path):
                    raise SpecError("must have the key 'flip', which the shape 'slr' is made for, but has none")
            flip = scope.array(rf.flip, (*path, "flip"), ANGLE)
            arguments["flip"] = math.radians(float(np.abs(flip).max()))
            arguments["use"] = rf.use if rf.use in waveforms.SLR_USES else "excitation"
        with self.collector.at(path):
            return _shape(rf.shape, tuple(sorted(arguments.items())))

    def _bounded(self, value: float, largest: float, path: KeyPath) -> None:
        if value > largest:
            with self.collector.at(path):
                raise SpecError(f"must be at most {largest:g}, but is {value:g}")

    def _rf_time(self, scope: Scope, text: Any, path: KeyPath) -> float:
        """A duration on the RF raster."""
        duration, raster = scope.positive(text, path, TIME), scope.globals.system.rf_raster
        steps = round(duration / raster)
        with self.collector.at(path):
            if duration > LONGEST_PULSE:
                raise SpecError(f"must be at most {show(LONGEST_PULSE, TIME)}, but is {show(duration, TIME)}")
            if abs(duration / raster - steps) > 1e-6 or steps == 0:
                near = show(max(1, steps) * raster, TIME, digits=9)
                raise SpecError(
                    Problem(
                        f"must be a multiple of the RF raster of {show(raster, TIME)}, but is {show(duration, TIME)}",
                        f"Use {near}",
                    )
                )
        return clean(steps * raster)

    def _file_shape(self, rf: FilePulse, path: KeyPath, scope: Scope) -> RFShape:
        dwell = self._rf_time(scope, rf.dwell, (*path, "dwell"))
        bandwidth = None
        if rf.bandwidth is not None:
            bandwidth = scope.positive(rf.bandwidth, (*path, "bandwidth"), FREQUENCY)
        with self.collector.at((*path, "file")):
            columns = self._columns(rf.file, most=2)
            phase = np.radians(columns[:, 1]) if columns.shape[1] == 2 else 0.0
            return waveforms.from_samples(magnitude=columns[:, 0], phase=phase, dwell=dwell, bandwidth=bandwidth)

    def _columns(self, name: str, most: int) -> np.ndarray:
        path = inside_folder(self.collector.source.folder, name)
        return _read_columns(path, name, most)

    def pulse_window(self, event: str, scope: Scope) -> Window:
        """When the pulse of an event is on; phase and frequency need not be known."""
        return scope.remember(("window", event), lambda: self._make_window(event, scope))

    def _make_window(self, event: str, scope: Scope) -> Window:
        spec, system = self.events[event], scope.globals.system
        assert spec.rf is not None
        shape, axis, delay = self.shape(event, scope), self._select_axis(event), system.rf_dead_time
        if axis != NONE:
            delay = self._selection(event, AXES[axis], scope)[1]
        if spec.rf.delay is not None:
            delay = self._rf_delay(event, scope, delay, axis)
        delay = clean(math.ceil(delay / system.rf_raster - 1e-6) * system.rf_raster)
        return Window(start=delay, center=delay + shape.center, stop=delay + shape.duration)

    def _select_axis(self, event: str) -> int:
        spec = self.events[event]
        axes = [i for i, name in enumerate(AXES) if getattr(getattr(spec, name), "select", None) is not None]
        if len(axes) > 1:
            with self.collector.at(("events", event, AXES[axes[1]], "select")):
                raise SpecError(f"must select along one axis, but {AXES[axes[0]]} selects too")
        return axes[0] if axes else NONE

    def pulse(self, event: str, scope: Scope) -> Pulse:
        """The RF event of an event."""
        return scope.remember(("pulse", event), lambda: self._make_pulse(event, scope))

    def _make_pulse(self, event: str, scope: Scope) -> Pulse:
        spec, path = self.events[event], ("events", event, "rf")
        rf, shape, axis = spec.rf, self.shape(event, scope), self._select_axis(event)
        assert rf is not None
        amplitude, flip, turned = self.strength(event, scope)
        frequency = self._frequency(rf.frequency, (*path, "frequency"), scope)
        thickness, position = math.inf, np.zeros(ONES)
        if axis != NONE:
            gradient, place = getattr(spec, AXES[axis]), ("events", event, AXES[axis])
            thickness = scope.positive(gradient.select, (*place, "select"), LENGTH)
            if gradient.at is not None:
                position = scope.array(gradient.at, (*place, "at"), LENGTH)
            frequency = frequency + self._plateau(self._selection(event, AXES[axis], scope)[0]) * position
        phase = scope.array(rf.phase, (*path, "phase"), ANGLE) + 180.0 * turned
        return Pulse(
            shape=shape, amplitude=amplitude, phase=phase, frequency=frequency, flip=flip,
            delay=self.pulse_window(event, scope).start, use=Use[rf.use.upper()], axis=axis, thickness=thickness,
            position=position,
        )  # fmt: skip

    @staticmethod
    def _plateau(waveform: Waveform) -> float:
        assert waveform.flat is not None
        return waveform.value(0.5 * sum(waveform.flat)) * float(waveform.amplitude.flat[0])

    def _rf_delay(self, event: str, scope: Scope, least: float, axis: int) -> float:
        path = ("events", event, "rf", "delay")
        with self.collector.at(path):
            if axis != NONE:
                raise SpecError(
                    Problem("must be left to the slice gradient, but is given", f"Remove it, or {AXES[axis]}.select")
                )
        rf = self.events[event].rf
        assert rf is not None
        delay = scope.positive(rf.delay, path, TIME, zero=True)
        with self.collector.at(path):
            if delay < least - 1e-12:
                dead = show(least, TIME)
                raise SpecError(
                    Problem(f"must be at least {dead}, the RF dead time, but is {show(delay, TIME)}", f"Set {dead}")
                )
        return delay

    def strength(self, event: str, scope: Scope) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Amplitude [Hz], flip angle [rad], and where a negative one turns the phase."""
        rf, path, shape = self.events[event].rf, ("events", event, "rf"), self.shape(event, scope)
        assert rf is not None
        area = abs(np.sum(shape.samples * np.diff(shape.edges)))
        with self.collector.at(path):
            if rf.flip is not None and rf.amplitude is not None:
                raise SpecError(Problem("must have either flip or amplitude, but has both", "Remove one of them"))
        if rf.shape == "hyperbolic_secant":
            with self.collector.at((*path, "flip")):
                if rf.flip is not None:
                    raise SpecError(
                        Problem("must be left out of an adiabatic pulse, but is given", "Give its amplitude instead")
                    )
                amplitude = np.full(ONES, waveforms.adiabatic_amplitude(shape))
            if rf.amplitude is not None:
                amplitude = scope.array(rf.amplitude, (*path, "amplitude"), FREQUENCY)
            return np.abs(amplitude), np.full(amplitude.shape, math.pi), amplitude < 0
        if rf.flip is not None:
            flip = np.radians(scope.array(rf.flip, (*path, "flip"), ANGLE))
            with self.collector.at(path):
                per_radian = waveforms.amplitude_for_flip(shape, 1.0)
            return np.abs(flip) * per_radian, np.abs(flip), flip < 0
        if rf.amplitude is None:
            with self.collector.at(path):
                raise SpecError(Problem("must have either flip or amplitude, but has neither", "Add 'flip: …'"))
        amplitude = scope.array(rf.amplitude, (*path, "amplitude"), FREQUENCY)
        return np.abs(amplitude), 2 * math.pi * np.abs(amplitude) * area, amplitude < 0

    def _frequency(self, text: Any, path: KeyPath, scope: Scope) -> np.ndarray:
        value, system = scope.quantity(text, path, FREQUENCY, SHIFT), scope.globals.system
        return value.values * (1e-6 * system.gamma * system.b0 if value.dimension == SHIFT else 1.0)

    # -- gradients ------------------------------------------------------------------------------------------------

    def _selection(self, event: str, axis: str, scope: Scope) -> tuple[Waveform, float]:
        return scope.remember(("selection", event, axis), lambda: self._select(event, axis, scope))

    def _select(self, event: str, axis: str, scope: Scope) -> tuple[Waveform, float]:
        spec, path = getattr(self.events[event], axis), ("events", event, axis)
        with self.collector.at((*path, "select")):
            if self.events[event].rf is None:
                raise SpecError("must stand beside an rf part in the same event, but there is none")
        shape = self.shape(event, scope)
        thickness = scope.positive(spec.select, (*path, "select"), LENGTH)
        crush = None if spec.crush is None else scope.number(spec.crush, (*path, "crush"), AREA)
        with self.collector.at((*path, "select")):
            if shape.bandwidth <= 0:
                raise SpecError(
                    Problem("must go with a pulse of known bandwidth, but it is not known", "Give rf.bandwidth")
                )
        with self.collector.at(path):
            dead = scope.globals.system.rf_dead_time
            waveform, delay = slice_gradient(
                shape.bandwidth / thickness, shape.duration, self.limits, dead_time=dead, crush=crush
            )
        return _reshaped(waveform), delay

    def gradient(self, event: str, axis: str, scope: Scope) -> Waveform:
        """The gradient of an event on one axis, its delay included."""
        return scope.remember(("gradient", event, axis), lambda: self._make_gradient(event, axis, scope))

    def _make_gradient(self, event: str, axis: str, scope: Scope) -> Waveform:
        if self.events[event].diffuse is not None:
            return scope.remember(("diffuse", event), lambda: self._lobe(event, scope))[AXES.index(axis)]
        spec, path = getattr(self.events[event], axis), ("events", event, axis)
        with self.collector.at(path):
            form = _form(spec)
        if form == "select":
            return self._selection(event, axis, scope)[0]
        waveform = _reshaped(getattr(self, f"_by_{form}")(spec, path, scope))
        if waveform.duration > LONGEST:
            with self.collector.at(path):
                raise SpecError(f"must last at most {LONGEST:g} s, but lasts {waveform.duration:g} s")
        if spec.delay is None:
            return waveform
        delay = self.limits.up(scope.positive(spec.delay, (*path, "delay"), TIME, zero=True))
        flat = None if waveform.flat is None else (waveform.flat[0] + delay, waveform.flat[1] + delay)
        return Waveform(times=waveform.times + delay, unit=waveform.unit, amplitude=waveform.amplitude, flat=flat,
                        rise_time=waveform.rise_time)  # fmt: skip

    def _optional(self, text: Any, path: KeyPath, scope: Scope) -> float | None:
        return None if text is None else scope.positive(text, path, TIME)

    def _by_area(self, spec: GradientModel, path: KeyPath, scope: Scope) -> Waveform:
        area = scope.array(spec.area, (*path, "area"), AREA)
        duration = self._optional(spec.duration, (*path, "duration"), scope)
        rise = self._optional(spec.rise_time, (*path, "rise_time"), scope)
        with self.collector.at(path):
            return trapezoid_for_area(area, self.limits, duration=duration, rise_time=rise)

    def _by_flat_area(self, spec: GradientModel, path: KeyPath, scope: Scope) -> Waveform:
        area = scope.array(spec.flat_area, (*path, "flat_area"), AREA)
        flat = scope.positive(spec.flat_time, (*path, "flat_time"), TIME)
        rise = self._optional(spec.rise_time, (*path, "rise_time"), scope)
        with self.collector.at(path):
            return trapezoid_for_flat(area / flat, flat, self.limits, rise)

    def _by_amplitude(self, spec: GradientModel, path: KeyPath, scope: Scope) -> Waveform:
        amplitude = scope.array(spec.amplitude, (*path, "amplitude"), GRADIENT)
        flat = scope.positive(spec.flat_time, (*path, "flat_time"), TIME, zero=True)
        rise = self._optional(spec.rise_time, (*path, "rise_time"), scope)
        with self.collector.at(path):
            return trapezoid_for_flat(amplitude, flat, self.limits, rise)

    def _by_times(self, spec: GradientModel, path: KeyPath, scope: Scope) -> Waveform:
        assert spec.times is not None
        assert spec.amplitudes is not None
        times = np.array([scope.number(t, (*path, "times", i), TIME) for i, t in enumerate(spec.times)])
        values = np.array([scope.number(a, (*path, "amplitudes", i), GRADIENT) for i, a in enumerate(spec.amplitudes)])
        with self.collector.at(path):
            if len(times) != len(values) or len(times) < 2:
                raise SpecError(
                    f"must have as many amplitudes as times, at least 2, but has {len(values)} and {len(times)}"
                )
            return corners(times, values, self.limits)

    def _by_samples(self, spec: GradientModel, path: KeyPath, scope: Scope) -> Waveform:
        value = scope.evaluate(spec.samples, (*path, "samples"))
        with self.collector.at((*path, "samples")):
            if not isinstance(value, Quantity) or not value.is_list or value.varies:
                raise SpecError("must be a list that does not vary over a loop, but is not")
            if value.dimension not in (NUMBER, GRADIENT):
                raise SpecError(f"must be a list of numbers or gradients, but is one of {value.dimension.noun}")
            values = value.values.reshape(len(value.values))
            scaled = value.dimension == NUMBER
        if scaled != (spec.amplitude is not None):
            with self.collector.at(path):
                rule = "must have the key 'amplitude', which its samples are scaled to, but has none"
                if not scaled:
                    rule = "must not have the key 'amplitude' beside samples that are gradients, but has"
                raise SpecError(rule)
        amplitude = np.full((1,), np.abs(values).max(initial=0.0))
        if scaled:
            amplitude = scope.array(spec.amplitude, (*path, "amplitude"), GRADIENT)
        with self.collector.at((*path, "samples")):
            return raster_samples(values, amplitude, self.limits)

    def _by_file(self, spec: GradientModel, path: KeyPath, scope: Scope) -> Waveform:
        amplitude = scope.array(spec.amplitude, (*path, "amplitude"), GRADIENT)
        with self.collector.at((*path, "file")):
            return raster_samples(self._columns(spec.file or "", most=1)[:, 0], amplitude, self.limits)

    def _lobe(self, event: str, scope: Scope) -> tuple[Waveform, Waveform, Waveform]:
        spec, path = self.events[event], ("events", event, "diffuse")
        assert spec.diffuse is not None
        taken = [axis for axis in AXES if getattr(spec, axis) is not None]
        with self.collector.at(path):
            if taken:
                raise SpecError(Problem(f"must be the only gradient of its event, but {taken[0]} is one", "Remove it"))
            return diffusion_lobe(spec.diffuse, path, scope, self.limits)

    # -- sampling -------------------------------------------------------------------------------------------------

    def sampling(self, event: str, scope: Scope) -> Sampling:
        """The ADC event of an event."""
        return scope.remember(("sampling", event), lambda: self._make_sampling(event, scope))

    def train(self, event: str, scope: Scope) -> Train:
        """When an event samples; phase and frequency need not be known."""
        return scope.remember(("train", event), lambda: self._make_train(event, scope))

    def _make_train(self, event: str, scope: Scope) -> Train:
        adc = self.events[event].adc
        assert adc is not None
        samples, dwell = self._train(adc, ("events", event, "adc"), scope)
        return Train(samples=samples, dwell=dwell, delay=self._adc_delay(event, scope, samples * dwell))

    def _make_sampling(self, event: str, scope: Scope) -> Sampling:
        adc, path = self.events[event].adc, ("events", event, "adc")
        assert adc is not None
        return Sampling(
            train=self.train(event, scope),
            phase=scope.array(adc.phase, (*path, "phase"), ANGLE),
            frequency=self._frequency(adc.frequency, (*path, "frequency"), scope),
            on=scope.truth(adc.on, (*path, "on")),
        )

    def _train(self, adc: ADCModel, path: KeyPath, scope: Scope) -> tuple[int, float]:
        counts = []
        for key in ("samples", "oversampling"):
            count = scope.whole(getattr(adc, key), (*path, key))
            with self.collector.at((*path, key)):
                if np.ptp(count) > 0:
                    raise SpecError(f"must not vary over a loop, but '{getattr(adc, key)}' does")
                if not 1 <= count.flat[0] <= MAX_SAMPLES:
                    raise SpecError(f"must lie between 1 and {MAX_SAMPLES}, but is {count.flat[0]}")
            counts.append(int(count.flat[0]))
        dwell = scope.positive(adc.dwell, (*path, "dwell"), TIME) / counts[1]
        raster = scope.globals.system.adc_raster
        steps = max(1, round(dwell / raster))
        with self.collector.at((*path, "dwell")):
            if counts[0] * counts[1] > MAX_SAMPLES:
                raise SpecError(f"must give at most {MAX_SAMPLES} samples, but gives {counts[0] * counts[1]}")
            if abs(dwell / raster - steps) > 1e-6:
                good = steps * raster * counts[1]
                raise SpecError(
                    Problem(
                        f"must be a multiple of the ADC raster of {show(raster * counts[1], TIME)}, "
                        f"but is {show(dwell * counts[1], TIME)}",
                        f"Use a bandwidth of {show(1 / good, FREQUENCY)}, a dwell time of {show(good, TIME)}",
                    )
                )
        return counts[0] * counts[1], clean(steps * raster)

    def _adc_delay(self, event: str, scope: Scope, duration: float) -> float:
        spec, path = self.events[event], ("events", event, "adc")
        system = scope.globals.system
        assert spec.adc is not None
        if spec.adc.delay is not None:
            delay = scope.positive(spec.adc.delay, (*path, "delay"), TIME, zero=True)
            with self.collector.at((*path, "delay")):
                if delay < system.adc_dead_time - 1e-12:
                    least = show(system.adc_dead_time, TIME)
                    raise SpecError(f"must be at least {least}, the ADC dead time, but is {show(delay, TIME)}")
            return _nearest(delay, system.rf_raster)
        delay = system.adc_dead_time
        for axis in AXES:
            if not self.has(event, axis):
                continue
            flat = self.gradient(event, axis, scope).flat
            if flat is None:
                continue
            delay = 0.5 * (flat[0] + flat[1] - duration)
            with self.collector.at(path):
                if flat[1] - flat[0] < duration * (1 - 1e-9):
                    rule = f"must sample on the flat top of {axis}, {show(flat[1] - flat[0], TIME)}, but lasts "
                    raise SpecError(
                        Problem(rule + show(duration, TIME), "Give the ADC a delay, or the gradient a longer flat top")
                    )
            break
        delay = _nearest(delay, system.rf_raster)
        with self.collector.at(path):
            if delay < system.adc_dead_time - 1e-12:
                rule = f"must begin {show(system.adc_dead_time, TIME)} after the block, but begins after "
                raise SpecError(Problem(rule + show(delay, TIME), "Give the gradient a longer rise_time or flat_time"))
        return delay

    # -- whole events ---------------------------------------------------------------------------------------------

    def duration(self, event: str, scope: Scope) -> float:
        """Duration of a block with this event alone [s]."""
        return scope.remember(("duration", event), lambda: self._block_duration(event, scope))

    def _block_duration(self, event: str, scope: Scope) -> float:
        spec, system = self.events[event], scope.globals.system
        ends = [0.0]
        if spec.rf is not None:
            ends.append(self.pulse_window(event, scope).stop + system.rf_ringdown_time)
        ends += [self.gradient(event, axis, scope).duration for axis in AXES if self.has(event, axis)]
        if spec.adc is not None:
            train = self.train(event, scope)
            ends.append(train.delay + train.duration + system.adc_dead_time)
        return clean(math.ceil(max(ends) / system.block_raster - 1e-6) * system.block_raster)


_LARGEST_SHAPE = {"time_bandwidth": 100.0, "center": 1.0, "passband_ripple": 1.0, "stopband_ripple": 1.0, "mu": 1e3}
_SHAPE_NUMBERS: dict[str, Dimension] = {
    "time_bandwidth": NUMBER,
    "center": NUMBER,
    "passband_ripple": NUMBER,
    "stopband_ripple": NUMBER,
    "bandwidth": FREQUENCY,
    "mu": NUMBER,
    "beta": FREQUENCY,
    "edge": TIME,
}

_FORMS: dict[str, tuple[set[str], set[str]]] = {
    "select": ({"select"}, {"at", "crush"}),
    "area": ({"area"}, {"duration", "rise_time", "delay"}),
    "flat_area": ({"flat_area", "flat_time"}, {"rise_time", "delay"}),
    "times": ({"times", "amplitudes"}, {"delay"}),
    "samples": ({"samples"}, {"amplitude", "delay"}),
    "file": ({"file", "amplitude"}, {"delay"}),
    "amplitude": ({"amplitude", "flat_time"}, {"rise_time", "delay"}),
}  # form → keys that it needs, keys that it may have


def _form(spec: GradientModel) -> str:
    given = {name for name in GradientModel.model_fields if getattr(spec, name) is not None}
    form = next((name for name in _FORMS if name in given), None)
    if form is None:
        raise SpecError(
            Problem(
                "must be given by select, area, flat_area, amplitude, times, samples or file, but by none of these",
                "Add 'area: …', for example",
            )
        )
    needed, allowed = _FORMS[form]
    if needed - given:
        raise SpecError(f"must have the key '{min(needed - given)}' beside '{form}', but has none")
    extra = given - needed - allowed
    if extra:
        raise SpecError(Problem(f"must not have the key '{min(extra)}' beside '{form}', but has", "Remove one of them"))
    return form


def _reshaped(waveform: Waveform) -> Waveform:
    if waveform.amplitude.ndim == MAX_LOOPS:
        return waveform
    return Waveform(
        times=waveform.times, unit=waveform.unit, amplitude=waveform.amplitude.reshape(ONES), flat=waveform.flat,
        rise_time=waveform.rise_time,
    )  # fmt: skip


def _nearest(time: float, raster: float) -> float:
    return clean(round(time / raster) * raster)


def _read_columns(path: Path, name: str, most: int) -> np.ndarray:
    try:
        if path.stat().st_size > MAX_FILE:
            raise SpecError(f"must be at most {MAX_FILE} bytes long, but '{name}' is longer")
        rows = [line.split("#")[0].replace(",", " ").split() for line in path.read_text("utf-8").splitlines()]
        columns = np.array([[float(cell) for cell in row] for row in rows if row])
    except SpecError:
        raise
    except OSError as error:
        raise SpecError(f"must be a readable file, but '{name}' is not: {error.strerror}") from None
    except (ValueError, UnicodeDecodeError):
        raise SpecError(f"must hold rows of numbers, but '{name}' does not") from None
    if columns.ndim != 2 or not 1 <= columns.shape[1] <= most or not np.isfinite(columns).all():
        raise SpecError(f"must hold 1 to {most} columns of finite numbers, but '{name}' does not")
    return columns
