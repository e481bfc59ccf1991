"""What the pulses of a program do to the states of each kind of site, at their centers.

A train that scales one shape is followed at a few amplitudes only: between these the maps are polynomials.
"""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from mrisim._types import Float, Int
from mrisim.data import Phantom
from mrisim.engines import bloch
from mrisim.physics.chebyshev import chebyshev_points, chebyshev_weights
from mrisim.physics.phase_graph import StateMap, state_map, turned
from mrisim.program import Program

_ERROR = 0.1  # of the rounding of the dtype: what interpolation may add
_ELLIPSES = np.geomspace(1.05, 200.0, 200)
_MOST_NODES = 400


def pulse_turns(program: Program, timed: bool) -> tuple[Float[np.ndarray, "pulses 4"], Float[np.ndarray, "pulses 4"]]:
    """What precession within each pulse adds to labels: up to its center, and from there on."""
    pulses = program.pulses
    into, out = np.zeros((len(pulses.waveform), 4)), np.zeros((len(pulses.waveform), 4))
    for row, index in enumerate(pulses.waveform):
        waveform = program.waveforms[index]
        time = np.concatenate([[0.0], np.cumsum(waveform.dt)])
        moment = np.concatenate([np.zeros((1, 3)), np.cumsum(waveform.moment, axis=0)])
        center = float(np.clip(pulses.center[row], 0.0, time[-1]))
        middle = (
            np.array([np.interp(center, time, moment[:, axis]) for axis in range(3)]) if time[-1] > 0 else moment[0]
        )
        into[row] = np.append(middle, center if timed else 0.0)
        out[row] = np.append(moment[-1] - middle, time[-1] - center if timed else 0.0)
    if not any(w.dt.sum() > 0 for w in program.waveforms):
        return 0.0 * into, 0.0 * out
    return into, out


def pulse_maps(
    program: Program, spins: Phantom, into: Float[np.ndarray, "pulses 4"], out: Float[np.ndarray, "pulses 4"],
    dtype: np.dtype,
) -> StateMap:  # fmt: skip
    """What each pulse does at its center to the states of each site (pulses, sites).

    The precession that labels account for is taken out of the pulse's propagator.
    """
    n = len(program.pulses.waveform)
    kind = np.result_type(dtype, np.complex64)
    maps = StateMap(*(np.zeros((max(n, 1), spins.n_spins), kind) for _ in StateMap._fields))
    placed = jax.tree.map(jnp.asarray, bloch.place_spins(spins, dtype))
    phase = np.concatenate([np.asarray(spins.position), np.asarray(spins.df)[:, None]], axis=1)
    for rows in _scaled_alike(program):
        amplitudes = np.asarray(program.pulses.amplitude)[rows]
        nodes = _nodes(program, int(rows[0]), amplitudes, float(np.max(spins.b1, initial=0.0)), dtype)
        leave, enter = (np.exp(2j * np.pi * (phase @ part[rows[0]])) for part in (out, into))
        found = turned(_followed(program, int(rows[0]), nodes, placed, dtype), enter, leave)
        weights = _between(nodes, amplitudes)
        for part, values in zip(maps, found, strict=True):
            part[rows] = weights @ values
    return maps


def _scaled_alike(program: Program) -> list[Int[np.ndarray, " rows"]]:
    """Pulses that differ in amplitude alone."""
    pulses = program.pulses
    names = ("frequency", "center", "slice_position", "slice_half_width", "band_center", "band_half_width")
    columns = [np.asarray(pulses.waveform, float), *(np.asarray(getattr(pulses, name), float) for name in names)]
    columns += [*np.asarray(pulses.slice_normal, float).reshape(-1, 3).T]
    if not len(columns[0]):
        return []
    _, group = np.unique(np.column_stack(columns), axis=0, return_inverse=True)
    return [np.flatnonzero(group.reshape(-1) == i) for i in range(int(group.max()) + 1)]


def _nodes(
    program: Program, row: int, amplitudes: Float[np.ndarray, " pulses"], b1: float, dtype: np.dtype
) -> Float[np.ndarray, " nodes"]:
    """Amplitudes at which a shape is followed [Hz]: Chebyshev's points of their range; all, where these are no more.

    A propagator is an entire function of the amplitude a that grows as exp(Θ |Im a|), with Θ the whole angle that a
    unit of amplitude turns by. So in Bernstein's ellipse of any radius its bound is known, and with it the error.

    Source:
        Trefethen, Approximation Theory and Approximation Practice (2013), theorem 8.2.
    """
    different = np.unique(amplitudes)
    low, high = float(different[0]), float(different[-1])
    area = np.abs(program.waveforms[program.pulses.waveform[row]].area).sum()
    reach = np.pi * float(area) * b1 * (high - low)  # half of the range, in radians
    bound = np.log(4 / (_ELLIPSES - 1)) + 0.5 * reach * (_ELLIPSES - 1 / _ELLIPSES)
    wanted = np.log(_ERROR * np.finfo(dtype).eps)
    count = 1 + int(np.ceil(np.min((bound - wanted) / np.log(_ELLIPSES))))
    if count >= min(len(different), _MOST_NODES):
        return different
    return chebyshev_points(low, high, count)


def _followed(
    program: Program, row: int, amplitudes: Float[np.ndarray, " nodes"], placed: bloch.Spins, dtype: np.dtype
) -> StateMap:
    """Maps of one shape from the start of the pulse to its end, at some amplitudes."""
    found = []
    for amplitude in amplitudes:
        values = np.asarray(program.pulses.amplitude).copy()
        values[row] = amplitude
        scaled = replace(program, pulses=replace(program.pulses, amplitude=values))
        columns = np.asarray(bloch.pulse_propagator(bloch.place_pulse(scaled, row, 1, dtype), placed, False))
        found.append(state_map(columns))
    return StateMap(*(np.stack([np.asarray(part) for part in parts]) for parts in zip(*found, strict=True)))


def _between(
    nodes: Float[np.ndarray, " nodes"], wanted: Float[np.ndarray, " pulses"]
) -> Float[np.ndarray, "pulses nodes"]:
    """Weights of the maps at the nodes for each amplitude; one of them where it is among these itself."""
    if np.isin(wanted, nodes).all():
        return (wanted[:, None] == nodes).astype(float)
    return chebyshev_weights(nodes, wanted)
