"""A phantom as sites of a phase graph: boxes of one tissue, and the kinds of sites that pulses tell apart."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from mrisim._types import Float, Int
from mrisim.data import Phantom
from mrisim.engines.bloch import directions_of
from mrisim.engines.epg_pieces import find_pieces, numbered
from mrisim.phantom.sampling import Sampling
from mrisim.program import Program

_FACE = 1e-9  # faces nearer than this to an end of a box do not cut it [m]
_STRONGER = 2.0  # b of other states that matter, relative to that of the echo
_PER_CYCLE = 6.0  # layers per cycle that the gradient of a shaped pulse winds up
_REMEMBERED = 2.0  # turns by pulses within T2, from which on layers must be thinner


@dataclass(frozen=True, kw_only=True, eq=False)
class Sites:
    """Boxes of one tissue each; points where the phantom has no voxels."""

    spins: Phantom  # one row per site, at its center
    side: Float[np.ndarray, "sites 3"]  # of the box along the axes [m], 0 for a point
    axes: Float[np.ndarray, "3 3"]  # directions of the box's sides, as columns
    members: Int[np.ndarray, " spins"]  # box that each isochromat of the phantom fell into
    box: Int[np.ndarray, " sites"]  # that each site is a part of
    initial: Float[np.ndarray, "sites 3"]  # magnetisation that each starts from
    cut: Float[np.ndarray, " 3"] = field(default_factory=lambda: np.zeros(3))  # direction that boxes are cut along

    @property
    def n_sites(self) -> int:
        return self.spins.n_spins

    def take(self, rows: Int[np.ndarray, " some"]) -> Sites:
        """Some of the sites."""
        return replace(
            self, spins=self.spins.take(rows), side=self.side[rows], box=self.box[rows], initial=self.initial[rows]
        )


def find_sites(
    phantom: Phantom, program: Program, shaped: bool, initial: Float[np.ndarray, "spins 3"] | None = None
) -> Sites:
    """Sites of a phantom.

    Isochromats of a phantom from arrays are sites of no extent; those of a sampled one are pieces of tissue
    (`epg_pieces`). Boxes are cut at the faces of ideal slices, or into thin layers where pulses have real profiles.

    Args:
        phantom: The isochromats.
        program: Whose slices cut the boxes.
        shaped: Whether pulses have real profiles.
        initial: Magnetisation that each isochromat starts from; None for equilibrium.
    """
    n = phantom.n_spins
    start = np.tile([0.0, 0.0, 1.0], (n, 1)) if initial is None else initial
    if phantom.sampling is None:
        points = replace(phantom.take(np.arange(n)), lorentz=np.zeros(n))
        every = np.arange(n)
        return Sites(spins=points, side=np.zeros((n, 3)), axes=np.eye(3), members=every, box=every, initial=start)
    pieces = find_pieces(phantom, start, program.paths is not None)
    sites = Sites(
        spins=pieces.spins, side=pieces.side, axes=np.asarray(phantom.sampling.geometry.rotation),
        members=pieces.members, box=np.arange(len(pieces.side)), initial=pieces.initial,
    )  # fmt: skip
    return _cut(sites, program, phantom.sampling, shaped)


def _cut(sites: Sites, program: Program, sampling: Sampling, shaped: bool) -> Sites:
    """Boxes cut along the axes that slices are selected along."""
    for axis in range(3):
        direction = sites.axes[:, axis]
        if not shaped:
            faces = _faces(program, direction)
        else:
            twist = max((abs(float(w.moment.sum(axis=0) @ direction)) for w in program.waveforms), default=0.0)
            faces = _layer_faces(sites, sampling, axis, twist * _finer(sites, program))
        if len(faces):
            sites = _cut_at(sites, axis, faces)
            sites = replace(sites, cut=direction) if shaped else sites
    return sites


def _finer(sites: Sites, program: Program) -> float:
    """How much thinner layers are where states remember many pulses.

    The edges of a slice see another flip angle at each place, and the angles of all pulses within T2 add up.
    Layers as thin as the root of that number of turns leave 1e-3 of the signal of a fingerprinting train.
    """
    steps, alive = program.steps, np.asarray(sites.spins.weight) * np.asarray(sites.spins.pd) > 0
    played = np.flatnonzero(steps.pulse >= 0)
    flip = np.nan_to_num(np.abs(np.asarray(program.pulses.flip)[steps.pulse[played]]))
    if not alive.any() or not len(played):
        return 1.0
    time = np.asarray(steps.time)[played]
    longest = float(np.asarray(sites.spins.t2)[alive].max())
    turned = np.concatenate([[0.0], np.cumsum(flip)])
    within = turned[np.searchsorted(time, time + longest, side="right")] - turned[:-1]
    return float(np.sqrt(max(1.0, within.max() / (2 * np.pi) / _REMEMBERED)))


def _layer_faces(sites: Sites, sampling: Sampling, axis: int, twist: float) -> Float[np.ndarray, " faces"]:
    """Equidistant places that each voxel's faces are among, so that layers of all boxes are of few kinds [m]."""
    direction, side = sites.axes[:, axis], sampling.voxel[axis]
    middle = np.asarray(sites.spins.position) @ direction
    half = sites.side[:, axis] / 2
    if _PER_CYCLE * twist * 2 * half.max() <= 1:
        return np.zeros(0)
    step = side / np.ceil(_PER_CYCLE * twist * side)
    origin = float(sampling.geometry.center @ direction) + 0.5 * side
    low, high = (np.array([(middle - half).min(), (middle + half).max()]) - origin) / step
    return origin + np.arange(np.ceil(low - 1e-6), high + 1e-6) * step


