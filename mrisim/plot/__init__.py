"""Pictures: one function per picture, each returns a matplotlib Figure that a notebook shows by itself."""

from __future__ import annotations

import sys
from typing import Any

from matplotlib.figure import Figure as _Figure

from mrisim.plot._looks import colour_table as colour_table
from mrisim.plot._looks import look_of as look_of
from mrisim.plot._looks import spelled as spelled
from mrisim.plot.contrasts import contrast as contrast
from mrisim.plot.contrasts import spectrum as spectrum
from mrisim.plot.curves import signal as signal
from mrisim.plot.curves import slice_profile as slice_profile
from mrisim.plot.dce import concentration as concentration
from mrisim.plot.dce import input_functions as input_functions
from mrisim.plot.diagram import repetition as repetition
from mrisim.plot.diagram import sequence as sequence
from mrisim.plot.diffusion import between as between
from mrisim.plot.diffusion import decay as decay
from mrisim.plot.diffusion import direction_comparison as direction_comparison
from mrisim.plot.diffusion import directions as directions
from mrisim.plot.diffusion import weighted_directions as weighted_directions
from mrisim.plot.display import html_of as html_of
from mrisim.plot.expectation import Compared as Compared
from mrisim.plot.expectation import Drawn as Drawn
from mrisim.plot.expectation import expectation as expectation
from mrisim.plot.glyphs import glyphs as glyphs
from mrisim.plot.images import image as image
from mrisim.plot.images import map_comparison as map_comparison
from mrisim.plot.images import parameter_map as parameter_map
from mrisim.plot.kspace import kspace as kspace
from mrisim.plot.kspace import trajectory as trajectory
from mrisim.plot.overview import overview as overview
from mrisim.plot.phase_graphs import phase_graph as phase_graph
from mrisim.plot.spins import bloch_animation as bloch_animation
from mrisim.plot.spins import bloch_sphere as bloch_sphere
from mrisim.plot.spins import magnetisation as magnetisation

__all__ = [
    "Compared",
    "Drawn",
    "between",
    "bloch_animation",
    "bloch_sphere",
    "colour_table",
    "concentration",
    "contrast",
    "decay",
    "direction_comparison",
    "directions",
    "expectation",
    "glyphs",
    "html_of",
    "image",
    "input_functions",
    "kspace",
    "look_of",
    "magnetisation",
    "map_comparison",
    "overview",
    "parameter_map",
    "phase_graph",
    "repetition",
    "sequence",
    "signal",
    "slice_profile",
    "spectrum",
    "spelled",
    "trajectory",
    "weighted_directions",
]


def png(figure: _Figure) -> bytes:
    """Figure as a PNG file in memory.

    Example:
        >>> png(_Figure(figsize=(1, 1)))[1:4]
        b'PNG'
    """
    import io

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160)
    return buffer.getvalue()


def _show_in_notebooks() -> None:
    """Figures made without pyplot show in IPython only when a formatter for them is registered."""
    if "IPython" not in sys.modules:
        return
    shell: Any = sys.modules["IPython"].get_ipython()
    if shell is not None:
        shell.display_formatter.formatters["image/png"].for_type(_Figure, png)


_show_in_notebooks()
