"""Echo-planar lines: samples on ramps, gradients that lag behind, and lines that were left out."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

import mrisim as mr
from mrisim.data import RawData, ReadoutTable, ReconSpec
from mrisim.errors import ConsistencyError
from mrisim.events.moments import readout_instances
from mrisim.events.readouts import readout_table
from mrisim.recon import partial, reconstruct
from mrisim.recon.ramps import MARGIN, interpolation, uneven

FOV = 0.22
CENTER, AXES = (0.021, -0.013), (0.045, 0.06)
RAMPS = 1e-2  # of the largest value: the support is wider than the object, and nothing is known beyond the samples


@lru_cache
def sequence(**changes):
    options = {"matrix": 48, "directions": 1, "b": "200 s/mm^2", "dummies": 0, "partial": 1, "zeros": 1, "TE": "80 ms"}
    return mr.load_sequence("dwi_se_epi", **(options | changes))


def lagging(seq, delay):
    """k of each sample where the gradient is that much late; what is found in the blocks knows nothing of it."""
    k, time = seq.kspace()
    instances = readout_instances(seq)
    true = k.copy()
    for start, count in zip(np.cumsum(instances.count) - instances.count, instances.count, strict=True):
        part = slice(start, start + count)
        true[part, 0] = np.interp(time[part] - delay, time[part], k[part, 0])
    return true


def scan(scans, seq, delay=0.0):
    """Raw data of an ellipse."""
    k, time = seq.kspace()
    signal = scans.ellipse(lagging(seq, delay), CENTER, *AXES)
    return RawData(signal=signal[None], k=k, time=time, readouts=readout_table(seq), recon=seq.recon)


def image(raw, **options):
    """Without the sequence's window, which the raw data on the grid do not name."""
    return reconstruct(raw, window="none", recon=replace(raw.recon, **({"partial_fourier": "zero"} | options)))


def cartesian(scans, n=48, lines=None, turn=0.0):
    """Raw data of the same ellipse on the grid, with a phase that turns along read [rad/m]."""
    shift = [turn / (2 * np.pi), 0, 0]

    def transform(k, *_):
        return np.exp(1.1j * (turn != 0)) * scans.ellipse(k - shift, CENTER, *AXES)

    return scans.acquire(transform, (n, n, 1), (FOV, FOV, 4e-3), lines=lines)


# -- ramps -------------------------------------------------------------------------------------------------------------


def test_lines_sampled_on_ramps_give_the_image_of_the_grid(scans):
    found, expected = image(scan(scans, sequence())).data[0, 0], image(cartesian(scans)).data[0, 0]
    assert np.abs(found - expected).max() < RAMPS * np.abs(expected).max()


def test_samples_on_the_grid_stay_what_they_are():
    k = np.arange(12.0) - 6
    np.testing.assert_allclose(interpolation(k, k, 1.0), np.eye(12), atol=2e-5)  # the ridge


def test_interpolation_of_crowded_samples_is_that_of_the_object():
    """Points within the support, from samples on a ramp; and noise grows little."""
    k = np.cumsum(np.minimum(0.03 * np.arange(80), 0.5)) - 18
    wanted = np.arange(-15.0, 15.0)
    weights = interpolation(k, wanted, MARGIN)
    for x in (-0.48, -0.11, 0.37):
        found = weights @ np.exp(-2j * np.pi * k * x)
        assert (
            np.abs(found - np.exp(-2j * np.pi * wanted * x)).max() < 5e-3
        )  # at the edge of the field of view, next to the ramp
    assert np.linalg.norm(weights, axis=1).max() < 1.5


def test_lines_in_equal_steps_are_told_from_ramps(scans):
    raw = scans.acquire(lambda k, *_: scans.point(k, (0.01, 0.02, 0), 1e-6), (16, 16, 1), (FOV, FOV, 4e-3))
    assert not uneven(raw, raw.recon)
    assert uneven(scan(scans, sequence()), sequence().recon)


APART = r"samples must be at most 1 / fov apart, but some are 1\.29\d* / fov apart\. Raise the bandwidth or lower"
SHORT = r"samples must reach from -145\.\d* to .*, but those of a readout run from .*\. Sample more of the ramps, or"


