"""Workers and triggerers killed with SIGKILL: one job for each attempt, right ends, nothing stuck.

``FAULT_RUNS`` sets the number of runs: 15 as a test, 100 in ``make faults``.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.faults.conftest import FaultyEmulator
from tests.faults.dags.kill_points import MEMBER_POINTS, SUBMIT_POINTS, WAIT_POINTS
from tests.support.airflow import AirflowDeployment

pytestmark = pytest.mark.integration

RUNS = int(os.environ.get("FAULT_RUNS", "15"))
#: Seconds that all runs together may take.
TIMEOUT = 120.0 + 20.0 * RUNS


def ask_for(folder: Path, run_id: str, *points: str) -> None:
    place = folder / run_id
    place.mkdir(parents=True)
    for point in points:
        (place / point).touch()


def check(
    airflow: AirflowDeployment, emulator: FaultyEmulator, folder: Path, dag_id: str, runs: list[str]
) -> None:
    """Wait for the ends, and look at what is left: states, values, jobs, kills that never came."""
    ends = {run_id: airflow.wait_for_run(dag_id, run_id, timeout=TIMEOUT) for run_id in runs}
    assert set(ends.values()) == {"success"}, ends
    for run_id in runs:
        assert set(airflow.states(dag_id, run_id).values()) == {"success"}
        assert airflow.xcom(dag_id, run_id, "take") == [run_id, "second"]
        assert airflow.xcom(dag_id, run_id, "g.first") == {"run": run_id}
        assert emulator.state(dag_id, run_id) == "SUCCEEDED"
        left = [point.name for point in (folder / run_id).glob("*")]
        assert left == [], f"{run_id} was never killed at {left}"


def test_kills_of_workers(
    faulty_airflow: AirflowDeployment, faulty_emulator: FaultyEmulator, faults_folder: Path
) -> None:
    """Each point once; in more runs than points, two points drawn for each."""
    points = [*SUBMIT_POINTS, *MEMBER_POINTS]
    draw = random.Random(RUNS)
    runs = []
    for number in range(RUNS):
        run_id = f"kill-{number}"
        chosen = [points[number]] if number < len(points) else draw.sample(points, 2)
        ask_for(faults_folder, run_id, *chosen)
        runs.append(faulty_airflow.trigger("faults_triggers", run_id=run_id))
    check(faulty_airflow, faulty_emulator, faults_folder, "faults_triggers", runs)


def test_kills_of_workers_that_wait(
    faulty_airflow: AirflowDeployment, faulty_emulator: FaultyEmulator, faults_folder: Path
) -> None:
    runs = []
    for number, point in enumerate((*WAIT_POINTS, "job created")):
        run_id = f"kill-waiting-{number}"
        ask_for(faults_folder, run_id, point)
        runs.append(faulty_airflow.trigger("faults_workers", run_id=run_id))
    check(faulty_airflow, faulty_emulator, faults_folder, "faults_workers", runs)


def test_kills_of_the_triggerer(
    faulty_airflow: AirflowDeployment, faulty_emulator: FaultyEmulator, faults_folder: Path, tmp_path: Path
) -> None:
    """At random while runs wait; what waited goes on where it was."""
    draw = random.Random(RUNS)
    gate = tmp_path / "gate"
    runs = [
        faulty_airflow.trigger("faults_gate", run_id=f"triggerer-{number}", conf={"gate": str(gate)})
        for number in range(max(3, RUNS // 10))
    ]
    for _ in range(max(2, RUNS // 20)):
        time.sleep(draw.uniform(0.5, 4.0))
        faulty_airflow.kill("triggerer")
        faulty_airflow.start("triggerer")
    gate.touch()
    for run_id in runs:
        assert faulty_airflow.wait_for_run("faults_gate", run_id, timeout=TIMEOUT) == "success"
        assert faulty_emulator.state("faults_gate", run_id) == "SUCCEEDED"


def test_the_loss_of_all_workers(
    faulty_airflow: AirflowDeployment, faulty_emulator: FaultyEmulator, tmp_path: Path
) -> None:
    """The scheduler's machine is lost with the workers on it, while tasks wait on these."""
    gate = tmp_path / "gate"
    run_id = faulty_airflow.trigger("faults_gate_workers", run_id="lost", conf={"gate": str(gate)})
    faulty_airflow.wait_for_task("faults_gate_workers", run_id, "g.wait_for_pipeline", "running")
    faulty_airflow.kill("scheduler")
    faulty_airflow.start("scheduler")
    gate.touch()
    assert faulty_airflow.wait_for_run("faults_gate_workers", run_id, timeout=TIMEOUT) == "success"
    assert faulty_emulator.state("faults_gate_workers", run_id) == "SUCCEEDED"
