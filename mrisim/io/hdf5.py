"""One HDF5 layout for phantoms, raw data, images and parameter maps.

A file carries the attributes `format` = "mrisim" and `version`, and one group per object. The group's attribute `type`
names its class; its members are the fields of that class: arrays as datasets with the attribute `unit` (SI), nested
objects and tables as groups, single values as attributes, findings and provenance as JSON text. A field that is None is
absent. Axis order is that of the class: images (contrast, z, y, x), signals (coil, sample). Complex numbers are
compounds of `r` and `i`, as h5py writes them.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np

from mrisim.data import Geometry, Grid, Image, ParameterMap, Phantom, RawData, ReadoutTable, ReconSpec, Uptake
from mrisim.errors import Finding, MrisimError, Problem, ResourceError
from mrisim.io.record import plain

VERSION = 1
Storable = Phantom | RawData | Image | ParameterMap
_T = TypeVar("_T")


@dataclass(frozen=True)
class _Array:
    unit: str


@dataclass(frozen=True)
class _Table:
    """Arrays by name; `units` of those that have one."""

    units: Mapping[str, str]


@dataclass(frozen=True)
class _Nested:
    type: type


@dataclass(frozen=True)
class _Value:
    convert: Callable[[Any], Any]


@dataclass(frozen=True)
class _Json:
    convert: Callable[[Any], Any] = dict


def _findings(rows: list[dict[str, str]]) -> tuple[Finding, ...]:
    return tuple(Finding(**row) for row in rows)


def _integers(row: np.ndarray) -> tuple[int, ...]:
    return tuple(int(value) for value in row)


def _floats(row: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in row)


_Part = _Array | _Table | _Nested | _Value | _Json
_LAYOUT: dict[type, dict[str, _Part]] = {
    Geometry: {"rotation": _Array("1"), "center": _Array("m")},
    Grid: {
        "shape": _Value(_integers),
        "spacing": _Value(_floats),
        "slice_positions": _Array("m"),
        "geometry": _Nested(Geometry),
        "thickness": _Value(float),
    },
    ReconSpec: {
        "method": _Value(str),
        "matrix": _Value(_integers),
        "fov": _Value(_floats),
        "slice_positions": _Array("m"),
        "window": _Value(str),
        "combine": _Value(str),
        "partial_fourier": _Value(str),
        "ghost": _Value(str),
        "maps": _Json(),
    },
    ReadoutTable: {
        "start": _Array("1"),
        "count": _Array("1"),
        "dwell": _Array("s"),
        "te": _Array("s"),
        "ti": _Array("s"),
        "ts": _Array("s"),
        "tr": _Array("s"),
        "flip": _Array("rad"),
        "b_matrix": _Array("s/m^2"),
        "labels": _Table({}),
    },
    Uptake: {
        "time": _Array("s"),
        "concentration": _Array("mmol/l"),
        "r1": _Value(float),
        "r2": _Value(float),
        "r2_star": _Value(float),
    },
    Phantom: {
        "position": _Array("m"),
        "weight": _Array("m^3"),
        "pd": _Array("1"),
        "t1": _Array("s"),
        "t2": _Array("s"),
        "df": _Array("Hz"),
        "b1": _Array("1"),
        "t2_prime": _Array("s"),
        "lorentz": _Array("1"),
        "diffusion": _Array("m^2/s"),
        "curve": _Array("1"),
        "uptake": _Nested(Uptake),
        "field": _Value(float),
        "findings": _Json(_findings),
    },
    RawData: {
        "signal": _Array("m^3"),
        "k": _Array("1/m"),
        "time": _Array("s"),
        "readouts": _Nested(ReadoutTable),
        "geometry": _Nested(Geometry),
        "recon": _Nested(ReconSpec),
        "sensitivities": _Array("1"),
        "standard_error": _Array("m^3"),
        "findings": _Json(_findings),
        "provenance": _Json(),
    },
    Image: {
        "data": _Array(""),
        "grid": _Nested(Grid),
        "coordinates": _Table(
            {"te": "s", "ti": "s", "ts": "s", "tr": "s", "flip": "rad", "time": "s", "b_matrix": "s/m^2"}
        ),
        "name": _Value(str),
        "unit": _Value(str),
        "findings": _Json(_findings),
        "provenance": _Json(),
    },
    ParameterMap: {
        "name": _Value(str),
        "unit": _Value(str),
        "data": _Array(""),
        "grid": _Nested(Grid),
        "standard_error": _Array(""),
        "mask": _Array("1"),
        "findings": _Json(_findings),
        "provenance": _Json(),
    },
}  # the unit "" stands for the object's own `unit`
_STORED: dict[str, type] = {cls.__name__: cls for cls in (Phantom, RawData, Image, ParameterMap)}


def save(path: str | Path, item: Storable | Mapping[str, Storable]) -> None:
    """Write one object, or several by name, to a file that is complete or not there at all.

    A phantom's `model` and `sampling` stay behind: the file holds its isochromats.

    Args:
        path: File to write; an existing one is replaced.
        item: Phantom, raw data, image or parameter map, or a mapping of names to them.

    Raises:
        ResourceError: the file cannot be written.

    Example:
        >>> folder = tempfile.mkdtemp()
        >>> point = Phantom.from_arrays(position=[[0.0, 0.0, 0.0]], t1=1.0, t2=0.1)
        >>> save(f"{folder}/point.h5", point)
        >>> load(f"{folder}/point.h5", Phantom).t2.tolist()
        [0.1]
    """
    path = Path(path)
    items = item if isinstance(item, Mapping) else {type(item).__name__: item}
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        with h5py.File(temporary, "w") as file:
            file.attrs.update(format="mrisim", version=VERSION)
            for name, value in items.items():
                group = file.create_group(name)
                group.attrs["type"] = type(value).__name__
                _write(group, value)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        Path(temporary).unlink(missing_ok=True)


def load(path: str | Path, kind: type[_T]) -> _T:
    """Read the one object of a class from a file.

    Raises:
        ResourceError: the file is missing, truncated, no mrisim file, or holds something else.
    """
    found = [item for item in load_all(path).values() if isinstance(item, kind)]
    if len(found) != 1:
        raise _broken(path, f"must hold one {kind.__name__}, but holds {len(found)}")
    return found[0]


def load_all(path: str | Path) -> dict[str, Any]:
    """Read every object of a file, by name.

    Raises:
        ResourceError: the file is missing, truncated, or no mrisim file.
    """
    path = Path(path)
    if not path.is_file():
        raise _broken(path, "must be an existing file, but is not there", "Check its name")
    try:
        with h5py.File(path, "r") as file:
            _check_header(path, file)
            return {name: _read(_STORED[str(group.attrs["type"])], group) for name, group in file.items()}
    except MrisimError as error:
        if isinstance(error, ResourceError):
            raise
        raise _broken(path, f"must hold what mrisim can use, but: {error}") from None
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise _broken(path, f"must be a complete mrisim file, but cannot be read ({error})") from None


def _check_header(path: Path, file: h5py.File) -> None:
    if file.attrs.get("format") != "mrisim":
        raise _broken(path, "must be a mrisim file, but has no attribute format = mrisim")
    version = int(file.attrs["version"])  # pyright: ignore[reportArgumentType]
    if version > VERSION:
        raise _broken(path, f"must have a version up to {VERSION}, but has {version}", "Install a newer mrisim")


def _write(group: h5py.Group, value: Any) -> None:
    own_unit = getattr(value, "unit", "1")
    for name, part in _LAYOUT[type(value)].items():
        content = getattr(value, name)
        if content is None:
            continue
        match part:
            case _Array(unit):
                group.create_dataset(name, data=np.asarray(content)).attrs["unit"] = unit or own_unit
            case _Table(units):
                table = group.create_group(name)
                for key, column in content.items():
                    table.create_dataset(key, data=np.asarray(column)).attrs["unit"] = units.get(key, "1")
            case _Nested():
                _write(group.create_group(name), content)
            case _Value():
                group.attrs[name] = content
            case _Json():
                group.create_dataset(name, data=json.dumps(plain(content), ensure_ascii=False))


def _read(cls: type, group: Any) -> Any:
    content: dict[str, Any] = {}
    for name, part in _LAYOUT[cls].items():
        if name not in (group.attrs if isinstance(part, _Value) else group):
            continue
        match part:
            case _Array():
                content[name] = group[name][()]
            case _Table():
                content[name] = {key: column[()] for key, column in group[name].items()}
            case _Nested(nested):
                content[name] = _read(nested, group[name])
            case _Value(convert):
                content[name] = convert(group.attrs[name])
            case _Json(convert):
                content[name] = convert(json.loads(group[name][()]))
    if cls is Phantom:
        return _phantom(content)
    return cls(**content)


def _phantom(content: dict[str, Any]) -> Phantom:
    findings = content.pop("findings", ())
    return replace(Phantom.from_arrays(**content), findings=findings)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _unwritable(path: Path, error: OSError) -> ResourceError:
    reason = error.strerror or str(error)
    return ResourceError(Problem(f"must be writable, but is not ({reason})", "Choose another place", file=str(path)))


def _broken(path: str | Path, rule: str, remedy: str = "Write it again with mrisim") -> ResourceError:
    return ResourceError(Problem(rule, remedy, file=str(path)))
