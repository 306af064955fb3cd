"""Scripted faults: what a client sees, and what the emulator did meanwhile."""

from __future__ import annotations

import http.client
import urllib.error
from collections.abc import Callable
from typing import Any

import pytest

from airflow_vertex_provider.emulator import VertexEmulator
from tests.emulator.pipelines import PARENT, ApiFailure, Client, Pipeline, states, tasks

Start = Callable[..., VertexEmulator]


@pytest.mark.parametrize(
    ("code", "http_status"),
    [
        ("UNAVAILABLE", 503),
        ("INTERNAL", 500),
        ("RESOURCE_EXHAUSTED", 429),
        ("PERMISSION_DENIED", 403),
        ("ABORTED", 409),
    ],
)
def test_an_error_happens_as_often_as_asked(
    emulator: VertexEmulator, client: Client, code: str, http_status: int
) -> None:
    rule = emulator.faults.add("pipelineJobs.list", error=code, message="as asked", count=2)
    for _ in range(2):
        with pytest.raises(ApiFailure) as error:
            client.call("GET", f"/v1/{PARENT}/pipelineJobs")
        assert (error.value.http_status, error.value.status, error.value.message) == (
            http_status,
            code,
            "as asked",
        )
    assert client.call("GET", f"/v1/{PARENT}/pipelineJobs") == {}
    assert rule.hits == 2


def test_a_rate_is_drawn_with_its_seed(emulator: VertexEmulator, client: Client) -> None:
    def draw() -> list[bool]:
        emulator.faults.clear()
        emulator.faults.add("GET", error="UNAVAILABLE", count=None, rate=0.5, seed=7)
        return [_fails(client) for _ in range(20)]

    first = draw()
    assert draw() == first
    assert 0 < sum(first) < 20


def _fails(client: Client) -> bool:
    try:
        client.call("GET", f"/v1/{PARENT}/pipelineJobs")
    except ApiFailure:
        return True
    return False


def test_a_reset_does_nothing(emulator: VertexEmulator, client: Client) -> None:
    emulator.faults.add("pipelineJobs.create", reset=True)
    with pytest.raises((ConnectionError, urllib.error.URLError, http.client.HTTPException)):
        client.create(Pipeline().task("t"), "never")
    assert emulator.jobs() == []
    client.create(Pipeline().task("t"), "never")


def test_a_lost_response_was_done(emulator: VertexEmulator, client: Client) -> None:
    emulator.faults.add("pipelineJobs.create", lose_response=True)
    with pytest.raises((ConnectionError, urllib.error.URLError, http.client.HTTPException)):
        client.create(Pipeline().task("t"), "was-made")
    with pytest.raises(ApiFailure) as error:
        client.create(Pipeline().task("t"), "was-made")
    assert error.value.http_status == 409
    job = client.wait(f"{PARENT}/pipelineJobs/was-made")
    assert states(job) == {"t": "SUCCEEDED"}
    assert [request.rest_method for request in emulator.requests[:2]] == ["pipelineJobs.create"] * 2


def test_requests_are_recorded(emulator: VertexEmulator, client: Client) -> None:
    client.create(Pipeline().task("t"), "seen")
    request = emulator.requests[0]
    assert (request.method, request.path) == ("POST", f"/v1/{PARENT}/pipelineJobs")
    assert request.query == {"pipelineJobId": "seen"}
    assert request.body["displayName"] == "A run"


def test_no_quota_at_the_start_of_a_task(emulator: VertexEmulator, client: Client) -> None:
    emulator.faults.add_task("needs-*", kind="quota")
    job = client.run(Pipeline().task("needs-gpu").task("other"))
    assert states(job) == {"needs-gpu": "FAILED", "other": "SUCCEEDED"}
    entry = tasks(job)["needs-gpu"]
    assert entry["error"] == {
        "code": 8,
        "message": "com.google.cloud.ai.platform.common.errors.AiPlatformException: "
        "code=RESOURCE_EXHAUSTED, "
        "message=The following quota metrics exceed quota limits: "
        "aiplatform.googleapis.com/custom_model_training_cpus, cause=null; "
        "Failed to handle the pipeline task. "
        f"Task: Project number: {job['name'].split('/')[1]}, "
        f"Job id: {job['labels']['vertex-ai-pipelines-run-billing-id']}, Task id: {entry['taskId']}, "
        f"Task name: needs-gpu, Task state: DRIVER_SUCCEEDED, Execution name: {entry['execution']['name']}",
    }


