"""Pictures of contrast agents: what they show, with units."""

from __future__ import annotations

import numpy as np

from mrisim.mapping import dce
from mrisim.plot import concentration, input_functions

TIME = np.arange(0.0, 240.0, 2.0)


def test_input_functions_show_the_first_pass_enlarged():
    figure = input_functions(TIME, {"Parker": dce.parker_aif(TIME, 30.0), "rat": dce.mcgrath_aif(TIME, 30.0)})
    whole, close = figure.axes
    assert whole.get_xlabel() == "time / min"
    assert close.get_xlabel() == "time / s"
    assert whole.get_ylabel() == "concentration / mM"
    assert [text.get_text() for text in whole.get_legend().get_texts()] == ["Parker", "rat"]
    left, right = close.get_xlim()
    assert left < 30 < right < 120


def test_residuals_are_data_less_fit():
    measured, fitted = np.sin(TIME / 80), np.sin(TIME / 80) - 0.02
    figure = concentration(TIME, {"lesion": measured, "blood": measured}, {"lesion": fitted})
    above, below = figure.axes
    assert below.get_ylabel() == "residual / mM"
    points = [line for line in below.lines if line.get_marker() == "."]
    assert len(points) == 1
    np.testing.assert_allclose(points[0].get_ydata(), 0.02)
    labels = [text.get_text() for text in above.get_legend().get_texts()]
    assert labels == ["lesion (rms 0.02 mM)", "blood"]
