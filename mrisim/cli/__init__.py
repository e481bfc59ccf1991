"""Command line: arguments → pipeline, exit codes.

Exit codes: 0 fine · 1 `check` found violations · 2 bad input, with its message and nothing else · 130 interrupted.
Heavy imports stand inside the commands, so that `mrisim --help` answers at once. A group of commands is a module with
`register(app)`; `parser` puts the groups together.
"""

from mrisim.cli.parser import app, main

__all__ = ["app", "main"]
