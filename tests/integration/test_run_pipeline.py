"""Compiled pipelines in a real Airflow on the emulator: the example, and a retry of a task that failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.airflow import AirflowDeployment
from tests.support.dag_test import run_dag_test
from tests.support.emulator import EmulatorProcess
from tests.support.processes import EXAMPLE_DAGS

pytestmark = pytest.mark.integration


def test_example(vertex_emulator_process: EmulatorProcess) -> None:
    result = run_dag_test(
        EXAMPLE_DAGS / "example_run_pipeline.py",
        "example_run_pipeline",
        {"google_cloud_default": vertex_emulator_process.connection_json()},
    )
    assert result.state == "success", result.output
    ran = result.xcoms["run"]
    assert set(ran) == {"return_value", "vertex_state", "vertex_url", "vertex_logs_url", "vertex_job_name"}
    assert ran["return_value"]["outputs"] == {"Output": 24}
    assert ran["return_value"]["job_name"] == ran["vertex_job_name"]
    waited = result.xcoms["wait"]["return_value"]
    assert [job["outputs"] for job in waited] == [{"Output": 16}, {"Output": 24}]
    assert waited[0]["job_name"] == result.xcoms["start"]["return_value"]["job_name"]
    assert result.xcoms["look"]["return_value"]["tasks"] == {"count": "SUCCEEDED"}
    assert [job["job_name"] for job in result.xcoms["mine"]["return_value"]] == [ran["vertex_job_name"]]
    assert result.xcoms["report"]["return_value"] == {"Output": 24}


def test_a_retry_runs_the_pipeline_again(
    airflow_deployment: AirflowDeployment, vertex_emulator_process: EmulatorProcess, tmp_path: Path
) -> None:
    run_id = airflow_deployment.trigger("run_retried", {"path": str(tmp_path / "mark")})
    assert airflow_deployment.wait_for_run("run_retried", run_id, timeout=240) == "success"
    value = airflow_deployment.xcom("run_retried", run_id, "run")
    assert value["state"] == "PIPELINE_STATE_SUCCEEDED"
    assert value["job_name"].endswith("-2")
    assert airflow_deployment.xcom("run_retried", run_id, "run", "vertex_job_name") == value["job_name"]


def test_many_jobs_are_started_cancelled_and_deleted(
    airflow_deployment: AirflowDeployment, vertex_emulator_process: EmulatorProcess, tmp_path: Path
) -> None:
    run_id = airflow_deployment.trigger("run_many", {"path": str(tmp_path / "never")})
    assert airflow_deployment.wait_for_run("run_many", run_id, timeout=240) == "success"
    stopped = airflow_deployment.xcom("run_many", run_id, "stop")
    assert [job["state"] for job in stopped] == ["PIPELINE_STATE_CANCELLED"] * 2
    assert len({job["job_name"] for job in stopped}) == 2
    states = airflow_deployment.states("run_many", run_id)
    assert states["see"] == "skipped"
