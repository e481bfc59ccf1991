"""Tissues by name and field strength, from one cited table (`phantoms/tissues.yaml`).

A tissue is a set of species that add up in a voxel: water, or the six peaks of fat, or a mixture of both.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from mrisim import source, units
from mrisim._types import Float
from mrisim.errors import Problem, SpecError
from mrisim.paths import library_folder
from mrisim.phantom.enhancement import Kinetics
from mrisim.phantom.fibres import Fibre
from mrisim.phantom.quantities import Diffusivity, FieldName, NonNegative, Share, Shift, Strict, Time, field_name

BACKGROUND = "air"


@dataclass(frozen=True, kw_only=True)
class Species:
    """One resonance of a tissue."""

    share: float  # of the tissue's protons [1]
    shift: float  # chemical shift relative to water [ppm]
    t1: float  # [s]
    t2: float  # [s]
    t2_prime: float  # [s], infinity allowed
    pd: float  # proton density of the whole tissue relative to water [1]
    diffusion: float = 0.0  # apparent diffusion coefficient, of a fibre its mean [m²/s]
    fibre: Fibre | None = None  # where diffusion depends on direction
    fast: bool = False  # whether it is the pool of blood that flows through a tissue


@dataclass(frozen=True, kw_only=True)
class Tissue:
    """Properties of a tissue at one field strength.

    Example:
        >>> tissue("white_matter", 3.0).t1
        0.838
    """

    name: str
    species: tuple[Species, ...]  # shares add up to 1
    chi: float = 0.0  # susceptibility relative to water [ppm]
    kinetics: Kinetics | None = None  # of a contrast agent

    @property
    def pd(self) -> float:
        """Proton density relative to water [1]."""
        return sum(s.share * s.pd for s in self.species)

    def _mean(self, name: str) -> float:
        """Time constant of the proton-weighted mean rate [s]."""
        if self.pd == 0.0:
            return math.nan
        if len(self.species) == 1:
            return getattr(self.species[0], name)
        rate = sum(s.share * s.pd / getattr(s, name) for s in self.species) / self.pd
        return math.inf if rate == 0.0 else 1.0 / rate

    @property
    def t1(self) -> float:
        """T1 [s]; of several species, that of the mean rate."""
        return self._mean("t1")

    @property
    def t2(self) -> float:
        """T2 [s]; of several species, that of the mean rate."""
        return self._mean("t2")

    @property
    def t2_prime(self) -> float:
        """Reversible relaxation time [s]; of several species, that of the mean rate."""
        return self._mean("t2_prime")

    @property
    def t2_star(self) -> float:
        """1/(1/T2 + 1/T2′) [s]; dephasing between the species of a tissue not counted."""
        return 1.0 / (1.0 / self.t2 + 1.0 / self.t2_prime)

    @property
    def adc(self) -> float:
        """Diffusion coefficient [m²/s]: mean over directions and over the protons that are not in the fast pool."""
        return self._pool("diffusion", fast=False)

    @property
    def fast_share(self) -> float:
        """Share of the protons that is in the fast pool [1]."""
        return sum(s.share * s.pd for s in self.species if s.fast) / self.pd if self.pd > 0.0 else math.nan

    @property
    def fat_share(self) -> float:
        """Share of the protons that is fat: whatever resonates apart from water [1]."""
        return sum(s.share * s.pd for s in self.species if s.shift != 0.0) / self.pd if self.pd > 0.0 else math.nan

    @property
    def fast_diffusion(self) -> float:
        """Diffusion coefficient of the fast pool [m²/s]; nan without one."""
        return self._pool("diffusion", fast=True)

    @property
    def anisotropic(self) -> bool:
        """Whether diffusion depends on direction."""
        return any(s.fibre is not None for s in self.species)

    def _pool(self, name: str, fast: bool) -> float:
        """Proton-weighted mean over one of the pools."""
        members = [s for s in self.species if s.fast is fast and s.share * s.pd > 0.0]
        protons = sum(s.share * s.pd for s in members)
        return sum(s.share * s.pd * getattr(s, name) for s in members) / protons if members else math.nan

    def tensors(self, position: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 6"]:
        """Mean tensor xx, yy, zz, xy, xz, yz of what is not in the fast pool, at positions [m²/s]."""
        members = [s for s in self.species if not s.fast and s.share * s.pd > 0.0]
        total = sum(s.share * s.pd for s in members)
        parts = [s.share * s.pd / total * species_tensors(s, position) for s in members]
        return np.sum(parts, axis=0) if parts else np.full((len(position), 6), np.nan)


def species_tensors(species: Species, position: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 6"]:
    """Diffusion tensor of a species at positions [m], as xx, yy, zz, xy, xz, yz [m²/s].

    Example:
        >>> free = Species(share=1.0, shift=0.0, t1=1.0, t2=0.1, t2_prime=math.inf, pd=1.0, diffusion=2.0)
        >>> species_tensors(free, np.zeros((1, 3))).tolist()
        [[2.0, 2.0, 2.0, 0.0, 0.0, 0.0]]
    """
    if species.fibre is not None:
        return species.fibre.tensors(position)
    return np.tile(species.diffusion * np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]), (len(position), 1))


AIR = Tissue(name=BACKGROUND, species=(), chi=9.4)
"""What is outside all shapes. Source of chi, relative to water: Schenck, Med Phys 23:815 (1996)."""


class Citation(Strict):
    """Where values come from, and how they were read: `memory` means that the paper waits to be checked."""

    citation: str
    read: Literal["paper", "abstract", "table", "memory", "assumption"]


class TimeValue(Strict):
    value: Time
    source: str
    range: tuple[Time, Time] | None = None


class NumberValue(Strict):
    value: Share
    source: str
    range: tuple[Share, Share] | None = None


class ShiftValue(Strict):
    value: Shift
    source: str


class DiffusivityValue(Strict):
    value: Diffusivity
    source: str
    range: tuple[Diffusivity, Diffusivity] | None = None


class Peak(Strict):
    shift: Shift
    share: NonNegative


class Spectrum(Strict):
    """Peaks of a tissue; shares are normalised to a sum of one."""

    source: str
    peaks: list[Peak]


class Relaxation(Strict):
    """Relaxation times at one field strength."""

    T1: TimeValue
    T2: TimeValue
    T2star: TimeValue | None = None


class TableTissue(Strict):
    """A tissue of the table."""

    description: str
    PD: NumberValue
    chi: ShiftValue
    ADC: DiffusivityValue
    spectrum: Spectrum | None = None
    at: dict[FieldName, Relaxation]


class TissueTable(Strict):
    """The table: `sources` by id, `tissues` by name, each with its values by field strength."""

    mrisim: Literal[1]
    description: str
    sources: dict[str, Citation]
    tissues: dict[str, TableTissue]


@functools.cache
def tissue_table() -> TissueTable:
    """The cited table that the package ships.

    Raises:
        SpecError: the table breaks its grammar.
    """
    table = source.validate(TissueTable, source.read_source(library_folder("phantoms") / "tissues.yaml"))
    if not isinstance(table, TissueTable):  # pragma: no cover - narrows the type
        raise SpecError("must be a table of tissues")
    return table


def tissue(name: str, field: float) -> Tissue:
    """A tissue of the table at a field strength [T].

    Raises:
        SpecError: an unknown name, or a tissue whose values at this field strength are unknown.

    Example:
        >>> len(tissue("fat", 3.0).species)
        6
    """
    if name == BACKGROUND:
        return AIR
    entry = tissue_table().tissues.get(name)
    if entry is None:
        known = [*tissue_table().tissues, BACKGROUND]
        remedy = source.did_you_mean(name, known) or f"Known: {', '.join(known)}"
        raise SpecError(Problem(f"must be a known tissue, but is '{name}'", remedy))
    values = entry.at.get(field_name(field))
    if values is None:
        fields = " and ".join(", ".join(entry.at).rsplit(", ", 1))
        rule = f"must be a tissue known at {field_name(field)}, but '{name}' is known at {fields} only"
        raise SpecError(Problem(rule, "Choose one of these fields, or give the tissue its own T1 and T2"))
    star = values.T2star.value if values.T2star else values.T2.value
    t1, t2 = values.T1.value, values.T2.value
    peaks = entry.spectrum.peaks if entry.spectrum else [Peak.model_construct(shift=0.0, share=1.0)]
    total = sum(peak.share for peak in peaks)
    species = tuple(
        Species(
            share=peak.share / total,
            shift=peak.shift,
            t1=t1,
            t2=t2,
            t2_prime=reversible(t2, star),
            pd=entry.PD.value,
            diffusion=entry.ADC.value,
        )
        for peak in peaks
    )
    return Tissue(name=name, species=species, chi=entry.chi.value)


def reversible(t2: float, t2_star: float) -> float:
    """T2′ from 1/T2* = 1/T2 + 1/T2′ [s].

    Raises:
        SpecError: T2* above T2.

    Example:
        >>> reversible(0.08, 0.04)
        0.08
    """
    if t2_star > t2 * (1.0 + 1e-9):
        rule = f"must be at most T2 = {units.show(t2, units.TIME)}, but is {units.show(t2_star, units.TIME)}"
        raise SpecError(Problem(rule, "Check that T2 and T2star are not exchanged", path="T2star"))
    rate = 1.0 / t2_star - 1.0 / t2
    return math.inf if rate <= 0.0 else 1.0 / rate


def changed(base: Tissue, changes: Mapping[str, Any], name: str) -> Tissue:
    """A tissue with some properties replaced: t1, t2, t2_star [s], pd [1], shift, chi [ppm], diffusion [m²/s], fibre.

    T2′ is kept where T2 alone changes. A shift replaces the spectrum by one peak. Diffusion replaces a fibre, and the
    other way round; a fast pool keeps its own.

    Raises:
        SpecError: T2 above 2 T1, or T2* above T2.
    """
    species = base.species
    if "shift" in changes or not species:
        kept = (
            species[0]
            if species
            else Species(share=1.0, shift=0.0, t1=math.inf, t2=math.inf, t2_prime=math.inf, pd=1.0)
        )
        species = (replace(kept, share=1.0, shift=changes.get("shift", kept.shift)),)
    direct = {key: changes[key] for key in ("t1", "t2", "pd") if key in changes}
    species = tuple(replace(s, **direct) for s in species)
    if "diffusion" in changes or "fibre" in changes:
        fibre = changes.get("fibre")
        rate = changes["diffusion"] if fibre is None else fibre.mean
        species = tuple(s if s.fast else replace(s, diffusion=rate, fibre=fibre) for s in species)
    if "t2_star" in changes:
        species = tuple(replace(s, t2_prime=reversible(s.t2, changes["t2_star"])) for s in species)
    wrong = [s for s in species if s.t2 > 2.0 * s.t1 * (1.0 + 1e-12)]
    if wrong:
        most, t2 = units.show(2.0 * wrong[0].t1, units.TIME), units.show(wrong[0].t2, units.TIME)
        remedy = "Check that T1 and T2 are not exchanged"
        raise SpecError(Problem(f"must be at most 2 T1 = {most}, but is {t2}", remedy, path="T2"))
    return Tissue(name=name, species=species, chi=changes.get("chi", base.chi))


def perfused(base: Tissue, share: float, diffusion: float, t1: float | None, t2: float | None) -> Tissue:
    """A tissue through which blood flows: a share of its protons moves as by diffusion with a large coefficient.

    Args:
        base: The tissue; each of its species loses the share. A fast pool that it has is replaced.
        share: Of the protons [1].
        diffusion: D* of the blood [m²/s].
        t1: Of the blood [s]; that of the tissue where not given.
        t2: Of the blood [s]; that of the tissue where not given.

    Source:
        Le Bihan et al., Radiology 168:497 (1988).

    Example:
        >>> liver = perfused(tissue("liver", 3.0), 0.2, 70e-9, None, None)
        >>> round(liver.fast_share, 6), liver.fast_diffusion, liver.adc == tissue("liver", 3.0).adc
        (0.2, 7e-08, True)
    """
    kept = [s for s in base.species if not s.fast]
    total = sum(s.share for s in kept)
    slow = tuple(replace(s, share=s.share / total * (1.0 - share)) for s in kept)
    flow = {"diffusion": diffusion, "fibre": None, "fast": True}
    blood = tuple(replace(s, share=s.share / total * share, t1=t1 or s.t1, t2=t2 or s.t2, **flow) for s in kept)
    return replace(base, species=tuple(s for s in (*slow, *blood) if s.share > 0.0))


def mixture(parts: Mapping[Tissue, float], name: str) -> Tissue:
    """Tissues that fill a voxel together; every species of each stays a species of its own.

    Args:
        parts: Volume fraction of each tissue; they add up to one.
        name: Name of the mixture.

    Raises:
        SpecError: fractions that do not add up to one.

    Example:
        >>> half = mixture({tissue("water", 3.0): 0.5, tissue("fat", 3.0): 0.5}, "cream")
        >>> len(half.species)
        7
    """
    total = sum(parts.values())
    if abs(total - 1.0) > 1e-6:
        raise SpecError(Problem(f"must be fractions that add up to 100 %, but add up to {100 * total:g} %"))
    species = tuple(
        replace(s, share=s.share * part) for base, part in parts.items() for s in base.species if part > 0.0
    )
    return Tissue(name=name, species=species, chi=sum(part * base.chi for base, part in parts.items()))
