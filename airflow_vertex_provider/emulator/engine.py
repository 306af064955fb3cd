"""Running pipeline jobs: a stored job in, its states, task entries, outputs and errors out.

One thread follows a job, one thread follows each task that runs. All they know is in the store, so an
emulator that was killed takes up every unfinished job where it stood: tasks that had ended keep their
results, the others run again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from airflow_vertex_provider.emulator.container_task import ContainerTask
from airflow_vertex_provider.emulator.custom_jobs import FINAL_STATES, CustomJobs
from airflow_vertex_provider.emulator.errors import FieldErrors
from airflow_vertex_provider.emulator.names import Place
from airflow_vertex_provider.emulator.records import Records, is_final
from airflow_vertex_provider.emulator.run_context import (
    Outcome,
    RunContext,
    TaskError,
    collect_inputs,
    resolve,
)
from airflow_vertex_provider.emulator.services import Services, StoppedError
from airflow_vertex_provider.emulator.spec import MISSING, Component, Dag, TaskSpec, read_spec
from airflow_vertex_provider.emulator.store import Resource, Task
from airflow_vertex_provider.states import (
    SUCCESSFUL_TASK_STATES,
    TERMINAL_PIPELINE_STATES,
    PipelineState,
    TaskState,
)

log = logging.getLogger(__name__)

Json = dict[str, Any]


class Engine:
    """Runs every unfinished job of a store.

    :param services: the emulator's shared parts.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self.custom_jobs = CustomJobs(services)
        self._runs: dict[int, JobRun] = {}
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def start(self) -> None:
        """Take up what an earlier life of the emulator left unfinished."""
        self.custom_jobs.end_leftovers()
        for job in self._services.store.all("pipelineJobs"):
            if PipelineState(job.body["state"]) not in TERMINAL_PIPELINE_STATES:
                self.submit(job)
        for job in self._services.store.all("customJobs"):
            if job.notes.get("owner") is None and job.body["state"] not in FINAL_STATES:
                self.submit_custom_job(job)

    def stop(self) -> None:
        """End every process and thread; the store keeps what was reached."""
        self._services.stopping.set()
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    def submit(self, job: Resource) -> None:
        """Begin to run a pipeline job."""
        run = JobRun(self._services, self.custom_jobs, job)
        with self._lock:
            self._runs[job.key] = run
        self._spawn(run.run, f"job {job.id}")

    def submit_custom_job(self, job: Resource) -> None:
        """Begin to run a custom job that a client created."""

        def run() -> None:
            try:
                self.custom_jobs.run_own(job)
            except StoppedError:
                log.debug("custom job %s left unfinished: the emulator stops", job.id)

        self._spawn(run, f"custom job {job.id}")

    def cancel(self, key: int) -> None:
        """Ask a pipeline job to end; its state is CANCELLING on return."""
        with self._lock:
            run = self._runs.get(key)
        with self._services.store.change(key) as job:
            if PipelineState(job.body["state"]) in TERMINAL_PIPELINE_STATES:
                return
            job.body["state"] = PipelineState.CANCELLING.value
            job.body["updateTime"] = self._services.clock.stamp()
        if run is not None and self._services.switches.cancel_outcome == "cancelled":
            run.cancel()

    def forget(self, key: int) -> None:
        """Give up the thread of a job that is being deleted, after it has ended what runs."""
        with self._lock:
            run = self._runs.pop(key, None)
        if run is not None:
            run.cancel()
            run.ended.wait()

    def _spawn(self, target: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        with self._lock:
            self._threads = [other for other in self._threads if other.is_alive()]
            self._threads.append(thread)
        thread.start()


@dataclass
class Scope:
    """A DAG that is being run.

    :param path: DAG keys that lead to it; :param unique: their names. :param parent: id of its entry.
    """

    dag: Dag
    path: str
    unique: str
    parent: int | None
    parameters: Json
    artifacts: dict[str, list[Json]]
    results: dict[str, Outcome] = field(default_factory=dict)

    def child(self, key: str) -> str:
        """Path of one of its tasks."""
        return f"{self.path}/{key}" if self.path else key


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
        self._fail_fast = threading.Event()
        self.ended = threading.Event()
        self._fast = (
            job.body.get("runtimeConfig", {}).get("failurePolicy") == "PIPELINE_FAILURE_POLICY_FAIL_FAST"
        )

    # The job

    def run(self) -> None:
        """Run the job; nothing that goes wrong leaves it without an end."""
        try:
            self._run()
        except StoppedError:
            log.debug("job %s left unfinished: the emulator stops", self._context.job.id)
        except Exception as error:
            log.exception("job %s: the emulator failed", self._context.job.id)
            self._finish(PipelineState.FAILED, {"code": 13, "message": f"The emulator failed: {error!r}"})
        finally:
            self.ended.set()

    def cancel(self) -> None:
        """End what runs and start nothing more."""
        for record in self._records.open():
            if record.body["state"] == TaskState.RUNNING:
                self._records.set_state(record, TaskState.CANCEL_PENDING)
        self._cancel.set()

    def _run(self) -> None:
        services, job = self._services, self._context.job
        if job.body["state"] == PipelineState.CANCELLING and services.switches.cancel_outcome == "cancelled":
            self.cancel()
        elif job.body["state"] == PipelineState.PENDING:
            self._context.wait(services.switches.pending_seconds)
            if not self._cancel.is_set():
                error = self._permission_error()
                if error:
                    self._finish(PipelineState.FAILED, error)
                    return
                self._set_state(PipelineState.RUNNING)
        if self._cancel.is_set() and self._records.existing("") is None:
            self._context.wait_cancelling()
            self._finish(PipelineState.CANCELLED, self._cancelled_error())
            return
        root = self._plan.root
        parameters = self._root_parameters()
        record = self._records.entry("", job.id, job.id, None)
        self._records.begin_execution(record, "system.Run", parameters)
        self._records.set_state(record, TaskState.RUNNING)
        task_id = int(record.body["taskId"])
        switches = services.switches
        scope = Scope(
            root.dag or Dag(),
            "",
            job.id if switches.unique_name_root == "with" else "",
            task_id if switches.top_level_parent == "root" else None,
            parameters,
            self._root_artifacts(),
        )
        if switches.task_entries == "at_start":
            self._make_entries(scope.dag, scope.path, scope.unique, scope.parent)
        outcome = self._run_dag(scope)
        self._end(record, outcome)

    def _end(self, root: Task, outcome: Outcome) -> None:
        services, job = self._services, self._context.job
        if outcome.state is TaskState.CANCELLED:
            self._records.set_state(root, TaskState.CANCELLING)
            self._context.wait_cancelling()
            self._records.set_state(root, TaskState.CANCELLED, self._cancelled_error())
            self._finish(PipelineState.CANCELLED, self._cancelled_error())
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

    def _cancelled_error(self) -> Json:
        return {
            "code": 1,
            "message": self._services.switches.text("CANCELLED", "The pipeline job was cancelled."),
        }

    def _permission_error(self) -> Json | None:
        """Return the error of a job that is accepted and then may not start (rule 12)."""
        faults, place = self._services.faults, self._context.place
        bucket = self._context.root_uri.removeprefix("gs://").partition("/")[0]
        prefix = "Failed to create pipeline job. Error:"
        if faults.denied("metadata", ""):
            return {
                "code": 7,
                "message": f"{prefix} Permission 'aiplatform.metadataStores.get' denied on resource "
                f"'//aiplatform.googleapis.com/{place.parent}/metadataStores/default' "
                "(or it may not exist)..",
            }
        if faults.denied("bucket", bucket):
            return {
                "code": int(self._services.switches.bucket_permission_code),
                "message": f"{prefix} Service account `{self._context.service_account}` does not have "
                "`[storage.objects.get, storage.objects.create]` IAM permission(s) to the bucket "
                f'"{bucket}".',
            }
        return None

    def _set_state(self, state: PipelineState) -> None:
        with self._services.store.change(self._key) as job:
            if PipelineState(job.body["state"]) is PipelineState.PENDING:
                job.body["state"] = state.value
            now = self._services.clock.stamp()
            job.body["startTime"] = job.body["updateTime"] = now

    def _finish(self, state: PipelineState, error: Json | None = None) -> None:
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
        return values

    def _root_artifacts(self) -> dict[str, list[Json]]:
        result = {}
        for name, source in self._context.job.body.get("runtimeConfig", {}).get("inputArtifacts", {}).items():
            resource = self._context.place.metadata("artifacts", source.get("artifactId", ""))
            artifact = self._services.store.fact("artifacts", resource)
            if artifact is not None:
                result[name] = [artifact]
        return result

    # DAGs

    def _make_entries(self, dag: Dag, path: str, unique: str, parent: int | None) -> None:
        for task in dag.tasks.values():
            record = self._entry(task, path, unique, parent)
            if task.component.dag:
                self._make_entries(
                    task.component.dag, record.path, record.body["taskUniqueName"], int(record.body["taskId"])
                )

    def _entry(self, task: TaskSpec, path: str, unique: str, parent: int | None) -> Task:
        return self._records.entry(
            f"{path}/{task.key}" if path else task.key,
            task.name if self._services.switches.task_name_source == "task_info" else task.key,
            f"{unique}.{task.name}" if unique else task.name,
            parent,
        )

    def _run_dag(self, scope: Scope) -> Outcome:
        """Run the tasks of a DAG, as many at once as their edges allow."""
        waiting = dict(scope.dag.tasks)
        ended: SimpleQueue[tuple[str, Outcome | BaseException]] = SimpleQueue()
        running = 0
        stopped: BaseException | None = None
        while waiting or running:
            moved = False
            for key, task in list(waiting.items()):
                state = TaskState.CANCELLED if stopped else self._decide(task, scope)
                if state is None:
                    continue
                moved = True
                del waiting[key]
                if state is TaskState.RUNNING:
                    running += 1
                    self._spawn(task, scope, ended)
                elif stopped is None:
                    scope.results[key] = self._leave_out(task, scope, state)
            if moved:
                continue
            key, result = ended.get()
            running -= 1
            if isinstance(result, BaseException):
                stopped = stopped or result
            else:
                scope.results[key] = result
        if stopped is not None:
            raise stopped
        return self._collect(scope)

    def _decide(self, task: TaskSpec, scope: Scope) -> TaskState | None:
        """Say what becomes of a task: RUNNING to start it, a final state to leave it out, None to wait.

        This is the one place that knows trigger rules; a task starts when all above it succeeded.
        """
        record = self._records.existing(scope.child(task.key))
        if record is not None and is_final(record):
            return TaskState.RUNNING  # ended in an earlier life of the emulator: the result is read again
        upstream = [scope.results.get(name) for name in task.upstream]
        if self._cancel.is_set():
            return TaskState(self._services.switches.cancelled_unstarted)
        if any(result is not None and result.state not in SUCCESSFUL_TASK_STATES for result in upstream):
            return TaskState.NOT_TRIGGERED
        if self._fail_fast.is_set():
            return TaskState(self._services.switches.fail_fast_unstarted)
        if any(result is None for result in upstream):
            return None
        return TaskState.RUNNING

    def _leave_out(self, task: TaskSpec, scope: Scope, state: TaskState) -> Outcome:
        record = self._entry(task, scope.path, scope.unique, scope.parent)
        self._records.set_state(
            record, state, self._cancelled_error() if state is TaskState.CANCELLED else None
        )
        if task.component.dag:
            inner = Scope(
                task.component.dag,
                record.path,
                record.body["taskUniqueName"],
                int(record.body["taskId"]),
                {},
                {},
            )
            for child in inner.dag.tasks.values():
                if self._records.existing(inner.child(child.key)) is not None:
                    self._leave_out(child, inner, state)
        return Outcome(state)

    def _collect(self, scope: Scope) -> Outcome:
        results = scope.results
        states = {result.state for result in results.values()}
        names = [
            scope.dag.tasks[key].name for key, result in results.items() if result.state is TaskState.FAILED
        ]
        leaves = [
            name
            for key, result in results.items()
            if result.state is TaskState.FAILED
            for name in (result.failed_leaves or [scope.dag.tasks[key].name])
        ]
        if self._cancel.is_set() and TaskState.CANCELLED in states:
            return Outcome(TaskState.CANCELLED)
        if TaskState.FAILED in states:
            return Outcome(TaskState.FAILED, failed=names, failed_leaves=leaves)
        if self._cancel.is_set() and not states <= SUCCESSFUL_TASK_STATES:
            return Outcome(TaskState.CANCELLED)
        parameters, artifacts = {}, {}
        for name, (task, key) in scope.dag.output_parameters.items():
            if key in results[task].parameters:
                parameters[name] = results[task].parameters[key]
        for name, (task, key) in scope.dag.output_artifacts.items():
            if key in results[task].artifacts:
                artifacts[name] = results[task].artifacts[key]
        return Outcome(TaskState.SUCCEEDED, parameters, artifacts)

    # Tasks

    def _spawn(
        self, task: TaskSpec, scope: Scope, ended: SimpleQueue[tuple[str, Outcome | BaseException]]
    ) -> None:
        def run() -> None:
            result: Outcome | BaseException
            try:
                result = self._run_task(task, scope)
            except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
                result = error
            ended.put((task.key, result))

        threading.Thread(target=run, name=f"task {task.name}", daemon=True).start()

    def _run_task(self, task: TaskSpec, scope: Scope) -> Outcome:
        record = self._entry(task, scope.path, scope.unique, scope.parent)
        if is_final(record):
            return _recorded(task.component, record)
        try:
            inputs = collect_inputs(self._context, task, scope.parameters, scope.artifacts, scope.results)
            if task.component.dag:
                nowhere: Json = {
                    "inputs": {"parameterValues": inputs.values},
                    "outputs": {"outputFile": ""},
                }
                parameters = resolve(self._context, task, record, inputs, nowhere, "/gcs/")
                outcome = self._run_nested(task.component, record, parameters, inputs.artifacts)
            else:
                outcome = ContainerTask(self._context, task, record, inputs).run()
        except TaskError as error:
            outcome = Outcome(TaskState.FAILED)
            self._records.set_state(record, TaskState.FAILED, error.status)
        if outcome.state is TaskState.FAILED and self._fast:
            self._fail_fast.set()
        return outcome

    def _run_nested(
        self, component: Component, record: Task, parameters: Json, artifacts: dict[str, list[Json]]
    ) -> Outcome:
        self._records.begin_execution(record, "system.DagExecution", parameters)
        self._records.set_input_artifacts(record, artifacts)
        self._records.set_state(record, TaskState.RUNNING)
        scope = Scope(
            component.dag or Dag(),
            record.path,
            record.body["taskUniqueName"],
            int(record.body["taskId"]),
            parameters,
            artifacts,
        )
        outcome = self._run_dag(scope)
        if outcome.state is TaskState.SUCCEEDED:
            self._records.set_outputs(record, outcome.parameters, outcome.artifacts)
        error: Json | None = None
        if outcome.state is TaskState.FAILED:
            error = {"code": 9, "message": dag_sentence(outcome.failed)}
        elif outcome.state is TaskState.CANCELLED:
            error = self._cancelled_error()
        self._records.note(record, failed=outcome.failed, failed_leaves=outcome.failed_leaves)
        self._records.set_state(record, outcome.state, error)
        return outcome


def dag_sentence(names: list[str]) -> str:
    """Return the sentence that tells which tasks of a DAG failed."""
    return f"The DAG failed because some tasks failed. The failed tasks are: [{', '.join(names)}]."


def _recorded(component: Component, record: Task) -> Outcome:
    """Return the outcome of a task that ended in an earlier life of the emulator."""
    outputs = record.notes.get("outputs", {})
    return Outcome(
        TaskState(record.body["state"]),
        outputs.get("parameters", {}),
        outputs.get("artifacts", {}),
        record.notes.get("failed", []),
        record.notes.get("failed_leaves", []) if component.dag else [],
    )
