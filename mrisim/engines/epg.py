"""Engine `epg`: a phase graph. Configuration states with real k-vectors, run for all kinds of sites at once.

What happens to labels is the same for all sites (`epg_walk`); here the states themselves go through the steps, as
arrays (states, kinds of sites). Observed states leave with their label; the encoding adds the shape of the sites.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mrisim._types import Array, Bool, Complex, Float, Int
from mrisim.data import Phantom
from mrisim.engines import bloch
from mrisim.engines.epg_graph import Passage, Probe
from mrisim.engines.epg_walk import Graph, Station, Turns
from mrisim.physics.bloch import decay
from mrisim.physics.phase import Split, cycles, phasor, sinc, split
from mrisim.physics.phase_graph import StateMap, Triple, mix, turned
from mrisim.program import Program

_SEGMENT = 256  # steps of one compiled call


class Kinds(NamedTuple):
    """Kinds of sites on the device."""

    r1: Float[Array, " kinds"]  # [1/s]
    r2: Float[Array, " kinds"]  # [1/s]
    df: Float[Array, " kinds"]  # [Hz]; zero where labels hold off-resonance
    initial: Float[Array, "3 kinds"]
    diffusion: Float[Array, "components kinds"] | None  # [m²/s]; None where nothing diffuses
    curve: Int[Array, " kinds"] | None = None  # row of the rates of `bloch.Extra`; None where tissue does not change
    place: Split | None = None  # (kinds,) of layers that are seen as a whole, along the cut [m]
    thick: Float[Array, " kinds"] | None = None  # of these layers [m]


class Segment(NamedTuple):
    """A run of steps on the device."""

    pulse: Int[Array, " steps"]  # row of the maps, -1 for none
    before: Complex[Array, " steps"]
    after: Complex[Array, " steps"]
    keep: Float[Array, " steps"]
    duration: Float[Array, " steps"]
    readout: Bool[Array, " steps"]
    delay: Float[Array, " steps"]
    f: Int[Array, "steps states sources"]
    g: Int[Array, "steps states sources"]
    z: Int[Array, "steps states sources"]
    observed: Int[Array, "steps rows"]
    weighting: tuple[Float[Array, "steps states components"], ...] | None  # b of F, conj G, Z and what is observed
    extra: bloch.Extra | None = None  # what a contrast agent adds in each step
    along: Split | None = None  # (steps, rows) label of what is observed along the cut, where layers are seen [1/m]


def probe_of(spins: Phantom, timed: bool, initial: Float[np.ndarray, "sites 3"]) -> Probe:
    """Representative sites at their start."""
    df = 0.0 if timed else 2j * np.pi * np.asarray(spins.df)
    return Probe(
        r1=1 / np.asarray(spins.t1),
        r2=1 / np.asarray(spins.t2) + df,
        initial=initial.T,
        diffusion=np.asarray(spins.diffusion).T,
        curve=np.asarray(spins.curve),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Layers:
    """Kinds that are layers of boxes, each seen as a whole."""

    cut: Float[np.ndarray, " 3"]  # direction that boxes are cut along
    thick: Float[np.ndarray, " kinds"]  # [m]


def place_kinds(
    spins: Phantom, initial: Float[np.ndarray, "kinds 3"], timed: bool, diffuse: bool, changes: bool, dtype: np.dtype,
    layers: Layers | None = None,
) -> Kinds:  # fmt: skip
    """Kinds of sites on the device."""
    df = np.zeros(spins.n_spins) if timed else np.asarray(spins.df)
    return Kinds(
        r1=jnp.asarray(1 / np.asarray(spins.t1), dtype),
        r2=jnp.asarray(1 / np.asarray(spins.t2), dtype),
        df=jnp.asarray(df, dtype),
        initial=jnp.asarray(initial.T, dtype),
        diffusion=jnp.asarray(np.asarray(spins.diffusion).T, dtype) if diffuse else None,
        curve=jnp.asarray(np.asarray(spins.curve), jnp.int32) if changes else None,
        place=None
        if layers is None
        else jax.tree.map(jnp.asarray, split(np.asarray(spins.position) @ layers.cut, dtype)),
        thick=None if layers is None else jnp.asarray(layers.thick, dtype),
    )


def turns_of(
    program: Program, maps: StateMap, into: Float[np.ndarray, "pulses 4"], out: Float[np.ndarray, "pulses 4"]
) -> Turns:
    """What the walk needs of the pulses."""
    steps = bloch.place_steps(program.steps, program.pulses, False, np.dtype(np.float64))
    return Turns(maps=maps, into=into, out=out, before=np.asarray(steps.before), after=np.asarray(steps.after))


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A graph in compiled pieces."""

    segments: tuple[Segment, ...]
    rows: tuple[tuple[np.ndarray, np.ndarray], ...]  # per segment: step and place of each observed state


