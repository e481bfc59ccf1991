"""Fingerprinting dictionaries against isochromats under shaped pulses, and maps of a small object."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import mrisim as mr
from mrisim.errors import ConsistencyError
from mrisim.mapping import fit_maps
from mrisim.mapping.fingerprints import fingerprint_dictionary, read_train

T1, T2 = np.array([0.8, 1.5]), np.array([0.07, 0.12])
GRID = {"t1": np.geomspace(0.4, 3.0, 18), "t2": np.geomspace(0.03, 0.3, 18)}


def sequence(name, **changes):
    return mr.load_sequence(name, repetitions=120, lobe=60, **changes)


def measured(seq, spins):
    """Signal at k = 0 of spins through two thicknesses of the slice, per M0 of a slice of nominal thickness."""
    z = ((np.arange(spins) + 0.5) / spins - 0.5) * 0.010
    position, found = np.column_stack([0 * z, 0 * z, z]), []
    for t1, t2 in zip(T1, T2, strict=True):
        raw = mr.simulate(seq, mr.Phantom.from_arrays(position=position, t1=t1, t2=t2, weight=2 / spins))
        found.append(raw.signal[0, raw.readouts.start])
    return np.array(found)


def test_the_train_is_read_from_the_sequence():
    train = read_train(sequence("mrf_bssfp"))
    assert train.balanced
    assert train.ti == pytest.approx(0.020, abs=1e-6)
    assert train.te == pytest.approx(np.full(120, 0.0025), abs=3e-6)  # half a dwell, half a raster
    assert train.tr == pytest.approx(np.full(120, 0.008), abs=1e-6)
    assert np.cos(train.phase) == pytest.approx((-1.0) ** np.arange(120))
    assert not read_train(sequence("mrf_fisp")).balanced


@pytest.mark.parametrize(("name", "spins"), [("mrf_fisp", 2400), ("mrf_bssfp", 200)])
def test_dictionary_is_the_signal_of_shaped_pulses(name, spins):
    """Relaxation within pulses is of first order in the dictionary, and four cycles of dephasing per slice mix the
    profile's edges a little. Without the profile T2 is wrong by tens of per cent.
    """
    seq = sequence(name)
    signal = measured(seq, spins)
    fit = fingerprint_dictionary(seq, **GRID).match(signal)
    assert fit["t1"] == pytest.approx(T1, rel=0.02)
    assert fit["t2"] == pytest.approx(T2, rel=0.03)
    assert fit["m0"] == pytest.approx(np.ones(2), rel=0.01)
    plain = fingerprint_dictionary(seq, **GRID, slice_profile=False).match(signal)
    assert (np.abs(plain["t2"] / T2 - 1) > 0.1).any()


def test_what_is_refused():
    with pytest.raises(ConsistencyError, match="must have one readout after each of at least two pulses"):
        read_train(mr.load_sequence("multi_echo_se", matrix=2))
    with pytest.raises(ConsistencyError, match="must have pulses of one phase and its opposite"):
        read_train(mr.load_sequence("radial_flash", spokes=20, dummies=0))
    with pytest.raises(ConsistencyError, match="must have repetitions that all dephase by the same"):
        read_train(mr.load_sequence("spin_echo", matrix=4, dummies=0))


@pytest.fixture(scope="module")
def scanned():
    """Two tissues side by side, a point in each of 16 voxels of 12 × 12, 400 isochromats through two thicknesses."""
    seq = mr.load_sequence("mrf_fisp", repetitions=60, lobe=30, matrix=12, arms=4)
    places, z = (np.arange(12) - 6) * 0.22 / 12, ((np.arange(400) + 0.5) / 400 - 0.5) * 0.010
    x, y = (v.ravel() for v in np.meshgrid(places[4:8], places[4:8]))
    position = np.stack([v.ravel() for v in np.broadcast_arrays(x[:, None], y[:, None], z)], axis=1)
    right = (position[:, 0] >= 0).astype(int)
    volume = (0.22 / 12) ** 2 * 0.010 / 400
    return mr.simulate(seq, mr.Phantom.from_arrays(position=position, t1=T1[right], t2=T2[right], weight=volume))


@pytest.mark.slow
def test_maps_of_an_undersampled_scan(scanned):
    """Each repetition samples a quarter of k-space; what low-rank images leave of the aliasing is per cents."""
    maps = fit_maps(mr.reconstruct(scanned))
    for name, truth, tolerance in (("T1", T1, 0.1), ("T2", T2, 0.15), ("PD", np.ones(2), 0.1)):
        for side, columns in ((0, slice(4, 6)), (1, slice(6, 8))):
            found = np.median(maps[name].data[0, 4:8, columns])
            assert found == pytest.approx(truth[side], rel=tolerance), (name, side)


@pytest.mark.slow
def test_images_without_their_sequence_are_refused(scanned):
    with pytest.raises(
        ConsistencyError, match=r"^raw: must know the sequence that was played for the method 'lowrank'"
    ):
        mr.reconstruct(replace(scanned, sequence=None))
    image = mr.reconstruct(replace(scanned, recon=replace(scanned.recon, method="gridding")))
    with pytest.raises(ConsistencyError, match=r"^maps.T1.fit: must have images that know their sequence"):
        fit_maps(replace(image, sequence=None))
    half = replace(image, data=image.data[::2])
    with pytest.raises(
        ConsistencyError, match=r"^maps.T1.fit: must have one image for each of the 60 pulses, but has 30"
    ):
        fit_maps(half, {"T1": {"fit": "fingerprinting"}})
