"""Tasks that launch a custom job through Google's component: payload in, CustomJob and states out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.emulator.launcher import MODULE, LauncherError, parse, prepare
from tests.emulator.pipelines import (
    COPY,
    PARENT,
    Client,
    Json,
    Pipeline,
    outputs,
    parameter,
    states,
    tasks,
    wait_for,
)

Start = Callable[..., VertexEmulator]


def _payload(command: list[str], args: list[str] = [], **job: Any) -> Json:  # noqa: B006 - read only
    return {
        "display_name": job.pop("display_name", "trainer"),
        "job_spec": {
            "worker_pool_specs": [
                {
                    "machine_spec": {
                        "machine_type": "n1-standard-8",
                        "accelerator_type": "NVIDIA_TESLA_T4",
                        "accelerator_count": 1,
                    },
                    "replica_count": 1,
                    "disk_spec": {"boot_disk_type": "pd-ssd", "boot_disk_size_gb": 200},
                    "container_spec": {"image_uri": "trainer:1", "command": command, "args": args, "env": []},
                }
            ],
            "scheduling": {
                "timeout": job.pop("timeout", "3600s"),
                "max_wait_duration": "86400s",
                "strategy": "STANDARD",
            },
            "service_account": "",
            "network": "",
        },
        "labels": job.pop("labels", {}),
        **job,
    }


def _launch(pipe: Pipeline, key: str, payload: Json | str, **options: Any) -> Pipeline:
    outputs = {"gcp_resources": "STRING", **options.pop("outputs", {})}
    return pipe.task(
        key,
        ["python3", "-u", "-m", MODULE],
        args=[
            "--type",
            "CustomJob",
            "--payload",
            payload if isinstance(payload, str) else json.dumps(payload),
            "--project",
            "{{$.pipeline_google_cloud_project_id}}",
            "--location",
            "{{$.pipeline_google_cloud_location}}",
            "--gcp_resources",
            "{{$.outputs.parameters['gcp_resources'].output_file}}",
        ],
        outputs=outputs,
        image="gcr.io/ml-pipeline/google-cloud-pipeline-components:2.22.0",
        **options,
    )


@pytest.mark.parametrize(
    "text", ['it\'s "quoted"', "line\nbreak\\n", "emoji 🎉 {{ jinja }}", "$(x);rm", "y" * 20_000]
)
def test_a_value_passes_unchanged_through_json_in_json(client: Client, text: str) -> None:
    pipe = Pipeline(word="STRING")
    payload = _payload(["python3", "-c", COPY], ["{{$.json_escape[1]}}"])
    _launch(pipe, "train", payload, inputs={"x": parameter("word")}, outputs={"Output": "STRING"})
    job = client.run(pipe, parameters={"word": text})
    assert outputs(job, "train")["Output"] == text


def test_the_custom_job_is_a_resource_of_its_own(client: Client, emulator: VertexEmulator) -> None:
    env = "import os,sys;print(os.environ['CLOUD_ML_JOB_ID'], 'VERTEX_AI_PIPELINES_RUN_LABELS' in os.environ)"
    payload = _payload(["python3", "-c", env], labels={"own": "1", "team": "mine"})
    job = client.run(_launch(Pipeline(), "train", payload), labels={"team": "a"})
    resources = json.loads(outputs(job, "train")["gcp_resources"])["resources"]
    assert resources[0]["resourceType"] == "CustomJob"
    prefix = "https://europe-west4-aiplatform.googleapis.com/v1/"
    made = client.get(resources[0]["resourceUri"].removeprefix(prefix))
    pool = made["jobSpec"]["workerPoolSpecs"][0]
    assert made["state"] == "JOB_STATE_SUCCEEDED"
    assert made["displayName"] == "trainer"
    assert made["labels"] == {**job["labels"], "own": "1", "team": "mine"}
    assert pool["machineSpec"] == {
        "machineType": "n1-standard-8",
        "acceleratorType": "NVIDIA_TESLA_T4",
        "acceleratorCount": 1,
    }
    assert pool["diskSpec"]["bootDiskSizeGb"] == 200
    assert made["jobSpec"]["scheduling"] == {"timeout": "3600s", "strategy": "STANDARD"}
    assert "serviceAccount" not in made["jobSpec"]
    detail = tasks(job)["train"]["executorDetail"]["containerDetail"]
    assert detail["mainJob"] != made["name"]
    launcher = client.get(detail["mainJob"])
    assert launcher["jobSpec"]["workerPoolSpecs"][0]["machineSpec"] == {"machineType": "e2-standard-4"}
    assert {item["name"] for item in emulator.custom_jobs()} == {made["name"], launcher["name"]}
    log = (emulator.state_dir / "logs" / f"{made['name'].rpartition('/')[2]}.jsonl").read_text()
    assert f"{made['name'].rpartition('/')[2]} False" in log


@pytest.mark.parametrize(("code", "status"), [(3, 1), (9, 1), (13, 13), (2, 13)])
def test_a_failed_custom_job_shows_as_the_launchers_failure(
    start_emulator: Start, code: int, status: int
) -> None:
    emulator = start_emulator(replica_error_code=code)
    job = Client(emulator.endpoint).run(_launch(Pipeline(), "train", _payload(["sh", "-c", "exit 77"])))
    error = tasks(job)["train"]["error"]["message"]
    launcher, made = emulator.custom_jobs()
    assert f"non-zero status of {status}." in error
    assert launcher["name"].rpartition("/")[2] in error
    assert "non-zero status of 77." in made["error"]["message"]
    assert made["error"]["code"] == code


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        ("{not json", "JSONDecodeError"),
        ({"display_name": "x", "no_such_field": 1}, "Unknown field for CustomJob: no_such_field"),
        (_payload(["true"], display_name=""), "display_name is empty"),
        (_payload(["true"], timeout="soon"), "soon"),
    ],
)
def test_a_payload_that_does_not_fit_fails_the_launcher(
    client: Client, emulator: VertexEmulator, payload: Any, found: str
) -> None:
    job = client.run(_launch(Pipeline(), "train", payload))
    assert "non-zero status of 1." in tasks(job)["train"]["error"]["message"]
    (launcher,) = emulator.custom_jobs()
    assert found in (emulator.state_dir / "logs" / f"{launcher['name'].rpartition('/')[2]}.jsonl").read_text()


def test_a_value_with_a_quote_breaks_a_payload_that_splices_it(client: Client) -> None:
    payload = json.dumps(_payload(["true"])).replace('"trainer"', "\"{{$.inputs.parameters['x']}}\"")
    pipe = _launch(Pipeline(word="STRING"), "train", payload, inputs={"x": parameter("word")})
    assert states(client.run(pipe, parameters={"word": "plain"})) == {"train": "SUCCEEDED"}
    assert states(client.run(pipe, parameters={"word": 'a "quote"'})) == {"train": "FAILED"}


@pytest.mark.parametrize(("state", "status"), [("CANCELLED", 13), ("FAILED", 13)])
def test_the_timeout_ends_the_custom_job(start_emulator: Start, state: str, status: int) -> None:
    emulator = start_emulator(timeout_state=state)
    job = Client(emulator.endpoint).run(
        _launch(Pipeline(), "train", _payload(["sleep", "300"], timeout="1s"))
    )
    assert emulator.custom_jobs()[1]["state"] == f"JOB_STATE_{state}"
    assert f"non-zero status of {status}." in tasks(job)["train"]["error"]["message"]


def test_cancel_reaches_the_custom_job(client: Client, emulator: VertexEmulator, tmp_path: Path) -> None:
    script = 'touch "$0/ready"; sleep 300'
    name = client.create(_launch(Pipeline(), "train", _payload(["sh", "-c", script, str(tmp_path)])))["name"]
    wait_for((tmp_path / "ready").exists, "the process")
    client.call("POST", f"/v1/{name}:cancel", {})
    job = client.wait(name)
    assert job["state"] == "PIPELINE_STATE_CANCELLED"
    assert states(job) == {"train": "CANCELLED"}
    assert [item["state"] for item in emulator.custom_jobs()] == ["JOB_STATE_CANCELLED"] * 2


def test_a_custom_job_cancelled_by_itself_fails_its_task(
    client: Client, emulator: VertexEmulator, tmp_path: Path
) -> None:
    script = 'touch "$0/ready"; sleep 300'
    name = client.create(_launch(Pipeline(), "train", _payload(["sh", "-c", script, str(tmp_path)])))["name"]
    wait_for((tmp_path / "ready").exists, "the process")
    made = emulator.custom_jobs()[1]["name"]
    client.call("POST", f"/v1/{made}:cancel", {})
    job = client.wait(name)
    assert states(job) == {"train": "FAILED"}
    assert "non-zero status of 13." in tasks(job)["train"]["error"]["message"]


@pytest.mark.parametrize(("clears", "final", "count"), [(True, "SUCCEEDED", 4), (False, "FAILED", 3)])
def test_retries_with_and_without_the_old_gcp_resources(
    start_emulator: Start, tmp_path: Path, clears: bool, final: str, count: int
) -> None:
    # If the old file is still there the launcher attaches to the job that failed, and fails again.
    emulator = start_emulator(retry_clears_outputs=clears)
    script = 'mkdir "$0/once" && exit 1; exit 0'
    pipe = _launch(
        Pipeline(), "train", _payload(["sh", "-c", script, str(tmp_path)]), retry={"maxRetryCount": 1}
    )
    job = Client(emulator.endpoint).run(pipe)
    assert states(job) == {"train": final}
    assert len(emulator.custom_jobs()) == count


@pytest.mark.parametrize(("limit", "final"), [("kept", "FAILED"), ("none", "SUCCEEDED")])
def test_the_launchers_own_arguments_have_a_limit(start_emulator: Start, limit: str, final: str) -> None:
    client = Client(start_emulator(launcher_argument_limit=limit).endpoint)
    payload = _payload(["sh", "-c", "exit 0", "z" * 80_000, "z" * 80_000])
    job = client.run(_launch(Pipeline(), "train", payload))
    assert states(job) == {"train": final}
    if final == "FAILED":
        assert "Argument list too long" in tasks(job)["train"]["error"]["message"]


def test_arguments_and_payload_are_read_as_the_launcher_reads_them() -> None:
    argv = ["python3", "-m", MODULE, "--type", "CustomJob", "--payload", '{"a": "x\ny"}', "--project", "p"]
    with pytest.raises(LauncherError, match="required") as error:
        parse(argv)
    assert error.value.status == 2
    found = parse([*argv, "--location", "l", "--gcp_resources", "/f", "--unknown", "1"])
    assert (found.project, found.location, found.payload) == ("p", "l", {"a": "x\ny"})
    with pytest.raises(LauncherError, match="Incorrect job type: Other"):
        parse(
            [
                part if part != "CustomJob" else "Other"
                for part in [*argv, "--location", "l", "--gcp_resources", "/f"]
            ]
        )
    body = prepare(
        {
            "display_name": "d",
            "job_spec": {
                "scheduling": {"strategy": "FLEX_START", "max_wait_duration": "60s"},
                "experiment": "",
            },
        },
        {"a": "1"},
    )
    assert body == {
        "displayName": "d",
        "jobSpec": {"scheduling": {"strategy": "FLEX_START", "maxWaitDuration": "60s"}},
        "labels": {"a": "1"},
    }


def test_a_launcher_for_another_project_makes_its_job_there(client: Client) -> None:
    pipe = _launch(Pipeline(), "train", _payload(["true"]))
    args = pipe.executors["exec-train"]["container"]["args"]
    args[args.index("--project") + 1] = "other-project"
    client.run(pipe)
    assert (
        len(client.call("GET", "/v1/projects/other-project/locations/europe-west4/customJobs")["customJobs"])
        == 1
    )
    assert len(client.call("GET", f"/v1/{PARENT}/customJobs")["customJobs"]) == 1
