"""Commands that hold sequences against closed forms, and that show that this can fail: validate, mutate."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mrisim.cli.exits import VIOLATIONS, exits
from mrisim.cli.output import print_table
from mrisim.errors import Problem, ResourceError, SpecError

if TYPE_CHECKING:
    from mrisim.validation import Validation


class Engines(StrEnum):
    """Engines to validate on."""

    bloch = "bloch"
    epg = "epg"
    all = "all"


@exits
def validate(
    names: Annotated[list[str] | None, typer.Argument(help="Files or names in the library.")] = None,
    engine: Annotated[Engines, typer.Option(help="Of those that an expectation names, all or one.")] = Engines.all,
    library: Annotated[bool, typer.Option("--library", help="All sequences of the library.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML for continuous integration.")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write every point as JSON.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page: points over closed forms.")] = None,
) -> None:
    """Hold sequences against the closed forms in their files. Exit code 1 where a point falls outside."""
    files = _files(names or [], library)
    for path in (junit, json, html):
        _require_place(path)
    from mrisim.validation import validate as run

    validation = run(files, engine=engine.value)
    _print(validation)
    _write(validation, junit, json, html)
    if not validation.passed:
        raise typer.Exit(VIOLATIONS)


def _files(names: list[str], library: bool) -> list[str]:
    if library == bool(names):
        rule = "must be given, or --library" if not library else "must be left out with --library, but is given"
        raise SpecError(Problem(rule, "Write mrisim validate my_sequence.yaml", path="FILE"))
    if not library:
        return names
    from mrisim.sequence import list_sequences

    return [name for name, _, _ in list_sequences()]


def _print(validation: Validation) -> None:
    from mrisim.validation.tables import failures, summary, titles_of

    titles = titles_of(validation)
    if validation.outcomes:
        print_table(summary(validation))
    for outcome in validation.outcomes:
        if not outcome.passed:
            typer.echo(
                f"{titles[outcome.file]}: {outcome.name} [{outcome.engine}]: {outcome.signal} = {outcome.equals}"
            )
            print_table(failures(outcome))
    for text in dict.fromkeys(str(finding) for outcome in validation.outcomes for finding in outcome.findings):
        typer.echo(f"note: {text}")
    for file in validation.empty:
        typer.echo(f"note: {file} states nothing to validate: add 'expect', see docs/validation.md")


def _require_place(path: Path | None) -> None:
    """Whether a file can be written, before anything is simulated; its folder is made."""
    from mrisim.pipeline.output import writable_folder

    if path is None:
        return
    if path.is_dir():
        raise ResourceError(Problem("must be a file, but is a folder", "Add the name of a file", file=str(path)))
    writable_folder(path.parent)


def _write(validation: Validation, junit: Path | None, json: Path | None, html: Path | None) -> None:
    from mrisim.validation import files

    writers = ((junit, files.write_junit), (json, files.write_json), (html, files.write_html))
    for path, write in writers:
        if path is not None:
            typer.echo(f"wrote {write(validation, path)}")


@exits
def mutate(
    names: Annotated[list[str] | None, typer.Argument(help="Which faults; all where none is named.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes at a time.")] = None,
    write: Annotated[Path | None, typer.Option(help="Put the table into a page, between its marks.")] = None,
) -> None:
    """Put faults into simulator and sequences, one at a time: validation must find each. Exit code 1 where not."""
    from mrisim.validation.mutants import Verdict, run_mutants, write_table

    def say(verdict: Verdict) -> None:
        state = "found" if verdict.red else "NOT FOUND"
        typer.echo(f"{state}: {verdict.mutant.fault}: {verdict.detail} ({verdict.seconds:.0f} s)")

    verdicts = run_mutants(names or [], workers=workers, progress=say)
    found = sum(verdict.red for verdict in verdicts)
    typer.echo(f"{found} of {len(verdicts)} faults found")
    if write is not None:
        write_table(verdicts, write)
        typer.echo(f"wrote {write}")
    if found < len(verdicts):
        raise typer.Exit(VIOLATIONS)


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    for command in (validate, mutate):
        app.command()(command)
