"""Coil combination: values, ratios between contrasts, noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mrisim.physics.coils import CoilArray
from mrisim.recon import reconstruct
from mrisim.recon.combine import adaptive, matched, root_sum_of_squares

EPS = np.finfo(float).eps


@pytest.fixture(scope="module")
def scene():
    """True image of three contrasts with phase, and the coil images of eight loops that see it."""
    y, x = np.meshgrid(np.arange(48) - 24, np.arange(40) - 20, indexing="ij")
    positions = np.stack([0.004 * x, 0.004 * y, 0 * x], axis=-1)[None]
    sensitivities = CoilArray(elements=8, radius=0.16, size=0.05).sensitivity(positions)
    disk = ((x - 3) ** 2 / 14**2 + (y + 2) ** 2 / 18**2 < 1).astype(float)
    contrasts = np.array([1.0, -0.4, 0.3j]) * np.exp(0.4j)
    image = contrasts[:, None, None, None] * (disk * (1 + 0.01 * x) * np.exp(0.02j * y))[None]
    return image, sensitivities, sensitivities[:, None] * image, disk[None] > 0


def test_matched_returns_the_image(scene):
    image, sensitivities, coil_images, _ = scene
    np.testing.assert_allclose(matched(coil_images, sensitivities), image, rtol=0, atol=20 * EPS)


def test_matched_is_zero_where_no_coil_sees():
    seen = np.array([1.0, 0.0]).reshape(1, 1, 1, 2)
    assert matched(np.ones((1, 1, 1, 1, 2)) * 2.0, seen).ravel().tolist() == [2.0, 0.0]


def test_root_sum_of_squares_is_the_image_times_the_array(scene):
    image, sensitivities, coil_images, _ = scene
    array = np.sqrt(np.sum(np.abs(sensitivities) ** 2, axis=0))
    np.testing.assert_allclose(root_sum_of_squares(coil_images), np.abs(image) * array, rtol=0, atol=20 * EPS)


def test_adaptive_keeps_ratios_of_contrasts(scene):
    """A fit over contrasts needs one filter for all of them: magnitudes and phases in proportion."""
    image, _, coil_images, mask = scene
    combined = adaptive(coil_images)
    for contrast in (1, 2):
        ratio = combined[contrast][mask] / combined[0][mask]
        expected = image[contrast][mask] / image[0][mask]
        np.testing.assert_allclose(ratio, expected, rtol=100 * EPS)


def test_adaptive_finds_the_sensitivities(scene):
    """Where they hardly change over five voxels, its magnitude is that of the matched filter of length one."""
    image, sensitivities, coil_images, mask = scene
    combined = adaptive(coil_images)
    inner = mask & np.pad(mask[:, 4:-4, 4:-4], ((0, 0), (4, 4), (4, 4)))
    array = np.sqrt(np.sum(np.abs(sensitivities) ** 2, axis=0))
    np.testing.assert_allclose(np.abs(combined[0])[inner], (np.abs(image[0]) * array)[inner], rtol=0.01)


def test_adaptive_of_nothing_is_nothing():
    assert not adaptive(np.zeros((3, 1, 1, 6, 6), dtype=complex)).any()


def test_known_sensitivities_are_used(scans):
    """Coils exp(2 pi i q·r) have a closed form: the object's transform, shifted by q."""
    shifts = np.array([[0.5 / 0.2, 0, 0], [0, -0.5 / 0.2, 0], [0, 0, 0]])
    weights = np.array([1.0, 2.0j, 0.5 - 0.5j])
    object_ = lambda k: scans.ellipse(k, (0.01, -0.02), 0.03, 0.05)  # noqa: E731
    arguments = ((64, 64, 1), (0.2, 0.2, 0.005))
    raw = scans.acquire(
        lambda k, *_: np.stack([w * object_(k - q) for w, q in zip(weights, shifts, strict=True)]), *arguments
    )
    positions = raw.recon.grid(raw.geometry).positions()
    known = weights[:, None, None, None] * np.exp(2j * np.pi * np.einsum("nd,zyxd->nzyx", shifts, positions))
    combined = reconstruct(replace(raw, sensitivities=known)).data
    single = reconstruct(scans.acquire(lambda k, *_: object_(k), *arguments)).data
    # ringing is that of each coil's own k-space window, so images differ near edges by a fraction of it
    assert np.abs(combined - single).max() < 0.1 * np.abs(single).max()
    middle = (0, 0, 32 - 6, 32 + 3)
    assert combined[middle] == pytest.approx(single[middle], rel=0.01)
