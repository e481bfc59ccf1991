"""NIfTI: positions by hand, what nibabel writes, what is refused; saving and loading by name."""

from __future__ import annotations

import gzip
import json
import os

import numpy as np
import pytest

import mrisim as mr
from mrisim.data import Geometry, Grid, Image, ParameterMap, Phantom
from mrisim.errors import ConsistencyError, ResourceError
from mrisim.io.nifti import read_volume, write_volume

nib = pytest.importorskip("nibabel")
EPS32 = np.finfo(np.float32).eps
GENERATOR = np.random.default_rng(11)
OBLIQUE = Geometry(  # read (0.6, 0.8, 0), phase (0, 0, 1), slice = read x phase = (0.8, -0.6, 0)
    rotation=np.array([[0.6, 0.0, 0.8], [0.8, 0.0, -0.6], [0.0, 1.0, 0.0]]),
    center=np.array([0.012, -0.034, 0.056]),
)
GRID = Grid.of((6, 5, 4), (1e-3, 2e-3, 3e-3), OBLIQUE)


def random_data(grid=GRID, contrasts=1):
    return GENERATOR.normal(size=(contrasts, *grid.shape[::-1]))


def raw_header(path, **fields):
    """Rewrite header fields of an uncompressed file, past nibabel's own checks."""
    content = bytearray(path.read_bytes())
    header = nib.Nifti1Header(bytes(content[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    content[:348] = header.binaryblock
    path.write_bytes(content)


def refusal(path, **options):
    with pytest.raises(ResourceError) as caught:
        read_volume(path, **options)
    return str(caught.value).removeprefix(f"{path}: ")


# --- writing: what other tools see


def test_a_voxel_has_the_position_computed_by_hand(tmp_path):
    """Voxel (5, 1, 2) of (6, 5, 4): steps (+2, -1, 0) of (1, 2, 3) mm from the center along read, phase, slice."""
    data = np.zeros((1, 4, 5, 6))
    data[0, 2, 1, 5] = 1.0
    write_volume(tmp_path / "a.nii.gz", data, GRID)
    image = nib.load(tmp_path / "a.nii.gz")
    (voxel,) = np.argwhere(image.get_fdata())
    by_hand = np.array([12 + 2 * 0.6, -34 + 2 * 0.8, 56 - 2.0])  # mm
    for form in (image.affine, image.get_sform(), image.get_qform()):
        np.testing.assert_allclose(form @ [*voxel, 1], [*by_hand, 1], rtol=0, atol=60 * 8 * EPS32)


def test_header_says_scanner_millimeters_and_seconds(tmp_path):
    write_volume(tmp_path / "a.nii.gz", random_data(contrasts=3), GRID, description="three", tr=2.5)
    header = nib.load(tmp_path / "a.nii.gz").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)
    assert header.get_xyzt_units() == ("mm", "sec")
    np.testing.assert_allclose(header.get_zooms(), (1, 2, 3, 2.5))
    assert header.get_data_shape() == (6, 5, 4, 3)


def test_values_and_axes(tmp_path):
    data = random_data(contrasts=2)
    write_volume(tmp_path / "a.nii", data, GRID)
    np.testing.assert_allclose(nib.load(tmp_path / "a.nii").get_fdata()[4, 3, 2, 1], data[1, 2, 3, 4], rtol=EPS32)


@pytest.mark.parametrize(
    ("given", "stored"),
    [(bool, "uint8"), ("int16", "int16"), ("int64", "int32"), ("float64", "float32"), ("complex128", "complex64")],
)
def test_types_that_viewers_read(tmp_path, given, stored):
    data = (np.arange(120) % 2).reshape(1, 4, 5, 6).astype(given)
    write_volume(tmp_path / "a.nii.gz", data, GRID)
    assert nib.load(tmp_path / "a.nii.gz").get_data_dtype() == stored
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").data, data)


def test_large_labels_are_kept(tmp_path):
    data = np.full((1, 4, 5, 6), 2**40 + 1)
    write_volume(tmp_path / "a.nii.gz", data, GRID)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").data, data)


def test_the_same_values_give_the_same_bytes(tmp_path):
    data = random_data()
    for name in ("a", "b"):
        write_volume(tmp_path / f"{name}.nii.gz", data, GRID)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert (tmp_path / "a.nii.gz").read_bytes()[4:8] == bytes(4)  # no time in gzip's header


def test_uneven_slices_are_refused(tmp_path):
    grid = Grid.of((6, 5, 3), (1e-3, 2e-3, 3e-3), slice_positions=[0.0, 0.003, 0.01])
    with pytest.raises(ConsistencyError, match="slices must be equidistant"):
        write_volume(tmp_path / "a.nii.gz", random_data(grid), grid)
    assert os.listdir(tmp_path) == []


def test_a_wrong_shape_is_refused(tmp_path):
    with pytest.raises(ConsistencyError, match=r"must have shape \(contrast, z, y, x\) with \(4, 5, 6\) voxels"):
        write_volume(tmp_path / "a.nii.gz", np.zeros((1, 6, 5, 4)), GRID)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ResourceError, match=r"none/a.nii.gz: must be writable, but is not \(No such file"):
        write_volume(tmp_path / "none" / "a.nii.gz", random_data(), GRID)


# --- reading


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_what_is_written_is_read(tmp_path, suffix):
    data = random_data(contrasts=2)
    write_volume(tmp_path / f"a{suffix}", data, GRID, description="noise")
    volume = read_volume(tmp_path / f"a{suffix}")
    np.testing.assert_allclose(volume.data, data, rtol=EPS32)
    np.testing.assert_allclose(volume.affine, GRID.affine(), rtol=0, atol=0.06 * 8 * EPS32)
    np.testing.assert_allclose(volume.spacing, GRID.spacing, rtol=8 * EPS32)
    rotation = volume.geometry.rotation
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-14)  # exactly a rotation again
    assert (volume.description, volume.findings) == ("noise", ())


