"""T2 from echo trains by the phase graph: stimulated echoes of imperfect refocusing are part of the model."""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import ArrayLike

from mrisim._types import Array, Complex, Float, Int
from mrisim.errors import ConsistencyError, Problem
from mrisim.mapping.dictionary import Dictionary, grid_axis
from mrisim.mapping.least_squares import double_precision
from mrisim.mapping.separable import FitResult
from mrisim.mapping.slice_profile import SliceProfile
from mrisim.physics.phase_graph import StateMap

T2_RATIO = 1.12  # between points of the grid; splines of T2 are then exact to 1e-6
T1_RATIO = 1.6
B1_RANGE = (0.6, 1.25)  # that a free transmit field is searched in
B1_STEP = 0.05


def train_signals(
    echo_spacing: float,
    refocusing: Float[np.ndarray, " echoes"],
    excitation: float,
    t1: Float[np.ndarray, " atoms"],
    t2: Float[np.ndarray, " atoms"],
    b1: Float[np.ndarray, " b1"],
    profile: SliceProfile | None = None,
) -> Complex[np.ndarray, "atoms b1 echoes"]:
    """Echoes of a train with refocusing pulses at 90° to the excitation, from equilibrium, per M0.

    The gradients on both sides of each refocusing pulse dephase a voxel by the same, much more than a turn.

    Args:
        echo_spacing: Between echoes; refocusing pulses are at half of it before each [s].
        refocusing: Nominal flip of each refocusing pulse [rad].
        excitation: Nominal flip of the excitation [rad].
        t1, t2: Relaxation times of the atoms [s].
        b1: Transmit field relative to nominal.
        profile: Pulses as played through the slice; instantaneous ones where not given. The signal is then the mean
            over a slice of nominal thickness.

    Source:
        Hennig, J Magn Reson 78:397 (1988); Lebel and Wilman, Magn Reson Med 64:1005 (2010) for slice profiles.

    Example:
        >>> flips = np.full(4, 2 * np.pi / 3)
        >>> echoes = train_signals(0.01, flips, np.pi / 2, np.array([np.inf]), np.array([np.inf]), np.ones(1))
        >>> np.abs(echoes[0, 0]).round(3).tolist()
        [0.75, 0.938, 0.844, 0.855]
    """
    pulses = _ideal_pulses(refocusing, excitation, b1, len(t1))
    if profile is not None:
        pulses = _shaped_pulses(refocusing, excitation, b1, t1, t2, profile)
    waits = np.array([0.5, 0.5, 1.0]) * echo_spacing - pulses.taken
    with double_precision():
        atoms = (t1, t2, pulses.start, pulses.maps)
        found = _echoes(jax.tree.map(jnp.asarray, atoms), jnp.asarray(pulses.which), jnp.asarray(waits))
        summed = np.asarray(found).reshape(len(t1), len(refocusing), len(b1), -1).sum(axis=-1)
    return pulses.weight * np.swapaxes(summed, 1, 2)


class _Pulses(NamedTuple):
    """Pulses of a train at each site: transmit field and place through the slice."""

    start: Complex[np.ndarray, "atoms sites"]  # M⁺ that the excitation leaves
    maps: StateMap  # of the different refocusing pulses, (atoms, pulses, sites)
    which: Int[np.ndarray, " echoes"]
    taken: Float[np.ndarray, " 3"]  # by pulses, of excitation to refocusing, refocusing to echo, and echo spacing [s]
    weight: float  # of a place


def _ideal_pulses(refocusing: np.ndarray, excitation: float, b1: np.ndarray, atoms: int) -> _Pulses:
    flips, which = np.unique(refocusing, return_inverse=True)
    start, maps = _ideal(excitation * b1, 0.0).c, _ideal(flips[:, None] * b1, np.pi / 2)
    spread = StateMap(*(np.broadcast_to(part, (atoms, *part.shape)) for part in maps))
    return _Pulses(np.broadcast_to(start, (atoms, len(b1))), spread, which, np.zeros(3), 1.0)


def _shaped_pulses(
    refocusing: np.ndarray, excitation: float, b1: np.ndarray, t1: np.ndarray, t2: np.ndarray, profile: SliceProfile
) -> _Pulses:
    flips, which = np.unique(refocusing, return_inverse=True)
    first, second = profile.excitation, profile.refocusing
    n = len(b1) * len(profile.places)
    start = first.maps(profile.places, b1 * excitation / first.flip, t1, t2).c.reshape(-1, n)
    each = [second.maps(profile.places, b1 * flip / second.flip, t1, t2) for flip in flips]
    maps = StateMap(*(np.stack([part.reshape(-1, n) for part in parts], axis=1) for parts in zip(*each, strict=True)))
    lead, rest = second.sides
    return _Pulses(start, maps, which, np.array([first.sides[1] + lead, rest, lead + rest]), profile.weight)


