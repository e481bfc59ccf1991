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

    value: str | float | int = Field(description="default")
    min: str | float | int | None = Field(default=None, description="smallest value that is accepted")
    max: str | float | int | None = Field(default=None, description="largest value that is accepted")
    doc: str = Field(default="", description="one line for the user")


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

    axial: Diffusivity = Field(description="along the fibres")
    radial: Diffusivity = Field(description="across the fibres")
    along: Axis | None = Field(default=None, description="direction of straight fibres")
    around: Axis | None = Field(default=None, description="axis of fibres that run in circles")
    away_from: Axis | None = Field(default=None, description="axis that fibres run straight away from")
    center: Center | None = Field(default=None, description="of the axis")

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

    f: Share = Field(description="share of the protons that flow")
    Dstar: Diffusivity = Field(description="coefficient that their flow looks like")
    T1: Time | None = Field(default=None, description="of the blood; that of the tissue where not given")
    T2: Time | None = Field(default=None, description="of the blood; that of the tissue where not given")

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

    model: Literal["blood", "tofts", "extended_tofts", "patlak", "2cxm", "2cum", "aath"] = Field(
        description="kinetic model, or blood: the input function itself"
    )
    Ktrans: Rate | None = Field(default=None, description="plasma to tissue, such as 0.25 1/min")
    ve: Share | None = Field(default=None, description="volume outside cells")
    vp: Share | None = Field(default=None, description="volume of plasma")
    Fp: Rate | None = Field(default=None, description="flow of plasma, such as 0.5 1/min")
    PS: Rate | None = Field(default=None, description="permeability, such as 0.2 1/min")
    delay: Delay = Field(default=0.0, description="from the artery to the tissue")

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

    r1: Relaxivity | None = Field(default=None, description="of 1/T1")
    r2: Relaxivity | None = Field(default=None, description="of 1/T2")
    r2star: Relaxivity | None = Field(default=None, description="of 1/T2*")


class AgentSpec(Strict):
    """A contrast agent: its name in the cited table, the input function of a population, and what scales it.

    `dose` is relative to the 0.1 mmol/kg that the input functions were measured with; `arrival` is the time from the
    injection to the artery.
    """

    name: str = Field(description="in the cited table, such as gadobutrol")
    aif: Literal["parker", "georgiou", "weinmann", "mcgrath"] = Field(
        default="parker", description="input function of a population"
    )
    hematocrit: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(default=0.42, description="of blood in large vessels")
    dose: NonNegative = Field(default=1.0, description="relative to 0.1 mmol/kg")
    arrival: Delay = Field(default=0.0, description="from the injection to the artery")
    relaxivity: RelaxivitySpec = Field(default=RelaxivitySpec(), description="in place of the table's")


class CustomTissue(Strict):
    """A tissue of one's own: properties that replace those of the tissue it extends; without one, T1 and T2 are due.

    ADC is the coefficient of free diffusion, the same in all directions; a tensor, one that depends on them; perfusion,
    a share of the protons that flows. Enhancement says how the tissue takes up the phantom's contrast agent.
    """

    extends: str | None = Field(default=None, description="tissue whose properties are kept where none is given")
    T1: Time | None = Field(default=None, description="inf is allowed")
    T2: Time | None = Field(default=None, description="inf is allowed")
    T2star: Time | None = Field(default=None, description="with the reversible decay within a voxel")
    PD: NonNegative | None = Field(default=None, description="proton density relative to water")
    chi: Shift | None = Field(default=None, description="susceptibility")
    shift: Shift | None = Field(default=None, description="chemical shift from water")
    ADC: Diffusivity | None = Field(default=None, description="of free diffusion")
    tensor: TensorSpec | None = Field(default=None, description="of diffusion along fibres")
    perfusion: PerfusionSpec | None = Field(default=None, description="share of protons that flow")
    enhancement: EnhancementSpec | None = Field(default=None, description="uptake of the phantom's agent")

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

    radii: PositivePlane = Field(description="along x, y")
    center: Center = Field(default=ORIGIN, description="x, y, or x, y, z")
    turn: Turn = Field(default=0.0, description="counter-clockwise about z, or about x, then y, then z")
    height: PositiveLength | None = Field(default=None, description="along z; that of the phantom where not given")


