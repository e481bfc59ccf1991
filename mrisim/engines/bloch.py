"""Engine `bloch`: one magnetisation vector per isochromat. Exact for static spins; the reference for all others.

Pulses are propagators, computed once per spin and unique pulse; free precession is closed form; at each readout the
transverse magnetisation at the first sample is emitted, and the encoding does the rest.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mrisim._types import Array, Bool, Complex, Float, Int
from mrisim.data import Phantom
from mrisim.physics import bloch
from mrisim.physics.phase import Split, phasor, product, split
from mrisim.program import Program, PulseTable, StepTable, Waveform

_GROUP_SIZES = (1, 4, 8, 16, 32)  # intervals between relaxations; each size compiles once
_BLOCK = 64  # intervals of a pulse that one compiled call runs: what they need stays in the cache
_MOST_SHARED = 8  # precessions that a segment of steps repeats, found once for each spin

State = tuple[Complex[Array, " spins"], Float[Array, " spins"]]  # M⁺ and Mz, relative to equilibrium


class Spins(NamedTuple):
    """A chunk of isochromats on the device."""

    position: Split  # (3, spins) [m]
    df: Float[Array, " spins"]  # of the isochromat, its place in the Lorentzian line included [Hz]
    b1: Float[Array, " spins"]
    r1: Float[Array, " spins"]  # [1/s]
    r2: Float[Array, " spins"]  # [1/s]
    weight: Float[Array, " spins"]  # weight · pd
    curve: Int[Array, " spins"] | None = None  # row of the rates of `Extra`; None where tissue does not change
    diffusion: Float[Array, "6 spins"] | None = None  # tensor xx, yy, zz, xy, xz, yz [1e-9 m²/s]; None: no weighting


class Extra(NamedTuple):
    """What a contrast agent adds in each step, for each curve of concentration."""

    r1: Float[Array, "steps curves"]  # over the precession [1/s]
    r2: Float[Array, "steps curves"]  # likewise [1/s]
    seen: Float[Array, "steps curves"]  # exponent of what is lost at the center of the step's readout [1]


class Shared(NamedTuple):
    """The few different precessions of a segment of steps, or those up to its readouts."""

    which: Int[Array, " steps"]
    duration: Float[Array, " different"]
    moment: Split  # (different, 3)


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
    extra: Extra | None = None
    weighting: Float[Array, "steps 6"] | None = None  # b-matrix of the readout, off-diagonal parts twice [1e9 s/m²]
    echo_only: Bool[Array, " steps"] | None = None  # whether the pulse passes nothing but the mirrored phase
    shared: Shared | None = None  # where the segment repeats its precessions, and tissue does not change
    seen: Shared | None = None  # where it repeats those from the start of a step to its readout


def _library(tree: object):
    """NumPy for arrays on the host, which keeps float64 up to the cast; JAX as soon as one of them is traced."""
    return jnp if any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(tree)) else np


def place_spins(phantom: Phantom, dtype: np.dtype) -> Spins:
    """Isochromats in the engine's terms: rates in place of times, positions split, one off-resonance."""
    xp = _library(phantom)
    spread = xp.tan(xp.pi * phantom.lorentz) / (2 * xp.pi * phantom.t2_prime)
    columns = (phantom.df + spread, phantom.b1, 1 / phantom.t1, 1 / phantom.t2, phantom.weight * phantom.pd)
    return Spins(split(phantom.position.T, dtype), *(xp.asarray(c).astype(dtype) for c in columns))


def place_steps(steps: StepTable, pulses: PulseTable, spoil: bool, dtype: np.dtype) -> Steps:
    """Steps in the engine's terms; phases reduced in the precision that the table still has."""
    xp = _library((steps.phase, pulses.frequency, pulses.center, pulses.duration))
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


def share_precessions(steps: StepTable, dtype: np.dtype) -> Shared | None:
    """The different precessions of a segment of steps; None where they are many.

    Args:
        steps: The segment, on the host.
        dtype: Precision of the device.
    """
    return _share(steps.duration, steps.moment, dtype)


def share_observations(steps: StepTable, dtype: np.dtype) -> Shared | None:
    """The different precessions up to the readouts of a segment of steps; None where they are many."""
    return _share(steps.readout_delay, steps.readout_moment, dtype)


