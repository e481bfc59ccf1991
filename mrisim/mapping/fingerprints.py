"""Fingerprinting: the dictionary of the signals of a train, and maps by matching."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from mrisim._types import Complex, Float
from mrisim.data import Image
from mrisim.errors import ConsistencyError, Problem, ResourceError
from mrisim.events.blocks import Sequence, Use
from mrisim.mapping.dictionary import Dictionary, check_axis, grid_axis
from mrisim.mapping.fingerprint_train import Losses, Train, diffusion_losses, read_train
from mrisim.mapping.method import Given, Method, Output, quantity, true_or_false
from mrisim.mapping.separable import FitResult
from mrisim.mapping.slice_profile import SlicePulse, slice_places
from mrisim.physics.chebyshev import chebyshev_points, chebyshev_weights, interpolated
from mrisim.physics.fingerprints import RelaxingPulses, orders_kept, pulsed_dictionary
from mrisim.physics.phase_graph import StateMap
from mrisim.simulate._memory import free_memory
from mrisim.units import DIFFUSION, TIME, parse, show

T1_RANGE, T2_RANGE = (0.015, 6.0), (0.005, 5.0)  # of the grid [s]
_TOLERANCE = 3e-5  # of signals between those that are followed
_NODES = (12, 8)  # at first, along T1 and T2
RATIO = 1.12  # between its points; splines between them are then exact to about 1e-4
EXTENT = 2.85  # thicknesses that places through the slice cover: what counts in the slab of a run
PLACES = {8.0: 84, 24.0: 124, 60.0: 186, np.inf: 332}  # of signals that remember at most so many pulses
LOST = 0.01  # of the norm of the dictionary, by compression
_R1, _R2 = 1.0, 1 / 0.07  # rates at which relaxation within a pulse is followed; it is linear in between [1/s]
_MIRRORED = 1e-9
_BYTES = 5 * 16  # of a tissue at a pulse: the sum over places, one of them and its turns, the signal as received
_STATES = 3.0  # orders of dephasing kept, for each pulse that is remembered
_FEWEST_STATES = 8
_INVERSION_NODES = (4, 8)  # rates 1/T1 and 1/T2 - 1/(2 T1) at which the inversion is followed
_FLIPS = 12  # angles at which a pulse is followed through the slice; exact to rounding up to 90°


def _seen(
    train: Train, places: Float[np.ndarray, "places 3"], thickness: float
) -> Complex[np.ndarray, "places orders"]:
    """How orders of dephasing are seen at each place: those that the places tell from each other.

    What a slice of long memory holds at many cycles is not little: each pulse turns its edges by another angle.
    """
    if train.balanced or len(places) == 1:
        return np.ones((len(places), 1))
    cycles = float(np.linalg.norm(train.unit)) * thickness
    orders = int(len(places) / EXTENT / (2 * cycles))
    return np.exp(-2j * np.pi * np.outer(places @ train.unit, np.arange(orders + 1)))


def fingerprint_dictionary(
    seq: Sequence,
    *,
    t1: Float[np.ndarray, " points"] | None = None,
    t2: Float[np.ndarray, " points"] | None = None,
    slice_profile: bool = True,
    diffusion: float = 0.0,
) -> Dictionary:
    """Signals of a fingerprinting sequence over T1 and T2, from its own pulses, times and phases.

    Pulses act in an instant at their centers. With the slice profile they rotate at each place by what the shaped pulse
    does there, with relaxation meanwhile to first order. The inversion is that of the middle of the slice.

    Args:
        seq: Such as mrf_fisp or mrf_bssfp.
        t1, t2: Grids [s], equidistant in their logarithm; 15 ms to 6 s and 5 ms to 5 s where not given.
        slice_profile: Sum over the places through the slice; else all spins see the nominal flip.
        diffusion: Of all spins, isotropic and free [m²/s]: weakens each order of dephasing by the gradients as played.

    Returns:
        Dictionary (t1, t2, pulses) of the mean of M⁺ over a slice of nominal thickness, per M0, as it is received.

    Raises:
        ConsistencyError: a sequence that is no such train, or grids that are none.
        ResourceError: more tissues than fit into memory.
    """
    train = read_train(seq)
    lost = diffusion_losses(seq, train, diffusion)
    t1 = grid_axis("t1", *T1_RANGE, RATIO) if t1 is None else check_axis("t1", t1)
    t2 = grid_axis("t2", *T2_RANGE, RATIO) if t2 is None else check_axis("t2", t2)
    _must_fit(len(t1) * len(t2), len(train.flip))
    atoms = np.stack([np.repeat(t1, len(t2)), np.tile(t2, len(t1))], axis=1)
    atoms, back = np.unique(np.minimum(atoms, [np.inf, 2] * atoms[:, :1]), axis=0, return_inverse=True)  # T2 ≤ 2 T1
    signals = np.zeros((len(atoms), len(train.flip)), complex)
    memory, shortest = atoms[:, 1] / train.tr.mean(), 0.0
    for longest, points in PLACES.items():
        rows = np.flatnonzero((memory >= shortest) & (memory < longest))
        if len(rows):
            states = _FEWEST_STATES + int(_STATES * memory[rows].max())
            follow = partial(_signals, train, lost, _Slice.of(seq, train, lost, points if slice_profile else 1, states))
            signals[rows] = interpolated(follow, np.log(atoms[rows]), _TOLERANCE, _NODES)
        shortest = longest
    received = signals[back.reshape(-1)] * np.exp(1j * (train.phase - train.receiver))
    return Dictionary(
        axes={"t1": t1, "t2": t2}, signals=received.reshape(len(t1), len(t2), -1), logarithmic=("t1", "t2")
    )


def _must_fit(atoms: int, pulses: int) -> None:
    need, free = _BYTES * atoms * pulses, free_memory()
    if need > free:
        rule = f"must fit into memory, but {atoms:,} tissues of {pulses:,} pulses take {need / 2**30:.3g} GiB"
        remedy = f"Take coarser grids; {free / 2**30:.3g} GiB are free"
        raise ResourceError(Problem(rule, remedy, path="dictionary"))


class _Slice(NamedTuple):
    """What all tissues of some memory share."""

    places: Float[np.ndarray, "places 3"]
    pulses: RelaxingPulses  # at each place
    seen: Complex[np.ndarray, "places orders"]  # how orders are seen from there, less what diffusion takes
    states: int  # orders kept

    @classmethod
    def of(cls, seq: Sequence, train: Train, lost: Losses | None, points: int, states: int) -> _Slice:
        """From so many places through the slice, and at most so many orders."""
        places = slice_places(seq, train.program, int(train.steps[0]), points, EXTENT)
        pulses = _followed(train, places) if points > 1 else _nominal(train)
        states = 1 if train.balanced else states
        states = states if lost is None else min(states, lost.states)
        seen = _seen(train, places, float(seq.rf.thickness[seq.rf.use == Use.EXCITATION][0]))
        seen = seen[:, : orders_kept(len(train.flip), states)]
        return cls(places, pulses, seen if lost is None else seen * lost.seen[: seen.shape[1]], states)


def _signals(
    train: Train, lost: Losses | None, part: _Slice, log_times: Float[np.ndarray, "atoms 2"]
) -> Complex[np.ndarray, "atoms pulses"]:
    """Signals at some log T1 and log T2 in the frame of each pulse."""
    atoms = np.exp(log_times[:, 0]), np.exp(log_times[:, 1])
    left = _inverted(train, atoms, part.places)
    used, twice = _distinct(part.pulses, train.phase)
    signal = np.zeros((len(atoms[0]), len(train.flip)), complex)
    for place in used:
        start = 1 + (left[:, place] - 1) * np.exp(-(train.ti or 0.0) / atoms[0])
        one = pulsed_dictionary(
            *atoms, _at(part.pulses, train, place), train.tr, train.te, start,
            n_states=part.states, seen=part.seen[place], attenuation=None if lost is None else lost.kept,
        )  # fmt: skip
        turned = one * np.exp(-1j * train.phase)
        signal += turned - turned.conj() if twice else turned
    count = len(part.places)
    return (EXTENT / count if count > 1 else 1.0) * signal


class Assumed(NamedTuple):
    """What a dictionary is made for."""

    t1: tuple[float, float] = T1_RANGE  # ends of its grid [s]
    t2: tuple[float, float] = T2_RANGE
    slice_profile: bool = True
    diffusion: float = 0.0  # [m²/s]
    rank: int | None = None  # by what may be lost where not given

    @staticmethod
    def by(spec: Mapping[str, Any]) -> Assumed:
        """By the options of a map."""
        return Assumed(
            t1=_ends(spec.get("t1", T1_RANGE)),
            t2=_ends(spec.get("t2", T2_RANGE)),
            slice_profile=spec.get("slice_profile", True),
            diffusion=float(parse(spec.get("diffusion", 0.0), DIFFUSION)),
            rank=int(spec["rank"]) if "rank" in spec else None,
        )

    @staticmethod
    def by_first(maps: Mapping[str, Mapping[str, Any]]) -> Assumed:
        """By the first fingerprinting map of a specification.

        Example:
            >>> Assumed.by_first({"T2": {"fit": "fingerprinting", "diffusion": "2e-3 mm^2/s"}}).diffusion
            2e-09
        """
        return Assumed.by(next((spec for spec in maps.values() if spec.get("fit") == "fingerprinting"), {}))

    def dictionary(self, seq: Sequence) -> Dictionary:
        """Signals of a sequence."""
        t1, t2 = (grid_axis(name, *ends, RATIO) for name, ends in (("t1", self.t1), ("t2", self.t2)))
        return fingerprint_dictionary(seq, t1=t1, t2=t2, slice_profile=self.slice_profile, diffusion=self.diffusion)


def _ends(pair: tuple[Any, Any]) -> tuple[float, float]:
    low, high = pair
    return float(parse(low, TIME)), float(parse(high, TIME))


@lru_cache(maxsize=4)
def compressed_dictionary(seq: Sequence, assumed: Assumed) -> tuple[Dictionary, np.ndarray]:
    """The dictionary of a sequence on its leading singular vectors; and these, (pulses, rank). Kept for the next."""
    return assumed.dictionary(seq).compressed(LOST, assumed.rank)


def _nominal(train: Train) -> RelaxingPulses:
    """Instantaneous turns about x by the nominal flips, (pulses, places, 3)."""
    half = train.flip[:, None, None] / 2
    parts = (np.cos(half) ** 2, np.sin(half) ** 2, 1j * np.sin(2 * half), 0.5j * np.sin(2 * half), np.cos(2 * half))
    a, b, c, d, e = (np.concatenate([part, 0 * part, 0 * part], axis=2) for part in parts)
    return RelaxingPulses(a, b, c, d, e, 0 * a, 0 * a)


def _followed(train: Train, places: Float[np.ndarray, "places 3"]) -> RelaxingPulses:
    """Maps of all pulses at each place, (pulses, places, 3), by polynomials in the flip angle.

    The largest pulse is followed at other amplitudes, with and without relaxation. Relaxation up to its center and from
    there on, as if it were instantaneous, is taken out; what is left is small and linear in the rates.
    """
    pulses = train.program.pulses
    shapes = {(pulses.waveform[row], pulses.frequency[row]) for row in train.rows}
    if len(shapes) > 1:
        rule = "must play one pulse at different amplitudes, but plays different ones"
        raise ConsistencyError(Problem(rule, "Leave the shape as it is, or set slice_profile: false", "slice_profile"))
    top = float(np.abs(train.flip).max())
    pulse = SlicePulse(flip=top, phase=0.0, program=train.program, row=int(train.rows[np.argmax(np.abs(train.flip))]))
    share = chebyshev_points(0.0, 1.0, _FLIPS)
    rates = (np.array([0.0, 0.0, _R1]), np.array([0.0, _R2, _R2]))
    with np.errstate(divide="ignore"):
        maps = pulse.maps(places, share, 1 / rates[0], 1 / rates[1])
    parts = [_slopes(part) for part in _instantaneous(maps, pulse.sides, *rates)]
    weights = chebyshev_weights(share, np.abs(train.flip) / top)
    return RelaxingPulses(*(np.tensordot(weights, part, 1) for part in parts))


def _instantaneous(
    maps: StateMap, sides: tuple[float, float], r1: Float[np.ndarray, " rates"], r2: Float[np.ndarray, " rates"]
) -> StateMap:
    """Maps without the relaxation that an instantaneous pulse at the center leaves to the times before and after it."""
    lead1, rest1, lead2, rest2 = (np.exp(t * rate)[:, None, None] for rate in (r1, r2) for t in sides)  # inverse decays
    c, e = maps.c * rest2 * lead1, maps.e * rest1 * lead1
    risen = 1 - 1 / lead1
    return StateMap(
        a=maps.a * lead2 * rest2,
        b=maps.b * lead2 * rest2,
        c=c,
        d=maps.d * rest1 * lead2,
        e=e,
        gain=maps.gain * rest2 - c * risen,
        recovery=(maps.recovery - (1 - 1 / rest1)) * rest1 - e * risen,
    )


def _slopes(part: Complex[np.ndarray, "3 amplitudes places"]) -> Complex[np.ndarray, "amplitudes places 3"]:
    """Value without relaxation, slope along 1/T1, slope along 1/T2."""
    still, across, both = part
    return np.stack([still, (both - across) / _R1, (across - still) / _R2], axis=2)


def _at(pulses: RelaxingPulses, train: Train, place: int) -> RelaxingPulses:
    """Pulses at one place, turned to their phases."""
    turn = np.exp(1j * train.phase)[:, None]
    a, b, c, d, e, gain, recovery = (part[:, place] for part in pulses)
    return RelaxingPulses(a, b * turn**2, c * turn, d / turn, e, gain * turn, recovery)


def _distinct(pulses: RelaxingPulses, phase: Float[np.ndarray, " pulses"]) -> tuple[range, bool]:
    """Places that must be followed; and whether those opposite of them see the mirrored pulses, x against -x."""
    count = pulses.a.shape[1]
    signs = RelaxingPulses(a=1, b=1, c=-1, d=-1, e=1, gain=-1, recovery=1)  # type: ignore[arg-type]
    mirrored = all(
        np.abs(part - sign * part[:, ::-1].conj()).max() < _MIRRORED for part, sign in zip(pulses, signs, strict=True)
    )
    mirrored &= count % 2 == 0 and bool(np.abs(np.sin(phase - phase[0])).max() < _MIRRORED)
    return (range(count // 2), True) if mirrored else (range(count), False)


def _inverted(
    train: Train, atoms: tuple[np.ndarray, np.ndarray], places: Float[np.ndarray, "places 3"]
) -> Float[np.ndarray, "atoms places"]:
    """Longitudinal magnetisation at the center of the inversion, as if it were instantaneous.

    What the pulse leaves at its end is taken back to its center along the recovery that follows.
    """
    if train.inversion < 0:
        return np.ones((len(atoms[0]), len(places)))
    pulse = SlicePulse(flip=np.pi, phase=0.0, program=train.program, row=train.inversion)
    rates = [1 / atoms[0], 1 / atoms[1] - 0.5 / atoms[0]]  # a T2 of more than 2 T1 continues smoothly
    nodes = [chebyshev_points(0.0, float(rate.max()), n) for rate, n in zip(rates, _INVERSION_NODES, strict=True)]
    r1, more = (grid.ravel() for grid in np.meshgrid(*nodes, indexing="ij"))
    maps = pulse.maps(places, np.ones(1), 1 / r1, 1 / (more + 0.5 * r1))
    end = np.real(maps.e + maps.recovery)[:, 0].reshape(*_INVERSION_NODES, len(places))
    weights = [chebyshev_weights(at, rate) for at, rate in zip(nodes, rates, strict=True)]
    left = np.einsum("ai,aj,ijp->ap", *weights, end, optimize=True)
    return np.asarray(1 + (left - 1) * np.exp(pulse.sides[1] / atoms[0])[:, None])


def _fit(given: Given) -> FitResult:
    """Match coefficients as they are, and a series of one image per pulse by its coefficients."""
    seq, mine = given.image.sequence, Assumed.by(given.spec)
    taken = Assumed.by_first(given.image.provenance.get("maps", {})) if _is_compressed(given.image) else mine
    dictionary, basis = compressed_dictionary(seq, taken)
    if mine._replace(rank=taken.rank) != taken:
        dictionary = mine.dictionary(seq).on(basis)
    signal = given.signal if _is_compressed(given.image) else given.signal @ basis.conj()
    found = dictionary.match(signal)
    return replace(found, converged=found.converged & (found["t2"] <= 2 * found["t1"]))


def _is_compressed(image: Image) -> bool:
    return image.provenance.get("recon", {}).get("method") == "lowrank"


def _check(path: str, spec: Mapping[str, Any], image: Image) -> list[Problem]:
    if image.sequence is None:
        rule = "must have images that know their sequence, but these were read from a file"
        return [Problem(rule, "Fit in the run that makes them, or match with fingerprint_dictionary", f"{path}.fit")]
    assumed = Assumed.by(spec)
    if assumed.t2[0] > 2 * assumed.t1[1]:
        rule = (
            f"must begin at 2 T1 = {show(2 * assumed.t1[1], TIME)} or less, but begins at {show(assumed.t2[0], TIME)}"
        )
        return [Problem(rule, "Use shorter T2 or longer T1", f"{path}.t2")]
    pulses = len(read_train(image.sequence).flip)
    if assumed.rank is not None and assumed.rank > pulses:
        rule = f"must be at most the number of pulses, {pulses}, but is {assumed.rank}"
        return [Problem(rule, "Leave it out, and what a match needs is kept", f"{path}.rank")]
    if not _is_compressed(image) and len(image.data) != pulses:
        rule = f"must have one image for each of the {pulses} pulses, but has {len(image.data)}"
        return [Problem(rule, "Label each pulse of the train with REP", f"{path}.fit")]
    return []


def _is_rank(value: Any) -> str:
    whole = isinstance(value, int | float) and not isinstance(value, bool) and value >= 1 and value == int(value)
    return "" if whole else f"must be a whole number from 1, but is '{value}'"


def _is_range(value: Any) -> str:
    pair = isinstance(value, list | tuple) and len(value) == 2
    wrong = [quantity(TIME, 1e-6, 1e3)(end) for end in value] if pair else ["must be two times"]
    if not any(wrong):
        low, high = (float(parse(end, TIME)) for end in value)
        wrong = [] if low < high else ["must be two times of which the second is longer"]
    problem = next((rule for rule in wrong if rule), "")
    return f"{problem}, such as [20 ms, 3 s], but is '{value}'" if problem.startswith("must be two") else problem


METHODS = {
    "fingerprinting": Method(
        run=_fit,
        outputs={
            "T1": Output(key="t1", unit="s"),
            "T2": Output(key="t2", unit="s"),
            "PD": Output(key="m0", unit="1"),
        },
        setting="",
        options={
            "slice_profile": true_or_false,
            "diffusion": quantity(DIFFUSION, 0.0, 1e-7),
            "t1": _is_range,
            "t2": _is_range,
            "rank": _is_rank,
        },
        check=_check,
    )
}
