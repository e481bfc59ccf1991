"""Input functions and concentration: published values, delay, dispersion, files, inversion of the signal."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from mrisim.errors import ConsistencyError, SpecError
from mrisim.mapping import dce
from mrisim.physics.signals import spoiled_gradient_echo

MINUTE, DEG = 60.0, np.pi / 180
TIME = np.arange(0.0, 600.0, 0.1)


@pytest.mark.parametrize(
    ("curve", "peak", "at"),
    [
        (dce.parker_aif, 6.07, 0.17 * MINUTE),  # Parker 2006, figure 3
        (dce.georgiou_aif, 8.65, 0.125 * MINUTE),  # Georgiou 2019; from parameters of two or three digits
        (dce.mcgrath_aif, 3.4 + 1.81, 7.0),
        (dce.weinmann_aif, 0.1 * (3.99 + 4.78), 0.0),
    ],
)
def test_first_pass(curve, peak, at):
    values = curve(TIME)
    assert values.max() == pytest.approx(peak, rel=0.01)
    assert TIME[values.argmax()] == pytest.approx(at, abs=0.5)
    assert values[600:].min() > 0


def test_georgiou_is_a_first_pass_that_comes_round():
    """Each round is the last one convolved with the first pass, a period later: table 3, by sums over 20 ms."""
    amplitudes, rates = np.array([0.37, 0.33, 10.06]), np.array([0.11, 1.17, 16.02])  # [mM], [1/min]
    alpha, beta, period, step = 5.26, 0.032, 0.129, 1 / 3000  # [1], [min]
    t = np.arange(0.0, 1.0, step)
    first = t**alpha * np.exp(-t / beta)
    first /= first.sum() * step
    rounds, total = first, np.zeros_like(t)
    for n in range(int(1 / period) + 1):
        total += np.interp(t - n * period, t, rounds, left=0.0)
        rounds = np.convolve(rounds, first)[: len(t)] * step
    curve = total * (amplitudes @ np.exp(-np.outer(rates, t)))
    found = dce.georgiou_aif(t * MINUTE)
    np.testing.assert_allclose(found, curve, atol=8.65 * (step / beta) ** 2)  # trapezoids


@pytest.mark.parametrize("t", [60.0, 600.0, 3600.0])
def test_tails_are_those_published(t):
    minutes = t / MINUTE
    weinmann = 0.1 * (3.99 * np.exp(-0.144 * minutes) + 4.78 * np.exp(-0.0111 * minutes))
    mcgrath = 3.4 * np.exp(-0.045 * (t - 7)) + 1.81 * np.exp(-0.0015 * (t - 7))
    assert dce.weinmann_aif([t]) == pytest.approx(weinmann, rel=1e-9)
    assert dce.mcgrath_aif([t]) == pytest.approx(mcgrath, rel=1e-9)
    assert dce.mcgrath_aif([2.8]) == pytest.approx(0.4 * (3.4 + 1.81), rel=1e-9)


def test_plasma_holds_all_of_the_agent():
    assert dce.plasma([0.58, 1.16], 0.42) == pytest.approx([1.0, 2.0], rel=1e-12)


def test_a_file_has_its_own_units(tmp_path):
    (tmp_path / "aif.csv").write_text("time [min],plasma [mol/m^3]\n0,0\n1.5,2\n")
    time, concentration, medium = dce.read_aif(tmp_path / "aif.csv")
    assert (time.tolist(), concentration.tolist(), medium) == ([0.0, 90.0], [0.0, 2.0], "plasma")


@pytest.mark.parametrize("curve", [dce.parker_aif, dce.georgiou_aif, dce.mcgrath_aif, dce.weinmann_aif])
def test_delay_shifts_and_nothing_comes_before(curve):
    late = curve(TIME, 31.0)
    np.testing.assert_allclose(late[310:], curve(TIME)[:-310], rtol=1e-9, atol=1e-9)
    assert (late[TIME < 30.9] == 0).all()


def test_circulations_do_not_depend_on_the_end():
    np.testing.assert_allclose(dce.georgiou_aif(TIME)[:900], dce.georgiou_aif(TIME[:900]), rtol=1e-12)


@pytest.mark.parametrize("hct", [0.0, 1.0, 42.0, -0.1, np.nan])
def test_haematocrit_is_a_share(hct):
    with pytest.raises(ConsistencyError, match=f"hct: must lie between 0 and 1, but is {hct:g}. Write a share"):
        dce.plasma([1.0], hct)


def test_dispersion_keeps_the_area_and_delays_by_its_time():
    bolus = np.where(TIME < 40, np.sin(np.pi * TIME / 40) ** 2, 0.0)
    wide = dce.disperse(TIME, bolus, 5.0)
    area = np.trapezoid(bolus, TIME)
    assert np.trapezoid(wide, TIME) == pytest.approx(area, rel=1e-4)  # trapezoids of 0.1 s
    first = lambda curve: np.trapezoid(TIME * curve, TIME) / area  # noqa: E731
    assert first(wide) - first(bolus) == pytest.approx(5.0, rel=1e-3)
    np.testing.assert_array_equal(dce.disperse(TIME, bolus, 0.0), bolus)
    with pytest.raises(ConsistencyError, match="time: must be zero or positive, but is -1 s"):
        dce.disperse(TIME, bolus, -1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("t,c\n0,0\n", "header: must have the columns time"),
        ("time [s],blood [mM]\n0,0\n1,x\n2\n", ":3: must hold two numbers, but is '1,x'."),
        ("time [s],blood [s]\n0,0\n1,1\n", "header: must have the unit of a concentration in brackets"),
        ("time [s],blood [mM]\n0,0\n0,1\n", "time: must increase from each time to the next"),
        ("", "header: must have the columns"),
    ],
)  # fmt: skip
def test_wrong_files_are_refused(tmp_path, text, message):
    file = tmp_path / "aif.csv"
    file.write_text(text)
    with pytest.raises(SpecError, match=message):
        dce.read_aif(file)
    with pytest.raises(SpecError) as error:
        dce.read_aif(tmp_path / "none.csv")
    rule = "must be a CSV file that can be read, but is not: No such file or directory. Check the path."
    assert str(error.value) == f"{tmp_path / 'none.csv'}: {rule}"


def signal(c, flip, tr, t10, r1, te=0.0, r2_star=0.0):
    with jax.enable_x64(True):
        echo = np.asarray(spoiled_gradient_echo(np.asarray(flip), tr, 1 / (1 / np.asarray(t10) + r1 * np.asarray(c))))
    return 41.0 * echo * np.exp(-te * r2_star * np.asarray(c))


def test_concentration_comes_back():
    c = np.array([[0.0, 0.0, 0.3, 1.0, 6.0], [0.0, 0.0, 0.1, 0.5, 0.2]])
    t10, flip = np.array([1.6, 0.9]), np.array([15.0, 12.0]) * DEG
    s = signal(c, flip[:, None], 5e-3, t10[:, None], 4.5)
    found = dce.concentration_from_signal(s * np.exp(0.7j), flip, 5e-3, t10, 4.5, slice(0, 2))
    np.testing.assert_allclose(found, c, atol=1e-11)  # rounding of 1 - S over a TR of T1/300


def test_enhancement_of_one_millimolar():
    """15°, TR 5 ms, T1 1.4 s, 4.5/(s mM): 4.5955 times the baseline, cross-checked (golden value)."""
    found = dce.concentration_from_signal([1.0, 4.5955], 15 * DEG, 5e-3, 1.4, 4.5, slice(0, 1))
    assert found[1] == pytest.approx(1.0, abs=1e-4)  # of five digits
    assert signal(1.0, 15 * DEG, 5e-3, 1.4, 4.5, 2e-3, 5.5) == pytest.approx(
        0.98906 * signal(1.0, 15 * DEG, 5e-3, 1.4, 4.5), rel=1e-5
    )


def test_decay_by_the_agent_is_undone():
    c = np.array([0.0, 0.5, 3.0])
    s = signal(c, 15 * DEG, 5e-3, 1.4, 4.5, te=2e-3, r2_star=6.0)
    plain = dce.concentration_from_signal(s, 15 * DEG, 5e-3, 1.4, 4.5, slice(0, 1))
    found = dce.concentration_from_signal(s, 15 * DEG, 5e-3, 1.4, 4.5, slice(0, 1), te=2e-3, r2_star=6.0)
    assert plain[2] < 0.95 * c[2]
    np.testing.assert_allclose(found, c, atol=1e-11)


def test_the_lag_behind_the_agent_is_undone():
    """Magnetisation pulse by pulse under a bolus, images every 2 s; splines leave h⁴/180 of the fifth derivative."""
    flip, tr, t10, r1, width = 30 * DEG, 10e-3, 1.0, 4.5, 5.0
    at = np.arange(6001) * tr
    bolus = np.exp(-(((at - 30.0) / width) ** 2) / 2)
    m = np.full(6001, (1 - np.exp(-tr / t10)) / (1 - np.exp(-tr / t10) * np.cos(flip)))
    for i in range(6000):
        e1 = np.exp(-tr * (1 / t10 + r1 * (bolus[i] + bolus[i + 1]) / 2))
        m[i + 1] = m[i] * np.cos(flip) * e1 + 1 - e1
    every = slice(0, None, 200)
    plain = dce.concentration_from_signal(m[every], flip, tr, t10, r1, slice(0, 2))
    found = dce.concentration_from_signal(m[every], flip, tr, t10, r1, slice(0, 2), t=at[every])
    assert np.abs(plain - bolus[every]).max() > 5e-3  # 60 ms of a slope of 0.1/s
    lag, fifth = 0.07, 8.3 / width**5  # of a Gaussian
    np.testing.assert_allclose(found, bolus[every], atol=lag * 2.0**4 * fifth / 180)


def test_one_image_without_a_concentration_leaves_the_others():
    s = np.array([1.0, 1.0, 30.0, 1.1, 1.0])
    found = dce.concentration_from_signal(s, 0.2, 5e-3, 1.4, 4.5, slice(0, 2), te=1e-3, r2_star=5.0)
    assert np.isnan(found).tolist() == [False, False, True, False, False]


def test_impossible_signals_are_nan():
    found = dce.concentration_from_signal([[1.0, 30.0], [0.0, 1.0]], 15 * DEG, 5e-3, 1.4, 4.5, slice(0, 1))
    assert np.isnan(found).tolist() == [[False, True], [True, True]]
    assert np.isnan(dce.concentration_from_signal([1.0, 2.0], 0.2, 5e-3, np.nan, 4.5, slice(0, 1))).all()


def test_a_negative_t1_is_refused():
    with pytest.raises(
        ConsistencyError, match=r"t10: must be above zero, or nan where it is not known, but is -0\.5 s"
    ):
        dce.concentration_from_signal(np.ones((2, 3)), 0.2, 5e-3, [1.4, -0.5], 4.5, slice(0, 1))


def test_all_wrong_settings_are_told_at_once():
    with pytest.raises(ConsistencyError) as error:
        dce.concentration_from_signal(np.ones((2, 3)), np.ones(3), 0.0, 1.4, 4.5, slice(3, 3), te=-1.0, t=[0, 2, 1])
    assert str(error.value).splitlines() == [
        "tr: must be above zero, but is 0.",
        "te: must be zero or positive, but is -1.",
        "baseline: must name at least one of the 3 times, but 3 .. 3 names none. Take images before the agent arrives.",
        "flip: must be one value or have shape (2,), but has (3,).",
        "t: must increase from each time to the next, but does not.",
    ]
