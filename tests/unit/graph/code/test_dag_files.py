"""Members of DAG files as authors write them: what is Airflow's stays behind, the rest travels."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_vertex_provider.exceptions import VertexGroupError
from airflow_vertex_provider.graph.code import CarryError, carry_function
from airflow_vertex_provider.runtime import protocol
from tests.unit.graph.code import authors_dags, authors_match, authors_postponed
from tests.unit.graph.code.batch import config_of, run_batch
from tests.unit.graph.converting import convert
from tests.unit.runtime.container import BARE_PYTHON, PYTHONS, find_python


def member(name: str) -> Any:
    found = {**authors_dags.IN_BLOCK, **authors_dags.MEMBERS}[name]
    return found.operator.python_callable


@pytest.mark.parametrize(
    ("name", "value"),
    [("in_block", 3.5), ("in_block_decorated", 4), ("may_skip", 1), ("first", 3), ("second", 9.0)],
)
def test_members_of_a_dag_file(name: str, value: object) -> None:
    carried = carry_function(member(name))
    assert "airflow.sdk" not in str(carried.reached) + carried.source
    (answer,) = run_batch(BARE_PYTHON, [config_of(carried, [1], {})])
    assert "value" in answer, answer["traceback"]
    assert protocol.decode(answer["value"]) == value


def test_airflows_decorators_stay_behind_and_others_do_not() -> None:
    assert carry_function(member("in_block")).source.strip().startswith("def in_block")
    assert carry_function(member("in_block_decorated")).source.strip().startswith("@doubled\n")
    assert carry_function(member("second")).source.strip().startswith("@doubled\n")


def test_a_skip_in_a_helper_is_seen() -> None:
    assert "AirflowSkipException" in carry_function(member("may_skip")).uses
    (answer,) = run_batch(BARE_PYTHON, [config_of(carry_function(member("may_skip")), [0], {})])
    assert answer["skipped"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("in_context", "get_current_context.*arguments by name"), ("third", "'first' .*is another task")],
)
def test_what_only_airflow_has_is_refused(name: str, reason: str) -> None:
    with pytest.raises(CarryError, match=reason):
        carry_function(member(name))


def test_a_context_that_a_helper_asks_for_is_refused_with_its_line() -> None:
    def helper() -> Any:
        from airflow.sdk import get_current_context

        return get_current_context()

    def asks() -> Any:
        return helper()

    from airflow.providers.standard.operators.python import PythonOperator

    converted = convert(lambda: PythonOperator(task_id="t", python_callable=asks))
    line = helper.__code__.co_firstlineno + 1
    assert converted.problems == [
        ("get_current_context", f"used in asks (test_dag_files.py, line {line})"),
    ]


@pytest.mark.parametrize("version", PYTHONS)
def test_postponed_annotations_need_no_types(version: str) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    (answer,) = run_batch(python, [config_of(carry_function(authors_postponed.postponed), [], {})])
    assert "value" in answer, answer["traceback"]
    assert protocol.decode(answer["value"]) == [["a"], [1], None]


@pytest.mark.parametrize("version", [version for version in PYTHONS if version not in ("3.8", "3.9")])
def test_match(version: str) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    (answer,) = run_batch(python, [config_of(carry_function(authors_match.matched), [], {})])
    assert "value" in answer, answer["traceback"]
    assert protocol.decode(answer["value"]) == ["origin", "on x at 1", "origin", "on x at 2", 9, None]


@pytest.mark.parametrize("version", ["3.8", "3.9"])
def test_an_older_python_names_what_it_cannot_read(version: str) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    (answer,) = run_batch(python, [config_of(carry_function(authors_match.matched), [], {})])
    assert answer["type"] == "SyntaxError"
    assert f"read by Python {version}" in answer["message"]


LATE = """
from airflow.sdk import DAG, task
from airflow_vertex_provider import VertexTaskGroup

with DAG("late", schedule=None):
    with VertexTaskGroup("g", location="europe-west4", pipeline_root="gs://bucket/root"):

        @task
        def member():
            return below() + LOWER

        member()


def below():
    return 1


LOWER = 2
"""
LOOPS = """
for turn in range(2):
    pass
for turn in range(3):
    def member():
        return turn
"""


def test_what_stands_below_the_group_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text(LATE)
    with pytest.raises(VertexGroupError) as caught:
        runpy.run_path(str(tmp_path / "late.py"))
    text = str(caught.value)
    assert "'below' (line 10) has no value yet: line 15, which binds it, runs after the group" in text
    assert "'LOWER' (line 10) has no value yet: line 19" in text
    assert "above the group's 'with' block" in text


def test_a_loops_variable_is_told_once_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "loops.py").write_text(LOOPS)
    member = runpy.run_path(str(tmp_path / "loops.py"))["member"]
    with pytest.raises(CarryError, match="a default argument, turn=turn") as caught:
        carry_function(member)
    assert caught.value.names == [("turn", 2)]


TYPED = """
LIMIT = 3
type Row = dict[str, int]
type Twice[T] = tuple[T, T]


def first[T](items: list[T]) -> T:
    return items[0]


class Stack[T]:
    rows: list[Row] = []

    def __init__(self, x: T) -> None:
        self.items: list[T] = [x]


def member(x: Row):
    return [first(Stack[int](x).items) + LIMIT, Twice[int].__origin__.__name__, str(Row.__value__)]
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters and aliases need Python 3.12")
def test_type_parameters_and_aliases(tmp_path: Path) -> None:
    (tmp_path / "typed.py").write_text(TYPED)
    carried = carry_function(runpy.run_path(str(tmp_path / "typed.py"))["member"])
    (answer,) = run_batch(sys.executable, [config_of(carried, [1], {})])
    assert protocol.decode(answer["value"]) == [4, "Twice", "dict[str, int]"]
