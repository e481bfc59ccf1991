"""The fit `epg`: T2, B1 and proton density of echo trains, with what the sequence says of its pulses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mrisim._types import Float, Int
from mrisim.data import Image
from mrisim.errors import ConsistencyError, Problem
from mrisim.events.blocks import Sequence, Use
from mrisim.events.moments import pulse_instances
from mrisim.mapping.echo_trains import fit_epg
from mrisim.mapping.method import Given, Method, Output, true_or_false
from mrisim.mapping.separable import FitResult
from mrisim.mapping.slice_profile import slice_profile

_EVEN = 1e-3  # of the echo spacing, by which pulses may be off their places
_WHOLE = 0.05  # echo spacings between the TE of an image and an echo


@dataclass(frozen=True, kw_only=True, eq=False)
class EchoTrain:
    """The last echo train of a sequence."""

    spacing: float  # [s]
    excitation: float  # nominal flip [rad]
    refocusing: Float[np.ndarray, " echoes"]  # nominal flips [rad]

    def numbers(self, te: Float[np.ndarray, " contrast"]) -> Int[np.ndarray, " contrast"]:
        """Which echoes images are, from 1.

        Raises:
            ConsistencyError: an echo time between echoes, or beyond the train.
        """
        exact = np.asarray(te, dtype=float) / self.spacing
        number = np.rint(exact).astype(int)
        wrong = (np.abs(exact - number) > _WHOLE) | (number < 1) | (number > len(self.refocusing))
        if wrong.any():
            rule = (
                f"must be one of {len(self.refocusing)} echoes {self.spacing * 1e3:g} ms apart, "
                f"but is {np.asarray(te)[wrong][0] * 1e3:g} ms"
            )
            raise ConsistencyError(Problem(rule, "Take the images of one echo train", "te"))
        return number


def echo_train(seq: Sequence) -> EchoTrain:
    """The last echo train of a sequence.

    Raises:
        ConsistencyError: no train, or pulses that are not half an echo spacing from the echoes.

    Example:
        >>> import mrisim as mr
        >>> train = echo_train(mr.load_sequence("multi_echo_se", matrix=2, echoes=3))
        >>> round(train.spacing, 6), np.degrees(train.refocusing).round().tolist()
        (0.01, [180.0, 180.0, 180.0])
    """
    pulses = pulse_instances(seq)
    use, flip = seq.rf.use[pulses.event], seq.rf.flip[pulses.event]
    refocusing = np.flatnonzero(use == Use.REFOCUSING)
    before = np.flatnonzero(use[: refocusing[-1]] == Use.EXCITATION) if len(refocusing) else refocusing
    if len(before) == 0:
        rule = "must have pulses of use excitation and refocusing, but has not"
        raise ConsistencyError(Problem(rule, "Take an echo train such as multi_echo_se", path=seq.name))
    excitation = before[-1]
    train = refocusing[refocusing > excitation]
    times = pulses.center[train] - pulses.center[excitation]
    spacing = 2 * float(times[0])
    if np.abs(times / spacing - np.arange(len(train)) - 0.5).max() > _EVEN:
        rule = "must have refocusing pulses at odd multiples of half an echo spacing, but has not"
        raise ConsistencyError(Problem(rule, "Fit a train of equal spacings", path=seq.name))
    return EchoTrain(spacing=spacing, excitation=float(flip[excitation]), refocusing=flip[train])


def _fit(given: Given) -> FitResult:
    seq = given.image.sequence
    train = echo_train(seq)
    b1 = "free" if given.spec.get("fit_b1", False) else given.maps.get("b1", 1.0)
    return fit_epg(
        given.signal,
        train.spacing,
        train.refocusing,
        excitation=train.excitation,
        t1=given.maps.get("t1", 1.0),
        b1=b1,
        slice_profile=slice_profile(seq) if given.spec.get("slice_profile", True) else None,
        echoes=train.numbers(given.coordinate("te")),
    )


def _check(path: str, spec: Mapping[str, Any], image: Image) -> list[Problem]:
    problems = []
    if image.sequence is None:
        rule = "must have images that know their sequence, but these were read from a file"
        problems.append(
            Problem(rule, "Fit in the run that makes them, or call mapping.echo_trains.fit_epg", f"{path}.fit")
        )
    if spec.get("fit_b1", False) is True and "b1" in spec:
        problems.append(Problem("must be left out where fit_b1 is true, but is given", path=f"{path}.b1"))
    if path.endswith("B1") and spec.get("fit_b1", False) is not True:
        problems.append(Problem("must be true for a map of B1, but is not", "Add fit_b1: true", f"{path}.fit_b1"))
    return problems


METHODS = {
    "epg": Method(
        run=_fit,
        outputs={
            "T2": Output(key="t2", unit="s"),
            "B1": Output(key="b1", unit="1"),
            "PD": Output(key="m0", unit="1"),
        },
        setting="te",
        constant=("ti", "ts", "tr", "flip"),
        options={"fit_b1": true_or_false, "slice_profile": true_or_false},
        inputs={"t1": "T1", "b1": "B1"},
        check=_check,
    )
}
