"""DICOM: images as Enhanced MR Image Storage, maps as Parametric Map Storage. Needs the extra `dicom`.

Positions and directions are turned to DICOM's patient axes (left, posterior, superior), which negates x and y; lengths
are millimeters, times milliseconds, angles degrees.

Source: DICOM PS3.3, A.36.2 Enhanced MR Image IOD, A.75 Parametric Map IOD, C.7.6.16 functional groups.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from mrisim.data import Grid, Image, ParameterMap
from mrisim.errors import ConsistencyError, Problem, ResourceError
from mrisim.events.blocks import Sequence as PulseSequence
from mrisim.io.bids import sidecar, software_version

LPS = np.array([-1.0, -1.0, 1.0])
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
MAX_LEVEL = 65535  # of a stored value
_UCUM = {"s": ("s", 1.0), "1/s": ("/s", 1.0), "Hz": ("Hz", 1.0), "m^2/s": ("mm2/s", 1e6), "rad": ("rad", 1.0)}
_QUANTITY = {
    "T1": ("113063", "DCM", "T1"),
    "T2": ("113065", "DCM", "T2"),
    "T2star": ("113064", "DCM", "T2*"),
    "R1": ("126393", "DCM", "R1"),
    "R2": ("126394", "DCM", "R2"),
    "R2star": ("126395", "DCM", "R2*"),
    "PD": ("113058", "DCM", "Proton Density"),
    "ADC": ("113041", "DCM", "Apparent Diffusion Coefficient"),
}


def write(
    folder: str | Path, item: Image | ParameterMap | Mapping[str, Any], *, sequence: PulseSequence | None = None
) -> list[Path]:
    """Write images and maps to a new folder of `.dcm` files, all of one study; complete or not at all.

    An image becomes one file of magnitudes and, where it is complex, one of phases, with a frame for each slice of
    each contrast. Stored values are 16-bit; the rescale slope of the file gives the image's own values. A map becomes a
    file of 32-bit floats with its unit; nan becomes zero, which the file names as padding.

    Args:
        folder: To write to; must not be there, or be empty.
        item: Image or parameter map, or several by name.
        sequence: That the images were made with, for the field strength and the type of sequence.

    Returns:
        The files.

    Raises:
        ResourceError: the extra `dicom` is not installed, or the folder cannot be written or holds files.
        ConsistencyError: something else than images and maps, or images that are not finite.
    """
    folder = Path(os.path.abspath(folder))
    _modules()
    items = dict(item) if isinstance(item, Mapping) else {item.name: item}
    _check(folder, items)
    study = _Study()
    building = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part"))
        for number, (name, one) in enumerate(items.items(), start=1):
            for label, dataset in _datasets(study, name, one, number, sequence).items():
                dataset.save_as(building / f"{label}.dcm", enforce_file_format=True)
        building.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        building.rename(folder)
    except OSError as error:
        raise _refused(folder, f"must be writable, but is not ({error.strerror or error})") from None
    finally:
        if building is not None:
            shutil.rmtree(building, ignore_errors=True)
    return sorted(folder.glob("*.dcm"))


def _check(folder: Path, items: Mapping[str, Any]) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise _refused(folder, "must be a new or an empty folder, but is not")
    problems = []
    for name, item in items.items():
        if not isinstance(item, (Image, ParameterMap)):
            rule = f"must be an Image or a ParameterMap, but is {type(item).__name__}"
            problems.append(Problem(rule, "Name the file .h5", path=name))
        elif isinstance(item, Image) and not np.isfinite(item.data).all():
            problems.append(Problem("must be finite, but holds nan or infinity", path=name))
        elif len(item.grid.slice_positions) == 0:
            problems.append(Problem("must have a slice, but has none", path=name))
    if not items:
        problems.append(Problem("must hold an image or a map, but is empty", path="item"))
    if problems:
        raise ConsistencyError(problems)


def _modules() -> tuple[Any, Any]:
    """pydicom and highdicom."""
    try:
        return importlib.import_module("pydicom"), importlib.import_module("highdicom")
    except ImportError:
        rule = "must have pydicom and highdicom to write DICOM, but they are not installed"
        raise ResourceError(Problem(rule, 'Run pip install "mrisim[dicom]"')) from None


class _Study:
    """What all files of a study share."""

    def __init__(self) -> None:
        from pydicom.uid import generate_uid

        self.uid, self.frame = generate_uid(), generate_uid()
        self.now = datetime.now()


def _datasets(study: _Study, name: str, item: Image | ParameterMap, number: int, sequence: Any) -> dict[str, Any]:
    label = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    if isinstance(item, ParameterMap) and item.data.ndim == 4:
        parts = {axis: replace(item, data=item.data[..., i]) for i, axis in enumerate("xyz")}
        return {
            f"{label}_{axis}": _map(study, f"{name} {axis}", part, number + 1000 * i)
            for i, (axis, part) in enumerate(parts.items())
        }
    if isinstance(item, ParameterMap):
        return {label: _map(study, name, item, number)}
    magnitude = _enhanced(study, name, item, np.abs(item.data), "MAGNITUDE", number, sequence)
    if not np.iscomplexobj(item.data) or item.provenance.get("recon", {}).get("magnitude", False):
        return {label: magnitude}
    phase = _enhanced(study, name, item, np.angle(item.data), "PHASE", number + 1000, sequence)
    return {label: magnitude, f"{label}_phase": phase}


def _base(study: _Study, name: str, number: int) -> Any:
    """Patient, study, series and equipment."""
    from pydicom.dataset import Dataset
    from pydicom.uid import generate_uid

    ds = Dataset()
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Phantom^Digital", "01", "", "O"
    ds.StudyInstanceUID, ds.FrameOfReferenceUID = study.uid, study.frame
    ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "1", "", ""
    ds.StudyDate = ds.ContentDate = study.now.strftime("%Y%m%d")
    ds.StudyTime = ds.ContentTime = study.now.strftime("%H%M%S")
    ds.AcquisitionDateTime = study.now.strftime("%Y%m%d%H%M%S")
    ds.SeriesInstanceUID, ds.SOPInstanceUID = generate_uid(), generate_uid()
    ds.SeriesNumber, ds.InstanceNumber, ds.SeriesDescription = number, 1, name[:64]
    ds.PositionReferenceIndicator, ds.PatientPosition, ds.Modality = "", "HFS", "MR"
    return ds


def _enhanced(
    study: _Study, name: str, image: Image, values: np.ndarray, component: str, number: int, sequence: Any
) -> Any:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    ds = _base(study, name, number)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = UID(ENHANCED_MR)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = UID(EXPLICIT_LITTLE_ENDIAN)
    facts = sidecar(image, 0, sequence)
    _describe(ds, component, facts)
    levels, slope, low = _levels(values)
    frames = levels.reshape(-1, *levels.shape[2:])
    ds.NumberOfFrames, ds.Rows, ds.Columns = frames.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.SharedFunctionalGroupsSequence = [_shared(image.grid, slope, low, ds.ImageType, component)]
    ds.PerFrameFunctionalGroupsSequence = [
        _frame(image, sequence, contrast, z)
        for contrast in range(levels.shape[0])
        for z in range(levels.shape[1])
    ]  # fmt: skip
    _dimensions(ds)
    ds.PixelData = frames.astype("<u2").tobytes()
    return ds


def _levels(values: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Values as 16-bit levels, and value = level · slope + low."""
    low, high = min(float(values.min()), 0.0), float(values.max())
    slope = float(f"{(high - low) / MAX_LEVEL:.10g}") if high > low else 1.0  # as many digits as the file holds
    low = float(f"{low:.10g}")
    return np.clip(np.rint((values - low) / slope), 0, MAX_LEVEL).astype(np.uint16), slope, low


