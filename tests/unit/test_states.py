"""Every state of a job and of its tasks: what ends a wait, what is waited on, what is said while waiting."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from google.cloud.aiplatform_v1.types import PipelineJob

from airflow_vertex_provider.hooks.snapshots import snapshot_of
from airflow_vertex_provider.links.console import ConsoleUrls
from airflow_vertex_provider.outputs import job_outcome, task_outcome
from airflow_vertex_provider.snapshot import JobSnapshot, age, unknown_states
from airflow_vertex_provider.states import PipelineState, TaskState
from tests.unit.api_jobs import NAME, START, entry, job

JOB_ENDS = {
    PipelineState.SUCCEEDED: True,
    PipelineState.FAILED: False,
    PipelineState.CANCELLED: False,
}
TASK_ENDS = {
    TaskState.SUCCEEDED: True,
    TaskState.SKIPPED: True,
    TaskState.FAILED: False,
    TaskState.CANCELLED: False,
    TaskState.NOT_TRIGGERED: False,
}


@pytest.mark.parametrize("state", PipelineState)
def test_of_jobs(state: PipelineState) -> None:
    """Only success is success; a paused job goes on when somebody resumes it."""
    outcome = job_outcome(job(entry(1, "a"), state=state.value))
    assert (outcome.succeeded if outcome else None) is JOB_ENDS.get(state)


@pytest.mark.parametrize("state", TaskState)
def test_of_tasks(state: TaskState) -> None:
    outcome = task_outcome(job(entry(1, "a", state=state.value), state="PIPELINE_STATE_RUNNING"), "a")
    assert (outcome.succeeded if outcome else None) is TASK_ENDS.get(state)
    if state is TaskState.SKIPPED:
        assert outcome is not None
        assert "from the cache" in outcome.message


def unknown() -> JobSnapshot:
    """Return a job as a newer service may have it."""
    message = PipelineJob.pb(PipelineJob())
    message.name = NAME
    message.state = 77
    detail = message.job_detail.task_details.add()
    detail.task_name, detail.task_id, detail.state = "a", 1, 88
    return snapshot_of(PipelineJob.wrap(message), ConsoleUrls("1"))


def test_unknown_ones_are_waited_on() -> None:
    found = unknown()
    assert unknown_states(found) == {"77", "88"}
    assert job_outcome(found) is None
    assert task_outcome(found, "a") is None
    assert unknown_states(job(entry(1, "a"))) == set()


def test_who_cancelled_is_said_as_far_as_it_is_known() -> None:
    outcome = job_outcome(job(entry(1, "a", state="CANCELLED"), state="PIPELINE_STATE_CANCELLED"))
    assert outcome is not None
    assert "Cancelled by Airflow if wait_for_pipeline" in outcome.message
    alone = task_outcome(job(entry(1, "a", state="CANCELLED"), state="PIPELINE_STATE_RUNNING"), "a")
    assert alone is not None
    assert "Not the whole job was cancelled" in alone.message


def begun(number: int, name: str, state: str, after: int, **metadata: Any) -> dict[str, Any]:
    made = entry(number, name, state=state, made=after, **metadata)
    made["startTime"] = (START + timedelta(seconds=after)).isoformat()
    made["execution"]["name"] = f"executions/{number}"
    return made


def test_progress_in_one_line() -> None:
    found = job(
        begun(1, "a", "SUCCEEDED", 0),
        begun(2, "b", "SKIPPED", 0),
        begun(3, "c", "RUNNING", 60),
        begun(4, "d", "PENDING", 0),
        entry(5, "d-gate", state="RUNNING"),
        state="PIPELINE_STATE_RUNNING",
    )
    names = {name: f"g.{name}" for name in "abcd"}
    now = START + timedelta(minutes=5)
    assert found.progress(names, now=now, total=6) == (
        "2 of 6 done (1 cached), 1 running (g.c 4m), 1 waiting for a machine (g.d 5m), 0 failed"
    )


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-300, "0s"), (0, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h00m"), (9000, "2h30m")],
)
def test_ages(seconds: int, shown: str) -> None:
    assert age(START, START + timedelta(seconds=seconds)) == shown


def test_a_line_names_no_more_than_a_few() -> None:
    many = [begun(number, f"t{number}", "RUNNING", 0) for number in range(1, 9)]
    line = job(*many, state="PIPELINE_STATE_RUNNING").progress()
    assert line == "0 of 8 done, 8 running (t1, t2, t3, t4, t5, 3 more), 0 failed"
