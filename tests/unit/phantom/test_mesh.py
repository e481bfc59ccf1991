"""Closed surfaces: what they measure, what they hold, and which are refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

import mrisim as mr
from mrisim.phantom import Medium, Mesh, sphere_surface
from mrisim.phantom.surfaces import Surface

VERTICES, FACES = sphere_surface(5e-6, 2)
WATER = Medium(diffusion=2e-9)


def made(vertices=VERTICES, faces=FACES, **more):
    return Mesh(vertices=vertices, faces=faces, diffusion=2e-9, **more)


def test_a_finely_divided_sphere_has_the_volume_and_length_of_a_sphere():
    errors = []
    for n in (1, 2, 3):
        vertices, faces = sphere_surface(5e-6, n)
        mesh = made(vertices, faces)
        errors.append([1 - mesh.surface.volume / (4 / 3 * np.pi * 5e-6**3), 1 - mesh.length / 5e-6])
    ratio = np.array(errors[:-1]) / np.array(errors[1:])
    assert ratio == pytest.approx(4, rel=0.1)  # of second order in the edge
    assert 0 < errors[-1][0] < 0.012


def test_the_middle_of_the_box_is_the_origin_and_the_unit_is_applied():
    mesh = made(VERTICES * 1e6 + np.array([100.0, -7, 3]), unit="1 um")
    assert np.abs(mesh.vertices - VERTICES).max() < 1e-18


def test_winding_numbers_inside_outside_and_in_a_cavity():
    both = np.concatenate([VERTICES, 0.4 * VERTICES])
    hollow = Surface(vertices=both, faces=np.concatenate([FACES, FACES[:, ::-1] + len(VERTICES)]))
    places = np.array([[0.1, 0.2, 0.3], [2.5, 1.0, -2.0], [4.0, 4.0, 1.0], [9.0, 0.1, 0.2]]) * 1e-6
    assert hollow.winding(places).tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: made(faces=FACES[1:]),
         ("faces: must close the surface, but 3 of 480 edges belong to other than two triangles, the first of them "
         "from vertex 4 to 62. Fill the holes, and merge vertices that coincide.")),
        (lambda: made(faces=np.concatenate([FACES[:1, ::-1], FACES[1:]])),
         ("faces: must all run counter-clockwise as seen from outside, but at 3 of 480 edges one of the two does not, "
         "the first of them from vertex 4 to 62. Turn those.")),
        (lambda: made(faces=FACES[:, ::-1]),
         "faces: must run counter-clockwise as seen from outside, but run clockwise. Turn them: faces[:, ::-1]."),
        (lambda: made(VERTICES * 1e6),
         "vertices: must span from 1 nm to 10 mm, but span 10 m. Give the length of their unit, such as unit='1 um'."),
        (lambda: made(VERTICES[:, :2]),
         "vertices: must be finite places of shape (n, 3), but are of shape (162, 2)."),
        (lambda: made(np.where(VERTICES > 4e-6, np.nan, VERTICES)), "vertices: must be finite, but are not."),
        (lambda: made([["a"]]), "vertices: must be an array of shape (n, 3), but is not."),
        (lambda: made(faces=FACES.astype(float)),
         "faces: must be whole numbers of shape (n, 3), but are float64 of shape (320, 3)."),
        (lambda: made(faces=FACES + 1), "faces: must number vertices from 0 to 161, but reach from 1 to 162."),
        (lambda: made(faces=np.concatenate([FACES, [[0, 0, 1]]])),
         ("faces: must have an area each, but 1 of 321 have none, the first of them faces[320]. Remove them, and merge "
         "vertices that coincide.\nfaces: must close the surface, but 1 of 482 edges belong to other than two "
         "triangles, the first of them from vertex 0 to 0. Fill the holes, and merge vertices that coincide.")),
        (lambda: made(cell=12e-6), "outside: must be given for water outside, but is not. Or leave out both."),
        (lambda: made(cell=9e-6, outside=WATER),
         "cell: must be larger than the mesh, 10 µm × 10 µm × 10 µm, but is 9 µm × 9 µm × 9 µm."),
        (lambda: made(cell=(1e-6, 1e-6), outside=WATER), "cell: must be one or three lengths above 0."),
        (lambda: made(permeability=1e-5),
         "permeability: must be 0 where nothing lies outside, but is 1e-05 m/s. Give cell and outside."),
    ],
)  # fmt: skip
def test_surfaces_that_cannot_be(make, message):
    with pytest.raises(mr.ConsistencyError, match=f"^{re.escape(message)}$"):
        make()


def test_parts_that_overlap_are_refused():
    both = np.concatenate([VERTICES, VERTICES + 3e-6])
    with pytest.raises(mr.ConsistencyError, match=r"faces: must enclose each place once, but .*% of the places tried"):
        made(both, np.concatenate([FACES, FACES + len(VERTICES)]))


def test_a_step_that_is_too_long_for_the_surface_is_refused():
    water = mr.Phantom.from_arrays(position=[[0.0, 0.0, 0.0]], t1=1.0, t2=0.1)
    walk = mr.Walk(compartments=made(), time_step="1 ms")
    with pytest.raises(mr.ConsistencyError, match=r"time_step: must be at most 2.. us for Mesh with a smallest length"):
        mr.simulate(mr.load_sequence("fid"), water, engine=walk)
