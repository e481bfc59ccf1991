"""Raw data → ISMRMRD file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np

from mrisim._types import Complex, Float, Int
from mrisim.constants import GAMMA_BAR
from mrisim.data import RawData, ReconSpec
from mrisim.errors import ConsistencyError, Finding, Problem, ResourceError
from mrisim.io.mrd import terms
from mrisim.io.mrd.header import Spaces, header_xml
from mrisim.recon.infer import infer_recon
from mrisim.recon.placement import place
from mrisim.recon.ramps import uneven
from mrisim.scanner import Scanner

NOISE_SAMPLES = 4096
BLOCK = 256  # acquisitions of a chunk


@dataclass(frozen=True, kw_only=True, eq=False)
class _Ready:
    """Raw data with labels and counters that the format can hold, and its header's spaces."""

    raw: RawData
    spaces: Spaces
    trajectory: bool = False  # whether each sample carries its k
    findings: tuple[Finding, ...] = ()


def save_mrd(path: str | Path, raw: RawData, *, b0: float | None = None) -> tuple[Finding, ...]:
    """Write raw data as an ISMRMRD file that is complete or not there at all.

    One acquisition per readout, in order. Cartesian data carry counters from their labels, non-Cartesian data a
    trajectory. Where noise was added to the samples, a noise measurement of the same strength comes first.

    Args:
        path: File to write; an existing one is replaced.
        raw: Samples; without `recon`, their Cartesian structure is inferred.
        b0: Field strength [T]; default that of the provenance, else 3 T.

    Returns:
        What the file does not hold, or what had to be assumed.

    Raises:
        ConsistencyError: more samples, channels or counts than 16 bits hold, or raw data of no image; all at once.
        ResourceError: the file cannot be written.

    Example:
        >>> from mrisim.data import ReadoutTable, ReconSpec
        >>> from mrisim.io.mrd import load_mrd
        >>> k = (np.arange(4) - 2) / 0.4
        >>> nothing = np.full(1, np.nan)
        >>> table = ReadoutTable(start=np.array([0]), count=np.array([4]), dwell=np.array([1e-5]), te=nothing,
        ...                      ti=nothing, tr=nothing, flip=nothing, labels={})
        >>> raw = RawData(signal=np.ones((1, 4), complex), k=k[:, None] * [1, 0, 0], time=np.arange(4) * 1e-5,
        ...               readouts=table, recon=ReconSpec(method="cartesian", matrix=(4, 1, 1), fov=(0.4, 0.1, 0.01)))
        >>> path = f"{tempfile.mkdtemp()}/line.mrd"
        >>> _ = save_mrd(path, raw, b0=3.0)
        >>> load_mrd(path).recon.matrix
        (4, 1, 1)
    """
    path = Path(path)
    ready = _prepare(raw)
    findings = list(ready.findings)
    if raw.sensitivities is not None:
        findings.append(Finding("ISMRMRD", "coil sensitivities have no place in the file and stay behind"))
    field = raw.provenance.get("b0") if b0 is None else b0
    if field is None:
        field = Scanner().b0
        findings.append(Finding("ISMRMRD", f"nothing tells the field strength, and {field:g} T is written"))
    center = _center_samples(ready.raw)
    _check_counts(path, ready, center)
    heads = _heads(ready, center)
    trajectory = _trajectory(ready, raw.k) if ready.trajectory else None
    xml = header_xml(ready.raw, ready.spaces, float(field), float(raw.provenance.get("gamma", GAMMA_BAR)))
    with _atomic(path) as temporary, h5py.File(temporary, "w") as file:
        group = file.create_group("dataset")
        group.create_dataset("xml", (1,), dtype=h5py.special_dtype(vlen=bytes))[0] = xml
        _write_acquisitions(group, ready.raw, heads, trajectory, _noise(raw))
    return tuple(findings)


