"""An emulator that is killed and started again on its directory loses nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from airflow_vertex_provider.emulator import VertexEmulator
from tests.emulator.pipelines import (
    COPY,
    PARENT,
    Client,
    Pipeline,
    output,
    outputs,
    say,
    states,
    tasks,
    wait_for,
)
from tests.emulator.starting import Launch, gone, written

#: Writes its process id to a file, then waits for another file.
BLOCKED = 'echo $$ >> "$0/pids"; while [ ! -e "$0/go" ]; do sleep 0.01; done'
#: Writes its process id to a file and ignores SIGTERM.
STUBBORN = "trap '' TERM; echo $$ > \"$0/stubborn\"; while true; do sleep 0.05; done"


def test_jobs_and_a_cancel_go_on_after_kill_9(launch: Launch, tmp_path: Path) -> None:
    pipe = Pipeline("lasting").task("first", say("kept"), outputs={"Output": "STRING"})
    pipe.task("blocked", ["sh", "-c", BLOCKED, str(tmp_path)], after=["first"])
    pipe.python("last", COPY, inputs={"x": output("first")}, outputs={"Output": "STRING"}, after=["blocked"])
    process, client = launch("--term-grace", "600")
    name = client.create(pipe, "survivor")["name"]
    ended = client.create(Pipeline("short").task("t"), "done-before")["name"]
    cancelled = client.create(Pipeline().task("stubborn", ["sh", "-c", STUBBORN, str(tmp_path)]))["name"]
    client.wait(ended)
    before = client.wait_state(name, "blocked", "RUNNING")
    orphans = [written(tmp_path / "pids"), written(tmp_path / "stubborn")]
    client.call("POST", f"/v1/{cancelled}:cancel", {})
    client.wait_state(cancelled, "stubborn", "CANCELLING")
    custom_job = tasks(client.get(cancelled))["stubborn"]["executorDetail"]["containerDetail"]["mainJob"]
    assert client.get(custom_job)["state"] == "JOB_STATE_CANCELLING"
    first = tasks(client.get(name))["first"]
    process.send_signal(signal.SIGKILL)
    process.wait()
    for orphan in orphans:
        os.kill(orphan, 0)  # what the killed emulator left behind still runs

    process, client = launch()
    assert client.get(ended)["state"] == "PIPELINE_STATE_SUCCEEDED"
    wait_for(lambda: len((tmp_path / "pids").read_text().split()) == 2, "the task to run again")
    for orphan in orphans:
        wait_for(partial(gone, orphan), "the orphan to be gone")
    (tmp_path / "go").touch()
    job = client.wait(name)
    assert states(job) == {"first": "SUCCEEDED", "blocked": "SUCCEEDED", "last": "SUCCEEDED"}
    assert outputs(job, "last") == {"Output": "kept"}
    assert tasks(job)["first"] == first
    assert tasks(job)["blocked"]["taskId"] == before["taskId"]
    assert tasks(job)["blocked"]["executorDetail"] == before["executorDetail"]
    job = client.wait(cancelled)
    assert job["state"] == "PIPELINE_STATE_CANCELLED"
    assert states(job) == {"stubborn": "CANCELLED"}
    custom = client.get(custom_job)
    assert custom["state"] == "JOB_STATE_CANCELLED"
    assert custom["error"]["code"] == 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def _custom_job(client: Client, *command: str) -> str:
    """Create a custom job as a client does, and return its name."""
    pool = {"machineSpec": {"machineType": "n1-standard-4"}, "replicaCount": "1"}
    container = {"imageUri": "i", "command": list(command)}
    body = {"displayName": "own", "jobSpec": {"workerPoolSpecs": [{**pool, "containerSpec": container}]}}
    return str(client.call("POST", f"/v1/{PARENT}/customJobs", body)["name"])


def _ended(client: Client, name: str) -> str:
    """Wait until a custom job has ended, and return its state."""
    final = ("JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED")
    return str(wait_for(lambda: [s for s in [client.get(name)["state"]] if s in final], name)[0])


def test_a_cancelled_custom_job_of_a_client_stays_cancelled_after_kill_9(
    launch: Launch, tmp_path: Path
) -> None:
    process, client = launch("--term-grace", "600")
    name = _custom_job(client, "sh", "-c", STUBBORN, str(tmp_path))
    written(tmp_path / "stubborn")
    client.call("POST", f"/v1/{name}:cancel", {})
    assert client.get(name)["state"] == "JOB_STATE_CANCELLING"
    process.send_signal(signal.SIGKILL)
    process.wait()
    (tmp_path / "stubborn").unlink()

    _, client = launch()
    assert _ended(client, name) == "JOB_STATE_CANCELLED"
    assert not (tmp_path / "stubborn").exists()  # it was not started again


def test_a_cancel_reaches_named_custom_jobs_after_kill_9(launch: Launch, tmp_path: Path) -> None:
    process, client = launch("--term-grace", "600")
    other = _custom_job(client, "sleep", "600")
    resources = {"resources": [{"resourceType": "CustomJob", "resourceUri": f"https://e/v1/{other}"}]}
    script = f"printf %s '{json.dumps(resources)}' > \"$1\"; {STUBBORN}"
    pipe = Pipeline().task(
        "names",
        ["sh", "-c", script, str(tmp_path), "{{$.outputs.parameters['gcp_resources'].output_file}}"],
        outputs={"gcp_resources": "STRING"},
    )
    name = client.create(pipe)["name"]
    written(tmp_path / "stubborn")
    client.call("POST", f"/v1/{name}:cancel", {})
    client.wait_state(name, "names", "CANCELLING")
    process.send_signal(signal.SIGKILL)
    process.wait()

    _, client = launch()
    assert client.wait(name)["state"] == "PIPELINE_STATE_CANCELLED"
    assert _ended(client, other) == "JOB_STATE_CANCELLED"


def test_a_stopped_emulator_keeps_everything_and_ends_its_processes(tmp_path: Path) -> None:
    state = tmp_path / "state"
    script = 'echo $$ > "$0/pid"; while [ ! -e "$0/go" ]; do sleep 0.01; done'
    with VertexEmulator(state) as emulator:
        client = Client(emulator.endpoint)
        name = client.create(Pipeline().task("t", ["sh", "-c", script, str(tmp_path)]))["name"]
        wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "the process")
        pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    (tmp_path / "go").touch()
    with VertexEmulator(state) as emulator:
        assert states(Client(emulator.endpoint).wait(name)) == {"t": "SUCCEEDED"}
        assert emulator.jobs()[0]["name"] == name


def test_a_temporary_directory_is_gone_afterwards() -> None:
    with VertexEmulator() as emulator:
        state = emulator.state_dir
        assert state.is_dir()
    assert not state.exists()
    with pytest.raises(RuntimeError, match="not running"):
        emulator.jobs()


def test_a_taken_port_is_said(launch: Launch, tmp_path: Path) -> None:
    with VertexEmulator(tmp_path / "other") as emulator:
        port = emulator.endpoint.rpartition(":")[2]
        process = subprocess.run(
            [sys.executable, "-m", "airflow_vertex_provider.emulator", "--port", port],
            capture_output=True,
            text=True,
            check=False,
        )
    assert process.returncode == 1
    assert "cannot start" in process.stderr


def test_a_state_directory_has_one_emulator_at_a_time(tmp_path: Path) -> None:
    with VertexEmulator(tmp_path), pytest.raises(OSError, match="another emulator uses the state directory"):
        VertexEmulator(tmp_path).start()
    with VertexEmulator(tmp_path):
        pass


def test_a_seed_repeats_ids_and_does_not_mind_a_restart(tmp_path: Path) -> None:
    seen = []
    for state in ("a", "a", "b"):
        with VertexEmulator(tmp_path / state, seed=5) as emulator:
            job = Client(emulator.endpoint).run(Pipeline().task("t"))
            assert job["state"] == "PIPELINE_STATE_SUCCEEDED"
            seen.append(tasks(job)["t"]["executorDetail"]["containerDetail"]["mainJob"])
    assert seen[0] == seen[2] != seen[1]


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="no_such_switch"):
        VertexEmulator(no_such_switch=1)
    with pytest.raises(ValueError, match=r"cancel_finished: found 'perhaps'; allowed: 'refuse', 'accept'"):
        VertexEmulator(cancel_finished="perhaps")
    with pytest.raises(ValueError, match="time_scale"):
        VertexEmulator(time_scale=-1)
    with pytest.raises(ValueError, match="max_processes"):
        VertexEmulator(max_processes=0)


def test_a_purged_job_gives_its_id_back(tmp_path: Path) -> None:
    with VertexEmulator(tmp_path, time_scale=1.0, pending_seconds=0, container_start_min_seconds=0,
                        container_start_max_seconds=0, cancelling_seconds=0) as emulator:  # fmt: skip
        client = Client(emulator.endpoint)
        name = client.run(Pipeline().task("t"), "kept-a-while")["name"]
        client.call("DELETE", f"/v1/{name}")
        assert client.get(name)["state"] == "PIPELINE_STATE_SUCCEEDED"
        emulator.clock.advance(3600)
        assert client.call("GET", f"/v1/{PARENT}/pipelineJobs") == {}
        client.run(Pipeline().task("t"), "kept-a-while")
