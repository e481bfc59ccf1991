from __future__ import annotations

import math

import pytest

from mrisim.errors import SpecError
from mrisim.phantom.tissues import AIR, changed, mixture, reversible, tissue, tissue_table

TABLE = tissue_table()


def _values() -> list[tuple[str, object]]:
    """Every cited value of the table with the place that it stands at."""
    found: list[tuple[str, object]] = []
    for name, entry in TABLE.tissues.items():
        found += [(f"{name}.PD", entry.PD), (f"{name}.chi", entry.chi), (f"{name}.ADC", entry.ADC)]
        if entry.spectrum:
            found.append((f"{name}.spectrum", entry.spectrum))
        for field, values in entry.at.items():
            found += [
                (f"{name}.{field}.{key}", getattr(values, key))
                for key in ("T1", "T2", "T2star")
                if getattr(values, key)
            ]
    return found


def test_every_value_names_a_known_source_and_every_source_is_used() -> None:
    used = {place: value.source for place, value in _values()}  # type: ignore[attr-defined]
    assert [place for place, source in used.items() if source not in TABLE.sources] == []
    assert set(TABLE.sources) - set(used.values()) <= {"bojorquez2017", "schenck1996"}  # ranges, and air


def test_relaxation_times_are_in_order() -> None:
    for name, entry in TABLE.tissues.items():
        for field, values in entry.at.items():
            t1, t2 = values.T1.value, values.T2.value
            assert 0.0 < t2 <= 2.0 * t1, (name, field)
            assert values.T2star is None or values.T2star.value <= t2, (name, field)


@pytest.mark.parametrize(("name", "field"), [("white_matter", "3 T"), ("csf", "3 T"), ("muscle", "1.5 T")])
def test_values_lie_in_their_range(name: str, field: str) -> None:
    values = TABLE.tissues[name].at[field]
    ranged = [v for v in (values.T1, values.T2) if v.range is not None]
    assert ranged
    assert all(v.range[0] <= v.value <= v.range[1] for v in ranged)


@pytest.mark.parametrize(
    ("name", "field", "t1", "t2"),
    [
        ("white_matter", 1.5, 0.646, 0.080),
        ("white_matter", 3.0, 0.838, 0.071),
        ("white_matter", 7.0, 1.126, 0.047),
        ("gray_matter", 3.0, 1.607, 0.072),
        ("liver", 3.0, 0.812, 0.042),
        ("nist_t1_1", 3.0, 1.989, 1.465),
        ("nist_t1_14", 3.0, 0.021719, 0.01583),
        ("nist_t2_1", 3.0, 2.480, 0.5813),
        ("nist_t2_14", 1.5, 0.08333, 0.00815),
        ("nist_t2_5", 3.0, 1.332, 0.13327),
    ],
)
def test_anchors_of_the_table(name: str, field: float, t1: float, t2: float) -> None:
    found = tissue(name, field)
    assert found.t1 == pytest.approx(t1, rel=1e-12)
    assert found.t2 == pytest.approx(t2, rel=1e-12)


@pytest.mark.parametrize("array", ["nist_t1", "nist_t2"])
@pytest.mark.parametrize("field", [1.5, 3.0])
def test_vials_fall_from_sphere_1(array: str, field: float) -> None:
    times = [(tissue(f"{array}_{i}", field).t1, tissue(f"{array}_{i}", field).t2) for i in range(1, 15)]
    assert times == sorted(times, reverse=True)


def test_fat_has_six_peaks_that_add_up() -> None:
    fat = tissue("fat", 3.0)
    assert [s.shift for s in fat.species] == [-3.80, -3.40, -2.60, -1.94, -0.39, 0.60]
    assert sum(s.share for s in fat.species) == pytest.approx(1.0, abs=1e-12)
    assert fat.species[1].share == pytest.approx(0.693 / 0.999)
    assert fat.t1 == pytest.approx(0.377)  # the peaks have one T1


def test_t2_prime_completes_t2_star() -> None:
    gray = tissue("gray_matter", 3.0)
    assert gray.t2_star == pytest.approx(0.066, rel=1e-12)
    assert 1 / gray.t2_prime == pytest.approx(1 / 0.066 - 1 / 0.072)
    assert tissue("csf", 3.0).t2_prime == math.inf
    assert reversible(0.08, 0.08) == math.inf


def test_air_gives_no_signal() -> None:
    assert tissue("air", 3.0) is AIR
    assert AIR.pd == 0.0
    assert math.isnan(AIR.t1)


def test_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError) as error:
        tissue("grey_matter", 3.0)
    assert str(error.value) == "must be a known tissue, but is 'grey_matter'. Did you mean 'gray_matter'."


def test_other_field_is_refused_with_the_fields_known() -> None:
    with pytest.raises(SpecError) as error:
        tissue("liver", 7.0)
    assert str(error.value) == (
        "must be a tissue known at 7 T, but 'liver' is known at 1.5 T and 3 T only. "
        "Choose one of these fields, or give the tissue its own T1 and T2."
    )


def test_changes_keep_the_reversible_part() -> None:
    white = tissue("white_matter", 3.0)
    lesion = changed(white, {"t1": 1.4, "t2": 0.12}, "lesion")
    assert (lesion.t1, lesion.t2) == (1.4, pytest.approx(0.12))
    assert lesion.t2_prime == pytest.approx(white.t2_prime)
    assert lesion.t2_star < lesion.t2
    assert changed(white, {"t2_star": 0.03}, "iron").t2_star == pytest.approx(0.03)


def test_a_shift_replaces_the_spectrum() -> None:
    assert [s.shift for s in changed(tissue("fat", 3.0), {"shift": -3.4}, "simple").species] == [-3.4]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"t1": 0.02}, "T2: must be at most 2 T1 = 40 ms, but is 71 ms. Check that T1 and T2 are not exchanged."),
        (
            {"t2_star": 0.2},
            "T2star: must be at most T2 = 71 ms, but is 200 ms. Check that T2 and T2star are not exchanged.",
        ),
    ],
)
def test_impossible_times_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(SpecError) as error:
        changed(tissue("white_matter", 3.0), changes, "odd")
    assert str(error.value) == message


def test_a_mixture_has_the_species_of_its_parts() -> None:
    water, fat = tissue("water", 3.0), tissue("fat", 3.0)
    cream = mixture({water: 0.8, fat: 0.2}, "cream")
    assert len(cream.species) == 1 + len(fat.species)
    assert cream.pd == pytest.approx(0.8 * water.pd + 0.2 * fat.pd)
    assert sum(s.share for s in cream.species) == pytest.approx(1.0)
    rate = (0.8 * water.pd / water.t1 + 0.2 * fat.pd / fat.t1) / cream.pd
    assert cream.t1 == pytest.approx(1.0 / rate)
    assert cream.chi == pytest.approx(0.8 * water.chi + 0.2 * fat.chi)


def test_a_mixture_adds_up_to_one() -> None:
    with pytest.raises(SpecError) as error:
        mixture({tissue("water", 3.0): 0.8, tissue("fat", 3.0): 0.1}, "thin")
    assert str(error.value) == "must be fractions that add up to 100 %, but add up to 90 %."