def convert_raw(source: str | Path, target: str | Path, *, item: str | None = None) -> tuple[Finding, ...]:
    """Convert the raw data of a file of mrisim to ISMRMRD.

    Raises:
        ResourceError: the source holds none, or several and `item` names none of them; the target cannot be written.
        ConsistencyError: as in `save_mrd`.
    """
    from mrisim.io import hdf5

    found = {name: one for name, one in hdf5.load_all(source).items() if isinstance(one, RawData)}
    chosen = found if item is None else {name: one for name, one in found.items() if name == item}
    if len(chosen) != 1:
        held = ", ".join(found) or "none"
        remedy = f"Choose one: --item {next(iter(found))}" if found else "Name a file of kspace/"
        raise ResourceError(Problem(f"must hold one raw data, but holds {held}", remedy, file=str(source)))
    return save_mrd(target, next(iter(chosen.values())))


def convert_back(source: str | Path, target: str | Path) -> tuple[Finding, ...]:
    """Convert an ISMRMRD file to mrisim's own layout.

    Raises:
        ResourceError: the source is broken, or the target cannot be written.
    """
    from mrisim.io import hdf5
    from mrisim.io.mrd.decode import load_mrd

    raw = load_mrd(source)
    hdf5.save(target, raw)
    return raw.findings


def _prepare(raw: RawData) -> _Ready:
    """What the header says, from the recon part or, without one, from the trajectory.

    Raises:
        ConsistencyError: the samples do not make an image, and the message says why.
    """
    if raw.recon is not None and (raw.recon.method != "cartesian" or uneven(raw, raw.recon)):  # ramps: no counter fits
        return _Ready(raw=raw, spaces=_told_spaces(raw, raw.recon.matrix, raw.recon.fov), trajectory=True)
    if raw.recon is not None:
        return _Ready(raw=raw, spaces=_cartesian_spaces(raw, raw.recon))
    try:
        inferred = infer_recon(raw)
    except ConsistencyError:
        matrix, fov = raw.provenance.get("matrix"), raw.provenance.get("fov")
        if matrix is None or fov is None:
            raise
        return _Ready(raw=raw, spaces=_told_spaces(raw, tuple(matrix), tuple(fov)), trajectory=True)
    spaces = _cartesian_spaces(inferred.raw, cast(ReconSpec, inferred.raw.recon))
    beside = bool(np.any(inferred.offset))  # the grid of counters: samples carry their place
    return _Ready(raw=inferred.raw, spaces=spaces, trajectory=beside, findings=inferred.findings)


def _cartesian_spaces(raw: RawData, spec: ReconSpec) -> Spaces:
    placement = place(raw, spec)
    width = placement.layout.shape[-1]
    return Spaces(
        encoded_matrix=(width, *spec.matrix[1:]),
        encoded_fov=(spec.fov[0] * width / spec.matrix[0], *spec.fov[1:]),
        matrix=spec.matrix,
        fov=spec.fov,
        cartesian=True,
        coordinates=placement.coordinates,
    )


def _told_spaces(raw: RawData, matrix: tuple[int, int, int], fov: tuple[float, float, float]) -> Spaces:
    """Of non-Cartesian data, where nothing is oversampled that a header could tell."""
    coordinates = {
        name: np.unique(np.round(np.asarray(getattr(raw.readouts, name), dtype=float), 9))
        for name in ("te", "ti", "tr", "flip")
    }
    return Spaces(
        encoded_matrix=matrix, encoded_fov=fov, matrix=matrix, fov=fov, cartesian=False, coordinates=coordinates
    )


def _center_samples(raw: RawData) -> Int[np.ndarray, " readouts"]:
    """Number of the sample at k = 0 along read, on a straight line through first and last sample."""
    k_read = raw.k @ raw.geometry.rotation[:, 0]
    start, count = np.asarray(raw.readouts.start), np.asarray(raw.readouts.count)
    first = k_read[start]
    step = (k_read[start + count - 1] - first) / np.maximum(count - 1, 1)
    moving = np.abs(step) > 1e-9 * max(np.abs(k_read).max(initial=0.0), 1e-30)
    return np.rint(np.where(moving, -first / np.where(moving, step, 1.0), 0.0)).astype(int)


