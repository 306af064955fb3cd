"""Entries of ``jobDetail.taskDetails``: what happens to a task in, its PipelineTaskDetail out, stored.

One :class:`Records` belongs to one run of one job. Every change is written to the store at once.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from airflow_vertex_provider.emulator.names import Place
from airflow_vertex_provider.emulator.services import Services
from airflow_vertex_provider.emulator.store import Task
from airflow_vertex_provider.states import TERMINAL_TASK_STATES, TaskState

Json = dict[str, Any]

_EXECUTION_STATES = {
    TaskState.RUNNING: "RUNNING",
    TaskState.SUCCEEDED: "COMPLETE",
    TaskState.FAILED: "FAILED",
    TaskState.SKIPPED: "CACHED",
    TaskState.CANCELLED: "CANCELLED",
}


def is_final(record: Task) -> bool:
    """Whether a task will not change any more."""
    return TaskState(record.body["state"]) in TERMINAL_TASK_STATES


class Records:
    """The task entries of one job.

    :param job: the job's key in the store; entries of an earlier life of the emulator are found again.
    """

    def __init__(self, services: Services, job: int, place: Place) -> None:
        self._services = services
        self._job = job
        self._place = place
        self._lock = threading.RLock()
        self._records = {record.path: record for record in services.store.tasks(job)}
        self._shielded = {path for path, record in self._records.items() if record.notes.get("shielded")}

    def entry(self, path: str, name: str, unique_name: str, parent: int | None) -> Task:
        """Return the entry of a task, made PENDING if it is not there yet.

        :param parent: id of the enclosing entry, or ``None`` if the service shows none.
        """
        with self._lock:
            record = self._records.get(path)
            if record is not None:
                return record
            now = self._services.clock.stamp()
            body: Json = {"taskId": str(self._services.ids.task())}
            if parent is not None:
                body["parentTaskId"] = str(parent)
            body |= {
                "taskName": name,
                "createTime": now,
                "state": TaskState.PENDING.value,
                "pipelineTaskStatus": [{"updateTime": now, "state": TaskState.PENDING.value}],
                "taskUniqueName": unique_name,
            }
            record = Task(path, body)
            self._records[path] = record
            self._save(record)
            return record

    def existing(self, path: str) -> Task | None:
        """Return an entry if there is one."""
        with self._lock:
            return self._records.get(path)

    def open(self) -> list[Task]:
        """Return the entries that are not final."""
        with self._lock:
            return [record for record in self._records.values() if not is_final(record)]

    def any_failed(self) -> bool:
        """Whether a task has failed."""
        with self._lock:
            return any(record.body["state"] == TaskState.FAILED for record in self._records.values())

    def shield(self, record: Task) -> None:
        """Keep a cancel of the job from an entry and all below it."""
        with self._lock:
            self._shielded.add(record.path)
            self.note(record, shielded=True)

    def cancel_running(self) -> None:
        """Mark what runs as about to be cancelled."""
        with self._lock:
            for record in self.open():
                path = f"{record.path}/"
                if record.body["state"] == TaskState.RUNNING and not any(
                    path.startswith(f"{other}/") for other in self._shielded
                ):
                    self.set_state(record, TaskState.CANCEL_PENDING)

    def set_state(self, record: Task, state: TaskState, error: Json | None = None) -> None:
        """Move a task to a state and write down when, and why. A final state stays."""
        with self._lock:
            body = record.body
            if is_final(record) or (body["state"] == state and error is None):
                return
            now = self._services.clock.stamp()
            body["state"] = state.value
            status: Json = {"updateTime": now, "state": state.value}
            if error:
                status["error"] = error
            body["pipelineTaskStatus"].append(status)
            if state is TaskState.RUNNING:
                body.setdefault("startTime", now)
            if state in TERMINAL_TASK_STATES:
                body["endTime"] = now
                if error:
                    body["error"] = error
            execution = body.get("execution")
            if execution is not None and state in _EXECUTION_STATES:
                execution["state"] = _EXECUTION_STATES[state]
                execution["updateTime"] = now
            self._save(record)

    def begin_execution(self, record: Task, schema: str, inputs: Mapping[str, Any]) -> None:
        """Give a task its execution in the metadata store, with its input parameters."""
        with self._lock:
            if "execution" in record.body:
                return
            now = self._services.clock.stamp()
            record.body["execution"] = {
                "name": self._place.metadata("executions", self._services.ids.metadata()),
                "displayName": record.body["taskName"],
                "state": "NEW",
                "etag": now,
                "createTime": now,
                "updateTime": now,
                "schemaTitle": schema,
                "schemaVersion": "0.0.1",
                "metadata": {f"input:{name}": value for name, value in inputs.items()},
            }
            self._save(record)

    def set_outputs(
        self, record: Task, parameters: Mapping[str, Any], artifacts: Mapping[str, list[Json]]
    ) -> None:
        """Write down a task's outputs, as the API shows them and as later tasks read them."""
        with self._lock:
            record.notes["outputs"] = {"parameters": dict(parameters), "artifacts": dict(artifacts)}
            metadata = record.body.get("execution", {}).get("metadata")
            if metadata is not None:
                metadata.update({f"output:{name}": value for name, value in parameters.items()})
            if artifacts:
                record.body["outputs"] = {name: {"artifacts": items} for name, items in artifacts.items()}
            for items in artifacts.values():
                for item in items:
                    self._services.store.remember("artifacts", item["name"], item)
            self._save(record)

    def set_input_artifacts(self, record: Task, artifacts: Mapping[str, list[Json]]) -> None:
        """Write down a task's input artifacts."""
        if not artifacts:
            return
        with self._lock:
            record.body["inputs"] = {name: {"artifacts": items} for name, items in artifacts.items()}
            self._save(record)

    def set_main_job(self, record: Task, name: str, *, failed: str = "") -> None:
        """Name the custom job of the present attempt; ``failed`` names the one before it."""
        with self._lock:
            detail = record.body.setdefault("executorDetail", {}).setdefault("containerDetail", {})
            if failed:
                detail.setdefault("failedMainJobs", []).append(failed)
                detail.pop("mainJob", None)
            if name:
                detail["mainJob"] = name
            self._save(record)

    def note(self, record: Task, **notes: Any) -> None:
        """Remember something about a task that the API does not show."""
        with self._lock:
            record.notes.update(notes)
            self._save(record)

    def _save(self, record: Task) -> None:
        store = self._services.store
        with store.transaction():
            store.save_task(self._job, record)
            if self._services.switches.job_update_time == "every_change":
                store.remember("touched", str(self._job), {"time": self._services.clock.stamp()})
