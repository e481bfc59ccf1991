"""The names of a file before anything is evaluated: clashes, unknown ones, and what is defined but never used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mrisim.errors import Problem, SpecError
from mrisim.sequence.expression import CONSTANTS, Expression, parse_expression
from mrisim.sequence.functions import FUNCTIONS
from mrisim.sequence.grammar import BlockItem, EventModel, GroupItem, Item, LoopItem, SequenceModel, WaitItem
from mrisim.sequence.scope import COMPONENTS, Collector, is_name
from mrisim.source import KeyPath, did_you_mean

RESERVED = {*FUNCTIONS, *CONSTANTS, "system", "true", "false", "index", "next", "start", "end"}
_KEYWORDS = {"and", "or", "not", "if", "else", "in", "is", "lambda", "for", "None", "True", "False"}
_TEXT_FIELDS = {"shape", "window", "use", "file"}
RECON_DEFAULTS = {"matrix": ("matrix",), "fov": ("fov",), "thickness": ("thickness",), "slices": ("slices", "position")}


@dataclass
class Names:
    """What the expressions of a file refer to."""

    used: set[str] = field(default_factory=set)
    components: set[str] = field(default_factory=set)  # lists whose components are named


def texts(model: SequenceModel) -> Iterator[tuple[KeyPath, Any]]:
    """Every expression of a file with its path, ranges split into their ends."""
    for name, value in model.definitions.items():
        yield from _spread(("definitions", name), value)
    for name, event in model.events.items():
        yield from _event(("events", name), event)
    yield from _items(("timeline",), model.timeline)
    for index, timing in enumerate(model.timing):
        yield ("timing", index, "is"), timing.asked
        for name, value in timing.at.items():
            yield ("timing", index, "at", name), value
    if model.recon is not None:
        for key in RECON_DEFAULTS:
            yield from _spread(("recon", key), getattr(model.recon, key))
        for name, spec in model.recon.maps.items():
            given = {key: value for key, value in spec.items() if isinstance(value, str) and value.startswith("=")}
            yield from ((("recon", "maps", name, key), value[1:].strip()) for key, value in given.items())
    geometry = model.geometry
    yield from _spread(("geometry", "center"), geometry.center)
    if not isinstance(geometry.orientation, str):
        for key in ("about_read", "about_phase", "about_slice", "read", "phase"):
            yield from _spread(("geometry", "orientation", key), getattr(geometry.orientation, key))


def _spread(path: KeyPath, value: Any) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, list):
        for index, one in enumerate(value):
            yield (*path, index), one
    elif isinstance(value, str) and ".." in value:
        for end in value.split(".."):
            yield path, end
    elif value is not None:
        yield path, value


def _event(path: KeyPath, event: EventModel) -> Iterator[tuple[KeyPath, Any]]:
    for part in EventModel.model_fields:
        spec = getattr(event, part)
        if spec is None:
            continue
        for key in type(spec).model_fields:
            if key not in _TEXT_FIELDS:
                yield from _spread((*path, part, key), getattr(spec, key))


def _items(path: KeyPath, items: list[Item]) -> Iterator[tuple[KeyPath, Any]]:
    for index, one in enumerate(items):
        yield from _item((*path, index), one)


def _item(path: KeyPath, one: Item) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(one, (str, list)):
        return
    yield from _spread((*path, "when"), one.when)
    if isinstance(one, WaitItem):
        yield (*path, "wait"), one.wait
        return
    for name, value in one.label.items():
        yield (*path, "label", name), value
    if isinstance(one, BlockItem):
        yield from _spread((*path, "rotate"), one.rotate)
        yield from _spread((*path, "duration"), one.duration)
        return
    if isinstance(one, LoopItem):
        for name, value in one.loop.items():
            if name != "index":
                yield from _spread((*path, "loop", name), value)
        for name, value in one.let.items():
            yield (*path, "let", name), value
    yield from _items((*path, "do"), one.do)


def loops(items: list[Item], path: KeyPath = ("timeline",)) -> Iterator[tuple[KeyPath, LoopItem, tuple[str, ...]]]:
    """Every loop with its path and the names that the loops around it hand out."""
    yield from _loops(items, path, ())


def _loops(
    items: list[Item], path: KeyPath, around: tuple[str, ...]
) -> Iterator[tuple[KeyPath, LoopItem, tuple[str, ...]]]:
    for i, one in enumerate(items):
        if isinstance(one, LoopItem):
            yield (*path, i), one, around
            yield from _loops(one.do, (*path, i, "do"), (*around, *handed_out(one)))
        elif isinstance(one, GroupItem):
            yield from _loops(one.do, (*path, i, "do"), around)


def handed_out(loop: LoopItem) -> list[str]:
    """Names that a loop hands out."""
    index = loop.loop.get("index")
    return [n for n in loop.loop if n != "index"] + ([index] if isinstance(index, str) else []) + list(loop.let)


def placed_events(items: list[Item]) -> set[str]:
    """Events that the timeline holds."""
    found: set[str] = set()
    for one in items:
        if isinstance(one, str):
            found.add(one)
        elif isinstance(one, list):
            found.update(one)
        elif isinstance(one, BlockItem):
            found.update([one.block] if isinstance(one.block, str) else one.block)
        elif isinstance(one, (GroupItem, LoopItem)):
            found |= placed_events(one.do)
    return found


def check_names(model: SequenceModel, collector: Collector, gamma: float) -> Names:
    """Collect the problems of names, and what is used.

    Args:
        model: The file.
        collector: Where problems go.
        gamma: Gyromagnetic ratio over 2 pi [Hz/T], for units in expressions.
    """
    defined = _defined(model, collector)
    names = Names()
    for path, text in texts(model):
        if not isinstance(text, str):
            continue
        with collector.collect(), collector.at(path):
            expression = parse_expression(text, gamma)
            names.used |= expression.names
            names.components |= {d[0] for d in expression.dotted if len(d) == 2 and d[1] in COMPONENTS}
            _check_known(expression, defined)
    _check_used(model, collector, names)
    return names


def _defined(model: SequenceModel, collector: Collector) -> set[str]:
    """All names, after clashes are reported."""
    owner: dict[str, str] = {}
    tables = {"parameters": model.parameters, "definitions": model.definitions, "events": model.events}
    for table, entries in tables.items():
        for name in entries:
            _claim(owner, name, table.removesuffix("s"), (table, name), collector)
    for index, timing in enumerate(model.timing):
        if timing.solve is not None and owner.get(timing.solve) != "delay":
            _claim(owner, timing.solve, "delay", ("timing", index, "solve"), collector)
    local: set[str] = set()
    for path, loop, around in loops(model.timeline):
        seen = set(around)
        for name in handed_out(loop):
            place = (*path, "let", name) if name in loop.let else (*path, "loop", name)
            if name in seen:
                collector.add(collector.source.problem(place, f"must be a new name, but '{name}' is a name around it"))
            else:
                _claim(dict(owner), name, "loop variable", place, collector)
            seen.add(name)
        local |= seen
    return set(owner) | local


def _claim(owner: dict[str, str], name: str, kind: str, path: KeyPath, collector: Collector) -> None:
    rule = ""
    if not is_name(name) or name in _KEYWORDS or "__" in name:
        rule = f"must be a name of letters, digits and _, beginning with a letter, but is '{name[:60]}'"
    elif name in RESERVED:
        rule = f"must not be a word of the language, but '{name}' is"
    elif name in owner:
        article = "an" if owner[name].startswith("e") else "a"
        rule = f"must be a new name, but '{name}' is {article} {owner[name]} already"
    if rule:
        collector.add(collector.source.problem(path, rule, "Choose another name", at_key=True))
    owner.setdefault(name, kind)


def _check_known(expression: Expression, defined: set[str]) -> None:
    known = defined | RESERVED
    unknown = sorted(expression.names - known)
    if unknown:
        name = unknown[0]
        raise SpecError(
            Problem(f"must use known names, but '{name}' is none", did_you_mean(name, defined | set(CONSTANTS)))
        )


def _check_used(model: SequenceModel, collector: Collector, names: Names) -> None:
    used, placed = names.used | _recon_uses(model), placed_events(model.timeline)
    waits = {t.strip() for p, t in texts(model) if p[-1] == "wait" and isinstance(t, str)}
    where: list[tuple[KeyPath, str, str]] = [
        (("parameters", n), "parameter", n) for n in model.parameters if n not in used
    ]
    where += [(("definitions", n), "definition", n) for n in model.definitions if n not in used]
    where += [(("events", n), "event", n) for n in model.events if n not in used | placed]
    for path, loop, _ in loops(model.timeline):
        where += [((*path, "let", n), "let", n) for n in loop.let if n not in used]
        index = loop.loop.get("index")
        if isinstance(index, str) and index not in used:
            where.append(((*path, "loop", "index"), "index", index))
    for path, kind, name in where:
        rule = f"must be used somewhere, but the {kind} '{name}' is not"
        collector.add(collector.source.problem(path, rule, "Remove it, or use it", at_key=True))
    for index, timing in enumerate(model.timing):
        if timing.solve is not None and timing.solve not in waits:
            rule = f"must name a wait of the timeline, but there is no 'wait: {timing.solve}'"
            collector.add(collector.source.problem(("timing", index, "solve"), rule, did_you_mean(timing.solve, waits)))


def _recon_uses(model: SequenceModel) -> set[str]:
    if model.recon is None or model.recon.method == "none":
        return set()
    used = set()
    for key, candidates in RECON_DEFAULTS.items():
        if getattr(model.recon, key) is None:
            used |= {next((name for name in candidates if name in model.parameters), "")}
    return used
