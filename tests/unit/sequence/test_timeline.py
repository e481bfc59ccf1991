"""From a file to event blocks: order, timing, labels, names, geometry."""

import math
import textwrap

import numpy as np
import pytest

from mrisim.errors import SpecError, TimingError
from mrisim.events.blocks import NONE, Use
from mrisim.scanner import Scanner
from mrisim.sequence.library import sequence_from_source
from mrisim.source import parse_source

HEAD = "mrisim: 1\nname: test\n"
RASTER = Scanner().block_raster
ROUNDING = 1e-12  # sums of a few hundred durations of less than 10 s


def build(text, **parameters):
    return sequence_from_source(parse_source(HEAD + textwrap.dedent(text).lstrip("\n"), "t.yaml"), parameters)


def error(text, kind=SpecError, **parameters):
    with pytest.raises(SpecError) as caught:
        build(text, **parameters)
    assert type(caught.value) is kind
    return str(caught.value).splitlines()


def names(seq):
    return [seq.block_names[i] for i in seq.blocks.name]


# -- order -------------------------------------------------------------------------------------------------------------


def test_loops_nest_and_run_in_order():
    seq = build("""
        events:
          a: {gx: {area: 10 1/m * (i + 1)}}
          b: {gx: {area: 100 1/m * (j + 1)}}
        timeline:
          - loop: {i: 0 .. 2}
            do:
              - a
              - loop: {j: 0 .. 1}
                do: [b, {wait: 1 ms}]
          - wait: 2 ms
    """)
    assert names(seq) == ["a", "b", "wait", "b", "wait"] * 3 + ["wait"]
    areas = seq.gradients.amplitude[seq.blocks.gx[seq.blocks.gx != NONE]]
    duration = [s.duration for s in seq.gradient_shapes]
    assert len(duration) == 2  # one shape for each event, made for its largest area
    np.testing.assert_allclose(areas[::3] / areas[0], [1, 2, 3], rtol=1e-12)
    np.testing.assert_allclose(areas[1::3] / areas[2::3], 0.5, rtol=1e-12)


def test_items_are_left_out_where_when_is_false():
    seq = build("""
        events: {a: {gx: {area: 10 1/m}}, b: {gx: {area: 20 1/m}}}
        timeline:
          - loop: {i: 0 .. 3}
            do:
              - {block: a, when: i % 2 == 0}
              - do: [b, b]
                when: i == 3
              - {wait: 1 ms, when: i > 1}
    """)
    assert names(seq) == ["a", "a", "wait", "b", "b", "wait"]


def test_a_nested_loop_may_be_left_out():
    seq = build("""
        events: {a: {gx: {area: 10 1/m}}, b: {gx: {area: 20 1/m}}}
        timeline:
          - loop: {i: 0 .. 1}
            do:
              - a
              - {loop: {j: 1 .. 2}, when: i == 1, do: [{block: b, when: j > i}]}
              - b
    """)
    assert names(seq) == ["a", "b", "a", "b", "b"]


def test_a_loop_over_a_list_hands_out_values_and_indices():
    seq = build("""
        parameters: {slices: [-10 mm, 30 mm]}
        events:
          excite:
            rf: {shape: sinc, flip: 90 deg, duration: 2 ms, time_bandwidth: 4, use: excitation}
            gz: {select: 5 mm, at: position}
          adc: {adc: {samples: 8, dwell: 10 us}}
        timeline:
          - loop: {position: slices, index: s}
            label: {SLC: s}
            do: [excite, adc]
    """)
    np.testing.assert_array_equal(seq.blocks.labels["SLC"], [0, 0, 1, 1])
    np.testing.assert_allclose(seq.rf.position[seq.blocks.rf[[0, 2]]], [-10e-3, 30e-3], rtol=1e-12)


def test_a_wait_of_nothing_makes_no_block():
    seq = build("""
        events: {a: {gx: {area: 10 1/m}}}
        timeline:
          - loop: {i: 0 .. 2}
            do: [a, {wait: 1 ms * i}]
    """)
    assert names(seq) == ["a", "a", "wait", "a", "wait"]


def test_durations_round_up_to_the_raster():
    seq = build("""
        timeline: [{wait: 12 us}, {wait: 20 us}, {wait: 0.1 ms + 0.2 ms}]
    """)
    np.testing.assert_allclose(seq.blocks.duration, [20e-6, 20e-6, 300e-6], rtol=1e-12)


