"""Fits of diffusion that a specification can name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mrisim.data import Image
from mrisim.errors import ConsistencyError, Problem
from mrisim.mapping.diffusion import adc, ivim, kurtosis, tensor
from mrisim.mapping.diffusion.weights import Powder, powder, shells
from mrisim.mapping.method import Given, Method, Output, one_of, quantity
from mrisim.mapping.separable import FitResult
from mrisim.units import B_VALUE, parse

_DIFFUSIVITY, _NUMBER = "m^2/s", "1"
_WITHIN = ("te", "ti", "ts", "tr", "flip")  # must not change over a series


def _matrices(image: Image) -> np.ndarray:
    return np.asarray(image.coordinates["b_matrix"], dtype=float)


def _powder(given: Given) -> Powder:
    return powder(np.abs(given.signal), _matrices(given.image))


def _adc(given: Given) -> FitResult:
    mean = _powder(given)
    found = adc.fit_adc(mean.signal, mean.b, method=given.spec.get("method", "nonlinear"))
    trace, error = 3.0 * found["adc"], 3.0 * found.standard_error["adc"]
    more = {"trace": trace}
    if "b" in given.spec:
        more["high_b"] = found["s0"] * np.exp(-parse(given.spec["b"], B_VALUE) * found["adc"])
    return FitResult(
        maps={**found.maps, **more},
        standard_error={**found.standard_error, "trace": error},
        converged=found.converged,
        residual=found.residual,
        counts=found.counts,
    )


def _tensor(given: Given) -> FitResult:
    return tensor.fit_tensor(given.signal, _matrices(given.image))


def _kurtosis(given: Given) -> FitResult:
    if given.spec.get("model", "tensor") == "tensor":
        return kurtosis.fit_kurtosis(given.signal, _matrices(given.image))
    mean = _powder(given)
    return kurtosis.fit_kurtosis(mean.signal, mean.b)


def _ivim(given: Given) -> FitResult:
    mean = _powder(given)
    return ivim.fit_ivim(mean.signal, mean.b, method=given.spec.get("method", "full"))


def _check_shells(needed: int):
    def check(path: str, spec: Mapping[str, Any], image: Image) -> list[Problem]:
        if spec.get("model", "apparent") == "tensor":
            return []
        matrices = _matrices(image)
        found = len(np.unique(shells(np.trace(matrices, axis1=1, axis2=2))))
        if found < needed:
            rule = f"must have images at {needed} different b values or more, but has {found}"
            return [Problem(rule, "Add an image with another weighting, such as b = 0", f"{path}.fit")]
        if path.endswith(".Trace") and not powder(np.ones((1, len(matrices))), matrices).isotropic:
            rule = "must have directions at each b value whose mean is the same along all axes, but has others"
            return [Problem(rule, "Take three orthogonal directions, or the fit 'tensor'", f"{path}.fit")]
        return []

    return check


def _check_tensor(path: str, spec: Mapping[str, Any], image: Image) -> list[Problem]:
    if spec["fit"] == "kurtosis" and spec.get("model", "tensor") == "apparent":
        return _check_shells(3)(path, spec, image)
    fit = tensor.fit_tensor if spec["fit"] == "tensor" else kurtosis.fit_kurtosis
    try:
        fit(np.zeros((0, len(image.data))), _matrices(image))
    except ConsistencyError as error:
        return [Problem(problem.rule, problem.remedy, f"{path}.fit") for problem in error.problems]
    return []


def _check_adc(path: str, spec: Mapping[str, Any], image: Image) -> list[Problem]:
    problems = _check_shells(2)(path, spec, image)
    if path.endswith(".HighB") and "b" not in spec:
        rule = "must be given for an image computed at a b value, but is not"
        problems.append(Problem(rule, "Add b: 1400 s/mm^2", f"{path}.b"))
    return problems


_S0 = {"S0": Output(key="s0", unit=_NUMBER)}
METHODS = {
    "adc": Method(
        run=_adc,
        outputs={
            "ADC": Output(key="adc", unit=_DIFFUSIVITY),
            "Trace": Output(key="trace", unit=_DIFFUSIVITY),
            "HighB": Output(key="high_b", unit=_NUMBER),
            **_S0,
        },
        setting="b_matrix",
        constant=_WITHIN,
        options={"method": one_of(*adc.METHODS), "b": quantity(B_VALUE, 0.0, 1e10)},
        check=_check_adc,
    ),
    "tensor": Method(
        run=_tensor,
        outputs={
            "FA": Output(key="fa", unit=_NUMBER),
            "MD": Output(key="md", unit=_DIFFUSIVITY),
            "AD": Output(key="ad", unit=_DIFFUSIVITY),
            "RD": Output(key="rd", unit=_DIFFUSIVITY),
            "Trace": Output(key="trace", unit=_DIFFUSIVITY),
            "V1": Output(key="v1", unit=_NUMBER),
            **_S0,
        },
        setting="b_matrix",
        constant=_WITHIN,
        check=_check_tensor,
    ),
    "kurtosis": Method(
        run=_kurtosis,
        outputs={"MD": Output(key="md", unit=_DIFFUSIVITY), "MK": Output(key="mk", unit=_NUMBER), **_S0},
        setting="b_matrix",
        constant=_WITHIN,
        options={"model": one_of("tensor", "apparent")},
        check=_check_tensor,
    ),
    "ivim": Method(
        run=_ivim,
        outputs={
            "D": Output(key="d", unit=_DIFFUSIVITY),
            "f": Output(key="f", unit=_NUMBER),
            "Dstar": Output(key="d_star", unit=_DIFFUSIVITY),
            **_S0,
        },
        setting="b_matrix",
        constant=_WITHIN,
        options={"method": one_of(*ivim.METHODS)},
        check=_check_shells(4),
    ),
}
