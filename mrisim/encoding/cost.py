"""What a readout costs as a matrix product and as Fourier transforms, and which is cheaper.

Times are of one core in seconds; both paths use all cores about equally well, so only their ratio counts. `Rates` are
those of a current server core; `calibrate` measures them on the machine at hand.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mrisim._types import Bool, Float, Int
from mrisim.program import ReadoutClass

Path = Literal["matrix", "nufft"]

_TAILS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1)  # share of spins whose frequency may be summed directly
_LOOKED_AT = 4_000  # spins that the estimate takes its extents and quantiles from
_EXPANDED = 0.25  # time of a product of two phasors over that of a phasor
_LEAST_WORK = 4_000_000  # spin-samples below which no transform pays


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Seconds per unit of work on one core."""

    entry: float = 4.0e-9  # of a matrix, per spin and sample: phase, sine, cosine, decay
    product: float = 6.0e-11  # per row, spin and sample
    point: float = 15.0e-9  # per spin or sample and transform: what does not depend on the kernel's width
    kernel: float = 0.4e-9  # per spin or sample, transform and point of the kernel
    grid: float = 0.5e-9  # per grid point, transform and binary logarithm of the grid
    direct: float = 20.0e-9  # per spin and sample summed on the host
    factor: float = 10.0e-9  # per spin and term: the split in time
    place: float = 60.0e-9  # per spin and readout class: its place along the axes of the transform
    setup: float = 20.0e-3  # per readout class: split in time, plan
    step: float = 3.3e-9  # per spin and step: what comes before any encoding
    gather: float = 0.8e-9  # per row and spin, where runs of near spins are summed
    column: float = 0.09e-9  # likewise, per pivot and coil
    run: float = 25.0e-9  # likewise, per run of spins


RATES = Rates()


def expected_terms(span: float, band: float, tolerance: float) -> float:
    """Terms of the split in time, from the duration [s] and the range of frequencies [Hz].

    A time-bandwidth product needs about as many terms, and a few more that grow with its logarithm and with that of the
    tolerance (prolate spheroidal functions); the constants fit what `lowrank.split_in_time` takes.

    Source:
        Landau and Widom, J Math Anal Appl 77:469 (1980), for the form.

    Example:
        >>> round(expected_terms(10e-3, 100.0, 1e-4), 1)
        6.7
    """
    turns = span * band
    more = np.log10(max(turns, 1.0))
    return float(turns + 3 + more - 0.67 * (1 + more) * np.log10(tolerance))


def nufft_time(
    spins: int, samples: int, cycles: Float[np.ndarray, " axes"], tolerance: float, rates: Rates = RATES
) -> float:
    """Time of one type-3 transform [s].

    Args:
        spins: Number of points.
        samples: Number of targets.
        cycles: Largest phase along each axis, about the middle.
        tolerance: Relative error.
        rates: Of the machine.
    """
    width = np.ceil(-np.log10(tolerance)) + 2
    grid = float(np.prod(16 * np.asarray(cycles) + 2 * width))
    per_point = rates.point + rates.kernel * width ** len(cycles)
    return (spins + samples) * per_point + rates.grid * grid * np.log2(max(grid, 2.0))


def matrix_time(readout: ReadoutClass, rows: int, spins: int, coils: int = 1, rates: Rates = RATES) -> float:
    """Time of all rows of a class by a matrix [s]; arguments as in `times`."""
    made = _entries(readout, rows * coils) * rates.entry
    return spins * (made + len(readout.delay) * coils * rows * rates.product)


def near_time(
    readout: ReadoutClass, rows: int, spins: int, pivots: int, size: int, coils: int = 1, rates: Rates = RATES
) -> float:
    """Time of all rows of a class by runs of near spins [s].

    Args:
        readout: Class of trains.
        rows: Trains of this class.
        spins: Number of spins.
        pivots: Of the class, as in `near`.
        size: Spins of a run.
        coils: Receive coils.
        rates: Of the machine.
    """
    summed = rates.gather + rates.column * pivots * coils + rates.run / size
    encoded = len(readout.delay) * pivots * coils / size * rates.product
    made = (pivots + (1 + _EXPANDED * pivots) * len(readout.delay) / size) * rates.entry
    return spins * (rows * (summed + encoded) + made)


def times(
    readout: ReadoutClass,
    rows: int,
    position: Float[np.ndarray, "spins 3"],
    df: Float[np.ndarray, " spins"],
    tolerance: float,
    *,
    spins: int | None = None,
    coils: int = 1,
    shared: int = 1,
    rates: Rates = RATES,
) -> dict[Path, float]:
    """Estimated time of each path for all rows of a class [s].

    Args:
        readout: Class of trains.
        rows: Trains of this class.
        position: Of the spins, or of some of them [m].
        df: Off-resonance with everything in it [Hz].
        tolerance: Relative error of the samples.
        spins: Number of all spins, where only some are given.
        coils: Receive coils, each of which is a row of its own.
        shared: Classes that share their sample times, and so their split in time (the shots of a spiral).
        rates: Of the machine.
    """
    samples, spins = len(readout.delay), len(position) if spins is None else spins
    some = some_of(len(position))
    position, df = np.asarray(position)[some], np.asarray(df)[some]
    span = float(np.max(readout.delay, initial=0.0))
    band = best_band(samples, df, span, tolerance, rates)
    outer = int(spins * (1 - np.mean((df >= band[0]) & (df <= band[1]))))
    terms = expected_terms(span, band[1] - band[0], tolerance)
    cycles = _cycles(np.asarray(readout.k), position)
    transforms = rows * coils * terms * nufft_time(spins - outer, samples, cycles, 0.4 * tolerance, rates)
    once = rates.setup + spins * terms * rates.factor
    once = once / shared + spins * rates.place
    matrix = matrix_time(readout, rows, spins, coils, rates)
    return {"matrix": matrix, "nufft": transforms + once + outer * samples * rates.direct}


