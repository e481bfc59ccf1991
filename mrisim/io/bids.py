"""A BIDS dataset of a run: images with sidecars, maps and truth as derivatives.

Units are those of BIDS: seconds, degrees, tesla, 1/s; millimeters for the slice thickness.

Source: BIDS specification 1.11, appendix "Entities", sections "Magnetic Resonance Imaging" and "Quantitative MRI".
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mrisim.data import Grid, Image, ParameterMap
from mrisim.errors import ConsistencyError, Problem
from mrisim.events.blocks import Sequence as PulseSequence
from mrisim.events.blocks import Use
from mrisim.io.nifti import write_bytes, write_volume

BIDS_VERSION = "1.10.0"
SUBJECT = "01"
SUFFIXES = ("T1w", "T2w", "T2starw", "PDw", "FLAIR", "IRT1", "MESE", "MEGRE", "VFA")
ENTITIES = ("acq", "run", "echo", "flip", "inv", "part", "chunk", "desc")
"""In the order in which they stand in a file's name."""
INDEXED = {"IRT1": "inv", "MESE": "echo", "MEGRE": "echo", "VFA": "flip"}
"""Suffix of a series → the entity that counts its images."""
LONG_TE, LONG_TE_GRADIENT_ECHO, SHORT_TR = 50e-3, 12e-3, 1.2  # [s]; where T2 and T1 show

_NAMES = (
    ("FLAIR", r"flair"),
    ("T2starw", r"t2_?(star|\*)|swi"),
    ("T1w", r"t1|mp2?rage"),
    ("T2w", r"t2"),
    ("PDw", r"(?<![a-z])pd"),
)


@dataclass(frozen=True)
class Quantity:
    """How BIDS names a map, and in which unit."""

    suffix: str
    unit: str
    scale: float = 1.0  # SI → that unit
    folder: str = "anat"


QUANTITIES: Mapping[str, Quantity] = {
    "T1": Quantity("T1map", "s"),
    "T2": Quantity("T2map", "s"),
    "T2star": Quantity("T2starmap", "s"),
    "R1": Quantity("R1map", "1/s"),
    "R2": Quantity("R2map", "1/s"),
    "R2star": Quantity("R2starmap", "1/s"),
    "PD": Quantity("PDmap", "arbitrary"),
    "B1": Quantity("TB1map", "arbitrary", folder="fmap"),
    "ADC": Quantity("ADC", "mm^2/s", 1e6, "dwi"),
    "FA": Quantity("FA", "arbitrary", folder="dwi"),
    "S0": Quantity("S0map", "arbitrary"),
}

_DIFFUSION_WEIGHTED = 20e6  # b of at least one image of a diffusion series [s/m²]
_IMAGING_ALONE = 5e6  # less is what imaging gradients give, and counts as no weighting [s/m²]


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """A scan's images; `suffix` where the user chose it, else it follows from the images and their sequence."""

    name: str
    image: Image
    sequence: PulseSequence | None = None
    suffix: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """What goes into a BIDS dataset."""

    name: str
    series: tuple[Series, ...]
    maps: Mapping[str, ParameterMap] = field(default_factory=dict)
    truth: Mapping[str, ParameterMap] = field(default_factory=dict)
    phantom: str = ""
    description: str = ""


def suffix_of(series: Series) -> str:
    """BIDS suffix of a scan: a quantitative series by what varies over it, else a weighting by name, else by times.

    Example:
        >>> grid = Grid.of((1, 1, 1), (1e-3, 1e-3, 1e-3))
        >>> image = Image(data=np.ones((2, 1, 1, 1)), grid=grid, coordinates={"ti": np.array([0.1, 0.5])})
        >>> suffix_of(Series(name="ir", image=image))
        'IRT1'
    """
    if series.suffix:
        return series.suffix
    varying = [key for key in ("te", "ti", "tr", "flip") if _varies(series.image, key)]
    if varying == ["te"]:
        return "MESE" if _refocused(series.sequence) else "MEGRE"
    if varying == ["ti"]:
        return "IRT1"
    if varying == ["flip"]:
        return "VFA"
    for text in (series.name, series.sequence.name if series.sequence else ""):
        for suffix, pattern in _NAMES:
            if re.search(pattern, text.lower().replace("-", "_").replace(" ", "_")):
                return suffix
    return _weighting(series)


