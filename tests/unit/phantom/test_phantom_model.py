from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from mrisim.constants import GAMMA_BAR
from mrisim.data import Geometry, Grid
from mrisim.errors import ConsistencyError, ResourceError
from mrisim.phantom import PhantomModel, Sampling, load_model
from mrisim.phantom.shapes import turned

EPS = np.finfo(float).eps
HEAD = "mrisim: 1\nphantom: test\n"
DISC = "size: [60 mm, 60 mm]\nshapes:\n  - {ellipse: {radii: [20 mm, 12 mm]}, tissue: csf}\n"


@pytest.fixture
def model(tmp_path: Path):
    """Builds a model of YAML text."""

    def build(text: str, **arguments: object) -> PhantomModel:
        path = tmp_path / "test.yaml"
        path.write_text(HEAD + text)
        return load_model(path, **arguments)  # type: ignore[arg-type]

    return build


NESTED = """
size: [60 mm, 60 mm, 40 mm]
shapes:
  - {ellipsoid: {radii: [24 mm, 20 mm, 16 mm], turn: [10 deg, 20 deg, 30 deg]}, tissue: white_matter}
  - {sphere: {radius: 7 mm, center: [4 mm, -3 mm, 2 mm]}, tissue: csf}
  - {box: {size: [5 mm, 6 mm, 4 mm], center: [4 mm, -3 mm, 2 mm], turn: 20 deg}, tissue: gray_matter}
  - {cylinder: {radius: 2 mm, height: 8 mm, axis: x, center: [-14 mm, 2 mm, 1 mm]}, tissue: csf}
"""


def _names(found: PhantomModel, points: list[list[float]]) -> list[str]:
    return [found.tissues[i].name for i in found.tissue_at(np.array(points) * 1e-3)]


def test_later_shapes_lie_over_earlier_ones(model) -> None:
    points = [[4.0, -3.0, 2.0], [4.0, 2.0, 2.0], [20.0, 8.0, 0.0], [-14.0, 2.0, 1.0], [29.0, 0.0, 0.0]]
    assert _names(model(NESTED), points) == ["gray_matter", "csf", "white_matter", "csf", "air"]


def test_mirror_paints_both_sides(model) -> None:
    ellipse = "{ellipse: {radii: [4 mm, 9 mm], center: [12 mm, 3 mm], turn: 30 deg}, tissue: csf, mirror: x}"
    text = f"size: [60 mm, 60 mm, 40 mm]\nshapes:\n  - {ellipse}\n"
    points = np.random.default_rng(1).uniform(-0.03, 0.03, (5000, 3))
    found = model(text)
    inside = found.tissue_at(points)
    assert inside.any()
    np.testing.assert_array_equal(inside, found.tissue_at(points * [-1, 1, 1]))
    assert (found.tissue_at(points * [1, -1, 1]) != inside).any()


def test_form_factors_of_nested_shapes_are_the_limit_of_a_direct_sum(model) -> None:
    found = model(NESTED)
    k = np.random.default_rng(2).uniform(-30.0, 30.0, (12, 3))
    k[0] = 0.0
    exact = found.form_factors(k)
    sides, errors = np.array([4e-3, 2e-3, 1e-3]), []
    for side in sides:
        spins = found.sample(found.sampling(voxel=float(side), isochromats=7))
        label = found.tissue_at(np.asarray(spins.position))
        error = 0.0
        for i, tissue in enumerate(found.tissues[1:], 1):
            here = label == i
            waves = np.exp(-2j * np.pi * (k @ np.asarray(spins.position)[here].T))
            total = waves @ np.asarray(spins.weight)[here]
            error = max(error, float(np.abs(total - exact[tissue.name]).max()))
        errors.append(error / abs(exact["white_matter"][0]))
    slope = np.polyfit(np.log(sides), np.log(errors), 1)[0]
    assert errors[-1] < 2e-3  # surface error of about h² over the size, with a lattice that is not aligned to it
    assert slope > 1.0  # curved edges converge irregularly, at first order or faster


