"""Mutated ISMRMRD files: each is read or refused by name, in seconds, without a warning and without other errors."""

from __future__ import annotations

import resource
import time
from dataclasses import replace

import h5py
import numpy as np
import pytest

from mrisim.data import RawData, ReadoutTable, ReconSpec
from mrisim.errors import MrisimError, ResourceError
from mrisim.io.mrd import load_mrd, save_mrd
from mrisim.recon import reconstruct

SECONDS = 5.0
MEMORY = 2**29  # bytes that reading a file of 50 kB may add at its peak


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A file of two coils, two echoes and a noise measurement."""
    nx, ny, echoes = 12, 10, 2
    line, echo = np.repeat(np.arange(ny), echoes), np.tile(np.arange(echoes), ny)
    kx = np.tile((np.arange(nx) - nx // 2) / 0.24, len(line))
    ky = np.repeat((line - ny // 2) / 0.2, nx)
    nothing = np.full(len(line), np.nan)
    table = ReadoutTable(
        start=nx * np.arange(len(line)), count=np.full(len(line), nx), dwell=np.full(len(line), 5e-6),
        te=0.01 * (1.0 + echo), ti=nothing, tr=nothing, flip=nothing, labels={"LIN": line, "ECO": echo},
    )  # fmt: skip
    rng = np.random.default_rng(1)
    signal = rng.normal(size=(2, len(kx))) + 1j * rng.normal(size=(2, len(kx)))
    raw = RawData(
        signal=signal, k=np.stack([kx, ky, 0 * kx], axis=1), time=np.arange(len(kx)) * 5e-6, readouts=table,
        recon=ReconSpec(method="cartesian", matrix=(nx, ny, 1), fov=(0.24, 0.2, 5e-3)), provenance={"noise": 0.1},
    )  # fmt: skip
    path = tmp_path_factory.mktemp("mrd") / "good.mrd"
    save_mrd(path, raw)
    return path


def mutate(content, seed):
    """Cut short, single bytes changed, a run of bytes changed, or a count made absurd."""
    rng = np.random.default_rng(seed)
    data = bytearray(content)
    kind = seed % 4
    if kind == 0:
        return bytes(data[: rng.integers(0, len(data))])
    if kind == 1:
        for place in rng.integers(0, len(data), rng.integers(1, 9)):
            data[place] = rng.integers(0, 256)
    elif kind == 2:
        place, length = rng.integers(0, len(data) - 64), rng.integers(1, 64)
        data[place : place + length] = rng.integers(0, 256, length).astype(np.uint8).tobytes()
    else:
        place = rng.integers(0, 6000)
        data[place : place + 8] = b"\xff" * 8
    return bytes(data)


@pytest.mark.parametrize("part", range(4))
def test_a_mutated_file_is_read_or_refused(part, good, tmp_path):
    content, path = good.read_bytes(), tmp_path / "mutated.mrd"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    refused, messages = 0, []
    for seed in range(part, 48, 4):
        path.write_bytes(mutate(content, seed))
        begin = time.perf_counter()
        try:
            reconstruct(load_mrd(path))
        except MrisimError as error:  # of samples that make no image where the file is sound
            refused += 1
            messages.append(str(error) if isinstance(error, ResourceError) else str(path))
        assert time.perf_counter() - begin < SECONDS, seed
    assert refused > 0
    assert [message for message in messages if not message.startswith(str(path))] == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before < MEMORY
    assert [file.name for file in tmp_path.iterdir()] == ["mutated.mrd"]


def header(file, old, new):
    text = file["dataset/xml"][0].decode()
    assert old in text
    file["dataset/xml"][0] = text.replace(old, new, 1).encode()


def heads(file, change):
    table = file["dataset/data"][:]
    change(table)
    file["dataset/data"][:] = table


def claim_rows(file):
    file["dataset/data"].resize((10**9,))


def wrong_types(file):
    del file["dataset/data"]
    file["dataset"].create_dataset("data", data=np.arange(5.0))


def no_number(table):
    table["data"][3][5] = np.nan


def fewer_samples(table):
    table["data"][3] = table["data"][3][:-2]


def claim_samples(table):
    table["head"]["number_of_samples"] = 65535


def other_channels(table):
    table["head"]["active_channels"][3] = 5


def bent(table):
    table["head"]["read_dir"] *= 0.5


BROKEN = {
    "matrix of 1e9": (
        lambda f: header(f, "<x>12</x>", "<x>1000000000</x>"),
        ("dataset/xml: encoding.encodedSpace.matrixSize.x: must be a whole number from 1 to 65535, but is 1000000000. "
         "Correct the header."),
    ),
    "matrix of 4e9 voxels": (
        lambda f: (header(f, "<x>12</x>", "<x>65000</x>"), header(f, "<y>10</y>", "<y>65000</y>")),
        "dataset/xml: encoding.encodedSpace.matrixSize: must have at most 2,147,483,648 voxels, but has 4,225,000,000.",
    ),
    "matrix of no number": (
        lambda f: header(f, "<y>10</y>", "<y>ten</y>"),
        "dataset/xml: encoding.encodedSpace.matrixSize.y: must be a whole number from 1 to 65535, but is 'ten'.",
    ),
    "matrix missing": (
        lambda f: header(f, "<y>10</y>", ""),
        "dataset/xml: encoding.encodedSpace.matrixSize.y: must be a whole number from 1 to 65535, but is missing.",
    ),
    "no field of view": (
        lambda f: header(f, "<x>240.0</x>", "<x>nan</x>"),
        "dataset/xml: encoding.encodedSpace.fieldOfView_mm.x: must be a number from 0.001 to 100000, but is nan.",
    ),
    "no XML": (
        lambda f: header(f, "<ismrmrdHeader", "<<"),
        "dataset/xml: must be XML, but is not (",
    ),
    "entities": (
        lambda f: header(f, "<ismrmrdHeader", '<!DOCTYPE a [<!ENTITY b "bbbb">]><ismrmrdHeader'),
        "dataset/xml: must be plain XML, but declares a document type. Remove the declaration.",
    ),
    "something else": (
        lambda f: f["dataset/xml"].__setitem__(0, b"<a/>"),
        "dataset/xml: must be an ismrmrdHeader, but is 'a'. Write the header again.",
    ),
    "no acquisitions": (
        lambda f: f["dataset"].__delitem__("data"),
        ("must hold ISMRMRD raw data, a group with 'xml' and 'data', but holds none. Write it with save_mrd."),
    ),
    "empty": (
        lambda f: f["dataset/data"].resize((0,)),
        "dataset/data: must hold acquisitions, but holds none.",
    ),
    "a billion rows": (
        claim_rows,
        "dataset/data: must hold the acquisitions that it claims, 1,000,000,000, but does not.",
    ),
    "wrong types": (
        wrong_types,
        "dataset/data: must be a table of acquisitions with head, traj and data, but lacks head, traj, data.",
    ),
    "nan": (
        lambda f: heads(f, no_number),
        "dataset/data: acquisition 3 must be finite and below 1e+15, but holds nan, infinity or more.",
    ),
    "fewer samples": (
        lambda f: heads(f, fewer_samples),
        "dataset/data: acquisition 3 must hold 48 numbers and 0 of its trajectory, but holds 46 and 0.",
    ),
    "claimed samples": (
        lambda f: heads(f, claim_samples),
        "dataset/data: must hold the 5,504,940 numbers that its heads claim, but the file has",
    ),
    "channels": (
        lambda f: heads(f, other_channels),
        "dataset/data: must have one number of channels, at least 1, but has 2, 5.",
    ),
    "directions": (
        lambda f: heads(f, bent),
        "dataset/data: read_dir, phase_dir and slice_dir must be perpendicular unit vectors, but are not.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_the_message_names_file_and_section(name, good, tmp_path):
    change, message = BROKEN[name]
    path = tmp_path / "broken.mrd"
    path.write_bytes(good.read_bytes())
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(ResourceError) as caught:
        load_mrd(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_all_problems_of_a_header_come_at_once(good, tmp_path):
    path = tmp_path / "broken.mrd"
    path.write_bytes(good.read_bytes())
    with h5py.File(path, "r+") as file:
        header(file, "<x>12</x>", "<x>0</x>")
        header(file, "<y>200.0</y>", "")
    with pytest.raises(ResourceError) as caught:
        load_mrd(path)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "HDF5: must be a HDF5 file, but is not. Get the file again."),
        (b"not a file of this kind", "HDF5: must be a HDF5 file, but is not. Get the file again."),
        (b"\x89HDF\r\n\x1a\n", "HDF5: must be a complete HDF5 file, but cannot be read ("),
    ],
)
def test_what_is_no_hdf5_is_refused(content, message, tmp_path):
    path = tmp_path / "some.mrd"
    path.write_bytes(content)
    with pytest.raises(ResourceError) as caught:
        load_mrd(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ResourceError) as caught:
        load_mrd(tmp_path / "none.mrd")
    assert (
        str(caught.value) == f"{tmp_path / 'none.mrd'}: must be an existing file, but is not there. Correct the path."
    )


def test_samples_that_make_no_image_are_not_written(good, tmp_path):
    raw = load_mrd(good)
    with pytest.raises(MrisimError):
        save_mrd(tmp_path / "scan.mrd", replace(raw, signal=raw.signal * np.nan))
    assert list(tmp_path.iterdir()) == []
