"""From YAML to image with an exact answer and no inverse crime.

Where one coherence pathway carries the signal and tissues are uniform, s(t) = sum over tissues m(t) F(k(t)), with m
from one spin at the origin and F the closed-form transform of the tissue's shapes. Isochromats must converge to it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from physics.build import spins

from mrisim.phantom import load_model
from mrisim.recon import reconstruct
from mrisim.sequence import load_sequence
from mrisim.simulate import simulate

OPTIONS = {"pulses": "ideal", "spoiling": "ideal"}
SEQUENCES = {
    "spin_echo": {"matrix": "[128, 128]", "dummies": 1},
    "flash_2d": {"matrix": "[96, 64]", "fov": "[220 mm, 200 mm]"},
    "gre_epi": {"matrix": "[64, 64]", "dummies": 0},
}
VOXELS = np.array([2.0, 1.4, 1.0, 0.7, 0.5]) * 1e-3


@pytest.fixture(scope="module")
def model():
    return load_model("ellipse_box")


@pytest.fixture(scope="module", params=SEQUENCES)
def chain(request, model):
    """Sequence, exact raw data, and magnetisation times density of each tissue per sample."""
    seq = load_sequence(request.param, **SEQUENCES[request.param])
    tissues = [t for t in model.tissues if t.species and t.pd > 0]
    names = [t.name for t in tissues]
    one_each = spins(
        t1=[t.species[0].t1 for t in tissues], t2=[t.species[0].t2 for t in tissues], pd=[t.pd for t in tissues]
    )
    raw = simulate(seq, one_each, dtype="float64", coils=np.eye(len(tissues)), **OPTIONS)
    factors = model.form_factors(raw.k)
    exact = sum(raw.signal[names.index(name)] * values for name, values in factors.items())
    return seq, replace(raw, signal=exact[None]), dict(zip(names, raw.signal, strict=True))


def sampled(model, voxel: float, isochromats: int = 1):
    """The flat phantom as plain isochromats, whose weights are areas."""
    phantom = model.sample(model.sampling(voxel=voxel, isochromats=isochromats))
    return replace(phantom, model=None, sampling=None)


def error(seq, exact, phantom) -> float:
    signal = simulate(seq, phantom, **OPTIONS).signal
    return float(np.linalg.norm(signal - exact.signal) / np.linalg.norm(exact.signal))


def test_isochromats_converge_to_the_exact_signal(chain, model):
    """A cell on an edge is off by a random part of its area: h^1.5 for the root of the sum of squares."""
    seq, exact, _ = chain
    errors = [error(seq, exact, sampled(model, voxel)) for voxel in VOXELS]
    slope = np.polyfit(np.log(VOXELS), np.log(errors), 1)[0]
    assert slope > 1.3
    assert errors[-1] < 0.02  # 1000 edge cells of a quarter of a square mm, in an object of 10,000 square mm


def test_image_equals_the_exact_one(chain, model):
    seq, exact, magnetisation = chain
    image = reconstruct(simulate(seq, sampled(model, 1e-3, 7), **OPTIONS))
    expected = reconstruct(exact)
    difference = np.linalg.norm(image.data - expected.data) / np.linalg.norm(expected.data)
    assert difference < 0.015
    values = image.data[0, 0] * seq.recon.fov[2]  # a flat phantom has areas, not volumes
    truth = model.truth(replace(image.grid, slice_positions=np.zeros(1)))
    middle = np.argmin(np.linalg.norm(exact.k, axis=1))
    for name in ("white_matter", "gray_matter"):
        inside = eroded(truth.mask(name, 0.999)[0], 2)
        assert inside.sum() > 5
        # the mean over a region keeps a little of Gibbs' ringing
        assert np.mean(values[inside]) == pytest.approx(magnetisation[name][middle], rel=0.04)


def eroded(mask: np.ndarray, n: int) -> np.ndarray:
    for _ in range(n):
        mask = mask & np.roll(mask, 1, 0) & np.roll(mask, -1, 0) & np.roll(mask, 1, 1) & np.roll(mask, -1, 1)
    return mask


def test_sampling_density_of_the_image_does_not_change_its_values(model):
    """Weights of a voxel add up to its area, however many isochromats it holds."""
    seq = load_sequence("gre_epi", matrix="[16, 16]", dummies=0)
    totals = []
    for isochromats in (1, 7):
        totals.append(simulate(seq, sampled(model, 1e-3, isochromats), **OPTIONS).signal[0])
    assert np.abs(totals[0] - totals[1]).max() < 0.01 * np.abs(totals[0]).max()
