"""YAML phantoms whose voxels come from NIfTI files: maps, labels, grids, units, places of errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import mrisim as mr
from mrisim.constants import GAMMA_BAR
from mrisim.data import Geometry, Grid, check_properties
from mrisim.errors import ConsistencyError, MrisimError, SpecError
from mrisim.io.nifti import write_volume
from mrisim.io.phantoms import load_model
from mrisim.phantom import VoxelModel, tissue

STORED = 1e-6  # float32 values, and an affine in float32, of the NIfTI file
OBLIQUE = Geometry(
    rotation=Rotation.from_euler("xyz", [12, -9, 25], degrees=True).as_matrix(), center=np.array([0.01, -0.02, 0.005])
)
GRID = Grid.of((7, 6, 4), (2e-3, 3e-3, 4e-3), OBLIQUE)
BOTH = "  T1: {file: t1.nii.gz, unit: ms}\n  T2: {file: t2.nii.gz, unit: ms}\n"
Write = Callable[..., Path]


def t1_at(position: np.ndarray) -> np.ndarray:
    """A T1 that differs along all axes [s]."""
    return 1.0 + 8.0 * position[..., 0] + 5.0 * position[..., 1] - 11.0 * position[..., 2]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes t1, t2, pd, b0, seg on an oblique grid and a phantom with the text given."""
    t1 = t1_at(GRID.positions())
    seg = np.zeros(GRID.shape[::-1], dtype=np.int16)
    seg[:, 1:5, 1:3], seg[:, 1:5, 3:6] = 1, 2
    volumes = {"t1": 1e3 * t1, "t2": 1e2 * t1, "pd": np.full(t1.shape, 80.0), "b0": 100.0 * t1, "b1": 0.5 + 0.5 * t1}
    for name, values in {**volumes, "seg": seg}.items():
        write_volume(tmp_path / f"{name}.nii.gz", values[None], GRID)

    def write_text(text: str, field: str = "field: 3 T\n") -> Path:
        path = tmp_path / "phantom.yaml"
        path.write_text(f"mrisim: 1\nphantom: test\n{field}{text}")
        return path

    return write_text


def model_of(path: Path, **arguments: object) -> VoxelModel:
    model = load_model(path, **arguments)  # type: ignore[arg-type]
    assert isinstance(model, VoxelModel)
    return model


def refused(path: Path, **arguments: object) -> str:
    with pytest.raises(MrisimError) as caught:
        load_model(path, **arguments)  # type: ignore[arg-type]
    return str(caught.value)


