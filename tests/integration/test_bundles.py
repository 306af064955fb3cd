"""Projects of several modules in a real Airflow: the worker packs and sends them, the containers run them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.airflow import AirflowDeployment
from tests.support.emulator import EmulatorProcess

pytestmark = pytest.mark.integration


def zips(emulator: EmulatorProcess, folder: str) -> list[Path]:
    return sorted((emulator.state_dir / "gcs" / folder / "code").glob("*.zip"))


def test_whole_folder(
    airflow_deployment: AirflowDeployment, vertex_emulator_process: EmulatorProcess
) -> None:
    airflow = airflow_deployment
    times = []
    for _ in range(2):
        run_id = airflow.trigger("bundle_folder")
        assert airflow.wait_for_run("bundle_folder", run_id, timeout=240) == "success"
        for task_id in ("g.plain", "g.machine", "g.longest"):
            assert airflow.xcom("bundle_folder", run_id, task_id) == [3, "eleven"]
        (sent,) = zips(vertex_emulator_process, "emulated-bucket/bundles")
        times.append(sent.stat().st_mtime_ns)
    assert times[0] == times[1]


def test_failing_helper(
    airflow_deployment: AirflowDeployment, vertex_emulator_process: EmulatorProcess
) -> None:
    airflow = airflow_deployment
    run_id = airflow.trigger("bundle_failing")
    assert airflow.wait_for_run("bundle_failing", run_id, timeout=240) == "failed"
    log = airflow.log("bundle_failing", run_id, "g.fail")
    assert "IndexError: list index out of range" in log
    assert 'File "bundled/words.py", line 15, in fail' in log


def test_example(airflow_deployment: AirflowDeployment, vertex_emulator_process: EmulatorProcess) -> None:
    airflow = airflow_deployment
    run_id = airflow.trigger("example_project")
    assert airflow.wait_for_run("example_project", run_id, timeout=240) == "success"
    scores = airflow.xcom("example_project", run_id, "wines.evaluate")
    assert set(scores) == {"neighbours", "linear"}
    assert all(0.9 < score <= 1 for score in scores.values())
    assert airflow.xcom("example_project", run_id, "wines.best") == max(
        sorted(scores), key=scores.__getitem__
    )
    assert len(airflow.xcom("example_project", run_id, "report")) == 2
    assert len(zips(vertex_emulator_process, "example-bucket/pipelines")) == 1
