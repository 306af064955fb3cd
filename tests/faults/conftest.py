"""One Airflow and one emulator for all tests of faults: what fails there must not fail the other tests."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_vertex_provider.graph.naming import label_value
from tests.support.airflow import AirflowDeployment
from tests.support.emulator import PROJECT, EmulatorProcess
from tests.support.processes import free_port

DAGS = Path(__file__).parent / "dags"
LOCATION = "europe-west4"


class FaultyEmulator(EmulatorProcess):
    """The emulator, with what the tests of faults ask it and tell it over HTTP."""

    def __init__(self, state_dir: Path, port: int) -> None:
        super().__init__(state_dir, port=port)
        self._http = requests.Session()
        self._http.trust_env = False

    def fault(self, **rule: Any) -> None:
        """Add a fault; see ``airflow_vertex_provider.emulator.faults``."""
        self._http.post(f"{self.endpoint}/emulator/faults", json=rule, timeout=30).raise_for_status()

    def no_faults(self) -> None:
        """End all faults."""
        self._http.delete(f"{self.endpoint}/emulator/faults", timeout=30).raise_for_status()

    def asked_for(self, run_id: str) -> bool:
        """Tell whether a job of a run was asked for, whether or not there is an answer."""
        answer = self._http.get(f"{self.endpoint}/emulator/requests", timeout=60)
        answer.raise_for_status()
        name = label_value(run_id)
        return any(
            item["rest_method"] == "pipelineJobs.create"
            and isinstance(item["body"], dict)
            and item["body"].get("labels", {}).get("airflow_run_id") == name
            for item in answer.json()
        )

    def jobs(self, dag_id: str = "", run_id: str = "") -> list[dict[str, Any]]:
        """Return the pipeline jobs, of one DAG or one run of it if named, as the API lists them."""
        found: list[dict[str, Any]] = []
        token = ""
        while True:
            answer = self._http.get(
                f"{self.endpoint}/v1/projects/{PROJECT}/locations/{LOCATION}/pipelineJobs",
                params={"pageToken": token, "readMask": "name,state,labels"},
                timeout=60,
            )
            answer.raise_for_status()
            found += answer.json().get("pipelineJobs", [])
            token = answer.json().get("nextPageToken", "")
            if not token:
                break
        wanted = {"airflow_dag_id": dag_id, "airflow_run_id": run_id}
        labels = {key: label_value(value) for key, value in wanted.items() if value}
        return [job for job in found if labels.items() <= job["labels"].items()]

    def state(self, dag_id: str, run_id: str) -> str:
        """Return the state of the only job of a run."""
        (job,) = self.jobs(dag_id, run_id)
        return str(job["state"]).removeprefix("PIPELINE_STATE_")

    def jobs_a_run(self, dag_id: str) -> Counter[str]:
        """Return how many jobs each run of a DAG has, by the run's label."""
        return Counter(job["labels"]["airflow_run_id"] for job in self.jobs(dag_id))


@pytest.fixture(scope="session")
def faults_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a file asks for the end of a worker."""
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="session")
def faulty_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyEmulator]:
    with FaultyEmulator(tmp_path_factory.mktemp("faulty-emulator") / "state", free_port()) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def faulty_airflow(faulty_emulator: FaultyEmulator, faults_folder: Path) -> Iterator[AirflowDeployment]:
    python_path = os.pathsep.join(filter(None, [str(DAGS), os.environ.get("PYTHONPATH")]))
    env = {
        "PYTHONPATH": python_path,
        "FAULTS_FOLDER": str(faults_folder),
        # A worker that is gone is found within a minute rather than five. Shorter, and a busy machine's own
        # workers, late with their heartbeats, are taken for gone.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
        # Many runs wait at the same time, with half a second between looks.
        "AIRFLOW__VERTEX_PIPELINES__READS_PER_MINUTE": "6000",
    }
    connections = {"google_cloud_default": faulty_emulator.connection_json()}
    with AirflowDeployment(DAGS, connections, env=env) as airflow:
        yield airflow


@pytest.fixture(autouse=True)
def _no_faults_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "faulty_emulator" in request.fixturenames:
        request.getfixturevalue("faulty_emulator").no_faults()
