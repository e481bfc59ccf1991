"""Fingerprinting dictionaries against isochromats under shaped pulses."""

from __future__ import annotations

import numpy as np
import pytest

import mrisim as mr
from mrisim.errors import ConsistencyError, ResourceError
from mrisim.mapping.dictionary import Dictionary
from mrisim.mapping.fingerprint_train import read_train
from mrisim.mapping.fingerprints import EXTENT, fingerprint_dictionary
from mrisim.pipeline.phantoms import PhantomSource

T1, T2 = np.array([0.8, 1.5]), np.array([0.07, 0.12])
GRID = {"t1": np.geomspace(0.4, 3.0, 18), "t2": np.geomspace(0.03, 0.3, 18)}


def sequence(name, **changes):
    return mr.load_sequence(name, repetitions=120, lobe=60, **changes)


def measured(seq, spins):
    """Signal at k = 0 of spins through the slice and its tails, per M0 of a slice of nominal thickness."""
    z = ((np.arange(spins) + 0.5) / spins - 0.5) * EXTENT * 0.005
    position, found = np.column_stack([0 * z, 0 * z, z]), []
    for t1, t2 in zip(T1, T2, strict=True):
        raw = mr.simulate(seq, mr.Phantom.from_arrays(position=position, t1=t1, t2=t2, weight=EXTENT / spins))
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


@pytest.mark.parametrize(("name", "spins"), [("mrf_fisp", 1700), ("mrf_bssfp", 300)])
def test_dictionary_is_the_signal_of_shaped_pulses(name, spins):
    """Relaxation within pulses to first order, 84 places for the profile, three orders of dephasing. Without the
    profile T2 is wrong by tens of per cent, or out of the grid.
    """
    seq = sequence(name)
    signal = measured(seq, spins)
    fit = fingerprint_dictionary(seq, **GRID).match(signal)
    assert fit["t1"] == pytest.approx(T1, rel=0.002)
    assert fit["t2"] == pytest.approx(T2, rel=0.001 if name == "mrf_fisp" else 0.005)
    assert fit["m0"] == pytest.approx(np.ones(2), rel=0.001)
    plain = fingerprint_dictionary(seq, **GRID, slice_profile=False).match(signal)
    assert not (np.abs(plain["t2"] / T2 - 1) < 0.1).all()


BOX = """
mrisim: 1
phantom: box
size: [2 mm, 2 mm, 18 mm]
voxel: 2 mm
isochromats: 3
shapes:
  - {box: {size: [2 mm, 2 mm, 18 mm]}, tissue: {T1: 1.5 s, T2: 0.6 s, PD: 1, ADC: 2e-9 m^2/s}}
"""


def test_diffusion_is_that_of_the_phase_graph(tmp_path):
    """Water at four cycles per slice. The engine labels states by all gradients, the dictionary by whole cycles at
    places through the slice, which leave 2e-3 of the signal; what diffusion takes is ten times as much.
    """
    (tmp_path / "box.yaml").write_text(BOX)
    seq = mr.load_sequence("mrf_fisp", repetitions=60, lobe=60, cycles=4)
    phantom = PhantomSource.of(tmp_path / "box.yaml", {}).sample(seq, 3)
    raw = mr.simulate(seq, phantom, engine="epg", tolerance=1e-4)
    signal = raw.signal[0, raw.readouts.start]
    grid, rest = {"t1": np.geomspace(1.5, 3.0, 4), "t2": np.geomspace(0.6, 1.2, 4)}, {}
    for diffusion in (0.0, 2e-9):
        model = fingerprint_dictionary(seq, **grid, diffusion=diffusion).signals[0, 0]
        scale = np.vdot(model, signal) / np.vdot(model, model)
        rest[diffusion] = np.linalg.norm(signal - scale * model) / np.linalg.norm(signal)
    assert rest[2e-9] < 3e-3
    assert rest[0.0] > 0.02


