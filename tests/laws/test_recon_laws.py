"""Laws of the Cartesian encoding: adjoint pair, direct sum, left inverse."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mrisim.recon.cartesian import CartesianLayout, adjoint, forward, window

EPS = np.finfo(float).eps


@st.composite
def layouts(draw, complete=False):
    """Layouts of 2D and 3D grids of any parity, oversampled, sampled in any order, some points again or never."""
    shape = [draw(st.integers(1, n)) for n in (2, 3, 6, 6)]
    columns = shape[3]
    shape[3] *= draw(st.integers(1, 3))
    size = int(np.prod(shape))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    index = rng.permutation(size) if complete else rng.integers(0, size, draw(st.integers(1, 2 * size)))
    axes = draw(st.sampled_from([(-2, -1), (-3, -2, -1)]))
    layout = CartesianLayout(
        shape=tuple(shape), columns=columns, axes=axes, voxel=0.37, index=index, sample=np.arange(len(index))
    )
    image = rng.normal(size=layout.image_shape) + 1j * rng.normal(size=layout.image_shape)
    samples = rng.normal(size=len(index)) + 1j * rng.normal(size=len(index))
    return layout, image, samples


@given(layouts())
@settings(max_examples=100, deadline=None)
def test_adjoint_is_the_adjoint_of_forward(case):
    layout, image, samples = case
    left, right = np.vdot(samples, forward(layout, image)), np.vdot(adjoint(layout, samples), image)
    scale = np.linalg.norm(samples) * np.linalg.norm(image) * layout.voxel * np.sqrt(layout.points)
    assert abs(left - right) <= 100 * EPS * scale


@given(layouts())
@settings(max_examples=50, deadline=None)
def test_forward_is_the_sum_over_voxels(case):
    """s(k) = volume · sum of image · exp(-2 pi i k·r), r from voxel N//2, k from line N//2."""
    layout, image, _ = case
    contrast, z, y, x = np.unravel_index(layout.index, layout.shape)
    lengths = [*layout.shape[1:3], layout.columns]
    waves = []
    for place, n, length in zip((z, y, x), layout.shape[1:], lengths, strict=True):
        position = np.arange(length) - length // 2
        waves.append(np.exp(-2j * np.pi * (place - n // 2)[:, None] * position / n))
    if -3 not in layout.axes:
        waves[0] = (z[:, None] == np.arange(layout.shape[1])).astype(complex)
    expected = np.einsum("szyx,sz,sy,sx->s", image[contrast], *waves) * layout.voxel
    scale = layout.voxel * np.abs(image).sum()
    np.testing.assert_allclose(forward(layout, image), expected, rtol=0, atol=100 * EPS * scale)


@given(layouts(complete=True))
@settings(max_examples=50, deadline=None)
def test_scaled_adjoint_inverts_forward(case):
    layout, image, _ = case
    back = adjoint(layout, forward(layout, image)) / (layout.points * layout.voxel**2)
    np.testing.assert_allclose(back, image, rtol=0, atol=100 * EPS * np.abs(image).max() * np.sqrt(layout.points))


@given(st.sampled_from(["none", "hann", "hamming", "tukey"]), st.integers(1, 65))
def test_windows_keep_the_mean_and_fall_off_evenly(name, n):
    values = window(name, n)
    center = n // 2
    assert values[center] == 1.0
    assert ((values >= 0) & (values <= 1)).all()
    reach = min(center, n - 1 - center)
    np.testing.assert_allclose(values[center : center + reach + 1], values[center - reach : center + 1][::-1], atol=EPS)
    assert (np.diff(values[: center + 1]) >= -EPS).all()
