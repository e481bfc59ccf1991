"""Expressions: values with dimensions over loops, and nothing else."""

import math
from typing import ClassVar

import numpy as np
import pytest

from mrisim.constants import GAMMA_BAR
from mrisim.errors import SpecError
from mrisim.sequence.expression import parse_expression
from mrisim.sequence.functions import FUNCTIONS, echo_order
from mrisim.sequence.values import MAX_LOOPS, Quantity, Table, item
from mrisim.units import ANGLE, AREA, FREQUENCY, GRADIENT, LENGTH, NUMBER, TIME


def over_loop(values, axis, dimension=NUMBER):
    shape = [1] * MAX_LOOPS
    shape[axis] = len(values)
    return Quantity(np.array(values, dtype=float).reshape(shape), dimension)


class Names:
    """A scope of two loops (n over 4, e over 3) and some parameters."""

    values: ClassVar = {
        "n": over_loop([0, 1, 2, 3], 0),
        "e": over_loop([0, 1, 2], 1),
        "TE": Quantity.of(5e-3, TIME),
        "matrix": Quantity.of([128, 64]),
        "spoil": Quantity.of(117 * math.pi / 180, ANGLE),
        "m": Quantity.of(7),
    }

    def knows(self, name):
        return name in self.values

    def lookup(self, name):
        return self.values[name]

    def attribute(self, path):
        return item(self.values[path[0]], Quantity.of("xyz".index(path[1])), ".".join(path))


def evaluate(text):
    return parse_expression(text, GAMMA_BAR).evaluate(Names())


def value(text):
    result = evaluate(text)
    assert result.values.size == 1
    return float(result.si().flat[0])


@pytest.mark.parametrize(
    ("text", "expected", "dimension"),
    [
        ("2 + 3 * 4", 14.0, NUMBER),
        ("2 ** 3 ** 0", 2.0, NUMBER),
        ("3 ^ 2", 9.0, NUMBER),
        ("7 // 2", 3.0, NUMBER),
        ("-7 // 2", -4.0, NUMBER),
        ("7 % 4", 3.0, NUMBER),
        ("50 % * 4", 2.0, NUMBER),
        ("5 ms", 5e-3, TIME),
        ("5ms", 5e-3, TIME),
        ("5 ms + TE", 10e-3, TIME),
        ("40 mT/m", 40e-3 * GAMMA_BAR, GRADIENT),
        ("500 1/m", 500.0, AREA),
        ("1 / 4 mm", 250.0, AREA),
        ("3 ms/2", 1.5e-3, TIME),
        ("3 ms*m", 21e-3, None),  # `ms*m` is the longest unit: 3 ms·m, no product with the parameter m
        ("3 ms * m", 21e-3, TIME),
        ("matrix.x / matrix.y", 2.0, NUMBER),
        ("sqrt(TE * TE)", 5e-3, TIME),
        ("TE ** 2 / TE", 5e-3, TIME),
        ("sin(30 deg)", 0.5, NUMBER),
        ("atan2(1 mm, 1 mm)", math.pi / 4, ANGLE),
        ("360 deg * 50 Hz * 5 ms", math.pi / 2, ANGLE),
        ("max(3 ms, TE)", 5e-3, TIME),
        ("sum(matrix)", 192.0, NUMBER),
        ("len(matrix)", 2.0, NUMBER),
        ("matrix[-1]", 64.0, NUMBER),
        ("1 if TE > 3 ms else 2", 1.0, NUMBER),
        ("sign(-2 mm)", -1.0, NUMBER),
        ("round(2.5)", 3.0, NUMBER),
        ("exp(log(2))", 2.0, NUMBER),
        ("sum(linspace(1 ms, 3 ms, 3))", 6e-3, TIME),
        ("sum(count(5))", 10.0, NUMBER),
        ("sum(min(count(5), 2))", 7.0, NUMBER),
        ("sum(max(1 ms * count(4), 1 ms))", 7e-3, TIME),
        ("sum(max(count(3), 2 - count(3)))", 5.0, NUMBER),
        ("sum(diff(2 ms * count(5)))", 8e-3, TIME),
        ("len(diff(count(5)))", 4.0, NUMBER),
        ("pi", math.pi, NUMBER),
        ("11/m * 7", 11.0, NUMBER),  # m is 7; a unit 1/m would leave a number without its last digit
        ("11 + 0.1 + 2.1 + 1e1", 23.2, NUMBER),  # a 1 at the end of a number is no unit
    ],
)
def test_values_and_dimensions(text, expected, dimension):
    if dimension is None:
        assert evaluate(text).dimension == TIME * LENGTH
        return
    assert value(text) == pytest.approx(expected, rel=4 * np.finfo(float).eps)
    assert evaluate(text).dimension == dimension