def test_a_retry_policy_outlives_a_shortage(emulator: VertexEmulator, client: Client) -> None:
    emulator.faults.add_task("t", kind="stockout")
    emulator.faults.add_task("t", kind="preempt")
    job = client.run(Pipeline().task("t", ["sh", "-c", "sleep 0.5"], retry={"maxRetryCount": 2}))
    assert states(job) == {"t": "SUCCEEDED"}
    texts = [
        status["error"]["message"] for status in tasks(job)["t"]["pipelineTaskStatus"] if "error" in status
    ]
    assert "Resources are insufficient in region: europe-west4" in texts[0]
    assert "preempted" in texts[1]


@pytest.mark.parametrize("code", [8, 9, 14])
def test_the_code_of_a_stockout_is_a_switch(start_emulator: Start, code: int) -> None:
    emulator = start_emulator(stockout_code=code)
    emulator.faults.add_task(kind="stockout")
    job = Client(emulator.endpoint).run(Pipeline().task("t"))
    assert tasks(job)["t"]["error"]["code"] == code


@pytest.mark.parametrize(
    ("what", "options", "code"),
    [("bucket", {}, 7), ("bucket", {"bucket_permission_code": 9}, 9), ("metadata", {}, 7)],
)
def test_missing_permissions_fail_the_job_after_it_was_accepted(
    start_emulator: Start, what: str, options: dict[str, Any], code: int
) -> None:
    emulator = start_emulator(**options)
    emulator.faults.deny(what)
    job = Client(emulator.endpoint).run(Pipeline().task("t"))
    assert job["state"] == "PIPELINE_STATE_FAILED"
    assert job["error"]["code"] == code
    assert job["error"]["message"].startswith("Failed to create pipeline job. Error: ")
    assert "taskDetails" not in job.get("jobDetail", {})


def test_an_account_that_may_not_be_used_is_a_bad_request(emulator: VertexEmulator, client: Client) -> None:
    emulator.faults.deny("act_as", "runner@x")
    with pytest.raises(ApiFailure) as error:
        client.create(Pipeline().task("t"), serviceAccount="runner@x")
    assert (error.value.http_status, error.value.status) == (400, "INVALID_ARGUMENT")
    assert (
        error.value.message
        == "You do not have permission to act as service_account: runner@x. (or it may not exist)."
    )
    client.create(Pipeline().task("t"), serviceAccount="other@x")


def test_faults_are_scripted_from_another_process_too(client: Client) -> None:
    client.call("POST", "/emulator/faults", {"method": "pipelineJobs.list", "error": "UNAVAILABLE"})
    client.call("POST", "/emulator/faults", {"task": "t", "kind": "quota"})
    client.call("POST", "/emulator/faults", {"deny": "act_as", "subject": "x"})
    rules = client.call("GET", "/emulator/faults")
    assert [rule.get("method") or rule.get("task") or rule.get("deny") for rule in rules] == [
        "pipelineJobs.list",
        "t",
        "act_as",
    ]
    with pytest.raises(ApiFailure):
        client.call("GET", f"/v1/{PARENT}/pipelineJobs")
    assert client.call("DELETE", "/emulator/faults") == []
    seen = client.call("GET", "/emulator/requests")
    assert seen[0]["rest_method"] == "pipelineJobs.list"


@pytest.mark.parametrize(
    "make",
    [
        lambda faults: faults.add(error="NO_SUCH_CODE"),
        lambda faults: faults.add(rate=2),
        lambda faults: faults.add_task(kind="earthquake"),
        lambda faults: faults.deny("everything"),
    ],
)
def test_rules_that_make_no_sense_are_refused(emulator: VertexEmulator, make: Callable[[Any], Any]) -> None:
    with pytest.raises(ValueError, match="allowed"):
        make(emulator.faults)