def _ideal(flip: np.ndarray, phase: float) -> StateMap:
    """An instantaneous rotation."""
    turn, zero = np.exp(1j * phase), np.zeros_like(flip) + 0j
    return StateMap(
        a=np.cos(flip / 2) ** 2 + 0j,
        b=np.sin(flip / 2) ** 2 * turn**2,
        c=1j * np.sin(flip) * turn,
        d=0.5j * np.sin(flip) / turn,
        e=np.cos(flip) + 0j,
        gain=zero,
        recovery=zero,
    )


@jax.jit
def _echoes(
    atoms: tuple[Array, Array, Array, StateMap], which: Int[Array, " echoes"], waits: Float[Array, " 3"]
) -> Complex[Array, "atoms echoes sites"]:
    """Between two pulses a state gains two units of dephasing, so at the pulses F and Z have odd orders: row j holds
    F(2j + 1), conj F(-2j - 1) and Z(2j + 1). Recovery makes even orders, which no echo sees.
    """

    def train(atom):
        t1, t2, start, maps = atom
        empty = jnp.zeros((len(which), len(start)), start.dtype)
        first, half, e2 = jnp.exp(-waits / t2)
        e1 = jnp.exp(-waits[2] / t1)

        def pulse(states, number):
            f, g, z = states
            m = jax.tree.map(lambda part: part[number], maps)
            f, g, z = (
                m.a * f + m.b * g + m.c * z,
                m.b.conj() * f + m.a.conj() * g + m.c.conj() * z,
                (m.d * f + m.d.conj() * g + m.e * z) * e1,
            )
            back = g[0].conj()
            f = jnp.concatenate([back[None], f[:-1]]) * e2
            g = jnp.concatenate([g[1:], empty[:1]]) * e2
            return (f, g, z), back * half

        return lax.scan(pulse, (empty.at[0].set(start * first), empty, empty), which)[1]

    return lax.map(train, atoms)


def fit_epg(
    signal: ArrayLike,
    echo_spacing: float,
    refocusing: ArrayLike,
    *,
    excitation: float = np.pi / 2,
    t1: ArrayLike = 1.0,
    b1: ArrayLike | Literal["free"] = 1.0,
    slice_profile: SliceProfile | None = None,
    echoes: ArrayLike | None = None,
    t2_range: tuple[float, float] = (0.005, 3.0),
    noise: float | None = None,
) -> FitResult:
    """T2, and B1 where it is free, from multi-echo spin echo or TSE trains with imperfect refocusing.

    The model is the phase graph of the train: stimulated echoes of pulses below 180°, and of the flanks of a slice,
    are part of it. It holds for magnitudes, like `fit_monoexponential`. Between the points of a grid of T2 (and B1, T1)
    the signals are splines.

    Args:
        signal: (..., n), complex or real.
        echo_spacing: Between echoes [s].
        refocusing: Nominal flip of the refocusing pulses [rad], one for all or one for each echo of the train.
        excitation: Nominal flip of the excitation [rad].
        t1: One value or a map (...) [s]. Stimulated echoes rest along z, so T1 matters little where it is long.
        b1: Transmit field relative to nominal, one value or a map (...); "free" fits it too. Fields that take the
            refocusing pulses as far beyond 180° as below give almost the same echoes: T2 is right, B1 may be the other.
        slice_profile: Of the sequence, from `slice_profile(seq)`; instantaneous pulses without a slice where not given.
        echoes: Numbers of the echoes that the n signals are, from 1; 1 to n where not given.
        t2_range: Smallest and largest T2 [s]; a voxel at the edge counts as not converged.
        noise: Standard deviation of the signal, for the standard errors; from the residuals where not given.

    Returns:
        Maps `t2` [s], `m0` (units of the signal), and `b1` where it is free; nan where there is no signal or the fit
        did not converge.

    Raises:
        ConsistencyError: shapes that do not fit, too few echoes, flips or times that are not above zero.

    Example:
        >>> flips = np.full(8, np.radians(130))
        >>> echoes = 0.7 * np.abs(train_signals(0.01, flips, np.pi / 2, np.ones(1), np.array([0.08]), np.ones(1))[0, 0])
        >>> fit = fit_epg(echoes, 0.01, np.radians(130), t1=1.0)
        >>> round(float(fit["t2"]), 5), round(float(fit["m0"]), 4)
        (0.08, 0.7)
    """
    signal = np.abs(np.asarray(signal))
    shape, n = signal.shape[:-1], signal.shape[-1]
    numbers = np.arange(1, n + 1) if echoes is None else np.atleast_1d(np.asarray(echoes))
    flips = np.asarray(refocusing, dtype=float)
    flips = np.full(int(numbers.max(initial=1)), flips) if flips.ndim == 0 else flips

    free = isinstance(b1, str) and b1 == "free"
    known = {"t1": t1} if free else {"t1": t1, "b1": b1}
    _check(echo_spacing, flips, numbers, n, shape, known, 4 - len(known) + 1)
    axes, given = {"t2": grid_axis("t2", *t2_range, T2_RATIO)}, {}
    axes["b1"] = np.arange(B1_RANGE[0], B1_RANGE[1] + B1_STEP / 2, B1_STEP) if free else _axis(b1, B1_STEP)
    axes["t1"] = _log_axis(t1)
    for name, values in (("b1", b1), ("t1", t1)):
        if len(axes[name]) > 1 and not (free and name == "b1"):
            given[name] = np.broadcast_to(np.asarray(values, float), shape).ravel()
    t1s, t2s = (v.ravel() for v in np.meshgrid(axes["t1"], axes["t2"], indexing="xy"))
    made = np.abs(train_signals(echo_spacing, flips, excitation, t1s, t2s, axes["b1"], slice_profile))
    made = made[:, :, numbers - 1].reshape(len(axes["t2"]), len(axes["t1"]), len(axes["b1"]), n)
    lengths = {name: values for name, values in axes.items() if len(values) > 1}
    made = np.moveaxis(made, 1, 2)
    made = made.reshape(*(len(values) for values in lengths.values()), n)
    found = Dictionary(axes=lengths, signals=made, logarithmic=("t2", "t1")).match(signal.reshape(-1, n), given, noise)
    return FitResult(
        maps={name: values.reshape(shape) for name, values in found.maps.items()},
        standard_error={name: values.reshape(shape) for name, values in found.standard_error.items()},
        converged=found.converged.reshape(shape),
        residual=found.residual.reshape(shape),
        counts=found.counts,
    )


