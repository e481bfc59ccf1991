"""Whatever a phantom's file holds, nothing but a typed error comes out of it, soon and in little memory."""

from __future__ import annotations

import gzip
import random
import resource
import time
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from unit.io.phantoms.phantom_files import write_jemris, write_koma, write_mrzero

from mrisim.data import Grid, Phantom
from mrisim.errors import MrisimError, ResourceError
from mrisim.io.nifti import write_volume
from mrisim.io.phantoms import load_model

SECONDS = 5.0  # for one broken file
MEGABYTES = 300  # that reading a broken file of some kilobytes may add to the process
MUTATIONS = 300  # of each file
MAPS = """mrisim: 1
phantom: seed
field: 3 T
interpolation: linear
maps:
  T1: {file: t1.nii.gz, unit: ms}
  T2: {file: t2.nii.gz, unit: ms}
labels: {file: seg.nii.gz, tissues: {1: white_matter}}
"""


def write_maps(path: Path) -> None:
    grid = Grid.of((4, 4, 2), (2e-3, 2e-3, 4e-3))
    write_volume(path.parent / "t1.nii.gz", np.full((1, 2, 4, 4), 900.0), grid)
    write_volume(path.parent / "t2.nii.gz", np.full((1, 2, 4, 4), 80.0), grid)
    path.write_text(MAPS.split("labels")[0])


WRITERS = {"a.phantom": write_koma, "a.h5": write_jemris, "a.npz": write_mrzero, "a.yaml": write_maps}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def _load(path: Path) -> str:
    """Load and sample; "" or the error's text. Anything but a typed error goes through."""
    started = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = load_model(path)
            if not isinstance(model, Phantom):
                model.sample(model.sampling(voxel=5e-3))
        text = ""
    except MrisimError as error:
        text = str(error)
        assert text, "an error must say something"
    assert time.perf_counter() - started < SECONDS
    return text


def _mutated(content: bytes, generator: random.Random) -> bytes:
    data = bytearray(content)
    kind = generator.randrange(5)
    if kind == 0:
        return bytes(data[: generator.randrange(len(data))])
    if kind == 1:
        start = generator.randrange(len(data))
        del data[start : start + generator.randrange(1, 64)]
        return bytes(data)
    if kind == 2:
        start = generator.randrange(len(data))
        data[start : start + 8] = generator.choice([b"\xff" * 8, b"\0" * 8, b"\x7f" + b"\xff" * 7, b"\0" * 7 + b"\xf0"])
        return bytes(data)
    for _ in range(generator.choice([1, 1, 4, 40])):
        data[generator.randrange(len(data))] = generator.randrange(256)
    return bytes(data)


@pytest.mark.parametrize("name", WRITERS)
def test_mutated_files_raise_typed_errors_only(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    assert _load(path) == ""
    content, generator = path.read_bytes(), random.Random(name)
    before, refused = _peak(), 0
    for _ in range(MUTATIONS):
        path.write_bytes(_mutated(content, generator))
        text = _load(path)
        refused += bool(text)
        assert not text or name in text or ".nii" in text
    assert refused > MUTATIONS / 10, "mutations must break something"
    assert _peak() - before < MEGABYTES


def test_mutated_volumes_of_a_phantom_raise_typed_errors_only(tmp_path: Path) -> None:
    path, volume = tmp_path / "a.yaml", tmp_path / "t1.nii.gz"
    write_maps(path)
    content, generator, refused = gzip.decompress(volume.read_bytes()), random.Random(1), 0
    for _ in range(MUTATIONS):
        volume.write_bytes(gzip.compress(_mutated(content, generator)))
        refused += bool(_load(path))
    assert refused > MUTATIONS / 10


def _archive(path: Path, header: str, body: bytes) -> None:
    text = header.encode("latin1") + b"\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("PD_map.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }", "must hold up to 134,217,728 values"),
        (
            "{'descr': '<f8', 'fortran_order': False, 'shape': (50000000,), }",
            "must hold the 50000000 values that it says, but is st",
        ),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (0, 9), }", "must hold values, but is empty"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (-4, 9), }", "must have a shape, but has"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (4,), }", "must hold numbers, but holds Python objects"),
        ("{'descr': '<U4', 'fortran_order': False, 'shape': (4,), }", "must hold numbers, but holds <U4"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (8,), }", "must be complete, but ends 32 bytes early"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", "must end after its 2 values, but goes on"),
        ("(" * 500, "must be a NumPy array, but its header is not one"),
        ("__import__('os')", "must be a NumPy array, but its header is not one"),
    ],
)
def test_archives_that_claim_what_they_do_not_hold_are_refused(header: str, message: str, tmp_path: Path) -> None:
    _archive(tmp_path / "a.npz", header, bytes(32))
    text = _load(tmp_path / "a.npz")
    assert f"a.npz: PD_map: {message}" in text


def test_a_zip_bomb_stays_small_in_memory(tmp_path: Path) -> None:
    """100 MB of zeros that the header does not announce are never read."""
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (4,), }"
    _archive(tmp_path / "a.npz", header, bytes(100_000_000))
    before = _peak()
    assert "must end after its 4 values, but goes on" in _load(tmp_path / "a.npz")
    assert _peak() - before < 50


@pytest.mark.parametrize(("name", "dataset"), [("a.phantom", "position/x"), ("a.h5", "sample/data")])
def test_datasets_that_claim_what_they_do_not_hold_are_refused(name: str, dataset: str, tmp_path: Path) -> None:
    path = tmp_path / name
    before = _peak()
    for shape, chunks, message in (
        ((10**12, 5), (1000, 5), "must hold up to 134,217,728 values, but says 1000000000000 x 5"),
        ((10**7, 5), (1000, 5), "but is stored in 0 bytes"),
        ((0, 5), None, "must hold values, but is empty (0 x 5)"),
        ((10, 5), (10**9, 5), "must have chunks of up to"),
    ):
        WRITERS[name](path)
        with h5py.File(path, "a") as file:
            del file[dataset]
            size = (None, 5) if chunks is not None else None
            try:
                file.create_dataset(dataset, shape=shape, chunks=chunks, dtype="f8", maxshape=size)
            except ValueError:
                continue  # h5py itself refuses to write such chunks
        assert f"{name}: {dataset}: " in _load(path)
        assert message in _load(path)
    assert _peak() - before < 50


def test_links_out_of_the_file_are_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write_jemris(tmp_path / "secret.h5")
    write_jemris(path)
    for link in (h5py.ExternalLink("secret.h5", "sample/data"), h5py.SoftLink("/sample/resolution")):
        with h5py.File(path, "a") as file:
            if file["sample"].get("data", getlink=True) is not None:
                del file["sample/data"]
            file["sample/data"] = link
        assert "a.h5: sample/data: must be a dataset of this file, but is not there" in _load(path)
    with h5py.File(path, "a") as file:
        del file["sample/data"]
        layout = h5py.VirtualLayout(shape=(4, 3, 4, 5), dtype="f8")
        layout[...] = h5py.VirtualSource("secret.h5", "sample/data", shape=(4, 3, 4, 5))
        file.create_virtual_dataset("sample/data", layout)
    assert "must hold its numbers in this file, but takes them from another" in _load(path)


@pytest.mark.parametrize("name", ["a.phantom", "a.h5", "a.npz"])
def test_empty_and_missing_files_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(ResourceError, match=f"{name}: must be an existing file, but is not there"):
        load_model(path)
    path.write_bytes(b"")
    with pytest.raises(ResourceError, match=f"{name}: must be "):
        load_model(path)
