"""Quantities of a sequence that limits can be set for, as found in its blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mrisim.checking.coils import Coil
from mrisim.checking.coverage import Coverage
from mrisim.checking.exposure import Heat, Stimulation, gradient_rms
from mrisim.constants import GAMMA_BAR
from mrisim.events.blocks import Sequence
from mrisim.events.diffusion import b_matrices
from mrisim.events.moments import readout_instances
from mrisim.units import AREA, B_VALUE, FREQUENCY, GRADIENT, LENGTH, NUMBER, TIME, Dimension, show, show_b1

SHARES = ("pns", "gradient_duty")


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Values of one quantity."""

    name: str
    values: tuple[float, ...]  # SI; one for each echo, repetition time, axis …
    dimension: Dimension
    gamma: float = GAMMA_BAR  # [Hz/T]

    def show(self, value: float) -> str:
        """Text of a value in the user's unit."""
        if self.name in SHARES:
            return f"{value:.1%}".replace("%", " %")
        if self.name in ("b1_rms", "b1_peak"):
            return show_b1(value, self.gamma, digits=4)
        return show(value, self.dimension, self.gamma, digits=5)


def measures(
    seq: Sequence, coil: Coil, coverage: Coverage | None, stimulated: Stimulation, heated: Heat
) -> Mapping[str, Measure]:
    """Everything that is known of a sequence, by name."""
    rms, duty = gradient_rms(seq)
    found: dict[str, tuple[tuple[float, ...], Dimension]] = {
        "duration": ((seq.duration,), TIME),
        "pns": ((stimulated.pns,), NUMBER),
        "gradient_rms": ((rms,), GRADIENT),
        "gradient_duty": ((duty,), NUMBER),
        "b1_rms": ((heated.b1_rms,), FREQUENCY),
        "b1_peak": ((_peak(seq),), FREQUENCY),
        "sar": ((heated.sar,), NUMBER),
    }
    if seq.recon is not None:
        nx, ny, nz = seq.recon.matrix
        fov = seq.recon.fov
        found["fov"] = (fov[:2], LENGTH)
        found["voxel"] = ((fov[0] / nx, fov[1] / ny, fov[2] / nz), LENGTH)
        found["thickness"] = ((fov[2] / nz,), LENGTH)
        positions = np.sort(np.asarray(seq.recon.slice_positions, dtype=float))
        if nz == 1 and len(positions) > 1:
            found["gap"] = (tuple((np.diff(positions) - fov[2]).round(9).tolist()), LENGTH)
    if coverage is not None:
        found |= _times(coverage)
    found["interval"] = (_intervals(seq), TIME)
    if len(b := coverage.b if coverage is not None else _traces(seq)):
        found |= {"b_min": ((float(b.min()),), B_VALUE), "b_max": ((float(b.max()),), B_VALUE)}
    gamma = seq.system.gamma
    return {n: Measure(name=n, values=v, dimension=d, gamma=gamma) for n, (v, d) in found.items() if v}


def _traces(seq: Sequence) -> np.ndarray:
    """Of the b-matrices, where known [s/m^2]."""
    if seq.blocks.adc.max(initial=-1) < 0:
        return np.zeros(0)
    b = np.trace(b_matrices(seq), axis1=1, axis2=2)
    return b[np.isfinite(b)]


def _times(coverage: Coverage) -> dict[str, tuple[tuple[float, ...], Dimension]]:
    times = {"TE": coverage.te, "TR": coverage.tr, "TI": coverage.ti}
    found = {name: (tuple(float(v) for v in values), TIME) for name, values in times.items()}
    if np.isfinite(coverage.spacing):
        found["echo_spacing"] = ((coverage.spacing,), TIME)
    for order, dimension in enumerate((AREA, AREA * TIME, AREA * TIME * TIME)):
        column = coverage.moments[:, order]
        found[f"m{order}"] = (tuple(column[np.isfinite(column)].tolist()), dimension)
    return found


def _intervals(seq: Sequence) -> tuple[float, ...]:
    """Different times from the first sample of one repetition (label REP) to that of the next, shortest first [s]."""
    if "REP" not in seq.blocks.labels:
        return ()
    readouts = readout_instances(seq)
    _, first = np.unique(seq.blocks.labels["REP"][readouts.block], return_index=True)
    return tuple(np.unique(np.diff(readouts.start[first]).round(6)).tolist())


def _peak(seq: Sequence) -> float:
    return float(np.abs(seq.rf.amplitude).max(initial=0.0))
