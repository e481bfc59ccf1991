"""Texts of the tables that the terminal and the report show."""

from __future__ import annotations

import pytest

from mrisim.pipeline.records import TissueRow
from mrisim.pipeline.summary import few, scan_time, tissue_rows


@pytest.mark.parametrize(("estimated", "text"), [(0.79999, "+0.0 %"), (0.716, "-10.5 %"), (0.0, "-100.0 %")])
def test_an_error_of_nothing_has_no_minus(estimated, text):
    row = TissueRow("T1", "s", "white_matter", 3, 0.8, estimated, 0.01)
    assert tissue_rows([row]).rows[0][-1] == text


def test_a_minute_has_sixty_seconds():
    assert [scan_time(t) for t in (119.4, 119.6, 3599.9)] == ["1 min 59 s", "2 min 0 s", "60 min 0 s"]


def test_a_long_list_shows_that_it_goes_on():
    assert few([f"{n} ms" for n in range(8)]) == "0 ms, 1 ms, 2 ms, 3 ms, 4 ms, 5 ms, 6 ms, 7 ms"
    assert few([f"{n} ms" for n in range(9)]) == "0 ms, 1 ms … 8 ms (9)"
