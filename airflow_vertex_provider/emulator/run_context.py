"""What the tasks of one run share, and how a task gets its inputs: a job and results of earlier tasks in,
input values and artifacts out.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_vertex_provider.emulator.custom_jobs import CustomJobs
from airflow_vertex_provider.emulator.names import Place
from airflow_vertex_provider.emulator.parameters import check_type, parse_output, whole
from airflow_vertex_provider.emulator.placeholders import Placeholders, resolve_values
from airflow_vertex_provider.emulator.records import Records
from airflow_vertex_provider.emulator.services import Services
from airflow_vertex_provider.emulator.spec import MISSING, Component, TaskSpec, constant
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
    """

    state: TaskState
    parameters: Json = field(default_factory=dict)
    artifacts: dict[str, list[Json]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    failed_leaves: list[str] = field(default_factory=list)


@dataclass
class RunContext:
    """One run of one job, as its tasks see it."""

    services: Services
    custom_jobs: CustomJobs
    job: Resource
    place: Place
    pipeline: str
    records: Records
    cancel: threading.Event = field(default_factory=threading.Event)
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


@dataclass
class Inputs:
    """A task's inputs before placeholders inside them are resolved.

    :param resolvable: names of the values whose placeholders are to be resolved.
    """

    values: Json
    artifacts: dict[str, list[Json]]
    resolvable: frozenset[str]


def collect_inputs(
    context: RunContext,
    task: TaskSpec,
    parameters: Mapping[str, Any],
    artifacts: Mapping[str, list[Json]],
    results: Mapping[str, Outcome],
) -> Inputs:
    """Return a task's input parameters and artifacts.

    :param parameters: inputs of the surrounding DAG; :param artifacts: likewise.
    :param results: outcomes of the tasks beside it.
    :raises TaskError: an input is missing.
    """
    component = task.component
    values: Json = {}
    written: set[str] = set()  # values that stand in the spec itself
    for name in sorted({**component.parameters, **task.parameters}):
        source = task.parameters.get(name)
        declared = component.parameters.get(name)
        found: Any = MISSING
        if source is not None:
            found = _parameter(source, parameters, results)
            if "runtimeValue" in source:
                written.add(name)
        if found is MISSING and declared is not None:
            found = declared.default
            written.add(name)
        if found is MISSING or found is None:
            if declared is None or declared.optional:
                continue
            raise TaskError(3, f"Input parameter {name!r} of task {task.name!r} has no value.")
        values[name] = found
    which = context.services.switches.placeholders_in_values
    names = {"all": set(values), "constants": written & set(values), "none": set[str]()}[which]
    inputs: dict[str, list[Json]] = {}
    for name, source in task.artifacts.items():
        items = _artifact(source, artifacts, results)
        if items is not None:
            inputs[name] = items
        elif not component.artifacts.get(name, {}).get("isOptional"):
            raise TaskError(3, f"Input artifact {name!r} of task {task.name!r} does not exist.")
    return Inputs(whole(values), inputs, frozenset(names))


def resolve(
    context: RunContext, task: TaskSpec, record: Task, inputs: Inputs, executor_input: Json, mount: str
) -> Json:
    """Return the input values with the placeholders inside them resolved, each of its declared type.

    :param executor_input: what ``{{$}}`` inside a value shows: the input with unresolved values.
    :raises TaskError: a value is not of its declared type.
    """
    scope = Placeholders(executor_input, context.variables(record), context.unset(task.component), mount)
    values = resolve_values(inputs.values, scope, inputs.resolvable)
    for name, declared in task.component.parameters.items():
        if name not in values:
            continue
        try:
            if (
                isinstance(values[name], str)
                and declared.kind != "STRING"
                and values[name] != inputs.values[name]
            ):
                values[name] = parse_output(declared.kind, values[name])
            values[name] = check_type(declared.kind, values[name])
        except ValueError as error:
            raise TaskError(3, f"Input parameter {name!r} of task {task.name!r}: {error}.") from error
    return values


def _parameter(source: Json, parameters: Mapping[str, Any], results: Mapping[str, Outcome]) -> Any:
    if "taskOutputParameter" in source:
        wanted = source["taskOutputParameter"]
        return results[wanted["producerTask"]].parameters.get(wanted["outputParameterKey"], MISSING)
    if "componentInputParameter" in source:
        return parameters.get(source["componentInputParameter"], MISSING)
    return constant(source)


def _artifact(
    source: Json, artifacts: Mapping[str, list[Json]], results: Mapping[str, Outcome]
) -> list[Json] | None:
    if "taskOutputArtifact" in source:
        wanted = source["taskOutputArtifact"]
        return results[wanted["producerTask"]].artifacts.get(wanted["outputArtifactKey"])
    return artifacts.get(source["componentInputArtifact"])
