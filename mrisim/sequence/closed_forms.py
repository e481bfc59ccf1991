"""The closed forms of the package as functions of `expect`, with the dimensions of their arguments.

JAX is imported when one is called.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from mrisim.errors import SpecError
from mrisim.sequence.functions import FUNCTIONS, Call, Function
from mrisim.sequence.values import Quantity, Value, as_whole
from mrisim.units import ANGLE, FREQUENCY, NUMBER, TIME, Dimension

MAX_TRAIN = 20_000
"""Longest train of pulses that a phase graph follows."""
_STATES = (64, 256, 1024)  # sizes of a phase graph
_LOST = 1e-9  # share of the magnetisation that the orders left out hold

_DIMENSIONS: Mapping[str, Dimension] = {
    **dict.fromkeys(("time", "constant", "recovery", "t1", "t2", "t2_star"), TIME),
    **dict.fromkeys(("te", "tr", "ti", "ti_1", "ti_2", "spacing", "echo_spacing"), TIME),
    **dict.fromkeys(("flip", "flip_1", "flip_2", "inversion", "refocusing", "excitation", "increment"), ANGLE),
    **dict.fromkeys(("df",), FREQUENCY),
    **dict.fromkeys(("n", "pulses", "center", "start", "efficiency"), NUMBER),
}


@dataclass(frozen=True)
class _Form:
    """A function of `mrisim.physics.signals`."""

    name: str
    arguments: tuple[str, ...]
    gives: Dimension

    def __call__(self, c: Call) -> Value:
        return Quantity.of_points(_computed("signals", self.name, _given(c)), self.gives)


def _form(name: str, arguments: str, doc: str, optional: str = "", gives: Dimension = NUMBER) -> tuple[str, Function]:
    names = (*arguments.split(), *optional.split())
    return name, Function(names, _Form(name, names, gives), doc, tuple(optional.split()))


def _given(c: Call) -> dict[str, np.ndarray]:
    """Arguments in SI by name."""
    return {
        name: c.require(index, _DIMENSIONS[name], lists=False).si().astype(float)
        for index, name in enumerate(c.arguments)
    }


def _computed(module: str, name: str, given: Mapping[str, object]) -> np.ndarray:
    """Value of a function of the physics in float64."""
    import jax

    function: Callable[..., object] = getattr(importlib.import_module(f"mrisim.physics.{module}"), name)
    with jax.enable_x64(True):
        return np.asarray(function(**given))


def _counted(c: Call, first: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Arguments, and the whole numbers of the first one, from `first`."""
    given = _given(c)
    n = as_whole(c.values[0], c.texts[0])
    if n.min() < first or n.max() > MAX_TRAIN:
        worst = n.min() if n.min() < first else n.max()
        raise SpecError(f"must lie between {first} and {MAX_TRAIN}, but '{c.texts[0]}' is {worst}")
    del given[c.arguments[0]]
    return given, n


def _cpmg(c: Call) -> Value:
    given, n = _counted(c, 1)
    train = _computed("trains", "cpmg", {**given, "echoes": int(n.max())})
    return Quantity.of_points(_picked(train, n - 1))


