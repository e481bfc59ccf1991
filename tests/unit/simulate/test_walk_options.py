"""What the walk refuses, and what it says of itself."""

from __future__ import annotations

import re

import numpy as np
import pytest
from physics.build import ADC, RF, Block, build

import mrisim as mr
from mrisim.phantom import Cylinders, Labels, Medium, Mixture, Planes, Spheres

WATER = mr.Phantom.from_arrays(position=[[0.0, 0.0, 0.0]], t1=1.0, t2=0.1)


def refused(message):
    return pytest.raises(mr.ConsistencyError, match=f"^{re.escape(message)}$")


def walked(**options):
    return mr.simulate(mr.load_sequence("fid"), WATER, engine=mr.Walk(walkers=64, **options))


def test_a_step_that_is_too_long_is_refused_with_the_longest():
    pore = Cylinders(radius="5 um", diffusion=2e-9)  # (R / 5)² / (2 D)
    with refused(
        "time_step: must be at most 250 us for Cylinders with a smallest length of 5 µm and D = 0.002 mm^2/s, but is "
        "1 ms. Shorten it, or leave it out."
    ):
        walked(compartments=pore, time_step="1 ms")


def test_a_step_that_a_membrane_would_always_pass_is_refused():
    pack = Spheres(
        radius="5 um", diffusion=2e-9, spacing="11 um", outside=Medium(diffusion=2e-9), permeability="1000 um/s"
    )
    with pytest.raises(mr.ConsistencyError, match=r"must be at most .* with a permeability of 1000 µm/s"):
        walked(compartments=pack, time_step="200 us")


def test_options_are_refused_all_at_once():
    with refused(
        "walkers: must be a whole number above 0, but is 0\n"
        "compartments: must be a geometry such as mr.phantom.Cylinders, but is str\n"
        "time_step: must be a time with its unit, but is '5'. Did you mean '5 ms'".replace("\n", ".\n")
        + "."
    ):
        mr.Walk(walkers=0, compartments="cylinders", time_step="5")


def test_a_checkpoint_is_refused(tmp_path):
    with refused("checkpoint: must not be given with engine='walk', which keeps none."):
        mr.simulate(mr.load_sequence("fid"), WATER, engine="walk", checkpoint=tmp_path / "kept")


def test_too_little_memory_is_refused():
    with pytest.raises(mr.ResourceError, match=r"must leave .* MiB for 2048 samples of 1 coils"):
        mr.simulate(mr.load_sequence("fid"), WATER, engine="walk", memory="1 MiB")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Planes(separation=0, diffusion=1e-9), "separation: must be above 0, but is 0."),
        (lambda: Planes(separation=1e-5, diffusion=-1), "diffusion: must be a number from 0, but is -1."),
        (lambda: Cylinders(radius=1e-6, diffusion=1e-9, axis=(0, 0, 0)),
         "axis: must be a direction (x, y, z), but is (0, 0, 0)."),
        (lambda: Spheres(radius=1e-6, diffusion=1e-9, permeability=1e-5),
         "permeability: must be 0 where nothing lies outside, but is 1e-05 m/s. Give spacing and outside."),
        (lambda: Spheres(radius=1e-6, diffusion=1e-9, spacing=1.5e-6, outside=Medium(diffusion=1e-9)),
         "spacing: must be at least 2 µm, twice the radius, but is 1.5 µm."),
        (lambda: Spheres(radius=1e-6, diffusion=1e-9, spacing=3e-6),
         "outside: must be given for a packing, but is not. Or leave out both."),
        (lambda: Spheres(radius=1e-6, diffusion=1e-9, t2=1, spacing=3e-6, outside=Medium(diffusion=1e-9)),
         "t2: must be given for all 2 media or for none, but is given for 1."),
        (lambda: Labels(labels=np.array([[[2]]]), spacing=1e-6, media=(Medium(diffusion=1e-9),)),
         "labels: must reach from -1 to 0, one for each medium, with water somewhere, but reach to 2."),
        (lambda: Mixture(parts=(Planes(separation=1e-5, diffusion=1e-9),), shares=(0.5,)),
         "shares: must be above 0 and add up to 1, but are 0.5."),
    ],
)  # fmt: skip
def test_geometries_that_cannot_be(make, message):
    with refused(message):
        make()


def test_all_that_is_known_of_a_walk_stays_with_the_data(tmp_path):
    seen = []
    raw = mr.simulate(
        mr.load_sequence("fid"), WATER, engine=mr.Walk(walkers=100), seed=4, progress=lambda *now: seen.append(now)
    )
    assert raw.provenance["engine"] == "walk"
    assert raw.provenance["walkers"] == 128  # the same for each of 64 batches
    assert raw.provenance["seed"] == 4
    assert seen[-1] == (1, 1)
    mr.save(tmp_path / "walk.h5", raw)
    assert np.array_equal(mr.load(tmp_path / "walk.h5").standard_error, raw.standard_error)


def test_one_walker_for_each_isochromat_has_no_standard_error():
    raw = mr.simulate(mr.load_sequence("fid"), WATER, engine=mr.Walk(walkers=1))
    assert np.isnan(raw.standard_error).all()
    assert [finding.topic for finding in raw.findings] == ["random walk"]


@pytest.mark.parametrize("kind", [Cylinders, Spheres])
def test_packed_walkers_start_in_proportion_to_volume_and_water(kind):
    geometry = kind(radius=4e-6, diffusion=2e-9, spacing=9e-6, outside=Medium(diffusion=2e-9, pd=0.5))
    generator, n = np.random.default_rng(1), 20_000
    drawn = {}
    position, medium = geometry.start(lambda draw: drawn.setdefault(draw, generator.random((n, 4))))
    inside = geometry.share / (geometry.share + 0.5 * (1 - geometry.share))
    assert abs(np.mean(medium == 0) - inside) < 4 * np.sqrt(inside * (1 - inside) / n)
    assert position.shape == (n, 3)


@pytest.mark.parametrize("kind", ["cylinders", "spheres", "labels"])
def test_water_in_balance_stays_in_balance(kind):
    """Through membranes between media of different diffusion, as many walkers go as come."""
    media = (Medium(diffusion=2.5e-9, t2=1.0), Medium(diffusion=1e-9, t2=1e9))
    more = {"radius": 3e-6, "diffusion": 2.5e-9, "t2": 1.0, "spacing": 6.5e-6, "outside": media[1]}
    geometry = {
        "cylinders": lambda: Cylinders(**more, permeability=5e-4),
        "spheres": lambda: Spheres(**more, permeability=5e-4),
        "labels": lambda: Labels(labels=[[[0, 1, 1]]], spacing=3e-6, media=media, permeability=5e-4),
    }[kind]()
    share = 1 / 3 if kind == "labels" else geometry.share
    seq = build([Block(duration=0.03, rf=RF(flip=np.pi / 2), adc=ADC(at=0.025))])
    walk = mr.Walk(compartments=geometry, walkers=4096, time_step="20 us")
    raw = mr.simulate(seq, WATER, engine=walk, pulses="ideal", seed=2)
    signal, error = raw.signal[0, 0].imag, raw.standard_error[0, 0].imag
    assert abs(signal - np.exp(-0.025 * share)) < 4 * error  # M decays inside alone, and slowly
    assert error < 0.02 * (1 - signal)
