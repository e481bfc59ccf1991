"""Every command block of the README runs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mrisim.protocol import load_protocol

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    return [[line.split("#")[0].strip() for line in block.splitlines() if line.strip()] for block in blocks("sh")]


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """An empty folder with what a checkout offers to copy."""
    shutil.copytree(ROOT / "sequences", tmp_path / "sequences")
    return tmp_path


def test_the_two_commands_stand_on_top():
    assert commands()[0] == ["make demo", "make test"]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(("target", "expected"), [("demo", "mrisim demo --out out/demo"), ("test", "-m pytest")])
def test_make_knows_the_two_commands(target, expected):
    command = ["make", "--dry-run", target]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert expected in printed


@pytest.mark.parametrize("lines", commands()[1:], ids=lambda lines: lines[0])
def test_command_blocks_run(lines, workplace):
    for line in lines:
        words = shlex.split(line)
        if words[0] == "mrisim":
            words = [sys.executable, "-m", *words]
        result = subprocess.run(words, capture_output=True, text=True, cwd=workplace)
        assert result.returncode == 0, f"{line}\n{result.stdout}{result.stderr}"
    if "run" in lines[0].split():
        assert (workplace / "out" / "run" / "report.html").is_file()


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.splitlines()[2][:30])
def test_python_blocks_run(code, workplace):
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, cwd=workplace, env=environment)
    assert result.returncode == 0, result.stderr


def test_the_protocol_is_one(tmp_path):
    (block,) = blocks("yaml")
    (tmp_path / "exam.yaml").write_text(block, encoding="utf-8")
    assert [scan.name for scan in load_protocol(tmp_path / "exam.yaml").scans] == ["t1w", "ir"]


def test_links_and_pictures_exist():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_picture_is_small():
    assert (ROOT / "docs" / "images" / "brain_demo.png").stat().st_size < 200_000
