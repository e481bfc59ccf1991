"""From undersampled spiral arms to T1, T2 and PD maps."""

from __future__ import annotations

import numpy as np
import pytest

import mrisim as mr
from mrisim.pipeline.phantoms import PhantomSource

TUBES = """
mrisim: 1
phantom: tubes
size: [64 mm, 64 mm, 18 mm]
voxel: 2 mm
isochromats: 3
shapes:
  - {box: {size: [50 mm, 50 mm, 18 mm]}, tissue: {T1: 0.6 s, T2: 60 ms, PD: 1}}
  - {cylinder: {radius: 9 mm, center: [-12 mm, 0 mm]}, tissue: {T1: 0.9 s, T2: 80 ms, PD: 0.8}}
  - {cylinder: {radius: 9 mm, center: [12 mm, 0 mm]}, tissue: {T1: 1.5 s, T2: 120 ms, PD: 0.9}}
"""
TRUTH = {-12: {"T1": 0.9, "T2": 0.08, "PD": 0.8}, 12: {"T1": 1.5, "T2": 0.12, "PD": 0.9}}


@pytest.mark.slow
def test_maps_of_a_train_with_one_arm_in_eight(tmp_path):
    """200 repetitions of shaped pulses by the phase graph, one of eight arms each. Within 6 mm of the middle of a tube,
    every voxel is fitted; T1 and PD lie within 1 %, T2 within 2 %.
    """
    (tmp_path / "tubes.yaml").write_text(TUBES)
    seq = mr.load_sequence("mrf_fisp", repetitions=200, lobe=50, matrix=32, fov="64 mm", arms=8)
    phantom = PhantomSource.of(tmp_path / "tubes.yaml", {}).sample(seq, 3)
    image = mr.reconstruct(mr.simulate(seq, phantom, engine="epg", tolerance=1e-3))
    maps = mr.fit_maps(image, seq.recon.maps)
    y, x = np.mgrid[:32, :32] * 2.0 - 32
    for center, truth in TRUTH.items():
        inside = np.hypot(x - center, y) < 6
        for name, value in truth.items():
            found = np.squeeze(maps[name].data)[inside]
            assert np.isfinite(found).all()
            assert np.median(found) == pytest.approx(value, rel=0.02 if name == "T2" else 0.01)


TWO_LINES = """
mrisim: 1
name: pulse
extends: fid
simulation: {engine: epg}
"""


def test_a_sequence_says_which_engine_it_wants_and_others_may_overrule_it(tmp_path):
    """Sequence, protocol, scan, caller: the later wins. `mrisim run mrf_fisp` takes `epg`, which it says."""
    assert dict(mr.load_sequence("mrf_fisp").simulation) == dict(mr.load_sequence("mrf_bssfp").simulation)
    assert mr.load_sequence("mrf_fisp").simulation["engine"] == "epg"
    (tmp_path / "pulse.yaml").write_text(TWO_LINES)
    exam = "mrisim: 1\nprotocol: exam\nphantom: brain\nscans:\n  a: {sequence: pulse.yaml}\n"
    (tmp_path / "exam.yaml").write_text(exam + "simulation: {engine: bloch}\n")
    water = mr.Phantom.from_arrays(position=[[0.0, 0.0, 0.0]], t1=1.0, t2=0.1)
    own = mr.run(tmp_path / "pulse.yaml", phantom=water)
    assert own.raw.provenance["engine"] == own.provenance["options"]["engine"] == "epg"
    assert mr.run(tmp_path / "exam.yaml", phantom=water).raw.provenance["engine"] == "bloch"
    assert mr.run(tmp_path / "exam.yaml", phantom=water, engine="epg").raw.provenance["engine"] == "epg"
    assert mr.run(tmp_path / "pulse.yaml", phantom=water, engine="bloch").raw.provenance["engine"] == "bloch"


def test_an_engine_that_is_not_there_is_refused_at_its_place(tmp_path):
    (tmp_path / "pulse.yaml").write_text(TWO_LINES.replace("epg", "magic"))
    with pytest.raises(mr.SpecError, match=r"pulse\.yaml:5:22: simulation\.engine: must be 'bloch' or 'epg', but is"):
        mr.load_sequence(tmp_path / "pulse.yaml")


def test_a_sequence_may_leave_t2_prime_out_and_the_run_says_so(tmp_path):
    """With T2' each order of a train that dephases is a state of its own to encode: hours for a brain."""
    (tmp_path / "pulse.yaml").write_text(TWO_LINES.replace("epg}", "epg, t2_prime: false}"))
    (tmp_path / "with.yaml").write_text(TWO_LINES)
    water = {"position": [[0.0, 0.0, 0.0]], "t1": 1.0, "t2": 0.1}
    reversible = mr.Phantom.from_arrays(**water, t2_prime=0.005)
    without, whole, none = (
        mr.run(tmp_path / name, phantom=phantom)
        for name, phantom in (
            ("pulse.yaml", reversible),
            ("with.yaml", reversible),
            ("pulse.yaml", mr.Phantom.from_arrays(**water)),
        )
    )
    assert (without.raw.signal == none.raw.signal).all()
    assert np.abs(whole.raw.signal[0, -1]) < 0.5 * np.abs(none.raw.signal[0, -1])
    assert [finding.topic for finding in without.findings].count("T2'") == 1
    assert "T2'" not in [finding.topic for finding in (*none.findings, *whole.findings)]
