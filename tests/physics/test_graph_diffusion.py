"""Free diffusion in the phase graph against exp(-b : D), with b from closed forms and from the sequence."""

from __future__ import annotations

import numpy as np
import pytest
from physics.build import ADC, MS, RF, Block, build, lobe, spins

from mrisim.events.blocks import Use
from mrisim.simulate import simulate

WATER = 2.023e-9  # Holz et al., Phys Chem Chem Phys 2:4740 (2000), 20 °C [m²/s]
TURN = 2 * np.pi
HALF = np.pi / 2
ROUNDING = 1e-6
TENSOR = np.array([[1.7, 0.3, -0.2], [0.3, 0.6, 0.1], [-0.2, 0.1, 0.4]]) * 1e-9


def observed(seq, diffusion, pulses="ideal") -> np.ndarray:
    where = spins(position=[[0.0, 0.0, 0.0]], t1=1.2, t2=0.09, diffusion=diffusion)
    return simulate(seq, where, engine="epg", pulses=pulses, dtype="float64", tolerance=1e-12).signal[0]


def lost(seq, diffusion, pulses="ideal") -> np.ndarray:
    """What diffusion leaves of each sample."""
    return np.abs(observed(seq, diffusion, pulses)) / np.abs(observed(seq, 0.0, pulses))


def expected(seq, tensor) -> np.ndarray:
    return np.exp(-np.einsum("nij,ij->n", seq.b_matrix(), tensor))


def spin_echo(areas=((20e3, 0, 0),), background=0.0):
    """Lobes along any axes, a gradient that is always on, crushers around the refocusing pulse."""
    on = (np.array([0.0, 30 * MS]), np.full(2, background)) if background else None
    gx, gy, gz = (sum(area[axis] for area in areas) for axis in range(3))

    def lobes(**more):
        made = {axis: lobe(area, 2 * MS, 22 * MS) for axis, area in (("gx", gx), ("gy", gy), ("gz", gz)) if area}
        return {**made, **more}

    return build([
        Block(duration=30 * MS, rf=RF(flip=HALF), **lobes(**({"gz": on} if on else {}))),
        Block(duration=30 * MS, rf=RF(flip=2 * HALF, use=Use.REFOCUSING), **lobes(**({"gz": on} if on else {}))),
        Block(duration=1 * MS, adc=ADC(at=1e-6)),
    ])  # fmt: skip


@pytest.mark.parametrize("area", [(25e3, 0, 0), (12e3, -9e3, 0), (10e3, 14e3, -20e3)])
@pytest.mark.parametrize("diffusion", [WATER, [TENSOR]], ids=["isotropic", "tensor"])
def test_spin_echo(area, diffusion):
    seq = spin_echo([area])
    found = lost(seq, diffusion)
    tensor = TENSOR if isinstance(diffusion, list) else WATER * np.eye(3)
    assert found == pytest.approx(expected(seq, tensor), rel=ROUNDING)
    assert 0.05 < found[0] < 0.95


def test_cross_terms_with_a_background_gradient():
    """A gradient that is always on, pulses of 2 µs included: the b-matrix has the cross term, and so has the signal."""
    seq = spin_echo([(8e3, 0, 0)], background=3e5)
    assert lost(seq, [TENSOR], "shaped") == pytest.approx(expected(seq, TENSOR), rel=ROUNDING)
    assert abs(seq.b_matrix()[0, 0, 2]) > 0.2 * seq.b_matrix()[0, 0, 0]


def stimulated(flips=(HALF, HALF, HALF), mixing=150 * MS):
    first, second, third = flips
    return build([
        Block(duration=10 * MS, rf=RF(flip=first), gx=lobe(25e3, 1 * MS, 8 * MS)),
        Block(duration=mixing, rf=RF(flip=second, use=Use.STORAGE), gz=lobe(40e3, 1 * MS, 5 * MS)),
        Block(duration=10 * MS, rf=RF(flip=third, use=Use.RECALL), gx=lobe(25e3, 1 * MS, 8 * MS)),
        Block(duration=1 * MS, adc=ADC(at=1e-6)),
    ])  # fmt: skip


@pytest.mark.parametrize("tensor", [WATER * np.eye(3), TENSOR], ids=["isotropic", "tensor"])
def test_stimulated_echo(tensor):
    """½ sin sin sin exp(-TM/T1 - TE/T2) exp(-b : D), over whole cycles of all pathways but that of the echo."""
    flips = (1.2, 1.4, 0.9)
    seq = stimulated(flips)
    place = np.linspace(-0.5, 0.5, 64, endpoint=False)[:, None] * np.array([[1 / 25e3, 0, 1 / 40e3 * 7]])
    many = {"position": place, "t1": 1.2, "t2": 0.09, "weight": 1 / 64}
    diffusion = np.tile(tensor, (64, 1, 1))
    still, moving = (
        simulate(seq, spins(**many, diffusion=d), engine="epg", pulses="ideal", dtype="float64", tolerance=1e-12)
        for d in (0.0, diffusion)
    )
    echo = 0.5 * np.prod(np.sin(flips)) * np.exp(-150 * MS / 1.2 - 20 * MS / 0.09)
    assert np.abs(still.signal[0, 0]) == pytest.approx(echo, rel=1e-4)  # pulses of 2 µs, sample 2 µs late
    left = np.abs(moving.signal[0, 0] / still.signal[0, 0])
    assert left == pytest.approx(float(expected(seq, tensor)[0]), rel=ROUNDING)
    assert left < 0.8


