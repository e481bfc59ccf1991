"""Reference of a language: every model of a grammar with its keys, their values, defaults and meaning, as Markdown."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, WithJsonSchema
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from mrisim import units
from mrisim.paths import library_files, library_folder
from mrisim.phantom.grammar import PhantomFile
from mrisim.phantom.quantities import name_of
from mrisim.protocol import ProtocolModel
from mrisim.sequence.grammar import BlockItem, GroupItem, LoopItem, SequenceModel, SystemModel, WaitItem
from mrisim.source import read_source

LANGUAGES: dict[str, tuple[str, type[BaseModel]]] = {
    "sequence": ("sequences", SequenceModel),
    "phantom": ("phantoms", PhantomFile),
    "protocol": ("protocols", ProtocolModel),
}
_EXTENDS = "a sequence of the library, or a file beside this one, whose entries are kept where none is given"
_INTRODUCTION = """\
Made from the models with which `mrisim` reads a file, as is the JSON Schema of `mrisim schema {language}`.
What the words mean together is on [a page of its own]({page}). An unknown key is refused. Examples are the first of
their kind in the library.
"""
_ITEMS = {WaitItem: "wait", BlockItem: "block", GroupItem: "do", LoopItem: "loop"}
_SCANNER = "systems/default_3t.yaml"
_PAGES = {"sequence": "../language.md", "phantom": "../phantoms.md", "protocol": "../protocols.md"}
_EXPRESSION = "[expression](../language.md#values-and-expressions)"
_PIECES = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false", "Any": "any value"}


@dataclass(frozen=True, kw_only=True)
class Section:
    """A model and where in a file it stands."""

    path: str  # such as "events.NAME.rf"
    model: type[BaseModel]
    anchor: str


def sections(language: str) -> list[Section]:
    """All models of a language, in the order in which a reader meets them.

    Example:
        >>> [section.path for section in sections("protocol")][:2]
        ['', 'scans.NAME']
    """
    found: dict[type[BaseModel], Section] = {}
    waiting: list[tuple[str, type[BaseModel]]] = [("", LANGUAGES[language][1])]
    while waiting:
        path, model = waiting.pop(0)
        if model in found:
            continue
        found[model] = Section(path=path, model=model, anchor=f"{language}-{model.__name__.lower()}")
        inner = [
            (f"{path}.{key}".lstrip(".") + suffix, child)
            for key, _, annotation in _keys(model)
            for suffix, child in _models(annotation)
        ]
        waiting = inner + waiting  # depth first: a model stands near the key that leads to it
    return list(found.values())


def page(language: str) -> str:
    """Markdown of a reference page."""
    found = sections(language)
    anchors = {section.model: section for section in found}
    examples = first_uses(language)
    parts = [
        f"(reference-{language})=\n# Reference: {language} files\n",
        _INTRODUCTION.format(language=language, page=_PAGES[language]),
    ]
    for section in found:
        parts.append(_section(section, language, anchors, examples))
    return "\n".join(parts)


def _section(section: Section, language: str, anchors: dict[type[BaseModel], Section], examples: dict[str, str]) -> str:
    doc = linked(" ".join((section.model.__doc__ or "").split()))
    rows = [_row(section, key, field, annotation, anchors, examples) for key, field, annotation in _keys(section.model)]
    if section.path == "" and language == "sequence":
        rows.insert(1, f"| `extends` | text<br>may be left out | {_EXTENDS}{_example(examples, 'extends')} |")
    return "\n".join(
        [
            f"({section.anchor})=",
            f"## {_title(section)}\n",
            f"{doc}\n",
            "| key | value | meaning |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


def _title(section: Section) -> str:
    if section.path == "":
        return "The file"
    fields = section.model.model_fields
    if "shape" in fields:
        return f"`{section.path}` of shape {get_args(fields['shape'].annotation)[0]}"
    if section.model in _ITEMS:
        return f"`{section.path}` with {_ITEMS[section.model]}"
    return f"`{section.path}`"


def _row(
    section: Section,
    key: str,
    field: FieldInfo,
    annotation: Any,
    anchors: dict[type[BaseModel], Section],
    examples: dict[str, str],
) -> str:
    value = type_text(annotation, anchors)
    default = "**required**" if field.is_required() else default_text(field, annotation)
    if section.model is SystemModel and key in (scanner := read_source(library_folder("sequences") / _SCANNER).data):
        default = f"default {_code(str(scanner[key]))}"
    meaning = linked(field.description or "")
    path = f"{section.path}.{key}".lstrip(".")
    return f"| `{key}` | {value}<br>{default} | {meaning}{_example(examples, path)} |"


def _example(examples: dict[str, str], path: str) -> str:
    shown = examples.get(path, "")
    return f"<br>{_code(shown)}" if shown else ""


def _code(text: str) -> str:
    fence = "``" if "`" in text else "`"
    return fence + text.replace("|", "\\|") + fence


def linked(text: str) -> str:
    """Mentions of pages as links, and what Markdown would take for markup as it is.

    Example:
        >>> linked("see docs/checking.md")
        'see [checking](../checking.md)'
    """
    escaped = text.replace("|", "\\|").replace("<", "&lt;").replace("T2*", "T2\\*")
    return re.sub(r"docs/(\w+)\.md", r"[\1](../\1.md)", escaped)


def _keys(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo, Any]]:
    hints = typing.get_type_hints(model, include_extras=True)
    for name, field in model.model_fields.items():
        yield field.alias or name, field, hints[name]


def _models(annotation: Any, suffix: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Models that a key leads to, and what stands between them and the key."""
    origin = get_origin(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield suffix, annotation
    elif origin is typing.Annotated:
        yield from _models(get_args(annotation)[0], suffix)
    elif origin is dict:
        yield from _models(get_args(annotation)[1], suffix + ".NAME")
    elif origin is list:
        yield from _models(get_args(annotation)[0], suffix + "[]")
    elif _is_union(origin):
        for part in get_args(annotation):
            yield from _models(part, suffix)


def _is_union(origin: Any) -> bool:
    return origin is typing.Union or origin is types.UnionType


def type_text(annotation: Any, anchors: dict[type[BaseModel], Section]) -> str:
    """What may stand behind a key, in words.

    Example:
        >>> type_text(list[int] | None, {})
        'list of whole number'
    """
    said = _said(annotation).partition(", such as")[0]
    if said:
        return _EXPRESSION if said.startswith("an expression") else linked(said)
    origin, parts = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        section = anchors[annotation]
        return f"[{_title(section).replace('`', '')}](#{section.anchor})"
    if origin is typing.Annotated:
        return type_text(parts[0], anchors)
    if origin is typing.Literal:
        return " · ".join(_code(str(part)) for part in parts)
    if _is_union(origin):
        if set(parts) >= {bool, int, float, str}:
            parts = ("value", *(part for part in parts if part not in (bool, int, float, str)))
        texts = dict.fromkeys(type_text(part, anchors) for part in parts if part is not type(None))
        return " or ".join(texts)
    if origin is dict:
        return f"mapping of {type_text(parts[0], anchors)} → {type_text(parts[1], anchors)}"
    if origin is list:
        return f"list of {type_text(parts[0], anchors)}"
    if origin is tuple:
        return f"list of {len(parts)}: {type_text(parts[0], anchors)}"
    return _PIECES.get(getattr(annotation, "__name__", str(annotation)), str(annotation))


def _said(annotation: Any) -> str:
    """The description that comes with the type of a value, such as that of a length."""
    if get_origin(annotation) is not typing.Annotated:
        return ""
    for extra in get_args(annotation)[1:]:
        if isinstance(extra, FieldInfo) and extra.description:
            return extra.description
        if isinstance(extra, WithJsonSchema) and "description" in (extra.json_schema or {}):
            return extra.json_schema["description"]
        if isinstance(extra, WithJsonSchema):
            return "number"
    return ""


def default_text(field: FieldInfo, annotation: Any) -> str:
    """A default as a user would write it."""
    value = field.default
    if field.default_factory is not None or value is PydanticUndefined or isinstance(value, BaseModel):
        return "may be left out"
    if value is None or value in ({}, [], ""):
        return "may be left out"
    return f"default {_code(_written(value, annotation))}"


def _written(value: Any, annotation: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_written(item, annotation) for item in value) + "]"
    if isinstance(value, float):
        text = str(annotation)
        for dimension in units.EXAMPLES:
            if f"'{name_of(dimension)}, such as" in text:
                return units.show(value, dimension)
        return f"{value:g}"
    return str(value)


def first_uses(language: str) -> dict[str, str]:
    """Path of a key → the first line of the library that gives it, such as `flip: 90 deg`.

    Example:
        >>> first_uses("sequence")["timing[].solve"]
        'solve: te_fill'
    """
    folder, root = LANGUAGES[language]
    found: dict[str, str] = {}
    for path in library_files(folder).values():
        data = read_source(path).data
        if isinstance(data, dict) and (language != "phantom" or path.stem != "tissues"):
            _collect(data, root, {section.model: section.path for section in sections(language)}, found)
    return found


def _collect(data: dict[str, Any], model: type[BaseModel], paths: dict[type[BaseModel], str], out: dict[str, str]):
    if model.__name__ == "SequenceModel" and "extends" in data:
        out.setdefault("extends", f"extends: {data['extends']}")
    for key, _, annotation in _keys(model):
        if key not in data:
            continue
        value = data[key]
        simple = not isinstance(value, dict) and not (
            isinstance(value, list) and any(isinstance(v, dict) for v in value)
        )
        text = f"{key}: {_flow(value)}"
        if simple and len(text) <= 60:
            out.setdefault(f"{paths[model]}.{key}".lstrip("."), text)
        for _, child in _models(annotation):
            for entry in _entries(value, child):
                _collect(entry, child, paths, out)


def _flow(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "[" + ", ".join(_flow(item) for item in value) + "]" if isinstance(value, list) else str(value)


def _entries(value: Any, model: type[BaseModel]) -> Iterator[dict[str, Any]]:
    """Mappings beneath a value that may be of this model: itself, the items of a list, the values of a mapping."""
    keys = {key for key, _, _ in _keys(model)}
    candidates = [value, *(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())]
    for candidate in candidates:
        if isinstance(candidate, dict) and candidate and set(candidate) <= keys and _fits(candidate, model):
            yield candidate


def _fits(data: dict[str, Any], model: type[BaseModel]) -> bool:
    required = {field.alias or name for name, field in model.model_fields.items() if field.is_required()}
    shape = model.model_fields.get("shape")
    return required <= set(data) and (shape is None or data.get("shape") in get_args(shape.annotation))


def write(folder: Path) -> None:
    """Write the reference pages of all languages."""
    for language in LANGUAGES:
        (folder / f"{language}_reference.md").write_text(page(language), encoding="utf-8")
