"""The BIDS dataset of a run: accepted by the validator, with every voxel where its spins were."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mrisim.data import Phantom
from mrisim.errors import SpecError
from mrisim.pipeline import run
from mrisim.protocol import load_protocol

BESIDE_PYTHON = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])

nib = pytest.importorskip("nibabel")

OBLIQUE = """\
mrisim: 1
extends: multi_echo_gre
geometry:
  orientation: {read: [0.6, 0.8, 0], phase: [0, 0, 1]}   # slice (0.8, -0.6, 0)
  center: [12 mm, -34 mm, 56 mm]
parameters: {matrix: [32, 24], fov: [128 mm, 72 mm], slices: [SLICES], echoes: 2, dummies: 0}
"""
# Voxels (x, y, slice) of three points; steps of 4 mm, 3 mm and along the slice direction from voxel (16, 12)
POINTS = {(20, 9, 0): 1.0, (11, 14, 1): 2.0, (14, 5, 2): 3.0}


def position(voxel, slices):
    """Computed by hand from the file above [mm]."""
    x, y, z = 4.0 * (voxel[0] - 16), 3.0 * (voxel[1] - 12), slices[voxel[2]]
    return np.array([12 + 0.6 * x + 0.8 * z, -34 + 0.8 * x - 0.6 * z, 56 + y])


def scan_points(folder, slices):
    text = OBLIQUE.replace("SLICES", ", ".join(f"{z} mm" for z in slices))
    (folder / "oblique.yaml").write_text(text)
    places = np.array([position(voxel, slices) for voxel in POINTS]) * 1e-3
    phantom = Phantom.from_arrays(position=places, t1=1.0, t2=0.1, pd=list(POINTS.values()), weight=60e-9)
    run(folder / "oblique.yaml", phantom=phantom, out=folder / "out", pulses="ideal", spoiling="ideal")
    return folder / "out" / "bids"


@pytest.mark.parametrize("form", ["get_sform", "get_qform"])
def test_the_voxel_of_a_point_has_the_coordinates_of_the_point(tmp_path, form):
    """Oblique, off-center, three slices; three points that no turn or mirror takes onto each other."""
    slices = (-8.0, -2.0, 4.0)
    bids = scan_points(tmp_path, slices)
    image = nib.load(bids / "sub-01" / "anat" / "sub-01_acq-oblique_echo-1_part-mag_MEGRE.nii.gz")
    values, affine = image.get_fdata(), getattr(image, form)()
    strongest = []
    for voxel in POINTS:
        plane = values[:, :, voxel[2]]
        found = (*(int(i) for i in np.unravel_index(plane.argmax(), plane.shape)), voxel[2])
        strongest.append(plane.max())
        np.testing.assert_allclose(affine[:3] @ [*found, 1], position(voxel, slices), rtol=0, atol=1e-4)
    np.testing.assert_allclose(np.array(strongest) / strongest[0], [1, 2, 3], rtol=0.02)  # the neighbors' ripple


def test_uneven_slices_become_files_of_their_own(tmp_path):
    slices = (-8.0, 0.0, 13.0)
    bids = scan_points(tmp_path, slices)
    for number, voxel in enumerate(POINTS):
        name = f"sub-01_acq-oblique_echo-2_part-mag_chunk-{number + 1}_MEGRE.nii.gz"
        image = nib.load(bids / "sub-01" / "anat" / name)
        found = np.unravel_index(image.get_fdata().argmax(), image.shape)
        np.testing.assert_allclose(image.affine[:3] @ [*found, 1], position(voxel, slices), rtol=0, atol=1e-4)
    assert errors(bids) == []
    assert (bids / "participants.tsv").read_text().splitlines()[1] == "sub-01\tn/a"  # isochromats without a name


def errors(folder: Path) -> list[dict]:
    command = shutil.which("bids-validator-deno", path=BESIDE_PYTHON)
    if command is None:
        pytest.skip("bids-validator-deno is not installed")
    answer = subprocess.run([command, "-r", "--format", "json", folder], capture_output=True, text=True, timeout=120)
    report = json.loads(answer.stdout)
    reports = [report, *(report.get("derivativesSummary") or {}).values()]
    return [issue for each in reports for issue in each["issues"]["issues"] if issue["severity"] == "error"]


def test_the_validator_accepts_a_protocol(exam):
    assert errors(exam.folder / "bids") == []


def test_the_participant_is_the_phantom(exam):
    assert (exam.folder / "bids" / "participants.tsv").read_text().splitlines()[1] == "sub-01\ttubes"


def test_images_and_maps_are_those_of_the_run(exam):
    anat = exam.folder / "bids" / "sub-01" / "anat"
    maps = exam.folder / "bids" / "derivatives" / "mrisim" / "sub-01" / "anat"
    image = exam.scans["ir"].image
    third = nib.load(anat / "sub-01_acq-ir_inv-3_part-mag_IRT1.nii.gz").get_fdata()
    np.testing.assert_allclose(third.T, np.abs(image.data[2]), rtol=1e-6)
    facts = json.loads((anat / "sub-01_acq-ir_inv-3_part-mag_IRT1.json").read_text())
    assert facts["InversionTime"] == pytest.approx(1.2)
    assert facts["RepetitionTime"] == pytest.approx(6.0)
    t1 = nib.load(maps / "sub-01_T1map.nii.gz").get_fdata()
    np.testing.assert_allclose(t1.T, exam.maps["T1"].data, rtol=1e-6)
    truth = nib.load(maps / "sub-01_desc-truth_T2map.nii.gz").get_fdata()
    np.testing.assert_allclose(truth.T, exam.truth["T2"].data, rtol=1e-6)
    sources = json.loads((maps / "sub-01_T2map.json").read_text())["Sources"]
    assert sources == [f"bids:raw:sub-01/anat/sub-01_acq-se_echo-{i}_part-mag_MESE.nii.gz" for i in (1, 2, 3)]


def test_a_scan_may_name_its_suffix(folder):
    head = "mrisim: 1\nprotocol: x\nphantom: tubes.yaml\nsimulation: {isochromats: 1, pulses: ideal}\nscans:\n"
    scan = "  t1: {sequence: spin_echo, set: {matrix: 16, fov: 64 mm, TR: 200 ms, dummies: 0}, bids: PDw}\n"
    (folder / "exam.yaml").write_text(head + scan)
    assert [scan.bids for scan in load_protocol(folder / "exam.yaml").scans] == ["PDw"]
    run(folder / "exam.yaml", out=folder / "out")
    assert (folder / "out/bids/sub-01/anat/sub-01_acq-t1_part-mag_PDw.nii.gz").is_file()


def test_an_unknown_suffix_is_refused(folder):
    path = folder / "exam.yaml"
    path.write_text(path.read_text().replace("sequence: spin_echo", "sequence: spin_echo\n    bids: T3w"))
    with pytest.raises(SpecError) as caught:
        load_protocol(path)
    assert "exam.yaml:11:11: scans.se.bids: must be 'T1w', 'T2w'" in str(caught.value)


def test_a_sequence_without_images_has_no_dataset(folder):
    run("fid", phantom=folder / "tubes.yaml", out=folder / "out", isochromats=1)
    assert not (folder / "out" / "bids").exists()
