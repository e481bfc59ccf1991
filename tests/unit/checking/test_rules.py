"""Rules over sequences that are wrong on purpose, and limits of files and protocols."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from mrisim.checking import check_sequence
from mrisim.checking.limits import parse_limit
from mrisim.cli import app
from mrisim.errors import SpecError
from mrisim.paths import library_files
from mrisim.sequence import load_sequence
from mrisim.sequence.files import load_source
from mrisim.units import LENGTH, TIME

GAMMA = 42.577478518e6
SARIF = json.loads(Path(__file__).with_name("sarif-2.1.0.json").read_text("utf-8"))
"""The schema of SARIF 2.1.0 as npm package @microsoft/sarif-multitool-linux 5.7.0 ships it (MIT)."""


def messages(folder, text, **parameters):
    path = folder / "wrong.yaml"
    path.write_text(f"mrisim: 1\nname: wrong\n{text}")
    return check_sequence(load_sequence(path, **parameters), load_source(path))


def mrisim(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("at most 90 ms", 0.09, 0.091),
        ("90 ms", 0.05, 0.091),
        ("below 90 ms", 0.089, 0.09),
        ("at least 90 ms", 0.09, 0.089),
        ("above 90 ms", 0.091, 0.09),
        ("exactly 90 ms", 0.09, 0.091),
        ("80 ms to 90 ms", 0.08, 0.0799),
    ],
)
def test_words_of_limits(text, inside, outside):
    limit = parse_limit(text, TIME, GAMMA)
    assert limit.holds(inside)
    assert not limit.holds(outside)


def test_limits_that_are_none_are_refused_at_once(tmp_path):
    with pytest.raises(SpecError) as error:
        messages(tmp_path, "extends: spin_echo\nlimits: {TEE: 5 ms, TR: 5 mm, fov: 5 mm to 3 mm}\n")
    texts = [str(problem) for problem in error.value.problems]
    assert len(texts) == 3
    assert texts[0].endswith(
        "wrong.yaml:4:10: limits.TEE: must be a quantity that can have a limit, but 'TEE' is none. Did you mean 'TE'."
    )
    with pytest.raises(SpecError, match="from the smaller to the larger"):
        parse_limit("5 mm to 3 mm", LENGTH, GAMMA)


def test_a_value_of_no_kind_is_one_message(tmp_path):
    with pytest.raises(SpecError) as error:
        messages(tmp_path, "extends: spin_echo\nlimits: {TE: {a: 1}}\n")
    (problem,) = error.value.problems
    assert problem.rule == "must be a text, a number, true or false or a list, but is a mapping"


def test_each_broken_limit_is_one_message_at_its_line(tmp_path):
    found = messages(
        tmp_path,
        "extends: spin_echo\nparameters: {TE: 96 ms}\nlimits:\n  TE: at most 90 ms\n  TR: below 1 s\n"
        "  voxel: [1 mm, 2 mm, 3 mm]\n  b1_rms: 0.5 uT\n  pns: 80 %\n",
    )
    assert [(message.id, message.line, str(message)) for message in found[:2]] == [
        ("limit/TE", 6, "TE: must be at most 90 ms, but is 96 ms."),
        ("limit/voxel", 8, "voxel: must be at most 3 mm, but is 5 mm. (2 times, this is the first)"),
    ]
    assert [message.id for message in found[2:]] == ["limit/b1_rms", "limit/pns"]


def test_a_limit_of_what_a_sequence_has_not_is_a_warning(tmp_path):
    (message,) = messages(tmp_path, "extends: fid\nlimits: {TE: 90 ms}\n")
    assert message.severity == "warning"
    assert str(message).startswith("TE: must be at most 90 ms, but is not known.")


def test_eight_pulses_beyond_the_scanner_are_one_message_at_the_event(tmp_path):
    (message,) = messages(
        tmp_path,
        "events:\n  pulse: {rf: {shape: block, amplitude: 25 uT, duration: 1 ms, use: excitation}}\n"
        "timeline: [{loop: {n: 1 .. 8}, do: [pulse]}]\n",
    )
    assert (message.id, message.count, message.line) == ("hardware/rf-peak", 8, 4)


def test_what_gradients_do_is_held_against_what_the_file_says(tmp_path):
    late = (
        "extends: flash_2d\ntiming:\n"
        "  - {name: TE, from: excite.rf.center, to: read.adc.center, is: TE + 2 ms, solve: te_fill}\n"
    )
    (message,) = messages(tmp_path, late)
    assert message.id == "timing/TE"
    assert "must be 5 ms as the file says, but is 7 ms" in str(message)
    coarse = messages(tmp_path, "extends: flash_2d\nrecon: {method: cartesian, fov: [440 mm, 220 mm]}\n")
    assert {message.id for message in coarse} >= {"k-space/nyquist-read"}
    short = messages(tmp_path, "extends: flash_2d\nrecon: {method: cartesian, matrix: [256, 128]}\n")
    assert {message.id for message in short} == {"k-space/resolution-read"}
    assert "must be 0.8594 mm" in str(short[0])


def test_json_and_sarif_show_the_place(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text("mrisim: 1\nname: wrong\nextends: spin_echo\nlimits: {TE: 5 ms}\n")
    result = mrisim("check", path, "--format", "json")
    assert result.exit_code == 1
    (record,) = json.loads(result.output)
    assert (record["id"], record["line"], record["found"]) == ("limit/TE", 4, "12 ms")
    log = json.loads(mrisim("check", path, "brain", "--format", "sarif").output)
    (run,) = log["runs"]
    assert (log["version"], run["tool"]["driver"]["name"]) == ("2.1.0", "mrisim")
    (entry,) = run["results"]
    assert entry["ruleId"] in {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    jsonschema.validate(log, SARIF)
    broken = {**log, "runs": [{**run, "results": [{**entry, "level": "grave"}]}]}
    assert not jsonschema.Draft202012Validator(SARIF).is_valid(broken)
    place = entry["locations"][0]["physicalLocation"]
    assert place["region"]["startLine"] == 4
    assert place["artifactLocation"]["uri"].endswith("wrong.yaml")


PIRADS = """
mrisim: 1
protocol: limits of a prostate exam
phantom: brain
limits: {pns: at most 300 %}
scans:
  T2W:
    sequence: t2_tse
    set: {fov: [220 mm, 180 mm]}
    limits: {fov: 120 mm to 200 mm, thickness: exactly 3 mm, voxel: [0.4 mm, 0.7 mm, 3 mm]}
