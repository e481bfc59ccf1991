"""Diffusion between walls: attenuation in closed form where there is one, and the Bloch–Torrey equation exactly.

Gradients are in Hz/m and q in cycles per metre, as everywhere; the literature's γG is 2π times the gradient. Walls
reflect. Attenuation is relative to the signal without gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from mrisim._types import Complex, Float

Pore = Literal["planes", "cylinder", "sphere"]
"""Two planes along their normal, a cylinder across its axis, a sphere."""

_TERMS = 60
_SHARPEST = 12.0  # modes are kept up to this over the thinnest layer that the gradient leaves magnetised


@dataclass(frozen=True)
class _Modes:
    """Neumann modes of a pore of size 1 (separation or radius) that a field along x couples to the uniform one."""

    root: Float[np.ndarray, " modes"]  # square root of the eigenvalue of minus the Laplacian
    x: Float[np.ndarray, "modes modes"]


def gpd(
    pore: Pore,
    size: float,
    diffusion: float,
    gradient: ArrayLike,
    small_delta: ArrayLike,
    big_delta: ArrayLike,
) -> Float[np.ndarray, "*values"]:
    """Attenuation of a pulsed-gradient spin echo in the Gaussian-phase approximation, for rectangular lobes.

    Good while -ln E is below about 0.5 (1.2 % off at E = 0.71); far too large at strong gradients, where
    `bloch_torrey` holds.

    Args:
        pore: Its shape.
        size: Separation of the planes, or radius [m].
        diffusion: Coefficient [m²/s].
        gradient: Of both lobes [Hz/m].
        small_delta: Length of a lobe [s].
        big_delta: Between the starts of the lobes [s].

    Source:
        Murday and Cotts, J Chem Phys 48:4938 (1968); Neuman, J Chem Phys 60:4508 (1974); Vangelderen, J Magn Reson B
        103:255 (1994).

    Example:
        >>> round(float(gpd("planes", 10e-6, 2e-9, 40e-3 * 42.577e6, 5e-3, 30e-3)), 4)
        0.9828
    """
    rate, weight = _gpd_terms(pore, size)
    rate = rate * diffusion
    g, d, t = (np.asarray(v, dtype=float)[..., None] for v in (gradient, small_delta, big_delta))
    bracket = (
        2 * rate * d - 2 + 2 * np.exp(-rate * d) + 2 * np.exp(-rate * t) - np.exp(-rate * (t - d))
        - np.exp(-rate * (t + d))
    )  # fmt: skip
    return np.exp(-((2 * np.pi * g[..., 0]) ** 2) * np.sum(weight / rate**2 * bracket, axis=-1))


def _gpd_terms(pore: Pore, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues [1/m²] and weights [m²] of the series; the weights add up to the mean square of x."""
    if pore == "planes":
        n = 2 * np.arange(_TERMS) + 1.0
        return (n * np.pi / size) ** 2, 8 * size**2 / (n * np.pi) ** 4
    dimension = 2 if pore == "cylinder" else 3
    root = _roots(dimension, 1, _TERMS)
    return (root / size) ** 2, 2 * (size / root) ** 2 / (root**2 - dimension + 1)


def sgp_planes(q: ArrayLike, big_delta: ArrayLike, separation: float, diffusion: float) -> Float[np.ndarray, "*values"]:
    """Attenuation between two planes for lobes that are short: gradient · δ = q, δ → 0.

    Args:
        q: Moment of a lobe [1/m].
        big_delta: Between the lobes [s].
        separation: Of the planes [m].
        diffusion: Coefficient [m²/s].

    Source:
        Tanner and Stejskal, J Chem Phys 49:1768 (1968).

    Example:
        >>> round(float(sgp_planes(5e4, 0.05, 10e-6, 2e-9)), 4)
        0.4053
    """
    turn, t = 2 * np.pi * np.asarray(q, dtype=float)[..., None] * separation, np.asarray(big_delta, dtype=float)
    n = np.arange(1, 4 * _TERMS)
    square = np.maximum(turn**2, 1e-12)
    away = square - (n * np.pi) ** 2
    near = np.abs(away) < 1e-7 * square
    term = (1 - (-1.0) ** n * np.cos(turn)) / np.where(near, 1.0, away) ** 2
    term = np.where(near, 1 / (8 * square), term)  # limit at qa = nπ
    decay = np.exp(-((n * np.pi / separation) ** 2) * diffusion * t[..., None])
    long = np.sinc(turn[..., 0] / (2 * np.pi)) ** 2
    return long + 4 * square[..., 0] * np.sum(decay * term, axis=-1)


