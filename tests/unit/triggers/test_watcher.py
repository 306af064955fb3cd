"""The shared watcher against the emulator: which reads it makes, for how many jobs, whatever goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.exceptions import VertexApiError
from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
from airflow_vertex_provider.snapshot import JobSnapshot
from airflow_vertex_provider.triggers import watcher as watching
from airflow_vertex_provider.triggers.identity import Identity
from airflow_vertex_provider.triggers.watcher import Watcher
from tests.unit.emulated import create

IDENTITY = Identity("google_cloud_default")
#: Seconds between looks at which six jobs are too many to read one by one.
OFTEN = 0.5
JOBS = 6


class Fleet:
    """Jobs that wait, each until its gate is opened."""

    def __init__(self, hook: VertexPipelineHook, emulator: VertexEmulator, folder: Path, count: int) -> None:
        self.emulator = emulator
        self._gates = [folder / f"gate-{number}" for number in range(count)]
        self.names = [
            create(hook, {"gate": str(gate)}, job_id=f"job-{number}")
            for number, gate in enumerate(self._gates)
        ]

    def open(self, *numbers: int) -> None:
        for number in numbers or range(len(self._gates)):
            self._gates[number].touch()

    def reads(self) -> tuple[int, list[str]]:
        """Return how many lists there were, and of which jobs there were gets."""
        paths = [item.path.partition("?")[0] for item in self.emulator.requests if item.method == "GET"]
        gets = [path.rpartition("/")[2] for path in paths if "/pipelineJobs/" in path]
        return sum(path.endswith("/pipelineJobs") for path in paths), gets


@pytest.fixture
def fleet(hook: VertexPipelineHook, emulator: VertexEmulator, tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(hook, emulator, tmp_path, JOBS)
    yield fleet
    fleet.open()


async def until(predicate: Callable[[], Any], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not predicate():
            await asyncio.sleep(0.02)


async def collect(name: str, into: list[JobSnapshot], *, poll_interval: float = OFTEN) -> None:
    follow = Watcher.follow(IDENTITY, name, poll_interval=poll_interval)
    async with aclosing(follow) as snapshots:  # type: ignore[type-var]
        async for snapshot in snapshots:
            into += [snapshot]


def follow_all(fleet: Fleet) -> tuple[list[list[JobSnapshot]], list[asyncio.Task[None]]]:
    """Follow every job; return what is seen of each, and who follows it."""
    seen: list[list[JobSnapshot]] = [[] for _ in fleet.names]
    follow = zip(fleet.names, seen, strict=True)
    return seen, [asyncio.create_task(collect(name, into)) for name, into in follow]


def running(seen: list[JobSnapshot]) -> bool:
    return bool(seen) and bool(seen[-1].tasks) and seen[-1].tasks["first"].state_text == "RUNNING"


def test_a_list_tells_what_changed(fleet: Fleet) -> None:
    async def work() -> None:
        seen: list[list[JobSnapshot]] = [[] for _ in fleet.names]
        waits = [
            asyncio.create_task(collect(name, into)) for name, into in zip(fleet.names, seen, strict=True)
        ]
        await until(lambda: all(running(into) for into in seen))
        lists, gets = fleet.reads()
        await until(lambda: fleet.reads()[0] >= lists + 6)
        unchanged = fleet.reads()[1][len(gets) :]
        # Nothing changed: lists, and a look now and then where they say nothing.
        assert len(unchanged) <= 2
        before = len(fleet.reads()[1])
        fleet.open(3)
        await waits[3]
        assert seen[3][-1].succeeded
        after = fleet.reads()[1][before:]
        assert after.count("job-3") >= 1
        assert len([name for name in after if name != "job-3"]) <= 2
        fleet.open()
        await asyncio.gather(*waits)

    asyncio.run(work())
    assert not Watcher._running


def test_few_jobs_are_simply_read(fleet: Fleet) -> None:
    async def work() -> None:
        seen: list[JobSnapshot] = []
        wait = asyncio.create_task(collect(fleet.names[0], seen))
        await until(lambda: running(seen))
        before = len(fleet.reads()[1])
        await until(lambda: len(fleet.reads()[1]) >= before + 3)
        fleet.open(0)
        await wait

    asyncio.run(work())
    lists, gets = fleet.reads()
    assert lists == 0
    assert set(gets) == {"job-0"}


@pytest.mark.parametrize("error", ["PERMISSION_DENIED", "INVALID_ARGUMENT"])
def test_without_lists_each_job_is_read(fleet: Fleet, error: str) -> None:
    fleet.emulator.faults.add("pipelineJobs.list", error=error, count=None)

    async def work() -> None:
        seen: list[list[JobSnapshot]] = [[] for _ in fleet.names]
        waits = [
            asyncio.create_task(collect(name, into)) for name, into in zip(fleet.names, seen, strict=True)
        ]
        await until(lambda: all(running(into) for into in seen))
        fleet.open()
        await asyncio.gather(*waits)

    asyncio.run(work())
    assert fleet.reads()[0] <= 1


def test_jobs_whose_update_time_stands_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task's change that no list tells of is found by a look, and then the list is trusted no longer."""
    monkeypatch.setattr(watching, "SAFETY", 120)  # a look each half second, so that this ends soon
    with VertexEmulator(job_update_time="job_changes") as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", emulator.connection_json())
        fleet = Fleet(VertexPipelineHook(), emulator, tmp_path, JOBS)

        async def work() -> None:
            seen, waits = follow_all(fleet)
            await until(lambda: all(running(into) for into in seen))
            fleet.open()
            await asyncio.gather(*waits)

        asyncio.run(work())


