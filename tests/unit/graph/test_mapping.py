"""What is mapped over: items that a pipeline cannot be given are refused at parse, each by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, task, task_group

from airflow_vertex_provider import VertexContainerOperator, VertexTaskGroup
from airflow_vertex_provider.exceptions import Problem, VertexGroupError

PULL = "{{ ti.xcom_pull(task_ids='g.first') }}"


@task
def first() -> int:
    return 1


@task
def several(value: Any) -> list[Any]:
    return [value]


@task
def use(value: Any = None, other: Any = None) -> Any:
    return value


@task
def named(**kwargs: Any) -> None: ...


@task_group
def pair(value: Any) -> Any:
    return use(value)


def group() -> VertexTaskGroup:
    return VertexTaskGroup("g", location="europe-west4", pipeline_root="gs://bucket/root")


def refused(fill: Callable[[], object]) -> list[Problem]:
    with DAG("d", schedule=None), pytest.raises(VertexGroupError) as caught, group():
        fill()
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("item", "found"),
    [
        (PULL, PULL),
        ("{{ ti.map_index }}", "ti.map_index"),
        ("{{ task.task_id }}", "task.task_id"),
        (object(), "object"),
        ({"a": ["{{ ti.map_index }}"]}, "ti.map_index"),
    ],
)
@pytest.mark.parametrize(
    "fill",
    [
        lambda item: use.expand(value=[1, item]),
        lambda item: use.expand(value={"a": item}),
        lambda item: use.expand_kwargs([{"value": item}]),
        lambda item: use.expand_kwargs([{"value": item}, {"other": 1}]),
        lambda item: use.expand(value=several(1), other=[item]),
        lambda item: use.expand(value=several.expand(value=[1]), other=[item]),
    ],
    ids=["list", "dict", "dicts", "different dicts", "beside an output", "beside mapped outputs"],
)
def test_items_that_cannot_be_rendered_or_travel(
    fill: Callable[[Any], object], item: Any, found: str
) -> None:
    problems = refused(lambda: (first(), fill(item)))
    assert any(problem.where == "g.use" and found in problem.found for problem in problems), problems


def map_group_over(*items: Any) -> Callable[[], object]:
    return lambda: pair.expand(value=[*items])


def mapped_over_another_group_s_argument() -> None:
    kept: list[Any] = []

    @task_group
    def keeping(value: Any) -> None:
        kept.append(value)
        use(value)

    keeping.expand(value=[1])
    use.override(task_id="later").expand(value=kept[0])


@pytest.mark.parametrize(
    ("fill", "where", "found"),
    [
        (map_group_over(object()), "value[0]", "object"),
        (lambda: pair.expand(value=[1, several(1)]), "value[1]", "XComArg"),
        (mapped_over_another_group_s_argument, "value", "an argument of a mapped task group"),
        (lambda: named.expand(**{'a"b': [1]}), "expand", "an argument called 'a\"b'"),
        (
            lambda: BashOperator.partial(task_id="b").expand(bash_command=["true", "gone.sh"]),
            "bash_command[1]",
            "gone.sh",
        ),
        (
            lambda: VertexContainerOperator.partial(task_id="c", image="i").expand(arguments=[["a"], ["b"]]),
            "arguments",
            "mapped argument 'arguments'",
        ),
    ],
    ids=["object", "output", "argument", "name", "file", "list field"],
)
def test_refused(fill: Callable[[], object], where: str, found: str) -> None:
    problems = refused(fill)
    assert any(problem.field == where and found in problem.found for problem in problems), problems


def test_a_list_that_is_mapped_names_the_way_out() -> None:
    def fill() -> None:
        VertexContainerOperator.partial(task_id="c", image="i").expand(arguments=[["a"], ["b"]])

    def way_out() -> None:
        @task_group
        def each(word: str) -> None:
            VertexContainerOperator(task_id="c", image="i", arguments=["--word", word])

        each.expand(word=["a", "b"])

    assert "a mapped task group, whose argument may stand inside the value" in refused(fill)[0].allowed
    with DAG("d", schedule=None), group():
        way_out()
