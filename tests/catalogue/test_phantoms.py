"""Every phantom of the library loads, is documented, and is what it says."""

from __future__ import annotations

import jsonschema
import numpy as np
import pytest

from mrisim.data import Grid, check_properties
from mrisim.errors import SpecError
from mrisim.phantom import json_schema, list_phantoms, load_model, load_phantom
from mrisim.source import read_source

NAMES = [info.name for info in list_phantoms()]
CLOSED_FORM = {"ellipse_box", "vials"}
COLUMNS = ("weight", "pd", "t1", "t2", "df", "b1", "t2_prime", "lorentz")
MOST_ISOCHROMATS = 1_500_000


CROPPED = {"prostate", "breast"}  # a part of the body: what lies farther out is left out


@pytest.mark.parametrize("name", NAMES)
def test_file_matches_the_schema_and_names_its_sources(name: str) -> None:
    info = next(info for info in list_phantoms() if info.name == name)
    data = read_source(info.path).data
    jsonschema.Draft202012Validator(json_schema()).validate(data)
    assert data.get("sources") or "extends" in data
    assert all(parameter.get("doc") for parameter in data.get("parameters", {}).values())
    assert load_model(name).sources


@pytest.mark.parametrize("name", NAMES)
def test_phantom_is_sampled_with_possible_properties(name: str) -> None:
    phantom = load_phantom(name)
    assert 0 < phantom.n_spins < MOST_ISOCHROMATS
    assert check_properties({column: np.asarray(getattr(phantom, column)) for column in COLUMNS}) == []
    extent = 0.5 * np.array(phantom.sampling.extent) * (1 + 1e-9)
    assert (np.abs(np.asarray(phantom.position)) <= extent).all()
    assert phantom.field == phantom.model.field == 3.0


@pytest.mark.parametrize("name", sorted(set(NAMES) - CROPPED))
def test_phantom_fits_into_its_size(name: str) -> None:
    model = load_model(name)
    half = 0.5 * np.array(model.size)
    for painted in model.shapes:
        low, high = painted.shape.bounds
        assert (low[:2] >= -half[:2]).all(), painted
        assert (high[:2] <= half[:2]).all(), painted


@pytest.mark.parametrize("field", [1.5, 3.0, 7.0])
@pytest.mark.parametrize("name", NAMES)
def test_phantom_is_known_at_each_field_or_says_at_which(name: str, field: float) -> None:
    try:
        assert load_model(name, field).field == field
    except SpecError as error:
        assert field == 7.0
        assert name in {"vials", "head_with_vials", "liver_ivim", "prostate", "breast"}
        assert "is known at 1.5 T and 3 T only" in str(error)  # noqa: PT017


@pytest.mark.parametrize("name", sorted(CLOSED_FORM))
def test_closed_form_holds_the_volume_of_the_truth(name: str) -> None:
    model = load_model(name)
    exact = model.form_factors(np.zeros((1, 3)))
    n, fov = 100, 0.2
    thickness = model.size[2] or 0.01
    truth = model.truth(Grid.of((n, n, 1), (fov / n, fov / n, thickness), thickness=thickness))
    height = 1.0 if model.flat else thickness
    for i, tissue in enumerate(truth.names):
        if i:
            volume = truth.fractions[i].sum() * (fov / n) ** 2 * height
            size = np.sqrt(exact[tissue][0].real / height)
            # the truth is sampled every quarter voxel
            assert volume == pytest.approx(exact[tissue][0].real, rel=2.0 * (fov / n / 4) / size)


def test_brain_has_the_proportions_of_a_brain() -> None:
    truth = load_model("brain").truth(Grid.of((160, 200, 1), (0.001, 0.001, 0.004)), supersampling=2)
    area = dict(zip(truth.names, truth.fractions.sum(axis=(1, 2, 3)) * 1e-6, strict=True))
    inside = sum(area[name] for name in area if name not in ("air", "fat_one_peak", "bone", "bone_marrow"))
    assert 0.012 < inside < 0.019  # m², an axial section of the cranial cavity
    assert 0.35 < area["white_matter"] / inside < 0.65
    assert 0.15 < area["gray_matter"] / inside < 0.40
    assert 0.05 < area["csf"] / inside < 0.25
    for name in ("caudate", "putamen", "globus_pallidus", "thalamus"):
        assert 0.005 < area[name] / inside < 0.08


def test_cortex_is_a_ribbon_of_even_thickness() -> None:
    truth = load_model("brain").truth(Grid.of((312, 392, 1), (0.0005, 0.0005, 0.0005)), supersampling=1)
    gray = truth.fractions[truth.names.index("gray_matter")][0] > 0.5
    steps = 0
    area = gray.sum()
    while gray.any():  # peel it: a ribbon of 3 to 5 mm is gone after a few layers, a lump is not
        gray = gray[1:-1, 1:-1] & gray[:-2, 1:-1] & gray[2:, 1:-1] & gray[1:-1, :-2] & gray[1:-1, 2:]
        steps += 1
        if steps == 4:
            assert gray.sum() < 0.25 * area
    assert steps < 16


def test_every_brain_tissue_but_the_cortex_has_a_core_for_maps() -> None:
    n, fov = 128, 0.22
    truth = load_model("brain").truth(Grid.of((n, n, 1), (fov / n, fov / n, 0.005)))
    core = truth.mask("white_matter")[0]
    for _ in range(3):
        core = core[1:-1, 1:-1] & core[:-2, 1:-1] & core[2:, 1:-1] & core[1:-1, :-2] & core[1:-1, 2:]
    assert core.sum() >= 30


def test_vials_lie_around_the_head_inside_240_mm() -> None:
    model = load_model("head_with_vials")
    vials = [p.shape for p in model.shapes if model.tissues[p.tissue].name.startswith("nist")]
    assert len(vials) == 8
    brain = load_model("brain")
    for shape in vials:
        ring = shape.boundary()
        assert np.abs(ring[:, :2]).max() < 0.12
        assert not brain.tissue_at(ring).any()
    times = [(t.t1, t.t2) for t in model.tissues if t.name.startswith("nist")]
    assert all(0.25 < t1 < 2.0 and t2 > 0.04 for t1, t2 in times)


def test_vials_hold_both_arrays() -> None:
    names = {tissue.name for tissue in load_model("vials").tissues}
    assert {f"nist_{array}_{i}" for array in ("t1", "t2") for i in range(1, 15)} <= names


def test_shepp_logan_is_nested_and_its_closed_form_is_the_limit_of_its_isochromats() -> None:
    model = load_model("shepp_logan_mr", thickness="180 mm")
    k = np.array([[0.0, 0.0, 0.0], [11.0, -7.0, 3.0], [-23.0, 17.0, 9.0]])
    exact = sum(model.form_factors(k).values())
    side = 4e-3
    spins = model.sample(model.sampling(voxel=side, isochromats=7))
    waves = np.exp(-2j * np.pi * (k @ np.asarray(spins.position).T))
    error = np.abs(waves @ np.asarray(spins.weight) - exact).max() / abs(exact[0])
    assert error < 0.1 * side / 0.072  # of the order of the surface in voxels, a tenth by chance: the lattice is dense
