"""Isochromats of a sampled phantom as boxes: one for each tissue in each voxel, or in each column of voxels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mrisim._types import Float, Int
from mrisim.data import Phantom
from mrisim.phantom.sampling import lattice

_SAME_SITE = 10.0  # isochromats of one tissue and voxel whose off-resonance lies nearer than this are one piece [Hz]
_SAME_COLUMN = 2.0  # likewise of pieces on top of each other [Hz]
_SAME_DIFFUSION = 0.05  # of the largest coefficient: isochromats of a voxel that differ by less are one piece
_SLICE = 2  # logical axis
_SHAPES = 0.02  # of a voxel: pieces on top of each other that differ by less have one shape
_MIXER = np.uint64(0x9E3779B97F4A7C15)
_TISSUE = ("t1", "t2", "t2_prime")


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
    tissue, df = numbered([*columns, *initial.T]), np.asarray(phantom.df)
    home = numbered([*voxel.T, tissue])
    order = np.lexsort([df, home])
    new = np.append(True, (np.diff(home[order]) != 0) | (np.diff(df[order]) > _SAME_SITE))
    first = np.flatnonzero(new)
    counts = np.diff(np.append(first, len(order)))
    members = np.empty(len(order), dtype=int)
    members[order] = np.cumsum(new) - 1

    def total(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(np.asarray(values)[order], first, axis=0)

    place, box = _moments(logical, voxel, total, counts, sampling.isochromats, side)
    spins = replace(
        phantom.take(order[first]),
        position=place @ axes.T + sampling.geometry.center,
        df=total(df) / counts, b1=total(phantom.b1) / counts,
        diffusion=total(phantom.diffusion) / counts[:, None],
        weight=total(np.asarray(phantom.weight) * np.asarray(phantom.pd)),
        pd=np.ones(len(first)), lorentz=np.zeros(len(first)),
    )  # fmt: skip
    pieces = Pieces(spins=spins, side=box, members=members, initial=initial[order[first]])
    return pieces, voxel[order[first]], tissue[order[first]]


def _moments(
    logical: np.ndarray, voxel: np.ndarray, total, counts: Int[np.ndarray, " pieces"], n: int, side: np.ndarray
) -> tuple[Float[np.ndarray, "pieces 3"], Float[np.ndarray, "pieces 3"]]:
    """Center and sides of each piece along the logical axes, from the first two moments of its isochromats.

    Each stands for a cell whose own second moment is what those of all points leave of a whole voxel's.
    """
    home = total(voxel) / counts[:, None]
    inside = logical / side - voxel
    mean = total(inside) / counts[:, None]
    spread = np.maximum(total(inside**2) / counts[:, None] - mean**2, 0.0)
    cell = 1 / 12 - lattice(n).var(axis=0)
    whole = (counts == n)[:, None]
    mean = np.where(whole, 0.0, mean)
    extent = np.where(whole, 1.0, np.sqrt(12 * (spread + cell)))
    return (home + mean) * side, np.minimum(extent, 1.0) * side


def _columns(pieces: Pieces, voxel: np.ndarray, tissue: np.ndarray, phantom: Phantom) -> Pieces:
    """Pieces that reach through their layer; those of one shape on top of each other are one."""
    sampling, spins = phantom.sampling, pieces.spins
    axes, side = np.asarray(sampling.geometry.rotation), np.asarray(sampling.voxel)
    logical = (np.asarray(spins.position) - sampling.geometry.center) @ axes
    shape = np.concatenate([logical[:, :_SLICE] / side[:_SLICE] - voxel[:, :_SLICE], pieces.side / side], axis=1)
    weight = np.log(np.maximum(np.asarray(spins.weight), 1e-300))
    key = numbered([
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


def numbered(columns: list[np.ndarray]) -> Int[np.ndarray, " n"]:
    """A number for each distinct row of some columns, the same for equal rows; by a hash of 64 bits."""
    mixed = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        bits = (np.asarray(column, dtype=float) + 0.0).view(np.uint64)
        mixed = (mixed ^ bits ^ (bits >> np.uint64(29))) * _MIXER
        mixed ^= mixed >> np.uint64(32)
    return np.unique(mixed, return_inverse=True)[1].reshape(-1)
