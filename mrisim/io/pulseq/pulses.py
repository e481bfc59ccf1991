"""What the pulses of a file are for, and which slice they select, where the file does not say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from mrisim._types import Int
from mrisim.errors import Finding, Problem, SpecError
from mrisim.events.blocks import AXES, NONE, RFTable, Sequence, Use
from mrisim.io.pulseq.parse import Parsed
from mrisim.io.pulseq.waves import ranges
from mrisim.source import did_you_mean

LETTERS = {
    "e": Use.EXCITATION,
    "r": Use.REFOCUSING,
    "i": Use.INVERSION,
    "s": Use.SATURATION,
    "p": Use.PREPARATION,
    "o": Use.OTHER,
    "u": Use.UNDEFINED,
}
LARGE = np.radians(90.9)  # flip angle beyond which a pulse without a use is no excitation: 90 degrees and 1 %
STEADY = 1e-4  # relative change of a gradient under a pulse that selects a slice


def complete_pulses(
    seq: Sequence, parsed: Parsed, use: Mapping[str, Iterable[int]], *, trusted: bool
) -> tuple[Sequence, list[Finding]]:
    """The sequence with the use of every pulse, slices where they follow from gradients, and names of blocks.

    Args:
        seq: As the file says.
        parsed: The file.
        use: What the user says, by numbers of the file.
        trusted: The file says all of it.

    Raises:
        SpecError: a use or a number that is not there.
    """
    stated = _stated(parsed, use)
    column = np.where(stated >= 0, stated, seq.rf.use)
    seq = replace(seq, rf=replace(seq.rf, use=column))
    findings: list[Finding] = []
    played = np.zeros(len(column), dtype=bool)
    played[seq.blocks.rf[seq.blocks.rf != NONE]] = True
    unknown = np.flatnonzero((column == Use.UNDEFINED) & played & (stated < 0))
    if len(unknown):
        seq = replace(seq, rf=replace(seq.rf, use=_guessed(seq, unknown)))
        findings.append(_guess_finding(seq, parsed, unknown))
    if not trusted:
        seq, more = _slices(seq, parsed)
        findings += more
    return _named(seq), findings


def _stated(parsed: Parsed, use: Mapping[str, Iterable[int]]) -> Int[np.ndarray, " rows"]:
    ids = parsed.rf.ids
    stated = np.full(len(ids), -1, dtype=np.int64)
    problems = []
    for name, numbers in use.items():
        known = {one.name.lower(): one for one in Use}
        if name.lower() not in known:
            problems.append(Problem(f"must be a use of pulses, but '{name}' is none", did_you_mean(name, known), "use"))
            continue
        for number in numbers:
            row = np.flatnonzero(ids == number)
            if len(row) == 0:
                rule = f"must name RF events of the file, but {number} is none"
                problems.append(Problem(rule, f"There are {ranges(ids)}", "use", parsed.text.file))
            else:
                stated[row] = int(known[name.lower()])
    if problems:
        raise SpecError(problems)
    return stated


def _guessed(seq: Sequence, unknown: Int[np.ndarray, " n"]) -> Int[np.ndarray, " rows"]:
    """Use by a stated rule: a pulse of at most 90 degrees (and 1 %) excites; a larger one refocuses where something is
    sampled between it and the next excitation, else it inverts."""
    large = ~(seq.rf.flip <= LARGE)
    block = np.flatnonzero(seq.blocks.rf != NONE)
    event = seq.blocks.rf[block]
    excites = np.where(np.isin(event, unknown), ~large[event], seq.rf.use[event] == Use.EXCITATION)
    starts = block[excites]
    sampled = np.flatnonzero(seq.blocks.adc != NONE)
    after = np.searchsorted(starts, block, side="right")
    until = np.append(starts, len(seq.blocks))[after]
    reads = np.searchsorted(sampled, until) > np.searchsorted(sampled, block)
    refocuses = np.zeros(len(seq.rf.use), dtype=bool)
    refocuses[event[reads]] = True
    guess = np.where(large, np.where(refocuses, int(Use.REFOCUSING), int(Use.INVERSION)), int(Use.EXCITATION))
    use = seq.rf.use.copy()
    use[unknown] = guess[unknown]
    return use


def _guess_finding(seq: Sequence, parsed: Parsed, unknown: Int[np.ndarray, " n"]) -> Finding:
    parts = []
    for kind in (Use.EXCITATION, Use.REFOCUSING, Use.INVERSION):
        mine = unknown[seq.rf.use[unknown] == kind]
        if len(mine):
            parts.append(f"{kind.name.lower()}={ranges(parsed.rf.ids[mine]).replace(' ', '')}")
    text = (
        f"{parsed.text.file} does not say what its pulses are for. By flip angle (up to 90 degrees excitation, beyond "
        f"it refocusing, or inversion where nothing is sampled before the next excitation) they are {' '.join(parts)}"
    )
    return Finding("use of pulses", text, f"State it where that is wrong: --use {parts[-1]}")


def _slices(seq: Sequence, parsed: Parsed) -> tuple[Sequence, list[Finding]]:
    """Slices of pulses that play under a constant gradient of one axis, from their bandwidth."""
    blocks, rf = seq.blocks, seq.rf
    block = np.flatnonzero(blocks.rf != NONE)
    axis = np.full(len(rf.use), NONE, dtype=np.int64)
    thickness, position = np.full(len(rf.use), np.inf), np.zeros(len(rf.use))
    key = np.stack([blocks.rf[block], *(getattr(blocks, name)[block] for name in AXES)], axis=1)
    kinds = np.unique(key, axis=0)
    events, counts = np.unique(kinds[:, 0], return_counts=True)
    for event in events[counts == 1].tolist():
        kind = kinds[kinds[:, 0].searchsorted(event)]
        found = _slice_of(seq, event, kind[1:].tolist())
        width = seq.rf_shapes[rf.shape[event]].bandwidth
        if found is not None and width > 0:
            axis[event], strength = found
            thickness[event] = width / abs(strength)
            position[event] = rf.frequency[event] / strength
    chosen = np.flatnonzero((axis != NONE) & (rf.slice_axis == NONE))
    if len(chosen) == 0:
        return seq, []
    table = _with_slices(rf, chosen, axis, thickness, position)
    thick = np.unique(np.round(thickness[chosen] * 1e3, 2))
    text = (
        f"{parsed.text.file} does not say which slices its pulses select; by their bandwidth they are "
        f"{', '.join(f'{t:g} mm' for t in thick[:4])}{' …' if len(thick) > 4 else ''} thick"
    )
    return replace(seq, rf=table), [Finding("slices", text)]


def _with_slices(
    rf: RFTable, rows: np.ndarray, axis: np.ndarray, thickness: np.ndarray, position: np.ndarray
) -> RFTable:
    columns = {"slice_axis": axis, "thickness": thickness, "position": position}
    changed = {name: getattr(rf, name).copy() for name in columns}
    for name, values in columns.items():
        changed[name][rows] = values[rows]
    return replace(rf, **changed)


def _slice_of(seq: Sequence, event: int, gradients: list[int]) -> tuple[int, float] | None:
    """Axis and strength [Hz/m] of the one gradient that is on, and constant, under a pulse."""
    start = float(seq.rf.delay[event])
    times = start + seq.rf_shapes[seq.rf.shape[event]].duration * np.array([0.02, 0.5, 0.98])
    on = []
    for axis, row in enumerate(gradients):
        if row == NONE:
            continue
        shape = seq.gradient_shapes[seq.gradients.shape[row]]
        value = seq.gradients.amplitude[row] * np.interp(times, shape.times, shape.values, left=0.0, right=0.0)
        if np.abs(value).max() > 0:
            on.append((axis, value))
    if len(on) != 1 or np.ptp(on[0][1]) > STEADY * np.abs(on[0][1]).max():
        return None
    return on[0][0], float(on[0][1][1])


def _named(seq: Sequence) -> Sequence:
    """Names of blocks by what they hold, for messages and pictures."""
    blocks = seq.blocks
    use = np.append(seq.rf.use, -1)[blocks.rf]
    holds = [use + 1, *((getattr(blocks, name) != NONE).astype(np.int64) for name in (*AXES, "adc"))]
    code = holds[0]
    for column in holds[1:]:
        code = code * 2 + column
    _, first, index = np.unique(code, return_index=True, return_inverse=True)
    names = []
    for row in first.tolist():
        parts = [Use(int(use[row])).name.lower()] if use[row] >= 0 else []
        parts += [name for name, column in zip((*AXES, "adc"), holds[1:], strict=True) if column[row]]
        names.append(" + ".join(parts) or "wait")
    return replace(seq, block_names=tuple(names), blocks=replace(blocks, name=index.reshape(-1).astype(np.int64)))