def choose(
    readout: ReadoutClass,
    rows: int,
    position: Float[np.ndarray, "spins 3"],
    df: Float[np.ndarray, " spins"],
    tolerance: float,
    *,
    spins: int | None = None,
    coils: int = 1,
    shared: int = 1,
    rates: Rates = RATES,
) -> Path:
    """The cheaper path for a class of trains; arguments as in `times`.

    Example:
        >>> tau = np.arange(5000) * 2e-6
        >>> k = 250 * (tau / 0.01)[:, None] * np.stack([np.cos(5e3 * tau), np.sin(5e3 * tau), 0 * tau], axis=1)
        >>> one = np.zeros(1, int)
        >>> spiral = ReadoutClass(delay=tau, k=k, receiver=0 * tau, step=one, phase=one, first=one)
        >>> square = np.random.default_rng(0).uniform(-0.1, 0.1, (100_000, 3))
        >>> choose(spiral, 1, square, np.zeros(100_000), 1e-4), choose(spiral, 1, square[:100], np.zeros(100), 1e-4)
        ('nufft', 'matrix')
    """
    if rows * coils * (len(position) if spins is None else spins) * len(readout.delay) < _LEAST_WORK:
        return "matrix"
    all_spins = len(position) if spins is None else spins
    fewest = expected_terms(0.0, 0.0, tolerance)
    if rows * coils * fewest * all_spins * rates.point > matrix_time(readout, rows, all_spins, coils, rates):
        return "matrix"
    found = times(readout, rows, position, df, tolerance, spins=spins, coils=coils, shared=shared, rates=rates)
    return "nufft" if found["nufft"] < found["matrix"] else "matrix"


def some_of(spins: int) -> Int[np.ndarray, " some"]:
    """Spins that the estimate looks at.

    Example:
        >>> some_of(3)
        array([0, 1, 2])
    """
    return np.linspace(0, spins - 1, min(spins, _LOOKED_AT)).round().astype(int)


def _entries(readout: ReadoutClass, rows: int) -> float:
    """Phasors of a spin that a matrix takes; samples at equal steps take few, and products of them."""
    from mrisim.encoding.matrix import fine_length

    samples, fine = len(readout.delay), fine_length(readout)
    if fine == 1:
        return samples
    return samples / fine + fine + (0 if rows < fine else _EXPANDED * samples)


def best_band(
    samples: int, df: Float[np.ndarray, " spins"], span: float, tolerance: float, rates: Rates = RATES
) -> tuple[float, float]:
    """Range of frequencies that is split in time; spins outside are summed directly [Hz].

    A Lorentzian line has tails that few spins lie in and that would take most of the terms.
    """
    n = len(df)
    best, cheapest = (-np.inf, np.inf), np.inf
    tails = np.array(_TAILS) / 2
    for low, high in np.quantile(df, [tails, 1 - tails]).T:
        per_term = n * (rates.point + 50 * rates.kernel + rates.factor)
        outside = float(np.sum((df < low) | (df > high)))
        cost = expected_terms(span, high - low, tolerance) * per_term + outside * samples * rates.direct
        if cost < cheapest:
            best, cheapest = (float(low), float(high)), cost
    return best


def within(df: Float[np.ndarray, " spins"], band: tuple[float, float]) -> Bool[np.ndarray, " spins"] | None:
    """Which spins lie in the band; None where all do."""
    inside = (df >= band[0]) & (df <= band[1])
    return None if inside.all() else inside


def calibrate(spins: int = 65_536, samples: int = 512) -> Rates:
    """Rates of this machine, by timing both paths for a second or two."""
    import jax
    import jax.numpy as jnp

    from mrisim.encoding import matrix, nufft
    from mrisim.physics.phase import split

    generator = np.random.default_rng(0)
    position = generator.uniform(-0.1, 0.1, (3, spins))
    k = generator.uniform(-200, 200, (samples, 3)) * [1, 1, 0]
    zero = np.zeros(samples)
    readout = ReadoutClass(delay=zero, k=k, receiver=zero, step=zero[:1], phase=zero[:1], first=zero[:1])
    train, placed = matrix.place_train(readout, np.dtype(np.float32)), split(position, np.dtype(np.float32))
    rates = jnp.zeros(spins, jnp.float32)
    rows = 64
    emitted = jnp.asarray(generator.normal(size=(rows, spins)), jnp.complex64)

    def build():
        return jax.block_until_ready(matrix.encoder(train, placed, rates, rates))

    made = build()
    m = generator.normal(size=(1, spins)) + 0j
    transform = nufft.Transform.of(position[:2], k[:, :2].T, 1e-4)
    entry, whole = _fastest(build), _fastest(lambda: transform(m, threads=1))
    product = _fastest(lambda: jax.block_until_ready(matrix.encode(emitted, made)))
    cores = nufft.thread_count()
    ratio = whole / nufft_time(spins, samples, transform.cycles, transform.tolerance)
    return replace(
        RATES,
        entry=entry / (spins * samples) * cores,
        product=product / (rows * spins * samples) * cores,
        point=RATES.point * ratio,
        kernel=RATES.kernel * ratio,
        grid=RATES.grid * ratio,
    )


def _fastest(work, repeats: int = 5) -> float:
    work()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def _cycles(k: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Half the range of the phase along the directions in which k moves, [cycles]."""
    _, _, axes = np.linalg.svd(k.T @ k)
    half = 0.25 * np.ptp(k @ axes.T, axis=0) * np.ptp(position @ axes.T, axis=0)
    return half[half > 1e-6] if (half > 1e-6).any() else np.zeros(1)
