"""Membership and Fourier transforms of shapes, against quadrature that shares no formula with them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mrisim.phantom.shapes import Ellipse, Ellipsoid, Polygon, Prism, Ribbon, Shape, along, rectangle, turned

EPS = np.finfo(float).eps
NODES = 48
ARROW = np.array([[0.01, -0.01], [0.03, 0.005], [0.012, 0.025], [0.014, 0.008], [-0.012, 0.011]])  # not convex
SECTIONS = {
    "ellipse": Ellipse(radii=np.array([0.021, 0.013])),
    "rectangle": rectangle(0.03, 0.017),
    "triangle": Polygon(corners=np.array([[0.0, 0.0], [0.03, 0.004], [0.006, 0.02]])),
    "arrow": Polygon(corners=ARROW),
    "arrow, clockwise": Polygon(corners=ARROW[::-1]),
}
SOLIDS = {
    "cylinder": Prism(section=Ellipse(radii=np.array([0.012, 0.012])), half_height=0.017),
    "box": Prism(section=rectangle(0.03, 0.017), half_height=0.008),
    "sphere": Ellipsoid(radii=np.full(3, 0.015)),
    "ellipsoid": Ellipsoid(radii=np.array([0.021, 0.013, 0.008])),
}
PLACES = {
    "at the origin": (np.zeros(3), np.eye(3)),
    "moved and turned": (np.array([0.013, -0.021, 0.008]), turned(np.array([0.3, -0.5, 0.9]))),
}


def _gauss(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    x, w = np.polynomial.legendre.leggauss(NODES)
    return 0.5 * (high - low) * x + 0.5 * (high + low), 0.5 * (high - low) * w


def _plane_rule(section: Ellipse | Polygon) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights of an integral over a plane figure: polar for an ellipse, signed triangles for a polygon."""
    s, ws = _gauss(0.0, 1.0)
    if isinstance(section, Ellipse):
        angle = 2.0 * np.pi * np.arange(96) / 96
        radius, turn = np.meshgrid(s, angle, indexing="ij")
        points = np.stack([radius * np.cos(turn), radius * np.sin(turn)], axis=-1).reshape(-1, 2) * section.radii
        weights = np.repeat(ws * s, 96) * 2.0 * np.pi / 96 * np.prod(section.radii)
        return points, weights
    points, weights = [], []
    first = section.corners[0]
    u, v = np.meshgrid(s, s, indexing="ij")
    wu = np.outer(ws * s, ws)
    for a, b in zip(section.corners[1:-1], section.corners[2:], strict=True):
        cross = (a - first)[0] * (b - first)[1] - (a - first)[1] * (b - first)[0]
        points.append(
            (first + u[..., None] * ((1 - v)[..., None] * (a - first) + v[..., None] * (b - first))).reshape(-1, 2)
        )
        weights.append((wu * cross).ravel())
    total = np.concatenate(weights)
    return np.concatenate(points), total * np.sign(total.sum())


def _solid_rule(body: Prism | Ellipsoid) -> tuple[np.ndarray, np.ndarray]:
    s, ws = _gauss(0.0, 1.0)
    if isinstance(body, Prism):
        plane, weights = _plane_rule(body.section)
        z, wz = _gauss(-body.half_height, body.half_height)
        points = np.concatenate([np.append(plane, np.full((len(plane), 1), level), axis=1) for level in z])
        return points, np.concatenate([weights * w for w in wz])
    cosine, wc = _gauss(-1.0, 1.0)
    angle = 2.0 * np.pi * np.arange(96) / 96
    radius, c, turn = (a.ravel() for a in np.meshgrid(s, cosine, angle, indexing="ij"))
    sine = np.sqrt(1.0 - c**2)
    points = radius[:, None] * np.stack([sine * np.cos(turn), sine * np.sin(turn), c], axis=1) * body.radii
    weights = np.einsum("i,j,k->ijk", ws * s**2, wc, np.full(96, 2.0 * np.pi / 96)).ravel() * np.prod(body.radii)
    return points, weights


