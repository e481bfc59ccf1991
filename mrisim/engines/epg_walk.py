"""The graph of a program: its steps walked once with a few representative sites."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mrisim._types import Float, Int
from mrisim.engines.bloch import Extra
from mrisim.engines.epg_diffusion import Weights
from mrisim.engines.epg_graph import Cells, Labels, Passage, Probe, Weighting, merge, turned_on_host
from mrisim.physics.phase_graph import StateMap
from mrisim.program import Program

MOST_STATES = 4096
_FAINT = 1e-6  # of equilibrium: what the strongest transverse state is taken to be at least

Seen = Callable[[Float[np.ndarray, "rows 4"], int], Float[np.ndarray, " rows"]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Rules:
    """How a program is walked."""

    cells: Cells
    threshold: float  # states weaker than this part of the strongest transverse one are dropped
    spoil: bool  # no transverse magnetisation before an excitation
    timed: bool  # whether labels hold the time for which off-resonance acted
    diffusion: Weights | None  # where something diffuses
    seen: Seen  # at most which part of a state with such a label some sample of a readout class holds
    extra: Extra | None = None  # what a contrast agent adds in each step


@dataclass(frozen=True, kw_only=True, eq=False)
class Station:
    """What happens in one step."""

    passage: Passage | None  # None without a pulse
    before: int  # states before the pulse
    after: int  # states after it
    observed: Int[np.ndarray, " rows"]  # rows of [F; conj G]
    observed_labels: Float[np.ndarray, "rows 4"]  # at the first sample
    weighting: Weighting | None = None  # where something diffuses


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """All steps, and what was dropped."""

    stations: tuple[Station, ...]
    most_states: int
    dropped: float  # largest root of the sum of squares that one pulse dropped, relative to the strongest state
    unseen: float  # likewise of the states that no readout looked for


@dataclass(frozen=True, kw_only=True, eq=False)
class Turns:
    """What the pulses of a program do to labels and to the representative sites."""

    maps: StateMap  # (pulses, sites)
    into: Float[np.ndarray, "pulses 4"]  # from the start of a pulse to its center
    out: Float[np.ndarray, "pulses 4"]  # from its center to its end
    before: Float[np.ndarray, " steps"]  # turn into the pulse's frame [cycles]
    after: Float[np.ndarray, " steps"]  # turn out of it [cycles]


class _Walk:
    def __init__(self, program: Program, turns: Turns, probe: Probe, rules: Rules):
        self.program, self.turns, self.probe, self.rules = program, turns, probe, rules
        self.labels = Labels.start()
        self.dropped = self.unseen = 0.0
        self.most = 1

    def step(self, i: int) -> Station:
        steps = self.program.steps
        passage, before = None, len(self.labels.f)
        if steps.pulse[i] >= 0:
            passage = self._pulse(i)
        center = self.labels
        if steps.pulse[i] >= 0:
            self.labels = self.labels.moved(self.turns.out[steps.pulse[i]])
        observed, seen_labels = np.zeros(0, dtype=int), np.zeros((0, 4))
        if steps.readout[i] >= 0:
            observed, seen_labels = self._observe(i, center)
        tau = steps.duration[i]
        self._precess(i, float(tau))
        weighting = self._weighting(i, center, observed)
        if weighting is not None:
            self.probe.diffuse(weighting)
        self.labels = self.labels.moved(self._shift(steps.moment[i], tau))
        return Station(
            passage=passage,
            before=before,
            after=len(self.labels.f),
            observed=observed,
            observed_labels=seen_labels,
            weighting=weighting,
        )

    def _precess(self, i: int, tau: float) -> None:
        extra, curve = self.rules.extra, self.probe.curve
        more = (0.0, 0.0) if extra is None else (extra.r1[i, curve], extra.r2[i, curve])
        self.probe.precess(tau, *more)

    def _weighting(self, i: int, center: Labels, observed: Int[np.ndarray, " rows"]) -> Weighting | None:
        """b of the states that were at these labels at the center of the step's pulse."""
        weights = self.rules.diffusion
        if weights is None:
            return None
        f, g = (weights.transverse(weights.whole, i, labels) for labels in (center.f, center.g))
        seen = weights.transverse(weights.seen, i, center.transverse()[observed])
        return Weighting(f=f, g=g, z=weights.longitudinal(i, center.z), seen=seen)

    def _shift(self, moment: Float[np.ndarray, " 3"], tau: float) -> Float[np.ndarray, " 4"]:
        return np.append(moment, tau if self.rules.timed else 0.0)

    def _pulse(self, i: int) -> Passage:
        row = self.program.steps.pulse[i]
        if self.rules.spoil and self.program.steps.excitation[i]:
            self.probe.f[:], self.probe.g[:] = 0.0, 0.0
        q, passage = merge(self.labels.moved(self.turns.into[row]), self.rules.cells)
        maps = StateMap(*(part[row] for part in self.turns.maps))
        self.probe.pulse(passage, turned_on_host(maps, self.turns.before[i], self.turns.after[i]))
        kept = self._kept()
        self.probe.keep(kept)
        self.labels = Labels.of(q[kept])
        self.most = max(self.most, len(kept))
        return Passage(f=passage.f[kept], g=passage.g[kept], z=passage.z[kept])

    def _kept(self) -> Int[np.ndarray, " kept"]:
        strength = self.probe.strength()
        scale = max(float(np.abs(self.probe.f).max()), float(np.abs(self.probe.g).max()), _FAINT)
        limit = self.rules.threshold * scale
        if len(strength) > MOST_STATES:
            limit = max(limit, float(np.partition(strength, -MOST_STATES)[-MOST_STATES]))
        keep = strength >= limit
        keep[0] = True
        self.dropped = max(self.dropped, float(np.sqrt(np.sum(strength[~keep] ** 2))) / scale)
        return np.flatnonzero(keep)

    def _observe(self, i: int, center: Labels) -> tuple[Int[np.ndarray, " rows"], Float[np.ndarray, "rows 4"]]:
        steps = self.program.steps
        shift = self._shift(steps.readout_moment[i], steps.readout_delay[i])
        labels = self.labels.transverse() + shift
        decay = np.exp(-steps.readout_delay[i] * np.real(self.probe.r2))
        strength = np.concatenate([np.abs(self.probe.f), np.abs(self.probe.g)]) * decay
        weights = self.rules.diffusion
        if weights is not None:
            b = weights.transverse(weights.seen, i, center.transverse())
            strength = strength * np.exp(-b @ self.probe.diffusion)
        strength = strength.max(axis=1)
        strength[len(strength) // 2] = 0.0  # the first of G is the first of F
        share = strength * self.rules.seen(labels, int(steps.readout[i]))
        limit = self.rules.threshold * max(float(share.max()), _FAINT)
        rows = np.flatnonzero(share > limit)
        lost = float(np.sqrt(np.sum(share[share <= limit] ** 2)))
        self.unseen = max(self.unseen, lost / max(float(share.max()), _FAINT))
        return rows, labels[rows]


def walk(program: Program, turns: Turns, probe: Probe, rules: Rules) -> Graph:
    """Walk a program.

    Args:
        program: The program.
        turns: Its pulses.
        probe: Representative sites; used up.
        rules: What is merged, dropped and looked for.
    """
    walker = _Walk(program, turns, probe, rules)
    stations = tuple(walker.step(i) for i in range(program.n_steps))
    return Graph(stations=stations, most_states=walker.most, dropped=walker.dropped, unseen=walker.unseen)
