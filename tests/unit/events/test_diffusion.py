"""b-matrices of readouts: closed forms of pulsed gradients, cross terms, stored magnetisation."""

from __future__ import annotations

import numpy as np
import pytest
from physics.build import ADC, MS, RF, Block, build, lobe, repeat

from mrisim.data import Geometry
from mrisim.events.blocks import Use
from mrisim.events.diffusion import weightings
from mrisim.events.readouts import readout_table
from mrisim.sequence import load_sequence

GAMMA_BAR = 2.6752218708e8 / (2 * np.pi)  # of the golden values [Hz/T]
SQUARE_MM = 1e-6  # s/m² → s/mm²
ROUNDING = 1e-9  # of a b value: times of blocks of some 0.1 s in float64, gradients that rise in some µs
TE = 80 * MS


def trapezoid(start: float, length: float, ramp: float, peak: float):
    """Corners; the length is from the start of the ramp up to the start of the ramp down."""
    return start + np.array([0.0, ramp, length, length + ramp]), peak * np.array([0.0, 1.0, 1.0, 0.0])


def half_sine(start: float, length: float, peak: float, corners: int = 2001):
    part = np.linspace(0, 1, corners)
    return start + part * length, peak * np.sin(np.pi * part)


def spin_echo(gx=(None, None), gy=(None, None), background: float = 0.0, **more):
    """90, 180 and one sample at TE; gradients of the first and of the second half, and one that is always on."""
    half = TE / 2
    on = (np.array([0.0, half]), np.full(2, background)) if background else None
    parts = [
        Block(duration=half, rf=RF(flip=1.5, at=1e-6), gx=gx[0], gy=gy[0], gz=on),
        Block(duration=half, rf=RF(flip=3.1, at=1e-6, use=Use.REFOCUSING), gx=gx[1], gy=gy[1], gz=on),
        Block(duration=1 * MS, adc=ADC(at=1e-6)),
    ]
    return build(parts, **more)


@pytest.mark.parametrize(
    ("peak", "length", "apart", "ramp", "golden"),
    [(0.04, 20 * MS, 40 * MS, 1 * MS, 1526.4086926980897), (0.08, 15 * MS, 35 * MS, 0.5 * MS, 3091.4584450597695)],
)
def test_a_pair_of_trapezoids(peak, length, apart, ramp, golden):
    """Goldens of an independent program; b = γ²G²[δ²(Δ - δ/3) + ε³/30 - δε²/6]."""
    lobes = [
        trapezoid(at - half, length, ramp, peak * GAMMA_BAR) for at, half in ((10 * MS, 0), (10 * MS + apart, TE / 2))
    ]
    seq = spin_echo(gx=lobes)
    b = seq.b_matrix()[0] * SQUARE_MM
    formula = (2 * np.pi * GAMMA_BAR * peak) ** 2 * (
        length**2 * (apart - length / 3) + ramp**3 / 30 - length * ramp**2 / 6
    )
    assert b[0, 0] == pytest.approx(golden, rel=ROUNDING)
    assert b[0, 0] == pytest.approx(formula * SQUARE_MM, rel=ROUNDING)
    assert np.trace(b) == pytest.approx(b[0, 0], rel=ROUNDING)


def test_a_pair_of_half_sines():
    peak, length, apart = 0.04, 20 * MS, 40 * MS
    lobes = [half_sine(at, length, peak * GAMMA_BAR) for at in (10 * MS, 10 * MS + apart - TE / 2)]
    chords = 4 * (np.pi / 2000) ** 2 / 12  # relative: area of a sine between 2001 corners, squared, with some room
    assert np.trace(spin_echo(gx=lobes).b_matrix()[0]) * SQUARE_MM == pytest.approx(649.7224552653986, rel=chords)


def test_a_constant_gradient_refocuses_with_the_cube_of_te():
    g0 = 2e-3 * GAMMA_BAR
    expected = (2 * np.pi * g0) ** 2 * TE**3 / 12
    assert spin_echo(background=g0).b_matrix()[0, 2, 2] == pytest.approx(expected, rel=1e-9)


def test_cross_term_with_a_background_gradient():
    """2 b_xz = -γ²G g0 δ[t1² + t2² + δ(t1 + t2) + ⅔δ² - TE²/2], for rectangular lobes, positive for the same polarity.

    Source: Stejskal and Tanner, J Chem Phys 42:288 (1965).
    """
    peak, length, apart, before, g0 = 0.04 * GAMMA_BAR, 20 * MS, 40 * MS, 10 * MS, 1e-3 * GAMMA_BAR
    steep = 1e-9
    lobes = [trapezoid(at, length, steep, peak) for at in (before, before + apart - TE / 2)]
    after = TE - before - apart - length
    turns = -((2 * np.pi) ** 2) * peak * g0 * length
    expected = turns * (before**2 + after**2 + length * (before + after) + 2 * length**2 / 3 - TE**2 / 2)
    b = spin_echo(gx=lobes, background=g0).b_matrix()[0]
    assert expected > 0
    assert 2 * b[0, 2] == pytest.approx(expected, rel=10 * steep / length)
    opposite = spin_echo(gx=[(times, -values) for times, values in lobes], background=g0).b_matrix()[0]
    assert opposite[0, 2] == pytest.approx(-b[0, 2], rel=1e-12)