def form_factor(pore: Pore, size: float, q: ArrayLike) -> Float[np.ndarray, "*values"]:
    """Attenuation for short lobes after a long time: the squared transform of the pore.

    Args:
        pore: Its shape.
        size: Separation of the planes, or radius [m].
        q: Moment of a lobe [1/m].

    Source:
        Callaghan et al., Nature 351:467 (1991).

    Example:
        >>> round(float(form_factor("sphere", 5e-6, 5e4)), 4)
        0.5991
    """
    from scipy.special import j1, spherical_jn

    turn = 2 * np.pi * np.abs(np.asarray(q, dtype=float)) * size
    if pore == "planes":
        return np.sinc(turn / (2 * np.pi)) ** 2
    safe = np.maximum(turn, 1e-6)
    return (2 * j1(safe) / safe) ** 2 if pore == "cylinder" else (3 * spherical_jn(1, safe) / safe) ** 2


def short_time_diffusion(diffusion: float, surface_to_volume: float, time: ArrayLike) -> Float[np.ndarray, "*values"]:
    """Diffusion coefficient that is seen after a short time [m²/s], walls being smooth.

    Args:
        diffusion: Free coefficient [m²/s].
        surface_to_volume: Of the pores [1/m].
        time: [s]

    Source:
        Mitra, Sen, Schwartz, Le Doussal, Phys Rev Lett 68:3555 (1992).

    Example:
        >>> round(float(short_time_diffusion(2e-9, 6e5, 1e-4)) * 1e9, 3)
        1.865
    """
    rise = np.sqrt(diffusion * np.asarray(time, dtype=float))
    return diffusion * (1 - 4 / (9 * np.sqrt(np.pi)) * surface_to_volume * rise)


def pulsed_gradient(
    gradient: float, small_delta: float, big_delta: float
) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]]:
    """Durations [s] and effective gradients [Hz/m] of a spin echo with rectangular lobes.

    Example:
        >>> pulsed_gradient(1e6, 0.005, 0.03)[1].tolist()
        [1000000.0, 0.0, -1000000.0]
    """
    return np.array([small_delta, big_delta - small_delta, small_delta]), np.array([gradient, 0.0, -gradient])


def bloch_torrey(
    pore: Pore, size: float, diffusion: float, duration: ArrayLike, gradient: ArrayLike, center: float = 0.0
) -> complex:
    """Attenuation under any gradient, piecewise constant in time: the Bloch–Torrey equation in the pore's modes.

    Exact but for the modes that are left out; twice the highest root changes values by less than 1e-6.

    Args:
        pore: Its shape.
        size: Separation of the planes, or radius [m].
        diffusion: Coefficient [m²/s].
        duration: Of each piece [s].
        gradient: Effective, so with its sign turned by each refocusing pulse, along the normal of the planes or any
            direction across the cylinder [Hz/m].
        center: Where the pore's middle lies along the gradient [m].

    Returns:
        Mean of exp(-2 pi i ∫ g x dt) over the spins of the pore.

    Source:
        Matrix formalism: Callaghan, J Magn Reson 129:74 (1997); Grebenkov, Rev Mod Phys 79:1077 (2007).

    Example:
        >>> round(abs(bloch_torrey("planes", 10e-6, 2e-9, *pulsed_gradient(40e-3 * 42.577e6, 5e-3, 30e-3))), 4)
        0.9828
    """
    from scipy.linalg import expm

    dt, g = np.atleast_1d(np.asarray(duration, dtype=float)), np.atleast_1d(np.asarray(gradient, dtype=float))
    modes = _modes(pore, _highest_root(size, diffusion, dt, g))
    rate = diffusion * (modes.root / size) ** 2
    state = np.zeros(len(rate), dtype=complex)
    state[0] = 1.0
    made: dict[tuple[float, float], Complex[np.ndarray, "modes modes"]] = {}
    for step, strength in zip(dt.tolist(), g.tolist(), strict=True):
        if strength == 0.0:
            state = state * np.exp(-rate * step)
            continue
        if (step, strength) not in made:
            made[step, strength] = expm(-(np.diag(rate) + 2j * np.pi * strength * size * modes.x) * step)
        state = made[step, strength] @ state
    return complex(state[0] * np.exp(-2j * np.pi * center * np.sum(g * dt)))