class TestMaps:
    def test_an_oblique_map_lies_where_its_affine_says(self, write: Write) -> None:
        model = model_of(write("maps:\n" + BOTH), interpolation="linear")
        generator = np.random.default_rng(0)
        inner = Grid.of((3, 3, 1), (1e-6, 1e-6, 1e-6), Geometry(center=OBLIQUE.center + generator.normal(0, 2e-3, 3)))
        point = inner.positions()
        np.testing.assert_allclose(model.truth(inner, 1).maps["PD"], 1.0, rtol=STORED)
        found = model.truth(inner, 1).maps["T1"]
        curvature = (
            np.abs(np.array([8.0, 5.0, 11.0])).sum() * 4e-3
        ) ** 2  # rates, not times, are interpolated linearly
        np.testing.assert_allclose(found, t1_at(point), rtol=curvature)

    def test_at_its_own_voxels_it_is_the_file(self, write: Write) -> None:
        for method in ("nearest", "linear"):
            model = model_of(write("maps:\n" + BOTH), interpolation=method)
            truth = model.truth(GRID, 1)
            np.testing.assert_allclose(
                truth.maps["T1"], t1_at(GRID.positions()), rtol=4e-3 if method == "linear" else STORED
            )

    def test_isochromats_have_the_values_of_the_voxel_that_they_lie_in(self, write: Write) -> None:
        phantom = mr.load_phantom(write("maps:\n" + BOTH), geometry=OBLIQUE, voxel=("1 mm", "1 mm", "1 mm"))
        index = (np.asarray(phantom.position) - OBLIQUE.center) @ OBLIQUE.rotation / GRID.spacing + np.array(
            GRID.shape
        ) // 2
        distance = np.abs(index + 0.5 - np.round(index + 0.5)).min(axis=1)  # from the nearest face [voxels]
        inside = distance > 1e-3
        i = np.floor(index + 0.5).astype(int)[inside]
        expected = t1_at(GRID.positions())[i[:, 2], i[:, 1], i[:, 0]]
        np.testing.assert_allclose(np.asarray(phantom.t1)[inside], expected, rtol=STORED)
        assert inside.sum() > 500

    def test_weights_add_up_to_the_volume(self, write: Write) -> None:
        sides = {"voxel": ("0.5 mm", "0.5 mm", "0.5 mm"), "geometry": OBLIQUE}
        phantom = mr.load_phantom(write("maps:\n" + BOTH), **sides)  # type: ignore[arg-type]
        volume = np.prod(GRID.shape) * np.prod(GRID.spacing)
        assert np.asarray(phantom.weight).sum() == pytest.approx(
            volume, rel=0.05
        )  # a layer of voxels more at each face

    def test_each_unit_is_converted(self, write: Write) -> None:
        text = "  PD: {file: pd.nii.gz, unit: '%'}\n  B1: {file: b1.nii.gz, unit: 1}\n"
        t1 = t1_at(GRID.positions())
        for unit, factor in (("Hz", 1.0), ("rad/s", 1 / (2 * np.pi)), ("ppm", 3e-6 * GAMMA_BAR)):
            path = write("maps:\n" + BOTH + text + f"  B0: {{file: b0.nii.gz, unit: {unit}}}\n")
            maps = model_of(path).truth(GRID, 1).maps
            np.testing.assert_allclose(maps["B0"], 100.0 * t1 * factor, rtol=STORED)
        np.testing.assert_allclose(maps["PD"], 0.8, rtol=STORED)
        np.testing.assert_allclose(maps["B1"], 0.5 + 0.5 * t1, rtol=STORED)
        np.testing.assert_allclose(maps["T2"], 0.1 * t1, rtol=STORED)

    def test_t2star_and_t2prime_say_the_same(self, write: Write, tmp_path: Path) -> None:
        t2 = 0.1 * t1_at(GRID.positions())
        write_volume(tmp_path / "t2s.nii.gz", 1e3 * t2[None] / 3, GRID)
        write_volume(tmp_path / "t2p.nii.gz", 1e3 * t2[None] / 2, GRID)
        for key, file in (("T2star", "t2s"), ("T2prime", "t2p")):
            model = model_of(write("maps:\n" + BOTH + f"  {key}: {{file: {file}.nii.gz, unit: ms}}\n"))
            np.testing.assert_allclose(model.truth(GRID, 1).maps["T2star"], t2 / 3, rtol=3 * STORED)
        off = model_of(write("t2_prime: false\nmaps:\n" + BOTH + "  T2prime: {file: t2p.nii.gz, unit: ms}\n"))
        np.testing.assert_allclose(off.truth(GRID, 1).maps["T2star"], t2, rtol=STORED)

    def test_linear_keeps_t2_below_twice_t1_and_takes_nothing_from_empty_voxels(
        self, write: Write, tmp_path: Path
    ) -> None:
        t1 = t1_at(GRID.positions())
        t1[:, :, ::2] = 0.0
        write_volume(tmp_path / "t1.nii.gz", 1e3 * t1[None], GRID)
        write_volume(tmp_path / "t2.nii.gz", 2e3 * t1[None], GRID)
        phantom = mr.load_phantom(write("maps:\n" + BOTH), voxel="0.7 mm", interpolation="linear")
        assert not check_properties({"t1": np.asarray(phantom.t1), "t2": np.asarray(phantom.t2) * (1 - 1e-6)})
        assert np.asarray(phantom.t1).min() >= t1[t1 > 0].min() * (1 - STORED)
        assert np.asarray(phantom.pd).min() < 0.5 < np.asarray(phantom.pd).max()

    def test_a_map_in_another_unit_than_stated_is_refused_with_the_remedy(self, write: Write) -> None:
        text = refused(write("maps:\n" + BOTH.replace("ms", "s")))
        assert "phantom.yaml: maps.T1: T1 must be a relaxation time, but half of its values are above" in text
        assert "State unit: ms where it is stated T1 in s, T2 in s." in text

    def test_what_does_not_fit_is_refused_at_its_place(self, write: Write) -> None:
        for text, message in (
            ("maps:\n" + BOTH.replace("  T2: {file: t2.nii.gz, unit: ms}\n", ""), "5:3: maps: must have the key 'T2'"),
            ("maps:\n" + BOTH.replace(", unit: ms}", "}"), "maps.T1: must have the key 'unit'"),
            ("maps:\n" + BOTH.replace("unit: ms", "unit: Hz"), "maps.T1.unit: must be 's', 'ms' or 'us', but is 'Hz'"),
            (
                "maps:\n" + BOTH.replace("t1.nii", "../t1.nii"),
                "5:14: maps.T1.file: must lie inside the specification's",
            ),
            (
                "maps:\n" + BOTH.replace("t1.nii", "t9.nii"),
                "5:14: maps.T1.file: must be an existing file, but 't9.nii.gz' is not there",
            ),
            ("maps:\n" + BOTH + "size: [1 mm, 1 mm]\n", "maps: must not stand beside shapes and size"),
            ("extrude: 5 mm\nmaps:\n" + BOTH, "extrude: must be left out for a grid of 4 slices"),
            (
                "maps:\n" + BOTH.replace("t1", "tx").replace("t2", "t1").replace("tx", "t2"),
                "maps.T2: must be at most 2 T1",
            ),
            ("maps:\n" + BOTH + "fields: {b0: {susceptibility: true}}\n", "susceptibility: must be left out"),
        ):
            assert message in refused(write(text)), text

    def test_the_field_must_be_stated_and_kept(self, write: Write) -> None:
        assert "must state the field strength that its values hold for" in refused(write("maps:\n" + BOTH, field=""))
        assert model_of(write("maps:\n" + BOTH, field=""), field="1.5 T").field == 1.5
        assert "must be 3 T, which the maps hold for, but 7 T is asked for" in refused(
            write("maps:\n" + BOTH), field="7 T"
        )

    def test_maps_on_other_grids_are_refused_unless_resampling_is_asked_for(self, write: Write, tmp_path: Path) -> None:
        coarse = Grid.of((4, 4, 3), (4e-3, 5e-3, 6e-3), Geometry(center=OBLIQUE.center))
        write_volume(tmp_path / "t2.nii.gz", 1e2 * t1_at(coarse.positions())[None], coarse)
        text = refused(write("maps:\n" + BOTH))
        assert "maps.T2: must lie on the grid of T1, 7 x 6 x 4 voxels of 2 x 3 x 4 mm" in text
        assert "Resample it, or add 'resample: linear'" in text
        model = model_of(write("resample: linear\nmaps:\n" + BOTH))
        assert "maps.T2 is resampled (linear) to the grid of T1" in str(model.findings)
        middle = (2, 3, 3)  # of the finer grid: inside the coarser one
        found = model.truth(GRID, 1).maps["T2"][middle]
        assert found == pytest.approx(0.1 * t1_at(GRID.positions())[middle], rel=10 * STORED)

    def test_a_single_slice_can_be_made_thick(self, write: Write, tmp_path: Path) -> None:
        flat = Grid.of((5, 5, 1), (2e-3, 2e-3, 2e-3))
        for name in ("t1", "t2"):
            write_volume(tmp_path / f"{name}.nii.gz", np.full((1, 1, 5, 5), 500.0), flat)
        assert model_of(write("maps:\n" + BOTH)).size == pytest.approx((0.01, 0.01, 0.002))
        assert model_of(write("extrude: 12 mm\nmaps:\n" + BOTH)).size == pytest.approx((0.01, 0.01, 0.012))
        assert model_of(write("maps:\n" + BOTH), extrude="20 mm").size == pytest.approx((0.01, 0.01, 0.02))

    def test_shapes_need_no_interpolation(self) -> None:
        with pytest.raises(SpecError, match="interpolation: must be left out for a phantom of shapes"):
            load_model("brain", interpolation="linear")


