"""Running a DAG: its tasks and inputs in, their task entries and the DAG's outcome out.

A thread waits for the DAG, another one runs each task. Which task starts when is decided in one place,
:meth:`DagRunner.decide`; a task that is itself a pipeline is run by the same code, one level down.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from airflow_vertex_provider.emulator import output_folder
from airflow_vertex_provider.emulator.container_task import ContainerTask
from airflow_vertex_provider.emulator.executor_input import VERTEX_MOUNT
from airflow_vertex_provider.emulator.records import is_final
from airflow_vertex_provider.emulator.run_context import (
    Outcome,
    RunContext,
    TaskError,
    collect_inputs,
    resolve,
)
from airflow_vertex_provider.emulator.services import StoppedError
from airflow_vertex_provider.emulator.spec import Component, Dag, TaskSpec
from airflow_vertex_provider.emulator.store import Task
from airflow_vertex_provider.states import SUCCESSFUL_TASK_STATES, TaskState

log = logging.getLogger(__name__)

Json = dict[str, Any]


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


class DagRunner:
    """Runs the DAGs of one job.

    :param context: what the tasks of the job share.
    :param fast: the job's failure policy is FAIL_FAST.
    """

    def __init__(self, context: RunContext, *, fast: bool) -> None:
        self._context = context
        self._services = context.services
        self._records = context.records
        self._cancel = context.cancel
        self._fast = fast
        self._fail_fast = threading.Event()

    def make_entries(self, dag: Dag, path: str, unique: str, parent: int | None) -> None:
        """Make the entries of all tasks, PENDING, before any of them starts."""
        for task in dag.tasks.values():
            record = self._entry(task, path, unique, parent)
            if task.component.dag:
                self.make_entries(
                    task.component.dag, record.path, record.body["taskUniqueName"], int(record.body["taskId"])
                )

    def _entry(self, task: TaskSpec, path: str, unique: str, parent: int | None) -> Task:
        return self._records.entry(
            f"{path}/{task.key}" if path else task.key,
            task.name if self._services.switches.task_name_source == "task_info" else task.key,
            f"{unique}.{task.name}" if unique else task.name,
            parent,
        )

    def run(self, scope: Scope) -> Outcome:
        """Run the tasks of a DAG, as many at once as their edges allow."""
        waiting = dict(scope.dag.tasks)
        ended: SimpleQueue[tuple[str, Outcome | BaseException]] = SimpleQueue()
        running = 0
        stopped: BaseException | None = None
        while waiting or running:
            moved = False
            for key, task in list(waiting.items()):
                state = TaskState.CANCELLED if stopped else self.decide(task, scope)
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

    def decide(self, task: TaskSpec, scope: Scope) -> TaskState | None:
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
        if state is TaskState.CANCELLED and task.component.container is not None:
            # It may have run in an earlier life of the emulator.
            output_folder.cancel_named(self._context, output_folder.uri(self._context, task, record))
        self._records.set_state(
            record, state, self._context.cancelled_error() if state is TaskState.CANCELLED else None
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
                parameters = resolve(self._context, task, record, inputs, nowhere, VERTEX_MOUNT)
                outcome = self._run_nested(task.component, record, parameters, inputs.artifacts)
            else:
                outcome = ContainerTask(self._context, task, record, inputs).run()
        except TaskError as error:
            outcome = Outcome(TaskState.FAILED)
            self._records.set_state(record, TaskState.FAILED, error.status)
        except StoppedError:
            raise
        except Exception as error:
            # Whatever one task's container did, the others and the job itself go on to an end of their own.
            log.exception("task %s of job %s: the emulator failed", task.name, self._context.job.id)
            outcome = Outcome(TaskState.FAILED)
            status = {"code": 13, "message": f"The emulator failed: {error!r}"}
            self._records.set_state(record, TaskState.FAILED, status)
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
        outcome = self.run(scope)
        if outcome.state is TaskState.SUCCEEDED:
            self._records.set_outputs(record, outcome.parameters, outcome.artifacts)
        error: Json | None = None
        if outcome.state is TaskState.FAILED:
            error = {"code": 9, "message": dag_sentence(outcome.failed)}
        elif outcome.state is TaskState.CANCELLED:
            error = self._context.cancelled_error()
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