def test_form_factors_at_zero_are_volumes(model) -> None:
    exact = model(NESTED).form_factors(np.zeros((1, 3)))
    sphere, box, rod = 4 / 3 * np.pi * 7e-3**3, 5e-3 * 6e-3 * 4e-3, np.pi * 2e-3**2 * 8e-3
    whole = 4 / 3 * np.pi * 24e-3 * 20e-3 * 16e-3
    assert exact["gray_matter"][0] == pytest.approx(box, rel=1e-12)
    assert exact["csf"][0] == pytest.approx(sphere - box + rod, rel=1e-12)
    assert exact["white_matter"][0] == pytest.approx(whole - sphere - rod, rel=1e-12)


def test_a_covered_shape_leaves_no_trace(model) -> None:
    text = """
size: [60 mm, 60 mm]
shapes:
  - {ellipse: {radii: [20 mm, 20 mm]}, tissue: white_matter}
  - {ellipse: {radii: [3 mm, 3 mm]}, tissue: csf}
  - {rectangle: {size: [12 mm, 12 mm]}, tissue: gray_matter}
"""
    exact = model(text).form_factors(np.zeros((1, 3)))
    assert exact["gray_matter"][0] == pytest.approx(0.012**2, rel=1e-12)
    assert exact["white_matter"][0] == pytest.approx(np.pi * 0.02**2 - 0.012**2, rel=1e-12)
    assert "csf" not in exact


def test_extruded_form_factors_are_those_of_the_plane_times_the_height(model) -> None:
    text = DISC + "  - {rectangle: {size: [9 mm, 4 mm]}, tissue: fat}\n"
    k = np.array([[13.0, -22.0, 0.0], [13.0, -22.0, 37.0]])
    plane, solid = model(text).form_factors(k), model(text, extrude="10 mm").form_factors(k)
    for name in ("csf", "fat"):
        np.testing.assert_allclose(plane[name][1], plane[name][0], rtol=EPS)
        np.testing.assert_allclose(solid[name], plane[name] * 0.01 * np.sinc(0.01 * k[:, 2]), rtol=1e-12)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            "{sphere: {radius: 5 mm, center: [19 mm, 0 mm, 0 mm]}, tissue: csf}",
            "be nested or apart for a closed form, but shapes of 'white_matter' and 'csf' overlap in part",
        ),
        (
            "{box: {size: [50 mm, 4 mm, 4 mm]}, tissue: csf}",
            "be nested or apart for a closed form, but shapes of 'white_matter' and 'csf' overlap in part",
        ),
        (
            "{ribbon: {radii: [9 mm, 9 mm, 9 mm], depth: 2 mm, width: 1 mm}, tissue: csf}",
            "hold shapes with a closed-form transform only, but holds a ribbon",
        ),
    ],
)
def test_form_factors_without_a_closed_form_are_refused(model, shape: str, message: str) -> None:
    text = (
        f"size: [60 mm, 60 mm, 40 mm]\nshapes:\n  - {{sphere: {{radius: 20 mm}}, tissue: white_matter}}\n  - {shape}\n"
    )
    with pytest.raises(ConsistencyError) as error:
        model(text).form_factors(np.zeros((1, 3)))
    assert str(error.value) == f"phantom: must {message}. Sample the phantom instead."


def test_a_solid_shape_in_a_flat_phantom_has_no_form_factor(model) -> None:
    found = model("size: [60 mm, 60 mm]\nshapes:\n  - {sphere: {radius: 20 mm}, tissue: csf}\n")
    with pytest.raises(ConsistencyError, match="flat shapes only"):
        found.form_factors(np.zeros((1, 3)))


BLOCK = "size: [24 mm, 20 mm, 12 mm]\nshapes:\n  - {box: {size: [24 mm, 20 mm, 12 mm]}, tissue: TISSUE}\n"


@pytest.mark.parametrize("isochromats", [1, 7, 16])
def test_weights_add_up_to_the_volume(model, isochromats: int) -> None:
    found = model(BLOCK.replace("TISSUE", "csf"))
    spins = found.sample(found.sampling(voxel=(0.0008, 0.0010, 0.0012), isochromats=isochromats))
    layers = (np.array([0.0008, 0.0010, 0.0012]) / np.array([0.024, 0.020, 0.012])).sum()
    assert np.asarray(spins.weight).sum() == pytest.approx(0.024 * 0.020 * 0.012, rel=layers)


