"""`simulate`, `signal`, `trace`: the stage that owns precision, chunks, coils and noise."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from mrisim._types import Array, Complex, Float
from mrisim.data import Phantom, RawData
from mrisim.encoding import matrix
from mrisim.engines import bloch
from mrisim.errors import ConsistencyError, Problem
from mrisim.events.blocks import Sequence
from mrisim.physics.coils import CoilArray
from mrisim.program import Program, Pulses, lower
from mrisim.simulate import _chunks
from mrisim.simulate._described import own_samples
from mrisim.simulate._fit import check_choices, check_fit
from mrisim.simulate._isochromats import run_isochromats
from mrisim.simulate._memory import parse_memory
from mrisim.simulate._phase_graph import run_graph
from mrisim.simulate._progress import Progress, compile_clock, spare_maps
from mrisim.simulate._segments import slice_steps
from mrisim.simulate._setting import Found, Setting
from mrisim.simulate._walk import Walk, run_walk
from mrisim.simulate.receive import Coils, Noise, add_noise, noise_finding, resolve_coils
from mrisim.simulate.uptake import injection_time

Spoiling = Literal["gradient", "ideal"]


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
    name = "walk" if isinstance(engine, Walk) else engine
    check_choices(engine=name, pulses=pulses, spoiling=spoiling, dtype=dtype)
    level = Noise.of(noise)
    check_fit(seq, phantom)
    setting = Setting(
        seq=seq,
        phantom=phantom,
        receivers=resolve_coils(coils, phantom.n_spins),
        initial=_initial(initial, phantom.n_spins),
        pulses=pulses,
        spoil=spoiling == "ideal",
        tolerance=tolerance,
        dtype=np.dtype(dtype),
        injected=injection_time(injection, phantom, engine),
        budget=None if memory is None else parse_memory(memory),
        seed=seed,
        progress=progress,
        checkpoint=checkpoint,
    )
    begin = time.perf_counter()
    program = setting.program
    lowered = time.perf_counter()
    with compile_clock() as compiling:
        found = _runner(engine)(setting)
    spent = time.perf_counter() - lowered - compiling[0]
    if compiling[0] > 0:
        spare_maps()
    raw = _raw_data(setting, found.signal, level)
    return replace(
        raw,
        signal=raw.signal.astype(np.complex64 if dtype == "float32" else complex),
        standard_error=found.standard_error,
        findings=(*seq.findings, *phantom.findings, *found.findings, *raw.findings),
        provenance={
            **raw.provenance,
            "sequence": seq.name,
            "engine": name,
            "pulses": pulses,
            "spoiling": spoiling,
            "dtype": dtype,
            **({} if setting.injected is None else {"injection": setting.injected}),
            "b0": seq.system.b0,
            "gamma": seq.system.gamma,
            "n_spins": phantom.n_spins,
            "n_coils": len(found.signal),
            "n_steps": program.n_steps,
            **found.provenance,
            "seconds": {"lower": lowered - begin, "compile": compiling[0], "simulate": max(0.0, spent)},
        },
    )


def _runner(engine: str | Walk) -> Callable[[Setting], Found]:
    """What runs an engine."""
    if isinstance(engine, Walk):
        return partial(run_walk, engine)
    runners = {"bloch": run_isochromats, "epg": run_graph, "walk": partial(run_walk, Walk())}
    return runners[engine]


def _raw_data(setting: Setting, clean: np.ndarray, level: Noise) -> RawData:
    """Samples with noise, and where and when they lie."""
    seq, seed = setting.seq, setting.seed
    k, times, table = own_samples(seq)
    std = level.per_sample(np.repeat(table.dwell, table.count), np.repeat(table.count, table.count), seq.recon)
    return RawData(
        signal=add_noise(clean, std, seed) if std.any() else clean,
        k=k,
        time=times,
        readouts=table,
        geometry=seq.geometry,
        recon=seq.recon,
        sensitivities=_on_grid(setting.receivers, seq),
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
            slice_steps(program.steps, 0, length), program.pulses, spoiling == "ideal", np.dtype(np.float64)
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


def _initial(initial: ArrayLike | None, n: int) -> Float[np.ndarray, "spins 3"] | None:
    if initial is None:
        return None
    values = np.asarray(initial, dtype=float)
    if values.shape not in ((3,), (n, 3)) or not np.all(np.isfinite(values)):
        raise ConsistencyError(
            Problem(f"must be finite and have shape (3,) or ({n}, 3), but has {values.shape}", path="initial")
        )
    return np.array(np.broadcast_to(values, (n, 3)))
