"""A run that was killed goes on with --resume, and its files are those of an undisturbed one."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import mrisim as mr
from mrisim.errors import ConsistencyError

SCAN = {"set": {"matrix": 32, "TR": "300 ms"}, "isochromats": 1}
ARGUMENTS = ["--set", "matrix=32", "--set", "TR=300ms", "--isochromats", "1", "--memory", "20 MB"]


def unfinished(out) -> list[str]:
    return sorted(path.name for path in out.parent.glob(".*.unfinished/*"))


class Stop(Exception):
    pass


def test_a_failed_run_leaves_its_samples_and_no_files(tmp_path, monkeypatch):
    out = tmp_path / "out"

    def fail(*_):
        raise Stop

    run = importlib.import_module("mrisim.pipeline.run")
    monkeypatch.setattr(run, "reconstruct", fail)
    with pytest.raises(Stop):
        mr.run("spin_echo", out=out, **SCAN)
    monkeypatch.undo()
    assert not out.exists()
    assert unfinished(out) == ["spin_echo_1.npz"]
    with pytest.raises(ConsistencyError, match="must belong to this run"):
        mr.run("spin_echo", out=out, resume=True, **{**SCAN, "isochromats": 2})
    resumed = mr.run("spin_echo", out=out, resume=True, **SCAN)
    assert np.array_equal(
        resumed.scans["spin_echo"].raw[0].signal, mr.run("spin_echo", **SCAN).scans["spin_echo"].raw[0].signal
    )
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.slow
@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_process_goes_on(tmp_path, blow):
    """Ctrl-C ends within a second or two and says how to go on; after SIGKILL nothing could be said."""
    out, environment = tmp_path / "out", {**os.environ, "MRISIM_CHECKPOINT_SECONDS": "0"}
    command = [sys.executable, "-m", "mrisim", "run", "spin_echo", "--out", str(out), *ARGUMENTS]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    while process.poll() is None and not unfinished(out)[1:]:  # the folder of files, and a checkpoint
        time.sleep(0.02)
    process.send_signal(blow)
    begin = time.monotonic()
    _, said = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("done before the blow")
    assert not out.exists()
    if blow == signal.SIGINT:
        assert process.returncode == 130
        assert "interrupted; --resume goes on from here" in said
        assert time.monotonic() - begin < 20  # a second on a quiet machine
    subprocess.run([*command, "--resume"], check=True, capture_output=True)
    found = mr.load(out / "kspace" / "spin_echo.h5").signal
    plain = mr.run("spin_echo", memory="20 MB", **SCAN).scans["spin_echo"].raw[0].signal
    assert np.array_equal(found, plain)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
