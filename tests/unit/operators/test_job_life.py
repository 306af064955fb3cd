"""Reading, listing, cancelling and deleting jobs, on the emulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from airflow_vertex_provider import (
    CancelVertexPipelineJobOperator,
    DeleteVertexPipelineJobOperator,
    GetVertexPipelineJobOperator,
    ListVertexPipelineJobsOperator,
)
from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.exceptions import (
    VertexApiError,
    VertexConfigurationError,
    VertexRefusedError,
    VertexSettingsError,
)
from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
from airflow_vertex_provider.operators import pipeline_job
from tests.support.processes import wait_until
from tests.unit.emulated import LOCATION, create
from tests.unit.operators.driving import Instance, context, drive

MISSING = f"projects/demo-project/locations/{LOCATION}/pipelineJobs/none"


def ended(hook: VertexPipelineHook, name: str) -> str:
    wait_until(lambda: hook.get_job(name).done or None, 60, f"{name} to end")
    return hook.get_job(name).state_text


def gate(tmp_path: Path) -> dict[str, str]:
    """Return a value that keeps a job running."""
    return {"gate": str(tmp_path / "gate")}


def calls(emulator: VertexEmulator, method: str, part: str) -> int:
    return len([item for item in emulator.requests if item.method == method and part in item.path])


class TestGet:
    def test_job(self, hook: VertexPipelineHook, emulator: VertexEmulator) -> None:
        name = create(hook, "fail")
        ended(hook, name)
        value, instance = drive(GetVertexPipelineJobOperator(task_id="get", job_name=name))
        assert list(value) == [
            "job_name",
            "display_name",
            "state",
            "url",
            "create_time",
            "start_time",
            "end_time",
            "error",
            "tasks",
        ]
        assert value["job_name"] == name
        assert value["display_name"] == "d.g"
        assert value["state"] == instance.pushed["vertex_state"] == "PIPELINE_STATE_FAILED"
        assert value["url"] == instance.pushed["vertex_url"]
        assert value["create_time"] < value["start_time"] < value["end_time"]
        assert value["create_time"].endswith("+00:00")
        assert "first" in value["error"]
        assert value["tasks"] == {"first": "FAILED", "second": "NOT_TRIGGERED"}

    def test_running(self, hook: VertexPipelineHook, tmp_path: Path) -> None:
        name = create(hook, gate(tmp_path))
        value, _ = drive(GetVertexPipelineJobOperator(task_id="get", job_name=name))
        assert value["end_time"] is None
        assert value["error"] == ""

    def test_errors(self, emulator: VertexEmulator) -> None:
        with pytest.raises(VertexRefusedError, match="none"):
            drive(GetVertexPipelineJobOperator(task_id="get", job_name=MISSING))
        with pytest.raises(VertexConfigurationError, match=r"job name: found 'x'; allowed: projects/"):
            drive(GetVertexPipelineJobOperator(task_id="get", job_name="x"))

    def test_transient_errors_are_waited_out(
        self, hook: VertexPipelineHook, emulator: VertexEmulator
    ) -> None:
        name = create(hook, 1)
        emulator.faults.add("pipelineJobs.get", error="UNAVAILABLE", count=2)
        value, _ = drive(GetVertexPipelineJobOperator(task_id="get", job_name=name))
        assert value["job_name"] == name


class TestList:
    @pytest.fixture
    def names(self, hook: VertexPipelineHook) -> list[str]:
        names = [create(hook, "fail" if number == 2 else number, f"job-{number}") for number in range(5)]
        for name in names:
            ended(hook, name)
        return names

    def listed(self, **options: Any) -> list[dict[str, Any]]:
        value, instance = drive(ListVertexPipelineJobsOperator(task_id="list", **options))
        assert instance.pushed == {}
        return list(value)

    def test_all_pages(self, names: list[str], emulator: VertexEmulator) -> None:
        before = calls(emulator, "GET", "/pipelineJobs")
        found = self.listed(location=LOCATION, page_size=2, order_by="create_time")
        assert [job["job_name"] for job in found] == names
        assert calls(emulator, "GET", "/pipelineJobs") - before == 3
        assert set(found[0]) == {
            "job_name",
            "display_name",
            "state",
            "url",
            "create_time",
            "start_time",
            "end_time",
            "error",
        }
        assert found[0]["url"].endswith("/job-0")
        assert "first" in found[2]["error"]

    @pytest.mark.parametrize(("most", "calls_made"), [(1, 1), (2, 1), (3, 2), (9, 3)])
    def test_no_more_than_wanted(
        self, names: list[str], emulator: VertexEmulator, most: int, calls_made: int
    ) -> None:
        before = calls(emulator, "GET", "/pipelineJobs")
        found = self.listed(page_size="2", max_results=str(most), order_by="create_time desc")
        assert [job["job_name"] for job in found] == names[::-1][:most]
        assert calls(emulator, "GET", "/pipelineJobs") - before == calls_made

    def test_filter(self, names: list[str]) -> None:
        found = self.listed(filter='state="PIPELINE_STATE_FAILED"')
        assert [job["job_name"] for job in found] == [names[2]]
        assert self.listed(filter='display_name="none"') == []

    def test_a_page_that_fails_is_asked_for_again(self, names: list[str], emulator: VertexEmulator) -> None:
        emulator.faults.add("pipelineJobs.list", error="UNAVAILABLE", count=1, rate=0.5)
        emulator.faults.add("pipelineJobs.list", reset=True, count=1)
        assert len(self.listed(page_size=2)) == 5

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"location": "nowhere"}, r"list: location: found 'nowhere'; allowed: a region"),
            ({"page_size": 0}, r"list: page_size: found 0; allowed: a whole number, 1 to 1000"),
            ({"max_results": "many"}, r"list: max_results: found 'many'; allowed"),
        ],
    )
    def test_refused(self, emulator: VertexEmulator, options: dict[str, Any], message: str) -> None:
        with pytest.raises(VertexSettingsError, match=message):
            self.listed(**options)

    def test_a_filter_that_the_service_does_not_know(self, emulator: VertexEmulator) -> None:
        with pytest.raises(VertexRefusedError, match="list pipeline jobs"):
            self.listed(filter="nonsense=1")


class TestCancel:
    def test_leaves_at_once(self, hook: VertexPipelineHook, tmp_path: Path) -> None:
        name = create(hook, gate(tmp_path))
        value, instance = drive(CancelVertexPipelineJobOperator(task_id="cancel", job_name=name))
        assert value == {
            "job_name": name,
            "state": value["state"],
            "url": instance.pushed["vertex_url"],
            "asked": True,
        }
        assert ended(hook, name) == "PIPELINE_STATE_CANCELLED"

    @pytest.mark.parametrize("cancel_finished", ["refuse", "accept"])
    def test_a_finished_job_is_left_alone(
        self, monkeypatch: pytest.MonkeyPatch, cancel_finished: str
    ) -> None:
        with VertexEmulator(cancel_finished=cancel_finished) as emulator:
            monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", emulator.connection_json())
            hook = VertexPipelineHook()
            name = create(hook, 1)
            ended(hook, name)
            operator = CancelVertexPipelineJobOperator(
                task_id="cancel", job_name=name, wait_for_completion=True
            )
            value, _ = drive(operator)
            assert value["state"] == "PIPELINE_STATE_SUCCEEDED"
            assert hook.get_job(name).succeeded

    @pytest.mark.parametrize("deferrable", [True, False])
    def test_several_to_their_end(self, hook: VertexPipelineHook, tmp_path: Path, deferrable: bool) -> None:
        names = [create(hook, gate(tmp_path), "job-1"), create(hook, 1, "job-2")]
        names.append(create(hook, gate(tmp_path), "job-3"))
        ended(hook, names[1])

        def make() -> CancelVertexPipelineJobOperator:
            return CancelVertexPipelineJobOperator(
                task_id="cancel",
                job_name=names,
                wait_for_completion=True,
                deferrable=deferrable,
                poll_interval=0.05,
            )

        value, instance = drive(make(), again=make)
        states = ["PIPELINE_STATE_CANCELLED", "PIPELINE_STATE_SUCCEEDED", "PIPELINE_STATE_CANCELLED"]
        assert [job["state"] for job in value] == states
        assert [job["asked"] for job in value] == [True, False, True]
        assert [job["job_name"] for job in value] == names
        assert instance.pushed["vertex_url"] == value[0]["url"]

    @pytest.mark.parametrize("deferrable", [True, False])
    def test_one_that_does_not_end_in_time(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, deferrable: bool
    ) -> None:
        with VertexEmulator(time_scale=1.0, cancelling_seconds=600.0, pending_seconds=0.0) as emulator:
            monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", emulator.connection_json())
            hook = VertexPipelineHook()
            name = create(hook, gate(tmp_path))
            wait_until(lambda: hook.get_job(name).state_text.endswith("RUNNING"), 30, "it to run")
            operator = CancelVertexPipelineJobOperator(
                task_id="cancel",
                job_name=name,
                wait_for_completion=True,
                deferrable=deferrable,
                poll_interval=0.05,
                timeout=0.3,
            )
            with pytest.raises(
                VertexApiError, match=rf"After 0 seconds.*{name} is PIPELINE_STATE_CANCELLING"
            ):
                drive(operator)

    def test_the_wait_never_cancels(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        # Slow enough to be CANCELLING still when the operator looks.
        with VertexEmulator(time_scale=0.2, cancelling_seconds=300.0, pending_seconds=0.0) as emulator:
            monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", emulator.connection_json())
            name = create(VertexPipelineHook(), gate(tmp_path))
            operator = CancelVertexPipelineJobOperator(task_id="t", job_name=name, wait_for_completion=True)
            with pytest.raises(TaskDeferred) as deferred:
                operator.execute(context(Instance("t")))
            assert deferred.value.timeout.total_seconds() > operator.timeout

    @pytest.mark.parametrize("name", [[], None, 3, ["x"], "x"])
    def test_refused(self, emulator: VertexEmulator, name: Any) -> None:
        with pytest.raises(VertexConfigurationError, match=r"job.name: found .*allowed: "):
            drive(CancelVertexPipelineJobOperator(task_id="cancel", job_name=name))


class TestDelete:
    def test_job(self, hook: VertexPipelineHook, monkeypatch: pytest.MonkeyPatch) -> None:
        name = create(hook, 1)
        ended(hook, name)
        value, _ = drive(DeleteVertexPipelineJobOperator(task_id="delete", job_name=name))
        assert value is True
        assert [item for item in hook.list_jobs(LOCATION) if item.name == name] == []

    @pytest.mark.parametrize("missing_ok", [True, False])
    def test_missing(self, emulator: VertexEmulator, missing_ok: bool) -> None:
        operator = DeleteVertexPipelineJobOperator(task_id="d", job_name=MISSING, missing_ok=missing_ok)
        if missing_ok:
            assert drive(operator)[0] is False
        else:
            with pytest.raises(VertexRefusedError, match="delete pipeline job"):
                drive(operator)

    def test_a_lost_answer(self, hook: VertexPipelineHook, emulator: VertexEmulator) -> None:
        name = create(hook, 1)
        ended(hook, name)
        emulator.faults.add("pipelineJobs.delete", lose_response=True)
        assert drive(DeleteVertexPipelineJobOperator(task_id="delete", job_name=name))[0] is True

    def test_a_running_job_may_be_refused(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        with VertexEmulator(delete_running="refuse") as emulator:
            monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", emulator.connection_json())
            name = create(VertexPipelineHook(), gate(tmp_path))
            with pytest.raises(VertexRefusedError, match="cannot be deleted"):
                drive(DeleteVertexPipelineJobOperator(task_id="delete", job_name=name))

    def test_no_job_name(self, emulator: VertexEmulator) -> None:
        with pytest.raises(VertexConfigurationError, match="job name: found 'x'"):
            drive(DeleteVertexPipelineJobOperator(task_id="delete", job_name="x"))


OPERATORS: dict[Any, dict[str, Any]] = {
    GetVertexPipelineJobOperator: {"job_name": "j"},
    ListVertexPipelineJobsOperator: {},
    CancelVertexPipelineJobOperator: {"job_name": ["j"]},
    DeleteVertexPipelineJobOperator: {"job_name": "j"},
}


@pytest.mark.parametrize("operator", OPERATORS)
def test_template_fields_exist(operator: Any) -> None:
    built = operator(task_id="t", **OPERATORS[operator])
    assert [name for name in built.template_fields if not hasattr(built, name)] == []
    assert getattr(pipeline_job, operator.__name__) is operator
