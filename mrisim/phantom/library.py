"""Phantom files → resolved phantoms: parameters, `extends`, tissues at the field asked for, shapes at their places."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from mrisim import data, source, units
from mrisim.constants import GAMMA_BAR
from mrisim.errors import MrisimError, Problem, SpecError
from mrisim.paths import library_files
from mrisim.phantom import grammar
from mrisim.phantom.catalogue import list_phantoms
from mrisim.phantom.enhancement import Agent, agent_of, kinetics_of
from mrisim.phantom.fibres import Fibre
from mrisim.phantom.fields import Polynomial
from mrisim.phantom.model import Painted, PhantomModel, Points, Susceptibility
from mrisim.phantom.shapes import Ellipse, Ellipsoid, Polygon, Prism, Ribbon, Shape, along, rectangle, turned
from mrisim.phantom.tissues import AIR, BACKGROUND, Tissue, changed, mixture, perfused, tissue
from mrisim.schemas import for_editors
from mrisim.source import Source
from mrisim.units import Dimension

MAX_EXTENDS = 8
DEFAULT_FIELD = 3.0
DEFAULT_VOXEL = 1e-3
RESERVED = frozenset({"field", "voxel", "isochromats", "slab", "geometry", "extent", "extrude", "x", "y", "z"})
"""Words that no parameter may have as its name: arguments of `load_phantom`, and axes."""
_SI = {
    units.LENGTH: "m", units.TIME: "s", units.ANGLE: "rad", units.FREQUENCY: "Hz", units.SHIFT: "ppm", units.FIELD: "T",
    units.DIFFUSION: "m^2/s",
}  # fmt: skip
_AXES: Mapping[str, tuple[float, float, float]] = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
_QUANTITY = re.compile(rf"{units.NUMBER_PATTERN}\s*({units.UNIT_PATTERN})")

Quantity = str | float


def load_phantom(
    name_or_path: str | Path,
    *,
    field: Quantity | None = None,
    voxel: Quantity | tuple[Quantity, Quantity, Quantity] | None = None,
    isochromats: int | None = None,
    slab: Quantity | None = None,
    geometry: data.Geometry | None = None,
    extent: tuple[Quantity, Quantity, Quantity] | None = None,
    extrude: Quantity | None = None,
    **parameters: Quantity,
) -> data.Phantom:
    """Isochromats of a phantom from the library or from a file.

    Args:
        name_or_path: Name in the library, or a `.yaml` file.
        field: Field strength that tissues are looked up at [T]; default: the file's, else 3 T.
        voxel: Side of a voxel, or three, along the geometry's axes [m].
        isochromats: Per voxel.
        slab: Extent along the slice direction [m].
        geometry: Axes and center of the voxel grid, those of the sequence; default: the physical axes.
        extent: Along read, phase and slice [m]; default: all of the phantom.
        extrude: Thickness that makes a flat phantom solid [m].
        **parameters: Values of the file's parameters.

    Returns:
        A phantom that knows its `model` and `sampling`.

    Raises:
        SpecError: an unknown name, a file that breaks the grammar (all problems at once), an unknown parameter.
        ConsistencyError: nothing to sample, or arguments that do not fit the phantom.
        ResourceError: more isochromats than fit into memory.

    Example:
        >>> load_phantom("ellipse_box", voxel="4 mm", isochromats=5).field
        3.0
    """
    model = load_model(name_or_path, field, extrude=extrude, **parameters)
    reach = None if extent is None else lengths(extent, "extent")
    sides = lengths(voxel, "voxel") if isinstance(voxel, (tuple, list)) else length(voxel, "voxel")
    return model.sample(
        model.sampling(voxel=sides, isochromats=isochromats, slab=length(slab, "slab"), geometry=geometry, extent=reach)
    )


def load_model(
    name_or_path: str | Path,
    field: Quantity | None = None,
    *,
    extrude: Quantity | None = None,
    **parameters: Quantity,
) -> PhantomModel:
    """A phantom's resolved description: shapes, tissues, fields; arguments as in `load_phantom`.

    Raises:
        SpecError: an unknown name, a file that breaks the grammar (all problems at once), an unknown parameter.

    Example:
        >>> load_model("vials", field="1.5 T").field
        1.5
    """
    return resolve(read_parts(name_or_path, parameters), Path(name_or_path).stem, field, extrude)


@dataclass(frozen=True, kw_only=True)
class PhantomParts:
    """A file and what it extends, the base first, validated; and the last word of each."""

    parsed: list[tuple[Source, grammar.PhantomFile]]
    merged: grammar.PhantomFile
    values: dict[str, str | float | int]  # of the parameters


def read_parts(name_or_path: str | Path, parameters: Mapping[str, Quantity]) -> PhantomParts:
    """Read and validate a phantom's file and what it extends.

    Raises:
        SpecError: an unknown name, a file that breaks the grammar (all problems at once), an unknown parameter.
    """
    chain = _read_chain(name_or_path)
    values, problems = _parameter_values(chain, parameters)
    parsed = _validated(chain, values, problems)
    return PhantomParts(parsed=parsed, merged=_merged([spec for _, spec in parsed]), values=values)


def resolve(parts: PhantomParts, name: str, field: Quantity | None, extrude: Quantity | None) -> PhantomModel:
    """Model of a file of shapes.

    Raises:
        SpecError: all problems at once; or voxels from files, which `mrisim.load_phantom` reads.
    """
    merged = parts.merged
    if merged.maps is not None or merged.labels is not None:
        rule = "must be made of shapes here, but takes its voxels from files"
        raise SpecError(parts.parsed[-1][0].problem((), rule, "Load it with mrisim.load_phantom"))
    for key in ("interpolation", "resample"):
        if getattr(merged, key) is not None:
            rule = "must be left out for a phantom of shapes, but is given"
            raise SpecError(parts.parsed[-1][0].problem((key,), rule, "Remove it"))
    strength = merged.field or DEFAULT_FIELD if field is None else _parsed(field, units.FIELD, "field")
    thickness = merged.extrude if extrude is None else length(extrude, "extrude")
    return Resolver(parts, strength).model(name, thickness)


def json_schema() -> dict[str, Any]:
    """JSON Schema of a phantom file.

    Example:
        >>> json_schema()["title"]
        'mrisim phantom'
    """
    schema = for_editors(_relaxed(grammar.PhantomFile.model_json_schema()))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "mrisim phantom"}


def _relaxed(part: Any) -> Any:
    """The schema with `anyOf` for `oneOf`: fractions of tissues look like a custom tissue to it."""
    if isinstance(part, dict):
        return {"anyOf" if key == "oneOf" else key: _relaxed(value) for key, value in part.items() if key != "default"}
    return [_relaxed(value) for value in part] if isinstance(part, list) else part


def _parsed(value: Quantity, dimension: Dimension, path: str) -> float:
    try:
        number = units.parse(value, dimension)
    except MrisimError as error:
        raise SpecError([replace(problem, path=path) for problem in error.problems]) from None
    if not math.isfinite(number) or number <= 0.0:
        raise SpecError(Problem(f"must be finite and above zero, but is {value}", path=path))
    return number


def length(value: Quantity | None, path: str) -> float | None:
    """A length above zero [m]; None for None. `path` names it in an error."""
    return None if value is None else _parsed(value, units.LENGTH, path)


def lengths(values: tuple[Quantity, ...], path: str) -> tuple[float, float, float]:
    """Three lengths above zero [m]. `path` names them in an error."""
    if len(values) != 3:
        raise SpecError(Problem(f"must be three lengths, but is {len(values)}", path=path))
    x, y, z = (_parsed(value, units.LENGTH, path) for value in values)
    return x, y, z


def _find(name: str, folder: Path | None) -> Path:
    files = library_files("phantoms")
    if name in files:
        return files[name]
    if folder is not None:
        return source.inside_folder(folder, name)
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return path
    known = [info.name for info in list_phantoms()]
    remedy = source.did_you_mean(name, known) or f"Known: {', '.join(known)}; or give a .yaml file"
    raise SpecError(
        Problem(
            f"must be a phantom of the library or a file (.yaml, .h5, .phantom, .npz), but is '{name}'",
            remedy,
            path="phantom",
        )
    )


def _read_chain(name_or_path: str | Path) -> list[Source]:
    """The file and what it extends, the base first."""
    chain: list[Source] = []
    seen: list[Path] = []
    path = _find(str(name_or_path), None)
    while True:
        content = source.read_source(path)
        seen.append(path.resolve())
        chain.insert(0, content)
        base = content.data.get("extends") if isinstance(content.data, dict) else None
        if not isinstance(base, str):
            return chain
        try:
            path = _find(base, content.folder)
        except MrisimError as error:
            raise SpecError([content.problem(("extends",), p.rule, p.remedy) for p in error.problems]) from None
        if path.resolve() in seen:
            loop = " → ".join(p.name for p in [*seen, path])
            raise SpecError(content.problem(("extends",), f"must not extend itself, but does: {loop}"))
        if len(chain) >= MAX_EXTENDS:
            raise SpecError(content.problem(("extends",), f"must extend at most {MAX_EXTENDS} files, but extends more"))


def _parameter_values(
    chain: list[Source], given: Mapping[str, Quantity]
) -> tuple[dict[str, str | float | int], list[Problem]]:
    """Value of every parameter of a chain of files, as text with a unit or as a number; and what is wrong with them."""
    declared: dict[str, tuple[Source, grammar.Parameter]] = {}
    problems: list[Problem] = []
    for content in chain:
        entries = content.data.get("parameters", {}) if isinstance(content.data, dict) else {}
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            if name in RESERVED or not name.isidentifier():
                rule = f"must be a name that is free, but is '{name}'"
                problems.append(content.problem(("parameters", name), rule, "Choose another name", at_key=True))
            try:
                declared[name] = content, grammar.Parameter.model_validate(entry)
            except ValidationError:
                continue  # reported with the rest of the file
    for name in sorted(set(given) - set(declared)):
        remedy = source.did_you_mean(name, declared) or "It has no parameters"
        problems.append(Problem(f"must be a parameter of {chain[-1].file}, but is none", remedy, path=name))
    values: dict[str, str | float | int] = {}
    for name, (content, parameter) in declared.items():
        try:
            values[name] = _parameter_value(parameter, given.get(name, parameter.value))
        except MrisimError as error:
            values[name] = parameter.value
            if name in given:
                problems += [replace(problem, path=name) for problem in error.problems]
            else:
                problems += [content.problem(("parameters", name), p.rule, p.remedy) for p in error.problems]
    return values, problems


def _parameter_value(parameter: grammar.Parameter, value: Quantity) -> str | float | int:
    default = parameter.value
    match = _QUANTITY.fullmatch(default.strip()) if isinstance(default, str) else None
    if isinstance(default, str) and match is None:
        if not isinstance(value, str):
            raise SpecError(f"must be a word such as '{default}', but is {value}")
        return value
    dimension = units.unit(match[1])[1] if match else units.NUMBER
    number = units.parse(value if isinstance(value, (str, int, float)) else str(value), dimension)
    for bound, sign, word in ((parameter.min, 1, "least"), (parameter.max, -1, "most")):
        if bound is not None and sign * number < sign * units.parse(bound, dimension) * (1.0 - sign * 1e-12):
            raise SpecError(f"must be at {word} {bound}, but is {value}")
    if match is None:
        return int(number) if isinstance(default, int) and number == int(number) else number
    return value if isinstance(value, str) else f"{number!r} {_SI.get(dimension, match[1])}"


def _substituted(part: Any, values: Mapping[str, str | float | int], used: set[str]) -> Any:
    """Data with the values of parameters in place of their names, `-name` included."""
    if isinstance(part, dict):
        return {key: _substituted(value, values, used) for key, value in part.items()}
    if isinstance(part, list):
        return [_substituted(value, values, used) for value in part]
    name = part.removeprefix("-").strip() if isinstance(part, str) else ""
    if name not in values:
        return part
    used.add(name)
    value = values[name]
    if part == name:
        return value
    return _negative(value) if isinstance(value, str) else -value


def _negative(text: str) -> str:
    return text.removeprefix("-") if text.startswith("-") else f"-{text.removeprefix('+')}"


def _validated(
    chain: list[Source], values: Mapping[str, Any], problems: list[Problem]
) -> list[tuple[Source, grammar.PhantomFile]]:
    parsed, used = [], set()
    for content in chain:
        raw = content.data
        if isinstance(raw, dict):
            kept = ("parameters", "phantom", "description", "sources", "extends")
            raw = {key: part if key in kept else _substituted(part, values, used) for key, part in raw.items()}
        content = replace(content, data=raw)
        try:
            parsed.append((content, source.validate(grammar.PhantomFile, content)))
        except SpecError as error:
            problems = problems + list(error.problems)
    for name in sorted(set(values) - used):
        place = next(c for c in reversed(chain) if name in c.data.get("parameters", {}))
        rule = "must be used somewhere in the file, but is not"
        problems = [*problems, place.problem(("parameters", name), rule, "Remove it", at_key=True)]
    if problems:
        raise SpecError(problems)
    return parsed


def _merged(specs: list[grammar.PhantomFile]) -> grammar.PhantomFile:
    """The last word on every key but shapes, tissues and parameters, which add up."""
    keys: dict[str, Any] = {}
    for spec in specs:
        keys |= {key: getattr(spec, key) for key in spec.model_fields_set if getattr(spec, key) is not None}
    keys["sources"] = [text for spec in specs for text in spec.sources or ()]
    return grammar.PhantomFile.model_construct(**keys)


class Resolver:
    """From validated files to a model; collects problems, each at its place."""

    def __init__(self, parts: PhantomParts, strength: float):
        self.parsed, self.merged, self.values, self.field = parts.parsed, parts.merged, parts.values, strength
        self.problems: list[Problem] = []
        self.said: set[str] = set()  # a tissue that is used ten times is reported once
        self.tissues: list[Tissue] = [AIR]
        self.named: dict[str, Tissue] = {}
        self.size = (1.0, 1.0, 1.0)

    def name_tissues(self) -> None:
        """Resolve the tissues that the files name."""
        for content, spec in self.parsed:
            for key, entry in spec.tissues.items():
                resolved = self.tissue(content, ("tissues", key), entry, key)
                if resolved is not None:
                    self.named[key] = resolved

    def model(self, name: str, extrude: float | None) -> PhantomModel:
        """Phantom of shapes.

        Raises:
            SpecError: all problems at once.
        """
        self.size = self._size(extrude)
        self.name_tissues()
        shapes: list[Painted] = []
        points: list[Points] = []
        for content, spec in self.parsed:
            for i, entry in enumerate(spec.shapes):
                self._shape(content, ("shapes", i), entry, shapes, points)
        if not shapes and not points and not self.problems:
            self.problems.append(self.parsed[-1][0].problem((), "must hold at least one shape, but holds none"))
        if self.problems:
            raise SpecError(self.problems)
        agent = self._agent()
        if self.problems:
            raise SpecError(self.problems)
        fields = self.merged.fields or grammar.FieldsSpec()
        voxel = self.merged.voxel or DEFAULT_VOXEL
        return PhantomModel(
            name=name,
            description=self.merged.description or self.merged.phantom or "",
            sources=tuple(self.merged.sources or ()),
            field=self.field,
            gamma=GAMMA_BAR,
            size=self.size,
            voxel=voxel if isinstance(voxel, tuple) else (voxel, voxel, voxel),
            isochromats=self.merged.isochromats or 1,
            t2_prime=self.merged.t2_prime is not False,
            tissues=tuple(self.tissues),
            shapes=tuple(shapes),
            points=tuple(points),
            b0=b0_of(fields.b0),
            b1=b1_of(fields.b1, self.size),
            susceptibility=_susceptibility(fields.b0.susceptibility),
            parameters=dict(self.values),
            agent=agent,
        )

    def _agent(self) -> Agent | None:
        """The contrast agent; one that no tissue takes up, or an uptake of none, is a problem."""
        spec, enhanced = self.merged.agent, [tissue.name for tissue in self.tissues if tissue.kinetics is not None]
        content = next((c for c, s in reversed(self.parsed) if s.agent is not None), self.parsed[-1][0])
        if spec is None:
            if enhanced:
                rule = f"must have the key 'agent', because {enhanced[0]} takes one up, but has none"
                self.problems.append(content.problem((), rule, "Add agent: {name: gadobutrol}"))
            return None
        if not enhanced:
            rule = "must be taken up by a tissue, but no tissue has the key 'enhancement'"
            self.problems.append(content.problem(("agent",), rule, "Remove it", at_key=True))
        try:
            return agent_of(spec, self.field)
        except SpecError as error:
            for problem in error.problems:
                self.problems.append(content.problem(("agent", problem.path or "name"), problem.rule, problem.remedy))
            return None

    def _size(self, extrude: float | None) -> tuple[float, float, float]:
        content, size = self.parsed[-1][0], self.merged.size
        if size is None:
            self.problems.append(content.problem((), "must have the key 'size', but has none", "Add 'size: [x, y, z]'"))
            return 1.0, 1.0, 1.0
        if len(size) == 3 and extrude is not None:
            rule = "must be left out for a solid phantom, but is given"
            raise SpecError(content.problem(("extrude",), rule, "Set size instead"))
        return size if len(size) == 3 else (size[0], size[1], extrude or 0.0)

    def _index(self, resolved: Tissue) -> int:
        if resolved not in self.tissues:
            self.tissues.append(resolved)
        return self.tissues.index(resolved)

    def _named(self, name: str) -> Tissue:
        if name in self.named:
            return self.named[name]
        try:
            return tissue(name, self.field)
        except SpecError as error:
            close = source.did_you_mean(name, [*self.named]) if self.named else ""
            unknown = error.problems[0].rule.startswith("must be a known tissue")
            if unknown and close.startswith("Did you mean"):
                raise SpecError(replace(error.problems[0], remedy=close)) from None
            raise

    def tissue(
        self, content: Source, path: source.KeyPath, ref: str | grammar.CustomTissue | dict[str, float], name: str = ""
    ) -> Tissue | None:
        """Tissue of a reference; None, and a problem more, where it cannot be resolved."""
        try:
            if isinstance(ref, str):
                base = self._named(ref)
                return replace(base, name=name) if name else base
            if isinstance(ref, dict):
                parts = {self._named(key): share for key, share in ref.items()}
                return mixture(parts, name or ", ".join(f"{key} {100 * share:g} %" for key, share in ref.items()))
            return self._custom(ref, name)
        except SpecError as error:
            for problem in error.problems:
                deeper = (*path, problem.path) if problem.path else path
                if problem.path or problem.rule not in self.said:
                    self.problems.append(content.problem(deeper, problem.rule, problem.remedy))
                self.said.add(problem.rule)
            return None

    def _custom(self, ref: grammar.CustomTissue, name: str) -> Tissue:
        base = self._named(ref.extends) if ref.extends else Tissue(name="custom", species=())
        if base.name == BACKGROUND:
            raise SpecError(Problem("must extend a tissue with signal, but extends 'air'", path="extends"))
        given = {
            "t1": ref.T1, "t2": ref.T2, "t2_star": ref.T2star, "pd": ref.PD, "chi": ref.chi, "shift": ref.shift,
            "diffusion": ref.ADC, "fibre": None if ref.tensor is None else _fibre(ref.tensor),
        }  # fmt: skip
        changes = {key: value for key, value in given.items() if value is not None}
        words = [f"{key} {_spelled(key, getattr(ref, key))}" for key in ref.model_fields_set if key != "extends"]
        result = changed(base, changes, name or f"{base.name} ({', '.join(sorted(words))})")
        kinetics = base.kinetics if ref.enhancement is None else kinetics_of(ref.enhancement)
        result = replace(result, kinetics=kinetics)
        if ref.perfusion is None:
            return result
        blood = ref.perfusion
        if any(t2 > 2.0 * t1 for t1, t2 in ((blood.T1 or s.t1, blood.T2 or s.t2) for s in result.species)):
            rule = "must leave T2 of the blood at or below twice its T1, but does not"
            raise SpecError(Problem(rule, "Give both T1 and T2 of the blood", path="perfusion"))
        return perfused(result, blood.f, blood.Dstar, blood.T1, blood.T2)

    def _shape(
        self,
        content: Source,
        path: source.KeyPath,
        entry: grammar.ShapeSpec,
        shapes: list[Painted],
        points: list[Points],
    ) -> None:
        resolved = self.tissue(content, (*path, "tissue"), entry.tissue)
        if resolved is None:
            return
        index = self._index(resolved)
        spec = getattr(entry, entry.kind)
        if isinstance(spec, grammar.PointsSpec):
            position = np.array(spec.at)
            flip = np.where(np.array(list("xyz")) == entry.mirror, -1.0, 1.0)
            both = position if entry.mirror is None else np.concatenate([position, position * flip])
            points.append(Points(position=both, volume=spec.volume, tissue=index))
            return
        try:
            shape = _placed(spec, self.size[2])
        except SpecError as error:
            self.problems += [content.problem((*path, entry.kind), p.rule, p.remedy) for p in error.problems]
            return
        shapes.append(Painted(shape=shape, tissue=index))
        if entry.mirror is not None:
            shapes.append(Painted(shape=shape.mirrored(entry.mirror), tissue=index))


def _fibre(spec: grammar.TensorSpec) -> Fibre:
    course = next(key for key in ("along", "around", "away_from") if getattr(spec, key) is not None)
    axis = getattr(spec, course)
    vector = np.array(_AXES.get(str(axis), axis), dtype=float)
    center = [*(spec.center or grammar.ORIGIN), 0.0][:3]
    return Fibre(
        axial=spec.axial,
        radial=spec.radial,
        axis=tuple(float(c) for c in vector / np.linalg.norm(vector)),  # type: ignore[arg-type]
        course=course,  # type: ignore[arg-type]
        center=tuple(center),  # type: ignore[arg-type]
    )


def _spelled(key: str, value: Any) -> str:
    if isinstance(value, grammar.TensorSpec):
        course = next(key for key in ("along", "around", "away_from") if getattr(value, key) is not None)
        where = getattr(value, course)
        rates = (units.show(rate, units.DIFFUSION, digits=4) for rate in (value.axial, value.radial))
        return " ".join([*rates, course, where if isinstance(where, str) else " ".join(f"{c:g}" for c in where)])
    if isinstance(value, grammar.PerfusionSpec):
        return f"f {100 * value.f:g} %, Dstar {units.show(value.Dstar, units.DIFFUSION, digits=4)}"
    if isinstance(value, grammar.EnhancementSpec):
        rates = {key: getattr(value, key) for key in grammar.PARAMETERS[value.model]}
        return " ".join([value.model, *(f"{key} {number:.4g}" for key, number in rates.items())])
    others = {"PD": units.NUMBER, "chi": units.SHIFT, "shift": units.SHIFT, "ADC": units.DIFFUSION}
    dimension = others.get(key, units.TIME)
    return units.show(value, dimension, digits=4)


def _placed(spec: Any, height: float) -> Shape:
    """Shape of a specification; prisms without a height are as high as the phantom, endless in a flat one."""
    center = np.array([*spec.center, 0.0][:3], dtype=float)
    if isinstance(spec, grammar.SphereSpec):
        return Shape(body=Ellipsoid(radii=np.full(3, spec.radius)), center=center)
    if isinstance(spec, grammar.CylinderSpec):
        section = Ellipse(radii=np.full(2, spec.radius))
        axis = _AXES.get(str(spec.axis), spec.axis)
        return _prism(section, spec.height, height, center, along(np.array(axis, dtype=float)))
    axes = turned(np.array(spec.turn if isinstance(spec.turn, tuple) else (0.0, 0.0, spec.turn)))
    if isinstance(spec, grammar.EllipsoidSpec):
        return Shape(body=Ellipsoid(radii=np.array(spec.radii)), center=center, axes=axes)
    if isinstance(spec, grammar.RibbonSpec):
        body = Ribbon(
            radii=np.array(spec.radii),
            folds=spec.folds,
            depth=spec.depth,
            width=spec.width,
            seed=spec.seed,
            wander=spec.wander,
        )
        return Shape(body=body, center=center, axes=axes)
    if isinstance(spec, grammar.BoxSpec):
        return Shape(
            body=Prism(section=rectangle(*spec.size[:2]), half_height=0.5 * spec.size[2]), center=center, axes=axes
        )
    if isinstance(spec, grammar.EllipseSpec):
        return _prism(Ellipse(radii=np.array(spec.radii)), spec.height, height, center, axes)
    if isinstance(spec, grammar.RectangleSpec):
        return _prism(rectangle(*spec.size), spec.height, height, center, axes)
    corners = np.array(spec.corners)
    if Polygon(corners=corners).area <= 1e-12 * np.ptp(corners) ** 2:
        raise SpecError("must be a polygon with an area, but its corners lie on a line")
    middle = Polygon(corners=corners).centroid
    offset = axes @ np.append(middle, 0.0)
    return _prism(Polygon(corners=corners - middle), spec.height, height, center + offset, axes)


def _prism(section: Ellipse | Polygon, own: float | None, height: float, center: np.ndarray, axes: np.ndarray) -> Shape:
    if own is not None:
        return Shape(body=Prism(section=section, half_height=0.5 * own), center=center, axes=axes)
    if abs(abs(axes[2, 2]) - 1.0) > 1e-12:
        raise SpecError("must have a height where it is turned out of its plane, but has none. Add 'height: …'")
    half = 0.5 * height if height > 0.0 else math.inf
    return Shape(body=Prism(section=section, half_height=half), center=center * [1.0, 1.0, 0.0], axes=axes)


def _square(spec: Any) -> np.ndarray:
    mixed = np.array([[0.0, spec.xy, spec.xz], [spec.xy, 0.0, spec.yz], [spec.xz, spec.yz, 0.0]])
    return (np.diag([spec.xx, spec.yy, spec.zz]) + 0.5 * mixed) / spec.over**2


def _polynomial(constant: float, linear: Any, quadratic: Any) -> Polynomial:
    return Polynomial(
        constant=constant,
        linear=np.zeros(3) if linear is None else np.array([linear.x, linear.y, linear.z]) / linear.over,
        quadratic=np.zeros((3, 3)) if quadratic is None else _square(quadratic),
    )


def b0_of(spec: grammar.B0Spec) -> Polynomial:
    """Off-resonance without susceptibility [Hz]."""
    return _polynomial(spec.constant, spec.linear, spec.quadratic)


def b1_of(spec: grammar.B1Spec, size: tuple[float, float, float]) -> Polynomial:
    """Transmit field relative to nominal, in a phantom of a size [m]."""
    if spec.center is None or spec.edge is None:
        return _polynomial(1.0 if spec.constant is None else spec.constant, spec.linear, spec.quadratic)
    reach = np.full(2, spec.over) if spec.over else 0.5 * np.array(size[:2])
    return Polynomial(constant=spec.center, quadratic=np.diag([*((spec.edge - spec.center) / reach**2), 0.0]))


def _susceptibility(spec: bool | grammar.SusceptibilitySpec) -> Susceptibility | None:
    if spec is False:
        return None
    settings = grammar.SusceptibilitySpec() if spec is True else spec
    return Susceptibility(resolution=settings.resolution, shim=settings.shim)
