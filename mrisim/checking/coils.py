"""A gradient coil as a body and a bore feel it: nerve stimulation, acoustic resonances."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pydantic import BaseModel, ConfigDict, Field

from mrisim.constants import GAMMA_BAR
from mrisim.errors import Problem, SpecError
from mrisim.paths import library_folder
from mrisim.source import Source, did_you_mean, read_source, validate
from mrisim.units import FREQUENCY, GRADIENT, SLEW, TIME, Dimension, parse

WEIGHTS_OFF = 1e-3  # that the three weights of an axis may differ from 1 in sum


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _AxisModel(_Model):
    tau: list[str] = Field(min_length=3, max_length=3)
    a: list[float] = Field(min_length=3, max_length=3)
    stim_limit: str
    stim_threshold: str
    g_scale: float = Field(gt=0)


class _AxesModel(_Model):
    x: _AxisModel
    y: _AxisModel
    z: _AxisModel


class _BandModel(_Model):
    low: str = Field(alias="from")
    high: str = Field(alias="to")
    at_most: str


class _CoilModel(_Model):
    name: str
    axes: _AxesModel
    forbidden_bands: list[_BandModel] = []


@dataclass(frozen=True, kw_only=True)
class NerveAxis:
    """Constants of the SAFE model for one physical axis."""

    tau: tuple[float, float, float]  # [s]
    a: tuple[float, float, float]  # weights, 1 in sum
    stim_limit: float  # slew that is 100 % [Hz/m/s]
    stim_threshold: float  # [Hz/m/s]
    g_scale: float


@dataclass(frozen=True, kw_only=True)
class Band:
    """Frequencies at which the coil rings, and the gradient that it bears there."""

    low: float  # [Hz]
    high: float  # [Hz]
    at_most: float  # root mean square [Hz/m]


@dataclass(frozen=True, kw_only=True)
class Coil:
    """A gradient coil."""

    name: str
    axes: tuple[NerveAxis, NerveAxis, NerveAxis]  # physical x, y, z
    bands: tuple[Band, ...] = ()


def load_coil(name_or_path: str | Path = "example_coil") -> Coil:
    """Coil of the library or of a .yaml file.

    Raises:
        SpecError: no such coil, or values that are none; all problems at once.

    Example:
        >>> load_coil().axes[0].g_scale
        0.35
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        known = {file.stem: file for file in (library_folder("sequences") / "coils").glob("*.yaml")}
        if str(name_or_path) not in known:
            rule = f"must be a coil of the library or a .yaml file, but is '{name_or_path}'"
            raise SpecError(Problem(rule, did_you_mean(str(name_or_path), known), path="--coil"))
        path = known[str(name_or_path)]
    source = read_source(path)
    model = cast(_CoilModel, validate(_CoilModel, source))
    reader = _Reader(source)
    axes = tuple(reader.axis(name, getattr(model.axes, name)) for name in ("x", "y", "z"))
    bands = tuple(reader.band(i, band) for i, band in enumerate(model.forbidden_bands))
    if reader.problems:
        raise SpecError(reader.problems)
    return Coil(name=model.name, axes=axes, bands=bands)  # type: ignore[arg-type]


class _Reader:
    """Values in SI, with the problems of all of them."""

    def __init__(self, source: Source):
        self.source = source
        self.problems: list[Problem] = []

    def value(self, path: tuple[str | int, ...], text: str, dimension: Dimension) -> float:
        try:
            number = parse(text, dimension, GAMMA_BAR)
        except SpecError as error:
            self.problems += [self.source.problem(path, problem.rule, problem.remedy) for problem in error.problems]
            return 1.0
        if number <= 0:
            self.problems.append(self.source.problem(path, f"must be above zero, but is {text}"))
        return number

    def axis(self, name: str, model: _AxisModel) -> NerveAxis:
        path = ("axes", name)
        if abs(sum(model.a) - 1) > WEIGHTS_OFF:
            rule = f"must add up to 1, but add up to {sum(model.a):.4g}"
            self.problems.append(self.source.problem((*path, "a"), rule))
        return NerveAxis(
            tau=tuple(self.value((*path, "tau", i), text, TIME) for i, text in enumerate(model.tau)),  # type: ignore[arg-type]
            a=tuple(model.a),  # type: ignore[arg-type]
            stim_limit=self.value((*path, "stim_limit"), model.stim_limit, SLEW),
            stim_threshold=self.value((*path, "stim_threshold"), model.stim_threshold, SLEW),
            g_scale=model.g_scale,
        )

    def band(self, index: int, model: _BandModel) -> Band:
        path = ("forbidden_bands", index)
        low, high = (
            self.value((*path, key), text, FREQUENCY) for key, text in (("from", model.low), ("to", model.high))
        )
        if high <= low:
            self.problems.append(self.source.problem(path, "must end above its start, but does not"))
        return Band(low=low, high=high, at_most=self.value((*path, "at_most"), model.at_most, GRADIENT))