"""


def test_protocols_have_limits_of_their_own(tmp_path):
    data = yaml.safe_load(PIRADS)
    path = tmp_path / "prostate.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    result = mrisim("check", path)
    assert result.exit_code == 1, result.output
    assert "3 errors" in result.output
    assert "T2W: fov: must be 120 mm to 200 mm, but is 220 mm." in result.output
    assert "T2W: thickness: must be exactly 3 mm, but is 4 mm." in result.output


VIOLATIONS = {  # of the limits of PI-RADS 2.1 in the library's exam, each beyond its limit; few samples
    "t2_axial": {"fov": "220 mm", "thickness": "4 mm", "matrix": [64, 32]},
    "dwi": {"TR": "2.9 s", "TE": "95 ms", "fov": "230 mm", "matrix": [64, 64], "b": ["50 s/mm^2", "700 s/mm^2"]},
    "dce": {"TR": "110 ms", "TE": "5.5 ms", "matrix": [16, 16, 2], "interval": "16 s", "dynamics": 3},
}
BROKEN = {
    "t2_axial": ["fov", "thickness", "voxel"],
    "dwi": ["TE", "TR", "b_max", "fov", "voxel"],
    "dce": ["TE", "TR", "duration", "interval", "voxel"],
}


def test_every_limit_of_the_prostate_exam_fires(tmp_path):
    """A copy of the exam in which each scan breaks each of its limits; of the exam itself, see the catalogue."""
    data = yaml.safe_load(library_files("protocols")["prostate_mpmri"].read_text(encoding="utf-8"))
    data = {**data, "scans": {name: data["scans"][name] for name in VIOLATIONS}, "maps": {}}
    for name, changes in VIOLATIONS.items():
        scan = data["scans"][name]
        assert sorted(scan["limits"]) == BROKEN[name]
        scan["set"] = {key: value for key, value in scan["set"].items() if key not in ("spacing", "TE")} | changes
    path = tmp_path / "exam.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    result = mrisim("check", path)
    assert result.exit_code == 1, result.output
    for name, limits in BROKEN.items():
        for limit in limits:
            assert f"error [limit/{limit}] {name}: {limit}: must be" in result.output.replace("\n", " "), result.output


def test_limits_that_limit_nothing_or_no_value_are_refused(tmp_path):
    with pytest.raises(SpecError) as error:
        messages(tmp_path, "extends: spin_echo\nlimits:\n  TE: inf\n  TR: at least inf\n")
    texts = [str(problem) for problem in error.value.problems]
    assert len(texts) == 2
    remedy = "Leave out a limit that limits nothing."
    assert texts[0].endswith(f"wrong.yaml:5:7: limits.TE: must be a finite value, but is 'inf'. {remedy}")
    with pytest.raises(SpecError) as error:
        messages(tmp_path, "extends: spin_echo\nlimits:\n  voxel: [1 m, 1 m, 1 m]\n  TE: [90 ms, 90 ms]\n")
    (problem,) = error.value.problems
    assert str(problem).endswith(
        "wrong.yaml:6:7: limits.TE: must have one limit for all values, or at most one for each, but has 2 where there "
        "is 1. Values: 12 ms."
    )
