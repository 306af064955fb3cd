"""Why tasks failed, where the job's entries only point at it: launched jobs, the container's own words."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
from airflow_vertex_provider.outputs import job_outcome, task_outcome
from airflow_vertex_provider.snapshot import JobSnapshot
from tests.support.processes import wait_until
from tests.unit.emulated import create


def failed(hook: VertexPipelineHook, *, custom_job: bool = False) -> JobSnapshot:
    name = create(hook, "fail", custom_job=custom_job)

    def done() -> JobSnapshot | None:
        job = hook.get_job(name)
        return job if job.done else None

    return hook.explained(wait_until(done, 60, "the job to fail"))


def test_a_launched_job_is_followed(hook: VertexPipelineHook, emulator: VertexEmulator) -> None:
    job = failed(hook, custom_job=True)
    task = job.tasks["first"]
    launched = [
        job["name"] for job in emulator.custom_jobs() if job.get("jobSpec", {}).get("workerPoolSpecs", [])
    ]
    assert task.custom_job in launched
    assert task.custom_job.rpartition("/")[2] in task.logs_url
    # The author's exception first, then what the launched job says.
    assert task.error.startswith("KeyError: 'no such thing'")
    assert "The replica workerpool0-0 exited with a non-zero status of 1" in task.error
    outcome = task_outcome(job, "first")
    assert outcome is not None
    assert outcome.message.startswith("KeyError: 'no such thing'")
    assert task.logs_url in outcome.message


def test_a_plain_task_costs_no_more_calls(hook: VertexPipelineHook, emulator: VertexEmulator) -> None:
    job = failed(hook)
    assert job.tasks["first"].error.startswith("KeyError")
    assert not [item for item in emulator.requests if "customJobs" in item.path]


@pytest.fixture(params=["never", "always"])
def bare(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[VertexPipelineHook]:
    with VertexEmulator(replica_error_detail=request.param) as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", emulator.connection_json())
        yield VertexPipelineHook()


def test_what_cannot_be_read_is_left_out(bare: VertexPipelineHook) -> None:
    name = create(bare, "fail")
    wait_until(lambda: bare.get_job(name).done or None, 60, "the job to fail")
    job = bare.get_job(name)
    outcome = job_outcome(job)
    assert outcome is not None
    assert "Failed task 'first'" in outcome.message


@pytest.mark.parametrize(
    ("denied", "parts"),
    [
        ("metadata", ["aiplatform.metadataStores.get", "roles/aiplatform.user"]),
        ("bucket", ["gs://bucket", "roles/storage.objectUser"]),
    ],
)
def test_a_job_that_could_not_start_says_what_to_grant(
    hook: VertexPipelineHook, emulator: VertexEmulator, denied: str, parts: list[str]
) -> None:
    emulator.faults.deny(denied)
    outcome = job_outcome(failed(hook))
    assert outcome is not None
    assert [part for part in ["That means:", *parts] if part not in outcome.message] == []


@pytest.mark.parametrize(
    ("kind", "words"), [("quota", "quota of"), ("stockout", "has none of these machines free")]
)
def test_a_task_that_got_no_machine(
    hook: VertexPipelineHook, emulator: VertexEmulator, kind: str, words: str
) -> None:
    emulator.faults.add_task("first", kind=kind)
    job = failed(hook)
    outcome = task_outcome(job, "first")
    assert outcome is not None
    assert words in outcome.message


def test_an_account_that_may_not_be_used_says_what_to_grant(
    hook: VertexPipelineHook, emulator: VertexEmulator
) -> None:
    emulator.faults.deny("act_as")
    with pytest.raises(Exception, match=r"(?s)act as service_account.*roles/iam.serviceAccountUser"):
        create(hook, 1)
