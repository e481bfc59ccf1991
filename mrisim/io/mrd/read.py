"""ISMRMRD file → header text and arrays, believing a count only as far as the file can hold it.

Memory stays below four times the size of the file, because samples are never compressed; a file that claims more than
it holds is refused before anything is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np

from mrisim._types import Complex, Float, Int
from mrisim.errors import MrisimError, Problem, ResourceError
from mrisim.io.mrd.probe import probe
from mrisim.io.mrd.terms import COUNTERS

MAX_XML = 2**24  # bytes
MAX_ACQUISITIONS = 2**24
MAX_RATIO = 1032  # of deflate: one byte of a compressed table holds at most so many
LARGEST = 1e15  # sample: squares and sums of larger ones go beyond single precision
BLOCK = 1024  # acquisitions read at once
NEEDED = (
    "flags", "number_of_samples", "active_channels", "center_sample", "discard_pre", "discard_post",
    "encoding_space_ref", "trajectory_dimensions", "sample_time_us", "position", "read_dir", "phase_dir", "slice_dir",
    "idx", "acquisition_time_stamp", "user_int", "user_float",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Acquisitions:
    """What a file holds, as it holds it: one row per acquisition."""

    xml: bytes
    heads: np.ndarray  # structured, fields as in the format
    start: Int[np.ndarray, " acquisitions"]
    count: Int[np.ndarray, " acquisitions"]
    signal: Complex[np.ndarray, "coils samples"]
    trajectory: Float[np.ndarray, "samples 3"]  # nan where there is none, zeros for missing dimensions
    section: str = "dataset"


def broken(path: str | Path, rule: str, section: str = "", remedy: str = "Write the file again") -> ResourceError:
    """The error of a file that cannot be used."""
    return ResourceError(Problem(rule, remedy, path=section, file=str(path)))


def is_mrd(path: str | Path) -> bool:
    """Whether a file holds ISMRMRD raw data, by its content; False where it cannot be read.

    Example:
        >>> is_mrd("missing.h5")
        False
    """
    try:
        probe(Path(path))
        with h5py.File(path, "r") as file:
            return _group_name(file) is not None
    except (OSError, RuntimeError, KeyError, ValueError, TypeError):
        return False


def read_acquisitions(path: str | Path) -> Acquisitions:
    """Read header text and all acquisitions.

    Raises:
        ResourceError: the file is missing, truncated, corrupt, no ISMRMRD file, or claims more than it holds; the
            message names the file and the section.
    """
    path = Path(path)
    if not path.is_file():
        raise broken(path, "must be an existing file, but is not there", remedy="Correct the path")
    try:
        probe(path)
        with h5py.File(path, "r") as file:
            name = _group_name(file)
            if name is None:
                rule = "must hold ISMRMRD raw data, a group with 'xml' and 'data', but holds none"
                raise broken(path, rule, remedy="Write it with save_mrd")
            return _read(path, name, cast(Any, file)[name])
    except MrisimError:
        raise
    except MemoryError:
        raise broken(path, "must fit into memory, but does not") from None
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, IndexError, SystemError) as error:
        rule = f"must be a complete HDF5 file, but cannot be read ({_first_line(error)})"
        raise broken(path, rule) from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0].strip("'\" .")[:200]


def _group_name(file: Any) -> str | None:
    names = [name for name in file if isinstance(file.get(name), h5py.Group)]
    fitting = [
        name for name in names if all(isinstance(file[name].get(part), h5py.Dataset) for part in ("xml", "data"))
    ]
    return "dataset" if "dataset" in fitting else fitting[0] if fitting else None


def _read(path: Path, name: str, group: Any) -> Acquisitions:
    xml = _xml(path, f"{name}/xml", group["xml"])
    section = f"{name}/data"
    data = group["data"]
    _check_table(path, section, data)
    heads = data.fields("head")[:]
    _check_heads(path, section, heads)
    count = heads["number_of_samples"].astype(int)
    start = np.cumsum(count) - count
    signal, trajectory = _samples(path, section, data, heads, start, count)
    return Acquisitions(
        xml=xml, heads=heads, start=start, count=count, signal=signal, trajectory=trajectory, section=name
    )


def _xml(path: Path, section: str, dataset: Any) -> bytes:
    if dataset.size != 1 or dataset.id.get_storage_size() > MAX_XML:
        raise broken(path, f"must be one text, but has shape {dataset.shape}", section)
    text = np.asarray(dataset[()]).ravel()[0]
    content = text.encode() if isinstance(text, str) else bytes(text)
    if len(content) > MAX_XML:
        raise broken(path, f"must be at most {MAX_XML:,} bytes, but is {len(content):,}", section)
    return content


def _check_table(path: Path, section: str, data: Any) -> None:
    """The table of acquisitions has the format's columns, and as many rows as are stored."""
    names = data.dtype.names or ()
    missing = [name for name in ("head", "traj", "data") if name not in names]
    if data.ndim != 1 or missing:
        rule = f"must be a table of acquisitions with head, traj and data, but lacks {', '.join(missing) or 'rows'}"
        raise broken(path, rule, section)
    lacking = [name for name in NEEDED if name not in (data.dtype["head"].names or ())]
    if not lacking:
        counters = data.dtype["head"]["idx"].names or ()
        lacking = [f"idx.{name}" for name in COUNTERS.values() if name not in counters]
    if lacking:
        raise broken(path, f"must hold {', '.join(lacking)} in each head, but does not", section)
    for name in ("traj", "data"):
        if h5py.check_vlen_dtype(data.dtype[name]) != np.dtype(np.float32):
            raise broken(path, f"must hold single-precision numbers in {name}, but does not", section)
    rows, stored = data.shape[0], data.id.get_storage_size()
    possible = stored * (MAX_RATIO if data.compression or data.id.get_create_plist().get_nfilters() else 1)
    if rows > MAX_ACQUISITIONS or rows * data.dtype.itemsize > max(possible, 1):
        raise broken(path, f"must hold the acquisitions that it claims, {rows:,}, but does not", section)
    if rows == 0:
        raise broken(path, "must hold acquisitions, but holds none", section)


