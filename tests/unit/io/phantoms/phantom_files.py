"""Small files of other programs' phantoms, by their documented layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np


def write_koma(path: Path, *, scale: float = 1.0, motion: bool = False, **changed: Any) -> dict[str, np.ndarray]:
    """24 spins on a raster of 2 x 3 x 4 mm, in meters unless scaled; T1 in s, Δw in rad/s."""
    generator = np.random.default_rng(1)
    x, y, z = (a.ravel() for a in np.meshgrid(np.arange(2), np.arange(3), np.arange(4), indexing="ij"))
    position = np.stack([0.011 + 2e-3 * x, 3e-3 * y - 0.02, 4e-3 * z], axis=-1) * scale
    position[:, 0] = position[:, 0] if scale == 1.0 else 0.0
    t1 = generator.uniform(0.3, 1.5, 24)
    contrast = {"ρ": generator.uniform(0.5, 1.0, 24), "T1": t1, "T2": 0.1 * t1, "T2s": 0.05 * t1}
    contrast |= {"Δw": generator.normal(0.0, 100.0, 24), "Dλ1": np.zeros(24), **changed}
    with h5py.File(path, "w") as file:
        file.attrs.update(Version="0.9.0", Name="test", Ns=24, Dims=3)
        for i, axis in enumerate("xyz"):
            file[f"position/{axis}"] = position[:, i]
        for name, values in contrast.items():
            file[f"contrast/{name}"] = values
        if motion:
            file.create_group("motion/motion_1/action").attrs["type"] = "Rotate"
    return {"position": position, **contrast}


def write_jemris(path: Path, *, rates: tuple[float, float, float] | None = None) -> np.ndarray:
    """4 x 3 x 4 voxels of 2 x 3 x 5 mm about (10, 0, -4) mm; data (z, y, x, 5) with rates in 1/ms, Δω in rad/s."""
    generator = np.random.default_rng(2)
    data = np.zeros((4, 3, 4, 5))
    data[..., 0] = generator.uniform(0.4, 1.0, data.shape[:3])
    data[..., 1] = generator.uniform(0.7e-3, 3e-3, data.shape[:3])
    data[..., 2] = 10.0 * data[..., 1]
    data[..., 3] = 15.0 * data[..., 1]
    data[..., 4] = generator.normal(0.0, 100.0, data.shape[:3])
    if rates is not None:
        data[..., 1:4] = rates
    data[0, 0] = 0.0
    with h5py.File(path, "w") as file:
        file["sample/data"] = data
        file["sample/resolution"] = np.array([2.0, 3.0, 5.0])
        file["sample/offset"] = np.array([10.0, 0.0, -4.0])
    return data


def write_mrzero(path: Path, *, tissues: bool = False, leave: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """6 x 5 x 3 voxels (x, y, z) of 2 x 3 x 4 mm; times in s, B0 in Hz, FOV in m."""
    generator = np.random.default_rng(3)
    shape = (6, 5, 3)
    t1 = generator.uniform(0.5, 1.5, shape)
    maps: dict[str, np.ndarray] = {
        "PD_map": generator.uniform(0.5, 1.0, shape),
        "T1_map": t1,
        "T2_map": 0.1 * t1,
        "T2dash_map": 0.2 * t1,
        "D_map": np.ones(shape),
        "B0_map": generator.normal(0.0, 30.0, shape),
        "B1_map": (generator.uniform(0.8, 1.2, shape) + 0j)[None],
        "FOV": np.array([12e-3, 15e-3, 12e-3]),
    }
    maps["PD_map"][0] = 0.0
    maps["T1_map"][0, 0] = 0.0
    if tissues:
        maps["tissue_gm"] = (np.arange(6)[:, None, None] < 3) * np.ones(shape)
        maps["tissue_wm"] = 1.0 - maps["tissue_gm"]
    kept = {name: values for name, values in maps.items() if name not in leave}
    np.savez_compressed(path, **kept)  # type: ignore[arg-type]
    return {**maps, "B1_map": maps["B1_map"][0]}
