"""k and the phase of spins over time beneath a sequence diagram, and the window of one excitation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from mrisim._types import Float
from mrisim.errors import ConsistencyError, Problem
from mrisim.events.blocks import Sequence, Use
from mrisim.events.moments import gradient_tracks, k_offsets, pulse_instances, readout_instances, total_moment
from mrisim.plot import _style as style

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


def draw_moments(axes: Axes, seq: Sequence, time: Float[np.ndarray, " times"], x: Float[np.ndarray, " times"]) -> None:
    """Draw k at rising times over places `x`, in the range of all readouts, so that spoilers do not flatten them."""
    k = k_at(seq, time)
    for axis in range(3):
        axes.plot(x, k[:, axis], color=_COLOURS[axis], linewidth=1.1, label=f"$k_{'xyz'[axis]}$")
    sampled = k_at(seq, _readout_ends(seq))
    _finish(axes, float(np.abs(sampled).max(initial=0.0)) or float(np.abs(k).max(initial=0.0)))


def draw_phases(
    axes: Axes,
    seq: Sequence,
    time: Float[np.ndarray, " times"],
    x: Float[np.ndarray, " times"],
    spins: Mapping[str, tuple[float, ...]],
) -> None:
    """Draw the phase of spins in turns: -(k·r + f t), with t that pulses reset and mirror as they do k."""
    ends, turned = _readout_ends(seq), _before_refocusing(seq, time)
    k, since = k_at(seq, time), since_excitation(seq, time)
    k_read, since_read = k_at(seq, ends), since_excitation(seq, ends)
    reach = 0.0
    for index, (name, spin) in enumerate(spins.items()):
        place, shift = np.asarray(spin[:3]), spin[3] if len(spin) > 3 else 0.0
        axes.plot(
            x, -(k @ place + shift * since), color=style.CYCLE[index % len(style.CYCLE)], linewidth=1.1, label=name
        )
        read = np.abs(k_read @ place + shift * since_read).max(initial=0.0)
        reach = max(reach, float(read), float(np.abs(shift * turned).max(initial=0.0)))
    _finish(axes, reach)


def since_excitation(seq: Sequence, time: Float[np.ndarray, " times"]) -> Float[np.ndarray, " times"]:
    """Time that a constant offset has acted: zero at an excitation, mirrored by a refocusing pulse [s].

    Example:
        >>> from mrisim.sequence import load_sequence
        >>> seq = load_sequence("spin_echo", TE="20 ms", dummies=0)
        >>> center = pulse_instances(seq).center[0]
        >>> since_excitation(seq, np.array([center + 5e-3, center + 20e-3])).round(9).tolist()
        [0.005, 0.0]
    """
    pulses = pulse_instances(seq)
    offsets = k_offsets(seq.rf.use[pulses.event], np.repeat(pulses.center[:, None], 3, axis=1))[:, 0]
    return time - offsets[np.searchsorted(pulses.center, time, side="right")]


def times_of(seq: Sequence, time: Float[np.ndarray, " times"]) -> Float[np.ndarray, " more"]:
    """Rising times with those right before and at the center of each pulse between them [s]."""
    centers = pulse_instances(seq).center
    inside = centers[(centers > time[0]) & (centers < time[-1])]
    return np.unique(np.concatenate([time, inside - 1e-9, inside]))


def _readout_ends(seq: Sequence) -> Float[np.ndarray, " times"]:
    readouts = readout_instances(seq)
    return np.concatenate([readouts.start, readouts.start + readouts.count * seq.adc.dwell[readouts.event]])


def _before_refocusing(seq: Sequence, time: Float[np.ndarray, " times"]) -> Float[np.ndarray, " pulses"]:
    """`since_excitation` right before the refocusing pulses of a window [s]."""
    pulses = pulse_instances(seq)
    centers = pulses.center[seq.rf.use[pulses.event] == Use.REFOCUSING]
    return since_excitation(seq, centers[(centers > time[0]) & (centers < time[-1])] - 1e-9)


def _finish(axes: Axes, reach: float) -> None:
    axes.set_ylim(-1.25 * (reach or 1.0), 1.25 * (reach or 1.0))
    axes.yaxis.set_major_locator(MaxNLocator(3, symmetric=True))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.0, borderpad=0.1)