def test_what_is_refused():
    with pytest.raises(ConsistencyError, match="must have one readout after each of at least two pulses"):
        read_train(mr.load_sequence("multi_echo_se", matrix=2))
    with pytest.raises(ConsistencyError, match="must have repetitions that all dephase by the same"):
        read_train(mr.load_sequence("spin_echo", matrix=4, dummies=0))


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ([], "t1: must have at least four points, but has 0."),
        ([1.0, 2.0], "t1: must have at least four points, but has 2."),
        ([-1.0, 0.5, 1.0, 2.0], "t1: must rise from above 0, but does not."),
        ([1.0, 2.0, 3.0, 4.0], "t1: must be equidistant in its logarithm, but is not."),
    ],
)
def test_grids_that_are_none_are_refused(grid, message):
    with pytest.raises(ConsistencyError) as refused:
        fingerprint_dictionary(sequence("mrf_fisp"), t1=np.array(grid), t2=GRID["t2"])
    assert str(refused.value) == message + " Take numpy.geomspace(shortest, longest, points)."


def test_signals_of_another_length_are_refused():
    axes = {"t1": np.geomspace(0.1, 1.0, 4), "t2": np.geomspace(0.01, 0.1, 4)}
    dictionary = Dictionary(axes=axes, signals=np.ones((4, 4, 5)))
    with pytest.raises(
        ConsistencyError, match=r"signal: must have shape \(voxels, 5\), as the dictionary's signals, but"
    ):
        dictionary.match(np.ones((2, 7)))


def test_a_dictionary_that_does_not_fit_is_refused_before_memory_is_taken():
    grid = np.geomspace(0.1, 1.0, 10**6)
    with pytest.raises(ResourceError) as refused:
        fingerprint_dictionary(sequence("mrf_fisp"), t1=grid, t2=grid)
    assert str(refused.value).startswith(
        "dictionary: must fit into memory, but 1,000,000,000,000 tissues of 120 pulses take 8.94e+06 GiB. "
        "Take coarser grids; "
    )


def test_short_trains_have_fewer_orders_than_places_tell_apart():
    """Eight pulses bring back four orders; more are not seen, with diffusion or without."""
    seq = mr.load_sequence("mrf_fisp", repetitions=8)
    without, little = (
        fingerprint_dictionary(seq, t1=GRID["t1"][:4], t2=GRID["t2"][:4], diffusion=d).signals for d in (0.0, 1e-15)
    )
    assert little == pytest.approx(without, abs=1e-6)
    assert np.abs(without).max() > 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"rank": 9},
            "T2.rank: must be at most the number of pulses, 8, but is 9. Leave it out, and what a match needs",
        ),
        ({"rank": 0}, "T2.rank: must be a whole number from 1, but is '0'."),
        (
            {"t2": ["3 s", "4 s"], "t1": ["1 s", "1.4 s"]},
            "T2.t2: must begin at 2 T1 = 2.8 s or less, but begins at 3 s.",
        ),
        (
            {"t1": ["3 s", "2 s"]},
            "T2.t1: must be two times of which the second is longer, such as [20 ms, 3 s], but is",
        ),
        ({"t1": "3 s"}, "T2.t1: must be two times, such as [20 ms, 3 s], but is '3 s'."),
        ({"diffusion": "3 mm"}, "T2.diffusion: must be a diffusion coefficient such as 1e-3 mm^2/s, but is '3 mm'"),
    ],
)
def test_options_of_maps_that_are_none_are_refused(options, message):
    seq = mr.load_sequence("mrf_fisp", repetitions=8)
    grid = mr.data.Grid.of((1, 1, 1), (1e-3, 1e-3, 1e-3))
    image = mr.Image(data=np.ones((8, 1, 1, 1)), grid=grid, sequence=seq)
    with pytest.raises(ConsistencyError) as refused:
        mr.fit_maps(image, {"T2": {"fit": "fingerprinting", **options}})
    assert message in str(refused.value)
