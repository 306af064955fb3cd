"""The harness itself: whether what it says about a real Airflow is so."""

from __future__ import annotations

import pytest

from tests.support.airflow import AirflowDeployment
from tests.support.airflow_api import AirflowApiError
from tests.support.dag_test import run_dag_test
from tests.support.processes import INTEGRATION_DAGS

pytestmark = pytest.mark.integration


def test_run_gives_states_xcoms_and_logs(airflow_deployment: AirflowDeployment) -> None:
    run_id = airflow_deployment.trigger("harness_simple", conf={"day": "2026-01-02"})
    assert airflow_deployment.wait_for_run("harness_simple", run_id) == "success"
    assert airflow_deployment.states("harness_simple", run_id) == {"produce": "success", "consume": "success"}
    value = airflow_deployment.xcom("harness_simple", run_id, "produce")
    assert value == {"day": "2026-01-02", "rows": [1, 2.5, None], "text": "1"}
    assert airflow_deployment.xcom("harness_simple", run_id, "consume") == "1"
    assert airflow_deployment.xcom_keys("harness_simple", run_id, "consume") == {"return_value"}
    assert "consumed ['day', 'rows', 'text']" in airflow_deployment.log("harness_simple", run_id, "consume")
    with pytest.raises(AirflowApiError) as caught:
        airflow_deployment.xcom("harness_simple", run_id, "consume", "no_such_key")
    assert caught.value.status == 404


def test_deferred_task_passes_through_the_triggerer(airflow_deployment: AirflowDeployment) -> None:
    run_id = airflow_deployment.trigger("harness_deferred")
    assert airflow_deployment.wait_for_run("harness_deferred", run_id) == "success"
    assert "Trigger fired event" in airflow_deployment.log("harness_deferred", run_id, "wait")
    assert airflow_deployment.xcom("harness_deferred", run_id, "wait") == "resumed"


def test_failure_leaves_traceback_and_upstream_failed(airflow_deployment: AirflowDeployment) -> None:
    run_id = airflow_deployment.trigger("harness_failing")
    assert airflow_deployment.wait_for_run("harness_failing", run_id) == "failed"
    assert airflow_deployment.states("harness_failing", run_id) == {
        "boom": "failed",
        "after": "upstream_failed",
    }
    assert "ValueError: boom: it's meant to fail" in airflow_deployment.log("harness_failing", run_id, "boom")


def test_clear_runs_a_task_again_and_mark_ends_it(airflow_deployment: AirflowDeployment) -> None:
    run_id = airflow_deployment.trigger("harness_failing")
    airflow_deployment.wait_for_run("harness_failing", run_id)
    airflow_deployment.clear("harness_failing", run_id, ["boom"])
    airflow_deployment.wait_until(
        lambda: airflow_deployment.task_instances("harness_failing", run_id)["boom"]["try_number"] == 2,
        60,
        "the second try",
    )
    airflow_deployment.wait_for_run("harness_failing", run_id)
    airflow_deployment.mark("harness_failing", run_id, "boom", "success")
    assert airflow_deployment.states("harness_failing", run_id)["boom"] == "success"


def test_every_dag_of_the_deployment_imports(airflow_deployment: AirflowDeployment) -> None:
    airflow_deployment.wait_for_dag("harness_simple")
    assert airflow_deployment.import_errors() == {}


@pytest.mark.parametrize("component", ["triggerer", "scheduler", "api-server"])
def test_component_comes_back_after_a_kill(airflow_deployment: AirflowDeployment, component: str) -> None:
    airflow_deployment.kill(component)
    assert not airflow_deployment.process(component).running
    airflow_deployment.start(component)
    run_id = airflow_deployment.trigger("harness_deferred")
    assert airflow_deployment.wait_for_run("harness_deferred", run_id) == "success"


def test_dag_test_gives_the_same_as_the_deployment() -> None:
    result = run_dag_test(
        INTEGRATION_DAGS / "harness_dags.py", "harness_simple", {}, conf={"day": "2026-01-02"}
    )
    assert result.state == "success"
    assert result.states == {"produce": "success", "consume": "success"}
    assert result.xcoms["produce"]["return_value"] == {
        "day": "2026-01-02",
        "rows": [1, 2.5, None],
        "text": "1",
    }
    assert result.xcoms["consume"]["return_value"] == "1"


def test_dag_test_reports_a_failed_run() -> None:
    result = run_dag_test(INTEGRATION_DAGS / "harness_dags.py", "harness_failing", {})
    assert result.state == "failed"
    assert result.states == {"boom": "failed", "after": "upstream_failed"}
    assert "boom: it's meant to fail" in result.output