def orientations():
    rotation = nib.eulerangles.euler2mat(0.3, -0.5, 0.2)
    for name, axes in {
        "RAS": np.eye(3), "LAS": np.diag([-1, 1, 1]), "LPI": np.diag([-1, -1, -1]), "AIL": np.eye(3)[[1, 2, 0]],
        "oblique": rotation, "oblique mirrored": rotation * [1, -1, 1],
    }.items():  # fmt: skip
        yield pytest.param(axes * [1.5, 2.0, 4.0], id=name)


@pytest.mark.parametrize("kind", ["Nifti1Image", "Nifti2Image"])
@pytest.mark.parametrize("axes", list(orientations()))
def test_every_voxel_keeps_its_position(tmp_path, axes, kind):
    """Under nibabel's affine, whatever the order of its axes; an asymmetric object."""
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes, [11, -23, 37]
    values = GENERATOR.normal(size=(5, 4, 3)).astype(np.float32)
    image = getattr(nib, kind)(values, affine)
    nib.save(image, tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    assert np.linalg.det(volume.geometry.rotation) == pytest.approx(1.0)
    index = np.argwhere(np.ones(values.shape))
    theirs = dict(zip(values.ravel(), index @ axes.T + affine[:3, 3], strict=True))
    ours = dict(zip(volume.data.ravel(), volume.grid.positions().reshape(-1, 3) * 1e3, strict=True))
    for value, position in theirs.items():
        np.testing.assert_allclose(ours[value], position, rtol=0, atol=64 * 8 * EPS32)


def test_the_qform_counts_where_there_is_no_sform(tmp_path):
    write_volume(tmp_path / "a.nii", random_data(), GRID)
    raw_header(tmp_path / "a.nii", sform_code=0)
    volume = read_volume(tmp_path / "a.nii")
    np.testing.assert_allclose(volume.affine, GRID.affine(), rtol=0, atol=0.06 * 32 * EPS32)
    assert volume.findings == ()


def test_the_qform_may_be_mirrored(tmp_path):
    image = nib.Nifti1Image(random_data()[0].T, None)
    affine = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.3, -0.5, 0.2) * [1, 2, -3], [1, 2, 3])
    image.set_qform(affine, code=1)
    image.set_sform(None, code=0)
    nib.save(image, tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    (place,) = np.argwhere(image.get_fdata() == volume.data[0, 2, 1, -1])
    assert tuple(place) == (0, 1, 2)  # mirrored: the order along x is turned around
    np.testing.assert_allclose(
        volume.grid.positions()[2, 1, -1] * 1e3, (affine @ [*place, 1])[:3], rtol=0, atol=20 * 8 * EPS32
    )


def test_differing_forms_are_a_finding(tmp_path):
    write_volume(tmp_path / "a.nii", random_data(), GRID)
    raw_header(tmp_path / "a.nii", qoffset_x=13.0)
    (finding,) = read_volume(tmp_path / "a.nii").findings
    assert str(finding) == "orientation: sform and qform of a.nii differ; the sform is taken."


def test_what_a_header_leaves_open_is_a_finding(tmp_path):
    write_volume(tmp_path / "a.nii", random_data(), GRID)
    raw_header(tmp_path / "a.nii", sform_code=0, qform_code=0, xyzt_units=0)
    volume = read_volume(tmp_path / "a.nii")
    assert [finding.topic for finding in volume.findings] == ["unit of length", "orientation"]
    np.testing.assert_allclose(volume.grid.positions()[2, 2, 3], 0.0, atol=1e-9)
    np.testing.assert_allclose(volume.spacing, GRID.spacing, rtol=EPS32)


@pytest.mark.parametrize(("code", "factor"), [(1, 1e3), (3, 1e-3)])
def test_units_of_length(tmp_path, code, factor):
    write_volume(tmp_path / "a.nii", random_data(), GRID)
    header = nib.Nifti1Header((tmp_path / "a.nii").read_bytes()[:348], check=False)
    rows = {f"srow_{axis}": header[f"srow_{axis}"] / factor for axis in "xyz"}
    raw_header(tmp_path / "a.nii", xyzt_units=code, qform_code=0, **rows)
    np.testing.assert_allclose(read_volume(tmp_path / "a.nii").spacing, GRID.spacing, rtol=8 * EPS32)


def test_slope_and_intercept(tmp_path):
    counts = np.arange(120, dtype=np.int16).reshape(1, 4, 5, 6)
    write_volume(tmp_path / "a.nii", counts, GRID)
    assert read_volume(tmp_path / "a.nii").data.dtype == np.int16
    raw_header(tmp_path / "a.nii", scl_slope=0.5, scl_inter=-3.0)
    volume = read_volume(tmp_path / "a.nii")
    np.testing.assert_array_equal(volume.data, 0.5 * counts - 3.0)
    assert volume.data.dtype == np.float32


def test_big_endian_and_extensions(tmp_path):
    values = GENERATOR.normal(size=(4, 3, 2)).astype(np.float32)
    image = nib.Nifti1Image(values, np.diag([1, 1, 1, 1]), header=nib.Nifti1Header(endianness=">"))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 100))
    nib.save(image, tmp_path / "a.nii")
    assert int.from_bytes((tmp_path / "a.nii").read_bytes()[:4], "big") == 348
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii").data[0], values.T)


