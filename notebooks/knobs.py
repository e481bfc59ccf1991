"""Sliders where ipywidgets is installed, else the picture at the settings that the notebook starts from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def slide(draw: Callable[..., Any], **knobs: tuple[float, float, float]) -> Any:
    """Redraw a picture while its settings are turned.

    Args:
        draw: Settings → figure.
        **knobs: For each setting the lowest, the highest and the first value.

    Returns:
        The figure of the first values where there are no sliders.
    """
    try:
        import ipywidgets
    except ImportError:
        return draw(**{name: first for name, (_, _, first) in knobs.items()})
    sliders = {
        name: ipywidgets.FloatSlider(min=low, max=high, value=first, step=(high - low) / 50, continuous_update=False)
        for name, (low, high, first) in knobs.items()
    }
    ipywidgets.interact(draw, **sliders)
    return None
