"""Sequences against the closed forms that their files state.

The names are loaded when they are asked for: a mutant changes a module before it is imported.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mrisim.validation.records import Outcome as Outcome
    from mrisim.validation.records import Point as Point
    from mrisim.validation.records import Validation as Validation
    from mrisim.validation.run import validate as validate

_HOME = {"Outcome": "records", "Point": "records", "Validation": "records", "validate": "run"}
__all__ = list(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mrisim.validation' has no attribute '{name}'")
    return getattr(importlib.import_module(f"mrisim.validation.{_HOME[name]}"), name)
