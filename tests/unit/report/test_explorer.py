"""The page that answers: what it holds, and what a browser makes of it."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import mrisim as mr
from mrisim.report import Explorer, Folds, Page, Picture, Section, render
from mrisim.report.packed import quantise
from mrisim.report.sequence import Sample, describe, follow_times
from mrisim.report.stacks import Panel, Stack
from mrisim.report.stacks import describe as describe_stacks

BROWSER = next((path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path), None)
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


def read(packed: dict) -> np.ndarray:
    return np.frombuffer(base64.b64decode(packed["data"]), {"u16": "<u2", "i16": "<i2", "f32": "<f4"}[packed["type"]])


def test_values_are_kept_to_half_a_step():
    values = np.array([-3.0, 0.1234, 7.0, np.nan])
    packed = quantise(values)
    found = np.where(read(packed) == 65535, np.nan, packed["low"] + packed["step"] * read(packed))
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
    values = read(found["tissues"][0]["values"]).reshape(-1, 3) * found["scale"]
    np.testing.assert_allclose(values, expected, atol=found["scale"])  # one step of 16 bit


def dom(html: Path, address: str) -> str:
    """The page as a browser leaves it."""
    if BROWSER is None:
        pytest.skip("no chromium on this machine")
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={html.parent / 'profile'}"]
    command += ["--virtual-time-budget=2000", "--dump-dom", f"{html.as_uri()}#{address}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def readout(text: str, explorer: str) -> str:
    part = text[text.index(f'id="{explorer}"') :]
    found = re.search(r"<output[^>]*>(.*?)</output>", part, re.S)
    assert found
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", found.group(1)))


@pytest.mark.slow
def test_the_cursor_reads_k_and_the_sample(html, seq):
    k, time = seq.kspace()
    n = 16 * 3 + 5
    text = readout(dom(html, f"seq:{time[n] * 1e3:.6f}"), "seq")
    shown = re.search(r"k (\S+), (\S+), (\S+) 1/m", text)
    assert shown
    np.testing.assert_allclose([float(value) for value in shown.groups()], k[n], atol=0.06)  # one decimal is shown
    assert "sample 6 of 16" in text


@pytest.mark.slow
def test_the_voxel_under_the_pointer_is_read(html):
    text = readout(dom(html, "img:0,3,1,2,1"), "img")
    expected = VALUES[1, 2, 1, 3]
    assert f"estimate {expected:g} ms" in text
    assert f"truth {expected + 1:g} ms" in text
