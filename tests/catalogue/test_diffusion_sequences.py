"""Diffusion-weighted sequences: what their blocks play is the weighting, the times and the lines that they name."""

from functools import lru_cache

import numpy as np
import pytest

import mrisim as mr
from mrisim.events.blocks import Use
from mrisim.events.moments import pulse_instances, readout_instances
from mrisim.events.readouts import readout_table
from mrisim.sequence.directions import even_directions
from mrisim.units import B_VALUE, show

NAMES = ["dwi_se_epi", "dti_se_epi", "ivim", "dwi_steam", "ogse", "trse_epi"]
S_MM2 = 1e6  # one s/mm² in s/m²
IVIM = [0, 10, 20, 30, 40, 50, 75, 100, 150, 200, 300, 400, 500, 600, 800, 1000]


@lru_cache
def load(name, **changes):
    return mr.load_sequence(name, **changes)


def half_raster(seq):
    return 0.5 * seq.system.block_raster * (1 + 1e-6)


@lru_cache
def lines(name, **changes):
    """The sequence, its readouts, and the logical k of each sample in steps of 1 / fov."""
    seq = load(name, **changes)
    instances = readout_instances(seq)
    k = (seq.kspace()[0] @ seq.geometry.rotation) * np.asarray(seq.recon.fov)
    return seq, readout_table(seq), np.split(k, np.cumsum(instances.count)[:-1])


