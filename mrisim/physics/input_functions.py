"""Arterial input functions of populations, and plasma from blood."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from mrisim._types import Float
from mrisim.errors import ConsistencyError, Problem

MINUTE = 60.0


def parker_aif(t: ArrayLike, delay: float = 0.0) -> Float[np.ndarray, " n"]:
    """Population average of 0.1 mmol/kg in blood: two Gaussians and a sigmoid, peak 6.1 mM [mM].

    Args:
        t: [s].
        delay: Arrival of the bolus [s]; before it the concentration is zero.

    Source:
        Parker et al., Magn Reson Med 56:993 (2006).

    Example:
        >>> parker_aif([10.5]).round(3).tolist()
        [6.068]
    """
    since = (np.asarray(t, dtype=float) - delay) / MINUTE
    first = 0.809 / (0.0563 * np.sqrt(2 * np.pi)) * np.exp(-((since - 0.17046) ** 2) / (2 * 0.0563**2))
    second = 0.330 / (0.132 * np.sqrt(2 * np.pi)) * np.exp(-((since - 0.365) ** 2) / (2 * 0.132**2))
    after = np.maximum(since, 0.0)
    washout = 1.050 * np.exp(-0.1685 * after) / (1 + np.exp(-38.078 * (after - 0.483)))
    return np.where(since >= 0, first + second + washout, 0.0)


def georgiou_aif(t: ArrayLike, delay: float = 0.0) -> Float[np.ndarray, " n"]:
    """Population average of 0.1 mmol/kg in blood, sampled at 1 s or faster: gamma variates of many circulations [mM].

    Narrower and higher than Parker's, peak 8.7 mM.

    Args:
        t: [s].
        delay: Arrival of the bolus [s]; before it the concentration is zero.

    Source:
        Georgiou et al., Magn Reson Med 81:1197 (2019), table 3, in the form of Horsfield et al., Phys Med Biol 54:2933
        (2009).

    Example:
        >>> georgiou_aif([7.5]).round(1).tolist()
        [8.7]
    """
    since = np.maximum((np.asarray(t, dtype=float) - delay) / MINUTE, 0.0)
    alpha, beta, period = 5.26, 0.032, 0.129
    decay = 0.37 * np.exp(-0.11 * since) + 0.33 * np.exp(-1.17 * since) + 10.06 * np.exp(-16.02 * since)
    k = np.arange(int(since.max(initial=0.0) / period) + 1)
    order = (k + 1) * alpha + k
    passed = since[..., None] - k * period
    log = order * np.log(np.where(passed > 0, passed, 1.0)) - passed / beta
    log -= (order + 1) * np.log(beta) + gammaln(order + 1)
    return decay * np.where(passed > 0, np.exp(log), 0.0).sum(axis=-1)


def weinmann_aif(t: ArrayLike, delay: float = 0.0, dose: float = 0.1) -> Float[np.ndarray, " n"]:
    """Two exponentials in plasma, without a first pass [mM].

    Args:
        t: [s].
        delay: Arrival of the bolus [s]; before it the concentration is zero.
        dose: [mmol/kg].

    Source:
        Weinmann et al., Physiol Chem Phys Med NMR 16:167 (1984), with the parameters of Tofts and Kermode, Magn Reson
        Med 17:357 (1991).

    Example:
        >>> weinmann_aif([0.0]).round(3).tolist()
        [0.877]
    """
    since = (np.asarray(t, dtype=float) - delay) / MINUTE
    after = np.maximum(since, 0.0)
    return np.where(since >= 0, dose * (3.99 * np.exp(-0.144 * after) + 4.78 * np.exp(-0.0111 * after)), 0.0)


def mcgrath_aif(t: ArrayLike, delay: float = 0.0) -> Float[np.ndarray, " n"]:
    """Population average of rats in blood: a ramp of 7 s, then two exponentials [mM].

    Args:
        t: [s].
        delay: Arrival of the bolus [s]; before it the concentration is zero.

    Source:
        McGrath et al., Magn Reson Med 61:1173 (2009), table 1, model B; as blood, as in the OSIPI code collection.

    Example:
        >>> mcgrath_aif([7.0]).round(2).tolist()
        [5.21]
    """
    since = np.asarray(t, dtype=float) - delay
    after = np.maximum(since - 7.0, 0.0)
    decay = 3.4 * np.exp(-0.045 * after) + 1.81 * np.exp(-0.0015 * after)
    return decay * np.clip(since / 7.0, 0.0, 1.0)


def plasma(cb: ArrayLike, hct: float) -> Float[np.ndarray, "*n"]:
    """Concentration in plasma from that in blood, cb / (1 - hct): no agent enters the red cells.

    Args:
        cb: In blood [mM].
        hct: Haematocrit, between 0 and 1; of large vessels 0.42 to 0.45, of capillaries less.

    Raises:
        ConsistencyError: the haematocrit is not between 0 and 1.

    Example:
        >>> plasma([3.0], 0.4).round(3).tolist()
        [5.0]
    """
    if not 0 < hct < 1:
        rule = f"must lie between 0 and 1, but is {hct:g}"
        raise ConsistencyError(Problem(rule, "Write a share such as 0.42, not per cent", "hct"))
    return np.asarray(cb, dtype=float) / (1 - hct)


class Population(NamedTuple):
    """An input function that can be named."""

    curve: Callable[..., Float[np.ndarray, " n"]]  # (t, delay)
    medium: str  # "blood" or "plasma"


POPULATIONS: Mapping[str, Population] = {
    "parker": Population(parker_aif, "blood"),
    "georgiou": Population(georgiou_aif, "blood"),
    "weinmann": Population(weinmann_aif, "plasma"),
    "mcgrath": Population(mcgrath_aif, "blood"),
}
