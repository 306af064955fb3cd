"""Protocol text: every value back as it was, nothing in the text that a placeholder could be."""

from __future__ import annotations

import ast
import collections
import datetime
import decimal
import enum
import hashlib
import json
import math
import re
import uuid
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pendulum
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_vertex_provider.exceptions import VertexValueError
from airflow_vertex_provider.runtime import entrypoint
from airflow_vertex_provider.runtime.protocol import (
    ABSENT,
    DEFAULT_INLINE_LIMIT,
    SKIPPED,
    Reference,
    argument_cost,
    bash_config,
    config_text,
    constant,
    decode,
    embedded_source,
    encode,
    escape_literal,
    from_input,
    gate_config,
    is_reference,
    mapping,
    mark_config,
    python_config,
)

HORRORS: list[Any] = [
    """it's "quoted" """,
    "{{ x }}",
    "{{$.inputs.parameters['x']}}",
    "{{{{ {{{ {{ { }} }}}",
    "line\nline\r\n\ttab\\backslash\\\\n",
    "emoji 🚀 ü 漢字",
    "\ud800 lone \udfff",
    "nul \x00 bell \x07 del \x7f",
    "$(touch x) $(PATH) $$(HOME) `id` ;rm -rf",
    "<b>&amp;</b>",
    "@gs://looks/like#a=reference",
    "x" * 100_000,
    "",
    " ",
    0,
    -1,
    2**53 + 1,
    -(2**64) - 1,
    10**40,
    10**5000,
    0.1,
    1e308,
    5e-324,
    -0.0,
    float("inf"),
    float("-inf"),
    True,
    False,
    None,
    [],
    {},
    [[], {}, [[]], [{}], {"a": {}}, {"": []}],
    {"$in": "x"},
    {"$tuple": [1]},
    {"$": {"$dict": [["$dict", 1]]}},
    {"$a": 1, "$b": 2},
    (),
    (1, (2, [3, (4,)])),
    {1, "a", None, (2, 3), frozenset({4})},
    frozenset(),
    b"",
    bytes(range(256)),
    datetime.date(2024, 2, 29),
    datetime.timedelta(days=-999_999_999, microseconds=1),
    datetime.datetime(2024, 1, 2, 3, 4, 5, 678),
    datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC),
    datetime.datetime(1900, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(seconds=-5025))),
]


