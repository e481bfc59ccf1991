"""Phantoms that are given on a voxel grid: parameter maps, or labels with tissues; position → properties."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as member
from typing import Any, Literal

import numpy as np

from mrisim import data
from mrisim._types import Float, Int
from mrisim.errors import ConsistencyError, Finding, Problem, ResourceError
from mrisim.phantom.diffusion import tensor_maps
from mrisim.phantom.fibres import Fibre
from mrisim.phantom.fields import Polynomial
from mrisim.phantom.model import BYTES_PER_SPIN, Truth, free_memory
from mrisim.phantom.sampling import CHUNK, Sampling
from mrisim.phantom.tissues import BACKGROUND

Interpolation = Literal["nearest", "linear"]
TIMES = ("t1", "t2", "t2_prime")
QUANTITIES = ("pd", *TIMES, "df", "b1", "diffusion")
DEFAULTS: Mapping[str, float] = {
    "pd": 1.0, "t1": np.inf, "t2": np.inf, "t2_prime": np.inf, "df": 0.0, "b1": 1.0, "diffusion": 0.0,
}  # fmt: skip
COLUMNS = 9  # of the sums behind a truth: volume, protons, protons times R1, R2, R2star, df, b1; fast protons and D*
EDGE = 1e-9  # of a voxel: a point on the face between two voxels belongs to the upper one, whatever the rounding
_Corners = list[tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """What one tissue, or one of its resonances, has at each voxel; layers of a voxel add up.

    `values` holds pd [1], t1, t2, t2_prime [s], df [Hz], b1 [1], diffusion [m²/s], each a number or an array (z, y, x);
    what is missing has its default. With a `label`, pd counts only in the voxels of the model that carry it.
    """

    name: str
    values: Mapping[str, float | Float[np.ndarray, "z y x"]]
    label: int | None = None
    fibre: Fibre | None = None  # in place of diffusion
    fast: bool = False  # whether it is the pool of blood that flows through a tissue


@dataclass(frozen=True, kw_only=True, eq=False)
class VoxelModel:
    """Layers on a voxel grid that may lie obliquely; sampled anywhere by an interpolation that its maker names.

    "nearest" takes a voxel as a box that is the same all over. "linear" interpolates proton density between the centers
    of voxels; relaxation rates, off-resonance and transmit field are means over the same neighbours, weighted with
    their proton density, so that values of empty voxels do not leak in and T2 stays below 2 T1.

    Example:
        >>> grid = data.Grid.of((4, 4, 2), (0.002, 0.002, 0.005))
        >>> t1 = np.linspace(0.5, 1.5, 32).reshape(2, 4, 4)
        >>> model = VoxelModel(name="ramp", grid=grid, layers=(Layer(name="gel", values={"t1": t1, "t2": 0.1}),))
        >>> model.sample().n_spins
        32
    """

    name: str
    grid: data.Grid
    layers: tuple[Layer, ...]
    labels: Int[np.ndarray, "z y x"] | None = None
    interpolation: Interpolation = "nearest"
    field: float | None = None  # [T]
    b0: Polynomial = member(default_factory=Polynomial)  # on top of the layers' own [Hz]
    b1: Polynomial = member(default_factory=lambda: Polynomial(constant=1.0))  # times the layers' own [1]
    description: str = ""
    sources: tuple[str, ...] = ()
    default_voxel: tuple[float, float, float] | None = None  # [m]
    isochromats: int = 1  # default, per voxel
    parameters: Mapping[str, str | float | int] = member(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def voxel(self) -> tuple[float, float, float]:
        """Default side of a voxel along x, y, z: that of the grid along its axis that is nearest to each [m]."""
        if self.default_voxel is not None:
            return self.default_voxel
        nearest = np.abs(self.grid.geometry.rotation).argmax(axis=1)
        x, y, z = (float(self.grid.spacing[axis]) for axis in nearest)
        return x, y, z

    @property
    def size(self) -> tuple[float, float, float]:
        """Box along x, y, z that holds the grid [m]."""
        x, y, z = np.ptp(self._corner_positions(), axis=0)
        return float(x), float(y), float(z)

    def _corner_positions(self) -> Float[np.ndarray, "8 3"]:
        counts = np.array(self.grid.shape)
        ends = [np.array([-0.5, n - 0.5]) - n // 2 for n in counts]
        corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3) * self.grid.spacing
        return corners @ self.grid.geometry.rotation.T + self.grid.geometry.center

    def sampling(
        self,
        *,
        voxel: float | tuple[float, float, float] | None = None,
        isochromats: int | None = None,
        slab: float | None = None,
        geometry: data.Geometry | None = None,
        extent: tuple[float, float, float] | None = None,
    ) -> Sampling:
        """Sampling whose extent holds the grid along the geometry's axes, about the geometry's center.

        Args:
            voxel: One side or three [m]; default: the model's.
            isochromats: Per voxel.
            slab: Extent along the slice direction [m].
            geometry: Axes and center of the voxel grid; default: the physical axes.
            extent: Along read, phase and slice [m].

        Raises:
            ConsistencyError: slab and extent together.
        """
        geometry = geometry or data.Geometry()
        sides = np.broadcast_to(np.asarray(self.voxel if voxel is None else voxel, dtype=float), (3,))
        if slab is not None and extent is not None:
            raise ConsistencyError(
                Problem("must be left out where an extent is given, but is given", "Remove one", path="slab")
            )
        if extent is None:
            logical = (self._corner_positions() - geometry.center) @ geometry.rotation
            reach = 2.0 * np.abs(logical).max(axis=0)
            extent = (float(reach[0]), float(reach[1]), float(reach[2] if slab is None else slab))
        side = (float(sides[0]), float(sides[1]), float(sides[2]))
        count = self.isochromats if isochromats is None else isochromats
        return Sampling(geometry=geometry, extent=extent, voxel=side, isochromats=count)

    def sample(self, sampling: Sampling | None = None, *, memory: float | None = None) -> data.Phantom:
        """Isochromats where there are protons, one per layer, each with the properties at its own position.

        Args:
            sampling: Voxel grid and isochromats per voxel; default: the model's own.
            memory: What may be used [bytes]; default: what is free.

        Raises:
            ConsistencyError: no isochromat in the extent.
            ResourceError: more isochromats than fit into memory.
        """
        sampling = sampling or self.sampling()
        rotation, center = sampling.geometry.rotation, sampling.geometry.center
        unit = sampling.voxel_volume / sampling.isochromats
        budget = (memory if memory is not None else 0.9 * free_memory()) / (1.3 * BYTES_PER_SPIN)
        parts: list[dict[str, np.ndarray]] = []
        spins = 0
        logical_box = (self._corner_positions() - center) @ rotation
        for logical, lorentz in sampling.chunks((logical_box.min(axis=0), logical_box.max(axis=0))):
            for part in self._spins(logical @ rotation.T + center, lorentz, unit):
                spins += len(part["weight"])
                parts.append(part)
            if spins > budget:
                rule = f"must fit into {budget * 1.3 * BYTES_PER_SPIN / 1e9:.3g} GB of memory, but more is needed"
                raise ResourceError(Problem(rule, "Take a larger voxel, fewer isochromats per voxel or a thinner slab"))
        if spins == 0:
            rule = "must hold at least one isochromat with signal in the extent asked for, but holds none"
            raise ConsistencyError(Problem(rule, "Move the geometry's center or enlarge the slab", path="phantom"))
        columns: dict[str, Any] = {name: np.concatenate([part.pop(name) for part in parts]) for name in list(parts[0])}
        return data.Phantom(**columns, field=self.field, model=self, sampling=sampling, findings=self.findings)

    def _spins(
        self, position: Float[np.ndarray, "n 3"], lorentz: Float[np.ndarray, " n"], unit: float
    ) -> list[dict[str, np.ndarray]]:
        """Columns of the isochromats at positions, per layer."""
        inside, corners = self._neighbours(position)
        position, lorentz = position[inside], lorentz[inside]
        b0, b1 = self.b0.value(position), np.maximum(0.0, self.b1.value(position))
        parts = []
        for layer in self.layers:
            values = self._values(layer, corners)
            keep = values["pd"] > 0.0
            if not keep.any():
                continue
            columns = {name: values[name][keep] for name in QUANTITIES}
            columns["df"] = columns["df"] + b0[keep]
            columns["b1"] = columns["b1"] * b1[keep]
            weight = np.full(int(keep.sum()), unit)
            columns["curve"] = np.zeros(len(weight), dtype=np.int32)
            columns["diffusion"] = self._tensors(layer, columns["diffusion"], position[keep])
            parts.append({"position": position[keep], "weight": weight, "lorentz": lorentz[keep], **columns})
        return parts

    @property
    def anisotropic(self) -> bool:
        """Whether diffusion depends on direction somewhere."""
        return any(layer.fibre is not None for layer in self.layers)

    def _tensors(
        self, layer: Layer, coefficient: Float[np.ndarray, " n"], position: Float[np.ndarray, "n 3"]
    ) -> Float[np.ndarray, "n components"]:
        """Coefficients, or all tensors where the phantom has fibres [m²/s]."""
        if layer.fibre is not None:
            return layer.fibre.tensors(position)
        column = coefficient[:, None]
        return column * np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]) if self.anisotropic else column

    def _neighbours(self, position: Float[np.ndarray, "n 3"]) -> tuple[Int[np.ndarray, " inside"], _Corners]:
        """Positions inside the grid; flat indices of the voxels that each draws on, and their weights."""
        geometry, counts = self.grid.geometry, np.array(self.grid.shape)
        index = (position - geometry.center) @ geometry.rotation / np.array(self.grid.spacing) + counts // 2
        inside = np.flatnonzero(((index + 0.5 >= -EDGE) & (index + 0.5 < counts - EDGE)).all(axis=1))
        index = index[inside]
        if self.interpolation == "nearest":
            return inside, [(self._flat(np.floor(index + 0.5 + EDGE)), np.ones(len(index)))]
        lower = np.floor(index)
        upper_share = index - lower
        corners: _Corners = []
        for corner in np.ndindex(2, 2, 2):
            weight = np.where(corner, upper_share, 1.0 - upper_share).prod(axis=1)
            corners.append((self._flat(lower + corner), weight))
        return inside, corners

    def _flat(self, index: Float[np.ndarray, "n 3"]) -> Int[np.ndarray, " n"]:
        nx, ny, nz = self.grid.shape
        x, y, z = np.clip(index, 0, [nx - 1, ny - 1, nz - 1]).astype(np.int64).T
        return (z * ny + y) * nx + x

    def _values(self, layer: Layer, corners: _Corners) -> dict[str, Float[np.ndarray, " n"]]:
        """All quantities of a layer at positions; pd is zero where it has no signal."""
        if len(corners) == 1:
            return {name: self._take(layer, name, corners[0][0]) for name in QUANTITIES}
        protons = [self._take(layer, "pd", flat) * weight for flat, weight in corners]
        total = np.sum(protons, axis=0)
        result = {"pd": total}
        scale = np.where(total > 0.0, total, 1.0)
        for name in QUANTITIES[1:]:
            mean = np.zeros(len(total))
            for (flat, _), share in zip(corners, protons, strict=True):
                value = self._take(layer, name, flat)
                present = share > 0.0
                mean[present] += share[present] * (1.0 / value[present] if name in TIMES else value[present])
            mean /= scale
            result[name] = _inverse(mean) if name in TIMES else mean
        return result

    def _take(self, layer: Layer, name: str, flat: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        value = layer.values.get(name, DEFAULTS[name])
        taken = np.full(len(flat), float(value)) if np.ndim(value) == 0 else np.asarray(value).reshape(-1)[flat]
        taken = taken.astype(float, copy=False)
        if name == "pd" and layer.label is not None and self.labels is not None:
            taken = np.where(self.labels.reshape(-1)[flat] == layer.label, taken, 0.0)
        return taken

    def truth(self, grid: data.Grid, supersampling: int = 4) -> Truth:
        """Shares of the layers and parameter maps on an image grid, each voxel sampled n × n × n times.

        T1, T2, T2star, B0, B1 and diffusion are proton-weighted means (of rates, for the times) over the layer that
        holds most protons of the voxel, nan where there is no signal. PD is the mean over the voxel. Where layers share
        a point, its volume is divided between them by their protons.

        Args:
            grid: Image grid.
            supersampling: Points along each side of a voxel.

        Raises:
            ConsistencyError: a supersampling below 1.
        """
        if supersampling < 1:
            raise ConsistencyError(Problem(f"must be at least 1, but is {supersampling}", path="supersampling"))
        names = tuple(dict.fromkeys([BACKGROUND, *(layer.name for layer in self.layers)]))
        local = _inside_voxel(grid, supersampling)
        centers = grid.positions().reshape(-1, 3)
        width = COLUMNS + (6 if self.anisotropic else 1)
        sums = np.zeros((len(names), width, len(centers)))
        step = max(1, CHUNK // len(local))
        for start in range(0, len(centers), step):
            points = (centers[start : start + step, None, :] + local).reshape(-1, 3)
            sums[:, :, start : start + step] = (
                self._sums(points, names, width).reshape(len(names), width, -1, len(local)).sum(-1)
            )
        sums /= len(local)
        sums[0, 0] = 1.0 - sums[1:, 0].sum(axis=0)
        return _truth(grid, names, sums)

    def _sums(
        self, points: Float[np.ndarray, "n 3"], names: tuple[str, ...], width: int
    ) -> Float[np.ndarray, "names columns n"]:
        inside, corners = self._neighbours(points)
        found = np.zeros((len(names), width, len(inside)))
        b0, b1 = self.b0.value(points[inside]), np.maximum(0.0, self.b1.value(points[inside]))
        for layer in self.layers:
            values = self._values(layer, corners)
            keep = values["pd"] > 0.0
            protons = values["pd"][keep]
            row = found[names.index(layer.name)]
            r2 = 1.0 / values["t2"][keep]
            columns = (1.0 / values["t1"][keep], r2, r2 + 1.0 / values["t2_prime"][keep])
            columns += (values["df"][keep] + b0[keep], values["b1"][keep] * b1[keep])
            row[1, keep] += protons
            for i, column in enumerate(columns):
                row[i + 2, keep] += protons * column
            diffusion = values["diffusion"][keep]
            if layer.fast:
                row[7, keep] += protons
                row[8, keep] += protons * diffusion
            else:
                row[9:, keep] += protons * self._tensors(layer, diffusion, points[inside][keep]).T
        total = found[:, 1].sum(axis=0)
        found[:, 0] = found[:, 1] / np.where(total > 0.0, total, 1.0)
        result = np.zeros((len(names), width, len(points)))
        result[:, :, inside] = found
        return result


def _inverse(rate: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return np.divide(1.0, rate, out=np.full(len(rate), np.inf), where=rate > 0.0)


def _inside_voxel(grid: data.Grid, n: int) -> Float[np.ndarray, "points 3"]:
    """Points of an image voxel relative to its center, physical axes [m]."""
    offsets = (np.arange(n) + 0.5) / n - 0.5
    sides = np.array([grid.spacing[0], grid.spacing[1], grid.thickness or grid.spacing[2]])
    local = np.stack(np.meshgrid(offsets, offsets, offsets, indexing="ij"), axis=-1).reshape(-1, 3) * sides
    return local @ grid.geometry.rotation.T


def _truth(grid: data.Grid, names: tuple[str, ...], sums: Float[np.ndarray, "names columns n"]) -> Truth:
    shape = grid.shape[::-1]
    most = sums[:, 1].argmax(axis=0)
    chosen = sums[most, :, np.arange(sums.shape[2])].T
    empty = chosen[1] == 0.0
    means = np.where(empty, np.nan, chosen[2:7] / np.where(empty, 1.0, chosen[1]))
    with np.errstate(divide="ignore"):
        times = 1.0 / means[:3]
    maps = dict(zip(("T1", "T2", "T2star", "B0", "B1"), [*times, *means[3:]], strict=True))
    maps["PD"] = sums[:, 1].sum(axis=0)
    maps["R2star"] = means[2]
    maps |= _diffusion(chosen)
    fractions = sums[:, 0]
    label = fractions.argmax(axis=0)
    purity = fractions.max(axis=0)
    return Truth(
        fractions=fractions.reshape(-1, *shape),
        names=names,
        maps={name: values.reshape((*shape, *values.shape[1:])) for name, values in maps.items()},
        purity=purity.reshape(shape),
        label=label.reshape(shape),
        grid=grid,
    )


def _diffusion(chosen: Float[np.ndarray, "columns n"]) -> dict[str, np.ndarray]:
    """Maps of diffusion of the layer that stands for each voxel."""
    protons, fast = chosen[1], chosen[7]
    slow = protons - fast
    with np.errstate(divide="ignore", invalid="ignore"):
        maps = tensor_maps((chosen[9:] / np.where(slow > 0.0, slow, np.nan)).T)
        if fast.any():
            maps |= {"D": maps["ADC"], "f": fast / np.where(protons > 0.0, protons, np.nan)}
            maps["Dstar"] = chosen[8] / np.where(fast > 0.0, fast, np.nan)
    return maps
