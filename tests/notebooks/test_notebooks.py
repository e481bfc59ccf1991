"""Every notebook runs from top to bottom with its assertions, and its .ipynb is that of its source."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
_SPEC = importlib.util.spec_from_file_location("build", FOLDER / "build.py")
assert _SPEC is not None
assert _SPEC.loader is not None
build = importlib.util.module_from_spec(_SPEC)
sys.modules["build"] = build  # dataclasses look their module up
_SPEC.loader.exec_module(build)
SOURCES = build.sources()


@pytest.mark.slow
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_runs_from_top_to_bottom(path: Path) -> None:
    shown = build.execute(path)
    assert sum(len(outputs) for outputs in shown) >= 5  # pictures and numbers that a reader sees


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_generated_notebook_is_that_of_its_source(path: Path) -> None:
    cells = build.cells_of(path.read_text("utf-8"))
    made = json.loads(path.with_suffix(".ipynb").read_text("utf-8"))["cells"]
    assert [(cell.kind, cell.source) for cell in cells] == [(c["cell_type"], "".join(c["source"])) for c in made]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_begins_with_a_question_and_ends_with_exercises(path: Path) -> None:
    cells = build.cells_of(path.read_text("utf-8"))
    assert "**Question.**" in cells[0].source
    assert cells[-1].source.startswith("## Exercises")
    assert any("assert " in cell.source for cell in cells if cell.kind == "code")
