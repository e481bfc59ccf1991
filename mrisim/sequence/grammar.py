"""The models of a sequence file: which keys there are, before anything is calculated.

Every value that may be an expression stays text (or a number) here; `expand` evaluates it. Unknown keys are refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

LANGUAGE_VERSION = 1

_Value = str | int | float | bool
Expr = Annotated[
    _Value, Field(union_mode="left_to_right", description="an expression such as `2 * TE + 5 ms`, or a number")
]
Time = Annotated[_Value, Field(union_mode="left_to_right", description="a time, such as `5 ms` or `2 * TE`")]
Angle = Annotated[_Value, Field(union_mode="left_to_right", description="an angle, such as `30 deg`")]
Frequency = Annotated[
    _Value,
    Field(union_mode="left_to_right", description="a frequency, such as `120 Hz`, or a shift such as `-3.4 ppm`"),
]
PulseAmplitude = Annotated[
    _Value, Field(union_mode="left_to_right", description="a frequency or a field, such as `850 Hz` or `20 uT`")
]
GradientStrength = Annotated[_Value, Field(union_mode="left_to_right", description="a gradient, such as `20 mT/m`")]
Area = Annotated[
    _Value, Field(union_mode="left_to_right", description="an area, such as `500 1/m` or `matrix.x / fov.x`")
]
Length = Annotated[_Value, Field(union_mode="left_to_right", description="a length, such as `5 mm`")]
Number = Annotated[_Value, Field(union_mode="left_to_right", description="a number, such as `128` or `2 * matrix.x`")]
Condition = Annotated[_Value, Field(union_mode="left_to_right", description="true or false, such as `n >= 0`")]
Exprs = Annotated[list[Expr], Field(min_length=1, max_length=10_000)]
Label = Literal[
    "LIN", "PAR", "SLC", "ECO", "REP", "AVG", "SET", "SEG", "PHS", "REV", "NAV", "ACQ", "ONCE", "NOISE", "REF", "IMA"
]
Labels = dict[Label, Expr]


class Model(BaseModel):
    """Base of all parts of a file: frozen, strict, no unknown keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ParameterModel(Model):
    """What a user may set."""

    value: Expr | Exprs = Field(description="default: a number with its unit, true or false, or a list of these")
    min: Expr | None = Field(default=None, description="smallest value that is accepted")
    max: Expr | None = Field(default=None, description="largest value that is accepted")
    doc: str = Field(default="", description="one line for the user")


class SystemModel(Model):
    """Limits, rasters and dead times of the scanner; what is not given is that of the default 3 T scanner."""

    extends: str | None = Field(default=None, description="a file of the library's folder systems, by name")
    name: str | None = Field(default=None, description="of the scanner, for the report")
    b0: Expr | None = Field(default=None, description="field strength, such as 3 T")
    gamma: float | None = Field(
        default=None, description="gyromagnetic ratio over 2 pi in Hz per tesla, a plain number"
    )
    max_gradient: GradientStrength | None = Field(default=None, description="per physical axis, such as 40 mT/m")
    max_slew: Expr | None = Field(default=None, description="per physical axis, such as 170 T/m/s")
    max_b1: PulseAmplitude | None = Field(default=None, description="such as 20 uT")
    block_raster: Time | None = Field(default=None, description="blocks last whole multiples of it")
    gradient_raster: Time | None = Field(default=None, description="corners and samples of gradients lie on it")
    rf_raster: Time | None = Field(default=None, description="pulses begin on it")
    adc_raster: Time | None = Field(default=None, description="dwell times are multiples of it")
    rf_dead_time: Time | None = Field(default=None, description="before a pulse")
    rf_ringdown_time: Time | None = Field(default=None, description="after a pulse")
    adc_dead_time: Time | None = Field(default=None, description="before and after sampling")
    gradient_delay: Time | None = Field(
        default=None, description="of gradients behind pulses and samples, such as 2 us: a fault, not a limit"
    )


class OrientationModel(Model):
    """A plane turned about its own axes, or two vectors."""

    plane: Literal["axial", "coronal", "sagittal"] = Field(
        default="axial", description="of the slices, before it is turned"
    )
    about_read: Angle | None = Field(default=None, description="angle, turned first")
    about_phase: Angle | None = Field(default=None, description="angle, turned second")
    about_slice: Angle | None = Field(default=None, description="angle, turned last; 90 deg exchanges read and phase")
    read: Exprs | None = Field(default=None, description="physical direction of read, instead of plane and angles")
    phase: Exprs | None = Field(default=None, description="physical direction of phase, made orthogonal to read")


