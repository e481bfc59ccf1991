"""What maps of diffusion should show of a phantom."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mrisim._types import Bool, Float, Int
from mrisim.phantom.tissues import Tissue
from mrisim.physics.tensors import eigensystem, invariants

ROUNDING = 1e-9  # an anisotropy below it is none
_NAMES = {"MD": "md", "AD": "ad", "RD": "rd", "FA": "fa"}


def diffusion_truth(
    tissues: Sequence[Tissue],
    chosen: Int[np.ndarray, "z y x"],
    empty: Bool[np.ndarray, "z y x"],
    position: Float[np.ndarray, "z y x 3"],
) -> dict[str, Float[np.ndarray, "z y x"]]:
    """Maps of the tissue that stands for each voxel, nan without signal.

    ADC, MD, Trace, AD, RD, FA and V1 (z, y, x, 3) are those of the protons that are not in a fast pool, at the center
    of the voxel; V1 is nan where diffusion is the same in all directions. D, f and Dstar come where a tissue has a fast
    pool.

    Args:
        tissues: By index.
        chosen: Index of the tissue of each voxel.
        empty: Voxels without signal.
        position: Of the voxel centers [m].
    """

    def spread(values: list[float]) -> Float[np.ndarray, "z y x"]:
        return np.where(empty, np.nan, np.array(values)[chosen])

    adc = spread([tissue.adc for tissue in tissues])
    maps = {"ADC": adc, "MD": adc, "AD": adc, "RD": adc, "Trace": 3.0 * adc, "FA": np.where(empty, np.nan, 0.0)}
    if any(tissue.anisotropic for tissue in tissues):
        maps |= {name: maps[name].copy() for name in _NAMES}
        maps["V1"] = np.full((*chosen.shape, 3), np.nan)
    for index, tissue in enumerate(tissues):
        where = ~empty & (chosen == index)
        if tissue.anisotropic and where.any():
            values, vectors = eigensystem(tissue.tensors(position[where]))
            found = invariants(values)
            for name, key in _NAMES.items():
                maps[name][where] = found[key]
            maps["V1"][where] = vectors[:, :, 2]
    if any(tissue.fast_share > 0.0 for tissue in tissues):
        maps["D"] = adc
        maps["f"] = spread([tissue.fast_share for tissue in tissues])
        maps["Dstar"] = spread([tissue.fast_diffusion for tissue in tissues])
    return maps


def tensor_maps(values: Float[np.ndarray, "n components"]) -> dict[str, np.ndarray]:
    """Maps of one coefficient, or of tensors xx, yy, zz, xy, xz, yz, per voxel [m²/s]; nan stays nan.

    Example:
        >>> sorted(tensor_maps(np.array([[1.0]])))
        ['AD', 'ADC', 'FA', 'MD', 'RD', 'Trace']
    """
    if values.shape[1] == 1:
        adc = values[:, 0]
        return {"ADC": adc, "MD": adc, "AD": adc, "RD": adc, "Trace": 3.0 * adc, "FA": 0.0 * adc}
    eigenvalues, vectors = eigensystem(values)
    found = invariants(eigenvalues)
    directed = found["fa"] > ROUNDING
    maps = {name: found[key] for name, key in _NAMES.items()}
    v1 = np.where(directed[:, None], vectors[:, :, 2], np.nan)
    return {**maps, "ADC": found["md"], "Trace": found["trace"], "V1": v1}
