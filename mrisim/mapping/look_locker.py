"""T1 from a train of small flip angles after an inversion."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mrisim.errors import ConsistencyError, Problem
from mrisim.mapping.method import Given, Method, Output
from mrisim.mapping.separable import FitResult
from mrisim.mapping.t1 import fit_inversion_recovery


def fit_look_locker(
    signal: ArrayLike,
    ti: ArrayLike,
    tr: float,
    flip: float,
    *,
    b1: ArrayLike = 1.0,
    magnitude: bool | None = None,
    noise: float | None = None,
) -> FitResult:
    """T1 from the recovery under a train of pulses, which is a - b exp(-t/T1*) with 1/T1* = 1/T1 - ln(cos(flip))/TR.

    The pulses are known, so T1 follows from T1* without error; b/a - 1, which is often used in place of them, is right
    for TR → 0 and perfect inversion only. Slice profiles and b1 change the flip angle: give `b1`, or expect T1 to be
    off by about -2 T1/T1* ln(cos(flip)) T1*/TR per unit of b1.

    Args:
        signal: (..., n), complex or real.
        ti: From the inversion to each pulse [s].
        tr: Between pulses of the train [s].
        flip: Nominal flip angle [rad].
        b1: Transmit field relative to nominal, (...) or one value.
        magnitude: As in `fit_inversion_recovery`.
        noise: As there.

    Returns:
        Maps `t1`, `t1_star` [s], `a`, `b`; nan where there is no signal, no b1, or the fit did not converge.

    Raises:
        ConsistencyError: shapes that do not fit, too few points, a TR or flip angle that makes no train.

    Source:
        Look and Locker, Rev Sci Instrum 41:250 (1970); Kaptein et al., J Magn Reson 11:29 (1973).

    Example:
        >>> t, t1_star = np.arange(40) * 0.05 + 0.02, 1 / (1 / 0.9 - np.log(np.cos(0.1)) / 0.05)
        >>> round(float(fit_look_locker(0.8 - 1.7 * np.exp(-t / t1_star), t, 0.05, 0.1)["t1"]), 6)
        0.9
    """
    problems = []
    if not tr > 0:
        problems.append(Problem(f"must be above 0 ms, but is {tr * 1e3:g} ms", path="tr"))
    if not 0 < flip < np.pi / 2:
        problems.append(Problem(f"must be between 0 and 90 deg, but is {np.degrees(flip):g} deg", path="flip"))
    shape = np.shape(signal)[:-1]
    if np.shape(b1) not in ((), shape):
        problems.append(Problem(f"must be one value or have shape {shape}, but has {np.shape(b1)}", path="b1"))
    if problems:
        raise ConsistencyError(problems)
    found = fit_inversion_recovery(signal, ti, magnitude=magnitude, noise=noise)
    cosine = np.cos(np.asarray(b1, dtype=float) * flip)
    pulses = -np.log(np.where(cosine > 0, cosine, np.nan)) / tr
    rate = 1 / found["t1"] - pulses
    good = found.converged & (rate > 0)
    t1 = np.where(good, 1 / np.where(good, rate, 1.0), np.nan)
    errors = {**found.standard_error, "t1_star": found.standard_error["t1"]}
    errors["t1"] = errors["t1_star"] * (t1 / found["t1"]) ** 2
    lost = int((found.converged & ~good).sum())
    counts = {
        key: found.counts.get(key, 0) + change for key, change in (("fitted", -lost), ("empty", 0), ("failed", lost))
    }
    return FitResult(
        maps={"t1": t1, "t1_star": found["t1"], "a": found["a"], "b": found["b"]},
        standard_error=errors,
        converged=good,
        residual=found.residual,
        counts=counts,
    )


def _look_locker(given: Given) -> FitResult:
    tr = given.coordinate("tr")
    return fit_look_locker(
        given.signal,
        given.coordinate("ti"),
        float(np.median(tr[np.isfinite(tr)])),  # of the first image it is the time since the train before
        float(given.coordinate("flip")[0]),
        b1=given.maps.get("b1", 1.0),
        magnitude=bool(given.image.provenance.get("recon", {}).get("magnitude", False)) or None,
    )


METHODS = {
    "look_locker": Method(
        fewest=3,
        run=_look_locker,
        outputs={"T1": Output(key="t1", unit="s")},
        setting="ti",
        constant=("te", "flip"),
        inputs={"b1": "B1"},
    )
}
