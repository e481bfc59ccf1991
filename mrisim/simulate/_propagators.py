"""Propagators of pulses for a chunk of spins: each made once, and shared by spins that the pulse cannot tell apart.

A pulse sees of a spin where it lies along the gradients meanwhile, its off-resonance, transmit field and relaxation.
In a slice of a few tissues that makes hundreds of different spins in a phantom of hundreds of thousands.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from mrisim._types import Array, Float, Int
from mrisim.data import Phantom
from mrisim.encoding.grouping import Seen, alike
from mrisim.engines import bloch
from mrisim.program import Program, Waveform
from mrisim.simulate._store import STORE, pulse_key, spins_key

_WORTH = 0.5  # of the spins that may be different for sharing to pay
_SHARE = 0.5  # of the tolerance; the rest is left to the other shortcuts
_FEW = 4  # excitations whose signals overlap where nothing spoils them


@dataclass(frozen=True, kw_only=True, eq=False)
class Pulse:
    """A unique pulse, ready for any chunk."""

    waveform: Waveform
    amplitude: float  # [Hz]
    frequency: float  # [Hz]
    placed: bloch.Pulse
    key: tuple[Hashable, ...]  # what its propagators are stored by
    table: Float[Array, "12 kinds"] | None  # of each kind of spin; None where spins are all different
    kind: Int[np.ndarray, " spins"] | None  # of each spin

    @property
    def instantaneous(self) -> bool:
        return len(self.waveform.dt) == 1 and float(self.waveform.dt[0]) == 0.0


def prepare_pulses(
    program: Program, phantom: Phantom, tolerance: float, dtype: np.dtype, size: int
) -> tuple[Pulse, ...]:
    """Pulses of a program for a phantom.

    Args:
        program: The program.
        phantom: All spins, in the order in which chunks are cut from them.
        tolerance: As in `simulate`.
        dtype: Precision of the device.
        size: Spins of a chunk.
    """
    groups = relaxation_groups(program, phantom, tolerance)
    kinds = [_kinds(program, waveform, phantom, tolerance) for waveform in range(len(program.waveforms))]
    made = []
    for row, (waveform, amplitude, frequency) in enumerate(_played(program)):
        pulse = Pulse(
            waveform=waveform,
            amplitude=amplitude,
            frequency=frequency,
            placed=bloch.place_pulse(program, row, groups[row], dtype),
            key=(pulse_key(program, row), groups[row], str(dtype)),
            table=None,
            kind=None,
        )
        shared = kinds[program.pulses.waveform[row]]
        if shared is not None:
            first, kind = shared
            table = _table(pulse, phantom.take(first), tolerance, dtype, size)
            pulse = replace(pulse, table=table, kind=kind)
        made.append(pulse)
    return tuple(made)


def relaxation_groups(program: Program, phantom: Phantom, tolerance: float) -> tuple[int, ...]:
    """Intervals of each pulse between two relaxations that keep the tolerance.

    For the root mean square of 1 / T2, because short T2 make most of the error; errors of the pulses of a train add up.
    """
    if all(float(waveform.dt.sum()) == 0.0 for waveform in program.waveforms):
        return (1,) * len(program.pulses.waveform)
    weight = np.asarray(phantom.weight) * np.asarray(phantom.pd)
    rate = float(np.sqrt(np.average(np.asarray(phantom.t2) ** -2.0, weights=weight))) if weight.sum() > 0 else 0.0
    share = _SHARE * tolerance / _trains_length(program)
    return tuple(bloch.relaxation_group(w, amplitude, rate, share) for w, amplitude, _ in _played(program))


def _trains_length(program: Program) -> float:
    """Pulses whose errors meet in one readout: those of a train, or a few where each excites."""
    played = int(np.sum(np.asarray(program.steps.pulse) >= 0))
    excitations = max(1, int(np.sum(np.asarray(program.steps.excitation) > 0)))
    return min(max(1, played), max(_FEW, played / excitations))


def chunk_propagators(
    pulses: tuple[Pulse, ...],
    chunk: Phantom,
    rows: Int[np.ndarray, " spins"],
    placed: bloch.Spins,
    spins: bloch.Spins,
    tolerance: float,
) -> Float[Array, "pulses 4 3 spins"]:
    """Propagators of all pulses for a chunk.

    Args:
        pulses: From `prepare_pulses`.
        chunk: The spins.
        rows: Their places among all spins.
        placed: The chunk in the engine's terms, on the host.
        spins: The same on the device.
        tolerance: As in `simulate`.
    """
    n = len(chunk.weight)
    if not pulses:
        return jnp.zeros((1, 4, 3, n), placed.df.dtype)
    own = spins_key(chunk) if any(pulse.table is None and not pulse.instantaneous for pulse in pulses) else ""
    columns = [
        _own(pulse, placed, spins, own, tolerance)
        if pulse.table is None or pulse.kind is None
        else _pick(pulse.table, pulse.kind[rows])
        for pulse in pulses
    ]
    return _stack(columns)


def _played(program: Program) -> Iterator[tuple[Waveform, float, float]]:
    """Waveform, amplitude and frequency of each unique pulse."""
    pulses = program.pulses
    for waveform, amplitude, frequency in zip(pulses.waveform, pulses.amplitude, pulses.frequency, strict=True):
        yield program.waveforms[waveform], float(amplitude), float(frequency)


def _kinds(
    program: Program, index: int, phantom: Phantom, tolerance: float
) -> tuple[Int[np.ndarray, " kinds"], Int[np.ndarray, " spins"]] | None:
    """First spin of each kind that a waveform tells apart, and the kind of each; None where sharing does not pay."""
    waveform, pulses = program.waveforms[index], program.pulses
    longest = float(waveform.dt.sum())
    if longest == 0.0:  # instantaneous: quicker made than looked up
        return None
    played = [row for row, chosen in enumerate(pulses.waveform) if chosen == index]
    seen = Seen(
        k=np.cumsum(waveform.moment, axis=0),
        longest=longest,
        flip=max(float(np.abs(waveform.area * pulses.amplitude[row]).sum()) for row in played),
    )
    return alike(seen, phantom, tolerance, most=_WORTH)


def _table(pulse: Pulse, kinds: Phantom, tolerance: float, dtype: np.dtype, size: int) -> Float[Array, "12 kinds"]:
    """Propagators of all kinds of spins, chunk by chunk."""
    n, parts = len(kinds.weight), []
    for start in range(0, n, size):
        chunk = kinds.take(np.minimum(np.arange(start, start + size), n - 1))
        placed = bloch.place_spins(chunk, dtype)
        parts.append(_own(pulse, placed, jax.device_put(placed), spins_key(chunk), tolerance).reshape(12, -1))
    return jnp.concatenate(parts, axis=1)


def _own(
    pulse: Pulse, placed: bloch.Spins, spins: bloch.Spins, spins_of: str, tolerance: float
) -> Float[Array, "4 3 spins"]:
    """Propagators of a chunk's own spins, from the store where an earlier run left them."""
    if pulse.instantaneous:  # quicker made than looked up
        return bloch.instantaneous_propagator(pulse.placed, spins)
    short = bloch.is_short(pulse.waveform, pulse.amplitude, pulse.frequency, placed, tolerance)
    key = (spins_of, *pulse.key, short, str(spins.df.device))
    return STORE.get(key, partial(bloch.pulse_propagator, pulse.placed, spins, short))


_stack = jax.jit(jnp.stack)


@jax.jit
def _pick(table: Float[Array, "12 kinds"], kind: Int[Array, " spins"]) -> Float[Array, "4 3 spins"]:
    return jnp.take(table, kind, axis=1, mode="clip").reshape(4, 3, -1)
