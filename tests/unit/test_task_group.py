"""A closed group: which tasks it holds, what is upstream of what, and what it refuses."""

from __future__ import annotations

import copy
import functools
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import BranchPythonOperator, PythonOperator
from airflow.sdk import DAG, TaskGroup, chain, task

from airflow_vertex_provider import (
    CustomJob,
    Resources,
    VertexContainerOperator,
    VertexTaskGroup,
    compile_group,
    vertex_task_group,
)
from airflow_vertex_provider.exceptions import (
    VertexConfigurationError,
    VertexGroupError,
    VertexSettingsError,
)
from airflow_vertex_provider.operators.waiting import triggers_can_end_tasks
from airflow_vertex_provider.runtime import entrypoint
from airflow_vertex_provider.settings import ConnectionSettings

SUBMIT = "train.submit_pipeline"
#: What no function can take into a container.
LIVE = threading.Lock()
WAIT = "train.wait_for_pipeline"
NETWORK = "projects/123/global/networks/vpc"
#: Of another region than that of the groups here.
KEY = "projects/acme/locations/us-central1/keyRings/ring/cryptoKeys/key"


@task
def source(value: Any = 1) -> Any:
    return value


@task
def outer(value: Any = None) -> Any:
    return value


def needs_two(a: Any, b: Any, ds: Any = "none") -> Any:
    return [a, b, ds]


def greedy_function(a: Any, **kwargs: Any) -> Any:
    return a


def group(**options: Any) -> VertexTaskGroup:
    return VertexTaskGroup(
        "train", **{"location": "europe-west4", "pipeline_root": "gs://bucket/root", **options}
    )


def edges(dag: DAG) -> set[tuple[str, str]]:
    found = {(above, below.task_id) for below in dag.tasks for above in below.upstream_task_ids}
    backwards = {(above.task_id, below) for above in dag.tasks for below in above.downstream_task_ids}
    assert found == backwards, "an edge known at one end only"
    return found


def submit_of(dag: DAG) -> Any:
    return dag.get_task(SUBMIT)


def group_of(dag: DAG) -> Any:
    return dag.task_group.children["train"]


def refused(build: Callable[[], Any]) -> VertexGroupError:
    with DAG("d"), pytest.raises(VertexGroupError) as caught:
        build()
    return caught.value


