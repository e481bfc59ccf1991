"""What a notebook shows of an object: what one wants to see first."""

from __future__ import annotations

import base64
import html
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mrisim.data import Image, ParameterMap, Phantom, RawData
from mrisim.events.blocks import Sequence
from mrisim.plot import _style as style
from mrisim.plot.diagram import sequence
from mrisim.plot.images import image, parameter_map
from mrisim.plot.kspace import kspace
from mrisim.units import LENGTH, TIME, show

_MOST_POINTS = 4000


def html_of(thing: Any) -> str:
    """Short HTML of a sequence, phantom, raw data, image or map: one line of facts and a picture.

    Example:
        >>> import mrisim as mr
        >>> html_of(mr.load_sequence("fid")).startswith("<div><b>FID</b> 3 s")
        True
    """
    match thing:
        case Sequence():
            facts, figure = _sequence(thing)
        case Phantom():
            facts, figure = _phantom(thing)
        case RawData():
            facts, figure = _raw(thing)
        case Image():
            facts, figure = (thing.name, [f"{len(thing.data)} contrasts", _grid(thing.grid)]), image(thing)
        case ParameterMap():
            facts, figure = (thing.name, [_grid(thing.grid)]), parameter_map(thing)
        case _:
            return f"<pre>{html.escape(repr(thing))}</pre>"
    name, about = facts
    data = base64.b64encode(_png(figure)).decode("ascii")
    line = " · ".join(html.escape(part) for part in about)
    picture = f'<img style="max-width:100%" alt="{html.escape(name)}" src="data:image/png;base64,{data}">'
    return f"<div><b>{html.escape(name)}</b> {line}<br>{picture}</div>"


def _png(figure: Figure) -> bytes:
    import io

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _grid(grid) -> str:
    sides = " × ".join(f"{side * 1e3:.3g}" for side in grid.spacing)
    return f"{' × '.join(str(n) for n in grid.shape)} voxels of {sides} mm"


def _sequence(seq: Sequence):
    about = [show(seq.duration, TIME, digits=4), f"{len(seq.blocks):,} blocks"]
    return (seq.name, about), sequence(seq)


def _raw(raw: RawData):
    coils, samples = raw.signal.shape
    about = [f"{coils} coil{'s' if coils > 1 else ''}", f"{len(raw.readouts):,} readouts", f"{samples:,} samples"]
    return ("Raw data", about), kspace(raw)


@style.styled
def _where(phantom: Phantom) -> Figure:
    """Isochromats from above, coloured by T1."""
    places = np.asarray(phantom.position) * 1e3
    t1 = np.asarray(phantom.t1) * 1e3
    kept = np.linspace(0, len(t1) - 1, min(len(t1), _MOST_POINTS)).astype(int)
    figure = style.new_figure(3.4, width=4.2)
    axes = figure.add_subplot()
    finite = np.where(np.isfinite(t1[kept]), t1[kept], np.nan)
    shown = axes.scatter(places[kept, 0], places[kept, 1], c=finite, s=4, cmap="inferno", linewidths=0)
    axes.set_aspect("equal")
    axes.set_xlabel("x / mm")
    axes.set_ylabel("y / mm")
    bar = figure.colorbar(shown, ax=axes)
    bar.set_label("T1 / ms")
    return figure


def _phantom(phantom: Phantom):
    size = np.ptp(np.asarray(phantom.position), axis=0)
    about = [f"{phantom.n_spins:,} isochromats", " × ".join(show(float(side), LENGTH, digits=3) for side in size)]
    if phantom.field is not None:
        about.append(f"{phantom.field:g} T")
    name = phantom.model.name if phantom.model is not None else "Phantom"
    return (name, about), _where(phantom)
