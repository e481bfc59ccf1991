"""The phantom of a run, sampled on the slab that each sequence excites."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mrisim._types import Int
from mrisim.data import Phantom
from mrisim.errors import ConsistencyError, Finding, MrisimError, Problem
from mrisim.events.blocks import Sequence, Use
from mrisim.io.phantoms import load_model
from mrisim.phantom import Sampling
from mrisim.phantom.interface import Model
from mrisim.phantom.sampling import prime_up_to
from mrisim.program import lower
from mrisim.simulate.density import ALLOWED, Density, judge_density, resolves_slices
from mrisim.units import LENGTH, parse, show

SLAB = 2.2  # thicknesses of a slab, half of it beyond the center of the outermost slices; a sequence may ask for more
FADE = 0.35  # thicknesses at its faces in which the weight of spins falls to zero
LAYERS = 17  # voxels through the thinnest slice, so that crushers turn spins of one voxel by less than a cycle
ISOCHROMATS, MOST_LAYERED = 3, 31  # per voxel of a layered slice, chosen by the sequence
SHAPES = 9  # per voxel where a phase graph needs no more of them than tell the shapes of tissues
FEWEST, MOST = 5, 101  # per voxel of a volume
MOST_STEPS = 3e10  # isochromats times blocks that a default may cost: minutes
MOST_SPINS = 4e6  # isochromats that a default may hold, where the fewest are not more
SLICE = 2  # logical axis
_DIRECTIONS = ("read", "phase", "partition")


@dataclass(kw_only=True)
class PhantomSource:
    """Where a run's isochromats come from. Samples are kept, so scans on the same slab share them."""

    model: Model | None
    fixed: Phantom | None
    voxel: float | None = None  # side in the plane [m]
    findings: tuple[Finding, ...] = ()  # what was chosen for the user
    _cache: dict[Any, Phantom] = field(default_factory=dict)

    @property
    def takes_up_agent(self) -> bool:
        """Whether a tissue takes up a contrast agent."""
        return getattr(self.model if self.fixed is None else self.fixed, "uptake", None) is not None

    @staticmethod
    def of(
        phantom: str | Path | Phantom | Model, parameters: Mapping[str, Any], *, voxel: str | float | None = None
    ) -> PhantomSource:
        """From a name, a file that `load_phantom` reads, a model, or isochromats that are taken as they are.

        Raises:
            MrisimError: unknown names, broken files, parameters or a voxel for a phantom that has its isochromats.
        """
        side = None if voxel is None else parse(voxel, LENGTH)
        if side is not None and not side > 0:
            raise ConsistencyError(Problem(f"must be above 0 mm, but is {voxel}", path="voxel"))
        given = ["voxel"] if voxel is not None else []
        if isinstance(phantom, (str, Path)):
            phantom = load_model(phantom, **parameters)
        elif isinstance(phantom, Phantom):
            given = [*parameters, *given]
        if isinstance(phantom, Phantom):
            _refuse_sampling(given)
            return PhantomSource(model=phantom.model, fixed=phantom)
        return PhantomSource(model=phantom, fixed=None, voxel=side)

    def sample(
        self,
        seq: Sequence,
        isochromats: int | None = None,
        spoiling: str = "gradient",
        engine: str = "bloch",
        extent: Iterable[str | float] | None = None,
    ) -> Phantom:
        """Isochromats on the slab that a sequence excites, voxel by voxel of its image.

        Each voxel, or voxel of a layer of a slice, gets as many as leave few spurious echoes, within reason; engine
        `epg` has none of these. Tissue beyond an `extent` along read, phase and slice [m] is left out.

        Raises:
            ConsistencyError: no isochromat there, a flat phantom for a selective sequence, an extent that is none.
        """
        if self.fixed is not None:
            given = {"isochromats": isochromats, "extent": extent}
            _refuse_sampling([name for name, value in given.items() if value is not None])
            return self.fixed
        model = self.model
        if model is None:
            raise ConsistencyError(Problem("must have a model or isochromats, but has neither", path="phantom"))
        kept = None if extent is None else _lengths(extent)
        if isochromats is not None:
            return self._at(model, seq, isochromats, kept)
        if engine == "epg":
            return self._at(model, seq, SHAPES, kept)
        fewest, most = (ISOCHROMATS, MOST_LAYERED) if _layered(seq) else (FEWEST, MOST)
        phantom = self._at(model, seq, fewest, kept)
        density = judge_density(lower(seq), seq.kspace()[0], phantom, spoiling, resolved=resolves_slices(seq))
        if density is None or density.error <= ALLOWED:
            return phantom
        steps = phantom.n_spins / fewest * len(seq.blocks)
        affordable = max(fewest, int(min(MOST_STEPS / max(steps, 1.0), MOST_SPINS * fewest / phantom.n_spins)))
        good = [count for count, error in density.errors.items() if error <= ALLOWED]
        return self._at(model, seq, prime_up_to(min([*good, most][0], most, affordable)), kept)

    def judge(self, seq: Sequence, isochromats: int | None = None) -> Density | None:
        """What the sampling of a sequence costs in accuracy; None where it cannot be judged."""
        phantom = self.sample(seq, isochromats)
        return judge_density(lower(seq), seq.kspace()[0], phantom, resolved=resolves_slices(seq))

    def _at(self, model: Model, seq: Sequence, isochromats: int, kept: tuple[float, ...] | None = None) -> Phantom:
        sampling = replace(self._sampling(model, seq, isochromats), stagger=_layered(seq))
        if kept is not None:
            least = np.minimum(sampling.extent, (*kept, np.inf)[:3])
            sampling = replace(sampling, extent=(float(least[0]), float(least[1]), float(least[2])))
        slab, geometry = excited_slab(seq), sampling.geometry
        cut = slab is not None and sampling.extent[SLICE] >= slab * (1 - 1e-9)
        fade = (_reach(seq, 0.5 * _slab(seq) - FADE), _reach(seq, 0.5 * _slab(seq))) if cut else None
        axes = (geometry.rotation.tobytes(), geometry.center.tobytes())
        key = (sampling.extent, sampling.voxel, isochromats, fade, *axes)
        if key not in self._cache:
            phantom = model.sample(sampling)
            self._cache[key] = phantom if fade is None else _faded(phantom, *fade)
        return self._cache[key]

    def _sampling(self, model: Model, seq: Sequence, count: int) -> Sampling:
        whole = model.sampling(geometry=seq.geometry, voxel=_voxel(seq, model, self.voxel), isochromats=count)
        slab = excited_slab(seq)
        if slab is None or slab >= whole.extent[SLICE]:
            return whole
        return model.sampling(geometry=seq.geometry, voxel=whole.voxel, isochromats=count, slab=slab)


