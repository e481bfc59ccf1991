"""T1 from the two images of MP2RAGE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mrisim._types import Float
from mrisim.data import Image
from mrisim.errors import ConsistencyError, Problem
from mrisim.mapping.least_squares import double_precision
from mrisim.mapping.method import Given, Method, Output, number
from mrisim.mapping.separable import FitResult
from mrisim.physics.signals import mp2rage

_T1 = np.geomspace(0.05, 6.0, 4000)  # of the look-up table [s]


@dataclass(frozen=True, kw_only=True)
class Trains:
    """The two trains of an MP2RAGE."""

    ti: tuple[float, float]  # inversion → central pulse of each train [s]
    flip: tuple[float, float]  # [rad]
    spacing: float  # between pulses [s]
    tr: float  # inversion → next inversion [s]
    pulses: int  # of each train
    center: int  # index of the central pulse, from 0
    efficiency: float = 1.0  # of the inversion


def unified(first: ArrayLike, second: ArrayLike) -> Float[np.ndarray, "*shape"]:
    """Re(S1* S2) / (|S1|² + |S2|²), between -1/2 and 1/2: free of proton density, T2* and receive field.

    Source:
        Marques et al., NeuroImage 49:1271 (2010), equation 3.

    Example:
        >>> float(unified(1.0, 1.0))
        0.5
    """
    first, second = np.asarray(first), np.asarray(second)
    power = np.abs(first) ** 2 + np.abs(second) ** 2
    return np.real(first.conj() * second) / np.where(power > 0, power, np.nan)


def fit_mp2rage(signal: ArrayLike, trains: Trains, *, b1: ArrayLike = 1.0) -> FitResult:
    """T1 from the unified image, by a table over T1 (and over the transmit field, where a map is given).

    The table holds the branch about its steepest part on which the unified image falls with T1; voxels outside it fail.

    Args:
        signal: (..., 2), complex: the images of the two trains.
        trains: How they were acquired.
        b1: Transmit field relative to nominal, (...) or one value.

    Returns:
        Maps `t1` [s] and `uni`; nan where there is no signal or the value has no T1.

    Raises:
        ConsistencyError: shapes that do not fit, magnitudes.

    Source:
        Marques et al., NeuroImage 49:1271 (2010).

    Example:
        >>> trains = Trains(ti=(0.7, 2.5), flip=(0.07, 0.09), spacing=0.007, tr=5.0, pulses=160, center=80)
        >>> both = [mp2rage(trains.ti, 5.0, trains.flip, 0.007, 160, 80, 1.1)[i] for i in (0, 1)]
        >>> round(float(fit_mp2rage(np.array(both) + 0j, trains)["t1"]), 3)
        1.1
    """
    signal = np.asarray(signal)
    shape = signal.shape[:-1]
    problems = []
    if signal.ndim == 0 or signal.shape[-1] != 2:
        problems.append(Problem(f"must be two images, but has shape {signal.shape}", path="signal"))
    elif not np.iscomplexobj(signal):
        problems.append(Problem("must be complex, but holds magnitudes", path="signal"))
    if np.shape(b1) not in ((), shape):
        problems.append(Problem(f"must be one value or have shape {shape}, but has {np.shape(b1)}", path="b1"))
    if problems:
        raise ConsistencyError(problems)
    uni = unified(signal[..., 0], signal[..., 1])
    field = np.broadcast_to(np.asarray(b1, dtype=float), shape)
    t1 = np.full(shape, np.nan)
    usable = np.isfinite(uni) & np.isfinite(field) & (field > 0)
    steps = np.round(field[usable] / _B1_STEP).astype(int)
    found = np.full(steps.shape, np.nan)
    for step in np.unique(steps):
        lower, upper = (_inverse(trains, (step + side) * _B1_STEP, uni[usable][steps == step]) for side in (-0.5, 0.5))
        share = field[usable][steps == step] / _B1_STEP - step + 0.5
        found[steps == step] = lower + share * (upper - lower)
    t1[usable] = found
    good = np.isfinite(t1)
    counts = {"fitted": int(good.sum()), "empty": int((~np.isfinite(uni)).sum())}
    counts["failed"] = t1.size - counts["fitted"] - counts["empty"]
    unknown = np.full(shape, np.nan)
    return FitResult(maps={"t1": t1, "uni": uni}, standard_error={}, converged=good, residual=unknown, counts=counts)


_B1_STEP = 0.02


def _inverse(trains: Trains, b1: float, uni: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """T1 of values of the unified image; nan outside the branch."""
    with double_precision():
        both = np.asarray(
            mp2rage(
                np.array(trains.ti)[:, None], trains.tr, b1 * np.array(trains.flip)[:, None], trains.spacing,
                trains.pulses, trains.center, _T1, trains.efficiency,
            )
        )  # fmt: skip
    table = unified(*both)
    slope = np.diff(table)
    steepest = int(np.argmin(slope))
    rising = np.flatnonzero(slope >= 0)
    before, after = rising[rising < steepest], rising[rising > steepest]
    first = before[-1] + 1 if len(before) else 0
    last = after[0] if len(after) else len(slope)
    branch = slice(first, last + 1)
    return np.interp(uni, table[branch][::-1], _T1[branch][::-1], left=np.nan, right=np.nan)


def _mp2rage(given: Given) -> FitResult:
    ti, flip, spacing = (given.coordinate(name) for name in ("ti", "flip", "tr"))
    pulses = int(given.spec.get("pulses", given.image.grid.shape[2]))
    trains = Trains(
        ti=(float(ti[0]), float(ti[1])), flip=(float(flip[0]), float(flip[1])), spacing=float(np.min(spacing)),
        tr=float(given.spec["repetition"]), pulses=pulses, center=int(given.spec.get("center", pulses // 2)),
        efficiency=float(given.spec.get("efficiency", 1.0)),
    )  # fmt: skip
    return fit_mp2rage(given.signal, trains, b1=given.maps.get("b1", 1.0))


def _check(path: str, spec: Mapping[str, Any], image: Image) -> list[Problem]:
    problems = []
    if len(image.data) != 2:
        problems.append(Problem(f"must have a series of two images, but has {len(image.data)}", path=f"{path}.fit"))
    if "repetition" not in spec:
        rule = "must be given, the time from inversion to inversion in seconds, but is not"
        problems.append(Problem(rule, "In a sequence: repetition: =TR", f"{path}.repetition"))
    return problems


METHODS = {
    "mp2rage": Method(
        run=_mp2rage,
        outputs={"T1": Output(key="t1", unit="s")},
        setting="ti",
        constant=("te",),
        options={
            "repetition": number(0.0, 100.0),
            "pulses": number(1, 100_000),
            "center": number(0, 100_000),
            "efficiency": number(0.0, 1.0),
        },
        inputs={"b1": "B1"},
        check=_check,
    )
}
