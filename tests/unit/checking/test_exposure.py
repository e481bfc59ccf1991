"""Nerve stimulation against the public implementation; heat, tones and moments against their formulas."""

import numpy as np
import pytest
from pypulseq.utils.safe_pns_prediction import safe_example_gwf, safe_example_hw, safe_gwf_to_pns

from mrisim.checking import load_coil, measure
from mrisim.checking.exposure import gradient_rms, heat, nerve_stimulation, stimulation
from mrisim.constants import GAMMA_BAR
from mrisim.errors import SpecError
from mrisim.sequence.library import sequence_from_source
from mrisim.source import parse_source

EPS = np.finfo(float).eps


def sequence(text):
    return sequence_from_source(parse_source(f"mrisim: 1\nname: test\n{text}"), {})


def test_safe_model_is_that_of_the_public_implementation():
    waveform, rf, dt = safe_example_gwf()
    expected, padded = safe_gwf_to_pns(waveform, rf, dt, safe_example_hw())
    slew = np.diff(padded.gwf, axis=0) / dt * GAMMA_BAR
    for axis in range(3):
        found, _ = nerve_stimulation(slew[:, axis], dt, load_coil().axes[axis])
        # the public filters are cut off where their response is below 1e-16
        np.testing.assert_allclose(100 * found, expected[:, axis], rtol=0, atol=1e-9 * expected.max())


def test_filters_go_on_where_a_piece_ends():
    axis = load_coil().axes[1]
    slew = np.random.default_rng(1).normal(size=200)
    whole, _ = nerve_stimulation(slew, 1e-5, axis)
    first, state = nerve_stimulation(slew[:77], 1e-5, axis)
    second, _ = nerve_stimulation(slew[77:], 1e-5, axis, state)
    np.testing.assert_allclose(np.concatenate([first, second]), whole, rtol=0, atol=1e3 * EPS * whole.max())


PULSES = """
events: {hit: {rf: {shape: block, amplitude: 5 uT, duration: 2 ms, use: excitation}}}
timeline: [{loop: {n: 0 .. COUNT}, do: [{block: hit, duration: 100 ms}]}]
"""


@pytest.mark.parametrize(("count", "seconds"), [(10, 1.0), (300, 10.0)])
def test_b1_rms_is_that_of_ten_seconds_or_of_a_shorter_sequence(count, seconds):
    found = heat(sequence(PULSES.replace("COUNT", str(count - 1))))
    amplitude = 5e-6 * GAMMA_BAR
    power = amplitude**2 * 2e-3 / 0.1
    assert found.energy == pytest.approx(amplitude**2 * 2e-3 * count, rel=1e-12)
    # the window is open at its end, so a pulse may or may not stand there: one of seconds / 0.1 s
    assert found.b1_rms**2 == pytest.approx(power, rel=1.01 * 0.1 / seconds)
    assert found.sar == pytest.approx(found.b1_rms**2 / 250, rel=1e-12)  # (1 / 2 ms)^2 * 1 ms per s


def test_sar_goes_with_the_square_of_the_field():
    weak = heat(sequence("system: {b0: 1.5 T}" + PULSES.replace("COUNT", "9")))
    strong = heat(sequence("system: {b0: 3 T}" + PULSES.replace("COUNT", "9")))
    assert strong.sar == pytest.approx(4 * weak.sar, rel=1e-12)
    assert strong.b1_rms == weak.b1_rms


def test_rms_and_duty_of_a_trapezoid():
    seq = sequence("""
events: {lobe: {gx: {amplitude: 10 mT/m, flat_time: 2 ms, rise_time: 0.6 ms}, gy: {amplitude: 4 mT/m, flat_time: 2 ms,
  rise_time: 0.6 ms}}}
timeline: [{block: lobe, duration: 10 ms}]
""")
    rms, duty = gradient_rms(seq)
    square = (10e-3**2 + 4e-3**2) * (2e-3 + 2 * 0.6e-3 / 3)  # a ramp has a third of the plateau's square
    assert rms == pytest.approx(GAMMA_BAR * np.sqrt(square / 10e-3), rel=1e-9)
    assert duty == pytest.approx(0.32, rel=1e-9)


def test_a_tone_is_heard_in_its_band_only():
    # triangles of alternating sign, 0.84 ms each: 595 Hz
    seq = sequence("""
events:
  up: {gx: {amplitude: 10 mT/m, flat_time: 0 ms, rise_time: 0.42 ms}}
  down: {gx: {amplitude: -10 mT/m, flat_time: 0 ms, rise_time: 0.42 ms}}
timeline: [{loop: {n: 0 .. 99}, do: [up, down]}]
""")
    inside, outside = stimulation(seq, load_coil()).tones
    # a train of triangles has 8/pi^2 of its peak in its first harmonic, whose rms is its amplitude / sqrt(2)
    expected = 10e-3 * GAMMA_BAR * 8 / np.pi**2 / np.sqrt(2)
    assert inside == pytest.approx(expected, rel=0.02)  # the window is 50 ms: lines are 20 Hz wide
    assert outside < 0.05 * inside


def test_moments_of_a_bipolar_gradient():
    seq = sequence("""
events:
  hit:  {rf: {shape: block, flip: 90 deg, duration: 0.1 ms, use: excitation}}
  up:   {gx: {amplitude: 10 mT/m, flat_time: 2 ms, rise_time: 0.2 ms}}
  down: {gx: {amplitude: -10 mT/m, flat_time: 2 ms, rise_time: 0.2 ms}}
  read: {adc: {samples: 1, dwell: 10 us}}
timeline: [hit, up, {wait: 3 ms}, down, read]
recon: {matrix: [1, 1], fov: [100 mm, 100 mm], thickness: 5 mm}
""")
    found = measure(seq)
    area, apart = 10e-3 * GAMMA_BAR * 2.2e-3, 2.4e-3 + 3e-3
    assert found["m0"].values[0] == pytest.approx(0, abs=1e-9 * area)
    assert found["m1"].values[0] == pytest.approx(area * apart, rel=1e-9)
    start = seq.rf.delay[0] + 0.05e-3  # of the pulse's center, which moments are taken about
    first = float(seq.starts[1]) + 1.2e-3 - start  # center of the first lobe
    second = first + apart
    assert found["m2"].values[0] == pytest.approx(area * (second**2 - first**2), rel=1e-9)


def test_wrong_coils_are_refused_with_all_their_faults(tmp_path):
    axis = "{tau: [1 ms, 2 ms, 3 m], a: [0.5, 0.4, 0.3], stim_limit: 30 T/m/s, stim_threshold: 24 T/m/s, g_scale: 1}"
    (tmp_path / "coil.yaml").write_text(f"name: bad\naxes: {{x: {axis}, y: {axis}, z: {axis}}}\n")
    with pytest.raises(SpecError) as error:
        load_coil(tmp_path / "coil.yaml")
    assert len(error.value.problems) == 6
    assert "axes.x.a: must add up to 1, but add up to 1.2." in str(error.value)
    with pytest.raises(SpecError, match="Did you mean 'example_coil'"):
        load_coil("exampel_coil")
