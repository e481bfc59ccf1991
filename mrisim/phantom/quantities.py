"""Types of a phantom specification's values: text with a unit in, SI out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema

from mrisim import units
from mrisim.errors import Problem, SpecError
from mrisim.units import Dimension

VOLUME = units.LENGTH**3


class Strict(BaseModel):
    """A mapping whose keys are all known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _reader(
    dimension: Dimension, low: float | None, open_low: bool, high: float | None, infinite: bool
) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            article = dimension.noun.split()[0]
            raise SpecError(Problem(f"must be {article} {name_of(dimension)}, but is {_kind(value)}"))
        number = units.parse(str(value), dimension)
        if math.isnan(number) or (math.isinf(number) and not infinite):
            raise SpecError(Problem(f"must be finite, but is {value}"))
        if low is not None and (number <= low if open_low else number < low):
            bound = "above" if open_low else "at least"
            raise SpecError(Problem(f"must be {bound} {units.show(low, dimension)}, but is {value}"))
        if high is not None and number > high:
            raise SpecError(Problem(f"must be at most {units.show(high, dimension)}, but is {value}"))
        return number

    return read


def name_of(dimension: Dimension) -> str:
    """Name of a dimension as messages spell it."""
    return "volume" if dimension == VOLUME else str(dimension)


def _kind(value: Any) -> str:
    if value is None:
        return "empty"
    return {bool: str(value).lower(), dict: "a mapping", list: "a list"}.get(type(value), repr(value))


def _quantity(
    dimension: Dimension,
    low: float | None = None,
    open_low: bool = False,
    high: float | None = None,
    infinite: bool = False,
) -> tuple[BeforeValidator, WithJsonSchema]:
    example = units.EXAMPLES.get(dimension)
    kind: dict[str, Any] = {"type": ["number", "string"]} if dimension == units.NUMBER else {"type": "string"}
    if example:
        kind |= {"description": f"{name_of(dimension)}, such as {example}", "examples": [example]}
    return BeforeValidator(_reader(dimension, low, open_low, high, infinite)), WithJsonSchema(kind)


Length = Annotated[float, *_quantity(units.LENGTH)]
PositiveLength = Annotated[float, *_quantity(units.LENGTH, low=0.0, open_low=True)]
NonNegativeLength = Annotated[float, *_quantity(units.LENGTH, low=0.0)]
Volume = Annotated[float, *_quantity(VOLUME, low=0.0, open_low=True)]
Angle = Annotated[float, *_quantity(units.ANGLE)]
Frequency = Annotated[float, *_quantity(units.FREQUENCY)]
FieldStrength = Annotated[float, *_quantity(units.FIELD, low=0.0, open_low=True)]
Shift = Annotated[float, *_quantity(units.SHIFT)]
Time = Annotated[float, *_quantity(units.TIME, low=0.0, open_low=True, infinite=True)]
Rate = Annotated[float, *_quantity(units.FREQUENCY, low=0.0)]
Delay = Annotated[float, *_quantity(units.TIME, low=0.0)]
Relaxivity = Annotated[float, *_quantity(units.RELAXIVITY, low=0.0)]
Diffusivity = Annotated[float, *_quantity(units.DIFFUSION, low=0.0)]
NonNegative = Annotated[float, *_quantity(units.NUMBER, low=0.0)]
Share = Annotated[float, *_quantity(units.NUMBER, low=0.0, high=1.0)]


COUNT_SCHEMA = WithJsonSchema({"type": ["integer", "string"], "description": "whole number, or a parameter's name"})


def field_name(field: float) -> str:
    """Field strength [T] as the table spells it.

    Example:
        >>> field_name(3.0)
        '3 T'
    """
    return f"{field:g} T"


FieldName = Annotated[str, BeforeValidator(lambda text: field_name(units.parse(str(text), units.FIELD)))]
