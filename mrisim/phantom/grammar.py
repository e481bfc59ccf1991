"""Grammar of a phantom file. Every model refuses unknown keys; every quantity carries its unit."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from mrisim.errors import Problem, SpecError
from mrisim.phantom.quantities import (
    COUNT_SCHEMA,
    Angle,
    Delay,
    Diffusivity,
    FieldStrength,
    Frequency,
    Length,
    NonNegative,
    NonNegativeLength,
    PositiveLength,
    Rate,
    Relaxivity,
    Share,
    Shift,
    Strict,
    Time,
    Volume,
)

MAX_FOLDS = 60
MAX_SHAPES = 2000
MAX_POINTS = 10_000
MAX_SEED = 2**31 - 1
MAX_ISOCHROMATS = 100_000
MAX_LABELS = 1000

Plane = tuple[Length, Length]
Space = tuple[Length, Length, Length]
PositivePlane = tuple[PositiveLength, PositiveLength]
PositiveSpace = tuple[PositiveLength, PositiveLength, PositiveLength]


class Parameter(Strict):
    """What a user may set. Its name stands for its value wherever it is a whole value in the file."""

    value: str | float | int
    min: str | float | int | None = None
    max: str | float | int | None = None
    doc: str = ""


def _center_kind(value: Any) -> str:
    return "plane" if isinstance(value, (list, tuple)) and len(value) == 2 else "space"


Center = Annotated[Annotated[Plane, Tag("plane")] | Annotated[Space, Tag("space")], Discriminator(_center_kind)]


def _axis_kind(value: Any) -> str:
    return "direction" if isinstance(value, (list, tuple)) else "axis name"


Axis = Annotated[
    Annotated[Literal["x", "y", "z"], Tag("axis name")] | Annotated[tuple[float, float, float], Tag("direction")],
    Discriminator(_axis_kind),
]


class TensorSpec(Strict):
    """Diffusion along and across fibres.

    The fibres run `along` a direction, `around` an axis through the center (circles), or straight `away_from` it.
    """

    axial: Diffusivity
    radial: Diffusivity
    along: Axis | None = None
    around: Axis | None = None
    away_from: Axis | None = None
    center: Center | None = None

    @model_validator(mode="after")
    def _one_course(self) -> TensorSpec:
        given = [key for key in ("along", "around", "away_from") if getattr(self, key) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise SpecError(Problem(f"must give one of along, around and away_from, but gives {found}"))
        axis = getattr(self, given[0])
        if not isinstance(axis, str) and not any(axis):
            raise SpecError(Problem(f"must have a direction {given[0]} that is not zero, but is [0, 0, 0]"))
        if given == ["along"] and self.center is not None:
            rule = "must be left out for fibres along one direction, but is given"
            raise SpecError(Problem(rule, "Remove it", path="center"))
        return self


class PerfusionSpec(Strict):
    """Blood that flows through a tissue: its share of the protons, and the coefficient that its flow looks like.

    T1 and T2 are those of the tissue unless given.
    """

    f: Share
    Dstar: Diffusivity
    T1: Time | None = None
    T2: Time | None = None

    @model_validator(mode="after")
    def _possible(self) -> PerfusionSpec:
        if self.T1 is not None and self.T2 is not None and self.T2 > 2.0 * self.T1:
            rule = f"must be at most 2 T1 = {2e3 * self.T1:g} ms, but is {1e3 * self.T2:g} ms"
            raise SpecError(Problem(rule, "Check that T1 and T2 are not exchanged", path="T2"))
        return self


class EnhancementSpec(Strict):
    """Exchange of a contrast agent between plasma and tissue: a model with its parameters, or blood itself.

    Ktrans, Fp and PS are rates of tissue volume, such as 0.25 1/min; `delay` is from the artery to the tissue.
    """

    model: Literal["blood", "tofts", "extended_tofts", "patlak", "2cxm", "2cum", "aath"]
    Ktrans: Rate | None = None
    ve: Share | None = None
    vp: Share | None = None
    Fp: Rate | None = None
    PS: Rate | None = None
    delay: Delay = 0.0

    @model_validator(mode="after")
    def _parameters_of_the_model(self) -> EnhancementSpec:
        needed = PARAMETERS[self.model]
        given = {name for name in ("Ktrans", "ve", "vp", "Fp", "PS") if getattr(self, name) is not None}
        if given != set(needed):
            listed = ", ".join(needed) or "no parameters"
            rule = f"must give {listed} for the model {self.model}, but gives {', '.join(sorted(given)) or 'none'}"
            raise SpecError(Problem(rule))
        return self


PARAMETERS: dict[str, tuple[str, ...]] = {
    "blood": (),
    "tofts": ("Ktrans", "ve"),
    "extended_tofts": ("Ktrans", "ve", "vp"),
    "patlak": ("vp", "PS"),
    "2cxm": ("Fp", "PS", "ve", "vp"),
    "2cum": ("Fp", "PS", "vp"),
    "aath": ("Fp", "PS", "ve", "vp"),
}


class RelaxivitySpec(Strict):
    """Relaxivities that replace those of the cited table."""

    r1: Relaxivity | None = None
    r2: Relaxivity | None = None
    r2star: Relaxivity | None = None


class AgentSpec(Strict):
    """A contrast agent: its name in the cited table, the input function of a population, and what scales it.

    `dose` is relative to the 0.1 mmol/kg that the input functions were measured with; `arrival` is the time from the
    injection to the artery.
    """

    name: str
    aif: Literal["parker", "georgiou", "weinmann", "mcgrath"] = "parker"
    hematocrit: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.42
    dose: NonNegative = 1.0
    arrival: Delay = 0.0
    relaxivity: RelaxivitySpec = RelaxivitySpec()


class CustomTissue(Strict):
    """A tissue of one's own: properties that replace those of the tissue it extends; without one, T1 and T2 are due.

    ADC is the coefficient of free diffusion, the same in all directions; a tensor, one that depends on them; perfusion,
    a share of the protons that flows. Enhancement says how the tissue takes up the phantom's contrast agent.
    """

    extends: str | None = None
    T1: Time | None = None
    T2: Time | None = None
    T2star: Time | None = None
    PD: NonNegative | None = None
    chi: Shift | None = None
    shift: Shift | None = None
    ADC: Diffusivity | None = None
    tensor: TensorSpec | None = None
    perfusion: PerfusionSpec | None = None
    enhancement: EnhancementSpec | None = None

    @model_validator(mode="after")
    def _complete(self) -> CustomTissue:
        if self.ADC is not None and self.tensor is not None:
            raise SpecError(Problem("must give ADC or tensor, but gives both", "Remove one"))
        if self.extends is None and (self.T1 is None or self.T2 is None):
            missing = " and ".join(key for key in ("T1", "T2") if getattr(self, key) is None)
            raise SpecError(Problem(f"must give T1 and T2 or extend a tissue, but lacks {missing}", "Add 'extends: …'"))
        return self


Mixture = dict[str, Share]


def _tissue_kind(value: Any) -> str:
    if not isinstance(value, dict):
        return "tissue name"
    custom = bool(set(value) & set(CustomTissue.model_fields)) or not value
    return "custom tissue" if custom else "mixture"


TissueRef = Annotated[
    Annotated[str, Tag("tissue name")]
    | Annotated[CustomTissue, Tag("custom tissue")]
    | Annotated[Mixture, Tag("mixture")],
    Discriminator(_tissue_kind),
]
"""A name, a tissue with properties replaced, or fractions of tissues by name."""


def _turn_kind(value: Any) -> str:
    return "three angles" if isinstance(value, (list, tuple)) else "one angle"


Turn = Annotated[
    Annotated[Angle, Tag("one angle")] | Annotated[tuple[Angle, Angle, Angle], Tag("three angles")],
    Discriminator(_turn_kind),
]
"""Counter-clockwise about z, or about x, then y, then z."""


Size = Annotated[
    Annotated[PositivePlane, Tag("plane")] | Annotated[PositiveSpace, Tag("space")], Discriminator(_center_kind)
]
"""Two lengths make a flat phantom, three a solid one."""


def _voxel_kind(value: Any) -> str:
    return "three sides" if isinstance(value, (list, tuple)) else "one side"


Voxel = Annotated[
    Annotated[PositiveLength, Tag("one side")] | Annotated[PositiveSpace, Tag("three sides")],
    Discriminator(_voxel_kind),
]
ORIGIN = (0.0, 0.0, 0.0)


class EllipseSpec(Strict):
    """Ellipse; as high as the phantom unless a height is given."""

    radii: PositivePlane
    center: Center = ORIGIN
    turn: Turn = 0.0
    height: PositiveLength | None = None


class RectangleSpec(Strict):
    """Rectangle; as high as the phantom unless a height is given."""

    size: PositivePlane
    center: Center = ORIGIN
    turn: Turn = 0.0
    height: PositiveLength | None = None


class PolygonSpec(Strict):
    """Polygon with sides that do not cross; as high as the phantom unless a height is given."""

    corners: Annotated[list[Plane], Field(min_length=3, max_length=1000)]
    center: Center = ORIGIN
    turn: Turn = 0.0
    height: PositiveLength | None = None


class CylinderSpec(Strict):
    """Round cylinder about an axis; along z it is as high as the phantom unless a height is given."""

    radius: PositiveLength
    height: PositiveLength | None = None
    axis: Axis = "z"
    center: Center = ORIGIN

    @model_validator(mode="after")
    def _finite(self) -> CylinderSpec:
        if self.axis != "z" and self.height is None:
            raise SpecError(Problem("must have a height where its axis is not z, but has none", "Add 'height: …'"))
        if not isinstance(self.axis, str) and not any(self.axis):
            raise SpecError(Problem("must have an axis that is not zero, but is [0, 0, 0]"))
        return self


class SphereSpec(Strict):
    """Sphere."""

    radius: PositiveLength
    center: Center = ORIGIN


class EllipsoidSpec(Strict):
    """Ellipsoid."""

    radii: PositiveSpace
    center: Center = ORIGIN
    turn: Turn = 0.0


class BoxSpec(Strict):
    """Box with sides along its axes."""

    size: PositiveSpace
    center: Center = ORIGIN
    turn: Turn = 0.0


class RibbonSpec(Strict):
    """Folded ellipsoid: furrows of a depth and width, in seeded places, run over it like the sulci of a cortex."""

    radii: PositiveSpace
    folds: Annotated[int, Field(ge=1, le=MAX_FOLDS), COUNT_SCHEMA] = 14
    depth: NonNegativeLength
    width: PositiveLength = 3e-3
    seed: Annotated[int, Field(ge=0, le=MAX_SEED), COUNT_SCHEMA] = 1
    wander: NonNegativeLength = 4e-3
    center: Center = ORIGIN
    turn: Turn = 0.0

    @model_validator(mode="after")
    def _shallow(self) -> RibbonSpec:
        if self.depth >= min(self.radii):
            raise SpecError(Problem("must have a depth below its smallest radius, but is as deep or deeper"))
        return self


class PointsSpec(Strict):
    """Points without extent, each an isochromat of the given volume, on top of what is painted there."""

    at: Annotated[list[Space], Field(min_length=1, max_length=MAX_POINTS)]
    volume: Volume = 1e-9


class ShapeSpec(Strict):
    """One shape and its tissue; painted over what comes before it."""

    tissue: TissueRef
    mirror: Literal["x", "y", "z"] | None = None
    ellipse: EllipseSpec | None = None
    rectangle: RectangleSpec | None = None
    polygon: PolygonSpec | None = None
    cylinder: CylinderSpec | None = None
    sphere: SphereSpec | None = None
    ellipsoid: EllipsoidSpec | None = None
    box: BoxSpec | None = None
    ribbon: RibbonSpec | None = None
    points: PointsSpec | None = None

    @model_validator(mode="after")
    def _one_shape(self) -> ShapeSpec:
        given = [kind for kind in SHAPE_KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise SpecError(
                Problem(f"must hold one shape, but holds {found}", f"Choose one of {', '.join(SHAPE_KINDS)}")
            )
        return self

    @property
    def kind(self) -> str:
        """Key of the shape that is given."""
        return next(kind for kind in SHAPE_KINDS if getattr(self, kind) is not None)


SHAPE_KINDS = tuple(name for name in ShapeSpec.model_fields if name not in ("tissue", "mirror"))


class QuadraticB0(Strict):
    """Off-resonance that grows with the square: xx · (x/over)² + … + xy · xy/over² + …."""

    xx: Frequency = 0.0
    yy: Frequency = 0.0
    zz: Frequency = 0.0
    xy: Frequency = 0.0
    xz: Frequency = 0.0
    yz: Frequency = 0.0
    over: PositiveLength


class LinearB0(Strict):
    """Off-resonance that changes by x, y, z over a length."""

    x: Frequency = 0.0
    y: Frequency = 0.0
    z: Frequency = 0.0
    over: PositiveLength


class SusceptibilitySpec(Strict):
    """Dipole field of the tissues' susceptibility in the main field along z."""

    resolution: PositiveLength = 2e-3
    shim: Literal["none", "constant", "linear"] = "linear"


