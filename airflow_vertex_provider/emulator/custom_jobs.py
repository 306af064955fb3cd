"""Custom jobs: a CustomJob body and a command in, a stored resource with states and errors, and the end
of its process out. Pipelines make one for every attempt of a task; clients may create their own.
"""

from __future__ import annotations

import json
import re
import threading
import urllib.parse
from collections.abc import Callable, Collection, Sequence
from typing import Any

from airflow_vertex_provider.emulator import executors, process_tree, protos
from airflow_vertex_provider.emulator.errors import FieldErrors
from airflow_vertex_provider.emulator.executors import Command, Ended, How, LogFile
from airflow_vertex_provider.emulator.names import Place
from airflow_vertex_provider.emulator.process_tree import Process
from airflow_vertex_provider.emulator.services import Services
from airflow_vertex_provider.emulator.spec import seconds
from airflow_vertex_provider.emulator.store import Resource

Json = dict[str, Any]

FINAL_STATES = frozenset(
    {"JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED"}
)

#: The label that the service itself puts on a pipeline job and all that it makes.
BILLING_LABEL = "vertex-ai-pipelines-run-billing-id"

#: How many lines of error output an error shows, if it shows any.
_DETAIL_LINES = 20

#: Default of ``scheduling.timeout``: seven days.
DEFAULT_TIMEOUT = 604800.0

_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
LABELS_TEXT = (
    "There can be no more than 64 labels attached to a single resource. Label keys and values can only "
    "contain lowercase letters, numbers, dashes and underscores."
)


def check_labels(labels: dict[str, str], path: str, errors: FieldErrors) -> None:
    """Check a resource's labels (L04)."""
    for key, value in labels.items():
        # International letters are allowed; what has an upper case is not lower-case.
        text = key + value
        if text.isascii():
            good = bool(_LABEL_KEY.fullmatch(key) and _LABEL_VALUE.fullmatch(value))
        else:
            good = text == text.lower() and max(len(key), len(value)) <= 63
        if not good:
            errors.add(path, f"{LABELS_TEXT} Found {key!r}: {value!r}.")
    own = sum(key != BILLING_LABEL for key in labels)
    if own > 64:
        errors.add(path, f"{LABELS_TEXT} Found {own} labels.")


