"""T1, T2 and M0 from closed-form signals: bias without noise, precision with it, what cannot be fitted."""

from __future__ import annotations

import numpy as np
import pytest

from mrisim.errors import ConsistencyError
from mrisim.mapping import t1, t2

TI = np.array([0.05, 0.15, 0.4, 1.1, 2.5])
TE = np.array([0.012, 0.05, 0.1, 0.16])
TIMES = np.geomspace(0.02, 5.0, 60)
NO_BIAS = 1e-3  # the target; the fits reach rounding


def spin_echo_recovery(t1_values, ti, te=0.012, tr=5.0):
    """180 - TI - 90 - TE/2 - 180 - TE/2, repeated every TR."""
    r = -1 / np.asarray(t1_values)[..., None]
    return 1 - 2 * np.exp(r * ti) + 2 * np.exp(r * (tr - te / 2)) - np.exp(r * tr)


def spin_echo_factor(t1_values, te, tr):
    r = -1 / np.asarray(t1_values)[..., None]
    return 1 - 2 * np.exp(r * (tr - te / 2)) + np.exp(r * tr)


def bound(model, parameters, noise):
    """Cramér–Rao bounds of the standard deviations, by central differences of a real model."""
    columns = []
    for i, value in enumerate(parameters):
        step = 1e-6 * max(abs(value), 1e-3)
        up, down = ([*parameters[:i], value + s, *parameters[i + 1 :]] for s in (step, -step))
        columns.append((model(up) - model(down)) / (2 * step))
    jacobian = np.stack(columns, axis=1)
    return noise * np.sqrt(np.diag(np.linalg.inv(jacobian.T @ jacobian)))


@pytest.mark.parametrize("kind", ["complex", "signed", "magnitude"])
@pytest.mark.parametrize("tr", [5.0, 2.8])
def test_inversion_recovery_has_no_bias(kind, tr):
    signal = 37.0 * spin_echo_recovery(TIMES, TI, tr=tr)
    data = {"complex": signal * np.exp(2.1j), "signed": signal, "magnitude": np.abs(signal)}[kind]
    fit = t1.fit_inversion_recovery(data, TI, magnitude=kind == "magnitude")
    np.testing.assert_allclose(fit["t1"], TIMES, rtol=NO_BIAS)
    assert fit.converged.all()
    assert dict(fit.counts) == {"fitted": 60, "empty": 0, "failed": 0}
    expected = 37.0 * (1 + 2 * np.exp(-(tr - 0.006) / TIMES) - np.exp(-tr / TIMES))
    np.testing.assert_allclose(np.abs(fit["a"]), expected, rtol=NO_BIAS)
    np.testing.assert_allclose(np.abs(fit["b"]), 2 * 37.0, rtol=NO_BIAS)


@pytest.mark.parametrize("inversion", [np.pi, 2.6])
def test_polarity_is_restored_on_either_side_of_the_null(inversion):
    signal = 1 - (1 - np.cos(inversion)) * np.exp(-TI / TIMES[:, None])
    fit = t1.fit_inversion_recovery(np.abs(signal), TI)
    np.testing.assert_allclose(fit["t1"], TIMES, rtol=NO_BIAS)
    assert (fit["a"] > 0).all()
    assert (fit["b"] < 0).all()


def test_order_of_inversion_times_does_not_matter():
    order = [3, 0, 4, 2, 1]
    signal = np.abs(spin_echo_recovery(TIMES, TI))
    shuffled = t1.fit_inversion_recovery(signal[:, order], TI[order])
    np.testing.assert_allclose(shuffled["t1"], t1.fit_inversion_recovery(signal, TI)["t1"], rtol=1e-9)