class B0Spec(Strict):
    """Off-resonance as a polynomial of position, and the field of the tissues' susceptibility."""

    constant: Frequency = 0.0
    linear: LinearB0 | None = None
    quadratic: QuadraticB0 | None = None
    susceptibility: bool | SusceptibilitySpec = False


class QuadraticB1(Strict):
    """Transmit field that grows with the square: xx · (x/over)² + …."""

    xx: float = 0.0
    yy: float = 0.0
    zz: float = 0.0
    xy: float = 0.0
    xz: float = 0.0
    yz: float = 0.0
    over: PositiveLength


class LinearB1(Strict):
    """Transmit field that changes by x, y, z over a length."""

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    over: PositiveLength


class B1Spec(Strict):
    """Transmit field relative to nominal, as a bowl or as a polynomial.

    The bowl goes from `center` to `edge` with the square of the distance from the z axis; the edge lies at half the
    phantom's size, or at `over`.
    """

    center: NonNegative | None = None
    edge: NonNegative | None = None
    over: PositiveLength | None = None
    constant: NonNegative | None = None
    linear: LinearB1 | None = None
    quadratic: QuadraticB1 | None = None

    @model_validator(mode="after")
    def _one_form(self) -> B1Spec:
        bowl = self.center is not None or self.edge is not None or self.over is not None
        polynomial = self.constant is not None or self.linear is not None or self.quadratic is not None
        if bowl and polynomial:
            rule = "must be given by center and edge or as a polynomial, but is both"
            raise SpecError(Problem(rule, "Keep either center, edge, over or constant, linear, quadratic"))
        if bowl and (self.center is None or self.edge is None):
            raise SpecError(Problem("must give both center and edge, but gives one"))
        return self


