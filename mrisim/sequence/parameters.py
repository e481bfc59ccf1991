"""Parameters: the defaults of a file and what the user sets, as quantities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mrisim.errors import Problem, SpecError
from mrisim.events.blocks import Parameter
from mrisim.sequence.expression import parse_expression, plain_number
from mrisim.sequence.grammar import ParameterModel, SequenceModel
from mrisim.sequence.values import MAX_LIST, Quantity, Value, stack
from mrisim.source import KeyPath, Source, did_you_mean
from mrisim.units import EXAMPLES, NUMBER, Dimension, show


class _Nothing:
    """A scope without names: what a literal is evaluated in."""

    def knows(self, name: str) -> bool:
        return False

    def lookup(self, name: str) -> Value:
        raise SpecError(f"must be a number with its unit, but names '{name}'")

    def attribute(self, path: tuple[str, ...]) -> Value:
        raise SpecError(f"must be a number with its unit, but names '{'.'.join(path)}'")


def literal(value: Any, gamma: float) -> Quantity:
    """Quantity of a value in a file: text with a unit, a plain number, true, false, or a list of these.

    Raises:
        SpecError: anything else.
    """
    if isinstance(value, list):
        return stack([literal(one, gamma) for one in value])
    if isinstance(value, (bool, int, float)):
        return Quantity.of(value)
    result = parse_expression(value, gamma).evaluate(_Nothing())
    if not isinstance(result, Quantity):
        raise SpecError("must be a number or a list, but is an order of lines")
    return result


def user_value(value: Any, default: Quantity, gamma: float) -> Quantity:
    """Quantity of what a user sets: SI numbers, text with a unit, or a sequence of these.

    Raises:
        SpecError: another dimension than the default's, a missing unit, a list for a scalar.
    """
    if isinstance(value, str):
        given = _from_text(value, default, gamma)
    elif isinstance(value, (list, tuple)) and any(isinstance(one, str) for one in value):
        given = stack([user_value(one, _first(default), gamma) for one in value])
    else:
        given = _from_numbers(value, default)
    _check_kind(value, given, default)
    if given.is_list and not default.is_list:
        raise SpecError(f"must be one value, but is a list of {len(given.values)}")
    if default.is_list and not given.is_list:
        filled = np.broadcast_to(given.values, default.values.shape).copy()
        return Quantity(filled, given.dimension, True)
    return given


def _first(default: Quantity) -> Quantity:
    return Quantity(default.values[0], default.dimension) if default.is_list else default


def _from_text(text: str, default: Quantity, gamma: float) -> Quantity:
    if plain_number(text) and default.dimension != NUMBER:
        raise SpecError(_missing_unit(text, default.dimension))
    try:
        return literal(text, gamma)
    except SpecError:
        if "," not in text:
            raise
    return literal(f"[{text}]", gamma)


def _from_numbers(value: Any, default: Quantity) -> Quantity:
    try:
        array = np.asarray(value)
    except ValueError:
        raise SpecError("must be a number or a list of numbers, but is neither") from None
    if array.dtype.kind not in "biuf" or array.ndim > 1 or not 0 < array.size <= MAX_LIST:
        raise SpecError(f"must be a number, text with a unit or a list of these, but is {str(value)[:60]!r}")
    if array.dtype != bool and not np.isfinite(array).all():
        raise SpecError("must be finite, but is not")
    return Quantity.of(array, default.dimension if array.dtype != bool else NUMBER)


def _missing_unit(text: str, dimension: Dimension) -> Problem:
    example = EXAMPLES.get(dimension, f"1 {dimension}").split(" ", 1)[1]
    rule = f"must be {dimension.noun} with its unit, but is {text.strip()}"
    return Problem(rule, f"Did you mean '{text.strip()} {example}'")


def _check_kind(value: Any, given: Quantity, default: Quantity) -> None:
    if given.is_bool != default.is_bool:
        kind = "true or false" if default.is_bool else default.dimension.noun
        raise SpecError(f"must be {kind}, but is {given.describe()}")
    if given.dimension != default.dimension:
        raise SpecError(f"must be {default.dimension.noun}, but is '{value}', {given.dimension.noun}")


def resolve_parameters(
    model: SequenceModel, source: Source, gamma: float, given: Mapping[str, Any], fixed_length: set[str]
) -> tuple[dict[str, Quantity], dict[str, Parameter], list[Problem]]:
    """Values of all parameters.

    Args:
        model: The file.
        source: Where its keys stand.
        gamma: Gyromagnetic ratio over 2 pi [Hz/T].
        given: What the user sets, by name.
        fixed_length: Names of lists that keep their length, because the file refers to their components.

    Returns:
        Quantities by name, records by name, and all problems.
    """
    values: dict[str, Quantity] = {}
    records: dict[str, Parameter] = {}
    problems = [
        Problem(
            "must be a parameter of the sequence, but is none", did_you_mean(name, model.parameters), name, source.file
        )
        for name in given
        if name not in model.parameters
    ]
    for name, spec in model.parameters.items():
        path: KeyPath = ("parameters", name)
        full = spec if isinstance(spec, ParameterModel) else ParameterModel(value=spec)
        value_path = (*path, "value") if isinstance(spec, ParameterModel) else path
        try:
            default = literal(full.value, gamma)
            value = default
            if name in given:
                value_path = ()
                value = user_value(given[name], default, gamma)
                if default.is_list and name in fixed_length and len(value.values) != len(default.values):
                    raise SpecError(f"must have {len(default.values)} components, but has {len(value.values)}")
        except SpecError as error:
            problems += [_locate(p, source, value_path, name) for p in error.problems]
            continue
        problems += _bounds(full, default, value, source, path, gamma, () if name in given else value_path, name)
        values[name] = value
        records[name] = Parameter(name, plain(value), value.dimension, full.doc, name not in given)
    return values, records, problems


def _locate(problem: Problem, source: Source, path: KeyPath, name: str) -> Problem:
    if path:
        return source.problem(path, problem.rule, problem.remedy)
    return Problem(problem.rule, problem.remedy, name, source.file)


def _bounds(
    spec: ParameterModel, default: Quantity, value: Quantity, source: Source, path: KeyPath, gamma: float,
    place: KeyPath, name: str,
) -> list[Problem]:  # fmt: skip
    problems = []
    for key, sign, word in (("min", 1, "least"), ("max", -1, "most")):
        text = getattr(spec, key)
        if text is None:
            continue
        try:
            bound = literal(text, gamma)
            if bound.dimension != default.dimension or bound.is_list or bound.is_bool:
                raise SpecError(f"must be {default.dimension.noun} as the value is, but is {bound.dimension.noun}")
        except SpecError as error:
            problems += [source.problem((*path, key), p.rule, p.remedy) for p in error.problems]
            continue
        limit = float(bound.si().flat[0])
        beyond = sign * (value.si() - limit) < -1e-12 * abs(limit)
        if beyond.any():
            found = show(float(value.si()[beyond].flat[0]), value.dimension, gamma)
            rule = f"must be at {word} {show(limit, value.dimension, gamma)}, but is {found}"
            problems.append(_locate(Problem(rule), source, place, name))
    return problems


def plain(value: Quantity) -> Any:
    """A quantity as Python values in SI: int where it counts, float, bool, or a tuple of these."""
    numbers = value.si().ravel()
    if value.is_bool:
        items: list[Any] = [bool(number) for number in numbers]
    elif value.dimension == NUMBER and np.array_equal(numbers, np.round(numbers)) and np.abs(numbers).max() < 2**53:
        items = [int(number) for number in numbers]
    else:
        items = [float(number) for number in numbers]
    return tuple(items) if value.is_list else items[0]
