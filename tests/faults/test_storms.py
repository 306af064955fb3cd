"""Many runs while three calls in ten go wrong, an emulator that restarts, two triggerers, clocks that differ.

``STORM_RUNS`` sets the number of runs and lets them begin: 300 in ``make faults``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import FaultyEmulator
from tests.support.airflow import COMPONENTS, AirflowDeployment, airflow_program
from tests.support.processes import ManagedProcess

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif("STORM_RUNS" not in os.environ, reason="begun by make faults alone"),
]

RUNS = int(os.environ.get("STORM_RUNS", "50"))
#: Seconds that all runs together may take.
TIMEOUT = 120.0 + 10.0 * RUNS
#: Six ways to go wrong, each for so many of the calls that all of them together are three in ten.
WAYS: tuple[dict[str, Any], ...] = (
    {"error": "RESOURCE_EXHAUSTED"},
    {"error": "INTERNAL"},
    {"error": "UNAVAILABLE"},
    {"error": "DEADLINE_EXCEEDED", "delay": 1.0},
    {"reset": True},
    {"lose_response": True},
)
EACH = 1 - 0.7 ** (1 / len(WAYS))


def storm(emulator: FaultyEmulator) -> None:
    for number, way in enumerate(WAYS):
        emulator.fault(method="*", count=None, rate=EACH, seed=number, **way)


def test_a_storm_of_faults(faulty_airflow: AirflowDeployment, faulty_emulator: FaultyEmulator) -> None:
    storm(faulty_emulator)
    runs = [faulty_airflow.trigger("faults_triggers", run_id=f"storm-{number}") for number in range(RUNS)]
    ends = {
        run_id: faulty_airflow.wait_for_run("faults_triggers", run_id, timeout=TIMEOUT) for run_id in runs
    }
    faulty_emulator.no_faults()
    assert {run_id: end for run_id, end in ends.items() if end != "success"} == {}
    for run_id in runs:
        assert faulty_airflow.xcom("faults_triggers", run_id, "take") == [run_id, "second"]
        assert faulty_emulator.state("faults_triggers", run_id) == "SUCCEEDED"


def test_the_service_restarts(
    faulty_airflow: AirflowDeployment, faulty_emulator: FaultyEmulator, tmp_path: Path
) -> None:
    """The emulator is killed while a job runs, and comes back: the task runs again under the same job."""
    gate = tmp_path / "gate"
    dags = ("faults_gate", "faults_gate_workers")
    runs = {dag_id: faulty_airflow.trigger(dag_id, conf={"gate": str(gate)}) for dag_id in dags}
    for dag_id, run_id in runs.items():
        faulty_airflow.wait_until(
            lambda dag_id=dag_id, run_id=run_id: faulty_emulator.jobs(dag_id, run_id), 120, "the job"
        )
    faulty_emulator.kill()
    faulty_emulator.start()
    gate.touch()
    for dag_id, run_id in runs.items():
        assert faulty_airflow.wait_for_run(dag_id, run_id) == "success"
        assert faulty_emulator.state(dag_id, run_id) == "SUCCEEDED"


def test_two_triggerers_of_which_one_is_lost(
    faulty_airflow: AirflowDeployment, faulty_emulator: FaultyEmulator, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    second = ManagedProcess(
        "second triggerer",
        [airflow_program(), *COMPONENTS["triggerer"]],
        log=faulty_airflow.home / "second-triggerer.log",
        env=faulty_airflow.env,
    )
    second.start()
    try:
        runs = [
            faulty_airflow.trigger("faults_gate", run_id=f"two-{number}", conf={"gate": str(gate)})
            for number in range(4)
        ]
        for run_id in runs:
            faulty_airflow.wait_for_task("faults_gate", run_id, "g.wait_for_pipeline", "deferred")
        faulty_airflow.kill("triggerer")
        gate.touch()
        for run_id in runs:
            assert faulty_airflow.wait_for_run("faults_gate", run_id) == "success"
            assert faulty_emulator.state("faults_gate", run_id) == "SUCCEEDED"
    finally:
        faulty_airflow.start("triggerer")
        second.stop()