def _check_counts(path: Path, ready: _Ready, center: np.ndarray) -> None:
    """Everything fits 16 bits, and every number is finite in single precision."""
    raw, spaces = ready.raw, ready.spaces
    found: dict[str, Any] = {
        "samples of a readout": np.max(raw.readouts.count, initial=0),
        "channels": raw.signal.shape[0],
        "recon.matrix": max(spaces.encoded_matrix),
    }
    found |= {f"label {label}": np.max(raw.readouts.label(label), initial=0) for label in terms.COUNTERS}
    problems = [
        Problem(f"must be at most {terms.MAX_COUNT} in ISMRMRD, but is {value}", "Split the scan", name, str(path))
        for name, value in found.items()
        if value > terms.MAX_COUNT
    ]
    problems += [
        Problem(f"must not be negative in ISMRMRD, but is {lowest}", path=f"label {label}", file=str(path))
        for label in terms.COUNTERS
        if (lowest := np.min(raw.readouts.label(label), initial=0)) < 0
    ]
    if spaces.cartesian and not 0 <= center.min() <= center.max() <= terms.MAX_COUNT:
        rule = f"must pass k = 0 in each readout for ISMRMRD, but a readout has it at sample {center.min()}"
        problems.append(Problem(rule, path="k", file=str(path)))
    with np.errstate(over="ignore"):
        if not np.isfinite(raw.signal.astype(np.complex64)).all():
            problems.append(Problem("must be finite in single precision, but is not", path="signal", file=str(path)))
    if problems:
        raise ConsistencyError(problems)


def _heads(ready: _Ready, center: np.ndarray) -> np.ndarray:
    from ismrmrd.hdf5 import acquisition_header_dtype

    raw = ready.raw
    table, n = raw.readouts, len(raw.readouts)
    heads = np.zeros(n, dtype=acquisition_header_dtype)
    heads["version"] = 1
    heads["flags"] = _flags(raw)
    heads["scan_counter"] = np.arange(n) + 1
    time = np.asarray(raw.time, dtype=float)[np.asarray(table.start)]
    heads["acquisition_time_stamp"] = np.rint(time / terms.TICK).astype(np.uint32)
    heads["user_int"][:, 0] = np.floor(time)
    heads["user_int"][:, 1] = np.rint((time - np.floor(time)) * 1e9)
    heads["number_of_samples"] = table.count
    heads["available_channels"] = heads["active_channels"] = raw.signal.shape[0]
    heads["channel_mask"] = _channel_mask(raw.signal.shape[0])
    heads["center_sample"] = np.clip(center, 0, terms.MAX_COUNT)
    heads["trajectory_dimensions"] = 3 if ready.trajectory else 0
    heads["sample_time_us"] = np.asarray(table.dwell) / terms.US
    heads["position"] = _positions(raw) * terms.LPS / terms.MM
    for axis, name in enumerate(("read_dir", "phase_dir", "slice_dir")):
        heads[name] = raw.geometry.rotation[:, axis] * terms.LPS
    for label, counter in terms.COUNTERS.items():
        heads["idx"][counter] = table.label(label)
    for i, name in enumerate(terms.USER_FLOATS):
        heads["user_float"][:, i] = getattr(table, name)
    return heads


def _channel_mask(channels: int) -> np.ndarray:
    """Bit c of the mask's words is channel c; the mask has room for 1024."""
    bits = np.zeros(1024, dtype=np.uint8)
    bits[:channels] = 1
    return np.packbits(bits, bitorder="little").view("<u8")


def _positions(raw: RawData) -> Float[np.ndarray, "readouts 3"]:
    """Where voxel N//2 of each readout's slice or slab lies, physical [m]."""
    offset = np.zeros(len(raw.readouts))
    if raw.recon is not None and raw.recon.matrix[2] == 1:
        positions = np.asarray(raw.recon.slice_positions, dtype=float)
        offset = positions[np.clip(raw.readouts.label("SLC"), 0, len(positions) - 1)]
    return raw.geometry.center + offset[:, None] * raw.geometry.rotation[:, 2]


