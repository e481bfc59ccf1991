"""ISMRMRD file → raw data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mrisim._types import Float
from mrisim.data import Geometry, RawData, ReadoutTable, ReconSpec
from mrisim.errors import ConsistencyError, Finding, Problem
from mrisim.io.mrd import terms
from mrisim.io.mrd.read import Acquisitions, broken, read_acquisitions
from mrisim.io.mrd.xml import Header, read_header
from mrisim.recon.placement import TOLERANCE

STRAIGHT = 1e-3  # cosine between two axes that counts as a right angle
NEAR = 1e-5  # between a slice's position and the line of the others [m]
CARTESIAN = ("cartesian", "epi")


def load_mrd(path: str | Path) -> RawData:
    """Read an ISMRMRD file, whoever wrote it.

    k follows from the counters and the header where the scan is Cartesian, else from the trajectory of the
    acquisitions, in cycles per voxel of the encoded space, or in cycles per field of view where it goes beyond that.

    Returns:
        Samples with labels and, where Cartesian, a recon part: the encoded matrix, cut along read to the field of view
        of the recon space. What had to be assumed is among the findings.

    Raises:
        ResourceError: the file is missing, truncated, corrupt, no ISMRMRD file, or claims more than it holds; the
            message names the file and the section.
        ConsistencyError: several orientations or encodings in one file.
    """
    path = Path(path)
    acquired = read_acquisitions(path)
    header = read_header(path, f"{acquired.section}/xml", acquired.xml)
    findings: list[Finding] = []
    used = _used(acquired, findings)
    labels = _labels(acquired, header, used)
    geometry, positions, number = _geometry(path, acquired, labels, used, findings)
    labels["SLC"] = number
    start, count = _kept(path, acquired, used)
    table = ReadoutTable(
        start=start,
        count=count,
        dwell=acquired.heads["sample_time_us"][used].astype(float) * terms.US,
        labels=labels,
        **_times(header, acquired.heads[used], labels["ECO"]),
    )
    k, gridded = _k(acquired, header, used, labels, findings)
    cartesian = header.trajectory in CARTESIAN and gridded
    spec = _spec(header, positions, findings) if cartesian else _gridding(header, positions)
    if cartesian:
        labels["LIN"] = _moved(path, labels["LIN"], header, "LIN", 1)
        labels["PAR"] = _moved(path, labels["PAR"], header, "PAR", 2)
    return RawData(
        signal=acquired.signal,
        k=k @ geometry.rotation.T,
        time=_sample_times(acquired, header, table, used),
        readouts=table,
        geometry=geometry,
        recon=spec,
        findings=tuple(findings),
        provenance=_provenance(path, header, positions, cartesian),
    )


def _provenance(path: Path, header: Header, positions: np.ndarray, cartesian: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {"file": path.name, "vendor": header.vendor}
    known = {"sequence": header.name, "b0": header.b0, "gamma": header.gamma}
    facts |= {name: value for name, value in known.items() if value}
    if not cartesian:
        facts["matrix"], facts["fov"] = list(header.matrix), list(header.fov)
        facts["slices"] = {"positions": positions.tolist(), "thickness": header.fov[2]}
    return facts


def _used(acquired: Acquisitions, findings: list[Finding]) -> np.ndarray:
    """Acquisitions of the first encoding."""
    reference = acquired.heads["encoding_space_ref"]
    used = np.flatnonzero(reference == 0)
    if len(used) == 0:
        raise ConsistencyError(Problem("acquisitions must be of encoding 0, but none is", path="encoding_space_ref"))
    if len(used) < len(reference):
        text = f"{len(reference) - len(used)} acquisitions of other encodings than the first are left out"
        findings.append(Finding("ISMRMRD", text))
    return used


def _kept(path: Path, acquired: Acquisitions, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Start and number of samples without those to discard."""
    before = acquired.heads["discard_pre"][used].astype(int)
    after = acquired.heads["discard_post"][used].astype(int)
    count = acquired.count[used] - before - after
    if count.min() < 0:
        rule = "discard_pre and discard_post must leave samples, but leave fewer than none"
        raise broken(path, rule, f"{acquired.section}/data")
    return acquired.start[used] + before, count


def _labels(acquired: Acquisitions, header: Header, used: np.ndarray) -> dict[str, np.ndarray]:
    heads = acquired.heads[used]
    labels = {label: heads["idx"][counter].astype(int) for label, counter in terms.COUNTERS.items()}
    flags = heads["flags"].astype(np.uint64)

    def flagged(*names: int) -> np.ndarray:
        mask = np.uint64(0)
        for flag in names:
            mask |= terms.bit(flag)
        return ((flags & mask) != 0).astype(int)

    both = flagged(terms.CALIBRATION_AND_IMAGING)
    labels["REV"] = flagged(terms.REVERSE)
    labels["NOISE"] = flagged(terms.NOISE)
    labels["REF"] = flagged(terms.CALIBRATION) | both
    labels["IMA"] = both
    labels["NAV"] = flagged(terms.NAVIGATION, *terms.OTHER_USE)
    return {name: value for name, value in labels.items() if value.any() or name in terms.COUNTERS}