def test_equal_events_are_stored_once():
    seq = build("""
        events:
          pulse: {rf: {shape: block, flip: 30 deg, duration: 1 ms, phase: 180 deg * n, use: excitation}}
          lobe: {gx: {area: 50 1/m * (n % 2)}, gy: {area: 50 1/m * (n % 2)}}
        timeline: [{loop: {n: 0 .. 99}, do: [pulse, lobe]}]
    """)
    assert len(seq.rf.phase) == 2
    assert len(seq.gradients.amplitude) == 1  # gx and gy share it; nothing is nothing
    np.testing.assert_allclose(seq.rf.phase[seq.blocks.rf[::4]], 0.0)
    np.testing.assert_allclose(seq.rf.phase[seq.blocks.rf[2::4]], math.pi)


def test_labels_of_the_innermost_place_count():
    seq = build("""
        events: {a: {adc: {samples: 4, dwell: 10 us}}}
        timeline:
          - loop: {i: 0 .. 1}
            label: {LIN: i, SEG: 7}
            do:
              - a
              - {block: a, label: {LIN: i + 5}}
              - {do: [a], label: {SEG: i == 1}}
          - a
    """)
    np.testing.assert_array_equal(seq.blocks.labels["LIN"], [0, 5, 0, 1, 6, 1, 0])
    np.testing.assert_array_equal(seq.blocks.labels["SEG"], [7, 7, 0, 7, 7, 1, 0])


def test_sampling_may_be_off():
    seq = build("""
        events: {a: {adc: {samples: 4, dwell: 10 us, on: n > 0}}}
        timeline: [{loop: {n: 0 .. 2}, do: [a]}]
    """)
    np.testing.assert_array_equal(seq.blocks.adc, [NONE, 0, 0])
    assert np.ptp(seq.blocks.duration) == 0


def test_blocks_may_turn():
    seq = build("""
        events: {a: {gx: {area: 10 1/m}}}
        timeline: [{loop: {n: 0 .. 4}, do: [{block: a, rotate: 90 deg * n}]}]
    """)
    np.testing.assert_array_equal(seq.blocks.rotation, [NONE, 0, 1, 2, NONE])
    np.testing.assert_array_equal(seq.rotations[0] @ [1, 0, 0], [0, 1, 0])  # read turns towards phase


def test_events_bind_late_to_the_loops_around_each_use():
    seq = build("""
        events: {a: {gx: {area: 10 1/m * n}}}
        timeline:
          - {loop: {n: 1 .. 2}, do: [a]}
          - {loop: {n: 4 .. 5}, do: [a]}
    """)
    areas = [
        seq.gradients.amplitude[g] * _unit_area(seq.gradient_shapes[seq.gradients.shape[g]]) for g in seq.blocks.gx
    ]
    np.testing.assert_allclose(areas, [10, 20, 40, 50], rtol=1e-12)


def _unit_area(shape):
    return float(np.sum(0.5 * (shape.values[1:] + shape.values[:-1]) * np.diff(shape.times)))


# -- timing ------------------------------------------------------------------------------------------------------------

ECHO = """
    parameters: {TE: 10 ms, TR: 50 ms}
    events:
      excite: {rf: {shape: block, flip: 90 deg, duration: 1 ms, use: excitation}}
      read: {gx: {flat_area: 500 1/m, flat_time: 1 ms}, adc: {samples: 50, dwell: 20 us}}
    timeline:
      - loop: {n: 0 .. 3}
        do: [excite, {wait: te_fill}, read, {wait: tr_fill}]
    timing:
      - {name: TE, from: excite.rf.center, to: read.adc.center,   is: TE, solve: te_fill}
      - {name: TR, from: excite.start,     to: excite.start.next, is: TR, solve: tr_fill}
"""


def starts(seq, name):
    return seq.starts[[n == name for n in names(seq)]]


