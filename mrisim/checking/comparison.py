"""What differs between two sequences: in time, gradients, k-space, contrast and safety, not in text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mrisim.checking.measures import Measure
from mrisim.checking.rules import measure
from mrisim.events.blocks import Sequence, Use
from mrisim.events.moments import gradient_tracks, pulse_instances, total_moment
from mrisim.events.readouts import readout_table
from mrisim.physics import signals

GROUPS: Mapping[str, tuple[str, ...]] = {
    "time": ("duration", "TE", "TR", "TI", "echo_spacing"),
    "gradients": ("gradient_rms", "gradient_duty", "m0", "m1", "m2", "b_min", "b_max"),
    "k-space": ("fov", "voxel", "thickness", "gap"),
    "safety": ("pns", "b1_rms", "b1_peak", "sar"),
}
TISSUES = {"white matter": (0.832, 0.0796), "grey matter": (1.331, 0.110), "fat": (0.382, 0.068)}
"""T1, T2 [s] at 3 T. Source: brain Wansapura et al., JMRI 9:531 (1999); fat de Bazelaire et al., Radiology 230:652
(2004)."""
SAME = 1e-6  # relative
NOISE = {"m0": 1e-3, "m1": 1e-6, "m2": 1e-9}  # of moments that are zero up to rounding [SI]
BALANCED = 1e-3  # area of a repetition that counts as none [1/m]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One quantity that differs."""

    group: str
    quantity: str
    first: str
    second: str


def compare(first: Sequence, second: Sequence) -> tuple[Change, ...]:
    """Differences of two sequences, group by group; none where they play the same.

    Contrast is the signal of tissues by the closed form of a spin echo, an inversion recovery, a balanced or a spoiled
    gradient echo, with the times that are found in the blocks; sequences of another kind have none.

    Example:
        >>> import mrisim as mr
        >>> changes = compare(mr.load_sequence("spin_echo"), mr.load_sequence("spin_echo", TE="20 ms"))
        >>> next(change for change in changes if change.quantity == "TE")
        Change(group='time', quantity='TE', first='12 ms', second='20 ms')
    """
    a, b = measure(first), measure(second)
    changes = [
        Change(group=group, quantity=name, first=_text(a.get(name)), second=_text(b.get(name)))
        for group, names in GROUPS.items()
        for name in names
        if not _same(a.get(name), b.get(name))
    ]
    one, two = contrast(first, a), contrast(second, b)
    for tissue in TISSUES:
        texts = [f"{values[tissue]:.3f}" if values else "no closed form" for values in (one, two)]
        if texts[0] != texts[1]:
            changes.append(Change(group="contrast", quantity=tissue, first=texts[0], second=texts[1]))
    return tuple(changes)


def _same(a: Measure | None, b: Measure | None) -> bool:
    if a is None or b is None:
        return a is b
    rounding = NOISE.get(a.name, 0.0)
    return len(a.values) == len(b.values) and bool(np.allclose(a.values, b.values, rtol=SAME, atol=rounding))


def _text(found: Measure | None) -> str:
    if found is None:
        return "none"
    texts = [found.show(value) for value in found.values]
    return ", ".join(texts) if len(texts) <= 3 else f"{len(texts)} values, {texts[0]} to {texts[-1]}"


def contrast(seq: Sequence, found: Mapping[str, Measure]) -> dict[str, float]:
    """Size of the signal of each tissue, proton density 1; empty where no closed form fits."""
    if "TE" not in found or "TR" not in found:
        return {}
    use = set(seq.rf.use.tolist())
    te, tr = found["TE"].values[0], max(found["TR"].values)
    ti = found["TI"].values[0] if "TI" in found else None
    flip = float(np.nanmax(readout_table(seq).flip))
    if use - {Use.EXCITATION, Use.REFOCUSING, Use.INVERSION} or (ti is not None and Use.REFOCUSING not in use):
        return {}

    def signal(t1: float, t2: float) -> Any:
        if ti is not None:
            return signals.inversion_recovery_spin_echo(ti, te, tr, t1) * np.exp(-te / t2)
        if Use.REFOCUSING in use:
            return signals.spin_echo(te, tr, t1, t2)
        if _balanced(seq):
            return signals.bssfp(flip, tr, t1, t2, 0.0, te)
        return signals.spoiled_gradient_echo(flip, tr, t1, te, t2)

    return {name: float(np.abs(signal(*times))) for name, times in TISSUES.items()}


def _balanced(seq: Sequence) -> bool:
    """Whether gradients of the last repetition add up to nothing."""
    centers = pulse_instances(seq).center[-2:]
    area = np.diff(total_moment(gradient_tracks(seq), centers), axis=0)
    return len(centers) == 2 and bool(np.abs(area).max() < BALANCED)
