"""Phase-graph diagram: which coherence orders a train of pulses makes, and how strong they are."""

from __future__ import annotations

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from mrisim.errors import ConsistencyError, Problem
from mrisim.physics.phase_graph import Triple, mix, state_map, turned
from mrisim.plot import _style as style

_MOST_PULSES = 40
_FAINT = 0.01  # of equilibrium: weaker states are not drawn


@style.styled
def phase_graph(flip: ArrayLike, spacing: ArrayLike, *, phase: ArrayLike = 0.0, title: str = "Phase graph") -> Figure:
    """Draw orders of dephasing over time: transverse states climb by one each `unit` of time, stored ones stay.

    Pulses are instantaneous, nothing relaxes; the strength of a line is that of its state. Where a transverse state
    crosses order zero there is an echo.

    Args:
        flip: (pulses,) flip angles [rad].
        spacing: (pulses,) whole numbers: dephasing after each pulse, in units of the smallest.
        phase: (pulses,) phases [rad].
        title: Title of the figure.

    Returns:
        Figure of order against time, both in units.

    Raises:
        ConsistencyError: lengths that differ, more than 40 pulses, or spacings that are no positive whole numbers.
    """
    angle, steps = np.atleast_1d(np.asarray(flip, dtype=float)), np.atleast_1d(np.asarray(spacing))
    _check(angle, steps)
    turns = np.broadcast_to(np.asarray(phase, dtype=float), angle.shape)
    lines, strengths, stored, kept = _paths(angle, turns, steps.astype(int))
    figure = style.new_figure(3.8)
    axes = figure.add_subplot()
    starts = np.concatenate([[0], np.cumsum(steps)[:-1]])
    for start, turn in zip(starts, np.degrees(angle), strict=True):
        axes.axvline(start, color=style.PALE, linewidth=2.5, zorder=0)
        axes.annotate(
            f"{turn:.4g}°", (start, 1.0), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=7.5
        )
    for segments, sizes, colour, dash in (
        (lines, strengths, style.BLUE, "-"),
        (stored, kept, style.VERMILION, (0, (4, 2))),
    ):
        if not segments:
            continue
        widths = 0.5 + 2.5 * np.asarray(sizes)
        shades = np.clip(0.25 + 0.75 * np.asarray(sizes), 0, 1)
        axes.add_collection(LineCollection(segments, colors=colour, linewidths=widths, alpha=shades, linestyles=[dash]))
    _mark_echoes(axes, lines, strengths)
    axes.axhline(0, color=style.GRAY, linewidth=0.6, zorder=0)
    axes.autoscale()
    axes.set_xlabel("time / dephasing unit")
    axes.set_ylabel("order of dephasing")
    axes.set_title(title, pad=16)
    handles = [
        Line2D([], [], color=style.BLUE, label="transverse F"),
        Line2D([], [], color=style.VERMILION, linestyle="--", label="stored Z"),
        Line2D([], [], color=style.INK, marker="o", linestyle="none", markersize=5, label="echo"),
    ]
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _check(angle: np.ndarray, steps: np.ndarray) -> None:
    problems = []
    if angle.shape != steps.shape or angle.ndim != 1:
        problems.append(Problem(f"must have the shape of flip {angle.shape}, but has {steps.shape}", path="spacing"))
    if len(angle) > _MOST_PULSES:
        problems.append(Problem(f"must have at most {_MOST_PULSES} pulses, but has {len(angle)}", path="flip"))
    if (steps < 1).any() or (steps != np.round(steps)).any():
        problems.append(Problem("must be positive whole numbers, but is not", "Count in the smallest", path="spacing"))
    if problems:
        raise ConsistencyError(problems)


def _paths(angle: np.ndarray, phase: np.ndarray, steps: np.ndarray):
    """Segments (start, stop) of transverse and stored states with their strengths."""
    size = int(steps.sum()) + 1
    f, g, z = (np.zeros((size, 1), complex) for _ in range(3))  # order q of F, and of conj F(-q); of Z
    z[0] = 1.0
    lines, strengths, stored, kept, time = [], [], [], [], 0
    for flip, turn, step in zip(angle, phase, steps, strict=True):
        f, g, z = _pulse(flip, turn, (f, g, z))
        for order in range(size):
            pairs = [(f, order, order + step), *([(g, -order, step - order)] if order else [])]
            for states, start, stop in pairs:
                if abs(states[order, 0]) > _FAINT:
                    lines.append([(time, start), (time + step, stop)])
                    strengths.append(abs(states[order, 0]))
            if order and abs(z[order, 0]) > _FAINT:
                for sign in (1, -1):
                    stored.append([(time, sign * order), (time + step, sign * order)])
                    kept.append(abs(z[order, 0]))
        f, g = _shift(f, g, int(step))
        time += step
    return lines, strengths, stored, kept


def _pulse(flip: float, phase: float, states: Triple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    cosine, sine = np.cos(flip), np.sin(flip)
    about_x = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine], [0, 0, 0]])[:, :, None]  # z goes to +y
    pulse = turned(state_map(about_x), np.exp(-1j * phase), np.exp(1j * phase))
    f, g, z = mix(pulse, states)
    return np.asarray(f), np.asarray(g), np.asarray(z)


def _shift(f: np.ndarray, g: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """F(q) becomes F(q + step), on both sides of zero."""
    size = len(f)
    whole = np.concatenate([np.conj(g[:0:-1]), f])  # orders 1 - size to size - 1
    moved = np.concatenate([np.zeros((step, 1)), whole[:-step]])
    return moved[size - 1 :], np.conj(moved[size - 1 :: -1])


def _mark_echoes(axes, lines: list, strengths: list) -> None:
    """Dots where transverse states cross zero from below, as strong as they are together."""
    found: dict[float, float] = {}
    for ((begin, low), (_, high)), size in zip(lines, strengths, strict=True):
        if low < 0 <= high:
            found[begin - low] = max(found.get(begin - low, 0.0), size)
    axes.plot(list(found), [0] * len(found), "o", color=style.INK, markersize=5, zorder=4)
