"""Kinetic models: exact convolution, limits between models, areas, slopes."""

from __future__ import annotations

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.linalg import expm

from mrisim.physics import pharmacokinetics as pk

LIMIT = 1e-6  # between models, relative to the peak
MINUTE = 60.0
TIME = np.concatenate([np.arange(0.0, 60.0, 1.5), np.arange(60.0, 400.0, 7.0)])
INPUT = np.where(TIME > 9, (TIME - 9) ** 2 * np.exp(-(TIME - 9) / 6) + np.minimum(TIME - 9, 20.0), 0.0) / 10
FP, PS, VE, VP = 0.6 / MINUTE, 0.15 / MINUTE, 0.25, 0.061  # no transit time of whole steps


@pytest.fixture(autouse=True)
def in_double_precision():
    with jax.enable_x64(True):
        yield


RESPOND = jax.jit(pk.respond, static_argnames=("lagged", "uniform"))


def curve(response, at=None, time=TIME, ca=INPUT, **options):
    return np.asarray(RESPOND(response, time, ca, at, **options))


def close(found, expected):
    np.testing.assert_allclose(found, expected, atol=LIMIT * np.abs(expected).max(), rtol=0)


CONVOLVE = jax.jit(pk.convolve, static_argnames="uniform")


@pytest.mark.parametrize("rate", [0.0, 1e-7, 0.004, 0.066, 0.07, 3.0])  # 0.1 per step is where the series ends
def test_convolution_is_exact(rate):
    at = np.array([9.0, 10.5, 31.3, 59.2, 66.0, 388.0, TIME[-1]])
    found = np.asarray(CONVOLVE(rate, TIME, INPUT, at))
    for t, value in zip(at, found, strict=True):
        knots = TIME[t >= TIME]
        pieces = [*knots, t] if t > knots[-1] else knots
        integrand = lambda s, t=t: np.exp(-rate * (t - s)) * np.interp(s, TIME, INPUT)  # noqa: E731
        dense = sum(quad(integrand, a, b, epsabs=1e-13)[0] for a, b in pairwise(pieces))
        assert value == pytest.approx(dense, rel=1e-10, abs=1e-12)  # of the quadrature


def test_values_at_knots_are_those_in_between():
    response = pk.two_compartment_exchange(FP, PS, VE, VP)
    np.testing.assert_allclose(curve(response, lagged=False), curve(response, TIME), rtol=1e-12, atol=1e-14)
    even = np.linspace(0, 300, 101)
    ca = np.interp(even, TIME, INPUT)
    for at in (None, even[1:] - 0.7):
        plain, quick = (curve(response, at, even, ca, uniform=uniform) for uniform in (False, True))
        np.testing.assert_allclose(quick, plain, rtol=1e-11, atol=1e-13)


def test_nothing_changes_before_an_input_that_starts_at_once():
    """Though its first value is not zero; nor does the slope over time know it, which a fitted delay needs."""
    time, curve = jnp.array([1.0, 2.0, 4.0]), jnp.array([3.0, 2.0, 1.0])
    value, slope = jax.jvp(lambda at: pk.convolve(0.5, time, curve, at), (jnp.array([0.2, 1.5]),), (jnp.ones(2),))
    assert (float(value[0]), float(slope[0])) == (0.0, 0.0)
    assert float(slope[1]) == pytest.approx(2.5 - 0.5 * float(value[1]), rel=1e-6)


def test_nothing_comes_before_the_input():
    found = curve(pk.extended_tofts(FP, VE, VP), np.array([-5.0, 0.0, 3.0]), TIME[5:], INPUT[5:] + 1.0)
    assert (found == 0).all()


@pytest.mark.parametrize("name", list(pk.MODELS))
def test_slopes_are_those_of_differences(name):
    model = pk.MODELS[name]
    values = dict(zip(("ktrans", "fp", "ps", "ve", "vp"), (0.2 / MINUTE, FP, PS, VE, VP), strict=True))
    p = np.array([values[key] for key in model.parameters])
    at = TIME[3:] - 2.2 if name in ("2cxm", "aath") else None
    f = jax.jit(lambda p: pk.respond(model.response(*p), TIME, INPUT, at, lagged=model.lagged))
    slopes = np.asarray(jax.jit(jax.jacfwd(f))(jnp.asarray(p)))
    for i, step in enumerate(np.diag(1e-5 * p)):
        differences = np.asarray(f(p + step) - f(p - step)) / (2 * step[i])
        np.testing.assert_allclose(slopes[:, i], differences, atol=1e-6 * np.abs(differences).max())


