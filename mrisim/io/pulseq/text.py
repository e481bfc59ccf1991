"""Text of a Pulseq file → sections, tables of numbers, shapes; every problem with its line."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path

import numpy as np

from mrisim._types import Float
from mrisim.errors import Finding, MrisimError, Problem, ResourceError, SpecError
from mrisim.io.pulseq.shapes import MAX_SAMPLES, decompress

MAX_BYTES = 512 * 2**20  # of a file
MAX_TOTAL = 4 * MAX_SAMPLES  # samples of all shapes together
SECTIONS = (
    "VERSION", "DEFINITIONS", "BLOCKS", "RF", "GRADIENTS", "TRAP", "ADC", "DELAYS", "EXTENSIONS", "SHAPES", "SIGNATURE",
)  # fmt: skip
_HASHES = {"md5": hashlib.md5, "sha1": hashlib.sha1, "sha256": hashlib.sha256}


@dataclass(frozen=True, kw_only=True)
class Section:
    """Lines of a section without comments and empty lines."""

    name: str
    file: str
    line: int  # of its head
    lines: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)  # of its lines, from 1
    breaks: frozenset[int] = frozenset()  # indices of lines that follow an empty one

    def problem(self, rule: str, remedy: str = "", row: int | None = None) -> Problem:
        """Problem at a row, or at the head of the section."""
        line = self.line if row is None or row >= len(self.numbers) else self.numbers[row]
        return Problem(rule, remedy, path=self.name, file=self.file, line=line)

    def error(self, rule: str, remedy: str = "", row: int | None = None) -> SpecError:
        return SpecError(self.problem(rule, remedy, row))


@dataclass(frozen=True, kw_only=True)
class Extension:
    """A kind of extension: what the file calls it, its number there, and its rows."""

    name: str
    number: int
    section: Section


@dataclass(frozen=True, kw_only=True)
class PulseqText:
    """Sections of a file, by name."""

    file: str
    sections: dict[str, Section]
    extensions: tuple[Extension, ...]
    findings: tuple[Finding, ...]

    def get(self, name: str) -> Section:
        return self.sections.get(name) or Section(name=f"[{name}]", file=self.file, line=1)


def read_text(path: str | Path, *, strict: bool = False) -> PulseqText:
    """Sections of a file; its signature is held against its text.

    Args:
        path: File to read.
        strict: Refuse a signature that is wrong.

    Raises:
        ResourceError: the file is missing, unreadable or too large.
        SpecError: no text, an unknown or repeated section, a wrong signature where `strict`.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            rule = f"must have at most {MAX_BYTES // 2**20} MiB, but has {path.stat().st_size // 2**20} MiB"
            raise ResourceError(Problem(rule, file=str(path)))
        raw = path.read_bytes()
    except OSError as error:
        raise ResourceError(Problem(f"must be readable, but is not ({error.strerror})", file=str(path))) from None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise SpecError(
            Problem("must be text in UTF-8, but is not", "Is it a .seq file", str(path), line=line)
        ) from None
    if "\0" in text:
        raise SpecError(Problem("must be text, but holds a zero byte", file=str(path)))
    sections, extensions = _split(text, str(path))
    findings = _signature(raw, sections.get("SIGNATURE"), str(path), strict)
    return PulseqText(file=str(path), sections=sections, extensions=extensions, findings=findings)


def _split(text: str, file: str) -> tuple[dict[str, Section], tuple[Extension, ...]]:
    sections: dict[str, Section] = {}
    extensions: list[Extension] = []
    current: Section | None = None
    breaks: list[int] = []
    lines = text.splitlines() if "\r" in text or "\x0c" in text else text.split("\n")
    for number, raw in enumerate(lines, start=1):
        line = raw.strip()
        if not line:
            if current is not None:
                breaks.append(len(current.lines))
            continue
        first = line[0]
        if first == "#":
            continue
        if first == "[" or line.startswith("extension"):
            _close(current, breaks)
            breaks = []
            current = _head(line, number, file, sections, extensions)
            continue
        if current is None:
            raise SpecError(Problem(f"must begin with a section, but begins with '{line[:40]}'", "Is it a .seq file",
                                    file=file, line=number))  # fmt: skip
        current.lines.append(line)
        current.numbers.append(number)
    _close(current, breaks)
    return sections, tuple(extensions)


def _close(section: Section | None, breaks: list[int]) -> None:
    if section is not None:
        object.__setattr__(section, "breaks", frozenset(breaks))


def _head(line: str, number: int, file: str, sections: dict[str, Section], extensions: list[Extension]) -> Section:
    if line[0] != "[":
        words = line.split()
        known = {one.name for one in extensions} | {str(one.number) for one in extensions}
        if len(words) != 3 or words[0] != "extension" or not words[2].isdecimal() or len(words[2]) > 9:
            raise SpecError(Problem(f"must be 'extension NAME NUMBER', but is '{line[:60]}'", file=file, line=number))
        if words[1] in known or str(int(words[2])) in known:
            rule = f"must name and number an extension once, but '{words[1]} {words[2]}' is there again"
            raise SpecError(Problem(rule, file=file, line=number))
        section = Section(name=f"extension {words[1]}", file=file, line=number)
        extensions.append(Extension(name=words[1], number=int(words[2]), section=section))
        return section
    name = line[1:].partition("]")[0].strip()
    if name not in SECTIONS or "]" not in line:
        raise SpecError(Problem(f"must be a known section, but is '{line[:40]}'", f"Known are {', '.join(SECTIONS)}",
                                file=file, line=number))  # fmt: skip
    if name in sections:
        raise SpecError(Problem(f"must hold [{name}] once, but holds it again", file=file, line=number))
    sections[name] = Section(name=f"[{name}]", file=file, line=number)
    return sections[name]


