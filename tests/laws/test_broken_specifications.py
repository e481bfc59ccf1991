"""Whatever a specification says, nothing but a typed error comes out of it."""

import copy
import string

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mrisim.errors import MrisimError
from mrisim.sequence.files import refuse_later
from mrisim.sequence.library import sequence_from_source
from mrisim.source import parse_source

SEED = """
mrisim: 1
name: seed
geometry: {orientation: {plane: coronal, about_read: 20 deg}, center: [1 mm, 2 mm, 3 mm]}
system: {max_gradient: 30 mT/m}
parameters:
  TE: {value: 6 ms, min: 1 ms}
  flip: {value: 15 deg, max: 90 deg}
  fov: {value: [220 mm, 200 mm]}
  matrix: {value: [8, 4]}
  thickness: 5 mm
  slices: [0 mm, 5 mm]
definitions:
  ratio: matrix.x / fov.x
  order: echo_order(4, 2, 1)
events:
  excite:
    rf: {shape: sinc, flip: flip, duration: 2 ms, time_bandwidth: 4, window: hann, phase: 117 deg * n, use: excitation}
    gz: {select: thickness, at: position}
  refocus:
    rf: {shape: block, amplitude: 500 Hz, duration: 1 ms, use: refocusing, frequency: -3.4 ppm}
    gz: {select: thickness, crush: 2 / thickness}
  read: {gx: {flat_area: ratio, flat_time: 160 us}, adc: {samples: matrix.x, dwell: 20 us, on: n > 0}}
  prephase: {gx: {area: -read.gx.area_to_center}, gy: {area: (line - 2) / fov.y, duration: 1 ms}}
  wave: {gz: {times: [0 us, 100 us, 200 us], amplitudes: [0 mT/m, 5 mT/m, 0 mT/m]}}
timeline:
  - loop: {position: slices, index: s}
    label: {SLC: s}
    do:
      - loop: {n: 0 .. 3}
        let: {line: "order(n // 2, n % 2)"}
        label: {LIN: line}
        do:
          - excite
          - [prephase, wave]
          - refocus
          - wait: fill
          - {block: read, rotate: 10 deg * n, when: n >= 0}
          - {do: [{wait: 1 ms}]}
timing:
  - {name: TE, from: excite.rf.center, to: read.adc.center, is: TE, solve: fill}
recon: {method: cartesian}
"""
DATA = parse_source(SEED).data
WORDS = [
    "", "0", "-1", "5 ms", "-5 ms", "1e300 s", "1e-300 m", "1e9", "TE", "n", "read.gx.area", "excite", "read", "fill",
    "excite.rf.center.next", "order", "order(9, 9)", "sin(1)", "1 / 0", "matrix", "matrix.w", "n > 1", "0 .. 1e12",
    "3 .. 0", "n .. 9", "true", "null", "inf", ".nan", "5 parsec", "__import__('os')", "refocus.gz.area", "1e400",
    "[1 ms, 2 ms]", "count(10) * 1 mm", "1000000", "100 mT/m", "3 T", "../x.yaml", "slr", "hyperbolic_secant", "file",
    "10 ** 15", "line", "wave.gz.flat_time", "ratio", "0 mm", "1 1/m", "0.1 us", "200 ms", "1e7 Hz", "720 deg",
]  # fmt: skip
TEXT = st.sampled_from(WORDS) | st.text(string.printable, max_size=12)
VALUES = (
    TEXT | st.lists(TEXT, max_size=3) | st.dictionaries(st.sampled_from(["value", "wait", "loop", "do", "x"]), TEXT)
)


def nodes(data, path=()):
    yield path
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield from nodes(value, (*path, key))


PATHS = [path for path in nodes(DATA) if path]


def build(data):
    source = parse_source(yaml.dump(data), "broken.yaml")
    refuse_later(source)
    return sequence_from_source(source, {})


def problems(function, argument):
    """Problems of a typed error, none where all went well."""
    try:
        function(argument)
    except MrisimError as error:
        return list(error.problems) or ["an error without a problem"]
    return []


def well_formed(problem):
    return bool(problem.rule) and not problem.rule.endswith(".")


def test_the_seed_is_not_broken():
    assert len(build(DATA).blocks) == 2 * 4 * 6


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(st.sampled_from(PATHS), st.sampled_from(["set", "drop", "rename"]), VALUES), min_size=1, max_size=3
    )
)
def test_broken_specifications_raise_typed_errors_only(changes):
    data = copy.deepcopy(DATA)
    for path, change, value in changes:
        try:
            holder = data
            for key in path[:-1]:
                holder = holder[key]
            if change == "set":
                holder[path[-1]] = value
            elif change == "drop":
                del holder[path[-1]]
            elif isinstance(holder, dict) and isinstance(value, str):
                holder[value] = holder.pop(path[-1])
        except (KeyError, IndexError, TypeError):  # an earlier change took it away
            continue
    assert all(map(well_formed, problems(build, data)))


@pytest.mark.parametrize("word", WORDS)
def test_every_value_may_be_broken(word):
    for path in PATHS[WORDS.index(word) % 24 :: 24]:
        data = copy.deepcopy(DATA)
        holder = data
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = word
        assert all(map(well_formed, problems(build, data)))


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.text(string.printable + "µé\x00", max_size=200))
def test_any_text_is_yaml_or_a_typed_error(text):
    assert all(map(well_formed, problems(parse_source, text)))
