"""Exact systems on every engine, in both precisions: hard ideal pulses against formulas."""

from __future__ import annotations

import numpy as np
import pytest
from physics import oracles
from physics.build import DEG, MS
from physics.oracles import TOLERANCE, graph_signal, graph_system

ENGINES = ["bloch"]


def closed_form(t1: float, t2: float, tr: float, ti: float, te: float) -> dict[str, float]:
    """Signals of perfect pulses, from the recursion of Mz over one TR."""
    e = np.exp
    return {
        "se": (1 - 2 * e(-(tr - te / 2) / t1) + e(-tr / t1)) * e(-te / t2),
        "ir_se": 1 - 2 * e(-ti / t1) + 2 * e(-(tr - te / 2) / t1) - e(-tr / t1),
    }


def inversion_recovery(t1: float, tr: float, ti: float, inversion: float, flip: float) -> float:
    c, e1 = np.cos(inversion), np.exp(-tr / t1)
    return np.sin(flip) * (1 - c * e1 - (1 - c) * np.exp(-ti / t1)) / (1 - c * np.cos(flip) * e1)


def bssfp_half_way(flip: float, tr: float, t1: float, t2: float, df: np.ndarray) -> np.ndarray:
    """Fixed point of rotation, precession and relaxation over one TR, then half a TR of precession."""
    result = []
    c, s = np.cos(flip), np.sin(flip)
    pulse = np.array([[1, 0, 0], [0, c, s], [0, -s, c]])  # left-handed about x
    e1, e2 = np.exp(-tr / t1), np.exp(-tr / t2)
    for f in df:
        angle = 2 * np.pi * f * tr + np.pi  # precession is left-handed; the pulses alternate
        a, b = np.cos(angle), np.sin(angle)
        free = np.array([[e2 * a, e2 * b, 0], [-e2 * b, e2 * a, 0], [0, 0, e1]])
        m = np.linalg.solve(np.eye(3) - pulse @ free, pulse @ np.array([0, 0, 1 - e1]))
        result.append((m[0] + 1j * m[1]) * np.exp(-tr / 2 * (1 / t2 + 2j * np.pi * f)))
    return np.array(result)


BANDS = np.array([0.0, 20.0, 50.0, 90.0, 100.0, -50.0, -137.0])

SYSTEMS = [
    oracles.free_precession(),
    oracles.saturation_recovery(),
    oracles.inversion_recovery(5.0, 0.5, 180 * DEG, 90 * DEG, inversion_recovery(0.9, 5.0, 0.5, 180 * DEG, 90 * DEG)),
    oracles.inversion_recovery(2.5, 0.4, 170 * DEG, 80 * DEG, inversion_recovery(0.9, 2.5, 0.4, 170 * DEG, 80 * DEG)),
    oracles.inversion_recovery_spin_echo(3.0, 0.4, 0.02, 0.9, closed_form(0.9, 0.08, 3.0, 0.4, 0.02)["ir_se"]),
    oracles.spin_echo(0.5, 0.02, 0.9, 0.08, closed_form(0.9, 0.08, 0.5, 0.0, 0.02)["se"]),
    oracles.ernst(10 * DEG, 10 * MS, 1.0),
    oracles.ernst(27 * DEG, 12 * MS, 0.8),
    oracles.bssfp(40 * DEG, 5 * MS, 1.0, 0.1, BANDS, bssfp_half_way(40 * DEG, 5 * MS, 1.0, 0.1, BANDS)),
    *(graph_system(f"CPMG {a} deg", oracles.cpmg(a * DEG), 1.0, 0.1) for a in (180, 150, 120, 90, 60)),
    graph_system("echo train without the CPMG phase", oracles.cpmg(150 * DEG, phase=0.0), 1.0, 0.1),
    graph_system("three pulses", oracles.three_pulses((71 * DEG, 52 * DEG, 104 * DEG)), 0.9, 0.2),
    graph_system("FISP", oracles.ssfp(30 * DEG, 10 * MS, 0.0), 1.0, 0.1, last=1),
    graph_system("PSIF", oracles.ssfp(30 * DEG, 10 * MS, 1.0), 1.0, 0.1, last=1),
    graph_system("RF spoiling", oracles.rf_spoiled(15 * DEG, 117 * DEG, n=150), [1.0, 1.0], [0.045, 0.1]),
    graph_system("random train", oracles.random_train(), 0.4, 0.09),
]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("system", SYSTEMS, ids=lambda s: s.name)
def test_signal_is_exact(system, engine, dtype):
    error = np.abs(system.run(engine, dtype) - system.exact()).max()
    assert error < TOLERANCE[dtype]


