"""The example of data frames, a model and its metrics, in a real Airflow on the emulator."""

from __future__ import annotations

import pytest

from tests.support.airflow import AirflowDeployment
from tests.support.emulator import EmulatorProcess

pytestmark = pytest.mark.integration

DAG = "example_frames_and_model"


@pytest.fixture(scope="module")
def run_id(airflow_deployment: AirflowDeployment, vertex_emulator_process: EmulatorProcess) -> str:
    run_id = airflow_deployment.trigger(DAG)
    assert airflow_deployment.wait_for_run(DAG, run_id, timeout=240) == "success"
    return run_id


def test_frames_reach_the_next_task_and_are_small_in_airflow(
    airflow_deployment: AirflowDeployment, run_id: str
) -> None:
    parts = airflow_deployment.xcom(DAG, run_id, "train.split")
    assert {name: part["type"] for name, part in parts.items()} == dict.fromkeys(
        ["train", "test"], "pandas.DataFrame"
    )
    assert [parts[name]["metadata"]["rows"] for name in ("train", "test")] == [426, 143]
    assert all(part["uri"].endswith(".parquet") for part in parts.values())
    assert airflow_deployment.xcom(DAG, run_id, "train.split", "test") == parts["test"]


def test_metrics_are_metrics(airflow_deployment: AirflowDeployment, run_id: str) -> None:
    score = airflow_deployment.xcom(DAG, run_id, "train.evaluate")
    assert score["accuracy"] > 0.9
    metrics = airflow_deployment.xcom(DAG, run_id, "train.evaluate", "metrics")
    assert (metrics["type"], metrics["metadata"]) == ("system.Metrics", score)
    confusion = airflow_deployment.xcom(DAG, run_id, "train.evaluate", "confusion")
    rows = confusion["metadata"]["confusionMatrix"]["rows"]
    assert sum(sum(row["row"]) for row in rows) == 143


def test_the_model_is_an_artifact_outside(airflow_deployment: AirflowDeployment, run_id: str) -> None:
    reported = airflow_deployment.xcom(DAG, run_id, "report")
    assert reported["model"] == airflow_deployment.xcom(DAG, run_id, "train.fit", "model")
    assert reported["model"]["type"] == "system.Model"
    assert reported["model"]["metadata"] == {"framework": "scikit-learn", "features": 30}
    assert reported["score"] == airflow_deployment.xcom(DAG, run_id, "train.evaluate")
