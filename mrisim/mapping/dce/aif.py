"""Arterial input functions from a file, and what dispersion does to them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mrisim._types import Float
from mrisim.errors import ConsistencyError, Problem, SpecError
from mrisim.mapping.dce.curves import check_axis
from mrisim.mapping.least_squares import double_precision
from mrisim.physics.pharmacokinetics import convolve
from mrisim.units import CONCENTRATION, TIME, Dimension, unit


class Curve(NamedTuple):
    """A concentration curve on an axis of its own."""

    time: Float[np.ndarray, " n"]  # [s]
    concentration: Float[np.ndarray, " n"]  # [mM]
    medium: str  # "blood" or "plasma"


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
        reason = getattr(error, "strerror", None) or str(error)
        rule = f"must be a CSV file that can be read, but is not: {reason}"
        raise SpecError(Problem(rule, "Check the path" * isinstance(error, OSError), file=str(path))) from None
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


def _factor(path: str | Path, cell: str, text: str, dimension: Dimension) -> float:
    try:
        factor, found = unit(text)
    except SpecError:
        factor, found = 1.0, None
    if found != dimension:
        rule = f"must have the unit of {dimension.noun} in brackets, but is '{cell}'"
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
