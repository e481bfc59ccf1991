"""Noise and coils of a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from physics.build import ADC, MS, Block, build, spins

from mrisim.data import ReconSpec
from mrisim.errors import ConsistencyError
from mrisim.physics.coils import CoilArray
from mrisim.recon import reconstruct
from mrisim.sequence import load_sequence
from mrisim.simulate import Noise, simulate
from mrisim.simulate.receive import add_noise, resolve_coils

N = 20_000


def listen(dwell: float = 1e-6, n: int = N, **options):
    """Samples of a spin that gives no signal."""
    seq = build([Block(duration=n * dwell + 1 * MS, adc=ADC(at=0.5 * MS, samples=n, dwell=dwell))])
    return simulate(seq, spins(t1=1.0, t2=0.1), dtype="float64", **options).signal


def test_standard_deviation_is_of_the_real_and_of_the_imaginary_part():
    signal = listen(noise=0.37, seed=3)[0]
    spread = 4 / np.sqrt(2 * N)  # four standard errors of a standard deviation
    assert np.std(signal.real) == pytest.approx(0.37, rel=spread)
    assert np.std(signal.imag) == pytest.approx(0.37, rel=spread)
    assert abs(np.mean(signal)) < 4 * 0.37 * np.sqrt(2 / N)
    assert abs(np.mean(signal.real * signal.imag)) < 4 * 0.37**2 / np.sqrt(N)  # independent


def test_samples_and_coils_are_independent():
    signal = listen(noise=1.0, seed=3, coils=np.ones((2, 1)))
    assert abs(np.vdot(signal[0], signal[1])) / N < 4 * 2 / np.sqrt(N)
    assert abs(np.vdot(signal[0][1:], signal[0][:-1])) / N < 4 * 2 / np.sqrt(N)


def test_seed_decides():
    assert np.array_equal(listen(noise=1.0, seed=5), listen(noise=1.0, seed=5))
    assert not np.array_equal(listen(noise=1.0, seed=5), listen(noise=1.0, seed=6))


def test_variance_of_white_noise_grows_with_the_bandwidth():
    narrow, wide = (listen(dwell, noise=Noise(density=1e-3), seed=1) for dwell in (4e-6, 1e-6))
    assert np.std(wide) / np.std(narrow) == pytest.approx(2.0, rel=4 / np.sqrt(N))
    assert np.std(wide.real) == pytest.approx(1e-3 / np.sqrt(1e-6), rel=4 / np.sqrt(2 * N))


def test_snr_is_that_of_a_voxel_of_water():
    """The real part of an image of noise alone has a standard deviation of 1 over the SNR, water in full being 1."""
    seq = load_sequence("flash_2d", matrix="[64, 64]", dummies=0)
    raw = simulate(seq, spins(t1=1.0, t2=0.1, pd=0.0), noise="snr 40", seed=2, pulses="ideal")
    image = reconstruct(raw).data
    n = image.size
    assert np.std(image.real) == pytest.approx(1 / 40, rel=4 / np.sqrt(2 * n))
    assert [f.topic for f in raw.findings] == ["noise"]
    assert raw.provenance["noise"] == pytest.approx(np.std(raw.signal.real), rel=0.05)


def test_snr_does_not_depend_on_oversampling():
    recon = ReconSpec(method="cartesian", matrix=(32, 32, 1), fov=(0.2, 0.2, 5e-3))
    one, two = (
        Noise(snr=10.0).per_sample(np.full(1, dwell), np.full(1, n), recon)[0] for dwell, n in ((2e-5, 32), (1e-5, 64))
    )
    assert two == pytest.approx(np.sqrt(2) * one)  # twice the samples, each with twice the variance


@pytest.mark.parametrize("value", ["loud", -1.0, float("nan"), "snr 0", "snr"])
def test_noise_that_means_nothing_is_refused(value):
    rule = f"must be a standard deviation of at least 0 or a text such as 'snr 50', but is '{value}'"
    with pytest.raises(ConsistencyError) as caught:
        Noise.of(value)
    assert caught.value.problems[0].rule == rule


def test_snr_without_a_matrix_is_refused():
    with pytest.raises(ConsistencyError, match="states no matrix for an SNR"):
        listen(noise="snr 10")


def test_coils_by_name_number_and_array():
    assert resolve_coils("uniform", 3) is None
    assert resolve_coils("4", 3) == CoilArray(elements=4)
    assert resolve_coils(4, 3) == CoilArray(elements=4)
    assert resolve_coils(np.ones((2, 3)), 3).dtype == complex
    for bad in ("birdcage", 0, np.ones((2, 4)), np.full((2, 3), np.nan)):
        with pytest.raises(ConsistencyError):
            resolve_coils(bad, 3)


def test_coil_array_receives_with_its_sensitivity_at_the_spins():
    position = np.array([[0.02, -0.05, 0.01]])
    seq = build([Block(duration=2 * MS, adc=ADC(at=1 * MS, samples=3, dwell=1e-4))])
    array = CoilArray(elements=5)
    many = simulate(seq, spins(position=position), initial=(0.6, 0.8, 0.0), coils=array, dtype="float64").signal
    one = simulate(seq, spins(position=position), initial=(0.6, 0.8, 0.0), dtype="float64").signal
    assert many == pytest.approx(array.sensitivity(position)[:, 0][:, None] * one, abs=1e-12)


def test_no_noise_leaves_the_signal_alone():
    signal = np.arange(6.0).reshape(2, 3) + 1j
    assert np.array_equal(add_noise(signal, np.zeros(3), 1), signal)
    assert replace(Noise(std=0.0)).per_sample(np.ones(2), np.ones(2), None).tolist() == [0.0, 0.0]
