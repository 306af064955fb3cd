"""What the tasks of one run share: a job in, its settings, its waits and the outcomes of its tasks out."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from airflow_vertex_provider.emulator.custom_jobs import CustomJobs
from airflow_vertex_provider.emulator.names import Place
from airflow_vertex_provider.emulator.plan import Component
from airflow_vertex_provider.emulator.records import Records
from airflow_vertex_provider.emulator.services import Services
from airflow_vertex_provider.emulator.store import Resource, Task
from airflow_vertex_provider.states import TaskState

Json = dict[str, Any]


class TaskError(Exception):
    """A task fails for a reason of its own.

    :param code: rpc code. :param message: text of the task's error.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.status: Json = {"code": code, "message": message}


@dataclass
class Outcome:
    """How a task or a DAG ended.

    :param failed: names of the failed tasks directly inside; :param failed_leaves: of those deepest down.
    :param cut: it, or something inside it, was kept from starting by a cancel or by FAIL_FAST.
    """

    state: TaskState
    parameters: Json = field(default_factory=dict)
    artifacts: dict[str, list[Json]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    failed_leaves: list[str] = field(default_factory=list)
    cut: bool = False


def recorded(record: Task) -> Outcome:
    """Return the outcome of a task that ended in an earlier life of the emulator."""
    outputs = record.notes.get("outputs", {})
    return Outcome(
        TaskState(record.body["state"]),
        outputs.get("parameters", {}),
        outputs.get("artifacts", {}),
        record.notes.get("failed", []),
        record.notes.get("failed_leaves", []),
        record.notes.get("cut", False),
    )


@dataclass
class RunContext:
    """One run of one job, as its tasks see it.

    :param cancel: set when the job is cancelled; :param give_up: when nobody waits for its exit task either.
    :param exits: the tasks belong to an exit task, which no failure holds back.
    """

    services: Services
    custom_jobs: CustomJobs
    job: Resource
    place: Place
    pipeline: str
    records: Records
    cancel: threading.Event = field(default_factory=threading.Event)
    give_up: threading.Event = field(default_factory=threading.Event)
    exits: bool = False
    _cached_since: datetime | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def root_uri(self) -> str:
        """The pipeline root, without a final slash."""
        return str(self.job.body["runtimeConfig"]["gcsOutputDirectory"]).rstrip("/")

    @property
    def service_account(self) -> str:
        """The account the job runs as."""
        return str(self.job.body["serviceAccount"])

    def for_exit_task(self) -> RunContext:
        """Return the same run as an exit task sees it: a cancel of the job does not reach it."""
        if self.services.switches.exit_task_on_cancel == "runs":
            return replace(self, exits=True, cancel=self.give_up)
        return replace(self, exits=True)

    def cancelled_error(self) -> Json:
        """Return the error of a job or task that was cancelled (rule 15)."""
        return {"code": 1, "message": self.services.switches.text("CANCELLED", "The job was cancelled.")}

    def wait(self, nominal: float) -> bool:
        """Wait for what takes the service ``nominal`` seconds; true if a cancel cut it short."""
        interrupted = self.services.clock.wait(
            nominal, lambda: self.services.stopping.is_set() or self.cancel.is_set()
        )
        self.services.check_running()
        return interrupted

    def wait_cached(self) -> bool:
        """Wait for a task whose result is in the cache; true if a cancel cut it short (rule 29).

        The cached tasks of a job share one stretch of time: the job takes that long, not each of them.
        """
        now = self.services.clock.now()
        with self._lock:
            self._cached_since = self._cached_since or now
            passed = (now - self._cached_since).total_seconds()
        scale = self.services.clock.time_scale
        return self.wait(self.services.switches.cached_seconds - (passed / scale if scale else 0.0))

    def wait_cancelling(self) -> None:
        """Stay in CANCELLING as long as the service does."""
        self.services.clock.wait(self.services.switches.cancelling_seconds, self.services.stopping.is_set)
        self.services.check_running()

    def acquire_slot(self) -> bool:
        """Wait for a free process; false if the job was cancelled instead."""
        while not self.services.slots.acquire(timeout=0.1):
            self.services.check_running()
            if self.cancel.is_set():
                return False
        return True

    def variables(self, record: Task) -> dict[str, str]:
        """Return the values of the pipeline's own placeholders for one task."""
        body, number = self.job.body, self.job.notes["numeric_id"]
        name, uuid = self.job.id, number
        if self.services.switches.job_name_placeholders == "number_and_id":
            name, uuid = number, self.job.id
        return {
            "pipeline_job_name": name,
            "pipeline_job_resource_name": body["name"],
            "pipeline_job_uuid": uuid,
            "pipeline_task_name": record.body["taskName"],
            "pipeline_task_uuid": record.body["taskId"],
            "pipeline_root": self.root_uri,
            "pipeline_job_create_time_utc": body["createTime"],
            "pipeline_job_schedule_time_utc": body["createTime"],
            "pipeline_google_cloud_project_id": self.place.project,
            "pipeline_google_cloud_location": self.place.location,
            "pipeline_service_account": self.service_account,
            "pipeline_network": body.get("network", ""),
            "pipeline_persistent_resource_id": "",
            "pipeline_encryption_key_name": body.get("encryptionSpec", {}).get("kmsKeyName", ""),
        }

    def unset(self, component: Component) -> dict[str, str]:
        """Return the text of each optional input that has no value."""
        empty = {"STRUCT": "{}", "LIST": "[]", "STRING": ""}
        if self.services.switches.unset_optional == "null":
            empty = {"STRING": ""}
        return {
            name: empty.get(declared.kind, "null")
            for name, declared in component.parameters.items()
            if declared.optional
        }
