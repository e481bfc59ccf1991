"""Concordance and largest error of maps against the truth, as a user sees them."""

from __future__ import annotations

import numpy as np
import pytest

from mrisim.data import Grid, ParameterMap
from mrisim.phantom import Truth
from mrisim.pipeline.records import Agreement
from mrisim.pipeline.summary import agreement_rows
from mrisim.pipeline.tissues import agreements, concordance, tissue_table

GRID = Grid.of((1, 24, 24), (1e-3, 1e-3, 1e-3))


def test_concordance_is_lins():
    """Against its definition, 2 s_xy / (s_x² + s_y² + (mean x - mean y)²)."""
    x, y = np.random.default_rng(1).normal(size=(2, 500)) + 1.0
    y = 0.8 * x + 0.3 * y
    expected = 2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    assert concordance(x, y) == pytest.approx(expected, rel=1e-12)
    assert concordance(x, x) == pytest.approx(1.0, rel=1e-12)
    assert np.isnan(concordance(np.ones(3), np.arange(3.0)))


def object_of(size):
    """Two tissues: the left half, and a square of some voxels on the right."""
    label = np.zeros((1, 24, 24), dtype=int)
    label[0, :, :12] = 1
    label[0, 8 : 8 + size, 15 : 15 + size] = 2
    fractions = np.stack([label == i for i in range(3)]).astype(float)
    maps = {"ve": np.array([np.nan, 0.2, 0.4])[label]}
    truth = Truth(
        fractions=fractions, names=("air", "left", "lesion"), maps=maps, purity=np.ones(label.shape), label=label,
        grid=GRID,
    )  # fmt: skip
    found = np.array([0.0, 0.2, 0.38])[label]
    return {"ve": ParameterMap(name="ve", unit="1", data=found, grid=GRID)}, truth


@pytest.mark.parametrize(("size", "names"), [(5, ["left", "lesion"]), (4, ["left"])])
def test_lesions_of_six_voxels_have_a_row(size, names):
    """One voxel from the edge, a square of five has nine and one of four has four."""
    assert [row.tissue for row in tissue_table(*object_of(size))] == names


def test_the_worst_tissue_and_the_time_step_are_named():
    maps, truth = object_of(6)
    (row,) = agreements(maps, truth, {"ve": 5.0})
    assert (row.quantity, row.tissue, row.interval) == ("ve", "lesion", 5.0)
    assert row.largest == pytest.approx(-0.05)
    n, small = 18 * 6, 4 * 4  # three voxels from the edge, one voxel from the edge
    assert row.voxels == n + small
    true, found = np.repeat([0.2, 0.4], [n, small]), np.repeat([0.2, 0.38], [n, small])
    assert row.concordance == pytest.approx(concordance(true, found), rel=1e-12)


def test_one_value_has_no_concordance():
    (cells,) = agreement_rows([Agreement("T1", 40, np.nan, 0.0312, "gel", np.nan)]).rows
    assert cells == ("T1", "40", "one value", "+3.1 %", "gel", "")
