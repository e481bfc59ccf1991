"""Diffusion: ADC, tensor, kurtosis and IVIM from diffusion-weighted magnitudes. b in s/m², coefficients in m²/s."""

from __future__ import annotations

from mrisim.mapping.diffusion.adc import fit_adc as fit_adc
from mrisim.mapping.diffusion.ivim import fit_ivim as fit_ivim
from mrisim.mapping.diffusion.kurtosis import fit_kurtosis as fit_kurtosis
from mrisim.mapping.diffusion.tensor import fit_tensor as fit_tensor
from mrisim.mapping.diffusion.weights import powder as powder
