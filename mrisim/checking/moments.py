"""Gradient moments at the centers of echoes."""

from __future__ import annotations

import numpy as np

from mrisim.events.blocks import Sequence
from mrisim.events.moments import gradient_tracks, k_offsets, pulse_instances, total_moment
from mrisim.events.tables import Use

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(3)  # exact to the fifth power; t k has the third


def echo_moments(seq: Sequence, stop: float) -> tuple[float, float, float]:
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
