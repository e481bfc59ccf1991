"""The sequence diagram shows the events where they are, at their values."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from mrisim import plot
from mrisim.errors import ConsistencyError
from mrisim.plot.diagram import _outline


def rows_of(figure) -> dict[str, object]:
    return {axes.get_ylabel().split("\n")[0]: axes for axes in figure.axes}


def test_rows_carry_their_units(spin_echo):
    labels = [axes.get_ylabel() for axes in plot.sequence(spin_echo).axes]
    assert labels == ["RF\nµT", "phase\ndeg", "Gx\nmT/m", "Gy\nmT/m", "Gz\nmT/m", "ADC"]


def test_values_are_in_the_units_of_the_axes(spin_echo):
    rows = rows_of(plot.sequence(spin_echo))
    outlines = [path.vertices for path in rows["RF"].collections[0].get_paths()]
    window_peak = np.abs(spin_echo.rf_shapes[0].samples).max()  # of a Hann window with an even number of samples
    assert [round(float(outline[:, 1].max()), 6) for outline in outlines] == [
        round(float(amplitude * window_peak), 6) for amplitude in (8.0, 16.0)
    ]
    x, y = rows["Gz"].lines[-1].get_data()
    assert y.max() == pytest.approx(10.0)
    assert y.min() == pytest.approx(-9.0)
    assert x[y == y.max()].min() == pytest.approx(0.2)  # ms, the end of the ramp


def test_the_long_delay_is_drawn_short(spin_echo):
    axes = plot.sequence(spin_echo).axes[-1]
    busy = 13.16  # ms, of the events and short delays of a repetition
    assert axes.get_xlim()[1] == pytest.approx(busy * 1.07)
    texts = [text.get_text() for axes in plot.sequence(spin_echo).axes for text in axes.texts]
    assert "486.8 ms" in texts


def test_a_window_is_drawn_to_scale(spin_echo):
    axes = plot.sequence(spin_echo, window=(0.0, "1.2 s")).axes[-1]
    assert axes.get_xlim() == pytest.approx((0.0, 1500.0))  # whole blocks


def test_a_window_outside_is_refused(spin_echo):
    with pytest.raises(ConsistencyError) as caught:
        plot.sequence(spin_echo, window=(9.0, 10.0))
    assert str(caught.value) == "window: must overlap the sequence of 8 s, but is 9 to 10 s."


def test_ticks_show_true_times(spin_echo):
    axes = plot.sequence(spin_echo).axes[-1]
    labels = [axes.xaxis.get_major_formatter()(place, 0) for place in axes.xaxis.get_major_locator()()]
    assert labels[:3] == ["0", "2", "4"]
    assert labels[-1] == "500"


def test_a_hundred_thousand_blocks_are_quick(long_spin_echo):
    begin = time.perf_counter()
    plot.sequence(long_spin_echo, window=(0.0, long_spin_echo.duration))
    assert len(long_spin_echo.blocks) > 100_000
    assert time.perf_counter() - begin < 20.0  # takes about 1 s; drawing event by event took minutes


def test_the_line_drops_to_zero_between_events():
    x, y, last = np.array([0.0, 1, 2, 5, 6, 7]), np.array([1.0, 1, 1, 2, 2, 2]), np.array([0, 0, 1, 0, 0, 1], bool)
    line = np.stack(_outline(x, y, last), axis=-1)
    assert line.tolist() == [[0, 0], [0, 1], [1, 1], [2, 1], [2, 0], [5, 0], [5, 2], [6, 2], [7, 2], [7, 0]]


def test_events_that_join_are_drawn_as_one():
    x, y, last = np.array([0.0, 1, 1, 2]), np.array([0.0, 3, 3, 0]), np.array([0, 1, 0, 1], bool)
    line = np.stack(_outline(x, y, last), axis=-1)
    assert line.tolist() == [[0, 0], [0, 0], [1, 3], [1, 3], [2, 0], [2, 0]]


def test_a_sequence_without_pulses_is_drawn(spin_echo):
    silent = replace(spin_echo, blocks=replace(spin_echo.blocks, rf=np.full(len(spin_echo.blocks), -1)))
    assert len(plot.sequence(silent).axes) == 6


def test_k_is_drawn_beneath(spin_echo):
    """k of the samples is what the sequence says."""
    rows = plot.sequence(spin_echo, ("1.5 s", "2 s"), kspace=True).axes
    k, time = spin_echo.kspace()
    inside = (time >= 1.5) & (time < 2.0)
    x, y = curve(rows[6].lines[-3])  # kx
    found = np.interp((time[inside] - 1.5) * 1e3, x, y)
    step = 0.5 / 4000  # of the drawn points [s]
    np.testing.assert_allclose(found, k[inside, 0], atol=np.ptp(k[:, 0]) / 3.2e-3 * step)


def curve(line) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(line.get_xdata(), dtype=float), np.asarray(line.get_ydata(), dtype=float)


def test_phases_of_spins_are_drawn_beneath(spin_echo):
    """Turns of a place are -k·r; those of an offset are zero at the echo and mirrored by the refocusing pulse."""
    place, offset = (1e-3, 2e-3, 0.0), 40.0  # m, Hz
    rows = plot.sequence(spin_echo, ("1.5 s", "2 s"), spins={"place": place, "offset": (0, 0, 0, offset)}).axes
    k, time = spin_echo.kspace()
    inside = (time >= 1.5) & (time < 2.0)
    x, turns = curve(rows[6].lines[-2])
    step = 0.5 / 4000  # of the drawn points [s]
    expected = -k[inside] @ np.asarray(place)
    np.testing.assert_allclose(
        np.interp((time[inside] - 1.5) * 1e3, x, turns), expected, atol=np.ptp(k @ np.asarray(place)) / 3.2e-3 * step
    )
    excited, refocused = 1.2, 1.2 + 5.83  # ms after the start: centers of the two pulses
    x, turns = curve(rows[6].lines[-1])
    for after in (0.3, 2.0):
        assert np.interp(excited + after, x, turns) == pytest.approx(-offset * after * 1e-3, abs=offset * step)
        late = 2 * (refocused - excited) + after
        assert np.interp(excited + late, x, turns) == pytest.approx(-offset * after * 1e-3, abs=offset * step)
    assert np.ptp(rows[6].get_ylim()) < 2.6 * max(np.abs(expected).max(), offset * 5.9e-3)


def test_one_repetition_breaks_its_delay(spin_echo):
    rows = plot.sequence(spin_echo, tr=3).axes
    assert rows[-1].get_xlabel() == "time / ms, from 1500 ms of the sequence"
    assert rows[-1].get_xlim() == pytest.approx(plot.sequence(spin_echo).axes[-1].get_xlim())
    with pytest.raises(ConsistencyError, match="from 0 to 15"):
        plot.sequence(spin_echo, tr=16)
