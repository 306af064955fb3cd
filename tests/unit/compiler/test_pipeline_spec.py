"""The whole spec: of kfp's own form, accepted by kfp and Google's SDK, the same bytes every time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from airflow_vertex_provider.compiler import compile_graph, dump_spec
from airflow_vertex_provider.compiler.pipeline_spec import inline_limit, spec_size
from airflow_vertex_provider.exceptions import VertexGroupError
from airflow_vertex_provider.graph.model import (
    FromConstant,
    FromOutput,
    FromParameter,
    Graph,
    Parameter,
    Retry,
    Task,
    TaskKind,
)
from airflow_vertex_provider.runtime.protocol import DEFAULT_INLINE_LIMIT
from airflow_vertex_provider.settings import PipelineSettings, Resources, TaskSettings
from tests.unit.compiler import kfp_pipelines
from tests.unit.compiler.samples import (
    GPU,
    PIPELINE,
    chain,
    container_task,
    graph_of,
    python_task,
    same_settings,
)

PLAIN = TaskSettings(image="img:1", env={"B": "2", "A": 'it\'s "1"'}, resources=Resources(cpu_limit="4"))
ON_GPU = TaskSettings(image="img:1", custom_job=GPU, enable_caching=True)


def mixed() -> tuple[Graph, dict[str, TaskSettings]]:
    """A group with every kind of task, plain and on a machine of its own."""
    container = container_task(
        "g.show",
        command=["echo"],
        arguments=[["value: ", {"$in": "text"}, "!"]],
        env={"V": [{"$in": "text"}]},
        inputs={"text": FromParameter("start")},
        upstream=("g.t2",),
    )
    graph = chain(3)
    graph = Graph(graph.dag_id, graph.group_id, graph.name, (*graph.tasks, container), graph.parameters)
    return graph, {"g.t0": PLAIN, "g.t1": ON_GPU, "g.t2": PLAIN, "g.show": ON_GPU}


def test_a_group_of_containers_compiles_to_what_kfp_writes(tmp_path: Path) -> None:
    """Not similar: equal, key by key, for every feature that a container of kfp's DSL can have."""

    graph = graph_of(
        container_task(
            "g.load",
            command=["load", "--day"],
            arguments=[["day=", {"$in": "day"}]],
            inputs={"day": FromParameter("start")},
            outputs=("Rows",),
        ),
        container_task(
            "g.fit_model",
            arguments=[[{"$in": "rows"}], [{"$in": "rate"}]],
            inputs={"rows": FromOutput("g.load", "Rows"), "rate": FromConstant("0.1")},
            outputs=("A", "B"),
            retry=Retry(3, 9.2, 1.5, 600),
        ),
        container_task("g.report", upstream=("g.fit_model", "g.load"), retry=Retry(2, 0, 2, 86400)),
        parameters=["start", "unused"],
    )
    settings = {
        "g.load": TaskSettings(image="img:1", enable_caching=True, env={"B": "two words", "A": "1"}),
        "g.fit_model": TaskSettings(
            image="img:2",
            resources=Resources(
                cpu_limit="4.5",
                cpu_request="500m",
                memory_limit="16G",
                memory_request="512Mi",
                accelerator_type="NVIDIA_TESLA_T4",
                accelerator_count=2,
            ),
        ),
        "g.report": TaskSettings(image="img:3"),
    }
    assert compile_graph(graph, settings, PIPELINE) == kfp_pipelines.containers(tmp_path)


def test_a_group_of_functions_has_the_form_kfp_writes(tmp_path: Path) -> None:
    """Equal but for what runs inside the container, which is ours."""
    graph = graph_of(
        python_task("g.add", {"a": FromParameter("start")}),
        python_task("g.add-2", {"a": FromOutput("g.add")}),
        parameters=["start"],
    )
    settings = same_settings(graph, TaskSettings(image="img:1", enable_caching=True))
    ours, theirs = compile_graph(graph, settings, PIPELINE), kfp_pipelines.function(tmp_path)
    for spec in (ours, theirs):
        for executor in spec["deploymentSpec"]["executors"].values():
            for key in ("command", "args"):
                assert all(isinstance(text, str) for text in executor["container"].pop(key))
    assert ours == theirs


def test_names_of_tasks_are_ones_that_kfp_leaves_alone() -> None:
    from kfp.dsl import utils

    graph, settings = mixed()
    for name in compile_graph(graph, settings, PIPELINE)["root"]["dag"]["tasks"]:
        assert utils.maybe_rename_for_k8s(name) == name


