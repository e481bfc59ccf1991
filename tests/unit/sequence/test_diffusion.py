"""Diffusion lobes: their b value, the shortest that reach it, and what a file may say about them."""

import textwrap

import numpy as np
import pytest

from mrisim.constants import GAMMA_BAR
from mrisim.errors import SpecError, TimingError
from mrisim.paths import library_folder
from mrisim.sequence.diffusion import Demand, check_directions, cosine_lobe, factor, train_factor, trapezoid_lobe
from mrisim.sequence.directions import even_directions
from mrisim.sequence.gradients import Limits, Waveform, trapezoid
from mrisim.sequence.library import load_sequence, sequence_from_source
from mrisim.source import parse_source

LIMITS = Limits(gradient=40e-3 * GAMMA_BAR, slew=150 * GAMMA_BAR, raster=1e-5, gamma=GAMMA_BAR)
ROUNDING = 1e-12
GAMMA = 267.5221874e6  # 2 pi times GAMMA_BAR to the digits that the goldens were made with
X = np.array([1.0, 0.0, 0.0])[:, None]

HEAD = "mrisim: 1\nname: test\n"
PAIR = """
    parameters:
      TE: 60 ms
      b: {value: [0 s/mm^2, 400 s/mm^2, 900 s/mm^2]}
    events:
      lobe: {diffuse: {b: b_now, direction: DIRECTION, separation: TE / 2}}
    timeline:
      - loop: {b_now: b}
        do: [lobe, {wait: gap}, lobe, {wait: 5 ms}]
    timing:
      - {name: separation, from: lobe.start, to: lobe.start, is: TE / 2, solve: gap}
"""


def build(text, **parameters):
    return sequence_from_source(parse_source(HEAD + textwrap.dedent(text).lstrip("\n"), "t.yaml"), parameters)


def pair(direction="[1, 0, 0]", more="", **parameters):
    text = PAIR.replace("DIRECTION", direction)
    return build(text.replace("separation: TE / 2}", f"separation: TE / 2{more}}}"), **parameters)


def message(call, kind=SpecError):
    with pytest.raises(SpecError) as caught:
        call()
    assert type(caught.value) is kind
    return str(caught.value)


def demand(b, separation, direction=X):
    return Demand(b=np.array([b]), direction=direction, separation=separation)


# -- b of a lobe -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("strength", "delta", "separation", "rise", "golden"), [
    (40e-3, 20e-3, 40e-3, 1e-3, 1526.4087), (80e-3, 15e-3, 35e-3, 0.5e-3, 3091.4584),
])  # fmt: skip
def test_b_of_a_pair_of_trapezoids(strength, delta, separation, rise, golden):
    """Goldens of an independent program, and γ²G²[δ²(Δ-δ/3) + ε³/30 - δε²/6]."""
    found = (GAMMA / (2 * np.pi) * strength) ** 2 * factor(trapezoid(np.ones(1), rise, delta - rise), separation)
    exact = (GAMMA * strength) ** 2 * (delta**2 * (separation - delta / 3) + rise**3 / 30 - delta * rise**2 / 6)
    assert found == pytest.approx(exact, rel=1e-12)
    assert found * 1e-6 == pytest.approx(golden, abs=1e-4)  # its digits


def test_b_of_half_sines():
    """(4/π²) γ²G²δ²(Δ-δ/4), to the square of the step of its straight lines."""
    delta, separation, steps = 13e-3, 29e-3, 400
    t = np.linspace(0, delta, steps + 1)
    lobe = Waveform(times=t, unit=np.sin(np.pi * t / delta), amplitude=np.ones(1))
    exact = 4 * np.pi**2 * 4 / np.pi**2 * delta**2 * (separation - delta / 4)
    assert factor(lobe, separation) == pytest.approx(exact, rel=2 * (np.pi / steps) ** 2)


