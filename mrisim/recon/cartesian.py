"""Cartesian encoding: image → k-space samples, and its adjoint, side by side.

One layout serves 2D, multi-slice and 3D. The k-space grid has the axes (contrast, z, y, x); in 2D the z axis counts
slices and is not transformed, in 3D it counts partitions. Readout oversampling widens the x axis of k-space and is cut
off after the transform.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import fft

from mrisim._types import Complex, Float, Int


@dataclass(frozen=True, kw_only=True, eq=False)
class CartesianLayout:
    """Where each sample lies on the k-space grid of an image. k = 0 lies at N//2 of each transformed axis."""

    shape: tuple[int, int, int, int]  # k-space grid: contrast, z, y, x with oversampling
    columns: int  # image voxels along x, without oversampling
    axes: tuple[int, ...]  # transformed axes: (-2, -1) in 2D, (-3, -2, -1) in 3D
    voxel: float  # volume of a voxel [m³]
    index: Int[np.ndarray, " placed"]  # place of each sample on the raveled grid
    sample: Int[np.ndarray, " placed"]  # which of the acquired samples it is

    @property
    def image_shape(self) -> tuple[int, int, int, int]:
        return (*self.shape[:3], self.columns)

    @property
    def points(self) -> int:
        """Number of grid points that one image is the transform of."""
        return int(np.prod([self.shape[axis] for axis in self.axes]))

    @cached_property
    def multiplicity(self) -> Int[np.ndarray, " grid"]:
        """How often each point of the raveled grid was sampled."""
        return np.bincount(self.index, minlength=int(np.prod(self.shape)))


def forward(layout: CartesianLayout, image: Complex[np.ndarray, "contrast z y x"]) -> Complex[np.ndarray, " placed"]:
    """Samples of an image: s(k) = volume · sum over voxels of image · exp(-2 pi i k·r).

    Args:
        layout: Where the samples lie.
        image: Image on the layout's voxels.

    Returns:
        One value per placed sample, in the order of `layout.index`.

    Example:
        >>> line = CartesianLayout(shape=(1, 1, 1, 4), columns=4, axes=(-2, -1), voxel=0.5, index=np.arange(4),
        ...                        sample=np.arange(4))
        >>> point = np.zeros((1, 1, 1, 4), complex); point[..., 2] = 1.0
        >>> forward(line, point).real.tolist()
        [0.5, 0.5, 0.5, 0.5]
    """
    wide = _pad_columns(image, layout.shape[-1])
    kspace = fft.fftshift(fft.fftn(fft.ifftshift(wide, layout.axes), axes=layout.axes), layout.axes)
    return kspace.ravel()[layout.index] * layout.voxel


def adjoint(layout: CartesianLayout, samples: Complex[np.ndarray, " placed"]) -> Complex[np.ndarray, "contrast z y x"]:
    """Adjoint of `forward`: volume · sum over samples of s · exp(+2 pi i k·r).

    Divided by `layout.points * layout.voxel**2` it inverts `forward` where each point was sampled once.
    """
    kspace = scatter(layout, samples).reshape(layout.shape)
    wide = fft.fftshift(fft.ifftn(fft.ifftshift(kspace, layout.axes), axes=layout.axes, norm="forward"), layout.axes)
    return crop_columns(wide, layout.columns) * layout.voxel


def scatter(layout: CartesianLayout, samples: Complex[np.ndarray, " placed"]) -> Complex[np.ndarray, " grid"]:
    """Sum of the samples on each point of the raveled grid, zero where there is none."""
    size = int(np.prod(layout.shape))
    if layout.multiplicity.max(initial=0) <= 1:
        grid = np.zeros(size, dtype=samples.dtype)
        grid[layout.index] = samples
        return grid
    real = np.bincount(layout.index, weights=np.real(samples), minlength=size)
    imaginary = np.bincount(layout.index, weights=np.imag(samples), minlength=size)
    return (real + 1j * imaginary).astype(samples.dtype)


def window(name: str, n: int) -> Float[np.ndarray, " n"]:
    """Separable filter over one k-space axis, one at k = 0 (index n//2), so that means are kept.

    Args:
        name: "none", "hann", "hamming" or "tukey" (flat over the inner half).
        n: Number of points; the filter falls to its edge value at half a cycle per voxel.

    Source:
        Harris, Proc IEEE 66:51 (1978), equations 27b, 30b and 38 with alpha = 1/2.

    Example:
        >>> window("hann", 4).tolist()
        [0.0, 0.5, 1.0, 0.5]
    """
    position = np.abs(np.arange(n) - n // 2) / max(n / 2, 1.0)  # 0 at k = 0, 1 at half a cycle per voxel
    if name == "none":
        return np.ones(n)
    if name == "hann":
        return 0.5 + 0.5 * np.cos(np.pi * position)
    if name == "hamming":
        return 0.54 + 0.46 * np.cos(np.pi * position)
    if name == "tukey":
        return 0.5 + 0.5 * np.cos(np.pi * np.clip(2 * position - 1, 0.0, 1.0))
    raise ValueError(name)


def _pad_columns(image: np.ndarray, width: int) -> np.ndarray:
    before = width // 2 - image.shape[-1] // 2
    after = width - image.shape[-1] - before
    return np.pad(image, [(0, 0)] * (image.ndim - 1) + [(before, after)])


def crop_columns(image: np.ndarray, columns: int) -> np.ndarray:
    """Middle columns of an image; what lies beyond the field of view along read is cut off."""
    first = image.shape[-1] // 2 - columns // 2
    return image[..., first : first + columns]
