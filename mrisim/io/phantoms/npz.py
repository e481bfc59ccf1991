"""NumPy archives of others, read with suspicion: no pickle, no array larger than its bytes can hold."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from mrisim.errors import MrisimError
from mrisim.io.phantoms.checks import STEP, broken, check_size

MAX_MEMBERS = 1000
KINDS = "fiubc"


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """An archive; whatever goes wrong in it is one typed error.

    Raises:
        ResourceError: the file is missing, truncated or corrupt.
    """
    if not path.is_file():
        raise broken(path, "", "must be an existing file, but is not there", "")
    try:
        with zipfile.ZipFile(path) as archive:
            if len(archive.infolist()) > MAX_MEMBERS:
                raise broken(path, "", f"must hold up to {MAX_MEMBERS} arrays, but holds {len(archive.infolist())}")
            yield archive
    except MrisimError:
        raise
    except (
        *(OSError, EOFError, KeyError, ValueError, TypeError, RuntimeError, NotImplementedError, MemoryError),
        *(SyntaxError, IndexError, OverflowError, zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError),
    ) as error:
        text = " ".join(str(error).split())[:200].rstrip(".")
        raise broken(path, "", f"must be a complete .npz archive, but cannot be read ({text})") from None


def names(archive: zipfile.ZipFile) -> list[str]:
    """Names of the arrays."""
    return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def array(path: Path, archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """An array of numbers, its size checked before it is read.

    Raises:
        ResourceError: it is missing, holds objects, is truncated, or larger than its bytes can hold.
    """
    if name not in names(archive):
        raise broken(path, name, "must be an array of this archive, but is not there", "Write it again")
    info = archive.getinfo(f"{name}.npy")
    try:
        with archive.open(info) as stream:
            shape, fortran, dtype = _header(path, name, stream)
            n_bytes = dtype.itemsize
            for n in shape:
                n_bytes *= n
            check_size(path, name, shape, n_bytes, info.compress_size)
            values = np.frombuffer(_take(path, name, stream, n_bytes), dtype=dtype)
            if stream.read(1):
                raise broken(path, name, f"must end after its {len(values):,} values, but goes on")
    except (zlib.error, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise broken(path, name, f"must be complete, but cannot be read ({str(error).rstrip('.')})") from None
    return values.reshape(shape, order="F" if fortran else "C")


def _header(path: Path, name: str, stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    from numpy.lib import format as npy

    try:
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(stream, max_header_size=2000)
    except (ValueError, SyntaxError, TypeError, RecursionError, tokenize.TokenError) as error:
        text = " ".join(str(error).split())[:100].rstrip(".")
        raise broken(path, name, f"must be a NumPy array, but its header is not one ({text})") from None
    if dtype.hasobject or dtype.kind not in KINDS or dtype.itemsize > 16 or dtype.subdtype is not None:
        rule = f"must hold numbers, but holds {'Python objects' if dtype.hasobject else dtype}"
        raise broken(path, name, rule, "Write it as float32, without pickle")
    if any(n < 0 for n in shape) or len(shape) > 8:
        raise broken(path, name, f"must have a shape, but has {shape}")
    return shape, fortran, dtype


def _take(path: Path, name: str, stream: IO[bytes], count: int) -> bytes:
    """So many bytes, in steps: memory grows with what is there, never with what is claimed."""
    parts = bytearray()
    while len(parts) < count:
        part = stream.read(min(STEP, count - len(parts)))
        if not part:
            raise broken(path, name, f"must be complete, but ends {count - len(parts):,} bytes early")
        parts += part
    return bytes(parts)
