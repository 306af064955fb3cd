"""Nothing that a task has started outlives it, in whatever session it hides."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from airflow_vertex_provider.emulator import VertexEmulator
from tests.emulator.pipelines import PYTHON, Client, Pipeline, states, wait_for
from tests.emulator.starting import Launch, gone, written

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="the system has no /proc")

#: Runs a bash command as our entry point runs a bash member: in a session of its own.
MEMBER = (
    "import signal,sys; from airflow_vertex_provider.runtime import entrypoint;"
    "signal.signal(signal.SIGTERM, entrypoint.terminated);"
    "entrypoint.stream(['bash', '-c', sys.argv[1], sys.argv[2]], eval(sys.argv[3]), None)"
)
#: Ignores SIGTERM, writes its process id to a file, then waits for another file.
STUBBORN = 'trap \'\' TERM; echo $$ >> "$0/pids"; while [ ! -e "$0/go" ]; do sleep 0.01; done'
#: The environment of a bash member: that of its task, or one of its own.
ENVIRONMENTS = ["None", repr({"PATH": os.defpath})]


def _member(tmp_path: Path, environment: str) -> Pipeline:
    return Pipeline().task("member", [PYTHON, "-c", MEMBER, STUBBORN, str(tmp_path), environment])


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_bash_member_runs_once_after_kill_9_and_not_after_a_cancel(
    launch: Launch, tmp_path: Path, environment: str
) -> None:
    process, client = launch("--term-grace", "0.1")
    name = client.create(_member(tmp_path, environment))["name"]
    first = written(tmp_path / "pids")
    process.send_signal(signal.SIGKILL)
    process.wait()
    os.kill(first, 0)

    _, client = launch("--term-grace", "0.1")
    wait_for(lambda: len((tmp_path / "pids").read_text().split()) == 2, "the member to run again")
    assert gone(first)
    client.call("POST", f"/v1/{name}:cancel", {})
    assert states(client.wait(name)) == {"member": "CANCELLED"}
    assert gone(int((tmp_path / "pids").read_text().split()[1]))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_bash_member_is_gone_when_the_emulator_has_stopped(tmp_path: Path, environment: str) -> None:
    with VertexEmulator(tmp_path / "state", term_grace=0.1) as emulator:
        Client(emulator.endpoint).create(_member(tmp_path, environment))
        pid = written(tmp_path / "pids")
    assert gone(pid)


def test_what_a_task_left_in_the_background_ends_with_it(client: Client, tmp_path: Path) -> None:
    script = 'setsid sleep 777 & echo $! > "$0/left"; while [ ! -s "$0/left" ]; do sleep 0.01; done'
    job = client.run(Pipeline().task("t", ["sh", "-c", script, str(tmp_path)]))
    assert states(job) == {"t": "SUCCEEDED"}
    assert gone(written(tmp_path / "left"))


def test_another_emulator_with_the_same_ids_is_left_alone(tmp_path: Path) -> None:
    script = 'echo $$ > "$0"; while [ ! -e "$0.go" ]; do sleep 0.01; done'
    pipe = Pipeline().task("t", ["sh", "-c", script, str(tmp_path / "pid")])
    with VertexEmulator(tmp_path / "a", seed=5) as first, VertexEmulator(tmp_path / "b", seed=5) as second:
        name = Client(first.endpoint).create(pipe)["name"]
        pid = written(tmp_path / "pid")
        assert states(Client(second.endpoint).run(Pipeline().task("t"))) == {"t": "SUCCEEDED"}
        ids = [emulator.custom_jobs()[0]["name"] for emulator in (first, second)]
        assert ids[0] == ids[1]
        os.kill(pid, 0)
        (tmp_path / "pid.go").touch()
        job = wait_for(partial(Client(first.endpoint).wait, name), "the job")
        assert states(job) == {"t": "SUCCEEDED"}
