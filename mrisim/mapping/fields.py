"""Maps of the static and of the transmit field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mrisim._types import Float
from mrisim.data import Image
from mrisim.errors import ConsistencyError, Problem
from mrisim.mapping.method import Given, Method, Output
from mrisim.mapping.separable import FitResult, as_settings

_TURN = 2 * np.pi


def fit_dual_echo(signal: ArrayLike, te: ArrayLike) -> FitResult:
    """Off-resonance from the phase between two echoes: df = -angle(S2 S1*) / (2 pi (TE2 - TE1)).

    Values beyond half of 1 / (TE2 - TE1) wrap. Nothing is unwrapped.

    Args:
        signal: (..., 2), complex.
        te: Two different echo times [s].

    Returns:
        Map `b0` [Hz]; nan where an echo is zero.

    Raises:
        ConsistencyError: another number of echoes, magnitudes, or equal echo times.

    Source:
        Jezzard and Balaban, Magn Reson Med 34:65 (1995).

    Example:
        >>> te = np.array([2.3e-3, 4.6e-3])
        >>> round(float(fit_dual_echo(np.exp(-2j * np.pi * 50.0 * te), te)["b0"]), 6)
        50.0
    """
    signal = _pair(signal, "complex echoes", complex_only=True)
    te = as_settings("te", te, 2)
    if te[0] == te[1]:
        raise ConsistencyError(Problem("must be two different echo times, but is one", path="te"))
    turned = signal[..., 1] * signal[..., 0].conj()
    return _result("b0", -np.angle(turned) / (_TURN * (te[1] - te[0])), np.abs(turned) > 0)


def fit_double_angle(signal: ArrayLike, flip: ArrayLike) -> FitResult:
    """Transmit field from images at a flip angle and at twice as much: cos(b1 flip) = S2 / (2 S1).

    Full recovery between pulses; else the map is too high where T1 is long. Good up to b1 · flip of 90 deg.

    Args:
        signal: (..., 2); of complex images the real part of S2 S1* / |S1|² counts, which keeps the sign.
        flip: Nominal flip angles, the second twice the first [rad].

    Returns:
        Map `b1`, relative to nominal; nan where the ratio has no angle.

    Raises:
        ConsistencyError: another number of images, or flip angles that are not one to two.

    Source:
        Insko and Bolinger, J Magn Reson A 103:82 (1993).

    Example:
        >>> flip = np.radians([60.0, 120.0])
        >>> round(float(fit_double_angle(np.sin(0.9 * flip), flip)["b1"]), 6)
        0.9
    """
    signal = _pair(signal, "images")
    flip = as_settings("flip", flip, 2)
    if abs(flip[1] - 2 * flip[0]) > 1e-3 * flip[0]:
        shown = " and ".join(f"{np.degrees(angle):g} deg" for angle in flip)
        raise ConsistencyError(Problem(f"must be a flip angle and twice as much, but is {shown}", path="flip"))
    ratio = 0.5 * _ratio(signal)
    good = np.abs(ratio) <= 1
    return _result("b1", np.arccos(np.where(good, ratio, 1.0)) / flip[0], good)


def fit_actual_flip(signal: ArrayLike, tr: ArrayLike, flip: float) -> FitResult:
    """Transmit field from two interleaved TR: cos(b1 flip) = (r n - 1) / (n - r), r = S2 / S1, n = TR2 / TR1.

    Args:
        signal: (..., 2): after the pulse before TR1, and after the pulse before TR2.
        tr: TR1 and TR2, the time that follows each of the two pulses [s].
        flip: Nominal flip angle [rad].

    Returns:
        Map `b1`, relative to nominal; nan where the ratio has no angle.

    Raises:
        ConsistencyError: another number of images, or equal TR.

    Source:
        Yarnykh, Magn Reson Med 57:192 (2007). First order in TR/T1.

    Example:
        >>> n, angle = 5.0, np.radians(54.0)
        >>> r = (1 + n * np.cos(angle)) / (n + np.cos(angle))
        >>> round(float(fit_actual_flip([1.0, r], [0.02, 0.1], np.radians(60.0))["b1"]), 6)
        0.9
    """
    signal = _pair(signal, "images")
    tr = as_settings("tr", tr, 2)
    if not tr[1] > tr[0] > 0:
        raise ConsistencyError(
            Problem(f"must be a short and a longer time, but is {tr[0] * 1e3:g} ms and {tr[1] * 1e3:g} ms", path="tr")
        )
    n, r = tr[1] / tr[0], _ratio(signal)
    cosine = (r * n - 1) / np.where(r == n, np.nan, n - r)
    good = np.abs(cosine) <= 1
    return _result("b1", np.arccos(np.where(good, cosine, 1.0)) / flip, good)


def _pair(signal: ArrayLike, what: str, complex_only: bool = False) -> np.ndarray:
    signal = np.asarray(signal)
    if signal.ndim == 0 or signal.shape[-1] != 2:
        raise ConsistencyError(Problem(f"must be two {what}, but has shape {signal.shape}", path="signal"))
    if complex_only and not np.iscomplexobj(signal):
        raise ConsistencyError(Problem("must be complex, but holds magnitudes", path="signal"))
    return signal


def _ratio(signal: np.ndarray) -> Float[np.ndarray, "*shape"]:
    """Second over first; nan where the first is zero."""
    first, second = signal[..., 0], signal[..., 1]
    power = np.abs(first) ** 2
    return np.real(second * first.conj()) / np.where(power > 0, power, np.nan)


def _result(name: str, values: np.ndarray, good: np.ndarray) -> FitResult:
    values, good = np.asarray(values, dtype=float), np.asarray(good) & np.isfinite(values)
    unknown = np.full(values.shape, np.nan)
    counts = {"fitted": int(good.sum()), "empty": 0, "failed": int((~good).sum())}
    return FitResult(
        maps={name: np.where(good, values, np.nan)}, standard_error={}, converged=good, residual=unknown, counts=counts
    )


def _dual_echo(given: Given) -> FitResult:
    return fit_dual_echo(given.signal, given.coordinate("te"))


def _double_angle(given: Given) -> FitResult:
    return fit_double_angle(given.signal, given.coordinate("flip"))


def _actual_flip(given: Given) -> FitResult:
    before = given.coordinate("tr")  # the time before each pulse, which is what follows the other one
    return fit_actual_flip(given.signal, before[::-1], float(given.coordinate("flip")[0]))


def _two_images(path: str, spec: Mapping[str, Any], image: Image) -> list[Problem]:
    n = len(image.data)
    return [] if n == 2 else [Problem(f"must have a series of two images, but has {n}", path=f"{path}.fit")]


_B1 = {"B1": Output(key="b1", unit="1")}
METHODS = {
    "dual_echo": Method(
        fewest=2,
        run=_dual_echo,
        outputs={"B0": Output(key="b0", unit="Hz")},
        setting="te",
        constant=("flip",),
        check=_two_images,
    ),
    "double_angle": Method(
        fewest=2, run=_double_angle, outputs=_B1, setting="flip", constant=("te",), check=_two_images
    ),
    "actual_flip": Method(run=_actual_flip, outputs=_B1, setting="tr", constant=("te", "flip"), check=_two_images),
}
