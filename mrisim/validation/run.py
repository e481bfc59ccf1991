"""`validate`: simulate the points of every expectation and hold them against the closed form."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mrisim.errors import ConsistencyError, Finding, Problem, SpecError
from mrisim.events.blocks import Sequence
from mrisim.sequence.expect import DIMENSIONS, Expectation, PointScope, resolve_expectations
from mrisim.sequence.expression import Expression
from mrisim.sequence.files import load_source
from mrisim.sequence.grammar import SequenceModel
from mrisim.sequence.library import resolve_system, sequence_from_source
from mrisim.sequence.parameters import resolve_parameters
from mrisim.sequence.scope import Collector
from mrisim.sequence.values import MAX_LOOPS, Quantity
from mrisim.source import Source
from mrisim.source import validate as validate_model
from mrisim.units import Dimension
from mrisim.validation.curves import curves_of, swept_name
from mrisim.validation.points import Points, echoes_of
from mrisim.validation.records import Outcome, Point, Validation

Engine = Literal["bloch", "epg", "all"]
Progress = Callable[[Outcome], None]
Job = Callable[[], Outcome]
MOST_WORKERS = 4
"""Simulations at a time."""


def validate(
    files: str | Path | Iterable[str | Path], *, engine: Engine = "all", progress: Progress | None = None
) -> Validation:
    """Hold sequences against the closed forms in the `expect` part of their files.

    Args:
        files: Names in the library or paths of .yaml files.
        engine: "all": every engine that an expectation names; else that one, of expectations that name it.
        progress: Called with each outcome.

    Returns:
        Every point with what was simulated and what the closed form says.

    Raises:
        SpecError: everything that is wrong with a file.
        ConsistencyError: properties that cannot be, or an unknown engine.

    Example:
        >>> import mrisim as mr
        >>> mr.validate("fid", engine="bloch").passed
        True
    """
    if engine not in ("bloch", "epg", "all"):
        raise ConsistencyError(Problem(f"must be one of all, bloch, epg, but is '{engine}'", path="engine"))
    names = [files] if isinstance(files, (str, Path)) else list(files)
    jobs: list[Job] = []
    empty = []
    for specification in [specification_of(name) for name in names]:
        found = list(specification.jobs(engine))
        jobs += found
        if not found:
            empty.append(specification.source.file)
    outcomes: list[Outcome] = []
    with ThreadPoolExecutor(min(MOST_WORKERS, os.cpu_count() or 1)) as pool:  # compiling takes a core of its own
        running = [pool.submit(job) for job in jobs]
        try:
            for future in running:
                outcomes.append(future.result())
                if progress is not None:
                    progress(outcomes[-1])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return Validation(outcomes=tuple(outcomes), empty=tuple(empty))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    """A sequence with its parameters, and the points' names that depend on them."""

    seq: Sequence
    changes: Mapping[str, tuple[float, Dimension]]
    parameters: Mapping[str, Quantity]


@dataclass(frozen=True, kw_only=True, eq=False)
class Specification:
    """A file with its expectations."""

    source: Source
    name: str
    expectations: tuple[Expectation, ...]

    def jobs(self, engine: Engine) -> Iterator[Job]:
        """Simulations of the expectations, after sequences and closed forms have been found to be without fault."""
        for expectation in self.expectations:
            engines = [one for one in expectation.engines if engine in ("all", one)]
            if not engines:
                continue
            runs = [self._run(expectation, changes) for changes in _combinations(expectation.changes)]
            with self._at(expectation, "over"):
                points = Points.of(expectation.properties)
            scopes = [_scope(expectation, points, run) for run in runs]
            with self._at(expectation, "equals"):
                expected = [_values(expectation.equals, scope) for scope in scopes]
            for one in engines:
                yield partial(self._outcome, expectation, one, runs, points, scopes, expected)

    def _run(self, expectation: Expectation, changes: Mapping[str, Any]) -> _Run:
        try:
            seq = sequence_from_source(self.source, {**expectation.settings, **changes})
        except SpecError as error:
            where = ", ".join(f"{name} {value}" for name, value in {**expectation.settings, **changes}.items())
            rule = f"must be values that the sequence can be played with, but {where} are not:"
            first = error.problems[0]
            raise SpecError(
                [self.source.problem((*expectation.path, "over"), f"{rule} {first.path} {first.rule}", first.remedy)]
            ) from None
        parameters = {
            name: Quantity.of(p.value, p.dimension)
            for name, p in seq.parameters.items()
            if not isinstance(p.value, str)
        }
        shown = {
            name: (float(np.ravel(seq.parameters[name].value)[0]), seq.parameters[name].dimension) for name in changes
        }
        return _Run(seq=seq, changes=shown, parameters=parameters)

    def _at(self, expectation: Expectation, key: str) -> _Place:
        return _Place(self.source, (*expectation.path, key))

    def _outcome(
        self,
        expectation: Expectation,
        engine: Literal["bloch", "epg"],
        runs: list[_Run],
        points: Points,
        scopes: list[PointScope],
        expected: list[Quantity],
    ) -> Outcome:
        begin = time.perf_counter()
        found: list[Point] = []
        notes: dict[str, Finding] = {}
        dimension = expected[0].dimension
        for run, scope, closed in zip(runs, scopes, expected, strict=True):
            echoes, findings = echoes_of(run.seq, points, expectation, engine)
            notes |= {str(finding): finding for finding in findings}
            with self._at(expectation, "signal"):
                simulated = _values(expectation.signal, PointScope(scope.values, echoes))
                _check_dimension(simulated, dimension, expectation)
            found += _points(expectation, points, run, simulated, closed)
        swept = swept_name(found)
        return Outcome(
            file=self.source.file, sequence=self.name, name=expectation.name, engine=engine,
            equals=expectation.equals.text, signal=expectation.signal.text, tolerance=expectation.tolerance.text,
            dimension=dimension, points=tuple(found), swept=swept, curves=curves_of(expectation, found, swept, scopes),
            seconds=time.perf_counter() - begin, findings=tuple(notes.values()),
        )  # fmt: skip


