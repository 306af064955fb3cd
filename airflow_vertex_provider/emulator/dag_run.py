"""Running a DAG: its tasks and inputs in, their task entries and the DAG's outcome out.

A thread waits for the DAG, another one runs each task. Which task starts when is decided in one place,
:meth:`DagRunner.decide`; a task that is itself a pipeline is run by the same code, one level down, and so
is each iteration of a loop.
"""

from __future__ import annotations

import logging
import threading
from queue import SimpleQueue
from typing import Any, NamedTuple

from airflow_vertex_provider.emulator import dag_outputs, output_folder
from airflow_vertex_provider.emulator.conditions import ConditionError
from airflow_vertex_provider.emulator.container_task import ContainerTask
from airflow_vertex_provider.emulator.executor_input import VERTEX_MOUNT
from airflow_vertex_provider.emulator.importer_task import import_artifact
from airflow_vertex_provider.emulator.inputs import Inputs, Scope, collect_inputs, resolve
from airflow_vertex_provider.emulator.loops import LoopRun
from airflow_vertex_provider.emulator.plan import TaskSpec
from airflow_vertex_provider.emulator.records import is_final
from airflow_vertex_provider.emulator.run_context import Outcome, RunContext, TaskError, recorded
from airflow_vertex_provider.emulator.services import StoppedError
from airflow_vertex_provider.emulator.store import Task
from airflow_vertex_provider.states import SUCCESSFUL_TASK_STATES, TaskState

log = logging.getLogger(__name__)

Json = dict[str, Any]


class Decision(NamedTuple):
    """What becomes of a task.

    :param state: RUNNING to start it, or the final state of a task that is left out.
    :param cut: it is left out because the job was cancelled, or by FAIL_FAST.
    """

    state: TaskState
    cut: bool = False


