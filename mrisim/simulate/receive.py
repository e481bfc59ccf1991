"""The receiver: coil sensitivities at the spins, and noise."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mrisim._types import Complex, Float
from mrisim.data import ReconSpec
from mrisim.errors import ConsistencyError, Finding, Problem
from mrisim.physics.coils import CoilArray

_MOST_ELEMENTS = 256
Coils = ArrayLike | CoilArray | int | str | None
Receivers = CoilArray | Complex[np.ndarray, "coils spins"] | None


def resolve_coils(coils: Coils, n_spins: int) -> Receivers:
    """Receive coils as an array of elements or as sensitivities at the isochromats; None for one uniform coil.

    Args:
        coils: None or "uniform"; a number of elements on the default ring; a `CoilArray`; or an array (coils, spins).
        n_spins: Isochromats of the phantom.

    Raises:
        ConsistencyError: an array of another shape, or no such name.
    """
    if coils is None or isinstance(coils, CoilArray):
        return coils
    if isinstance(coils, str):
        if coils == "uniform":
            return None
        if not coils.isdigit():
            rule = f"must be 'uniform' or a number of coil elements, but is '{coils}'"
            raise ConsistencyError(Problem(rule, "Use coils=8", path="coils"))
        coils = int(coils)
    if isinstance(coils, int):
        if not 1 <= coils <= _MOST_ELEMENTS:
            raise ConsistencyError(
                Problem(f"must be from 1 to {_MOST_ELEMENTS} elements, but is {coils}", path="coils")
            )
        return CoilArray(elements=coils)
    values = np.asarray(coils, dtype=complex)
    if values.ndim != 2 or values.shape[1] != n_spins or not np.all(np.isfinite(values)):
        rule = f"must be finite and have shape (n_coils, {n_spins}), but has {values.shape}"
        raise ConsistencyError(Problem(rule, path="coils"))
    return values


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Complex Gaussian noise of the receiver, white: its variance grows with the bandwidth of a sample.

    Exactly one is given: `std` of the real and of the imaginary part of one sample, whatever the bandwidth [signal
    units]; `density`, the same over the square root of the bandwidth [signal units / sqrt(Hz)]; or `snr` of one fully
    relaxed, fully excited voxel of water in an image of this sequence without acceleration or averaging across scans.
    """

    std: float | None = None
    density: float | None = None
    snr: float | None = None

    @staticmethod
    def of(value: Noise | float | str) -> Noise:
        """Noise from a number (standard deviation) or a text such as "snr 50".

        Raises:
            ConsistencyError: a text that means neither, or a negative number.

        Example:
            >>> Noise.of("snr 50").snr
            50.0
        """
        if isinstance(value, Noise):
            return value
        snr = re.fullmatch(r"\s*snr[\s=]*([0-9.eE+-]+)\s*", value, re.IGNORECASE) if isinstance(value, str) else None
        try:
            number = float(snr[1]) if snr else float(value)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and number >= 0) or (snr and number == 0):
            rule = f"must be a standard deviation of at least 0 or a text such as 'snr 50', but is '{value}'"
            raise ConsistencyError(Problem(rule, path="noise"))
        return Noise(snr=number) if snr else Noise(std=number)

    def per_sample(
        self, dwell: Float[np.ndarray, " samples"], count: Float[np.ndarray, " samples"], recon: ReconSpec | None
    ) -> Float[np.ndarray, " samples"]:
        """Standard deviation of the real and of the imaginary part of each sample [signal units].

        Args:
            dwell: Of each sample [s].
            count: Samples in the readout of each sample, oversampling included.
            recon: Matrix and field of view that an SNR refers to.

        Raises:
            ConsistencyError: nothing given, or an SNR without a matrix to refer it to.
        """
        if self.std is not None:
            return np.full(len(dwell), self.std)
        if self.density is not None:
            return self.density / np.sqrt(dwell)
        if self.snr is None:
            raise ConsistencyError(Problem("must give one of std, density and snr, but gives none", path="noise"))
        if recon is None:
            raise ConsistencyError(
                Problem("must be a standard deviation, because the sequence states no matrix for an SNR", path="noise")
            )
        voxel = math.prod(recon.fov) / math.prod(recon.matrix)
        samples = count * recon.matrix[1] * recon.matrix[2]
        return voxel * np.sqrt(samples) / self.snr


def add_noise(
    signal: Complex[np.ndarray, "coils samples"], std: Float[np.ndarray, " samples"], seed: int
) -> Complex[np.ndarray, "coils samples"]:
    """Signal with independent complex Gaussian noise on every coil."""
    generator = np.random.default_rng(seed)
    real, imag = generator.standard_normal((2, *signal.shape))
    return signal + std * (real + 1j * imag)


def noise_finding(noise: Noise, std: Float[np.ndarray, " samples"]) -> tuple[Finding, ...]:
    """What a signal-to-noise ratio became."""
    if noise.snr is None or len(std) == 0:
        return ()
    return (Finding("noise", f"an SNR of {noise.snr:g} became a standard deviation of {std[0]:.4g} per sample"),)
