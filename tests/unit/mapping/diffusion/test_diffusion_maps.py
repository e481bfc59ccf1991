"""Maps of diffusion by name: from the b-matrices of the images, in SI, saved and loaded again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mrisim as mr
from mrisim.data import Grid, Image, ParameterMap
from mrisim.errors import ConsistencyError
from mrisim.mapping import fit_maps
from mrisim.phantom import Truth
from mrisim.pipeline.summary import tissue_rows
from mrisim.pipeline.tissues import tissue_table

UM, MS = 1e-9, 1e9
GRID = Grid.of((3, 2, 1), (2e-3, 2e-3, 5e-3))
TENSOR = np.array([[1.2, 0.3, 0.1], [0.3, 0.8, -0.2], [0.1, -0.2, 0.5]]) * UM
TENSORS = np.array([0.2, 0.5, 0.8, 1.0, 1.2, 1.5]).reshape(1, 2, 3, 1, 1) * TENSOR
DIRECTIONS = np.array([[1, 0, 1], [-1, 0, 1], [0, 1, 1], [0, 1, -1], [1, 1, 0], [-1, 1, 0]]) / np.sqrt(2)


def series(b: list[float], directions: np.ndarray, imaging: float = 0.0) -> Image:
    """b = 0, then every b value in every direction, with gradients of the image that add to each."""
    k = np.vstack([np.zeros((1, 3)), *[np.sqrt(value * MS) * directions for value in b]])
    k = k + imaging * np.array([0.05, 0.02, 0.03]) * np.sqrt(MS)
    matrices = k[:, :, None] * k[:, None, :]
    data = 0.6 * np.exp(-np.einsum("nij,zyxij->nzyx", matrices, TENSORS)) * np.exp(0.4j)
    coordinates = {"te": np.full(len(k), 0.06), "tr": np.full(len(k), 5.0), "b_matrix": matrices}
    return Image(data=data, grid=GRID, coordinates=coordinates)


def test_tensor_maps_are_those_of_the_tensors() -> None:
    names = ("FA", "MD", "AD", "RD", "Trace", "V1", "S0")
    maps = fit_maps(series([1.0], DIRECTIONS, imaging=1.0), {name: {"fit": "tensor"} for name in names})
    values, axes = np.linalg.eigh(TENSOR)
    scale = TENSORS[..., 0, 0] / TENSOR[0, 0]
    expected = {"MD": values.mean(), "AD": values[2], "RD": values[:2].mean(), "Trace": values.sum()}
    for name, value in expected.items():
        np.testing.assert_allclose(maps[name].data, value * scale, rtol=1e-9)
        assert maps[name].unit == "m^2/s"
    np.testing.assert_allclose(maps["FA"].data, np.sqrt(1.5 * values.var() * 3 / (values**2).sum()), rtol=1e-9)
    assert maps["V1"].data.shape == (1, 2, 3, 3)
    np.testing.assert_allclose(np.abs(maps["V1"].data @ axes[:, 2]), 1.0, rtol=1e-9)
    np.testing.assert_allclose(maps["S0"].data, 0.6, rtol=1e-9)
    assert maps["FA"].standard_error is not None
    assert maps["V1"].mask is not None


def test_adc_of_three_orthogonal_directions_is_a_third_of_the_trace() -> None:
    image = series([0.5, 1.0], np.eye(3))
    for method in ("nonlinear", "weighted"):
        maps = fit_maps(image, {name: {"fit": "adc", "method": method} for name in ("ADC", "Trace")})
        mean = np.trace(TENSORS, axis1=3, axis2=4) / 3
        np.testing.assert_allclose(maps["ADC"].data, mean, rtol=1e-9)
        np.testing.assert_allclose(maps["Trace"].data, 3 * maps["ADC"].data, rtol=1e-12)


def test_the_image_at_a_high_b_is_computed_from_the_others() -> None:
    """That of a mean of three orthogonal directions: exp(-b ADC); against the series' own formula at that b."""
    image = series([0.1, 0.8], np.eye(3))
    computed = fit_maps(image, {"HighB": {"fit": "adc", "b": "1400 s/mm^2"}})["HighB"].data
    played = np.abs(series([1.4], np.eye(3)).data[1:])
    np.testing.assert_allclose(computed, np.exp(np.log(played).mean(axis=0)), rtol=1e-9)


