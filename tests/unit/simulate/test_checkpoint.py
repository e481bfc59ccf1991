"""A run that was stopped goes on where it was, with the same result to the last bit."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest
from physics.build import spins

from mrisim.encoding import grouping
from mrisim.errors import ConsistencyError, ResourceError
from mrisim.program import lower
from mrisim.sequence import load_sequence
from mrisim.simulate import simulate

_chunks = importlib.import_module("mrisim.simulate._chunks")
GENERATOR = np.random.default_rng(5)
SOURCE = spins(
    position=GENERATOR.uniform(-0.1, 0.1, (1000, 3)) * [1, 1, 0.01], t1=1.0, t2=0.1, df=GENERATOR.normal(0, 20, 1000)
)
SMALL = {"memory": 700_000}  # bytes: chunks of 256 spins


def scan():
    return load_sequence("spin_echo", matrix="[16, 16]", TE="20 ms", TR="100 ms")


class Stop(Exception):
    pass


def stop_after(n: int):
    def report(done: int, total: int) -> None:
        assert total > n
        if done >= n:
            raise Stop

    return report


def test_a_stopped_run_goes_on_behind_its_last_chunk(tmp_path):
    file = tmp_path / "run.npz"
    whole = simulate(scan(), SOURCE, **SMALL).signal
    with pytest.raises(Stop):
        simulate(scan(), SOURCE, checkpoint=file, progress=stop_after(3), **SMALL)
    seen = []
    again = simulate(scan(), SOURCE, checkpoint=file, progress=lambda done, total: seen.append(done), **SMALL)
    assert seen[0] == 3  # not from the start
    assert np.array_equal(again.signal, whole)
    assert [path.name for path in tmp_path.iterdir()] == ["run.npz"]


def test_a_run_of_near_spins_and_of_the_rest_goes_on_too(tmp_path, monkeypatch):
    """Stopped in the runs, and among the spins whose frequency lies far off."""
    for name, value in {"_LEAST_WORK": 0, "_WORTH": np.inf}.items():
        monkeypatch.setattr(grouping, name, value)
    far = replace(SOURCE, df=np.where(np.arange(1000) % 12 == 0, 5e4, SOURCE.df))
    found = grouping.group_spins(lower(scan()), far, 1e-4)
    assert found.band is not None
    assert len(found.rest) >= 84
    monkeypatch.setattr(_chunks, "largest_chunk", lambda: 256)
    counts = []
    whole = simulate(scan(), far, progress=lambda done, total: counts.append(total)).signal
    exact = simulate(scan(), far, tolerance=1e-9, dtype="float64").signal
    assert np.linalg.norm(whole - exact) < 1e-4 * np.linalg.norm(exact)
    for stop in (2, counts[-1] - 1):
        file = tmp_path / f"{stop}.npz"
        with pytest.raises(Stop):
            simulate(scan(), far, checkpoint=file, progress=stop_after(stop))
        assert np.array_equal(simulate(scan(), far, checkpoint=file).signal, whole)


def test_a_run_goes_on_with_the_chunk_that_it_began_with(tmp_path):
    """Another memory budget would cut the spins, and so the sum, in another way."""
    file = tmp_path / "run.npz"
    with pytest.raises(Stop):
        simulate(scan(), SOURCE, checkpoint=file, progress=stop_after(2), **SMALL)
    again = simulate(scan(), SOURCE, checkpoint=file, memory="2 GiB")
    assert again.provenance["chunk"] == 256
    assert np.array_equal(again.signal, simulate(scan(), SOURCE, **SMALL).signal)


def test_a_finished_run_is_there_at_once(tmp_path, monkeypatch):
    first = simulate(scan(), SOURCE, checkpoint=tmp_path / "run.npz", **SMALL)
    monkeypatch.setattr(_chunks, "run_chunk", None)  # nothing is computed
    assert np.array_equal(simulate(scan(), SOURCE, checkpoint=tmp_path / "run.npz", **SMALL).signal, first.signal)


@pytest.mark.parametrize("change", [{"spoiling": "ideal"}, {"tolerance": 1e-3}, {"dtype": "float64"}, {"coils": 2}])
def test_another_run_is_refused(tmp_path, change):
    file = tmp_path / "run.npz"
    simulate(scan(), SOURCE, checkpoint=file, **SMALL)
    with pytest.raises(ConsistencyError) as caught:
        simulate(scan(), SOURCE, checkpoint=file, **SMALL, **change)
    rule = "must belong to this run, but is another one's. Delete it to begin anew."
    assert str(caught.value) == f"{file}: checkpoint: {rule}"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"no checkpoint at all"])
def test_a_broken_file_is_refused(tmp_path, content):
    file = tmp_path / "run.npz"
    file.write_bytes(content)
    with pytest.raises(ConsistencyError, match="must be a checkpoint, but is not"):
        simulate(scan(), SOURCE, checkpoint=file)
    assert file.read_bytes() == content


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(ResourceError, match="must be writable, but is not"):
        simulate(scan(), SOURCE, checkpoint=tmp_path / "nowhere" / "run.npz")
