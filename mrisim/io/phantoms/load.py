"""From a name or a file of any format to something that a run can sample."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from mrisim import data, units
from mrisim.errors import ConsistencyError, Finding, MrisimError, Problem, SpecError
from mrisim.io.phantoms import h5, jemris, koma, maps, mrzero
from mrisim.io.phantoms.checks import broken
from mrisim.phantom import library
from mrisim.phantom.interface import Model
from mrisim.phantom.voxels import Interpolation

SUFFIXES = (".h5", ".hdf5", ".phantom", ".npz")
Quantity = str | float


def is_foreign(name_or_path: str | Path) -> bool:
    """Whether a phantom's name is that of a data file: HDF5, `.phantom`, `.npz`.

    Example:
        >>> is_foreign("brain"), is_foreign("sample.h5")
        (False, True)
    """
    return Path(name_or_path).suffix.lower() in SUFFIXES


def load_phantom(
    name_or_path: str | Path,
    *,
    field: Quantity | None = None,
    voxel: Quantity | tuple[Quantity, Quantity, Quantity] | None = None,
    isochromats: int | None = None,
    slab: Quantity | None = None,
    geometry: data.Geometry | None = None,
    extent: tuple[Quantity, Quantity, Quantity] | None = None,
    extrude: Quantity | None = None,
    interpolation: Interpolation | None = None,
    **parameters: Quantity,
) -> data.Phantom:
    """Isochromats of a phantom from the library or from a file.

    Files are a YAML phantom (shapes, NIfTI maps or labels), mrisim's own `.h5`, KomaMRI's `.phantom`, JEMRIS's `.h5`
    and MRzero's `.npz`. Which one it is, the content says. What is assumed or dropped is among the findings.

    Args:
        name_or_path: Name in the library, or a file.
        field: Field strength [T]: that tissues are looked up at (default: the file's, else 3 T), or that the values
            of a foreign file hold for (default: unknown, so that every sequence may use it).
        voxel: Side of a voxel, or three, along the geometry's axes [m].
        isochromats: Per voxel.
        slab: Extent along the slice direction [m].
        geometry: Axes and center of the voxel grid, those of the sequence; default: the physical axes.
        extent: Along read, phase and slice [m]; default: all of the phantom.
        extrude: Thickness that makes a flat phantom, or one of a single slice, solid [m].
        interpolation: Between the voxels of a file, "nearest" (default) or "linear".
        **parameters: Values of the file's parameters.

    Returns:
        A phantom that knows its `model` and `sampling`, unless the file holds isochromats.

    Raises:
        SpecError: an unknown name, a file that breaks the grammar (all problems at once), an unknown parameter.
        ConsistencyError: nothing to sample, arguments that do not fit the phantom, values that are not physical.
        ResourceError: a file that cannot be read, or more isochromats than fit into memory.

    Example:
        >>> load_phantom("ellipse_box", voxel="4 mm", isochromats=5).field
        3.0
    """
    model = load_model(name_or_path, field, extrude=extrude, interpolation=interpolation, **parameters)
    asked = {"voxel": voxel, "isochromats": isochromats, "slab": slab, "geometry": geometry, "extent": extent}
    if isinstance(model, data.Phantom):
        given = [name for name, value in asked.items() if value is not None]
        if given:
            rule = f"must be left out for a phantom that has its isochromats, but {', '.join(given)} is given"
            raise ConsistencyError(Problem(rule, "Set them where the phantom is made", path="phantom"))
        return model
    return model.sample(
        model.sampling(
            voxel=library.lengths(voxel, "voxel")
            if isinstance(voxel, (tuple, list))
            else library.length(voxel, "voxel"),
            isochromats=isochromats,
            slab=library.length(slab, "slab"),
            geometry=geometry,
            extent=None if extent is None else library.lengths(extent, "extent"),
        )
    )


def load_model(
    name_or_path: str | Path,
    field: Quantity | None = None,
    *,
    extrude: Quantity | None = None,
    interpolation: Interpolation | None = None,
    **parameters: Quantity,
) -> Model | data.Phantom:
    """What a run samples: a model of shapes or of voxels; or isochromats, where the file holds nothing else.

    Arguments and errors are those of `load_phantom`.

    Example:
        >>> load_model("vials", field="1.5 T").field
        1.5
    """
    if interpolation not in (None, *get_args(Interpolation)):
        raise SpecError(Problem(f"must be nearest or linear, but is '{interpolation}'", path="interpolation"))
    with np.errstate(over="ignore", invalid="ignore"):  # absurd values are refused by what becomes of them
        return _load(name_or_path, field, extrude, interpolation, parameters)


def _load(
    name_or_path: str | Path,
    field: Quantity | None,
    extrude: Quantity | None,
    interpolation: Interpolation | None,
    parameters: dict[str, Any],
) -> Model | data.Phantom:
    if not is_foreign(name_or_path):
        return _from_yaml(name_or_path, field, extrude, interpolation, parameters)
    path = Path(name_or_path)
    if not path.is_file():
        raise broken(path, "", "must be an existing file, but is not there", "")
    strength = None if field is None else _field(field)
    given = {"extrude": extrude, **parameters}
    wrong = [name for name, value in given.items() if value is not None]
    if wrong:
        rule = f"must be left out for {path.name}, but {', '.join(wrong)} is given"
        raise SpecError(Problem(rule, "It has no parameters", path="phantom"))
    return _foreign(path, strength, interpolation)


def _from_yaml(
    name_or_path: str | Path,
    field: Quantity | None,
    extrude: Quantity | None,
    interpolation: Interpolation | None,
    parameters: dict[str, Any],
) -> Model:
    parts = library.read_parts(name_or_path, parameters)
    if parts.merged.maps is None and parts.merged.labels is None:
        if interpolation is not None:
            rule = "must be left out for a phantom of shapes, but is given"
            raise SpecError(Problem(rule, "Shapes are sampled exactly", path="interpolation"))
        return library.resolve(parts, Path(name_or_path).stem, field, extrude)
    strength = None if field is None else _field(field)
    return maps.build(parts, Path(name_or_path).stem, strength, interpolation, library.length(extrude, "extrude"))


def _foreign(path: Path, field: float | None, interpolation: Interpolation | None) -> Model | data.Phantom:
    kind = _kind(path)
    if kind == "mrisim":
        return _own(path, field, interpolation)
    if kind == "koma":
        _refuse_interpolation(path, interpolation)
        found: Any = koma.read(path, field)
    elif kind == "jemris":
        found = jemris.read(path, field, interpolation or "nearest")
    else:
        found = mrzero.read(path, field, interpolation or "nearest")
    return found if field is not None else _without_field(found, path)


def _without_field(found: Any, path: Path) -> Any:
    text = f"{path.name} does not say for which field strength its values hold; that of the sequence is taken"
    return replace(found, findings=(*found.findings, Finding("field strength", text, "Give the field")))


def _own(path: Path, field: float | None, interpolation: Interpolation | None) -> data.Phantom:
    from mrisim.io import hdf5

    _refuse_interpolation(path, interpolation)
    if field is not None:
        rule = "must be left out for a phantom that has its isochromats, but field is given"
        raise ConsistencyError(Problem(rule, "Set them where the phantom is made", path="phantom"))
    return hdf5.load(path, data.Phantom)


def _refuse_interpolation(path: Path, interpolation: str | None) -> None:
    if interpolation is not None:
        rule = f"must be left out for {path.name}, which holds points, but is given"
        raise SpecError(Problem(rule, path="interpolation"))


def _kind(path: Path) -> str:
    """Format of a data file, by its content."""
    if zipfile.is_zipfile(path) or path.suffix.lower() == ".npz":
        return "mrzero"
    if not h5.is_hdf5(path):
        raise broken(path, "", "must be an HDF5 file or an .npz archive, but begins as neither")
    with h5.opened(path) as file:
        if h5.text(file, "format") == "mrisim":
            return "mrisim"
        if h5.has(file, "sample/data") or h5.has(file, "sample"):
            return "jemris"
        if h5.has(file, "position") or h5.has(file, "contrast"):
            return "koma"
        found = ", ".join(list(file)[:5]) or "nothing"
    rule = f"must hold a phantom of mrisim, KomaMRI (position, contrast) or JEMRIS (sample), but holds {found}"
    raise broken(path, "", rule, "Convert it")


def _field(value: Quantity) -> float:
    try:
        number = units.parse(value, units.FIELD)
    except MrisimError as error:
        raise SpecError([Problem(p.rule, p.remedy, path="field") for p in error.problems]) from None
    if not 0.0 < number < float("inf"):
        raise SpecError(Problem(f"must be finite and above zero, but is {value}", path="field"))
    return number