def test_kurtosis_and_ivim_come_from_the_same_images() -> None:
    image = series([0.05, 0.1, 0.5, 1.0, 2.0], np.eye(3))
    maps = fit_maps(
        image,
        {
            "MD": {"fit": "kurtosis", "model": "apparent"},
            "MK": {"fit": "kurtosis", "model": "apparent"},
            "D": {"fit": "ivim", "method": "segmented"},
            "f": {"fit": "ivim", "method": "segmented"},
        },
    )
    mean = np.trace(TENSORS, axis1=3, axis2=4) / 3
    np.testing.assert_allclose(maps["MD"].data, mean, rtol=1e-9)
    np.testing.assert_allclose(maps["D"].data, mean, rtol=1e-9)
    np.testing.assert_allclose(maps["MK"].data, 0.0, atol=1e-9)  # one compartment
    np.testing.assert_allclose(maps["f"].data, 0.0, atol=1e-9)


@pytest.mark.parametrize(
    ("maps", "b", "directions", "message"),
    [
        ({"FA": {"fit": "tensor"}}, [1.0], DIRECTIONS[:4], "maps.FA.fit: must determine 7 unknowns"),
        ({"MK": {"fit": "kurtosis"}}, [1.0], DIRECTIONS, "maps.MK.fit: must determine 22 unknowns"),
        (
            {"Dstar": {"fit": "ivim"}},
            [0.5, 1.0],
            np.eye(3),
            "must have images at 4 different b values or more, but has 3",
        ),
        (
            {"Trace": {"fit": "adc"}},
            [1.0],
            DIRECTIONS[:1],
            "must have directions at each b value whose mean is the same",
        ),
        ({"HighB": {"fit": "adc"}}, [1.0], np.eye(3), "maps.HighB.b: must be given for an image computed at a b value"),
        ({"ADC": {"fit": "adc", "method": "log"}}, [1.0], DIRECTIONS, "must be nonlinear or weighted, but is 'log'"),
    ],
)
def test_series_that_do_not_determine_a_map_are_refused(maps, b, directions, message) -> None:
    with pytest.raises(ConsistencyError) as caught:
        fit_maps(series(b, directions), maps)
    assert message in str(caught.value)


def test_images_without_a_weighting_are_refused() -> None:
    image = Image(data=np.ones((2, 1, 2, 3)), grid=GRID, coordinates={"te": np.full(2, 0.05)})
    with pytest.raises(
        ConsistencyError, match="must have images with a b_matrix each, but b_matrix is unknown for some"
    ):
        fit_maps(image, {"ADC": {"fit": "adc"}})


@pytest.mark.parametrize("name", ["v1.h5", "v1.nii.gz"])
def test_directions_are_saved_and_loaded(tmp_path: Path, name: str) -> None:
    estimate = fit_maps(series([1.0], DIRECTIONS), {"V1": {"fit": "tensor"}})["V1"]
    mr.save(tmp_path / name, estimate)
    again = mr.load(tmp_path / name)
    assert isinstance(again, ParameterMap)
    assert (again.name, again.unit) == ("V1", "1")
    np.testing.assert_allclose(again.data, estimate.data, atol=1e-6)  # float32 in NIfTI


def test_table_against_the_truth_has_the_units_of_diffusion() -> None:
    grid = Grid.of((20, 20, 1), (2e-3, 2e-3, 5e-3))
    fractions = np.stack([np.zeros((1, 20, 20)), np.ones((1, 20, 20))])
    values = {"ADC": np.full((1, 20, 20), 1.1 * UM), "Dstar": np.full((1, 20, 20), np.nan), "FA": np.zeros((1, 20, 20))}
    truth = Truth(
        fractions=fractions,
        names=("air", "pvp_10"),
        maps={**values, "V1": np.zeros((1, 20, 20, 3))},
        purity=np.ones((1, 20, 20)),
        label=np.ones((1, 20, 20), dtype=int),
        grid=grid,
    )
    found = {
        name: ParameterMap(name=name, unit=unit, data=np.full((1, 20, 20, *more), value), grid=grid)
        for name, unit, value, more in (
            ("ADC", "m^2/s", 1.111 * UM, ()),
            ("Dstar", "m^2/s", 5e-8, ()),
            ("FA", "1", 0.01, ()),
            ("V1", "1", 0.0, (3,)),
        )
    }
    rows = tissue_table(found, truth)
    assert [row.quantity for row in rows] == ["ADC"]  # the others have no truth, a truth of zero, or no single number
    cells = tissue_rows(rows).rows[0]
    assert cells[:4] == ("ADC", "pvp 10", "196", "1.1 um^2/ms")  # 14 x 14: three voxels less on each side
    assert cells[4].startswith("1.111 ± ")
    assert cells[4].endswith(" um^2/ms")
    assert cells[5] == "+1.0 %"