class FieldsSpec(Strict):
    """Field maps."""

    b0: B0Spec = B0Spec()
    b1: B1Spec = B1Spec()


class TimeMap(Strict):
    """NIfTI file with a time per voxel; infinity is never."""

    file: str
    unit: Literal["s", "ms", "us"]


class FieldMap(Strict):
    """NIfTI file with an off-resonance per voxel."""

    file: str
    unit: Literal["Hz", "rad/s", "ppm"]


class DiffusionMap(Strict):
    """NIfTI file with a diffusion coefficient per voxel, the same in all directions."""

    file: str
    unit: Literal["mm^2/s", "um^2/ms", "um^2/s", "m^2/s"]


class RatioMap(Strict):
    """NIfTI file with a number per voxel, relative to water or to nominal."""

    file: str
    unit: Annotated[Literal["1", "%"], BeforeValidator(lambda value: str(value) if value == 1 else value)]


class MapsSpec(Strict):
    """Parameter maps. T1 and T2 make a phantom; without PD, it is 1 where both are above zero."""

    T1: TimeMap | None = None
    T2: TimeMap | None = None
    T2star: TimeMap | None = None
    T2prime: TimeMap | None = None
    PD: RatioMap | None = None
    B0: FieldMap | None = None
    B1: RatioMap | None = None
    ADC: DiffusionMap | None = None

    @model_validator(mode="after")
    def _one_line(self) -> MapsSpec:
        if self.T2star is not None and self.T2prime is not None:
            raise SpecError(Problem("must give T2star or T2prime, but gives both", "Remove one"))
        return self


