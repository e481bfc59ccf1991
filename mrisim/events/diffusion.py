"""Diffusion weighting of every readout, from the gradients as they are played.

b = 4π² ∫ k kᵀ dt, where k follows the pathway that forms the echo: zero at the center of an excitation, mirrored by a
refocusing pulse, constant while magnetisation is stored between a storage pulse and a recall, mirrored by the recall.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mrisim._types import Float, Int
from mrisim.events.moments import (
    Track,
    gradient_tracks,
    k_offsets,
    pulse_instances,
    readout_instances,
    second_moments,
    total_moment,
)
from mrisim.events.tables import SequenceTables, Use

_TURN = 4 * np.pi**2  # k counts cycles
_ALIKE = 0.02  # of a b-matrix: readouts that differ by less are weighted alike
_NO_WEIGHT = 1e6  # [s/m²], likewise


@dataclass(frozen=True, kw_only=True, eq=False)
class Weighting:
    """Readouts that diffusion weights alike."""

    b_matrix: Float[np.ndarray, "3 3"]  # mean [s/m²]
    count: int  # echoes

    @property
    def b(self) -> float:
        """Trace: what is called the b value [s/m²]."""
        return float(np.trace(self.b_matrix))

    @property
    def direction(self) -> Float[np.ndarray, " 3"] | None:
        """Axis of the strongest weighting, if it is the only one: a unit vector; its sign has no meaning."""
        values, vectors = np.linalg.eigh(self.b_matrix)
        if self.b <= 0 or values[2] < 0.9 * self.b:
            return None
        axis = vectors[:, 2]
        return axis * np.sign(axis[np.argmax(np.abs(axis))])


def b_matrices(seq: SequenceTables) -> Float[np.ndarray, "readouts 3 3"]:
    """b-matrix at sample N//2 of each readout [s/m²], physical axes; nan before the first excitation.

    Imaging gradients, slice selection, crushers and all cross terms are in it, exactly for piecewise-linear gradients.

    Source:
        Mattiello, Basser, Le Bihan, J Magn Reson A 108:131 (1994); with stored magnetisation: Lundell, Alexander,
        Dyrby, NMR Biomed 27:887 (2014).

    Example:
        >>> import mrisim as mr
        >>> b = b_matrices(mr.load_sequence("spin_echo"))
        >>> b.shape[1:]
        (3, 3)
    """
    tracks, pulses, readouts = gradient_tracks(seq), pulse_instances(seq), readout_instances(seq)
    middle = readouts.start + (readouts.count // 2 + 0.5) * seq.adc.dwell[readouts.event]
    use, center = seq.rf.use[pulses.event], pulses.center
    if len(center) == 0:
        return np.full((len(middle), 3, 3), np.nan)
    moment = total_moment(tracks, center)
    k = moment - k_offsets(use, moment)[1:]  # just after each pulse
    between = _weight(tracks, k[:-1], center[:-1], center[1:])
    after = _chained(use, center, between, k)
    last = np.searchsorted(center, middle, side="right") - 1
    row = np.maximum(last, 0)
    found = after[row] + _weight(tracks, k[row], center[row], np.maximum(middle, center[row]))
    excited = np.append(False, np.cumsum(use == Use.EXCITATION) > 0)[last + 1]
    return np.where(excited[:, None, None], found, np.nan)


def _weight(
    tracks: tuple[Track, Track, Track],
    k: Float[np.ndarray, "n 3"],
    start: Float[np.ndarray, " n"],
    stop: Float[np.ndarray, " n"],
) -> Float[np.ndarray, "n 3 3"]:
    """What intervals that begin at k add to the b-matrix."""
    first, second = second_moments(tracks, start, stop)
    cross = k[:, :, None] * first[:, None, :]
    still = k[:, :, None] * k[:, None, :] * (stop - start)[:, None, None]
    return _TURN * (still + cross + np.swapaxes(cross, 1, 2) + second)


def _chained(
    use: Int[np.ndarray, " pulses"],
    center: Float[np.ndarray, " pulses"],
    between: Float[np.ndarray, "pulses-1 3 3"],
    k: Float[np.ndarray, "pulses 3"],
) -> Float[np.ndarray, "pulses 3 3"]:
    """b-matrix of the pathway just after each pulse."""
    result = np.zeros((len(use), 3, 3))
    stored, since = np.zeros((3, 3)), 0.0
    for i, kind in enumerate(use.tolist()):
        if kind == Use.EXCITATION:
            continue
        if kind == Use.RECALL:  # mirrors what was stored, so its k is that of the store but for the sign
            result[i] = stored + _TURN * np.outer(k[i], k[i]) * (center[i] - since)
        elif i > 0:
            result[i] = result[i - 1] + between[i - 1]
        if kind == Use.STORAGE:
            stored, since = result[i], center[i]
    return result


def weightings(seq: SequenceTables) -> tuple[Weighting, ...]:
    """Distinct diffusion weightings: of each excitation and echo the readout nearest to k = 0, alike to 2 %.

    Weightings below 1 s/mm² count as alike.

    Example:
        >>> import mrisim as mr
        >>> [(round(w.b * 1e-6), w.count) for w in weightings(mr.load_sequence("fid"))]
        [(0, 1)]
    """
    b = b_matrices(seq)
    rows = _central(seq)
    rows = rows[np.isfinite(b[rows, 0, 0])]
    result = []
    while len(rows):
        away = np.linalg.norm(b[rows] - b[rows[0]], axis=(1, 2))
        alike = away <= _ALIKE * np.linalg.norm(b[rows[0]]) + _NO_WEIGHT
        result.append(Weighting(b_matrix=b[rows[alike]].mean(axis=0), count=int(alike.sum())))
        rows = rows[~alike]
    return tuple(result)


def _central(seq: SequenceTables) -> Int[np.ndarray, " echoes"]:
    """Of the readouts of each excitation and echo label, navigators apart: that whose middle lies nearest to k = 0."""
    tracks, pulses, readouts = gradient_tracks(seq), pulse_instances(seq), readout_instances(seq)
    middle = readouts.start + (readouts.count // 2 + 0.5) * seq.adc.dwell[readouts.event]
    offsets = k_offsets(seq.rf.use[pulses.event], total_moment(tracks, pulses.center))
    k = total_moment(tracks, middle) - offsets[np.searchsorted(pulses.center, middle, side="right")]
    excitations = pulses.center[seq.rf.use[pulses.event] == Use.EXCITATION]
    shot = np.searchsorted(excitations, middle, side="right")
    echo = seq.blocks.labels["ECO"][readouts.block] if "ECO" in seq.blocks.labels else np.zeros(len(shot), dtype=int)
    aside = np.zeros(len(shot), dtype=bool)
    for label in ("NAV", "NOISE"):
        aside |= seq.blocks.labels.get(label, np.zeros(len(seq.blocks.rf), dtype=int))[readouts.block] != 0
    order = np.lexsort([np.linalg.norm(k, axis=1), aside, echo, shot])
    order = order[~aside[order]]
    new = np.append(True, (np.diff(shot[order]) != 0) | (np.diff(echo[order]) != 0))[: len(order)]
    return np.sort(order[new])
