"""What an author's operator becomes: its class, what Airflow serialises of it, an instance on a worker."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException, DownstreamTasksSkipped
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Asset, task, task_group
from airflow.serialization.serialized_objects import DagSerialization

from airflow_vertex_provider import VertexTaskGroup
from airflow_vertex_provider.exceptions import VertexTaskFailedError
from airflow_vertex_provider.operators.waiting import LOST_WORKER_RETRIES, triggers_can_end_tasks
from airflow_vertex_provider.outputs import Outcome, skipped_outcome
from airflow_vertex_provider.runtime import protocol
from tests.unit.api_jobs import entry, job, loop

ends_in_triggerer = pytest.mark.skipif(not triggers_can_end_tasks(), reason="Airflow 3.3 and newer")


@task
def give(value: Any = 1) -> Any:
    return value


@task
def scale(x: Any, by: Any = 1) -> Any:
    return x * by


def group(**options: Any) -> VertexTaskGroup:
    return VertexTaskGroup("g", location="europe-west4", pipeline_root="gs://bucket/root", **options)


def read_back(dag: DAG) -> Any:
    return DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))


def get(dag: Any, task_id: str) -> Any:
    return dag.get_task(task_id)


class FakeInstance:
    """The little of a task instance that a mirror touches; Airflow's own needs a supervisor."""

    def __init__(self, task: Any, map_index: int = -1) -> None:
        self.task, self.map_index = task, map_index
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


def finish(mirror: Any, outcome: Outcome, map_index: int = -1) -> tuple[Any, Mapping[str, Any]]:
    instance = FakeInstance(mirror, map_index)
    value = mirror.finish({"ti": instance, "task": mirror}, outcome, {"vertex_logs_url": "l"})
    return value, instance.pushed


def ended(value: Any) -> Outcome:
    return Outcome(succeeded=True, message="ended", value_text=protocol.encode(value))


class TestEnds:
    def mirror(self) -> Any:
        with DAG("d") as dag, group():
            give()
        return get(dag, "g.give")

    def test_success(self) -> None:
        assert finish(self.mirror(), ended({"a": 1})) == ({"a": 1}, {"vertex_logs_url": "l"})

    def test_objects_and_artifacts_are_small_dicts(self) -> None:
        file = {"uri": "gs://bucket/root/v.npy", "sha256": "0" * 64, "size": 80, "as": "numpy"}
        told = {"type": "numpy.ndarray", "metadata": {"shape": [3]}}
        model = {"uri": "gs://bucket/root/model", "type": "system.Model", "metadata": {"a": 1}}
        outcome = Outcome(
            succeeded=True,
            message="ended",
            value_text=json.dumps({"deep": [{"$file": {**file, **told}}, {"$tuple": [1]}]}),
            artifact_texts={"model": protocol.encode(model)},
        )
        value, pushed = finish(self.mirror(), outcome)
        shown = {"uri": file["uri"], "type": told["type"], "metadata": {"shape": [3], "size": 80}}
        assert value == {"deep": [shown, (1,)]}
        assert pushed == {"vertex_logs_url": "l", "model": model}

    def test_skip(self) -> None:
        with pytest.raises(AirflowSkipException, match="was skipped"):
            finish(self.mirror(), skipped_outcome("it was skipped"))

    def test_failure(self) -> None:
        with pytest.raises(VertexTaskFailedError, match="boom"):
            finish(self.mirror(), Outcome(succeeded=False, message="boom"))


