from __future__ import annotations

import itertools
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from mrisim.data import Geometry, Phantom
from mrisim.errors import ConsistencyError, ResourceError
from mrisim.phantom.sampling import Sampling, generators, lattice, line_places, stagger

EPS = np.finfo(float).eps
COUNTS = [1, 2, 3, 5, 7, 8, 12, 16, 27, 64, 101]


@pytest.mark.parametrize("n", COUNTS)
def test_each_projection_of_the_lattice_is_equidistant(n: int) -> None:
    expected = (np.arange(n) + 0.5) / n - 0.5
    for axis in range(3):
        np.testing.assert_allclose(np.sort(lattice(n)[:, axis]), expected, atol=4 * EPS)


@pytest.mark.parametrize("n", COUNTS)
def test_generators_have_no_factor_in_common_with_the_count(n: int) -> None:
    assert all(math.gcd(g, n) == 1 for g in generators(n))


@pytest.mark.parametrize("n", [5, 7, 16, 27])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_whole_cycles_per_voxel_cancel_exactly(n: int, axis: int) -> None:
    for cycles in range(1, 2 * n + 1):
        total = np.exp(2j * np.pi * cycles * lattice(n)[:, axis]).sum()
        expected = n * (-1.0) ** (cycles // n * (n + 1)) if cycles % n == 0 else 0.0
        assert abs(abs(total) - abs(expected)) < 10 * EPS * n * cycles  # rounding of n phases


def _shortest(n: int) -> float:
    cycles = np.array([h for h in itertools.product(range(-6, 7), repeat=3) if any(h)])
    aliased = cycles[(cycles @ np.array(generators(n))) % n == 0]
    return float(np.linalg.norm(aliased, axis=1).min(initial=math.inf))


@pytest.mark.parametrize(("n", "norm"), [(7, 3**0.5), (16, 6**0.5), (27, 9**0.5), (64, 12**0.5)])
def test_generators_null_every_gradient_up_to_a_length(n: int, norm: float) -> None:
    assert _shortest(n) >= norm - 1e-12


def _voxels() -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(-30, 31), np.arange(-25, 26), indexing="ij"), axis=-1).reshape(-1, 2)


@pytest.mark.parametrize("n", [5, 7, 16])
def test_places_in_the_line_are_equidistant_in_each_voxel(n: int) -> None:
    places = np.sort(line_places(_voxels(), n), axis=1)
    np.testing.assert_allclose(np.diff(places, axis=1), 1.0 / n, atol=1.1e-6)  # the ends are kept off ±1/2 by 1e-6
    assert np.abs(places).max() < 0.5


@pytest.mark.parametrize("n", [5, 7, 16])
def test_place_in_the_line_is_not_tied_to_position(n: int) -> None:
    places = line_places(_voxels(), n)
    bound = 4.0 / len(places) ** 0.5  # four standard errors of voxels that are dealt independently
    for axis in range(3):
        offset = np.broadcast_to(lattice(n)[:, axis], places.shape)
        assert abs(np.corrcoef(offset.ravel(), places.ravel())[0, 1]) < bound
        for sign in (-1, 1):
            assert abs(np.exp(2j * np.pi * (places + sign * offset)).mean()) < bound


@pytest.mark.parametrize("n", [7, 16])
def test_the_order_of_places_changes_from_voxel_to_voxel(n: int) -> None:
    places = line_places(_voxels(), n)
    orders = sum(math.gcd(a, n) == 1 for a in range(1, n))
    bound = 1.0 / orders + 4.0 * (1.0 / orders / len(places)) ** 0.5  # one order ties place to position; four errors
    for axis in range(3):
        tied = np.abs(np.exp(2j * np.pi * (places - lattice(n)[:, axis])).mean(axis=1))
        assert tied.mean() < bound


def test_voxel_centers_are_multiples_of_the_voxel() -> None:
    sampling = Sampling(extent=(0.01, 0.02, 0.003), voxel=(0.002, 0.002, 0.003), isochromats=1)
    points = np.concatenate([chunk for chunk, _ in sampling.chunks()])
    index = points / np.array(sampling.voxel)
    np.testing.assert_allclose(index, np.round(index), atol=10 * EPS)
    assert len(np.unique(points, axis=0)) == len(points)


@pytest.mark.parametrize("side", [1.0, 2.0, 3.0, 3.7])
def test_points_fill_the_extent_and_stay_inside(side: float) -> None:
    extent = np.array([0.011, 0.020, 0.015])
    n = 27
    sampling = Sampling(extent=tuple(extent), voxel=(side * 1e-3,) * 3, isochromats=n)
    points = np.concatenate([chunk for chunk, _ in sampling.chunks()])
    assert (np.abs(points) <= 0.5 * extent * (1 + 1e-9)).all()
    volume = len(points) * sampling.voxel_volume / n
    layer = side * 1e-3 / n ** (1 / 3)
    assert abs(volume / np.prod(extent) - 1.0) < 2 * (layer / extent).sum()  # a layer of the lattice at each face


