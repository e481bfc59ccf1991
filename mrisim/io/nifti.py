"""NIfTI volumes: reading anything that is sound, writing images and maps.

mrisim's physical axes are those of NIfTI (x right, y anterior, z superior), so only the unit changes: meters here,
millimeters there. Arrays are (contrast, z, y, x) here and (x, y, z, contrast) there.

Reading is guarded: a header is believed only as far as the file can hold what it claims, so that neither an absurd
shape nor a gzip bomb takes memory.

Source: NIfTI-1 and NIfTI-2 headers: nifti.nimh.nih.gov, nifti1.h and nifti2.h.
"""

from __future__ import annotations

import gzip
import math
import os
import tempfile
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from mrisim._types import Array
from mrisim.data import Geometry, Grid
from mrisim.errors import ConsistencyError, Finding, Problem, ResourceError

SUFFIXES = (".nii", ".nii.gz")
MAX_VOXELS = 2**29  # of one file, all contrasts together
MAX_RATIO = 1032  # of deflate: one byte of a gzip file holds at most so many
LARGE, MAX_RATIO_LARGE = 2**28, 64  # bytes from which on a gzip file may only be so many times larger than it is
MAX_TRAILER = 2**20  # bytes that may follow the voxels
MAX_OFFSET = 2**26  # of the first voxel, so the most that header extensions may take
STEP = 2**20  # bytes read at once
SHEAR = 1e-3  # cosine between two axes that counts as a right angle
SPACING = (1e-6, 1.0)  # of voxels [m]; outside, the unit is wrong
MM = 1e-3
_METERS = {0: MM, 1: 1.0, 2: MM, 3: 1e-6}  # spatial code of xyzt_units → meters
_KINDS = "iufc"
_SCALED = 1e-3  # of a voxel: by how much sform and qform may differ


@dataclass(frozen=True, kw_only=True, eq=False)
class Volume:
    """Numbers on a voxel grid, as a file holds them."""

    data: Array  # (contrast, z, y, x); integers stay integers
    grid: Grid
    description: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def affine(self) -> np.ndarray:
        """Voxel index (x, y, z, 1) → physical position [m], shape (4, 4)."""
        return self.grid.affine()

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along x, y, z of the array [m]."""
        return self.grid.spacing

    @property
    def geometry(self) -> Geometry:
        """Directions of the array's axes and the center of the grid."""
        return self.grid.geometry


def is_nifti(path: str | Path) -> bool:
    """Whether a file is named as a NIfTI file.

    Example:
        >>> is_nifti("t1.nii.gz"), is_nifti("t1.h5")
        (True, False)
    """
    return Path(path).name.lower().endswith(SUFFIXES)


def read_volume(path: str | Path, *, finite: bool = True) -> Volume:
    """Read a NIfTI-1 or NIfTI-2 file, `.nii` or `.nii.gz`.

    A left-handed grid is turned to a right-handed one by reversing the order of its x voxels, which moves nothing.
    Memory stays below six times the size of the voxels, and that below 256 MiB or 64 times the size of the file.

    Args:
        path: File to read.
        finite: Refuse nan and infinity among the values; False keeps them, as in maps whose background is nan.

    Returns:
        Values (contrast, z, y, x) with their grid [m]. What had to be assumed is among its findings.

    Raises:
        ResourceError: the file is missing, truncated, corrupt, no NIfTI file, larger than its header says, or holds
            what mrisim cannot use; the message names the file.

    Example:
        >>> grid = Grid.of((4, 3, 2), (1e-3, 2e-3, 3e-3), Geometry(center=np.array([0.01, 0.0, 0.0])))
        >>> path = f"{tempfile.mkdtemp()}/t1.nii.gz"
        >>> write_volume(path, np.ones((1, 2, 3, 4)), grid)
        >>> volume = read_volume(path)
        >>> volume.data.shape, [round(float(x), 6) for x in volume.geometry.center]
        ((1, 2, 3, 4), [0.01, 0.0, 0.0])
    """
    path = Path(path)
    if not path.is_file():
        raise _broken(path, "must be an existing file, but is not there", "")
    if path.stat().st_size < 4:
        raise _broken(path, "must be a NIfTI file, but is empty", "")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nibabel repeats what is checked here
            with _opened(path) as stream:
                return _read(path, stream, finite)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _broken(path, f"must be a complete gzip file, but is not ({str(error).rstrip('.')})") from None
    except OSError as error:
        raise _broken(path, f"must be readable, but is not ({error.strerror or error})", "") from None


