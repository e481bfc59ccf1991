"""Image series → parameter maps, as a sequence or a protocol asks for them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mrisim._types import Bool, Float
from mrisim.data import Image, ParameterMap
from mrisim.errors import ConsistencyError, Problem
from mrisim.mapping import t1 as t1_fits
from mrisim.mapping import t2 as t2_fits
from mrisim.mapping.separable import FitResult

THRESHOLD = 0.05  # of the largest magnitude in the series; below it in every contrast, a voxel is background
OUTPUTS = {"T1": ("t1", "s"), "T2": ("t2", "s"), "T2star": ("t2", "s"), "PD": ("m0", "1")}
EQUAL = 1e-3  # relative; settings that the model takes as constant may differ by this much over the series


@dataclass(frozen=True)
class Method:
    """A fit that a specification can name."""

    run: Callable[[Image, Float[np.ndarray, "voxels n"], Mapping[str, Any], Any], FitResult]
    options: tuple[str, ...]  # beyond fit, from and threshold
    maps: tuple[str, ...]  # what it can make
    constant: tuple[str, ...]  # coordinates that must not change over the series


def fit_maps(
    image: Image | Mapping[str, Image], maps: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, ParameterMap]:
    """Fit parameter maps to an image series, or to several series by name.

    A specification names for each map (`T1`, `T2`, `T2star`, `PD`) its `fit` and options:

    * `inversion_recovery` → T1: `data: complex` or `magnitude` (where not given, as the image is).
    * `saturation_recovery` → T1, PD: over the coordinate `ts` (saturation to excitation) where an image has it, else
      over TR; there, `spin_echo: true` for spin echoes, whose saturation depends on TE.
    * `monoexponential` → T2, T2star, PD: `t1: T1` takes another map of the same call to undo the saturation of separate
      spin echoes of finite TR. PD is the amplitude at TE = 0. Biased for echo trains: `mapping.t2.fit_monoexponential`.
    * all: `from`, the name of the series; `threshold`, the share of the largest magnitude in the series below which a
      voxel is background (0.05).

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
    if not problems:
        problems = [problem for name, spec in maps.items() for problem in _check_series(f"maps.{name}", spec, series)]
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
        >>> print(*check_maps({"T3": {"fit": "monoexponential"}}))
        maps.T3: must be one of T1, T2, T2star, PD, but is 'T3'.
    """
    return [problem for name, spec in maps.items() for problem in _check(name, spec, maps)]


def _fit(
    name: str, spec: Mapping[str, Any], image: Image, done: Mapping[str, ParameterMap]
) -> tuple[FitResult, Bool[np.ndarray, "z y x"]]:
    """Fit the voxels that are not background."""
    method = METHODS[spec["fit"]]
    _check_constant(name, method, image)
    peak = np.abs(image.data).max(axis=0)
    foreground = (peak > 0) & (peak >= float(spec.get("threshold", THRESHOLD)) * peak.max())
    signal = np.moveaxis(image.data, 0, -1)[foreground]
    given = None
    if "t1" in spec:
        given = done[spec["t1"]]
        if given.data.shape != peak.shape or not np.allclose(given.grid.positions(), image.grid.positions(), atol=1e-6):
            raise ConsistencyError(
                Problem("must lie on the grid of the images, but lies on another", path=f"maps.{name}.t1")
            )
        given = given.data[foreground]
    return method.run(image, signal, spec, given), foreground


def _to_map(
    name: str, spec: Mapping[str, Any], image: Image, fit: FitResult, foreground: Bool[np.ndarray, "z y x"]
) -> ParameterMap:
    output, unit = OUTPUTS[name]

    def place(values: np.ndarray) -> np.ndarray:
        full = np.full(foreground.shape, np.nan)
        full[foreground] = np.abs(values)
        return full

    mask = np.zeros(foreground.shape, dtype=bool)
    mask[foreground] = fit.converged
    counts = {"background": int((~foreground).sum()), **fit.counts}
    threshold = float(spec.get("threshold", THRESHOLD))
    return ParameterMap(
        name=name,
        unit=unit,
        data=place(fit[output]),
        grid=image.grid,
        standard_error=place(fit.standard_error[output]),
        mask=mask,
        provenance={"fit": dict(spec), "counts": counts, "threshold": threshold},
    )


def _inversion_recovery(image: Image, signal: np.ndarray, spec: Mapping[str, Any], t1: None) -> FitResult:
    magnitude = bool(image.provenance.get("recon", {}).get("magnitude", False)) or not np.iscomplexobj(signal)
    if "data" in spec:
        magnitude = spec["data"] == "magnitude"
    return t1_fits.fit_inversion_recovery(signal, image.coordinates["ti"], magnitude=magnitude)


def _saturation_recovery(image: Image, signal: np.ndarray, spec: Mapping[str, Any], t1: None) -> FitResult:
    te = image.coordinates["te"] if spec.get("spin_echo", False) else None
    recovery = image.coordinates["ts"] if _has_ts(image) else _repetition_times(image)
    return t1_fits.fit_saturation_recovery(signal, recovery, te=te)


def _monoexponential(image: Image, signal: np.ndarray, spec: Mapping[str, Any], t1: np.ndarray | None) -> FitResult:
    tr = None if t1 is None else _repetition_times(image)
    return t2_fits.fit_monoexponential(signal, image.coordinates["te"], t1=t1, tr=tr)


METHODS = {
    "inversion_recovery": Method(_inversion_recovery, ("data",), ("T1",), ("te", "tr", "flip")),
    "saturation_recovery": Method(_saturation_recovery, ("spin_echo",), ("T1", "PD"), ("te", "ti", "flip")),
    "monoexponential": Method(_monoexponential, ("t1",), ("T2", "T2star", "PD"), ("ti", "ts", "tr", "flip")),
}
SETTING = {"inversion_recovery": "ti", "saturation_recovery": "tr", "monoexponential": "te"}


def _has_ts(image: Image) -> bool:
    return bool(np.isfinite(np.asarray(image.coordinates.get("ts", np.nan), dtype=float)).all())


def _repetition_times(image: Image) -> Float[np.ndarray, " contrast"]:
    tr = np.asarray(image.coordinates.get("tr", np.full(len(image.data), np.nan)), dtype=float)
    return np.where(np.isnan(tr), np.inf, tr)


def _check_constant(name: str, method: Method, image: Image) -> None:
    problems = []
    for coordinate in method.constant:
        values = np.asarray(image.coordinates.get(coordinate, np.nan), dtype=float)
        known = values[np.isfinite(values)]
        if known.size and np.ptp(known) > EQUAL * np.abs(known).max():
            rule = f"must be the same in all contrasts for this fit, but goes from {known.min():g} to {known.max():g}"
            problems.append(Problem(rule, "Take scans that differ in one setting", f"maps.{name}: {coordinate}"))
    if problems:
        raise ConsistencyError(problems)


def _series(name: str, spec: Mapping[str, Any], series: Mapping[str, Image]) -> Image:
    if "from" in spec and spec["from"] in series:
        return series[spec["from"]]
    return next(iter(series.values()))


def _check(name: str, spec: Mapping[str, Any], maps: Mapping[str, Mapping[str, Any]]) -> list[Problem]:
    path = f"maps.{name}"
    if name not in OUTPUTS:
        return [Problem(f"must be one of {', '.join(OUTPUTS)}, but is '{name}'{_close(name, OUTPUTS)}", path=path)]
    fit = spec.get("fit")
    if not isinstance(fit, str) or fit not in METHODS:
        return [
            Problem(f"must be one of {', '.join(METHODS)}, but is '{fit}'{_close(fit, METHODS)}", path=f"{path}.fit")
        ]
    method, problems = METHODS[fit], []
    if name not in method.maps:
        problems.append(
            Problem(f"must be a fit that gives {name}, but {fit} gives {', '.join(method.maps)}", path=f"{path}.fit")
        )
    allowed = ("fit", "from", "threshold", *method.options)
    for key in spec:
        if key not in allowed:
            rule = f"must be one of {', '.join(allowed)}, but is '{key}'{_close(key, allowed)}"
            problems.append(Problem(rule, path=f"{path}.{key}"))
    return [*problems, *_check_values(path, spec, maps)]


def _check_values(path: str, spec: Mapping[str, Any], maps: Mapping[str, Any]) -> list[Problem]:
    problems = []
    if spec.get("data", "complex") not in ("complex", "magnitude"):
        problems.append(Problem(f"must be complex or magnitude, but is '{spec['data']}'", path=f"{path}.data"))
    if not isinstance(spec.get("spin_echo", False), bool):
        problems.append(Problem(f"must be true or false, but is '{spec['spin_echo']}'", path=f"{path}.spin_echo"))
    threshold = spec.get("threshold", THRESHOLD)
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 <= threshold < 1:
        problems.append(Problem(f"must be a share from 0 to below 1, but is '{threshold}'", path=f"{path}.threshold"))
    if "t1" in spec:
        given = maps.get(spec["t1"]) if isinstance(spec["t1"], str) else None
        if given is None or str(given.get("fit")) not in METHODS or spec["t1"] != "T1":
            rule = f"must name the T1 map of the same specification, but is '{spec['t1']}'"
            problems.append(Problem(rule, "Add T1: {fit: inversion_recovery}", f"{path}.t1"))
    return problems


def _check_series(path: str, spec: Mapping[str, Any], series: Mapping[str, Image]) -> list[Problem]:
    single = len(series) == 1 and "" in series
    if single and "from" in spec:
        return [Problem("must be left out for a single series, but is given", path=f"{path}.from")]
    if not single and spec.get("from") not in series and (len(series) > 1 or "from" in spec):
        rule = f"must be one of the series {', '.join(series)}, but is '{spec.get('from')}'"
        return [Problem(rule, path=f"{path}.from")]
    image = _series("", spec, series)
    setting = SETTING[spec["fit"]]
    values = np.asarray(image.coordinates.get(setting, np.nan), dtype=float)
    if spec.get("spin_echo", False) is True and _has_ts(image):
        rule = "must be left out where ts is known, because the refocusing pulse comes after the recovery, but is given"
        return [Problem(rule, path=f"{path}.spin_echo")]
    delays = np.isnan(np.asarray(image.coordinates.get("ts", np.nan), dtype=float))
    if setting == "tr" and delays.any() and not delays.all():
        rule = "must have images with a ts each or none at all, but ts is unknown for some"
        return [Problem(rule, "Leave out the scans without a saturation", f"{path}.fit")]
    if setting != "tr" and np.isnan(values).any():
        rule = f"must have images with a {setting} each, but {setting} is unknown for some"
        return [Problem(rule, "Reconstruct a sequence that has one, or set the image's coordinates", f"{path}.fit")]
    return []


def _close(word: object, known: Any) -> str:
    match = difflib.get_close_matches(str(word), list(known), n=1)
    return f" (did you mean '{match[0]}'?)" if match else ""


def _in_order(maps: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Maps that others need come first; only T1 is needed by others, and needs none."""
    return sorted(maps, key=lambda name: "t1" in maps[name])
