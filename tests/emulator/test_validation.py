"""What the API refuses, and how: nothing is stored, and every problem is named."""

from __future__ import annotations

import copy
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_vertex_provider.emulator import VertexEmulator
from tests.emulator.pipelines import (
    PARENT,
    ROOT,
    ApiFailure,
    Client,
    Json,
    Pipeline,
    constant,
    output,
    parameter,
)


@pytest.fixture(scope="module")
def emulator() -> Iterator[VertexEmulator]:
    """One emulator for all of this file; nothing here is ever accepted by it."""
    with VertexEmulator() as running:
        yield running
        assert running.jobs() == []


@pytest.fixture(scope="module")
def client(emulator: VertexEmulator) -> Client:
    return Client(emulator.endpoint)


def _refused(
    act: Callable[[], Any], *found: str, http_status: int = 400, status: str = "INVALID_ARGUMENT"
) -> ApiFailure:
    with pytest.raises(ApiFailure) as error:
        act()
    assert (error.value.http_status, error.value.status) == (http_status, status)
    for text in found:
        assert text in error.value.message
    return error.value


def test_unknown_fields_and_wrong_types_are_refused_by_the_api_types(client: Client) -> None:
    _refused(
        lambda: client.create(Pipeline().task("t"), noSuchField=1),
        'Unknown name "noSuchField"',
        "Cannot find field",
    )
    _refused(lambda: client.create(Pipeline().task("t"), labels={"a": 1}))
    _refused(lambda: client.create(Pipeline().task("t"), displayName=["x"]))
    _refused(lambda: client.create(Pipeline().task("t"), failure_policy="NO_SUCH_POLICY"))
    _refused(lambda: client.call("POST", f"/v1/{PARENT}/pipelineJobs", [1]), "Root element must be a message")


def test_a_body_that_is_no_json_is_refused(client: Client) -> None:
    request = urllib.request.Request(
        f"{client.endpoint}/v1/{PARENT}/pipelineJobs", b"{not json", method="POST"
    )
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request, timeout=30)
    assert error.value.code == 400
    assert json.loads(error.value.read())["error"]["status"] == "INVALID_ARGUMENT"


def test_all_problems_are_listed_in_the_recorded_form(client: Client) -> None:
    error = _refused(
        lambda: client.create(
            Pipeline(word="STRING").task("t"), "Bad_Id", root="", labels={"Upper": "x"}, displayName="d" * 129
        )
    )
    assert error.message.startswith("List of found errors:\t1.Field: ")
    violations = error.error["details"][0]["fieldViolations"]
    assert error.error["details"][0]["@type"] == "type.googleapis.com/google.rpc.BadRequest"
    fields = [violation["field"] for violation in violations]
    assert fields == [
        "pipeline_job_id",
        "pipeline_job.display_name",
        "pipeline_job.labels",
        "pipeline_job.runtime_config.gcs_output_directory",
        "pipeline_job.runtime_config.parameter_values[word]",
    ]
    assert (
        "Field: pipeline_job.runtime_config.gcs_output_directory; Message: gcs_output_directory is empty."
        in error.message
    )


@pytest.mark.parametrize(
    "root", ["bucket/x", "s3://bucket/x", "gs://", "gs://UPPER/x", "gs://bucket/../../etc"]
)
def test_roots_that_are_no_bucket(client: Client, root: str) -> None:
    _refused(
        lambda: client.create(Pipeline().task("t"), root=root),
        "Invalid Cloud Storage URI for gcs_output_directory",
    )


@pytest.mark.parametrize("job_id", ["Upper", "1digit", "under_score", "dot.dot", "a" * 128, "-a"])
def test_job_ids(client: Client, job_id: str) -> None:
    _refused(lambda: client.create(Pipeline().task("t"), job_id), "pipeline_job_id")


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ({"UPPER": "x"}, "lowercase letters"),
        ({"a": "Has Blank"}, "lowercase letters"),
        ({"1a": "x"}, "lowercase letters"),
        ({"a": "x" * 64}, "lowercase letters"),
        ({f"k{number}": "x" for number in range(65)}, "no more than 64 labels"),
    ],
)
def test_labels(client: Client, labels: dict[str, str], found: str) -> None:
    _refused(lambda: client.create(Pipeline().task("t"), labels=labels), found)


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({}, "the pipeline requires this input parameter"),
        ({"word": "x", "other": 1}, "no input parameter 'other'; it has: number, word"),
        ({"word": 3}, "expected a value of type STRING, found 3"),
        ({"word": "x", "number": 1.5}, "expected a value of type NUMBER_INTEGER, found 1.5"),
        ({"word": "x", "number": "1"}, 'expected a value of type NUMBER_INTEGER, found "1"'),
        ({"word": "x", "number": True}, "expected a value of type NUMBER_INTEGER, found true"),
    ],
)
def test_run_parameters(client: Client, parameters: Json, found: str) -> None:
    pipe = Pipeline(word="STRING", number=3).task("t")
    _refused(lambda: client.create(pipe, parameters=parameters), found)


