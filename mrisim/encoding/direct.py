"""Direct summation in float64 on the host: slow, plain, and what every other path is held against."""

from __future__ import annotations

import numpy as np

from mrisim._types import Complex, Float


def direct_sum(
    m: Complex[np.ndarray, " spins"],
    k: Float[np.ndarray, "samples 3"],
    delay: Float[np.ndarray, " samples"],
    position: Float[np.ndarray, "spins 3"],
    df: Float[np.ndarray, " spins"],
    r2: Float[np.ndarray, " spins"],
) -> Complex[np.ndarray, " samples"]:
    """s_j = sum over n of m_n exp(-tau_j r2_n) exp(-2 pi i (df_n tau_j + k_j · r_n)).

    Example:
        >>> direct_sum(np.ones(1, complex), np.zeros((1, 3)), np.zeros(1), np.zeros((1, 3)), np.zeros(1), np.zeros(1))
        array([1.+0.j])
    """
    samples = [
        np.sum(m * np.exp(-tau * r2 - 2j * np.pi * (df * tau + position @ at)))
        for at, tau in zip(k, delay, strict=True)
    ]
    return np.array(samples)
