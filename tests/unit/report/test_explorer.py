"""The page that answers: what it holds. What a browser makes of it is in `test_browser.py`."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mrisim as mr
from mrisim.report import Explorer, Folds, Page, Picture, Section, Table, render
from mrisim.report.packed import pack, quantise, unpack
from mrisim.report.pictures import embedded
from mrisim.report.sequence import Sample, describe, follow_times
from mrisim.report.stacks import MOST_VOXELS, Panel, Stack
from mrisim.report.stacks import describe as describe_stacks

STILL = (Picture(png=b"", caption="still"),)
VALUES = np.arange(2 * 3 * 4 * 5, dtype=float).reshape(2, 3, 4, 5)


def stack(values: np.ndarray = VALUES) -> Stack:
    return Stack(
        name="T1",
        panels=(Panel(name="estimate", data=values), Panel(name="truth", data=values + 1)),
        unit="ms",
        spacing=(2.0, 2.0, 5.0),
        captions=tuple(f"TE {n} ms" for n in range(len(values))),
        colours=np.zeros((256, 3)),
        low=0.0,
        high=100.0,
    )


def page(seq: mr.Sequence) -> str:
    tissue = Sample("white <matter>", 0.8, 0.08)
    content = (
        Explorer(name="seq", kind="sequence", data=describe(seq, (0.0, 0.02), (tissue,)), still=STILL),
        Explorer(name="img", kind="stacks", data=describe_stacks((stack(),)), still=STILL),
        Folds(title="Parameters", lines=(("TE", "10 ms", {"meaning": "echo time", "from": "set"}),)),
    )
    return render(Page(title="page", subtitle="", facts=(), sections=(Section(title="s", content=content),)))


@pytest.fixture(scope="module")
def seq() -> mr.Sequence:
    return mr.load_sequence("spin_echo", matrix=16, TE="12 ms")


@pytest.fixture(scope="module")
def html(seq, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(page(seq), encoding="utf-8")
    return path


def test_values_are_kept_to_half_a_step():
    values = np.array([-3.0, 0.1234, 7.0, np.nan])
    packed = quantise(values)
    found = np.where(unpack(packed) == 65535, np.nan, packed["low"] + packed["step"] * unpack(packed))
    np.testing.assert_allclose(found, values, rtol=0, atol=0.5001 * packed["step"])
    assert packed["step"] == pytest.approx(10.0 / 65534)


def test_a_page_keeps_what_fits_and_says_what_is_left_out():
    (kept,) = describe_stacks((stack(),), most=4 * 5 * 2 * 3)
    assert kept["shape"] == [1, 3, 4, 5]
    assert kept["left"] == [1, 0]
    assert kept["captions"] == ["TE 1 ms"]


def test_pages_hold_no_link_and_no_open_tag_of_a_name(html):
    text = html.read_text(encoding="utf-8")
    assert "http" not in text
    assert "white <matter>" not in text
    for block in re.findall(r'<script type="application/json">(.*?)</script>', text):
        json.loads(block)


def test_magnetisation_of_the_page_is_that_of_the_simulator(seq):
    found = describe(seq, (0.0, 0.02), (Sample("water", 1.0, 0.1),))["magnetisation"]
    times = follow_times(seq, (0.0, 0.02))
    water = mr.Phantom.from_arrays(position=np.zeros((1, 3)), t1=1.0, t2=0.1)
    expected = mr.trace(seq, water, times)[:, 0]
    values = unpack(found["tissues"][0]["values"]).reshape(-1, 3) * found["scale"]
    np.testing.assert_allclose(values, expected, atol=found["scale"])  # one step of 16 bit


def test_numbers_come_back_as_they_were():
    rng = np.random.default_rng(3)
    for kind, values in (
        ("f32", rng.normal(size=1001).astype(np.float32)),
        ("i16", rng.integers(-(2**15), 2**15, 77)),
        ("u8", np.zeros(0, dtype=np.uint8)),
    ):
        np.testing.assert_array_equal(unpack(pack(values, kind)), values)


def test_a_long_sequence_takes_little_room():
    """20,000 blocks that repeat: ten columns of two bytes, of which next to nothing is new from block to block."""
    seq = mr.load_sequence("flash_3d", matrix=[64, 64, 48])
    assert len(seq.blocks) > 2_000 * 5
    data = describe(seq, (0.0, 0.02))
    text = json.dumps({**data, "magnetisation": {}})
    assert len(text) < 10 * len(seq.blocks)  # 20 bytes a block for the table and 24 for k, uncompressed


def test_pictures_take_less_than_half_of_their_png():
    """Line art stays as it is to the pixel."""
    png = mr.plot.png(mr.plot.sequence(mr.load_sequence("spin_echo", matrix=16)))
    kind, _, text = embedded(png).partition(";base64,")
    content = base64.b64decode(text)
    assert kind == "data:image/webp"
    assert len(content) < 0.5 * len(png)
    before, after = (np.asarray(Image.open(io.BytesIO(one)).convert("RGB")) for one in (png, content))
    np.testing.assert_array_equal(before, after)


def test_a_table_says_its_groups_once():
    rows = (("T1", "white"), ("T1", "gray"), ("T2", "gray"))
    table = Table(head=("map", "tissue"), rows=rows, once=("map",))
    text = render(Page(title="", subtitle="", facts=(), sections=(Section(title="", content=(table,)),)))
    assert re.findall(r'<td class="again">(.*?)</td>', text) == ["T1"]  # still there to be read aloud


def test_the_largest_stacks_leave_room_below_five_megabytes():
    """All voxels that a page may hold, of noise alone, are no more than the two bytes of each."""
    share = MOST_VOXELS // 16
    noise = np.abs(np.random.default_rng(2).normal(0.2, 0.1, (share // 1600, 1, 40, 40)))
    (kept,) = describe_stacks((replace(stack(noise), panels=(Panel(name="magnitude", data=noise),)),), most=share)
    assert kept["shape"] == list(noise.shape)
    assert 16 * len(kept["panels"][0]["data"]) < 4.3e6  # 2 bytes a voxel, 4 characters for 3 bytes
