"""Running again what failed, as a user does it in Airflow and as a group does by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_vertex_provider.operators.waiting import triggers_can_end_tasks
from tests.faults.conftest import FaultyEmulator
from tests.support.airflow import AirflowDeployment

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not triggers_can_end_tasks(), reason="Airflow 3.3 keeps what the trigger reported"),
]


def failed_run(airflow: AirflowDeployment, dag_id: str, gate: Path) -> str:
    """Run the group with a last task that fails."""
    gate.touch()
    Path(f"{gate}.fail").touch()
    run_id = airflow.trigger(dag_id, conf={"gate": str(gate)})
    assert airflow.wait_for_run(dag_id, run_id) == "failed"
    return run_id


def mend(gate: Path) -> None:
    Path(f"{gate}.fail").unlink()
    # Were the first task to run again, it would wait for ever.
    gate.unlink()


def runs_of_the_last(gate: Path) -> int:
    return len(Path(f"{gate}.fail.runs").read_text())


def check(airflow: AirflowDeployment, emulator: FaultyEmulator, dag_id: str, run_id: str, gate: Path) -> None:
    assert airflow.wait_for_run(dag_id, run_id) == "success"
    assert set(airflow.states(dag_id, run_id).values()) == {"success"}
    assert airflow.xcom(dag_id, run_id, "g.after") == ["done", "after"]
    assert airflow.xcom(dag_id, run_id, "g.hold") == "done"
    assert len(emulator.jobs(dag_id, run_id)) == 2
    assert runs_of_the_last(gate) == 2
    second = airflow.xcom(dag_id, run_id, "g.wait_for_pipeline")["job_name"]
    assert second.endswith("-2")
    assert airflow.xcom(dag_id, run_id, "g.wait_for_pipeline", "vertex_url").partition("?")[0].endswith("-2")


def test_clearing_the_group(
    faulty_airflow: AirflowDeployment, faulty_emulator: FaultyEmulator, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    run_id = failed_run(faulty_airflow, "faults_gate", gate)
    mend(gate)
    faulty_airflow.clear("faults_gate", run_id)
    check(faulty_airflow, faulty_emulator, "faults_gate", run_id, gate)
    log = faulty_airflow.log("faults_gate", run_id, "g.submit_pipeline", 2)
    assert "Reused with their recorded outputs, not run again: g.hold" in log


@pytest.mark.parametrize("dag_id", ["faults_gate", "faults_gate_workers"])
def test_clearing_what_failed(
    faulty_airflow: AirflowDeployment, faulty_emulator: FaultyEmulator, tmp_path: Path, dag_id: str
) -> None:
    """What most people do: the failed tasks of the run, of which submit is none."""
    gate = tmp_path / "gate"
    run_id = failed_run(faulty_airflow, dag_id, gate)
    mend(gate)
    faulty_airflow.clear(dag_id, run_id, only_failed=True)
    check(faulty_airflow, faulty_emulator, dag_id, run_id, gate)


def test_clearing_a_member_alone_says_what_to_clear(
    faulty_airflow: AirflowDeployment, faulty_emulator: FaultyEmulator, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    run_id = failed_run(faulty_airflow, "faults_gate", gate)
    mend(gate)
    faulty_airflow.clear("faults_gate", run_id, ["g.after"])
    assert faulty_airflow.wait_for_run("faults_gate", run_id) == "failed"
    log = faulty_airflow.log("faults_gate", run_id, "g.after", 2)
    assert "To run again what failed, clear that task too, or g.submit_pipeline" in log
    assert len(faulty_emulator.jobs("faults_gate", run_id)) == 1


def test_retries_of_the_group(
    faulty_airflow: AirflowDeployment, faulty_emulator: FaultyEmulator, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    failing = Path(f"{gate}.fail")
    failing.touch()
    run_id = faulty_airflow.trigger("faults_retries", conf={"gate": str(gate)})
    traces = Path(f"{failing}.runs")
    faulty_airflow.wait_until(traces.exists, 120, "the first failure")
    faulty_airflow.wait_until(
        lambda: (
            "PIPELINE_STATE_FAILED"
            in {job["state"] for job in faulty_emulator.jobs("faults_retries", run_id)}
        ),
        60,
        "the first job to fail",
    )
    failing.unlink()
    check(faulty_airflow, faulty_emulator, "faults_retries", run_id, gate)
