"""Sections of a Pulseq file → tables in SI, in the layout of version 1.5 whatever the version of the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mrisim._types import Float, Int
from mrisim.errors import Finding, Problem, SpecError
from mrisim.io.pulseq.text import PulseqText, Section, definitions, numbers, shapes

RASTERS = {
    "BlockDurationRaster": 10e-6,
    "GradientRasterTime": 10e-6,
    "RadiofrequencyRasterTime": 1e-6,
    "AdcRasterTime": 100e-9,
}  # [s], where a file does not say
FIRST, LAST = (1, 2), (1, 5)  # versions that are read
US, NS = 1e-6, 1e-9
MAX_ID = 2**31 - 1
LONGEST = 7 * 24 * 3600.0  # of a sequence [s]
MAX_TRAIN, MAX_SAMPLES = 20_000_000, 2**28  # samples of an ADC event, of a sequence
ALL_EVENTS = ("rf", "gx", "gy", "gz", "adc", "ext")


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Rows of events by number."""

    section: Section
    ids: Int[np.ndarray, " rows"]
    columns: Mapping[str, Float[np.ndarray, " rows"]]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, name: str) -> Float[np.ndarray, " rows"]:
        return self.columns[name]

    def rows(self, ids: Int[np.ndarray, " n"], by: Section, what: str) -> Int[np.ndarray, " n"]:
        """Row of each number, -1 for number 0.

        Raises:
            SpecError: a number that is not there, at its line of `by`.
        """
        order = np.argsort(self.ids, kind="stable")
        place = np.searchsorted(self.ids, ids, sorter=order)
        row = order[np.minimum(place, len(order) - 1)] if len(order) else np.zeros(len(ids), dtype=np.int64)
        known = (self.ids[row] == ids) if len(order) else np.zeros(len(ids), dtype=bool)
        wrong = ~known & (ids != 0)
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            raise by.error(f"must refer to {what} that is there, but refers to {int(ids[first])}", row=first)
        return np.where(ids == 0, -1, row)


@dataclass(frozen=True, kw_only=True, eq=False)
class Parsed:
    """Everything that a file says, as numbers in SI; frequencies and phases with Pulseq's signs."""

    text: PulseqText
    version: tuple[int, int, int]
    definitions: Mapping[str, str]
    rasters: Mapping[str, float]  # [s]
    blocks: Table  # duration, rf, gx, gy, gz, adc, ext
    rf: Table
    gradients: Table  # arbitrary
    traps: Table
    adc: Table
    extensions: Table
    shapes: Mapping[int, Float[np.ndarray, " samples"]]
    findings: tuple[Finding, ...]


def parse(text: PulseqText) -> Parsed:
    """Tables of a file.

    Raises:
        SpecError: an unknown version, missing or broken sections; the message names file, line and section.
    """
    version = _version(text)
    said = definitions(text.get("DEFINITIONS"))
    rasters, findings = _rasters(text, said, version)
    minor = version[1]
    if "BLOCKS" not in text.sections:
        raise SpecError(Problem("must hold [BLOCKS], but does not", file=text.file))
    if minor >= 4 and "DELAYS" in text.sections:
        raise text.get("DELAYS").error("must not be in a file of version 1.4 or later, but is")
    return Parsed(
        text=text,
        version=version,
        definitions=said,
        rasters=rasters,
        blocks=_blocks(text, minor, rasters),
        rf=_rf(text, minor),
        gradients=_gradients(text, minor),
        traps=_events(text.get("TRAP"), ("amplitude", "rise", "flat", "fall", "delay"), {"amplitude": 1.0}, US),
        adc=_adc(text, minor),
        extensions=_events(text.get("EXTENSIONS"), ("type", "ref", "next"), {}, 1.0, whole=("type", "ref", "next")),
        shapes=shapes(text.get("SHAPES"), always=minor < 4),
        findings=(*text.findings, *findings),
    )


def _version(text: PulseqText) -> tuple[int, int, int]:
    section = text.get("VERSION")
    if not section.lines:
        raise SpecError(Problem("must begin with [VERSION], but has none", "Is it a .seq file", file=text.file))
    said = definitions(section)
    found = []
    for key in ("major", "minor", "revision"):
        digits = said.get(key, "0" if key == "revision" else "")
        leading = digits[: len(digits) - len(digits.lstrip("0123456789"))]  # 0post1 is revision 0
        if not leading or len(leading) > 6:
            raise section.error(f"must have '{key} NUMBER', but has '{key} {digits[:20]}'")
        found.append(int(leading))
    version = (found[0], found[1], found[2])
    if not FIRST <= version[:2] <= LAST:
        rule = f"must be a version from 1.2 to 1.5, but is {version[0]}.{version[1]}.{version[2]}"
        raise section.error(rule, "Convert it with the tool that wrote it")
    return version


