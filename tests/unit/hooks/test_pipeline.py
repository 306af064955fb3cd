"""The hook against the emulator: creating once, reading, cancelling, values in storage, errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests

from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.emulator.guesses import GUESSES
from airflow_vertex_provider.exceptions import VertexApiError, VertexConfigurationError
from airflow_vertex_provider.hooks import pipeline
from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
from airflow_vertex_provider.job_names import location_of
from airflow_vertex_provider.outputs import job_outcome, read_value, task_outcome
from airflow_vertex_provider.snapshot import JobSnapshot
from airflow_vertex_provider.states import PipelineState, TaskState
from tests.support.processes import wait_until
from tests.unit.emulated import LOCATION, create, request


def finished(hook: VertexPipelineHook, name: str) -> JobSnapshot:
    def done() -> JobSnapshot | None:
        job = hook.get_job(name)
        return job if job.done else None

    return wait_until(done, 60, f"{name} to end")


@pytest.mark.parametrize("custom_job", [False, True])
def test_job_and_its_values(hook: VertexPipelineHook, custom_job: bool) -> None:
    name = create(hook, [1, "two"], custom_job=custom_job)
    job = finished(hook, name)
    assert job.succeeded
    assert set(job.tasks) == {"first", "second"}
    outcome = task_outcome(job, "second")
    assert outcome is not None
    assert outcome.succeeded
    assert read_value(outcome.value_text) == {"got": [1, "two"]}
    assert job.tasks["first"].state is TaskState.SUCCEEDED
    assert "resource.labels.job_id" in job.tasks["first"].logs_url.replace("%22", '"')


def test_failed_task(hook: VertexPipelineHook) -> None:
    job = finished(hook, create(hook, "fail"))
    assert job.state is PipelineState.FAILED
    whole = job_outcome(job, {"first": "g.first"})
    assert whole is not None
    assert "Failed task 'g.first'" in whole.message
    assert "KeyError: 'no such thing'" in whole.message
    first, second = task_outcome(job, "first"), task_outcome(job, "second")
    assert first is not None
    assert second is not None
    assert "KeyError: 'no such thing'" in first.message
    assert not second.succeeded


@pytest.mark.parametrize(
    "guess", [guess for guess in GUESSES if guess.others], ids=lambda guess: guess.switch
)
def test_no_guess_of_the_emulator_matters(
    guess: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the real service was never seen to answer must not change what we make of it."""
    for choice in guess.others:  # type: ignore[attr-defined]
        with VertexEmulator(**{guess.switch: choice}) as emulator:  # type: ignore[attr-defined]
            monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", emulator.connection_json())
            hook = VertexPipelineHook()
            good = finished(hook, create(hook, 7, "good"))
            bad = finished(hook, create(hook, "fail", "bad", custom_job=True))
            gate = tmp_path / "gate"
            long = create(hook, {"gate": str(gate)}, "long")
            assert hook.cancel_job(long)
            # A cancelled job may still run to its end ("best effort").
            gate.touch()
            cancelled = finished(hook, long)
            # Whatever a second cancel is answered, it is no error.
            hook.cancel_job(long)
            outcomes = [task_outcome(good, name) for name in ("first", "second")]
            assert [outcome.succeeded for outcome in outcomes if outcome] == [True, True]
            assert outcomes[1] is not None
            assert read_value(outcomes[1].value_text) == {"got": 7}
            failed = task_outcome(bad, "first")
            after = task_outcome(bad, "second")
            assert failed is not None
            assert after is not None
            assert not failed.succeeded
            assert not after.succeeded
            assert [task.name for task in bad.failed_tasks()] == ["first"]
            whole = job_outcome(cancelled)
            assert whole is not None
            assert whole.succeeded is (cancelled.state is PipelineState.SUCCEEDED)
            gate.unlink()


class TestCreate:
    def test_second_create_attaches(self, hook: VertexPipelineHook, emulator: VertexEmulator) -> None:
        first = hook.create_job(location=LOCATION, job_id="same", job=request(1))
        second = hook.create_job(location=LOCATION, job_id="same", job=request(1))
        assert (first[1], second[1]) == (True, False)
        assert first[0].rpartition("/")[2] == second[0].rpartition("/")[2]
        assert len(emulator.jobs()) == 1
        assert hook.get_job(second[0]).name == hook.get_job(first[0]).name

    def test_lost_response(self, hook: VertexPipelineHook, emulator: VertexEmulator) -> None:
        emulator.faults.add("pipelineJobs.create", lose_response=True)
        name, created = hook.create_job(location=LOCATION, job_id="lost", job=request(1))
        assert not created
        assert len(emulator.jobs()) == 1
        assert hook.get_job(name).name.endswith("/lost")

    @pytest.mark.parametrize(
        "fault",
        [
            {"error": "UNAVAILABLE"},
            {"error": "INTERNAL"},
            {"error": "RESOURCE_EXHAUSTED"},
            {"error": "ABORTED"},
            {"error": "DEADLINE_EXCEEDED"},
            {"reset": True},
        ],
        ids=str,
    )
    def test_passing_faults_are_waited_out(
        self, hook: VertexPipelineHook, emulator: VertexEmulator, fault: dict[str, object]
    ) -> None:
        emulator.faults.add("pipelineJobs.*", **fault)
        name, created = hook.create_job(location=LOCATION, job_id="again", job=request(1))
        assert created
        emulator.faults.add("pipelineJobs.get", **fault)
        assert hook.get_job(name).name.endswith("/again")
        assert len(emulator.jobs()) == 1

    @pytest.mark.parametrize("code", ["PERMISSION_DENIED", "INVALID_ARGUMENT"])
    def test_final_faults_are_told_at_once(
        self, hook: VertexPipelineHook, emulator: VertexEmulator, code: str
    ) -> None:
        emulator.faults.add("pipelineJobs.create", error=code, message="because", count=None)
        with pytest.raises(VertexApiError, match="because") as caught:
            hook.create_job(location=LOCATION, job_id="no", job=request(1))
        assert not caught.value.transient
        assert caught.value.code == {"PERMISSION_DENIED": 403, "INVALID_ARGUMENT": 400}[code]
        assert len([item for item in emulator.requests if item.method == "POST"]) == 1

    def test_faults_that_stay_are_told_as_transient(
        self, hook: VertexPipelineHook, emulator: VertexEmulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pipeline, "RETRY_DEADLINE", 1.0)
        emulator.faults.add("pipelineJobs.get", error="UNAVAILABLE", count=None)
        with pytest.raises(VertexApiError) as caught:
            hook.get_job("projects/demo-project/locations/europe-west4/pipelineJobs/x")
        assert caught.value.transient


