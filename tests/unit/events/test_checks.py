"""Each rule of the hardware check sees the sequence that breaks it, and nothing else."""

import time as clock
from dataclasses import replace

import numpy as np
import pytest

from mrisim.data import Geometry
from mrisim.events.blocks import ADCTable, BlockTable, GradientShape, GradientTable, RFShape, RFTable, Sequence
from mrisim.events.checks import check_hardware
from mrisim.scanner import Scanner

SYSTEM = Scanner()
MT = 1e-3 * SYSTEM.gamma  # mT/m in Hz/m


def trapezoid(ramp=200e-6, flat=1e-3, delay=0.0):
    return GradientShape(
        times=delay + np.array([0.0, ramp, ramp + flat, 2 * ramp + flat]), values=np.array([0.0, 1.0, 1.0, 0.0])
    )


def pulse(n=100, dwell=10e-6):
    return RFShape(edges=dwell * np.arange(n + 1), samples=np.ones(n, complex), center=n * dwell / 2)


def build(
    blocks, *, rf=(), gradients=(), adc=(), rf_shapes=(), gradient_shapes=(), rotations=(), geometry=None, names=None
):
    """Sequence from rows: rf (shape, amplitude, delay), gradients (shape, amplitude), adc (samples, dwell, delay)."""
    fields = ("rf", "gx", "gy", "gz", "adc", "rotation")
    columns = {name: np.array([block.get(name, -1) for block in blocks], dtype=int) for name in fields}
    rf, gradients, adc = (np.array(t, dtype=float).reshape(-1, w) for t, w in ((rf, 3), (gradients, 2), (adc, 3)))
    zero = np.zeros(len(rf))
    return Sequence(
        name="test",
        blocks=BlockTable(
            **columns,
            duration=np.array([block["duration"] for block in blocks]),
            name=np.arange(len(blocks)) if names is None else np.asarray(names),
            labels={},
        ),
        rf=RFTable(
            shape=rf[:, 0].astype(int),
            amplitude=rf[:, 1],
            delay=rf[:, 2],
            phase=zero,
            frequency=zero,
            flip=zero,
            use=zero.astype(int),
            slice_axis=zero.astype(int) - 1,
            thickness=zero + np.inf,
            position=zero,
        ),
        gradients=GradientTable(shape=gradients[:, 0].astype(int), amplitude=gradients[:, 1]),
        adc=ADCTable(
            samples=adc[:, 0].astype(int),
            dwell=adc[:, 1],
            delay=adc[:, 2],
            phase=np.zeros(len(adc)),
            frequency=np.zeros(len(adc)),
            phase_shape=np.full(len(adc), -1),
        ),
        rf_shapes=tuple(rf_shapes),
        gradient_shapes=tuple(gradient_shapes),
        rotations=np.array(rotations, dtype=float).reshape(-1, 3, 3),
        geometry=geometry or Geometry(),
        block_names=tuple(f"b{i}" for i in range(len(blocks))),
    )


