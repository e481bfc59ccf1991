from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mrisim.data import Grid
from mrisim.errors import SpecError
from mrisim.phantom import load_model, load_phantom
from mrisim.phantom.fibres import Fibre
from mrisim.phantom.tissues import changed, mixture, perfused, tissue

EPS = np.finfo(float).eps
UM = 1e-9  # µm²/ms [m²/s]
FILE = """mrisim: 1
phantom: test
parameters: {{rate: {{value: 1.7e-3 mm^2/s}}}}
size: [40 mm, 40 mm, 8 mm]
voxel: 2 mm
isochromats: 3
shapes:
  - {{box: {{size: [30 mm, 30 mm, 8 mm]}}, tissue: gray_matter}}
  - {{box: {{size: [20 mm, 20 mm, 8 mm], center: [1 mm, 2 mm, 0 mm]}}, tissue: {tissue}}}
"""
GRID = Grid.of((20, 20, 1), (2e-3, 2e-3, 8e-3))


@pytest.fixture
def write(tmp_path: Path):
    def write(entry: str) -> Path:
        path = tmp_path / "test.yaml"
        path.write_text(FILE.format(tissue=entry))
        return path

    return write


@pytest.mark.parametrize(
    ("course", "point", "direction"),
    [
        ("along", (3.0, -2.0, 1.0), (0.6, 0.0, 0.8)),
        ("around", (1.0, 5.0, 7.0), (-1.0, 0.0, 0.0)),  # center (1, 1): above it, counter-clockwise
        ("away_from", (4.0, 5.0, 7.0), (0.6, 0.8, 0.0)),
    ],
)
def test_fibre_runs_where_it_is_told(course, point, direction) -> None:
    axis = direction if course == "along" else (0.0, 0.0, 1.0)
    fibre = Fibre(axial=1.7, radial=0.3, axis=axis, course=course, center=(1.0, 1.0, 0.0))
    tensor = fibre.tensors(np.array([point]))[0][[[0, 3, 4], [3, 1, 5], [4, 5, 2]]]
    expected = 0.3 * np.eye(3) + 1.4 * np.outer(direction, direction)
    np.testing.assert_allclose(tensor, expected, atol=8 * EPS)  # rounding of a few products


def test_fibre_has_no_direction_on_its_axis_but_its_trace() -> None:
    fibre = Fibre(axial=1.7, radial=0.3, axis=(0.0, 0.0, 1.0), course="around")
    tensor = fibre.tensors(np.array([[0.0, 0.0, 4.0]]))[0]
    np.testing.assert_allclose(tensor, [fibre.mean] * 3 + [0.0] * 3, atol=4 * EPS)


def test_isochromats_carry_the_tensor_of_their_place(write) -> None:
    path = write("{extends: white_matter, tensor: {axial: rate, radial: 0.3e-3 mm^2/s, around: z}}")
    phantom = load_phantom(path)
    tensors, position = phantom.diffusion_tensors(), np.asarray(phantom.position)
    white = np.asarray(phantom.t1) == tissue("white_matter", 3.0).t1
    flat = (position * [1.0, 1.0, 0.0])[white]
    rows = np.abs(flat).max(axis=1) > 0.0  # off the axis
    u = np.cross([0.0, 0.0, 1.0], flat[rows]) / np.linalg.norm(flat[rows], axis=1, keepdims=True)
    matrices = tensors[white][rows][:, [[0, 3, 4], [3, 1, 5], [4, 5, 2]]]
    np.testing.assert_allclose(np.einsum("ni,nij,nj->n", u, matrices, u), 1.7 * UM, rtol=16 * EPS)
    np.testing.assert_allclose(tensors[~white], np.tile([0.83 * UM] * 3 + [0.0] * 3, ((~white).sum(), 1)), rtol=4 * EPS)


def test_phantom_without_fibres_carries_one_coefficient() -> None:
    assert load_phantom("pvp", thickness="2 mm").diffusion.shape[1] == 1


def test_truth_says_what_a_tensor_map_should_show(write) -> None:
    model = load_model(write("{extends: white_matter, tensor: {axial: rate, radial: 0.3e-3 mm^2/s, along: [0, 3, 4]}}"))
    truth = model.truth(GRID)
    inside = truth.label == len(truth.names) - 1
    gray = truth.mask("gray_matter")
    for name, value in (
        ("FA", 0.799022),
        ("MD", 2.3 / 3 * UM),
        ("AD", 1.7 * UM),
        ("RD", 0.3 * UM),
        ("Trace", 2.3 * UM),
    ):
        rel = 5e-7 / value if name == "FA" else 16 * EPS  # six decimals; rounding
        np.testing.assert_allclose(truth.maps[name][inside], value, rtol=rel)
    np.testing.assert_array_equal(truth.maps["FA"][gray], 0.0)
    np.testing.assert_allclose(truth.maps["V1"][inside], np.tile([0.0, 0.6, 0.8], (inside.sum(), 1)), atol=16 * EPS)
    assert np.isnan(truth.maps["V1"][gray]).all()
    assert np.isnan(truth.maps["ADC"][truth.label == 0]).all()
    assert "f" not in truth.maps


