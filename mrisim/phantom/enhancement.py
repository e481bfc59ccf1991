"""How tissues of a phantom take up a contrast agent: curves of concentration since the injection."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import jax
import numpy as np

from mrisim._types import Bool, Float, Int
from mrisim.data import Uptake
from mrisim.errors import ConsistencyError, Problem, SpecError
from mrisim.phantom import grammar
from mrisim.physics.agents import CAPILLARY_HEMATOCRIT, relaxivity
from mrisim.physics.input_functions import POPULATIONS, plasma
from mrisim.physics.pharmacokinetics import MODELS, respond

BLOOD = "blood"
"""The model of a tissue that is the input function itself."""
DOSE = 0.1  # mmol/kg: what the input functions of populations were measured with
# The first pass needs fine steps, the rest does not; the curves are straight in between.
_TIMES = np.concatenate([np.arange(0.0, 180.0, 0.2), np.arange(180.0, 900.0, 1.0), np.arange(900.0, 3601.0, 10.0)])


@dataclass(frozen=True, kw_only=True)
class Kinetics:
    """Exchange of one tissue: a model of `physics.pharmacokinetics` with its parameters, or blood."""

    model: str
    ktrans: float | None = None  # [1/s]
    ve: float | None = None  # [1]
    vp: float | None = None  # [1]
    fp: float | None = None  # [1/s]
    ps: float | None = None  # [1/s]
    delay: float = 0.0  # from artery to tissue [s]

    @property
    def needed(self) -> tuple[str, ...]:
        """Parameters that the model has."""
        return () if self.model == BLOOD else MODELS[self.model].parameters

    @property
    def parameters(self) -> dict[str, float]:
        """Those that are given."""
        names = ("ktrans", "ve", "vp", "fp", "ps")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


@dataclass(frozen=True, kw_only=True)
class Agent:
    """A contrast agent in a subject."""

    name: str
    r1: float  # [1/s/mM]
    r2: float  # [1/s/mM]
    r2_star: float  # [1/s/mM]
    aif: str = "parker"  # input function of a population
    hematocrit: float = 0.42
    dose: float = DOSE  # [mmol/kg]; concentrations are in proportion to it
    arrival: float = 0.0  # from the injection to the artery [s]
    field: float = field(default=3.0)  # that the relaxivities hold for [T]

    def blood(self, t: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Concentration in whole blood at times since the injection [mM]."""
        population = POPULATIONS[self.aif]
        found = population.curve(t, self.arrival) * self.dose / DOSE
        return found if population.medium == "blood" else found * (1 - self.hematocrit)

    def plasma(self, t: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Concentration in plasma [mM]."""
        return plasma(self.blood(t), self.hematocrit)


def kinetic_truth(
    tissues: Sequence[Kinetics | None], most: Int[np.ndarray, "z y x"], empty: Bool[np.ndarray, "z y x"]
) -> dict[str, Float[np.ndarray, "z y x"]]:
    """Maps of what the tissues' kinetics are, nan where a tissue has none: parameters of the models, Ktrans of those
    with a flow, and what a first pass shows, per volume of tissue: CBV [1], CBF [1/s] and MTT [s] of whole blood.

    Args:
        tissues: Kinetics of each tissue.
        most: Tissue of each voxel.
        empty: Voxels without signal.
    """
    found = {}
    for name, of in _TRUTHS.items():
        column = np.array([np.nan if one is None else of(one) for one in tissues])
        if np.isfinite(column).any():
            found[name] = np.where(empty, np.nan, column[most])
    return found


def _given(name: str) -> Callable[[Kinetics], float]:
    return lambda one: np.nan if getattr(one, name) is None else getattr(one, name)


def _extraction(one: Kinetics) -> float:
    """Ktrans: given, or that of the flow and the permeability.

    Source:
        Sourbron and Buckley, Phys Med Biol 57:R1 (2012): F PS / (F + PS); of tissue homogeneity F (1 - exp(-PS / F)).
    """
    if not one.fp or one.ps is None:
        return _given("ktrans")(one)
    return one.fp * -math.expm1(-one.ps / one.fp) if one.model == "aath" else one.fp * one.ps / (one.fp + one.ps)


_TRUTHS: dict[str, Callable[[Kinetics], float]] = {
    "Ktrans": _extraction,
    "ve": _given("ve"),
    "vp": _given("vp"),
    "Fp": _given("fp"),
    "PS": _given("ps"),
    "CBV": lambda one: _given("vp")(one) / (1 - CAPILLARY_HEMATOCRIT),
    "CBF": lambda one: _given("fp")(one) / (1 - CAPILLARY_HEMATOCRIT),
    "MTT": lambda one: _given("vp")(one) / one.fp if one.fp else np.nan,
}


def uptake_of(agent: Agent, tissues: list[Kinetics]) -> Uptake:
    """Curves of tissues in an hour after the injection; row 0 is tissue that takes up nothing, row i + 1 the i-th one.

    Example:
        >>> agent = Agent(name="gadobutrol", r1=4.5, r2=5.2, r2_star=5.2)
        >>> uptake_of(agent, [Kinetics(model="tofts", ktrans=0.25 / 60, ve=0.3)]).concentration.shape[0]
        2
    """
    blood, ca = agent.blood(_TIMES), agent.plasma(_TIMES)
    rows = [np.zeros(len(_TIMES)), *(_curve(kinetics, blood, ca) for kinetics in tissues)]
    return Uptake(time=_TIMES, concentration=np.stack(rows), r1=agent.r1, r2=agent.r2, r2_star=agent.r2_star)


def _curve(kinetics: Kinetics, blood: np.ndarray, ca: np.ndarray) -> Float[np.ndarray, " n"]:
    at = _TIMES - kinetics.delay
    if kinetics.model == BLOOD:
        return np.interp(at, _TIMES, blood, left=0.0)
    with jax.enable_x64(True):
        response = MODELS[kinetics.model].response(*(kinetics.parameters[name] for name in kinetics.needed))
        return np.maximum(np.asarray(respond(response, _TIMES, ca, at)), 0.0)


def kinetics_of(spec: grammar.EnhancementSpec) -> Kinetics:
    """Kinetics of a specification."""
    return Kinetics(
        model=spec.model, ktrans=spec.Ktrans, ve=spec.ve, vp=spec.vp, fp=spec.Fp, ps=spec.PS, delay=spec.delay
    )


def agent_of(spec: grammar.AgentSpec, field: float) -> Agent:
    """Agent of a specification, with relaxivities of the cited table where it gives none; r2 is that at 3 T if need be.

    Raises:
        SpecError: unknown agent, or a relaxivity that no source has at that field.
    """
    given, table = spec.relaxivity, []
    for medium, at in (("blood", field), ("plasma", field), ("plasma", 3.0)):
        try:
            table.append(relaxivity(spec.name, at, medium))
        except ConsistencyError as error:
            if medium == "blood" and (given.r1 is None or given.r2 is None):
                problems = [replace(p, path=p.path.replace("agent", "name")) for p in error.problems]
                raise SpecError(problems) from None
    r1 = next((value for value in (given.r1, *(row.r1 for row in table)) if value is not None), None)
    r2 = next((value for value in (given.r2, *(row.r2 for row in table)) if value is not None), None)
    if r1 is None or r2 is None:
        rule = f"must give r2 for {spec.name} at {field:g} T, because no source at hand has it, but does not"
        raise SpecError(Problem(rule, "Add r2: 5 1/s/mM", path="relaxivity"))
    return Agent(
        name=spec.name, r1=r1, r2=r2, r2_star=given.r2star or r2, aif=spec.aif, hematocrit=spec.hematocrit,
        dose=spec.dose * DOSE, arrival=spec.arrival, field=field,
    )  # fmt: skip