def central(seq, table):
    """Readouts through k = 0, one per image, in order of SET."""
    rows = np.flatnonzero((table.label("NAV") == 0) & (table.label("LIN") == seq.recon.matrix[1] // 2))
    return rows[np.argsort(table.label("SET")[rows], kind="stable")]


def asked(seq):
    """b and direction of each image, from the parameters."""
    values = {name: parameter.value for name, parameter in seq.parameters.items()}
    axes = even_directions(values["directions"])
    shells = [(b, axis) for b in values["b"] for axis in axes]
    return [(0.0, np.zeros(3))] * values["zeros"] + shells


@pytest.mark.parametrize("name", NAMES)
def test_each_image_has_the_weighting_that_is_asked_for(name):
    """Of the whole b-matrix: b d dᵀ, and what imaging gradients add: their own b, and a cross term with the lobes.

    Slice selection and crushers lie along z, so the cross terms are in that row and column; the imaging gradients'
    own b is that of the first image.
    """
    seq, table, _ = lines(name, matrix=16)
    rows = central(seq, table)
    expected = asked(seq)
    assert len(rows) == len(expected)
    own = table.b_matrix[rows[0]]
    assert np.trace(own) < 10 * S_MM2
    for row, (b, direction) in zip(rows, expected, strict=True):
        rest = table.b_matrix[row] - own - b * np.outer(direction, direction)
        assert np.abs(rest[:2, :2]).max() < 2e-6 * b + 1e-6 * S_MM2
        cross = 2 * np.sqrt(b * np.trace(own))  # Cauchy and Schwarz: no pair of gradients has more
        assert np.abs(rest).max() <= cross + 1e-6 * S_MM2


def test_the_second_b_value_is_the_nominal_one_where_no_gradient_crosses():
    """Along read: the trace is nominal but for 0.4 s/mm² of imaging."""
    seq, table, _ = lines("dwi_se_epi", matrix=16)
    b = np.trace(table.b_matrix[central(seq, table)], axis1=1, axis2=2) / S_MM2
    assert b[[0, 1, 2, 4, 5]] == pytest.approx([0, 500, 500, 1000, 1000], abs=0.4)


def test_twice_refocused_lobes_do_not_cross_with_crushers():
    """The sign of the lobes changes within each pulse's crushers, so that also slice directions are as asked."""
    seq, table, _ = lines("trse_epi", matrix=16)
    b = np.trace(table.b_matrix[central(seq, table)], axis1=1, axis2=2) / S_MM2
    assert b - b[0] == pytest.approx([0, 500, 500, 500, 1000, 1000, 1000], abs=0.01)


@pytest.mark.parametrize(("name", "expected"), [
    ("dwi_se_epi", [0, *[500] * 3, *[1000] * 3]), ("dti_se_epi", [*[0] * 6, *[1000] * 30]),
    ("ivim", [0, *np.repeat(IVIM[1:], 3)]),
])  # fmt: skip
def test_the_library_asks_for(name, expected):
    found = [b for b, _ in asked(load(name, matrix=16))]
    assert [show(b, B_VALUE) for b in found] == [show(b * S_MM2, B_VALUE) for b in expected]


@pytest.mark.parametrize("changes", [
    {}, {"matrix": 64, "TE": "60 ms"}, {"partial": 1, "TE": "0.11 s"}, {"polarity": -1, "slices": (-11e-3, 7e-3)},
    {"partial": 0.6, "polarity": -1, "fov": 0.3, "bandwidth": "500 kHz"},
])  # fmt: skip
def test_every_line_lies_where_its_labels_say(changes):
    """Along read each line covers ±N/2 steps, finely enough; along phase it stays on its place."""
    seq, table, k = lines("dwi_se_epi", directions=1, b=100e6, dummies=0, **changes)
    assert [str(violation) for violation in seq.check()] == []
    nx, ny, _ = seq.recon.matrix
    for row, line in enumerate(k):
        across = line[:, 1] - (0.0 if table.label("NAV")[row] else table.label("LIN")[row] - ny // 2)
        assert np.abs(across).max() < 1e-6
        assert np.abs(np.diff(line[:, 0])).max() <= 0.52  # twice the field of view, but for ramps on the raster
        assert line[:, 0].min() <= -nx / 2 + 0.25
        assert line[:, 0].max() >= nx / 2 - 1 - 0.25
        assert (line[-1, 0] < line[0, 0]) == bool(table.label("REV")[row])


@pytest.mark.parametrize("name", NAMES)
def test_k_is_zero_at_the_echo_time(name):
    seq, table, k = lines(name, matrix=16, zeros=1, b=50e6, directions=1)
    for row in central(seq, table):
        assert np.abs(k[row][len(k[row]) // 2]).max() < 1e-6
        assert table.te[row] == pytest.approx(seq.parameters["TE"].value, abs=4 * half_raster(seq))


@pytest.mark.parametrize(("partial", "before"), [(1, 64), (0.75, 32), (0.6, 12)])
@pytest.mark.parametrize("polarity", [1, -1])
def test_partial_fourier_leaves_out_the_lines_that_come_first(partial, before, polarity):
    _, table, _ = lines("dwi_se_epi", partial=partial, polarity=polarity, TE="0.11 s", directions=1, b=100e6)
    mine = (table.label("SET") == 0) & (table.label("NAV") == 0)
    found = table.label("LIN")[mine]
    first = 64 - polarity * before
    expected = np.arange(first, 128) if polarity == 1 else np.arange(min(first, 127), 0, -1)
    np.testing.assert_array_equal(found, expected)


def test_three_reference_lines_run_forward_backward_forward_before_each_image():
    _, table, _ = lines("dwi_se_epi", matrix=16)
    navigator = table.label("NAV") != 0
    first = np.flatnonzero(np.diff(navigator.astype(int), prepend=0) == 1)
    assert len(first) == 7
    for row in first:
        assert table.label("REV")[row : row + 4].tolist() == [0, 1, 0, 0]
        assert navigator[row : row + 4].tolist() == [True, True, True, False]


def test_a_stimulated_echo_stores_for_the_mixing_time():
    seq = load("dwi_steam", matrix=16)
    pulses = pulse_instances(seq)
    use = seq.rf.use[pulses.event]
    store, recall, excite = (pulses.center[use == kind] for kind in (Use.STORAGE, Use.RECALL, Use.EXCITATION))
    assert recall - store == pytest.approx(seq.parameters["TM"].value, abs=half_raster(seq))
    assert store - excite == pytest.approx(seq.parameters["TE"].value / 2, abs=half_raster(seq))


@pytest.mark.parametrize("frequency", [25, 50, 100])
def test_oscillating_lobes_have_the_frequency_that_is_asked_for(frequency):
    """The spectrum of the lobe has its maximum there."""
    seq = load("ogse", frequency=frequency, b=30e6, matrix=16)
    lobe = max(seq.gradient_shapes, key=lambda shape: len(shape.times))
    t = np.linspace(0, lobe.times[-1], 4096)
    f = np.linspace(5, 300, 2000)
    spectrum = np.abs(np.exp(-2j * np.pi * f[:, None] * t) @ np.interp(t, lobe.times, lobe.values))
    assert lobe.times[-1] * frequency == pytest.approx(round(lobe.times[-1] * frequency))
    assert f[spectrum.argmax()] == pytest.approx(frequency, rel=0.3 / (lobe.times[-1] * frequency))


# -- what the images show ----------------------------------------------------------------------------------------------

PLACE = np.array([0.031, -0.022, 0.0])


def shifted(polarity, off_resonance, frequency=0.0):
    """Place of a point in the image along read and phase, in voxels from where it is."""
    seq = load("dwi_se_epi", matrix=32, directions=1, b=0.0, zeros=1, dummies=0, TE="60 ms", fat=0.0, polarity=polarity)
    point = mr.Phantom.from_arrays(position=PLACE[None], t1=1.0, t2=0.1, df=off_resonance + frequency)
    raw = mr.simulate(seq, point, pulses="ideal", tolerance=1e-5)
    image = mr.reconstruct(raw).data[0, 0]
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image)))[10:23, 10:23]
    step = [np.angle(np.sum(np.roll(kspace, -1, axis)[:-1, :-1] * np.conj(kspace[:-1, :-1]))) for axis in (1, 0)]
    spacing = 0.22 / 32
    spacings = [d for d, n in zip(seq.blocks.duration, seq.blocks.name, strict=True)
                if seq.block_names[n] == "forward + blip"]  # fmt: skip
    return -np.array(step) * 32 / (2 * np.pi) - PLACE[:2] / spacing, spacings[0]


@pytest.mark.parametrize("polarity", [1, -1])
@pytest.mark.parametrize("off_resonance", [43.0, -3.4e-6 * 127.74e6 / 4])
def test_off_resonance_shifts_along_phase_and_turns_around_with_the_blips(polarity, off_resonance):
    """By off-resonance · echo spacing · lines [voxels]; the second one is a fourth of the shift of fat at 3 T."""
    found, spacing = shifted(polarity, off_resonance)
    expected = polarity * off_resonance * spacing * 32
    assert abs(expected) > 0.3
    assert found[1] == pytest.approx(expected, abs=0.05)
    assert found[0] == pytest.approx(0.0, abs=0.05)