class GeometryModel(Model):
    """Where the package of slices lies."""

    orientation: Literal["axial", "coronal", "sagittal"] | OrientationModel = Field(
        default="axial", description="a plane, or a plane that is turned"
    )
    center: Exprs | None = Field(
        default=None, description="physical x, y, z of the center, such as [0 mm, 10 mm, 0 mm]"
    )


class RFBase(Model):
    """What all pulses have."""

    flip: Angle | None = Field(default=None, description="flip angle on resonance; or amplitude")
    amplitude: PulseAmplitude | None = Field(default=None, description="peak in Hz or uT; or flip")
    phase: Angle = Field(default="0 deg", description="at the center of the pulse")
    frequency: Frequency = Field(
        default="0 Hz", description="offset in Hz or ppm; positive excites spins that precess faster"
    )
    use: Literal[
        "excitation", "refocusing", "inversion", "saturation", "preparation", "storage", "recall", "other", "undefined"
    ] = Field(default="undefined", description="what the pulse is for; k-space, TE and ideal pulses follow from it")
    delay: Time | None = Field(default=None, description="block start to pulse start; at least the RF dead time")


class BlockPulse(RFBase):
    """A rectangular pulse."""

    shape: Literal["block"] = Field(description="a rectangle")
    duration: Time = Field(description="of the pulse")


class WindowedPulse(RFBase):
    """What sinc and gauss share."""

    duration: Time = Field(description="of the pulse")
    time_bandwidth: Number = Field(description="product of duration and bandwidth")
    window: Literal["none", "hann", "hamming"] = Field(default="none", description="over the whole pulse")
    center: Number | None = Field(
        default=None, description="place of the peak as a fraction of the duration, 0.5 by default"
    )


class SincPulse(WindowedPulse):
    """A sinc under a window."""

    shape: Literal["sinc"] = Field(description="sin x / x")


class GaussPulse(WindowedPulse):
    """A Gaussian under a window."""

    shape: Literal["gauss"] = Field(description="a Gaussian")


class FermiPulse(RFBase):
    """Flat with soft edges, for pulses far off resonance."""

    shape: Literal["fermi"] = Field(description="flat with soft edges")
    duration: Expr
    edge: Expr = Field(description="time constant of the edges")


class SLRPulse(RFBase):
    """A pulse by the Shinnar-Le Roux algorithm, for its flip angle and its use."""

    shape: Literal["slr"] = Field(description="designed for its flip angle and use")
    duration: Time = Field(description="of the pulse")
    time_bandwidth: Number = Field(description="product of duration and bandwidth")
    passband_ripple: Number | None = Field(default=None, description="of the profile within the slice")
    stopband_ripple: Number | None = Field(default=None, description="of the profile outside")


class HyperbolicSecantPulse(RFBase):
    """An adiabatic inversion; without amplitude it takes twice the adiabatic threshold."""

    shape: Literal["hyperbolic_secant"] = Field(description="an adiabatic sweep")
    duration: Time = Field(description="of the pulse")
    bandwidth: Frequency | None = Field(default=None, description="width of the inverted band; or mu")
    mu: Number | None = Field(
        default=None, description="width of the inverted band is mu * beta / pi; 5 where neither is given"
    )
    beta: Frequency | None = Field(default=None, description="rate of the modulation in 1/s")


class FilePulse(RFBase):
    """Samples from a text file: magnitude, and phase in degrees where there is a second column."""

    shape: Literal["file"] = Field(description="samples of a file")
    file: str = Field(description="CSV file in the folder of the specification")
    dwell: Time = Field(description="duration of one sample")
    bandwidth: Frequency | None = Field(
        default=None, description="full width at half maximum, measured where not given"
    )


RFModel = Annotated[
    BlockPulse | SincPulse | GaussPulse | FermiPulse | SLRPulse | HyperbolicSecantPulse | FilePulse,
    Field(discriminator="shape"),
]


