"""Partial Fourier: lines that were not sampled, from those opposite, for an image whose phase is smooth.

The phase comes from the lines that were sampled on both sides of k = 0.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from mrisim._types import Complex, Float
from mrisim.errors import ConsistencyError, Problem

METHODS = ("zero", "homodyne", "pocs")
ITERATIONS = 6
FEWEST = 4  # lines on both sides of k = 0 that a phase can be found from
_LINES = -2  # axis of phase encoding


def sampled_lines(sampled: np.ndarray) -> tuple[int, int]:
    """First and last line that was sampled, the same for all images.

    Args:
        sampled: (contrast, z, y, x) bool, True where a point of k-space was sampled.

    Raises:
        ConsistencyError: images that differ, lines missing in between, or too few on one side of k = 0.

    Example:
        >>> sampled_lines(np.arange(16).reshape(1, 1, 16, 1) > 3)
        (4, 15)
    """
    lines = sampled.any(axis=-1).reshape(-1, sampled.shape[_LINES])
    found = np.flatnonzero(lines[0])
    first, last = int(found[0]), int(found[-1])
    if (lines != lines[0]).any() or len(found) != last - first + 1:
        rule = "lines must be sampled without a gap and alike in all images, but are not"
        raise ConsistencyError(Problem(rule, "Set partial_fourier: zero", path="recon.partial_fourier"))
    center = len(lines[0]) // 2
    both = min(center - first, last - center)
    if both < FEWEST:
        rule = f"at least {FEWEST} lines must be sampled on both sides of k = 0, but {max(both, 0)} are"
        raise ConsistencyError(
            Problem(rule, "Sample more lines, or set partial_fourier: zero", "recon.partial_fourier")
        )
    return first, last


def homodyne(
    kspace: Complex[np.ndarray, "contrast z y x"], first: int, last: int, axes: tuple[int, ...]
) -> Complex[np.ndarray, "contrast z y x"]:
    """Image from lines of which one side counts twice, its imaginary part against the smooth phase dropped.

    Args:
        kspace: Grid, zero where nothing was sampled; k = 0 at N//2.
        first: First line that was sampled.
        last: Last one.
        axes: Transformed axes.

    Source:
        Noll, Nishimura and Macovski, IEEE Trans Med Imaging 10:154 (1991).
    """
    n, smooth = kspace.shape[_LINES], _smooth_phase(kspace, first, last, axes)
    offset = np.arange(n) - n // 2
    both = _both(n, first, last)
    step = np.clip(1.0 + offset / (both + 0.5), 0.0, 2.0)  # 0 on the short side, 2 on the other, straight between
    weight = step if last - n // 2 >= n // 2 - first else step[::-1] if n % 2 else np.clip(2.0 - step, 0.0, 2.0)
    image = _transform(kspace * weight[:, None], axes)
    return np.real(image * np.conj(smooth)) * smooth


def pocs(
    kspace: Complex[np.ndarray, "contrast z y x"], first: int, last: int, axes: tuple[int, ...]
) -> Complex[np.ndarray, "contrast z y x"]:
    """Image that has the samples and, as far as it can, the smooth phase: projections onto both in turn.

    Args:
        kspace: Grid, zero where nothing was sampled; k = 0 at N//2.
        first: First line that was sampled.
        last: Last one.
        axes: Transformed axes.

    Source:
        Haacke, Lindskog and Lin, J Magn Reson 92:126 (1991), who take the magnitude for the part along the phase.
    """
    smooth = _smooth_phase(kspace, first, last, axes)
    completed = kspace
    for _ in range(ITERATIONS):
        along = np.real(_transform(completed, axes) * np.conj(smooth))  # of either sign: rings around edges have both
        guess = _inverse(along * smooth, axes)
        guess[..., first : last + 1, :] = kspace[..., first : last + 1, :]
        completed = guess
    return _transform(completed, axes)


def _both(n: int, first: int, last: int) -> int:
    """Lines on each side of k = 0 that have an opposite one."""
    return min(n // 2 - first, last - n // 2)


def _smooth_phase(kspace: np.ndarray, first: int, last: int, axes: tuple[int, ...]) -> np.ndarray:
    """Phasor of the image from the lines around k = 0, under a Hann window."""
    n = kspace.shape[_LINES]
    offset = np.abs(np.arange(n) - n // 2) / (_both(n, first, last) + 1.0)
    window: Float[np.ndarray, " lines"] = np.where(offset < 1.0, 0.5 + 0.5 * np.cos(np.pi * offset), 0.0)
    coarse = _transform(kspace * window[:, None], axes)
    size = np.abs(coarse)
    return np.where(size > 0, coarse / np.where(size > 0, size, 1.0), 1.0)


def _transform(kspace: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return fft.fftshift(fft.ifftn(fft.ifftshift(kspace, axes), axes=axes, norm="forward"), axes)


def _inverse(image: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return fft.fftshift(fft.fftn(fft.ifftshift(image, axes), axes=axes, norm="forward"), axes)
