"""Fits that a specification can name: T1 by variable flips, kinetics of contrast agents, perfusion of a first pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mrisim._types import Bool, Float
from mrisim.data import Image
from mrisim.errors import ConsistencyError, MrisimError, Problem, SpecError
from mrisim.mapping import dce, dsc
from mrisim.mapping.dce.curves import check_curves
from mrisim.mapping.method import Given, Method, Output, number, one_of, quantity, true_or_false
from mrisim.mapping.separable import FitResult
from mrisim.mapping.spoiling import Spoiling
from mrisim.mapping.spoiling_choice import OPTIONS as SPOILING
from mrisim.mapping.spoiling_choice import check_spoiling, chosen_spoiling, with_bias
from mrisim.mapping.vfa import fit_vfa
from mrisim.physics.agents import relaxivity
from mrisim.physics.input_functions import POPULATIONS
from mrisim.physics.pharmacokinetics import MODELS
from mrisim.source import names_curve
from mrisim.units import LENGTH, TIME, parse, show

HEMATOCRIT = 0.42  # of large vessels
FINE = 0.25  # step at which a population's input function is drawn [s]


def _variable_flip(given: Given) -> FitResult:
    method = given.spec.get("method", "nonlinear")
    spoiling = chosen_spoiling(given) if method == "nonlinear" else None

    def fit(some: Given, spoiling: Spoiling | None = None) -> FitResult:
        tr = float(np.median(some.coordinate("tr")))
        b1 = some.maps.get("b1", 1.0)
        return fit_vfa(some.signal, some.coordinate("flip"), tr, b1=b1, method=method, spoiling=spoiling)

    found = fit(given, spoiling)
    none = np.zeros(len(given.signal), dtype=bool)
    return found if spoiling is None else with_bias(given, found, fit, spoiling, none, {"t1": "T1"})


def _check_variable_flip(path: str, spec: Mapping[str, Any], image: Image) -> list[Problem]:
    problems = [*_known(path, image, "tr"), *check_spoiling(path, spec, image)]
    if spec.get("method") == "linear" and spec.get("spoiling") == "rf":
        rule = "must be ideal for the linear method, but is rf"
        problems.append(Problem(rule, "Take method: nonlinear", f"{path}.spoiling"))
    return problems


def _dce(given: Given) -> FitResult:
    spoiling = chosen_spoiling(given)
    found = _kinetics(given, spoiling)
    if spoiling is None:
        return found
    measured = given.spec["aif"] == "measured"
    artery = _sphere(given, "artery") if measured else np.zeros(len(given.signal), dtype=bool)
    named = {output.key: name for name, output in _DCE.items() if name != "delay"}
    return with_bias(given, found, _kinetics, spoiling, artery, named)


def _kinetics(given: Given, spoiling: Spoiling | None = None) -> FitResult:
    spec, time = given.spec, given.coordinate("time")
    order = np.argsort(time, kind="stable")
    before = given.maps.get("t1")
    if before is None:
        before = np.full(len(given.signal), parse(spec["t10"], TIME))
    flip = np.full(len(given.signal), float(np.median(given.coordinate("flip"))))
    r1, r2 = _relaxivities(spec, given.image)
    concentration = dce.concentration_from_signal(
        given.signal[:, order],
        flip * given.maps.get("b1", 1.0),
        float(np.median(given.coordinate("tr"))),
        before,
        r1,
        _baseline(spec, time[order]),
        t=None if spec.get("steady_state", False) else time[order],
        te=float(np.median(given.coordinate("te"))) if "r2_star" in spec else 0.0,
        r2_star=float(spec.get("r2_star", 0.0)),
        spoiling=spoiling,
        r2=r2,
    )
    ta, ca = _input(given, time[order], concentration)
    least = float(spec.get("least_uptake", 0.0)) * np.interp(time[order], ta, ca).mean()
    concentration[concentration.mean(axis=1) < least] = 0.0  # counts as empty
    return dce.fit(spec["model"], time[order], concentration, ca, ta=ta, fit_delay=spec.get("fit_delay", False))


def _relaxivities(spec: Mapping[str, Any], image: Image) -> tuple[float, float]:
    """r1, and r2 for what spoiling leaves: where nothing says it, that of T2*, the agent's in plasma, or r1."""
    if "relaxivity" in spec:
        r1 = float(spec["relaxivity"])
        return r1, float(spec.get("r2", spec.get("r2_star", r1)))
    field = float(image.provenance["b0"])
    r1 = relaxivity(spec["agent"], field).r1
    try:
        plasma = relaxivity(spec["agent"], field, "plasma")
    except MrisimError:
        plasma = None
    known = r1 if plasma is None or plasma.r2 is None else plasma.r2
    return r1, float(spec.get("r2", spec.get("r2_star", known)))


