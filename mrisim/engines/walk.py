"""Engine `walk`: one magnetisation vector per walker, and a place that moves.

Between two events the phase of a walker is the trapezoidal rule over its steps, ∫ g · x dt ≈ Σ q (x + x') / 2 with the
moment q of each step: of second order in the step, and exact where the walker stands still. Places are taken relative
to the walker's isochromat, whose own phase k · r is exact.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mrisim._types import Array, Complex, Float, Int
from mrisim.engines.walk_moves import Turn, Vector, Walkers, Walls, move_alone, move_shared, pick
from mrisim.engines.walk_steps import Words, next_bits, normal_steps, threefry, uniform
from mrisim.physics import bloch
from mrisim.physics.phase import Split, product

NOTHING, PRECESS, PULSE, SAMPLE = range(4)
ALONE = ("free", "tensor", "planes", "cylinder", "sphere")


class Spins(NamedTuple):
    """What a walker keeps: its number, and what its isochromat gives it."""

    number: Int[Array, " walkers"]  # unsigned
    place: Split  # (3, walkers): of the isochromat, physical axes [m]
    step: Float[
        Array, " walkers"
    ]  # square root of 2 D, or rows of its matrix (9, walkers); in a single medium [m / sqrt(s)]
    df: Float[Array, " walkers"]  # [Hz]
    b1: Float[Array, " walkers"]
    r1: Float[Array, " walkers"]  # what the medium's own adds to [1/s]
    r2: Float[Array, " walkers"]
    real: Float[Array, "coils walkers"]  # weight in the signal, sensitivity included
    imag: Float[Array, "coils walkers"]


class Moves(NamedTuple):
    """Steps of the walk."""

    weight: Float[Array, "moves 3"]  # of the place before the step in the phase, along the geometry's axes [1/m]
    root: Float[Array, " moves"]  # square root of the length [sqrt(s)]


class Events(NamedTuple):
    """What happens after some steps: nothing, precession is brought to account, an interval of a pulse, a sample."""

    kind: Int[Array, " events"]
    first: Int[Array, " events"]  # step
    count: Int[Array, " events"]
    last: Float[Array, "events 3"]  # weight of the last place [1/m]
    moment: Split  # (events, 3): since precession was last brought to account, physical axes [1/m]
    time: Float[Array, " events"]  # likewise [s]
    rotation: Float[Array, "events 2"]  # by the transmit field, real and imaginary [cycles]
    offset: Float[Array, " events"]  # by the pulse's frequency [cycles]
    before: Float[Array, " events"]  # turn into the pulse's frame [cycles]
    after: Float[Array, " events"]  # turn out of it [cycles]
    keep: Float[Array, " events"]  # factor on transverse magnetisation before the pulse
    normal: Float[Array, "events 3"]  # of the slice of an ideal pulse; zero where there is none
    middle: Float[Array, " events"]  # [m]
    reach: Float[Array, " events"]  # half the thickness [m]
    band: Float[Array, "events 2"]  # off-resonance that an ideal pulse turns: middle and half the width [Hz]


class State(NamedTuple):
    """All that changes."""

    at: Walkers
    m: Vector
    phase: Float[Array, " walkers"]  # of the walk, since precession was last brought to account [cycles]
    decay: tuple[Array, Array] | None  # ∫ R1 dt and ∫ R2 dt of the media since then, where media differ


class Keys(NamedTuple):
    """Of the generator: for steps and for membranes."""

    steps: Words
    membranes: Words


def init(spins: Spins, at: Walkers, initial: Float[Array, "walkers 3"] | None, shared: bool) -> State:
    """Equilibrium or the magnetisation given, at the places given."""
    zero = jnp.zeros_like(spins.df)
    m = (zero, zero, zero + 1) if initial is None else tuple(initial[:, i].astype(zero.dtype) for i in range(3))
    return State(at, m, zero, (zero, zero) if shared else None)  # type: ignore[arg-type]


def _walk(kind: str, walls: Walls, spins: Spins, keys: Keys, moves: Moves, state: State, bits: Words, i, base):
    """One step of all walkers; `bits` are those of this step, and those of the next are made on the side."""
    dtype = spins.df.dtype
    x, w, root = state.at.x, moves.weight[i], moves.root[i]
    phase = state.phase + w[0] * x[0] + w[1] * x[1] + w[2] * x[2]
    steps = normal_steps(bits, dtype)
    following = next_bits(keys.steps, spins.number, base + i.astype(np.uint32) + np.uint32(1))
    if kind in ALONE:
        d = _displacement(kind, spins.step, steps, root)
        return state._replace(at=move_alone(kind, walls, state.at, d), phase=phase), following
    number = (spins.number, jnp.broadcast_to(base + i.astype(np.uint32), spins.number.shape))
    words = threefry(keys.membranes, number)
    chances = (words[0], words[1], words[0] ^ (words[1] << np.uint32(16)))
    turn = Turn(steps, root, lambda axis: uniform(chances[axis], dtype))
    at, half = move_shared(kind, walls, state.at, turn), 0.5 * root * root
    zero = jnp.zeros_like(phase)
    decay = tuple(
        e + half * (pick(r, state.at.medium) + pick(r, at.medium))
        for e, r in zip(state.decay or (zero, zero), (walls.r1, walls.r2), strict=True)
    )
    return State(at, state.m, phase, decay), following  # type: ignore[arg-type]


def _displacement(kind: str, length: Array, steps: Vector, root: Array) -> Vector:
    if kind != "tensor":
        each = length * root
        return each * steps[0], each * steps[1], each * steps[2]
    rows = [sum(length[3 * i + j] * steps[j] for j in range(3)) * root for i in range(3)]
    return rows[0], rows[1], rows[2]  # type: ignore[return-value]


def _exponents(state: State, event: Events, spins: Spins) -> tuple[Array, Array]:
    e1, e2 = event.time * spins.r1, event.time * spins.r2
    return (e1, e2) if state.decay is None else (e1 + state.decay[0], e2 + state.decay[1])


def _relaxed(m: Vector, e1: Array, e2: Array) -> Vector:
    transverse = bloch.decay(e2)
    return m[0] * transverse, m[1] * transverse, m[2] * bloch.decay(e1) - jnp.expm1(-e1)


def _phase(state: State, event: Events, spins: Spins) -> Array:
    offset = spins.df * event.time
    return state.phase + product(event.moment, spins.place) + offset - jnp.round(offset)


def _settled(state: State, m: Vector) -> State:
    zero = jnp.zeros_like(state.phase)
    return State(state.at, m, zero, None if state.decay is None else (zero, zero))


def _precess(state: State, event: Events, spins: Spins) -> State:
    m = bloch.turn(_relaxed(state.m, *_exponents(state, event, spins)), -_phase(state, event, spins))
    return _settled(state, m)


def _pulse(state: State, event: Events, spins: Spins) -> State:
    """An interval of constant field; relaxation acts half before and half after it."""
    place = spins.place.head + spins.place.tail
    along = sum(event.normal[i] * place[i] for i in range(3)) - event.middle
    inside = (along >= -event.reach) & (along < event.reach)
    inside &= jnp.abs(spins.df - event.band[0]) <= event.band[1]
    b1 = jnp.where(inside, spins.b1, 0.0)
    k = event.moment.head + event.moment.tail
    turn = state.phase + sum(k[i] * place[i] for i in range(3)) + spins.df * event.time - event.offset
    e1, e2 = _exponents(state, event, spins)
    m = (state.m[0] * event.keep, state.m[1] * event.keep, state.m[2])
    m = _relaxed(bloch.turn(m, event.before), 0.5 * e1, 0.5 * e2)
    m = bloch.rotate(m, bloch.rotation(event.rotation[0] * b1, event.rotation[1] * b1, turn))
    return _settled(state, bloch.turn(_relaxed(m, 0.5 * e1, 0.5 * e2), event.after))


def observe(state: State, event: Events, spins: Spins, batches: int) -> Float[Array, "coils batches 2"]:
    """Sums of the weighted transverse magnetisation, real and imaginary part, over each batch of walkers."""
    _, e2 = _exponents(state, event, spins)
    decay = bloch.decay(e2)
    x, y, _ = bloch.turn((state.m[0] * decay, state.m[1] * decay, state.m[2]), -_phase(state, event, spins))
    both = jnp.stack([spins.real * x - spins.imag * y, spins.real * y + spins.imag * x], axis=-1)
    return both.reshape(both.shape[0], batches, -1, 2).sum(axis=2)


def _happen(state: State, event: Events, spins: Spins) -> State:
    actions = (lambda s: s, lambda s: _precess(s, event, spins), lambda s: _pulse(s, event, spins), lambda s: s)
    return jax.lax.switch(event.kind, actions, state)


@partial(jax.jit, static_argnames=("kind", "batches"))
def evolve(
    state: State, spins: Spins, walls: Walls, keys: Keys, moves: Moves, events: Events, base: Array, kind: str,
    batches: int,
) -> tuple[State, Float[Array, "events coils batches 2"]]:  # fmt: skip
    """Run some events; sums of each batch at samples, zeros elsewhere.

    Args:
        state: Where walkers are, and their magnetisation.
        spins: What they keep.
        walls: The geometry.
        keys: Of the generator.
        moves: Steps before and between the events.
        events: The events.
        base: Number of the first of these steps in the whole walk, unsigned.
        kind: Of the geometry.
        batches: Groups of consecutive walkers that are summed apart.
    """
    n_coils = spins.real.shape[0]

    def body(carry, event):
        def step(i, now):
            state, bits = now
            return _walk(kind, walls, spins, keys, moves, state, bits, i, base)

        state, bits = jax.lax.fori_loop(event.first, event.first + event.count, step, carry)
        x, w = state.at.x, event.last
        state = state._replace(phase=state.phase + w[0] * x[0] + w[1] * x[1] + w[2] * x[2])
        emitted = jax.lax.cond(
            event.kind == SAMPLE,
            lambda s: observe(s, event, spins, batches),
            lambda s: jnp.zeros((n_coils, batches, 2), s.phase.dtype),
            state,
        )
        return (_happen(state, event, spins), bits), emitted

    (state, _), emitted = jax.lax.scan(body, (state, next_bits(keys.steps, spins.number, base)), events)
    return state, emitted


def joined(emitted: Float[Array, "events coils batches 2"]) -> Complex[np.ndarray, "events coils batches"]:
    """Sums of batches as complex numbers on the host."""
    values = np.asarray(emitted).astype(float)
    return values[..., 0] + 1j * values[..., 1]
