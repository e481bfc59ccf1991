"""ISMRMRD files: what the package of the format's authors reads in ours, and what comes back."""

from __future__ import annotations

from dataclasses import replace

import h5py
import ismrmrd
import numpy as np
import pytest
from ismrmrd import xsd

import mrisim as mr
from mrisim.data import Geometry, RawData, ReadoutTable, ReconSpec
from mrisim.errors import ConsistencyError, ResourceError
from mrisim.events.readouts import readout_table
from mrisim.io.mrd import is_mrd, load_mrd, save_mrd
from mrisim.recon import reconstruct

F32 = np.finfo(np.float32).eps
TILTED = Geometry(
    rotation=np.array([[0.8, -0.48, 0.36], [0.6, 0.64, -0.48], [0.0, 0.6, 0.8]]),
    center=np.array([0.012, -0.034, 0.056]),
)


def table_of(labels, count, **columns):
    """Readouts of equal length, one every 10 ms."""
    n = len(next(iter(labels.values())))
    times = {name: np.full(n, np.nan) for name in ("te", "ti", "tr", "flip")} | columns
    return ReadoutTable(
        start=count * np.arange(n), count=np.full(n, count), dwell=np.full(n, 8e-6), labels=labels, **times
    )


def scan(matrix=(12, 10, 1), fov=(0.24, 0.2, 4e-3), *, oversampling=1, slices=(0.0,), echoes=1, averages=1, coils=1,
         geometry=TILTED, reverse=False, **more):  # fmt: skip
    """Raw data whose samples are all different, with every label that the arguments ask for."""
    nx, ny, nz = matrix
    loops = np.meshgrid(*[np.arange(n) for n in (averages, len(slices), nz, ny, echoes)], indexing="ij")
    average, slice_, partition, line, echo = (values.ravel() for values in loops)
    sign = np.where(reverse & (line % 2 == 1), -1, 1)
    width = nx * oversampling
    x = (np.arange(width) - width // 2) / (fov[0] * oversampling)
    x = np.where(sign[:, None] > 0, x, x[::-1])
    logical = np.zeros((len(line), width, 3))
    logical[..., 0] = x
    logical[..., 1] = ((line - ny // 2) / fov[1])[:, None]
    if nz > 1:
        logical[..., 2] = ((partition - nz // 2) / fov[2])[:, None]
    rng = np.random.default_rng(5)
    n = len(line) * width
    signal = (rng.normal(size=(coils, n)) + 1j * rng.normal(size=(coils, n))).astype(np.complex64)
    labels = {"LIN": line, "PAR": partition, "SLC": slice_, "ECO": echo, "AVG": average, "REV": (sign < 0).astype(int)}
    table = table_of(
        labels, width, te=0.01 * (1 + echo), tr=np.full(len(line), 0.5), flip=np.full(len(line), np.radians(30))
    )
    time = (0.01 * np.arange(len(line))[:, None] + 8e-6 * np.arange(width)).ravel()
    spec = ReconSpec(method="cartesian", matrix=matrix, fov=fov, slice_positions=np.array(slices, dtype=float))
    k = logical.reshape(-1, 3) @ geometry.rotation.T
    return replace(RawData(signal=signal, k=k, time=time, readouts=table, geometry=geometry, recon=spec), **more)


SCANS = {
    "plain": {},
    "oversampled, coils": {"oversampling": 2, "coils": 3},
    "slices, echoes": {"slices": (0.01, -0.01, 0.0), "echoes": 2},
    "averages, reversed lines": {"averages": 2, "reverse": True},
    "three dimensions": {"matrix": (12, 10, 6), "fov": (0.24, 0.2, 0.09)},
    "odd": {"matrix": (11, 9, 5), "fov": (0.24, 0.2, 0.09), "oversampling": 3},
}


@pytest.mark.parametrize("name", SCANS)
def test_what_was_written_comes_back(name, tmp_path):
    raw = scan(**SCANS[name])
    save_mrd(tmp_path / "scan.mrd", raw, b0=1.5)
    back = load_mrd(tmp_path / "scan.mrd")
    np.testing.assert_array_equal(back.signal, raw.signal)
    np.testing.assert_allclose(back.k, raw.k, rtol=0, atol=1e-6 * np.abs(raw.k).max())  # directions have 24 bits
    np.testing.assert_allclose(back.time, raw.time, rtol=0, atol=1e-9 + 12 * 3 * 8e-6 * F32)  # nanoseconds, dwell
    for label in raw.labels:
        np.testing.assert_array_equal(back.readouts.label(label), raw.readouts.label(label), err_msg=label)
    for column in ("dwell", "te", "ti", "tr", "flip"):
        np.testing.assert_allclose(getattr(back.readouts, column), getattr(raw.readouts, column), rtol=F32)
    image, expected = reconstruct(back), reconstruct(raw)
    np.testing.assert_allclose(image.data, expected.data, rtol=0, atol=10 * F32 * np.abs(expected.data).max())
    np.testing.assert_allclose(image.grid.positions(), expected.grid.positions(), rtol=0, atol=1e-7)  # of 0.2 m
    assert back.provenance["b0"] == 1.5


def test_header_is_complete(tmp_path):
    raw = scan(oversampling=2, coils=3, slices=(0.01, -0.01), echoes=2, provenance={"sequence": "gre"})
    assert save_mrd(tmp_path / "scan.mrd", raw, b0=1.5) == ()
    with ismrmrd.Dataset(tmp_path / "scan.mrd", mode="r") as file:
        header = xsd.CreateFromDocument(file.read_xml_header())
    encoding, system = header.encoding[0], header.acquisitionSystemInformation
    size = encoding.encodedSpace.matrixSize
    assert (size.x, size.y, size.z) == (24, 10, 1)
    size = encoding.reconSpace.matrixSize
    assert (size.x, size.y, size.z) == (12, 10, 1)
    fov = encoding.encodedSpace.fieldOfView_mm
    assert (fov.x, fov.y, fov.z) == (480.0, 200.0, 4.0)
    fov = encoding.reconSpace.fieldOfView_mm
    assert (fov.x, fov.y, fov.z) == (240.0, 200.0, 4.0)
    limits = encoding.encodingLimits
    assert (limits.kspace_encoding_step_1.maximum, limits.kspace_encoding_step_1.center) == (9, 5)
    assert (limits.slice.maximum, limits.contrast.maximum, limits.average.maximum) == (1, 1, 0)
    assert (system.systemVendor, system.systemFieldStrength_T, system.receiverChannels) == ("mrisim", 1.5, 3)
    assert header.experimentalConditions.H1resonanceFrequency_Hz == pytest.approx(1.5 * 42.577478e6, rel=1e-6)
    assert header.measurementInformation.patientPosition.value == "HFS"
    assert header.measurementInformation.protocolName == "gre"
    times = header.sequenceParameters
    assert (times.TE, times.TR, times.TI) == ([10.0, 20.0], [500.0], [])
    assert times.flipAngle_deg == pytest.approx([30.0])
    assert encoding.trajectory.value == "cartesian"


def test_echo_spacing_is_that_of_the_train(tmp_path):
    sequence = mr.load_sequence("multi_echo_se", matrix=[12, 10], echoes=3)
    k, time = sequence.kspace()
    raw = RawData(
        signal=np.ones((1, len(k)), complex), k=k, time=time, readouts=readout_table(sequence), recon=sequence.recon
    )
    save_mrd(tmp_path / "scan.mrd", raw)
    with ismrmrd.Dataset(tmp_path / "scan.mrd", mode="r") as file:
        times = xsd.CreateFromDocument(file.read_xml_header()).sequenceParameters
    assert times.echo_spacing == pytest.approx(np.diff(times.TE)[:1])


def test_positions_are_left_posterior_superior(tmp_path):
    raw = scan(slices=(0.01, -0.02))
    save_mrd(tmp_path / "scan.mrd", raw)
    with ismrmrd.Dataset(tmp_path / "scan.mrd", mode="r") as file:
        heads = [file.read_acquisition(i).getHead() for i in range(file.number_of_acquisitions())]
    for head in heads:
        physical = TILTED.center + TILTED.rotation[:, 2] * (0.01, -0.02)[head.idx.slice]
        assert list(head.position) == pytest.approx(list(physical * [-1e3, -1e3, 1e3]), rel=1e-6)  # mm
        for axis, name in enumerate(("read_dir", "phase_dir", "slice_dir")):
            assert list(getattr(head, name)) == pytest.approx(list(TILTED.rotation[:, axis] * [-1, -1, 1]), abs=1e-7)
        assert np.cross(list(head.read_dir), list(head.phase_dir)) == pytest.approx(list(head.slice_dir), abs=1e-6)


def test_flags_follow_from_labels(tmp_path):
    raw = scan((8, 6, 1), reverse=True, slices=(0.0, 0.01))
    labels = dict(raw.readouts.labels)
    n = len(raw.readouts)
    labels["NAV"] = np.where(np.arange(n) == 4, 1, 0)
    labels["REF"] = np.where(np.arange(n) < 2, 1, 0)
    labels["IMA"] = np.where(np.arange(n) == 1, 1, 0)
    raw = replace(raw, readouts=replace(raw.readouts, labels=labels))
    save_mrd(tmp_path / "scan.mrd", raw)
    with ismrmrd.Dataset(tmp_path / "scan.mrd", mode="r") as file:
        found = [file.read_acquisition(i) for i in range(n)]

    def where(flag):
        return [i for i, acquisition in enumerate(found) if acquisition.is_flag_set(flag)]

    assert where(ismrmrd.ACQ_IS_REVERSE) == np.flatnonzero(labels["REV"]).tolist()
    assert where(ismrmrd.ACQ_IS_NAVIGATION_DATA) == [4]
    assert where(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION) == [0]
    assert where(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING) == [1]
    assert where(ismrmrd.ACQ_FIRST_IN_SLICE) == [1, 6]  # the first is calibration alone
    assert where(ismrmrd.ACQ_LAST_IN_SLICE) == [5, 11]
    assert where(ismrmrd.ACQ_LAST_IN_ENCODE_STEP1) == [5, 11]
    assert where(ismrmrd.ACQ_LAST_IN_REPETITION) == where(ismrmrd.ACQ_LAST_IN_MEASUREMENT) == [11]
    assert [a.center_sample for a in found[:2]] == [4, 3]  # the second is reversed: k = 0 one sample earlier
    back = load_mrd(tmp_path / "scan.mrd")
    for label in ("NAV", "REF", "IMA", "REV"):
        np.testing.assert_array_equal(back.readouts.label(label), labels[label])


def test_added_noise_has_its_measurement(tmp_path):
    raw = scan(coils=2, provenance={"noise": 0.25, "seed": 3})
    save_mrd(tmp_path / "scan.mrd", raw)
    with ismrmrd.Dataset(tmp_path / "scan.mrd", mode="r") as file:
        noise = file.read_acquisition(0)
        assert noise.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        assert not file.read_acquisition(1).is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    parts = np.stack([noise.data.real, noise.data.imag])
    assert parts.std(axis=(1, 2)) == pytest.approx(
        [0.25, 0.25], rel=4 / np.sqrt(2 * parts[0].size)
    )  # 4 standard errors
    np.testing.assert_array_equal(reconstruct(load_mrd(tmp_path / "scan.mrd")).data, reconstruct(raw).data)


def test_samples_that_are_no_grid_carry_their_trajectory(tmp_path):
    angle = np.repeat(np.pi * np.arange(7) / 7, 8)
    radius = np.tile(np.arange(8) - 4, 7) / 0.24
    logical = np.stack([radius * np.cos(angle), radius * np.sin(angle), 0 * radius], axis=1)
    table = table_of({"LIN": np.arange(7)}, 8)
    raw = RawData(
        signal=np.arange(56)[None] + 1j, k=logical @ TILTED.rotation.T, time=np.arange(56) * 1e-5, readouts=table,
        geometry=TILTED, provenance={"matrix": (8, 8, 1), "fov": (0.24, 0.24, 5e-3)},
    )  # fmt: skip
    save_mrd(tmp_path / "radial.mrd", raw)
    with ismrmrd.Dataset(tmp_path / "radial.mrd", mode="r") as file:
        assert file.read_acquisition(0).traj[0, 0] == pytest.approx(-0.5)  # cycles per voxel
        assert xsd.CreateFromDocument(file.read_xml_header()).encoding[0].trajectory.value == "other"
    back = load_mrd(tmp_path / "radial.mrd")
    np.testing.assert_allclose(
        back.k, raw.k, rtol=0, atol=2e-6 * np.abs(raw.k).max()
    )  # trajectory, directions: 24 bits
    assert (back.recon.method, back.recon.matrix) == ("gridding", (8, 8, 1))
    np.testing.assert_allclose(back.recon.fov, (0.24, 0.24, 5e-3), rtol=1e-12)


def test_samples_beside_the_grid_come_back(tmp_path):
    raw = scan()
    raw = replace(raw, recon=None, k=raw.k + TILTED.rotation[:, 0] * 0.5 / 0.24, provenance={"fov": (0.24, 0.2, 4e-3)})
    save_mrd(tmp_path / "half.mrd", raw)
    back = load_mrd(tmp_path / "half.mrd")
    np.testing.assert_allclose(back.k, raw.k, rtol=0, atol=2e-6 * np.abs(raw.k).max())
    expected = reconstruct(raw).data
    scale = np.abs(expected).max() * 4e-3 / 5e-3  # nothing told the thickness
    found = reconstruct(back).data
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * scale)


def test_files_are_known_by_their_content(tmp_path):
    raw = scan()
    save_mrd(tmp_path / "scan.h5", raw)
    mr.save(tmp_path / "own.h5", raw)
    assert is_mrd(tmp_path / "scan.h5")
    assert not is_mrd(tmp_path / "own.h5")


def test_what_is_left_behind_is_said(tmp_path):
    raw = scan(sensitivities=np.ones((1, 1, 10, 12), complex))
    assert [str(finding) for finding in save_mrd(tmp_path / "scan.mrd", raw)] == [
        "ISMRMRD: coil sensitivities have no place in the file and stay behind.",
        "ISMRMRD: nothing tells the field strength, and 3 T is written.",
    ]


TOO_LARGE = {
    "label REP": {"REP": 65536},
    "label SEG": {"SEG": 70000},
    "label SET": {"SET": -1},
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_counts_beyond_16_bits_are_refused(name, tmp_path):
    raw = scan()
    label, value = next(iter(TOO_LARGE[name].items()))
    labels = {**raw.readouts.labels, label: np.full(len(raw.readouts), value)}
    with pytest.raises(ConsistencyError) as caught:
        save_mrd(tmp_path / "scan.mrd", replace(raw, readouts=replace(raw.readouts, labels=labels)))
    rule = f"must be at most 65535 in ISMRMRD, but is {value}. Split the scan."
    if value < 0:
        rule = f"must not be negative in ISMRMRD, but is {value}."
    assert str(caught.value) == f"{tmp_path / 'scan.mrd'}: {name}: {rule}"
    assert list(tmp_path.iterdir()) == []


def test_long_readouts_are_refused(tmp_path):
    n = 65536
    k = np.zeros((n, 3))
    k[:, 0] = (np.arange(n) - n // 2) / 0.24
    raw = RawData(
        signal=np.ones((1, n), np.complex64), k=k, time=np.arange(n) * 1e-6,
        readouts=table_of({"LIN": np.zeros(1, int)}, n),
        recon=ReconSpec(method="cartesian", matrix=(n, 1, 1), fov=(0.24, 0.24, 5e-3)),
    )  # fmt: skip
    with pytest.raises(ConsistencyError) as caught:
        save_mrd(tmp_path / "scan.mrd", raw)
    assert [problem.path for problem in caught.value.problems] == ["samples of a readout", "recon.matrix"]


def test_place_that_cannot_be_written(tmp_path):
    with pytest.raises(ResourceError, match=r"scan.mrd: must be writable, but is not \(No such file or directory\)"):
        save_mrd(tmp_path / "missing" / "scan.mrd", scan())


def altered(path, change):
    """A file whose acquisitions went through `change`, which gets heads to write into."""
    with h5py.File(path, "r+") as file:
        table = file["dataset/data"][:]
        change(table["head"])
        file["dataset/data"][:] = table


FOREIGN = {
    "no center_sample": (
        lambda head: head["center_sample"].fill(0),
        "trajectory: no acquisition has a center_sample, and 6 is taken.",
    ),
    "no directions": (
        lambda head: [head[name].fill(0) for name in ("read_dir", "phase_dir", "slice_dir")],
        "orientation: the file has no directions; read is taken as x, phase as y.",
    ),
    "left-handed": (
        lambda head: np.negative(head["slice_dir"], out=head["slice_dir"]),
        "orientation: slice_dir is opposite to read × phase, and the latter is taken; the order of slices stays.",
    ),
    "another encoding": (
        lambda head: head["encoding_space_ref"].put(9, 1),
        "ISMRMRD: 1 acquisitions of other encodings than the first are left out.",
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_others_leave_out_is_said(name, tmp_path):
    change, message = FOREIGN[name]
    save_mrd(tmp_path / "scan.mrd", scan())
    altered(tmp_path / "scan.mrd", change)
    raw = load_mrd(tmp_path / "scan.mrd")
    assert [str(finding) for finding in raw.findings] == [message]
    assert reconstruct(raw).data.shape == (1, 1, 10, 12)


def test_samples_to_discard_are_discarded(tmp_path):
    """Readouts that are longer than k-space, as some scanners write them."""
    raw = scan((12, 10, 1), oversampling=2)
    spec = replace(raw.recon, matrix=(24, 10, 1), fov=(0.48, 0.2, 4e-3))
    save_mrd(tmp_path / "scan.mrd", replace(raw, recon=spec))

    def change(head):
        head["discard_pre"].fill(3)
        head["discard_post"].fill(2)

    altered(tmp_path / "scan.mrd", change)
    back = load_mrd(tmp_path / "scan.mrd")
    assert back.readouts.count.tolist() == [19] * 10
    wide = scan((12, 10, 1), oversampling=2)
    kept = (np.arange(24) >= 3) & (np.arange(24) < 22)
    expected = reconstruct(replace(raw, recon=spec, signal=wide.signal * np.tile(kept, 10)))
    np.testing.assert_allclose(reconstruct(back).data, expected.data, rtol=0, atol=1e-5 * np.abs(expected.data).max())