def test_delays_are_solved_from_the_times_between_anchors():
    seq = build(ECHO)
    np.testing.assert_allclose(np.diff(starts(seq, "excite")), 50e-3, atol=ROUNDING)
    assert seq.duration == pytest.approx(4 * 50e-3, abs=ROUNDING)  # the last iteration is as long as the others
    rf_center = seq.rf.delay[0] + seq.rf_shapes[0].center
    adc_center = seq.adc.delay[0] + (50 // 2 + 0.5) * 20e-6
    echo = starts(seq, "read")[0] + adc_center - (starts(seq, "excite")[0] + rf_center)
    assert echo == pytest.approx(10e-3, abs=RASTER / 2 + ROUNDING)  # fills lie on the block raster
    record = seq.timing[0]
    assert (record.name, record.asked, record.fill) == ("TE", pytest.approx(10e-3), "te_fill")
    assert record.found == pytest.approx(echo, abs=ROUNDING)


def test_an_impossible_time_names_the_smallest_that_is_possible():
    lines = error(ECHO, TimingError, TE="1 ms")
    assert lines == [
        (
            "t.yaml:11:5: timing[0] (TE): must be at least 1.11 ms, but is 1 ms. "
            "Shorten what lies between excite.rf.center and read.adc.center, or set TE: 1.11 ms."
        )
    ]
    assert build(ECHO, TE="1.11 ms").timing[0].fill_duration < RASTER
    assert error(ECHO, TimingError, TE="1.1 ms")


def test_all_impossible_times_are_reported_at_once():
    assert len(error(ECHO, TimingError, TE="1 ms", TR="1 ms")) == 2


def test_delays_may_vary_over_loops():
    seq = build("""
        parameters: {TE: [5 ms, 8 ms, 12 ms]}
        events:
          excite: {rf: {shape: block, flip: 90 deg, duration: 1 ms, use: excitation}}
          read: {adc: {samples: 50, dwell: 20 us}}
        timeline:
          - loop: {te: TE}
            do:
              - loop: {n: 0 .. 1}
                do: [excite, {wait: te_fill}, read, {wait: tr_fill}]
        timing:
          - {name: TE, from: excite.rf.center, to: read.adc.center,   is: te,    solve: te_fill}
          - {name: TR, from: excite.start,     to: excite.start.next, is: 50 ms, solve: tr_fill}
    """)
    np.testing.assert_allclose(np.diff(starts(seq, "excite")), 50e-3, atol=ROUNDING)
    gaps = starts(seq, "read") - starts(seq, "excite")
    np.testing.assert_allclose(gaps - gaps[0], [0, 0, 3e-3, 3e-3, 7e-3, 7e-3], atol=RASTER)


def test_a_delay_may_stand_twice_in_its_interval():
    seq = build(ECHO.replace("[excite, {wait: te_fill}, read", "[excite, {wait: te_fill}, {wait: te_fill}, read"))
    assert seq.timing[0].found == pytest.approx(10e-3, abs=RASTER + ROUNDING)
    once = build(ECHO).timing[0].fill_duration
    assert seq.timing[0].fill_duration == pytest.approx(once / 2, abs=RASTER)


TRAIN = """
    parameters: {TI: 200 ms}
    events:
      invert: {rf: {shape: hyperbolic_secant, duration: 10 ms, use: inversion}}
      excite: {rf: {shape: block, flip: 10 deg, duration: 0.5 ms, use: excitation}}
    timeline:
      - loop: {shot: 0 .. 1}
        do:
          - invert
          - wait: fill
          - loop: {e: -4 .. 4}
            do: [excite, {wait: 5 ms}]
          - wait: 100 ms
    timing:
      - {name: TI, from: invert.rf.center, to: excite.rf.center, is: TI, solve: fill, at: {e: 0}}
"""


@pytest.mark.parametrize(("at", "index"), [(", at: {e: 0}", 4), (", at: {e: -4}", 0), ("", 0), (", at: {e: 4}", 8)])
def test_a_nested_loop_gives_the_iteration_that_is_named_or_the_first(at, index):
    seq = build(TRAIN.replace(", at: {e: 0}", at))
    excitations = starts(seq, "excite").reshape(2, 9)
    found = excitations[:, index] + 0.1e-3 + 0.25e-3 - (starts(seq, "invert") + 0.1e-3 + 5e-3)
    np.testing.assert_allclose(found, 200e-3, atol=RASTER / 2 + ROUNDING)


def test_an_iteration_that_is_not_there_is_an_error():
    assert "must be a value that 'e' takes, but '9' is none." in error(TRAIN.replace("at: {e: 0}", "at: {e: 9}"))[0]


def test_a_nested_loop_gives_its_last_iteration_where_an_interval_begins():
    seq = build("""
        events:
          read: {adc: {samples: 50, dwell: 20 us}}
          spoil: {gz: {area: 100 1/m}}
        timeline:
          - loop: {shot: 0 .. 1}
            do:
              - {loop: {e: 0 .. 3}, do: [read, {wait: 1 ms * e}]}
              - wait: fill
              - spoil
        timing:
          - {name: gap, from: read.end, to: spoil.start, is: 20 ms, solve: fill}
    """)
    last = (starts(seq, "read") + seq.blocks.duration[0]).reshape(2, 4)[:, -1]
    np.testing.assert_allclose(starts(seq, "spoil") - last, 20e-3, atol=ROUNDING)


def test_next_spans_the_rest_of_the_iteration():
    """From the last sample of one echo to the next refocusing pulse, over the border of the iteration."""
    seq = build("""
        events:
          refocus: {rf: {shape: block, flip: 180 deg, duration: 1 ms, use: refocusing}}
          read: {adc: {samples: 50, dwell: 20 us}}
        timeline:
          - loop: {e: 0 .. 4}
            do: [{wait: before}, refocus, {wait: 1 ms}, read, {wait: 2 ms}]
        timing:
          - {name: gap, from: read.adc.end, to: refocus.rf.start.next, is: 6 ms, solve: before}
    """)
    end = starts(seq, "read") + seq.adc.delay[0] + 50 * 20e-6
    begin = starts(seq, "refocus") + seq.rf.delay[0]
    np.testing.assert_allclose(begin[1:] - end[:-1], 6e-3, atol=RASTER / 2 + ROUNDING)


def test_constraints_are_solved_in_the_order_in_which_they_depend_on_each_other():
    reversed_order = ECHO.replace("- {name: TE", "- {name: XX").replace("- {name: TR, ", "- {name: TE, ")
    seq = build(ECHO)
    lines = textwrap.dedent(ECHO).rstrip().splitlines()
    lines[-1], lines[-2] = lines[-2], lines[-1]
    assert build("\n".join(lines)).duration == pytest.approx(seq.duration, abs=ROUNDING)
    assert reversed_order != ECHO


def test_a_cycle_is_an_error():
    lines = error("""
        events: {a: {gx: {area: 10 1/m}}, b: {gx: {area: 10 1/m}}}
        timeline: [{loop: {n: 0 .. 3}, do: [a, {wait: x}, b, {wait: y}]}]
        timing:
          - {name: one, from: a.start, to: a.start.next, is: 20 ms, solve: x}
          - {name: two, from: b.start, to: b.start.next, is: 20 ms, solve: y}
    """)
    assert "must be solvable one after the other, but 'one' and 'two' depend on each other's delays." in lines[0]


def test_a_constraint_without_a_delay_is_held():
    check = "      - {name: flat, from: read.gx.start, to: read.gx.end, is: 1 ms}\n"
    assert error(ECHO + check, TimingError) == [
        (
            "t.yaml:13:5: timing[2] (flat): must be 1 ms, but is 1.14 ms in the blocks. "
            "Add 'solve: …' with a wait between the anchors."
        )
    ]
    assert build(ECHO + check.replace("1 ms", "1.14 ms")).timing[2].found == pytest.approx(1.14e-3)


def test_a_delay_outside_of_its_interval_is_an_error():
    text = ECHO.replace("do: [excite, {wait: te_fill}, read", "do: [{wait: te_fill}, excite, read")
    assert "must hold 'wait: te_fill' between excite.rf.center and read.adc.center, but does not" in error(text)[0]


def test_each_start_pairs_with_the_next_stop():
    """Dummies in a loop of their own have no echo; their excitations pair with nothing."""
    seq = build("""
        events:
          excite: {rf: {shape: block, flip: 90 deg, duration: 1 ms, use: excitation}}
          read: {adc: {samples: 50, dwell: 20 us}}
        timeline:
          - {loop: {d: 1 .. 3}, do: [excite, {wait: 19 ms}]}
          - {loop: {n: 0 .. 3}, do: [excite, {wait: fill}, read]}
        timing:
          - {name: TE, from: excite.rf.center, to: read.adc.center, is: 10 ms, solve: fill}
    """)
    assert seq.timing[0].found == pytest.approx(10e-3, abs=RASTER)


# -- names and messages ------------------------------------------------------------------------------------------------

SMALL = """
    parameters: {{{parameters}}}
    definitions: {{{definitions}}}
    events: {{a: {{gx: {{{gx}}}}}{events}}}
    timeline: [{{loop: {{n: 0 .. 3}}, do: [{do}]}}]
"""


def small(parameters="", definitions="", gx="area: 10 1/m", events="", do="a"):
    return SMALL.format(parameters=parameters, definitions=definitions, gx=gx, events=events, do=do)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (small(gx="area: 10 1/m * m"), "t.yaml:5:25: events.a.gx.area: must use known names, but 'm' is none. Known: "),
        (
            small(gx="area: 10"),
            ("t.yaml:5:25: events.a.gx.area: must be a gradient area with its unit, but is 10. Did you mean '10 1/m'."),
        ),
        (small(gx="area: 10 ms"), "t.yaml:5:25: events.a.gx.area: must be a gradient area, but '10 ms' is a time."),
        (
            small(gx="aera: 10 1/m"),
            ("t.yaml:5:19: events.a.gx.aera: must be a known key, but 'aera' is none. Did you mean 'area'."),
        ),
        (
            small(gx="area: 10 1/m, flat_time: 1 ms"),
            ("t.yaml:5:18: events.a.gx: must not have the key 'flat_time' beside 'area', but has. Remove one of them."),
        ),
        (
            small(gx="flat_area: 10 1/m"),
            ("t.yaml:5:18: events.a.gx: must have the key 'flat_time' beside 'flat_area', but has none."),
        ),
        (
            small(gx="amplitude: 90 mT/m, flat_time: 1 ms"),
            (
                "t.yaml:5:18: events.a.gx: amplitude must be at most 40 mT/m, but "
                "is 90 mT/m. Lower the area or raise the flat time."
            ),
        ),
        (
            small(gx="area: 1000 1/m, duration: 0.3 ms"),
            (
                "t.yaml:5:18: events.a.gx: duration must be at least 830 us for an area of "
                "1000 1/m, but is 300 us. Set duration: 830 us, or leave it out."
            ),
        ),
        (small(parameters="n: 3"), "must be a new name, but 'n' is a parameter already. Choose another name."),
        (
            small(parameters="a: 3"),
            ("t.yaml:5:10: events.a: must be a new name, but 'a' is a parameter already. Choose another name."),
        ),
        (
            small(parameters="m: 3"),
            ("t.yaml:3:14: parameters.m: must be used somewhere, but the parameter 'm' is not. Remove it, or use it."),
        ),
        (small(definitions="m: 3"), "must be used somewhere, but the definition 'm' is not."),
        (small(events=", b: {gy: {area: 1 1/m}}"), "must be used somewhere, but the event 'b' is not."),
        (small(parameters="sin: 3 mm"), "must not be a word of the language, but 'sin' is."),
        (
            small(parameters="2x: 3 mm"),
            "must be a name of letters, digits and _, beginning with a letter, but is '2x'.",
        ),
        (small(do="[a, a]"), "must not use gx twice in one block, but a and a both do."),
        (small(do="a, b"), "t.yaml:6:40: timeline[0].do[1]: must be an event, but 'b' is none. Known: a."),
        (small(do="a, {wait: n}"), "timeline[0].do[1].wait: must be a time, but 'n' is a number."),
        (small(do="a, {wait: -1 ms}"), "timeline[0].do[1].wait: must be at least 0 s, but is -1 ms."),
        (small(definitions="x: y, y: x", gx="area: x"), "must not depend on itself, but definitions.x does."),
        (small(gx="area: a.gx.area"), "must not depend on itself, but gradient.a.gx does."),
        (
            small(gx="area: b.gy.aera", events=", b: {gy: {area: 1 1/m}}"),
            ("must be a property of b.gy, but 'b.gy.aera' is none. Did you mean 'area'."),
        ),
        (
            small(gx="area: 10 1/m, delay: 1 ms * n"),
            "events.a.gx.delay: must not vary over a loop, but '1 ms * n' does.",
        ),
        (small(do="a, {block: a, label: {LIM: 3}}"), "LIM"),
        (small(do="a, {block: a, label: {LIN: 0.5}}"), "timeline[0].do[1].label.LIN: must be whole, but 0.5 is 0.5."),
    ],
)
def test_messages_name_the_place_the_value_and_the_remedy(text, expected):
    assert any(expected in line for line in error(text)), error(text)


