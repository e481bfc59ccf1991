"""The phase graph against isochromats: enough of them in every voxel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from physics.build import ADC, DEG, MS, RF, Block, build, lobe, spins

from mrisim.data import Phantom
from mrisim.phantom.sampling import Sampling
from mrisim.sequence import load_sequence
from mrisim.simulate import simulate

SIDE = np.array([5e-3, 2e-3, 5e-3])  # of a voxel [m]
VOXELS = np.array([[-2, 3, 0], [1, -2, 0], [1, 1, 0], [0, -4, 0]])
T1, T2 = np.array([1.0, 0.5, 3.0, 0.8]), np.array([0.1, 0.05, 0.6, 0.08])
DF, B1 = np.array([0.0, 20.0, -15.0, 7.0]), np.array([1.0, 0.9, 1.1, 1.0])
SMALL = {"matrix": [4, 4], "fov": ["20 mm", "20 mm"], "bandwidth": "20 kHz"}
AGREE = 1e-3  # of the signal's norm: what isochromats on these grids still differ from the integral over a voxel


def phantom(counts: tuple[int, int, int], layers: int = 1) -> Phantom:
    """Isochromats on a grid in a few voxels, each voxel of a tissue of its own."""
    stack = np.arange(layers)[:, None, None] * np.array([0, 0, 1]) - layers // 2 * np.array([0, 0, 1])
    voxels = (VOXELS[None] + stack).reshape(-1, 3)
    axes = [(np.arange(n) + 0.5) / n - 0.5 for n in counts]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    position = ((voxels[:, None] + points) * SIDE).reshape(-1, 3)
    columns = {
        name: np.repeat(np.tile(values, layers), len(points))
        for name, values in {"t1": T1, "t2": T2, "df": DF, "b1": B1}.items()
    }
    made = Phantom.from_arrays(position=position, weight=1 / len(points), **columns)
    return replace(made, sampling=Sampling(extent=(0.02, 0.02, 0.02), voxel=tuple(SIDE)))


def difference(seq, counts, pulses="ideal", layers=1) -> float:
    graph = simulate(seq, phantom((1, 1, 1), layers), engine="epg", pulses=pulses).signal
    many = simulate(seq, replace(phantom(counts, layers), sampling=None), pulses=pulses, tolerance=1e-5).signal
    return float(np.linalg.norm(graph - many) / np.linalg.norm(many))


@pytest.mark.parametrize(
    ("name", "changes", "counts"),
    [
        ("flash_2d", {"dummies": 20}, (128, 8, 64)),
        ("t2_tse", {"train": 4, "TE": "24 ms"}, (16, 8, 500)),
        ("multi_echo_se", {"echoes": 6, "refocusing": "140 deg"}, (16, 8, 512)),
        ("bssfp", {"dummies": 40, "bandwidth": "10 kHz"}, (16, 8, 16)),
    ],
)
def test_sequences_of_the_library(name, changes, counts):
    seq = load_sequence(name, **{**SMALL, **changes})
    assert difference(seq, counts) < AGREE


def test_slice_profile_by_layers():
    seq = load_sequence("t2_tse", **{**SMALL, "train": 4, "TE": "24 ms", "dummies": 0})
    assert difference(seq, (32, 8, 200), "shaped", layers=3) < AGREE


def stimulated_echoes():
    """Three pulses and all their echoes, under gradients along all axes."""
    areas = [{"gx": 700.0, "gy": -300.0}, {"gx": 300.0, "gz": 900.0}]
    parts = [
        Block(duration=7 * MS, rf=RF(flip=80 * DEG), **_lobes(areas[0])),
        Block(duration=9 * MS, rf=RF(flip=100 * DEG, phase=0.7), **_lobes(areas[1])),
        Block(duration=30 * MS, rf=RF(flip=70 * DEG, phase=2.0), adc=ADC(at=4 * MS, samples=50, dwell=0.4 * MS),
              **{axis: lobe(area, 0.2 * MS, 8 * MS) for axis, area in areas[0].items()}),
    ]  # fmt: skip
    return build(parts)


def _lobes(areas):
    return {axis: lobe(area, 0.2 * MS, 5 * MS) for axis, area in areas.items()}


@pytest.mark.parametrize("pulses", ["ideal", "shaped"])
def test_stimulated_echoes(pulses):
    assert difference(stimulated_echoes(), (64, 32, 64), pulses) < AGREE


@pytest.mark.parametrize("pulses", ["ideal", "shaped"])
def test_points_are_the_same_to_rounding(pulses):
    """No voxels: every configuration is seen at every isochromat, so nothing is left to differ."""
    generator = np.random.default_rng(2)
    some = spins(
        position=generator.uniform(-0.05, 0.05, (5, 3)), t1=generator.uniform(0.2, 1.5, 5),
        t2=generator.uniform(0.02, 0.2, 5), df=generator.uniform(-100, 100, 5), b1=generator.uniform(0.5, 1.3, 5),
    )  # fmt: skip
    a, b = (
        simulate(stimulated_echoes(), some, engine=e, pulses=pulses, dtype="float64", tolerance=1e-10).signal
        for e in ("bloch", "epg")
    )
    assert np.linalg.norm(a - b) < 1e-12 * np.linalg.norm(a)


def test_lorentzian_line_is_exact():
    """Places in the line at one point: their mean approaches the exponential as their number grows."""
    tissue = {"t1": 0.8, "t2": 0.08, "t2_prime": 0.03, "df": 10.0}
    one = spins(position=[[0.01, 0.02, 0.0]], **tissue)
    exact = simulate(stimulated_echoes(), one, engine="epg", pulses="ideal", dtype="float64", tolerance=1e-8).signal

    def error(n: int) -> float:
        place, position = (np.arange(n) + 0.5) / n - 0.5, np.tile([[0.01, 0.02, 0.0]], (n, 1))
        many = spins(position=position, lorentz=place, weight=1 / n, **tissue)
        signal = simulate(stimulated_echoes(), many, pulses="ideal", dtype="float64").signal
        return float(np.linalg.norm(signal - exact) / np.linalg.norm(exact))

    assert error(40_000) < 1e-3
    assert error(40_000) < 0.4 * error(10_000)
