"""Maps on one grid where another asks for them."""

from __future__ import annotations

import numpy as np
import pytest

from mrisim.data import Geometry, Grid, Image, ParameterMap
from mrisim.errors import ConsistencyError
from mrisim.mapping import fit_maps
from mrisim.mapping.placing import interpolated


def plane(position):
    """A map that linear interpolation cannot miss."""
    return 2.0 + 3.0 * position[..., 0] - 5.0 * position[..., 1] + 7.0 * position[..., 2]


def oblique():
    angle = np.radians(20.0)
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])
    return Geometry(rotation=rotation, center=np.array([0.01, -0.02, 0.005]))


def test_a_linear_map_is_met_on_any_grid():
    grid = Grid.of((24, 20, 5), (2e-3, 3e-3, 4e-3), oblique())
    values = ParameterMap(name="T1", unit="s", data=plane(grid.positions()), grid=grid)
    inner = Grid.of((9, 7, 3), (2.7e-3, 2.1e-3, 3e-3), Geometry(center=oblique().center))
    position = inner.positions().reshape(-1, 3)
    np.testing.assert_allclose(interpolated(values, position), plane(position), rtol=1e-12)


def test_a_single_slice_holds_through_its_thickness_and_no_further():
    grid = Grid.of((8, 8, 1), (2e-3, 2e-3, 5e-3), thickness=5e-3)
    values = ParameterMap(name="T1", unit="s", data=np.full((1, 8, 8), 1.5), grid=grid)
    found = interpolated(values, np.array([[0.0, 0.0, 2.4e-3], [0.0, 0.0, 2.6e-3], [0.02, 0.0, 0.0]]))
    assert found[0] == 1.5
    assert np.isnan(found[1:]).all()


def test_voxels_without_a_value_have_no_share():
    grid = Grid.of((2, 1, 1), (1.0, 1.0, 1.0))
    values = ParameterMap(name="T1", unit="s", data=np.array([[[np.nan, 4.0]]]), grid=grid)
    found = interpolated(values, np.array([[-0.3, 0.0, 0.0], [-0.7, 0.0, 0.0]]))
    assert found[0] == 4.0
    assert np.isnan(found[1])


def test_maps_that_a_fit_needs_may_lie_on_another_grid_but_must_meet_it():
    te, t1 = np.array([0.01, 0.05, 0.1]), 1.2
    fine, coarse = Grid.of((8, 8, 1), (1e-3, 1e-3, 5e-3)), Grid.of((4, 4, 1), (2e-3, 2e-3, 5e-3))
    ti = np.array([0.05, 0.2, 0.6, 1.5, 4.0])
    recovery = Image(
        data=np.broadcast_to((1 - 2 * np.exp(-ti / t1)).reshape(-1, 1, 1, 1), (5, 1, 4, 4)).astype(complex),
        grid=coarse, coordinates={"ti": ti},
    )  # fmt: skip
    factor = 1 - 2 * np.exp(-(3.0 - te / 2) / t1) + np.exp(-3.0 / t1)
    echoes = Image(
        data=np.broadcast_to((factor * np.exp(-te / 0.08)).reshape(-1, 1, 1, 1), (3, 1, 8, 8)).astype(complex),
        grid=fine, coordinates={"te": te, "tr": np.full(3, 3.0)},
    )  # fmt: skip
    maps = {
        "T1": {"fit": "inversion_recovery", "from": "ir"},
        "T2": {"fit": "monoexponential", "from": "se", "t1": "T1"},
    }
    found = fit_maps({"ir": recovery, "se": echoes}, maps)
    np.testing.assert_allclose(found["T2"].data[found["T2"].mask], 0.08, rtol=1e-6)
    assert found["T2"].mask.all()
    away = Grid.of((8, 8, 1), (1e-3, 1e-3, 5e-3), Geometry(center=np.array([0.5, 0.0, 0.0])))
    moved = Image(data=echoes.data, grid=away, coordinates=echoes.coordinates)
    with pytest.raises(ConsistencyError) as caught:
        fit_maps({"ir": recovery, "se": moved}, maps)
    assert str(caught.value) == "maps.T2.t1: must cover the images, but has no value in any of their voxels."
