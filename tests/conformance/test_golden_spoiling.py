"""The steady state of RF spoiling against a table that an independent program cross-checked."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from mrisim.physics.spoiling import rf_spoiled

FILE = Path(os.environ.get("MRISIM_REFERENCE_DATA", "../shared")) / "data" / "golden.json"
DIGITS = 0.5e-6  # of the table
ROUNDING = 2e-6  # of single precision over two thousand pulses


@pytest.mark.parametrize("increment", [50, 117, 169])
def test_rf_spoiled_steady_state(increment):
    if not FILE.is_file():
        pytest.skip(f"reference data are absent: no {FILE}")
    for row in json.loads(FILE.read_text())["rf_spoiled_steady_state_T1_1000_TR_5"]:
        found = rf_spoiled(np.radians(row["FA"]), 5e-3, 1.0, row["T2"] * 1e-3, np.radians(increment))
        assert float(found) == pytest.approx(row[f"inc{increment}"], abs=DIGITS + ROUNDING)
