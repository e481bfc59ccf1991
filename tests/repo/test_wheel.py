"""The wheel carries the library, so that `mrisim run t2_tse` works from any folder."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mrisim.paths import KINDS, library_files

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    code = f"from hatchling.build import build_wheel; build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_every_library_file(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for kind in KINDS:
        for path in library_files(kind).values():
            assert f"mrisim/_library/{kind}/{path.name}" in names
    assert "mrisim/report/page.css" in names


def test_the_library_is_found_in_the_wheel(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from mrisim.paths import library_folder; print(library_folder('sequences'))"
    )
    result = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert result.stdout.strip() == str(tmp_path / "mrisim" / "_library" / "sequences")
