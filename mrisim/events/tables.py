"""Immutable event blocks, de-duplicated and stored by column: the same model as Pulseq.

A block holds at most one RF event, one gradient per logical axis and one ADC event. Events are rows of tables, blocks
point at rows (-1: none), so a scan of 300,000 blocks is a few arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np

from mrisim._types import Complex, Float, Int
from mrisim.data import Geometry, ReconSpec
from mrisim.errors import Finding
from mrisim.scanner import Scanner
from mrisim.units import Dimension

NONE = -1
AXES = ("gx", "gy", "gz")


class Use(IntEnum):
    """What a pulse is for. Never guessed from the flip angle."""

    EXCITATION = 0
    REFOCUSING = 1
    INVERSION = 2
    SATURATION = 3
    PREPARATION = 4
    OTHER = 5
    UNDEFINED = 6
    STORAGE = 7  # turns transverse magnetisation to the axis, to be recalled as a stimulated echo
    RECALL = 8  # turns it back


@dataclass(frozen=True, kw_only=True, eq=False)
class RFShape:
    """Complex envelope, constant on each interval between two edges.

    With amplitude a and phase phi the field is a · samples · exp(i phi) [Hz]. `samples` has a peak magnitude of 1, in
    this package's frame: positive frequency turns as exp(-2 pi i f t).
    """

    edges: Float[np.ndarray, " n+1"]  # from 0 [s]
    samples: Complex[np.ndarray, " n"]
    center: float  # from the start of the shape [s]
    bandwidth: float = 0.0  # full width at half maximum of the profile [Hz], 0 where unknown

    @property
    def duration(self) -> float:
        return float(self.edges[-1])


@dataclass(frozen=True, kw_only=True, eq=False)
class GradientShape:
    """Piecewise-linear waveform through corner points. `values` have a peak magnitude of 1; zero outside."""

    times: Float[np.ndarray, " n"]  # from the start of the block, delay included [s]
    values: Float[np.ndarray, " n"]

    @property
    def duration(self) -> float:
        return float(self.times[-1])


@dataclass(frozen=True, kw_only=True, eq=False)
class RFTable:
    """Unique RF events."""

    shape: Int[np.ndarray, " n"]  # index into `Sequence.rf_shapes`
    amplitude: Float[np.ndarray, " n"]  # peak [Hz]
    phase: Float[np.ndarray, " n"]  # at the center of the pulse [rad]
    frequency: Float[np.ndarray, " n"]  # offset; positive excites positive df + g·r [Hz]
    delay: Float[np.ndarray, " n"]  # block start → shape start [s]
    flip: Float[np.ndarray, " n"]  # nominal [rad], nan where unknown
    use: Int[np.ndarray, " n"]  # `Use`
    slice_axis: Int[np.ndarray, " n"]  # logical axis of selection, -1 where not selective
    thickness: Float[np.ndarray, " n"]  # of the selected slice [m], inf where not selective
    position: Float[np.ndarray, " n"]  # of the slice along its axis, from the geometry's center [m]


@dataclass(frozen=True, kw_only=True, eq=False)
class GradientTable:
    """Unique gradient events, for all three axes."""

    shape: Int[np.ndarray, " n"]  # index into `Sequence.gradient_shapes`
    amplitude: Float[np.ndarray, " n"]  # peak, signed [Hz/m]


@dataclass(frozen=True, kw_only=True, eq=False)
class ADCTable:
    """Unique ADC events. Sample n lies at delay + (n + 1/2) · dwell; the receiver multiplies by
    exp(-i phase) exp(+2 pi i frequency (t - t0)) with t0 at the end of the delay, and by exp(-i) of the phase shape."""

    samples: Int[np.ndarray, " n"]
    dwell: Float[np.ndarray, " n"]  # [s]
    delay: Float[np.ndarray, " n"]  # [s]
    phase: Float[np.ndarray, " n"]  # [rad]
    frequency: Float[np.ndarray, " n"]  # [Hz]
    phase_shape: Int[np.ndarray, " n"]  # index into `Sequence.phase_shapes`, -1 for none


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockTable:
    """Blocks in order; -1 means no event."""

    rf: Int[np.ndarray, " blocks"]
    gx: Int[np.ndarray, " blocks"]
    gy: Int[np.ndarray, " blocks"]
    gz: Int[np.ndarray, " blocks"]
    adc: Int[np.ndarray, " blocks"]
    duration: Float[np.ndarray, " blocks"]  # [s]
    rotation: Int[np.ndarray, " blocks"]  # index into `Sequence.rotations`, -1 for none beyond the geometry
    name: Int[np.ndarray, " blocks"]  # index into `Sequence.block_names`, for messages and pictures
    labels: Mapping[str, Int[np.ndarray, " blocks"]]  # value in force at the block

    def __len__(self) -> int:
        return len(self.duration)


@dataclass(frozen=True)
class Parameter:
    """A resolved parameter of a sequence, as a user set or left it."""

    name: str
    value: Any  # float, int, bool, text or a tuple of them; SI
    dimension: Dimension
    doc: str = ""
    is_default: bool = True


@dataclass(frozen=True)
class TimingRecord:
    """A timing constraint, as asked and as found in the blocks."""

    name: str
    start: str  # anchor
    stop: str  # anchor
    asked: float  # [s]; the first where it varies over a loop
    found: float  # [s]; the worst over the loop
    fill: str = ""  # delay that was solved
    fill_duration: float = 0.0  # [s]; the first where it varies


@dataclass(frozen=True)
class Trigger:
    """A trigger that a block gives or waits for; it changes nothing in a simulation."""

    block: int
    kind: int  # 1 output, 2 input
    channel: int
    delay: float  # [s]
    duration: float  # [s]


@dataclass(frozen=True)
class SoftDelay:
    """A block without events whose duration a user may set: value / factor + offset."""

    block: int
    name: str
    number: int
    factor: float
    offset: float  # [s]


@dataclass(frozen=True, kw_only=True, eq=False)
class SequenceTables:
    """What a `Sequence` holds: event blocks on logical axes, geometry, parameters. Immutable; lives on the host."""

    name: str
    blocks: BlockTable
    rf: RFTable
    gradients: GradientTable
    adc: ADCTable
    rf_shapes: tuple[RFShape, ...]
    gradient_shapes: tuple[GradientShape, ...]
    phase_shapes: tuple[Float[np.ndarray, " samples"], ...] = ()  # [rad]
    rotations: Float[np.ndarray, "rotations 3 3"] = field(default_factory=lambda: np.zeros((0, 3, 3)))
    block_names: tuple[str, ...] = ("",)
    system: Scanner = field(default_factory=Scanner)
    geometry: Geometry = field(default_factory=Geometry)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    timing: tuple[TimingRecord, ...] = ()
    recon: ReconSpec | None = None
    description: str = ""
    reference: str = ""
    source: str = ""  # file it came from
    simulation: Mapping[str, Any] = field(default_factory=dict)  # how it wants to be run: engine, slab
    definitions: Mapping[str, str] = field(default_factory=dict)  # what a Pulseq file says beyond its events
    triggers: tuple[Trigger, ...] = ()
    soft_delays: tuple[SoftDelay, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def duration(self) -> float:
        """Total duration [s]."""
        return float(self.blocks.duration.sum())

    @cached_property
    def starts(self) -> Float[np.ndarray, " blocks"]:
        """Start of each block [s]."""
        ends = np.cumsum(self.blocks.duration)
        return np.concatenate([[0.0], ends[:-1]]) if len(ends) else ends

    def axis_directions(self) -> Float[np.ndarray, "blocks 3 3"]:
        """Logical → physical rotation of each block: columns are the directions of gx, gy, gz."""
        index = self.blocks.rotation
        if len(self.rotations) == 0 or (index == NONE).all():
            return np.broadcast_to(self.geometry.rotation, (len(index), 3, 3))
        table = np.concatenate([self.rotations, np.eye(3)[None]])  # -1 picks the identity
        return self.geometry.rotation @ table[index]
