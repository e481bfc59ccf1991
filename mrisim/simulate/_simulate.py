"""`simulate`, `signal`, `trace`: the stage that owns precision, chunks, coils and noise."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from mrisim._types import Array, Complex, Float
from mrisim.data import Phantom, RawData
from mrisim.encoding import matrix
from mrisim.encoding.grouping import group_spins
from mrisim.engines import bloch
from mrisim.errors import ConsistencyError, Finding, Problem
from mrisim.events.blocks import Sequence
from mrisim.physics.coils import CoilArray
from mrisim.program import Program, Pulses, lower
from mrisim.simulate import _chunks
from mrisim.simulate._checkpoint import Checkpoint, digest
from mrisim.simulate._described import program_of, samples_of
from mrisim.simulate._fit import check_choices, check_fit
from mrisim.simulate._memory import Plan, parse_memory, plan
from mrisim.simulate._phase_graph import Result, check_graph, run_graph
from mrisim.simulate._store import STORE
from mrisim.simulate._trains import Trains
from mrisim.simulate._walk import Walk, check_walk, run_walk
from mrisim.simulate.density import judge_density, resolves_slices
from mrisim.simulate.pathway import Pathway, diffusion_findings, find_pathway, weights
from mrisim.simulate.receive import Coils, Noise, Receivers, add_noise, noise_finding, resolve_coils
from mrisim.simulate.uptake import injection_time, step_rates

Spoiling = Literal["gradient", "ideal"]
Progress = bool | Callable[[int, int], None]


def simulate(
    seq: Sequence,
    phantom: Phantom,
    *,
    engine: Literal["bloch", "epg", "walk"] | Walk = "bloch",
    pulses: Pulses = "shaped",
    spoiling: Spoiling = "gradient",
    tolerance: float = 1e-4,
    dtype: Literal["float32", "float64"] = "float32",
    coils: Coils = None,
    noise: Noise | float | str = 0.0,
    seed: int = 0,
    initial: ArrayLike | None = None,
    injection: float | str | None = None,
    memory: str | int | None = None,
    progress: Progress = False,
    checkpoint: str | Path | None = None,
) -> RawData:
    """Run a sequence over a phantom.

    Args:
        seq: The sequence.
        phantom: Isochromats; for a selective sequence at least two slices thick along the slice direction.
        engine: "bloch": one magnetisation vector per isochromat. "epg": a phase graph; voxels are boxes of each of
            their tissues, T2' is an exact exponential, and no number of isochromats is too small for spoiling. "walk":
            walkers that diffuse with each isochromat's own coefficient; between walls with a `Walk` in place of the
            name. The result has a standard error.
        pulses: "shaped": as played. "ideal": instantaneous rotations within a box profile.
        spoiling: "gradient": as played. "ideal": no transverse magnetisation before each excitation.
        tolerance: Relative error of the signal vector (2-norm) that numerical shortcuts may add, rounding apart.
        dtype: Precision of the device; sums over chunks are float64.
        coils: None (uniform), a number of elements, a `CoilArray`, or sensitivities (n_coils, spins).
        noise: Standard deviation of the real and of the imaginary part of a sample, text such as "snr 50", or `Noise`.
        seed: Of the noise, and of the walk.
        initial: Magnetisation to start from, (3,) or (spins, 3), equilibrium is (0, 0, 1).
        injection: When the phantom's contrast agent is injected, since the start of the sequence, such as "30 s" or
            -300.0; tissue then changes from step to step. Without it there is no agent.
        memory: Budget such as "4 GiB"; default half of what is free.
        progress: True for a bar in the terminal, or a function of (done, total) chunks.
        checkpoint: File for the sum so far, written every ten seconds and at the end. A call that finds its own goes on
            from it, with a result that is equal bit for bit; delete it when the result is safe.

    Returns:
        Samples in acquisition order, (n_coils, n_samples): the sum over isochromats of weight · pd · M⁺.

    Raises:
        ConsistencyError: sequence and phantom do not fit each other, an unknown choice, another run's checkpoint.
        ResourceError: not enough memory, with nothing computed; or a checkpoint that cannot be written.

    Example:
        >>> import mrisim as mr
        >>> water = mr.Phantom.from_arrays(position=[[0.0, 0.0, 0.0]], t1=1.0, t2=0.1)
        >>> raw = mr.simulate(mr.load_sequence("fid"), water)
        >>> raw.signal.shape
        (1, 2048)
    """
    check_choices(engine="walk" if isinstance(engine, Walk) else engine, pulses=pulses, spoiling=spoiling, dtype=dtype)
    budget = None if memory is None else parse_memory(memory)
    level = Noise.of(noise)
    check_fit(seq, phantom)
    injected = injection_time(injection, phantom, engine)
    begin = time.perf_counter()
    program = program_of(seq, pulses)
    lowered = time.perf_counter()
    receivers = resolve_coils(coils, phantom.n_spins)
    if engine == "epg":
        check_graph(checkpoint)
        if np.any(phantom.diffusion):
            program = lower(seq, pulses, diffusion=True)
            lowered = time.perf_counter()
        start = _initial(initial, phantom.n_spins)
        with _compile_clock() as compiling, _advancer(progress, 1) as advance:
            ideal = spoiling == "ideal"
            extra = step_rates(program, seq, phantom.uptake, injected)
            found = run_graph(program, phantom, receivers, start, ideal, tolerance, np.dtype(dtype), budget, extra)
            advance(1)
        seconds = {"lower": lowered - begin, "compile": compiling[0]}
        seconds["simulate"] = max(0.0, time.perf_counter() - lowered - compiling[0])
        raw = _raw_data(seq, _received(found.signal, program), receivers, level, seed)
        known = {"sequence": seq.name, "pulses": pulses, "spoiling": spoiling, "tolerance": tolerance, "dtype": dtype}
        known |= {} if injected is None else {"injection": injected}
        return _graph_data(
            raw, found, (*seq.findings, *phantom.findings), {**known, "n_steps": program.n_steps}, seconds
        )
    if engine == "walk" or isinstance(engine, Walk):
        walk = engine if isinstance(engine, Walk) else Walk()
        check_walk(checkpoint, walk)
        with _compile_clock() as compiling:
            found = run_walk(
                walk, seq, program, phantom, receivers, _initial(initial, phantom.n_spins), spoiling == "ideal",
                np.dtype(dtype), budget, seed, partial(_advancer, progress),
            )  # fmt: skip
        seconds = {"lower": lowered - begin, "compile": compiling[0]}
        seconds["simulate"] = max(0.0, time.perf_counter() - lowered - compiling[0])
        raw = _raw_data(seq, found.signal, receivers, level, seed)
        known = {"sequence": seq.name, "pulses": pulses, "spoiling": spoiling, "dtype": dtype, "seconds": seconds}
        return found.described(raw, {**known, "n_steps": program.n_steps}, (*seq.findings, *phantom.findings))
    job = _job(program, phantom, receivers, initial, spoiling == "ideal", tolerance, np.dtype(dtype), budget)
    pathway = find_pathway(program, samples_of(seq)[2], phantom) if np.any(phantom.diffusion) else None
    job = replace(job, extra=step_rates(program, seq, phantom.uptake, injected), pathway=pathway)
    kept = None if checkpoint is None else Checkpoint(checkpoint, job.key)
    if kept is not None and kept.chunk is not None:  # gone on with as it began, whatever the memory
        job = replace(job, layout=replace(job.layout, chunk=kept.chunk), transformed=kept.trains)
    with _compile_clock() as compiling:
        clean = _received(_summed(job, kept, progress), program)
    total = time.perf_counter() - lowered
    raw = _raw_data(seq, clean, receivers, level, seed)
    density = judge_density(program, raw.k, phantom, spoiling, resolved=resolves_slices(seq))
    still = diffusion_findings(job.pathway, weights(raw.readouts, phantom))
    return replace(
        raw,
        signal=raw.signal.astype(np.complex64 if dtype == "float32" else complex),
        findings=(*seq.findings, *phantom.findings, *(density.findings() if density else ()), *still, *raw.findings),
        provenance={
            **raw.provenance,
            "sequence": seq.name,
            "engine": engine,
            "pulses": pulses,
            "spoiling": spoiling,
            "tolerance": tolerance,
            "dtype": dtype,
            **({} if injected is None else {"injection": injected}),
            "b0": seq.system.b0,
            "gamma": seq.system.gamma,
            "n_spins": phantom.n_spins,
            "n_coils": len(clean),
            "n_steps": program.n_steps,
            "chunk": job.size,
            "memory": job.layout.need + (job.trains.size if job.trains else 0),
            "seconds": {"lower": lowered - begin, "compile": compiling[0], "simulate": max(0.0, total - compiling[0])},
        },
    )


def _graph_data(
    raw: RawData, found: Result, findings: tuple[Finding, ...], known: dict[str, object], seconds: dict[str, float]
) -> RawData:
    """Samples of the phase graph with what is known of them."""
    kind = np.complex64 if known["dtype"] == "float32" else complex
    sizes = {"n_states": found.states, "n_sites": found.sites, "n_kinds": found.kinds, "dropped": found.dropped}
    return replace(
        raw,
        signal=raw.signal.astype(kind),
        findings=(*findings, *found.findings(), *raw.findings),
        provenance={
            **raw.provenance, **known, **sizes, "engine": "epg", "n_coils": len(raw.signal), "seconds": seconds,
        },
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class _Job:
    """A program and its spins, in the order in which they are summed."""

    spins: Phantom
    sensitivity: Complex[np.ndarray, "coils spins"] | None
    start: Float[np.ndarray, "spins 3"] | None
    spoil: bool
    layout: Plan
    run: int  # neighboring spins that the encoding cannot tell apart
    program: Program
    tolerance: float
    dtype: np.dtype
    extra: bloch.Extra | None = None  # what a contrast agent adds in each step
    pathway: Pathway | None = None  # along which diffusion acts
    transformed: tuple[int, ...] | None = None  # classes of trains, where a former run has chosen them

    @cached_property
    def trains(self) -> Trains | None:
        """Trains that are encoded after all chunks."""
        spins, coils = self.spins, self.sensitivity
        starts, n = _chunks.chunk_starts(spins.n_spins, self.size), spins.n_spins
        if self.run > 1 or sum(min(self.size, n - s) for s in starts) < n:
            places = np.concatenate([np.zeros(0, int), *(np.arange(s, s + self.size, self.run) for s in starts)])
            places = places[places < n]
            spins, coils = spins.take(places), None if coils is None else coils[:, places]
        found = Trains.of(
            self.program,
            spins,
            coils,
            width=self.size // self.run,
            tolerance=self.tolerance,
            dtype=self.dtype,
            left=self.layout.left,
            workers=self.layout.workers,
            chosen=self.transformed,
        )
        return found if found.classes else None

    @property
    def size(self) -> int:
        """Spins of a chunk."""
        return _chunks.chunk_size(self.spins.n_spins, self.layout.chunk, self.run)

    @cached_property
    def work(self) -> _chunks.Work:
        classes = self.trains.classes if self.trains else ()
        return _chunks.prepare(
            self.program,
            self.spins,
            self.spoil,
            self.tolerance,
            self.dtype,
            self.size,
            self.run,
            classes,
            self.extra, self.pathway,
        )  # fmt: skip

    @property
    def key(self) -> str:
        """What the sum depends on."""
        given = (self.program, self.spins, self.sensitivity, self.start, self.extra, self.pathway)
        parts = (*given, self.spoil, self.tolerance, str(self.dtype))
        return digest(parts, self.run, jax.__version__, jax.default_backend(), jax.process_count(), jax.process_index())


def _job(
    program: Program,
    phantom: Phantom,
    receivers: Receivers,
    initial: ArrayLike | None,
    spoil: bool,
    tolerance: float,
    dtype: np.dtype,
    budget: int | None,
) -> _Job:
    """Put spins that the encoding cannot tell apart side by side, and find a chunk that the memory holds."""
    sensitivity = receivers.sensitivity(np.asarray(phantom.position)) if isinstance(receivers, CoilArray) else receivers
    start = _initial(initial, phantom.n_spins)
    spins, run = phantom, 1
    grouping = group_spins(program, phantom, tolerance) if sensitivity is None and program.readouts else None
    if grouping is not None:
        spins, run = grouping.arrange(phantom), grouping.size
        start = None if start is None else start[grouping.order]
    n_coils = 1 if sensitivity is None else sensitivity.shape[0]
    layout = plan(
        program, phantom.n_spins, n_coils, dtype.itemsize, budget, _chunks.worker_count(), _chunks.largest_chunk()
    )
    return _Job(
        spins=spins,
        sensitivity=sensitivity,
        start=start,
        spoil=spoil,
        layout=layout,
        run=run,
        program=program,
        tolerance=tolerance,
        dtype=dtype,
    )


def _summed(job: _Job, kept: Checkpoint | None, progress: Progress) -> Complex[np.ndarray, "coils samples"]:
    """Sum over all chunks."""
    taken = job.trains.size if job.trains else 0
    STORE.resize(min(job.layout.store, max(0, job.layout.left - taken)))
    n_chunks = len(_chunks.chunk_starts(job.spins.n_spins, job.size))
    with _advancer(progress, n_chunks) as advance:
        return _chunks.run_chunks(
            job.work, job.spins, job.sensitivity, job.start, job.layout, advance, kept, job.trains
        )


def _raw_data(seq: Sequence, clean: np.ndarray, receivers: Receivers, level: Noise, seed: int) -> RawData:
    """Samples with noise, and where and when they lie."""
    k, times, table = samples_of(seq)
    std = level.per_sample(np.repeat(table.dwell, table.count), np.repeat(table.count, table.count), seq.recon)
    return RawData(
        signal=add_noise(clean, std, seed) if std.any() else clean,
        k=k,
        time=times,
        readouts=table,
        geometry=seq.geometry,
        recon=seq.recon,
        sensitivities=_on_grid(receivers, seq),
        findings=noise_finding(level, std),
        provenance={"seed": seed, "noise": float(std[0]) if len(std) else 0.0},
        sequence=seq,
    )


def signal(
    program: Program,
    phantom: Phantom,
    *,
    spoiling: Spoiling = "gradient",
    sensitivity: Complex[Array, "coils spins"] | None = None,
    initial: Float[Array, "spins 3"] | None = None,
    dtype: Literal["float32", "float64"] = "float32",
) -> Complex[Array, "coils samples"]:
    """The pure function that `simulate` wraps: pytrees in, samples out; differentiable and without chunks.

    Derivatives flow to every float of the program and of the phantom. For float64, JAX must have 64-bit types on.

    Args:
        program: Normal form of a sequence.
        phantom: Isochromats.
        spoiling: As in `simulate`.
        sensitivity: Receive sensitivities; None for one uniform coil.
        initial: Magnetisation to start from; None for equilibrium.
        dtype: Precision of the computation.

    Returns:
        Samples in acquisition order, receiver phase and frequency applied.

    Example:
        >>> import mrisim as mr
        >>> water = mr.Phantom.from_arrays(position=[[0.0, 0.0, 0.0]], t1=1.0, t2=0.1)
        >>> signal(mr.lower(mr.load_sequence("fid")), water).shape
        (1, 2048)
    """
    kind = np.dtype(dtype)
    spins = jax.tree.map(jnp.asarray, bloch.place_spins(phantom, kind))
    steps = bloch.place_steps(program.steps, program.pulses, spoiling == "ideal", kind)
    propagators = bloch.pulse_propagators(program, spins, *_exact(program))
    _, emitted = bloch.evolve(bloch.init(spins, initial), steps, propagators, spins)
    n_coils = 1 if sensitivity is None else sensitivity.shape[0]
    result = jnp.zeros((n_coils, program.n_samples), np.result_type(kind, np.complex64))
    received = [emitted] if sensitivity is None else [emitted * coil for coil in sensitivity]
    for readout in program.readouts:
        made = matrix.encoder(matrix.place_train(readout, kind), spins.position, spins.df, spins.r2)
        parts = jnp.stack([matrix.encode(m[readout.step], made) for m in received])
        receiver = jnp.exp(-1j * jnp.asarray(readout.phase, kind))[None, :, None]
        where = readout.first[:, None] + np.arange(parts.shape[2])
        result = result.at[:, where].set(parts * receiver)
    return result


def trace(
    seq: Sequence,
    phantom: Phantom,
    times: ArrayLike,
    *,
    pulses: Pulses = "shaped",
    spoiling: Spoiling = "gradient",
    initial: ArrayLike | None = None,
) -> Float[np.ndarray, "times spins 3"]:
    """Magnetisation of each isochromat at given times, in float64; at the time of a pulse without length, before it.

    Args:
        seq: The sequence.
        phantom: Isochromats; few, because nothing is chunked.
        times: From the start of the sequence [s].
        pulses, spoiling, initial: As in `simulate`.

    Returns:
        (mx, my, mz) relative to equilibrium, in the order of `times`.

    Raises:
        ConsistencyError: times outside the sequence, or an unknown choice.

    Example:
        >>> import mrisim as mr
        >>> water = mr.Phantom.from_arrays(position=[[0.0, 0.0, 0.0]], t1=1.0, t2=0.1)
        >>> trace(mr.load_sequence("fid"), water, [0.0])[0, 0]
        array([0., 0., 1.])
    """
    check_choices(pulses=pulses, spoiling=spoiling)
    wanted = np.atleast_1d(np.asarray(times, dtype=float))
    if not np.all((wanted >= 0) & (wanted <= seq.duration * (1 + 1e-12))):
        reach = f"{wanted.min():g} to {wanted.max():g} s"
        rule = f"must lie within the sequence, 0 to {seq.duration:g} s, but reach from {reach}"
        raise ConsistencyError(Problem(rule, path="times"))
    program = lower(seq, pulses, cuts=wanted)
    with _chunks.precision(np.dtype(np.float64)):
        spins = jax.tree.map(jnp.asarray, bloch.place_spins(phantom, np.dtype(np.float64)))
        length = -(-program.n_steps // 32) * 32
        steps = bloch.place_steps(
            _chunks.slice_steps(program.steps, 0, length), program.pulses, spoiling == "ideal", np.dtype(np.float64)
        )
        propagators = bloch.pulse_propagators(program, spins, *_exact(program))
        start = bloch.init(spins, _initial(initial, phantom.n_spins))
        _, states = bloch.follow(start, steps, propagators, spins)
        row = np.searchsorted(program.steps.time, wanted, side="left")
        return np.asarray(states)[row].swapaxes(1, 2)


def _on_grid(receivers: object, seq: Sequence) -> Complex[np.ndarray, "coils z y x"] | None:
    """Sensitivities on the image grid, where they are known beyond the isochromats."""
    if not isinstance(receivers, CoilArray) or seq.recon is None:
        return None
    return receivers.sensitivity(seq.recon.grid(seq.geometry).positions())


def _exact(program: Program) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """No shortcut in any pulse: relaxation between all intervals, angles of any size."""
    n = len(program.pulses.waveform)
    return (1,) * n, (False,) * n


def _received(signal: np.ndarray, program: Program) -> np.ndarray:
    """Receiver phase of each readout, applied on the host in float64."""
    result = np.array(signal)
    for readout in program.readouts:
        where = readout.first[:, None] + np.arange(len(readout.delay))
        result[:, where] *= np.exp(-1j * readout.phase)[None, :, None]
    return result


def _initial(initial: ArrayLike | None, n: int) -> Float[np.ndarray, "spins 3"] | None:
    if initial is None:
        return None
    values = np.asarray(initial, dtype=float)
    if values.shape not in ((3,), (n, 3)) or not np.all(np.isfinite(values)):
        raise ConsistencyError(
            Problem(f"must be finite and have shape (3,) or ({n}, 3), but has {values.shape}", path="initial")
        )
    return np.array(np.broadcast_to(values, (n, 3)))


@contextmanager
def _compile_clock() -> Iterator[list[float]]:
    """Seconds that XLA spends on compilation meanwhile."""
    spent = [0.0]

    def listen(event: str, duration: float, **_: object) -> None:
        if event.startswith("/jax/core/compile/"):
            spent[0] += duration

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield spent
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@contextmanager
def _advancer(progress: Progress, total: int) -> Iterator[Callable[[int], None]]:
    """A function that reports finished chunks."""
    if callable(progress):
        done = 0

        def report(n: int) -> None:
            nonlocal done
            done += n
            progress(done, total)

        yield report
    elif progress:
        from rich.progress import Progress as Bar

        with Bar(transient=True) as bar:
            task = bar.add_task("Simulating", total=total)
            yield lambda n: bar.advance(task, n)
    else:
        yield lambda n: None
