"""What phantoms there are, without building any: listing them waits for no numerical library."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from mrisim.paths import library_files

_KEY = re.compile(r"^(phantom|description):[ \t]*(.*?)[ \t]*$", re.MULTILINE)


class PhantomInfo(NamedTuple):
    """An entry of the library."""

    name: str
    description: str
    path: Path


def list_phantoms() -> tuple[PhantomInfo, ...]:
    """Name, description and file of every phantom of the library.

    Example:
        >>> "brain" in [info.name for info in list_phantoms()]
        True
    """
    found = []
    for name, path in library_files("phantoms").items():
        keys = dict(_KEY.findall(path.read_text(encoding="utf-8")))
        if "phantom" in keys:  # the table of tissues is none
            found.append(PhantomInfo(name, keys.get("description", ""), path))
    return tuple(found)
