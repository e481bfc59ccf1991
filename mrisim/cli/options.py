"""Options and choices that several commands share, and the values of their texts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from mrisim.errors import Problem, SpecError


class Pulses(StrEnum):
    """How pulses act."""

    shaped = "shaped"
    ideal = "ideal"


class Spoiling(StrEnum):
    """How transverse magnetisation is spoiled."""

    gradient = "gradient"
    ideal = "ideal"


class Engine(StrEnum):
    """State that the simulation carries."""

    bloch = "bloch"
    epg = "epg"


class Precision(StrEnum):
    """Precision of the device."""

    float32 = "float32"
    float64 = "float64"


SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Set a parameter; repeatable.")
]
PhantomSetOption = Annotated[
    list[str] | None, typer.Option("--phantom-set", metavar="NAME=VALUE", help="Set one of the phantom; repeatable.")
]
StrictOption = Annotated[bool, typer.Option("--strict", help="Refuse what a .seq file may be forgiven.")]
SystemOption = Annotated[str | None, typer.Option("--system", help="Scanner of a .seq file: name or .yaml file.")]
UseOption = Annotated[
    list[str] | None,
    typer.Option("--use", metavar="USE=NUMBERS", help="What pulses of a .seq file are for: refocusing=2,5-9."),
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run into the same folder.")]
HostsOption = Annotated[
    str | None,
    typer.Option(
        metavar="auto|HOST:PORT/PROCESSES/RANK",
        help="Share the work among processes: as Slurm or MPI started them, or as told.",
    ),
]
OutOption = Annotated[Path | None, typer.Option("--out", help="Folder to write to.")]


def assignments(texts: Iterable[str], option: str = "--set") -> dict[str, Any]:
    """Parameters from texts such as "TE=96 ms" and "fov=[240 mm, 200 mm]".

    Raises:
        SpecError: a text without `=`, a name given twice, or a value that is no YAML value; all at once.

    Example:
        >>> assignments(["TE=96ms", "matrix=192"])
        {'TE': '96ms', 'matrix': '192'}
    """
    from mrisim.protocol import as_written
    from mrisim.source import parse_source

    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name.isidentifier() or not value.strip():
            such = "TE=96ms" if option == "--set" else "thickness=20mm"
            problems.append(Problem(f"must be NAME=VALUE, but is '{text}'", f"Write {option} {such}", path=option))
        elif name in values:
            problems.append(Problem(f"must be given once, but '{name}' is given twice", path=option))
        else:
            try:
                values[name] = as_written(parse_source(value, file=option).data)
            except SpecError as error:
                problems += [
                    Problem(problem.rule, problem.remedy, path=f"{option} {name}") for problem in error.problems
                ]
    if problems:
        raise SpecError(problems)
    return values


def reading(system: str | None, use: list[str] | None, strict: bool) -> dict[str, Any]:
    """How a .seq file is read, as far as the user says: arguments of `load_sequence`.

    Raises:
        SpecError: a text that is not USE=NUMBERS.

    Example:
        >>> reading(None, ["refocusing=2,5-6"], strict=False)
        {'use': {'refocusing': [2, 5, 6]}}
    """
    uses: dict[str, list[int]] = {}
    for text in use or []:
        name, equals, numbers = text.partition("=")
        if not equals or not re.fullmatch(r"\d{1,9}(-\d{1,9})?(,\d{1,9}(-\d{1,9})?)*", numbers):
            raise SpecError(Problem(f"must be USE=NUMBERS, but is '{text}'", "Write --use refocusing=2,5-9", "--use"))
        for part in numbers.split(","):
            first, _, last = part.partition("-")
            if int(last or first) - int(first) > 1_000_000:
                raise SpecError(Problem(f"must name at most a million pulses, but is '{part}'", path="--use"))
            uses.setdefault(name, []).extend(range(int(first), int(last or first) + 1))
    given = {"system": system, "use": uses, "strict": strict}
    return {name: value for name, value in given.items() if value}


def lengths(text: str, path: str, count: int) -> tuple[float, ...]:
    """Lengths [m] from a text such as "240 mm, 200 mm, 5 mm", given by the option `path`.

    Raises:
        SpecError: another number of lengths, or what is no length.

    Example:
        >>> lengths("240 mm, 200 mm, 5 mm", "--fov", 3)
        (0.24, 0.2, 0.005)
    """
    from mrisim.units import LENGTH, parse

    parts = [part.strip() for part in text.split(",")]
    if len(parts) != count:
        rule = f"must be {count} lengths, but is '{text}'"
        raise SpecError(Problem(rule, "Write '240 mm, 200 mm, 5 mm'", path=path))
    return tuple(float(parse(part, LENGTH)) for part in parts)


def refuse_with_protocol(set_: list[str] | None, out: Path | None) -> None:
    """Refuse options that a protocol has no use for.

    Raises:
        SpecError: `--set` or `--out` is given.
    """
    given = "--set" if set_ else "--out" if out is not None else ""
    if given:
        raise SpecError(
            Problem("must be left out for a protocol, but is given", "Name one of its sequences", path=given)
        )
