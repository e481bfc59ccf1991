"""Blocks → normal form: where steps are cut, which pulses and readouts are one, what the moments are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from physics.build import ADC, DEG, MS, RF, Block, build, lobe

from mrisim.data import Geometry
from mrisim.errors import ConsistencyError
from mrisim.events.blocks import NONE, Use
from mrisim.events.moments import gradient_tracks, total_moment
from mrisim.program import lower
from mrisim.sequence import load_sequence, waveforms

SINC = waveforms.sinc(duration=2 * MS, time_bandwidth=4)


def rf(**options) -> RF:
    return RF(**{"flip": 60 * DEG, "at": 1.2 * MS, "shape": SINC} | options)


def trapezoid(amplitude: float, flat: float, ramp: float = 0.2 * MS):
    return np.array([0.0, ramp, ramp + flat, 2 * ramp + flat]), np.array([0.0, 1.0, 1.0, 0.0]) * amplitude


def test_a_sequence_without_a_pulse_is_one_step():
    program = lower(
        build([Block(duration=2 * MS, gx=lobe(10.0, 0, 1 * MS), adc=ADC(at=1 * MS, samples=3, dwell=1e-4))])
    )
    assert program.n_steps == 1
    assert program.steps.pulse.tolist() == [NONE]
    assert program.steps.duration == pytest.approx([2 * MS])
    assert program.steps.moment[0] == pytest.approx([10.0, 0.0, 0.0])


def test_steps_are_cut_at_the_support_of_the_pulse():
    """Not at block borders: gradient outside of the support belongs to the precession beside it."""
    seq = build([
        Block(duration=1 * MS, gz=lobe(7.0, 0.0, 1 * MS)),
        Block(duration=3 * MS, rf=rf(), gz=trapezoid(300e3, 2 * MS)),
        Block(duration=1 * MS, gz=lobe(-50.0, 0.0, 1 * MS)),
    ])  # fmt: skip
    program = lower(seq)
    assert program.steps.time == pytest.approx([0.0, 1 * MS + 0.2 * MS])
    assert program.steps.duration == pytest.approx([1.2 * MS, 1.8 * MS])
    ramp = 300e3 * 0.2 * MS / 2
    assert program.steps.moment[:, 2] == pytest.approx([7.0 + ramp, ramp - 50.0])
    assert program.waveforms[0].moment[:, 2].sum() == pytest.approx(300e3 * 2 * MS)


def test_steps_and_pulses_fill_the_sequence():
    seq = load_sequence("t2_tse", matrix="[16, 8]", train=4, TE="24 ms")
    program = lower(seq)
    row = np.maximum(program.steps.pulse, 0)
    in_pulse = np.where(program.steps.pulse >= 0, program.pulses.duration[row], 0.0)
    assert program.steps.duration.sum() + in_pulse.sum() == pytest.approx(seq.duration, abs=1e-9)
    assert (program.steps.duration > -1e-12).all()
    inside = np.stack([program.waveforms[w].moment.sum(axis=0) for w in program.pulses.waveform])
    total = program.steps.moment.sum(axis=0) + inside[program.steps.pulse[program.steps.pulse >= 0]].sum(axis=0)
    end = total_moment(gradient_tracks(seq), np.array([seq.duration]))[0]
    assert total == pytest.approx(end, abs=1e-6 * program.n_steps)


def test_phase_is_no_part_of_a_pulse_but_amplitude_and_frequency_are():
    same = build([Block(duration=4 * MS, rf=rf(phase=p)) for p in (0.0, 1.0, 2.5)])
    program = lower(same)
    assert len(program.pulses.waveform) == 1
    assert program.steps.phase[program.steps.pulse >= 0] == pytest.approx([0.0, 1.0, 2.5])
    other = build([Block(duration=4 * MS, rf=rf(**o)) for o in ({}, {"flip": 1.0}, {"frequency": 100.0})])
    assert len(lower(other).pulses.waveform) == 3
    assert len(lower(other).waveforms) == 1


def test_gradient_meanwhile_makes_another_waveform():
    seq = build([Block(duration=4 * MS, rf=rf(), gz=trapezoid(g, 2 * MS)) for g in (100e3, 200e3, 100e3)])
    program = lower(seq)
    assert len(program.waveforms) == 2
    assert program.steps.pulse[[1, 3]].tolist() == [program.steps.pulse[1]] * 2 or len(program.pulses.waveform) == 2


def test_lines_of_a_scan_are_one_class_of_readouts():
    program = lower(load_sequence("spin_echo", matrix="[16, 12]", dummies=0))
    assert len(program.readouts) == 1
    assert program.readouts[0].step.shape == (12,)
    assert program.n_samples == 16 * 12


def test_lines_of_an_epi_train_are_two_classes():
    program = lower(load_sequence("gre_epi", matrix="[16, 16]", dummies=0))
    assert sorted(r.step.shape[0] for r in program.readouts) == [8, 8]


def test_samples_know_their_place_in_the_signal():
    seq = load_sequence("se_epi", matrix="[16, 16]")
    program = lower(seq)
    found = np.zeros((program.n_samples, 3))
    times = np.zeros(program.n_samples)
    starts = program.steps.time + np.where(
        program.steps.pulse >= 0, program.pulses.duration[np.maximum(program.steps.pulse, 0)], 0.0
    )
    for readout in program.readouts:
        for step, first in zip(readout.step, readout.first, strict=True):
            where = slice(first, first + len(readout.delay))
            times[where] = starts[step] + program.steps.readout_delay[step] + readout.delay
            found[where] = program.steps.readout_moment[step] + readout.k
    k, t = seq.kspace()
    assert times == pytest.approx(t, abs=1e-9)
    step_of = np.searchsorted(starts, t, side="right") - 1
    base = total_moment(gradient_tracks(seq), starts[step_of])
    assert found + base == pytest.approx(total_moment(gradient_tracks(seq), t), abs=1e-6)
    assert np.ptp(k[:, 1]) > 0


def test_each_step_holds_one_train():
    """Back to back, and after one that began inside a pulse."""
    adc = ADC(at=1.5 * MS, samples=4, dwell=1 * MS)
    seq = build([
        Block(duration=6 * MS, rf=rf(), adc=adc),  # two samples inside the pulse, two after it
        Block(duration=6 * MS, adc=adc),
        Block(duration=6 * MS, adc=adc),
    ])  # fmt: skip
    program = lower(seq)
    steps = np.concatenate([r.step for r in program.readouts])
    assert len(np.unique(steps)) == len(steps)
    assert program.n_samples == 12


def test_samples_inside_a_pulse_cut_it():
    seq = build([Block(duration=5 * MS, rf=rf(), adc=ADC(at=0.7 * MS, samples=3, dwell=0.6 * MS))])
    program = lower(seq)
    pieces = program.pulses.duration[program.steps.pulse[program.steps.pulse >= 0]]
    assert pieces == pytest.approx([0.5 * MS, 0.6 * MS, 0.6 * MS, 0.3 * MS])  # 0.2 to 2.2 ms, cut at 0.7, 1.3, 1.9
    assert program.n_samples == 3


def test_only_the_first_piece_of_an_excitation_spoils():
    seq = build([
        Block(duration=5 * MS, rf=rf(use=use), adc=ADC(at=0.7 * MS, samples=3, dwell=0.6 * MS))
        for use in (Use.EXCITATION, Use.REFOCUSING)
    ])  # fmt: skip
    assert lower(seq).steps.excitation.sum() == 1.0


def test_cuts_begin_steps():
    seq = build([Block(duration=5 * MS, rf=rf())])
    cuts = [1.0 * MS, 3.3 * MS, 5.0 * MS]
    assert np.isin(np.round(cuts, 9), np.round(lower(seq, cuts=cuts).steps.time, 9)).all()


def test_long_pieces_of_a_pulse_are_divided():
    """A block pulse of 1 ms: intervals of at most 10 us, so that relaxation within it is exact enough."""
    shape = waveforms.block(duration=1 * MS)
    waveform = lower(build([Block(duration=2 * MS, rf=rf(shape=shape))])).waveforms[0]
    assert len(waveform.dt) == 100
    assert waveform.dt.max() <= 10e-6 * (1 + 1e-9)
    assert waveform.area.sum() == pytest.approx(1 * MS)


def test_ideal_pulse_is_a_rotation_at_its_center_within_its_slice():
    rotation = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    geometry = Geometry(rotation=rotation, center=np.array([0.01, 0.02, 0.03]))
    selective = rf(axis=2, thickness=4e-3, position=5e-3, frequency=900.0)
    seq = build([Block(duration=3 * MS, rf=selective, gz=trapezoid(300e3, 2 * MS))], geometry=geometry)
    program = lower(seq, "ideal")
    assert program.steps.time[1] == pytest.approx(1.2 * MS)
    assert program.pulses.duration.tolist() == [0.0]
    assert program.pulses.frequency.tolist() == [0.0]
    assert 2 * np.pi * program.pulses.amplitude[0] == pytest.approx(60 * DEG)
    assert program.pulses.slice_normal[0] == pytest.approx(rotation[:, 2])
    assert program.pulses.slice_position[0] == pytest.approx(5e-3 + geometry.center @ rotation[:, 2])
    assert program.pulses.slice_half_width[0] == pytest.approx(2e-3)
    assert program.steps.moment[:, 0].sum() == pytest.approx(300e3 * 2.2 * MS)  # gradients are kept


@pytest.mark.parametrize(
    ("frequency", "thickness", "half"),
    [(-434.0, np.inf, 169.0), (-100.0, np.inf, np.inf), (-434.0, 4e-3, np.inf)],
    ids=["beside water", "over water", "of a slice"],
)
def test_ideal_pulse_beside_water_turns_its_band(frequency, thickness, half):
    """Fat saturation; a pulse whose band holds water, or that selects a slice, turns all."""
    shape = replace(SINC, bandwidth=338.0)
    pulse = rf(shape=shape, frequency=frequency, axis=NONE if thickness == np.inf else 2, thickness=thickness)
    program = lower(build([Block(duration=3 * MS, rf=pulse)]), "ideal")
    assert program.pulses.band_half_width.tolist() == [half]
    assert program.pulses.band_center.tolist() == [frequency if np.isfinite(half) else 0.0]
    assert np.isinf(lower(build([Block(duration=3 * MS, rf=pulse)]), "shaped").pulses.band_half_width).all()


@pytest.mark.parametrize(
    ("options", "what"),
    [({"flip": np.nan, "amplitude": 100.0}, "flip angle"), ({}, r"slice \(it plays under a gradient\)")],
)
def test_ideal_pulses_need_flip_and_slice(options, what):
    seq = build([Block(duration=3 * MS, rf=rf(**options), gz=trapezoid(300e3, 2 * MS))])
    with pytest.raises(ConsistencyError, match=f"must have a known {what} to be taken as ideal"):
        lower(seq, "ideal")
