"""One broken rule as a record, and how several records of one mistake become one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from mrisim.errors import Problem
from mrisim.source import KeyPath, Source

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, kw_only=True)
class Message:
    """A rule that a file breaks.

    Example:
        >>> str(Message(id="limit/TE", severity="error", what="TE", found="96 ms", allowed="be at most 90 ms"))
        'TE: must be at most 90 ms, but is 96 ms.'
    """

    id: str  # "hardware/gradient-amplitude"
    severity: Severity
    what: str  # "block 3 (read) at 12.3 ms, gx: gradient amplitude"
    found: str  # "43 mT/m"
    allowed: str  # what follows "must": "be at most 40 mT/m"
    remedy: str = ""  # an imperative sentence without its full stop
    file: str = ""
    line: int | None = None
    column: int | None = None
    path: str = ""  # of keys: "events.read"
    scan: str = ""  # of a protocol
    count: int = 1  # of mistakes that this one stands for

    def __str__(self) -> str:
        others = f" ({self.count} times, this is the first)" if self.count > 1 else ""
        scan = f"{self.scan}: " if self.scan else ""
        remedy = f" {self.remedy}." if self.remedy else ""
        return f"{scan}{self.what}: must {self.allowed}, but is {self.found}.{remedy}{others}"

    @property
    def place(self) -> str:
        """File, line and column, as far as known."""
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part)


def located(message: Message, source: Source | None, path: KeyPath) -> Message:
    """The message with the place of a path of keys; as it is, where the sequence has no specification."""
    if source is None:
        return message
    place: Problem = source.problem(path, "")
    return replace(message, file=place.file, line=place.line, column=place.column, path=place.path)


def grouped(messages: Iterable[Message]) -> tuple[Message, ...]:
    """One message for each rule and place, with its number.

    Example:
        >>> one = Message(id="a", severity="error", what="x", found="2", allowed="be 1", line=4)
        >>> [message.count for message in grouped([one] * 8)]
        [8]
    """
    known: dict[tuple, Message] = {}
    for message in messages:
        key = (message.id, message.file, message.line, message.scan)
        first = known.get(key)
        known[key] = message if first is None else replace(first, count=first.count + message.count)
    rank = {"error": 0, "warning": 1, "note": 2}
    return tuple(sorted(known.values(), key=lambda message: rank[message.severity]))
