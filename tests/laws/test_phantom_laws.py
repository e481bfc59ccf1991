"""What holds for every phantom: symmetries, and that nothing but a typed error comes out of a broken file."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mrisim.errors import MrisimError
from mrisim.paths import library_files
from mrisim.phantom import Sampling, load_model
from mrisim.phantom.shapes import Ellipse, Ellipsoid, Polygon, Prism, Shape, turned

EPS = np.finfo(float).eps
lengths = st.floats(1e-3, 0.05)
moves = st.tuples(*[st.floats(-0.05, 0.05)] * 3).map(np.array)
turns = st.tuples(*[st.floats(-3.0, 3.0)] * 3).map(np.array)
frequencies = st.tuples(*[st.floats(-200.0, 200.0)] * 3).map(lambda k: np.array([k]))


@st.composite
def bodies(draw: st.DrawFn) -> Prism | Ellipsoid:
    a, b, c = draw(lengths), draw(lengths), draw(lengths)
    polygon = Polygon(corners=np.array([[-a, -b], [a, -0.5 * b], [0.3 * a, b]]))
    return draw(
        st.sampled_from(
            [
                Ellipsoid(radii=np.array([a, b, c])),
                Prism(section=Ellipse(radii=np.array([a, b])), half_height=c),
                Prism(section=polygon, half_height=c),
            ]
        )
    )


@given(body=bodies(), center=moves, angles=turns, k=frequencies)
def test_a_move_is_a_phase_and_a_turn_turns_k(body, center, angles, k) -> None:
    still = Shape(body=body)
    axes = turned(angles)
    moved = Shape(body=body, center=center, axes=axes)
    volume = abs(still.transform(np.zeros((1, 3)))[0])
    expected = still.transform(k @ axes) * np.exp(-2j * np.pi * (k @ center))
    # rounding of the argument 2π k·r, up to 2π · 200/m · 0.15 m, and of sums over sides near k = 0
    assert np.abs(moved.transform(k) - expected).max() < 1e3 * EPS * 2 * np.pi * 200 * 0.15 * volume


@given(body=bodies(), k=frequencies)
def test_the_transform_of_a_real_body_is_hermitian_and_largest_at_zero(body, k) -> None:
    shape = Shape(body=body, center=np.array([0.01, -0.02, 0.005]))
    volume = shape.transform(np.zeros((1, 3)))[0].real
    value = shape.transform(k)
    assert np.abs(value - np.conj(shape.transform(-k))).max() < 1e-9 * volume
    assert np.abs(value).max() <= volume * (1 + 1e-9)


@given(body=bodies(), factor=st.floats(0.2, 5.0), k=frequencies)
@settings(max_examples=30)
def test_a_body_contains_its_middle_and_not_what_is_beyond_its_reach(body, factor, k) -> None:
    shape = Shape(body=body, axes=turned(np.array([0.1, 0.2, 0.3])))
    assert shape.contains(np.zeros((1, 3))).all()
    low, high = shape.bounds
    corners = np.array(list(itertools.product(*zip(low, high, strict=True)))) * 1.01
    assert not shape.contains(corners).any()


@given(order=st.permutations(range(50)), seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_tissue_does_not_depend_on_the_order_of_points(order, seed) -> None:
    model = MODELS["brain"]
    points = np.random.default_rng(seed).uniform(-0.1, 0.1, (50, 3)) * [0.8, 1.0, 0.1]
    np.testing.assert_array_equal(model.tissue_at(points)[order], model.tissue_at(points[order]))


MODELS = {name: load_model(name) for name in ("brain", "ellipse_box", "shepp_logan_mr")}


@given(side=st.floats(2e-3, 6e-3), isochromats=st.sampled_from([1, 5, 7]), height=st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_every_isochromat_has_the_properties_of_its_place(side, isochromats, height) -> None:
    model = MODELS["shepp_logan_mr"]
    spins = model.sample(Sampling(extent=(0.15, 0.2, height * side), voxel=(side,) * 3, isochromats=isochromats))
    label = model.tissue_at(np.asarray(spins.position))
    assert label.all()
    t1 = np.array([tissue.t1 for tissue in model.tissues])
    np.testing.assert_allclose(spins.t1, t1[label], rtol=4 * EPS)
    np.testing.assert_allclose(spins.weight, side**3 / isochromats, rtol=8 * EPS)


@pytest.mark.parametrize("split", [2, 3])
def test_slabs_add_up_to_the_whole(split: int) -> None:
    model = MODELS["shepp_logan_mr"]
    side = 4e-3
    whole = model.sample(Sampling(extent=(0.15, 0.2, 3 * side), voxel=(side,) * 3, isochromats=5))
    z = np.asarray(whole.position)[:, 2]
    layers = [np.isclose(np.round(z / side), level) for level in (-1, 0, 1)]
    middle = model.sample(Sampling(extent=(0.15, 0.2, side), voxel=(side,) * 3, isochromats=5))
    assert sum(layer.sum() for layer in layers) == whole.n_spins
    np.testing.assert_array_equal(np.asarray(whole.position)[layers[1]], middle.position)
    np.testing.assert_array_equal(np.asarray(whole.lorentz)[layers[1]], middle.lorentz)


TEXTS = {name: path.read_text() for name, path in library_files("phantoms").items()}
scraps = st.sampled_from(
    ["", "nan", "inf mm", "-1 mm", "0 mm", "1e400 mm", "3", "x", "[1 mm]", "{}", "null", "!!python/object x", "1 s",
     "[[0 mm, 0 mm], [0 mm, 0 mm], [0 mm, 0 mm]]", "brain", "true", "9999999999999 mm", "'", "{water: 1, fat: 0}"]
)  # fmt: skip


@given(name=st.sampled_from(["brain", "ellipse_box", "points", "head_with_vials"]), data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_only_typed_errors_come_out_of_a_broken_file(tmp_path: Path, name: str, data: st.DataObject) -> None:
    words = TEXTS[name].split(" ")
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(words) - 1))
        action = data.draw(st.sampled_from(["replace", "drop", "double", "cut"]))
        if action == "replace":
            words[place] = data.draw(scraps)
        elif action == "drop":
            del words[place]
        elif action == "double":
            words.insert(place, words[place])
        else:
            words = words[: max(1, place)]
        words = words or ["x"]
    path = tmp_path / "broken.yaml"
    path.write_text(" ".join(words))
    try:
        model = load_model(path)
        model.tissue_at(np.zeros((3, 3)))
        model.b0_at(np.zeros((3, 3)))
        model.form_factors(np.zeros((1, 3)))
        model.sample(Sampling(extent=(0.02,) * 3, voxel=(0.01,) * 3))
    except MrisimError as error:
        assert str(error)  # noqa: PT017
