"""What ends a job, and what must not: acts of users and limits of time, restarts and roll-outs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_vertex_provider.operators.waiting import triggers_can_end_tasks
from tests.faults.conftest import FaultyEmulator
from tests.support.airflow import AirflowDeployment

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not triggers_can_end_tasks(), reason="Airflow 3.3 tells triggers of users' acts"),
]

WAIT = "g.wait_for_pipeline"


class Run:
    """A run whose first member holds its machine until a gate opens."""

    def __init__(
        self, airflow: AirflowDeployment, emulator: FaultyEmulator, folder: Path, dag_id: str, name: str
    ) -> None:
        self.airflow, self.emulator, self.dag_id = airflow, emulator, dag_id
        self.gate = folder / f"gate-{name}"
        self.id = airflow.trigger(dag_id, run_id=name, conf={"gate": str(self.gate)})

    def begun(self) -> Run:
        """Wait until the machine is held and somebody waits for the job."""
        began = Path(f"{self.gate}.began")
        self.airflow.wait_until(began.exists, 120, f"{self.id} to hold its machine")
        self.airflow.wait_until(
            lambda: "vertex_url" in self.airflow.xcom_keys(self.dag_id, self.id, WAIT),
            120,
            f"{self.id} to be waited for",
        )
        return self

    def job(self) -> str:
        return self.emulator.state(self.dag_id, self.id)

    def cancelled(self) -> None:
        what = f"the job of {self.id} to be cancelled"
        self.airflow.wait_until(lambda: self.job() == "CANCELLED", 60, what)

    def mark(self, state: str, task_id: str = WAIT) -> None:
        self.airflow.mark(self.dag_id, self.id, task_id, state)

    def end(self, state: str) -> None:
        """Mark the whole run."""
        path = f"dags/{self.dag_id}/dagRuns/{self.id}"
        self.airflow.request("PATCH", path, json_body={"state": state})

    def log(self, task_id: str = WAIT) -> str:
        return self.airflow.log(self.dag_id, self.id, task_id)


@pytest.fixture
def start(
    faulty_airflow: AirflowDeployment, faulty_emulator: FaultyEmulator, tmp_path: Path, request: Any
) -> Callable[..., Run]:
    def begin(dag_id: str) -> Run:
        name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
        return Run(faulty_airflow, faulty_emulator, tmp_path, dag_id, name[:80])

    return begin


ACTS: dict[str, Callable[[Run], None]] = {
    "mark failed": lambda run: run.mark("failed"),
    "mark success": lambda run: run.mark("success"),
    "clear": lambda run: run.airflow.clear(run.dag_id, run.id, [WAIT]),
    "fail the run": lambda run: run.end("failed"),
    "end the run well": lambda run: run.end("success"),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("dag_id", ["faults_gate", "faults_gate_workers"])
def test_a_user_s_act_cancels(start: Callable[..., Run], dag_id: str, act: str) -> None:
    run = start(dag_id).begun()
    ACTS[act](run)
    run.cancelled()


@pytest.mark.parametrize("act", ["mark failed", "fail the run"])
def test_unless_it_is_to_be_left_running(start: Callable[..., Run], act: str) -> None:
    run = start("faults_left_running").begun()
    ACTS[act](run)
    run.airflow.wait_until(lambda: "cancel_on_kill is False" in run.log(), 60, "the log to say so")
    assert run.job() == "RUNNING"
    run.gate.touch()
    run.airflow.wait_until(lambda: run.job() == "SUCCEEDED", 60, "the job to end by itself")


@pytest.mark.parametrize("dag_id", ["faults_time_limit", "faults_time_limit_workers"])
def test_the_group_s_own_time_limit(start: Callable[..., Run], dag_id: str) -> None:
    run = start(dag_id)
    run.airflow.wait_for_task(run.dag_id, run.id, WAIT, "failed")
    run.cancelled()
    assert "had not ended within its time limit" in run.log()


def test_the_time_limit_of_the_dag_run(start: Callable[..., Run]) -> None:
    run = start("faults_dagrun_timeout")
    assert run.airflow.wait_for_run(run.dag_id, run.id) == "failed"
    run.cancelled()


def test_a_job_that_has_ended_is_left_alone(start: Callable[..., Run]) -> None:
    run = start("faults_gate")
    run.gate.touch()
    assert run.airflow.wait_for_run(run.dag_id, run.id) == "success"
    run.mark("failed")
    assert run.job() == "SUCCEEDED"


def test_a_cancel_that_the_service_does_not_take_at_first(
    start: Callable[..., Run], faulty_emulator: FaultyEmulator
) -> None:
    run = start("faults_gate").begun()
    faulty_emulator.fault(method="pipelineJobs.cancel", error="UNAVAILABLE", count=3)
    run.mark("failed")
    run.cancelled()


def test_a_job_that_is_ending_already(start: Callable[..., Run], faulty_emulator: FaultyEmulator) -> None:
    run = start("faults_gate").begun()
    run.gate.touch()
    run.mark("failed")
    run.airflow.wait_until(lambda: run.job() in ("SUCCEEDED", "CANCELLED"), 60, "the job to end")


def test_submit_ended_while_it_creates_the_job(
    start: Callable[..., Run], faulty_emulator: FaultyEmulator
) -> None:
    faulty_emulator.fault(method="pipelineJobs.create", delay=3.0)
    run = start("faults_gate")
    run.airflow.wait_until(lambda: faulty_emulator.asked_for(run.id), 60, "the job to be asked for")
    run.mark("failed", "g.submit_pipeline")
    run.airflow.wait_until(
        lambda: run.emulator.jobs(run.dag_id, run.id) and run.job() == "CANCELLED", 60, "the cancelled job"
    )


@pytest.mark.parametrize("component", ["triggerer", "scheduler"])
@pytest.mark.parametrize("dag_id", ["faults_gate", "faults_gate_workers"])
def test_restarts_cancel_nothing(start: Callable[..., Run], dag_id: str, component: str) -> None:
    run = start(dag_id).begun()
    run.airflow.restart(component)
    assert run.job() == "RUNNING"
    run.gate.touch()
    assert run.airflow.wait_for_run(run.dag_id, run.id) == "success"
    assert run.job() == "SUCCEEDED"


def test_a_cleared_group_waits_for_the_end_of_what_it_cancels(start: Callable[..., Run]) -> None:
    run = start("faults_gate").begun()
    run.airflow.clear(run.dag_id, run.id)
    run.airflow.wait_until(lambda: len(run.emulator.jobs(run.dag_id, run.id)) == 2, 120, "the second job")
    run.gate.touch()
    assert run.airflow.wait_for_run(run.dag_id, run.id) == "success"
    states = sorted(job["state"] for job in run.emulator.jobs(run.dag_id, run.id))
    assert states == ["PIPELINE_STATE_CANCELLED", "PIPELINE_STATE_SUCCEEDED"]
