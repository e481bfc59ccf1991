"""DICOM: read back by volume and position, with other readers."""

from __future__ import annotations

import importlib
import os

import numpy as np
import pytest

from mrisim.data import Geometry, Grid, Image, ParameterMap, Phantom
from mrisim.errors import ConsistencyError, ResourceError
from mrisim.io import dicom

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
highdicom = pytest.importorskip("highdicom", reason="the extra dicom is not installed")

EPS32 = float(np.finfo(np.float32).eps)
GENERATOR = np.random.default_rng(5)
OBLIQUE = Geometry(  # read (0.6, 0.8, 0), phase (0, 0, 1), slice (0.8, -0.6, 0)
    rotation=np.array([[0.6, 0.0, 0.8], [0.8, 0.0, -0.6], [0.0, 1.0, 0.0]]),
    center=np.array([0.012, -0.034, 0.056]),
)
GRID = Grid.of((6, 5, 4), (1e-3, 2e-3, 3e-3), OBLIQUE, thickness=2.5e-3)
COORDINATES = {
    "te": np.array([0.01, 0.02]),
    "tr": np.array([1.5, 1.5]),
    "ti": np.array([np.nan, 0.4]),
    "flip": np.full(2, np.pi / 3),
}


def make_image(grid=GRID):
    shape = (2, *grid.shape[::-1])
    data = GENERATOR.normal(size=shape) + 1j * GENERATOR.normal(size=shape)
    return Image(data=data, grid=grid, coordinates=COORDINATES, name="megre")


def make_map(name="T1", unit="s"):
    data = np.abs(GENERATOR.normal(size=GRID.shape[::-1])) + 0.1
    return ParameterMap(name=name, unit=unit, data=data, grid=GRID)


def frames(path):
    """Values, position of the first voxel and the functional groups of every frame, rescaled."""
    ds = pydicom.dcmread(path)
    shared = ds.SharedFunctionalGroupsSequence[0]
    rescale = shared.PixelValueTransformationSequence[0]
    values = ds.pixel_array * float(rescale.RescaleSlope) + float(rescale.RescaleIntercept)
    for i, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
        yield values[i], np.array(group.PlanePositionSequence[0].ImagePositionPatient, float), group


def test_a_voxel_has_the_position_computed_by_hand(tmp_path):
    """Voxel (5, 1) of slice 2: steps (+2, -1, 0) of (1, 2, 3) mm from the center; DICOM negates x and y."""
    image = make_image()
    image.data[0, 2, 1, 5] = 100.0
    dicom.write(tmp_path / "out", image)
    ds = pydicom.dcmread(tmp_path / "out" / "megre.dcm")
    shared = ds.SharedFunctionalGroupsSequence[0]
    directions = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    spacing = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, float)
    found = max(frames(tmp_path / "out" / "megre.dcm"), key=lambda frame: frame[0].max())
    row, column = np.unravel_index(found[0].argmax(), found[0].shape)
    position = found[1] + directions[:3] * spacing[1] * column + directions[3:] * spacing[0] * row
    by_hand = np.array([-(12 + 2 * 0.6), -(-34 + 2 * 0.8), 56 - 2.0])
    np.testing.assert_allclose(position, by_hand, rtol=0, atol=1e-9)


def test_values_of_magnitude_and_phase(tmp_path):
    image = make_image()
    dicom.write(tmp_path / "out", image)
    for name, values in (("megre", np.abs(image.data)), ("megre_phase", np.angle(image.data))):
        found = np.array([frame for frame, _, _ in frames(tmp_path / "out" / f"{name}.dcm")])
        step = np.ptp([values.min(), values.max(), 0.0]) / 65535
        np.testing.assert_allclose(found.reshape(values.shape), values, rtol=0, atol=0.5001 * step)  # half a level


def test_a_zero_image(tmp_path):
    dicom.write(tmp_path / "out", Image(data=np.zeros((1, 4, 5, 6)), grid=GRID, name="none"))
    assert os.listdir(tmp_path / "out") == ["none.dcm"]
    assert all(not frame.any() for frame, _, _ in frames(tmp_path / "out" / "none.dcm"))


def test_times_are_milliseconds_and_angles_degrees(tmp_path):
    dicom.write(tmp_path / "out", make_image())
    group = list(frames(tmp_path / "out" / "megre.dcm"))[-1][2]  # the last slice of the second contrast
    assert group.MREchoSequence[0].EffectiveEchoTime == pytest.approx(20.0)
    assert float(group.MRTimingAndRelatedParametersSequence[0].RepetitionTime) == pytest.approx(1500.0)
    assert float(group.MRTimingAndRelatedParametersSequence[0].FlipAngle) == pytest.approx(60.0)
    assert group.MRModifierSequence[0].InversionTimes == pytest.approx(400.0)
    assert list(group.FrameContentSequence[0].DimensionIndexValues) == [4, 2]


