"""Random walks among triangles against exact solutions and against the same walls given otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from physics.build import ADC, RF, Block, build, spins
from physics.pulsed import pulsed_spin_echo
from physics.test_walk import APART, LOBE, STRONG, WEAK, D, X

import mrisim as mr
from mrisim.phantom import Labels, Medium, Mesh, Spheres, sphere_surface
from mrisim.physics.restricted import bloch_torrey, pulsed_gradient

RADIUS = 5e-6
CORNERS = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
SIDES = np.array([(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)])
BOX = np.concatenate([SIDES[:, [0, 1, 2]], SIDES[:, [0, 2, 3]]])


def ball(subdivisions=3, radius=RADIUS):
    """Triangles around the volume of a sphere."""
    vertices, faces = sphere_surface(1.0, subdivisions)
    volume = np.linalg.det(vertices[faces]).sum() / 6
    return {"vertices": vertices * (4 * np.pi / 3 / volume) ** (1 / 3), "faces": faces, "unit": radius}


def echo(geometry, gradient, walkers=4096, time_step=80e-6):
    walk = mr.Walk(compartments=geometry, walkers=walkers, time_step=time_step)
    raw = mr.simulate(pulsed_spin_echo(gradient, LOBE, APART), spins(1), engine=walk, pulses="ideal", seed=1)
    return float(raw.signal[0, 0].imag), float(raw.standard_error[0, 0].imag)


@pytest.mark.parametrize("gradient", [2 * WEAK, STRONG])
def test_inside_of_a_sphere_of_triangles(gradient):
    found, error = echo(Mesh(**ball(), diffusion=D), gradient * X)
    exact = bloch_torrey("sphere", RADIUS, D, *pulsed_gradient(gradient, LOBE, APART)).real
    assert abs(found - exact) < 4 * error
    smooth, other = echo(Spheres(radius=RADIUS, diffusion=D), gradient * X)
    assert abs(found - smooth) < 4 * np.hypot(error, other)


def test_inside_of_a_box_water_is_between_planes():
    """An oblique gradient: the product of three pairs of planes, 8, 10 and 14 µm apart."""
    sides = np.array([8e-6, 10e-6, 14e-6])
    gradient = STRONG * np.array([0.48, 0.6, 0.64])
    found, error = echo(Mesh(vertices=CORNERS * sides, faces=BOX, diffusion=D), gradient, walkers=8192)
    planes = [
        bloch_torrey("planes", a, D, *pulsed_gradient(g, LOBE, APART)).real
        for a, g in zip(sides, gradient, strict=True)
    ]
    assert abs(found - np.prod(planes)) < 4 * error


@pytest.mark.parametrize("permeability", [0.0, 2e-4])
def test_a_box_that_repeats_is_as_a_grid_of_labels(permeability):
    """Membranes, media of different diffusion, relaxation and water content."""
    media = (Medium(diffusion=2e-9, t1=1e9, t2=0.2), Medium(diffusion=1e-9, t1=1e9, t2=0.03, pd=0.5))
    labels = np.ones((2, 2, 2), dtype=int)
    labels[0, 0, 0] = 0
    grid = Labels(labels=labels, spacing=8e-6, media=media, permeability=permeability)
    mesh = Mesh(
        vertices=CORNERS, faces=BOX, unit="8 um", diffusion=2e-9, t1=1e9, t2=0.2, cell="16 um", outside=media[1],
        permeability=permeability,
    )  # fmt: skip
    (found, error), (same, other) = (echo(g, WEAK * X, walkers=8192, time_step=50e-6) for g in (mesh, grid))
    assert abs(found - same) < 4 * np.hypot(error, other)
    if permeability:
        closed = Labels(labels=labels, spacing=8e-6, media=media)
        assert abs(echo(closed, WEAK * X)[0] - found) > 8 * error


def test_through_membranes_of_triangles_as_many_go_as_come():
    """Magnetisation decays inside alone, so the mean time that water is inside shows."""
    outside = Medium(diffusion=1e-9, t1=1e9, t2=1e9)
    mesh = Mesh(
        **ball(2, 3e-6), diffusion=2.5e-9, t1=1e9, t2=1.0, cell=7e-6, outside=outside, permeability=5e-4
    )  # fmt: skip
    seq = build([Block(duration=0.03, rf=RF(flip=np.pi / 2), adc=ADC(at=0.025))])
    walk = mr.Walk(compartments=mesh, walkers=4096, time_step="20 us")
    raw = mr.simulate(seq, spins(1, t1=1e9, t2=1e9), engine=walk, pulses="ideal", seed=2)
    signal, error = raw.signal[0, 0].imag, raw.standard_error[0, 0].imag
    assert abs(signal - np.exp(-0.025 * mesh.share)) < 4 * error
    assert error < 0.02 * (1 - signal)
