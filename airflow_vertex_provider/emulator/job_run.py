"""One pipeline job from PENDING to its end: a stored job in, its states, root entry and error out."""

from __future__ import annotations

import logging
import threading
from typing import Any

from airflow_vertex_provider.emulator.custom_jobs import CustomJobs
from airflow_vertex_provider.emulator.dag_run import DagRunner, dag_sentence
from airflow_vertex_provider.emulator.errors import FieldErrors
from airflow_vertex_provider.emulator.inputs import Scope
from airflow_vertex_provider.emulator.names import Place
from airflow_vertex_provider.emulator.parameters import whole
from airflow_vertex_provider.emulator.plan import MISSING, Dag
from airflow_vertex_provider.emulator.platform_errors import permission_error
from airflow_vertex_provider.emulator.records import Records
from airflow_vertex_provider.emulator.run_context import Outcome, RunContext
from airflow_vertex_provider.emulator.services import Services, StoppedError
from airflow_vertex_provider.emulator.spec import read_spec
from airflow_vertex_provider.emulator.store import Resource, Task
from airflow_vertex_provider.states import PipelineState, TaskState

log = logging.getLogger(__name__)

Json = dict[str, Any]


class JobRun:
    """One job from PENDING to its end."""

    def __init__(self, services: Services, custom_jobs: CustomJobs, job: Resource) -> None:
        self._services = services
        self._key = job.key
        place = Place(job.notes["project_id"], job.location)
        plan = read_spec(job.body["pipelineSpec"], FieldErrors())
        self._plan = plan
        self._context = RunContext(
            services=services,
            custom_jobs=custom_jobs,
            job=job,
            place=place,
            pipeline=plan.name,
            records=Records(services, job.key, place),
        )
        self._cancel = self._context.cancel
        self._records = self._context.records
        self.ended = threading.Event()
        self._dags = DagRunner(
            self._context,
            fast=job.body.get("runtimeConfig", {}).get("failurePolicy")
            == "PIPELINE_FAILURE_POLICY_FAIL_FAST",
        )

    def run(self) -> None:
        """Run the job; nothing that goes wrong leaves it without an end."""
        try:
            self._run()
        except StoppedError:
            log.debug("job %s left unfinished: the emulator stops", self._context.job.id)
        except Exception as error:
            log.exception("job %s: the emulator failed", self._context.job.id)
            status = {"code": 13, "message": f"The emulator failed: {error!r}"}
            self._close(status)
            self._finish(PipelineState.FAILED, status)
        finally:
            self.ended.set()

    def cancel(self) -> None:
        """End what runs and start nothing more."""
        self._records.cancel_running()
        self._cancel.set()

    def give_up(self) -> None:
        """End everything, exit tasks too: the job is being deleted."""
        self.cancel()
        self._context.give_up.set()

    def _run(self) -> None:
        services, job = self._services, self._context.job
        # A cancel may have come between the job's creation and this run, which it did not find then.
        try:
            job.body["state"] = services.store.get(self._key).body["state"]
        except KeyError:
            log.debug("job %s was deleted before it began", job.id)
            return
        if job.body["state"] == PipelineState.CANCELLING and services.switches.cancel_outcome == "cancelled":
            self.cancel()
        elif job.body["state"] == PipelineState.PENDING:
            self._context.wait(services.switches.pending_seconds)
            if not self._cancel.is_set():
                error = permission_error(self._context)
                if error:
                    self._finish(PipelineState.FAILED, error)
                    return
                self._set_state(PipelineState.RUNNING)
        if self._cancel.is_set() and self._records.existing("") is None:
            self._context.wait_cancelling()
            self._finish(PipelineState.CANCELLED, self._context.cancelled_error())
            return
        root = self._plan.root
        parameters = self._root_parameters()
        record = self._records.entry("", job.id, job.id, None)
        self._records.begin_execution(record, "system.Run", parameters)
        self._records.set_state(record, TaskState.RUNNING)
        task_id = int(record.body["taskId"])
        switches = services.switches
        scope = Scope(
            self._context,
            root.dag or Dag(),
            "",
            job.id if switches.unique_name_root == "with" else "",
            task_id if switches.top_level_parent == "root" else None,
            parameters,
            self._root_artifacts(),
        )
        if switches.task_entries == "at_start":
            self._dags.make_entries(scope)
        outcome = self._dags.run(scope)
        self._end(record, outcome)

    def _end(self, root: Task, outcome: Outcome) -> None:
        services, job = self._services, self._context.job
        if outcome.state is TaskState.CANCELLED:
            self._records.set_state(root, TaskState.CANCELLING)
            self._context.wait_cancelling()
            self._records.set_state(root, TaskState.CANCELLED, self._context.cancelled_error())
            self._finish(PipelineState.CANCELLED, self._context.cancelled_error())
            return
        if outcome.state is TaskState.SUCCEEDED:
            self._records.set_outputs(root, outcome.parameters, outcome.artifacts)
            self._records.set_state(root, TaskState.SUCCEEDED)
            self._finish(PipelineState.SUCCEEDED)
            return
        names = outcome.failed if services.switches.failed_names == "children" else outcome.failed_leaves
        sentence = dag_sentence(names)
        self._records.set_state(root, TaskState.FAILED, {"code": 9, "message": sentence})
        number = job.notes["numeric_id"]
        message = (
            f"{sentence}; Job (project_id = {self._context.place.project}, job_id = {number}) "
            "is failed due to the above error."
        )
        third = services.switches.job_error_third_part
        if third == "always" or (third == "random" and services.ids.random.random() < 0.5):
            message += (
                f"; Failed to handle the job: {{project_number = {self._context.place.number}, "
                f"job_id = {number}}}"
            )
        self._finish(PipelineState.FAILED, {"code": 9, "message": message})

    def _close(self, error: Json) -> None:
        """End the entries that a failure of the emulator itself left open."""
        self._cancel.set()
        self._context.give_up.set()
        for record in self._records.open():
            if record.body["state"] == TaskState.PENDING:
                self._records.set_state(record, TaskState.NOT_TRIGGERED)
            else:
                self._records.set_state(record, TaskState.FAILED, error)

    def _set_state(self, state: PipelineState) -> None:
        with self._services.store.change(self._key) as job:
            if PipelineState(job.body["state"]) is PipelineState.PENDING:
                job.body["state"] = state.value
            now = self._services.clock.stamp()
            job.body["startTime"] = job.body["updateTime"] = now

    def _finish(self, state: PipelineState, error: Json | None = None) -> None:
        # An earlier life of the emulator may have left some that no task of this one took up.
        self._context.custom_jobs.end_owned(self._key)
        with self._services.store.change(self._key) as job:
            now = self._services.clock.stamp()
            job.body["state"] = state.value
            job.body["endTime"] = job.body["updateTime"] = now
            if error:
                job.body["error"] = error
        log.info("job %s: %s", self._context.job.id, state.short)

    def _root_parameters(self) -> Json:
        given = self._context.job.body.get("runtimeConfig", {}).get("parameterValues", {})
        values = {}
        for name, declared in self._plan.root.parameters.items():
            if name in given:
                values[name] = given[name]
            elif declared.default is not MISSING:
                values[name] = declared.default
        return dict(whole(values))

    def _root_artifacts(self) -> dict[str, list[Json]]:
        result = {}
        for name, source in self._context.job.body.get("runtimeConfig", {}).get("inputArtifacts", {}).items():
            resource = self._context.place.metadata("artifacts", source.get("artifactId", ""))
            artifact = self._services.store.fact("artifacts", resource)
            if artifact is not None:
                result[name] = [artifact]
        return result
