"""A page made of sections, and its HTML: pictures embedded, no link to anything outside, printable."""

from __future__ import annotations

import base64
import html
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of text under a head; columns named in `right` are numbers."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[str, ...] = ()
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
class Section:
    """A heading and what follows it."""

    title: str
    content: tuple[Table | Picture | Text, ...]


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
    style = files("mrisim.report").joinpath("page.css").read_text(encoding="utf-8")
    facts = "".join(f"<div><dt>{_e(label)}</dt><dd>{_e(value)}</dd></div>" for label, value in page.facts)
    links = "".join(f'<a href="#s{i}">{_e(section.title)}</a>' for i, section in enumerate(page.sections))
    body = "\n".join(_section(i, section) for i, section in enumerate(page.sections))
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{_e(page.title)}</title>'
        f"<style>\n{style}</style></head>\n<body><main><header><h1>{_e(page.title)}</h1><p>{_e(page.subtitle)}</p>"
        f"<dl>{facts}</dl><nav>{links}</nav></header>\n{body}\n</main></body></html>\n"
    )


def _e(text: str) -> str:
    return html.escape(text)


def _section(index: int, section: Section) -> str:
    parts, pictures = [], []
    for item in section.content:
        if isinstance(item, Picture) and not item.wide:
            pictures.append(_picture(item))
            continue
        if pictures:
            parts.append(_side_by_side(pictures))
            pictures = []
        parts.append(
            _table(item) if isinstance(item, Table) else _text(item) if isinstance(item, Text) else _picture(item)
        )
    if pictures:
        parts.append(_side_by_side(pictures))
    return f'<section id="s{index}"><h2>{_e(section.title)}</h2>\n' + "\n".join(parts) + "</section>"


def _side_by_side(pictures: list[str]) -> str:
    return f'<div class="pictures">{"".join(pictures)}</div>'


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode("ascii")
    kind = ' class="wide"' if picture.wide else ""
    caption = _e(picture.caption)
    image = f'<img alt="{caption}" src="data:image/png;base64,{data}">'
    return f"<figure{kind}>{image}<figcaption>{caption}</figcaption></figure>"


def _table(table: Table) -> str:
    kinds = [' class="n"' if name in table.right else "" for name in table.head]
    head = "".join(f"<th{kind}>{_e(name)}</th>" for name, kind in zip(table.head, kinds, strict=True))
    rows = "\n".join(
        "<tr>" + "".join(f"<td{kind}>{_e(cell)}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in table.rows
    )
    caption = f"<caption>{_e(table.caption)}</caption>" if table.caption else ""
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table>"


def _text(item: Text) -> str:
    body = f"<pre>{_e(item.text)}</pre>" if item.code else f"<p>{_e(item.text)}</p>"
    if item.folded:
        return f"<details><summary>{_e(item.title)}</summary>{body}</details>"
    return f"<h3>{_e(item.title)}</h3>{body}" if item.title else body