def test_axes_are_physical():
    angle = 0.7
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    lobes = [trapezoid(10 * MS, 20 * MS, 1 * MS, 1e6)] * 2
    plain, turned = (spin_echo(gx=lobes, geometry=g).b_matrix()[0] for g in (Geometry(), Geometry(rotation=rotation)))
    assert turned == pytest.approx(rotation @ plain @ rotation.T, rel=1e-12, abs=1e-9 * plain.max())


def stimulated(mixing: float, recalls: int = 1):
    """Excitation, storage, recalls with a readout each; what is played during the mixing time spoils only."""
    encode, decode = lobe(20e3, 1 * MS, 6 * MS), lobe(20e3, 1 * MS, 6 * MS)
    read = Block(duration=15 * MS, rf=RF(flip=0.4, use=Use.RECALL), gx=decode, adc=ADC(at=10 * MS))
    return build([
        Block(duration=10 * MS, rf=RF(flip=1.5), gx=encode),
        Block(duration=mixing, rf=RF(flip=1.5, use=Use.STORAGE), gz=lobe(50e3, 1 * MS, 3 * MS)),
        *[read] * recalls,
    ])  # fmt: skip


def test_stored_magnetisation_goes_on_to_diffuse():
    """b = (2π)² k² TM from the storage to the recall, beside what the lobes themselves give."""
    short, long = (stimulated(mixing).b_matrix()[0] for mixing in (20 * MS, 120 * MS))
    assert long[0, 0] - short[0, 0] == pytest.approx((2 * np.pi * 20e3) ** 2 * 100 * MS, rel=1e-9)
    assert np.abs(long[2, 2]) < 1e-9 * long[0, 0]


def test_every_recall_takes_what_was_stored():
    several = stimulated(20 * MS, recalls=3)
    k, _ = several.kspace()
    assert k == pytest.approx(np.zeros((3, 3)), abs=1e-6)
    b = several.b_matrix()[:, 0, 0]
    assert np.diff(b) == pytest.approx((2 * np.pi * 20e3) ** 2 * 15 * MS, rel=1e-9)
    assert readout_table(several).te == pytest.approx(20 * MS - 1e-6)


def test_what_was_not_excited_has_no_weighting():
    seq = build([Block(duration=5 * MS, adc=ADC(at=1 * MS)), *spin_echo_blocks()])
    b = np.asarray(readout_table(seq).b_matrix)
    assert np.isnan(b[0]).all()
    assert np.isfinite(b[1]).all()


def spin_echo_blocks():
    return [Block(duration=5 * MS, rf=RF(flip=1.0)), Block(duration=5 * MS, adc=ADC(at=1 * MS))]


def test_an_excitation_forgets_what_was_before():
    """Strong spoilers between repetitions, of which there are many, leave nothing behind."""

    def shot(_):
        return [
            Block(duration=4 * MS, rf=RF(flip=1.0), gx=lobe(300.0, 1 * MS, 2 * MS), adc=ADC(at=3.5 * MS)),
            Block(duration=500 * MS, gx=lobe(3e5, 1 * MS, 20 * MS)),
        ]

    b = build(repeat(400, shot)).b_matrix()[:, 0, 0]
    assert b == pytest.approx(b[0], rel=1e-6)


def test_weightings_name_b_value_and_direction():
    gx, gy = ([trapezoid(10 * MS, 20 * MS, 1 * MS, 1.2e6)] * 2 for _ in range(2))
    blocks = [*spin_echo_parts(gx=gx), *spin_echo_parts(gx=gx, gy=gy), *spin_echo_parts(), *spin_echo_parts(gx=gx)]
    found = weightings(build(blocks))
    assert [w.count for w in found] == [2, 1, 1]
    assert found[0].direction == pytest.approx([1, 0, 0], abs=1e-6)
    assert found[1].direction == pytest.approx(np.array([1, 1, 0]) / np.sqrt(2), abs=1e-6)
    assert found[1].b == pytest.approx(2 * found[0].b, rel=1e-6)
    assert found[2].direction is None


def spin_echo_parts(gx=(None, None), gy=(None, None)):
    half = TE / 2
    return [
        Block(duration=half, rf=RF(flip=1.5), gx=gx[0], gy=gy[0]),
        Block(duration=half, rf=RF(flip=3.1, use=Use.REFOCUSING), gx=gx[1], gy=gy[1]),
        Block(duration=1 * MS, adc=ADC(at=0.5 * MS)),
    ]


def test_imaging_gradients_of_a_spin_echo_weigh_little_but_something():
    b = load_sequence("spin_echo").b_matrix()
    values = np.trace(b, axis1=1, axis2=2) * SQUARE_MM
    assert values.min() > 0.5
    assert values.max() < 5.0


def test_navigators_are_no_echoes_of_their_own():
    """Reference lines before the lobes pass k = 0 too, without weighting."""
    found = [w.b * 1e-6 for w in weightings(load_sequence("dwi_se_epi", b=["700 s/mm^2"], directions=3))]
    assert len(found) == 4
    assert found[1:] == pytest.approx([700.0] * 3, rel=0.03)  # imaging gradients
