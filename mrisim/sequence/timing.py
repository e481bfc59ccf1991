"""Timing constraints: times between anchors, and the delays that satisfy them, solved over all iterations at once."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mrisim.errors import Problem, SpecError, TimingError
from mrisim.events.blocks import TimingRecord
from mrisim.sequence.expression import parse_expression
from mrisim.sequence.grammar import TimingModel
from mrisim.sequence.properties import anchor_time
from mrisim.sequence.scope import Scope
from mrisim.sequence.timeline import Leaf, Loop, Timeline
from mrisim.sequence.values import ONES, Quantity
from mrisim.source import KeyPath, did_you_mean
from mrisim.units import TIME, show

_ANCHOR = re.compile(r"([A-Za-z]\w*)((?:\.[a-z]+){1,2}?)(\.next)?")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Anchor:
    text: str
    event: str
    parts: tuple[str, ...]
    following: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class _Interval:
    """One pair of anchors: from a leaf to a leaf in an iteration of a body."""

    index: int
    model: TimingModel
    body: Loop
    start: Leaf
    stop: Leaf
    anchors: tuple[_Anchor, _Anchor]

    @property
    def path(self) -> KeyPath:
        return ("timing", self.index)


class Solver:
    """Pairs anchors, solves fills in the order in which they depend on each other, and checks the rest."""

    def __init__(self, timeline: Timeline, constraints: list[TimingModel]):
        self.timeline = timeline
        self.parts = timeline.parts
        self.collector = timeline.collector
        self.raster = timeline.globals.system.block_raster
        self.constraints = constraints
        self.waits: dict[str, list[Leaf]] = {}
        for leaf in timeline.leaves:
            if leaf.fill:
                self.waits.setdefault(leaf.fill, []).append(leaf)
        self.solved: set[str] = set()
        self.fills: dict[str, np.ndarray] = {}

    def solve(self) -> tuple[TimingRecord, ...]:
        """Set the durations of all waits that are solved for.

        Raises:
            TimingError: constraints that cannot be met, each with the value that could be.
            SpecError: anchors that are not there, delays that no interval holds, cycles.
        """
        intervals: list[_Interval] = []
        for index, model in enumerate(self.constraints):
            with self.collector.collect():
                intervals += self._pair(index, model)
        self.collector.finish()
        self._solve_fills([i for i in intervals if i.model.solve])
        self.collector.finish()
        records = [
            self._record(index, [i for i in intervals if i.index == index]) for index in range(len(self.constraints))
        ]
        self.collector.finish()
        return tuple(record for record in records if record is not None)

    # -- pairing --------------------------------------------------------------------------------------------------

    def _anchor(self, text: str, path: KeyPath) -> _Anchor:
        match = _ANCHOR.fullmatch(text.strip())
        with self.collector.at(path):
            if match is None:
                raise SpecError(
                    f"must be an anchor such as excite.rf.center or excite.start.next, but is '{text[:60]}'"
                )
            event, parts = match[1], tuple(match[2][1:].split("."))
            if event not in self.parts.events:
                remedy = did_you_mean(event, self.parts.events)
                raise SpecError(Problem(f"must begin with an event, but '{event}' is none", remedy))
        return _Anchor(text=text.strip(), event=event, parts=parts, following=match[3] is not None)

    def _pair(self, index: int, model: TimingModel) -> list[_Interval]:
        path: KeyPath = ("timing", index)
        start, stop = self._anchor(model.start, (*path, "from")), self._anchor(model.stop, (*path, "to"))
        with self.collector.at((*path, "from")):
            if start.following:
                raise SpecError(Problem("must not end in .next at its start, but does", "Put .next on 'to'"))
        order = {leaf: i for i, leaf in enumerate(self.timeline.leaves)}
        sites = {anchor: [leaf for leaf in order if anchor.event in leaf.events] for anchor in (start, stop)}
        for anchor, key in ((start, "from"), (stop, "to")):
            with self.collector.at((*path, key)):
                if not sites[anchor]:
                    raise SpecError(f"must be an event in the timeline, but '{anchor.event}' is not there")
                self.parts_anchor(anchor, sites[anchor][0])
        find = self._next_pairs if stop.following else self._pairs
        pairs = find(sites[start], sites[stop], order, same=start.event == stop.event)
        with self.collector.at(path):
            if not pairs:
                hint = "; without .next the second anchor must come after the first" if not stop.following else ""
                raise SpecError(f"must lead from {start.text} to {stop.text} inside one loop body, but does not{hint}")
        return [
            _Interval(index=index, model=model, body=body, start=a, stop=b, anchors=(start, stop))
            for a, b, body in pairs
        ]

    def parts_anchor(self, anchor: _Anchor, leaf: Leaf) -> np.ndarray:
        """Time of an anchor from the start of its block, over loops."""
        if anchor.parts == ("end",):
            return leaf.duration
        return np.full(ONES, anchor_time(self.parts, anchor.event, anchor.parts, leaf.scope))

    @staticmethod
    def _loops(leaf: Leaf) -> list[Loop]:
        return [node for node in leaf.chain() if isinstance(node, Loop)]

    def _pairs(
        self, starts: list[Leaf], stops: list[Leaf], order: dict[Leaf, int], *, same: bool
    ) -> list[tuple[Leaf, Leaf, Loop]]:
        """Each start with the next stop, unless another start comes in between."""
        pairs = []
        for a in starts:
            later = [b for b in stops if order[b] > order[a] or (b is a and not same) or (b is a and len(stops) == 1)]
            b = min(later, key=lambda leaf: order[leaf], default=None)
            if b is None or any(order[a] < order[other] < order[b] for other in starts if not same):
                continue
            around = self._loops(b)
            pairs.append((a, b, next(loop for loop in self._loops(a) if loop in around)))
        return pairs

    def _next_pairs(
        self, starts: list[Leaf], stops: list[Leaf], order: dict[Leaf, int], *, same: bool
    ) -> list[tuple[Leaf, Leaf, Loop]]:
        """The last start of a body with the first stop of its next iteration."""
        pairs = []
        for a in starts:
            for loop in self._loops(a):
                inside = [b for b in stops if loop in self._loops(b)]
                if loop.parent is None or not inside:
                    continue
                last = max((s for s in starts if loop in self._loops(s)), key=lambda leaf: order[leaf])
                if last is a:
                    pairs.append((a, min(inside, key=lambda leaf: order[leaf]), loop))
                break
        return pairs

    # -- intervals ------------------------------------------------------------------------------------------------

    def _length(self, one: _Interval, measure: Callable[[Leaf], np.ndarray], *, anchored: bool) -> np.ndarray:
        first = self._position(one, one.start, one.anchors[0], measure, anchored, 1)
        second = self._position(one, one.stop, one.anchors[1], measure, anchored, 0)
        if one.anchors[1].following:
            return self.timeline.inside(one.body, measure) - first + second
        return second - first

    def _position(
        self,
        one: _Interval,
        leaf: Leaf,
        anchor: _Anchor,
        measure: Callable[[Leaf], np.ndarray],
        anchored: bool,
        last: int,
    ) -> np.ndarray:
        position = self.timeline.offset(leaf, one.body, measure)
        if anchored:
            position = position + self.parts_anchor(anchor, leaf)
        inner = [loop for loop in self._loops(leaf) if loop.body.depth > one.body.body.depth]
        for loop in inner:
            position = self._pick(position, loop, one, last)
        return position

    def _pick(self, position: np.ndarray, loop: Loop, one: _Interval, last: int) -> np.ndarray:
        """The iteration of a loop inside the interval that an anchor means."""
        axis, size = loop.body.axis, loop.body.size
        if position.shape[axis] == 1:
            return position
        name = next((name for name in one.model.at if name in loop.body.variables), None)
        if name is None:
            return np.take(position, [size - 1 if last else 0], axis=axis)
        index = self._iteration(loop, name, one)
        shape = np.broadcast_shapes(index.shape, (*position.shape[:axis], 1, *position.shape[axis + 1 :]))
        spread = np.broadcast_to(position, (*shape[:axis], size, *shape[axis + 1 :]))
        return np.take_along_axis(spread, np.broadcast_to(index, shape), axis=axis)

    def _iteration(self, loop: Loop, name: str, one: _Interval) -> np.ndarray:
        path = (*one.path, "at", name)
        variable = loop.body.variables[name]
        wanted = one.body.body.quantity(one.model.at[name], path, variable.dimension).values
        values = variable.values.ravel()
        near = np.abs(wanted[..., None] - values).argmin(axis=-1)
        with self.collector.at(path):
            if not np.allclose(values[near], wanted, rtol=1e-9, atol=0.0):
                raise SpecError(f"must be a value that '{name}' takes, but '{one.model.at[name]}' is none")
        return near

    def _scope(self, one: _Interval) -> Scope:
        return one.body.body

    def _asked(self, one: _Interval) -> np.ndarray:
        return self._scope(one).array(one.model.asked, (*one.path, "is"), TIME)

    def _valid(self, one: _Interval, values: np.ndarray) -> np.ndarray:
        """Where both anchors are there, over the loops around the body."""
        valid = np.full(ONES, True)
        for leaf in (one.start, one.stop):
            for node in leaf.chain():
                if node.mask is not None and node.scope.depth <= one.body.body.depth:
                    valid = valid & node.mask
        return np.broadcast_to(valid, np.broadcast_shapes(valid.shape, values.shape))

    # -- solving --------------------------------------------------------------------------------------------------

    def _solve_fills(self, intervals: list[_Interval]) -> None:
        waiting = list(intervals)
        while waiting:
            ready = [one for one in waiting if not self._unknown(one) - {one.model.solve}]
            if not ready:
                names = " and ".join(sorted({f"{one.model.name!r}" for one in waiting}))
                with self.collector.collect(), self.collector.at(waiting[0].path):
                    raise SpecError(f"must be solvable one after the other, but {names} depend on each other's delays")
                return
            for one in ready:
                waiting.remove(one)
                if one.model.solve in self.solved:
                    continue
                with self.collector.collect():
                    self._solve_one(one)
                self.solved.add(one.model.solve or "")

    def _unknown(self, one: _Interval) -> set[str]:
        names = set(self.waits) - self.solved
        return {name for name in names if self._count(one, name).any()}

    def _count(self, one: _Interval, fill: str) -> np.ndarray:
        """How often an interval holds a fill."""
        zero, unit = np.zeros(ONES), np.ones(ONES)
        return self._length(one, lambda leaf: unit if leaf.fill == fill else zero, anchored=False)

    def _solve_one(self, one: _Interval) -> None:
        fill = one.model.solve or ""
        known = self._length(one, lambda leaf: leaf.duration, anchored=True)
        count, asked = self._count(one, fill), self._asked(one)
        valid = self._valid(one, known + asked + count)
        with self.collector.at(one.path):
            if (np.where(valid, count, 1) <= 0).any():
                a, b = (anchor.text for anchor in one.anchors)
                raise SpecError(f"must hold 'wait: {fill}' between {a} and {b}, but does not")
        missing = asked - known
        duration = np.round(np.round(missing / np.where(count > 0, count, 1) / self.raster) * self.raster, 12)
        if (np.where(valid, duration, 0.0) < 0).any():
            raise TimingError(self._impossible(one, known, asked, valid))
        duration = np.maximum(duration, 0.0)
        for leaf in self.waits[fill]:
            self._set(one, leaf, duration)
        self.fills[fill] = duration

    def _set(self, one: _Interval, leaf: Leaf, duration: np.ndarray) -> None:
        """Give a wait its duration; it must stand in the loops that the duration varies over."""
        around = self._loops(leaf)
        for loop in self._loops(one.start):
            if loop.parent is not None and loop not in around and duration.shape[loop.body.axis] > 1:
                with self.collector.at((*leaf.path, "wait")):
                    raise SpecError(f"must stand in the loop over which '{leaf.fill}' varies, but does not")
        leaf.duration = duration

    def _impossible(self, one: _Interval, known: np.ndarray, asked: np.ndarray, valid: np.ndarray) -> Problem:
        shapes = np.broadcast_arrays(known, asked, valid)
        short = np.where(shapes[2], shapes[0] - shapes[1], -np.inf)
        worst = np.unravel_index(int(short.argmax()), short.shape)
        need = float(np.ceil(shapes[0][worst] / self.raster - 1e-6) * self.raster)
        value = float(shapes[1][worst])
        rule = f"must be at least {show(need, TIME)}, but is {show(value, TIME)}"
        a, b = (anchor.text for anchor in one.anchors)
        remedy = f"Shorten what lies between {a} and {b}, or {self._remedy(one, need, value)}"
        problem = self.collector.source.problem(one.path, rule, remedy)
        path = f"{problem.path} ({one.model.name})"
        return Problem(problem.rule, problem.remedy, path, problem.file, problem.line, problem.column)

    def _remedy(self, one: _Interval, need: float, value: float) -> str:
        """`set TE: 2.96 ms` where the asked time is a parameter or proportional to one."""
        text, parameters = one.model.asked, self.timeline.globals.parameters
        if not isinstance(text, str):
            return f"ask for {show(need, TIME)}"
        expression = parse_expression(text, self.timeline.globals.system.gamma)
        times = [name for name in expression.names if _is_time(parameters.get(name))]
        sums = any(isinstance(node, (ast.Add, ast.Sub, ast.IfExp, ast.Call)) for node in ast.walk(expression.tree))
        if len(times) == 1 and not sums and value > 0:
            found = float(parameters[times[0]].si().flat[0])
            return f"set {times[0]}: {show(np.ceil(found * need / value / 1e-5 - 1e-6) * 1e-5, TIME)}"
        if times:
            return f"raise {' or '.join(sorted(times))}"
        return f"make '{text}' at least {show(need, TIME)}"

    # -- records --------------------------------------------------------------------------------------------------

    def _record(self, index: int, intervals: list[_Interval]) -> TimingRecord | None:
        """What was asked and what is found; off by more than half a raster is an error."""
        model, worst, worst_asked, worst_found = self.constraints[index], -1.0, 0.0, 0.0
        for one in intervals:
            with self.collector.collect():
                found, asked = self._length(one, lambda leaf: leaf.duration, anchored=True), self._asked(one)
                found, asked = np.broadcast_arrays(found, asked)
                off = np.where(self._valid(one, found), np.abs(found - asked), 0.0)
                off = np.broadcast_to(off, np.broadcast_shapes(off.shape, found.shape))
                i = np.unravel_index(int(off.argmax()), off.shape)
                count = float(self._count(one, model.solve).max()) if model.solve else 1.0
                if off[i] > 0.5 * self.raster * max(1.0, count) + 1e-9:
                    raise self._missed(one, float(asked[i]), float(found[i]))
                if off[i] > worst:
                    worst, worst_asked, worst_found = float(off[i]), float(asked[i]), float(found[i])
        fill = self.fills.get(model.solve or "")
        return TimingRecord(
            model.name, model.start, model.stop, worst_asked, worst_found, model.solve or "",
            0.0 if fill is None else float(fill.flat[0]),
        )  # fmt: skip

    def _missed(self, one: _Interval, asked: float, found: float) -> TimingError:
        rule = f"must be {show(asked, TIME)}, but is {show(found, TIME)} in the blocks"
        remedy = "Add 'solve: …' with a wait between the anchors" if not one.model.solve else "Make its uses alike"
        problem = self.collector.source.problem(one.path, rule, remedy)
        path = f"{problem.path} ({one.model.name})"
        return TimingError(Problem(rule, remedy, path, problem.file, problem.line, problem.column))


def _is_time(value: Any) -> bool:
    return isinstance(value, Quantity) and value.dimension == TIME and not value.is_list
