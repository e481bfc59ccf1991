"""How many isochromats a run takes unless told, and what it says of phantom and image."""

from __future__ import annotations

import math

import pytest

import mrisim as mr
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


@pytest.mark.parametrize(("name", "given", "fat", "note"), [
    ("dixon", {}, "fat", "Run with --phantom-set fat=fat_one_peak for fat of one peak"),
    ("dixon", {"fat": "fat_one_peak"}, "fat_one_peak", "Run with --phantom-set fat=fat"),
    ("dixon", {"fat": "fat"}, "fat", None),
    ("b0_dual_echo", {}, "fat_one_peak", None),
])  # fmt: skip
def test_fat_has_all_peaks_where_maps_tell_it_from_water(name, given, fat, note):
    small = {"matrix": [8, 8, 2], "dummies": 0}
    result = mr.run(name, phantom="breast", phantom_set=given, set=small, isochromats=1)
    assert result.provenance["phantom_parameters"]["fat"] == fat
    notes = [one.remedy for one in result.findings if one.topic == "fat"]
    assert notes == ([] if note is None else [note])
