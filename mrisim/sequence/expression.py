"""Expressions of the specification language: a whitelisted syntax tree, evaluated with dimensions over whole loops.

Nothing is called but the functions of the language, no attribute of a Python object is ever read, and text, tree,
exponents and lists are bounded.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from mrisim.errors import Problem, SpecError
from mrisim.sequence.functions import FUNCTIONS, Call, Function
from mrisim.sequence.values import ONES, SNAP, Quantity, Table, Value, as_whole, check_room, floor, from_si, item, stack
from mrisim.source import did_you_mean
from mrisim.units import ANGLE, NUMBER, NUMBER_PATTERN, UNIT_PATTERN, unit

MAX_TEXT = 2000
MAX_TREE = 500
MAX_POWER = 16

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
CONSTANTS: Mapping[str, complex] = {"pi": np.pi}


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


class Records(Protocol):
    """A scope with numbered records, such as `echo[-1].center`."""

    def record(self, name: str, index: Quantity, part: str) -> Value:
        """Value of a part of the records with these numbers."""
        ...


@dataclass(frozen=True, eq=False)
class Dialect:
    """Which words an expression may use beyond names: functions, constants, numbered records."""

    functions: Mapping[str, Function]
    constants: Mapping[str, complex]
    records: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class Expression:
    """Parsed text, ready to be evaluated in any scope."""

    text: str
    tree: ast.expr
    literals: tuple[Quantity, ...]
    dialect: Dialect
    names: frozenset[str] = field(default_factory=frozenset)  # first parts of the names that it refers to
    dotted: frozenset[tuple[str, ...]] = field(default_factory=frozenset)

    def evaluate(self, scope: Scope) -> Value:
        """Value in a scope; one that has the dialect's records, where it has any.

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


SEQUENCE = Dialect(FUNCTIONS, CONSTANTS)
"""What expressions of a sequence are made of."""


