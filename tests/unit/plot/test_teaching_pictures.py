"""Phase graphs, Bloch spheres, contrast curves, spectra, looks of maps and what a notebook shows."""

from __future__ import annotations

import dataclasses
import sys
import types

import numpy as np
import pytest

import mrisim as mr
from mrisim import plot
from mrisim.data import Grid, Image, ParameterMap
from mrisim.errors import ConsistencyError
from mrisim.physics import signals
from mrisim.plot._looks import look_of
from mrisim.plot._panels import _side
from mrisim.plot.phase_graphs import _paths

GRID = Grid.of((2, 2, 1), (1e-3, 1e-3, 5e-3))


def test_echoes_of_a_carr_purcell_train():
    """E1 = sin²(a/2), E2 = sin⁴(a/2) + ½ sin² a: a refocused and a stimulated part, in phase with pulses along y."""
    a = np.radians(120)
    train = np.array([np.pi / 2, a, a])
    lines, strengths, _, _ = _paths(train, np.array([0, 0.5, 0.5]) * np.pi, np.array([1, 2, 2]))
    echoes = {begin - low: size for ((begin, low), (_, high)), size in zip(lines, strengths, strict=True) if low == -1}
    expected = {2: np.sin(a / 2) ** 2, 4: np.sin(a / 2) ** 4 + 0.5 * np.sin(a) ** 2}
    assert echoes == pytest.approx(expected, abs=1e-6)  # float32 in the mixing


def test_a_phase_graph_refuses_what_it_cannot_draw():
    with pytest.raises(ConsistencyError, match="whole numbers"):
        plot.phase_graph([1.0, 1.0], [1, 0.5])
    assert len(plot.phase_graph([np.pi / 2, np.pi], [1, 2]).axes) == 1


def test_a_contrast_curve_is_the_closed_form():
    te = np.linspace(0, 0.1, 5)
    (axes,) = plot.contrast(signals.spin_echo, {"tissue": (0.8, 0.07, 0.7)}, "te", te, tr=2.0).axes
    x, y = axes.lines[0].get_data()
    np.testing.assert_allclose(x, te * 1e3)
    np.testing.assert_allclose(y, 0.7 * np.exp(-te / 0.07) * _saturation(te), rtol=1e-4)  # float32
    assert axes.get_xlabel() == "TE / ms"
    with pytest.raises(ConsistencyError, match="missing"):
        plot.contrast(signals.spin_echo, {}, "te", te)


def _saturation(te):
    """Recovery over TR with a refocusing pulse at TE/2."""
    return 1 - 2 * np.exp(-(2.0 - te / 2) / 0.8) + np.exp(-2.0 / 0.8)


def test_a_spectrum_peaks_at_the_shift():
    seq = mr.load_sequence("fid")
    raw = mr.simulate(seq, mr.Phantom.from_arrays(position=[[0.0, 0, 0]], t1=1.0, t2=0.1, df=-434.0), dtype="float64")
    axes = plot.spectrum(raw, field=3.0).axes[0]
    x, y = axes.lines[1].get_data()
    assert x[np.argmax(y)] == pytest.approx(-434.0 / (42.577 * 3), abs=np.diff(x).mean())  # one point of the spectrum
    assert axes.get_xlim()[0] > axes.get_xlim()[1]
    real = axes.lines[0].get_ydata()
    assert real[np.argmax(y)] == pytest.approx(y.max(), rel=0.05)  # absorbs: the first sample has no phase


def test_a_spectrum_shows_what_has_signal():
    seq = mr.load_sequence("fid")
    raw = mr.simulate(seq, mr.Phantom.from_arrays(position=[[0.0, 0, 0]], t1=1.0, t2=0.1, df=-434.0), dtype="float64")
    left, right = plot.spectrum(raw, field=3.0).axes[0].get_xlim()
    assert 3.4 < left == -right < 7


def test_magnetisation_has_names_and_units():
    time = np.linspace(0, 0.1, 11)
    m = np.stack([np.exp(-time / 0.05), 0 * time, 1 - np.exp(-time)], axis=-1)
    rows = plot.magnetisation(time, m, names=["water"]).axes
    np.testing.assert_allclose(rows[0].lines[0].get_ydata(), np.exp(-time / 0.05))
    assert rows[2].get_xlabel() == "time / ms"
    assert plot.bloch_sphere(m).axes
    with pytest.raises(ConsistencyError, match="one value for each"):
        plot.magnetisation(time[1:], m)


def test_a_film_is_written(tmp_path):
    m = np.array([[0.0, 0, 1], [0, 1, 0]])
    film = plot.bloch_animation([0.0, 1e-3], m, tmp_path / "a.gif", frames=2)
    assert film.read_bytes()[:3] == b"GIF"
    with pytest.raises(ConsistencyError, match=r"\.gif, \.html or \.mp4"):
        plot.bloch_animation([0.0, 1e-3], m, tmp_path / "a.avi")


@pytest.mark.parametrize(
    ("direction", "letters"), [([1, 0, 0], "R"), ([0, -1, 0], "P"), ([0, 0, 1], "S"), ([-0.8, 0.6, 0], "LA")]
)
def test_letters_of_directions(direction, letters):
    assert _side(np.array(direction, dtype=float)) == letters


