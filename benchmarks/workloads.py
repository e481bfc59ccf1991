"""Pieces of work: a sequence, a phantom, and how it is simulated. Sequences are YAML, phantoms are made here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import mrisim as mr

SEQUENCES = Path(__file__).parent / "sequences"


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What is simulated; `steps` are what a time stepper would do: spins times intervals and samples."""

    name: str
    what: str
    sequence: str
    parameters: dict[str, Any] = field(default_factory=dict)
    phantom: Callable[[], mr.Phantom]
    options: dict[str, Any] = field(default_factory=dict)
    plain_share: float = 1.0  # of the spins that the NumPy loop takes, where all would take minutes
    coils: int | None = None

    def load(self) -> mr.Sequence:
        own = SEQUENCES / f"{self.sequence}.yaml"
        return mr.load_sequence(own if own.exists() else self.sequence, **self.parameters)


def head(voxels: int, per_voxel: int = 1, fov: float = 0.256, thickness: float = 0.0) -> mr.Phantom:
    """Smooth maps of head-like values over the whole field of view, so that the number of spins is what is asked."""
    generator = np.random.default_rng(7)
    axis = (np.arange(voxels) - voxels // 2) * fov / voxels
    x, y = (v.reshape(-1) for v in np.meshgrid(axis, axis, indexing="xy"))
    offsets = generator.uniform(-0.5, 0.5, (per_voxel, 3)) * [fov / voxels, fov / voxels, thickness]
    center = np.column_stack([x, y, 0 * x])
    position = (center[:, None] + offsets).reshape(-1, 3)
    radius = np.hypot(position[:, 0] / (0.4 * fov), position[:, 1] / (0.45 * fov))
    waves = np.sin(60 * position[:, 0]) * np.cos(45 * position[:, 1])
    t1 = 1.2 + 0.8 * waves
    return mr.Phantom.from_arrays(
        position=position,
        t1=t1,
        t2=0.05 + 0.05 * t1 * (1.2 + np.cos(80 * position[:, 1])),
        pd=np.clip(1.2 - radius, 0.05, 1.0),
        df=40 * (position[:, 0] ** 2 - position[:, 1] ** 2) / 0.016,
        weight=1 / per_voxel,
    )


def box(n: int, size: tuple[float, float, float], df: float = 30.0) -> mr.Phantom:
    """Spins strewn over a box."""
    generator = np.random.default_rng(3)
    t1 = generator.uniform(0.3, 2.5, n)
    return mr.Phantom.from_arrays(
        position=generator.uniform(-0.5, 0.5, (n, 3)) * np.asarray(size),
        t1=t1,
        t2=np.minimum(generator.uniform(0.02, 0.3, n), t1),
        df=generator.normal(0.0, df, n),
    )


_IDEAL = {"pulses": "ideal", "tolerance": 5e-5}
_SHAPED = {"tolerance": 5e-5}

WORKLOADS = {
    w.name: w
    for w in (
        Workload(
            name="W1", what="slice-selective pulse of 4 ms, then 1000 samples, 100,000 spins",
            sequence="slice_pulse", phantom=lambda: box(100_000, (0.0, 0.0, 0.02)), options=_SHAPED, plain_share=0.1,
        ),
        Workload(
            name="W2a", what="RF-spoiled FLASH 128 × 128, 16,384 spins",
            sequence="hard_flash", phantom=lambda: head(128), options=_IDEAL,
        ),
        Workload(
            name="W2b", what="the same, 262,144 spins",
            sequence="hard_flash", phantom=lambda: head(128, 16), options=_IDEAL,
        ),
        Workload(
            name="W3a", what="TSE 128 × 128, trains of 16, 16,384 spins",
            sequence="hard_tse", phantom=lambda: head(128), options=_IDEAL,
        ),
        Workload(
            name="W3b", what="the same, 262,144 spins",
            sequence="hard_tse", phantom=lambda: head(128, 16), options=_IDEAL,
        ),
        Workload(
            name="W4", what="EPI 64 × 64, 65,536 spins",
            sequence="hard_epi", phantom=lambda: head(256), options=_IDEAL,
        ),
        Workload(
            name="slice_flash", what="FLASH 128 × 128, sinc pulse of 3 ms, 262,144 spins in a slice",
            sequence="flash_2d", parameters={"matrix": 128, "fov": "256 mm", "dummies": 0},
            phantom=lambda: head(128, 16, thickness=0.01), options=_SHAPED, plain_share=0.004,
        ),
        Workload(
            name="flash_3d", what="3D FLASH 128³, 1,048,576 spins",
            sequence="flash_3d", parameters={"matrix": [128, 128, 128]},
            phantom=lambda: box(1_048_576, (0.2, 0.2, 0.15)), options=_SHAPED, plain_share=0.00005,
        ),
        Workload(
            name="coils", what="TSE 128 × 128, 16 receive coils, 262,144 spins",
            sequence="hard_tse", phantom=lambda: head(128, 16), options=_IDEAL, coils=16,
        ),
        Workload(
            name="epi_10k", what="EPI train of 100 × 100, 10,000 spins",
            sequence="hard_epi", parameters={"matrix": 100}, phantom=lambda: head(100), options=_IDEAL,
        ),
        Workload(
            name="epi_1m", what="EPI 128 × 128, 1,048,576 spins",
            sequence="hard_epi", parameters={"matrix": 128}, phantom=lambda: head(128, 64), options=_IDEAL,
            plain_share=0.05,
        ),
        Workload(
            name="spiral", what="spiral of 8 × 5,000 samples, 100,000 spins",
            sequence="spiral_gre", parameters={}, phantom=lambda: box(100_000, (0.2, 0.2, 0.004)), options=_IDEAL,
            plain_share=0.02,
        ),
        Workload(
            name="radial", what="radial FLASH of 400 spokes, 100,000 spins",
            sequence="radial_flash", parameters={"spokes": 400}, phantom=lambda: box(100_000, (0.2, 0.2, 0.004)),
            options=_IDEAL, plain_share=0.05,
        ),
    )
}  # fmt: skip
