"""Engine `bloch`: one magnetisation vector per isochromat. Exact for static spins; the reference for all others.

Pulses are propagators, computed once per spin and unique pulse; free precession is closed form; at each readout the
transverse magnetisation at the first sample is emitted, and the encoding does the rest.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mrisim._types import Array, Bool, Float, Int
from mrisim.data import Phantom
from mrisim.physics import bloch
from mrisim.physics.phase import Split, product, split
from mrisim.program import Program, PulseTable, StepTable, Waveform

_LARGEST_GROUP = 16
_GROUPS_PADDED = 8  # a pulse is filled up to a multiple of this many groups


class Spins(NamedTuple):
    """A chunk of isochromats on the device."""

    position: Split  # (3, spins) [m]
    df: Float[Array, " spins"]  # of the isochromat, its place in the Lorentzian line included [Hz]
    b1: Float[Array, " spins"]
    r1: Float[Array, " spins"]  # [1/s]
    r2: Float[Array, " spins"]  # [1/s]
    weight: Float[Array, " spins"]  # weight · pd


class Steps(NamedTuple):
    """A segment of a step table on the device."""

    pulse: Int[Array, " steps"]
    before: Float[Array, " steps"]  # turn into the pulse's frame [cycles]
    after: Float[Array, " steps"]  # turn out of it [cycles]
    keep: Float[Array, " steps"]  # factor on transverse magnetisation before the pulse: 0 under ideal spoiling
    duration: Float[Array, " steps"]
    moment: Split  # (steps, 3)
    readout: Bool[Array, " steps"]
    delay: Float[Array, " steps"]
    readout_moment: Split  # (steps, 3)


def place_spins(phantom: Phantom, dtype: np.dtype) -> Spins:
    """Isochromats in the engine's terms: rates in place of times, positions split, one off-resonance."""
    xp = np if isinstance(phantom.position, np.ndarray) else jnp
    spread = xp.tan(xp.pi * phantom.lorentz) / (2 * xp.pi * phantom.t2_prime)
    columns = (phantom.df + spread, phantom.b1, 1 / phantom.t1, 1 / phantom.t2, phantom.weight * phantom.pd)
    return Spins(split(phantom.position.T, dtype), *(xp.asarray(c).astype(dtype) for c in columns))


def place_steps(steps: StepTable, pulses: PulseTable, spoil: bool, dtype: np.dtype) -> Steps:
    """Steps in the engine's terms; phases reduced in the precision that the table still has."""
    xp = np if isinstance(steps.phase, np.ndarray) and isinstance(pulses.frequency, np.ndarray) else jnp
    turn = steps.phase / (2 * xp.pi)
    lead, rest = xp.zeros_like(turn), xp.zeros_like(turn)
    if len(pulses.waveform):
        row = xp.maximum(steps.pulse, 0)
        lead = pulses.frequency[row] * pulses.center[row]
        rest = pulses.frequency[row] * (pulses.duration[row] - pulses.center[row])
    before, after = -turn - lead, turn - rest
    return Steps(
        pulse=steps.pulse.astype(np.int32),
        before=(before - xp.round(before)).astype(dtype),
        after=(after - xp.round(after)).astype(dtype),
        keep=(1.0 - steps.excitation * float(spoil)).astype(dtype),
        duration=steps.duration.astype(dtype),
        moment=split(steps.moment, dtype),
        readout=steps.readout >= 0,
        delay=steps.readout_delay.astype(dtype),
        readout_moment=split(steps.readout_moment, dtype),
    )


def place_waveform(waveform: Waveform, amplitude: Array, group: int, dtype: np.dtype) -> bloch.WaveformSteps:
    """Intervals of a pulse at an amplitude, `group` of them to each relaxation.

    Intervals of no length at the end, exact identities, fill up the last group and let similar pulses share one
    compilation.
    """
    xp = np if isinstance(waveform.dt, np.ndarray) else jnp
    n = waveform.dt.shape[0]
    extra = -n % (group if n <= group else group * _GROUPS_PADDED)
    dt = xp.pad(waveform.dt, (0, extra)).reshape(-1, group)
    area = xp.pad(waveform.area, (0, extra)).reshape(-1, group) * amplitude
    moment = xp.pad(waveform.moment, ((0, extra), (0, 0))).reshape(-1, group, 3)
    half, zero = 0.5 * dt.sum(axis=1), xp.zeros(1)
    relaxation = xp.concatenate([half, zero]) + xp.concatenate([zero, half])
    return bloch.WaveformSteps(
        rotation_x=area.real.astype(dtype),
        rotation_y=area.imag.astype(dtype),
        dt=dt.astype(dtype),
        moment=split(moment, dtype),
        relaxation=relaxation.astype(dtype),
    )


def relaxation_group(waveform: Waveform, amplitude: float, rate: float, tolerance: float) -> int:
    """Intervals between two relaxations so that splitting them off costs less than a tenth of the tolerance.

    The error of one group of length h is about h · rate · theta² / 24, theta its flip by the transmit field alone,
    because relaxation commutes with precession.
    """
    flips = 2 * np.pi * np.abs(waveform.area * amplitude)
    group = 1
    while group < _LARGEST_GROUP and 2 * group <= len(flips):
        lengths = _sums(waveform.dt, 2 * group)
        error = np.sum(lengths * rate * _sums(flips, 2 * group) ** 2) / 24
        if error > 0.1 * tolerance:
            break
        group *= 2
    return group


