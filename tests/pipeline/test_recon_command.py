"""`mrisim recon`: raw data of a run and ISMRMRD files → images on disk."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

import mrisim as mr
from mrisim.cli import app
from mrisim.data import RawData
from mrisim.errors import ConsistencyError, ResourceError
from mrisim.events.readouts import readout_table
from mrisim.pipeline.recon import reconstruct_file


@pytest.fixture(scope="module")
def raw():
    """A spin echo of one point beside the center."""
    sequence = mr.load_sequence("spin_echo", matrix=16)
    k, time = sequence.kspace()
    return RawData(
        signal=np.exp(-2j * np.pi * k @ [0.0275, -0.055, 0.0])[None], k=k, time=time, readouts=readout_table(sequence),
        geometry=sequence.geometry, recon=sequence.recon, provenance={"sequence": "spin_echo", "b0": 3.0},
    )  # fmt: skip


@pytest.mark.parametrize("suffix", [".h5", ".mrd"])
def test_images_are_written(suffix, raw, tmp_path):
    source = tmp_path / f"scan{suffix}"
    mr.save(source, raw)
    shown = CliRunner().invoke(app, ["recon", str(source), "--out", str(tmp_path / "images")])
    assert shown.exit_code == 0, shown.output
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == [
        "scan.h5", "scan.json", "scan.nii.gz", "scan.png", "scan_phase.nii.gz",
    ]  # fmt: skip
    image = mr.load(tmp_path / "images" / "scan.h5")
    expected = mr.reconstruct(raw)
    np.testing.assert_allclose(image.data, expected.data, rtol=0, atol=1e-6 * np.abs(expected.data).max())
    same = mr.load(tmp_path / "images" / "scan.nii.gz")
    np.testing.assert_allclose(same.grid.positions(), expected.grid.positions(), rtol=0, atol=1e-7)


def test_ismrmrd_in_a_file_named_h5_is_known(raw, tmp_path):
    mr.save(tmp_path / "scan.mrd", raw)
    (tmp_path / "scan.mrd").rename(tmp_path / "scan.h5")
    assert mr.load(tmp_path / "scan.h5", RawData).signal.shape == raw.signal.shape


def test_runs_of_a_scan_become_one_image(raw, tmp_path):
    mr.save(tmp_path / "series.h5", {"series_1": raw, "series_2": raw})
    done = reconstruct_file(tmp_path / "series.h5")
    assert {name: len(image.data) for name, image in done.images.items()} == {"series": 2}
    assert done.written == ()


def test_both_ways_of_convert(raw, tmp_path):
    mr.save(tmp_path / "scan.h5", raw)
    for source, target in (("scan.h5", "scan.mrd"), ("scan.mrd", "back.h5")):
        shown = CliRunner().invoke(app, ["convert", str(tmp_path / source), str(tmp_path / target)])
        assert shown.exit_code == 0, shown.output
    np.testing.assert_array_equal(mr.load(tmp_path / "back.h5").signal, raw.signal.astype(np.complex64))


def test_what_is_wrong_is_said_with_the_file(raw, tmp_path):
    (tmp_path / "junk.mrd").write_bytes(b"junk")
    shown = CliRunner().invoke(app, ["recon", str(tmp_path / "junk.mrd"), "--out", str(tmp_path / "images")])
    assert shown.exit_code == 2
    assert (
        shown.output == f"error: {tmp_path / 'junk.mrd'}: HDF5: must be a HDF5 file, but is not. Get the file again.\n"
    )
    assert not (tmp_path / "images").exists()
    mr.save(tmp_path / "image.h5", mr.reconstruct(raw))
    with pytest.raises(ResourceError, match=r"image\.h5: must hold raw data, but holds none\. Name a file of kspace/"):
        reconstruct_file(tmp_path / "image.h5")
    mr.save(tmp_path / "scan.mrd", raw)
    with pytest.raises(ConsistencyError, match=r"scan\.mrd: recon\.window: must be one of none, "):
        reconstruct_file(tmp_path / "scan.mrd", window="round")
    shown = CliRunner().invoke(app, ["recon", str(tmp_path / "scan.mrd"), "--fov", "24 mm"])
    assert shown.output == "error: --fov: must be 3 lengths, but is '24 mm'. Write '240 mm, 200 mm, 5 mm'.\n"
