"""Are there enough isochromats per voxel? Too few make spurious echoes that look like anatomy.

Half a cycle between neighbours per interval is necessary but not sufficient, because moments add up over many
intervals. So one voxel of the tissue with the longest coherence is run with as many isochromats as the phantom has, and
with twice as many until the signal stands still.
"""

from __future__ import annotations

import numpy as np

from mrisim._types import Complex, Float
from mrisim.data import Phantom
from mrisim.errors import Finding
from mrisim.events.blocks import Sequence
from mrisim.phantom.sampling import lattice
from mrisim.program import Program

ALLOWED = 0.01  # relative error of the voxel's signal (2-norm over the readouts)
_STEPS = 600  # of the sequence that the check runs
_MOST = 1024  # isochromats that it tries
_LONG_T2 = 95.0  # percentile of T2 that stands for the tissue with the longest coherence


def density_findings(seq: Sequence, phantom: Phantom, program: Program) -> tuple[Finding, ...]:
    """A finding where doubling the isochromats of a voxel changes its signal by more than `ALLOWED`.

    Phantoms from plain arrays have no voxels and are not judged.
    """
    if phantom.sampling is None or len(program.pulses.waveform) < 1 or program.n_samples == 0:
        return ()
    weights = np.asarray(phantom.weight) * np.asarray(phantom.pd)
    alive = np.flatnonzero(weights > 0)
    if len(alive) == 0:
        return ()
    t2 = np.asarray(phantom.t2)[alive]
    spin = alive[np.argmin(np.abs(t2 - np.percentile(t2, _LONG_T2, method="nearest")))]
    rates = (1 / float(phantom.t1[spin]), 1 / float(phantom.t2[spin]))
    sampling = phantom.sampling
    axes = sampling.geometry.rotation * np.asarray(sampling.voxel)
    n = sampling.isochromats
    signals = {n: _voxel_signal(program, lattice(n)[:, :3] @ axes.T, rates)}
    enough = n
    while 2 * enough <= _MOST:
        signals[2 * enough] = _voxel_signal(program, lattice(2 * enough)[:, :3] @ axes.T, rates)
        if _difference(signals[enough], signals[2 * enough]) <= ALLOWED:
            break
        enough *= 2
    error = _difference(signals[n], signals[max(signals)])
    if enough == n or error <= ALLOWED:
        return ()
    text = (
        f"{n} isochromats per voxel leave spurious echoes of about {error:.0%} of the signal "
        f"in tissue with a T2 of {1e3 / rates[1]:.3g} ms"
    )
    would = f"Use {enough} per voxel" if 2 * enough <= _MOST else f"Not even {_MOST} would do; use spoiling='ideal'"
    return (Finding("isochromat density", text, f"{would}, or smaller voxels"),)


def _difference(a: Complex[np.ndarray, " rows"], b: Complex[np.ndarray, " rows"]) -> float:
    norm = float(np.linalg.norm(b))
    return float(np.linalg.norm(a - b)) / norm if norm > 0 else 0.0


def _voxel_signal(
    program: Program, position: Float[np.ndarray, "spins 3"], rates: tuple[float, float]
) -> Complex[np.ndarray, " rows"]:
    """Mean transverse magnetisation at the first sample of each readout, pulses as rotations by their nominal flip."""
    steps, pulses = program.steps, program.pulses
    n = min(program.n_steps, _STEPS)
    mxy, mz, rows = np.zeros(len(position), dtype=complex), np.ones(len(position)), []
    flips = np.nan_to_num(pulses.flip)
    for i in range(n):
        if steps.pulse[i] >= 0:
            mxy, mz = _rotate(mxy, mz, flips[steps.pulse[i]], steps.phase[i])
        if steps.readout[i] >= 0:
            rows.append(_dephased(mxy, position, steps.readout_moment[i], steps.readout_delay[i], rates).mean())
        mxy = _dephased(mxy, position, steps.moment[i], steps.duration[i], rates)
        mz = 1 + (mz - 1) * np.exp(-steps.duration[i] * rates[0])
    return np.array(rows) if rows else np.zeros(1, dtype=complex)


def _rotate(mxy: np.ndarray, mz: np.ndarray, flip: float, phase: float) -> tuple[np.ndarray, np.ndarray]:
    """Instantaneous left-handed rotation by flip about the axis at phase: z goes to +y for phase 0."""
    local = mxy * np.exp(-1j * phase)
    cosine, sine = np.cos(flip), np.sin(flip)
    y, z = local.imag * cosine + mz * sine, mz * cosine - local.imag * sine
    return (local.real + 1j * y) * np.exp(1j * phase), z


def _dephased(
    mxy: np.ndarray, position: np.ndarray, moment: np.ndarray, tau: float, rates: tuple[float, float]
) -> np.ndarray:
    return mxy * np.exp(-tau * rates[1] - 2j * np.pi * (position @ moment))
