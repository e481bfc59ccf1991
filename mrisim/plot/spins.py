"""Magnetisation: over time, on the Bloch sphere, and as an animation."""

from __future__ import annotations

from collections.abc import Sequence as Several
from pathlib import Path

import numpy as np
from matplotlib import animation
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from mrisim.errors import ConsistencyError, Problem
from mrisim.plot import _style as style

_MOST_FRAMES = 300


@style.styled
def magnetisation(
    time: ArrayLike, m: ArrayLike, *, names: Several[str] = (), title: str = "Magnetisation over time"
) -> Figure:
    """Draw `|Mxy|`, its phase and Mz over time, one colour per isochromat.

    Args:
        time: (times,) [s].
        m: (times, spins, 3) or (times, 3) as `mr.trace` gives it, relative to equilibrium.
        names: Of the isochromats; a legend is drawn where there are any.
        title: Title of the figure.

    Returns:
        Figure with three rows.

    Raises:
        ConsistencyError: shapes that do not fit.
    """
    t, states = _checked(time, m)
    milliseconds = t * 1e3
    figure = style.new_figure(4.6)
    rows = figure.subplots(3, 1, sharex=True, height_ratios=(1.2, 0.9, 1.2))
    across = states[..., 0] + 1j * states[..., 1]
    for i in range(states.shape[1]):
        colour = style.CYCLE[i % len(style.CYCLE)]
        phase = np.degrees(np.angle(across[:, i]))
        phase = np.where(np.abs(across[:, i]) > 1e-3, phase, np.nan)
        phase[1:][np.abs(np.diff(phase)) > 180] = np.nan  # no line across the jump from 180 to -180 degrees
        rows[0].plot(milliseconds, np.abs(across[:, i]), color=colour, label=names[i] if i < len(names) else None)
        rows[1].plot(milliseconds, phase, color=colour)
        rows[2].plot(milliseconds, states[:, i, 2], color=colour)
    for axes, label in zip(rows, ("|Mxy| / M₀", "phase / deg", "Mz / M₀"), strict=True):
        axes.axhline(0, color=style.PALE, linewidth=0.8, zorder=0)
        axes.set_ylabel(label)
    rows[0].set_ylim(0, max(1.05 * float(np.abs(across).max()), 0.1))
    rows[1].set_yticks([-180, 0, 180])
    rows[1].set_ylim(-195, 195)
    rows[2].set_xlabel("time / ms")
    rows[2].set_xlim(milliseconds[0], milliseconds[-1])
    rows[0].set_title(title)
    if names:
        rows[0].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@style.styled
def bloch_sphere(m: ArrayLike, *, names: Several[str] = (), title: str = "Bloch sphere") -> Figure:
    """Draw paths of magnetisation on the unit sphere, with an arrow at the end of each.

    Args:
        m: (times, spins, 3) or (times, 3), relative to equilibrium.
        names: Of the isochromats.
        title: Title of the figure.

    Returns:
        Figure with one three-dimensional panel.

    Raises:
        ConsistencyError: shapes that do not fit.
    """
    states = _states(m)
    figure = style.new_figure(4.6, width=4.8)
    axes = _globe(figure, title)
    for i in range(states.shape[1]):
        colour = style.CYCLE[i % len(style.CYCLE)]
        axes.plot(*states[:, i].T, color=colour, linewidth=1.4)
        axes.quiver(0, 0, 0, *states[-1, i], color=colour, linewidth=2.2, arrow_length_ratio=0.1)
        if i < len(names):
            axes.plot([], [], color=colour, label=names[i])
    if names:
        axes.legend(loc="upper right")
    return figure


def bloch_animation(
    time: ArrayLike, m: ArrayLike, path: str | Path, *, names: Several[str] = (), frames: int = 120, rate: float = 25.0
) -> Path:
    """Write the magnetisation on the Bloch sphere as a film: .gif, .html (a page that plays it) or .mp4 (by ffmpeg).

    Args:
        time: (times,) rising [s].
        m: (times, spins, 3) or (times, 3), relative to equilibrium; straight between the times.
        path: File to write.
        names: Of the isochromats.
        frames: Pictures, at most 300; they are evenly spread over the time.
        rate: Pictures in a second of the film.

    Returns:
        The file.

    Raises:
        ConsistencyError: shapes that do not fit, another ending, or .mp4 without ffmpeg on this machine.
    """
    target = Path(path)
    t, states = _checked(time, m)
    _check_film(target, frames)
    shown = np.linspace(t[0], t[-1], frames)
    flat = states.reshape(len(t), -1)
    moving = np.stack([np.interp(shown, t, column) for column in flat.T], axis=-1).reshape(frames, *states.shape[1:])
    film = _film(shown, moving, names, rate)
    if target.suffix == ".html":
        target.write_text(film.to_jshtml(fps=rate), encoding="utf-8")
    else:
        film.save(target, writer="pillow" if target.suffix == ".gif" else "ffmpeg", fps=rate, dpi=80)
    return target


