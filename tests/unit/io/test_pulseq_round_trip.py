"""YAML → .seq → Sequence is YAML → Sequence: blocks, moments, readouts, recon, signal."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import numpy as np
import pytest

import mrisim as mr
from mrisim.errors import ConsistencyError, SpecError
from mrisim.events.blocks import AXES, Sequence, SoftDelay, Trigger, Use
from mrisim.events.readouts import readout_table
from mrisim.io.pulseq import read_sequence

FORMS = [("1.4.1", "apply"), ("1.5.1", "apply"), ("1.5.1", "extension")]
DIGITS = 1e-9  # amplitudes and times have twelve digits in a file, samples of pulses nine
SMALL = {
    "bssfp": 32, "flash_2d": 32, "flash_3d": [16, 16, 4], "mprage": [16, 16, 4], "multi_echo_se": 32,
    "inversion_recovery_se": 32, "saturation_recovery": 32, "multi_echo_gre": 32, "t2_tse": 32, "spin_echo": 32,
    "mp2rage": [16, 16, 4], "dce_spgr_3d": [16, 16, 4],
}  # fmt: skip
OBLIQUE = """
geometry:
  orientation: {plane: coronal, about_read: 20 deg, about_slice: -10 deg}
  center: [10 mm, -20 mm, 30 mm]
