"""What a pipeline does when it runs: data, order, states, errors, retries, cache, cancel."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_vertex_provider.emulator import VertexEmulator
from tests.emulator.pipelines import (
    COPY,
    PARENT,
    PROJECT,
    Client,
    Json,
    Pipeline,
    artifact,
    constant,
    kind_of,
    output,
    outputs,
    parameter,
    say,
    states,
    tasks,
    wait_for,
)

Start = Callable[..., VertexEmulator]


@pytest.fixture(scope="module")
def emulator() -> Iterator[VertexEmulator]:
    """One emulator for all of this file: none of it minds what else has run."""
    with VertexEmulator() as running:
        yield running


@pytest.fixture(scope="module")
def client(emulator: VertexEmulator) -> Client:
    return Client(emulator.endpoint)


def test_a_value_goes_from_parameter_through_two_tasks_to_the_pipelines_output(client: Client) -> None:
    pipe = Pipeline(word="STRING")
    pipe.python("first", COPY, inputs={"x": parameter("word")}, outputs={"Output": "STRING"})
    pipe.python("second", COPY, inputs={"x": output("first")}, outputs={"Output": "STRING"})
    job = client.run(pipe.result("last", "second"), "chain", parameters={"word": "héllo"})
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED"
    assert outputs(job, "second") == {"Output": "héllo"}
    root = tasks(job)["chain"]
    assert root["execution"]["schemaTitle"] == "system.Run"
    assert root["execution"]["metadata"] == {"input:word": "héllo", "output:last": "héllo"}
    assert tasks(job)["second"]["execution"]["metadata"]["input:x"] == "héllo"


@pytest.mark.parametrize(
    "text",
    [
        'it\'s "quoted"',
        "{{ not jinja }}",
        "line\nbreak\ttab\r\n",
        "back\\slash \\n",
        "emoji 🎉",
        "$(touch x)",
        ";rm -rf",
        "",
        " ",
        "x" * 60_000,
    ],
)
def test_a_text_passes_unchanged(client: Client, text: str) -> None:
    pipe = Pipeline(word="STRING")
    pipe.python("copy", COPY, inputs={"x": parameter("word")}, outputs={"Output": "STRING"})
    job = client.run(pipe, parameters={"word": text})
    assert outputs(job, "copy") == {"Output": text}


@pytest.mark.parametrize(
    "value", [3, -1, 0.1, 1e308, True, [1, "two", {"three": 3}], {"b": 1, "a": [None]}, {}, []]
)
def test_values_of_every_type_arrive_and_come_back(client: Client, value: Any) -> None:
    kind = kind_of(value)
    source = COPY.replace(
        ".write(d['inputs']['parameterValues']['x'])",
        ".write(json.dumps(d['inputs']['parameterValues']['x']))",
    )
    pipe = Pipeline(value=kind).python(
        "copy", source, inputs={"x": parameter("value")}, kinds={"x": kind}, outputs={"Output": kind}
    )
    job = client.run(pipe, parameters={"value": value})
    assert outputs(job, "copy") == {"Output": value}


def test_a_text_that_makes_an_argument_too_long_is_an_error(client: Client) -> None:
    # The executor input holds every value twice, so half of the system's 128 KiB is the end.
    pipe = Pipeline(word="STRING")
    pipe.python("copy", COPY, inputs={"x": parameter("word")}, outputs={"Output": "STRING"})
    job = client.run(pipe, parameters={"word": "x" * 70_000})
    assert "Argument list too long" in tasks(job)["copy"]["error"]["message"]


def test_integers_beyond_a_double_are_rounded_as_the_api_rounds_them(client: Client) -> None:
    pipe = Pipeline(value="NUMBER_INTEGER").task(
        "big", say("9007199254740993"), outputs={"Output": "NUMBER_INTEGER"}
    )
    job = client.run(pipe, parameters={"value": 2**53 + 1})
    assert tasks(job)[job["name"].rpartition("/")[2]]["execution"]["metadata"]["input:value"] == 2**53
    assert outputs(job, "big") == {"Output": 2**53}


def test_the_executor_input_is_that_of_the_record(emulator: VertexEmulator, client: Client) -> None:
    pipe = Pipeline()
    pipe.task("up", say("3"), outputs={"Output": "NUMBER_INTEGER"})
    pipe.task(
        "look",
        ["sh", "-c", 'printf %s "$0" > "$1"', "{{$}}", "{{$.outputs.parameters['Output'].output_file}}"],
        inputs={
            "n": output("up"),
            "s": constant("a b"),
            "d": constant({"b": 1, "a": [0.5]}),
            "f": constant(0.5),
        },
        kinds={"n": "NUMBER_INTEGER", "d": "STRUCT", "f": "NUMBER_DOUBLE"},
        outputs={"Output": "STRING"},
    )
    job = client.run(pipe, "look-job")
    number = job["name"].split("/")[1]
    folder = f"root/{number}/look-job/look_{tasks(job)['look']['taskId']}"
    local = f"{emulator.state_dir}/gcs/bucket/{folder}"
    seen = outputs(job, "look")["Output"]
    assert ": " not in seen
    assert json.loads(seen) == {
        "inputs": {
            "parameterValues": {"n": 3, "s": "a b", "d": {"b": 1, "a": [0.5]}, "f": 0.5},
            "parameters": {
                "n": {"intValue": "3"},
                "s": {"stringValue": "a b"},
                "d": {"stringValue": '{"a":[0.5],"b":1}'},
                "f": {"doubleValue": 0.5},
            },
        },
        "outputs": {
            "outputFile": f"{local}/executor_output.json",
            "parameters": {"Output": {"outputFile": f"{local}/Output"}},
        },
    }
    page = client.call("GET", f"/emulator/runs/{PROJECT}/europe-west4/look-job")
    recorded = page["tasks"]["look"]["executorInput"]["outputs"]["outputFile"]
    assert recorded == f"/gcs/bucket/{folder}/executor_output.json"
    assert "inputs" not in page["tasks"]["up"]["executorInput"]
    assert Path(f"{local}/Output").read_text() == seen


def test_a_process_gets_a_clean_environment_and_its_own_folder(
    client: Client, emulator: VertexEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SECRET", "of the developer")
    source = (
        "import json,os,sys;d=json.loads(sys.argv[1]);"
        "json.dump({'parameterValues':{'Output':{**os.environ,'cwd':os.getcwd(),'python':sys.executable}}},"
        "open(d['outputs']['outputFile'],'w'))"
    )
    pipe = Pipeline().python("env", source, env={"MINE": "yes"}, outputs={"Output": "STRUCT"})
    job = client.run(pipe, labels={"team": "a"})
    env = outputs(job, "env")["Output"]
    assert "A_SECRET" not in env
    assert env["MINE"] == "yes"
    assert env["AIRFLOW_VERTEX_GCS_ROOT"] == str(emulator.state_dir / "gcs")
    assert json.loads(env["VERTEX_AI_PIPELINES_RUN_LABELS"]) == job["labels"]
    assert env["CLOUD_ML_REGION"] == "europe-west4"
    assert (
        env["CLOUD_ML_JOB_ID"]
        == tasks(job)["env"]["executorDetail"]["containerDetail"]["mainJob"].split("/")[-1]
    )
    assert env["CLOUD_ML_PROJECT_ID"] == job["name"].split("/")[1]
    assert json.loads(env["CLUSTER_SPEC"])["task"] == {"type": "workerpool0", "index": 0}
    assert env["cwd"].startswith(str(emulator.state_dir))


def test_independent_tasks_run_at_the_same_time(client: Client, tmp_path: Path) -> None:
    # Each waits for the other's file: one after the other they would never end.
    script = 'touch "$0/$1"; while [ ! -e "$0/$2" ]; do sleep 0.01; done'
    pipe = Pipeline()
    pipe.task("one", ["sh", "-c", script, str(tmp_path), "a", "b"])
    pipe.task("two", ["sh", "-c", script, str(tmp_path), "b", "a"])
    assert client.run(pipe)["state"] == "PIPELINE_STATE_SUCCEEDED"


def test_the_limit_of_processes_is_kept(start_emulator: Start, tmp_path: Path) -> None:
    client = Client(start_emulator(max_processes=1).endpoint)
    script = 'mkdir "$0/lock" || exit 7; sleep 0.05; rmdir "$0/lock"'
    pipe = Pipeline()
    for name in "abcd":
        pipe.task(name, ["sh", "-c", script, str(tmp_path)])
    assert set(states(client.run(pipe)).values()) == {"SUCCEEDED"}


def test_a_failure_stops_what_is_below_it_and_nothing_else(client: Client) -> None:
    pipe = Pipeline()
    pipe.task("bad", ["sh", "-c", "echo out; echo err >&2; exit 3"])
    pipe.task("below", after=["bad"]).task("further", after=["below"])
    pipe.task("beside").task("after-beside", after=["beside"])
    job = client.run(pipe, "slow")
    assert job["state"] == "PIPELINE_STATE_FAILED"
    assert states(job) == {
        "bad": "FAILED",
        "below": "NOT_TRIGGERED",
        "further": "NOT_TRIGGERED",
        "beside": "SUCCEEDED",
        "after-beside": "SUCCEEDED",
    }
    bad = tasks(job)["bad"]
    custom_job = bad["executorDetail"]["containerDetail"]["mainJob"].rpartition("/")[2]
    assert bad["error"]["message"].startswith(
        "The replica workerpool0-0 exited with a non-zero status of 3. "
        "To find out more about why your job exited please check the logs: https://console.cloud.google.com/logs"
    )
    assert f"ml_job%2Fjob_id%2F{custom_job}" in bad["error"]["message"]
    assert [status["state"] for status in bad["pipelineTaskStatus"]] == ["PENDING", "RUNNING", "FAILED"]
    assert bad["pipelineTaskStatus"][-1]["error"] == bad["error"]
    assert "execution" not in tasks(job)["below"]
    sentence = "The DAG failed because some tasks failed. The failed tasks are: [bad]."
    assert tasks(job)["slow"]["error"] == {"code": 9, "message": sentence}
    billing = job["labels"]["vertex-ai-pipelines-run-billing-id"]
    assert job["error"]["code"] == 9
    assert job["error"]["message"].startswith(
        f"{sentence}; Job (project_id = {PROJECT}, job_id = {billing}) is failed due to the above error."
    )
    log = client.call("GET", f"/emulator/runs/{PROJECT}/europe-west4/slow/tasks/{bad['taskId']}/log")
    assert sorted(line[1:] for line in log[0]["lines"]) == [["stderr", "err"], ["stdout", "out"]]


def test_fail_fast_lets_running_tasks_end_and_starts_no_other(client: Client, tmp_path: Path) -> None:
    pipe = Pipeline()
    pipe.task("runs", ["sh", "-c", 'while [ ! -e "$0/go" ]; do sleep 0.01; done', str(tmp_path)])
    pipe.task("bad", ["false"]).task("later", after=["runs"])
    name = client.create(pipe, failure_policy="PIPELINE_FAILURE_POLICY_FAIL_FAST")["name"]
    client.wait_state(name, "bad", "FAILED")
    (tmp_path / "go").touch()
    assert states(client.wait(name)) == {"runs": "SUCCEEDED", "bad": "FAILED", "later": "NOT_TRIGGERED"}


def test_errors_that_a_container_writes_become_the_tasks_error(client: Client) -> None:
    source = (
        "import json,os,sys;f=json.loads(sys.argv[1])['outputs']['outputFile'];"
        "e=os.path.join(os.path.dirname(f),'executor_error.json');"
        "json.dump({'errorMessage':'no such day: 31'},open(e,'w'));"
        "sys.exit(1)"
    )
    job = client.run(Pipeline().python("bad", source))
    assert tasks(job)["bad"]["error"]["message"] == "no such day: 31"


@pytest.mark.parametrize(
    ("command", "found"),
    [
        (["no-such-program-anywhere"], "No such file or directory"),
        (["sh", "-c", "kill -9 $$"], "Replicas low on memory: workerpool0"),
        (["sh", "-c", "kill -15 $$"], "non-zero status of 143"),
        (["echo", "x" * 140_000], "Argument list too long"),
        ([], "names no command"),
        (["echo", "{{$.inputs.parameters['nope']}}"], "names nothing that this task has"),
    ],
)
def test_a_container_that_cannot_run_is_an_error_of_its_task(
    client: Client, command: list[str], found: str
) -> None:
    job = client.run(Pipeline().task("bad", command))
    assert states(job) == {"bad": "FAILED"}
    assert found in tasks(job)["bad"]["error"]["message"]


@pytest.mark.parametrize("written", ["", "three", "[1"])
def test_an_output_of_the_wrong_type_fails_the_task(client: Client, written: str) -> None:
    job = client.run(Pipeline().task("bad", say(written), outputs={"Output": "NUMBER_INTEGER"}))
    assert "output parameter 'Output'" in tasks(job)["bad"]["error"]["message"]


def test_executor_output_wins_over_single_files(client: Client) -> None:
    source = (
        "import json,sys;o=json.loads(sys.argv[1])['outputs'];"
        "open(o['parameters']['Output']['outputFile'],'w').write('file');"
        "open(o['parameters']['Other']['outputFile'],'w').write('other');"
        "json.dump({'parameterValues':{'Output':'json'}},open(o['outputFile'],'w'))"
    )
    job = client.run(Pipeline().python("both", source, outputs={"Output": "STRING", "Other": "STRING"}))
    assert outputs(job, "both") == {"Output": "json", "Other": "other"}


RETRY = {"maxRetryCount": 2, "backoffDuration": "5s", "backoffFactor": 2.0, "backoffMaxDuration": "60s"}


def test_a_failed_attempt_is_repeated_as_a_custom_job_of_its_own(client: Client, tmp_path: Path) -> None:
    script = 'echo x >> "$0/count"; [ "$(wc -l < "$0/count")" = 3 ] && printf ok > "$1"'
    pipe = Pipeline().task(
        "flaky",
        ["sh", "-c", script, str(tmp_path), "{{$.outputs.parameters['Output'].output_file}}"],
        retry=RETRY,
        outputs={"Output": "STRING"},
    )
    job = client.run(pipe)
    flaky = tasks(job)["flaky"]
    detail = flaky["executorDetail"]["containerDetail"]
    assert outputs(job, "flaky") == {"Output": "ok"}
    assert len({detail["mainJob"], *detail["failedMainJobs"]}) == 3
    jobs = {
        item["name"]: item["state"]
        for item in client.call("GET", f"/v1/{_parent(job)}/customJobs")["customJobs"]
    }
    assert [jobs[name] for name in detail["failedMainJobs"]] == ["JOB_STATE_FAILED"] * 2
    assert jobs[detail["mainJob"]] == "JOB_STATE_SUCCEEDED"
    assert "error" not in flaky
    pending = [status for status in flaky["pipelineTaskStatus"] if status["state"] == "PENDING"]
    assert [("error" in status) for status in pending] == [False, True, True]


def test_retries_end(client: Client, tmp_path: Path) -> None:
    pipe = Pipeline().task("bad", ["sh", "-c", 'echo x >> "$0/count"; exit 1', str(tmp_path)], retry=RETRY)
    job = client.run(pipe)
    assert states(job) == {"bad": "FAILED"}
    assert (tmp_path / "count").read_text() == "x\n" * 3


def _parent(job: Json) -> str:
    return "/".join(job["name"].split("/")[:4])


def test_a_cache_hit_gives_the_old_outputs_and_no_custom_job(client: Client) -> None:
    pipe = Pipeline("cached", word="STRING")
    pipe.python("copy", COPY, inputs={"x": parameter("word")}, outputs={"Output": "STRING"}, cache=True)
    first = client.run(pipe, parameters={"word": "a"})
    again = client.run(pipe, parameters={"word": "a"})
    assert tasks(again)["copy"]["state"] == "SKIPPED"
    assert tasks(again)["copy"]["execution"]["state"] == "CACHED"
    assert outputs(again, "copy") == outputs(first, "copy") == {"Output": "a"}
    assert "executorDetail" not in tasks(again)["copy"]
    assert again["state"] == "PIPELINE_STATE_SUCCEEDED"
    other = client.run(pipe, parameters={"word": "b"})
    assert tasks(other)["copy"]["state"] == "SUCCEEDED"
    pipe.name = "another-pipeline"
    assert tasks(client.run(pipe, parameters={"word": "a"}))["copy"]["state"] == "SUCCEEDED"
    pipe.name = "cached"
    pipe.executors["exec-copy"]["container"]["env"] = [{"name": "A", "value": "1"}]
    assert tasks(client.run(pipe, parameters={"word": "a"}))["copy"]["state"] == "SUCCEEDED"


def test_a_pipeline_in_a_pipeline(client: Client) -> None:
    inner = Pipeline("inner", n="STRING")
    inner.python("in-copy", COPY, inputs={"x": parameter("n")}, outputs={"Output": "STRING"})
    inner.result("inner-out", "in-copy")
    pipe = Pipeline()
    pipe.task("up", say("v"), outputs={"Output": "STRING"})
    pipe.nested("sub", inner, inputs={"n": output("up")})
    pipe.python("down", COPY, inputs={"x": output("sub", "inner-out")}, outputs={"Output": "STRING"})
    job = client.run(pipe)
    assert outputs(job, "down") == {"Output": "v"}
    sub, inside = tasks(job)["sub"], tasks(job)["in-copy"]
    assert sub["execution"]["schemaTitle"] == "system.DagExecution"
    assert outputs(job, "sub") == {"inner-out": "v"}
    assert inside["parentTaskId"] == sub["taskId"]
    assert inside["taskUniqueName"] == "sub.in-copy"
    assert "parentTaskId" not in sub


def test_a_failure_inside_a_nested_pipeline(client: Client) -> None:
    inner = Pipeline("inner").task("deep", ["false"]).task("deeper", after=["deep"])
    pipe = Pipeline().nested("sub", inner).task("down", after=["sub"])
    job = client.run(pipe)
    assert states(job) == {
        "sub": "FAILED",
        "deep": "FAILED",
        "deeper": "NOT_TRIGGERED",
        "down": "NOT_TRIGGERED",
    }
    assert tasks(job)["sub"]["error"] == {
        "code": 9,
        "message": "The DAG failed because some tasks failed. The failed tasks are: [deep].",
    }
    assert "[sub]" in job["error"]["message"]


def test_artifacts_are_registered_before_and_updated_after(client: Client) -> None:
    write = (
        "import json,sys;o=json.loads(sys.argv[1])['outputs'];a=o['artifacts']['data']['artifacts'][0];"
        "open(a['uri'],'w').write('rows');a['metadata']={'count':3};"
        "json.dump({'artifacts':{'data':{'artifacts':[a]}}},open(o['outputFile'],'w'))"
    )
    read = (
        "import json,sys;d=json.loads(sys.argv[1]);a=d['inputs']['artifacts']['data']['artifacts'][0];"
        "open(d['outputs']['parameters']['Output']['outputFile'],'w').write(open(a['uri']).read()+sys.argv[2])"
    )
    pipe = Pipeline()
    pipe.python("write", write, output_artifacts=["data"])
    pipe.python(
        "read",
        read,
        args=["{{$.inputs.artifacts['data'].metadata['count']}}"],
        artifacts={"data": artifact("write", "data")},
        outputs={"Output": "STRING"},
    )
    job = client.run(pipe, "art")
    assert outputs(job, "read") == {"Output": "rows3"}
    made = tasks(job)["write"]["outputs"]["data"]["artifacts"][0]
    folder = f"{job['name'].split('/')[1]}/art/write_{tasks(job)['write']['taskId']}"
    assert made["uri"] == f"gs://bucket/root/{folder}/data"
    assert made["metadata"] == {"count": 3}
    assert made["schemaTitle"] == "system.Dataset"
    assert tasks(job)["read"]["inputs"]["data"]["artifacts"][0]["name"] == made["name"]


def test_states_and_times_are_told_as_they_come(client: Client, tmp_path: Path) -> None:
    pipe = Pipeline().task(
        "waits", ["sh", "-c", 'while [ ! -e "$0/go" ]; do sleep 0.01; done', str(tmp_path)]
    )
    pipe.task("next", after=["waits"])
    created = client.create(pipe)
    assert created["state"] == "PIPELINE_STATE_PENDING"
    assert created["createTime"] == created["updateTime"]
    assert not {"startTime", "jobDetail", "error"} & set(created)
    client.wait_state(created["name"], "waits", "RUNNING")
    job = client.get(created["name"])
    assert job["state"] == "PIPELINE_STATE_RUNNING"
    assert states(job) == {"waits": "RUNNING", "next": "PENDING"}
    assert "endTime" not in tasks(job)["waits"]
    (tmp_path / "go").touch()
    job = client.wait(created["name"])
    for task in tasks(job).values():
        assert task["createTime"] <= task["startTime"] <= task["endTime"]
        assert [status["state"] for status in task["pipelineTaskStatus"]] == [
            "PENDING",
            "RUNNING",
            "SUCCEEDED",
        ]
    assert job["createTime"] < job["startTime"] < job["endTime"]
    ids = [int(task["taskId"]) for task in tasks(job).values()]
    assert all(-(2**63) <= number < 2**63 for number in ids)
    assert job["jobDetail"]["pipelineContext"]["schemaTitle"] == "system.Pipeline"
    run = job["jobDetail"]["pipelineRunContext"]
    assert run["parentContexts"] == [job["jobDetail"]["pipelineContext"]["name"]]


#: Writes a file when SIGTERM comes, then ends; or goes on, if told to be stubborn.
PATIENT = (
    "import signal,sys,time,pathlib;d=pathlib.Path(sys.argv[1]);"
    "signal.signal(signal.SIGTERM,lambda *_:((d/'term').touch(),sys.argv[2]=='kind' and sys.exit(0)));"
    "(d/'ready').touch();time.sleep(300)"
)


@pytest.mark.parametrize("manner", ["kind", "stubborn"])
def test_cancel_ends_processes_and_what_would_come_after(
    start_emulator: Start, tmp_path: Path, manner: str
) -> None:
    client = Client(start_emulator(term_grace=0.3 if manner == "stubborn" else 30.0).endpoint)
    pipe = (
        Pipeline()
        .task("runs", ["python3", "-c", PATIENT, str(tmp_path), manner])
        .task("later", after=["runs"])
    )
    pipe.task("done")
    name = client.create(pipe, "cancelled")["name"]
    client.wait_state(name, "done", "SUCCEEDED")
    wait_for((tmp_path / "ready").exists, "the process to be ready")
    assert client.call("POST", f"/v1/{name}:cancel", {}) == {}
    assert client.get(name)["state"] in ("PIPELINE_STATE_CANCELLING", "PIPELINE_STATE_CANCELLED")
    job = client.wait(name)
    assert (tmp_path / "term").exists()
    assert job["state"] == "PIPELINE_STATE_CANCELLED"
    assert job["error"]["code"] == 1
    assert states(job) == {"runs": "CANCELLED", "later": "CANCELLED", "done": "SUCCEEDED"}
    assert tasks(job)["cancelled"]["state"] == "CANCELLED"
    assert [status["state"] for status in tasks(job)["runs"]["pipelineTaskStatus"]] == [
        "PENDING",
        "RUNNING",
        "CANCEL_PENDING",
        "CANCELLING",
        "CANCELLED",
    ]
    custom_job = client.get(tasks(job)["runs"]["executorDetail"]["containerDetail"]["mainJob"])
    assert custom_job["state"] == "JOB_STATE_CANCELLED"


def test_cancel_reaches_custom_jobs_that_a_container_has_named(
    client: Client, emulator: VertexEmulator, tmp_path: Path
) -> None:
    pool = {"machineSpec": {"machineType": "n1-standard-4"}, "replicaCount": "1"}
    pool["containerSpec"] = {"imageUri": "i", "command": ["sleep", "300"]}
    body = {"displayName": "launched", "jobSpec": {"workerPoolSpecs": [pool]}}
    made = client.call("POST", f"/v1/{PARENT}/customJobs", body)["name"]
    uri = f"https://europe-west4-aiplatform.googleapis.com/v1/{made}"
    resources = json.dumps({"resources": [{"resourceType": "CustomJob", "resourceUri": uri}]})
    script = 'printf %s "$0" > "$1"; touch "$2/named"; sleep 300'
    file = "{{$.outputs.parameters['gcp_resources'].output_file}}"
    command = ["sh", "-c", script, resources, file, str(tmp_path)]
    name = client.create(Pipeline().task("t", command, outputs={"gcp_resources": "STRING"}))["name"]
    wait_for((tmp_path / "named").exists, "the file")
    client.call("POST", f"/v1/{name}:cancel", {})
    assert client.wait(name)["state"] == "PIPELINE_STATE_CANCELLED"
    wait_for(lambda: client.get(made)["state"] == "JOB_STATE_CANCELLED", "the custom job to be cancelled")


def test_a_process_group_ends_with_its_first_process(client: Client, tmp_path: Path) -> None:
    script = 'sh -c "echo \\$\\$ > $0/pid; exec sleep 300" & while [ ! -s "$0/pid" ]; do sleep 0.01; done'
    job = client.run(Pipeline().task("leaves", ["sh", "-c", script, str(tmp_path)]))
    assert states(job) == {"leaves": "SUCCEEDED"}
    pid = (tmp_path / "pid").read_text().strip()
    wait_for(lambda: _gone(pid), "the child to be gone")


def _gone(pid: str) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


def test_machines_of_plain_tasks(client: Client, emulator: VertexEmulator) -> None:
    pipe = Pipeline().task("plain")
    pipe.task("large", resources={"cpuLimit": 16.0, "resourceMemoryLimit": "100G"})
    pipe.task("gpu", resources={"accelerator": {"type": "NVIDIA_TESLA_T4", "count": "2"}})
    client.run(pipe, labels={"team": "a"})
    jobs = {job["displayName"]: job for job in emulator.custom_jobs()}
    specs = {name: job["jobSpec"]["workerPoolSpecs"][0] for name, job in jobs.items()}
    assert specs["plain"]["machineSpec"] == {"machineType": "e2-standard-4"}
    assert specs["plain"]["diskSpec"] == {"bootDiskType": "pd-ssd", "bootDiskSizeGb": 100}
    assert jobs["plain"]["jobSpec"]["scheduling"] == {"disableRetries": True}
    assert jobs["plain"]["labels"]["team"] == "a"
    assert specs["large"]["machineSpec"]["machineType"] == "e2-highmem-16"
    assert specs["gpu"]["machineSpec"] == {
        "machineType": "n1-standard-4",
        "acceleratorType": "NVIDIA_TESLA_T4",
        "acceleratorCount": 2,
    }


def test_an_empty_environment_variable_is_refused_as_the_service_does(client: Client) -> None:
    job = client.run(Pipeline().task("bad", env={"EMPTY": ""}))
    assert "env[1].value; Message: Required field is not set." in tasks(job)["bad"]["error"]["message"]


def test_delays_follow_the_time_scale(start_emulator: Start) -> None:
    emulator = start_emulator(time_scale=1.0, pending_seconds=3600.0)
    client = Client(emulator.endpoint)
    name = client.create(Pipeline().task("t"))["name"]
    assert client.get(name)["state"] == "PIPELINE_STATE_PENDING"

    def runs() -> bool:
        emulator.clock.advance(3600)
        return bool(client.get(name)["state"] == "PIPELINE_STATE_RUNNING")

    wait_for(runs, "the job to run")
