"""Groups as authors write them, compiled and run: what starts which machine, and what runs after a cancel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.sdk import task, task_group

from airflow_vertex_provider import VertexContainerOperator
from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.runtime import protocol
from tests.emulator.pipelines import Client, outputs, states, tasks, wait_for
from tests.support.groups import compiled

MACHINE = {"vertex": {"custom_job": {"machine_type": "n1-standard-4"}}}


@task
def give(value: Any = None) -> Any:
    return value


@task.branch
def choose() -> str:
    return "g.small"


@task
def leave(path: str, text: Any = "x") -> Any:
    from pathlib import Path

    with Path(path).open("a") as file:
        file.write(str(text))
    return path


@task
def stay(path: str) -> None:
    import time
    from pathlib import Path

    Path(path).touch()
    time.sleep(100)


def machines(emulator: VertexEmulator) -> list[str]:
    """Return the display names of the custom jobs that launchers made."""
    made = [
        job
        for job in emulator.custom_jobs()
        if job["jobSpec"]["workerPoolSpecs"][0]["machineSpec"]["machineType"] == "n1-standard-4"
    ]
    return sorted(job["displayName"] for job in made)


def test_no_machine_is_started_to_be_skipped(
    client: Client, emulator: VertexEmulator, tmp_path: Path
) -> None:
    log = tmp_path / "log"

    def fill() -> None:
        small = give.override(task_id="small", executor_config=MACHINE)(1)
        large = give.override(task_id="large", executor_config=MACHINE)(2)
        shell = VertexContainerOperator(
            task_id="shell", image="image", command=["sh", "-c", f"echo ran >> {log}"]
        )
        last = give.override(task_id="last", executor_config=MACHINE)(large)
        join = give.override(task_id="join", trigger_rule="none_failed_min_one_success")([small, large])
        choose() >> [small, large, shell]
        shell >> join
        shell >> give.override(task_id="after", executor_config=MACHINE)()
        last >> give.override(task_id="end", trigger_rule="all_skipped", executor_config=MACHINE)(3)

    job = client.run(compiled(fill))
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED"
    assert machines(emulator) == ["end", "small"]
    assert not log.exists()
    assert protocol.decode(outputs(job, "join")["Output"]) == [1, None]
    found = states(job)
    assert {found[name] for name in ("large", "last", "shell", "after")} == {"NOT_TRIGGERED"}


def test_what_decides_comes_from_the_cache_the_second_time(client: Client) -> None:
    def fill() -> None:
        once = [give.override(task_id=name, trigger_rule="none_skipped")(1) for name in ("a", "b")]
        choose() >> once
        once >> give.override(task_id="small", executor_config=MACHINE)(2)

    spec = compiled(fill)
    client.run(spec, "first")
    found = states(client.run(spec, "second"))
    assert found["small-gate"] == "SKIPPED"
    assert found["a"] == "SUCCEEDED"


def test_a_machine_for_some_instances(client: Client, emulator: VertexEmulator) -> None:
    @task
    def odd(value: int) -> int:
        from airflow.exceptions import AirflowSkipException

        if value % 2:
            raise AirflowSkipException
        return value

    def fill() -> None:
        @task_group
        def each(value: int) -> Any:
            return give.override(task_id="fit", executor_config=MACHINE)(odd(value))

        give.override(task_id="all", trigger_rule="none_failed")(each.expand(value=[0, 1, 2]))

    spec = compiled(fill)
    items = [{"index": str(index), "arg_value": str(index)} for index in range(3)]
    (name,) = spec["root"]["inputDefinitions"]["parameters"]
    job = client.run(spec, parameters={name: items})
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED"
    assert machines(emulator) == ["each-fit", "each-fit"]
    assert protocol.decode(outputs(job, "all")["Output"]) == [0, 2]


def test_a_teardown_runs_after_a_cancel_and_knows_its_setup(client: Client, tmp_path: Path) -> None:
    started, log = tmp_path / "started", tmp_path / "log"

    def fill() -> None:
        setup: Any = leave.override(task_id="make")(str(log), "made ").as_setup()
        work = stay(str(started))
        down = leave.override(task_id="delete")(setup, "deleted")
        setup >> work >> down.as_teardown(setups=setup)

    spec = compiled(fill)
    assert "exit-handler-1" in spec["root"]["dag"]["tasks"]
    name = client.create(spec)["name"]
    wait_for(started.exists, "the work has begun")
    client.call("POST", f"/v1/{name}:cancel", {})
    job = client.wait(name)
    assert job["state"] == "PIPELINE_STATE_CANCELLED"
    assert log.read_text() == "made deleted"
    assert tasks(job)["delete"]["state"] == "SUCCEEDED"