def _check_heads(path: Path, section: str, heads: np.ndarray) -> None:
    """Counts that the file can hold, and one number of channels."""
    samples = heads["number_of_samples"].astype(np.int64)
    values = samples * heads["active_channels"].astype(np.int64) * 2
    values += samples * heads["trajectory_dimensions"].astype(np.int64)
    size = path.stat().st_size
    if int(values.sum()) * 4 > size:
        rule = f"must hold the {int(values.sum()):,} numbers that its heads claim, but the file has {size:,} bytes"
        raise broken(path, rule, section)
    channels = np.unique(heads["active_channels"])
    if len(channels) > 1 or channels[0] == 0:
        rule = f"must have one number of channels, at least 1, but has {', '.join(map(str, channels[:4]))}"
        raise broken(path, rule, section)
    if heads["trajectory_dimensions"].max() > 3 and (heads["trajectory_dimensions"] > 4).any():
        rule = f"must have up to 4 trajectory dimensions, but has {heads['trajectory_dimensions'].max()}"
        raise broken(path, rule, section)


def _samples(
    path: Path, section: str, data: Any, heads: np.ndarray, start: np.ndarray, count: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    channels, total = int(heads["active_channels"][0]), int(count.sum())
    signal = np.empty((channels, total), dtype=np.complex64)
    trajectory = np.full((total, 3), np.nan, dtype=np.float32)
    dimensions = heads["trajectory_dimensions"].astype(int)
    for begin in range(0, len(heads), BLOCK):
        block = data[begin : begin + BLOCK]
        for i in range(len(block)):
            row = begin + i
            samples, k = np.asarray(block["data"][i]), np.asarray(block["traj"][i])
            expected = (2 * channels * count[row], dimensions[row] * count[row])
            if (samples.size, k.size) != expected:
                rule = (
                    f"acquisition {row} must hold {expected[0]} numbers and {expected[1]} of its trajectory, but "
                    f"holds {samples.size} and {k.size}"
                )
                raise broken(path, rule, section)
            part = slice(start[row], start[row] + count[row])
            signal[:, part] = samples.astype(np.float32, copy=False).view(np.complex64).reshape(channels, -1)
            if dimensions[row]:
                trajectory[part] = 0.0
                used = min(dimensions[row], 3)  # a fourth is density compensation
                trajectory[part, :used] = k.reshape(-1, dimensions[row])[:, :used]
            if not (np.abs(samples).max(initial=0.0) <= LARGEST and np.isfinite(k).all()):
                rule = f"acquisition {row} must be finite and below {LARGEST:g}, but holds nan, infinity or more"
                raise broken(path, rule, section)
    return signal, trajectory
