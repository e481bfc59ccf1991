"""One pulse through the kernels alone, with any grouping of its intervals and either splitting of its relaxation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from mrisim.data import Phantom
from mrisim.engines.bloch import place_spins
from mrisim.physics import bloch
from mrisim.program import Waveform

DOUBLE = np.dtype(np.float64)


def through_pulse(
    waveform: Waveform, amplitude: float, phantom: Phantom, group: int = 1, after: bool = False
) -> np.ndarray:
    """Magnetisation (spins, 3) after a pulse from equilibrium, in float64.

    Each group of intervals relaxes half before and half after its rotation, or all of it `after`.
    """
    rows = len(waveform.dt) // group + 1  # a last one without rotation, which takes what is left of the relaxation
    extra = rows * group - len(waveform.dt)
    dt = np.pad(waveform.dt, (0, extra)).reshape(rows, group)
    area = np.pad(waveform.area, (0, extra)).reshape(rows, group) * amplitude
    moment = np.pad(waveform.moment, ((0, extra), (0, 0))).reshape(rows, group, 3)
    whole = dt.sum(axis=1)
    before, rest = (0 * whole, whole) if after else (whole / 2, whole / 2)
    relaxation = before + np.concatenate([[0.0], rest[:-1]])
    with jax.enable_x64(True):
        spins = jax.tree.map(jnp.asarray, place_spins(phantom, DOUBLE))
        steps = bloch.WaveformSteps(area.real, area.imag, dt, moment, relaxation)
        steps = jax.tree.map(jnp.asarray, steps)
        start, place = bloch.identity_map(spins.b1), spins.position.head  # in float64 nothing is left for the tail
        columns = bloch.propagate(start, steps, place, spins.df, spins.b1, spins.r1, spins.r2, False)
        return np.asarray(columns[2] + columns[3]).T
