"""Transmit field from the phase that a pulse far off resonance leaves behind (Bloch–Siegert shift)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mrisim._types import Float
from mrisim.data import Image
from mrisim.errors import ConsistencyError, Problem
from mrisim.events.blocks import Sequence, Use
from mrisim.events.moments import pulse_instances
from mrisim.mapping.method import Given, Method, Output
from mrisim.mapping.separable import FitResult

MOST = 4.0  # largest b1 that is looked for
_SAME = 1e-6  # relative: pulses that differ by less are the same but for the sign of their frequency
_STEPS = 40  # of the bisection: b1 squared to 16 / 2^40


@dataclass(frozen=True, kw_only=True, eq=False)
class ShiftPulse:
    """A pulse off resonance, played once above and once below it."""

    amplitude: Float[np.ndarray, " n"]  # magnitude over time, nominal [Hz]
    dt: Float[np.ndarray, " n"]  # [s]
    frequency: float  # offset of the pulse in the first image, of the second its negative [Hz]

    @property
    def constant(self) -> float:
        """Phase per squared nominal field of weak fields, K_BS at the nominal peak [rad].

        Example:
            >>> hard = ShiftPulse(amplitude=np.array([425.77]), dt=np.array([8e-3]), frequency=4e3)
            >>> round(hard.constant, 3)  # 113.9 rad/G² at 10 uT
            1.139
        """
        return float(np.pi * np.sum(self.amplitude**2 * self.dt) / abs(self.frequency))

    def phase(self, b1: ArrayLike, df: ArrayLike = 0.0) -> Float[np.ndarray, "*shape"]:
        """Half of the phase between the two images at a transmit field relative to nominal [rad].

        A spin follows the effective field of a pulse with soft edges, so it gains the turns of sqrt(f² + b²) - f over
        the pulse, f being the distance to its frequency; for weak fields that is b² / (2 f).

        Args:
            b1: Transmit field [1].
            df: Off-resonance of the spins [Hz].

        Source:
            Sacolick, Wiesinger, Hancu, Vogel, Magn Reson Med 63:1315 (2010), equation 2 before it is expanded.
        """
        b1, df = np.broadcast_arrays(np.asarray(b1, dtype=float), np.asarray(df, dtype=float))
        total = np.zeros(b1.shape)
        for side in (1.0, -1.0):
            away = np.abs(side * abs(self.frequency) - df)
            for b, dt in zip(self.amplitude, self.dt, strict=True):
                total += dt * ((b * b1) ** 2 / (np.hypot(away, b * b1) + away))
        return np.pi * total


def fit_bloch_siegert(signal: ArrayLike, pulse: ShiftPulse, df: ArrayLike = 0.0) -> FitResult:
    """Transmit field from the phase between two images, with the pulse above and below resonance.

    Args:
        signal: (..., 2), complex.
        pulse: What was played.
        df: Off-resonance where it is known [Hz]; without it the error is of the order of (df / frequency)².

    Returns:
        Map `b1`, relative to nominal; nan where an image is zero or the phase has the wrong sign.

    Raises:
        ConsistencyError: another number of images, or magnitudes.

    Source:
        Sacolick, Wiesinger, Hancu, Vogel, Magn Reson Med 63:1315 (2010).

    Example:
        >>> pulse = ShiftPulse(amplitude=np.array([400.0]), dt=np.array([8e-3]), frequency=4e3)
        >>> turn = np.exp(1j * pulse.phase(0.9))
        >>> round(float(fit_bloch_siegert([turn, 1 / turn], pulse)["b1"]), 6)
        0.9
    """
    signal = np.asarray(signal)
    if signal.ndim == 0 or signal.shape[-1] != 2:
        raise ConsistencyError(Problem(f"must be two images, but has shape {signal.shape}", path="signal"))
    if not np.iscomplexobj(signal):
        raise ConsistencyError(Problem("must be complex, but holds magnitudes", path="signal"))
    turned = signal[..., 0] * signal[..., 1].conj()
    half = 0.5 * np.angle(turned) * np.sign(pulse.frequency)
    good = (np.abs(turned) > 0) & (half >= 0)
    b1 = _inverted(pulse, np.where(good, half, 0.0), np.asarray(df, dtype=float))
    good &= np.isfinite(b1)
    return FitResult(
        maps={"b1": np.where(good, b1, np.nan)},
        standard_error={},
        converged=good,
        residual=np.full(half.shape, np.nan),
        counts={"fitted": int(good.sum()), "empty": 0, "failed": int((~good).sum())},
    )


def _inverted(pulse: ShiftPulse, phase: Float[np.ndarray, "*shape"], df: np.ndarray) -> Float[np.ndarray, "*shape"]:
    """Field of each phase: by bisection, because the phase grows with the field."""
    low, high = np.zeros(phase.shape), np.full(phase.shape, MOST**2)
    few = _coarse(pulse)
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        above = few.phase(np.sqrt(middle), df) > phase
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.sqrt(0.5 * (low + high))


def _coarse(pulse: ShiftPulse) -> ShiftPulse:
    """The pulse as the times that it spends within each of 64 bins of squared amplitude, at their mean."""
    power = pulse.amplitude**2
    bins = np.minimum((64 * power / power.max()).astype(int), 63)
    time, energy = np.bincount(bins, pulse.dt, 64), np.bincount(bins, pulse.dt * power, 64)
    met = time > 0
    return ShiftPulse(amplitude=np.sqrt(energy[met] / time[met]), dt=time[met], frequency=pulse.frequency)


def shift_pulse(seq: Sequence) -> ShiftPulse:
    """The off-resonant preparation of a sequence.

    Raises:
        ConsistencyError: not one pulse of use preparation, played above and below resonance.

    Example:
        >>> import mrisim as mr
        >>> pulse = shift_pulse(mr.load_sequence("b1_bloch_siegert", peak="10 uT"))
        >>> round(pulse.constant * 100, 1)  # rad/G²
        74.0
    """
    pulses = pulse_instances(seq)
    rows = pulses.event[seq.rf.use[pulses.event] == Use.PREPARATION]
    kinds = np.unique(np.stack([seq.rf.shape[rows], seq.rf.frequency[rows], seq.rf.amplitude[rows]]), axis=1)
    alike = kinds.shape[1] == 2 and kinds[0, 0] == kinds[0, 1] and np.ptp(kinds[2]) <= _SAME * kinds[2].max()
    opposite = alike and kinds[1, 0] != 0 and abs(kinds[1].sum()) <= _SAME * abs(kinds[1, 0])
    if not opposite:
        rule = "must have one pulse of use preparation at two opposite frequencies, but has not"
        raise ConsistencyError(Problem(rule, "Take a sequence such as b1_bloch_siegert", path=seq.name))
    shape = seq.rf_shapes[int(seq.rf.shape[rows[0]])]
    return ShiftPulse(
        amplitude=np.abs(shape.samples) * float(seq.rf.amplitude[rows[0]]),
        dt=np.diff(shape.edges),
        frequency=float(seq.rf.frequency[rows[0]]),
    )


def _fit(given: Given) -> FitResult:
    order = np.argsort(given.coordinate("time"), kind="stable")  # the first image has the first pulse
    return fit_bloch_siegert(given.signal[:, order], shift_pulse(given.image.sequence), given.maps.get("b0", 0.0))


def _check(path: str, spec: Mapping[str, Any], image: Image) -> list[Problem]:
    problems = []
    if len(image.data) != 2:
        problems.append(Problem(f"must have a series of two images, but has {len(image.data)}", path=f"{path}.fit"))
    if image.sequence is None:
        rule = "must have images that know their sequence, but these were read from a file"
        remedy = "Fit in the run that makes them, or call mapping.bloch_siegert.fit_bloch_siegert"
        problems.append(Problem(rule, remedy, f"{path}.fit"))
    if image.provenance.get("pulses") == "ideal":
        rule = "must have images of shaped pulses, but these are of ideal ones, which know no off-resonance"
        problems.append(Problem(rule, "Simulate with pulses: shaped", f"{path}.fit"))
    return problems


METHODS = {
    "bloch_siegert": Method(
        run=_fit,
        outputs={"B1": Output(key="b1", unit="1")},
        setting="time",
        constant=("te", "flip"),
        inputs={"b0": "B0"},
        check=_check,
    )
}
