"""The XML header of a file that anyone may have written: what is needed of it, held against what it may be."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mrisim.errors import Problem, ResourceError
from mrisim.io.mrd.terms import COUNTERS, LIMITS, MM, MS

MAX_MATRIX = 2**16 - 1  # counters have 16 bits
MAX_VOXELS = 2**31
FOV = (1e-6, 100.0)  # of a field of view [m]; outside, the unit is wrong


@dataclass(frozen=True, kw_only=True, eq=False)
class Header:
    """What reconstruction needs of a header, SI."""

    vendor: str
    b0: float | None  # [T]
    gamma: float | None  # over 2 pi [Hz/T]
    name: str
    trajectory: str
    encoded_matrix: tuple[int, int, int]
    encoded_fov: tuple[float, float, float]  # [m]
    matrix: tuple[int, int, int]
    fov: tuple[float, float, float]  # [m]
    centers: dict[str, int]  # label → counter at k = 0
    te: list[float] = field(default_factory=list)  # [s]
    tr: list[float] = field(default_factory=list)
    ti: list[float] = field(default_factory=list)
    flip: list[float] = field(default_factory=list)  # [rad]


class _Reader:
    """Elements by path, with the problems of all of them."""

    def __init__(self, path: Path, section: str, root: ET.Element):
        self.path, self.section, self.root = path, section, root
        self.problems: list[Problem] = []

    def text(self, name: str) -> str | None:
        found = self.root.find("/".join(f"{{*}}{part}" for part in name.split(".")))
        return None if found is None else (found.text or "").strip()

    def note(self, name: str, rule: str) -> None:
        self.problems.append(Problem(rule, "Correct the header", path=f"{self.section}: {name}", file=str(self.path)))

    def number(
        self, name: str, kind: Callable[[str], float], low: float, high: float, needed: bool = True
    ) -> float | None:
        """Number of an element, or None with a problem noted."""
        text, what = self.text(name), "a whole number" if kind is int else "a number"
        rule = f"must be {what} from {low:g} to {high:g}"
        if text is None:
            if needed:
                self.note(name, f"{rule}, but is missing")
            return None
        try:
            value = kind(text[:64])
        except ValueError:
            self.note(name, f"{rule}, but is '{text[:64]}'")
            return None
        if not (math.isfinite(value) and low <= value <= high):
            self.note(name, f"{rule}, but is {text[:64]}")
            return None
        return value

    def numbers(self, name: str, scale: float) -> list[float]:
        found = self.root.findall("/".join(f"{{*}}{part}" for part in name.split(".")))
        try:
            values = [float(element.text or "") * scale for element in found]
        except ValueError:
            values = [math.nan]
        if not all(map(math.isfinite, values)):
            self.note(name, "must hold numbers, but does not")
        return values


def read_header(path: Path, section: str, content: bytes) -> Header:
    """Parse and check a header.

    Raises:
        ResourceError: no XML, elements that are missing or out of range; all at once.
    """
    read = _Reader(path, section, _root(path, section, content))
    spaces = {}
    for space in ("encodedSpace", "reconSpace"):
        base = f"encoding.{space}"
        matrix = [read.number(f"{base}.matrixSize.{axis}", int, 1, MAX_MATRIX) for axis in "xyz"]
        fov = [read.number(f"{base}.fieldOfView_mm.{axis}", float, FOV[0] / MM, FOV[1] / MM) for axis in "xyz"]
        if None not in matrix and math.prod(matrix) > MAX_VOXELS:  # type: ignore[arg-type]
            read.note(f"{base}.matrixSize", f"must have at most {MAX_VOXELS:,} voxels, but has {math.prod(matrix):,}")  # type: ignore[arg-type]
        spaces[space] = (matrix, [None if length is None else length * MM for length in fov])
    b0 = read.number("acquisitionSystemInformation.systemFieldStrength_T", float, 0.0, 1000.0, needed=False)
    frequency = read.number("experimentalConditions.H1resonanceFrequency_Hz", float, 0.0, 1e12, needed=False)
    centers = _centers(read)
    times = {name: read.numbers(f"sequenceParameters.{name.upper()}", MS) for name in ("te", "tr", "ti")}
    flip = read.numbers("sequenceParameters.flipAngle_deg", math.pi / 180)
    trajectory = (read.text("encoding.trajectory") or "cartesian").lower()
    if read.problems:
        raise ResourceError(read.problems)
    (encoded, encoded_fov), (recon, fov) = spaces["encodedSpace"], spaces["reconSpace"]
    return Header(
        vendor=read.text("acquisitionSystemInformation.systemVendor") or "",
        b0=b0,
        gamma=frequency / b0 if frequency and b0 else None,
        name=read.text("measurementInformation.protocolName") or "",
        trajectory=trajectory,
        encoded_matrix=tuple(encoded),  # type: ignore[arg-type]
        encoded_fov=tuple(encoded_fov),  # type: ignore[arg-type]
        matrix=tuple(recon),  # type: ignore[arg-type]
        fov=tuple(fov),  # type: ignore[arg-type]
        centers=centers,
        flip=flip,
        **times,
    )


def _root(path: Path, section: str, content: bytes) -> ET.Element:
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        rule = "must be plain XML, but declares a document type"
        raise ResourceError(Problem(rule, "Remove the declaration", path=section, file=str(path)))
    try:
        root = ET.fromstring(content.rstrip(b"\0"))
    except (ET.ParseError, ValueError, LookupError) as error:
        rule = f"must be XML, but is not ({error})"
        raise ResourceError(Problem(rule, "Write the header again", path=section, file=str(path))) from None
    if root.tag.rsplit("}", 1)[-1] != "ismrmrdHeader":
        rule = f"must be an ismrmrdHeader, but is '{root.tag[:64]}'"
        raise ResourceError(Problem(rule, "Write the header again", path=section, file=str(path)))
    return root


def _centers(read: _Reader) -> dict[str, int]:
    centers = {}
    for label in ("LIN", "PAR"):
        name = f"encoding.encodingLimits.{LIMITS.get(label, COUNTERS[label])}.center"
        value = read.number(name, int, 0, MAX_MATRIX, needed=False)
        if value is not None:
            centers[label] = int(value)
    return centers
