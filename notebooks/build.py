"""Notebooks: percent-format sources → executed .ipynb beside them.

    python notebooks/build.py            all of them
    python notebooks/build.py 01 07      those whose names begin so

A cell shows its last expression, and figures of pyplot that it leaves open, as Jupyter does. The source is what one
edits; `tests/notebooks` executes it and holds the .ipynb against it.
"""

from __future__ import annotations

import ast
import base64
import io
import json
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
MARK, TEXT_MARK = "# %%", "# %% [markdown]"
DPI = 90  # of the pictures in an .ipynb


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of text or of code, and the line of the source at which its content begins, from 1."""

    kind: str  # "markdown" or "code"
    source: str
    line: int


def sources() -> list[Path]:
    """Percent-format sources, in order of their numbers."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.py"))


def cells_of(text: str) -> list[Cell]:
    """Cells of a percent-format source.

    Example:
        >>> [cell.kind for cell in cells_of("# %% [markdown]\\n# A question\\n# %%\\n1 + 1\\n")]
        ['markdown', 'code']
    """
    cells: list[Cell] = []
    lines = text.splitlines()
    starts = [row for row, line in enumerate(lines) if line.startswith(MARK)]
    for start, stop in zip(starts, [*starts[1:], len(lines)], strict=True):
        kind = "markdown" if lines[start].startswith(TEXT_MARK) else "code"
        body = lines[start + 1 : stop]
        if kind == "markdown":
            body = [line.removeprefix("#").removeprefix(" ") for line in body]
        cells.append(Cell(kind=kind, source="\n".join(body).strip("\n"), line=start + 2))
    return cells


def execute(path: Path) -> list[list[dict[str, Any]]]:
    """Run all code cells of a source in one namespace; what each cell shows, in nbformat's terms, empty for text."""
    import matplotlib

    matplotlib.use("agg")
    if str(FOLDER) not in sys.path:
        sys.path.insert(0, str(FOLDER))
    names: dict[str, Any] = {"__name__": "__main__"}
    return [_run(cell, names, path) if cell.kind == "code" else [] for cell in cells_of(path.read_text("utf-8"))]


def _run(cell: Cell, names: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    tree = ast.parse("\n" * (cell.line - 1) + cell.source)
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr) and not cell.source.rstrip().endswith(";"):
        last = ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(tree, str(path), "exec"), names)
        value = eval(compile(last, str(path), "eval"), names) if last is not None else None
    shown = [{"output_type": "stream", "name": "stdout", "text": printed.getvalue()}] if printed.getvalue() else []
    return [*shown, *_displayed(value)]


def _displayed(value: Any) -> Iterator[dict[str, Any]]:
    from matplotlib import pyplot as plt
    from matplotlib.figure import Figure

    for number in plt.get_fignums():
        yield _picture(plt.figure(number))
    plt.close("all")
    if isinstance(value, Figure):
        yield _picture(value)
    elif value is not None:
        data = {"text/plain": repr(value)}
        yield {"output_type": "display_data", "data": data, "metadata": {}}


def _picture(figure: Any) -> dict[str, Any]:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, bbox_inches="tight", metadata={"Software": None})
    data = {"image/png": base64.b64encode(buffer.getvalue()).decode()}
    return {"output_type": "display_data", "data": data, "metadata": {}}


def notebook(cells: list[Cell], outputs: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """The notebook as nbformat 4.4 writes it."""
    rows: list[dict[str, Any]] = []
    for cell, shown in zip(cells, outputs, strict=True):
        row: dict[str, Any] = {"cell_type": cell.kind, "metadata": {}, "source": cell.source.splitlines(keepends=True)}
        if cell.kind == "code":
            row |= {"execution_count": None, "outputs": shown}
        rows.append(row)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": rows, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 4}


def build(path: Path) -> float:
    """Execute a source and write its .ipynb; seconds that the execution took."""
    start = time.perf_counter()
    outputs = execute(path)
    seconds = time.perf_counter() - start
    made = notebook(cells_of(path.read_text("utf-8")), outputs)
    path.with_suffix(".ipynb").write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return seconds


def main(names: list[str]) -> int:
    chosen = [path for path in sources() if not names or path.name.startswith(tuple(names))]
    failed = 0
    for path in chosen:
        try:
            print(f"{path.stem}: {build(path):.1f} s", flush=True)
        except Exception:
            traceback.print_exc()
            failed += 1
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
