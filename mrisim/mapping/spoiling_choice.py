"""Whether a fit corrects what real RF spoiling leaves: what a specification asks for, what the images know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from mrisim._types import Float, Int
from mrisim.data import Image
from mrisim.errors import Finding, Problem
from mrisim.events.blocks import Sequence, Use
from mrisim.events.moments import played_tracks, pulse_instances, total_moment
from mrisim.mapping.method import Given, Rule, one_of, quantity
from mrisim.mapping.separable import FitResult
from mrisim.mapping.spoiling import Spoiling
from mrisim.units import ANGLE, DIFFUSION, TIME, parse, show

T2 = 0.08  # of tissue, where nothing says more [s]
FEWEST = 16  # excitations from which a steady state is thought of
SAME_PHASE = 1e-3  # phases of long trains are rounded [rad]
SOME = 256  # voxels in which a correction is left out to tell what it does
OPTIONS: Mapping[str, Rule] = {
    "spoiling": one_of("ideal", "rf"),
    "increment": quantity(ANGLE, 0.0, 2 * np.pi),
    "t20": quantity(TIME, 1e-3, 10.0),
    "adc": quantity(DIFFUSION, 0.0, 1e-8),
}
_OF_REAL = ("increment", "t2", "t20", "adc")


class Played(NamedTuple):
    """How a sequence spoils."""

    increment: float  # of the phase increment of excitations [rad]
    moment: float  # of the gradients from one excitation to the next [1/m]


def played(image: Image) -> Played | None:
    """Quadratic phase of the excitations that made images; None where it is another, or not known."""
    return None if image.sequence is None else _played(image.sequence)


@lru_cache(maxsize=4)
def _played(seq: Sequence) -> Played | None:
    pulses = pulse_instances(seq)
    used = np.flatnonzero(seq.rf.use[pulses.event] == Use.EXCITATION)
    if len(used) < FEWEST or len(used) < len(pulses.event):
        return None
    second = np.exp(1j * np.diff(seq.rf.phase[pulses.event[used]], n=2))
    increment = float(np.angle(second.mean()) % (2 * np.pi))
    if np.abs(second - np.exp(1j * increment)).max() > SAME_PHASE or abs(np.exp(1j * increment) - 1) < SAME_PHASE:
        return None
    moments = np.diff(total_moment(played_tracks(seq), pulses.center[used]), axis=0)
    return Played(increment, float(np.median(np.linalg.norm(moments, axis=1))))


def check_spoiling(path: str, spec: Mapping[str, Any], image: Image) -> list[Problem]:
    """What is wrong with the options of a correction for real spoiling."""
    given = [key for key in _OF_REAL if key in spec]
    if spec.get("spoiling") == "ideal":
        rule = "must be left out with spoiling: ideal, but is given"
        return [Problem(rule, "Take spoiling: rf, or leave it out", f"{path}.{key}") for key in given]
    problems, found = [], played(image)
    asked = bool(given) or spec.get("spoiling") == "rf"
    if spec.get("spoiling") == "rf" and _is_ideal(image):
        rule = "must be ideal for images that were simulated so, but is rf"
        problems.append(Problem(rule, "Leave it out: the images know", f"{path}.spoiling"))
    elif asked and found is None and not _is_ideal(image) and "increment" not in spec:
        rule = "must be given for images that do not know how their sequence spoils, but is not"
        problems.append(Problem(rule, "Add increment: 117 deg, or take spoiling: ideal", f"{path}.increment"))
    if "t2" in spec and "t20" in spec:
        rule = "must be given as t2, a map, or as t20, one time, but both are"
        problems.append(Problem(rule, "Leave one out", f"{path}.t20"))
    if "adc" in spec and found is None:
        rule = "must be left out for images that do not know the gradients of their sequence, but is given"
        problems.append(Problem(rule, path=f"{path}.adc"))
    return problems


def chosen_spoiling(given: Given) -> Spoiling | None:
    """How the images of a fit were spoiled; None where that counts as ideal.

    Real where a specification says so, or their sequence, unless it was simulated with ideal spoiling.
    """
    spec, found = given.spec, played(given.image)
    unknown = found is None and "increment" not in spec
    if spec.get("spoiling") == "ideal" or _is_ideal(given.image) or unknown:
        return None
    increment = parse(spec["increment"], ANGLE) if "increment" in spec or found is None else found.increment
    t2 = given.maps["t2"] if "t2" in given.maps else parse(spec.get("t20", T2), TIME)
    turn = 0.0 if found is None else 2 * np.pi * found.moment
    tr = float(np.median(given.coordinate("tr")))
    return Spoiling(t2, increment, parse(spec.get("adc", 0.0), DIFFUSION) * turn**2 * tr)


def _is_ideal(image: Image) -> bool:
    return image.provenance.get("spoiling") == "ideal"


def with_bias(
    given: Given, found: FitResult, again: Callable[[Given], FitResult], spoiling: Spoiling,
    needed: np.ndarray, named: Mapping[str, str],
) -> FitResult:  # fmt: skip
    """A corrected fit, with a finding that tells what it would be without the correction.

    Args:
        given: All voxels.
        found: Their fit.
        again: The fit without the correction.
        spoiling: That was corrected for.
        needed: (voxels,), True of those that every fit needs, such as an artery.
        named: Maps to tell of, by their key in the fit.
    """
    rows = _some(found.converged, needed)
    plain = again(given.take(rows))
    both = plain.converged & found.converged[rows]
    if not both.any():
        return found
    parts = [_bias(name, plain[key][both], found[key][rows][both]) for key, name in named.items() if key in found]
    of_t2 = "of its map" if np.ndim(spoiling.t2) else f"of {show(float(spoiling.t2), TIME)}"
    text = (
        f"maps of {given.spec['fit']} are corrected for real spoiling with an increment of "
        f"{show(spoiling.increment, ANGLE, digits=4)}, T2 {of_t2}; without, {', '.join(part for part in parts if part)}"
    )
    return found.noting(Finding("RF spoiling", text))


def _some(converged: np.ndarray, needed: np.ndarray) -> Int[np.ndarray, " rows"]:
    """Rows of voxels, evenly spread over those that converged."""
    rows = np.flatnonzero(converged)
    rows = (
        rows[np.unique(np.linspace(0, len(rows) - 1, min(SOME, len(rows))).round().astype(int))] if len(rows) else rows
    )
    return np.union1d(rows, np.flatnonzero(needed))


def _bias(name: str, plain: Float[np.ndarray, " voxels"], found: Float[np.ndarray, " voxels"]) -> str:
    """Relative difference, as text; of voxels in which both are above zero."""
    good = (plain > 0) & (found > 0)
    if not good.any():
        return ""
    low, middle, high = np.percentile(100 * (plain[good] / found[good] - 1), [5, 50, 95])
    return f"{name} would be {middle:+.1f} % off ({low:+.1f} to {high:+.1f} % in nine of ten voxels)"
