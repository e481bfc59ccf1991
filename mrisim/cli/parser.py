"""The command `mrisim`: groups of commands, in the order in which `--help` lists them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from mrisim.cli import authoring, checks, files, library, runs, validation

GROUPS = (library, runs, files, authoring, checks, validation)

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mrisim"
_COMPILE_CACHE = {
    "JAX_COMPILATION_CACHE_DIR": str(_CACHE / "xla"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
}  # what was compiled once is there for the next process; the user's own setting wins

app = typer.Typer(
    name="mrisim",
    help="MRI simulator: YAML sequence and phantom in; k-space, images, maps and a report out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _group in GROUPS:
    _group.register(app)


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from mrisim import __version__

        typer.echo(f"mrisim {__version__}")
        raise typer.Exit
    for name, value in _COMPILE_CACHE.items():
        os.environ.setdefault(name, value)


def main() -> None:
    """Entry point of the command `mrisim`."""
    app()