class DagRunner:
    """Runs the DAGs of one job.

    :param context: what the tasks of the job share.
    :param fast: the job's failure policy is FAIL_FAST.
    """

    def __init__(self, context: RunContext, *, fast: bool) -> None:
        self._services = context.services
        self._records = context.records
        self._fast = fast
        self._fail_fast = threading.Event()
        if fast and self._records.any_failed():
            self._fail_fast.set()  # in an earlier life of the emulator

    def make_entries(self, scope: Scope) -> None:
        """Make the entries of all tasks, PENDING, before any of them starts.

        Those inside a loop come when its items are known.
        """
        for task in scope.dag.tasks.values():
            record = self._entry(task, scope)
            if task.component.dag and task.loop is None:
                self.make_entries(scope.inside(record, task.component.dag, {}, {}))

    def _entry(self, task: TaskSpec, scope: Scope) -> Task:
        return self._records.entry(
            scope.child(task.key),
            task.name if self._services.switches.task_name_source == "task_info" else task.key,
            f"{scope.unique}.{task.name}" if scope.unique else task.name,
            scope.parent,
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
                decision = Decision(TaskState.CANCELLED) if stopped else self.decide(task, scope)
                if decision is None:
                    continue
                moved = True
                del waiting[key]
                if decision.state is TaskState.RUNNING:
                    running += 1
                    self._spawn(task, scope, ended)
                elif stopped is None:
                    self._leave_out(task, scope, decision)
                    scope.results[key] = Outcome(decision.state, cut=decision.cut)
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

    # What starts when

    def decide(self, task: TaskSpec, scope: Scope) -> Decision | None:
        """Say what becomes of a task; None to wait.

        This is the one place that knows trigger rules. A task starts when all above it succeeded, or, if
        its strategy says so, when all above it ended; its condition is asked then. A task above that was
        not triggered has ended and has not succeeded.
        """
        upstream = [scope.results.get(name) for name in task.upstream]
        ready = all(result is not None for result in upstream)
        record = self._records.existing(scope.child(task.key))
        if record is not None and is_final(record):
            return Decision(TaskState.RUNNING)  # ended in an earlier life of the emulator: read again
        if record is not None and task.component.dag and record.body["state"] != TaskState.PENDING:
            return Decision(TaskState.RUNNING) if ready else None  # begun then: what is inside decides
        context = self._context_of(task, scope)
        held_back = self.held_back(context)
        if held_back and context.cancel.is_set():
            return held_back
        if not task.completed and any(
            result is not None and result.state not in SUCCESSFUL_TASK_STATES for result in upstream
        ):
            return Decision(TaskState.NOT_TRIGGERED)
        if held_back:
            return held_back
        if not ready:
            return None
        return Decision(TaskState.RUNNING if self._triggered(task, scope) else TaskState.NOT_TRIGGERED)

    def held_back(self, context: RunContext) -> Decision | None:
        """Say what becomes of all that has not started, if nothing more is to start."""
        switches = self._services.switches
        if context.cancel.is_set():
            return Decision(TaskState(switches.cancelled_unstarted), cut=True)
        if self._fail_fast.is_set() and not context.exits:
            return Decision(TaskState(switches.fail_fast_unstarted), cut=True)
        return None

    def _context_of(self, task: TaskSpec, scope: Scope) -> RunContext:
        return scope.context.for_exit_task() if task.exits else scope.context

    def _triggered(self, task: TaskSpec, scope: Scope) -> bool:
        """Ask a task's condition. One that cannot be asked starts the task, which then fails for it."""
        if task.condition is None:
            return True
        record = self._entry(task, scope)
        try:
            inputs = collect_inputs(scope, task)
            return self._holds(task, self._parameters(task, scope, record, inputs))
        except TaskError:
            return True

    def _holds(self, task: TaskSpec, parameters: Json) -> bool:
        if task.condition is None:
            return True
        try:
            return task.condition.holds(parameters)
        except ConditionError as error:
            message = f"Task {task.name!r}: condition {task.condition.text}: {error}."
            raise TaskError(3, self._services.switches.text("INVALID_ARGUMENT", message)) from error

    def _parameters(self, task: TaskSpec, scope: Scope, record: Task, inputs: Inputs) -> Json:
        nowhere: Json = {"inputs": {"parameterValues": inputs.values}, "outputs": {"outputFile": ""}}
        return resolve(scope.context, task, record, inputs, nowhere, VERTEX_MOUNT)

    # What is left out

    def _leave_out(self, task: TaskSpec, scope: Scope, decision: Decision) -> None:
        record = self._entry(task, scope)
        if decision.state is TaskState.CANCELLED and task.component.container is not None:
            # It may have run in an earlier life of the emulator.
            output_folder.cancel_named(scope.context, output_folder.uri(scope.context, task, record))
        if task.component.dag and task.loop is None:
            self.leave_out(record, scope.inside(record, task.component.dag, {}, {}), decision)
        else:
            self._close(record, scope.context, decision)

    def leave_out(self, record: Task, inner: Scope, decision: Decision) -> None:
        """Give a DAG that does not run its final state, and all that is inside it.

        :param record: its entry. :param inner: its scope.
        """
        self._close(record, inner.context, decision)
        for child in inner.dag.tasks.values():
            if self._records.existing(inner.child(child.key)) is not None:
                self._leave_out(child, inner, decision)

    def _close(self, record: Task, context: RunContext, decision: Decision) -> None:
        if decision.cut:
            self._records.note(record, cut=True)
        error = context.cancelled_error() if decision.state is TaskState.CANCELLED else None
        self._records.set_state(record, decision.state, error)

    # How a DAG ends

    def _collect(self, scope: Scope) -> Outcome:
        results, switches = scope.results, self._services.switches
        forgiven = scope.dag.forgiven() if switches.ignored_failure == "forgiven" else set()
        failed = [
            key for key, result in results.items() if result.state is TaskState.FAILED and key not in forgiven
        ]
        cancelled = scope.context.cancel.is_set()
        cut = any(result.cut for result in results.values())
        outcome = Outcome(TaskState.SUCCEEDED, cut=cut)
        if cancelled and (
            scope.interrupted or any(result.state is TaskState.CANCELLED for result in results.values())
        ):
            outcome.state = TaskState.CANCELLED
        elif failed:
            outcome.state = TaskState.FAILED
            outcome.failed = [scope.dag.tasks[key].name for key in failed]
            outcome.failed_leaves = [
                name for key in failed for name in (results[key].failed_leaves or [scope.dag.tasks[key].name])
            ]
        elif cut:
            outcome.state = TaskState.CANCELLED if cancelled else TaskState(switches.fail_fast_cut_dag)
        if outcome.state is TaskState.SUCCEEDED or switches.failed_dag_outputs == "made":
            outcome.parameters, outcome.artifacts = dag_outputs.of_dag(scope)
        return outcome

    # Tasks

    def _spawn(
        self, task: TaskSpec, scope: Scope, ended: SimpleQueue[tuple[str, Outcome | BaseException]]
    ) -> None:
        def run() -> None:
            result: Outcome | BaseException
            try:
                result = self._run_task(task, scope)
                if task.exits and scope.context.cancel.is_set():
                    scope.interrupted = True
            except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
                result = error
            ended.put((task.key, result))

        threading.Thread(target=run, name=f"task {task.name}", daemon=True).start()

    def _run_task(self, task: TaskSpec, scope: Scope) -> Outcome:
        record = self._entry(task, scope)
        if is_final(record):
            return recorded(record)
        context = self._context_of(task, scope)
        if context.cancel is not scope.context.cancel:
            self._records.shield(record)
        try:
            outcome = self._execute(task, scope, record, context)
        except TaskError as error:
            outcome = Outcome(TaskState.FAILED)
            self._records.set_state(record, TaskState.FAILED, error.status)
        except StoppedError:
            raise
        except Exception as error:
            # Whatever one task's container did, the others and the job itself go on to an end of their own.
            log.exception("task %s of job %s: the emulator failed", task.name, context.job.id)
            outcome = Outcome(TaskState.FAILED)
            status = {"code": 13, "message": f"The emulator failed: {error!r}"}
            self._records.set_state(record, TaskState.FAILED, status)
        if outcome.state is TaskState.FAILED and self._fast:
            self._fail_fast.set()
        return outcome

    def _execute(self, task: TaskSpec, scope: Scope, record: Task, context: RunContext) -> Outcome:
        """Run one task by its kind."""
        inputs = collect_inputs(scope, task)
        if task.component.dag is None and task.condition is None and task.component.importer is None:
            return ContainerTask(context, task, record, inputs).run()
        parameters = self._parameters(task, scope, record, inputs)
        self._holds(task, parameters)
        if task.component.importer is not None:
            return import_artifact(context, task, record, parameters)
        if task.component.dag is None:
            return ContainerTask(context, task, record, inputs).run()
        inner = scope.inside(record, task.component.dag, parameters, inputs.artifacts)
        inner.context = context
        if task.loop is None:
            return self.run_dag(record, inner)
        self._begin(record, inner)
        return self.end_dag(record, LoopRun(self, task, task.loop, inner).run(), context)

    def run_dag(self, record: Task, inner: Scope) -> Outcome:
        """Run a DAG that has an entry of its own: a pipeline within a pipeline, a group, an iteration."""
        self._begin(record, inner)
        return self.end_dag(record, self.run(inner), inner.context)

    def _begin(self, record: Task, inner: Scope) -> None:
        self._records.begin_execution(record, "system.DagExecution", inner.parameters)
        self._records.set_input_artifacts(record, inner.artifacts)
        if record.body["state"] == TaskState.PENDING:
            self._records.set_state(record, TaskState.RUNNING)

    def end_dag(self, record: Task, outcome: Outcome, context: RunContext) -> Outcome:
        """Write down how a DAG ended."""
        if outcome.state is TaskState.SUCCEEDED or outcome.parameters or outcome.artifacts:
            self._records.set_outputs(record, outcome.parameters, outcome.artifacts)
        error: Json | None = None
        if outcome.state is TaskState.FAILED:
            error = {"code": 9, "message": dag_sentence(outcome.failed)}
        elif outcome.state is TaskState.CANCELLED and context.cancel.is_set():
            error = context.cancelled_error()
        self._records.note(
            record, failed=outcome.failed, failed_leaves=outcome.failed_leaves, cut=outcome.cut
        )
        self._records.set_state(record, outcome.state, error)
        return outcome


def dag_sentence(names: list[str]) -> str:
    """Return the sentence that tells which tasks of a DAG failed."""
    return f"The DAG failed because some tasks failed. The failed tasks are: [{', '.join(names)}]."
