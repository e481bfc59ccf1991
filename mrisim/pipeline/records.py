"""What a run gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mrisim.data import Image, ParameterMap, Phantom, RawData
from mrisim.errors import Finding
from mrisim.events.blocks import Sequence
from mrisim.protocol import Protocol

DIFFERENCES = ("B0", "PDFF")  # maps whose truth may be zero: their errors are differences in their unit


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanResult:
    """One scan: a sequence for each run, its samples, and the images of all runs stacked."""

    name: str
    sequences: tuple[Sequence, ...]
    raw: tuple[RawData, ...]
    phantom: Phantom
    image: Image | None  # None where the sequence does not say how samples become images


@dataclass(frozen=True)
class TissueRow:
    """A map against the truth in one tissue, away from its edges."""

    quantity: str  # name of the map
    unit: str
    tissue: str
    voxels: int
    true: float  # SI
    estimated: float  # mean [SI]
    spread: float  # standard deviation [SI]

    @property
    def error(self) -> float:
        """Error of the mean: relative [1], of B0 and PDFF their difference [SI]."""
        if self.quantity in DIFFERENCES:
            return self.estimated - self.true
        return self.estimated / self.true - 1.0


@dataclass(frozen=True)
class Agreement:
    """A map against the truth, over all voxels of its tissues' rows."""

    quantity: str  # name of the map
    voxels: int
    concordance: float  # Lin's coefficient over the voxels [1]; nan where the truth is the same in all of them
    largest: float  # error of the tissue whose mean is farthest off: relative [1], of B0 and PDFF a difference [SI]
    tissue: str  # that one
    interval: float  # between the images of a dynamic series [s]; nan of others


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """Everything that a run made; `folder` holds the same as files."""

    protocol: Protocol
    scans: Mapping[str, ScanResult]
    maps: Mapping[str, ParameterMap] = field(default_factory=dict)
    truth: Mapping[str, ParameterMap] = field(default_factory=dict)
    tissues: tuple[TissueRow, ...] = ()
    agreement: tuple[Agreement, ...] = ()  # of each map that has rows in `tissues`
    findings: tuple[Finding, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)  # per phase
    provenance: Mapping[str, Any] = field(default_factory=dict)  # options, versions, seconds of each scan
    folder: Path | None = None

    @property
    def raw(self) -> RawData:
        """Samples of the only scan, or of the first."""
        return next(iter(self.scans.values())).raw[0]

    @property
    def image(self) -> Image | None:
        """Image of the only scan, or of the first."""
        return next(iter(self.scans.values())).image