class TestShape:
    def test_submit_mirrors_and_wait(self) -> None:
        with DAG("d") as dag:
            with group():
                first = source()
                source.override(task_id="second")(first)
        assert edges(dag) == {
            (SUBMIT, "train.source"),
            ("train.source", "train.second"),
            (SUBMIT, WAIT),
        }
        assert dag.get_task("train.source").task_type == "VertexMemberOperator"
        assert dag.get_task("train.second").operator_name == "Vertex: @task"

    @pytest.mark.skipif(not triggers_can_end_tasks(), reason="this Airflow starts no task in the triggerer")
    def test_serialises_and_reads_back(self) -> None:
        from airflow.serialization.serialized_objects import DagSerialization

        with DAG("d") as dag:
            with group():
                source()
        read = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
        member = read.get_task("train.source")
        assert member.start_from_trigger is True
        assert member.start_trigger_args is not None
        kwargs = member.start_trigger_args.trigger_kwargs
        assert "train.submit_pipeline" in str(kwargs)

    def test_a_partial_dag_leaves_the_whole_one_as_it_was(self) -> None:
        from airflow.serialization.serialized_objects import DagSerialization

        def written(dag: Any) -> str:
            return json.dumps(DagSerialization.to_dict(dag), sort_keys=True)

        with DAG("d") as dag:
            before = outer()
            with group(labels={"team": "ml"}):
                with TaskGroup("inner"):
                    first = source(before)
                source.override(task_id="second")(first)
        whole = written(dag)
        tasks = {id(item) for item in dag.tasks}
        part = dag.partial_subset("train.inner.source")

        assert set(part.task_dict) == {"outer", SUBMIT, "train.inner.source"}
        assert edges(part) == {("outer", SUBMIT), (SUBMIT, "train.inner.source")}
        assert set(group_of(part).children) == {SUBMIT, "train.inner"}
        assert group_of(part).labels == {"team": "ml"}
        assert set(group_of(part).get_task_group_dict()["train.inner"].children) == {"train.inner.source"}
        read = DagSerialization.from_dict(json.loads(written(part)))
        assert set(read.task_dict) == set(part.task_dict)
        assert set(read.task_group.get_task_group_dict()["train"].children) == {SUBMIT, "train.inner"}

        assert written(dag) == whole
        assert {id(item) for item in dag.tasks} == tasks
        assert group_of(dag).children[SUBMIT].task_group.label == "train"
        assert written(dag.partial_subset(list(dag.task_dict))) == whole

    def test_the_job_s_display_name_is_not_the_group_s(self) -> None:
        from airflow.serialization.serialized_objects import DagSerialization

        with DAG("d") as dag:
            with group(display_name="Console") as first:
                source()
            options: dict[str, Any] = {"location": "europe-west4", "pipeline_root": "gs://bucket/root"}
            with VertexTaskGroup("x", group_display_name="Grid", **options) as second:
                source()
        assert (first.label, second.label) == ("train", "Grid")
        read = DagSerialization.from_dict(DagSerialization.to_dict(dag)).task_group.get_task_group_dict()
        assert (read["train"].label, read["x"].label) == ("train", "Grid")
        assert submit_of(dag).pipeline["display_name"] == "Console"

    def test_a_copied_group_keeps_every_field(self) -> None:
        with DAG("d"):
            with group(labels={"team": "ml"}, poll_interval=timedelta(seconds=5)) as train:
                source()
        twin = copy.copy(train)
        assert {item.name: getattr(twin, item.name) for item in attrs.fields(VertexTaskGroup)} == {
            item.name: getattr(train, item.name) for item in attrs.fields(VertexTaskGroup)
        }
        assert twin.poll_interval == 5.0

    def test_members_keep_their_ids_and_xcom_args(self) -> None:
        with DAG("d") as dag:
            with group():
                value = source()
            outer(value)
        assert ("train.source", "outer") in edges(dag)

    def test_decorator_form(self) -> None:
        with DAG("d") as dag:

            @vertex_task_group(location="europe-west4", pipeline_root="gs://bucket/root")
            def train(day: str) -> Any:
                """Train it."""
                return source(day)

            outer(train("{{ ds }}"))
        assert {(SUBMIT, "train.source"), ("train.source", "outer"), (SUBMIT, WAIT)} == edges(dag)
        assert group_of(dag).tooltip == "Train it."

    def test_decorator_twice_and_override(self) -> None:
        with DAG("d") as dag:

            @vertex_task_group(location="europe-west4", pipeline_root="gs://bucket/root")
            def train() -> None:
                source()

            train()
            train()
            train.override(group_id="other")()
        assert {"train.source", "train__1.source", "other.source"} <= set(dag.task_dict)

    def test_decorator_without_a_suffix_on_collision(self) -> None:
        with DAG("d"):

            @vertex_task_group(
                add_suffix_on_collision=False, location="europe-west4", pipeline_root="gs://bucket/root"
            )
            def train() -> None:
                source()

            train()
            with pytest.raises(Exception, match="already been added"):
                train()

    def test_decorator_takes_arguments_by_name_alone(self) -> None:
        with pytest.raises(VertexConfigurationError, match="found 'train' as its first argument"):
            vertex_task_group("train")  # type: ignore[call-overload]

    def test_decorator_refuses_mapping(self) -> None:
        @vertex_task_group(location="europe-west4", pipeline_root="gs://bucket/root")
        def train(day: str) -> None:
            source(day)

        with DAG("d"), pytest.raises(VertexConfigurationError, match="expand"):
            train.expand(day=["a", "b"])

    def test_body_that_raises_converts_nothing_and_keeps_its_error(self) -> None:
        with DAG("d") as dag:
            with pytest.raises(KeyError, match="mine"):
                with group():
                    source()
                    raise KeyError("mine")
        assert set(dag.task_dict) == {"train.source"}
        assert dag.get_task("train.source").task_type == "_PythonDecoratedOperator"

    def test_nested_plain_groups_are_flattened(self) -> None:
        with DAG("d") as dag:
            with group():
                with TaskGroup("inner") as inner:
                    a = source()
                    source.override(task_id="b")(a)
                last = source.override(task_id="last")()
                inner >> last
        assert (SUBMIT, "train.inner.source") in edges(dag)
        assert ("train.inner.b", "train.last") in edges(dag)
        graph = submit_of(dag).graph
        upstream = {item["id"]: item["upstream"] for item in graph["tasks"]}
        assert upstream["train.last"] == ["train.inner.b"]

    def test_prefix_group_id_false(self) -> None:
        with DAG("d") as dag:
            with group(prefix_group_id=False):
                source()
        assert set(dag.task_dict) == {"source", SUBMIT, WAIT}

    def test_group_inside_a_plain_group(self) -> None:
        with DAG("d") as dag:
            with TaskGroup("parent"):
                with group():
                    source()
        assert set(dag.task_dict) == {
            "parent.train.source",
            "parent.train.submit_pipeline",
            "parent.train.wait_for_pipeline",
        }

    def test_two_groups_pass_values(self) -> None:
        with DAG("d") as dag:
            with group():
                value = source()
            with VertexTaskGroup("next", location="europe-west4", pipeline_root="gs://bucket/root"):
                source(value)
        assert ("train.source", "next.submit_pipeline") in edges(dag)
        assert ("train.source", "next.source") not in edges(dag)

    def test_fire_and_forget_holds_submit_alone(self) -> None:
        with DAG("d") as dag:
            before = outer()
            with group(wait_for_completion=False) as train:
                a = source(before)
                source.override(task_id="b")(a)
            train >> outer.override(task_id="after")()
        assert edges(dag) == {("outer", SUBMIT), (SUBMIT, "after")}
        compiled = compile_group(group_of(dag))
        assert set(compiled["root"]["dag"]["tasks"]) == {"source", "b"}

    def test_fire_and_forget_gives_no_values(self) -> None:
        def build() -> None:
            with group(wait_for_completion=False):
                value = source()
            outer(value)

        assert "wait_for_completion" in str(refused(build))

    def test_empty_operator_costs_no_machine(self) -> None:
        with DAG("d") as dag:
            with group():
                start, middle = EmptyOperator(task_id="start"), EmptyOperator(task_id="middle")
                a, b = source(), source.override(task_id="b")()
                start >> a >> middle >> b
        assert (SUBMIT, "train.start") in edges(dag)
        assert ("train.middle", "train.b") in edges(dag)
        assert dag.get_task("train.middle").task_type == "EmptyOperator"
        spec = compile_group(group_of(dag))
        tasks = spec["root"]["dag"]["tasks"]
        assert set(tasks) == {"source", "b"}
        assert tasks["b"]["dependentTasks"] == ["source"]


