"""Every sequence of the library states closed forms, on small runs, off the center; one of each kind is simulated."""

from __future__ import annotations

import pytest

from mrisim.paths import library_files
from mrisim.validation import validate
from mrisim.validation.run import specification_of

NAMES = sorted(library_files("sequences"))


@pytest.mark.parametrize("name", NAMES)
def test_every_sequence_states_a_closed_form(name):
    expectations = specification_of(name).expectations
    assert expectations, f"{name}.yaml states nothing: add 'expect'"
    for one in expectations:
        assert {"T1", "T2"} <= set(one.properties) or {"flip", "b1"} <= {*one.properties, *one.changes}
        assert one.tolerance.relative <= 0.02
        assert one.tolerance.absolute <= 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(("name", "engine"), [("flash_2d", "epg"), ("inversion_recovery_se", "bloch")])
def test_they_hold(name, engine):
    found = validate(name, engine=engine)
    assert found.outcomes
    assert [o.name for o in found.outcomes if not o.passed] == []