def test_weights_of_whole_voxels_add_up_exactly(model) -> None:
    found = model(BLOCK.replace("TISSUE", "csf"))
    spins = found.sample(Sampling(extent=(0.015, 0.015, 0.009), voxel=(0.003, 0.003, 0.003), isochromats=7))
    assert np.asarray(spins.weight).sum() == pytest.approx(0.015 * 0.015 * 0.009, rel=1e3 * EPS)


def test_each_species_has_isochromats_of_its_own(model) -> None:
    found = model(BLOCK.replace("TISSUE", "{water: 80 %, fat: 20 %}"))
    spins = found.sample(found.sampling(voxel=0.002, isochromats=1))
    df = np.asarray(spins.df)
    shifts = np.unique(df)
    assert len(shifts) == 7
    per_ppm = 1e-6 * 3.0 * GAMMA_BAR
    np.testing.assert_allclose(shifts, np.sort(per_ppm * np.array([-3.8, -3.4, -2.6, -1.94, -0.39, 0.0, 0.6])))
    weights = [np.asarray(spins.weight)[df == shift].sum() for shift in shifts]
    total = sum(weights)
    assert weights[5] / total == pytest.approx(0.8, rel=1e-12)
    assert weights[1] / total == pytest.approx(0.2 * 0.693 / 0.999, rel=1e-12)


def test_lorentzian_lines_follow_the_table_or_are_switched_off(model) -> None:
    text = BLOCK.replace("TISSUE", "white_matter")
    spread, sharp = model(text), model(text + "t2_prime: false\n")
    prime = 1.0 / (1.0 / 0.0532 - 1.0 / 0.071)
    np.testing.assert_allclose(spread.sample().t2_prime, prime)
    assert np.isinf(sharp.sample().t2_prime).all()
    grid = Grid.of((3, 3, 1), (0.002, 0.002, 0.002))
    assert spread.truth(grid).maps["T2star"][0, 1, 1] == pytest.approx(0.0532)
    assert sharp.truth(grid).maps["T2star"][0, 1, 1] == pytest.approx(0.071)


def test_flat_phantoms_lie_at_zero_and_weigh_their_area(model) -> None:
    found = model(DISC)
    spins = found.sample(found.sampling(voxel=0.0005, isochromats=5))
    assert found.flat
    assert not np.asarray(spins.position)[:, 2].any()
    assert np.asarray(spins.weight).sum() == pytest.approx(np.pi * 0.02 * 0.012, rel=0.0005 / 0.012)


def test_a_flat_phantom_is_refused_on_a_tilted_geometry(model) -> None:
    found = model(DISC)
    tilted = Geometry(rotation=turned(np.array([0.2, 0.0, 0.0])))
    with pytest.raises(ConsistencyError, match="must be solid where the geometry is tilted, but is flat"):
        found.sample(found.sampling(geometry=tilted))


def test_sampling_follows_the_geometry(model) -> None:
    found = model(NESTED)
    geometry = Geometry(rotation=turned(np.array([0.3, -0.2, 0.7])), center=np.array([0.004, -0.003, 0.002]))
    spins = found.sample(found.sampling(voxel=0.002, isochromats=1, slab=0.004, geometry=geometry))
    logical = (np.asarray(spins.position) - geometry.center) @ geometry.rotation
    np.testing.assert_allclose(logical / 0.002, np.round(logical / 0.002), atol=1e-9)
    assert np.abs(logical[:, 2]).max() <= 0.002 * (1 + 1e-9)
    label = found.tissue_at(np.asarray(spins.position))
    np.testing.assert_allclose(spins.t1, [found.tissues[i].t1 for i in label])
    # a slab through the middle of the sphere holds its cross-section
    assert np.unique(label).tolist() == [1, 2, 3] or len(np.unique(label)) == 3


def test_the_extent_covers_a_phantom_seen_from_elsewhere(model) -> None:
    found = model(NESTED)
    geometry = Geometry(rotation=turned(np.array([0.3, -0.2, 0.7])), center=np.array([0.02, -0.01, 0.015]))
    here = np.asarray(found.sample(found.sampling(voxel=0.001, isochromats=1)).weight).sum()
    there = np.asarray(found.sample(found.sampling(voxel=0.001, isochromats=1, geometry=geometry)).weight).sum()
    assert there == pytest.approx(here, rel=0.02)  # 1 mm voxels on a body of 40 mm