def _rf_spoiled(c: Call) -> Value:
    given, n = _counted(c, 0)
    pulses = -(-int(n.max() + 1) // 64) * 64  # few programs
    orders = float((given["t2"].max() / given["tr"].min()) * -np.log(_LOST))
    states = next((size for size in _STATES if size >= min(orders, pulses)), _STATES[-1])
    train = _computed("trains", "rf_spoiled_train", {**given, "pulses": pulses, "states": states})
    return Quantity.of_points(_picked(train, n))


def _mp2rage(c: Call) -> Value:
    given, n = _counted(c, 0)
    if n.max() > 1:
        raise SpecError(f"must be 0 or 1 for the first or the second train, but '{c.texts[0]}' is {n.max()}")
    trains = {
        name: np.stack(np.broadcast_arrays(given.pop(f"{name}_1"), given.pop(f"{name}_2"))) for name in ("ti", "flip")
    }
    return Quantity.of_points(_picked(_computed("signals", "mp2rage", {**given, **trains}), n))


def _picked(train: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Item n of a train for each point."""
    shape = np.broadcast_shapes(train.shape[1:], n.shape)
    return np.take_along_axis(np.broadcast_to(train, (len(train), *shape)), np.broadcast_to(n, shape)[None], axis=0)[0]


def _part(operation: Callable[[np.ndarray], np.ndarray], gives: Dimension | None = None) -> Callable[[Call], Value]:
    def call(c: Call) -> Value:
        value = c.values[0]
        return Quantity(operation(value.values), gives or value.dimension, value.is_list)

    return call


def _angle(values: np.ndarray) -> np.ndarray:
    return np.degrees(np.angle(values))


COMPLEX: Mapping[str, Function] = {
    "real": Function(("x",), _part(np.real), "real part", takes_complex=True),
    "imag": Function(("x",), _part(np.imag), "imaginary part", takes_complex=True),
    "conj": Function(("x",), _part(np.conj), "complex conjugate", takes_complex=True),
    "angle": Function(("x",), _part(_angle, ANGLE), "angle of a complex number", takes_complex=True),
}

CLOSED_FORMS: Mapping[str, Function] = dict([
    _form("monoexponential", "time constant", "exp(-time / constant)"),
    _form("saturation_recovery", "recovery t1", "longitudinal magnetisation after perfect saturation"),
    _form("inversion_recovery", "ti tr t1", "gradient echo after inversion, steady state", "inversion flip"),
    _form("inversion_recovery_spin_echo", "ti te tr t1", "spin echo after inversion, steady state, without decay"),
    _form("null_inversion_time", "tr t1", "TI of no signal", gives=TIME),
    _form("spin_echo_saturation", "tr te t1", "longitudinal magnetisation before a spin echo, steady state"),
    _form("spin_echo", "te tr t1 t2", "spin echo of finite TR"),
    _form("ernst_angle", "tr t1", "flip angle of the largest spoiled gradient echo", gives=ANGLE),
    _form("spoiled_gradient_echo", "flip tr t1", "steady state with ideal spoiling (Ernst)", "te t2_star"),
    _form("spoiled_gradient_echo_approach", "n flip tr t1", "signal after pulse n, from 0, ideal spoiling", "start"),
    _form("look_locker_time_constant", "flip tr t1", "apparent T1 under a train of pulses", gives=TIME),
    _form("look_locker", "time flip tr t1", "longitudinal magnetisation during a train", "start"),
    _form("bssfp", "flip tr t1 t2", "balanced SSFP, alternating pulses: complex", "df time"),
    _form("ssfp_fid", "flip tr t1 t2", "unbalanced SSFP right after the pulse (FISP)"),
    _form("ssfp_echo", "flip tr t1 t2", "unbalanced SSFP right before the pulse (PSIF)"),
    _form("mprage", "ti tr flip echo_spacing pulses center t1", "MPRAGE at the central pulse", "inversion"),
    ("mp2rage", Function(
        ("n", "ti_1", "ti_2", "tr", "flip_1", "flip_2", "echo_spacing", "pulses", "center", "t1", "efficiency"),
        _mp2rage, "MP2RAGE at the central pulse of train n, 0 or 1", ("efficiency",))),
    ("cpmg", Function(("n", "spacing", "refocusing", "t1", "t2", "excitation"), _cpmg,
                      "echo n, from 1, of a CPMG train from equilibrium, by a phase graph", ("excitation",))),
    ("rf_spoiled", Function(("n", "flip", "tr", "t1", "t2", "increment", "start"), _rf_spoiled,
                            "M⁺ after pulse n, from 0, of an RF-spoiled train, by a phase graph: complex", ("start",))),
])  # fmt: skip

EXPECT_FUNCTIONS: Mapping[str, Function] = {**FUNCTIONS, **COMPLEX, **CLOSED_FORMS}
"""All functions of `signal` and `equals`."""
