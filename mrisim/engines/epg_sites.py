"""A phantom as sites of a phase graph: boxes of one tissue, and the kinds of sites that pulses tell apart."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from mrisim._types import Float, Int
from mrisim.data import Phantom
from mrisim.engines.bloch import directions_of
from mrisim.program import Program

_SAME_SITE = 10.0  # isochromats of one tissue and voxel whose off-resonance lies nearer than this are one site [Hz]
_SLICE = 2  # logical axis
_HEIGHTS = 4  # of boxes, in parts of a voxel along the slice direction: what reaches into a slice must not be spread
_LAYERS = 6.0  # per cycle that the gradient of a shaped pulse winds up along a box


@dataclass(frozen=True, kw_only=True, eq=False)
class Sites:
    """Boxes of one tissue each; points where the phantom has no voxels."""

    spins: Phantom  # one row per site, at its center
    side: Float[np.ndarray, "sites 3"]  # of the box along the axes [m], 0 for a point
    axes: Float[np.ndarray, "3 3"]  # directions of the box's sides, as columns
    members: Int[np.ndarray, " spins"]  # box that each isochromat of the phantom fell into
    box: Int[np.ndarray, " sites"]  # that each site is a part of
    layers: int = 1  # that follow each other: each run of so many sites is one box, cut evenly along `cut`
    cut: Float[np.ndarray, " 3"] = field(default_factory=lambda: np.zeros(3))  # direction

    @property
    def n_sites(self) -> int:
        return self.spins.n_spins


def find_sites(phantom: Phantom, program: Program, shaped: bool) -> Sites:
    """Sites of a phantom.

    Isochromats of one voxel and tissue become one site, at their mean place, with their mean off-resonance and transmit
    field and the sum of their weights; its shape is the voxel, lower along the slice direction where they fill
    a part of its height. In voxels that hold several tissues that is an approximation. Isochromats of a phantom
    from arrays are sites of no extent. Boxes are cut at the faces of ideal
    slices, or into thin layers where pulses have real profiles.

    Args:
        phantom: The isochromats.
        program: Whose slices cut the boxes.
        shaped: Whether pulses have real profiles.
    """
    if phantom.sampling is None:
        n = phantom.n_spins
        points = replace(phantom.take(np.arange(n)), lorentz=np.zeros(n))
        return Sites(spins=points, side=np.zeros((n, 3)), axes=np.eye(3), members=np.arange(n), box=np.arange(n))
    sites = _by_voxel(phantom)
    return _cut(sites, program, shaped)


def _by_voxel(phantom: Phantom) -> Sites:
    sampling = phantom.sampling
    axes, side = np.asarray(sampling.geometry.rotation), np.asarray(sampling.voxel)
    logical = (np.asarray(phantom.position) - sampling.geometry.center) @ axes
    voxel = np.round(logical / side).astype(int)
    columns = [*voxel.T, *(np.asarray(getattr(phantom, name)) for name in ("t1", "t2", "t2_prime"))]
    _, group = np.unique(np.column_stack(columns), axis=0, return_inverse=True)
    df = np.asarray(phantom.df)
    order = np.lexsort([df, group.reshape(-1)])
    sorted_group, sorted_df = group.reshape(-1)[order], df[order]
    new = np.append(True, (np.diff(sorted_group) != 0) | (np.diff(sorted_df) > _SAME_SITE))
    first = np.flatnonzero(new)
    members = np.empty(len(order), dtype=int)
    members[order] = np.cumsum(new) - 1

    def mean(values: np.ndarray) -> np.ndarray:
        counts = np.diff(np.append(first, len(order)))
        sums = np.add.reduceat(np.asarray(values)[order], first, axis=0)
        return sums / counts.reshape(-1, *[1] * (np.ndim(values) - 1))

    heads = phantom.take(order[first])
    total = np.add.reduceat((np.asarray(phantom.weight) * np.asarray(phantom.pd))[order], first)
    spins = replace(
        heads, position=mean(phantom.position), df=mean(phantom.df), b1=mean(phantom.b1), weight=total,
        pd=np.ones(len(first)), lorentz=np.zeros(len(first)),
    )  # fmt: skip
    sides = np.tile(side, (len(first), 1))
    center = np.asarray(spins.position) @ axes[:, _SLICE]
    spread = mean((np.asarray(phantom.position) @ axes[:, _SLICE] - center[members]) ** 2)
    filled = np.sqrt(12 * spread / side[_SLICE] ** 2 + sampling.isochromats**-2.0)  # 1 for the points of a whole voxel
    sides[:, _SLICE] *= np.clip(np.round(filled * _HEIGHTS), 1, _HEIGHTS) / _HEIGHTS
    return Sites(spins=spins, side=sides, axes=axes, members=members, box=np.arange(len(first)))


def _cut(sites: Sites, program: Program, shaped: bool) -> Sites:
    """Boxes cut along the axes that slices are selected along."""
    for axis in range(3):
        direction = sites.axes[:, axis]
        if shaped:
            twist = max((abs(float(w.moment.sum(axis=0) @ direction)) for w in program.waveforms), default=0.0)
            layers = int(np.ceil(_LAYERS * twist * sites.side[:, axis].max()))
            if layers > 1:
                one = sites.layers == 1
                sites = _cut_at(sites, axis, np.arange(1, layers) / layers, relative=True)
                sites = replace(sites, layers=layers, cut=direction) if one else replace(sites, layers=1)
        else:
            faces = _faces(program, direction)
            if len(faces):
                sites = _cut_at(sites, axis, faces, relative=False)
    return sites


def _faces(program: Program, direction: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " faces"]:
    """Where ideal slices begin and end along a direction [m]; none where slices are oblique to it."""
    pulses = program.pulses
    along = np.asarray(pulses.slice_normal) @ direction
    chosen = np.isfinite(pulses.slice_half_width) & (np.abs(along) > 1 - 1e-6)
    center, half = (pulses.slice_position * np.sign(along))[chosen], pulses.slice_half_width[chosen]
    return np.unique(np.round(np.concatenate([center - half, center + half]), 9))


def _cut_at(sites: Sites, axis: int, faces: Float[np.ndarray, " faces"], relative: bool) -> Sites:
    """Boxes cut along an axis at some places [m], or at some parts of their own length."""
    middle = np.asarray(sites.spins.position) @ sites.axes[:, axis]
    half = sites.side[:, axis] / 2
    low, high = (middle - half)[:, None], (middle + half)[:, None]
    edges = low + (high - low) * faces if relative else np.clip(faces[None], low, high)
    edges = np.concatenate([low, edges, high], axis=1)
    thick, center = np.diff(edges, axis=1), 0.5 * (edges[:, 1:] + edges[:, :-1])
    share = thick / (high - low)
    box, part = np.nonzero(share > 1e-9)
    spins, side = sites.spins.take(box), sites.side[box].copy()
    side[:, axis] = thick[box, part]
    away = (center - middle[:, None])[box, part]
    spins = replace(
        spins,
        position=np.asarray(spins.position) + away[:, None] * sites.axes[:, axis],
        weight=np.asarray(spins.weight) * share[box, part],
    )
    return Sites(spins=spins, side=side, axes=sites.axes, members=sites.members, box=sites.box[box])


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
    columns.append(_rounded(np.asarray(spins.b1), 5 * tolerance))
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
    columns += list(_inside(program, position))
    keys = np.column_stack(columns)
    _, first, kind = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return first, kind.reshape(-1)


def _rounded(values: np.ndarray, step: float) -> np.ndarray:
    return np.round(values / step)


def _inside(program: Program, position: Float[np.ndarray, "sites 3"]) -> list[np.ndarray]:
    """For each slice: which sites ideal pulses reach."""
    pulses = program.pulses
    found = {}
    for row in np.flatnonzero(np.isfinite(pulses.slice_half_width)):
        normal, center, half = pulses.slice_normal[row], pulses.slice_position[row], pulses.slice_half_width[row]
        along = position @ normal - center
        found[(*normal, center, half)] = ((along >= -half) & (along < half)).astype(float)
    return list(found.values())