@pytest.mark.parametrize(
    ("shape", "ours"), [((7,), (1, 1, 1, 7)), ((7, 3), (1, 1, 3, 7)), ((4, 3, 2, 1, 3), (3, 2, 3, 4))]
)
def test_any_number_of_axes(tmp_path, shape, ours):
    nib.save(nib.Nifti1Image(np.ones(shape, dtype=np.float32), np.eye(4)), tmp_path / "a.nii")
    assert read_volume(tmp_path / "a.nii").data.shape == ours


def test_nan_is_refused_unless_wanted(tmp_path):
    data = random_data()
    data[0, 0, 0, :2] = np.nan
    write_volume(tmp_path / "a.nii.gz", data, GRID)
    assert refusal(tmp_path / "a.nii.gz") == (
        "must hold finite values, but 2 of 120 are nan or infinity. Set the background to zero."
    )
    assert np.isnan(read_volume(tmp_path / "a.nii.gz", finite=False).data).sum() == 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dim": [3, 6, 5, 0, 1, 1, 1, 1]}, "must have 1 to 7 axes of at least one voxel, but says 3 axes: 6 x 5 x 0."),
        ({"dim": [3, 6, -5, 4, 1, 1, 1, 1]}, "must have 1 to 7 axes of at least one voxel, but says 3 axes: 6 x -5"),
        ({"dim": [9, 6, 5, 4, 1, 1, 1, 1]}, "must have 1 to 7 axes of at least one voxel, but says 9 axes"),
        ({"dim": [3, 30000, 30000, 30000, 1, 1, 1, 1]}, "must hold up to 536,870,912 voxels, but says 30000 x 30000"),
        ({"dim": [3, 60, 50, 40, 1, 1, 1, 1]}, "must hold the 60 x 50 x 40 voxels that its header says, but is too"),
        ({"datatype": 128}, "must hold integers, floats or complex numbers of up to 64 bits a part, but has datatype"),
        ({"datatype": 77}, "must hold integers, floats or complex numbers of up to 64 bits a part, but has"),
        ({"vox_offset": 12.0}, "must begin its voxels after the header, but vox_offset is 12"),
        ({"vox_offset": np.nan}, "must begin its voxels after the header, but vox_offset is nan"),
        ({"vox_offset": 3e38}, "must begin its voxels after the header, but vox_offset is 3e+38"),
        ({"srow_x": [np.nan, 0, 0, 0]}, "must have a finite sform, but it holds nan or infinity"),
        ({"sform_code": 0, "qoffset_y": np.inf}, "must have a finite qform, but it holds nan or infinity"),
        ({"sform_code": 0, "quatern_b": 3.0}, "must have a quaternion of length one at most, but has none"),
        ({"srow_x": [0, 0, 0, 0], "srow_y": [0, 0, 0, 0]}, "must have voxels of 0.001 to 1000 mm, but has 0 x "),
        ({"srow_x": [5, 0, 0, 0]}, "must have perpendicular axes, but its affine matrix is sheared"),
        ({"scl_slope": 2.0, "scl_inter": np.nan}, "must have a finite scale, but has not"),
        ({"xyzt_units": 7}, "must say meters, millimeters or micrometers, but has unit code 7"),
        ({"magic": b"ni1"}, "must be a NIfTI file in one piece, but is an Analyze file or a pair of .hdr and .img"),
    ],
)  # fmt: skip
def test_a_broken_header_says_what(tmp_path, fields, message):
    path = tmp_path / "a.nii"
    write_volume(path, random_data(), GRID)
    raw_header(path, **fields)
    assert refusal(path).startswith(message)