@dataclass(frozen=True)
class _Place:
    """Gives what fails inside the place of a key."""

    source: Source
    path: tuple[str | int, ...]

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (SpecError, ConsistencyError)):
            raise SpecError(
                [
                    self.source.problem(self.path, f"{p.path} {p.rule}".strip(), p.remedy) if p.line is None else p
                    for p in error.problems
                ]
            ) from None


def specification_of(file: str | Path) -> Specification:
    """Expectations of a file.

    Raises:
        SpecError: everything that is wrong with it.

    Example:
        >>> len(specification_of("fid").expectations)
        2
    """
    source = load_source(file)
    model = validate_model(SequenceModel, source)
    assert isinstance(model, SequenceModel)
    gamma = resolve_system(model.system, source).gamma
    collector = Collector(source)
    values, _, problems = resolve_parameters(model, source, gamma, {}, set())
    collector.add(*problems)
    collector.finish()
    expectations = resolve_expectations(model.expect, collector, values, gamma)
    collector.finish()
    return Specification(source=source, name=model.name, expectations=expectations)


def _combinations(changes: Mapping[str, tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*changes.values()):
        yield dict(zip(changes, values, strict=True))


def _scope(expectation: Expectation, points: Points, run: _Run) -> PointScope:
    """Names of a run: points along the first axis, the expectation's own names along the second."""
    first, second = (-1, *(1,) * (MAX_LOOPS - 1)), (1, -1, *(1,) * (MAX_LOOPS - 2))
    values = dict(run.parameters)
    for name, column in points.columns.items():
        values[name] = Quantity.of_points(column.reshape(first), DIMENSIONS[name])
    own = list(itertools.product(*(q.si().ravel() for q in expectation.variables.values())))
    for index, (name, quantity) in enumerate(expectation.variables.items()):
        column = np.array([row[index] for row in own])
        values[name] = Quantity.of_points(column.reshape(second), quantity.dimension)
    return PointScope(values)


def _values(expression: Expression, scope: PointScope) -> Quantity:
    value = expression.evaluate(scope)
    if not isinstance(value, Quantity) or value.is_list or value.is_bool:
        raise SpecError("must be a number, but is none")
    return value


def _check_dimension(simulated: Quantity, due: Dimension, expectation: Expectation) -> None:
    tolerance = expectation.tolerance
    if simulated.dimension != due:
        raise SpecError(f"must be {due.noun} as 'equals' is, but is {simulated.dimension.noun}")
    if tolerance.absolute and tolerance.dimension != due:
        raise SpecError(f"must be {due.noun}, which the tolerance is none of")


def _points(
    expectation: Expectation, points: Points, run: _Run, simulated: Quantity, closed: Quantity
) -> Iterator[Point]:
    own = list(itertools.product(*(q.si().ravel() for q in expectation.variables.values())))
    shape = (len(points), len(own), *(1,) * (MAX_LOOPS - 2))
    a, b = (np.broadcast_to(q.si(), shape).reshape(len(points), len(own)) for q in (simulated, closed))
    tolerance = expectation.tolerance
    for row, column in np.ndindex(a.shape):
        values = {n: (float(points.columns[n][row]), DIMENSIONS[n]) for n in expectation.properties}
        values |= run.changes
        values |= {n: (float(own[column][i]), q.dimension) for i, (n, q) in enumerate(expectation.variables.items())}
        allowed = max(tolerance.relative * abs(b[row, column]), tolerance.absolute)
        yield Point(
            values=values, simulated=complex(a[row, column]), expected=complex(b[row, column]), allowed=float(allowed)
        )
