"""How many isochromats a run takes unless told, and what it says of phantom and image."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mrisim.data import Grid, ParameterMap
from mrisim.phantom import load_model
from mrisim.pipeline import phantoms
from mrisim.sequence import load_sequence

FLASH = {"matrix": [24, 16, 4], "fov": ["220 mm", "220 mm", "40 mm"], "dummies": 20}
MANY = 10**6


@pytest.fixture(scope="module")
def seq():
    return load_sequence("dixon", **FLASH)


def per_voxel(source, seq):
    return source.sample(seq).sampling.isochromats


def test_a_default_number_of_isochromats_is_a_prime_within_the_budget(seq, monkeypatch):
    """Too few would be found here; what the budget allows is rounded down to a prime, and never below the fewest."""
    source = phantoms.PhantomSource.of("brain", {})
    monkeypatch.setattr(phantoms, "MOST", MANY)
    free = per_voxel(source, seq)
    assert free > 10
    fewest = phantoms.PhantomSource.of("brain", {}).sample(seq, phantoms.FEWEST).n_spins
    monkeypatch.setattr(phantoms, "MOST_SPINS", 10.5 * fewest / phantoms.FEWEST)
    held = per_voxel(source, seq)
    assert held == 7
    assert not any(held % d == 0 for d in range(2, math.isqrt(held) + 1))
    monkeypatch.setattr(phantoms, "MOST_SPINS", 1.0)
    assert per_voxel(source, seq) == phantoms.FEWEST


@pytest.mark.parametrize(("fov", "found"), [
    (["220 mm", "220 mm", "40 mm"], ""),
    (["220 mm", "150 mm", "40 mm"], "93.8 mm from the center along phase (field of view 150 mm) and folds"),
    (["120 mm", "220 mm", "8 mm"], "75 mm from the center along read (field of view 120 mm) and 8 mm from"),
])  # fmt: skip
def test_tissue_beyond_the_field_of_view_is_told(fov, found):
    seq = load_sequence("dixon", **{**FLASH, "fov": fov})
    phantom = phantoms.PhantomSource.of("brain", {}).sample(seq, 1)
    notes = phantoms.folded_in(seq, phantom)
    assert len(notes) == bool(found)
    assert not found or notes[0].text.startswith(f"tissue reaches {found}")


@pytest.mark.parametrize(("fit", "name", "tissue", "notes"), [
    ("fat_water", "breast", "fat_one_peak", 1),
    ("dual_echo", "breast", "fat_one_peak", 0),
    ("fat_water", "breast", "fat", 0),
])  # fmt: skip
def test_fat_of_one_peak_is_told_where_six_are_fitted(fit, name, tissue, notes):
    grid = Grid.of((1, 1, 1), (1e-3, 1e-3, 1e-3))
    made = ParameterMap(name="B0", unit="Hz", data=np.zeros((1, 1, 1)), grid=grid, provenance={"fit": {"fit": fit}})
    found = phantoms.fat_of_one_peak([made], load_model(name, fat=tissue))
    assert len(found) == notes
    assert all(one.remedy == "Run with --phantom-set fat=fat" for one in found)
