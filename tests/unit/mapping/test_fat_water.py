"""Fat fraction, R2* and B0 from signals of the model, and what a wrong spectrum does."""

from __future__ import annotations

import numpy as np
import pytest

from mrisim.constants import GAMMA_BAR
from mrisim.errors import ConsistencyError
from mrisim.mapping.fat_water import Spectrum, fat_spectrum, fit_fat_water

TE = 1.15e-3 + 0.8e-3 * np.arange(6)
PDFF = np.array([0.0, 0.05, 0.3, 0.5, 0.8, 1.0])
B0 = np.array([-60.0, 0.0, 35.0, 110.0, -20.0, 15.0])
RATE = np.array([40.0, 30.0, 60.0, 120.0, 25.0, 45.0])


def signal(te, pdff=PDFF, b0=B0, rate=RATE, field=3.0):
    peaks = fat_spectrum()
    turns = np.multiply.outer(te, np.array(peaks.shift) * 1e-6 * field * GAMMA_BAR)
    fat = np.exp(-2j * np.pi * turns) @ np.array(peaks.share)
    mixed = (1 - pdff)[:, None] + pdff[:, None] * fat
    return 0.7 * np.exp(0.3j) * mixed * np.exp(-np.multiply.outer(rate + 2j * np.pi * b0, te))


def test_six_echoes_give_fat_fraction_field_and_decay() -> None:
    found = fit_fat_water(signal(TE), TE, 3.0)
    assert found.converged.all()
    np.testing.assert_allclose(found["pdff"], PDFF, atol=1e-6)
    np.testing.assert_allclose(found["b0"], B0, atol=1e-4)
    np.testing.assert_allclose(found["r2_star"], RATE, rtol=1e-5)
    np.testing.assert_allclose(np.abs(found["water"] + found["fat"]), 0.7, rtol=1e-5)


def test_a_spectrum_of_one_peak_is_biased() -> None:
    found = fit_fat_water(signal(TE), TE, 3.0, spectrum=Spectrum((-3.4,), (1.0,)))
    assert np.abs(found["pdff"] - PDFF)[2:].max() > 0.02


def test_two_echoes_with_a_field_map() -> None:
    te = np.array([1.151e-3, 2.303e-3])
    found = fit_fat_water(signal(te, rate=np.zeros(6)), te, 3.0, b0=B0)
    np.testing.assert_allclose(found["pdff"], PDFF, atol=1e-9)
    assert np.isnan(found["r2_star"]).all()


def test_empty_voxels_are_counted_and_errors_follow_the_noise() -> None:
    noise = 1e-3 * np.random.default_rng(0).standard_normal((2, 400, 6))
    many = np.tile(signal(TE)[2], (400, 1)) + noise[0] + 1j * noise[1]
    many[0] = 0.0
    found = fit_fat_water(many, TE, 3.0)
    assert found.counts == {"fitted": 399, "empty": 1, "failed": 0}
    for name in ("b0", "r2_star"):
        stated, seen = np.nanmedian(found.standard_error[name]), np.nanstd(found[name])
        assert seen == pytest.approx(stated, rel=4 / np.sqrt(2 * 399))  # four standard errors of a standard deviation


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ConsistencyError) as caught:
        fit_fat_water(np.ones((3, 2)), [1e-3, 2e-3], 3.0)
    assert str(caught.value).splitlines() == [
        (
            "signal: must have four echoes or more, or two and a B0 map, but has 2 and none. "
            "Give b0, or measure more echoes."
        ),
        "signal: must be complex, but holds magnitudes.",
    ]