def test_all_problems_come_at_once():
    lines = error(small(parameters="m: 3", gx="area: 10 ms", events=", b: {gy: {area: x}}", do="a, c"))
    assert len(lines) == 3  # unused m and b, unknown x: names first
    lines = error(small(gx="area: 10 ms", do="a, {wait: 3}, c"))
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "events: {a: {}}\ntimeline: [a]",
            "t.yaml:3:13: events.a: must have rf, gx, gy, gz, diffuse or adc, but has none of them.",
        ),
        (
            "timeline: [{wait: 1 ms}]\nrecon: {method: none, window: hann}",
            "t.yaml:4:8: recon: must hold nothing beside 'method: none', but does.",
        ),
        (
            "parameters: {matrix: [2, 2, 2], fov: [1 m, 1 m, 1 m]}\ntimeline: [{wait: 1 ms}]\nrecon: {thickness: 3 mm}",
            "t.yaml:5:20: recon.thickness: must be left out of a 3D image, but is given. Remove it.",
        ),
    ],
)
def test_what_is_accepted_is_used(text, expected):
    assert error(text) == [expected]


def test_labels_must_lie_in_the_image():
    lines = error("""
        parameters: {matrix: [8, 4], fov: [200 mm, 200 mm]}
        events: {a: {adc: {samples: 8, dwell: 10 us}}}
        timeline: [{loop: {n: 0 .. 4}, label: {LIN: n}, do: [a]}]
        recon: {method: cartesian}
    """)
    assert lines == [
        (
            "t.yaml:6:8: recon: must hold LIN from 0 to 3, but it runs from 0 to 4. "
            "Give recon a matrix or slices that fit, or change the label."
        )
    ]


