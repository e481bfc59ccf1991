"""Provenance as plain JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from mrisim.errors import Finding
from mrisim.io.record import plain


def test_everything_becomes_json():
    value = {
        "array": np.array([1.0, np.nan]),
        "tuple": (1, np.float32(0.5), True),
        "infinite": np.inf,
        "record": Finding("a", "b"),
        "path": Path("x/y"),
        "complex": 1 + 2j,
        3: None,
    }
    assert json.loads(json.dumps(plain(value), allow_nan=False)) == {
        "array": [1.0, None],
        "tuple": [1, 0.5, True],
        "infinite": "inf",
        "record": {"topic": "a", "text": "b", "remedy": ""},
        "path": str(Path("x/y")),
        "complex": [1.0, 2.0],
        "3": None,
    }