class TestRead:
    def test_unknown_job(self, hook: VertexPipelineHook) -> None:
        with pytest.raises(VertexApiError) as caught:
            hook.get_job("projects/demo-project/locations/europe-west4/pipelineJobs/none")
        assert caught.value.code == 404
        assert not caught.value.transient

    @pytest.mark.parametrize("name", ["", "job", "None", "projects/p/locations/l/customJobs/1"])
    def test_names_that_are_none(self, name: str) -> None:
        with pytest.raises(VertexConfigurationError, match="pipelineJobs"):
            location_of(name)


class TestCancel:
    def test_running(self, hook: VertexPipelineHook, tmp_path: Path) -> None:
        name = create(hook, {"gate": str(tmp_path / "never")})
        assert hook.cancel_job(name)
        assert finished(hook, name).state is PipelineState.CANCELLED

    def test_ended(self, hook: VertexPipelineHook) -> None:
        name = create(hook, 1)
        finished(hook, name)
        assert not hook.cancel_job(name)

    def test_unknown(self, hook: VertexPipelineHook) -> None:
        with pytest.raises(VertexApiError):
            hook.cancel_job("projects/demo-project/locations/europe-west4/pipelineJobs/none")


class TestStorage:
    def test_round_trip(self, hook: VertexPipelineHook) -> None:
        hook.write_gcs("gs://bucket/a/b.json", b"one")
        hook.write_gcs("gs://bucket/a/b.json", b"one")
        assert hook.read_gcs("gs://bucket/a/b.json") == b"one"

    def test_missing(self, hook: VertexPipelineHook) -> None:
        with pytest.raises(VertexApiError):
            hook.read_gcs("gs://bucket/none")


class TestConnection:
    def test_links_open_the_emulator_s_page(self, hook: VertexPipelineHook, emulator: VertexEmulator) -> None:
        name = create(hook, 1, custom_job=True)
        job = finished(hook, name)
        url, logs = hook.job_urls(name)
        page = emulator.run_url("demo-project", LOCATION, "job-1")
        assert url == page
        assert requests.get(url, timeout=30).status_code == 200
        number = job.name.split("/")[1]
        run = page.replace("demo-project", number)
        assert requests.get(logs, timeout=30).url == run
        answer = requests.get(job.tasks["first"].logs_url, timeout=30, allow_redirects=False)
        assert answer.headers["location"] == f"{run.removeprefix(emulator.endpoint)}#first"
        unknown = hook.urls.logs("projects/1/locations/l/customJobs/42")
        assert requests.get(unknown, timeout=30).status_code == 404

    def test_project_of_the_connection(self, hook: VertexPipelineHook) -> None:
        assert hook.project == "demo-project"

    def test_project_of_the_caller(self, emulator: VertexEmulator) -> None:
        assert VertexPipelineHook(project_id="other-project").project == "other-project"

    def test_no_project(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(
            "AIRFLOW_CONN_BARE",
            json.dumps({"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True}}),
        )
        with pytest.raises(VertexConfigurationError, match=r"project_id.*Project ID.*'bare'"):
            _ = VertexPipelineHook("bare").project

    def test_no_bucket_or_policy_is_touched(self, hook: VertexPipelineHook, emulator: VertexEmulator) -> None:
        create(hook, 1)
        assert {item.path.split("/")[1] for item in emulator.requests} == {"v1"}

    def test_google_s_console_without_emulator(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(
            "AIRFLOW_CONN_REAL",
            json.dumps(
                {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "project": "acme"}}
            ),
        )
        url, logs = VertexPipelineHook("real").job_urls("projects/1/locations/us-central1/pipelineJobs/j")
        assert url == (
            "https://console.cloud.google.com/vertex-ai/locations/us-central1/pipelines/runs/j?project=acme"
        )
        assert logs.startswith("https://console.cloud.google.com/logs/query;query=")
