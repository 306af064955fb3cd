"""Rules, skips and loops at parse: what is refused, with which words; what has to be decided by whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, setup, task, task_group

from airflow_vertex_provider import VertexContainerOperator, VertexTaskGroup
from airflow_vertex_provider.exceptions import Problem, VertexGroupError
from airflow_vertex_provider.graph.control import Control
from airflow_vertex_provider.graph.model import FromOutput, FromParameter, Graph, TaskKind


def group(**settings: Any) -> VertexTaskGroup:
    return VertexTaskGroup("g", location="europe-west4", pipeline_root="gs://bucket/root", **settings)


@task
def first() -> int:
    return 1


@task
def many() -> list[int]:
    return [1, 2]


@task
def use(value: Any = None, other: Any = None) -> Any:
    return value


@task
def may_skip() -> None:
    from airflow.exceptions import AirflowSkipException

    raise AirflowSkipException


@task.branch
def choose() -> str:
    return "g.use"


def graph_of(fill: Callable[[], object], **settings: Any) -> Graph:
    with DAG("d", schedule=None) as dag, group(**settings):
        fill()
    return submitted(dag)


def submitted(dag: DAG) -> Graph:
    submit: Any = dag.get_task("g.submit_pipeline")
    return Graph.from_dict(submit.graph)


def refused(fill: Callable[[], object], **settings: Any) -> list[Problem]:
    with DAG("d", schedule=None), pytest.raises(VertexGroupError) as caught, group(**settings):
        fill()
    return list(caught.value.problems)


def mapped_after_skip() -> None:
    use.override(trigger_rule="none_failed").expand(value=skipping_list())


@task
def skipping_list() -> list[int]:
    from airflow.exceptions import AirflowSkipException

    raise AirflowSkipException


def tolerant_over_mapped() -> None:
    use.expand(value=[1]) >> use.override(task_id="after", trigger_rule="one_success")()


def values_of_failing_mapped() -> None:
    use.override(task_id="after", trigger_rule="all_done")(use.expand(value=[1]))


def always_with_value() -> None:
    use.override(trigger_rule="always")(first())


def part_of_a_mapped_group() -> None:
    @task_group
    def pair(value: int) -> Any:
        use.override(task_id="unseen")(value)
        return use.override(task_id="seen")(value)

    use(pair.expand(value=[1]))


def starts_apart_in_a_mapped_group() -> None:
    outside = first()

    @task_group
    def pair(value: int) -> None:
        outside >> use.override(task_id="a")(value)
        use.override(task_id="b")(value)

    pair.expand(value=[1])


def branch_in_a_mapped_group() -> None:
    @task_group
    def pair(value: int) -> None:
        choose() >> use(value)

    pair.expand(value=[1])


def value_of_a_branch() -> None:
    use(choose())


def literal_below_branch_and_others() -> None:
    [choose(), first()] >> use.expand(value=[1, 2])


def mapped_setup() -> None:
    @setup
    @task
    def prepare(value: int) -> None: ...

    prepare.expand(value=[1])


def map_over_member() -> None:
    use.expand(value=many().map(str))


def limited_but_not_mapped() -> None:
    use.override(max_active_tis_per_dagrun=2)()


def unknown_names() -> None:
    BashOperator.partial(task_id="b").expand_kwargs(many())


@pytest.mark.parametrize(
    ("fill", "where", "field", "found"),
    [
        (mapped_after_skip, "g.use", "trigger_rule", "mapped over the output of 'g.skipping_list'"),
        (tolerant_over_mapped, "g.after", "trigger_rule", "'one_success' below the mapped g.use"),
        (values_of_failing_mapped, "g.after", "trigger_rule", "takes the outputs of the mapped 'g.use'"),
        (always_with_value, "g.use", "trigger_rule", "'always' for a task that takes the output of g.first"),
        (part_of_a_mapped_group, "g.use", "upstream", "g.pair.unseen may fail without that"),
        (starts_apart_in_a_mapped_group, "g.pair.b", "upstream", "no task outside the mapped task group"),
        (branch_in_a_mapped_group, "g.pair.choose", "operator", "a mapped branch or short circuit"),
        (literal_below_branch_and_others, "g.use", "upstream", "g.first beside the branch or short circuit"),
        (value_of_a_branch, "g.use", "value", "the output of the branch 'g.choose'"),
        (mapped_setup, "g.prepare", "setup", "a mapped task"),
        (map_over_member, "g.use", "value", "map() over g.many"),
        (limited_but_not_mapped, "g.use", "max_active_tis_per_dagrun", "2"),
        (unknown_names, "g.b", "expand", "different or unknown keys"),
    ],
)
def test_refused(fill: Callable[[], object], where: str, field: str, found: str) -> None:
    (problem,) = refused(fill)
    assert (problem.where, problem.field) == (where, field)
    assert found in problem.found


def test_rules_that_run_after_a_failure_need_a_slow_job() -> None:
    (problem,) = refused(lambda: first() >> use.override(trigger_rule="all_done")(), failure_policy="fast")
    assert problem.field == "trigger_rule"
    assert "failure_policy='fast'" in problem.found


def test_a_group_without_skips_has_nothing_to_decide() -> None:
    graph = graph_of(lambda: use(first(), many()))
    control = Control(graph)
    assert not any(control.gated(item.id) or control.tolerant(item.id) for item in graph.tasks)


@pytest.mark.parametrize(
    ("rule", "gated", "tolerant"),
    [
        ("all_success", True, False),
        ("none_failed", False, False),
        ("none_failed_min_one_success", False, False),
        ("all_done", False, True),
        ("one_failed", True, True),
        ("always", False, False),
    ],
)
def test_what_a_rule_asks_for_below_a_skip(rule: str, gated: bool, tolerant: bool) -> None:
    graph = graph_of(lambda: [may_skip(), first()] >> use.override(trigger_rule=rule)())
    control = Control(graph)
    assert (control.gated("g.use"), control.tolerant("g.use")) == (gated, tolerant)


def test_a_skip_is_seen_through_tasks_that_run_nothing() -> None:
    graph = graph_of(lambda: may_skip() >> EmptyOperator(task_id="join") >> use())
    control = Control(graph)
    assert control.gated("g.use")
    assert control.waits_for("g.use") == ["g.may_skip"]
    assert graph.task("g.join").kind is TaskKind.EMPTY


@pytest.mark.parametrize(("rule", "rules"), [("all_success", 1), ("all_done", 3), ("none_failed", None)])
def test_a_ladder_of_tasks_that_run_nothing(rule: str, rules: int | None) -> None:
    def fill() -> None:
        above: list[Any] = [may_skip(), first()]
        for number in range(12):
            below = [EmptyOperator(task_id=f"{side}{number}", trigger_rule=rule) for side in "ab"]
            above[0] >> below
            above[1] >> below
            above = below
        above >> use()

    if rules is None:
        assert "8191 ways through tasks that run nothing" in refused(fill)[-1].found
    else:
        assert str(Control(graph_of(fill)).expression("g.use")).count("'rule'") == rules


def test_a_group_of_any_length() -> None:
    def fill() -> None:
        above: Any = first()
        for number in range(400):
            above = use.override(task_id=f"use{number}")(above)
        use.override(task_id="clean", trigger_rule="all_done")(above)

    graph = graph_of(fill)
    assert Control(graph).in_order()[-1] == "g.clean"


def test_a_circle() -> None:
    def fill() -> None:
        a, b = (EmptyOperator(task_id=name, trigger_rule="none_failed") for name in "ab")
        a >> b >> a
        b >> first()

    assert "a circle: g.a, g.b" in refused(fill)[0].found


def test_where_the_items_of_a_loop_come_from() -> None:
    def fill() -> None:
        use.override(task_id="known").expand(value=[1, 2])
        use.override(task_id="written").expand(value=many())
        use.override(task_id="made").expand(value=many.override(task_id="x")(), other=first())

    loops = {loop.id: loop.items for loop in graph_of(fill).loops}
    assert loops == {
        "g.known": FromParameter("g_known_items"),
        "g.written": FromOutput("g.many", "Items_written"),
        "g.made": FromOutput("g.made:items", "Items"),
    }


def test_a_loop_that_may_be_skipped_is_entered_by_a_gate() -> None:
    graph = graph_of(lambda: may_skip() >> use.expand(value=[1, 2]))
    gate = graph.task("g.use:items")
    assert (gate.kind, gate.upstream, gate.rule) == (TaskKind.GATE, ("g.may_skip",), "all_success")
    assert graph.task("g.use").upstream == ("g.use:items",)


def test_a_branch_says_who_keeps_each_follower_running() -> None:
    def fill() -> None:
        branch = choose()
        a, b = (
            VertexContainerOperator(task_id="a", image="i"),
            VertexContainerOperator(task_id="b", image="i"),
        )
        branch >> [a, b]
        a >> b

    graph = graph_of(fill)
    follow = graph.task("g.choose").payload["follow"]
    (_, to_a), (_, to_b) = graph.task("g.a").skipped_by[0], graph.task("g.b").skipped_by[0]
    assert follow[to_a]["keep"] == ["g.a"]
    assert follow[to_b]["keep"] == ["g.a", "g.b"]
    assert graph.task("g.choose").payload["ids"] == ["g.a", "g.b"]


def test_names_and_docs_reach_the_pipeline() -> None:
    with DAG("d", schedule=None) as dag, group(tooltip="Trains."):
        use.override(task_display_name="The last step", doc_md="  Uses it.\n  Twice.")()
        first.override(task_id="a", task_display_name="Twins")()
        first.override(task_id="b", task_display_name="Twins")()
    graph = submitted(dag)
    assert graph.vertex_names() == {"g.use": "The last step", "g.a": "Twins (a)", "g.b": "Twins (b)"}
    assert graph.description == "Trains.\n\nThe last step: Uses it.\nTwice."
