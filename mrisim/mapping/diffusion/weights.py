"""Diffusion weighting as fits take it: b values, b values with directions, or b-matrices; checked, and averaged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mrisim import units
from mrisim._types import Float, Int
from mrisim.errors import ConsistencyError, Problem

LEAST = 1e6  # a strongest b value below it is no diffusion weighting, but one in another unit [s/m²]
UNIT_LENGTH = 1e-3  # by which a direction's length may differ from one
SHELL = 0.05  # of a b value: one that is higher by less belongs to the same shell
ISOTROPIC = 0.02  # of b: by how much the mean b-matrix of a shell may differ from b/3 along each axis
_NEAR = 1.4  # largest b value over the least of shells that may be one
_TOGETHER = 0.05  # of b: by how much the mean b-matrix of such shells may differ from b/3 along each axis
_PARTS = 3  # of them at most
_EVEN, _WHOLE = 1e-4, 1e3  # weights of equal shares, and of their sum, beside axes that are weighted alike
_COMPONENTS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
_TWICE = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])


def b_values(b: ArrayLike, n: int, different: int = 2) -> Float[np.ndarray, " n"]:
    """Checked b values of n images; of b-matrices, their traces.

    Args:
        b: (n,) b values or (n, 3, 3) b-matrices [s/m²].
        n: Number of images.
        different: How many different weightings the fit needs.

    Raises:
        ConsistencyError: a number of values that does not match, values that are no weighting, too few different ones.

    Example:
        >>> b_values([0.0, 1e9], 2).tolist()
        [0.0, 1000000000.0]
    """
    given = np.asarray(b, dtype=float)
    problems = _check_b(given, n, directions=False)
    if problems:
        raise ConsistencyError(problems)
    values = np.trace(given, axis1=1, axis2=2) if given.ndim == 3 else given
    found = len(np.unique(shells(values)))
    if found < different:
        first = units.show(float(values.max()), units.B_VALUE, digits=4)
        rule = f"must hold at least {different} different values, but holds {found} (up to {first})"
        raise ConsistencyError(Problem(rule, "Add an image with another weighting, such as b = 0", "b"))
    return values


def b_matrices(b: ArrayLike, directions: ArrayLike | None, n: int) -> Float[np.ndarray, "n 3 3"]:
    """Checked b-matrices of n images.

    Args:
        b: (n, 3, 3) b-matrices, or (n,) b values with directions [s/m²].
        directions: (n, 3) unit vectors; of no matter where b is zero.
        n: Number of images.

    Raises:
        ConsistencyError: numbers that do not match, directions that are missing, given twice or not of unit length.

    Example:
        >>> b_matrices([0.0, 1e9], [[0, 0, 0], [0, 0.6, 0.8]], 2)[1].round(-6).tolist()
        [[0.0, 0.0, 0.0], [0.0, 360000000.0, 480000000.0], [0.0, 480000000.0, 640000000.0]]
    """
    given = np.asarray(b, dtype=float)
    problems = _check_b(given, n, directions=True)
    if given.ndim == 3 and directions is not None:
        problems.append(Problem("must be left out beside b-matrices, but is given", "Remove one", "directions"))
    if given.ndim != 3 and directions is None:
        remedy = "Give (n, 3) unit vectors, or b-matrices (n, 3, 3) as b"
        problems.append(Problem("must be given where b holds b values, but is missing", remedy, "directions"))
    if problems or given.ndim == 3:
        if problems:
            raise ConsistencyError(problems)
        return given
    vectors = np.asarray(directions, dtype=float)
    problems = _check_directions(vectors, given)
    if problems:
        raise ConsistencyError(problems)
    vectors = np.where(given[:, None] > 0, vectors, 0.0)
    return given[:, None, None] * vectors[:, :, None] * vectors[:, None, :]


def tensor_columns(matrices: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, "n 6"]:
    """b-matrices as what multiplies xx, yy, zz, xy, xz, yz of a diffusion tensor.

    Example:
        >>> tensor_columns(np.ones((1, 3, 3))).tolist()
        [[1.0, 1.0, 1.0, 2.0, 2.0, 2.0]]
    """
    return np.stack([matrices[:, i, j] for i, j in _COMPONENTS], axis=1) * _TWICE


def shells(values: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Number of the shell of each b value, from the weakest: neighbours within a twentieth are one shell.

    Imaging gradients and their cross terms make b differ by that much between directions.

    Example:
        >>> shells(np.array([0.0, 1e9, 1.01e9, 0.5e9])).tolist()
        [0, 2, 2, 1]
    """
    order = np.argsort(values, kind="stable")
    sorted_values = values[order]
    gaps = np.diff(sorted_values) > SHELL * sorted_values[1:] + 1e-9 * LEAST
    number = np.zeros(len(values), dtype=int)
    number[order] = np.concatenate([[0], np.cumsum(gaps)])
    return number


@dataclass(frozen=True, kw_only=True, eq=False)
class Powder:
    """Images averaged over the directions of each shell."""

    b: Float[np.ndarray, " shells"]  # mean [s/m²]
    signal: Float[np.ndarray, "voxels shells"]  # geometric mean, weighted
    isotropic: bool  # whether the mean b-matrix of every shell is b/3 along all axes