def _check_film(target: Path, frames: int) -> None:
    problems = []
    if target.suffix not in (".gif", ".html", ".mp4"):
        problems.append(Problem(f"must end in .gif, .html or .mp4, but is {target.name}", path="path"))
    if target.suffix == ".mp4" and not animation.writers.is_available("ffmpeg"):
        problems.append(Problem("must not end in .mp4 without ffmpeg", "Install ffmpeg, or write .gif", path="path"))
    if not 2 <= frames <= _MOST_FRAMES:
        problems.append(Problem(f"must be from 2 to {_MOST_FRAMES}, but is {frames}", path="frames"))
    if problems:
        raise ConsistencyError(problems)


def _film(time: np.ndarray, moving: np.ndarray, names: Several[str], rate: float) -> animation.FuncAnimation:
    figure = Figure(figsize=(4.8, 4.8), dpi=80)
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    axes = _globe(figure, "")
    count = moving.shape[1]
    colours = [style.CYCLE[i % len(style.CYCLE)] for i in range(count)]
    arrows = [
        axes.plot([], [], [], color=colours[i], linewidth=2.6, marker="o", markevery=[1])[0] for i in range(count)
    ]
    paths = [axes.plot([], [], [], color=colours[i], linewidth=1.0, alpha=0.6)[0] for i in range(count)]
    for arrow, name in zip(arrows, names, strict=False):
        arrow.set_label(name)
    if names:
        axes.legend(loc="upper right")

    def draw(frame: int):
        for i, (arrow, path) in enumerate(zip(arrows, paths, strict=True)):
            tip = moving[frame, i]
            arrow.set_data_3d([0, tip[0]], [0, tip[1]], [0, tip[2]])  # pyright: ignore[reportAttributeAccessIssue]
            path.set_data_3d(*moving[: frame + 1, i].T)  # pyright: ignore[reportAttributeAccessIssue]
        axes.set_title(f"{time[frame] * 1e3:.2f} ms", loc="left")
        return (*arrows, *paths)

    return animation.FuncAnimation(figure, draw, frames=len(time), interval=1e3 / rate)


def _globe(figure: Figure, title: str):
    """Unit sphere with the rotating frame's axes."""
    axes = figure.add_subplot(projection="3d")
    turn = np.linspace(0, 2 * np.pi, 91)
    zero = np.zeros_like(turn)
    for circle in (
        (np.cos(turn), np.sin(turn), zero),
        (np.cos(turn), zero, np.sin(turn)),
        (zero, np.cos(turn), np.sin(turn)),
    ):
        axes.plot(*circle, color=style.GRAY, linewidth=0.6, alpha=0.7)
    for axis, name in zip(np.eye(3), ("x", "y", "z"), strict=True):
        axes.plot(*np.stack([-axis, axis]).T, color=style.GRAY, linewidth=0.5)
        axes.text(*(1.14 * axis), name, ha="center", va="center")  # pyright: ignore[reportCallIssue]
    axes.set_box_aspect((1, 1, 1))
    for name in "xyz":
        getattr(axes, f"set_{name}lim")(-0.8, 0.8)
    axes.set_axis_off()
    axes.view_init(elev=20, azim=35)
    axes.set_title(title)
    return axes


def _states(m: ArrayLike) -> np.ndarray:
    states = np.asarray(m, dtype=float)
    states = states[:, None] if states.ndim == 2 else states
    if states.ndim != 3 or states.shape[2] != 3 or len(states) == 0:
        rule = f"must have shape (times, spins, 3) or (times, 3), but has {np.shape(m)}"
        raise ConsistencyError(Problem(rule, path="m"))
    return states


def _checked(time: ArrayLike, m: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    t, states = np.asarray(time, dtype=float), _states(m)
    if t.shape != (len(states),):
        rule = f"must have one value for each of the {len(states)} states, but has shape {t.shape}"
        raise ConsistencyError(Problem(rule, path="time"))
    return t, states
