"""Commands that judge files: check."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mrisim.cli.exits import VIOLATIONS, exits
from mrisim.cli.options import (
    SetOption,
    StrictOption,
    SystemOption,
    UseOption,
    assignments,
    reading,
    refuse_with_protocol,
)

if TYPE_CHECKING:
    from mrisim.checking import Coil, Message

MAX_SHOWN = 20  # messages of a file


class Format(StrEnum):
    """How messages are written."""

    text = "text"
    json = "json"
    sarif = "sarif"


@exits
def check(
    names: Annotated[list[str], typer.Argument(help="Files or names in the library.")],
    set_: SetOption = None,
    system: SystemOption = None,
    use: UseOption = None,
    strict: StrictOption = False,
    coil: Annotated[
        str | None, typer.Option(help="Gradient coil for nerve stimulation and tones: example_coil, or a .yaml file.")
    ] = None,
    phantom: Annotated[
        str | None, typer.Option(help="Judge the isochromats that a run with this phantom would take.")
    ] = None,
    isochromats: Annotated[int | None, typer.Option(min=1, help="Per voxel of that run.")] = None,
    format_: Annotated[Format, typer.Option("--format", help="Sarif is what editors and code review show.")] = (
        Format.text
    ),
) -> None:
    """Check files: grammar, scanner's limits, timing, k-space, safety, limits of their own. Exit code 1 on errors."""
    from mrisim.checking import load_coil
    from mrisim.errors import Problem, SpecError

    if isochromats is not None and phantom is None:
        raise SpecError(Problem("must come with --phantom, but comes alone", path="--isochromats"))
    body = load_coil(coil) if coil is not None else None
    given, parameters = reading(system, use, strict), assignments(set_ or [])
    found: list[Message] = []
    for name in names:
        messages = list(_messages(name, parameters, given, body, quiet=format_ != Format.text))
        if phantom is not None:
            messages += _density(name, {**given, **parameters}, phantom, isochromats)
        found += messages
        if format_ == Format.text:
            _print(name, messages)
    if format_ != Format.text:
        _write(found, format_)
    if any(message.severity == "error" for message in found):
        raise typer.Exit(VIOLATIONS)


def _print(name: str, messages: list[Message]) -> None:
    """Messages of a file, those at one line below each other."""
    kinds = ("error", "warning", "note")
    counts = [(kind, sum(message.severity == kind for message in messages)) for kind in kinds]
    text = ", ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in counts if count)
    typer.echo(f"{name}: {text or 'fine'}")
    for message in messages[:MAX_SHOWN]:
        place = f"{message.place}: " if message.place else ""
        typer.echo(f"  {place}{message.severity} [{message.id}] {message}")
    if len(messages) > MAX_SHOWN:
        typer.echo(f"  and {len(messages) - MAX_SHOWN} more")


def _write(messages: list[Message], kind: Format) -> None:
    from mrisim import __version__
    from mrisim.checking.output import to_json, to_sarif

    typer.echo(to_json(messages) if kind == Format.json else to_sarif(messages, __version__))


def _messages(
    name: str, parameters: dict[str, Any], given: dict[str, Any], coil: Coil | None, *, quiet: bool
) -> Iterator[Message]:
    """What is wrong with a file that its grammar allows; phantoms have their grammar only."""
    from mrisim.pipeline.kinds import kind_of

    kind = kind_of(name)
    if kind == "phantom":
        from mrisim.io.phantoms import load_model

        load_model(name, **parameters)
    elif kind == "sequence":
        yield from _sequence(name, parameters, given, coil, quiet=quiet)
    else:
        refuse_with_protocol(list(parameters), None)
        yield from _protocol(name, coil)


def _sequence(
    name: str, parameters: dict[str, Any], given: dict[str, Any], coil: Coil | None, *, quiet: bool
) -> Iterator[Message]:
    from dataclasses import replace

    from mrisim.checking import check_sequence
    from mrisim.io.sequences import is_pulseq, load_sequence, load_system
    from mrisim.pipeline.fits import refuse_wrong_fits
    from mrisim.sequence.files import load_source

    source = None if is_pulseq(name) else load_source(name)
    if source is not None and given.keys() == {"system"}:
        sequence = replace(load_sequence(name, **parameters), system=load_system(given["system"]))
    else:
        sequence = load_sequence(name, **given, **parameters)
        refuse_wrong_fits(None, [sequence])
        for finding in () if quiet else sequence.findings:
            typer.echo(f"note: {finding}")
    for message in check_sequence(sequence, source, coil):
        yield message if message.file else replace(message, file=name)


def _density(name: str, given: dict[str, Any], phantom: str, isochromats: int | None) -> Iterator[Message]:
    """Whether the isochromats of a run are dense enough for what gradients and pulses do."""
    from mrisim.checking import Message
    from mrisim.errors import Problem, SpecError
    from mrisim.io.sequences import load_sequence
    from mrisim.pipeline.kinds import kind_of
    from mrisim.pipeline.phantoms import PhantomSource
    from mrisim.simulate.density import ALLOWED

    if kind_of(name) != "sequence":
        raise SpecError(Problem("must be left out for what is no sequence, but is given", path="--phantom"))
    density = PhantomSource.of(phantom, {}).judge(load_sequence(name, **given), isochromats)
    if density is None or density.error <= ALLOWED:
        return
    enough = f"at least {density.enough}" if density.enough else "more than any number that was tried"
    yield Message(
        id="density/isochromats", severity="warning", what=f"isochromats per voxel of {phantom}",
        allowed=f"be {enough} for spurious echoes below {ALLOWED:.0%}".replace("%", " %"), file=name,
        found=f"{density.isochromats}, which leaves {density.error:.0%}".replace("%", " %"),
        remedy=f"Run with --isochromats {density.enough}" if density.enough else "Run with --spoiling ideal",
    )  # fmt: skip


def _protocol(name: str, coil: Coil | None) -> Iterator[Message]:
    """Messages of all runs of all scans, under the limits of the protocol and of the scan beside those of the file."""
    from dataclasses import replace

    from mrisim.checking import check_limits, check_sequence, grouped, measure
    from mrisim.pipeline.fits import refuse_wrong_fits
    from mrisim.pipeline.kinds import protocol_sequences
    from mrisim.protocol import load_protocol
    from mrisim.sequence.files import load_source

    protocol = load_protocol(name)
    refuse_wrong_fits(protocol, [])
    files = {scan.name: scan.sequence for scan in protocol.scans}
    data = protocol.source.data if protocol.source is not None else {}
    found: list[Message] = []
    for scan, sequence in protocol_sequences(name):
        source = load_source(files[scan]) if not files[scan].endswith(".seq") else None
        messages = list(check_sequence(sequence, source, coil))
        gamma, own = sequence.system.gamma, data["scans"][scan].get("limits")
        for limits, path in ((data.get("limits"), ("limits",)), (own, ("scans", scan, "limits"))):
            if limits:
                messages += check_limits(limits, measure(sequence, coil), gamma, protocol.source, path)
        found += [replace(message, scan=scan) for message in messages]
    yield from grouped(found)


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command()(check)
