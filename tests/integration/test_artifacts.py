"""Artifacts outside their group: XComs of their own, which other tasks and other groups take."""

from __future__ import annotations

import pytest

from tests.support.dag_test import run_dag_test
from tests.support.emulator import EmulatorProcess
from tests.support.processes import INTEGRATION_DAGS

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("dag_id", ["vertex_artifacts", "vertex_artifacts_on_workers"])
def test_artifacts_are_small_dicts_outside(dag_id: str, vertex_emulator_process: EmulatorProcess) -> None:
    result = run_dag_test(
        INTEGRATION_DAGS / "artifact_dags.py",
        dag_id,
        {"google_cloud_default": vertex_emulator_process.connection_json()},
    )
    assert result.state == "success", result.output
    model, metrics = (result.xcoms["first.train"][name] for name in ("model", "metrics"))
    assert set(model) == {"uri", "type", "metadata"}
    assert model["uri"].startswith("gs://bucket/root/")
    assert model["uri"].endswith("/model")
    assert model["type"] == "system.Model"
    assert metrics["metadata"] == {"accuracy": 0.5}
    copied = result.xcoms["first.copy"]["return_value"]
    assert copied["size"] == 3
    assert copied["result"]["type"] == "system.Dataset"
    assert copied["result"]["uri"].startswith("gs://bucket/root/")
    assert result.xcoms["gather"]["return_value"] == ["trained", model, metrics, copied]
    assert result.xcoms["first.make"]["data"]["metadata"] == {"rows": 3}
    assert "return_value" not in result.xcoms["first.make"]
    assert result.xcoms["second.read"]["return_value"] == ["ABC", {}]
    assert result.xcoms["first.wait_for_pipeline"]["return_value"]["outputs"] == {
        "first.train": "trained",
        'first.train["model"]': model,
        'first.train["metrics"]': metrics,
    }