def _weighting(series: Series) -> str:
    te, tr, ti = (_first(series.image, key) for key in ("te", "tr", "ti"))
    refocused = _refocused(series.sequence)
    if te >= (LONG_TE if refocused else LONG_TE_GRADIENT_ECHO):
        return "T2w" if refocused else "T2starw"
    return "T1w" if tr <= SHORT_TR or math.isfinite(ti) else "PDw"


def _varies(image: Image, key: str) -> bool:
    """Whether a coordinate has another value in every contrast."""
    values = np.asarray(image.coordinates.get(key, ()), dtype=float)
    known = values[np.isfinite(values)]
    return len(known) > 1 and len(np.unique(np.round(known, 9))) == len(values)


def _first(image: Image, key: str) -> float:
    values = np.asarray(image.coordinates.get(key, ()), dtype=float)
    return float(values[0]) if len(values) else math.nan


def _refocused(sequence: PulseSequence | None) -> bool:
    return sequence is not None and bool((_uses(sequence) == Use.REFOCUSING).any())


def _uses(sequence: PulseSequence) -> np.ndarray:
    """What each pulse is for, in order of time."""
    return sequence.rf.use[sequence.blocks.rf[sequence.blocks.rf >= 0]]


def sidecar(image: Image, contrast: int = 0, sequence: PulseSequence | None = None) -> dict[str, Any]:
    """Metadata of one contrast by BIDS names; what is unknown is left out.

    Example:
        >>> grid = Grid.of((1, 1, 1), (1e-3, 1e-3, 5e-3))
        >>> image = Image(data=np.ones((1, 1, 1, 1)), grid=grid, coordinates={"te": np.array([0.08])})
        >>> sidecar(image)["EchoTime"]
        0.08
    """
    values = {key: float(column[contrast]) for key, column in image.coordinates.items() if np.ndim(column) == 1}
    times = {name: round(values[key], 9) for name, key in _TIMES if math.isfinite(values.get(key, math.nan))}
    if sequence is not None and (_uses(sequence) == Use.INVERSION).sum() not in (0, _excitations(sequence)):
        times.pop("RepetitionTime", None)  # several excitations for each inversion: their distance is no TR
    flip = values.get("flip", math.nan)
    thickness = image.grid.spacing[2] if image.grid.thickness is None else image.grid.thickness
    return {
        **times,
        **({"FlipAngle": round(math.degrees(flip), 6)} if math.isfinite(flip) else {}),
        **(_of_sequence(sequence) if sequence else {"PulseSequenceType": image.provenance.get("sequence", image.name)}),
        **({"CoilCombinationMethod": combination} if (combination := _combination(image)) else {}),
        "NonlinearGradientCorrection": False,
        "MRAcquisitionType": "3D" if image.grid.thickness is None and image.grid.shape[2] > 1 else "2D",
        "SliceThickness": round(thickness * 1e3, 6),
        "Manufacturer": "mrisim",
        "SoftwareVersions": software_version(),
        "ConversionSoftware": "mrisim",
        "ConversionSoftwareVersion": software_version(),
    }


_TIMES = (
    ("EchoTime", "te"),
    ("RepetitionTime", "tr"),
    ("RepetitionTimeExcitation", "tr"),
    ("InversionTime", "ti"),
)


def _combination(image: Image) -> str:
    return str(image.provenance.get("recon", {}).get("combine", "")) if image.provenance.get("n_coils", 1) > 1 else ""


def _excitations(sequence: PulseSequence) -> int:
    return int((_uses(sequence) == Use.EXCITATION).sum())


def _of_sequence(sequence: PulseSequence) -> dict[str, Any]:
    system, dwell = sequence.system, np.unique(sequence.adc.dwell)
    inverted = bool((_uses(sequence) == Use.INVERSION).any())
    scanning = [*(["IR"] if inverted else []), "SE" if _refocused(sequence) else "GR"]
    return {
        "PulseSequenceType": sequence.name,
        "SequenceName": Path(sequence.source).stem or sequence.name,
        "ScanningSequence": scanning,
        **({"PulseSequenceDetails": sequence.description} if sequence.description else {}),
        "MagneticFieldStrength": system.b0,
        "ImagingFrequency": round(system.b0 * system.gamma * 1e-6, 6),
        "ManufacturersModelName": system.name,
        **({"DwellTime": round(float(dwell[0]), 12)} if len(dwell) == 1 else {}),
    }


