"""Every sequence of the library: plays on its scanner, encodes what its labels say, keeps the times it was asked for.

Times and k-space are found in the event blocks, not in what the sequence declares.
"""

from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import pytest

from mrisim.events.blocks import Use
from mrisim.events.moments import gradient_tracks, pulse_instances, readout_instances, total_gradient, total_moment
from mrisim.paths import library_folder
from mrisim.sequence import load_sequence
from mrisim.units import show

NAMES = sorted(path.stem for path in library_folder("sequences").glob("*.yaml"))
SMALL = {"flash_3d": {"matrix": (32, 24, 12)}, "mprage": {"matrix": (32, 24, 12)}}  # the tests below hold all samples
DEFINED = {
    "fid", "spin_echo", "t1_spin_echo", "t2_spin_echo", "pd_spin_echo", "inversion_recovery_se", "saturation_recovery",
    "multi_echo_se", "t2_tse", "flash_2d", "flash_3d", "multi_echo_gre", "bssfp", "mprage", "gre_epi", "se_epi",
    "spiral_gre", "radial_flash",
}  # fmt: skip
GRIDDED = ["radial_flash", "spiral_gre"]
CARTESIAN = sorted(DEFINED - {"fid", *GRIDDED})
MULTISLICE = sorted(set(CARTESIAN) - {"flash_2d", "flash_3d", "mprage"})
SPIN_ECHOES = sorted(
    DEFINED - {"fid", "flash_2d", "flash_3d", "multi_echo_gre", "bssfp", "mprage", "gre_epi", *GRIDDED}
)
ROOM = {"saturation_recovery": {"TR": 3.0}, "t1_spin_echo": {"TR": 1.0}}  # for several slices within TR
LABELS = {
    "LIN": "line", "PAR": "partition", "SLC": "slice", "ECO": "echo", "REP": "repetition", "REV": "reversed",
}  # fmt: skip
FIRST_PULSE = {"inversion_recovery_se": Use.INVERSION, "mprage": Use.INVERSION, "saturation_recovery": Use.SATURATION}


@lru_cache(maxsize=32)
def load(name, **changes):
    return load_sequence(name, **SMALL.get(name, {}) | changes)


