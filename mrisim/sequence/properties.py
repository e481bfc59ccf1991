"""Properties of events that expressions refer to, and anchors that timing refers to."""

from __future__ import annotations

from typing import Any

import numpy as np

from mrisim.errors import Problem, SpecError
from mrisim.sequence.gradients import Waveform
from mrisim.sequence.parts import PARTS, Parts
from mrisim.sequence.scope import Scope
from mrisim.sequence.values import Quantity, Value
from mrisim.source import did_you_mean
from mrisim.units import ANGLE, AREA, FREQUENCY, GRADIENT, NUMBER, TIME


def property_of(parts: Parts, path: tuple[str, ...], scope: Scope) -> Value:
    """Value of `event.duration` or `event.part.property`."""
    event, text = path[0], ".".join(path)
    if len(path) == 2 and path[1] == "duration":
        return Quantity.of(parts.duration(event, scope), TIME)
    given = [part for part in PARTS if parts.has(event, part)]
    if len(path) < 2 or path[1] not in given:
        word = path[1] if len(path) > 1 else ""
        raise SpecError(
            Problem(
                f"must be a part of the event {event}, but '{text}' is none",
                did_you_mean(word, [*given, "duration"]),
            )
        )
    table = _PROPERTIES[path[1]]
    if len(path) != 3 or path[2] not in table:
        word = path[2] if len(path) > 2 else ""
        raise SpecError(
            Problem(f"must be a property of {event}.{path[1]}, but '{text}' is none", did_you_mean(word, table))
        )
    if path[1] == "rf":
        return table[path[2]](parts, event, scope)
    if path[1] == "adc":
        return table[path[2]](parts.train(event, scope))
    return table[path[2]](parts.gradient(event, path[1], scope), lambda: _center(parts, event, scope))


def _center(parts: Parts, event: str, scope: Scope) -> float:
    spec = parts.events[event]
    if spec.rf is not None:
        return parts.pulse_window(event, scope).center
    if spec.adc is not None:
        return parts.train(event, scope).center
    raise SpecError(f"must have a pulse or an ADC in the event {event} to have a center, but has neither")


def anchor_time(parts: Parts, event: str, words: tuple[str, ...], scope: Scope) -> float:
    """Time of an anchor from the start of the event's block [s]."""
    if words == ("start",):
        return 0.0
    part, point = words if len(words) == 2 else ("", "")
    if part not in PARTS or point not in ("start", "center", "end") or not parts.has(event, part):
        raise SpecError(
            f"must be an anchor such as {event}.start, {event}.end or {event}.rf.center, "
            f"but is '{'.'.join((event, *words))}'"
        )
    if part == "rf":
        pulse = parts.pulse_window(event, scope)
        return {"start": pulse.start, "center": pulse.center, "end": pulse.stop}[point]
    if part == "adc":
        adc = parts.train(event, scope)
        return {"start": adc.delay, "center": adc.center, "end": adc.delay + adc.duration}[point]
    times = parts.gradient(event, part, scope).times
    return {"start": float(times[0]), "center": 0.5 * float(times[0] + times[-1]), "end": float(times[-1])}[point]


def _area(waveform: Waveform, start: float, stop: float) -> Quantity:
    return Quantity(waveform.amplitude * waveform.integral(start, stop), AREA)


def _flat(waveform: Waveform) -> tuple[float, float]:
    if waveform.flat is None:
        raise SpecError("must be a trapezoid to have a flat top, but is none")
    return waveform.flat


def _rise(waveform: Waveform) -> float:
    if waveform.rise_time is None:
        raise SpecError("must be a trapezoid to have a rise time, but is none")
    return waveform.rise_time


def _top(waveform: Waveform) -> Quantity:
    if waveform.flat is None:
        return Quantity(waveform.amplitude, GRADIENT)
    return Quantity(waveform.amplitude * waveform.value(0.5 * sum(waveform.flat)), GRADIENT)


_GRADIENT_PROPERTIES = {
    "area": lambda g, center: _area(g, 0.0, g.duration),
    "flat_area": lambda g, center: _area(g, *_flat(g)),
    "area_before_center": lambda g, center: _area(g, 0.0, center()),
    "area_to_center": lambda g, center: _area(g, 0.0, center()),
    "area_after_center": lambda g, center: _area(g, center(), max(g.duration, center())),
    "amplitude": lambda g, center: _top(g),
    "duration": lambda g, center: Quantity.of(g.duration, TIME),
    "rise_time": lambda g, center: Quantity.of(_rise(g), TIME),
    "flat_time": lambda g, center: Quantity.of(_flat(g)[1] - _flat(g)[0], TIME),
}
_PROPERTIES: dict[str, dict[str, Any]] = {
    "rf": {
        "center": lambda p, e, s: Quantity.of(p.pulse_window(e, s).center, TIME),
        "delay": lambda p, e, s: Quantity.of(p.pulse_window(e, s).start, TIME),
        "end": lambda p, e, s: Quantity.of(p.pulse_window(e, s).stop, TIME),
        "duration": lambda p, e, s: Quantity.of(p.shape(e, s).duration, TIME),
        "bandwidth": lambda p, e, s: Quantity.of(p.shape(e, s).bandwidth, FREQUENCY),
        "amplitude": lambda p, e, s: Quantity(p.strength(e, s)[0], FREQUENCY),
        "flip": lambda p, e, s: Quantity(np.degrees(p.strength(e, s)[1]), ANGLE),
    },
    "adc": {
        "center": lambda a: Quantity.of(a.center, TIME),
        "delay": lambda a: Quantity.of(a.delay, TIME),
        "duration": lambda a: Quantity.of(a.duration, TIME),
        "end": lambda a: Quantity.of(a.delay + a.duration, TIME),
        "dwell": lambda a: Quantity.of(a.dwell, TIME),
        "samples": lambda a: Quantity.of(a.samples, NUMBER),
    },
    "gx": _GRADIENT_PROPERTIES,
    "gy": _GRADIENT_PROPERTIES,
    "gz": _GRADIENT_PROPERTIES,
}
