"""Maps against the truth, tissue by tissue, away from edges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from scipy.ndimage import binary_erosion

from mrisim.data import ParameterMap
from mrisim.phantom import Truth
from mrisim.pipeline.records import TissueRow

PURITY = 0.999  # of a voxel, to count as one tissue
ERODE_TISSUE, ERODE_VIAL = 3, 1  # voxels, at most
FEWEST = 30  # voxels that must remain
VIALS = ("nist_",)


def tissue_table(maps: Mapping[str, ParameterMap], truth: Truth) -> tuple[TissueRow, ...]:
    """Rows for every map that has a truth and every tissue that is wide enough.

    A tissue's mask is eroded in the plane, by three voxels, by one for vials, or by fewer where only these leave 30
    fitted voxels. Where not even one does, or the truth is zero or unknown, the tissue is left out. Maps of directions
    have no rows.
    """
    numbers = {name: one for name, one in maps.items() if name in truth.maps and one.data.ndim == 3}
    return tuple(row for name, estimate in numbers.items() for row in _rows(name, estimate, truth))


def _rows(name: str, estimate: ParameterMap, truth: Truth) -> Iterator[TissueRow]:
    for tissue in truth.names[1:]:
        steps = ERODE_VIAL if tissue.startswith(VIALS) else ERODE_TISSUE
        whole = truth.mask(tissue, PURITY)
        fitted = np.isfinite(estimate.data)  # a D* is unknown where nothing flows
        fitted &= True if estimate.mask is None else estimate.mask
        masks = (_eroded(whole, n) & fitted for n in range(steps, 0, -1))
        mask = next((one for one in masks if one.sum() >= FEWEST), None)
        if mask is None:
            continue
        true, found = truth.maps[name][mask], estimate.data[mask]
        if not np.isfinite(true).all() or true.mean() == 0:
            continue
        yield TissueRow(
            quantity=name,
            unit=estimate.unit,
            tissue=tissue,
            voxels=int(mask.sum()),
            true=float(true.mean()),
            estimated=float(found.mean()),
            spread=float(found.std()),
        )


def _eroded(mask: np.ndarray, steps: int) -> np.ndarray:
    in_plane = np.zeros((3, 3, 3), dtype=bool)
    in_plane[1] = True
    return binary_erosion(mask, in_plane, iterations=steps)
