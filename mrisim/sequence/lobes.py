"""The diffusion lobe of an event, resolved: three gradients of one waveform."""

from __future__ import annotations

from typing import Any

import numpy as np

from mrisim.errors import Problem, SpecError, TimingError
from mrisim.sequence.diffusion import Demand, check_directions, cosine_lobe, factor, trapezoid_lobe
from mrisim.sequence.gradients import TIGHT, Limits, Waveform, trapezoid
from mrisim.sequence.grammar import DiffusionModel
from mrisim.sequence.scope import Scope
from mrisim.sequence.values import MAX_LOOPS, ONES, Quantity
from mrisim.source import KeyPath
from mrisim.units import B_VALUE, FREQUENCY, GRADIENT, NUMBER, TIME, show

_FORMS = {
    "b": ({"b", "separation"}, {"duration", "rise_time", "frequency"}),
    "amplitude": ({"amplitude", "duration"}, {"rise_time"}),
}  # form → keys that it needs, keys that it may have


def diffusion_lobe(
    spec: DiffusionModel, path: KeyPath, scope: Scope, limits: Limits
) -> tuple[Waveform, Waveform, Waveform]:
    """Gradients of a `diffuse` part along read, phase and slice.

    Raises:
        SpecError: keys that do not go together, directions not of unit length.
        TimingError: a b value that the limits cannot reach in the time that there is.
    """
    form = _form(spec)
    direction = _direction(spec, path, scope)
    if form == "b":
        unit, amplitude = _by_b(spec, path, scope, limits, direction)
    else:
        unit, amplitude = _by_amplitude(spec, path, scope, limits, direction)
    x, y, z = (
        Waveform(times=unit.times, unit=unit.unit, amplitude=_over_loops(amplitude * one), flat=unit.flat,
                 rise_time=unit.rise_time)
        for one in direction
    )  # fmt: skip
    return x, y, z


def _form(spec: DiffusionModel) -> str:
    given = {name for name in DiffusionModel.model_fields if getattr(spec, name) is not None} - {"direction"}
    form = next((name for name in _FORMS if name in given), None)
    if form is None:
        raise SpecError(Problem("must be given by b or by amplitude, but by none of them", "Add 'b: …'"))
    needed, allowed = _FORMS[form]
    if needed - given:
        raise SpecError(f"must have the key '{min(needed - given)}' beside '{form}', but has none")
    if given - needed - allowed:
        rule = f"must not have the key '{min(given - needed - allowed)}' beside '{form}', but has"
        raise SpecError(Problem(rule, "Remove one of them"))
    if "frequency" in given and "rise_time" in given:
        raise SpecError(Problem("must not have the key 'rise_time' beside 'frequency', but has", "Remove one of them"))
    return form


def _direction(spec: DiffusionModel, path: KeyPath, scope: Scope) -> np.ndarray:
    """(3, loops), exactly of length one."""
    value = scope.evaluate(spec.direction, (*path, "direction"))
    with scope.globals.collector.at((*path, "direction")):
        if not isinstance(value, Quantity) or not value.is_list or value.dimension != NUMBER or len(value.values) != 3:
            raise SpecError("must be a list of three numbers (read, phase, slice), but is none")
        return check_directions(value.values)


def _by_b(
    spec: DiffusionModel, path: KeyPath, scope: Scope, limits: Limits, direction: np.ndarray
) -> tuple[Waveform, np.ndarray]:
    b = scope.array(spec.b, (*path, "b"), B_VALUE)
    with scope.globals.collector.at((*path, "b")):
        if b.min() < 0:
            raise SpecError(f"must be at least 0 s/mm^2, but is {show(float(b.min()), B_VALUE)}")
    separation = scope.number(spec.separation, (*path, "separation"), TIME)
    with scope.globals.collector.at((*path, "separation")):
        if separation <= 0:
            rule = f"must be above zero, but is {show(separation, TIME)}"
            raise TimingError(Problem(rule, "Raise the time between the lobes"))
    demand = Demand(b=b, direction=direction, separation=separation)
    duration = _optional(spec.duration, (*path, "duration"), scope, TIME)
    if spec.frequency is not None:
        frequency = scope.positive(spec.frequency, (*path, "frequency"), FREQUENCY)
        unit = cosine_lobe(demand, limits, frequency, duration)
    else:
        unit = trapezoid_lobe(demand, limits, duration, _optional(spec.rise_time, (*path, "rise_time"), scope, TIME))
    if unit.duration > separation * (1 + TIGHT):
        raise TimingError(Problem(f"must end before the second lobe, {show(separation, TIME)} after its start, but "
                                  f"lasts {show(unit.duration, TIME)}", "Raise the separation"))  # fmt: skip
    return unit, np.sqrt(b / factor(unit, separation))


def _by_amplitude(
    spec: DiffusionModel, path: KeyPath, scope: Scope, limits: Limits, direction: np.ndarray
) -> tuple[Waveform, np.ndarray]:
    amplitude = scope.array(spec.amplitude, (*path, "amplitude"), GRADIENT)
    duration = limits.up(scope.positive(spec.duration, (*path, "duration"), TIME))
    rise = limits.ramp(limits.gradient)
    if spec.rise_time is not None:
        rise = limits.up(scope.positive(spec.rise_time, (*path, "rise_time"), TIME))
    if duration < rise * (1 - TIGHT):
        rule = f"duration must be at least the ramp of {show(rise, TIME)}, but is {show(duration, TIME)}"
        raise TimingError(Problem(rule, "Raise it"))
    strongest, largest = min(limits.gradient, limits.slew * rise), float(np.abs(amplitude * direction).max())
    if largest > strongest * (1 + TIGHT):
        most, found = (show(one, GRADIENT, limits.gamma) for one in (strongest, largest))
        rule = f"amplitude must be at most {most} along each axis, but is {found}"
        raise TimingError(Problem(rule, "Give the lobes more time, or lower b"))
    return trapezoid(np.ones(1), rise, max(0.0, round(duration - rise, 12))), amplitude


def _optional(text: Any, path: KeyPath, scope: Scope, dimension: Any) -> float | None:
    return None if text is None else scope.positive(text, path, dimension)


def _over_loops(amplitude: np.ndarray) -> np.ndarray:
    return amplitude if amplitude.ndim == MAX_LOOPS else amplitude.reshape(ONES)
