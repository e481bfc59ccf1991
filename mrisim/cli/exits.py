"""Exit codes, and typed errors as their message."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import typer

from mrisim.errors import MrisimError

VIOLATIONS, BAD_INPUT, INTERRUPTED = 1, 2, 130

_F = TypeVar("_F", bound=Callable[..., Any])


def exits(command: _F) -> _F:
    """Turn typed errors into their message and exit code."""

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except MrisimError as error:
            for line in str(error).splitlines():
                typer.echo(f"error: {line}", err=True)
            if kwargs.get("hosts"):
                leave_hosts(BAD_INPUT)
            raise typer.Exit(BAD_INPUT) from None
        except BrokenPipeError:
            raise  # the reader has seen enough: `mrisim list | head`
        except OSError as error:
            reason = error.strerror or str(error)
            typer.echo(
                f"error: {error.filename or 'output'}: must be readable and writable, but is not: {reason}", err=True
            )
            raise typer.Exit(BAD_INPUT) from None
        except KeyboardInterrupt:
            resumable = command.__name__ in ("run", "demo")
            typer.echo(f"interrupted{'; --resume goes on from here' * resumable}", err=True)
            raise typer.Exit(INTERRUPTED) from None

    return wrapper  # type: ignore[return-value]


def leave_hosts(code: int) -> None:
    """End a process that shares its work: without waiting for peers that may be gone."""
    from mrisim.simulate.hosts import leave

    leave(code)
