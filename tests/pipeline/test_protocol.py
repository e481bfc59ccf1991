"""The grammar of protocol files."""

from __future__ import annotations

import json
import re

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrisim.errors import MrisimError, SpecError
from mrisim.paths import library_files
from mrisim.pipeline import run
from mrisim.protocol import json_schema, load_protocol
from mrisim.source import read_source


def write(folder, text):
    (folder / "exam.yaml").write_text(text)
    return folder / "exam.yaml"


def test_a_protocol_is_resolved(folder):
    protocol = load_protocol(folder / "exam.yaml")
    assert [scan.name for scan in protocol.scans] == ["ir", "se"]
    assert protocol.scans[0].varied == ("TI",)
    assert protocol.scans[0].runs[1] == {"TR": "6 s", "matrix": "32", "fov": "64 mm", "TI": "400 ms"}
    assert protocol.maps["T2"] == {"fit": "monoexponential", "from": "se", "t1": "T1"}
    assert protocol.phantom == str(folder / "tubes.yaml")
    assert protocol.simulation == {"isochromats": 3}


def test_parameters_go_in_step(folder):
    text = HEAD + "scans:\n  a: {sequence: spin_echo, each: {TE: [12 ms, 20 ms], TR: [1 s, 2 s]}}\n"
    runs = load_protocol(write(folder, text)).scans[0].runs
    assert [dict(run) for run in runs] == [{"TE": "12 ms", "TR": "1 s"}, {"TE": "20 ms", "TR": "2 s"}]


HEAD = "mrisim: 1\nprotocol: x\nphantom: brain\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD, "exam.yaml:1:1: must have the key 'scans', but has none. Add 'scans: …'."),
        (
            HEAD + "scans: {a: {sequnce: spin_echo}}\n",
            "exam.yaml:4:13: scans.a.sequnce: must be a known key, but 'sequnce' is none. Did you mean 'sequence'.",
        ),
        (
            HEAD + "scans: {a: {sequence: spin_echo}}\nmaps: {T1: {fit: x, from: b}}\n",
            "exam.yaml:5:27: maps.T1.from: must be a scan of this protocol, but is 'b'. Known: a.",
        ),
        (
            HEAD + "scans: {a: {sequence: spin_echo}, b: {sequence: fid}}\nmaps: {T1: {fit: x}}\n",
            "exam.yaml:5:12: maps.T1: must say which scan it comes from, but does not. Add from: one of a, b.",
        ),
        (
            HEAD + "scans: {a: {sequence: spin_echo, each: {TE: [12 ms, 13 ms], TR: [1 s]}}}\n",
            "exam.yaml:4:40: scans.a.each: must have lists of one length, but has 1, 2. Lists go in step.",
        ),
        (
            HEAD + "scans: {a: {sequence: spin_echo, set: {TE: 12 ms}, each: {TE: [12 ms]}}}\n",
            "exam.yaml:4:59: scans.a.each.TE: must be in set or in each, but is in both.",
        ),
        (
            HEAD + "scans: {a: {sequence: ../evil.yaml}}\n",
            "exam.yaml:4:23: scans.a.sequence: must lie inside the specification's folder, but is '../evil.yaml'.",
        ),
        (
            HEAD + "scans: {../a: {sequence: fid}}\n",
            "exam.yaml:4:9: scans.../a: must be a name of letters, digits, _ and -, but is '../a'.",
        ),
    ],
)
def test_a_broken_protocol_says_where(folder, text, message):
    with pytest.raises(SpecError) as caught:
        load_protocol(write(folder, text))
    assert message in str(caught.value).replace(f"{folder}/", "")


def test_problems_of_all_scans_come_at_once_with_their_places(folder):
    text = HEAD + "scans:\n  a: {sequence: spin_echo, set: {TE: 1 ms}}\n  b: {sequence: spin_echo, set: {flip: 90}}\n"
    with pytest.raises(SpecError) as caught:
        run(write(folder, text))
    lines = str(caught.value).replace(f"{folder}/", "").splitlines()
    assert any("timing[1] (TE): must be at least" in line and "but is 1 ms" in line for line in lines)
    assert any(line.startswith("exam.yaml:6:40: scans.b.set.flip: must be a parameter") for line in lines)


