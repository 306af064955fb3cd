"""Placeholders in commands and in values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_vertex_provider.emulator.placeholders import (
    Placeholders,
    UnknownPlaceholderError,
    resolve_values,
)
from tests.emulator.pipelines import PARENT, Client, Json, Pipeline, constant, output, outputs, say, tasks

ARTIFACT = {
    "name": "a/1",
    "uri": "gs://b/x",
    "metadata": {"rows": 3, "note": "n"},
    "type": {"schemaTitle": "system.Dataset"},
}
INPUT: Json = {
    "inputs": {
        "parameterValues": {
            "s": 'say "hi"\n',
            "n": 3,
            "d": 0.5,
            "t": True,
            "l": [1, "a"],
            "o": {"b": 1, "a": 2},
        },
        "artifacts": {"data": {"artifacts": [ARTIFACT]}},
    },
    "outputs": {
        "outputFile": "/gcs/b/out.json",
        "parameters": {"Output": {"outputFile": "/gcs/b/Output"}},
        "artifacts": {"model": {"artifacts": [{**ARTIFACT, "uri": "gs://b/model"}]}},
    },
}
N = "{{$.inputs.parameters['n']}}"
SCOPE = Placeholders(INPUT, {"pipeline_job_name": "job-1", "pipeline_network": ""}, {"unset": "{}"})


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain {{ jinja }} {{$", "plain {{ jinja }} {{$"),
        ("{{$}}", json.dumps(INPUT, separators=(",", ":"))),
        ("{{$.inputs.parameters['s']}}", 'say "hi"\n'),
        ('{{$.inputs.parameters["s"]}}', 'say "hi"\n'),
        ("{{$.inputs.parameters['n']}}-{{$.inputs.parameters['d']}}", "3-0.5"),
        ("{{$.inputs.parameters['t']}}", "true"),
        ("{{$.inputs.parameters['l']}}", '[1,"a"]'),
        ("{{$.inputs.parameters['o']}}", '{"a":2,"b":1}'),
        ("{{$.inputs.parameters['unset']}}", "{}"),
        ("{{$.inputs.parameters['s'].json_escape[0]}}", 'say "hi"\n'),
        ("{{$.inputs.parameters['s'].json_escape[1]}}", 'say \\"hi\\"\\n'),
        ("{{$.inputs.artifacts['data'].uri}}", "gs://b/x"),
        ("{{$.inputs.artifacts['data'].path}}", "/gcs/b/x"),
        ("{{$.inputs.artifacts['data'].name}}", "a/1"),
        ("{{$.inputs.artifacts['data'].metadata['rows']}}", "3"),
        ("{{$.inputs.artifacts['data'].properties['note']}}", "n"),
        ("{{$.inputs.artifacts['data'].metadata}}", '{"note":"n","rows":3}'),
        ("{{$.outputs.artifacts['model'].uri}}", "gs://b/model"),
        ("{{$.outputs.parameters['Output'].output_file}}", "/gcs/b/Output"),
        ("{{$.outputs.output_file}}", "/gcs/b/out.json"),
        ("{{$.pipeline_job_name}}/{{$.pipeline_network}}.", "job-1/."),
    ],
)
def test_placeholders(text: str, result: str) -> None:
    assert SCOPE.text(text) == result


def test_an_escaped_input_survives_json_in_json() -> None:
    payload = SCOPE.text('{"args": ["{{$.json_escape[1]}}"]}')
    assert json.loads(json.loads(payload)["args"][0]) == INPUT


@pytest.mark.parametrize(
    "text",
    [
        "{{$.nothing}}",
        "{{$.inputs.parameters['nope']}}",
        "{{$.inputs.artifacts['nope'].uri}}",
        "{{$.inputs.artifacts['data'].metadata['nope']}}",
        "{{$.outputs.parameters['nope'].output_file}}",
        "{{$.inputs.parameters['s'].json_escape[2]}}",
        "{{$.inputs.parameters[s]}}",
        "{{$.}}",
    ],
)
def test_what_names_nothing_is_an_error(text: str) -> None:
    with pytest.raises(UnknownPlaceholderError):
        SCOPE.text(text)
    assert SCOPE.text(text, keep_unknown=True) == text


@pytest.mark.parametrize(
    ("parts", "result"),
    [
        (
            ['{"IfPresent": {"InputName": "n", "Then": ["--n", "' + N + '"], "Else": ["none"]}}'],
            ["--n", "3"],
        ),
        (['{"IfPresent": {"InputName": "nope", "Then": ["--n"], "Else": ["none"]}}'], ["none"]),
        (['{"IfPresent": {"InputName": "nope", "Then": ["--n"]}}', "end"], ["end"]),
        (['{"IfPresent": {"InputName": "data", "Then": "yes"}}'], ["yes"]),
        (['{"Concat": ["a=", "{{$.inputs.parameters[\'n\']}}", "!"]}'], ["a=3!"]),
        (['{"Concat": ["a", {"IfPresent": {"InputName": "n", "Then": ["b"]}}]}'], ["ab"]),
        (['{"Concat": not json'], ['{"Concat": not json']),
        (['{"other": 1}'], ['{"other": 1}']),
    ],
)
def test_structures_of_kfp(parts: list[str], result: list[str]) -> None:
    assert SCOPE.command(parts) == result


def test_a_value_cannot_bring_a_placeholder_into_a_command() -> None:
    scope = Placeholders(
        {"inputs": {"parameterValues": {"x": "{{$.pipeline_job_name}}"}}, "outputs": {"outputFile": ""}},
        {"pipeline_job_name": "j"},
        {},
    )
    assert scope.text("{{$.inputs.parameters['x']}}") == "{{$.pipeline_job_name}}"


def test_values_with_placeholders() -> None:
    values: Json = {
        "s": "v {{$.inputs.parameters['n']}}",
        "n": 3,
        "l": ["{{$.json_escape[1]}}", "{{$.pipeline_job_name}}"],
        "kept": "{{$.pipeline_job_name}} {{$.nothing}}",
        "broken": ["{{$.inputs.parameters['q']}}"],
        "q": '"',
    }
    scope = Placeholders(
        {"inputs": {"parameterValues": values}, "outputs": {"outputFile": "f"}},
        {"pipeline_job_name": "j"},
        {},
    )
    found = resolve_values(values, scope, frozenset(values))
    assert found["s"] == "v 3"
    assert found["n"] == 3
    assert found["kept"] == "j {{$.nothing}}"
    assert found["l"][1] == "j"
    inner = json.loads(found["l"][0])
    assert inner["outputs"] == {"outputFile": "f"}
    assert inner["inputs"]["parameterValues"]["s"] == "v 3"
    assert found["broken"] == values["broken"]
    assert resolve_values(values, scope, frozenset()) == values


OWN_VALUES = (
    "pipeline_job_name",
    "pipeline_job_resource_name",
    "pipeline_job_uuid",
    "pipeline_task_name",
    "pipeline_task_uuid",
    "pipeline_root",
    "pipeline_job_create_time_utc",
    "pipeline_job_schedule_time_utc",
    "pipeline_google_cloud_project_id",
    "pipeline_google_cloud_location",
    "pipeline_service_account",
    "pipeline_network",
    "pipeline_persistent_resource_id",
    "pipeline_encryption_key_name",
)


def test_the_pipelines_own_values(client: Client) -> None:
    text = json.dumps({name: f"{{{{$.{name}}}}}" for name in OWN_VALUES})
    pipe = Pipeline().task("t", say(text), outputs={"Output": "STRUCT"}, name="Nice name")
    job = client.run(pipe, "own-values", encryptionSpec={"kmsKeyName": "key"})
    entry: Any = tasks(job)["Nice name"]
    assert outputs(job, "Nice name")["Output"] == {
        "pipeline_job_name": "own-values",
        "pipeline_job_resource_name": job["name"],
        "pipeline_job_uuid": job["labels"]["vertex-ai-pipelines-run-billing-id"],
        "pipeline_task_name": "Nice name",
        "pipeline_task_uuid": entry["taskId"],
        "pipeline_root": "gs://bucket/root",
        "pipeline_job_create_time_utc": job["createTime"],
        "pipeline_job_schedule_time_utc": job["createTime"],
        "pipeline_google_cloud_project_id": "my-proj",
        "pipeline_google_cloud_location": "europe-west4",
        "pipeline_service_account": job["serviceAccount"],
        "pipeline_network": "",
        "pipeline_persistent_resource_id": "",
        "pipeline_encryption_key_name": "key",
    }
    assert client.get(f"{PARENT}/pipelineJobs/own-values") == job


def test_text_made_from_another_tasks_output(client: Client) -> None:
    pipe = Pipeline().task("a", say("3"), outputs={"Output": "STRING"})
    text = "v {{$.inputs.parameters['pipelinechannel--a-Output']}}"
    inputs = {"x": constant(text), "pipelinechannel--a-Output": output("a")}
    pipe.task("b", say("{{$.inputs.parameters['x']}}"), inputs=inputs, outputs={"Output": "STRING"})
    del pipe.components["comp-b"]["inputDefinitions"]["parameters"]["pipelinechannel--a-Output"]
    assert outputs(client.run(pipe), "b") == {"Output": "v 3"}