def _faces(program: Program, direction: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " faces"]:
    """Where ideal slices begin and end along a direction [m]; none where slices are oblique to it."""
    pulses = program.pulses
    along = np.asarray(pulses.slice_normal) @ direction
    chosen = np.isfinite(pulses.slice_half_width) & (np.abs(along) > 1 - 1e-6)
    center, half = (pulses.slice_position * np.sign(along))[chosen], pulses.slice_half_width[chosen]
    return np.unique(np.round(np.concatenate([center - half, center + half]), 9))


def _cut_at(sites: Sites, axis: int, faces: Float[np.ndarray, " faces"]) -> Sites:
    """Boxes cut along an axis at some places [m]."""
    middle = np.asarray(sites.spins.position) @ sites.axes[:, axis]
    half = sites.side[:, axis] / 2
    low, high = middle - half, middle + half
    begin, end = np.searchsorted(faces, low + _FACE, side="right"), np.searchsorted(faces, high - _FACE, side="left")
    count = np.maximum(end - begin, 0) + 1
    box = np.repeat(np.arange(len(count)), count)
    part = np.arange(len(box)) - np.repeat(np.cumsum(count) - count, count)
    padded = np.append(faces, np.inf)
    lower = np.where(part == 0, low[box], padded[begin[box] + part - 1])
    upper = np.where(part == count[box] - 1, high[box], padded[begin[box] + part])
    spins, side = sites.spins.take(box), sites.side[box].copy()
    thick = upper - lower
    share = np.where(side[:, axis] > 0, thick / np.where(side[:, axis] > 0, side[:, axis], 1.0), 1.0)
    side[:, axis] = thick
    away = 0.5 * (lower + upper) - middle[box]
    spins = replace(
        spins,
        position=np.asarray(spins.position) + away[:, None] * sites.axes[:, axis],
        weight=np.asarray(spins.weight) * share,
    )
    return replace(sites, spins=spins, side=side, box=sites.box[box], initial=sites.initial[box])


def find_kinds(
    sites: Sites, program: Program, timed: bool, tolerance: float
) -> tuple[Int[np.ndarray, " kinds"], Int[np.ndarray, " sites"]]:
    """First site of each kind, and the kind of each site: pulses and relaxation treat a kind alike.

    Args:
        sites: The sites.
        program: Its pulses.
        timed: Whether labels hold off-resonance, which then need not be told apart between pulses.
        tolerance: As in `simulate`.
    """
    spins = sites.spins
    position, df = np.asarray(spins.position), np.asarray(spins.df)
    columns = [np.log(np.minimum(np.asarray(values), 1e6)).round(6) for values in (spins.t1, spins.t2)]
    columns += [np.asarray(spins.curve), _rounded(np.asarray(spins.b1), 5 * tolerance)]
    if program.paths is not None:
        columns += [*_rounded(np.asarray(spins.diffusion).T, tolerance / max(_STRONGER * float(program.paths.b), 1.0))]
    columns += [*_rounded(sites.initial.T, tolerance)]
    if timed:
        columns.append(np.log(np.minimum(np.asarray(spins.t2_prime), 1e6)).round(6))
    longest = max((float(w.dt.sum()) for w in program.waveforms), default=0.0)
    for waveform in program.waveforms:
        if float(waveform.dt.sum()) > 0:
            twist = float(np.abs(waveform.moment).sum(axis=0).max())
            places = position @ np.asarray(directions_of(waveform)).T
            columns += [_rounded(place, 2 * tolerance / max(2 * np.pi * twist, 1.0)) for place in places.T]
    if longest > 0:
        columns.append(_rounded(df, 2 * tolerance / (2 * np.pi * longest)))
    if not timed:
        total = max(float(program.steps.time[-1] + program.steps.duration[-1]), longest, 1e-3)
        columns.append(_rounded(df, tolerance / (2 * np.pi * total)))
    columns += [*_inside(program, position), *_within(program, df)]
    return numbered(columns)


def _rounded(values: np.ndarray, step: float) -> np.ndarray:
    return np.round(values / step)


def _within(program: Program, df: Float[np.ndarray, " sites"]) -> list[np.ndarray]:
    """For each band: which sites ideal pulses turn."""
    pulses = program.pulses
    rows = np.flatnonzero(np.isfinite(pulses.band_half_width))
    bands = {(float(pulses.band_center[row]), float(pulses.band_half_width[row])) for row in rows}
    return [(np.abs(df - center) <= half).astype(float) for center, half in sorted(bands)]


def _inside(program: Program, position: Float[np.ndarray, "sites 3"]) -> list[np.ndarray]:
    """For each slice: which sites ideal pulses reach."""
    pulses = program.pulses
    found = {}
    for row in np.flatnonzero(np.isfinite(pulses.slice_half_width)):
        normal, center, half = pulses.slice_normal[row], pulses.slice_position[row], pulses.slice_half_width[row]
        along = position @ normal - center
        found[(*normal, center, half)] = ((along >= -half) & (along < half)).astype(float)
    return list(found.values())
