"""How each quantity is shown: unit, colours and their range, and how its difference from the truth is told."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps

from mrisim._types import Float
from mrisim.data import ParameterMap
from mrisim.plot._panels import masked

_PER_CENT = 10.0  # end of the colours of relative differences
_SHOWN_AS: dict[str, tuple[float, str]] = {
    "s": (1e3, "ms"),
    "m^2/s": (1e9, "µm²/ms"),
    "1": (1.0, ""),
}
_SHOWN_BY_NAME = {"MTT": (1.0, "s"), "delay": (1.0, "s"), "PDFF": (100.0, "%")}
_PER_MINUTE = ("Ktrans", "kep", "Fp", "PS", "CBF")
_COLOURS = {"T1": "inferno", "T2": "viridis", "T2star": "viridis", "PD": "gray", "S0": "gray", "FA": "gray"}
_COLOURS |= {"HighB": "gray"}
_COLOURS |= dict.fromkeys(("ADC", "MD", "AD", "RD", "D", "Dstar"), "cividis")
_COLOURS |= dict.fromkeys(("Ktrans", "kep", "ve", "vp"), "magma")
_COLOURS |= {"PDFF": "inferno", "B0": "RdBu_r", "B1": "PuOr_r"}
_RANGE = {"FA": (0.0, 1.0), "PDFF": (0.0, 100.0), "B1": (0.7, 1.3)}
_AROUND_ZERO = ("B0",)
_LEAST_REACH = 5.0  # of their colours [Hz]
_NO_FLUID = ("Ktrans", "kep", "ve", "vp", "Fp", "PS", "CBV", "CBF", "MTT", "delay", "HighB")  # fluid has little or none
_TISSUES = 64  # distinct values at most of a map that is one of tissues
_ABSOLUTE = {"FA": 0.05, "f": 0.05, "PDFF": 5.0, "B0": 5.0, "B1": 0.05, "ve": 0.05, "vp": 0.02}
_SPELLED = {"HighB": "computed high b", "Dstar": "D*", "T2star": "T2*", "R2star": "R2*"}


def spelled(name: str) -> str:
    """Name of a map as it is printed.

    Example:
        >>> spelled("R2star")
        'R2*'
    """
    return _SPELLED.get(name, name)


@dataclass(frozen=True)
class Look:
    """Range and colours of a map in the unit that is shown."""

    name: str
    factor: float  # SI → shown
    unit: str
    colours: str
    low: float
    high: float
    absolute: float | None  # end of the colours of differences; None: per cent of the truth

    @property
    def label(self) -> str:
        """Name and unit."""
        return f"{self.name} / {self.unit}" if self.unit else self.name

    @property
    def extend(self) -> str:
        """Which ends of the colours values may lie beyond."""
        return "both" if self.low != 0.0 else "max" if self.name not in _RANGE else "neither"

    def difference(self, true: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, float, str]:
        """Difference of values as they are shown, the end of its colours and its name.

        Quantities that may be zero differ in their unit, others in per cent of the truth.
        """
        if self.absolute is not None:
            unit = "points" if self.unit == "%" else self.unit
            text = f"difference / {unit}" if unit else f"difference of {self.name}"
            return found - true, self.absolute, text
        with np.errstate(divide="ignore", invalid="ignore"):
            return 100 * (found - true) / true, _PER_CENT, "difference / %"


def look_of(values: ParameterMap, limits: tuple[float, float] | None = None) -> Look:
    """How a map is shown; its range from `limits` [SI], from what is known of the quantity, or from its values.

    Example:
        >>> from mrisim.data import Grid
        >>> grid = Grid.of((1, 1, 1), (1e-3, 1e-3, 1e-3))
        >>> look_of(ParameterMap(name="B0", unit="Hz", data=np.full((1, 1, 1), -40.0), grid=grid)).low
        -40.0
    """
    name = values.name
    usual = _SHOWN_BY_NAME.get(name, _SHOWN_AS.get(values.unit, (1.0, values.unit)))
    factor, unit = (60.0, "1/min") if name in _PER_MINUTE else usual
    if limits is not None:
        low, high = limits[0] * factor, limits[1] * factor
    elif name in _RANGE:
        low, high = _RANGE[name]
    else:
        low, high = _ends(name, masked(values) * factor)
    return Look(spelled(name), factor, unit, _COLOURS.get(name, "viridis"), low, high, _ABSOLUTE.get(name))


def _ends(name: str, shown: np.ndarray) -> tuple[float, float]:
    """Ends of the colours: most of the values, not those of fluid alone; of a true map, whatever a tissue's size."""
    if name in _AROUND_ZERO:
        finite = np.abs(shown[np.isfinite(shown)])
        reach = float(np.percentile(finite, 98)) if finite.size else 0.0
        reach = max(reach, _LEAST_REACH)
        return -reach, reach
    finite = shown[np.isfinite(shown) & (shown > 0)]
    if not finite.size:
        return 0.0, 1.0
    values = np.unique(finite.astype(np.float32))
    true = len(values) <= _TISSUES
    if name in _NO_FLUID:
        return 0.0, float(values[-1] if true else np.percentile(finite, 99))
    return 0.0, float(min(np.percentile(finite, 98), 2.5 * np.median(values if true else finite)))


def colour_table(name: str) -> Float[np.ndarray, "256 3"]:
    """Red, green and blue of a colour map, 0 to 255.

    Example:
        >>> colour_table("gray")[-1].tolist()
        [255.0, 255.0, 255.0]
    """
    return np.round(255 * colormaps[name](np.linspace(0, 1, 256))[:, :3])
