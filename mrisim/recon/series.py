"""Several images of one object → one image with a contrast axis."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mrisim.data import Image
from mrisim.errors import ConsistencyError, Problem


def stack(images: Iterable[Image], name: str | None = None) -> Image:
    """Join the contrasts of several images, in the order given: the scans of a series, one per TI or TE.

    Args:
        images: Images on one grid, all magnitudes or all complex.
        name: Of the result; that of the first image where not given.

    Raises:
        ConsistencyError: no image, or images whose grids, coordinates or kinds differ.

    Example:
        >>> from mrisim.data import Grid
        >>> grid = Grid.of((1, 1, 1), (1e-3, 1e-3, 1e-3))
        >>> scans = [Image(data=np.full((1, 1, 1, 1), te), grid=grid, coordinates={"te": np.array([te])})
        ...          for te in (0.01, 0.02)]
        >>> stack(scans).coordinates["te"].tolist()
        [0.01, 0.02]
    """
    images = list(images)
    if not images:
        raise ConsistencyError(Problem("must hold at least one image, but is empty", path="images"))
    first = images[0]
    problems = []
    for number, image in enumerate(images[1:], start=1):
        path = f"images[{number}]"
        if not image.grid.matches(first.grid):
            problems.append(Problem("must lie on the grid of the first image, but lies on another", path=path))
        if set(image.coordinates) != set(first.coordinates):
            problems.append(Problem("must have the coordinates of the first image, but has others", path=path))
        if is_magnitude(image) != is_magnitude(first):
            problems.append(Problem("must be complex or a magnitude as the first image, but is not", path=path))
    if problems:
        raise ConsistencyError(problems)
    coordinates = {key: np.concatenate([image.coordinates[key] for image in images]) for key in first.coordinates}
    return Image(
        data=np.concatenate([image.data for image in images]),
        grid=first.grid,
        coordinates=coordinates,
        name=name or first.name,
        unit=first.unit,
        findings=tuple(dict.fromkeys(finding for image in images for finding in image.findings)),
        sequence=first.sequence,
        provenance={**first.provenance, "scans": tuple(image.provenance for image in images)},
    )


def is_magnitude(image: Image) -> bool:
    """Whether the phase of an image was given up in its reconstruction."""
    return bool(image.provenance.get("recon", {}).get("magnitude", False))
