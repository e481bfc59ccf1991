"""`Sequence` → Pulseq file, versions 1.4.1 and 1.5.1, signed. A sequence is written conjugated as a whole."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mrisim._types import Float, Int
from mrisim.errors import ConsistencyError, Finding, Problem, ResourceError
from mrisim.events.blocks import AXES, NONE, Sequence, Use
from mrisim.io.pulseq import record
from mrisim.io.pulseq.axes import to_physical
from mrisim.io.pulseq.pulses import LETTERS
from mrisim.io.pulseq.shapes import compress
from mrisim.io.pulseq.tables import extension_lines
from mrisim.io.pulseq.waves import is_sampled, times_in_raster

VERSIONS = ("1.4.1", "1.5.1")
OFF_RASTER = 1e-4  # of a raster step
TURN = 2 * np.pi
US, NS = 1e6, 1e9
_UNSIGNED = (
    "# This is the hash of the file up to the line break before [SIGNATURE]",
    "# md5sum of the file cut there gives the same",
)
_HEADS = {
    "BLOCKS": ("# NUM DUR RF GX GY GZ ADC EXT",),
    "TRAP": ("# id amplitude rise flat fall delay", "# .. Hz/m us us us us"),
    "EXTENSIONS": ("# id type ref next_id",),
    "SHAPES": (),
}
_HEADS_15 = {
    "RF": (
        "# id amplitude mag_id phase_id time_id center delay freq_ppm phase_ppm freq phase use",
        "# .. Hz .. .. .. us us ppm rad/MHz Hz rad ..",
    ),
    "GRADIENTS": ("# id amplitude first last shape_id time_id delay", "# .. Hz/m Hz/m Hz/m .. .. us"),
    "ADC": ("# id num dwell delay freq_ppm phase_ppm freq phase phase_id", "# .. .. ns us ppm rad/MHz Hz rad .."),
}
_HEADS_14 = {
    "RF": ("# id amplitude mag_id phase_id time_id delay freq phase", "# .. Hz .. .. .. us Hz rad"),
    "GRADIENTS": ("# id amplitude shape_id time_id delay", "# .. Hz/m .. .. us"),
    "ADC": ("# id num dwell delay freq phase", "# .. .. ns us Hz rad"),
}


def write_sequence(
    seq: Sequence,
    path: str | Path,
    *,
    version: str = "1.5.1",
    rotations: Literal["apply", "extension"] = "apply",
) -> tuple[Finding, ...]:
    """Write a sequence as a Pulseq file.

    Args:
        seq: Sequence; what its `check` reports is written all the same.
        path: File to write; an existing one is replaced. It is complete or not there at all.
        version: "1.5.1" or "1.4.1".
        rotations: "apply" writes every gradient on the physical axes, which every reader plays. "extension" leaves
            gradients as they are and lists the rotation of blocks; version 1.5.1 only, and few readers know it.

    Returns:
        What the file cannot hold.

    Raises:
        ConsistencyError: an unknown version, times off the rasters, phase shapes in version 1.4.1.
        ResourceError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> import mrisim as mr
        >>> path = f"{tempfile.mkdtemp()}/fid.seq"
        >>> write_sequence(mr.load_sequence("fid"), path)
        ()
        >>> mr.load_sequence(path).duration == mr.load_sequence("fid").duration
        True
    """
    if version not in VERSIONS:
        rule = f"must be one of {', '.join(VERSIONS)}, but is '{version}'"
        raise ConsistencyError(Problem(rule, path="version"))
    if rotations == "extension" and version != "1.5.1":
        rule = f"must be 'apply' in version {version}, but is 'extension'"
        raise ConsistencyError(Problem(rule, "Write version 1.5.1", "rotations"))
    writer = _Writer(seq, version, rotations == "extension")
    _replace_file(Path(path), writer.text())
    return tuple(writer.findings)


def _replace_file(path: Path, text: str) -> None:
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True) if temporary else None
        raise ResourceError(Problem(f"must be writable, but is not ({error.strerror})", file=str(path))) from None


def _text(value: float) -> str:
    return f"{value:.12g}"


class _Writer:
    """Sections of one file."""

    def __init__(self, seq: Sequence, version: str, extension: bool):
        self.original = seq
        self.seq = seq if extension else to_physical(seq)
        self.extension = extension
        self.new = version == "1.5.1"
        self.version = version
        self.findings: list[Finding] = []
        self.problems: list[Problem] = []
        self.shapes: dict[bytes, int] = {}
        self.shape_lines: list[str] = []
        self.edges: dict[str, list[float]] = {}

    def text(self) -> str:
        """The signed file."""
        body = self.body()
        if self.problems:
            raise ConsistencyError(list(dict.fromkeys(self.problems)))
        digest = record.body_hash((name, lines) for name, _, lines in body)
        parts = ["# Pulseq sequence file", f"# Created by mrisim {record.mrisim_version()}", ""]
        major, minor, revision = self.version.split(".")
        parts += ["[VERSION]", f"major {major}", f"minor {minor}", f"revision {revision}", ""]
        parts += ["[DEFINITIONS]", *self.definitions(digest), ""]
        heads = {**_HEADS, **(_HEADS_15 if self.new else _HEADS_14)}
        for name, head, lines in body:
            if lines:
                comments = heads.get(name, ()) if head.startswith("[") else ()
                parts += [*comments, head, *lines, ""]
        text = "\n".join(parts)
        md5 = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
        return "\n".join([text, "[SIGNATURE]", *_UNSIGNED, "Type md5", f"Hash {md5}", ""])

    def body(self) -> list[tuple[str, str, list[str]]]:
        """Section, head and lines of everything after the definitions."""
        rf, gradients, traps, adc = self.rf(), *self.gradients(), self.adc()
        columns, kinds = extension_lines(self.seq, self.original if self.extension else None, new=self.new)
        self.findings += columns.findings
        blocks = self.blocks(columns.block)
        sections = [("BLOCKS", blocks), ("RF", rf), ("GRADIENTS", gradients), ("TRAP", traps), ("ADC", adc)]
        body = [(name, f"[{name}]", lines) for name, lines in sections]
        body.append(("SHAPES", "[SHAPES]", self.shape_lines))
        if columns.lists:
            body.insert(5, ("EXTENSIONS", "[EXTENSIONS]", columns.lists))
            body[6:6] = [("EXTENSIONS", head, lines) for head, lines in kinds]
        return body

    def definitions(self, digest: str) -> list[str]:
        seq, system = self.original, self.seq.system
        ours = {
            "AdcRasterTime": _text(system.adc_raster),
            "BlockDurationRaster": _text(system.block_raster),
            "GradientRasterTime": _text(system.gradient_raster),
            "Name": "_".join(seq.name.split()) or "sequence",
            "RadiofrequencyRasterTime": _text(system.rf_raster),
            "TotalDuration": _text(seq.duration),
        }
        if seq.recon is not None and np.isfinite(seq.recon.fov).all():
            ours["FOV"] = " ".join(_text(v) for v in seq.recon.fov)
        if self.extension and (seq.blocks.rotation >= 0).any():
            ours["RequiredExtensions"] = "ROTATIONS"
        kept = {k: v for k, v in seq.definitions.items() if k not in ours and not k.startswith(record.PREFIX)}
        rows = [f"{key} {value}" for key, value in sorted({**kept, **ours}.items())]
        long = [row for row in rows if len(row) > 255]
        if long:
            self.findings.append(Finding("definitions", f"{long[0].split()[0]} is longer than interpreters read"))
        ids = np.arange(len(self.seq.rf.shape)) + 1
        groups = record.pulse_groups(seq, ids)
        data = record.build(seq, groups, digest, self.edges)
        data["name"] = seq.name
        return rows + record.lines_of(data)

    def blocks(self, extension: Int[np.ndarray, " blocks"]) -> list[str]:
        """Blocks: number, duration, events."""
        table, raster = self.seq.blocks, self.seq.system.block_raster
        steps = np.round(table.duration / raster)
        self._on_raster(table.duration, raster, "block duration")
        events = [table.rf, *(getattr(table, axis) for axis in AXES), table.adc]
        columns = [np.arange(len(table)), steps.astype(np.int64) - 1, *events]
        rows = np.stack([*(column + 1 for column in columns), extension], axis=1).tolist()
        return [" ".join(map(str, row)) for row in rows]

    def rf(self) -> list[str]:
        """RF events; Pulseq's phase is that at the start of the shape, and counts the other way."""
        rf, raster = self.seq.rf, self.seq.system.rf_raster
        shapes = [self._rf_shape(i) for i in range(len(self.seq.rf_shapes))]
        self._on_raster(rf.delay, raster, "delay of a pulse")
        letters = {int(use): "o" for use in Use} | {int(use): letter for letter, use in LETTERS.items()}
        center = np.array([s.center for s in self.seq.rf_shapes])[rf.shape] if len(rf.shape) else np.zeros(0)
        sign = np.where(rf.amplitude < 0, np.pi, 0.0)
        phase = np.mod(-(rf.phase + sign) - TURN * rf.frequency * center, TURN)
        lines = []
        for i, shape in enumerate(rf.shape.tolist()):
            mag, turn, time, scale = shapes[shape]
            start = f"{i + 1} {_text(abs(rf.amplitude[i]) * scale)} {mag} {turn} {time}"
            delay, frequency, angle = _text(rf.delay[i] * US), _text(rf.frequency[i]), _text(phase[i])
            if self.new:
                letter = letters[int(rf.use[i])]
                lines.append(f"{start} {_text(center[i] * US)} {delay} 0 0 {frequency} {angle} {letter}")
            else:
                lines.append(f"{start} {delay} {frequency} {angle}")
        return lines

    def _rf_shape(self, index: int) -> tuple[int, int, int, float]:
        """Numbers of magnitude, phase and time shape, and the peak."""
        shape, raster = self.seq.rf_shapes[index], self.seq.system.rf_raster
        self._on_raster(shape.edges, raster, "edges of a pulse")
        scale = float(np.abs(shape.samples).max()) or 1.0
        steps = np.diff(np.round(shape.edges / raster)).astype(np.int64)
        size = np.abs(shape.samples) / scale
        turn = np.mod(np.round(-np.angle(shape.samples) / TURN, 12), 1.0)
        if len(steps) == 1:
            pair = np.array([0.0, float(steps[0])])
            return self._shape(np.repeat(size, 2)), self._shape(np.repeat(turn, 2)), self._shape(pair), scale
        return self._shape(np.repeat(size, steps)), self._shape(np.repeat(turn, steps)), 0, scale

    def gradients(self) -> tuple[list[str], list[str]]:
        """Arbitrary gradients and trapezoids; numbers are those of the table."""
        seq = self.seq
        kinds = [self._gradient_shape(i) for i in range(len(seq.gradient_shapes))]
        joined = connected(seq)
        others, traps = [], []
        used = np.zeros(len(seq.gradients.shape), dtype=bool)
        for axis in AXES:
            column = getattr(seq.blocks, axis)
            used[column[column != NONE]] = True
        for i in np.flatnonzero(used).tolist():
            kind, amplitude = kinds[int(seq.gradients.shape[i])], float(seq.gradients.amplitude[i])
            if isinstance(kind, str):
                traps.append(f"{i + 1} {_text(amplitude)} {kind}")
                continue
            number, time, delay, first, last, peak = kind
            true = [amplitude * first, amplitude * last]
            said = [value if time or joined[i, end] else 0.0 for end, value in enumerate(true)]
            ends = f" {_text(said[0])} {_text(said[1])}" if self.new else ""
            others.append(f"{i + 1} {_text(amplitude * peak)}{ends} {number} {time} {delay}")
            if time == 0 and not (self.new and said == true):
                self.edges[str(i + 1)] = true
        return others, traps

    def _gradient_shape(self, index: int) -> str | tuple[int, int, str, float, float, float]:
        """Rise, flat, fall and delay of a trapezoid; or shape, time, delay, ends and peak."""
        shape, raster = self.seq.gradient_shapes[index], self.seq.system.gradient_raster
        trapezoid = _trapezoid(shape.times, shape.values)
        if trapezoid is not None:
            self._on_raster(np.array(trapezoid), raster, "times of a gradient")
            return " ".join(_text(round(t * US, 6)) for t in trapezoid)
        delay = _text(round(float(shape.times[0]) * US, 6))
        values = shape.values
        sampled = is_sampled(shape, raster)
        inner = values[1:-1] if sampled else values
        peak = float(np.abs(inner).max()) or 1.0
        time = 0
        if not sampled:
            self._on_raster(shape.times, raster, "corners of a gradient")
            time = self._shape(times_in_raster(shape, raster))
        else:
            self._on_raster(shape.times[:1], raster, "start of a gradient")
        return self._shape(inner / peak), time, delay, float(values[0]), float(values[-1]), peak

    def adc(self) -> list[str]:
        """ADC events."""
        adc, lines = self.seq.adc, []
        self._on_raster(adc.dwell, self.seq.system.adc_raster, "dwell time")
        shapes = [self._shape(-phase) for phase in self.seq.phase_shapes]
        if shapes and not self.new:
            rule = "must have no phase of its own for each sample in version 1.4.1, but has one"
            self.problems.append(Problem(rule, "Write version 1.5.1", "adc"))
        phase = np.mod(-adc.phase, TURN)
        for i in range(len(adc.samples)):
            dwell, delay = _text(round(adc.dwell[i] * NS, 6)), _text(round(adc.delay[i] * US, 6))
            if "." in delay:
                self.findings.append(
                    Finding("ADC delay", f"a delay of {delay} us is no whole number, which some interpreters refuse")
                )
            start, end = f"{i + 1} {adc.samples[i]} {dwell} {delay}", f"{_text(adc.frequency[i])} {_text(phase[i])}"
            if self.new:
                index = int(adc.phase_shape[i])
                lines.append(f"{start} 0 0 {end} {shapes[index] if index != NONE else 0}")
            else:
                lines.append(f"{start} {end}")
        self.findings = list(dict.fromkeys(self.findings))
        return lines

    def _shape(self, samples: Float[np.ndarray, " n"]) -> int:
        """Number of a shape."""
        key = np.round(samples, 12).tobytes()
        if key not in self.shapes:
            number = self.shapes[key] = len(self.shapes) + 1
            head = [] if number == 1 else [""]
            stored = [f"{value:.12g}" for value in (compress(samples) + 0.0).tolist()]
            self.shape_lines += [*head, f"shape_id {number}", f"num_samples {len(samples)}", *stored]
        return self.shapes[key]

    def _on_raster(self, times: Float[np.ndarray, " n"], raster: float, what: str) -> None:
        steps = np.asarray(times, dtype=float) / raster
        off = np.flatnonzero(np.abs(steps - np.round(steps)) > OFF_RASTER)
        if len(off):
            value, near = times[off[0]] * US, np.round(steps[off[0]]) * raster * US
            rule = f"{what} must be a multiple of {raster * US:g} us in a .seq file, but is {value:.9g} us"
            self.problems.append(Problem(rule, f"Nearest is {near:.9g} us", self.seq.name))


