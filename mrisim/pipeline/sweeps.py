"""A sequence over a grid of parameters: every combination is a scan, and they end in one report."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mrisim.errors import Problem, SpecError
from mrisim.pipeline.kinds import kind_of
from mrisim.pipeline.records import Result
from mrisim.pipeline.run import DEFAULT_PHANTOM, run
from mrisim.protocol import Protocol, Scan

MOST = 256  # scans


def sweep(name_or_path: str | Path, grid: Mapping[str, Sequence[Any]], **options: Any) -> Result:
    """Run a sequence with every combination of some parameters.

    Scans that differ in numbers alone share their compilations and, where shape and duration of the pulses agree, the
    propagators of the phantom.

    Args:
        name_or_path: Sequence: name in the library, a .yaml or a .seq file.
        grid: Values of each parameter, SI or text with unit.
        options: As in `run`; `set` holds parameters that do not vary.

    Raises:
        SpecError: no sequence, nothing to vary, too many combinations, or as `run`.

    Example:
        >>> result = sweep("fid", {"flip": ["30 deg", "90 deg"]}, phantom="points")
        >>> list(result.scans)
        ['flip=30deg', 'flip=90deg']
    """
    if kind_of(name_or_path) != "sequence":
        raise SpecError(
            Problem(f"must be a sequence, but is '{name_or_path}'", "Use each: in a protocol", path="sweep")
        )
    empty = [name for name, values in grid.items() if len(values) == 0]
    count = 0 if empty or not grid else len(list(itertools.product(*grid.values())))
    if not 0 < count <= MOST:
        rule = f"must make 1 to {MOST} scans, but makes {count}"
        raise SpecError(Problem(rule, "Such as --grid TE=60ms,80ms,100ms", path="grid"))
    fixed = options.pop("set", None) or {}
    both = [Problem("must not be set and varied, but is both", path=name) for name in grid.keys() & fixed.keys()]
    if both:
        raise SpecError(both)
    scans = []
    for values in itertools.product(*grid.values()):
        varied = dict(zip(grid, values, strict=True))
        title = ",".join(f"{name}={_short(value)}" for name, value in varied.items())
        scans.append(Scan(name=title, sequence=str(name_or_path), runs=({**fixed, **varied},)))
    if len({scan.name for scan in scans}) < len(scans):
        raise SpecError(Problem("must hold each value once, but repeats one", path="grid"))
    title = f"{Path(name_or_path).stem} sweep"
    return run(Protocol(name=title, phantom=DEFAULT_PHANTOM, scans=tuple(scans)), **options)


def _short(value: Any) -> str:
    """A value as part of a file's name."""
    if isinstance(value, (list, tuple)):
        return "x".join(_short(v) for v in value)
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text.replace(" ", "").replace("/", "per").strip("[]").replace(",", "x")
