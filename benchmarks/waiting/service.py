"""The emulator with jobs that nobody runs: commands on standard input in, answers on standard output out.

A process of its own, so that what it costs is not counted. Commands, one a line: ``change SECONDS`` lets one
task of each job change within that time, ``end SECONDS`` ends all jobs within it and answers with when each
ended, ``received`` answers with how many requests there were, ``quit`` ends.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from functools import partial
from typing import Any

from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.emulator.store import Resource, Store, Task


def make_jobs(
    emulator: VertexEmulator, count: int, spec: dict[str, Any], members: list[str]
) -> list[Resource]:
    """Put running jobs into the store, as if they had been created and begun."""
    stamp = emulator.clock.stamp()
    jobs = []
    for number in range(count):
        name = f"projects/1/locations/europe-west4/pipelineJobs/job-{number}-1"
        body = {
            "name": name,
            "displayName": f"job-{number}",
            "createTime": stamp,
            "startTime": stamp,
            "updateTime": stamp,
            "state": "PIPELINE_STATE_RUNNING",
            "pipelineSpec": spec,
            "labels": {"airflow_dag_id": "bench"},
            "serviceAccount": "sa@bench.iam.gserviceaccount.com",
            "runtimeConfig": {"gcsOutputDirectory": "gs://bench/root"},
        }
        notes = {"project_id": "bench", "numeric_id": str(number)}
        job = emulator.store.insert("pipelineJobs", "1", "europe-west4", f"job-{number}-1", body, notes)
        assert job is not None
        jobs.append(job)
        for position, member in enumerate(members):
            emulator.store.save_task(job.key, Task(member, entry(member, position, "PENDING", stamp)))
    return jobs


def entry(member: str, position: int, state: str, stamp: str) -> dict[str, Any]:
    return {
        "taskId": str(position + 1),
        "taskName": member,
        "createTime": stamp,
        "startTime": stamp,
        "state": state,
        "execution": {"name": f"e/{position}", "schemaTitle": "system.ContainerExecution", "metadata": {}},
        "taskUniqueName": member,
    }


def change(emulator: VertexEmulator, store: Store, job: Resource) -> None:
    """Let the first task that has not begun begin."""
    stamp = emulator.clock.stamp()
    for position, task in enumerate(store.tasks(job.key)):
        if task.body["state"] == "PENDING":
            store.save_task(job.key, Task(task.path, entry(task.path, position, "RUNNING", stamp)))
            break
    with store.change(job.key) as found:
        found.body["updateTime"] = stamp


def end(emulator: VertexEmulator, store: Store, job: Resource) -> None:
    stamp = emulator.clock.stamp()
    for position, task in enumerate(store.tasks(job.key)):
        store.save_task(job.key, Task(task.path, entry(task.path, position, "SUCCEEDED", stamp)))
    with store.change(job.key) as found:
        found.body |= {"state": "PIPELINE_STATE_SUCCEEDED", "updateTime": stamp, "endTime": stamp}


def spread(jobs: list[Resource], seconds: float, work: Any) -> dict[str, float]:
    """Do something to every job, evenly within a time; return when, by job."""
    begin, done = time.monotonic(), {}
    for number, job in enumerate(jobs):
        wait = begin + seconds * number / len(jobs) - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        work(job)
        done[job.body["name"]] = time.time()
    return done


def main() -> None:
    """Serve until told to quit; the first line of the input says which jobs there are."""
    asked = json.loads(sys.stdin.readline())
    with VertexEmulator(execute=False) as emulator:
        store = emulator.store
        jobs = make_jobs(emulator, asked["jobs"], asked["spec"], asked["members"])
        answer("ready", {"endpoint": emulator.endpoint, "names": [job.body["name"] for job in jobs]})
        for line in sys.stdin:
            command, _, seconds = line.strip().partition(" ")
            if command == "quit":
                return
            if command == "received":
                answer(command, emulator.received)
            else:
                work = partial({"change": change, "end": end}[command], emulator, store)
                threading.Thread(target=begin, args=(command, jobs, float(seconds), work)).start()


def begin(command: str, jobs: list[Resource], seconds: float, work: Any) -> None:
    answer(command, spread(jobs, seconds, work))


def answer(command: str, data: Any) -> None:
    sys.stdout.write(f"ANSWER {json.dumps([command, data])}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