def folded_in(seq: Sequence, phantom: Phantom) -> tuple[Finding, ...]:
    """A finding where tissue lies beyond the field of view of a Cartesian scan, whose image shows it on the other side.

    Along partitions only where no slab is selected, for what is excited beyond one is little.
    """
    if seq.recon is None or seq.recon.method != "cartesian":
        return ()
    resolved = [0, 1, 2] if seq.recon.matrix[SLICE] > 1 and len(_selective(seq)) == 0 else [0, 1]
    alive = np.asarray(phantom.weight) * np.asarray(phantom.pd) > 0
    logical = (np.asarray(phantom.position)[alive] - seq.geometry.center) @ seq.geometry.rotation
    reach, fov = np.abs(logical).max(axis=0), np.asarray(seq.recon.fov)
    voxel = fov / np.asarray(seq.recon.matrix)
    parts = [
        f"{show(reach[axis], LENGTH, digits=3)} from the center along {_DIRECTIONS[axis]} "
        f"(field of view {show(fov[axis], LENGTH)})"
        for axis in resolved
        if reach[axis] > 0.5 * fov[axis] + voxel[axis]
    ]
    if not parts:
        return ()
    text = f"tissue reaches {' and '.join(parts)} and folds into the image"
    return (Finding("field of view", text, "Set fov, or an extent in a protocol's simulation"),)


def _one_peak(model: Model | None) -> list[str]:
    """Tissues of a model that are fat of one peak."""
    return [one.name for one in getattr(model, "tissues", ()) if len(one.species) == 1 and one.fat_share == 1.0]


def whole_fat(model: Model | None) -> dict[str, str]:
    """Parameters of a model that give its fat the full spectrum, where it has one peak.

    Example:
        >>> from mrisim.io.phantoms import load_model
        >>> whole_fat(load_model("breast"))
        {'fat': 'fat'}
    """
    names = _one_peak(model)
    return {key: "fat" for key, value in getattr(model, "parameters", {}).items() if value in names}


