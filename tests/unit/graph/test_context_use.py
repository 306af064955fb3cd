"""What a function reads of Airflow's context, seen in its text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_vertex_provider.graph.code import carry_function
from airflow_vertex_provider.graph.context_use import (
    ContextUse,
    first_use,
    getter_lines,
    uses_of_context,
    uses_of_run,
)

LIVE = {"ti", "dag", "task", "var"}


def read(function: Callable[..., Any], name: str = "context") -> ContextUse:
    return uses_of_context(carry_function(function), name, LIVE, with_run=True)


def read_run(function: Callable[..., Any]) -> ContextUse:
    return uses_of_run(carry_function(function), "dag_run")


def line(use: ContextUse) -> list[int]:
    """Return how far below the function's first line each problem is."""
    return [int(found.rpartition("line ")[2].rstrip(")")) for found, _ in use.problems]


def test_constant_keys() -> None:
    def function(**context: Any) -> Any:
        x = context["params"]["x"]
        y = context.get("ds", "none")
        z = "ts" in context and context.get("mine")
        return [x, y, z, [context["run_id"] for _ in "ab"], (lambda: context["logical_date"])()]

    use = read(function)
    assert use.keys == {"params", "ds", "ts", "mine", "run_id", "logical_date"}
    assert (use.run, use.problems) == (None, [])


def test_the_run_s_attributes() -> None:
    def function(**context: Any) -> Any:
        return context["dag_run"].conf["x"], context.get("dag_run", {}).run_id

    use = read(function)
    assert (use.keys, use.run, use.problems) == (set(), {"conf", "run_id"}, [])


def _passed_on(**context: Any) -> Any:
    return dict(context)


def _spread(**context: Any) -> Any:
    return dict(**context)


def _iterated(**context: Any) -> Any:
    return [key + "" for key in context]


def _methods(**context: Any) -> Any:
    return context.items()


def _made_key(**context: Any) -> Any:
    key = "d" + "s"
    return context[key]


def _live(**context: Any) -> Any:
    return context["ti"].try_number


def _live_asked(**context: Any) -> Any:
    return context.get("var")


def _renamed(**context: Any) -> Any:
    other = context
    return other["ds"]


def _written(**context: Any) -> Any:
    context["mine"] = 1


def _run_renamed(**context: Any) -> Any:
    run = context["dag_run"]
    return run.conf


def _run_live(**context: Any) -> Any:
    return context["dag_run"].get_task_instances()


def _in_default(**context: Any) -> Any:
    def inner(context: Any = context) -> Any:
        return context

    return inner()


def _reached(**context: Any) -> Any:
    return locals()


@pytest.mark.parametrize(
    "function",
    [
        _passed_on,
        _spread,
        _iterated,
        _methods,
        _made_key,
        _live,
        _live_asked,
        _renamed,
        _written,
        _run_renamed,
        _run_live,
        _in_default,
        _reached,
    ],
)
def test_other_uses_have_their_line(function: Callable[..., Any]) -> None:
    use = read(function)
    assert len(use.problems) == 1
    assert "test_context_use.py, line" in use.problems[0][0]
    first = function.__code__.co_firstlineno
    assert first < line(use)[0] <= first + 2


def test_an_inner_argument_of_the_same_name_is_another() -> None:
    def function(**context: Any) -> Any:
        def inner(context: Any) -> Any:
            return list(context)

        return inner({"a": 1}), context["ds"]

    use = read(function)
    assert (use.keys, use.problems) == ({"ds"}, [])


def test_the_run_as_an_argument() -> None:
    def function(dag_run: Any = None) -> Any:
        if dag_run and dag_run.run_type == "manual":
            return dag_run.conf if dag_run is not None else {}
        return None if not dag_run else dag_run.logical_date.year

    use = read_run(function)
    assert (use.run, use.problems) == ({"run_type", "conf", "logical_date"}, [])


def _run_passed(dag_run: Any) -> Any:
    return repr(dag_run)


def _run_or(dag_run: Any) -> Any:
    return dag_run or 1


def _run_state(dag_run: Any) -> Any:
    return dag_run.state


def _run_type_printed(dag_run: Any) -> Any:
    return f"{dag_run.run_type}"


def _run_set(dag_run: Any) -> Any:
    dag_run.conf = {}


@pytest.mark.parametrize("function", [_run_passed, _run_or, _run_state, _run_type_printed, _run_set])
def test_other_uses_of_the_run(function: Callable[..., Any]) -> None:
    use = read_run(function)
    assert line(use) == [function.__code__.co_firstlineno + 1]


def test_first_use() -> None:
    def function(ti: Any) -> Any:
        a = 1
        return a, ti

    def unused(ti: Any) -> None: ...

    assert first_use(carry_function(function), "ti") == function.__code__.co_firstlineno + 2
    assert first_use(carry_function(unused), "ti") == unused.__code__.co_firstlineno


def test_the_getter_of_the_context() -> None:
    def imported() -> Any:
        from airflow.sdk import get_current_context

        return get_current_context()

    def by_module() -> Any:
        import airflow.sdk

        return airflow.sdk.get_current_context()

    def another() -> Any:
        def get_current_context() -> int:
            return 1

        return get_current_context()

    assert getter_lines(carry_function(imported)) == [imported.__code__.co_firstlineno + 1]
    assert getter_lines(carry_function(by_module)) == [by_module.__code__.co_firstlineno + 3]
    assert getter_lines(carry_function(another)) == []
