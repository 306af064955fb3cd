"""Vertex task groups in a real Airflow (scheduler, triggerer, DAG processor, API server) on the emulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_vertex_provider.operators.waiting import triggers_can_end_tasks
from tests.integration.dags.vertex_dags import HARD_VALUES
from tests.support.airflow import AirflowDeployment
from tests.support.emulator import EmulatorProcess

pytestmark = pytest.mark.integration

#: Before Airflow 3.3 a member takes short steps on workers, and nothing tells a trigger of a user's act.
ends_in_triggerer = pytest.mark.skipif(not triggers_can_end_tasks(), reason="Airflow 3.3 and newer")
MEMBER_LINKS = {"Vertex pipeline", "Vertex logs"}


@pytest.fixture(autouse=True)
def emulator(vertex_emulator_process: EmulatorProcess) -> EmulatorProcess:
    return vertex_emulator_process


@pytest.fixture(scope="module")
def example(airflow_deployment: AirflowDeployment, vertex_emulator_process: EmulatorProcess) -> str:
    """One ended run of the example DAG."""
    run_id = airflow_deployment.trigger("example_train_and_compare")
    assert airflow_deployment.wait_for_run("example_train_and_compare", run_id, timeout=240) == "success"
    return run_id


class TestExample:
    DAG = "example_train_and_compare"
    MEMBERS = (
        "train.prepare",
        "train.train_linear",
        "train.train_forest",
        "train.train_network",
        "train.evaluate",
        "train.pick_best",
    )

    def test_grid(self, airflow_deployment: AirflowDeployment, example: str) -> None:
        assert airflow_deployment.states(self.DAG, example) == dict.fromkeys(
            ["choose_split", "train.submit_pipeline", *self.MEMBERS, "train.wait_for_pipeline", "report"],
            "success",
        )

    def test_values_come_back(self, airflow_deployment: AirflowDeployment, example: str) -> None:
        airflow = airflow_deployment
        scores = airflow.xcom(self.DAG, example, "train.evaluate")
        best = airflow.xcom(self.DAG, example, "train.pick_best")
        assert [score["model"] for score in scores] == [
            "logistic regression",
            "random forest",
            "neural network",
        ]
        assert best in scores
        assert all(0.9 < score["accuracy"] <= 1 for score in scores)
        report = airflow.xcom(self.DAG, example, "report")
        assert len(report) == 3
        assert sum("<- best" in line for line in report) == 1

    def test_submit(self, airflow_deployment: AirflowDeployment, example: str) -> None:
        airflow = airflow_deployment
        name = airflow.xcom(self.DAG, example, "train.submit_pipeline")
        assert name.startswith("projects/")
        assert "/locations/europe-west4/pipelineJobs/example-train-and-compare-train-" in name
        names = airflow.xcom(self.DAG, example, "train.submit_pipeline", "vertex_task_names")
        assert set(names) == set(self.MEMBERS)
        assert names["train.train_linear"] == "train-linear"

    def test_wait(self, airflow_deployment: AirflowDeployment, example: str) -> None:
        airflow = airflow_deployment
        waited = airflow.xcom(self.DAG, example, "train.wait_for_pipeline")
        assert waited["job_name"] == airflow.xcom(self.DAG, example, "train.submit_pipeline")
        assert waited["state"] == "PIPELINE_STATE_SUCCEEDED"
        assert waited["url"] == airflow.xcom(self.DAG, example, "train.wait_for_pipeline", "vertex_url")
        assert waited["outputs"] == {"train.pick_best": airflow.xcom(self.DAG, example, "train.pick_best")}
        assert (
            airflow.xcom(self.DAG, example, "train.wait_for_pipeline", "vertex_state")
            == "PIPELINE_STATE_SUCCEEDED"
        )

    def test_links_everywhere(self, airflow_deployment: AirflowDeployment, example: str) -> None:
        airflow = airflow_deployment
        url = airflow.xcom(self.DAG, example, "train.submit_pipeline", "vertex_url")
        logs = set()
        for task_id in ("train.submit_pipeline", *self.MEMBERS, "train.wait_for_pipeline"):
            links = airflow.extra_links(self.DAG, example, task_id)
            assert set(links) == MEMBER_LINKS
            assert links["Vertex pipeline"] == url
            assert links["Vertex logs"] == airflow.xcom(self.DAG, example, task_id, "vertex_logs_url")
            logs.add(links["Vertex logs"])
        # Each member has the logs of its own container; submit and wait have those of the job.
        assert len(logs) == len(self.MEMBERS) + 1

    @ends_in_triggerer
    def test_members_needed_no_worker(self, airflow_deployment: AirflowDeployment, example: str) -> None:
        instances = airflow_deployment.task_instances(self.DAG, example)
        for task_id in (*self.MEMBERS, "train.wait_for_pipeline"):
            # A task that a worker has run has a process id and a host.
            assert instances[task_id]["pid"] is None, task_id
        assert instances["train.submit_pipeline"]["pid"] is not None


@pytest.mark.parametrize("dag_id", ["vertex_values", "vertex_values_on_workers"])
def test_values_are_unchanged(airflow_deployment: AirflowDeployment, dag_id: str) -> None:
    airflow = airflow_deployment
    run_id = airflow.trigger(dag_id)
    assert airflow.wait_for_run(dag_id, run_id) == "success"

    def same(found: Any, expected: Any) -> bool:
        return repr(found) == repr(expected)

    plain = airflow.xcom(dag_id, run_id, "g.plain")
    assert plain["literal"] == {"fixed": [1, "two", {"three": 3.0}]}
    for values in (
        plain["value"],
        airflow.xcom(dag_id, run_id, "g.machine"),
        airflow.xcom(dag_id, run_id, "collect")["value"],
    ):
        assert set(values) == set(HARD_VALUES)
        for name, expected in HARD_VALUES.items():
            assert same(values[name], expected), name
    assert airflow.xcom(dag_id, run_id, "g.one") == HARD_VALUES["quotes"]


def test_every_kind_of_member(airflow_deployment: AirflowDeployment) -> None:
    airflow = airflow_deployment
    run_id = airflow.trigger("vertex_kinds")
    assert airflow.wait_for_run("vertex_kinds", run_id) == "success"

    def value(task_id: str) -> Any:
        return airflow.xcom("vertex_kinds", run_id, task_id)

    logical_date = airflow.dag_run("vertex_kinds", run_id)["logical_date"]
    day = logical_date[:10]
    assert value("g.classic") == {
        "a": day.replace("-", ""),
        "b": ["3", 2],
        "ds": day,
        "params": {"n": 3},
        "run_id": run_id,
    }
    assert value("g.bash") == f"vertex_kinds {run_id}"
    assert value("g.written") == "hello world"
    assert value("g.own_machine") == ["hi", "hello world", int(day[:4])]
    assert value("g.take") == "hi"
    assert value("g.total") == [14, ["3", [1, 4, 9]], "tuple"]
    assert value("outside") == "hello world"
    assert airflow.xcom("vertex_kinds", run_id, "g.pair", "left") == "hi"
    assert set(airflow.states("vertex_kinds", run_id).values()) == {"success"}
    names = airflow.xcom("vertex_kinds", run_id, "g.submit_pipeline", "vertex_task_names")
    assert "g.nothing" not in names


def test_values_read_in_unusual_ways(airflow_deployment: AirflowDeployment, tmp_path: Path) -> None:
    airflow = airflow_deployment
    run_id = airflow.trigger("vertex_readers", conf={"marks": str(tmp_path)})
    assert airflow.wait_for_run("vertex_readers", run_id) == "success"
    # An outer task is mapped over a member's value.
    assert [airflow.xcom("vertex_readers", run_id, "square", map_index=index) for index in range(3)] == [
        1,
        4,
        9,
    ]
    # What the author keeps out of XCom is in none.
    outputs = airflow.xcom("vertex_readers", run_id, "g.wait_for_pipeline")["outputs"]
    assert outputs == {"g.numbers": [1, 2, 3], "g.marked": "marked"}
    for task_id in ("g.hidden", "g.beyond"):
        assert "return_value" not in airflow.xcom_keys("vertex_readers", run_id, task_id)
    airflow.wait_until(lambda: (tmp_path / "g.marked").exists(), 30, "the member's success callback")


def test_values_that_airflow_refuses(airflow_deployment: AirflowDeployment) -> None:
    airflow = airflow_deployment
    run_id = airflow.trigger("vertex_wrong_values")
    assert airflow.wait_for_run("vertex_wrong_values", run_id) == "failed"
    assert airflow.states("vertex_wrong_values", run_id) == {
        "g.submit_pipeline": "success",
        "g.no_dict": "failed",
        "g.beyond": "failed",
        "g.wait_for_pipeline": "failed",
    }
    # As in Airflow the task itself fails; the other's value is fine until Airflow has to store it.
    log = airflow.log("vertex_wrong_values", run_id, "g.no_dict")
    assert "with multiple_outputs the value must be a dict" in log
    assert "could not be made an XCom" in airflow.log("vertex_wrong_values", run_id, "g.beyond")
    waited = airflow.xcom("vertex_wrong_values", run_id, "g.wait_for_pipeline")
    assert waited["outputs"] == {"g.beyond": str(2**70)}


def test_run_made_again_with_the_same_id_runs_again(
    airflow_deployment: AirflowDeployment, tmp_path: Path
) -> None:
    airflow = airflow_deployment
    jobs = []
    for number in (1, 2):
        gate = tmp_path / f"gate-{number}"
        gate.touch()
        airflow.trigger("vertex_gate", conf={"gate": str(gate)}, run_id="again")
        assert airflow.wait_for_run("vertex_gate", "again") == "success"
        assert airflow.xcom("vertex_gate", "again", "g.waits") == str(gate)
        jobs.append(airflow.xcom("vertex_gate", "again", "g.submit_pipeline"))
        # Late news of this run's task would otherwise be taken for the next one's, and fail it.
        airflow.wait_for_executor("vertex_gate", "again", "g.submit_pipeline", times=number)
        airflow.request("DELETE", "dags/vertex_gate/dagRuns/again")
    assert jobs[0] != jobs[1]


class TestFailure:
    DAG = "vertex_failing"

    @pytest.fixture(scope="class")
    @classmethod
    def run_id(cls, airflow_deployment: AirflowDeployment, vertex_emulator_process: EmulatorProcess) -> str:
        run_id = airflow_deployment.trigger(cls.DAG)
        assert airflow_deployment.wait_for_run(cls.DAG, run_id) == "failed"
        return run_id

    def test_states(self, airflow_deployment: AirflowDeployment, run_id: str) -> None:
        assert airflow_deployment.states(self.DAG, run_id) == {
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

    def test_what_follows_did_not_run_in_vertex(
        self, airflow_deployment: AirflowDeployment, run_id: str
    ) -> None:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.aiplatform_v1.services.pipeline_service import PipelineServiceClient
        from google.cloud.aiplatform_v1.types import PipelineTaskDetail

        endpoint = airflow_deployment.env["VERTEX_EMULATOR_ENDPOINT"]
        client = PipelineServiceClient(
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
            transport="rest",
            client_options={"api_endpoint": endpoint},
        )
        job = client.get_pipeline_job(name=airflow_deployment.xcom(self.DAG, run_id, "g.submit_pipeline"))
        states = {detail.task_name: detail.state for detail in job.job_detail.task_details}
        assert states["after"] == PipelineTaskDetail.State.NOT_TRIGGERED
        assert states["breaks"] == PipelineTaskDetail.State.FAILED

    def test_log_of_the_member(self, airflow_deployment: AirflowDeployment, run_id: str) -> None:
        log = airflow_deployment.log(self.DAG, run_id, "g.breaks")
        assert "ValueError: cannot use 'fine'" in log
        assert "Traceback" in log
        assert "vertex_dags.py" in log
        assert 'raise ValueError(f"cannot use {text!r}")' in log

    @pytest.mark.parametrize(
        ("task_id", "texts"),
        [
            (
                "g.several",
                (
                    "ExceptionGroup: two of them (2 sub-exceptions)",
                    ", in several",
                    ", in lookup",
                    'return names["rows"]  # the line that looks',
                    "direct cause",
                    "ValueError: the first",
                    "TypeError: the second",
                ),
            ),
            ("g.command", ("the bash command failed with exit code 3: no such table: rows",)),
        ],
    )
    def test_log_of_other_failures(
        self, airflow_deployment: AirflowDeployment, run_id: str, task_id: str, texts: tuple[str, ...]
    ) -> None:
        log = airflow_deployment.log(self.DAG, run_id, task_id)
        assert [text for text in texts if text not in log] == []
        # Of the entry point nothing shows.
        assert "<string>" not in log

    def test_wait_names_the_failed_task(self, airflow_deployment: AirflowDeployment, run_id: str) -> None:
        log = airflow_deployment.log(self.DAG, run_id, "g.wait_for_pipeline")
        assert "Failed task 'g.breaks'" in log
        assert "ValueError: cannot use 'fine'" in log
        waited = airflow_deployment.xcom(self.DAG, run_id, "g.wait_for_pipeline")
        assert waited["state"] == "PIPELINE_STATE_FAILED"

    def test_addresses_are_there(self, airflow_deployment: AirflowDeployment, run_id: str) -> None:
        url = airflow_deployment.xcom(self.DAG, run_id, "g.submit_pipeline", "vertex_url")
        for task_id in ("g.breaks", "g.wait_for_pipeline"):
            assert airflow_deployment.xcom(self.DAG, run_id, task_id, "vertex_url") == url


@pytest.mark.parametrize("fail", [False, True])
def test_url_is_there_while_the_job_runs(
    airflow_deployment: AirflowDeployment, tmp_path: Path, fail: bool
) -> None:
    airflow = airflow_deployment
    gate = tmp_path / "gate"
    run_id = airflow.trigger("vertex_gate", conf={"gate": str(gate), "fail": fail})
    airflow.wait_for_task("vertex_gate", run_id, "g.waits", "deferred")
    airflow.wait_until(
        lambda: all(
            "vertex_url" in airflow.xcom_keys("vertex_gate", run_id, task_id)
            for task_id in ("g.submit_pipeline", "g.waits", "g.wait_for_pipeline")
        ),
        60,
        "the addresses of submit, member and wait",
    )
    assert airflow.states("vertex_gate", run_id)["g.wait_for_pipeline"] == "deferred"
    url = airflow.xcom("vertex_gate", run_id, "g.submit_pipeline", "vertex_url")
    assert airflow.extra_links("vertex_gate", run_id, "g.waits")["Vertex pipeline"] == url
    gate.touch()
    assert airflow.wait_for_run("vertex_gate", run_id) == ("failed" if fail else "success")
    assert airflow.xcom("vertex_gate", run_id, "g.waits", "vertex_url") == url


def test_run_ids_with_odd_characters(airflow_deployment: AirflowDeployment, tmp_path: Path) -> None:
    airflow = airflow_deployment
    gate = tmp_path / "gate"
    gate.touch()
    run_ids = [
        airflow.trigger("vertex_gate", conf={"gate": str(gate)}, run_id=run_id)
        for run_id in ("Odd:Run+id_9.X~y", "odd-run-id-9-x-y", "9" * 240)
    ]
    jobs = set()
    for run_id in run_ids:
        assert airflow.wait_for_run("vertex_gate", run_id) == "success"
        jobs.add(airflow.xcom("vertex_gate", run_id, "g.submit_pipeline"))
    assert len(jobs) == len(run_ids)


@ends_in_triggerer
def test_marking_wait_failed_cancels_the_job(airflow_deployment: AirflowDeployment, tmp_path: Path) -> None:
    airflow = airflow_deployment
    run_id = airflow.trigger("vertex_gate", conf={"gate": str(tmp_path / "never")})
    airflow.wait_until(
        lambda: "vertex_url" in airflow.xcom_keys("vertex_gate", run_id, "g.wait_for_pipeline"),
        60,
        "the wait to begin",
    )
    airflow.mark("vertex_gate", run_id, "g.wait_for_pipeline", "failed")
    airflow.wait_for_task("vertex_gate", run_id, "g.waits", "failed")
    assert "CANCELLED" in airflow.log("vertex_gate", run_id, "g.waits")


def test_triggerer_restart_cancels_nothing(airflow_deployment: AirflowDeployment, tmp_path: Path) -> None:
    airflow = airflow_deployment
    gate = tmp_path / "gate"
    run_id = airflow.trigger("vertex_gate", conf={"gate": str(gate)})
    airflow.wait_until(
        lambda: "vertex_url" in airflow.xcom_keys("vertex_gate", run_id, "g.waits"), 60, "the wait to begin"
    )
    airflow.restart("triggerer")
    gate.touch()
    assert airflow.wait_for_run("vertex_gate", run_id) == "success"


def test_clearing_the_group_runs_a_new_job(airflow_deployment: AirflowDeployment, tmp_path: Path) -> None:
    airflow = airflow_deployment
    gate = tmp_path / "gate"
    gate.touch()
    run_id = airflow.trigger("vertex_gate", conf={"gate": str(gate)})
    assert airflow.wait_for_run("vertex_gate", run_id) == "success"
    first = airflow.xcom("vertex_gate", run_id, "g.submit_pipeline")
    airflow.clear("vertex_gate", run_id)
    assert airflow.wait_for_run("vertex_gate", run_id) == "success"
    second = airflow.xcom("vertex_gate", run_id, "g.submit_pipeline")
    assert first.endswith("-1")
    assert second.endswith("-2")
    assert first[:-2] == second[:-2]


def test_failed_attempt_does_not_keep_the_value_of_an_earlier_one(
    airflow_deployment: AirflowDeployment, tmp_path: Path
) -> None:
    airflow = airflow_deployment
    gate, failing = tmp_path / "gate", tmp_path / "gate.fail"
    gate.touch()
    failing.touch()
    run_id = airflow.trigger("vertex_gate", conf={"gate": str(gate)})
    assert airflow.wait_for_run("vertex_gate", run_id) == "failed"
    failing.unlink()
    airflow.clear("vertex_gate", run_id)
    assert airflow.wait_for_run("vertex_gate", run_id) == "success"
    assert airflow.xcom("vertex_gate", run_id, "g.waits") == str(gate)
    failing.touch()
    airflow.clear("vertex_gate", run_id)
    assert airflow.wait_for_run("vertex_gate", run_id) == "failed"
    assert airflow.xcom_keys("vertex_gate", run_id, "g.waits") == {"vertex_url", "vertex_logs_url"}


def test_sensor(airflow_deployment: AirflowDeployment, tmp_path: Path) -> None:
    airflow = airflow_deployment
    gate = tmp_path / "gate"
    gated = airflow.trigger("vertex_gate", conf={"gate": str(gate)})
    airflow.wait_for_task("vertex_gate", gated, "g.submit_pipeline", "success")
    job = airflow.xcom("vertex_gate", gated, "g.submit_pipeline")
    run_id = airflow.trigger("vertex_sensor", conf={"job": job})
    airflow.wait_for_task("vertex_sensor", run_id, "deferred", "deferred")
    airflow.wait_for_task("vertex_sensor", run_id, "poking", "running")
    gate.touch()
    assert airflow.wait_for_run("vertex_sensor", run_id) == "success"
    for task_id in ("deferred", "poking"):
        assert airflow.xcom("vertex_sensor", run_id, task_id)["job_name"] == job
        assert set(airflow.extra_links("vertex_sensor", run_id, task_id)) == MEMBER_LINKS


def test_sensor_fails_with_the_job(airflow_deployment: AirflowDeployment, tmp_path: Path) -> None:
    airflow = airflow_deployment
    gate = tmp_path / "gate"
    gate.touch()
    gated = airflow.trigger("vertex_gate", conf={"gate": str(gate), "fail": True})
    assert airflow.wait_for_run("vertex_gate", gated) == "failed"
    job = airflow.xcom("vertex_gate", gated, "g.submit_pipeline")
    run_id = airflow.trigger("vertex_sensor", conf={"job": job})
    assert airflow.wait_for_run("vertex_sensor", run_id) == "failed"
    for task_id in ("deferred", "poking"):
        assert "told to fail" in airflow.log("vertex_sensor", run_id, task_id)
