"""Protocol files: several sequences over one phantom, the maps that follow, one report.

Grammar (every length, time and angle with its unit):

    mrisim: 1
    protocol: name of the exam
    description, reference            # text
    phantom: name or file, or {name: …, field: …, parameters of the phantom: …}
    scans:
      name: {sequence: name or file, set: {parameter: value}, each: {parameter: [values]}, simulation: {…}, bids: T1w,
             window: tukey}
    maps:
      name: {fit: …, from: scan, options of the fit}
    simulation: {isochromats, voxel, coils, noise, engine, pulses, spoiling, injection, extent}
    report: {truth: true}
    limits: {quantity: at most …}        # of every scan; a scan may have its own

`each` runs the sequence once per value and stacks the images into one series; several parameters with lists of one
length go in step. Files are looked for in the protocol's folder, names without a suffix in the library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field

from mrisim.errors import MrisimError, Problem, SpecError
from mrisim.paths import library_files
from mrisim.schemas import for_editors
from mrisim.source import KeyPath, Source, did_you_mean, inside_folder, names_curve, one_line, read_source, validate
from mrisim.units import LENGTH, TIME, parse

BidsSuffix = Literal["T1w", "T2w", "T2starw", "PDw", "FLAIR", "IRT1", "MESE", "MEGRE", "VFA"]
MAX_SCANS = 64
MAX_VALUES = 256

Window = Literal["none", "hann", "hamming", "tukey"]
Scalar = bool | int | float | str
Value = Scalar | list[Scalar]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScanSimulationModel(_Model):
    """How scans are simulated: a scan's own settings win over the protocol's, a caller's arguments over both."""

    isochromats: int | None = Field(default=None, ge=1, le=100_000, description="per voxel")
    coils: int | None = Field(default=None, ge=1, le=256, description="elements of the receive array")
    noise: str | float | None = Field(default=None, description="standard deviation, or a text such as snr 50")
    engine: Literal["bloch", "epg"] | None = Field(default=None, description="what carries the state of the spins")
    injection: str | None = Field(
        default=None, description="time of the contrast agent since the start of the scan, such as 30 s or -5 min"
    )
    pulses: Literal["shaped", "ideal"] | None = Field(default=None, description="as played, or instantaneous rotations")
    spoiling: Literal["gradient", "ideal"] | None = Field(
        default=None, description="as played, or no transverse magnetisation before an excitation"
    )
    extent: list[str] | None = Field(
        default=None,
        min_length=2,
        max_length=3,
        description="lengths along read, phase and, in 3D, partition; tissue beyond gives no signal, as if saturated",
    )


class SimulationModel(ScanSimulationModel):
    """How all scans are simulated."""

    voxel: str | None = Field(default=None, description="side of a voxel in the plane; the image's by default")


class ScanModel(_Model):
    """One sequence, run once or once per value of `each`."""

    sequence: str = Field(description="name in the library, or a .yaml file in the protocol's folder")
    set: dict[str, Value] = Field(
        default_factory=dict, description="parameters of the sequence that differ from its own"
    )
    each: dict[str, list[Value]] = Field(
        default_factory=dict, description="parameter → values; one run per value, stacked into one series"
    )
    simulation: ScanSimulationModel = Field(
        default_factory=ScanSimulationModel, description="what differs from the protocol's"
    )
    limits: dict[str, Value] = Field(default_factory=dict, description="beside those of the protocol: docs/checking.md")
    window: Window | None = Field(default=None, description="over k-space, against ringing; else the sequence's own")
    bids: BidsSuffix | None = Field(default=None, description="suffix in the BIDS dataset; else it follows from times")


class MapModel(BaseModel):
    """A parameter map; further keys are options of the fit."""

    model_config = ConfigDict(extra="allow", frozen=True)

    fit: str = Field(description="name of a fit, such as inversion_recovery")
    series: str = Field(default="", alias="from", description="scan whose images are fitted")


class ReportModel(_Model):
    """What the report holds."""

    truth: bool = Field(default=True, description="compare maps with the phantom's true values")


class ProtocolModel(_Model):
    """A protocol file."""

    mrisim: Literal[1] = Field(description="version of the language")
    protocol: str = Field(min_length=1, description="name of the exam")
    description: str = Field(default="", description="one or two sentences")
    reference: str = Field(default="", description="citation")
    phantom: str | dict[str, Scalar] = Field(description="name or file; or a mapping with name, field and parameters")
    scans: dict[str, ScanModel] = Field(min_length=1, max_length=MAX_SCANS, description="name → scan, in order")
    maps: dict[str, MapModel] = Field(default_factory=dict, description="name → fit")
    simulation: SimulationModel = Field(default_factory=SimulationModel, description="of all scans")
    report: ReportModel = Field(default_factory=ReportModel, description="what the report holds")
    limits: dict[str, Value] = Field(
        default_factory=dict, description="of every scan, for mrisim check, such as {pns: 80 %}: docs/checking.md"
    )


