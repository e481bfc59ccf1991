"""The timeline as a tree of loops, groups and leaves, and index arithmetic over all iterations at once.

Every leaf (a block or a wait) is one use of events; with the iterations of the loops around it, it stands for many
blocks. Durations, numbers of blocks and their order are arrays over those loops, never a Python loop over blocks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mrisim.errors import Problem, SpecError
from mrisim.events.blocks import AXES
from mrisim.sequence.grammar import BlockItem, GroupItem, Item, LoopItem, WaitItem
from mrisim.sequence.parts import PARTS, Parts
from mrisim.sequence.scope import Globals, Scope
from mrisim.sequence.values import MAX_LOOPS, ONES, Quantity, Table
from mrisim.source import KeyPath, did_you_mean
from mrisim.units import ANGLE, NUMBER, TIME

MAX_BLOCKS = 5_000_000
LONGEST = 7 * 86_400.0  # a sequence [s]
LABEL_RANGE = (-32768, 32767)
_RANGE = re.compile(r"(?<!\.)\.\.(?!\.)")

Measure = Callable[["Leaf"], np.ndarray]


@dataclass(eq=False, kw_only=True)
class Node:
    """Something in the timeline. `scope` is the one that it stands in; `mask` says where it is left out."""

    path: KeyPath
    scope: Scope
    parent: Node | None = None
    mask: np.ndarray | None = None
    labels: Mapping[str, tuple[Any, KeyPath, Scope]] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)

    @property
    def inner(self) -> Scope:
        """Scope of the children."""
        return self.scope

    def masked(self, values: np.ndarray) -> np.ndarray:
        """Values, zero where the node is left out."""
        return values if self.mask is None else np.where(self.mask, values, 0)

    def chain(self) -> Iterator[Node]:
        """This node and those around it, innermost first."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent


@dataclass(eq=False, kw_only=True)
class Loop(Node):
    """Repeated children; the root is a loop of one iteration that has no axis."""

    body: Scope

    @property
    def inner(self) -> Scope:
        return self.body


@dataclass(eq=False, kw_only=True)
class Leaf(Node):
    """One block, or a wait."""

    events: tuple[str, ...] = ()
    duration: np.ndarray = field(default_factory=lambda: np.zeros(ONES))  # [s]; a fill's is not known at first
    fill: str = ""
    rotation: np.ndarray | None = None  # [deg]
    owners: Mapping[str, str] = field(default_factory=dict)  # part → event that it comes from


