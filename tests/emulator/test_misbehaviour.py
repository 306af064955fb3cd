"""Whatever a task does to itself, it fails by itself: the others, and the job, come to their own end."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.emulator.machines import machine_spec
from tests.emulator.pipelines import (
    PARENT,
    ApiFailure,
    Client,
    Json,
    Pipeline,
    outputs,
    parameter,
    states,
    tasks,
)

#: Python source of a task that writes its first argument as its ``executor_output.json``.
WRITES = "import json,sys;open(json.loads(sys.argv[1])['outputs']['outputFile'],'w').write(sys.argv[2])"
#: The same for a file beside it, whose name is the second argument.
WRITES_BESIDE = (
    "import json,os,sys;"
    "folder=os.path.dirname(json.loads(sys.argv[1])['outputs']['outputFile']);"
    "open(folder+'/'+sys.argv[2],'w').write('['*100000);"
    "sys.exit(int(sys.argv[3]))"
)
DEEP = 100_000


def _fails_alone(client: Client, pipe: Pipeline, code: int, text: str) -> Json:
    """Run a pipeline whose task ``bad`` fails; see that nothing else is drawn into it."""
    pipe.task("after", after=["bad"]).task("beside")
    job = client.run(pipe)
    assert states(job) == {"bad": "FAILED", "after": "NOT_TRIGGERED", "beside": "SUCCEEDED"}
    assert job["error"]["code"] == 9
    assert "The failed tasks are: [bad]." in job["error"]["message"]
    error: Json = tasks(job)["bad"]["error"]
    assert error["code"] == code
    assert text in error["message"]
    root = tasks(job)[job["name"].rpartition("/")[2]]
    assert root["state"] == "FAILED"
    for custom_job in client.call("GET", f"/v1/{PARENT}/customJobs")["customJobs"]:
        assert custom_job["state"] in ("JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED")
    return job


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ({"parameterValues": 3}, "parameterValues is 3, not an object"),
        ({"parameterValues": {"Output": ["x"]}}, "expected a value of type STRING"),
        ({"parameterValues": None, "artifacts": 3}, "artifacts is 3, not an object"),
        ({"artifacts": {"data": []}}, "artifacts['data'] is [], not an object"),
        ({"artifacts": {"data": {"artifacts": "x"}}}, "artifacts['data'].artifacts is not a list"),
        ({"artifacts": {"data": {"artifacts": ["x"]}}}, "an entry of artifacts['data'] is \"x\""),
        ({"artifacts": {"data": {"artifacts": [{"uri": 5}]}}}, "the uri of artifacts['data'] is not a text"),
        (
            {"artifacts": {"data": {"artifacts": [{"metadata": [1]}]}}},
            "the metadata of artifacts['data'] is [1], not an object",
        ),
        (
            {"artifacts": {"data": {"artifacts": [{"metadata": {"a": float("nan")}}]}}},
            "the metadata of artifacts['data']: Fail to serialize NaN",
        ),
    ],
)
def test_an_executor_output_of_the_wrong_shape(client: Client, written: Json, text: str) -> None:
    pipe = Pipeline().python(
        "bad",
        WRITES,
        args=[json.dumps(written)],
        outputs={"Output": "STRING"},
        output_artifacts=["data"],
    )
    _fails_alone(client, pipe, 9, text)


def test_nulls_in_an_executor_output_are_fields_that_are_not_there(client: Client) -> None:
    written = {
        "parameterValues": None,
        "artifacts": {"data": {"artifacts": [{"uri": None, "metadata": None}]}},
    }
    pipe = Pipeline().python("t", WRITES, args=[json.dumps(written)], output_artifacts=["data"])
    job = client.run(pipe)
    assert states(job) == {"t": "SUCCEEDED"}
    assert tasks(job)["t"]["outputs"]["data"]["artifacts"][0]["uri"].endswith("/data")


@pytest.mark.parametrize("file", ["executor_output.json", "Output"])
def test_an_output_that_is_nested_too_deeply(client: Client, file: str) -> None:
    pipe = Pipeline().python("bad", WRITES_BESIDE, args=[file, "0"], outputs={"Output": "LIST"})
    _fails_alone(client, pipe, 9, "Task 'bad'")


def test_an_error_that_is_nested_too_deeply_is_not_used(client: Client) -> None:
    pipe = Pipeline().python("bad", WRITES_BESIDE, args=["executor_error.json", "4"])
    _fails_alone(client, pipe, 3, "exited with a non-zero status of 4")


def test_what_is_accepted_can_always_be_shown(client: Client) -> None:
    script = (
        "import json,sys;d=json.loads(sys.argv[1]);"
        "open(d['outputs']['parameters']['Output']['outputFile'],'w').write('['*{0}+']'*{0})"
    )
    accepted = 0
    for depth in range(76, 96):
        job = client.run(
            Pipeline().python("t", script.format(depth), outputs={"Output": "LIST"}), f"out-{depth}"
        )
        if states(job) == {"t": "FAILED"}:
            assert tasks(job)["t"]["error"]["code"] == 9
            break
        accepted += 1
    assert 0 < accepted < 20
    nested: list[object] = []
    for _ in range(76):
        nested = [nested]
    refused = 0
    for depth in range(76, 96):
        nested = [nested]
        pipe = Pipeline(x="LIST").task("t", inputs={"x": parameter("x")}, kinds={"x": "LIST"})
        try:
            name = client.create(pipe, f"in-{depth}", parameters={"x": nested})["name"]
        except ApiFailure:
            refused += 1
        else:
            assert states(client.wait(name)) == {"t": "SUCCEEDED"}
    assert 0 < refused < 20
    client.call("GET", f"/v1/{PARENT}/pipelineJobs")


def test_a_request_that_is_nested_too_deeply_is_refused(client: Client) -> None:
    request = urllib.request.Request(
        f"{client.endpoint}/v1/{PARENT}/pipelineJobs", b"[" * DEEP, {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request, timeout=30)
    assert error.value.code == 400
    error.value.close()


@pytest.mark.parametrize("instead", ["", '; : > "$folder"'])
def test_a_container_that_removes_its_folder_gets_a_new_one_for_its_next_attempt(
    client: Client, tmp_path: Path, instead: str
) -> None:
    script = (
        'folder=$(dirname "$1"); if [ -e "$0/failed" ]; then printf ok > "$1"; exit; fi;'
        f'touch "$0/failed"; rm -r "$folder"{instead}; exit 1'
    )
    pipe = Pipeline().task(
        "t",
        ["sh", "-c", script, str(tmp_path), "{{$.outputs.parameters['Output'].output_file}}"],
        outputs={"Output": "STRING"},
        retry={"maxRetryCount": 1},
    )
    job = client.run(pipe)
    assert states(job) == {"t": "SUCCEEDED"}
    assert outputs(job, "t") == {"Output": "ok"}


def test_a_failure_of_the_emulator_itself_is_one_of_its_task(
    client: Client, emulator: VertexEmulator, tmp_path: Path
) -> None:
    # A folder where a file of the task's working directory is to be made: nothing expects that.
    emulator.state_dir.joinpath("logs").rename(tmp_path / "logs")
    emulator.state_dir.joinpath("logs").touch()
    job = client.run(Pipeline().task("bad", ["echo", "x"]).task("after", after=["bad"]).task("beside"))
    assert states(job) == {"bad": "FAILED", "after": "NOT_TRIGGERED", "beside": "SUCCEEDED"}
    assert tasks(job)["bad"]["error"]["code"] == 13
    assert "The emulator failed: NotADirectoryError" in tasks(job)["bad"]["error"]["message"]
    custom_job = tasks(job)["bad"]["executorDetail"]["containerDetail"]["mainJob"]
    assert client.get(custom_job)["state"] == "JOB_STATE_CANCELLED"


@pytest.mark.parametrize("part", ['{"IfPresent": 3}', '{"IfPresent": {"InputName": []}}', '{"Concat": [3]}'])
def test_a_placeholder_of_the_wrong_shape(client: Client, part: str) -> None:
    _fails_alone(client, Pipeline().task("bad", ["echo", part]), 3, "Task 'bad'")


def test_limits_may_come_from_inputs(client: Client, emulator: VertexEmulator) -> None:
    source = {"runtimeValue": {"constant": "16"}}
    pipe = Pipeline().task(
        "t", inputs={"cpu": source}, resources={"resourceCpuLimit": "{{$.inputs.parameters['cpu']}}"}
    )
    assert states(client.run(pipe)) == {"t": "SUCCEEDED"}
    pool = emulator.custom_jobs()[0]["jobSpec"]["workerPoolSpecs"][0]
    assert pool["machineSpec"] == {"machineType": "e2-standard-16"}
    source["runtimeValue"] = {"constant": "many"}
    pipe = Pipeline().task(
        "bad", inputs={"cpu": source}, resources={"resourceCpuLimit": "{{$.inputs.parameters['cpu']}}"}
    )
    _fails_alone(client, pipe, 3, "CPU limit: found 'many'")


@pytest.mark.parametrize(
    ("pipe", "found"),
    [
        (Pipeline().task("t", resources={"resourceCpuLimit": "abc"}), "CPU limit: found 'abc'"),
        (Pipeline().task("t", resources={"resourceMemoryLimit": "4Gb"}), "memory limit: found '4Gb'"),
        (
            Pipeline().task("t", resources={"accelerator": {"resourceType": "T", "resourceCount": "x"}}),
            "accelerator count: found 'x'",
        ),
        (Pipeline().task("t", name="n" * 240), "found a name of 240 bytes; allowed: at most 234"),
        (Pipeline().task("k" * 235), "found a name of 235 bytes; allowed: at most 234"),
        (Pipeline().task("t", outputs={"o" * 256: "STRING"}), "found a name of 256 bytes"),
    ],
)
def test_what_cannot_run_is_refused_at_create(client: Client, pipe: Pipeline, found: str) -> None:
    with pytest.raises(ApiFailure, match="List of found errors") as error:
        client.create(pipe)
    assert error.value.http_status == 400
    assert found in error.value.message


@pytest.mark.parametrize("root", ["gs://bucket/a\0b", "gs://bucket/a\nb", f"gs://bucket/{'p' * 256}"])
def test_a_root_that_cannot_be_a_folder_is_refused_at_create(client: Client, root: str) -> None:
    with pytest.raises(ApiFailure, match="Invalid Cloud Storage URI") as error:
        client.create(Pipeline().task("t"), root=root)
    assert error.value.http_status == 400


def test_the_longest_name_that_is_accepted_runs(client: Client) -> None:
    assert states(client.run(Pipeline().task("t", name="n" * 234))) == {"n" * 234: "SUCCEEDED"}


@pytest.mark.parametrize(
    ("limits", "machine"),
    [
        ({"resourceCpuLimit": "500m"}, "e2-standard-2"),
        ({"resourceCpuLimit": "3.5"}, "e2-standard-4"),
        ({"resourceMemoryLimit": "16Gi"}, "e2-highmem-4"),
        ({"resourceMemoryLimit": "16000000000"}, "e2-highmem-2"),
        ({"memoryLimit": 16.0}, "e2-highmem-2"),
    ],
)
def test_limits_are_read_in_all_their_forms(limits: Json, machine: str) -> None:
    assert machine_spec(limits, smallest_machine=True) == {"machineType": machine}


def test_no_task_thread_is_left(client: Client) -> None:
    client.run(Pipeline().task("bad", ["echo", '{"IfPresent": 3}']))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("task bad")]