@dataclass(frozen=True, kw_only=True)
class Scan:
    """A scan with its runs: one mapping of parameters per run of the sequence."""

    name: str
    sequence: str  # library name or path
    runs: tuple[Mapping[str, Value], ...]
    varied: tuple[str, ...] = ()  # parameters that differ between the runs
    simulation: Mapping[str, Any] = field(default_factory=dict)
    window: str = ""  # over k-space, where chosen
    bids: str = ""  # suffix in the BIDS dataset, where chosen


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A resolved protocol, or a single sequence dressed as one."""

    name: str
    scans: tuple[Scan, ...]
    phantom: str
    phantom_parameters: Mapping[str, Scalar] = field(default_factory=dict)
    maps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    simulation: Mapping[str, Any] = field(default_factory=dict)
    truth: bool = True
    description: str = ""
    reference: str = ""
    text: str = ""  # of the file
    source: Source | None = None


def load_protocol(name_or_path: str | Path) -> Protocol:
    """Protocol from the library or from a file.

    Raises:
        SpecError: an unknown name, or a file that breaks the grammar; all problems at once.

    Example:
        >>> load_protocol("brain_demo").phantom
        'brain_with_tumour'
    """
    path = protocol_file(name_or_path)
    if path is None:
        known = library_files("protocols")
        rule = f"must be a protocol of the library or a .yaml file, but is '{name_or_path}'"
        raise SpecError(Problem(rule, did_you_mean(str(name_or_path), known), path="protocol"))
    return _resolve(read_source(path), path.read_text(encoding="utf-8"))


def protocol_file(name_or_path: str | Path) -> Path | None:
    """File of a protocol, None where the name or file is none.

    Example:
        >>> protocol_file("t2_tse") is None
        True
    """
    library = library_files("protocols")
    if str(name_or_path) in library:
        return library[str(name_or_path)]
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        return None
    data = read_source(path).data
    return path if isinstance(data, dict) and "protocol" in data else None


def list_protocols() -> tuple[tuple[str, str, Path], ...]:
    """Name, one line of description and file of every protocol in the library.

    Example:
        >>> "brain_demo" in [name for name, description, path in list_protocols()]
        True
    """
    files = library_files("protocols").items()
    return tuple((name, one_line(read_source(path).data, "description", "protocol"), path) for name, path in files)


def json_schema() -> dict[str, Any]:
    """JSON Schema of a protocol file.

    Example:
        >>> json_schema()["title"]
        'mrisim protocol'
    """
    schema = for_editors(ProtocolModel.model_json_schema(by_alias=True))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "mrisim protocol"}


def _resolve(source: Source, text: str) -> Protocol:
    model = cast(ProtocolModel, validate(ProtocolModel, source))
    problems = [*_scan_problems(model, source), *_map_problems(model, source)]
    problems += _quantity_problems(("simulation",), model.simulation, source)
    phantom, parameters, more = _phantom(model, source)
    if problems or more:
        raise SpecError([*problems, *more])
    return Protocol(
        name=model.protocol,
        description=model.description,
        reference=model.reference,
        phantom=phantom,
        phantom_parameters=parameters,
        scans=tuple(_scan(name, scan, source) for name, scan in model.scans.items()),
        maps={name: _map_options(entry, source) for name, entry in model.maps.items()},
        simulation=model.simulation.model_dump(exclude_none=True),
        truth=model.report.truth,
        text=text,
        source=source,
    )


def as_written(value: Value) -> Value:
    """Value with its numbers as text, so that one without a unit is not taken for SI.

    Example:
        >>> as_written([192, "240 mm"])
        ['192', '240 mm']
    """
    if isinstance(value, list):
        return [cast(Scalar, as_written(item)) for item in value]
    return value if isinstance(value, bool) else str(value)


def _scan(name: str, scan: ScanModel, source: Source) -> Scan:
    count = len(next(iter(scan.each.values()), [None]))
    given = ({**scan.set, **{key: values[i] for key, values in scan.each.items()}} for i in range(count))
    runs = tuple({key: as_written(value) for key, value in run.items()} for run in given)
    sequence = scan.sequence
    if Path(sequence).suffix in (".yaml", ".yml"):
        sequence = str(inside_folder(source.folder, sequence))
    simulation = scan.simulation.model_dump(exclude_none=True)
    return Scan(
        name=name,
        sequence=sequence,
        runs=runs,
        varied=tuple(scan.each),
        simulation=simulation,
        window=scan.window or "",
        bids=scan.bids or "",
    )


def _scan_problems(model: ProtocolModel, source: Source) -> list[Problem]:
    problems = []
    for name, scan in model.scans.items():
        path = ("scans", name)
        if not name.replace("_", "").replace("-", "").isalnum() or not name.isascii():
            rule = f"must be a name of letters, digits, _ and -, but is '{name}'"
            problems.append(source.problem(path, rule, "It becomes a file name", at_key=True))
        lengths = {len(values) for values in scan.each.values()}
        if len(lengths) > 1:
            rule = "must have lists of one length, but has " + ", ".join(str(n) for n in sorted(lengths))
            problems.append(source.problem((*path, "each"), rule, "Lists go in step"))
        if 0 in lengths or max(lengths, default=1) > MAX_VALUES:
            rule = f"must have 1 to {MAX_VALUES} values, but has {max(lengths)}"
            problems.append(source.problem((*path, "each"), rule))
        problems += _quantity_problems((*path, "simulation"), scan.simulation, source)
        for key in scan.set.keys() & scan.each.keys():
            problems.append(
                source.problem((*path, "each", key), "must be in set or in each, but is in both", at_key=True)
            )
        if Path(scan.sequence).suffix in (".yaml", ".yml"):
            try:
                inside_folder(source.folder, scan.sequence)
            except SpecError as error:
                problems += [source.problem((*path, "sequence"), p.rule, p.remedy) for p in error.problems]
    return problems


def _quantity_problems(path: KeyPath, simulation: ScanSimulationModel, source: Source) -> list[Problem]:
    """What is wrong with the times and lengths of a simulation."""
    given = [("injection", simulation.injection, TIME)] if simulation.injection is not None else []
    lengths = [(("extent", i), value, LENGTH) for i, value in enumerate(simulation.extent or ())]
    problems = []
    for key, value, dimension in (*given, *lengths):
        place = (*path, *(key if isinstance(key, tuple) else (key,)))
        try:
            found = parse(value, dimension)
        except MrisimError as error:
            problems += [source.problem(place, p.rule, p.remedy) for p in error.problems]
            continue
        if dimension is LENGTH and not found > 0:
            problems.append(source.problem(place, f"must be above 0 mm, but is {value}"))
    return problems


def _map_problems(model: ProtocolModel, source: Source) -> list[Problem]:
    problems = []
    for name, entry in model.maps.items():
        if not entry.series and len(model.scans) > 1:
            rule = "must say which scan it comes from, but does not"
            problems.append(source.problem(("maps", name), rule, f"Add from: one of {', '.join(model.scans)}"))
        elif entry.series and entry.series not in model.scans:
            rule = f"must be a scan of this protocol, but is '{entry.series}'"
            problems.append(source.problem(("maps", name, "from"), rule, did_you_mean(entry.series, model.scans)))
        try:
            _map_options(entry, source)
        except SpecError as error:
            problems += [source.problem(("maps", name, "aif"), p.rule, p.remedy) for p in error.problems]
    return problems


def _map_options(entry: MapModel, source: Source) -> dict[str, Any]:
    """Fit, series and options; the file of a curve by its path."""
    options = entry.model_dump(by_alias=True, exclude_defaults=True)
    return {
        key: str(inside_folder(source.folder, value)) if names_curve(key, value) else value
        for key, value in options.items()
    }


def _phantom(model: ProtocolModel, source: Source) -> tuple[str, dict[str, Scalar], list[Problem]]:
    parameters: dict[str, Scalar] = {}
    name: Scalar = model.phantom if isinstance(model.phantom, str) else ""
    if isinstance(model.phantom, dict):
        parameters = dict(model.phantom)
        name = parameters.pop("name", "")
    if not isinstance(name, str) or not name:
        return "", {}, [source.problem(("phantom",), "must have a name, but has none", "Add name: brain")]
    if Path(name).suffix in (".yaml", ".yml", ".h5", ".hdf5", ".phantom", ".npz"):
        try:
            name = str(inside_folder(source.folder, name))
        except SpecError as error:
            return "", {}, [source.problem(("phantom",), problem.rule, problem.remedy) for problem in error.problems]
    return name, parameters, []