class RectangleSpec(Strict):
    """Rectangle; as high as the phantom unless a height is given."""

    size: PositivePlane = Field(description="along x, y")
    center: Center = Field(default=ORIGIN, description="x, y, or x, y, z")
    turn: Turn = Field(default=0.0, description="counter-clockwise about z, or about x, then y, then z")
    height: PositiveLength | None = Field(default=None, description="along z; that of the phantom where not given")


class PolygonSpec(Strict):
    """Polygon with sides that do not cross; as high as the phantom unless a height is given."""

    corners: Annotated[list[Plane], Field(min_length=3, max_length=1000)] = Field(description="x, y of each")
    center: Center = Field(default=ORIGIN, description="that the corners are counted from")
    turn: Turn = Field(default=0.0, description="counter-clockwise about z, or about x, then y, then z")
    height: PositiveLength | None = Field(default=None, description="along z; that of the phantom where not given")


class CylinderSpec(Strict):
    """Round cylinder about an axis; along z it is as high as the phantom unless a height is given."""

    radius: PositiveLength = Field(description="of the cylinder")
    height: PositiveLength | None = Field(
        default=None, description="along its axis; along z that of the phantom where not given"
    )
    axis: Axis = Field(default="z", description="x, y, z or a direction")
    center: Center = Field(default=ORIGIN, description="x, y, or x, y, z")

    @model_validator(mode="after")
    def _finite(self) -> CylinderSpec:
        if self.axis != "z" and self.height is None:
            raise SpecError(Problem("must have a height where its axis is not z, but has none", "Add 'height: …'"))
        if not isinstance(self.axis, str) and not any(self.axis):
            raise SpecError(Problem("must have an axis that is not zero, but is [0, 0, 0]"))
        return self


class SphereSpec(Strict):
    """Sphere."""

    radius: PositiveLength = Field(description="of the sphere")
    center: Center = Field(default=ORIGIN, description="x, y, or x, y, z")


class EllipsoidSpec(Strict):
    """Ellipsoid."""

    radii: PositiveSpace = Field(description="along x, y, z")
    center: Center = Field(default=ORIGIN, description="x, y, or x, y, z")
    turn: Turn = Field(default=0.0, description="counter-clockwise about z, or about x, then y, then z")


class BoxSpec(Strict):
    """Box with sides along its axes."""

    size: PositiveSpace = Field(description="along x, y, z")
    center: Center = Field(default=ORIGIN, description="x, y, or x, y, z")
    turn: Turn = Field(default=0.0, description="counter-clockwise about z, or about x, then y, then z")


class RibbonSpec(Strict):
    """Folded ellipsoid: furrows of a depth and width, in seeded places, run over it like the sulci of a cortex."""

    radii: PositiveSpace = Field(description="along x, y, z")
    folds: Annotated[int, Field(ge=1, le=MAX_FOLDS), COUNT_SCHEMA] = Field(default=14, description="number of furrows")
    depth: NonNegativeLength = Field(description="of a furrow")
    width: PositiveLength = Field(default=3e-3, description="of a furrow")
    seed: Annotated[int, Field(ge=0, le=MAX_SEED), COUNT_SCHEMA] = Field(default=1, description="of their places")
    wander: NonNegativeLength = Field(default=4e-3, description="how far a furrow leaves a straight line")
    center: Center = Field(default=ORIGIN, description="x, y, or x, y, z")
    turn: Turn = Field(default=0.0, description="counter-clockwise about z, or about x, then y, then z")

    @model_validator(mode="after")
    def _shallow(self) -> RibbonSpec:
        if self.depth >= min(self.radii):
            raise SpecError(Problem("must have a depth below its smallest radius, but is as deep or deeper"))
        return self


class PointsSpec(Strict):
    """Points without extent, each an isochromat of the given volume, on top of what is painted there."""

    at: Annotated[list[Space], Field(min_length=1, max_length=MAX_POINTS)] = Field(description="x, y, z of each")
    volume: Volume = Field(default=1e-9, description="of each")