class TestUpstream:
    """Whatever is upstream of the group or of a member is upstream of submit_pipeline."""

    def check(self, dag: DAG) -> None:
        assert ("outer", SUBMIT) in edges(dag)
        assert ("outer", "train.source") not in edges(dag)

    def test_group_before_the_block(self) -> None:
        with DAG("d") as dag:
            train = group()
            outer() >> train
            with train:
                source()
        self.check(dag)

    def test_group_in_the_block(self) -> None:
        with DAG("d") as dag:
            before = outer()
            with group() as train:
                source()
                before >> train
        self.check(dag)

    def test_group_after_the_block(self) -> None:
        with DAG("d") as dag:
            with group() as train:
                source()
            outer() >> train
        self.check(dag)

    def test_group_of_tasks_after_the_block(self) -> None:
        with DAG("d") as dag:
            with TaskGroup("first") as first:
                outer()
            with group() as train:
                source()
            first >> train
        assert ("first.outer", SUBMIT) in edges(dag)

    def test_group_of_tasks_before_the_block(self) -> None:
        with DAG("d") as dag:
            with TaskGroup("first") as first:
                outer()
            train = group()
            first >> train
            with train:
                source()
        assert ("first.outer", SUBMIT) in edges(dag)

    def test_member_in_the_block(self) -> None:
        with DAG("d") as dag:
            before = outer()
            with group():
                before >> source()
        self.check(dag)
        assert ("outer", "train.source") not in edges(dag)

    @pytest.mark.parametrize("way", ["rshift", "lshift", "set_upstream", "set_downstream", "list", "chain"])
    def test_member_after_the_block(self, way: str) -> None:
        with DAG("d") as dag:
            with group():
                member = source()
            before = outer()
            match way:
                case "rshift":
                    before >> member
                case "lshift":
                    member << before
                case "set_upstream":
                    member.set_upstream(before)
                case "set_downstream":
                    before.set_downstream(member)
                case "list":
                    [before] >> member
                case "chain":
                    chain(before, member)
        self.check(dag)

    def test_inner_group_before_and_after(self) -> None:
        with DAG("d") as dag:
            with group():
                inner = TaskGroup("inner")
                with inner:
                    source()
            outer() >> inner
        assert ("outer", SUBMIT) in edges(dag)

    def test_xcom_arg(self) -> None:
        with DAG("d") as dag:
            value = outer()
            with group():
                source(value)
        assert ("outer", SUBMIT) in edges(dag)
        assert ("outer", "train.source") not in edges(dag)

    def test_xcom_arg_deep_inside(self) -> None:
        with DAG("d") as dag:
            value = outer()
            with group():
                source({"a": [1, {"b": value}]})
        assert ("outer", SUBMIT) in edges(dag)

    def test_member_edge_drawn_after_the_block_reaches_the_pipeline(self) -> None:
        with DAG("d") as dag:
            with group():
                a, b = source(), source.override(task_id="b")()
            a >> b
        spec = compile_group(group_of(dag))
        assert spec["root"]["dag"]["tasks"]["b"]["dependentTasks"] == ["source"]

    def test_downstream_before_and_after_the_block(self) -> None:
        with DAG("d") as dag:
            train = group()
            train >> outer.override(task_id="early")()
            with train:
                source()
            train >> outer.override(task_id="late")()
        for name in ("early", "late"):
            assert {(WAIT, name), ("train.source", name)} <= edges(dag)

    def test_task_between_members_is_refused(self) -> None:
        def build() -> None:
            between = outer()
            with group():
                source() >> between >> source.override(task_id="b")()

        assert "both after and before members" in str(refused(build))

    def test_task_between_members_drawn_late_is_refused(self) -> None:
        def build() -> None:
            with group():
                a, b = source(), source.override(task_id="b")()
            a >> outer() >> b

        assert "both after and before members" in str(refused(build))


