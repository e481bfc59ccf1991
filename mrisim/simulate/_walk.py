"""Program × phantom by random walk → samples, with their standard error."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import jax
import numpy as np

from mrisim import units
from mrisim._types import Complex, Float, Int
from mrisim.data import Phantom
from mrisim.encoding.grouping import precessing
from mrisim.engines import walk
from mrisim.engines.walk_moves import Walkers, place_walls
from mrisim.engines.walk_schedule import Schedule, Segment, schedule
from mrisim.engines.walk_steps import host_uniforms, keys
from mrisim.errors import ConsistencyError, Finding, Problem, ResourceError, SpecError
from mrisim.events.moments import gradient_tracks
from mrisim.phantom.compartments import Compartments, Free, Geometry, Mixture, default_step, longest_step
from mrisim.physics.coils import CoilArray
from mrisim.physics.phase import split
from mrisim.program import Program
from mrisim.simulate import hosts
from mrisim.simulate._chunks import _in_order, precision, worker_count
from mrisim.simulate._memory import free_memory
from mrisim.simulate._progress import advancer
from mrisim.simulate._setting import Found, Setting

_CHUNK = 4096  # walkers whose state stays in a core's cache
_GPU_CHUNK = 1 << 17
_MOST_PASSES = 0.2  # probability to pass a membrane that is met
_BATCHES = 64
_SAMPLES_OF_BATCHES = 100_000  # of all coils; with more there are fewer batches
_NO_WALLS = Free(diffusion=0.0)
_COMPILED: set[tuple[object, ...]] = set()  # what has run once in this process


@dataclass(frozen=True, kw_only=True)
class Walk:
    """Engine `walk`: isochromats become walkers that diffuse between walls.

    Args:
        compartments: Walls about each isochromat, from `mrisim.phantom`: `Planes`, `Cylinders`, `Spheres`, `Mesh`,
            `Labels`, or a `Mixture`. None: no walls, each isochromat diffuses freely with its own coefficient.
        walkers: In all, rounded up so that each isochromat has as many as any other.
        time_step: Longest step [s]; None for what suits the walls, the diffusion and the gradients.

    Raises:
        ConsistencyError: an option that is not of its kind.

    Example:
        >>> import mrisim as mr
        >>> walk = mr.Walk(compartments=mr.phantom.Spheres(radius="5 um", diffusion=2e-9), walkers=1000)
        >>> water = mr.Phantom.from_arrays(position=[[0.0, 0.0, 0.0]], t1=1.0, t2=0.1)
        >>> raw = mr.simulate(mr.load_sequence("fid"), water, engine=walk)
        >>> raw.standard_error.shape
        (1, 2048)
    """

    compartments: Compartments | None = None
    walkers: int = 100_000
    time_step: float | str | None = None

    def __post_init__(self):
        problems = []
        if not isinstance(self.walkers, int) or isinstance(self.walkers, bool) or self.walkers < 1:
            problems.append(Problem(f"must be a whole number above 0, but is {self.walkers!r}", path="walkers"))
        if self.compartments is not None and not isinstance(self.compartments, (Geometry, Mixture)):
            rule = f"must be a geometry such as mr.phantom.Cylinders, but is {type(self.compartments).__name__}"
            problems.append(Problem(rule, path="compartments"))
        if self.time_step is not None:
            try:
                object.__setattr__(self, "time_step", units.parse(self.time_step, units.TIME))
            except SpecError as error:
                problems.append(Problem(str(error).removesuffix("."), path="time_step"))
            else:
                if not float(self.time_step) > 0:
                    problems.append(Problem(f"must be above 0, but is {self.time_step} s", path="time_step"))
        if problems:
            raise ConsistencyError(problems)

    @property
    def parts(self) -> tuple[tuple[Geometry | None, float], ...]:
        """Geometries and their shares of the signal."""
        if isinstance(self.compartments, Mixture):
            return tuple(zip(self.compartments.parts, self.compartments.shares, strict=True))
        return ((self.compartments, 1.0),)


def _check(checkpoint: object, options: Walk) -> None:
    """What a walk does not do, and a time step that is too long for the geometry."""
    problems = []
    if checkpoint is not None:
        problems.append(Problem("must not be given with engine='walk', which keeps none", path="checkpoint"))
    for geometry, _ in options.parts:
        if geometry is not None:
            problems += _step_problems(geometry, options.time_step)
    if problems:
        raise ConsistencyError(problems)


def _step_problems(geometry: Geometry, asked: float | str | None) -> Iterator[Problem]:
    longest, reason = _longest_time(geometry)
    if asked is None or float(asked) <= longest * (1 + 1e-9):
        return
    rule = f"must be at most {units.show(longest, units.TIME, digits=3)} for {reason}"
    yield Problem(
        f"{rule}, but is {units.show(float(asked), units.TIME)}", "Shorten it, or leave it out", path="time_step"
    )


def _longest_time(geometry: Geometry) -> tuple[float, str]:
    """Longest step that walls and membranes allow [s], and why."""
    fastest = max(m.diffusion for m in geometry.media)
    by_walls = longest_step(geometry) ** 2 / (2 * fastest) if fastest > 0 else np.inf
    by_membranes = _membrane_time(geometry)
    name, d = type(geometry).__name__, units.show(fastest, units.DIFFUSION)
    if by_membranes < by_walls:
        return by_membranes, f"{name} with a permeability of {geometry.permeability * 1e6:g} µm/s and D = {d}"
    return by_walls, f"{name} with a smallest length of {geometry.length * 1e6:.3g} µm and D = {d}"


def _membrane_time(geometry: Geometry) -> float:
    rates = place_walls(geometry, np.dtype(float)).through
    return (_MOST_PASSES / float(rates.max())) ** 2 if rates.max() > 0 else np.inf


def _time_step(geometry: Geometry | None, asked: float | str | None) -> float:
    """Longest step in a geometry [s]."""
    if asked is not None:
        return float(asked)
    if geometry is None:
        return np.inf
    fastest = max(m.diffusion for m in geometry.media)
    by_walls = default_step(geometry) ** 2 / (2 * fastest) if fastest > 0 else np.inf
    return min(by_walls, _membrane_time(geometry))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Layout:
    """Which walker is where: batch after batch, in each of them isochromat after isochromat, round after round."""

    n_spins: int
    batches: int
    rounds: int  # walkers of an isochromat in a batch
    width: int  # walkers of a batch in a chunk

    @staticmethod
    def of(n_spins: int, walkers: int, n_values: int, chunk: int) -> _Layout:
        most = _BATCHES
        while most > 8 and most * n_values > _BATCHES * _SAMPLES_OF_BATCHES:
            most //= 2
        batches = 1
        while batches < most and 2 * batches * n_spins <= walkers:
            batches *= 2
        rounds = -(-walkers // (batches * n_spins))
        width = min(chunk // batches, max(64 // batches, 1 << (n_spins * rounds - 1).bit_length()))
        return _Layout(n_spins=n_spins, batches=batches, rounds=rounds, width=max(1, width))

    @property
    def per_batch(self) -> int:
        return self.n_spins * self.rounds

    @property
    def chunks(self) -> range:
        return range(0, self.per_batch, self.width)

    def walkers(self, start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Number, isochromat and weight (0 beyond the last) of the walkers of a chunk."""
        within = np.tile(np.arange(start, start + self.width), self.batches)
        batch = np.repeat(np.arange(self.batches), self.width)
        inside = within < self.per_batch
        number = (batch * self.per_batch + np.where(inside, within, 0)).astype(np.uint32)
        return number, within % self.n_spins, inside / (self.batches * self.rounds)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Job:
    """Walkers of one geometry through the program."""

    geometry: Geometry | None
    share: float
    phantom: Phantom
    sensitivity: Complex[np.ndarray, "coils spins"] | None
    initial: Float[np.ndarray, "spins 3"] | None
    plan: Schedule
    layout: _Layout
    seed: tuple[int, int]
    n_samples: int
    dtype: np.dtype

    @property
    def kind(self) -> str:
        if self.geometry is not None:
            return self.geometry.kind
        return "free" if np.asarray(self.phantom.diffusion).shape[1] == 1 else "tensor"

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        axes = np.eye(3) if self.geometry is None else self.geometry.axes()
        return tuple(self.plan.segments(axes, self.dtype))

    @cached_property
    def walls(self):
        return place_walls(self.geometry or _NO_WALLS, self.dtype)

    @property
    def n_coils(self) -> int:
        return 1 if self.sensitivity is None else len(self.sensitivity)

    def run(self, start: int, stop: threading.Event) -> Complex[np.ndarray, "coils batches samples"]:
        """Sums over the walkers of a chunk; left unfinished when told to stop."""
        steps, membranes, places = keys(*self.seed)
        number, spin, weight = self.layout.walkers(start)
        signal = np.zeros((self.n_coils, self.layout.batches, self.n_samples), dtype=complex)
        with precision(self.dtype):
            spins, at, first = self._start(number, spin, weight, places)
            state = walk.init(spins, at, first, self.kind not in walk.ALONE)
            key = walk.Keys(steps, membranes)
            for segment in self.segments:
                if stop.is_set():
                    break
                base = np.asarray(segment.base, np.uint32)
                state, emitted = walk.evolve(
                    state, spins, self.walls, key, segment.moves, segment.events, base, self.kind, self.layout.batches
                )
                rows = np.flatnonzero(segment.sample >= 0)
                if len(rows):
                    signal[:, :, segment.sample[rows]] = np.moveaxis(walk.joined(emitted)[rows], 0, 2)
        return signal

    def _start(self, number: np.ndarray, spin: np.ndarray, weight: np.ndarray, key):
        """Walkers on the device: what they keep, where they are, their magnetisation."""
        cast = self.dtype
        places = host_uniforms(key, number, 0)
        if self.geometry is None:
            x, medium = np.zeros((len(number), 3)), np.zeros(len(number), dtype=np.int32)
        else:
            x, medium = self.geometry.start(lambda draw: places if draw == 0 else host_uniforms(key, number, draw))
        spins = self._spins(number, spin, weight)
        first = None if self.initial is None else self.initial[spin].astype(cast)
        at = Walkers(tuple(x[:, i].astype(cast) for i in range(3)), medium.astype(np.int32))  # type: ignore[arg-type]
        return jax.device_put(spins), jax.device_put(at), first

    def _spins(self, number: np.ndarray, spin: Int[np.ndarray, " walkers"], weight: np.ndarray) -> walk.Spins:
        phantom, cast = self.phantom, self.dtype
        coils = np.ones((1, phantom.n_spins)) if self.sensitivity is None else self.sensitivity
        weights = (coils * phantom.weight * phantom.pd)[:, spin] * (self.share * weight)
        media = () if self.geometry is None else self.geometry.media
        r1 = 1 / phantom.t1 if not media or media[0].t1 is None else np.zeros(phantom.n_spins)
        r2 = 1 / phantom.t2 if not media or media[0].t2 is None else np.zeros(phantom.n_spins)
        if self.kind in ("planes", "cylinder", "sphere", "free") and media:
            r1 = r1 + float(self.walls.r1[0])
            r2 = r2 + float(self.walls.r2[0])
        df, b1, r1, r2 = (np.asarray(c)[spin].astype(cast) for c in (precessing(phantom), phantom.b1, r1, r2))
        return walk.Spins(
            number=number,
            place=split(np.asarray(phantom.position)[spin].T, cast),
            step=self._steps(spin).astype(cast),
            df=df,
            b1=b1,
            r1=r1,
            r2=r2,
            real=np.real(weights).astype(cast),
            imag=np.imag(weights).astype(cast),
        )

    def _steps(self, spin: np.ndarray) -> np.ndarray:
        """Square roots of twice the diffusion: a number, or the lower triangle xx, yx, yy, zx, zy, zz."""
        if self.geometry is not None:
            return np.full(len(spin), np.sqrt(2 * self.geometry.media[0].diffusion))
        if self.kind == "free":
            return np.sqrt(2 * np.asarray(self.phantom.diffusion)[spin, 0])
        xx, yy, zz, xy, xz, yz = self.phantom.diffusion_tensors().T
        full = 2 * np.stack([np.stack(row, axis=-1) for row in ((xx, xy, xz), (xy, yy, yz), (xz, yz, zz))], axis=-2)
        values, vectors = np.linalg.eigh(full)
        root = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
        return root[spin].reshape(len(spin), 9).T


