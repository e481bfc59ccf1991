"""Files of versions that mrisim does not write, uses and slices that a file does not say, and the commands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import mrisim as mr
from mrisim.cli import app
from mrisim.events.blocks import Use

SHAPES = """
[SHAPES]

shape_id 1
num_samples 1000
1
0
0
997

shape_id 2
num_samples 1000
0
0
998

shape_id 3
num_samples 4
0.5
0
0.25
-0.25
"""
OLD = {
    "1.2.0": "[BLOCKS]\n1 0 1 0 0 1 0\n2 1 0 0 0 0 0\n3 0 2 0 0 0 0\n4 0 0 2 0 0 1\n",
    "1.3.1": "[BLOCKS]\n1 0 1 0 0 1 0 0\n2 1 0 0 0 0 0 1\n3 0 2 0 0 0 0 0\n4 0 0 2 0 0 1 3\n",
}


def old_file(path: Path, version: str) -> Path:
    """A spin echo: durations follow from events and delays, every shape is compressed."""
    minor, revision = version.split(".")[1:]
    text = f"[VERSION]\nmajor 1\nminor {minor}\nrevision {revision}\n[DEFINITIONS]\nName old\n{OLD[version]}"
    text += "[RF]\n1 250 1 2 100 0 0\n2 500 1 2 0 0 1.5708\n[TRAP]\n1 4e5 100 1000 100 0\n[GRADIENTS]\n2 1e5 3 20\n"
    text += "[ADC]\n1 4 10000 30 0 0\n[DELAYS]\n1 5000\n"
    if version == "1.3.1":
        text += (
            "[EXTENSIONS]\n1 2 1 2\n2 1 1 0\n3 2 1 0\nextension LABELSET 1\n1 7 LIN\nextension LABELINC 2\n1 2 LIN\n"
        )
    path.write_text(text + SHAPES)
    return path


@pytest.mark.parametrize("version", OLD)
def test_versions_before_1_4(tmp_path, version):
    seq = mr.load_sequence(old_file(tmp_path / "old.seq", version))
    np.testing.assert_allclose(seq.blocks.duration, [1.2e-3, 5e-3, 1e-3, 70e-6])
    np.testing.assert_allclose(np.degrees(seq.rf.flip), [90, 180])
    gradient = seq.gradient_shapes[seq.gradients.shape[1]]
    np.testing.assert_allclose(gradient.times, np.array([20, 25, 35, 45, 55, 60]) * 1e-6)
    # the shape has as many values as samples and is compressed all the same
    np.testing.assert_allclose(gradient.values[1:-1], [0.5, 0.5, 0.75, 0.5])
    # no gradient before it; the end is extrapolated from the last two samples
    assert gradient.values[[0, -1]] == pytest.approx([0.0, 1.5 * 0.5 - 0.5 * 0.75])
    if version == "1.3.1":
        assert seq.blocks.labels["LIN"].tolist() == [0, 9, 9, 11]  # all that a block sets, then all that it adds


def test_uses_that_a_file_does_not_say(tmp_path):
    path = old_file(tmp_path / "old.seq", "1.3.1")
    seq = mr.load_sequence(path)
    assert seq.rf.use.tolist() == [Use.EXCITATION, Use.REFOCUSING]
    (finding,) = [f for f in seq.findings if f.topic == "use of pulses"]
    assert "excitation=1 refocusing=2" in finding.text
    told = mr.load_sequence(path, use={"preparation": [1], "inversion": [2]})
    assert told.rf.use.tolist() == [Use.PREPARATION, Use.INVERSION]
    assert "use of pulses" not in [f.topic for f in told.findings]
    with pytest.raises(mr.SpecError) as caught:
        mr.load_sequence(path, use={"refocussing": [1], "inversion": [3]})
    assert "use: must be a use of pulses, but 'refocussing' is none" in str(caught.value)
    assert f"{path}: use: must name RF events of the file, but 3 is none. There are 1-2." in str(caught.value)


def test_slices_that_a_file_does_not_say(tmp_path):
    """A block of 1 ms is 1.207 kHz wide at half maximum; under 400 kHz/m that is 3 mm."""
    seq = mr.load_sequence(old_file(tmp_path / "old.seq", "1.3.1"))
    assert seq.rf.slice_axis.tolist() == [2, -1]
    assert seq.rf.thickness[0] == pytest.approx(1.207e3 / 4e5, rel=1e-3)
    assert "slices" in [f.topic for f in seq.findings]


def run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_commands_on_files(tmp_path):
    path = tmp_path / "fid.seq"
    done = run("convert", "fid", path, "--version", "1.4.1")
    assert done.exit_code == 0, done.output
    assert done.output.strip() == f"wrote {path}"
    assert "minor 4\nrevision 1\n" in path.read_text()
    assert run("check", path, "--strict").output.strip() == f"{path}: fine"
    assert "FID" in run("show", path).output
    (tmp_path / "weak.yaml").write_text("max_b1: 1 uT\n")
    weak = run("check", path, "--system", tmp_path / "weak.yaml")
    assert weak.exit_code == 1
    assert "RF peak: must be at most 1 uT" in weak.output
    copied = run("convert", path, tmp_path / "copy.seq", "--use", "refocusing=1")
    assert copied.exit_code == 0
    assert mr.load_sequence(tmp_path / "copy.seq").rf.use[0] == Use.REFOCUSING
    wrong = run("convert", "fid", path, "--version", "1.5.0")
    assert wrong.exit_code == 2
    assert "version: must be one of 1.4.1, 1.5.1, but is '1.5.0'" in wrong.output
    assert "must be USE=NUMBERS" in run("show", path, "--use", "refocusing").output


def test_a_foreign_file_runs_to_an_image(tmp_path):
    """Without its record a file has slices, lines and field of view from its events."""
    path = tmp_path / "a.seq"
    mr.write_sequence(mr.load_sequence("spin_echo", matrix=16, TR="100 ms"), path)
    text = path.read_text().split("\n[SIGNATURE]")[0]
    path.write_text("\n".join(line for line in text.split("\n") if not line.startswith("mrisim_")) + "\n")
    assert mr.run(path, phantom="brain", isochromats=1).image.data.shape == (1, 1, 16, 16)
    rng = np.random.default_rng(3)
    spins = mr.Phantom.from_arrays(position=rng.normal(size=(50, 3)) * [0.04, 0.03, 1e-3], t1=0.3, t2=0.08, weight=1e-6)
    ours = mr.run("spin_echo", phantom=spins, set={"matrix": 16, "TR": "100 ms"}).image.magnitude.ravel()
    theirs = mr.run(path, phantom=spins).image.magnitude.ravel()
    # the thickness of a slice, so the scale, is that of the pulse's profile
    assert np.corrcoef(ours, theirs)[0, 1] > 1 - 1e-6
