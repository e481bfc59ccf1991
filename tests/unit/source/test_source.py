"""YAML text becomes plain data with places, and nothing in it can hurt."""

import os

import pytest
from pydantic import BaseModel, ConfigDict

from mrisim.errors import SpecError
from mrisim.source import (
    MAX_BYTES,
    MAX_DEPTH,
    did_you_mean,
    inside_folder,
    parse_source,
    read_source,
    spell_path,
    validate,
)


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    flip: int
    phase: str = ""


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    events: dict[str, Inner | list[Inner]]


def message(text):
    with pytest.raises(SpecError) as caught:
        validate(Outer, parse_source(text, "f.yaml"))
    return str(caught.value)


def test_scalars_are_numbers_words_or_text():
    text = "{i: 12, f: 1e-3, t: true, n: null, on: yes, r: 0 .. n - 1, d: 2001-01-01, o: 012, s: '5'}"
    data = parse_source(text).data
    assert data == {
        "i": 12, "f": 1e-3, "t": True, "n": None, "on": "yes", "r": "0 .. n - 1", "d": "2001-01-01", "o": 12.0,
        "s": "5",
    }  # fmt: skip
    assert isinstance(data["i"], int)


def test_every_key_has_its_place():
    source = parse_source("a:\n  - {b: 1}\n  - c: 2\n", "f.yaml")
    assert source.places["a", 0, "b"] == (2, 9)
    assert source.key_places["a", 1, "c"] == (3, 5)
    assert str(source.problem(("a", 1, "c"), "must be 3, but is 2")) == "f.yaml:3:8: a[1].c: must be 3, but is 2."


def test_a_key_that_is_not_there_gets_the_place_of_what_holds_it():
    source = parse_source("a:\n  b: 1\n", "f.yaml")
    assert source.problem(("a", "missing"), "must be there").line == 2


def test_keys_and_types_are_reported_at_once_with_places_and_the_nearest_key():
    assert message("events:\n  a: {flip: x}\n  b: {flip: 1, fase: y}\n").splitlines() == [
        "f.yaml:2:13: events.a.flip: must be a valid integer, but is 'x'.",
        "f.yaml:2:6: events.a: must be a list, but is a mapping.",
        "f.yaml:3:16: events.b.fase: must be a known key, but 'fase' is none. Did you mean 'phase'.",
        "f.yaml:3:6: events.b: must be a list, but is a mapping.",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3", "f.yaml:3:1: a: must be given once, but is given in line 1 already."),
        (
            "a: !!python/object:os.system x",
            (
                "f.yaml:1:4: must be plain YAML, but holds the tag 'tag:yaml.org,2002:python/object:os.system'. "
                "Remove the tag."
            ),
        ),
        (
            "\ta: 1",
            (
                "f.yaml:1:1: must be YAML, but is not: while scanning for the next token found character '\\t' that "
                "cannot start any token. Indent with spaces."
            ),
        ),
        (
            "a: &x [*x]",
            "f.yaml:1:4: a[0]: must be at most 100000 values in 32 levels with aliases expanded, but is more.",
        ),
        ("[" * (MAX_DEPTH + 1), f"f.yaml:1:{MAX_DEPTH + 1}: must be nested at most {MAX_DEPTH} deep, but is more."),
        ("? [a]\n: b", "f.yaml:1:3: must have text as keys, but has a list or a mapping."),
        (
            "a: {x: f(1, 2)}",
            (
                "f.yaml:1:8: a.x: must not hold a comma in YAML's flow style { … } or [ … ], where a comma ends the "
                "value, but does. Put the expression in quotes or on a line of its own."
            ),
        ),
    ],
)
def test_what_is_no_plain_yaml_is_refused(text, expected):
    with pytest.raises(SpecError) as caught:
        parse_source(text, "f.yaml")
    assert str(caught.value) == expected


def test_aliases_may_not_multiply():
    levels = [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 7)]
    with pytest.raises(SpecError, match="with aliases expanded, but is more"):
        parse_source("\n".join(["l0: &l0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]", *levels]))


def test_length_is_bounded(tmp_path):
    with pytest.raises(SpecError, match=f"at most {MAX_BYTES} bytes"):
        parse_source("#" * (MAX_BYTES + 1))
    path = tmp_path / "long.yaml"
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(SpecError, match=f"at most {MAX_BYTES} bytes"):
        read_source(path)


def test_files_that_cannot_be_read_are_spec_errors(tmp_path):
    with pytest.raises(SpecError, match="must be a readable file, but is not: No such file or directory"):
        read_source(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    with pytest.raises(SpecError, match="must be UTF-8 text, but byte 3 is not"):
        read_source(tmp_path / "latin.yaml")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are a thing of POSIX")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(SpecError) as caught:
        read_source(tmp_path / "pipe.yaml")
    expected = f"{tmp_path / 'pipe.yaml'}: must be a readable file, but is not: it is a pipe or a device."
    assert str(caught.value) == expected


@pytest.mark.parametrize("name", ["../secret.csv", "/etc/passwd", "a/../../b", "link", "C:\\b", "a\0b"])
def test_files_outside_of_the_folder_are_refused(tmp_path, name):
    folder = tmp_path / "specs"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(SpecError, match=r"must (lie inside the specification's folder|be a file name)"):
        inside_folder(folder, name)


def test_files_inside_of_the_folder_are_found(tmp_path):
    assert inside_folder(tmp_path, "pulses/a.csv") == tmp_path.resolve() / "pulses" / "a.csv"


def test_words():
    assert spell_path(("timeline", 0, "do", 2)) == "timeline[0].do[2]"
    assert did_you_mean("te", ["TE", "TR"]) == "Did you mean 'TE'"
    assert did_you_mean("xyz", ["TE", "TR"]) == "Known: TE, TR"
