"""Pulseq `.seq` files: reading versions 1.2 to 1.5, writing 1.4.1 and 1.5.1. See docs/pulseq.md.

The names are loaded when they are asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mrisim.io.pulseq.read import read_sequence as read_sequence
    from mrisim.io.pulseq.write import write_sequence as write_sequence

_HOME = {"read_sequence": "read", "write_sequence": "write"}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mrisim.io.pulseq' has no attribute '{name}'")
    return getattr(importlib.import_module(f"mrisim.io.pulseq.{_HOME[name]}"), name)
