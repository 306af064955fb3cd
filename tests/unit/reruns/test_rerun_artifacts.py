"""Reruns on the emulator whose tasks take typed values and artifacts of tasks that are reused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import task

from airflow_vertex_provider import VertexComponentOperator
from airflow_vertex_provider.compiler import dump_spec
from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
from airflow_vertex_provider.reruns.recorded import UNREADABLE, typed
from airflow_vertex_provider.snapshot import JobSnapshot
from tests.unit.reruns import rerun_components as components
from tests.unit.reruns.reruns import MACHINE, Rig, member


def component(name: str, kind: Any, **arguments: Any) -> Any:
    return VertexComponentOperator(task_id=name, component=kind, arguments=arguments)


def functions(machine: Any) -> Any:
    def fill(at: str) -> None:
        def vertex(function: Any) -> Any:
            return task.vertex(task_id=function.__name__, executor_config=machine)(function)

        made: Any = vertex(components.make)(at)
        trained = vertex(components.train)(at, made["data"])
        seen = vertex(components.look)(at, trained["model"])
        member("end")(at, "end", seen, trained)

    return fill


@pytest.mark.parametrize("machine", [{}, MACHINE])
@pytest.mark.parametrize(
    ("failed", "again"),
    [("train", {"train", "look", "end"}), ("look", {"look", "end"}), ("end", {"end"})],
)
def test_artifacts_of_functions(
    hook: VertexPipelineHook, tmp_path: Path, machine: Any, failed: str, again: set[str]
) -> None:
    rig = Rig(hook, tmp_path, functions(machine))
    rig.first(failed)
    assert rig.second() == again
    assert rig.value("end") == ["end", "ABC", [3, ["a", {"b": 1}]]]


def test_artifacts_through_two_reruns(hook: VertexPipelineHook, tmp_path: Path) -> None:
    rig = Rig(hook, tmp_path, functions({}))
    rig.first("train")
    assert rig.second("look") == {"train", "look"}
    assert rig.second() == {"look", "end"}
    assert rig.value("end") == ["end", "ABC", [3, ["a", {"b": 1}]]]


def written_and_read(at: str) -> None:
    written = component("write", components.write, at=at)
    result = component(
        "read", components.read, at=at, data=written.output["data"], size=written.output["size"]
    )
    member("end")(at, "end", result.output["result"], written.output["note"])


def test_artifacts_and_values_of_components(hook: VertexPipelineHook, tmp_path: Path) -> None:
    rig = Rig(hook, tmp_path, written_and_read)
    rig.first("read")
    assert rig.second() == {"read", "end"}
    assert rig.again.reused == ("write",)
    assert rig.value("end") == ["end", "abc/3", 'it is "quoted"\n']
    assert rig.again.parameter_values["reused_write_size"] == 3
    ports = rig.again.spec["root"]["inputDefinitions"]["parameters"]
    assert {name: port["parameterType"] for name, port in ports.items()} == {
        "airflow_reuse": "STRING",
        "reused_write_data_uri": "STRING",
        "reused_write_note": "STRING",
        "reused_write_size": "NUMBER_INTEGER",
    }


def test_every_type_arrives_as_it_was(hook: VertexPipelineHook, tmp_path: Path) -> None:
    def fill(at: str) -> None:
        made = component("every-type", components.every_type, at=at).output
        names = ("number", "flag", "items", "table")
        taken = component("take", components.take_types, at=at, **{name: made[name] for name in names})
        member("end")(at, "end", taken.output["result"])

    rig = Rig(hook, tmp_path, fill)
    assert rig.first() == {"every_type", "take_types", "end"}
    whole = rig.value("end")
    rig.first("take_types")
    assert rig.second() == {"take_types", "end"}
    assert rig.value("end") == whole


@pytest.mark.parametrize(("failed", "reused"), [("read", ()), ("end", ("both", "read", "write"))])
def test_a_pipeline_as_a_component_is_one_unit(
    hook: VertexPipelineHook, tmp_path: Path, failed: str, reused: tuple[str, ...]
) -> None:
    def fill(at: str) -> None:
        member("end")(at, "end", component("both", components.both, at=at).output)

    rig = Rig(hook, tmp_path, fill)
    rig.first(failed)
    # Of such a component's own tasks the service's cache may spare some: it is on in what kfp compiles.
    assert rig.second() <= {"write", "read", "end"}
    assert rig.again.reused == reused
    assert rig.value("end") == ["end", "abc/3"]


def test_what_depends_on_the_job_runs_again(hook: VertexPipelineHook, tmp_path: Path) -> None:
    def fill(at: str) -> None:
        made = component("job", components.of_the_job, at=at, job="x").output["result"]
        member("end")(at, "end", made, member("a")(at, "a"))

    rig = Rig(hook, tmp_path, fill)
    inputs = rig.spec["root"]["dag"]["tasks"]["job"]["inputs"]["parameters"]
    inputs["job"] = {"runtimeValue": {"constant": "{{$.pipeline_job_name}}"}}
    rig.first("end")
    assert rig.second() == {"of_the_job", "end"}
    assert rig.again.reasons == {"job": "it depends on the job that it runs in"}
    assert rig.value("end") == ["end", "job-2", ["a"]]


def test_an_importer_is_what_kfp_compiles(hook: VertexPipelineHook, tmp_path: Path) -> None:
    rig = Rig(hook, tmp_path, written_and_read)
    rig.first("read")
    spec = rig.rerun().spec

    theirs = components.importing(tmp_path)
    # Shapes alone: names and values are each one's own.
    ours = spec["root"]["dag"]["tasks"]
    assert ours["read"]["dependentTasks"] == ["reused-write-data"]
    text = json.dumps(ours["reused-write-data"]).replace("reused-write-data", "importer")
    text = text.replace("reused_write_data_uri", "uri")
    assert json.loads(text) == theirs["root"]["dag"]["tasks"]["importer"]
    written = json.dumps(spec["components"]["comp-reused-write-data"]).replace(
        "reused-write-data", "importer"
    )
    assert json.loads(written) == theirs["components"]["comp-importer"]
    executor = spec["deploymentSpec"]["executors"]["exec-reused-write-data"]["importer"]
    expected = theirs["deploymentSpec"]["executors"]["exec-importer"]["importer"]
    assert {**executor, "metadata": expected["metadata"]} == expected
    taken = ours["read"]["inputs"]["artifacts"]["data"]["taskOutputArtifact"]
    assert taken == {"outputArtifactKey": "artifact", "producerTask": "reused-write-data"}


def test_outputs_of_the_pipeline_itself(hook: VertexPipelineHook, tmp_path: Path) -> None:
    rig = Rig(hook, tmp_path / "traces", components.with_outputs(tmp_path), at=str(tmp_path / "traces"))
    rig.first("read")
    assert rig.second() == {"read"}
    root = rig.again.spec["root"]
    assert set(root["outputDefinitions"]["parameters"]) == {"result"}
    assert set(root["outputDefinitions"]["artifacts"]) == {"data"}
    selectors = root["dag"]["outputs"]["artifacts"]["data"]["artifactSelectors"]
    assert selectors == [{"producerSubtask": "reused-write-data", "outputArtifactKey": "artifact"}]


def test_an_exit_handler_of_kfp(hook: VertexPipelineHook, tmp_path: Path) -> None:
    traces = tmp_path / "traces"
    rig = Rig(hook, traces, components.with_exit_handler(tmp_path), at=str(traces))
    rig.first("read")
    assert rig.second("read") == {"read", "told"}
    assert rig.again.reused == ("every-type", "write")
    assert rig.second() == {"read", "told"}
    entry = rig.job.task("read")
    assert entry is not None
    assert entry.outputs == {"result": "abc/3"}


def test_google_s_sdk_takes_what_is_left(hook: VertexPipelineHook, tmp_path: Path) -> None:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import aiplatform
    from google.protobuf import json_format

    rig = Rig(hook, tmp_path, written_and_read)
    rig.first("read")
    again = rig.rerun()
    path = tmp_path / "spec.json"
    path.write_text(dump_spec(again.spec))
    job = aiplatform.PipelineJob(
        display_name="group",
        template_path=str(path),
        parameter_values=again.parameter_values,
        pipeline_root="gs://bucket/root",
        project="acme",
        location="europe-west4",
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
    )
    assert json_format.MessageToDict(job._gca_resource._pb)["pipelineSpec"] == again.spec


# What cannot be given again


def without(rig: Rig, name: str, output: str, **instead: Any) -> JobSnapshot:
    """Return the job as if a task had not left an output, or another one."""
    return replace(
        rig.job,
        entries=tuple(
            replace(
                entry,
                outputs={key: value for key, value in entry.outputs.items() if key != output} | instead,
            )
            if entry.name == name
            else entry
            for entry in rig.job.entries
        ),
    )


def test_a_task_runs_again_whose_outputs_cannot_be_given(hook: VertexPipelineHook, tmp_path: Path) -> None:
    rig = Rig(hook, tmp_path, written_and_read)
    rig.first("read")
    artifact = {"uri": "gs://bucket/x", "type": "system.Dataset", "metadata": {}}
    cases: list[tuple[str, dict[str, Any]]] = [
        ("data", {}),
        ("data", {"data": {**artifact, "uri": ""}}),
        ("data", {"data": [artifact, artifact]}),
        ("data", {"data": {**artifact, "metadata": {"a": ["{{$.pipeline_job_name}}"]}}}),
        ("size", {}),
        ("size", {"size": "many"}),
        ("size", {"size": 2.5}),
        ("note", {"note": ["a"]}),
    ]
    for output, instead in cases:
        again = rig.rerun(earlier=without(rig, "write", output, **instead))
        assert again.reused == ()
        assert again.reasons == {"write": f"its output {output!r} cannot be taken from the earlier job"}
    # What is recorded in another form is the same value.
    for size in (3.0, "3"):
        again = rig.rerun(earlier=without(rig, "write", "size", size=size))
        assert again.parameter_values["reused_write_size"] == 3
    again = rig.rerun(again=["write"])
    assert again.reasons == {"write": "it is asked for"}


def test_an_output_that_nobody_takes_may_be_missing(hook: VertexPipelineHook, tmp_path: Path) -> None:
    rig = Rig(hook, tmp_path, written_and_read)
    rig.first("end")
    assert rig.rerun(earlier=without(rig, "write", "data")).reused == ("read", "write")


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("STRING", "3", "3"),
        ("STRING", 3.0, UNREADABLE),
        ("NUMBER_INTEGER", 3.0, 3),
        ("NUMBER_INTEGER", True, UNREADABLE),
        ("NUMBER_DOUBLE", 3.0, 3),
        ("NUMBER_DOUBLE", "0.5", 0.5),
        ("BOOLEAN", "true", True),
        ("BOOLEAN", 1.0, UNREADABLE),
        ("LIST", '[1, "a"]', [1, "a"]),
        ("LIST", [1.0, {"a": 2.0}], [1, {"a": 2}]),
        ("LIST", "{}", UNREADABLE),
        ("LIST", "no JSON", UNREADABLE),
        ("STRUCT", {"a": [1.5]}, {"a": [1.5]}),
        ("STRUCT", '"text"', UNREADABLE),
    ],
)
def test_recorded_values_get_their_type_back(kind: str, value: Any, expected: Any) -> None:
    found = typed(kind, value)
    assert found is expected if expected is UNREADABLE else (found, type(found)) == (expected, type(expected))