def test_a_number_without_its_unit_is_refused(folder):
    text = HEAD + "scans:\n  a: {sequence: spin_echo, set: {TE: 30, matrix: 32}}\n"
    with pytest.raises(SpecError) as caught:
        run(write(folder, text))
    assert "exam.yaml:5:38: scans.a.set.TE: must be a time with its unit, but is 30." in str(caught.value)


def test_a_varied_parameter_cannot_be_set(folder):
    with pytest.raises(SpecError) as caught:
        run(folder / "exam.yaml", set={"TI": "1 s"})
    assert str(caught.value) == (
        "TI: must not be set, because scan 'ir' varies it, but is. Set it in a copy of the protocol."
    )


def test_an_unknown_protocol_names_the_nearest():
    with pytest.raises(SpecError, match="Did you mean 'brain_demo'"):
        load_protocol("brain_dmo")


def test_names_are_unique_over_the_libraries():
    names = [set(library_files(kind)) for kind in ("sequences", "phantoms", "protocols")]
    assert sum(len(each) for each in names) == len(set.union(*names))


@pytest.mark.parametrize("name", sorted(library_files("protocols")))
def test_the_library_fits_its_schema(name):
    validator = jsonschema.validators.validator_for(json_schema())(json_schema())
    assert list(validator.iter_errors(read_source(library_files("protocols")[name]).data)) == []


def test_the_committed_schema_is_current():
    committed = library_files("protocols")["brain_demo"].parent / "protocol.schema.json"
    assert json.loads(committed.read_text(encoding="utf-8")) == json_schema()


words = st.sampled_from(
    ["mrisim", "protocol", "scans", "sequence", "set", "each", "maps", "fit", "from", "1 s", "fid", "a"]
)
values = st.recursive(
    words | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=10,
)


@given(
    st.fixed_dictionaries({}, optional={key: values for key in ("mrisim", "protocol", "phantom", "scans", "maps", "x")})
)
def test_nothing_but_a_typed_error_comes_out(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "broken.yaml"
    path.write_text(json.dumps({"protocol": "x", **data}), encoding="utf-8")
    problems, scans = (), []
    try:
        scans = load_protocol(path).scans
    except MrisimError as error:
        problems = error.problems
    assert bool(problems) != bool(scans)  # either says what is wrong or gives something to run
    assert {problem.file for problem in problems} <= {str(path)}
    assert all(re.search(r"\b(must|cannot)\b", problem.rule) for problem in problems)


def test_a_scan_may_filter_its_images_and_cut_tissue_outside_the_field_of_view(tmp_path):
    """Half of a bar lies outside a field of view that is half as wide: it wraps, unless an extent leaves it out."""
    (tmp_path / "bar.yaml").write_text(
        "mrisim: 1\nphantom: bar\nsize: [80 mm, 20 mm, 20 mm]\nvoxel: 4 mm\nisochromats: 1\n"
        "shapes:\n  - {rectangle: {size: [80 mm, 20 mm]}, tissue: {T1: 1 s, T2: 90 ms}}\n"
    )
    text = (
        "mrisim: 1\nprotocol: x\nphantom: bar.yaml\nscans:\n"
        "  plain: {{sequence: spin_echo, set: {{matrix: [24, 12], fov: [96 mm, 48 mm]}}}}\n"
        "  cut: {{sequence: spin_echo, set: {{matrix: [24, 12], fov: [96 mm, 48 mm]}}, window: tukey,\n"
        "        simulation: {{extent: [40 mm, 40 mm]}}}}\n"
        "simulation: {{isochromats: 1, pulses: ideal, spoiling: ideal}}\n"
    )
    (tmp_path / "exam.yaml").write_text(text.replace("{{", "{").replace("}}", "}"))
    result = run(tmp_path / "exam.yaml")
    wide, cut = (np.abs(result.scans[name].image.data[0, 0, 6]) for name in ("plain", "cut"))
    far = np.abs(np.arange(24) - 12) > 7  # 28 mm from the middle
    assert wide[far].max() > 0.5 * wide[12]
    assert cut[far].max() < 0.05 * cut[12]  # a window's response three voxels from an edge
    assert result.scans["cut"].image.provenance["recon"]["window"] == "tukey"
    assert result.scans["plain"].image.provenance["recon"]["window"] == "none"
