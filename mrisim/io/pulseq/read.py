"""Pulseq file → `Sequence`. A file is taken conjugated as a whole, see docs/conventions.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mrisim._types import Float, Int
from mrisim.errors import Finding, SpecError
from mrisim.events.blocks import (
    AXES,
    NONE,
    ADCTable,
    BlockTable,
    GradientShape,
    GradientTable,
    RFShape,
    RFTable,
    Sequence,
)
from mrisim.io.pulseq import record
from mrisim.io.pulseq.extensions import Extras, read_extensions
from mrisim.io.pulseq.gradients import read_gradients
from mrisim.io.pulseq.parse import LONGEST, MAX_SAMPLES, Parsed, parse
from mrisim.io.pulseq.pulses import LETTERS, complete_pulses
from mrisim.io.pulseq.softdelays import set_delays
from mrisim.io.pulseq.text import read_text
from mrisim.io.pulseq.waves import chosen, flip_of, rf_shape
from mrisim.scanner import Scanner

TOO_LONG = 1e-9  # by which rounding may make an event longer than its block [s]
TURN = 2 * np.pi


def read_sequence(
    path: str | Path,
    *,
    strict: bool = False,
    system: Scanner | None = None,
    use: Mapping[str, Iterable[int]] | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> Sequence:
    """Sequence of a Pulseq file, versions 1.2 to 1.5.

    The axes X, Y, Z of the file are physical: the geometry is the identity, unless mrisim wrote the file. What mrisim
    adds to a file (geometry, recon, parameters, flip angles and slices of pulses) is read back.

    Args:
        path: File.
        strict: Refuse a wrong signature and files whose definitions are incomplete.
        system: Scanner whose limits the sequence is checked against; the rasters are those of the file. Offsets in ppm
            become frequencies at its field.
        use: What pulses are for, by their numbers in the file, such as {"refocusing": [2, 3]}.
        parameters: Values of soft delays by name: seconds, or text with a unit.

    Returns:
        The sequence; what had to be assumed is in its findings.

    Raises:
        SpecError: the file breaks the format; the message names file, line and section.
        ResourceError: the file cannot be read.
    """
    parsed = parse(read_text(path, strict=strict))
    extras = read_extensions(parsed)
    found = record.read(parsed)
    base = system or (found.system if found is not None else None) or Scanner()
    rasters = parsed.rasters
    scanner = replace(
        base,
        block_raster=rasters["BlockDurationRaster"],
        gradient_raster=rasters["GradientRasterTime"],
        rf_raster=rasters["RadiofrequencyRasterTime"],
        adc_raster=rasters["AdcRasterTime"],
    )
    seq = _assemble(parsed, extras, scanner, record.edges(found))
    findings = [*parsed.findings, *extras.findings, *_ppm(parsed, scanner, given=system is not None)]
    if found is not None:
        seq, more = record.apply(seq, found, parsed)
        findings += more
    seq, more = complete_pulses(seq, parsed, use or {}, trusted=found is not None and found.whole)
    findings += more
    seq = set_delays(seq, parameters or {})
    if strict and (wrong := [f for f in findings if f.topic in ("rasters", "record")]):
        raise SpecError([parsed.text.get("DEFINITIONS").problem(f.text, f.remedy) for f in wrong])
    return replace(seq, findings=(*seq.findings, *findings))


def _assemble(parsed: Parsed, extras: Extras, system: Scanner, edges: Mapping[int, tuple[float, float]]) -> Sequence:
    rf_shapes, rf = _rf(parsed, system)
    gradient_shapes, gradients, columns = read_gradients(parsed, edges)
    adc, phase_shapes = _adc(parsed, system)
    table = parsed.blocks
    events = {
        "rf": parsed.rf.rows(table["rf"], table.section, "an RF event"),
        "adc": parsed.adc.rows(table["adc"], table.section, "an ADC event"),
        **columns,
    }
    ends = _ends(rf, rf_shapes, gradients, gradient_shapes, adc, events, len(table))
    blocks = BlockTable(
        **events,
        duration=_durations(parsed, ends, extras),
        rotation=extras.rotation,
        name=np.zeros(len(table), dtype=np.int64),
        labels=extras.labels,
    )
    _check_train_sizes(parsed, adc, events["adc"])
    return Sequence(
        name=parsed.definitions.get("Name", "") or Path(parsed.text.file).stem,
        blocks=blocks,
        rf=rf,
        gradients=gradients,
        adc=adc,
        rf_shapes=rf_shapes,
        gradient_shapes=gradient_shapes,
        phase_shapes=phase_shapes,
        rotations=extras.rotations,
        system=system,
        source=parsed.text.file,
        definitions=dict(parsed.definitions),
        triggers=extras.triggers,
        soft_delays=extras.soft_delays,
    )


def _rf(parsed: Parsed, system: Scanner) -> tuple[tuple[RFShape, ...], RFTable]:
    table = parsed.rf
    key = np.stack([table["mag"], table["phase_id"], table["time"], table["center"]], axis=1).astype(float)
    _, first, index = np.unique(np.nan_to_num(key, nan=-1.0), axis=0, return_index=True, return_inverse=True)
    shapes = []
    for row in first.tolist():
        try:
            shapes.append(_one_rf_shape(parsed, row, system.rf_raster))
        except SpecError as error:
            raise table.section.error(error.problems[0].rule, error.problems[0].remedy, row=row) from None
    shape = index.reshape(-1).astype(np.int64)
    frequency = table["frequency"] + table["frequency_ppm"] * 1e-6 * system.gamma * system.b0
    phase = table["phase"] + table["phase_ppm"] * 1e-6 * system.gamma * system.b0
    center = np.array([one.center for one in shapes])[shape] if len(shape) else np.zeros(0)
    n = len(table)
    use = np.array([LETTERS.get(chr(int(code)), NONE) for code in table["use"]], dtype=np.int64)
    if (use == NONE).any():
        row = int(np.flatnonzero(use == NONE)[0])
        raise table.section.error(f"must be for one of {' '.join(LETTERS)}, but is for another", row=row)
    flips = [flip_of(shapes[s], a) for s, a in zip(shape.tolist(), table["amplitude"].tolist(), strict=True)]
    return tuple(shapes), RFTable(
        shape=shape,
        amplitude=table["amplitude"],
        phase=as_angle(-phase - TURN * frequency * center),
        frequency=frequency,
        delay=np.round(table["delay"], 12),
        flip=np.array(flips),
        use=use,
        slice_axis=np.full(n, NONE, dtype=np.int64),
        thickness=np.full(n, np.inf),
        position=np.zeros(n),
    )


def _one_rf_shape(parsed: Parsed, row: int, raster: float) -> RFShape:
    table, shapes = parsed.rf, parsed.shapes
    mag = chosen(shapes, int(table["mag"][row]), "magnitude")
    phase = chosen(shapes, int(table["phase_id"][row]), "phase") if table["phase_id"][row] else np.zeros(len(mag))
    number = int(table["time"][row])
    times = chosen(shapes, number, "time") if number else None
    return rf_shape(mag, phase, times, raster, float(table["center"][row]))


def _adc(parsed: Parsed, system: Scanner) -> tuple[ADCTable, tuple[Float[np.ndarray, " samples"], ...]]:
    table = parsed.adc
    frequency = table["frequency"] + table["frequency_ppm"] * 1e-6 * system.gamma * system.b0
    phase = table["phase"] + table["phase_ppm"] * 1e-6 * system.gamma * system.b0
    used, index = np.unique(table["phase_id"], return_inverse=True)
    stored = []
    for number in used[used != 0].tolist():
        row = int(np.flatnonzero(table["phase_id"] == number)[0])
        try:
            shape = chosen(parsed.shapes, number, "phase")
        except SpecError as error:
            raise table.section.error(error.problems[0].rule, row=row) from None
        if (table["samples"][table["phase_id"] == number] > len(shape)).any():
            raise table.section.error(f"must have a phase for every sample, but shape {number} is shorter", row=row)
        stored.append(-shape)
    shift = 1 if len(used) and used[0] == 0 else 0
    return ADCTable(
        samples=table["samples"].astype(np.int64),
        dwell=np.round(table["dwell"], 12),
        delay=np.round(table["delay"], 12),
        phase=as_angle(-phase),
        frequency=frequency,
        phase_shape=index.reshape(-1).astype(np.int64) - shift,
    ), tuple(stored)


def as_angle(phase: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Angle in [0, 2 pi) without what rounding leaves of a full turn.

    Example:
        >>> as_angle(np.array([-1e-15, 7.0])).round(6).tolist()
        [0.0, 0.716815]
    """
    turned = np.mod(phase, TURN)
    return np.where(np.minimum(turned, TURN - turned) < 1e-12, 0.0, turned)


