"""What every foreign phantom must keep to: sizes that are believable, values that are physical."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mrisim.errors import ConsistencyError, Problem, ResourceError

MAX_VALUES = 2**27  # of one array: 512 MB in float32
MAX_RATIO = 1032  # of deflate: one stored byte holds at most so many
STEP = 2**20  # bytes read at once
LONGEST = 20.0  # a median time above it is no relaxation time in seconds [s]
SHORTEST = 1e-6  # and one below it none of what an image shows [s]
NEVER = 1e5  # what other programs write for infinity [s]
LARGEST = 10.0  # a body [m]
SMALLEST = 1e-6  # a voxel [m]
LEAST = 1e-9  # of a time; what is below it is no number [s]
MOST = {"pd": 1e9, "df": 1e9, "b1": 1e3, "diffusion": 1e-6}  # what is above it is no number [1, Hz, 1, m²/s]
_SHOWN = {
    "t1": "T1", "t2": "T2", "t2_prime": "T2′", "pd": "proton density", "df": "off-resonance", "b1": "B1",
    "diffusion": "ADC",
}  # fmt: skip


def broken(path: Path, section: str, rule: str, remedy: str = "Get the file again") -> ResourceError:
    """A file that cannot be read, by file and section."""
    return ResourceError(Problem(rule, remedy, path=section, file=str(path)))


def unsound(path: Path, section: str, rule: str, remedy: str = "Correct it") -> ConsistencyError:
    """A file whose content is no phantom, by file and section."""
    return ConsistencyError(Problem(rule, remedy, path=section, file=str(path)))


def check_size(path: Path, section: str, shape: tuple[int, ...], n_bytes: int, stored: int) -> None:
    """Refuse an array before it is read.

    Args:
        path: File.
        section: Where in it.
        shape: What its header claims.
        n_bytes: Memory that it would take.
        stored: Bytes that hold it in the file.

    Raises:
        ResourceError: more values than `MAX_VALUES`, or more than the stored bytes can hold; or none.
    """
    count = 1
    for n in shape:
        count *= int(n)
    shown = " x ".join(str(n) for n in shape) or "one value"
    if count > MAX_VALUES:
        raise broken(path, section, f"must hold up to {MAX_VALUES:,} values, but says {shown}", "Cut or resample it")
    if count == 0:
        raise broken(path, section, f"must hold values, but is empty ({shown})", "Write it again")
    if n_bytes > stored * MAX_RATIO:
        raise broken(path, section, f"must hold the {shown} values that it says, but is stored in {stored:,} bytes")


def check_layer(path: Path, values: Mapping[str, np.ndarray | float], sections: Mapping[str, str], unit: str) -> None:
    """Refuse a layer whose values are not physical where it has protons.

    Args:
        path: File to name.
        values: pd [1], t1, t2, t2_prime [s], df [Hz], b1 [1], diffusion [m²/s]; numbers or arrays of one shape.
        sections: Where in the file each comes from.
        unit: Advice where times can only be in another unit.

    Raises:
        ConsistencyError: all problems at once.
    """
    problems: list[Problem] = []

    def add(name: str, rule: str, remedy: str) -> None:
        problems.append(Problem(rule, remedy, path=sections.get(name, name), file=str(path)))

    pd = np.asarray(values.get("pd", 1.0))
    if not np.isfinite(pd).all():
        add("pd", "must be finite, but holds nan or infinity", "Set the background to zero")
    elif (pd < 0.0).any():
        add("pd", f"must be at least 0, but is {pd.min():g}", "Set the background to zero")
    elif (pd > MOST["pd"]).any():
        add("pd", f"must be at most {MOST['pd']:g}, but is {pd.max():g}", "Scale it")
    elif not (pd > 0.0).any():
        add("pd", "must be above zero somewhere, but holds no protons", "Check the file")
    if problems:
        raise ConsistencyError(problems)
    inside = {name: _where(value, pd > 0.0) for name, value in values.items() if name != "pd"}
    for name, array in inside.items():
        _check_quantity(name, array, add, unit)
    if not problems and "t1" in inside and "t2" in inside:
        t1, t2 = np.broadcast_arrays(inside["t1"], inside["t2"])
        wrong = t2 > 2.0 * t1 * (1.0 + 1e-6)
        if wrong.any():
            place = np.flatnonzero(wrong)[0]
            rule = f"must be at most 2 T1 = {2e3 * t1[place]:g} ms, but is {1e3 * t2[place]:g} ms"
            add("t2", f"{rule}, in {wrong.sum():,} of {wrong.size:,} voxels", "Check that T1 and T2 are not exchanged")
    if problems:
        raise ConsistencyError(problems)


def _where(value: np.ndarray | float, mask: np.ndarray) -> np.ndarray:
    array = np.asarray(value, dtype=float)
    return np.atleast_1d(array if array.ndim == 0 else array[mask] if mask.ndim else array.reshape(-1))


def _check_quantity(name: str, array: np.ndarray, add, unit: str) -> None:
    shown = _SHOWN.get(name, name)
    undefined = np.isnan(array) if name in ("t1", "t2", "t2_prime") else ~np.isfinite(array)
    if undefined.any():
        rule = f"must be a number where there are protons, but {undefined.sum():,} of {array.size:,} are not"
        add(name, f"{shown} {rule}", "Fill them, or set the proton density to zero there")
    elif name in ("t1", "t2", "t2_prime"):
        low = array < LEAST
        finite = array[np.isfinite(array)]
        if low.any():
            rule = f"must be above 0 s where there are protons, but {low.sum():,} of {array.size:,} are not"
            add(name, f"{shown} {rule} (least: {array.min():g} s)", "Set the proton density to zero there")
        elif finite.size and np.median(finite) > LONGEST and np.median(finite) < NEVER:
            rule = f"must be a relaxation time, but half of its values are above {np.median(finite):.4g} s"
            add(name, f"{shown} {rule}", unit)
        elif finite.size and name != "t2_prime" and np.median(finite) < SHORTEST:
            rule = f"must be a relaxation time, but half of its values are below {np.median(finite):.4g} s"
            add(name, f"{shown} {rule}", unit)
    elif (np.abs(array) > MOST[name]).any():
        add(name, f"{shown} must be at most {MOST[name]:g}, but is {np.abs(array).max():g}", "Check its unit")
    elif name in ("b1", "diffusion") and (array < 0.0).any():
        remedy = "Give its magnitude" if name == "b1" else "Set it to zero there"
        add(name, f"{shown} must be at least 0, but is {array.min():g}", remedy)
