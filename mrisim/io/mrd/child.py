"""Reads a HDF5 file in a process of its own and says nothing if that works; started by `probe`.

The HDF5 library may hang, take any memory, or crash on a corrupt file, and nothing can stop it from within.
"""

from __future__ import annotations

import sys
from typing import Any, cast

import h5py
import numpy as np

BLOCK = 1024
MAX_RATIO = 1032  # of deflate


def limit(seconds: int, memory: int) -> None:
    """Limit processor time [s] and address space [bytes] of this process, where the system can."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def read_all(path: str) -> None:
    """Touch everything that the reader touches, in its order."""
    with h5py.File(path, "r") as file:
        for group in cast(Any, file).values():
            if not isinstance(group, h5py.Group) or "xml" not in group or "data" not in group:
                continue
            np.asarray(cast(Any, group["xml"])[()])
            data: Any = group["data"]
            if "head" not in (data.dtype.names or ()) or data.ndim != 1:
                continue
            packed = data.id.get_create_plist().get_nfilters() > 0
            if len(data) * data.dtype.itemsize > data.id.get_storage_size() * (MAX_RATIO if packed else 1):
                continue  # claims more than it holds, which the reader says better
            heads = data.fields("head")[:]
            for begin in range(0, len(heads), BLOCK):
                for record in data[begin : begin + BLOCK]:
                    np.asarray(record["data"]).sum()


if __name__ == "__main__":
    limit(int(sys.argv[2]), int(sys.argv[3]))
    try:
        read_all(sys.argv[1])
    except MemoryError:
        sys.exit("it takes more memory than it could hold")
    except Exception as error:
        sys.exit((str(error).splitlines() or [type(error).__name__])[0])
