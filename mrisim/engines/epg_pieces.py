"""Isochromats of a sampled phantom as boxes: one for each tissue in each voxel, or in each column of voxels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mrisim._types import Bool, Float, Int
from mrisim.data import Phantom
from mrisim.phantom.sampling import Sampling, lattice

_SAME_SITE = 10.0  # width of the bins of off-resonance that make isochromats of a tissue and voxel one piece [Hz]
_SAME_COLUMN = 2.0  # likewise of pieces on top of each other [Hz]
_SAME_DIFFUSION = 0.05  # of the largest coefficient: isochromats of a voxel that differ by less are one piece
_IN_A_PART = 4.0  # isochromats, at least, in each part that a voxel of several tissues is divided into
_SLICE = 2  # logical axis
_SHAPES = 0.02  # of a voxel: pieces on top of each other that differ by less have one shape
_MIXER = np.uint64(0x9E3779B97F4A7C15)
_TISSUE = ("t1", "t2", "t2_prime", "curve")


@dataclass(frozen=True, kw_only=True, eq=False)
class Pieces:
    """Boxes with their mean properties."""

    spins: Phantom  # one row per piece, at its center
    side: Float[np.ndarray, "pieces 3"]  # along the axes [m]
    members: Int[np.ndarray, " spins"]  # piece that each isochromat of the phantom fell into
    initial: Float[np.ndarray, "pieces 3"]


def find_pieces(phantom: Phantom, initial: Float[np.ndarray, "spins 3"], diffuse: bool) -> Pieces:
    """Pieces of a sampled phantom.

    Isochromats of one voxel and tissue are a box at their mean place, with the sides that give their second moments
    along the axes; those of a whole voxel are the voxel exactly. Where the image does not resolve the slice direction,
    boxes reach through their layer, and layers of one shape on top of each other are one box.

    Args:
        phantom: Isochromats with their sampling.
        initial: What each starts from; those that start alike are one piece.
        diffuse: Whether diffusion tells pieces apart.
    """
    pieces, voxel, tissue = _by_voxel(phantom, initial, diffuse)
    return _columns(pieces, voxel, tissue, phantom) if phantom.sampling.stagger else pieces


def _by_voxel(
    phantom: Phantom, initial: Float[np.ndarray, "spins 3"], diffuse: bool
) -> tuple[Pieces, Int[np.ndarray, "pieces 3"], Int[np.ndarray, " pieces"]]:
    """Pieces, the voxel of each, and a number for its tissue."""
    sampling = phantom.sampling
    axes, side = np.asarray(sampling.geometry.rotation), np.asarray(sampling.voxel)
    logical = (np.asarray(phantom.position) - sampling.geometry.center) @ axes
    voxel = np.round(logical / side).astype(int)
    columns = [np.asarray(getattr(phantom, name)) for name in _TISSUE]
    if diffuse:
        diffusion = np.asarray(phantom.diffusion).T
        columns += [*np.round(diffusion / (_SAME_DIFFUSION * np.abs(diffusion).max()))]
    columns += [*initial.T, np.round(np.asarray(phantom.df) / _SAME_SITE)]
    first, members = numbered([*voxel.T, *columns])
    part = _parts(logical / side - voxel, np.bincount(members)[members] == sampling.isochromats, sampling)
    if part.any():
        first, members = numbered([members, *part.T])
    counts = np.bincount(members)

    def total(values: np.ndarray) -> np.ndarray:
        parts = np.asarray(values)
        return np.stack([np.bincount(members, part) for part in parts.reshape(len(parts), -1).T], axis=-1)

    def mean(values: np.ndarray) -> np.ndarray:
        return (total(values) / counts[:, None]).reshape(-1, *np.shape(values)[1:])

    place, box = _moments(logical / side - voxel, mean, counts == sampling.isochromats, sampling.isochromats)
    spins = replace(
        phantom.take(first),
        position=(voxel[first] + place) * side @ axes.T + sampling.geometry.center,
        df=mean(phantom.df), b1=mean(phantom.b1), diffusion=mean(phantom.diffusion),
        weight=total(np.asarray(phantom.weight) * np.asarray(phantom.pd))[:, 0],
        pd=np.ones(len(first)), lorentz=np.zeros(len(first)),
    )  # fmt: skip
    _, tissue = numbered([column[first] for column in columns])
    return Pieces(spins=spins, side=box * side, members=members, initial=initial[first]), voxel[first], tissue


def _parts(
    inside: Float[np.ndarray, "spins 3"], whole: Bool[np.ndarray, " spins"], sampling: Sampling
) -> Int[np.ndarray, "spins 3"]:
    """Part of its voxel that each isochromat of a piece lies in: voxels of several tissues are subdivided, as finely as
    some isochromats in each part allow."""
    axes = 2 if sampling.stagger else 3
    n = int((sampling.isochromats / _IN_A_PART) ** (1 / axes) + 1e-9)
    part = np.zeros(inside.shape, dtype=int)
    if n > 1:
        part[:, :axes] = np.where(whole[:, None], 0, np.clip((inside[:, :axes] + 0.5) * n, 0, n - 1).astype(int) + 1)
    return part


def _moments(
    inside: Float[np.ndarray, "spins 3"], mean: Callable[[np.ndarray], np.ndarray], whole: Bool[np.ndarray, " pieces"],
    n: int,
) -> tuple[Float[np.ndarray, "pieces 3"], Float[np.ndarray, "pieces 3"]]:  # fmt: skip
    """Center and sides of each piece in parts of its voxel, from the first two moments of its isochromats.

    Each stands for a cell whose own second moment is what those of all points leave of a whole voxel's.
    """
    center = mean(inside)
    spread = np.maximum(mean(inside**2) - center**2, 0.0)
    cell = 1 / 12 - lattice(n).var(axis=0)
    sides = np.minimum(np.sqrt(12 * (spread + cell)), 1.0)
    return np.where(whole[:, None], 0.0, center), np.where(whole[:, None], 1.0, sides)


def _columns(pieces: Pieces, voxel: np.ndarray, tissue: np.ndarray, phantom: Phantom) -> Pieces:
    """Pieces that reach through their layer; those of one shape on top of each other are one."""
    sampling, spins = phantom.sampling, pieces.spins
    axes, side = np.asarray(sampling.geometry.rotation), np.asarray(sampling.voxel)
    logical = (np.asarray(spins.position) - sampling.geometry.center) @ axes
    shape = np.concatenate([logical[:, :_SLICE] / side[:_SLICE] - voxel[:, :_SLICE], pieces.side / side], axis=1)
    weight = np.log(np.maximum(np.asarray(spins.weight), 1e-300))
    _, key = numbered([
        *voxel[:, :_SLICE].T, tissue, *np.round(shape[:, : 2 * _SLICE] / _SHAPES).T, np.round(weight / _SHAPES),
        np.round(np.asarray(spins.df) / _SAME_COLUMN), np.round(np.asarray(spins.b1) / 1e-4),
    ])  # fmt: skip
    level = voxel[:, _SLICE]
    order = np.lexsort([level, key])
    new = np.append(True, (np.diff(key[order]) != 0) | (np.diff(level[order]) != 1))
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(order)) - 1
    counts = last - first + 1
    home = np.empty(len(order), dtype=int)
    home[order] = np.cumsum(new) - 1

    def mean(values: np.ndarray) -> np.ndarray:
        sums = np.add.reduceat(np.asarray(values)[order], first, axis=0)
        return sums / counts.reshape(-1, *[1] * (np.ndim(values) - 1))

    place, box = mean(logical), mean(pieces.side)
    place[:, _SLICE] = 0.5 * (level[order[first]] + level[order[last]]) * side[_SLICE]
    box[:, _SLICE] = counts * side[_SLICE]
    merged = replace(
        spins.take(order[first]),
        position=place @ axes.T + sampling.geometry.center,
        df=mean(spins.df), b1=mean(spins.b1), diffusion=mean(spins.diffusion), weight=mean(spins.weight) * counts,
    )  # fmt: skip
    return Pieces(spins=merged, side=box, members=home[pieces.members], initial=pieces.initial[order[first]])


def numbered(columns: list[np.ndarray]) -> tuple[Int[np.ndarray, " rows"], Int[np.ndarray, " n"]]:
    """First of each distinct row of some columns, and the distinct row of each; by a hash of 64 bits."""
    mixed = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        if (column == column[0]).all():
            continue
        bits = (np.asarray(column, dtype=float) + 0.0).view(np.uint64)
        mixed = (mixed ^ bits ^ (bits >> np.uint64(29))) * _MIXER
        mixed ^= mixed >> np.uint64(32)
    _, first, row = np.unique(mixed, return_index=True, return_inverse=True)
    return first, row.reshape(-1)
