"""BIDS names and sidecars, and the table of diffusion gradients."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from mrisim.data import Geometry, Grid, Image, ParameterMap
from mrisim.errors import ConsistencyError
from mrisim.io import bids
from mrisim.protocol import BidsSuffix
from mrisim.sequence import load_sequence

BESIDE_PYTHON = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])

nib = pytest.importorskip("nibabel")
GRID = Grid.of((4, 3, 2), (1e-3, 2e-3, 3e-3), thickness=2.5e-3)
UNEVEN = Grid.of((4, 3, 3), (1e-3, 2e-3, 3e-3), slice_positions=[-0.01, 0.0, 0.02], thickness=3e-3)
TIMES = {"te": 0.01, "tr": 1.0, "ti": np.nan, "flip": np.pi / 2}


def image(grid=GRID, data=None, **coordinates):
    count = max(np.size(value) for value in coordinates.values())
    columns = {key: np.broadcast_to(np.asarray(value, float), count) for key, value in {**TIMES, **coordinates}.items()}
    if data is None:
        data = np.full((count, *grid.shape[::-1]), 2j)
    return Image(data=data, grid=grid, coordinates=columns)


SPIN_ECHO, FLASH = load_sequence("spin_echo"), load_sequence("flash_2d")


@pytest.mark.parametrize(
    ("name", "sequence", "coordinates", "suffix"),
    [
        ("x", SPIN_ECHO, {"te": [0.01, 0.02]}, "MESE"),
        ("x", FLASH, {"te": [0.01, 0.02]}, "MEGRE"),
        ("x", FLASH, {"flip": [0.1, 0.2]}, "VFA"),
        ("x", SPIN_ECHO, {"ti": [0.1, 0.2]}, "IRT1"),
        ("t1_tse", SPIN_ECHO, {"te": [0.1]}, "T1w"),
        ("T2star", FLASH, {"te": [0.01]}, "T2starw"),
        ("head_T2", FLASH, {"te": [0.01]}, "T2w"),
        ("flair_t2", SPIN_ECHO, {"te": [0.1]}, "FLAIR"),
        ("pd", SPIN_ECHO, {"te": [0.01]}, "PDw"),
        ("x", load_sequence("mprage"), {"te": [0.003]}, "T1w"),
        ("x", SPIN_ECHO, {"te": [0.08], "tr": [5.0]}, "T2w"),
        ("x", SPIN_ECHO, {"te": [0.01], "tr": [0.5]}, "T1w"),
        ("x", SPIN_ECHO, {"te": [0.01], "tr": [5.0]}, "PDw"),
        ("x", FLASH, {"te": [0.02], "tr": [0.5]}, "T2starw"),
        ("x", SPIN_ECHO, {"te": [0.01, 0.1], "tr": [5.0, 0.5]}, "PDw"),  # no quantitative series: by the first
    ],
)
def test_the_suffix_follows_from_the_images(name, sequence, coordinates, suffix):
    assert bids.suffix_of(bids.Series(name=name, image=image(**coordinates), sequence=sequence)) == suffix


def test_the_user_has_the_last_word():
    assert bids.suffix_of(bids.Series(name="x", image=image(ti=[0.1, 0.2]), suffix="T2w")) == "T2w"


def test_a_protocol_may_name_every_suffix():
    assert get_args(BidsSuffix) == bids.SUFFIXES


def test_sidecar_in_the_units_of_bids():
    facts = bids.sidecar(image(ti=[0.05, 0.4]), 1, load_sequence("inversion_recovery_se"))
    expected = {
        "EchoTime": 0.01,
        "RepetitionTime": 1.0,
        "RepetitionTimeExcitation": 1.0,
        "InversionTime": 0.4,
        "FlipAngle": 90.0,
        "MagneticFieldStrength": 3.0,
        "SliceThickness": 2.5,
        "MRAcquisitionType": "2D",
        "Manufacturer": "mrisim",
        "PulseSequenceType": "Inversion-recovery spin echo",
        "SequenceName": "inversion_recovery_se",
        "ScanningSequence": ["IR", "SE"],
    }
    assert {key: facts[key] for key in expected} == expected
    json.dumps(facts, allow_nan=False)


def test_what_is_unknown_is_left_out():
    assert not {"InversionTime", "RepetitionTime"} & bids.sidecar(image(tr=[np.nan])).keys()


def test_the_distance_of_a_readout_train_is_no_repetition_time():
    facts = bids.sidecar(image(tr=[0.008], ti=[0.9]), 0, load_sequence("mprage", matrix=[16, 16, 4]))
    assert facts["RepetitionTimeExcitation"] == 0.008
    assert "RepetitionTime" not in facts


# --- diffusion


def test_bvec_of_an_axial_image_has_its_x_turned(tmp_path):
    """FSL: along the voxel axes, x mirrored where the affine's determinant is positive."""
    directions = [[0, 0, 0], [2, 0, 0], [0, 0, -3], [0.6, 0.8, 0]]
    bids.write_bvals(tmp_path / "a_dwi.nii.gz", [0, 1e9, 5e8, 1e9], directions, GRID)
    assert (tmp_path / "a_dwi.bval").read_text() == "0 1000 500 1000\n"
    expected = [[0, -1, 0, -0.6], [0, 0, 0, 0.8], [0, 0, -1, 0]]
    np.testing.assert_allclose(np.loadtxt(tmp_path / "a_dwi.bvec"), expected, atol=1e-8)
    assert "-0.00000000" not in (tmp_path / "a_dwi.bvec").read_text()


