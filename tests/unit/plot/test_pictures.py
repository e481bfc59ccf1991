"""Pictures of k-space, images and maps: right values, right units, right way up."""

from __future__ import annotations

import subprocess
import sys

import matplotlib
import numpy as np
import pytest

from mrisim import plot
from mrisim.data import Grid, Image, ParameterMap, RawData
from mrisim.errors import ConsistencyError
from mrisim.events.readouts import readout_table

N = 16


@pytest.fixture(scope="module")
def raw(spin_echo) -> RawData:
    k, time = spin_echo.kspace()
    signal = np.exp(-((k[:, 0] / 40) ** 2) - (k[:, 1] / 20) ** 2)[None] + 0j
    return RawData(signal=signal, k=k, time=time, readouts=readout_table(spin_echo), recon=spin_echo.recon)


def make_image(contrasts: int = 1, slices: int = 1) -> Image:
    data = np.zeros((contrasts, slices, N, N), dtype=complex)
    data[:, :, 12, 3] = 2j
    grid = Grid.of((N, N, slices), (2e-3, 2e-3, 5e-3), thickness=5e-3)
    te = np.arange(1, contrasts + 1) * 10e-3
    return Image(data=data, grid=grid, coordinates={"te": te, "tr": np.full(contrasts, 0.5), "ti": te * np.nan})


def make_map(value: float, shape: tuple[int, int, int] = (1, N, N)) -> ParameterMap:
    mask = np.zeros(shape, dtype=bool)
    mask[:, 4:12, 4:12] = True
    grid = Grid.of(shape[::-1], (2e-3, 2e-3, 5e-3))
    return ParameterMap(name="T1", unit="s", data=np.full(shape, value), grid=grid, mask=mask)


def test_the_trajectory_is_that_of_the_sequence(spin_echo, raw):
    for source in (spin_echo, raw):
        axes = plot.trajectory(source).axes[0]
        points = np.concatenate(axes.collections[0].get_segments())
        np.testing.assert_allclose(points.min(axis=0), raw.k[:, :2].min(axis=0))
        np.testing.assert_allclose(points.max(axis=0), raw.k[:, :2].max(axis=0))
        assert axes.get_xlabel() == "$k_x$ / (1/m)"


def test_a_volume_of_lines_is_shown_end_on(raw):
    k = raw.k.copy()
    k[:, 2] = np.repeat(np.arange(16) % 4 * 10.0, 32)
    axes = plot.trajectory(RawData(signal=raw.signal, k=k, time=raw.time, readouts=raw.readouts)).axes[0]
    assert axes.get_xlabel() == "$k_y$ / (1/m)"
    np.testing.assert_allclose(axes.collections[0].get_offsets(), k[::32, 1:])


def test_a_trajectory_without_samples_is_refused(raw):
    empty = RawData(signal=raw.signal[:, :0], k=raw.k[:0], time=raw.time[:0], readouts=raw.readouts)
    with pytest.raises(ConsistencyError, match="must have an ADC event for a trajectory, but has none"):
        plot.trajectory(empty)


def test_kspace_is_in_decibel_below_the_strongest(raw):
    axes = plot.kspace(raw).axes[0]
    picture = np.asarray(axes.images[0].get_array())
    assert picture.shape == (16, 32)
    assert picture.max() == 0.0
    row, column = np.unravel_index(np.argmax(picture), picture.shape)
    left, right, bottom, top = axes.images[0].get_extent()
    kx, ky = left + (column + 0.5) * (right - left) / 32, bottom + (row + 0.5) * (top - bottom) / 16
    strongest = raw.k[np.argmax(np.abs(raw.signal[0]))]
    assert (kx, ky) == pytest.approx(strongest[:2], abs=0.5)
    weakest = np.abs(raw.signal[0]).min() / np.abs(raw.signal[0]).max()
    assert picture.min() == pytest.approx(20 * np.log10(weakest))


