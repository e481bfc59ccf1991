"""Steady state of RF-spoiled gradient echoes, by the phase graph: what real spoiling leaves of Ernst's value."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from mrisim._types import Complex, Float

INCREMENT = math.radians(117.0)
_ATOMS = 1024  # of a chunk, whose states stay in a core's cache


def rf_spoiled(
    flip: ArrayLike,
    tr: float,
    t1: ArrayLike,
    t2: ArrayLike,
    increment: float = INCREMENT,
    tolerance: float = 1e-9,
    damping: float = 0.0,
) -> Float[np.ndarray, "*shape"]:
    """Magnitude right after the pulse in the steady state, averaged over whole cycles of dephasing per TR.

    Pulse n has the phase increment · n (n + 1) / 2. An isochromat that a TR turns by θ then passes through the states
    of its neighbor at θ + increment one TR later, so order k of the phase graph turns by k · increment per TR, and the
    steady state solves linear equations that couple each order to the next: a continued fraction.

    Args:
        flip: Flip angle, above 0 and below 90° [rad]; broadcasts with t1 and t2.
        tr: Repetition time [s].
        t1: [s].
        t2: [s].
        increment: Of the phase increment [rad]; zero for gradient spoiling alone.
        tolerance: Share of an order that is dropped by the time it could come back, about.
        damping: Of diffusion: D (2π k)² TR, k what the gradients of a TR leave [cycles/m].

    Returns:
        Per unit proton density.

    Source:
        Zur, Wood and Neuringer, Magn Reson Med 21:251 (1991); continued fraction as in Ganter, Magn Reson Med 55:98
        (2006); states and diffusion as in Weigel, J Magn Reson Imaging 41:266 (2015).

    Example:
        >>> round(float(rf_spoiled(np.radians(15.0), 0.005, 1.0, 0.1)), 5)
        0.03136
    """
    angle, e1, e2 = np.broadcast_arrays(
        np.asarray(flip, dtype=float),
        np.exp(-tr / np.asarray(t1, dtype=float)),
        np.exp(-tr / np.asarray(t2, dtype=float)),
    )
    found = np.empty(angle.size)
    order = np.argsort(e2, axis=None, kind="stable")  # long T2 needs many orders
    for first in range(0, angle.size, _ATOMS):
        rows = order[first : first + _ATOMS]
        flips, kept, lasting = (values.ravel()[rows] for values in (angle, e1, e2))
        found[rows] = _steady_state(flips, kept, lasting, increment, tolerance, damping)
    return found.reshape(angle.shape)


def _steady_state(
    flip: np.ndarray, e1: np.ndarray, e2: np.ndarray, increment: float, tolerance: float, damping: float
) -> Float[np.ndarray, " atoms"]:
    """|F(0)| after the pulse. What comes back before it, x - iy, is `back` times that; the equations are linear."""
    sine, cosine = np.sin(flip), np.cos(flip)
    back = _returned(flip, e1, e2, increment, tolerance, damping)
    u, v = np.real(back), np.imag(back)
    stored = sine * (1 - e1) / (1 - e1 * cosine)  # of the longitudinal state, by Ernst
    turned = cosine - sine**2 * e1 / (1 - e1 * cosine)  # of y
    norm = (1 - u) * (1 + u * turned) - turned * v**2
    x = stored * v / norm
    y = stored * (v**2 - (1 - u) * u) / norm
    return np.abs(x - 1j * (turned * y + stored))


def _returned(
    flip: np.ndarray, e1: np.ndarray, e2: np.ndarray, increment: float, tolerance: float, damping: float
) -> Complex[np.ndarray, " atoms"]:
    """What comes back to order zero of what leaves it, F(-1) of F(0), by the continued fraction from the last order."""
    sine, cosine, half = np.sin(flip), np.cos(flip), np.sin(flip / 2) ** 2
    orders = max(2, math.ceil(0.5 * math.log(tolerance) / math.log(max(float(e2.max()), 1e-300))))
    ratio = np.zeros(len(flip), dtype=complex)  # of conj F(-k) to F(k), before the pulse
    share = ratio
    for k in range(orders, -1, -1):
        if k < orders:  # share: conj F(-k - 1) after the pulse, of F(k + 1) before it
            lasting = e2 * math.exp(-damping * (k * k + k + 1 / 3))
            share = np.exp(1j * (2 * k + 1) * increment) * lasting**2 * share
        if k == 0:
            return share
        kept = np.exp(1j * k * increment) * math.exp(-damping * k * k) * e1  # of Z(k)
        stored = 0.5 * sine**2 * kept / (1 - kept * cosine)
        ahead, across = 1 - half - stored, half + stored
        ratio = share * ahead / (1 - share * across)
        share = across + ahead * ratio
    return share
