"""What the pulses of a sequence do at places through the slice, at any transmit field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mrisim._types import Float
from mrisim.data import Phantom
from mrisim.engines import bloch
from mrisim.errors import ConsistencyError, Problem
from mrisim.events.blocks import Sequence, Use
from mrisim.mapping.least_squares import double_precision
from mrisim.physics.phase_graph import StateMap, state_map, turned
from mrisim.program import Program, lower

POINTS = 32  # through the slice
EXTENT = 2.0  # of the points, in thicknesses of the slice


@dataclass(frozen=True, kw_only=True, eq=False)
class SlicePulse:
    """One pulse as it is played, taken to its center: the gradient's moment before and after it is undone."""

    flip: float  # nominal [rad]
    phase: float  # at its center [rad]
    program: Program
    row: int  # of the pulse table

    @property
    def sides(self) -> tuple[float, float]:
        """Time from its start to its center, and from there to its end [s]."""
        center = float(self.program.pulses.center[self.row])
        return center, float(self.program.pulses.duration[self.row]) - center

    def maps(
        self,
        places: Float[np.ndarray, "places 3"],
        b1: Float[np.ndarray, " b1"],
        t1: Float[np.ndarray, " atoms"],
        t2: Float[np.ndarray, " atoms"],
    ) -> StateMap:
        """What it does from its start to its end, (atoms, b1, places), relaxation included.

        Args:
            places: Physical positions [m].
            b1: Transmit field relative to that of the sequence.
            t1, t2: Relaxation times [s].
        """
        shape = (len(t1), len(b1), len(places))
        where = np.broadcast_to(places, (*shape, 3)).reshape(-1, 3)
        columns = self._columns(where, *(np.broadcast_to(v, shape).ravel() for v in _across(b1, t1, t2)))
        pulses, played = self.program.pulses, self.program.waveforms[self.program.pulses.waveform[self.row]]
        ends = np.concatenate([[0.0], np.cumsum(played.dt)])
        area = np.vstack([np.zeros(3), np.cumsum(played.moment, axis=0)])
        lead, rest = self.sides
        at_center = np.array([np.interp(lead, ends, area[:, axis]) for axis in range(3)])
        turn, frequency = self.phase / (2 * np.pi), float(pulses.frequency[self.row])
        before = where @ at_center - turn - frequency * lead
        after = where @ (area[-1] - at_center) + turn - frequency * rest
        found = turned(state_map(columns), np.exp(2j * np.pi * before), np.exp(2j * np.pi * after))
        return StateMap(*(np.asarray(part).reshape(shape) for part in found))

    def _columns(
        self, where: np.ndarray, b1: np.ndarray, t1: np.ndarray, t2: np.ndarray
    ) -> Float[np.ndarray, "4 3 spins"]:
        spins = Phantom.from_arrays(position=where, t1=t1, t2=np.minimum(t2, 2 * t1), b1=b1)
        with double_precision():
            kind = np.dtype(float)
            placed = bloch.place_pulse(self.program, self.row, 1, kind)
            return np.asarray(bloch.pulse_propagator(placed, bloch.place_spins(spins, kind), False))


def _across(b1: np.ndarray, t1: np.ndarray, t2: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return b1[None, :, None], t1[:, None, None], t2[:, None, None]


@dataclass(frozen=True, kw_only=True, eq=False)
class SliceProfile:
    """Excitation and refocusing pulse of an echo train, and the places through the slice where they are known."""

    excitation: SlicePulse
    refocusing: SlicePulse
    places: Float[np.ndarray, "places 3"]  # [m]
    weight: float  # of a place, so that the sum is the mean over a slice of nominal thickness


def slice_profile(seq: Sequence, points: int = POINTS, extent: float = EXTENT) -> SliceProfile:
    """Pulses of the last echo train of a sequence, from its own waveforms and gradients.

    Args:
        seq: A spin-echo sequence with pulses of `use: excitation` and `use: refocusing`.
        points: Places through the slice.
        extent: Distance that they cover, in thicknesses of the excited slice.

    Raises:
        ConsistencyError: no such pulses.

    Example:
        >>> import mrisim as mr
        >>> profile = slice_profile(mr.load_sequence("multi_echo_se", matrix=2, echoes=4), points=3, extent=0.2)
        >>> still = np.full(1, np.inf)
        >>> maps = profile.refocusing.maps(profile.places, np.ones(1), still, still)
        >>> bool(abs(maps.e[0, 0, 1] + 1) < 1e-3)                        # Mz is turned over in the middle of the slice
        True
    """
    program = lower(seq)
    played = np.flatnonzero(program.steps.pulse >= 0)
    rows = program.steps.pulse[played]
    refocusing = played[program.pulses.use[rows] == Use.REFOCUSING]
    excitation = played[program.pulses.use[rows] == Use.EXCITATION]
    if len(refocusing) == 0 or len(excitation) == 0:
        rule = "must have pulses of use excitation and refocusing, but has not"
        raise ConsistencyError(Problem(rule, "Take an echo train such as multi_echo_se", path=seq.name))
    last = excitation[-1]
    first = refocusing[refocusing > last]
    if len(first) == 0:
        last = excitation[excitation < refocusing[-1]][-1]
        first = refocusing[refocusing > last]
    pulses = [_pulse(program, int(step)) for step in (last, first[0])]
    places = slice_places(seq, program, int(last), points, extent)
    weight = extent / points if len(places) > 1 else 1.0
    return SliceProfile(excitation=pulses[0], refocusing=pulses[1], places=places, weight=weight)


def _pulse(program: Program, step: int) -> SlicePulse:
    row = int(program.steps.pulse[step])
    return SlicePulse(
        flip=float(program.pulses.flip[row]), phase=float(program.steps.phase[step]), program=program, row=row
    )


def slice_places(
    seq: Sequence, program: Program, step: int, points: int, extent: float
) -> Float[np.ndarray, "places 3"]:
    """Places along the normal of a slice, about its center; one at the origin where the pulse selects none.

    Args:
        seq: The sequence.
        program: It, lowered with shaped pulses.
        step: Of the program, with the pulse.
        points: Number of places.
        extent: Distance that they cover, in thicknesses of the slice.
    """
    ideal = lower(seq, "ideal")
    played = np.flatnonzero(ideal.steps.pulse >= 0)
    at = ideal.steps.pulse[played[np.searchsorted(ideal.steps.time[played], program.steps.time[step])]]
    normal, half = np.asarray(ideal.pulses.slice_normal[at]), float(ideal.pulses.slice_half_width[at])
    if not np.isfinite(half):
        return np.zeros((1, 3))
    along = (np.arange(points) - (points - 1) / 2) / points * 2 * half * extent
    return (float(ideal.pulses.slice_position[at]) + along)[:, None] * normal