def test_b_of_a_train_by_quadrature():
    starts, durations, signs = np.array([0, 8e-3, 30e-3, 44e-3]), np.array([5e-3, 9e-3, 9e-3, 5e-3]), [1, 1, -1, -1]
    rise, t = 0.4e-3, np.linspace(0, 50e-3, 400_001)
    g = sum(s * np.interp(t, [a, a + rise, a + d, a + d + rise], [0, 1, 1, 0])
            for a, d, s in zip(starts, durations, signs, strict=True))  # fmt: skip
    k = np.concatenate([[0], np.cumsum(0.5 * (g[1:] + g[:-1]) * np.diff(t))])
    exact = 4 * np.pi**2 * np.trapezoid(k**2, t)
    assert train_factor(starts, durations, np.array(signs), rise) == pytest.approx(exact, rel=1e-6)  # step² of the sum


@pytest.mark.parametrize(("starts", "durations", "rule"), [
    ([0, 4e-3], [5e-3, 5e-3], "must be lobes one after the other"),
    ([0, 10e-3], [5e-3, 4e-3], "must add up to no phase, but lobes of 1 ms are left over"),
    ([0, 10e-3], [0.2e-3, 0.2e-3], "each at least as long as its ramp of 400 us"),
])  # fmt: skip
def test_trains_that_are_none(starts, durations, rule):
    with pytest.raises(SpecError, match=rule):
        train_factor(np.array(starts), np.array(durations), np.array([1, -1]), 0.4e-3)


# -- the shortest lobe -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("b", "separation"), [(1000e6, 45e-3), (30e6, 30e-3), (2500e6, 70e-3)])
def test_the_shortest_trapezoid_reaches_b_and_one_step_less_does_not(b, separation):
    lobe = trapezoid_lobe(demand(b, separation), LIMITS, None, None)
    assert b / factor(lobe, separation) <= LIMITS.gradient**2 * (1 + 1e-9)
    shorter = trapezoid(np.ones(1), lobe.rise_time, lobe.flat[1] - lobe.flat[0] - LIMITS.raster)
    assert b / factor(shorter, separation) > LIMITS.gradient**2


def test_a_diagonal_direction_is_shorter_because_three_axes_help():
    diagonal = np.full((3, 1), 1 / np.sqrt(3))
    along = trapezoid_lobe(demand(1000e6, 50e-3), LIMITS, None, None)
    across = trapezoid_lobe(demand(1000e6, 50e-3, diagonal), LIMITS, None, None)
    assert across.duration < along.duration
    assert 1000e6 / 3 / factor(across, 50e-3) <= LIMITS.gradient**2 * (1 + 1e-9)


def test_a_cosine_lobe_keeps_to_both_limits_and_leaves_no_phase():
    lobe = cosine_lobe(demand(40e6, 60e-3), LIMITS, 50.0, None)
    amplitude = np.sqrt(40e6 / factor(lobe, 60e-3))
    assert lobe.duration == pytest.approx(round(lobe.duration * 50) / 50)
    assert amplitude <= LIMITS.gradient * (1 + 1e-9)
    assert amplitude * np.abs(np.diff(lobe.unit)).max() / LIMITS.raster <= LIMITS.slew * (1 + 1e-9)
    assert abs(lobe.integral(0, lobe.duration)) < ROUNDING
    assert factor(lobe, 60e-3) == pytest.approx(factor(lobe, 90e-3), rel=1e-9)  # the separation has no effect
    fewer = lobe.duration - 1 / 50
    assert "must be at most" in message(lambda: cosine_lobe(demand(40e6, 60e-3), LIMITS, 50.0, fewer), TimingError)


def test_b_of_many_periods_is_that_of_a_cosine():
    """γ²G²T/(4π²f²) for a pair of cosines of duration T; the ends change two half periods of N."""
    frequency, periods = 100.0, 40
    lobe = cosine_lobe(demand(1e6, 0.5), LIMITS, frequency, periods / frequency)
    exact = 4 * np.pi**2 * (periods / frequency) / (4 * np.pi**2 * frequency**2)
    assert factor(lobe, 0.5) == pytest.approx(exact, rel=1 / (2 * periods))


