"""Curves of contrast agents: input functions, and concentration in tissue with its fit and residual."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from mrisim.plot import _style as style


@style.styled
def input_functions(
    t: ArrayLike, curves: Mapping[str, ArrayLike], *, first_pass: float = 60.0, title: str = "Arterial input functions"
) -> Figure:
    """Draw input functions by name: all of them, and the first pass enlarged.

    Args:
        t: (n,) times [s].
        curves: Name → (n,) concentration [mM].
        first_pass: Length of the enlarged part, from the first rise [s].
        title: Title of the figure.

    Returns:
        Figure with times in minutes on the left and in seconds on the right.

    Example:
        >>> import numpy as np
        >>> t = np.arange(0.0, 300.0)
        >>> len(input_functions(t, {"box": (t > 20) & (t < 30)}).axes)
        2
    """
    times = np.asarray(t, dtype=float)
    values = {name: np.asarray(curve, dtype=float) for name, curve in curves.items()}
    rising = np.flatnonzero(np.any([curve > 0.01 * curve.max() for curve in values.values()], axis=0))
    start = times[rising[0]] if len(rising) else times[0]
    figure = style.new_figure(2.9)
    whole, close = figure.subplots(1, 2, width_ratios=(3, 2), sharey=True)
    for index, (name, curve) in enumerate(values.items()):
        color = style.CYCLE[index % len(style.CYCLE)]
        whole.plot(times / 60, curve, color=color, linewidth=1.2, label=name)
        close.plot(times, curve, color=color, linewidth=1.2)
    whole.set_xlabel("time / min")
    whole.set_ylabel("concentration / mM")
    whole.set_xlim(times[0] / 60, times[-1] / 60)
    whole.set_ylim(bottom=min(0.0, *(float(curve.min()) for curve in values.values())))
    whole.legend()
    whole.set_title(title)
    close.set_xlim(start - 0.1 * first_pass, start + first_pass)
    close.set_xlabel("time / s")
    close.set_title("First pass")
    return figure


@style.styled
def concentration(
    t: ArrayLike,
    curves: Mapping[str, ArrayLike],
    fits: Mapping[str, ArrayLike],
    *,
    title: str = "Concentration in tissue",
) -> Figure:
    """Draw measured concentrations as points, their fits as lines, and what is left below.

    Args:
        t: (n,) times [s].
        curves: Name → (n,) measured concentration [mM].
        fits: Name → (n,) concentration of the fitted model; a curve without one has points only [mM].
        title: Title of the figure.

    Returns:
        Figure with times in minutes and the root mean square of each residual in the legend.

    Example:
        >>> import numpy as np
        >>> t = np.arange(0.0, 300.0, 5.0)
        >>> len(concentration(t, {"muscle": 0.1 * t}, {"muscle": 0.1 * t + 0.01}).axes)
        2
    """
    minutes = np.asarray(t, dtype=float) / 60
    figure = style.new_figure(3.8)
    above, below = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    below.axhline(0, color=style.GRAY, linewidth=0.5)
    for index, (name, values) in enumerate(curves.items()):
        color, measured = style.CYCLE[index % len(style.CYCLE)], np.asarray(values, dtype=float)
        label = name
        if name in fits:
            left = measured - np.asarray(fits[name], dtype=float)
            label = f"{name} (rms {np.sqrt(np.nanmean(left**2)):.2g} mM)"
            above.plot(minutes, fits[name], color=color, linewidth=1.3)
            below.plot(minutes, left, ".", color=color, markersize=3)
        above.plot(minutes, measured, "o", color=color, markersize=3, markerfacecolor="none", label=label)
    above.set_ylabel("concentration / mM")
    above.set_title(title)
    above.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    below.set_ylabel("residual / mM")
    below.set_xlabel("time / min")
    above.set_xlim(minutes[0], minutes[-1])
    return figure
