"""Sequence diagram, drawn from event corners so that 100,000 blocks cost no more than a few."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from mrisim._types import Bool, Float
from mrisim.data import Geometry
from mrisim.errors import ConsistencyError, Problem
from mrisim.events.blocks import AXES, NONE, BlockTable, Sequence, Use
from mrisim.events.moments import gradient_tracks, pulse_instances, readout_instances
from mrisim.plot import _style as style
from mrisim.plot._moments import draw_moments, draw_phases, excitation_window, times_of
from mrisim.units import TIME, parse

_ROWS = ("RF", "phase", "Gx", "Gy", "Gz", "ADC")
_UNITS = ("µT", "deg", "mT/m", "mT/m", "mT/m", "")
_HEIGHTS = (1.25, 0.7, 1.0, 1.0, 1.0, 0.4)
_COLOURS = (style.BLUE, style.BLUE, style.GREEN, style.ORANGE, style.VERMILION, style.INK)
_GAP_SHARE = 0.6  # a pure delay longer than this share of the busy time is drawn broken
_GAP_WIDTH = 0.07  # of the busy time
_MAX_CORNERS = 20_000  # of a line; beyond, the envelope per pixel column is drawn
_MOST_EDGES = 60  # of blocks that are drawn
_MAX_PULSES = 400  # drawn with their envelopes; beyond, as bars
_LETTER = 0.0085  # width of a letter of a block's name, as a share of the picture
_COLUMNS = 4000  # of a dense picture
_MOMENTS = 4000  # times at which k and phases are drawn
_PHASE_FLOOR = 0.02  # of the peak: below, the phase of a pulse is not drawn


@dataclass(frozen=True, kw_only=True)
class _Window:
    """Blocks to draw, as a sequence of their own, and how true time becomes drawn time."""

    seq: Sequence
    start: float  # true time of the first block [s]
    origin: float  # true time that is called zero [s]
    true: Float[np.ndarray, " knots"]  # [s]
    drawn: Float[np.ndarray, " knots"]  # [s]
    gaps: Float[np.ndarray, "gaps 2"]  # true start and stop of the broken delays [s]

    @property
    def width(self) -> float:
        """Drawn width [ms]."""
        return float(self.drawn[-1] - self.drawn[0]) * 1e3

    def x(self, local: Float[np.ndarray, " times"]) -> Float[np.ndarray, " times"]:
        """Drawn time [ms] of a time that counts from the first block [s]."""
        return np.interp(np.asarray(local) + self.start, self.true, self.drawn) * 1e3


@style.styled
def sequence(
    seq: Sequence,
    window: tuple[float | str, float | str] | None = None,
    *,
    tr: int | None = None,
    kspace: bool = False,
    spins: Mapping[str, tuple[float, ...]] | None = None,
    names: bool = True,
    title: str | None = None,
) -> Figure:
    """Draw RF magnitude and phase, the three logical gradients and the ADC over time.

    Args:
        seq: Resolved sequence.
        window: First and last time [s] or text with unit. By default the first repetition with an ADC event (two where
            they are short), with long pure delays drawn broken.
        tr: Number of the excitation, from 0, from which on to draw up to the next, in place of a window.
        kspace: Draw k along the three logical axes beneath: zero at an excitation, mirrored by a refocusing pulse.
        spins: Name → place along read, phase and slice [m], and off-resonance [Hz] where there is any: their phase is
            drawn beneath, in turns since the excitation.
        names: Write block names along the top.
        title: Instead of the name of the sequence.

    Returns:
        Figure with six rows: µT, degrees, 3 × mT/m, ADC; and 1/m, turns.

    Raises:
        ConsistencyError: the window holds no block, there is no such excitation, or window and tr together.
    """
    view = _view(seq, window if tr is None else excitation_window(seq, tr, window), whole=tr is None)
    beneath = [("k", "1/m")] * kspace + [("phase", "turns")] * bool(spins)
    figure = Figure(figsize=(style.PAGE_WIDTH, 4.4 + len(beneath)))
    heights = (*_HEIGHTS, *[1.6] * len(beneath))
    rows = figure.subplots(len(heights), 1, sharex=True, gridspec_kw={"height_ratios": heights})
    for axes, (name, unit) in zip(rows, [*zip(_ROWS, _UNITS, strict=True), *beneath], strict=True):
        _prepare(axes, name, unit, view)
    _draw_pulses(rows[0], rows[1], view)
    _draw_gradients(rows[2:5], view)
    _draw_adc(rows[5], view)
    time = times_of(seq, np.interp(np.linspace(view.drawn[0], view.drawn[-1], _MOMENTS), view.drawn, view.true))
    if kspace:
        draw_moments(rows[6], seq, time, view.x(time - view.start))
    if spins:
        draw_phases(rows[-1], seq, time, view.x(time - view.start), spins)
    _time_axis(rows[-1], view)
    upright = names and _write_names(rows[0], view)
    _mark_gaps(rows, view)
    top, bottom = (0.8 if upright else 0.44), 0.46  # [inch]
    height = figure.get_figheight()
    right = 0.97 if not beneath else 0.93 if not spins else 0.84
    figure.subplots_adjust(left=0.125, right=right, bottom=bottom / height, top=1 - top / height, hspace=0.22)
    figure.suptitle(title or seq.name, x=0.01, y=1 - 0.07 / height, ha="left", va="top", fontweight="bold", fontsize=10)
    return figure


def repetition(seq: Sequence) -> tuple[float, float]:
    """Start and stop of the repetition that `sequence` draws unless it is told another window [s].

    Example:
        >>> from mrisim.sequence import load_sequence
        >>> repetition(load_sequence("spin_echo", TR="500 ms", dummies=3))
        (1.5, 2.0)
    """
    start, stop, _ = _first_repetition(seq)
    return start, stop


def _view(seq: Sequence, window: tuple[float | str, float | str] | None, whole: bool) -> _Window:
    """What to draw; `whole` draws a window as it is, else its long delays are broken and it counts from its start."""
    if window is None:
        start, stop, origin = _first_repetition(seq)
    else:
        start, stop = (parse(edge, TIME) for edge in window)
        origin = 0.0 if whole else start
    ends = seq.starts + seq.blocks.duration
    rows = np.flatnonzero((ends > start + 1e-12) & (seq.starts < stop - 1e-12))
    if len(rows) == 0:
        raise ConsistencyError(
            Problem(
                f"must overlap the sequence of {seq.duration:.6g} s, but is {start:g} to {stop:g} s",
                path="window",
            )
        )
    part = _slice(seq, rows[0], rows[-1] + 1)
    begin = float(seq.starts[rows[0]])
    edges = begin + np.concatenate([[0.0], np.cumsum(part.blocks.duration)])
    broken = _broken_delays(part) if window is None or not whole else np.zeros(len(part.blocks), dtype=bool)
    widths = part.blocks.duration.copy()
    widths[broken] = _GAP_WIDTH * widths[~broken].sum()
    drawn = np.concatenate([[0.0], np.cumsum(widths)])
    gaps = np.stack([edges[:-1][broken], edges[1:][broken]], axis=-1)
    return _Window(seq=part, start=begin, origin=origin, true=edges, drawn=drawn, gaps=gaps)


def _slice(seq: Sequence, first: int, stop: int) -> Sequence:
    blocks = seq.blocks
    columns = {
        name: getattr(blocks, name)[first:stop]
        for name in ("rf", "gx", "gy", "gz", "adc", "duration", "rotation", "name")
    }
    labels = {name: values[first:stop] for name, values in blocks.labels.items()}
    return replace(seq, blocks=BlockTable(labels=labels, **columns))


def _first_repetition(seq: Sequence) -> tuple[float, float, float]:
    """Start, stop and origin of the first repetition with an ADC event, preparation included."""
    pulses, readouts = pulse_instances(seq), readout_instances(seq)
    uses = seq.rf.use[pulses.event]
    excitations = np.flatnonzero(uses == Use.EXCITATION)
    if len(excitations) == 0:
        return 0.0, min(seq.duration, _busy_end(seq)), 0.0
    sampled = readouts.start[0] if len(readouts.start) else np.inf
    chosen = max(int(np.searchsorted(pulses.center[excitations], sampled)) - 1, 0)
    heads = [_head(uses, excitations, i) for i in range(len(excitations))] if len(excitations) < 64 else None
    first = heads[chosen] if heads else _head(uses, excitations, chosen)
    start = float(seq.starts[pulses.block[first]])
    stop = seq.duration
    for ahead in (1, 2):
        if chosen + ahead >= len(excitations):
            break
        following = _head(uses, excitations, chosen + ahead)
        end = float(seq.starts[pulses.block[following]])
        stop = end
        if end - start > 40e-3 or len(np.flatnonzero((readouts.start >= start) & (readouts.start < end))) > 8:
            break
    else:
        stop = min(stop, seq.duration)
    return start, stop, start


def _head(uses: np.ndarray, excitations: np.ndarray, index: int) -> int:
    """First pulse of a repetition: preparations that precede its excitation belong to it."""
    pulse = int(excitations[index])
    while pulse > 0 and uses[pulse - 1] in (Use.INVERSION, Use.SATURATION, Use.PREPARATION):
        pulse -= 1
    return pulse


def _busy_end(seq: Sequence) -> float:
    busy = np.flatnonzero(~_idle(seq.blocks))
    return float((seq.starts + seq.blocks.duration)[busy[min(len(busy) - 1, 40)]]) if len(busy) else seq.duration


def _idle(blocks: BlockTable) -> Bool[np.ndarray, " blocks"]:
    return np.all([getattr(blocks, name) == NONE for name in ("rf", "adc", *AXES)], axis=0)


def _broken_delays(part: Sequence) -> Bool[np.ndarray, " blocks"]:
    idle = _idle(part.blocks)
    busy_time = part.blocks.duration[~idle].sum()
    if busy_time == 0:
        return np.zeros(len(idle), dtype=bool)
    return idle & (part.blocks.duration > _GAP_SHARE * busy_time)


def _prepare(axes: Axes, name: str, unit: str, view: _Window) -> None:
    axes.axhline(0.0, color=style.GRAY, linewidth=0.5, zorder=1)
    axes.set_ylabel(f"{name}\n{unit}" if unit else name, rotation=0, ha="right", va="center", labelpad=6)
    axes.yaxis.set_label_coords(-0.075, 0.5)
    axes.set_xlim(view.drawn[0] * 1e3, view.drawn[-1] * 1e3)
    axes.spines["bottom"].set_visible(False)
    axes.xaxis.set_visible(False)
    if len(view.true) <= _MOST_EDGES:
        for edge in view.drawn[1:-1]:
            axes.axvline(edge * 1e3, color=style.PALE, linewidth=0.6, zorder=0)


def _draw_pulses(magnitude: Axes, phase: Axes, view: _Window) -> None:
    seq, pulses = view.seq, pulse_instances(view.seq)
    peaks = seq.rf.amplitude / seq.system.gamma * 1e6
    if len(pulses.start) > _MAX_PULSES:
        _draw_dense_pulses(magnitude, phase, view)
    else:
        outlines = [_pulse_outline(view, *row) for row in zip(pulses.start, pulses.event, strict=True)]
        turns = [turn for row in zip(pulses.start, pulses.event, strict=True) for turn in _phase_lines(view, *row)]
        fill = PolyCollection(outlines, facecolors=to_rgba(style.BLUE, 0.18), edgecolors=style.BLUE, linewidths=1.0)
        magnitude.add_collection(fill)
        phase.add_collection(LineCollection(turns, colors=style.BLUE, linewidths=1.1))
    magnitude.set_ylim(0, 1.12 * float(peaks[pulses.event].max(initial=0.0)) or 1.0)
    magnitude.yaxis.set_major_locator(MaxNLocator(3))
    phase.set_ylim(-215, 215)
    phase.set_yticks([-180, 0, 180])


def _draw_dense_pulses(magnitude: Axes, phase: Axes, view: _Window) -> None:
    """One bar and one point per pixel column, where pulses are far narrower than a column."""
    seq, pulses = view.seq, pulse_instances(view.seq)
    x = view.x(pulses.center)
    columns = np.unique((x / view.width * _COLUMNS).astype(int), return_index=True)[1]
    events = pulses.event[columns]
    bars = seq.rf.amplitude[events] / seq.system.gamma * 1e6
    magnitude.vlines(x[columns], 0.0, bars, colors=style.BLUE, linewidth=0.5)
    degrees = np.degrees(np.angle(np.exp(1j * seq.rf.phase[events])))
    phase.plot(x[columns], degrees, ".", color=style.BLUE, markersize=1.5)


def _pulse_outline(view: _Window, start: float, event: int) -> Float[np.ndarray, "points 2"]:
    shape = view.seq.rf_shapes[view.seq.rf.shape[event]]
    amplitude = np.abs(shape.samples) * view.seq.rf.amplitude[event] / view.seq.system.gamma * 1e6
    x = view.x(start + np.repeat(shape.edges, 2))
    return np.stack([x, np.concatenate([[0.0], np.repeat(amplitude, 2), [0.0]])], axis=-1)


def _phase_lines(view: _Window, start: float, event: int) -> list[np.ndarray]:
    """Phase of a pulse in (-180, 180] degrees, split where it jumps and dropped where the field is nearly zero."""
    seq, shape = view.seq, view.seq.rf_shapes[view.seq.rf.shape[event]]
    middle = 0.5 * (shape.edges[1:] + shape.edges[:-1])
    turn = seq.rf.phase[event] - 2 * np.pi * seq.rf.frequency[event] * (middle - shape.center)
    strong = np.abs(shape.samples) > _PHASE_FLOOR
    angle = np.angle(shape.samples * np.exp(1j * turn) * np.exp(1e-9j))
    degrees = np.degrees(angle)
    if len(degrees) == 1:
        return [np.stack([view.x(start + shape.edges), np.repeat(degrees, 2)], axis=-1)]
    points = np.stack([view.x(start + middle), degrees], axis=-1)
    breaks = np.flatnonzero((np.abs(np.diff(degrees)) > 90) | (np.diff(strong.astype(int)) != 0)) + 1
    pieces = zip(np.split(points, breaks), np.split(strong, breaks), strict=True)
    return [piece for piece, keep in pieces if len(piece) > 1 and keep.all()]


def _draw_gradients(rows: np.ndarray, view: _Window) -> None:
    logical = replace(view.seq, geometry=Geometry(), rotations=np.zeros((0, 3, 3)))
    blocks = replace(logical.blocks, rotation=np.full(len(logical.blocks), NONE))
    tracks = gradient_tracks(replace(logical, blocks=blocks))
    scale = 1e3 / view.seq.system.gamma
    peak = 0.0
    for index, (axes, track) in enumerate(zip(rows, tracks, strict=True)):
        x, y = _outline(view.x(track.time), track.value[:, index] * scale, track.last)
        peak = max(peak, float(np.abs(y).max(initial=0.0)))
        axes.fill_between(x, y, color=_COLOURS[2 + index], alpha=0.15, linewidth=0, zorder=2)
        axes.plot(x, y, color=_COLOURS[2 + index], linewidth=1.1, zorder=3)
    for axes in rows:
        axes.set_ylim(-1.15 * peak or -1.0, 1.15 * peak or 1.0)
        axes.yaxis.set_major_locator(MaxNLocator(3, symmetric=True))


def _outline(x: np.ndarray, y: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Line through all corners that drops to zero between two events; its envelope where it has too many corners."""
    if len(x) == 0:
        return x, y
    ends = np.flatnonzero(last)
    begins = np.concatenate([[0], ends[:-1] + 1])
    joined = np.zeros(len(ends), dtype=bool)
    joined[1:] = (x[begins[1:]] == x[ends[:-1]]) & np.isclose(y[begins[1:]], y[ends[:-1]])
    before = begins[~joined]
    after = ends[~np.append(joined[1:], False)]
    where = np.concatenate([after + 1, before])  # stable: a run closes before the next one opens
    x = np.insert(x, where, np.concatenate([x[after], x[before]]))
    y = np.insert(y, where, 0.0)
    return _envelope(x, y) if len(x) > _MAX_CORNERS else (x, y)


