"""Which kind of specification a name or file is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from mrisim.errors import Problem, SpecError
from mrisim.events.blocks import Sequence
from mrisim.io.phantoms import is_foreign
from mrisim.io.sequences import is_pulseq, load_sequence
from mrisim.paths import KINDS, library_files
from mrisim.protocol import load_protocol
from mrisim.source import did_you_mean, read_source

Kind = Literal["sequence", "phantom", "protocol"]


def kind_of(name_or_path: str | Path) -> Kind:
    """Kind of a specification: by the library that has the name, or by the file's keys.

    Raises:
        SpecError: neither a name in the library nor a file that can be read.

    Example:
        >>> kind_of("brain_demo"), kind_of("brain"), kind_of("t2_tse")
        ('protocol', 'phantom', 'sequence')
    """
    path = Path(name_or_path)
    if is_pulseq(path):
        return "sequence"
    if is_foreign(path):
        return "phantom"
    if path.suffix in (".yaml", ".yml"):
        data = read_source(path).data
        keys = data.keys() if isinstance(data, dict) else ()
        return "protocol" if "scans" in keys or "protocol" in keys else "phantom" if "phantom" in keys else "sequence"
    kinds: tuple[Kind, ...] = ("protocol", "sequence", "phantom")
    for kind in kinds:
        if str(name_or_path) in library_files(f"{kind}s"):
            return kind
    known = [name for folder in KINDS for name in library_files(folder)]
    rule = f"must be a name in the library or a .yaml or .seq file, but is '{name_or_path}'"
    raise SpecError(Problem(rule, did_you_mean(str(name_or_path), known) or "See mrisim list"))


def protocol_sequences(name_or_path: str | Path) -> Iterator[tuple[str, Sequence]]:
    """Name of the scan and sequence of every run of a protocol."""
    for scan in load_protocol(name_or_path).scans:
        for run in scan.runs:
            yield scan.name, load_sequence(scan.sequence, **dict(run))
