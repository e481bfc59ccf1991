"""`mrisim convert` of images and maps."""

from __future__ import annotations

import os

import numpy as np
import pytest

import mrisim as mr
from mrisim.data import Grid, Image, ParameterMap
from mrisim.errors import Finding, MrisimError, Problem, ResourceError
from mrisim.pipeline.convert import convert

GRID = Grid.of((4, 3, 2), (1e-3, 2e-3, 3e-3))
FINDING = Finding("topic", "text")


def make_image():
    data = np.arange(24.0).reshape(1, 2, 3, 4) * (1 + 1j)
    return Image(data=data, grid=GRID, coordinates={"te": np.array([0.01])}, name="t1w", findings=(FINDING,))


def make_map(name):
    return ParameterMap(name=name, unit="s", data=np.arange(24.0).reshape(2, 3, 4), grid=GRID)


def test_an_image_goes_to_nifti_and_back(tmp_path):
    image = make_image()
    mr.save(tmp_path / "a.h5", image)
    done = convert(tmp_path / "a.h5", tmp_path / "a.nii.gz")
    assert done.findings == (FINDING,)
    convert(tmp_path / "a.nii.gz", tmp_path / "b.h5")
    back = mr.load(tmp_path / "b.h5", Image)
    np.testing.assert_allclose(back.data, image.data, atol=1e-5)
    assert back.coordinates["te"].tolist() == [0.01]


def test_one_of_several_maps(tmp_path):
    mr.save(tmp_path / "maps.h5", {name: make_map(name) for name in ("T1", "T2")})
    with pytest.raises(ResourceError) as caught:
        convert(tmp_path / "maps.h5", tmp_path / "a.nii.gz")
    rule = "must hold one image or map for a .nii.gz file, but holds T1, T2"
    assert str(caught.value) == str(Problem(rule, "Choose one: --item T1", file=str(tmp_path / "maps.h5")))
    convert(tmp_path / "maps.h5", tmp_path / "a.nii.gz", item="T2")
    assert mr.load(tmp_path / "a.nii.gz").name == "T2"
    with pytest.raises(ResourceError, match=r"item: must be one of T1, T2, but is 'T3'"):
        convert(tmp_path / "maps.h5", tmp_path / "b.nii.gz", item="T3")
    assert sorted(os.listdir(tmp_path)) == ["a.json", "a.nii.gz", "maps.h5"]


@pytest.mark.parametrize("target", ["out/", "there"])
def test_a_folder_of_dicom_files(tmp_path, target):
    pytest.importorskip("highdicom", reason="the extra dicom is not installed")
    (tmp_path / "there").mkdir()
    mr.save(tmp_path / "maps.h5", {name: make_map(name) for name in ("T1", "T2")})
    convert(tmp_path / "maps.h5", f"{tmp_path}/{target}")
    assert sorted(os.listdir(tmp_path / target)) == ["T1.dcm", "T2.dcm"]


def test_what_an_image_can_become(tmp_path):
    mr.save(tmp_path / "a.h5", make_image())
    with pytest.raises(MrisimError, match=r"but ends in '.dcm'. Use one of .*folder/ \(DICOM\)"):
        convert(tmp_path / "a.h5", tmp_path / "a.dcm")
