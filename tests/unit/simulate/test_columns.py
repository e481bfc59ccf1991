"""Layers summed as states evolve, and boxes by transforms, give the samples that layers give one by one by matrices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import mrisim as mr
from mrisim.pipeline.phantoms import PhantomSource
from mrisim.simulate import _boxes, _phase_graph


@pytest.mark.parametrize("coils", [None, 2])
def test_summed_layers_are_the_layers(monkeypatch, coils):
    """A train of spiral arms over tubes that share voxels; coils as they are at each box."""
    seq = mr.load_sequence("mrf_fisp", repetitions=8, matrix=8, arms=2)
    spins = PhantomSource.of("vials", {"radius": "9 mm"}).sample(seq, 3)
    asked = {"engine": "epg", "coils": coils, "tolerance": 1e-3}
    summed = mr.simulate(seq, spins, **asked).signal
    calls = []
    monkeypatch.setattr(_phase_graph, "can_be_summed", lambda *given: bool(calls.append(1)))
    apart = mr.simulate(seq, spins, **asked).signal
    assert calls
    assert np.linalg.norm(summed - apart) < 2e-5 * np.linalg.norm(apart)  # float32; weights of layers alike to 1e-6


@pytest.mark.parametrize("coils", [None, 2])
def test_boxes_by_transforms_are_the_boxes_by_matrices(monkeypatch, coils):
    """Off the middle, with off-resonance, parts of voxels and slab faces that fade: within the transforms' half of the
    tolerance.
    """
    seq = mr.load_sequence("mrf_fisp", repetitions=8, matrix=24, arms=4)
    spins = PhantomSource.of("vials", {"radius": "9 mm"}).sample(seq, 9)
    spins = replace(
        spins, df=np.full(spins.n_spins, 20.0), position=np.asarray(spins.position) + np.array([0.003, -0.002, 0.0])
    )
    found, tolerance = {}, 1e-3
    for pays in (True, False):
        monkeypatch.setattr(_boxes, "_pays", lambda *given, pays=pays: pays)
        found[pays] = mr.simulate(seq, spins, engine="epg", coils=coils, tolerance=tolerance).signal
    difference = np.linalg.norm(found[True] - found[False]) / np.linalg.norm(found[False])
    assert 1e-9 < difference < 0.5 * tolerance


def test_a_box_is_as_many_points_as_its_phase_needs():
    """The mean of exp(i phase x) over -1 … 1 by so many points, to the error asked for."""
    error = 1e-5
    for n, phase in enumerate(_boxes._points_needed(error)[:8], start=1):
        nodes, weights = np.polynomial.legendre.leggauss(n)
        assert abs(np.sum(weights * np.exp(1j * phase * nodes)) / 2 - np.sin(phase) / phase) < error