@pytest.mark.parametrize("name", SECTIONS)
def test_transform_of_a_section_equals_quadrature(name: str) -> None:
    section = SECTIONS[name]
    points, weights = _plane_rule(section)
    k = np.random.default_rng(3).uniform(-120.0, 120.0, (40, 2))
    k[:3] = [[0.0, 0.0], [35.0, 0.0], [0.0, -35.0]]
    expected = np.exp(-2j * np.pi * (k @ points.T)) @ weights
    # 48 Gauss nodes resolve 3.6 cycles to rounding, which adds up over the nodes
    assert np.abs(section.transform(k) - expected).max() < 1e3 * EPS * len(weights) ** 0.5 * section.area


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", SOLIDS)
def test_transform_of_a_solid_equals_quadrature_at_its_place(name: str, place: str) -> None:
    center, axes = PLACES[place]
    shape = Shape(body=SOLIDS[name], center=center, axes=axes)
    points, weights = _solid_rule(shape.body)
    physical = points @ axes.T + center
    k = np.random.default_rng(4).uniform(-80.0, 80.0, (6, 3))
    k[0] = 0.0
    expected = np.exp(-2j * np.pi * (k @ physical.T)) @ weights
    assert np.abs(shape.transform(k) - expected).max() < 1e3 * EPS * len(weights) ** 0.5 * weights.sum()


@pytest.mark.parametrize("name", SECTIONS)
def test_transform_of_a_section_is_smooth_towards_zero(name: str) -> None:
    section = SECTIONS[name]
    direction = np.array([0.6, 0.8])
    lengths = np.geomspace(1e-6, 1.0, 30)[:, None]  # crosses the switch to the series
    points, weights = _plane_rule(section)
    expected = np.exp(-2j * np.pi * (lengths * direction @ points.T)) @ weights
    # just above the switch at |k| r = 1e-5 a sum over sides loses eps / 1e-5 to cancellation
    assert np.abs(section.transform(lengths * direction) - expected).max() < 100 * EPS / 1e-5 * section.area


def test_transform_of_an_ellipsoid_is_smooth_towards_zero() -> None:
    body = Ellipsoid(radii=np.array([0.021, 0.013, 0.008]))
    k = np.geomspace(1e-3, 3.0, 16)[:, None] * np.array([0.6, 0.64, 0.48])
    points, weights = _solid_rule(body)
    expected = np.exp(-2j * np.pi * (k @ points.T)) @ weights
    # above x = 0.05 the closed form loses eps / x³, below it the series lacks x⁸ / 3.99e6
    tolerance = 3.0 * max(EPS / 0.05**3, 0.05**8 / 3.99e6) * weights.sum() + 100 * EPS * weights.sum()
    assert np.abs(body.transform(k) - expected).max() < tolerance


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", SOLIDS)
def test_membership_fills_the_volume(name: str, place: str) -> None:
    center, axes = PLACES[place]
    shape = Shape(body=SOLIDS[name], center=center, axes=axes)
    low, high = shape.bounds
    n = 60
    grid = [a + (b - a) * (np.arange(n) + 0.5) / n for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*grid, indexing="ij"), axis=-1).reshape(-1, 3)
    cell = np.prod((high - low) / n)
    volume = shape.contains(points).sum() * cell
    exact = float(shape.transform(np.zeros((1, 3)))[0].real)
    surface = 2.0 * np.prod(high - low) / (high - low).min()  # of the order of the surface, for the error per cell
    assert abs(volume - exact) < 0.5 * surface * cell ** (1 / 3)
    assert (
        abs(volume / exact - 1.0) < 2.0 / n
    )  # a face that falls on cell centers shifts it by half a cell on each side


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", [*SOLIDS, *SECTIONS])
def test_boundary_lies_on_the_edge_of_membership(name: str, place: str) -> None:
    center, axes = PLACES[place]
    body = SOLIDS[name] if name in SOLIDS else Prism(section=SECTIONS[name], half_height=0.01)
    shape = Shape(body=body, center=center, axes=axes)
    points = shape.boundary(2000)
    low, high = shape.bounds
    assert (points >= low).all()
    assert (points <= high).all()
    if "arrow" not in name:  # convex about its middle
        middle = points.mean(axis=0)
        assert shape.contains(middle + (1.0 - 1e-6) * (points - middle)).all()


