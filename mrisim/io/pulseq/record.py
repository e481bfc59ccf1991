"""What mrisim adds to the definitions of a file that it writes, and reads back. See docs/pulseq.md.

The lines `mrisim_001`, `mrisim_002`, … hold one JSON text without blanks, cut so that no line is longer than the 255
characters that interpreters read. It holds the hash of the events, so that it is used with the events that it belongs
to and with no others.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from mrisim.data import Geometry, ReconSpec
from mrisim.errors import Finding
from mrisim.events.blocks import Parameter, RFShape, RFTable, Sequence, TimingRecord, Use
from mrisim.io.pulseq.axes import to_logical
from mrisim.io.pulseq.parse import Parsed
from mrisim.io.record import plain
from mrisim.scanner import Scanner
from mrisim.units import Dimension

PREFIX = "mrisim_"
CHUNK = 200  # characters of JSON in a line
MAX_CHARACTERS = 20_000_000
BODY = ("BLOCKS", "RF", "GRADIENTS", "TRAP", "ADC", "EXTENSIONS", "SHAPES")


@dataclass(frozen=True, kw_only=True)
class Record:
    """The record of a file, and whether its events are still those that it was written for."""

    data: Mapping[str, Any]
    whole: bool
    system: Scanner


def lines_of(data: Mapping[str, Any]) -> list[str]:
    """Definitions that hold a record."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True).replace(" ", "\\u0020")
    parts = [text[i : i + CHUNK] for i in range(0, len(text), CHUNK)]
    return [f"{PREFIX}{i:03d} {part}" for i, part in enumerate(parts, start=1)]


def body_hash(sections: Iterable[tuple[str, list[str]]]) -> str:
    """Hash of the lines of events, blocks and shapes, comments and empty lines apart.

    Example:
        >>> body_hash([("VERSION", ["major 1"])]) == body_hash([])
        True
    """
    digest = hashlib.md5(usedforsecurity=False)
    for name, lines in sorted((one for one in sections if one[0] in BODY and one[1]), key=lambda s: BODY.index(s[0])):
        digest.update(f"[{name}]\n".encode())
        digest.update("\n".join(filter(None, lines)).encode())
    return digest.hexdigest()


def build(seq: Sequence, pulses: list[dict[str, Any]], body: str, gradients: Mapping[str, Any]) -> dict[str, Any]:
    """Record of a sequence.

    Args:
        seq: What is written.
        pulses: Groups of RF events: their numbers in the file and what the file cannot say of them.
        body: Hash of the events.
        gradients: First and last values of arbitrary gradients by number, where the file does not hold them.
    """
    data = {
        "mrisim": mrisim_version(),
        "body": body,
        "description": seq.description,
        "reference": seq.reference,
        "system": seq.system,
        "geometry": {"rotation": seq.geometry.rotation.ravel(), "center": seq.geometry.center},
        "parameters": [
            {
                "name": p.name,
                "value": p.value,
                "dimension": {k: str(v) for k, v in dataclasses.asdict(p.dimension).items() if v},
                "doc": p.doc,
                "default": p.is_default,
            }
            for p in seq.parameters.values()
        ],
        "timing": seq.timing,
        "recon": seq.recon,
        "pulses": pulses,
        "edges": gradients,
    }
    return plain(data)


def mrisim_version() -> str:
    """Version of this package, empty where it is not installed."""
    try:
        return version("mrisim")
    except PackageNotFoundError:
        return ""


def pulse_groups(seq: Sequence, ids: np.ndarray) -> list[dict[str, Any]]:
    """RF events that are alike in what a file cannot say: flip angle, use, slice, center, bandwidth."""
    groups: dict[tuple, list[int]] = {}
    rf = seq.rf
    for row, number in enumerate(ids.tolist()):
        shape = seq.rf_shapes[int(rf.shape[row])]
        key = (
            float(rf.flip[row]), int(rf.use[row]), int(rf.slice_axis[row]), float(rf.thickness[row]),
            float(rf.position[row]), float(shape.center), float(shape.bandwidth),
        )  # fmt: skip
        groups.setdefault(tuple(None if v != v else v for v in key), []).append(number)
    names = ("flip", "use", "axis", "thickness", "position", "center", "bandwidth")
    return [{"ids": _runs(ids_), **dict(zip(names, key, strict=True))} for key, ids_ in groups.items()]


def _runs(numbers: list[int]) -> list[int]:
    """First and last of each run, one after the other."""
    array = np.unique(numbers)
    cuts = np.flatnonzero(np.diff(array) > 1)
    first, last = np.append(array[:1], array[cuts + 1]), np.append(array[cuts], array[-1:])
    return np.stack([first, last], axis=1).ravel().tolist()


def read(parsed: Parsed) -> Record | None:
    """Record of a file; None where it has none or one that cannot be read."""
    keys = sorted(key for key in parsed.definitions if key.startswith(PREFIX) and key[len(PREFIX) :].isdecimal())
    if not keys:
        return None
    text = "".join(parsed.definitions[key] for key in sorted(keys, key=lambda key: int(key[len(PREFIX) :])))
    try:
        data = json.loads(text) if len(text) <= MAX_CHARACTERS else None
        system = _system(data["system"])  # type: ignore[index]
        body = data["body"]  # type: ignore[index]
    except (ValueError, TypeError, KeyError, RecursionError, IndexError):
        return Record(data={}, whole=False, system=Scanner())
    found = body_hash((name, section.lines) for name, section in _in_order(parsed))
    return Record(data=data, whole=found == body, system=system)


