"""Commands that judge files: check."""

from __future__ import annotations

from typing import Annotated, Any

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

MAX_SHOWN = 20  # violations of a file


@exits
def check(
    names: Annotated[list[str], typer.Argument(help="Files or names in the library.")],
    set_: SetOption = None,
    system: SystemOption = None,
    use: UseOption = None,
    strict: StrictOption = False,
) -> None:
    """Check files: grammar, timing, and the scanner's limits. Exit code 1 where a limit is broken."""
    broken = 0
    for name in names:
        violations = _violations(name, assignments(set_ or []), reading(system, use, strict))
        typer.echo(f"{name}: {'fine' if not violations else f'{len(violations)} violations'}")
        for violation in violations[:MAX_SHOWN]:
            typer.echo(f"  {violation}")
        if len(violations) > MAX_SHOWN:
            typer.echo(f"  and {len(violations) - MAX_SHOWN} more")
        broken += len(violations)
    if broken:
        raise typer.Exit(VIOLATIONS)


def _violations(name: str, parameters: dict[str, Any], given: dict[str, Any]) -> list[str]:
    """What is wrong with a file that its grammar allows; phantoms and protocols have their grammar only."""
    from mrisim.pipeline.kinds import kind_of

    kind = kind_of(name)
    if kind == "phantom":
        from mrisim.io.phantoms import load_model

        load_model(name, **parameters)
        return []
    from mrisim.io.sequences import is_pulseq, load_sequence, load_system
    from mrisim.pipeline.fits import refuse_wrong_fits

    if kind == "sequence" and not is_pulseq(name) and given.keys() == {"system"}:
        sequence, scanner = load_sequence(name, **parameters), load_system(given["system"])
        return [str(violation) for violation in sequence.check(scanner)]
    if kind == "sequence":
        sequence = load_sequence(name, **given, **parameters)
        refuse_wrong_fits(None, [sequence])
        for finding in sequence.findings:
            typer.echo(f"note: {finding}")
        return [str(violation) for violation in sequence.check()]
    from mrisim.pipeline.kinds import protocol_sequences
    from mrisim.protocol import load_protocol

    refuse_with_protocol(list(parameters), None)
    refuse_wrong_fits(load_protocol(name), [])
    found = []
    for scan, sequence in protocol_sequences(name):
        found += [f"{scan}: {violation}" for violation in sequence.check()]
    return list(dict.fromkeys(found))


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command()(check)
