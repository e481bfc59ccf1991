"""Readouts with no pulse between them as one train: an EPI shot is then encoded by a Fourier transform, in one go.

A train of lines is many small matrices, or one non-uniform transform after a split in time. The transform wants all
samples of a shot as one readout, of which the first sample's magnetisation is enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from mrisim._types import Bool, Float, Int
from mrisim.program import Program, ReadoutClass, StepTable

_TIME, _MOMENT = 1e-12, 1e-6  # to which trains of one class agree [s], [1/m]


@dataclass(frozen=True, kw_only=True, eq=False)
class Joined:
    """A program whose shots are single trains."""

    program: Program
    trains: tuple[int, ...]  # its readout classes that are joined
    lines: tuple[ReadoutClass, ...]  # what they were: of each class of the original program the rows that are joined
    steps: int  # that are gone


def join_trains(program: Program) -> Joined | None:
    """Join the readouts that follow each other without a pulse in between.

    Samples keep their places in the signal, and their receiver phases are left to the original program.

    Args:
        program: On the host, without paths of diffusion.

    Returns:
        The joined program; None where nothing can be joined.
    """
    steps = program.steps
    head = _heads(steps)
    row = np.cumsum(head) - 1
    joined = np.bincount(row, weights=steps.readout >= 0) > 1
    if not joined.any():
        return None
    whole = replace(steps, **{name: values[head] for name, values in vars(steps).items()})
    begin = np.flatnonzero(head)
    sums = {name: np.add.reduceat(getattr(steps, name), begin, axis=0) for name in ("duration", "moment")}
    trains = list(_trains(program, row, joined))
    kept = [_rows(r, ~joined[row[r.step]], row) for r in program.readouts]
    rest = [r for r in kept if len(r.step)]
    readouts = (*rest, *trains)
    number = np.full(len(begin), -1, dtype=steps.readout.dtype)
    for index, readout in enumerate(readouts):
        number[readout.step] = index
    lines = (_rows(r, joined[row[r.step]], row) for r in program.readouts)
    return Joined(
        program=replace(program, steps=replace(whole, **sums, readout=number), readouts=readouts),
        trains=tuple(range(len(rest), len(readouts))),
        lines=tuple(r for r in lines if len(r.step)),
        steps=int((~head).sum()),
    )


def _heads(steps: StepTable) -> Bool[np.ndarray, " steps"]:
    """False for steps that continue the train of an earlier one."""
    n, reads = len(steps.time), np.flatnonzero(steps.readout >= 0)
    stretch = np.cumsum(steps.pulse >= 0)
    first, last = np.full(stretch[-1] + 1, n), np.full(stretch[-1] + 1, -1)
    np.minimum.at(first, stretch[reads], reads)
    np.maximum.at(last, stretch[reads], reads)
    at = np.arange(n)
    return (at <= first[stretch]) | (at > last[stretch])


def _rows(readout: ReadoutClass, chosen: Bool[np.ndarray, " rows"], row: Int[np.ndarray, " steps"]) -> ReadoutClass:
    """Some trains of a class, by their joined steps."""
    return replace(
        readout, step=row[readout.step[chosen]], phase=readout.phase[chosen], first=readout.first[chosen]
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Lines:
    """All readouts in order of time."""

    step: Int[np.ndarray, " lines"]
    start: Float[np.ndarray, "lines 4"]  # time and k of the first sample, since the sequence began
    first: Int[np.ndarray, " lines"]

    @staticmethod
    def of(program: Program) -> _Lines:
        steps = program.steps
        at = np.flatnonzero(steps.readout >= 0)
        own = np.column_stack([steps.duration, steps.moment])
        before = np.cumsum(own, axis=0) - own
        first = np.zeros(program.n_steps, dtype=int)
        for readout in program.readouts:
            first[readout.step] = readout.first
        seen = np.column_stack([steps.readout_delay, steps.readout_moment])
        return _Lines(step=at, start=before[at] + seen[at], first=first[at])


def _trains(
    program: Program, row: Int[np.ndarray, " steps"], joined: Bool[np.ndarray, " rows"]
) -> Iterator[ReadoutClass]:
    """Joined readouts; those of one shape are one class."""
    lines = _Lines.of(program)
    owner = row[lines.step]
    begin = np.flatnonzero(np.diff(owner, prepend=-1))
    count = np.diff(np.append(begin, len(owner)))
    kind = program.steps.readout[lines.step]
    unit = np.array([_TIME, _MOMENT, _MOMENT, _MOMENT])
    for n in np.unique(count[joined[owner[begin]]]):
        chosen = begin[(count == n) & joined[owner[begin]]]
        member = chosen[:, None] + np.arange(n)
        start = lines.start[member] - lines.start[chosen][:, None]
        alike = np.concatenate([np.round(start / unit).reshape(len(chosen), -1), kind[member]], axis=1)
        _, one, which = np.unique(alike, axis=0, return_index=True, return_inverse=True)
        for index, example in enumerate(one):
            same = chosen[which.reshape(-1) == index]
            yield _train(program, kind[member[example]], start[example], owner[same], lines.first[same])


def _train(
    program: Program,
    kinds: Int[np.ndarray, " lines"],
    start: Float[np.ndarray, "lines 4"],
    step: Int[np.ndarray, " rows"],
    first: Int[np.ndarray, " rows"],
) -> ReadoutClass:
    parts = [program.readouts[kind] for kind in kinds]
    return ReadoutClass(
        delay=np.concatenate([at[0] + part.delay for at, part in zip(start, parts, strict=True)]),
        k=np.concatenate([at[1:] + part.k for at, part in zip(start, parts, strict=True)]),
        receiver=np.concatenate([part.receiver for part in parts]),
        step=step,
        phase=np.zeros(len(step)),
        first=first,
    )