def test_crossing_fibres_are_species_whose_mean_tensor_is_the_truth() -> None:
    model = load_model("fibres")
    cross = next(t for t in model.tissues if t.name == "cross_90")
    assert len(cross.species) == 2
    expected = [1.0 * UM, 1.0 * UM, 0.3 * UM, 0.0, 0.0, 0.0]  # mean of 1.7 and 0.3 in the plane
    np.testing.assert_allclose(cross.tensors(np.zeros((1, 3)))[0], expected, atol=16 * EPS * UM)


def test_perfused_tissue_has_two_pools_whose_shares_add_up() -> None:
    liver = perfused(changed(tissue("liver", 3.0), {"diffusion": 1.1 * UM}, "liver"), 0.23, 70 * UM, 1.6, 0.15)
    assert [s.share for s in liver.species] == pytest.approx([0.77, 0.23])
    assert [s.fast for s in liver.species] == [False, True]
    assert (liver.adc, liver.fast_diffusion, liver.species[1].t2) == (1.1 * UM, 70 * UM, 0.15)
    assert liver.fast_share == pytest.approx(0.23)


def test_perfusion_replaces_that_of_the_tissue_below_and_adc_leaves_it() -> None:
    liver = perfused(tissue("liver", 3.0), 0.23, 70 * UM, None, None)
    again = perfused(liver, 0.1, 30 * UM, None, None)
    assert again.fast_share == pytest.approx(0.1)
    slower = changed(liver, {"diffusion": 0.5 * UM}, "slower")
    assert (slower.adc, slower.fast_diffusion) == (0.5 * UM, 70 * UM)


def test_truth_of_a_perfused_organ() -> None:
    model = load_model("liver_ivim", f="30 %")
    truth = model.truth(Grid.of((64, 46, 1), (5e-3, 5e-3, 5e-3)), supersampling=2)
    liver, lesion = truth.mask("liver"), truth.mask("lesion")
    np.testing.assert_allclose(truth.maps["f"][liver], 0.3)
    np.testing.assert_allclose(truth.maps["Dstar"][liver], 70.02 * UM)
    np.testing.assert_allclose(truth.maps["D"][liver], 1.09 * UM)
    np.testing.assert_allclose(truth.maps["f"][lesion], 0.1131)


def test_fat_in_a_mixture_slows_the_mean() -> None:
    cream = mixture({tissue("water", 3.0): 0.8, tissue("fat_one_peak", 3.0): 0.2}, "cream")
    expected = (0.8 * 1.0 * 2.299 + 0.2 * 0.95 * 0.01) / (0.8 * 1.0 + 0.2 * 0.95) * UM
    assert cream.adc == pytest.approx(expected, rel=8 * EPS)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            "{extends: white_matter, ADC: 1e-3 mm^2/s, tensor: {axial: rate, radial: 0.3e-3 mm^2/s, along: x}}",
            "must give ADC or tensor, but gives both. Remove one.",
        ),
        (
            "{extends: white_matter, tensor: {axial: rate, radial: 0.3e-3 mm^2/s}}",
            "must give one of along, around and away_from, but gives none.",
        ),
        (
            "{extends: white_matter, tensor: {axial: rate, radial: 0.3e-3 mm^2/s, around: [0, 0, 0]}}",
            "must have a direction around that is not zero, but is [0, 0, 0].",
        ),
        (
            "{extends: white_matter, tensor: {axial: rate, radial: 0.3e-3 mm^2/s, along: x, center: [0 mm, 0 mm]}}",
            "must be left out for fibres along one direction, but is given. Remove it.",
        ),
        ("{extends: liver, perfusion: {f: 120 %, Dstar: rate}}", "must be at most 1, but is 120 %."),
        ("{extends: liver, perfusion: {f: 20 %, Dstar: rate, T2: 3 s}}", "must leave T2 of the blood"),
    ],
)
def test_impossible_diffusion_is_refused(write, entry: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_model(write(entry))
    assert message in str(caught.value)


def test_diffusion_vials_are_those_of_the_formulas() -> None:
    """Holz 2000 and Amouzandeh 2022; the certificate at 0 °C falls with the concentration."""
    kelvin = 293.15
    water = 1.635e-8 * (kelvin / 215.05 - 1.0) ** 2.063
    warm = {t.name: t.adc for t in load_model("pvp").tissues}
    for c in range(0, 60, 10):
        expected = water * (12.5e-5 * c**2 - 23.2e-3 * c + 1.0)
        assert warm[f"pvp_{c}"] == pytest.approx(expected, abs=0.6e-12)  # three decimals in µm²/ms
    ice = [t.adc for t in load_model("pvp_ice").tissues if t.name.startswith("pvp")]
    assert ice == pytest.approx(np.array([1.127, 0.843, 0.607, 0.403, 0.248, 0.128]) * UM, rel=8 * EPS)
    assert sum(1 for p in load_model("pvp").shapes) == 1 + 13
