"""What every engine is given to run, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mrisim._types import Complex, Float
from mrisim.data import Phantom
from mrisim.errors import Finding
from mrisim.events.blocks import Sequence
from mrisim.program import Program, Pulses
from mrisim.simulate._described import program_of
from mrisim.simulate._progress import Progress
from mrisim.simulate.receive import Receivers


@dataclass(frozen=True, kw_only=True, eq=False)
class Setting:
    """A sequence, a phantom, and how they are run."""

    seq: Sequence
    phantom: Phantom
    receivers: Receivers
    initial: Float[np.ndarray, "spins 3"] | None
    pulses: Pulses
    spoil: bool  # whether spoiling is ideal
    tolerance: float
    dtype: np.dtype
    injected: float | None  # of the contrast agent, since the start of the sequence [s]
    budget: int | None  # memory [bytes]
    seed: int
    progress: Progress
    checkpoint: str | Path | None

    @property
    def program(self) -> Program:
        """Normal form of the sequence, shared by all who ask."""
        return program_of(self.seq, self.pulses)


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """Samples, with the receiver's phase of each readout, and what is to be known of them."""

    signal: Complex[np.ndarray, "coils samples"]
    findings: tuple[Finding, ...] = ()
    provenance: Mapping[str, object] = field(default_factory=dict)
    standard_error: Complex[np.ndarray, "coils samples"] | None = None


def received(signal: Complex[np.ndarray, "coils samples"], program: Program) -> Complex[np.ndarray, "coils samples"]:
    """Receiver phase of each readout, applied on the host in float64."""
    result = np.array(signal)
    for readout in program.readouts:
        where = readout.first[:, None] + np.arange(len(readout.delay))
        result[:, where] *= np.exp(-1j * readout.phase)[None, :, None]
    return result
