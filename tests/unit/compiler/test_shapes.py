"""Rules, skips and loops: groups as authors write them in, the DAGs that kfp's own compiler writes out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, task, task_group

from airflow_vertex_provider import Dataset, Output, VertexTaskGroup, compile_group
from airflow_vertex_provider.compiler import dump_spec
from tests.unit.compiler import kfp_shapes

MACHINE = {"vertex": {"custom_job": {"machine_type": "n1-standard-4"}}}


def group(**settings: Any) -> VertexTaskGroup:
    return VertexTaskGroup(
        "g", location="europe-west4", project_id="project", pipeline_root="gs://bucket/root", **settings
    )


def compiled(fill: Callable[[], object], **settings: Any) -> dict[str, Any]:
    """Compile a group that ``fill`` fills; kfp must be able to read the result."""
    import kfp.components

    with DAG("d", schedule=None), group(**settings) as made:
        fill()
    spec = compile_group(made)
    kfp.components.load_component_from_text(dump_spec(spec))
    return spec


def dags(spec: dict[str, Any]) -> dict[str, Any]:
    """Return what says how tasks hang together, without what only our containers have."""
    kept = {name: item for name, item in spec["components"].items() if "dag" in item}
    kept["root"] = spec["root"]
    # kfp refuses the name Output for containers, and gives it to functions.
    text = re.sub(r"""(?<=[-"])Output(?=['"])""", "Value", json.dumps(kept, sort_keys=True))
    found: dict[str, Any] = json.loads(text)
    for item in found.values():
        for inner in item["dag"]["tasks"].values():
            inner.pop("cachingOptions", None)
        for parameter in item.get("inputDefinitions", {}).get("parameters", {}).values():
            parameter.pop("description", None)
    return found


def config_of(spec: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the entry point's configuration of a plain task."""
    command = spec["deploymentSpec"]["executors"][f"exec-{name}"]["container"]["command"]
    config: dict[str, Any] = json.loads(command[4])
    return config


@task
def first() -> int:
    return 1


@task
def use(value: Any = None) -> Any:
    return value


@task.branch
def choose() -> str:
    return "g.a"


def branch_to_machines() -> None:
    chosen = choose()
    a = first.override(task_id="a", executor_config=MACHINE)()
    c = first.override(task_id="c", executor_config=MACHINE)()
    join = use.override(task_id="join", trigger_rule="none_failed_min_one_success")
    chosen >> [a, c]
    join(a)
    c >> EmptyOperator(task_id="end")


def mapped_and_collected() -> None:
    each = use.override(task_id="each", max_active_tis_per_dagrun=3).expand(value=[1, 2])
    use.override(task_id="reduce")(each)


def mapped_over_output() -> None:
    @task
    def source() -> list[int]:
        return [1]

    use.override(task_id="each").expand(value=source())


def condition_in_loop() -> None:
    @task_group(group_id="all")
    def instance(value: int) -> Any:
        once = BashOperator(task_id="a", bash_command="true")
        more = first.override(task_id="c", executor_config=MACHINE)()
        once >> more
        return more

    use.override(task_id="reduce", trigger_rule="none_failed")(instance.expand(value=[1, 2]))


def after_failure() -> None:
    use.override(task_id="clean", trigger_rule="all_done")(first())


@task.vertex
def make(data: Output[Dataset]) -> None: ...


def artifacts() -> None:
    data: Any = make()["data"]  # type: ignore[call-arg, index]
    use.override(task_id="look")(data)

    @task_group(group_id="each")
    def instance(number: int) -> None:
        use.override(task_id="inside")(data)

    instance.expand(number=[1, 2])


def exit_task() -> None:
    work = first()
    last = use.override(task_id="last")()
    last.as_teardown()
    work >> last


@pytest.mark.parametrize(
    ("fill", "by_kfp"),
    [
        (branch_to_machines, kfp_shapes.branch_to_machines),
        (mapped_and_collected, kfp_shapes.mapped_and_collected),
        (mapped_over_output, kfp_shapes.mapped_over_output),
        (condition_in_loop, kfp_shapes.condition_in_loop),
        (after_failure, kfp_shapes.after_failure),
        (exit_task, kfp_shapes.exit_task),
        (artifacts, kfp_shapes.artifacts),
    ],
)
def test_a_shape_is_what_kfp_compiles(
    fill: Callable[[], object], by_kfp: Callable[[Path], Any], tmp_path: Path
) -> None:
    assert dags(compiled(fill)) == dags(by_kfp(tmp_path))


def test_google_s_sdk_takes_artifacts(tmp_path: Path) -> None:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import aiplatform
    from google.protobuf import json_format

    spec = compiled(artifacts)
    path = tmp_path / "spec.json"
    path.write_text(dump_spec(spec))
    job = aiplatform.PipelineJob(
        display_name="group",
        template_path=str(path),
        parameter_values={"g_each_items": []},
        pipeline_root="gs://bucket/root",
        project="acme",
        location="europe-west4",
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
    )
    assert json_format.MessageToDict(job._gca_resource._pb)["pipelineSpec"] == spec


def test_artifacts_have_the_types_that_kfp_gives_them(tmp_path: Path) -> None:
    ours, theirs = compiled(artifacts), kfp_shapes.artifacts(tmp_path)

    def ports(spec: dict[str, Any], name: str) -> dict[str, Any]:
        found = spec["components"][f"comp-{name}"]
        return {
            side: found[side]["artifacts"]
            for side in ("inputDefinitions", "outputDefinitions")
            if "artifacts" in found.get(side, {})
        }

    for name in ("make", "look", "each-inside"):
        assert ports(ours, name) == ports(theirs, name) != {}
