"""Expressions of the specification language: a whitelisted syntax tree, evaluated with dimensions over whole loops.

A value is an array over the loops of the timeline: axis d belongs to the loop at depth d, and a length of 1 means that
the value does not depend on it. A list carries its items on one more axis in front. Nothing is called but the functions
of `FUNCTIONS`, no attribute of a Python object is ever read, and text, tree, exponents and lists are bounded.

Inside, angles count in degrees, so that a phase of 117 deg · n(n+1)/2 stays a whole number and its remainder exact.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Protocol

import numpy as np

from mrisim.errors import Problem, SpecError
from mrisim.source import did_you_mean
from mrisim.units import ANGLE, EXAMPLES, NUMBER, NUMBER_PATTERN, UNIT_PATTERN, Dimension, show, unit

MAX_LOOPS = 8
"""Deepest nest of loops; the number of axes of every value."""
MAX_TEXT = 2000
MAX_TREE = 500
MAX_LIST = 1_000_000
MAX_POWER = 16
MAX_SIZE = 20_000_000
SNAP = 1e-9  # how near a number must be to a whole one to count as whole, relative above 1
_ONES = (1,) * MAX_LOOPS
_DEGREE = math.pi / 180.0

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
CONSTANTS = {"pi": math.pi}


@dataclass(frozen=True, eq=False)
class Quantity:
    """Values over the loops with one dimension; a list has its items on axis 0."""

    values: np.ndarray
    dimension: Dimension = NUMBER
    is_list: bool = False

    @staticmethod
    def of(value: object, dimension: Dimension = NUMBER) -> Quantity:
        """Quantity that does not depend on a loop, from a number in SI, true or false, or a sequence of them."""
        array = np.asarray(value)
        array = array if array.dtype == bool else array.astype(float)
        if array.dtype != bool:
            array = _snap_angle(array * _from_si(dimension), dimension)
        return Quantity(array.reshape((*array.shape, *_ONES)), dimension, array.ndim == 1)

    @property
    def is_bool(self) -> bool:
        return self.values.dtype == bool

    @property
    def varies(self) -> bool:
        """Whether it depends on a loop."""
        return self.values.size > (len(self.values) if self.is_list else 1)

    def si(self) -> np.ndarray:
        """Values in SI, angles in rad."""
        return self.values if self.is_bool else self.values / _from_si(self.dimension)

    def describe(self) -> str:
        """The first value as a user would write it."""
        if self.is_list:
            return f"a list of {len(self.values)}"
        first = self.values.flat[0]
        if self.is_bool:
            return "true" if first else "false"
        return show(float(first) / _from_si(self.dimension), self.dimension)


@dataclass(frozen=True, eq=False)
class Table:
    """A function of whole numbers: what `echo_order` gives."""

    values: np.ndarray  # (shots, echoes)


Value = Quantity | Table


def _from_si(dimension: Dimension) -> float:
    return _DEGREE ** float(-dimension.rad)


def _snap_angle(values: np.ndarray, dimension: Dimension) -> np.ndarray:
    """Angles given in rad come out as the degrees that were meant: 117.00000000000001 is 117."""
    if dimension != ANGLE:
        return values
    near = np.round(values, 9)
    return np.where(np.abs(values - near) <= 4e-16 * np.abs(values), near, values)


class Scope(Protocol):
    """Where names get their values."""

    def lookup(self, name: str) -> Value:
        """Value of a parameter, definition or loop variable."""
        ...

    def knows(self, name: str) -> bool:
        """Whether a name has a value, be it a wrong one."""
        ...

    def attribute(self, path: tuple[str, ...]) -> Value:
        """Value of a dotted name: a component of a list or a property of an event."""
        ...


@dataclass(frozen=True, eq=False)
class Expression:
    """Parsed text, ready to be evaluated in any scope."""

    text: str
    tree: ast.expr
    literals: tuple[Quantity, ...]
    names: frozenset[str] = field(default_factory=frozenset)  # first parts of the names that it refers to
    dotted: frozenset[tuple[str, ...]] = field(default_factory=frozenset)

    def evaluate(self, scope: Scope) -> Value:
        """Value in a scope.

        Raises:
            SpecError: dimensions that do not fit, undefined values, names that are not there.
        """
        with np.errstate(all="ignore"):
            value = _Evaluator(self, scope).visit(self.tree)
        if isinstance(value, Quantity) and not value.is_bool and not np.isfinite(value.values).all():
            raise SpecError(f"must be finite, but '{self.text}' is not")
        return value


_UNSIGNED = NUMBER_PATTERN.removeprefix("[+-]?")
_LITERAL = re.compile(rf"(?<![\w.])(?P<number>(?>{_UNSIGNED}))\s*(?P<unit>{UNIT_PATTERN})(?![\w(\[.])")
_PLAIN_NUMBER = re.compile(rf"\s*{NUMBER_PATTERN}\s*")
_ATOM_UNITS = ("s", "ms", "us", "m", "cm", "mm", "um", "rad", "deg", "Hz", "kHz", "MHz", "T", "ppm")
_PLACEHOLDER = "__literal_{}"


@lru_cache(maxsize=4096)
def parse_expression(text: str, gamma: float) -> Expression:
    """Expression of a text.

    Args:
        text: For example `max(n, 0) * spoil + 5 deg`.
        gamma: Gyromagnetic ratio over 2 pi [Hz/T], for units such as mT/m.

    Raises:
        SpecError: no expression of the language.
    """
    if len(text) > MAX_TEXT:
        raise SpecError(f"must be an expression of at most {MAX_TEXT} characters, but has {len(text)}")
    if not text.replace("µ", "u").isascii():
        raise SpecError(f"must be written in plain letters, but is '{_short(text)}'")
    if "__" in text:
        raise SpecError(f"must be an expression without '__', but is '{_short(text)}'")
    literals: list[Quantity] = []

    def replace(match: re.Match[str]) -> str:
        rest = text[match.end() :].lstrip()
        if match["unit"] == "1" or (match["unit"] == "%" and re.match(r"[\w(.]", rest)):
            return match[0]  # no unit; a remainder
        factor, dimension = unit(match["unit"], gamma)
        scale = factor * _from_si(dimension)
        scale = round(scale) if dimension == ANGLE and abs(scale - round(scale)) < 1e-12 else scale
        literals.append(Quantity(np.full(_ONES, float(match["number"]) * scale), dimension))
        return _PLACEHOLDER.format(len(literals) - 1)

    code = _LITERAL.sub(replace, text).replace("^", "**")
    try:
        tree = ast.parse(code.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        rule = f"must be an expression, but is '{_short(text)}'"
        raise SpecError(Problem(rule, _syntax_remedy(text))) from None
    _check_tree(tree, text)
    names = frozenset(n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and not n.id.startswith("__"))
    dotted = frozenset(_dotted(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute) and _is_dotted(n))
    called = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    names -= {name for name in called if name in FUNCTIONS}
    return Expression(text.strip(), tree, tuple(literals), names, dotted)


def _syntax_remedy(text: str) -> str:
    if ".." in text:
        return "Write ranges 'a .. b' in loops only"
    match = re.search(r"\d\s*([A-Za-zµ][\w/^]*)", text)
    known = [*_ATOM_UNITS, "mT/m", "T/m/s"]
    return did_you_mean(match[1], known) if match and match[1] not in known else ""


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "…"


_ALLOWED = (
    ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Call, ast.Name, ast.Attribute, ast.Subscript,
    ast.Constant, ast.List, ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context, ast.keyword,
)  # fmt: skip
_REFUSED = (ast.MatMult, ast.LShift, ast.RShift, ast.BitOr, ast.BitAnd, ast.BitXor, ast.Invert, ast.Is, ast.IsNot,
            ast.In, ast.NotIn)  # fmt: skip


def _check_tree(tree: ast.expr, text: str) -> None:
    nodes = list(ast.walk(tree))
    if len(nodes) > MAX_TREE:
        raise SpecError(f"must be an expression of at most {MAX_TREE} parts, but has {len(nodes)}")
    for node in nodes:
        if not isinstance(node, _ALLOWED) or isinstance(node, _REFUSED):
            raise SpecError(f"must not use {_WORDS.get(type(node), type(node).__name__)}, but '{_short(text)}' does")
        if isinstance(node, ast.Constant) and (
            isinstance(node.value, (str, bytes, complex)) or node.value in (None, ...)
        ):
            raise SpecError(f"must be numbers and names, but '{_short(text)}' holds {node.value!r}")
        if isinstance(node, ast.Name) and not (NAME.fullmatch(node.id) or node.id.startswith("__literal_")):
            raise SpecError(f"must have names of letters, digits and _, but has '{_short(node.id)}'")
        if isinstance(node, ast.Attribute) and not _is_dotted(node):
            raise SpecError(f"must name a property as event.part.property, but is '{_short(text)}'")


_WORDS = {
    ast.Lambda: "functions of its own", ast.ListComp: "a comprehension", ast.Dict: "a mapping", ast.Set: "a set",
    ast.JoinedStr: "text", ast.Tuple: "a comma outside a function or a list", ast.BitOr: "'|'", ast.BitAnd: "'&'",
    ast.NamedExpr: "an assignment", ast.In: "'in'", ast.Slice: "a slice", ast.Starred: "'*' before a name",
}  # fmt: skip


def _is_dotted(node: ast.expr) -> bool:
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name)


def _dotted(node: ast.expr) -> tuple[str, ...]:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    assert isinstance(node, ast.Name)
    return (node.id, *reversed(parts))


class _Evaluator(ast.NodeVisitor):
    def __init__(self, expression: Expression, scope: Scope):
        self.expression = expression
        self.scope = scope

    def quantity(self, node: ast.expr) -> Quantity:
        value = self.visit(node)
        if not isinstance(value, Quantity):
            raise SpecError(f"must be a number or a list, but '{self.spell(node)}' is an order of lines")
        return value

    def number(self, node: ast.expr) -> Quantity:
        value = self.quantity(node)
        if value.is_bool:
            raise SpecError(f"must calculate with numbers, but '{self.spell(node)}' is true or false")
        return value

    def spell(self, node: ast.expr) -> str:
        text = ast.unparse(node)
        return _short(re.sub(r"__literal_(\d+)", lambda m: self.expression.literals[int(m[1])].describe(), text))

    def generic_visit(self, node: ast.AST) -> Value:
        raise SpecError(f"must not use {type(node).__name__}, but '{_short(self.expression.text)}' does")

    def visit_Constant(self, node: ast.Constant) -> Value:
        if isinstance(node.value, bool):
            return Quantity(np.full(_ONES, node.value))
        try:
            return Quantity(np.full(_ONES, float(node.value)))
        except OverflowError:
            raise SpecError("must be numbers below 1e308, but holds a larger one") from None

    def visit_Name(self, node: ast.Name) -> Value:
        if node.id.startswith("__literal_"):
            return self.expression.literals[int(node.id.removeprefix("__literal_"))]
        if node.id in ("true", "false"):
            return Quantity(np.full(_ONES, node.id == "true"))
        if node.id in CONSTANTS:
            return Quantity(np.full(_ONES, CONSTANTS[node.id]))
        if node.id in FUNCTIONS:
            raise SpecError(f"must call the function {node.id} with arguments in parentheses, but does not")
        return self.scope.lookup(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> Value:
        return self.scope.attribute(_dotted(node))

    def visit_List(self, node: ast.List) -> Value:
        return stack([self.number(item) for item in node.elts])

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Value:
        if isinstance(node.op, ast.Not):
            value = self._truth(node.operand)
            return Quantity(~value.values)
        value = self.number(node.operand)
        sign = -1.0 if isinstance(node.op, ast.USub) else 1.0
        return Quantity(sign * value.values, value.dimension, value.is_list)

    def visit_BinOp(self, node: ast.BinOp) -> Value:
        a, b = self.number(node.left), self.number(node.right)
        if isinstance(node.op, ast.Pow):
            return self._power(node, a, b)
        values_a, values_b = _items(a, b, self.spell(node))
        is_list = a.is_list or b.is_list
        if isinstance(node.op, ast.Mult):
            return Quantity(values_a * values_b, a.dimension * b.dimension, is_list)
        if isinstance(node.op, ast.Div):
            return Quantity(values_a / values_b, a.dimension / b.dimension, is_list)
        self._same(node.left, a, node.right, b)
        if isinstance(node.op, ast.Add):
            return Quantity(values_a + values_b, a.dimension, is_list)
        if isinstance(node.op, ast.Sub):
            return Quantity(values_a - values_b, a.dimension, is_list)
        quotient = floor(values_a / values_b)
        if isinstance(node.op, ast.FloorDiv):
            return Quantity(quotient, NUMBER, is_list)
        return Quantity(values_a - quotient * values_b, a.dimension, is_list)

    def _power(self, node: ast.BinOp, a: Quantity, b: Quantity) -> Quantity:
        if b.dimension != NUMBER or b.is_list:
            raise SpecError(f"must have a number as exponent, but '{self.spell(node.right)}' is a {b.dimension}")
        if np.abs(b.values).max(initial=0.0) > MAX_POWER:
            raise SpecError(f"must have exponents up to {MAX_POWER}, but '{self.spell(node)}' has a larger one")
        dimension = NUMBER
        if a.dimension != NUMBER:
            if b.values.size != 1:
                raise SpecError(f"must have one exponent for a {a.dimension}, but '{self.spell(node.right)}' varies")
            exponent = Fraction(float(b.values.flat[0])).limit_denominator(12)
            dimension = a.dimension**exponent
        return Quantity(a.values**b.values, dimension, a.is_list)

    def _same(self, left: ast.expr, a: Quantity, right: ast.expr, b: Quantity) -> None:
        if a.dimension != b.dimension:
            raise SpecError(
                f"must combine equal dimensions, but '{self.spell(left)}' is a {a.dimension} and "
                f"'{self.spell(right)}' a {b.dimension}"
            )

    def visit_Compare(self, node: ast.Compare) -> Value:
        result = np.full(_ONES, True)
        nodes = [node.left, *node.comparators]
        for left, operator, right in zip(nodes, node.ops, nodes[1:], strict=False):
            a, b = self.number(left), self.number(right)
            self._same(left, a, right, b)
            if a.is_list or b.is_list:
                raise SpecError(f"must compare numbers, but '{self.spell(node)}' compares a list")
            check_room([result.shape, a.values.shape, b.values.shape])
            result = result & _compare(operator, a.values, b.values)
        return Quantity(result)

    def visit_BoolOp(self, node: ast.BoolOp) -> Value:
        parts = [self._truth(value).values for value in node.values]
        combine = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        result = parts[0]
        for part in parts[1:]:
            check_room([result.shape, part.shape])
            result = combine(result, part)
        return Quantity(result)

    def _truth(self, node: ast.expr) -> Quantity:
        value = self.quantity(node)
        if not value.is_bool or value.is_list:
            raise SpecError(f"must be true or false, but '{self.spell(node)}' is a {value.dimension}")
        return value

    def visit_IfExp(self, node: ast.IfExp) -> Value:
        condition, a, b = self._truth(node.test), self.quantity(node.body), self.quantity(node.orelse)
        self._same(node.body, a, node.orelse, b)
        if a.is_bool != b.is_bool:
            raise SpecError(f"must give the same kind on both sides of 'else', but '{self.spell(node)}' does not")
        values_a, values_b = _items(a, b, self.spell(node))
        check_room([condition.values.shape, values_a.shape, values_b.shape])
        return Quantity(np.where(condition.values, values_a, values_b), a.dimension, a.is_list or b.is_list)

    def visit_Subscript(self, node: ast.Subscript) -> Value:
        values, index = self.quantity(node.value), self.number(node.slice)
        if not values.is_list:
            raise SpecError(f"must be a list to have items, but '{self.spell(node.value)}' is none")
        return item(values, index, self.spell(node))

    def visit_Call(self, node: ast.Call) -> Value:
        if not isinstance(node.func, ast.Name):
            raise SpecError(f"must call functions of the language only, but calls '{self.spell(node.func)}'")
        name = node.func.id
        if name not in FUNCTIONS:
            return self._apply(node, name)
        function = FUNCTIONS[name]
        if any(keyword.arg is None for keyword in node.keywords):
            raise SpecError(f"must give the arguments of {name} one by one, but has '**'")
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        nodes = dict(zip(function.arguments, node.args, strict=False))
        known = len(node.args) <= len(function.arguments) and set(given) <= set(function.arguments) - set(nodes)
        if function.arguments and (not known or len(nodes | given) != len(function.arguments)):
            raise SpecError(f"must call {name}({', '.join(function.arguments)}), but is '{self.spell(node)}'")
        if not function.arguments and (given or not node.args):
            raise SpecError(f"must call {name}(a, b, …), but is '{self.spell(node)}'")
        nodes = nodes | given
        ordered = [nodes[argument] for argument in function.arguments] if function.arguments else node.args
        values = [self.number(argument) for argument in ordered]
        return function.call(_Call(name, values, [self.spell(n) for n in ordered], ordered, self))

    def _apply(self, node: ast.Call, name: str) -> Quantity:
        table = self.scope.lookup(name) if self.scope.knows(name) else None
        if not isinstance(table, Table):
            remedy = did_you_mean(name, FUNCTIONS)
            raise SpecError(Problem(f"must call functions of the language only, but calls '{name}'", remedy))
        if node.keywords or len(node.args) != table.values.ndim:
            raise SpecError(f"must call {name} with {table.values.ndim} numbers, but is '{self.spell(node)}'")
        index = []
        for argument, size in zip(node.args, table.values.shape, strict=True):
            value = self.number(argument)
            whole = as_whole(value, self.spell(argument))
            if whole.min() < 0 or whole.max() >= size:
                worst = whole.min() if whole.min() < 0 else whole.max()
                raise SpecError(f"must lie between 0 and {size - 1}, but '{self.spell(argument)}' is {worst}")
            index.append(whole)
        return Quantity(table.values[tuple(np.broadcast_arrays(*index))].astype(float))


def _compare(operator: ast.cmpop, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    near = np.isclose(a, b, rtol=SNAP, atol=0.0)
    if isinstance(operator, ast.Eq):
        return near
    if isinstance(operator, ast.NotEq):
        return ~near
    if isinstance(operator, ast.Lt):
        return (a < b) & ~near
    if isinstance(operator, ast.LtE):
        return (a <= b) | near
    return (a > b) & ~near if isinstance(operator, ast.Gt) else (a >= b) | near


def check_room(shapes: list[tuple[int, ...]]) -> None:
    """Refuse values over more than `MAX_SIZE` points before they take memory.

    Raises:
        SpecError: too many points.
    """
    size = math.prod(np.broadcast_shapes(*shapes))
    if size > MAX_SIZE:
        raise SpecError(f"must have at most {MAX_SIZE} values over all loops, but has {size}")


def _items(a: Quantity, b: Quantity, text: str) -> tuple[np.ndarray, np.ndarray]:
    if a.is_list and b.is_list and len(a.values) != len(b.values):
        raise SpecError(f"must combine lists of equal length, but '{text}' has {len(a.values)} and {len(b.values)}")
    check_room([a.values.shape, b.values.shape])
    return a.values, b.values


def stack(items: list[Quantity]) -> Quantity:
    """List of quantities.

    Raises:
        SpecError: items of different dimensions, or lists in a list.
    """
    if not items:
        raise SpecError("must be a list of at least one item, but is empty")
    for one in items:
        if one.is_list:
            raise SpecError("must be a list of numbers, but holds a list")
        if one.dimension != items[0].dimension or one.is_bool != items[0].is_bool:
            raise SpecError(f"must be a list of one dimension, but holds a {items[0].dimension} and a {one.dimension}")
    check_room([(len(items), *np.broadcast_shapes(*(i.values.shape for i in items)))])
    return Quantity(np.stack(np.broadcast_arrays(*(i.values for i in items))), items[0].dimension, True)


def item(values: Quantity, index: Quantity, text: str) -> Quantity:
    """Items of a list at indices that may vary over loops; negative ones count from the end."""
    n = len(values.values)
    whole = as_whole(index, text)
    if whole.min() < -n or whole.max() >= n:
        worst = whole.min() if whole.min() < -n else whole.max()
        raise SpecError(f"must have an index from 0 to {n - 1}, but '{text}' has {worst}")
    if whole.size == 1:
        return Quantity(values.values[int(whole.flat[0])], values.dimension)
    check_room([values.values.shape, whole.shape])
    shape = np.broadcast_shapes(values.values.shape[1:], whole.shape)
    spread = np.broadcast_to(values.values, (n, *shape))
    picked = np.take_along_axis(spread, np.broadcast_to(whole % n, shape)[None], axis=0)[0]
    return Quantity(picked, values.dimension)


def as_whole(value: Quantity, text: str) -> np.ndarray:
    """Whole numbers of a quantity.

    Raises:
        SpecError: a dimension, or a number that is not whole.
    """
    if value.dimension != NUMBER or value.is_bool or value.is_list:
        kind = "a list" if value.is_list else "true or false" if value.is_bool else f"a {value.dimension}"
        raise SpecError(f"must be a whole number, but '{text}' is {kind}")
    near = np.round(value.values)
    off = np.abs(value.values - near) > SNAP * np.maximum(1.0, np.abs(near))
    if off.any():
        raise SpecError(f"must be whole, but {text} is {value.values[off].flat[0]:.6g}")
    if np.abs(near).max(initial=0.0) > 2**53:
        raise SpecError(f"must be below 2^53, but {text} is {np.abs(near).max():.6g}")
    return near.astype(np.int64)


def floor(values: np.ndarray) -> np.ndarray:
    """Floor that takes a number within rounding of a whole one as that one."""
    return np.floor(values + SNAP * np.maximum(1.0, np.abs(values)))


def ceil(values: np.ndarray) -> np.ndarray:
    """Ceiling that takes a number within rounding of a whole one as that one."""
    return np.ceil(values - SNAP * np.maximum(1.0, np.abs(values)))


@dataclass(frozen=True)
class _Call:
    name: str
    values: list[Quantity]
    texts: list[str]
    nodes: list[ast.expr]
    evaluator: _Evaluator

    def require(self, index: int, dimension: Dimension, *, lists: bool = True) -> Quantity:
        value = self.values[index]
        if value.dimension != dimension or (value.is_list and not lists):
            kind = "list" if value.dimension == dimension else value.dimension
            example = f" such as {EXAMPLES[dimension]}" if dimension in EXAMPLES else ""
            raise SpecError(f"must give {self.name}() a {dimension}{example}, but '{self.texts[index]}' is a {kind}")
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
    call: Callable[[_Call], Value]
    doc: str


def _numeric(
    operation: Callable[[np.ndarray], np.ndarray], takes: Dimension, gives: Dimension
) -> Callable[[_Call], Value]:
    def call(c: _Call) -> Value:
        value = c.require(0, takes)
        return Quantity(operation(value.values), gives, value.is_list)

    return call


def _keep(operation: Callable[[np.ndarray], np.ndarray]) -> Callable[[_Call], Value]:
    return lambda c: Quantity(operation(c.values[0].values), c.values[0].dimension, c.values[0].is_list)


def _sign(c: _Call) -> Value:
    return Quantity(np.sign(c.values[0].values), NUMBER, c.values[0].is_list)


def _sqrt(c: _Call) -> Value:
    value = c.values[0]
    return Quantity(np.sqrt(value.values), value.dimension ** Fraction(1, 2), value.is_list)


def _extreme(operation: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[_Call], Value]:
    def call(c: _Call) -> Value:
        values = c.values
        if len(values) == 1 and values[0].is_list:
            return Quantity(_reduce(operation, values[0].values), values[0].dimension)
        for i, value in enumerate(values):
            c.require(i, values[0].dimension, lists=False)
            del value
        return Quantity(_reduce(operation, [value.values for value in values]), values[0].dimension)

    return call


def _reduce(operation: Callable[[np.ndarray, np.ndarray], np.ndarray], items) -> np.ndarray:
    result = items[0]
    for one in items[1:]:
        check_room([result.shape, one.shape])
        result = operation(result, one)
    return result


def _len(c: _Call) -> Value:
    if not c.values[0].is_list:
        raise SpecError(f"must give len() a list, but '{c.texts[0]}' is none")
    return Quantity(np.full(_ONES, float(len(c.values[0].values))))


def _sum(c: _Call) -> Value:
    if not c.values[0].is_list:
        raise SpecError(f"must give sum() a list, but '{c.texts[0]}' is none")
    return Quantity(c.values[0].values.sum(axis=0), c.values[0].dimension)


def _atan2(c: _Call) -> Value:
    y, x = c.require(0, c.values[1].dimension, lists=False), c.require(1, c.values[0].dimension, lists=False)
    return Quantity(np.degrees(np.arctan2(y.values, x.values)), ANGLE)


def _whole(c: _Call) -> Value:
    try:
        return Quantity(as_whole(c.require(0, NUMBER, lists=False), c.texts[0]).astype(float))
    except SpecError as error:
        remedy = _divisors(c)
        raise SpecError([Problem(problem.rule, remedy) for problem in error.problems]) from None


def _divisors(c: _Call) -> str:
    """Remedy for a division that must be whole: the divisors nearest to the one given."""
    node = c.nodes[0]
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)):
        return ""
    a, b = c.evaluator.number(node.left), c.evaluator.number(node.right)
    if a.values.size != 1 or b.values.size != 1 or a.dimension != NUMBER:
        return ""
    total, divisor = float(a.values.flat[0]), float(b.values.flat[0])
    if not (total == round(total) and 0 < total <= 1e6 and divisor > 0):
        return ""
    candidates = np.arange(1, int(total) + 1)
    candidates = candidates[int(total) % candidates == 0]
    nearest = sorted(candidates[np.argsort(np.abs(np.log(candidates / divisor)))[:3]])
    names = " or ".join(str(n) for n in nearest)
    return f"Set {c.evaluator.spell(node.right)} to a divisor of {total:.0f}, such as {names}"


def _linspace(c: _Call) -> Value:
    n = c.constant(2)
    if not 1 <= n <= MAX_LIST:
        raise SpecError(f"must give linspace() a count from 1 to {MAX_LIST}, but '{c.texts[2]}' is {n}")
    a, b = c.require(0, c.values[1].dimension, lists=False), c.require(1, c.values[0].dimension, lists=False)
    _fixed(c)
    return Quantity(np.linspace(a.values, b.values, n), a.dimension, True)


def _count(c: _Call) -> Value:
    """`count(n)`: 0, 1, … n - 1 as a list."""
    n = c.constant(0)
    if not 1 <= n <= MAX_LIST:
        raise SpecError(f"must give count() a number from 1 to {MAX_LIST}, but '{c.texts[0]}' is {n}")
    return Quantity(np.arange(n, dtype=float).reshape(n, *_ONES), NUMBER, True)


def _fixed(c: _Call) -> None:
    for value, text in zip(c.values, c.texts, strict=True):
        if value.varies:
            raise SpecError(f"must give {c.name}() fixed values, but '{text}' varies over a loop")


def _echo_order(c: _Call) -> Value:
    lines, train, center = c.constant(0), c.constant(1), c.constant(2)
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


FUNCTIONS: Mapping[str, Function] = {
    "abs": Function(("x",), _keep(np.abs), "magnitude"),
    "min": Function((), _extreme(np.minimum), "smallest of its arguments or of a list"),
    "max": Function((), _extreme(np.maximum), "largest of its arguments or of a list"),
    "sqrt": Function(("x",), _sqrt, "square root"),
    "exp": Function(("x",), _numeric(np.exp, NUMBER, NUMBER), "exponential of a number"),
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
    "count": Function(("n",), _count, "the list 0, 1, … n - 1"),
    "linspace": Function(("first", "last", "n"), _linspace, "n equidistant values from first to last"),
    "echo_order": Function(
        ("lines", "train", "center_echo"), _echo_order, "order(shot, echo) → line; k = 0 at the center echo, from 1"
    ),
}  # fmt: skip


def plain_number(text: str) -> bool:
    """Whether a text is a number without a unit."""
    return _PLAIN_NUMBER.fullmatch(text) is not None
