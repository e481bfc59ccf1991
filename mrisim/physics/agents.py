"""Contrast agents: relaxivities with their sources, and what a concentration does to relaxation rates."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import NamedTuple

from mrisim._types import Array, Float
from mrisim.errors import ConsistencyError, Problem

CAPILLARY_HEMATOCRIT = 0.25
"""Of capillaries, less than that of large vessels. Source: the usual value of perfusion imaging, Rempp et al.,
Radiology 193:637 (1994)."""
NEAR = 0.25  # relative distance of a field from one that was measured

_SHEN = "Shen et al., Invest Radiol 50:330 (2015), whole blood, 37 °C"
_SZOMOLANYI = "Szomolanyi et al., Invest Radiol 54:559 (2019), human plasma, 37 °C"
_ROHRER = "r2: Rohrer et al., Invest Radiol 40:715 (2005), bovine plasma, 37 °C"


class Relaxivity(NamedTuple):
    """What one mM of an agent adds to relaxation rates in a medium at a field [1/(s mM)]."""

    r1: float
    r2: float | None  # None where no source is at hand
    r2_star: float | None  # in a solution without compartments, that of T2
    source: str


class AgentData(NamedTuple):
    """An agent: other names, and relaxivities by medium and field [T]."""

    names: tuple[str, ...]
    blood: Mapping[float, Relaxivity]
    plasma: Mapping[float, Relaxivity]


def _blood(low: float, middle: float, high: float) -> dict[float, Relaxivity]:
    return {field: Relaxivity(r1, None, None, _SHEN) for field, r1 in ((1.5, low), (3.0, middle), (7.0, high))}


def _plasma(low: float, middle: float, high: float, r2: float | None) -> dict[float, Relaxivity]:
    found = {field: Relaxivity(r1, None, None, _SZOMOLANYI) for field, r1 in ((1.5, low), (3.0, middle), (7.0, high))}
    if r2 is not None:
        found[3.0] = Relaxivity(middle, r2, r2, f"{_SZOMOLANYI}; {_ROHRER}")
    return found


AGENTS: Mapping[str, AgentData] = {
    "gadoterate": AgentData(("Gd-DOTA", "Dotarem"), _blood(3.9, 3.4, 2.8), _plasma(3.32, 3.00, 2.84, 4.9)),
    "gadobutrol": AgentData(("Gd-BT-DO3A", "Gadovist"), _blood(4.6, 4.5, 4.2), _plasma(4.78, 4.97, 3.83, 7.1)),
    "gadoteridol": AgentData(("Gd-HP-DO3A", "ProHance"), _blood(4.4, 3.5, 3.4), _plasma(3.80, 3.28, 3.21, None)),
    "gadopentetate": AgentData(("Gd-DTPA", "Magnevist"), _blood(4.3, 3.8, 3.1), {}),
    "gadobenate": AgentData(("Gd-BOPTA", "MultiHance"), _blood(6.2, 5.4, 4.7), {}),
    "gadoxetate": AgentData(("Gd-EOB-DTPA", "Primovist"), _blood(7.2, 5.5, 4.9), {}),
}
"""Two studies of the same agent differ by up to a quarter, so results in mM carry that uncertainty."""


def relaxivity(agent: str, field: float, medium: str = "blood") -> Relaxivity:
    """Relaxivities of an agent at the measured field nearest to a field.

    Args:
        agent: Name, compound or trade name, in any case.
        field: Within a quarter of 1.5, 3 or 7 T [T].
        medium: "blood" or "plasma".

    Raises:
        ConsistencyError: unknown agent or medium, no measurement near that field.

    Example:
        >>> relaxivity("Gadovist", 3.0).r1
        4.5
    """
    words = {word.lower(): name for name, data in AGENTS.items() for word in (name, *data.names)}
    if agent.lower() not in words:
        close = difflib.get_close_matches(agent.lower(), words, n=1)
        hint = f" (did you mean '{close[0]}'?)" if close else ""
        raise ConsistencyError(Problem(f"must be one of {', '.join(AGENTS)}, but is '{agent}'{hint}", path="agent"))
    if medium not in ("blood", "plasma"):
        raise ConsistencyError(Problem(f"must be blood or plasma, but is '{medium}'", path="medium"))
    table = getattr(AGENTS[words[agent.lower()]], medium)
    near = [known for known in table if abs(known - field) <= NEAR * known]
    if not near:
        measured = ", ".join(f"{known:g} T" for known in table) or "no field"
        rule = f"must be a field at which {agent} was measured in {medium} ({measured}), but is {field:g} T"
        raise ConsistencyError(Problem(rule, "Give the relaxivity as a number", "field"))
    return table[min(near, key=lambda known: abs(known - field))]


def relaxation_rate(
    before: Float[Array, "*shape"] | float, relaxivity: float, concentration: Float[Array, "*shape"] | float
) -> Float[Array, "*shape"] | float:
    """R1, R2 or R2* with an agent: the rate before plus relaxivity · concentration.

    Holds where water exchanges fast between the compartments, with C = vp Cp + ve Ce the concentration in tissue. For
    R2* of blood and of tissue with full vessels the dependence is not linear, and a number of its own is an estimate.

    Args:
        before: Rate without the agent [1/s].
        relaxivity: [1/(s mM)].
        concentration: [mM].

    Source:
        Donahue, Burstein, Manning and Gray, Magn Reson Med 32:66 (1994).

    Example:
        >>> relaxation_rate(1.0, 4.5, 2.0)
        10.0
    """
    return before + relaxivity * concentration