class CustomJobs:
    """Creates and runs custom jobs.

    :param services: the emulator's shared parts.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._cancelled: set[int] = set()
        self._lock = threading.Lock()

    def create(self, place: Place, body: Json, *, owner: int | None = None) -> Resource:
        """Check a CustomJob and store it as PENDING.

        :param owner: key of the pipeline job it belongs to.
        :raises ApiError: INVALID_ARGUMENT; the body is not a valid CustomJob.
        """
        body = protos.normalise("CustomJob", body)
        for name in ("name", "state", "createTime", "startTime", "endTime", "updateTime", "error"):
            body.pop(name, None)
        _check(body)
        services = self._services
        identifier = services.store.unused_id(
            "customJobs", place.number, place.location, services.ids.numeric
        )
        now = services.clock.stamp()
        body = {
            "name": f"{place.parent}/customJobs/{identifier}",
            **body,
            "state": "JOB_STATE_PENDING",
            "createTime": now,
            "updateTime": now,
        }
        notes: Json = {"project_id": place.project, "owner": owner}
        resource = services.store.insert("customJobs", place.number, place.location, identifier, body, notes)
        if resource is None:
            raise RuntimeError(f"custom job id {identifier} was drawn twice")
        return resource

    def log(self, identifier: str) -> LogFile:
        """Return the log of a custom job."""
        return LogFile(self._services.logs / f"{identifier}.jsonl")

    def set_state(self, key: int, state: str, error: Json | None = None) -> Json:
        """Move a custom job to a state; return its body. A final state stays."""
        services = self._services
        with services.store.change(key) as resource:
            body = resource.body
            if body["state"] in FINAL_STATES or body["state"] == state:
                return body
            if state in FINAL_STATES:
                with self._lock:
                    self._cancelled.discard(key)
            now = services.clock.stamp()
            body["state"] = state
            body["updateTime"] = now
            if state == "JOB_STATE_RUNNING":
                body["startTime"] = now
            if state in FINAL_STATES:
                body["endTime"] = now
            if error:
                body["error"] = error
            return body

    def cancel(self, key: int) -> None:
        """Ask a custom job to end."""
        with self._lock:
            self._cancelled.add(key)
        self.set_state(key, "JOB_STATE_CANCELLING")

    def is_cancelled(self, key: int) -> bool:
        """Whether somebody asked the custom job itself to end."""
        with self._lock:
            return key in self._cancelled

    def start_machine(self, resource: Resource, cancelled: Callable[[], bool]) -> bool:
        """Wait as long as a machine takes to start; return whether the wait was cut short by a cancel."""
        services = self._services
        low = services.switches.container_start_min_seconds
        high = max(low, services.switches.container_start_max_seconds)
        nominal = services.ids.random.uniform(low, high)
        interrupted = services.clock.wait(
            nominal, lambda: services.stopping.is_set() or cancelled() or self.is_cancelled(resource.key)
        )
        services.check_running()
        return interrupted

    def run(
        self,
        resource: Resource,
        argv: Sequence[str],
        env: dict[str, str],
        *,
        cancelled: Callable[[], bool],
        on_running: Callable[[], None] = lambda: None,
        on_terminate: Callable[[], None] = lambda: None,
        preempt: bool = False,
    ) -> Ended:
        """Run a custom job's process to its end and give the job the state that follows.

        :param argv: the command for this machine. :param env: the container's own variables.
        :param cancelled: asked often; true cancels the job.
        :raises StoppedError: the emulator is being stopped; the job stays as it is.
        """
        services = self._services

        def stop() -> bool:
            return cancelled() or self.is_cancelled(resource.key)

        def terminating() -> None:
            self.set_state(resource.key, "JOB_STATE_CANCELLING")
            on_terminate()

        if self.start_machine(resource, cancelled):
            ended = Ended(How.CANCELLED)
        else:
            self.set_state(resource.key, "JOB_STATE_RUNNING")
            on_running()
            scheduling = resource.body["jobSpec"].get("scheduling", {})
            ended = executors.run_process(
                Command(
                    argv,
                    {
                        **executors.base_environment(services.gcs),
                        **self._training_environment(resource),
                        **env,
                    },
                    services.work / resource.id,
                    self.log(resource.id),
                    self._mark(resource),
                    seconds(scheduling.get("timeout"), DEFAULT_TIMEOUT),
                ),
                cancelled=stop,
                stopping=services.stopping.is_set,
                grace=services.term_grace,
                on_start=lambda pid: self._note_process(resource.key, pid),
                on_terminate=terminating,
                preempt=preempt,
            )
        if ended.how is How.STOPPED:
            services.check_running()
        self.finish(resource, ended)
        return ended

    def finish(self, resource: Resource, ended: Ended) -> None:
        """Give a custom job the state and error that follow from its process's end."""
        if ended.succeeded:
            self.set_state(resource.key, "JOB_STATE_SUCCEEDED")
        elif ended.how is How.CANCELLED or (
            ended.how is How.TIMEOUT and self._services.switches.timeout_state == "CANCELLED"
        ):
            self.set_state(resource.key, "JOB_STATE_CANCELLED", self.error(resource, ended))
        else:
            self.set_state(resource.key, "JOB_STATE_FAILED", self.error(resource, ended))

    def end_owned(self, owner: int, identifiers: Collection[str] | None = None) -> None:
        """Cancel what has not ended of a pipeline job's custom jobs, though nothing runs for them any more.

        :param identifiers: only these; ``None`` for all.
        """
        for job in self._services.store.owned("customJobs", owner):
            if job.body["state"] not in FINAL_STATES and (identifiers is None or job.id in identifiers):
                self.finish(job, Ended(How.CANCELLED))

    def error(self, resource: Resource, ended: Ended) -> Json:
        """Return the error of a custom job that ended this way (vertex-observed section 2)."""
        switches = self._services.switches
        code = int(switches.replica_error_code)
        if ended.how is How.CANCELLED:
            return {"code": 1, "message": switches.text("CANCELLED", "The job was cancelled.")}
        if ended.how is How.TIMEOUT:
            return {
                "code": 1,
                "message": switches.text("CANCELLED", "The job ran into its timeout and was cancelled."),
            }
        if ended.how is How.PREEMPTED:
            return {
                "code": 14,
                "message": switches.text("UNAVAILABLE", "The replica workerpool0-0 was preempted."),
            }
        if ended.how is How.NOT_STARTED:
            return {
                "code": code,
                "message": switches.text(
                    "INVALID_ARGUMENT", f"The replica workerpool0-0 could not be started: {ended.text}. "
                )
                + self._logs_sentence(resource),
            }
        if ended.status == 137 and switches.killed_process == "low_memory":
            return {
                "code": code,
                "message": "Replicas low on memory: workerpool0. " + self._logs_sentence(resource),
            }
        return {
            "code": code,
            "message": f"The replica workerpool0-0 exited with a non-zero status of {ended.status}. "
            + self._detail(resource)
            + self._logs_sentence(resource),
        }

    def _detail(self, resource: Resource) -> str:
        """Return what sometimes stands between the two sentences: the end of the error output."""
        if self._services.switches.replica_error_detail == "never":
            return ""
        lines = [text for _, stream, text in self.log(resource.id).read()[0] if stream == "stderr"]
        return "Termination reason: Error. \n" + "\n".join(lines[-_DETAIL_LINES:]) + "\n"

    def _logs_sentence(self, resource: Resource) -> str:
        url = "https://console.cloud.google.com/logs/viewer?" + urllib.parse.urlencode(
            {
                "project": resource.project,
                "resource": f"ml_job/job_id/{resource.id}",
                "advancedFilter": f'resource.type="ml_job"\nresource.labels.job_id="{resource.id}"',
            }
        )
        return f"To find out more about why your job exited please check the logs: {url}"

    def _training_environment(self, resource: Resource) -> dict[str, str]:
        project = resource.project
        if self._services.switches.cloud_ml_project == "id":
            project = resource.notes["project_id"]
        env = {
            "CLOUD_ML_JOB_ID": resource.id,
            "CLOUD_ML_PROJECT_ID": project,
            "CLOUD_ML_REGION": resource.location,
            "CLUSTER_SPEC": json.dumps(
                {
                    "cluster": {"workerpool0": [f"cmle-training-workerpool0-{resource.id}-0:2222"]},
                    "environment": "cloud",
                    "task": {"type": "workerpool0", "index": 0},
                }
            ),
        }
        base = resource.body["jobSpec"].get("baseOutputDirectory", {}).get("outputUriPrefix", "")
        if base:
            base = base.rstrip("/")
            env |= {
                "AIP_MODEL_DIR": f"{base}/model/",
                "AIP_CHECKPOINT_DIR": f"{base}/checkpoints/",
                "AIP_TENSORBOARD_LOG_DIR": f"{base}/logs/",
            }
        return env

    def _mark(self, resource: Resource) -> str:
        """Return what a custom job's processes are known by; ids alone repeat with a seed."""
        return f"{self._services.state_dir.resolve()}:{resource.id}"

    def _note_process(self, key: int, pid: int) -> None:
        with self._services.store.change(key) as resource:
            resource.notes["process"] = [pid, process_tree.process_started(pid)]

    def take_up(self) -> None:
        """Take up what an earlier life of the emulator left: its processes are ended, its cancels go on."""
        for resource in self._services.store.all("customJobs"):
            if resource.body["state"] in FINAL_STATES:
                continue
            process_tree.end(self._mark(resource), [Process(*resource.notes.get("process", (0, "")))])
            if resource.body["state"] == "JOB_STATE_CANCELLING":
                self._cancelled.add(resource.key)

    def run_own(self, resource: Resource) -> None:
        """Run a custom job that a client created: the first worker pool's container, as a process."""
        container = resource.body["jobSpec"]["workerPoolSpecs"][0].get("containerSpec", {})
        self.run(
            resource,
            [*container.get("command", []), *container.get("args", [])],
            {item["name"]: item.get("value", "") for item in container.get("env", [])},
            cancelled=lambda: False,
        )