def _is_image(labels: dict[str, np.ndarray]) -> np.ndarray:
    nothing = np.zeros(len(labels["LIN"]), dtype=int)
    calibration = (labels.get("REF", nothing) != 0) & (labels.get("IMA", nothing) == 0)
    return (labels.get("NOISE", nothing) == 0) & (labels.get("NAV", nothing) == 0) & ~calibration


def _geometry(
    path: Path, acquired: Acquisitions, labels: dict[str, np.ndarray], used: np.ndarray, findings: list[Finding]
) -> tuple[Geometry, Float[np.ndarray, " slices"], np.ndarray]:
    """Rotation and center, positions of the slices along their direction [m], and each readout's slice."""
    image = np.flatnonzero(_is_image(labels))
    section = f"{acquired.section}/data"
    if len(image) == 0:
        raise broken(path, "must hold acquisitions of an image, but holds none", section)
    heads = acquired.heads[used][image]
    rotation = _rotation(path, section, heads, findings)
    values, first = np.unique(labels["SLC"][image], return_index=True)
    at = heads["position"][first].astype(float) * terms.LPS * terms.MM
    if not np.isfinite(heads["position"]).all() or np.abs(at).max() > 100.0:
        raise broken(path, "position must be finite and within 100 m, but is not", section)
    center = at.mean(axis=0)
    along = (at - center) @ rotation[:, 2]
    beside = np.linalg.norm(at - center - along[:, None] * rotation[:, 2], axis=1)
    if beside.max() > NEAR:
        rule = f"slices must lie on one line along slice_dir, but one lies {beside.max() * 1e3:.3g} mm beside it"
        raise ConsistencyError(Problem(rule, "Reconstruct each package alone", path=section, file=str(path)))
    if len(values) > 1 and np.ptp(along) < NEAR:
        findings.append(Finding("slices", "all slices are said to lie at one place, and are taken in order"))
    number = np.zeros(len(used), dtype=int)
    number[:] = np.clip(np.searchsorted(values, labels["SLC"]), 0, len(values) - 1)
    return Geometry(rotation=rotation, center=center), along, number


def _rotation(path: Path, section: str, heads: np.ndarray, findings: list[Finding]) -> np.ndarray:
    """Read, phase and slice directions as columns, physical axes."""
    columns = np.stack([heads[name].astype(float) * terms.LPS for name in ("read_dir", "phase_dir", "slice_dir")], 2)
    if not np.isfinite(columns).all():
        raise broken(path, "directions must be finite, but are not", section)
    rotation = columns[0]
    if np.abs(columns - rotation).max() > STRAIGHT:
        rule = "acquisitions must have one orientation, but have several"
        raise ConsistencyError(Problem(rule, "Reconstruct each package alone", path=section, file=str(path)))
    if not rotation.any():
        findings.append(Finding("orientation", "the file has no directions; read is taken as x, phase as y"))
        return np.eye(3)
    if np.abs(rotation.T @ rotation - np.eye(3)).max() > STRAIGHT:
        rule = "read_dir, phase_dir and slice_dir must be perpendicular unit vectors, but are not"
        raise broken(path, rule, section)
    if np.linalg.det(rotation) < 0:
        text = "slice_dir is opposite to read × phase, and the latter is taken; the order of slices stays"
        findings.append(Finding("orientation", text))
        rotation = rotation * np.array([1.0, 1.0, -1.0])
    left, _, right = np.linalg.svd(rotation)  # the nearest rotation: the file has single precision
    return left @ right


def _times(header: Header, heads: np.ndarray, contrast: np.ndarray) -> dict[str, np.ndarray]:
    """Columns te, ti, tr, flip and ts of the readout table."""
    if header.vendor == terms.VENDOR:
        return {name: heads["user_float"][:, i].astype(float) for i, name in enumerate(terms.USER_FLOATS)}
    columns = {}
    for name in ("te", "ti", "tr", "flip"):
        told = np.array(getattr(header, name) or [np.nan])
        columns[name] = told[np.minimum(contrast, len(told) - 1)] if len(told) else np.full(len(contrast), np.nan)
    return columns


def _sample_times(acquired: Acquisitions, header: Header, table: ReadoutTable, used: np.ndarray) -> np.ndarray:
    heads = acquired.heads[used]
    if header.vendor == terms.VENDOR:
        begin = heads["user_int"][:, 0] + heads["user_int"][:, 1] * 1e-9
    else:
        begin = heads["acquisition_time_stamp"] * terms.TICK
    time = np.zeros(acquired.signal.shape[1])
    count = acquired.count[used]
    owner = np.repeat(np.arange(len(used)), count)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    time[acquired.start[used][owner] + number] = begin[owner] + number * table.dwell[owner]
    return time