def _describe(ds: Any, component: str, facts: Mapping[str, Any]) -> None:
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M" if component == "MAGNITUDE" else "P", "NONE"]
    ds.Manufacturer, ds.ManufacturerModelName = "mrisim", str(facts.get("ManufacturersModelName", "simulated"))[:64]
    ds.DeviceSerialNumber, ds.SoftwareVersions = "none", facts["SoftwareVersions"]
    ds.PixelPresentation, ds.VolumetricProperties = "MONOCHROME", "VOLUME"
    ds.VolumeBasedCalculationTechnique, ds.ComplexImageComponent = "NONE", component
    ds.AcquisitionContrast, ds.BurnedInAnnotation, ds.LossyImageCompression = "UNKNOWN", "NO", "00"
    ds.PresentationLUTShape, ds.ContentQualification, ds.ResonantNucleus = "IDENTITY", "RESEARCH", "1H"
    ds.MRAcquisitionType, ds.KSpaceFiltering = facts["MRAcquisitionType"], "NONE"
    ds.PulseSequenceName = str(facts["PulseSequenceType"])[:16]
    ds.AcquisitionNumber, ds.AcquisitionContextSequence = 1, []
    if "MagneticFieldStrength" in facts:
        ds.MagneticFieldStrength = facts["MagneticFieldStrength"]


