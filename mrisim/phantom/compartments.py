"""Walls that diffusing water meets: what a random walk starts in, moves in and is held by.

Lengths in metres, coefficients in m²/s, permeabilities in m/s; text with a unit ("5 um", "2e-3 mm^2/s") is accepted.
Walls reflect, and let pass where a permeability is given. `Mixture` puts several side by side without exchange.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mrisim import units
from mrisim._types import Float, Int
from mrisim.errors import ConsistencyError, Problem, SpecError

PERMEABILITY = units.LENGTH / units.TIME
Direction = tuple[float, float, float]

_FINEST = 1 / 5  # of the smallest length of a geometry: standard deviation of a step that is still accepted
_DEFAULT = 1 / 16  # likewise, of a step unless another is asked for
_DEFAULT_OF_FLAT_WALLS = 1 / 8  # likewise: reflection at them is exact


class Uniforms(Protocol):
    """Four uniform numbers in (0, 1) for each walker; another four for each other draw."""

    def __call__(self, draw: int) -> Float[np.ndarray, "walkers 4"]: ...


Start = tuple[Float[np.ndarray, "walkers 3"], Int[np.ndarray, " walkers"]]
"""Where walkers start, along the geometry's own axes [m], and in which medium."""


@runtime_checkable
class Geometry(Protocol):
    """What a walk needs of its walls. The engine has a move for each `kind`."""

    @property
    def kind(self) -> str: ...

    @property
    def media(self) -> tuple[Medium, ...]: ...

    @property
    def permeability(self) -> float: ...

    @property
    def length(self) -> float:
        """The length that steps must be small against [m]; infinite without walls."""
        ...

    def axes(self) -> Float[np.ndarray, "3 3"]:
        """Rows: the geometry's own axes in physical coordinates."""
        ...

    def start(self, uniforms: Uniforms) -> Start: ...


@dataclass(frozen=True, kw_only=True)
class Medium:
    """What fills a compartment. Relaxation that is None is that of the isochromat.

    Example:
        >>> Medium(diffusion="2e-3 mm^2/s").diffusion
        2e-09
    """

    diffusion: float  # [m²/s]
    t1: float | None = None  # [s]
    t2: float | None = None  # [s]
    pd: float = 1.0  # relative to the isochromat's

    def __post_init__(self):
        _convert(self, diffusion=units.DIFFUSION, t1=units.TIME, t2=units.TIME, pd=units.NUMBER)
        _refuse(*_not_negative(self, "diffusion", "pd"), *_positive(self, "t1", "t2"))


@dataclass(frozen=True, kw_only=True)
class Free:
    """No walls.

    Example:
        >>> Free(diffusion=2e-9).length
        inf
    """

    diffusion: float
    t1: float | None = None
    t2: float | None = None

    kind = "free"
    permeability = 0.0
    length = float("inf")

    def __post_init__(self):
        _fill(self)

    @property
    def media(self) -> tuple[Medium, ...]:
        return (_inner(self),)

    def axes(self) -> Float[np.ndarray, "3 3"]:
        return np.eye(3)

    def start(self, uniforms: Uniforms) -> Start:
        n = len(uniforms(0))
        return np.zeros((n, 3)), np.zeros(n, dtype=np.int32)


@dataclass(frozen=True, kw_only=True)
class Planes:
    """Between two parallel planes that reflect.

    Example:
        >>> Planes(separation="16 um", diffusion=2e-9).length
        8e-06
    """

    separation: float
    diffusion: float
    normal: Direction = (0.0, 0.0, 1.0)
    t1: float | None = None
    t2: float | None = None

    kind = "planes"
    permeability = 0.0

    def __post_init__(self):
        _fill(self, separation=units.LENGTH)
        _refuse(*_positive(self, "separation"), *_direction(self, "normal"))

    @property
    def media(self) -> tuple[Medium, ...]:
        return (_inner(self),)

    @property
    def length(self) -> float:
        return self.separation / 2

    def axes(self) -> Float[np.ndarray, "3 3"]:
        return _frame(self.normal)

    def start(self, uniforms: Uniforms) -> Start:
        place = uniforms(0)[:, 0]
        zero = np.zeros(len(place))
        return np.column_stack([zero, zero, (place - 0.5) * self.separation]), zero.astype(np.int32)