def run_walk(options: Walk, setting: Setting) -> Found:
    """Samples of a phantom by random walk.

    Args:
        options: Geometry, number of walkers, time step.
        setting: Sequence and phantom.

    Raises:
        ConsistencyError: a checkpoint; a time step that is too long for the geometry.
        ResourceError: not enough memory for one chunk.
    """
    _check(setting.checkpoint, options)
    jobs = _jobs(options, setting)
    workers = _workers(jobs, setting.phantom, setting.budget)
    with advancer(setting.progress, sum(len(job.layout.chunks) for job in jobs)) as advance:
        parts = [_estimate(_summed(job, workers, advance), setting.program) for job in jobs]
    walkers = [job.layout.batches * job.layout.per_batch for job in jobs]
    return Found(
        signal=np.sum([mean for mean, _ in parts], axis=0),
        standard_error=_rooted(sum(variance for _, variance in parts)),
        findings=_findings(min(job.layout.batches for job in jobs)),
        provenance={
            "walkers": sum(walkers),
            "walker_steps": sum(n * job.plan.n_moves for n, job in zip(walkers, jobs, strict=True)),
            "time_step": max(float(job.plan.length.max(initial=0.0)) for job in jobs),
        },
    )


def _jobs(options: Walk, setting: Setting) -> list[_Job]:
    """A walk for each compartment."""
    phantom, program, receivers = setting.phantom, setting.program, setting.receivers
    sensitivity = receivers.sensitivity(np.asarray(phantom.position)) if isinstance(receivers, CoilArray) else receivers
    tracks = gradient_tracks(setting.seq)
    n_coils = 1 if sensitivity is None else len(sensitivity)
    chunk = _CHUNK if jax.default_backend() == "cpu" else _GPU_CHUNK
    jobs = []
    for index, (geometry, share) in enumerate(options.parts):
        count = max(1, round(options.walkers * share))
        layout = _Layout.of(phantom.n_spins, count, n_coils * program.n_samples, chunk)
        plan = schedule(program, tracks, setting.spoil, _time_step(geometry, options.time_step))
        jobs.append(
            _Job(
                geometry=geometry, share=share, phantom=phantom, sensitivity=sensitivity, initial=setting.initial,
                plan=plan, layout=layout, seed=(setting.seed, index), n_samples=program.n_samples, dtype=setting.dtype,
            )
        )  # fmt: skip
    return jobs