def _item(**values: Any) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return item


def _shared(grid: Grid, slope: float, low: float, kind: list[str], component: str) -> Any:
    """What all frames share: voxel size, directions, rescaling."""
    thickness = grid.spacing[2] if grid.thickness is None else grid.thickness
    measures = _item(
        PixelSpacing=[_digits(grid.spacing[1] * 1e3), _digits(grid.spacing[0] * 1e3)],  # rows, columns
        SliceThickness=_digits(thickness * 1e3),
        SpacingBetweenSlices=_digits(_step(grid) * 1e3),
    )
    frame_type = _item(
        FrameType=kind, PixelPresentation="MONOCHROME", VolumetricProperties="VOLUME",
        VolumeBasedCalculationTechnique="NONE", ComplexImageComponent=component, AcquisitionContrast="UNKNOWN",
    )  # fmt: skip
    rescale = _item(RescaleIntercept=_digits(low), RescaleSlope=_digits(slope), RescaleType="US")
    return _item(
        PixelMeasuresSequence=[measures],
        PlaneOrientationSequence=[_item(ImageOrientationPatient=_directions(grid))],
        MRImageFrameTypeSequence=[frame_type],
        PixelValueTransformationSequence=[rescale],
    )


def _directions(grid: Grid) -> list[str]:
    """Along a row (read), then along a column (phase), in patient axes."""
    return [_digits(value) for value in (grid.geometry.rotation.T * LPS)[:2].ravel()]


def _step(grid: Grid) -> float:
    return float(np.abs(np.diff(grid.slice_positions)[0])) if len(grid.slice_positions) > 1 else grid.spacing[2]


def _frame(image: Image, sequence: Any, contrast: int, z: int) -> Any:
    """Place of a frame, and the times of its contrast."""
    facts = sidecar(image, contrast, sequence)
    content = _item(StackID="1", InStackPositionNumber=z + 1, DimensionIndexValues=[z + 1, contrast + 1])
    content.TemporalPositionIndex = contrast + 1
    frame = _item(
        FrameContentSequence=[content],
        PlanePositionSequence=[_item(ImagePositionPatient=[_digits(x) for x in corner(image.grid, z)])],
    )
    if "EchoTime" in facts:
        frame.MREchoSequence = [_item(EffectiveEchoTime=facts["EchoTime"] * 1e3)]
    timing = {
        "RepetitionTime": _digits(facts.get("RepetitionTimeExcitation", 0.0) * 1e3),
        "FlipAngle": _digits(facts.get("FlipAngle", 0.0)),
    }
    frame.MRTimingAndRelatedParametersSequence = [_item(**timing, EchoTrainLength=1)]
    inverted = "InversionTime" in facts
    modifier = _item(InversionRecovery="YES" if inverted else "NO")
    if inverted:
        modifier.InversionTimes = [facts["InversionTime"] * 1e3]
    frame.MRModifierSequence = [modifier]
    return frame


def corner(grid: Grid, z: int) -> np.ndarray:
    """DICOM position of the center of the first voxel of a slice, in patient axes [mm].

    Example:
        >>> corner(Grid.of((4, 2, 1), (1e-3, 2e-3, 5e-3)), 0).round(9).tolist()
        [2.0, 2.0, 0.0]
    """
    x, y, slices = grid.logical_axes()
    inside = grid.geometry.rotation @ np.array([x[0], y[0], slices[z]]) + grid.geometry.center
    return inside * LPS * 1e3 + 0.0


