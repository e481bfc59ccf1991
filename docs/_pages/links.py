"""Mentions in the pages as links: they are written to be read in the repository too."""

from __future__ import annotations

import re

_CODE = re.compile(r"(^```.*?^```|^(?: {4}.*\n)+|``.*?``|`[^`\n]*`|\]\([^)]*\))", re.MULTILINE | re.DOTALL)
_PAGE = re.compile(r"(?<![\w/])docs/(\w+)\.md")
_NOTEBOOK = re.compile(r"^\| `(\d\d_\w+)` \|", re.MULTILINE)


def linked(text: str, up: str = "") -> str:
    """Pages and notebooks that a text mentions as links; what is code or a link stays.

    Args:
        text: Markdown.
        up: Way from the text's folder to that of the pages.

    Example:
        >>> linked("see docs/maps.md, but not `docs/maps.md`")
        'see [maps](maps.md), but not `docs/maps.md`'
        >>> linked("| `01_a_spin` | What? |")
        '| [`01_a_spin`](generated/notebooks/01_a_spin.ipynb) | What? |'
    """
    text = _NOTEBOOK.sub(rf"| [`\1`]({up}generated/notebooks/\1.ipynb) |", text)
    parts = _CODE.split(text)
    return "".join(part if i % 2 else _PAGE.sub(rf"[\1]({up}\1.md)", part) for i, part in enumerate(parts))
