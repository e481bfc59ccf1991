"""What each readout of a sequence is: its echo time, inversion time and labels, as found in the blocks."""

from __future__ import annotations

import numpy as np

from mrisim._types import Bool, Float, Int
from mrisim.data import ReadoutTable
from mrisim.events.blocks import Sequence, Use
from mrisim.events.diffusion import b_matrices
from mrisim.events.moments import PulseInstances, pulse_instances, readout_instances


def readout_table(seq: Sequence) -> ReadoutTable:
    """One row per ADC event, times measured between pulse centers and sample N//2 [s].

    TE leaves out the time for which magnetisation was stored for a stimulated echo.

    Example:
        >>> import mrisim as mr
        >>> float(readout_table(mr.load_sequence("spin_echo", TE="20 ms")).te[0].round(6))
        0.02
    """
    readouts, pulses = readout_instances(seq), pulse_instances(seq)
    dwell = seq.adc.dwell[readouts.event]
    middle = readouts.start + (readouts.count // 2 + 0.5) * dwell
    use = seq.rf.use[pulses.event]
    excitation = np.flatnonzero(use == Use.EXCITATION)
    last = _last_before(pulses.center[excitation], middle)
    known = last >= 0
    row = excitation[np.maximum(last, 0)] if len(excitation) else np.zeros(len(middle), dtype=int)
    nothing = np.full(len(middle), np.nan)
    if len(excitation) == 0:
        te = ti = ts = tr = flip = nothing
    else:
        te = np.where(known, middle - pulses.center[row] - _stored(pulses, use, row, middle), np.nan)
        ti = np.where(known, _since(seq, pulses, np.flatnonzero(use == Use.INVERSION), row), np.nan)
        ts = np.where(known, _since(seq, pulses, _saturations(seq, pulses), row), np.nan)
        tr = np.where(known, repetition(seq, pulses, excitation)[np.maximum(last, 0)], np.nan)
        flip = np.where(known, seq.rf.flip[pulses.event[row]], np.nan)
    start = np.concatenate([[0], np.cumsum(readouts.count)])[:-1].astype(int)
    labels = {name: values[readouts.block] for name, values in seq.blocks.labels.items()}
    return ReadoutTable(
        start=start, count=readouts.count, dwell=dwell, te=te, ti=ti, ts=ts, tr=tr, flip=flip, labels=labels,
        b_matrix=b_matrices(seq),
    )  # fmt: skip


def _stored(
    pulses: PulseInstances, use: Int[np.ndarray, " pulses"], excitation: Int[np.ndarray, " n"], until: np.ndarray
) -> Float[np.ndarray, " n"]:
    """Time from the last storage to the last recall before each readout, of the same excitation [s]."""
    storages, recalls = np.flatnonzero(use == Use.STORAGE), np.flatnonzero(use == Use.RECALL)
    if len(storages) == 0 or len(recalls) == 0:
        return np.zeros(len(until))
    recall = recalls[np.maximum(_last_before(pulses.center[recalls], until), 0)]
    storage = storages[np.maximum(_last_before(pulses.center[storages], pulses.center[recall]), 0)]
    kept = (pulses.center[recall] <= until) & (excitation < storage) & (storage < recall)
    return np.where(kept, pulses.center[recall] - pulses.center[storage], 0.0)


def _last_before(events: Float[np.ndarray, " n"], times: Float[np.ndarray, " m"]) -> Int[np.ndarray, " m"]:
    return np.searchsorted(events, times, side="right") - 1


def _slice_of(seq: Sequence, pulses: PulseInstances, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Slice position of pulses, infinite where they are not selective [m]."""
    event = pulses.event[rows]
    return np.where(np.isinf(seq.rf.thickness[event]), np.inf, np.round(seq.rf.position[event], 9))


def _saturations(seq: Sequence, pulses: PulseInstances) -> Int[np.ndarray, " n"]:
    """Pulses that saturate water: not those that select no slice and lie beside it, such as fat saturation."""
    return np.flatnonzero(((seq.rf.use == Use.SATURATION) & ~beside_water(seq))[pulses.event])


def bandwidths(seq: Sequence) -> Float[np.ndarray, " events"]:
    """Full width at half maximum of the profile of each RF event [Hz], 0 where unknown."""
    return np.array([shape.bandwidth for shape in seq.rf_shapes])[seq.rf.shape]


def beside_water(seq: Sequence) -> Bool[np.ndarray, " events"]:
    """RF events that select no slice, and whose band leaves out the scanner's frequency: fat saturation, say."""
    return np.isinf(seq.rf.thickness) & (np.abs(seq.rf.frequency) > 0.5 * bandwidths(seq))


def _since(
    seq: Sequence, pulses: PulseInstances, preparation: Int[np.ndarray, " m"], excitation: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Time from the last preparation pulse that acts on the same slice to each excitation [s], nan without."""
    result = np.full(len(excitation), np.nan)
    where, at = _slice_of(seq, pulses, preparation), _slice_of(seq, pulses, excitation)
    for position in np.unique(at):
        fitting = preparation[(where == position) | np.isinf(where)]
        rows = np.flatnonzero(at == position)
        index = _last_before(pulses.center[fitting], pulses.center[excitation[rows]])
        found = index >= 0
        result[rows[found]] = (
            (pulses.center[excitation[rows]] - pulses.center[fitting[np.maximum(index, 0)]])[found]
            if len(fitting)
            else np.nan
        )
    return result


def repetition(seq: Sequence, pulses: PulseInstances, chosen: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Time from the previous one of some pulses that acts on the same slice to each of them [s], nan for the first."""
    result, at = np.full(len(chosen), np.nan), _slice_of(seq, pulses, chosen)
    for position in np.unique(at):
        rows = np.flatnonzero(at == position)
        result[rows[1:]] = np.diff(pulses.center[chosen[rows]])
    return result
