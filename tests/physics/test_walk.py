"""Random walks against exact solutions: free, between walls, through membranes, static."""

from __future__ import annotations

import numpy as np
import pytest
from physics.build import ADC, DEG, RF, Block, build, spins
from physics.pulsed import AT, pulsed_spin_echo
from scipy.linalg import expm

import mrisim as mr
from mrisim.constants import GAMMA_BAR
from mrisim.events.blocks import Use
from mrisim.phantom import Cylinders, Labels, Medium, Mixture, Planes, Spheres
from mrisim.physics.restricted import bloch_torrey, gpd, pulsed_gradient

D, LOBE, APART = 2e-9, 10e-3, 30e-3
X, STRONG, WEAK = np.array([1.0, 0, 0]), 300e-3 * GAMMA_BAR, 60e-3 * GAMMA_BAR
PORES = {
    "planes": (Planes(separation=10e-6, diffusion=D, normal=(1, 0, 0)), 10e-6),
    "cylinder": (Cylinders(radius=5e-6, diffusion=D), 5e-6),
    "sphere": (Spheres(radius=5e-6, diffusion=D), 5e-6),
}


def echo(gradient, compartments=None, walkers=16384, seed=1, phantom=None, time_step=None, dtype="float32"):
    """Signal and standard error of the echo of a point, along the echo."""
    walk = mr.Walk(compartments=compartments, walkers=walkers, time_step=time_step)
    seq = pulsed_spin_echo(gradient, LOBE, APART)
    raw = mr.simulate(seq, phantom or spins(1), engine=walk, pulses="ideal", seed=seed, dtype=dtype)
    assert raw.standard_error is not None
    return float(raw.signal[0, 0].imag), float(raw.standard_error[0, 0].imag)


def strength(b):
    return np.sqrt(b / (LOBE**2 * (APART - LOBE / 3))) / (2 * np.pi)


@pytest.mark.parametrize("b", [0.3e9, 1e9, 2e9])
def test_free_diffusion(b):
    n = 16384
    found, error = echo(strength(b) * np.array([0.48, 0.6, 0.64]), walkers=n, phantom=spins(1, diffusion=D))
    exact = np.exp(-b * D)
    expected_error = (1 - exact**2) / np.sqrt(2 * n)
    assert abs(found - exact) < 4 * expected_error
    assert error == pytest.approx(expected_error, rel=4 / np.sqrt(2 * 63))  # of 64 batches


def test_free_diffusion_by_a_tensor():
    tensor = np.array([[1.7, 0.5, 0.0], [0.5, 0.6, -0.2], [0.0, -0.2, 0.4]]) * 1e-9
    along = np.array([0.6, 0.8, 0.0])
    found, error = echo(strength(1e9) * along, phantom=spins(1, diffusion=tensor[None]))
    assert abs(found - np.exp(-1e9 * along @ tensor @ along)) < 4 * error


@pytest.mark.parametrize("pore", PORES)
def test_weak_gradients_between_walls_follow_the_gaussian_phase(pore):
    geometry, size = PORES[pore]
    found, error = echo(WEAK * X, geometry)
    expected = gpd(pore, size, D, WEAK, LOBE, APART)
    assert -np.log(expected) < 0.2
    assert abs(found - expected) < 4 * error


@pytest.mark.parametrize("pore", PORES)
def test_strong_gradients_between_walls_follow_the_bloch_torrey_equation(pore):
    geometry, size = PORES[pore]
    found, error = echo(STRONG * X, geometry, walkers=32768, time_step=50e-6)
    exact = bloch_torrey(pore, size, D, *pulsed_gradient(STRONG, LOBE, APART)).real
    assert abs(found - exact) < 4 * error
    assert gpd(pore, size, D, STRONG, LOBE, APART) - found > 5 * error  # where the Gaussian phase fails


@pytest.mark.parametrize(
    ("pore", "packed"),
    [
        ("cylinder", Cylinders(radius=5e-6, diffusion=D, spacing=10.5e-6, outside=Medium(diffusion=D, pd=0))),
        ("sphere", Spheres(radius=5e-6, diffusion=D, spacing=10.5e-6, outside=Medium(diffusion=D, pd=0))),
    ],
)
def test_inside_of_a_packing_is_as_inside_of_one(pore, packed):
    found, error = echo(2 * WEAK * X, packed, time_step=60e-6)
    exact = bloch_torrey(pore, 5e-6, D, *pulsed_gradient(2 * WEAK, LOBE, APART)).real
    assert abs(found - exact) < 4 * error


def test_along_cylinders_water_is_free_and_crossing_bundles_add_up():
    one, other = (Cylinders(radius=5e-6, diffusion=D, axis=axis) for axis in ((1, 0, 0), (0, 1, 1)))
    b = 0.5e9
    found, error = echo(strength(b) * X, Mixture(parts=(one, other), shares=(0.3, 0.7)), time_step=60e-6)
    across = bloch_torrey("cylinder", 5e-6, D, *pulsed_gradient(strength(b), LOBE, APART)).real
    assert abs(found - 0.3 * np.exp(-b * D) - 0.7 * across) < 4 * error


