"""Which job serves an attempt: the table of operators/attempts.py, line by line, against the emulator."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.exceptions import VertexSubmissionError
from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
from airflow_vertex_provider.operators.attempts import Ending, Submitted, submit_attempt
from tests.support.processes import wait_until
from tests.unit.emulated import LOCATION, request

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def ask(hook: VertexPipelineHook, value: Any, **options: Any) -> Submitted | Ending:
    return submit_attempt(
        hook,
        location=LOCATION,
        job=request(value),
        job_id=lambda attempt: f"job-{attempt}",
        **{"max_tries": 0, "run_started": LONG_AGO, **options},
    )


def submit(hook: VertexPipelineHook, value: Any, **options: Any) -> Submitted:
    submitted = ask(hook, value, **options)
    assert isinstance(submitted, Submitted)
    return submitted


def end(hook: VertexPipelineHook, submitted: Submitted) -> None:
    wait_until(lambda: hook.get_job(submitted.name).done or None, 30, "the job to end")


def jobs(emulator: VertexEmulator) -> list[str]:
    return [job["name"].rpartition("/")[2] for job in emulator.jobs()]


def waiting(tmp_path: Path) -> dict[str, str]:
    return {"gate": str(tmp_path / "gate")}


def test_first_submit_creates(hook: VertexPipelineHook, emulator: VertexEmulator) -> None:
    submitted = submit(hook, 1, max_tries=2)
    assert submitted.created
    labels = emulator.jobs()[0]["labels"]
    assert labels["airflow_attempt"] == "1"
    assert labels["airflow_max_tries"] == "2"
    assert len(labels["airflow_fingerprint"]) == 32


@pytest.mark.parametrize("ended", [False, True])
def test_retry_attaches(
    hook: VertexPipelineHook, emulator: VertexEmulator, tmp_path: Path, ended: bool
) -> None:
    value = 1 if ended else waiting(tmp_path)
    first = submit(hook, value)
    if ended:
        end(hook, first)
    second = submit(hook, value)
    assert not second.created
    assert hook.get_job(second.name).name == hook.get_job(first.name).name
    assert jobs(emulator) == ["job-1"]


def test_lost_answer_attaches(hook: VertexPipelineHook, emulator: VertexEmulator) -> None:
    emulator.faults.add("pipelineJobs.create", lose_response=True)
    assert not submit(hook, 1).created
    assert jobs(emulator) == ["job-1"]


def test_retry_with_a_newer_dag_follows_the_job_that_is_there(
    hook: VertexPipelineHook, emulator: VertexEmulator
) -> None:
    end(hook, submit(hook, 1))
    assert not submit(hook, 2).created
    assert jobs(emulator) == ["job-1"]


def test_clearing_begins_a_new_attempt(hook: VertexPipelineHook, emulator: VertexEmulator) -> None:
    for max_tries in (0, 1, 2):
        submitted = submit(hook, 1, max_tries=max_tries)
        assert submitted.created
        end(hook, submitted)
    assert jobs(emulator) == ["job-1", "job-2", "job-3"]
    assert not submit(hook, 1, max_tries=2).created


def test_clearing_while_the_job_runs_attaches(
    hook: VertexPipelineHook, emulator: VertexEmulator, tmp_path: Path
) -> None:
    submit(hook, waiting(tmp_path))
    assert not submit(hook, waiting(tmp_path), max_tries=1).created
    assert jobs(emulator) == ["job-1"]


def test_clearing_all_that_followed_the_job_ends_it(
    hook: VertexPipelineHook, emulator: VertexEmulator, tmp_path: Path
) -> None:
    first = submit(hook, waiting(tmp_path))
    # A retry of the same attempt is none of that.
    assert submit(hook, waiting(tmp_path), ends_earlier=lambda: True).name.endswith("job-1")
    found = ask(hook, waiting(tmp_path), max_tries=1, ends_earlier=lambda: True)
    assert isinstance(found, Ending)
    end(hook, first)
    assert hook.get_job(first.name).state_text == "PIPELINE_STATE_CANCELLED"
    assert submit(hook, 1, max_tries=1, ends_earlier=lambda: True).created
    assert jobs(emulator) == ["job-1", "job-2"]


def test_clearing_while_the_job_is_being_cancelled_waits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with VertexEmulator(time_scale=0.2, cancelling_seconds=5.0, pending_seconds=0.0) as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", emulator.connection_json())
        hook = VertexPipelineHook()
        first = submit(hook, waiting(tmp_path))
        hook.cancel_job(first.name)
        assert not hook.get_job(first.name).done
        ending = ask(hook, 1, max_tries=1)
        assert ending == Ending(hook.get_job(first.name).name, "PIPELINE_STATE_CANCELLING")
        assert jobs(emulator) == ["job-1"]
        end(hook, first)
        assert submit(hook, 1, max_tries=1).created
        assert jobs(emulator) == ["job-1", "job-2"]


class TestRunOfTheSameId:
    """A DAG run was deleted and made again with the same run id."""

    @staticmethod
    def later(**time: float) -> datetime:
        """Return when the new run began, as if the job had been made this long ago."""
        return datetime.now(UTC) + timedelta(**time)

    def test_ended_job_is_left_behind(self, hook: VertexPipelineHook, emulator: VertexEmulator) -> None:
        end(hook, submit(hook, 1))
        assert submit(hook, 2, run_started=self.later(seconds=1)).created
        assert jobs(emulator) == ["job-1", "job-2"]

    def test_ended_job_of_the_same_request_is_left_behind_too(
        self, hook: VertexPipelineHook, emulator: VertexEmulator
    ) -> None:
        end(hook, submit(hook, 1))
        assert submit(hook, 1, run_started=self.later(minutes=10)).created
        assert jobs(emulator) == ["job-1", "job-2"]

    def test_running_job_of_another_request_is_in_the_way(
        self, hook: VertexPipelineHook, emulator: VertexEmulator, tmp_path: Path
    ) -> None:
        submit(hook, waiting(tmp_path))
        with pytest.raises(VertexSubmissionError, match=r"job-1.*still running"):
            submit(hook, 2, run_started=self.later(minutes=10))
        assert jobs(emulator) == ["job-1"]

    def test_running_job_of_the_same_request_serves(
        self, hook: VertexPipelineHook, emulator: VertexEmulator, tmp_path: Path
    ) -> None:
        submit(hook, waiting(tmp_path))
        assert not submit(hook, waiting(tmp_path), run_started=self.later(minutes=10)).created
        assert jobs(emulator) == ["job-1"]
