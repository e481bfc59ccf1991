"""Samples on any trajectory → images: adjoint non-uniform Fourier transform with density compensation.

The weight of a sample is the area of k-space that it stands for, so the image is the integral of the signal over the
part of k-space that was sampled. Off-resonance is taken away by time segmentation where a map of it is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mrisim._types import Complex, Float, Int
from mrisim.data import RawData, ReconSpec
from mrisim.encoding.lowrank import split_in_time
from mrisim.encoding.nufft import from_image, to_image
from mrisim.errors import ConsistencyError, Finding, Problem
from mrisim.recon import cartesian
from mrisim.recon.placement import COORDINATES, _contrasts, _image_readouts, _Readouts, _slices, further_coordinates

TOLERANCE = 1e-5  # of the transforms
_COARSE = 1e-3  # of those that make the weights
ITERATIONS = 12  # of the density compensation
_FILTER_POINTS = 2048
_EDGE = 0.5 * (1 + 1e-6)  # cycles per voxel
_FULL = 0.85  # share of its cells that k-space must be sampled in; less is a finding


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """Samples of one image: contrast and slice."""

    contrast: int
    slice: int | None  # None in 3D
    index: Int[np.ndarray, " used"]  # into the signal
    k: Float[np.ndarray, "axes used"]  # cycles per voxel, in the order of the image's axes
    time: Float[np.ndarray, " used"]  # since k = 0 of its readout [s]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trajectory:
    """All images of a scan."""

    samples: tuple[Samples, ...]
    shape: tuple[int, int, int, int]  # contrast, z, y, x
    volume: float  # of a voxel [m³]
    coordinates: dict[str, Float[np.ndarray, " contrast"]]


def arrange(raw: RawData, spec: ReconSpec) -> Trajectory:
    """Which samples make which image, and where they lie in k-space.

    Contrasts follow from ECO, SET and REP, slices from SLC. Samples beyond half a cycle per voxel are left out.

    Raises:
        ConsistencyError: no readouts of an image, a slice without any, or no image that reaches k = 0.
    """
    readouts = _image_readouts(raw)
    three = spec.matrix[2] > 1
    problems: list[Problem] = []
    z = np.zeros(len(readouts.rows), dtype=int) if three else _slices(raw, readouts, spec, problems)
    if problems:
        raise ConsistencyError(problems)
    contrast, n_contrasts = _contrasts(raw, readouts)
    axes = (2, 1, 0) if three else (1, 0)
    spacing = np.array([spec.fov[i] / spec.matrix[i] for i in range(3)])
    k = (readouts.k * spacing)[:, list(axes)].T
    central = _central(readouts, k)
    since = np.asarray(raw.time)[readouts.sample] - np.asarray(raw.time)[readouts.sample[central]][readouts.owner]
    inside = (np.abs(k) <= _EDGE).all(axis=0)
    n_z = spec.matrix[2] if three else len(spec.slice_positions)
    images = []
    for c in range(n_contrasts):
        for s in range(1 if three else n_z):
            mine = inside & ((contrast == c) & (z == s))[readouts.owner]
            _require_center(k[:, mine], c)
            images.append(
                Samples(
                    contrast=c, slice=None if three else s, index=readouts.sample[mine], k=k[:, mine], time=since[mine]
                )
            )
    coordinates = _coordinates(raw, readouts, central, contrast, n_contrasts)
    return Trajectory(
        samples=tuple(images),
        shape=(n_contrasts, n_z, spec.matrix[1], spec.matrix[0]),
        volume=float(np.prod(spacing)),
        coordinates=coordinates,
    )


def coil_images(
    raw: RawData, trajectory: Trajectory, window: str, off_resonance: Float[np.ndarray, "z y x"] | None = None
) -> tuple[Complex[np.ndarray, "coils contrast z y x"], tuple[Finding, ...]]:
    """Image of each coil, and what there is to say about its k-space.

    Args:
        raw: Samples.
        trajectory: Where they lie.
        window: Filter over the distance from the center of k-space.
        off_resonance: Map on the image grid [Hz]; the phase that it gave each sample since k = 0 is taken back.
    """
    images = np.zeros((raw.signal.shape[0], *trajectory.shape), dtype=np.result_type(raw.signal.dtype, np.complex64))
    stored: dict[bytes, np.ndarray] = {}
    findings: dict[Finding, None] = {}
    for one in trajectory.samples:
        shape = trajectory.shape[1:] if one.slice is None else trajectory.shape[2:]
        key = np.round(one.k, 9).tobytes()
        if key not in stored:
            stored[key] = density(one.k, shape)
            findings |= dict.fromkeys(_gaps(one.k, shape))
        weight = stored[key] * _filter(window, one.k) / trajectory.volume
        signal = raw.signal[:, one.index] * weight
        field = None if off_resonance is None else off_resonance if one.slice is None else off_resonance[one.slice]
        place = (slice(None), one.contrast) if one.slice is None else (slice(None), one.contrast, one.slice)
        images[place] = _adjoint(signal, one, shape, field)
    return images, tuple(findings)


def density(
    k: Float[np.ndarray, "axes samples"], shape: tuple[int, ...], iterations: int = ITERATIONS
) -> Float[np.ndarray, " samples"]:
    """Area of k-space that each sample stands for [cycles per voxel, to the power of the axes].

    Weights are divided by their own convolution with a kernel until that is one at every sample. The kernel is the
    transform of an ellipse's (ellipsoid's) autocorrelation: positive, and blind beyond the field of view.

    Args:
        k: In cycles per voxel, in the order of `shape`.
        shape: Of the image.
        iterations: Number of divisions.

    Source:
        Pipe and Menon, Magn Reson Med 41:179 (1999); kernel: Johnson and Pipe, 61:439 (2009).

    Example:
        >>> lattice = np.stack(np.meshgrid(*[(np.arange(16) - 8) / 16] * 2)).reshape(2, -1)
        >>> inner = np.abs(lattice).max(axis=0) < 0.3
        >>> float(np.median(density(lattice, (16, 16))[inner]) * 16**2).__round__(1)
        1.0
    """
    window = _support(shape)
    weight = np.full(k.shape[1], 1.0 / max(1, k.shape[1]))
    for _ in range(iterations):
        image = to_image(weight[None], k, window.shape, _COARSE) * window
        smooth = np.abs(from_image(image, k, _COARSE)[0])
        weight = weight / np.maximum(smooth, 1e-12)
    return weight


def _support(shape: tuple[int, ...]) -> np.ndarray:
    """Autocorrelation of the ellipse (ellipsoid) that fills the field of view, over twice that; one in the middle."""
    axes = [(np.arange(2 * n) - n) / n for n in shape]
    r = np.minimum(np.sqrt(sum(a**2 for a in np.meshgrid(*axes, indexing="ij", sparse=True))), 1.0)
    if len(shape) == 3:
        return 1 - 1.5 * r + 0.5 * r**3
    return 2 / np.pi * (np.arccos(r) - r * np.sqrt(1 - r**2))


def _adjoint(
    signal: Complex[np.ndarray, "coils used"], samples: Samples, shape: tuple[int, ...], field: np.ndarray | None
) -> np.ndarray:
    """Sum over samples of s exp(+2 pi i k·r), with exp(+2 pi i f tau) where the field is known.

    Source:
        Time segmentation: Noll et al., IEEE Trans Med Imaging 10:629 (1991), with the optimal factors of `lowrank`.
    """
    if field is None:
        return to_image(signal, samples.k, shape, TOLERANCE)
    first = float(samples.time.min())
    flat = np.asarray(field, dtype=float).ravel()
    split = split_in_time(samples.time - first, flat, np.zeros(len(flat)), 1e-3)
    parts = split.spin(flat, np.zeros(len(flat))).conj() * np.exp(2j * np.pi * flat * first)
    image = np.zeros((len(signal), *shape), dtype=complex)
    for term, part in zip(split.time, parts, strict=True):
        image += to_image(signal * term.conj(), samples.k, shape, TOLERANCE) * part.reshape(shape)
    return image


def _central(readouts: _Readouts, k: np.ndarray) -> Int[np.ndarray, " readouts"]:
    """Sample of each readout that is nearest to k = 0; the first of several."""
    distance = np.sum(k**2, axis=0)
    least = np.minimum.reduceat(distance, readouts.first)
    hit = np.flatnonzero(distance <= least[readouts.owner] * (1 + 1e-9) + 1e-18)
    return hit[np.searchsorted(hit, readouts.first)]


def _require_center(k: np.ndarray, contrast: int) -> None:
    if k.shape[1] == 0 or np.linalg.norm(k, axis=0).min() > 0.05:
        rule = f"must reach the center of k-space for each image, but do not for contrast {contrast}"
        raise ConsistencyError(Problem(rule, "Check the matrix and the field of view", path="k"))


def _gaps(k: Float[np.ndarray, "axes samples"], shape: tuple[int, ...]) -> list[Finding]:
    """A finding where cells of 1 / fov within the disc (ball) that the samples reach hold none."""
    radius = min(float(np.linalg.norm(k, axis=0).max()), 0.5)
    inner = k[:, np.linalg.norm(k, axis=0) <= radius]
    occupied = len(np.unique(np.floor(inner * np.array(shape)[:, None]).astype(int), axis=1).T)
    disc = (np.pi if len(shape) == 2 else 4 / 3 * np.pi) * float(np.prod([radius * n for n in shape]))
    if occupied >= _FULL * disc:
        return []
    text = f"samples cover {occupied / disc:.0%} of the k-space that they reach, in cells of 1 / fov"
    return [Finding("k-space coverage", text, "Expect streaks or aliasing; use more shots or spokes")]


def _filter(name: str, k: Float[np.ndarray, "axes samples"]) -> Float[np.ndarray, " samples"]:
    """Window over the distance from k = 0, as over one axis in `cartesian.window`."""
    if name == "none":
        return np.ones(k.shape[1])
    half = cartesian.window(name, _FILTER_POINTS)[_FILTER_POINTS // 2 :: -1]
    at = 2 * np.linalg.norm(k, axis=0) * (_FILTER_POINTS // 2)
    return np.interp(at, np.arange(len(half)), half)


def _coordinates(
    raw: RawData, readouts: _Readouts, central: np.ndarray, contrast: np.ndarray, n_contrasts: int
) -> dict[str, np.ndarray]:
    """te, ti, tr and flip of each contrast; te is that of k = 0, wherever in the readout it lies."""
    table, time = raw.readouts, np.asarray(raw.time)
    middle = np.asarray(table.start)[readouts.rows] + readouts.count // 2
    shift = time[readouts.sample[central]] - time[middle]
    found = {}
    for name in COORDINATES:
        values = np.asarray(getattr(table, name), dtype=float)[readouts.rows] + (shift if name == "te" else 0.0)
        groups = [values[(contrast == c) & ~np.isnan(values)] for c in range(n_contrasts)]
        found[name] = np.array([np.median(group) if len(group) else np.nan for group in groups])
    rows = [np.flatnonzero(contrast == c) for c in range(n_contrasts)]
    return {**found, **further_coordinates(raw, readouts.rows, time[readouts.sample[central]], rows)}
