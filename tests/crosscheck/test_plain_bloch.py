"""The normal form against a plain Bloch integrator of the event blocks, on sequences without any regularity."""

from __future__ import annotations

import numpy as np
import pytest
from physics.build import ADC, MS, RF, Block, build, lobe, spins
from physics.plain import plain_signal

from mrisim.data import Geometry
from mrisim.events.blocks import RFShape, Use
from mrisim.sequence import load_sequence
from mrisim.simulate import simulate

N = 6


def random_spins(generator):
    return spins(
        position=generator.uniform(-0.1, 0.1, (N, 3)), t1=generator.uniform(0.2, 1.5, N),
        t2=generator.uniform(0.01, 0.2, N),
        df=generator.uniform(-300, 300, N), b1=generator.uniform(0.5, 1.3, N), pd=generator.uniform(0.2, 1.0, N),
        weight=generator.uniform(0.1, 2.0, N),
    )  # fmt: skip


def random_sequence(generator):
    """Blocks of pulses under gradients, samples anywhere, also in a pulse, trains back to back, a turned package."""
    rotation, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    shapes = [random_shape(generator) for _ in range(2)]
    parts = []
    for i in range(6):
        duration = generator.uniform(3, 6) * MS
        rf = None
        if i % 3 != 2:
            rf = RF(
                flip=generator.uniform(0.2, 3.0), phase=generator.uniform(0, 6), at=1.2 * MS, shape=shapes[i % 2],
                frequency=generator.uniform(-500, 500), use=Use(int(generator.integers(0, 6))),
            )  # fmt: skip
        gradients = {
            axis: lobe(generator.uniform(-60, 60), generator.uniform(0, 0.3) * MS, generator.uniform(1, 2.5) * MS)
            for axis in ("gx", "gy", "gz")
            if generator.random() < 0.7
        }
        adc = None
        if generator.random() < 0.8:
            adc = ADC(
                at=generator.uniform(0.1, 1.8) * MS, samples=int(generator.integers(1, 7)), dwell=310e-6,
                phase=generator.uniform(0, 6), frequency=generator.uniform(-900, 900),
            )  # fmt: skip
        parts.append(Block(duration=duration, rf=rf, adc=adc, **gradients))
    return build(parts, geometry=Geometry(rotation=rotation * np.sign(np.linalg.det(rotation))))


def random_shape(generator):
    n = 90
    envelope = np.hanning(n) * np.exp(1j * np.cumsum(generator.normal(size=n)) * 0.3)
    return RFShape(edges=np.arange(n + 1) * 10e-6, samples=envelope / np.abs(envelope).max(), center=0.41 * MS)


@pytest.mark.parametrize("seed", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_normal_form_equals_plain_stepping(seed):
    generator = np.random.default_rng(seed)
    seq, phantom = random_sequence(generator), random_spins(generator)
    found = simulate(seq, phantom, dtype="float64", tolerance=1e-9, coils=np.eye(N)).signal
    expected = plain_signal(
        seq, phantom, step=10e-6
    )  # the raster of the shape, on which its phase from a frequency is held
    size = np.abs(expected).max()
    assert size > 0.05
    assert np.abs(found - expected).max() < 1e-3 * size  # gradient ramps and relaxation over intervals of 10 us


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("t2_tse", {"matrix": "[8, 4]", "train": 4, "TE": "24 ms", "TR": "120 ms", "slices": "[4 mm]"}),
        ("bssfp", {"matrix": "[8, 2]", "dummies": 6, "slices": "[4 mm]"}),
        ("se_epi", {"matrix": "[8, 8]", "TR": "120 ms"}),
        ("mprage", {"matrix": "[8, 2, 4]", "TR": "200 ms", "TI": "60 ms", "dummies": 0}),
    ],
)
def test_sequences_of_the_library_equal_plain_stepping(name, options):
    generator = np.random.default_rng(7)
    position = generator.uniform(-2e-3, 6e-3, (N, 3))
    phantom = spins(
        position=position, t1=0.3, t2=0.06, df=generator.uniform(-40, 40, N), b1=generator.uniform(0.8, 1.1, N)
    )
    seq = load_sequence(name, **options)
    found = simulate(seq, phantom, dtype="float64", tolerance=1e-9, coils=np.eye(N)).signal
    expected = plain_signal(seq, phantom)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()  # ramps and relaxation over 10 us


@pytest.mark.parametrize("spoiling", ["gradient", "ideal"])
def test_ideal_spoiling_acts_before_excitations_only(spoiling):
    seq = load_sequence("flash_2d", matrix="[8, 4]", dummies=3, fov="[200 mm, 200 mm]")
    phantom = spins(position=np.array([[4e-3, -9e-3, 0.3e-3]]), t1=0.3, t2=0.2, df=12.0)
    found = simulate(seq, phantom, dtype="float64", tolerance=1e-9, spoiling=spoiling).signal
    expected = plain_signal(seq, phantom, ideal_spoiling=spoiling == "ideal")
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
