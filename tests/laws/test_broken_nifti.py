"""Whatever a NIfTI file holds, a typed error that names it comes out, or a sound volume: soon, and in little memory.

Stated bound: six times the voxels that the file holds, and 16 MiB for a reader at work.
"""

from __future__ import annotations

import gzip
import os
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mrisim.data import Geometry, Grid
from mrisim.errors import MrisimError
from mrisim.io.files import load
from mrisim.io.nifti import read_volume, write_volume

pytest.importorskip("nibabel")
SECONDS = 5.0  # for each file
OVERHEAD = 2**24  # bytes
SHAPE = (6, 5, 4)
GEOMETRY = Geometry(
    rotation=np.array([[0.6, 0.0, 0.8], [0.8, 0.0, -0.6], [0.0, 1.0, 0.0]]), center=np.array([0.01, 0, 0])
)
WORDS = [0, 1, 2, 3, 7, 127, 128, 255, 256, 348, 540, 32767, 32768, 65535, 2**31 - 1, 2**32 - 1]
FLOATS = [np.nan, np.inf, -np.inf, 0.0, -1.0, 1e-40, 1e38, 352.0, 1e9]
QUICK = settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def seed(tmp_path_factory) -> bytes:
    """A sound file, not zipped."""
    path = tmp_path_factory.mktemp("seed") / "a.nii"
    values = np.random.default_rng(2).normal(size=(2, *SHAPE[::-1]))
    write_volume(path, values, Grid.of(SHAPE, (1e-3, 2e-3, 3e-3), GEOMETRY))
    return path.read_bytes()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("broken")


def survives(place, content: bytes, name: str = "a.nii") -> bool:
    """Whether the file was read; else its error is typed and names it. Time and memory are held in both cases."""
    path = place / name
    path.write_bytes(content)
    tracemalloc.start()
    begin = time.perf_counter()
    problems, volume = outcome(path)
    seconds, (_, peak) = time.perf_counter() - begin, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    if volume is not None:
        assert np.isfinite(volume.affine).all()
        assert np.linalg.det(volume.geometry.rotation) == pytest.approx(1.0)
    for problem in problems:
        assert str(problem).startswith(f"{path}: must ")
        assert not problem.rule.endswith(".")
    assert seconds < SECONDS
    assert peak < 6 * (len(content) if volume is None else volume.data.nbytes) + OVERHEAD
    assert os.listdir(place) == [name]
    path.unlink()
    return volume is not None


def outcome(path, reader=lambda path: read_volume(path, finite=False)):
    """Problems of a typed error, or what was read."""
    try:
        return (), reader(path)
    except MrisimError as error:
        return error.problems, None


def test_the_seed_is_sound(seed, place):
    assert survives(place, seed)
    assert survives(place, gzip.compress(seed), "a.nii.gz")


@QUICK
@given(st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=8))
def test_bytes_of_the_header(seed, place, changes):
    content = bytearray(seed)
    for at, value in changes:
        content[at] = value
    survives(place, bytes(content))


@QUICK
@given(
    st.lists(
        st.tuples(st.integers(0, 43), st.sampled_from(["<h", "<i", "<f", ">h"]), st.sampled_from(WORDS + FLOATS)),
        min_size=1,
        max_size=4,
    )
)
def test_numbers_of_the_header(seed, place, changes):
    """At every eighth byte and the places of shape, type, offset and scale: extreme integers and floats."""
    content = bytearray(seed)
    for at, form, value in changes:
        start = [0, 40, 42, 44, 46, 48, 70, 72, 76, 80, 108, 112, 116, 123, 252, 254, 256, 268, 280, 296, 344][at % 21]
        start = start if at < 30 else at * 8
        if form == "<f":
            part = struct.pack(form, np.float32(value))
        else:
            width = 2 if form.endswith("h") else 4
            whole = int(value) if np.isfinite(value) and abs(value) < 2**32 else -1
            part = (whole % 2 ** (8 * width)).to_bytes(width, "little" if form[0] == "<" else "big")
        content[start : start + len(part)] = part
    survives(place, bytes(content))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.3, 0.36, 0.5, 0.9, 0.999])
def test_cut_short(seed, place, share):
    zipped = gzip.compress(seed)
    assert not survives(place, seed[: int(share * len(seed))])
    assert not survives(place, zipped[: int(share * len(zipped))], "a.nii.gz")


