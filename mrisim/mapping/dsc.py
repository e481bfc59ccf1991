"""Perfusion of a first pass by susceptibility: relaxation → residue function → blood volume, flow and transit time."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mrisim._types import Bool, Float
from mrisim.errors import ConsistencyError, Problem
from mrisim.mapping.dce.curves import check_axis
from mrisim.mapping.separable import FitResult
from mrisim.physics.agents import CAPILLARY_HEMATOCRIT

BEND = 6.5
"""Limit of the oscillation of a residue function: the sum of its absolute second differences around the circle, over
its peak; exp(-t/MTT) in steps dt has 2 + 2 dt/MTT. It is the usual index of 0.035 at 90 times and their padding, but
does not grow with the length of the series."""
LEAST = 5e-3  # of the artery's area: less is no blood but what rings in from vessels; white matter has 2 to 3 %
LAST = 3  # points whose mean is the value that a curve fades from after its end
CUTS = np.concatenate([[0.0], np.geomspace(0.005, 0.95, 60)])  # singular values dropped, of the largest
UNEVEN = 1e-3  # relative difference of the steps of a time axis that counts as equidistant
_ROWS = 2048  # voxels deconvolved together, for memory


def relaxation_change(signal: ArrayLike, te: float, baseline: slice) -> Float[np.ndarray, "*shape n"]:
    """Change of R2* (gradient echo) or R2 (spin echo) over time, -ln(S/S0) / TE.

    Args:
        signal: (..., n), real or complex; magnitudes are taken.
        te: Echo time [s].
        baseline: Times before the agent whose mean is S0.

    Returns:
        (..., n) [1/s]; nan where a signal or its baseline is zero.

    Raises:
        ConsistencyError: an empty baseline, an echo time that is not above zero.

    Source:
        Rosen et al., Magn Reson Med 14:249 (1990).

    Example:
        >>> relaxation_change([1.0, 1.0, 0.5], 0.03, slice(0, 2)).round(2).tolist()
        [-0.0, -0.0, 23.1]
    """
    magnitude = np.abs(np.asarray(signal))
    problems = []
    if not (np.isfinite(te) and te > 0):
        problems.append(Problem(f"must be above zero, but is {te:g} s", path="te"))
    if magnitude.ndim == 0 or not magnitude[..., baseline].shape[-1]:
        rule = f"must name at least one of the times, but {baseline.start} .. {baseline.stop} names none"
        problems.append(Problem(rule, "Take images before the agent arrives", "baseline"))
    if problems:
        raise ConsistencyError(problems)
    with np.errstate(all="ignore"):
        start = magnitude[..., baseline].mean(axis=-1, keepdims=True)
        found = -np.log(magnitude / start) / te
    return np.where(np.isfinite(found), found, np.nan)


def perfusion(
    t: ArrayLike,
    tissue: ArrayLike,
    artery: ArrayLike,
    *,
    hct_large: float = 0.45,
    hct_small: float = CAPILLARY_HEMATOCRIT,
    bend: float = BEND,
    leakage: Bool[np.ndarray, "*shape"] | None = None,
) -> FitResult:
    """Blood volume, blood flow and mean transit time from curves of relaxation or concentration.

    CBV is the ratio of the areas; CBF the peak of the residue function by deconvolution with a block-circulant matrix,
    which holds for any delay; MTT = CBV / CBF. Both are per volume of tissue: times 100 / 1.04 g/ml they are ml/100 g.
    Curves of less than 1/200 of the artery's area show no blood: they are masked and counted as `empty`.

    Args:
        t: n equidistant times [s].
        tissue: (..., n), proportional to the concentration in tissue.
        artery: (n,), in the same units, of blood.
        hct_large: Haematocrit of large vessels, where the artery was measured.
        hct_small: Haematocrit of capillaries; both scale by (1 - hct_large) / (1 - hct_small).
        bend: Limit of the oscillation; singular values are dropped until a residue function meets it.
        leakage: (...) True for healthy tissue, whose mean is the reference of the correction for leakage; none where
            not given.

    Returns:
        Maps `cbv` [1], `cbf` [1/s], `mtt` [s], `delay` [s] (time of the peak of the residue function) and, with
        `leakage`, `k2` [1/s]. No standard errors.

    Raises:
        ConsistencyError: time axes that do not match or are not equidistant, an artery without a first pass,
            haematocrit outside 0 to 1, a reference without voxels.

    Source:
        Wu et al., Magn Reson Med 50:164 (2003), with `BEND` in place of the oscillation index.
        Leakage: Boxerman, Schmainda and Weisskoff, AJNR 27:859 (2006).

    Example:
        >>> t = np.arange(0.0, 60.0, 1.0)
        >>> artery = np.where((t > 10) & (t < 16), 1.0, 0.0)
        >>> found = perfusion(t, 0.04 * artery, artery, hct_large=0.4, hct_small=0.4)
        >>> round(float(found["cbv"]), 4)
        0.04
    """
    times, curves, input_ = (np.asarray(values, dtype=float) for values in (t, tissue, artery))
    _check(times, curves, input_, {"hct_large": hct_large, "hct_small": hct_small}, leakage)
    shape = curves.shape[:-1]
    rows = curves.reshape(-1, len(times))
    good = np.isfinite(rows).all(axis=1) & (rows.sum(axis=1) > 0)
    maps = {name: np.full(len(rows), np.nan) for name in ("cbv", "cbf", "mtt", "delay")}
    used, step = rows[good], float(times[1] - times[0])
    if leakage is not None:
        used, maps["k2"] = _without_leakage(times, used, good, np.asarray(leakage).ravel(), rows)
    scale = (1 - hct_large) / (1 - hct_small)
    flow, place = _peak_residue(used, input_, step, bend)
    area = np.trapezoid(used, times, axis=1) / np.trapezoid(input_, times)
    maps["cbv"][good], maps["cbf"][good] = scale * area, scale * flow
    maps["delay"][good] = place * step
    empty = np.isfinite(rows).all(axis=1) & ~(np.nan_to_num(maps["cbv"]) > scale * LEAST)
    good = good & ~empty & (np.nan_to_num(maps["cbf"]) > 0)
    with np.errstate(all="ignore"):
        maps["mtt"] = maps["cbv"] / maps["cbf"]
    placed = {name: np.where(good, values, np.nan).reshape(shape) for name, values in maps.items()}
    return FitResult(
        maps=placed,
        standard_error={},
        converged=good.reshape(shape),
        residual=np.full(shape, np.nan),
        counts={"fitted": int(good.sum()), "empty": int(empty.sum()), "failed": int((~good & ~empty).sum())},
    )


def _check(
    t: np.ndarray, tissue: np.ndarray, artery: np.ndarray, shares: dict[str, float], leakage: np.ndarray | None
) -> None:
    problems = check_axis("t", t, "tissue", tissue.shape)
    if artery.shape != t.shape:
        problems.append(Problem(f"must have shape {t.shape}, as t, but has {artery.shape}", path="artery"))
    elif not np.isfinite(artery).all() or artery.sum() <= 0:
        problems.append(Problem("must hold a first pass of positive area, but does not", path="artery"))
    if not problems and np.ptp(np.diff(t)) > UNEVEN * (t[1] - t[0]):
        problems.append(Problem("must be equidistant, but is not", "Interpolate the curves", "t"))
    for name, share in shares.items():
        if not 0 < share < 1:
            remedy = "Write a share such as 0.45, not per cent"
            problems.append(Problem(f"must lie between 0 and 1, but is {share:g}", remedy, name))
    if leakage is not None and np.shape(leakage) != tissue.shape[:-1]:
        rule = f"must have shape {tissue.shape[:-1]}, as the voxels, but has {np.shape(leakage)}"
        problems.append(Problem(rule, path="leakage"))
    elif leakage is not None and not np.any(leakage):
        problems.append(Problem("must mark voxels of healthy tissue, but marks none", path="leakage"))
    if problems:
        raise ConsistencyError(problems)


def _peak_residue(
    curves: Float[np.ndarray, "voxels n"], artery: Float[np.ndarray, " n"], step: float, bend: float
) -> tuple[np.ndarray, np.ndarray]:
    """Peak of the residue function times flow [1/s], and its place, in steps; negative for a late artery."""
    n = len(artery)
    size = 2 * n  # curves fade after their end, so that a circular convolution is a plain one
    gain = np.fft.fft(_smoothed(_faded(artery))) * step  # a circulant matrix is diagonal in this basis
    strength = np.abs(gain) / np.abs(gain).max()
    flow, place = np.zeros(len(curves)), np.zeros(len(curves))
    for first in range(0, len(curves), _ROWS):
        part = slice(first, first + _ROWS)
        flow[part], place[part] = _deconvolve(np.fft.fft(_faded(curves[part]), axis=1), gain, strength, bend)
    return flow, np.where(place >= n, place - size, place)


def _faded(curves: Float[np.ndarray, "*shape n"]) -> Float[np.ndarray, "*shape 2n"]:
    """Curves that go on to zero as half a cosine. What recirculates has not come to an end by then: cut off, it would
    be an edge that no residue function makes; faded slowly, tissue follows the artery as it did before."""
    n = curves.shape[-1]
    fade = 0.5 * (1 + np.cos(np.pi * (np.arange(n) + 1) / (n + 1)))
    return np.concatenate([curves, curves[..., -LAST:].mean(axis=-1, keepdims=True) * fade], axis=-1)


def _smoothed(artery: np.ndarray) -> np.ndarray:
    """Weights 1, 4, 1 of neighbours: the integral of a line-by-line input over a step."""
    padded = np.pad(artery, 1)
    return (padded[:-2] + 4 * padded[1:-1] + padded[2:]) / 6


def _deconvolve(
    spectra: np.ndarray, gain: np.ndarray, strength: np.ndarray, limit: float
) -> tuple[np.ndarray, np.ndarray]:
    """Drop ever more singular values until the residue function oscillates little enough."""
    flow, place = np.zeros(len(spectra)), np.zeros(len(spectra))
    waiting = np.arange(len(spectra))
    for cut in CUTS:
        with np.errstate(all="ignore"):
            inverse = np.where(strength > cut, 1 / gain, 0.0)
        residue = np.fft.ifft(spectra[waiting] * inverse, axis=1).real
        peak = residue.max(axis=1)
        flow[waiting], place[waiting] = peak, residue.argmax(axis=1)
        bend = np.abs(np.roll(residue, 1, axis=1) - 2 * residue + np.roll(residue, -1, axis=1)).sum(axis=1)
        rough = bend > limit * np.maximum(peak, np.finfo(float).tiny)
        waiting = waiting[rough]
        if not len(waiting):
            break
    return flow, place


def _without_leakage(
    t: np.ndarray, curves: np.ndarray, good: np.ndarray, reference: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Curves less what leaked, and the rate of leaking: curve ≈ K1 · mean - K2 ∫ mean."""
    healthy = reference & good
    if not healthy.any():
        raise ConsistencyError(Problem("must mark voxels with a curve, but marks none", path="leakage"))
    mean = rows[healthy].mean(axis=0)
    gathered = np.concatenate([[0.0], np.cumsum((mean[1:] + mean[:-1]) / 2 * np.diff(t))])
    (_, leaked), *_ = np.linalg.lstsq(np.stack([mean, -gathered], axis=1), curves.T, rcond=None)
    k2 = np.full(len(rows), np.nan)
    k2[good] = leaked
    return curves + leaked[:, None] * gathered, k2
