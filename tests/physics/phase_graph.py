"""A phase graph in twenty lines of NumPy: an independent second opinion on trains of pulses.

Source: Weigel, J Magn Reson Imaging 41:266 (2015); signs are this package's (left-handed, exp(-2 pi i k·r)).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class PhaseGraph:
    """States F(k) for k = -n..n and Z(k) for k = -n..n, in units of one dephasing step."""

    n: int
    t1: float
    t2: float

    def __post_init__(self) -> None:
        self.f = np.zeros(2 * self.n + 1, complex)  # coefficient of exp(-2 pi i k x): transverse magnetisation M+
        self.z = np.zeros(2 * self.n + 1, complex)
        self.z[self.n] = 1.0

    def pulse(self, flip: float, phase: float = 0.0) -> None:
        """Left-handed rotation by flip about the axis at phase."""
        f, g, z = self.f, np.conj(self.f[::-1]), self.z  # g: coefficients of the conjugate of M+
        turn = np.exp(1j * phase)
        c, s = np.cos(flip / 2), np.sin(flip / 2)
        self.f = c * c * f + s * s * turn**2 * g + 1j * np.sin(flip) * turn * z
        self.z = np.cos(flip) * z + 0.5j * np.sin(flip) * (np.conj(turn) * f - turn * g)

    def wait(self, duration: float, steps: int) -> None:
        """Relax, and dephase by whole steps."""
        self.f = np.roll(self.f, steps) * np.exp(-duration / self.t2)
        e1 = np.exp(-duration / self.t1)
        self.z = self.z * e1
        self.z[self.n] += 1 - e1

    @property
    def signal(self) -> complex:
        """M+ averaged over a whole number of cycles."""
        return complex(self.f[self.n])
