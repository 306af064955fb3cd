"""Values that are hard to carry: types, quotes, emptiness, depth."""

from __future__ import annotations

import pytest

from tests.differential.cases import Case, cases, check
from tests.differential.laboratory import Laboratory

pytestmark = pytest.mark.integration


def through(name: str, expression: str) -> Case:
    """Return a case that sends a value out of a function, through another one, and to the outside."""
    return Case(
        name,
        f"""
        @task
        def make():
            import datetime

            return {expression}

        with Group("g"):
            passed = t(plain, "passed", make())
            t(ok, "inside", [passed, {{"k": passed}}])
        t(plain, "outside", passed)
        """,
    )


def given(name: str, expression: str) -> Case:
    """Return a case that gives a value as a literal argument and as an outer task's value."""
    return Case(
        name,
        f"""
        outer = t(plain, "outer", {expression})
        with Group("g"):
            t(ok, "literal", {expression})
            t(ok, "received", outer)
        """,
    )


NESTED = "{'a': [{'b': [None, True, False, {}]}, []], '': [[]], 'n': {'e': {'s': {'t': 1}}}}"
TEXTS = repr(
    {
        "quotes": 'it\'s "quoted" `code`',
        "placeholder": "{{$.inputs.parameters['value']}} {{$}} {$state}",
        "newlines": "a\nb\r\nc\td",
        "backslashes": "\\ \\n \\\\ C:\\temp\\",
        "unicode": "snowman ☃ rocket 🚀 ä ß \u200b",
        "command": "$(touch x); `id` && false | cat > y",
        "empty": "",
        "number": "1",
        "null": "null",
        "state": '{"$state":"skipped"}',
    }
)
NUMBERS = "[0, -1, 0.1, 1e308, 2**53 + 1, 2**64 - 1, -(2**63), True, 1.0, -0.0]"

CASES = [
    through("nested values", NESTED),
    through("texts", TEXTS),
    through("numbers", NUMBERS),
    through("tuples", "(1, ('a', []), {'k': (None,)})"),
    through("sets", "[{3, 1, 2}, frozenset({'a'}), set()]"),
    through(
        "dates",
        "[datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc), "
        "datetime.date(2026, 1, 2), datetime.timedelta(days=1, seconds=2)]",
    ),
    through("empty text", "''"),
    through("empty list", "[]"),
    through("empty dict", "{}"),
    through("false", "False"),
    through("zero", "0"),
    through("nothing", "None"),
    through("text that looks like a state", '\'{"$state":"failed"}\''),
    through("a long text", "'0123456789' * 50_000"),
    given("literal nested values", NESTED),
    given("literal tuples and sets", "[(1, (2,)), {'k': (3,)}]"),
    given("literal numbers", NUMBERS),
    given("literal texts", TEXTS.replace("{{$}}", "").replace("{{$.inputs.parameters['value']}}", "")),
    Case(
        "a task without a return value",
        """
        @task
        def silent():
            MARK("silent")

        with Group("g"):
            t(ok, "after", silent())
        t(ok, "outside", silent.override(task_id="other")())
        """,
    ),
    Case(
        "several values in one argument",
        """
        with Group("g"):
            a, b = t(ok, "a"), t(plain, "b", 2)
            t(plain, "c", {"list": [a, b, 3], "tuple": (a, {"deep": b}), "text": "x"})
        """,
    ),
]


@cases(CASES)
def test_values(case: Case, laboratory: Laboratory) -> None:
    check(case, laboratory)