def is_short(waveform: Waveform, amplitude: float, frequency: float, spins: Spins) -> bool:
    """Whether no interval turns any of the spins by more than half a cycle."""
    if spins.df.dtype != np.float32:
        return False
    reach = np.abs(np.asarray(spins.position.head)).max(axis=1) * 1.01
    turns = np.abs(waveform.area) * abs(amplitude) * float(np.max(spins.b1))
    turns = turns + waveform.dt * (float(np.abs(spins.df).max()) + abs(frequency)) + np.abs(waveform.moment) @ reach
    return bool(turns.max(initial=0.0) < 0.5)


def _sums(values: np.ndarray, group: int) -> np.ndarray:
    return np.add.reduceat(values, np.arange(0, len(values), group))


def pulse_reach(pulses: PulseTable, row: int, spins: Spins) -> Float[Array, " spins"]:
    """Transmit field that a spin sees: nominal inside the slice of an ideal pulse, zero outside."""
    normal = jnp.asarray(pulses.slice_normal[row])
    along = (
        sum(normal[i] * (spins.position.head[i] + spins.position.tail[i]) for i in range(3))
        - pulses.slice_position[row]
    )
    inside = (along >= -pulses.slice_half_width[row]) & (along < pulses.slice_half_width[row])
    return jnp.where(inside, spins.b1, jnp.zeros_like(spins.b1))


_half_angles = jax.jit(bloch.half_angles, static_argnames="short")
_propagator = jax.jit(bloch.propagator)


def pulse_propagators(
    program: Program, spins: Spins, groups: tuple[int, ...], short: tuple[bool, ...]
) -> Float[Array, "pulses 4 3 spins"]:
    """Propagators of all unique pulses for every spin of a chunk.

    Args:
        program: The program.
        spins: The chunk.
        groups: Intervals between relaxations, per pulse.
        short: Whether no interval turns a spin by more than half a cycle, per pulse; float32 only.
    """
    dtype, pulses = spins.df.dtype, program.pulses
    if not pulses.waveform:
        return jnp.zeros((1, 4, 3, spins.df.shape[0]), dtype)
    columns = []
    for row, waveform in enumerate(pulses.waveform):
        steps = place_waveform(program.waveforms[waveform], pulses.amplitude[row], groups[row], dtype)
        reach = pulse_reach(pulses, row, spins)
        df = spins.df - jnp.asarray(pulses.frequency[row], dtype)
        angles = _half_angles(steps, spins.position, df, reach, short[row])
        columns.append(_propagator(steps, angles, reach, spins.r1, spins.r2))
    return jnp.stack(columns)


def init(spins: Spins, initial: Float[Array, "spins 3"] | None = None) -> bloch.Vector:
    """Equilibrium, or the magnetisation given."""
    if initial is None:
        zero = jnp.zeros_like(spins.df)
        return zero, zero, jnp.ones_like(spins.df)
    return tuple(jnp.asarray(initial[:, i], spins.df.dtype) for i in range(3))  # type: ignore[return-value]


def apply_pulse(m: bloch.Vector, step: Steps, propagators: Float[Array, "pulses 4 3 spins"]) -> bloch.Vector:
    """The pulse of a step: into its frame, through its propagator, out again."""
    m = (m[0] * step.keep, m[1] * step.keep, m[2])
    columns = jax.lax.dynamic_index_in_dim(propagators, step.pulse, keepdims=False)
    return bloch.turn(bloch.apply(columns, bloch.turn(m, step.before)), step.after)


def precess(m: bloch.Vector, step: Steps, spins: Spins) -> bloch.Vector:
    """The free precession of a step."""
    return bloch.precess(m, step.duration, step.moment, spins.position, spins.df, spins.r1, spins.r2)


def observe(m: bloch.Vector, step: Steps, spins: Spins) -> Float[Array, "2 spins"]:
    """Weighted transverse magnetisation at the first sample of the step's readout: real and imaginary part."""
    phase = product(step.readout_moment, spins.position) + spins.df * step.delay
    decay = jnp.exp(-step.delay * spins.r2) * spins.weight
    x, y, _ = bloch.turn((m[0] * decay, m[1] * decay, m[2]), -phase)
    return jnp.stack([x, y])


def _through_pulse(m: bloch.Vector, step: Steps, propagators: Array) -> bloch.Vector:
    return jax.lax.cond(step.pulse >= 0, lambda m: apply_pulse(m, step, propagators), lambda m: m, m)


@jax.jit
def evolve(
    m: bloch.Vector, steps: Steps, propagators: Float[Array, "pulses 4 3 spins"], spins: Spins
) -> tuple[bloch.Vector, Float[Array, "steps 2 spins"]]:
    """Run a segment of steps; emit the magnetisation at each readout, zeros elsewhere."""

    def body(m, step):
        m = _through_pulse(m, step, propagators)
        emitted = jax.lax.cond(
            step.readout, lambda m: observe(m, step, spins), lambda m: jnp.zeros((2, *m[0].shape), m[0].dtype), m
        )
        return precess(m, step, spins), emitted

    return jax.lax.scan(body, m, steps)


@jax.jit
def follow(
    m: bloch.Vector, steps: Steps, propagators: Float[Array, "pulses 4 3 spins"], spins: Spins
) -> tuple[bloch.Vector, Float[Array, "steps 3 spins"]]:
    """Run a segment of steps; emit the magnetisation at the start of each, before its pulse."""

    def body(m, step):
        after = _through_pulse(m, step, propagators)
        return precess(after, step, spins), jnp.stack(m)

    return jax.lax.scan(body, m, steps)
