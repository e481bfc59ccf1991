"""Names and their values: parameters, definitions, events, and the variables of the loops around a place.

Names in events bind late: an event is resolved in the scope of each place where the timeline uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from mrisim.errors import Problem, SpecError
from mrisim.scanner import Scanner
from mrisim.sequence.expression import NAME, parse_expression, plain_number
from mrisim.sequence.values import MAX_LOOPS, Quantity, Value, as_whole, item, stack
from mrisim.source import KeyPath, Source, did_you_mean
from mrisim.units import (
    ANGLE,
    EXAMPLES,
    FIELD,
    FREQUENCY,
    GRADIENT,
    NUMBER,
    SLEW,
    TIME,
    Dimension,
)

LARGEST = 1e15  # of any number in SI; beyond it nothing in a scanner makes sense
SYSTEM_DIMENSIONS: Mapping[str, Dimension] = {
    "b0": FIELD,
    "gamma": FREQUENCY / FIELD,
    "max_gradient": GRADIENT,
    "max_slew": SLEW,
    "max_b1": FREQUENCY,
} | {f.name: TIME for f in fields(Scanner) if f.name.endswith(("_raster", "_time", "_delay"))}
COMPONENTS = ("x", "y", "z")


class Collector:
    """Problems of one stage, each once, in order."""

    def __init__(self, source: Source):
        self.source = source
        self.problems: dict[str, Problem] = {}
        self.kinds: set[type[SpecError]] = set()

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Keep the problems of what fails inside and go on after it."""
        try:
            yield
        except SpecError as error:
            self.kinds.add(type(error))
            self.add(*error.problems)

    def add(self, *problems: Problem) -> None:
        """Keep problems."""
        for problem in problems:
            self.problems.setdefault(str(problem), problem)

    @contextmanager
    def at(self, path: KeyPath) -> Iterator[None]:
        """Give what fails inside the place of a key, unless it has one."""
        try:
            yield
        except SpecError as error:
            raise type(error)([self._located(p, path) for p in error.problems]) from None

    def _located(self, problem: Problem, path: KeyPath) -> Problem:
        if problem.file or problem.line is not None:
            return problem
        return self.source.problem(path, problem.rule, problem.remedy)

    def finish(self) -> None:
        """Raise what was collected.

        Raises:
            TimingError: only times that cannot be met were collected.
            SpecError: at least one other problem was collected.
        """
        if self.problems:
            kind = self.kinds.pop() if len(self.kinds) == 1 else SpecError
            raise kind(list(self.problems.values()))


