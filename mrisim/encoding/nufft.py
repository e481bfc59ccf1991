"""Non-uniform Fourier transforms: the only module that imports a NUFFT library.

Two libraries do the same here. nufftax is pure JAX and always there; finufft is compiled, several times faster on a
CPU for many points, and used there where it is installed. Both are held against direct summation.

Source:
    Barnett, Magland and af Klinteberg, SIAM J Sci Comput 41:C479 (2019) for the method and the kernel.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal

import jax
import numpy as np

from mrisim._types import Complex, Float

Backend = Literal["finufft", "nufftax"]

LEAST_TOLERANCE = 1e-12
_MARGIN = 0.6  # both libraries were seen to err by up to 1.6 times what they are asked for
_AXES = ("x", "y", "z")
_SINGLE_ROUNDING = 2.0**-24
_OFF_LATTICE = 0.02  # phase that a target may be off a lattice, in cycles at the farthest point, over the tolerance
_DENSE = 3  # lattice points per target up to which a lattice is worth it
_GRID_STEP = 1.1  # grids of nufftax grow in such steps, so that near-by extents share a compiled program


def backends() -> tuple[Backend, ...]:
    """Libraries that are there, the preferred one for the default device first."""
    here = importlib.util.find_spec("finufft") is not None
    if not here:
        return ("nufftax",)
    return ("finufft", "nufftax") if jax.default_backend() == "cpu" else ("nufftax", "finufft")


def thread_count() -> int:
    """Threads of a transform: the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Transform:
    """s_j = sum over n of c_n exp(-2 pi i k_j · x_n) for scattered x and scattered k, in one to three dimensions.

    Points and targets are centered on the host in float64, so that the library sees phases as small as they can be.
    Targets that fill a lattice (an EPI train) need one grid in place of two, a fourth to a tenth of the work.
    """

    points: Float[np.ndarray, "axes n"]  # [m], centered
    targets: Float[np.ndarray, "axes samples"]  # [1/m], centered
    source_phase: Complex[np.ndarray, " n"]
    target_phase: Complex[np.ndarray, " samples"]
    tolerance: float  # asked of the library
    backend: Backend
    lattice: Lattice | None  # where the targets fill one

    @staticmethod
    def of(
        points: Float[np.ndarray, "axes n"],
        targets: Float[np.ndarray, "axes samples"],
        tolerance: float = 1e-6,
        backend: Backend | None = None,
    ) -> Transform:
        """Transform between points [m] and targets [1/m].

        Args:
            points: Where the values are.
            targets: Where they are wanted.
            tolerance: Relative error (2-norm) of the result.
            backend: Library; the preferred one where not given.

        Example:
            >>> line = Transform.of(np.array([[0.0, 0.25]]), np.array([[0.0, 1.0]]))
            >>> np.round(line(np.array([[1.0, 1.0]])), 5)
            array([[2.+0.j, 1.-1.j]])
        """
        x, k = np.asarray(points, dtype=float), np.asarray(targets, dtype=float)
        x0, k0 = _middle(x), _middle(k)
        x, k = x - x0, k - k0
        return Transform(
            points=x,
            targets=k,
            source_phase=_turn(k0[:, 0] @ x),
            target_phase=_turn(x0[:, 0] @ (k + k0)),
            tolerance=max(_MARGIN * tolerance, LEAST_TOLERANCE),
            backend=backend or backends()[0],
            lattice=_lattice(k, np.abs(x).max(axis=1, initial=0.0), tolerance),
        )

    @property
    def cycles(self) -> Float[np.ndarray, " axes"]:
        """Largest phase along each axis, about the middle [cycles]."""
        return np.abs(self.points).max(axis=1, initial=0.0) * np.abs(self.targets).max(axis=1, initial=0.0)

    def __call__(
        self, values: Complex[np.ndarray, "rows n"], threads: int | None = None
    ) -> Complex[np.ndarray, "rows samples"]:
        """Values at the targets, one transform per row."""
        if self.points.shape[1] == 0 or self.targets.shape[1] == 0:
            return np.zeros((len(values), self.targets.shape[1]), dtype=complex)
        if self.lattice is not None:
            return self._by_lattice(values * self.source_phase, threads) * self.target_phase
        run = _finufft_type3 if self.backend == "finufft" else _nufftax_type3
        return run(self, values * self.source_phase, threads or thread_count()) * self.target_phase

    def _by_lattice(self, values: np.ndarray, threads: int | None) -> np.ndarray:
        assert self.lattice is not None
        grid = self.lattice
        turned = values * _turn(grid.origin[:, 0] @ self.points)
        cycles = -self.points * grid.step
        image = to_image(turned, cycles, grid.shape, self.tolerance / _MARGIN, self.backend, threads)
        return image.reshape(len(values), -1)[:, grid.index]


