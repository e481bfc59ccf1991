"""Arterial input functions: of populations, from a file, and what delay, dispersion and haematocrit do to them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from mrisim._types import Float
from mrisim.errors import ConsistencyError, Problem, SpecError
from mrisim.mapping.dce.curves import check_axis
from mrisim.mapping.least_squares import double_precision
from mrisim.physics.pharmacokinetics import convolve
from mrisim.units import CONCENTRATION, TIME, unit

MINUTE = 60.0


class Curve(NamedTuple):
    """A concentration curve on an axis of its own."""

    time: Float[np.ndarray, " n"]  # [s]
    concentration: Float[np.ndarray, " n"]  # [mM]
    medium: str  # "blood" or "plasma"


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


def disperse(t: ArrayLike, curve: ArrayLike, time: float) -> Float[np.ndarray, " n"]:
    """What is left of a bolus after a vessel that mixes it: the curve convolved with exp(-t/time) / time.

    Exact for a curve that is linear between its points and zero before the first; the area is kept.

    Args:
        t: Increasing times [s].
        curve: At these times [mM].
        time: Of dispersion [s]; zero for none.

    Raises:
        ConsistencyError: time axes that do not match, a negative time of dispersion.

    Source:
        Calamante, Gadian and Connelly, Magn Reson Med 44:466 (2000).

    Example:
        >>> disperse([0.0, 1.0, 2.0], [0.0, 1.0, 1.0], 1.0).round(4).tolist()
        [0.0, 0.3679, 0.7675]
    """
    times, values = np.asarray(t, dtype=float), np.asarray(curve, dtype=float)
    problems = check_axis("t", times, "curve", values.shape)
    if not (np.isfinite(time) and time >= 0):
        problems.append(Problem(f"must be zero or positive, but is {time:g} s", path="time"))
    if problems:
        raise ConsistencyError(problems)
    if time == 0:
        return values
    with double_precision():
        return np.asarray(convolve(1 / time, times, values)) / time


def read_aif(path: str | Path) -> Curve:
    """A measured curve from a CSV file of two columns, headed `time [s]` and `blood [mM]` or `plasma [mM]`.

    Any unit of time and of concentration will do, such as `time [min]`.

    Raises:
        SpecError: no such file, another header, rows that are not numbers, times that do not increase.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "aif.csv"
        >>> _ = file.write_text("time [min],blood [mM]\\n0,0\\n0.5,4.1\\n")
        >>> read_aif(file).time.tolist(), read_aif(file).medium
        ([0.0, 30.0], 'blood')
    """
    try:
        rows = list(csv.reader(Path(path).read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SpecError(Problem(f"must be a CSV file that can be read, but {error}", file=str(path))) from error
    header = [cell.strip() for cell in rows[0]] if rows else []
    columns = [_column(cell) for cell in header]
    if len(columns) != 2 or columns[0][0] != "time" or columns[1][0] not in ("blood", "plasma"):
        rule = f"must have the columns time [s] and blood [mM] or plasma [mM], but has {', '.join(header) or 'none'}"
        raise SpecError(Problem(rule, "Write them into the first line", "header", str(path), 1))
    factors = (_factor(path, header[0], columns[0][1], TIME), _factor(path, header[1], columns[1][1], CONCENTRATION))
    values = np.array(_numbers(path, rows[1:])).reshape(-1, 2) * factors
    problems = check_axis("time", values[:, 0], "rows", values[:, 1].shape)
    if problems:
        raise SpecError(Problem(p.rule, p.remedy, p.path, str(path)) for p in problems)
    return Curve(values[:, 0], values[:, 1], columns[1][0])


def _column(cell: str) -> tuple[str, str]:
    name, _, rest = cell.partition("[")
    return name.strip(), rest.rstrip("] ")


def _factor(path: str | Path, cell: str, text: str, dimension: object) -> float:
    try:
        factor, found = unit(text)
    except SpecError:
        factor, found = 1.0, None
    if found != dimension:
        rule = f"must have the unit of a {dimension} in brackets, but is '{cell}'"
        raise SpecError(Problem(rule, "Write time [s], blood [mM]", "header", str(path), 1))
    return factor


def _numbers(path: str | Path, rows: list[list[str]]) -> list[tuple[float, float]]:
    found, problems = [], []
    for line, row in enumerate(rows, start=2):
        try:
            first, second = (float(cell) for cell in row)
            found.append((first, second))
        except ValueError:
            if any(cell.strip() for cell in row):
                problems.append(Problem(f"must hold two numbers, but is '{','.join(row)}'", "", "", str(path), line))
    if problems:
        raise SpecError(problems)
    return found


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