def test_recon_takes_what_it_needs_from_parameters_of_the_same_name():
    seq = build("""
        parameters: {matrix: [8, 4], fov: [200 mm, 100 mm], thickness: 6 mm, slices: [-5 mm, 5 mm]}
        events: {a: {adc: {samples: 8, dwell: 10 us}}}
        timeline: [{loop: {s: 0 .. 1}, label: {SLC: s}, do: [a]}]
        recon: {window: hann, maps: {T2: {fit: monoexponential}}}
    """)
    assert (seq.recon.matrix, seq.recon.fov) == ((8, 4, 1), (0.2, 0.1, 6e-3))
    np.testing.assert_array_equal(seq.recon.slice_positions, [-5e-3, 5e-3])
    assert (seq.recon.window, seq.recon.maps) == ("hann", {"T2": {"fit": "monoexponential"}})


def test_a_loop_that_would_run_without_bound_is_refused():
    assert (
        "must run at most 5000000 times, but runs 1000000000000 times"
        in error("timeline: [{loop: {n: 1 .. 10 ** 12}, do: [{wait: 1 ms}]}]")[0]
    )
    assert (
        "must have at most 5000000 blocks, but has 6000000"
        in error("timeline: [{loop: {n: 1 .. 3000000}, do: [{wait: 1 ms}, {wait: 2 ms}]}]")[0]
    )


