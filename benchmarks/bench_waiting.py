"""What waiting costs: 300 runs of 20 mirrored members on one event loop, beside Google's own trigger.

Time is sped up: a minute of the runs takes ten seconds here. Poll intervals, the read budget and the
watcher's own constants are scaled with it, so the figures are those of real minutes. The rival has one
trigger for each task that is to be known; a sample of them is run and what they cost is multiplied.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import queue
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

JOBS, MEMBERS = 300, 20
#: Seconds between two looks, of the runs.
POLL = 30.0
#: Minutes of the runs that pass in one minute here.
SPEED = 6.0
#: Minutes of the runs for which is measured.
MINUTES = 3
SAMPLE = 60


class Service:
    """The emulator in a process of its own."""

    def __init__(self, spec: dict[str, Any], members: list[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.waiting.service"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=Path(__file__).parent.parent,
        )
        self._answers: dict[str, queue.SimpleQueue[Any]] = {
            name: queue.SimpleQueue() for name in ("ready", "received", "change", "end")
        }
        threading.Thread(target=self._listen, daemon=True).start()
        self.tell(json.dumps({"jobs": JOBS, "spec": spec, "members": members}))
        ready = self.answer("ready")
        self.endpoint, self.names = ready["endpoint"], ready["names"]

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("ANSWER "):
                command, data = json.loads(line.removeprefix("ANSWER "))
                self._answers[command].put(data)

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def answer(self, command: str) -> Any:
        return self._answers[command].get(timeout=300)

    def received(self) -> int:
        self.tell("received")
        return int(self.answer("received"))

    def close(self) -> None:
        self.tell("quit")
        self._process.wait(30)

    def connection(self) -> str:
        return json.dumps(
            {
                "conn_type": "google_cloud_platform",
                "extra": {"project": "bench", "is_anonymous": True, "api_endpoint": self.endpoint},
            }
        )


@dataclass
class Measured:
    """Reads and processor time of a while."""

    reads: int
    seconds: float
    processor: float

    @property
    def reads_a_minute(self) -> float:
        return self.reads / (self.seconds * SPEED / 60)

    @property
    def share(self) -> float:
        """Share of one core that the same work takes at the runs' own speed."""
        return self.processor / (self.seconds * SPEED)


async def measured(service: Service, seconds: float) -> Measured:
    reads, processor, begin = service.received(), time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    lasted = time.monotonic() - begin
    used = time.process_time() - processor
    return Measured(service.received() - reads, lasted, used)


def scaled() -> None:
    """Let the watcher's clock run as fast as the runs do."""
    from airflow_vertex_provider.triggers import watcher

    watcher.FEW = int(watcher.FEW * SPEED)
    watcher.SAFETY = int(watcher.SAFETY * SPEED)
    watcher.OVERLAP = timedelta(seconds=watcher.OVERLAP.total_seconds() / SPEED)
    os.environ["AIRFLOW__VERTEX_PIPELINES__READS_PER_MINUTE"] = str(int(300 * SPEED))


def minutes(number: float) -> float:
    return number * 60 / SPEED


async def ours(service: Service, members: list[str]) -> dict[str, Any]:
    from airflow_vertex_provider.triggers.pipeline_job import VertexMemberTrigger, VertexPipelineJobTrigger

    ended: dict[str, float] = {}

    async def wait(trigger: Any, name: str) -> None:
        async for _ in trigger.run():
            ended[name] = time.time()

    async def member(trigger: Any) -> None:
        async for _ in trigger.run():
            return

    poll = POLL / SPEED
    gc.collect()
    before = memory()
    tasks = []
    for name in service.names:
        job = VertexPipelineJobTrigger(job_name=name, poll_interval=poll)
        tasks.append(asyncio.create_task(wait(job, name)))
        tasks += [
            asyncio.create_task(member(VertexMemberTrigger(job_name=name, task_name=one, poll_interval=poll)))
            for one in members
        ]
    await settled(service)
    gc.collect()
    used = memory() - before
    idle = await measured(service, minutes(MINUTES))
    busy = []
    for _ in range(MINUTES):
        service.tell(f"change {minutes(1)}")
        busy.append(await measured(service, minutes(1)))
        await asyncio.to_thread(service.answer, "change")
    service.tell(f"end {minutes(1)}")
    ends = await asyncio.to_thread(service.answer, "end")
    await asyncio.wait_for(asyncio.gather(*tasks), minutes(10))
    delays = sorted((ended[name] - ends[name]) / poll for name in service.names)
    return {
        "idle": idle,
        "busy": Measured(
            sum(one.reads for one in busy),
            sum(one.seconds for one in busy),
            sum(one.processor for one in busy),
        ),
        "memory": used / (JOBS * (MEMBERS + 1)),
        "delays": delays,
    }


