"""Image series → parameter maps, as a sequence or a protocol asks for them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mrisim._types import Bool, Float
from mrisim.data import Image, ParameterMap
from mrisim.errors import ConsistencyError, Problem
from mrisim.mapping import (
    bloch_siegert,
    contrast,
    echo_train_methods,
    fat_water,
    fields,
    fingerprints,
    look_locker,
    mp2rage,
    relaxation,
)
from mrisim.mapping.diffusion import methods as diffusion
from mrisim.mapping.method import Given, Method
from mrisim.mapping.placing import interpolated
from mrisim.mapping.separable import FitResult

METHODS: dict[str, Method] = {
    **relaxation.METHODS,
    **echo_train_methods.METHODS,
    **fingerprints.METHODS,
    **look_locker.METHODS,
    **mp2rage.METHODS,
    **fields.METHODS,
    **bloch_siegert.METHODS,
    **fat_water.METHODS,
    **diffusion.METHODS,
    **contrast.METHODS,
}
MAPS = tuple(dict.fromkeys(name for method in METHODS.values() for name in method.outputs))
THRESHOLD = 0.05  # of the largest magnitude in the series; below it in every contrast, a voxel is background
EQUAL = 1e-3  # relative; settings that the model takes as constant may differ by this much over the series
_COMMON = ("fit", "from", "threshold", "misfit")
_SHARES = ("threshold", "misfit")


def fit_maps(
    image: Image | Mapping[str, Image], maps: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, ParameterMap]:
    """Fit parameter maps to an image series, or to several series by name.

    A specification names for each map its `fit`, and

    * `from`, the name of the series;
    * `threshold`, the share of the largest magnitude in the series below which a voxel is background (0.05);
    * `misfit`, the share of a voxel's largest signal that its residual may reach, where not every voxel is taken;
    * the options of the fit; those such as `t1: T1` take another map of the same call.

    docs/maps.md lists the fits and their options.

    TE, TI, TS and TR come from the coordinates of the image. Where TR is nan, the scan starts from equilibrium.

    Args:
        image: One series, or several by the name that `from` gives; contrasts along the first axis.
        maps: Specification; that of the sequence where not given.

    Returns:
        Maps by name. Voxels that are background, have no signal or did not converge are nan and False in the mask;
        `provenance["counts"]` says how many.

    Raises:
        ConsistencyError: unknown fits, options or series, settings that do not suit the model, grids that differ.

    Example:
        >>> from mrisim.data import Grid
        >>> te = np.array([0.01, 0.05, 0.1])
        >>> image = Image(data=np.exp(-te / 0.08).reshape(3, 1, 1, 1) + 0j, grid=Grid.of((1, 1, 1), (1.0, 1.0, 1.0)),
        ...               coordinates={"te": te})
        >>> round(fit_maps(image, {"T2": {"fit": "monoexponential"}})["T2"].data.item(), 6)
        0.08
    """
    series = {"": image} if isinstance(image, Image) else dict(image)
    if maps is None:
        maps = {name: spec for one in series.values() for name, spec in one.provenance.get("maps", {}).items()}
    if not maps:
        raise ConsistencyError(
            Problem("must name at least one map, but is empty", "Add T2: {fit: monoexponential}", "maps")
        )
    problems = check_maps(maps)
    problems = problems or check_series(maps, series)
    if problems:
        raise ConsistencyError(problems)
    done: dict[str, ParameterMap] = {}
    cache: dict[Any, tuple[FitResult, Bool[np.ndarray, "z y x"]]] = {}
    for name in _in_order(maps):
        spec = maps[name]
        source = _series(name, spec, series)
        key = (spec.get("from"), tuple(sorted((k, str(v)) for k, v in spec.items())))
        if key not in cache:
            cache[key] = _fit(name, spec, source, done)
        done[name] = _to_map(name, spec, source, *cache[key])
    return {name: done[name] for name in maps}


def check_maps(maps: Mapping[str, Mapping[str, Any]]) -> list[Problem]:
    """What is wrong with a specification, as far as it can be told before there are images.

    Example:
        >>> print(*check_maps({"T2": {"fit": "monoexponential", "threshold": 2}}))
        maps.T2.threshold: must be a share from 0 to below 1, but is '2'.
    """
    return [problem for name, spec in maps.items() for problem in _check(name, spec, maps)]


def check_series(maps: Mapping[str, Mapping[str, Any]], series: Mapping[str, Image]) -> list[Problem]:
    """What of some series does not suit the fits; of images, only what is known about them counts.

    Args:
        maps: Specification that `check_maps` finds nothing wrong with.
        series: By the name that `from` gives; one series without a name where maps give none.
    """
    problems = []
    for name, spec in maps.items():
        found = _check_series(f"maps.{name}", spec, series)
        image, method = _series(name, spec, series), METHODS[spec["fit"]]
        problems += found or _check_constant(name, method, image) or _too_few(f"maps.{name}", method, image)
    return problems


def _fit(
    name: str, spec: Mapping[str, Any], image: Image, done: Mapping[str, ParameterMap]
) -> tuple[FitResult, Bool[np.ndarray, "z y x"]]:
    """Fit the voxels that are not background."""
    method = METHODS[spec["fit"]]
    peak = np.abs(image.data).max(axis=0)
    foreground = (peak > 0) & (peak >= float(spec.get("threshold", THRESHOLD)) * peak.max())
    inputs = {
        option: _voxels(f"maps.{name}.{option}", done[spec[option]], image, foreground)
        for option in method.inputs
        if option in spec
    }
    signal = np.moveaxis(image.data, 0, -1)[foreground]
    given = Given(image=image, signal=signal, spec=spec, maps=inputs, foreground=foreground)
    found = method.run(given)
    return (_followed(found, signal, float(spec["misfit"])) if "misfit" in spec else found), foreground


def _followed(found: FitResult, signal: np.ndarray, most: float) -> FitResult:
    """A fit without the voxels whose residual is more than a share of their largest signal: not what the model says."""
    follows = ~(found.residual > most * np.abs(signal).max(axis=-1))
    lost = int((found.converged & ~follows).sum())
    counts = {**found.counts, "fitted": found.counts["fitted"] - lost, "failed": found.counts["failed"] + lost}
    maps = {name: np.where(follows.reshape(-1, *[1] * (one.ndim - 1)), one, np.nan) for name, one in found.maps.items()}
    return replace(found, maps=maps, converged=found.converged & follows, counts=counts)


def _voxels(
    path: str, other: ParameterMap, image: Image, foreground: Bool[np.ndarray, "z y x"]
) -> Float[np.ndarray, " voxels"]:
    """Another map at the voxels that are fitted, interpolated where it lies on another grid.

    Raises:
        ConsistencyError: no fitted voxel lies in the other map.
    """
    if other.grid.matches(image.grid):
        return other.data[foreground]
    values = interpolated(other, image.grid.positions()[foreground])
    if len(values) and not np.isfinite(values).any():
        raise ConsistencyError(Problem("must cover the images, but has no value in any of their voxels", path=path))
    return values


def _to_map(
    name: str, spec: Mapping[str, Any], image: Image, fit: FitResult, foreground: Bool[np.ndarray, "z y x"]
) -> ParameterMap:
    output = METHODS[spec["fit"]].outputs[name]

    def place(values: np.ndarray) -> np.ndarray:
        full = np.full((*foreground.shape, *values.shape[1:]), np.nan)
        full[foreground] = np.abs(values) if np.iscomplexobj(values) else values
        return full

    mask = np.zeros(foreground.shape, dtype=bool)
    mask[foreground] = fit.converged
    counts = {"background": int((~foreground).sum()), **fit.counts}
    threshold = float(spec.get("threshold", THRESHOLD))
    error = fit.standard_error.get(output.key)
    return ParameterMap(
        name=name,
        unit=output.unit,
        data=place(fit[output.key]),
        grid=image.grid,
        standard_error=None if error is None else place(error),
        mask=mask,
        findings=fit.findings,
        provenance={"fit": dict(spec), "counts": counts, "threshold": threshold},
    )


def _check_constant(name: str, method: Method, image: Image) -> list[Problem]:
    problems = []
    for coordinate in method.constant:
        values = np.asarray(image.coordinates.get(coordinate, np.nan), dtype=float)
        known = values[np.isfinite(values)]
        if known.size and np.ptp(known) > EQUAL * np.abs(known).max():
            rule = f"must be the same in all contrasts for this fit, but goes from {known.min():g} to {known.max():g}"
            problems.append(Problem(rule, "Take scans that differ in one setting", f"maps.{name}: {coordinate}"))
    return problems


def _series(name: str, spec: Mapping[str, Any], series: Mapping[str, Image]) -> Image:
    if "from" in spec and spec["from"] in series:
        return series[spec["from"]]
    return next(iter(series.values()))


def _check(name: str, spec: Mapping[str, Any], maps: Mapping[str, Mapping[str, Any]]) -> list[Problem]:
    path = f"maps.{name}"
    if name not in MAPS:
        return [Problem(f"must be one of {', '.join(MAPS)}, but is '{name}'{_close(name, MAPS)}", path=path)]
    fit = spec.get("fit")
    if not isinstance(fit, str) or fit not in METHODS:
        return [
            Problem(f"must be one of {', '.join(METHODS)}, but is '{fit}'{_close(fit, METHODS)}", path=f"{path}.fit")
        ]
    method, problems = METHODS[fit], []
    if name not in method.outputs:
        rule = f"must be a fit that gives {name}, but {fit} gives {', '.join(method.outputs)}"
        problems.append(Problem(rule, path=f"{path}.fit"))
    allowed = (*_COMMON, *method.options, *method.inputs)
    for key in spec:
        if key not in allowed:
            rule = f"must be one of {', '.join(allowed)}, but is '{key}'{_close(key, allowed)}"
            problems.append(Problem(rule, path=f"{path}.{key}"))
    return [*problems, *_check_values(path, method, spec, maps)]


def _check_values(path: str, method: Method, spec: Mapping[str, Any], maps: Mapping[str, Any]) -> list[Problem]:
    problems = []
    for option, rule in method.options.items():
        wrong = rule(spec[option]) if option in spec else ""
        if wrong:
            problems.append(Problem(wrong, path=f"{path}.{option}"))
    for name in _SHARES:
        share = spec.get(name, THRESHOLD)
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share < 1:
            problems.append(Problem(f"must be a share from 0 to below 1, but is '{share}'", path=f"{path}.{name}"))
    for option, needed in method.inputs.items():
        if option in spec and (spec[option] != needed or str(maps.get(needed, {}).get("fit")) not in METHODS):
            rule = f"must name the {needed} map of the same specification, but is '{spec[option]}'"
            problems.append(Problem(rule, f"Add {needed}: {{fit: {_first_fit(needed)}}}", f"{path}.{option}"))
    return problems


def _first_fit(name: str) -> str:
    """A fit that gives a map, first of all, where one does."""
    fits = [(list(method.outputs).index(name), fit) for fit, method in METHODS.items() if name in method.outputs]
    return min(fits, key=lambda pair: pair[0])[1]


def _check_series(path: str, spec: Mapping[str, Any], series: Mapping[str, Image]) -> list[Problem]:
    single = len(series) == 1 and "" in series
    if single and "from" in spec:
        return [Problem("must be left out for a single series, but is given", path=f"{path}.from")]
    if not single and spec.get("from") not in series and (len(series) > 1 or "from" in spec):
        rule = f"must be one of the series {', '.join(series)}, but is '{spec.get('from')}'"
        return [Problem(rule, path=f"{path}.from")]
    image, method = _series("", spec, series), METHODS[spec["fit"]]
    setting = method.setting
    if setting and np.isnan(np.asarray(image.coordinates.get(setting, np.nan), dtype=float)).any():
        rule = f"must have images with a {setting} each, but {setting} is unknown for some"
        return [Problem(rule, "Reconstruct a sequence that has one, or set the image's coordinates", f"{path}.fit")]
    return method.check(path, spec, image)


def _too_few(path: str, method: Method, image: Image) -> list[Problem]:
    """A problem where the contrasts have fewer different settings than the fit has unknowns."""
    if method.fewest < 2:
        return []
    values = np.sort(np.asarray(image.coordinates[method.setting], dtype=float))
    found = 1 + int((np.diff(values) > EQUAL * np.abs(values[1:])).sum())
    if found >= method.fewest:
        return []
    name = {"flip": "flip angles"}.get(method.setting, method.setting.upper())
    rule = f"must have images at {method.fewest} different {name} or more, but has {found}"
    return [Problem(rule, "Measure at more of them", f"{path}.fit")]


def _close(word: object, known: Any) -> str:
    match = difflib.get_close_matches(str(word), list(known), n=1)
    return f" (did you mean '{match[0]}'?)" if match else ""


def _in_order(maps: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Maps that others need come before these."""
    order: list[str] = []

    def visit(name: str) -> None:
        if name not in order:
            for option, needed in METHODS[maps[name]["fit"]].inputs.items():
                if option in maps[name] and needed != name:
                    visit(needed)
            order.append(name)

    for name in maps:
        visit(name)
    return order
