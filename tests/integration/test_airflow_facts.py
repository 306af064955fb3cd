"""Facts of Airflow that the package builds on, each shown by a toy that has nothing of the package in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.airflow import AirflowDeployment
from tests.support.processes import INTEGRATION_DAGS

pytestmark = pytest.mark.integration

DAG_ID = "facts"
CONNECTION = {"conn_type": "http", "host": "example.invalid", "extra": {"answer": 42}}


@pytest.fixture(scope="module")
def airflow() -> Iterator[AirflowDeployment]:
    """An Airflow whose triggerer can import the toy trigger."""
    with AirflowDeployment(
        INTEGRATION_DAGS,
        {"facts": json.dumps(CONNECTION)},
        env={"PYTHONPATH": str(INTEGRATION_DAGS)},
    ) as deployment:
        yield deployment


def start(airflow: AirflowDeployment, gate: Path, outcome: str) -> str:
    """Start a run and wait until its trigger has pushed the link and stands before the gate."""
    run_id = airflow.trigger(DAG_ID, conf={"outcome": outcome, "gate": str(gate)})
    airflow.wait_until(
        lambda: "connection" in airflow.xcom_keys(DAG_ID, run_id, "waiting"), 60, "the trigger's first pushes"
    )
    return run_id


def test_trigger_pushes_xcoms_and_ends_the_task(airflow: AirflowDeployment, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run_id = start(airflow, gate, "success")

    assert airflow.states(DAG_ID, run_id)["waiting"] == "deferred"
    url = "https://console.example/run/job-7?project=p"
    assert airflow.xcom(DAG_ID, run_id, "waiting", "vertex_url") == url
    assert airflow.extra_links(DAG_ID, run_id, "waiting") == {"Facts": url}
    assert airflow.xcom(DAG_ID, run_id, "waiting", "connection") == {
        "host": "example.invalid",
        "extra": {"answer": 42},
    }

    gate.touch()
    assert airflow.wait_for_run(DAG_ID, run_id) == "success"
    pushed = {
        "a": [1, "x"],
        "none": None,
        "float": 0.1,
        "big": 2**60,
        "text": "1",
        "braces": '{"not": "parsed"}',
    }
    assert airflow.xcom(DAG_ID, run_id, "waiting") == pushed
    assert airflow.xcom(DAG_ID, run_id, "read") == {"type": "dict", "value": pushed}


def test_trigger_logs_reach_the_tasks_log(airflow: AirflowDeployment, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    run_id = start(airflow, gate, "success")
    airflow.wait_for_run(DAG_ID, run_id)
    log = airflow.log(DAG_ID, run_id, "waiting")
    assert "error from the event loop about job-7" in log
    assert "error from a thread about job-7" in log
    assert "error from a module's logger in thread" in log


def test_failed_event_fails_the_task_and_keeps_its_log(airflow: AirflowDeployment, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    run_id = start(airflow, gate, "failed")
    assert airflow.wait_for_run(DAG_ID, run_id) == "failed"
    assert airflow.states(DAG_ID, run_id) == {
        "first": "success",
        "waiting": "failed",
        "read": "upstream_failed",
    }
    assert "error from a thread about job-7" in airflow.log(DAG_ID, run_id, "waiting")
    assert airflow.xcom(DAG_ID, run_id, "waiting", "vertex_url").startswith("https://console.example/")
    assert airflow.extra_links(DAG_ID, run_id, "waiting")["Facts"] is not None


def test_exception_in_a_trigger_fails_the_task(airflow: AirflowDeployment, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    run_id = start(airflow, gate, "raise")
    assert airflow.wait_for_run(DAG_ID, run_id) == "failed"
    assert airflow.states(DAG_ID, run_id)["waiting"] == "failed"
    assert "ValueError: raised in the trigger about job-7" in airflow.log(DAG_ID, run_id, "waiting")


def test_event_resumes_on_a_worker(airflow: AirflowDeployment, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    run_id = start(airflow, gate, "event")
    assert airflow.wait_for_run(DAG_ID, run_id) == "success"
    assert airflow.xcom(DAG_ID, run_id, "waiting", "resumed") == {"job_name": "job-7"}


def test_second_attempt_pushes_over_the_first_ones_xcoms(airflow: AirflowDeployment, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    run_id = start(airflow, gate, "success")
    airflow.wait_for_run(DAG_ID, run_id)
    gate.unlink()
    airflow.clear(DAG_ID, run_id, ["waiting"])
    airflow.wait_for_task(DAG_ID, run_id, "waiting", "deferred")
    airflow.wait_until(
        lambda: "error from a thread" in airflow.log(DAG_ID, run_id, "waiting", 2), 60, "the second attempt"
    )
    # No worker started the attempt, so nobody has removed what the first one pushed.
    assert "return_value" in airflow.xcom_keys(DAG_ID, run_id, "waiting")
    gate.touch()
    assert airflow.wait_for_run(DAG_ID, run_id) == "success"
    assert airflow.xcom(DAG_ID, run_id, "waiting")["text"] == "1"


def test_trigger_goes_on_after_the_triggerer_was_killed(airflow: AirflowDeployment, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run_id = start(airflow, gate, "success")
    airflow.kill("triggerer")
    gate.touch()
    airflow.start("triggerer")
    assert airflow.wait_for_run(DAG_ID, run_id) == "success"
    assert airflow.xcom(DAG_ID, run_id, "read")["value"]["big"] == 2**60


def test_many_triggers_push_from_threads_at_once(airflow: AirflowDeployment) -> None:
    run_id = airflow.trigger("facts_many")
    assert airflow.wait_for_run("facts_many", run_id) == "success"
    for number in range(12):
        url = airflow.xcom("facts_many", run_id, f"waiting_{number}", "vertex_url")
        assert url == f"https://console.example/run/job-{number}?project=p"
        assert airflow.xcom("facts_many", run_id, f"waiting_{number}")["big"] == 2**60
