"""Arrays as text inside a page."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

_TYPES = {"f32": "<f4", "i16": "<i2", "u16": "<u2", "u8": "u1"}
BLANK = 65535  # of packed values: not known


def pack(values: np.ndarray, kind: str) -> dict[str, str]:
    """Array in little-endian order as base64, with its type; the page knows its shape.

    Example:
        >>> pack(np.array([1, 2]), "u8")
        {'type': 'u8', 'data': 'AQI='}
    """
    content = np.ascontiguousarray(values, dtype=_TYPES[kind]).tobytes()
    return {"type": kind, "data": base64.b64encode(content).decode("ascii")}


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
