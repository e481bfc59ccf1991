"""One off-centre, off-resonant point in every sequence of the library: where it lands, and with which phase.

The prediction is s(t) = A exp(-2 pi i (k·(r - center) + df tau)) within each readout, with tau the time since the
excitation, mirrored by refocusing pulses; A is i times a positive number (a 90 degree pulse of phase 0 takes +z to +y).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from physics.build import ADC, MS, RF, Block, build, lobe, spins

from mrisim.data import Phantom
from mrisim.events.blocks import RFShape, Sequence, Use
from mrisim.events.moments import pulse_instances
from mrisim.recon import reconstruct
from mrisim.sequence import list_sequences, load_sequence
from mrisim.simulate import simulate, trace

FOV = "[200 mm, 160 mm]"
DEPTH = 8e-3  # of the slice [m]
POINT = np.array([31e-3, -42e-3, DEPTH])


@dataclass(frozen=True, kw_only=True)
class Case:
    """How a sequence is made small, and what is special about it."""

    options: dict[str, Any]
    df: float = 90.0  # [Hz]
    spoiling: str = "gradient"
    selective: bool = True
    echo_like: bool = False  # refocuses off-resonance at the echo without a refocusing pulse
    sign: float = 1.0  # of A
    t1: float = 0.25


SPIN_ECHO = {"matrix": "[16, 16]", "fov": FOV, "slices": "[8 mm]", "bandwidth": "12.5 kHz"}
CASES = {
    "spin_echo": Case(options=SPIN_ECHO | {"TE": "20 ms"}),
    "t1_spin_echo": Case(options=SPIN_ECHO | {"TE": "20 ms"}),
    "t2_spin_echo": Case(options=SPIN_ECHO),
    "pd_spin_echo": Case(options=SPIN_ECHO | {"TE": "20 ms"}),
    "inversion_recovery_se": Case(options=SPIN_ECHO | {"TE": "20 ms"}, sign=1.0),
    "saturation_recovery": Case(options=SPIN_ECHO | {"TE": "20 ms"}),
    "multi_echo_se": Case(options=SPIN_ECHO | {"echoes": 3, "spacing": "12 ms"}),
    "t2_tse": Case(options=SPIN_ECHO | {"train": 4, "TE": "36 ms"}),
    "flash_2d": Case(
        options={"matrix": "[16, 16]", "fov": FOV, "position": "8 mm", "bandwidth": "12.5 kHz"}, spoiling="ideal"
    ),
    "multi_echo_gre": Case(
        options={"matrix": "[16, 16]", "fov": FOV, "slices": "[8 mm]", "bandwidth": "20 kHz", "echoes": 3},
        spoiling="ideal",
    ),
    "bssfp": Case(options={"matrix": "[16, 16]", "fov": FOV, "slices": "[8 mm]", "bandwidth": "12.5 kHz"}, df=40.0,
                  echo_like=True),
    "gre_epi": Case(options=SPIN_ECHO | {"bandwidth": "50 kHz"}, spoiling="ideal"),
    "se_epi": Case(options=SPIN_ECHO | {"bandwidth": "50 kHz"}),
    "flash_3d": Case(
        options={"matrix": "[16, 8, 8]", "fov": "[200 mm, 160 mm, 80 mm]", "bandwidth": "20 kHz"},
        spoiling="ideal", selective=False,
    ),
    "mprage": Case(
        options={"matrix": "[16, 8, 8]", "fov": "[200 mm, 160 mm, 80 mm]", "bandwidth": "20 kHz"}
        | {"TR": "1.2 s", "TI": "500 ms"},
        spoiling="ideal", selective=False,
    ),
}  # fmt: skip


def point(seq: Sequence, case: Case, at: np.ndarray = POINT) -> Phantom:
    """A point; for a selective sequence a row of spins through the slice, so that crushers find something to crush."""
    axis = seq.geometry.rotation[:, 2]
    n, reach = (601, 3 * 5e-3) if case.selective else (1, 0.0)
    offsets = (np.arange(n) - (n - 1) / 2) * reach / n
    return spins(position=at + offsets[:, None] * axis, t1=case.t1, t2=0.2, df=case.df)


def unrefocused_time(seq: Sequence, time: np.ndarray) -> np.ndarray:
    """Time since the last excitation, mirrored by refocusing pulses [s]."""
    pulses = pulse_instances(seq)
    zero, offsets = 0.0, [0.0]
    for use, center in zip(seq.rf.use[pulses.event], pulses.center, strict=True):
        zero = {Use.EXCITATION: center, Use.REFOCUSING: 2 * center - zero}.get(Use(use), zero)
        offsets.append(zero)
    return time - np.array(offsets)[np.searchsorted(pulses.center, time, side="right")]


def amplitudes(seq: Sequence, raw, case: Case, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Complex amplitude of each readout, and the relative residual of the prediction."""
    tau = unrefocused_time(seq, raw.time)
    if case.echo_like:
        table = raw.readouts
        middle = raw.time[table.start + table.count // 2]
        tau = raw.time - np.repeat(middle, table.count)
    predicted = np.exp(-2j * np.pi * ((raw.k @ (at - seq.geometry.center)) + case.df * tau))
    rows = [slice(s, s + n) for s, n in zip(raw.readouts.start, raw.readouts.count, strict=True)]
    signal = raw.signal[0]
    values = np.array([np.vdot(predicted[r], signal[r]) / (r.stop - r.start) for r in rows])
    rest = [signal[r] - a * predicted[r] for a, r in zip(values, rows, strict=True)]
    return values, np.array([np.linalg.norm(d) / np.linalg.norm(signal[r]) for d, r in zip(rest, rows, strict=True)])


def run(name: str, case: Case, **options):
    seq = load_sequence(name, **case.options, **options)
    raw = simulate(seq, point(seq, case), spoiling=case.spoiling)
    return seq, raw


def peak(image, axis: int) -> float:
    """Place of a point along an axis of an image (x, y, z: 0, 1, 2) by zero filling 32 times [voxels from N//2]."""
    data = image.data[0]
    moved = np.moveaxis(data, 2 - axis, -1)
    line = moved.reshape(-1, moved.shape[-1])
    line = line[np.argmax(np.abs(line).max(axis=1))]
    n, zoom = len(line), 32
    k = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(line)))
    fine = np.exp(2j * np.pi * np.outer(np.arange(n * zoom) / (n * zoom) - 0.5, np.arange(n) - n // 2)) @ k
    return (np.argmax(np.abs(fine)) / (n * zoom) - 0.5) * n


GRIDDED = {
    "radial_flash": Case(options={"matrix": 32, "fov": "200 mm", "slices": "[8 mm]", "spokes": 48}, spoiling="ideal"),
    "spiral_gre": Case(options={"matrix": 32, "fov": "200 mm", "slices": "[8 mm]", "shots": 8}, spoiling="ideal"),
}


BUILT_ALIKE = {  # from parts that the sequences above hold, or held by tests of their own
    "b0_dual_echo", "b1_afi", "b1_bloch_siegert", "b1_dam", "dce_golden_angle", "dce_spgr_3d", "dixon", "dsc_ge_epi",
    "dti_se_epi",
    "dwi_se_epi", "dwi_steam", "ivim", "look_locker", "mp2rage", "mrf_bssfp", "mrf_fisp", "ogse", "stir", "t2_flair",
    "t2_tse_coronal", "trse_epi", "vfa_t1",
}  # fmt: skip


def test_every_sequence_is_held():
    known = {entry[0] for entry in list_sequences()}
    assert CASES.keys() | GRIDDED.keys() | BUILT_ALIKE == known - {"fid"}


@pytest.mark.parametrize("name", GRIDDED)
def test_a_point_lands_in_its_place_off_a_grid_too(name):
    """Phases of all samples off resonance; the place in the image on resonance, which a spiral would blur."""
    case = GRIDDED[name]
    seq, raw = run(name, case)
    values, rest = amplitudes(seq, raw, case, POINT)
    assert rest.max() < 0.05, "within a readout"  # finite pulses: the slice moves by df over its bandwidth
    assert np.abs(np.angle(values / 1j)).max() < 0.15, "phase of the readouts [rad]"
    still = replace(case, df=0.0)
    image = reconstruct(run(name, still)[1])
    logical = seq.geometry.rotation.T @ (POINT - seq.geometry.center)
    for axis in (0, 1):
        assert peak(image, axis) == pytest.approx(logical[axis] / image.grid.spacing[axis], abs=0.1)


@pytest.mark.parametrize("name", CASES)
def test_a_point_has_the_phase_and_the_place_that_the_frame_says(name):
    case = CASES[name]
    seq, raw = run(name, case)
    values, rest = amplitudes(seq, raw, case, POINT)
    assert rest.max() < 0.02, "within a readout"  # finite pulses: the slice moves by df over its bandwidth
    angles = np.angle(values / (1j * case.sign))
    assert np.abs(angles).max() < 0.1, "phase of the readouts [rad]"
    image = reconstruct(raw)
    spacing = image.grid.spacing
    logical = seq.geometry.rotation.T @ (POINT - seq.geometry.center)
    step = np.diff(raw.k[:2], axis=0)[0] @ seq.geometry.rotation[:, 0] / seq.adc.dwell[0]  # gradient [Hz/m]
    shift = case.df / abs(step) if "epi" not in name else 0.0
    assert peak(image, 0) == pytest.approx((logical[0] + shift) / spacing[0], abs=0.1)
    if "epi" in name:
        lines = raw.readouts.start + raw.readouts.count // 2
        shift_y = case.df * (raw.time[lines[1]] - raw.time[lines[0]]) / (raw.k[lines[1], 1] - raw.k[lines[0], 1])
        assert abs(shift_y) / spacing[1] > 0.5
        assert peak(image, 1) == pytest.approx((logical[1] + shift_y) / spacing[1], abs=0.1)
    else:
        assert peak(image, 1) == pytest.approx(logical[1] / spacing[1], abs=0.1)
    if image.data.shape[1] > 1:
        assert peak(image, 2) == pytest.approx(logical[2] / spacing[2], abs=0.1)


def test_fid_turns_as_the_frame_says():
    """After a hard 90 degree pulse of phase 0: M+ = i exp(-2 pi i df t), t from 2/pi of its length before its end."""
    df, length = 130.0, 0.5 * MS
    raw = simulate(load_sequence("fid", duration=length), spins(t1=1.0, t2=0.08, df=df))
    start = pulse_instances(load_sequence("fid", duration=length)).stop[0] - 2 / np.pi * length
    angle = np.angle(raw.signal[0] / (1j * np.exp(-2j * np.pi * df * (raw.time - start))))
    assert np.abs(angle).max() < (2 * np.pi * df * length) ** 2 / 10  # the rule is of first order in df · length


SHORT = {"matrix": "[16, 4]", "fov": FOV, "thickness": "8 mm"}


@pytest.mark.parametrize(
    ("name", "options", "df"),
    [
        ("t2_tse", SHORT | {"train": 4, "TE": "36 ms", "spacing": "18 ms", "TR": "600 ms"}, 23.0),
        ("bssfp", SHORT | {"dummies": 100}, 37.0),
    ],
)
def test_off_centre_slice_equals_the_central_one_of_a_shifted_phantom(name, options, df):
    """Whatever the shift, although no moment of the slice gradient is a whole number of cycles over it.

    With crushers that let a free induction decay through, the two slices differ by the phase of that decay.
    """
    n, reach, shift = 1501, 32e-3, 13.37e-3
    position = np.zeros((n, 3))
    position[:] = POINT
    position[:, 2] = (np.arange(n) - (n - 1) / 2) * reach / n
    signals = []
    for center in (0.0, shift):
        seq = load_sequence(name, slices=[center], **options)
        moved = spins(position=position + np.array([0.0, 0.0, center]), t1=0.6, t2=0.06, df=df)
        signals.append(simulate(seq, moved, dtype="float64", tolerance=1e-6).signal[0])
    central, off = signals
    assert np.linalg.norm(off - central) < 0.01 * np.linalg.norm(central)  # what the crushers leave over


SELECTIVE = """
mrisim: 1
name: one pulse
parameters:
  frequency: {value: 0 Hz}
events:
  excite:
    rf: {shape: sinc, flip: 20 deg, duration: 3 ms, time_bandwidth: 6, window: hann, frequency: frequency}
    gz: {amplitude: 5 mT/m, flat_time: 3.4 ms}
timeline: [excite]
"""


def test_positive_frequency_under_a_positive_gradient_selects_positive_position(tmp_path):
    file = tmp_path / "pulse.yaml"
    file.write_text(SELECTIVE)
    seq = load_sequence(file, frequency="1500 Hz")
    z = np.linspace(-15e-3, 15e-3, 241)
    position = np.zeros((len(z), 3))
    position[:, 2] = z
    m = trace(seq, spins(position=position, t1=np.inf, t2=np.inf), [seq.duration])[0]
    magnitude = np.hypot(m[:, 0], m[:, 1])
    centroid = np.sum(z * magnitude) / np.sum(magnitude)
    assert centroid == pytest.approx(1500 / (seq.system.gamma * 5e-3), abs=0.05e-3)


def test_positive_frequency_excites_spins_that_precess_faster(tmp_path):
    file = tmp_path / "pulse.yaml"
    file.write_text(SELECTIVE.replace("5 mT/m", "0.001 mT/m"))
    df = np.linspace(-3000.0, 3000.0, 201)
    m = trace(load_sequence(file, frequency="1500 Hz"), spins(t1=np.inf, t2=np.inf, df=df), [3.4e-3])[0]
    magnitude = np.hypot(m[:, 0], m[:, 1])
    assert np.sum(df * magnitude) / np.sum(magnitude) == pytest.approx(1500.0, abs=10.0)


def test_a_frequency_equals_a_shape_that_turns():
    """In this frame b1(t) = A(t) exp(i phi) exp(-2 pi i f (t - t_center)): a shape with that phase baked in."""
    f, n, dt = 700.0, 600, 5e-6
    edges = np.arange(n + 1) * dt
    t, center = edges[:-1] + dt / 2, 0.4 * n * dt
    envelope = np.exp(-(((t - center) / (n * dt / 5)) ** 2)).astype(complex)
    plain = RFShape(edges=edges, samples=envelope, center=center)
    baked = RFShape(edges=edges, samples=envelope * np.exp(-2j * np.pi * f * (t - center)), center=center)
    gradient = lobe(400.0, 10e-6, n * dt + 200e-6)
    ends = []
    for shape, frequency in ((plain, f), (baked, 0.0)):
        rf = RF(flip=1.1, phase=0.7, at=100e-6 + center, shape=shape, frequency=frequency, amplitude=120.0)
        seq = build([Block(duration=5 * MS, rf=rf, gz=gradient)])
        position = np.zeros((7, 3))
        position[:, 2] = np.linspace(-4e-3, 5e-3, 7)
        ends.append(trace(seq, spins(position=position, t1=0.5, t2=0.03, df=-210.0), [4.9 * MS])[0])
    # the baked shape holds its phase over dt: a sinc of f dt, and second order of the turn within an interval
    assert np.abs(ends[0] - ends[1]).max() < (np.pi * f * dt) ** 2 / 6


def test_receiver_frequency_and_phase():
    """A spin at +f lands at zero of a receiver at f; the receiver's phase is taken away; shapes likewise."""
    f, phase, t2, n, dwell = 850.0, 1.2, 0.05, 32, 40e-6
    shape = np.random.default_rng(3).uniform(-3, 3, n)
    adc = ADC(at=1 * MS, samples=n, dwell=dwell, phase=phase, frequency=f, shape=shape)
    seq = build([Block(duration=5 * MS, adc=adc)])
    raw = simulate(seq, spins(t1=np.inf, t2=t2, df=f), initial=(1.0, 0.0, 0.0), dtype="float64")
    start = 1 * MS - dwell / 2  # where the receiver's own oscillator has phase zero
    expected = np.exp(-raw.time / t2 - 2j * np.pi * f * start - 1j * phase - 1j * shape)
    assert np.abs(raw.signal[0] - expected).max() < 1e-12 * f * n  # rounding of the phases


ORIENTATIONS = [
    "sagittal",
    "coronal",
    "{plane: axial, about_read: 20 deg, about_slice: 35 deg}",
]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("name", ["spin_echo", "flash_3d", "gre_epi"])
def test_a_point_lands_where_it_must_in_any_geometry(tmp_path, name, orientation):
    """Turned and off-centre package: the point's logical coordinates relative to the center."""
    file = tmp_path / "turned.yaml"
    center = np.array([11e-3, -23e-3, 17e-3])
    text = f"mrisim: 1\nname: turned\nextends: {name}\n"
    text += f"geometry: {{orientation: {orientation}, center: [11 mm, -23 mm, 17 mm]}}\n"
    file.write_text(text)
    case = replace(CASES[name], df=0.0)
    seq = load_sequence(file, **case.options)
    at = center + seq.geometry.rotation @ np.array([31e-3, -42e-3, DEPTH])
    raw = simulate(seq, point(seq, case, at), spoiling=case.spoiling)
    values, rest = amplitudes(seq, raw, replace(case, df=0.0), at)
    assert rest.max() < 0.02
    assert np.abs(np.angle(values / 1j)).max() < 0.1
    image = reconstruct(raw)
    assert peak(image, 0) == pytest.approx(31e-3 / image.grid.spacing[0], abs=0.1)
    assert peak(image, 1) == pytest.approx(-42e-3 / image.grid.spacing[1], abs=0.1)
    voxel = np.unravel_index(np.argmax(image.magnitude[0]), image.data.shape[1:])
    assert image.grid.positions()[voxel] == pytest.approx(at, abs=0.51 * max(image.grid.spacing))
