"""Maps against the truth, tissue by tissue, away from edges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from scipy.ndimage import binary_erosion

from mrisim._types import Bool, Float
from mrisim.data import ParameterMap
from mrisim.phantom import Truth
from mrisim.pipeline.records import DIFFERENCES, Agreement, TissueRow

PURITY = 0.999  # of a voxel, to count as one tissue
ERODE_TISSUE, ERODE_VIAL = 3, 1  # voxels, at most
FEWEST = 30  # voxels that should remain
FEWEST_SMALL = 6  # that must remain one voxel from the edge: lesions
VIALS = ("nist_",)
FIELDS = ("B0", "B1")  # which do not change from tissue to tissue
EVERYWHERE = "all tissue"  # in place of one, for a map of a field


def agreements(maps: Mapping[str, ParameterMap], truth: Truth, intervals: Mapping[str, float]) -> tuple[Agreement, ...]:
    """Concordance and largest error of each map that `tissue_table` has rows of.

    Args:
        maps: Estimates on the grid of the truth.
        truth: What they should be.
        intervals: Time between the images of maps from a dynamic series, by name [s].

    Source:
        Lin, Biometrics 45:255 (1989).
    """
    found = []
    for name, estimate in maps.items():
        parts = list(_parts(name, estimate, truth)) if name in truth.maps and estimate.data.ndim == 3 else []
        if not parts:
            continue
        both = (truth.maps[name], estimate.data)
        true, values = (np.concatenate([one[mask] for _, mask in parts]) for one in both)
        rows = [_row(name, estimate, truth, tissue, mask) for tissue, mask in parts]
        worst = max(rows, key=lambda row: abs(row.error))
        found.append(Agreement(
            quantity=name, voxels=len(true), concordance=concordance(true, values), largest=worst.error,
            tissue=worst.tissue, interval=intervals.get(name, np.nan),
        ))  # fmt: skip
    return tuple(found)


def concordance(true: Float[np.ndarray, " n"], found: Float[np.ndarray, " n"]) -> float:
    """Lin's coefficient: 1 where both agree, lower where they scatter or differ by scale or offset; nan where the truth
    is one value.

    Example:
        >>> round(concordance(np.array([1.0, 2.0, 3.0]), np.array([1.1, 2.1, 3.1])), 4)
        0.9926
    """
    if np.ptp(true) == 0:
        return np.nan
    shared = np.mean((true - true.mean()) * (found - found.mean()))
    return float(2 * shared / (true.var() + found.var() + (true.mean() - found.mean()) ** 2))


def tissue_table(maps: Mapping[str, ParameterMap], truth: Truth) -> tuple[TissueRow, ...]:
    """Rows for every map that has a truth and every tissue that is wide enough.

    A tissue's mask is eroded in the plane, by three voxels, by one for vials, or by fewer where only these leave 30
    fitted voxels; by one where that leaves six, as in a lesion. Where it does not, or the truth is unknown, or zero
    of a map whose errors are relative, the tissue is left out. Maps of directions have no
    rows, those of a field one.
    """
    numbers = {name: one for name, one in maps.items() if name in truth.maps and one.data.ndim == 3}
    return tuple(row for name, estimate in numbers.items() for row in _rows(name, estimate, truth))


def _rows(name: str, estimate: ParameterMap, truth: Truth) -> Iterator[TissueRow]:
    return (_row(name, estimate, truth, tissue, mask) for tissue, mask in _parts(name, estimate, truth))


def _parts(name: str, estimate: ParameterMap, truth: Truth) -> Iterator[tuple[str, Bool[np.ndarray, "z y x"]]]:
    """Tissues that are wide enough, with the voxels that count; of a field, all tissue as one."""
    wholes = {tissue: truth.mask(tissue, PURITY) for tissue in truth.names[1:]}
    if name in FIELDS:
        wholes = {EVERYWHERE: truth.fractions[0] <= 1 - PURITY}
    for tissue, whole in wholes.items():
        steps = ERODE_VIAL if tissue.startswith(VIALS) else ERODE_TISSUE
        fitted = np.isfinite(estimate.data)  # a D* is unknown where nothing flows
        fitted &= True if estimate.mask is None else estimate.mask
        masks = [_eroded(whole, n) & fitted for n in range(steps, 0, -1)]
        mask = next((one for one in masks if one.sum() >= FEWEST), None)
        if mask is None and masks[-1].sum() >= FEWEST_SMALL:
            mask = masks[-1]
        if mask is None:
            continue
        true = truth.maps[name][mask]
        if np.isfinite(true).all() and (true.mean() != 0 or name in DIFFERENCES):
            yield tissue, mask


def _row(name: str, estimate: ParameterMap, truth: Truth, tissue: str, mask: Bool[np.ndarray, "z y x"]) -> TissueRow:
    true, found = truth.maps[name][mask], estimate.data[mask]
    return TissueRow(
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
