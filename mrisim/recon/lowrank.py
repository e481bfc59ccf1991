"""Undersampled trains of images that span few dimensions in time: singular images from all interleaves at once.

An image of a train, x_t = Σ_j v_tj c_j, is a sum of a few coefficient images c_j with the temporal basis v. The samples
of all repetitions are fitted by them, Σ_t |F_t x_t - s_t|² weighted by the density of all samples together, by
conjugate gradients from zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mrisim._types import Complex, Float, Int
from mrisim.data import RawData, ReconSpec
from mrisim.encoding.nufft import from_image, to_image
from mrisim.errors import ConsistencyError, Problem
from mrisim.mapping.fingerprints import Assumed, compressed_dictionary
from mrisim.recon.gridding import Trajectory, arrange, density

ITERATIONS = 150  # weak coefficients come last, and T2 needs them
_TOLERANCE = 1e-4  # of the transforms
_ALIKE = 1e-3  # relative; coordinates of repetitions
_KERNELS = 1 << 26  # numbers of the kernels at most: 1 GiB
_SETTLED = 1e-4  # of the residual of the normal equations


@dataclass(frozen=True, kw_only=True, eq=False)
class _Slice:
    """All samples of a slice, whatever their repetition."""

    index: Int[np.ndarray, " used"]
    k: Float[np.ndarray, "axes used"]
    basis: Complex[np.ndarray, "rank used"]  # of the repetition of each sample
    weight: Float[np.ndarray, " used"]

    def samples(self, images: Complex[np.ndarray, "rank ..."]) -> Complex[np.ndarray, " used"]:
        return np.einsum("rs,rs->s", self.basis, from_image(images, self.k, _TOLERANCE))

    def normal(self, shape: tuple[int, ...]) -> Callable[[np.ndarray], Complex[np.ndarray, "rank ..."]]:
        """What becomes of images that are sampled and brought back.

        That depends on the difference of two places only, so it is a product over twice the field of view.

        Source:
            Wajer and Pruessmann, Proc ISMRM 9:767 (2001); Fessler et al., IEEE Trans Signal Process 53:3393 (2005).
        """
        wide, over = tuple(2 * n for n in shape), tuple(range(-len(shape), 0))
        if len(self.basis) ** 2 * math.prod(wide) > _KERNELS:
            return lambda images: self.adjoint(self.samples(images), shape)
        kernels, inside = self._kernels(wide, over), (slice(None), *(slice(n) for n in shape))

        def apply(images: np.ndarray) -> np.ndarray:
            spectra = np.fft.fftn(images, wide, axes=over)
            return np.fft.ifftn(np.einsum("ij...,j...->i...", kernels, spectra), axes=over)[inside]

        return apply

    def _kernels(self, wide: tuple[int, ...], over: tuple[int, ...]) -> Complex[np.ndarray, "rank rank ..."]:
        """Spectra, one coefficient in and one out; those of the other half are mirrored and conjugated in space."""
        rank = len(self.basis)
        found = np.empty((rank, rank, *wide), complex)
        for row in range(rank):
            pairs = self.basis[row:].conj() * self.basis[row] * self.weight
            spread = np.fft.ifftshift(to_image(pairs, self.k, wide, _TOLERANCE), axes=over)
            found[row:, row] = np.fft.fftn(spread, axes=over)
            found[row, row:] = np.fft.fftn(np.roll(np.flip(spread, over), 1, over).conj(), axes=over)
        return found

    def adjoint(self, samples: Complex[np.ndarray, " used"], shape: tuple[int, ...]) -> Complex[np.ndarray, "rank ..."]:
        return to_image(self.basis.conj() * (self.weight * samples), self.k, shape, _TOLERANCE)


def series(
    raw: RawData, spec: ReconSpec
) -> tuple[Complex[np.ndarray, "coils rank z y x"], dict[str, Float[np.ndarray, " rank"]]]:
    """Coefficient images of each coil on the basis of the sequence's fingerprinting dictionary, and coordinates: those
    that all repetitions share.

    Raises:
        ConsistencyError: raw data that do not know their sequence, or a sequence that is no such train.
    """
    if raw.sequence is None:
        rule = "must know the sequence that was played for the method 'lowrank', but do not"
        remedy = "Reconstruct in the run that simulates, or set recon.method: gridding"
        raise ConsistencyError(Problem(rule, remedy, path="raw"))
    trajectory = arrange(raw, spec)
    _, basis = compressed_dictionary(raw.sequence, Assumed.by_first(spec.maps))
    if trajectory.shape[0] != len(basis):
        rule = f"must tell {len(basis)} repetitions apart, but tells {trajectory.shape[0]}"
        raise ConsistencyError(Problem(rule, "Label each pulse of the train with REP", path="REP"))
    alike = {
        name: np.full(basis.shape[1], values[0] if np.ptp(values) < _ALIKE * np.abs(values).max() else np.nan)
        for name, values in trajectory.coordinates.items()
        if values.ndim == 1
    }
    return windowed(coefficient_images(raw, trajectory, basis), 3 if trajectory.samples[0].slice is None else 2), alike


def coefficient_images(
    raw: RawData, trajectory: Trajectory, basis: Complex[np.ndarray, "contrast rank"], iterations: int = ITERATIONS
) -> Complex[np.ndarray, "coils rank z y x"]:
    """Coefficient images of each coil.

    Args:
        raw: Samples.
        trajectory: Which of them make which repetition and slice, from `gridding.arrange`.
        basis: Orthonormal temporal basis.
        iterations: Conjugate-gradient steps at most; few steps keep noise low.

    Source:
        Assländer et al., Magn Reson Med 79:83 (2018); Zhao et al., 79:933 (2018).
    """
    n_z, ny, nx = trajectory.shape[1:]
    found = np.zeros((raw.signal.shape[0], basis.shape[1], n_z, ny, nx), complex)
    three = trajectory.samples[0].slice is None
    shape = (n_z, ny, nx) if three else (ny, nx)
    for z in [None] if three else range(n_z):
        part = _gather(trajectory, basis, z, shape)
        place = (slice(None), slice(None)) if z is None else (slice(None), slice(None), z)
        normal = part.normal(shape)
        images = [_solve(normal, part.adjoint(signal[part.index], shape), iterations) for signal in raw.signal]
        found[place] = np.stack(images) / trajectory.volume
    return found


def windowed(images: Complex[np.ndarray, "... y x"], axes: int = 2) -> Complex[np.ndarray, "... y x"]:
    """Images under a Hann window over the radius of k: edges ring by less than 1 %, at half the resolution.

    Ringing is a mixture of the fingerprints on both sides of an edge, which a match takes for another tissue.

    Args:
        images: Of any number.
        axes: Last ones, that are of space.
    """
    over = tuple(range(-axes, 0))
    parts = np.meshgrid(*(np.fft.fftfreq(n) * 2 if n > 1 else np.zeros(1) for n in images.shape[-axes:]), indexing="ij")
    radius = np.sqrt(sum(part**2 for part in parts))
    window = np.where(radius < 1, np.cos(0.5 * np.pi * np.minimum(radius, 1.0)) ** 2, 0.0)
    return np.fft.ifftn(np.fft.fftn(images, axes=over) * window, axes=over)


def _gather(trajectory: Trajectory, basis: np.ndarray, z: int | None, shape: tuple[int, ...]) -> _Slice:
    mine = [one for one in trajectory.samples if one.slice == z]
    k = np.concatenate([one.k for one in mine], axis=1)
    contrast = np.concatenate([np.full(len(one.index), one.contrast) for one in mine])
    index = np.concatenate([one.index for one in mine])
    return _Slice(index=index, k=k, basis=basis[contrast].T, weight=density(k, shape))


def _solve(
    normal: Callable[[np.ndarray], np.ndarray], rest: Complex[np.ndarray, "rank ..."], iterations: int
) -> Complex[np.ndarray, "rank ..."]:
    """Conjugate gradients on the weighted normal equations, from zero.

    Source:
        Hestenes and Stiefel, J Res Natl Bur Stand 49:409 (1952).
    """
    found, direction = np.zeros_like(rest), rest
    power = first = float(np.vdot(rest, rest).real)
    for _ in range(iterations):
        if power <= _SETTLED**2 * first:
            break
        image = normal(direction)
        step = power / float(np.vdot(direction, image).real)
        found, rest = found + step * direction, rest - step * image
        before, power = power, float(np.vdot(rest, rest).real)
        direction = rest + power / before * direction
    return found