def _ends(
    rf: RFTable,
    rf_shapes: tuple[RFShape, ...],
    gradients: GradientTable,
    gradient_shapes: tuple[GradientShape, ...],
    adc: ADCTable,
    events: Mapping[str, Int[np.ndarray, " blocks"]],
    n: int,
) -> dict[str, Float[np.ndarray, " blocks"]]:
    """End of each event in its block, 0 without one [s]."""
    rf_end = rf.delay + np.array([s.duration for s in rf_shapes])[rf.shape] if len(rf.shape) else rf.delay
    gradient_end = np.array([s.duration for s in gradient_shapes])[gradients.shape] if len(gradients.shape) else ()
    ends = {"rf": rf_end, "adc": adc.delay + adc.samples * adc.dwell, **dict.fromkeys(AXES, gradient_end)}
    return {name: np.append(end, 0.0)[events[name]] if n else np.zeros(0) for name, end in ends.items()}


def _durations(
    parsed: Parsed, ends: Mapping[str, Float[np.ndarray, " blocks"]], extras: Extras
) -> Float[np.ndarray, " blocks"]:
    """Durations of blocks; every event must fit, and before version 1.4 the longest decides."""
    table = parsed.blocks
    if parsed.version[1] >= 4:
        duration = np.round(table["duration"], 12)
        for name, end in ends.items():
            over = np.flatnonzero(end > duration + TOO_LONG)
            if len(over):
                first, others = int(over[0]), f", and {len(over) - 1} more" if len(over) > 1 else ""
                rule = (
                    f"{name} must end within its block of {duration[first] * 1e6:.6g} us, but ends at "
                    f"{end[first] * 1e6:.6g} us{others}"
                )
                raise table.section.error(rule, row=first)
        return duration
    from mrisim.io.pulseq.parse import delays

    wait = delays(parsed)
    longest = np.max([wait, *ends.values()], axis=0)
    for trigger in extras.triggers:
        longest[trigger.block] = max(longest[trigger.block], trigger.delay + trigger.duration)
    if float(longest.sum()) > LONGEST:
        raise table.section.error(f"must last at most {LONGEST:g} s, but last {longest.sum():g} s")
    return np.round(longest, 12)


def _check_train_sizes(parsed: Parsed, adc: ADCTable, column: Int[np.ndarray, " blocks"]) -> None:
    total = float(adc.samples[column[column != NONE]].astype(float).sum())
    if total > MAX_SAMPLES:
        raise parsed.adc.section.error(f"must make at most {MAX_SAMPLES} samples, but make {total:.0f}")


def _ppm(parsed: Parsed, system: Scanner, *, given: bool) -> list[Finding]:
    used = any(np.any(t[name]) for t in (parsed.rf, parsed.adc) for name in ("frequency_ppm", "phase_ppm"))
    if not used or given:
        return []
    text = (
        f"{parsed.text.file} holds offsets in ppm, which are taken at the {system.b0:g} T of the system '{system.name}'"
    )
    return [Finding("ppm offsets", text, "Name the scanner with --system")]