def _baseline(spec: Mapping[str, Any], time: Float[np.ndarray, " n"]) -> slice:
    """Images before the agent, less the first of several, which is often not in the steady state."""
    count = spec.get("baseline")
    if count is None:
        count = int((time < parse(spec["arrival"], TIME)).sum())
    return slice(1 if count > 1 else 0, count)


def _input(
    given: Given, time: Float[np.ndarray, " n"], concentration: Float[np.ndarray, "voxels n"]
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Times and plasma concentration of the input function: a population's, or measured within a sphere."""
    hematocrit, name = float(given.spec.get("hematocrit", HEMATOCRIT)), given.spec["aif"]
    if name == "measured":
        inside = _sphere(given, "artery")
        with np.errstate(all="ignore"):
            curve = np.nanmean(concentration[inside], axis=0)
        if not np.isfinite(curve).all():
            raise ConsistencyError(_place(given, "must hold voxels with a concentration at all times, but does not"))
        return time, dce.plasma(curve, hematocrit)
    if names_curve("aif", name):
        ta, curve, medium = dce.read_aif(name)
        return ta, dce.plasma(curve, hematocrit) if medium == "blood" else curve
    population, arrival = POPULATIONS[name], parse(given.spec["arrival"], TIME)
    start = min(time[0], arrival)
    fine = np.linspace(start, time[-1], int(np.ceil((time[-1] - start) / FINE)) + 1)
    curve = population.curve(fine, arrival)
    return fine, dce.plasma(curve, hematocrit) if population.medium == "blood" else curve


def _sphere(given: Given, key: str) -> Bool[np.ndarray, " voxels"]:
    """Fitted voxels whose centers lie within a sphere of the specification."""
    sphere = given.spec[key]
    center = np.array([parse(value, LENGTH) for value in sphere["center"]])
    away = np.linalg.norm(given.image.grid.positions()[given.foreground] - center, axis=1)
    inside = away <= parse(sphere["radius"], LENGTH)
    if not inside.any():
        nearest = show(float(away.min()), LENGTH, digits=3) if len(away) else "unknown"
        rule = f"must hold a voxel with signal, but the nearest is {nearest} away"
        raise ConsistencyError(_place(given, rule, key))
    return inside


def _place(given: Given, rule: str, key: str = "artery") -> Problem:
    return Problem(rule, "Move or widen the sphere", f"{given.spec['fit']}.{key}")


def _check_dce(path: str, spec: Mapping[str, Any], image: Image) -> list[Problem]:
    problems = [*_known(path, image, "tr"), *_known(path, image, "flip")]
    name = path.rsplit(".", 1)[-1]
    if "model" not in spec:
        problems.append(Problem(f"must be one of {', '.join(MODELS)}, but is not given", path=f"{path}.model"))
    else:
        made = [*MODELS[spec["model"]].parameters, *(["delay"] if spec.get("fit_delay", False) else [])]
        if _DCE[name].key not in made:
            names = ", ".join(known for known, output in _DCE.items() if output.key in made)
            rule = f"must be a map that {spec['model']} makes ({names}), but is {name}"
            problems.append(Problem(rule, "Take another model, or leave the map out", path))
    problems += [*_check_alternatives(path, spec, image), *check_spoiling(path, spec, image)]
    if spec.get("aif") == "measured" and "artery" not in spec:
        remedy = "Add artery: {center: [0 mm, 0 mm, 0 mm], radius: 4 mm}"
        problems.append(Problem("must be given for a measured input function, but is not", remedy, f"{path}.artery"))
    if spec.get("aif", "measured") != "measured" and "artery" in spec:
        problems.append(Problem("must be left out for an input function that is given", path=f"{path}.artery"))
    return [*problems, *_check_curve(path, spec, _times(image))]


def _check_curve(path: str, spec: Mapping[str, Any], time: Float[np.ndarray, " n"]) -> list[Problem]:
    """What is wrong with an input function from a file, by itself and for the times of the images."""
    file = spec.get("aif")
    if not names_curve("aif", file):
        return []
    try:
        ta, curve, _ = dce.read_aif(str(file))
    except SpecError as error:
        return [
            Problem(f"must be a curve over time, but {_where(p)} {p.rule}", p.remedy, f"{path}.aif")
            for p in error.problems
        ]
    if not np.isfinite(time).all() or len(time) < 2:
        return []
    wrong = check_curves(np.sort(time), curve, ta)
    return [Problem(f"{p.rule} ({Path(str(file)).name}: {p.path})", p.remedy, f"{path}.aif") for p in wrong]


def _where(problem: Problem) -> str:
    """Name of a file, its line, and what of it."""
    line = "" if problem.line is None else f":{problem.line}"
    return f"{Path(problem.file).name}{line}: {problem.path}".rstrip(": ")


def _check_alternatives(path: str, spec: Mapping[str, Any], image: Image) -> list[Problem]:
    """Settings of which one of two must be there."""
    problems = []
    if "aif" not in spec:
        rule = f"must be {', '.join(POPULATIONS)}, measured or a .csv file, but is not given"
        problems.append(Problem(rule, path=f"{path}.aif"))
    if ("t1" in spec) == ("t10" in spec):
        both = "both are" if "t1" in spec else "none is"
        rule = f"must be given as t1, a map, or as t10, one time, but {both}"
        problems.append(Problem(rule, "Add t10: 1.5 s, or t1: T1", f"{path}.t1"))
    if ("agent" in spec) == ("relaxivity" in spec):
        both = "both are" if "agent" in spec else "none is"
        rule = f"must be given as agent or as relaxivity in 1/(s mM), but {both}"
        problems.append(Problem(rule, "Add relaxivity: 4.5", f"{path}.agent"))
    if "agent" in spec and "b0" not in image.provenance:
        rule = "must be a relaxivity for images that do not know their field, but is an agent"
        problems.append(Problem(rule, "Give relaxivity: 4.5 in its place", f"{path}.agent"))
    elif "agent" in spec:
        try:
            relaxivity(spec["agent"], float(image.provenance["b0"]))
        except MrisimError as error:
            problems += [Problem(p.rule, p.remedy, f"{path}.agent") for p in error.problems]
    known = spec.get("aif") == "measured" or names_curve("aif", spec.get("aif"))
    if "arrival" not in spec and not (known and "baseline" in spec):
        needed = "baseline, or arrival" if known else "arrival"
        rule = f"must say when the agent comes by {needed}, but does not"
        problems.append(Problem(rule, "Add arrival: 30 s", f"{path}.arrival"))
    else:
        problems += _check_baseline(path, spec, _times(image))
    return problems


def _check_baseline(path: str, spec: Mapping[str, Any], time: Float[np.ndarray, " n"]) -> list[Problem]:
    """What is wrong with the times before and after the agent comes."""
    if not np.isfinite(time).all():
        return []
    problems, arrival = [], parse(spec["arrival"], TIME) if "arrival" in spec else None
    if arrival is not None and "baseline" not in spec and not (time < arrival).any():
        rule = f"must come after the first image at {time.min():.4g} s, but is {spec['arrival']}"
        problems.append(Problem(rule, "Scan a baseline", f"{path}.arrival"))
    if arrival is not None and arrival >= time.max():
        rule = f"must come before the last image at {time.max():.4g} s, but is {spec['arrival']}"
        problems.append(Problem(rule, "Scan longer, or inject earlier", f"{path}.arrival"))
    if spec.get("baseline", 0) >= len(time):
        rule = f"must leave some of the {len(time)} images, but is {spec['baseline']}"
        problems.append(Problem(rule, "It counts the images before the agent", f"{path}.baseline"))
    return problems


def _dsc(given: Given) -> FitResult:
    spec, time = given.spec, given.coordinate("time")
    order = np.argsort(time, kind="stable")
    baseline = slice(1 if spec["baseline"] > 1 else 0, spec["baseline"])
    change = dsc.relaxation_change(given.signal[:, order], float(np.median(given.coordinate("te"))), baseline)
    artery = np.nanmean(change[_sphere(given, "artery")], axis=0)
    shares = {key: spec[key] for key in _HEMATOCRITS if key in spec}
    healthy = _sphere(given, "healthy") if "healthy" in spec else None
    return dsc.perfusion(time[order], change, artery, leakage=healthy, **shares)


def _check_dsc(path: str, spec: Mapping[str, Any], image: Image) -> list[Problem]:
    remedies = {"artery": "Add artery: {center: [0 mm, 0 mm, 0 mm], radius: 4 mm}", "baseline": "Add baseline: 10"}
    missing = [
        Problem("must be given, but is not", remedy, f"{path}.{key}")
        for key, remedy in remedies.items()
        if key not in spec
    ]
    late = [] if "baseline" not in spec else _check_baseline(path, spec, _times(image))
    return [*_known(path, image, "te"), *missing, *late]


def _times(image: Image) -> Float[np.ndarray, " contrast"]:
    return np.asarray(image.coordinates["time"], dtype=float)


def _known(path: str, image: Image, name: str) -> list[Problem]:
    values = np.asarray(image.coordinates.get(name, np.nan), dtype=float)
    if np.isfinite(values).all():
        return []
    rule = f"must have images with a {name} each, but {name} is unknown for some"
    return [Problem(rule, "Play dummy repetitions before the first image, so that each has one", f"{path}.fit")]


def _whole(low: int) -> Callable[[Any], str]:
    def rule(value: Any) -> str:
        plain = isinstance(value, int) and not isinstance(value, bool)
        return "" if plain and value >= low else f"must be a whole number from {low}, but is '{value}'"

    return rule


def _text(value: Any) -> str:
    return "" if isinstance(value, str) else f"must be a name, but is '{value}'"


def _share(value: Any) -> str:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return "" if plain and 0 < value < 1 else f"must lie between 0 and 1, but is '{value}'"


def _is_sphere(value: Any) -> str:
    if not isinstance(value, Mapping) or set(value) != {"center", "radius"}:
        return f"must be a sphere such as {{center: [0 mm, 0 mm, 0 mm], radius: 4 mm}}, but is '{value}'"
    center = value["center"]
    if not isinstance(center, Sequence) or isinstance(center, str) or len(center) != 3:
        return f"must have a center of three lengths, but has '{center}'"
    wrong = [quantity(LENGTH)(entry) for entry in center] + [quantity(LENGTH, 0.0)(value["radius"])]
    return next((rule for rule in wrong if rule), "")


def _is_input(value: Any) -> str:
    rule = one_of(*POPULATIONS, "measured", "a .csv file")
    return "" if names_curve("aif", value) or value in (*POPULATIONS, "measured") else rule(value)


_HEMATOCRITS = ("hct_large", "hct_small")
_DCE = {
    "Ktrans": Output(key="ktrans", unit="1/s"),
    "ve": Output(key="ve", unit="1"),
    "vp": Output(key="vp", unit="1"),
    "Fp": Output(key="fp", unit="1/s"),
    "PS": Output(key="ps", unit="1/s"),
    "delay": Output(key="delay", unit="s"),
}
METHODS = {
    "variable_flip": Method(
        fewest=2,
        run=_variable_flip,
        outputs={"T1": Output(key="t1", unit="s"), "PD": Output(key="m0", unit="1")},
        setting="flip",
        constant=("te", "tr", "ti", "ts"),
        options={"method": one_of("nonlinear", "linear"), **SPOILING},
        inputs={"b1": "B1", "t2": "T2"},
        check=_check_variable_flip,
    ),
    "dce": Method(
        run=_dce,
        outputs=_DCE,
        setting="time",
        constant=("te", "tr", "flip"),
        options={
            "model": one_of(*MODELS),
            "aif": _is_input,
            "arrival": quantity(TIME, 0.0),
            "artery": _is_sphere,
            "baseline": _whole(1),
            "hematocrit": _share,
            "t10": quantity(TIME, 1e-3, 10.0),
            "agent": _text,
            "relaxivity": number(0.1, 100.0),
            "r2": number(0.0, 1000.0),
            "r2_star": number(0.0, 1000.0),
            "fit_delay": true_or_false,
            "steady_state": true_or_false,
            "least_uptake": number(0.0, 1.0),
            **SPOILING,
        },
        inputs={"t1": "T1", "b1": "B1", "t2": "T2"},
        check=_check_dce,
    ),
    "dsc": Method(
        run=_dsc,
        outputs={
            "CBV": Output(key="cbv", unit="1"),
            "CBF": Output(key="cbf", unit="1/s"),
            "MTT": Output(key="mtt", unit="s"),
        },
        setting="time",
        constant=("te", "flip"),
        options={
            "artery": _is_sphere,
            "healthy": _is_sphere,
            "baseline": _whole(1),
            **{key: _share for key in _HEMATOCRITS},
        },
        check=_check_dsc,
    ),
}