def _envelope(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    columns = _COLUMNS
    edges = np.linspace(x[0], x[-1], columns + 1)
    owner = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, columns - 1)
    high, low = np.full(columns, -np.inf), np.full(columns, np.inf)
    np.maximum.at(high, owner, y)
    np.minimum.at(low, owner, y)
    filled = np.isfinite(high)
    middle = 0.5 * (edges[1:] + edges[:-1])[filled]
    return np.repeat(middle, 2), np.stack([low[filled], high[filled]], axis=-1).ravel()


def _draw_adc(axes: Axes, view: _Window) -> None:
    readouts, table = readout_instances(view.seq), view.seq.adc
    start = view.x(readouts.start)
    stop = view.x(readouts.start + readouts.count * table.dwell[readouts.event])
    center = view.x(readouts.start + (readouts.count // 2 + 0.5) * table.dwell[readouts.event])
    if len(center) > _COLUMNS:
        kept = np.unique((center / view.width * _COLUMNS).astype(int), return_index=True)[1]
        axes.vlines(center[kept], 0.0, 1.0, colors=style.INK, linewidth=0.3)
    else:
        bars = list(zip(start, stop - start, strict=True))
        axes.broken_barh(bars, (0.0, 1.0), facecolors=style.PALE, edgecolors=style.INK, linewidth=0.7, zorder=2)
        axes.vlines(center, 0.0, 1.0, colors=style.INK, linewidth=0.7, zorder=3)
    axes.set_ylim(0, 1.3)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def _time_axis(axes: Axes, view: _Window) -> None:
    """Ticks at round true times, none inside a broken delay."""
    busy = (view.drawn[-1] - view.drawn[0]) * 1e3
    step = _nice(busy / 9)
    first, last = (view.true[0] - view.origin) * 1e3, (view.true[-1] - view.origin) * 1e3
    times, hidden = [], (view.gaps - view.origin) * 1e3
    edges = [first, *hidden.ravel(), last]
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        times.append(np.arange(np.ceil(begin / step - 1e-6), np.floor(end / step + 1e-6) + 1) * step + 0.0)
    ticks = np.concatenate(times)
    places = np.interp(ticks * 1e-3 + view.origin, view.true, view.drawn) * 1e3
    keep = np.concatenate([[True], np.diff(places) > 0.03 * busy]) if len(places) else np.zeros(0, dtype=bool)
    labels = dict(zip(places[keep], ticks[keep], strict=True))
    axes.xaxis.set_major_locator(FixedLocator(list(labels)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: f"{labels.get(place, np.nan):.6g}"))
    axes.xaxis.set_visible(True)
    axes.spines["bottom"].set_visible(True)
    axes.set_xlabel("time / ms" if view.origin == 0 else f"time / ms, from {view.origin * 1e3:.6g} ms of the sequence")


def _nice(step: float) -> float:
    decade = 10.0 ** np.floor(np.log10(step))
    return float(next(factor * decade for factor in (1, 2, 5, 10) if factor * decade >= step * (1 - 1e-9)))


def _write_names(axes: Axes, view: _Window) -> bool:
    """Names of blocks: level where none overlaps the next, else upright; whether they are upright."""
    share = np.diff(view.drawn) / (view.drawn[-1] - view.drawn[0])
    rows = np.flatnonzero((share > 0.016) & ~_idle(view.seq.blocks))
    texts = [view.seq.block_names[view.seq.blocks.name[row]] for row in rows]
    middle = 0.5 * (view.drawn[1:] + view.drawn[:-1])[rows] * 1e3
    widths = np.array([_LETTER * len(text) for text in texts]) * view.width
    upright = bool(np.any(np.diff(middle) < 0.5 * (widths[1:] + widths[:-1])))
    for text, x in zip(texts, middle, strict=True):
        axes.annotate(
            text,
            (x, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            va="bottom",
            rotation=90 if upright else 0,
            fontsize=6.5,
            color=style.GRAY,
        )
    return upright


def _mark_gaps(rows: np.ndarray, view: _Window) -> None:
    for begin, end in view.gaps:
        left, right = np.interp([begin, end], view.true, view.drawn) * 1e3
        for axes in rows:
            axes.axvspan(left, right, facecolor="white", edgecolor=style.PALE, hatch="////", linewidth=0, zorder=4)
        duration = end - begin
        text = f"{duration:.4g} s" if duration >= 1 else f"{duration * 1e3:.4g} ms"
        rows[3].text(
            0.5 * (left + right),
            0.0,
            text,
            rotation=90,
            ha="center",
            va="center",
            fontsize=7,
            zorder=5,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
        )
