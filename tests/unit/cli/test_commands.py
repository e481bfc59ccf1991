"""Commands, their output and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from mrisim import __version__
from mrisim.cli.options import assignments
from mrisim.errors import SpecError
from mrisim.paths import library_files

TUBE = """\
mrisim: 1
phantom: a tube
size: [40 mm, 40 mm, 20 mm]
voxel: 2 mm
shapes:
  - {cylinder: {radius: 15 mm, center: [0 mm, 0 mm, 0 mm]}, tissue: {T1: 500 ms, T2: 60 ms, PD: 1}}
"""


def test_list_names_the_whole_library(mrisim):
    output = mrisim("list").output
    for kind in ("sequences", "phantoms", "protocols"):
        names = {path.stem for path in library_files(kind).values()} - {"tissues"}
        assert names <= set(output.split()), kind


def test_show_prints_parameters_timing_and_what_was_found(mrisim):
    result = mrisim("show", "spin_echo", "--set", "TE=30 ms", "--set", "TR=1 s", "--set", "matrix=64")
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    assert any(line.startswith("TE 30 ms set ") for line in lines)
    assert any(line.startswith("matrix 64, 64 set ") for line in lines)
    assert "found TE 30 ms · TR 1 s · 64 readouts" in lines
    assert any("excite.rf.center → read.adc.center" in line for line in lines)


def test_show_names_the_inversion_time_at_the_center_of_k_space(mrisim):
    result = mrisim("show", "mprage", "--set", "matrix=[32,32,16]")
    assert "· TI 900 ms ·" in result.output  # lines away from the center have others


def test_show_draws_where_it_is_told_to(mrisim, tmp_path):
    result = mrisim("show", "flash_2d", "--set", "matrix=16", "--out", tmp_path / "pictures")
    assert result.exit_code == 0
    assert sorted(os.listdir(tmp_path / "pictures")) == ["sequence.png", "trajectory.png"]
    assert (tmp_path / "pictures" / "sequence.png").read_bytes().startswith(b"\x89PNG")


def test_show_knows_protocols(mrisim):
    output = mrisim("show", "brain_demo").output
    assert "inversion_recovery" in output
    assert "brain_with_tumour" in output


def test_run_writes_a_report_and_prints_a_table(mrisim, tmp_path):
    (tmp_path / "tube.yaml").write_text(TUBE)
    result = mrisim(
        *("run", "spin_echo", "--phantom", tmp_path / "tube.yaml", "--out", tmp_path / "out", "--isochromats", 3),
        *("--set", "matrix=16", "--set", "fov=[48 mm, 48 mm]", "--set", "TR=200ms", "--noise", "snr 50", "--coils", 2),
    )
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "report.html").is_file()
    assert f"report: {tmp_path / 'out' / 'report.html'}" in result.output
    assert "simulate" in result.output
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["provenance"]["options"]["noise"] == "snr 50"
    assert record["scans"]["spin_echo"][0]["simulation"]["n_coils"] == 2


@pytest.mark.parametrize("kind", ["sequence", "phantom", "protocol"])
def test_schema_prints_json(mrisim, kind):
    schema = json.loads(mrisim("schema", kind).output)
    assert schema["type"] == "object"
    assert "mrisim" in schema["properties"]


def test_check_is_fine_with_the_library(mrisim):
    result = mrisim("check", "spin_echo", "brain", "points")
    assert result.exit_code == 0
    assert result.output.splitlines() == ["spin_echo: fine", "brain: fine", "points: fine"]


def test_check_finds_violations(mrisim, tmp_path):
    (tmp_path / "weak.yaml").write_text(
        "mrisim: 1\nname: weak\ndescription: a spin echo on a weaker scanner\n"
        "events:\n  pulse: {rf: {shape: block, amplitude: 25 uT, duration: 1 ms, use: excitation}}\n"
        "timeline: [pulse]\n"
    )
    result = mrisim("check", tmp_path / "weak.yaml")
    assert result.exit_code == 1, result.output
    assert "must be at most" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "spin_eco"), "Did you mean 'spin_echo'"),
        (("show", "nowhere.yaml"), "must be a readable file"),
        (("show", "spin_echo", "--set", "TE=5"), "must be a time with its unit, but is 5. Did you mean '5 ms'"),
        (("show", "spin_echo", "--set", "TE=5 mm"), "a length"),
        (("show", "spin_echo", "--set", "TE=2 ms"), "must be at least"),
        (("show", "spin_echo", "--set", "TE"), "--set: must be NAME=VALUE, but is 'TE'. Write --set TE=96ms."),
        (("show", "t2_tse", "--set", "matrix=100"), "must be whole"),
        (("show", "brain_demo", "--set", "TE=1 s"), "must be left out for a protocol"),
        (("check", "brain_dmo"), "Did you mean 'brain_demo'"),
        (("run", "brain_dmo"), "Did you mean 'brain_demo'"),
        (("run", "brain"), "must be a sequence or a protocol, but is the phantom 'brain'"),
        (("run", "fid", "--phantom", "brian"), "brain"),
        (("run", "fid", "--memory", "lots"), "must be an amount of memory"),
    ],
)
def test_bad_input_is_a_message_and_exit_code_2(mrisim, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = mrisim(*arguments)
    assert result.exit_code == 2
    assert result.output.startswith("error: ")
    assert message in result.output
    assert "Traceback" not in result.output
    assert os.listdir(tmp_path) == []


def test_usage_errors_exit_with_2(mrisim):
    assert mrisim("run", "fid", "--engine", "magic").exit_code == 2
    assert mrisim("fly").exit_code == 2


def test_an_interrupt_exits_with_130(mrisim, monkeypatch):
    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mrisim.sequence.load_sequence", interrupted)
    result = mrisim("show", "spin_echo")
    assert result.exit_code == 130
    assert result.output == "interrupted\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no device that is always full")
@pytest.mark.parametrize("command", [["list"], ["show", "bssfp"], ["schema", "phantom"]])
def test_output_that_cannot_be_written_is_a_message(command):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mrisim", *command], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert done.stderr == "error: output: must be readable and writable, but is not: No space left on device\n"


def test_all_assignments_that_are_wrong_are_named_at_once():
    with pytest.raises(SpecError) as caught:
        assignments(["TE", "TR=1 s", "TR=2 s", "fov=[1"])
    assert [problem.path for problem in caught.value.problems] == ["--set", "--set", "--set fov"]


def test_assignments_are_yaml_values():
    assert assignments(["a=3", "b=[1 mm, 2 mm]", "c=true", "d=5ms"]) == {
        "a": "3",
        "b": ["1 mm", "2 mm"],
        "c": True,
        "d": "5ms",
    }


def test_the_version_is_printed(mrisim):
    assert mrisim("--version").output == f"mrisim {__version__}\n"


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from typer.testing import CliRunner; from mrisim.cli import app\n"
        "assert 'schema' in CliRunner().invoke(app, ['--help']).output\n"
        "print([name for name in ('jax', 'numpy', 'scipy', 'matplotlib', 'pydantic') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_python_dash_m_works():
    begin = time.perf_counter()
    result = subprocess.run([sys.executable, "-m", "mrisim", "--version"], capture_output=True, text=True, check=True)
    assert result.stdout == f"mrisim {__version__}\n"
    assert time.perf_counter() - begin < 10.0  # 0.3 s on a quiet machine
