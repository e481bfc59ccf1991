"""Saving and loading by the file's name: HDF5, ISMRMRD, or NIfTI with a sidecar of BIDS names."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np

from mrisim.data import Image, ParameterMap, RawData
from mrisim.errors import ConsistencyError, Finding, Problem, ResourceError
from mrisim.io import bids, hdf5, nifti
from mrisim.io.hdf5 import Storable

MRD = ".mrd"
MAX_SIDECAR = 2**20  # bytes
_T = TypeVar("_T")
_COORDINATES = {"EchoTime": "te", "RepetitionTime": "tr", "InversionTime": "ti", "FlipAngle": "flip"}
_SI = {"ms": ("s", 1e-3), "mm^2/s": ("m^2/s", 1e-6)}


def save(path: str | Path, item: Storable | Mapping[str, Storable]) -> None:
    """Write an object to `.h5`, `.mrd`, `.nii` or `.nii.gz`; each file is complete or not there at all.

    HDF5 holds anything, several objects by name too, and all of it. NIfTI holds one image or one map: its values,
    where they lie, and in a `.json` beside it what they are. The values of an image are its magnitude; the phase of a
    complex one goes to a second file, `NAME_phase.nii.gz`. Standard error and mask of a map stay behind. ISMRMRD
    (`.mrd`) holds raw data; `mrisim.io.mrd.save_mrd` says what it leaves out.

    Args:
        path: File to write; an existing one is replaced.
        item: Phantom, raw data, image or parameter map, or a mapping of names to them.

    Raises:
        ConsistencyError: what NIfTI cannot hold: another type, several objects, slices that are not equidistant.
        ResourceError: a file cannot be written.

    Example:
        >>> import tempfile
        >>> from mrisim.data import Grid
        >>> image = Image(data=np.full((1, 1, 2, 2), 2j), grid=Grid.of((2, 2, 1), (1e-3, 1e-3, 5e-3)))
        >>> path = f"{tempfile.mkdtemp()}/t1w.nii.gz"
        >>> save(path, image)
        >>> np.abs(load(path).data - image.data).max() < 1e-6
        np.True_
    """
    if Path(path).suffix.lower() == MRD:
        _save_mrd(path, item)
        return
    if not nifti.is_nifti(path):
        hdf5.save(path, item)
        return
    if isinstance(item, Mapping) and len(item) == 1:
        item = next(iter(item.values()))
    if isinstance(item, Image):
        _save_image(Path(path), item)
    elif isinstance(item, ParameterMap):
        volumes = item.data[None] if item.data.ndim == 3 else np.moveaxis(item.data, -1, 0)
        nifti.write_volume(path, volumes, item.grid, description=f"mrisim {item.name} [{item.unit}]")
        facts = {"Quantity": item.name, "Units": item.unit, "Manufacturer": "mrisim"}
        if item.data.ndim > 3:
            facts["Components"] = len(volumes)
        _write_sidecar(Path(path), facts)
    else:
        what = f"{len(item)} objects" if isinstance(item, Mapping) else type(item).__name__
        rule = f"must be one Image or one ParameterMap, but is {what}"
        raise ConsistencyError(Problem(rule, "Name the file .h5", file=str(path)))


@overload
def load(path: str | Path, kind: type[_T]) -> _T: ...
@overload
def load(path: str | Path, kind: None = None) -> Any: ...
def load(path: str | Path, kind: type[_T] | None = None) -> Any:
    """Read the one object of a `.h5`, `.mrd`, `.nii` or `.nii.gz` file; ISMRMRD is known in a `.h5` file too.

    A NIfTI file is a parameter map where its sidecar or its name (`…_T1map.nii.gz`) says so, else an image; its
    coordinates come from the sidecar's EchoTime, RepetitionTime, InversionTime and FlipAngle, where there is one.

    Args:
        path: File to read.
        kind: Class of the object; where a HDF5 file holds several objects, the one of this class.

    Raises:
        ResourceError: the file is missing, truncated, corrupt, or holds something else.
    """
    if not nifti.is_nifti(path):
        return _only(path, _load_hdf5(path), kind)
    return _load_nifti(Path(path), kind)


def load_all(path: str | Path) -> dict[str, Any]:
    """Read every object of a file, by name.

    Raises:
        ResourceError: the file is missing, truncated, corrupt, or no file that mrisim can read.
    """
    if not nifti.is_nifti(path):
        return _load_hdf5(path)
    item = _load_nifti(Path(path), None)
    return {item.name: item}


def convert(source: str | Path, target: str | Path, *, item: str | None = None) -> tuple[Finding, ...]:
    """Write the image or map of one file to another.

    Raises:
        ResourceError: the source is broken, or holds several or none and `item` names none of them.
    """
    chosen = _images(source, item)
    if len(chosen) > 1:
        rule = f"must hold one image or map for a {nifti_suffix(target)} file, but holds {', '.join(chosen)}"
        raise ResourceError(Problem(rule, f"Choose one: --item {next(iter(chosen))}", file=str(source)))
    save(target, chosen)
    return _findings(chosen)


def convert_to_dicom(source: str | Path, target: str | Path, *, item: str | None = None) -> tuple[Finding, ...]:
    """Write the images and maps of a file to a folder of DICOM files.

    Raises:
        ResourceError: the source is broken or holds none, the extra `dicom` is missing, the folder holds files.
    """
    from mrisim.io import dicom

    chosen = _images(source, item)
    dicom.write(target, chosen)
    return _findings(chosen)


def _findings(items: Mapping[str, Image | ParameterMap]) -> tuple[Finding, ...]:
    return tuple(finding for one in items.values() if isinstance(one, Image) for finding in one.findings)


def nifti_suffix(path: str | Path) -> str:
    """`.nii.gz`, or the last suffix."""
    return ".nii.gz" if Path(path).name.lower().endswith(".nii.gz") else Path(path).suffix


def _images(source: str | Path, item: str | None) -> dict[str, Image | ParameterMap]:
    """Images and maps of a file by name, or the chosen one."""
    found = {name: one for name, one in load_all(source).items() if isinstance(one, (Image, ParameterMap))}
    if not found:
        raise ResourceError(Problem("must hold an image or a map, but holds none", file=str(source)))
    if item is not None and item not in found:
        rule = f"must be one of {', '.join(found)}, but is '{item}'"
        raise ResourceError(Problem(rule, path="item", file=str(source)))
    return found if item is None else {item: found[item]}


def _save_mrd(path: str | Path, item: Storable | Mapping[str, Storable]) -> None:
    from mrisim.io.mrd import save_mrd

    items = list(item.values()) if isinstance(item, Mapping) else [item]
    if len(items) != 1 or not isinstance(items[0], RawData):
        what = f"{len(items)} objects" if len(items) != 1 else type(items[0]).__name__
        rule = f"must be one RawData, but is {what}"
        raise ConsistencyError(Problem(rule, "Name the file .h5", file=str(path)))
    save_mrd(path, items[0])


def _load_hdf5(path: str | Path) -> dict[str, Any]:
    """Objects of a file of mrisim's own layout, or the raw data of an ISMRMRD file."""
    from mrisim.io.mrd import is_mrd, load_mrd

    if Path(path).suffix.lower() == MRD:
        return {Path(path).stem: load_mrd(path)}
    try:
        return hdf5.load_all(path)
    except ResourceError:
        if is_mrd(path):
            return {Path(path).stem: load_mrd(path)}
        raise


