"""Walker-steps per second in each geometry, and a figure of walks beside what is known of them.

python -m benchmarks.walks [--figure docs/images/walk_restricted.png]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

import mrisim as mr
from mrisim.constants import GAMMA_BAR
from mrisim.phantom import Cylinders, Labels, Medium, Mesh, Planes, Spheres, sphere_surface
from mrisim.physics.restricted import bloch_torrey, gpd, pulsed_gradient

D, RADIUS = 2e-9, 5e-6
LOBE, APART = 10e-3, 30e-3
PORES = {"planes": 2 * RADIUS, "cylinder": RADIUS, "sphere": RADIUS}
_OUTSIDE = Medium(diffusion=D)
_VERTICES, _FACES = sphere_surface(RADIUS, subdivisions=3)  # 1280 triangles
_PACKED = {"radius": RADIUS, "diffusion": D, "spacing": 2.2 * RADIUS, "outside": _OUTSIDE, "permeability": 1e-5}
GEOMETRIES: dict[str, Any] = {
    "free": None,
    "planes": Planes(separation=2 * RADIUS, diffusion=D, normal=(1, 0, 0)),
    "cylinder": Cylinders(radius=RADIUS, diffusion=D),
    "sphere": Spheres(radius=RADIUS, diffusion=D),
    "packed cylinders": Cylinders(**_PACKED),
    "packed spheres": Spheres(**_PACKED),
    "labels": Labels(
        labels=np.arange(64).reshape(4, 4, 4) // 32, spacing=RADIUS, media=(_OUTSIDE,) * 2, permeability=1e-5
    ),
    "mesh": Mesh(vertices=_VERTICES, faces=_FACES, diffusion=D),
    "mesh, water outside": Mesh(
        vertices=_VERTICES, faces=_FACES, diffusion=D, cell=2.2 * RADIUS, outside=_OUTSIDE, permeability=1e-5
    ),
}


def spin_echo(gradient: float) -> mr.Sequence:
    """Pulsed-gradient spin echo along x with rectangular lobes [Hz/m]."""
    return mr.load_sequence(Path(__file__).parent / "sequences" / "pulsed_gradient.yaml", gradient=gradient)


def simulated(kind: str, gradient: float, walkers: int, seed: int = 0, **options: Any) -> mr.RawData:
    water = mr.Phantom.from_arrays(position=np.zeros((1, 3)), t1=np.inf, t2=np.inf, diffusion=D)
    walk = mr.Walk(compartments=GEOMETRIES[kind], walkers=walkers, **options)
    return mr.simulate(spin_echo(gradient), water, engine=walk, pulses="ideal", seed=seed)


def speed(kind: str, repeat: int) -> dict[str, Any]:
    """Walker-steps per second by the clock, and of each core by the time that it worked."""
    best = {"wall": 0.0, "core": 0.0}
    for turn in range(repeat + 1):  # the first compiles
        wall, cpu = time.perf_counter(), time.process_time()
        done = simulated(kind, 0.1 * GAMMA_BAR, 65_536, time_step=20e-6).provenance["walker_steps"]
        if turn:
            best["wall"] = max(best["wall"], done / (time.perf_counter() - wall))
            best["core"] = max(best["core"], done / (time.process_time() - cpu))
    return {"geometry": kind, **best}


def draw(path: Path) -> None:
    """Signal against b: walks, the Gaussian-phase series, the Bloch–Torrey equation."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fine = np.linspace(5e-3, 0.32, 18) * GAMMA_BAR
    coarse = np.linspace(0.04, 0.30, 7) * GAMMA_BAR
    weight = (2 * np.pi * LOBE) ** 2 * (APART - LOBE / 3) * 1e-9  # of the squared gradient [ms/µm² · m²/Hz²]
    figure, axes = plt.subplots(figsize=(7.0, 4.4), layout="constrained")
    for (kind, size), color in zip(PORES.items(), ("#0072B2", "#D55E00", "#009E73"), strict=True):
        exact = [abs(bloch_torrey(kind, size, D, *pulsed_gradient(g, LOBE, APART))) for g in fine]
        axes.plot(weight * fine**2, exact, color=color, label=f"{kind}: Bloch–Torrey")
        axes.plot(weight * fine**2, gpd(kind, size, D, fine, LOBE, APART), "--", color=color, lw=1)
        raws = [simulated(kind, g, 16_384, time_step=60e-6) for g in coarse]
        values, errors = zip(*((r.signal[0, 0].imag, r.standard_error[0, 0].imag) for r in raws), strict=True)
        axes.errorbar(weight * coarse**2, values, 2 * np.array(errors), fmt="o", ms=4, capsize=2, color=color)
    axes.plot([], [], "k--", lw=1, label="Gaussian phase")
    axes.errorbar([], [], [], fmt="ko", ms=4, capsize=2, label="walk, 16,384 walkers, ±2 standard errors")
    axes.set(yscale="log", ylim=(2e-3, 1.2), xlim=(0, None), xlabel="b [ms/µm²]", ylabel="attenuation E")
    axes.set_title(
        "Planes 10 µm apart, cylinder and sphere of radius 5 µm\nD = 2 µm²/ms, δ = 10 ms, Δ = 30 ms", size=10
    )
    axes.legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    if arguments.figure:
        draw(arguments.figure)
        return
    for kind in GEOMETRIES:
        row = speed(kind, arguments.repeat)
        print(json.dumps({key: v if isinstance(v, str) else float(f"{v:.3g}") for key, v in row.items()}), flush=True)


if __name__ == "__main__":
    main()