class TestRefusals:
    """Each a named error at parse time, all of one group together."""

    @pytest.mark.parametrize(
        ("options", "field", "allowed"),
        [
            ({"pipeline_root": "/tmp/x"}, "pipeline_root", "gs://"),
            ({"pipeline_root": "s3://bucket/x"}, "pipeline_root", "gs://"),
            ({"location": "europe-west99"}, "location", "extra_locations"),
            ({"encryption_spec_key_name": KEY}, "encryption_spec_key_name", "europe-west4"),
            ({"job_overrides": {"pipelineSpec": {}}}, "job_overrides.pipeline_spec", "the group"),
            ({"network": NETWORK, "psc_network_attachment": "a"}, "network", "psc_network_attachment"),
            ({"location": "Europe West"}, "location", "europe-west4"),
            ({"network": "my-vpc"}, "network", "NUMBER"),
            ({"labels": {"Team": "x"}}, "labels", "lower-case"),
            ({"failure_policy": "sometimes"}, "failure_policy", "slow"),
            ({"custom_job": {"machine": "n1"}}, "custom_job.machine", "machine_type"),
            ({"custom_job": CustomJob(), "resources": Resources()}, "resources", "not both"),
            ({"display_name": "x" * 129}, "display_name", "128"),
        ],
    )
    def test_group_arguments(self, options: dict[str, Any], field: str, allowed: str) -> None:
        def build() -> None:
            with group(**options):
                source()

        error = refused(build)
        problem = next(problem for problem in error.problems if problem.field == field)
        assert allowed in problem.allowed

    @pytest.mark.parametrize(
        ("name", "value", "allowed"),
        [
            ("poll_interval", "soon", "seconds"),
            ("poll_interval", 0, "more than 0"),
            ("poll_interval", -1.5, "more than 0"),
            ("poll_interval", float("inf"), "seconds"),
            ("poll_interval", float("nan"), "seconds"),
            ("poll_interval", True, "seconds"),
            ("poll_interval", timedelta(0), "more than 0"),
            ("deferrable", "no", "True or False"),
            ("wait_for_completion", 1, "True or False"),
            ("cancel_on_kill", None, "True or False"),
            ("gcp_conn_id", 3, "connection"),
            ("gcp_conn_id", "", "connection"),
            ("gcp_conn_id", "{{ bad", "Jinja can read"),
            ("impersonation_chain", 3, "list"),
            ("impersonation_chain", [3], "list"),
            ("impersonation_chain", [""], "list"),
        ],
    )
    def test_arguments_of_the_group_itself(self, name: str, value: Any, allowed: str) -> None:
        with DAG("d"):
            (problem,) = group(**{name: value}).own_problems()
        assert (problem.where, problem.field) == ("train", name)
        assert allowed in problem.allowed

    def test_good_arguments_of_the_group_itself(self) -> None:
        account = "ml@acme.iam.gserviceaccount.com"
        choices: list[dict[str, Any]] = [
            {},
            {"poll_interval": 0.5, "deferrable": False, "impersonation_chain": account},
            {"poll_interval": timedelta(minutes=1), "impersonation_chain": [account, account]},
        ]
        for options in choices:
            with DAG("d"):
                assert group(**options).own_problems() == []

    @pytest.mark.parametrize(
        ("settings", "field"),
        [
            ({"machine_type": "n1-standard-4"}, 'executor_config["vertex"].machine_type'),
            ({"custom_job": {"machine_typ": "n1-standard-4"}}, "custom_job.machine_typ"),
            ({"custom_job": {"encryption_spec_key_name": KEY}}, "custom_job.encryption_spec_key_name"),
            (
                {"custom_job": {"machine_type": "e2-standard-4", "accelerator_type": "NVIDIA_TESLA_T4"}},
                "custom_job.accelerator_type",
            ),
            ({"custom_job": {"accelerator_type": "T4"}}, "custom_job.accelerator_type"),
            ({"resources": {"cpu_limit": "many"}}, "resources.cpu_limit"),
            ({"env": {"A": ""}}, "env.A"),
            ({"packages": "pandas"}, "packages"),
            ("gpu", 'executor_config["vertex"]'),
            (None, 'executor_config["vertex"]'),
            ({"image": "x:{{ ti.try_number }}"}, "image"),
            ({"env": {"A": "{{ bad"}}, "env.A"),
            ({"packages": ["a", "b=={{ task.task_id }}"]}, "packages[1]"),
            ({"custom_job": {"labels": {"a": "{{ ti.xcom_pull('train.source') }}"}}}, "custom_job.labels.a"),
        ],
    )
    def test_task_settings(self, settings: Any, field: str) -> None:
        def build() -> None:
            with group():
                source.override(executor_config={"vertex": settings})()

        error = refused(build)
        assert [problem.field for problem in error.problems] == [field]
        assert error.problems[0].where == "train.source"

    @pytest.mark.parametrize(
        ("options", "field"),
        [
            ({"image": "x:{{ ti.try_number }}"}, "image"),
            ({"labels": {"a": "{{ bad"}}, "labels.a"),
            ({"display_name": "{{ task.task_id }}"}, "display_name"),
            (
                {"custom_job": {"machine_type": "{{ ti.xcom_pull('train.source') }}"}},
                "custom_job.machine_type",
            ),
        ],
    )
    def test_templates_in_the_group_s_settings(self, options: dict[str, Any], field: str) -> None:
        def build() -> None:
            with group(**options):
                source()

        assert [(problem.where, problem.field) for problem in refused(build).problems] == [("train", field)]

    def test_executor_config_that_is_no_dict(self) -> None:
        def build() -> None:
            with group():
                source.override(executor_config=["vertex"])()

        assert [problem.field for problem in refused(build).problems] == ["executor_config"]

    def test_hooks_around_execute(self) -> None:
        def build() -> None:
            @task.skip_if(lambda context: True)
            @task
            def skipped() -> None: ...

            @task.run_if(lambda context: True)
            @task
            def run() -> None: ...

            with group():
                skipped()
                run()
                source.override(post_execute=lambda context, result: None)()

        found = [(problem.where, problem.field) for problem in refused(build).problems]
        assert found == [
            ("train.skipped", "pre_execute"),
            ("train.run", "pre_execute"),
            ("train.source", "post_execute"),
        ]

    def test_params_of_a_task(self) -> None:
        with DAG("d", params={"n": 1}):
            with pytest.raises(VertexGroupError) as caught:
                with group():
                    source.override(params={"n": 5})("{{ params.n }}")
                    source.override(task_id="more", params={"m": 1})("{{ params.m }}")
                    source.override(task_id="same", params={"n": 1})("{{ params.n }}")
        assert [(problem.where, problem.field) for problem in caught.value.problems] == [
            ("train.source", "params"),
            ("train.more", "params"),
        ]

    def test_dates_of_a_task(self) -> None:
        first, second = datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 6, 1, tzinfo=UTC)
        with (
            DAG("d", default_args={"start_date": first}, end_date=second),
            pytest.raises(VertexGroupError) as caught,
        ):
            with group():
                source()
                source.override(task_id="same", start_date=first, end_date=second)()
                source.override(task_id="later", start_date=second)()
                source.override(task_id="shorter", end_date=first)()
        assert [(problem.where, problem.field) for problem in caught.value.problems] == [
            ("train.later", "start_date"),
            ("train.shorter", "end_date"),
        ]

    @pytest.mark.parametrize("field", ["command", "arguments", "env"])
    @pytest.mark.parametrize("way", ["text", "output"])
    def test_container_arguments_of_another_shape(self, field: str, way: str) -> None:
        def build() -> None:
            given: dict[str, Any] = {field: "echo hi" if way == "text" else outer()}
            with group(image="i"):
                VertexContainerOperator(task_id="box", **given)

        assert [problem.field for problem in refused(build).problems] == [field]

    def test_container_environment(self) -> None:
        def build() -> None:
            with group(image="i"):
                env: Any = {"1 X": "v", "EMPTY": "", 3: "x", "GOOD": "{{ ds }}"}
                VertexContainerOperator(task_id="box", env=env)
                many = {f"A{number}": "x" for number in range(101)}
                VertexContainerOperator(task_id="many", env=many)

        found = [(problem.where, problem.field) for problem in refused(build).problems]
        assert found == [
            ("train.box", "env['1 X']"),
            ("train.box", "env['EMPTY']"),
            ("train.box", "env[3]"),
            ("train.many", "env"),
        ]

    @pytest.mark.parametrize("text", ["a\0b", "half \ud83d"])
    def test_text_that_no_container_argument_can_be(self, text: str) -> None:
        def build() -> None:
            with group(image="i"):
                VertexContainerOperator(task_id="box", command=["x"], arguments=["\N{PARTY POPPER}", text])

        assert [problem.field for problem in refused(build).problems] == ["arguments[1]"]

    @pytest.mark.parametrize(
        ("options", "settings", "said"),
        [
            ({"location": None}, {}, "train: location: found None"),
            ({"pipeline_root": None}, {}, "train: pipeline_root: found None"),
            (
                {"custom_job": CustomJob(accelerator_type="NVIDIA_TESLA_T4")},
                {},
                r"train\.source: custom_job\.accelerator_count: .*together",
            ),
            (
                {},
                {"custom_job": {"accelerator_count": 1}},
                r"train\.source: custom_job\.accelerator_type: .*together",
            ),
            (
                {"persistent_resource_id": "pool"},
                {"custom_job": {}},
                r"train\.source: custom_job\.service_account: found None; allowed: a service account",
            ),
        ],
    )
    def test_what_a_connection_may_say_is_missed_at_submit(
        self, options: dict[str, Any], settings: dict[str, Any], said: str
    ) -> None:
        with DAG("d") as dag:
            with group(**options):
                source.override(executor_config={"vertex": settings})()
        with pytest.raises(VertexSettingsError, match=said):
            compile_group(group_of(dag))
        connection = ConnectionSettings.of(
            {
                "location": "us-central1",
                "pipeline_root": "gs://bucket/connection",
                "service_account": "w@acme.iam.gserviceaccount.com",
                "custom_job": {"accelerator_type": "NVIDIA_TESLA_V100", "accelerator_count": 4},
            },
            "c",
        )
        compile_group(group_of(dag), connection=connection)

    def test_container_without_an_image(self) -> None:
        with DAG("d") as dag:
            with group():
                VertexContainerOperator(task_id="box", command=["x"])
                VertexContainerOperator(
                    task_id="given", command=["x"], executor_config={"vertex": {"image": "i"}}
                )
        with pytest.raises(VertexSettingsError, match=r"train\.box: image: found None"):
            compile_group(group_of(dag))
        spec = compile_group(group_of(dag), connection=ConnectionSettings.of({"image": "theirs"}, "c"))
        executors = spec["deploymentSpec"]["executors"]
        assert executors["exec-box"]["container"]["image"] == "theirs"
        assert executors["exec-given"]["container"]["image"] == "i"

    def test_a_fast_connection_refuses_what_a_fast_group_does(self) -> None:
        with DAG("d") as dag:
            with group():
                source() >> source.override(task_id="late", trigger_rule="all_done")()
        connection = ConnectionSettings.of({"failure_policy": "fast"}, "c")
        with pytest.raises(VertexGroupError, match=r"train\.late: trigger_rule: .*failure_policy='fast'"):
            compile_group(group_of(dag), connection=connection)
        compile_group(group_of(dag))

    def test_settings_of_a_member_that_runs_nothing(self) -> None:
        def build() -> None:
            with group():
                source()
                EmptyOperator(task_id="a", executor_config={"vertex": {"imge": "x"}})
                EmptyOperator(task_id="b", executor_config={"vertex": {"image": "x"}})
                EmptyOperator(task_id="c", executor_config={"KubernetesExecutor": {}})

        assert [(problem.where, problem.field) for problem in refused(build).problems] == [
            ("train.a", 'executor_config["vertex"].imge'),
            ("train.b", 'executor_config["vertex"]'),
        ]

    def test_settings_for_every_task_pass_over_a_member_that_runs_nothing(self) -> None:
        config: Any = {"vertex": {"image": "every:1"}}
        with DAG("d", default_args={"executor_config": config}) as dag:
            with group():
                source() >> EmptyOperator(task_id="end")
        with DAG("e", default_args={}) as other:
            parent: Any = {"executor_config": config}
            with TaskGroup("parent", default_args=parent):
                with group():
                    source() >> EmptyOperator(task_id="end")
        assert set(submit_of(dag).task_settings) == {"train.source"}
        submit: Any = other.get_task("parent.train.submit_pipeline")
        assert set(submit.task_settings) == {"parent.train.source"}

    @pytest.mark.parametrize(
        ("args", "kwargs", "found"),
        [
            ([1], {}, "missing a required argument"),
            ([], {"b": 2}, "missing a required argument"),
            ([1, 2, 3, 4], {}, "multiple values for argument 'ds'"),
            ([1, 2], {"a": 1}, "multiple values for argument 'a'"),
            # Airflow gives ds by name, so it refuses it by position.
            ([1, 2, "2025-01-01"], {}, "multiple values for argument 'ds'"),
        ],
    )
    def test_calls_that_do_not_fit(self, args: list[Any], kwargs: dict[str, Any], found: str) -> None:
        def build() -> None:
            with group():
                PythonOperator(task_id="p", python_callable=needs_two, op_args=args, op_kwargs=kwargs)

        (problem,) = refused(build).problems
        assert (problem.where, problem.field) == ("train.p", "op_args, op_kwargs")
        assert found in problem.found
        assert "needs_two(a: " in problem.allowed

    def test_calls_that_fit(self) -> None:
        calls: list[tuple[list[Any], dict[str, Any]]] = [
            ([1, 2], {}),
            ([1], {"b": 2}),
            ([], {"a": 1, "b": 2, "dropped": 3}),
            ([1, 2], {"ds": "x"}),
        ]
        with DAG("d") as dag:
            with group():
                for number, (args, kwargs) in enumerate(calls):
                    PythonOperator(
                        task_id=f"p{number}", python_callable=needs_two, op_args=args, op_kwargs=kwargs
                    )
        assert len(submit_of(dag).graph["tasks"]) == 4

    def test_callables_of_other_kinds(self) -> None:
        class Callable_:
            def __call__(self, **kwargs: Any) -> int:
                return 1

        def build() -> None:
            with group():
                partial = functools.partial(greedy_function, 1)
                functions: list[Any] = [max, int, partial, Callable_(), "x".join]
                for number, function in enumerate(functions):
                    PythonOperator(task_id=f"p{number}", python_callable=function)

        found = [(problem.where, problem.field) for problem in refused(build).problems]
        assert found == [(f"train.p{number}", "python_callable") for number in range(5)]

    def test_output_processor_without_a_module(self) -> None:
        def build() -> None:
            with group():
                BashOperator(task_id="b", bash_command="echo x", output_processor=str.strip)

        assert [problem.field for problem in refused(build).problems] == ["output_processor"]

    @pytest.mark.parametrize("name", ["variable_start_string", "line_statement_prefix"])
    def test_delimiters_of_the_dag_s_own(self, name: str) -> None:
        with DAG("d", jinja_environment_kwargs={name: "[["}), pytest.raises(VertexGroupError) as caught:
            with group():
                source("[[ ds ]]")
        assert [(problem.where, problem.field) for problem in caught.value.problems] == [
            ("train", "jinja_environment_kwargs")
        ]

    def test_jinja_extensions(self) -> None:
        with DAG("d") as dag:
            with group():
                source("{% set l = [] %}{% do l.append(ds) %}{{ l }}")
        with DAG("e", jinja_environment_kwargs={"extensions": ["jinja2.ext.loopcontrols"]}) as other:
            with group():
                source("{% for i in [1] %}{% break %}{% endfor %}")
        assert len(submit_of(dag).graph["parameters"]) == len(submit_of(other).graph["parameters"]) == 1
        # A DAG that names extensions has no others.
        with (
            DAG("f", jinja_environment_kwargs={"extensions": []}),
            pytest.raises(VertexGroupError, match="do"),
        ):
            with group():
                source("{% do x %}")
        missing = {"extensions": ["no.such.thing"]}
        with DAG("g", jinja_environment_kwargs=missing), pytest.raises(VertexGroupError, match=r"no\.such"):
            with group():
                source("{{ ds }}")

    def test_all_problems_at_once(self) -> None:
        def build() -> None:
            with group(location="nowhere", pipeline_root=None):
                BranchPythonOperator(task_id="branch", python_callable=lambda: "x")
                source.override(trigger_rule="all_done", depends_on_past=True)()
                PythonOperator(task_id="lam", python_callable=lambda: 1)
                BashOperator(task_id="bash", bash_command="run.sh", output_encoding="latin-1")

        error = refused(build)
        assert {(problem.where, problem.field) for problem in error.problems} >= {
            ("train", "location"),
            ("train.branch", "python_callable"),
            ("train.source", "depends_on_past"),
            ("train.lam", "python_callable"),
            ("train.bash", "bash_command"),
            ("train.bash", "output_encoding"),
        }
        assert error.dag_id == "d"
        for problem in error.problems:
            assert str(problem) in str(error)

    def test_empty_group(self) -> None:
        def build() -> None:
            with group():
                pass

        assert [problem.field for problem in refused(build).problems] == ["members"]

    def test_group_of_empty_operators(self) -> None:
        def build() -> None:
            with group():
                EmptyOperator(task_id="nothing")

        assert [problem.field for problem in refused(build).problems] == ["members"]

    def test_group_in_group(self) -> None:
        def build() -> None:
            with group():
                with VertexTaskGroup("in", location="europe-west4", pipeline_root="gs://bucket/root"):
                    source()

        assert "another Vertex task group" in str(refused(build))

    def test_subclass_of_a_supported_operator(self) -> None:
        class Mine(PythonOperator):
            def execute(self, context: Any) -> Any:
                return 1

        def build() -> None:
            with group():
                Mine(task_id="mine", python_callable=len)

        assert "Mine" in refused(build).problems[0].found

    @pytest.mark.parametrize("name", ["submit_pipeline", "wait_for_pipeline"])
    def test_reserved_ids(self, name: str) -> None:
        def build() -> None:
            with group():
                source.override(task_id=name)()

        assert refused(build).problems[0].field == "task_id"

    def test_execution_timeout_on_a_plain_task(self) -> None:
        def build() -> None:
            with group(resources={"cpu_limit": "2"}):
                source.override(execution_timeout=timedelta(hours=1))()

        problem = refused(build).problems[0]
        assert problem.field == "execution_timeout"
        assert "custom_job" in problem.allowed

    def test_execution_timeout_where_only_the_connection_names_a_machine(self) -> None:
        with DAG("d") as dag:
            with group():
                source.override(execution_timeout=timedelta(hours=1))()
        with pytest.raises(
            VertexGroupError, match=r"train\.source: execution_timeout: .*plain pipeline task"
        ):
            compile_group(group_of(dag))
        connection = ConnectionSettings.of({"custom_job": {"timeout": "30s"}}, "c")
        assert '\\"timeout\\":\\"30s\\"' in json.dumps(compile_group(group_of(dag), connection=connection))

    def test_execution_timeout_of_nothing(self) -> None:
        def build() -> None:
            with group(custom_job={}):
                source.override(execution_timeout=timedelta(0))()

        (problem,) = refused(build).problems
        assert (problem.field, problem.found) == ("execution_timeout", "0 s")

    def test_live_context(self) -> None:
        @task
        def live(ti: Any = None, var: Any = None) -> None: ...

        def build() -> None:
            with group():
                live()

        assert {problem.field for problem in refused(build).problems} == {"argument ti", "argument var"}

    def test_whole_context(self) -> None:
        @task
        def greedy(**context: Any) -> Any:
            return list(context)

        def build() -> None:
            with group():
                greedy()

        assert [problem.field for problem in refused(build).problems] == ["argument **context"]

    @pytest.mark.parametrize(
        "text",
        [
            "{{ ti.xcom_pull(task_ids='train.source') }}",
            "{{ task_instance.xcom_pull(['train.source']) }}",
            "{{ ti.try_number }}",
            "{{ task.task_id }}",
            *(
                f"{{{{ {name} }}}}"
                for name in (
                    "outlets",
                    "inlets",
                    "outlet_events",
                    "inlet_events",
                    "expanded_ti_count",
                    "exception",
                    "reason",
                )
            ),
            "{{ ti.xcom_pull(task_ids=other) }}",
            "{{ unclosed",
        ],
    )
    def test_templates_that_mean_something_else_at_submit(self, text: str) -> None:
        def build() -> None:
            with group():
                source()
                source.override(task_id="b")(text)

        assert [problem.where for problem in refused(build).problems] == ["train.b"]

    def test_name_from_the_module(self) -> None:
        @task
        def reader() -> Any:
            return LIVE

        def build() -> None:
            with group():
                reader()

        assert "LIVE" in str(refused(build))

    def test_container_output(self) -> None:
        def build() -> None:
            with group():
                box = VertexContainerOperator(task_id="box", image="i")
                source(box.output)

        assert "it declares, outputs={name: type}" in str(refused(build))

    def test_value_that_cannot_travel(self) -> None:
        def build() -> None:
            with group():
                source([1, {"a": object()}])

        problem = refused(build).problems[0]
        assert "object" in problem.allowed
        assert "[1]" in problem.allowed

    def test_task_added_outside_the_block(self) -> None:
        def before() -> None:
            BashOperator(task_id="b", bash_command="x", task_group=group())

        def after() -> None:
            with group() as train:
                source()
            BashOperator(task_id="b", bash_command="x", task_group=train)

        for build in (before, after):
            assert refused(build).problems[0].field == "task_group"

    def test_second_block(self) -> None:
        def build() -> None:
            train = group()
            for _ in range(2):
                with train:
                    source()

        assert refused(build).problems[0].field == "with"

    def test_refused_group_leaves_the_author_s_operators(self) -> None:
        with DAG("d") as dag:
            with pytest.raises(VertexGroupError):
                with group(location="nowhere"):
                    source()
        assert set(dag.task_dict) == {"train.source"}


