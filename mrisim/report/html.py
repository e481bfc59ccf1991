"""A page made of sections, and its HTML: pictures embedded, no link to anything outside, printable."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

from mrisim.report.pictures import embedded

_SCRIPTS = ("inflate", "common", "model", "timeline", "space", "stacks", "main")


_SIGNS = re.compile(r"\bu?m?m\^2|(?<=[0-9] )um\b")


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of text under a head; columns named in `right` are numbers, those in `once` do not repeat what is above."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[str, ...] = ()
    once: tuple[str, ...] = ()
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A PNG file with its caption; `wide` takes the width of the page, others stand side by side."""

    png: bytes
    caption: str
    wide: bool = False


@dataclass(frozen=True, kw_only=True)
class Text:
    """A paragraph; `code` keeps its lines, `folded` hides it behind its title."""

    text: str
    title: str = ""
    code: bool = False
    folded: bool = False


@dataclass(frozen=True, kw_only=True)
class Explorer:
    """Something to explore in place of a picture, which stays for print and for a browser without scripts.

    `data` comes from `report.sequence.describe` or `report.stacks.describe`; `name` is its address in the page.
    """

    name: str
    kind: Literal["sequence", "stacks"]
    data: Any
    still: tuple[Picture, ...]


@dataclass(frozen=True, kw_only=True)
class Folds:
    """Lines that fold open: name and value, and behind them what they mean and more about them."""

    title: str
    lines: tuple[tuple[str, str, Mapping[str, str]], ...]


Content = Table | Picture | Text | Explorer | Folds


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and what follows it."""

    title: str
    content: tuple[Content, ...]


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page."""

    title: str
    subtitle: str
    facts: tuple[tuple[str, str], ...]  # label, value
    sections: tuple[Section, ...]


def render(page: Page) -> str:
    """Page as one HTML file.

    Example:
        >>> text = render(Page(title="a < b", subtitle="", facts=(), sections=()))
        >>> "a &lt; b" in text and "http" not in text
        True
    """
    style = _own_file("page.css")
    facts = "".join(f"<div><dt>{_e(label)}</dt><dd>{_breaks(value)}</dd></div>" for label, value in page.facts)
    links = "".join(f'<a href="#s{i}">{_e(section.title)}</a>' for i, section in enumerate(page.sections))
    body = "\n".join(_section(i, section) for i, section in enumerate(page.sections))
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{_e(page.title)}</title>'
        f"<style>\n{style}</style></head>\n<body><main><header><h1>{_e(page.title)}</h1><p>{_e(page.subtitle)}</p>"
        f'<dl>{facts}</dl></header>\n<nav aria-label="sections">{links}</nav>\n{body}\n</main>'
        f"{_script(page)}</body></html>\n"
    )


def _own_file(name: str) -> str:
    return files("mrisim.report").joinpath(name).read_text(encoding="utf-8")


def _script(page: Page) -> str:
    """What makes a page answer, where something in it does."""
    if not any(isinstance(item, (Explorer, Folds)) for section in page.sections for item in section.content):
        return ""
    parts = "\n".join(_own_file(f"{name}.js") for name in _SCRIPTS)
    return f'\n<script>"use strict";\n(() => {{\n{parts}}})();</script>'


def _e(text: str) -> str:
    return html.escape(text)


def _breaks(text: str) -> str:
    """A name that may go on in the next line after an underscore."""
    return _e(text).replace("_", "_<wbr>")


def _section(index: int, section: Section) -> str:
    parts, pictures = [], []
    for item in section.content:
        if isinstance(item, Picture) and not item.wide:
            pictures.append(_picture(item))
            continue
        if pictures:
            parts.append(_side_by_side(pictures))
            pictures = []
        parts.append(_item(item))
    if pictures:
        parts.append(_side_by_side(pictures))
    return (
        f'<section id="s{index}" aria-labelledby="h{index}"><h2 id="h{index}">{_e(section.title)}</h2>\n'
        + "\n".join(parts)
        + "</section>"
    )


def _item(item: Content) -> str:
    match item:
        case Table():
            return _table(item)
        case Text():
            return _text(item)
        case Explorer():
            return _explorer(item)
        case Folds():
            return _folds(item)
        case Picture():
            return _picture(item)


def _explorer(item: Explorer) -> str:
    data = json.dumps(item.data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    still = "".join(_picture(picture) for picture in item.still)
    return (
        f'<div class="explorer" id="{_e(item.name)}" data-kind="{item.kind}"><div class="live" hidden></div>'
        f'<div class="still">{still}</div><script type="application/json">{data}</script></div>'
    )


def _folds(item: Folds) -> str:
    lines = []
    for name, value, about in item.lines:
        facts = "".join(f"<div><dt>{_e(key)}</dt><dd>{_e(text)}</dd></div>" for key, text in about.items() if text)
        summary = f"<b>{_e(name)}</b> <span>{_e(_SIGNS.sub(_sign, value))}</span>"
        lines.append(f"<details><summary>{summary}</summary><dl>{facts}</dl></details>")
    button = '<button type="button" class="unfold" hidden>unfold all</button>'
    return f'<div class="folds"><h3>{_e(item.title)}</h3>{button}{"".join(lines)}</div>'


def _side_by_side(pictures: list[str]) -> str:
    return f'<div class="pictures">{"".join(pictures)}</div>'


def _picture(picture: Picture) -> str:
    kind = ' class="wide"' if picture.wide else ""
    caption = _e(picture.caption)
    image = f'<img alt="{caption}" decoding="async" src="{embedded(picture.png)}">'
    return f"<figure{kind}>{image}<figcaption>{caption}</figcaption></figure>"


def _table(table: Table) -> str:
    kinds = [' class="n"' if name in table.right else "" for name in table.head]
    head = "".join(f'<th scope="col"{kind}>{_e(name)}</th>' for name, kind in zip(table.head, kinds, strict=True))
    above = (None, *table.rows)
    rows = "\n".join(_row(table, kinds, row, before) for row, before in zip(table.rows, above, strict=False))
    caption = f"<caption>{_e(table.caption)}</caption>" if table.caption else ""
    inside = f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table>"
    return f'<div class="scroll">{inside}</div>'


def _row(table: Table, kinds: list[str], row: tuple[str, ...], before: tuple[str, ...] | None) -> str:
    cells = []
    for index, (name, cell, kind) in enumerate(zip(table.head, row, kinds, strict=True)):
        again = before is not None and name in table.once and before[: index + 1] == row[: index + 1]
        kept = ' class="again"' if again else kind
        cells.append(f"<td{kept}>{_e(_SIGNS.sub(_sign, cell))}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _sign(found: re.Match[str]) -> str:
    """Units as print has them: µm², s/mm²."""
    return found.group().replace("um", "µm").replace("^2", "²")


def _text(item: Text) -> str:
    body = f"<pre>{_e(item.text)}</pre>" if item.code else f"<p>{_e(item.text)}</p>"
    if item.folded:
        return f"<details><summary>{_e(item.title)}</summary>{body}</details>"
    return f"<h3>{_e(item.title)}</h3>{body}" if item.title else body
