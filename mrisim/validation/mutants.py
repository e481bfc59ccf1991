"""Whether validation can fail: each mutant changes one place of the simulator or of a sequence in a process of its own.

The change is made in the text of a module as it is imported, or in a copy of the sequence's file; nothing on disk is
touched.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from mrisim.errors import ConsistencyError, Problem, SpecError
from mrisim.source import did_you_mean
from mrisim.validation.mutant_list import MUTANTS, Mutant

BEGIN, END = "<!-- mutants -->", "<!-- end of mutants -->"
_LIMIT = 300.0  # of one mutant [s]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What validation said of a mutant."""

    mutant: Mutant
    red: bool  # points fell outside
    detail: str  # the expectation that failed, or why there is none
    seconds: float


def run_mutants(
    names: Iterable[str] = (), *, workers: int | None = None, progress: Callable[[Verdict], None] | None = None
) -> tuple[Verdict, ...]:
    """Validate mutants, each in a process of its own.

    Args:
        names: Which; all where there are none.
        workers: Processes at a time; as many as there are cores where not given.
        progress: Called with each verdict.

    Raises:
        SpecError: an unknown name.
    """
    chosen = find_mutants(names)

    def one(mutant: Mutant) -> Verdict:
        verdict = _in_a_process(mutant)
        if progress is not None:
            progress(verdict)
        return verdict

    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        return tuple(pool.map(one, chosen))


def find_mutants(names: Iterable[str]) -> tuple[Mutant, ...]:
    """Mutants by name; all where there is no name.

    Raises:
        SpecError: an unknown name.

    Example:
        >>> [mutant.sequence for mutant in find_mutants(["b1-squared"])]
        ['fid']
    """
    known = {mutant.name: mutant for mutant in MUTANTS}
    names = list(names)
    problems = [
        Problem(f"must be a mutant, but '{name}' is none", did_you_mean(name, known))
        for name in names
        if name not in known
    ]
    if problems:
        raise SpecError(problems)
    return tuple(known[name] for name in names) if names else MUTANTS


def table(verdicts: Iterable[Verdict]) -> str:
    """Verdicts as a table in Markdown."""
    lines = ["| fault | where | validated with | found |", "| --- | --- | --- | --- |"]
    for verdict in verdicts:
        mutant = verdict.mutant
        where = f"`{mutant.module}`" if mutant.module else f"`{mutant.sequence}.yaml`"
        found = verdict.detail if verdict.red else f"**not found**: {verdict.detail}"
        lines.append(f"| {mutant.fault} | {where} | `{mutant.sequence}`, {mutant.engine} | {found} |")
    return "\n".join(lines)


def write_table(verdicts: Iterable[Verdict], path: str | Path) -> None:
    """Put the table into a page, between the marks that are there for it.

    Raises:
        ConsistencyError: the page has no such marks.
    """
    path = Path(path)
    text = path.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ConsistencyError(Problem(f"must hold '{BEGIN}' and '{END}' once each, but does not", file=str(path)))
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    path.write_text(f"{head}{BEGIN}\n{table(verdicts)}\n{END}{tail}", encoding="utf-8")


def _in_a_process(mutant: Mutant) -> Verdict:
    begin = time.perf_counter()
    command = [sys.executable, "-m", "mrisim.validation.mutants", mutant.name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT)
        said = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 and done.stdout else {}
        red, detail = (
            bool(said.get("red")),
            said.get("detail") or (done.stderr.strip().splitlines() or ["no answer"])[-1],
        )
    except subprocess.TimeoutExpired:
        red, detail = False, f"no answer within {_LIMIT:.0f} s"
    return Verdict(mutant=mutant, red=red, detail=detail, seconds=time.perf_counter() - begin)


def validate_mutant(mutant: Mutant) -> dict[str, Any]:
    """Validate a mutant in this process, which must not have imported the module that it changes."""
    if mutant.module:
        sys.meta_path.insert(0, _Changed(mutant))
    from mrisim.validation.run import validate

    with tempfile.TemporaryDirectory() as folder:
        file: str | Path = mutant.sequence
        if not mutant.module:
            file = Path(folder) / f"{mutant.sequence}.yaml"
            file.write_text(changed(sequence_text(mutant.sequence), mutant), encoding="utf-8")
        outcomes = validate(file, engine=mutant.engine).outcomes
    failed = [outcome for outcome in outcomes if not outcome.passed]
    if not failed:
        return {"red": False, "detail": f"{len(outcomes)} expectations hold"}
    worst = max(failed, key=lambda outcome: outcome.worst.deviation / outcome.worst.allowed)
    outside = sum(not point.passed for point in worst.points)
    times = worst.worst.deviation / worst.worst.allowed
    return {
        "red": True,
        "detail": f"{worst.name}: {outside} of {len(worst.points)} points, {times:.2g} × what is allowed",
    }


def sequence_text(name: str) -> str:
    """Text of a sequence of the library."""
    from mrisim.sequence.files import find_file

    return find_file(name).read_text(encoding="utf-8")


def changed(text: str, mutant: Mutant) -> str:
    """A text with the mutant's change.

    Raises:
        ConsistencyError: the text does not hold the place once.
    """
    if text.count(mutant.old) != 1:
        rule = f"must change one place, but {mutant.old!r} occurs {text.count(mutant.old)} times"
        raise ConsistencyError(Problem(rule, "Update mutant_list.py", path=mutant.name))
    return text.replace(mutant.old, mutant.new)


class _Changed(importlib.abc.MetaPathFinder):
    """Finds the module that a mutant changes, before all others do."""

    def __init__(self, mutant: Mutant):
        self.mutant = mutant

    def find_spec(
        self, name: str, path: Any, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self.mutant.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(name, spec.origin, self.mutant)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles the changed text of a module."""

    def __init__(self, name: str, path: str, mutant: Mutant):
        super().__init__(name, path)
        self.mutant = mutant

    def get_code(self, fullname: str) -> CodeType | None:
        text = Path(self.path).read_text(encoding="utf-8")
        return self.source_to_code(changed(text, self.mutant).encode(), self.path)


if __name__ == "__main__":
    (chosen,) = find_mutants(sys.argv[1:2])
    sys.stdout.write(json.dumps(validate_mutant(chosen)) + "\n")