def powder(signal: Float[np.ndarray, "voxels n"], matrices: Float[np.ndarray, "n 3 3"]) -> Powder:
    """Average over the directions of each shell, geometrically.

    ln S is linear in the b-matrix. So the mean of ln S over directions decays with the mean b-matrix; where that is
    isotropic, as of three orthogonal directions, with b times a third of the tensor's trace. Where imaging gradients
    make b differ between directions, these have shares that keep the mean isotropic.

    Args:
        signal: Magnitudes.
        matrices: b-matrices of the images [s/m²].

    Example:
        >>> along = np.eye(3)[:, :, None] * np.eye(3)[:, None] * 1e9
        >>> powder(np.exp(-np.array([[1.7, 0.3, 0.4]])), along).signal.round(6).tolist()  # exp(-0.8)
        [[0.449329]]
    """
    members = _complete(matrices)
    shares = [_shares(matrices[m]) for m in members]
    with np.errstate(divide="ignore"):
        logs = np.log(signal)
    means = np.stack([np.tensordot(share, matrices[m], axes=1) for share, m in zip(shares, members, strict=True)])
    b = np.trace(means, axis1=1, axis2=2)
    return Powder(
        b=b,
        signal=np.exp(np.stack([logs[:, m] @ share for share, m in zip(shares, members, strict=True)], axis=1)),
        isotropic=bool((_apart(means) <= ISOTROPIC * np.maximum(b, 0.05 * b.max())).all()),
    )


def _apart(means: Float[np.ndarray, "shells 3 3"]) -> Float[np.ndarray, " shells"]:
    """By how much b-matrices differ from b/3 along all axes [s/m²]."""
    b = np.trace(means, axis1=1, axis2=2)
    return np.abs(means - b[:, None, None] / 3.0 * np.eye(3)).max(axis=(1, 2))


def _shares(matrices: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, " n"]:
    """Shares of images in their mean, near equal, with which their mean weights all axes alike if that can be."""
    n, b = len(matrices), np.trace(matrices, axis1=1, axis2=2)
    if n == 1 or b.max() <= 0:
        return np.full(n, 1.0 / n)
    uneven = tensor_columns(matrices - b[:, None, None] / 3.0 * np.eye(3)).T / b.max()
    rows = np.concatenate([uneven, _EVEN * np.eye(n), np.full((1, n), _WHOLE)])
    shares = np.linalg.lstsq(rows, np.concatenate([np.zeros(6), np.full(n, _EVEN / n), [_WHOLE]]), rcond=None)[0]
    return shares / shares.sum() if shares.min() > 0 else np.full(n, 1.0 / n)


def _complete(matrices: Float[np.ndarray, "n 3 3"]) -> list[Int[np.ndarray, " members"]]:
    """Images of each shell; shells of some directions alone are one where together they weight all axes alike.

    Gradients of slices add to b along the slice alone, by a fifth in a stimulated echo.
    """
    number = shells(np.trace(matrices, axis1=1, axis2=2))
    parts = [np.flatnonzero(number == k) for k in range(number.max() + 1)]
    found: list[Int[np.ndarray, " members"]] = []
    while parts:
        taken = next((n for n in range(1, min(_PARTS, len(parts)) + 1) if _even(matrices, parts[:n])), 1)
        found.append(np.concatenate(parts[:taken]))
        parts = parts[taken:]
    return found


def _even(matrices: Float[np.ndarray, "n 3 3"], parts: list[Int[np.ndarray, " members"]]) -> bool:
    """Whether shells that are near each other weight all axes alike together."""
    together = matrices[np.concatenate(parts)]
    b = np.trace(together, axis1=1, axis2=2)
    mean = np.tensordot(_shares(together), together, axes=1)[None]
    return bool(b.max() <= _NEAR * b.min() and _apart(mean)[0] <= _TOGETHER * np.trace(mean[0]))


def _check_b(given: np.ndarray, n: int, directions: bool) -> list[Problem]:
    if given.shape not in ((n,), (n, 3, 3)):
        what = f"one value (or one 3 x 3 matrix) for each of the {n} images, but has shape {given.shape}"
        return [Problem(f"must have {what}", "Give signal with the images along its last axis", "b")]
    if not np.isfinite(given).all():
        return [Problem("must be finite, but holds nan or infinity", path="b")]
    if given.ndim == 3 and not np.allclose(given, np.swapaxes(given, 1, 2), rtol=1e-6, atol=1e-6 * LEAST):
        return [Problem("must be symmetric matrices, but is not", path="b")]
    values = np.trace(given, axis1=1, axis2=2) if given.ndim == 3 else given
    if (values < -1e-6 * LEAST).any():
        return [Problem(f"must be nowhere negative, but is {units.show(values.min(), units.B_VALUE)}", path="b")]
    if values.max(initial=0.0) < LEAST:
        rule = f"must reach at least 1 s/mm^2, but reaches {units.show(values.max(initial=0.0), units.B_VALUE)}"
        return [Problem(rule, "b is in s/m^2: 1000 s/mm^2 is 1e9", "b")]
    return []


def _check_directions(vectors: np.ndarray, b: Float[np.ndarray, " n"]) -> list[Problem]:
    if vectors.shape != (len(b), 3):
        return [Problem(f"must have shape ({len(b)}, 3), but has {vectors.shape}", path="directions")]
    lengths = np.linalg.norm(vectors, axis=1)
    wrong = np.flatnonzero((b > 0) & ~(np.abs(lengths - 1.0) <= UNIT_LENGTH))
    if len(wrong):
        first = wrong[0]
        rule = f"must be of unit length where b is above zero, but number {first} has length {lengths[first]:.4g}"
        return [Problem(rule, "Divide each by its length", "directions")]
    return []
