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


DYNAMIC = """\
mrisim: 1
protocol: x
phantom: {phantom}
scans:
  vfa: {{sequence: vfa_t1, set: {{flips: [2 deg, 10 deg], matrix: [8, 8, 2], dummies: 1}}}}
  dce:
    sequence: dce_spgr_3d
    set: {{matrix: [8, 8, 2], dynamics: 6, interval: 2 s, dummies: 1}}
    simulation: {{{simulation}}}
maps:
  T1: {{fit: variable_flip, from: vfa}}
  Ktrans:
    {{fit: dce, from: dce, model: tofts, {t1}, agent: {agent}, aif: parker, arrival: {arrival}{more}}}
"""
GOOD = {
    "phantom": "brain_with_tumour", "simulation": "injection: 2 s", "t1": "t1: T1", "agent": "gadobutrol",
    "arrival": "5 s", "more": "",
}  # fmt: skip
UNSUITED = {
    "agent": (
        {"agent": "gadobutrl"},
        (
            "13:56: maps.Ktrans.agent: must be one of gadoterate, gadobutrol, gadoteridol, gadopentetate, gadobenate, "
            "gadoxetate, but is 'gadobutrl' (did you mean 'gadobutrol'?)."
        ),
    ),
    "t1": (
        {"t1": "r2_star: 5"},
        (
            "13:5: maps.Ktrans.t1: must be given as t1, a map, or as t10, one time, but none is. "
            "Add t10: 1.5 s, or t1: T1."
        ),
    ),
    "late": (
        {"arrival": "80 s"},
        (
            "13:90: maps.Ktrans.arrival: must come before the last image at 10.05 s, but is 80 s. "
            "Scan longer, or inject earlier."
        ),
    ),
    "early": (
        {"arrival": "0 s"},
        ("13:90: maps.Ktrans.arrival: must come after the first image at 0.0537 s, but is 0 s. Scan a baseline."),
    ),
    "baseline": (
        {"more": ", baseline: 6"},
        (
            "13:105: maps.Ktrans.baseline: must leave some of the 6 images, but is 6. "
            "It counts the images before the agent."
        ),
    ),
    "hematocrit": (
        {"more": ", hematocrit: 42"},
        "13:107: maps.Ktrans.hematocrit: must lie between 0 and 1, but is '42'.",
    ),
    "injection": (
        {"simulation": "injection: 2 mm"},
        "9:29: scans.dce.simulation.injection: must be a time such as 5 ms, but is '2 mm', a length.",
    ),
    "extent": (
        {"simulation": "extent: [0 mm, 20 mm]"},
        "9:27: scans.dce.simulation.extent[0]: must be above 0 mm, but is 0 mm.",
    ),
    "phantom": (
        {"phantom": "brian"},
        "3:10: phantom: must be a phantom of the library or a .yaml file, but is 'brian'. Did you mean 'brain'.",
    ),
    "parameter": (
        {"phantom": "{name: brain_with_tumour, tumour: 300 mm}"},
        "3:44: phantom.tumour: must be at most 20 mm, but is 300 mm.",
    ),
}


@pytest.mark.parametrize("case", UNSUITED)
def test_a_wrong_exam_is_one_message_before_the_simulation(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    change, message = UNSUITED[case]
    (tmp_path / "wrong.yaml").write_text(DYNAMIC.format(**{**GOOD, **change}))
    seen = []
    with pytest.raises(SpecError) as caught:
        run("wrong.yaml", out="out", isochromats=1, progress=lambda what, share: seen.append(what))
    assert str(caught.value) == f"wrong.yaml:{message}"
    assert not [what for what in seen if "imulating" in what]
    assert not (tmp_path / "out").exists()
