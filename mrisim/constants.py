"""Physical constants, each with its source."""

from __future__ import annotations

GAMMA_BAR = 42.577478518e6
"""Gyromagnetic ratio of the proton over 2 pi [Hz/T]. Source: CODATA 2018."""