def _changed(change: Callable[[Json], None]) -> Json:
    pipe = Pipeline(word="STRING").task("a", outputs={"Output": "STRING"})
    spec = copy.deepcopy(pipe.task("b", inputs={"x": output("a")}).spec())
    change(spec)
    return spec


def _set(*path: Any) -> Callable[[Json], None]:
    """Change a spec: all but the last of ``path`` lead to where the last one is put."""

    def change(spec: Json) -> None:
        here = spec
        for step in path[:-2]:
            here = here.setdefault(step, {})
        here[path[-2]] = path[-1]

    return change


B = ("root", "dag", "tasks", "b")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (_set(*B, "triggerPolicy", "condition", "x.size() > 1"), "trigger_policy.condition"),
        (
            _set(*B, "triggerPolicy", "condition", "inputs.parameter_values['y'] == 1"),
            "asks about input 'y', which the task lacks",
        ),
        (
            _set(*B, "triggerPolicy", "strategy", "ALL_UPSTREAM_TASKS_COMPLETED"),
            "inputs.parameters[x]; Message: task 'b' starts even if the task that makes this input failed",
        ),
        (_set(*B, "parameterIterator", {"itemInput": "x", "items": {"raw": "[1]"}}), "iterates a container"),
        (_set(*B, "parameterIterator", {"itemInput": "x", "items": {"raw": "{}"}}), "allowed: a JSON list"),
        (
            _set(*B, "parameterIterator", {"itemInput": "y", "items": {"inputParameter": "z"}}),
            "parameter_iterator.items; Message: refers to input 'z'",
        ),
        (_set(*B, "iteratorPolicy", "parallelismLimit", 2), "the task has no iterator"),
        (
            _set(*B, "artifactIterator", {"itemInput": "x", "items": {"inputArtifact": "y"}}),
            "refers to input artifact 'y', which the component lacks",
        ),
        (
            _set(*B, "inputs", "parameters", "x", "parameterExpressionSelector", "size(string_value)"),
            "inputs.parameters[x].parameter_expression_selector",
        ),
        (
            _set(*B, "inputs", "parameters", "x", {"taskFinalStatus": {"producerTask": "c"}}),
            "task 'c', which is not in this DAG",
        ),
        (_set("deploymentSpec", "executors", "exec-b", {"importer": {}}), "artifact_uri is empty"),
        (
            _set(
                "deploymentSpec",
                "executors",
                "exec-b",
                {"importer": {"artifactUri": {"runtimeParameter": "u"}}},
            ),
            "refers to input 'u', which the component lacks",
        ),
        (_set("deploymentSpec", "executors", "exec-b", {"resolver": {}}), "does not run resolvers yet"),
        (
            _set(
                "deploymentSpec",
                "executors",
                "exec-b",
                "container",
                "lifecycle",
                {"preCacheCheck": {"command": ["x"]}},
            ),
            "lifecycle",
        ),
        (
            _set(
                "root",
                "dag",
                "outputs",
                {"parameters": {"o": {"valueFromOneof": {"parameterSelectors": []}}}},
            ),
            "names no task that the output comes from",
        ),
        (
            _set("root", "dag", "outputs", {"artifacts": {"o": {"artifactSelectors": []}}}),
            "names no task that the output comes from",
        ),
        (
            _set(
                "root",
                "dag",
                "outputs",
                {
                    "parameters": {
                        "o": {"valueFromParameter": {"producerSubtask": "a", "outputParameterKey": "q"}}
                    }
                },
            ),
            "output 'q' of task 'a', which has no such output",
        ),
        (
            _set(
                "components",
                "comp-b",
                "outputDefinitions",
                "artifacts",
                {"l": {"isArtifactList": True, "artifactType": {"schemaTitle": "system.Dataset"}}},
            ),
            "containers that make lists of artifacts",
        ),
        (
            _set(*B, "inputs", "parameters", "x", {"componentInputParameter": "nope"}),
            "'nope', which the surrounding pipeline lacks",
        ),
        (_set(*B, "inputs", "parameters", "x", output("nope")), "task 'nope', which is not in this DAG"),
        (_set(*B, "inputs", {}), "the component requires this input"),
        (_set(*B, "dependentTasks", ["nope"]), "task 'nope', which is not in this DAG"),
        (_set("root", "dag", "tasks", "a", "dependentTasks", ["b"]), "in a circle: a, b"),
        (_set(*B, "componentRef", {"name": "nope"}), "no component 'nope'"),
        (_set("components", "comp-b", "executorLabel", "nope"), "no executor 'nope'"),
        (_set("pipelineInfo", {}), "name is empty"),
        (_set("schemaVersion", "2.0.0"), "found '2.0.0'"),
        (_set("root", {}), "root.dag is missing"),
        (_set("noSuchKey", 1), 'Unknown name "noSuchKey"'),
        (_set("deploymentSpec", "executors", "exec-b", "container", "command", {"a": 1}), "command"),
        (_set("deploymentSpec", "executors", "exec-b", "noSuchKind", {}), 'Unknown name "noSuchKind"'),
        (
            _set(
                "components",
                "comp-b",
                "inputDefinitions",
                "parameters",
                "x",
                {"parameterType": "STRING", "defaultValue": 3},
            ),
            "expected a value of type STRING",
        ),
        (
            _set("components", "comp-b", {"dag": {"tasks": {"again": {"componentRef": {"name": "comp-b"}}}}}),
            "does one contain itself",
        ),
    ],
)
def test_specs_that_cannot_be_run_as_meant(
    client: Client, change: Callable[[Json], None], found: str
) -> None:
    _refused(
        lambda: client.create(_changed(change), parameters={"word": "x"}), found, "pipeline_job.pipeline_spec"
    )