def same(left: Any, right: Any) -> bool:
    """Compare values and their types, all the way down; NaN is itself here."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        # A NaN's sign means nothing, and JSON has no place for it; a zero's sign must stay.
        both_nan = math.isnan(left) and math.isnan(right)
        return both_nan or (left == right and math.copysign(1, left) == math.copysign(1, right))
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


def check(value: Any) -> None:
    text = encode(value)
    assert text.isascii()
    assert "{{" not in text
    assert "$(" not in text
    assert not is_reference(text)
    json.loads(text)
    assert same(decode(text), value)
    # As text inside a configuration and inside the executor input it stays free of placeholders.
    assert "{{" not in config_text({"a": constant(value), "b": text})


@pytest.mark.parametrize("value", HORRORS, ids=[f"{type(v).__name__}{n}" for n, v in enumerate(HORRORS)])
def test_hard_values_come_back(value: Any) -> None:
    check(value)


ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=[]))
    | st.text(alphabet="{}$\"'\\()[]@\n ")
    | st.binary()
    | st.dates()
    | st.datetimes()
    | st.datetimes(timezones=st.just(datetime.UTC))
    | st.timedeltas()
)
HASHABLE = st.recursive(
    st.none() | st.integers() | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
VALUES = st.recursive(
    ATOMS | st.sets(HASHABLE, max_size=4) | st.frozensets(HASHABLE, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(
            st.text(max_size=4) | st.sampled_from(["$tuple", "$dict", "$x", "{{"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(VALUES)
def test_any_value_comes_back(value: Any) -> None:
    check(value)


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_text_is_the_same_for_an_equal_value(value: Any) -> None:
    text = encode(value)
    assert encode(decode(text)) == text


def test_text_of_a_set_does_not_depend_on_its_order() -> None:
    names = [f"name{number}" for number in range(50)]
    assert json.loads(encode(set(names)))["$set"] == sorted(names)


def test_key_order_is_kept() -> None:
    assert encode({"b": 1, "a": 2}) == '{"b":1,"a":2}'


@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "America/St_Johns", "UTC"], ids=["berlin", "newfoundland", "utc"]
)
def test_named_zone_comes_back_by_name(zone: str) -> None:
    moment = datetime.datetime(2024, 10, 26, 12, tzinfo=ZoneInfo(zone))
    back = decode(encode(moment))
    assert back == moment
    assert str(back.tzinfo) == zone
    assert (back + datetime.timedelta(days=1)).isoformat() == (
        moment + datetime.timedelta(days=1)
    ).isoformat()


def test_zone_that_the_image_lacks_leaves_the_instant() -> None:
    moment = decode('{"$datetime":"2024-10-26T12:00:00+02:00[Mars/Olympus]"}')
    assert moment == datetime.datetime(2024, 10, 26, 10, tzinfo=datetime.UTC)


def test_pendulum_becomes_the_standard_library_type() -> None:
    moment = pendulum.datetime(2024, 5, 6, 7, tz="Europe/Paris")
    back = decode(encode(moment))
    assert type(back) is datetime.datetime
    assert back == moment
    assert decode(encode(pendulum.date(2024, 5, 6))) == datetime.date(2024, 5, 6)


class Color(enum.IntEnum):
    RED = 1


class Mode(enum.StrEnum):
    FAST = "fast"


class Plain(enum.Enum):
    A = "a"


class Loud(str):
    def __str__(self) -> str:
        return "other"


class Pair(collections.namedtuple("Pair", "x y")):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Color.RED, 1),
        (Mode.FAST, "fast"),
        (Loud("kept"), "kept"),
        (Pair(1, [2]), (1, [2])),
        (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (np.int64(7), 7),
        (np.uint8(255), 255),
        (np.float32(0.5), 0.5),
        (np.float64(0.1), 0.1),
        (np.bool_(True), True),
        (np.str_("s"), "s"),
        ({1: "a", None: "b", False: "c", 1.5: "d"}, {"1": "a", "None": "b", "False": "c", "1.5": "d"}),
        ({"l": [np.int64(1), (np.float64(2),)]}, {"l": [1, (2.0,)]}),
    ],
    ids=repr,
)
def test_what_becomes_plain_as_in_airflow(value: Any, expected: Any) -> None:
    assert same(decode(encode(value)), expected)


def test_plain_forms_match_airflows_own_xcoms() -> None:
    from airflow.sdk.serde import deserialize, serialize

    for value in (
        Color.RED,
        Mode.FAST,
        {2: 1, None: 2, 1.5: 3, (1, 2): 4, Color.RED: 5},
        Pair(1, 2),
        {"s": {1, 2}, "t": (1,), "f": frozenset({3})},
        datetime.date(2024, 1, 1),
        datetime.timedelta(seconds=1.5),
    ):
        through_airflow = deserialize(json.loads(json.dumps(serialize(value))))
        assert same(decode(encode(value)), through_airflow)


class Thing:
    pass


@pytest.mark.parametrize(
    ("value", "where", "kind"),
    [
        (Thing(), "the value", "Thing"),
        ([{"a": Thing()}], "[0].a", "Thing"),
        ({"a": [1, (2, Thing())]}, "a[1][1]", "Thing"),
        ({"s": {Thing()}}, "s{}", "Thing"),
        (Plain.A, "the value", "Plain"),
        (decimal.Decimal("1.1"), "the value", "decimal.Decimal"),
        (uuid.UUID(int=0), "the value", "uuid.UUID"),
        (np.zeros(2), "the value", "numpy.ndarray"),
        (np.zeros(()), "the value", "numpy.ndarray"),
        (np.datetime64("2024-01-01"), "the value", "numpy.datetime64"),
        (np.longdouble(1), "the value", "numpy.longdouble"),
        (bytearray(b"x"), "the value", "bytearray"),
        (1j, "the value", "complex"),
        (datetime.time(1), "the value", "datetime.time"),
        (range(3), "the value", "range"),
        ((item for item in [1]), "the value", "generator"),
        (print, "the value", "builtin_function_or_method"),
        (Thing, "the value", "type"),
    ],
    ids=lambda item: item if isinstance(item, str) else type(item).__name__,
)
def test_what_cannot_be_carried_is_named_with_its_place(value: Any, where: str, kind: str) -> None:
    with pytest.raises(VertexValueError, match=re.escape(where) + " is of type .*" + re.escape(kind)):
        encode(value)


def test_a_key_that_would_be_lost_is_refused() -> None:
    with pytest.raises(VertexValueError, match=r"a has two keys that are both '1' as text"):
        encode({"a": {1: "one", "1": "other"}})


KEYED: list[Any] = [
    {1: "a", "1": "b"},
    {None: 1, True: 2, 2.5: 3},
    [{(1, "x"): {b"k": 1}}, ({datetime.date(2025, 1, 2): [1]},)],
    {"plain": {"deep": [{3: {"$in": "x"}}]}, "$lit": {4: 5}},
    {frozenset({1}): {1, 2}, 1 << 70: (1,)},
    {"a": 1, "$b": 2},
]


@pytest.mark.parametrize("value", KEYED, ids=repr)
def test_a_constant_keeps_its_keys(value: Any) -> None:
    node = json.loads(config_text({"node": constant(value)}))["node"]
    assert same(entrypoint.resolve(node, {}), value)


def test_a_value_has_text_for_keys_as_in_an_xcom() -> None:
    assert decode(encode({1: "a", None: {True: 2}})) == {"1": "a", "None": {"True": 2}}


def test_a_dict_of_nodes_keeps_its_keys() -> None:
    node = mapping([(1, from_input("a")), ("$in", constant(2)), ((3,), {"x": from_input("a")})])
    assert entrypoint.resolve(node, {"a": "[0]"}) == {1: [0], "$in": 2, (3,): {"x": [0]}}
    assert mapping([("a", constant(1))]) == {"a": constant(1)}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({object(): 1}, r"key <object .* is of type builtins\.object"),
        ({"a": [{1: object()}]}, r"a\[0\]\.1 is of type builtins\.object"),
        ({1: [{"b": print}]}, r"1\[0\]\.b is of type"),
    ],
    ids=["key", "below", "above"],
)
def test_what_a_keyed_constant_cannot_carry_is_named(value: Any, message: str) -> None:
    with pytest.raises(VertexValueError, match=message):
        constant(value)


def test_a_constant_inside_itself_is_refused() -> None:
    loop: dict[Any, Any] = {1: []}
    loop[1].append(loop)
    plain: dict[str, Any] = {"a": []}
    plain["a"].append(plain)
    for value in (loop, plain):
        with pytest.raises(VertexValueError, match="contains itself"):
            constant(value)


def test_absence_travels() -> None:
    assert encode(ABSENT) == '{"$absent":true}'
    assert decode(encode(ABSENT)) is ABSENT
    assert decode(encode({"$absent": True})) == {"$absent": True}


def test_a_value_inside_itself_is_refused() -> None:
    loop: list[Any] = [1, []]
    loop[1].append(loop)
    with pytest.raises(VertexValueError, match=r"\[1\]\[0\] contains itself"):
        encode(loop)
    shared = [1]
    assert decode(encode([shared, shared])) == [[1], [1]]


def test_a_value_too_deep_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(VertexValueError, match="nested too deeply"):
        encode(deep)


@pytest.mark.parametrize(
    "text", ["", "{", "nope", '{"$date":5}', '{"$bytes":"a"}', '{"$tuple":3}', "[" * 100_000]
)
def test_damaged_text_is_refused(text: str) -> None:
    with pytest.raises(VertexValueError, match="not a protocol text"):
        decode(text)


def test_unknown_tag_is_refused() -> None:
    with pytest.raises(VertexValueError, match=r"unknown tag '\$new'"):
        decode('{"$new":1}')


@given(st.text(alphabet='{}$()"\\ab') | st.text())
def test_escaped_json_means_the_same(text: str) -> None:
    plain = json.dumps({text: [text]})
    escaped = escape_literal(plain)
    assert "{{" not in escaped
    assert "$(" not in escaped
    assert json.loads(escaped) == {text: [text]}
    assert escape_literal(escaped) == escaped


def test_reference_there_and_back() -> None:
    text = encode({"a": list(range(100))})
    reference = Reference.to("gs://bucket/a b/c#d.json", text)
    assert is_reference(str(reference))
    assert Reference.parse(str(reference)) == reference
    assert reference.size == len(text)
    assert reference.sha256 == hashlib.sha256(text.encode()).hexdigest()
    read = {"gs://bucket/a b/c#d.json": text.encode()}.__getitem__
    assert decode(str(reference), read) == {"a": list(range(100))}


def test_reference_needs_the_right_file() -> None:
    reference = str(Reference.to("gs://b/v.json", "[1,2]"))
    with pytest.raises(VertexValueError, match=r"gs://b/v\.json is not the file that was written"):
        decode(reference, lambda uri: b"[1,3]")
    with pytest.raises(VertexValueError, match=r"expected 5 bytes .* found 4 bytes"):
        decode(reference, lambda uri: b"[1,2")
    with pytest.raises(VertexValueError, match="no reader for files was given"):
        decode(reference)


@pytest.mark.parametrize(
    "text", ["@", "@gs://b/x", "@gs://b/x#sha256=1", "@http://b#sha256=a&size=1", "@gs://b#sha256=a&size=x"]
)
def test_damaged_reference_is_refused(text: str) -> None:
    with pytest.raises(VertexValueError, match="not a reference"):
        Reference.parse(text)
    with pytest.raises(VertexValueError, match="not a reference"):
        decode(text, lambda uri: b"")


def as_arguments(text: str) -> list[str]:
    """Return the executor input as a plain task and as a custom job's payload hold it."""
    executor_input = {
        "inputs": {"parameterValues": {"x": text}, "parameters": {"x": {"stringValue": text}}},
    }
    once = json.dumps(executor_input, separators=(",", ":"))
    return [once, json.dumps({"args": [once]}, separators=(",", ":"))]


