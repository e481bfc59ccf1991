"""Tissue that a contrast agent changes: what it adds to the rates of each step, at the step's own time."""

from __future__ import annotations

import numpy as np

from mrisim import units
from mrisim._types import Float
from mrisim.data import Phantom, Uptake
from mrisim.engines.bloch import Extra
from mrisim.errors import ConsistencyError, Problem
from mrisim.events.blocks import Sequence
from mrisim.events.moments import k_offsets, pulse_instances
from mrisim.program import Program


def injection_time(injection: float | str | None, phantom: Phantom, engine: object) -> float | None:
    """When the agent is injected, since the start of the sequence [s]; None where there is none.

    Raises:
        ConsistencyError: an injection into a phantom that takes up nothing, or a text that is no time.
    """
    if injection is None:
        return None
    if engine not in ("bloch", "epg"):
        rule = "must be left out of the engine walk, whose tissue does not change, but is given"
        raise ConsistencyError(Problem(rule, "Take engine='bloch' or 'epg'", path="injection"))
    if phantom.uptake is None:
        rule = "must be left out where no tissue takes up a contrast agent, but is given"
        remedy = "Take a phantom with an agent, such as brain_with_tumour"
        raise ConsistencyError(Problem(rule, remedy, path="injection"))
    return units.parse(injection, units.TIME)


def step_rates(program: Program, seq: Sequence, uptake: Uptake | None, injection: float | None) -> Extra | None:
    """Rates of each step for each curve, in float64.

    The rates of a step are those of the mean concentration over its pulse and its precession; cached pulses keep the
    tissue's own, so what the agent does meanwhile is done in the precession. Samples of a readout have the decay that
    the agent adds up to the readout's center: its irreversible part since the start of the step, and its reversible
    part, r2_star - r2, since the center of the excitation, or about the echo of a refocusing pulse.

    Args:
        program: Normal form of the sequence.
        seq: The sequence, for the centers of its echoes.
        uptake: Concentrations and relaxivities.
        injection: Time of the injection since the start of the sequence [s]; None for no agent.
    """
    if uptake is None or injection is None:
        return None
    steps = program.steps
    pulse = _pulse_durations(program)
    lasting = np.where(steps.duration > 0, 1 + pulse / np.where(steps.duration > 0, steps.duration, 1.0), 0.0)
    start = steps.time - injection
    mean = uptake.mean(start, start + pulse + steps.duration)
    delay, away = _to_centers(program, seq)
    seen = (uptake.r2 * delay + (uptake.r2_star - uptake.r2) * away)[:, None] * mean
    return Extra(r1=uptake.r1 * mean * lasting[:, None], r2=uptake.r2 * mean * lasting[:, None], seen=seen)


def _to_centers(program: Program, seq: Sequence) -> tuple[Float[np.ndarray, " steps"], Float[np.ndarray, " steps"]]:
    """Time from the start of each step's precession to the center of its readout; and from its echo to that center."""
    steps, pulses = program.steps, pulse_instances(seq)
    delay, away = np.zeros(program.n_steps), np.zeros(program.n_steps)
    turns = np.repeat(pulses.center[:, None], 3, axis=1)
    offset = k_offsets(seq.rf.use[pulses.event], turns)[:, 0]
    for readout in program.readouts:
        middle = readout.delay[len(readout.delay) // 2]
        rows = readout.step
        length = _pulse_durations(program)[rows]
        delay[rows] = steps.readout_delay[rows] + middle
        center = steps.time[rows] + length + delay[rows]
        away[rows] = np.abs(center - offset[np.searchsorted(pulses.center, center)])
    return delay, away


def _pulse_durations(program: Program) -> Float[np.ndarray, " steps"]:
    """Duration of each step's pulse, zero without one [s]."""
    known = np.append(program.pulses.duration, 0.0)  # the last stands for none, whose row is -1
    return known[program.steps.pulse]