def _flags(raw: RawData) -> np.ndarray:
    label = raw.readouts.label
    flags = np.zeros(len(raw.readouts), dtype=np.uint64)
    reference, imaging = label("REF") != 0, label("IMA") != 0
    marked = {
        terms.NOISE: label("NOISE") != 0,
        terms.CALIBRATION: reference & ~imaging,
        terms.CALIBRATION_AND_IMAGING: reference & imaging,
        terms.REVERSE: label("REV") != 0,
        terms.NAVIGATION: label("NAV") != 0,
    }
    for flag, where in marked.items():
        flags[where] |= terms.bit(flag)
    image = np.flatnonzero(~marked[terms.NOISE] & ~marked[terms.NAVIGATION] & ~marked[terms.CALIBRATION])
    for flag, names in terms.BORDERS.values():
        group = np.stack([np.asarray(label(name))[image] for name in names], axis=1)
        _, first = np.unique(group, axis=0, return_index=True)
        _, last = np.unique(group[::-1], axis=0, return_index=True)
        flags[image[first]] |= terms.bit(flag)
        flags[image[len(image) - 1 - last]] |= terms.bit(flag + 1)
    if len(flags):
        flags[-1] |= terms.bit(terms.LAST_IN_MEASUREMENT)
    return flags


def _trajectory(ready: _Ready, k: Float[np.ndarray, "samples 3"]) -> Float[np.ndarray, "samples 3"]:
    """k on logical axes, in cycles per voxel of the encoded space."""
    voxel = np.divide(ready.spaces.encoded_fov, ready.spaces.encoded_matrix)
    return (k @ ready.raw.geometry.rotation * voxel).astype(np.float32)


def _noise(raw: RawData) -> Complex[np.ndarray, "coils samples"] | None:
    """Samples of noise alone, as strong as what was added to the first readout."""
    std = float(raw.provenance.get("noise", 0.0) or 0.0)
    if std <= 0.0 or np.any(raw.readouts.label("NOISE")):
        return None
    rng = np.random.default_rng([int(raw.provenance.get("seed", 0) or 0), terms.NOISE])
    parts = rng.normal(scale=std, size=(2, raw.signal.shape[0], NOISE_SAMPLES))
    return parts[0] + 1j * parts[1]


def _write_acquisitions(
    group: h5py.Group, raw: RawData, heads: np.ndarray, trajectory: np.ndarray | None, noise: np.ndarray | None
) -> None:
    from ismrmrd.hdf5 import acquisition_dtype

    extra = 0 if noise is None else 1
    total = len(heads) + extra
    chunk = (max(1, min(BLOCK, total)),)
    data = group.create_dataset("data", (total,), maxshape=(None,), chunks=chunk, dtype=acquisition_dtype)
    if noise is not None:
        data[0] = _noise_record(heads[0], noise, acquisition_dtype)
    start, count = np.asarray(raw.readouts.start), np.asarray(raw.readouts.count)
    for begin in range(0, len(heads), BLOCK):
        rows = np.arange(begin, min(begin + BLOCK, len(heads)))
        block = np.empty(len(rows), dtype=acquisition_dtype)
        block["head"] = heads[rows]
        for i, row in enumerate(rows):
            part = slice(start[row], start[row] + count[row])
            block["data"][i] = np.ascontiguousarray(raw.signal[:, part], dtype=np.complex64).view(np.float32).ravel()
            block["traj"][i] = np.zeros(0, np.float32) if trajectory is None else trajectory[part].ravel()
        data[begin + extra : begin + extra + len(rows)] = block


def _noise_record(head: np.ndarray, noise: np.ndarray, dtype: Any) -> np.ndarray:
    record: Any = np.empty(1, dtype=dtype)
    own: Any = np.zeros(1, dtype=head.dtype)
    for name in ("version", "available_channels", "active_channels", "channel_mask", "sample_time_us", "position",
                 "read_dir", "phase_dir", "slice_dir"):  # fmt: skip
        own[name] = head[name]
    own["flags"] = terms.bit(terms.NOISE)
    own["number_of_samples"] = noise.shape[1]
    own["user_float"] = np.nan
    record["head"] = own
    record["data"][0] = noise.astype(np.complex64).view(np.float32).ravel()
    record["traj"][0] = np.zeros(0, np.float32)
    return record[0]


@contextmanager
def _atomic(path: Path) -> Iterator[str]:
    """Temporary file that takes the place of `path` when the block ends well."""
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except OSError as error:
        rule = f"must be writable, but is not ({error.strerror or error})"
        raise ResourceError(Problem(rule, "Choose another place", file=str(path))) from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
