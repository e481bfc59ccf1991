"""Are there enough isochromats per voxel? Too few make spurious echoes that look like anatomy.

Half a cycle between neighbors per interval is necessary but not sufficient, because moments add up over many
intervals. So one voxel of the image is run through the engine, pulses as they are, with as many isochromats as the
phantom has and with about twice as many again and again, until the signal stands still. Where the image does not
resolve the slice direction, that voxel is the whole column of layers along it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from mrisim._types import Complex, Float, Int
from mrisim.data import Phantom
from mrisim.engines import bloch
from mrisim.errors import Finding
from mrisim.events.blocks import Sequence
from mrisim.phantom.sampling import Sampling, is_prime, lattice
from mrisim.program import Program
from mrisim.simulate import _chunks

ALLOWED = 0.05  # relative error of the voxel's signal (2-norm over readouts and tissues) that is not worth a finding
_STILL = 0.01  # change on doubling the isochromats below which the signal stands still
MOST = 1500  # isochromats per voxel that the check tries
_MOST_SPINS = 4 * 4096  # that it runs in all
_PROBED = 4096  # isochromats at a time
_READOUTS = 64  # that it runs at least, where the sequence has them
_TOLERANCE = 1e-3
_T2_PERCENTILES = (50.0, 95.0)  # of the phantom: the tissues that stand for all, the second for long coherence
_SLICE = 2  # logical axis


@dataclass(frozen=True, kw_only=True)
class Density:
    """What a voxel's sampling costs in accuracy."""

    isochromats: int  # per voxel, as sampled
    layers: int  # voxels along what the image does not resolve
    error: float  # relative, estimated against the densest sampling tried
    enough: int | None  # isochromats per voxel whose doubling changes the signal by at most 1 %; None: not found
    errors: Mapping[int, float]  # estimated for each number that was tried but the largest
    longest_t2: float  # of the tissues tried [s]

    def findings(self) -> tuple[Finding, ...]:
        """A finding where the sampling is too coarse."""
        if self.error <= ALLOWED:
            return ()
        where = f"per voxel, {self.layers} layers of them," if self.layers > 1 else "per voxel"
        text = (
            f"{self.isochromats} isochromat{'s' * (self.isochromats > 1)} {where} leave spurious echoes of about "
            f"{self.error:.0%} of the signal (tissue with a T2 of up to {1e3 * self.longest_t2:.3g} ms)"
        )
        if self.enough is None:
            return (Finding("isochromat density", text, "No number that was tried would do: use ideal spoiling"),)
        return (Finding("isochromat density", text, f"Use {self.enough} per voxel"),)


def resolves_slices(seq: Sequence) -> bool:
    """Whether the image of a sequence resolves the slice direction; True where there is no image."""
    return seq.recon is None or seq.recon.matrix[_SLICE] > 1


def judge_density(
    program: Program,
    k: Float[np.ndarray, "samples 3"],
    phantom: Phantom,
    spoiling: str = "gradient",
    resolved: bool = False,
) -> Density | None:
    """Error of the phantom's sampling under a program, and the sampling that would do.

    Phantoms from plain arrays have no voxels and are not judged: None.

    Args:
        program: The program.
        k: Of its samples, as `Sequence.kspace` gives it: the encoding, which is no error, is taken out [1/m].
        phantom: The isochromats.
        spoiling: As in `simulate`.
        resolved: Whether the image resolves the slice direction.
    """
    alive = np.flatnonzero(np.asarray(phantom.weight) * np.asarray(phantom.pd) > 0)
    if phantom.sampling is None or not program.pulses.waveform or program.n_samples == 0 or len(alive) == 0:
        return None
    sampling = phantom.sampling
    layers, profile = (np.zeros(1), np.ones(1)) if resolved else _profile(phantom, sampling)
    n = sampling.isochromats
    counts = [n, *(m for m in _doublings(n) if m * len(layers) * len(_T2_PERCENTILES) <= _MOST_SPINS)]
    probe, owner = _ladder(phantom, alive, layers, profile, counts)
    signals = _signals(program, k, probe, owner, len(counts), spoiling == "ideal")
    changes = [_difference(a, b) for a, b in itertools.pairwise(signals)]
    still = [count for count, change in zip(counts[:-1], changes, strict=True) if change <= _STILL]
    return Density(
        isochromats=n,
        layers=len(layers),
        error=_difference(signals[0], signals[-1]),
        errors={count: _difference(signal, signals[-1]) for count, signal in zip(counts[:-1], signals, strict=False)},
        enough=still[0] if still else None,
        longest_t2=float(probe.t2.max()),
    )


