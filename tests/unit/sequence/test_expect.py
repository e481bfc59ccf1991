"""`expect` as a file has it: names, values, problems, and the closed forms as functions."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from mrisim.errors import SpecError
from mrisim.physics import signals
from mrisim.sequence import load_sequence
from mrisim.sequence.closed_forms import CLOSED_FORMS, COMPLEX
from mrisim.sequence.expect import EXPECT, PointScope
from mrisim.sequence.expression import parse_expression
from mrisim.sequence.schema import json_schema
from mrisim.sequence.values import MAX_LOOPS, Quantity
from mrisim.units import ANGLE, TIME

GAMMA = 42.577e6
GOOD = {
    "name": "one",
    "signal": "abs(echo[-1].center)",
    "equals": "sin(flip) * exp(-TE / T2)",
    "over": "{T2: [50 ms]}",
    "tolerance": "0.1 %",
}
HEAD = """\
mrisim: 1
name: pulse
description: a pulse and a readout
parameters: {TE: 5 ms, TR: 20 ms, flip: 30 deg, fov: [200 mm, 100 mm]}
events:
  excite: {rf: {shape: block, flip: flip, duration: TE / 5, use: excitation}}
  read: {gx: {flat_area: 8 / fov.x, flat_time: fov.y / fov.x * 2 ms}, adc: {samples: 8, dwell: 100 us}}
