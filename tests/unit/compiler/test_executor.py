"""Executors: resources as kfp writes them, and arguments that stay within what Linux allows for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kfp.compiler import compiler_utils

from airflow_vertex_provider import checks
from airflow_vertex_provider.compiler import compile_graph, executor
from airflow_vertex_provider.compiler.pipeline_spec import inline_limit
from airflow_vertex_provider.emulator.placeholders import Placeholders
from airflow_vertex_provider.graph.model import FromConstant, FromOutput, FromParameter, Source
from airflow_vertex_provider.runtime.protocol import Reference, argument_cost
from airflow_vertex_provider.settings import CustomJob, PipelineSettings, Resources, TaskSettings
from tests.unit.compiler.samples import PIPELINE, container_task, graph_of, python_task

cpus = (
    st.integers(1, 96).map(str)
    | st.integers(1, 96_000).map(lambda m: f"{m}m")
    | st.floats(0.001, 96).map(lambda number: f"{number:.3f}")
)
memories = st.tuples(
    st.integers(1, 10**10), st.sampled_from(["", *"KMGTPE", *(f"{u}i" for u in "KMGTPE")])
).map(lambda pair: f"{pair[0]}{pair[1]}")


@given(cpus)
def test_cpus_are_counted_as_kfp_counts_them(text: str) -> None:
    assert executor.plain_resources(Resources(cpu_limit=text)) == {
        "cpuLimit": compiler_utils._cpu_to_float(text),
        "resourceCpuLimit": text,
    }


@given(memories)
def test_memory_is_counted_as_kfp_counts_it(text: str) -> None:
    counted = compiler_utils._memory_to_float(text)
    try:
        resources = Resources(memory_request=text)
    except ValueError:
        assert counted < 0.001 or counted > checks.MAX_MEMORY / 10**9
        return
    written = executor.plain_resources(resources)
    assert written["memoryRequest"] == pytest.approx(counted, rel=1e-15)
    assert written["resourceMemoryRequest"] == text


def test_nothing_said_is_no_resources() -> None:
    assert executor.plain_resources(Resources()) == {}


#: What grows most on its way into an argument.
WORST = ['"', "\\", "\n", "é", "\U0001f600", "<", "x"]


def sized(unit: str, cost: int) -> str:
    """Return as many ``unit`` as cost at most ``cost``."""
    each = argument_cost(unit * 2) - argument_cost(unit)
    text = unit * ((cost - argument_cost("")) // each)
    assert argument_cost(text) <= cost
    return text


@pytest.mark.parametrize("job", [None, CustomJob(), CustomJob(replica_count=2)])
@pytest.mark.parametrize("count", [1, 7, 24])
@pytest.mark.parametrize("unit", WORST)
def test_values_of_the_allowed_size_fit_into_the_argument(
    job: CustomJob | None, count: int, unit: str
) -> None:
    """The service's part is as long as it can be: longest root, job id and task id that are likely."""
    pipeline = PipelineSettings(pipeline_root=f"gs://bucket/{'r' * 60}", location="europe-west4")
    inputs: dict[str, Source] = {f"input_{number}": FromParameter("p") for number in range(count)}
    inputs["constant"] = FromConstant('"' * 500)
    graph = graph_of(python_task("g.t", inputs, outputs=("Output", "Text")), parameters=["p"])
    settings = {"g.t": TaskSettings(custom_job=job)}
    limit = inline_limit(graph, settings, pipeline)
    container = compile_graph(graph, settings, pipeline)["deploymentSpec"]["executors"]["exec-t"]["container"]

    values = {name: sized(unit, limit) for name in inputs} | {"constant": '"' * 500}
    folder = f"/gcs/bucket/{'r' * 60}/123456789012/{'j' * 127}/{'t' * 100}_-9063136771365142528"
    outputs = ("Output", "Text", "gcp_resources")
    executor_input = {
        "inputs": {
            "parameterValues": values,
            "parameters": {name: {"stringValue": value} for name, value in values.items()},
        },
        "outputs": {
            "outputFile": f"{folder}/executor_output.json",
            "parameters": {name: {"outputFile": f"{folder}/{name}"} for name in outputs},
        },
    }
    placeholders = Placeholders(
        executor_input,
        {"pipeline_persistent_resource_id": "", "pipeline_google_cloud_project_id": "acme"},
        {},
    )
    for text in placeholders.command([*container["command"], *container["args"]]):
        assert len(text.encode()) < executor.MAX_ARGUMENT


def test_values_of_a_container_share_only_the_arguments_they_stand_in() -> None:
    inputs: dict[str, Source] = {
        "a": FromOutput("g.few"),
        "b": FromOutput("g.few"),
        "c": FromConstant("x" * 1000),
    }
    together = container_task("g.t", arguments=[[{"$in": "a"}, {"$in": "b"}, {"$in": "c"}]], inputs=inputs)
    apart = container_task("g.t", arguments=[[{"$in": "a"}], [{"$in": "b"}]], inputs=inputs)
    settings = TaskSettings()
    limits = []
    for task in (together, apart):
        container = executor.build_executor(task, settings, PIPELINE, inline_limit=1)
        limits.append(executor.value_limit(task, container, PIPELINE))
    assert limits[0] is not None
    assert limits[1] is not None
    assert (
        limits[0]
        == (executor.MAX_ARGUMENT - 1 - 3 * len("{{$.inputs.parameters['a']}}") - argument_cost("x" * 1000))
        // 2
    )
    assert limits[1] == executor.MAX_ARGUMENT - 1 - len("{{$.inputs.parameters['a']}}")


def test_a_task_without_open_inputs_has_no_limit() -> None:
    task = python_task("g.t", {"a": FromConstant("1")})
    container = executor.build_executor(task, TaskSettings(), PIPELINE, inline_limit=1)
    assert executor.value_limit(task, container, PIPELINE) is None


@given(st.integers(0, 10**12), st.integers(1, 300))
def test_the_least_limit_has_room_for_a_reference(size: int, root: int) -> None:
    pipeline = PipelineSettings(pipeline_root=f"gs://bucket/{'r' * root}")
    folder = f"{pipeline.pipeline_root}/123456789012/{'j' * 127}/{'t' * 100}_-9063136771365142528"
    reference = str(Reference(f"{folder}/airflow_value.json", "a" * 64, size))
    assert argument_cost(reference) <= executor.least_value_limit(pipeline)


def test_what_is_no_part_of_a_command_is_refused() -> None:
    task = container_task("g.t", arguments=[7])
    with pytest.raises(TypeError, match="not a part of a container's command: 7"):
        compile_graph(graph_of(task), {"g.t": TaskSettings()}, PIPELINE)