def fat_of_one_peak(model: Model | None) -> tuple[Finding, ...]:
    """A finding where a model's fat has one peak, for maps that tell water and fat apart by six."""
    names = _one_peak(model)
    if model is None or not names:
        return ()
    told = " ".join(f"--phantom-set {key}={value}" for key, value in whole_fat(model).items())
    text = f"{', '.join(names)} of phantom '{model.name}' has one peak where the fit takes six, and comes out as water"
    return (Finding("fat", f"{text} off resonance", f"Run with {told}" if told else ""),)


def _lengths(extent: Iterable[str | float]) -> tuple[float, ...]:
    """Lengths of an extent [m]."""
    problems, found = [], []
    for i, value in enumerate(extent):
        try:
            found.append(parse(value, LENGTH))
            if not found[-1] > 0:
                problems.append(Problem(f"must be above 0 mm, but is {value}", path=f"extent[{i}]"))
        except MrisimError as error:
            problems += [Problem(p.rule, p.remedy, f"extent[{i}]") for p in error.problems]
    if problems:
        raise ConsistencyError(problems)
    return tuple(found)


def _faded(phantom: Phantom, start: float, stop: float) -> Phantom:
    """Weights that fall smoothly to zero at the faces of the slab, outside the slices.

    What little a refocusing pulse excites there is dephased by the crushers. Faces cut sharply would leave a rest that
    no crusher dephases: a bright line across the image.
    """
    geometry = phantom.sampling.geometry
    along = np.abs((phantom.position - geometry.center) @ geometry.rotation[:, SLICE])
    share = np.clip((along - start) / (stop - start), 0.0, 1.0)
    return replace(phantom, weight=phantom.weight * np.cos(0.5 * np.pi * share) ** 2)


def _refuse_sampling(given: list[str]) -> None:
    if given:
        rule = f"must be left out for a phantom that has its isochromats, but {', '.join(given)} is given"
        raise ConsistencyError(Problem(rule, "Set them where the phantom is made", path="phantom"))


def excited_slab(seq: Sequence) -> float | None:
    """Extent along the slice direction that holds every excited slice with a margin [m]; None where none is selected.

    An inversion that is thicker than the slice needs no spins where nothing is excited.
    """
    if len(_selective(seq)) == 0:
        return None
    return 2.0 * _reach(seq, 0.5 * _slab(seq))


def _slab(seq: Sequence) -> float:
    return float(seq.simulation.get("slab", SLAB))


def _reach(seq: Sequence, thicknesses: float) -> float:
    """Distance from the geometry's center to some thicknesses beyond the center of the outermost slice [m]."""
    used = _selective(seq)
    return float((np.abs(seq.rf.position[used]) + thicknesses * seq.rf.thickness[used]).max())


def _selective(seq: Sequence) -> Int[np.ndarray, " pulses"]:
    """Events that excite or refocus a slice."""
    used = np.unique(seq.blocks.rf[seq.blocks.rf >= 0])
    used = used[(seq.rf.slice_axis[used] == SLICE) & np.isfinite(seq.rf.thickness[used])]
    return used[np.isin(seq.rf.use[used], (Use.EXCITATION, Use.REFOCUSING, Use.STORAGE, Use.RECALL))]


def _layered(seq: Sequence) -> bool:
    """Whether the scan is of slices, whose voxels are cut into layers."""
    return (seq.recon is None or seq.recon.matrix[SLICE] == 1) and len(_selective(seq)) > 0


def _voxel(seq: Sequence, model: Model, side: float | None) -> tuple[float, float, float]:
    """Voxel of the image; along the slice direction of a 2D scan, a layer of the thinnest slice."""
    if seq.recon is None:
        plain = model.voxel if side is None else (side, side, side)
        layer = float(seq.rf.thickness[_selective(seq)].min()) / LAYERS if _layered(seq) else plain[2]
        return plain[0], plain[1], layer
    spacing = [seq.recon.fov[axis] / seq.recon.matrix[axis] for axis in range(3)]
    if seq.recon.matrix[SLICE] == 1:
        spacing[SLICE] = (
            float(seq.rf.thickness[_selective(seq)].min()) / LAYERS if _layered(seq) else model.voxel[SLICE]
        )
    if side is not None:
        spacing[:2] = [side, side]
    return spacing[0], spacing[1], spacing[2]