def test_bvec_follows_the_axes_of_the_image(tmp_path):
    """Coronal: read x, phase z, slice -y. A gradient along z is along the second voxel axis."""
    rotation = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
    grid = Grid.of((4, 3, 2), (1e-3, 2e-3, 3e-3), Geometry(rotation=rotation))
    bids.write_bvals(tmp_path / "a", [1e9, 1e9, 1e9], np.eye(3), grid)
    expected = np.array([[-1, 0, 0], [0, 0, -1], [0, 1, 0]]).T  # x is mirrored, y is against the slice, z along phase
    np.testing.assert_allclose(np.loadtxt(tmp_path / "a.bvec"), expected, atol=1e-8)


def test_descending_slices_make_a_left_handed_image(tmp_path):
    grid = Grid.of((4, 3, 2), (1e-3, 2e-3, 3e-3), slice_positions=[0.003, 0.0])
    bids.write_bvals(tmp_path / "a", [1e9, 1e9], [[1, 0, 0], [0, 0, 1]], grid)
    np.testing.assert_allclose(np.loadtxt(tmp_path / "a.bvec").T, [[1, 0, 0], [0, 0, -1]], atol=1e-8)


@pytest.mark.parametrize(
    ("b", "directions", "message"),
    [
        ([0, 1], [[0, 0, 0]], r"directions: must have shape \(n, 3\) with n = 2 b-values, but has \(1, 3\)"),
        ([1], [[0, 0, 0]], "directions: must be given for each b-value above zero, but one is zero"),
        ([-1], [[1, 0, 0]], "b: must be finite, b-values not negative, but are not"),
        ([1], [[np.nan, 0, 0]], "b: must be finite, b-values not negative, but are not"),
    ],
)
def test_broken_gradients_are_refused(tmp_path, b, directions, message):
    with pytest.raises(ConsistencyError, match=message):
        bids.write_bvals(tmp_path / "a", b, directions, GRID)


# --- datasets


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("sub-01_*.nii.gz"))


def dataset(*series, **more):
    return bids.Dataset(name="test", series=series, phantom="brain", description="", **more)


def validator_errors(folder: Path) -> list[dict]:
    command = shutil.which("bids-validator-deno", path=BESIDE_PYTHON) or ""
    if not command:
        pytest.skip("bids-validator-deno is not installed")
    answer = subprocess.run([command, "-r", "--format", "json", folder], capture_output=True, text=True, timeout=120)
    report = json.loads(answer.stdout)
    reports = [report, *(report.get("derivativesSummary") or {}).values()]
    return [issue for each in reports for issue in each["issues"]["issues"] if issue["severity"] == "error"]


