"""Items of loops, zip and concat against Airflow's own: the same items in the same order."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.definitions._internal.expandinput import DictOfListsExpandInput, ListOfDictsExpandInput
from airflow.sdk.definitions._internal.types import NOTSET
from airflow.sdk.definitions.mappedoperator import is_mappable_value
from airflow.sdk.definitions.xcom_arg import ConcatXComArg, XComArg, ZipXComArg
from hypothesis import given
from hypothesis import strategies as st

from airflow_vertex_provider.exceptions import VertexValueError
from airflow_vertex_provider.runtime import entrypoint
from airflow_vertex_provider.runtime.protocol import (
    SKIPPED,
    constant,
    decode,
    encode,
    expand_items,
    from_input,
    seal,
    spec_items,
)

COLUMN = st.one_of(
    st.lists(st.integers(0, 9), max_size=4),
    st.tuples(st.none(), st.text(max_size=2)),
    st.dictionaries(st.sampled_from("abc"), st.integers(), max_size=3),
)


def as_is(text: str, hint: str) -> str:
    return text


def unindexed(items: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Return the values of items, after checking their indexes."""
    assert [item["index"] for item in items] == [str(number) for number in range(len(items))]
    return [{name: decode(text) for name, text in item.items() if name != "index"} for item in items]


def airflow_expands(expand_input: Any, count: int) -> list[dict[str, Any]]:
    """Return the arguments that Airflow gives to each mapped task."""
    contexts = ({"ti": SimpleNamespace(map_index=number)} for number in range(count))
    return [dict(expand_input.resolve(context)[0]) for context in contexts]


@given(st.dictionaries(st.sampled_from("xyz"), COLUMN, min_size=1, max_size=3))
def test_expand_gives_airflow_s_combinations_in_its_order(columns: dict[str, Any]) -> None:
    items = unindexed(expand_items("product", list(columns.items()), (), as_is))
    count = 1
    for column in columns.values():
        count *= len(column)
    assert len(items) == count
    assert items == airflow_expands(DictOfListsExpandInput(columns), count)


@given(st.lists(st.dictionaries(st.sampled_from("xyz"), st.integers(), max_size=2), max_size=3))
def test_expand_kwargs_gives_airflow_s_dicts(dicts: list[dict[str, int]]) -> None:
    items = unindexed(expand_items("kwargs", [("kwargs", dicts)], (), as_is))
    expected = airflow_expands(ListOfDictsExpandInput(dicts), len(dicts))
    assert [item["kwargs"] for item in items] == expected


@pytest.mark.parametrize("value", [[1], (1,), {"a": 1}, {1}, b"ab", "text", 5, 1.5, True])
def test_what_can_be_mapped_over(value: Any) -> None:
    if is_mappable_value(value):
        assert len(expand_items("product", [("x", value)], (), as_is)) == len(value)
    else:
        with pytest.raises(
            VertexValueError, match=f"must be a list, tuple or dict, not {type(value).__name__}"
        ):
            expand_items("product", [("x", value)], (), as_is)


def test_no_value_at_all_is_named() -> None:
    with pytest.raises(VertexValueError, match="did not push a value"):
        expand_items("product", [("x", [1]), ("y", None)], (), as_is)


@pytest.mark.parametrize("value", [{"a": 1}, [1], [{"a": 1}, None], [{1: 2}]])
def test_expand_kwargs_takes_dicts_alone(value: Any) -> None:
    with pytest.raises(VertexValueError, match="expand_kwargs"):
        expand_items("kwargs", [("kwargs", value)], (), as_is)


def test_what_airflow_would_render_once_more() -> None:
    spec = seal({"form": "kwargs", "field": "k", "node": from_input("a"), "text": [], "rendered": True})
    items = spec_items(spec, {"a": [{"x": "a\n", "y": ["b\n", 1]}]}, as_is)
    assert unindexed(items) == [{"k": {"x": "a", "y": ["b", 1]}}]
    with pytest.raises(VertexValueError, match="Airflow would render a text of the dicts"):
        spec_items(spec, {"a": [{"x": {"y": "{{ ds }}"}}]}, as_is)


def test_the_index_has_its_own_name() -> None:
    with pytest.raises(VertexValueError, match="'index'; allowed: any other name"):
        expand_items("product", [("index", [1])], (), as_is)