class Timeline:
    """Builds the tree and does arithmetic on it."""

    def __init__(self, globals_: Globals, parts: Parts, fills: set[str]):
        self.globals = globals_
        self.parts = parts
        self.fills = fills
        self.collector = globals_.collector
        self.leaves: list[Leaf] = []
        root = Scope(globals_)
        globals_.root = root
        self.root = Loop(path=("timeline",), scope=root, body=root)

    # -- building -------------------------------------------------------------------------------------------------

    def build(self, items: list[Item], node: Node, path: KeyPath) -> None:
        """Add the items of a body to a node."""
        for index, one in enumerate(items):
            with self.collector.collect():
                child = self._node(one, node, (*path, index))
                node.children.append(child)

    def _node(self, one: Item, parent: Node, path: KeyPath) -> Node:
        scope = parent.inner
        common: dict[str, Any] = {"path": path, "scope": scope, "parent": parent}
        if isinstance(one, str):
            return self._block([one], common, [path])
        if isinstance(one, list):
            return self._block(one, common, [(*path, i) for i in range(len(one))])
        when = one.when
        if when is not None:
            common["mask"] = scope.truth(when, (*path, "when"))
        if isinstance(one, WaitItem):
            return self._wait(one, common)
        common["labels"] = {name: (text, (*path, "label", name), scope) for name, text in one.label.items()}
        if isinstance(one, BlockItem):
            return self._full_block(one, common)
        if isinstance(one, GroupItem):
            group = Node(**common)
            self.build(one.do, group, (*path, "do"))
            return group
        return self._loop(one, common)

    def _loop(self, one: LoopItem, common: dict[str, Any]) -> Loop:
        path, outer = common["path"], common["scope"]
        with self.collector.at(path):
            if outer.depth >= MAX_LOOPS:
                raise SpecError(f"must nest at most {MAX_LOOPS} loops, but nests more")
        index = one.loop.get("index")
        names = [name for name in one.loop if name != "index"]
        with self.collector.at((*path, "loop")):
            if len(names) != 1:
                raise SpecError(f"must have one variable, as in {{n: 0 .. 9}}, but has {len(names)}")
        values = self._iterations(one.loop[names[0]], (*path, "loop", names[0]), outer)
        count = len(values.values)
        with self.collector.at((*path, "loop", names[0])):
            total = math.prod(outer.sizes) * count
            if total > MAX_BLOCKS:
                raise SpecError(f"must run at most {MAX_BLOCKS} times, outer loops included, but runs {total} times")
        body = Scope(self.globals, outer, path, count, lets=one.let)
        along = (*(1,) * body.axis, count, *(1,) * (MAX_LOOPS - body.axis - 1))
        body.variables[names[0]] = Quantity(values.values.reshape(along), values.dimension)
        if isinstance(index, str):
            body.variables[index] = Quantity(np.arange(count, dtype=float).reshape(along))
        labels = {name: (text, place, body) for name, (text, place, _) in common.pop("labels").items()}
        loop = Loop(**common, labels=labels, body=body)
        for name in one.let:
            with self.collector.collect():
                body.lookup(name)
        self.build(one.do, loop, (*path, "do"))
        return loop

    def _iterations(self, text: Any, path: KeyPath, scope: Scope) -> Quantity:
        """Values of a loop variable: a range or a list."""
        ends = _RANGE.split(text) if isinstance(text, str) else []
        if len(ends) == 2:
            first, last = (self._end(end, path, scope) for end in ends)
            with self.collector.at(path):
                if last < first:
                    raise SpecError(f"must run upwards, but '{text}' runs from {first} to {last}")
                if last - first >= MAX_BLOCKS:
                    raise SpecError(f"must run at most {MAX_BLOCKS} times, but runs {last - first + 1} times")
            return Quantity(np.arange(first, last + 1, dtype=float).reshape(-1, *ONES), NUMBER, True)
        value = scope.evaluate(text, path)
        with self.collector.at(path):
            if isinstance(value, Table) or not value.is_list:
                raise SpecError("must be a range 'first .. last' or a list, but is neither")
            if value.varies:
                raise SpecError(
                    Problem(f"must not vary over an outer loop, but '{text}' does", "Use 'when' to leave items out")
                )
            if value.is_bool:
                raise SpecError("must be a list of numbers, but is true or false")
        return value

    def _end(self, text: str, path: KeyPath, scope: Scope) -> int:
        numbers = scope.whole(text, path)
        with self.collector.at(path):
            if numbers.size > 1 and np.ptp(numbers) > 0:
                raise SpecError(
                    Problem(f"must not vary over an outer loop, but '{text.strip()}' does", "Use 'when' instead")
                )
        return int(numbers.flat[0])

    def _wait(self, one: WaitItem, common: dict[str, Any]) -> Leaf:
        path, scope = (*common["path"], "wait"), common["scope"]
        if isinstance(one.wait, str) and one.wait.strip() in self.fills:
            leaf = Leaf(**common, fill=one.wait.strip())
        else:
            duration = scope.array(one.wait, path, TIME)
            with self.collector.at(path):
                if duration.min() < 0:
                    raise SpecError(f"must be at least 0 s, but is {duration.min() * 1e3:g} ms")
            leaf = Leaf(**common, duration=self._up(duration))
        self.leaves.append(leaf)
        return leaf

    def _up(self, duration: np.ndarray) -> np.ndarray:
        raster = self.globals.system.block_raster
        return np.round(np.ceil(duration / raster - 1e-6) * raster, 12)

    def _full_block(self, one: BlockItem, common: dict[str, Any]) -> Leaf:
        path, scope = common["path"], common["scope"]
        names = [one.block] if isinstance(one.block, str) else one.block
        single = isinstance(one.block, str)
        leaf = self._block(
            names, common, [(*path, "block") if single else (*path, "block", i) for i in range(len(names))]
        )
        if one.duration is not None:
            least = self._up(scope.array(one.duration, (*path, "duration"), TIME))
            with self.collector.at((*path, "duration")):
                if (least < leaf.duration - 1e-12).any():
                    need = float(leaf.duration.max()) * 1e3
                    raise SpecError(
                        f"must be at least {need:g} ms, what the events last, but is {least.min() * 1e3:g} ms"
                    )
            leaf.duration = np.maximum(leaf.duration, least)
        if one.rotate is not None:
            leaf.rotation = scope.array(one.rotate, (*path, "rotate"), ANGLE)
        return leaf

    def _block(self, names: list[str], common: dict[str, Any], places: list[KeyPath]) -> Leaf:
        scope, events, owners = common["scope"], self.parts.events, {}
        for name, place in zip(names, places, strict=True):
            with self.collector.at(place):
                if name in self.fills:
                    raise SpecError(Problem(f"must be an event, but '{name}' is a delay", f"Write {{wait: {name}}}"))
                if name not in events:
                    raise SpecError(Problem(f"must be an event, but '{name}' is none", did_you_mean(name, events)))
                for part in PARTS:
                    if not self.parts.has(name, part):
                        continue
                    if part in owners:
                        raise SpecError(
                            f"must not use {part} twice in one block, but {owners[part]} and {name} both do"
                        )
                    owners[part] = name
        for part, name in owners.items():
            with self.collector.collect():
                self._resolve(part, name, scope)
        duration = 0.0
        for name, place in zip(names, places, strict=True):
            with self.collector.at(place):
                duration = max(duration, self.parts.duration(name, scope))
        leaf = Leaf(**common, events=tuple(names), duration=np.full(ONES, duration), owners=owners)
        self.leaves.append(leaf)
        return leaf

    def _resolve(self, part: str, name: str, scope: Scope) -> None:
        shown = "diffuse" if part in AXES and self.parts.events[name].diffuse is not None else part
        with self.collector.at(("events", name, shown)):
            if part == "rf":
                self.parts.pulse(name, scope)
            elif part == "adc":
                self.parts.sampling(name, scope)
            else:
                self.parts.gradient(name, part, scope)

    # -- arithmetic -----------------------------------------------------------------------------------------------

    def extent(self, node: Node, measure: Measure) -> np.ndarray:
        """A measure (duration, number of blocks) of a node, over the loops around it."""
        if isinstance(node, Leaf):
            return node.masked(measure(node))
        total = self.inside(node, measure)
        if isinstance(node, Loop) and node.parent is not None:
            axis = node.body.axis
            repeated = total.shape[axis] == 1
            total = total * node.body.size if repeated else total.sum(axis=axis, keepdims=True)
        return node.masked(total)

    def inside(self, node: Node, measure: Measure) -> np.ndarray:
        """A measure of one pass through the children of a node."""
        total = np.zeros(ONES)
        for child in node.children:
            total = total + self.extent(child, measure)
        return total

    def offset(self, node: Node, body: Loop, measure: Measure) -> np.ndarray:
        """A measure of what comes before a node in one iteration of a body around it."""
        total = np.zeros(ONES)
        for one in node.chain():
            if one is body:
                return total
            assert one.parent is not None
            if isinstance(one, Loop) and one is not node:
                total = total + self.iterations(one, measure)
            for sibling in one.parent.children:
                if sibling is one:
                    break
                total = total + self.extent(sibling, measure)
        raise ValueError("node lies outside of the body")

    def iterations(self, loop: Loop, measure: Measure) -> np.ndarray:
        """A measure of the iterations of a loop before each one."""
        axis, per = loop.body.axis, self.inside(loop, measure)
        if per.shape[axis] == 1:
            shape = [1] * MAX_LOOPS
            shape[axis] = loop.body.size
            return per * np.arange(loop.body.size).reshape(shape)
        return np.cumsum(per, axis=axis) - per

    def order(self) -> tuple[int, dict[Leaf, np.ndarray]]:
        """Number of blocks, and of each leaf the index of its block in every iteration.

        Raises:
            SpecError: more blocks than `MAX_BLOCKS`.
        """
        present = {leaf: self._present(leaf) for leaf in self.leaves}
        total = int(self.inside(self.root, lambda leaf: present[leaf]).sum())
        if total > MAX_BLOCKS:
            with self.collector.at(("timeline",)):
                raise SpecError(f"must have at most {MAX_BLOCKS} blocks, but has {total}")
        starts: dict[Leaf, np.ndarray] = {}
        self._place(self.root, np.zeros(ONES), lambda leaf: present[leaf], starts)
        return total, starts

    @staticmethod
    def _present(leaf: Leaf) -> np.ndarray:
        return (leaf.duration > 0).astype(float)

    def _place(self, node: Node, start: np.ndarray, measure: Measure, starts: dict[Leaf, np.ndarray]) -> None:
        if isinstance(node, Leaf):
            starts[node] = start
            return
        if isinstance(node, Loop) and node.parent is not None:
            start = start + self.iterations(node, measure)
        for child in node.children:
            self._place(child, start, measure, starts)
            start = start + self.extent(child, measure)

    def where(self, leaf: Leaf) -> np.ndarray:
        """Where a leaf makes a block, over its loops."""
        mask = leaf.duration > 0
        for node in leaf.chain():
            if node.mask is not None:
                mask = mask & node.mask
        return mask

    def label_values(self, leaf: Leaf) -> dict[str, np.ndarray]:
        """Labels in force at a leaf, over its loops; the innermost counts."""
        found: dict[str, np.ndarray] = {}
        for node in leaf.chain():
            for name, (text, path, scope) in node.labels.items():
                if name not in found:
                    found[name] = scope.remember(
                        ("label", node.path, name), lambda t=text, p=path, s=scope: _label(t, p, s)
                    )
        return found


def _label(text: Any, path: KeyPath, scope: Scope) -> np.ndarray:
    value = scope.evaluate(text, path)
    if isinstance(value, Quantity) and value.is_bool and not value.is_list:
        return value.values.astype(np.int64)
    numbers = scope.whole(text, path)
    low, high = LABEL_RANGE
    if numbers.min() < low or numbers.max() > high:
        with scope.globals.collector.at(path):
            raise SpecError(f"must lie between {low} and {high}, but is {numbers.min()} … {numbers.max()}")
    return numbers
