"""Free diffusion of configuration states: exp(-b : D) with the b-matrix of each state's own path in k.

A transverse state that starts a path at κ has k(t) = κ + u(t), so b = 4π² (κ κᵀ τ + κ ∫uᵀ dt + ∫u dt κᵀ + ∫u uᵀ dt);
a longitudinal one keeps its κ. Within a finite pulse, states are transverse or longitudinal up to its center as before
it, and from there on as after it, as in the b-matrix of a sequence.

Source: Weigel, Schwenk, Kiselev, Scheffler, Hennig, J Magn Reson 205:276 (2010).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mrisim._types import Bool, Float
from mrisim.program import PathTable, Program, Waveform

_TURN = 4 * np.pi**2
_ROWS, _COLUMNS = [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]  # of the components xx, yy, zz, xy, xz, yz
_TWICE = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])  # off-diagonal components stand for two


@dataclass(frozen=True, kw_only=True, eq=False)
class Paths:
    """Ways through k, one per row, each from zero: duration, end, ∫u dt and ∫u uᵀ dt."""

    duration: Float[np.ndarray, " n"]
    moment: Float[np.ndarray, "n 3"]
    first: Float[np.ndarray, "n 3"]
    second: Float[np.ndarray, "n 3 3"]

    def then(self, other: Paths) -> Paths:
        """One after the other."""
        late = other.duration[:, None]
        cross = self.moment[:, :, None] * other.first[:, None, :]
        held = self.moment[:, :, None] * self.moment[:, None, :] * late[..., None]
        return Paths(
            duration=self.duration + other.duration,
            moment=self.moment + other.moment,
            first=self.first + self.moment * late + other.first,
            second=self.second + held + cross + np.swapaxes(cross, 1, 2) + other.second,
        )

    def chosen(self, rows: Bool[np.ndarray, " n"], other: Paths) -> Paths:
        """Those of another at some rows."""
        return Paths(**{
            name: np.where(rows.reshape(-1, *[1] * (values.ndim - 1)), getattr(other, name), values)
            for name, values in vars(self).items()
        })  # fmt: skip

    def take(self, rows: np.ndarray) -> Paths:
        return Paths(
            duration=self.duration[rows], moment=self.moment[rows], first=self.first[rows], second=self.second[rows]
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Weights:
    """What the walk of a program needs to weigh its states."""

    whole: Paths  # of each step: from its pulse's center to the center of the next step's pulse
    seen: Paths  # of each step: from its pulse's center to the middle sample of its train
    isotropic: bool

    def transverse(
        self, paths: Paths, step: int, labels: Float[np.ndarray, "n 4"]
    ) -> Float[np.ndarray, "n components"]:
        """b of states with these labels at the start of a step's path [s/m²]."""
        k = labels[:, :3]
        cross = k[:, :, None] * paths.first[step]
        return self._columns(
            k[:, :, None] * k[:, None, :] * paths.duration[step] + cross + np.swapaxes(cross, 1, 2) + paths.second[step]
        )

    def longitudinal(self, step: int, labels: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n components"]:
        k = labels[:, :3]
        return self._columns(k[:, :, None] * k[:, None, :] * self.whole.duration[step])

    def _columns(self, b: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, "n components"]:
        """The trace, or all components as they meet those of a tensor."""
        if self.isotropic:
            return _TURN * np.trace(b, axis1=1, axis2=2)[:, None]
        return _TURN * b[:, _ROWS, _COLUMNS] * _TWICE


def weights_of(program: Program, table: PathTable, isotropic: bool) -> Weights:
    """Paths between the centers of pulses."""
    steps = program.steps
    into, out = _pulse_paths(program)
    pulse = np.asarray(steps.pulse)  # -1 for none, which is the last row: a path of no length
    free = Paths(duration=steps.duration, moment=steps.moment, first=table.first, second=table.second)
    seen = Paths(
        duration=table.seen_duration, moment=table.seen_moment, first=table.seen_first, second=table.seen_second
    )
    before, after = out.take(pulse), into.take(np.append(pulse[1:], -1))
    return Weights(whole=before.then(free).then(after), seen=before.then(seen), isotropic=isotropic)


def _pulse_paths(program: Program) -> tuple[Paths, Paths]:
    """From the start of each pulse to its center, and from there to its end; and a row of zeros."""
    pulses = program.pulses
    halves = [
        part for row, index in enumerate(pulses.waveform)
        for part in _halves(program.waveforms[index], float(pulses.center[row]))
    ]  # fmt: skip
    nothing = _along(np.zeros(0), np.zeros((0, 3)))
    return _stacked([*halves[::2], nothing]), _stacked([*halves[1::2], nothing])


def _halves(waveform: Waveform, center: float) -> tuple[Paths, Paths]:
    dt, moment = np.asarray(waveform.dt), np.asarray(waveform.moment)
    stop = np.cumsum(dt)
    share = np.clip((center - (stop - dt)) / np.where(dt > 0, dt, 1.0), 0.0, 1.0)
    return _along(dt * share, moment * share[:, None]), _along(dt * (1 - share), moment * (1 - share)[:, None])


def _along(dt: Float[np.ndarray, " n"], step: Float[np.ndarray, "n 3"]) -> Paths:
    """A path through intervals of constant gradient."""
    start = np.cumsum(step, axis=0) - step
    cross = start[:, :, None] * step[:, None, :]
    squares = start[:, :, None] * start[:, None, :] + 0.5 * (cross + np.swapaxes(cross, 1, 2))
    squares = squares + step[:, :, None] * step[:, None, :] / 3
    return Paths(
        duration=dt.sum(keepdims=True),
        moment=step.sum(axis=0)[None],
        first=(dt[:, None] * (start + 0.5 * step)).sum(axis=0)[None],
        second=(dt[:, None, None] * squares).sum(axis=0)[None],
    )


def _stacked(parts: list[Paths]) -> Paths:
    return Paths(**{
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("duration", "moment", "first", "second")
    })  # fmt: skip
