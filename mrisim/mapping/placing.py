"""Values of a map at places that are not the centers of its voxels."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import map_coordinates

from mrisim._types import Float
from mrisim.data import ParameterMap


def interpolated(values: ParameterMap, position: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, " points"]:
    """A map at physical positions, linear between its voxels; voxels without a value have no share.

    Beyond the outermost centers the nearest value holds as far as its voxel reaches. Elsewhere, and where less than
    half of the share has a value, the result is nan.

    Args:
        values: Map of one number per voxel, slices equidistant.
        position: Physical positions [m].

    Example:
        >>> from mrisim.data import Grid
        >>> grid = Grid.of((2, 1, 1), (1.0, 1.0, 1.0))
        >>> line = ParameterMap(name="x", unit="1", data=np.array([[[0.0, 1.0]]]), grid=grid)
        >>> interpolated(line, np.array([[-0.75, 0.0, 0.0], [9.0, 0.0, 0.0]])).tolist()
        [0.25, nan]
    """
    grid = values.grid
    logical = (position - grid.geometry.center) @ grid.geometry.rotation
    thickness = grid.thickness or grid.spacing[2]
    step = np.diff(grid.slice_positions)[0] if len(grid.slice_positions) > 1 else thickness
    places = [logical[:, axis] / grid.spacing[axis] + grid.shape[axis] // 2 for axis in (0, 1)]
    places.append((logical[:, 2] - grid.slice_positions[0]) / step)
    counts = [grid.shape[0], grid.shape[1], len(grid.slice_positions)]
    reach = [0.5, 0.5, 0.5 * thickness / abs(step)]
    bounds = zip(places, counts, reach, strict=True)
    inside = np.all([(place >= -far - 1e-6) & (place <= n - 1 + far + 1e-6) for place, n, far in bounds], axis=0)
    known = np.isfinite(values.data) if values.mask is None else values.mask & np.isfinite(values.data)
    at = np.stack(places[::-1])
    share = map_coordinates(known.astype(float), at, order=1, mode="nearest")
    total = map_coordinates(np.where(known, values.data, 0.0), at, order=1, mode="nearest")
    good = inside & (share >= 0.5)
    return np.where(good, total / np.where(good, share, 1.0), np.nan)