def _axis(values: ArrayLike, step: float) -> Float[np.ndarray, " points"]:
    """Points that cover values, at most a step apart; one where all are alike."""
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    if known.size == 0 or np.ptp(known) == 0:
        return np.atleast_1d(known.flat[0] if known.size else 1.0)
    low, high = float(known.min()), float(known.max())
    return np.linspace(low, high, max(4, 1 + int(np.ceil((high - low) / step))))


def _log_axis(values: ArrayLike) -> Float[np.ndarray, " points"]:
    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    if known.size == 0 or known.min() == known.max():
        return np.atleast_1d(known.flat[0] if known.size else 1.0)
    return grid_axis("t1", float(known.min()), float(known.max()), T1_RATIO)


def _check(
    spacing: float,
    flips: np.ndarray,
    numbers: np.ndarray,
    n: int,
    shape: tuple[int, ...],
    maps: dict[str, ArrayLike],
    needed: int,
) -> None:
    problems = []
    if not spacing > 0:
        problems.append(Problem(f"must be above 0, but is {spacing:g}", path="echo_spacing"))
    if numbers.shape != (n,) or not np.issubdtype(numbers.dtype, np.integer) or numbers.min(initial=1) < 1:
        problems.append(Problem(f"must be {n} whole numbers from 1, one per signal, but are {numbers}", path="echoes"))
    elif flips.ndim != 1 or len(flips) < numbers.max(initial=1) or not (flips > 0).all():
        rule = f"must be one flip above 0, or one for each of the {numbers.max(initial=1)} echoes, but are {flips}"
        problems.append(Problem(rule, path="refocusing"))
    if n < needed:
        problems.append(Problem(f"must have at least {needed} echoes, but has {n}", "Measure more", "signal"))
    for name, values in maps.items():
        given = np.asarray(values)
        if not np.issubdtype(given.dtype, np.number):
            problems.append(Problem(f"must be a number, a map or 'free', but is '{values}'", path=name))
        elif given.shape not in ((), shape):
            problems.append(Problem(f"must be one value or have shape {shape}, but has {given.shape}", path=name))
        elif (given <= 0).any():
            problems.append(Problem("must be above 0, but is not everywhere", path=name))
    if problems:
        raise ConsistencyError(problems)
