"""Every notebook runs from top to bottom with its assertions, and its .ipynb is that of its source."""

from __future__ import annotations

import importlib.util
import json
import sys
import types
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


def test_sliders_redraw_and_are_left_out_where_there_are_none(monkeypatch) -> None:
    sys.path.insert(0, str(FOLDER))
    try:
        from knobs import slide
    finally:
        sys.path.remove(str(FOLDER))
    drawn: list[dict] = []
    made: dict[str, dict] = {}

    def interact(draw, **sliders) -> None:
        made.update(sliders)
        draw(**{name: slider["max"] for name, slider in sliders.items()})

    widgets = types.SimpleNamespace(FloatSlider=lambda **settings: settings, interact=interact)
    monkeypatch.setitem(sys.modules, "ipywidgets", widgets)
    assert slide(lambda **knobs: drawn.append(knobs), D=(0.0, 5.0, 1.0)) is None
    assert (made["D"]["min"], made["D"]["max"], made["D"]["value"]) == (0.0, 5.0, 1.0)
    assert drawn == [{"D": 5.0}]
    monkeypatch.setitem(sys.modules, "ipywidgets", None)  # as if it were not installed
    assert slide(lambda **knobs: knobs, D=(0.0, 5.0, 1.0)) == {"D": 1.0}
