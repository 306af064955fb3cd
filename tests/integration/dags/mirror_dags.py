"""DAGs whose Vertex task groups skip, branch, map, fail and clean up: what their mirrors must show."""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, setup, task, task_group, teardown

from airflow_vertex_provider import VertexTaskGroup


def group(**options: Any) -> VertexTaskGroup:
    return VertexTaskGroup(
        "g",
        location="europe-west4",
        pipeline_root="gs://emulated-bucket/pipelines",
        **options,
    )


@task
def give(value):  # type: ignore[no-untyped-def]
    return value


@task
def scale(x, by):  # type: ignore[no-untyped-def]
    from airflow.exceptions import AirflowSkipException

    if x == 3:
        raise AirflowSkipException("not three")
    return x * by


@task
def fail() -> None:
    raise ValueError("boom")


@task(trigger_rule="all_done")
def after_all() -> str:
    return "done"


@task(trigger_rule="none_failed")
def collect(values: Any) -> Any:
    return list(values)


def mapped(dag_id: str, **options: Any) -> None:
    """Map members over a literal, over a member's output, over nothing, and a whole group."""
    with DAG(dag_id, schedule=None):
        with group(**options):
            numbers = give([1, 2, 3])
            scaled = scale.partial(by=10).expand(x=numbers)
            BashOperator.partial(task_id="shell").expand(bash_command=["echo a", "exit 99", "echo c"])

            @task_group
            def pair(number: Any) -> Any:
                return give.override(task_id="second")(give.override(task_id="first")(number))

            pair.expand(number=numbers)
            scale.override(task_id="never").partial(by=1).expand(x=give.override(task_id="nothing")([]))
        collect(scaled)


def branching(dag_id: str, **options: Any) -> None:
    """Branch and cut short, with followers inside and outside of the group."""
    with DAG(dag_id, schedule=None):
        with group(**options):

            @task.branch
            def choose() -> str:
                return "g.left"

            @task(trigger_rule="none_failed_min_one_success")
            def join(one, two):  # type: ignore[no-untyped-def]
                return [one, two]

            @task.short_circuit
            def stop() -> bool:
                return False

            @task.short_circuit
            def go() -> str:
                return "yes"

            left, right = give.override(task_id="left")("l"), give.override(task_id="right")("r")
            choose() >> [left, right]
            join(left, right)
            stopped = stop()
            stopped >> give.override(task_id="near")(1) >> give.override(task_id="far")(1)
            go() >> give.override(task_id="going")(1)
        stopped >> give.override(task_id="outside")(2)


def cleaning(dag_id: str, **options: Any) -> None:
    """Fail, and clean up after it."""
    with DAG(dag_id, schedule=None):
        with group(**options):

            @setup
            def create() -> str:
                return "cluster"

            @teardown
            def delete(name):  # type: ignore[no-untyped-def]
                raise ValueError(f"cannot delete {name}")

            created = create()
            work = give("work")
            created >> work >> delete(created)
            failed = fail()
            failed >> after_all()
            scale.override(task_id="skipped")(3, 1) >> after_all.override(task_id="after_skipped")()


def jobless(dag_id: str, rule: str, **options: Any) -> None:
    """Never make the job, and start a member for all that."""
    with DAG(dag_id, schedule=None):
        if rule == "skipped":

            @task.short_circuit(ignore_downstream_trigger_rules=False)
            def before() -> bool:
                return False

        else:

            @task
            def before() -> bool:
                raise ValueError("no")

        above = before()
        with group(**options):
            first = give(1)
            first >> after_all()
        above >> first


# A scheduler under load is slow to hear of a task's deferral: what is deferred stays so for some seconds.
for ending, settings in (
    ("", {"poll_interval": 10}),
    ("_in_line", {"poll_interval": 0.2}),
    ("_on_workers", {"poll_interval": 0.2, "deferrable": False}),
):
    mapped(f"mirror_mapped{ending}", **settings)
    branching(f"mirror_branching{ending}", **settings)
    cleaning(f"mirror_cleaning{ending}", **settings)
    jobless(f"mirror_skipped_submit{ending}", "skipped", **settings)
    jobless(f"mirror_failed_submit{ending}", "failed", **settings)