def test_every_value_travels_as_text() -> None:
    graph, settings = mixed()
    spec = compile_graph(graph, settings, PIPELINE)
    definitions = [spec["root"]["inputDefinitions"]]
    for component in spec["components"].values():
        definitions += [
            component[key] for key in ("inputDefinitions", "outputDefinitions") if key in component
        ]
    for definition in definitions:
        for parameter in definition["parameters"].values():
            assert parameter == {"parameterType": "STRING"}


def test_a_custom_job_declares_the_launcher_s_output() -> None:
    graph, settings = mixed()
    spec = compile_graph(graph, settings, PIPELINE)
    outputs = {
        name: set(component.get("outputDefinitions", {}).get("parameters", {}))
        for name, component in spec["components"].items()
    }
    assert outputs == {
        "comp-t0": {"Output"},
        "comp-t1": {"Output", "gcp_resources"},
        "comp-t2": {"Output"},
        "comp-show": {"gcp_resources"},
    }


def test_a_run_parameter_s_description_is_kept() -> None:
    graph = graph_of(python_task("g.t", {"a": FromParameter("ds")}))
    graph = Graph(
        graph.dag_id, graph.group_id, graph.name, graph.tasks, (Parameter("ds", description="the day"),)
    )
    spec = compile_graph(graph, {"g.t": PLAIN}, PIPELINE)
    assert spec["root"]["inputDefinitions"]["parameters"] == {
        "ds": {"parameterType": "STRING", "description": "the day"}
    }


def test_a_retry_of_zero_times_is_no_policy() -> None:
    graph = graph_of(python_task("g.t", retry=Retry(0)))
    spec = compile_graph(graph, {"g.t": PLAIN}, PIPELINE)
    assert "retryPolicy" not in spec["root"]["dag"]["tasks"]["t"]


def test_the_spec_holds_no_field_that_the_proto_does_not_know() -> None:
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2

    graph, settings = mixed()
    spec = compile_graph(graph, settings, PIPELINE)
    message = json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    assert json_format.MessageToDict(message) == spec


def test_kfp_loads_the_text() -> None:
    from kfp import components

    graph, settings = mixed()
    spec = compile_graph(graph, settings, PIPELINE)
    component = components.load_component_from_text(dump_spec(spec))
    assert set(component.component_spec.inputs) == {"start"}
    from google.protobuf import json_format

    assert json_format.MessageToDict(component.pipeline_spec) == spec


@pytest.mark.parametrize("ending", ["json", "yaml", "yml"])
def test_google_s_sdk_takes_the_file(ending: str, tmp_path: Path) -> None:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import aiplatform
    from google.protobuf import json_format

    graph, settings = mixed()
    spec = compile_graph(graph, settings, PIPELINE)
    path = tmp_path / f"spec.{ending}"
    path.write_text(dump_spec(spec))
    job = aiplatform.PipelineJob(
        display_name="group",
        template_path=str(path),
        parameter_values={"start": "1"},
        pipeline_root="gs://bucket/root",
        project="acme",
        location="europe-west4",
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
    )
    assert job.job_id.startswith("dag-g-")
    made = json_format.MessageToDict(job._gca_resource._pb)
    assert made["pipelineSpec"] == spec
    assert made["runtimeConfig"]["parameterValues"] == {"start": "1"}


# Deterministic bytes

PRINT_SPEC = """
import hashlib
from airflow_vertex_provider.compiler import compile_graph, dump_spec
from tests.unit.compiler.samples import PIPELINE
from tests.unit.compiler.test_pipeline_spec import mixed
graph, settings = mixed()
print(hashlib.sha256(dump_spec(compile_graph(graph, settings, PIPELINE)).encode()).hexdigest())
"""


