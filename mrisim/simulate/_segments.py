"""The steps of a program cut into segments of one length, each with its readouts and where their samples belong."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import jax
import numpy as np

from mrisim._types import Int
from mrisim.encoding.near import Mixed, Pivots
from mrisim.engines import bloch
from mrisim.program import Program, StepTable
from mrisim.simulate._memory import SEGMENT
from mrisim.simulate._tiles import Group, Near, View, Where, groups_of, rows_of, views_of
from mrisim.simulate.pathway import Pathway

_REMEMBERED = 1 << 21  # samples of a program whose segments are kept while it lives
_KINDS_KEPT = 2  # of its last runs: for runs of near spins, and for those that come in none
_SEGMENTS: WeakKeyDictionary[Program, dict[Cut, tuple[Segment, ...]]] = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True, eq=False)
class Segment:
    """A run of steps, its readouts, and where their samples belong."""

    steps: bloch.Steps
    groups: tuple[Group, ...]
    views: tuple[View, ...]
    where: tuple[Where, ...]  # of each group, of the views' ones likewise
    kept: Int[np.ndarray, " kept"]  # steps whose magnetisation is handed over
    rows: tuple[tuple[int, np.ndarray], ...]  # of them, in order: readout class, and rows of that class
    _placed: dict[Any, Segment] = field(default_factory=dict)

    def on(self, device: Any) -> Segment:
        """The same on a device, put there once."""
        if device not in self._placed:
            put = partial(jax.device_put, device=device)
            self._placed[device] = replace(
                self,
                steps=put(self.steps),
                groups=put(self.groups),
                views=put(self.views),
                kept=put(self.kept),
                _placed={},
            )
        return self._placed[device]


class Cut(NamedTuple):
    """How a program is cut."""

    spoil: bool  # whether spoiling is ideal
    dtype: np.dtype  # of the device
    transformed: tuple[int, ...]  # readout classes that are encoded elsewhere
    near: Near | None  # how readouts of runs of near spins are encoded; None: there are none


def segments_of(program: Program, cut: Cut, extra: bloch.Extra | None, pathway: Pathway | None) -> tuple[Segment, ...]:
    """Segments of a program, those of its last runs where they are the same."""
    if extra is not None or pathway is not None or program.n_samples > _REMEMBERED:
        return tuple(_cut_segments(program, cut, extra, pathway))
    kept = _SEGMENTS.setdefault(program, {})
    if cut not in kept:
        if len(kept) >= _KINDS_KEPT:
            kept.pop(next(iter(kept)))
        kept[cut] = tuple(_cut_segments(program, cut, extra, pathway))
    return kept[cut]


def _cut_segments(program: Program, cut: Cut, extra: bloch.Extra | None, pathway: Pathway | None) -> Iterator[Segment]:
    spoil, dtype, transformed, near = cut
    placed: dict[tuple[int, int], tuple[Pivots, Mixed]] = {}  # of each part of a readout class, for all segments
    count = math.ceil(program.n_steps / SEGMENT)
    length = 8 * math.ceil(math.ceil(program.n_steps / count) / 8)
    for start in range(0, program.n_steps, length):
        rows = slice_steps(program.steps, start, length)
        steps = bloch.place_steps(rows, program.pulses, spoil, dtype)
        steps = steps._replace(seen=bloch.share_observations(rows, dtype))
        if extra is None:
            steps = steps._replace(shared=bloch.share_precessions(rows, dtype))
        else:
            steps = steps._replace(extra=bloch.Extra(*(_cut(part, start, length, dtype) for part in extra)))
        if pathway is not None:
            only = _cut(pathway.echo_only[:, None], start, length, np.dtype(bool))[:, 0]
            steps = steps._replace(weighting=_cut(pathway.weighting, start, length, dtype), echo_only=only)
        groups, views, places = (), (), ()
        if near is None:
            groups, places = groups_of(program, start, start + length, dtype, transformed)
        else:
            views, places = views_of(program, start, start + length, dtype, near, placed)
        whole = [part for part in rows_of(program, start, start + length) if part[0] in transformed]
        kept = np.concatenate([np.zeros(0, np.int32), *(steps for _, steps, _ in whole)]).astype(np.int32)
        yield Segment(
            steps=steps,
            groups=groups,
            views=views,
            where=places,
            kept=kept,
            rows=tuple((index, chosen) for index, _, chosen in whole),
        )


def slice_steps(steps: StepTable, start: int, length: int) -> StepTable:
    """Steps from start on, with steps of no length at the end, exact identities, where there are not enough."""
    missing = max(0, start + length - len(steps.time))

    def cut(values: np.ndarray, fill: float) -> np.ndarray:
        part = values[start : start + length]
        return np.concatenate([part, np.full((missing, *part.shape[1:]), fill, part.dtype)]) if missing else part

    fills = {"pulse": -1, "readout": -1}
    return replace(steps, **{name: cut(values, fills.get(name, 0)) for name, values in vars(steps).items()})


def _cut(values: np.ndarray, start: int, length: int, dtype: np.dtype) -> np.ndarray:
    """Rows from start on, filled up with zeros."""
    part = values[start : start + length]
    return np.pad(part, ((0, length - len(part)), (0, 0))).astype(dtype)