@pytest.mark.parametrize("b", [500e6, 5e6])
def test_b_of_a_played_pair_is_what_was_asked(b):
    """Through expansion: the moments of the blocks, integrated numerically."""
    seq = pair(b=[0, b])
    t = np.linspace(0, seq.duration / 2, 200_001)
    starts = np.flatnonzero(np.asarray(seq.block_names)[seq.blocks.name] == "lobe")[2:]
    shape = seq.gradient_shapes[0]
    g = seq.gradients.amplitude[seq.blocks.gx[starts[0]]] * np.interp(t, shape.times, shape.values, right=0.0)
    k = np.concatenate([[0], np.cumsum(0.5 * (g[1:] + g[:-1]) * np.diff(t))])
    separation = seq.starts[starts[1]] - seq.starts[starts[0]]
    k -= np.interp(t - separation, t, k, left=0.0)
    assert 4 * np.pi**2 * np.trapezoid(k**2, t) == pytest.approx(b, rel=1e-6)


def test_a_weighting_of_zero_takes_the_same_time():
    seq = pair()
    lobes = np.flatnonzero(np.asarray(seq.block_names)[seq.blocks.name] == "lobe")
    assert len(set(seq.blocks.duration[lobes])) == 1
    assert (seq.blocks.gx[lobes[:2]] == -1).all()
    assert (seq.blocks.gx[lobes[2:]] >= 0).all()


def test_an_oblique_direction_is_shared_by_the_axes():
    seq = pair("[0.6, 0, -0.8]")
    last = np.flatnonzero(np.asarray(seq.block_names)[seq.blocks.name] == "lobe")[-1]
    x, z = (seq.gradients.amplitude[seq.blocks.__dict__[axis][last]] for axis in ("gx", "gz"))
    assert x / z == pytest.approx(-0.75)
    assert seq.blocks.gy[last] == -1


# -- what a file may say -----------------------------------------------------------------------------------------------


def test_directions_of_another_length_are_refused():
    found = message(lambda: pair("[1, 1, 0]"))
    assert found == (
        "t.yaml:7:41: events.lobe.diffuse.direction: must be of unit length, but [1, 1, 0] has the length 1.41421. "
        "Use [0.707107, 0.707107, 0]."
    )


def test_digits_that_people_write_are_taken_as_one():
    written = np.array([[0.577], [0.577], [-0.577]])
    assert np.linalg.norm(check_directions(written)) == pytest.approx(1.0, rel=1e-15)


@pytest.mark.parametrize(("direction", "more", "rule"), [
    ("[1, 0]", "", "direction: must be a list of three numbers (read, phase, slice), but is none"),
    ("[1, 0, 0]", ", amplitude: 10 mT/m", "must not have the key 'amplitude' beside 'b', but has"),
    ("[1, 0, 0]", ", frequency: 50 Hz, rise_time: 1 ms", "must not have the key 'rise_time' beside 'frequency'"),
    ("[1, 0, 0]", ", frequency: 51 Hz", "frequency must have a period of whole 40 us, but is 51 Hz. Use 51.0204 Hz"),
    ("[1, 0, 0]", ", frequency: 50 Hz, duration: 25 ms", "duration must be whole periods of 20 ms, but is 25 ms"),
])  # fmt: skip
def test_what_a_lobe_cannot_be(direction, more, rule):
    assert rule in message(lambda: pair(direction, more))


def test_a_lobe_is_the_only_gradient_of_its_event():
    text = """
        events: {lobe: {gx: {area: 5 1/m}, diffuse: {amplitude: 10 mT/m, direction: [1, 0, 0], duration: 5 ms}}}
        timeline: [lobe]
    """
    assert "must be the only gradient of its event, but gx is one. Remove it" in message(lambda: build(text))