def _highest_root(size: float, diffusion: float, dt: np.ndarray, g: np.ndarray) -> float:
    """Root of the last mode that matters: the gradient magnetises layers at the walls, or winds up a helix."""
    strongest = 2 * np.pi * float(np.abs(g).max(initial=0.0))
    if strongest == 0.0:
        return 1.0
    layer = (diffusion / strongest) ** (1 / 3)
    helix = 2 * np.pi * float(np.abs(np.cumsum(g * dt)).max())
    return float(np.ceil(30 + min(_SHARPEST * size / layer, 1.5 * helix * size)))


@lru_cache(maxsize=16)
def _modes(pore: Pore, highest: float) -> _Modes:
    """Modes whose root is at most `highest`, the uniform one first; couplings by quadrature."""
    if pore == "planes":
        n = np.arange(int(highest / np.pi) + 2)
        x, weight = _nodes(-0.5, 0.5, 2 * len(n) + 20)
        shape = np.cos(np.pi * np.outer(n, x + 0.5)) * np.where(n == 0, 1.0, np.sqrt(2.0))[:, None]
        return _Modes(np.pi * n, (shape * x * weight) @ shape.T)
    dimension = 2 if pore == "cylinder" else 3
    r, weight = _nodes(0.0, 1.0, int(highest) + 60)
    weight = weight * r ** (dimension - 1)
    orders, shapes = [], []
    for order in range(int(highest) + 1):
        found = _roots(dimension, order, None, highest)
        if len(found) == 0:
            break
        shape = _radial(dimension, order, np.outer(found, r))
        orders.append(found)
        shapes.append(shape / np.sqrt((shape**2 * weight).sum(axis=1))[:, None])
    begin = np.concatenate([[0], np.cumsum([len(part) for part in orders])])
    x = np.zeros((begin[-1], begin[-1]))
    for order in range(len(orders) - 1):
        angular = np.sqrt(0.5) if order == 0 else 0.5
        if dimension == 3:
            angular = (order + 1) / np.sqrt((2 * order + 1) * (2 * order + 3))
        block = angular * (shapes[order] * r * weight) @ shapes[order + 1].T
        here, there = slice(begin[order], begin[order + 1]), slice(begin[order + 1], begin[order + 2])
        x[here, there], x[there, here] = block, block.T
    return _Modes(np.concatenate(orders), x)


def _nodes(low: float, high: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    node, weight = np.polynomial.legendre.leggauss(n)
    half = 0.5 * (high - low)
    return low + half * (node + 1), half * weight


def _radial(dimension: int, order: int, x: np.ndarray) -> np.ndarray:
    from scipy.special import jv, spherical_jn

    return jv(order, x) if dimension == 2 else spherical_jn(order, x)


@lru_cache(maxsize=512)
def _roots(dimension: int, order: int, count: int | None, highest: float = np.inf) -> np.ndarray:
    """Where the derivative of the radial function vanishes: the first `count`, or all up to `highest`."""
    from scipy.optimize import brentq
    from scipy.special import jvp, spherical_jn

    def slope(x):
        return jvp(order, x) if dimension == 2 else spherical_jn(order, x, derivative=True)

    top = highest if count is None else np.pi * (count + order) + 5
    x = np.arange(max(0.05, 0.9 * order), top + 0.2, 0.2)
    values = slope(x)
    change = np.flatnonzero(values[:-1] * values[1:] < 0)
    found = np.array([brentq(slope, x[i], x[i + 1], xtol=1e-14) for i in change])
    found = np.append(0.0, found) if order == 0 else found
    return found[:count] if count is not None else found[found <= highest]
