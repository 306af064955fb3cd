"""Close a Vertex task group: the author's operators in, submit, mirrors and wait out.

Runs at parse, once, when the ``with`` block of a group ends well. Before it the group holds what the author
wrote; after it the group holds ``submit_pipeline``, one mirror for each member and ``wait_for_pipeline``, and
everything that was upstream of any member is upstream of ``submit_pipeline``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.xcom_arg import XComArg

from airflow_vertex_provider.exceptions import Problem, VertexGroupError, VertexSettingsError
from airflow_vertex_provider.graph.reader import Reading, read_group
from airflow_vertex_provider.operators.member import adopt
from airflow_vertex_provider.operators.pipeline_job import (
    SubmitVertexPipelineOperator,
    WaitVertexPipelineOperator,
)
from airflow_vertex_provider.settings import PipelineSettings, task_level

if TYPE_CHECKING:
    from airflow_vertex_provider.task_group import VertexTaskGroup

SUBMIT = "submit_pipeline"
WAIT = "wait_for_pipeline"


def close_group(group: VertexTaskGroup) -> None:
    """Turn an author's group into the tasks Airflow runs.

    :raises VertexGroupError: something of the group cannot be carried; the group is left as it was.
    """
    reading = _read(group)
    members = {task.task_id for task in reading.members}
    inside = members | {task.task_id for task in reading.bystanders}
    upstream = _outer_upstream(group, inside)
    downstream = _early_downstream(group)
    problems = [*_reserved_ids(group, inside), *_cycles(group, inside, upstream)]
    if problems:
        raise VertexGroupError(group.dag.dag_id, str(group.group_id), problems)

    with group.building():
        submit = _submit(group, reading)
        wait = _wait(group, reading, submit) if group.wait_for_completion else None
    operators = [*reading.members, *reading.bystanders]
    _part_from_outside(group, operators, inside)
    for task_id in sorted(upstream):
        submit.set_upstream(group.dag.get_task(task_id))
    for operator in operators:
        if operator.upstream_task_ids.isdisjoint(inside):
            operator.set_upstream(submit)

    names = reading.graph.vertex_names()
    for operator in reading.members:
        adopt(
            operator,
            task_name=names[operator.task_id],
            submit_task_id=submit.task_id,
            gcp_conn_id=group.gcp_conn_id,
            impersonation_chain=group.impersonation_chain,
            project_id=group.project_id,
            poll_interval=group.poll_interval,
            deferrable=group.deferrable,
        )
    late = _LateEdges(group, submit, members)
    for operator in operators:
        late.watch(operator)
    if wait is None:
        _forget_members(group, reading, submit)
    for task in downstream:
        group.set_downstream(task)


def _read(group: VertexTaskGroup) -> Reading:
    problems: list[Problem] = []
    group_id = str(group.group_id)
    pipeline, level = PipelineSettings(), {}
    try:
        pipeline = group.pipeline_settings()
        pipeline.require_complete()
    except VertexSettingsError as error:
        problems.append(error.as_problem(group_id))
    try:
        level = task_level(group.task_settings())
    except VertexSettingsError as error:
        problems.append(error.as_problem(group_id))
    try:
        reading = read_group(group, level, pipeline)
    except VertexGroupError as error:
        problems.extend(error.problems)
    if problems:
        raise VertexGroupError(group.dag.dag_id, group_id, problems)
    return reading


def _submit(group: VertexTaskGroup, reading: Reading) -> SubmitVertexPipelineOperator:
    return SubmitVertexPipelineOperator(
        task_id=_child(group, SUBMIT),
        graph=reading.graph.to_dict(),
        parameters=reading.parameters,
        context_parameters=reading.context_parameters,
        pipeline=group.pipeline_settings().to_dict(),
        task_settings={task.id: dict(task.settings) for task in reading.graph.tasks if task.settings},
        group_settings=task_level(group.task_settings()),
        gcp_conn_id=group.gcp_conn_id,
        impersonation_chain=group.impersonation_chain,
        cancel_on_kill=group.cancel_on_kill,
        task_group=group,
        dag=group.dag,
        trigger_rule="all_success",
        doc_md="Compiles the group and creates its Vertex AI pipeline job.",
    )


def _wait(
    group: VertexTaskGroup, reading: Reading, submit: SubmitVertexPipelineOperator
) -> WaitVertexPipelineOperator:
    wait = WaitVertexPipelineOperator(
        task_id=_child(group, WAIT),
        submit_task_id=submit.task_id,
        airflow_ids={name: task_id for task_id, name in reading.graph.vertex_names().items()},
        output_tasks=reading.leaves(),
        gcp_conn_id=group.gcp_conn_id,
        impersonation_chain=group.impersonation_chain,
        project_id=group.project_id,
        poll_interval=group.poll_interval,
        deferrable=group.deferrable,
        cancel_on_kill=group.cancel_on_kill,
        task_group=group,
        dag=group.dag,
        trigger_rule="all_success",
        # A failed job stays failed, and errors of the service are waited out: a retry would change nothing.
        retries=0,
        # The time limit of a single task, which default_args may set for all, is not the pipeline's.
        execution_timeout=None,
        doc_md="Follows the pipeline job; cancels it if this task is ended.",
    )
    wait.set_upstream(submit)
    return wait


def _child(group: VertexTaskGroup, name: str) -> str:
    # Without prefixed ids two groups of a DAG would both want "submit_pipeline".
    return name if group.prefix_group_id else f"{group.group_id}.{name}"


def _reserved_ids(group: VertexTaskGroup, inside: Iterable[str]) -> list[Problem]:
    taken = {f"{group.group_id}.{name}" for name in (SUBMIT, WAIT)}
    return [
        Problem(
            task_id,
            "task_id",
            repr(task_id),
            f"another id; a Vertex task group has its own {SUBMIT} and {WAIT}",
        )
        for task_id in sorted(taken.intersection(inside))
    ]


def _outer_upstream(group: VertexTaskGroup, inside: set[str]) -> set[str]:
    """Find every task outside that anything in the group waits for, however the edge was drawn."""
    found: set[str] = set()
    groups = group.dag.task_group.get_task_group_dict()
    for task in group.iter_tasks():
        found |= task.upstream_task_ids
    for member_group in group.get_task_group_dict().values():
        # Drawn while the group was empty: Airflow keeps such an edge on the group alone.
        found |= member_group.upstream_task_ids
        for group_id in member_group.upstream_group_ids:
            found |= {task.task_id for task in groups[str(group_id)].get_leaves()}
    return found - inside


def _early_downstream(group: VertexTaskGroup) -> list[Any]:
    """Return what was made downstream of the group before it had tasks."""
    groups = group.dag.task_group.get_task_group_dict()
    return [
        *(group.dag.get_task(task_id) for task_id in sorted(group.downstream_task_ids)),
        *(groups[group_id] for group_id in sorted(map(str, group.downstream_group_ids))),
    ]


def _cycles(group: VertexTaskGroup, inside: set[str], upstream: set[str]) -> list[Problem]:
    """Find outer tasks between two members: one job cannot stop half-way for them."""
    reached: set[str] = set()
    pending = [
        below for task in group.iter_tasks() for below in task.downstream_task_ids if below not in inside
    ]
    while pending:
        task_id = pending.pop()
        if task_id in reached or task_id in inside:
            continue
        reached.add(task_id)
        pending.extend(group.dag.get_task(task_id).downstream_task_ids)
    return [
        Problem(
            task_id,
            "edges",
            f"task {task_id!r} both after and before members of {group.group_id!r}",
            "it inside the group, or the group split in two: the members run as one job",
        )
        for task_id in sorted(reached & upstream)
    ]


def _part_from_outside(group: VertexTaskGroup, operators: Iterable[Any], inside: set[str]) -> None:
    """Take off the edges that come from outside; submit has them now."""
    for operator in operators:
        for task_id in sorted(operator.upstream_task_ids - inside):
            operator.upstream_task_ids.discard(task_id)
            group.dag.get_task(task_id).downstream_task_ids.discard(operator.task_id)


def _forget_members(group: VertexTaskGroup, reading: Reading, submit: SubmitVertexPipelineOperator) -> None:
    """Take the members out of the DAG: with ``wait_for_completion=False`` Airflow does not follow them."""
    operators = {task.task_id: task for task in (*reading.members, *reading.bystanders)}
    problems = []
    for task_id, operator in operators.items():
        for below in sorted(operator.downstream_task_ids - set(operators)):
            outer = group.dag.get_task(below)
            if task_id in _values_taken_by(outer):
                problems.append(_unfollowed(below, task_id))
            outer.upstream_task_ids.discard(task_id)
            outer.set_upstream(submit)
    if problems:
        raise VertexGroupError(group.dag.dag_id, str(group.group_id), problems)
    for child_group in group.get_task_group_dict().values():
        for task_id in operators:
            child_group.children.pop(task_id, None)
    for task_id in operators:
        submit.downstream_task_ids.discard(task_id)
        group.dag.task_dict.pop(task_id, None)
        group.used_group_ids.discard(task_id)


def _unfollowed(outer: str, member: str) -> Problem:
    return Problem(
        outer,
        "upstream",
        f"member {member!r}, which is not followed (wait_for_completion=False)",
        "wait_for_completion=True, or the group itself as upstream",
    )


def _values_taken_by(operator: Any) -> set[str]:
    fields: Mapping[str, Any] = {
        name: getattr(operator, name, None) for name in getattr(operator, "template_fields", ())
    }
    return {task.task_id for task, _ in XComArg.iter_xcom_references(fields)}


class _LateEdges:
    """Takes the edges of members that are drawn after their group has closed.

    However an edge is drawn, Airflow adds the other end's id to the two sets of ids on the operators, so
    that is where it is seen.
    """

    def __init__(
        self, group: VertexTaskGroup, submit: SubmitVertexPipelineOperator, members: set[str]
    ) -> None:
        self._group = group
        self._submit = submit
        self._members = members

    def watch(self, operator: Any) -> None:
        """Look at every edge of ``operator`` from now on."""
        task_id = operator.task_id
        operator.upstream_task_ids = _Edges(
            operator.upstream_task_ids, lambda other: self._above(task_id, other)
        )
        operator.downstream_task_ids = _Edges(
            operator.downstream_task_ids, lambda other: self._below(task_id, other)
        )

    def _above(self, task_id: str, other: str) -> bool:
        """Carry an edge from above on; return whether the operator keeps it too."""
        inside = {task.task_id for task in self._group.iter_tasks()}
        if other in self._members and task_id in self._members:
            for item in self._submit.graph["tasks"]:
                if item["id"] == task_id:
                    item["upstream"] = sorted({*item["upstream"], other})
        elif other in inside and other != self._submit.task_id:
            self._refuse(
                task_id, f"an edge from {other!r} drawn after the with block", "edges drawn inside the block"
            )
        elif other not in inside:
            problems = _cycles(self._group, inside, {other})
            if problems:
                raise VertexGroupError(self._group.dag.dag_id, str(self._group.group_id), problems)
            outer = self._group.dag.get_task(other)
            outer.downstream_task_ids.discard(task_id)
            self._submit.set_upstream(outer)
            return False
        return True

    def _below(self, task_id: str, other: str) -> bool:
        """Refuse what would follow a member that is not followed itself."""
        if not self._group.wait_for_completion:
            problem = _unfollowed(other, task_id)
            self._refuse(problem.where, problem.found, problem.allowed)
        return True

    def _refuse(self, task_id: str, found: str, allowed: str) -> None:
        raise VertexGroupError(
            self._group.dag.dag_id, str(self._group.group_id), [Problem(task_id, "edges", found, allowed)]
        )


class _Edges(set[str]):
    """A set of task ids that asks before it takes one more; a copy of it is a plain set."""

    def __init__(self, ids: Iterable[str], asked: Callable[[str], bool]) -> None:
        super().__init__(ids)
        self._asked = asked

    def add(self, task_id: str) -> None:
        if task_id in self or self._asked(task_id):
            super().add(task_id)

    def __copy__(self) -> set[str]:
        return set(self)

    def __deepcopy__(self, memo: Any) -> set[str]:
        return set(self)

    def __reduce__(self) -> tuple[type[set[str]], tuple[list[str]]]:
        return set, (sorted(self),)