def _only(path: str | Path, items: Mapping[str, Any], kind: type | None) -> Any:
    if kind is not None:
        items = {name: item for name, item in items.items() if isinstance(item, kind)}
        if len(items) != 1:
            rule = f"must hold one {kind.__name__}, but holds {len(items)}"
            raise ResourceError(Problem(rule, "Write it again with mrisim", file=str(path)))
    if len(items) != 1:
        rule = f"must hold one object, but holds {', '.join(items) or 'none'}"
        raise ResourceError(Problem(rule, "Read them with load_all", file=str(path)))
    return next(iter(items.values()))


def _save_image(path: Path, image: Image) -> None:
    phased = np.iscomplexobj(image.data) and not image.provenance.get("recon", {}).get("magnitude", False)
    facts = [bids.sidecar(image, contrast) for contrast in range(len(image.data))]
    merged = {key: _one_or_all([row.get(key) for row in facts]) for key in facts[0]}
    nifti.write_volume(path, np.abs(image.data), image.grid, description=f"mrisim {image.name}")
    if phased:
        nifti.write_volume(_phase_file(path), np.angle(image.data), image.grid, description=f"mrisim {image.name}, rad")
    _write_sidecar(path, {**merged, "Units": image.unit, "SeriesDescription": image.name, "HasPhaseFile": phased})


