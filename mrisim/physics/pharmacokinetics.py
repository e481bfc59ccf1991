"""Tracer kinetics: plasma concentration → tissue concentration, exactly, for an input that is linear between knots.

The impulse response of every model here is a sum of a delta and of delayed exponentials,

    h(t) = delta · δ(t) + Σ amplitude_j · exp(-rate_j (t - lag_j)) for t ≥ lag_j,

and an exponential convolved with a straight line is closed form. So nothing is discretised beyond the input itself.
Pure JAX functions of one curve: map them over voxels with `jax.vmap`; all can be differentiated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from mrisim._types import Array, Float

SMALL = 0.1  # below it the weights of a line come from their series, which is good to rounding
_TERMS = 9
_LEAST = 1e-9  # a volume fraction below it counts as this, so that no rate is infinite

Value = Float[Array, ""] | float


class Response(NamedTuple):
    """Impulse response: a delta, and exponentials that start after a lag."""

    delta: Float[Array, ""]  # [1]
    amplitude: Float[Array, " terms"]  # [1/s]
    rate: Float[Array, " terms"]  # [1/s], at least 0
    lag: Float[Array, " terms"]  # [s], at least 0


def convolve(
    rate: Value,
    time: Float[Array, " n"],
    curve: Float[Array, " n"],
    at: Float[Array, " m"] | None = None,
    uniform: bool = False,
) -> Float[Array, " m"]:
    """Convolution of exp(-rate t) with a curve that is linear between its knots and zero before the first.

    Exact: y(t + h) = exp(-rate h) y(t) + h (curve(t) A(rate h) + curve(t + h) B(rate h)), with A and B the weights of
    the two ends of a line. A rate of zero gives the integral. Can be differentiated by `rate`, `curve` and `at`.

    Args:
        rate: [1/s], at least 0.
        time: Increasing knots [s].
        curve: At the knots.
        at: Times of the result, not after the last knot; the knots where not given [s].
        uniform: Whether the knots are equidistant, which saves most of the work.

    Returns:
        In units of the curve times s; zero up to the first knot.

    Source:
        Flouri, Lesnic and Mayrovitz, Comput Methods Programs Biomed 131:175 (2016), for the recursion; the weights are
        the integrals of exp(-x v) v and exp(-x v) (1 - v) over v from 0 to 1.

    Example:
        >>> time, curve = jnp.array([0.0, 1.0, 3.0]), jnp.array([0.0, 1.0, 1.0])
        >>> convolve(0.0, time, curve).tolist(), convolve(0.0, time, curve, jnp.array([0.5, 2.0])).tolist()
        ([0.0, 0.5, 2.5], [0.125, 1.5])
    """
    time, curve = jnp.asarray(time), jnp.asarray(curve)
    rate = jnp.asarray(rate, curve.dtype)
    if at is None:
        return _at_knots(uniform, rate, time, curve)
    return _anywhere(uniform, rate, time, curve, at)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _at_knots(uniform: bool, rate: Array, time: Array, curve: Array) -> Array:
    def advance(y: Array, ends: tuple[Array, Array], weights: tuple[Array, ...]) -> Array:
        decay, head, tail = weights
        return decay * y + ends[0] * head + ends[1] * tail

    step = _intervals(uniform, time)
    return _recursion(advance, jnp.zeros_like(rate * step[0] * curve[0]), curve, _weights(rate, step))


def _at_knots_jvp(uniform: bool, primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    """One recursion for the value and its slope over the rate, however many directions are asked for."""
    rate, time, curve = primals
    _require_fixed(tangents[1])
    if isinstance(tangents[0], SymbolicZero):
        value, along = _at_knots(uniform, rate, time, curve), 0.0
    else:
        value, slope = _value_and_slope(uniform, rate, time, curve)
        along = slope * tangents[0]
    still = isinstance(tangents[2], SymbolicZero)
    return value, along + (jnp.zeros_like(value) if still else _at_knots(uniform, rate, time, tangents[2]))


_at_knots.defjvp(_at_knots_jvp, symbolic_zeros=True)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _anywhere(uniform: bool, rate: Array, time: Array, curve: Array, at: Array) -> Array:
    """From the value at the knot before, a partial interval on."""
    knots = _at_knots(uniform, rate, time, curve)
    i, since, here = _locate(uniform, time, curve, at)
    decay, head, tail = _weights(rate, since)
    return decay * knots[i] + curve[i] * head + here * tail


def _anywhere_jvp(uniform: bool, primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    rate, time, curve, at = primals
    _require_fixed(tangents[1])
    knots, slopes = _value_and_slope(uniform, rate, time, curve)
    i, since, here = _locate(uniform, time, curve, at)
    (decay, head, tail), by_rate = jax.jvp(lambda k: _weights(k, since), (rate,), (jnp.ones_like(rate),))
    value = decay * knots[i] + curve[i] * head + here * tail
    along = jnp.zeros_like(value)
    if not isinstance(tangents[0], SymbolicZero):
        slope = decay * slopes[i] + by_rate[0] * knots[i] + curve[i] * by_rate[1] + here * by_rate[2]
        along = along + slope * tangents[0]
    if not isinstance(tangents[2], SymbolicZero):
        along = along + _anywhere(uniform, rate, time, tangents[2], at)
    if not isinstance(tangents[3], SymbolicZero):
        along = along + (here - rate * value) * tangents[3]
    return value, along


_anywhere.defjvp(_anywhere_jvp, symbolic_zeros=True)


def _require_fixed(tangent: Any) -> None:
    if not isinstance(tangent, SymbolicZero):
        raise TypeError("convolve: the knots must not be differentiated; differentiate the times of the result")


def _intervals(uniform: bool, time: Array) -> Array:
    """One step for each interval, or one for all."""
    return (time[-1:] - time[:1]) / (len(time) - 1) if uniform else jnp.diff(time)


def _locate(uniform: bool, time: Array, curve: Array, at: Array) -> tuple[Array, Array, Array]:
    """The knot before each time, the time since, and the curve there: zero before the first knot."""
    if uniform:
        index = jnp.floor((at - time[0]) / _intervals(True, time)[0]).astype(int)
    else:
        index = jnp.searchsorted(time, at, side="right") - 1
    i = jnp.clip(index, 0, len(time) - 2)
    since = jnp.maximum(at - time[i], 0.0)
    line = curve[i] + (curve[i + 1] - curve[i]) * since / (time[i + 1] - time[i])
    return i, since, jnp.where(at >= time[0], line, 0.0)


def _value_and_slope(uniform: bool, rate: Array, time: Array, curve: Array) -> tuple[Array, Array]:
    def advance(
        state: tuple[Array, Array], ends: tuple[Array, Array], weights: tuple[Array, ...]
    ) -> tuple[Array, Array]:
        y, slope = state
        decay, head, tail, decay_slope, head_slope, tail_slope = weights
        moved = decay * slope + decay_slope * y + ends[0] * head_slope + ends[1] * tail_slope
        return decay * y + ends[0] * head + ends[1] * tail, moved

    step = _intervals(uniform, time)
    weights, slopes = jax.jvp(lambda k: _weights(k, step), (rate,), (jnp.ones_like(rate),))
    zero = jnp.zeros_like(rate * step[0] * curve[0])
    return _recursion(advance, (zero, zero), curve, (*weights, *slopes))


def _recursion(advance: Callable[..., Any], start: Any, curve: Array, weights: tuple[Array, ...]) -> Any:
    """States at all knots from the state at the first; weights are per interval, or one set for all."""
    one_for_all = weights[0].shape[0] == 1
    fixed = tuple(weight[0] for weight in weights) if one_for_all else None
    pieces = (curve[:-1], curve[1:], *(() if one_for_all else weights))

    def step(state: Any, piece: tuple[Array, ...]) -> tuple[Any, Any]:
        state = advance(state, piece[:2], fixed or piece[2:])
        return state, state

    _, rest = jax.lax.scan(step, start, pieces)
    return jax.tree.map(lambda first, others: jnp.concatenate([first[None], others]), start, rest)


def _weights(rate: Array, step: Array) -> tuple[Array, Array, Array]:
    """Decay over a step, and the weights in its end of the two ends of a line over it."""
    x = rate * step
    small = x < SMALL
    safe = jnp.where(small, 1.0, x)
    flat = -jnp.expm1(-safe) / safe
    head = jnp.where(small, _series(x, _HEAD), (flat - jnp.exp(-safe)) / safe)
    tail = jnp.where(small, _series(x, _TAIL), (1 - flat) / safe)
    return jnp.exp(-x), step * head, step * tail


def _coefficients(weight: Callable[[int], float]) -> tuple[float, ...]:
    factorial, found = 1.0, []
    for n in range(_TERMS):
        found.append((-1.0) ** n * weight(n) / factorial)
        factorial *= n + 1
    return tuple(found)


_HEAD = _coefficients(lambda n: 1 / (n + 2))  # ∫ v exp(-x v)
_TAIL = _coefficients(lambda n: 1 / ((n + 1) * (n + 2)))  # ∫ (1 - v) exp(-x v)


def _series(x: Array, coefficients: tuple[float, ...]) -> Array:
    result = jnp.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        result = result * x + coefficient
    return result


def respond(
    response: Response,
    time: Float[Array, " n"],
    curve: Float[Array, " n"],
    at: Float[Array, " m"] | None = None,
    *,
    lagged: bool = True,
    uniform: bool = False,
) -> Float[Array, " m"]:
    """Tissue concentration: an impulse response convolved with a curve that is linear between its knots.

    Args:
        response: Of the tissue.
        time: Knots of the input [s].
        curve: Input at the knots; zero before the first.
        at: Times of the result, not after the last knot; the knots where not given [s].
        lagged: Whether any lag may differ from zero; without, the result at the knots needs no look-up.
        uniform: Whether the knots are equidistant, which saves most of the work.

    Example:
        >>> time = jnp.array([0.0, 1.0, 3.0])
        >>> unit = Response(jnp.array(0.5), jnp.array([1.0]), jnp.array([0.0]), jnp.array([0.0]))
        >>> respond(unit, time, jnp.array([0.0, 1.0, 1.0])).tolist()
        [0.0, 1.0, 3.0]
    """
    time, curve = jnp.asarray(time), jnp.asarray(curve)
    here = time if at is None else at
    direct = curve if at is None else jnp.interp(here, time, curve, left=0.0)
    total = response.delta * direct
    for j in range(response.rate.shape[0]):
        shifted = here - response.lag[j] if at is not None or lagged else None
        total = total + response.amplitude[j] * convolve(response.rate[j], time, curve, shifted, uniform)
    return total


def tofts(ktrans: Value, ve: Value) -> Response:
    """Tofts: exchange with the extravascular space, no plasma.

    Args:
        ktrans: [1/s].
        ve: Volume fraction [1].

    Source:
        Tofts et al., J Magn Reson Imaging 10:223 (1999).

    Example:
        >>> round(float(tofts(0.002, 0.2).rate[0]), 6)
        0.01
    """
    return _response(0.0, (ktrans, ktrans / jnp.maximum(ve, _LEAST)))


def extended_tofts(ktrans: Value, ve: Value, vp: Value) -> Response:
    """Tofts with plasma: a delta of weight vp besides.

    Args:
        ktrans: [1/s].
        ve, vp: Volume fractions [1].

    Source:
        Tofts, J Magn Reson Imaging 7:91 (1997).

    Example:
        >>> float(extended_tofts(0.002, 0.2, 0.5).delta)
        0.5
    """
    return _response(vp, (ktrans, ktrans / jnp.maximum(ve, _LEAST)))


def patlak(vp: Value, ps: Value) -> Response:
    """Patlak: plasma, and uptake without return.

    Args:
        vp: Volume fraction [1].
        ps: Permeability-surface product [1/s].

    Source:
        Patlak, Blasberg and Fenstermacher, J Cereb Blood Flow Metab 3:1 (1983).

    Example:
        >>> patlak(0.1, 0.001).rate.tolist()
        [0.0]
    """
    return _response(vp, (ps, 0.0))


def two_compartment_exchange(fp: Value, ps: Value, ve: Value, vp: Value) -> Response:
    """Two compartments, plasma and extravascular space, each well mixed, that exchange (2CXM).

    The two rates are the eigenvalues of the exchange; no difference of close numbers is formed, so that the limits
    (vp → 0, Fp → ∞, ve → ∞, PS → 0) are reached smoothly.

    Args:
        fp: Plasma flow [1/s].
        ps: Permeability-surface product [1/s].
        ve, vp: Volume fractions [1].

    Source:
        Sourbron and Buckley, Phys Med Biol 57:R1 (2012).

    Example:
        >>> response = two_compartment_exchange(0.01, 0.001, 0.2, 0.05)
        >>> round(float(response.amplitude.sum()), 6)
        0.01
    """
    vp = jnp.maximum(vp, _LEAST)
    back = vp * ps / jnp.maximum(ve, _LEAST)
    difference = fp - ps - back
    root = jnp.sqrt(difference**2 + 4 * fp * ps)
    large = (jnp.abs(difference) + root) / 2
    small = fp * ps / large
    upper = jnp.where(difference > 0, small, large)  # vp · (fast rate) - fp
    lower = jnp.where(difference > 0, large, small)  # fp - vp · (slow rate)
    total = (fp + ps + back + root) / 2
    return _response(0.0, (fp * lower / root, total / vp), (fp * upper / root, fp * back / (total * vp)))


def two_compartment_uptake(fp: Value, ps: Value, vp: Value) -> Response:
    """Plasma compartment that loses tracer to a space from which it does not return (2CUM).

    Args:
        fp: Plasma flow [1/s].
        ps: Permeability-surface product [1/s].
        vp: Volume fraction [1].

    Source:
        Sourbron and Buckley, Phys Med Biol 57:R1 (2012).

    Example:
        >>> round(float(two_compartment_uptake(0.01, 0.0025, 0.05).rate[0]), 6)
        0.25
    """
    extraction = ps / (fp + ps)
    rate = (fp + ps) / jnp.maximum(vp, _LEAST)
    return _response(0.0, (fp * (1 - extraction), rate), (fp * extraction, 0.0))


def adiabatic_tissue_homogeneity(fp: Value, ps: Value, ve: Value, vp: Value) -> Response:
    """Plasma as a pipe that takes Tc = vp / Fp, and a well-mixed extravascular space after it (AATH).

    h = Fp until Tc, then E Fp exp(-E Fp (t - Tc) / ve), with E = 1 - exp(-PS / Fp).

    Args:
        fp: Plasma flow [1/s].
        ps: Permeability-surface product [1/s].
        ve, vp: Volume fractions [1].

    Source:
        St Lawrence and Lee, J Cereb Blood Flow Metab 18:1365 (1998).

    Example:
        >>> adiabatic_tissue_homogeneity(0.01, 0.001, 0.2, 0.05).lag.round(3).tolist()
        [0.0, 5.0, 5.0]
    """
    transit = vp / fp
    washed = -fp * jnp.expm1(-ps / fp)
    slow = (washed, washed / jnp.maximum(ve, _LEAST), transit)
    return _response(0.0, (fp, 0.0), (-fp, 0.0, transit), slow)


def _response(delta: Value, *terms: tuple[Value, ...]) -> Response:
    """From a delta and terms of amplitude, rate and, where it is not zero, lag."""
    columns = [jnp.stack([jnp.asarray(term[i] if i < len(term) else 0.0) for term in terms]) for i in range(3)]
    return Response(jnp.asarray(delta), *columns)


class Model(NamedTuple):
    """A model that can be named, and its parameters in order."""

    response: Callable[..., Response]
    parameters: tuple[str, ...]
    lagged: bool = False  # whether a lag depends on the parameters


MODELS: Mapping[str, Model] = {
    "tofts": Model(tofts, ("ktrans", "ve")),
    "extended_tofts": Model(extended_tofts, ("ktrans", "ve", "vp")),
    "patlak": Model(patlak, ("vp", "ps")),
    "2cxm": Model(two_compartment_exchange, ("fp", "ps", "ve", "vp")),
    "2cum": Model(two_compartment_uptake, ("fp", "ps", "vp")),
    "aath": Model(adiabatic_tissue_homogeneity, ("fp", "ps", "ve", "vp"), lagged=True),
}
"""By name; concentrations are of plasma, and volume fractions of tissue."""
