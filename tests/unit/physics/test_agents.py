"""Relaxivities: looked up by any name, near a measured field only."""

from __future__ import annotations

import pytest

from mrisim.errors import ConsistencyError
from mrisim.physics.agents import AGENTS, relaxation_rate, relaxivity


@pytest.mark.parametrize("name", ["gadobutrol", "Gd-BT-DO3A", "GADOVIST"])
def test_names(name):
    assert relaxivity(name, 3.0).r1 == 4.5  # Shen 2015, whole blood
    assert relaxivity(name, 2.89, "plasma").r1 == 4.97  # Szomolanyi 2019


PUBLISHED = {  # r1 at 1.5, 3 and 7 T [1/(s mM)]
    "blood": {  # Shen 2015
        "Gd-DOTA": (3.9, 3.4, 2.8), "Gd-BT-DO3A": (4.6, 4.5, 4.2), "Gd-HP-DO3A": (4.4, 3.5, 3.4),
        "Gd-DTPA": (4.3, 3.8, 3.1), "Gd-BOPTA": (6.2, 5.4, 4.7), "Gd-EOB-DTPA": (7.2, 5.5, 4.9),
    },
    "plasma": {  # Szomolanyi 2019
        "Gd-DOTA": (3.32, 3.00, 2.84), "Gd-BT-DO3A": (4.78, 4.97, 3.83), "Gd-HP-DO3A": (3.80, 3.28, 3.21),
    },
}  # fmt: skip


@pytest.mark.parametrize("medium", PUBLISHED)
def test_values_are_those_published(medium):
    for agent, values in PUBLISHED[medium].items():
        assert tuple(relaxivity(agent, field, medium).r1 for field in (1.5, 3.0, 7.0)) == values


def test_relaxivities_of_t2_are_those_published():
    """Rohrer 2005, 3 T, bovine plasma; of the others no source is at hand."""
    known = {agent: relaxivity(agent, 3.0, "plasma").r2 for agent in PUBLISHED["plasma"]}
    assert known == {"Gd-DOTA": 4.9, "Gd-BT-DO3A": 7.1, "Gd-HP-DO3A": None}


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