def test_items_are_kept_once_each_and_as_text_where_asked() -> None:
    kept: list[tuple[str, str]] = []

    def keep(text: str, hint: str) -> str:
        kept.append((hint, text))
        return f"kept {hint}"

    items = expand_items("product", [("x", ["a", 1]), ("y", [None, [2]])], ["x"], keep)
    assert kept == [("x_0", '"a"'), ("x_1", "1"), ("y_0", "null"), ("y_1", "[2]")]
    assert items[1] == {"x": "kept x_0", "x__text": "a", "y": "kept y_1", "index": "1"}
    assert items[2] == {"x": "kept x_1", "x__text": "1", "y": "kept y_0", "index": "2"}
    with pytest.raises(VertexValueError, match="placeholder"):
        expand_items("product", [("x", ["{{$.inputs}}"])], ["x"], as_is)


class Fixed(XComArg):
    """An XComArg whose value is known."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def resolve(self, context: Any) -> Any:
        return self.value


def resolved(node: Any, values: Sequence[Any]) -> Any:
    return entrypoint.resolve(node, {f"v{number}": encode(value) for number, value in enumerate(values)})


VALUE = st.one_of(st.lists(st.integers(), max_size=3), st.text(max_size=3), st.just(()))


@given(st.lists(VALUE, min_size=1, max_size=3), st.one_of(st.just(NOTSET), st.none(), st.integers()))
def test_zip_is_airflow_s(values: list[Any], fill: Any) -> None:
    args: list[XComArg] = [Fixed(value) for value in values]
    expected = list(ZipXComArg(args, fillvalue=fill).resolve({}))
    node: dict[str, Any] = {"$zip": [from_input(f"v{number}") for number in range(len(values))]}
    if fill is not NOTSET:
        node["fill"] = constant(fill)
    assert resolved(node, values) == expected


@given(st.lists(st.one_of(VALUE, st.dictionaries(st.text(max_size=1), st.none(), max_size=2)), min_size=1))
def test_concat_is_airflow_s(values: list[Any]) -> None:
    expected = list(ConcatXComArg([Fixed(value) for value in values]).resolve({}))
    node = {"$concat": [from_input(f"v{number}") for number in range(len(values))]}
    assert resolved(node, values) == expected


def test_zip_of_a_dict_needs_a_fill_value() -> None:
    # Airflow looks up 0, 1, ... as keys, and an XCom has none but text.
    values = [{"a": 1}, [5, 6]]
    node = {"$zip": [from_input("v0"), from_input("v1")], "fill": "none"}
    expected = list(ZipXComArg([Fixed(value) for value in values], fillvalue="none").resolve({}))
    assert resolved(node, values) == expected
    with pytest.raises(entrypoint.VertexRuntimeError, match="a dict has no item 0"):
        resolved({"$zip": node["$zip"]}, values)


@pytest.mark.parametrize("form", ["$zip", "$concat"])
@pytest.mark.parametrize("value", [None, 5, {1}])
def test_what_has_no_order_cannot_be_joined(form: str, value: Any) -> None:
    kind = {"$zip": ZipXComArg, "$concat": ConcatXComArg}[form]
    with pytest.raises(ValueError, match="expects sequence or dict"):
        kind([Fixed(value)]).resolve({})
    with pytest.raises(
        entrypoint.VertexRuntimeError, match=f"expects a sequence or dict, not {type(value).__name__}"
    ):
        resolved({form: [from_input("v0")]}, [value])


@pytest.mark.parametrize(
    ("key", "expected"),
    [(None, [{"a": None, "b": 1}, {"a": 2}, {}]), ("a", [None, 2]), ("b", [1]), ("c", [])],
)
def test_collected_values_are_those_that_were_pushed(key: str | None, expected: list[Any]) -> None:
    values = [{"a": None, "b": 1}, None, {"a": 2}, {}]
    inputs = {"x": [*map(encode, values), SKIPPED]}
    node = from_input("x") if key is None else from_input("x", get=key)
    assert entrypoint.resolve(node, inputs) == expected


def test_collected_values_have_keys_only_if_they_are_dicts() -> None:
    with pytest.raises(entrypoint.VertexRuntimeError, match="key 'a' is wanted, but the value is no dict"):
        entrypoint.resolve(from_input("x", get="a"), {"x": [encode("abc")]})