def test_slope_over_time_and_input():
    response = pk.tofts(PS, VE)
    at = jnp.array([33.3, 200.0])
    f = jax.jit(lambda at, ca: pk.respond(response, TIME, ca, at))
    step = 1e-5
    by_time = jax.jvp(lambda at: f(at, jnp.asarray(INPUT)), (at,), (jnp.ones(2),))[1]
    np.testing.assert_allclose(by_time, (f(at + step, INPUT) - f(at - step, INPUT)) / (2 * step), rtol=1e-6)
    by_input = jax.jvp(lambda ca: f(at, ca), (jnp.asarray(INPUT),), (jnp.asarray(INPUT),))[1]
    np.testing.assert_allclose(by_input, f(at, INPUT), rtol=1e-12)  # linear in the input
    with pytest.raises(TypeError, match="knots must not be differentiated"):
        jax.jvp(lambda t: pk.convolve(0.1, t, INPUT), (jnp.asarray(TIME),), (jnp.ones(len(TIME)),))


def test_exchange_is_the_solution_of_its_equations():
    """vp dcp/dt = Fp (ca - cp) - PS (cp - ce), ve dce/dt = PS (cp - ce), after an impulse of area one."""
    matrix = np.array([[-(FP + PS) / VP, PS / VP], [PS / VE, -PS / VE]])
    response = pk.two_compartment_exchange(FP, PS, VE, VP)
    for t in (0.0, 1.3, 20.0, 300.0):
        both = expm(matrix * t) @ np.array([FP / VP, 0.0])
        found = float(jnp.sum(response.amplitude * jnp.exp(-response.rate * t)))
        assert found == pytest.approx(VP * both[0] + VE * both[1], rel=1e-12)


@pytest.mark.parametrize("ve", [0.02, 0.25])
def test_exchange_becomes_tofts_without_plasma(ve):
    ktrans = FP * PS / (FP + PS)
    close(curve(pk.two_compartment_exchange(FP, PS, ve, 1e-9)), curve(pk.tofts(ktrans, ve)))


def test_exchange_becomes_extended_tofts_with_fast_flow():
    close(curve(pk.two_compartment_exchange(1e7, PS, VE, VP)), curve(pk.extended_tofts(PS, VE, VP)))


def test_exchange_becomes_patlak_with_fast_flow_and_no_return():
    close(curve(pk.two_compartment_exchange(1e7, PS, 1e9, VP)), curve(pk.patlak(VP, PS)))


def test_exchange_becomes_uptake_without_return():
    close(curve(pk.two_compartment_exchange(FP, PS, 1e9, VP)), curve(pk.two_compartment_uptake(FP, PS, VP)))


def test_extended_tofts_becomes_patlak_without_return():
    close(curve(pk.extended_tofts(PS, 1e9, VP)), curve(pk.patlak(VP, PS)))


def test_homogeneity_becomes_tofts_without_plasma():
    ktrans = FP * -np.expm1(-PS / FP)
    close(curve(pk.adiabatic_tissue_homogeneity(FP, PS, VE, 1e-12)), curve(pk.tofts(ktrans, VE)))


@pytest.mark.parametrize(
    ("response", "volume"),
    [
        (pk.tofts(PS, VE), VE),
        (pk.extended_tofts(PS, VE, VP), VE + VP),
        (pk.two_compartment_exchange(FP, PS, VE, VP), VE + VP),
        (pk.adiabatic_tissue_homogeneity(FP, PS, VE, VP), VE + VP),
    ],
    ids=["tofts", "extended_tofts", "2cxm", "aath"],
)
def test_area_is_that_of_the_input_times_the_volume(response, volume):
    """A bolus that ends, and a tissue that has washed out: PS/ve is 0.01/s and 6000 s are sixty of its times."""
    time = np.linspace(0, 8000, 8001)
    ca = np.where(time < 30, np.sin(np.pi * time / 30) ** 2, 0.0)
    tissue = curve(response, None, time, ca, uniform=True)
    assert float(np.trapezoid(tissue, time)) == pytest.approx(volume * np.trapezoid(ca, time), rel=2e-3)  # trapezoids
    exact = float(response.delta + jnp.sum(response.amplitude / jnp.where(response.rate > 0, response.rate, jnp.inf)))
    plateau = float(-jnp.sum(jnp.where(response.rate == 0, response.amplitude * response.lag, 0.0)))
    assert exact + plateau == pytest.approx(volume, rel=LIMIT)


def test_homogeneity_is_a_plateau_and_a_washout():
    response = pk.adiabatic_tissue_homogeneity(FP, PS, VE, VP)
    transit, extraction = VP / FP, -np.expm1(-PS / FP)
    for t in (0.5 * transit, 1.5 * transit, 100.0):
        gone = t > response.lag
        h = float(jnp.sum(jnp.where(gone, response.amplitude * jnp.exp(-response.rate * (t - response.lag)), 0.0)))
        washout = extraction * FP * np.exp(-extraction * FP * (t - transit) / VE)
        assert h == pytest.approx(FP if t < transit else washout, rel=1e-12)


def test_single_precision_is_good_to_its_rounding():
    with jax.enable_x64(False):
        coarse = curve(pk.two_compartment_exchange(FP, PS, VE, VP))
    assert coarse.dtype == np.float32
    fine = curve(pk.two_compartment_exchange(FP, PS, VE, VP))
    assert np.abs(coarse - fine).max() < 100 * np.finfo(np.float32).eps * fine.max()  # of a recursion of 89 steps