class LabelsSpec(Strict):
    """NIfTI file with whole numbers, and the tissue that each stands for; 0 is air unless it is given one."""

    file: str
    tissues: Annotated[dict[str, TissueRef], Field(min_length=1, max_length=MAX_LABELS)]


class PhantomFile(Strict):
    """A phantom: shapes in order, later over earlier, with tissues by name from the cited table; or voxels from files.

    Voxels come from `maps`, or from `labels` with maps of B0 and B1 if there are any. `interpolation` says what lies
    between their centers; `resample` allows maps on other grids than the first one.

    Keys that a file leaves out come from the file that it extends; its shapes are painted over that file's shapes.
    """

    mrisim: Literal[1]
    phantom: str | None = None
    description: str | None = None
    sources: list[str] | None = None
    extends: str | None = None
    parameters: dict[str, Parameter] = Field(default_factory=dict)
    field: FieldStrength | None = None
    size: Size | None = None
    extrude: PositiveLength | None = None
    voxel: Voxel | None = None
    isochromats: Annotated[int, Field(ge=1, le=MAX_ISOCHROMATS), COUNT_SCHEMA] | None = None
    t2_prime: bool | None = None
    tissues: dict[str, TissueRef] = Field(default_factory=dict)
    shapes: list[ShapeSpec] = Field(default_factory=list, max_length=MAX_SHAPES)
    fields: FieldsSpec | None = None
    agent: AgentSpec | None = None
    maps: MapsSpec | None = None
    labels: LabelsSpec | None = None
    interpolation: Literal["nearest", "linear"] | None = None
    resample: Literal["nearest", "linear"] | None = None
