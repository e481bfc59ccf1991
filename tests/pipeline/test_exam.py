"""A protocol from YAML to maps, files and report."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from mrisim.data import Image, ParameterMap, RawData
from mrisim.io import hdf5
from mrisim.pipeline.phantoms import FADE, LAYERS, SLAB

BIAS = 0.01  # of the mean over a tube: slice profile, discrete spins and the fits together


@pytest.mark.parametrize(("name", "true"), [("T1", (0.5, 1.2)), ("T2", (0.06, 0.11))])
def test_maps_find_the_truth(exam, name, true):
    rows = [row for row in exam.tissues if row.quantity == name]
    assert sorted(row.true for row in rows) == pytest.approx(sorted(true))
    for row in rows:
        assert abs(row.error) <= BIAS, row


def test_each_makes_one_series(exam):
    assert exam.scans["ir"].image.data.shape == (4, 1, 32, 32)
    np.testing.assert_allclose(exam.scans["ir"].image.coordinates["ti"], [0.06, 0.4, 1.2, 3.0], atol=2e-5)  # raster
    np.testing.assert_allclose(exam.scans["se"].image.coordinates["te"], [0.012, 0.05, 0.12], atol=2e-5)
    assert len(exam.scans["ir"].raw) == 4


def test_scans_on_one_slab_share_their_isochromats(exam):
    phantom = exam.scans["se"].phantom
    thickness = 5e-3  # of the spin echo
    along = np.asarray(phantom.position)[:, 2]
    assert np.ptp(along) == pytest.approx(SLAB * thickness, rel=0.1)
    assert phantom.sampling.voxel == pytest.approx((2e-3, 2e-3, thickness / LAYERS))
    assert phantom.sampling.isochromats == 3


def test_weights_fade_outside_the_slice(exam):
    phantom, thickness = exam.scans["se"].phantom, 5e-3
    along = np.abs(np.asarray(phantom.position)[:, 2])
    weight = np.asarray(phantom.weight) / np.asarray(phantom.weight).max()
    np.testing.assert_array_equal(weight[along <= (SLAB / 2 - FADE) * thickness], 1.0)
    half_way = 0.5 * (SLAB - FADE) * thickness
    near = np.abs(along - half_way) < 0.01 * thickness
    slope = 0.5 * np.pi / FADE  # of the weight half way, per thickness
    np.testing.assert_allclose(weight[near], 0.5, atol=slope * 0.01)
    assert weight.min() < 0.01


def test_the_folder_holds_everything(exam):
    files = {str(path.relative_to(exam.folder)) for path in exam.folder.rglob("*") if path.is_file()}
    figures = {
        f"figures/{scan}_{kind}.png" for scan in ("ir", "se") for kind in ("sequence", "trajectory", "kspace", "image")
    }
    figures |= {f"figures/map_{name}.png" for name in ("T1", "T2")}
    figures.add("figures/overview.png")
    data = {"kspace/ir.h5", "kspace/se.h5", "images/ir.h5", "images/se.h5", "maps.h5"}
    dataset = {file for file in files if file.startswith("bids/")}
    assert "bids/dataset_description.json" in dataset
    assert files - dataset == figures | data | {"report.html", "run.json"}
    assert not [path for path in exam.folder.parent.iterdir() if path.name.startswith(".")]


def test_files_hold_what_the_result_holds(exam):
    raws = hdf5.load_all(exam.folder / "kspace" / "ir.h5")
    assert list(raws) == ["ir_1", "ir_2", "ir_3", "ir_4"]
    assert isinstance(raws["ir_2"], RawData)
    np.testing.assert_array_equal(raws["ir_2"].signal, exam.scans["ir"].raw[1].signal)
    image = hdf5.load(exam.folder / "images" / "se.h5", Image)
    np.testing.assert_array_equal(image.data, exam.scans["se"].image.data)
    maps = hdf5.load_all(exam.folder / "maps.h5")
    assert set(maps) == {"T1", "T2", "T1_truth", "T2_truth"}
    assert isinstance(maps["T1"], ParameterMap)


def test_the_report_stands_alone(exam):
    page = (exam.folder / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert not re.search(r"(?:src|href)=\"(?!data:image/(?:png|webp);base64,|#)", page)
    assert "@import" not in page
    assert "url(" not in page
    assert page.count("<img") == len(list((exam.folder / "figures").iterdir()))
    for text in ("Two tubes", "inversion_recovery", "simulate", "center of the inversion", "isochromats", "jaxlib"[:3]):
        assert text in page, text


def test_the_record_says_how_it_was_made(exam):
    record = json.loads((exam.folder / "run.json").read_text(encoding="utf-8"))
    assert record["format"] == "mrisim run"
    phases = {"expand", "sample", "compile", "simulate", "reconstruct", "fit"}
    assert phases <= set(record["seconds"])
    assert {"mrisim", "jax", "numpy", "python", "device"} <= set(record["provenance"]["versions"])
    assert record["provenance"]["options"]["isochromats"] == 3
    assert record["provenance"]["options"]["dtype"] == "float32"
    assert [run["parameters"]["TI"] for run in record["scans"]["ir"]] == [0.06, 0.4, 1.2, 3.0]
    assert record["scans"]["se"][0]["parameters"]["thickness"] == 5e-3
    assert {row["quantity"] for row in record["tissues"]} == {"T1", "T2"}
