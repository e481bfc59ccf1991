"""The functions of the language, and the order of lines of an echo train."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np

from mrisim.errors import Problem, SpecError
from mrisim.sequence.diffusion import train_factor
from mrisim.sequence.directions import MOST, even_directions
from mrisim.sequence.values import MAX_LIST, ONES, Quantity, Table, Value, as_whole, ceil, check_room, floor
from mrisim.units import ANGLE, B_VALUE, EXAMPLES, GRADIENT, NUMBER, TIME, Dimension, show


class Caller(Protocol):
    """What evaluates the arguments of a function."""

    def number(self, node: ast.expr) -> Quantity:
        """Value of an argument."""
        ...

    def spell(self, node: ast.expr) -> str:
        """Text of an argument."""
        ...


@dataclass(frozen=True)
class Call:
    """A call: the values of its arguments, and their text for messages."""

    name: str
    values: list[Quantity]
    texts: list[str]
    nodes: list[ast.expr]
    caller: Caller
    arguments: tuple[str, ...] = ()  # names of what is given, in order

    def require(self, index: int, dimension: Dimension, *, lists: bool = True) -> Quantity:
        value = self.values[index]
        if value.dimension != dimension or (value.is_list and not lists):
            kind = "a list" if value.dimension == dimension else value.dimension.noun
            example = f" such as {EXAMPLES[dimension]}" if dimension in EXAMPLES else ""
            raise SpecError(f"must give {self.name}() {dimension.noun}{example}, but '{self.texts[index]}' is {kind}")
        return value

    def constant(self, index: int) -> int:
        value = as_whole(self.require(index, NUMBER, lists=False), self.texts[index])
        if value.size != 1:
            raise SpecError(f"must give {self.name}() a fixed number, but '{self.texts[index]}' varies over a loop")
        return int(value.flat[0])


@dataclass(frozen=True)
class Function:
    """A function of the language; no argument names means any number of arguments."""

    arguments: tuple[str, ...]
    call: Callable[[Call], Value]
    doc: str
    optional: tuple[str, ...] = ()
    takes_complex: bool = False

    def signature(self, name: str) -> str:
        """A call as documentation writes it, such as `ernst(flip, TR, T1, [TE])`."""
        parts = [f"[{part}]" if part in self.optional else part for part in self.arguments]
        return f"{name}({', '.join(parts) if parts else 'a, b, …'})"


def _numeric(
    operation: Callable[[np.ndarray], np.ndarray], takes: Dimension, gives: Dimension
) -> Callable[[Call], Value]:
    def call(c: Call) -> Value:
        value = c.require(0, takes)
        return Quantity(operation(value.values), gives, value.is_list)

    return call


def _keep(operation: Callable[[np.ndarray], np.ndarray]) -> Callable[[Call], Value]:
    return lambda c: Quantity(operation(c.values[0].values), c.values[0].dimension, c.values[0].is_list)


def _sign(c: Call) -> Value:
    return Quantity(np.sign(c.values[0].values), NUMBER, c.values[0].is_list)


def _sqrt(c: Call) -> Value:
    value = c.values[0]
    return Quantity(np.sqrt(value.values), value.dimension ** Fraction(1, 2), value.is_list)


def _extreme(operation: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[Call], Value]:
    def call(c: Call) -> Value:
        values = c.values
        if len(values) == 1 and values[0].is_list:
            return Quantity(_reduce(operation, values[0].values), values[0].dimension)
        given = [c.require(i, values[0].dimension) for i in range(len(values))]
        lengths = {len(value.values) for value in given if value.is_list}
        if len(lengths) > 1:
            raise SpecError(
                f"must give {c.name}() lists of equal length, but they have {min(lengths)} and {max(lengths)}"
            )
        return Quantity(_reduce(operation, [value.values for value in values]), values[0].dimension, bool(lengths))

    return call


def _reduce(operation: Callable[[np.ndarray, np.ndarray], np.ndarray], items) -> np.ndarray:
    result = items[0]
    for one in items[1:]:
        check_room([result.shape, one.shape])
        result = operation(result, one)
    return result


def _len(c: Call) -> Value:
    if not c.values[0].is_list:
        raise SpecError(f"must give len() a list, but '{c.texts[0]}' is none")
    return Quantity(np.full(ONES, float(len(c.values[0].values))))


def _sum(c: Call) -> Value:
    if not c.values[0].is_list:
        raise SpecError(f"must give sum() a list, but '{c.texts[0]}' is none")
    return Quantity(c.values[0].values.sum(axis=0), c.values[0].dimension)


def _diff(c: Call) -> Value:
    value = c.values[0]
    if not value.is_list or len(value.values) < 2:
        raise SpecError(f"must give diff() a list of at least two items, but '{c.texts[0]}' is none")
    return Quantity(np.diff(value.values, axis=0), value.dimension, True)


def _atan2(c: Call) -> Value:
    y, x = c.require(0, c.values[1].dimension, lists=False), c.require(1, c.values[0].dimension, lists=False)
    return Quantity(np.degrees(np.arctan2(y.values, x.values)), ANGLE)


def _whole(c: Call) -> Value:
    try:
        return Quantity(as_whole(c.require(0, NUMBER, lists=False), c.texts[0]).astype(float))
    except SpecError as error:
        remedy = _divisors(c)
        raise SpecError([Problem(problem.rule, remedy) for problem in error.problems]) from None


def _divisors(c: Call) -> str:
    """Remedy for a division that must be whole: the divisors nearest to the one given."""
    node = c.nodes[0]
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)):
        return ""
    a, b = c.caller.number(node.left), c.caller.number(node.right)
    if a.values.size != 1 or b.values.size != 1 or a.dimension != NUMBER:
        return ""
    total, divisor = float(a.values.flat[0]), float(b.values.flat[0])
    if not (total == round(total) and 0 < total <= 1e6 and divisor > 0):
        return ""
    candidates = np.arange(1, int(total) + 1)
    candidates = candidates[int(total) % candidates == 0]
    nearest = sorted(candidates[np.argsort(np.abs(np.log(candidates / divisor)))[:3]])
    names = " or ".join(str(n) for n in nearest)
    return f"Set {c.caller.spell(node.right)} to a divisor of {total:.0f}, such as {names}"


def _linspace(c: Call) -> Value:
    n = c.constant(2)
    if not 1 <= n <= MAX_LIST:
        raise SpecError(f"must give linspace() a count from 1 to {MAX_LIST}, but '{c.texts[2]}' is {n}")
    a, b = c.require(0, c.values[1].dimension, lists=False), c.require(1, c.values[0].dimension, lists=False)
    _fixed(c)
    return Quantity(np.linspace(a.values, b.values, n), a.dimension, True)


def _count(c: Call) -> Value:
    """`count(n)`: 0, 1, … n - 1 as a list."""
    n = c.constant(0)
    if not 1 <= n <= MAX_LIST:
        raise SpecError(f"must give count() a number from 1 to {MAX_LIST}, but '{c.texts[0]}' is {n}")
    return Quantity(np.arange(n, dtype=float).reshape(n, *ONES), NUMBER, True)


def _fixed(c: Call) -> None:
    for value, text in zip(c.values, c.texts, strict=True):
        if value.varies:
            raise SpecError(f"must give {c.name}() fixed values, but '{text}' varies over a loop")


def _multiples(c: Call, index: int) -> str:
    """Remedy for a division that must be whole: the multiples of the divisor nearest to what is divided."""
    node = c.nodes[index]
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)):
        return ""
    a, b = c.caller.number(node.left), c.caller.number(node.right)
    if a.values.size != 1 or b.values.size != 1 or a.is_list or b.is_list:
        return ""
    total, step = float(a.values.flat[0]), float(b.values.flat[0])
    if not total > step > 0:
        return ""
    below, above = (show(times * step, a.dimension) for times in (total // step, total // step + 1))
    names = c.caller.spell(node.left), c.caller.spell(node.right)
    return f"Set {names[0]} to a multiple of {names[1]}, such as {below} or {above}"


def _echo_order(c: Call) -> Value:
    lines, train = c.constant(0), c.constant(1)
    try:
        center = c.constant(2)
    except SpecError as error:
        raise SpecError([Problem(problem.rule, _multiples(c, 2)) for problem in error.problems]) from None
    if not 1 <= lines <= 65536 or train < 1:
        raise SpecError(f"must have 1 to 65536 lines and at least 1 echo, but has {lines} lines and {train} echoes")
    if lines % train:
        raise SpecError(
            Problem(
                f"must have whole trains, but {c.texts[0]} / {c.texts[1]} is {lines / train:.6g}",
                f"Set {c.texts[1]} to a divisor of {lines}",
            )
        )
    if not 1 <= center <= train:
        rule = f"must have the center echo between 1 and {train}, but '{c.texts[2]}' is {center}"
        raise SpecError(Problem(rule, f"Change {c.texts[2]}, or {c.texts[1]}"))
    return Table(echo_order(lines, train, center))


def echo_order(lines: int, train: int, center_echo: int) -> np.ndarray:
    """Line of each shot and echo, so that the line k = 0 is acquired at one echo of the train.

    k-space is cut into `train` bands of neighbouring lines. The band of k = 0 goes to the center echo; from there bands
    below and above go to earlier and later echoes as long as both sides last, then by distance from the center, so the
    signal never jumps next to k = 0.

    Args:
        lines: Number of lines, a multiple of `train`; k = 0 is line lines // 2.
        train: Echoes per excitation.
        center_echo: The echo of k = 0, from 1.

    Returns:
        (shots, train) line numbers.

    Source:
        Segmentation by bands: Hennig et al., Magn Reson Med 3:823 (1986).

    Example:
        >>> echo_order(8, 4, 2).tolist()
        [[2, 4, 6, 0], [3, 5, 7, 1]]
    """
    shots = lines // train
    center, middle = center_echo - 1, (lines // 2) // shots
    earlier, later = list(range(center - 1, -1, -1)), list(range(center + 1, train))
    below, above = list(range(middle - 1, -1, -1)), list(range(middle + 1, train))
    both = min(len(earlier), len(later), len(below), len(above))
    band_of = {center: middle}
    band_of |= dict(zip(earlier[:both], below[:both], strict=True)) | dict(zip(later[:both], above[:both], strict=True))
    echoes = sorted(earlier[both:] + later[both:], key=lambda e: abs(e - center))
    bands = sorted(below[both:] + above[both:], key=lambda b: abs(b - middle))
    band_of |= dict(zip(echoes, bands, strict=True))
    return np.arange(shots)[:, None] + shots * np.array([band_of[e] for e in range(train)])[None, :]


def _sphere(c: Call) -> Value:
    n = c.constant(0)
    if not 1 <= n <= MOST:
        raise SpecError(f"must give sphere() a number from 1 to {MOST}, but '{c.texts[0]}' is {n}")
    return Table(even_directions(n), vectors=True)


def _diffusion_factor(c: Call) -> Value:
    """b over amplitude² of a train of trapezoids."""
    _fixed(c)
    starts, durations, signs, rise = (c.require(i, TIME if i != 2 else NUMBER) for i in range(4))
    if not (starts.is_list and durations.is_list and signs.is_list) or rise.is_list:
        raise SpecError("must give diffusion_factor() lists of starts, durations and signs, and one rise time")
    if len({len(one.values) for one in (starts, durations, signs)}) > 1:
        raise SpecError("must give diffusion_factor() lists of equal length, but they differ")
    numbers = [one.values.reshape(-1) for one in (starts, durations, signs)]
    value = train_factor(numbers[0], numbers[1], np.sign(numbers[2]), float(rise.values.flat[0]))
    return Quantity.of(value, B_VALUE / GRADIENT**2)


FUNCTIONS: Mapping[str, Function] = {
    "abs": Function(("x",), _keep(np.abs), "magnitude", takes_complex=True),
    "min": Function((), _extreme(np.minimum), "smallest of its arguments, item by item in lists, or of one list"),
    "max": Function((), _extreme(np.maximum), "largest, likewise"),
    "sqrt": Function(("x",), _sqrt, "square root"),
    "exp": Function(("x",), _numeric(np.exp, NUMBER, NUMBER), "exponential of a number", takes_complex=True),
    "log": Function(("x",), _numeric(np.log, NUMBER, NUMBER), "natural logarithm"),
    "sin": Function(("x",), _numeric(lambda x: np.sin(np.radians(x)), ANGLE, NUMBER), "sine of an angle"),
    "cos": Function(("x",), _numeric(lambda x: np.cos(np.radians(x)), ANGLE, NUMBER), "cosine of an angle"),
    "tan": Function(("x",), _numeric(lambda x: np.tan(np.radians(x)), ANGLE, NUMBER), "tangent of an angle"),
    "asin": Function(("x",), _numeric(lambda x: np.degrees(np.arcsin(x)), NUMBER, ANGLE), "angle of a sine"),
    "acos": Function(("x",), _numeric(lambda x: np.degrees(np.arccos(x)), NUMBER, ANGLE), "angle of a cosine"),
    "atan": Function(("x",), _numeric(lambda x: np.degrees(np.arctan(x)), NUMBER, ANGLE), "angle of a tangent"),
    "atan2": Function(("y", "x"), _atan2, "angle of a vector"),
    "floor": Function(("x",), _numeric(floor, NUMBER, NUMBER), "whole number at or below"),
    "ceil": Function(("x",), _numeric(ceil, NUMBER, NUMBER), "whole number at or above"),
    "round": Function(("x",), _numeric(lambda x: floor(x + 0.5), NUMBER, NUMBER), "nearest whole number"),
    "whole": Function(("x",), _whole, "a number that must be whole; an error names what would be"),
    "sign": Function(("x",), _sign, "-1, 0 or 1"),
    "len": Function(("x",), _len, "number of items of a list"),
    "sum": Function(("x",), _sum, "sum of a list"),
    "diff": Function(("x",), _diff, "steps between neighboring items of a list"),
    "count": Function(("n",), _count, "the list 0, 1, … n - 1"),
    "linspace": Function(("first", "last", "n"), _linspace, "n equidistant values from first to last"),
    "sphere": Function(("n",), _sphere, "axis(i) → unit vector [x, y, z]; n directions spread evenly, 3 are the axes"),
    "diffusion_factor": Function(
        ("starts", "durations", "signs", "rise_time"), _diffusion_factor, "b / amplitude² of a train of trapezoids"
    ),
    "echo_order": Function(
        ("lines", "train", "center_echo"), _echo_order, "order(shot, echo) → line; k = 0 at the center echo, from 1"
    ),
}  # fmt: skip
