"""The parts of CEL that kfp writes: conditions, and selectors of fields."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_vertex_provider.emulator import conditions, selectors

VALUES = {"s": "run", "n": 3, "d": 0.5, "b": True, "l": [1], "q-- x": "v"}


def _holds(text: str) -> bool:
    for name in VALUES:
        text = text.replace(f"${name};", f"inputs.parameter_values['{name}']")
    return conditions.parse(text).holds(VALUES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$s; == 'run'", True),
        ('$s; == "run"', True),
        ("'run' == $s;", True),
        ("$s; != 'run'", False),
        ("$s; < 's'", True),
        ("int($n;) == 3", True),
        ("$n; == 3.0", True),
        ("double(int($n;)) > 2.5", True),
        ("int($n;) >= -3 && int($n;) <= +3".replace("+", ""), True),
        ("$d; < double(1)", True),
        ("$d; >= 1e+300", False),
        ("$d; > .25", True),
        ("int($d;) == 0", True),
        ("int('7') == 7", True),
        ("$b; == true", True),
        ("$b;", True),
        ("!$b;", False),
        ("!($s; == 'run') && $b;", False),
        ("!($s; == 'a') && !($n; == 4) && $n; == 3", True),
        ("!!($b;)", True),
        ("($b; == ($n; == 3))", True),
        ("$s; == 3", False),
        ("$s; != 3", True),
        ("$b; == 1", False),
        ("$l; == $l;", True),
        ("$q-- x; == 'v'", True),
        (r"$s; == '\x72\u0075\U0000006e'", True),
        (r"'\\\'\"\n' != 'a'", True),
        (" 'a' == 'a' ", True),
        ("'a' == 'a'\n && true", True),
        ("false && $s; < 3", False),
    ],
)
def test_what_kfp_writes(text: str, expected: bool) -> None:
    assert _holds(text) is expected


def test_names() -> None:
    condition = conditions.parse("inputs.parameter_values['a'] == inputs.parameter_values[\"b\"] && !(1 < 2)")
    assert condition.names == {"a", "b"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 ==",
        "== 1",
        "1 == 1 == 1",
        "(1 == 1",
        "1 == 1)",
        "1 = 1",
        "1 + 1 == 2",
        "true || false",
        "string(1) == '1'",
        "size('a') == 1",
        "inputs.parameter_values.a == 1",
        "inputs.parameter_values['a'",
        "inputs['a'] == 1",
        "'it's' == 'a'",
        "'int(inputs.parameter_values['a'])' == 'a'",
        "'a\nb' == 'a'",
        r"'\q' == 'a'",
        r"'\ud800' == 'a'",
        "nan == 1",
        "[1] == [1]",
        "a.b",
        "1 == 1;",
        "3abc == 1",
        "!" * 500 + "true",
        "(" * 500 + "true" + ")" * 500,
    ],
)
def test_what_kfp_cannot_have_meant_is_refused(text: str) -> None:
    with pytest.raises(conditions.ConditionError):
        conditions.parse(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("$s; < 3", "compares different kinds"),
        ("$l; < $l;", "have no order"),
        ("int($s;) == 1", "has no value"),
        ("int($l;) == 1", "has no value"),
        ("int(1e300) == 1", "has no value"),
        ("$s;", "neither true nor false"),
        ("!$n;", "neither true nor false"),
        ("inputs.parameter_values['none'] == 1", "'none', which has no value"),
    ],
)
def test_a_condition_that_does_not_fit_its_values(text: str, found: str) -> None:
    with pytest.raises(conditions.ConditionError, match=found):
        _holds(text)


@pytest.mark.parametrize(
    ("text", "value", "part"),
    [
        ('parseJson(string_value)["a"]', {"a": 1}, 1),
        ('parseJson(string_value)["a"]', '{"a": "x"}', "x"),
        ('parseJson(string_value)["a"]["b"][1]', '{"a": {"b": [1, 2]}}', 2),
        ("parseJson(string_value)", "[1]", [1]),
        (r'parseJson(string_value)["it\"s"]', {'it"s': None}, None),
    ],
)
def test_selectors(text: str, value: Any, part: Any) -> None:
    assert selectors.parse(text).select(value) == part


@pytest.mark.parametrize(
    "text",
    ["", "string_value", "parseJson(string_value).a", 'parseJson(x)["a"]', 'parseJson(string_value)["a"] + 1',
     "parseJson(string_value)['a']", r'parseJson(string_value)["\q"]'],
)  # fmt: skip
def test_selectors_that_kfp_does_not_write(text: str) -> None:
    with pytest.raises(selectors.SelectorError, match="allowed: parseJson"):
        selectors.parse(text)


@pytest.mark.parametrize("value", ["no json", "[1]", {"b": 1}, {"a": {"c": 1}}, 3])
def test_a_selector_that_finds_nothing(value: Any) -> None:
    with pytest.raises(selectors.SelectorError):
        selectors.parse('parseJson(string_value)["a"]["b"]').select(value)
