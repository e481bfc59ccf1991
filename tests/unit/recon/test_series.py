"""Stacking the scans of a series."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mrisim.data import Geometry, Grid, Image
from mrisim.errors import ConsistencyError, Finding
from mrisim.recon import stack


def scan(te, **changes):
    grid = Grid.of((2, 3, 1), (1e-3, 1e-3, 5e-3), Geometry(center=np.array([0.01, 0.0, 0.0])))
    image = Image(data=np.full((1, 1, 3, 2), te + 0j), grid=grid, coordinates={"te": np.array([te])}, name=f"{te}")
    return replace(image, **changes)


def test_contrasts_follow_the_order_given():
    image = stack([scan(0.05), scan(0.01), scan(0.1)], name="series")
    assert image.name == "series"
    assert image.data[:, 0, 0, 0].real.tolist() == [0.05, 0.01, 0.1]
    assert image.coordinates["te"].tolist() == [0.05, 0.01, 0.1]


def test_findings_are_kept_once():
    a, b = Finding("one", "text"), Finding("two", "text")
    assert stack([scan(0.1, findings=(a, b)), scan(0.2, findings=(a,))]).findings == (a, b)


MAGNITUDE = {"recon": {"magnitude": True}}
OTHER_GRID = "must lie on the grid of the first image, but lies on another"
DIFFERENT = {
    "shape": (scan(0.1, grid=Grid.of((3, 3, 1), (1e-3,) * 3)), OTHER_GRID),
    "center": (scan(0.1, grid=Grid.of((2, 3, 1), (1e-3, 1e-3, 5e-3))), OTHER_GRID),
    "coordinates": (scan(0.1, coordinates={}), "must have the coordinates of the first image, but has others"),
    "magnitude": (scan(0.1, provenance=MAGNITUDE), "must be complex or a magnitude as the first image, but is not"),
}  # fmt: skip


@pytest.mark.parametrize("case", DIFFERENT)
def test_images_that_differ_are_refused(case):
    image, rule = DIFFERENT[case]
    with pytest.raises(ConsistencyError) as caught:
        stack([scan(0.05), scan(0.06), image])
    assert str(caught.value) == f"images[2]: {rule}."


def test_nothing_is_refused():
    with pytest.raises(ConsistencyError, match=r"^images: must hold at least one image, but is empty\.$"):
        stack([])
