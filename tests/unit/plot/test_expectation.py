"""Points over a closed form."""

from __future__ import annotations

import numpy as np

from mrisim import plot
from mrisim.units import NUMBER, TIME


def compared(expected, off=0.0):
    x = np.array([0.1, 0.2, 0.3])
    return plot.Compared(
        engine="bloch", label="a", x=x, simulated=expected + off, expected=expected, allowed=np.full(3, 0.1)
    )


def test_values_on_one_line_keep_their_sign():
    expected = 1j * np.array([-1.0, 0.5, 2.0])
    drawn = plot.Drawn(label="a", x=[0.1, 0.3], y=[-1j, 2j])
    figure = plot.expectation([compared(expected, 0.05j)], [drawn], name="T1", dimension=TIME)
    upper, lower = figure.axes
    assert [line.get_ydata().tolist() for line in upper.lines] == [[-1, 2], [-0.95, 0.55, 2.05]]
    np.testing.assert_allclose(lower.lines[0].get_ydata(), 0.5)
    assert lower.get_xlabel() == "T1 / ms"
    np.testing.assert_allclose(upper.lines[1].get_xdata(), [100, 200, 300])


def test_complex_values_are_drawn_as_magnitude():
    expected = np.array([1.0, 1j, -1.0])
    figure = plot.expectation([compared(expected, -0.2)], [plot.Drawn(label="a", x=[0, 1], y=[1, 1j])], name="n",
                              dimension=NUMBER)  # fmt: skip
    upper, lower = figure.axes
    assert upper.get_ylabel().startswith("|signal|")
    np.testing.assert_allclose(lower.lines[0].get_ydata(), 2.0)
    assert lower.get_ylim()[1] > 2.0
    assert lower.get_xlabel() == "n"
