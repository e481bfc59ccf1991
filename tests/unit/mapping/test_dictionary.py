"""Matching with a dictionary, and refinement between its points."""

from __future__ import annotations

import numpy as np
import pytest

from mrisim.errors import ConsistencyError
from mrisim.mapping.dictionary import Dictionary, grid_axis

T = np.linspace(0.01, 0.2, 24)


def recovery(t1, t2):
    return (1 - 2 * np.exp(-T / np.asarray(t1)[..., None])) * np.exp(-T / np.asarray(t2)[..., None])


@pytest.fixture(scope="module")
def dictionary():
    axes = {"t1": grid_axis("t1", 0.02, 1.0, 1.15), "t2": grid_axis("t2", 0.02, 1.0, 1.15)}
    signals = recovery(*np.meshgrid(axes["t1"], axes["t2"], indexing="ij"))
    return Dictionary(axes=axes, signals=signals * np.exp(0.3j), logarithmic=("t1", "t2"))


T1, T2 = np.array([0.051, 0.2, 0.77]), np.array([0.033, 0.3, 0.141])


def test_between_grid_points(dictionary):
    """Splines of fourth order on steps of 14 %; the phase of a voxel is its own."""
    fit = dictionary.match(2.5 * np.exp(1.1j) * recovery(T1, T2))
    assert fit["t1"] == pytest.approx(T1, rel=0.14**4)
    assert fit["t2"] == pytest.approx(T2, rel=0.14**4)
    assert fit["m0"] == pytest.approx([2.5] * 3, rel=0.14**4)


def test_given_property_is_not_fitted(dictionary):
    """Where T1 is known, T2 follows from it; where T1 is unknown, nothing does."""
    fit = dictionary.match(recovery(T1, T2) + 0j, {"t1": np.append(T1[:2], np.nan)})
    assert set(fit) == {"t2", "m0"}
    assert fit["t2"][:2] == pytest.approx(T2[:2], rel=0.14**4)
    assert np.isnan(fit["t2"][2])
    assert not fit.converged[2]


def test_low_rank_keeps_the_matches(dictionary):
    """Coefficients of the singular vectors do as well as the signals; there are fewer of them."""
    small, basis = dictionary.compressed(1e-6)
    assert basis.shape[1] < len(T) / 2
    assert basis.conj().T @ basis == pytest.approx(np.eye(basis.shape[1]), abs=1e-12)
    fit = small.match(recovery(T1, T2) @ basis.conj())
    assert fit["t1"] == pytest.approx(T1, rel=1e-3)
    assert fit["t2"] == pytest.approx(T2, rel=1e-3)


def test_standard_error_is_the_spread(dictionary):
    """400 noisy repeats: their spread is the error that each states, to the 10 % that 400 repeats tell it to."""
    rng = np.random.default_rng(1)
    clean = np.tile(recovery(T1[1:2], T2[1:2]), (400, 1))
    noisy = clean + 0.01 * (rng.standard_normal(clean.shape) + 1j * rng.standard_normal(clean.shape))
    fit = dictionary.match(noisy)
    for name in ("t1", "t2", "m0"):
        assert np.median(fit.standard_error[name]) == pytest.approx(fit[name].std(), rel=3 / np.sqrt(2 * 400))


def test_edges_and_empty_voxels_are_not_converged(dictionary):
    signal = np.stack([recovery(0.2, 0.3), 0 * T, np.full(len(T), np.nan), recovery(0.2, 5.0)]) + 0j
    fit = dictionary.match(signal)
    assert fit.converged.tolist() == [True, False, False, False]
    assert fit.counts == {"fitted": 1, "empty": 2, "failed": 1}


def test_axis_that_goes_downwards_is_refused():
    with pytest.raises(ConsistencyError, match=r"^t2: must go upwards from above 0, but goes from 2 to 1\.$"):
        grid_axis("t2", 2.0, 1.0, 1.1)


def test_a_narrow_valley_is_followed_to_its_end():
    """One mixture of two properties is well determined, the other hardly, as T2 of water is. A step too
    long is shortened as a whole: cut along each axis by itself, it leads up the walls, and two fifths are lost.
    """
    t, a_axis, b_axis = np.linspace(0, 3, 60), np.linspace(1, 3, 9), np.linspace(0, 2, 15)

    def signal(a, b):
        return np.exp(-(a + 0.3 * b)[..., None] * t) * (1 + 0.03 * b[..., None] * np.sin(5 * t))

    valley = Dictionary(axes={"a": a_axis, "b": b_axis}, signals=signal(*np.meshgrid(a_axis, b_axis, indexing="ij")))
    draw = np.random.default_rng(1)
    a, b = draw.uniform(1.3, 2.7, 200), draw.uniform(0.3, 1.7, 200)
    fit = valley.match(signal(a, b))
    assert fit.counts["fitted"] == 200
    assert fit["a"] == pytest.approx(a, abs=5e-4)  # splines of fourth order on steps of 0.25
    assert fit["b"] == pytest.approx(b, abs=1e-3)
