"""k over time beneath a sequence diagram, and the window of one excitation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes

from mrisim._types import Float
from mrisim.errors import ConsistencyError, Problem
from mrisim.events.blocks import Sequence, Use
from mrisim.events.moments import gradient_tracks, k_offsets, pulse_instances, readout_instances, total_moment
from mrisim.plot import _style as style

_POINTS = 4000
_COLOURS = (style.GREEN, style.ORANGE, style.VERMILION)


def excitation_window(
    seq: Sequence, index: int, window: tuple[float | str, float | str] | None = None
) -> tuple[float, float]:
    """From the block of one excitation to that of the next [s].

    Example:
        >>> from mrisim.sequence import load_sequence
        >>> seq = load_sequence("spin_echo", TR="500 ms", dummies=0)
        >>> [round(edge, 9) for edge in excitation_window(seq, 1)]
        [0.5, 1.0]
    """
    pulses = pulse_instances(seq)
    starts = seq.starts[pulses.block[seq.rf.use[pulses.event] == Use.EXCITATION]]
    problems = []
    if window is not None:
        problems.append(Problem("must not be given together with a window", "Give one of them", path="tr"))
    if not 0 <= index < len(starts):
        problems.append(Problem(f"must be from 0 to {len(starts) - 1}, but is {index}", path="tr"))
    if problems:
        raise ConsistencyError(problems)
    return float(starts[index]), float(starts[index + 1]) if index + 1 < len(starts) else seq.duration


def k_at(seq: Sequence, time: Float[np.ndarray, " times"]) -> Float[np.ndarray, "times 3"]:
    """k on logical axes at any times: zero at an excitation, mirrored by a refocusing pulse [1/m]."""
    tracks, pulses = gradient_tracks(seq), pulse_instances(seq)
    offsets = k_offsets(seq.rf.use[pulses.event], total_moment(tracks, pulses.center))
    after = np.searchsorted(pulses.center, time, side="right")
    return (total_moment(tracks, time) - offsets[after]) @ seq.geometry.rotation


def draw_moments(
    axes: Axes,
    seq: Sequence,
    window: Float[np.ndarray, " 2"],
    place: Callable[[np.ndarray], np.ndarray],
    origin: float,
) -> None:
    """Draw k of a window; its range is that of all readouts, so that spoilers do not flatten them."""
    centers = pulse_instances(seq).center
    inside = centers[(centers > window[0]) & (centers < window[1])]
    time = np.unique(np.concatenate([np.linspace(window[0], window[1], _POINTS), inside - 1e-9, inside]))
    k = k_at(seq, time)
    for axis in range(3):
        axes.plot(place(time - origin), k[:, axis], color=_COLOURS[axis], linewidth=1.1, label=f"$k_{'xyz'[axis]}$")
    readouts = readout_instances(seq)
    stop = readouts.start + readouts.count * seq.adc.dwell[readouts.event]
    sampled = k_at(seq, np.concatenate([readouts.start, stop]))
    reach = float(np.abs(sampled).max(initial=0.0)) or float(np.abs(k).max(initial=0.0)) or 1.0
    axes.set_ylim(-1.25 * reach, 1.25 * reach)
    axes.legend(loc="upper right", ncols=3, frameon=True, framealpha=0.8, edgecolor="none", borderpad=0.2)