def _rasters(
    text: PulseqText, said: Mapping[str, str], version: tuple[int, int, int]
) -> tuple[dict[str, float], tuple[Finding, ...]]:
    section, found, missing = text.get("DEFINITIONS"), {}, []
    for key, default in RASTERS.items():
        if key not in said:
            missing.append(key)
            found[key] = default
            continue
        value = _float(said[key])
        if value is None or not 1e-9 <= value <= 1.0:
            row = next(i for i, line in enumerate(section.lines) if line.split()[0] == key)
            raise section.error(f"{key} must be from 1e-9 to 1 s, but is '{said[key][:30]}'", row=row)
        found[key] = value
    if not missing or version[1] < 4:
        return found, ()
    text_ = f"{text.file} does not define {', '.join(missing)}, and common values are taken"
    return found, (Finding("rasters", text_, "Add them to [DEFINITIONS]"),)


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _events(
    section: Section,
    names: tuple[str, ...],
    scale: Mapping[str, float],
    otherwise: float = 1.0,
    *,
    text: str | None = None,
    whole: tuple[str, ...] = (),
) -> Table:
    """Events of a section: a number, then named columns times their scale."""
    table = numbers(section, len(names) + 1, text=None if text is None else names.index(text) + 1)
    ids = _whole(section, table[:, 0], "number")
    if len(ids) and (len(np.unique(ids)) != len(ids) or ids.min() < 1):
        first = np.unique(ids, return_index=True)[1]
        wrong = np.setdiff1d(np.arange(len(ids)), first) if ids.min() >= 1 else np.flatnonzero(ids < 1)
        row = int(wrong[0])
        raise section.error(f"must have numbers from 1 on, each once, but has {ids[row]} again or below", row=row)
    columns = {}
    for i, name in enumerate(names, start=1):
        columns[name] = (
            _whole(section, table[:, i], name) if name in whole else table[:, i] * scale.get(name, otherwise)
        )
    return Table(section=section, ids=ids, columns=columns)


def _whole(section: Section, values: Float[np.ndarray, " rows"], name: str) -> Int[np.ndarray, " rows"]:
    wrong = (values != np.round(values)) | (np.abs(values) > MAX_ID)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise section.error(f"{name} must be a whole number, but is {values[row]:g}", row=row)
    return values.astype(np.int64)


def _blocks(text: PulseqText, minor: int, rasters: Mapping[str, float]) -> Table:
    """Blocks; before version 1.4 the duration column holds the numbers of delays and is filled in later."""
    section = text.get("BLOCKS")
    if not section.lines:
        raise section.error("must hold a block, but holds none")
    columns = (8,) if minor >= 4 else (7, 8)
    table = numbers(section, columns)
    if table.shape[1] == 7:
        table = np.column_stack([table, np.zeros(len(table))])
    whole = _whole(section, table.ravel(), "each value").reshape(table.shape)
    if (whole < 0).any():
        row = int(np.flatnonzero((whole < 0).any(axis=1))[0])
        raise section.error("must hold numbers of events from 0 on, but holds one below", row=row)
    duration = whole[:, 1] * rasters["BlockDurationRaster"] if minor >= 4 else whole[:, 1].astype(float)
    named = dict(zip(ALL_EVENTS, whole[:, 2:].T, strict=True))
    if minor >= 4 and float(duration.sum()) > LONGEST:
        raise section.error(f"must last at most {LONGEST:g} s, but last {duration.sum():g} s")
    return Table(section=section, ids=whole[:, 0], columns={"duration": duration, **named})


_ADC_15 = ("samples", "dwell", "delay", "frequency_ppm", "phase_ppm", "frequency", "phase", "phase_id")
_RF_15 = ("amplitude", "mag", "phase_id", "time", "center", "delay", *_ADC_15[3:7], "use")


def _rf(text: PulseqText, minor: int) -> Table:
    section, ids = text.get("RF"), ("mag", "phase_id", "time")
    times = {"center": US, "delay": US}
    if minor >= 5:
        return _events(section, _RF_15, times, text="use", whole=ids)
    old = ("amplitude", "mag", "phase_id", *(("time",) if minor == 4 else ()), "delay", "frequency", "phase")
    table = _events(section, old, times, whole=ids[: 3 if minor == 4 else 2])
    n = len(table)
    missing = {"time": np.zeros(n, dtype=np.int64), "center": np.full(n, np.nan), "use": np.full(n, float(ord("u")))}
    missing |= {"frequency_ppm": np.zeros(n), "phase_ppm": np.zeros(n)}
    return Table(section=section, ids=table.ids, columns={**missing, **table.columns})


def _gradients(text: PulseqText, minor: int) -> Table:
    section, times = text.get("GRADIENTS"), {"delay": US}
    if minor >= 5:
        names = ("amplitude", "first", "last", "shape", "time", "delay")
        return _events(section, names, times, whole=("shape", "time"))
    names = ("amplitude", "shape", "time", "delay") if minor == 4 else ("amplitude", "shape", "delay")
    table = _events(section, names, times, whole=("shape", "time") if minor == 4 else ("shape",))
    n = len(table)
    missing = {"time": np.zeros(n, dtype=np.int64), "first": np.full(n, np.nan), "last": np.full(n, np.nan)}
    return Table(section=section, ids=table.ids, columns={**missing, **table.columns})


def _adc(text: PulseqText, minor: int) -> Table:
    section, times = text.get("ADC"), {"dwell": NS, "delay": US}
    old = ("samples", "dwell", "delay", "frequency", "phase")
    names, whole = (_ADC_15, ("samples", "phase_id")) if minor >= 5 else (old, ("samples",))
    table = _events(section, names, times, whole=whole)
    n = len(table)
    missing = {"frequency_ppm": np.zeros(n), "phase_ppm": np.zeros(n), "phase_id": np.zeros(n, dtype=np.int64)}
    for row in np.flatnonzero((table["samples"] < 1) | (table["samples"] > MAX_TRAIN) | (table["dwell"] <= 0)):
        rule = f"must have from 1 to {MAX_TRAIN} samples and a dwell time above 0, but has not"
        raise section.error(rule, row=int(row))
    return Table(section=section, ids=table.ids, columns={**missing, **table.columns})


def delays(parsed: Parsed) -> Float[np.ndarray, " blocks"]:
    """Delay of each block of a file before version 1.4 [s]."""
    table = _events(parsed.text.get("DELAYS"), ("delay",), {}, US)
    rows = table.rows(parsed.blocks["duration"].astype(np.int64), parsed.blocks.section, "a delay")
    return np.append(table["delay"], 0.0)[rows]
