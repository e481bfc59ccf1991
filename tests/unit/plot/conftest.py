"""A spin echo put together by hand, so that pictures are tested without the language."""

from __future__ import annotations

import numpy as np
import pytest

from mrisim.data import ReconSpec
from mrisim.events.blocks import (
    ADCTable,
    BlockTable,
    GradientShape,
    GradientTable,
    RFShape,
    RFTable,
    Sequence,
    Use,
)
from mrisim.units import FREQUENCY, GRADIENT, parse

N, LINES, FOV = 32, 16, 0.2


def _sinc(duration: float = 2e-3, n: int = 200) -> RFShape:
    edges = np.linspace(0.0, duration, n + 1)
    t = (0.5 * (edges[1:] + edges[:-1]) / duration - 0.5) * 4
    return RFShape(edges=edges, samples=np.sinc(t) * np.hanning(n).astype(complex), center=duration / 2)


def _trapezoid(flat: float, ramp: float = 200e-6, delay: float = 0.0) -> GradientShape:
    return GradientShape(
        times=delay + np.array([0.0, ramp, ramp + flat, 2 * ramp + flat]), values=np.array([0.0, 1, 1, 0])
    )


def make_spin_echo(lines: int = LINES, tr: float = 0.5) -> Sequence:
    """Excite, prephase with encoding, wait, refocus, wait, read, wait: `lines` times."""
    gamma = 42.577478518e6
    dwell = 100e-6
    read = N / FOV / (N * dwell)
    shapes = (_trapezoid(2e-3), _trapezoid(1e-3), _trapezoid(N * dwell))
    steps = (np.arange(lines) - lines // 2) / FOV / 1.2e-3
    amplitudes = np.concatenate([[parse("10 mT/m", GRADIENT), -9e-3 * gamma, read * 1.7, read], steps])
    gradients = GradientTable(shape=np.array([0, 1, 1, 2] + [1] * lines), amplitude=amplitudes)
    rf = RFTable(
        shape=np.zeros(2, dtype=int),
        amplitude=np.array([parse("8 µT", FREQUENCY), parse("16 µT", FREQUENCY)]),
        phase=np.array([0.0, np.pi / 2]),
        frequency=np.zeros(2),
        delay=np.full(2, 200e-6),
        flip=np.array([np.pi / 2, np.pi]),
        use=np.array([Use.EXCITATION, Use.REFOCUSING]),
        slice_axis=np.full(2, 2),
        thickness=np.full(2, 5e-3),
        position=np.zeros(2),
    )
    adc = ADCTable(
        samples=np.array([N]),
        dwell=np.array([dwell]),
        delay=np.array([200e-6]),
        phase=np.zeros(1),
        frequency=np.zeros(1),
        phase_shape=np.array([-1]),
    )
    body = [  # rf, gx, gy, gz, adc, duration, name
        (0, -1, -1, 0, -1, 2.43e-3, 0),
        (-1, 2, 4, 1, -1, 1.4e-3, 1),
        (-1, -1, -1, -1, -1, 2e-3, 2),
        (1, -1, -1, 0, -1, 2.43e-3, 3),
        (-1, -1, -1, -1, -1, 1.3e-3, 2),
        (-1, 3, -1, -1, 0, 3.6e-3, 4),
    ]
    rows = np.array([[*body_row] for _ in range(lines) for body_row in [*body, (-1, -1, -1, -1, -1, 0.0, 2)]])
    columns = dict(zip(("rf", "gx", "gy", "gz", "adc", "duration", "name"), rows.T, strict=True))
    columns["duration"][6::7] = tr - sum(row[5] for row in body)
    columns["gy"][1::7] = 4 + np.arange(lines)
    ints = {name: column.astype(int) for name, column in columns.items() if name != "duration"}
    blocks = BlockTable(
        duration=columns["duration"],
        rotation=np.full(len(rows), -1),
        labels={"LIN": np.repeat(np.arange(lines), 7)},
        **ints,
    )
    return Sequence(
        name="spin echo by hand",
        blocks=blocks,
        rf=rf,
        gradients=gradients,
        adc=adc,
        rf_shapes=(_sinc(),),
        gradient_shapes=shapes,
        block_names=("excite", "prephase", "wait", "refocus", "read"),
        recon=ReconSpec(method="cartesian", matrix=(N, lines, 1), fov=(FOV, FOV, 5e-3)),
    )


@pytest.fixture(scope="session")
def spin_echo() -> Sequence:
    return make_spin_echo()


@pytest.fixture(scope="session")
def long_spin_echo() -> Sequence:
    """100,002 blocks."""
    return make_spin_echo(lines=14286, tr=20e-3)
