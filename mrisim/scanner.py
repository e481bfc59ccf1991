"""Hardware limits, rasters and dead times of a scanner, in SI."""

from __future__ import annotations

from dataclasses import dataclass

from mrisim.constants import GAMMA_BAR


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """Limits that a sequence is designed for and checked against.

    The defaults are a common whole-body 3 T system: 40 mT/m, 170 T/m/s, 20 µT. `sequences/systems/default_3t.yaml` is
    their written-down form.
    """

    name: str = "default 3 T"
    b0: float = 3.0  # [T]
    gamma: float = GAMMA_BAR  # gyromagnetic ratio over 2 pi [Hz/T]
    max_gradient: float = 40e-3 * GAMMA_BAR  # per physical axis [Hz/m]
    max_slew: float = 170.0 * GAMMA_BAR  # per physical axis [Hz/m/s]
    max_b1: float = 20e-6 * GAMMA_BAR  # [Hz]
    block_raster: float = 10e-6  # [s]
    gradient_raster: float = 10e-6  # [s]
    rf_raster: float = 1e-6  # [s]
    adc_raster: float = 100e-9  # [s]
    rf_dead_time: float = 100e-6  # before a pulse [s]
    rf_ringdown_time: float = 30e-6  # after a pulse [s]
    adc_dead_time: float = 10e-6  # before and after sampling [s]
    gradient_delay: float = 0.0  # of gradients as played behind pulses and samples; no reconstruction knows it [s]
