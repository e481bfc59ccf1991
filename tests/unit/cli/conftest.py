"""The command line, run in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from mrisim.cli import app


@pytest.fixture
def mrisim() -> Callable[..., Result]:
    """Run `mrisim` with arguments."""
    runner = CliRunner(env={"COLUMNS": "120", "TERM": "dumb"})

    def invoke(*arguments: object) -> Result:
        return runner.invoke(app, [str(argument) for argument in arguments], prog_name="mrisim")

    return invoke