def test_a_bomb_is_refused(tmp_path):
    """64 MiB of zeros behind a header of 120 voxels: 64 kB of gzip."""
    path = tmp_path / "a.nii.gz"
    write_volume(path, random_data(), GRID)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(2**26)))
    assert refusal(path) == "must end after the voxels that its header says, but goes on. Write it again."


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.nii"
    path.write_bytes(b"\x89HDF\r\n")
    assert refusal(path).startswith("must be a NIfTI file, but does not begin as one. Convert it to .nii.gz")
    path.write_bytes(b"")
    assert refusal(path) == "must be a NIfTI file, but is empty."
    assert refusal(tmp_path / "b.nii") == "must be an existing file, but is not there."


# --- mr.save and mr.load


def make_image(contrasts=2):
    data = random_data(contrasts=contrasts) + 1j * random_data(contrasts=contrasts)
    coordinates = {
        "te": 0.01 * np.arange(1, contrasts + 1),
        "tr": np.full(contrasts, 1.5),
        "ti": np.full(contrasts, np.nan),
        "flip": np.full(contrasts, np.pi / 6),
    }
    return Image(data=data, grid=GRID, coordinates=coordinates, name="megre")


def test_a_complex_image_comes_back(tmp_path):
    image = make_image()
    mr.save(tmp_path / "x.nii.gz", image)
    assert sorted(os.listdir(tmp_path)) == ["x.json", "x.nii.gz", "x_phase.nii.gz"]
    np.testing.assert_allclose(
        nib.load(tmp_path / "x.nii.gz").get_fdata()[3, 2, 1], np.abs(image.data)[:, 1, 2, 3], 1e-6
    )
    back = mr.load(tmp_path / "x.nii.gz")
    assert isinstance(back, Image)
    np.testing.assert_allclose(back.data, image.data, rtol=0, atol=8 * EPS32 * np.abs(image.data).max())
    assert sorted(back.coordinates) == ["flip", "te", "tr"]
    for name, values in back.coordinates.items():
        np.testing.assert_allclose(values, image.coordinates[name], rtol=1e-9)
    assert back.name == "megre"