def _in_order(parsed: Parsed) -> list[tuple[str, Any]]:
    sections = parsed.text.sections
    rows = [(name, sections[name]) for name in BODY if name in sections]
    return [*rows, *(("EXTENSIONS", one.section) for one in parsed.text.extensions)]


def edges(found: Record | None) -> dict[int, tuple[float, float]]:
    """First and last value of arbitrary gradients by number [Hz/m], where a record holds them."""
    said = found.data.get("edges", {}) if found is not None and found.whole else {}
    try:
        return {int(number): (float(first), float(last)) for number, (first, last) in said.items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def apply(seq: Sequence, found: Record, parsed: Parsed) -> tuple[Sequence, list[Finding]]:
    """The sequence with what its record adds."""
    file = parsed.text.file
    if not found.data:
        return seq, [Finding("record", f"the lines {PREFIX}… of {file} cannot be read and are not used")]
    if not found.whole:
        text = f"the events of {file} are not those that mrisim wrote, so what it says of pulses and images is not used"
        return seq, [Finding("record", text, "Write the file anew from its .yaml")]
    try:
        return _applied(seq, found.data, parsed), []
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, ZeroDivisionError):
        return seq, [Finding("record", f"the lines {PREFIX}… of {file} are incomplete and are not used")]


def _applied(seq: Sequence, data: Mapping[str, Any], parsed: Parsed) -> Sequence:
    data = _numbers(data)
    rotation = np.array(data["geometry"]["rotation"], dtype=float).reshape(3, 3)
    center = np.array(data["geometry"]["center"], dtype=float).reshape(3)
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-9) or not np.isfinite(center).all():
        raise ValueError("no rotation")
    shapes, rf = _pulses(seq, data["pulses"], parsed.rf.ids)
    parameters = [
        Parameter(
            str(p["name"]), _tuples(p["value"]), Dimension(**{k: Fraction(v) for k, v in p["dimension"].items()}),
            str(p["doc"]), bool(p["default"]),
        )
        for p in data["parameters"]
    ]  # fmt: skip
    seq = replace(
        seq,
        rf=rf,
        rf_shapes=shapes,
        parameters={p.name: p for p in parameters},
        timing=tuple(TimingRecord(**one) for one in data["timing"]),
        recon=None if data["recon"] is None else _recon(data["recon"]),
        description=str(data["description"]),
        reference=str(data["reference"]),
    )
    return to_logical(seq, Geometry(rotation=rotation, center=center))


def _pulses(seq: Sequence, groups: list[dict[str, Any]], ids: np.ndarray) -> tuple[tuple[RFShape, ...], RFTable]:
    rf = seq.rf
    names = {"flip": "flip", "use": "use", "axis": "slice_axis", "thickness": "thickness", "position": "position"}
    columns = {column: getattr(rf, column).copy() for column in (*names.values(), "shape", "phase")}
    shapes: list[RFShape] = []
    known: dict[tuple, int] = {}
    row_of = {number: row for row, number in enumerate(ids.tolist())}
    for group in groups:
        Use(group["use"])
        bounds = group["ids"]
        numbers = [
            n for a, b in zip(bounds[::2], bounds[1::2], strict=True) for n in range(a, min(b, a + len(ids)) + 1)
        ]
        rows = np.array([row_of[n] for n in numbers])
        for name, column in names.items():
            columns[column][rows] = np.nan if group[name] is None else group[name]
        for row in rows.tolist():
            old = seq.rf_shapes[int(rf.shape[row])]
            key = (int(rf.shape[row]), group["center"], group["bandwidth"])
            if key not in known:
                known[key] = len(shapes)
                shapes.append(replace(old, center=float(group["center"]), bandwidth=float(group["bandwidth"])))
            columns["shape"][row] = known[key]
            columns["phase"][row] += 2 * np.pi * rf.frequency[row] * (old.center - float(group["center"]))
    columns["phase"] = np.mod(columns["phase"], 2 * np.pi)
    if sum(len(np.atleast_1d(g["ids"])) for g in groups) == 0 and len(ids):
        raise ValueError("no pulses")
    return tuple(shapes), replace(rf, **columns)


def _recon(data: Mapping[str, Any]) -> ReconSpec:
    names = {field.name for field in dataclasses.fields(ReconSpec)}
    values = {name: _tuples(value) for name, value in data.items() if name in names}
    values["maps"] = data.get("maps", {})
    values["slice_positions"] = np.array(values["slice_positions"], dtype=float)
    values["matrix"] = tuple(int(n) for n in values["matrix"])
    return ReconSpec(**values)


def _system(data: Mapping[str, Any]) -> Scanner:
    return Scanner(**{"name": str(data["name"]), **{k: float(v) for k, v in data.items() if k != "name"}})


def _numbers(value: Any) -> Any:
    """JSON with "inf" as a number again."""
    if isinstance(value, dict):
        return {key: _numbers(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_numbers(one) for one in value]
    return float(value) if value in ("inf", "-inf") else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value