@lru_cache(maxsize=32)
def readouts(name, **changes):
    """Labels, logical k of the center sample and its time, for each readout."""
    seq = load(name, **changes)
    instances = readout_instances(seq)
    k, time = seq.kspace()
    first = np.concatenate([[0], np.cumsum(instances.count)[:-1]])
    labels = {key: np.asarray(values)[instances.block] for key, values in seq.blocks.labels.items()}
    zero = np.zeros(len(first), dtype=int)
    labels = {word: labels.get(key, zero) for key, word in LABELS.items()}
    # a reversed line is turned around before it is used, so that its sample N - 1 - N//2 becomes sample N//2
    center = np.where(labels["reversed"] == 1, instances.count - 1 - instances.count // 2, instances.count // 2)
    logical = k[first + center] @ seq.geometry.rotation
    nominal = time[first + instances.count // 2]
    return SimpleNamespace(seq=seq, **labels, k=logical, time=nominal, start=instances.start)


def central(r):
    """Readouts of the central line of the first echo."""
    _, ny, nz = r.seq.recon.matrix
    return (r.line == ny // 2) & (r.partition == (nz // 2 if nz > 1 else 0)) & (r.echo == 0)


def centers(seq, use, position=None):
    """Centers of the pulses of one use, and of one slice."""
    pulses = pulse_instances(seq)
    chosen = seq.rf.use[pulses.event] == use
    if position is not None:
        chosen &= np.isclose(seq.rf.position[pulses.event], position)
    return pulses.center[chosen]


def before(times, at):
    """The last of some times before each of others."""
    return times[np.searchsorted(times, at) - 1]


def value(seq, name):
    return seq.parameters[name].value


def half_raster(seq):
    return 0.5 * seq.system.block_raster * (1 + 1e-6)


def test_the_library_is_complete():
    assert set(NAMES) >= DEFINED


@pytest.mark.parametrize("name", NAMES)
def test_every_file_loads_plays_and_cites(name):
    seq = load_sequence(name)
    assert [str(violation) for violation in seq.check()] == []
    assert seq.reference
    assert seq.description
    assert seq.duration > 0
    assert all(record.found == pytest.approx(record.asked, abs=half_raster(seq)) for record in seq.timing)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_with_a_doc_or_a_name_that_speaks(name):
    speaking = {"TE", "TR", "flip", "thickness", "fov", "matrix", "slices", "bandwidth", "samples", "repetitions"}
    speaking |= {"echoes", "dummies", "refocusing"}
    assert {key for key, p in load(name).parameters.items() if not p.doc} <= speaking


@pytest.mark.parametrize("name", CARTESIAN)
def test_labels_are_in_range(name):
    r = readouts(name)
    _, ny, nz = r.seq.recon.matrix
    assert (r.line.min(), r.line.max()) == (0, ny - 1)
    assert (r.partition.min(), r.partition.max()) == (0, nz - 1)
    assert (r.slice.min(), r.slice.max()) == (0, len(r.seq.recon.slice_positions) - 1)
    assert set(r.reversed) <= {0, 1}


@pytest.mark.parametrize("name", CARTESIAN)
def test_every_line_lies_where_its_labels_say(name):
    """k = 0 at sample N//2 of line N//2, and every other line a whole number of steps from it."""
    r = readouts(name)
    (_, ny, nz), fov = r.seq.recon.matrix, np.asarray(r.seq.recon.fov)
    expected = np.stack([0.0 * r.line, (r.line - ny // 2) / fov[1], (r.partition - nz // 2) / fov[2]], axis=1)
    assert np.abs((r.k - expected) * fov).max() < 1e-6


@pytest.mark.parametrize("name", CARTESIAN)
def test_samples_step_by_one_over_the_field_of_view(name):
    seq = load(name)
    r, instances = readouts(name), readout_instances(seq)
    k, _ = seq.kspace()
    first = np.concatenate([[0], np.cumsum(instances.count)[:-1]])
    step = (k[first + 1] - k[first]) @ seq.geometry.rotation
    oversampling = instances.count / seq.recon.matrix[0]
    expected = np.where(r.reversed == 1, -1.0, 1.0) / (seq.recon.fov[0] * oversampling)
    np.testing.assert_allclose(step[:, 0], expected, rtol=1e-6)
    assert np.abs(step[:, 1:]).max() < 1e-6 / seq.recon.fov[1]


@pytest.mark.parametrize("name", CARTESIAN)
def test_every_line_is_sampled_once_per_slice_echo_and_repetition(name):
    r = readouts(name)
    _, ny, nz = r.seq.recon.matrix
    images = np.stack([r.slice, r.echo, r.repetition], axis=1)
    for image in np.unique(images, axis=0):
        line = (r.line * nz + r.partition)[(images == image).all(axis=1)]
        assert np.array_equal(np.sort(line), np.arange(ny * nz))


@pytest.mark.parametrize("name", [n for n in CARTESIAN if n not in ("bssfp", "multi_echo_se")])
def test_echo_time(name):
    r = readouts(name)
    at = r.time[central(r)]
    found = at - before(centers(r.seq, Use.EXCITATION), at)
    assert found == pytest.approx(value(r.seq, "TE"), abs=half_raster(r.seq))


@pytest.mark.parametrize("name", MULTISLICE)
def test_repetition_time_of_each_slice(name):
    slices = (-12e-3, 7e-3)
    seq = load(name, slices=slices, **ROOM.get(name, {}))
    for position in slices:
        pulses = centers(seq, FIRST_PULSE.get(name, Use.EXCITATION), position)
        assert len(pulses) > 1 or name.endswith("epi")
        assert np.diff(pulses) == pytest.approx(value(seq, "TR"), abs=half_raster(seq))


@pytest.mark.parametrize("name", ["fid", "flash_2d", "flash_3d"])
def test_repetition_time(name):
    seq = load(name, **({"repetitions": 3} if name == "fid" else {}))
    assert np.diff(centers(seq, Use.EXCITATION)) == pytest.approx(value(seq, "TR"), abs=half_raster(seq))


@pytest.mark.parametrize("name", SPIN_ECHOES)
def test_refocusing_pulses_lie_halfway(name):
    """Each spin echo is as far from its refocusing pulse as that is from the excitation or the echo before."""
    r = readouts(name)
    excitations, at = centers(r.seq, Use.EXCITATION), r.time[central(r)] if name == "se_epi" else r.time
    pulse = before(centers(r.seq, Use.REFOCUSING), at)
    echoes = at if name == "se_epi" else r.time
    origin = before(np.sort(np.concatenate([excitations, echoes])), pulse)
    assert np.abs((at - pulse) - (pulse - origin)).max() < 2 * half_raster(r.seq)


@pytest.mark.parametrize(("name", "use", "parameter"), [
    ("inversion_recovery_se", Use.INVERSION, "TI"),
    ("mprage", Use.INVERSION, "TI"),
    ("saturation_recovery", Use.SATURATION, "TS"),
])  # fmt: skip
def test_preparation_time(name, use, parameter):
    r = readouts(name)
    excitation = before(centers(r.seq, Use.EXCITATION), r.time[central(r)])
    found = excitation - before(centers(r.seq, use), excitation)
    assert found == pytest.approx(value(r.seq, parameter), abs=half_raster(r.seq))


@pytest.mark.parametrize(("name", "first"), [("multi_echo_se", "spacing"), ("multi_echo_gre", "TE")])
def test_echo_spacing(name, first):
    r = readouts(name)
    te = r.time - before(centers(r.seq, Use.EXCITATION), r.time)
    expected = value(r.seq, first) + r.echo * value(r.seq, "spacing")
    assert te == pytest.approx(expected, abs=2 * half_raster(r.seq))
    assert r.echo.max() == value(r.seq, "echoes") - 1


@pytest.mark.parametrize("name", MULTISLICE)
def test_several_slices(name):
    """Each pulse that selects is declared at the place where its frequency and gradient put it."""
    slices = (-11e-3, 4e-3, 23e-3)
    changes = {"slices": slices} | ROOM.get(name, {})
    seq = load(name, **changes)
    assert [str(violation) for violation in seq.check()] == []
    np.testing.assert_allclose(seq.recon.slice_positions, slices)
    pulses = pulse_instances(seq)
    selective = np.isfinite(seq.rf.thickness[pulses.event])
    gradient = total_gradient(gradient_tracks(seq), pulses.center)[selective] @ seq.geometry.rotation[:, 2]
    event = pulses.event[selective]
    np.testing.assert_allclose(seq.rf.frequency[event], gradient * seq.rf.position[event], rtol=1e-9)
    r = readouts(name, **changes)
    for index, position in enumerate(slices):
        excitations = centers(seq, Use.EXCITATION, position)
        mine = r.start[r.slice == index]
        nearest = before(np.sort(centers(seq, Use.EXCITATION)), mine)
        assert np.isin(nearest, excitations).all()


def test_bssfp_is_balanced():
    seq = load("bssfp")
    moment = total_moment(gradient_tracks(seq), centers(seq, Use.EXCITATION))
    assert np.abs(np.diff(moment, axis=0)).max() < 1e-9 / seq.recon.fov[0]


def test_bssfp_is_prepared_and_alternates():
    seq = load("bssfp")
    pulses = pulse_instances(seq)
    phase, flip = seq.rf.phase[pulses.event], seq.rf.flip[pulses.event]
    assert np.cos(np.diff(phase)) == pytest.approx(-1.0)
    assert flip[0] == pytest.approx(value(seq, "flip") / 2)
    assert flip[1:] == pytest.approx(value(seq, "flip"))
    assert pulses.center[1] - pulses.center[0] == pytest.approx(value(seq, "TR") / 2, abs=half_raster(seq))
    r = readouts("bssfp")
    echo = r.time - before(centers(seq, Use.EXCITATION), r.time)
    assert echo == pytest.approx(value(seq, "TR") / 2, abs=half_raster(seq))
    receiver = seq.adc.phase[readout_instances(seq).event]
    nearest = phase[np.searchsorted(pulses.center, r.time) - 1]
    assert np.cos(receiver - nearest) == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["multi_echo_se", "t2_tse"])
def test_trains_meet_the_cpmg_condition(name):
    """Equal moments between refocusing pulses, half of that before the first, and phases 90 degrees apart."""
    seq = load(name)
    pulses = pulse_instances(seq)
    use = seq.rf.use[pulses.event]
    moment = total_moment(gradient_tracks(seq), pulses.center)
    step, after_refocusing = np.diff(moment, axis=0), use[:-1] == Use.REFOCUSING
    between = step[after_refocusing & (use[1:] == Use.REFOCUSING)]
    first = step[(use[:-1] == Use.EXCITATION) & (use[1:] == Use.REFOCUSING)]
    scale = 1e-6 / seq.recon.fov[0]
    assert np.abs(between - between[0]).max() < scale
    assert np.abs(2 * first - between[0]).max() < scale
    phase = seq.rf.phase[pulses.event]
    assert np.cos(phase[use == Use.REFOCUSING] - phase[0]) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("name", ["flash_2d", "flash_3d", "multi_echo_gre", "mprage"])
def test_gradient_spoiling_is_the_same_in_every_repetition(name):
    """Whole cycles per voxel along read, the same moment in every TR: phase and partition encoding is rewound."""
    seq = load(name)
    moment = total_moment(gradient_tracks(seq), centers(seq, Use.EXCITATION)) @ seq.geometry.rotation
    step = np.diff(moment, axis=0)
    if name == "mprage":
        step = step[np.diff(centers(seq, Use.EXCITATION)) < 2 * value(seq, "spacing")]
    voxel = seq.recon.fov[0] / seq.recon.matrix[0]
    assert np.abs(step - step[0]).max() * voxel < 1e-6
    assert step[0, 0] * voxel == pytest.approx(2.0, abs=1e-6)
    assert step[0, 1] * voxel == pytest.approx(0.0, abs=1e-6)
    if name != "flash_2d":  # which leaves the first half of its slice gradient to the spoiling
        cycles = step[0, 2] * seq.recon.fov[2] / seq.recon.matrix[2]
        assert cycles == pytest.approx(round(cycles), abs=1e-6)


@pytest.mark.parametrize("name", ["spin_echo", "inversion_recovery_se", "saturation_recovery"])
def test_free_decay_of_refocusing_pulses_goes_to_the_edge_of_the_image(name):
    """Excitation and receiver change sign from line to line together, refocusing does not: what it excites itself
    alternates in the samples, and lies half a field of view away from the middle."""
    seq = load(name)
    pulses = pulse_instances(seq)
    use = seq.rf.use[pulses.event]
    sign = lambda phase: np.exp(1j * phase)  # noqa: E731
    excited = sign(seq.rf.phase[pulses.event][use == Use.EXCITATION])
    np.testing.assert_allclose(excited[1:], -excited[:-1], atol=1e-9)
    assert np.ptp(seq.rf.phase[pulses.event][use == Use.REFOCUSING]) == 0.0
    received = sign(seq.adc.phase[seq.blocks.adc[seq.blocks.adc >= 0]])
    np.testing.assert_allclose(received, excited[-len(received) :], atol=1e-9)


@pytest.mark.parametrize("name", ["flash_2d", "flash_3d", "multi_echo_gre", "mprage", *GRIDDED])
def test_rf_spoiling_is_quadratic(name):
    seq = load(name)
    pulses = pulse_instances(seq)
    phase = seq.rf.phase[pulses.event][seq.rf.use[pulses.event] == Use.EXCITATION]
    increment = np.exp(1j * np.diff(phase, n=2))
    assert np.abs(increment - np.exp(1j * value(seq, "spoil"))).max() < 1e-9


@pytest.mark.parametrize("name", ["gre_epi", "se_epi"])
def test_epi_lines_alternate(name):
    r = readouts(name)
    assert np.array_equal(r.reversed, r.line % 2)
    assert np.array_equal(r.line, np.arange(r.seq.recon.matrix[1]))
    assert np.ptp(np.diff(r.start)) < 1e-12


@pytest.mark.parametrize(("name", "at"), [("radial_flash", "center"), ("spiral_gre", "start")])
def test_gridded_sequences_pass_k_zero_at_the_echo_time(name, at):
    """At sample N//2 of a spoke; where a spiral's sampling begins, half a dwell time before its first sample."""
    seq = load(name)
    r = readout_instances(seq)
    k, time = seq.kspace()
    first = np.concatenate([[0], np.cumsum(r.count)[:-1]])
    step = 1 / seq.recon.fov[0]
    sample = first + (r.count // 2 if at == "center" else 0)
    assert np.linalg.norm(k[sample], axis=1).max() < (1e-6 if at == "center" else 2e-3) * step
    moment = time[sample] if at == "center" else r.start
    echo = moment - before(centers(seq, Use.EXCITATION), moment)
    assert echo == pytest.approx(value(seq, "TE"), abs=half_raster(seq))
    assert np.diff(centers(seq, Use.EXCITATION)) == pytest.approx(value(seq, "TR"), abs=half_raster(seq))


@pytest.mark.parametrize("name", GRIDDED)
def test_gridded_sequences_reach_the_edge_of_k_space_and_leave_no_gap(name):
    """All around, to half a cycle per voxel, with neighbors nearer than one over the field of view."""
    seq = load(name)
    k, _ = seq.kspace()
    n, fov = seq.recon.matrix[0], seq.recon.fov[0]
    radius, turn = np.hypot(k[:, 0], k[:, 1]) * fov, np.arctan2(k[:, 1], k[:, 0])
    assert radius.max() == pytest.approx(n / 2, abs=0.2)
    sector = np.floor((turn + np.pi) / (2 * np.pi) * 16).astype(int) % 16
    for one in range(16):
        assert np.diff(np.sort(radius[sector == one])).max() < 1.0
    rim = np.sort(turn[radius > n / 2 - 1])
    assert np.diff(rim).max() * n / 2 < (
        1.0 if name == "radial_flash" else 2 * np.pi / seq.parameters["shots"].value * n
    )


@pytest.mark.parametrize("name", GRIDDED)
def test_gridded_sequences_spoil_along_the_slice_alone(name):
    """Nothing in the plane, where the gradients turn, and four whole cycles per slice in every repetition."""
    seq = load(name)
    step = np.diff(total_moment(gradient_tracks(seq), centers(seq, Use.EXCITATION)), axis=0)
    voxel = seq.recon.fov[0] / seq.recon.matrix[0]
    assert np.abs(step[:, :2]).max() * voxel < 1e-4  # samples are extrapolated to the edges of their raster
    assert step[:, 2] * value(seq, "thickness") == pytest.approx(4.0, abs=1e-6)


@pytest.mark.parametrize("changes", [
    {"shots": 1, "TR": 0.1}, {"shots": 24}, {"slew": "150 T/m/s", "gradient": "35 mT/m"}, {"matrix": 64, "fov": 0.3},
    {"gradient": "8 mT/m", "TR": "60 ms"},
])  # fmt: skip
def test_any_spiral_plays(changes):
    seq = load_sequence("spiral_gre", **changes)
    assert [str(violation) for violation in seq.check()] == []
    k, _ = seq.kspace()
    assert np.hypot(k[:, 0], k[:, 1]).max() * seq.recon.fov[0] == pytest.approx(seq.recon.matrix[0] / 2, abs=0.5)


def test_the_page_of_sequences_is_current():
    page = (library_folder("sequences").parent / "docs" / "sequences.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    assert sorted(rows) == NAMES
    for name, row in rows.items():
        seq = load_sequence(name)
        assert seq.description in row
        assert seq.reference in row
        for key, parameter in seq.parameters.items():
            first, *others = parameter.value if isinstance(parameter.value, tuple) else (parameter.value,)
            shown = ", ".join(show(one, parameter.dimension) for one in (first, *others))
            text = f"[{shown}]" if isinstance(parameter.value, tuple) else shown
            assert f"`{key}` {text}" in row