@lru_cache(maxsize=4096)
def parse_expression(text: str, gamma: float, dialect: Dialect = SEQUENCE) -> Expression:
    """Expression of a text.

    Args:
        text: For example `max(n, 0) * spoil + 5 deg`.
        gamma: Gyromagnetic ratio over 2 pi [Hz/T], for units such as mT/m.
        dialect: Its words.

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
        scale = factor * from_si(dimension)
        scale = round(scale) if dimension == ANGLE and abs(scale - round(scale)) < 1e-12 else scale
        literals.append(Quantity(np.full(ONES, float(match["number"]) * scale), dimension))
        return _PLACEHOLDER.format(len(literals) - 1)

    code = _LITERAL.sub(replace, text).replace("^", "**")
    try:
        tree = ast.parse(code.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        rule = f"must be an expression, but is '{_short(text)}'"
        raise SpecError(Problem(rule, _syntax_remedy(text))) from None
    _check_tree(tree, text, dialect.records)
    names = frozenset(n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and not n.id.startswith("__"))
    dotted = frozenset(_dotted(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute) and _is_dotted(n))
    called = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    names -= {name for name in called if name in dialect.functions}
    return Expression(text.strip(), tree, tuple(literals), dialect, names, dotted)


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


def _check_tree(tree: ast.expr, text: str, records: frozenset[str]) -> None:
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
        if isinstance(node, ast.Attribute) and not (_is_dotted(node) or _is_record(node, records)):
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


def _is_record(node: ast.Attribute, records: frozenset[str]) -> bool:
    """Whether it is a part of a numbered record, such as `echo[-1].center`."""
    inner = node.value
    return isinstance(inner, ast.Subscript) and isinstance(inner.value, ast.Name) and inner.value.id in records


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
            return Quantity(np.full(ONES, node.value))
        assert isinstance(node.value, (int, float))
        try:
            return Quantity(np.full(ONES, float(node.value)))
        except OverflowError:
            raise SpecError("must be numbers below 1e308, but holds a larger one") from None

    def visit_Name(self, node: ast.Name) -> Value:
        if node.id.startswith("__literal_"):
            return self.expression.literals[int(node.id.removeprefix("__literal_"))]
        if node.id in ("true", "false"):
            return Quantity(np.full(ONES, node.id == "true"))
        dialect = self.expression.dialect
        if node.id in dialect.constants:
            return Quantity(np.full(ONES, dialect.constants[node.id]))
        if node.id in dialect.records:
            raise SpecError(f"must name a part of one {node.id} such as {node.id}[-1].center, but does not")
        if node.id in dialect.functions:
            raise SpecError(f"must call the function {node.id} with arguments in parentheses, but does not")
        return self.scope.lookup(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> Value:
        if isinstance(node.value, ast.Subscript):
            assert isinstance(node.value.value, ast.Name)
            scope: Any = self.scope  # has records, since the dialect has
            return scope.record(node.value.value.id, self.number(node.value.slice), node.attr)
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
        self._real(node.left, a)
        self._real(node.right, b)
        quotient = floor(values_a / values_b)
        if isinstance(node.op, ast.FloorDiv):
            return Quantity(quotient, NUMBER, is_list)
        return Quantity(values_a - quotient * values_b, a.dimension, is_list)

    def _power(self, node: ast.BinOp, a: Quantity, b: Quantity) -> Quantity:
        if b.dimension != NUMBER or b.is_list:
            raise SpecError(f"must have a number as exponent, but '{self.spell(node.right)}' is {b.dimension.noun}")
        if np.abs(b.values).max(initial=0.0) > MAX_POWER:
            raise SpecError(f"must have exponents up to {MAX_POWER}, but '{self.spell(node)}' has a larger one")
        dimension = NUMBER
        if a.dimension != NUMBER:
            if b.values.size != 1:
                raise SpecError(f"must have one exponent for {a.dimension.noun}, but '{self.spell(node.right)}' varies")
            exponent = Fraction(float(b.values.flat[0])).limit_denominator(12)
            dimension = a.dimension**exponent
        return Quantity(a.values**b.values, dimension, a.is_list)

    def _same(self, left: ast.expr, a: Quantity, right: ast.expr, b: Quantity) -> None:
        if a.dimension != b.dimension:
            raise SpecError(
                f"must combine equal dimensions, but '{self.spell(left)}' is {a.dimension.noun} and "
                f"'{self.spell(right)}' {b.dimension.noun}"
            )

    def _real(self, node: ast.expr, value: Quantity) -> None:
        if value.is_complex:
            raise SpecError(f"must be real here, but '{self.spell(node)}' is complex. Take abs(), real() or angle()")

    def visit_Compare(self, node: ast.Compare) -> Value:
        result = np.full(ONES, True)
        nodes = [node.left, *node.comparators]
        for left, operator, right in zip(nodes, node.ops, nodes[1:], strict=False):
            a, b = self.number(left), self.number(right)
            self._same(left, a, right, b)
            self._real(left, a)
            self._real(right, b)
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
            raise SpecError(f"must be true or false, but '{self.spell(node)}' is {value.dimension.noun}")
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
        functions = self.expression.dialect.functions
        if name not in functions:
            return self._apply(node, name)
        function = functions[name]
        if any(keyword.arg is None for keyword in node.keywords):
            raise SpecError(f"must give the arguments of {name} one by one, but has '**'")
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        nodes = dict(zip(function.arguments, node.args, strict=False))
        known = len(node.args) <= len(function.arguments) and set(given) <= set(function.arguments) - set(nodes)
        required = set(function.arguments) - set(function.optional)
        if function.arguments and not (known and required <= set(nodes | given)):
            raise SpecError(f"must call {function.signature(name)}, but is '{self.spell(node)}'")
        if not function.arguments and (given or not node.args):
            raise SpecError(f"must call {name}(a, b, …), but is '{self.spell(node)}'")
        nodes = nodes | given
        arguments = [argument for argument in function.arguments if argument in nodes]
        ordered = [nodes[argument] for argument in arguments] if function.arguments else node.args
        values = [self.number(argument) for argument in ordered]
        if not function.takes_complex:
            for argument, value in zip(ordered, values, strict=True):
                self._real(argument, value)
        return function.call(Call(name, values, [self.spell(n) for n in ordered], ordered, self, tuple(arguments)))

    def _apply(self, node: ast.Call, name: str) -> Quantity:
        table = self.scope.lookup(name) if self.scope.knows(name) else None
        if not isinstance(table, Table):
            remedy = did_you_mean(name, self.expression.dialect.functions)
            raise SpecError(Problem(f"must call functions of the language only, but calls '{name}'", remedy))
        wanted = table.values.ndim - table.vectors
        if node.keywords or len(node.args) != wanted:
            raise SpecError(f"must call {name} with {wanted} numbers, but is '{self.spell(node)}'")
        index = []
        for argument, size in zip(node.args, table.values.shape, strict=False):
            value = self.number(argument)
            whole = as_whole(value, self.spell(argument))
            if whole.min() < 0 or whole.max() >= size:
                worst = whole.min() if whole.min() < 0 else whole.max()
                raise SpecError(f"must lie between 0 and {size - 1}, but '{self.spell(argument)}' is {worst}")
            index.append(whole)
        found = table.values[tuple(np.broadcast_arrays(*index))].astype(float)
        return Quantity(np.moveaxis(found, -1, 0), NUMBER, True) if table.vectors else Quantity(found)


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


def _items(a: Quantity, b: Quantity, text: str) -> tuple[np.ndarray, np.ndarray]:
    if a.is_list and b.is_list and len(a.values) != len(b.values):
        raise SpecError(f"must combine lists of equal length, but '{text}' has {len(a.values)} and {len(b.values)}")
    check_room([a.values.shape, b.values.shape])
    return a.values, b.values


def plain_number(text: str) -> bool:
    """Whether a text is a number without a unit."""
    return _PLAIN_NUMBER.fullmatch(text) is not None
