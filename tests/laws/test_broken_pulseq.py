"""Whatever a .seq file holds, what comes out is a sequence or a typed error that names file, line and section."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mrisim as mr
from mrisim.errors import MrisimError, SpecError
from mrisim.events.blocks import Sequence

SECONDS = 5.0
PEAK = 256 * 2**20  # bytes that reading a small file may take, whatever it says
WORDS = [
    "", "0", "-1", "1e300", "nan", "inf", "99999999999", "2147483648", "1e-300", "0.5", "x", "[BLOCKS]", "#", "1 1",
    "shape_id 1", "num_samples 999999999", "[", "extension LABELSET 1", "é", "\t", "1_0",
]  # fmt: skip
PLAIN = """[VERSION]
major 1
minor 5
revision 1

[DEFINITIONS]
AdcRasterTime 1e-07
BlockDurationRaster 1e-05
GradientRasterTime 1e-05
RadiofrequencyRasterTime 1e-06

[BLOCKS]
1 100 1 0 0 1 0 0
2 200 0 2 0 0 1 1
3 100 0 0 0 0 0 2

[RF]
1 250 1 2 3 500 0 0 0 0 0 e

[GRADIENTS]
2 1000 0 0 4 0 0

[TRAP]
1 1e5 100 500 100 0

[ADC]
1 10 1000 0 0 0 0 0 0

[EXTENSIONS]
1 1 1 0
2 2 1 0

extension LABELSET 1
1 3 LIN

extension DELAYS 2
1 1 0 1 TE

[SHAPES]

shape_id 1
num_samples 2
1
1

shape_id 2
num_samples 2
0
0

shape_id 3
num_samples 2
0
1000

shape_id 4
num_samples 20
0.5
0
0
17
"""


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Files of both versions and one by hand, small enough to mutate many times."""
    folder = tmp_path_factory.mktemp("seq")
    found = [PLAIN]
    for name, version in (("fid", "1.4.1"), ("gre_epi", "1.5.1"), ("spin_echo", "1.5.1")):
        seq = mr.load_sequence(name, **({} if name == "fid" else {"matrix": 16 if name == "gre_epi" else 4}))
        mr.write_sequence(seq, folder / "a.seq", version=version)
        found.append((folder / "a.seq").read_text())
    return found


def attempt(path) -> Sequence | MrisimError:
    """Read, under a limit of time; nothing but an `MrisimError` may come out."""
    start = time.process_time()
    found: Sequence | MrisimError
    try:
        found = mr.load_sequence(path)
    except MrisimError as error:
        found = error
    assert time.process_time() - start < SECONDS
    if isinstance(found, MrisimError):
        assert all(str(path) in str(problem) for problem in found.problems), found
    return found


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_files(texts, tmp_path, data):
    lines = data.draw(st.sampled_from(texts)).split("\n")
    for _ in range(data.draw(st.integers(1, 4))):
        row = data.draw(st.integers(0, len(lines) - 1))
        words = lines[row].split(" ")
        kind = data.draw(st.sampled_from(["word", "drop", "repeat", "swap"]))
        if kind == "word":
            words[data.draw(st.integers(0, len(words) - 1))] = data.draw(st.sampled_from(WORDS))
            lines[row] = " ".join(words)
        elif kind == "drop":
            del lines[row : row + data.draw(st.integers(1, 5))]
        elif kind == "repeat":
            lines[row:row] = lines[row : row + data.draw(st.integers(1, 20))]
        else:
            other = data.draw(st.integers(0, len(lines) - 1))
            lines[row], lines[other] = lines[other], lines[row]
        lines = lines or [""]
    path = tmp_path / "mutated.seq"
    path.write_text("\n".join(lines))
    attempt(path)


def test_truncated_files(texts, tmp_path):
    path = tmp_path / "cut.seq"
    for text in texts:
        whole = text.encode()
        for end in np.linspace(0, len(whole) - 1, 60).astype(int):
            path.write_bytes(whole[:end])
            attempt(path)


