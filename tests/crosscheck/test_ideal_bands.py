"""Ideal pulses beside water turn what lies in their band, in every engine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from physics.build import ADC, DEG, HARD, MS, RF, Block, build, spins

from mrisim.events.blocks import Use
from mrisim.simulate import Walk, simulate

FAT, WIDTH = -434.0, 338.0  # [Hz]


@pytest.mark.parametrize("engine", ["bloch", "epg", Walk(walkers=1)], ids=["bloch", "epg", "walk"])
@pytest.mark.parametrize("offset", [0.0, FAT, FAT + 0.49 * WIDTH, FAT + 0.51 * WIDTH])
def test_fat_saturation_leaves_water(engine, offset):
    saturation = RF(flip=70 * DEG, frequency=FAT, use=Use.SATURATION, shape=replace(HARD, bandwidth=WIDTH))
    seq = build([
        Block(duration=1 * MS, rf=saturation),
        Block(duration=1 * MS, rf=RF(flip=90 * DEG), adc=ADC(at=1e-6)),
    ])  # fmt: skip
    raw = simulate(
        seq, spins(1, t2=np.inf, df=offset), engine=engine, pulses="ideal", spoiling="ideal", dtype="float64"
    )
    inside = abs(offset - FAT) < WIDTH / 2
    assert abs(raw.signal[0, 0]) == pytest.approx(np.cos(70 * DEG) if inside else 1.0, abs=1e-9)