def turn_z(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def one_gradient(shape, amplitude=10 * MT, duration=2e-3, **block):
    return build([{"gx": 0, "duration": duration, **block}], gradients=[(0, amplitude)], gradient_shapes=[shape])


def one_pulse(shape=None, amplitude=250.0, delay=100e-6, duration=2e-3):
    return build([{"rf": 0, "duration": duration}], rf=[(0, amplitude, delay)], rf_shapes=[shape or pulse()])


def one_adc(samples=100, dwell=10e-6, delay=10e-6, duration=2e-3):
    return build([{"adc": 0, "duration": duration}], adc=[(samples, dwell, delay)])


def only(seq, system=None):
    violations = check_hardware(seq, system)
    assert len(violations) == 1, [str(v) for v in violations]
    return violations[0]


@pytest.mark.parametrize("seq", [one_gradient(trapezoid()), one_pulse(), one_adc(), build([{"duration": 1.0}])])
def test_a_legal_block_passes(seq):
    assert check_hardware(seq) == ()


def test_gradient_amplitude():
    violation = only(one_gradient(trapezoid(ramp=400e-6), 41 * MT))
    assert violation.axis == "x"
    assert violation.value == pytest.approx(41 * MT)
    assert (
        str(violation) == "block 0 (b0) at 400 us, x: gradient amplitude: must be at most 40 mT/m, but is 41 mT/m. "
        "Lengthen the gradient."
    )


def test_negative_gradient_amplitude():
    assert only(one_gradient(trapezoid(ramp=400e-6), -41 * MT)).value == pytest.approx(41 * MT)


def test_slew_rate():
    violation = only(one_gradient(trapezoid(ramp=100e-6), 20 * MT))
    assert violation.value == pytest.approx(20 * MT / 100e-6)
    assert (
        str(violation) == "block 0 (b0) at 0 ms, x: gradient slew rate: must be at most 170 T/m/s, but is 200 T/m/s. "
        "Lengthen the ramps."
    )


def test_vector_sum_on_a_physical_axis():
    """35 mT/m on two logical axes make 49.5 mT/m on one physical axis at 45 degrees, and nothing on the other."""
    seq = build(
        [{"gx": 0, "gy": 1, "duration": 4e-3}],
        gradients=[(0, 35 * MT), (0, -35 * MT)],
        gradient_shapes=[trapezoid(ramp=400e-6)],
        geometry=Geometry(rotation=turn_z(45)),
    )
    violation = only(seq)
    assert violation.axis == "x"
    assert violation.value == pytest.approx(35 * MT * np.sqrt(2))
    assert check_hardware(replace(seq, geometry=Geometry())) == ()


def test_vector_sum_through_the_rotation_of_a_block():
    shape = trapezoid(ramp=400e-6)
    blocks = [{"gx": 0, "gy": 0, "duration": 4e-3}, {"gx": 0, "gy": 0, "duration": 4e-3, "rotation": 0}]
    seq = build(blocks, gradients=[(0, 35 * MT)], gradient_shapes=[shape], rotations=[turn_z(30)])
    violation = only(seq)
    assert (violation.block, violation.axis) == (1, "y")
    assert violation.value == pytest.approx(35 * MT * (0.5 + np.sqrt(0.75)))


def test_shapes_with_other_corners_add_up_where_they_overlap():
    """Trapezoids that meet for 100 us only: the sum exceeds the limit there."""
    seq = build(
        [{"gx": 0, "gy": 1, "duration": 4e-3}],
        gradients=[(0, 30 * MT), (1, 30 * MT)],
        gradient_shapes=[trapezoid(ramp=500e-6), trapezoid(ramp=500e-6, delay=1.4e-3)],
        geometry=Geometry(rotation=turn_z(-45)),
    )
    violation = only(seq, replace(SYSTEM, max_gradient=25 * MT))  # each alone makes 21.2 mT/m
    assert violation.value == pytest.approx(
        30 * MT * 1.2 / np.sqrt(2)
    )  # the second is at a fifth where the first leaves
    assert violation.time == pytest.approx(1.5e-3)


def test_corners_that_differ_by_rounding_only_are_one():
    """(0.1 + 0.2) and 0.3 ms are two numbers; the slew rate between them is none."""
    late = trapezoid(ramp=200e-6, delay=(0.1 + 0.2) * 1e-3 + 1e-19)
    seq = build(
        [{"gx": 0, "gy": 1, "duration": 3e-3}],
        gradients=[(0, 30 * MT), (1, 30 * MT)],
        gradient_shapes=[trapezoid(ramp=300e-6), late],
        geometry=Geometry(rotation=turn_z(0)),
    )
    assert late.times[0] != 300e-6
    assert check_hardware(seq) == ()


def test_step_from_block_to_block():
    up = GradientShape(times=np.array([0.0, 1e-3]), values=np.array([0.0, 1.0]))
    down = GradientShape(times=np.array([0.0, 1e-3]), values=np.array([1.0, 0.0]))
    parts = {"gradient_shapes": [up, down], "gradients": [(0, 10 * MT), (1, 10 * MT)]}
    joined = build([{"gx": 0, "duration": 1e-3}, {"gx": 1, "duration": 1e-3}], **parts)
    assert check_hardware(joined) == ()
    apart = build([{"gx": 0, "duration": 1e-3}, {"duration": 1e-3}, {"gx": 1, "duration": 1e-3}], **parts)
    first, second = check_hardware(apart)
    assert (first.block, second.block) == (1, 2)
    assert first.rule == second.rule == "gradient step from block to block"
    assert first.value == pytest.approx(10 * MT / SYSTEM.gradient_raster)


def test_a_waveform_that_begins_late_connects_to_the_next_block():
    up = GradientShape(times=np.array([0.5e-3, 1e-3]), values=np.array([0.0, 1.0]))
    down = GradientShape(times=np.array([0.0, 0.5e-3]), values=np.array([1.0, 0.0]))
    parts = {"gradient_shapes": [up, down], "gradients": [(0, 10 * MT), (1, 10 * MT), (1, -10 * MT)]}
    assert check_hardware(build([{"gx": 0, "duration": 1e-3}, {"gx": 1, "duration": 1e-3}], **parts)) == ()
    violation = only(build([{"gx": 0, "duration": 1e-3}, {"gx": 2, "duration": 1e-3}], **parts))
    assert violation.value == pytest.approx(20 * MT / SYSTEM.gradient_raster)


def test_step_at_the_end_of_the_sequence():
    up = GradientShape(times=np.array([0.0, 1e-3]), values=np.array([0.0, 1.0]))
    violation = only(build([{"gx": 0, "duration": 1e-3}], gradient_shapes=[up], gradients=[(0, 10 * MT)]))
    assert violation.rule == "gradient step from block to block"
    assert violation.time == pytest.approx(1e-3)


def test_step_where_a_rotation_changes_under_a_gradient():
    up = GradientShape(times=np.array([0.0, 1e-3]), values=np.array([0.0, 1.0]))
    down = GradientShape(times=np.array([0.0, 1e-3]), values=np.array([1.0, 0.0]))
    blocks = [{"gx": 0, "duration": 1e-3}, {"gx": 1, "duration": 1e-3, "rotation": 0}]
    seq = build(blocks, gradient_shapes=[up, down], gradients=[(0, 10 * MT), (1, 10 * MT)], rotations=[turn_z(90)])
    assert {v.axis for v in check_hardware(seq)} == {"x", "y"}


def test_step_inside_a_block():
    late = GradientShape(times=np.array([0.5e-3, 1.5e-3]), values=np.array([1.0, 0.0]))
    violation = only(one_gradient(late))
    assert violation.rule == "gradient step inside the block"
    beside = build([{"gx": 0, "gy": 1, "duration": 2e-3}], gradients=[(0, 10 * MT), (1, 10 * MT)],
                   gradient_shapes=[late, trapezoid(delay=0.49e-3)])  # fmt: skip
    assert only(beside).rule == "gradient step inside the block"  # not a slew rate between corners of the other axis


def test_gradient_raster():
    violation = only(one_gradient(trapezoid(ramp=204e-6)))
    assert str(violation) == (
        "block 0 (b0) at 204 us, gx: gradient raster of corner times: must be a multiple of 10 us, but is 204 us. "
        "Nearest: 200 us."
    )


def test_samples_of_an_arbitrary_waveform_lie_between_raster_points():
    times = np.concatenate([[0.0], 10e-6 * (np.arange(100) + 0.5), [1e-3]])
    shape = GradientShape(times=times, values=np.sin(np.pi * times / 1e-3))
    assert check_hardware(one_gradient(shape)) == ()
    assert only(one_gradient(GradientShape(times=times + 5e-6, values=shape.values))).rule.startswith("gradient raster")


def test_rf_peak():
    violation = only(one_pulse(amplitude=1000.0))
    assert violation.rule == "RF peak"
    assert violation.limit == SYSTEM.max_b1
    assert str(violation).endswith(
        "must be at most 20 uT, but is 23.4866 uT. "
        "Lengthen the pulse, or lower its flip angle or time-bandwidth product."
    )


def test_rf_raster_of_samples():
    violation = only(one_pulse(pulse(dwell=10.5e-6)))
    assert violation.rule == "RF raster of samples"
    assert violation.value == pytest.approx(10.5e-6)


def test_rf_raster_of_delay():
    violation = only(one_pulse(delay=120.4e-6))
    assert violation.rule == "RF raster of the delay"
    assert violation.nearest == pytest.approx(120e-6)


def test_rf_dead_time():
    violation = only(one_pulse(delay=99e-6))
    assert violation.rule == "RF dead time"
    assert (violation.value, violation.nearest) == (99e-6, SYSTEM.rf_dead_time)


def test_rf_ringdown():
    violation = only(one_pulse(duration=1.12e-3))
    assert violation.rule == "RF ringdown"
    assert violation.value == pytest.approx(20e-6)


def test_adc_dwell_raster():
    violation = only(one_adc(dwell=10.04e-6))
    assert violation.rule == "ADC raster of the dwell time"
    assert violation.nearest == pytest.approx(10e-6)


def test_adc_delay_raster():
    assert only(one_adc(delay=20.05e-6)).rule == "ADC raster of the delay"


def test_adc_dead_time_before_and_after():
    assert only(one_adc(delay=5e-6)).rule == "ADC dead time before"
    violation = only(one_adc(duration=1.01e-3))
    assert violation.rule == "ADC dead time after"
    assert violation.value == pytest.approx(0.0, abs=1e-12)


def test_adc_during_a_pulse():
    seq = build(
        [{"rf": 0, "adc": 0, "duration": 3e-3}],
        rf=[(0, 250.0, 100e-6)],
        rf_shapes=[pulse()],
        adc=[(100, 10e-6, 0.9e-3)],
    )
    violation = only(seq)
    assert (
        str(violation)
        == "block 0 (b0) at 900 us: ADC during a pulse, overlap: must be 0 ms, but is 200 us. Sample after the pulse."
    )


@pytest.mark.parametrize(
    ("seq", "axis"),
    [
        (one_pulse(duration=0.5e-3), "rf"),
        (one_gradient(trapezoid(), duration=1e-3), "gx"),
        (one_adc(duration=0.5e-3), "adc"),
    ],
)
def test_event_longer_than_its_block(seq, axis):
    violation = only(seq)
    assert violation.rule == "end of the event, which the block must hold"
    assert violation.axis == axis
    assert violation.limit == seq.duration


def test_block_raster():
    violation = only(build([{"duration": 1e-3}, {"duration": 1.004e-3}]))
    assert (violation.block, violation.nearest) == (1, pytest.approx(1e-3))


def test_all_violations_at_once_in_order():
    seq = build(
        [{"gx": 0, "duration": 2e-3}, {"rf": 0, "duration": 2.003e-3}],
        gradients=[(0, 50 * MT)],
        gradient_shapes=[trapezoid(ramp=200e-6)],
        rf=[(0, 900.0, 50e-6)],
        rf_shapes=[pulse()],
    )
    assert [v.rule for v in check_hardware(seq)] == [
        "gradient slew rate",
        "gradient amplitude",
        "RF dead time",
        "block raster",
        "RF peak",
    ]


def test_blocks_of_one_name_are_one_record_with_the_worst():
    blocks = [{"gx": i % 3, "duration": 2e-3} for i in range(9)]
    seq = build(
        blocks,
        gradients=[(0, 10 * MT), (0, 45 * MT), (0, 50 * MT)],
        gradient_shapes=[trapezoid(ramp=400e-6)],
        names=np.zeros(9),
    )
    seq = replace(seq, blocks=replace(seq.blocks, name=np.zeros(9, dtype=int)))
    violation = only(seq)
    assert (violation.block, violation.count) == (2, 6)
    assert violation.value == pytest.approx(50 * MT)
    assert str(violation).startswith("block 2 (b0) at 4.4 ms, and 5 more, x: ")


def test_another_system_is_judged_by_its_own_limits():
    assert only(one_gradient(trapezoid(ramp=400e-6), 30 * MT), replace(SYSTEM, max_gradient=25 * MT)).limit == 25 * MT


def test_a_long_scan_is_checked_at_once():
    """330,000 blocks with 65,536 phase encodes and as many RF phases: seconds would mean block by block."""
    n = 110_000
    shape, system = trapezoid(ramp=250e-6), SYSTEM
    index = np.arange(n)
    columns = {name: np.full(3 * n, -1) for name in ("rf", "gx", "gy", "gz", "adc", "rotation")}
    columns["rf"][0::3], columns["gy"][1::3], columns["gz"][1::3], columns["adc"][2::3] = (
        index,
        index % 256,
        index // 256,
        index,
    )
    names = np.tile([0, 1, 2], n)
    seq = build([{"duration": 2e-3}], rf=[(0, 250.0, 100e-6)] * n, rf_shapes=[pulse()], adc=[(100, 10e-6, 10e-6)] * n,
                gradients=[(0, a * MT) for a in np.linspace(-41, 41, 430)], gradient_shapes=[shape])  # fmt: skip
    table = BlockTable(**columns, duration=np.full(3 * n, 2e-3), name=names, labels={})
    seq = replace(seq, blocks=table, block_names=("excite", "encode", "read"), geometry=Geometry(rotation=turn_z(10)))
    begin = clock.perf_counter()
    rules = {(v.rule, v.axis) for v in check_hardware(seq, system)}
    assert clock.perf_counter() - begin < 5.0  # a bound on the order of growth, not a benchmark
    assert rules == {("gradient amplitude", "y"), ("gradient amplitude", "z")}  # 41 cos(10 deg) = 40.4 mT/m on y