def _loop(item: str = "STRING", source: str = "LIST", result: str = "LIST", **changes: Any) -> Json:
    body = Pipeline("body", item=item, source=source).task("t", outputs={"Output": "STRING"})
    body.result("out", "t", result)
    pipe = Pipeline(source=source).nested(
        "loop", body, inputs={"source": parameter("source")}, items="source"
    )
    spec = pipe.spec()
    spec["root"]["dag"]["tasks"]["loop"] |= changes
    return spec


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        (_loop(source="STRUCT"), "input 'source' of type STRUCT; allowed: LIST, STRING"),
        (_loop(source="BOOLEAN"), "input 'source' of type BOOLEAN; allowed: LIST, STRING"),
        (_loop(result="STRING"), "the output 'out' of a loop collects the iterations; found type STRING"),
        (_loop(iteratorPolicy={"parallelismLimit": -1}), "parallelism_limit; Message: found -1"),
        (
            _loop(artifactIterator={"itemInput": "item", "items": {"inputArtifact": "source"}}),
            "should not have multiple",
        ),
        (
            _loop(triggerPolicy={"condition": "inputs.parameter_values['item'] == 'a'"}),
            "asks about input 'item'",
        ),
        (_loop(retryPolicy={"maxRetryCount": 2}), "retries of a pipeline within a pipeline"),
    ],
)
def test_loops_that_cannot_be_run_as_meant(client: Client, spec: Json, found: str) -> None:
    _refused(lambda: client.create(spec, parameters={"source": []}), found)


def test_the_spec_is_required(client: Client) -> None:
    _refused(lambda: client.create({}), "pipeline_spec is empty")
    body = {"templateUri": "https://x", "runtimeConfig": {"gcsOutputDirectory": ROOT}}
    _refused(lambda: client.call("POST", f"/v1/{PARENT}/pipelineJobs", body), "pipeline_spec is empty")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "pipelineJobs/none"),
        ("DELETE", "pipelineJobs/none"),
        ("POST", "pipelineJobs/none:cancel"),
        ("GET", "customJobs/1"),
        ("GET", "operations/1"),
    ],
)
def test_what_is_not_there(client: Client, method: str, path: str) -> None:
    _refused(lambda: client.call(method, f"/v1/{PARENT}/{path}"), http_status=404, status="NOT_FOUND")


@pytest.mark.parametrize(("method", "path"), [("GET", "schedules"), ("POST", "trainingPipelines")])
def test_what_is_not_served(client: Client, method: str, path: str) -> None:
    served = f"/v1/{PARENT}/{path}"
    _refused(
        lambda: client.call(method, served),
        f"does not serve {method}",
        http_status=501,
        status="UNIMPLEMENTED",
    )


def test_a_path_of_no_api_is_a_bare_404(client: Client) -> None:
    with pytest.raises(urllib.error.HTTPError) as error:
        client.call("GET", "/no/such/path")
    assert error.value.code == 404
    assert error.value.headers.get_content_type() == "text/plain"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Host": "evil.example"},
        {"Origin": "null"},
        {"Host": "["},
        {"Host": "127.0.0.1]"},
    ],
)
def test_web_pages_of_others_are_kept_out(client: Client, headers: dict[str, str]) -> None:
    with pytest.raises(urllib.error.HTTPError) as error:
        client.call("POST", f"/v1/{PARENT}/pipelineJobs", {}, headers=headers)
    assert error.value.code == 403


def test_the_page_itself_may_ask(client: Client) -> None:
    assert client.call("GET", "/emulator/runs", headers={"Origin": client.endpoint}) == []


def test_an_input_that_no_source_feeds_is_named(client: Client) -> None:
    unfed = {"runtimeValue": {"runtimeParameter": "word"}}
    pipe = Pipeline(word="STRING").task("t", inputs={"x": unfed, "y": constant("")})
    _refused(
        lambda: client.create(pipe, parameters={"word": "x"}),
        "inputs.parameters[x]",
        "an input from runtimeValue",
    )
