"""Every block of code in the pages of the documentation runs; every file that they show is one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import mrisim as mr
from mrisim.events.readouts import readout_table
from mrisim.protocol import load_protocol
from mrisim.source import parse_source

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))}
ELSEWHERE = ("import MRzeroCore",)  # needs what is not installed
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    "PYTHONWARNINGS": "error",
}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL)


def named(language: str) -> list[tuple[str, str]]:
    return [(page, block) for page in PAGES for block in blocks(page, language)]


def title(pair: tuple[str, str]) -> str:
    return f"{pair[0]}: {pair[1].splitlines()[0][:30]}"


@pytest.fixture(scope="module")
def pulseq_file(tmp_path_factory) -> Path:
    """flash.seq as the script of pypulseq on the page writes it."""
    pytest.importorskip("pypulseq")
    folder = tmp_path_factory.mktemp("pypulseq")
    (script,) = [code for code in blocks("coming_from", "python") if "import pypulseq" in code]
    run([sys.executable, "-c", script], folder, PYTHONWARNINGS="default")
    return folder / "flash.seq"


@pytest.fixture
def workplace(tmp_path: Path, request) -> Path:
    """A folder with what the pages suppose: mine.yaml, exam.yaml, scan.seq, flash.seq."""
    sequence, *parts = blocks("start", "yaml")
    (tmp_path / "mine.yaml").write_text("\n".join([sequence, *parts]), encoding="utf-8")
    (tmp_path / "exam.yaml").write_text(blocks("protocols", "yaml")[0], encoding="utf-8")
    return tmp_path


def run(command: list[str], folder: Path, allowed: tuple[int, ...] = (0,), **environment: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env={**ENVIRONMENT, **environment})
    assert done.returncode in allowed, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_python_runs(page, workplace, request):
    """All blocks of a page, one after the other; that of pypulseq runs for its file."""
    codes = [code for code in blocks(page, "python") if not any(words in code for words in ELSEWHERE)]
    if any("flash.seq" in code for code in codes):
        shutil.copy(request.getfixturevalue("pulseq_file"), workplace)
    run([sys.executable, "-c", "\n".join(code for code in codes if "import pypulseq" not in code)], workplace)


@pytest.mark.slow
@pytest.mark.parametrize("pair", [p for p in named("sh") if p[0] != "validation"], ids=title)
def test_commands_run(pair, workplace):
    run([sys.executable, "-m", "mrisim", "convert", "fid", "scan.seq"], workplace)
    for line in pair[1].splitlines():
        if line.startswith("make "):
            target = line.split("#")[0].split()[1]
            run(["make", "--dry-run", target], ROOT)
            continue
        mrisim = f"'{sys.executable}' -m mrisim"
        finds = pair[0] == "checking"  # what it checks stimulates nerves in the example coil: exit code 1
        allowed = (0, 1) if finds else (0,)
        run(["sh", "-ec", re.sub(r"^mrisim\b", lambda _, to=mrisim: to, line)], workplace, allowed)


OUTLINE = "name, description, reference"  # what the page on the language begins with, and no file


@pytest.mark.parametrize("pair", [p for p in named("yaml") if OUTLINE not in p[1]], ids=title)
def test_files_are_what_they_claim(pair, tmp_path):
    if all(line.startswith("#") for line in pair[1].splitlines()):
        return  # a first line that editors read
    data = parse_source(pair[1]).data
    path = tmp_path / "file.yaml"
    path.write_text(pair[1], encoding="utf-8")
    if "scans" in data and "protocol" in data:
        assert load_protocol(path).scans
    elif (
        "timeline" in data
        and "name" in data
        and isinstance(data["name"], str)
        and "events" in data
        and data["timeline"]
    ):
        assert mr.load_sequence(path).duration > 0


@pytest.mark.parametrize("pair", [p for kind in ("json", "toml", "xml") for p in named(kind)], ids=title)
def test_settings_parse(pair):
    text = pair[1]
    if text.startswith("<"):
        from xml.dom.minidom import parseString

        assert parseString(text).documentElement.tagName == "Parameters"
    else:
        assert json.loads(text) if text.startswith("{") else tomllib.loads(text)


def test_pypulseq_and_yaml_play_the_same(pulseq_file, tmp_path):
    (tmp_path / "a.yaml").write_text(blocks("coming_from", "yaml")[1], encoding="utf-8")
    theirs, ours = mr.load_sequence(pulseq_file), mr.load_sequence(tmp_path / "a.yaml")
    tables = [readout_table(seq) for seq in (theirs, ours)]
    for table in tables:
        assert np.allclose(table.te, 6e-3, atol=10e-6, rtol=0)  # delays lie on the gradient raster
        assert np.allclose(table.tr[1:], 20e-3, atol=10e-6, rtol=0)
    points = mr.Phantom.from_arrays(position=[[0.01, 0.02, 5e-4], [-0.03, 0.04, 0.0]], t1=[0.8, 1.0], t2=[0.08, 0.1])
    a, b = (mr.simulate(seq, points).signal for seq in (theirs, ours))
    assert np.linalg.norm(a - b) < 0.02 * np.linalg.norm(b)  # their sinc is scaled and sampled in its own way


def test_every_fenced_block_is_of_a_kind_that_a_test_knows():
    known = {"python", "sh", "yaml", "json", "toml", "xml", "lua", "julia", "{toctree}", "{eval-rst}", ""}
    for page, text in PAGES.items():
        openings = re.findall(r"^```([^\s`]*)\s*$", text, re.MULTILINE)
        assert set(openings) <= known, page


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_exist(page):
    """Those into generated/ exist when the site is built, which `make docs` checks."""
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", PAGES[page]):
        assert target.startswith("generated/") or (DOCS / target).exists(), target