def test_mirror_image_holds_the_mirrored_points() -> None:
    shape = Shape(
        body=Prism(section=SECTIONS["arrow"], half_height=0.01),
        center=np.array([0.02, 0.01, 0.0]),
        axes=turned(np.array([0.1, 0.2, 0.5])),
    )
    points = np.random.default_rng(5).uniform(-0.05, 0.05, (4000, 3))
    inside = shape.contains(points)
    assert 20 < inside.sum() < 3000
    np.testing.assert_array_equal(shape.mirrored("x").contains(points * [-1.0, 1.0, 1.0]), inside)
    k = np.random.default_rng(6).uniform(-60.0, 60.0, (5, 3))
    np.testing.assert_allclose(shape.mirrored("x").transform(k * [-1, 1, 1]), shape.transform(k), atol=100 * EPS * 1e-5)


def test_turn_is_counter_clockwise_about_z() -> None:
    np.testing.assert_allclose(
        turned(np.array([0.0, 0.0, math.pi / 2])) @ [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], atol=4 * EPS
    )
    np.testing.assert_allclose(
        turned(np.array([math.pi / 2, 0.0, 0.0])) @ [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], atol=4 * EPS
    )


@pytest.mark.parametrize("direction", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.3, -0.8, 0.2]])
def test_axis_of_a_body_points_along_its_direction(direction: list[float]) -> None:
    axes = along(np.array(direction))
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=8 * EPS)
    np.testing.assert_allclose(axes[:, 2], np.array(direction) / np.linalg.norm(direction), atol=4 * EPS)
    assert np.linalg.det(axes) > 0.0


def _ribbon(**changes: float) -> Ribbon:
    values = {"folds": 12, "depth": 0.012, "width": 0.003, "seed": 2, "wander": 0.003} | changes
    return Ribbon(radii=np.array([0.06, 0.08, 0.07]), **values)  # type: ignore[arg-type]


def _ring(radius: float, n: int = 3000) -> np.ndarray:
    angle = 2.0 * np.pi * np.arange(n) / n
    return radius * np.stack([0.06 * np.cos(angle), 0.08 * np.sin(angle), np.zeros(n)], axis=1)


def test_ribbon_lies_between_its_hull_and_its_deepest_furrow() -> None:
    points = np.random.default_rng(7).uniform(-0.09, 0.09, (40_000, 3))
    ratio = np.linalg.norm(points / _ribbon().radii, axis=1)
    inside = _ribbon().inside(points)
    assert not inside[ratio > 1.0].any()
    assert inside[ratio < 1.0 - 0.012 / 0.06].all()
    assert 0.0 < (~inside[ratio < 1.0]).mean() < 0.5


def test_ribbon_has_as_many_furrows_as_folds() -> None:
    inside = _ribbon(wander=0.0).inside(_ring(0.99))
    furrows = np.sum(inside & ~np.roll(inside, -1))
    assert abs(furrows - 12) <= 2  # uneven spacing may merge two of them


def test_ribbons_of_one_seed_nest_and_of_another_do_not() -> None:
    points = np.random.default_rng(8).uniform(-0.08, 0.08, (40_000, 3))
    outer = _ribbon()
    inner = Ribbon(radii=outer.radii - 0.003, folds=12, depth=0.012, width=0.009, seed=2, wander=0.003)
    other = Ribbon(radii=outer.radii - 0.003, folds=12, depth=0.012, width=0.009, seed=3, wander=0.003)
    out = ~outer.inside(points)
    assert not (inner.inside(points) & out).any()
    assert (other.inside(points) & out).any()


def test_ribbon_without_depth_is_an_ellipsoid() -> None:
    points = np.random.default_rng(9).uniform(-0.09, 0.09, (5000, 3))
    smooth = _ribbon(depth=0.0)
    np.testing.assert_array_equal(smooth.inside(points), Ellipsoid(radii=smooth.radii).inside(points))


def test_ribbon_has_no_transform() -> None:
    with pytest.raises(TypeError, match="closed form"):
        Shape(body=_ribbon()).transform(np.zeros((1, 3)))
