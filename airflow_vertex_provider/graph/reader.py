"""Read a closed task group: Airflow's group in, the neutral graph and what feeds its parameters out.

Runs at parse. All problems of a group are found in one pass and raised together. The order: arguments of each
member, then edges and rules, then skips, then loops, whose gates depend on the rules.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.definitions.taskgroup import MappedTaskGroup

from airflow_vertex_provider import checks
from airflow_vertex_provider.exceptions import Problem, VertexGroupError, VertexSettingsError
from airflow_vertex_provider.graph import mapping, naming
from airflow_vertex_provider.graph.control import Control
from airflow_vertex_provider.graph.converters import class_name, converter_for, supported
from airflow_vertex_provider.graph.converters.base import Conversion, Converter
from airflow_vertex_provider.graph.loops import add_loops
from airflow_vertex_provider.graph.model import (
    RETURN_OUTPUT,
    TEXT_OUTPUT,
    TYPED_PREFIX,
    FromOutput,
    Graph,
    Task,
    TaskKind,
)
from airflow_vertex_provider.graph.refusals import Refusals
from airflow_vertex_provider.graph.skips import branch_ids, read_follows, rule_of
from airflow_vertex_provider.graph.templates import environment_of, environment_problems, setting_problems
from airflow_vertex_provider.graph.validation import display_of, member_problems, retry_of, timeout_of
from airflow_vertex_provider.graph.values import ParameterTable, Values
from airflow_vertex_provider.settings import PipelineSettings, merge_task_settings, task_level

if TYPE_CHECKING:
    from airflow.sdk import TaskGroup


@dataclass(frozen=True)
class Reading:
    """What a group holds.

    :param graph: the neutral graph.
    :param parameters: run parameter name to the XComArg or template that the submit task renders.
    :param context_parameters: run parameter name to the key of Airflow's context.
    :param members: operators that become mirrors, in the author's order; some may be mapped.
    :param bystanders: operators that stay what they are, because they run nothing.
    :param skippers: id of a member that decides about those below it to how it does, see
        :class:`~airflow_vertex_provider.graph.converters.base.Conversion`.
    """

    graph: Graph
    parameters: Mapping[str, Any]
    context_parameters: Mapping[str, str]
    members: tuple[Any, ...]
    bystanders: tuple[Any, ...]
    skippers: Mapping[str, str]


@dataclass
class _Member:
    """One member while it is read.

    :param operator: as the author made it. :param shown: what a converter is shown: itself, or the prototype
        of a mapped one.
    """

    operator: Any
    shown: Any
    converter: Converter
    part: mapping.MappedPart | None
    values: Values
    conversion: Conversion


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

    table = ParameterTable()
    parts = mapping.mapped_parts(group, operators)
    members, found = _read_members(operators, parts, table)
    problems.extend(found)
    running = [task_id for task_id, member in members.items() if member.conversion.kind is not None]
    if not running and not problems:
        problems.append(
            Problem(group_id, "members", "no task that runs anything", "at least one of " + supported())
        )
    # A loop may need a gate; its name is taken whether it is needed or not, so that rules do not rename it.
    gates = {part.id: f"{part.id}-items" for part in parts.values()}
    names = naming.vertex_names([*running, *gates.values()], prefix=f"{group_id}.")
    tasks: dict[str, Task] = {}
    for task_id, member in members.items():
        task, found = _task(member, names.get(task_id, ""), members, group_level, pipeline)
        tasks[task_id] = task
        problems.extend(found)
        problems.extend(
            Problem(task_id, *problem)
            for problem in setting_problems("", task.settings, operators, environment)
        )
    tasks = _with_titles(members, _with_asked_outputs(tasks))
    tasks, found = _with_skips(group, members, tasks)
    problems.extend(found)
    skippers = {
        task_id: member.conversion.skipper for task_id, member in members.items() if member.conversion.skipper
    }
    result = add_loops(
        tasks,
        parts,
        {part: names[gate] for part, gate in gates.items()},
        mapping.Members(operators, _silent(members), table),
    )
    problems.extend(result.problems)
    graph = Graph(
        dag_id=group.dag.dag_id,
        group_id=group_id,
        name=naming.pipeline_name(group.dag.dag_id, group_id),
        tasks=tuple(result.tasks.values()),
        parameters=tuple(table.parameters),
        loops=tuple(result.loops),
        description=_description(group, result.tasks.values()),
    )
    if len(members) == len(operators):  # else the graph has holes, which are problems already
        problems.extend(_rule_problems(graph, pipeline))
    if problems:
        raise VertexGroupError(group.dag.dag_id, group_id, problems)
    return Reading(
        graph=graph,
        parameters=table.values,
        context_parameters=table.context,
        members=tuple(operators[task_id] for task_id in running),
        bystanders=tuple(operators[task_id] for task_id in operators if task_id not in running),
        skippers=skippers,
    )


def _read_members(
    operators: Mapping[str, Any], parts: Mapping[str, mapping.MappedPart], table: ParameterTable
) -> tuple[dict[str, _Member], list[Problem]]:
    """Convert every member that can be; whose value is missing is known before any argument is read."""
    problems: list[Problem] = []
    usable: dict[str, tuple[Any, Converter, mapping.MappedPart | None]] = {}
    for task_id, operator in operators.items():
        part = next((part for part in parts.values() if task_id in part.operators), None)
        shown = operator
        if isinstance(operator, MappedOperator) and part is not None:
            shown, reason = mapping.prototype(operator, part)
            if reason:
                problems.append(
                    Problem(task_id, "expand", reason, "arguments that can be told apart at parse")
                )
                continue
        converter = converter_for(shown)
        if converter is None:
            problems.append(Problem(task_id, "operator", class_name(shown), supported()))
        else:
            usable[task_id] = (shown, converter, part)
    silent = {task_id for task_id, (_, converter, _) in usable.items() if not converter.LEAVES_VALUE}
    members = {}
    for task_id, (shown, converter, part) in usable.items():
        problems.extend(member_problems(shown))
        problems.extend(_limit_problems(shown, part))
        values = Values(
            shown,
            operators,
            silent,
            table,
            loop=part.view if part else None,
            spread=bool(part and part.spread),
        )
        conversion = converter.convert(shown, values)
        problems.extend(values.problems)
        if conversion.kind is None:
            problems.extend(_bystander_problems(shown))
        if part is not None:
            part.text_fields |= mapping.text_fields(values.inputs)
            if isinstance(operators[task_id], MappedOperator) and not values.problems:
                problems.extend(
                    Problem(task_id, "expand", repr(key), "arguments whose values reach the container")
                    for key in mapping.unused_items(operators[task_id], part, values.inputs)
                )
        members[task_id] = _Member(operators[task_id], shown, converter, part, values, conversion)
    return members, problems


def _silent(members: Mapping[str, _Member]) -> set[str]:
    return {task_id for task_id, member in members.items() if not member.converter.LEAVES_VALUE}


def _limit_problems(operator: Any, part: mapping.MappedPart | None) -> Iterator[Problem]:
    if part is not None:
        return
    for name in ("max_active_tis_per_dag", "max_active_tis_per_dagrun"):
        value = getattr(operator, name, None)
        if value is not None:
            yield Problem(
                operator.task_id, name, str(value), "None; on a mapped task it limits the instances at a time"
            )


def _with_asked_outputs(tasks: Mapping[str, Task]) -> dict[str, Task]:
    """Let each task write the forms of its value that others take."""
    result = dict(tasks)
    for task in tasks.values():
        for source in task.inputs.values():
            if not isinstance(source, FromOutput) or source.task not in result:
                continue
            producer = result[source.task]
            if source.output in producer.outputs:
                continue
            if source.output.startswith(TYPED_PREFIX):
                kind = source.output.removeprefix(TYPED_PREFIX)
                producer = replace(
                    producer,
                    payload={
                        **producer.payload,
                        "typed": {**producer.payload.get("typed", {}), source.output: kind},
                    },
                    output_types={**producer.output_types, source.output: kind},
                )
            elif source.output != TEXT_OUTPUT:
                continue
            result[source.task] = replace(producer, outputs=(*producer.outputs, source.output))
    return result


def _with_titles(members: Mapping[str, _Member], tasks: Mapping[str, Task]) -> dict[str, Task]:
    """Give tasks the names and descriptions that their authors wrote for people."""
    shown = {
        task_id: display_of(member.operator)
        for task_id, member in members.items()
        if tasks[task_id].kind is not TaskKind.EMPTY
    }
    wanted = {task_id: title for task_id, (title, _) in shown.items() if title != task_id}
    titles = naming.titles({task_id: tasks[task_id].name for task_id in shown}, wanted)
    return {
        task_id: replace(task, display_name=titles.get(task_id, ""), description=shown[task_id][1])
        if task_id in shown
        else task
        for task_id, task in tasks.items()
    }


def _description(group: TaskGroup, tasks: Iterable[Task]) -> str:
    """Return what the authors wrote about the group and its tasks; KFP has one place for all of it."""
    parts = [inspect.cleandoc(group.tooltip)] if group.tooltip else []
    parts.extend(f"{task.title}: {inspect.cleandoc(task.description)}" for task in tasks if task.description)
    return "\n\n".join(parts)


def _with_skips(
    group: TaskGroup, members: Mapping[str, _Member], tasks: Mapping[str, Task]
) -> tuple[dict[str, Task], list[Problem]]:
    """Tell those who decide about others what to write, and the others where to look."""
    skippers = {
        task_id: member.conversion.skipper for task_id, member in members.items() if member.conversion.skipper
    }
    result = dict(tasks)
    if not skippers:
        return result, []
    control = Control(_sketch(group, tasks.values()))
    follows = read_follows(
        group,
        {task_id: member.operator for task_id, member in members.items()},
        skippers,
        {task_id for task_id, member in members.items() if member.part},
        control.above_tolerant,
    )
    for task_id, pairs in follows.skipped_by.items():
        result[task_id] = replace(result[task_id], skipped_by=tuple(pairs))
    for skipper, kind in skippers.items():
        outputs = follows.outputs.get(skipper, {})
        payload = {**result[skipper].payload, "follow": outputs}
        if kind == "branch":
            payload |= {"branch": True, "ids": branch_ids(group, members[skipper].operator, members)}
        result[skipper] = replace(
            result[skipper], payload=payload, outputs=(*result[skipper].outputs, *outputs)
        )
    return result, follows.problems


def _sketch(group: TaskGroup, tasks: Any) -> Graph:
    return Graph(dag_id=group.dag.dag_id, group_id=str(group.group_id), name="", tasks=tuple(tasks))


def _rule_problems(graph: Graph, pipeline: PipelineSettings) -> Iterator[Problem]:
    control = Refusals(graph)
    yield from control.problems()
    if pipeline.failure_policy == "fast":
        for task in graph.tasks:
            if control.tolerant(task.id):
                yield Problem(
                    task.id,
                    "trigger_rule",
                    f"{task.rule!r} with failure_policy='fast', which starts nothing after a failure",
                    "failure_policy='slow', or a rule that needs no task after a failure",
                )


def _structure_problems(group: TaskGroup) -> Iterator[Problem]:
    for ancestor in _ancestors(group):
        if isinstance(ancestor, MappedTaskGroup):
            yield Problem(
                str(group.group_id), "parent", "a mapped task group", "a task group that is not mapped"
            )
        if isinstance(ancestor, type(group)):
            yield Problem(str(group.group_id), "parent", "another Vertex task group", "no nesting of the two")
    yield from mapping.nested_groups(group)


def _ancestors(group: TaskGroup) -> Iterator[TaskGroup]:
    parent = group.parent_group
    while parent is not None:
        yield parent
        parent = parent.parent_group


def _setups(
    member: _Member, upstream: tuple[str, ...], rule: str, members: Mapping[str, _Member]
) -> tuple[str, ...]:
    """Return the setup tasks further up that Airflow looks at besides the trigger rule.

    With all_success whatever lies between them and the task has looked already.
    """
    if rule == "all_success" or not any(each.operator.is_setup for each in members.values()):
        return ()
    setups = {setup.task_id for setup in member.operator.get_upstreams_only_setups()}
    return tuple(sorted(setups.intersection(members).difference(upstream)))


def _task(
    member: _Member,
    name: str,
    members: Mapping[str, _Member],
    group_level: Mapping[str, Any],
    pipeline: PipelineSettings,
) -> tuple[Task, list[Problem]]:
    operator, conversion = member.shown, member.conversion
    upstream = tuple(sorted(member.operator.upstream_task_ids.intersection(members)))
    kind = conversion.kind or TaskKind.EMPTY
    rule = rule_of(member.operator)
    place: dict[str, Any] = {
        "upstream": upstream,
        "rule": rule,
        "setups": _setups(member, upstream, rule, members),
        "loop": member.part.id if member.part else None,
        "setup": bool(member.operator.is_setup),
        "teardown": bool(member.operator.is_teardown),
    }
    if kind is TaskKind.EMPTY:
        return Task(operator.task_id, name, kind, {}, **place), []
    retry, problems = retry_of(operator)
    timeout = timeout_of(operator)
    settings: Mapping[str, Any] = {}
    try:
        settings = task_level({**author_settings(operator), **conversion.settings})
        merged = merge_task_settings([settings, group_level], pipeline)
    except VertexSettingsError as error:
        problems.append(error.as_problem(operator.task_id))
    else:
        # A component has a container of its own, so the group's custom job does not reach it.
        custom_job = None if kind is TaskKind.COMPONENT else merged.custom_job
        problems.extend(_timeout_problems(operator.task_id, timeout, custom_job))
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
    payload = dict(conversion.payload)
    if kind in (TaskKind.PYTHON, TaskKind.BASH) and payload:
        if not operator.do_xcom_push:
            payload["silent"] = True
        if getattr(operator, "multiple_outputs", False):
            payload["multiple_outputs"] = True
    if member.converter.LEAVES_VALUE and kind is not TaskKind.COMPONENT:
        outputs: tuple[str, ...] = (RETURN_OUTPUT,)
    else:
        outputs = tuple(conversion.output_types)
    return Task(
        id=operator.task_id,
        name=name,
        kind=kind,
        payload=payload,
        inputs=member.values.inputs,
        outputs=outputs,
        settings=settings,
        retry=retry,
        timeout=timeout,
        may_skip=conversion.may_skip,
        **place,
        input_types={**member.values.input_types, **conversion.input_types},
        output_types=conversion.output_types,
    ), problems


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