"""


def small(name: str) -> Sequence:
    more = {"t2_tse": {"TE": "24 ms"}, "dce_spgr_3d": {"dynamics": 2, "interval": "1 s"}}.get(name, {})
    return mr.load_sequence(name, **({"matrix": SMALL[name], **more} if name in SMALL else {}))


def through(seq: Sequence, tmp_path, version: str = "1.5.1", rotations="apply") -> Sequence:
    path = tmp_path / "a.seq"
    mr.write_sequence(seq, path, version=version, rotations=rotations)
    return mr.load_sequence(path, strict=True)


def spins(n: int = 60) -> mr.Phantom:
    rng = np.random.default_rng(4)
    position = rng.normal(size=(n, 3)) * [0.03, 0.03, 0.004] + [0.01, -0.005, 0.001]
    return mr.Phantom.from_arrays(position=position, t1=0.8, t2=0.08, df=rng.normal(size=n) * 20)


def assert_same(seq: Sequence, back: Sequence) -> None:
    """Blocks, events and what they mean."""
    np.testing.assert_allclose(back.blocks.duration, seq.blocks.duration, atol=1e-12)
    for column in ("rf", *AXES, "adc"):
        np.testing.assert_array_equal(getattr(back.blocks, column) >= 0, getattr(seq.blocks, column) >= 0)
    assert back.blocks.labels.keys() == seq.blocks.labels.keys()
    for name, values in seq.blocks.labels.items():
        np.testing.assert_array_equal(back.blocks.labels[name], values)
    k, t = seq.kspace()
    np.testing.assert_allclose(back.kspace()[0], k, atol=DIGITS * max(np.abs(k).max(), 1.0))
    np.testing.assert_allclose(back.kspace()[1], t, atol=DIGITS)
    played, read = seq.blocks.rf[seq.blocks.rf >= 0], back.blocks.rf[back.blocks.rf >= 0]
    for name in ("amplitude", "frequency", "delay", "flip", "use", "slice_axis", "thickness", "position"):
        np.testing.assert_allclose(getattr(back.rf, name)[read], getattr(seq.rf, name)[played], rtol=1e-9, atol=1e-12)
    turn = np.exp(1j * back.rf.phase[read]) - np.exp(1j * seq.rf.phase[played])
    assert np.abs(turn).max(initial=0.0) < DIGITS
    for ours, theirs in zip(seq.rf_shapes, back.rf_shapes, strict=True):
        np.testing.assert_allclose(theirs.edges, ours.edges, atol=1e-12)
        np.testing.assert_allclose(theirs.samples, ours.samples, atol=1e-8)
        assert (theirs.center, theirs.bandwidth) == (ours.center, ours.bandwidth)


def assert_same_words(seq: Sequence, back: Sequence) -> None:
    """What a file says beyond its events."""
    assert (back.name.replace("_", " "), back.description, back.reference) == (
        seq.name.replace("_", " "), seq.description, seq.reference,
    )  # fmt: skip
    assert back.system == seq.system
    assert dict(back.parameters) == dict(seq.parameters)
    assert back.timing == seq.timing
    np.testing.assert_array_equal(back.geometry.rotation, seq.geometry.rotation)
    np.testing.assert_array_equal(back.geometry.center, seq.geometry.center)
    assert (back.recon is None) == (seq.recon is None)
    for field in dataclasses.fields(seq.recon) if seq.recon is not None else ():
        np.testing.assert_equal(getattr(back.recon, field.name), getattr(seq.recon, field.name))
    ours, theirs = readout_table(seq), readout_table(back)
    for name in ("te", "ti", "tr", "ts", "flip", "start", "count", "dwell"):
        np.testing.assert_allclose(getattr(theirs, name), getattr(ours, name), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("version", ["1.4.1", "1.5.1"])
@pytest.mark.parametrize("name", [name for name, _, _ in mr.list_sequences()])
def test_sequences_of_the_library_come_back(tmp_path, name, version):
    seq = small(name)
    if len(seq.rotations):
        version, rotations = "1.5.1", "extension"
    else:
        rotations = "apply"
    back = through(seq, tmp_path, version, rotations)
    assert back.findings == ()
    assert_same(seq, back)
    assert_same_words(seq, back)


@pytest.mark.parametrize("name", ["fid", "flash_2d", "t2_tse", "gre_epi", "inversion_recovery_se", "radial_flash"])
def test_signal_is_the_same(tmp_path, name):
    seq = small(name)
    for pulses in ("shaped", "ideal") if name != "inversion_recovery_se" else ("shaped",):
        expected = mr.simulate(seq, spins(), dtype="float64", pulses=pulses).signal
        found = mr.simulate(through(seq, tmp_path), spins(), dtype="float64", pulses=pulses).signal
        assert np.linalg.norm(found - expected) < 1e-6 * np.linalg.norm(expected)


@pytest.mark.parametrize(("version", "rotations"), FORMS)
def test_oblique_slices_come_back(tmp_path, version, rotations):
    text = (mr.paths.library_folder("sequences") / "spin_echo.yaml").read_text()
    (tmp_path / "oblique.yaml").write_text(text + OBLIQUE)
    seq = mr.load_sequence(tmp_path / "oblique.yaml", matrix=16, TE="20 ms")
    back = through(seq, tmp_path, version, rotations)
    assert_same(seq, back)
    assert_same_words(seq, back)
    rng = np.random.default_rng(2)
    inside = rng.normal(size=(40, 3)) * [0.03, 0.03, 0.003] @ seq.geometry.rotation.T + seq.geometry.center
    ph = mr.Phantom.from_arrays(position=inside, t1=0.8, t2=0.08)
    expected, found = (mr.simulate(s, ph, dtype="float64", pulses="ideal").signal for s in (seq, back))
    assert np.linalg.norm(found - expected) < 1e-6 * np.linalg.norm(expected)


def test_an_image_from_a_file(tmp_path):
    seq = mr.load_sequence("spin_echo", matrix=16)
    expected, found = (mr.reconstruct(mr.simulate(s, spins())) for s in (seq, through(seq, tmp_path)))
    assert np.abs(found.data - expected.data).max() < 1e-4 * np.abs(expected.data).max()  # float32


def test_a_changed_file_is_not_believed(tmp_path):
    """Numbers of pulses may mean others once another program has written the file."""
    seq, path = small("spin_echo"), tmp_path / "a.seq"
    mr.write_sequence(seq, path)
    text = path.read_text()
    assert "\n1 262 1 " in text or "[BLOCKS]" in text
    row = text.split("[BLOCKS]\n")[1].splitlines()[2]
    number, duration, *events = row.split()
    path.write_text(text.replace(row, " ".join([number, str(int(duration) + 1), *events]), 1))
    back = mr.load_sequence(path)
    assert [finding.topic for finding in back.findings][:2] == ["signature", "record"]
    assert back.recon is None
    for rule in ("must be the hash of the text before it", "are not those that mrisim wrote"):
        if rule.startswith("are"):
            path.write_text(path.read_text().split("\n[SIGNATURE]")[0])
        with pytest.raises(SpecError, match=rule):
            mr.load_sequence(path, strict=True)


def test_triggers_and_soft_delays_come_back(tmp_path):
    seq = small("fid")
    empty = int(np.flatnonzero((seq.blocks.rf < 0) & (seq.blocks.adc < 0))[0]) if len(seq.blocks) > 2 else 0
    seq = replace(
        seq,
        triggers=(Trigger(0, 1, 2, 1e-3, 2e-3), Trigger(0, 2, 1, 0.0, 1e-4)),
        soft_delays=(SoftDelay(empty, "TD", 1, 2.0, 1e-4),),
    )
    back = through(seq, tmp_path)
    assert set(back.triggers) == set(seq.triggers)
    assert back.soft_delays == seq.soft_delays
    assert back.parameters["TD"].value == pytest.approx((seq.blocks.duration[empty] - 1e-4) * 2)


def test_amplitudes_below_zero_and_pulses_of_one_sample(tmp_path):
    seq = small("fid")
    seq = replace(seq, rf=replace(seq.rf, amplitude=-seq.rf.amplitude))
    back = through(seq, tmp_path)
    ours = seq.rf.amplitude[0] * np.exp(1j * seq.rf.phase[0])
    assert back.rf.amplitude[0] * np.exp(1j * back.rf.phase[0]) == pytest.approx(ours)
    np.testing.assert_allclose(back.rf_shapes[0].edges, seq.rf_shapes[0].edges)


def test_what_no_file_can_hold_is_refused(tmp_path):
    seq = small("fid")
    late = replace(seq, blocks=replace(seq.blocks, duration=seq.blocks.duration + 3e-6))
    with pytest.raises(ConsistencyError, match=r"block duration must be a multiple of 10 us in a \.seq file"):
        mr.write_sequence(late, tmp_path / "a.seq")
    with pytest.raises(ConsistencyError, match=r"version: must be one of 1\.4\.1, 1\.5\.1, but is '1\.3\.0'"):
        mr.write_sequence(seq, tmp_path / "a.seq", version="1.3.0")
    with pytest.raises(ConsistencyError, match=r"rotations: must be 'apply' in version 1\.4\.1"):
        mr.write_sequence(seq, tmp_path / "a.seq", version="1.4.1", rotations="extension")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(mr.ResourceError, match="must be writable"):
        mr.write_sequence(seq, tmp_path / "none" / "a.seq")


def test_lines_are_short_enough_for_interpreters(tmp_path):
    mr.write_sequence(small("t2_tse"), tmp_path / "a.seq")
    assert max(map(len, (tmp_path / "a.seq").read_text().splitlines())) < 256


def test_uses_are_letters_in_version_1_5(tmp_path):
    seq = small("spin_echo")
    mr.write_sequence(seq, tmp_path / "a.seq")
    rows = (tmp_path / "a.seq").read_text().split("[RF]\n")[1].split("\n\n")[0].splitlines()
    assert [row.split()[-1] for row in rows] == [Use(use).name[0].lower() for use in seq.rf.use]
    assert read_sequence(tmp_path / "a.seq", use={"inversion": [2]}).rf.use[1] == Use.INVERSION
