"""Pictures of the gallery, drawn once and kept under the digest of what they are drawn from."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import mrisim as mr
from mrisim import plot
from mrisim.data import Grid, ParameterMap
from mrisim.errors import ResourceError
from mrisim.paths import library_folder
from mrisim.phantom import load_model

DPI = 110
MOST_BLOCKS = 30_000
SMALLER = {"matrix": 24}
"""Of sequences that play more blocks: their k-space is drawn with fewer lines, and the page says so."""
_VOXELS = 128  # along the longer side of a phantom
_SHOWN = ("T1", "T2", "PD", "ADC", "FA", "D", "f", "Dstar", "B0", "B1")
_KINETIC = ("Ktrans", "ve", "vp", "Fp", "PS")
_ALWAYS = ("T1", "T2", "PD")
_UNITS = {"T1": "s", "T2": "s", "B0": "Hz", "ADC": "m^2/s", "D": "m^2/s", "Dstar": "m^2/s", "Ktrans": "1/s"}
_MOST_MAPS = 6
_PACKAGE = Path(mr.__file__).parent


def smaller(seq: mr.Sequence) -> dict[str, int]:
    """Parameters for a picture of k-space that a reader can make lines out in.

    Example:
        >>> smaller(mr.load_sequence("flash_2d"))
        {}
    """
    many = len(seq.blocks) > MOST_BLOCKS and "matrix" in seq.parameters
    return dict(SMALLER) if many else {}


def sequence_diagram(name: str) -> Figure:
    """Pulses, gradients and sampling of one repetition."""
    return plot.sequence(mr.load_sequence(name))


def trajectory(name: str) -> Figure:
    """Samples in k-space."""
    seq = mr.load_sequence(name)
    return plot.trajectory(mr.load_sequence(name, **smaller(seq)) if smaller(seq) else seq)


def phantom_maps(name: str) -> Figure:
    """What images of a phantom should show, in the plane through its center; what is the same all over is left out."""
    return _maps(name, _SHOWN)


def kinetic_maps(name: str) -> Figure:
    """Exchange of the contrast agent in a phantom."""
    return _maps(name, _KINETIC)


def _maps(name: str, keys: tuple[str, ...]) -> Figure:
    model = load_model(name)
    side = max(model.size[:2]) / _VOXELS
    nx, ny = (int(np.ceil(length / side)) for length in model.size[:2])
    grid = Grid.of((nx, ny, 1), (side, side, side))
    truth = model.truth(grid, supersampling=1).maps
    shown = [key for key in keys if key in truth and (key in _ALWAYS or _varies(truth[key]))][:_MOST_MAPS]
    return plot.overview(
        {}, {key: ParameterMap(name=key, unit=_UNITS.get(key, "1"), data=truth[key], grid=grid) for key in shown}
    )


def _varies(data: np.ndarray) -> bool:
    finite = data[np.isfinite(data)]
    return finite.size > 0 and float(np.ptp(finite)) > 0.0


Job = tuple[Callable[[str], Figure], str, Path]


def draw(jobs: Iterable[Job], cache: Path, processes: int = 2) -> None:
    """Draw what is not in the cache, some at a time, and put every picture where its page wants it."""
    cache.mkdir(parents=True, exist_ok=True)
    state = code_digest()
    kept = {job: cache / f"{_digest(job, state)}.png" for job in jobs}
    missing = [(job, path) for job, path in kept.items() if not path.is_file()]
    if missing:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            list(pool.map(_draw, missing))
    for (_, _, target), path in kept.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())


def _draw(job_and_path: tuple[Job, Path]) -> None:
    (function, name, _), path = job_and_path
    buffer = io.BytesIO()
    try:
        function(name).savefig(buffer, format="png", dpi=DPI, bbox_inches="tight", pad_inches=0.08)
    except Exception as error:
        raise ResourceError(f"must draw the {function.__name__} of {name}, but: {error}") from error
    path.write_bytes(buffer.getvalue())


def code_digest() -> str:
    """Digest of all that pictures depend on beside a file of the library: the package's code and the library."""
    parts = hashlib.sha256()
    folders: Mapping[Path, str] = {_PACKAGE: "*.py", library_folder("sequences"): "**/*.yaml"}
    for folder, pattern in {**folders, library_folder("phantoms"): "*.yaml"}.items():
        for path in sorted(folder.rglob(pattern)):
            parts.update(path.read_bytes())
    parts.update(Path(__file__).read_bytes())
    return parts.hexdigest()


def _digest(job: Job, state: str) -> str:
    return hashlib.sha256(f"{job[0].__name__} {job[1]} {state}".encode()).hexdigest()[:24]
