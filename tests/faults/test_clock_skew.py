"""The service's clock is five minutes ahead of Airflow's, or behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
from airflow_vertex_provider.operators.attempts import Submitted, submit_attempt
from airflow_vertex_provider.snapshot import JobSnapshot
from airflow_vertex_provider.triggers.identity import Identity
from airflow_vertex_provider.triggers.watcher import Watcher
from tests.unit.emulated import LOCATION, create, request

SKEW = 300.0


@pytest.fixture(params=[-SKEW, SKEW], ids=["behind", "ahead"])
def skewed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[VertexEmulator]:
    with VertexEmulator(clock_offset=request.param) as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", emulator.connection_json())
        yield emulator


def attempt(hook: VertexPipelineHook, started: datetime, max_tries: int = 0) -> Submitted:
    submitted = submit_attempt(
        hook,
        location=LOCATION,
        job=request(1),
        job_id=lambda number: f"job-{number}",
        max_tries=max_tries,
        run_started=started,
    )
    assert isinstance(submitted, Submitted)
    return submitted


def test_a_retry_attaches(skewed: VertexEmulator) -> None:
    hook, started = VertexPipelineHook(), datetime.now(UTC)
    assert attempt(hook, started).created
    assert not attempt(hook, started).created
    assert len(skewed.jobs()) == 1


def test_lists_tell_of_changes(skewed: VertexEmulator, tmp_path: Path) -> None:
    gates = [tmp_path / f"gate-{number}" for number in range(6)]
    names = [
        create(VertexPipelineHook(), {"gate": str(gate)}, job_id=f"job-{number}")
        for number, gate in enumerate(gates)
    ]

    async def follow(name: str) -> JobSnapshot:
        follow = Watcher.follow(Identity("google_cloud_default"), name, poll_interval=0.5)
        return [snapshot async for snapshot in follow][-1]

    async def work() -> list[JobSnapshot]:
        waits = [asyncio.create_task(follow(name)) for name in names]
        await asyncio.sleep(0)
        for gate in gates:
            gate.touch()
        return await asyncio.gather(*waits)

    assert all(job.succeeded for job in asyncio.run(work()))


def test_ages_are_never_less_than_nothing(skewed: VertexEmulator, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    hook = VertexPipelineHook()
    name = create(hook, {"gate": str(gate)})
    job = hook.get_job(name)
    gate.touch()
    assert "-" not in job.progress(now=datetime.now(UTC))