@pytest.mark.parametrize("flips", [(90, 90, 90), (71, 52, 104)])
def test_three_pulses_make_five_echoes(flips):
    """Hahn's amplitudes, without relaxation; pulses at 0, 2 and 7 units of dephasing.

    Source: Hahn, Phys Rev 80:580 (1950).
    """
    a, b, c = (f * DEG for f in flips)
    shots = oracles.three_pulses((a, b, c))
    signal = graph_system("echoes", shots, np.inf, np.inf).run()[0]
    half = lambda angle: np.sin(angle / 2) ** 2  # noqa: E731
    echo = np.sin(a) * half(b)  # spin echo of the first two, at 4 units
    expected = np.zeros(len(signal))
    after_third = {
        2: 0.5 * np.sin(a) * np.sin(b) * np.sin(c),  # stimulated
        3: echo * half(c),  # the spin echo, refocused
        5: np.cos(a) * np.sin(b) * half(c),  # of the second and the third
        7: np.sin(a) * np.cos(b / 2) ** 2 * half(c),  # of the first and the third
    }
    expected[0] = echo
    for unit, value in after_third.items():
        expected[unit] = value
    assert np.abs(signal) == pytest.approx(np.abs(expected), abs=TOLERANCE["float64"])
    if flips == (90, 90, 90):
        assert expected[[0, 2, 7, 5, 3]] == pytest.approx([0.5, 0.5, 0.25, 0.0, 0.25])


@pytest.mark.parametrize("constant", [-1.0, 0.0, 3.0])
def test_constant_of_the_quadratic_phase_does_not_matter(constant):
    """n², n (n ± 1): a linear phase is an off-resonance, which the ensemble holds already."""
    shots = oracles.rf_spoiled(15 * DEG, 117 * DEG, n=250, constant=constant)
    reference = np.abs(list(graph_signal(oracles.rf_spoiled(15 * DEG, 117 * DEG, n=250), 1.0, 0.1, 1e-5)))
    signal = np.abs(graph_system("spoiled", shots, 1.0, 0.1).run()[0])
    assert signal == pytest.approx(reference, abs=1e-3)  # ensemble, physics of linear phase apart


def test_echo_train_collapses_without_the_cpmg_phase():
    with_phase = np.abs(graph_system("CPMG", oracles.cpmg(90 * DEG), 1.0, 0.1).run()[0])
    without = np.abs(graph_system("CP", oracles.cpmg(90 * DEG, phase=0.0), 1.0, 0.1).run()[0])
    assert without[0] == pytest.approx(with_phase[0], abs=TOLERANCE["float64"])  # sin²(a/2), whatever the phase
    assert without[-1] < 0.3 * with_phase[-1]  # 0.082 against 0.383 by the phase graph


def test_first_echo_of_a_train_and_no_relaxation_values():
    """sin²(a/2) of the first echo; .75, .9375, .84375, .8555 of the first four at 120 degrees, by hand."""
    train = graph_system("train", oracles.cpmg(120 * DEG, n=4), np.inf, np.inf).run()[0]
    assert np.abs(train) == pytest.approx([0.75, 0.9375, 0.84375, 0.85546875], abs=TOLERANCE["float64"])
