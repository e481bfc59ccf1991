"""Expectations that hold, that do not hold, and what is written of them."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import xmlschema
from typer.testing import CliRunner

import mrisim as mr
from mrisim.cli import app
from mrisim.errors import ConsistencyError, SpecError
from mrisim.sequence import load_sequence
from mrisim.validation import validate
from mrisim.validation.files import page, picture, write_html, write_json, write_junit
from mrisim.validation.points import central_samples
from mrisim.validation.tables import failures, number, summary

FILE = """\
mrisim: 1
name: Hard pulse
description: a pulse and one sample at once
parameters: {flip: 30 deg, wait: 1 ms}
events:
  excite: {rf: {shape: block, flip: flip, duration: 10 us, use: excitation}}
  read: {adc: {samples: 2, dwell: 1 us}}
timeline: [excite, {wait: wait}, read]
recon: {method: none}
expect:
"""
HOLDS = """\
  - name: sine
    signal: echo[0].center
    equals: i * pd * sin(flip * b1)
    over: {flip: [30 deg, 60 deg, 90 deg], b1: [1, 0.9], pd: 0.5}
    tolerance: 1e-6
"""
FAILS = """\
  - name: cosine
    signal: abs(echo[0].center)
    equals: cos(flip)
    over: {flip: [30 deg, 45 deg, 80 deg]}
    engines: [bloch]
    tolerance: 1 %
"""


@pytest.fixture
def file(tmp_path):
    """A file with the expectations that are asked for."""

    def write(*expectations: str):
        path = tmp_path / "pulse.yaml"
        path.write_text(FILE + "".join(expectations), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A validation of one expectation that holds on two engines, and of one that does not."""
    path = tmp_path_factory.mktemp("mixed") / "pulse.yaml"
    path.write_text(FILE + HOLDS + FAILS, encoding="utf-8")
    return validate(path)


def test_each_expectation_runs_on_each_of_its_engines(mixed):
    assert [(o.name, o.engine, o.passed) for o in mixed.outcomes] == [
        ("sine", "bloch", True), ("sine", "epg", True), ("cosine", "bloch", False),
    ]  # fmt: skip
    assert not mixed.passed


def test_points_are_all_combinations(mixed):
    sine = mixed.outcomes[0]
    values = [{name: value for name, (value, _) in point.values.items()} for point in sine.points]
    assert [v["flip"] for v in values] == pytest.approx(np.radians([30, 30, 60, 60, 90, 90]))
    assert [v["b1"] for v in values] == [1, 0.9] * 3
    for point, value in zip(sine.points, values, strict=True):
        exact = 0.5j * np.sin(value["flip"] * value["b1"])
        assert point.expected == pytest.approx(exact)
        assert point.simulated == pytest.approx(exact, abs=1e-9)


def test_a_point_outside_is_outside(mixed):
    cosine = mixed.outcomes[2]
    assert [point.passed for point in cosine.points] == [False, True, False]  # sine and cosine meet at 45 degrees
    worst = cosine.worst
    assert worst.describe() == "flip 80 deg"
    assert worst.allowed == pytest.approx(0.01 * np.cos(np.radians(80)))
    assert worst.relative == pytest.approx(np.tan(np.radians(80)) - 1, rel=1e-6)


def test_one_engine(file):
    validation = validate(file(HOLDS, FAILS.replace("[bloch]", "[epg]")), engine="bloch")
    assert [(o.name, o.engine) for o in validation.outcomes] == [("sine", "bloch")]


def test_a_file_without_expectations_says_so(file, tmp_path):
    path = tmp_path / "none.yaml"
    path.write_text(FILE.removesuffix("expect:\n"), encoding="utf-8")
    validation = validate(path)
    assert validation.passed
    assert len(validation.empty) == 1
    assert validation.empty[0].endswith("none.yaml")