def test_nothing_in_the_extent_is_refused(model) -> None:
    found = model(NESTED)
    far = Geometry(center=np.array([0.0, 0.0, 0.1]))
    with pytest.raises(ConsistencyError) as error:
        found.sample(found.sampling(slab=0.005, geometry=far))
    assert str(error.value) == (
        "phantom: must hold at least one isochromat with signal in the extent asked for, but holds none. "
        "Move the geometry's center or enlarge the slab."
    )


def test_a_slab_of_a_flat_phantom_is_refused(model) -> None:
    found = model(DISC)
    with pytest.raises(ConsistencyError) as error:
        found.sampling(slab=0.01)
    assert str(error.value) == (
        "slab: must be left out for a flat phantom, but is given. Extrude the phantom, such as extrude='10 mm'."
    )


def test_more_isochromats_than_memory_are_refused(model) -> None:
    found = model(NESTED)
    sampling = found.sampling(voxel=0.0005, isochromats=16)
    with pytest.raises(ResourceError, match=r"must fit into 0\.01 GB of memory, but .* isochromats need .* GB"):
        found.sample(sampling, memory=1e7)


def test_memory_is_asked_for_what_is_kept(model) -> None:
    found = model(NESTED)
    sampling = found.sampling(voxel=0.001, isochromats=7)
    need = found.sample(sampling).n_spins * 88 * 1.3
    found.sample(sampling, memory=1.2 * need)
    with pytest.raises(ResourceError):
        found.sample(sampling, memory=0.8 * need)


def test_points_are_isochromats_of_their_own(model) -> None:
    points = "{points: {at: [[11 mm, 7 mm, 3 mm], [-5 mm, 2 mm, -4 mm]], volume: 2 mm^3}, tissue: gray_matter}"
    text = f"size: [60 mm, 60 mm, 20 mm]\nshapes:\n  - {points}\n"
    found = model(text)
    spins = found.sample()
    np.testing.assert_allclose(spins.position, [[0.011, 0.007, 0.003], [-0.005, 0.002, -0.004]])
    np.testing.assert_allclose(spins.weight, 2e-9)
    k = np.array([[40.0, -30.0, 20.0]])
    expected = 2e-9 * np.exp(-2j * np.pi * (k @ np.asarray(spins.position).T)).sum()
    np.testing.assert_allclose(found.form_factors(k)["gray_matter"], expected, rtol=1e-12)
    assert found.sample(found.sampling(slab=0.007)).n_spins == 1


def test_truth_fractions_add_up_and_hold_the_volume(model) -> None:
    found = model(NESTED)
    truth = found.truth(Grid.of((30, 30, 20), (0.002, 0.002, 0.002)))
    np.testing.assert_allclose(truth.fractions.sum(axis=0), 1.0, atol=8 * EPS)
    volumes = truth.fractions.reshape(len(truth.names), -1).sum(axis=1) * 0.002**3
    exact = found.form_factors(np.zeros((1, 3)))
    for name, volume in zip(truth.names[1:], volumes[1:], strict=True):
        size = exact[name][0].real ** (1 / 3)
        assert volume == pytest.approx(exact[name][0].real, rel=3 * 0.0005 / size)  # a quarter voxel per point
    assert truth.purity.max() == 1.0
    assert (truth.purity == np.take_along_axis(truth.fractions, truth.label[None], axis=0)[0]).all()


def test_truth_averages_over_the_thickness_of_a_slice(model) -> None:
    box = "{box: {size: [50 mm, 50 mm, 4 mm], center: [0 mm, 0 mm, 2 mm]}, tissue: white_matter}"
    text = f"size: [60 mm, 60 mm, 20 mm]\nshapes:\n  - {box}\n"
    grid = Grid.of((5, 5, 1), (0.005, 0.005, 0.02), thickness=0.008)
    truth = model(text).truth(grid, supersampling=8)
    assert truth.fractions[1, 0, 2, 2] == pytest.approx(0.5)
    assert truth.maps["PD"][0, 2, 2] == pytest.approx(0.5 * 0.70)
    assert truth.maps["T1"][0, 2, 2] == pytest.approx(0.838)  # of the tissue that gives the signal


