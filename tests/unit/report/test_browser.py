"""The report in a headless Chromium: it opens from disk without a word, and answers to mouse, keys and printer."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import browser as chromium
import numpy as np
import pytest

import mrisim as mr
from mrisim.report import Explorer, Folds, Page, Picture, Section, Table, Text, render
from mrisim.report.sequence import Sample, describe
from mrisim.report.stacks import Difference, Panel, Stack
from mrisim.report.stacks import describe as describe_stacks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.PATH is None, reason="no chromium on this machine"),
]
VALUES = 1.0 + np.arange(4 * 3 * 4 * 5, dtype=float).reshape(4, 3, 4, 5)
LEAST_CONTRAST = 4.5  # Source: WCAG 2.2, 1.4.3, level AA
DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture(scope="module")
def seq() -> mr.Sequence:
    return mr.load_sequence("spin_echo", matrix=16, TE="12 ms")


@pytest.fixture(scope="module")
def page(seq, tmp_path_factory) -> Path:
    grays = np.repeat(np.arange(256.0)[:, None], 3, axis=1)
    stack = Stack(
        name="T1",
        panels=(Panel(name="estimate", data=VALUES), Panel(name="truth", data=VALUES + 1)),
        unit="ms",
        spacing=(2.0, 2.0, 5.0),
        captions=tuple(f"TE {n} ms" for n in range(len(VALUES))),
        colours=grays,
        low=0.0,
        high=100.0,
        difference=Difference(relative=True, end=10.0, unit="%", colours=grays),
    )
    still = (Picture(png=DOT, caption="still"),)
    data = describe(seq, (0.0, 0.02), (Sample("white <matter>", 0.8, 0.08), Sample("CSF", 4.0, 2.0)))
    content = (
        Table(head=("map", "tissue", "a long column"), rows=(("T1", "white matter", "1234.5 ± 12.5 ms " * 4),)),
        Explorer(name="seq", kind="sequence", data=data, still=still),
        Explorer(name="img", kind="stacks", data=describe_stacks((stack,)), still=still),
        Folds(title="Parameters", lines=(("TE", "10 ms", {"meaning": "echo time"}), ("TR", "1 s", {"from": "set"}))),
        Text(title="Specification", text="mrisim: 1", code=True, folded=True),
    )
    sections = (Section(title="Scan", content=content), Section(title="Made", content=()))
    path = tmp_path_factory.mktemp("page") / "page.html"
    facts = (("phantom", "brain"), ("scans", "2"))
    path.write_text(render(Page(title="Page", subtitle="about it", facts=facts, sections=sections)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[chromium.Browser]:
    with chromium.Browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture
def opened(running, page) -> chromium.Browser:
    running.size(1280, 900)
    running.open(page.as_uri())
    return running


def readout(opened: chromium.Browser, explorer: str) -> str:
    return re.sub(r"\s+", " ", opened.js(f"document.querySelector('#{explorer} output').textContent"))


def box(opened: chromium.Browser, selector: str) -> dict[str, float]:
    """Place of an element in the view, scrolled to."""
    opened.js(f"document.querySelector('{selector}').scrollIntoView({{block: 'center'}})")
    opened.settle()
    return json.loads(opened.js(f"JSON.stringify(document.querySelector('{selector}').getBoundingClientRect())"))


def focus(opened: chromium.Browser, selector: str) -> None:
    opened.js(f"document.querySelector('{selector}').focus()")


def shown_time(opened: chromium.Browser) -> float:
    found = re.search(r"time (\S+) ms", readout(opened, "seq"))
    assert found
    return float(found.group(1))


def view(opened: chromium.Browser) -> tuple[float, float]:
    start, stop = json.loads(
        opened.js("(({t0, t1}) => JSON.stringify([t0, t1]))(document.getElementById('seq').explorer)")
    )
    return start, stop


@pytest.mark.parametrize(("level", "strategy"), [(0, 0), (9, zlib.Z_FIXED), (9, zlib.Z_DEFAULT_STRATEGY)])
def test_the_page_reads_what_python_compressed(running, level, strategy):
    """Stored, fixed and described blocks, of noise and of what repeats, longer than the window of 32 KiB."""
    rng = np.random.default_rng(1)
    parts = (rng.integers(0, 256, 50_000), np.arange(100_000) // 7 % 256, rng.normal(100, 9, 90_000))
    content = np.concatenate(parts).astype(np.uint8)
    deflate = zlib.compressobj(level, wbits=-15, strategy=strategy)
    short = base64.b64encode(deflate.compress(content.tobytes()) + deflate.flush()).decode()
    scripts = [Path(mr.__file__).parent.joinpath("report", name).read_text() for name in ("inflate.js", "common.js")]
    packed = json.dumps({"type": "u8", "size": len(content), "data": short})
    running.open("about:blank#")
    text = running.js(
        f"(() => {{ {''.join(scripts)}; return btoa(Array.from(unpack({packed}), (c) => "
        "String.fromCharCode(c)).join('')); })()"
    )
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(text), np.uint8), content)


def test_it_opens_from_disk_without_a_word(opened):
    assert opened.js("location.protocol") == "file:"
    assert opened.complaints() == []
    assert opened.js("document.querySelectorAll('.explorer.on').length") == 2


def test_an_error_in_the_console_would_be_seen(opened):
    opened.js("setTimeout(() => { throw new Error('seen') }); console.error('heard')")
    opened.settle()
    text = " ".join(opened.complaints())
    assert "seen" in text
    assert "heard" in text


def test_tab_goes_through_the_page_in_order_and_shows_where_it_is(opened):
    seen = []
    describe_focus = """(() => { const e = document.activeElement, s = getComputedStyle(e);
      const name = e.getAttribute('aria-label') || e.textContent;
      return JSON.stringify([e.tagName, name, s.outlineStyle, s.outlineWidth]) })()"""
    for _ in range(30):
        opened.key("Tab")
        name, what, outline, width = json.loads(opened.js(describe_focus))
        if name == "BODY":
            break
        assert outline != "none", what
        assert float(width.removesuffix("px")) >= 1.0, what
        seen.append((name, what.strip()))
    kinds = [name for name, _ in seen]
    assert kinds[:2] == ["A", "A"]
    buttons = [what for name, what in seen if name == "BUTTON"]
    assert buttons[:6] == ["block before", "next block", "zoom in", "zoom out", "first view", "whole sequence"]
    canvases = [what.split(":")[0] for name, what in seen if name == "CANVAS"]
    assert canvases == ["Sequence Spin echo", "img"]
    order = [kinds.index("A"), kinds.index("BUTTON"), kinds.index("CANVAS"), kinds.index("SUMMARY")]
    assert order == sorted(order)
    assert kinds.count("INPUT") == 2  # slice, contrast
    assert kinds.count("SUMMARY") == 3


def test_everything_that_answers_has_a_name(opened):
    nodes = opened.call("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "link", "slider", "combobox", "application", "image", "img", "DisclosureTriangle", "region"}
    wanted = [node for node in nodes if not node.get("ignored") and node.get("role", {}).get("value") in roles]
    assert {node["role"]["value"] for node in wanted} >= {"button", "link", "slider", "combobox", "application"}
    nameless = [node["role"]["value"] for node in wanted if not node.get("name", {}).get("value")]
    assert nameless == []
    assert opened.js("document.documentElement.lang") == "en"


def test_text_stands_out_from_its_ground(opened):
    """Contrast of all text in the page against the first opaque ground behind it."""
    script = """(() => {
      const light = (text) => { const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map(Number).map((v) => v / 255)
        .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
      const opaque = (text) => !/, 0\\)$/.test(text) && text !== 'transparent';
      const found = [];
      for (const e of document.querySelectorAll('main *')) {
        if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || e.tagName === 'SCRIPT') continue;
        let ground = e;
        while (ground && !opaque(getComputedStyle(ground).backgroundColor)) ground = ground.parentElement;
        const a = light(getComputedStyle(e).color), b = ground ? light(getComputedStyle(ground).backgroundColor) : 1;
        found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.tagName, e.textContent.slice(0, 30)]);
      }
      return JSON.stringify(found.sort((x, y) => x[0] - y[0])); })()"""
    found = json.loads(opened.js(script))
    assert len(found) > 20
    assert found[0][0] >= LEAST_CONTRAST, found[0]


def test_keys_move_the_cursor_and_the_view(opened):
    focus(opened, "canvas.timeline")
    start = shown_time(opened)
    opened.key("ArrowRight")
    step = shown_time(opened) - start
    first = view(opened)
    assert step == pytest.approx((first[1] - first[0]) * 1e3 / 200, abs=1e-3)
    opened.key("ArrowRight", "shift")
    assert "block prepare" in readout(opened, "seq")
    opened.key("+")
    second = view(opened)
    assert second[1] - second[0] == pytest.approx((first[1] - first[0]) / 2)
    opened.key("ArrowRight", "ctrl")
    assert view(opened)[0] == pytest.approx(second[0] + (second[1] - second[0]) / 4)
    opened.key("Home")
    assert view(opened) == pytest.approx(first)
    opened.key("End")
    assert view(opened)[1] == pytest.approx(16.0 / 16 * opened.js("document.getElementById('seq').explorer.events.end"))


def test_the_cursor_reads_k_and_the_sample(running, page, seq):
    k, time = seq.kspace()
    n = 16 * 3 + 5
    running.open(f"{page.as_uri()}#seq:{time[n] * 1e3:.6f}")
    text = readout(running, "seq")
    shown = re.search(r"k (\S+), (\S+), (\S+) 1/m", text)
    assert shown
    np.testing.assert_allclose([float(value) for value in shown.groups()], k[n], atol=0.06)  # one decimal is shown
    assert "sample 6 of 16" in text


def test_the_mouse_reads_zooms_and_drags(opened):
    canvas = box(opened, "canvas.timeline")
    x, y = canvas["x"] + 0.5 * canvas["width"], canvas["y"] + 0.5 * canvas["height"]
    opened.mouse("moved", x, y)
    before = shown_time(opened)
    opened.mouse("moved", x + 40, y)
    assert shown_time(opened) > before
    first = view(opened)
    opened.click(x, y)  # takes the focus, and with it the wheel
    opened.mouse("wheel", x, y, deltaX=0, deltaY=-120)
    second = view(opened)
    assert second[1] - second[0] == pytest.approx(0.8 * (first[1] - first[0]))
    opened.mouse("pressed", x, y)
    opened.mouse("moved", x - 60, y, buttons=1)
    opened.mouse("released", x - 60, y)
    assert view(opened)[0] > second[0]


def test_the_tissue_can_be_chosen(opened):
    opened.js("document.getElementById('seq').explorer.go('12')")
    white = readout(opened, "seq")
    assert "white <matter> |Mxy|" in white
    opened.js(
        "(() => { const s = document.querySelector('#seq select'); s.value = '1'; "
        "s.dispatchEvent(new Event('change')) })()"
    )
    assert "CSF |Mxy|" in readout(opened, "seq")


def test_voxels_slices_and_contrasts_are_read(opened):
    focus(opened, "canvas.stack")
    opened.js("document.getElementById('img').explorer.go('0,3,1,2,1')")
    expected = VALUES[1, 2, 1, 3]
    difference = -100 / (expected + 1)
    text = readout(opened, "img")
    assert f"estimate {expected:g} ms" in text
    assert f"truth {expected + 1:g} ms" in text
    assert f"difference {difference:.3g} %" in text
    for key, value in (
        ("ArrowLeft", VALUES[1, 2, 1, 2]),
        ("ArrowUp", VALUES[1, 2, 2, 2]),
        ("PageDown", VALUES[1, 1, 2, 2]),
        (".", VALUES[2, 1, 2, 2]),
    ):
        opened.key(key)
        assert f"estimate {value:g} ms" in readout(opened, "img")
    opened.js("document.querySelector('#img input[aria-label=slice]').focus()")
    opened.key("ArrowRight")
    assert f"estimate {VALUES[2, 2, 2, 2]:g} ms" in readout(opened, "img")


def test_the_voxel_under_the_pointer_is_read(opened):
    canvas = box(opened, "canvas.stack")
    (place, *_) = json.loads(
        opened.js(
            "(() => { const e = document.getElementById('img').explorer; "
            "return JSON.stringify(e.layout(e.canvas.clientWidth)) })()"
        )
    )
    x = canvas["x"] + place["left"] + 4.5 / 5 * place["width"]
    y = canvas["y"] + place["top"] + 0.5 / 4 * place["height"]
    opened.mouse("moved", x, y)  # last column, uppermost row of the middle slice
    assert f"estimate {VALUES[0, 1, 3, 4]:g} ms" in readout(opened, "img")


def test_parameters_fold_open_by_key_and_all_at_once(opened):
    state = "document.querySelectorAll('.folds details[open]').length"
    focus(opened, ".folds summary")
    opened.key("Enter")
    assert opened.js(state) == 1
    opened.js("document.querySelector('button.unfold').click()")
    assert opened.js(state) == 2


@pytest.mark.parametrize("width", [1280, 768, 390])
def test_it_fits_its_window(opened, width):
    opened.size(width, 844, mobile=width < 500)
    opened.settle()
    opened.settle()
    assert opened.js("document.documentElement.scrollWidth") <= width
    found = json.loads(
        opened.js(
            "JSON.stringify([...document.querySelectorAll('canvas')].map((c) => [c.clientWidth, c.clientHeight]))"
        )
    )
    assert all(100 < wide <= width and tall > 60 for wide, tall in found)


def test_a_printer_gets_pictures_and_all_parameters(opened, tmp_path):
    assert opened.print(tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    opened.call("Emulation.setEmulatedMedia", media="print")
    try:
        visible = "getComputedStyle(document.querySelector('{}')).display !== 'none'"
        assert opened.js(visible.format("#img > .still"))
        assert not opened.js(visible.format("#img > .live"))
        assert not opened.js(visible.format("nav"))
        opened.js("dispatchEvent(new Event('beforeprint'))")
        assert opened.js("[...document.querySelectorAll('details')].every((d) => d.open)")
        opened.js("dispatchEvent(new Event('afterprint'))")
        assert not opened.js("[...document.querySelectorAll('details')].some((d) => d.open)")
    finally:
        opened.call("Emulation.setEmulatedMedia", media="")
