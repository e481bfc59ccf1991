"""Sequence files → event blocks: the specification language.

The names are loaded when they are asked for, so that listing sequences waits for neither JAX nor SciPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mrisim.sequence.files import list_sequences as list_sequences
    from mrisim.sequence.library import load_sequence as load_sequence
    from mrisim.sequence.schema import json_schema as json_schema

_HOME = {"json_schema": "schema", "list_sequences": "files", "load_sequence": "library"}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mrisim.sequence' has no attribute '{name}'")
    return getattr(importlib.import_module(f"mrisim.sequence.{_HOME[name]}"), name)
