"""Phantoms from files of any format that mrisim knows: its own, NIfTI maps, KomaMRI, JEMRIS, MRzero."""

from __future__ import annotations

from mrisim.io.phantoms.load import is_foreign as is_foreign
from mrisim.io.phantoms.load import load_model as load_model
from mrisim.io.phantoms.load import load_phantom as load_phantom

__all__ = ["is_foreign", "load_model", "load_phantom"]
