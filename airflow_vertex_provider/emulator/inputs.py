"""A task's inputs: the DAG around it and results of earlier tasks in, input values and artifacts out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from airflow_vertex_provider.emulator.parameters import check_type, compact, parse_output, whole
from airflow_vertex_provider.emulator.placeholders import Placeholders, resolve_values
from airflow_vertex_provider.emulator.plan import MISSING, Dag, ParameterInput, TaskSpec, constant
from airflow_vertex_provider.emulator.run_context import Outcome, RunContext, TaskError
from airflow_vertex_provider.emulator.selectors import SelectorError
from airflow_vertex_provider.emulator.store import Task
from airflow_vertex_provider.states import TaskState

Json = dict[str, Any]


@dataclass
class Scope:
    """A DAG that is being run.

    :param path: DAG keys that lead to it; :param unique: their names. :param parent: id of its entry.
    :param depth: how many loops it is inside of.
    :param interrupted: a cancel came while an exit task of it ran.
    """

    context: RunContext
    dag: Dag
    path: str
    unique: str
    parent: int | None
    parameters: Json
    artifacts: dict[str, list[Json]]
    depth: int = 0
    results: dict[str, Outcome] = field(default_factory=dict)
    interrupted: bool = False

    def child(self, key: str) -> str:
        """Path of one of its tasks."""
        return f"{self.path}/{key}" if self.path else key

    def inside(
        self, record: Task, dag: Dag, parameters: Json, artifacts: dict[str, list[Json]], *, deeper: int = 0
    ) -> Scope:
        """Return the scope of a DAG that is a task of this one.

        :param record: the task's entry. :param deeper: 1 if the DAG is one iteration of a loop.
        """
        return Scope(
            self.context,
            dag,
            record.path,
            record.body["taskUniqueName"],
            int(record.body["taskId"]),
            parameters,
            artifacts,
            self.depth + deeper,
        )


@dataclass
class Inputs:
    """A task's inputs before placeholders inside them are resolved.

    :param resolvable: names of the values whose placeholders are to be resolved.
    """

    values: Json
    artifacts: dict[str, list[Json]]
    resolvable: frozenset[str]


def collect_inputs(scope: Scope, task: TaskSpec) -> Inputs:
    """Return a task's input parameters and artifacts; a loop's item is not among them.

    :param scope: the DAG that the task is in. What a task above it did not make takes its default.
    :raises TaskError: an input is missing.
    """
    component = task.component
    values: Json = {}
    written: set[str] = set()  # values that stand in the spec itself
    for name in sorted({**component.parameters, **task.parameters}):
        source = task.parameters.get(name)
        declared = component.parameters.get(name)
        found: Any = MISSING
        if name == task.item:
            continue
        if source is not None:
            found = _parameter(source, scope)
            if name in task.selectors and found is not MISSING:
                found = _selected(task, name, declared, found)
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
    which = scope.context.services.switches.placeholders_in_values
    names = {"all": set(values), "constants": written & set(values), "none": set[str]()}[which]
    inputs: dict[str, list[Json]] = {}
    for name, source in task.artifacts.items():
        items = _artifact(source, scope)
        described = component.artifacts.get(name, {})
        if items is not None and (described.get("isArtifactList") or len(items) == 1):
            inputs[name] = items
        elif items is not None:
            raise TaskError(
                3, f"Input artifact {name!r} of task {task.name!r}: found {len(items)}, allowed: one."
            )
        elif not described.get("isOptional"):
            raise TaskError(3, f"Input artifact {name!r} of task {task.name!r} does not exist.")
    return Inputs(whole(values), inputs, frozenset(names))


def resolve(
    context: RunContext, task: TaskSpec, record: Task, inputs: Inputs, executor_input: Json, mount: str
) -> Json:
    """Return the input values with the placeholders inside them resolved, each of its declared type.

    :param executor_input: what ``{{$}}`` inside a value shows: the input with unresolved values.
    :raises TaskError: a value is not of its declared type.
    """
    known = Placeholders(executor_input, context.variables(record), context.unset(task.component), mount)
    values = resolve_values(inputs.values, known, inputs.resolvable)
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


def _parameter(source: Json, scope: Scope) -> Any:
    if "taskOutputParameter" in source:
        wanted = source["taskOutputParameter"]
        return scope.results[wanted["producerTask"]].parameters.get(wanted["outputParameterKey"], MISSING)
    if "componentInputParameter" in source:
        return scope.parameters.get(source["componentInputParameter"], MISSING)
    if "taskFinalStatus" in source:
        return final_status(scope, source["taskFinalStatus"]["producerTask"])
    return constant(source)


def _selected(task: TaskSpec, name: str, declared: ParameterInput | None, value: Any) -> Any:
    try:
        part = task.selectors[name].select(value)
    except SelectorError as error:
        raise TaskError(3, f"Input parameter {name!r} of task {task.name!r}: {error}.") from error
    if part is None:
        return MISSING
    # A field of an item has no type of its own, and kfp takes every one for a text.
    if declared is not None and declared.kind == "STRING" and not isinstance(part, str):
        return compact(whole(part))
    return part


def final_status(scope: Scope, task: str) -> Json:
    """Return how a task ended, in the form that an exit task reads (vertex-observed section 4)."""
    record = scope.context.records.existing(scope.child(task))
    body = record.body if record is not None else {}
    state = TaskState(body.get("state", TaskState.NOT_TRIGGERED))
    status: Json = {
        "pipelineJobResourceName": scope.context.job.body["name"],
        "pipelineTaskName": scope.dag.tasks[task].name,
        # From the cache is a success; a task's reader knows three states (kfp's PipelineTaskFinalStatus).
        "state": (TaskState.SUCCEEDED if state is TaskState.SKIPPED else state).value,
    }
    if body.get("error"):
        status["error"] = dict(body["error"])
    return status


def _artifact(source: Json, scope: Scope) -> list[Json] | None:
    if "taskOutputArtifact" in source:
        wanted = source["taskOutputArtifact"]
        return scope.results[wanted["producerTask"]].artifacts.get(wanted["outputArtifactKey"])
    return scope.artifacts.get(source["componentInputArtifact"])
