"""A pulse sequence: its tables of events, with what can be asked of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mrisim._types import Float
from mrisim.events.checks import Violation, check_hardware
from mrisim.events.diffusion import b_matrices
from mrisim.events.moments import sample_kspace
from mrisim.events.tables import AXES as AXES
from mrisim.events.tables import NONE as NONE
from mrisim.events.tables import ADCTable as ADCTable
from mrisim.events.tables import BlockTable as BlockTable
from mrisim.events.tables import GradientShape as GradientShape
from mrisim.events.tables import GradientTable as GradientTable
from mrisim.events.tables import Parameter as Parameter
from mrisim.events.tables import RFShape as RFShape
from mrisim.events.tables import RFTable as RFTable
from mrisim.events.tables import SequenceTables
from mrisim.events.tables import SoftDelay as SoftDelay
from mrisim.events.tables import TimingRecord as TimingRecord
from mrisim.events.tables import Trigger as Trigger
from mrisim.events.tables import Use as Use
from mrisim.scanner import Scanner
from mrisim.units import TIME, show


@dataclass(frozen=True, kw_only=True, eq=False)
class Sequence(SequenceTables):
    """A resolved pulse sequence: event blocks on logical axes, geometry, parameters. Immutable; lives on the host."""

    def __repr__(self) -> str:
        """Name, number of blocks and duration.

        Example:
            >>> import mrisim as mr
            >>> mr.load_sequence("fid")
            <Sequence FID: 3 blocks, 3 s>
        """
        duration = show(self.duration, TIME, digits=4)
        return f"<Sequence {self.name}: {len(self.blocks):,} blocks, {duration}>"

    def kspace(self) -> tuple[Float[np.ndarray, "samples 3"], Float[np.ndarray, " samples"]]:
        """k [1/m, physical axes] and time [s] of all samples; zero at an excitation, mirrored by a refocusing pulse."""
        return sample_kspace(self)

    def b_matrix(self) -> Float[np.ndarray, "readouts 3 3"]:
        """b-matrix at the middle of each readout [s/m², physical axes], imaging gradients and cross terms included.

        Example:
            >>> import mrisim as mr
            >>> mr.load_sequence("spin_echo").b_matrix().shape
            (128, 3, 3)
        """
        return b_matrices(self)

    def check(self, system: Scanner | None = None) -> tuple[Violation, ...]:
        """Violations of the hardware limits."""
        return check_hardware(self, system or self.system)