def test_followers_share_what_was_seen(fleet: Fleet) -> None:
    async def work() -> None:
        seen: list[JobSnapshot] = []
        late: list[JobSnapshot] = []
        wait = asyncio.create_task(collect(fleet.names[0], seen, poll_interval=60.0))
        await until(lambda: seen)
        reads = len(fleet.reads()[1])
        # Whoever comes later sees at once what is known, without a read.
        other = asyncio.create_task(collect(fleet.names[0], late, poll_interval=60.0))
        await until(lambda: late)
        assert late[0] is seen[-1]
        assert len(fleet.reads()[1]) == reads
        for task in (wait, other):
            task.cancel()
        await asyncio.wait([wait, other])

    asyncio.run(work())
    assert not Watcher._running


@pytest.mark.parametrize("error", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL"])
def test_faults_of_the_service_are_waited_out(fleet: Fleet, error: str) -> None:
    fleet.emulator.faults.add("pipelineJobs.*", error=error, count=None, rate=0.4)

    async def work() -> None:
        seen: list[list[JobSnapshot]] = [[] for _ in fleet.names]
        waits = [
            asyncio.create_task(collect(name, into)) for name, into in zip(fleet.names, seen, strict=True)
        ]
        await until(lambda: all(seen))
        fleet.open()
        await asyncio.gather(*waits)
        assert all(into[-1].succeeded for into in seen)

    asyncio.run(work())


def test_one_unknown_job_fails_its_own_followers_alone(fleet: Fleet) -> None:
    async def work() -> None:
        seen: list[JobSnapshot] = []
        wait = asyncio.create_task(collect(fleet.names[0], seen))
        await until(lambda: seen)
        unknown = fleet.names[0].replace("job-0", "nobody")
        with pytest.raises(VertexApiError, match="nobody"):
            await collect(unknown, [])
        fleet.open(0)
        await wait
        assert seen[-1].succeeded

    asyncio.run(work())


def test_a_connection_that_cannot_be_looked_up_for_a_while(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow's API server, or a secrets backend, may be away while a triggerer waits."""
    tries = []
    real = Identity.hook

    def hook(identity: Identity) -> VertexPipelineHook:
        tries.append(identity)
        if len(tries) <= 2:
            raise ConnectionError("the API server restarts")
        return real(identity)

    monkeypatch.setattr(Identity, "hook", hook)
    fleet.open(0)
    seen: list[JobSnapshot] = []
    asyncio.run(collect(fleet.names[0], seen))
    assert seen[-1].succeeded
    assert len(tries) == 3


def test_a_connection_that_is_not_there(fleet: Fleet) -> None:
    async def work() -> None:
        follow = Watcher.follow(Identity("nowhere"), fleet.names[0], poll_interval=OFTEN)
        async for _ in follow:
            pass

    with pytest.raises(Exception, match="nowhere"):
        asyncio.run(work())
    assert not Watcher._running
