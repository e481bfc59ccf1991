"""Surfaces of triangles from STL, PLY and OBJ files, in the files' own unit: none of these formats says which."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mrisim._types import Float, Int
from mrisim.errors import Problem, SpecError

Faces = tuple[Float[np.ndarray, "vertices 3"], Int[np.ndarray, "faces 3"]]

_STL_HEADER, _STL_FACET = 84, np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_PLY_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_PLY_FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


def load_surface(path: str | Path) -> Faces:
    """Vertices and triangles of an STL (text or binary), PLY (likewise) or OBJ file.

    Vertices of an STL that coincide are merged, since the format repeats them for each facet. Polygons of PLY and OBJ
    are cut into fans of triangles.

    Args:
        path: The file.

    Returns:
        vertices, in the file's unit; faces, each three numbers of vertices.

    Raises:
        SpecError: a file that is missing or cannot be understood.

    Example:
        >>> import tempfile, pathlib
        >>> text = "v 0 0 0\\nv 1 0 0\\nv 0 1 0\\nv 0 0 1\\nf 1 3 2\\nf 1 2 4\\nf 1 4 3\\nf 2 3 4\\n"
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "corner.obj"
        ...     _ = path.write_text(text)
        ...     vertices, faces = load_surface(path)
        >>> vertices.shape, faces.shape
        ((4, 3), (4, 3))
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise SpecError(Problem(f"must be an .stl, .ply or .obj file, but is '{path.name}'"))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SpecError(Problem(f"must be readable, but is not: {error.strerror}", file=str(path))) from None
    try:
        vertices, faces = reader(data)
    except (ValueError, IndexError, KeyError, UnicodeDecodeError) as error:
        rule = f"must be a {path.suffix[1:].upper()} file, but is not: {error}"
        raise SpecError(Problem(rule, file=str(path))) from None
    if not len(faces):
        raise SpecError(Problem("must hold triangles, but holds none", file=str(path)))
    return vertices, faces


def _stl(data: bytes) -> Faces:
    count = int.from_bytes(data[80:_STL_HEADER], "little")
    if len(data) == _STL_HEADER + count * _STL_FACET.itemsize and count:
        corners = np.frombuffer(data, _STL_FACET, count, _STL_HEADER)["corners"].astype(float).reshape(-1, 3)
    else:
        lines = [line.split() for line in data.decode().splitlines()]
        if not lines or lines[0][:1] != ["solid"]:
            raise ValueError(f"{len(data)} bytes are not those of {count} facets, and there is no 'solid'")
        corners = np.array([[float(v) for v in line[1:4]] for line in lines if line[:1] == ["vertex"]])
        corners = corners.reshape(-1, 3)
    vertices, index = np.unique(corners, axis=0, return_inverse=True)
    return vertices, index.reshape(-1, 3)


def _obj(data: bytes) -> Faces:
    vertices, faces = [], []
    for line in data.decode().splitlines():
        words = line.split()
        if words[:1] == ["v"]:
            vertices.append([float(v) for v in words[1:4]])
        elif words[:1] == ["f"]:
            numbers = [int(word.split("/")[0]) for word in words[1:]]
            faces.append([n - 1 if n > 0 else len(vertices) + n for n in numbers])
    return np.array(vertices, dtype=float).reshape(-1, 3), _fans(faces)


def _fans(polygons: list[list[int]]) -> Int[np.ndarray, "faces 3"]:
    cut = [(p[0], p[i], p[i + 1]) for p in polygons for i in range(1, len(p) - 1)]
    return np.array(cut, dtype=int).reshape(-1, 3)


def _ply(data: bytes) -> Faces:
    head, _, body = data.partition(b"end_header")
    lines = [line.split() for line in head.decode().splitlines()]
    if lines[0] != ["ply"]:
        raise ValueError("it does not start with 'ply'")
    order = _PLY_FORMATS[next(line[1] for line in lines if line[:1] == ["format"])]
    elements: list[tuple[str, int, list[list[str]]]] = []
    for line in lines:
        if line[:1] == ["element"]:
            elements.append((line[1], int(line[2]), []))
        elif line[:1] == ["property"]:
            elements[-1][2].append(line[1:])
    body = body[body.index(b"\n") + 1 :]
    take = _words(body) if order == "" else _bytes(body, order)
    vertices, polygons = np.zeros((0, 3)), []
    for name, count, properties in elements:
        rows = [[take(kind) for kind in properties] for _ in range(count)]
        if name == "vertex":
            where = [[p[-1] for p in properties].index(axis) for axis in "xyz"]
            vertices = np.array([[row[i][0] for i in where] for row in rows], dtype=float)
        elif name == "face":
            where = next(i for i, p in enumerate(properties) if p[0] == "list")
            polygons = [[int(v) for v in row[where]] for row in rows]
    return vertices, _fans(polygons)


def _words(body: bytes) -> Callable[[list[str]], list[float]]:
    words = iter(body.split())

    def take(kind: list[str]) -> list[float]:
        count = int(next(words, b"")) if kind[0] == "list" else 1
        return [float(next(words, b"")) for _ in range(count)]

    return take


def _bytes(body: bytes, order: str) -> Callable[[list[str]], list[float]]:
    at = 0

    def values(kind: str, count: int) -> np.ndarray:
        nonlocal at
        found = np.frombuffer(body, order + _PLY_TYPES[kind], count, at)
        at += found.nbytes
        return found

    def take(kind: list[str]) -> list[float]:
        if kind[0] != "list":
            return values(kind[0], 1).tolist()
        return values(kind[2], int(values(kind[1], 1)[0])).tolist()

    return take


_READERS: dict[str, Callable[[bytes], Faces]] = {".stl": _stl, ".ply": _ply, ".obj": _obj}