@pytest.mark.parametrize("magnitude", [False, True])
@pytest.mark.parametrize(
    "true", [0.3, 0.9, 1.5]
)  # no signal within the noise of zero, where magnitudes are not Gaussian
def test_inversion_recovery_is_as_precise_as_can_be(magnitude, true):
    """SNR 100 of the full signal; 4000 voxels give the standard deviation to 1.1 %."""
    rng, voxels, noise = np.random.default_rng(11), 4000, 0.01
    clean = spin_echo_recovery(true, TI)
    data = clean + noise * (rng.normal(size=(voxels, 5)) + 1j * rng.normal(size=(voxels, 5)))
    if magnitude:
        data = np.abs(data)
    fit = t1.fit_inversion_recovery(data, TI, magnitude=magnitude, noise=noise)
    a, b = 1 + 2 * np.exp(-(5.0 - 0.006) / true) - np.exp(-5.0 / true), -2.0
    best = bound(lambda p: p[1] + p[2] * np.exp(-TI / p[0]), [true, a, b], noise)
    assert fit.converged.all()
    assert fit["t1"].std() == pytest.approx(best[0], rel=0.2)
    assert np.median(fit.standard_error["t1"]) == pytest.approx(best[0], rel=0.05)
    assert np.median(fit.standard_error["b"]) == pytest.approx(best[2], rel=0.05)
    # mean within four standard errors, and the curvature's share, of the order of the relative variance
    assert fit["t1"].mean() == pytest.approx(true, abs=4 * best[0] / np.sqrt(voxels) + 3 * best[0] ** 2 / true)


def test_polarity_that_no_inversion_makes_is_not_taken():
    """T1 = 40 ms: all points lie after the null, but with the first negative the fit is as good; |b/a| = 8 tells."""
    rng, noise, true, voxels = np.random.default_rng(2), 0.01, 0.04, 200
    data = np.abs(1 - 2 * np.exp(-TI / true) + noise * rng.normal(size=(voxels, 5)))
    fit = t1.fit_inversion_recovery(data, TI)
    best = bound(lambda p: p[1] + p[2] * np.exp(-TI / p[0]), [true, 1.0, -2.0], noise)
    assert fit.converged.all()
    assert fit["t1"].mean() == pytest.approx(true, abs=4 * best[0] / np.sqrt(voxels))  # the wrong polarity has 29 ms


def test_standard_errors_from_residuals_are_right_on_average():
    rng, voxels, noise = np.random.default_rng(5), 4000, 0.01
    data = np.exp(-TE / 0.08) + noise * rng.normal(size=(voxels, 4))
    known, unknown = (t2.fit_monoexponential(data, TE, noise=n) for n in (noise, None))
    best = bound(lambda p: p[1] * np.exp(-TE / p[0]), [0.08, 1.0], noise)
    assert known["t2"].std() == pytest.approx(best[0], rel=0.2)
    assert known.standard_error["t2"].mean() == pytest.approx(best[0], rel=0.05)
    assert known.standard_error["m0"].mean() == pytest.approx(best[1], rel=0.05)
    variance = np.mean(unknown.standard_error["t2"] ** 2)
    assert variance == pytest.approx(best[0] ** 2, rel=0.1)  # chi squared of two degrees: 1/sqrt(4000) = 1.6 %
    residual = np.sqrt(np.mean(unknown.residual**2))
    assert residual == pytest.approx(noise * np.sqrt((4 - 2) / 4), rel=0.05)


@pytest.mark.parametrize("te", [None, 0.03])
def test_saturation_recovery_has_no_bias(te):
    tr = np.array([0.1, 0.3, 0.8, 2.0, 6.0])
    signal = (1 - np.exp(-tr / TIMES[:, None])) if te is None else spin_echo_factor(TIMES, te, tr)
    fit = t1.fit_saturation_recovery(5.0 * signal * np.exp(0.4j), tr, te=te)
    np.testing.assert_allclose(fit["t1"][TIMES > 0.025], TIMES[TIMES > 0.025], rtol=NO_BIAS)
    np.testing.assert_allclose(np.abs(fit["m0"])[fit.converged], 5.0, rtol=NO_BIAS)


def test_monoexponential_has_no_bias():
    fit = t2.fit_monoexponential(0.7 * np.exp(-TE / TIMES[:, None]) * np.exp(1j * 300 * TE), TE)
    np.testing.assert_allclose(fit["t2"], TIMES, rtol=NO_BIAS)
    np.testing.assert_allclose(fit["m0"], 0.7, rtol=NO_BIAS)