class TestDiffusion:
    def test_a_map_of_the_coefficient_goes_with_the_isochromats(self, write: Write, tmp_path: Path) -> None:
        for name, value in (("t1", 900.0), ("t2", 80.0), ("adc", 1.2)):
            write_volume(tmp_path / f"{name}.nii.gz", np.full((1, *GRID.shape[::-1]), value), GRID)
        model = model_of(write("maps:\n" + BOTH + "  ADC: {file: adc.nii.gz, unit: um^2/ms}\n"))
        phantom = model.sample(model.sampling(geometry=OBLIQUE, voxel=GRID.spacing))
        np.testing.assert_allclose(phantom.diffusion, 1.2e-9, rtol=1e-6)  # float32 in the file
        assert model.truth(GRID, 1).maps["ADC"] == pytest.approx(1.2e-9, rel=1e-6)
        assert "f" not in model.truth(GRID, 1).maps
        write_volume(tmp_path / "adc.nii.gz", np.full((1, *GRID.shape[::-1]), -1.0), GRID)
        with pytest.raises(ConsistencyError, match=r"maps\.ADC: ADC must be at least 0"):
            model_of(write("maps:\n" + BOTH + "  ADC: {file: adc.nii.gz, unit: um^2/ms}\n"))

    def test_labels_may_stand_for_fibres_and_perfused_tissue(self, write: Write) -> None:
        text = (
            "labels: {file: seg.nii.gz, tissues: {1: tract, 2: organ}}\n"
            "tissues:\n"
            "  tract: {extends: white_matter,"
            " tensor: {axial: 1.7e-3 mm^2/s, radial: 0.3e-3 mm^2/s, along: [0, 0.6, 0.8]}}\n"
            "  organ: {extends: muscle, ADC: 1e-3 mm^2/s, perfusion: {f: 20 %, Dstar: 50e-3 mm^2/s}}\n"
        )
        model = model_of(write(text))
        assert model.sample().diffusion.shape[1] == 6
        maps, truth = model.truth(GRID, 1).maps, model.truth(GRID, 1)
        tract, organ = truth.mask("tract"), truth.mask("organ")
        np.testing.assert_allclose(maps["FA"][tract], 0.799022, atol=5e-7)  # six decimals
        np.testing.assert_allclose(maps["V1"][tract], np.tile([0.0, 0.6, 0.8], (tract.sum(), 1)), atol=1e-12)
        np.testing.assert_allclose(maps["FA"][organ], 0.0, atol=1e-12)
        assert np.isnan(maps["V1"][organ]).all()
        for name, value in (("f", 0.2), ("D", 1e-9), ("Dstar", 50e-9)):
            np.testing.assert_allclose(maps[name][organ], value, rtol=1e-12)