class TestMapped:
    @pytest.fixture
    def dag(self) -> DAG:
        with DAG("d", default_args={"retries": 2, "owner": "me"}) as dag:
            with group():
                numbers = give([1, 2])
                many = scale.override(pool="small", queue="q").partial(by=3).expand(x=numbers)
                kwargs = give.override(task_id="kwargs").expand_kwargs([{"value": 1}, {"value": 2}])
                BashOperator.partial(
                    task_id="shell", env={"A": "b"}, priority_weight=7, on_failure_callback=print
                ).expand(bash_command=["true", "false"])

                @task_group
                def pair(x: Any) -> Any:
                    return give.override(task_id="inner")(x)

                pair.expand(x=numbers)
            give.override(task_id="all")(many)
            give.override(task_id="each").expand(value=kwargs)
        return dag

    @pytest.mark.parametrize("task_id", ["g.scale", "g.kwargs", "g.shell"])
    def test_stays_a_mapped_task_for_the_scheduler(self, dag: DAG, task_id: str) -> None:
        mapped = get(dag, task_id)
        read = read_back(dag).get_task(task_id)
        assert mapped.is_mapped
        assert read.is_mapped
        assert read.task_type == "VertexMemberOperator"
        assert read.operator_name.startswith("Vertex: ")
        assert read.start_from_trigger is False
        assert read.retries == LOST_WORKER_RETRIES
        assert read.execution_timeout is None
        assert set(read.operator_extra_link_dict) == {"Vertex pipeline", "Vertex logs"}
        assert "job_name" in read.template_fields
        assert "bash_command" not in read.template_fields

    def test_is_counted_by_the_author_s_input(self, dag: DAG) -> None:
        read = read_back(dag)
        assert [above.task_id for above in read.get_task("g.scale").iter_mapped_dependencies()] == ["g.give"]
        assert read.get_task("g.kwargs").get_parse_time_mapped_ti_count() == 2
        assert read.get_task("g.shell").get_parse_time_mapped_ti_count() == 2

    def test_keeps_what_airflow_schedules_by(self, dag: DAG) -> None:
        read = read_back(dag)
        assert (read.get_task("g.scale").pool, read.get_task("g.scale").queue) == ("small", "q")
        assert read.get_task("g.scale").owner == "me"
        assert read.get_task("g.shell").priority_weight == 7
        assert get(dag, "g.shell").partial_kwargs["on_failure_callback"] == [print]
        assert get(dag, "g.scale").upstream_task_ids == {"g.give"}
        assert get(dag, "all").upstream_task_ids == {"g.scale"}

    @pytest.mark.parametrize(
        ("task_id", "resolved"),
        [
            ("g.scale", {"op_kwargs": {"x": 1}}),
            ("g.kwargs", {"op_kwargs": {"value": 1}}),
            ("g.shell", {"bash_command": "true"}),
        ],
    )
    def test_an_instance_is_a_mirror(self, dag: DAG, task_id: str, resolved: dict[str, Any]) -> None:
        mapped = get(dag, task_id)
        mirror = mapped.unmap(resolved)
        assert type(mirror).__name__ == "VertexMemberOperator"
        assert mirror.task_id == task_id
        assert mirror.task_name == task_id.removeprefix("g.")
        assert mirror.looped is True
        assert mirror.retries == LOST_WORKER_RETRIES
        assert "g.submit_pipeline" in mirror.job_name
        assert mirror.downstream_task_ids == mapped.downstream_task_ids
        assert not hasattr(mirror, "bash_command")
        mirror.index = 1
        second = job(loop(), entry(2, mirror.task_name, 1, input__item_index="1", output__Output="5"))
        outcome = mirror.outcome_of(second)
        assert outcome is not None
        assert outcome.value_text == "5"
        trigger = mirror.make_trigger()
        assert trigger.serialize()[1]["index"] == 1

    def test_survives_a_copy(self, dag: DAG) -> None:
        copied = copy.deepcopy(get(dag, "g.scale"))
        assert type(copied.unmap({})).__name__ == "VertexMemberOperator"
        part = dag.partial_subset(["g.scale"])
        assert type(part.get_task("g.scale").unmap({})).__name__ == "VertexMemberOperator"

    def test_members_of_a_mapped_group_start_on_workers(self, dag: DAG) -> None:
        inner = get(dag, "g.pair.inner")
        assert inner.looped is True
        assert inner.start_from_trigger is False

    def test_what_is_mapped_over_ends_on_a_worker(self, dag: DAG) -> None:
        assert get(dag, "g.give").start_from_trigger is False


