"""exp(-tau (R2 + 2 pi i f)) as a short sum of products: a function of time times a function of the spin.

Then a long readout is a few Fourier transforms. The terms are the singular vectors of that function over the spins that
occur, and the factor of a spin needs the exponential at a few nodes in time only.

Source:
    Fessler et al., IEEE Trans Signal Process 53:3393 (2005), for the histogram and the singular vectors; Drmac and
    Gugercin, SIAM J Sci Comput 38:A631 (2016), for the choice of nodes by pivoted QR.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr

from mrisim._types import Complex, Float

MOST_TERMS = 96
_CELLS_F, _CELLS_R = 64, 8  # of the histogram, at least
_MORE_NODES = 3  # than terms: keeps the fit of the factors well conditioned
_CHECKED = 256  # spins and samples on which the error is measured
_GRID_MARGIN = 24
_MOST_CELLS = 2400


@dataclass(frozen=True, kw_only=True, eq=False)
class TimeSplit:
    """exp(-tau z) = exp(-tau z0) · sum over terms of time(tau) · spin(z), with z = R2 + 2 pi i f."""

    center: complex  # z0 [1/s]
    nodes: Float[np.ndarray, " nodes"]  # [s]
    mix: Complex[np.ndarray, "terms nodes"]
    time: Complex[np.ndarray, "terms samples"]  # exp(-tau z0) included
    error: float  # largest relative error (2-norm over the samples) of any spin that was looked at

    @property
    def n_terms(self) -> int:
        return len(self.mix)

    def spin(
        self, df: Float[np.ndarray, " spins"], r2: Float[np.ndarray, " spins"]
    ) -> Complex[np.ndarray, "terms spins"]:
        """Factor of each spin, from its off-resonance [Hz] and rate [1/s]."""
        if len(self.nodes) == 0:
            return np.ones((1, len(df)), dtype=complex)
        at = np.empty((len(self.nodes), len(df)), dtype=complex)
        for row, node in enumerate(self.nodes):
            size = np.exp(-node * (r2 - self.center.real))
            angle = -2 * np.pi * node * (df - self.center.imag / (2 * np.pi))
            at[row].real, at[row].imag = size * np.cos(angle), size * np.sin(angle)
        return self.mix @ at


def split_in_time(
    delay: Float[np.ndarray, " samples"],
    df: Float[np.ndarray, " spins"],
    r2: Float[np.ndarray, " spins"],
    tolerance: float,
) -> TimeSplit:
    """Split of the off-resonance and decay of a readout, with as few terms as the tolerance allows.

    Args:
        delay: Of each sample from the first, not negative [s].
        df: Off-resonance [Hz].
        r2: Transverse relaxation rate [1/s].
        tolerance: Relative error (2-norm over the samples) of each spin.

    Raises:
        ValueError: more than `MOST_TERMS` terms would be needed.

    Example:
        >>> tau, df = np.linspace(0, 10e-3, 500), np.linspace(-50, 50, 400)
        >>> split = split_in_time(tau, df, np.full(400, 10.0), 1e-4)
        >>> split.n_terms, split.error < 1e-4
        (6, True)
    """
    rate, frequency = _cells(df, r2, float(delay.max(initial=0.0)))
    z = rate + 2j * np.pi * frequency
    center = complex(0.5 * (rate.min() + rate.max()), np.pi * (frequency.min() + frequency.max()))
    span = float(delay.max(initial=0.0))
    if span * np.abs(z - center).max(initial=0.0) < 0.1 * tolerance:
        return TimeSplit(
            center=center, nodes=np.zeros(0), mix=np.ones((1, 0), complex), time=np.exp(-delay * center)[None],
            error=span * float(np.abs(z - center).max(initial=0.0)),
        )  # fmt: skip
    grid = _grid(span, z - center, tolerance)
    table = np.exp(-np.outer(z - center, grid))
    # relative to the length of each spin's signal, in which the sampled decay itself counts
    length = np.sqrt(np.mean(np.exp(-2 * np.outer(rate, np.linspace(0, span, 64))), axis=1))
    scale = np.exp(-grid * center.real)
    _, strength, right = np.linalg.svd(table * scale / length[:, None] / np.sqrt(len(grid)), full_matrices=False)
    some = np.linspace(0, len(df) - 1, min(_CHECKED, len(df))).round().astype(int)
    checked = np.concatenate([z[:: max(1, len(z) // _CHECKED)], r2[some] + 2j * np.pi * df[some], z[_rims(z)]])
    terms = max(1, int(np.sum(strength > tolerance * np.sqrt(len(z)))))
    for n in range(terms, MOST_TERMS + 1):
        split = _with_terms(n, right, scale, grid, delay, center, checked)
        if split.error <= 0.5 * tolerance or n >= len(grid):
            return split
    raise ValueError(f"off-resonance and decay need more than {MOST_TERMS} terms")


def _cells(df: np.ndarray, r2: np.ndarray, span: float) -> tuple[np.ndarray, np.ndarray]:
    """Middle of each occupied cell of the histogram over (R2, f), and the spins at its rims."""
    low, high = float(df.min()), float(df.max())
    n_f = int(_CELLS_F + min(8 * (high - low) * span, 2000.0))
    f = np.minimum(((df - low) / max(high - low, 1e-12) * n_f).astype(int), n_f - 1)
    slow, fast = float(r2.min()), float(r2.max())
    r = np.minimum(((r2 - slow) / max(fast - slow, 1e-12) * _CELLS_R).astype(int), _CELLS_R - 1)
    kept = np.unique(f * _CELLS_R + r, return_index=True)[1]
    kept = kept[:: len(kept) // _MOST_CELLS + 1]
    kept = np.unique(np.concatenate([kept, [df.argmin(), df.argmax(), r2.argmin(), r2.argmax()]]))
    return r2[kept], df[kept]


def _grid(span: float, z: np.ndarray, tolerance: float) -> np.ndarray:
    """Chebyshev nodes that resolve every exp(-tau z) over the readout."""
    half = 0.5 * span * float(np.abs(z).max())
    n = int(1.1 * half + 4 * half ** (1 / 3) + _GRID_MARGIN * (1 + max(0.0, -np.log10(tolerance) - 4) / 8))
    return 0.5 * span * (1 - np.cos(np.pi * (np.arange(n) + 0.5) / n))


def _with_terms(
    n: int,
    right: np.ndarray,
    scale: np.ndarray,
    grid: np.ndarray,
    delay: np.ndarray,
    center: complex,
    spins: np.ndarray,
) -> TimeSplit:
    vectors = right[:n] / scale  # functions of time on the grid: terms, grid
    pivots = _extended(
        np.asarray(qr(right[:n], mode="r", pivoting=True)[-1])[:n], right[:n], min(n + _MORE_NODES, len(grid))
    )
    mix = np.linalg.pinv((vectors * scale)[:, pivots].T) * scale[pivots]
    time = _interpolate(vectors, grid, delay) * np.exp(-delay * center)
    split = TimeSplit(center=center, nodes=grid[pivots], mix=mix, time=time, error=0.0)
    return TimeSplit(center=center, nodes=split.nodes, mix=mix, time=time, error=_measured(split, delay, spins))


def _extended(pivots: np.ndarray, vectors: np.ndarray, n: int) -> np.ndarray:
    """More nodes, each where the vectors are least determined by the ones so far."""
    chosen = list(pivots)
    while len(chosen) < n:
        _, _, rest = np.linalg.svd(vectors[:, chosen].T, full_matrices=True)
        weak = np.abs(rest[-1].conj() @ vectors)
        weak[chosen] = -1.0
        chosen.append(int(np.argmax(weak)))
    return np.sort(np.array(chosen))


def _interpolate(vectors: np.ndarray, grid: np.ndarray, delay: np.ndarray) -> np.ndarray:
    """Vectors on Chebyshev nodes at other times, by the barycentric formula."""
    n = len(grid)
    weight = np.sin(np.pi * (np.arange(n) + 0.5) / n) * (-1.0) ** np.arange(n)
    times, back = np.unique(delay, return_inverse=True)
    distance = times[:, None] - grid
    hit = distance == 0.0
    kernel = weight / np.where(hit, 1.0, distance)
    kernel = np.where(hit.any(axis=1, keepdims=True), hit.astype(float), kernel)
    kernel /= kernel.sum(axis=1, keepdims=True)
    return (vectors @ kernel.T)[:, back]


def _rims(z: Complex[np.ndarray, " cells"]) -> list[int]:
    """Places of the extremes of rate and frequency."""
    rate, turn = np.real(z), np.imag(z)
    return [int(turn.argmin()), int(turn.argmax()), int(rate.argmin()), int(rate.argmax())]


def _measured(split: TimeSplit, delay: np.ndarray, spins: np.ndarray) -> float:
    """Largest relative error of some spins over samples spread over the readout."""
    samples = np.unique(np.linspace(0, len(delay) - 1, min(_CHECKED, len(delay))).round().astype(int))
    exact = np.exp(-np.outer(delay[samples], spins))
    found = split.time[:, samples].T @ split.spin(np.imag(spins) / (2 * np.pi), np.real(spins))
    return float(np.max(np.linalg.norm(found - exact, axis=0) / np.linalg.norm(exact, axis=0)))