@dataclass(eq=False)
class Scope:
    """The names at one place of the timeline: those of the file, and those of the loops around it."""

    globals: Globals
    parent: Scope | None = None
    path: KeyPath = ()
    size: int = 1  # iterations of the loop of this scope
    variables: dict[str, Quantity] = field(default_factory=dict)
    lets: Mapping[str, Any] = field(default_factory=dict)
    cache: dict[Any, Any] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        """Number of loops around."""
        return 0 if self.parent is None else self.parent.depth + 1

    @property
    def axis(self) -> int:
        """Axis of values that belongs to the loop of this scope."""
        return self.depth - 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Iterations of the loops around, outermost first, one where there is none."""
        sizes = self.sizes
        return (*sizes, *(1,) * (MAX_LOOPS - len(sizes)))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Iterations of the loops around, outermost first."""
        return () if self.parent is None else (*self.parent.sizes, self.size)

    def chain(self) -> Iterator[Scope]:
        """This scope and those around it, innermost first."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent

    def remember(self, key: Any, compute: Callable[[], Any]) -> Any:
        """Compute once, failures included; what depends on itself is an error."""
        if key not in self.cache:
            self.cache[key] = _BUSY
            try:
                self.cache[key] = compute()
            except SpecError as error:
                self.cache[key] = error
        found = self.cache[key]
        if found is _BUSY:
            name = ".".join(part for part in key if isinstance(part, str)) if isinstance(key, tuple) else str(key)
            raise SpecError(f"must not depend on itself, but {name} does")
        if isinstance(found, SpecError):
            raise found
        return found

    def knows(self, name: str) -> bool:
        """Whether a name has a value here: see `mrisim.sequence.expression.Scope`."""
        local = any(name in scope.variables or name in scope.lets for scope in self.chain())
        return local or name in self.globals.parameters or name in self.globals.definitions

    def lookup(self, name: str) -> Value:
        """Value of a name: see `mrisim.sequence.expression.Scope`."""
        for scope in self.chain():
            if name in scope.variables:
                return scope.variables[name]
            if name in scope.lets:
                path = (*scope.path, "let", name)
                return scope.remember(("let", name), lambda s=scope, p=path: s.evaluate(s.lets[name], p))
        return self.globals.lookup(name, self)

    def attribute(self, path: tuple[str, ...]) -> Value:
        """Value of a dotted name."""
        if path[0] == "system":
            return self.globals.system_value(path)
        if path[0] in self.globals.events:
            return self.globals.property_of(path, self)
        value = self.lookup(path[0])
        if len(path) != 2 or path[1] not in COMPONENTS:
            raise SpecError(f"must be an event's property or a component x, y, z, but is '{'.'.join(path)}'")
        index = COMPONENTS.index(path[1])
        if not isinstance(value, Quantity) or not value.is_list:
            raise SpecError(f"must be a list to have the component {path[1]}, but '{path[0]}' is none")
        if index >= len(value.values):
            raise SpecError(f"must have {index + 1} components, but '{path[0]}' has {len(value.values)}")
        return item(value, Quantity.of(index), ".".join(path))

    def evaluate(self, text: Any, path: KeyPath) -> Value:
        """Value of an expression, a number or a list of these, as a file has it."""
        with self.globals.collector.at(path):
            if isinstance(text, list):
                return stack([self._plain(one, (*path, i)) for i, one in enumerate(text)])
            if isinstance(text, (bool, int, float)):
                value: Value = Quantity.of(text)
                if isinstance(value, Quantity) and not value.is_bool and not np.isfinite(value.values).all():
                    raise SpecError(f"must be finite, but is {text}")
                return value
            return parse_expression(text, self.globals.system.gamma).evaluate(self)

    def _plain(self, text: Any, path: KeyPath) -> Quantity:
        value = self.evaluate(text, path)
        with self.globals.collector.at(path):
            if not isinstance(value, Quantity):
                raise SpecError("must be a number, but is an order of lines")
        return value

    def quantity(self, text: Any, path: KeyPath, *dimensions: Dimension) -> Quantity:
        """Value of an expression that must have one of some dimensions; no list, not true or false."""
        value = self.evaluate(text, path)
        with self.globals.collector.at(path):
            if not isinstance(value, Quantity) or value.is_list or value.is_bool:
                kind = "an order of lines" if not isinstance(value, Quantity) else value.describe()
                raise SpecError(f"must be {' or '.join(d.noun for d in dimensions)}, but is {kind}")
            if value.dimension not in dimensions:
                raise SpecError(_wrong_dimension(text, value, dimensions))
            if np.abs(value.values).max(initial=0.0) > LARGEST:
                raise SpecError(f"must be at most {LARGEST:g} in SI, but is {np.abs(value.values).max():g}")
        return value

    def array(self, text: Any, path: KeyPath, dimension: Dimension) -> np.ndarray:
        """Values in SI over the loops; angles in degrees."""
        value = self.quantity(text, path, dimension)
        return value.values if dimension == ANGLE else value.si()

    def number(self, text: Any, path: KeyPath, dimension: Dimension = NUMBER) -> float:
        """One value in SI that does not vary over loops."""
        value = self.quantity(text, path, dimension)
        return self._one(value, text, path)

    def _one(self, value: Quantity, text: Any, path: KeyPath) -> float:
        numbers = value.si()
        if numbers.size > 1 and np.ptp(numbers) > 0:
            with self.globals.collector.at(path):
                raise SpecError(f"must not vary over a loop, but '{text}' does")
        return float(numbers.flat[0])

    def positive(self, text: Any, path: KeyPath, dimension: Dimension, *, zero: bool = False) -> float:
        """One value above zero, or at least zero."""
        value = self.number(text, path, dimension)
        if value < 0 or (value == 0 and not zero):
            with self.globals.collector.at(path):
                bound = "at least zero" if zero else "above zero"
                raise SpecError(f"must be {bound}, but is {Quantity.of(value, dimension).describe()}")
        return value

    def whole(self, text: Any, path: KeyPath) -> np.ndarray:
        """Whole numbers over the loops."""
        value = self.quantity(text, path, NUMBER)
        with self.globals.collector.at(path):
            return as_whole(value, str(text))

    def truth(self, text: Any, path: KeyPath) -> np.ndarray:
        """True or false over the loops."""
        value = self.evaluate(text, path)
        with self.globals.collector.at(path):
            if not isinstance(value, Quantity) or not value.is_bool or value.is_list:
                raise SpecError(f"must be true or false, such as 'n >= 0', but is '{text}'")
        return value.values


_BUSY = object()


def _wrong_dimension(text: Any, value: Quantity, dimensions: tuple[Dimension, ...]) -> Problem:
    due = " or ".join(dimension.noun for dimension in dimensions)
    if value.dimension == NUMBER and plain_number(str(text)):
        example = EXAMPLES.get(dimensions[0], f"1 {dimensions[0]}").split(" ", 1)[1]
        return Problem(f"must be {due} with its unit, but is {text}", f"Did you mean '{text} {example}'")
    return Problem(f"must be {due}, but '{text}' is {value.dimension.noun}")


@dataclass(eq=False)
class Globals:
    """What all scopes share."""

    collector: Collector
    system: Scanner
    parameters: Mapping[str, Quantity]
    definitions: Mapping[str, Any]
    events: Mapping[str, Any]
    properties: Callable[[tuple[str, ...], Scope], Value]
    fills: Mapping[str, Any] = field(default_factory=dict)
    root: Scope | None = None

    def lookup(self, name: str, scope: Scope) -> Value:
        """Value of a name of the file."""
        if name in self.parameters:
            return self.parameters[name]
        if name in self.definitions:
            # a definition may name loop variables, so it is evaluated where it is used
            return scope.remember(("definitions", name), lambda: self._definition(name, scope))
        if name in self.events:
            raise SpecError(f"must name a property such as {name}.duration, but is the event '{name}'")
        if name in self.fills:
            raise SpecError(
                f"must not name the delay '{name}', which a timing constraint solves; only 'wait: {name}' may"
            )
        known = [*self.parameters, *self.definitions, *(n for s in scope.chain() for n in (*s.variables, *s.lets))]
        raise SpecError(Problem(f"must use names that are known here, but '{name}' is not", did_you_mean(name, known)))

    def _definition(self, name: str, scope: Scope) -> Value:
        return scope.evaluate(self.definitions[name], ("definitions", name))

    def property_of(self, path: tuple[str, ...], scope: Scope) -> Value:
        """Value of an event's property."""
        return self.properties(path, scope)

    def system_value(self, path: tuple[str, ...]) -> Quantity:
        """Value of `system.…`."""
        if len(path) != 2 or path[1] not in SYSTEM_DIMENSIONS:
            remedy = did_you_mean(path[-1], SYSTEM_DIMENSIONS)
            raise SpecError(Problem(f"must be a value of the system, but '{'.'.join(path)}' is none", remedy))
        return Quantity.of(getattr(self.system, path[1]), SYSTEM_DIMENSIONS[path[1]])


def is_name(text: Any) -> bool:
    """Whether a text may be a name."""
    return isinstance(text, str) and len(text) <= 60 and NAME.fullmatch(text) is not None