async def settled(service: Service) -> None:
    """Wait until every job has been seen, and there are few reads."""
    async with asyncio.timeout(minutes(60)):
        while True:
            seen = service.received()
            await asyncio.sleep(3)
            if seen > JOBS and service.received() - seen <= 3 * SPEED:
                return


def memory() -> int:
    """Return the bytes that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def rival(service: Service) -> dict[str, Any]:
    """Run a sample of Google's triggers; only the client's transport is ours, since gRPC needs TLS."""
    from airflow.providers.google.cloud.hooks.vertex_ai.pipeline_job import PipelineJobAsyncHook
    from airflow.providers.google.cloud.triggers.vertex_ai import RunPipelineJobTrigger
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.aiplatform_v1.services.pipeline_service import PipelineServiceClient

    client = PipelineServiceClient(
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
        transport="rest",
        client_options={"api_endpoint": service.endpoint},
    )

    class Client:
        pipeline_job_path = staticmethod(PipelineServiceClient.pipeline_job_path)

        async def get_pipeline_job(self, *, request: Any, **_: Any) -> Any:
            return await asyncio.to_thread(client.get_pipeline_job, request=request)

    class Hook(PipelineJobAsyncHook):
        async def get_pipeline_service_client(self, region: str | None = None) -> Any:
            return Client()

    class Trigger(RunPipelineJobTrigger):
        async_hook = Hook()

    async def wait(name: str) -> None:
        trigger = Trigger("google_cloud_default", "1", "europe-west4", name.rpartition("/")[2], poll)
        async for _ in trigger.run():
            return

    poll = int(POLL / SPEED)
    gc.collect()
    before = memory()
    tasks = [asyncio.create_task(wait(name)) for name in service.names[:SAMPLE]]
    await asyncio.sleep(minutes(1))
    used = memory() - before
    found = await measured(service, minutes(MINUTES))
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return {"measured": found, "memory": used / SAMPLE}


def specification() -> tuple[dict[str, Any], list[str]]:
    """Compile a group of 20 members."""
    from airflow.sdk import DAG

    from airflow_vertex_provider import VertexTaskGroup, compile_group
    from benchmarks.waiting.members import member

    with DAG("bench") as dag, VertexTaskGroup("g", location="europe-west4", pipeline_root="gs://bench/root"):
        for number in range(MEMBERS):
            member.override(task_id=f"m{number}")(number)
    group: Any = dag.task_group.children["g"]
    return compile_group(group), [f"m{number}" for number in range(MEMBERS)]


def main() -> None:
    """Measure and print."""
    logging.disable(logging.INFO)
    spec, members = specification()
    service = Service(spec, members)
    try:
        os.environ["AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT"] = service.connection()
        scaled()
        theirs = asyncio.run(rival(service))
        found = asyncio.run(ours(service, members))
    finally:
        service.close()
    times = JOBS * (MEMBERS + 1) / SAMPLE
    delays = found["delays"]
    sampled = theirs["measured"]
    print(f"{JOBS} runs of {MEMBERS} members, a look each {POLL:.0f} s; time {SPEED:.0f} times as fast")
    print(f"{'':44}{'ours':>10}{'RunPipelineJobTrigger':>24}")
    reads = sampled.reads_a_minute * times
    row("reads a minute, each job changes each minute", found["busy"].reads_a_minute, reads)
    row("reads a minute, nothing changes", found["idle"].reads_a_minute, reads)
    row("share of a core, changing (%)", found["busy"].share * 100, sampled.share * times * 100)
    row("share of a core, nothing changes (%)", found["idle"].share * 100, sampled.share * times * 100)
    row("memory for a waiting task (kB)", found["memory"] / 1000, theirs["memory"] / 1000)
    row("end to event, median (polls)", statistics.median(delays), 0.5)
    row("end to event, 95 % (polls)", delays[int(len(delays) * 0.95)], 0.95)
    row("end to event, most (polls)", delays[-1], 1.0)
    print(f"the rival's figures: {SAMPLE} triggers, times {times:.0f}; its delays are those of its algorithm")


def row(name: str, own: float, other: float) -> None:
    print(f"{name:44}{own:10.2f}{other:24.2f}")
