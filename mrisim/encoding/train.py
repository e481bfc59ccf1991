"""Long trains of samples (spiral, radial, a whole EPI train) by non-uniform Fourier transforms.

The off-resonance and decay of a train become a short sum of products (`lowrank`), so the samples of a row are a few
type-3 transforms (`nufft`) of all its spins at once. Spins whose frequency lies far out in the tails of a line would
cost many terms, and are summed directly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mrisim._types import Bool, Complex, Float
from mrisim.encoding.cost import best_band, within
from mrisim.encoding.lowrank import TimeSplit, split_in_time
from mrisim.encoding.nufft import Backend, Transform
from mrisim.program import ReadoutClass

_BATCH = 4_000_000  # complex values that are transformed at a time
_BLOCK = 2_000_000  # phases that are summed directly at a time
_COPIES = 4  # arrays of the size of what is transformed that exist at a time
_SHARE = 0.7  # of the tolerance for the split in time, and for the transform: independent errors


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainEncoder:
    """Everything about a readout class and its spins that does not depend on their magnetisation.

    Example:
        >>> tau = np.linspace(0, 1e-3, 5)
        >>> train = ReadoutClass(delay=tau, k=np.outer(tau, [1e4, 0, 0]), receiver=0 * tau, step=np.zeros(1, int),
        ...                      phase=np.zeros(1), first=np.zeros(1, int))
        >>> encode = TrainEncoder.of(train, np.array([[0.025, 0, 0]]), np.zeros(1), np.zeros(1), 1e-6)
        >>> np.round(encode(np.ones((1, 1))), 4)
        array([[1.    +0.j    , 0.9239-0.3827j, 0.7071-0.7071j, 0.3827-0.9239j,
                0.    -1.j    ]])
    """

    split: TimeSplit
    spin: Complex[np.ndarray, "terms inner"]
    transform: Transform | None  # none where k stands still
    inner: Bool[np.ndarray, " spins"] | None  # spins that are transformed; none: all of them
    position: Float[np.ndarray, "outer 3"]  # of the other ones
    rate: Complex[np.ndarray, " outer"]  # R2 + 2 pi i f
    delay: Float[np.ndarray, " samples"]
    k: Float[np.ndarray, "samples 3"]
    receiver: Complex[np.ndarray, " samples"]

    @staticmethod
    def of(
        readout: ReadoutClass,
        position: Float[np.ndarray, "spins 3"],
        df: Float[np.ndarray, " spins"],
        r2: Float[np.ndarray, " spins"],
        tolerance: float,
        backend: Backend | None = None,
        like: TrainEncoder | None = None,
    ) -> TrainEncoder:
        """Prepare a readout class for some spins; the work is shared by all rows that it is applied to.

        Args:
            readout: Delay, k and receiver phase of the samples, from the first one.
            position: Of the spins [m].
            df: Off-resonance with everything in it [Hz].
            r2: Transverse relaxation rate [1/s].
            tolerance: Relative error (2-norm) of the samples.
            backend: NUFFT library; the preferred one where not given.
            like: Encoder of the same spins and tolerance; where its samples have the same delays (another shot of a
                spiral, another spoke), its split in time is used again.
        """
        delay, k = np.asarray(readout.delay, dtype=float), np.asarray(readout.k, dtype=float)
        position, df, r2 = (np.asarray(a, dtype=float) for a in (position, df, r2))
        if like is not None and not np.array_equal(like.delay, delay):
            like = None
        if like is not None:
            split, spin, inner = like.split, like.spin, like.inner
            chosen = slice(None) if inner is None else inner
        else:
            inner = within(df, best_band(len(delay), df, float(delay.max(initial=0.0)), tolerance))
            chosen = slice(None) if inner is None else inner
            split = split_in_time(delay, df[chosen], r2[chosen], _SHARE * tolerance)
            spin = split.spin(df[chosen], r2[chosen])
        outer = np.zeros(len(df), bool) if inner is None else ~inner
        return TrainEncoder(
            split=split,
            spin=spin,
            transform=_transform(position[chosen], k, _SHARE * tolerance, backend),
            inner=inner,
            position=position[outer],
            rate=r2[outer] + 2j * np.pi * df[outer],
            delay=delay,
            k=k,
            receiver=np.exp(2j * np.pi * np.asarray(readout.receiver, dtype=float)),
        )

    def __call__(
        self, m: Complex[np.ndarray, "rows spins"], threads: int | None = None
    ) -> Complex[np.ndarray, "rows samples"]:
        """Samples of each row of transverse magnetisation at the first sample of the train, in float64.

        Coils are rows too: multiply the magnetisation by each sensitivity before.
        """
        samples = np.zeros((len(m), len(self.delay)), dtype=complex)
        inner = m if self.inner is None else m[:, self.inner]
        rows = max(1, _BATCH // max(1, self.spin.size))
        for start in range(0, len(m), rows):
            samples[start : start + rows] = self._transformed(inner[start : start + rows], threads)
        if self.inner is not None:
            samples += _direct(m[:, ~self.inner], self)
        return samples * self.receiver

    def working_bytes(self, rows: int) -> int:
        """About what a call with so many rows takes while it runs."""
        terms, spins = self.spin.shape
        rows = min(rows, max(1, _BATCH // max(1, self.spin.size)))
        values = rows * terms * (_COPIES * spins + 2 * len(self.delay))
        grid = 0.0
        if self.transform is not None and self.transform.lattice is None:
            grid = float(np.prod(16 * self.transform.cycles + 32))  # as in `cost.nufft_time`
        return int(16 * (values + 2 * grid + (0 if self.inner is None else _COPIES * _BLOCK)))

    def _transformed(self, m: Complex[np.ndarray, "rows inner"], threads: int | None) -> np.ndarray:
        rows, terms = len(m), len(self.spin)
        if self.transform is None:
            return (m @ self.spin.T) @ self.split.time
        values = (m[:, None, :] * self.spin).reshape(rows * terms, -1)
        parts = self.transform(values, threads).reshape(rows, terms, -1)
        return np.einsum("rts,ts->rs", parts, self.split.time)


def axes_of(k: Float[np.ndarray, "samples 3"], extent: float, tolerance: float) -> Float[np.ndarray, "3 axes"]:
    """Orthogonal directions along which k moves a spin's phase by more than the tolerance.

    A spoke needs one, a spiral two.

    Args:
        k: Of the samples [1/m].
        extent: Largest distance of a spin from the middle of all [m].
        tolerance: In radians, up to a factor.
    """
    _, _, rows = np.linalg.svd(k, full_matrices=True) if len(k) < 4 else np.linalg.svd(k.T @ k)
    reach = 2 * np.pi * np.abs(k @ rows.T).max(axis=0, initial=0.0) * extent
    return rows[reach > 0.1 * tolerance].T


def _transform(
    position: Float[np.ndarray, "spins 3"], k: Float[np.ndarray, "samples 3"], tolerance: float, backend: Backend | None
) -> Transform | None:
    middle = 0.5 * (position.min(axis=0) + position.max(axis=0))
    extent = float(np.linalg.norm(position - middle, axis=1).max())
    # what is left out must not turn the middle either
    axes = axes_of(k, max(extent, float(np.linalg.norm(middle))), tolerance)
    if axes.shape[1] == 0:
        return None
    return Transform.of((position @ axes).T, (k @ axes).T, tolerance, backend)


def _direct(m: Complex[np.ndarray, "rows outer"], encoder: TrainEncoder) -> Complex[np.ndarray, "rows samples"]:
    n = max(1, _BLOCK // max(1, m.shape[1]))
    pieces = []
    for start in range(0, len(encoder.delay), n):
        delay, k = encoder.delay[start : start + n], encoder.k[start : start + n]
        exponent = np.outer(encoder.rate, delay) + 2j * np.pi * (encoder.position @ k.T)
        pieces.append(m @ np.exp(-exponent))
    return np.concatenate(pieces, axis=1)