def test_an_image_is_upright_in_millimetres():
    axes = plot.image(make_image()).axes[0]
    shown = axes.images[0]
    assert shown.origin == "lower"
    assert shown.get_extent() == pytest.approx((0, 32, 0, 32))
    assert np.asarray(shown.get_array())[12, 3] == 2.0
    assert axes.get_title(loc="center") == "TE 10 ms · TR 500 ms"
    assert [text.get_text() for text in axes.texts] == ["5 mm", "R", "A"]  # physical x is right, y anterior


@pytest.mark.parametrize(("contrasts", "panels"), [(1, 1), (5, 5), (6, 6)])
def test_each_contrast_has_a_panel(contrasts, panels):
    figure = plot.image(make_image(contrasts))
    assert sum(bool(axes.images) for axes in figure.axes) == panels


def test_a_volume_shows_three_planes():
    image = make_image(slices=8)
    grid = Grid.of((N, N, 8), (2e-3, 2e-3, 5e-3))
    figure = plot.image(Image(data=image.data, grid=grid, coordinates=image.coordinates))
    assert [axes.images[0].get_array().shape for axes in figure.axes[:3]] == [(N, N), (8, N), (8, N)]


def test_a_missing_slice_is_refused():
    with pytest.raises(ConsistencyError) as caught:
        plot.image(make_image(), slice_index=3)
    assert str(caught.value) == "slice_index: must be between 0 and 0, but is 3."


def test_a_map_is_in_milliseconds_and_blank_outside():
    axes, bar = plot.parameter_map(make_map(0.8)).axes
    picture = axes.images[0].get_array()
    assert picture[0, 5, 5] == pytest.approx(800.0) if picture.ndim == 3 else picture[5, 5] == pytest.approx(800.0)
    assert np.ma.getmaskarray(picture)[0, 0]
    assert bar.get_ylabel() == "T1 / ms"


def test_the_difference_is_in_per_cent_of_the_truth():
    figure = plot.map_comparison(make_map(0.8), make_map(0.82))
    difference = figure.axes[2].images[0].get_array()
    assert difference[5, 5] == pytest.approx(100 * 0.02 / 0.8)
    assert [axes.get_title(loc="center") for axes in figure.axes[:3]] == ["truth", "estimate", "difference"]


def test_maps_of_different_shapes_are_refused():
    with pytest.raises(
        ConsistencyError, match=r"T1: must have the shape of the truth \(2, 16, 16\), but has \(1, 16, 16\)"
    ):
        plot.map_comparison(make_map(0.8, (2, N, N)), make_map(0.8))


def test_a_slice_profile_shows_its_curves():
    z = np.linspace(-5e-3, 5e-3, 11)
    axes = plot.slice_profile(z, 1j * np.ones(11), mz=np.zeros(11), thickness=4e-3).axes[0]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["nominal slice", "|Mxy|", "Mx", "My", "Mz"]
    assert axes.get_xlim() == pytest.approx((-5.0, 5.0))


def test_signals_lie_over_their_models():
    axes = plot.signal([1, 2], {"white": [3, 4]}, models={"white": ([0, 3], [2, 5])}, xlabel="TI / s").axes[0]
    assert [line.get_marker() for line in axes.lines] == ["None", "o"]


def test_the_users_settings_stay_as_they_are(spin_echo):
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.size": 30.0}):
        figure = plot.sequence(spin_echo)
        assert matplotlib.rcParams["font.size"] == 30.0
    assert figure.axes[0].yaxis.label.get_size() == 8.5
    assert dict(matplotlib.rcParams) == before


def test_figures_need_no_pyplot():
    code = "import sys; from mrisim import plot; plot.signal([0, 1], {}); print('matplotlib.pyplot' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_a_figure_becomes_a_png():
    content = plot.png(plot.slice_profile([0, 1], [0, 1]))
    assert content.startswith(b"\x89PNG")


def test_phase_is_blank_where_there_is_no_signal():
    picture = np.ma.asarray(plot.image(make_image(), phase=True).axes[0].images[0].get_array())
    assert picture[12, 3] == pytest.approx(np.pi / 2)
    assert np.ma.getmaskarray(np.ma.masked_invalid(picture)).sum() == N * N - 1