def write_bvals(path: str | Path, b: ArrayLike, directions: ArrayLike, grid: Grid) -> None:
    """Write `.bval` and `.bvec` beside an image, in FSL's convention.

    The vectors are given along the axes of the image's voxels, and their first component changes its sign where these
    axes are right-handed (the affine matrix has a positive determinant), as mrisim's are.

    Args:
        path: Of the image (`…_dwi.nii.gz`), or without suffix.
        b: (n,) b-values [s/m²]; written in s/mm².
        directions: (n, 3) physical directions of the diffusion gradient; of any length, zero where b is zero.
        grid: Of the image.

    Raises:
        ConsistencyError: shapes that do not fit, values that are not finite, or a direction that is missing.
        ResourceError: the files cannot be written.

    Source:
        FSL, FDT user guide, "What conventions do the bvecs use?".
    """
    b, directions = np.atleast_1d(np.asarray(b, dtype=float)), np.atleast_2d(np.asarray(directions, dtype=float))
    length = np.linalg.norm(directions, axis=1) if directions.ndim == 2 else np.zeros(0)
    problems = []
    if b.ndim != 1 or directions.shape != (len(b), 3):
        rule = f"must have shape (n, 3) with n = {b.size} b-values, but has {directions.shape}"
        problems.append(Problem(rule, path="directions"))
    elif not (np.isfinite(b).all() and np.isfinite(directions).all() and (b >= 0).all()):
        problems.append(Problem("must be finite, b-values not negative, but are not", path="b"))
    elif (length[b > 0] == 0).any():
        problems.append(Problem("must be given for each b-value above zero, but one is zero", path="directions"))
    if problems:
        raise ConsistencyError(problems)
    unit = np.where((b > 0)[:, None], directions / np.where(length > 0, length, 1.0)[:, None], 0.0)
    axes = replace(grid, slice_positions=grid.slice_positions[:2]).affine()[:3, :3]
    along = unit @ (axes / np.linalg.norm(axes, axis=0))
    if np.linalg.det(axes) > 0:
        along[:, 0] *= -1
    stem = re.sub(r"\.nii(\.gz)?$", "", str(path))
    rows = "\n".join(" ".join(f"{value + 0.0:.8f}" for value in row) for row in np.round(along.T, 8))
    write_bytes(Path(f"{stem}.bvec"), f"{rows}\n".encode())
    write_bytes(Path(f"{stem}.bval"), (" ".join(f"{value * 1e-6:.10g}" for value in b) + "\n").encode())


def write_dataset(folder: str | Path, dataset: Dataset) -> None:
    """Write a dataset that `bids-validator` accepts into an empty folder.

    Images lie in `sub-01/anat` (magnitude and phase of complex ones), those with b-values in `sub-01/dwi`; maps, their
    standard errors, masks and true values in `derivatives/mrisim`, but for maps that BIDS has no name for. Slices that
    are not equidistant get a file each, told apart by `chunk-`.

    Raises:
        ResourceError: a file cannot be written.
    """
    folder = Path(folder)
    _root(folder, dataset)
    sources: dict[str, list[str]] = {}
    for series, names in zip(dataset.series, _stems(dataset.series), strict=True):
        sources[series.name] = list(_write_series(folder, series, names))
    if dataset.maps:
        _derivatives(folder / "derivatives" / "mrisim", dataset, sources)


Entities = dict[str, str]


def _stems(all_series: Sequence[Series]) -> list[list[tuple[Entities, str]]]:
    """Entities and suffix of each contrast of each series, all different."""
    taken: set[tuple[str, ...]] = set()
    result = []
    for series in all_series:
        suffix = "dwi" if _is_diffusion(series.image) else suffix_of(series)
        label = re.sub(r"[^A-Za-z0-9]", "", series.name)
        base = {} if label.lower() == suffix.lower() else {"acq": label}
        count = 1 if suffix == "dwi" else len(series.image.data)
        names: list[Entities] = [base]
        if suffix in INDEXED:
            names = [{**base, INDEXED[suffix]: str(i + 1)} for i in range(count)]
        elif count > 1:
            names = [{**base, "run": str(i + 1)} for i in range(count)]
        while any((*sorted(name.items()), suffix) in taken for name in names):
            names = [{**name, "acq": f"{name.get('acq', label)}x"} for name in names]
        taken.update((*sorted(name.items()), suffix) for name in names)
        result.append([(name, suffix) for name in names])
    return result