def _signature(raw: bytes, section: Section | None, file: str, strict: bool) -> tuple[Finding, ...]:
    """What is wrong with the signature: the hash of everything before the line break before [SIGNATURE]."""
    if section is None:
        return ()
    said = {key.lower(): value.strip() for key, _, value in (line.partition(" ") for line in section.lines)}
    algorithm = _HASHES.get(said.get("type", "").lower())
    if algorithm is None:
        return (Finding("signature", f"{file} is signed by '{said.get('type', '')[:20]}', which is not checked"),)
    end = raw.rfind(b"\n[SIGNATURE]")
    end -= 1 if raw[end - 1 : end] == b"\r" else 0
    if algorithm(raw[: max(end, 0)], usedforsecurity=False).hexdigest() == said.get("hash", "").lower():
        return ()
    if strict:
        raise section.error("must be the hash of the text before it, but is not", "Find out who changed the file")
    text = f"{file} does not have the hash that it is signed with, so it was changed after it was written"
    return (Finding("signature", text, "Use --strict to refuse such files"),)


def numbers(section: Section, columns: int | tuple[int, ...], *, text: int | None = None) -> Float[np.ndarray, "r c"]:
    """Table of finite numbers.

    Args:
        section: Its lines, one row each.
        columns: Numbers in a row, all rows alike; or the counts that are allowed.
        text: Column that holds a word; it becomes the code of its first character.

    Raises:
        SpecError: a row of another length, or what is no finite number; with its line.
    """
    allowed = (columns,) if isinstance(columns, int) else columns
    rows = [line.split() for line in section.lines]
    if not rows:
        return np.zeros((0, allowed[-1]))
    lengths = set(map(len, rows))
    if len(lengths) > 1 or not lengths <= set(allowed):
        wanted = len(rows[0]) if len(rows[0]) in allowed else allowed[-1]
        row = next(i for i, one in enumerate(rows) if len(one) != wanted)
        said = " or ".join(map(str, allowed))
        raise section.error(f"must have {said} values in a row, but has {len(rows[row])}", row=row)
    if text is not None:
        rows = [[*one[:text], str(ord(one[text][0])), *one[text + 1 :]] for one in rows]
    try:
        table = np.array(list(map(float, chain.from_iterable(rows)))).reshape(len(rows), len(rows[0]))
    except ValueError:
        raise _no_number(section, rows) from None
    if not np.isfinite(table).all():
        row = int(np.flatnonzero(~np.isfinite(table).all(axis=1))[0])
        raise section.error("must hold finite numbers, but does not", row=row)
    return table


def _no_number(section: Section, rows: list[list[str]]) -> SpecError:
    for i, row in enumerate(rows):
        for word in row:
            if _number(word) is None:
                return section.error(f"must hold numbers, but holds '{word[:40]}'", row=i)
    return section.error("must hold numbers, but does not")


def _number(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def definitions(section: Section) -> dict[str, str]:
    """Key and the rest of the line."""
    found = {}
    for line in section.lines:
        key, _, value = line.replace("\t", " ").partition(" ")
        found[key] = value.strip()
    return found


def shapes(section: Section, *, always: bool) -> dict[int, Float[np.ndarray, " samples"]]:
    """Samples of each shape by number.

    Raises:
        SpecError: no head, no samples, a number twice, counts that do not fit.
    """
    result: dict[int, np.ndarray] = {}
    total = 0
    for start, stop in _shape_bounds(section):
        number = _value(section, start, "shape_id")
        count = _value(section, start + 1, "num_samples") if start + 1 < stop else 0
        total += count
        if number in result:
            raise section.error(f"must hold shape {number} once, but holds it again", row=start)
        if total > MAX_TOTAL:
            raise section.error(f"must hold at most {MAX_TOTAL} samples, but holds more", row=start)
        try:
            stored = np.array(list(map(float, section.lines[start + 2 : stop])))
        except ValueError:
            row = next(i for i in range(start + 2, stop) if _number(section.lines[i]) is None)
            raise section.error(f"must hold one number, but holds '{section.lines[row][:40]}'", row=row) from None
        if len(stored) == 0 or not np.isfinite(stored).all():
            raise section.error(f"shape {number} must hold finite samples, but does not", row=start)
        try:
            result[number] = decompress(stored, count, always=always)
        except MrisimError as error:
            raise section.error(f"shape {number}: {error.problems[0].rule}", row=start) from None
    return result


def _shape_bounds(section: Section) -> Iterator[tuple[int, int]]:
    heads = [i for i, line in enumerate(section.lines) if line[0] in "sS" and line[:8].lower() == "shape_id"]
    if section.lines and (not heads or heads[0] != 0):
        raise section.error(f"must begin with shape_id, but begins with '{section.lines[0][:40]}'", row=0)
    for head, after in pairwise([*heads, len(section.lines)]):
        inner = [i for i in section.breaks if head + 2 < i < after] if len(section.breaks) > len(heads) + 8 else ()
        if inner:
            raise section.error("must have no empty line inside a shape, but has one", row=min(inner))
        yield head, after


def _value(section: Section, row: int, key: str) -> int:
    words = section.lines[row].split()
    names = (key, "num_uncompressed") if key == "num_samples" else (key,)
    if len(words) != 2 or words[0].lower() not in names or not words[1].isdecimal() or len(words[1]) > 12:
        raise section.error(f"must be '{key} NUMBER', but is '{section.lines[row][:40]}'", row=row)
    return int(words[1])
