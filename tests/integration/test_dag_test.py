"""``dag.test()`` gives the same states and XComs as a real scheduler, with and without deferring."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.dags.vertex_dags import HARD_VALUES
from tests.support.dag_test import DagTestResult, run_dag_test
from tests.support.emulator import EmulatorProcess
from tests.support.processes import INTEGRATION_DAGS

pytestmark = pytest.mark.integration


def run(dag_id: str, emulator: EmulatorProcess, conf: dict[str, Any] | None = None) -> DagTestResult:
    return run_dag_test(
        INTEGRATION_DAGS / "vertex_dags.py",
        dag_id,
        {"google_cloud_default": emulator.connection_json()},
        conf,
    )


@pytest.mark.parametrize("dag_id", ["vertex_values", "vertex_values_on_workers"])
def test_values(dag_id: str, vertex_emulator_process: EmulatorProcess) -> None:
    result = run(dag_id, vertex_emulator_process)
    assert result.state == "success", result.output
    assert repr(result.xcoms["collect"]["return_value"]["value"]) == repr(HARD_VALUES)
    url = result.xcoms["g.submit_pipeline"]["vertex_url"]
    for task_id in ("g.plain", "g.machine", "g.one"):
        keys = set(result.xcoms[task_id])
        assert keys == {"return_value", "vertex_url", "vertex_logs_url"}, task_id
        assert result.xcoms[task_id]["vertex_url"] == url
    assert set(result.xcoms["g.wait_for_pipeline"]) == {
        "return_value",
        "vertex_state",
        "vertex_url",
        "vertex_logs_url",
    }
    waited = result.xcoms["g.wait_for_pipeline"]["return_value"]
    assert (
        waited["state"] == result.xcoms["g.wait_for_pipeline"]["vertex_state"] == "PIPELINE_STATE_SUCCEEDED"
    )
    assert waited["outputs"] == {"g.one": HARD_VALUES["quotes"]}


def test_failure(vertex_emulator_process: EmulatorProcess) -> None:
    result = run("vertex_failing", vertex_emulator_process)
    assert result.state == "failed"
    assert result.states == {
        "g.submit_pipeline": "success",
        "g.well": "success",
        "g.breaks": "failed",
        "g.after": "upstream_failed",
        "g.beside": "success",
        "g.several": "failed",
        "g.command": "failed",
        "g.wait_for_pipeline": "failed",
        "outside": "upstream_failed",
    }
    assert "ValueError: cannot use 'fine'" in result.output
    assert result.xcoms["g.wait_for_pipeline"]["vertex_state"] == "PIPELINE_STATE_FAILED"
    assert result.xcoms["g.breaks"]["vertex_url"] == result.xcoms["g.submit_pipeline"]["vertex_url"]
