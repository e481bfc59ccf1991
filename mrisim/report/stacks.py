"""Images and maps as a page shows them: slices and contrasts to scroll, values to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mrisim._types import Float
from mrisim.report.packed import pack, quantise

MOST_VOXELS = 1_600_000  # of all stacks of a page together, which make 1 to 3 MB of text


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """One picture of a stack."""

    name: str  # "truth"
    data: Float[np.ndarray, "contrast z y x"]  # in the unit that is shown; nan where nothing is known


@dataclass(frozen=True, kw_only=True, eq=False)
class Difference:
    """How the first panel less the second is shown."""

    relative: bool  # in per cent of the second
    end: float  # of the colours, on both sides of zero
    unit: str
    colours: Float[np.ndarray, "256 3"]  # 0 to 255


@dataclass(frozen=True, kw_only=True, eq=False)
class Stack:
    """Pictures of one quantity side by side, on one grid."""

    name: str
    panels: tuple[Panel, ...]
    unit: str
    spacing: tuple[float, float, float]  # [mm]
    captions: tuple[str, ...]  # of the contrasts
    colours: Float[np.ndarray, "256 3"]  # 0 to 255
    low: float
    high: float
    difference: Difference | None = None  # of two panels


def describe(stacks: tuple[Stack, ...], most: int = MOST_VOXELS) -> list[dict[str, Any]]:
    """What `stacks.js` reads; contrasts, then slices, are left out evenly where there are too many voxels.

    Args:
        stacks: Of one viewer.
        most: Voxels that they may have together.
    """
    return [_stack(stack, most // max(len(stacks), 1)) for stack in stacks]


def _stack(stack: Stack, most: int) -> dict[str, Any]:
    n, nz, ny, nx = stack.panels[0].data.shape
    plane = ny * nx * len(stack.panels)
    contrasts = _even(n, max(most // (plane * nz), 1))
    slices = _even(nz, max(most // (plane * len(contrasts)), 1))
    return {
        "name": stack.name,
        "unit": stack.unit,
        "shape": [len(contrasts), len(slices), ny, nx],
        "slices": slices.tolist(),
        "spacing": list(stack.spacing),
        "captions": [stack.captions[i] for i in contrasts],
        "left": [n - len(contrasts), nz - len(slices)],
        "colours": pack(stack.colours, "u8"),
        "range": [stack.low, stack.high],
        "panels": [
            {"name": panel.name, **quantise(panel.data[contrasts][:, slices].astype(float))} for panel in stack.panels
        ],
        "difference": None if stack.difference is None else _difference(stack.difference),
    }


def _difference(shown: Difference) -> dict[str, Any]:
    colours = pack(shown.colours, "u8")
    return {"relative": shown.relative, "range": [-shown.end, shown.end], "unit": shown.unit, "colours": colours}


def _even(n: int, most: int) -> np.ndarray:
    if n <= most:
        return np.arange(n)
    return np.array([n // 2]) if most == 1 else np.unique(np.linspace(0, n - 1, most).astype(int))
