"""What a run needs of a phantom that it samples itself."""

from __future__ import annotations

from typing import Protocol

from mrisim import data
from mrisim.phantom.model import Truth
from mrisim.phantom.sampling import Sampling


class Model(Protocol):
    """A phantom that can be sampled on any voxel grid: shapes (`PhantomModel`) or voxels (`VoxelModel`)."""

    @property
    def name(self) -> str:
        """What it is called in reports."""
        ...

    @property
    def field(self) -> float | None:
        """Field strength that its properties hold for [T]; None where nothing says."""
        ...

    @property
    def voxel(self) -> tuple[float, float, float]:
        """Default side of a voxel along x, y, z [m]."""
        ...

    def sampling(
        self,
        *,
        voxel: float | tuple[float, float, float] | None = None,
        isochromats: int | None = None,
        slab: float | None = None,
        geometry: data.Geometry | None = None,
        extent: tuple[float, float, float] | None = None,
    ) -> Sampling:
        """Sampling that holds the phantom along the geometry's axes."""
        ...

    def sample(self, sampling: Sampling | None = None, *, memory: float | None = None) -> data.Phantom:
        """Isochromats, each with the properties at its own position."""
        ...

    def truth(self, grid: data.Grid, supersampling: int = 4) -> Truth:
        """Parameter maps and fractions of tissues on an image grid."""
        ...