def test_chunks_within_a_box_are_the_points_near_it() -> None:
    sampling = Sampling(extent=(0.02, 0.02, 0.02), voxel=(0.001,) * 3, isochromats=5)
    low, high = np.array([-0.003, 0.001, -0.009]), np.array([0.004, 0.006, -0.002])
    every = np.concatenate([chunk for chunk, _ in sampling.chunks()])
    some = np.concatenate([chunk for chunk, _ in sampling.chunks((low, high))])
    inside = lambda points: points[((points >= low) & (points <= high)).all(axis=1)]  # noqa: E731
    np.testing.assert_array_equal(inside(some), inside(every))
    assert len(some) < 0.25 * len(every)


def test_places_in_the_line_fill_it_evenly() -> None:
    sampling = Sampling(extent=(0.02, 0.02, 0.001), voxel=(0.001,) * 3, isochromats=5)
    places = np.sort(np.concatenate([lorentz for _, lorentz in sampling.chunks()]))
    assert places[0] > -0.5
    assert places[-1] < 0.5
    uniform = (np.arange(len(places)) + 0.5) / len(places) - 0.5
    assert np.abs(places - uniform).max() < 0.5 / 5 / 5  # far closer than one voxel's spacing


def test_voxels_above_each_other_share_positions_and_lines() -> None:
    sampling = Sampling(extent=(0.003, 0.003, 0.009), voxel=(0.003, 0.003, 0.003), isochromats=7)
    chunks = list(sampling.chunks())
    assert len(chunks) == 3
    np.testing.assert_allclose(chunks[0][0][:, :2], chunks[2][0][:, :2], atol=EPS)
    np.testing.assert_array_equal(chunks[0][1], chunks[2][1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"voxel": (0.001, 0.0, 0.001)}, "voxel: must be three finite lengths above 0 m, but is (0.001, 0.0, 0.001)."),
        ({"extent": (0.1, math.nan, 0.1)}, "extent: must be three finite lengths above 0 m, but is (0.1, nan, 0.1)."),
        ({"isochromats": 0}, "isochromats: must be a whole number above 0, but is 0."),
        ({"isochromats": 2.5}, "isochromats: must be a whole number above 0, but is 2.5."),
    ],
)
def test_impossible_grids_are_refused(changes: dict, message: str) -> None:
    values = {"geometry": Geometry(), "extent": (0.1, 0.1, 0.01), "voxel": (0.001,) * 3, "isochromats": 3} | changes
    with pytest.raises(ConsistencyError) as error:
        Sampling(**values)
    assert str(error.value) == message


def test_endless_grids_are_refused() -> None:
    with pytest.raises(ResourceError, match="must be at most 2e\\+10 points to look at"):
        Sampling(extent=(1.0, 1.0, 1.0), voxel=(1e-5,) * 3, isochromats=1)


def test_staggered_columns_keep_the_distance_of_their_isochromats():
    """Each column of voxels is shifted as a whole, by another amount than its neighbors, and by nothing on average."""
    plain = Sampling(extent=(0.02, 0.02, 0.01), voxel=(1e-3, 1e-3, 1e-3), isochromats=5)
    after = np.concatenate([points for points, _ in replace(plain, stagger=True).chunks()])
    column = np.round(after[:, :2] / 1e-3).astype(int)
    shifts = []
    for place in ([0, 0], [1, 0], [0, 1], [5, -3]):
        z = np.sort(after[(column == place).all(axis=1), 2])
        assert np.diff(z) == pytest.approx(0.2e-3)  # a fifth of a voxel
        shifts.append(z[0] % 0.2e-3)
    assert len(set(np.round(shifts, 9))) > 2
    every = stagger(np.stack(np.meshgrid(np.arange(100), np.arange(100)), axis=-1).reshape(-1, 2))
    assert np.abs(every).max() < 0.5
    assert abs(every.mean()) < 4 * every.std() / 100  # of ten thousand


def test_diffusion_is_a_coefficient_or_a_tensor_per_isochromat() -> None:
    tensor = np.array([[2.0, 0.3, 0.1], [0.3, 1.0, 0.2], [0.1, 0.2, 0.5]]) * 1e-9
    made = {"position": np.zeros((2, 3)), "t1": 1.0, "t2": 0.1}
    water = Phantom.from_arrays(**made, diffusion=[1e-9, 2e-9])
    fibre = Phantom.from_arrays(**made, diffusion=np.stack([tensor, tensor]))
    assert water.diffusion.shape == (2, 1)
    np.testing.assert_array_equal(water.diffusion_tensors()[1], [2e-9, 2e-9, 2e-9, 0, 0, 0])
    np.testing.assert_array_equal(
        fibre.take([1]).diffusion_tensors(), np.array([[2.0, 1.0, 0.5, 0.3, 0.1, 0.2]]) * 1e-9
    )
    for wrong, text in ((-1e-9, "must be nowhere negative, but is -1 um^2/ms"), (np.zeros(3), "has (3,)")):
        with pytest.raises(ConsistencyError, match=re.escape(text)):
            Phantom.from_arrays(**made, diffusion=wrong)
