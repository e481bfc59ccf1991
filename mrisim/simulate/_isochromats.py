"""Engine `bloch` over all isochromats of a phantom: chunks, checkpoints, trains, and what its sampling costs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import jax
import numpy as np

from mrisim._types import Complex, Float
from mrisim.data import Phantom
from mrisim.encoding.grouping import Grouping, group_spins
from mrisim.engines import bloch
from mrisim.physics.coils import CoilArray
from mrisim.program import Program
from mrisim.simulate import _chunks
from mrisim.simulate._checkpoint import Checkpoint, digest
from mrisim.simulate._described import samples_of
from mrisim.simulate._memory import Plan, plan
from mrisim.simulate._progress import Progress, advancer
from mrisim.simulate._setting import Found, Setting, received
from mrisim.simulate._store import STORE
from mrisim.simulate._trains import Trains
from mrisim.simulate.density import judge_density, resolves_slices
from mrisim.simulate.pathway import Pathway, diffusion_findings, find_pathway, weights
from mrisim.simulate.uptake import step_rates


def run_isochromats(setting: Setting) -> Found:
    """Sum of what all isochromats emit.

    Raises:
        ConsistencyError: another run's checkpoint.
        ResourceError: not enough memory; or a checkpoint that cannot be written.
    """
    seq, program, phantom = setting.seq, setting.program, setting.phantom
    k, _, table = samples_of(seq)
    job = _job(setting)
    job = replace(
        job,
        extra=step_rates(program, seq, phantom.uptake, setting.injected),
        pathway=find_pathway(program, table, phantom) if np.any(phantom.diffusion) else None,
    )
    kept = None if setting.checkpoint is None else Checkpoint(setting.checkpoint, job.key)
    if kept is not None and kept.chunk is not None:  # gone on with as it began, whatever the memory
        job = replace(job, layout=replace(job.layout, chunk=kept.chunk), transformed=kept.trains)
    signal = received(_summed(job, kept, setting.progress), program)
    spoiling = "ideal" if setting.spoil else "gradient"
    density = judge_density(program, k, phantom, spoiling, resolved=resolves_slices(seq))
    still = diffusion_findings(job.pathway, weights(table, phantom))
    return Found(
        signal=signal,
        findings=(*(density.findings() if density else ()), *still),
        provenance={
            "tolerance": setting.tolerance,
            "chunk": job.size,
            "memory": job.layout.need + (job.trains.size if job.trains else 0),
        },
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Job:
    """A program and its spins."""

    spins: Phantom
    sensitivity: Complex[np.ndarray, "coils spins"] | None
    start: Float[np.ndarray, "spins 3"] | None
    spoil: bool
    layout: Plan
    grouping: Grouping | None  # order in which spins are summed; None: as they are
    program: Program
    tolerance: float
    dtype: np.dtype
    extra: bloch.Extra | None = None  # what a contrast agent adds in each step
    pathway: Pathway | None = None  # along which diffusion acts
    transformed: tuple[int, ...] | None = None  # classes of trains, where a former run has chosen them

    @cached_property
    def trains(self) -> Trains | None:
        """Trains that are encoded after all chunks."""
        if self.run > 1 and self.grouping is not None and self.grouping.band is not None:
            return None
        spins, coils = self.spins, self.sensitivity
        starts = _chunks.chunk_starts(self.n_places, self.size)
        if self.run > 1 or len(starts) * self.size < self.n_places:
            places = np.concatenate([np.zeros(0, int), *(np.arange(s, s + self.size, self.run) for s in starts)])
            rows = places[places < self.n_places]
            rows = rows if self.grouping is None else self.grouping.order[rows]
            spins, coils = spins.take(rows), None if coils is None else coils[:, rows]
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
    def run(self) -> int:
        """Neighboring spins that the encoding takes together."""
        return 1 if self.grouping is None else self.grouping.size

    @property
    def n_places(self) -> int:
        """Spins, fillers of runs included."""
        return self.spins.n_spins if self.grouping is None else len(self.grouping.order)

    @property
    def size(self) -> int:
        """Spins of a chunk."""
        return _chunks.chunk_size(self.n_places, self.layout.chunk, self.run)

    @cached_property
    def works(self) -> tuple[_chunks.Work, ...]:
        """What the spins that come in runs share, or all, and what the rest share."""
        rest = None if self.grouping is None else self.grouping.rest
        if rest is None:
            return (self.work,)
        size = _chunks.chunk_size(len(rest), self.layout.chunk, 1)
        return self.work, _chunks.rest_of(self.work, rest, self.spoil, size, self.extra, self.pathway)

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
            self.grouping,
            classes,
            self.extra, self.pathway,
        )  # fmt: skip

    @property
    def key(self) -> str:
        """What the sum depends on."""
        given = (self.program, self.spins, self.sensitivity, self.start, self.extra, self.pathway)
        order = (
            None
            if self.grouping is None
            else (self.run, self.grouping.order, self.grouping.rest, str(self.grouping.band))
        )
        parts = (*given, self.spoil, self.tolerance, str(self.dtype))
        return digest(parts, order, jax.__version__, jax.default_backend(), jax.process_count(), jax.process_index())


def _job(setting: Setting) -> _Job:
    """Find the order of the spins that makes their encoding cheap, and a chunk that the memory holds."""
    program, phantom, receivers = setting.program, setting.phantom, setting.receivers
    sensitivity = receivers.sensitivity(np.asarray(phantom.position)) if isinstance(receivers, CoilArray) else receivers
    n_coils = 1 if sensitivity is None else sensitivity.shape[0]
    workers, largest = _chunks.worker_count(), _chunks.largest_chunk()
    grouping = group_spins(program, phantom, setting.tolerance, 0 if sensitivity is None else n_coils)
    sums = 0.0 if grouping is None else grouping.pivots / grouping.size
    layout = plan(program, phantom.n_spins, n_coils, setting.dtype.itemsize, setting.budget, workers, largest, sums)
    return _Job(
        spins=phantom,
        sensitivity=sensitivity,
        start=setting.initial,
        spoil=setting.spoil,
        layout=layout,
        grouping=grouping,
        program=program,
        tolerance=setting.tolerance,
        dtype=setting.dtype,
    )


def _summed(job: _Job, kept: Checkpoint | None, progress: Progress) -> Complex[np.ndarray, "coils samples"]:
    """Sum over all chunks."""
    taken = job.trains.size if job.trains else 0
    STORE.resize(min(job.layout.store, max(0, job.layout.left - taken)))
    n_chunks = len(_chunks.all_chunks(job.works))
    with advancer(progress, n_chunks) as advance:
        return _chunks.run_chunks(
            job.works, job.spins, job.sensitivity, job.start, job.layout, advance, kept, job.trains
        )
