"""Layers of a box summed before the encoding give the samples that they give one by one."""

from __future__ import annotations

import numpy as np
import pytest

import mrisim as mr
from mrisim.pipeline.phantoms import PhantomSource
from mrisim.simulate import _phase_graph


@pytest.mark.parametrize("coils", [None, 2])
def test_summed_layers_are_the_layers(monkeypatch, coils):
    """A train of spiral arms over tubes that share voxels; coils as they are at each box."""
    seq = mr.load_sequence("mrf_fisp", repetitions=8, matrix=8, arms=2)
    spins = PhantomSource.of("vials", {"radius": "9 mm"}).sample(seq, 3)
    asked = {"engine": "epg", "coils": coils, "tolerance": 1e-3}
    summed = mr.simulate(seq, spins, **asked).signal
    calls = []
    monkeypatch.setattr(_phase_graph, "summed_columns", lambda *given: calls.append(1) or given[1:])
    apart = mr.simulate(seq, spins, **asked).signal
    assert calls
    assert np.linalg.norm(summed - apart) < 2e-5 * np.linalg.norm(apart)  # float32; weights of layers alike to 1e-6