class GradientModel(Model):
    """One gradient, in one of these forms: select; area; flat_area, flat_time; amplitude, flat_time; times, amplitudes;
    samples, amplitude; file, amplitude."""

    select: Length | None = Field(
        default=None, description="slice thickness: the amplitude follows from the pulse's bandwidth"
    )
    at: Length | None = Field(default=None, description="slice position along this axis, from the geometry's center")
    crush: Area | None = Field(default=None, description="area on each side of the pulse")
    area: Area | None = Field(
        None, description="ramps included; the shortest within the limits, or as long as duration"
    )
    duration: Time | None = Field(default=None, description="of a gradient given by its area, ramps included")
    flat_area: Area | None = Field(default=None, description="area of the flat top")
    flat_time: Time | None = Field(default=None, description="rounded up to the raster; the amplitude stays as asked")
    rise_time: Time | None = Field(
        default=None, description="of both ramps; the shortest within the limits where not given"
    )
    amplitude: GradientStrength | None = Field(default=None, description="of the flat top, or the peak of samples")
    times: Exprs | None = Field(default=None, description="corner times from the end of the delay, from 0")
    amplitudes: Exprs | None = Field(default=None, description="values at the corner times; first and last are 0")
    samples: Expr | Exprs | None = Field(
        default=None, description="a gradient per raster interval; or numbers, scaled to a peak of amplitude"
    )
    file: str | None = Field(default=None, description="text file of samples in the folder of the specification")
    delay: Time | None = Field(default=None, description="block start to ramp start; rounded up to the raster")


class DiffusionModel(Model):
    """A diffusion lobe along any direction: gx, gy and gz at once, by b or by amplitude."""

    b: Expr | None = Field(default=None, description="b value that two of these lobes give together")
    amplitude: GradientStrength | None = Field(
        default=None, description="of one trapezoid along the direction, in place of b"
    )
    direction: Expr | Exprs = Field(description="read, phase, slice; of unit length")
    separation: Time | None = Field(default=None, description="start of the first lobe to start of the second")
    duration: Time | None = Field(
        default=None, description="start of the ramp up to start of the ramp down; the shortest that reaches b"
    )
    rise_time: Time | None = Field(default=None, description="of both ramps; that of the largest gradient")
    frequency: Frequency | None = Field(default=None, description="whole periods of a cosine in place of a trapezoid")


class ADCModel(Model):
    """A sampling window; it lies centred on the flat top of the gradient in its event unless it has a delay."""

    samples: Number = Field(description="before oversampling")
    dwell: Time = Field(description="spacing of the samples before oversampling: 1 / bandwidth")
    oversampling: Number = Field(default=1, description="whole factor: more samples, shorter dwell, same duration")
    phase: Angle = Field(default="0 deg", description="of the receiver")
    frequency: Frequency = Field(default="0 Hz", description="of the receiver, in Hz or ppm")
    delay: Time | None = Field(default=None, description="block start to the start of sampling")
    on: Condition = Field(default=True, description="where false, the block stays and nothing is sampled")


class EventModel(Model):
    """What happens together: pulse, gradients, sampling."""

    rf: RFModel | None = Field(default=None, description="a pulse")
    gx: GradientModel | None = Field(default=None, description="read axis")
    gy: GradientModel | None = Field(default=None, description="phase axis")
    gz: GradientModel | None = Field(default=None, description="slice axis")
    diffuse: DiffusionModel | None = Field(default=None, description="diffusion lobe on all three axes")
    adc: ADCModel | None = Field(default=None, description="sampling")

    @model_validator(mode="after")
    def _must_do_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("must have rf, gx, gy, gz, diffuse or adc, but has none of them")
        return self


class WaitItem(Model):
    """Time in which nothing is switched on."""

    wait: Time = Field(description="a duration, or the name of a delay that a timing constraint solves")
    when: Condition | None = Field(default=None, description="where false, it is left out")


class BlockItem(Model):
    """Events at the same time, with options."""

    block: str | list[str] = Field(description="an event, or several at once")
    when: Condition | None = Field(default=None, description="where false, the block is left out")
    label: Labels = Field(default={}, description="label → its value in this block")
    rotate: Angle | None = Field(default=None, description="angle that turns gx and gy about the slice axis")
    duration: Time | None = Field(default=None, description="at least this long")


class GroupItem(Model):
    """Items in a row."""

    do: list[Item] = Field(min_length=1, description="items in a row")
    when: Condition | None = Field(default=None, description="where false, they are left out")
    label: Labels = Field(default={}, description="label → its value in all blocks within")


class LoopItem(Model):
    """Items repeated."""

    loop: dict[str, Expr | Exprs] = Field(description="{name: first .. last}, {name: list}, and index: name if wanted")
    let: dict[str, Expr] = Field(default={}, description="names for expressions over the loop's variables")
    label: Labels = Field(default={}, description="label → its value in all blocks within")
    when: Condition | None = Field(default=None, description="where false, they are left out")
    do: list[Item] = Field(min_length=1, description="items of one round")