def _is_diffusion(image: Image) -> bool:
    b_matrix = np.asarray(image.coordinates.get("b_matrix", np.zeros((1, 3, 3))))
    return bool((np.trace(b_matrix, axis1=1, axis2=2) >= _DIFFUSION_WEIGHTED).any())


def gradients(image: Image) -> tuple[np.ndarray, np.ndarray]:
    """b value [s/m²] and direction of each contrast, from its b-matrix; zero where imaging gradients alone weight it.

    The direction is the axis along which the weighting is strongest. Its sign has no meaning.

    Example:
        >>> grid = Grid.of((1, 1, 1), (1e-3, 1e-3, 1e-3))
        >>> b_matrix = np.array([np.diag([1e3, 2e3, 0.0]), np.diag([0.0, 1e9, 0.0])])
        >>> [item.tolist() for item in gradients(Image(data=np.ones((2, 1, 1, 1)), grid=grid,
        ...                                            coordinates={"b_matrix": b_matrix}))]
        [[0.0, 1000000000.0], [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]
    """
    b_matrix = np.asarray(image.coordinates["b_matrix"], dtype=float)
    b = np.trace(b_matrix, axis1=1, axis2=2)
    axis = np.linalg.eigh(b_matrix)[1][:, :, -1]
    axis = axis * np.where(axis[np.arange(len(b)), np.abs(axis).argmax(axis=1)] < 0, -1.0, 1.0)[:, None]
    weighted = b >= _IMAGING_ALONE
    return np.where(weighted, b, 0.0), np.where(weighted[:, None], axis, 0.0)


def _write_series(folder: Path, series: Series, names: list[tuple[Entities, str]]) -> Iterator[str]:
    """Write the contrasts of a series; paths of the magnitudes, relative to the dataset."""
    image = series.image
    phased = np.iscomplexobj(image.data) and not image.provenance.get("recon", {}).get("magnitude", False)
    for contrast, (entities, suffix) in enumerate(names):
        diffusion = suffix == "dwi"
        data = image.data if diffusion else image.data[contrast : contrast + 1]
        place = folder / f"sub-{SUBJECT}" / ("dwi" if diffusion else "anat")
        place.mkdir(parents=True, exist_ok=True)
        facts = sidecar(image, contrast, series.sequence)
        parts = {"mag": np.abs(data), "phase": np.angle(data)} if phased else {"": np.abs(data)}
        for part, values in parts.items():
            more = {**facts, "Units": "rad" if part == "phase" else "arbitrary"}
            tagged = {**entities, **({"part": part} if part else {})}
            for path, grid in _write(place, tagged, suffix, values, image.grid, more):
                if diffusion:
                    write_bvals(path, *gradients(image), grid)
                if part != "phase":
                    yield path.relative_to(folder).as_posix()


def _write(
    place: Path, entities: Entities, suffix: str, data: np.ndarray, grid: Grid, facts: Mapping[str, Any]
) -> Iterator[tuple[Path, Grid]]:
    for chunk, values, piece in pieces(data, grid):
        named = {**entities, **({"chunk": chunk} if chunk else {})}
        tags = [f"sub-{SUBJECT}", *(f"{key}-{named[key]}" for key in ENTITIES if key in named), suffix]
        path = place / f"{'_'.join(tags)}.nii.gz"
        write_volume(path, values, piece, description="mrisim")
        _json(place / f"{'_'.join(tags)}.json", facts)
        yield path, piece


def pieces(data: np.ndarray, grid: Grid) -> Iterator[tuple[str, np.ndarray, Grid]]:
    """The volume, or each of its slices alone where they are not equidistant: number, data, grid."""
    try:
        grid.affine()
    except ConsistencyError:
        for i, position in enumerate(grid.slice_positions):
            shape = (*grid.shape[:2], 1)
            yield str(i + 1), data[:, i : i + 1], replace(grid, shape=shape, slice_positions=np.array([position]))
    else:
        yield "", data, grid