def test_slices_have_their_own_positions(tmp_path):
    uneven = Grid.of((6, 5, 3), (1e-3, 2e-3, 3e-3), OBLIQUE, slice_positions=[-0.01, 0.0, 0.025])
    dicom.write(tmp_path / "out", make_image(uneven))
    places = [place for _, place, _ in frames(tmp_path / "out" / "megre.dcm")]
    slice_direction = np.array([-0.8, 0.6, 0.0])  # in patient axes
    np.testing.assert_allclose((np.array(places[:3]) - places[1]) @ slice_direction, [-10, 0, 25], atol=1e-9)


@pytest.mark.parametrize(
    ("name", "unit", "code", "factor"),
    [("T1", "s", "s", 1.0), ("R2star", "1/s", "/s", 1.0), ("ADC", "m^2/s", "mm2/s", 1e6), ("PD", "1", "1", 1.0)],
)
def test_a_map_is_read_by_volume(tmp_path, name, unit, code, factor):
    """highdicom orders frames its own way; its affine says where they lie."""
    item = make_map(name, unit)
    dicom.write(tmp_path / "out", item)
    volume = highdicom.imread(tmp_path / "out" / f"{name}.dcm").get_volume()
    index = np.argwhere(np.ones(volume.array.shape))
    theirs = (index @ volume.affine[:3, :3].T + volume.affine[:3, 3]) * [-1e-3, -1e-3, 1e-3]
    at = {tuple(np.round(position, 6)): value for position, value in zip(theirs, volume.array.ravel(), strict=True)}
    for position, value in zip(item.grid.positions().reshape(-1, 3), item.data.ravel(), strict=True):
        assert at[tuple(np.round(position, 6) + 0.0)] == pytest.approx(value * factor, rel=2 * EPS32)
    ds = pydicom.dcmread(tmp_path / "out" / f"{name}.dcm")
    mapping = ds.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == code
    assert "ReferencedSOPInstanceUID" not in str(ds).replace(" ", "")  # of an image that is no file


def test_directions_are_a_map_for_each_component(tmp_path):
    data = GENERATOR.normal(size=(*GRID.shape[::-1], 3))
    paths = dicom.write(tmp_path / "out", {"V1": ParameterMap(name="V1", unit="1", data=data, grid=GRID)})
    assert [path.name for path in paths] == ["V1_x.dcm", "V1_y.dcm", "V1_z.dcm"]
    for i, path in enumerate(paths):
        found = highdicom.imread(path).get_volume().array
        assert np.sort(found.ravel()) == pytest.approx(np.sort(data[..., i].ravel()), rel=2 * EPS32)


def test_background_of_a_map_is_padding(tmp_path):
    item = make_map()
    item.data[0, 0] = np.nan
    dicom.write(tmp_path / "out", item)
    ds = pydicom.dcmread(tmp_path / "out" / "T1.dcm")
    assert ds.FloatPixelPaddingValue == 0.0
    assert (ds.pixel_array == 0.0).sum() == 6


def test_files_of_one_call_are_one_study(tmp_path):
    paths = dicom.write(tmp_path / "out", {"a": make_image(), "b": make_map()})
    assert [path.name for path in paths] == ["a.dcm", "a_phase.dcm", "b.dcm"]
    every = [pydicom.dcmread(path) for path in paths]
    assert len({ds.StudyInstanceUID for ds in every}) == len({ds.FrameOfReferenceUID for ds in every}) == 1
    assert len({ds.SeriesInstanceUID for ds in every}) == len({ds.SOPInstanceUID for ds in every}) == 3


def test_a_folder_with_files_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(ResourceError) as caught:
        dicom.write(tmp_path, make_image())
    assert str(caught.value) == f"{tmp_path}: must be a new or an empty folder, but is not. Choose another place."
    assert os.listdir(tmp_path) == ["mine.txt"]


def test_all_problems_at_once_and_nothing_written(tmp_path):
    broken = make_image()
    broken.data[0, 0, 0, 0] = np.nan
    point = Phantom.from_arrays(position=[[0.0, 0.0, 0.0]], t1=1.0, t2=0.1)
    with pytest.raises(ConsistencyError) as caught:
        dicom.write(tmp_path / "out", {"a": broken, "b": point})
    assert str(caught.value).splitlines() == [
        "a: must be finite, but holds nan or infinity.",
        "b: must be an Image or a ParameterMap, but is Phantom. Name the file .h5.",
    ]
    assert os.listdir(tmp_path) == []


def test_without_the_extra_the_message_says_how_to_install_it(tmp_path, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ResourceError) as caught:
        dicom.write(tmp_path / "out", make_image())
    assert str(caught.value) == (
        'must have pydicom and highdicom to write DICOM, but they are not installed. Run pip install "mrisim[dicom]".'
    )
