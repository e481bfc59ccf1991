"""A grid of parameters: one scan per combination, one report."""

from __future__ import annotations

import numpy as np
import pytest

import mrisim as mr
from mrisim.errors import SpecError

SUCH_AS = "Such as --grid TE=60ms,80ms,100ms."


def test_every_combination_is_a_scan(tmp_path):
    grid = {"TE": ["20 ms", "40 ms"], "TR": ["200 ms", "400 ms"]}
    result = mr.sweep("spin_echo", grid, set={"matrix": 16}, isochromats=1, out=tmp_path / "out")
    assert list(result.scans) == ["TE=20ms,TR=200ms", "TE=20ms,TR=400ms", "TE=40ms,TR=200ms", "TE=40ms,TR=400ms"]
    later = result.scans["TE=40ms,TR=200ms"].image
    assert later.coordinates["te"] == pytest.approx([0.04])
    bright = [np.abs(scan.image.data).max() for scan in result.scans.values()]
    assert bright[1] > bright[0] > bright[2]  # a longer TR is brighter, a longer TE darker
    assert (tmp_path / "out" / "kspace" / "TE=20ms,TR=200ms.h5").exists()


@pytest.mark.parametrize(
    ("grid", "options", "message"),
    [
        ({}, {}, "grid: must make 1 to 256 scans, but makes 0. " + SUCH_AS),
        ({"TE": []}, {}, "grid: must make 1 to 256 scans, but makes 0. " + SUCH_AS),
        ({"TE": ["20 ms"] * 257}, {}, "grid: must make 1 to 256 scans, but makes 257. " + SUCH_AS),
        ({"TE": ["20 ms", "20ms"]}, {}, "grid: must hold each value once, but repeats one."),
        ({"TE": ["20 ms"]}, {"set": {"TE": "30 ms"}}, "TE: must not be set and varied, but is both."),
    ],
)  # fmt: skip
def test_what_is_no_grid_is_refused(grid, options, message):
    with pytest.raises(SpecError) as caught:
        mr.sweep("spin_echo", grid, **options)
    assert str(caught.value) == message


def test_a_protocol_is_not_swept():
    with pytest.raises(SpecError, match="must be a sequence, but is 'brain_demo'"):
        mr.sweep("brain_demo", {"TE": ["20 ms"]})
