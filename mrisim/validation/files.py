"""A validation as files: JUnit XML for continuous integration, JSON, an HTML page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from mrisim.report import Page, Picture, Section, Table, Text, render
from mrisim.units import show
from mrisim.validation.curves import Values, curve_key, others
from mrisim.validation.records import Outcome, Point, Validation
from mrisim.validation.tables import failures, number, outside, summary, titles_of


def write_junit(validation: Validation, path: str | Path) -> Path:
    """JUnit XML: a suite per file, a case per expectation and engine.

    Source:
        Format as read by Jenkins, GitHub and GitLab; schema: junit-10.xsd of Jenkins' xUnit plugin.
    """
    outcomes = validation.outcomes
    root = ElementTree.Element("testsuites", _counts(list(outcomes)) | {"name": "mrisim validate"})
    for file, group in groupby(outcomes, key=lambda outcome: outcome.file):
        members = list(group)
        suite = ElementTree.SubElement(root, "testsuite", _counts(members) | {"name": file, "file": file})
        for outcome in members:
            name = f"{outcome.name} [{outcome.engine}]"
            attributes = {"name": name, "classname": outcome.sequence}
            case = ElementTree.SubElement(suite, "testcase", attributes | {"time": f"{outcome.seconds:.3f}"})
            if not outcome.passed:
                message = f"{outside(outcome)} of {len(outcome.points)} points outside {outcome.tolerance}"
                failure = ElementTree.SubElement(case, "failure", {"message": message, "type": "outside"})
                failure.text = "\n".join(_lines(outcome))
    ElementTree.indent(root)
    return _write(path, ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n")


def _counts(outcomes: list[Outcome]) -> dict[str, str]:
    failed = sum(not outcome.passed for outcome in outcomes)
    seconds = sum(outcome.seconds for outcome in outcomes)
    return {"tests": str(len(outcomes)), "failures": str(failed), "errors": "0", "time": f"{seconds:.3f}"}


def _lines(outcome: Outcome) -> Iterator[str]:
    """Points outside, as text."""
    for at, simulated, expected, deviation in failures(outcome).rows:
        yield f"{at}: must be {expected}, but is {simulated} ({deviation})"


def write_json(validation: Validation, path: str | Path) -> Path:
    """Everything, as JSON; values in SI, signals as [real, imaginary]."""
    found = {
        "passed": validation.passed,
        "outcomes": [_record(outcome) for outcome in validation.outcomes],
        "without_expectations": list(validation.empty),
    }
    return _write(path, json.dumps(found, indent=2, ensure_ascii=False) + "\n")


def _record(outcome: Outcome) -> dict[str, Any]:
    plain = {
        key: getattr(outcome, key)
        for key in ("file", "sequence", "name", "engine", "signal", "equals", "tolerance", "passed", "seconds")
    }
    return plain | {"findings": [str(f) for f in outcome.findings], "points": [_point(p) for p in outcome.points]}


def _point(point: Point) -> dict[str, Any]:
    return {
        "values": {name: value for name, (value, _) in point.values.items()},
        "simulated": [point.simulated.real, point.simulated.imag],
        "expected": [point.expected.real, point.expected.imag],
        "deviation": point.deviation,
        "allowed": point.allowed,
        "passed": point.passed,
    }


def write_html(validation: Validation, path: str | Path) -> Path:
    """A page with the table, and points over the closed form for each expectation."""
    return _write(path, render(page(validation)))


def page(validation: Validation) -> Page:
    """The page of a validation."""
    titles = titles_of(validation)
    points = sum(len(outcome.points) for outcome in validation.outcomes)
    result = "all within tolerance" if validation.passed else "points outside"
    facts = (
        ("result", result),
        ("expectations", str(len({(o.file, o.name) for o in validation.outcomes}))),
        ("points", str(points)),
    )
    sections = [Section(title="Summary", content=(summary(validation),))]
    sections += [
        Section(title=f"{titles[file]}: {name}", content=_content(list(group)))
        for (file, name), group in groupby(validation.outcomes, key=lambda o: (o.file, o.name))
    ]
    return Page(
        title="Sequences against closed forms", subtitle="mrisim validate", facts=facts, sections=tuple(sections)
    )


def _content(outcomes: list[Outcome]) -> tuple[Table | Picture | Text, ...]:
    first = outcomes[0]
    content: list[Table | Picture | Text] = [Text(text=f"{first.signal}  =  {first.equals}", code=True)]
    if first.swept:
        figure = picture(outcomes)
        caption = f"Simulated points over the closed form, and their difference. Allowed: {first.tolerance}."
        content.append(Picture(png=figure, caption=caption, wide=True))
    else:
        head = ("engine", "simulated", "closed form")
        rows = [(o.engine, number(o.worst.simulated), number(o.worst.expected)) for o in outcomes]
        content.append(Table(head=head, rows=tuple(rows), right=head[1:]))
    content += [Text(title=o.engine, text=str(finding)) for o in outcomes for finding in o.findings]
    content += [failures(outcome) for outcome in outcomes if not outcome.passed]
    return tuple(content)


def picture(outcomes: list[Outcome]) -> bytes:
    """PNG of the points of all engines over the closed form of an expectation that sweeps a value."""
    from mrisim import plot

    first = outcomes[0]
    labels = {curve_key(curve.values): _label(curve.values, first) for curve in first.curves}
    curves = [plot.Drawn(label=labels[curve_key(c.values)], x=c.x, y=c.y) for c in first.curves]
    points = [
        plot.Compared(
            engine=outcome.engine, label=label,
            x=[p.values[first.swept][0] for p in group], simulated=[p.simulated for p in group],
            expected=[p.expected for p in group], allowed=[p.allowed for p in group],
        )
        for outcome in outcomes
        for key, label in labels.items()
        if (group := [p for p in outcome.points if curve_key(others(p, first.swept)) == key])
    ]  # fmt: skip
    dimension = first.points[0].values[first.swept][1]
    return plot.png(plot.expectation(points, curves, name=first.swept, dimension=dimension))


def _label(values: Values, outcome: Outcome) -> str:
    """What is fixed along a curve and differs from curve to curve."""
    varied = [n for n in values if len({p.values[n][0] for p in outcome.points}) > 1]
    return ", ".join(f"{name} {show(*values[name])}" for name in varied)


def _write(path: str | Path, text: str) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