@QUICK
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=4))
def test_bytes_of_a_gzip_file(seed, place, changes):
    zipped = bytearray(gzip.compress(seed, mtime=0))
    for at, value in changes:
        zipped[at % len(zipped)] ^= value
    survives(place, bytes(zipped), "a.nii.gz")


def test_a_wrong_checksum_is_found(seed, place):
    zipped = bytearray(gzip.compress(seed))
    zipped[-8] ^= 1
    assert not survives(place, bytes(zipped), "a.nii.gz")


def test_what_follows_the_gzip_stream(seed, place):
    assert survives(place, gzip.compress(seed) + bytes(100), "a.nii.gz")  # gzip pads with zeros
    assert not survives(place, gzip.compress(seed) + b"no gzip", "a.nii.gz")


def with_shape(seed, *shape, datatype=None):
    content = bytearray(seed)
    content[40:56] = struct.pack("<8h", len(shape), *shape, *(1,) * (7 - len(shape)))
    if datatype is not None:
        content[70:72] = struct.pack("<h", datatype)
    return bytes(content)


def bomb(start: bytes, size: int) -> bytes:
    """A gzip file that inflates to `start` and zeros, made without holding them."""
    pack, parts = zlib.compressobj(9, wbits=31), []
    parts.append(pack.compress(start))
    for _ in range(size // 2**20):
        parts.append(pack.compress(bytes(2**20)))
    return b"".join([*parts, pack.flush()])


def test_a_bomb_behind_a_small_header(seed, place):
    """256 MiB in 250 kB: seen after a MiB."""
    assert not survives(place, bomb(seed, 2**28), "a.nii.gz")


def test_a_bomb_whose_header_owns_up(seed, place):
    """512 MiB of zeros in 500 kB, with a header of that shape: refused before it is inflated."""
    content = with_shape(seed, 512, 512, 512, datatype=16)
    assert not survives(place, bomb(content, 2**29)[:-100], "a.nii.gz")


def test_a_bomb_of_bombs(seed, place):
    """Many gzip members in a row, each of them a MiB: seen after the first ones."""
    assert not survives(place, gzip.compress(seed) + gzip.compress(bytes(2**20)) * 500, "a.nii.gz")


@pytest.mark.parametrize(
    "shape", [(32767, 32767, 32767), (32767,) * 7, (512, 512, 512, 4), (2048, 2048, 100), (1, 1, 1, 1, 1, 1, 32767)]
)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_shape_that_the_file_does_not_hold(seed, place, shape, zipped):
    content = with_shape(seed, *shape, datatype=1792 if len(shape) < 7 else None)
    if zipped:
        assert not survives(place, gzip.compress(content), "a.nii.gz")
    else:
        assert not survives(place, content)


def test_a_long_way_to_the_first_voxel(seed, place):
    """Header extensions of 60 MiB, zipped: skipped in steps."""
    content = bytearray(seed[:352])
    content[108:112] = struct.pack("<f", 60 * 2**20)
    assert not survives(place, bomb(bytes(content), 2**25), "a.nii.gz")


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=600) | st.binary(max_size=300).map(gzip.compress))
def test_any_bytes(place, content):
    survives(place, content, "a.nii.gz")


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    st.binary(max_size=40)
    | st.sampled_from(
        [b"[]", b"null", b'{"EchoTime": []}', b'{"EchoTime": {"a": 1}}', b'{"EchoTime": [1e999]}', b"[" * 100_000,
         b'{"Quantity": 3, "Units": []}', b'{"HasPhaseFile": true}', b'{"FlipAngle": "90"}', b'{"TE": [[1]]}']
    )
)  # fmt: skip
def test_any_sidecar(seed, place, content):
    (place / "a.nii").write_bytes(seed)
    (place / "a.json").write_bytes(content)
    problems, _ = outcome(place / "a.nii", load)
    assert all(str(problem).startswith(str(place)) for problem in problems)
    for name in ("a.nii", "a.json"):
        (place / name).unlink()


def test_a_broken_file_leaves_nothing(seed, place):
    """No partial output of a conversion, no former file lost."""
    from mrisim.pipeline.convert import convert

    (place / "a.nii").write_bytes(seed[:-5])
    (place / "b.h5").write_bytes(b"former")
    with pytest.raises(MrisimError):
        convert(place / "a.nii", place / "b.h5")
    assert sorted(os.listdir(place)) == ["a.nii", "b.h5"]
    assert (place / "b.h5").read_bytes() == b"former"
    (place / "b.h5").unlink()
    (place / "a.nii").unlink()
