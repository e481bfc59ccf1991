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
NAMES = ("kspace", "images", "maps.h5", "bids", "figures", "report.html", MARKER)  # what a run writes, the marker last
_BUILDING = "output."
_LITTER = (".DS_Store", "Thumbs.db")  # left by those who look at a folder


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where a run writes until it is complete."""

    folder: Path  # becomes the target
    checkpoints: Path  # of its scans; kept where the run does not end well

    def checkpoint(self, scan: str, number: int) -> Path:
        """File for the samples of one run of a scan."""
        return self.checkpoints / f"{scan}_{number + 1}.npz"


@contextmanager
def output_folder(target: str | Path | None, resume: bool = False, rank: int = 0) -> Iterator[Output | None]:
    """Temporary folder that becomes `target` when the block ends well, and goes away when it does not.

    An existing folder keeps what is not a run's; a former run in it is replaced. What was simulated stays beside it, in
    `.NAME.unfinished`, when the block does not end well, for the next run that resumes; one that does not begins anew.

    Args:
        target: The folder.
        resume: Keep what a former run left.
        rank: Of this process; only the first makes the target, the others have a place for checkpoints alone.

    Raises:
        ResourceError: on entry, so before anything is computed: the place cannot be written, or holds files of a run's
            names that are from elsewhere.
    """
    if target is None:
        yield None
        return
    target = Path(os.path.realpath(target))
    unfinished = target.parent / f".{target.name}.unfinished{f'.{rank}' if rank else ''}"
    try:
        _check(target)
        _clear(unfinished, keep=resume)
        unfinished.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=unfinished, prefix=_BUILDING))
    except OSError as error:
        raise _refused(target, f"must be writable, but is not ({error.strerror})") from None
    try:
        yield Output(folder=building, checkpoints=unfinished)
        building.chmod(0o755)
        if rank == 0:
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
    former = _former(target)
    for name in NAMES:
        for path in _files(target / name):
            if former is None or path.relative_to(target).as_posix() not in former:
                shown = path.relative_to(target).as_posix()
                raise _refused(target, f"must hold a former run or nothing of a run's names, but holds '{shown}'")


def files_below(folder: Path) -> list[str]:
    """Files in a folder and in those below it, by their path from there, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in _files(folder))


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir() and not path.is_symlink():
        below = (found for found in path.rglob("*") if found.name not in _LITTER)
        yield from (found for found in below if found.is_symlink() or not found.is_dir())
    elif path.exists() or path.is_symlink():
        yield path


def _former(folder: Path) -> frozenset[str] | None:
    """Files that a former run wrote, by its own record; None where there was none."""
    try:
        record = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        if record["format"] != FORMAT:
            return None
        return frozenset((*record.get("files", files_below(folder)), MARKER))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _move_into_place(building: Path, target: Path) -> None:
    """One renaming; name by name, the marker last, where the folder holds other things."""
    if not target.exists():
        building.rename(target)
        return
    former = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".old"))
    pairs = [(building, target)]
    if any(path.name not in NAMES for path in target.iterdir()):
        pairs = [(building / name, target / name) for name in NAMES]
    try:
        _exchange(pairs, former)
    finally:
        shutil.rmtree(former, ignore_errors=True)


def _exchange(pairs: list[tuple[Path, Path]], former: Path) -> None:
    """Move what stands at each place away and the new into it; all of it or nothing."""
    done: list[tuple[Path, Path]] = []
    moves = [(place, former / place.name) for _, place in reversed(pairs) if place.exists()]
    moves += [pair for pair in pairs if pair[0].exists()]
    try:
        for source, place in moves:
            source.rename(place)
            done.append((source, place))
    except OSError:
        for source, place in reversed(done):
            place.rename(source)
        raise


def _refused(target: Path, rule: str) -> ResourceError:
    return ResourceError(Problem(rule, "Choose another place with --out", path="out", file=str(target)))
