"""What docs/validation.md offers to copy: the commands, the workflow's runs and the hook, executed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mrisim.source import parse_source

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "validation.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def workflow() -> dict:
    (found,) = [yaml.safe_load(block) for block in blocks("yaml") if "runs-on" in block]
    return found


def hook() -> dict:
    (found,) = [yaml.safe_load(block) for block in blocks("yaml") if "hooks:" in block]
    return found["repos"][0]["hooks"][0]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A designer's repository with two sequences."""
    (tmp_path / "sequences").mkdir()
    for name in ("fid", "t1_spin_echo"):
        shutil.copy(ROOT / "sequences" / f"{name}.yaml", tmp_path / "sequences")
    return tmp_path


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A shell line, with this Python's mrisim."""
    mrisim = shlex.join([sys.executable, "-m", "mrisim"])
    line = re.sub(r"^mrisim\b", lambda _: mrisim, command)
    return subprocess.run(["sh", "-ec", line], capture_output=True, text=True, cwd=folder)


def steps() -> list[str]:
    lines = [step["run"] for step in workflow()["jobs"]["validate"]["steps"] if "run" in step]
    assert lines[0] == "pip install mrisim"
    return lines[1:]


@pytest.mark.slow
def test_the_workflow_runs_and_turns_red(repository):
    for line in steps():
        done = run(line, repository)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (repository / "out" / "junit.xml").is_file()
    assert (repository / "out" / "validation.html").is_file()
    broken = repository / "sequences" / "fid.yaml"
    broken.write_text(broken.read_text("utf-8").replace("sin(flip * b1)", "sin(flip)"), encoding="utf-8")
    assert run(hook()["entry"] + " sequences/fid.yaml", repository).returncode == 1


def test_the_workflow_is_one():
    job = workflow()
    assert job["jobs"]["validate"]["runs-on"]
    uses = [step["uses"] for step in job["jobs"]["validate"]["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", name) for name in uses)
    assert [line.split()[:2] for line in steps()] == [["mrisim", "check"], ["mrisim", "validate"]]


def test_the_workflow_is_valid_for_github(tmp_path):
    (text,) = [block for block in blocks("yaml") if "runs-on" in block]
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    for name, content, good in (("good", text, True), ("bad", text.replace("runs-on", "run-on"), False)):
        path = tmp_path / f"{name}.yaml"
        path.write_text(content, encoding="utf-8")
        done = subprocess.run([*command, str(path)], capture_output=True, text=True)
        assert (done.returncode == 0) == good, done.stdout + done.stderr


@pytest.mark.slow
def test_the_hook_runs_under_pre_commit(tmp_path):
    """As pre-commit calls it: green on a good file, red on a broken one, silent on others."""
    (text,) = [block for block in blocks("yaml") if "hooks:" in block]
    (tmp_path / ".pre-commit-config.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "sequences").mkdir()
    file = Path(shutil.copy(ROOT / "sequences" / "fid.yaml", tmp_path / "sequences"))
    tools = tmp_path / "tools"
    tools.mkdir()
    program = tools / "mrisim"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m mrisim "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    environment = {
        **os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PRE_COMMIT_HOME": str(tmp_path / "cache"),
        "GIT_CONFIG_GLOBAL": os.devnull,
    }  # fmt: skip

    def pre_commit() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pre_commit", "run", "--all-files"]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)

    for command in (["git", "init", "-q"], ["git", "add", ".pre-commit-config.yaml", "sequences"]):
        subprocess.run(command, check=True, cwd=tmp_path, env=environment)
    good = pre_commit()
    assert good.returncode == 0, good.stdout + good.stderr
    file.write_text(file.read_text("utf-8").replace("sin(flip * b1)", "sin(flip)"), encoding="utf-8")
    bad = pre_commit()
    assert bad.returncode == 1
    assert "Failed" in bad.stdout
    subprocess.run(["git", "rm", "-qf", "--cached", "sequences/fid.yaml"], check=True, cwd=tmp_path, env=environment)
    assert "no files to check" in pre_commit().stdout


def test_the_hook_takes_the_files_that_changed():
    entry = hook()
    assert entry["language"] == "system"
    assert re.search(entry["files"], "sequences/mine.yaml")
    assert not re.search(entry["files"], "sequences/readme.md")


@pytest.mark.parametrize("block", blocks("sh"), ids=lambda block: block.splitlines()[0])
def test_commands_run(block, tmp_path):
    for line in block.splitlines():
        done = run(line, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "junit.xml", "validation.html", "validation.json",
    ]  # fmt: skip


def test_the_expectation_is_one():
    (block,) = [block for block in blocks("yaml") if block.startswith("expect:")]
    text = "mrisim: 1\nextends: spin_echo\n" + block
    path = ROOT / "sequences" / "spin_echo.yaml"
    assert parse_source(text).data["expect"][0]["signal"] == "echo[-1].center"
    assert path.is_file()


def test_links_exist():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