timeline: [excite, read, {wait: TR}]
expect:
"""


def problems(tmp_path, *changes, head=HEAD):
    """Messages for expectations that differ from a good one."""
    text = head
    for change in changes:
        entry = {**GOOD, **change}
        text += "  - " + "\n    ".join(f"{key}: {value}" for key, value in entry.items() if value is not None) + "\n"
    path = tmp_path / "pulse.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        load_sequence(path)
    except SpecError as error:
        return [str(problem) for problem in error.problems]
    return []


def evaluate(text, echoes=None, **values):
    """Value of an expression at two points."""
    scope = PointScope({name: value for name, value in values.items()}, echoes)
    return parse_expression(text, GAMMA, EXPECT).evaluate(scope)


def at_points(values, dimension):
    return Quantity.of_points(np.array(values).reshape(-1, *(1,) * (MAX_LOOPS - 1)), dimension)


def test_a_good_one_loads(tmp_path):
    assert problems(tmp_path, {}) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"equals": "sin(flipp)"}, "expect[0].equals: must use names that are known here, but 'flipp' is not"),
        ({"equals": "spin_eco(TE, TR, 1 s, T2)"}, "Did you mean 'spin_echo'"),
        ({"equals": "exp(-TI / T1)"}, "'TI' is not"),
        ({"equals": "excite.rf.flip"}, "'excite' is not"),
        ({"equals": "fov.x.y"}, "must name a component such as fov.x"),
        ({"signal": "1 + 1"}, "expect[0].signal: must hold a sample such as echo[-1].center, but holds none"),
        ({"signal": "echo"}, None),
        ({"over": "{T1: 5}"}, "expect[0].over.T1: must be a time with its unit, but is 5"),
        ({"over": "{T2: [-5 ms]}"}, "expect[0].over.T2: must be above zero, but is -0.005"),
        ({"over": "{n: [1, 2]}"}, "must be used in 'signal' or 'equals', but 'n' is not. Remove it, or use it."),
        ({"over": "{i: [1, 2]}"}, "expect[0].over.i: must be a new name, but is 'i'"),
        ({"over": "{TE: [5, 10]}"}, "must be a time with its unit, but is 5. Did you mean '5 ms'"),
        ({"over": "{TE: 5 ms}", "set": "{TE: 6 ms}"}, "must stand in 'set' or in 'over', but stands in both"),
        ({"over": '{T1: "linspace(1 s, 2 s, 200)", T2: "linspace(0.1 s, 0.2 s, 100)"}'}, "at most 10000 points"),
        ({"over": '{TE: [5 ms, 6 ms], df: "linspace(0 Hz, 1 Hz, 3)", D: 1e-3 mm^2/s}'}, "Set engines: [epg]."),
        ({"set": "{TEE: 5 ms}"}, "must be a parameter of the sequence, but 'TEE' is none. Did you mean 'TE'"),
        ({"tolerance": "0"}, "expect[0].tolerance: must be numbers above zero such as '0.2 %' or 1e-4, but is 0"),
        ({"pulses": "hard"}, "expect[0].pulses"),
        ({"engines": "[walk]"}, "expect[0].engines[0]"),
        ({"name": None}, "expect[0]"),
        ({"equal": "1"}, "expect[0].equal"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path, change, message):
    found = problems(tmp_path, change)
    if message is None:
        assert found == []  # what a record alone is shows when it is evaluated
        return
    assert found
    assert all("pulse.yaml:" in text for text in found)
    assert any(message in text for text in found), found


def test_all_problems_come_at_once(tmp_path):
    found = problems(tmp_path, {"equals": "sin(flipp)"}, {"name": "two", "over": "{T1: 5}"}, {"name": "one"})
    assert [text.split(": ")[1] for text in found] == ["expect[0].equals", "expect[1].over.T1"]
    assert "must be a name of its own" in problems(tmp_path, {}, {})[0]


def test_complex_values():
    echoes = {"center": np.array([[1j, 2j], [3.0 + 4j, -1.0]])}
    assert evaluate("abs(echo[0].center)", echoes).values.ravel() == pytest.approx([1, 5])
    assert evaluate("echo[-1].center / i", echoes).values.ravel() == pytest.approx([2, 1j])
    assert evaluate("angle(echo[1].center)", echoes).si().ravel() == pytest.approx([np.pi / 2, np.pi])
    assert evaluate("real(exp(i * pi))").values.ravel() == pytest.approx([-1])
    assert evaluate("angle(1 + i)").dimension == ANGLE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("echo[2].center", "must be an echo from 0 to 1 or -2 to -1, but is 2"),
        ("echo[0].centre", "must be a part of an echo, but 'centre' is none. Did you mean 'center'"),
        ("echo", "must name a part of one echo such as echo[-1].center"),
        ("echo[0].center > 0", "must be real here, but 'echo[0].center' is complex"),
        ("max(i, 1)", "must be real here"),
        ("i % 2", "must be real here"),
        ("spin_echo(1 s, 1 s)", "must call spin_echo(te, tr, t1, t2)"),
        ("spoiled_gradient_echo(30 deg, 1 s, 1 s, 1)", "must give spoiled_gradient_echo() a time"),
        ("cpmg(0, 10 ms, 180 deg, 1 s, 0.1 s)", "must lie between 1 and 20000, but '0' is 0"),
        ("rf_spoiled(30000, 1 deg, 10 ms, 1 s, 0.1 s, 117 deg)", "must lie between 0 and 20000"),
        ("abs(echo[0].center).real", "must name a property"),
    ],
)
def test_expressions_that_cannot_be(text, message):
    with pytest.raises(SpecError) as caught:
        evaluate(text, {"center": np.array([[1j, 2j]])})
    assert message in str(caught.value)


def test_e1_and_e2_are_decays_over_tr():
    values = {"TR": Quantity.of(0.5, TIME), "T1": at_points([1.0, 2.0], TIME), "T2": at_points([0.1, 0.2], TIME)}
    assert evaluate("E1", **values).values.ravel() == pytest.approx(np.exp([-0.5, -0.25]))
    assert evaluate("E2", **values).values.ravel() == pytest.approx(np.exp([-5, -2.5]))
    with pytest.raises(SpecError, match="'E1' is not"):
        evaluate("E1", T1=values["T1"])


def test_closed_forms_are_the_functions_of_the_physics():
    """Same names, same arguments, same order; optional where Python has a default."""
    for name, function in CLOSED_FORMS.items():
        if name in ("cpmg", "rf_spoiled", "mp2rage"):
            continue
        arguments = inspect.signature(getattr(signals, name)).parameters
        assert tuple(arguments) == function.arguments, name
        assert {n for n, p in arguments.items() if p.default is not p.empty} == set(function.optional), name
    public = {n for n, f in inspect.getmembers(signals, inspect.isfunction) if f.__module__ == signals.__name__}
    assert {n for n in public if not n.startswith("_")} <= set(CLOSED_FORMS)


def test_closed_forms_are_computed_in_float64():
    te, tr, t1, t2 = 0.02, 0.5, 0.9, 0.08
    exact = (1 - 2 * np.exp(-(tr - te / 2) / t1) + np.exp(-tr / t1)) * np.exp(-te / t2)
    found = evaluate("spin_echo(20 ms, 500 ms, 900 ms, t2=80 ms)")
    assert found.values.ravel() == pytest.approx([exact], rel=8 * np.finfo(float).eps)
    train = evaluate("cpmg(3, 10 ms, 120 deg, 1e9 s, 1e9 s)").values.ravel()
    assert train == pytest.approx([0.84375], rel=1e-9)


def test_the_schema_completes_properties():
    entry = json_schema()["$defs"]["ExpectModel"]["properties"]
    assert {"T1", "T2", "T2star", "df", "b1", "pd", "D"} == set(entry["over"]["properties"])
    assert "echo[-1].center" in entry["signal"]["examples"]


def test_the_page_names_every_function_and_every_key():
    from mrisim.paths import library_folder
    from mrisim.sequence.grammar import ExpectModel

    page = (library_folder("sequences").parent / "docs" / "validation.md").read_text("utf-8")
    for name, function in CLOSED_FORMS.items():
        assert f"| `{function.signature(name)}` | {function.doc} |" in page
    assert all(f"`{name}`" in page for name in COMPLEX)
    keys = {field.alias or name for name, field in ExpectModel.model_fields.items()} - {"name"}
    assert all(f"| `{key}` |" in page for key in keys)


def test_a_parameter_given_in_vain_is_not_unknown_to_expectations():
    with pytest.raises(SpecError) as caught:
        load_sequence("dwi_se_epi", b="500")
    assert [problem.path for problem in caught.value.problems] == ["b"]
