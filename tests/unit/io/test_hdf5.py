"""The HDF5 layout: what goes in comes out, what is broken says so, nothing is half-written."""

from __future__ import annotations

import dataclasses
import os

import h5py
import numpy as np
import pytest

from mrisim.data import Geometry, Grid, Image, ParameterMap, Phantom, RawData, ReadoutTable, ReconSpec
from mrisim.errors import Finding, ResourceError
from mrisim.io import hdf5

ROTATION = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
GEOMETRY = Geometry(rotation=ROTATION, center=np.array([0.01, -0.02, 0.003]))
FINDING = Finding("isochromat density", "too few", "Use more")


def make_phantom() -> Phantom:
    phantom = Phantom.from_arrays(
        position=[[0.01, 0.02, 0.03], [0.0, -0.01, 0.0]], t1=[np.inf, 1.2], t2=[0.1, 0.05], df=[3.0, -440.0], field=3.0
    )
    return dataclasses.replace(phantom, findings=(FINDING,))


def make_raw() -> RawData:
    table = ReadoutTable(
        start=np.array([0, 3]),
        count=np.array([3, 2]),
        dwell=np.array([1e-5, 2e-5]),
        te=np.array([0.01, 0.02]),
        ti=np.array([np.nan, 0.4]),
        ts=np.array([0.3, np.nan]),
        tr=np.array([np.nan, 1.0]),
        flip=np.array([1.5, 1.6]),
        labels={"LIN": np.array([4, 5]), "SLC": np.array([0, 1])},
    )
    recon = ReconSpec(
        method="cartesian",
        matrix=(3, 2, 1),
        fov=(0.2, 0.1, 0.004),
        slice_positions=np.array([0.0, 0.01]),
        window="hann",
        maps={"T1": {"fit": "inversion_recovery"}},
    )
    generator = np.random.default_rng(3)
    return RawData(
        signal=(generator.normal(size=(2, 5)) + 1j * generator.normal(size=(2, 5))).astype(np.complex64),
        k=generator.normal(size=(5, 3)),
        time=np.arange(5) * 1e-3,
        readouts=table,
        geometry=GEOMETRY,
        recon=recon,
        sensitivities=generator.normal(size=(2, 1, 2, 3)) + 0j,
        findings=(FINDING,),
        provenance={"engine": "bloch", "seconds": {"simulate": 1.5}},
    )


def make_grid() -> Grid:
    return Grid.of((3, 2, 2), (1e-3, 2e-3, 4e-3), GEOMETRY, slice_positions=[-0.01, 0.02], thickness=4e-3)


def make_image() -> Image:
    data = np.arange(12).reshape(1, 2, 2, 3) * (1 + 2j)
    return Image(data=data, grid=make_grid(), coordinates={"te": np.array([0.01])}, name="t1w", findings=(FINDING,))


def make_map() -> ParameterMap:
    data = np.arange(12.0).reshape(2, 2, 3)
    return ParameterMap(name="T1", unit="s", data=data, grid=make_grid(), standard_error=0.1 * data, mask=data > 3)


def assert_same(a, b) -> None:
    assert type(a) is type(b)
    for field in dataclasses.fields(a):
        left, right = getattr(a, field.name), getattr(b, field.name)
        if dataclasses.is_dataclass(left):
            assert_same(left, right)
        elif isinstance(left, dict):
            assert left.keys() == right.keys()
            for key in left:
                np.testing.assert_array_equal(left[key], right[key])
        elif isinstance(left, np.ndarray):
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)
        else:
            assert left == right, field.name


@pytest.mark.parametrize("make", [make_phantom, make_raw, make_image, make_map])
def test_what_goes_in_comes_out(tmp_path, make):
    item = make()
    hdf5.save(tmp_path / "item.h5", item)
    assert_same(hdf5.load(tmp_path / "item.h5", type(item)), item)


def test_several_objects_by_name(tmp_path):
    hdf5.save(tmp_path / "all.h5", {"T1": make_map(), "image": make_image()})
    items = hdf5.load_all(tmp_path / "all.h5")
    assert set(items) == {"T1", "image"}
    assert_same(items["T1"], make_map())


def test_units_stand_in_the_file(tmp_path):
    hdf5.save(tmp_path / "all.h5", {"map": make_map(), "raw": make_raw(), "phantom": make_phantom()})
    with h5py.File(tmp_path / "all.h5") as file:
        assert file.attrs["format"] == "mrisim"
        assert file.attrs["version"] == hdf5.VERSION
        units = {name: file[name].attrs["unit"] for name in ("map/data", "raw/k", "raw/readouts/te", "phantom/df")}
    assert units == {"map/data": "s", "raw/k": "1/m", "raw/readouts/te": "s", "phantom/df": "Hz"}


def test_every_field_is_stored():
    for cls, layout in hdf5._LAYOUT.items():
        names = {field.name for field in dataclasses.fields(cls)}
        assert names - {"model", "sampling", "sequence"} == set(layout), cls  # what a file cannot hold


def test_a_truncated_file_is_one_error(tmp_path):
    path = tmp_path / "raw.h5"
    hdf5.save(path, make_raw())
    whole = path.read_bytes()
    for length in (0, 100, len(whole) // 2):
        path.write_bytes(whole[:length])
        with pytest.raises(ResourceError, match=r"raw\.h5: must be a complete mrisim file, but cannot be read"):
            hdf5.load(path, RawData)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "must be an existing file, but is not there. Check its name."),
        (lambda path: h5py.File(path, "w").close(), "must be a mrisim file, but has no attribute format = mrisim"),
        (lambda path: path.write_text("hello"), "must be a complete mrisim file, but cannot be read"),
        (lambda path: hdf5.save(path, make_image()), "must hold one RawData, but holds 0"),
    ],
)
def test_a_wrong_file_is_one_error(tmp_path, write, message):
    path = tmp_path / "wrong.h5"
    write(path)
    with pytest.raises(ResourceError) as caught:
        hdf5.load(path, RawData)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_a_missing_member_is_one_error(tmp_path):
    path = tmp_path / "map.h5"
    hdf5.save(path, make_map())
    with h5py.File(path, "a") as file:
        del file["ParameterMap/grid"]
    with pytest.raises(ResourceError, match="must be a complete mrisim file"):
        hdf5.load(path, ParameterMap)


def test_impossible_properties_are_refused(tmp_path):
    path = tmp_path / "phantom.h5"
    hdf5.save(path, make_phantom())
    with h5py.File(path, "a") as file:
        file["Phantom/t2"][0] = -1.0
    with pytest.raises(ResourceError, match="must hold what mrisim can use, but: t2: must be above 0, but is -1"):
        hdf5.load(path, Phantom)


def test_a_newer_version_is_refused(tmp_path):
    path = tmp_path / "map.h5"
    hdf5.save(path, make_map())
    with h5py.File(path, "a") as file:
        file.attrs["version"] = hdf5.VERSION + 1
    with pytest.raises(ResourceError, match=r"must have a version up to 1, but has 2\. Install a newer mrisim"):
        hdf5.load(path, ParameterMap)


def test_a_failed_save_leaves_the_former_file(tmp_path):
    path = tmp_path / "map.h5"
    hdf5.save(path, make_map())
    before = path.read_bytes()
    broken = dataclasses.replace(make_map(), data=np.array([object()]))
    with pytest.raises(TypeError):
        hdf5.save(path, broken)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["map.h5"]


def test_a_folder_that_is_not_there_is_one_error(tmp_path):
    with pytest.raises(ResourceError, match="must be writable, but is not"):
        hdf5.save(tmp_path / "nowhere" / "map.h5", make_map())