def _share(
    duration: Float[np.ndarray, " steps"], moment: Float[np.ndarray, "steps 3"], dtype: np.dtype
) -> Shared | None:
    """Their number is a power of two, the last one repeated, so that a sweep compiles once; few steps share nothing."""
    if len(duration) < 4 * _MOST_SHARED:
        return None
    table = np.column_stack([duration, moment])
    different, which = np.unique(table, axis=0, return_inverse=True)
    size = 1 << (len(different) - 1).bit_length()
    if size > _MOST_SHARED:
        return None
    different = np.pad(different, ((0, size - len(different)), (0, 0)), mode="edge")
    return Shared(which.reshape(-1).astype(np.int32), different[:, 0].astype(dtype), split(different[:, 1:], dtype))


def directions_of(waveform: Waveform) -> Float[Array | np.ndarray, "directions 3"]:
    """Unit vectors that span the gradient of a pulse, at least one; all three axes where the gradient is traced."""
    if isinstance(waveform.moment, jax.Array):
        return jnp.eye(3)
    _, strength, vectors = np.linalg.svd(waveform.moment, full_matrices=False)
    rank = int(np.sum(strength > 1e-9 * max(float(strength.max(initial=0.0)), 1e-3)))
    return vectors[: max(1, rank)]


def place_waveform(
    waveform: Waveform, amplitude: Array, group: int, dtype: np.dtype
) -> tuple[bloch.WaveformSteps, ...]:
    """Intervals of a pulse at an amplitude, `group` of them to each relaxation, in blocks of one size.

    Intervals of no length, exact identities, fill up the last group and the last block.
    """
    xp = _library(waveform)
    n = waveform.dt.shape[0]
    block = _BLOCK if n > 1 else group
    n_groups = -(-n // group) + 1  # the last holds the second half of the relaxation of the one before
    extra = _round_up(n_groups * group, block) - n
    dt = xp.pad(waveform.dt, (0, extra)).reshape(-1, group)
    area = xp.pad(waveform.area, (0, extra)).reshape(-1, group) * amplitude
    along = waveform.moment @ directions_of(waveform).T
    moment = xp.pad(along, ((0, extra), (0, 0))).reshape(-1, group, along.shape[1])
    half = 0.5 * dt.sum(axis=1)
    relaxation = half + xp.concatenate([xp.zeros(1), half[:-1]])
    whole = bloch.WaveformSteps(
        rotation_x=xp.real(area).astype(dtype),
        rotation_y=xp.imag(area).astype(dtype),
        dt=dt.astype(dtype),
        moment=moment.astype(dtype),
        relaxation=relaxation.astype(dtype),
    )
    size = block // group
    starts = range(0, dt.shape[0], size)
    return tuple(jax.tree.map(lambda part, i=i: part[i : i + size], whole) for i in starts)


def _round_up(n: int, step: int) -> int:
    return -(-n // step) * step


def relaxation_group(waveform: Waveform, amplitude: float, rate: float, tolerance: float) -> int:
    """Intervals between two relaxations so that splitting them off costs less than the tolerance.

    The error of one group of length h is estimated as h rate theta (theta + phi) / 24 + (h rate)² theta / 6: theta is
    its flip by the transmit field, phi the angle by which the spins precess meanwhile that are at the edge of the
    pulse's band. For random pulses of random scans the error measured is 0.1 to 1.4 of the sum. It counts relative to
    the signal, small as the pulse's flip.

    Args:
        waveform: Of the pulse.
        amplitude: Of the pulse [Hz].
        rate: Transverse relaxation rate [1/s].
        tolerance: Error that is allowed.

    Source:
        Strang, SIAM J Numer Anal 5:506 (1968): the error is made of double commutators.
    """
    flips = 2 * np.pi * np.abs(waveform.area * amplitude)
    allowed = tolerance * min(1.0, float(flips.sum()))
    for group in reversed(_GROUP_SIZES):
        lengths, turns = _sums(waveform.dt, group), _sums(flips, group)
        decays, precession = rate * lengths, _band_edge(waveform) * lengths
        if np.sum(decays * turns * ((turns + precession) / 24 + decays / 6)) <= allowed:
            return group
    return _GROUP_SIZES[0]


def _band_edge(waveform: Waveform) -> float:
    """Frequency to which a pulse reaches, as the root mean square of its spectrum of an even one [rad/s]."""
    if len(waveform.dt) == 1:
        return 0.0
    envelope = waveform.area / waveform.dt
    change = np.diff(envelope, prepend=0.0, append=0.0)
    power = np.sum(np.abs(envelope) ** 2 * waveform.dt)
    slope = np.sum(np.abs(change) ** 2) / float(waveform.dt.mean())
    return float(np.sqrt(3 * slope / power)) if power > 0 else 0.0


def is_short(waveform: Waveform, amplitude: float, frequency: float, spins: Spins, tolerance: float) -> bool:
    """Whether the intervals are short enough for `physics.bloch.short_rotation`.

    Spins that turn further hold at most a hundredth of the tolerance of the chunk's weight: the far ends of a
    Lorentzian line.
    """
    if spins.df.dtype != np.float32:
        return False
    flips = np.abs(waveform.area) * abs(amplitude) * float(np.max(spins.b1))
    along = np.abs(waveform.moment).max(axis=0) @ np.abs(np.asarray(spins.position.head)) * 1.01
    turns = float(waveform.dt.max()) * (np.abs(spins.df) + abs(frequency)) + along
    far = float(np.sum(spins.weight[turns > bloch.SHORT_TURN]))
    return bool(flips.max() < bloch.SHORT_FLIP) and far <= 0.01 * tolerance * float(np.sum(spins.weight))


def _sums(values: np.ndarray, group: int) -> np.ndarray:
    return np.add.reduceat(values, np.arange(0, len(values), group))


class Pulse(NamedTuple):
    """A unique pulse on the device."""

    blocks: tuple[bloch.WaveformSteps, ...]
    directions: Float[Array, "directions 3"]  # along which `moment` of the blocks is given
    frequency: Float[Array, ""]  # [Hz]
    slice_normal: Float[Array, " 3"]
    slice_position: Float[Array, ""]  # [m]
    slice_half_width: Float[Array, ""]  # [m]
    band_center: Float[Array, ""]  # [Hz]
    band_half_width: Float[Array, ""]  # [Hz]


def place_pulse(program: Program, row: int, group: int, dtype: np.dtype) -> Pulse:
    """A pulse in the engine's terms.

    Args:
        program: The program.
        row: Of its pulse table.
        group: Intervals between relaxations.
        dtype: Precision of the device.
    """
    pulses = program.pulses
    waveform = program.waveforms[pulses.waveform[row]]
    names = ("frequency", "slice_normal", "slice_position", "slice_half_width", "band_center", "band_half_width")
    columns = [getattr(pulses, name) for name in names]
    blocks = place_waveform(waveform, pulses.amplitude[row], group, dtype)
    placed = Pulse(blocks, directions_of(waveform), *(column[row] for column in columns))
    return jax.tree.map(lambda values: _library(values).asarray(values, dtype), placed)


@jax.jit
def _enter(pulse: Pulse, spins: Spins) -> tuple[Array, Array, Array, Array]:
    """What a pulse begins with: the map that changes nothing; place of the spins along its directions [m]; their
    off-resonance in its frame [Hz]; the transmit field that they see, zero outside slice and band of an ideal pulse.
    """
    position = spins.position.head + spins.position.tail
    x, y, z = position[0], position[1], position[2]
    place = pulse.directions[:, 0, None] * x + pulse.directions[:, 1, None] * y + pulse.directions[:, 2, None] * z
    along = sum(pulse.slice_normal[i] * position[i] for i in range(3)) - pulse.slice_position
    inside = (along >= -pulse.slice_half_width) & (along < pulse.slice_half_width)
    inside &= jnp.abs(spins.df - pulse.band_center) <= pulse.band_half_width
    reach = jnp.where(inside, spins.b1, jnp.zeros_like(spins.b1))
    return bloch.identity_map(reach), place, spins.df - pulse.frequency, reach


_propagate = jax.jit(bloch.propagate, static_argnames="short")


def pulse_propagator(pulse: Pulse, spins: Spins, short: bool) -> Float[Array, "4 3 spins"]:
    """Propagator of a pulse for every spin of a chunk.

    Args:
        pulse: The pulse.
        spins: The chunk.
        short: Whether no interval turns a spin by more than half a cycle; float32 only.
    """
    columns, place, df, reach = _enter(pulse._replace(blocks=()), spins)
    for steps in pulse.blocks:
        columns = _propagate(columns, steps, place, df, reach, spins.r1, spins.r2, short)
    return columns


@jax.jit
def instantaneous_propagator(pulse: Pulse, spins: Spins) -> Float[Array, "4 3 spins"]:
    """Propagator of a pulse of no length: a rotation about an axis in the transverse plane."""
    _, _, _, reach = _enter(pulse._replace(blocks=()), spins)
    first = pulse.blocks[0]
    turn = bloch.rotation(first.rotation_x[0, 0] * reach, first.rotation_y[0, 0] * reach, jnp.zeros_like(reach))
    one, zero = jnp.ones_like(reach), jnp.zeros_like(reach)
    axes = ((one, zero, zero), (zero, one, zero), (zero, zero, one))
    return jnp.stack(
        [*(jnp.stack(bloch.rotate(axis, turn)) for axis in axes), jnp.zeros((3, *reach.shape), reach.dtype)]
    )


def pulse_propagators(
    program: Program, spins: Spins, groups: tuple[int, ...], short: tuple[bool, ...]
) -> Float[Array, "pulses 4 3 spins"]:
    """Propagators of all unique pulses for every spin of a chunk; one row of zeros where there is no pulse."""
    rows = range(len(program.pulses.waveform))
    if not rows:
        return jnp.zeros((1, 4, 3, spins.df.shape[0]), spins.df.dtype)
    dtype = spins.df.dtype
    placed = [place_pulse(program, row, groups[row], dtype) for row in rows]
    return jnp.stack([pulse_propagator(pulse, spins, short[row]) for row, pulse in enumerate(placed)])


@partial(jax.jit, static_argnames="size")
def first_of_runs(spins: Spins, size: int) -> Spins:
    """The first of each run of spins that the encoding cannot tell apart; member j of run i is j · n_runs + i."""
    return jax.tree.map(lambda values: values[..., : values.shape[-1] // size], spins)


@jax.jit
def init(spins: Spins, initial: Float[Array, "spins 3"] | None = None) -> State:
    """Equilibrium, or the magnetisation given."""
    if initial is None:
        zero = jnp.zeros_like(spins.df)
        return jax.lax.complex(zero, zero), jnp.ones_like(spins.df)
    x, y, z = (jnp.asarray(initial[:, i], spins.df.dtype) for i in range(3))
    return jax.lax.complex(x, y), z


def apply_pulse(m: State, step: Steps, propagators: Float[Array, "pulses 4 3 spins"]) -> State:
    """The pulse of a step: into its frame, through its propagator, out again."""
    columns = jax.lax.dynamic_index_in_dim(propagators, step.pulse, keepdims=False)
    turned = m[0] * (step.keep * phasor(step.before))
    came = (turned.real, turned.imag, m[1])
    found = bloch.apply(columns, came)
    if step.echo_only is not None:
        found = jax.lax.cond(step.echo_only, lambda: bloch.mirrored(columns, came, found), lambda: found)
    return jax.lax.complex(found[0], found[1]) * phasor(step.after), found[2]


def precess(m: State, step: Steps, spins: Spins) -> State:
    """The free precession of a step."""
    r1, r2 = spins.r1, spins.r2
    if step.extra is not None:
        r1, r2 = r1 + step.extra.r1[spins.curve], r2 + step.extra.r2[spins.curve]
    return _precessed(m, *bloch.precession(step.duration, step.moment, spins.position, spins.df, r1, r2))


def _precessed(m: State, turn: Complex[Array, " spins"], recovered: Float[Array, " spins"]) -> State:
    return m[0] * turn, m[1] + (1 - m[1]) * recovered


def observe(m: State, step: Steps, spins: Spins, turn: Complex[Array, " spins"] | None = None) -> Array:
    """Weighted transverse magnetisation at the first sample of the step's readout: spins.

    Args:
        m: Magnetisation at the start of the precession.
        step: The step.
        spins: The chunk.
        turn: What the precession up to there does, where it is known.
    """
    if turn is None:
        turn = _observed(step.delay, step.readout_moment, spins)
    scale = None
    if step.extra is not None:
        scale = bloch.decay(step.extra.seen[spins.curve])
    if step.weighting is not None and spins.diffusion is not None:
        weighted = bloch.decay(jnp.sum(step.weighting[:, None] * spins.diffusion, axis=0))
        scale = weighted if scale is None else scale * weighted
    return m[0] * (turn if scale is None else turn * scale)


def _observed(delay: Array, moment: Split, spins: Spins) -> Complex[Array, " spins"]:
    phase = product(moment, spins.position) + spins.df * delay
    return phasor(-phase, bloch.decay(delay * spins.r2) * spins.weight)


def _through_pulse(m: State, step: Steps, propagators: Array) -> State:
    return jax.lax.cond(step.pulse >= 0, lambda m: apply_pulse(m, step, propagators), lambda m: m, m)


class Table(NamedTuple):
    """What the different precessions of a segment do to every spin."""

    turn: Complex[Array, "different spins"] | None
    recovered: Float[Array, "different spins"] | None
    seen: Complex[Array, "observed spins"] | None  # up to the readouts, with weights


@jax.jit
def evolve(
    m: State, steps: Steps, propagators: Float[Array, "pulses 4 3 spins"], spins: Spins
) -> tuple[State, Complex[Array, "steps spins"]]:
    """Run a segment of steps; emit the magnetisation at each readout, zeros elsewhere.

    For a gradient, the state before each step is remembered and the rest of the step is computed again.
    """
    return evolve_rows(m, rows_of(steps), table_of(steps, spins), propagators, spins)


def rows_of(steps: Steps) -> Steps:
    """Steps with nothing that is not one of each; what is shared is a row of the table."""
    shared, seen = (None if part is None else part.which for part in (steps.shared, steps.seen))
    return steps._replace(shared=shared, seen=seen)


def table_of(steps: Steps, spins: Spins) -> Table:
    """What the different precessions of a segment do."""
    turn, recovered, seen = None, None, None
    if steps.shared is not None:

        def one(row: tuple[Array, Split]) -> tuple[Array, Array]:
            return bloch.precession(*row, spins.position, spins.df, spins.r1, spins.r2)

        turn, recovered = jax.lax.map(one, (steps.shared.duration, steps.shared.moment))
    if steps.seen is not None:
        seen = jax.lax.map(lambda row: _observed(row[0], row[1], spins), (steps.seen.duration, steps.seen.moment))
    return Table(turn, recovered, seen)


def evolve_rows(
    m: State, rows: Steps, table: Table, propagators: Float[Array, "pulses 4 3 spins"], spins: Spins
) -> tuple[State, Complex[Array, "steps spins"]]:
    """As `evolve`, for some of a segment's steps, from `rows_of` and `table_of`."""

    def row(part: Array | None, number: Array) -> Array | None:
        return None if part is None else jax.lax.dynamic_index_in_dim(part, number, keepdims=False)

    def body(m, step):
        m = _through_pulse(m, step, propagators)
        emitted = jax.lax.cond(
            step.readout,
            lambda m: observe(m, step, spins, row(table.seen, step.seen)),
            lambda m: jnp.zeros_like(m[0]),
            m,
        )
        if table.turn is None:
            return precess(m, step, spins), emitted
        return _precessed(m, row(table.turn, step.shared), row(table.recovered, step.shared)), emitted

    return jax.lax.scan(jax.checkpoint(body, prevent_cse=False), m, rows)


@jax.jit
def follow(
    m: State, steps: Steps, propagators: Float[Array, "pulses 4 3 spins"], spins: Spins
) -> tuple[State, Float[Array, "steps 3 spins"]]:
    """Run a segment of steps; emit the magnetisation at the start of each, before its pulse."""

    def body(m, step):
        after = _through_pulse(m, step, propagators)
        return precess(after, step, spins), jnp.stack([m[0].real, m[0].imag, m[1]])

    return jax.lax.scan(body, m, steps)