@dataclass(frozen=True, kw_only=True)
class _Balls:
    """Cylinders or spheres: alone, or packed with a medium around them."""

    radius: float
    diffusion: float
    t1: float | None = None
    t2: float | None = None
    spacing: float | None = None  # between the centers of neighbors; None: alone, and nothing outside
    outside: Medium | None = None
    permeability: float = 0.0

    def __post_init__(self):
        _fill(self, radius=units.LENGTH, spacing=units.LENGTH, permeability=PERMEABILITY)
        _refuse(*_positive(self, "radius"), *_not_negative(self, "permeability"), *self._misfits())

    def _misfits(self) -> Iterator[Problem]:
        if self.spacing is not None and self.spacing < 2 * self.radius:
            rule = f"must be at least {_um(2 * self.radius)}, twice the radius, but is {_um(self.spacing)}"
            yield Problem(rule, path="spacing")
        if (self.outside is None) != (self.spacing is None):
            missing = "outside" if self.outside is None else "spacing"
            yield Problem("must be given for a packing, but is not", "Or leave out both", path=missing)
        if self.permeability > 0 and self.outside is None:
            rule = f"must be 0 where nothing lies outside, but is {self.permeability:g} m/s"
            yield Problem(rule, "Give spacing and outside", path="permeability")
        if self.outside is not None:
            yield from _mixed_relaxation((_inner(self), self.outside))

    @property
    def media(self) -> tuple[Medium, ...]:
        return (_inner(self),) if self.outside is None else (_inner(self), self.outside)

    @property
    def length(self) -> float:
        return self.radius

    def cell(self) -> Float[np.ndarray, " n"]:
        """Sides of the cell that repeats: balls at its corners and in its middle [m]."""
        raise NotImplementedError

    def nearest(self, position: Float[np.ndarray, "walkers n"]) -> Float[np.ndarray, "walkers n"]:
        """Place relative to the nearest center [m]."""
        cell = self.cell()
        corner = position - cell * np.round(position / cell)
        middle = position - cell * (np.round(position / cell - 0.5) + 0.5)
        closer = (corner**2).sum(axis=1) <= (middle**2).sum(axis=1)
        return np.where(closer[:, None], corner, middle)

    def _start(self, uniforms: Uniforms, n: int) -> Start:
        """By rejection: in the box about the ball, or in the cell where what lies outside is walked too."""
        drawn = uniforms(0)
        position, medium = np.zeros((len(drawn), n)), np.full(len(drawn), -1, dtype=np.int32)
        for draw in range(1000):
            if draw:
                drawn = uniforms(draw)
            if self.outside is None:
                tried = (2 * drawn[:, :n] - 1) * self.radius
                kind = np.where((tried**2).sum(axis=1) < self.radius**2, 0, -1)
            else:
                tried = drawn[:, :n] * self.cell()
                inside = (self.nearest(tried) ** 2).sum(axis=1) < self.radius**2
                share = np.where(inside, 1.0, self.outside.pd) / max(1.0, self.outside.pd)
                kind = np.where(drawn[:, 3] < share, np.where(inside, 0, 1), -1)
            fresh = (medium < 0) & (kind >= 0)
            position[fresh], medium[fresh] = tried[fresh], kind[fresh]
            if (medium >= 0).all():
                break
        return position, medium


@dataclass(frozen=True, kw_only=True)
class Cylinders(_Balls):
    """Parallel cylinders without ends: inside one of them, or of a hexagonal packing inside and outside.

    Crossing bundles are a `Mixture` of cylinders along several axes.

    Example:
        >>> round(Cylinders(radius="1 um", diffusion=2e-9, spacing="2.4 um", outside=Medium(diffusion=2e-9)).share, 3)
        0.63
    """

    axis: Direction = (0.0, 0.0, 1.0)

    def __post_init__(self):
        super().__post_init__()
        _refuse(*_direction(self, "axis"))

    @property
    def kind(self) -> str:
        return "cylinder" if self.outside is None else "cylinders"

    @property
    def share(self) -> float:
        """Of the volume that lies inside."""
        return 1.0 if self.spacing is None else 2 * np.pi * self.radius**2 / float(np.prod(self.cell()))

    def cell(self) -> Float[np.ndarray, " 2"]:
        return (self.spacing or 0.0) * np.array([1.0, np.sqrt(3.0)])

    def axes(self) -> Float[np.ndarray, "3 3"]:
        return _frame(self.axis)

    def start(self, uniforms: Uniforms) -> Start:
        position, medium = self._start(uniforms, 2)
        return np.column_stack([position, np.zeros(len(position))]), medium