def test_random_bytes(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "noise.seq"
    for size in (0, 1, 100, 10_000):
        path.write_bytes(rng.bytes(size))
        assert isinstance(attempt(path), MrisimError)


CASES = {
    "num_samples 20": "num_samples 999999999999",
    "\n17\n": "\n1e15\n",
    "1 10 1000 0 0 0 0 0 0": "1 999999999 1000 0 0 0 0 0 0",
    "3 100 0 0 0 0 0 2": "3 2000000000 0 0 0 0 0 2",
    "1 1 1 0": "1 1 1 1",
    "2 2 1 0": "2 2 1 1\n3 1 1 2",
}


@pytest.mark.parametrize("old", CASES)
def test_absurd_counts_take_no_memory(tmp_path, old):
    path = tmp_path / "absurd.seq"
    assert old in PLAIN
    path.write_text(PLAIN.replace(old, CASES[old]))
    tracemalloc.start()
    attempt(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < PEAK


def test_the_plain_file_is_sound(tmp_path):
    """Mutations of a file that is wrong to begin with would find nothing."""
    path = tmp_path / "plain.seq"
    path.write_text(PLAIN)
    seq = mr.load_sequence(path, strict=True, TE="2 ms")
    assert seq.findings == ()
    assert seq.duration == pytest.approx(5e-3)
    assert seq.blocks.labels["LIN"].tolist() == [0, 3, 3]
    assert seq.gradient_shapes[1].values.max() == pytest.approx(0.5)


MESSAGES = {
    ("3 100 0 0 0 0 0 2", "3 100 0 0 0 0 0 9"): (
        "{}:15: [BLOCKS]: must refer to an extension that is there, but refers to 9."
    ),
    ("2 200 0 2", "2 200 0 7"): "{}:14: [BLOCKS]: must refer to a gradient on gx that is there, but refers to 7.",
    ("1 250 1 2 3", "1 250 8 2 3"): (
        "{}:18: [RF]: must refer to a shape for its magnitude that is there, but refers to 8."
    ),
    ("1 100 1", "1 5 1"): (
        "{}:13: [BLOCKS]: rf must end within its block of 50 us, but ends at 1000 us."
    ),
    ("500 100 0\n", "500 abc 0\n"): "{}:24: [TRAP]: must hold numbers, but holds 'abc'.",
    ("500 100 0\n", "500 100\n"): "{}:24: [TRAP]: must have 6 values in a row, but has 5.",
    ("1 1 1 0", "1 1 1 1"): (
        "{}:30: [EXTENSIONS]: must list at most 1000 entries, but leads on. Does it lead back to itself."
    ),
    ("1 1 0 1 TE", "1 1 0 0 TE"): (
        "{}:37: extension DELAYS: must be 'number index offset factor NAME' with a factor that is not 0, "
        "but is '1 1 0 0 TE'."
    ),
    ("minor 5", "minor 6"): (
        "{}:1: [VERSION]: must be a version from 1.2 to 1.5, but is 1.6.1. Convert it with the tool that wrote it."
    ),
    ("[ADC]", "[ADD]"): None,
    ("num_samples 20", "num_samples 21"): (
        "{}:56: [SHAPES]: shape 4: samples must add up to num_samples 21, but add up to 20."
    ),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new"), MESSAGES)
def test_messages_name_file_line_and_section(tmp_path, old, new):
    path = tmp_path / "wrong.seq"
    assert PLAIN.count(old) >= 1
    path.write_text(PLAIN.replace(old, new, 1))
    with pytest.raises(SpecError) as caught:
        mr.load_sequence(path)
    expected = MESSAGES[old, new]
    if expected is None:
        assert str(caught.value).startswith(f"{path}:26: must be a known section, but is '[ADD]'. Known are VERSION, ")
    else:
        assert str(caught.value) == expected.format(path)


def test_extensions_that_are_unknown(tmp_path):
    """Skipped with a finding, unless the file requires them."""
    path = tmp_path / "a.seq"
    text = PLAIN.replace("extension LABELSET 1\n1 3 LIN", "extension SPIN 1\n1 whatever it takes")
    path.write_text(text)
    seq = mr.load_sequence(path)
    assert [str(f) for f in seq.findings] == [f"extension: {path} holds the extension SPIN, which is skipped."]
    path.write_text(text.replace("[BLOCKS]", "RequiredExtensions SPIN\n[BLOCKS]", 1))
    with pytest.raises(
        SpecError, match="RequiredExtensions: must require extensions that are known, but requires SPIN"
    ):
        mr.load_sequence(path)
