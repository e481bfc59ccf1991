"""What the samples cover in k-space, the echo times at its center, and gradient moments there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mrisim._types import Float, Int
from mrisim.events.blocks import Sequence
from mrisim.events.moments import gradient_tracks, k_offsets, pulse_instances, total_moment
from mrisim.events.readouts import readout_table
from mrisim.events.tables import Use

SAME_LINE = 0.02  # distance of lines that count as one, in steps of the k-space grid
MOST_ECHOES = 8  # whose moments are computed
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(3)  # exact to the fifth power; t k has the third


@dataclass(frozen=True, kw_only=True, eq=False)
class Coverage:
    """Samples of images, without navigators and noise, against the k-space that the recon part asks for."""

    read_step: float  # largest distance of neighbouring samples [1/m]
    reach: Float[np.ndarray, " 3"]  # largest |k| on read, phase and partition [1/m]
    line_step: Float[np.ndarray, " 2"]  # median distance of lines on phase and partition [1/m]; nan where there is one
    center: float  # smallest |k| [1/m]
    te: Float[np.ndarray, " echoes"]  # excitation to the center of k-space, by ECO label [s]
    tr: Float[np.ndarray, " excitations"]  # different values [s]
    ti: Float[np.ndarray, " preparations"]  # likewise
    cycle: Float[np.ndarray, " inversions"]  # from inversion to inversion, different values [s]
    spacing: float  # between echoes, nan where there is one [s]
    moments: Float[np.ndarray, "echoes 3"]  # size of m0 [1/m], m1 [s/m], m2 [s^2/m] at the centers of echoes


def cover(seq: Sequence) -> Coverage | None:
    """Coverage of a sequence; None where it samples nothing or says nothing of its images."""
    table = readout_table(seq)
    if seq.recon is None or len(table) == 0:
        return None
    keep = np.ones(len(table), dtype=bool)
    for name in ("NAV", "NOISE"):
        keep &= np.asarray(table.labels.get(name, np.zeros(len(table)))) == 0
    if not keep.any():
        return None
    physical, time = seq.kspace()
    k = physical @ seq.geometry.rotation
    axes = [0, 1, 2] if seq.recon.matrix[2] > 1 else [0, 1]
    distance = np.linalg.norm(k[:, axes], axis=1)
    owner = np.repeat(np.arange(len(table)), table.count)
    inside, same = keep[owner], (np.diff(owner) == 0) & keep[owner[1:]]
    steps = np.linalg.norm(np.diff(k[:, axes], axis=0), axis=1)[same]
    rows, te, centers = _echoes(table, distance, time, keep)
    return Coverage(
        read_step=float(steps.max(initial=0.0)),
        reach=np.abs(k[inside]).max(axis=0),
        line_step=np.array([_line_step(k[inside, axis], seq.recon.fov[axis]) for axis in (1, 2)]),
        center=float(distance[inside].min()),
        te=te,
        tr=_different(table.tr[keep]),
        ti=_different(table.ti[keep]),
        cycle=_cycles(seq),
        spacing=float(np.median(np.diff(te))) if len(rows) > 1 else np.nan,
        moments=np.array([_moments(seq, float(t)) for t in centers[:MOST_ECHOES]]).reshape(-1, 3),
    )


def _cycles(seq: Sequence) -> Float[np.ndarray, " n"]:
    pulses = pulse_instances(seq)
    return _different(np.diff(pulses.center[seq.rf.use[pulses.event] == Use.INVERSION]))


def _different(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
    return np.unique(np.round(values[np.isfinite(values)], 8))


def _echoes(
    table, distance: np.ndarray, time: np.ndarray, keep: np.ndarray
) -> tuple[Int[np.ndarray, " echoes"], Float[np.ndarray, " echoes"], Float[np.ndarray, " echoes"]]:
    """Readout, echo time and time of the sample nearest to the center of k-space, of each echo."""
    first = np.concatenate([[0], np.cumsum(table.count)])[:-1]
    nearest = np.minimum.reduceat(distance, first)
    echo = np.asarray(table.labels.get("ECO", np.zeros(len(table), dtype=int)))
    rows, te, at = [], [], []
    for number in np.unique(echo[keep]):
        mine = np.flatnonzero((echo == number) & keep & np.isfinite(table.te))
        if len(mine) == 0:
            continue
        row = mine[int(nearest[mine].round(6).argmin())]
        sample = first[row] + int(distance[first[row] : first[row] + table.count[row]].argmin())
        middle = time[first[row] + table.count[row] // 2]
        rows.append(row)
        te.append(table.te[row] + time[sample] - middle)
        at.append(time[sample])
    return np.array(rows, dtype=int), np.array(te), np.array(at)


def _line_step(k: Float[np.ndarray, " n"], fov: float) -> float:
    """Median distance of lines [1/m]."""
    lines = np.unique(np.round(k * fov / SAME_LINE)) * SAME_LINE / fov
    steps = np.diff(lines)
    steps = steps[steps > 2 * SAME_LINE / fov]
    return float(np.median(steps)) if len(steps) else np.nan


def _moments(seq: Sequence, stop: float) -> tuple[float, float, float]:
    """Size of the moments of the effective gradient from the last excitation to a time, about that excitation.

    m0 = k, m1 = T k - ∫k dt, m2 = T² k - 2 ∫t k dt, by parts from mₙ = ∫tⁿ G dt.
    """
    tracks, pulses = gradient_tracks(seq), pulse_instances(seq)
    use = seq.rf.use[pulses.event]
    before = np.flatnonzero((use == Use.EXCITATION) & (pulses.center < stop))
    if len(before) == 0:
        return np.nan, np.nan, np.nan
    start = float(pulses.center[before[-1]])
    offsets = k_offsets(use, total_moment(tracks, pulses.center))
    turns = pulses.center[(use == Use.REFOCUSING) & (pulses.center > start) & (pulses.center < stop)]
    corners = np.concatenate([track.time for track in tracks])
    edges = np.unique(np.concatenate([[start, stop], turns, corners[(corners > start) & (corners < stop)]]))
    left, half = edges[:-1], 0.5 * np.diff(edges)
    once, twice = np.zeros(3), np.zeros(3)
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        t = left + half * (1 + node)
        sign = np.where((len(turns) - np.searchsorted(turns, t)) % 2, -1.0, 1.0)
        k = (total_moment(tracks, t) - offsets[np.searchsorted(pulses.center, t, side="right")]) * sign[:, None]
        once += ((weight * half)[:, None] * k).sum(axis=0)
        twice += ((weight * half * (t - start))[:, None] * k).sum(axis=0)
    end = total_moment(tracks, np.array([stop]))[0] - offsets[np.searchsorted(pulses.center, stop, side="right")]
    length = stop - start
    values = (end, length * end - once, length**2 * end - 2 * twice)
    m0, m1, m2 = (float(np.linalg.norm(value)) for value in values)
    return m0, m1, m2
