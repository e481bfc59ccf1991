"""Files by name: extends, scanners, the list of the library, the schema, and speed."""

import dataclasses
import json
import re
import subprocess
import sys
import time

import jsonschema
import numpy as np
import pytest

from mrisim.errors import SpecError
from mrisim.paths import library_files, library_folder
from mrisim.scanner import Scanner
from mrisim.sequence import grammar, json_schema, list_sequences, load_sequence
from mrisim.sequence.functions import FUNCTIONS
from mrisim.source import read_source

BASE = """mrisim: 1
name: base
parameters:
  TE: {value: 10 ms, min: 2 ms, doc: echo time}
  flip: 30 deg
events:
  excite: {rf: {shape: block, flip: flip, duration: 1 ms, use: excitation}}
  read: {adc: {samples: 16, dwell: 10 us}}
timeline: [excite, {wait: fill}, read]
timing:
  - {name: TE, from: excite.rf.center, to: read.adc.center, is: TE, solve: fill}
"""


def write(folder, name, text):
    (folder / name).write_text(text)
    return folder / name


def test_a_file_may_extend_another_and_change_it_by_name(tmp_path):
    write(tmp_path, "base.yaml", BASE)
    path = write(
        tmp_path,
        "other.yaml",
        "mrisim: 1\nextends: base.yaml\nname: other\nparameters: {TE: 20 ms}\nsystem: {b0: 1.5 T}\n"
        "events: {read: {adc: {samples: 8, dwell: 20 us}}}\n",
    )
    seq = load_sequence(path)
    assert (seq.name, seq.system.b0) == ("other", 1.5)
    assert seq.parameters["TE"].value == 20e-3
    assert seq.parameters["TE"].doc == "echo time"
    assert seq.adc.samples.tolist() == [8]
    assert seq.rf.flip[0] == pytest.approx(np.radians(30))


def test_bounds_of_what_is_extended_still_hold(tmp_path):
    write(tmp_path, "base.yaml", BASE)
    path = write(tmp_path, "other.yaml", "mrisim: 1\nextends: base.yaml\nparameters: {TE: 1 ms}\n")
    with pytest.raises(SpecError) as caught:
        load_sequence(path)
    assert str(caught.value) == f"{path}:3:18: parameters.TE.value: must be at least 2 ms, but is 1 ms."


def test_problems_stand_in_the_file_that_has_them(tmp_path):
    write(tmp_path, "base.yaml", BASE.replace("flip: flip,", "flip: flop,"))
    path = write(tmp_path, "other.yaml", "mrisim: 1\nextends: base.yaml\nparameters: {TE: 20 mm}\n")
    with pytest.raises(SpecError) as caught:
        load_sequence(path)
    assert [line.split(" ")[0] for line in str(caught.value).splitlines()] == [
        f"{tmp_path}/base.yaml:7:37:",  # flop is unknown
        f"{tmp_path}/base.yaml:5:3:",  # flip is not used
        f"{tmp_path}/base.yaml:4:27:",  # the bound of TE is no length
    ]


def test_a_library_sequence_may_be_extended_by_name(tmp_path):
    path = write(
        tmp_path, "mine.yaml", "mrisim: 1\nextends: flash_2d\nname: mine\nparameters: {matrix: [16, 8], TR: 20 ms}\n"
    )
    seq = load_sequence(path)
    assert seq.recon.matrix == (16, 8, 1)
    assert seq.reference == load_sequence("flash_2d").reference


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"a.yaml": "extends: a.yaml"},
            ("a.yaml:2:10: extends: must not extend itself, but 'a.yaml' leads back to a.yaml. Remove one 'extends'."),
        ),
        (
            {"a.yaml": "extends: b.yaml", "b.yaml": "extends: a.yaml"},
            "b.yaml:2:10: extends: must not extend itself, but ",
        ),
        ({"a.yaml": "extends: ../b.yaml"}, "must lie inside the specification's folder, but is '../b.yaml'."),
        (
            {"a.yaml": "extends: flash2d"},
            (
                "must be a sequence of the library or a file beside this one, but 'flash2d' is "
                "neither. Did you mean 'flash_2d'."
            ),
        ),
        ({"a.yaml": "extends: b.yaml"}, "must be a readable file, but is not: No such file or directory."),
        (
            {"a.yaml": "extends: [b]"},
            "extends: must be the name of a sequence or of a file beside this one, but is not.",
        ),
    ],
)
def test_what_cannot_be_extended(tmp_path, files, message):
    for name, text in files.items():
        write(tmp_path, name, f"mrisim: 1\n{text}\n")
    with pytest.raises(SpecError) as caught:
        load_sequence(tmp_path / "a.yaml")
    assert message in str(caught.value)


def test_unknown_names_and_missing_files():
    with pytest.raises(SpecError, match=r"but 'flash2d' is neither\. Did you mean 'flash_2d'\."):
        load_sequence("flash2d")
    with pytest.raises(SpecError, match="must be a readable file, but is not: No such file or directory"):
        load_sequence("nowhere/none.yaml")


