"""Arrays as text inside a page."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np

_TYPES = {"f32": "<f4", "i16": "<i2", "u16": "<u2", "u8": "u1"}
BLANK = 65535  # of packed values: not known


def pack(values: np.ndarray, kind: str) -> dict[str, Any]:
    """Array, compressed, as base64, with its type and number of bytes; the page knows its shape.

    First all lowest bytes of the little-endian numbers, then the next ones, deflated (RFC 1951), as neighbours
    differ least in their high bytes.

    Example:
        >>> packed = pack(np.array([1, 2, 3]), "u16")
        >>> packed["type"], packed["size"]
        ('u16', 6)
        >>> unpack(packed).tolist()
        [1, 2, 3]
    """
    content = np.ascontiguousarray(values, dtype=_TYPES[kind]).ravel()
    planes = content.view("u1").reshape(-1, content.itemsize).T.tobytes()
    deflate = zlib.compressobj(9, wbits=-15)
    short = deflate.compress(planes) + deflate.flush()
    return {"type": kind, "size": content.nbytes, "data": base64.b64encode(short).decode("ascii")}


def unpack(packed: dict[str, Any]) -> np.ndarray:
    """What `pack` was given, as one row: what `unpack` of the page does."""
    kind = np.dtype(_TYPES[packed["type"]])
    planes = np.frombuffer(zlib.decompress(base64.b64decode(packed["data"]), wbits=-15), "u1")
    return np.ascontiguousarray(planes.reshape(kind.itemsize, -1).T).view(kind).ravel()


def quantise(values: np.ndarray) -> dict[str, Any]:
    """Real values in 16 bit: `low` + `step` · integer, nan as 65535; off by half a step at most.

    Example:
        >>> packed = quantise(np.array([0.0, 1.0, np.nan]))
        >>> packed["low"], packed["step"] * 65534
        (0.0, 1.0)
    """
    known = np.isfinite(values)
    low = float(values[known].min()) if known.any() else 0.0
    high = float(values[known].max()) if known.any() else 1.0
    step = (high - low) / (BLANK - 1) or 1.0
    whole = np.full(values.shape, BLANK)
    whole[known] = np.round((values[known] - low) / step).astype(int)
    return {"low": low, "step": step, **pack(whole, "u16")}