class TestSkippers:
    def dag(self, decorator: Any, **options: Any) -> tuple[DAG, Any]:
        with DAG("d") as dag:
            with group():

                @decorator(**options)  # type: ignore[untyped-decorator]
                def choose() -> Any:
                    return "g.left"

                chosen = choose()
                near = [give.override(task_id=name)() for name in ("left", "right")]
                chosen >> near
                near[0] >> give.override(task_id="far")()
                near[0] >> give.override(task_id="clean")().as_teardown()
            chosen >> give.override(task_id="outside")()
        return dag, get(dag, "g.choose")

    @pytest.mark.parametrize("decorator", [task.branch, task.short_circuit])
    def test_airflow_knows_that_they_skip(self, decorator: Any) -> None:
        dag, mirror = self.dag(decorator)
        assert mirror.start_from_trigger is False
        read = read_back(dag).get_task("g.choose")
        assert read.inherits_from_skipmixin
        assert not read_back(dag).get_task("g.left").inherits_from_skipmixin

    def skipped(self, mirror: Any, value: Any) -> tuple[set[str], Mapping[str, Any]]:
        instance = FakeInstance(mirror)
        with pytest.raises(DownstreamTasksSkipped) as caught:
            mirror.finish({"ti": instance, "task": mirror}, ended(value), {})
        tasks = caught.value.tasks
        return {item if isinstance(item, str) else item[0] for item in tasks}, instance.pushed

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("g.left", {"g.right", "outside"}),
            (["g.left", "outside"], {"g.right"}),
            (None, {"g.left", "g.right", "outside"}),
        ],
    )
    def test_branch(self, value: Any, expected: set[str]) -> None:
        _, mirror = self.dag(task.branch)
        found, pushed = self.skipped(mirror, value)
        assert found == expected
        assert set(pushed["skipmixin_key"]["followed"]) == {"g.left", "g.right", "outside"} - expected

    def test_branch_that_follows_all(self) -> None:
        _, mirror = self.dag(task.branch)
        value, pushed = finish(mirror, ended(["g.left", "g.right", "outside"]))
        assert value == ["g.left", "g.right", "outside"]
        assert set(pushed["skipmixin_key"]["followed"]) == {"g.left", "g.right", "outside"}

    def test_short_circuit_skips_all_but_teardowns(self) -> None:
        _, mirror = self.dag(task.short_circuit)
        found, pushed = self.skipped(mirror, [])
        assert found == {"g.left", "g.right", "g.far", "outside"}
        assert set(pushed["skipmixin_key"]["skipped"]) == found

    def test_short_circuit_that_leaves_trigger_rules_in_force(self) -> None:
        _, mirror = self.dag(task.short_circuit, ignore_downstream_trigger_rules=False)
        assert self.skipped(mirror, 0)[0] == {"g.left", "g.right", "outside"}

    def test_short_circuit_that_goes_on(self) -> None:
        _, mirror = self.dag(task.short_circuit)
        assert finish(mirror, ended("yes")) == ("yes", {"vertex_logs_url": "l"})

    def test_short_circuit_with_nothing_below(self) -> None:
        with DAG("d") as dag, group():

            @task.short_circuit
            def stop() -> bool:
                return False

            stop()
        assert finish(get(dag, "g.stop"), ended(value=False))[0] is False

    @pytest.mark.parametrize("decorator", [task.branch, task.short_circuit])
    def test_skipped_themselves(self, decorator: Any) -> None:
        _, mirror = self.dag(decorator)
        with pytest.raises(AirflowSkipException):
            finish(mirror, skipped_outcome("gone"))


@ends_in_triggerer
def test_a_callback_for_skips_needs_a_worker() -> None:
    with DAG("d") as dag, group():
        give.override(on_skipped_callback=print)()
        give.override(task_id="b")()
    assert get(dag, "g.give").start_from_trigger is False
    assert get(dag, "g.b").start_from_trigger is True


def test_outlets_of_a_mapped_member_stay() -> None:
    with DAG("d") as dag, group():
        give.override(outlets=[Asset("a")]).expand(value=[1])
    assert get(dag, "g.give").unmap({}).outlets == [Asset("a")]


def test_without_waiting_no_mapped_group_is_left() -> None:
    with DAG("d") as dag, group(wait_for_completion=False):

        @task_group
        def pair(x: Any) -> Any:
            return give(x)

        pair.expand(x=give.override(task_id="numbers")([1]))
        scale.expand(x=[1])
    assert set(dag.task_dict) == {"g.submit_pipeline"}
    assert set(read_back(dag).task_dict) == {"g.submit_pipeline"}
