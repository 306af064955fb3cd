"""Read a closed task group: Airflow's group in, the neutral graph and what feeds its parameters out.

Runs at parse. All problems of a group are found in one pass and raised together. The order: arguments of each
member, then edges and rules, then skips, then loops, whose gates depend on the rules.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.taskgroup import MappedTaskGroup

from airflow_vertex_provider.exceptions import Problem, VertexGroupError
from airflow_vertex_provider.graph import mapping, naming
from airflow_vertex_provider.graph.bundles import code_problems
from airflow_vertex_provider.graph.control import Control
from airflow_vertex_provider.graph.converters import supported
from airflow_vertex_provider.graph.loops import add_loops
from airflow_vertex_provider.graph.members import Member, read_members, silent_ids, task_of
from airflow_vertex_provider.graph.model import (
    TEXT_OUTPUT,
    TYPED_PREFIX,
    URI_PREFIX,
    FromOutput,
    Graph,
    Task,
    TaskKind,
)
from airflow_vertex_provider.graph.refusals import Refusals, fast_policy_problems
from airflow_vertex_provider.graph.skips import branch_ids, read_follows
from airflow_vertex_provider.graph.templates import environment_of, environment_problems, setting_problems
from airflow_vertex_provider.graph.validation import display_of
from airflow_vertex_provider.graph.values import ParameterTable
from airflow_vertex_provider.settings import PipelineSettings

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
    members, found = read_members(operators, parts, table, group_level)
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
        task, found = task_of(member, names.get(task_id, ""), members, group_level, pipeline)
        tasks[task_id] = task
        problems.extend(found)
        problems.extend(
            Problem(task_id, *problem)
            for problem in setting_problems("", task.settings, operators, environment)
        )
    problems.extend(code_problems(group.dag, group_id, tasks.values(), group_level))
    tasks = _with_titles(members, _with_asked_outputs(tasks))
    skippers = {
        task_id: member.conversion.skipper for task_id, member in members.items() if member.conversion.skipper
    }
    tasks, found = _with_skips(group, members, skippers, tasks)
    problems.extend(found)
    result = add_loops(
        tasks,
        parts,
        {part: names[gate] for part, gate in gates.items()},
        mapping.Members(operators, silent_ids(members), table),
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
            elif source.output.startswith(URI_PREFIX) and "artifacts" in producer.payload:
                names = [*producer.payload.get("uris", ()), source.output.removeprefix(URI_PREFIX)]
                producer = replace(producer, payload={**producer.payload, "uris": names})
            elif source.output != TEXT_OUTPUT:
                continue
            result[source.task] = replace(producer, outputs=(*producer.outputs, source.output))
    return result


def _with_titles(members: Mapping[str, Member], tasks: Mapping[str, Task]) -> dict[str, Task]:
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
    group: TaskGroup,
    members: Mapping[str, Member],
    skippers: Mapping[str, str],
    tasks: Mapping[str, Task],
) -> tuple[dict[str, Task], list[Problem]]:
    """Tell those who decide about others what to write, and the others where to look."""
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
    yield from Refusals(graph).problems()
    if pipeline.failure_policy == "fast":
        yield from fast_policy_problems(graph)


def _structure_problems(group: TaskGroup) -> Iterator[Problem]:
    for ancestor in mapping.ancestors(group):
        if isinstance(ancestor, MappedTaskGroup):
            yield Problem(
                str(group.group_id), "parent", "a mapped task group", "a task group that is not mapped"
            )
        if isinstance(ancestor, type(group)):
            yield Problem(str(group.group_id), "parent", "another Vertex task group", "no nesting of the two")
    yield from mapping.nested_groups(group)