def test_whole_loops_at_once():
    found = evaluate("n * (n + 1) / 2 + 10 * e").values
    n, e = np.arange(4)[:, None], np.arange(3)[None, :]
    assert found.shape == (4, 3, *(1,) * (MAX_LOOPS - 2))
    np.testing.assert_array_equal(found.reshape(4, 3), n * (n + 1) / 2 + 10 * e)


def test_a_value_is_no_larger_than_the_loops_it_depends_on():
    assert evaluate("spoil * n").values.shape == (4, *(1,) * (MAX_LOOPS - 1))


def test_a_quadratic_phase_stays_exact():
    """117 deg · n(n+1)/2 modulo 360 deg is a whole number of degrees however large n is."""
    names = Names()
    names.values = {"n": Quantity.of(65_535), "spoil": Quantity.of(117 * math.pi / 180, ANGLE)}
    found = parse_expression("spoil * n * (n + 1) / 2", GAMMA_BAR).evaluate(names)
    assert float(found.values.flat[0]) % 360 == (117 * 65_535 * 65_536 // 2) % 360


def test_degrees_given_in_radians_are_the_degrees_that_were_meant():
    degrees = np.arange(-720, 721)
    np.testing.assert_array_equal(Quantity.of(np.radians(degrees), ANGLE).values.ravel(), degrees)


def test_conditions_choose_by_iteration_and_hide_what_they_leave_out():
    found = evaluate("1 / n if n > 0 else 0").values.ravel()
    np.testing.assert_array_equal(found, [0, 1, 1 / 2, 1 / 3])


def test_comparisons_take_rounding_for_equality():
    assert bool(evaluate("0.1 + 0.2 == 0.3 and not 0.1 + 0.2 > 0.3 and 0.1 + 0.2 <= 0.3").values.flat[0])
    assert value("floor(0.3 / 0.1)") == 3.0
    assert value("ceil(0.3 / 0.1 * 10)") == 30.0


def test_lists_are_indexed_by_loops():
    np.testing.assert_array_equal(evaluate("matrix[n // 2]").values.ravel(), [128, 128, 64, 64])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("TE + 1", "must combine equal dimensions, but 'TE' is a time and '1' a number."),
        ("TE > 3", "must combine equal dimensions, but 'TE' is a time and '3' a number."),
        ("sin(1)", "must give sin() an angle such as 30 deg, but '1' is a number."),
        ("exp(TE)", "must give exp() a number, but 'TE' is a time."),
        ("2 ** TE", "must have a number as exponent, but 'TE' is a time."),
        ("2 ** 1000", "must have exponents up to 16, but '2 ** 1000' has a larger one."),
        ("TE ** n", "must have one exponent for a time, but 'n' varies."),
        ("1 / (n - n)", "must be finite, but '1 / (n - n)' is not."),
        ("log(0)", "must be finite, but 'log(0)' is not."),
        ("n and n", "must be true or false, but 'n' is a number."),
        ("(n > 1) + 1", "must calculate with numbers, but 'n > 1' is true or false."),
        ("matrix[2]", "must have an index from 0 to 1, but 'matrix[2]' has 2."),
        ("matrix[0.5]", "must be whole, but matrix[0.5] is 0.5."),
        ("n[0]", "must be a list to have items, but 'n' is none."),
        ("matrix + [1, 2, 3]", "must combine lists of equal length, but 'matrix + [1, 2, 3]' has 2 and 3."),
        (
            "whole(matrix.x / 24)",
            "must be whole, but matrix.x / 24 is 5.33333. Set 24 to a divisor of 128, such as 16 or 32 or 64.",
        ),
        ("echo_order(8, 3, 1)", "must have whole trains, but 8 / 3 is 2.66667. Set 3 to a divisor of 8."),
        (
            "echo_order(8, 4, TE / (2 ms))",
            "must be whole, but TE / 2 ms is 2.5. Set TE to a multiple of 2 ms, such as 4 ms or 6 ms.",
        ),
        ("echo_order(8, 4, 5)", "must have the center echo between 1 and 4, but '5' is 5. Change 5, or 4."),
        ("min(count(3), count(4))", "must give min() lists of equal length, but they have 3 and 4."),
        ("diff(3 ms)", "must give diff() a list of at least two items, but '3 ms' is none."),
        ("max(1, 2 ms)", "must give max() a number, but '2 ms' is a time."),
        ("sqrt()", "must call sqrt(x), but is 'sqrt()'."),
        ("sqrt", "must call the function sqrt with arguments in parentheses, but does not."),
    ],
)  # fmt: skip
def test_messages(text, expected):
    with pytest.raises(SpecError) as caught:
        evaluate(text)
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')", "open('x')", "n.__class__", "(1).real", "[x for x in matrix]", "lambda: 1",
        "'text'", "f'{n}'", "n := 3", "{1: 2}", "n @ n", "n | n", "~n", "n << 3", "1, 2", "matrix[0:1]", "print(1)",
        "eval(1)", "n is n", "n in matrix", "max(*matrix)", "echo_order(**n)", "1j", "None", "...", "await n", "yield",
        "", "(", "1 +", "9" * 400, "(" * 300 + "1" + ")" * 300, "1" + " + 1" * 600, "n" * 3000, "ｎ", "1 .. 2",
        "5 parsecs", "2 1", "x\0y", "[]", "[[1], [2]]", "[1, 2 ms]",
        "TE()", "matrix(1)", "max(1, 2)(3)", "if", "n if n",
    ],
)  # fmt: skip
def test_what_is_no_expression_of_the_language_is_refused(text):
    names = Names()
    names.lookup = lambda name: Names.values[name] if name in Names.values else fail(name)
    with pytest.raises(SpecError):
        parse_expression(text, GAMMA_BAR).evaluate(names)


