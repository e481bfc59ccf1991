"""Limits that a file sets itself: `limits: {TE: at most 90 ms, voxel: [at most 0.4 mm, at most 0.7 mm, 3 mm]}`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mrisim.checking.measures import Measure
from mrisim.checking.messages import Message, located
from mrisim.errors import Problem, SpecError
from mrisim.source import KeyPath, Source, did_you_mean
from mrisim.units import AREA, B_VALUE, FREQUENCY, GRADIENT, LENGTH, NUMBER, TIME, Dimension, parse

QUANTITIES: Mapping[str, Dimension] = {
    "TE": TIME, "TR": TIME, "TI": TIME, "echo_spacing": TIME, "interval": TIME, "duration": TIME,
    "fov": LENGTH, "voxel": LENGTH, "thickness": LENGTH, "gap": LENGTH,
    "b_min": B_VALUE, "b_max": B_VALUE,
    "m0": AREA, "m1": AREA * TIME, "m2": AREA * TIME * TIME,
    "pns": NUMBER, "gradient_rms": GRADIENT, "gradient_duty": NUMBER,
    "b1_rms": FREQUENCY, "b1_peak": FREQUENCY, "sar": NUMBER,
}  # fmt: skip
WORDS = ("at most", "at least", "below", "above", "exactly")
EXCESS = 1e-6  # relative, that rounding may make
_RANGE = re.compile(r"(.+?)\s+to\s+(.+)")


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A bound of one value."""

    text: str  # what follows "must be"
    low: float  # SI
    high: float
    open: bool  # the bounds themselves are outside

    def holds(self, value: float) -> bool:
        """Whether a value keeps it, to rounding."""
        slack = EXCESS * max(abs(b) for b in (self.low, self.high, value) if abs(b) < float("inf"))
        if self.open:
            return self.low + slack < value < self.high - slack
        return self.low - slack <= value <= self.high + slack


def parse_limit(text: Any, dimension: Dimension, gamma: float) -> Limit:
    """A limit from its text. A value alone is the largest.

    Raises:
        SpecError: no words that are known, or no value of the dimension.

    Example:
        >>> parse_limit("120 mm to 200 mm", LENGTH, 42.58e6).holds(0.22)
        False
        >>> parse_limit("above 3 s", TIME, 42.58e6).holds(3.0)
        False
    """
    words = " ".join(str(text).split())
    word = next((w for w in WORDS if words.startswith(f"{w} ")), "")
    match = _RANGE.fullmatch(words)
    if not word and match:
        low, high = (_finite(part, dimension, gamma) for part in match.groups())
        if low > high:
            raise SpecError(f"must go from the smaller to the larger value, but is '{words}'")
        return Limit(text=words, low=low, high=high, open=False)
    value = _finite(words.removeprefix(word).strip(), dimension, gamma)
    low = value if word in ("at least", "above", "exactly") else float("-inf")
    high = value if word in ("", "at most", "below", "exactly") else float("inf")
    return Limit(text=words if word else f"at most {words}", low=low, high=high, open=word in ("below", "above"))


def _finite(text: str, dimension: Dimension, gamma: float) -> float:
    value = parse(text, dimension, gamma)
    if not math.isfinite(value):
        raise SpecError(Problem(f"must be a finite value, but is '{text}'", "Leave out a limit that limits nothing"))
    return value


def check_limits(
    limits: Any, found: Mapping[str, Measure], gamma: float, source: Source | None, path: KeyPath = ("limits",)
) -> tuple[Message, ...]:
    """Limits of a file that a sequence breaks; several values of one quantity are one message, of the worst.

    Args:
        limits: The part of the file: name of a quantity to text, or to a list of texts, one for each value.
        found: What the sequence is.
        gamma: Gyromagnetic ratio over 2 pi [Hz/T].
        source: The file, for places.
        path: Of `limits` in the file.

    Raises:
        SpecError: limits that are none, or more of them than values; all at once.
    """
    parsed = parse_limits(limits, gamma, source, path)
    _refuse_more_limits_than_values(parsed, found, source or Source(file="", data={}), path)
    return tuple(
        located(message, source, (*path, name))
        for name, bounds in parsed.items()
        for message in _broken(name, bounds, found.get(name))
    )


def _refuse_more_limits_than_values(
    parsed: Mapping[str, list[Limit]], found: Mapping[str, Measure], at: Source, path: KeyPath
) -> None:
    problems = []
    for name, bounds in parsed.items():
        values = found[name].values if name in found else ()
        if len(values) < len(bounds) > 1 and values:
            there = f"there {'is' if len(values) == 1 else 'are'} {len(values)}"
            rule = f"must have one limit for all values, or at most one for each, but has {len(bounds)} where {there}"
            shown = ", ".join(found[name].show(value) for value in values)
            problems.append(at.problem((*path, name), rule, f"Values: {shown}"))
    if problems:
        raise SpecError(problems)


def parse_limits(limits: Any, gamma: float, source: Source | None, path: KeyPath) -> dict[str, list[Limit]]:
    """Limits of a file by name of the quantity; see `check_limits`."""
    problems: list[Problem] = []
    parsed: dict[str, list[Limit]] = {}
    at = source or Source(file="", data={})
    for name, texts in (limits or {}).items():
        if name not in QUANTITIES:
            rule = f"must be a quantity that can have a limit, but '{name}' is none"
            problems.append(at.problem((*path, name), rule, did_you_mean(name, QUANTITIES), at_key=True))
            continue
        try:
            several = texts if isinstance(texts, list) else [texts]
            parsed[name] = [parse_limit(text, QUANTITIES[name], gamma) for text in several]
        except SpecError as error:
            problems += [at.problem((*path, name), problem.rule, problem.remedy) for problem in error.problems]
    if problems:
        raise SpecError(problems)
    return parsed


def _broken(name: str, bounds: list[Limit], measure: Measure | None) -> Iterator[Message]:
    if measure is None or not measure.values:
        yield Message(
            id=f"limit/{name}", severity="warning", what=name, allowed=f"be {bounds[0].text}", found="not known",
            remedy="Add a recon part, or leave the limit out",
        )  # fmt: skip
        return
    pairs = (
        [(bounds[0], value) for value in measure.values]
        if len(bounds) == 1
        else list(zip(bounds, measure.values, strict=False))
    )
    wrong = [(bound, value) for bound, value in pairs if not bound.holds(value)]
    if wrong:
        bound, value = max(wrong, key=lambda pair: _excess(*pair))
        yield Message(
            id=f"limit/{name}", severity="error", what=name, allowed=f"be {bound.text}", found=measure.show(value),
            count=len(wrong),
        )  # fmt: skip


def _excess(bound: Limit, value: float) -> float:
    return max(bound.low - value, value - bound.high)