def _findings(batches: int) -> tuple[Finding, ...]:
    """A finding where there is no standard error."""
    if batches > 1:
        return ()
    text = "there is one walker for each isochromat, so the standard error of the signal is not known"
    return (Finding("random walk", text, "Use at least twice as many walkers as isochromats"),)


def _workers(jobs: list[_Job], phantom: Phantom, budget: int | None) -> int:
    """Chunks side by side that the memory holds."""
    budget = free_memory() // 2 if budget is None else budget
    sums = max(job.n_coils * job.layout.batches * job.n_samples for job in jobs) * 16
    events = max(job.n_coils * job.layout.batches * 256 for job in jobs) * 48
    walkers = (
        max(job.layout.batches * job.layout.width * (64 + 4 * job.n_coils) for job in jobs) * jobs[0].dtype.itemsize
    )
    tables = sum(job.plan.n_moves * 64 + len(job.plan.sample) * 400 for job in jobs) + phantom.n_spins * 200
    fixed, each = tables + 4 * sums, 3 * sums + events + walkers
    if fixed + each > budget:
        need = f"{(fixed + each) / 2**20:.3g} MiB for {jobs[0].n_samples} samples of {jobs[0].n_coils} coils"
        rule = f"must leave {need}, but is {budget / 2**20:.3g} MiB"
        raise ResourceError(Problem(rule, "Allow more memory, or use fewer coils or isochromats", path="memory"))
    return max(1, min(worker_count(), (budget - fixed) // each))


def _summed(job: _Job, workers: int, advance: Callable[[int], None]) -> Complex[np.ndarray, "coils batches samples"]:
    """Sum over all chunks in order, of all processes."""
    total = np.zeros((job.n_coils, job.layout.batches, job.n_samples), dtype=complex)
    shapes = frozenset((len(s.moves.root), len(s.events.kind)) for s in job.segments)
    signature = (job.kind, job.layout.batches, job.layout.width, job.n_coils, str(job.dtype), shapes)
    stop = threading.Event()
    try:
        chunks = hosts.share(job.layout.chunks)
        for part in _in_order(lambda start: job.run(start, stop), chunks, workers, signature not in _COMPILED):
            total += part
            _COMPILED.add(signature)
            advance(1)
    finally:
        stop.set()
    return hosts.total(total)


def _estimate(
    sums: Complex[np.ndarray, "coils batches samples"], program: Program
) -> tuple[Complex[np.ndarray, "coils samples"], Complex[np.ndarray, "coils samples"]]:
    """Sum of the batches with the receiver's phase, and its variance: of the real and of the imaginary part."""
    batches = np.array(sums)
    for readout in program.readouts:
        where = readout.first[:, None] + np.arange(len(readout.delay))
        phase = np.exp(2j * np.pi * readout.receiver - 1j * readout.phase[:, None])
        batches[:, :, where] *= phase
    n = batches.shape[1]
    if n == 1:
        return batches[:, 0], np.full_like(batches[:, 0], complex(np.nan, np.nan))
    real, imag = (n * part.var(axis=1, ddof=1) for part in (np.real(batches), np.imag(batches)))
    return batches.sum(axis=1), real + 1j * imag


def _rooted(variance: Complex[np.ndarray, "coils samples"]) -> Complex[np.ndarray, "coils samples"]:
    return np.sqrt(np.real(variance)) + 1j * np.sqrt(np.imag(variance))
