"""HDF5 files of others, read with suspicion: no links out of the file, no array larger than its bytes can hold."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mrisim.errors import MrisimError
from mrisim.io.phantoms.checks import MAX_VALUES, broken, check_size

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_TEXT = 1000


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 does."""
    with path.open("rb") as file:
        return file.read(8) == SIGNATURE


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file; whatever goes wrong in it is one typed error.

    Raises:
        ResourceError: the file is missing, truncated or corrupt.
    """
    if not path.is_file():
        raise broken(path, "", "must be an existing file, but is not there", "")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except MrisimError:
        raise
    except (
        OSError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        RuntimeError,
        OverflowError,
        MemoryError,
    ) as error:
        text = " ".join(str(error).split())[:200].rstrip(".")
        raise broken(path, "", f"must be a complete HDF5 file, but cannot be read ({text})") from None


def has(file: h5py.File, name: str) -> bool:
    """Whether a path leads to something inside this file."""
    place: Any = file
    for part in name.split("/"):
        if not isinstance(place, h5py.Group) or not isinstance(place.get(part, getlink=True), h5py.HardLink):
            return False
        place = place.get(part)
    return place is not None


def names(file: h5py.File, group: str) -> list[str]:
    """What a group holds."""
    found = file[group] if has(file, group) else None
    return list(found) if isinstance(found, h5py.Group) and len(found) < MAX_TEXT else []


def array(path: Path, file: h5py.File, name: str) -> np.ndarray:
    """A real dataset in double precision, its size checked before it is read.

    Raises:
        ResourceError: it is missing, no numbers, outside the file, or larger than its bytes can hold.
    """
    data = file[name] if has(file, name) else None
    if not isinstance(data, h5py.Dataset):
        raise broken(path, name, "must be a dataset of this file, but is not there", "Write it again")
    if data.dtype.kind not in "fiu" or data.dtype.itemsize > 8:
        raise broken(path, name, f"must hold real numbers, but holds {data.dtype}", "Write it as float64")
    if data.external or data.is_virtual:
        raise broken(path, name, "must hold its numbers in this file, but takes them from another", "Write it again")
    count = math.prod(data.shape)
    if math.prod(data.chunks or ()) > MAX_VALUES:
        raise broken(path, name, f"must have chunks of up to {MAX_VALUES:,} values, but has {data.chunks}")
    check_size(path, name, data.shape, count * data.dtype.itemsize, int(data.id.get_storage_size()))
    return np.asarray(data[()], dtype=float)


def text(file: h5py.File, name: str) -> str:
    """A text attribute of the file, shortened; empty where there is none."""
    if name not in file.attrs:
        return ""
    value = file.attrs[name]
    return (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))[:MAX_TEXT]