@dataclass(frozen=True, kw_only=True)
class Spheres(_Balls):
    """Spheres: inside one of them, or of a body-centred cubic packing inside and outside.

    Example:
        >>> Spheres(radius="5 um", diffusion=2e-9).kind
        'sphere'
    """

    @property
    def kind(self) -> str:
        return "sphere" if self.outside is None else "spheres"

    @property
    def share(self) -> float:
        """Of the volume that lies inside."""
        return 1.0 if self.spacing is None else 8 / 3 * np.pi * self.radius**3 / float(np.prod(self.cell()))

    def cell(self) -> Float[np.ndarray, " 3"]:
        return np.full(3, 2 / np.sqrt(3.0) * (self.spacing or 0.0))

    def axes(self) -> Float[np.ndarray, "3 3"]:
        return np.eye(3)

    def start(self, uniforms: Uniforms) -> Start:
        return self._start(uniforms, 3)


@dataclass(frozen=True, kw_only=True, eq=False)
class Labels:
    """A grid of voxels that repeats, each of them of one medium; walls lie between voxels of different labels.

    Example:
        >>> media = (Medium(diffusion=2e-9), Medium(diffusion=1e-9))
        >>> Labels(labels=[[[0]], [[1]]], spacing="2 um", media=media, permeability="10 um/s").labels.shape
        (2, 1, 1)
    """

    labels: Int[np.ndarray, "x y z"]  # index into `media`; -1 holds no water
    spacing: float | tuple[float, float, float]  # sides of a voxel [m]
    media: tuple[Medium, ...]
    permeability: float = 0.0  # of walls between two media that hold water

    kind = "labels"

    def __post_init__(self):
        labels = np.asarray(self.labels)
        given = self.spacing if isinstance(self.spacing, (tuple, list)) else (self.spacing,) * 3
        sides = tuple(_parsed(v, units.LENGTH, "spacing") for v in given)
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "spacing", sides)
        object.__setattr__(self, "media", tuple(self.media))
        _convert(self, permeability=PERMEABILITY)
        _refuse(*self._misfits(), *_not_negative(self, "permeability"))

    def _misfits(self) -> Iterator[Problem]:
        if self.labels.ndim != 3 or not np.issubdtype(self.labels.dtype, np.integer):
            rule = (
                f"must be whole numbers on a grid (x, y, z), but are {self.labels.dtype} of shape {self.labels.shape}"
            )
            yield Problem(rule, path="labels")
        elif self.labels.size == 0 or self.labels.max() < 0 or self.labels.max() >= len(self.media):
            rule = f"must reach from -1 to {len(self.media) - 1}, one for each medium, with water somewhere"
            yield Problem(f"{rule}, but reach to {self.labels.max(initial=-1)}", path="labels")
        if len(self.sides) != 3 or not all(np.isfinite(s) and s > 0 for s in self.sides):
            yield Problem("must be one or three lengths above 0", path="spacing")
        yield from _mixed_relaxation(self.media)

    @property
    def sides(self) -> tuple[float, ...]:
        """Of a voxel [m]."""
        return tuple(self.spacing)  # type: ignore[arg-type]

    @property
    def length(self) -> float:
        return min(self.sides)

    def axes(self) -> Float[np.ndarray, "3 3"]:
        return np.eye(3)

    def start(self, uniforms: Uniforms) -> Start:
        drawn = uniforms(0)
        weight = np.append([m.pd for m in self.media], 0.0)[self.labels].reshape(-1)  # the last is that of -1
        chosen = np.searchsorted(np.cumsum(weight) / weight.sum(), drawn[:, 3], side="right")
        chosen = np.minimum(chosen, len(weight) - 1)
        voxel = np.stack(np.unravel_index(chosen, self.labels.shape), axis=1)
        middle = 0.5 * np.array(self.labels.shape)
        position = (voxel + drawn[:, :3] - middle) * np.array(self.sides)
        return position, self.labels.reshape(-1)[chosen].astype(np.int32)


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Several geometries in each place, without exchange between them.

    Example:
        >>> one, other = (Cylinders(radius=1e-6, diffusion=2e-9, axis=axis) for axis in ((1, 0, 0), (0, 1, 0)))
        >>> len(Mixture(parts=(one, other), shares=(0.5, 0.5)).parts)
        2
    """

    parts: tuple[Any, ...]
    shares: tuple[float, ...]  # of the signal without relaxation; they add up to 1

    def __post_init__(self):
        object.__setattr__(self, "parts", tuple(self.parts))
        object.__setattr__(self, "shares", tuple(float(share) for share in self.shares))
        problems = []
        if len(self.parts) != len(self.shares) or not self.parts:
            rule = f"must be one for each of {len(self.parts)} parts, but are {len(self.shares)}"
            problems.append(Problem(rule, path="shares"))
        elif min(self.shares) <= 0 or abs(sum(self.shares) - 1) > 1e-6:
            rule = f"must be above 0 and add up to 1, but are {', '.join(f'{s:g}' for s in self.shares)}"
            problems.append(Problem(rule, path="shares"))
        problems += [
            Problem(f"must be a geometry such as Cylinders, but is {type(part).__name__}", path=f"parts[{i}]")
            for i, part in enumerate(self.parts)
            if not isinstance(part, Geometry)
        ]
        _refuse(*problems)


Compartments = Geometry | Mixture


def default_step(geometry: Geometry) -> float:
    """Standard deviation of a step along an axis, unless another time step is asked for [m]."""
    return (_DEFAULT_OF_FLAT_WALLS if geometry.kind in ("planes", "labels") else _DEFAULT) * geometry.length


def longest_step(geometry: Geometry) -> float:
    """Largest standard deviation of a step along an axis that the geometry allows [m]."""
    return _FINEST * geometry.length


def _inner(part: Any) -> Medium:
    return Medium(diffusion=part.diffusion, t1=part.t1, t2=part.t2)


def _mixed_relaxation(media: tuple[Medium, ...]) -> Iterator[Problem]:
    for name in ("t1", "t2"):
        given = [getattr(medium, name) is not None for medium in media]
        if any(given) and not all(given):
            rule = f"must be given for all {len(given)} media or for none, but is given for {sum(given)}"
            yield Problem(rule, path=name)


def _fill(part: Any, **dimensions: units.Dimension) -> None:
    _convert(part, diffusion=units.DIFFUSION, t1=units.TIME, t2=units.TIME, **dimensions)
    _refuse(*_not_negative(part, "diffusion"), *_positive(part, "t1", "t2"))


def _convert(part: Any, **dimensions: units.Dimension) -> None:
    """Text with a unit becomes SI."""
    for name, dimension in dimensions.items():
        value = getattr(part, name)
        if value is not None:
            object.__setattr__(part, name, _parsed(value, dimension, name))


def _parsed(value: Any, dimension: units.Dimension, name: str) -> float:
    try:
        return units.parse(value if isinstance(value, str) else float(value), dimension)
    except SpecError as error:
        raise ConsistencyError(Problem(str(error).removesuffix("."), path=name)) from None


def _refuse(*problems: Problem) -> None:
    if problems:
        raise ConsistencyError(problems)


def _positive(part: Any, *names: str) -> Iterator[Problem]:
    for name in names:
        value = getattr(part, name)
        if value is not None and not value > 0:
            yield Problem(f"must be above 0, but is {value:g}", path=name)


def _not_negative(part: Any, *names: str) -> Iterator[Problem]:
    for name in names:
        value = getattr(part, name)
        if not (np.isfinite(value) and value >= 0):
            yield Problem(f"must be a number from 0, but is {value:g}", path=name)


def _direction(part: Any, name: str) -> Iterator[Problem]:
    value = np.asarray(getattr(part, name), dtype=float)
    if value.shape != (3,) or not np.all(np.isfinite(value)) or not np.linalg.norm(value) > 0:
        yield Problem(f"must be a direction (x, y, z), but is {getattr(part, name)}", path=name)


def _frame(axis: Direction) -> Float[np.ndarray, "3 3"]:
    """Right-handed axes as rows, the last of them along `axis`; the unit matrix for z."""
    z = np.asarray(axis, dtype=float) / np.linalg.norm(axis)
    if z[2] > 1 - 1e-12:
        return np.eye(3)
    helper = np.eye(3)[np.argmin(np.abs(z))]
    x = np.cross(helper, z)
    x = x / np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z])


def _um(length: float) -> str:
    return f"{length * 1e6:g} µm"
