"""Raw data → image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from mrisim._types import Complex, Float
from mrisim.data import Grid, Image, RawData, ReconSpec
from mrisim.errors import ConsistencyError, Problem
from mrisim.recon import cartesian, combine, gridding, lowrank, partial
from mrisim.recon.cartesian import CartesianLayout
from mrisim.recon.ghost import find_delay, remove_ghost
from mrisim.recon.infer import infer_recon
from mrisim.recon.placement import COVERAGE, place
from mrisim.recon.ramps import even_lines, uneven

METHODS = ("cartesian", "gridding", "lowrank")
WINDOWS = ("none", "hann", "hamming", "tukey")
COMBINATIONS = ("adaptive", "rss")
GHOSTS = ("reference", "keep")


def reconstruct(
    raw: RawData,
    *,
    window: str | None = None,
    combine: str | None = None,
    recon: ReconSpec | None = None,
    fov: Sequence[float] | None = None,
    off_resonance: Float[np.ndarray, "z y x"] | None = None,
) -> Image:
    """Image of raw data, 2D multi-slice or 3D.

    The method of the specification says how. "gridding" takes any trajectory from `raw.k`, weights each sample with the
    area of k-space that it stands for, and needs LIN and PAR for nothing. "lowrank" does so for a train of repetitions
    (REP) of which each samples a part: its contrasts are the coefficients of the leading singular vectors of the
    sequence's fingerprinting dictionary. The rest of this holds for "cartesian".

    The image value is the mean of pd · M⁺ over the voxel. Lines, partitions and slices follow from the labels LIN, PAR
    and SLC and are held against the trajectory; columns follow from the trajectory, so reversed lines need nothing.
    Averages (AVG) are averaged; ECO, SET, PHS and REP make the contrast axis, ECO slowest. Points never sampled are
    zero, or completed from the opposite side by "homodyne" or "pocs". Readouts with NAV, NOISE, or REF without IMA are
    left out; NAV lines that run both ways take the N/2 ghost away. Lines sampled on ramps are interpolated to the grid.

    `raw.k` is the trajectory of the gradients. Where the receiver's phase and frequency move the field of view off
    center, the samples have been moved already, and the grid's center is that of `raw.geometry`.

    Without a specification, matrix, field of view and lines are inferred from the trajectory and whatever labels there
    are (`mrisim.recon.infer`), and what had to be assumed is among the findings.

    Args:
        raw: Samples with their readout table.
        window: "none", "hann", "hamming" or "tukey"; from the sequence where not given.
        combine: "adaptive" (by the known sensitivities where `raw.sensitivities` has them, else from the data) or
            "rss"; from the sequence where not given. One coil without sensitivities is taken as it is.
        recon: Used in place of `raw.recon`.
        fov: Read, phase, partition [m], where there is no specification: what is sampled beyond it along read is
            oversampling.
        off_resonance: Map on the image grid [Hz], for "gridding": the phase that it gave each sample since k = 0 is
            taken back, by time segmentation.

    Returns:
        Complex image (contrast, z, y, x) with its grid and the coordinates te, ti, ts, tr, flip of each contrast.

    Raises:
        ConsistencyError: an unknown option, or samples that do not make an image; the message says why.

    Example:
        >>> from mrisim.data import ReadoutTable
        >>> k = (np.arange(4) - 2) / 0.4
        >>> row = {"te": [0.01], "ti": [np.nan], "tr": [np.nan], "flip": [1.0]}
        >>> table = ReadoutTable(start=np.array([0]), count=np.array([4]), dwell=np.array([1e-5]), labels={},
        ...                      **{name: np.array(value) for name, value in row.items()})
        >>> spec = ReconSpec(method="cartesian", matrix=(4, 1, 1), fov=(0.4, 0.1, 0.01))
        >>> point = 1e-4 * np.exp(-2j * np.pi * k * 0.1)[None]    # one voxel's volume, at 0.1 m along x
        >>> raw = RawData(signal=point, k=k[:, None] * [1, 0, 0], time=np.arange(4.0), readouts=table, recon=spec)
        >>> np.round(reconstruct(raw).magnitude.ravel(), 6).tolist()
        [0.0, 0.0, 0.0, 1.0]
    """
    spec, offset, inferred = recon or raw.recon, np.zeros(3), ()
    if spec is None:
        completed = infer_recon(raw, fov=fov)
        raw, offset, inferred = completed.raw, completed.offset, completed.findings
        spec = cast(ReconSpec, raw.recon)
    elif fov is not None:
        rule = "must be left out where raw data say how they become an image, but is given"
        raise ConsistencyError(Problem(rule, "Give recon with another field of view", path="fov"))
    window, combination = window or spec.window, combine or spec.combine
    _check_options(raw, spec, window, combination, off_resonance)
    if spec.method == "gridding":
        trajectory = gridding.arrange(raw, spec)
        coordinates = trajectory.coordinates
        images, found = gridding.coil_images(raw, trajectory, window, off_resonance)
    elif spec.method == "lowrank":
        images, coordinates = lowrank.series(raw, spec)
        found = ()
    else:
        raw = _lines(raw, spec)
        placement = place(raw, spec)
        coordinates, found = placement.coordinates, placement.findings
        if spec.partial_fourier != "zero":
            found = tuple(one for one in found if one.topic != COVERAGE)
        images = _coil_images(raw, placement.layout, window, spec.partial_fourier)
    image, magnitude = _combine(raw, images, combination)
    grid = spec.grid(raw.geometry)
    if offset.any() and not magnitude:
        image = (image * _ramp(grid, offset)).astype(image.dtype)
    return Image(
        data=image,
        grid=grid,
        coordinates=coordinates,
        findings=(*raw.findings, *inferred, *found),
        sequence=raw.sequence,
        provenance={
            **raw.provenance,
            "maps": spec.maps,
            "recon": {
                "method": spec.method,
                "window": window,
                "combine": combination,
                "magnitude": magnitude,
                "partial_fourier": spec.partial_fourier,
                "ghost": spec.ghost,
            },
        },
    )


def _ramp(grid: Grid, offset: Float[np.ndarray, " 3"]) -> Complex[np.ndarray, "z y x"]:
    """Phase of an image whose samples lie beside the grid of k = 0 by an offset on logical axes [1/m]."""
    x, y, z = (np.exp(2j * np.pi * k * position) for k, position in zip(offset, grid.logical_axes(), strict=True))
    return z[:, None, None] * y[:, None] * x


def _check_options(raw: RawData, spec: ReconSpec, window: str, combination: str, off_resonance: object) -> None:
    choices = {"method": (spec.method, METHODS), "window": (window, WINDOWS)}
    choices["combine"] = (combination, COMBINATIONS)
    choices |= {"partial_fourier": (spec.partial_fourier, partial.METHODS), "ghost": (spec.ghost, GHOSTS)}
    problems = [
        Problem(f"must be one of {', '.join(allowed)}, but is '{value}'", path=f"recon.{name}")
        for name, (value, allowed) in choices.items()
        if value not in allowed
    ]
    n_samples = int(np.max(np.asarray(raw.readouts.start) + np.asarray(raw.readouts.count), initial=0))
    if raw.signal.ndim != 2 or raw.signal.shape[1] < n_samples or len(raw.k) != raw.signal.shape[1]:
        rule = (
            f"must have shape (coils, samples) with k for each of the {n_samples} samples, but has {raw.signal.shape}"
        )
        problems.append(Problem(rule, path="signal"))
    elif not np.isfinite(raw.signal).all():
        problems.append(Problem("must be finite, but holds nan or infinity", path="signal"))
    if off_resonance is not None:
        problems += _check_field(raw, spec, np.asarray(off_resonance))
    if raw.sensitivities is not None:
        expected = (raw.signal.shape[0], *spec.grid(raw.geometry).shape[::-1])
        if raw.sensitivities.shape != expected:
            rule = f"must have shape {expected} (coils, z, y, x), but has {raw.sensitivities.shape}"
            problems.append(Problem(rule, path="sensitivities"))
    if problems:
        raise ConsistencyError(problems)


def _check_field(raw: RawData, spec: ReconSpec, field: np.ndarray) -> list[Problem]:
    shape = spec.grid(raw.geometry).shape[::-1]
    if spec.method != "gridding":
        rule = f"must be left out of the method '{spec.method}', which cannot use it, but is given"
        return [Problem(rule, "Set recon.method: gridding", path="off_resonance")]
    if field.shape != shape:
        return [Problem(f"must have shape {shape} (z, y, x), but has {field.shape}", path="off_resonance")]
    if not np.isfinite(field).all():
        return [Problem("must be finite, but holds nan or infinity", "Set it to 0 outside", path="off_resonance")]
    return []


def _lines(raw: RawData, spec: ReconSpec) -> RawData:
    """Lines in equal steps, and without what tells backward from forward ones."""
    corrected = spec.ghost == "reference"
    if uneven(raw, spec):
        raw = even_lines(raw, spec, find_delay(raw, spec) if corrected else 0.0)
    return remove_ghost(raw) if corrected else raw


def _coil_images(
    raw: RawData, layout: CartesianLayout, window: str, completion: str
) -> Complex[np.ndarray, "coils contrast z y x"]:
    weight = _sample_weights(layout, window).astype(np.real(raw.signal).dtype)
    images = np.empty((raw.signal.shape[0], *layout.image_shape), dtype=raw.signal.dtype)
    scale = 1.0 / (layout.points * layout.voxel**2)
    sampled = (layout.multiplicity > 0).reshape(layout.shape)
    whole = completion == "zero" or sampled.any(axis=-1).all()
    for coil, signal in enumerate(raw.signal):
        samples = signal[layout.sample] * weight
        if whole:
            images[coil] = cartesian.adjoint(layout, samples) * scale
        else:
            grid = cartesian.scatter(layout, samples).reshape(layout.shape)
            complete = partial.homodyne if completion == "homodyne" else partial.pocs
            wide = complete(grid, *partial.sampled_lines(sampled), layout.axes)
            images[coil] = cartesian.crop_columns(wide, layout.columns) * layout.voxel * scale
    return images


def _sample_weights(layout: CartesianLayout, window: str) -> np.ndarray:
    """Filter over the number of averages, for each placed sample."""
    weight = 1.0 / layout.multiplicity[layout.index]
    if window != "none":
        places = np.unravel_index(layout.index, layout.shape)
        for axis in layout.axes:
            weight = weight * cartesian.window(window, layout.shape[axis])[places[axis]]
    return weight


def _combine(
    raw: RawData, images: Complex[np.ndarray, "coils contrast z y x"], combination: str
) -> tuple[Complex[np.ndarray, "contrast z y x"], bool]:
    """The image, and whether it is a magnitude."""
    if combination == "rss":
        return combine.root_sum_of_squares(images), True
    if raw.sensitivities is not None:
        return combine.matched(images, raw.sensitivities), False
    if len(images) == 1:
        return images[0], False
    return combine.adaptive(images), False