def layers(thickness, diffusion, rate, permeability, time, n=150):
    """Signal of two layers that alternate, with a membrane between them, by finite volumes."""
    width, d, r2 = (np.repeat(v, n) for v in (np.array(thickness) / n, diffusion, rate))
    resistance = 0.5 * (width / d + np.roll(width / d, -1))
    resistance[[n - 1, 2 * n - 1]] += 1 / permeability
    matrix = -np.diag(r2)
    for i, flow in enumerate(1 / resistance):
        j = (i + 1) % (2 * n)
        matrix[[i, i], [i, j]] += np.array([-1, 1]) * flow / width[i]
        matrix[[j, j], [j, i]] += np.array([-1, 1]) * flow / width[j]
    return width @ expm(matrix * time) @ np.ones(2 * n) / width.sum()


@pytest.mark.parametrize("permeability", [100e-6, 1000e-6])
def test_water_passes_membranes(permeability):
    labels = np.array([0, 0, 1]).reshape(1, 1, 3)
    media = (Medium(diffusion=2e-9, t1=1e9, t2=0.2), Medium(diffusion=1e-9, t1=1e9, t2=0.01))
    walls = Labels(labels=labels, spacing=(9e-6, 9e-6, 2e-6), media=media, permeability=permeability)
    seq = build([Block(duration=0.02, rf=RF(flip=90 * DEG), adc=ADC(at=AT + 15e-3))])
    raw = mr.simulate(seq, spins(1), engine=mr.Walk(compartments=walls, walkers=16384, time_step=10e-6), pulses="ideal")
    exact = layers((4e-6, 2e-6), (2e-9, 1e-9), (5.0, 100.0), permeability, 15e-3)
    apart = layers((4e-6, 2e-6), (2e-9, 1e-9), (5.0, 100.0), 1e-12, 15e-3)
    found, error = raw.signal[0, 0].imag, raw.standard_error[0, 0].imag
    assert abs(found - exact) < 4 * error
    assert apart - exact > 20 * error


def test_compartments_have_their_own_relaxation():
    geometry = Spheres(radius=5e-6, diffusion=D, t1=0.3, t2=0.04)
    times = np.array([1e-3, 20e-3])
    parts = [
        Block(duration=0.2, rf=RF(flip=180 * DEG, use=Use.INVERSION)),
        Block(
            duration=0.05, rf=RF(flip=90 * DEG), adc=ADC(at=AT + times[0], samples=2, dwell=float(np.diff(times)[0]))
        ),
    ]
    walk = mr.Walk(compartments=geometry, walkers=128)
    raw = mr.simulate(build(parts), spins(1, t1=9.0, t2=8.0), engine=walk, pulses="ideal", dtype="float64")
    exact = (1 - 2 * np.exp(-0.2 / 0.3)) * np.exp(-times / 0.04)
    assert raw.signal[0].imag == pytest.approx(exact, abs=1e-12)
    assert np.abs(raw.standard_error).max() < 1e-12  # nothing is random


@pytest.mark.parametrize("pulses", ["ideal", "shaped"])
def test_walkers_that_stand_still_are_isochromats(pulses):
    """An image, with slice selection, coils, off-resonance and a transmit field: the encoding gradients too."""
    seq = mr.load_sequence("flash_2d", matrix=8, dummies=0)
    generator = np.random.default_rng(2)
    phantom = spins(
        position=generator.uniform(-1, 1, (12, 3)) * np.array([0.08, 0.08, 0.004]),
        t1=generator.uniform(0.2, 1, 12), t2=generator.uniform(0.02, 0.1, 12), df=generator.normal(0, 40, 12),
        b1=generator.uniform(0.8, 1.2, 12), pd=generator.uniform(0.5, 1, 12),
    )  # fmt: skip
    given = {"pulses": pulses, "dtype": "float64", "coils": 2, "spoiling": "ideal", "tolerance": 1e-12}
    still = mr.simulate(seq, phantom, engine=mr.Walk(walkers=12), **given)
    exact = mr.simulate(seq, phantom, engine="bloch", **given)
    scale = np.abs(exact.signal).max()
    limit = 1e-9 if pulses == "ideal" else 1e-6  # relaxation is split differently within a pulse
    assert np.abs(still.signal - exact.signal).max() < limit * scale


def test_the_signal_does_not_depend_on_chunks(monkeypatch):
    from mrisim.simulate import _walk

    geometry = PORES["planes"][0]
    found = echo(STRONG * X, geometry, walkers=2048, time_step=60e-6, dtype="float64")
    monkeypatch.setattr(_walk, "_CHUNK", 512)
    again = echo(STRONG * X, geometry, walkers=2048, time_step=60e-6, dtype="float64")
    assert again == pytest.approx(found, abs=1e-12)
    assert echo(STRONG * X, geometry, walkers=2048, seed=2, time_step=60e-6)[0] != pytest.approx(found[0], abs=1e-6)


def test_a_seed_gives_the_same_signal():
    geometry = PORES["planes"][0]
    assert echo(STRONG * X, geometry, walkers=1024) == echo(STRONG * X, geometry, walkers=1024)