# -- parameters --------------------------------------------------------------------------------------------------------

PARAMETERS = """
    parameters:
      TE: {value: 10 ms, min: 1 ms, max: 20 ms}
      fov: [200 mm, 100 mm]
      list: [1, 2]
      flag: true
    events: {a: {gx: {area: "len(list) * TE / (1 s * (fov.x if flag else fov.y))"}}}
    timeline: [a]
"""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"TE": 5e-3}, 5e-3),
        ({"TE": "5 ms"}, 5e-3),
        ({"TE": "5000us"}, 5e-3),
        ({"fov": "150 mm"}, (0.15, 0.15)),
        ({"fov": 0.15}, (0.15, 0.15)),
        ({"fov": "150 mm, 120 mm"}, (0.15, 0.12)),
        ({"fov": ["150 mm", 0.12]}, (0.15, 0.12)),
        ({"fov": "[150 mm, 0.12 m]"}, (0.15, 0.12)),
        ({"list": [1, 2, 3]}, (1, 2, 3)),
        ({"flag": False}, False),
        ({"flag": "false"}, False),
    ],
)
def test_parameters_are_set_by_name(given, expected):
    (name,) = given
    parameter = build(PARAMETERS, **given).parameters[name]
    assert parameter.value == pytest.approx(expected)
    assert not parameter.is_default


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"te": 1}, "te: must be a parameter of the sequence, but is none. Did you mean 'TE'."),
        ({"TE": "5"}, "TE: must be a time with its unit, but is 5. Did you mean '5 ms'."),
        ({"TE": "5 mm"}, "TE: must be a time, but is '5 mm', a length."),
        ({"TE": "50 ms"}, "TE: must be at most 20 ms, but is 50 ms."),
        ({"TE": 0.5e-3}, "TE: must be at least 1 ms, but is 500 us."),
        ({"TE": [1e-3, 2e-3]}, "TE: must be one value, but is a list of 2."),
        ({"TE": float("nan")}, "TE: must be finite, but is not."),
        ({"TE": None}, "TE: must be a number, text with a unit or a list of these, but is 'None'."),
        ({"fov": [1, 2, 3]}, "fov: must have 2 components, but has 3."),
        ({"flag": 1}, "flag: must be true or false, but is 1."),
        ({"TE": "fov.x"}, "TE: must be a number with its unit, but names 'fov.x'."),
    ],
)
def test_wrong_parameters(given, expected):
    assert error(PARAMETERS, **given) == [f"t.yaml: {expected}"]


# -- events ------------------------------------------------------------------------------------------------------------

PULSE = """
    parameters: {thickness: 5 mm, at: 0 mm}
    events:
      excite:
        rf: {shape: sinc, flip: 30 deg, duration: 2 ms, time_bandwidth: 4, window: hann, use: excitation, RF}
        gz: {select: thickness, at: at, GZ}
      rephase: {gz: {area: -excite.gz.area_after_center}}
    timeline: [excite, rephase]
"""


def pulse(rf="", gz="", **parameters):
    return build(PULSE.replace(", RF", rf and f", {rf}").replace(", GZ", gz and f", {gz}"), **parameters)


def slice_gradient_at_center(seq):
    shape = seq.gradient_shapes[seq.gradients.shape[seq.blocks.gz[0]]]
    center = seq.rf.delay[0] + seq.rf_shapes[0].center
    return seq.gradients.amplitude[seq.blocks.gz[0]] * np.interp(center, shape.times, shape.values)


