"""Surfaces from files: each format in text and binary, and files that are none."""

from __future__ import annotations

import re

import numpy as np
import pytest

import mrisim as mr
from mrisim.io.meshes import load_surface
from mrisim.phantom import Mesh, sphere_surface

VERTICES, FACES = sphere_surface(5.0, 2)
CORNERS = VERTICES[FACES]


def stl_text():
    facets = "".join(
        "facet normal 0 0 0\n outer loop\n" + "".join(f"  vertex {x!r} {y!r} {z!r}\n" for x, y, z in c.tolist())
        + " endloop\nendfacet\n"
        for c in CORNERS
    )  # fmt: skip
    return f"solid cell\n{facets}endsolid cell\n".encode()


def stl_binary():
    record = np.zeros(len(FACES), dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    record["corners"] = CORNERS
    return b"solid, says the header\0".ljust(80, b" ") + len(FACES).to_bytes(4, "little") + record.tobytes()


def obj():
    vertices = "".join(f"v {x!r} {y!r} {z!r}\n" for x, y, z in VERTICES.tolist())
    return ("# cell\n" + vertices + "".join(f"f {a + 1}//1 {b + 1}//1 {c + 1}//1\n" for a, b, c in FACES)).encode()


def ply(kind):
    head = (
        f"ply\nformat {kind} 1.0\ncomment cell\nelement vertex {len(VERTICES)}\nproperty float x\nproperty float y\n"
        f"property double z\nproperty uchar red\nelement face {len(FACES)}\nproperty list uchar int vertex_indices\n"
        "end_header\n"
    )
    if kind == "ascii":
        rows = [f"{x!r} {y!r} {z!r} 7" for x, y, z in VERTICES.tolist()] + [f"3 {a} {b} {c}" for a, b, c in FACES]
        return (head + "\n".join(rows) + "\n").encode()
    o = "<" if "little" in kind else ">"
    points = np.zeros(len(VERTICES), dtype=[("xy", o + "f4", 2), ("z", o + "f8"), ("red", "u1")])
    points["xy"], points["z"] = VERTICES[:, :2], VERTICES[:, 2]
    faces = np.zeros(len(FACES), dtype=[("n", "u1"), ("index", o + "i4", 3)])
    faces["n"], faces["index"] = 3, FACES
    return head.encode() + points.tobytes() + faces.tobytes()


FILES = {
    "text.stl": stl_text(), "binary.stl": stl_binary(), "a.obj": obj(), "text.ply": ply("ascii"),
    "little.ply": ply("binary_little_endian"), "big.PLY": ply("binary_big_endian"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_surface_comes_back_closed(tmp_path, name):
    (tmp_path / name).write_bytes(FILES[name])
    vertices, faces = mr.load_surface(tmp_path / name)
    assert (len(vertices), len(faces)) == (len(VERTICES), len(FACES))
    assert vertices[faces].astype(np.float32) == pytest.approx(CORNERS.astype(np.float32), rel=1e-6)
    assert Mesh(vertices=vertices, faces=faces, unit="1 um", diffusion=2e-9).length == pytest.approx(4.9e-6, rel=0.02)


def test_polygons_are_cut(tmp_path):
    path = tmp_path / "square.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf -4 -3 -2 -1\n")
    assert load_surface(path)[1].tolist() == [[0, 1, 2], [0, 2, 3]]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.off", b"", "must be an .stl, .ply or .obj file, but is 'a.off'."),
        ("missing.stl", None, "{path}: must be readable, but is not: No such file or directory."),
        ("b.stl", b"nothing", ("{path}: must be a STL file, but is not: 7 bytes are not those of 0 facets, and there "
         "is no 'solid'.")),
        ("c.ply", b"plain", "{path}: must be a PLY file, but is not: it does not start with 'ply'."),
        ("d.obj", b"v 0 0 0\n", "{path}: must hold triangles, but holds none."),
        ("e.ply", ply("ascii")[:-900], "{path}: must be a PLY file, but is not: could not convert "),
        ("f.ply", ply("binary_little_endian")[:-900], "{path}: must be a PLY file, but is not: "),
    ],
)  # fmt: skip
def test_files_that_are_none(tmp_path, name, data, message):
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    expected = re.escape(message.format(path=path))
    with pytest.raises(mr.SpecError, match=f"^{expected}" + ("" if message.endswith(" ") else "$")):
        load_surface(path)
