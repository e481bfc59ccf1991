"""Public names, purity of the import, layers, files that do not belong here."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mrisim

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("mapping", "phantom", "physics", "plot", "recon")


def in_a_fresh_python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.strip()


@pytest.mark.parametrize("name", mrisim.__all__)
def test_public_names_are_there(name):
    value = getattr(mrisim, name)
    assert name in MODULES or (callable(value) and value.__doc__), name


def test_an_unknown_name_is_refused():
    with pytest.raises(AttributeError, match="module 'mrisim' has no attribute 'simulat'"):
        mrisim.simulat  # noqa: B018


def test_simulate_is_the_function_whatever_is_imported_first():
    for first in ("import mrisim.simulate", "import mrisim.pipeline", "from mrisim.simulate import trace"):
        assert in_a_fresh_python(f"{first}\nimport mrisim\nprint(type(mrisim.simulate).__name__)") == "function"


def test_importing_changes_no_setting_and_imports_no_matplotlib():
    code = (
        "import sys, jax; before = dict(jax.config.values)\n"
        "import mrisim\n"
        "for name in mrisim.__all__:\n"
        "    if name != 'plot': getattr(mrisim, name)\n"
        "print(before == dict(jax.config.values), 'matplotlib' in sys.modules)"
    )
    assert in_a_fresh_python(code) == "True False"


def test_importing_alone_is_light():
    code = "import sys, mrisim; print([m for m in ('jax', 'numpy', 'scipy', 'matplotlib') if m in sys.modules])"
    assert in_a_fresh_python(code) == "[]"


def test_imports_point_down_the_layers():
    pytest.importorskip("importlinter")
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def tracked_files() -> list[Path]:
    try:
        listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git checkout")
    return [ROOT / line for line in listed.splitlines() if (ROOT / line).is_file()]


def test_no_file_names_a_machine():
    """Paths of somebody's machine work nowhere else."""
    pattern = re.compile(r"(?<![\w.])/(?:work|home|root|Users|opt/pypi)/")
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in tracked_files()
        if path.suffix in {".py", ".md", ".toml", ".yaml", ".lock", ""} and path != Path(__file__).resolve()
        for match in pattern.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_the_lock_names_public_registries_only():
    lock = ROOT / "uv.lock"
    hosts = set(re.findall(r"https?://([^/\"]+)", lock.read_text(encoding="utf-8")))
    assert hosts <= {"pypi.org", "files.pythonhosted.org"}


def test_the_lock_knows_all_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    (package,) = [entry for entry in lock["package"] if entry["name"] == "mrisim"]
    named = {re.split(r"[><=]", text)[0].lower() for text in project["dependencies"]}
    assert {entry["name"] for entry in package["dependencies"]} == named


def test_library_code_does_not_print():
    found = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "mrisim").rglob("*.py")
        if re.search(r"^\s*print\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert found == []
