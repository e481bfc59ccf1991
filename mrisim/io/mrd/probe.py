"""Whether a HDF5 file can be read at all, found out in a process that may be lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mrisim.errors import Problem, ResourceError

SECONDS = 3  # of processor time for a small file
RATE = 20e6  # bytes that a second suffices for, beyond
WAIT = 60  # as long again for a machine that is busy [s]
MEMORY = 2**31  # bytes of address space, beyond four times the file


def probe(path: Path) -> None:
    """Read a file in another process, with bounds on time and memory.

    Raises:
        ResourceError: it is no HDF5 file, or cannot be read within the bounds.
    """
    with path.open("rb") as file:
        signature = file.read(8)
    if signature != b"\x89HDF\r\n\x1a\n":
        raise _broken(path, "must be a HDF5 file, but is not")
    if not sys.executable:
        return
    size = path.stat().st_size
    seconds = SECONDS + int(size / RATE)
    command = [
        sys.executable,
        str(Path(__file__).with_name("child.py")),
        str(path),
        str(seconds),
        str(MEMORY + 4 * size),
    ]
    try:
        done = subprocess.run(command, capture_output=True, timeout=WAIT + 10 * seconds, check=False)
    except subprocess.TimeoutExpired:
        raise _broken(path, "must be a sound HDF5 file, but reading it does not end") from None
    except OSError:
        return  # no process to be had: the reader's own checks remain
    if done.returncode < 0:
        raise _broken(path, "must be a sound HDF5 file, but reading it does not end well")
    if done.returncode:
        reason = (done.stderr.decode(errors="replace").strip().splitlines() or [""])[-1].strip("'\" .")[:200]
        raise _broken(path, f"must be a complete HDF5 file, but cannot be read ({reason})")


def _broken(path: Path, rule: str) -> ResourceError:
    return ResourceError(Problem(rule, "Get the file again", path="HDF5", file=str(path)))
