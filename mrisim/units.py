"""Text with a unit ↔ SI; every conversion factor in the package.

Inside the package: s, m, rad, Hz, 1/m (cycles), Hz/m, mol/m³, m²/s, and tesla for B0 only. So a gradient in mT/m and an
RF field in µT become Hz/m and Hz through the gyromagnetic ratio, here and nowhere else.
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass, fields
from fractions import Fraction

from mrisim.constants import GAMMA_BAR
from mrisim.errors import SpecError


@dataclass(frozen=True)
class Dimension:
    """Exponents of the base units. Angle and chemical shift are dimensions of their own, so that 90 is never 90 rad."""

    s: Fraction = Fraction(0)
    m: Fraction = Fraction(0)
    rad: Fraction = Fraction(0)
    tesla: Fraction = Fraction(0)
    mol: Fraction = Fraction(0)
    ppm: Fraction = Fraction(0)

    def __mul__(self, other: Dimension) -> Dimension:
        return Dimension(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __pow__(self, exponent: int | Fraction) -> Dimension:
        return Dimension(*(getattr(self, f.name) * Fraction(exponent) for f in fields(self)))

    def __truediv__(self, other: Dimension) -> Dimension:
        return self * other**-1

    def __str__(self) -> str:
        return NAMES.get(self) or _spell(self)

    @property
    def noun(self) -> str:
        """Name with its article.

        Example:
            >>> ANGLE.noun
            'an angle'
        """
        return f"{'an' if str(self)[:1] in 'aeio' else 'a'} {self}"


def _spell(dimension: Dimension) -> str:
    """As a unit that can be written: s^2/m."""
    above, below = [], []
    for f in fields(dimension):
        exponent = getattr(dimension, f.name)
        if exponent:
            part = f.name if abs(exponent) == 1 else f"{f.name}^{abs(exponent)}"
            (above if exponent > 0 else below).append(part)
    return "/".join(["*".join(above) or "1", *below])


_ONE = Fraction(1)
NUMBER = Dimension()
TIME = Dimension(s=_ONE)
LENGTH = Dimension(m=_ONE)
ANGLE = Dimension(rad=_ONE)
FREQUENCY = Dimension(s=-_ONE)
FIELD = Dimension(tesla=_ONE)
SHIFT = Dimension(ppm=_ONE)
AREA = Dimension(m=-_ONE)  # gradient moment, k
GRADIENT = Dimension(s=-_ONE, m=-_ONE)
SLEW = Dimension(s=Fraction(-2), m=-_ONE)
DIFFUSION = Dimension(s=-_ONE, m=Fraction(2))
B_VALUE = Dimension(s=_ONE, m=Fraction(-2))
CONCENTRATION = Dimension(mol=_ONE, m=Fraction(-3))
RELAXIVITY = Dimension(s=-_ONE, mol=-_ONE, m=Fraction(3))

NAMES: dict[Dimension, str] = {
    NUMBER: "number",
    TIME: "time",
    LENGTH: "length",
    ANGLE: "angle",
    FREQUENCY: "frequency",
    FIELD: "field strength",
    SHIFT: "chemical shift",
    AREA: "gradient area",
    GRADIENT: "gradient",
    SLEW: "slew rate",
    DIFFUSION: "diffusion coefficient",
    B_VALUE: "b value",
    CONCENTRATION: "concentration",
    RELAXIVITY: "relaxivity",
}

EXAMPLES: dict[Dimension, str] = {
    TIME: "5 ms",
    LENGTH: "1 mm",
    ANGLE: "30 deg",
    FREQUENCY: "100 Hz",
    FIELD: "3 T",
    SHIFT: "-3.4 ppm",
    AREA: "500 1/m",
    GRADIENT: "40 mT/m",
    SLEW: "150 T/m/s",
    DIFFUSION: "1e-3 mm^2/s",
    B_VALUE: "1000 s/mm^2",
    CONCENTRATION: "1 mM",
    RELAXIVITY: "4.5 1/s/mM",
}

_ATOMS: dict[str, tuple[float, Dimension]] = {
    "s": (1.0, TIME),
    "ms": (1e-3, TIME),
    "us": (1e-6, TIME),
    "µs": (1e-6, TIME),
    "ns": (1e-9, TIME),
    "min": (60.0, TIME),
    "m": (1.0, LENGTH),
    "cm": (1e-2, LENGTH),
    "mm": (1e-3, LENGTH),
    "um": (1e-6, LENGTH),
    "µm": (1e-6, LENGTH),
    "rad": (1.0, ANGLE),
    "deg": (math.pi / 180.0, ANGLE),
    "turn": (2.0 * math.pi, ANGLE),
    "Hz": (1.0, FREQUENCY),
    "kHz": (1e3, FREQUENCY),
    "MHz": (1e6, FREQUENCY),
    "T": (1.0, FIELD),
    "mT": (1e-3, FIELD),
    "ppm": (1.0, SHIFT),
    "mol": (1.0, Dimension(mol=_ONE)),
    "mM": (1.0, CONCENTRATION),
    "%": (1e-2, NUMBER),
    "1": (1.0, NUMBER),
}
# Units of a magnetic field that mean a frequency: gradient, slew rate, RF field. The factor is in tesla.
_THROUGH_GAMMA: dict[str, tuple[float, Dimension]] = {
    "mT/m": (1e-3, GRADIENT),
    "T/m": (1.0, GRADIENT),
    "T/m/s": (1.0, SLEW),
    "mT/m/ms": (1.0, SLEW),
    "uT": (1e-6, FREQUENCY),
    "µT": (1e-6, FREQUENCY),
}

_ATOM_PATTERN = "|".join(sorted(map(re.escape, (a for a in _ATOMS if a != "1")), key=len, reverse=True))
_COMPOUND = rf"(?:1|{_ATOM_PATTERN})(?:\^-?\d+)?(?:[*/](?:{_ATOM_PATTERN})(?:\^-?\d+)?)*"
UNIT_PATTERN = "(?:" + "|".join(sorted(map(re.escape, _THROUGH_GAMMA), key=len, reverse=True)) + f"|{_COMPOUND})"
"""Regular expression of one unit, without spaces inside."""
NUMBER_PATTERN = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_QUANTITY = re.compile(rf"\s*({NUMBER_PATTERN})\s*({UNIT_PATTERN})?\s*")


def unit(text: str, gamma: float = GAMMA_BAR) -> tuple[float, Dimension]:
    """Factor to SI and dimension of a unit such as `mT/m` or `mm^2/s`.

    Raises:
        SpecError: the unit is unknown.
    """
    if text in _THROUGH_GAMMA:
        factor, dimension = _THROUGH_GAMMA[text]
        return factor * gamma, dimension
    if not re.fullmatch(_COMPOUND, text):
        known = [*_ATOMS, *_THROUGH_GAMMA]
        close = difflib.get_close_matches(text, known, n=1)
        raise SpecError(
            f"must carry a known unit, but '{text}' is none" + (f". Did you mean '{close[0]}'" if close else "")
        )
    factor, dimension, sign = 1.0, NUMBER, 1
    for operator, atom, exponent in re.findall(rf"([*/]?)(1|{_ATOM_PATTERN})(?:\^(-?\d+))?", text):
        sign = -1 if operator == "/" else 1
        power = sign * int(exponent or 1)
        atom_factor, atom_dimension = _ATOMS[atom]
        factor *= atom_factor**power
        dimension = dimension * atom_dimension**power
    return factor, dimension


def parse(text: str | float | int, dimension: Dimension, gamma: float = GAMMA_BAR) -> float:
    """Number in SI from text with a unit.

    A Python number passes through as SI: Python callers work in SI, only text carries units. Text without a unit is
    refused where a dimension is due.

    Args:
        text: For example "5 ms", "40 mT/m", "inf".
        dimension: What it must be.
        gamma: Gyromagnetic ratio over 2 pi [Hz/T], for units of field that mean a frequency.

    Raises:
        SpecError: no number, unknown unit, missing unit, or another dimension.

    Example:
        >>> parse("5 ms", TIME)
        0.005
    """
    if isinstance(text, bool):
        raise SpecError(f"must be {dimension.noun}, but is {str(text).lower()}")
    if isinstance(text, (int, float)):
        return float(text)
    if text.strip() in ("inf", "infinity"):
        return math.inf
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise SpecError(f"must be {dimension.noun}{_example(dimension)}, but is '{text}'")
    number, unit_text = float(match[1]), match[2]
    if unit_text is None:
        if dimension == NUMBER:
            return number
        raise SpecError(
            f"must be {dimension.noun} with its unit, but is '{text.strip()}'. "
            f"Did you mean '{text.strip()} {_suggest(dimension)}'"
        )
    factor, found = unit(unit_text, gamma)
    if found != dimension:
        raise SpecError(f"must be {dimension.noun}{_example(dimension)}, but is '{text.strip()}', {found.noun}")
    return number * factor


def _example(dimension: Dimension) -> str:
    return f" such as {EXAMPLES[dimension]}" if dimension in EXAMPLES else ""


def _suggest(dimension: Dimension) -> str:
    return EXAMPLES[dimension].split(" ", 1)[1] if dimension in EXAMPLES else str(dimension)


_PREFERRED: dict[Dimension, tuple[tuple[float, str], ...]] = {
    TIME: ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")),
    LENGTH: ((1.0, "m"), (1e-3, "mm"), (1e-6, "um")),
    ANGLE: ((math.pi / 180.0, "deg"),),
    FREQUENCY: ((1e6, "MHz"), (1e3, "kHz"), (1.0, "Hz")),
    FIELD: ((1.0, "T"),),
    SHIFT: ((1.0, "ppm"),),
    AREA: ((1.0, "1/m"),),
    DIFFUSION: ((1e-6, "mm^2/s"),),
    B_VALUE: ((1e6, "s/mm^2"),),
    CONCENTRATION: ((1.0, "mM"),),
    NUMBER: ((1.0, ""),),
}


def show_b1(value: float, gamma: float = GAMMA_BAR, digits: int = 6) -> str:
    """Text of an RF field [Hz] in microtesla.

    Example:
        >>> show_b1(851.55, digits=4)
        '20 uT'
    """
    return f"{value / gamma * 1e6:.{digits}g} uT"


def show(value: float, dimension: Dimension, gamma: float = GAMMA_BAR, digits: int = 6) -> str:
    """Text of an SI value in the unit that a user would write.

    Example:
        >>> show(0.005, TIME)
        '5 ms'
        >>> show(0.0, FREQUENCY)
        '0 Hz'
    """
    if math.isinf(value) or math.isnan(value):
        return str(value)
    if dimension == GRADIENT:
        return f"{value / gamma * 1e3:.{digits}g} mT/m"
    if dimension == SLEW:
        return f"{value / gamma:.{digits}g} T/m/s"
    choices = _PREFERRED.get(dimension)
    if choices is None:
        return f"{value:.{digits}g} {_spell(dimension)}"
    fitting = (choice for choice in choices if abs(value) >= choice[0] * (1 - 1e-9))
    factor, name = next(fitting, choices[-1])
    if value == 0 and dimension in EXAMPLES:
        name = EXAMPLES[dimension].split()[1]
    return f"{value / factor:.{digits}g} {name}".rstrip()