def _one_or_all(values: list[Any]) -> Any:
    return values[0] if all(value == values[0] for value in values) else values


def _stem(path: Path) -> str:
    return re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.IGNORECASE)


def _phase_file(path: Path) -> Path:
    return path.with_name(path.name.replace(_stem(path), f"{_stem(path)}_phase", 1))


def _write_sidecar(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    nifti.write_bytes(path.with_name(f"{_stem(path)}.json"), text.encode())


def _read_sidecar(path: Path) -> dict[str, Any]:
    beside = path.with_name(f"{_stem(path)}.json")
    if not beside.is_file():
        return {}
    try:
        content = json.loads(beside.read_bytes()[: MAX_SIDECAR + 1].decode("utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        rule = f"must be JSON of up to {MAX_SIDECAR:,} bytes, but cannot be read ({error})"
        raise ResourceError(Problem(rule, "Correct it or take it away", file=str(beside))) from None
    if not isinstance(content, dict):
        raise ResourceError(Problem("must be a JSON object, but is not", "Take it away", file=str(beside)))
    return content


def _load_nifti(path: Path, kind: type | None) -> Image | ParameterMap:
    volume, facts = nifti.read_volume(path, finite=False), _read_sidecar(path)
    named = {quantity.suffix: name for name, quantity in bids.QUANTITIES.items()}
    quantity = facts.get("Quantity") or named.get(_stem(path).rsplit("_", 1)[-1])
    vector = bool(facts.get("Quantity")) and facts.get("Components") == len(volume.data) > 1
    single = len(volume.data) == 1 or vector
    if kind is None:
        kind = ParameterMap if quantity and single else Image
    if kind is ParameterMap and single:
        unit, scale = _SI.get(str(facts.get("Units", "")), (str(facts.get("Units", "unknown")), 1.0))
        data = np.moveaxis(np.asarray(volume.data, dtype=float) * scale, 0, -1)
        mask = np.isfinite(data).all(axis=-1)
        name = str(quantity or _stem(path))
        return ParameterMap(name=name, unit=unit, data=data if vector else data[..., 0], grid=volume.grid, mask=mask)
    if kind is not Image:
        rule = f"must hold one {kind.__name__}, but holds {len(volume.data)} volumes"
        raise ResourceError(Problem(rule, "Read it as Image", file=str(path)))
    return _image(path, volume, facts)


def _image(path: Path, volume: nifti.Volume, facts: Mapping[str, Any]) -> Image:

    data, magnitude = volume.data, not np.iscomplexobj(volume.data)
    if facts.get("HasPhaseFile") is True:
        phase = nifti.read_volume(_phase_file(path))
        if phase.data.shape != data.shape or not phase.grid.matches(volume.grid):
            rule = f"must lie on the voxels of {path.name}, but does not"
            raise ResourceError(Problem(rule, "Save the image again", file=str(_phase_file(path))))
        data, magnitude = data * np.exp(1j * phase.data), False
    coordinates, ignored = _coordinates(facts, len(data))
    findings = [
        Finding("sidecar", f"{key} of {_stem(path)}.json does not fit {len(data)} contrasts") for key in ignored
    ]
    return Image(
        data=data,
        grid=volume.grid,
        coordinates=coordinates,
        name=str(facts.get("SeriesDescription") or _stem(path)),
        unit=str(facts.get("Units", "1")),
        findings=(*volume.findings, *findings),
        provenance={"file": path.name, "recon": {"magnitude": magnitude}},
    )


def _coordinates(facts: Mapping[str, Any], count: int) -> tuple[dict[str, np.ndarray], list[str]]:
    """Coordinates of the contrasts, and the keys whose values are none."""
    found, ignored = {}, []
    for key, name in _COORDINATES.items():
        if facts.get(key) is None:
            continue
        try:
            values = np.atleast_1d(np.array(facts[key], dtype=float))
        except (TypeError, ValueError):
            values = np.zeros(0)
        if values.shape not in ((1,), (count,)):
            ignored.append(key)
            continue
        values = np.radians(values) if name == "flip" else values
        found[name] = np.array(np.broadcast_to(values, (count,)))
    return found, ignored