def _opened(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if _is_zipped(path) else path.open("rb")


def _read(path: Path, stream: BinaryIO, finite: bool) -> Volume:
    header = _header(path, stream)
    shape, dtype, n_bytes = _layout(path, header)
    affine, findings = _affine(path, header)
    _skip(path, stream, int(header["vox_offset"]) - header.sizeof_hdr)
    values = np.frombuffer(_take(path, stream, n_bytes), dtype=dtype)
    _refuse_more(path, stream)
    data = _scaled(path, header, values.reshape(shape[::-1])).reshape(-1, *shape[2::-1])
    if finite and data.dtype.kind in "fc" and not np.isfinite(data).all():
        bad = int(data.size - np.count_nonzero(np.isfinite(data)))
        rule = f"must hold finite values, but {bad:,} of {data.size:,} are nan or infinity"
        raise _broken(path, rule, "Set the background to zero")
    data, grid = _right_handed(path, data, affine)
    text = bytes(header["descrip"].tobytes()).rstrip(b"\0").decode("ascii", "replace")
    return Volume(data=data, grid=grid, description=text, findings=findings)


def _header(path: Path, stream: BinaryIO) -> Any:
    """Header of either version and byte order."""
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    start = _take(path, stream, 4)
    sizes = {int.from_bytes(start, "little"), int.from_bytes(start, "big")}
    kind = Nifti1Header if 348 in sizes else Nifti2Header if 540 in sizes else None
    if kind is None:
        raise _broken(path, "must be a NIfTI file, but does not begin as one", "Convert it to .nii.gz")
    block = start + _take(path, stream, kind.sizeof_hdr - 4)
    endianness = "<" if int.from_bytes(start, "little") == kind.sizeof_hdr else ">"
    header = kind(block, endianness, check=False)
    if bytes(header["magic"].tobytes())[:3] not in (b"n+1", b"n+2"):
        rule = "must be a NIfTI file in one piece, but is an Analyze file or a pair of .hdr and .img"
        raise _broken(path, rule, "Convert it to .nii.gz")
    return header


def _layout(path: Path, header: Any) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape (x, y, z, …), type and bytes of the voxels: what the file can hold, or a refusal."""
    dim = [int(n) for n in header["dim"]]
    if not 1 <= dim[0] <= 7 or any(n < 1 for n in dim[1 : dim[0] + 1]):
        shown = " x ".join(str(n) for n in dim[1 : max(1, min(dim[0], 7)) + 1])
        raise _broken(path, f"must have 1 to 7 axes of at least one voxel, but says {dim[0]} axes: {shown}")
    shape = tuple(dim[1 : dim[0] + 1])
    shape += (1,) * (3 - len(shape))
    shown = " x ".join(str(n) for n in shape)
    if math.prod(shape) > MAX_VOXELS:
        raise _broken(path, f"must hold up to {MAX_VOXELS:,} voxels, but says {shown}", "Cut or resample it")
    try:
        dtype = header.get_data_dtype()
    except Exception:  # nibabel raises several kinds here
        dtype = np.dtype("V1")
    if dtype.kind not in _KINDS or dtype.itemsize > 16 or (dtype.kind == "f" and dtype.itemsize > 8):
        code = int(header["datatype"])
        rule = f"must hold integers, floats or complex numbers of up to 64 bits a part, but has datatype {code}"
        raise _broken(path, rule, "Convert it to float32")
    offset = float(header["vox_offset"])
    if not (header.sizeof_hdr <= offset <= MAX_OFFSET and offset == int(offset)):
        raise _broken(path, f"must begin its voxels after the header, but vox_offset is {offset:g}")
    n_bytes = math.prod(shape) * dtype.itemsize
    ratio = 1 if not _is_zipped(path) else MAX_RATIO if n_bytes <= LARGE else MAX_RATIO_LARGE
    if offset + n_bytes > path.stat().st_size * ratio:
        rule = f"must hold the {shown} voxels that its header says, but is too small for them"
        raise _broken(path, rule, "Get the file again" if ratio != MAX_RATIO_LARGE else "Unzip it, if it is sound")
    return shape, dtype, n_bytes


def _is_zipped(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _take(path: Path, stream: BinaryIO, count: int) -> bytes:
    """So many bytes, in steps: memory grows with what is there, never with what is claimed."""
    parts = bytearray()
    while len(parts) < count:
        part = stream.read(min(STEP, count - len(parts)))
        if not part:
            raise _broken(path, f"must be complete, but ends {count - len(parts):,} bytes early")
        parts += part
    return cast(bytes, parts)


def _skip(path: Path, stream: BinaryIO, count: int) -> None:
    while count > 0:
        count -= len(_take(path, stream, min(STEP, count)))


def _refuse_more(path: Path, stream: BinaryIO) -> None:
    """Read to the end, which also checks gzip's checksum; what goes on for long is no trailer."""
    extra = 0
    while part := stream.read(STEP):
        extra += len(part)
        if extra > MAX_TRAILER:
            raise _broken(path, "must end after the voxels that its header says, but goes on", "Write it again")


def _scaled(path: Path, header: Any, values: np.ndarray) -> np.ndarray:
    """Values with slope and intercept applied, in native byte order."""
    from nibabel.spatialimages import HeaderDataError

    try:
        slope, inter = header.get_slope_inter()
    except HeaderDataError as error:
        raise _broken(path, f"must have a finite scale, but has not ({error})") from None
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if slope is None or (slope == 1.0 and not inter):
        return values
    small = values.dtype.itemsize <= (8 if values.dtype.kind == "c" else 4 if values.dtype.kind == "f" else 2)
    kind = np.result_type(values.dtype if values.dtype.kind == "c" else np.float32, np.float32 if small else np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # refused below, where it is not finite
        scaled = values.astype(kind)
        scaled *= kind.type(slope)
        scaled += kind.type(inter or 0.0)
        return scaled


def _affine(path: Path, header: Any) -> tuple[np.ndarray, tuple[Finding, ...]]:
    """Affine matrix [m] by sform, else by qform, else by the spacing alone; and what was assumed."""
    findings = []
    units = int(header["xyzt_units"]) & 7
    if units not in _METERS:
        raise _broken(path, f"must say meters, millimeters or micrometers, but has unit code {units}")
    if units == 0:
        findings.append(Finding("unit of length", f"{path.name} does not name it; millimeters are taken"))
    forms = {"sform": _sform(header), "qform": _qform(path, header)}
    given = {name: form for name, form in forms.items() if form is not None}
    if not given:
        text = f"{path.name} has neither sform nor qform; its axes are taken as right, anterior, superior, centered"
        findings.append(Finding("orientation", text, "Set the sform"))
        given["spacing"] = _centered(header)
    name, affine = next(iter(given.items()))
    if not np.isfinite(affine).all():
        raise _broken(path, f"must have a finite {name}, but it holds nan or infinity")
    if len(given) == 2 and not _agree(header, given["sform"], given["qform"]):
        findings.append(Finding("orientation", f"sform and qform of {path.name} differ; the sform is taken"))
    affine = affine.copy()
    affine[:3] *= _METERS[units]
    return affine, tuple(findings)


def _sform(header: Any) -> np.ndarray | None:
    return header.get_sform().astype(float) if int(header["sform_code"]) > 0 else None


def _qform(path: Path, header: Any) -> np.ndarray | None:
    if int(header["qform_code"]) <= 0:
        return None
    values = [float(header[key]) for key in ("quatern_b", "quatern_c", "quatern_d")]
    if not (np.isfinite(values).all() and math.hypot(*values) < 1 + 1e-4):
        raise _broken(path, "must have a quaternion of length one at most, but has none")
    b, c, d = values
    a = math.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    zooms = [abs(float(zoom)) for zoom in header["pixdim"][1:4]]
    zooms[2] *= -1.0 if float(header["pixdim"][0]) < 0 else 1.0
    form = np.eye(4)
    form[:3, :3] = rotation * zooms
    form[:3, 3] = [float(header[f"qoffset_{axis}"]) for axis in "xyz"]
    return form


def _centered(header: Any) -> np.ndarray:
    n_axes = min(int(header["dim"][0]), 3)
    zooms = np.array([abs(float(zoom)) for zoom in header["pixdim"][1:4]])
    counts = np.array([int(n) for n in header["dim"][1:4]])
    zooms[n_axes:], counts[n_axes:] = 1.0, 1
    form = np.diag([*zooms, 1.0])
    form[:3, 3] = -(counts // 2) * zooms
    return form


def _agree(header: Any, first: np.ndarray, second: np.ndarray) -> bool:
    if not np.isfinite(second).all():
        return False
    corners = np.array(np.meshgrid(*[(0, int(n) - 1) for n in header["dim"][1:4]], indexing="ij")).reshape(3, -1)
    moved = (first - second)[:3] @ np.vstack([corners, np.ones(8)])
    return bool(np.abs(moved).max() <= _SCALED * max(np.abs(first[:3, :3]).max(), 1e-30) * max(corners.max(), 1))


def _right_handed(path: Path, data: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, Grid]:
    axes = affine[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    shape = data.shape[:0:-1]
    flat = [n == 1 and size == 0.0 for n, size in zip(shape, spacing, strict=True)]
    if any(size < SPACING[0] or size > SPACING[1] for size in spacing) or any(flat):
        shown = " x ".join(f"{size / MM:g}" for size in spacing)
        rule = f"must have voxels of {SPACING[0] / MM:g} to {SPACING[1] / MM:g} mm, but has {shown} mm"
        raise _broken(path, rule, "Correct the affine matrix or the unit of its header")
    directions = axes / spacing
    if np.abs(directions.T @ directions - np.eye(3)).max() > SHEAR:
        rule = "must have perpendicular axes, but its affine matrix is sheared"
        raise _broken(path, rule, "Resample it to a straight grid")
    if np.linalg.det(directions) < 0:
        data = data[..., ::-1]
        affine = affine @ np.array([[-1, 0, 0, shape[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
        directions = directions * [-1, 1, 1]
    left, _, right = np.linalg.svd(directions)  # the nearest rotation: headers are rounded to float32
    middle = affine @ [*(n // 2 for n in shape), 1]
    geometry = Geometry(rotation=left @ right, center=middle[:3])
    x, y, z = (float(size) for size in spacing)
    return data, Grid.of(cast(tuple[int, int, int], shape), (x, y, z), geometry)


def write_volume(path: str | Path, data: Any, grid: Grid, *, description: str = "", tr: float | None = None) -> None:
    """Write values on a grid to `.nii` or `.nii.gz`, complete or not at all.

    Both sform and qform carry the grid, in millimeters, with code 1 (scanner). The same values give the same bytes.

    Args:
        path: File to write; an existing one is replaced.
        data: (contrast, z, y, x), real or complex; floats are stored as float32, booleans as uint8.
        grid: Where the voxels lie; its slices must be equidistant.
        description: Up to 79 ASCII characters for the header.
        tr: Time between two contrasts, where they are a series in time [s].

    Raises:
        ConsistencyError: slices that are not equidistant, or data that do not fit the grid.
        ResourceError: the file cannot be written.

    Example:
        >>> path = f"{tempfile.mkdtemp()}/ones.nii.gz"
        >>> write_volume(path, np.ones((1, 2, 3, 4)), Grid.of((4, 3, 2), (1e-3, 1e-3, 5e-3)))
        >>> read_volume(path).data.mean().item()
        1.0
    """
    from nibabel.nifti1 import Nifti1Image

    path, data = Path(path), np.asarray(data)
    if data.shape[1:] != grid.shape[::-1] or data.ndim != 4:
        rule = f"must have shape (contrast, z, y, x) with {grid.shape[::-1]} voxels, but has {data.shape}"
        raise ConsistencyError(Problem(rule, path="data", file=str(path)))
    volume = data.astype(_stored(data), copy=False).transpose(3, 2, 1, 0)
    affine = grid.affine()
    affine[:3] /= MM
    image = Nifti1Image(volume[..., 0] if volume.shape[3] == 1 else volume, affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    header = cast(Any, image.header)
    header.set_xyzt_units("mm", "sec")
    header.set_slope_inter(1, 0)
    header["descrip"] = (description or "mrisim").encode("ascii", "replace")[:79]
    if volume.shape[3] > 1:
        header["pixdim"][4] = tr or 0.0
    content = image.to_bytes()
    write_bytes(path, gzip.compress(content, 1, mtime=0) if path.name.lower().endswith(".gz") else content)


def _stored(data: np.ndarray) -> np.dtype:
    """Type that viewers read: no bool, no int64, no double where it can be avoided."""
    kind, size = data.dtype.kind, data.dtype.itemsize
    if kind == "b":
        return np.dtype(np.uint8)
    if kind in "iu":
        fits = np.abs(data).max(initial=0) < 2**31
        return data.dtype if size <= 2 else np.dtype(np.int32) if fits else np.dtype(np.float64)
    return np.dtype(np.complex64 if kind == "c" else np.float32)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file that is complete or not there at all.

    Raises:
        ResourceError: it cannot be written.
    """
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResourceError(
            Problem(f"must be writable, but is not ({reason})", "Choose another place", file=str(path))
        ) from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _broken(path: Path, rule: str, remedy: str = "Get the file again") -> ResourceError:
    return ResourceError(Problem(rule, remedy, file=str(path)))
