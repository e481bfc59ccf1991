"""The train of pulses and samples that a fingerprinting sequence plays, and what diffusion leaves of its orders."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mrisim._types import Float
from mrisim.engines.epg_diffusion import Paths, weights_of
from mrisim.errors import ConsistencyError, Problem
from mrisim.events.blocks import Sequence, Use
from mrisim.events.moments import gradient_tracks, pulse_instances, readout_instances, total_moment
from mrisim.program import Program, lower

_EVEN = 1e-3  # cycles per slice by which the dephasing of repetitions may differ
_BALANCED = 1e-3  # cycles per slice
_SPOILED = 1.0 - _EVEN
_RETURNED = 1e-5  # of an order that arose and came back: what is less is not followed


@dataclass(frozen=True, kw_only=True, eq=False)
class Train:
    """The pulses and samples of one slice, from equilibrium or from an inversion."""

    flip: Float[np.ndarray, " pulses"]  # nominal [rad]
    phase: Float[np.ndarray, " pulses"]  # [rad]
    receiver: Float[np.ndarray, " pulses"]  # phase of the receiver at each sample [rad]
    tr: Float[np.ndarray, " pulses"]  # to the next pulse [s]
    te: Float[np.ndarray, " pulses"]  # to the center of k-space [s]
    unit: Float[np.ndarray, " 3"]  # moment per TR [1/m]; 0 where balanced
    ti: float | None  # center of the inversion to the first pulse [s]
    program: Program
    rows: np.ndarray  # of the pulse table
    inversion: int  # row of the pulse table, -1 without
    steps: np.ndarray  # of the program, with the pulses

    @property
    def balanced(self) -> bool:
        """No moment per TR; else one unit of dephasing."""
        return not self.unit.any()


def read_train(seq: Sequence) -> Train:
    """The train of a fingerprinting sequence; of its first slice, where it has several.

    Raises:
        ConsistencyError: no such train: not one sample train per pulse, or repetitions that dephase differently.

    Example:
        >>> import mrisim as mr
        >>> train = read_train(mr.load_sequence("mrf_fisp", repetitions=8))
        >>> len(train.flip), train.balanced, round(train.ti, 6)
        (8, False, 0.02)
    """
    pulses, readouts = pulse_instances(seq), readout_instances(seq)
    use = seq.rf.use[pulses.event]
    slices = np.asarray(seq.blocks.labels.get("SLC", np.zeros(len(seq.blocks))))
    mine = slices[pulses.block] == slices[readouts.block[0]] if len(readouts.block) else np.zeros(len(use), dtype=bool)
    excitation = np.flatnonzero((use == Use.EXCITATION) & mine)
    sampled = np.flatnonzero(slices[readouts.block] == slices[readouts.block[0]]) if len(readouts.block) else excitation
    owner = np.searchsorted(pulses.center[excitation], readouts.start[sampled], side="right") - 1
    if len(excitation) < 2 or not np.array_equal(owner, np.arange(len(excitation))):
        rule = "must have one readout after each of at least two pulses of use excitation, but has not"
        raise ConsistencyError(Problem(rule, "Take a train such as mrf_fisp", path=seq.name))
    center = pulses.center[excitation]
    moment = total_moment(gradient_tracks(seq), np.append(center, 2 * center[-1] - center[-2]))
    event = pulses.event[excitation]
    inverted = np.flatnonzero((use == Use.INVERSION) & mine & (pulses.center < center[0]))
    program = lower(seq)
    step = np.searchsorted(program.steps.time, pulses.start[excitation] + 1e-9) - 1
    before = int(np.searchsorted(program.steps.time, pulses.start[inverted[-1]] + 1e-9) - 1) if len(inverted) else -1
    unit = _unit(seq, np.diff(moment, axis=0)[:-1], event)
    return Train(
        flip=seq.rf.flip[event],
        phase=seq.rf.phase[event],
        receiver=seq.adc.phase[readouts.event[sampled]],
        tr=np.diff(np.append(center, 2 * center[-1] - center[-2])),
        te=_echo_times(seq, sampled, center),
        unit=unit,
        ti=float(center[0] - pulses.center[inverted[-1]]) if len(inverted) else None,
        program=program,
        rows=program.steps.pulse[step],
        inversion=int(program.steps.pulse[before]) if len(inverted) else -1,
        steps=step,
    )


def _echo_times(seq: Sequence, sampled: np.ndarray, center: np.ndarray) -> Float[np.ndarray, " pulses"]:
    """From each pulse to the sample nearest to k = 0."""
    k, time = seq.kspace()
    count = readout_instances(seq).count
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    nearest = [first[r] + int(np.argmin(np.linalg.norm(k[first[r] : first[r] + count[r]], axis=1))) for r in sampled]
    return time[nearest] - center


def _unit(seq: Sequence, moment: Float[np.ndarray, "pulses 3"], event: np.ndarray) -> Float[np.ndarray, " 3"]:
    """Moment that each repetition leaves, 0 where none; refuses what is neither that nor equal and large."""
    thickness = seq.rf.thickness[event[0]]
    length = thickness if np.isfinite(thickness) else 1e-3
    cycles = np.linalg.norm(moment, axis=1) * length
    if cycles.max() < _BALANCED:
        return np.zeros(3)
    if np.ptp(moment * length, axis=0).max() > _EVEN or cycles.min() < _SPOILED:
        rule = (
            "must have repetitions that all dephase by the same whole cycles per slice, or by nothing, "
            f"but they dephase by {cycles.min():.3g} to {cycles.max():.3g}"
        )
        raise ConsistencyError(Problem(rule, "Rewind what varies, and spoil along the slice", path=seq.name))
    return moment.mean(axis=0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Losses:
    """What diffusion leaves of each order of dephasing."""

    kept: Float[np.ndarray, "pulses 3 orders"]  # of F(n), F(-n) and Z(n), from each pulse to the next
    seen: Float[np.ndarray, " orders"]  # of F(n) and F(-n) from a pulse to its sample

    @property
    def states(self) -> int:
        """Orders of which something is left when they come back: each must arise and come back as F."""
        returned = np.cumprod(self.kept[:, 0].max(axis=0) * self.kept[:, 1].max(axis=0))
        return max(2, int(np.sum(returned > _RETURNED)))


def diffusion_losses(seq: Sequence, train: Train, diffusion: float) -> Losses | None:
    """By the b values of the gradients as they are played; none without diffusion.

    Source:
        Weigel, Schwenk, Kiselev, Scheffler, Hennig, J Magn Reson 205:276 (2010).
    """
    if not diffusion:
        return None
    program = lower(seq, diffusion=True)
    weights = weights_of(program, program.paths, isotropic=True)
    weights = replace(weights, whole=_to_the_next(weights.whole, train.steps), seen=weights.seen.take(train.steps))
    count = len(train.steps)
    orders = np.arange(1 if train.balanced else count // 2 + 1)
    labels = np.pad(np.outer(orders, train.unit), ((0, 0), (0, 1)))
    b = np.empty((count, 3, len(orders)))
    for pulse in range(count):
        b[pulse, :2] = [weights.transverse(weights.whole, pulse, way)[:, 0] for way in (labels, -labels)]
        b[pulse, 2] = weights.longitudinal(pulse, labels)[:, 0]
    seen = [weights.transverse(weights.seen, 0, way)[:, 0] for way in (labels, -labels)]
    return Losses(kept=np.exp(-diffusion * b), seen=np.exp(-diffusion * np.mean(seen, axis=0)))


def _to_the_next(whole: Paths, steps: np.ndarray) -> Paths:
    """From each of some steps to the next of them; of the last, itself."""
    found, gap = whole.take(steps), np.diff(steps, append=steps[-1] + 1)
    for later in range(1, int(gap.max())):
        longer = found.then(whole.take(np.minimum(steps + later, len(whole.duration) - 1)))
        found = found.chosen(later < gap, longer)
    return found
