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
from mrisim.events.blocks import Sequence
from mrisim.events.checks import MULTIPLE, Violation
from mrisim.source import Source
from mrisim.units import AREA, FREQUENCY, GRADIENT, TIME, show

TOO_FAR = 1e-3  # relative, of a step in k-space
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
    text = str(violation)
    head, _, tail = text.partition(": must ")
    allowed, _, found = tail.partition(", but is ")
    found, _, remedy = found.removesuffix(".").partition(". ")
    rule = violation.rule.split(",")[0].lower().replace(" ", "-")
    message = Message(
        id=f"hardware/{rule}", severity="error", what=head, allowed=allowed, found=found, count=violation.count,
        remedy=remedy if violation.relation == MULTIPLE else "",
    )  # fmt: skip
    known = source is not None and isinstance(source.data.get("events"), dict) and name in source.data["events"]
    return located(message, source, ("events", name) if known else ("timeline",))


def _times(facts: _Facts, source: Source | None) -> Iterator[Message]:
    """TE, TR and TI of the parameters against those of pulses and gradients."""
    seq, coverage = facts.seq, facts.coverage
    if coverage is None:
        return
    dwell = float(seq.adc.dwell.max(initial=0.0))
    for name in ("TE", "TR", "TI"):
        parameter, found = seq.parameters.get(name), facts.measures.get(name)
        if parameter is None or found is None or parameter.dimension != TIME or isinstance(parameter.value, tuple):
            continue
        asked = float(parameter.value)
        candidates = (*found.values, *(coverage.cycle.tolist() if name == "TR" else ()))
        nearest = min(candidates, key=lambda value: abs(value - asked))
        if abs(nearest - asked) > dwell + seq.system.gradient_raster:
            message = Message(
                id=f"timing/{name}", severity="warning", what=f"{name} as found in pulses and gradients",
                allowed=f"be {show(asked, TIME)} as the file says", found=show(nearest, TIME),
                remedy="Anchor the timing at the center of k-space",
            )  # fmt: skip
            yield located(message, source, ("parameters", name))


def _coverage(seq: Sequence, coverage: Coverage | None, source: Source | None) -> Iterator[Message]:
    """Nyquist and reach, against field of view and matrix of the recon part."""
    if coverage is None or seq.recon is None:
        return
    fov, matrix = np.array(seq.recon.fov), np.array(seq.recon.matrix)
    step, center = 1 / fov, ("recon",)

    def message(rule: str, what: str, allowed: str, found: str, remedy: str) -> Message:
        one = Message(id=f"k-space/{rule}", severity="warning", what=what, allowed=allowed, found=found, remedy=remedy)
        return located(one, source, center)

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
