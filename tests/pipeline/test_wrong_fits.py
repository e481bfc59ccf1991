"""Maps that no fit gives are refused before anything is simulated."""

from __future__ import annotations

import pytest

from mrisim.errors import SpecError
from mrisim.mapping.fit import METHODS
from mrisim.pipeline import run

FITS = f"must be one of {', '.join(METHODS)}"
EXAM = "mrisim: 1\nprotocol: x\nphantom: brain\nscans: {a: {sequence: spin_echo, each: {TE: [12 ms, 20 ms]}}}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (EXAM + "maps: {T2: {fit: magic, from: a}}\n", f"wrong.yaml:5:18: maps.T2.fit: {FITS}, but is 'magic'."),
        (
            "mrisim: 1\nname: x\nextends: spin_echo\nrecon: {maps: {T2: {fit: [1]}}}\n",
            f"wrong.yaml: recon.maps.T2.fit: {FITS}, but is '[1]'.",
        ),
    ],
)
def test_a_wrong_fit_is_refused_before_the_simulation(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.yaml").write_text(text)
    seen = []
    with pytest.raises(SpecError) as caught:
        run("wrong.yaml", set={"matrix": 16}, isochromats=1, progress=lambda what, share: seen.append(what))
    assert str(caught.value) == message
    assert not [what for what in seen if "imulating" in what]
