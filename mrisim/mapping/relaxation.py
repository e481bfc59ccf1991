"""Fits of T1, T2 and T2* to image series."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mrisim._types import Float
from mrisim.data import Image
from mrisim.errors import Problem
from mrisim.mapping import t1, t2
from mrisim.mapping.method import Given, Method, Output, one_of, true_or_false
from mrisim.mapping.separable import FitResult


def _inversion_recovery(given: Given) -> FitResult:
    recon = given.image.provenance.get("recon", {})
    magnitude = bool(recon.get("magnitude", False)) or not np.iscomplexobj(given.signal)
    if "data" in given.spec:
        magnitude = given.spec["data"] == "magnitude"
    return t1.fit_inversion_recovery(given.signal, given.coordinate("ti"), magnitude=magnitude)


def _saturation_recovery(given: Given) -> FitResult:
    te = given.coordinate("te") if given.spec.get("spin_echo", False) else None
    recovery = given.coordinate("ts") if _has_ts(given.image) else _repetition_times(given.image)
    return t1.fit_saturation_recovery(given.signal, recovery, te=te)


def _monoexponential(given: Given) -> FitResult:
    tr = _repetition_times(given.image) if "t1" in given.maps else None
    return t2.fit_monoexponential(given.signal, given.coordinate("te"), t1=given.maps.get("t1"), tr=tr)


def _has_ts(image: Image) -> bool:
    return bool(np.isfinite(np.asarray(image.coordinates.get("ts", np.nan), dtype=float)).all())


def _repetition_times(image: Image) -> Float[np.ndarray, " contrast"]:
    tr = np.asarray(image.coordinates.get("tr", np.full(len(image.data), np.nan)), dtype=float)
    return np.where(np.isnan(tr), np.inf, tr)


def _check_recovery(path: str, spec: Mapping[str, Any], image: Image) -> list[Problem]:
    if spec.get("spin_echo", False) is True and _has_ts(image):
        rule = "must be left out where ts is known, because the refocusing pulse comes after the recovery, but is given"
        return [Problem(rule, path=f"{path}.spin_echo")]
    delays = np.isnan(np.asarray(image.coordinates.get("ts", np.nan), dtype=float))
    if delays.any() and not delays.all():
        rule = "must have images with a ts each or none at all, but ts is unknown for some"
        return [Problem(rule, "Leave out the scans without a saturation", f"{path}.fit")]
    return []


_PD = Output(key="m0", unit="1")
METHODS = {
    "inversion_recovery": Method(
        fewest=3,
        run=_inversion_recovery,
        outputs={"T1": Output(key="t1", unit="s")},
        setting="ti",
        constant=("te", "tr", "flip"),
        options={"data": one_of("complex", "magnitude")},
    ),
    "saturation_recovery": Method(
        run=_saturation_recovery,
        outputs={"T1": Output(key="t1", unit="s"), "PD": _PD},
        setting="",  # ts where it is known, else TR, where unknown means from equilibrium
        constant=("te", "ti", "flip"),
        options={"spin_echo": true_or_false},
        check=_check_recovery,
    ),
    "monoexponential": Method(
        fewest=2,
        run=_monoexponential,
        outputs={"T2": Output(key="t2", unit="s"), "T2star": Output(key="t2", unit="s"), "PD": _PD},
        setting="te",
        constant=("ti", "ts", "tr", "flip"),
        inputs={"t1": "T1"},
    ),
}
