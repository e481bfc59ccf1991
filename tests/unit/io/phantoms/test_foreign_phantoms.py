"""Phantoms of KomaMRI, JEMRIS and MRzero, written here by their documented layouts and read back."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from unit.io.phantoms.phantom_files import write_jemris, write_koma, write_mrzero

import mrisim as mr
from mrisim.data import Geometry, Grid, Phantom
from mrisim.errors import ConsistencyError, ResourceError, SpecError
from mrisim.io.phantoms import load_model
from mrisim.phantom import VoxelModel

ROUNDING = 1e-12  # of double precision, after a handful of operations


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def topics(item: Phantom | VoxelModel) -> str:
    return "\n".join(str(finding) for finding in item.findings)


class TestKoma:
    def test_points_keep_their_places_and_properties(self, folder: Path) -> None:
        source = write_koma(folder / "brain.phantom")
        phantom = mr.load_phantom(folder / "brain.phantom", field="3 T")
        np.testing.assert_allclose(phantom.position, source["position"], rtol=ROUNDING)
        for ours, theirs in (("pd", "ρ"), ("t1", "T1"), ("t2", "T2")):
            np.testing.assert_allclose(getattr(phantom, ours), source[theirs], rtol=ROUNDING)
        np.testing.assert_allclose(phantom.df, source["Δw"] / (2 * np.pi), rtol=ROUNDING)
        assert phantom.field == 3.0

    def test_spins_on_a_grid_weigh_a_voxel(self, folder: Path) -> None:
        write_koma(folder / "brain.phantom")
        phantom = mr.load_phantom(folder / "brain.phantom")
        assert np.asarray(phantom.weight) == pytest.approx(
            2e-3 * 3e-3 * 4e-3, rel=1e-6
        )  # text of the raster is rounded
        assert "each counts as a voxel of 2 x 3 x 4 mm" in topics(phantom)

    def test_what_is_dropped_or_assumed_is_said(self, folder: Path) -> None:
        write_koma(folder / "brain.phantom", motion=True)
        said = topics(mr.load_phantom(folder / "brain.phantom"))
        assert "contrast/Dλ1, contrast/T2s, motion of the KomaMRI phantom are left out" in said
        assert "does not say for which field strength" in said

    def test_a_million_seconds_is_never(self, folder: Path) -> None:
        write_koma(folder / "water.phantom", T1=np.full(24, 1e6), T2=np.full(24, 1e6))
        phantom = mr.load_phantom(folder / "water.phantom")
        assert np.isinf([phantom.t1, phantom.t2]).all()

    def test_millimeters_and_milliseconds_are_refused(self, folder: Path) -> None:
        write_koma(folder / "mm.phantom", scale=1e3)
        with pytest.raises(ConsistencyError, match=r"mm.phantom: position/y: must be in meters, but reaches .* milli"):
            mr.load_phantom(folder / "mm.phantom")
        write_koma(folder / "ms.phantom", T1=np.full(24, 900.0), T2=np.full(24, 80.0))
        with pytest.raises(
            ConsistencyError, match=r"contrast/T1: T1 must be a relaxation time, but half .* 900 s. Write"
        ):
            mr.load_phantom(folder / "ms.phantom")

    def test_sampling_arguments_are_refused(self, folder: Path) -> None:
        write_koma(folder / "brain.phantom")
        with pytest.raises(
            ConsistencyError, match="must be left out for a phantom that has its isochromats, but voxel"
        ):
            mr.load_phantom(folder / "brain.phantom", voxel="1 mm")
        with pytest.raises(SpecError, match="which holds points, but is given"):
            mr.load_phantom(folder / "brain.phantom", interpolation="linear")


class TestJemris:
    def test_each_voxel_lies_where_the_offset_says(self, folder: Path) -> None:
        data = write_jemris(folder / "sample.h5")
        phantom = mr.load_phantom(folder / "sample.h5")
        nz, ny, nx = data.shape[:3]
        where = np.array([1, 0, 2])  # x, y, z index of the voxel that is looked for
        expected = (where - (np.array([nx, ny, nz]) - 1) / 2) * [2e-3, 3e-3, 5e-3] + [10e-3, 0.0, -4e-3]
        model = phantom.model
        value = model.truth(_point_grid(expected), 1)
        rates = data[where[2], where[1], where[0]]
        assert value.maps["T1"].item() == pytest.approx(1e-3 / rates[1], rel=ROUNDING)
        assert value.maps["T2"].item() == pytest.approx(1e-3 / rates[2], rel=ROUNDING)
        assert value.maps["T2star"].item() == pytest.approx(1e-3 / rates[3], rel=ROUNDING)
        assert value.maps["B0"].item() == pytest.approx(rates[4] / (2 * np.pi), rel=ROUNDING)
        assert value.maps["PD"].item() == pytest.approx(rates[0], rel=ROUNDING)

    def test_no_rate_is_never(self, folder: Path) -> None:
        write_jemris(folder / "sample.h5", rates=(0.0, 0.0, 0.0))
        phantom = mr.load_phantom(folder / "sample.h5", voxel="1 mm")
        assert np.isinf([phantom.t1, phantom.t2, phantom.t2_prime]).all()

    def test_empty_voxels_hold_no_isochromats(self, folder: Path) -> None:
        data = write_jemris(folder / "sample.h5")
        model = load_model(folder / "sample.h5")
        assert isinstance(model, VoxelModel)
        at_voxels = model.sampling(geometry=model.grid.geometry, voxel=model.grid.spacing)
        assert model.sample(at_voxels).n_spins == np.count_nonzero(data[..., 0])

    def test_rates_per_second_are_refused(self, folder: Path) -> None:
        write_jemris(folder / "sample.h5", rates=(1e-6, 1e-5, 1e-5))
        with pytest.raises(
            ConsistencyError, match=r"sample.h5: sample/data\[1\]: T1 must be a relaxation time, .* 1/ms"
        ):
            mr.load_phantom(folder / "sample.h5")

    def test_negative_rates_and_wrong_shapes_are_refused(self, folder: Path) -> None:
        write_jemris(folder / "sample.h5", rates=(-0.001, 0.01, 0.02))
        with pytest.raises(ConsistencyError, match=r"sample/data\[1\]: must be a rate of at least 0 .* but is -0.001"):
            mr.load_phantom(folder / "sample.h5")
        with h5py.File(folder / "flat.h5", "w") as file:
            file["sample/data"], file["sample/resolution"] = np.ones((4, 4)), np.ones(3)
        with pytest.raises(ConsistencyError, match=r"sample/data: must have shape \(z, y, x, 5\), but has \(4, 4\)"):
            mr.load_phantom(folder / "flat.h5")

    def test_our_own_file_is_told_from_it_by_content(self, folder: Path) -> None:
        own = Phantom.from_arrays(position=np.eye(3), t1=1.0, t2=0.1)
        mr.save(folder / "own.h5", own)
        assert mr.load_phantom(folder / "own.h5").n_spins == 3
        with h5py.File(folder / "other.h5", "w") as file:
            file["pixels"] = np.ones(3)
        with pytest.raises(ResourceError, match=r"other.h5: must hold a phantom of .* but holds pixels. Convert it"):
            mr.load_phantom(folder / "other.h5")


class TestMrzero:
    def test_the_middle_voxel_lies_at_zero(self, folder: Path) -> None:
        maps = write_mrzero(folder / "brain.npz")
        model = load_model(folder / "brain.npz", "3 T")
        assert isinstance(model, VoxelModel)
        index = np.array([1, 4, 0])  # x, y, z
        expected = (index - np.array([3, 2, 1])) * [2e-3, 3e-3, 4e-3]
        truth = model.truth(_point_grid(expected), 1)
        for name, key in (("T1", "T1_map"), ("T2", "T2_map"), ("PD", "PD_map"), ("B0", "B0_map"), ("B1", "B1_map")):
            assert truth.maps[name].item() == pytest.approx(np.real(maps[key][tuple(index)]), rel=ROUNDING)
        rate = 1 / maps["T2_map"][tuple(index)] + 1 / maps["T2dash_map"][tuple(index)]
        assert truth.maps["T2star"].item() == pytest.approx(1 / rate, rel=ROUNDING)
        assert truth.maps["ADC"].item() == pytest.approx(1e-9, rel=ROUNDING)  # D_map is 1 in 10⁻³ mm²/s

    def test_tissues_become_regions_of_the_truth(self, folder: Path) -> None:
        maps = write_mrzero(folder / "brain.npz", tissues=True)
        model = load_model(folder / "brain.npz")
        assert isinstance(model, VoxelModel)
        truth = model.truth(model.grid, 1)
        assert truth.names == ("air", "gm", "wm")
        inside = maps["PD_map"].transpose() > 0
        np.testing.assert_allclose(truth.mask("gm"), maps["tissue_gm"].transpose() * inside > 0)

    def test_what_is_missing_is_assumed_aloud(self, folder: Path) -> None:
        write_mrzero(folder / "brain.npz", leave=("B0_map", "B1_map", "D_map", "FOV"))
        said = topics(mr.load_phantom(folder / "brain.npz"))
        for text in (
            "no B0_map; no off-resonance",
            "no B1_map; a uniform",
            "no FOV; 0.192 m",
            "no D_map; no diffusion",
        ):
            assert text in said
        write_mrzero(folder / "less.npz", leave=("T2_map",))
        with pytest.raises(
            ResourceError, match=r"less.npz: T2_map: must be an array of this archive, but is not there"
        ):
            mr.load_phantom(folder / "less.npz")

    def test_unphysical_maps_are_refused(self, folder: Path) -> None:
        maps = write_mrzero(folder / "a.npz")
        for key, factor, text in (
            ("T1_map", 1e3, "T1_map: T1 must be a relaxation time, but half of its values are above"),
            ("T1_map", -1.0, "T1_map: T1 must be above 0 s where there are protons"),
            ("T2_map", 40.0, "T2_map: must be at most 2 T1"),
            ("PD_map", 0.0, "PD_map: must be above zero somewhere, but holds no protons"),
            ("B0_map", np.nan, "B0_map: off-resonance must be a number where there are protons"),
        ):
            np.savez(folder / "a.npz", **{**maps, key: maps[key] * factor})
            with pytest.raises(ConsistencyError, match=f"a.npz: {text}"):
                mr.load_phantom(folder / "a.npz")

    def test_several_transmit_coils_are_refused(self, folder: Path) -> None:
        maps = write_mrzero(folder / "a.npz")
        np.savez(folder / "a.npz", **{**maps, "B1_map": np.stack([maps["B1_map"]] * 2)})
        with pytest.raises(ConsistencyError, match=r"B1_map: must be one transmit coil, but is 2. Combine them"):
            mr.load_phantom(folder / "a.npz")


def _point_grid(position: np.ndarray) -> Grid:
    return Grid.of((1, 1, 1), (1e-6, 1e-6, 1e-6), Geometry(center=position))
