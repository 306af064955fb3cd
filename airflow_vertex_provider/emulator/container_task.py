"""One container task: its spec and inputs in, attempts, outputs and a final state out.

Order of things, as on Vertex: inputs are resolved and output artifacts registered, the cache is asked, a
CustomJob is made for each attempt, the container runs, its files are read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from airflow_vertex_provider.emulator import executor_input, output_folder, result_cache
from airflow_vertex_provider.emulator.custom_jobs import FINAL_STATES
from airflow_vertex_provider.emulator.errors import ApiError, rpc_code
from airflow_vertex_provider.emulator.executor_input import VERTEX_MOUNT, OutputError
from airflow_vertex_provider.emulator.executors import Ended, How
from airflow_vertex_provider.emulator.inputs import Inputs, resolve
from airflow_vertex_provider.emulator.launcher import Launcher, is_launcher
from airflow_vertex_provider.emulator.machines import machine_spec, plain_job_spec
from airflow_vertex_provider.emulator.placeholders import Placeholders, UnknownPlaceholderError
from airflow_vertex_provider.emulator.plan import TaskSpec
from airflow_vertex_provider.emulator.platform_errors import capacity_error
from airflow_vertex_provider.emulator.run_context import Outcome, RunContext, TaskError
from airflow_vertex_provider.emulator.services import StoppedError
from airflow_vertex_provider.emulator.store import Resource, Task
from airflow_vertex_provider.states import TaskState

Json = dict[str, Any]

#: Bytes that Linux allows for one argument, the final NUL included (MAX_ARG_STRLEN).
MAX_ARGUMENT = 131_072

RUN_LABELS_VARIABLE = "VERTEX_AI_PIPELINES_RUN_LABELS"


class _CancelledError(Exception):
    """The job was cancelled while this task waited."""


class ContainerTask:
    """Runs one container task to its end."""

    def __init__(self, context: RunContext, task: TaskSpec, record: Task, inputs: Inputs) -> None:
        self._context = context
        self._services = context.services
        self._task = task
        self._component = task.component
        self._container = task.component.container or {}
        self._record = record
        self._records = context.records
        self._inputs = inputs
        self._launches = is_launcher(self._container.get("command", []))
        self._mount = f"{self._services.gcs}/"
        self._folder = output_folder.uri(context, task, record)
        self._outputs = record.notes.get("registered") or self._register()

    def run(self) -> Outcome:
        """Run the task; every way it can end is one outcome."""
        try:
            outcome = self._from_cache() or self._attempts()
        except TaskError as error:
            self._records.set_state(self._record, TaskState.FAILED, error.status)
            return Outcome(TaskState.FAILED)
        except _CancelledError:
            output_folder.cancel_named(self._context, self._folder)
            outcome = None
        except StoppedError:
            raise
        except Exception:
            self._context.custom_jobs.end_owned(
                self._context.job.key, self._record.notes.get("custom_jobs", ())
            )
            raise
        if outcome is not None:
            return outcome
        self._records.set_state(self._record, TaskState.CANCELLED, self._context.cancelled_error())
        return Outcome(TaskState.CANCELLED)

    # Inputs and outputs

    def _register(self) -> dict[str, list[Json]]:
        """Give every output artifact its name and URI before the container runs."""
        registered: dict[str, list[Json]] = {}
        for name, declared in self._component.output_artifacts.items():
            now = self._services.clock.stamp()
            kind = declared.get("artifactType", {})
            registered[name] = [
                {
                    "name": self._context.place.metadata("artifacts", self._services.ids.metadata()),
                    "displayName": name,
                    "uri": f"{self._folder}/{name}",
                    "etag": now,
                    "createTime": now,
                    "updateTime": now,
                    "state": "LIVE",
                    "schemaTitle": kind.get("schemaTitle", "system.Artifact"),
                    "schemaVersion": kind.get("schemaVersion", "0.0.1"),
                    "metadata": dict(declared.get("metadata", {})),
                }
            ]
        if registered:
            self._records.note(self._record, registered=registered)
        return registered

    def _executor_input(self, values: Json, mount: str) -> Json:
        return executor_input.build(
            self._component,
            values,
            self._inputs.artifacts,
            self._outputs,
            self._folder,
            mount=mount,
            keep_inputs=self._services.switches.empty_inputs == "present",
        )

    def _placeholders(self, mount: str) -> Placeholders:
        """Return what the task's command can refer to, for a reader who finds the buckets at ``mount``."""
        unresolved = self._executor_input(self._inputs.values, mount)
        values = resolve(self._context, self._task, self._record, self._inputs, unresolved, mount)
        return Placeholders(
            self._executor_input(values, mount),
            self._context.variables(self._record),
            self._context.unset(self._component),
            mount,
            keep_unknown=self._services.switches.unknown_placeholder == "keep",
        )

    def _command(self, placeholders: Placeholders) -> tuple[list[str], list[str], dict[str, str]]:
        try:
            command = placeholders.command(self._container.get("command", []))
            args = placeholders.command(self._container.get("args", []))
            env = {
                item["name"]: placeholders.text(item.get("value", ""))
                for item in self._container.get("env", [])
            }
        except UnknownPlaceholderError as error:
            message = self._services.switches.text("INVALID_ARGUMENT", f"Task {self._task.name!r}: {error}.")
            raise TaskError(3, message) from error
        return command, args, env

    # The cache

    def _from_cache(self) -> Outcome | None:
        if "current" in self._record.notes:
            return None
        found = result_cache.find(self._context, self._task, self._inputs)
        if found is None:
            return None
        if self._context.wait_cached():
            raise _CancelledError
        self._begin(self._placeholders(VERTEX_MOUNT))
        self._records.set_outputs(self._record, found["parameters"], found["artifacts"])
        self._records.set_state(self._record, TaskState.SKIPPED)
        return Outcome(TaskState.SKIPPED, found["parameters"], found["artifacts"])

    def _begin(self, placeholders: Placeholders) -> None:
        schema = "system.ContainerExecution"
        if self._launches and self._services.switches.launcher_schema == "custom_job":
            schema = "system.CustomJobExecution"
        values = placeholders.executor_input.get("inputs", {}).get("parameterValues", {})
        self._records.begin_execution(self._record, schema, values)
        self._records.set_input_artifacts(self._record, self._inputs.artifacts)

    # Attempts

    def _attempts(self) -> Outcome:
        """Make attempts until one succeeds or the retry policy is used up."""
        recorded, local = self._placeholders(VERTEX_MOUNT), self._placeholders(self._mount)
        self._records.note(self._record, executor_input=recorded.executor_input)
        self._begin(recorded)
        while True:
            output_folder.prepare(self._context, self._folder, self._outputs)
            if not self._context.acquire_slot():
                raise _CancelledError
            result: Outcome | Json
            try:
                result = self._attempt(recorded, local)
            except TaskError as error:
                result = error.status
            finally:
                self._services.slots.release()
            if isinstance(result, Outcome):
                return result
            self._after_failure(result)

    def _after_failure(self, error: Json) -> None:
        """Prepare the next attempt, or give up.

        :raises TaskError: no attempt is left.
        """
        failures = self._record.notes.get("failures", 0) + 1
        if failures > self._task.retry.count:
            raise TaskError(error["code"], error["message"])
        failed = self._record.body.get("executorDetail", {}).get("containerDetail", {}).get("mainJob", "")
        self._records.note(self._record, failures=failures, current="", launched="")
        self._records.set_main_job(self._record, "", failed=failed)
        if self._services.switches.retry_status == "with_error":
            self._records.set_state(self._record, TaskState.PENDING, error)
        if self._services.switches.retry_clears_outputs:
            output_folder.empty(self._services.local(self._folder))
        if self._services.switches.retry_backoff == "honoured" and self._context.wait(
            self._task.retry.delay(failures)
        ):
            raise _CancelledError

    def _attempt(self, recorded: Placeholders, local: Placeholders) -> Outcome | Json:
        """Run the container once; return the outcome, or the error of a failed attempt.

        :raises TaskError: the attempt fails, for the error it carries.
        """
        self._check_capacity()
        job = self._custom_job(recorded)
        self._records.set_main_job(self._record, job.body["name"])
        switches = self._services.switches
        if switches.running_from == "job_created":
            self._records.set_state(self._record, TaskState.RUNNING)
        ended = self._run(job, recorded, local)
        self._services.check_running()
        if ended.how is How.CANCELLED and self._context.cancel.is_set():
            raise _CancelledError
        if ended.succeeded:
            return self._succeed()
        error = self._context.custom_jobs.error(job, ended)
        custom = executor_input.read_error(self._services.local(self._folder))
        return {"code": error["code"], "message": custom or error["message"]}

    def _check_capacity(self) -> None:
        """Fail as the service does when it has no quota or no machines."""
        error = capacity_error(self._context, self._task.name, self._record)
        if error is not None:
            self._records.set_state(self._record, TaskState.RUNNING)
            raise TaskError(error["code"], error["message"])

    def _custom_job(self, recorded: Placeholders) -> Resource:
        """Make the CustomJob of an attempt, or find the one of an earlier life of the emulator."""
        current = self._record.notes.get("current")
        if current:
            job = self._services.store.get(current)
            if job.body["state"] not in FINAL_STATES:
                return job
        context, switches = self._context, self._services.switches
        command, args, env = self._command(recorded)
        name = (
            self._task.name
            if switches.custom_job_display_name == "task_name"
            else f"{context.job.id}-{self._task.name}"
        )
        body: Json = {
            "displayName": name[:128],
            "labels": context.job.body["labels"],
            "jobSpec": plain_job_spec(
                self._container,
                command,
                args,
                self._environment(env),
                context.service_account,
                smallest_machine=switches.machine_for_resources == "smallest",
                resources=self._resources(recorded),
            ),
        }
        for field in ("network", "reservedIpRanges", "pscInterfaceConfig"):
            if context.job.body.get(field):
                body["jobSpec"][field] = context.job.body[field]
        if context.job.body.get("encryptionSpec"):
            body["encryptionSpec"] = context.job.body["encryptionSpec"]
        try:
            job = context.custom_jobs.create(context.place, body, owner=context.job.key)
        except ApiError as error:
            raise TaskError(rpc_code(error.status), error.message) from error
        jobs = [*self._record.notes.get("custom_jobs", []), job.id]
        self._records.note(self._record, current=job.key, custom_jobs=jobs)
        return job

    def _resources(self, placeholders: Placeholders) -> Json:
        """Return the container's resource limits, the placeholders in them resolved.

        :raises TaskError: a placeholder names nothing, or a limit cannot be read.
        """

        def resolved(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: resolved(item) for name, item in value.items()}
            return placeholders.text(value) if isinstance(value, str) else value

        try:
            resources: Json = resolved(self._container.get("resources", {}))
            machine_spec(resources, smallest_machine=True)
        except (UnknownPlaceholderError, ValueError) as error:
            message = self._services.switches.text("INVALID_ARGUMENT", f"Task {self._task.name!r}: {error}.")
            raise TaskError(3, message) from error
        return resources

    def _environment(self, env: dict[str, str]) -> dict[str, str]:
        """Return the container's variables with the one that Pipelines adds."""
        labels = {RUN_LABELS_VARIABLE: json.dumps(self._context.job.body["labels"], separators=(",", ":"))}
        if self._services.switches.run_labels_winner == "user":
            return {**labels, **env}
        return {**env, **labels}

    def _run(self, job: Resource, recorded: Placeholders, local: Placeholders) -> Ended:
        jobs = self._context.custom_jobs
        command, args, env = self._command(local)
        if not self._launches:
            return jobs.run(
                job,
                [*command, *args],
                self._environment(env),
                cancelled=self._context.cancel.is_set,
                on_running=self._running,
                on_terminate=self._cancelling,
                preempt=self._preempted(),
            )
        if jobs.start_machine(job, self._context.cancel.is_set):
            ended = Ended(How.CANCELLED)
        else:
            jobs.set_state(job.key, "JOB_STATE_RUNNING")
            self._running()
            place = self._context.place
            launcher = Launcher(
                self._services,
                jobs,
                self._context.job.key,
                {place.number: place.project, place.project: place.project},
                self._context.job.body["labels"],
            )
            recorded_command, recorded_args, _ = self._command(recorded)
            if self._services.switches.launcher_argument_limit == "kept":
                too_long = longest_argument(recorded_args)
                if too_long >= MAX_ARGUMENT:
                    ended = Ended(How.NOT_STARTED, text=f"Argument list too long ({too_long} bytes in one)")
                    jobs.finish(job, ended)
                    return ended
            ended = launcher.run(
                [*recorded_command, *recorded_args],
                [*command, *args],
                jobs.log(job.id),
                cancelled=self._context.cancel.is_set,
                on_launch=self._launched,
                on_terminate=self._cancelling,
            )
        jobs.finish(job, ended)
        return ended

    def _preempted(self) -> bool:
        return self._services.faults.for_task(self._task.name, kinds=("preempt",)) is not None

    def _running(self) -> None:
        self._records.set_state(self._record, TaskState.RUNNING)

    def _cancelling(self) -> None:
        self._records.set_state(self._record, TaskState.CANCELLING)

    def _launched(self, job: Resource) -> None:
        jobs = self._record.notes.get("custom_jobs", [])
        if job.id not in jobs:
            self._records.note(self._record, custom_jobs=[*jobs, job.id], launched=job.id)

    def _succeed(self) -> Outcome:
        """Read the outputs of a container that ended well.

        :raises TaskError: an output is missing or damaged.
        """
        folder = self._services.local(self._folder)
        try:
            parameters, artifacts = executor_input.read_outputs(
                self._component, folder, self._outputs, self._mount
            )
        except OutputError as error:
            message = self._services.switches.text(
                "FAILED_PRECONDITION", f"Task {self._task.name!r}: {error}."
            )
            raise TaskError(9, message) from error
        missing = sorted(set(self._component.output_parameters) - set(parameters))
        if missing and self._services.switches.missing_output == "fail":
            message = self._services.switches.text(
                "FAILED_PRECONDITION",
                f"Task {self._task.name!r} did not write its output parameter(s) {', '.join(missing)}.",
            )
            raise TaskError(9, message)
        self._records.set_outputs(self._record, parameters, artifacts)
        self._records.set_state(self._record, TaskState.SUCCEEDED)
        result_cache.remember(self._context, self._task, self._inputs, parameters, artifacts)
        return Outcome(TaskState.SUCCEEDED, parameters, artifacts)


def longest_argument(args: Sequence[str]) -> int:
    """Return the bytes of the longest argument."""
    return max((len(arg.encode("utf-8", "surrogateescape")) for arg in args), default=0)
