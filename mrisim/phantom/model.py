"""A resolved phantom on the host: what lies where, its isochromats, its truth on an image grid and its k-space."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as member
from typing import Any, Literal

import numpy as np

from mrisim import data
from mrisim._types import Bool, Complex, Float, Int
from mrisim.errors import ConsistencyError, Problem, ResourceError
from mrisim.phantom.diffusion import diffusion_truth
from mrisim.phantom.enhancement import Agent, kinetic_truth, uptake_of
from mrisim.phantom.fields import DipoleMap, Polynomial, dipole_map
from mrisim.phantom.sampling import CHUNK, Sampling
from mrisim.phantom.shapes import Prism, Ribbon, Shape
from mrisim.phantom.tissues import Species, Tissue

BYTES_PER_SPIN = 12 * 8
"""Columns of a `data.Phantom` in float64; five more where it holds tensors."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Painted:
    """A shape and the index of its tissue."""

    shape: Shape
    tissue: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Points:
    """Isochromats without extent, on top of what is painted."""

    position: Float[np.ndarray, "n 3"]  # [m]
    volume: float  # of each [m³]
    tissue: int


@dataclass(frozen=True, kw_only=True)
class Susceptibility:
    """How the dipole field is computed."""

    resolution: float  # [m]
    shim: Literal["none", "constant", "linear"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """What an image of the phantom should show. Tissue 0 is the air outside."""

    fractions: Float[np.ndarray, "tissue z y x"]  # of the voxel's volume; they add up to 1
    names: tuple[str, ...]  # of the tissues
    maps: Mapping[str, Float[np.ndarray, "z y x"]]  # PD [1]; T1, T2, T2star [s], nan without signal; B0 [Hz]; B1 [1];
    # PDFF [1]; R2star [1/s]; ADC, MD, AD, RD, Trace, D, Dstar [m²/s], FA, f [1], V1 (z, y, x, 3)
    purity: Float[np.ndarray, "z y x"]  # volume fraction of the labelled tissue
    label: Int[np.ndarray, "z y x"]  # tissue with the largest volume fraction
    grid: data.Grid

    def mask(self, name: str, purity: float = 1.0) -> np.ndarray:
        """Voxels (z, y, x) that hold at least a volume fraction of one tissue."""
        return self.fractions[self.names.index(name)] >= purity - 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class PhantomModel:
    """Shapes with tissues, in order, later over earlier; and field maps. Everything in SI, in float64.

    Example:
        >>> from mrisim.phantom import load_model
        >>> model = load_model("brain")
        >>> model.tissues[int(model.tissue_at([[0.0, 0.0, 0.5]])[0])].name
        'air'
    """

    name: str
    description: str = ""
    sources: tuple[str, ...] = ()
    field: float  # [T]
    gamma: float  # gyromagnetic ratio over 2 pi [Hz/T]
    size: tuple[float, float, float]  # of the region that is sampled unless another is asked for [m]; 0 along z: flat
    voxel: tuple[float, float, float]  # default [m]
    isochromats: int = 1  # default, per voxel
    t2_prime: bool = True  # whether isochromats spread over a Lorentzian line
    tissues: tuple[Tissue, ...]
    shapes: tuple[Painted, ...] = ()
    points: tuple[Points, ...] = ()
    b0: Polynomial = member(default_factory=Polynomial)  # [Hz]
    b1: Polynomial = member(default_factory=lambda: Polynomial(constant=1.0))  # [1]
    susceptibility: Susceptibility | None = None
    parameters: Mapping[str, str | float | int] = member(default_factory=dict)
    agent: Agent | None = None  # contrast agent

    @property
    def flat(self) -> bool:
        """Whether the phantom is a plane at z = 0, whose weights and form factors are areas [m²]."""
        return self.size[2] == 0.0

    def tissue_at(self, points: Float[np.ndarray, "n 3"]) -> Int[np.ndarray, " n"]:
        """Index into `tissues` at physical positions [m]; 0 is outside."""
        points = np.atleast_2d(np.asarray(points, dtype=float))
        result = np.zeros(len(points), dtype=np.int16)
        if len(points) == 0:
            return result
        rest, where = np.asfortranarray(points), np.arange(len(points))
        low, high = rest.min(axis=0), rest.max(axis=0)
        for painted in reversed(self.shapes):  # what lies on top first: what it holds is settled
            begin, end = painted.shape.bounds
            if (begin > high).any() or (end < low).any():
                continue
            inside = painted.shape.contains(rest)
            if inside.any():
                result[where[inside]] = painted.tissue
                where = where[~inside]
                rest = np.asfortranarray(rest[~inside])
        return result

    def b0_at(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Off-resonance at physical positions [Hz], chemical shift apart."""
        points = np.atleast_2d(np.asarray(points, dtype=float))
        result = self.b0.value(points)
        if self.susceptibility is not None:
            dipole, shim = self._dipole
            result = result + (dipole.value(points) - shim.value(points)) * 1e-6 * self.field * self.gamma
        return result

    def b1_at(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Transmit field relative to nominal at physical positions, never below zero."""
        return np.maximum(0.0, self.b1.value(np.atleast_2d(np.asarray(points, dtype=float))))

    @functools.cached_property
    def _dipole(self) -> tuple[DipoleMap, Polynomial]:
        """Dipole field and shim [ppm]."""
        settings = self.susceptibility
        if settings is None or not self.shapes:
            return DipoleMap(values=np.zeros((1, 1, 1)), origin=np.zeros(3), spacing=1.0), Polynomial()
        corners = [painted.shape.bounds for painted in self.shapes]
        low, high = np.min([c[0] for c in corners], axis=0), np.max([c[1] for c in corners], axis=0)
        reach = max(self.size)
        low, high = np.maximum(low, -reach), np.minimum(high, reach)  # prisms of a flat phantom have no ends
        chi = np.array([tissue.chi for tissue in self.tissues])
        outside = float(chi[0])
        grid = dipole_map(lambda r: chi[self.tissue_at(r)], low, high, settings.resolution, outside, self._endless)
        return grid, self._shim(grid, settings.shim)

    @property
    def _endless(self) -> bool:
        """Whether nothing changes along z, so that the field is that of bodies without ends."""
        half = 0.5 * self.size[2]
        bodies = [p.shape.body for p in self.shapes if abs(abs(p.shape.axes[2, 2]) - 1.0) < 1e-9]
        return len(bodies) == len(self.shapes) and all(isinstance(b, Prism) and b.half_height >= half for b in bodies)

    def _shim(self, grid: DipoleMap, order: str) -> Polynomial:
        """Least-squares constant, or plane, over what gives signal in the default region [ppm]."""
        sampling = self.sampling(voxel=max(grid.spacing, max(self.size) / 60.0), isochromats=1)
        points = np.concatenate([chunk for chunk, _ in sampling.chunks()])
        signal = np.array([bool(tissue.species) and tissue.pd > 0.0 for tissue in self.tissues])
        points = points[signal[self.tissue_at(points)]]
        if order == "none" or len(points) < 4:
            return Polynomial()
        basis = np.hstack([np.ones((len(points), 1)), points if order == "linear" else np.zeros((len(points), 3))])
        fit = np.linalg.lstsq(basis, grid.value(points), rcond=None)[0]
        return Polynomial(constant=float(fit[0]), linear=fit[1:])

    def sampling(
        self,
        *,
        voxel: float | tuple[float, float, float] | None = None,
        isochromats: int | None = None,
        slab: float | None = None,
        geometry: data.Geometry | None = None,
        extent: tuple[float, float, float] | None = None,
    ) -> Sampling:
        """Sampling with this phantom's defaults: the extent holds the phantom along the geometry's axes.

        Args:
            voxel: One side or three [m].
            isochromats: Per voxel.
            slab: Extent along the slice direction [m].
            geometry: Axes and center of the voxel grid.
            extent: Along read, phase and slice [m].

        Raises:
            ConsistencyError: a slab of a flat phantom, or slab and extent together.
        """
        geometry = geometry or data.Geometry()
        sides = np.array(self.voxel if voxel is None else np.broadcast_to(np.asarray(voxel, dtype=float), (3,)))
        if slab is not None and (self.flat or extent is not None):
            rule = "must be left out for a flat phantom" if self.flat else "must be left out where an extent is given"
            remedy = "Extrude the phantom, such as extrude='10 mm'" if self.flat else "Remove one"
            raise ConsistencyError(Problem(f"{rule}, but is given", remedy, path="slab"))
        if extent is None:
            turn = np.abs(geometry.rotation.T)
            reach = turn @ np.asarray(self.size) + 2.0 * np.abs(geometry.rotation.T @ geometry.center)
            reach[2] = slab if slab is not None else max(float(reach[2]), sides[2] if self.flat else 0.0)
            extent = (float(reach[0]), float(reach[1]), float(reach[2]))
        count = self.isochromats if isochromats is None else isochromats
        side = (float(sides[0]), float(sides[1]), float(sides[2]))
        return Sampling(geometry=geometry, extent=extent, voxel=side, isochromats=count)

    def sample(self, sampling: Sampling | None = None, *, memory: float | None = None) -> data.Phantom:
        """Isochromats with a tissue, each with the properties at its own position.

        Partial volume comes from the isochromats of a voxel lying in different tissues. Weights are the voxel's volume
        over its isochromats [m³] times the share of a species; of a flat phantom, areas [m²] at z = 0.

        Args:
            sampling: Voxel grid and isochromats per voxel; default: the phantom's own.
            memory: What may be used [bytes]; default: what is free.

        Raises:
            ConsistencyError: no isochromat in the extent, or a flat phantom on a tilted geometry.
            ResourceError: more isochromats than fit into memory.
        """
        sampling = sampling or self.sampling()
        rotation, center = sampling.geometry.rotation, sampling.geometry.center
        if self.flat and abs(abs(rotation[2, 2]) - 1.0) > 1e-9:
            rule = "must be solid where the geometry is tilted, but is flat"
            raise ConsistencyError(Problem(rule, "Extrude the phantom, such as extrude='10 mm'", path="phantom"))
        self._check_memory(sampling, memory)
        unit = sampling.voxel_volume / (sampling.voxel[2] if self.flat else 1.0) / sampling.isochromats
        parts = []
        for logical, lorentz in sampling.chunks(self._within(sampling)):
            position = logical @ rotation.T + center
            if self.flat:
                position[:, 2] = 0.0
            parts.append(self._spins(position, lorentz, self.tissue_at(position), unit))
        parts += self._point_spins(sampling)
        columns: dict[str, Any] = {name: np.concatenate([part.pop(name) for part in parts]) for name in list(parts[0])}
        if len(columns["weight"]) == 0:
            rule = "must hold at least one isochromat with signal in the extent asked for, but holds none"
            raise ConsistencyError(Problem(rule, "Move the geometry's center or enlarge the slab", path="phantom"))
        return data.Phantom(**columns, field=self.field, model=self, sampling=sampling, uptake=self.uptake)

    def _within(self, sampling: Sampling) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]]:
        """Corners of a box along the logical axes, about the sampling's center, that holds all shapes [m]."""
        if not self.shapes:
            return np.zeros(3), np.zeros(3)
        reach = 0.5 * np.asarray(sampling.extent) @ np.abs(sampling.geometry.rotation.T)
        low = np.min([painted.shape.bounds[0] for painted in self.shapes], axis=0) - sampling.geometry.center
        high = np.max([painted.shape.bounds[1] for painted in self.shapes], axis=0) - sampling.geometry.center
        low, high = np.clip(low, -reach, reach), np.clip(high, -reach, reach)
        middle = 0.5 * (low + high) @ sampling.geometry.rotation
        half = 0.5 * (high - low) @ np.abs(sampling.geometry.rotation)
        return middle - half, middle + half

    def _spins(
        self,
        position: Float[np.ndarray, "n 3"],
        lorentz: Float[np.ndarray, " n"],
        tissue: Int[np.ndarray, " n"],
        unit: float,
    ) -> dict[str, np.ndarray]:
        """Columns of the isochromats at positions: one per species of the tissue there."""
        table, first, count = self._species
        keep = np.flatnonzero(count[tissue])
        repeat = count[tissue[keep]]
        spin = np.repeat(keep, repeat)
        rank = np.arange(len(spin)) - np.repeat(np.cumsum(repeat) - repeat, repeat)
        kind = first[tissue[spin]] + rank
        position = position[spin]
        return {
            "position": position,
            "weight": table["share"][kind] * unit,
            "pd": table["pd"][kind],
            "t1": table["t1"][kind],
            "t2": table["t2"][kind],
            "df": self.b0_at(position) + table["shift"][kind] * 1e-6 * self.field * self.gamma,
            "b1": self.b1_at(position),
            "t2_prime": table["t2_prime"][kind] if self.t2_prime else np.full(len(spin), np.inf),
            "lorentz": lorentz[spin],
            "diffusion": self._diffusion(position, kind),
            "curve": self._curves[tissue[spin]],
        }

    @functools.cached_property
    def _curves(self) -> Int[np.ndarray, " tissue"]:
        """Curve of the uptake that each tissue follows, 0 for none."""
        takes = np.array([tissue.kinetics is not None for tissue in self.tissues])
        return np.where(takes, np.cumsum(takes), 0).astype(np.int32)

    @functools.cached_property
    def uptake(self) -> data.Uptake | None:
        """Concentration of the contrast agent in every tissue that takes it up; None without an agent."""
        if self.agent is None:
            return None
        return uptake_of(self.agent, [t.kinetics for t in self.tissues if t.kinetics is not None])

    def _diffusion(
        self, position: Float[np.ndarray, "n 3"], kind: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n components"]:
        """Coefficient of each isochromat, or all tensors where the phantom has fibres [m²/s]."""
        coefficient = self._species[0]["diffusion"][kind][:, None]
        if not self.anisotropic:
            return coefficient
        tensors = coefficient * np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
        for number, species in enumerate(self._with_signal):
            if species.fibre is not None:
                rows = np.flatnonzero(kind == number)
                tensors[rows] = species.fibre.tensors(position[rows])
        return tensors

    @property
    def anisotropic(self) -> bool:
        """Whether diffusion depends on direction somewhere."""
        return any(tissue.anisotropic for tissue in self.tissues)

    @property
    def _with_signal(self) -> list[Species]:
        return [s for tissue in self.tissues for s in tissue.species if s.pd * s.share > 0.0]

    @functools.cached_property
    def _species(self) -> tuple[dict[str, np.ndarray], Int[np.ndarray, " tissue"], Int[np.ndarray, " tissue"]]:
        """Species with signal of all tissues as columns, the first one of each tissue, and how many it has."""
        count = np.array([sum(s.pd * s.share > 0.0 for s in tissue.species) for tissue in self.tissues])
        flat = self._with_signal
        names = ("share", "pd", "t1", "t2", "shift", "t2_prime", "diffusion")
        columns = {name: np.array([getattr(s, name) for s in flat], dtype=float) for name in names}
        return columns, np.cumsum(count) - count, count

    def _point_spins(self, sampling: Sampling) -> list[dict[str, np.ndarray]]:
        half = 0.5 * np.asarray(sampling.extent) * (1.0 + 1e-12)
        parts = []
        for points in self.points:
            logical = (points.position - sampling.geometry.center) @ sampling.geometry.rotation
            inside = points.position[(np.abs(logical) <= half).all(axis=1)]
            lorentz = (np.arange(len(inside)) * 0.6180339887498949 + 0.5) % 1.0 - 0.5
            parts.append(self._spins(inside, lorentz, np.full(len(inside), points.tissue), points.volume))
        return parts

    def _check_memory(self, sampling: Sampling, memory: float | None) -> None:
        candidates = math.prod(sampling.voxels) * sampling.isochromats
        if candidates * BYTES_PER_SPIN < 50e6 and memory is None:
            return
        spread = (np.arange(8192)[:, None] * np.array([0.8191725134, 0.6710436067, 0.5497004779])) % 1.0 - 0.5  # R3
        logical = spread * np.asarray(sampling.extent)
        position = logical @ sampling.geometry.rotation.T + sampling.geometry.center
        spins = candidates * float(self._species[2][self.tissue_at(position)].mean())
        need = spins * (BYTES_PER_SPIN + 5 * 8 * self.anisotropic) * 1.3  # one column more while they are joined
        free = memory if memory is not None else 0.9 * free_memory()
        if need > free:
            rule = f"must fit into {free / 1e9:.3g} GB of memory, but {spins:.2g} isochromats need {need / 1e9:.3g} GB"
            raise ResourceError(Problem(rule, "Take a larger voxel, fewer isochromats per voxel or a thinner slab"))

    def truth(self, grid: data.Grid, supersampling: int = 4) -> Truth:
        """Volume fractions and parameter maps on an image grid, each voxel sampled n × n × n times.

        T1, T2 and T2star are those of the tissue that holds most protons of the voxel, nan where none does; PD is the
        mean over the voxel. Thickness is the grid's, where it has one. Points without extent are left out, and so
        is what lies beyond the region that is sampled by default along the slice direction.

        Args:
            grid: Image grid.
            supersampling: Points along each side of a voxel.

        Raises:
            ConsistencyError: a supersampling below 1.
        """
        if supersampling < 1:
            raise ConsistencyError(Problem(f"must be at least 1, but is {supersampling}", path="supersampling"))
        offsets = (np.arange(supersampling) + 0.5) / supersampling - 0.5
        sides = np.array([grid.spacing[0], grid.spacing[1], grid.thickness or grid.spacing[2]])
        local = np.stack(np.meshgrid(offsets, offsets, offsets, indexing="ij"), axis=-1).reshape(-1, 3) * sides
        local = local @ grid.geometry.rotation.T
        centers = grid.positions()
        shape = centers.shape[:3]
        flat = centers.reshape(-1, 3)
        counts = np.zeros((len(self.tissues), len(flat)), dtype=np.int32)
        step = max(1, CHUNK // len(local))
        for start in range(0, len(flat), step):
            block = flat[start : start + step]
            points = (block[:, None, :] + local).reshape(-1, 3)
            tissue = np.where(self._sampled(points, grid.geometry), self.tissue_at(points), 0).reshape(len(block), -1)
            for i in range(len(self.tissues)):
                counts[i, start : start + step] = (tissue == i).sum(axis=1)
        fractions = (counts / len(local)).reshape(-1, *shape)
        return self._truth(grid, fractions)

    def _sampled(self, points: Float[np.ndarray, "n 3"], geometry: data.Geometry) -> Bool[np.ndarray, " n"]:
        """Whether isochromats lie there: shapes without an end go on beyond the slab along the slice direction."""
        if self.flat:
            return np.ones(len(points), dtype=bool)
        along = (points - geometry.center) @ geometry.rotation[:, 2]
        return np.abs(along) <= 0.5 * self.sampling(geometry=geometry).extent[2] * (1.0 + 1e-12)

    def _truth(self, grid: data.Grid, fractions: Float[np.ndarray, "tissue z y x"]) -> Truth:
        pd = np.array([tissue.pd for tissue in self.tissues])
        protons = fractions * pd[:, None, None, None]
        most = protons.argmax(axis=0)
        label = fractions.argmax(axis=0)
        empty = protons.sum(axis=0) == 0.0
        table = {
            "T1": [tissue.t1 for tissue in self.tissues],
            "T2": [tissue.t2 for tissue in self.tissues],
            "T2star": [tissue.t2_star if self.t2_prime else tissue.t2 for tissue in self.tissues],
        }
        maps = {name: np.where(empty, np.nan, np.array(values)[most]) for name, values in table.items()}
        positions = grid.positions()
        points = positions.reshape(-1, 3)
        maps |= {
            "PD": protons.sum(axis=0),
            "PDFF": self._fat_fraction(protons),
            "R2star": 1.0 / maps["T2star"],
            "B0": self.b0_at(points).reshape(positions.shape[:3]),
            "B1": self.b1_at(points).reshape(positions.shape[:3]),
        }
        maps |= kinetic_truth([tissue.kinetics for tissue in self.tissues], most, empty)
        maps |= diffusion_truth(self.tissues, most, empty, positions)
        purity = np.take_along_axis(fractions, label[None], axis=0)[0]
        names = tuple(tissue.name for tissue in self.tissues)
        return Truth(fractions=fractions, names=names, maps=maps, purity=purity, label=label, grid=grid)

    def _fat_fraction(self, protons: Float[np.ndarray, "tissue z y x"]) -> Float[np.ndarray, "z y x"]:
        """Fat of all protons of each voxel [1]; nan where there are none."""
        share = np.array([tissue.fat_share if tissue.pd > 0.0 else 0.0 for tissue in self.tissues])
        total = protons.sum(axis=0)
        return np.tensordot(share, protons, axes=1) / np.where(total > 0.0, total, np.nan)

    def form_factors(self, k: Float[np.ndarray, "n 3"]) -> dict[str, Complex[np.ndarray, " n"]]:
        """Exact Fourier transform ∫ exp(-2πi k·r) dr of the region of each tissue [m³].

        A flat phantom gives [m²] and ignores kz. Solid prisms without a height of their own are as high as the phantom.
        Each shape must lie inside one that it is painted over, cover it, or be apart from it, which is tested at some
        thousand points of each surface. Proton density is not in it.

        Args:
            k: Spatial frequency, physical axes [1/m].

        Raises:
            ConsistencyError: ribbons, shapes that overlap in part, or a flat phantom with solid shapes.

        Example:
            >>> from mrisim.phantom import load_model
            >>> disc = load_model("ellipse_box").form_factors([[0.0, 0.0, 0.0]])
            >>> sorted(disc)
            ['csf', 'gray_matter', 'white_matter']
        """
        k = np.atleast_2d(np.asarray(k, dtype=float))
        result: dict[str, Complex[np.ndarray, " n"]] = {}

        def add(tissue: int, values: Complex[np.ndarray, " n"]) -> None:
            if tissue:
                name = self.tissues[tissue].name
                result[name] = result[name] + values if name in result else values

        for painted, parent in self._nesting:
            values = painted.shape.transform(k)
            add(painted.tissue, values)
            add(parent, -values)
        for points in self.points:
            add(points.tissue, points.volume * np.exp(-2j * np.pi * (k @ points.position.T)).sum(axis=1))
        return result

    @functools.cached_property
    def _nesting(self) -> list[tuple[Painted, int]]:
        """Visible shapes, each with the tissue that it replaces."""
        self._check_closed_form()
        visible: list[tuple[Painted, int]] = []
        for painted in self.shapes:
            relations = [_relation(painted.shape, earlier.shape) for earlier, _ in visible]
            for (earlier, _), relation in zip(visible, relations, strict=True):
                if relation == "overlaps":
                    names = " and ".join(f"'{self.tissues[p.tissue].name}'" for p in (earlier, painted))
                    rule = f"must be nested or apart for a closed form, but shapes of {names} overlap in part"
                    raise ConsistencyError(Problem(rule, "Sample the phantom instead", path="phantom"))
            kept = [pair for pair, relation in zip(visible, relations, strict=True) if relation != "covers"]
            inside = [earlier.tissue for (earlier, _), r in zip(visible, relations, strict=True) if r == "inside"]
            visible = [*kept, (painted, inside[-1] if inside else 0)]
        return visible

    def _check_closed_form(self) -> None:
        if any(isinstance(painted.shape.body, Ribbon) for painted in self.shapes):
            rule = "must hold shapes with a closed-form transform only, but holds a ribbon"
            raise ConsistencyError(Problem(rule, "Sample the phantom instead", path="phantom"))
        if self.flat and not all(_is_flat(painted.shape) for painted in self.shapes):
            rule = "must hold flat shapes only for a closed form in a plane, but holds a solid one"
            raise ConsistencyError(Problem(rule, "Use ellipse, rectangle, polygon, or cylinder", path="phantom"))


def _is_flat(shape: Shape) -> bool:
    return isinstance(shape.body, Prism) and math.isinf(shape.body.half_height)


def _relation(later: Shape, earlier: Shape) -> Literal["inside", "covers", "apart", "overlaps"]:
    """How a shape lies to an earlier one, by points of both surfaces moved inwards by a part in 10⁹."""
    (begin, end), (low, high) = later.bounds, earlier.bounds
    if (begin >= high).any() or (end <= low).any():
        return "apart"
    shrink = 1.0 - 1e-9
    mine = later.center + shrink * (later.boundary() - later.center)
    theirs = earlier.center + shrink * (earlier.boundary() - earlier.center)
    inside, covered = earlier.contains(mine), later.contains(theirs)
    if covered.all():
        return "covers"
    if inside.all():
        return "inside"
    return "overlaps" if inside.any() or covered.any() else "apart"


def free_memory() -> float:
    """Memory that is free now [bytes]; half of what there is where the system does not tell."""
    page = os.sysconf("SC_PAGE_SIZE")
    try:
        return float(page * os.sysconf("SC_AVPHYS_PAGES"))
    except (ValueError, OSError):
        return 0.5 * page * os.sysconf("SC_PHYS_PAGES")