def _k(
    acquired: Acquisitions, header: Header, used: np.ndarray, labels: dict[str, np.ndarray], findings: list[Finding]
) -> tuple[Float[np.ndarray, "samples 3"], bool]:
    """k of all samples on logical axes [1/m], and whether it is that of the counters."""
    image = _is_image(labels)
    sample = np.concatenate([_row_samples(acquired, used[i]) for i in np.flatnonzero(image)])
    told = np.isfinite(acquired.trajectory[sample]).all(axis=1)
    counted = _counted(acquired, header, used, labels, findings)
    if not told.any():
        return counted, True
    given = _told(acquired, header, sample[told], findings)
    if header.trajectory not in CARTESIAN:
        return given, False
    step = 1.0 / np.asarray(header.encoded_fov)
    same = np.abs(given[sample[told]] - counted[sample[told]]).max(axis=0) <= TOLERANCE * step
    encoded = np.asarray(header.encoded_matrix) > 1
    if (same | ~encoded).all():
        return counted, True
    findings.append(Finding("trajectory", "counters and trajectory differ, and the trajectory is taken"))
    return given, False


def _row_samples(acquired: Acquisitions, row: int) -> np.ndarray:
    return np.arange(acquired.start[row], acquired.start[row] + acquired.count[row])


def _counted(
    acquired: Acquisitions, header: Header, used: np.ndarray, labels: dict[str, np.ndarray], findings: list[Finding]
) -> Float[np.ndarray, "samples 3"]:
    """k from counters, center_sample and the encoded field of view."""
    center = acquired.heads["center_sample"][used].astype(int)
    count, width = acquired.count[used], header.encoded_matrix[0]
    image = _is_image(labels)
    if not center[image].any() and (count[image] == width).all() and width > 1:
        center = np.full(len(used), width // 2)
        findings.append(Finding("trajectory", f"no acquisition has a center_sample, and {width // 2} is taken"))
    sense = np.where(labels.get("REV", np.zeros(len(used), dtype=int)) != 0, -1, 1)
    k = np.zeros((acquired.signal.shape[1], 3))
    owner = np.repeat(np.arange(len(used)), count)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    place = acquired.start[used][owner] + number
    k[place, 0] = (sense[owner] * (number - center[owner])) / header.encoded_fov[0]
    for axis, label in ((1, "LIN"), (2, "PAR")):
        if header.encoded_matrix[axis] > 1:
            k[place, axis] = (labels[label] - _center_of(header, label, axis))[owner] / header.encoded_fov[axis]
    return k


def _center_of(header: Header, label: str, axis: int) -> int:
    return header.centers.get(label, header.encoded_matrix[axis] // 2)


def _told(acquired: Acquisitions, header: Header, sample: np.ndarray, findings: list[Finding]) -> np.ndarray:
    """k from the trajectory of the acquisitions [1/m]."""
    trajectory = np.nan_to_num(acquired.trajectory.astype(float))
    scale = np.divide(header.encoded_matrix, header.encoded_fov)
    if np.abs(trajectory[sample]).max() > 0.5 * (1 + TOLERANCE):
        scale = 1.0 / np.asarray(header.encoded_fov)
        if header.vendor != terms.VENDOR:
            findings.append(Finding("trajectory", "it goes beyond 0.5, and is taken in cycles per field of view"))
    return trajectory * scale


def _moved(path: Path, value: np.ndarray, header: Header, label: str, axis: int) -> np.ndarray:
    """Line numbers whose k = 0 is number N//2."""
    size = header.encoded_matrix[axis]
    return value - _center_of(header, label, axis) + size // 2 if size > 1 else np.zeros_like(value)


def _gridding(header: Header, positions: np.ndarray) -> ReconSpec | None:
    """Of a trajectory that is no grid; nothing where the header calls it Cartesian: the lines tell."""
    if header.trajectory in CARTESIAN:
        return None
    return ReconSpec(method="gridding", matrix=header.matrix, fov=header.fov, slice_positions=positions)


def _spec(header: Header, positions: np.ndarray, findings: list[Finding]) -> ReconSpec:
    """Encoded matrix, cut along read to the recon space."""
    width, share = header.encoded_matrix[0], header.fov[0] / header.encoded_fov[0]
    columns = round(width * share)
    if not 1 <= columns <= width or abs(width * share - columns) > 2 * TOLERANCE:
        columns = width
        text = "the recon space has no whole columns of the encoded space, and the encoded space is reconstructed"
        findings.append(Finding("field of view", text))
    if columns != header.matrix[0]:
        text = f"{header.matrix[0]} columns are asked for, and {columns} were sampled: nothing is interpolated"
        findings.append(Finding("matrix", text))
    for axis, name in ((1, "phase"), (2, "partition")):
        if header.encoded_matrix[2] == 1 and axis == 2:
            continue
        if (
            abs(header.fov[axis] / header.encoded_fov[axis] - 1) > 1e-3
            or header.matrix[axis] != header.encoded_matrix[axis]
        ):
            findings.append(Finding("field of view", f"along {name} the encoded space is reconstructed, uncut"))
    matrix = (columns, header.encoded_matrix[1], header.encoded_matrix[2])
    fov = (header.encoded_fov[0] * columns / width, *header.encoded_fov[1:])
    return ReconSpec(method="cartesian", matrix=matrix, fov=fov, slice_positions=positions)