def _derivatives(folder: Path, dataset: Dataset, sources: Mapping[str, list[str]]) -> None:
    folder.mkdir(parents=True)
    _json(folder / "dataset_description.json", _description(f"{dataset.name}: maps", "derivative"))
    (folder / "README.md").write_text(_MAPS_README.format(without=_without_name(dataset)), encoding="utf-8")
    for name, quantity in QUANTITIES.items():
        if name not in dataset.maps:
            continue
        place = folder / f"sub-{SUBJECT}" / quantity.folder
        place.mkdir(parents=True, exist_ok=True)
        for kind, item in {"": dataset.maps[name], "truth": dataset.truth.get(name)}.items():
            if item is not None:
                facts = _map_facts(item, quantity, sources if not kind else {})
                tags = {"desc": kind} if kind else {}
                list(_write(place, tags, quantity.suffix, item.data[None] * quantity.scale, item.grid, facts))
        _write_extras(place, name, dataset.maps[name], quantity)


def _without_name(dataset: Dataset) -> str:
    names = [name for name in dataset.maps if name not in QUANTITIES]
    return f"\nBIDS has no name for {', '.join(names)}: see maps.h5 of the run.\n" if names else ""


def _write_extras(place: Path, name: str, item: ParameterMap, quantity: Quantity) -> None:
    facts = {"SkullStripped": False, "Units": quantity.unit}
    if item.standard_error is not None:
        error = item.standard_error[None] * quantity.scale
        facts["Description"] = f"Standard error of {name}"
        list(_write(place, {"desc": "standarderror"}, quantity.suffix, error, item.grid, facts))
    if item.mask is not None and quantity.folder == "anat":
        facts = {"Type": "ROI", "Description": f"Voxels in which the fit of {name} converged", "SkullStripped": False}
        list(_write(place, {"desc": f"{_label(name)}fit"}, "mask", item.mask[None].astype(bool), item.grid, facts))


def _map_facts(item: ParameterMap, quantity: Quantity, sources: Mapping[str, list[str]]) -> dict[str, Any]:
    fit = item.provenance.get("fit", {})
    series = fit.get("from", next(iter(sources), "") if len(sources) == 1 else "")
    used = [f"bids:raw:{path}" for path in sources.get(series, ())]
    return {
        "SkullStripped": False,
        "Units": quantity.unit,
        "Description": f"{item.name} estimated from images" if sources else f"True {item.name} of the phantom",
        **({"EstimationAlgorithm": fit["fit"]} if fit else {}),
        **({"Sources": used} if used else {}),
    }


def _root(folder: Path, dataset: Dataset) -> None:
    _json(folder / "dataset_description.json", _description(dataset.name, "raw"))
    row = f"sub-{SUBJECT}\t{' '.join(dataset.phantom.split()) or 'n/a'}\n"
    (folder / "participants.tsv").write_text(f"participant_id\tphantom\n{row}", encoding="utf-8")
    _json(folder / "participants.json", {"phantom": {"Description": "Digital phantom that was simulated"}})
    scans = "".join(
        f"* {series.name}: {series.sequence.name if series.sequence else '-'}\n" for series in dataset.series
    )
    text = _README.format(name=dataset.name, description=dataset.description, scans=scans, version=software_version())
    (folder / "README.md").write_text(text, encoding="utf-8")


def _description(name: str, kind: str) -> dict[str, Any]:
    return {
        "Name": name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": kind,
        "GeneratedBy": [{"Name": "mrisim", "Version": software_version(), "Description": "MRI simulator"}],
        **({"DatasetLinks": {"raw": "../.."}} if kind == "derivative" else {}),
    }


@cache
def software_version() -> str:
    try:
        return version("mrisim")
    except PackageNotFoundError:
        return "not installed"


def _label(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "", name)


def _json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


_README = """# {name}

{description}

Simulated by mrisim {version} from a digital phantom: there is no person behind sub-01. Image values are the mean of
proton density times transverse magnetisation over a voxel, relative to water in equilibrium. Phases are in radians.

Scans and their sequences:

{scans}
Maps, their standard errors and the true values of the phantom (`desc-truth`) lie in `derivatives/mrisim`.
"""
_MAPS_README = """# Parameter maps

Estimates from the simulated images, in the units of BIDS (seconds, 1/s). Background and voxels whose fit failed are
nan, and zero in the mask. `desc-truth` are the values that the phantom was made with, `desc-standarderror` the standard
errors of the fit.
{without}"""