def test_the_slice_gradient_follows_from_bandwidth_and_thickness():
    seq = pulse()
    assert slice_gradient_at_center(seq) == pytest.approx(seq.rf_shapes[0].bandwidth / 5e-3, rel=1e-12)
    assert (seq.rf.thickness[0], seq.rf.slice_axis[0]) == (5e-3, 2)
    assert seq.rf.use[0] == Use.EXCITATION
    shape = seq.gradient_shapes[seq.gradients.shape[seq.blocks.gz[0]]]
    assert shape.times[1] == pytest.approx(seq.rf.delay[0])  # the flat top begins with the pulse
    assert seq.rf.delay[0] >= Scanner().rf_dead_time


def test_a_slice_at_a_positive_position_takes_a_positive_frequency():
    seq = pulse(at="20 mm")
    assert seq.rf.frequency[0] == pytest.approx(slice_gradient_at_center(seq) * 20e-3, rel=1e-12)
    assert seq.rf.position[0] == 20e-3


def test_the_rephaser_takes_back_what_follows_the_center():
    seq = pulse()
    from mrisim.events.moments import gradient_tracks, pulse_instances, total_moment

    tracks = gradient_tracks(seq)
    after = total_moment(tracks, np.array([seq.duration])) - total_moment(tracks, pulse_instances(seq).center)
    assert abs(after[0, 2]) < 1e-9  # of some 500 cycles per metre


def test_crushers_have_their_area_on_each_side():
    seq = pulse(gz="crush: 4 / thickness")
    shape = seq.gradient_shapes[seq.gradients.shape[seq.blocks.gz[0]]]
    amplitude = seq.gradients.amplitude[seq.blocks.gz[0]]
    start, stop = seq.rf.delay[0], seq.rf.delay[0] + seq.rf_shapes[0].duration
    for low, high in ((0.0, start), (stop, shape.duration)):
        times = np.unique(np.clip(np.append(shape.times, [low, high]), low, high))
        values = np.interp(times, shape.times, shape.values)
        area = amplitude * np.sum(0.5 * (values[1:] + values[:-1]) * np.diff(times))
        assert area == pytest.approx(4 / 5e-3, rel=1e-9)
    assert seq.check() == ()


def test_a_frequency_in_ppm_follows_the_field():
    system = Scanner()
    text = "timeline: [p]\nevents: {p: {rf: {shape: block, flip: 10 deg, duration: 1 ms, frequency: -3.4 ppm}}}\n"
    assert build(text).rf.frequency[0] == pytest.approx(-3.4e-6 * system.gamma * system.b0)
    assert build("system: {b0: 1.5 T}\n" + text).rf.frequency[0] == pytest.approx(-3.4e-6 * system.gamma * 1.5)


def test_a_negative_flip_angle_turns_the_phase():
    seq = build("timeline: [p]\nevents: {p: {rf: {shape: block, flip: -40 deg, duration: 1 ms, phase: 10 deg}}}\n")
    assert seq.rf.flip[0] == pytest.approx(math.radians(40))
    assert seq.rf.phase[0] == pytest.approx(math.radians(190))


def test_flip_angles_may_vary_over_a_train():
    seq = build("""
        events: {p: {rf: {shape: block, flip: 10 deg * (n + 1), duration: 1 ms}}}
        timeline: [{loop: {n: 0 .. 4}, do: [p]}]
    """)
    np.testing.assert_allclose(seq.rf.flip[seq.blocks.rf], np.radians(10 * np.arange(1, 6)), rtol=1e-12)
    assert len(seq.rf_shapes) == 1


READ = """
    events: {read: {gx: {flat_area: 500 1/m, flat_time: 4.096 ms}, adc: {samples: 256, dwell: 16 us, ADC}}}
    timeline: [read]
"""


def test_sampling_is_centred_on_the_flat_top_and_the_area_stays_as_asked():
    """4.096 ms is off the gradient raster: the flat top grows to 4.1 ms, k spacing and center stay."""
    seq = build(READ.replace(", ADC", ""))
    shape = seq.gradient_shapes[0]
    flat = shape.times[1:3]
    assert np.diff(flat) == pytest.approx(4.1e-3)
    middle = seq.adc.delay[0] + 128 * 16e-6
    assert middle == pytest.approx(flat.mean(), abs=Scanner().rf_raster / 2 + ROUNDING)
    assert seq.gradients.amplitude[0] * 256 * 16e-6 == pytest.approx(500.0, rel=1e-12)


def test_oversampling_keeps_the_duration():
    plain, over = build(READ.replace(", ADC", "")), build(READ.replace("ADC", "oversampling: 2"))
    assert (over.adc.samples[0], over.adc.dwell[0]) == (512, pytest.approx(8e-6))
    assert over.blocks.duration[0] == plain.blocks.duration[0]


