"""Isochromats as boxes: place, shape, columns; what they leave of a tissue's transform."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mrisim.data import Phantom
from mrisim.engines.epg_pieces import Pieces, find_pieces, numbered
from mrisim.phantom.sampling import Sampling, lattice, stagger

SIDE = np.array([4e-3, 3e-3, 1e-3])


def phantom(n: int, tissue, *, layers=(0,), columns=((2, -1),), staggered=False, **more) -> Phantom:
    """Isochromats of some voxels; `tissue` tells from places in a voxel, in parts of it, which is which."""
    position, kind = [], []
    for x, y in columns:
        shift = stagger(np.array([[x, y]]))[0] / n if staggered else 0.0
        for z in layers:
            inside = lattice(n) + np.array([0, 0, shift])
            position.append((np.array([x, y, z]) + inside) * SIDE)
            kind.append(tissue(inside))
    kinds = np.concatenate(kind).astype(int)
    t1, t2 = np.array([1.0, 0.5])[kinds], np.array([0.1, 0.05])[kinds]
    made = Phantom.from_arrays(position=np.concatenate(position), t1=t1, t2=t2, weight=1 / n, **more)
    sampling = Sampling(extent=(0.1, 0.1, 0.1), voxel=tuple(SIDE), isochromats=n, stagger=staggered)
    return replace(made, sampling=sampling)


def pieces_of(made: Phantom, diffuse: bool = False) -> Pieces:
    return find_pieces(made, np.tile([0.0, 0.0, 1.0], (made.n_spins, 1)), diffuse)


def one(inside):
    return np.zeros(len(inside))


def transform(pieces: Pieces, k) -> np.ndarray:
    """Of the whole phantom, weighted by tissue."""
    shape = np.sinc(k[:, None] * pieces.side[None]).prod(axis=2)
    phase = np.exp(-2j * np.pi * k @ np.asarray(pieces.spins.position).T)
    return (shape * phase) @ (np.asarray(pieces.spins.weight) * np.asarray(pieces.spins.t1))


@pytest.mark.parametrize("n", [1, 3, 13])
def test_a_voxel_of_one_tissue_is_the_voxel(n):
    pieces = pieces_of(phantom(n, one, staggered=True, layers=(4,)))
    assert pieces.spins.position == pytest.approx(np.array([[2, -1, 4]]) * SIDE, abs=1e-15)
    assert pieces.side == pytest.approx(SIDE[None])
    assert pieces.spins.weight == pytest.approx([1.0])


def test_layers_of_one_shape_are_one_box():
    pieces = pieces_of(phantom(3, one, staggered=True, layers=(-2, -1, 0, 1, 3)))
    order = np.argsort(pieces.side[:, 2])
    assert pieces.side[order, 2] == pytest.approx([1e-3, 4e-3])
    assert pieces.spins.position[order, 2] == pytest.approx([3e-3, -0.5e-3])
    assert pieces.spins.weight[order] == pytest.approx([1.0, 4.0])
    assert np.bincount(pieces.members)[order].tolist() == [3, 12]


@pytest.mark.parametrize("n", [7, 19, 41])
def test_an_oblique_border_within_voxels(n):
    """Against 100,000 isochromats per voxel, at all k that an image holds: better than isochromats of no extent."""

    def beyond(inside):
        return inside @ np.array([0.8, 0.6, 0.3]) > 0.13

    k = np.random.default_rng(0).uniform(-0.5, 0.5, (200, 3)) / SIDE
    fine = phantom(100_003, beyond, columns=((2, -1), (0, 1)))
    exact = np.exp(-2j * np.pi * k @ np.asarray(fine.position).T) @ (np.asarray(fine.weight) * np.asarray(fine.t1))
    some = phantom(n, beyond, columns=((2, -1), (0, 1)))
    points = np.exp(-2j * np.pi * k @ np.asarray(some.position).T) @ (np.asarray(some.weight) * np.asarray(some.t1))
    found, plain = (np.linalg.norm(s - exact) / np.linalg.norm(exact) for s in (transform(pieces_of(some), k), points))
    assert found < plain


def test_off_resonance_and_diffusion_tell_pieces_apart():
    """Water and fat of one tissue; two tensors, of which only diffusion takes notice."""
    apart = phantom(8, one, df=np.repeat([0.0, -440.0], 4))
    assert len(pieces_of(apart).side) == 2
    tensors = np.repeat([[1.7, 0.3, 0.3, 0, 0, 0], [0.3, 1.7, 0.3, 0, 0, 0]], 4, axis=0) * 1e-9
    crossing = phantom(8, one, diffusion=tensors)
    assert len(pieces_of(crossing).side) == 1
    assert np.unique(pieces_of(crossing, diffuse=True).spins.diffusion, axis=0) == pytest.approx(tensors[[4, 0]])


def test_numbers_of_rows():
    first, row = numbered([np.array([1.0, -0.0, 1.0, 0.0]), np.array([2.0, 3.0, 2.0, 3.0])])
    assert sorted(first.tolist()) == [0, 1]
    assert row[0] == row[2] != row[1] == row[3]
