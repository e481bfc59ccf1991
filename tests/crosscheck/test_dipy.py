"""Tensors and kurtosis against dipy, which is no dependency: skipped where it is not installed."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from mrisim.mapping.diffusion import fit_kurtosis, fit_tensor

UM, MS = 1e-9, 1e9
MM2 = 1e-6  # dipy has b in s/mm² and coefficients in mm²/s
GENERATOR = np.random.default_rng(7)


@pytest.fixture(scope="module")
def dipy() -> dict[str, Any]:
    pytest.importorskip("dipy", reason="dipy is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dipy.core.gradients import gradient_table
        from dipy.reconst.dki import DiffusionKurtosisModel
        from dipy.reconst.dti import TensorModel
    return {"table": gradient_table, "tensor": TensorModel, "kurtosis": DiffusionKurtosisModel}


def sphere(n: int) -> np.ndarray:
    z = (np.arange(n) + 0.5) / n
    angle = np.pi * (1 + 5**0.5) * np.arange(n)
    flat = np.sqrt(1 - z**2)
    return np.stack([flat * np.cos(angle), flat * np.sin(angle), z], axis=1)


def signals(b: np.ndarray, u: np.ndarray, noise: float) -> np.ndarray:
    """Two tensors in each voxel, turned to each other by different angles."""
    found = []
    for angle in np.linspace(0.1, 1.4, 8):
        ways = np.array([[1.0, 0.0, 0.0], [np.cos(angle), np.sin(angle), 0.0]])
        found.append(np.mean([np.exp(-b * UM * (0.3 + 1.4 * (u @ way) ** 2)) for way in ways], axis=0))
    return np.array(found) + GENERATOR.normal(0.0, noise, (8, len(b)))


def fitted(dipy: dict[str, Any], kind: str, b: np.ndarray, u: np.ndarray, data: np.ndarray):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = dipy["table"](b * MM2, bvecs=np.where(b[:, None] > 0, u, 0.0))
        return dipy[kind](table, fit_method="WLS").fit(data)


def test_tensors_of_noisy_data(dipy) -> None:
    b, u = np.concatenate([np.zeros(4), np.full(30, MS)]), np.vstack([np.zeros((4, 3)), sphere(30)])
    data = signals(b, u, 0.01)
    theirs, ours = fitted(dipy, "tensor", b, u, data), fit_tensor(data, b, u)
    np.testing.assert_allclose(ours["fa"], theirs.fa, atol=0.002)  # asked; theirs weights once, by an unweighted fit
    np.testing.assert_allclose(ours["md"], theirs.md * MM2, rtol=0.002)
    np.testing.assert_allclose(np.abs(np.einsum("ni,ni->n", ours["v1"], theirs.evecs[:, :, 0])), 1.0, atol=1e-3)


def test_mean_kurtosis_without_noise(dipy) -> None:
    b = np.concatenate([[0.0], np.full(30, MS), np.full(40, 2 * MS)])
    u = np.vstack([np.zeros(3), sphere(30), sphere(40)])
    data = signals(b, u, 0.0)
    theirs, ours = fitted(dipy, "kurtosis", b, u, data), fit_kurtosis(data, b, u)
    np.testing.assert_allclose(ours["md"], theirs.md * MM2, rtol=0.01)  # weights differ, and the series is cut
    np.testing.assert_allclose(ours["mk"], theirs.mk(), rtol=0.02)