def prepare(
    program: Program, graph: Graph, turns: Turns, spoil: bool, dtype: np.dtype, extra: bloch.Extra | None = None,
    cut: Float[np.ndarray, " 3"] | None = None,
) -> Run:  # fmt: skip
    """Cut a graph into segments of one number of steps and place them; with a cut, layers across it are seen."""
    segments, rows = [], []
    n = program.n_steps
    length = min(_SEGMENT, -(-n // 32) * 32)
    for start in range(0, n, length):
        stations = graph.stations[start : start + length]
        segment = _segment(program, stations, turns, spoil, dtype, start, length)
        along = None if cut is None else _along(stations, cut, segment.observed.shape, dtype)
        segments.append(segment._replace(extra=_extra_of(extra, start, length, dtype), along=along))
        counts = [len(station.observed) if cut is None else min(1, len(station.observed)) for station in stations]
        step = np.repeat(np.arange(len(stations)), counts)
        rows.append((step, np.concatenate([np.arange(c) for c in counts]) if counts else step))
    return Run(segments=tuple(segments), rows=tuple(rows))


def _bucket(n: int) -> int:
    """Sizes that arrays are filled up to, so that few programs are compiled: 8, 12, 16, 24, 32, …"""
    size = 8
    while size < n:
        size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return size


def _segment(
    program: Program, stations: tuple[Station, ...], turns: Turns, spoil: bool, dtype: np.dtype, start: int, length: int
) -> Segment:
    steps, part = program.steps, slice(start, start + len(stations))
    kind, n = np.result_type(dtype, np.complex64), len(stations)

    def column(values: np.ndarray, fill: float = 0.0, to: np.dtype = dtype) -> np.ndarray:
        return np.concatenate([values, np.full(length - n, fill)]).astype(to)

    f, g, z, size = _passages(stations, length)
    n_rows = _bucket(max(1, *(len(station.observed) for station in stations)))
    observed = np.full((length, n_rows), 2 * size, np.int32)
    old = _sizes(stations)
    for i, station in enumerate(stations):
        rows = station.observed
        observed[i, : len(rows)] = np.where(rows < old[i], rows, rows - old[i] + size)
    return Segment(
        pulse=column(steps.pulse[part], -1, np.dtype(np.int32)),
        before=column(np.exp(2j * np.pi * turns.before[part]), 1.0, kind),
        after=column(np.exp(2j * np.pi * turns.after[part]), 1.0, kind),
        keep=column(1.0 - steps.excitation[part] * float(spoil), 1.0),
        duration=column(steps.duration[part]),
        readout=column(np.array([len(s.observed) > 0 for s in stations]), 0.0, np.dtype(bool)),
        delay=column(steps.readout_delay[part]),
        f=f, g=g, z=z, observed=observed, weighting=_weighting(stations, length, size, n_rows, dtype),
    )  # fmt: skip


def _extra_of(extra: bloch.Extra | None, start: int, length: int, dtype: np.dtype) -> bloch.Extra | None:
    """Rates of a segment's steps, none for those that fill it up."""
    if extra is None:
        return None
    parts = (np.asarray(part)[start : start + length] for part in extra)
    return bloch.Extra(*(np.pad(part, ((0, length - len(part)), (0, 0))).astype(dtype) for part in parts))


def _along(
    stations: tuple[Station, ...], cut: Float[np.ndarray, " 3"], shape: tuple[int, ...], dtype: np.dtype
) -> Split:
    """Labels of what is observed, along a cut."""
    table = np.zeros(shape)
    for i, station in enumerate(stations):
        table[i, : len(station.observed)] = station.observed_labels[:, :3] @ cut
    return split(table, dtype)


def _weighting(
    stations: tuple[Station, ...], length: int, size: int, n_rows: int, dtype: np.dtype
) -> tuple[np.ndarray, ...] | None:
    """Tables of b, filled up to the same size everywhere."""
    if stations[0].weighting is None:
        return None
    n = stations[0].weighting.f.shape[1]
    tables = [np.zeros((length, rows, n), dtype) for rows in (size, size, size, n_rows)]
    for i, station in enumerate(stations):
        if station.weighting is not None:
            one = station.weighting
            for table, values in zip(tables, (one.f, one.g, one.z, one.seen), strict=True):
                table[i, : len(values)] = values
    return tuple(tables)


def _sizes(stations: tuple[Station, ...]) -> list[int]:
    """Number of states during each step."""
    return [station.after for station in stations]


def _passages(stations: tuple[Station, ...], length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Tables of sources, filled up to the same size everywhere."""
    passages = [station.passage for station in stations]
    met = [p for p in passages if p is not None]
    before = [station.before for station in stations]
    size = _bucket(max(max(before, default=1), max(_sizes(stations), default=1)))
    sources = max((t.shape[1] for p in met for t in (p.f, p.g, p.z)), default=1)
    tables = [np.full((length, size, sources), nothing, np.int32) for nothing in (2 * size, 2 * size, size)]
    for i, passage in enumerate(passages):
        if passage is not None:
            _fill(tables, i, passage, before[i], size)
    f, g, z = tables
    return f, g, z, size


def _fill(tables: list[np.ndarray], i: int, passage: Passage, old: int, size: int) -> None:
    for table, sources, transverse in zip(tables, (passage.f, passage.g, passage.z), (True, True, False), strict=True):
        rows, columns = sources.shape
        if transverse:
            moved = np.where(sources < old, sources, np.where(sources < 2 * old, sources - old + size, 2 * size))
        else:
            moved = np.where(sources < old, sources, size)
        table[i, :rows, :columns] = moved


def _gathered(values: Complex[Array, "rows kinds"], sources: Int[Array, "states sources"]) -> Array:
    parts = [jnp.take(values, sources[:, j], axis=0, mode="clip") for j in range(sources.shape[1])]
    return sum(parts[1:], parts[0])


def _sources(states: Triple) -> tuple[Array, Array]:
    """[F; conj G; 0] and [Z; 0]."""
    f, g, z = states
    nothing = jnp.zeros((1, f.shape[1]), f.dtype)
    return jnp.concatenate([f, g.conj(), nothing]), jnp.concatenate([z, nothing])


def apply_pulse(states: Triple, step: Segment, maps: StateMap) -> Triple:
    """The pulse of a step."""
    transverse, longitudinal = _sources(states)
    transverse = transverse * step.keep
    pulse = StateMap(*(jax.lax.dynamic_index_in_dim(part, step.pulse, keepdims=False) for part in maps))
    found = (
        _gathered(transverse, step.f),
        _gathered(transverse, step.g).conj(),
        _gathered(longitudinal, step.z),
    )
    return mix(turned(pulse, step.before, step.after), found)


def precess(states: Triple, step: Segment, kinds: Kinds) -> Triple:
    """Free precession: labels move, states decay."""
    tau, (f, g, z) = step.duration, states
    if step.weighting is not None:
        f, g, z = (part * _diffused(b, kinds) for part, b in zip((f, g, z), step.weighting[:3], strict=True))
    factor, r1 = _transverse_factor(tau, kinds, f.dtype), kinds.r1
    if step.extra is not None:
        r1 = r1 + step.extra.r1[kinds.curve]
        factor = factor * decay(tau * step.extra.r2[kinds.curve])
    first = (jnp.arange(z.shape[0]) == 0)[:, None]
    recovery = -jnp.expm1(-tau * r1) * first
    return f * factor, g * factor.conj(), z * decay(tau * r1) + recovery


def _diffused(b: Float[Array, "states components"], kinds: Kinds) -> Float[Array, "states kinds"]:
    return jnp.exp(-jnp.matmul(b, kinds.diffusion, precision=jax.lax.Precision.HIGHEST))


def _transverse_factor(tau: Array, kinds: Kinds, dtype: np.dtype) -> Complex[Array, " kinds"]:
    turns = kinds.df * tau
    angle = -2 * jnp.pi * (turns - jnp.round(turns))
    return (decay(tau * kinds.r2) * (jnp.cos(angle) + 1j * jnp.sin(angle))).astype(dtype)


def observe(states: Triple, step: Segment, kinds: Kinds) -> Complex[Array, "rows kinds"]:
    """Observed states at the first sample."""
    transverse, _ = _sources(states)
    found = _gathered(transverse, step.observed[:, None])
    if step.weighting is not None:
        found = found * _diffused(step.weighting[3], kinds)
    if step.extra is not None:
        found = found * decay(step.extra.seen[kinds.curve])
    found = found * _transverse_factor(step.delay, kinds, transverse.dtype)
    return found if step.along is None else _through(found, step.along, kinds)


def _through(found: Complex[Array, "rows kinds"], along: Split, kinds: Kinds) -> Complex[Array, "1 kinds"]:
    """Mean transverse magnetisation of each layer: the sum of what its states leave of themselves."""
    assert kinds.place is not None
    assert kinds.thick is not None
    k = Split(along.head[:, None], along.tail[:, None])
    seen = phasor(-cycles(k, kinds.place), sinc((k.head + k.tail) * kinds.thick))
    return (found * seen).sum(axis=0, keepdims=True)


@jax.jit
def evolve(
    states: Triple, segment: Segment, maps: StateMap, kinds: Kinds
) -> tuple[Triple, Complex[Array, "steps rows kinds"]]:
    """Run a segment; emit what readouts look for."""

    def body(states: Triple, step: Segment):
        states = jax.lax.cond(step.pulse >= 0, lambda s: apply_pulse(s, step, maps), lambda s: s, states)
        rows = step.observed.shape[0] if step.along is None else 1
        nothing = jnp.zeros((rows, states[0].shape[1]), states[0].dtype)
        seen = jax.lax.cond(step.readout, lambda s: observe(s, step, kinds), lambda s: nothing, states)
        return precess(states, step, kinds), seen

    return jax.lax.scan(body, states, segment)


@partial(jax.jit, static_argnames="size")
def _resized(states: Triple, size: int) -> Triple:
    """States with rows of zeros added, or those at the end left out."""
    missing = size - states[0].shape[0]
    if missing <= 0:
        return tuple(part[:size] for part in states)  # type: ignore[return-value]
    return tuple(jnp.pad(part, ((0, missing), (0, 0))) for part in states)  # type: ignore[return-value]


def init(kinds: Kinds) -> Triple:
    """One state: the magnetisation that each kind starts from."""
    x, y, z = kinds.initial
    return (x + 1j * y)[None], (x - 1j * y)[None], (z + 0j)[None]


def run(run: Run, maps: StateMap, kinds: Kinds) -> Iterator[Complex[np.ndarray, "rows kinds"]]:
    """Observed states, segment by segment."""
    states = init(kinds)
    for segment, (step, place) in zip(run.segments, run.rows, strict=True):
        states = _resized(states, segment.f.shape[1])
        states, seen = evolve(states, segment, maps, kinds)
        yield np.asarray(seen)[step, place]