@pytest.mark.parametrize(("change", "message"), [
    ({"fov": (0.6, 0.6, 4e-3)}, APART), ({"matrix": (64, 64, 1)}, SHORT),
])  # fmt: skip
def test_lines_that_make_no_image(scans, change, message):
    raw = scan(scans, sequence())
    with pytest.raises(ConsistencyError, match=message):
        reconstruct(raw, recon=replace(raw.recon, **change))


# -- ghost -------------------------------------------------------------------------------------------------------------


def zigzag(scans, shift, reference=True):
    """A point from lines that run forward and backward in turn, off by a shift of k each way [1/m]."""
    n, x, y = 32, 0.031, 0.024
    lines = [(n // 2, i % 2, 1) for i in range(3)] * reference + [(line, line % 2, 0) for line in range(n)]
    grid = (np.arange(n) - n // 2) / FOV
    k, signal = [], []
    for line, back, navigator in lines:
        kx = grid[::-1] if back else grid
        ky = 0.0 if navigator else (line - n // 2) / FOV
        k.append(np.stack([kx, np.full(n, ky), np.zeros(n)], axis=1))
        true = k[-1] + [shift if back else -shift, 0, 0]
        signal.append(np.exp(-2j * np.pi * true @ [x, y, 0]))
    table = ReadoutTable(
        start=np.arange(len(lines)) * n, count=np.full(len(lines), n), dwell=np.full(len(lines), 1e-6),
        **{name: np.full(len(lines), 0.05) for name in ("te", "ti", "tr", "flip")},
        labels={name: np.array(lines)[:, i] for i, name in enumerate(("LIN", "REV", "NAV"))},
    )  # fmt: skip
    spec = ReconSpec(method="cartesian", matrix=(n, n, 1), fov=(FOV, FOV, 4e-3))
    signal = np.concatenate(signal)[None]
    raw = RawData(signal=signal, k=np.concatenate(k), time=np.arange(signal.size) * 1e-6, readouts=table, recon=spec)
    return raw, x, y


def along_y(data, x, y):
    """Share of a point that appears at y, and half a field of view beside it."""
    n = data.shape[-1]
    kspace = np.fft.fft2(np.fft.ifftshift(data))
    k = np.fft.fftfreq(n) * n / FOV
    column = np.exp(2j * np.pi * k * x) @ kspace.T / n
    return [abs(np.exp(2j * np.pi * k * place) @ column) / n for place in (y, y + FOV / 2)]


def test_a_shift_of_k_makes_a_ghost_half_a_field_of_view_away(scans):
    """Forward and backward lines turn by ±2π·shift·x, so the parts are its cosine and its sine."""
    shift = 0.21 / FOV
    raw, x, y = zigzag(scans, shift)
    body, ghost = along_y(image(raw, ghost="keep").data[0, 0], x, y)
    assert ghost / body == pytest.approx(abs(np.tan(2 * np.pi * shift * x)), rel=1e-6)
    body, ghost = along_y(image(raw).data[0, 0], x, y)
    assert ghost / body < 1e-9


def test_without_reference_lines_the_ghost_stays(scans):
    raw, x, y = zigzag(scans, 0.21 / FOV, reference=False)
    body, ghost = along_y(image(raw).data[0, 0], x, y)
    assert ghost / body > 0.1


def test_reference_lines_that_run_one_way_are_refused(scans):
    raw, *_ = zigzag(scans, 0.0)
    labels = dict(raw.readouts.labels)
    labels["NAV"] = np.where(np.arange(len(raw.readouts)) == 0, 1, 0)
    keep = np.flatnonzero((labels["NAV"] != 0) | (np.arange(len(raw.readouts)) > 2))
    table = replace(
        raw.readouts, labels={name: column[keep] for name, column in labels.items()},
        **{name: getattr(raw.readouts, name)[keep]
           for name in ("start", "count", "dwell", "te", "ti", "ts", "tr", "flip", "b_matrix")},
    )  # fmt: skip
    with pytest.raises(ConsistencyError, match=r"^NAV: must run forward and backward, but readouts 0 to 0 run forward"):
        reconstruct(replace(raw, readouts=table))


@pytest.mark.parametrize("delay", [3e-6, -2e-6])
def test_gradients_that_lag_on_ramps_too_leave_no_ghost(scans, delay):
    still, expected = image(scan(scans, sequence())).data[0, 0], image(cartesian(scans)).data[0, 0]
    late = scan(scans, sequence(), delay)
    assert np.abs(image(late, ghost="keep").data[0, 0] - still).max() > 0.2 * np.abs(expected).max()
    assert np.abs(image(late).data[0, 0] - still).max() < 2 * RAMPS * np.abs(expected).max()


# -- partial Fourier ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["homodyne", "pocs"])
def test_missing_lines_are_completed(scans, method):
    """Phase turns by half a cycle over the object; less than half is left of the error that zeros make."""
    turn, n = np.pi / 0.1, 48
    raw = cartesian(scans, n, np.arange(n // 4, n), turn)
    expected = image(cartesian(scans, n, turn=turn)).data
    error = {m: np.linalg.norm(image(raw, partial_fourier=m).data - expected) for m in ("zero", method)}
    assert error[method] < 0.5 * error["zero"]
    assert not image(raw, partial_fourier=method).findings
    assert "25% of the lines were not acquired" in str(image(raw).findings[0])


@pytest.mark.parametrize("method", ["homodyne", "pocs"])
@pytest.mark.parametrize("early", [True, False])
def test_an_image_without_phase_comes_back_from_either_side(scans, method, early):
    """An even number of lines has one that no other opposes; its absence is the error that cannot be less."""
    n = 48
    raw = cartesian(scans, n, np.arange(n // 4, n) if early else np.arange(1, 3 * n // 4 + 1))
    expected = image(cartesian(scans, n)).data
    least = np.linalg.norm(image(cartesian(scans, n, np.arange(1, n))).data - expected)
    found = image(raw, partial_fourier=method).data
    assert np.linalg.norm(found - expected) < 2 * least
    assert found.real.mean() == pytest.approx(expected.real.mean(), rel=2e-3)


def test_a_full_set_of_lines_is_not_changed(scans):
    raw = scans.acquire(lambda k, *_: scans.ellipse(k, CENTER, *AXES), (16, 16, 1), (FOV, FOV, 4e-3))
    np.testing.assert_array_equal(image(raw, partial_fourier="pocs").data, image(raw).data)


@pytest.mark.parametrize(("lines", "rule"), [
    ([*range(4, 9), *range(10, 16)], "lines must be sampled without a gap and alike in all images, but are not"),
    (range(7, 16), "at least 4 lines must be sampled on both sides of k = 0, but 1 are"),
])  # fmt: skip
def test_lines_that_cannot_be_completed(scans, lines, rule):
    raw = scans.acquire(lambda k, *_: scans.ellipse(k, CENTER, *AXES), (16, 16, 1), (FOV, FOV, 4e-3), lines=lines)
    with pytest.raises(ConsistencyError, match=rule):
        image(raw, partial_fourier="homodyne")


def test_homodyne_of_a_real_image_is_exact_but_for_the_line_without_a_partner():
    """Where the phase is known to be zero, as that of a positive band-limited image is."""
    n, y = 32, (np.arange(32) - 16) / 32
    real = 2 + np.cos(2 * np.pi * 2 * y)[:, None] + 0.4 * np.sin(2 * np.pi * 11 * y)[:, None] * np.ones(n)
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(real)))[None, None] / n**2
    kspace[..., :8, :] = 0.0
    for method in (partial.homodyne, partial.pocs):
        found = method(kspace, 8, n - 1, (-2, -1))[0, 0]
        np.testing.assert_allclose(found, real, atol=1e-9 if method is partial.homodyne else 1e-2)


def test_lines_on_ramps_go_through_an_ismrmrd_file(scans, tmp_path):
    """With their trajectory, since no counter says where such samples lie; they come back for gridding."""
    raw = scan(scans, sequence())
    mr.save(tmp_path / "epi.mrd", raw)
    found = reconstruct(mr.load(tmp_path / "epi.mrd")).magnitude[0, 0]
    expected = image(raw).magnitude[0, 0]
    inside = expected > 0.5 * expected.max()
    assert found[inside].mean() == pytest.approx(expected[inside].mean(), rel=0.01)  # a gridded edge is softer
