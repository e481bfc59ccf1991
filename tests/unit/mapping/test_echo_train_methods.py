"""The fit `epg` from a specification: the train is read from the sequence that the images came from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import mrisim as mr
from mrisim.errors import ConsistencyError
from mrisim.mapping import fit_maps
from mrisim.mapping.echo_train_methods import echo_train

T1, T2 = 1.0, np.array([0.05, 0.12])


@pytest.fixture(scope="module")
def image():
    """Two voxels of multi_echo_se with pulses of 150°, 1200 isochromats through two thicknesses of the slice."""
    seq = mr.load_sequence(
        "multi_echo_se", matrix=[2, 2], fov="100 mm", echoes=8, refocusing="150 deg", dummies=1, TR="6 s"
    )
    z = ((np.arange(1200) + 0.5) / 1200 - 0.5) * 0.010
    position = np.concatenate([np.column_stack([0 * z + x, 0 * z, z]) for x in (0.0, -0.05)])
    volume = 0.05 * 0.05 * 0.010 / 1200  # of an isochromat; a voxel of the image holds 5 mm of the 10
    phantom = mr.Phantom.from_arrays(position=position, t1=T1, t2=np.repeat(T2, 1200), weight=volume)
    return mr.reconstruct(mr.simulate(seq, phantom))


def test_maps_from_a_specification(image):
    """Without a map of T1 it is taken as 1 s, which is what it is here; the slice profile is that of the sequence."""
    maps = fit_maps(image, {"T2": {"fit": "epg"}, "PD": {"fit": "epg"}})
    assert maps["T2"].data[0, 1] == pytest.approx(T2[::-1], rel=5e-3)
    saturated = 1 - np.exp(-6 / T1)  # TR; refocusing pulses take 2 % of that at most
    assert maps["PD"].data[0, 1] == pytest.approx(2 * [saturated], rel=0.02)


def test_a_free_field_makes_a_map(image):
    maps = fit_maps(image, {"T2": {"fit": "epg", "fit_b1": True}, "B1": {"fit": "epg", "fit_b1": True}})
    assert maps["T2"].data[0, 1] == pytest.approx(T2[::-1], rel=1e-2)
    assert maps["B1"].data[0, 1] == pytest.approx([1.0, 1.0], abs=0.02)


def test_what_is_refused(image):
    with pytest.raises(ConsistencyError, match=r"^maps.B1.fit_b1: must be true for a map of B1, but is not\."):
        fit_maps(image, {"B1": {"fit": "epg"}})
    with pytest.raises(ConsistencyError, match=r"^maps.T2.fit: must have images that know their sequence"):
        fit_maps(replace(image, sequence=None), {"T2": {"fit": "epg"}})
    late = replace(image, coordinates={**image.coordinates, "te": image.coordinates["te"] + 0.004})
    with pytest.raises(ConsistencyError, match=r"^te: must be one of 8 echoes 10 ms apart, but is 1[34]\.\d* ms"):
        fit_maps(late, {"T2": {"fit": "epg"}})
    with pytest.raises(ConsistencyError, match="must have pulses of use excitation and refocusing"):
        echo_train(mr.load_sequence("fid"))