def test_truth_is_undefined_outside(model) -> None:
    truth = model(NESTED).truth(Grid.of((30, 30, 1), (0.002, 0.002, 0.002)))
    assert truth.names[truth.label[0, 0, 0]] == "air"
    assert math.isnan(truth.maps["T1"][0, 0, 0])
    assert truth.maps["PD"][0, 0, 0] == 0.0
    assert truth.mask("white_matter").sum() > 100


FIELDS = """
size: [60 mm, 60 mm, 40 mm]
shapes:
  - {sphere: {radius: 20 mm}, tissue: csf}
fields:
  b0:
    constant: 3 Hz
    linear: {x: 10 Hz, z: -4 Hz, over: 20 mm}
    quadratic: {xx: 20 Hz, xy: 6 Hz, over: 30 mm}
  b1: {center: 1.1, edge: 0.8}
"""


def test_field_maps_follow_their_polynomials(model) -> None:
    found = model(FIELDS)
    x, y, z = 0.011, -0.007, 0.013
    b0 = 3.0 + 10.0 * x / 0.02 - 4.0 * z / 0.02 + 20.0 * (x / 0.03) ** 2 + 6.0 * x * y / 0.03**2
    b1 = 1.1 + (0.8 - 1.1) * ((x / 0.03) ** 2 + (y / 0.03) ** 2)
    assert found.b0_at([[x, y, z]])[0] == pytest.approx(b0, rel=1e-12)
    assert found.b1_at([[x, y, z]])[0] == pytest.approx(b1, rel=1e-12)
    spins = found.sample(found.sampling(voxel=0.004))
    np.testing.assert_allclose(spins.df, found.b0_at(spins.position))
    np.testing.assert_allclose(spins.b1, found.b1_at(spins.position))


def test_transmit_field_never_falls_below_zero(model) -> None:
    found = model(FIELDS.replace("edge: 0.8", "edge: 0"))
    assert found.b1_at([[0.5, 0.0, 0.0]])[0] == 0.0


def _dipole(model, shapes: str, shim: str = "none", size: str = "[60 mm, 60 mm, 60 mm]") -> PhantomModel:
    text = f"size: {size}\nshapes:\n{shapes}fields:\n  b0: {{susceptibility: {{resolution: 1 mm, shim: {shim}}}}}\n"
    return model(text)


BALL = """
  - {sphere: {radius: 40 mm}, tissue: {extends: water, chi: 0 ppm}}
  - {sphere: {radius: 8 mm, center: [0.5 mm, 0.5 mm, 0.5 mm]}, tissue: {extends: water, chi: 1 ppm}}
"""


def test_dipole_field_of_a_sphere(model) -> None:
    shapes = BALL.replace("chi: 0 ppm", "chi: 9.4 ppm").replace("chi: 1 ppm", "chi: 10.4 ppm")  # as the air around
    found = _dipole(model, shapes)
    hertz = 1e-6 * 3.0 * GAMMA_BAR
    center = np.array([5e-4, 5e-4, 5e-4])
    rng = np.random.default_rng(11)
    direction = rng.normal(size=(300, 3))
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    radius = rng.uniform(0.012, 0.02, 300)
    outside = found.b0_at(center + direction * radius[:, None]) / hertz
    expected = (0.008 / radius) ** 3 / 3.0 * (3.0 * direction[:, 2] ** 2 - 1.0)
    assert np.abs(outside - expected).max() < 0.05 * np.abs(expected).max()  # eight cells across the radius
    inside = found.b0_at(center + direction * 0.004) / hertz
    assert np.abs(inside).max() < 0.04  # zero with the Lorentz sphere, up to the steps of the grid


def test_field_of_a_flat_phantom_is_that_of_bodies_without_ends(model) -> None:
    shapes = "  - {ellipse: {radii: [20 mm, 20 mm]}, tissue: {extends: water, chi: 10 ppm}}\n"
    found = _dipole(model, shapes, size="[60 mm, 60 mm]")
    assert found.b0_at([[0.003, 0.004, 0.0]])[0] == pytest.approx((10.0 - 9.4) / 3.0 * 3.0 * GAMMA_BAR * 1e-6, rel=1e-5)


