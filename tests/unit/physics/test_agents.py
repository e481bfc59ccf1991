"""Relaxivities: looked up by any name, near a measured field only."""

from __future__ import annotations

import pytest

from mrisim.errors import ConsistencyError
from mrisim.physics.agents import AGENTS, relaxation_rate, relaxivity


@pytest.mark.parametrize("name", ["gadobutrol", "Gd-BT-DO3A", "GADOVIST"])
def test_names(name):
    assert relaxivity(name, 3.0).r1 == 4.5  # Shen 2015, whole blood
    assert relaxivity(name, 2.89, "plasma").r1 == 4.97  # Szomolanyi 2019


def test_every_value_has_a_source_and_order():
    for data in AGENTS.values():
        for table in (data.blood, data.plasma):
            for entry in table.values():
                assert 2 < entry.r1 < 8
                assert entry.r2 is None or entry.r2 > entry.r1
                assert "37 °C" in entry.source


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gadobutro", 3.0), "agent: must be one of .*, but is 'gadobutro' .did you mean 'gadobutrol'.."),
        (("gadobutrol", 0.5), "field: must be a field at which gadobutrol was measured in blood .1.5 T, 3 T, 7 T."),
        (("Magnevist", 3.0, "plasma"), "field: must be .* measured in plasma .no field., but is 3 T"),
        (("gadobutrol", 3.0, "water"), "medium: must be blood or plasma, but is 'water'"),
    ],
)
def test_unknown_ones_are_refused(arguments, message):
    with pytest.raises(ConsistencyError, match=message):
        relaxivity(*arguments)


def test_rates_add():
    assert relaxation_rate(0.5, 4.5, 2.0) == 9.5