def test_saturation_of_spin_echoes_is_undone():
    """Long T1 against TR: without T1 the fit is off by more than a per cent, with it by rounding."""
    t1_map, t2_map, tr = np.array([0.5, 1.6, 4.2]), np.array([0.05, 0.08, 0.5]), 3.0
    signal = 0.8 * spin_echo_factor(t1_map, TE, tr) * np.exp(-TE / t2_map[:, None])
    corrected = t2.fit_monoexponential(signal, TE, t1=t1_map, tr=tr)
    np.testing.assert_allclose(corrected["t2"], t2_map, rtol=NO_BIAS)
    np.testing.assert_allclose(corrected["m0"], 0.8, rtol=NO_BIAS)
    plain = t2.fit_monoexponential(signal, TE)
    assert plain["t2"][2] < 0.99 * t2_map[2]
    infinite = t2.fit_monoexponential(0.8 * np.exp(-TE / t2_map[:, None]), TE, t1=t1_map, tr=np.inf)
    np.testing.assert_allclose(infinite["t2"], t2_map, rtol=NO_BIAS)


def test_what_cannot_be_fitted_is_masked_and_counted():
    good = np.exp(-TE / 0.08)
    signal = np.stack([good, 0 * good, good * np.nan, np.array([0.0, 0.0, 0.0, 1.0]), np.ones(4)])
    fit = t2.fit_monoexponential(signal, TE)
    assert fit.converged.tolist() == [True, False, False, False, False]
    assert dict(fit.counts) == {"fitted": 1, "empty": 1, "failed": 3}
    for maps in (fit.maps, fit.standard_error):
        for values in maps.values():
            np.testing.assert_array_equal(np.isfinite(values), fit.converged)
    no_t1 = t2.fit_monoexponential(signal[:1], TE, t1=np.array([np.nan]), tr=3.0)
    assert dict(no_t1.counts) == {"fitted": 0, "empty": 0, "failed": 1}


def test_shapes_are_those_of_the_voxels():
    signal = np.exp(-TE / 0.08) * np.ones((2, 3, 5, 1))
    fit = t2.fit_monoexponential(signal, TE, t1=np.ones((2, 3, 5)), tr=3.0)
    assert {values.shape for values in (*fit.values(), fit.converged, fit.residual)} == {(2, 3, 5)}
    assert list(fit) == ["t2", "m0"]
    assert t2.fit_monoexponential(signal[:0], TE)["t2"].shape == (0, 3, 5)


def test_single_precision_data_are_fitted_in_double():
    fit = t2.fit_monoexponential(np.exp(-TE / TIMES[:, None]).astype(np.float32), TE)
    assert fit["t2"].dtype == np.float64
    short = TIMES > 0.03  # below, the last echoes are less than the rounding of float32
    np.testing.assert_allclose(fit["t2"][short], TIMES[short], rtol=1e-4)


def test_results_do_not_depend_on_the_chunks(monkeypatch):
    signal = np.abs(spin_echo_recovery(np.geomspace(0.1, 3.0, 37), TI))
    whole = t1.fit_inversion_recovery(signal, TI)
    monkeypatch.setattr("mrisim.mapping.separable.CHUNK", 16)
    np.testing.assert_allclose(t1.fit_inversion_recovery(signal, TI)["t1"], whole["t1"], rtol=1e-12)


REFUSED = {
    "count": (
        lambda: t2.fit_monoexponential(np.ones(4), TE[:3]),
        "te: must have one value for each of the 4 measurements, but has shape (3,).",
    ),
    "nan": (
        lambda: t2.fit_monoexponential(np.ones(4), TE * np.nan),
        "te: must be zero or positive, but holds nan or a negative value.",
    ),
    "one echo": (
        lambda: t2.fit_monoexponential(np.ones(3), 0.1),
        "te: must have at least 2 different values, but has 1. Measure at more of them.",
    ),
    "t1 alone": (
        lambda: t2.fit_monoexponential(np.ones(4), TE, t1=1.0),
        "t1: must come with tr, but comes alone. Give tr too.",
    ),
    "t1 shape": (
        lambda: t2.fit_monoexponential(np.ones((2, 4)), TE, t1=np.ones(3), tr=1.0),
        "t1: must be one value or have shape (2,), but has (3,).",
    ),
    "three TI": (
        lambda: t1.fit_inversion_recovery(np.ones(3), TI[:3]),
        "ti: must have at least 4 different values, but has 3. Measure at more of them.",
    ),
    "one TR": (
        lambda: t1.fit_saturation_recovery(np.ones(2), [0.1, 0.1]),
        "tr: must have at least 2 different values, but has 1. Measure at more of them.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_settings_that_do_not_fit_are_refused(case):
    call, message = REFUSED[case]
    with pytest.raises(ConsistencyError) as caught:
        call()
    assert str(caught.value) == message
