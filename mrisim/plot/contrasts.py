"""Contrast curves by closed forms, and spectra."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from mrisim.data import RawData
from mrisim.errors import ConsistencyError, Problem
from mrisim.plot import _style as style

_FLOOR = 0.02  # of the largest value of a spectrum: what is drawn reaches as far
_LEAST_REACH = 2.0  # [ppm]
_AXES = {"flip": (180 / np.pi, "flip angle / deg"), "df": (1.0, "off-resonance / Hz")}


@style.styled
def contrast(
    model: Callable[..., Any],
    tissues: Mapping[str, tuple[float, float, float]],
    over: str,
    values: ArrayLike,
    *,
    title: str = "",
    **fixed: float,
) -> Figure:
    """Draw the signal of tissues against TE, TR, TI or flip angle by a closed form of `mrisim.physics.signals`.

    Args:
        model: Such as `signals.spin_echo`; takes t1 and t2 of each tissue as far as it knows them.
        tissues: Name → T1 [s], T2 [s], proton density [1].
        over: Name of the argument along the abscissa.
        values: Of that argument [SI].
        title: Title of the figure.
        **fixed: Other arguments of the model [SI].

    Returns:
        Figure with one curve per tissue; the magnitude where the model is complex.

    Raises:
        ConsistencyError: the model has no such argument, or misses one.
    """
    known = inspect.signature(model).parameters
    given = {over, *fixed, "t1", "t2"}
    missing = [name for name, one in known.items() if one.default is inspect.Parameter.empty and name not in given]
    wrong = [name for name in (over, *fixed) if name not in known]
    if missing or wrong:
        rule = f"must be the arguments {', '.join(known)}; unknown: {wrong}, missing: {missing}"
        raise ConsistencyError(Problem(rule, path="over"))
    x = np.asarray(values, dtype=float)
    factor, label = _AXES.get(over, (1e3, f"{over.upper()} / ms"))
    figure = style.new_figure(3.2)
    axes = figure.add_subplot()
    for i, (name, (t1, t2, density)) in enumerate(tissues.items()):
        own = {key: value for key, value in (("t1", t1), ("t2", t2)) if key in known}
        y = density * np.asarray(model(**{over: x, **fixed, **own}))
        axes.plot(
            x * factor, np.abs(y) if np.iscomplexobj(y) else y, color=style.CYCLE[i % len(style.CYCLE)], label=name
        )
    axes.axhline(0, color=style.PALE, linewidth=0.8, zorder=0)
    axes.set_xlabel(label)
    axes.set_ylabel("signal / M₀ of water")
    axes.set_xlim(x.min() * factor, x.max() * factor)
    axes.set_title(title)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@style.styled
def spectrum(raw: RawData, *, field: float, gamma: float = 42.577478518e6, title: str = "Spectrum") -> Figure:
    """Draw the spectrum of the first readout of the first coil against chemical shift, falling to the right.

    Args:
        raw: Samples of an FID.
        field: Field strength [T].
        gamma: Gyromagnetic ratio over 2 pi [Hz/T].
        title: Title of the figure.

    Returns:
        Figure with ppm relative to the receiver's frequency, as far as there is signal; the magnitude is drawn strong,
        the real part, in phase with the first sample, thin.
    """
    shift, values = _spectrum(raw, field * gamma)
    strong = np.abs(shift[np.abs(values) > _FLOOR])
    reach = min(max(1.3 * float(strong.max(initial=0.0)), _LEAST_REACH), float(shift.max()))
    figure = style.new_figure(3.2)
    axes = figure.add_subplot()
    axes.plot(shift, np.real(values), color=style.SKY, linewidth=0.8, label="real")
    axes.plot(shift, np.abs(values), color=style.INK, linewidth=1.2, label="magnitude")
    axes.axhline(0, color=style.PALE, linewidth=0.8, zorder=0)
    axes.set_xlim(reach, -reach)
    axes.set_xlabel("chemical shift / ppm")
    axes.set_ylabel("spectrum / largest")
    axes.set_title(title)
    axes.legend()
    return figure


def _spectrum(raw: RawData, carrier: float) -> tuple[np.ndarray, np.ndarray]:
    """Shift [ppm], rising, and spectrum relative to its largest value; M⁺ turns by exp(-2πi f t)."""
    count, dwell = int(raw.readouts.count[0]), float(raw.readouts.dwell[0])
    fid = raw.signal[0, :count] * np.exp(-1j * np.angle(raw.signal[0, 0]))
    padded = 4 * count
    values = np.fft.fftshift(np.fft.ifft(fid, padded))  # exp(+2πi f t) undoes the precession
    shift = np.fft.fftshift(np.fft.fftfreq(padded, dwell)) / carrier * 1e6
    return shift, values / (np.abs(values).max() or 1.0)
