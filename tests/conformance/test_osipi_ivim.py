"""IVIM on the reference object of the OSIPI code collection (TF2.4, generic.json)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from mrisim.mapping.diffusion import fit_ivim

FILE = Path(os.environ.get("MRISIM_REFERENCE_DATA", "../shared")) / "data" / "osipi_ivim" / "generic.json"
MM = 1e-6  # mm²/s [m²/s]


@pytest.fixture(scope="module")
def tissues() -> tuple[np.ndarray, dict[str, dict]]:
    if not FILE.is_file():
        pytest.skip(f"reference data are absent: no {FILE}")
    read = json.loads(FILE.read_text())
    return np.array(read.pop("config")["bvalues"]) / MM, read


def test_full_fit_finds_the_pools_of_all_tissues(tissues) -> None:
    """Limits: D 1.5 %, f 0.01, D* 8 % where 0.03 < f < 0.8, at a noise of 5e-4."""
    b, found = tissues
    fit = fit_ivim(np.array([t["data"] for t in found.values()]), b)
    assert fit.converged.all()
    for i, (name, t) in enumerate(found.items()):
        assert fit["d"][i] == pytest.approx(t["D"] * MM, rel=0.015), name
        assert fit["f"][i] == pytest.approx(t["f"], abs=0.01), name
        assert 0.03 < t["f"] < 0.8
        assert fit["d_star"][i] == pytest.approx(t["Dp"] * MM, rel=0.08), name


def test_segmented_fit_holds_where_the_fast_pool_has_decayed_at_its_split(tissues) -> None:
    b, found = tissues
    fast = {name: t for name, t in found.items() if t["Dp"] >= 0.025}  # exp(-200 · 0.025) is below a per cent
    fit = fit_ivim(np.array([t["data"] for t in fast.values()]), b, method="segmented")
    assert len(fast) == 9
    for i, (name, t) in enumerate(fast.items()):
        assert fit["d"][i] == pytest.approx(t["D"] * MM, rel=0.015), name
        assert fit["f"][i] == pytest.approx(t["f"], abs=0.01), name
        assert fit["d_star"][i] == pytest.approx(t["Dp"] * MM, rel=0.08), name
