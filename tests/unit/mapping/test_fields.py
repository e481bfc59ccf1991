"""B0 from two echoes; B1 from two flip angles and from two TR."""

from __future__ import annotations

import numpy as np
import pytest

from mrisim.errors import ConsistencyError
from mrisim.mapping.fields import fit_actual_flip, fit_double_angle, fit_dual_echo

B1 = np.array([0.7, 0.95, 1.2])


def test_the_phase_between_two_echoes_gives_off_resonance_with_its_sign_and_wraps() -> None:
    te, df = np.array([2.3e-3, 4.6e-3]), np.array([-120.0, 33.0, 200.0, 250.0])
    signal = np.exp(0.7j) * np.exp(-2j * np.pi * np.multiply.outer(df, te)) * np.exp(-te / 0.02)
    period = 1 / (te[1] - te[0])
    np.testing.assert_allclose(fit_dual_echo(signal, te)["b0"], [-120.0, 33.0, 200.0, 250.0 - period], atol=1e-9)


def test_double_angle_keeps_the_sign_beyond_ninety_degrees() -> None:
    flip = np.radians([60.0, 120.0])
    signal = 0.3 * np.exp(0.4j) * np.sin(np.multiply.outer(B1, flip))
    assert np.sin(B1[2] * flip[1]) > 0 > np.cos(np.radians(100.0))
    np.testing.assert_allclose(fit_double_angle(signal, flip)["b1"], B1, rtol=1e-12)


def test_double_angle_is_biased_by_short_tr_as_its_closed_form_says() -> None:
    """Steady states differ: (1 - E1) sin / (1 - E1 cos) of each angle."""
    flip, e1 = np.radians([60.0, 120.0]), np.exp(-1.0)
    signal = np.sin(flip) * (1 - e1) / (1 - e1 * np.cos(flip))
    expected = np.arccos(signal[1] / (2 * signal[0])) / flip[0]
    assert expected > 1.1
    assert fit_double_angle(signal, flip)["b1"] == pytest.approx(expected, rel=1e-12)


def test_actual_flip_from_the_exact_steady_state_is_right_to_first_order_in_tr() -> None:
    t1, tr = 1.0, np.array([0.02, 0.1])
    e1, e2 = np.exp(-tr / t1)
    cosine, sine = np.cos(B1 * np.radians(60.0)), np.sin(B1 * np.radians(60.0))
    shared = 1 - e1 * e2 * cosine**2
    first = (1 - e2 + (1 - e1) * e2 * cosine) / shared * sine
    second = (1 - e1 + (1 - e2) * e1 * cosine) / shared * sine
    found = fit_actual_flip(np.stack([first, second], axis=-1), tr, np.radians(60.0))["b1"]
    assert np.abs(found / B1 - 1).max() < tr[1] / t1 / 4
    assert np.abs(found / B1 - 1).max() > 1e-4  # it is not exact


def test_voxels_without_an_answer_are_masked_and_counted() -> None:
    found = fit_double_angle(np.array([[1.0, 0.9], [0.0, 1.0], [0.1, 1.0]]), np.radians([60.0, 120.0]))
    assert found.converged.tolist() == [True, False, False]
    assert found.counts == {"fitted": 1, "empty": 0, "failed": 2}
    assert np.isnan(found["b1"][1:]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_dual_echo([1.0, 2.0], [1e-3, 2e-3]), "signal: must be complex, but holds magnitudes."),
        (lambda: fit_dual_echo([1j, 2j, 3j], [1e-3, 2e-3]), "signal: must be two complex echoes, but has shape (3,)."),
        (lambda: fit_dual_echo([1j, 2j], 1e-3), "te: must be two different echo times, but is one."),
        (
            lambda: fit_double_angle([1.0, 2.0], np.radians([60.0, 100.0])),
            "flip: must be a flip angle and twice as much, but is 60 deg and 100 deg.",
        ),
        (
            lambda: fit_actual_flip([1.0, 0.5], [0.1, 0.02], 1.0),
            "tr: must be a short and a longer time, but is 100 ms and 20 ms.",
        ),
    ],
)
def test_wrong_arguments_are_refused(call, message) -> None:
    with pytest.raises(ConsistencyError) as caught:
        call()
    assert str(caught.value) == message


def test_actual_flip_inverts_its_first_order_form() -> None:
    """r = (1 + n cos) / (n + cos), also beyond 90°."""
    n, cosine = 5.0, np.cos(np.radians([40.0, 60.0, 100.0]))
    signal = np.stack([np.full(3, 2.0), 2 * (1 + n * cosine) / (n + cosine)], axis=-1)
    found = fit_actual_flip(signal, np.array([0.02, 0.1]), np.radians(60.0))["b1"]
    np.testing.assert_allclose(found, [40 / 60, 1.0, 100 / 60], rtol=1e-12)


def test_a_second_image_of_the_other_sign_is_an_angle_beyond_ninety_degrees() -> None:
    flip, b1 = np.radians([60.0, 120.0]), 1.6
    signal = 0.3 * np.exp(0.4j) * np.sin(b1 * flip)
    assert fit_double_angle(signal, flip)["b1"] == pytest.approx(b1, rel=1e-12)
