"""Separation of water and fat by chemical shift: proton-density fat fraction, R2* and B0."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import ArrayLike

from mrisim._types import Array, Complex, Float
from mrisim.constants import GAMMA_BAR
from mrisim.data import Image
from mrisim.errors import ConsistencyError, Problem
from mrisim.mapping.least_squares import double_precision, levenberg_marquardt
from mrisim.mapping.method import Given, Method, Output
from mrisim.mapping.separable import FitResult, as_settings
from mrisim.phantom.tissues import tissue_table

CHUNK = 1024  # voxels per call of the compiled fit
_FREQUENCIES = 96  # of the search, over one period of the echo spacing
_RATES = (5.0, 30.0, 80.0, 200.0)  # R2* of the search [1/s]
_STEPS = 20
_RATE_SCALE = 30.0  # R2* that the fit works in units of [1/s]


class Spectrum(NamedTuple):
    """Peaks of fat."""

    shift: tuple[float, ...]  # relative to water [ppm]
    share: tuple[float, ...]  # they add up to one


@cache
def fat_spectrum() -> Spectrum:
    """The six peaks that the tissue table gives fat, with its source.

    Example:
        >>> len(fat_spectrum().shift)
        6
    """
    found = tissue_table().tissues["fat"].spectrum
    peaks = found.peaks if found is not None else []
    total = sum(peak.share for peak in peaks)
    return Spectrum(tuple(peak.shift for peak in peaks), tuple(peak.share / total for peak in peaks))


def fit_fat_water(
    signal: ArrayLike,
    te: ArrayLike,
    field: float,
    *,
    b0: ArrayLike | None = None,
    spectrum: Spectrum | None = None,
    gamma: float = GAMMA_BAR,
) -> FitResult:
    """Water, fat, B0 and R2* from S = (W + F sum_p a_p exp(-2 pi i f_p TE)) exp(-(R2* + 2 pi i B0) TE).

    W and F are complex and free. B0 is searched over one period of the smallest echo spacing about zero, so a larger
    one comes back wrapped. Two echoes need `b0` and are taken to have no R2*.

    Args:
        signal: (..., n), complex, n echoes.
        te: Echo times [s].
        field: Field strength [T].
        b0: Map of off-resonance (...), for two echoes [Hz].
        spectrum: Peaks of fat; those of the tissue table where not given.
        gamma: Gyromagnetic ratio over 2 pi [Hz/T].

    Returns:
        Maps `pdff` (|F| / (|W| + |F|)), `water`, `fat` (complex, units of the signal), `b0` [Hz], `r2_star` [1/s].

    Raises:
        ConsistencyError: fewer than two echoes, two without `b0`, magnitudes, shapes that do not fit.

    Source:
        Reeder et al., Magn Reson Med 54:636 (2005); several peaks and R2*: Yu et al., Magn Reson Med 60:1122 (2008).

    Example:
        >>> te = 1.15e-3 + 0.8e-3 * np.arange(6)
        >>> round(float(fit_fat_water(np.exp(-40 * te) + 0j, te, 3.0)["pdff"]), 6)
        0.0
    """
    signal = np.asarray(signal)
    _check_arguments(signal, b0)
    te = as_settings("te", te, signal.shape[-1])
    shape = signal.shape[:-1]
    peaks = spectrum or fat_spectrum()
    turns = np.multiply.outer(te, np.array(peaks.shift) * 1e-6 * field * gamma)
    fat = np.exp(-2j * np.pi * turns) @ np.array(peaks.share)
    flat = signal.reshape(-1, len(te)).astype(complex)
    scale = np.abs(flat).max(axis=1)
    usable = np.flatnonzero(np.isfinite(scale) & (scale > 0))
    data = flat[usable] / scale[usable, None]
    if b0 is not None:
        known = np.broadcast_to(np.asarray(b0, dtype=float), shape).reshape(-1)[usable]
        found = _known_field(data, te, fat, known)
    else:
        found = _searched(data, te, fat)
    return _result(shape, flat.shape[0], usable, scale, found)


class _Found(NamedTuple):
    b0: Any
    r2_star: Any
    water: Any
    fat: Any
    variance: Any  # of B0 and of R2*
    residual: Any
    converged: Any


def _known_field(data: np.ndarray, te: np.ndarray, fat: np.ndarray, b0: np.ndarray) -> _Found:
    turned = data * np.exp(2j * np.pi * te * b0[:, None])
    columns = np.stack([np.ones(len(te), complex), fat], axis=1)
    amplitudes = np.linalg.lstsq(columns, turned.T, rcond=None)[0]
    residual = np.sqrt(np.mean(np.abs(turned.T - columns @ amplitudes) ** 2, axis=0))
    nothing = np.full((len(data), 2), np.nan)
    good = np.isfinite(amplitudes).all(axis=0)
    return _Found(b0, np.full(len(data), np.nan), amplitudes[0], amplitudes[1], nothing, residual, good)


def _searched(data: np.ndarray, te: np.ndarray, fat: np.ndarray) -> _Found:
    pieces = []
    with double_precision():
        for start in range(0, max(len(data), 1), CHUNK):
            rows = np.arange(start, start + CHUNK)
            block = data[np.where(rows < len(data), rows, 0)] if len(data) else np.ones((CHUNK, len(te)), complex)
            pieces.append(_fit_chunk(jnp.asarray(block), jnp.asarray(te), jnp.asarray(fat)))
    return _Found(
        *(np.concatenate([np.asarray(p[i]) for p in pieces])[: len(data)] for i in range(len(_Found._fields)))
    )


@jax.jit
def _fit_chunk(data: Complex[Array, "voxels n"], te: Float[Array, " n"], fat: Complex[Array, " n"]) -> _Found:
    return jax.vmap(partial(_fit_voxel, te=te, fat=fat))(data)


def _fit_voxel(data: Complex[Array, " n"], te: Float[Array, " n"], fat: Complex[Array, " n"]) -> _Found:
    """Search of B0 and R2*, amplitudes projected out; then Levenberg–Marquardt from there."""
    period = 1 / jnp.min(jnp.diff(jnp.sort(te)))
    start = _search(data, te, fat, period)

    def residual(p: Float[Array, " 2"]) -> Float[Array, " 2n"]:
        rest = _rest(data, te, fat, p[0] * period, p[1] * _RATE_SCALE)
        return jnp.concatenate([rest.real, rest.imag])

    solution = levenberg_marquardt(residual, start, _STEPS)
    b0, rate = solution.parameters[0] * period, solution.parameters[1] * _RATE_SCALE
    water, oil = _amplitudes(data, te, fat, b0, rate)
    freedom = max(2 * len(te) - 6, 1)
    variance = jnp.diag(solution.inverse) * jnp.stack([period, jnp.asarray(_RATE_SCALE)]) ** 2 * solution.cost / freedom
    wrapped = b0 - period * jnp.round(b0 / period)
    return _Found(wrapped, rate, water, oil, variance, jnp.sqrt(solution.cost / len(te)), solution.converged)


def _search(data: Array, te: Array, fat: Array, period: Array) -> Float[Array, " 2"]:
    """B0 and R2* of the least residual on a grid, in the units of the fit."""

    def cost(point: Float[Array, " 2"]) -> Float[Array, ""]:
        rest = _rest(data, te, fat, point[0] * period, point[1] * _RATE_SCALE)
        return jnp.sum(rest.real**2 + rest.imag**2)

    field = (jnp.arange(_FREQUENCIES) - _FREQUENCIES // 2) / _FREQUENCIES
    rate = jnp.asarray(_RATES) / _RATE_SCALE
    points = jnp.stack([jnp.repeat(field, len(_RATES)), jnp.tile(rate, _FREQUENCIES)], axis=1)
    return points[jnp.argmin(lax.map(cost, points, batch_size=64))]


def _columns(te: Array, fat: Array, b0: Array, rate: Array) -> tuple[Array, Array]:
    angle = -2 * jnp.pi * b0 * te
    common = jnp.exp(-rate * te) * lax.complex(jnp.cos(angle), jnp.sin(angle))
    return common, common * fat


def _normal(data: Array, water: Array, oil: Array) -> tuple[Array, Array]:
    """Least-squares amplitudes of two columns."""
    ww, ff = jnp.sum(jnp.abs(water) ** 2), jnp.sum(jnp.abs(oil) ** 2)
    wf = jnp.sum(water.conj() * oil)
    wd, fd = jnp.sum(water.conj() * data), jnp.sum(oil.conj() * data)
    scale = 1 / (ww * ff - jnp.real(wf * wf.conj()))
    return (ff * wd - wf * fd) * scale, (ww * fd - wf.conj() * wd) * scale


def _amplitudes(data: Array, te: Array, fat: Array, b0: Array, rate: Array) -> tuple[Array, Array]:
    return _normal(data, *_columns(te, fat, b0, rate))


def _rest(data: Array, te: Array, fat: Array, b0: Array, rate: Array) -> Complex[Array, " n"]:
    """What no amplitudes can explain."""
    water, oil = _columns(te, fat, b0, rate)
    a, b = _normal(data, water, oil)
    return data - a * water - b * oil


def _result(shape: tuple[int, ...], total: int, usable: np.ndarray, scale: np.ndarray, found: _Found) -> FitResult:
    good = np.asarray(found.converged) & np.isfinite(found.residual)

    def place(values: np.ndarray) -> np.ndarray:
        full = np.full(total, np.nan, dtype=np.asarray(values).dtype)
        full[usable[good]] = np.asarray(values)[good]
        return full.reshape(shape)

    size = np.abs(found.water) + np.abs(found.fat)
    converged = np.zeros(total, dtype=bool)
    converged[usable[good]] = True
    counts = {"fitted": int(good.sum()), "empty": total - len(usable), "failed": int((~good).sum())}
    return FitResult(
        maps={
            "pdff": place(np.abs(found.fat) / np.where(size > 0, size, np.nan)),
            "water": place(found.water * scale[usable]),
            "fat": place(found.fat * scale[usable]),
            "b0": place(found.b0),
            "r2_star": place(found.r2_star),
        },
        standard_error={
            "b0": place(np.sqrt(found.variance[:, 0])),
            "r2_star": place(np.sqrt(found.variance[:, 1])),
        },
        converged=converged.reshape(shape),
        residual=place(found.residual * scale[usable]),
        counts=counts,
    )


def _check_arguments(signal: np.ndarray, b0: ArrayLike | None) -> None:
    problems = []
    n = signal.shape[-1] if signal.ndim else 0
    if n < 2 or (n < 4 and b0 is None):
        rule = f"must have four echoes or more, or two and a B0 map, but has {n} and none"
        problems.append(Problem(rule, "Give b0, or measure more echoes", path="signal"))
    if not np.iscomplexobj(signal):
        problems.append(Problem("must be complex, but holds magnitudes", path="signal"))
    if b0 is not None and np.shape(b0) not in ((), signal.shape[:-1]):
        problems.append(
            Problem(f"must be one value or have shape {signal.shape[:-1]}, but has {np.shape(b0)}", path="b0")
        )
    if problems:
        raise ConsistencyError(problems)


def _fat_water(given: Given) -> FitResult:
    field = float(given.image.provenance["b0"])
    gamma = float(given.image.provenance.get("gamma", GAMMA_BAR))
    return fit_fat_water(given.signal, given.coordinate("te"), field, b0=given.maps.get("b0"), gamma=gamma)


def _check(path: str, spec: Mapping[str, Any], image: Image) -> list[Problem]:
    problems = []
    n = len(image.data)
    if n < 4 and "b0" not in spec:
        rule = f"must have a series of four echoes or more, or a B0 map, but has {n} and none"
        problems.append(Problem(rule, "Add b0: B0", f"{path}.fit"))
    if "b0" not in image.provenance:
        rule = "must have images whose field strength is known, but it is not"
        problems.append(Problem(rule, "Set the image's provenance['b0'] in tesla", f"{path}.fit"))
    return problems


METHODS = {
    "fat_water": Method(
        run=_fat_water,
        outputs={
            "PDFF": Output(key="pdff", unit="1"),
            "R2star": Output(key="r2_star", unit="1/s"),
            "B0": Output(key="b0", unit="Hz"),
        },
        setting="te",
        constant=("ti", "tr", "flip"),
        inputs={"b0": "B0"},
        check=_check,
    )
}