class ShapeSpec(Strict):
    """One shape and its tissue; painted over what comes before it."""

    tissue: TissueRef = Field(description="name, tissue of one's own, or fractions of tissues")
    mirror: Literal["x", "y", "z"] | None = Field(
        default=None, description="painted once more on the other side of 0 along this axis"
    )
    ellipse: EllipseSpec | None = Field(default=None, description="flat")
    rectangle: RectangleSpec | None = Field(default=None, description="flat")
    polygon: PolygonSpec | None = Field(default=None, description="flat")
    cylinder: CylinderSpec | None = Field(default=None, description="round")
    sphere: SphereSpec | None = Field(default=None, description="round")
    ellipsoid: EllipsoidSpec | None = Field(default=None, description="round")
    box: BoxSpec | None = Field(default=None, description="with flat sides")
    ribbon: RibbonSpec | None = Field(default=None, description="folded, like a cortex")
    points: PointsSpec | None = Field(default=None, description="without extent")

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

    xx: Frequency = Field(default=0.0, description="change over the length")
    yy: Frequency = Field(default=0.0, description="change over the length")
    zz: Frequency = Field(default=0.0, description="change over the length")
    xy: Frequency = Field(default=0.0, description="change over the length")
    xz: Frequency = Field(default=0.0, description="change over the length")
    yz: Frequency = Field(default=0.0, description="change over the length")
    over: PositiveLength = Field(description="length at which it is reached")


class LinearB0(Strict):
    """Off-resonance that changes by x, y, z over a length."""

    x: Frequency = Field(default=0.0, description="change over the length")
    y: Frequency = Field(default=0.0, description="change over the length")
    z: Frequency = Field(default=0.0, description="change over the length")
    over: PositiveLength = Field(description="length over which it changes")


class SusceptibilitySpec(Strict):
    """Dipole field of the tissues' susceptibility in the main field along z."""

    resolution: PositiveLength = Field(default=2e-3, description="of the grid on which it is computed")
    shim: Literal["none", "constant", "linear"] = Field(
        default="linear", description="what is fitted to it and taken away"
    )


class B0Spec(Strict):
    """Off-resonance as a polynomial of position, and the field of the tissues' susceptibility."""

    constant: Frequency = Field(default=0.0, description="everywhere")
    linear: LinearB0 | None = Field(default=None, description="along x, y, z")
    quadratic: QuadraticB0 | None = Field(default=None, description="with the square")
    susceptibility: bool | SusceptibilitySpec = Field(default=False, description="field of the tissues' susceptibility")


class QuadraticB1(Strict):
    """Transmit field that grows with the square: xx · (x/over)² + …."""

    xx: float = Field(default=0.0, description="change over the length")
    yy: float = Field(default=0.0, description="change over the length")
    zz: float = Field(default=0.0, description="change over the length")
    xy: float = Field(default=0.0, description="change over the length")
    xz: float = Field(default=0.0, description="change over the length")
    yz: float = Field(default=0.0, description="change over the length")
    over: PositiveLength = Field(description="length at which it is reached")


class LinearB1(Strict):
    """Transmit field that changes by x, y, z over a length."""

    x: float = Field(default=0.0, description="change over the length")
    y: float = Field(default=0.0, description="change over the length")
    z: float = Field(default=0.0, description="change over the length")
    over: PositiveLength = Field(description="length over which it changes")


class B1Spec(Strict):
    """Transmit field relative to nominal, as a bowl or as a polynomial.

    The bowl goes from `center` to `edge` with the square of the distance from the z axis; the edge lies at half the
    phantom's size, or at `over`.
    """

    center: NonNegative | None = Field(default=None, description="value on the z axis")
    edge: NonNegative | None = Field(default=None, description="value at the edge")
    over: PositiveLength | None = Field(
        default=None, description="distance of the edge; half of the phantom's size where not given"
    )
    constant: NonNegative | None = Field(default=None, description="everywhere")
    linear: LinearB1 | None = Field(default=None, description="along x, y, z")
    quadratic: QuadraticB1 | None = Field(default=None, description="with the square")

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

    b0: B0Spec = Field(default=B0Spec(), description="off-resonance")
    b1: B1Spec = Field(default=B1Spec(), description="transmit field relative to nominal")


class TimeMap(Strict):
    """NIfTI file with a time per voxel; infinity is never."""

    file: str = Field(description="NIfTI, in the file's folder")
    unit: Literal["s", "ms", "us"] = Field(description="of its values")


class FieldMap(Strict):
    """NIfTI file with an off-resonance per voxel."""

    file: str = Field(description="NIfTI, in the file's folder")
    unit: Literal["Hz", "rad/s", "ppm"] = Field(description="of its values")


