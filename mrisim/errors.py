"""What can go wrong, as types; and what is worth saying without being wrong.

A message reads `file:line:column: path: must <rule>, but is <value>. <remedy>.`
All problems of one stage are collected and raised together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One violated rule, with its place and its remedy.

    `rule` is a sentence without its full stop ("must be at least 2.96 ms, but is 2 ms"), `remedy` an imperative
    sentence without its full stop ("Set TE: 2.96 ms"). `line` and `column` count from 1.
    """

    rule: str
    remedy: str = ""
    path: str = ""
    file: str = ""
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = self.file
        if self.line is not None:
            place += f":{self.line}"
            if self.column is not None:
                place += f":{self.column}"
        head = ": ".join(part for part in (place, self.path) if part)
        text = f"{self.rule}." if not self.remedy else f"{self.rule}. {self.remedy}."
        return f"{head}: {text}" if head else text


class MrisimError(ValueError):
    """Base of everything that mrisim raises on bad input; carries all problems at once."""

    def __init__(self, problems: Problem | str | Iterable[Problem]):
        if isinstance(problems, str):
            problems = Problem(problems.removesuffix("."))
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SpecError(MrisimError):
    """A specification (sequence, phantom, protocol, command line) says something that it may not."""


class TimingError(SpecError):
    """A timing constraint cannot be met; the message names what could be."""


class ConsistencyError(MrisimError):
    """Two inputs do not fit each other: sequence and phantom, raw data and reconstruction, map and series."""


class ResourceError(MrisimError):
    """Memory, disk or a folder that is not there."""


@dataclass(frozen=True)
class Finding:
    """Something that is no error but that the user must hear: printed once and kept in the report."""

    topic: str  # one or two words: "isochromat density"
    text: str  # a sentence without its full stop
    remedy: str = ""  # an imperative sentence without its full stop

    def __str__(self) -> str:
        text = f"{self.topic}: {self.text}."
        return text if not self.remedy else f"{text} {self.remedy}."