@given(VALUES)
@settings(deadline=None)
def test_cost_is_an_upper_bound(value: Any) -> None:
    text, empty = encode(value), as_arguments("")
    for filled, bare in zip(as_arguments(text), empty, strict=True):
        assert len(filled) - len(bare) <= argument_cost(text)


def test_cost_is_close_for_ordinary_text() -> None:
    text = encode({"name": "value", "list": [1, 2, 3]})
    custom_job, empty = as_arguments(text)[1], as_arguments("")[1]
    assert argument_cost(text) <= 1.3 * (len(custom_job) - len(empty))
    assert argument_cost(str(Reference.to("gs://bucket/path/file.json", text))) < DEFAULT_INLINE_LIMIT / 10


def test_configurations_are_plain_and_complete() -> None:
    config = python_config(
        task="g.t",
        function="f",
        source="def f():\n    pass",
        file="d.py",
        line=3,
        args=[from_input("x", get="k")],
    )
    assert config["args"] == [{"$in": "x", "get": "k"}]
    assert json.loads(config_text(config)) == config
    assert from_input("x", text=True) == {"$in": "x", "text": True}
    shell = bash_config(task="g.b", command="echo", env={"A": from_input("a", text=True)}, append_env=True)
    assert json.loads(config_text(shell)) == shell
    assert "function" not in shell
    with pytest.raises(ValueError, match="allowed: one of them"):
        bash_config(task="g.b")
    with pytest.raises(ValueError, match="allowed: one of them"):
        bash_config(task="g.b", command="x", function="f")