def _kind(value: Any) -> str | None:
    if isinstance(value, str):
        return "event"
    if isinstance(value, list):
        return "parallel"
    if isinstance(value, BaseModel):
        return type(value).__name__.removesuffix("Item").lower().replace("group", "do")
    if isinstance(value, dict):
        return next((key for key in ("wait", "loop", "block", "do") if key in value), "do")
    return None


Item = Annotated[
    Annotated[str, Tag("event")]
    | Annotated[list[str], Tag("parallel"), Field(min_length=1)]
    | Annotated[WaitItem, Tag("wait")]
    | Annotated[BlockItem, Tag("block")]
    | Annotated[LoopItem, Tag("loop")]
    | Annotated[GroupItem, Tag("do")],
    Discriminator(
        _kind,
        custom_error_type="item",
        custom_error_message="must be an event, a list of events or a mapping with wait, loop, block or do, but is not",
    ),
]


class TimingModel(Model):
    """A time between two anchors; the delay named by `solve` is found so that it holds."""

    name: str = Field(description="for messages and tables, such as TE")
    start: str = Field(alias="from", description="anchor such as excite.rf.center")
    stop: str = Field(alias="to", description="anchor such as read.adc.center or excite.start.next")
    asked: Time = Field(alias="is", description="such as TE / 2")
    solve: str | None = Field(default=None, description="name of a wait; without it the constraint is only checked")
    at: dict[str, Expr] = Field(
        default={}, description="iteration of a loop inside the interval: {loop variable: value}"
    )


class ReconModel(Model):
    """How the samples become images. What is not given comes from the parameters of the same name."""

    method: Literal["cartesian", "gridding", "lowrank", "none"] = Field(
        default="cartesian",
        description="inverse FFT; any trajectory; fingerprinting; or none: samples are the result",
    )
    matrix: Exprs | None = Field(default=None, description="voxels along read, phase, partition")
    fov: Exprs | None = Field(default=None, description="lengths along read, phase, partition")
    thickness: Length | None = Field(default=None, description="of a slice")
    slices: Expr | Exprs | None = Field(default=None, description="positions by SLC label")
    window: Literal["none", "hann", "hamming", "tukey"] = Field(
        default="none", description="over k-space, against ringing"
    )
    combine: Literal["adaptive", "rss"] = Field(default="adaptive", description="of the images of several coils")
    partial_fourier: Literal["zero", "homodyne", "pocs"] = Field(
        default="zero", description="what stands for lines that were not sampled"
    )
    ghost: Literal["reference", "keep"] = Field(
        default="reference", description="N/2 ghost: removed by reference lines (label NAV) where there are any"
    )
    maps: dict[str, dict[str, Any]] = Field(
        default={}, description="map → {fit: …, options}; an option such as =TR is an expression"
    )

    @model_validator(mode="after")
    def _must_be_used(self) -> Self:
        if self.method == "none" and len(self.model_fields_set) > 1:
            raise ValueError("must hold nothing beside 'method: none', but does")
        return self


PROPERTIES = ("T1", "T2", "T2star", "df", "b1", "pd", "D")
"""What a point of an expectation has, beside its place."""
_VALUES: dict[str, Any] = {"anyOf": [{"type": ["string", "number"]}, {"type": "array"}]}
_PROPERTY_DOCS = {
    "T1": "such as [300 ms, 900 ms]; infinite where not given",
    "T2": "such as 80 ms; infinite where not given",
    "T2star": "T2 with the reversible part of the decay; T2 where not given",
    "df": "off-resonance, such as linspace(-50 Hz, 50 Hz, 5); 0 Hz where not given",
    "b1": "transmit field relative to nominal; 1 where not given",
    "pd": "proton density; 1 where not given",
    "D": "diffusion coefficient, engine epg, such as [1e-3 mm^2/s, 2e-3 mm^2/s]; 0 where not given",
}
_WORDS = (
    "Names: T1, T2, T2star, df, b1, pd, D, the parameters (TE, TR, TI, flip …), E1 = exp(-TR/T1), E2 = exp(-TR/T2), "
    "names of your own from 'over', i, pi; echo[n].center, .first, .last: complex samples of echo n, negative from the "
    "end. Functions: docs/validation.md."
)