def test_a_dwell_time_off_the_raster_names_a_bandwidth_that_is_on_it():
    assert error(READ.replace("dwell: 16 us, ADC", "dwell: 1 / 61 kHz")) == [
        (
            "t.yaml:3:91: events.read.adc.dwell: must be a multiple of the ADC raster of 0.1 us, but is 16.3934 us. "
            "Use a bandwidth of 60.9756 kHz, a dwell time of 16.4 us."
        )
    ]


def test_sampling_must_fit_the_flat_top():
    assert (
        "must sample on the flat top of gx, 4.1 ms, but lasts 4.352 ms"
        in error(READ.replace("dwell: 16 us, ADC", "dwell: 17 us"))[0]
    )


def test_arbitrary_and_extended_gradients():
    seq = build("""
        definitions: {t: "(count(100) + 0.5) / 100"}
        events:
          ramp: {gx: {times: [0 us, 200 us, 500 us], amplitudes: [0 mT/m, 8 mT/m, 0 mT/m]}}
          half_sine: {gy: {samples: "sin(180 deg * t)", amplitude: 10 mT/m}}
        timeline: [ramp, half_sine]
    """)
    gamma = Scanner().gamma
    ramp = seq.gradient_shapes[seq.gradients.shape[seq.blocks.gx[0]]]
    assert seq.gradients.amplitude[seq.blocks.gx[0]] * _unit_area(ramp) == pytest.approx(0.5 * 500e-6 * 8e-3 * gamma)
    sine = seq.gradient_shapes[seq.gradients.shape[seq.blocks.gy[1]]]
    assert seq.gradients.amplitude[seq.blocks.gy[1]] * _unit_area(sine) == pytest.approx(
        2 / math.pi * 1e-3 * 10e-3 * gamma,
        rel=1e-3,  # midpoints of 100 intervals of a half sine: 1/24 (pi/100)^2 and ends
    )


def test_gradients_that_run_through_points_of_k_space():
    """Samples with the dimension of a gradient are taken as they are; steps of k over the raster give their areas."""
    seq = build("""
        definitions: {k: "300 1/m * (count(101) / 100) ** 2"}
        events: {arm: {gx: {samples: diff(k) / system.gradient_raster}}}
        timeline: [{block: arm, duration: 1.02 ms}]
    """)
    shape = seq.gradient_shapes[seq.gradients.shape[seq.blocks.gx[0]]]
    assert seq.gradients.amplitude[seq.blocks.gx[0]] * _unit_area(shape) == pytest.approx(300.0, rel=1e-3)  # the ends


@pytest.mark.parametrize(("gradient", "message"), [
    ("samples: [1, 2]", "must have the key 'amplitude', which its samples are scaled to, but has none"),
    ("samples: [1 mT/m, 2 mT/m], amplitude: 1 mT/m", "must not have the key 'amplitude' beside samples that are"),
    ("samples: [1 ms, 2 ms]", "must be a list of numbers or gradients, but is one of a time"),
    ("samples: 3, amplitude: 1 mT/m", "must be a list that does not vary over a loop, but is not"),
])  # fmt: skip
def test_samples_that_are_no_gradient(gradient, message):
    with pytest.raises(SpecError) as error:
        build(f"""
            events: {{arm: {{gx: {{{gradient}}}}}}}
            timeline: [arm]
        """)
    assert message in str(error.value)


def test_pulses_and_gradients_from_files(tmp_path):
    from mrisim.sequence import load_sequence

    (tmp_path / "pulse.csv").write_text("# magnitude, phase in degrees\n0.5, 0\n1.0, 90\n0.5, 180\n")
    (tmp_path / "lobe.txt").write_text("\n".join(str(math.sin(math.pi * (i + 0.5) / 50)) for i in range(50)))
    path = tmp_path / "s.yaml"
    path.write_text(
        HEAD
        + textwrap.dedent("""
        events:
          p: {rf: {shape: file, file: pulse.csv, dwell: 100 us, amplitude: 200 Hz}}
          g: {gx: {file: lobe.txt, amplitude: 10 mT/m}}
        timeline: [p, g]
    """)
    )
    seq = load_sequence(path)
    np.testing.assert_allclose(seq.rf_shapes[0].samples, [0.5, 1j, -0.5], atol=1e-15)
    assert seq.rf_shapes[0].duration == pytest.approx(300e-6)
    assert seq.rf.amplitude[0] == pytest.approx(200.0)
    path.write_text(path.read_text().replace("pulse.csv", "../pulse.csv"))
    with pytest.raises(SpecError, match="must lie inside the specification's folder"):
        load_sequence(path)