def test_the_wider_tolerance_holds(file):
    loose = validate(file(FAILS.replace("tolerance: 1 %", "tolerance: [1 %, 0.9]"))).outcomes[0]
    assert loose.passed
    assert loose.worst.allowed == 0.9


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cos(flip)", "flip", "must be an angle as 'equals' is, but is a number"),
        ("cos(flip)", "cos(flip) / 0", "equals: must be finite"),
        ("cos(flip)", "echo[0].center", "equals: must not depend on the signal"),
        ("echo[0]", "echo[3]", "signal: must be an echo from 0 to 0"),
        ("flip: [30 deg, 45 deg, 80 deg]", "T1: 10 ms, T2: 50 ms", "T2 must be at most 2 T1"),
        ("flip: [30 deg, 45 deg, 80 deg]", "T2: 10 ms, T2star: 50 ms", "T2star must be at most T2"),
        ("flip: [30 deg, 45 deg, 80 deg]", "wait: -1 ms", "wait"),
    ],
)
def test_what_cannot_be_is_named_with_its_place(file, old, new, message):
    with pytest.raises(SpecError) as caught:
        validate(file(FAILS.replace(old, new)))
    assert message in str(caught.value)
    assert "pulse.yaml:1" in str(caught.value)


def test_an_unknown_engine():
    with pytest.raises(ConsistencyError, match="must be one of all, bloch, epg, but is 'walk'"):
        validate("fid", engine="walk")  # pyright: ignore[reportArgumentType]


def test_reversible_decay_needs_the_line(tmp_path):
    """T2* is exact on the phase graph, and approached by isochromats over the Lorentzian line."""
    path = tmp_path / "decay.yaml"
    path.write_text(
        """\
mrisim: 1
extends: fid
expect:
  - name: decay
    signal: echo[0].last / echo[0].first
    equals: exp(-(samples - 1) / (bandwidth * T2star))
    set: {samples: 32}
    over: {T1: 1 s, T2: 100 ms, T2star: [20 ms, 60 ms]}
    isochromats: 4001
    tolerance: 0.5 %
""",
        encoding="utf-8",
    )
    bloch, graph = validate(path).outcomes
    assert bloch.passed
    assert graph.worst.relative < 1e-9 < bloch.worst.relative


@pytest.mark.parametrize(
    ("name", "changes", "count"),
    [
        ("spin_echo", {"matrix": 8}, 1),
        ("multi_echo_se", {"matrix": 8, "echoes": 5}, 5),
        ("flash_3d", {"matrix": [8, 8, 4]}, 1),
        ("radial_flash", {"spokes": 7}, 7),
        ("gre_epi", {"matrix": 16, "repetitions": 2, "slices": [0.0, 0.01]}, 2),
        ("dwi_se_epi", {"matrix": 16, "zeros": 2, "directions": 1, "b": ["1000 s/mm^2"]}, 3),
    ],
)
def test_echoes_are_the_readouts_of_the_center(name, changes, count):
    seq = load_sequence(name, **changes)
    found = central_samples(seq)
    k, _ = seq.kspace()
    assert len(found["center"]) == count
    assert np.linalg.norm(k[found["center"]], axis=1).max() < 1e-3 / seq.recon.fov[0]
    assert (found["first"] <= found["center"]).all()
    assert (found["center"] <= found["last"]).all()


def test_tables(mixed):
    rows = summary(mixed).rows
    assert [row[-1] for row in rows] == ["ok", "ok", "2 outside"]
    assert rows[2][4].endswith(" %")
    (worst, *_) = failures(mixed.outcomes[2]).rows
    assert worst[0] == "flip 80 deg"
    assert float(worst[1]) == pytest.approx(np.sin(np.radians(80)), rel=1e-5)
    assert number(-0.5j) == "0 - 0.5i"


def test_junit(mixed, tmp_path):
    root = ElementTree.parse(write_junit(mixed, tmp_path / "new" / "junit.xml")).getroot()
    assert (root.get("tests"), root.get("failures")) == ("3", "1")
    cases = root.findall("./testsuite/testcase")
    assert [case.get("name") for case in cases] == ["sine [bloch]", "sine [epg]", "cosine [bloch]"]
    schema = xmlschema.XMLSchema(Path(__file__).with_name("junit-10.xsd"))  # of Jenkins' xUnit plugin, MIT
    schema.validate(tmp_path / "new" / "junit.xml")
    assert not schema.is_valid("<testsuite><testcase/></testsuite>")  # it can fail
    (failure,) = root.findall("./testsuite/testcase/failure")
    assert failure.get("message") == "2 of 3 points outside 1 %"
    assert "flip 80 deg: must be 0.173648, but is 0.984808" in (failure.text or "")


