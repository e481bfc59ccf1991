"""First values for kinetic fits: the best of a table of rates, with the amplitudes by linear least squares."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mrisim._types import Array, Float
from mrisim.mapping.bounded import CHUNK
from mrisim.physics.pharmacokinetics import Response, respond

RATES = 64  # of a single exponential; half as many where two rates are sought
TRANSITS = 8
DELAYS = 9
Columns = list[Float[np.ndarray, " voxels"]]


class Shape(NamedTuple):
    """A model as a sum of columns with amplitudes, once its rates (and transit time) are given."""

    grid: Callable[[float, float], list[tuple[float, ...]]]  # (shortest time, longest time) [s]
    columns: Callable[..., tuple[Response, ...]]  # of one entry of the grid
    parameters: Callable[..., Columns]  # (*entry, *amplitudes) → in the order of the model


def initial_values(
    model: str,
    c: Float[np.ndarray, "voxels n"],
    t: Float[np.ndarray, " n"],
    ca: Float[np.ndarray, " m"],
    ta: Float[np.ndarray, " m"],
    delays: tuple[float, float],
) -> Float[np.ndarray, "voxels parameters"]:
    """Parameters of the model, and the delay, from the entry of a table that fits each curve best.

    Entries whose amplitudes come out negative are passed over, unless all do.

    Source:
        Variable projection: Golub and Pereyra, SIAM J Numer Anal 10:413 (1973).
    """
    shape = SHAPES[model]
    entries = shape.grid(float(np.median(np.diff(t))), float(t[-1] - t[0]))
    shifts = np.linspace(*delays, DELAYS) if delays[1] > delays[0] else np.array(delays[:1])
    table = np.asarray(_table(shape, entries, shifts, t, ca, ta))  # (entries, columns, n)
    full = np.array([(*entry, shift) for entry in entries for shift in shifts])
    q, r = np.linalg.qr(np.swapaxes(table, 1, 2))
    ridge = 1e-12 * np.abs(r).max(axis=(1, 2), keepdims=True) * np.eye(r.shape[1])
    to_amplitudes = q @ np.swapaxes(np.linalg.inv(r + ridge), 1, 2)
    projections = [np.ascontiguousarray(np.moveaxis(one, 1, 0)).reshape(len(t), -1) for one in (q, to_amplitudes)]
    pieces = [_best(c[i : i + CHUNK], full, *projections) for i in range(0, len(c), CHUNK)]
    chosen = np.concatenate([np.zeros((0, full.shape[1] + q.shape[2])), *pieces]).T
    entry, delay, amplitudes = chosen[: full.shape[1] - 1], chosen[full.shape[1] - 1], chosen[full.shape[1] :]
    with np.errstate(all="ignore"):
        found = shape.parameters(*entry, *amplitudes)
    return np.stack([*np.broadcast_arrays(*found), delay], axis=1)


def _best(c: np.ndarray, full: np.ndarray, onto: np.ndarray, to_amplitudes: np.ndarray) -> np.ndarray:
    """Entry of the table and amplitudes that fit each curve best."""
    projected, amplitudes = ((c @ matrix).reshape(len(c), len(full), -1) for matrix in (onto, to_amplitudes))
    score = np.zeros(projected.shape[:2])
    for column in range(projected.shape[2]):  # sums over a short last axis are slow
        score += projected[:, :, column] ** 2
        score[amplitudes[:, :, column] < 0] -= 1e3 * (c**2).sum(axis=1).max()
    best = score.argmax(axis=1)
    return np.concatenate([full[best], np.maximum(amplitudes[np.arange(len(c)), best], 1e-12)], axis=1)


def _table(shape: Shape, entries: list, shifts: np.ndarray, t: np.ndarray, ca: np.ndarray, ta: np.ndarray):
    responses = [jax.tree.map(jnp.asarray, shape.columns(*entry)) for entry in entries]
    stacked = [jax.tree.map(lambda *leaves: jnp.stack(leaves), *column) for column in zip(*responses, strict=True)]
    tables = [_column(responses_of, shifts, t, ca, ta) for responses_of in stacked]
    return jnp.stack([one.reshape(-1, len(t)) for one in tables], axis=1)


@jax.jit
def _column(responses: Response, shifts: Array, t: Array, ca: Array, ta: Array) -> Array:
    """Each response with each delay."""
    one = lambda response, shift: respond(response, ta, ca, t - shift)  # noqa: E731
    return jax.vmap(jax.vmap(one, (None, 0)), (0, None))(responses, shifts)


def _exponential(rate: float, lag: float = 0.0, delta: float = 0.0) -> Response:
    return Response(np.array(delta), np.array([1.0 if delta == 0 else 0.0]), np.array([rate]), np.array([lag]))


def _plateau(length: float) -> Response:
    return Response(np.array(0.0), np.array([1.0, -1.0]), np.zeros(2), np.array([0.0, length]))


def _rates(shortest: float, longest: float, n: int = RATES) -> list[tuple[float, ...]]:
    return [(float(rate),) for rate in np.geomspace(0.1 / longest, 10.0 / shortest, n)]


def _pairs(shortest: float, longest: float) -> list[tuple[float, ...]]:
    rates = [rate for (rate,) in _rates(shortest, longest, RATES // 2)]
    return [(fast, slow) for slow, fast in itertools.combinations(rates, 2)]


def _transits(shortest: float, longest: float) -> list[tuple[float, ...]]:
    transits = np.geomspace(shortest / 2, longest / 10, TRANSITS)
    return [(float(tc), rate) for tc in transits for (rate,) in _rates(shortest, longest, RATES // 2)]


def _exchange(fast, slow, high, low) -> Columns:
    fp = high + low
    turnover = (high * fast + low * slow) / fp  # Fp / vp
    back = fast * slow / turnover  # PS / ve
    vp = fp / turnover
    ps = np.maximum(fast + slow - turnover - back, 0.0) * vp
    return [fp, ps, ps / back, vp]


def _uptake(rate, washed, kept) -> Columns:
    fp = washed + kept
    ps = fp * kept / np.maximum(washed, 1e-12)
    return [fp, ps, (fp + ps) / rate]


def _homogeneity(transit, rate, fp, washed) -> Columns:
    extraction = np.minimum(washed / fp, 0.99)
    return [fp, -fp * np.log1p(-extraction), extraction * fp / rate, fp * transit]


_DELTA = (_exponential(0.0, delta=1.0),)
SHAPES: Mapping[str, Shape] = {
    "tofts": Shape(_rates, lambda k: (_exponential(k),), lambda k, a: [a, a / k]),
    "extended_tofts": Shape(_rates, lambda k: (_exponential(k), *_DELTA), lambda k, a, d: [a, a / k, d]),
    "patlak": Shape(lambda _, __: [()], lambda: (_exponential(0.0), *_DELTA), lambda a, d: [d, a]),
    "2cxm": Shape(_pairs, lambda f, s: (_exponential(f), _exponential(s)), _exchange),
    "2cum": Shape(_rates, lambda k: (_exponential(k), _exponential(0.0)), _uptake),
    "aath": Shape(_transits, lambda tc, k: (_plateau(tc), _exponential(k, tc)), _homogeneity),
}
