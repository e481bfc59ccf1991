"""Orientation and center: what lies at the center of the package appears in the middle of the image."""

import math
import textwrap

import numpy as np
import pytest

from mrisim.errors import SpecError
from mrisim.events.moments import gradient_tracks, pulse_instances, readout_instances, sample_kspace, total_gradient
from mrisim.scanner import Scanner
from mrisim.sequence.geometry import PLANES, derating, turn
from mrisim.sequence.library import sequence_from_source
from mrisim.source import parse_source

CENTER = np.array([12e-3, -7e-3, 23e-3])

FLASH = """
    mrisim: 1
    name: test
    geometry: {{{geometry}}}
    events:
      excite:
        rf: {{shape: sinc, flip: 30 deg, duration: 2 ms, time_bandwidth: 4, phase: 50 deg * n, use: excitation}}
        gz: {{select: 5 mm, at: 4 mm}}
      rephase: {{gz: {{area: -excite.gz.area_after_center}}}}
      encode: {{gx: {{area: -read.gx.area_to_center}}, gy: {{area: 5 1/m * (n - 4)}}}}
      read: {{gx: {{{read}}}, adc: {{samples: 32, dwell: 20 us, phase: 50 deg * n, {adc}}}}}
    timeline: [{{loop: {{n: 0 .. 7}}, do: [excite, [rephase, encode], {{{block}}}]}}]
"""


def build(geometry, read="flat_area: 160 1/m, flat_time: 640 us", adc="on: true", block="block: read"):
    text = textwrap.dedent(FLASH.format(geometry=geometry, read=read, adc=adc, block=block))
    return sequence_from_source(parse_source(text, "t.yaml"), {})


def received(seq, position, df=0.0):
    """Signal of a point of unit magnetisation, from k-space and the receiver alone: pulses of phase 0 excite it."""
    k, time = sample_kspace(seq)
    readouts = readout_instances(seq)
    owner = np.repeat(np.arange(len(readouts.count)), readouts.count)
    event = readouts.event[owner]
    within = np.arange(len(owner)) - np.concatenate([[0], np.cumsum(readouts.count)])[:-1][owner]
    shapes = np.array([shape[n] if s >= 0 else 0.0 for s, n, shape in _rows(seq, event, within)])
    pulses = pulse_instances(seq)
    last = np.searchsorted(pulses.center, time, side="right") - 1
    phase = seq.rf.phase[pulses.event[last]]
    spin = np.exp(1j * phase) * np.exp(-2j * math.pi * (k @ position + df * (time - pulses.center[last])))
    receiver = np.exp(-1j * (seq.adc.phase[event] + shapes))
    return spin * receiver * np.exp(2j * math.pi * seq.adc.frequency[event] * (time - readouts.start[owner]))


def _rows(seq, event, within):
    for e, n in zip(event, within, strict=True):
        s = seq.adc.phase_shape[e]
        yield s, n, seq.phase_shapes[s] if s >= 0 else None


@pytest.mark.parametrize("plane", PLANES)
def test_planes_are_right_handed(plane):
    read, phase, slice_ = np.array(PLANES[plane])
    np.testing.assert_array_equal(np.cross(read, phase), slice_)


@pytest.mark.parametrize(
    "orientation",
    [
        "axial",
        "coronal",
        "sagittal",
        "{plane: sagittal, about_read: 20 deg, about_phase: -35 deg, about_slice: 70 deg}",
    ],
)
def test_a_spin_at_the_center_has_no_phase_left(orientation):
    """The center of the slice that is excited: 4 mm along the slice direction from the geometry's center."""
    seq = build(f"orientation: {orientation}, center: [12 mm, -7 mm, 23 mm]")
    signal = received(seq, CENTER)
    np.testing.assert_allclose(signal, 1.0, atol=1e-6)  # receiver frequencies are stored to 1e-6 Hz


def test_the_rest_of_the_image_stays_where_it_is():
    """A spin beside the center has the phase that it has beside the origin of an uncentred sequence."""
    offset = np.array([3e-3, 5e-3, 1e-3])
    oblique = "orientation: {plane: coronal, about_slice: 30 deg}"
    moved, still = build(f"{oblique}, center: [12 mm, -7 mm, 23 mm]"), build(oblique)
    np.testing.assert_allclose(received(moved, CENTER + offset), received(still, offset), atol=1e-6)