def _profile(phantom: Phantom, sampling: Sampling) -> tuple[Float[np.ndarray, " layers"], Float[np.ndarray, " layers"]]:
    """Places of the layers along the slice direction [m] and their weight, which falls off at the faces of a slab."""
    geometry, side = sampling.geometry, sampling.voxel[_SLICE]
    along = (np.asarray(phantom.position) - geometry.center) @ geometry.rotation[:, _SLICE]
    layer = np.round(along / side).astype(int)
    weight = np.asarray(phantom.weight)
    low = int(layer.min())
    heaviest = np.zeros(int(layer.max()) - low + 1)
    np.maximum.at(heaviest, layer - low, weight)
    return (low + np.arange(len(heaviest))) * side, heaviest / heaviest.max()


def _ladder(
    phantom: Phantom,
    alive: Int[np.ndarray, " n"],
    layers: Float[np.ndarray, " layers"],
    profile: Float[np.ndarray, " layers"],
    counts: list[int],
) -> tuple[Phantom, Int[np.ndarray, " spins"]]:
    """The voxel with each number of isochromats and each tissue, and which of both a spin belongs to."""
    sampling = phantom.sampling
    rate = 1 / np.asarray(phantom.t2)[alive]  # zero where it never relaxes
    slower = [np.percentile(rate, 100 - p, method="nearest") for p in _T2_PERCENTILES]
    tissues = [alive[np.argmin(np.abs(rate - value))] for value in slower]
    positions, weights = [], []
    for count in counts:
        points = (lattice(count) * np.asarray(sampling.voxel))[None] + np.array([0.0, 0.0, 1.0]) * layers[:, None, None]
        points = points.reshape(-1, 3)
        share = np.interp(points[:, _SLICE], layers, profile)
        positions.append(points @ sampling.geometry.rotation.T + sampling.geometry.center)
        weights.append(share / share.sum())
    sizes = [len(p) for p in positions]
    n_tissues = len(tissues)
    spin = np.repeat(tissues, sum(sizes))
    probe = Phantom.from_arrays(
        position=np.tile(np.concatenate(positions), (n_tissues, 1)),
        t1=np.asarray(phantom.t1)[spin],
        t2=np.asarray(phantom.t2)[spin],
        weight=np.tile(np.concatenate(weights), n_tissues),
    )
    owner = np.repeat(np.arange(len(counts)), sizes)
    return probe, np.concatenate([owner + tissue * len(counts) for tissue in range(n_tissues)])


def _signals(
    program: Program,
    k: Float[np.ndarray, "samples 3"],
    probe: Phantom,
    owner: Int[np.ndarray, " spins"],
    n_counts: int,
    ideal: bool,
) -> list[Complex[np.ndarray, " rows"]]:
    """Signal of the voxel at the first sample of each readout, encoding taken out, for each number of isochromats."""
    dtype = np.dtype(np.float32)
    size = _chunks.chunk_size(probe.n_spins, _PROBED, run=1)
    work = _chunks.prepare(program, probe, ideal, _TOLERANCE, dtype, size)
    first = np.zeros(program.n_steps, dtype=int)
    for readout in program.readouts:
        first[readout.step] = readout.first
    length = len(work.segments[0].steps.pulse)
    rows = np.flatnonzero(program.steps.readout >= 0)
    n_segments = rows[:_READOUTS][-1] // length + 1
    work = replace(work, segments=work.segments[:n_segments])
    rows = rows[rows < n_segments * length]
    total = np.zeros((len(rows), owner.max() + 1), dtype=complex)
    for start in range(0, probe.n_spins, work.size):
        places = np.arange(start, start + work.size)
        emitted = np.concatenate(list(_emitted(work, probe, places)))[rows]
        inside = places[places < probe.n_spins]
        phase = k[first[rows]] @ np.asarray(probe.position)[inside].T
        m = emitted[:, : len(inside)] * np.exp(2j * np.pi * phase)
        total += m @ (owner[inside][:, None] == np.arange(total.shape[1]))
    return list(total.reshape(len(rows), -1, n_counts).transpose(2, 0, 1).reshape(n_counts, -1))


def _emitted(
    work: _chunks.Work, probe: Phantom, places: Int[np.ndarray, " size"]
) -> Iterator[Complex[np.ndarray, "steps spins"]]:
    """Weighted transverse magnetisation at the first sample of each readout, segment by segment."""
    spins, propagators = _chunks.place_chunk(work, probe, places)
    state = bloch.init(spins)
    for segment in work.segments:
        state, emitted = bloch.evolve(state, segment.steps, propagators, spins)
        yield np.asarray(emitted)


@cache
def _doublings(n: int) -> tuple[int, ...]:
    """Primes that about double n again and again: lattices of a prime number of points cancel most gradients."""
    found = []
    while (n := _next_prime(2 * n)) <= MOST:
        found.append(n)
    return tuple(found)


def _next_prime(n: int) -> int:
    while not is_prime(n):
        n += 1
    return n


def _difference(a: Complex[np.ndarray, " rows"], b: Complex[np.ndarray, " rows"]) -> float:
    norm = float(np.linalg.norm(b))
    return float(np.linalg.norm(a - b)) / norm if norm > 0 else 0.0
