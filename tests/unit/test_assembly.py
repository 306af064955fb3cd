"""What closing a group does to operators and edges, beyond the shape of the group itself."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, Label, TaskGroup, task

from airflow_vertex_provider import VertexTaskGroup
from airflow_vertex_provider.exceptions import VertexGroupError
from airflow_vertex_provider.operators.waiting import triggers_can_end_tasks

SUBMIT = "train.submit_pipeline"
WAIT = "train.wait_for_pipeline"

ends_in_triggerer = pytest.mark.skipif(not triggers_can_end_tasks(), reason="Airflow 3.3 and newer")


@task
def source(value: Any = 1) -> Any:
    return value


@task
def outer(value: Any = None) -> Any:
    return value


def group(**options: Any) -> VertexTaskGroup:
    return VertexTaskGroup("train", location="europe-west4", pipeline_root="gs://bucket/root", **options)


def get(dag: DAG, task_id: str) -> Any:
    return dag.get_task(task_id)


class TestWhereMembersRun:
    def member(self, **options: Any) -> Any:
        with DAG("d") as dag, group():
            source.override(**options)()
        return get(dag, "train.source")

    @ends_in_triggerer
    def test_in_the_triggerer(self) -> None:
        assert self.member().start_from_trigger is True

    @pytest.mark.parametrize(
        "options",
        [
            {"outlets": [Asset("a")]},
            {"inlets": [Asset("a")]},
            {"on_success_callback": print},
            {"on_execute_callback": print},
            {"email": "a@example.org"},
        ],
        ids=lambda options: next(iter(options)),
    )
    def test_on_a_worker_for_what_only_workers_do(self, options: dict[str, Any]) -> None:
        assert self.member(**options).start_from_trigger is False

    def test_wait_too(self) -> None:
        with DAG("d", default_args={"on_success_callback": print}) as dag, group():
            source()
        assert get(dag, WAIT).start_from_trigger is False

    def test_on_a_worker_while_a_task_is_mapped_over_it(self) -> None:
        with DAG("d") as dag:
            with group():
                value = source()
            outer.expand(value=value)
        assert get(dag, "train.source").start_from_trigger is False

    def test_not_deferrable(self) -> None:
        with DAG("d") as dag, group(deferrable=False):
            source()
        assert get(dag, "train.source").start_from_trigger is False
        assert get(dag, WAIT).start_from_trigger is False


class TestDefaultArguments:
    def test_what_is_the_pipeline_s_leaves_the_mirror(self) -> None:
        from datetime import timedelta

        arguments = {"retries": 3, "execution_timeout": timedelta(hours=1), "owner": "me", "pool": "p"}
        with DAG("d", default_args=arguments) as dag, group(custom_job={"machine_type": "n1-standard-4"}):
            source()
        member, submit, wait = (get(dag, name) for name in ("train.source", SUBMIT, WAIT))
        assert (member.retries, member.execution_timeout) == (0, None)
        assert (member.owner, member.pool) == ("me", "p")
        assert (submit.retries, submit.execution_timeout) == (3, timedelta(hours=1))
        assert (wait.retries, wait.execution_timeout) == (0, None)
        item = submit.graph["tasks"][0]
        assert item["retry"]["max_retry_count"] == 3
        assert item["timeout"] == 3600


class TestLateTasksAndEdges:
    def test_inner_group_takes_no_more_tasks(self) -> None:
        with DAG("d"):
            with group():
                inner = TaskGroup("inner")
                source()
            with pytest.raises(VertexGroupError, match="after the Vertex task group closed"), inner:
                outer()

    def test_labels_follow_their_edges(self) -> None:
        with DAG("d") as dag:
            before = outer()
            with group():
                before >> Label("why") >> source()
        assert dag.edge_info["outer"] == {SUBMIT: {"label": "why"}}

    def test_late_edge_between_members_changes_what_the_last_tasks_are(self) -> None:
        with DAG("d") as dag:
            with group():
                a, b = source(), source.override(task_id="b")()
            assert set(get(dag, WAIT).output_tasks) == {"train.source", "train.b"}
            a >> b
        wait = get(dag, WAIT)
        assert set(wait.output_tasks) == {"train.b"}
        if triggers_can_end_tasks():
            assert set(wait.start_trigger_args.trigger_kwargs["output_tasks"]) == {"train.b"}

    def test_late_edge_from_a_task_that_runs_nothing_is_refused(self) -> None:
        with DAG("d"):
            with group():
                nothing, member = EmptyOperator(task_id="nothing"), source()
            with pytest.raises(VertexGroupError, match="drawn after the with block"):
                nothing >> member

    def test_values_kept_in_vertex_are_no_outputs(self) -> None:
        with DAG("d") as dag, group():
            source.override(do_xcom_push=False)()
            source.override(task_id="b")()
        assert set(get(dag, WAIT).output_tasks) == {"train.b"}

    def test_unfollowed_members_cannot_be_mapped_over(self) -> None:
        with DAG("d") as dag, pytest.raises(VertexGroupError, match="wait_for_completion"):
            with group(wait_for_completion=False):
                value = source()
                outer.override(task_group=dag.task_group).expand(value=value)


class TestCopies:
    def test_deep_copy_and_pickle_of_a_closed_group(self) -> None:
        with DAG("d") as dag:
            before = BashOperator(task_id="before", bash_command="true")
            with group():
                before >> source()
        ids = get(dag, "train.source").upstream_task_ids
        assert type(copy.deepcopy(ids)) is set
        assert type(pickle.loads(pickle.dumps(ids))) is set
        assert copy.copy(ids) == {SUBMIT}
