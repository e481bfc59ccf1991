"""`expect`: what a file says its signal must be, checked and ready to be evaluated; nothing is simulated here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mrisim.errors import Problem, SpecError
from mrisim.sequence.closed_forms import EXPECT_FUNCTIONS
from mrisim.sequence.expression import CONSTANTS, Dialect, Expression, parse_expression
from mrisim.sequence.grammar import PROPERTIES, ExpectModel
from mrisim.sequence.parameters import literal, user_value
from mrisim.sequence.scope import COMPONENTS, Collector, is_name
from mrisim.sequence.values import Quantity
from mrisim.source import KeyPath, did_you_mean
from mrisim.units import DIFFUSION, FREQUENCY, NUMBER, TIME, Dimension

EXPECT = Dialect(EXPECT_FUNCTIONS, {**CONSTANTS, "i": 1j}, frozenset({"echo"}))
"""What `signal` and `equals` are made of."""
DERIVED = {"E1": ("TR", "T1"), "E2": ("TR", "T2")}
"""exp(-a / b) of two names."""
DIMENSIONS: Mapping[str, Dimension] = {
    "T1": TIME, "T2": TIME, "T2star": TIME, "df": FREQUENCY, "b1": NUMBER, "pd": NUMBER, "D": DIFFUSION,
}  # fmt: skip
MAX_POINTS = 10_000
MAX_RUNS = 200
_TAKEN = {*EXPECT.functions, *EXPECT.constants, *EXPECT.records, *DERIVED, "true", "false", "system"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Tolerance:
    """How far a point may lie from the closed form: the wider of the two."""

    relative: float  # of its magnitude
    absolute: float  # in SI units of the signal
    dimension: Dimension  # of the absolute part
    text: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Expectation:
    """One closed form of a file."""

    name: str
    path: KeyPath
    signal: Expression
    equals: Expression
    properties: Mapping[str, np.ndarray]  # values of what the points have, SI
    settings: Mapping[str, Any]  # parameters, as `load_sequence` takes them
    changes: Mapping[str, tuple[Any, ...]]  # parameters that take several values, likewise
    variables: Mapping[str, Quantity]  # lists of values of names of the file's own
    pulses: Literal["shaped", "ideal"]
    spoiling: Literal["gradient", "ideal"]
    voxel: Literal["full", "point"]
    isochromats: int
    engines: tuple[Literal["bloch", "epg"], ...]
    tolerance: Tolerance


def resolve_expectations(
    models: list[ExpectModel], collector: Collector, parameters: Mapping[str, Quantity], gamma: float
) -> tuple[Expectation, ...]:
    """Expectations of a file; what is wrong with one goes to the collector, and it is left out.

    Args:
        models: As the file has them.
        collector: Where problems go.
        parameters: Those of the sequence.
        gamma: Gyromagnetic ratio over 2 pi [Hz/T], for units in expressions.
    """
    found: dict[str, Expectation] = {}
    for index, model in enumerate(models):
        path: KeyPath = ("expect", index)
        if model.name in found:
            rule = f"must be a name of its own, but '{model.name}' is another expectation's"
            collector.add(collector.source.problem((*path, "name"), rule))
        before = len(collector.problems)
        one = _Resolver(model, path, collector, parameters, gamma).resolve()
        if one is not None and len(collector.problems) == before:
            found[model.name] = one
    return tuple(found.values())


class _Resolver:
    """One expectation of a file."""

    def __init__(
        self,
        model: ExpectModel,
        path: KeyPath,
        collector: Collector,
        parameters: Mapping[str, Quantity],
        gamma: float,
    ):
        self.model, self.path, self.collector = model, path, collector
        self.parameters, self.gamma = parameters, gamma

    def resolve(self) -> Expectation | None:
        lists = {name: self._values(name) for name in self.model.over}
        properties = {name: q.si().ravel() for name, q in lists.items() if q is not None and name in PROPERTIES}
        variables = {n: q for n, q in lists.items() if q is not None and n not in PROPERTIES}
        changes = {name: _texts(self.model.over[name]) for name in self.model.over if name in self.parameters}
        settings = {name: self._setting(name) for name in self.model.settings}
        signal, equals = self._expression("signal"), self._expression("equals")
        tolerance = self._tolerance()
        if signal is None or equals is None or tolerance is None:
            return None
        self._check_use(signal, equals)
        self._check_size(lists, changes)
        return Expectation(
            name=self.model.name, path=self.path, signal=signal, equals=equals, properties=properties,
            settings=settings, changes=changes, variables={n: q for n, q in variables.items() if n not in changes},
            pulses=self.model.pulses, spoiling=self.model.spoiling, voxel=self.model.voxel,
            isochromats=self.model.isochromats, engines=tuple(dict.fromkeys(self.model.engines)), tolerance=tolerance,
        )  # fmt: skip

    def _values(self, name: str) -> Quantity | None:
        """List of the values of a name in `over`; of a parameter only their number counts."""
        path = (*self.path, "over", name)
        with self.collector.collect(), self.collector.at(path):
            self._check_name(name)
            if name in self.model.settings:
                raise SpecError("must stand in 'set' or in 'over', but stands in both")
            text = self.model.over[name]
            if name in self.parameters:
                for one in _texts(text):
                    user_value(one, self.parameters[name], self.gamma)
                return Quantity.of(np.zeros(len(_texts(text))))
            value = literal(text, self.gamma)
            value = value if value.is_list else Quantity(value.values[None], value.dimension, True)
            if value.is_bool:
                raise SpecError("must be numbers, but is true or false")
            due = DIMENSIONS.get(name, value.dimension)
            if value.dimension != due:
                raise SpecError(f"must be {due.noun} with its unit, but is {_texts(text)[0]}, {value.dimension.noun}")
            if name in PROPERTIES and name not in ("df", "D") and value.values.min() <= 0:
                raise SpecError(f"must be above zero, but is {value.values.min():g}")
            if name == "D" and "bloch" in self.model.engines:
                raise SpecError(
                    Problem("must be left out of engine bloch, whose spins stand still", "Set engines: [epg]")
                )
            return value
        return None

    def _check_name(self, name: str) -> None:
        if name in PROPERTIES and name in self.parameters:
            raise SpecError(f"must not be a parameter of the sequence, but '{name}' is")
        if name in PROPERTIES or name in self.parameters:
            return
        if name in _TAKEN or not is_name(name) or "__" in name:
            known = (*PROPERTIES, *self.parameters)
            raise SpecError(Problem(f"must be a new name, but is '{name[:60]}'", did_you_mean(name, known)))

    def _setting(self, name: str) -> Any:
        value = self.model.settings[name]
        with self.collector.collect(), self.collector.at((*self.path, "set", name)):
            if name not in self.parameters:
                rule = f"must be a parameter of the sequence, but '{name}' is none"
                raise SpecError(Problem(rule, did_you_mean(name, self.parameters)))
            given = list(_texts(value)) if isinstance(value, list) else _texts(value)[0]
            user_value(given, self.parameters[name], self.gamma)
            return given
        return None

    def _expression(self, key: Literal["signal", "equals"]) -> Expression | None:
        with self.collector.collect(), self.collector.at((*self.path, key)):
            expression = parse_expression(str(getattr(self.model, key)), self.gamma, EXPECT)
            names = {*PROPERTIES, *self.parameters, *self.model.over}
            known = names | {name for name, (a, b) in DERIVED.items() if {a, b} <= names}
            unknown = sorted(expression.names - known - _TAKEN - {"TR"}) + sorted(
                name for name in expression.names if name in DERIVED and name not in known
            )
            if unknown:
                rule = f"must use names that are known here, but '{unknown[0]}' is not"
                raise SpecError(Problem(rule, did_you_mean(unknown[0], known | set(EXPECT.functions))))
            wrong = sorted(".".join(d) for d in expression.dotted if d[0] not in self.parameters or len(d) != 2)
            if wrong:
                raise SpecError(f"must name a component such as fov.x, but is '{wrong[0]}'")
            return expression
        return None

    def _check_use(self, signal: Expression, equals: Expression) -> None:
        add, problem = self.collector.add, self.collector.source.problem
        if "echo" not in signal.names:
            rule = "must hold a sample such as echo[-1].center, but holds none"
            add(problem((*self.path, "signal"), rule))
        for name in self.model.over:
            if name not in PROPERTIES and name not in self.parameters and name not in signal.names | equals.names:
                rule = f"must be used in 'signal' or 'equals', but '{name}' is not"
                add(problem((*self.path, "over", name), rule, "Remove it, or use it", at_key=True))

    def _check_size(self, lists: Mapping[str, Quantity | None], changes: Mapping[str, tuple[Any, ...]]) -> None:
        points = math.prod(len(q.values) for q in lists.values() if q is not None)
        runs = math.prod(len(values) for values in changes.values())
        for count, most, what in ((points, MAX_POINTS, "points"), (runs, MAX_RUNS, "runs of the sequence")):
            if count > most:
                rule = f"must make at most {most} {what}, but makes {count}"
                self.collector.add(self.collector.source.problem((*self.path, "over"), rule))

    def _tolerance(self) -> Tolerance | None:
        given = self.model.tolerance
        parts = given if isinstance(given, list) else [given]
        relative, absolute, dimension = 0.0, 0.0, NUMBER
        with self.collector.collect(), self.collector.at((*self.path, "tolerance")):
            for part in parts:
                value = literal(part, self.gamma)
                number = float(value.si().flat[0])
                if value.is_list or value.is_bool or number <= 0:
                    raise SpecError(f"must be numbers above zero such as '0.2 %' or 1e-4, but is {part}")
                if isinstance(part, str) and part.rstrip().endswith("%"):
                    relative = max(relative, number)
                else:
                    absolute, dimension = max(absolute, number), value.dimension
            text = " or ".join(str(part) for part in parts)
            return Tolerance(relative=relative, absolute=absolute, dimension=dimension, text=text)
        return None


def _texts(value: Any) -> tuple[Any, ...]:
    """Values as text, so that a bare number where a dimension is due is refused."""
    items = value if isinstance(value, list) else [value]
    return tuple(one if isinstance(one, (str, bool)) else str(one) for one in items)


@dataclass(frozen=True, eq=False)
class PointScope:
    """Names of an expectation at its points: properties, parameters, variables, and the samples where there are any."""

    values: Mapping[str, Quantity]
    echoes: Mapping[str, np.ndarray] | None = None  # part → (points, echoes) samples

    def knows(self, name: str) -> bool:
        """Whether a name has a value."""
        return name in self.values or name in DERIVED

    def lookup(self, name: str) -> Quantity:
        """Value of a name."""
        if name in self.values:
            return self.values[name]
        if name in DERIVED and set(DERIVED[name]) <= set(self.values):
            a, b = (self.values[part] for part in DERIVED[name])
            return Quantity(np.exp(-a.values / b.values))
        raise SpecError(f"must use names that are known here, but '{name}' is not")

    def attribute(self, path: tuple[str, ...]) -> Quantity:
        """Component of a list."""
        value = self.lookup(path[0])
        index = COMPONENTS.index(path[1]) if len(path) == 2 and path[1] in COMPONENTS else -1
        if not value.is_list or not 0 <= index < len(value.values):
            raise SpecError(f"must be a component of a list, but '{'.'.join(path)}' is none")
        return Quantity(value.values[index], value.dimension)

    def record(self, name: str, index: Quantity, part: str) -> Quantity:
        """Samples of echoes by number."""
        from mrisim.sequence.values import as_whole

        if self.echoes is None:
            raise SpecError("must not depend on the signal, but names echo[…]")
        if part not in self.echoes:
            raise SpecError(
                Problem(f"must be a part of an echo, but '{part}' is none", did_you_mean(part, self.echoes))
            )
        samples = self.echoes[part]
        number, count = as_whole(index, "echo[…]"), samples.shape[1]
        if number.min() < -count or number.max() >= count:
            worst = number.min() if number.min() < -count else number.max()
            raise SpecError(f"must be an echo from 0 to {count - 1} or -{count} to -1, but is {worst}")
        points = np.arange(len(samples)).reshape(-1, *(1,) * (number.ndim - 1))
        return Quantity(samples[points, number])
