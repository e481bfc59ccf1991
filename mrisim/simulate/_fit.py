"""What does not fit: refused before anything is computed, or a finding."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mrisim.data import Phantom
from mrisim.errors import ConsistencyError, Problem
from mrisim.events.blocks import Sequence, Use

_CHOICES = {
    "engine": ("bloch", "epg", "walk"),
    "pulses": ("shaped", "ideal"),
    "spoiling": ("gradient", "ideal"),
    "dtype": ("float32", "float64"),
}


def check_choices(**chosen: str) -> None:
    problems = [
        Problem(f"must be one of {', '.join(_CHOICES[name])}, but is '{value}'", path=name)
        for name, value in chosen.items()
        if value not in _CHOICES[name]
    ]
    if problems:
        raise ConsistencyError(problems)


def check_fit(seq: Sequence, phantom: Phantom) -> None:
    """Field strengths agree, and a selective sequence has something to select from."""
    problems = []
    if phantom.n_spins == 0:
        problems.append(Problem("must hold at least one isochromat, but is empty", path="phantom"))
    if phantom.field is not None and abs(phantom.field - seq.system.b0) > 1e-3:
        problems.append(
            Problem(
                f"must be made for the sequence's field of {seq.system.b0:g} T, but is made for {phantom.field:g} T",
                f"Load it with field={seq.system.b0:g}, or set the system's b0",
                path="phantom",
            )
        )
    if problems:
        raise ConsistencyError(problems)
    problems = list(_slice_problems(seq, phantom))
    if problems:
        raise ConsistencyError(problems)


def _slice_problems(seq: Sequence, phantom: Phantom) -> Iterator[Problem]:
    """A sampled phantom must reach half a slice beyond each slice, and have spins in it.

    Phantoms from plain arrays are what their maker wants them to be: single points in a slice are fine.
    """
    if phantom.model is None:
        return
    used = np.unique(seq.blocks.rf[seq.blocks.rf >= 0])
    used = used[np.isin(seq.rf.use[used], (Use.EXCITATION, Use.REFOCUSING, Use.STORAGE, Use.RECALL))]
    selective = used[(seq.rf.slice_axis[used] >= 0) & np.isfinite(seq.rf.thickness[used])]
    position = np.asarray(phantom.position)
    for axis, thickness, center in sorted(
        {
            (int(seq.rf.slice_axis[e]), float(seq.rf.thickness[e]), round(float(seq.rf.position[e]), 6))
            for e in selective
        }
    ):
        along = (position - seq.geometry.center) @ seq.geometry.rotation[:, axis] - center
        if not np.any(np.abs(along) <= thickness / 2):
            yield Problem(
                f"must have isochromats in the slice at {center * 1e3:g} mm, but has none",
                f"Move the slice, or the phantom: it reaches from {(along.min() + center) * 1e3:.3g} mm "
                f"to {(along.max() + center) * 1e3:.3g} mm along the slice direction",
                path="phantom",
            )
        elif np.ptp(along) < 1.9 * thickness:
            yield Problem(
                f"must be at least two slices thick, {2e3 * thickness:g} mm along the slice direction, "
                f"but is {np.ptp(along) * 1e3:.3g} mm",
                f"Load it with slab='{2.5e3 * thickness:g} mm', or extrude: {2.5e3 * thickness:g} mm if it is flat",
                path="phantom",
            )
