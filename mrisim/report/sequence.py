"""A sequence, and the magnetisation of some tissues under it, as a page explores them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mrisim._types import Float
from mrisim.data import Phantom
from mrisim.events.blocks import AXES, BlockTable, Sequence
from mrisim.events.moments import gradient_tracks, k_offsets, pulse_instances, total_moment
from mrisim.report.packed import pack

MOST_BLOCKS = 20_000  # that a page holds; what follows is left out and said so
_MOST_RF_POINTS = 200
_MOST_TIMES = 1500
_POINTS = 64  # isochromats of a voxel
_FULL_SCALE = 1.25  # magnetisation that the largest integer stands for


@dataclass(frozen=True)
class Sample:
    """A tissue to follow."""

    name: str
    t1: float  # [s]
    t2: float  # [s]
    df: float = 0.0  # [Hz]


def describe(
    seq: Sequence, window: tuple[float, float], samples: tuple[Sample, ...] = (), voxel: tuple[float, ...] = (0, 0, 0)
) -> dict[str, Any]:
    """Events, k-space and magnetisation of a sequence for a page.

    Args:
        seq: Resolved sequence.
        window: What to show first, and where to follow the magnetisation [s].
        samples: Tissues, each filling a voxel at the center of the geometry.
        voxel: Its sides along read, phase and slice [m].

    Returns:
        What `sequence.js` reads.
    """
    part = _first_blocks(seq)
    stop = min(window[1], part.duration)
    found = {} if not samples or window[0] >= stop else _follow(part, (window[0], stop), samples, voxel)
    return {
        "name": seq.name,
        "total": seq.duration,
        "shown": part.duration,
        "view": [window[0], _busy_until(part, window[0], stop)],
        "gamma": seq.system.gamma,
        **_blocks(part),
        **_events(part),
        **_kspace(part),
        "magnetisation": found,
    }


def _first_blocks(seq: Sequence) -> Sequence:
    return seq if len(seq.blocks) <= MOST_BLOCKS else _cut(seq, MOST_BLOCKS)


def _busy_until(seq: Sequence, start: float, stop: float) -> float:
    """End of the last block with an event in a window, with a margin, so that a long last delay is left out [s]."""
    active = np.any([getattr(seq.blocks, name) >= 0 for name in ("rf", "adc", *AXES)], axis=0)
    ends = (seq.starts + seq.blocks.duration)[active & (seq.starts >= start - 1e-12) & (seq.starts < stop - 1e-12)]
    return stop if len(ends) == 0 else float(min(stop, start + 1.1 * (ends[-1] - start)))


def _blocks(seq: Sequence) -> dict[str, Any]:
    """Columns of the table of blocks; events as rows of their own tables, of which a page holds those in use."""
    durations, index = np.unique(seq.blocks.duration, return_inverse=True)
    columns = {name: pack(getattr(seq.blocks, name), "i16") for name in ("rf", *AXES, "adc", "name", "rotation")}
    return {
        "blocks": {**columns, "duration": pack(index, "u16")},
        "durations": durations.tolist(),
        "names": list(seq.block_names),
        "rotations": seq.rotations.tolist(),
    }


def _events(seq: Sequence) -> dict[str, Any]:
    rf, adc = seq.rf, seq.adc
    shapes = [{"times": pack(shape.times, "f32"), "values": pack(shape.values, "f32")} for shape in seq.gradient_shapes]
    return {
        "rf": {
            "shape": rf.shape.tolist(),
            "amplitude": pack(rf.amplitude / seq.system.gamma * 1e6, "f32"),
            "phase": pack(np.degrees(np.angle(np.exp(1j * rf.phase))), "f32"),
            "frequency": pack(rf.frequency, "f32"),
            "delay": pack(rf.delay, "f32"),
            "flip": pack(np.degrees(rf.flip), "f32"),
        },
        "rfShapes": [_envelope(shape.edges, shape.samples, shape.center) for shape in seq.rf_shapes],
        "gradient": {
            "shape": seq.gradients.shape.tolist(),
            "amplitude": pack(seq.gradients.amplitude / seq.system.gamma * 1e3, "f32"),
        },
        "gradientShapes": shapes,
        "adc": {name: getattr(adc, name).tolist() for name in ("samples", "dwell", "delay")},
    }


def _envelope(edges: np.ndarray, samples: np.ndarray, center: float) -> dict[str, Any]:
    """Magnitude of a pulse at the middle of its intervals, thinned."""
    middle = 0.5 * (edges[1:] + edges[:-1])
    kept = np.unique(np.linspace(0, len(middle) - 1, _MOST_RF_POINTS).astype(int))
    times = np.concatenate([edges[:1], middle[kept], edges[-1:]])
    size = np.abs(samples)[kept]
    ends = (size[0], size[-1]) if len(samples) == 1 else (0.0, 0.0)
    return {
        "times": pack(times, "f32"),
        "values": pack(np.concatenate([[ends[0]], size, [ends[1]]]), "f32"),
        "center": float(center),
    }


def _kspace(seq: Sequence) -> dict[str, Any]:
    """k on logical axes at the start of each block, and right after the center of each pulse [1/m]."""
    tracks, pulses = gradient_tracks(seq), pulse_instances(seq)
    at_center = total_moment(tracks, pulses.center)
    offsets = k_offsets(seq.rf.use[pulses.event], at_center)
    before = np.searchsorted(pulses.center, seq.starts, side="right")
    start = total_moment(tracks, seq.starts) - offsets[before]
    axes = seq.geometry.rotation
    return {"kStart": pack(start @ axes, "f32"), "kAfter": pack((at_center - offsets[1:]) @ axes, "f32")}


def _follow(
    seq: Sequence, window: tuple[float, float], samples: tuple[Sample, ...], voxel: tuple[float, ...]
) -> dict[str, Any]:
    """Mean magnetisation of voxels, each full of one tissue."""
    from mrisim.simulate import trace

    times = follow_times(seq, window)
    spread = _spread() * np.asarray(voxel) @ seq.geometry.rotation.T + seq.geometry.center
    columns = {name: np.repeat([getattr(sample, name) for sample in samples], _POINTS) for name in ("t1", "t2", "df")}
    phantom = Phantom.from_arrays(position=np.tile(spread, (len(samples), 1)), **columns)
    last = int(np.searchsorted(seq.starts, window[1] - 1e-12))
    head = seq if last >= len(seq.blocks) else _cut(seq, last)
    states = trace(head, phantom, np.minimum(times, head.duration))
    mean = states.reshape(len(times), len(samples), _POINTS, 3).mean(axis=2)
    packed = np.clip(np.round(mean / _FULL_SCALE * 32767), -32767, 32767)
    return {
        "times": pack(times - window[0], "f32"),
        "start": window[0],
        "scale": _FULL_SCALE / 32767,
        "tissues": [
            {"name": sample.name, "t1": sample.t1, "t2": sample.t2, "values": pack(packed[:, i], "i16")}
            for i, sample in enumerate(samples)
        ],
    }


def _cut(seq: Sequence, stop: int) -> Sequence:
    names = ("rf", "gx", "gy", "gz", "adc", "duration", "rotation", "name")
    columns = {name: getattr(seq.blocks, name)[:stop] for name in names}
    labels = {name: values[:stop] for name, values in seq.blocks.labels.items()}
    return replace(seq, blocks=BlockTable(labels=labels, **columns))


def follow_times(seq: Sequence, window: tuple[float, float]) -> Float[np.ndarray, " times"]:
    """Times within a window [s]: the same number in each block, so that long delays take none from the rest."""
    ends = seq.starts + seq.blocks.duration
    rows = np.flatnonzero((ends > window[0]) & (seq.starts < window[1]) & (seq.blocks.duration > 0))
    each = int(np.clip(_MOST_TIMES // max(len(rows), 1), 1, 40))
    share = np.arange(each) / each
    times = (seq.starts[rows, None] + seq.blocks.duration[rows, None] * share).ravel()
    times = times[(times >= window[0]) & (times <= window[1])]
    if len(times) > _MOST_TIMES:
        times = times[np.linspace(0, len(times) - 1, _MOST_TIMES).astype(int)]
    return np.unique(np.append(times, window[1]))


def _spread() -> Float[np.ndarray, "points 3"]:
    """Places in a unit cube, evenly spread. Source: Roberts, the R3 sequence of the generalised golden ratio (2018)."""
    ratio = 1.2207440846057596
    steps = ratio ** -np.arange(1.0, 4.0)
    return (0.5 + np.arange(_POINTS)[:, None] * steps) % 1.0 - 0.5