def test_dipole_field_in_the_middle_of_a_disc(model) -> None:
    """Closed form of a magnetised cylinder on its axis; it tells a padded grid from one that repeats itself."""
    disc = "  - {cylinder: {radius: 8 mm, height: 4 mm}, tissue: {extends: water, chi: 10.4 ppm}}\n"
    text = f"size: [20 mm, 20 mm, 20 mm]\nshapes:\n{disc}fields: {{b0: {{susceptibility: SETTINGS}}}}\n"
    found = model(text.replace("SETTINGS", "{resolution: 0.5 mm, shim: none}"))
    ppm = found.b0_at([[0.0, 0.0, 0.0]])[0] / (1e-6 * 3.0 * GAMMA_BAR)
    expected = (10.4 - 9.4) * (2.0 / math.hypot(2.0, 8.0) - 2.0 / 3.0)  # half height over half diagonal, Lorentz sphere
    assert ppm == pytest.approx(expected, abs=0.01)  # sixteen cells across the radius


LOPSIDED = """
  - {sphere: {radius: 20 mm}, tissue: {extends: water, chi: 9.4 ppm}}
  - {sphere: {radius: 5 mm, center: [0 mm, 2 mm, 13 mm]}, tissue: {extends: water, chi: 10.4 ppm}}
"""


@pytest.mark.parametrize(("shim", "removed"), [("none", 0), ("constant", 1), ("linear", 4)])
def test_a_shim_removes_what_it_is_named_after(model, shim: str, removed: int) -> None:
    found = _dipole(model, LOPSIDED, shim=shim)
    spins = found.sample(found.sampling(voxel=0.001, isochromats=1))  # where the shim is fitted
    basis = np.hstack([np.ones((spins.n_spins, 1)), np.asarray(spins.position) / 0.02])
    fit = np.abs(np.linalg.lstsq(basis, np.asarray(spins.df), rcond=None)[0])
    unshimmed = np.abs(_dipole(model, LOPSIDED).b0_at(spins.position)).max()
    assert (fit[:removed] < 1e-9 * unshimmed).all()
    if removed < 4:
        assert fit[removed:].max() > 0.01 * unshimmed


def test_no_supersampling_is_refused(model) -> None:
    with pytest.raises(ConsistencyError, match="supersampling: must be at least 1, but is 0"):
        model(NESTED).truth(Grid.of((3, 3, 1), (0.01, 0.01, 0.01)), supersampling=0)


SLAB = """\
mrisim: 1
phantom: slab
size: [40 mm, 40 mm, 20 mm]
voxel: 5 mm
tissues:
  cream: {T1: 1 s, T2: 50 ms, T2star: 25 ms}
shapes:
  - {rectangle: {size: [40 mm, 40 mm]}, tissue: cream}
  - {rectangle: {size: [20 mm, 40 mm], center: [-10 mm, 0 mm]}, tissue: fat}
"""


def test_truth_has_the_share_of_fat_and_the_rate_of_decay_and_ends_with_the_slab(tmp_path):
    """Half of the middle column is fat, with its own density of protons; partitions beyond 10 mm are empty."""
    (tmp_path / "slab.yaml").write_text(SLAB)
    model = load_model(tmp_path / "slab.yaml")
    truth = model.truth(Grid.of((3, 1, 5), (10e-3, 10e-3, 10e-3)))
    fat = next(one for one in model.tissues if one.name == "fat")
    middle = np.array([1.0, 0.5 * fat.pd / (0.5 * fat.pd + 0.5), 0.0])
    np.testing.assert_allclose(truth.maps["PDFF"][2, 0], middle, rtol=1e-9)
    assert truth.maps["R2star"][2, 0, 2] == pytest.approx(40.0)
    assert np.isnan(truth.maps["PDFF"][[0, 4]]).all()
    assert (truth.fractions[0][[0, 4]] == 1.0).all()
    assert (truth.fractions[0][2] == 0.0).all()


def test_truth_of_a_body_that_is_higher_than_the_slab_ends_with_the_slab(tmp_path):
    ball = "- {sphere: {radius: 40 mm}, tissue: fat}"
    (tmp_path / "ball.yaml").write_text(SLAB[: SLAB.index("  - {rectangle")] + f"  {ball}\n")
    model = load_model(tmp_path / "ball.yaml")
    truth = model.truth(Grid.of((1, 1, 5), (10e-3, 10e-3, 10e-3)))
    assert truth.fractions[0][:, 0, 0].tolist() == [1.0, 0.5, 0.0, 0.5, 1.0]
