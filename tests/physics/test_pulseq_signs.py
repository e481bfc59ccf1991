"""Signs of Pulseq files: frequency, phase and shape of pulses and receiver, in files that the test writes by hand."""

from __future__ import annotations

import numpy as np
import pytest

import mrisim as mr

US = 1e-6
HEAD = """[VERSION]
major 1
minor 5
revision 1
[DEFINITIONS]
AdcRasterTime 1e-07
BlockDurationRaster 1e-05
GradientRasterTime 1e-05
RadiofrequencyRasterTime 1e-06
"""
WIDTH, G, LENGTH = 2000.0, 4e5, 2000  # bandwidth of the pulse [Hz], gradient [Hz/m], samples of 1 us
TIME = (np.arange(LENGTH) + 0.5) * US
SINC = np.sinc(WIDTH * (TIME - 1e-3)) * (0.5 + 0.5 * np.cos(np.pi * (TIME - 1e-3) / 1e-3))
AMPLITUDE = 0.25 / (SINC.sum() * US)  # 90 degrees


def shape(number: int, values) -> str:
    return "\n".join([f"shape_id {number}", f"num_samples {len(values)}", *(f"{v:.12g}" for v in values), "", ""])


def write(path, rf: str, phase=None, adc: str = "1 1 1000 0 0 0 0 0 0", more: str = "", blocks: str | None = None):
    """A slice-selective pulse with its rephaser, then a readout; magnitudes carry the sign of the sinc as a phase."""
    turn = np.where(SINC < 0, 0.5, 0.0) + (0 if phase is None else phase)
    if blocks is None:
        blocks = "1 240 1 0 0 1 0 0\n2 120 0 0 0 2 0 0\n3 100 0 0 0 0 1 0\n"
    text = (
        HEAD
        + f"[BLOCKS]\n{blocks}\n[RF]\n{rf}\n[TRAP]\n1 {G} 200 2000 200 0\n2 {-G} 100 1000 100 0\n3 {G} 100 800 100 0\n"
    )
    text += f"[ADC]\n{adc}\n[SHAPES]\n{shape(1, np.abs(SINC))}{shape(2, np.mod(turn, 1))}{more}"
    path.write_text(text)
    return mr.load_sequence(path)


def excited(seq, axis: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Positions along an axis and transverse magnetisation after the rephaser."""
    at = np.linspace(-0.03, 0.03, 241)
    position = np.zeros((len(at), 3))
    position[:, axis] = at
    ph = mr.Phantom.from_arrays(position=position, t1=np.inf, t2=np.inf)
    end = float(seq.blocks.duration[:2].sum())
    m = np.asarray(mr.trace(seq, ph, [end]))[0]
    return at, m[:, 0] + 1j * m[:, 1]


def rf(frequency: float = 0.0, phase: float = 0.0) -> str:
    return f"1 {AMPLITUDE:.12g} 1 2 0 1000 200 0 0 {frequency} {phase:.12g} e"


def test_positive_frequency_selects_positive_position(tmp_path):
    at, m = excited(write(tmp_path / "a.seq", rf(frequency=4000.0)))
    assert np.average(at, weights=np.abs(m) ** 2) == pytest.approx(4000.0 / G, rel=1e-2)


def test_a_shape_with_the_frequency_in_it_equals_the_frequency(tmp_path):
    """exp(+2 pi i f t) from the start of the shape, in the file's frame."""
    f = 4000.0
    _, offset = excited(write(tmp_path / "a.seq", rf(frequency=f)))
    _, inside = excited(write(tmp_path / "b.seq", rf(), phase=f * TIME))
    # held over 1 us, the phase lags by up to pi f dt at the edges of a sample
    assert np.abs(offset - inside).max() < np.pi * f * US


def test_usual_compensation_makes_an_off_center_slice_equal_to_the_central_one(tmp_path):
    """phase = -2 pi f t_center of the pulse, as pulse programs set it."""
    f = 4000.0
    at, center = excited(write(tmp_path / "a.seq", rf()))
    _, moved = excited(write(tmp_path / "b.seq", rf(frequency=f, phase=-2 * np.pi * f * 1e-3)))
    steps = round(f / G / (at[1] - at[0]))
    assert np.abs(moved[steps:] - center[:-steps]).max() < 1e-4 * np.abs(center).max()  # float32


def test_phase_turns_the_other_way(tmp_path):
    """90 degrees of phase p give +i exp(-ip) here."""
    at, m = excited(write(tmp_path / "a.seq", rf(phase=0.7)))
    middle = m[len(at) // 2]
    assert np.angle(middle) == pytest.approx(np.pi / 2 - 0.7, abs=2e-3)  # rephaser against a pulse of 90 degrees


def signal_of(tmp_path, adc: str, more: str = "", df: float = 0.0) -> np.ndarray:
    block = "1 30 1 0 0 0 0 0\n2 100 0 0 0 0 1 0\n"
    times = shape(3, [1.0, 1.0]) + shape(4, [0.0, 0.0]) + shape(5, [0.0, 100.0])
    seq = write(tmp_path / "r.seq", "1 2500 3 4 5 50 100 0 0 0 0 e", adc=adc, more=times + more, blocks=block)
    ph = mr.Phantom.from_arrays(position=[[0.0, 0.0, 0.0]], t1=np.inf, t2=np.inf, df=df)
    return mr.simulate(seq, ph, pulses="ideal", dtype="float64").signal[0]


def test_receiver_phase_and_frequency(tmp_path):
    """A sample is M exp(+i phase): with the phase of the pulse, RF spoiling cancels. A spin at +f lands at zero."""
    plain = signal_of(tmp_path, "1 4 10000 100 0 0 0 0 0")
    np.testing.assert_allclose(plain, 1j, atol=1e-12)
    np.testing.assert_allclose(signal_of(tmp_path, "1 4 10000 100 0 0 0 0.7 0"), 1j * np.exp(0.7j), atol=1e-12)
    still = signal_of(tmp_path, "1 4 10000 100 0 0 250 0 0", df=250.0)
    np.testing.assert_allclose(still / still[0], 1.0, atol=1e-12)
    bent = signal_of(tmp_path, "1 4 10000 100 0 0 0 0 6", more=shape(6, [0.1, 0.2, 0.4, 0.8]))
    np.testing.assert_allclose(bent, 1j * np.exp(1j * np.array([0.1, 0.2, 0.4, 0.8])), atol=1e-12)


def test_ppm_offsets_are_those_of_the_scanner(tmp_path):
    """-3.4 ppm at 3 T and at 1.5 T, and rad/MHz with it."""
    line = f"1 {AMPLITUDE:.12g} 1 2 0 1000 200 -3.4 0.01 0 0 s"
    seq = write(tmp_path / "p.seq", line)
    mhz = seq.system.gamma * seq.system.b0 * 1e-6
    assert seq.rf.frequency[0] == pytest.approx(-3.4 * mhz)
    turned = -0.01 * mhz - 2 * np.pi * seq.rf.frequency[0] * 1e-3
    assert np.angle(np.exp(1j * (seq.rf.phase[0] - turned))) == pytest.approx(0.0, abs=1e-9)
    assert [f.topic for f in seq.findings if f.topic == "ppm offsets"]
    half = mr.load_sequence(tmp_path / "p.seq", system="default_3t")
    assert not [f for f in half.findings if f.topic == "ppm offsets"]