@pytest.fixture
def everything(tmp_path):
    """Every kind of series and map that a dataset knows."""
    b_matrix = np.stack([np.diag([2e5, 0.0, 3e5]), np.diag([0.0, 1e9, 0.0])])
    columns = {"te": np.full(2, 0.08), "b_matrix": b_matrix}
    diffusion = Image(data=np.full((2, 2, 3, 4), 2j), grid=GRID, coordinates=columns)
    series = [
        bids.Series(name="t1w", image=image(tr=[0.5]), sequence=SPIN_ECHO),
        bids.Series(name="T1-w", image=image(tr=[0.5]), sequence=SPIN_ECHO),
        bids.Series(name="ir", image=image(ti=[0.1, 0.2]), sequence=load_sequence("inversion_recovery_se")),
        bids.Series(name="se", image=image(te=[0.01, 0.2]), sequence=SPIN_ECHO),
        bids.Series(name="gre", image=image(te=[0.01, 0.2]), sequence=FLASH),
        bids.Series(name="vfa", image=image(flip=[0.1, 0.2]), sequence=FLASH),
        bids.Series(name="sr", image=image(tr=[0.1, 0.2]), sequence=SPIN_ECHO),
        bids.Series(name="far", image=image(grid=UNEVEN, te=[0.01, 0.02]), sequence=SPIN_ECHO),
        bids.Series(name="abs", image=image(te=[0.01], data=np.ones((1, 2, 3, 4))), sequence=SPIN_ECHO),
        bids.Series(name="diffusion", image=diffusion, sequence=load_sequence("se_epi")),
    ]
    value = np.full((2, 3, 4), 0.5)
    maps = {
        name: ParameterMap(name=name, unit="s", data=value, grid=GRID, standard_error=0.1 * value, mask=value > 0)
        for name in [*bids.QUANTITIES, "ktrans"]
    }
    uneven = ParameterMap(name="T1", unit="s", data=np.full((3, 3, 4), 0.5), grid=UNEVEN)
    folder = tmp_path / "bids"
    folder.mkdir()
    bids.write_dataset(folder, dataset(*series, maps=maps, truth={**maps, "T1": uneven}))
    return folder


def test_the_validator_finds_no_error(everything):
    assert validator_errors(everything) == []


def test_the_validator_would_find_one(everything):
    """The check above can fail."""
    sidecar = next(everything.rglob("*desc-truth_T2map.json"))
    sidecar.write_text("{}")
    assert "SkullStripped" in str(validator_errors(everything))


def test_names_of_files(everything):
    found = names(everything / "sub-01")
    for name in (
        "part-mag_T1w", "acq-T1wx_part-mag_T1w", "acq-ir_inv-2_part-phase_IRT1", "acq-se_echo-1_part-mag_MESE",
        "acq-gre_echo-2_part-mag_MEGRE", "flip-1_part-mag_VFA", "acq-sr_run-2_part-mag_T1w",
        "acq-far_echo-2_part-mag_chunk-3_MESE", "acq-abs_T1w", "acq-diffusion_part-mag_dwi",
    ):  # fmt: skip
        assert f"sub-01_{name}.nii.gz" in found
    assert len(found) == 2 * (2 + 4 * 2 + 2 + 2 * 3 + 1) + 1


def test_each_slice_of_an_uneven_package_lies_where_it_was(everything):
    for chunk, z in ((1, -10.0), (2, 0.0), (3, 20.0)):
        affine = nib.load(next(everything.rglob(f"*echo-1_part-mag_chunk-{chunk}_MESE.nii.gz"))).affine
        np.testing.assert_allclose(affine[:3, 3], [-2, -2, z], atol=1e-5)


def test_magnitude_and_phase(everything):
    for part, value, unit in (("mag", 2.0, "arbitrary"), ("phase", np.pi / 2, "rad")):
        path = next(everything.rglob(f"*acq-ir_inv-1_part-{part}_IRT1.nii.gz"))
        np.testing.assert_allclose(nib.load(path).get_fdata(), value, rtol=1e-6)
        assert json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())["Units"] == unit


def test_maps_are_in_the_units_of_bids(everything):
    path = next(everything.rglob("sub-01_ADC.nii.gz"))
    np.testing.assert_allclose(nib.load(path).get_fdata(), 0.5e6, rtol=1e-6)
    facts = json.loads(next(everything.rglob("sub-01_T1map.json")).read_text())
    assert (facts["Units"], facts["SkullStripped"]) == ("s", False)


def test_a_map_without_a_name_in_bids_is_left_out_and_said(everything):
    assert not list(everything.rglob("*ktrans*"))
    assert "BIDS has no name for ktrans: see maps.h5" in (everything / "derivatives/mrisim/README.md").read_text()


def test_diffusion_has_its_gradients(everything):
    found = sorted(path.name for path in (everything / "sub-01" / "dwi").iterdir() if path.suffix == ".bval")
    assert found == [f"sub-01_acq-diffusion_part-{part}_dwi.bval" for part in ("mag", "phase")]
    magnitude = everything / "sub-01" / "dwi" / found[0]
    assert magnitude.read_text() == "0 1000\n"
    np.testing.assert_array_equal(np.loadtxt(magnitude.with_suffix(".bvec")).T, [[0, 0, 0], [0, 1, 0]])
