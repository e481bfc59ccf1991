"""T1 from variable flips: no bias, B1, incomplete spoiling, what cannot be fitted."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from mrisim.errors import ConsistencyError
from mrisim.mapping.vfa import Spoiling, fit_vfa
from mrisim.physics.signals import spoiled_gradient_echo
from mrisim.physics.spoiling import rf_spoiled

FLIP, TR = np.radians([2.0, 5.0, 10.0, 15.0]), 5e-3
T1 = np.array([0.2, 0.5, 0.9, 1.5, 2.4, 4.0])


def ernst(b1=1.0):
    with jax.enable_x64(True):
        return 37.0 * np.asarray(spoiled_gradient_echo(FLIP * np.asarray(b1)[..., None], TR, T1[:, None]))


@pytest.mark.parametrize("method", ["nonlinear", "linear"])
def test_no_bias_without_noise(method):
    found = fit_vfa(ernst() * np.exp(0.4j), FLIP, TR, method=method)
    np.testing.assert_allclose(found["t1"], T1, rtol=1e-7)
    np.testing.assert_allclose(found["m0"], 37.0, rtol=1e-7)
    assert dict(found.counts) == {"fitted": 6, "empty": 0, "failed": 0}


@pytest.mark.parametrize(("b1", "apparent"), [(0.8, 639.0), (0.9, 809.3), (1.1, 1211.3), (1.2, 1443.3)])
def test_transmit_field_biases_unless_it_is_told(b1, apparent):
    """3° and 15° at TR 5 ms, T1 1 s: apparent T1 cross-checked by an independent program."""
    flip = np.radians([3.0, 15.0])
    with jax.enable_x64(True):
        signal = np.asarray(spoiled_gradient_echo(flip * b1, TR, 1.0))
    assert fit_vfa(signal, flip, TR)["t1"] == pytest.approx(apparent * 1e-3, rel=5e-3)
    assert fit_vfa(signal, flip, TR, b1=b1)["t1"] == pytest.approx(1.0, rel=1e-7)


def test_transmit_field_of_each_voxel():
    b1 = np.linspace(0.7, 1.2, 6)
    for method in ("nonlinear", "linear"):
        np.testing.assert_allclose(fit_vfa(ernst(b1), FLIP, TR, b1=b1, method=method)["t1"], T1, rtol=1e-7)


def test_spoiling_is_corrected():
    """117° at 3° and 15°, T1/T2 1000/80 ms, TR 5 ms: T1 comes out 9.4 % long (cross-checked), corrected to 0.1 %."""
    flip = np.radians([3.0, 15.0])
    signal = rf_spoiled(flip, TR, 1.0, 0.08)
    assert fit_vfa(signal, flip, TR)["t1"] == pytest.approx(1.094, rel=2e-3)
    assert fit_vfa(signal, flip, TR, spoiling=Spoiling(t2=0.08))["t1"] == pytest.approx(1.0, rel=1e-3)


@pytest.mark.slow
def test_spoiling_is_corrected_with_maps_of_field_and_t2():
    b1, t2 = np.array([0.8, 0.97, 1.15, 1.0, 0.9, 1.1]), np.array([0.05, 0.06, 0.09, 0.12, 0.16, 0.1])
    flip = FLIP[[0, 3]]
    signal = np.stack([rf_spoiled(flip * b, TR, t, e) for b, t, e in zip(b1, T1, t2, strict=True)])
    plain = fit_vfa(signal, flip, TR, b1=b1)["t1"]
    corrected = fit_vfa(signal, flip, TR, b1=b1, spoiling=Spoiling(t2=t2))["t1"]
    assert np.abs(plain / T1 - 1).max() > 0.04
    np.testing.assert_allclose(corrected, T1, rtol=1e-2)  # linear between entries of the table


def test_what_cannot_be_fitted_is_masked():
    rows = np.stack([np.zeros(4), [1.0, 2.0, np.nan, 3.0], np.sin(FLIP), ernst()[2]])  # the third: T1 of zero
    for method in ("nonlinear", "linear"):
        found = fit_vfa(rows, FLIP, TR, method=method)
        assert found.converged.tolist() == [False, False, False, True]
        assert np.isnan(found["t1"][:3]).all()
        assert dict(found.counts) == {"fitted": 1, "empty": 1, "failed": 2}


def test_all_wrong_settings_are_told_at_once():
    with pytest.raises(ConsistencyError) as error:
        fit_vfa(ernst(), [0.1, 0.2, 0.3, 2.0], 0.0, b1=np.ones(3), method="linear", spoiling=Spoiling())
    *first, last = str(error.value).splitlines()
    assert first == [
        "flip: must lie between 0 and 90 deg, but is 114.592 deg.",
        "tr: must be above zero, but is 0 s.",
        "b1: must be one value or have shape (6,), but has (3,).",
    ]
    rule = "spoiling: must be left out for the linear method, which holds for ideal spoiling only, but is given."
    assert last == f"{rule} Take the nonlinear method."
    with pytest.raises(ConsistencyError, match="flip: must have at least 2 different values, but has 1"):
        fit_vfa(np.ones(3), [0.1, 0.1, 0.1], TR)
