"""All rules by id: what each is about, and how grave it is."""

from __future__ import annotations

from collections.abc import Mapping

from mrisim.checking.limits import QUANTITIES
from mrisim.checking.messages import Severity

RULES: Mapping[str, tuple[Severity, str]] = {
    "hardware/gradient-amplitude": ("error", "Gradients stay below the largest amplitude of each physical axis"),
    "hardware/gradient-slew-rate": ("error", "Gradients stay below the largest slew rate of each physical axis"),
    "hardware/gradient-step-inside-the-block": ("error", "Waveforms begin and end at zero inside a block"),
    "hardware/gradient-step-from-block-to-block": ("error", "Waveforms connect across the borders of blocks"),
    "hardware/gradient-raster-of-corner-times": ("error", "Corners of gradients lie on the gradient raster"),
    "hardware/rf-peak": ("error", "Pulses stay below the largest B1"),
    "hardware/rf-raster-of-samples": ("error", "Samples of pulses lie on the RF raster"),
    "hardware/rf-raster-of-the-delay": ("error", "Pulses begin on the RF raster"),
    "hardware/rf-dead-time": ("error", "The transmitter has its dead time before a pulse, inside the block"),
    "hardware/rf-ringdown": ("error", "The transmitter has its ringdown after a pulse, inside the block"),
    "hardware/adc-raster-of-the-dwell-time": ("error", "Dwell times are multiples of the ADC raster"),
    "hardware/adc-raster-of-the-delay": ("error", "Sampling begins on the ADC raster"),
    "hardware/adc-dead-time-before": ("error", "The receiver has its dead time before sampling, inside the block"),
    "hardware/adc-dead-time-after": ("error", "The receiver has its dead time after sampling, inside the block"),
    "hardware/adc-during-a-pulse": ("error", "Nothing is sampled during a pulse"),
    "hardware/end-of-the-event": ("error", "Events end inside their block"),
    "hardware/block-raster": ("error", "Blocks last a multiple of the block raster"),
    "timing/TE": ("warning", "TE is from the excitation to the center of k-space, as the file says"),
    "timing/TR": ("warning", "TR is from excitation to excitation, or from inversion to inversion of a train"),
    "timing/TI": ("warning", "TI is from the inversion to the excitation of the center of k-space"),
    "timing/echo-spacing": ("warning", "Echoes follow each other as the file says"),
    "k-space/nyquist-read": ("warning", "Samples along the readout lie close enough for the field of view"),
    "k-space/nyquist-phase": ("warning", "Lines lie close enough for the field of view"),
    "k-space/nyquist-partition": ("warning", "Partitions lie close enough for the field of view"),
    "k-space/gaps": ("note", "Spokes or arms leave no gap that is too wide for the field of view"),
    "k-space/resolution-read": ("warning", "Samples reach as far on the read axis as the matrix asks"),
    "k-space/resolution-phase": ("warning", "Lines reach as far on the phase axis as the matrix asks"),
    "k-space/resolution-partition": ("warning", "Partitions reach as far as the matrix asks"),
    "k-space/center": ("warning", "A sample lies at the center of k-space"),
    "density/isochromats": ("warning", "Isochromats are dense enough for what gradients and pulses do"),
    "safety/pns": ("error", "Gradients do not stimulate nerves"),
    "safety/acoustic": ("error", "Gradients stay out of the bands in which the coil rings"),
    **{f"limit/{name}": ("error", f"The file's own limit of {name}") for name in QUANTITIES},
}
"""Severity and purpose. Of nerve stimulation above the coil's threshold, and of limits of what a sequence has not, the
severity is a warning."""
