"""The types that cross stages: geometry, phantom, raw data, image, parameter map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from mrisim._types import Array, Complex, Float, Int
from mrisim.errors import ConsistencyError, Finding, Problem


@dataclass(frozen=True, kw_only=True, eq=False)
class Geometry:
    """Where the package of slices or the slab lies: logical read, phase, slice → physical x, y, z."""

    rotation: Float[np.ndarray, "3 3"] = field(default_factory=lambda: np.eye(3))  # columns: read, phase, slice
    center: Float[np.ndarray, " 3"] = field(default_factory=lambda: np.zeros(3))  # physical [m]


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """A voxel grid in space. Voxel N//2 of each axis lies at the center, as k = 0 lies at line N//2."""

    shape: tuple[int, int, int]  # voxels along x (read), y (phase), z (slice)
    spacing: tuple[float, float, float]  # [m]
    slice_positions: Float[np.ndarray, " z"]  # along the slice direction, relative to the center [m]
    geometry: Geometry = field(default_factory=Geometry)
    thickness: float | None = None  # of a slice, where it differs from the spacing [m]

    @staticmethod
    def of(
        shape: tuple[int, int, int],
        spacing: tuple[float, float, float],
        geometry: Geometry | None = None,
        slice_positions: ArrayLike | None = None,
        thickness: float | None = None,
    ) -> Grid:
        """Grid with equidistant slices unless their positions are given."""
        if slice_positions is None:
            slice_positions = (np.arange(shape[2]) - shape[2] // 2) * spacing[2]
        return Grid(
            shape=shape,
            spacing=spacing,
            slice_positions=np.asarray(slice_positions, dtype=float),
            geometry=geometry or Geometry(),
            thickness=thickness,
        )

    def logical_axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Voxel centers along read, phase and slice, relative to the center [m]."""
        nx, ny, _ = self.shape
        x, y = (np.arange(nx) - nx // 2) * self.spacing[0], (np.arange(ny) - ny // 2) * self.spacing[1]
        return x, y, self.slice_positions

    def positions(self) -> Float[np.ndarray, "z y x 3"]:
        """Physical positions of the voxel centers [m]."""
        x, y, z = self.logical_axes()
        logical = np.stack(np.broadcast_arrays(x[None, None, :], y[None, :, None], z[:, None, None]), axis=-1)
        return logical @ self.geometry.rotation.T + self.geometry.center

    def matches(self, other: Grid) -> bool:
        """Whether another grid has the same voxels, to a thousandth of a voxel."""
        if self.shape != other.shape:
            return False
        near = 1e-3 * min(self.spacing)
        return bool(
            np.allclose(self.spacing, other.spacing, rtol=1e-3 / max(self.shape), atol=0.0)
            and np.allclose(self.positions()[[0, -1]], other.positions()[[0, -1]], rtol=0.0, atol=near)
        )

    def affine(self) -> Float[np.ndarray, "4 4"]:
        """Voxel index (x, y, z, 1) → physical position [m].

        Raises:
            ConsistencyError: the slices are not equidistant, so that no single matrix describes them.
        """
        step = self.spacing[2]
        if len(self.slice_positions) > 1:
            steps = np.diff(self.slice_positions)
            step = float(steps[0])
            if not np.allclose(steps, step, rtol=1e-6, atol=0.0):
                raise ConsistencyError(
                    Problem("slices must be equidistant for one affine matrix, but are not", "Export each slice alone")
                )
        axes = self.geometry.rotation * np.array([self.spacing[0], self.spacing[1], step])
        x, y, z = self.logical_axes()
        origin = self.geometry.rotation @ np.array([x[0], y[0], z[0]]) + self.geometry.center
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = axes, origin
        return matrix


@dataclass(frozen=True, kw_only=True, eq=False)
class Uptake:
    """Concentration of a contrast agent in tissues over time, straight between the times given, and its relaxivities.

    Before the first time there is none; after the last it stays as it is. Row 0 is tissue that takes up nothing.

    Example:
        >>> rise = Uptake(time=np.array([0.0, 10.0]), concentration=np.array([[0.0, 0.0], [0.0, 1.0]]), r1=4.5, r2=5.0,
        ...               r2_star=5.5)
        >>> rise.mean(np.array([0.0, 10.0]), np.array([10.0, 12.0]))[:, 1].tolist()
        [0.5, 1.0]
    """

    time: Float[np.ndarray, " n"]  # since the injection, rising [s]
    concentration: Float[np.ndarray, "curves n"]  # [mM]
    r1: float  # [1/s/mM]
    r2: float  # [1/s/mM]
    r2_star: float  # of gradient echoes [1/s/mM]

    def mean(
        self, start: Float[np.ndarray, " intervals"], stop: Float[np.ndarray, " intervals"]
    ) -> Float[np.ndarray, "intervals curves"]:
        """Mean concentration over intervals of time since the injection [mM]; exact."""
        length = stop - start
        area = self._area(stop) - self._area(start)
        value = np.stack([np.interp(start, self.time, row, left=0.0) for row in self.concentration], axis=1)
        return np.where(length[:, None] > 0, area / np.where(length > 0, length, 1.0)[:, None], value)

    def _area(self, at: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n curves"]:
        """Integral of the concentration up to some times."""
        t, c = self.time, self.concentration
        whole = np.concatenate([np.zeros((len(c), 1)), np.cumsum(0.5 * (c[:, 1:] + c[:, :-1]) * np.diff(t), 1)], 1)
        last = np.clip(np.searchsorted(t, at, side="right") - 1, 0, len(t) - 1)
        since = np.where(at > t[0], at - t[last], 0.0)
        here = np.stack([np.interp(at, t, row, left=0.0) for row in c])
        return (whole[:, last] + 0.5 * (c[:, last] + here) * since).T


@dataclass(frozen=True, kw_only=True, eq=False)
class Phantom:
    """Isochromats and their properties; a pytree and a traced argument of the simulation.

    The signal is the sum over isochromats of weight · pd · M⁺, where the weights of one voxel add up to its volume.
    `lorentz` is the place of an isochromat in the Lorentzian line of its voxel, in (-1/2, 1/2): it precesses at
    df + tan(pi · lorentz) / (2 pi t2_prime).
    """

    position: Float[Array, "spins 3"]  # physical [m]
    weight: Float[Array, " spins"]  # [m³], or 1
    pd: Float[Array, " spins"]  # proton density relative to water [1]
    t1: Float[Array, " spins"]  # [s], infinity allowed
    t2: Float[Array, " spins"]  # [s], infinity allowed
    df: Float[Array, " spins"]  # off-resonance: B0 map and chemical shift [Hz]
    b1: Float[Array, " spins"]  # transmit field relative to nominal [1]
    t2_prime: Float[Array, " spins"]  # [s], infinity allowed
    lorentz: Float[Array, " spins"]  # [1]
    diffusion: Float[Array, "spins components"]  # one coefficient, or the tensor xx, yy, zz, xy, xz, yz [m²/s]
    curve: Int[Array, " spins"]  # row of the uptake's curves, 0 for none
    uptake: Uptake | None = None  # of a contrast agent; host only
    field: float | None = None  # field strength that the properties hold for [T]; host only
    model: Any = None  # the `mrisim.phantom.PhantomModel` that it was sampled from; host only
    sampling: Any = None  # the `mrisim.phantom.Sampling` that it was sampled with; host only
    findings: tuple[Finding, ...] = ()  # host only

    @property
    def n_spins(self) -> int:
        return self.position.shape[0]

    def __repr__(self) -> str:
        """Name, size and field; shapes alone are asked for, as the arrays may be traced."""
        shape = np.shape(self.position)
        parts = [f"{shape[-2]:,} isochromats"] if len(shape) > 1 else []
        parts += [] if self.field is None else [f"{self.field:g} T"]
        name = getattr(self.model, "name", "")
        head = f"Phantom {name}" if name else "Phantom"
        return f"<{head}: {', '.join(parts)}>" if parts else f"<{head}>"

    def take(self, rows: ArrayLike) -> Phantom:
        """Those isochromats, by index; what tells where they came from is dropped.

        Example:
            >>> Phantom.from_arrays(position=np.zeros((3, 3)), t1=[1.0, 2.0, 3.0], t2=0.1).take([2, 0]).t1.tolist()
            [3.0, 1.0]
        """
        return Phantom(**{name: np.asarray(getattr(self, name))[np.asarray(rows)] for name in _SPIN_FIELDS})

    @staticmethod
    def from_arrays(
        *,
        position: ArrayLike,
        t1: ArrayLike,
        t2: ArrayLike,
        pd: ArrayLike = 1.0,
        df: ArrayLike = 0.0,
        b1: ArrayLike = 1.0,
        t2_prime: ArrayLike = np.inf,
        weight: ArrayLike = 1.0,
        lorentz: ArrayLike | None = None,
        diffusion: ArrayLike = 0.0,
        curve: ArrayLike = 0,
        uptake: Uptake | None = None,
        field: float | None = None,
    ) -> Phantom:
        """Phantom from one value per isochromat; scalars are spread.

        Args:
            position: (spins, 3) physical positions [m].
            t1: Longitudinal relaxation time [s], infinity allowed.
            t2: Transverse relaxation time [s], at most 2 t1.
            pd: Proton density [1].
            df: Off-resonance [Hz].
            b1: Transmit field relative to nominal [1].
            t2_prime: Reversible relaxation time [s]; each isochromat draws its place in the Lorentzian line from a
                low-discrepancy sequence, so a voxel needs many.
            weight: Weight of each isochromat in the signal.
            lorentz: Places in the line in (-1/2, 1/2), in place of that sequence.
            diffusion: Coefficient, (spins,), or symmetric tensors, (spins, 3, 3) or (spins, 6) as xx, yy, zz, xy, xz,
                yz [m²/s].
            curve: Row of the uptake's curves that each isochromat follows, 0 for none.
            uptake: What a contrast agent does.
            field: Field strength that the properties hold for [T].

        Raises:
            ConsistencyError: shapes that do not fit, negative or undefined properties, t2 > 2 t1.

        Example:
            >>> Phantom.from_arrays(position=[[0.0, 0.0, 0.0]], t1=1.0, t2=0.1).n_spins
            1
        """
        position = np.atleast_2d(np.asarray(position, dtype=float))
        n = position.shape[0]
        if lorentz is None:
            lorentz = (np.arange(n) * 0.6180339887498949 + 0.5) % 1.0 - 0.5  # golden-ratio sequence
        columns = {
            "weight": weight,
            "pd": pd,
            "t1": t1,
            "t2": t2,
            "df": df,
            "b1": b1,
            "t2_prime": t2_prime,
            "lorentz": lorentz,
        }
        arrays, problems = {}, []
        if position.ndim != 2 or position.shape[1] != 3:
            problems.append(Problem(f"must have shape (spins, 3), but has {position.shape}", path="position"))
        if not np.all(np.isfinite(position)):
            problems.append(Problem("must be finite, but holds nan or infinity", path="position"))
        for name, values in columns.items():
            values = np.asarray(values, dtype=float)
            if values.shape not in ((), (n,)):
                problems.append(Problem(f"must be a scalar or have shape ({n},), but has {values.shape}", path=name))
                continue
            arrays[name] = np.array(np.broadcast_to(values, (n,)))
        problems += check_properties(arrays)
        tensors, wrong = _diffusion_columns(diffusion, n)
        problems += wrong
        curves, wrong = _curve_column(curve, n, uptake)
        problems += wrong
        if problems:
            raise ConsistencyError(problems)
        return Phantom(position=position, field=field, diffusion=tensors, curve=curves, uptake=uptake, **arrays)

    def diffusion_tensors(self) -> Float[np.ndarray, "spins 6"]:
        """Diffusion of each isochromat as a tensor xx, yy, zz, xy, xz, yz [m²/s]."""
        given = np.asarray(self.diffusion)
        return given if given.shape[1] == 6 else given * np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])


_RULES = {
    "weight": (0.0, True, False),
    "pd": (0.0, True, False),
    "t1": (0.0, False, True),
    "t2": (0.0, False, True),
    "t2_prime": (0.0, False, True),
    "b1": (0.0, True, False),
    "df": (-np.inf, False, False),
    "lorentz": (-0.5, False, False),
}  # lower bound, bound itself allowed, infinity allowed


def check_properties(columns: Mapping[str, np.ndarray]) -> list[Problem]:
    """Problems of isochromat properties: undefined, negative, t2 > 2 t1 [SI]."""
    problems = []
    for name, values in columns.items():
        lowest, inclusive, infinite = _RULES[name]
        if np.isnan(values).any():
            problems.append(Problem("must be a number, but holds nan", path=name))
            continue
        below = values < lowest if inclusive else values <= lowest
        if below.any():
            bound = f"at least {lowest:g}" if inclusive else f"above {lowest:g}"
            problems.append(Problem(f"must be {bound}, but is {values[below][0]:g}", path=name))
        if not infinite and np.isinf(values).any():
            problems.append(Problem("must be finite, but holds infinity", path=name))
    if "t1" in columns and "t2" in columns and not problems:
        wrong = columns["t2"] > 2 * columns["t1"] * (1 + 1e-12)
        if wrong.any():
            t1, t2 = columns["t1"][wrong][0], columns["t2"][wrong][0]
            problems.append(
                Problem(
                    f"must be at most 2 T1 = {2 * t1 * 1e3:g} ms, but is {t2 * 1e3:g} ms",
                    "Check that T1 and T2 are not exchanged",
                    path="t2",
                )
            )
    return problems


def _curve_column(given: ArrayLike, n: int, uptake: Uptake | None) -> tuple[Int[np.ndarray, " spins"], list[Problem]]:
    """Row of the curve of each isochromat; and what is wrong with it."""
    values = np.asarray(given)
    if values.shape not in ((), (n,)) or not np.issubdtype(values.dtype, np.integer):
        rule = f"must be a whole number or have shape ({n},), but is of type {values.dtype} and shape {values.shape}"
        return values, [Problem(rule, path="curve")]
    most = 0 if uptake is None else len(uptake.concentration) - 1
    if values.size and (values.min() < 0 or values.max() > most):
        rule = f"must be from 0 to {most}, the last curve of the uptake, but goes from {values.min()} to {values.max()}"
        return values, [Problem(rule, "Give an uptake with a curve for each" if uptake is None else "", path="curve")]
    return np.array(np.broadcast_to(values.astype(np.int32), (n,))), []


def _diffusion_columns(given: ArrayLike, n: int) -> tuple[Float[np.ndarray, "spins components"], list[Problem]]:
    """One column of coefficients, or six of tensors; and what is wrong with them."""
    values = np.asarray(given, dtype=float)
    path = "diffusion"
    if values.shape == (n, 3, 3):
        if not np.allclose(values, np.swapaxes(values, 1, 2), rtol=1e-6, atol=1e-16):
            return values, [Problem("must be symmetric tensors, but is not", path=path)]
        values = values[:, [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
    elif values.shape in ((), (n,)):
        values = np.broadcast_to(values, (n,))[:, None].copy()
    if values.shape not in ((n, 1), (n, 6)):
        rule = f"must be a scalar or have shape ({n},), ({n}, 6) or ({n}, 3, 3), but has {values.shape}"
        return values, [Problem(rule, path=path)]
    if not np.isfinite(values).all():
        return values, [Problem("must be finite, but holds nan or infinity", path=path)]
    least = _least_eigenvalue(values)
    if least < -1e-15:
        return values, [Problem(f"must be nowhere negative, but is {least * 1e9:g} um^2/ms", path=path)]
    return values, []


def _least_eigenvalue(columns: Float[np.ndarray, "spins components"]) -> float:
    if columns.shape[1] == 1:
        return float(columns.min(initial=0.0))
    return float(np.linalg.eigvalsh(columns[:, [[0, 3, 4], [3, 1, 5], [4, 5, 2]]]).min(initial=0.0))


_SPIN_FIELDS = ["position", "weight", "pd", "t1", "t2", "df", "b1", "t2_prime", "lorentz", "diffusion", "curve"]
jax.tree_util.register_dataclass(
    Phantom, data_fields=_SPIN_FIELDS, meta_fields=[], drop_fields=["field", "model", "sampling", "findings", "uptake"]
)


@dataclass(frozen=True, kw_only=True, eq=False)
class ReconSpec:
    """How samples become images: what a sequence says in its `recon` part, resolved."""

    method: str  # "cartesian"; "gridding": any trajectory; "lowrank": the same, for trains of images
    matrix: tuple[int, int, int]  # read, phase, partition (1 in 2D)
    fov: tuple[float, float, float]  # [m]; the slice thickness as third in 2D
    slice_positions: Float[np.ndarray, " slices"] = field(default_factory=lambda: np.zeros(1))  # by SLC label [m]
    window: str = "none"  # "none", "hann", "hamming", "tukey"
    combine: str = "adaptive"  # coil combination: "rss", "adaptive"
    partial_fourier: str = "zero"  # lines that were not sampled: "zero", "homodyne", "pocs"
    ghost: str = "reference"  # N/2 ghost: "reference" lines take it away where there are any, "keep"
    maps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # map name → {"fit": …, options}

    def grid(self, geometry: Geometry) -> Grid:
        """Voxel grid of the image."""
        nx, ny, nz = self.matrix
        spacing = (self.fov[0] / nx, self.fov[1] / ny, self.fov[2] / nz)
        if nz > 1:
            return Grid.of(self.matrix, spacing, geometry)
        positions = np.asarray(self.slice_positions, dtype=float)
        return Grid.of((nx, ny, len(positions)), spacing, geometry, np.sort(positions), self.fov[2])


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadoutTable:
    """One row per ADC event, in acquisition order. Times are found in the sequence, not declared by it."""

    start: Int[np.ndarray, " readouts"]  # index of the first sample
    count: Int[np.ndarray, " readouts"]  # number of samples
    dwell: Float[np.ndarray, " readouts"]  # [s]
    te: Float[np.ndarray, " readouts"]  # center of the last excitation → sample N//2 [s]
    ti: Float[np.ndarray, " readouts"]  # center of the last inversion → center of the last excitation [s], nan without
    tr: Float[np.ndarray, " readouts"]  # between the last two excitations of the slice [s], nan without
    flip: Float[np.ndarray, " readouts"]  # nominal flip angle of the last excitation [rad]
    labels: Mapping[str, Int[np.ndarray, " readouts"]]  # LIN, PAR, SLC, ECO, REP, AVG, SET, SEG, REV, …
    ts: Float[np.ndarray, " readouts"] | None = None  # as ti, from the last saturation of the slice [s]; nan without

    b_matrix: Float[np.ndarray, "readouts 3 3"] | None = (
        None  # of diffusion weighting at the center [s/m²]; nan unknown
    )

    def __post_init__(self):
        if self.ts is None:
            object.__setattr__(self, "ts", np.full(len(self.start), np.nan))
        if self.b_matrix is None:
            object.__setattr__(self, "b_matrix", np.full((len(self.start), 3, 3), np.nan))

    def __len__(self) -> int:
        return len(self.start)

    def label(self, name: str) -> Int[np.ndarray, " readouts"]:
        """Values of a label, zeros where the sequence never sets it."""
        return self.labels[name] if name in self.labels else np.zeros(len(self.start), dtype=int)


@dataclass(frozen=True, kw_only=True, eq=False)
class RawData:
    """Samples in acquisition order, receiver phase and frequency applied."""

    signal: Complex[np.ndarray, "coils samples"]
    k: Float[np.ndarray, "samples 3"]  # physical axes, refocusing accounted for [1/m]
    time: Float[np.ndarray, " samples"]  # [s]
    readouts: ReadoutTable
    geometry: Geometry = field(default_factory=Geometry)
    recon: ReconSpec | None = None
    sensitivities: Complex[np.ndarray, "coils z y x"] | None = None  # on the image grid, where known
    standard_error: Complex[np.ndarray, "coils samples"] | None = None  # real and imaginary, of a walk
    findings: tuple[Finding, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)  # names, parameters, seconds per phase, versions
    sequence: Any = None  # the `mrisim.events.blocks.Sequence` that was played; host only, not in files

    @property
    def labels(self) -> Mapping[str, Int[np.ndarray, " readouts"]]:
        return self.readouts.labels

    def __repr__(self) -> str:
        """Name of the sequence, and sizes."""
        name = getattr(self.sequence, "name", "")
        coils, samples = np.shape(self.signal)
        sizes = f"{len(self.readouts):,} readouts, {samples:,} samples, {coils} {'coil' if coils == 1 else 'coils'}"
        return f"<RawData{f' {name}' if name else ''}: {sizes}>"


@dataclass(frozen=True, kw_only=True, eq=False)
class Image:
    """Complex image: axes (contrast, z, y, x). Its value is the mean of pd · M⁺ over the voxel.

    `coordinates` hold what distinguishes the contrasts, one value each: te, ti, ts, tr, time [s], flip [rad]; and
    b_matrix, (contrast, 3, 3) [s/m²], where it is known.
    """

    data: Complex[np.ndarray, "contrast z y x"]
    grid: Grid
    coordinates: Mapping[str, Float[np.ndarray, " contrast"]] = field(default_factory=dict)
    name: str = "image"
    unit: str = "1"
    findings: tuple[Finding, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    sequence: Any = None  # that the samples came from, the first of a series; host only, not in files

    @property
    def magnitude(self) -> Float[np.ndarray, "contrast z y x"]:
        return np.abs(self.data)

    def __repr__(self) -> str:
        """Name, axes with their sizes, voxel and unit."""
        axes = zip(("contrast", "z", "y", "x"), np.shape(self.data), strict=False)
        sizes = ", ".join(f"{name} {size}" for name, size in axes)
        unit = "" if self.unit == "1" else f", {self.unit}"
        return f"<Image {self.name} ({sizes}){_voxel(self.grid)}{unit}>"


@dataclass(frozen=True, kw_only=True, eq=False)
class ParameterMap:
    """One quantity on a grid, SI, with its standard error and where the fit converged.

    A direction has its components x, y, z along a last axis.
    """

    name: str  # "T1"
    unit: str  # "s"
    data: Float[np.ndarray, "z y x *components"]
    grid: Grid
    standard_error: Float[np.ndarray, "z y x *components"] | None = None
    mask: np.ndarray | None = None  # (z, y, x): fitted and converged
    findings: tuple[Finding, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Name, unit, axes with their sizes, and voxel."""
        axes = zip(("z", "y", "x", "components"), np.shape(self.data), strict=False)
        sizes = ", ".join(f"{name} {size}" for name, size in axes)
        unit = "" if self.unit == "1" else f" in {self.unit}"
        return f"<ParameterMap {self.name}{unit} ({sizes}){_voxel(self.grid)}>"


def _voxel(grid: Grid) -> str:
    """Size of a voxel along x, y, z, as text that follows something."""
    return f", voxel {' x '.join(f'{1e3 * size:.4g}' for size in grid.spacing)} mm"
