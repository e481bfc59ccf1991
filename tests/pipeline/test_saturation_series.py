"""T1 by saturation recovery, from YAML to the map."""

from __future__ import annotations

import numpy as np
import pytest

from mrisim.pipeline import run
from mrisim.pipeline.summary import scan_table

SERIES = """\
mrisim: 1
protocol: Saturation recovery
phantom: tubes.yaml
scans:
  sr:
    sequence: saturation_recovery
    set: {TR: 2.6 s, matrix: 32, fov: 64 mm}
    each: {TS: [150 ms, 500 ms, 1.2 s, 2.5 s]}
maps:
  T1: {fit: saturation_recovery}
simulation: {isochromats: 3}
"""
RASTER = 10e-6  # of blocks [s]: a delay that is solved is rounded to it
BIAS = 0.01  # of the mean over a tube: slice profiles, discrete spins and the fit together


def test_a_series_over_the_saturation_time_maps_t1(folder):
    (folder / "series.yaml").write_text(SERIES)
    result = run(folder / "series.yaml")
    np.testing.assert_allclose(result.scans["sr"].image.coordinates["ts"], [0.15, 0.5, 1.2, 2.5], atol=RASTER)
    rows = [row for row in result.tissues if row.quantity == "T1"]
    assert sorted(row.true for row in rows) == pytest.approx([0.5, 1.2])
    for row in rows:
        assert abs(row.error) <= BIAS, row
    table = scan_table(result)
    shown = dict(zip(table.head, table.rows[0], strict=True))
    assert (shown["TR"], shown["TS"]) == ("2.6 s", "150 ms, 500 ms, 1.2 s, 2.5 s")
    assert "TI" not in shown
