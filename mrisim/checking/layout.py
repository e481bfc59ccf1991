"""Layout of a specification: what a file looks like, without a change of what it says."""

from __future__ import annotations

import re

from mrisim.errors import Problem, SpecError
from mrisim.source import parse_source

_TOP = re.compile(r"[A-Za-z_]\w*\s*:")
_BLOCK_TEXT = re.compile(r":\s*[|>][-+0-9]*\s*(#.*)?$")


def formatted(text: str, file: str = "<text>") -> str:
    """Text in the house's layout; comments and columns stay where they are.

    Line ends are LF, none ends in blanks, no two empty lines follow each other, one stands before every top-level key
    that holds a block and after such a block, and the file ends in one line end. Formatting twice changes nothing.

    Raises:
        SpecError: text that is no YAML, or that says something else in this layout.

    Example:
        >>> formatted("a: 1  \\nb:\\n  c: 2\\n\\n\\nd: 3")
        'a: 1\\n\\nb:\\n  c: 2\\n\\nd: 3\\n'
    """
    before = parse_source(text, file).data
    lines = [line.rstrip() for line in text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")]
    if any(_BLOCK_TEXT.search(line) for line in lines):
        raise SpecError(
            Problem("must have no block texts (| or >) to be formatted, but has", "Write them in quotes", "", file)
        )
    result = "\n".join(_spaced(lines)) + "\n"
    if parse_source(result, file).data != before:
        raise SpecError(Problem("must say the same when blanks at line ends are left out, but does not", "", "", file))
    return result


def _spaced(lines: list[str]) -> list[str]:
    """Lines with one empty line around every block of the top level."""
    result: list[str] = []
    for i, line in enumerate(lines):
        if not line:
            continue
        top = bool(_TOP.match(line)) or (line.startswith("#") and _leads_to_top(lines[i:]))
        inside = bool(result) and result[-1].startswith((" ", "-", "}", "]"))
        blank = i > 0 and not lines[i - 1]
        opens = _TOP.match(line) is not None and line.split("#")[0].rstrip().endswith(":")
        commented = bool(result) and result[-1].startswith("#")
        if result and (blank or (top and inside) or (opens and not commented)):
            result.append("")
        result.append(line)
    return result


def _leads_to_top(lines: list[str]) -> bool:
    """Whether a comment at the margin stands above a top-level key."""
    return next((bool(_TOP.match(line)) for line in lines if line and not line.startswith("#")), False)