def _check(body: Json) -> None:
    errors = FieldErrors()
    if not body.get("displayName"):
        errors.add("custom_job.display_name", "display_name is empty.")
    elif len(body["displayName"]) > 128:
        errors.add("custom_job.display_name", "display_name has more than 128 characters.")
    check_labels(body.get("labels", {}), "custom_job.labels", errors)
    job_spec = body.get("jobSpec", {})
    pools = job_spec.get("workerPoolSpecs", [])
    if not pools:
        errors.add("custom_job.job_spec.worker_pool_specs", "worker_pool_specs is empty.")
    for index, pool in enumerate(pools):
        path = f"custom_job.job_spec.worker_pool_specs[{index}]"
        machine = pool.get("machineSpec", {})
        if not machine.get("machineType") and not job_spec.get("persistentResourceId"):
            errors.add(f"{path}.machine_spec.machine_type", "machine_type is empty.")
        kind = machine.get("acceleratorType", "ACCELERATOR_TYPE_UNSPECIFIED")
        if (kind != "ACCELERATOR_TYPE_UNSPECIFIED") != bool(machine.get("acceleratorCount")):
            errors.add(f"{path}.machine_spec", "accelerator_type and accelerator_count must be set together.")
        if machine.get("machineType", "").startswith("e2-") and kind != "ACCELERATOR_TYPE_UNSPECIFIED":
            errors.add(f"{path}.machine_spec", f"{machine['machineType']} takes no accelerator.")
        if index == 0 and int(pool.get("replicaCount", "0")) < 1:
            errors.add(f"{path}.replica_count", "replica_count must be 1 or more.")
        container = pool.get("containerSpec", {})
        if not container.get("imageUri") and "pythonPackageSpec" not in pool:
            errors.add(f"{path}.container_spec.image_uri", "image_uri is empty.")
        variables = container.get("env", [])
        if len(variables) > 100:
            errors.add(f"{path}.container_spec.env", f"found {len(variables)} variables, at most 100.")
        for number, variable in enumerate(variables):
            if not variable.get("value"):
                errors.add(f"{path}.container_spec.env[{number}].value", "Required field is not set.")
    errors.check()