def test_json(mixed, tmp_path):
    found = json.loads(write_json(mixed, tmp_path / "v.json").read_text("utf-8"))
    assert found["passed"] is False
    point = found["outcomes"][2]["points"][0]
    assert point["values"]["flip"] == pytest.approx(np.pi / 6)
    assert point["simulated"] == pytest.approx([0.5, 0.0], abs=1e-6)
    assert [o["passed"] for o in found["outcomes"]] == [True, True, False]


def test_html(mixed, tmp_path):
    text = write_html(mixed, tmp_path / "v.html").read_text("utf-8")
    assert text.count("data:image/webp;base64,") == 2
    assert "echo[0].center  =  i * pd * sin(flip * b1)" in text
    assert [section.title for section in page(mixed).sections] == ["Summary", "Hard pulse: sine", "Hard pulse: cosine"]


def test_the_curve_between_the_points_is_the_closed_form(mixed):
    sine = mixed.outcomes[0]
    assert sine.swept == "flip"
    assert [curve.values["b1"][0] for curve in sine.curves] == [1, 0.9]
    curve = sine.curves[1]
    np.testing.assert_allclose(curve.y, 0.5j * np.sin(0.9 * np.asarray(curve.x)), rtol=1e-12)
    assert picture([sine]).startswith(b"\x89PNG")


def test_a_number_that_must_be_whole_has_points_only(file):
    text = """\
  - name: whole
    signal: echo[0].center * n / n
    equals: i * sin(flip) * cpmg(n, 10 ms, 180 deg, 1e9 s, 1e9 s)
    over: {n: [1, 2, 4]}
    engines: [bloch]
    tolerance: 1e-6
"""
    (outcome,) = validate(file(text)).outcomes
    assert outcome.passed
    assert np.asarray(outcome.curves[0].x).tolist() == [1, 2, 4]


def test_the_command(file, tmp_path):
    run = CliRunner(env={"COLUMNS": "120", "TERM": "dumb"})
    good = run.invoke(app, ["validate", str(file(HOLDS)), "--engine", "bloch"])
    assert good.exit_code == 0, good.output
    assert "sine" in good.output
    bad = run.invoke(app, ["validate", str(file(FAILS)), "--html", str(tmp_path / "p.html")])
    assert bad.exit_code == 1
    assert "Hard pulse: cosine [bloch]: abs(echo[0].center) = cos(flip)" in bad.output
    assert "flip 80 deg" in bad.output
    assert (tmp_path / "p.html").is_file()
    neither, both = run.invoke(app, ["validate"]), run.invoke(app, ["validate", "fid", "--library"])
    assert (neither.exit_code, both.exit_code) == (2, 2)
    assert "must be given, or --library" in neither.output


def test_the_public_name():
    assert mr.validate is validate


def test_files_of_the_same_name_are_told_apart(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = file(HOLDS).read_text("utf-8")
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    found = validate(["a.yaml", "b.yaml"], engine="bloch")
    assert [row[0] for row in summary(found).rows] == ["Hard pulse (a.yaml)", "Hard pulse (b.yaml)"]
    titles = [section.title for section in page(found).sections]
    assert titles == ["Summary", "Hard pulse (a.yaml): sine", "Hard pulse (b.yaml): sine"]


@pytest.mark.parametrize("option", ["--junit", "--json", "--html"])
def test_places_that_cannot_be_written_are_found_before_anything_runs(file, tmp_path, monkeypatch, option):
    def never(*_, **__):
        raise AssertionError("something ran")

    monkeypatch.setattr("mrisim.validation.validate", never)
    (tmp_path / "taken").write_text("")
    run = CliRunner(env={"COLUMNS": "120", "TERM": "dumb"})
    for place, message in ((tmp_path / "taken" / "out", "must be writable, but is not"), (tmp_path, "is a folder")):
        result = run.invoke(app, ["validate", str(file(HOLDS)), option, str(place)])
        assert result.exit_code == 2
        assert message in result.output