@dataclass(frozen=True, kw_only=True, eq=False)
class Lattice:
    """Equidistant targets: target j is point `index[j]` of a grid whose point N//2 is the origin."""

    shape: tuple[int, ...]
    step: Float[np.ndarray, "axes 1"]  # [1/m]
    origin: Float[np.ndarray, "axes 1"]  # [1/m]
    index: np.ndarray  # (samples,)


def _lattice(k: np.ndarray, extent: np.ndarray, tolerance: float) -> Lattice | None:
    """The lattice that targets lie on, where they fill a good part of it."""
    if k.shape[1] == 0:
        return None
    allowed = _OFF_LATTICE * tolerance / np.maximum(extent, 1e-30)
    steps, places = [], []
    for axis, off in zip(k, allowed, strict=True):
        low, span = float(axis.min()), float(np.ptp(axis))
        gaps = np.asarray(np.diff(np.sort(axis)), dtype=float)
        gaps = gaps[gaps > max(span * 1e-7, 2 * off)]
        count = round(span / float(gaps.min())) if len(gaps) else 0
        if count + 1 > _DENSE * k.shape[1]:
            return None
        step = span / count if count else 1.0
        place = np.rint((axis - low) / step)
        if np.abs(axis - low - place * step).max() > off:
            return None
        steps.append(step)
        places.append(place.astype(int))
    shape = tuple(int(place.max()) + 1 for place in places)
    if np.prod([float(n) for n in shape]) > _DENSE * k.shape[1]:
        return None
    step = np.array(steps)[:, None]
    origin = k.min(axis=1, keepdims=True) + step * np.array([[n // 2] for n in shape])
    return Lattice(shape=shape, step=step, origin=origin, index=np.ravel_multi_index(tuple(places), shape))


def to_image(
    samples: Complex[np.ndarray, "rows samples"],
    k: Float[np.ndarray, "axes samples"],
    shape: tuple[int, ...],
    tolerance: float = 1e-6,
    backend: Backend | None = None,
    threads: int | None = None,
) -> Complex[np.ndarray, "rows ..."]:
    """image_i = sum over j of s_j exp(+2 pi i k_j · (i - N//2)): the adjoint of `from_image`.

    Args:
        samples: Values at k.
        k: In cycles per voxel; axes in the order of `shape`.
        shape: Of the image, one to three axes.
        tolerance: Relative error (2-norm).
        backend: Library; the preferred one where not given.
        threads: Of finufft; all cores where not given.

    Example:
        >>> bool(np.allclose(to_image(np.ones((1, 1)), np.array([[0.25]]), (4,)), [-1, -1j, 1, 1j], atol=1e-5))
        True
    """
    samples, eps = np.ascontiguousarray(samples, dtype=complex), max(_MARGIN * tolerance, LEAST_TOLERANCE)
    angles = _angles(k)
    if (backend or backends()[0]) == "finufft":
        import finufft

        run = getattr(finufft, f"nufft{len(shape)}d1")
        return run(*angles, samples, shape, eps=eps, isign=1, nthreads=threads or thread_count()).reshape(-1, *shape)
    with jax.enable_x64(True):
        return np.asarray(_uniform_1(len(shape), shape[::-1], eps)(angles[::-1], samples))


def from_image(
    image: Complex[np.ndarray, "rows ..."],
    k: Float[np.ndarray, "axes samples"],
    tolerance: float = 1e-6,
    backend: Backend | None = None,
) -> Complex[np.ndarray, "rows samples"]:
    """s_j = sum over i of image_i exp(-2 pi i k_j · (i - N//2)), with k in cycles per voxel.

    Example:
        >>> np.round(from_image(np.array([[0, 0, 1.0, 0]]), np.array([[0.25]])), 5)
        array([[1.+0.j]])
    """
    image, eps = np.ascontiguousarray(image, dtype=complex), max(_MARGIN * tolerance, LEAST_TOLERANCE)
    angles, axes = _angles(k), image.ndim - 1
    if (backend or backends()[0]) == "finufft":
        import finufft

        run = getattr(finufft, f"nufft{axes}d2")
        return run(*angles, image, eps=eps, isign=-1, nthreads=thread_count()).reshape(len(image), -1)
    with jax.enable_x64(True):
        return np.asarray(_uniform_2(axes, eps)(angles[::-1], image))


def _middle(x: np.ndarray) -> np.ndarray:
    if x.shape[1] == 0:
        return np.zeros((len(x), 1))
    return 0.5 * (x.min(axis=1, keepdims=True) + x.max(axis=1, keepdims=True))


def _turn(cycles: np.ndarray) -> np.ndarray:
    return np.exp(-2j * np.pi * cycles)


def _angles(k: np.ndarray) -> list[np.ndarray]:
    return [np.ascontiguousarray(2 * np.pi * (axis - np.round(axis)), dtype=float) for axis in np.asarray(k)]


def _finufft_type3(transform: Transform, values: np.ndarray, threads: int) -> np.ndarray:
    import finufft

    axes, rows = len(transform.points), len(values)
    scaled = [np.ascontiguousarray(2 * np.pi * x) for x in transform.points]
    targets = [np.ascontiguousarray(k) for k in transform.targets]
    plan = finufft.Plan(3, axes, n_trans=rows, eps=transform.tolerance, isign=-1, nthreads=threads)
    names = dict(zip(("s", "t", "u"), targets, strict=False))
    plan.setpts(*scaled, **names)
    return plan.execute(np.ascontiguousarray(values, dtype=complex)).reshape(rows, -1)


def _nufftax_type3(transform: Transform, values: np.ndarray, threads: int) -> np.ndarray:
    del threads  # XLA's own
    double = needs_double(transform.cycles, transform.tolerance)
    real, paired = (np.float64, np.complex128) if double else (np.float32, np.complex64)
    sizes = _grid_sizes(transform)
    # nufftax asks for no more accuracy than the precision holds
    eps = transform.tolerance if double else max(transform.tolerance, 1e-6)
    with jax.enable_x64(double):
        run = _scattered(len(transform.points), sizes, _round_down(eps))
        points = (2 * np.pi * transform.points).astype(real)
        return np.asarray(run(points, transform.targets.astype(real), values.astype(paired)), dtype=complex)


def needs_double(cycles: Float[np.ndarray, " axes"], tolerance: float) -> bool:
    """Whether single precision would leave more than half of the tolerance as rounding of the phases."""
    phase = 2 * np.pi * float(np.sum(cycles)) + 1.0
    return 2 * _SINGLE_ROUNDING * phase > 0.5 * tolerance


def _round_down(tolerance: float) -> float:
    """The next power of √10 below: few tolerances mean few compiled programs."""
    return float(10.0 ** (np.floor(2 * np.log10(tolerance) + 1e-9) / 2))


def _grid_sizes(transform: Transform) -> tuple[int, ...]:
    from nufftax.transforms.nufft3 import compute_type3_grid_size

    sizes = []
    for x, k in zip(transform.points, transform.targets, strict=True):
        extent = max(2 * np.pi * float(np.ptp(x)) / 2 * float(np.ptp(k)) / 2, 1.0)
        extent = _GRID_STEP ** np.ceil(np.log(extent) / np.log(_GRID_STEP))
        sizes.append(compute_type3_grid_size(float(extent), 1.0, eps=_round_down(transform.tolerance)))
    return tuple(sizes)


@lru_cache(maxsize=64)
def _scattered(axes: int, sizes: tuple[int, ...], eps: float) -> Any:
    import nufftax

    one = getattr(nufftax, f"nufft{axes}d3")
    n_modes = sizes[0] if axes == 1 else sizes

    def run(points, targets, values):
        single = partial(_one_scattered, one, tuple(points), tuple(targets), n_modes, eps)
        return jax.lax.map(single, values)

    return jax.jit(run)


def _one_scattered(function, points, targets, n_modes, eps, values):
    return function(*points, values, *targets, n_modes, eps=eps, isign=-1)


@lru_cache(maxsize=32)
def _uniform_1(axes: int, modes: tuple[int, ...], eps: float) -> Any:
    import nufftax

    one = getattr(nufftax, f"nufft{axes}d1")
    n_modes = modes[0] if axes == 1 else modes

    def run(angles, samples):
        return jax.lax.map(lambda c: one(*angles, c, n_modes, eps=eps, isign=1), samples)

    return jax.jit(run)


@lru_cache(maxsize=32)
def _uniform_2(axes: int, eps: float) -> Any:
    import nufftax

    one = getattr(nufftax, f"nufft{axes}d2")
    return jax.jit(lambda angles, image: jax.lax.map(lambda f: one(*angles, f, eps=eps, isign=-1), image))