class DiffusionMap(Strict):
    """NIfTI file with a diffusion coefficient per voxel, the same in all directions."""

    file: str = Field(description="NIfTI, in the file's folder")
    unit: Literal["mm^2/s", "um^2/ms", "um^2/s", "m^2/s"] = Field(description="of its values")


class RatioMap(Strict):
    """NIfTI file with a number per voxel, relative to water or to nominal."""

    file: str = Field(description="NIfTI, in the file's folder")
    unit: Annotated[Literal["1", "%"], BeforeValidator(lambda value: str(value) if value == 1 else value)] = Field(
        description="of its values"
    )


class MapsSpec(Strict):
    """Parameter maps. T1 and T2 make a phantom; without PD, it is 1 where both are above zero."""

    T1: TimeMap | None = Field(default=None, description="required")
    T2: TimeMap | None = Field(default=None, description="required")
    T2star: TimeMap | None = Field(default=None, description="or T2prime")
    T2prime: TimeMap | None = Field(default=None, description="or T2star")
    PD: RatioMap | None = Field(default=None, description="1 where T1 and T2 are above zero, if not given")
    B0: FieldMap | None = Field(default=None, description="off-resonance")
    B1: RatioMap | None = Field(default=None, description="transmit field")
    ADC: DiffusionMap | None = Field(default=None, description="diffusion coefficient")

    @model_validator(mode="after")
    def _one_line(self) -> MapsSpec:
        if self.T2star is not None and self.T2prime is not None:
            raise SpecError(Problem("must give T2star or T2prime, but gives both", "Remove one"))
        return self


class LabelsSpec(Strict):
    """NIfTI file with whole numbers, and the tissue that each stands for; 0 is air unless it is given one."""

    file: str = Field(description="NIfTI of whole numbers, in the file's folder")
    tissues: Annotated[dict[str, TissueRef], Field(min_length=1, max_length=MAX_LABELS)] = Field(
        description="number → tissue; 0 is air unless given"
    )


class PhantomFile(Strict):
    """A phantom: shapes in order, later over earlier, with tissues by name from the cited table; or voxels from files.

    Voxels come from `maps`, or from `labels` with maps of B0 and B1 if there are any. `interpolation` says what lies
    between their centers; `resample` allows maps on other grids than the first one.

    Keys that a file leaves out come from the file that it extends; its shapes are painted over that file's shapes.
    """

    mrisim: Literal[1] = Field(description="version of the language")
    phantom: str | None = Field(default=None, description="name")
    description: str | None = Field(default=None, description="one sentence")
    sources: list[str] | None = Field(default=None, description="where values and shapes come from")
    extends: str | None = Field(
        default=None, description="phantom of the library or file whose keys are kept where none is given"
    )
    parameters: dict[str, Parameter] = Field(
        default_factory=dict, description="name → default, or default with bounds and doc"
    )
    field: FieldStrength | None = Field(default=None, description="strength that the values hold for")
    size: Size | None = Field(default=None, description="two lengths make it flat, three solid")
    extrude: PositiveLength | None = Field(default=None, description="thickness of a flat phantom or of a single slice")
    voxel: Voxel | None = Field(default=None, description="side that it is sampled with by default")
    isochromats: Annotated[int, Field(ge=1, le=MAX_ISOCHROMATS), COUNT_SCHEMA] | None = Field(
        default=None, description="per voxel, by default"
    )
    t2_prime: bool | None = Field(
        default=None, description="decay within a voxel where tissues have T2*; true where not given"
    )
    tissues: dict[str, TissueRef] = Field(default_factory=dict, description="name → tissue of one's own")
    shapes: list[ShapeSpec] = Field(
        default_factory=list, max_length=MAX_SHAPES, description="painted in order, later over earlier"
    )
    fields: FieldsSpec | None = Field(default=None, description="B0 and B1")
    agent: AgentSpec | None = Field(default=None, description="contrast agent that tissue may take up")
    maps: MapsSpec | None = Field(default=None, description="parameter maps from files")
    labels: LabelsSpec | None = Field(default=None, description="a segmentation from a file")
    interpolation: Literal["nearest", "linear"] | None = Field(
        default=None, description="between the centers of voxels of files; nearest where not given"
    )
    resample: Literal["nearest", "linear"] | None = Field(
        default=None, description="take maps to the grid of the first"
    )