def _digits(value: float) -> str:
    """Number in the sixteen characters of a decimal string."""
    value = float(value)
    for digits in range(15, 6, -1):
        text = f"{value + 0.0:.{digits}g}"
        if len(text) <= 16:
            return text
    return f"{value:.6g}"


def _dimensions(ds: Any) -> None:
    from pydicom.tag import Tag
    from pydicom.uid import generate_uid

    uid = generate_uid()
    ds.DimensionOrganizationSequence = [_item(DimensionOrganizationUID=uid)]
    content = Tag("FrameContentSequence")
    ds.DimensionIndexSequence = [
        _item(DimensionOrganizationUID=uid, DimensionIndexPointer=Tag(name), FunctionalGroupPointer=content)
        for name in ("InStackPositionNumber", "TemporalPositionIndex")
    ]


def _map(study: _Study, name: str, item: ParameterMap, number: int) -> Any:
    """Parametric map: 32-bit floats with their unit."""
    _, hd = _modules()
    from pydicom.sr.coding import Code
    from pydicom.uid import generate_uid

    code, scale = _UCUM.get(item.unit, ("1", 1.0))
    values = np.nan_to_num(np.asarray(item.data, dtype=float) * scale, nan=0.0, posinf=0.0, neginf=0.0)
    values, grid = values.astype(np.float32), item.grid
    low, high = float(values.min()), float(values.max())
    mapping = hd.pm.RealWorldValueMapping(
        lut_label=item.name[:16],
        lut_explanation=f"{item.name} [{item.unit}]"[:64],
        unit=Code(code, "UCUM", code if code != "1" else "no units"),
        value_range=(low, max(high, low + 1e-6)),
        slope=1.0,
        intercept=0.0,
        quantity_definition=Code(*_QUANTITY[item.name]) if item.name in _QUANTITY else None,
    )
    thickness = grid.spacing[2] if grid.thickness is None else grid.thickness
    ds = hd.pm.ParametricMap(
        source_images=[_source(study, name, number, grid)],
        pixel_array=values,
        series_instance_uid=generate_uid(),
        series_number=number,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="mrisim",
        manufacturer_model_name="simulated",
        software_versions=software_version(),
        device_serial_number="none",
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[hd.VOILUTTransformation((low + high) / 2, max(high - low, 1e-6))],
        content_description=f"Map of {item.name}"[:64],
        content_label="MAP",
        pixel_measures=hd.PixelMeasuresSequence(
            (grid.spacing[1] * 1e3, grid.spacing[0] * 1e3), thickness * 1e3, _step(grid) * 1e3
        ),
        plane_orientation=hd.PlaneOrientationSequence("PATIENT", _directions(grid)),
        plane_positions=[hd.PlanePositionSequence("PATIENT", corner(grid, z)) for z in range(grid.shape[2])],
    )
    ds.SeriesDescription = name[:64]
    ds.FloatPixelPaddingValue, ds.Modality = 0.0, "MR"
    for place in (ds, *ds.SharedFunctionalGroupsSequence, *ds.PerFrameFunctionalGroupsSequence):
        for reference in ("ReferencedSeriesSequence", "SourceImageSequence", "DerivationImageSequence"):
            if reference in place:
                delattr(place, reference)  # to the image that highdicom asked for, which is no file
    return ds


def _source(study: _Study, name: str, number: int, grid: Grid) -> Any:
    """Patient and study for highdicom, which takes them from an image."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    ds = _base(study, name, number)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(EXPLICIT_LITTLE_ENDIAN)
    ds.SOPClassUID, ds.Rows, ds.Columns = MR_IMAGE, grid.shape[1], grid.shape[0]
    ds.ImageOrientationPatient, ds.ImagePositionPatient = _directions(grid), [_digits(x) for x in corner(grid, 0)]
    ds.PixelSpacing = [_digits(grid.spacing[1] * 1e3), _digits(grid.spacing[0] * 1e3)]
    ds.SliceThickness = _digits(grid.spacing[2] * 1e3)
    return ds


def _refused(folder: Path, rule: str) -> ResourceError:
    return ResourceError(Problem(rule, "Choose another place", file=str(folder)))
