"""New files, their layout, and what differs between two sequences."""

import numpy as np
import pytest
from typer.testing import CliRunner

from mrisim.checking.comparison import TISSUES, compare, contrast
from mrisim.checking.layout import formatted
from mrisim.checking.rules import measure
from mrisim.cli import app
from mrisim.errors import SpecError
from mrisim.paths import library_files
from mrisim.sequence import load_sequence
from mrisim.source import parse_source


def mrisim(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("kind", ["sequences", "phantoms", "protocols"])
def test_layout_changes_no_meaning_and_is_the_same_twice(kind):
    for path in library_files(kind).values():
        text = path.read_text(encoding="utf-8")
        if ": |" in text or ": >" in text:
            continue
        once = formatted(text)
        assert formatted(once) == once
        assert parse_source(once).data == parse_source(text).data
        assert [line for line in once.split("\n") if line] == [line for line in text.split("\n") if line]


def test_untidy_text_becomes_tidy():
    text = "# top\r\nmrisim: 1  \r\nevents:\r\n  a: 1   # why\r\n\r\n\r\n# below\r\ntimeline: [a]"
    assert formatted(text) == "# top\nmrisim: 1\n\nevents:\n  a: 1   # why\n\n# below\ntimeline: [a]\n"


def test_text_that_would_change_is_refused():
    with pytest.raises(SpecError, match="block texts"):
        formatted("a: |\n  one  \n  two\n")


def test_a_new_file_plays_like_its_model_and_is_checked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = mrisim("new", "mine", "--from", "fid")
    assert result.output.splitlines() == ["wrote mine.yaml", "wrote sequence.schema.json"]
    assert load_sequence("mine.yaml").name == "mine"
    assert compare(load_sequence("mine.yaml"), load_sequence("fid")) == ()
    assert mrisim("check", "mine.yaml").output == "mine.yaml: fine\n"
    assert "must not exist already" in mrisim("new", "mine").output
    assert mrisim("format", "--check", "mine.yaml").exit_code == 0


def test_diff_names_times_contrast_and_safety():
    a, b = load_sequence("spin_echo"), load_sequence("spin_echo", TE="30 ms")
    found = {change.quantity: change for change in compare(a, b)}
    assert (found["TE"].first, found["TE"].second) == ("12 ms", "30 ms")
    assert {"TR", "fov", "sar", "pns"}.isdisjoint(found)
    t1, t2 = TISSUES["fat"]
    expected = (1 - 2 * np.exp(-(0.5 - 0.015) / t1) + np.exp(-0.5 / t1)) * np.exp(-0.030 / t2)
    assert contrast(b, measure(b))["fat"] == pytest.approx(expected, abs=1e-3)  # float32, and TE on its raster
    assert found["fat"].group == "contrast"


def test_a_sequence_does_not_differ_from_itself():
    assert mrisim("diff", "bssfp", "bssfp").output == "no difference in time, gradients, k-space, contrast or safety\n"


def test_a_new_file_goes_into_a_folder_that_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sequences").mkdir()
    result = mrisim("new", "sequences/second.yaml", "--from", "fid")
    assert result.output.splitlines() == ["wrote sequences/second.yaml", "wrote sequences/sequence.schema.json"]
    assert load_sequence("sequences/second.yaml").name == "second"
    nowhere = mrisim("new", "elsewhere/mine")
    assert "NAME: must be in a folder that exists, but elsewhere does not. Make it first: mkdir" in nowhere.output
    for wrong in ("", "/", "..", "sequences/", "2d", "a-b"):
        result = mrisim("new", wrong)
        assert (result.exit_code, "must be a name of letters" in result.output) == (2, True)
