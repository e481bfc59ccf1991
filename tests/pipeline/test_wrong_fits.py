"""Maps that no fit gives are refused before anything is simulated."""

from __future__ import annotations

import pytest

from mrisim.errors import MrisimError, SpecError
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
    {{fit: dce, from: dce, model: tofts, {t1}, agent: {agent}, aif: {aif}, arrival: {arrival}{more}}}
"""
GOOD = {
    "phantom": "brain_with_tumour", "simulation": "injection: 2 s", "t1": "t1: T1", "agent": "gadobutrol",
    "arrival": "5 s", "more": "", "aif": "parker",
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
    "no agent": (
        {"phantom": "brain"},
        (
            "9:29: scans.dce.simulation.injection: must be left out for the phantom 'brain', where no tissue takes up "
            "a contrast agent, but is 2 s. Leave it out, or take a phantom with an agent, such as brain_with_tumour."
        ),
    ),
    "spoiling": (
        {"more": ", spoiling: ideal, t20: 80 ms"},
        (
            "13:117: maps.Ktrans.t20: must be left out with spoiling: ideal, but is given. "
            "Take spoiling: rf, or leave it out."
        ),
    ),
    "phantom": (
        {"phantom": "brian"},
        (
            "3:10: phantom: must be a phantom of the library or a file (.yaml, .h5, .phantom, .npz), but is 'brian'. "
            "Did you mean 'brain'."
        ),
    ),
    "parameter": (
        {"phantom": "{name: brain_with_tumour, tumour: 300 mm}"},
        "3:44: phantom.tumour: must be at most 20 mm, but is 300 mm.",
    ),
}


CURVES = {  # of an input function for images up to 10.05 s
    "short": (
        "time [s],blood [mM]\n0,0\n8,5\n",
        (
            "must reach to 10.0537 s, the end of the tissue curve less its delay, but ends at 8 s (aif.csv: ca). "
            "Take a longer input function, or leave later points of the tissue out."
        ),
    ),
    "late start": (
        "time [s],blood [mM]\n2,1\n12,5\n",
        (
            "must start with the tissue curve at 0.0537028 s, but starts at 2 s with contrast agent (aif.csv: ca). "
            "Take an input function with a baseline."
        ),
    ),
    "negative": (
        "time [s],blood [mM]\n0,0\n5,-3\n6,5\n12,5\n",
        (
            "must be concentrations, from zero up, but goes from -3 to 5 mM (aif.csv: ca). "
            "Check the baseline of the input function."
        ),
    ),
    "columns": (
        "t,c\n0,0\n",
        (
            "must be a curve over time, but aif.csv:1: header must have the columns time [s] and blood [mM] or "
            "plasma [mM], but has t, c. Write them into the first line."
        ),
    ),
    "unit": (
        "time [s],blood [mg]\n0,0\n",
        (
            "must be a curve over time, but aif.csv:1: header must have the unit of a concentration in brackets, but "
            "is 'blood [mg]'. Write time [s], blood [mM]."
        ),
    ),
    "text": (
        "time [s],blood [mM]\n0,0\n5,x\n12,1\n",
        "must be a curve over time, but aif.csv:3 must hold two numbers, but is '5,x'.",
    ),
    "order": (
        "time [s],blood [mM]\n0,0\n5,1\n4,1\n12,1\n",
        "must be a curve over time, but aif.csv: time must increase from each time to the next, but does not.",
    ),
    "absent": (
        None,
        (
            "must be a curve over time, but aif.csv must be a CSV file that can be read, but is not: "
            "No such file or directory. Check the path."
        ),
    ),
}


@pytest.mark.parametrize("case", CURVES)
def test_a_wrong_curve_is_one_message_before_the_simulation(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    text, message = CURVES[case]
    (tmp_path / "wrong.yaml").write_text(DYNAMIC.format(**{**GOOD, "aif": "aif.csv"}))
    if text is not None:
        (tmp_path / "aif.csv").write_text(text)
    with pytest.raises(SpecError) as caught:
        run("wrong.yaml", isochromats=1)
    assert str(caught.value) == f"wrong.yaml:13:73: maps.Ktrans.aif: {message}"


@pytest.mark.parametrize("name", ["../aif.csv", "/aif.csv"])
def test_a_curve_outside_the_folder_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.yaml").write_text(DYNAMIC.format(**{**GOOD, "aif": name}))
    with pytest.raises(
        SpecError, match=r"wrong\.yaml:13:73: maps\.Ktrans\.aif: must lie inside the specification's folder"
    ):
        run("wrong.yaml", isochromats=1)
    fits = f"recon: {{maps: {{Ktrans: {{fit: dce, aif: {name}}}}}}}"
    (tmp_path / "mine.yaml").write_text(f"mrisim: 1\nname: x\nextends: dce_spgr_3d\n{fits}\n")
    with pytest.raises(SpecError, match=r"mine\.yaml:4:\d+: recon\.maps\.Ktrans\.aif: must lie inside"):
        run("mine.yaml", isochromats=1)


def test_an_agent_on_the_command_line_needs_a_phantom_that_takes_it_up():
    with pytest.raises(SpecError, match=r"^injection: must be left out for the phantom 'brain', where no tissue takes"):
        run("flash_2d", phantom="brain", injection="2 s", set={"matrix": 16}, isochromats=1)


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


SCANS = """mrisim: 1
protocol: x
phantom: brian
scans:
  a: {sequence: spin_echo, set: {TEE: 12 ms}}
maps: {T2: {fit: monoexponential, from: a, t1: T1}}
"""


def test_phantom_scans_and_maps_are_told_at_once(tmp_path):
    (tmp_path / "x.yaml").write_text(SCANS)
    with pytest.raises(MrisimError) as error:
        run(tmp_path / "x.yaml")
    assert [problem.path for problem in error.value.problems] == ["phantom", "scans.a.set.TEE", "maps.T2.t1"]


def test_images_of_a_series_must_have_one_grid_and_settings_enough(tmp_path):
    scans = (
        SCANS.replace("brian", "brain").replace("set: {TEE: 12 ms}", "each: {matrix: [16, 24]}").replace(", t1: T1", "")
    )
    (tmp_path / "x.yaml").write_text(scans)
    with pytest.raises(MrisimError) as error:
        run(tmp_path / "x.yaml")
    assert [problem.rule for problem in error.value.problems] == [
        "must leave matrix and fov as they are, but makes images of 16 x 16 over 220 mm and 24 x 24 over 220 mm",
        "must have images at 2 different TE or more, but has 1",
    ]


def test_maps_of_a_sequence_are_refused_before_it_is_simulated(monkeypatch):
    monkeypatch.setattr("mrisim.pipeline.phantoms.PhantomSource.sample", lambda *_, **__: pytest.fail("sampled"))
    with pytest.raises(MrisimError, match="must have images at 2 different TE or more, but has 1"):
        run("b0_dual_echo", set={"TE": ["2.3 ms", "2.3 ms"], "matrix": [16, 16, 2]})
