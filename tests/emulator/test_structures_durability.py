"""An emulator that is killed in the middle of loops and conditions loses nothing of them."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.emulator.kfp_parts import ITEMS, everything, spec, uncached
from tests.emulator.pipelines import Client, Json, Pipeline, outputs, states, tasks, wait_for
from tests.emulator.starting import Launch

pytestmark = pytest.mark.slow


def _by_id(job: Json) -> dict[str, Json]:
    return {entry["taskId"]: entry for entry in job["jobDetail"]["taskDetails"]}


def _started(launch: Launch, folder: Path) -> tuple[Client, str, Json]:
    """Start a run that stands in two of its five iterations, kill the emulator, and start another one."""
    process, client = launch()
    parameters = {"folder": str(folder), "items": ITEMS}
    name = client.create(uncached(spec(everything)), "survivor", parameters=parameters)["name"]
    wait_for(lambda: _lines(folder) == 2, "two iterations to stand")
    before = client.get(name)
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, client = launch()
    return client, name, before


def _lines(folder: Path) -> int:
    return len((folder / "began").read_text().split()) if (folder / "began").exists() else 0


def test_loops_and_conditions_go_on_after_kill_9(launch: Launch, tmp_path: Path) -> None:
    client, name, before = _started(launch, tmp_path)
    wait_for(lambda: _lines(tmp_path) == 4, "the two tasks to run again")
    (tmp_path / "go").touch()
    job = client.wait(name)
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED"
    assert outputs(job, "all") == {"o": '["a","else","b","b","else"]'}
    after = _by_id(job)
    final = ("SUCCEEDED", "NOT_TRIGGERED")
    ended = {key: entry for key, entry in _by_id(before).items() if entry["state"] in final}
    assert {entry["taskName"] for entry in ended.values()} >= {"for-loop-2-0", "for-loop-2-1"}
    assert {entry["state"] for entry in ended.values()} == set(final)
    assert {key: after[key] for key in ended} == ended
    assert set(_by_id(before)) == set(after)
    assert json.loads((tmp_path / "status.json").read_text())["state"] == "SUCCEEDED"


def test_a_cancel_after_kill_9_ends_what_had_begun_and_runs_the_exit_task(
    launch: Launch, tmp_path: Path
) -> None:
    client, name, before = _started(launch, tmp_path)
    client.call("POST", f"/v1/{name}:cancel", {})
    job = client.wait(name)
    assert job["state"] == "PIPELINE_STATE_CANCELLED"
    assert states(job)["report"] == "SUCCEEDED"
    assert json.loads((tmp_path / "status.json").read_text())["state"] == "CANCELLED"
    assert set(_by_id(before)) == set(_by_id(job))
    assert not [entry for entry in _by_id(job).values() if "endTime" not in entry]
    assert states(job)["for-loop-2"] == states(job)["for-loop-2-2"] == "CANCELLED"
    assert tasks(job)["for-loop-2-0"] == tasks(before)["for-loop-2-0"]


def test_an_exit_task_that_ran_during_a_cancel_goes_on_after_kill_9(launch: Launch, tmp_path: Path) -> None:
    script = 'echo x >> "$0/began"; while [ ! -e "$0/go" ]; do sleep 0.01; done'
    pipe = Pipeline().nested("exit-handler-1", Pipeline("inner").task("t"))
    pipe.task("exit", ["sh", "-c", script, str(tmp_path)], after=["exit-handler-1"]).completed("exit")
    process, client = launch()
    name = client.create(pipe)["name"]
    wait_for(lambda: _lines(tmp_path) == 1, "the exit task to begin")
    client.call("POST", f"/v1/{name}:cancel", {})
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, client = launch()
    wait_for(lambda: _lines(tmp_path) == 2, "the exit task to begin again")
    assert client.get(name)["state"] == "PIPELINE_STATE_CANCELLING"
    (tmp_path / "go").touch()
    job = client.wait(name)
    assert job["state"] == "PIPELINE_STATE_CANCELLED"
    assert states(job) == {"exit-handler-1": "SUCCEEDED", "t": "SUCCEEDED", "exit": "SUCCEEDED"}
    history = [status["state"] for status in tasks(job)["exit"]["pipelineTaskStatus"]]
    assert history == ["PENDING", "RUNNING", "SUCCEEDED"]