class ExpectModel(Model):
    """A closed form that the sequence must reproduce."""

    name: str = Field(description="for messages and tables")
    signal: str = Field(
        description=f"what is simulated, of a voxel of volume 1. {_WORDS}",
        examples=["echo[-1].center", "abs(echo[-1].center)", "echo[n].center / echo[0].center"],
    )
    equals: Expr = Field(
        description=f"what it must be. {_WORDS}",
        examples=["i * pd * spin_echo(TE, TR, T1, T2)", "i * pd * spoiled_gradient_echo(flip, TR, T1, TE, T2star)"],
    )
    over: dict[str, Expr | Exprs] = Field(
        default={},
        description="values of properties, of parameters, and of names of your own; every combination is a point",
        json_schema_extra={"properties": {n: {"description": d, **_VALUES} for n, d in _PROPERTY_DOCS.items()}},
    )
    settings: dict[str, Expr | Exprs] = Field(
        default={}, alias="set", description="parameters of the sequence for this expectation"
    )
    pulses: Literal["shaped", "ideal"] = Field(
        default="shaped", description="ideal: instantaneous rotations within a box profile"
    )
    spoiling: Literal["gradient", "ideal"] = Field(
        default="gradient", description="ideal: no transverse magnetisation before each excitation"
    )
    voxel: Literal["full", "point"] = Field(
        default="full", description="a voxel of the image in the first slice, or one point in its middle"
    )
    isochromats: int = Field(default=101, ge=1, le=100_000, description="of a full voxel, engine bloch; best a prime")
    engines: list[Literal["bloch", "epg"]] = Field(
        default=["bloch", "epg"], min_length=1, description="which must reproduce it"
    )
    tolerance: Expr | list[Expr] = Field(
        description="'0.2 %' of the closed form, or a number in units of the signal; of a list, the widest holds",
        examples=["0.1 %", ["0.1 %", 1e-5]],
    )


class SimulationModel(Model):
    """How `mrisim run` simulates the sequence; a protocol's wins, and options of a caller over both."""

    engine: Literal["bloch", "epg"] | None = Field(
        default=None, description="what carries the state of the spins; epg for long trains that dephase"
    )
    spoiling: Literal["gradient", "ideal"] | None = Field(
        default=None, description="as played, or perfect: for maps that spoiling has no part in"
    )
    isochromats: int | None = Field(
        default=None, ge=1, le=100_000, description="per voxel, of a slice per layer; best a prime"
    )
    slab: float | None = Field(
        default=None,
        ge=1.0,
        le=10.0,
        description="thicknesses of the slice over which spins are sampled; 2.2 if not said",
    )
    t2_prime: bool | None = Field(
        default=None,
        description="false leaves T2' of tissue out: T2* is T2; epg follows each order of a train by itself with it",
    )


LIMITS: Any = Field(
    default={},
    description="rules for mrisim check: quantity → at most, at least, below, above, A to B; docs/checking.md",
    examples=[{"TE": "at most 90 ms", "voxel": ["0.4 mm", "0.7 mm", "3 mm"], "b1_rms": "3 uT"}],
)


class SequenceModel(Model):
    """A sequence file."""

    mrisim: Literal[1] = Field(description="version of the language")
    name: str = Field(description="of the sequence")
    description: str = Field(default="", description="one or two sentences")
    reference: str = Field(default="", description="citation")
    system: str | SystemModel = Field(
        default=SystemModel(), description="a file of the library's folder systems, by name, or limits"
    )
    geometry: GeometryModel = Field(default=GeometryModel(), description="orientation and center")
    parameters: dict[str, Expr | Exprs | ParameterModel] = Field(
        default={}, description="name → default, or default with bounds and doc"
    )
    definitions: dict[str, Expr | Exprs] = Field(default={}, description="name → expression over parameters")
    events: dict[str, EventModel] = Field(default={}, description="name → what happens together")
    timeline: list[Item] = Field(min_length=1, description="what is played, in order")
    timing: list[TimingModel] = Field(default=[], description="times between anchors that must hold")
    recon: ReconModel | None = Field(default=None, description="how the samples become images")
    simulation: SimulationModel = Field(
        default=SimulationModel(), description="how mrisim run simulates it where nothing else is asked for"
    )
    expect: list[ExpectModel] = Field(default=[], description="closed forms that the signal must reproduce")
    limits: dict[str, Expr | Exprs] = LIMITS