class TestIds:
    @pytest.mark.parametrize(
        "task_id", ["a.b", "a-b", "A_B", "9lives", "x" * 240, "größe", "for-loop-1", "a__b", "_x", "root"]
    )
    def test_any_airflow_id_works(self, task_id: str) -> None:
        with DAG("D_1.x") as dag:
            with group():
                source.override(task_id=task_id)()
                source.override(task_id="other")()
        assert len(compile_group(group_of(dag))["root"]["dag"]["tasks"]) == 2

    def test_ids_that_read_the_same(self) -> None:
        with DAG("d") as dag:
            with group():
                for name in ("a_b", "a-b", "A_B", "a.b"):
                    source.override(task_id=name)()
        spec = compile_group(group_of(dag))
        assert len(spec["root"]["dag"]["tasks"]) == 4

    @pytest.mark.parametrize("dag_id", ["x.y", "x-y", "x_y", "9x", "X" * 250, "größe"])
    def test_any_dag_id_works(self, dag_id: str) -> None:
        with DAG(dag_id) as dag:
            with group():
                source()
        name = compile_group(group_of(dag))["pipelineInfo"]["name"]
        assert len(name) <= 112


class TestSettingsReachTheSpec:
    def test_levels(self) -> None:
        with DAG("d") as dag:
            with group(
                image="group:1",
                custom_job=CustomJob(machine_type="n1-standard-4"),
                service_account="w@p.iam.gserviceaccount.com",
            ):
                source()
                source.override(
                    task_id="gpu",
                    executor_config={
                        "vertex": {
                            "image": "task:1",
                            "custom_job": {
                                "machine_type": "g2-standard-4",
                                "accelerator_type": "NVIDIA_L4",
                                "accelerator_count": 1,
                            },
                        }
                    },
                )()
                source.override(
                    task_id="plain",
                    executor_config={"vertex": {"resources": Resources(cpu_limit="2").to_dict()}},
                )()
        executors = compile_group(group_of(dag))["deploymentSpec"]["executors"]

        def payload(name: str) -> Any:
            args = executors[f"exec-{name}"]["container"]["args"]
            return json.loads(args[args.index("--payload") + 1])["job_spec"]

        assert payload("source")["worker_pool_specs"][0]["machine_spec"] == {"machine_type": "n1-standard-4"}
        assert payload("source")["worker_pool_specs"][0]["container_spec"]["image_uri"] == "group:1"
        assert payload("source")["service_account"] == "w@p.iam.gserviceaccount.com"
        assert payload("gpu")["worker_pool_specs"][0]["machine_spec"] == {
            "machine_type": "g2-standard-4",
            "accelerator_type": "NVIDIA_L4",
            "accelerator_count": 1,
        }
        assert payload("gpu")["worker_pool_specs"][0]["container_spec"]["image_uri"] == "task:1"
        assert executors["exec-plain"]["container"]["image"] == "group:1"
        assert executors["exec-plain"]["container"]["resources"]["resourceCpuLimit"] == "2"

    def test_task_vertex(self) -> None:
        with DAG("d") as dag:

            @task.vertex(custom_job=CustomJob(machine_type="n2-standard-8"), env={"A": "b"}, retries=2)
            def fit() -> int:
                return 1

            with group():
                fit()
        spec = compile_group(group_of(dag))
        args = spec["deploymentSpec"]["executors"]["exec-fit"]["container"]["args"]
        pool = json.loads(args[args.index("--payload") + 1])["job_spec"]["worker_pool_specs"][0]
        assert pool["machine_spec"]["machine_type"] == "n2-standard-8"
        assert {"name": "A", "value": "b"} in pool["container_spec"]["env"]
        assert spec["root"]["dag"]["tasks"]["fit"]["retryPolicy"]["maxRetryCount"] == 2
        assert dag.get_task("train.fit").retries == 0

    def test_task_vertex_takes_the_nearest_of_its_settings(self) -> None:
        every = {
            "vertex": {"image": "every:1", "custom_job": {"machine_type": "n1-standard-8"}, "env": {"A": "e"}}
        }

        @task.vertex(
            image="decorator:1", custom_job=CustomJob(boot_disk_size_gb=200), env={"A": "d", "B": "d"}
        )
        def fit() -> int:
            return 1

        with DAG("d", default_args={"executor_config": every, "env": {"C": "not ours"}}) as dag:
            with group():
                fit()
                fit.override(
                    task_id="config", executor_config={"vertex": {"env": {"B": "c"}, "image": "call:1"}}
                )()
                fit.override(
                    task_id="named", custom_job=CustomJob(machine_type="n2-standard-2"), image="named:1"
                )()
                fit.override(task_id="plain", resources={"cpu_limit": "2"})()
        assert submit_of(dag).task_settings == {
            "train.fit": {
                "image": "decorator:1",
                "custom_job": {"machine_type": "n1-standard-8", "boot_disk_size_gb": 200},
                "env": {"A": "d", "B": "d"},
            },
            # An executor_config of the call takes the place of the one in default_args, as everywhere.
            "train.config": {
                "image": "call:1",
                "custom_job": {"boot_disk_size_gb": 200},
                "env": {"A": "d", "B": "c"},
            },
            "train.named": {
                "image": "named:1",
                "custom_job": {"machine_type": "n2-standard-2", "boot_disk_size_gb": 200},
                "env": {"A": "d", "B": "d"},
            },
            "train.plain": {
                "image": "decorator:1",
                "resources": {"cpu_limit": "2"},
                "env": {"A": "d", "B": "d"},
            },
        }

    def test_task_vertex_with_an_executor_config_of_its_own(self) -> None:
        config = {"vertex": {"image": "config:1"}, "KubernetesExecutor": {}}

        @task.vertex(image="argument:1", packages=["a"], executor_config=config)
        def fit() -> int:
            return 1

        with DAG("d") as dag:
            with group():
                fit()
                fit.override(task_id="named", image="named:1")()
        assert submit_of(dag).task_settings == {
            "train.fit": {"image": "config:1", "packages": ["a"]},
            "train.named": {"image": "named:1", "packages": ["a"]},
        }
        assert config == {"vertex": {"image": "config:1"}, "KubernetesExecutor": {}}

    @pytest.mark.parametrize("config", [{"vertex": None}, {"vertex": "x"}, ["vertex"]])
    def test_task_vertex_with_an_executor_config_of_another_shape(self, config: Any) -> None:
        @task.vertex(image="argument:1")
        def fit() -> int:
            return 1

        def build() -> None:
            with group():
                fit.override(executor_config=config)()

        (problem,) = refused(build).problems
        assert problem.field.startswith("executor_config")

    def test_dict_arguments_keep_their_keys(self) -> None:
        with DAG("d") as dag:
            before = outer()
            with group():
                source({1: "a", "1": "b"})
                source.override(task_id="mixed")({1: "{{ ds }}", "$in": [before]})
        nodes = [item["payload"]["args"][0] for item in submit_of(dag).graph["tasks"]]
        inputs = {"value_1": '"2025-01-02"', "value_in_0": "7"}
        assert entrypoint.resolve(nodes[0], {}) == {1: "a", "1": "b"}
        assert set(submit_of(dag).graph["tasks"][1]["inputs"]) == set(inputs)
        assert entrypoint.resolve(nodes[1], inputs) == {1: "2025-01-02", "$in": [7]}

    def test_a_key_that_cannot_travel(self) -> None:
        def build() -> None:
            with group():
                source({object(): "{{ ds }}"})

        with DAG("d"), pytest.raises(VertexGroupError, match="key <object"):
            build()

    def test_spec_is_the_same_each_time(self) -> None:
        def build() -> str:
            with DAG("d") as dag:
                before = outer()
                with group():
                    a = source(before)
                    source.override(task_id="b")({"day": "{{ ds }}", "a": a, "n": [1, 2.5, None]})
            return json.dumps(compile_group(group_of(dag)), sort_keys=True)

        assert build() == build()
