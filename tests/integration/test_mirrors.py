"""Mirrors that skip, branch, map and clean up: the same under a real scheduler and in ``dag.test()``."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_vertex_provider.operators.waiting import triggers_can_end_tasks
from tests.support.airflow import AirflowDeployment
from tests.support.dag_test import run_dag_test
from tests.support.emulator import EmulatorProcess
from tests.support.processes import INTEGRATION_DAGS

pytestmark = pytest.mark.integration

S, K, F, U = "success", "skipped", "failed", "upstream_failed"

#: DAG id without its ending -> state of the run, states, return values that must be there.
EXPECTED: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "mirror_mapped": (
        "success",
        {
            "g.submit_pipeline": S,
            "g.give": S,
            "g.scale[0]": S,
            "g.scale[1]": S,
            "g.scale[2]": K,
            "g.shell[0]": S,
            "g.shell[1]": K,
            "g.shell[2]": S,
            **{f"g.pair.{name}[{index}]": S for name in ("first", "second") for index in range(3)},
            "g.nothing": S,
            "g.never": K,
            "g.wait_for_pipeline": S,
            "collect": S,
        },
        {
            "g.scale[0]": 10,
            "g.scale[1]": 20,
            "g.shell[0]": "a",
            "g.shell[2]": "c",
            "g.pair.second[2]": 3,
            "collect": [10, 20],
        },
    ),
    "mirror_branching": (
        "success",
        {
            "g.submit_pipeline": S,
            "g.choose": S,
            "g.left": S,
            "g.right": K,
            "g.join": S,
            "g.stop": S,
            "g.near": K,
            "g.far": K,
            "outside": K,
            "g.go": S,
            "g.going": S,
            "g.wait_for_pipeline": S,
        },
        {"g.left": "l", "g.join": ["l", None], "g.go": "yes", "g.going": 1},
    ),
    "mirror_cleaning": (
        "success",
        {
            "g.submit_pipeline": S,
            "g.create": S,
            "g.give": S,
            "g.delete": F,
            "g.fail": F,
            "g.after_all": S,
            "g.skipped": K,
            "g.after_skipped": S,
            "g.wait_for_pipeline": S,
        },
        {"g.create": "cluster", "g.give": "work", "g.after_all": "done", "g.after_skipped": "done"},
    ),
    "mirror_skipped_submit": (
        "success",
        {"before": S, "g.submit_pipeline": K, "g.give": K, "g.after_all": K, "g.wait_for_pipeline": K},
        {},
    ),
    "mirror_failed_submit": (
        "failed",
        {"before": F, "g.submit_pipeline": U, "g.give": U, "g.after_all": F, "g.wait_for_pipeline": U},
        {},
    ),
}


@pytest.fixture(autouse=True)
def emulator(vertex_emulator_process: EmulatorProcess) -> EmulatorProcess:
    return vertex_emulator_process


@pytest.mark.parametrize("dag_id", EXPECTED)
def test_with_a_real_scheduler(airflow_deployment: AirflowDeployment, dag_id: str) -> None:
    state, states, values = EXPECTED[dag_id]
    run_id = airflow_deployment.trigger(dag_id)
    ended = airflow_deployment.wait_for_run(dag_id, run_id, timeout=240)
    assert (ended, airflow_deployment.states(dag_id, run_id)) == (state, states)
    for name, value in values.items():
        task_id, _, index = name.removesuffix("]").partition("[")
        assert airflow_deployment.xcom(dag_id, run_id, task_id, map_index=int(index or -1)) == value, name
    if dag_id == "mirror_cleaning" and triggers_can_end_tasks():
        instances = airflow_deployment.task_instances(dag_id, run_id)
        assert instances["g.skipped"]["pid"] is None, "skipped without a worker"
    if dag_id == "mirror_cleaning":
        assert airflow_deployment.xcom(dag_id, run_id, "g.wait_for_pipeline", "vertex_state") == (
            "PIPELINE_STATE_FAILED"
        )


@pytest.mark.parametrize("dag_id", EXPECTED)
@pytest.mark.parametrize("ending", ["_in_line", "_on_workers"])
def test_in_dag_test(vertex_emulator_process: EmulatorProcess, dag_id: str, ending: str) -> None:
    state, states, values = EXPECTED[dag_id]
    result = run_dag_test(
        INTEGRATION_DAGS / "mirror_dags.py",
        f"{dag_id}{ending}",
        {"google_cloud_default": vertex_emulator_process.connection_json()},
    )
    assert (result.state, result.states) == (state, states), result.output
    left = {name: xcoms["return_value"] for name, xcoms in result.xcoms.items() if "return_value" in xcoms}
    assert left.items() >= values.items()
    skipped = {name for name, state in states.items() if state != S}
    assert not skipped & set(left), "only a success leaves a value"
