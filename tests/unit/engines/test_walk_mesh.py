"""Steps among triangles: nobody gets out, and water stays spread evenly."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrisim.engines import walk_mesh
from mrisim.phantom import Medium, Mesh, sphere_surface

N = 4096
STEP = 0.2  # of the radius: the longest that is taken


def shell():
    """A sphere of radius 1 µm with a cavity of half that radius."""
    vertices, faces = sphere_surface(1.0, 2)
    both = np.concatenate([vertices, 0.5 * vertices]), np.concatenate([faces, faces[:, ::-1] + len(vertices)])
    return {"vertices": both[0], "faces": both[1], "unit": "1 um"}


def walked(mesh, steps, probability, seed=3):
    """Places and media of walkers, first and last."""
    generator = np.random.default_rng(seed)
    drawn: dict[int, np.ndarray] = {}
    start, medium = mesh.start(lambda draw: drawn.setdefault(draw, generator.random((N, 4))))
    surface = jax.device_put(walk_mesh.triangles(mesh.grid, mesh.period, np.dtype("float32")))
    move = jax.jit(walk_mesh.move)
    x, now = tuple(jnp.asarray(start[:, i], "float32") for i in range(3)), jnp.asarray(medium)
    media = len(mesh.media)
    through, stretch = jnp.full(media, probability, "float32"), jnp.ones(media, "float32")
    for _ in range(steps):
        step = [jnp.asarray(generator.normal(0, STEP * mesh.length, N), "float32") for _ in range(3)]
        chance = jnp.asarray(generator.random(N), "float32")
        x, now = move(surface, x, now, tuple(step), chance, through, stretch)
    return start, medium, np.stack(x, axis=1).astype(float), np.asarray(now)


def test_walls_hold():
    mesh = Mesh(**shell(), diffusion=2e-9)
    start, _, end, medium = walked(mesh, 60, 0.0)
    depth = np.linalg.norm(end, axis=1) / 1e-6
    assert ((depth < 1) & (depth > 0.5 * np.cos(np.arctan(0.2)))).all()  # between the spheres about the triangles
    assert (mesh.surface.winding(end) == 1).mean() > 1 - 4 / N  # but for those that rounding put onto a wall
    assert (medium == 0).all()
    assert np.linalg.norm(end - start, axis=1).mean() > 0.5e-6


def test_water_inside_stays_spread_evenly():
    mesh = Mesh(**shell(), diffusion=2e-9)
    _, _, end, _ = walked(mesh, 60, 0.0)
    square = (end**2).sum(axis=1)
    drawn = np.random.default_rng(1).uniform(-1e-6, 1e-6, (200_000, 3))
    even = (drawn[mesh.surface.winding(drawn) == 1] ** 2).sum(axis=1)
    assert abs(square.mean() - even.mean()) < 4 * even.std() / np.sqrt(N)


@pytest.mark.parametrize("probability", [0.0, 0.2])
def test_a_cell_that_repeats_is_left_and_its_walls_hold(probability):
    mesh = Mesh(**shell(), diffusion=2e-9, cell="2.2 um", outside=Medium(diffusion=2e-9))
    _start, before, end, medium = walked(mesh, 60, probability)
    inside = mesh.surface.winding(end - 2.2e-6 * np.round(end / 2.2e-6)) == 1
    assert (inside == (medium == 0)).mean() > 1 - 8 / N
    assert np.abs(end[before == 1]).max() > 1.5e-6  # beyond the cell
    if probability == 0:
        assert (medium == before).all()
    else:
        assert (medium != before).mean() > 0.1
    share = mesh.share
    assert abs((medium == 0).mean() - share) < 4 * np.sqrt(share * (1 - share) / N)
