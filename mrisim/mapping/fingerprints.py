"""Fingerprinting: the train that a sequence plays, and the dictionary of its signals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.interpolate import make_interp_spline

from mrisim._types import Complex, Float
from mrisim.data import Image
from mrisim.errors import ConsistencyError, Problem
from mrisim.events.blocks import Sequence, Use
from mrisim.events.moments import gradient_tracks, pulse_instances, readout_instances, total_moment
from mrisim.mapping.dictionary import Dictionary, grid_axis
from mrisim.mapping.method import Given, Method, Output, true_or_false
from mrisim.mapping.separable import FitResult
from mrisim.mapping.slice_profile import SlicePulse, slice_places
from mrisim.physics.fingerprints import bssfp_dictionary, fisp_dictionary
from mrisim.program import Program, lower

T1_RANGE, T2_RANGE = (0.05, 6.0), (0.005, 3.0)  # of the grid [s]
RATIO = 1.12  # between its points; splines between them are then exact to about 1e-4
PLACES = 24  # through the slice
EXTENT = 2.0  # thicknesses that they cover
STATES = 100
LOST = 0.01  # of the norm of the dictionary, by compression
_EVEN = 1e-3  # cycles per slice by which the dephasing of repetitions may differ
_BALANCED = 1e-3  # cycles per slice
_SPOILED = 1.0
_NODES = 33  # flip angles at which a pulse is followed through the slice; splines in between


@dataclass(frozen=True, kw_only=True, eq=False)
class Train:
    """The pulses and samples of one slice, from equilibrium or from an inversion."""

    flip: Float[np.ndarray, " pulses"]  # nominal [rad]
    phase: Float[np.ndarray, " pulses"]  # [rad]
    receiver: Float[np.ndarray, " pulses"]  # phase of the receiver at each sample [rad]
    tr: Float[np.ndarray, " pulses"]  # to the next pulse [s]
    te: Float[np.ndarray, " pulses"]  # to the center of k-space [s]
    balanced: bool  # no moment per TR; else one unit of dephasing
    ti: float | None  # center of the inversion to the first pulse [s]
    program: Program
    rows: np.ndarray  # of the pulse table
    inversion: int  # row of the pulse table, -1 without
    step: int  # of the first pulse


def read_train(seq: Sequence) -> Train:
    """The train of a fingerprinting sequence; of its first slice, where it has several.

    Raises:
        ConsistencyError: no such train: not one sample train per pulse, or repetitions that dephase differently.

    Example:
        >>> import mrisim as mr
        >>> train = read_train(mr.load_sequence("mrf_fisp", repetitions=8))
        >>> len(train.flip), train.balanced, round(train.ti, 6)
        (8, False, 0.02)
    """
    pulses, readouts = pulse_instances(seq), readout_instances(seq)
    use = seq.rf.use[pulses.event]
    slices = np.asarray(seq.blocks.labels.get("SLC", np.zeros(len(seq.blocks))))
    mine = slices[pulses.block] == slices[readouts.block[0]] if len(readouts.block) else np.zeros(len(use), dtype=bool)
    excitation = np.flatnonzero((use == Use.EXCITATION) & mine)
    sampled = np.flatnonzero(slices[readouts.block] == slices[readouts.block[0]]) if len(readouts.block) else excitation
    owner = np.searchsorted(pulses.center[excitation], readouts.start[sampled], side="right") - 1
    if len(excitation) < 2 or not np.array_equal(owner, np.arange(len(excitation))):
        rule = "must have one readout after each of at least two pulses of use excitation, but has not"
        raise ConsistencyError(Problem(rule, "Take a train such as mrf_fisp", path=seq.name))
    center = pulses.center[excitation]
    moment = total_moment(gradient_tracks(seq), np.append(center, 2 * center[-1] - center[-2]))
    event = pulses.event[excitation]
    inverted = np.flatnonzero((use == Use.INVERSION) & mine & (pulses.center < center[0]))
    program = lower(seq)
    step = np.searchsorted(program.steps.time, pulses.start[excitation] + 1e-9) - 1
    before = int(np.searchsorted(program.steps.time, pulses.start[inverted[-1]] + 1e-9) - 1) if len(inverted) else -1
    balanced = _is_balanced(seq, np.diff(moment, axis=0)[:-1], event)
    flip, phase = seq.rf.flip[event], seq.rf.phase[event]
    if not balanced:
        flip, phase = flip * _signs(seq, phase), np.full(len(phase), phase[0])
    return Train(
        flip=flip,
        phase=phase,
        receiver=seq.adc.phase[readouts.event[sampled]],
        tr=np.diff(np.append(center, 2 * center[-1] - center[-2])),
        te=_echo_times(seq, sampled, center),
        balanced=balanced,
        ti=float(center[0] - pulses.center[inverted[-1]]) if len(inverted) else None,
        program=program,
        rows=program.steps.pulse[step],
        inversion=int(program.steps.pulse[before]) if len(inverted) else -1,
        step=int(step[0]),
    )


def _echo_times(seq: Sequence, sampled: np.ndarray, center: np.ndarray) -> Float[np.ndarray, " pulses"]:
    """From each pulse to the sample nearest to k = 0."""
    k, time = seq.kspace()
    count = readout_instances(seq).count
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    nearest = [first[r] + int(np.argmin(np.linalg.norm(k[first[r] : first[r] + count[r]], axis=1))) for r in sampled]
    return time[nearest] - center


def _signs(seq: Sequence, phase: Float[np.ndarray, " pulses"]) -> Float[np.ndarray, " pulses"]:
    """Minus one for pulses of opposite phase; refuses other phases."""
    cosine = np.cos(phase - phase[0])
    if np.abs(np.abs(cosine) - 1).max() > 1e-6:
        rule = "must have pulses of one phase and its opposite where repetitions dephase, but has others"
        raise ConsistencyError(Problem(rule, "Leave RF spoiling out", path=seq.name))
    return np.sign(cosine)


def _is_balanced(seq: Sequence, moment: Float[np.ndarray, "pulses 3"], event: np.ndarray) -> bool:
    """Whether repetitions leave no moment; refuses what is neither that nor equal and large."""
    thickness = seq.rf.thickness[event[0]]
    unit = thickness if np.isfinite(thickness) else 1e-3
    cycles = np.linalg.norm(moment, axis=1) * unit
    if cycles.max() < _BALANCED:
        return True
    if np.ptp(moment * unit, axis=0).max() > _EVEN or cycles.min() < _SPOILED:
        rule = (
            "must have repetitions that all dephase by the same whole cycles per slice, or by nothing, "
            f"but they dephase by {cycles.min():.3g} to {cycles.max():.3g}"
        )
        raise ConsistencyError(Problem(rule, "Rewind what varies, and spoil along the slice", path=seq.name))
    return False


def fingerprint_dictionary(
    seq: Sequence,
    *,
    t1: Float[np.ndarray, " points"] | None = None,
    t2: Float[np.ndarray, " points"] | None = None,
    slice_profile: bool = True,
) -> Dictionary:
    """Signals of a fingerprinting sequence over T1 and T2, from its own pulses, times and phases.

    Pulses act in an instant at their centers. With the slice profile they rotate at each place by what the shaped pulse
    does there, with relaxation meanwhile to first order. The inversion is that of the middle of the slice.

    Args:
        seq: Such as mrf_fisp or mrf_bssfp.
        t1, t2: Grids [s], equidistant in their logarithm; 50 ms to 6 s and 5 ms to 3 s where not given.
        slice_profile: Sum over the places through the slice; else all spins see the nominal flip.

    Returns:
        Dictionary (t1, t2, pulses) of the mean of M⁺ over a slice of nominal thickness, per M0, as it is received.

    Raises:
        ConsistencyError: a sequence that is no such train.
    """
    train = read_train(seq)
    t1 = grid_axis("t1", *T1_RANGE, RATIO) if t1 is None else t1
    t2 = grid_axis("t2", *T2_RANGE, RATIO) if t2 is None else t2
    atoms = (np.repeat(t1, len(t2)), np.tile(t2, len(t1)))
    places = slice_places(seq, train.program, train.step, PLACES if slice_profile else 1, EXTENT)
    weight = EXTENT / len(places) if len(places) > 1 else 1.0
    left = _inverted(train, atoms[0], atoms[1], places[len(places) // 2])
    turns = _turns(train, places) if slice_profile else _Turns.nominal(train)
    signal = sum(_signals(train, turns.at(place), atoms, left) for place in range(turns.flip.shape[1]))
    received = weight * signal * np.exp(-1j * train.receiver)
    return Dictionary(
        axes={"t1": t1, "t2": t2}, signals=received.reshape(len(t1), len(t2), -1), logarithmic=("t1", "t2")
    )


@lru_cache(maxsize=4)
def compressed_dictionary(seq: Sequence, slice_profile: bool = True) -> tuple[Dictionary, np.ndarray]:
    """The dictionary of a sequence on its leading singular vectors; and these, (pulses, rank). Kept for the next."""
    return fingerprint_dictionary(seq, slice_profile=slice_profile).compressed(LOST)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Turns:
    """What each pulse does at each place: a turn about z, a rotation about x, the same turn about z."""

    flip: Float[np.ndarray, "pulses places"]  # [rad]
    before: Float[np.ndarray, "pulses places"]  # turn about z [rad]
    after: Float[np.ndarray, "pulses places"]
    mixing: Float[np.ndarray, "pulses places"]  # of relaxation meanwhile [s]

    @staticmethod
    def nominal(train: Train) -> _Turns:
        phase = train.phase[:, None]
        return _Turns(flip=train.flip[:, None], before=-phase, after=phase, mixing=0 * phase)

    def at(self, place: int) -> _Turns:
        return _Turns(**{name: values[:, place] for name, values in vars(self).items()})


def _turns(train: Train, places: Float[np.ndarray, "places 3"]) -> _Turns:
    """Rotations of all pulses by splines over the flip angle, from the largest pulse played at other amplitudes."""
    pulses = train.program.pulses
    shapes = {(pulses.waveform[row], pulses.frequency[row]) for row in train.rows}
    if len(shapes) > 1:
        rule = "must play one pulse at different amplitudes, but plays different ones"
        raise ConsistencyError(Problem(rule, "Leave the shape as it is, or set slice_profile: false", "slice_profile"))
    largest = int(train.rows[np.argmax(np.abs(train.flip))])
    top = float(np.abs(train.flip).max())
    pulse = SlicePulse(flip=top, phase=0.0, program=train.program, row=largest)
    still = np.full(1, np.inf)
    share = np.linspace(0.0, 1.0, _NODES)
    maps = pulse.maps(places, share, still, still)
    flip = np.arctan2(np.abs(maps.c[0]), maps.e[0].real)
    twist = np.unwrap(np.angle(maps.a[0]), axis=0)  # a = cos²(flip/2) exp(i (before + after))
    lead = np.angle(maps.c[0] * np.exp(-0.5j * twist) / 1j)  # c = i sin(flip) exp(i after)
    lead = np.where(np.abs(maps.c[0]) > 1e-9, lead, 0.0)
    lead[0] = lead[1]
    lead = np.unwrap(lead, axis=0)
    wanted = np.abs(train.flip) / top
    flip, twist, lead = (make_interp_spline(share, v, 3, axis=0)(wanted) for v in (flip, twist, lead))
    mixing = _mixing(train, largest, flip)
    phase = train.phase[:, None]
    return _Turns(
        flip=flip * np.sign(train.flip)[:, None],
        before=0.5 * twist - lead - phase,
        after=0.5 * twist + lead + phase,
        mixing=mixing,
    )


def _mixing(train: Train, row: int, flip: Float[np.ndarray, "pulses places"]) -> Float[np.ndarray, "pulses places"]:
    """∫ (sin²(flip/2) - sin²φ) dt of pulses of one shape, φ as in the middle of the slice [s]."""
    played = train.program.waveforms[train.program.pulses.waveform[row]]
    area, dt = (np.asarray(values) for values in (played.area, played.dt))
    area = (area / area.sum()).real
    turned = np.cumsum(area) - 0.5 * area - 0.5
    inner = sum((t * np.sin(flip * u) ** 2 for t, u in zip(dt, turned, strict=True)), np.zeros_like(flip))
    return dt.sum() * np.sin(flip / 2) ** 2 - inner


def _inverted(train: Train, t1: np.ndarray, t2: np.ndarray, place: Float[np.ndarray, " 3"]) -> np.ndarray:
    """Longitudinal magnetisation of each atom at the center of the inversion, as if it were instantaneous.

    What the pulse leaves at its end is taken back to its center along the recovery that follows.
    """
    if train.inversion < 0:
        return np.ones_like(t1)
    pulse = SlicePulse(flip=np.pi, phase=0.0, program=train.program, row=train.inversion)
    maps = pulse.maps(place[None], np.ones(1), t1, t2)
    end = np.real(maps.e + maps.recovery)[:, 0, 0]
    return np.asarray(1 + (end - 1) * np.exp(pulse.sides[1] / t1))


def _signals(
    train: Train, turns: _Turns, atoms: tuple[np.ndarray, np.ndarray], left: np.ndarray
) -> Complex[np.ndarray, "atoms pulses"]:
    """Signals at one place. With dephasing, an equal turn about z in each repetition only moves its unit."""
    t1, t2 = atoms
    if train.balanced:
        return bssfp_dictionary(
            t1,
            t2,
            turns.flip,
            turns.before,
            turns.after,
            train.tr,
            train.te,
            train.ti,
            inversion=left,
            mixing=turns.mixing,
        )
    made = fisp_dictionary(
        t1, t2, turns.flip, train.tr, train.te, train.ti, inversion=left, mixing=turns.mixing, n_states=STATES
    )
    return 1j * made * np.exp(1j * turns.after)


def _fit(given: Given) -> FitResult:
    """Match coefficients as they are, and a series of one image per pulse by its coefficients."""
    dictionary, basis = compressed_dictionary(given.image.sequence, given.spec.get("slice_profile", True))
    signal = given.signal if _is_compressed(given.image) else given.signal @ basis.conj()
    found = dictionary.match(signal)
    return replace(found, converged=found.converged & (found["t2"] <= 2 * found["t1"]))


def _is_compressed(image: Image) -> bool:
    return image.provenance.get("recon", {}).get("method") == "lowrank"


def _check(path: str, spec: Mapping[str, Any], image: Image) -> list[Problem]:
    if image.sequence is None:
        rule = "must have images that know their sequence, but these were read from a file"
        return [Problem(rule, "Fit in the run that makes them, or match with fingerprint_dictionary", f"{path}.fit")]
    pulses = len(read_train(image.sequence).flip)
    if _is_compressed(image):
        if not spec.get("slice_profile", True):
            rule = "must be left out where the images were reconstructed with the slice profile, but is false"
            return [Problem(rule, "Reconstruct by gridding or cartesian", f"{path}.slice_profile")]
    elif len(image.data) != pulses:
        rule = f"must have one image for each of the {pulses} pulses, but has {len(image.data)}"
        return [Problem(rule, "Label each pulse of the train with REP", f"{path}.fit")]
    return []


METHODS = {
    "fingerprinting": Method(
        run=_fit,
        outputs={
            "T1": Output(key="t1", unit="s"),
            "T2": Output(key="t2", unit="s"),
            "PD": Output(key="m0", unit="1"),
        },
        setting="",
        options={"slice_profile": true_or_false},
        check=_check,
    )
}
