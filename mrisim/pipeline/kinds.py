"""Which kind of specification a name or file is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from mrisim.events.blocks import Sequence
from mrisim.paths import library_files
from mrisim.protocol import load_protocol
from mrisim.sequence import load_sequence
from mrisim.source import read_source


def kind_of(name_or_path: str | Path) -> Literal["sequence", "phantom", "protocol"]:
    """Kind of a specification: by the library that has the name, else by the file's keys; a sequence otherwise.

    Example:
        >>> kind_of("brain_demo"), kind_of("brain"), kind_of("t2_tse")
        ('protocol', 'phantom', 'sequence')
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        data = read_source(path).data
        keys = data.keys() if isinstance(data, dict) else ()
        return "protocol" if "scans" in keys or "protocol" in keys else "phantom" if "phantom" in keys else "sequence"
    if str(name_or_path) in library_files("protocols"):
        return "protocol"
    return "phantom" if str(name_or_path) in library_files("phantoms") else "sequence"


def protocol_sequences(name_or_path: str | Path) -> Iterator[tuple[str, Sequence]]:
    """Name of the scan and sequence of every run of a protocol."""
    for scan in load_protocol(name_or_path).scans:
        for run in scan.runs:
            yield scan.name, load_sequence(scan.sequence, **dict(run))
