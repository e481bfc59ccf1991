"""Are there enough isochromats per voxel? Too few make spurious echoes that look like anatomy.

Half a cycle between neighbors per interval is necessary but not sufficient, because moments add up over many
intervals. So one voxel is run with as many isochromats as the phantom has, and with twice as many until the signal
stands still.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from mrisim._types import Complex, Float
from mrisim.data import Phantom
from mrisim.errors import Finding
from mrisim.phantom.sampling import lattice
from mrisim.program import Program

ALLOWED = 0.01  # relative error of the voxel's signal (2-norm over readouts and tissues)
MOST = 1500  # isochromats per voxel that the check tries
_STEPS = 500  # of the sequence that the check runs
_T2_PERCENTILES = (50.0, 95.0)  # of the phantom: the tissues that stand for all, the second for long coherence


@dataclass(frozen=True, kw_only=True)
class Density:
    """What a voxel's sampling costs in accuracy."""

    isochromats: int  # per voxel, as sampled
    error: float  # relative, estimated against the densest sampling tried
    enough: int | None  # isochromats per voxel whose doubling changes the signal by at most `ALLOWED`; None: not found
    longest_t2: float  # of the tissues tried [s]

    def findings(self) -> tuple[Finding, ...]:
        """A finding where the sampling is too coarse."""
        if self.error <= ALLOWED:
            return ()
        text = (
            f"{self.isochromats} isochromats per voxel leave spurious echoes of about {self.error:.0%} of the signal "
            f"(tissue with a T2 of up to {1e3 * self.longest_t2:.3g} ms)"
        )
        if self.enough is None:
            return (Finding("isochromat density", text, f"Not even {MOST} would do: use spoiling='ideal'"),)
        return (Finding("isochromat density", text, f"Use {self.enough} per voxel"),)


def judge_density(
    program: Program, k: Float[np.ndarray, "samples 3"], phantom: Phantom, spoiling: str = "gradient"
) -> Density | None:
    """Error of the phantom's sampling under a program, and the sampling that would do.

    Phantoms from plain arrays have no voxels and are not judged: None.

    Args:
        program: The program.
        k: Of its samples, as `Sequence.kspace` gives it: the encoding, which is no error, is taken out [1/m].
        phantom: The isochromats.
        spoiling: As in `simulate`.
    """
    weight = np.asarray(phantom.weight) * np.asarray(phantom.pd)
    alive = np.flatnonzero(weight > 0)
    if phantom.sampling is None or not program.pulses.waveform or program.n_samples == 0 or len(alive) == 0:
        return None
    t2 = np.asarray(phantom.t2)[alive]
    spins = [alive[np.argmin(np.abs(t2 - np.percentile(t2, p, method="nearest")))] for p in _T2_PERCENTILES]
    rates = np.array([[1 / float(phantom.t1[s]), 1 / float(phantom.t2[s])] for s in spins])
    sampling = phantom.sampling
    axes = sampling.geometry.rotation * np.asarray(sampling.voxel)

    first = np.zeros(program.n_steps, dtype=int)
    for readout in program.readouts:
        first[readout.step] = readout.first
    echo = program.steps.readout_moment - k[first]

    def run(n: int) -> Complex[np.ndarray, "rows tissues"]:
        return _voxel_signal(program, echo, lattice(n)[:, :3] @ axes.T, rates, spoiling == "ideal")

    n = sampling.isochromats
    signals, enough = {n: run(n)}, None
    for finer in _doublings(n):
        signals[finer] = run(finer)
        coarser = max(m for m in signals if m < finer)
        if _difference(signals[coarser], signals[finer]) <= ALLOWED:
            enough = coarser
            break
    error = _difference(signals[n], signals[max(signals)])
    return Density(isochromats=n, error=error, enough=enough, longest_t2=float(1 / rates[:, 1].min()))


@cache
def _doublings(n: int) -> tuple[int, ...]:
    """Primes that about double n again and again: lattices of a prime number of points cancel most gradients."""
    found = []
    while (n := _next_prime(2 * n)) <= MOST:
        found.append(n)
    return tuple(found)


def _next_prime(n: int) -> int:
    while any(n % d == 0 for d in range(2, int(n**0.5) + 1)):
        n += 1
    return n


def _difference(a: Complex[np.ndarray, "rows tissues"], b: Complex[np.ndarray, "rows tissues"]) -> float:
    norm = float(np.linalg.norm(b))
    return float(np.linalg.norm(a - b)) / norm if norm > 0 else 0.0


def _voxel_signal(
    program: Program,
    echo: Float[np.ndarray, "steps 3"],
    position: Float[np.ndarray, "spins 3"],
    rates: Float[np.ndarray, "tissues 2"],
    ideal: bool,
) -> Complex[np.ndarray, "rows tissues"]:
    """Mean transverse magnetisation at each readout, encoding taken out, pulses as rotations by their nominal flip.

    `echo`: what the readout's moment adds beyond the encoding [1/m].
    """
    steps, flips = program.steps, np.nan_to_num(program.pulses.flip)
    r1, r2 = rates[:, :1], rates[:, 1:]
    halves = _pulse_phasors(program, position)
    shape = (len(rates), len(position))
    mxy, mz, rows = np.zeros(shape, dtype=complex), np.ones(shape), []
    for i in range(min(program.n_steps, _STEPS)):
        if ideal and steps.excitation[i]:
            mxy = np.zeros_like(mxy)
        if steps.pulse[i] >= 0:
            before, after = halves[steps.pulse[i]]
            mxy, mz = _rotate(mxy * before, mz, flips[steps.pulse[i]], steps.phase[i])
            mxy = mxy * after
        if steps.readout[i] >= 0:
            decay = np.exp(-steps.readout_delay[i] * r2[:, 0])
            rows.append((mxy * _phasor(position, echo[i])).mean(axis=1) * decay)
        mxy = mxy * (np.exp(-steps.duration[i] * r2) * _phasor(position, steps.moment[i]))
        mz = 1 + (mz - 1) * np.exp(-steps.duration[i] * r1)
    return np.array(rows) if rows else np.zeros((1, len(rates)), dtype=complex)


def _pulse_phasors(program: Program, position: Float[np.ndarray, "spins 3"]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Dephasing by the gradients of each pulse before and after its center."""
    result = []
    for waveform, center in zip(program.pulses.waveform, program.pulses.center, strict=True):
        played = program.waveforms[waveform]
        early = np.cumsum(played.dt) <= center * (1 + 1e-9)
        parts = (played.moment[early].sum(axis=0), played.moment[~early].sum(axis=0))
        result.append((_phasor(position, parts[0]), _phasor(position, parts[1])))
    return result


def _rotate(mxy: np.ndarray, mz: np.ndarray, flip: float, phase: float) -> tuple[np.ndarray, np.ndarray]:
    """Instantaneous left-handed rotation by flip about the axis at phase: z goes to +y for phase 0."""
    local = mxy * np.exp(-1j * phase)
    cosine, sine = np.cos(flip), np.sin(flip)
    y, z = local.imag * cosine + mz * sine, mz * cosine - local.imag * sine
    return (local.real + 1j * y) * np.exp(1j * phase), z


def _phasor(position: Float[np.ndarray, "spins 3"], moment: Float[np.ndarray, " 3"]) -> Complex[np.ndarray, " spins"]:
    return np.exp(-2j * np.pi * (position @ moment))