class TestLabels:
    TEXT = "labels: {file: seg.nii.gz, tissues: {1: white_matter, 2: fat}}\n"

    def test_tissues_come_from_the_table_with_all_their_peaks(self, write: Write) -> None:
        model = model_of(write(self.TEXT))
        phantom = model.sample(model.sampling(geometry=OBLIQUE, voxel=GRID.spacing))
        white, fat = tissue("white_matter", 3.0), tissue("fat", 3.0)
        assert phantom.n_spins == 4 * 4 * (2 * len(white.species) + 3 * len(fat.species))
        shifts = {round(1e6 * float(f) / (3 * GAMMA_BAR), 6) for f in phantom.df}
        assert shifts == {s.shift for s in (*white.species, *fat.species)}
        truth = model.truth(GRID, 2)
        assert truth.names == ("air", "white_matter", "fat")
        np.testing.assert_allclose(truth.maps["T1"][truth.mask("white_matter")], white.t1, rtol=1e-12)
        np.testing.assert_allclose(truth.maps["PD"][truth.mask("fat")], fat.pd, rtol=1e-12)
        assert truth.fractions.sum(axis=0) == pytest.approx(np.ones(GRID.shape[::-1]))

    def test_the_table_is_read_at_the_field_asked_for(self, write: Write) -> None:
        truth = model_of(write(self.TEXT), field="1.5 T").truth(GRID, 1)
        found = truth.maps["T1"][truth.mask("white_matter")]
        np.testing.assert_allclose(found, tissue("white_matter", 1.5).t1, rtol=1e-12)

    def test_own_tissues_and_a_map_of_b0_stand_beside(self, write: Write) -> None:
        text = "labels: {file: seg.nii.gz, tissues: {1: {T1: 1 s, T2: 50 ms}, 2: lesion}}\n"
        text += "tissues: {lesion: {extends: white_matter, T1: 1.4 s}}\nmaps: {B0: {file: b0.nii.gz, unit: Hz}}\n"
        truth = model_of(write(text)).truth(GRID, 1)
        assert truth.names == ("air", "custom (T1 1 s, T2 50 ms)", "lesion")
        inside = truth.label > 0
        np.testing.assert_allclose(truth.maps["B0"][inside], 100 * t1_at(GRID.positions())[inside], rtol=STORED)

    def test_labels_without_a_tissue_are_refused(self, write: Write) -> None:
        text = refused(write("labels: {file: seg.nii.gz, tissues: {1: white_matter}}\n"))
        assert "labels.tissues: must name a tissue for every label of the file, but lacks 2. Add '2: air'" in text
        text = refused(write("labels: {file: seg.nii.gz, tissues: {1: white_mater, two: fat}}\n"))
        assert "labels.tissues.1: must be a known tissue, but is 'white_mater'. Did you mean 'white_matter'" in text
        assert "must be a whole number, but is 'two'" in text
        assert "must hold whole numbers, but holds others" in refused(write(self.TEXT.replace("seg", "t1")))
        assert "maps.T1: must be left out where labels give the tissue" in refused(write(self.TEXT + "maps:\n" + BOTH))