def connected(seq: Sequence) -> np.ndarray:
    """Whether the first and the last value of each gradient event meet a gradient of the neighbouring block, anywhere.

    Elsewhere a waveform begins and ends with 0 in a file, because readers draw a line to the next waveform.
    """
    found = np.zeros((len(seq.gradients.shape), 2), dtype=bool)
    shapes, duration = seq.gradient_shapes, seq.blocks.duration
    if not shapes:
        return found
    begins = np.array([s.times[0] < 1e-10 and s.values[0] != 0 for s in shapes])
    stops = np.array([s.times[-1] for s in shapes])
    ends_off = np.array([s.values[-1] != 0 for s in shapes])
    for axis in AXES:
        event = getattr(seq.blocks, axis)
        shape = np.append(seq.gradients.shape, -1)[event]
        on = event != NONE
        opens = on & begins[shape]
        closes = on & ends_off[shape] & (np.abs(stops[shape] - duration) < 1e-10)
        meets = np.flatnonzero(closes[:-1] & opens[1:])
        found[event[meets + 1], 0] = True
        found[event[meets], 1] = True
    return found


def _trapezoid(times: Float[np.ndarray, " n"], values: Float[np.ndarray, " n"]) -> tuple[float, ...] | None:
    """Rise, flat, fall and delay; None where the shape is no trapezoid of height 1."""
    if len(times) not in (3, 4) or values[0] != 0 or values[-1] != 0 or (np.abs(values[1:-1] - 1) > 1e-12).any():
        return None
    steps = np.diff(times)
    flat = float(steps[1]) if len(times) == 4 else 0.0
    return float(steps[0]), flat, float(steps[-1]), float(times[0])


def convert(source: str | Path, target: Path, **options: Any) -> tuple[Finding, ...]:
    """What `mrisim convert` calls: load a sequence, write it."""
    from mrisim.io.sequences import load_sequence

    parameters: Mapping[str, Any] = options.pop("set", {})
    reading = {name: options.pop(name) for name in ("strict", "use", "system") if name in options}
    seq = load_sequence(source, **reading, **parameters)
    findings = write_sequence(seq, target, **options)
    return (*seq.findings, *findings)