def test_without_a_center_nothing_changes():
    seq = build("orientation: coronal")
    assert (seq.adc.frequency == 0).all()
    np.testing.assert_allclose(received(seq, np.zeros(3)), 1.0, atol=1e-12)


def test_ramps_under_sampling_take_a_phase_shape():
    """Samples on a sine-shaped gradient: a receiver frequency alone cannot follow."""
    seq = build(
        "center: [12 mm, -7 mm, 23 mm]",
        read='samples: "sin(180 deg * (count(80) + 0.5) / 80)", amplitude: 5 mT/m',
        adc="delay: 80 us",
    )
    assert (seq.adc.phase_shape >= 0).all()
    np.testing.assert_allclose(received(seq, CENTER), 1.0, atol=1e-6)


def test_turned_blocks_are_followed():
    seq = build("center: [12 mm, -7 mm, 23 mm]", block="block: read, rotate: 45 deg * n")
    np.testing.assert_allclose(received(seq, CENTER), 1.0, atol=1e-6)


@pytest.mark.parametrize("orientation", ["axial", "sagittal", "{about_read: 30 deg}"])
def test_the_slice_moves_with_the_center(orientation):
    """A pulse of positive frequency selects where the gradient makes spins precess faster: f = G·r at its center."""
    seq = build(f"orientation: {orientation}, center: [12 mm, -7 mm, 23 mm]")
    pulses = pulse_instances(seq)
    gradient = total_gradient(gradient_tracks(seq), pulses.center)
    along = seq.geometry.rotation[:, 2]
    wanted = gradient @ (CENTER + 4e-3 * along)
    np.testing.assert_allclose(seq.rf.frequency[pulses.event], wanted, rtol=1e-9)
    np.testing.assert_allclose(seq.rf.position, 4e-3)  # of the slice, from the geometry's center


def test_vectors_give_the_same_as_angles():
    angle = math.radians(25)
    first = build("orientation: {plane: axial, about_slice: 25 deg}").geometry.rotation
    vectors = f"read: [{math.cos(angle)}, {math.sin(angle)}, 0], phase: [0, 3, 0]"
    np.testing.assert_allclose(build(f"orientation: {{{vectors}}}").geometry.rotation, first, atol=1e-15)


def test_ninety_degrees_exchange_read_and_phase():
    rotation = build("orientation: {about_slice: 90 deg}").geometry.rotation
    np.testing.assert_array_equal(rotation, [[0, -1, 0], [1, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        ("center: [1 mm, 2 mm]", "geometry.center: must be physical x, y, z, but has 2 values."),
        (
            "center: [1, 2 mm, 3 mm]",
            "geometry.center[0]: must be a length with its unit, but is 1. Did you mean '1 mm'.",
        ),
        ("orientation: {read: [1, 0, 0], phase: [2, 0, 0]}", "must have read and phase in different directions"),
        ("orientation: {read: [1, 0, 0]}", "must be given by read and phase, or by plane and angles"),
        ("orientation: {about_read: 3}", "must be an angle with its unit, but is 3. Did you mean '3 deg'."),
    ],
)
def test_what_is_no_geometry(geometry, message):
    with pytest.raises(SpecError) as caught:
        build(geometry)
    assert message in str(caught.value)


def test_oblique_axes_share_the_limits():
    """All three logical axes at their share never exceed the limit of a physical axis, and one of them meets it."""
    rotation = turn(0, 0.4) @ turn(1, -0.7) @ turn(2, 1.1)
    share = derating(rotation, turning=False)
    assert np.abs(rotation).sum(axis=1).max() * share == pytest.approx(1.0)
    assert derating(np.eye(3)[[2, 0, 1]], turning=False) == 1.0
    angles = np.linspace(0, 2 * math.pi, 721)
    worst = max(np.abs(rotation @ turn(2, a)).sum(axis=1).max() for a in angles)
    bound = derating(rotation, turning=True)
    assert 0.9 < worst * bound <= 1.0 + 1e-12


def test_an_oblique_sequence_passes_the_hardware_check():
    seq = build("orientation: {about_read: 30 deg, about_phase: 20 deg, about_slice: 45 deg}")
    assert seq.check() == ()
    fast = max(np.abs(np.diff(s.values) / np.diff(s.times)).max() for s in seq.gradient_shapes)
    assert fast > 0
    assert Scanner().max_gradient > np.abs(seq.gradients.amplitude).max()
