"""Faults in simulator and sequences: every one has its place, and a process of its own finds it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from mrisim.errors import ConsistencyError, SpecError
from mrisim.sequence import load_sequence
from mrisim.validation.mutants import (
    BEGIN,
    END,
    MUTANTS,
    Verdict,
    changed,
    find_mutants,
    run_mutants,
    sequence_text,
    table,
    write_table,
)

PAGE = Path(__file__).resolve().parents[3] / "docs" / "validation.md"


def text_of(mutant):
    if not mutant.module:
        return sequence_text(mutant.sequence)
    spec = importlib.util.find_spec(mutant.module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_text("utf-8")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_fault_has_one_place(mutant):
    assert changed(text_of(mutant), mutant) != text_of(mutant)


def test_there_are_enough_of_them():
    assert len(MUTANTS) >= 20
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert sum(bool(mutant.module) for mutant in MUTANTS) >= 10


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if not m.module], ids=lambda mutant: mutant.name)
def test_a_faulty_sequence_can_be_played(mutant, tmp_path):
    """It must be found by its signal, not by an error."""
    path = tmp_path / "faulty.yaml"
    path.write_text(changed(sequence_text(mutant.sequence), mutant), encoding="utf-8")
    load_sequence(path, matrix=16)


def test_a_place_that_is_gone_is_an_error():
    mutant = find_mutants(["b1-squared"])[0]
    with pytest.raises(ConsistencyError, match=r"must change one place, but .* occurs 0 times"):
        changed("nothing", mutant)


def test_an_unknown_fault():
    with pytest.raises(SpecError, match=r"must be a mutant, but 'b1-square' is none\. Did you mean 'b1-squared'"):
        find_mutants(["b1-square"])


@pytest.mark.slow
def test_two_faults_are_found():
    said = []
    verdicts = run_mutants(["b1-squared", "refocusing-phase"], workers=2, progress=said.append)
    assert [verdict.red for verdict in verdicts] == [True, True]
    assert verdicts[0].detail.startswith("Amplitude follows the flip angle: 16 of 24 points")
    assert len(said) == 2


def test_the_table_goes_between_its_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nstale\n{END}\nafter\n", encoding="utf-8")
    found = Verdict(mutant=MUTANTS[0], red=True, detail="Echo: 3 of 4 points", seconds=1.0)
    lost = Verdict(mutant=MUTANTS[1], red=False, detail="1 expectations hold", seconds=1.0)
    write_table([found, lost], page)
    text = page.read_text("utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "stale" not in text
    assert "| Echo: 3 of 4 points |" in text
    assert "**not found**: 1 expectations hold" in text
    with pytest.raises(ConsistencyError, match="must hold"):
        write_table([found], Path(__file__).with_name("test_validation.py"))


def test_the_page_has_every_fault_and_none_that_was_not_found():
    text = PAGE.read_text("utf-8").split(BEGIN)[1].split(END)[0]
    assert "not found" not in text
    for mutant in MUTANTS:
        assert f"| {mutant.fault} |" in text
    assert table([]).splitlines()[0] in text
