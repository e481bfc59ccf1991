"""A validation as tables: one row per expectation and engine, and one per point that falls outside."""

from __future__ import annotations

from collections import Counter

from mrisim.report import Table
from mrisim.validation.records import Outcome, Point, Validation

MOST = 12
"""Points outside that a table shows of one expectation."""


def summary(validation: Validation) -> Table:
    """One row per expectation and engine, with the point that lies farthest out; the file where names are the same.

    Example:
        >>> summary(Validation(outcomes=())).head[0]
        'sequence'
    """
    head, titles = ("sequence", "expectation", "engine", "points", "deviation", "allowed", ""), titles_of(validation)
    return Table(head=head, rows=tuple(_row(o, titles[o.file]) for o in validation.outcomes), right=head[3:6])


def titles_of(validation: Validation) -> dict[str, str]:
    """What each file is called: by the name that it gives, and by its own where several give the same."""
    names = {outcome.file: outcome.sequence for outcome in validation.outcomes}
    count = Counter(names.values())
    return {file: f"{name} ({file})" if count[name] > 1 else name for file, name in names.items()}


def _row(outcome: Outcome, title: str) -> tuple[str, ...]:
    worst = outcome.worst
    return (
        title, outcome.name, outcome.engine, str(len(outcome.points)), deviation_text(worst, outcome),
        outcome.tolerance, "ok" if outcome.passed else f"{outside(outcome)} outside",
    )  # fmt: skip


def outside(outcome: Outcome) -> int:
    """Number of points beyond the tolerance."""
    return sum(not point.passed for point in outcome.points)


def deviation_text(point: Point, outcome: Outcome) -> str:
    """Deviation of a point as its tolerance is written: in per cent, or in the unit of the signal."""
    return f"{100 * point.relative:.2g} %" if outcome.tolerance.endswith("%") else f"{point.deviation:.2g}"


def failures(outcome: Outcome) -> Table:
    """The points outside, the farthest first."""
    found = sorted((p for p in outcome.points if not p.passed), key=lambda p: -p.deviation / max(p.allowed, 1e-300))
    rows = [
        (point.describe(), number(point.simulated), number(point.expected), deviation_text(point, outcome))
        for point in found[:MOST]
    ]
    head = ("at", "simulated", "closed form", "deviation")
    left_out = f"and {len(found) - MOST} more" if len(found) > MOST else ""
    return Table(head=head, rows=tuple(rows), right=head[1:], caption=left_out)


def number(value: complex) -> str:
    """A signal as text: without its imaginary part where that is nothing.

    Example:
        >>> number(0.25 + 0j), number(0.25 - 0.5j)
        ('0.25', '0.25 - 0.5i')
    """
    if abs(value.imag) <= 1e-12 * abs(value):
        return f"{value.real:.6g}"
    return f"{value.real + 0.0:.6g} {'+' if value.imag >= 0 else '-'} {abs(value.imag):.6g}i"
