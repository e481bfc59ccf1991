"""Long trains that are transformed after all chunks give what the matrices give."""

from __future__ import annotations

import numpy as np
import pytest
from physics.build import spins

from mrisim.encoding.nufft import backends
from mrisim.program import lower
from mrisim.sequence import load_sequence
from mrisim.simulate import _chunks, _trains, hosts, simulate
from mrisim.simulate._memory import SMALLEST_CHUNK, plan

pytestmark = pytest.mark.skipif(backends()[0] != "finufft", reason="finufft on a CPU is what is chosen")
GENERATOR = np.random.default_rng(11)
N = 700  # two chunks of 256, and one that is filled up
SOURCE = spins(
    position=GENERATOR.uniform(-0.1, 0.1, (N, 3)) * [1, 1, 0.02],
    t1=GENERATOR.uniform(0.3, 1.5, N),
    t2=GENERATOR.uniform(0.03, 0.2, N),
    df=GENERATOR.normal(0, 30, N),
    t2_prime=0.05,
    lorentz=GENERATOR.uniform(-0.45, 0.45, N),
)
SMALL = {"matrix": "24", "dummies": 2}
SCANS = {
    "spiral_gre": {**SMALL, "shots": 3, "TR": "40 ms", "bandwidth": "250 kHz"},
    "radial_flash": {**SMALL, "spokes": 7},
}
TOLERANCE = 1e-4


def scan(name: str):
    return load_sequence(name, **SCANS[name])


def run(seq, source=SOURCE, **options):
    return simulate(seq, source, **{"tolerance": TOLERANCE, **options})


def relative(found, expected) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.fixture(autouse=True)
def chunks_of_256(monkeypatch):
    monkeypatch.setattr(_chunks, "largest_chunk", lambda: 256)


@pytest.fixture
def forced(monkeypatch):
    """Every class is transformed; the list holds how many were."""
    seen: list[int] = []
    samples = _trains.Trains.samples
    monkeypatch.setattr(_trains, "choose", lambda *_, **__: "nufft")
    monkeypatch.setattr(_trains.Trains, "samples", lambda self, index: seen.append(index) or samples(self, index))
    return seen


@pytest.fixture(scope="module")
def by_matrix():
    """Of each scan and options, in float64."""
    known = {}

    def signal(name, **options):
        key = (name, *sorted(options.items()))
        if key not in known:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(_trains, "choose", lambda *_, **__: "matrix")
                known[key] = run(scan(name), dtype="float64", **options).signal
        return known[key]

    return signal


@pytest.mark.parametrize("name", SCANS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("coils", [None, 3])
def test_transforms_agree_with_matrices(name, dtype, coils, by_matrix, forced):
    expected = by_matrix(name, coils=coils)
    found = run(scan(name), dtype=dtype, coils=coils).signal
    assert len(forced) >= SCANS[name].get("shots", SCANS[name].get("spokes"))
    rounding = 2e-5 if dtype == "float32" else 0.0  # what the matrices in float32 are off, and half as much again
    assert 0 < relative(found, expected) < TOLERANCE + rounding


def test_a_finer_tolerance_is_kept_too(by_matrix, forced):
    expected = by_matrix("spiral_gre", tolerance=1e-7)
    assert relative(run(scan("spiral_gre"), dtype="float64", tolerance=1e-7).signal, expected) < 1e-7


def test_spins_that_the_encoding_cannot_tell_apart_are_transformed_once(forced, monkeypatch):
    """Columns of spins along z, which no spoke sees, fill runs."""
    flat = SOURCE.position[:100] * [1, 1, 0]
    position = np.repeat(flat, 8, axis=0) + np.tile(np.linspace(-2e-3, 2e-3, 8), 100)[:, None] * [0, 0, 1]
    source = spins(position=position, t1=1.0, t2=0.08, df=10.0)
    shapes, made = [], _trains.Trains.of
    monkeypatch.setattr(_trains.Trains, "of", lambda p, s, c, **rest: shapes.append(s.n_spins) or made(p, s, c, **rest))
    found = run(scan("radial_flash"), source, dtype="float64").signal
    assert shapes == [100]
    monkeypatch.setattr(_trains, "choose", lambda *_, **__: "matrix")
    assert 0 < relative(found, run(scan("radial_flash"), source, dtype="float64").signal) < TOLERANCE


@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_no_bit(workers, forced, monkeypatch):
    seq = scan("spiral_gre")
    first = run(seq, coils=2).signal
    monkeypatch.setattr(_chunks, "worker_count", lambda: workers)
    assert np.array_equal(run(seq, coils=2).signal, first)


class Stop(Exception):
    pass


@pytest.mark.parametrize("when", [1, 3])
def test_a_stopped_run_goes_on_with_the_same_bits(tmp_path, forced, monkeypatch, when):
    """Stopped after the first chunk, and after the last but before the transforms."""

    def stop(done, total):
        assert total == 3
        if done == when:
            raise Stop

    seq, file = scan("spiral_gre"), tmp_path / "run.npz"
    whole = run(seq).signal
    with pytest.raises(Stop):
        run(seq, checkpoint=file, progress=stop)
    monkeypatch.setattr(_trains, "choose", lambda *_, **__: "matrix")  # what the run began with counts
    seen = []
    again = run(seq, checkpoint=file, progress=lambda done, total: seen.append(done), memory="4 GiB")
    assert seen[0] == when
    assert np.array_equal(again.signal, whole)
    forced.clear()
    assert np.array_equal(run(seq, checkpoint=file).signal, whole)
    assert forced == []  # a finished run is there at once


def test_processes_transform_their_own_spins_and_add_up(forced, monkeypatch, by_matrix):
    expected, parts = by_matrix("spiral_gre", coils=2), []
    for rank in range(2):
        monkeypatch.setattr(hosts, "share", lambda items, rank=rank: list(items)[rank::2])
        parts.append(run(scan("spiral_gre"), dtype="float64", coils=2).signal)
    assert relative(sum(parts), expected) < TOLERANCE
    assert min(np.linalg.norm(part) for part in parts) > 0


def test_what_the_memory_does_not_hold_stays_with_the_matrices(forced, by_matrix):
    """Just above what the smallest chunk needs, whatever the number of cores."""
    seq = scan("radial_flash")
    least = plan(lower(seq), N, 1, 8, 1 << 40, workers=1, largest=SMALLEST_CHUNK).need
    found = run(seq, dtype="float64", memory=least + 1000)
    assert forced == []
    assert relative(found.signal, by_matrix("radial_flash")) < 1e-12
    wide = run(seq, dtype="float64", memory="1 GiB")
    assert forced
    assert wide.provenance["memory"] > least + 1000 >= found.provenance["memory"]


def test_too_many_terms_stay_with_the_matrices(forced, monkeypatch, by_matrix):
    monkeypatch.setattr("mrisim.encoding.lowrank.MOST_TERMS", 1)
    assert relative(run(scan("spiral_gre"), dtype="float64").signal, by_matrix("spiral_gre")) < 1e-12
    assert forced == []