def test_b_out_of_reach_names_the_echo_time_that_would_do():
    found = message(lambda: pair(b=[0, 9e9]), TimingError)
    te = float(found.split("a TE of at least ")[1].split(" ms")[0]) * 1e-3
    assert found.endswith(f"Set TE: {te * 1e3:g} ms, or lower b.")
    pair(b=[0, 9e9], TE=te)
    message(lambda: pair(b=[0, 9e9], TE=te - 1e-4), TimingError)


def test_a_readout_that_leaves_no_time_names_the_echo_time_too():
    found = message(lambda: load_sequence("dwi_se_epi", TE="50 ms"), TimingError)
    te = float(found.split("Set TE: ")[1].split(" ms")[0]) * 1e-3
    load_sequence("dwi_se_epi", TE=te)
    message(lambda: load_sequence("dwi_se_epi", TE=te - 1e-4), TimingError)


def test_sphere_gives_a_vector_for_each_number():
    seq = build("""
        definitions: {axes: sphere(6)}
        events: {a: {gx: {area: 100 1/m * v.x}, gy: {area: 100 1/m * v.y}, gz: {area: 100 1/m * v.z}}}
        timeline:
          - loop: {i: 0 .. 5}
            let: {v: axes(i)}
            do: [a]
    """)
    unit = [np.append(seq.gradients.amplitude, 0.0)[seq.blocks.__dict__[axis]] for axis in ("gx", "gy", "gz")]
    largest = [one[np.abs(one).argmax()] for one in unit]  # each axis has a shape of its own, for its largest area
    expected = even_directions(6).T / [[d[np.abs(d).argmax()]] for d in even_directions(6).T]
    np.testing.assert_allclose(np.array(unit) / np.array(largest)[:, None], expected, atol=ROUNDING)
    assert "must lie between 0 and 5" in message(lambda: build("""
        definitions: {axes: sphere(6)}
        events: {a: {gx: {area: 100 1/m * v.x}}}
        timeline: [{loop: {i: 0 .. 6}, let: {v: axes(i)}, do: [a]}]
    """))  # fmt: skip


@pytest.mark.parametrize("n", ["0", "513"])
def test_sphere_is_bounded(n):
    text = f"""
        definitions: {{axes: sphere({n})}}
        events: {{a: {{gx: {{area: 100 1/m * v.x}}}}}}
        timeline: [{{loop: {{i: 0 .. 1}}, let: {{v: axes(i)}}, do: [a]}}]
    """
    assert f"must give sphere() a number from 1 to 512, but '{n}' is {n}" in message(lambda: build(text))


def test_null_leaves_out_what_would_be_inherited(tmp_path):
    (tmp_path / "base.yaml").write_text(
        "mrisim: 1\nname: base\nevents: {a: {gx: {area: 5 1/m}}, b: {gy: {area: 5 1/m}}}\ntimeline: [a, b]\n"
    )
    over = tmp_path / "over.yaml"
    over.write_text("mrisim: 1\nextends: base.yaml\nevents: {b: null}\ntimeline: [a]\n")
    assert len(load_sequence(over).blocks) == 1
    over.write_text("mrisim: 1\nextends: base.yaml\nevents: {c: null}\ntimeline: [a]\n")
    with pytest.raises(SpecError, match=r"over\.yaml"):
        load_sequence(over)


def test_the_example_of_the_page_plays():
    page = (library_folder("sequences").parent / "docs" / "language.md").read_text("utf-8")
    examples = [part.split("```")[0] for part in page.split("```yaml\n")[1:]]
    seq = build(next(example for example in examples if "diffuse" in example))
    assert [str(violation) for violation in seq.check()] == []
    assert [record.found for record in seq.timing] == pytest.approx([22e-3, 30e-3])
