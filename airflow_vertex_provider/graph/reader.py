"""Read a closed task group: Airflow's group in, the neutral graph and what feeds its parameters out.

Runs at parse. All problems of a group are found in one pass and raised together. Edges that pass through a
member that runs nothing (an EmptyOperator) join its neighbours, so no machine is started for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow.sdk import TaskGroup
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.definitions.taskgroup import MappedTaskGroup

from airflow_vertex_provider import checks
from airflow_vertex_provider.exceptions import Problem, VertexGroupError, VertexSettingsError
from airflow_vertex_provider.graph import naming
from airflow_vertex_provider.graph.converters import class_name, converter_for, supported
from airflow_vertex_provider.graph.converters.base import Conversion
from airflow_vertex_provider.graph.model import (
    RETURN_OUTPUT,
    TEXT_OUTPUT,
    FromOutput,
    Graph,
    Task,
    TaskKind,
)
from airflow_vertex_provider.graph.templates import environment_of, environment_problems, setting_problems
from airflow_vertex_provider.graph.validation import member_problems, retry_of, timeout_of
from airflow_vertex_provider.graph.values import ParameterTable, Values
from airflow_vertex_provider.settings import PipelineSettings, merge_task_settings, task_level


@dataclass(frozen=True)
class Reading:
    """What a group holds.

    :param graph: the neutral graph.
    :param parameters: run parameter name to the XComArg or template that the submit task renders.
    :param context_parameters: run parameter name to the key of Airflow's context.
    :param members: operators that become mirrors, in the author's order.
    :param bystanders: operators that stay what they are, because they run nothing.
    """

    graph: Graph
    parameters: Mapping[str, Any]
    context_parameters: Mapping[str, str]
    members: tuple[Any, ...]
    bystanders: tuple[Any, ...]

    def leaves(self) -> dict[str, str]:
        """Map Airflow task id to Vertex name, for the tasks that no other task of the pipeline follows."""
        followed = {upstream for task in self.graph.tasks for upstream in task.upstream}
        return {task.id: task.name for task in self.graph.tasks if task.id not in followed}


def read_group(group: TaskGroup, group_level: Mapping[str, Any], pipeline: PipelineSettings) -> Reading:
    """Read a group whose ``with`` block has ended.

    :param group: the group.
    :param group_level: the group's task settings, see :func:`~airflow_vertex_provider.settings.task_level`.
    :param pipeline: the group's job settings.
    :raises VertexGroupError: something in the group cannot be carried; names all of it.
    """
    group_id = str(group.group_id)
    problems: list[Problem] = list(_structure_problems(group))
    operators = {task.task_id: task for task in group.iter_tasks()}
    problems.extend(Problem(group_id, *problem) for problem in environment_problems(group.dag))
    environment = environment_of(group.dag)
    for level in (pipeline.to_dict(), group_level):
        problems.extend(
            Problem(group_id, *problem) for problem in setting_problems("", level, operators, environment)
        )

    conversions: dict[str, Conversion] = {}
    values: dict[str, Values] = {}
    table = ParameterTable()
    silent: set[str] = set()
    usable = {}
    for task_id, operator in operators.items():
        converter = None if isinstance(operator, MappedOperator) else converter_for(operator)
        if converter is None:
            found = "a mapped task" if isinstance(operator, MappedOperator) else class_name(operator)
            problems.append(Problem(task_id, "operator", found, supported()))
        else:
            usable[task_id] = (operator, converter)
            if not converter.LEAVES_VALUE:
                silent.add(task_id)
    for task_id, (operator, converter) in usable.items():
        problems.extend(member_problems(operator))
        reader = Values(operator, operators, silent, table)
        conversions[task_id] = converter.convert(operator, reader)
        values[task_id] = reader
        problems.extend(reader.problems)

    for task_id, conversion in conversions.items():
        if conversion.kind is None:
            problems.extend(_bystander_problems(operators[task_id]))
    running = {task_id: item.kind for task_id, item in conversions.items() if item.kind is not None}
    if not running and not problems:
        problems.append(
            Problem(group_id, "members", "no task that runs anything", "at least one of " + supported())
        )
    names = naming.vertex_names(list(running), prefix=f"{group_id}.")
    text_outputs = {
        source.task
        for reader in values.values()
        for source in reader.inputs.values()
        if isinstance(source, FromOutput) and source.output == TEXT_OUTPUT
    }
    tasks = []
    for task_id, kind in running.items():
        task, found_problems = _task(
            operators[task_id],
            names[task_id],
            kind,
            conversions[task_id],
            values[task_id],
            upstream=_upstream(task_id, operators, conversions),
            outputs=_outputs(task_id in silent, task_id in text_outputs),
            group_level=group_level,
            pipeline=pipeline,
        )
        tasks.append(task)
        problems.extend(found_problems)
        problems.extend(
            Problem(task_id, *problem)
            for problem in setting_problems("", task.settings, operators, environment)
        )
    if problems:
        raise VertexGroupError(group.dag.dag_id, group_id, problems)
    return Reading(
        graph=Graph(
            dag_id=group.dag.dag_id,
            group_id=group_id,
            name=naming.pipeline_name(group.dag.dag_id, group_id),
            tasks=tuple(tasks),
            parameters=tuple(table.parameters),
        ),
        parameters=table.values,
        context_parameters=table.context,
        members=tuple(operators[task_id] for task_id in running),
        bystanders=tuple(operators[task_id] for task_id in operators if task_id not in running),
    )


def _structure_problems(group: TaskGroup) -> Iterator[Problem]:
    for ancestor in _ancestors(group):
        if isinstance(ancestor, MappedTaskGroup):
            yield Problem(
                str(group.group_id), "parent", "a mapped task group", "a task group that is not mapped"
            )
        if isinstance(ancestor, type(group)):
            yield Problem(str(group.group_id), "parent", "another Vertex task group", "no nesting of the two")
    pending = list(group.children.values())
    while pending:
        child = pending.pop()
        if isinstance(child, MappedTaskGroup):
            yield Problem(
                str(child.group_id), "expand", "a mapped task group", "a task group that is not mapped"
            )
        if isinstance(child, TaskGroup):
            pending.extend(child.children.values())


def _ancestors(group: TaskGroup) -> Iterator[TaskGroup]:
    parent = group.parent_group
    while parent is not None:
        yield parent
        parent = parent.parent_group


def _upstream(
    task_id: str, operators: Mapping[str, Any], conversions: Mapping[str, Conversion]
) -> tuple[str, ...]:
    """Return the running members directly above a task, through those that run nothing."""
    found: dict[str, None] = {}
    seen: set[str] = set()
    pending = sorted(operators[task_id].upstream_task_ids)
    while pending:
        above = pending.pop(0)
        if above in seen or above not in conversions:
            continue
        seen.add(above)
        if conversions[above].kind is None:
            pending.extend(sorted(operators[above].upstream_task_ids))
        else:
            found[above] = None
    return tuple(sorted(found))


def _task(
    operator: Any,
    name: str,
    kind: TaskKind,
    conversion: Conversion,
    values: Values,
    *,
    upstream: tuple[str, ...],
    outputs: tuple[str, ...],
    group_level: Mapping[str, Any],
    pipeline: PipelineSettings,
) -> tuple[Task, list[Problem]]:
    retry, problems = retry_of(operator)
    timeout = timeout_of(operator)
    settings: Mapping[str, Any] = {}
    try:
        settings = task_level({**author_settings(operator), **conversion.settings})
        merged = merge_task_settings([settings, group_level], pipeline)
    except VertexSettingsError as error:
        problems.append(error.as_problem(operator.task_id))
    else:
        problems.extend(_timeout_problems(operator.task_id, timeout, merged.custom_job))
        if kind is TaskKind.CONTAINER and "image" not in {**group_level, **settings}:
            problems.append(
                Problem(operator.task_id, "image", "none", "an image, of the operator or of the group")
            )
        if kind is TaskKind.CONTAINER and merged.packages and settings.get("packages"):
            problems.append(
                Problem(
                    operator.task_id, "packages", repr(list(merged.packages)), "none: the image has its own"
                )
            )
    task = Task(
        id=operator.task_id,
        name=name,
        kind=kind,
        payload=conversion.payload,
        inputs=values.inputs,
        outputs=outputs,
        upstream=upstream,
        settings=settings,
        retry=retry,
        timeout=timeout,
    )
    return task, problems


def _bystander_problems(operator: Any) -> Iterator[Problem]:
    """Refuse settings of a member that runs nothing, except those that ``default_args`` give to all."""
    try:
        settings = task_level(author_settings(operator))
    except VertexSettingsError as error:
        yield error.as_problem(operator.task_id)
        return
    givers = [operator.dag, operator.task_group, *_ancestors(operator.task_group)]
    inherited = [(giver.default_args or {}).get("executor_config") for giver in givers]
    if settings and operator.executor_config not in inherited:
        yield Problem(
            operator.task_id,
            'executor_config["vertex"]',
            repr(settings),
            "none: this task runs nothing in Vertex AI",
        )


def _outputs(silent: bool, text: bool) -> tuple[str, ...]:
    if silent:
        return ()
    return (RETURN_OUTPUT, TEXT_OUTPUT) if text else (RETURN_OUTPUT,)


def _timeout_problems(task_id: str, timeout: float | None, custom_job: Any) -> Iterator[Problem]:
    if timeout is None:
        return
    if custom_job is None:
        yield Problem(
            task_id,
            "execution_timeout",
            f"{timeout:g} s on a plain pipeline task",
            "None, or a custom_job for this task: only that can be stopped after a time (L15)",
        )
        return
    try:
        as_written = checks.duration("execution_timeout", timeout)
    except VertexSettingsError as error:
        yield Problem(task_id, "execution_timeout", f"{timeout:g} s", error.allowed)
        return
    if custom_job.timeout not in (None, as_written):
        yield Problem(
            task_id,
            "execution_timeout",
            f"{timeout:g} s beside custom_job.timeout {custom_job.timeout}",
            "one of the two",
        )


def author_settings(operator: Any) -> Mapping[str, Any]:
    """Return a member's ``executor_config["vertex"]``.

    :raises VertexSettingsError: one of the two is not a dict.
    """
    config = operator.executor_config or {}
    if not isinstance(config, Mapping):
        raise VertexSettingsError("executor_config", config, 'a dict such as {"vertex": {...}}')
    settings = config.get("vertex", {})
    if not isinstance(settings, Mapping):
        raise VertexSettingsError('executor_config["vertex"]', settings, "a dict")
    return settings
