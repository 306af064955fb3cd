"""A group run again, by a clear of its submit task or by its own retries: what runs and what is reused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, task

from airflow_vertex_provider import VertexTaskGroup
from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
from airflow_vertex_provider.snapshot import JobSnapshot
from airflow_vertex_provider.triggers.pipeline_job import VertexMemberTrigger, VertexPipelineJobTrigger
from tests.support.processes import wait_until
from tests.unit.emulated import LOCATION, ROOT
from tests.unit.submitting import submit


@task
def step(at, name, *values):  # type: ignore[no-untyped-def]
    """Leave a trace; fail as often as a file says."""
    from pathlib import Path

    with (Path(at) / name).open("a") as file:
        file.write("x")
    failures = Path(at) / f"fail-{name}"
    if failures.exists() and (left := int(failures.read_text())):
        failures.write_text(str(left - 1))
        raise ValueError(name)
    return [name, *values]


def chain(at: Path, **settings: Any) -> DAG:
    with (
        DAG("d", schedule=None) as dag,
        VertexTaskGroup("g", location=LOCATION, pipeline_root=ROOT, **settings),
    ):
        a = step.override(task_id="a")(str(at), "a")
        b = step.override(task_id="b")(str(at), "b", a)
        step.override(task_id="c")(str(at), "c", b)
    return dag


def runs(at: Path) -> dict[str, int]:
    return {name: len((at / name).read_text()) for name in "abc" if (at / name).exists()}


def fail(at: Path, name: str, times: int) -> None:
    (at / f"fail-{name}").write_text(str(times))


def ended(hook: VertexPipelineHook, name: str) -> JobSnapshot:
    def done() -> JobSnapshot | None:
        job = hook.get_job(name)
        return job if job.done else None

    return wait_until(done, 60, f"{name} to end")


def test_clearing_runs_again_what_failed(
    hook: VertexPipelineHook, emulator: VertexEmulator, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    dag = chain(tmp_path)
    fail(tmp_path, "b", 1)
    first = submit(dag)
    assert not ended(hook, first).succeeded
    second = submit(dag, max_tries=1)
    job = ended(hook, second)
    assert job.succeeded
    assert runs(tmp_path) == {"a": 1, "b": 2, "c": 1}
    assert "Reused with their recorded outputs, not run again: g.a" in capfd.readouterr().out
    # Whoever follows the second job sees it whole.
    assert set(job.tasks) == {"a", "b", "c"}
    assert job.tasks["a"].outputs["Output"] == '["a"]'
    # A retry of the same try attaches, though what it would ask for was worked out anew.
    assert submit(dag, max_tries=1) == second
    assert len(emulator.jobs()) == 2


def test_clearing_a_group_that_succeeded_runs_all(hook: VertexPipelineHook, tmp_path: Path) -> None:
    dag = chain(tmp_path)
    ended(hook, submit(dag))
    ended(hook, submit(dag, max_tries=1))
    assert runs(tmp_path) == {"a": 2, "b": 2, "c": 2}


async def waits(dag: DAG, name: str) -> dict[str, Any]:
    """Follow the group as Airflow's triggerer does; return the payload of each task's event."""
    wait: Any = dag.get_task("g.wait_for_pipeline")
    triggers: dict[str, Any] = {
        "wait": VertexPipelineJobTrigger(**{**wait.trigger_kwargs(), "job_name": name, "poll_interval": 0.05})
    }
    for member in "abc":
        operator: Any = dag.get_task(f"g.{member}")
        kwargs = {**operator.trigger_kwargs(), "job_name": name, "poll_interval": 0.05}
        triggers[member] = VertexMemberTrigger(**kwargs)

    async def fired(trigger: Any) -> Any:
        (event,) = [event async for event in trigger.run()]
        return event.payload

    payloads = await asyncio.gather(*map(fired, triggers.values()))
    return dict(zip(triggers, payloads, strict=True))


def test_retries_of_the_group(
    hook: VertexPipelineHook, emulator: VertexEmulator, tmp_path: Path, retry_delay: Any
) -> None:
    dag = chain(tmp_path, retries=2, retry_delay=retry_delay)
    fail(tmp_path, "b", 1)
    fail(tmp_path, "c", 1)
    payloads = asyncio.run(waits(dag, submit(dag)))
    assert {name: payload["outcome"]["succeeded"] for name, payload in payloads.items()} == dict.fromkeys(
        ("wait", "a", "b", "c"), True
    )
    assert runs(tmp_path) == {"a": 1, "b": 2, "c": 2}
    names = [job["name"].rpartition("/")[2] for job in emulator.jobs()]
    assert [name.rpartition("-")[2] for name in names] == ["1", "2", "3"]
    assert payloads["wait"]["job"]["job_name"].endswith(names[2])
    assert payloads["wait"]["xcoms"]["return_value"]["job_name"].endswith(names[2])
    assert payloads["wait"]["xcoms"]["return_value"]["outputs"] == {"g.c": ["c", ["b", ["a"]]]}
    assert payloads["c"]["outcome"]["value_text"] == '["c",["b",["a"]]]'


def test_retries_that_are_used_up(
    hook: VertexPipelineHook, emulator: VertexEmulator, tmp_path: Path, retry_delay: Any
) -> None:
    dag = chain(tmp_path, retries=1, retry_delay=retry_delay)
    fail(tmp_path, "b", 9)
    payloads = asyncio.run(waits(dag, submit(dag)))
    assert {name: payload["outcome"]["succeeded"] for name, payload in payloads.items()} == {
        "wait": False,
        "a": True,
        "b": False,
        "c": False,
    }
    assert runs(tmp_path) == {"a": 1, "b": 2}
    assert len(emulator.jobs()) == 2


def test_a_cancelled_job_is_not_tried_again(
    hook: VertexPipelineHook, emulator: VertexEmulator, tmp_path: Path, retry_delay: Any
) -> None:
    dag = chain(tmp_path, retries=3, retry_delay=retry_delay)
    emulator.faults.add_task("a", kind="quota", count=0)
    name = submit(dag)
    hook.cancel_job(name)
    payloads = asyncio.run(waits(dag, name))
    assert payloads["wait"]["outcome"]["succeeded"] is False
    assert len(emulator.jobs()) == 1


@pytest.fixture
def retry_delay() -> Any:
    from datetime import timedelta

    return timedelta(seconds=0)
