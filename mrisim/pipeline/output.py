"""An output folder that is complete or not there: built beside its place, then renamed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mrisim.errors import Problem, ResourceError

MARKER = "run.json"
FORMAT = "mrisim run"
_BUILDING = "output."


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where a run writes until it is complete."""

    folder: Path  # becomes the target
    checkpoints: Path  # of its scans; kept where the run does not end well

    def checkpoint(self, scan: str, number: int) -> Path:
        """File for the samples of one run of a scan."""
        return self.checkpoints / f"{scan}_{number + 1}.npz"


@contextmanager
def output_folder(target: str | Path | None, resume: bool = False) -> Iterator[Output | None]:
    """Temporary folder that becomes `target` when the block ends well, and goes away when it does not.

    An existing folder is replaced where it is empty or a former run's. What was simulated stays beside it, in
    `.NAME.unfinished`, when the block does not end well, for the next run that resumes; one that does not begins anew.

    Raises:
        ResourceError: on entry, so before anything is computed: the place cannot be written or holds something else.
    """
    if target is None:
        yield None
        return
    target = Path(os.path.abspath(target))
    _check(target)
    unfinished = target.parent / f".{target.name}.unfinished"
    try:
        _clear(unfinished, keep=resume)
        unfinished.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=unfinished, prefix=_BUILDING))
    except OSError as error:
        raise _refused(target, f"must be writable, but is not ({error.strerror})") from None
    try:
        yield Output(folder=building, checkpoints=unfinished)
        building.chmod(0o755)
        _move_into_place(building, target)
        shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise _refused(target, f"must be writable, but is not ({error.strerror or error})") from None
    finally:
        shutil.rmtree(building, ignore_errors=True)
        with suppress(OSError):
            unfinished.rmdir()  # unless it holds checkpoints


def _clear(unfinished: Path, keep: bool) -> None:
    """Remove what a former run left; its checkpoints only where they are not kept."""
    if not keep:
        shutil.rmtree(unfinished, ignore_errors=True)
    for stale in unfinished.glob(f"{_BUILDING}*"):
        shutil.rmtree(stale, ignore_errors=True)


def writable_folder(folder: str | Path) -> Path:
    """Folder to add files to, made where it is missing.

    Raises:
        ResourceError: it cannot be written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise _refused(folder, f"must be writable, but is not ({error.strerror})") from None


def _check(target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise _refused(target, "must be a folder, but is a file")
    if target.is_dir() and any(target.iterdir()) and not _is_ours(target):
        raise _refused(target, "must be empty or a former run's folder, but holds other files")


def _is_ours(folder: Path) -> bool:
    try:
        return json.loads((folder / MARKER).read_text(encoding="utf-8")).get("format") == FORMAT
    except (OSError, ValueError, AttributeError):
        return False


def _move_into_place(building: Path, target: Path) -> None:
    if not target.exists():
        building.rename(target)
        return
    former = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".old"))
    target.rename(former / target.name)
    try:
        building.rename(target)
    except OSError:
        (former / target.name).rename(target)
        raise
    finally:
        shutil.rmtree(former, ignore_errors=True)


def _refused(target: Path, rule: str) -> ResourceError:
    return ResourceError(Problem(rule, "Choose another place with --out", path="out", file=str(target)))