def test_every_process_writes_the_same_bytes() -> None:
    digests = set()
    for seed in ("0", "1", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", PRINT_SPEC],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(done.stdout.split()[-1])
    assert len(digests) == 1


def test_the_order_of_settings_does_not_matter() -> None:
    graph, settings = mixed()
    turned = {
        key: TaskSettings(
            image=value.image,
            env=dict(reversed(list(value.env.items()))),
            enable_caching=value.enable_caching,
            custom_job=value.custom_job,
            resources=value.resources,
        )
        for key, value in reversed(settings.items())
    }
    tasks = tuple(
        Task(**{**vars(t), "inputs": dict(reversed(list(t.inputs.items())))}) for t in reversed(graph.tasks)
    )
    other = Graph(graph.dag_id, graph.group_id, graph.name, tasks, graph.parameters)
    assert dump_spec(compile_graph(other, turned, PIPELINE)) == dump_spec(
        compile_graph(graph, settings, PIPELINE)
    )


def test_nothing_of_the_airflow_side_but_the_ids_matters() -> None:
    """A graph that went through JSON compiles to the same bytes."""
    graph, settings = mixed()
    again = Graph.from_dict(json.loads(json.dumps(graph.to_dict())))
    assert dump_spec(compile_graph(again, settings, PIPELINE)) == dump_spec(
        compile_graph(graph, settings, PIPELINE)
    )


@given(
    st.recursive(
        st.text() | st.integers(-(2**60), 2**60) | st.booleans() | st.none(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3),
        max_leaves=6,
    ).map(lambda value: {"value": value})
)
def test_the_text_is_json_and_yaml_at_once(data: dict[str, Any]) -> None:
    text = dump_spec(data)
    assert json.loads(text) == data
    assert yaml.safe_load(text) == data
    assert text.encode().decode() == text


def test_yaml_s_own_line_ends_and_unprintable_characters_survive() -> None:
    data = {"code": "a\x7f\x85\u2028\u2029\ufeff\ufffe\x80\x9f\t\x00 \U0001f600 \"'\\ {{$}} # : - é"}
    assert yaml.safe_load(dump_spec(data)) == json.loads(dump_spec(data)) == data


# Importing


def test_importing_the_compiler_loads_nothing_heavy() -> None:
    code = (
        "import sys, airflow_vertex_provider.compiler as c;"
        "c.compile_graph, c.dump_spec;"
        "banned = ('kfp', 'google_cloud_pipeline_components', 'google.cloud.aiplatform');"
        "print([name for name in banned if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_a_group_of_plain_tasks_compiles_without_kfp() -> None:
    code = (
        "import sys\n"
        "from airflow_vertex_provider.compiler import compile_graph\n"
        "from airflow_vertex_provider.settings import TaskSettings\n"
        "from tests.unit.compiler.samples import *\n"
        "graph = chain()\n"
        "compile_graph(graph, same_settings(graph, TaskSettings()), PIPELINE)\n"
        "print('kfp' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"


# Bad input


def problems_of(graph: Graph, settings: dict[str, TaskSettings] | TaskSettings) -> list[tuple[str, str]]:
    if isinstance(settings, TaskSettings):
        settings = same_settings(graph, settings)
    with pytest.raises(VertexGroupError) as raised:
        compile_graph(graph, settings, PIPELINE)
    assert (raised.value.dag_id, raised.value.group_id) == (graph.dag_id, graph.group_id)
    assert all(problem.found and problem.allowed for problem in raised.value.problems)
    return [(problem.where, problem.field) for problem in raised.value.problems]


def test_all_problems_are_named_at_once() -> None:
    graph = graph_of(
        python_task("g.a", {"x": FromParameter("missing"), "y": FromOutput("g.gone")}),
        python_task("g.b", {"z": FromOutput("g.a", "Other")}, timeout=60, retry=Retry(1, 7200)),
        container_task("g.c", arguments=["{{$.pipeline_job_name}}"], settings={"packages": ["numpy"]}),
    )
    assert problems_of(graph, {"g.a": PLAIN, "g.b": PLAIN, "g.c": PLAIN}) == [
        ("g.a", "upstream"),
        ("g.a", "inputs.x"),
        ("g.a", "inputs.y"),
        ("g.b", "inputs.z"),
        ("g.b", "execution_timeout"),
        ("g.b", "retry_delay"),
        ("g.c", "packages"),
        ("g.c", "arguments[0]"),
    ]


def test_an_empty_group_is_refused() -> None:
    assert problems_of(graph_of(), {}) == [("g", "tasks")]


def test_a_task_without_settings_is_refused() -> None:
    assert problems_of(chain(2), {"g.t0": PLAIN}) == [("g.t1", "settings")]


def test_two_tasks_of_one_name_are_refused() -> None:
    first, second = python_task("g.a"), python_task("g.b")
    graph = graph_of(first, Task(**{**vars(second), "name": "a"}))
    assert problems_of(graph, PLAIN) == [("g.b", "name")]


@pytest.mark.parametrize("name", ["", "A", "a_b", "1a", "a--b", "a-"])
def test_names_that_naming_does_not_give_are_refused(name: str) -> None:
    task = Task(**{**vars(python_task("g.a")), "name": name})
    assert problems_of(graph_of(task), PLAIN) == [("g.a", "name")]
    graph = Graph("dag", "g", f"{name or 'A'}_", (python_task("g.a"),))
    assert problems_of(graph, PLAIN) == [("g", "name")]


# How large a value may be


def test_values_of_a_task_with_few_inputs_may_have_the_default_size() -> None:
    graph = chain(3)
    assert inline_limit(graph, same_settings(graph, ON_GPU), PIPELINE) == DEFAULT_INLINE_LIMIT
    spec = compile_graph(graph, same_settings(graph, PLAIN), PIPELINE)
    command = spec["deploymentSpec"]["executors"]["exec-t0"]["container"]["command"]
    assert json.loads(command[4])["inline_limit"] == DEFAULT_INLINE_LIMIT


@pytest.mark.parametrize("settings", [PLAIN, ON_GPU])
@pytest.mark.parametrize("count", [10, 40])
def test_the_busiest_task_sets_the_size_for_all(settings: TaskSettings, count: int) -> None:
    graph = graph_of(
        python_task("g.few", {"a": FromParameter("p")}),
        python_task("g.many", {f"i{number}": FromOutput("g.few") for number in range(count)}),
        parameters=["p"],
    )
    limit = inline_limit(graph, same_settings(graph, settings), PIPELINE)
    assert 1_000 < limit < 131_072 / count
    text = dump_spec(compile_graph(graph, same_settings(graph, settings), PIPELINE))
    assert (
        text.count(f'inline_limit\\":{limit}' if settings is PLAIN else f'inline_limit\\\\\\":{limit}') == 2
    )


def test_code_that_leaves_no_room_for_values_is_refused() -> None:
    graph = graph_of(python_task("g.a", source="def add():\n    return '" + "x" * 100_000 + "'\n"))
    assert problems_of(graph, PLAIN) == [("g.a", "source")]
    assert problems_of(graph, ON_GPU) == [("g.a", "source")]
    assert problems_of(graph_of(container_task("g.a", arguments=["x" * 100_000])), PLAIN) == [
        ("g.a", "arguments")
    ]


def test_a_command_line_that_no_program_starts_with_is_refused() -> None:
    long = ["x" * 80_000]
    graph = graph_of(container_task("g.a", arguments=long * 25))
    assert compile_graph(graph, same_settings(graph, PLAIN), PIPELINE)
    graph = graph_of(container_task("g.a", arguments=long * 26))
    assert problems_of(graph, PLAIN) == [("g.a", "arguments")]


def test_the_size_of_a_spec_is_told_with_its_largest_tasks() -> None:
    graph = graph_of(*(container_task(f"g.{name}", arguments=["x" * size]) for name, size in SIZES.items()))
    spec = compile_graph(graph, same_settings(graph, PLAIN), PIPELINE)
    told = spec_size(spec)
    assert told.startswith(
        f"The pipeline spec has {len(json.dumps(spec, separators=(',', ':')))} bytes and 4 "
    )
    named = re.findall(r"([a-z]+) (\d+)", told.partition("largest: ")[2])
    assert [name for name, _ in named] == ["huge", "large", "middling"]
    assert [int(size) // 10_000 for _, size in named] == [4, 3, 2]


SIZES = {"small": 1, "huge": 40_000, "middling": 20_000, "large": 30_000}


def test_more_inputs_than_fit_are_refused() -> None:
    graph = graph_of(
        python_task("g.few"),
        python_task("g.many", {f"i{number}": FromOutput("g.few") for number in range(200)}),
    )
    assert problems_of(graph, PLAIN) == [("g.many", "inputs")]


@pytest.mark.parametrize("settings", [PLAIN, ON_GPU])
def test_constants_that_do_not_fit_are_refused(settings: TaskSettings) -> None:
    graph = graph_of(python_task("g.a", {"a": FromConstant("x" * 70_000)}))
    assert problems_of(graph, settings) == [("g.a", "inputs")]


def test_a_long_pipeline_root_is_counted() -> None:
    graph = graph_of(
        python_task("g.few"),
        python_task("g.many", {f"i{number}": FromOutput("g.few") for number in range(20)}),
    )
    settings = same_settings(graph, PLAIN)
    near = inline_limit(graph, settings, PIPELINE)
    far = inline_limit(graph, settings, PipelineSettings(pipeline_root=f"gs://bucket/{'x' * 500}"))
    assert far < near


def test_a_bash_task_is_compiled_like_a_function() -> None:
    from airflow_vertex_provider.runtime import protocol

    task = Task(
        "g.sh",
        "sh",
        TaskKind.BASH,
        protocol.bash_config(task="g.sh", command=protocol.constant("echo {{$}} $(date)")),
        outputs=("Output", "Text"),
    )
    settings = TaskSettings(image="img:1", packages=("numpy==2",))
    container = compile_graph(graph_of(task), {"g.sh": settings}, PIPELINE)["deploymentSpec"]["executors"][
        "exec-sh"
    ]["container"]
    assert container["command"][:3] == ["python3", "-u", "-c"]
    assert "{{" not in container["command"][4]
    config = json.loads(container["command"][4])
    assert container["command"][3] == protocol.embedded_source(config)
    assert config["packages"] == ["numpy==2"]
    assert config["output"] is True
    assert config["text_output"] is True
    assert config["command"] == {"$lit": "echo {{$}} $(date)"}
    assert container["args"] == ["{{$}}"]