def test_carr_purcell_train_in_a_constant_gradient():
    """Echo n of perfect refocusing: exp(-(2π g)² D TE³ n / 12), TE between echoes."""
    spacing, g = 12 * MS, 8e5
    on = (np.array([0.0, spacing]), np.full(2, g))
    half = (np.array([0.0, spacing / 2]), np.full(2, g))
    pulse = RF(flip=2 * HALF, phase=HALF, use=Use.REFOCUSING)
    train = [
        Block(duration=spacing, rf=pulse, gx=on, adc=ADC(at=spacing / 2 + 1e-6)) for _ in range(5)
    ]  # fmt: skip
    seq = build([Block(duration=spacing / 2, rf=RF(flip=HALF), gx=half), *train])
    echo = np.arange(1, 6)
    left = np.exp(-((TURN * g) ** 2) * WATER * spacing**3 * echo / 12)
    assert lost(seq, WATER, "shaped") == pytest.approx(left, rel=1e-4)  # what pulses of 2 µs under a gradient leave


WAIT = 10e-6  # from the start of a block to its gradient


def test_states_of_a_steady_state_against_orders_with_diffusion():
    """SSFP with one gradient lobe per TR, all orders, by the textbook recursion with exp(-b D) per order.

    Source: Weigel et al., J Magn Reson 205:276 (2010), eqs. for transverse and longitudinal orders.
    """
    tr, area, n, flip, d, t1, t2 = 8 * MS, 4e3, 30, 0.6, WATER, 1.2, 0.09
    on = (np.array([WAIT, tr]), np.full(2, area / (tr - WAIT)))
    seq = build([Block(duration=tr, rf=RF(flip=flip), gx=on, adc=ADC(at=4e-6))] * n)
    voxel = np.linspace(-0.5, 0.5, 128, endpoint=False)[:, None] * np.array([[1 / area, 0, 0]])
    many = spins(position=voxel, t1=t1, t2=t2, weight=1 / 128, diffusion=d)
    found = simulate(seq, many, engine="epg", pulses="ideal", dtype="float64", tolerance=1e-12).signal[0]
    late = np.exp(-3e-6 / t2)  # from the center of the pulse to the sample
    assert np.abs(found) == pytest.approx(np.abs(orders(tr, area, n, flip, d, t1, t2)) * late, rel=ROUNDING)


def orders(tr, area, n, flip, d, t1, t2) -> np.ndarray:
    """F+ and F- and Z by order in plain NumPy."""
    plus, minus, z = (np.zeros(n + 2, complex) for _ in range(3))
    z[0] = 1.0
    order, k = np.arange(n + 2), TURN * area
    on, center = tr - WAIT, 1e-6  # the pulse's center after the start of its block
    before, after = (WAIT - center) * order**2, center * (order + 1) ** 2
    along = np.exp(-(k**2) * d * (on * (order**2 + order + 1 / 3) + before + after))  # transverse, order → order + 1
    after = center * (order - 1) ** 2
    back = np.exp(-(k**2) * d * (on * (order**2 - order + 1 / 3) + before + after))  # the mirror image, → order - 1
    still = np.exp(-(k**2) * d * tr * order**2)
    signal = []
    c, s = np.cos(flip / 2), np.sin(flip / 2)
    for _ in range(n):
        plus, minus, z = (
            c * c * plus + s * s * minus + 1j * np.sin(flip) * z,
            s * s * plus + c * c * minus - 1j * np.sin(flip) * z,
            np.cos(flip) * z + 0.5j * np.sin(flip) * (plus - minus),
        )
        signal.append(plus[0])
        e1, e2 = np.exp(-tr / t1), np.exp(-tr / t2)
        moved, mirror = plus * along * e2, minus * back * e2
        plus = np.append(np.conj(mirror[1]), moved[:-1])
        minus = np.append(mirror[1:], 0)
        z = z * still * e1
        z[0] += 1 - e1
    return np.array(signal)


def test_diffusion_prunes_states():
    """A strong gradient leaves nothing of what was not refocused, so fewer states are carried."""
    seq = build([Block(duration=8 * MS, rf=RF(flip=0.6), gx=lobe(4e4, 1 * MS, 6 * MS), adc=ADC(at=7.5 * MS))] * 40)
    counts = [
        simulate(seq, spins(t1=1.0, t2=0.1, diffusion=d), engine="epg", pulses="ideal").provenance["n_states"]
        for d in (0.0, WATER)
    ]
    assert counts[1] < 0.5 * counts[0]


def test_bloch_follows_one_pathway_and_says_so():
    """The echo alone loses exp(-b : D), whatever else would reach it."""
    still = simulate(spin_echo(), spins(t1=1.0, t2=0.1), pulses="ideal", dtype="float64")
    moving = simulate(spin_echo(), spins(t1=1.0, t2=0.1, diffusion=WATER), pulses="ideal", dtype="float64")
    weighting = float(np.trace(moving.readouts.b_matrix[0]))
    assert weighting > 20e6
    middle = still.readouts.start + still.readouts.count // 2
    lost = moving.signal[0, middle] / still.signal[0, middle]
    np.testing.assert_allclose(lost, np.exp(-weighting * WATER), rtol=1e-9)
    (finding,) = moving.findings
    assert str(finding).startswith("diffusion: diffusion acts along the pathway of each echo, by its b-matrix")
    assert "epg" in finding.remedy
    for seq, diffusion in ((spin_echo(), 0.0), (spin_echo([(200.0, 0, 0)]), WATER)):
        assert not simulate(seq, spins(t1=1.0, t2=0.1, diffusion=diffusion), pulses="ideal").findings