def fail(name):
    raise SpecError(f"must be known, but '{name}' is not")


@pytest.mark.parametrize("text", ["count(1000000) * n * e * e * n", "[n, e] + count(1000000)", "count(10 ** 9)"])
def test_values_may_not_take_all_memory(text):
    names = Names()
    names.values = {"n": over_loop(np.arange(5000), 0), "e": over_loop(np.arange(1000), 1)}
    with pytest.raises(SpecError, match=r"must (have at most|give count|combine)"):
        parse_expression(text, GAMMA_BAR).evaluate(names)


@pytest.mark.parametrize(("lines", "train"), [(8, 4), (256, 16), (128, 128), (128, 1), (96, 8), (15, 5), (15, 3)])
def test_an_order_takes_each_line_once_and_the_center_at_its_echo(lines, train):
    for center in range(1, train + 1):
        order = echo_order(lines, train, center)
        assert sorted(order.ravel()) == list(range(lines))
        assert (lines // 2) in order[:, center - 1]


def test_an_order_never_jumps_next_to_the_center():
    """Lines beside k = 0 are acquired in echoes beside the center echo, where the train has these."""
    order = echo_order(256, 16, 8)
    echo_of = {line: echo for shot in order for echo, line in enumerate(shot)}
    assert [echo_of[line] for line in (127, 128, 143, 144)] == [6, 7, 7, 8]


@pytest.mark.parametrize("center", [1, 2, 15, 16])
def test_an_order_moves_away_from_the_center_with_the_echoes(center):
    """Where the bands of one side do not last, those farther out come farther from the center echo."""
    order = echo_order(256, 16, center)
    band = np.abs(order[0] // 16 - 8)
    for side in (band[center - 1 :: -1], band[center - 1 :]):
        assert (np.diff(side) >= 0).all()


def test_orders_are_called_with_indices_over_loops():
    names = Names()
    names.values = Names.values | {"order": Table(echo_order(8, 4, 2))}
    found = parse_expression("order(1, n)", GAMMA_BAR).evaluate(names)
    np.testing.assert_array_equal(found.values.ravel(), echo_order(8, 4, 2)[1])
    with pytest.raises(SpecError, match="must lie between 0 and 1, but 'n' is 3"):
        parse_expression("order(n, 0)", GAMMA_BAR).evaluate(names)


def test_units_through_gamma_follow_the_nucleus():
    assert float(parse_expression("1 mT/m", 10.7e6).evaluate(Names()).values.flat[0]) == pytest.approx(10.7e3)


def test_dimension_of_frequency():
    assert evaluate("1 / TE").dimension == FREQUENCY


def test_every_function_has_a_line_of_documentation():
    assert all(function.doc for function in FUNCTIONS.values())