def test_the_sidecar_has_one_value_or_one_for_each_contrast(tmp_path):
    mr.save(tmp_path / "x.nii.gz", make_image())
    facts = json.loads((tmp_path / "x.json").read_text())
    assert (facts["EchoTime"], facts["RepetitionTime"], facts["FlipAngle"]) == ([0.01, 0.02], 1.5, 30.0)
    assert "InversionTime" not in facts


def test_a_magnitude_has_no_phase_file(tmp_path):
    image = Image(data=np.abs(random_data()), grid=GRID)
    mr.save(tmp_path / "x.nii", image)
    assert sorted(os.listdir(tmp_path)) == ["x.json", "x.nii"]
    assert mr.load(tmp_path / "x.nii", Image).provenance["recon"]["magnitude"] is True


def test_a_map_comes_back(tmp_path):
    data = np.abs(random_data()[0])
    data[0, 0] = np.nan
    mr.save(tmp_path / "x.nii.gz", ParameterMap(name="T1", unit="s", data=data, grid=GRID))
    back = mr.load(tmp_path / "x.nii.gz")
    assert isinstance(back, ParameterMap)
    assert (back.name, back.unit) == ("T1", "s")
    np.testing.assert_allclose(back.data, data, rtol=EPS32)
    np.testing.assert_array_equal(back.mask, np.isfinite(data))
    assert list(mr.load_all(tmp_path / "x.nii.gz")) == ["T1"]


def test_a_map_in_milliseconds_is_read_in_seconds(tmp_path):
    write_volume(tmp_path / "sub-01_T2map.nii.gz", np.full((1, 4, 5, 6), 80.0), GRID)
    (tmp_path / "sub-01_T2map.json").write_text('{"Units": "ms"}')
    back = mr.load(tmp_path / "sub-01_T2map.nii.gz")
    assert (back.name, back.unit) == ("T2", "s")
    np.testing.assert_allclose(back.data, 0.08, rtol=EPS32)


def test_a_sidecar_that_does_not_fit_is_a_finding(tmp_path):
    write_volume(tmp_path / "x.nii.gz", random_data(), GRID)
    (tmp_path / "x.json").write_text('{"EchoTime": [0.1, 0.2], "RepetitionTime": "long", "FlipAngle": 90}')
    image = mr.load(tmp_path / "x.nii.gz")
    assert list(image.coordinates) == ["flip"]
    assert [str(finding) for finding in image.findings] == [
        "sidecar: EchoTime of x.json does not fit 1 contrasts.",
        "sidecar: RepetitionTime of x.json does not fit 1 contrasts.",
    ]


def test_a_broken_sidecar_is_named(tmp_path):
    write_volume(tmp_path / "x.nii.gz", random_data(), GRID)
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ResourceError, match=r"x.json: must be JSON of up to 1,048,576 bytes, but cannot be read"):
        mr.load(tmp_path / "x.nii.gz")


def test_what_nifti_cannot_hold_is_refused(tmp_path):
    point = Phantom.from_arrays(position=[[0.0, 0.0, 0.0]], t1=1.0, t2=0.1)
    for item, what in ((point, "Phantom"), ({"a": make_image(), "b": make_image()}, "2 objects")):
        with pytest.raises(ConsistencyError) as caught:
            mr.save(tmp_path / "x.nii.gz", item)
        assert str(caught.value) == (
            f"{tmp_path / 'x.nii.gz'}: must be one Image or one ParameterMap, but is {what}. Name the file .h5."
        )


def test_the_only_object_of_a_file(tmp_path):
    mr.save(tmp_path / "x.h5", {"a": make_image()})
    assert mr.load(tmp_path / "x.h5").name == "megre"
    mr.save(tmp_path / "x.h5", {"a": make_image(), "b": make_image()})
    with pytest.raises(ResourceError, match=r"must hold one object, but holds a, b. Read them with load_all"):
        mr.load(tmp_path / "x.h5")