def test_a_file_must_name_the_version_of_the_language(tmp_path):
    with pytest.raises(SpecError, match="must have the key 'mrisim', the version of the language"):
        load_sequence(write(tmp_path, "a.yaml", "name: x\ntimeline: [{wait: 1 ms}]\n"))
    with pytest.raises(SpecError, match=r"a\.yaml:1:9: mrisim: must be 1, but is 2"):
        load_sequence(write(tmp_path, "a.yaml", "mrisim: 2\nname: x\ntimeline: [{wait: 1 ms}]\n"))


def test_the_default_scanner_is_written_down(tmp_path):
    path = write(tmp_path, "a.yaml", "mrisim: 1\nname: x\nsystem: default_3t\ntimeline: [{wait: 1 ms}]\n")
    named, default = (dataclasses.asdict(s) for s in (load_sequence(path).system, Scanner()))
    assert named.pop("name") == default.pop("name")
    assert named == pytest.approx(default, rel=4 * np.finfo(float).eps)  # units are factors
    written = set(read_source(library_folder("sequences") / "systems" / "default_3t.yaml").data)
    assert written == {field.name for field in dataclasses.fields(Scanner)}


@pytest.mark.parametrize(
    ("system", "message"),
    [
        ("default_7t", "system: must be a system of the library, but 'default_7t' is none. "),
        ("{max_gradient: 40}", "system.max_gradient: must be a gradient with its unit, but is 40."),
        ("{block_raster: 0 s}", "system.block_raster: must be above zero, but is 0 ms."),
        ("{b0: 3 mT/m}", "system.b0: must be a field strength with its unit, but is 3 mT/m."),
        ("{gamma: -1.0}", "system.gamma: must be in Hz per tesla, but is -1."),
        ("{slew: 3}", "system.slew: must be a known key, but 'slew' is none."),
    ],
)
def test_what_is_no_system(tmp_path, system, message):
    with pytest.raises(SpecError) as caught:
        load_sequence(write(tmp_path, "a.yaml", f"mrisim: 1\nname: x\nsystem: {system}\ntimeline: [{{wait: 1 ms}}]\n"))
    assert message in str(caught.value)


def test_another_nucleus_keeps_the_limits_in_tesla(tmp_path):
    path = write(tmp_path, "a.yaml", "mrisim: 1\nname: x\nsystem: {gamma: 10.7084e6}\ntimeline: [{wait: 1 ms}]\n")
    system = load_sequence(path).system
    assert system.max_gradient / system.gamma == pytest.approx(40e-3)


def test_listing_the_library_waits_for_no_numerical_library():
    look = "print({'jax', 'scipy'} & set(sys.modules))"
    code = f"import sys; from mrisim.sequence import list_sequences; list_sequences(); {look}"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_the_library_is_listed():
    rows = list_sequences()
    assert [name for name, _, _ in rows] == list(library_files("sequences"))
    assert all(description and path.exists() for _, description, path in rows)


def test_the_schema_is_current():
    """`mrisim.sequence.schema.write_schema()` writes it."""
    committed = json.loads((library_folder("sequences") / "sequence.schema.json").read_text("utf-8"))
    assert committed == json_schema()


@pytest.mark.parametrize("name", sorted(library_files("sequences")))
def test_the_schema_accepts_the_library(name):
    validator = jsonschema.validators.validator_for(json_schema())(json_schema())
    assert list(validator.iter_errors(read_source(library_files("sequences")[name]).data)) == []


@pytest.mark.parametrize("change", [{"nmae": 1}, {"timeline": []}, {"mrisim": 3}, {"events": {"a": {"gu": {}}}}])
def test_the_schema_refuses_what_the_language_refuses(change):
    data = read_source(library_files("sequences")["flash_2d"]).data
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data | change, json_schema())


def test_a_scan_of_330_000_blocks_expands_at_once():
    """No loop over blocks: the time is that of a few arrays. 2 s is the promise; a slow machine takes a third of it."""
    began = time.process_time()
    seq = load_sequence("flash_3d", matrix=(64, 256, 256), TR="10 ms", TE="4 ms")
    assert len(seq.blocks) >= 330_000
    assert time.process_time() - began < 2.0
    assert len(seq.rf.phase) <= 360  # phases are whole degrees


def test_partial_changes_of_parameters_do_not_touch_the_file(tmp_path):
    path = write(tmp_path, "base.yaml", BASE)
    before = path.read_text()
    assert load_sequence(path, TE="15 ms").timing[0].asked == pytest.approx(15e-3)
    assert load_sequence(path).timing[0].asked == pytest.approx(10e-3)
    assert path.read_text() == before


def test_the_page_on_the_language_names_every_function_and_every_key():
    page = (library_folder("sequences").parent / "docs" / "language.md").read_text("utf-8")
    keys = {key for model in _models(grammar.Model) for key in (f.alias or n for n, f in model.model_fields.items())}
    keys -= set(grammar.SystemModel.model_fields)  # the page refers to the written-down scanner for these
    words = set(re.findall(r"\w+", page))
    assert not (keys | set(FUNCTIONS)) - words


def _models(model):
    return [model, *(inner for sub in model.__subclasses__() for inner in _models(sub))]