def test_embedded_text_is_the_entry_points_code_alone() -> None:
    text = embedded_source()
    assert "{{" not in text
    assert "$(" not in text
    assert text.isascii()
    assert '"""' not in text
    assert "typing" not in text
    defined = {node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert defined == {
        name
        for module in entrypoint.MODULES
        for name, item in vars(module).items()
        if getattr(item, "__module__", "") == module.__name__
    } | {"AirflowException", "AirflowSkipException", "AirflowFailException"}
    assert len(text) < 60_000
    ast.parse(text, feature_version=(3, 8))
    scope: dict[str, Any] = {"__name__": "embedded"}
    exec(compile(text, "embedded", "exec"), scope)
    for value in HORRORS:
        assert scope["encode"](value) == encode(value)
        assert same(scope["decode"](encode(value)), value)


def called(**options: Any) -> dict[str, Any]:
    return python_config(
        task="g.t", function="f", source="def f():\n    pass", file="d.py", line=3, **options
    )


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        (mark_config(task="g.t", outputs={"Output": SKIPPED}), 5_500),
        (gate_config(task="g.t", gate={"rule": "one_failed", "states": ["a"]}), 8_800),
        (called(), 21_900),
        (bash_config(task="g.t", command="true"), 21_500),
        ({**called(), "gate": {"rule": "all_done", "states": ["a"]}, "skips": True}, 24_800),
        (called(artifacts={"m": "system.Model"}, kwargs={"m": {"$output": "m"}}), 27_900),
    ],
    ids=["mark", "gate", "python", "bash", "gated", "artifact"],
)
def test_a_task_carries_only_the_parts_it_needs(config: dict[str, Any], limit: int) -> None:
    # It stands in every task of the spec, and beside the values in one argument.
    text = embedded_source(config)
    assert len(text) < limit
    assert text == embedded_source(json.loads(config_text(config)))
    whole = embedded_source().splitlines()
    lines = iter(whole)
    assert all(line in lines for line in text.splitlines())
