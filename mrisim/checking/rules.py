"""All rules over one sequence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from mrisim.checking.coils import Coil, load_coil
from mrisim.checking.coverage import Coverage, cover
from mrisim.checking.exposure import Stimulation, heat, stimulation
from mrisim.checking.limits import check_limits
from mrisim.checking.measures import Measure, measures
from mrisim.checking.messages import Message, grouped, located
from mrisim.data import ReconSpec
from mrisim.events.blocks import Sequence
from mrisim.events.checks import Violation
from mrisim.source import Source
from mrisim.units import AREA, FREQUENCY, GRADIENT, TIME, show

TOO_FAR = 1e-3  # relative, of a step in k-space
LINES_OFF = 0.05  # relative, of a distance of lines
HOLES_OFF = 0.15  # relative, of a gap, which is found on a grid
_ANCHOR = "Anchor the timing at the center of k-space"
_PULSES = "Check the anchors of the timing, and the use of the pulses"
TIMES = {
    "TE": ("TE", _ANCHOR), "TR": ("TR", _PULSES), "TI": ("TI", _PULSES),
    "spacing": ("echo-spacing", _PULSES), "echo_spacing": ("echo-spacing", _PULSES),
}  # fmt: skip
"""Parameters that are held against what is found: rule and remedy."""
OFF_CENTER = 0.5  # distance of the nearest sample from k = 0, in steps, above which the center is missed


def measure(seq: Sequence, coil: Coil | None = None) -> Mapping[str, Measure]:
    """Quantities of a sequence by name, those that limits can be set for.

    Example:
        >>> import mrisim as mr
        >>> found = measure(mr.load_sequence("spin_echo", TE="20 ms"))["TE"]
        >>> found.show(found.values[0])
        '20 ms'
    """
    return _Facts.of(seq, coil).measures


def check_sequence(
    seq: Sequence, source: Source | None = None, coil: Coil | None = None, limits: Mapping[str, Any] | None = None
) -> tuple[Message, ...]:
    """Every rule that a sequence breaks, the gravest first.

    Args:
        seq: Sequence.
        source: Its specification, for places; None for a Pulseq file.
        coil: Gradient coil. Without one, nerve stimulation and tones are measured with the library's example coil,
            which is no scanner's, and judged only where the limits say so.
        limits: Those of the file by default.

    Raises:
        SpecError: limits that are none.

    Example:
        >>> import mrisim as mr
        >>> [message.severity for message in check_sequence(mr.load_sequence("spin_echo"))]
        []
    """
    facts = _Facts.of(seq, coil)
    own = limits if limits is not None else (source.data.get("limits") if source is not None else None)
    found = [
        *(_hardware(one, source) for one in seq.check()),
        *_times(facts, source),
        *_coverage(seq, facts.coverage, source),
        *(_nerves(facts, source) if coil is not None else ()),
        *(_tones(facts, source) if coil is not None else ()),
        *check_limits(own, facts.measures, seq.system.gamma, source),
    ]
    return grouped(found)


class _Facts:
    """What several rules need."""

    def __init__(self, seq: Sequence, coil: Coil):
        self.seq, self.coil = seq, coil
        self.coverage = cover(seq)
        self.stimulation: Stimulation = stimulation(seq, coil)
        self.measures = measures(seq, coil, self.coverage, self.stimulation, heat(seq))

    @staticmethod
    def of(seq: Sequence, coil: Coil | None) -> _Facts:
        return _facts(seq, coil or load_coil())


@lru_cache(maxsize=2)
def _facts(seq: Sequence, coil: Coil) -> _Facts:
    return _Facts(seq, coil)


def _hardware(violation: Violation, source: Source | None) -> Message:
    name = violation.block_name.split("+")[0].split(",")[0].strip()
    rule = violation.rule.split(",")[0].lower().replace(" ", "-")
    message = Message(
        id=f"hardware/{rule}", severity="error", what=violation.what, count=violation.count,
        allowed=f"{violation.relation} {violation.shown(violation.limit)}", found=violation.shown(violation.value),
        remedy=violation.remedy,
    )  # fmt: skip
    known = source is not None and isinstance(source.data.get("events"), dict) and name in source.data["events"]
    return located(message, source, ("events", name) if known else ("timeline",))


def _times(facts: _Facts, source: Source | None) -> Iterator[Message]:
    """TE, TR, TI and echo spacing of the parameters against those of pulses and gradients."""
    seq, coverage = facts.seq, facts.coverage
    if coverage is None:
        return
    dwell = float(seq.adc.dwell.max(initial=0.0))
    for name, (rule, remedy) in TIMES.items():
        parameter, found = seq.parameters.get(name), _found(facts.measures, name)
        if parameter is None or not found or parameter.dimension != TIME or isinstance(parameter.value, tuple):
            continue
        asked = float(parameter.value)
        nearest = min(found, key=lambda value: abs(value - asked))
        if abs(nearest - asked) > dwell + seq.system.gradient_raster:
            message = Message(
                id=f"timing/{rule}", severity="warning", what=f"{name} as found in pulses and gradients",
                allowed=f"be {show(asked, TIME)} as the file says", found=show(nearest, TIME), remedy=remedy,
            )  # fmt: skip
            yield located(message, source, ("parameters", name))


def _found(measures: Mapping[str, Measure], name: str) -> tuple[float, ...]:
    """Values that a parameter may mean; a spacing is of echoes, or of excitations."""
    names = (name,) if TIMES[name][0] == name else ("echo_spacing", "TR")
    return tuple(value for one in names if one in measures for value in measures[one].values)


def _coverage(seq: Sequence, coverage: Coverage | None, source: Source | None) -> Iterator[Message]:
    """Nyquist and reach, against field of view and matrix of the recon part."""
    if coverage is None or seq.recon is None:
        return
    fov, matrix = np.array(seq.recon.fov), np.array(seq.recon.matrix)
    step, center = 1 / fov, ("recon",)

    def message(rule: str, what: str, allowed: str, found: str, remedy: str) -> Message:
        one = Message(id=f"k-space/{rule}", severity="warning", what=what, allowed=allowed, found=found, remedy=remedy)
        return located(one, source, center)

    yield from (located(one, source, center) for one in _gaps(coverage, seq.recon))
    largest = step[:2].max() if seq.recon.method != "cartesian" else step[0]
    if coverage.read_step > largest * (1 + TOO_FAR):
        yield message(
            "nyquist-read", "field of view along the readout, as sampled", f"be at least {1e3 / largest:.4g} mm",
            f"{1e3 / coverage.read_step:.4g} mm", "Shorten the dwell time or lower the gradient",
        )  # fmt: skip
    if coverage.center > OFF_CENTER * step[:2].min() * (1 + TOO_FAR):
        allowed = f"be at most {show(OFF_CENTER * step[:2].min(), AREA)}"
        yield message("center", "distance of the nearest sample from the center of k-space", allowed,
                      show(coverage.center, AREA), "Balance prephaser and readout")  # fmt: skip
    for axis, name in enumerate(("read", "phase", "partition")):
        if matrix[axis] < 2:
            continue
        asked = (matrix[axis] // 2 - 1) * step[axis]
        if coverage.reach[axis] < asked * (1 - TOO_FAR):
            voxel = fov[axis] / matrix[axis]
            got = voxel * asked / max(coverage.reach[axis], 1e-9)
            yield message(f"resolution-{name}", f"voxel on the {name} axis, as sampled", f"be {voxel * 1e3:.4g} mm",
                          f"{got * 1e3:.4g} mm", "Reach further out in k-space")  # fmt: skip


def _gaps(coverage: Coverage, recon: ReconSpec) -> Iterator[Message]:
    """Distance of lines, and gaps between spokes or arms, against the field of view."""
    if recon.method == "cartesian":
        for axis, name, lines in ((1, "phase", "line"), (2, "partition", "partition")):
            gap = coverage.line_gap[axis - 1]
            if recon.matrix[axis] > 1 and gap > (1 + LINES_OFF) / recon.fov[axis]:
                yield Message(
                    id=f"k-space/nyquist-{name}", severity="warning", found=f"{1e3 / gap:.4g} mm",
                    what=f"field of view along the {name} axis, as sampled",
                    allowed=f"be at least {1e3 * recon.fov[axis]:.4g} mm",
                    remedy=f"Sample every {lines}, or reconstruct in parallel elsewhere",
                )  # fmt: skip
    allowed = np.sqrt(2) / max(recon.fov[:2])  # the diagonal of a cell of the Cartesian grid
    if coverage.hole > allowed * (1 + HOLES_OFF):
        yield Message(
            id="k-space/gaps", severity="note", what="largest gap between spokes or arms",
            allowed=f"be at most {show(allowed, AREA, digits=4)} for the field of view",
            found=show(coverage.hole, AREA, digits=4), remedy="Sample more of them, or expect streaks",
        )  # fmt: skip


def _nerves(facts: _Facts, source: Source | None) -> Iterator[Message]:
    found = facts.stimulation
    threshold = min(axis.stim_threshold / axis.stim_limit for axis in facts.coil.axes)
    if found.pns <= threshold:
        return
    allowed = 1.0 if found.pns > 1 else threshold
    severity = "error" if found.pns > 1 else "warning"
    message = Message(
        id="safety/pns", severity=severity, allowed=f"be at most {100 * allowed:.3g} %",
        remedy="Ramp more slowly",
        what=f"nerve stimulation at {show(found.pns_time, TIME)} in the {facts.coil.name}",
        found=f"{found.pns * 100:.3g} %",
    )  # fmt: skip
    yield located(message, source, ("timeline",))


def _tones(facts: _Facts, source: Source | None) -> Iterator[Message]:
    gamma = facts.seq.system.gamma
    for band, tone in zip(facts.coil.bands, facts.stimulation.tones, strict=True):
        if tone <= band.at_most:
            continue
        where = f"{show(band.low, FREQUENCY)} to {show(band.high, FREQUENCY)}"
        message = Message(
            id="safety/acoustic", severity="error", found=show(tone, GRADIENT, gamma, digits=3),
            what=f"gradient at {where}, where the {facts.coil.name} rings",
            allowed=f"be at most {show(band.at_most, GRADIENT, gamma)}",
            remedy="Change the echo spacing or TR",
        )  # fmt: skip
        yield located(message, source, ("timeline",))