def make_map(name: str, unit: str, value: float) -> ParameterMap:
    return ParameterMap(name=name, unit=unit, data=np.full((1, 2, 2), value), grid=GRID)


def test_maps_look_as_their_quantity_asks():
    ktrans, b0, t2 = (
        look_of(make_map(*row)) for row in (("Ktrans", "1/s", 0.01), ("B0", "Hz", -30.0), ("T2", "s", 0.1))
    )
    assert (ktrans.label, ktrans.high) == ("Ktrans / 1/min", pytest.approx(0.6))
    assert (b0.low, b0.high, b0.label) == (-30.0, 30.0, "B0 / Hz")
    assert b0.difference(np.array([0.0]), np.array([2.0]))[0] == 2.0  # not per cent of zero
    assert t2.difference(np.array([100.0]), np.array([101.0]))[0] == pytest.approx(1.0)


def test_a_small_lesion_is_within_the_colours_and_fluid_need_not_be():
    """Of a true map each tissue counts alike, whatever its size."""
    values = np.repeat([0.38, 1.4, 1.6, 2.2, 4.0], [800, 150, 15, 34, 1])  # s: fat, muscle, lesion, gland, fluid
    grid = Grid.of((1000, 1, 1), (1e-3, 1e-3, 1e-3))
    t1 = look_of(ParameterMap(name="T1", unit="s", data=values[None, None], grid=grid))
    assert (t1.low, t1.high) == (0.0, pytest.approx(2200.0))
    rate = look_of(ParameterMap(name="Ktrans", unit="1/s", data=values[None, None] / 60, grid=grid))
    assert rate.high == pytest.approx(4.0)
    noisy = look_of(
        ParameterMap(name="T1", unit="s", data=(values + np.linspace(0, 1e-3, 1000))[None, None], grid=grid)
    )
    assert noisy.high == pytest.approx(2.5 * 380.0, rel=2e-3)
    assert look_of(ParameterMap(name="MTT", unit="s", data=values[None, None], grid=grid)).unit == "s"


def test_an_overview_has_truth_above_estimate():
    maps = {"T1 map": make_map("T1", "s", 1.0), "B0": make_map("B0", "Hz", 3.0)}
    figure = plot.overview({}, maps, truth={"T1 map": make_map("T1", "s", 1.1)}, title="exam")
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 3
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel() in ("truth", "estimate")] == [
        "truth",
        "estimate",
    ]


@pytest.mark.parametrize("count", [(2, 6), (1, 8), (5, 3), (0, 7)])
def test_nothing_overlaps_in_an_overview(count):
    """Titles, labels of colour bars and panels lie apart, inside the page; images beside six maps are larger."""
    times = {name: np.array([0.9]) for name in ("te", "tr", "ti", "flip")}
    picture = Image(data=np.ones((1, 1, 2, 2), complex), grid=GRID, coordinates=times)
    images = {f"scan {n}": picture for n in range(count[0])}
    maps = {f"T1 {n}": make_map("T1", "s", 1.0) for n in range(count[1])}
    figure = plot.overview(images, maps, truth=maps, title="exam")
    figure.draw_without_rendering()
    panels = [axes for axes in figure.axes if axes.images]
    bars = [child for axes in panels for child in axes.child_axes]
    texts = [axes.title for axes in panels if axes.get_title()] + [bar.xaxis.label for bar in bars]
    assert len(bars) == count[1]
    boxes = [text.get_window_extent() for text in texts] + [axes.get_window_extent() for axes in panels]
    assert all(figure.bbox.contains(*corner) for box in boxes for corner in box.corners())
    apart = [box.padded(2.0) for box in boxes]  # pixels
    assert not any(a.overlaps(b) for i, a in enumerate(apart) for b in apart[:i])
    widths = [axes.get_window_extent().width for axes in panels]
    assert (widths[0] > 1.5 * widths[-1]) == (count in [(2, 6), (1, 8)])


def test_notebooks_show_what_matters_first(spin_echo):
    phantom = mr.Phantom.from_arrays(position=np.eye(3) * 0.01, t1=1.0, t2=0.1, field=3.0)
    named = dataclasses.replace(spin_echo, name="a < b")
    assert "a &lt; b" in plot.html_of(named)
    assert "3 isochromats" in plot.html_of(phantom)
    assert "2 × 2 × 1 voxels of 1 × 1 × 5 mm" in plot.html_of(make_map("T1", "s", 1.0))


def test_a_running_notebook_is_told_how_to_show_the_types(monkeypatch):
    told = {}
    formatter = types.SimpleNamespace(for_type_by_name=lambda home, name, call: told.update({(home, name): call}))
    display = types.SimpleNamespace(formatters={"text/html": formatter})
    shell = types.SimpleNamespace(display_formatter=display)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    mr._show_in_notebooks()
    assert {name for _, name in told} == {"Sequence", "Phantom", "RawData", "Image", "ParameterMap"}
    assert told["mrisim.data", "ParameterMap"](make_map("T1", "s", 1.0)).startswith("<div><b>T1</b>")
    for home, name in told:
        assert getattr(sys.modules[home], name).__module__ == home  # the names under which IPython finds them
