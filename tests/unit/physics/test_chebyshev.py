"""Values between Chebyshev's points: within the tolerance, and computed where nodes would not pay."""

from __future__ import annotations

import numpy as np
import pytest

from mrisim.physics.chebyshev import interpolated

POINTS = np.random.default_rng(3).uniform([0.5, 1.0], [2.5, 3.0], (3000, 2))


def counted(function):
    calls = []

    def call(places):
        calls.append(len(places))
        return function(places)

    return call, calls


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-10])
@pytest.mark.parametrize("rate", [1.0, 3.0 + 2.0j])
def test_error_is_below_the_tolerance_with_few_nodes(tolerance, rate):
    function, calls = counted(lambda p: np.exp(-rate * p[:, :1]) * np.cos(p[:, 1:] * np.arange(4)))
    found = interpolated(function, POINTS, tolerance, (4, 4))
    assert np.abs(found - function(POINTS)).max() < tolerance
    assert sum(calls[:-1]) < len(POINTS) / 4


def test_finer_tolerances_take_more_nodes():
    nodes = []
    for tolerance in (1e-3, 1e-6, 1e-10):
        function, calls = counted(lambda p: np.exp(-p[:, :1] * p[:, 1:]))
        interpolated(function, POINTS, tolerance, (4, 4))
        nodes.append(calls[-1])
    assert nodes == sorted(set(nodes))


def test_what_is_not_smooth_is_computed_point_by_point():
    function, calls = counted(lambda p: np.abs(p[:, :1] - 1.234))
    assert (interpolated(function, POINTS, 1e-9, (8, 8)) == np.abs(POINTS[:, :1] - 1.234)).all()
    assert calls[-1] == len(POINTS)


def test_few_points_are_computed_by_themselves():
    function, calls = counted(lambda p: p[:, :1])
    interpolated(function, POINTS[:100], 1e-9, (8, 8))
    assert calls == [100]


def test_an_axis_of_one_value_takes_one_node():
    points = np.column_stack([np.full(500, 0.7), np.linspace(1.0, 2.0, 500)])
    function, calls = counted(lambda p: p[:, :1] * np.exp(-p[:, 1:]))
    found = interpolated(function, points, 1e-8, (8, 12))
    assert calls == [12]
    assert np.abs(found - function(points)).max() < 1e-8
