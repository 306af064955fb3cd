"""Reruns on the emulator whose tasks take typed values and artifacts of tasks that are reused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import task

from airflow_vertex_provider import VertexComponentOperator
from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
from tests.unit.compiler import rerun_components as components
from tests.unit.compiler.reruns import MACHINE, Rig, member


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
