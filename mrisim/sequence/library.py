"""A sequence by name or path, and the scanner that it is designed for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mrisim.errors import SpecError
from mrisim.events.blocks import Sequence
from mrisim.paths import library_folder
from mrisim.scanner import Scanner
from mrisim.sequence.expand import expand
from mrisim.sequence.files import load_source
from mrisim.sequence.grammar import SequenceModel, SystemModel
from mrisim.sequence.parameters import literal
from mrisim.sequence.scope import SYSTEM_DIMENSIONS
from mrisim.source import Source, did_you_mean, read_source, validate
from mrisim.units import TIME, show


def load_sequence(name_or_path: str | Path, **parameters: Any) -> Sequence:
    """Load and expand a sequence.

    Args:
        name_or_path: Name in the library, such as "flash_2d", or path of a .yaml file.
        **parameters: Values of the sequence's parameters by name: SI numbers, or text with a unit.

    Returns:
        The resolved event blocks.

    Raises:
        SpecError: everything that is wrong with the file or the parameters.
        TimingError: timing constraints that cannot be met; the message names what could be.

    Example:
        >>> load_sequence("flash_2d", TE="6 ms").parameters["TE"].value
        0.006
    """
    return sequence_from_source(load_source(name_or_path), parameters)


def sequence_from_source(source: Source, parameters: Mapping[str, Any]) -> Sequence:
    """Expand a specification that is read already; see `load_sequence`."""
    model = validate(SequenceModel, source)
    assert isinstance(model, SequenceModel)
    return expand(model, source, resolve_system(model.system, source), parameters)


def resolve_system(spec: str | SystemModel, source: Source) -> Scanner:
    """Scanner of a file: a named one, or the default with what the file changes.

    Raises:
        SpecError: an unknown name, values that are no limits.
    """
    if isinstance(spec, str):
        spec = SystemModel(extends=spec)
    base = Scanner()
    if spec.extends is not None:
        base = _named_system(spec.extends, source)
    changes: dict[str, Any] = {} if spec.name is None else {"name": spec.name}
    gamma = spec.gamma if spec.gamma is not None else base.gamma
    if spec.gamma is not None:
        scale = gamma / base.gamma  # limits in tesla stay what they are
        changes |= {"gamma": gamma} | {n: getattr(base, n) * scale for n in ("max_gradient", "max_slew", "max_b1")}
    problems = []
    for name, dimension in SYSTEM_DIMENSIONS.items():
        text = getattr(spec, name)
        if text is None or name == "gamma":
            continue
        try:
            value = literal(text, gamma)
            if value.dimension != dimension or value.is_list or value.is_bool:
                raise SpecError(f"must be {dimension.noun} with its unit, but is {text}")
            number = float(value.si().flat[0])
            zero = name.endswith(("_time", "_delay"))
            if name == "gradient_delay" and abs(number) > base.adc_dead_time:
                raise SpecError(f"must be at most {show(base.adc_dead_time, TIME)}, but is {show(number, TIME)}")
            least = -math.inf if name == "gradient_delay" else 1e-9 if name.endswith("_raster") else 0.0
            if number < least or (number == 0 and not zero):
                raise SpecError(f"must be above zero, but is {show(number, dimension, gamma)}")
            changes[name] = number
        except SpecError as error:
            problems += [source.problem(("system", name), p.rule, p.remedy) for p in error.problems]
    if not 1e3 < gamma < 1e12:
        problems.append(source.problem(("system", "gamma"), f"must be in Hz per tesla, but is {gamma:g}"))
    if problems:
        raise SpecError(problems)
    return replace(base, **changes)


def load_system(name_or_path: str | Path) -> Scanner:
    """Scanner of a name in the library, or of a .yaml file with the keys of the `system` part of a sequence.

    Raises:
        SpecError: no such name, keys or values that are none.

    Example:
        >>> load_system("default_3t").name
        'default 3 T'
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        return resolve_system(str(name_or_path), Source(file="", data={}))
    source = read_source(path)
    model = validate(SystemModel, source)
    assert isinstance(model, SystemModel)
    return resolve_system(model, _under_system(source))


def _under_system(source: Source) -> Source:
    """Source of a file that is a system, with places as those of the `system` part of a sequence."""
    places, key_places = (
        {("system", *path): place for path, place in table.items()} for table in (source.places, source.key_places)
    )
    return Source(file=source.file, data={}, places=places, key_places=key_places)


def _named_system(name: str, source: Source) -> Scanner:
    known = {path.stem: path for path in sorted((library_folder("sequences") / "systems").glob("*.yaml"))}
    if name not in known:
        rule = f"must be a system of the library, but '{name}' is none"
        raise SpecError(source.problem(("system",), rule, did_you_mean(name, known)))
    inner = read_source(known[name])
    model = validate(SystemModel, inner)
    assert isinstance(model, SystemModel)
    if model.extends is not None:
        raise SpecError(inner.problem(("extends",), "must not extend another system, but does"))
    return resolve_system(model, _under_system(inner))
