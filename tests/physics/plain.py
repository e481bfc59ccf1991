"""A Bloch simulator of a page, without anything clever: one small rotation after the other, in the laboratory's time.

It knows event blocks and nothing of the normal form, so it is a second opinion on lowering, propagators and encoding.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from mrisim.data import Phantom
from mrisim.events.blocks import AXES, NONE, Sequence, Use


def plain_signal(seq: Sequence, phantom: Phantom, step: float = 2e-6, ideal_spoiling: bool = False) -> np.ndarray:
    """Samples of a sequence, one row per spin, weight and density included; no coil."""
    m = np.zeros((phantom.n_spins, 3))
    m[:, 2] = 1.0
    samples = []
    for block in range(len(seq.blocks)):
        m, emitted = _block(seq, block, phantom, m, step, ideal_spoiling)
        samples.append(emitted)
    return np.concatenate(samples, axis=1) * (phantom.weight * phantom.pd)[:, None]


def _block(seq: Sequence, block: int, phantom: Phantom, m: np.ndarray, step: float, spoil: bool):
    duration = seq.blocks.duration[block]
    directions = seq.axis_directions()[block]
    rf, adc = seq.blocks.rf[block], seq.blocks.adc[block]
    times = [np.array([0.0, duration])]
    gradients = []
    for axis, name in enumerate(AXES):
        event = getattr(seq.blocks, name)[block]
        if event != NONE:
            shape = seq.gradient_shapes[seq.gradients.shape[event]]
            gradients.append((directions[:, axis], seq.gradients.amplitude[event], shape))
            times.append(shape.times)
    sampled = np.zeros(0)
    if adc != NONE:
        sampled = seq.adc.delay[adc] + (np.arange(seq.adc.samples[adc]) + 0.5) * seq.adc.dwell[adc]
        times.append(sampled)
    if rf != NONE:
        edges = seq.rf.delay[rf] + seq.rf_shapes[seq.rf.shape[rf]].edges
        fine = np.arange(edges[0], edges[-1], step)
        times += [edges, fine]
        if spoil and seq.rf.use[rf] == Use.EXCITATION:
            times.append(edges[:1])
    grid = np.unique(np.round(np.concatenate(times), 12))
    grid = grid[(grid >= -1e-12) & (grid <= duration + 1e-12)]
    emitted = np.zeros((len(m), len(sampled)), complex)
    done = 0
    for start, stop in pairwise(grid):
        if spoil and rf != NONE and seq.rf.use[rf] == Use.EXCITATION and abs(start - edges[0]) < 1e-11:
            m = m * [0.0, 0.0, 1.0]
        m = _interval(seq, rf, gradients, phantom, m, start, stop)
        while done < len(sampled) and sampled[done] <= stop + 1e-11:
            emitted[:, done] = m[:, 0] + 1j * m[:, 1]
            done += 1
    if adc != NONE:
        emitted = emitted * _receiver(seq, adc, sampled)
    return m, emitted


def _receiver(seq: Sequence, adc: int, sampled: np.ndarray) -> np.ndarray:
    phase = seq.adc.phase[adc] - 2 * np.pi * seq.adc.frequency[adc] * (sampled - seq.adc.delay[adc])
    if seq.adc.phase_shape[adc] != NONE:
        phase = phase + seq.phase_shapes[seq.adc.phase_shape[adc]]
    return np.exp(-1j * phase)


def _interval(seq, rf, gradients, phantom: Phantom, m: np.ndarray, start: float, stop: float) -> np.ndarray:
    """Half of the relaxation, the rotation about the mean field, the other half."""
    dt, middle = stop - start, 0.5 * (start + stop)
    field = np.zeros((len(m), 3))
    field[:, 2] = phantom.df
    for direction, amplitude, shape in gradients:
        value = amplitude * np.interp(middle, shape.times, shape.values, left=0.0, right=0.0)
        field[:, 2] += value * (phantom.position @ direction)
    if rf != NONE:
        shape = seq.rf_shapes[seq.rf.shape[rf]]
        t = middle - seq.rf.delay[rf]
        if 0 < t < shape.duration:
            sample = shape.samples[np.searchsorted(shape.edges, t) - 1]
            turn = seq.rf.phase[rf] - 2 * np.pi * seq.rf.frequency[rf] * (t - shape.center)
            b1 = seq.rf.amplitude[rf] * sample * np.exp(1j * turn)
            field[:, 0], field[:, 1] = phantom.b1 * b1.real, phantom.b1 * b1.imag
    m = _relaxed(m, phantom, dt / 2)
    return _relaxed(_rotated(m, field * dt), phantom, dt / 2)


def _relaxed(m: np.ndarray, phantom: Phantom, dt: float) -> np.ndarray:
    e1, e2 = np.exp(-dt / phantom.t1), np.exp(-dt / phantom.t2)
    return np.stack([m[:, 0] * e2, m[:, 1] * e2, 1 + (m[:, 2] - 1) * e1], axis=1)


def _rotated(m: np.ndarray, cycles: np.ndarray) -> np.ndarray:
    """Rodrigues' formula; left-handed, by 2 pi cycles."""
    length = np.linalg.norm(cycles, axis=1, keepdims=True)
    axis = np.divide(cycles, length, out=np.zeros_like(cycles), where=length > 0)
    angle = -2 * np.pi * length
    along = axis * np.sum(axis * m, axis=1, keepdims=True)
    return along + np.cos(angle) * (m - along) + np.sin(angle) * np.cross(axis, m)
