"""Commands for those who write sequences: new, format, diff."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from mrisim.cli.exits import VIOLATIONS, exits
from mrisim.cli.output import print_rows

HEAD = "# yaml-language-server: $schema=sequence.schema.json\n"
SCHEMA = "sequence.schema.json"


@exits
def new(
    name: Annotated[str, typer.Argument(help="Of the sequence, with the folder if not this one; makes NAME.yaml.")],
    base: Annotated[str, typer.Option("--from", help="Sequence of the library to start from.")] = "flash_2d",
) -> None:
    """Start a sequence: a commented file, and the schema that editors complete it with."""
    import json

    from mrisim.errors import Problem, SpecError
    from mrisim.sequence import json_schema
    from mrisim.sequence.files import find_file

    path = Path(f"{name.removesuffix('.yaml')}.yaml")
    schema, title = path.with_name(SCHEMA), path.stem
    if not re.fullmatch(r"[A-Za-z]\w*", title):
        rule = f"must be a name of letters, digits and _, after a folder if need be, but is '{name}'"
        raise SpecError(Problem(rule, "Write mrisim new mine, or mrisim new folder/mine", path="NAME"))
    if not path.parent.is_dir():
        rule = f"must be in a folder that exists, but {path.parent} does not"
        raise SpecError(Problem(rule, f"Make it first: mkdir -p {path.parent}", path="NAME"))
    if path.exists():
        raise SpecError(Problem(f"must not exist already, but {path} does", "Take another name", path="NAME"))
    text = find_file(base).read_text(encoding="utf-8")
    body = "\n".join(line for line in text.splitlines() if not line.startswith("# yaml-language-server"))
    body = re.sub(r"(?m)^name:.*$", f"name: {title}", body, count=1)
    start = (
        f"{HEAD}# Started from {base}. Look: mrisim show {path}. Check: mrisim check {path}. Run: mrisim run {path}\n"
    )
    path.write_text(start + body.strip("\n") + "\n", encoding="utf-8")
    typer.echo(f"wrote {path}")
    if not schema.exists():
        schema.write_text(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        typer.echo(f"wrote {schema}")


@exits
def format_(
    files: Annotated[list[Path], typer.Argument(help="YAML files of sequences, phantoms or protocols.")],
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 where a file would change.")
    ] = False,
) -> None:
    """Bring files into the house's layout; comments stay, and so does what the files say."""
    from mrisim.checking.layout import formatted
    from mrisim.source import read_source

    texts = {}
    for file in files:
        read_source(file)
        old = file.read_bytes().decode("utf-8-sig")
        texts[file] = (old, formatted(old, str(file)))
    changed = [file for file, (old, text) in texts.items() if old != text]
    for file in changed:
        if not check:
            file.write_text(texts[file][1], encoding="utf-8", newline="\n")
        typer.echo(f"{'would format' if check else 'formatted'} {file}")
    if check and changed:
        raise typer.Exit(VIOLATIONS)


@exits
def diff(
    first: Annotated[str, typer.Argument(help="Sequence: name in the library, .yaml or .seq file.")],
    second: Annotated[str, typer.Argument(help="The other one.")],
) -> None:
    """Show what differs between two sequences in time, gradients, k-space, contrast and safety."""
    from mrisim.checking.comparison import compare
    from mrisim.io.sequences import load_sequence

    changes = compare(load_sequence(first), load_sequence(second))
    if not changes:
        typer.echo("no difference in time, gradients, k-space, contrast or safety")
    rows = [(change.group, change.quantity, change.first, change.second) for change in changes]
    print_rows(("", "quantity", Path(first).stem, Path(second).stem), rows)


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command()(new)
    app.command("format")(format_)
    app.command()(diff)
